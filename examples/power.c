/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * power: a task of two arguments, mapped over a table of them (starmap) and called once (apply). In Python:
 *
 *     table = pool.starmap(power, [(2.0, 1), (2.0, 2), …])
 *     y = pool.apply(power, (0.5, -10))
 */
#include <pmap.h>
#include <stdio.h>
#include <stdlib.h>

static double power(double base, int exponent)
{
    if (base == 0.0 && exponent < 0)        /* what an exception is in Python */
        return pmap_fail(1, "0 to the power of %d", exponent);

    double product = 1.0;
    for (int i = 0; i < abs(exponent); i++)
        product *= base;
    return exponent < 0 ? 1.0 / product : product;
}
PMAP_TASK(power, double, double, int);      /* also defines struct power_args: one call's arguments */

enum { BASES = 5, EXPONENTS = 6 };

/* A call that fails has printed why (unless it is given .error = &err), so there is no text to print here. */
static int run(struct pmap_pool *pool)
{
    struct power_args args[BASES * EXPONENTS];
    double table[BASES * EXPONENTS], y;

    for (int i = 0; i < BASES * EXPONENTS; i++)
        args[i] = (struct power_args){i / EXPONENTS + 2.0, i % EXPONENTS + 1};

    if (pmap_starmap(pool, power, args, table, BASES * EXPONENTS) != PMAP_OK)
        return EXIT_FAILURE;
    if (pmap_apply(pool, power, &y, 0.5, -10) != PMAP_OK)
        return EXIT_FAILURE;

    for (int i = 0; i < BASES * EXPONENTS; i++)     /* one line per base */
        printf("%7.0f%s", table[i], i % EXPONENTS == EXPONENTS - 1 ? "\n" : "");
    printf("0.5 ^ -10 = %g\n", y);
    return EXIT_SUCCESS;
}

int main(void)
{
    struct pmap_pool *pool;
    int status = EXIT_SUCCESS;

    if (pmap_create(&pool) != PMAP_OK)
        return EXIT_FAILURE;
    if (pool) {
        status = run(pool);
        pmap_destroy(pool);                 /* on the way of a failure too: the other ranks wait for it */
    }
    return status;
}
