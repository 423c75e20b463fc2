/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Does a map go on while its caller computes? A map is submitted, and until it must be done the caller
 *
 *     mpirun -n 2 busy n=4500 steps=650000 threads=1 dedicated=1                  waits for it,
 *     mpirun -n 2 busy n=4500 steps=650000 threads=1 dedicated=1 busy=5000        computes, and calls nothing of pmap,
 *     mpirun -n 2 busy n=4500 steps=650000 threads=1 dedicated=1 busy=5000 beside=1
 *                                                     waits, while a process that knows nothing of pmap computes.
 *
 * Every item tells when it was finished, so the time does not depend on when the caller comes back to ask: from the
 * submission to the end of the last item. Clocks of two ranks are compared there, so all must be on one machine.
 */
#include "bench.h"

#include <pmap.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct done {
    double when;
    int steps;
};

static struct done timed(int steps)
{
    struct done done = {.steps = spin(steps)};
    done.when = bench_now();
    return done;
}

PMAP_TASK(timed, struct done, int);

/* Keep one core busy. */
static void compute(const struct bench *b)
{
    for (double end = bench_now() + 0.001 * (double)b->busy; bench_now() < end;)
        spin((int)b->steps);
}

/* Start a process that computes; its id, 0 if there is to be none. The child has one thread and makes no call but spin
 * and the clock's, so MPI and OpenMP in its parent do not matter to it. */
static pid_t start_beside(const struct bench *b)
{
    pid_t child = b->beside ? fork() : 0;
    if (b->beside && child == 0) {
        compute(b);
        _exit(0);
    }
    return child;
}

/* Seconds until the last of b->n items was finished; negative if one failed. */
static double run(const struct bench *b, struct pmap_pool *pool, const int steps[], struct done done[])
{
    pid_t child = start_beside(b);
    double begin = bench_now(), last = begin;
    struct pmap_result *result = pmap_map_async(pool, timed, steps, done, (size_t)b->n, .chunksize = b->chunk);
    if (!b->beside)
        compute(b);
    enum pmap_status status = pmap_result_get(result, PMAP_FOREVER, NULL);
    pmap_result_free(result);
    if (child > 0)
        waitpid(child, NULL, 0);

    for (long i = 0; i < b->n; i++) {
        last = done[i].when > last ? done[i].when : last;
        if (done[i].steps != steps[i])
            status = PMAP_EFAILED;
    }
    return status == PMAP_OK ? last - begin : -1;
}

static int measure(struct bench *b, struct pmap_pool *pool)
{
    int *steps = malloc((size_t)b->n * sizeof *steps), status = 1;
    struct done *done = calloc((size_t)b->n, sizeof *done);
    struct bench warm = *b;

    warm.n = b->warm;
    warm.busy = warm.beside = 0;
    if (steps && done) {
        for (long i = 0; i < b->n; i++)
            steps[i] = (int)b->steps;
        double seconds = run(&warm, pool, steps, done) < 0 ? -1 : run(b, pool, steps, done);
        if (seconds >= 0)
            status = bench_report(b, NULL, seconds, "pmap_map_async, %d ranks, %s computes for %ld ms", pmap_ranks(pool),
                                  b->beside ? "another process" : "the caller", b->busy);
    }
    free(steps);
    free(done);
    return status;
}

int main(int argc, char **argv)
{
    struct bench b;
    struct pmap_pool *pool;
    int status = 0;

    if (!bench_parse(&b, argc, argv) || b.steps == 0) {
        fprintf(stderr, "busy: how many steps has an item?\n");
        return 1;
    }
    if (pmap_create(&pool, .threads = (int)b.threads, .dedicated_root = b.dedicated) != PMAP_OK)
        return 1;
    if (pool) {
        status = measure(&b, pool);
        pmap_destroy(pool);
    }
    return status;
}
