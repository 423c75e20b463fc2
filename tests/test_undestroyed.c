/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A program that never destroys its pool still ends, with exit status 0 on every rank (CPython's _TestPool).
 */
#include "harness.h"

#include <sched.h>
#include <string.h>

static int square(int x) { return x * x; }
PMAP_TASK(square, int, int);

static bool endless(int x)
{
    while (!pmap_cancelled())
        sched_yield();
    return x < 0;
}
PMAP_TASK(endless, bool, int);

static bool early; /* the program ends before it has used the pool, as after a wrong argument */
static bool busy;  /* … while items run, and would for ever */

static void pool_left_alive_ends_with_the_program(void)
{
    struct pmap_pool *pool;
    int in[] = {1, 2, 3}, out[3];

    CHECK_STATUS(pmap_create(&pool, .threads = test_threads()), PMAP_OK);
    if (pool != NULL && !early) {
        CHECK_STATUS(pmap_map(pool, square, in, out, 3), PMAP_OK);
        CHECK(out[0] == 1 && out[1] == 4 && out[2] == 9);
    }
    if (pool != NULL && busy) {
        static int many[1000];
        static bool never[1000];
        CHECK(pmap_map_async(pool, endless, many, never, 1000, .chunksize = 1) != NULL);
    }
}

static const struct test tests[] = {TEST(pool_left_alive_ends_with_the_program), {NULL, NULL}};

int main(int argc, char *argv[])
{
    early = argc > 1 && strcmp(argv[1], "early") == 0;
    busy = argc > 1 && strcmp(argv[1], "busy") == 0;
    return test_main(argc, argv, tests, "t1 t2 r1 r2 r3 r2t2 v3 t1:early r1:early r2:early r3:early t2:busy r1:busy r2:busy "
                                        "r2t2:busy");
}
