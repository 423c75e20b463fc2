/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Options, workloads and the stopwatch of the benchmark programs; linked into each of them.
 */
#include "bench.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Workloads --------------------------------------------------------------------------------------- */

/* square: nothing to compute, so that handing out is all there is to measure. */
static void square_fill(const struct bench *b, void *in)
{
    int *x = in;
    for (long i = 0; i < b->n; i++)
        x[i] = (int)(i % 46341); /* 46340 squared is the last square that fits an int */
}

static void square_run(size_t n, const void *in, void *out)
{
    const int *x = in;
    int *restrict y = out;
    for (size_t i = 0; i < n; i++)
        y[i] = square(x[i]);
}

static bool square_right(size_t n, const void *in, const void *out)
{
    const int *x = in, *y = out;
    for (size_t i = 0; i < n; i++)
        if (y[i] != square(x[i]))
            return false;
    return true;
}

/* spin: every item the same number of steps. A step waits for the one before, so neither a compiler nor a wide
 * core changes what it costs. */
int spin(int steps)
{
    uint64_t state = 1;
    for (int i = 0; i < steps; i++)
        state = state * 6364136223846793005u + 1442695040888963407u;
    return state != 0 ? steps : 0; /* state has to be known here, so the loop stays */
}

static void spin_fill(const struct bench *b, void *in)
{
    int *x = in;
    for (long i = 0; i < b->n; i++)
        x[i] = (int)b->steps;
}

static void spin_run(size_t n, const void *in, void *out)
{
    const int *x = in;
    int *y = out;
    for (size_t i = 0; i < n; i++)
        y[i] = spin(x[i]);
}

static bool same(size_t n, const void *in, const void *out)
{
    return memcmp(in, out, n * sizeof(int)) == 0;
}

/* skew: four neighbours of 1 s among items of 10 ms. They sleep, so that four workers need not four cores. */
int nap(int microseconds)
{
    struct timespec left = {microseconds / 1000000, microseconds % 1000000 * 1000L};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        continue;
    return microseconds;
}

static void skew_fill(const struct bench *b, void *in)
{
    int *x = in;
    for (long i = 0; i < b->n; i++)
        x[i] = i >= b->at && i < b->at + 4 ? 1000000 : 10000;
}

static void nap_run(size_t n, const void *in, void *out)
{
    const int *x = in;
    int *y = out;
    for (size_t i = 0; i < n; i++)
        y[i] = nap(x[i]);
}

/* scale: as little arithmetic as can be on as much memory as there is. */
static void scale_fill(const struct bench *b, void *in)
{
    double *x = in;
    for (long i = 0; i < b->n; i++)
        x[i] = (double)i;
}

static void scale_run(size_t n, const void *in, void *out)
{
    const double *x = in;
    double *restrict y = out;
    for (size_t i = 0; i < n; i++)
        y[i] = scaled(x[i]);
}

static bool scale_right(size_t n, const void *in, const void *out)
{
    const double *x = in, *y = out;
    for (size_t i = 0; i < n; i++)
        if (y[i] != scaled(x[i]))
            return false;
    return true;
}

/* sum: one result for all items, the sum of their squares. It stands in out[0]; what follows there means nothing. */
static void sum_run(size_t n, const void *in, void *out)
{
    const double *x = in;
    double *y = out, sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    *y = sum;
}

static bool sum_right(size_t n, const void *in, const void *out)
{
    const double *sum = out, m = (double)n, expected = (m - 1) * m * (2 * m - 1) / 6; /* of i * i for i < n */
    (void)in;
    return *sum >= expected * (1 - 1e-9) && *sum <= expected * (1 + 1e-9);
}

static const struct work works[] = {
    {"square", sizeof(int), square_fill, square_run, square_right},
    {"spin", sizeof(int), spin_fill, spin_run, same},
    {"skew", sizeof(int), skew_fill, nap_run, same},
    {"scale", sizeof(double), scale_fill, scale_run, scale_right},
    {"sum", sizeof(double), scale_fill, sum_run, sum_right},
    {"sum-simd", sizeof(double), scale_fill, sum_run, sum_right},      /* loop.c knows what to do */
    {"growth", sizeof(int), square_fill, square_run, square_right},    /* stream.c knows what to do */
    {"idle", sizeof(int), square_fill, square_run, square_right},      /* pool.c knows what to do */
    {"calibrate", sizeof(int), square_fill, square_run, square_right}, /* alone.c knows what to do */
};

