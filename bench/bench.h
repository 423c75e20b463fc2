/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What the programs of bench/ share: options, workloads, the stopwatch, the line they print. README.md tells
 * what is compared with what.
 *
 * A program takes key=value arguments and prints one line with tabs in it: workload, variant, n, seconds.
 *
 *     $ bench/loop work=square n=10000000 threads=2 chunk=1
 *     square	OpenMP, 2 threads, dynamic, chunk 1	10000000	0.118200000
 *
 * One that measures several things prints a line for each, the main one last. Where a line is not about time (memory,
 * growth), bytes stand in place of the seconds.
 */
#ifndef BENCH_H
#define BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* clock_gettime, MAP_ANONYMOUS; before the first system header */
#endif

#include <stdbool.h>
#include <stddef.h>

enum { BENCH_ROUNDS = 1000 }; /* at most */

/* The arguments. A program looks only at those that mean something to it. */
struct bench {
    const struct work *work; /* work=square: see the table in bench.c */
    long n;                  /* items of a round */
    long warm;               /* items of the warm-up round; n unless given */
    long rounds;             /* measured rounds: their median is printed */
    long pause;              /* milliseconds of rest before each round, not measured */
    long threads;            /* OpenMP threads, or threads per rank; 0: the library's choice */
    long chunk;              /* items handed out at once; 0: the library's choice */
    long flight;             /* farm: chunks on their way per worker */
    long dedicated;          /* pool: 1 if the root only hands out */
    long journal;            /* pool: 1 if results go to a journal, a file in TMPDIR or here that is removed */
    long isolate;            /* pool: 1 if items run in processes of their own */
    long processes;          /* alone: processes side by side */
    long steps;              /* spin: steps of one item */
    long at;                 /* skew: where the four long items stand */
    long buffer;             /* stream: the buffersize; 0: the library's choice */
    long consume;            /* stream: steps of spin that the consumer takes for each result, */
    long generate;           /* and the generator for each item */
    long own;                /* latency: 1 if the program initialises MPI, and the pool is its guest */
    long out, back;          /* pingpong: bytes of a message there, and back */
    long busy;               /* busy: milliseconds for which something computes beside the map: */
    long beside;             /* 0: the caller itself; 1: a process of its own, while the caller waits */
};

/* A workload: items of one type in, as many of the same type out. */
struct work {
    const char *name;
    size_t size; /* bytes of an item */
    void (*fill)(const struct bench *b, void *in);
    void (*run)(size_t n, const void *in, void *out);          /* the serial loop over n items */
    bool (*right)(size_t n, const void *in, const void *out);  /* is out what run makes of in? */
};

/* Fill *b from the arguments. On a mistake: print it and return false. */
bool bench_parse(struct bench *b, int argc, char **argv);

/* Arrays of b->n items of b->work, every page touched; exits if there is no memory. Freed by bench_fini. */
struct bench_arrays {
    void *in, *out;
};
struct bench_arrays bench_init(const struct bench *b);
void bench_fini(struct bench_arrays *a);

/* Run round(context, b->warm) once, then round(context, b->n) b->rounds times; median seconds of the latter. */
double bench_rounds(const struct bench *b, void (*round)(void *context, size_t n), void *context);

/* Print the line, if out is right. Returns what main returns: 0, or 1 for wrong results. */
int bench_report(const struct bench *b, const struct bench_arrays *a, double seconds, const char *variant, ...)
    __attribute__((format(printf, 4, 5)));

/* Print a line about something else than b->work: what it is, and its figure for n of something. */
void bench_line(const char *what, long n, double figure, const char *variant, ...)
    __attribute__((format(printf, 4, 5)));

/* How long does one call take? After b->warm calls that do not count, b->n of them, each timed by itself; call says
 * whether the answer to x was right. Prints two lines, latency-99 (99 of 100 calls take no longer) and latency (the
 * median). Returns what main returns. */
int bench_latency(const struct bench *b, bool (*call)(void *context, int x), void *context, const char *variant, ...)
    __attribute__((format(printf, 4, 5)));

double bench_median(double *values, long n); /* sorts them */

/* The most memory, in bytes, that this process has had in use: its peak resident set. If anew, the peak begins here: it
 * is what the process has in use now. */
double bench_peak(bool anew);

double bench_now(void);             /* seconds of the wall clock since some moment */
double bench_cpu_seconds(void);     /* CPU time of this process, all threads */
void bench_rest(long milliseconds);

/* The items. The short ones are inlined where they are used, as in a user's program. The long ones are one copy
 * in bench.c, so that an item takes the same number of cycles in every program. */
static inline int square(int x)
{
    return x * x;
}

static inline double scaled(double x)
{
    return 2.0 * x + 1.0;
}

int spin(int steps);       /* compute for so many steps; returns steps */
int nap(int microseconds); /* sleep; returns microseconds */

/* How many steps of spin take so many seconds of CPU time on this machine. */
long bench_calibrate(double seconds);

#endif
