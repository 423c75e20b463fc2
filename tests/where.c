/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Where a pool's threads are: one line, such as "4 ranks, 8 threads, all at work on node1 node2". For tests/slurm.
 */
#include <pmap.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct place {
    int rank, thread;
    char host[64];
};

/* So long that nobody can run two before everybody has one. */
static struct place where(int unused)
{
    struct place place = {.rank = pmap_rank(), .thread = pmap_thread()};

    (void)unused;
    gethostname(place.host, sizeof place.host - 1);
    usleep(500000);
    return place;
}
PMAP_TASK(where, struct place, int);

static int by_host(const void *a, const void *b)
{
    return strcmp(((const struct place *)a)->host, ((const struct place *)b)->host);
}

static int tell(struct pmap_pool *pool)
{
    int n = pmap_threads(pool), different = 0;
    int *in = calloc((size_t)n, sizeof *in);
    struct place *out = calloc((size_t)n, sizeof *out);

    if (in == NULL || out == NULL || pmap_map(pool, where, in, out, (size_t)n, .chunksize = 1) != PMAP_OK)
        return EXIT_FAILURE;
    for (int i = 0; i < n; i++) {
        int k = 0;
        while (k < i && (out[k].rank != out[i].rank || out[k].thread != out[i].thread))
            k++;
        different += k == i;
    }
    qsort(out, (size_t)n, sizeof *out, by_host);
    printf("%d ranks, %d threads, %s at work on", pmap_ranks(pool), n, different == n ? "all" : "not all");
    for (int i = 0; i < n; i++)
        if (i == 0 || strcmp(out[i].host, out[i - 1].host) != 0)
            printf(" %s", out[i].host);
    printf("\n");
    free(in);
    free(out);
    return EXIT_SUCCESS;
}

int main(void)
{
    struct pmap_pool *pool;
    int status = EXIT_SUCCESS;

    if (pmap_create(&pool) != PMAP_OK)
        return EXIT_FAILURE;
    if (pool) {
        status = tell(pool);
        pmap_destroy(pool);
    }
    return status;
}
