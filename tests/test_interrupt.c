/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Pools that are interrupted, by pmap_interrupt and by the walltime: what each kind of call that is pending returns, what is in out,
 * and that nothing begins any more. Signals are in test_signals.sh, for they are the process's.
 *
 * All ranks run these functions in step, as in test_life.
 */
#include "base/timelimit.h"
#include "board.h"
#include "harness.h"

#include <limits.h>
#include <math.h>
#include <pmap_mapreduce.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define N 100

/* Cells of one test: items that are held, items that ran to their end, that began too late, callbacks. */
enum { HELD, RAN, LATE, CALLED, CELLS };

/* Nobody else has these; all ranks take them in step. */
static int fresh_cells(void)
{
    static int taken;

    return CELLS * taken++;
}

static int count(int cell) { return atomic_load(&board()[cell]); }

static void mark(int cell) { atomic_fetch_add(&board()[cell], 1); }

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- Tasks ------------------------------------------------------------------------------------------- */

struct item {
    int cells, x;
    double seconds, latest; /* how long it takes, and when it must have begun */
};

static int square(struct item i)
{
    mark(i.cells + RAN);
    return i.x * i.x;
}
PMAP_TASK(square, int, struct item);

/* The first is well, the others run until they are asked to stop. */
static int endless(struct item i)
{
    if (i.x == 0) {
        mark(i.cells + RAN);
        return 7;
    }
    mark(i.cells + HELD);
    while (!pmap_cancelled())
        sched_yield();
    return 99;
}
PMAP_TASK(endless, int, struct item);

/* Takes its time, and does not ask. */
static int slow(struct item i)
{
    double begin = now(), end = begin + i.seconds;

    mark(i.cells + HELD);
    if (begin > i.latest)
        mark(i.cells + LATE);
    while (now() < end)
        sched_yield();
    mark(i.cells + RAN);
    return i.x + 1;
}
PMAP_TASK(slow, int, struct item);

static int fails(struct item i)
{
    mark(i.cells + HELD);
    return pmap_fail(1, "item %d fails", i.x);
}
PMAP_TASK(fails, int, struct item);

static int slow_and_fails(struct item i)
{
    slow(i);
    return pmap_fail(1, "item %d fails", i.x);
}
PMAP_TASK(slow_and_fails, int, struct item);

static int add(int a, int b) { return a + b; }
PMAP_OP(add, int);

/* ---- Helpers ----------------------------------------------------------------------------------------- */

static struct item items[N];
static int out[N];
static enum pmap_status statuses[N];
static struct pmap_error error;

static void fill(int cells, double seconds, double latest)
{
    for (int i = 0; i < N; i++) {
        items[i] = (struct item){cells, i, seconds, latest};
        out[i] = -1;
        statuses[i] = PMAP_EINVAL;
    }
    memset(&error, 0, sizeof error);
}

/* A pool with so much walltime (0: no end), items that take no time, and cells for the test. NULL: this rank has served. */
static struct pmap_pool *open_pool(double walltime, int *cells)
{
    struct pmap_pool *pool;

    *cells = fresh_cells();
    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .walltime = walltime), PMAP_OK);
    if (pool)
        fill(*cells, 0, 0);
    return pool;
}

static enum pmap_status finish(struct pmap_result *result)
{
    enum pmap_status status = pmap_result_get(result, PMAP_FOREVER, &error);

    pmap_result_free(result);
    return status;
}

/* Interrupt the pool when so many items are held. */
static void interrupt_when_held(struct pmap_pool *pool, int cells, int n)
{
    CHECK(!pmap_interrupted(pool));
    CHECK(board_await(cells + HELD, n));
    pmap_interrupt(pool);
    CHECK(pmap_interrupted(pool));
}

static void check_interrupted(enum pmap_status status, const char *word)
{
    CHECK_STATUS(status, PMAP_EINTERRUPTED);
    CHECK_STATUS(error.status, PMAP_EINTERRUPTED);
    CHECK_NAMES(error.text, word);
    memset(&error, 0, sizeof error);
}

/* ---- pmap_interrupt ---------------------------------------------------------------------------------- */

