/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap_imap: how many items a second go through it, and how much memory it takes while many do.
 *
 *     stream work=square n=200000 threads=2 chunk=1                           from an array, results in order
 *     stream work=growth n=10000000 warm=10000 chunk=10 threads=2 consume=1300    from a generator, to a slow consumer
 */
#include "bench.h"

#include <pmap.h>
#include <stdio.h>
#include <string.h>

PMAP_TASK(square, int, int);

struct job {
    const struct bench *bench;
    struct pmap_pool *pool;
    struct bench_arrays arrays;
    bool failed;
};

static struct pmap_iter *open_stream(const struct job *job, struct pmap_source source)
{
    return pmap_imap(job->pool, square, source, .chunksize = job->bench->chunk,
                     .buffersize = (size_t)job->bench->buffer);
}

/* ---- Items a second ---- */

static void run(void *context, size_t n)
{
    struct job *job = context;
    const int *x = job->arrays.in;
    int *out = job->arrays.out, y;
    struct pmap_iter *it = open_stream(job, PMAP_ARRAY(x, n));
    enum pmap_status status;
    size_t got = 0;

    while ((status = pmap_iter_next(it, &y, PMAP_FOREVER)) == PMAP_OK)
        out[got++] = y;
    if (status != PMAP_END || got != n)
        job->failed = true;
    pmap_iter_free(it);
}

static int measure(struct job *job)
{
    const struct bench *b = job->bench;

    job->arrays = bench_init(b);
    double seconds = bench_rounds(b, run, job);
    int status = 1;
    if (!job->failed)
        status = bench_report(b, &job->arrays, seconds, "pmap_imap, %ld threads, chunk %ld, buffer %ld", b->threads,
                              b->chunk, b->buffer);
    bench_fini(&job->arrays);
    return status;
}

/* ---- Memory ---- */

struct supply {
    long next, n;
    int steps; /* of spin for each item */
};

static int item(long i)
{
    return (int)(i % 46341);
}

static bool supply(void *state, void *x)
{
    struct supply *s = state;
    int *to = x;
    if (s->next == s->n)
        return false;
    spin(s->steps);
    *to = item(s->next++);
    return true;
}

static bool pass(const struct job *job, long n)
{
    struct supply s = {.n = n, .steps = (int)job->bench->generate};
    struct pmap_iter *it = open_stream(job, PMAP_GENERATOR(supply, &s));
    enum pmap_status status;
    long got = 0;
    int y;

    while ((status = pmap_iter_next(it, &y, PMAP_FOREVER)) == PMAP_OK && y == square(item(got))) {
        spin((int)job->bench->consume);
        got++;
    }
    pmap_iter_free(it);
    if (status != PMAP_END || got != n)
        fprintf(stderr, "growth: item %ld failed, or its result was wrong\n", got);
    return status == PMAP_END && got == n;
}

/* A stream of b->warm items needs what any stream needs; what one of b->n needs more is growth. */
static int grow(struct job *job)
{
    struct bench b = *job->bench;

    if (!pass(job, b.warm))
        return 1;
    double before = bench_peak(true), begin = bench_now();
    if (!pass(job, b.n))
        return 1;
    double seconds = bench_now() - begin, growth = bench_peak(false) - before;
    long n = b.n;
    b.n = 1; /* the bytes are of all items together */
    return bench_report(&b, NULL, growth, "bytes, pmap_imap of %ld items in %.1f s, %ld threads, chunk %ld", n, seconds,
                        b.threads, b.chunk);
}

int main(int argc, char **argv)
{
    struct bench b;
    struct job job = {.bench = &b};
    int status = 0;

    if (!bench_parse(&b, argc, argv))
        return 1;
    if (pmap_create(&job.pool, .threads = (int)b.threads, .dedicated_root = b.dedicated) != PMAP_OK)
        return 1;
    if (job.pool) {
        status = strcmp(b.work->name, "growth") == 0 ? grow(&job) : measure(&job);
        pmap_destroy(job.pool);
    }
    return status;
}
