/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * square: the whole idea in one page. In Python it would be
 *
 *     with Pool() as pool:
 *         print(pool.map(square, [1, 2, 3]))
 *
 * Prints 1, 4, 9, however it is started: ./square, mpirun -n 5 ./square or srun -n 5 ./square.
 */
#include <pmap.h>
#include <stdio.h>

static int square(int x) { return x * x; }
PMAP_TASK(square, int, int);                /* result type, then argument types */

int main(void)
{
    struct pmap_pool *pool;

    if (pmap_create(&pool) != PMAP_OK)      /* ranks 1.. serve in here */
        return 1;
    if (pool) {                             /* the root goes on alone */
        int x[] = {1, 2, 3}, y[3];

        pmap_map(pool, square, x, y, 3);
        printf("%d, %d, %d\n", y[0], y[1], y[2]);
        pmap_destroy(pool);
    }
    return 0;
}
