/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The matrix of concurrent.futures' ExecutorDeadlockTest, in C: wherever something of the user's goes wrong, and however, the call
 * ends in time with the right status, every other item has its result, and the pool is of use afterwards. In a pool of threads
 * only pmap_fail can go wrong without the end of the program; that end is tested in test_ends.sh.
 *
 * What Python calls argument and result unpickling is a large argument, or result, on its way. Each cell has a pool of its own. All
 * ranks run these functions in step.
 */
#include "deaths.h"
#include "harness.h"

#include <stdlib.h>
#include <string.h>

enum { N = 40, SICK = 23 };

/* An endless loop has so long, in seconds. */
#define TIMEOUT 0.25

#define LARGE test_size((size_t)1 << 20, (size_t)1 << 16)

/* ---- Where -------------------------------------------------------------------------------------------- */

/* The first byte says how to die; the sum of the others is the result. */
static struct pmap_bytes large_argument(struct pmap_bytes item)
{
    const unsigned char *bytes = item.data;
    long *sum = calloc(1, sizeof *sum);

    die(bytes[0]);
    for (size_t i = 1; i < item.size; i++)
        *sum += bytes[i];
    return (struct pmap_bytes){sum, sizeof *sum};
}
PMAP_BYTES_TASK(large_argument);

static struct pmap_bytes large_result(struct pmap_bytes item)
{
    size_t size = LARGE;
    char *result = malloc(size);

    memset(result, 5, size);
    die(((const unsigned char *)item.data)[0]);
    return (struct pmap_bytes){result, size};
}
PMAP_BYTES_TASK(large_result);

static int task(int death)
{
    die(death);
    return 11;
}
PMAP_TASK(task, int, int);

static int nested(int death)
{
    int in[4] = {0, 0, death, 0}, out[4];

    if (pmap_map(NULL, task, in, out, 4) != PMAP_OK)
        return pmap_fail(7, "as asked");
    return out[0] + out[3];
}
PMAP_TASK(nested, int, int);

static int value(int x) { return x; }
PMAP_TASK(value, int, int);

static int operation(int a, int b)
{
    die(a < 0 ? -a : b < 0 ? -b : NO_DEATH);
    return a + b;
}
PMAP_OP(operation, int);

static void initializer(const void *death) { die(*(const int *)death); }

/* ---- Cells -------------------------------------------------------------------------------------------- */

static bool isolated;

static struct pmap_pool *create(void)
{
    struct pmap_pool *pool;

    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .isolate = isolated), PMAP_OK);
    return pool;
}

static void check_told(int death, const struct pmap_error *error, enum pmap_status status)
{
    CHECK_STATUS(status, death_status(death));
    CHECK_SAYING(death_is_told(death, error), "%s: %s, code %d: %s", death_name(death), pmap_status_name(error->status), error->code,
                 error->text);
}

static void check_useful(struct pmap_pool *pool)
{
    int in[N] = {0}, out[N];

    CHECK_STATUS(pmap_map(pool, task, in, out, N), PMAP_OK);
    for (int i = 0; i < N; i++)
        CHECK_INT(out[i], 11);
}

static double limit(int death) { return death == DEATH_LOOP ? TIMEOUT : 0; }

static void bytes_cell(struct pmap_pool *pool, int death, struct pmap_task *which, size_t size)
{
    struct pmap_bytes in[N], out[N];
    struct pmap_error error = {.status = PMAP_OK};

    for (int i = 0; i < N; i++) {
        in[i] = (struct pmap_bytes){test_array(size, 1), size};
        memset(in[i].data, i == SICK ? 1 : 2, size);
        ((unsigned char *)in[i].data)[0] = (unsigned char)(i == SICK ? death : NO_DEATH);
    }
    enum pmap_status status = pmap_map_with(pool, which, in, sizeof *in, out, sizeof *out,
                                            &(struct pmap_map_options){.size = sizeof(struct pmap_map_options), .n = N, .error = &error,
                                                                       .timeout = limit(death)});
    check_told(death, &error, status);
    for (int i = 0; i < N; i++) {
        bool large = which == &large_result_task;
        CHECK_INT(out[i].size, i == SICK ? 0 : large ? LARGE : sizeof(long));
        if (i != SICK && out[i].data)
            CHECK(large ? ((char *)out[i].data)[LARGE - 1] == 5 : *(long *)out[i].data == 2 * (long)(size - 1));
    }
    pmap_bytes_free(in, N);
    pmap_bytes_free(out, N);
}

