/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Map-reduces and the life of pools: pmap_terminate and pmap_close while one runs, pools that are closed, and pools side by side.
 *
 * All ranks run these functions in step. Where a pool comes to life, the ranks other than the root stay inside pmap_create until the root destroys it.
 */
#include "board.h"
#include "harness.h"
#include "mr.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Cells of the board: functions that hold a worker, what lets them go, calls of functions. */
enum { HELD, OPEN, CALLS, CELLS };

/* Cells that are zero, for no other test has them: all ranks take them in step. */
static int fresh_cells(void)
{
    static int taken;
    return CELLS * taken++;
}

static bool is_root(void) { return test_processes() == 1 || test_rank() == 0; }

static struct pmap_pool *create(void)
{
    struct pmap_pool *pool;

    CHECK_STATUS(pmap_create(&pool, .threads = test_threads()), PMAP_OK);
    CHECK((pool != NULL) == is_root());
    return pool;
}

/* ---- Jobs ------------------------------------------------------------------------------------------------ */

MAP_RECORD(words)
PMAP_MAPREDUCE(good, .map_record = words_record, .combine = pmap_sum_i64, .value = PMAP_TYPE_I64);

/* Wait until somebody lets go, or the call is over, or some 20 seconds have passed. */
static void hold(int cells)
{
    time_t end = time(NULL) + 20;

    atomic_fetch_add(&board()[cells + HELD], 1);
    while (atomic_load(&board()[cells + OPEN]) == 0 && !pmap_cancelled() && time(NULL) < end)
        sched_yield();
}

static int cells_of(const struct pmap_emitter *out)
{
    int cells;
    memcpy(&cells, pmap_emitter_arg(out).data, sizeof cells);
    return cells;
}

static void hold_in_map(struct pmap_view record, struct pmap_emitter *out)
{
    hold(cells_of(out));
    words(record, (struct outlet){out, NULL});
}
PMAP_MAPREDUCE(held_in_map, .map_record = hold_in_map, .combine = pmap_sum_i64);

static void sum_values(struct pmap_view key, struct pmap_values *values, struct pmap_emitter *out)
{
    struct pmap_view value;
    int64_t sum = 0;

    while (pmap_values_next(values, &value))
        sum += pmap_view_i64(value);
    pmap_emit_i64(out, key.data, key.size, sum);
}

static void hold_in_reduce(struct pmap_view key, struct pmap_values *values, struct pmap_emitter *out)
{
    hold(cells_of(out));
    sum_values(key, values, out);
}
PMAP_MAPREDUCE(held_in_reduce, .map_record = words_record, .reduce = hold_in_reduce);

/* Counts calls of its functions, so that somebody can do something at the n-th. */
static void count_map(struct pmap_view record, struct pmap_emitter *out)
{
    atomic_fetch_add(&board()[cells_of(out) + CALLS], 1);
    words(record, (struct outlet){out, NULL});
}

static void count_reduce(struct pmap_view key, struct pmap_values *values, struct pmap_emitter *out)
{
    atomic_fetch_add(&board()[cells_of(out) + CALLS], 1);
    sum_values(key, values, out);
}
PMAP_MAPREDUCE(counting, .map_record = count_map, .reduce = count_reduce);

/* ---- Calls on threads of their own ------------------------------------------------------------------------ */

static struct {
    const char *path;
    char *bytes;
    struct pmap_view *lines;
    size_t size, n;
    struct pairs counts;
} text;

static void text_make(void)
{
    if (text.path)
        return;
    text.bytes = random_lines(300, 31, &text.size);
    text.path = write_file("text", text.bytes, text.size);
    text.lines = lines_of(text.bytes, text.size, &text.n);
    text.counts = serial_mapreduce(words, pmap_sum_i64, 8, NULL, text.lines, text.n);
}

struct caller {
    struct pmap_pool *pool;
    struct pmap_mapreduce *what;
    struct pmap_mapreduce_options o;
    int cells;
    struct pmap_error error;
    struct pairs got;
    enum pmap_status status;
    pthread_t thread;
};

static void *call(void *argument)
{
    struct caller *c = argument;
    const char *const paths[] = {text.path, NULL};

    c->o.size = sizeof c->o;
    c->o.input = PMAP_PATHS(paths);
    c->o.arg = &c->cells;
    c->o.arg_size = sizeof c->cells;
    c->o.error = &c->error;
    if (c->o.output == NULL && c->o.keep == NULL && c->o.deliver == NULL) {
        c->o.deliver = pairs_deliver;
        c->o.user = &c->got;
    }
    c->status = pmap_mapreduce_with(c->pool, c->what, &c->o);
    return NULL;
}

