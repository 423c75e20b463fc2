/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap_share: how much memory do all ranks of a node together need for data that each of them reads?
 *
 *     mpirun -n 4 share n=1024 threads=1          n MiB of data; prints bytes
 *
 * Counted are proportional set sizes (Pss in /proc/self/smaps_rollup): a page that k processes have mapped counts as 1/k
 * in each, so that their sum counts it once. A process maps a page when it first touches it, so every rank reads all of
 * the data before. What the ranks had before they shared anything is subtracted, and the caller has freed its copy.
 */
#include "bench.h"

#include <pmap.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SAMPLES = 64, PAGE = 4096 / sizeof(uint64_t) };

struct sample {
    int pid;
    uint64_t sum; /* of the first word of each page */
    double bytes; /* that this process has */
};

static double proportional_set_size(void)
{
    char text[256];
    long kib = -1;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");

    while (file && kib < 0 && fgets(text, sizeof text, file))
        if (strncmp(text, "Pss:", 4) == 0)
            kib = strtol(text + 4, NULL, 10);
    if (file)
        fclose(file);
    if (kib < 0)
        pmap_fail(1, "no Pss in /proc/self/smaps_rollup");
    return 1024.0 * (double)kib;
}

static uint64_t sum_of_pages(const uint64_t data[], size_t size)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < size / sizeof *data; i += PAGE)
        sum += data[i];
    return sum;
}

static struct sample probe(struct pmap_handle handle)
{
    const uint64_t *data = pmap_shared(handle); /* NULL before it is shared */
    struct sample s = {.pid = (int)getpid(), .sum = data ? sum_of_pages(data, handle.size) : 0};
    s.bytes = proportional_set_size();
    bench_rest(2); /* asleep, so that every other rank takes an item meanwhile */
    return s;
}

PMAP_TASK(probe, struct sample, struct pmap_handle);

/* Bytes of all ranks together, each by its last sample; negative if a rank gave none, or the sum is not that. */
static double total(struct pmap_pool *pool, struct pmap_handle handle, uint64_t sum)
{
    struct pmap_handle handles[SAMPLES];
    struct sample samples[SAMPLES];
    double bytes = 0;
    int ranks = 0;

    for (int i = 0; i < SAMPLES; i++)
        handles[i] = handle;
    if (pmap_map(pool, probe, handles, samples, SAMPLES, .chunksize = 1) != PMAP_OK)
        return -1;
    for (int i = 0; i < SAMPLES; i++) {
        bool last = true;
        for (int j = i + 1; j < SAMPLES; j++)
            last = last && samples[j].pid != samples[i].pid;
        ranks += last;
        bytes += last ? samples[i].bytes : 0;
        if (samples[i].sum != sum)
            ranks = -SAMPLES;
    }
    if (ranks != pmap_ranks(pool))
        fprintf(stderr, "share: wrong data, or some of %d ranks ran no item\n", pmap_ranks(pool));
    return ranks == pmap_ranks(pool) ? bytes : -1;
}

static bool share(struct pmap_pool *pool, size_t size, struct pmap_handle *handle, uint64_t *sum)
{
    uint64_t *data = malloc(size);
    bool good = data != NULL;

    if (good) {
        for (size_t i = 0; i < size / sizeof *data; i++)
            data[i] = i * 0x9e3779b97f4a7c15;
        *sum = sum_of_pages(data, size);
        good = pmap_share(pool, data, size, handle) == PMAP_OK;
    }
    free(data);
    return good;
}

static int measure(struct bench *b, struct pmap_pool *pool)
{
    struct pmap_handle handle = {0};
    size_t size = (size_t)b->n << 20;
    uint64_t sum = 0;

    double before = total(pool, handle, sum);
    if (before < 0 || !share(pool, size, &handle, &sum))
        return 1;
    if (total(pool, handle, sum) < 0) /* now every rank has touched all of it */
        return 1;
    double after = total(pool, handle, sum);
    if (after < 0)
        return 1;
    b->n = 1; /* the bytes are of all the data */
    return bench_report(b, NULL, after - before, "bytes, pmap_share of %zu MiB, %d ranks", size >> 20, pmap_ranks(pool));
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