static void map_cell(struct pmap_pool *pool, int death, struct pmap_task *which, int well)
{
    int in[N] = {0}, out[N];
    struct pmap_error error = {.status = PMAP_OK};

    in[SICK] = death;
    enum pmap_status status = pmap_map_with(pool, which, in, sizeof *in, out, sizeof *out,
                                            &(struct pmap_map_options){.size = sizeof(struct pmap_map_options), .n = N, .error = &error,
                                                                       .timeout = limit(death)});
    check_told(death, &error, status);
    for (int i = 0; i < N; i++)
        CHECK_INT(out[i], i == SICK ? 0 : well);
}

static void reduce_cell(struct pmap_pool *pool, int death)
{
    int in[N] = {0}, sum = 77;
    struct pmap_error error = {.status = PMAP_OK};

    in[SICK] = -death;
    check_told(death, &error, pmap_reduce(pool, value, operation, in, &sum, N, .error = &error, .timeout = limit(death)));
    CHECK_INT(sum, 77);
}

enum where { LARGE_ARGUMENT, TASK, LARGE_RESULT, NESTED, REDUCE_OP };

static void cell(enum where where, int death)
{
    struct pmap_pool *pool = create();

    if (pool == NULL)
        return;
    if (where == LARGE_ARGUMENT)
        bytes_cell(pool, death, &large_argument_task, LARGE);
    else if (where == TASK)
        map_cell(pool, death, &task_task, 11);
    else if (where == LARGE_RESULT)
        bytes_cell(pool, death, &large_result_task, 10);
    else if (where == NESTED)
        map_cell(pool, death, &nested_task, 22);
    else
        reduce_cell(pool, death);
    check_useful(pool);
    pmap_destroy(pool);
}

static void row(enum where where)
{
    isolated = false;
    cell(where, DEATH_FAIL);
    isolated = true;
    for (int death = DEATH_FAIL; death < DEATHS; death++)
        cell(where, death);
}

/* ---- Rows --------------------------------------------------------------------------------------------- */

static void large_argument_in_flight(void) { row(LARGE_ARGUMENT); }
static void in_the_task(void) { row(TASK); }
static void large_result_in_flight(void) { row(LARGE_RESULT); }
static void in_a_nested_call(void) { row(NESTED); }
static void in_the_operation(void) { row(REDUCE_OP); }

/* Nothing limits the time of an initializer. */
static void in_the_initializer(void)
{
    for (int death = DEATH_FAIL; death < DEATH_LOOP; death++)
        for (int isolate = death > DEATH_FAIL; isolate < 2; isolate++) {
            struct pmap_pool *pool;
            struct pmap_error error = {.status = PMAP_OK};
            enum pmap_status status = pmap_create(&pool, .threads = test_threads(), .isolate = isolate, .initializer = initializer,
                                                  .initarg = &death, .initarg_size = sizeof death, .error = &error);
            check_told(death, &error, status);
            CHECK(pool == NULL);
        }
}

static const struct test tests[] = {
    TEST(large_argument_in_flight),
    TEST(in_the_task),
    TEST(large_result_in_flight),
    TEST(in_the_initializer),
    TEST(in_a_nested_call),
    TEST(in_the_operation),
    {NULL, NULL},
};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t2 r2 r2t2 v3");
}