static void map_keeps_what_is_finished(void)
{
    int cells;
    struct pmap_pool *pool = open_pool(0, &cells);

    if (pool == NULL)
        return;
    struct pmap_result *result = pmap_map_async(pool, endless, items, out, N, .chunksize = 1, .statuses = statuses);
    CHECK(board_await(cells + RAN, 1));
    interrupt_when_held(pool, cells, 1);
    check_interrupted(finish(result), "pmap_interrupt");
    CHECK_STATUS(statuses[0], PMAP_OK);
    CHECK_INT(out[0], 7);
    for (int i = 1; i < N; i++)
        if (!CHECK_STATUS(statuses[i], PMAP_ECANCELLED) || !CHECK_INT(out[i], 0))
            break;
    CHECK(count(cells + HELD) <= pmap_threads(pool));
    pmap_destroy(pool);
}

/* What does not ask whether it should stop runs to its end, and counts. */
static void items_that_do_not_ask_count(void)
{
    int cells, good = 0;
    struct pmap_pool *pool = open_pool(0, &cells);

    if (pool == NULL)
        return;
    fill(cells, 0.05, 0);
    struct pmap_result *result = pmap_map_async(pool, slow, items, out, N, .chunksize = 1, .statuses = statuses);
    interrupt_when_held(pool, cells, pmap_threads(pool));
    check_interrupted(finish(result), "not run");
    for (int i = 0; i < N; i++) {
        good += statuses[i] == PMAP_OK;
        CHECK_INT(out[i], statuses[i] == PMAP_OK ? i + 1 : 0);
    }
    CHECK_INT(good, count(cells + RAN));
    CHECK(good >= pmap_threads(pool) && good < N);
    pmap_destroy(pool);
}

static void call_that_is_finished_is_well(void)
{
    int cells;
    struct pmap_pool *pool = open_pool(0, &cells);

    if (pool == NULL)
        return;
    struct pmap_result *result = pmap_map_async(pool, square, items, out, N);
    CHECK_STATUS(pmap_result_wait(result, PMAP_FOREVER), PMAP_OK);
    pmap_interrupt(pool);
    CHECK_STATUS(finish(result), PMAP_OK);
    CHECK_INT(out[N - 1], (N - 1) * (N - 1));
    pmap_destroy(pool);
}

static void check_refuses_all(struct pmap_pool *pool, const char *word)
{
    struct pmap_handle handle;

    check_interrupted(pmap_map(pool, square, items, out, N, .error = &error), word);
    check_interrupted(pmap_map(pool, square, items, out, 0, .error = &error), word);
    check_interrupted(pmap_apply(pool, square, out, items[0], .error = &error), word);
    check_interrupted(pmap_reduce(pool, square, add, items, out, N, .error = &error), word);
    CHECK(pmap_map_async(pool, square, items, out, N, .error = &error) == NULL);
    check_interrupted(error.status, word);
    CHECK(pmap_imap(pool, square, PMAP_ARRAY(items, N), .error = &error) == NULL);
    check_interrupted(error.status, word);
    check_interrupted(pmap_share(pool, items, sizeof items, &handle, .error = &error), word);
}

/* At once, not when somebody gets round to it. */
static void later_calls_are_refused(void)
{
    int cells;
    struct pmap_pool *pool = open_pool(0, &cells);

    if (pool == NULL)
        return;
    pmap_interrupt(pool);
    check_refuses_all(pool, "pmap_interrupt");
    pmap_interrupt(pool);
    check_refuses_all(pool, "pmap_interrupt");
    CHECK_INT(count(cells + RAN), 0);
    CHECK_STATUS(pmap_close(pool), PMAP_OK);
    CHECK_STATUS(pmap_join(pool), PMAP_OK);
    CHECK(pmap_interrupted(pool));
    pmap_destroy(pool);
}

static void null_is_no_pool(void)
{
    pmap_interrupt(NULL);
    CHECK(!pmap_interrupted(NULL));
}

