/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The loop an OpenMP programmer writes: one pragma above a for. The peer of a pool of threads.
 *
 *     loop work=square n=10000000 threads=2 chunk=1000      schedule(dynamic, 1000)
 *     loop work=scale n=134217728 threads=2                 no schedule named: one block for each thread
 *     loop work=sum-simd n=67108864 threads=2               a reduction that may add in any order within a thread, too
 */
#include "bench.h"

#include <omp.h>
#include <string.h>

/* How one workload is written by hand. The loops are spelled out, so that the item is compiled into them. */
struct loop {
    const char *work;
    void (*plain)(size_t n, const void *in, void *out);
    void (*dynamic)(size_t n, const void *in, void *out, int chunk);
};

static void square_plain(size_t n, const void *in, void *out)
{
    const int *x = in;
    int *restrict y = out;
#pragma omp parallel for
    for (size_t i = 0; i < n; i++)
        y[i] = square(x[i]);
}

static void square_dynamic(size_t n, const void *in, void *out, int chunk)
{
    const int *x = in;
    int *restrict y = out;
#pragma omp parallel for schedule(dynamic, chunk)
    for (size_t i = 0; i < n; i++)
        y[i] = square(x[i]);
}

static void spin_plain(size_t n, const void *in, void *out)
{
    const int *x = in;
    int *restrict y = out;
#pragma omp parallel for
    for (size_t i = 0; i < n; i++)
        y[i] = spin(x[i]);
}

static void spin_dynamic(size_t n, const void *in, void *out, int chunk)
{
    const int *x = in;
    int *restrict y = out;
#pragma omp parallel for schedule(dynamic, chunk)
    for (size_t i = 0; i < n; i++)
        y[i] = spin(x[i]);
}

static void skew_plain(size_t n, const void *in, void *out)
{
    const int *x = in;
    int *restrict y = out;
#pragma omp parallel for
    for (size_t i = 0; i < n; i++)
        y[i] = nap(x[i]);
}

static void skew_dynamic(size_t n, const void *in, void *out, int chunk)
{
    const int *x = in;
    int *restrict y = out;
#pragma omp parallel for schedule(dynamic, chunk)
    for (size_t i = 0; i < n; i++)
        y[i] = nap(x[i]);
}

static void scale_plain(size_t n, const void *in, void *out)
{
    const double *x = in;
    double *restrict y = out;
#pragma omp parallel for
    for (size_t i = 0; i < n; i++)
        y[i] = scaled(x[i]);
}

static void scale_dynamic(size_t n, const void *in, void *out, int chunk)
{
    const double *x = in;
    double *restrict y = out;
#pragma omp parallel for schedule(dynamic, chunk)
    for (size_t i = 0; i < n; i++)
        y[i] = scaled(x[i]);
}

static void sum_plain(size_t n, const void *in, void *out)
{
    const double *x = in;
    double *y = out, sum = 0;
#pragma omp parallel for reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    *y = sum;
}

static void sum_dynamic(size_t n, const void *in, void *out, int chunk)
{
    const double *x = in;
    double *y = out, sum = 0;
#pragma omp parallel for schedule(dynamic, chunk) reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    *y = sum;
}

static void sum_simd_plain(size_t n, const void *in, void *out)
{
    const double *x = in;
    double *y = out, sum = 0;
#pragma omp parallel for simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    *y = sum;
}

static void sum_simd_dynamic(size_t n, const void *in, void *out, int chunk)
{
    const double *x = in;
    double *y = out, sum = 0;
#pragma omp parallel for simd schedule(dynamic, chunk) reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    *y = sum;
}

static const struct loop loops[] = {
    {"square", square_plain, square_dynamic},
    {"spin", spin_plain, spin_dynamic},
    {"skew", skew_plain, skew_dynamic},
    {"scale", scale_plain, scale_dynamic},
    {"sum", sum_plain, sum_dynamic},
    {"sum-simd", sum_simd_plain, sum_simd_dynamic},
};

struct job {
    const struct loop *loop;
    struct bench_arrays arrays;
    int chunk;
};

static void run(void *context, size_t n)
{
    struct job *job = context;
    if (job->chunk > 0)
        job->loop->dynamic(n, job->arrays.in, job->arrays.out, job->chunk);
    else
        job->loop->plain(n, job->arrays.in, job->arrays.out);
}

int main(int argc, char **argv)
{
    struct bench b;
    struct job job = {0};

    if (!bench_parse(&b, argc, argv))
        return 1;
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++)
        if (strcmp(loops[i].work, b.work->name) == 0)
            job.loop = &loops[i];
    if (!job.loop)
        return 1;
    if (b.threads > 0)
        omp_set_num_threads((int)b.threads);
    job.arrays = bench_init(&b);
    job.chunk = (int)b.chunk;
    double seconds = bench_rounds(&b, run, &job);
    int status = bench_report(&b, &job.arrays, seconds, "OpenMP, %d threads, %s, chunk %d", omp_get_max_threads(),
                              job.chunk > 0 ? "dynamic" : "plain", job.chunk);
    bench_fini(&job.arrays);
    return status;
}
