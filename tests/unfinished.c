/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Work that takes longer than a job may, for tests/slurm: RUNS runs of so many seconds each, kept in a journal. The status is 85 if it
 * was interrupted.
 *
 *     unfinished FILE RUNS SECONDS
 */
#include <pmap.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { UNFINISHED = 85 };

struct run {
    int number;
    double seconds;
};

static double simulate(struct run run)
{
    struct timespec pause = {(time_t)run.seconds, (long)(1e9 * (run.seconds - (double)(time_t)run.seconds))};

    nanosleep(&pause, NULL);
    fprintf(stderr, "did run %d\n", run.number);
    return run.number;
}
PMAP_TASK(simulate, double, struct run);

static int work(struct pmap_pool *pool, int n, double seconds)
{
    struct run *runs = calloc((size_t)n, sizeof *runs);
    double *results = calloc((size_t)n, sizeof *results), sum = 0;
    int status = EXIT_FAILURE;

    for (int i = 0; runs && i < n; i++)
        runs[i] = (struct run){i + 1, seconds};
    if (runs && results)
        switch (pmap_map(pool, simulate, runs, results, (size_t)n)) {
        case PMAP_OK:
            for (int i = 0; i < n; i++)
                sum += results[i];
            printf("%d runs, sum %g\n", n, sum);
            status = EXIT_SUCCESS;
            break;
        case PMAP_EINTERRUPTED: /* pmap has said why */
            status = UNFINISHED;
            break;
        default:
            break;
        }
    free(results);
    free(runs);
    return status;
}

int main(int argc, char **argv)
{
    int status = EXIT_SUCCESS;
    struct pmap_pool *pool;

    if (argc != 4) {
        fprintf(stderr, "usage: unfinished FILE RUNS SECONDS\n");
        return EXIT_FAILURE;
    }
    if (pmap_create(&pool, .journal = argv[1]) != PMAP_OK)
        return EXIT_FAILURE;
    if (pool) {
        status = work(pool, atoi(argv[2]), atof(argv[3]));
        pmap_destroy(pool);
    }
    return status;
}
