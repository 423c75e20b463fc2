/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * spmd: a code that owns MPI, with a pool for one of its phases. Heat spreads along a rod of 240 cells, of which every
 * rank has an equal part. Then each cell burns, in steps that are the shorter the hotter it is: about thirty
 * neighbours take all the time. They would lie on one rank or two, so this phase is a map over all cells.
 */
#include <math.h>
#include <pmap_mpi.h>
#include <stdio.h>

enum { CELLS = 240 };

static double burn(double t)                            /* one cell, for one unit of time */
{
    for (double time = 0, step; time < 1; time += step) {
        double rate = 1e8 * exp(-10 / t);
        step = fmin(0.01 / rate, 1 - time);
        t += step * rate * (1 - t);
    }
    return t;
}
PMAP_TASK(burn, double, double);

/* Let heat spread among the cells t[1] … t[n] of this rank; t[0] and t[n + 1] are copies of its neighbours' cells. */
static void spread(double *t, int n, int rank, int ranks)
{
    MPI_Comm world = MPI_COMM_WORLD;
    int left = rank > 0 ? rank - 1 : MPI_PROC_NULL, right = rank < ranks - 1 ? rank + 1 : MPI_PROC_NULL;
    for (int step = 0; step < 100; step++) {
        MPI_Sendrecv(&t[1], 1, MPI_DOUBLE, left, 0, &t[n + 1], 1, MPI_DOUBLE, right, 0, world, MPI_STATUS_IGNORE);
        MPI_Sendrecv(&t[n], 1, MPI_DOUBLE, right, 0, &t[0], 1, MPI_DOUBLE, left, 0, world, MPI_STATUS_IGNORE);
        for (double before = t[0], *here = &t[1]; here <= &t[n]; here++) {
            double now = *here;
            *here += 0.4 * (before - 2 * now + here[1]);
            before = now;
        }
    }
}

int main(int argc, char **argv)
{
    double t[CELLS + 2], cells[CELLS], burnt[CELLS], hottest = 0;
    int level, rank, ranks;
    struct pmap_pool *pool;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    int n = CELLS / ranks;
    if (level < MPI_THREAD_FUNNELED || n * ranks != CELLS)
        MPI_Abort(MPI_COMM_WORLD, 1);
    for (int i = 0; i < n + 2; i++)                     /* a cold rod with twenty hot cells */
        t[i] = (rank * n + i) / 20 == 4 ? 1.0 : 0.2;
    spread(t, n, rank, ranks);                          /* SPMD: each rank with its own part */
    MPI_Gather(&t[1], n, MPI_DOUBLE, cells, n, MPI_DOUBLE, 0, MPI_COMM_WORLD);
    if (pmap_create_on(MPI_COMM_WORLD, 0, &pool) != PMAP_OK) /* the pool: rank 0 goes on, the others serve in here */
        MPI_Abort(MPI_COMM_WORLD, 1);
    if (pool && pmap_map(pool, burn, cells, burnt, CELLS) != PMAP_OK)
        MPI_Abort(MPI_COMM_WORLD, 1);                   /* the others know nothing of it, and would wait */
    pmap_destroy(pool);                                 /* NULL, on a rank that has served, is fine */
    MPI_Scatter(burnt, n, MPI_DOUBLE, &t[1], n, MPI_DOUBLE, 0, MPI_COMM_WORLD);
    spread(t, n, rank, ranks);                          /* SPMD again */
    for (int i = 1; i <= n; i++)
        hottest = fmax(hottest, t[i]);
    MPI_Allreduce(MPI_IN_PLACE, &hottest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    if (rank == 0)                                      /* the same on any number of ranks */
        printf("the hottest cell has %.6f\n", hottest);
    MPI_Finalize();
    return 0;
}