/* ---- Options ----------------------------------------------------------------------------------------- */

static const struct option {
    const char *name;
    size_t offset;
    long value; /* unless given */
    long low, high;
} options[] = {
    {"n", offsetof(struct bench, n), 1000000, 1, LONG_MAX / 64},
    {"warm", offsetof(struct bench, warm), -1, 0, LONG_MAX},
    {"rounds", offsetof(struct bench, rounds), 5, 1, BENCH_ROUNDS},
    {"pause", offsetof(struct bench, pause), 0, 0, 1000000},
    {"threads", offsetof(struct bench, threads), 0, 0, 10000},
    {"chunk", offsetof(struct bench, chunk), 0, 0, LONG_MAX / 64},
    {"flight", offsetof(struct bench, flight), 1, 1, 1000},
    {"dedicated", offsetof(struct bench, dedicated), 0, 0, 1},
    {"journal", offsetof(struct bench, journal), 0, 0, 1},
    {"isolate", offsetof(struct bench, isolate), 0, 0, 1},
    {"processes", offsetof(struct bench, processes), 2, 1, 1000},
    {"steps", offsetof(struct bench, steps), 0, 0, INT_MAX},
    {"at", offsetof(struct bench, at), 32, 0, LONG_MAX / 64},
    {"buffer", offsetof(struct bench, buffer), 0, 0, LONG_MAX / 64},
    {"consume", offsetof(struct bench, consume), 0, 0, INT_MAX},
    {"generate", offsetof(struct bench, generate), 0, 0, INT_MAX},
    {"own", offsetof(struct bench, own), 0, 0, 1},
    {"out", offsetof(struct bench, out), sizeof(int), sizeof(int), 1 << 20},
    {"back", offsetof(struct bench, back), sizeof(int), sizeof(int), 1 << 20},
    {"busy", offsetof(struct bench, busy), 0, 0, 1000000},
    {"beside", offsetof(struct bench, beside), 0, 0, 1},
};
enum { NOPTIONS = sizeof options / sizeof *options };

static long *member(struct bench *b, const struct option *option)
{
    return (long *)(void *)((char *)b + option->offset);
}

static bool set_work(struct bench *b, const char *name)
{
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        if (strcmp(works[i].name, name) == 0)
            b->work = &works[i];
    return b->work != NULL;
}

static bool set_number(struct bench *b, const char *name, size_t length, const char *value)
{
    for (const struct option *o = options; o < options + NOPTIONS; o++)
        if (strlen(o->name) == length && strncmp(o->name, name, length) == 0) {
            char *end;
            long number = strtol(value, &end, 10);
            *member(b, o) = number;
            return *value && !*end && number >= o->low && number <= o->high;
        }
    return false;
}

bool bench_parse(struct bench *b, int argc, char **argv)
{
    *b = (struct bench){0};
    for (const struct option *o = options; o < options + NOPTIONS; o++)
        *member(b, o) = o->value;

    for (int i = 1; i < argc; i++) {
        const char *equals = strchr(argv[i], '=');
        bool good = equals && (strncmp(argv[i], "work=", 5) == 0
                                   ? set_work(b, equals + 1)
                                   : set_number(b, argv[i], (size_t)(equals - argv[i]), equals + 1));
        if (!good) {
            fprintf(stderr, "%s: cannot make sense of %s\n", argv[0], argv[i]);
            return false;
        }
    }
    if (!b->work)
        b->work = &works[0];
    if (b->warm < 0 || b->warm > b->n)
        b->warm = b->n;
    if (b->steps == 0 && strcmp(b->work->name, "spin") == 0)
        b->steps = bench_calibrate(0.001);
    return true;
}

/* ---- Arrays, clock, line ------------------------------------------------------------------------------ */

struct bench_arrays bench_init(const struct bench *b)
{
    size_t size = (size_t)b->n * b->work->size;
    struct bench_arrays a = {malloc(size), malloc(size)};