static bool start(struct caller *c, struct pmap_pool *pool, struct pmap_mapreduce *what, int cells)
{
    text_make();
    c->pool = pool;
    c->what = what;
    c->cells = cells;
    return CHECK(pthread_create(&c->thread, NULL, call, c) == 0);
}

static void finish(struct caller *c, enum pmap_status expected)
{
    pthread_join(c->thread, NULL);
    CHECK_SAYING(c->status == expected, "%s, not %s: %s", pmap_status_name(c->status), pmap_status_name(expected), c->error.text);
    if (expected == PMAP_OK)
        CHECK(pairs_differ(&text.counts, &c->got) == SIZE_MAX);
    pairs_free(&c->got);
}

static void check_good(struct pmap_pool *pool)
{
    struct caller c = {0};

    if (start(&c, pool, &good_mapreduce, 0))
        finish(&c, PMAP_OK);
}

/* ---- Terminate -------------------------------------------------------------------------------------------- */

static void check_terminated(struct pmap_mapreduce *what, int retries)
{
    int cells = fresh_cells();
    struct pmap_pool *pool = create();
    struct caller c = {.o = {.split_size = 500, .retries = retries, .memory = 1 << 20}};

    if (pool == NULL)
        return;
    make_directory("out");
    c.o.output = files_path("out/file");
    if (start(&c, pool, what, cells)) {
        CHECK(board_await(cells + HELD, 1));
        CHECK_STATUS(pmap_terminate(pool), PMAP_OK);
        finish(&c, PMAP_ECANCELLED);
    }
    CHECK_INT(files_in(files_path("out")), 0);
    pmap_destroy(pool);
}

static void terminate_ends_a_map(void)
{
    check_terminated(&held_in_map_mapreduce, 0);
    check_terminated(&held_in_map_mapreduce, 2);
}

static void terminate_ends_a_reduce(void)
{
    check_terminated(&held_in_reduce_mapreduce, 0);
    check_terminated(&held_in_reduce_mapreduce, 2);
}

/* Between any two calls of functions, and so between steps as well. */
static void terminate_comes_at_any_time(void)
{
    for (size_t round = 0; round < test_size(30, 8); round++) {
        int cells = fresh_cells();
        struct pmap_pool *pool = create();
        struct caller c = {.o = {.split_size = 1000, .partitions = 5, .order = round % 2 ? PMAP_ORDER_RANGES : PMAP_ORDER_HASH}};
        if (pool == NULL)
            continue;
        if (start(&c, pool, &counting_mapreduce, cells)) {
            board_await(cells + CALLS, 1 + (int)(round * 37 % 900));
            CHECK_STATUS(pmap_terminate(pool), PMAP_OK);
            pthread_join(c.thread, NULL);
            CHECK_SAYING(c.status == PMAP_OK || c.status == PMAP_ECANCELLED, "%s: %s", pmap_status_name(c.status), c.error.text);
            pairs_free(&c.got);
        }
        pmap_destroy(pool);
    }
}

/* The function on the root, that records are delivered to, terminates its own pool. */
struct terminator {
    struct pmap_pool *pool;
    size_t n;
};

static bool terminate_at_once(void *user, struct pmap_view key, struct pmap_view value)
{
    struct terminator *t = user;
    (void)key;
    (void)value;
    if (t->n++ == 0)
        pmap_terminate(t->pool);
    return true;
}

static void terminate_while_records_are_delivered(void)
{
    struct pmap_pool *pool = create();
    struct terminator t = {.pool = pool};
    struct caller c = {.o = {.deliver = terminate_at_once, .user = &t}};

    if (pool == NULL)
        return;
    if (start(&c, pool, &good_mapreduce, 0)) {
        pthread_join(c.thread, NULL);
        CHECK_SAYING(c.status == PMAP_OK || c.status == PMAP_ECANCELLED, "%s: %s", pmap_status_name(c.status), c.error.text);
    }
    pmap_destroy(pool);
}

static void datasets_are_freed_after_terminate(void)
{
    struct pmap_pool *pool = create();
    struct pmap_dataset *dataset = NULL;
    struct caller c = {.o = {.keep = &dataset}};

    if (pool == NULL)
        return;
    if (start(&c, pool, &good_mapreduce, 0)) {
        pthread_join(c.thread, NULL);
        CHECK_STATUS(c.status, PMAP_OK);
    }
    pmap_terminate(pool);
    pmap_dataset_free(dataset);
    pmap_destroy(pool);
}

/* ---- Close ------------------------------------------------------------------------------------------------ */

static void a_closed_pool_takes_no_mapreduce(void)
{
    struct pmap_pool *pool = create();
    struct caller c = {0};

    if (pool == NULL)
        return;
    check_good(pool);
    CHECK_STATUS(pmap_close(pool), PMAP_OK);
    if (start(&c, pool, &good_mapreduce, 0))
        finish(&c, PMAP_ECLOSED);
    pmap_destroy(pool);
}

