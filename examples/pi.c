/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pi: random points in a square; of those, pi/4 lie in the quarter of a circle.      ./pi [BLOCKS]
 * Each item scatters the points of one block, with random numbers that follow from its index alone, and all that comes back
 * is one sum: the digits are the same for any number of threads and ranks. In Python, but for the random numbers:
 *
 *     hits = sum(pool.map(scatter, range(blocks)))
 */
#include <pmap.h>
#include <stdio.h>
#include <stdlib.h>

static const double pi = 3.141592653589793;
enum { POINTS = 100000 };                   /* per block: about a millisecond */

static double scatter(void)
{
    struct pmap_random r = pmap_random_stream(pmap_item());
    int hits = 0;

    for (int i = 0; i < POINTS; i++) {
        double x = pmap_random_uniform(&r), y = pmap_random_uniform(&r);
        hits += x * x + y * y < 1;
    }
    return hits;
}
PMAP_TASK(scatter, double);

static double add(double a, double b) { return a + b; }
PMAP_OP(add, double);                       /* how pmap_reduce makes one result of two */

static int run(struct pmap_pool *pool, size_t blocks)
{
    double hits;

    /* There is no array to read: scatter takes no arguments. */
    if (pmap_reduce(pool, scatter, add, NULL, &hits, blocks, .seed = 2026) != PMAP_OK)
        return EXIT_FAILURE;

    double estimate = 4 * hits / ((double)blocks * POINTS);
    printf("pi is about %.17g, by %zu points (off by %.2g)\n", estimate, blocks * POINTS, estimate - pi);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    size_t blocks = argc > 1 ? strtoul(argv[1], NULL, 10) : 200;
    struct pmap_pool *pool;
    int status = EXIT_SUCCESS;

    if (blocks == 0) {
        fprintf(stderr, "usage: pi [BLOCKS], of %d points each\n", POINTS);
        return EXIT_FAILURE;
    }
    if (pmap_create(&pool) != PMAP_OK)
        return EXIT_FAILURE;
    if (pool) {
        status = run(pool, blocks);
        pmap_destroy(pool);
    }
    return status;
}