/* The pools of a program that are not meant go on; side by side, they have the same threads. */
static void other_pools_go_on(void)
{
    int cells;
    struct pmap_pool *pool = open_pool(0, &cells), *other = NULL;

    if (pool == NULL)
        return;
    if (CHECK_STATUS(pmap_create(&other), PMAP_OK)) {
        pmap_interrupt(pool);
        check_interrupted(pmap_map(pool, square, items, out, N, .error = &error), "pmap_interrupt");
        CHECK_STATUS(pmap_map(other, square, items, out, N), PMAP_OK);
        CHECK(!pmap_interrupted(other));
    }
    pmap_destroy(pool);
    CHECK_STATUS(pmap_map(other, square, items, out, N), PMAP_OK);
    pmap_destroy(other);
}

struct interrupter {
    struct pmap_pool *pool;
    int cells;
};

/* A thread that interrupts a call of the main thread's. */
static void *interrupt_later(void *argument)
{
    struct interrupter *i = argument;

    board_await(i->cells + HELD, 1);
    pmap_interrupt(i->pool);
    return NULL;
}

static void *terminate_later(void *argument)
{
    struct interrupter *i = argument;

    board_await(i->cells + HELD, 1);
    pmap_terminate(i->pool);
    return NULL;
}

/* A thread ends it, and leaves sum as it was. */
static void check_reduction_ends(void *(*end)(void *argument), int retries, enum pmap_status expected)
{
    struct interrupter interrupter;
    pthread_t thread;
    int sum = -5;

    interrupter.pool = open_pool(0, &interrupter.cells);
    if (interrupter.pool == NULL)
        return;
    pthread_create(&thread, NULL, end, &interrupter);
    CHECK_STATUS(pmap_reduce(interrupter.pool, endless, add, items, &sum, N, .retries = retries, .error = &error), expected);
    pthread_join(thread, NULL);
    CHECK_INT(sum, -5);
    if (expected == PMAP_EINTERRUPTED)
        check_interrupted(expected, "pmap_interrupt");
    pmap_destroy(interrupter.pool);
}

static void reduction_is_interrupted(void)
{
    check_reduction_ends(interrupt_later, 0, PMAP_EINTERRUPTED);
}

/* The verdict is on the last runs of leaves then; those that had none must not be missing in it. */
static void reduction_with_retries_is_interrupted(void)
{
    check_reduction_ends(interrupt_later, 2, PMAP_EINTERRUPTED);
}

static void reduction_with_retries_is_terminated(void)
{
    check_reduction_ends(terminate_later, 2, PMAP_ECANCELLED);
}

static void is_told(void *user, const struct pmap_error *why)
{
    if (why->status == PMAP_EINTERRUPTED)
        mark(*(int *)user + CALLED);
}

static void error_callback_is_told(void)
{
    int cells;
    struct pmap_pool *pool = open_pool(0, &cells);

    if (pool == NULL)
        return;
    struct pmap_result *result = pmap_map_async(pool, endless, items, out, N, .chunksize = 1, .error_callback = is_told,
                                                .user = &cells);
    interrupt_when_held(pool, cells, 1);
    check_interrupted(finish(result), "pmap_interrupt");
    CHECK_INT(count(cells + CALLED), 1);
    pmap_destroy(pool);
}

/* That an item has failed does not hide that others were not run; but where the first failure ends the call it does. */
static void interruption_goes_before_failures(void)
{
    int cells;
    struct pmap_pool *pool = open_pool(0, &cells);

    if (pool == NULL)
        return;
    struct pmap_result *again = pmap_map_async(pool, fails, items, out, N, .retries = 3, .retry_delay = 1e6);
    CHECK(board_await(cells + HELD, N));
    CHECK_STATUS(pmap_map(pool, fails, items, out, N, .on_error = PMAP_STOP, .error = &error), PMAP_EFAILED);
    pmap_interrupt(pool);
    check_interrupted(finish(again), "pmap_interrupt");
    pmap_destroy(pool);
}

/* ---- Streams ----------------------------------------------------------------------------------------- */

static bool next_item(void *state, void *item)
{
    int *given = state;

    *(struct item *)item = items[(*given)++ % N];
    return true;
}

