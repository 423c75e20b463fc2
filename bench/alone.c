/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The ideal: how long n items would take if handing them out cost nothing. Serial processes that know nothing of
 * each other run the same item side by side for about as long as the pool would take; n over the sum of their
 * rates is printed. So the machine's own losses with several cores busy (clock, caches, neighbours) do not count
 * against a pool, and one slow process does not hold up the other.
 *
 *     alone work=spin n=1000 steps=650000 processes=2
 *     alone work=calibrate            prints as n how many steps of spin take 1 ms
 */
#include "bench.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* In memory that the processes share. */
struct meeting {
    atomic_long ready; /* processes that have arrived; none starts before all have */
    double rates[];    /* items per second, each written by its process */
};

/* Items per second of one process, over the `seconds` from when all are ready. */
static double rate(const struct bench *b, struct meeting *m, double seconds)
{
    int out, in = (int)b->steps;
    long items = 0;

    b->work->run(1, &in, &out); /* warm-up */
    atomic_fetch_add(&m->ready, 1);
    while (atomic_load(&m->ready) < b->processes)
        continue;
    double begin = bench_now(), took;
    do {
        b->work->run(1, &in, &out);
        items++;
        took = bench_now() - begin;
    } while (took < seconds);
    return (double)items / took;
}

/* The seconds that n items would take all of them together. */
static double side_by_side(const struct bench *b)
{
    size_t size = sizeof(struct meeting) + (size_t)b->processes * sizeof(double);
    struct meeting *m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double sum = 0;

    if (m == MAP_FAILED)
        exit(1);
    for (long i = 0; i < b->processes; i++)
        if (fork() == 0) {
            m->rates[i] = rate(b, m, 0.001 * (double)b->n / (double)b->processes);
            _exit(0);
        }
    while (wait(NULL) > 0)
        continue;
    for (long i = 0; i < b->processes; i++)
        sum += m->rates[i];
    munmap(m, size);
    return (double)b->n / sum;
}

int main(int argc, char **argv)
{
    struct bench b;
    double seconds[BENCH_ROUNDS];

    if (!bench_parse(&b, argc, argv))
        return 1;
    if (strcmp(b.work->name, "calibrate") == 0) {
        b.n = bench_calibrate(0.001);
        return bench_report(&b, NULL, 0.001, "steps of spin");
    }
    if (strcmp(b.work->name, "spin") != 0)
        return 1;
    for (long i = 0; i < b.rounds; i++)
        seconds[i] = side_by_side(&b);
    return bench_report(&b, NULL, bench_median(seconds, b.rounds), "ideal, %ld serial processes", b.processes);
}
