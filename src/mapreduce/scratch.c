/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Any thread writes, reads and frees at any time. A writer takes its place by adding to end and has it to itself; nobody reads a place
 * before its write has returned, and no place is used twice, so there is nothing to lock. The file is made by whoever writes first; if
 * two do, the second to finish closes its own and takes the other's.
 *
 * Places begin at whole pages. Else two would share one, and no hole could be made of it when first one is given back and then the other. */
#include "mapreduce/scratch.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE ((uint64_t)4096) /* what the usual file systems allocate */

struct pmap__scratch {
    atomic_int file;   /* -1 until the first write, then the same to the end; of one with a name always there */
    atomic_ullong end; /* of the last place; any thread adds */
    atomic_ullong kept; /* bytes in places that are in use; any thread adds and subtracts */
    bool named;        /* path is that of the file, else of its directory */
    char path[];
};

static struct pmap__scratch *new_scratch(const char *path, int file)
{
    struct pmap__scratch *s = malloc(sizeof *s + strlen(path) + 1);

    if (s == NULL)
        return NULL;
    atomic_init(&s->file, file);
    atomic_init(&s->end, 0);
    atomic_init(&s->kept, 0);
    s->named = file >= 0;
    strcpy(s->path, path);
    return s;
}

enum pmap_status pmap__scratch_create(const char *directory, struct pmap__scratch **scratch)
{
    const char *usual = getenv("TMPDIR");

    if (directory == NULL)
        directory = usual && *usual ? usual : "/tmp";
    struct pmap__scratch *s = new_scratch(directory, -1);
    if (s == NULL)
        return PMAP_ENOMEM;
    *scratch = s;
    return PMAP_OK;
}

static enum pmap_status with_name(const char *path, int flags, struct pmap__scratch **scratch, struct pmap_error *error)
{
    int file = open(path, flags | O_CLOEXEC, 0666);

    if (file < 0)
        return pmap__error_set(error, PMAP_EJOURNAL, "pmap: journal: %s: %s", path, strerror(errno));
    struct pmap__scratch *s = new_scratch(path, file);
    if (s == NULL) {
        close(file);
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: journal: %s: no memory", path);
    }
    *scratch = s;
    return PMAP_OK;
}

enum pmap_status pmap__scratch_make(const char *path, struct pmap__scratch **scratch, struct pmap_error *error)
{
    return with_name(path, O_RDWR | O_CREAT | O_EXCL, scratch, error);
}

enum pmap_status pmap__scratch_open(const char *path, struct pmap__scratch **scratch, struct pmap_error *error)
{
    return with_name(path, O_RDONLY, scratch, error);
}

void pmap__scratch_destroy(struct pmap__scratch *scratch)
{
    if (scratch == NULL)
        return;
    int file = atomic_load(&scratch->file);
    if (file >= 0)
        close(file);
    free(scratch);
}

static enum pmap_status failed(struct pmap__scratch *scratch, int reason, struct pmap_error *error)
{
    unsigned long long kept = atomic_load(&scratch->kept);

    if (scratch->named)
        return pmap__error_set(error, PMAP_EJOURNAL, "pmap: journal: %s: %s (after %llu MiB)", scratch->path, strerror(reason), kept >> 20);
    return pmap__error_set(error, PMAP_EINVAL, "pmap: scratch directory %s: %s (after %llu MiB; choose another by .scratch)",
                           scratch->path, strerror(reason), kept >> 20);
}

/* ---- The file ---- */

/* A file without a name; -1 and errno. Whatever keeps the first way from working, the second finds the reason that is worth telling. */
static int nameless_file(const char *directory)
{
#ifdef O_TMPFILE
    int nameless = open(directory, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    if (nameless >= 0)
        return nameless;
#endif
    size_t size = strlen(directory) + sizeof "/pmap-XXXXXX";
    char *name = malloc(size);
    if (name == NULL)
        return -1;
    snprintf(name, size, "%s/pmap-XXXXXX", directory);
    int file = mkostemp(name, O_CLOEXEC);
    if (file >= 0)
        unlink(name);
    int reason = errno;
    free(name);
    errno = reason;
    return file;
}

static int file_of(struct pmap__scratch *scratch)
{
    int file = atomic_load(&scratch->file), none = -1;

    if (file >= 0)
        return file;
    file = nameless_file(scratch->path);
    if (file < 0 || atomic_compare_exchange_strong(&scratch->file, &none, file))
        return file;
    close(file);
    return none; /* now the file of the thread that was first */
}

/* ---- Places ---- */

static uint64_t whole_pages(size_t size)
{
    return (size + PAGE - 1) / PAGE * PAGE;
}

/* Where the file system has no holes the bytes stay until the end, which is no error. */
static void punch(int file, uint64_t at, size_t size)
{
#ifdef FALLOC_FL_PUNCH_HOLE
    int ignored = fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)whole_pages(size));
    (void)ignored;
#else
    (void)file, (void)at, (void)size;
#endif
}

/* All of it, and 0, or why not. A disk that takes no byte and says nothing is full. */
static int write_all(int file, const char *bytes, size_t size, uint64_t at)
{
    while (size > 0) {
        ssize_t done = pwrite(file, bytes, size, (off_t)at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? errno : ENOSPC;
        bytes += done;
        size -= (size_t)done;
        at += (uint64_t)done;
    }
    return 0;
}

enum pmap_status pmap__scratch_write(struct pmap__scratch *scratch, const void *bytes, size_t size, uint64_t *at,
                                     struct pmap_error *error)
{
    int file = file_of(scratch);
    if (file < 0)
        return failed(scratch, errno, error);
    uint64_t place = atomic_fetch_add(&scratch->end, whole_pages(size));
    int reason = write_all(file, bytes, size, place);
    if (reason) {
        punch(file, place, size);
        return failed(scratch, reason, error);
    }
    atomic_fetch_add(&scratch->kept, size);
    *at = place;
    return PMAP_OK;
}

enum pmap_status pmap__scratch_read(struct pmap__scratch *scratch, void *bytes, size_t size, uint64_t at, struct pmap_error *error)
{
    int file = atomic_load(&scratch->file);
    char *to = bytes;

    while (size > 0) {
        ssize_t done = pread(file, to, size, (off_t)at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return failed(scratch, done < 0 ? errno : EIO, error);
        to += done;
        size -= (size_t)done;
        at += (uint64_t)done;
    }
    return PMAP_OK;
}

uint64_t pmap__scratch_size(const struct pmap__scratch *scratch)
{
    struct stat st;
    return fstat(atomic_load(&scratch->file), &st) == 0 ? (uint64_t)st.st_size : 0;
}

void pmap__scratch_free(struct pmap__scratch *scratch, uint64_t at, size_t size)
{
    punch(atomic_load(&scratch->file), at, size);
    atomic_fetch_sub(&scratch->kept, size);
}