/* Each item once, well or interrupted; the rest of the source once; then the end. */
static void check_stream(struct pmap_pool *pool, struct pmap_iter *it, int cells)
{
    size_t good = 0, bad = 0;
    enum pmap_status status;
    int y;

    CHECK_STATUS(pmap_iter_next(it, &y, PMAP_FOREVER), PMAP_OK);
    interrupt_when_held(pool, cells, 1);
    while ((status = pmap_iter_next(it, &y, 30)) != PMAP_END) {
        good += status == PMAP_OK;
        bad += status == PMAP_EINTERRUPTED;
        if (!CHECK_SAYING(status == PMAP_OK || status == PMAP_EINTERRUPTED, "the stream says %s", pmap_status_name(status)))
            break;
    }
    CHECK_INT(good, 0);
    CHECK(bad >= 2);
    CHECK_STATUS(pmap_iter_next(it, &y, PMAP_FOREVER), PMAP_END);
    pmap_iter_free(it);
}

static void stream_of_array_ends(void)
{
    int cells;
    struct pmap_pool *pool = open_pool(0, &cells);

    if (pool == NULL)
        return;
    check_stream(pool, pmap_imap(pool, endless, PMAP_ARRAY(items, N), .error = &error), cells);
    pmap_destroy(pool);
}

static void stream_of_generator_ends(void)
{
    int cells, given = 0;
    struct pmap_pool *pool = open_pool(0, &cells);

    if (pool == NULL)
        return;
    check_stream(pool, pmap_imap(pool, endless, PMAP_GENERATOR(next_item, &given), .error = &error), cells);
    pmap_destroy(pool);
}

static void unordered_stream_ends(void)
{
    int cells, given = 0;
    struct pmap_pool *pool = open_pool(0, &cells);

    if (pool == NULL)
        return;
    /* One item is well; the next that the generator gives are held. */
    check_stream(pool, pmap_imap_unordered(pool, endless, PMAP_GENERATOR(next_item, &given), .error = &error,
                                           .buffersize = (size_t)pmap_threads(pool) + 1), cells);
    pmap_destroy(pool);
}

/* ---- Shared data, map-reduce ------------------------------------------------------------------------- */

/* A share waits for the items of ranks with one thread, and so for what stops them. */
static void share_comes_to_an_end(void)
{
    int cells;
    struct pmap_pool *pool = open_pool(0, &cells);
    struct pmap_handle handle;

    if (pool == NULL)
        return;
    CHECK_STATUS(pmap_share(pool, items, sizeof items, &handle), PMAP_OK);
    struct pmap_result *result = pmap_map_async(pool, endless, items, out, N, .chunksize = 1);
    interrupt_when_held(pool, cells, 1);
    CHECK_STATUS(pmap_unshare(pool, handle), PMAP_OK);
    check_interrupted(finish(result), "pmap_interrupt");
    pmap_destroy(pool);
}

static void emit_record(struct pmap_view record, struct pmap_emitter *to)
{
    pmap_emit_i64(to, record.data, record.size, 1);
}
PMAP_MAPREDUCE(counting, .map = emit_record, .combine = pmap_sum_i64, .value = PMAP_TYPE_I64);

struct feeding {
    struct pmap_pool *pool;
    int n;
};

/* Endless, but that the pool is interrupted on the way. */
static bool next_record(void *state, struct pmap_view *record)
{
    struct feeding *f = state;

    if (++f->n == 1000)
        pmap_interrupt(f->pool);
    *record = (struct pmap_view){"word", 4};
    return true;
}

static void mapreduce_is_interrupted(void)
{
    int cells;
    struct pmap_pool *pool = open_pool(0, &cells);
    struct feeding feeding = {pool, 0};
    char path[512];

    if (pool == NULL)
        return;
    snprintf(path, sizeof path, "%s/counts", getenv("PMAP_TEST_DIR") ? getenv("PMAP_TEST_DIR") : "/tmp");
    check_interrupted(pmap_mapreduce(pool, counting, PMAP_RECORD_GENERATOR(next_record, &feeding), .output = path,
                                     .error = &error), "pmap_interrupt");
    CHECK(fopen(path, "r") == NULL);
    check_interrupted(pmap_mapreduce(pool, counting, PMAP_RECORD_GENERATOR(next_record, &feeding), .output = path,
                                     .error = &error), "pmap_interrupt");
    pmap_destroy(pool);
}