    if (!a.in || !a.out) {
        fprintf(stderr, "no memory for %ld items\n", b->n);
        exit(1);
    }
    b->work->fill(b, a.in);
    memset(a.out, 0xff, size); /* touches the pages; no workload has such a result */
    return a;
}

void bench_fini(struct bench_arrays *a)
{
    free(a->in);
    free(a->out);
}

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double bench_now(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

double bench_cpu_seconds(void)
{
    return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

void bench_rest(long milliseconds)
{
    if (milliseconds > 0)
        nap((int)milliseconds * 1000);
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

double bench_median(double *values, long n)
{
    qsort(values, (size_t)n, sizeof *values, by_value);
    return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

double bench_rounds(const struct bench *b, void (*round)(void *context, size_t n), void *context)
{
    double seconds[BENCH_ROUNDS];

    if (b->warm > 0)
        round(context, (size_t)b->warm);
    for (long i = 0; i < b->rounds; i++) {
        bench_rest(b->pause);
        double begin = bench_now();
        round(context, (size_t)b->n);
        seconds[i] = bench_now() - begin;
    }
    return bench_median(seconds, b->rounds);
}

static void line(const char *what, long n, double figure, const char *variant, va_list args)
{
    printf("%s\t", what);
    vprintf(variant, args);
    printf("\t%ld\t%.9f\n", n, figure);
}

void bench_line(const char *what, long n, double figure, const char *variant, ...)
{
    va_list args;
    va_start(args, variant);
    line(what, n, figure, variant, args);
    va_end(args);
}

int bench_report(const struct bench *b, const struct bench_arrays *a, double seconds, const char *variant, ...)
{
    if (a && !b->work->right((size_t)b->n, a->in, a->out)) {
        fprintf(stderr, "%s: wrong results\n", b->work->name);
        return 1;
    }
    va_list args;
    va_start(args, variant);
    line(b->work->name, b->n, seconds, variant, args);
    va_end(args);
    return 0;
}

int bench_latency(const struct bench *b, bool (*call)(void *context, int x), void *context, const char *variant, ...)
{
    double *seconds = malloc((size_t)b->n * sizeof *seconds);
    bool right = seconds != NULL;

    for (long i = -b->warm; i < b->n && right; i++) {
        int x = (int)((i + b->warm) % 46341);
        double begin = bench_now();
        right = call(context, x);
        if (i >= 0)
            seconds[i] = bench_now() - begin;
    }
    if (right) {
        double median = bench_median(seconds, b->n);
        va_list args;
        va_start(args, variant);
        line("latency-99", 1, seconds[b->n - 1 - b->n / 100], variant, args);
        va_end(args);
        va_start(args, variant);
        line("latency", 1, median, variant, args);
        va_end(args);
    } else {
        fprintf(stderr, "latency: a call failed, or its result was wrong\n");
    }
    free(seconds);
    return right ? 0 : 1;
}

/* VmHWM, not getrusage: that one begins with what the process had before exec, a copy of the Python that started it. */
double bench_peak(bool anew)
{
    char text[256];
    long kib = -1;
    FILE *file;

    if (anew && (file = fopen("/proc/self/clear_refs", "w"))) {
        fputs("5", file); /* see proc(5) */
        fclose(file);
    }
    if ((file = fopen("/proc/self/status", "r"))) {
        while (kib < 0 && fgets(text, sizeof text, file))
            if (strncmp(text, "VmHWM:", 6) == 0)
                kib = strtol(text + 6, NULL, 10);
        fclose(file);
    }
    if (kib < 0) {
        fprintf(stderr, "no VmHWM in /proc/self/status\n");
        exit(1);
    }
    return 1024.0 * (double)kib;
}

/* The thread's CPU clock stands still while others have the core, and the fastest of several tries is the one
 * least disturbed through caches. */
long bench_calibrate(double seconds)
{
    enum { STEPS = 1000000, TRIES = 20 };
    double best = 1e9;

    for (int i = 0; i < TRIES; i++) {
        double begin = seconds_of(CLOCK_THREAD_CPUTIME_ID);
        volatile int done = spin(STEPS); /* volatile: or the call is dropped with its unused result */
        (void)done;
        double took = seconds_of(CLOCK_THREAD_CPUTIME_ID) - begin;
        best = took < best ? took : best;
    }
    return (long)(STEPS * seconds / best);
}
