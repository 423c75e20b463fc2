/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What one call on another rank costs at least: rank 0 sends an int, rank 1 sends its square back. The peer of latency.
 *
 *     mpirun -n 2 pingpong n=20000
 */
#include "bench.h"

#include <mpi.h>

static bool ping(void *context, int x)
{
    int y;
    (void)context;
    MPI_Send(&x, 1, MPI_INT, 1, 0, MPI_COMM_WORLD);
    MPI_Recv(&y, 1, MPI_INT, 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    return y == square(x);
}

static void pong(long n)
{
    for (long i = 0; i < n; i++) {
        int x, y;
        MPI_Recv(&x, 1, MPI_INT, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        y = square(x);
        MPI_Send(&y, 1, MPI_INT, 0, 0, MPI_COMM_WORLD);
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
        status = bench_latency(&b, ping, NULL, "MPI_Send and MPI_Recv, 2 ranks");
    else
        pong(b.warm + b.n);
    MPI_Finalize();
    return status;
}