/* ---- The walltime ------------------------------------------------------------------------------------ */

/* Of 2 s a tenth is kept, and an item of half a second must have begun after 1.3 s. It may be noticed a little late. */
#define LATEST 1.5

/* Nothing that is begun is given up: what would not be finished is not begun. */
static void items_that_would_not_be_finished_are_not_begun(void)
{
    int cells, good = 0;
    struct pmap_pool *pool = open_pool(2, &cells);

    if (pool == NULL)
        return;
    fill(cells, 0.5, now() + LATEST);
    check_interrupted(pmap_map(pool, slow, items, out, N, .chunksize = 1, .statuses = statuses, .error = &error), "item");
    CHECK_INT(count(cells + LATE), 0);
    for (int i = 0; i < N; i++)
        good += statuses[i] == PMAP_OK;
    CHECK_INT(good, count(cells + HELD));
    CHECK_INT(good, count(cells + RAN));
    CHECK(good >= pmap_threads(pool));
    check_refuses_all(pool, "walltime");
    pmap_destroy(pool);
}

/* Refused before any of it begins, a call says the same of its items as one that is cut short. */
static void call_that_does_not_fit_says_so_of_its_items(void)
{
    int cells, y;
    struct pmap_pool *pool = open_pool(2, &cells);

    if (pool == NULL)
        return;
    fill(cells, 1, now() + 1);
    CHECK_STATUS(pmap_apply(pool, slow, &y, items[0]), PMAP_OK);
    CHECK(pmap_map_async(pool, slow, items, out, N, .statuses = statuses, .retries = 1, .error = &error) == NULL);
    check_interrupted(error.status, "walltime");
    for (int i = 0; i < N; i++)
        if (!CHECK_STATUS(statuses[i], PMAP_ECANCELLED) || !CHECK_INT(out[i], 0))
            break;
    CHECK_INT(count(cells + HELD), 1);
    pmap_destroy(pool);
}

/* Nor is what failed begun again. */
static void retries_that_would_not_be_finished_are_not_begun(void)
{
    int cells;
    struct pmap_pool *pool = open_pool(2, &cells);

    if (pool == NULL)
        return;
    fill(cells, 0.7, now() + 1.3); /* the third run would begin after 1.4 s, and the last that fits after 1.1 */
    check_interrupted(pmap_map(pool, slow_and_fails, items, out, 1, .retries = 100, .error = &error), "item");
    CHECK_INT(count(cells + LATE), 0);
    CHECK_INT(count(cells + HELD), count(cells + RAN));
    pmap_destroy(pool);
}

/* The last chunk is shorter than the others, and what counts is how long it takes. */
static void short_chunk_fits(void)
{
    int cells;
    struct pmap_pool *pool = open_pool(2, &cells);

    if (pool == NULL)
        return;
    fill(cells, 0.3, now() + LATEST);
    CHECK_STATUS(pmap_map(pool, slow, items, out, 5, .chunksize = 4, .error = &error), PMAP_OK);
    CHECK_INT(count(cells + RAN), 5);
    pmap_destroy(pool);
}

/* A stream is a row of jobs that cannot know each by itself how long its items take. */
static void streams_know_how_long_items_take(void)
{
    int cells, y;
    struct pmap_pool *pool = open_pool(2, &cells);
    enum pmap_status status;

    if (pool == NULL)
        return;
    fill(cells, 0.5, now() + LATEST);
    struct pmap_iter *it = pmap_imap(pool, slow, PMAP_ARRAY(items, N), .error = &error);
    while ((status = pmap_iter_next(it, &y, PMAP_FOREVER)) == PMAP_OK)
        ;
    check_interrupted(status, "item");
    while (pmap_iter_next(it, &y, PMAP_FOREVER) != PMAP_END)
        ;
    pmap_iter_free(it);
    CHECK_INT(count(cells + LATE), 0);
    CHECK_INT(count(cells + HELD), count(cells + RAN));
    pmap_destroy(pool);
}