static void check_closed(struct pmap_mapreduce *what)
{
    int cells = fresh_cells();
    struct pmap_pool *pool = create();
    struct caller c = {.o = {.split_size = 500, .retries = 1}};

    if (pool == NULL)
        return;
    if (start(&c, pool, what, cells)) {
        CHECK(board_await(cells + HELD, 1));
        CHECK_STATUS(pmap_close(pool), PMAP_OK);
        atomic_store(&board()[cells + OPEN], 1);
        CHECK_STATUS(pmap_join(pool), PMAP_OK); /* waits for it */
        finish(&c, PMAP_OK);
    }
    pmap_destroy(pool);
}

static void close_lets_a_call_end_well(void)
{
    check_closed(&held_in_map_mapreduce);
    check_closed(&held_in_reduce_mapreduce);
}

/* ---- Side by side ----------------------------------------------------------------------------------------- */

static void two_pools_share_the_ranks(void)
{
    struct pmap_pool *first = create(), *second = create();

    if (first == NULL || second == NULL)
        return;
    for (int i = 0; i < 5; i++) {
        struct caller a = {.o = {.split_size = 300, .memory = 1 << 20}}, b = {.o = {.split_size = 700, .order = PMAP_ORDER_RANGES}};
        bool both = start(&a, first, &good_mapreduce, 0) && start(&b, second, &good_mapreduce, 0);
        if (!both)
            break;
        finish(&a, PMAP_OK);
        finish(&b, PMAP_OK);
    }
    pmap_destroy(first);
    check_good(second);
    pmap_destroy(second);
}

static void pass_on(struct pmap_view key, struct pmap_view value, struct pmap_emitter *out)
{
    pmap_emit(out, key.data, key.size, value.data, value.size);
}
PMAP_MAPREDUCE(of_pairs, .map_pair = pass_on);

static void the_dataset_of_another_pool_is_refused(void)
{
    struct pmap_pool *first = create(), *second = create();
    struct pmap_dataset *dataset = NULL;
    struct pmap_error error;
    struct pairs got = {0};

    if (first == NULL || second == NULL)
        return;
    text_make();
    CHECK_STATUS(pmap_mapreduce(first, good, PMAP_FILES(text.path), .keep = &dataset), PMAP_OK);
    CHECK_STATUS(pmap_mapreduce(second, of_pairs, PMAP_DATASET(dataset), .error = &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "another pool");
    CHECK_STATUS(pmap_mapreduce(first, of_pairs, PMAP_DATASET(dataset), .deliver = pairs_deliver, .user = &got), PMAP_OK);
    CHECK(pairs_differ(&text.counts, &got) == SIZE_MAX);
    pairs_free(&got);
    pmap_dataset_free(dataset);
    pmap_destroy(second);
    pmap_destroy(first);
}

/* Its threads run no items: so it has no partitions either. */
static void a_dedicated_root_only_hands_out(void)
{
    struct pmap_pool *pool;
    struct pmap_dataset *dataset = NULL;
    struct pairs got = {0};

    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .dedicated_root = test_ranks() > 1), PMAP_OK);
    if (pool == NULL)
        return;
    check_good(pool);
    CHECK_STATUS(pmap_mapreduce(pool, good, PMAP_FILES(text.path), .keep = &dataset, .split_size = 300), PMAP_OK);
    CHECK_STATUS(pmap_mapreduce(pool, of_pairs, PMAP_DATASET(dataset), .deliver = pairs_deliver, .user = &got, .order = PMAP_ORDER_RANGES,
                                .memory = 1 << 20), PMAP_OK);
    CHECK(pairs_differ(&text.counts, &got) == SIZE_MAX);
    pairs_free(&got);
    pmap_dataset_free(dataset);
    pmap_destroy(pool);
}

static const struct test tests[] = {
    TEST(terminate_ends_a_map),
    TEST(terminate_ends_a_reduce),
    TEST(terminate_comes_at_any_time),
    TEST(terminate_while_records_are_delivered),
    TEST(datasets_are_freed_after_terminate),
    TEST(a_closed_pool_takes_no_mapreduce),
    TEST(close_lets_a_call_end_well),
    TEST(two_pools_share_the_ranks),
    TEST(the_dataset_of_another_pool_is_refused),
    TEST(a_dedicated_root_only_hands_out),
    {NULL, NULL},
};

int main(int argc, char *argv[])
{
    int status = test_main(argc, argv, tests, "t2 r1 r3 r2t2 v2t2");
    free(text.bytes);
    free(text.lines);
    pairs_free(&text.counts);
    files_remove();
    return status;
}
