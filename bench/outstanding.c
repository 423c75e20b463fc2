/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Many calls at once: n pmap_apply_async are submitted while every thread is held up, so that all are outstanding at
 * the same time; then the threads are let go, and all results fetched. Prints the seconds from the first submission to
 * the last result, and before that how much memory all of it took at most, with the caller's arrays.
 *
 *     outstanding n=100000 threads=2
 */
#include "bench.h"

#include <pmap.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_bool open_gate; /* the caller sets it, once; the threads that it holds up are of the same process */

static void wait_at_gate(void)
{
    while (!atomic_load(&open_gate))
        nap(100);
}

PMAP_TASK(square, int, int);
PMAP_ACTION(wait_at_gate);

/* results has room for n calls, and for one more for each thread. False if a call failed. */
static bool run(struct pmap_pool *pool, size_t n, const int x[], int y[], struct pmap_result *results[])
{
    size_t held = (size_t)pmap_threads(pool);
    bool good = true;

    for (size_t i = 0; i < held; i++)
        results[n + i] = pmap_apply_async(pool, wait_at_gate, NULL);
    for (size_t i = 0; i < n; i++)
        results[i] = pmap_apply_async(pool, square, &y[i], x[i]);
    atomic_store(&open_gate, true);
    for (size_t i = 0; i < n + held; i++)
        good = pmap_result_get(results[i], PMAP_FOREVER, NULL) == PMAP_OK && good;
    return good;
}

static int measure(const struct bench *b, struct pmap_pool *pool)
{
    size_t n = (size_t)b->n, all = n + (size_t)pmap_threads(pool);
    int status = 1, y;

    for (int x = 0; x < 100; x++) /* all is up */
        if (pmap_apply(pool, square, &y, x) != PMAP_OK)
            return 1;
    double before = bench_peak(true);
    struct bench_arrays a = bench_init(b);
    struct pmap_result **results = calloc(all, sizeof *results);
    double begin = bench_now();
    bool good = results && run(pool, n, a.in, a.out, results);
    double seconds = bench_now() - begin, peak = bench_peak(false) - before;
    if (good) {
        bench_line("memory", b->n, peak, "bytes, pmap_apply_async, %ld threads", b->threads);
        status = bench_report(b, &a, seconds, "pmap_apply_async, %ld threads", b->threads);
    }
    for (size_t i = 0; results && i < all; i++)
        pmap_result_free(results[i]);
    free(results);
    bench_fini(&a);
    return status;
}

int main(int argc, char **argv)
{
    struct bench b;
    struct pmap_pool *pool;
    int status = 0;

    if (!bench_parse(&b, argc, argv))
        return 1;
    if (pmap_create(&pool, .threads = (int)b.threads) != PMAP_OK)
        return 1;
    if (pool) {
        status = measure(&b, pool);
        pmap_destroy(pool);
    }
    return status;
}
