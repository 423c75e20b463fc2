/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What one call on another rank costs at least: rank 0 sends an int, rank 1 sends its square back. The peer of latency.
 *
 *     mpirun -n 2 pingpong n=20000                    messages of an int
 *     mpirun -n 2 pingpong n=20000 out=112 back=80    of as many bytes as pmap sends for it, head included
 */
#include "bench.h"

#include <mpi.h>

static union {
    int value;
    char bytes[1 << 20];
} there, here;

static bool ping(void *context, int x)
{
    const struct bench *b = context;

    there.value = x;
    MPI_Send(&there, (int)b->out, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
    MPI_Recv(&here, (int)b->back, MPI_BYTE, 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    return here.value == square(x);
}

static void pong(const struct bench *b, long n)
{
    for (long i = 0; i < n; i++) {
        MPI_Recv(&there, (int)b->out, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        here.value = square(there.value);
        MPI_Send(&here, (int)b->back, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
    }
}

int main(int argc, char **argv)
{
    struct bench b;
    int rank, ranks, status = 0;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (!bench_parse(&b, argc, argv) || ranks != 2)
        MPI_Abort(MPI_COMM_WORLD, 1);
    if (rank == 0)
        status = bench_latency(&b, ping, &b, "MPI_Send and MPI_Recv of %ld and %ld bytes, 2 ranks", b.out, b.back);
    else
        pong(&b, b.warm + b.n);
    MPI_Finalize();
    return status;
}
