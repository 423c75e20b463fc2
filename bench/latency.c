/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How long one pmap_apply takes, there and back, call after call.
 *
 *     latency n=20000 threads=2
 *     mpirun -n 2 latency n=20000 threads=1 dedicated=1           on rank 1, since rank 0 only hands out
 *     mpirun -n 2 latency n=20000 threads=1 dedicated=1 own=1     the program owns MPI, at MPI_THREAD_FUNNELED
 */
#include "bench.h"

#include <pmap_mpi.h>
#include <stdlib.h>

PMAP_TASK(square, int, int);

static bool call(void *pool, int x)
{
    int y;
    return pmap_apply(pool, square, &y, x) == PMAP_OK && y == square(x);
}

static enum pmap_status create(const struct bench *b, struct pmap_pool **pool)
{
    if (b->own)
        return pmap_create_on(MPI_COMM_WORLD, 0, pool, .threads = (int)b->threads, .dedicated_root = b->dedicated);
    return pmap_create(pool, .threads = (int)b->threads, .dedicated_root = b->dedicated);
}

int main(int argc, char **argv)
{
    struct bench b;
    struct pmap_pool *pool;
    int level, status = 0;

    if (!bench_parse(&b, argc, argv))
        return 1;
    if (b.own)
        MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &level);
    if (create(&b, &pool) != PMAP_OK)
        return 1; /* mpirun ends the other ranks */
    if (pool) {
        status = bench_latency(&b, call, pool, "pmap_apply, %d ranks, %d threads%s", pmap_ranks(pool),
                               pmap_threads(pool), b.own ? ", the program owns MPI" : "");
        pmap_destroy(pool);
    }
    if (b.own)
        MPI_Finalize();
    return status;
}
