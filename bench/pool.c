/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap itself, under every workload.
 *
 *     pool work=square n=10000000 threads=2 chunk=1
 *     mpirun -n 3 pool work=spin n=2000 steps=650000 threads=1 dedicated=1
 *     pool work=sum n=67108864 threads=2               a reduction
 *     pool work=spin n=2000 threads=2 journal=1        each result goes to a file
 *     mpirun -n 2 pool work=idle pause=5000 threads=1
 *     mpirun -n 2 pool work=square n=1 pause=200 threads=1 dedicated=1      how long an idle rank takes to wake
 */
#include "bench.h"

#include <pmap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void scale(size_t n, const double in[], double *restrict out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = scaled(in[i]);
}

static void squares(size_t n, const double in[], double *restrict out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = in[i] * in[i];
}

static double add(double a, double b)
{
    return a + b;
}

/* Which process runs an item, and the CPU time it has used so far; for the idle pool. */
struct sample {
    int pid;
    double cpu;
};

static struct sample probe(int milliseconds)
{
    struct sample s = {(int)getpid(), bench_cpu_seconds()};
    bench_rest(milliseconds); /* asleep, so that every other worker takes an item meanwhile */
    return s;
}

PMAP_TASK(square, int, int);
PMAP_TASK(spin, int, int);
PMAP_TASK(nap, int, int);
PMAP_BLOCK_TASK(scale, double, double);
PMAP_BLOCK_TASK(squares, double, double);
PMAP_OP(add, double);
PMAP_TASK(probe, struct sample, int);

struct job {
    const struct bench *bench;
    struct pmap_pool *pool;
    struct bench_arrays arrays;
    enum pmap_status status; /* the last failure, PMAP_OK if there was none */
};

static enum pmap_status map(struct job *job, struct pmap_task *task, size_t n)
{
    size_t size = job->bench->work->size;
    struct pmap_map_options options = {sizeof options, .n = n, .chunksize = job->bench->chunk};
    return pmap_map_with(job->pool, task, job->arrays.in, size, job->arrays.out, size, &options);
}

static enum pmap_status reduce(struct job *job, size_t n)
{
    const double *x = job->arrays.in;
    double *sum = job->arrays.out;
    return pmap_reduce(job->pool, squares, add, x, sum, n, .chunksize = job->bench->chunk);
}

static void run(void *context, size_t n)
{
    struct job *job = context;
    const struct {
        const char *work;
        struct pmap_task *task; /* NULL: the reduction */
    } tasks[] = {{"square", &square_task}, {"spin", &spin_task}, {"skew", &nap_task}, {"scale", &scale_task},
                 {"sum", NULL}};

    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
        if (strcmp(tasks[i].work, job->bench->work->name) == 0) {
            enum pmap_status status = tasks[i].task ? map(job, tasks[i].task, n) : reduce(job, n);
            if (status != PMAP_OK)
                job->status = status;
        }
}

static int measure(struct job *job)
{
    const struct bench *b = job->bench;

    job->arrays = bench_init(b);
    double seconds = bench_rounds(b, run, job);
    int status = 1;
    if (job->status == PMAP_OK)
        status = bench_report(b, &job->arrays, seconds, "pmap, %ld threads, chunk %ld%s%s%s", b->threads, b->chunk,
                              b->dedicated ? ", dedicated root" : "", b->journal ? ", journal" : "", b->isolate ? ", isolated" : "");
    bench_fini(&job->arrays);
    return status;
}

/* What a process's clock showed first or last in an array of samples; -1 if it ran none of the items. */
enum { SAMPLES = 256 };

static double reading(const struct sample samples[], int pid, bool last)
{
    double cpu = -1;
    for (int i = 0; i < SAMPLES; i++)
        if (samples[i].pid == pid && (cpu < 0 || (samples[i].cpu > cpu) == last))
            cpu = samples[i].cpu;
    return cpu;
}

/* CPU time that the busiest rank uses while nothing is submitted. Ranks other than the root are inside pmap_create,
 * so items look at the clock for them: the last item of a rank before the rest, and its first one after. Items and
 * waking up cost microseconds, the rest is seconds long. */
static int idle(struct job *job)
{
    struct bench b = *job->bench;
    struct sample before[SAMPLES], after[SAMPLES];
    int milliseconds[SAMPLES];

    for (int i = 0; i < SAMPLES; i++)
        milliseconds[i] = 1;
    if (pmap_map(job->pool, probe, milliseconds, before, SAMPLES, .chunksize = 1) != PMAP_OK)
        return 1;
    double root = bench_cpu_seconds(), begin = bench_now();
    bench_rest(b.pause);
    double busiest = bench_cpu_seconds() - root, rested = bench_now() - begin;
    if (pmap_map(job->pool, probe, milliseconds, after, SAMPLES, .chunksize = 1) != PMAP_OK)
        return 1;

    for (int i = 0; i < SAMPLES; i++) {
        int pid = before[i].pid;
        double last = reading(before, pid, true), first = reading(after, pid, false);
        if (first < 0) {
            fprintf(stderr, "idle: a rank ran no item after the rest\n");
            return 1;
        }
        if (pid != (int)getpid() && first - last > busiest)
            busiest = first - last;
    }
    b.n = 1; /* the seconds are of all the rest, whatever n was given */
    return bench_report(&b, NULL, busiest, "pmap, CPU seconds of the busiest rank in a rest of %.2f s", rested);
}

/* Where the journal is; every rank gets a path, the root's counts. */
static const char *journal_path(void)
{
    static char path[4096];
    const char *directory = getenv("TMPDIR");

    snprintf(path, sizeof path, "%s/pmap-bench-%d.db", directory ? directory : ".", (int)getpid());
    return path;
}

int main(int argc, char **argv)
{
    struct bench b;
    struct job job = {.bench = &b};
    int status = 0;

    if (!bench_parse(&b, argc, argv))
        return 1;
    if (pmap_create(&job.pool, .threads = (int)b.threads, .dedicated_root = b.dedicated, .isolate = b.isolate,
                    .journal = b.journal ? journal_path() : NULL) != PMAP_OK)
        return 1;
    if (job.pool) {
        status = strcmp(b.work->name, "idle") == 0 ? idle(&job) : measure(&job);
        pmap_destroy(job.pool);
        if (b.journal)
            remove(journal_path());
    }
    return status;
}
