/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 */
#include "board.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BOARD_SIZE (BOARD_CELLS * sizeof(atomic_int))

static atomic_int *cells; /* written once, by open_board */

/* Whoever comes first makes the file; all give it the same size, which leaves what is there alone. */
static int open_file(const char *directory)
{
    char path[4096];
    int file;

    snprintf(path, sizeof path, "%s/board", directory);
    file = open(path, O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, BOARD_SIZE) != 0) {
        perror(path);
        abort();
    }
    return file;
}

static void open_board(void)
{
    const char *directory = getenv("PMAP_TEST_DIR");
    int file = directory != NULL ? open_file(directory) : -1;
    void *map = mmap(NULL, BOARD_SIZE, PROT_READ | PROT_WRITE, file < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED,
                     file, 0);

    if (map == MAP_FAILED) {
        perror("mmap");
        abort();
    }
    if (file >= 0)
        close(file);
    cells = map;
}

atomic_int *board(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, open_board);
    return cells;
}

void board_clear(void)
{
    atomic_int *cell = board();

    for (int i = 0; i < BOARD_CELLS; i++)
        atomic_store(&cell[i], 0);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

bool board_await(int cell, int value)
{
    atomic_int *at = &board()[cell];
    double end = now() + 20;

    while (atomic_load(at) < value) {
        if (now() > end)
            return false;
        sched_yield();
    }
    return true;
}