static void everything_stops_before_the_end(void)
{
    int cells;
    double begin = now();
    struct pmap_pool *pool = open_pool(1, &cells);

    if (pool == NULL)
        return;
    check_interrupted(pmap_map(pool, endless, items, out, N, .chunksize = 1, .statuses = statuses, .error = &error), "walltime");
    CHECK_SAYING(now() - begin >= 0.85, "it took only %.2f s", now() - begin);
    CHECK_STATUS(statuses[0], PMAP_OK);
    CHECK_STATUS(statuses[N - 1], PMAP_ECANCELLED);
    CHECK(pmap_interrupted(pool));
    pmap_destroy(pool);
}

static void bad_options_are_refused(void)
{
    struct pmap_pool *pool;

    CHECK_STATUS(pmap_create(&pool, .walltime = NAN, .error = &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "walltime");
    CHECK_STATUS(pmap_create(&pool, .signals = 7, .error = &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "signals");
    CHECK_STATUS(pmap_create(&pool, .walltime = 1e30, .threads = test_threads()), PMAP_OK);
    CHECK(!pmap_interrupted(pool));
    pmap_destroy(pool);
}

/* ---- How long there is ------------------------------------------------------------------------------- */

static void squeues_times_are_read(void)
{
    static const struct {
        const char *text;
        double seconds; /* -1: it is no time */
    } rows[] = {{"5:00\n", 300}, {"0:07", 7}, {"1:00:00\n", 3600}, {"2-03:04:05\n", 183845}, {"10-00:00:00", 864000},
                {"UNLIMITED\n", -1}, {"INVALID\n", -1}, {"", -1}, {"\n", -1}, {"12", -1}, {"-1:00", -1}, {"1-", -1},
                {"5:00x", -1}, {"x-1:00", -1}, {":::", -1}};
    uint64_t ns;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool is_time = pmap__limit_parse(rows[i].text, &ns);
        CHECK_SAYING(is_time == (rows[i].seconds >= 0), "\"%s\" is %s", rows[i].text, is_time ? "a time" : "none");
        if (is_time)
            CHECK_INT(ns / PMAP__S, rows[i].seconds);
    }
}

/* Without a tool that could be asked, and with one that says nothing, there is no limit. */
static void an_inquiry_ends(void)
{
    struct pmap__inquiry inquiry = {0};
    uint64_t left = 5;

    pmap__inquiry_end(&inquiry);
    if (!pmap__inquiry_begin(&inquiry))
        return;
    while (!pmap__inquiry_over(&inquiry, &left))
        sched_yield();
    CHECK_INT(left, 0);
    pmap__inquiry_end(&inquiry);
}

static const struct test tests[] = {
    TEST(map_keeps_what_is_finished),
    TEST(items_that_do_not_ask_count),
    TEST(call_that_is_finished_is_well),
    TEST(later_calls_are_refused),
    TEST(null_is_no_pool),
    TEST(other_pools_go_on),
    TEST(reduction_is_interrupted),
    TEST(reduction_with_retries_is_interrupted),
    TEST(reduction_with_retries_is_terminated),
    TEST(error_callback_is_told),
    TEST(interruption_goes_before_failures),
    TEST(stream_of_array_ends),
    TEST(stream_of_generator_ends),
    TEST(unordered_stream_ends),
    TEST(share_comes_to_an_end),
    TEST(mapreduce_is_interrupted),
    TEST(items_that_would_not_be_finished_are_not_begun),
    TEST(call_that_does_not_fit_says_so_of_its_items),
    TEST(retries_that_would_not_be_finished_are_not_begun),
    TEST(short_chunk_fits),
    TEST(streams_know_how_long_items_take),
    TEST(everything_stops_before_the_end),
    TEST(bad_options_are_refused),
    TEST(squeues_times_are_read),
    TEST(an_inquiry_ends),
    {NULL, NULL},
};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1 t2 r2 r3 r2t2 v3");
}
