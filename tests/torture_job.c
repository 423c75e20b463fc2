/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A job to be tortured: a map over n items in an isolated pool with a journal, which survives ranks; torture.c starts it, kills what it
 * likes, and starts it again until the results are there.
 *
 *     torture_job N [THREADS]          PMAP_TORTURE says in which directory
 */
#include "rank.h"
#include "torture.h"

#include <pmap.h>
#include <stdlib.h>
#include <string.h>

static struct torture *board;

/* Some fifty microseconds of work. */
static uint64_t value(uint64_t i)
{
    volatile unsigned busy = 0;

    atomic_fetch_add(&board->runs[i], 1);
    while (busy < 25000)
        busy++;
    return torture_value(i);
}
PMAP_TASK(value, uint64_t, uint64_t);

/* The results come to their name at once, or not at all. */
static int write_results(const char *directory, const uint64_t *out, size_t n)
{
    char aside[600], path[600];

    snprintf(aside, sizeof aside, "%s/results.part", directory);
    snprintf(path, sizeof path, "%s/results", directory);
    FILE *file = fopen(aside, "w");
    if (file == NULL)
        return 1;
    size_t written = fwrite(out, sizeof *out, n, file);
    return fclose(file) != 0 || written != n || rename(aside, path) != 0;
}

static int run(struct pmap_pool *pool, const char *directory, size_t n)
{
    uint64_t *in = calloc(n, sizeof *in), *out = calloc(n, sizeof *out);
    int bad = in == NULL || out == NULL;

    for (size_t i = 0; !bad && i < n; i++)
        in[i] = i;
    atomic_store(&board->handed, 1);
    bad = bad || pmap_map(pool, value, in, out, n, .name = "torture", .retries = 100) != PMAP_OK || write_results(directory, out, n);
    free(in);
    free(out);
    return bad;
}

int main(int argc, char *argv[])
{
    const char *directory = getenv(TORTURE_DIRECTORY), *rank = launched_rank();
    size_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
    char journal[600];
    struct pmap_pool *pool;

    if (directory == NULL || n == 0 || (board = torture_map(directory, n)) == NULL) {
        fprintf(stderr, "torture_job: " TORTURE_DIRECTORY " must be set, and the number of items be given\n");
        return 2;
    }
    atomic_store(&board->pids[rank ? atoi(rank) % TORTURE_RANKS : 0], getpid());
    snprintf(journal, sizeof journal, "%s/run.db", directory);
    if (pmap_create(&pool, .threads = argc > 2 ? atoi(argv[2]) : 1, .isolate = true, .survive = rank != NULL, .journal = journal))
        return 1;
    int bad = pool ? run(pool, directory, n) : 0;
    pmap_destroy(pool);
    return bad;
}
