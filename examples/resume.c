/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * resume: a sweep that goes on where it was killed. For which r is the logistic map x -> r x (1 - x) chaotic? Where its Lyapunov
 * exponent is above zero. Each point takes a moment, and is kept in a journal as soon as it is known. Kill the program, or the
 * whole job, and start it again, on as many threads and ranks as you like: the table is the same, and no point that was known is
 * computed again.
 * A signal, or the end of the time that a job has, makes it stop by itself, with status 85: worth starting again (doc/slurm.md).
 *
 *     resume FILE.db [POINTS]
 */
#include <math.h>
#include <pmap.h>
#include <stdio.h>
#include <stdlib.h>

static double lyapunov(double r)                        /* how fast neighbours part, per step */
{
    double x = 0.4, sum = 0;
    for (int i = -1000; i < 500000; i++) {              /* the first steps lead there */
        x = r * x * (1 - x);
        if (i >= 0)
            sum += log(fabs(r * (1 - 2 * x)) + 1e-300);
    }
    return sum / 500000;
}
PMAP_TASK(lyapunov, double, double);

int main(int argc, char *argv[])
{
    int points = argc > 2 ? atoi(argv[2]) : 1000, chaotic = 0;
    struct pmap_pool *pool;
    if (argc < 2 || points < 2)
        return fprintf(stderr, "usage: resume FILE.db [POINTS]\n"), 2;
    /* The journal belongs to this program; had lyapunov computed something else before, .journal_version would say so. */
    if (pmap_create(&pool, .journal = argv[1]) != PMAP_OK)
        return 1;                                       /* the file is no journal, or damaged, or another process has it */
    if (pool == NULL)
        return 0;                                       /* this rank has served, and is done */
    double *r = calloc((size_t)points, sizeof *r), *exponent = calloc((size_t)points, sizeof *exponent);
    for (int i = 0; r && i < points; i++)
        r[i] = 3.5 + 0.5 * i / (points - 1);
    /* With a name the points are found again when this line has moved. */
    enum pmap_status status = pmap_map(pool, lyapunov, r, exponent, (size_t)points, .name = "sweep");
    pmap_destroy(pool);
    for (int i = 0; status == PMAP_OK && i < points; i++) {
        if (i % (points / 10 + 1) == 0)
            printf("r = %.4f: %+.3f\n", r[i], exponent[i]);
        chaotic += exponent[i] > 0;
    }
    if (status == PMAP_OK)
        printf("chaotic at %d of %d points\n", chaotic, points);
    free(r);
    free(exponent);
    return status == PMAP_EINTERRUPTED ? 85 : status != PMAP_OK;
}
