/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What the torturer (torture.c) and the job that it tortures (torture_job.c) share: a file in the run's directory, mapped by
 * every process, so that it outlives all of them.
 */
#ifndef PMAP_TESTS_TORTURE_H
#define PMAP_TESTS_TORTURE_H

#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define TORTURE_RANKS 64
#define TORTURE_DIRECTORY "PMAP_TORTURE" /* in the environment: by it the torturer knows the job's processes, too */

struct torture {
    atomic_int pids[TORTURE_RANKS]; /* of the ranks that live, or lived; each writes its own */
    atomic_int handed;              /* the map has begun */
    atomic_uchar runs[];            /* how often each item was begun */
};

/* NULL if it cannot be. */
static inline struct torture *torture_map(const char *directory, size_t n)
{
    size_t size = sizeof(struct torture) + n;
    char path[600];

    snprintf(path, sizeof path, "%s/board", directory);
    int file = open(path, O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, (off_t)size))
        return NULL;
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    return at == MAP_FAILED ? NULL : at;
}

/* What item i is: the loop that the map must equal. */
static inline uint64_t torture_value(uint64_t i)
{
    for (int k = 0; k < 3; k++) {
        i += UINT64_C(0x9e3779b97f4a7c15);
        i = (i ^ i >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        i ^= i >> 31;
    }
    return i;
}

#endif
