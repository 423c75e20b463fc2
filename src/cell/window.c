/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "cell/window.h"

#include "base/room.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* What is not allocated takes no memory. */
#define FILE_SIZE ((off_t)(PMAP__RANGES * PMAP__RANGE_SIZE))

/* In front of each view and behind it nothing is mapped: who runs past an array in it is stopped there. */
#define FENCE ((size_t)64 << 10)

/* Whoever needs less is not worth a look at /proc. */
#define SMALL ((size_t)1 << 20)

int pmap__window_file(void)
{
    struct rlimit limit;

    /* Beyond this limit (ulimit -f) a file does not fail to grow, the process is killed. */
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < (rlim_t)FILE_SIZE) {
        errno = EFBIG;
        return -1;
    }
    int file = memfd_create("pmap", MFD_CLOEXEC);
    if (file >= 0 && ftruncate(file, FILE_SIZE) != 0) {
        close(file);
        return -1;
    }
    return file;
}

/* Is there so much memory to spare? */
static bool is_there(size_t size)
{
    return size <= SMALL || size < pmap__room_of_node("");
}

static size_t whole_pages(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) / page * page;
}

/* Not many times in a row: at least twice what there was. */
static size_t next_size(const struct pmap__window *window, size_t size)
{
    return whole_pages(size < 2 * window->size ? 2 * window->size : size);
}

/* The view's addresses with their fences first, then the view in them. */
static char *map(const struct pmap__window *window, size_t size)
{
    int rights = window->read_only ? PROT_READ : PROT_READ | PROT_WRITE;
    size_t room = whole_pages(size) + 2 * FENCE;
    char *fence = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (fence == MAP_FAILED)
        return NULL;
    if (mmap(fence + FENCE, size, rights, MAP_SHARED | MAP_FIXED, window->file, (off_t)window->at) != MAP_FAILED) {
        madvise(fence, room, MADV_DONTFORK); /* a child sees its own cell only */
        return fence + FENCE;
    }
    munmap(fence, room);
    return NULL;
}

bool pmap__window_see(struct pmap__window *window, size_t size)
{
    if (size <= window->size)
        return true;
    char *bytes = map(window, size);
    if (bytes == NULL)
        return false;
    pmap__window_close(window);
    window->bytes = bytes;
    window->size = size;
    return true;
}

bool pmap__window_grow(struct pmap__window *window, size_t size)
{
    if (size <= window->size)
        return true;
    if (size > PMAP__RANGE_SIZE / 2)
        return false;
    size = next_size(window, size);
    if (!is_there(size - window->size))
        return false;
    while (fallocate(window->file, FALLOC_FL_KEEP_SIZE, (off_t)(window->at + window->size), (off_t)(size - window->size)) != 0)
        if (errno != EINTR)
            return false;
    return pmap__window_see(window, size);
}

void pmap__window_drop(struct pmap__window *window)
{
    /* All of it: a child may have made it larger and have died before it could say so. */
    fallocate(window->file, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, (off_t)window->at, (off_t)PMAP__RANGE_SIZE);
    pmap__window_close(window);
}

void pmap__window_trim(struct pmap__window *window, size_t size)
{
    if (window->size > size)
        pmap__window_close(window);
}

void pmap__window_close(struct pmap__window *window)
{
    if (window->bytes)
        munmap(window->bytes - FENCE, whole_pages(window->size) + 2 * FENCE);
    window->bytes = NULL;
    window->size = 0;
}
