/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The life of a pool: initializers at its beginning and for each new worker, pmap_close, pmap_terminate, pmap_join and
 * pmap_destroy in every order at its end, and pools side by side. What pmap_create refuses is in test_create.
 *
 * All ranks run these functions in step. Where a pool comes to life, the ranks other than the root stay inside
 * pmap_create until the root destroys it; their part in the test is over then.
 *
 * Ported from CPython's _TestPool: terminate of 10 000 endless tasks returns quickly, use after the end is an error,
 * two failing tasks with messages of 1 MiB do not deadlock join, initializer ran once per worker, max tasks per worker:
 * 10 with 100 tasks, 1 with 6 queued at close (test_pool_worker_lifetime and its _early_close), a fourth worker that
 * fails to start stops the three started. From concurrent.futures: test_initializer of both kinds,
 * test_run_after_shutdown, test_hang_issue12364, test_cancel_futures, test_hang_gh94440, test_shutdown_gh_132969. From
 * mpi4py.futures: three pools with 100 tasks each do not mix, test_shared_executors, initializer error on one rank.
 *
 * That arguments and results are released after a map makes no sense in C: they are the caller's. A program that never
 * destroys its pool is in test_undestroyed.
 */
#include "board.h"
#include "harness.h"

#include <dirent.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef HAVE_OPENMP
#define THREADS test_threads()
#else
#define THREADS 1
#endif

/* A wait that must end by itself has so many seconds: less than the 20 after which items on the board give up. */
#define PROMPTLY 15.0

/* ---- The board --------------------------------------------------------------------------------------- */

/* Cells of one test: items that hold a worker, what lets them go, items that ran, callbacks that came; calls of
 * initializers on ranks and threads, those that came too early, saw what they should, and failed. */
enum { HELD, OPEN, RAN, CALLED, ON_RANKS, ON_THREADS, EARLY, RIGHT, FAILED, CELLS };

/* Cells that are zero, for no other test has them. All ranks take them in step, before they create a pool. Initializers
 * count before anybody knows that the last test is over everywhere, so nobody may clear the board in between. */
static int fresh_cells(void)
{
    static int taken;

    return CELLS * taken++;
}

static int count(int cell) { return atomic_load(&board()[cell]); }

static int mark(int cell) { return atomic_fetch_add(&board()[cell], 1); }

/* Wait in an item until a cell has reached a value; false if the item is asked to stop, or after some 20 seconds.
 * Unlike board_await it calls pmap_cancelled, in which a rank of one thread handles its messages. */
static bool hold_until(int cell, int value)
{
    time_t end = time(NULL) + 20;

    while (count(cell) < value) {
        if (pmap_cancelled() || time(NULL) > end)
            return false;
        sched_yield();
    }
    return true;
}

/* ---- Tasks ------------------------------------------------------------------------------------------- */

static int square(int x) { return x < 0 ? pmap_fail(2, "negative input %d", x) : x * x; }
PMAP_TASK(square, int, int);

static int add(int a, int b) { return a + b; }
PMAP_TASK(add, int, int, int);
PMAP_OP(add, int);

static int visit(int cells)
{
    mark(cells + RAN);
    return cells;
}
PMAP_TASK(visit, int, int);

static bool hold(int cells)
{
    mark(cells + HELD);
    return hold_until(cells + OPEN, 1);
}
PMAP_TASK(hold, bool, int);

/* Waits for what never comes, unless it is asked to stop. What it returns then must not be seen. */
static int endless(int cells)
{
    mark(cells + RAN);
    hold_until(cells + RAN, INT_MAX);
    return 99;
}
PMAP_TASK(endless, int, int);

/* ---- Helpers ----------------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* This process goes on with the pool: virtual ranks are all in this one. */
static bool is_root(void) { return test_processes() == 1 || test_rank() == 0; }

/* A pool for a test; NULL on the ranks that have served it. */
static struct pmap_pool *create(void)
{
    struct pmap_pool *pool;

    CHECK_STATUS(pmap_create(&pool, .threads = test_threads()), PMAP_OK);
    CHECK((pool != NULL) == is_root());
    return pool;
}

/* A map of 50, with checks only at the end, so that other threads may call it too. */
static bool works(struct pmap_pool *pool)
{
    int in[50], out[50];
    bool right;

    for (int i = 0; i < 50; i++)
        in[i] = i;
    right = pmap_map(pool, square, in, out, 50, .chunksize = 3) == PMAP_OK;
    for (int i = 0; i < 50; i++)
        right &= out[i] == i * i;
    return right;
}

/* One whole life of a pool, on every rank. */
static void live(void)
{
    struct pmap_pool *pool = create();

    if (pool != NULL)
        CHECK(works(pool));
    pmap_destroy(pool);
}

/* What a call came to, and the end of its result. */
static enum pmap_status finish(struct pmap_result *result, struct pmap_error *error)
{
    enum pmap_status status = pmap_result_get(result, PMAP_FOREVER, error);

    pmap_result_free(result);
    return status;
}

/* An array for n items that all get the test's cells. */
static int *repeat(int cells, size_t n)
{
    int *in = test_array(n, sizeof *in);

    for (size_t i = 0; i < n; i++)
        in[i] = cells;
    return in;
}

/* From hold_workers to release_workers every worker is in an item of its own: what is submitted between is queued. */
static struct {
    struct pmap_result *result;
    int cells, *in;
    bool *out;
} held;

static void release_workers(void)
{
    mark(held.cells + OPEN);
    CHECK_STATUS(finish(held.result, NULL), PMAP_OK);
    free(held.in);
    free(held.out);
}

static bool hold_workers(struct pmap_pool *pool, int cells)
{
    size_t workers = (size_t)pmap_threads(pool);

    held.cells = cells;
    held.in = repeat(cells, workers);
    held.out = test_array(workers, sizeof *held.out);
    held.result = pmap_map_async(pool, hold, held.in, held.out, workers, .chunksize = 1);
    if (CHECK(held.result != NULL) && CHECK(board_await(cells + HELD, (int)workers)))
        return true;
    release_workers();
    return false;
}

/* ---- Close, terminate, join, destroy ----------------------------------------------------------------- */

/* c, t and j are pmap_close, pmap_terminate and pmap_join; pmap_destroy comes last. */
static const char *const orders[] = {"",   "c",  "t",  "cj",  "tj",  "cc",  "tt",  "ct",  "tc",
                                     "cjj", "tjj", "ctj", "tcj", "cjc", "cjt", "cjtj", "ccjttj"};
#define ORDERS (sizeof orders / sizeof *orders)

static void end(struct pmap_pool *pool, const char *order)
{
    for (; *order != '\0'; order++)
        CHECK_STATUS((*order == 'c' ? pmap_close : *order == 't' ? pmap_terminate : pmap_join)(pool), PMAP_OK);
    pmap_destroy(pool);
}

static void idle_pool_ends_in_every_order(void)
{
    for (size_t k = 0; k < ORDERS; k++) {
        struct pmap_pool *pool = create();

        if (pool != NULL) {
            CHECK(works(pool));
            end(pool, orders[k]);
        }
    }
}

/* Its result is looked at when the pool is gone: everything ran, unless the pool was terminated. */
static void end_busy_pool(struct pmap_pool *pool, const char *order, int cells)
{
    enum { N = 200 };
    int *in = repeat(cells, N), out[N];
    struct pmap_result *result = pmap_map_async(pool, visit, in, out, N, .chunksize = 1);
    struct pmap_error error;
    enum pmap_status status;

    end(pool, order);
    CHECK(pmap_result_ready(result));
    status = finish(result, &error);
    CHECK_SAYING(status == PMAP_OK || (strchr(order, 't') != NULL && status == PMAP_ECANCELLED),
                 "in the order \"%s\" the status is %s", order, pmap_status_name(status));
    if (status == PMAP_OK)
        CHECK_INT(count(cells + RAN), N);
    free(in);
}

static void busy_pool_ends_in_every_order(void)
{
    for (size_t k = 0; k < ORDERS; k++) {
        int cells = fresh_cells();
        struct pmap_pool *pool = create();

        if (pool != NULL)
            end_busy_pool(pool, orders[k], cells);
    }
}

static void join_before_close_is_refused(void)
{
    struct pmap_pool *pool = create();

    if (pool == NULL)
        return;
    CHECK_STATUS(pmap_join(pool), PMAP_EINVAL);
    CHECK(works(pool));
    CHECK_STATUS(pmap_join(pool), PMAP_EINVAL);
    CHECK_STATUS(pmap_close(pool), PMAP_OK);
    CHECK_STATUS(pmap_join(pool), PMAP_OK);
    pmap_destroy(pool);
}

static void null_pools_are_refused(void)
{
    CHECK_STATUS(pmap_close(NULL), PMAP_EINVAL);
    CHECK_STATUS(pmap_terminate(NULL), PMAP_EINVAL);
    CHECK_STATUS(pmap_join(NULL), PMAP_EINVAL);
    pmap_destroy(NULL);
}

/* ---- No new work ------------------------------------------------------------------------------------- */

static struct pmap_error refusal;

static void check_refused(enum pmap_status status)
{
    CHECK_STATUS(status, PMAP_ECLOSED);
    CHECK_STATUS(refusal.status, PMAP_ECLOSED);
    CHECK_SAYING(strncmp(refusal.text, "pmap", 4) == 0, "text is \"%s\"", refusal.text);
    memset(&refusal, 0, sizeof refusal);
}

static void check_null(const void *result)
{
    CHECK(result == NULL);
    check_refused(PMAP_ECLOSED);
}

static void check_takes_no_work(struct pmap_pool *pool)
{
    int in[] = {1, 2, 3}, out[3];
    struct add_args args[] = {{1, 2}};
    struct pmap_handle handle;

    check_refused(pmap_map(pool, square, in, out, 3, .error = &refusal));
    check_refused(pmap_map(pool, square, in, out, 0, .error = &refusal));
    check_refused(pmap_starmap(pool, add, args, out, 1, .error = &refusal));
    check_refused(pmap_apply(pool, square, out, 7, .error = &refusal));
    check_null(pmap_map_async(pool, square, in, out, 3, .error = &refusal));
    check_null(pmap_starmap_async(pool, add, args, out, 1, .error = &refusal));
    check_null(pmap_apply_async(pool, square, out, 7, .error = &refusal));
    check_null(pmap_imap(pool, square, PMAP_ARRAY(in, 3), .error = &refusal));
    check_null(pmap_imap_unordered(pool, square, PMAP_ARRAY(in, 3), .error = &refusal));
    check_refused(pmap_reduce(pool, square, add, in, out, 3, .error = &refusal));
    check_refused(pmap_share(pool, in, sizeof in, &handle, .error = &refusal));
}

/* Before, during and after pmap_join. */
static void check_stays_shut(enum pmap_status shut(struct pmap_pool *pool))
{
    struct pmap_pool *pool = create();

    if (pool == NULL)
        return;
    CHECK(works(pool));
    CHECK_STATUS(shut(pool), PMAP_OK);
    check_takes_no_work(pool);
    CHECK_STATUS(pmap_join(pool), PMAP_OK);
    check_takes_no_work(pool);
    CHECK_INT(pmap_ranks(pool), test_ranks());
    pmap_destroy(pool);
}

static void closed_pool_takes_no_work(void) { check_stays_shut(pmap_close); }

static void terminated_pool_takes_no_work(void) { check_stays_shut(pmap_terminate); }

/* ---- Close: what is queued runs ---------------------------------------------------------------------- */

static void close_lets_queued_work_run(void)
{
    enum { N = 50 };
    int cells = fresh_cells(), in[N], out[N], single[N];
    struct pmap_result *map, *applies[N];
    struct pmap_pool *pool = create();

    if (pool == NULL)
        return;
    if (hold_workers(pool, cells)) {
        for (int i = 0; i < N; i++) {
            in[i] = i;
            applies[i] = pmap_apply_async(pool, square, &single[i], i);
        }
        map = pmap_map_async(pool, square, in, out, N);
        CHECK_STATUS(pmap_close(pool), PMAP_OK);
        check_takes_no_work(pool);
        release_workers();
        CHECK_STATUS(pmap_join(pool), PMAP_OK);
        CHECK(pmap_result_ready(map));
        CHECK_STATUS(finish(map, NULL), PMAP_OK);
        for (int i = 0; i < N; i++) {
            CHECK(pmap_result_ready(applies[i]));
            CHECK_STATUS(finish(applies[i], NULL), PMAP_OK);
            CHECK(out[i] == i * i && single[i] == i * i);
        }
    }
    pmap_destroy(pool);
}

/* Callbacks of both kinds; user is where they are counted. */
static void count_success(void *user, void *out, size_t n)
{
    (void)out, (void)n;
    atomic_fetch_add((atomic_int *)user, 1);
}

static void count_failure(void *user, const struct pmap_error *error)
{
    if (error->status != PMAP_OK)
        atomic_fetch_add((atomic_int *)user, 1);
}

static void count_slowly(void *user, void *out, size_t n)
{
    for (int i = 0; i < 1000; i++)
        sched_yield();
    count_success(user, out, n);
}

/* All work is done long before the last callback. */
static void join_waits_for_callbacks(void)
{
    enum { N = 100 };
    int out[N];
    atomic_int came = 0;
    struct pmap_pool *pool = create();

    if (pool == NULL)
        return;
    for (int i = 0; i < N; i++)
        pmap_result_free(pmap_apply_async(pool, square, &out[i], i % 2 ? i : -i - 1, .callback = count_slowly,
                                          .error_callback = count_failure, .user = &came));
    CHECK_STATUS(pmap_close(pool), PMAP_OK);
    CHECK_STATUS(pmap_join(pool), PMAP_OK);
    CHECK_INT(atomic_load(&came), N);
    pmap_destroy(pool);
}

static void destroy_lets_queued_work_run(void)
{
    enum { N = 200 };
    int cells = fresh_cells(), out[N];
    struct pmap_pool *pool = create();

    if (pool == NULL)
        return;
    for (int i = 0; i < N; i++)
        pmap_result_free(pmap_apply_async(pool, visit, &out[i], cells));
    pmap_destroy(pool);
    CHECK_INT(count(cells + RAN), N);
}

/* concurrent.futures hung there: a call that was submitted and cancelled just before the end. */
static void pool_ends_after_a_call_was_cancelled(void)
{
    int cells = fresh_cells(), x = 0;
    struct pmap_pool *pool = create();
    struct pmap_result *result;

    if (pool == NULL)
        return;
    result = pmap_apply_async(pool, visit, &x, cells);
    CHECK_STATUS(pmap_result_cancel(result), PMAP_OK);
    pmap_result_free(result);
    pmap_destroy(pool);
    CHECK(count(cells + RAN) <= 1);
}

static int rant(size_t length)
{
    char *text = test_array(length + 1, 1);

    memset(text, 'x', length);
    pmap_fail(13, "%s", text);
    free(text);
    return 0;
}
PMAP_TASK(rant, int, size_t);

/* Nobody asks for the results before the pool has ended. */
static void failures_with_texts_of_1_mib_do_not_stop_join(void)
{
    size_t lengths[] = {1 << 20, 1 << 20};
    int out[2];
    struct pmap_error error = {.code = 0};
    struct pmap_result *result;
    struct pmap_pool *pool = create();

    if (pool == NULL)
        return;
    result = pmap_map_async(pool, rant, lengths, out, 2, .chunksize = 1);
    CHECK_STATUS(pmap_close(pool), PMAP_OK);
    CHECK_STATUS(pmap_join(pool), PMAP_OK);
    pmap_destroy(pool);
    CHECK_STATUS(finish(result, &error), PMAP_EFAILED);
    CHECK_INT(error.item, 0);
    CHECK_INT(error.code, 13);
}

/* ---- Terminate: nothing stays pending ---------------------------------------------------------------- */

static void terminate_of_ten_thousand_endless_items_is_quick(void)
{
    size_t n = test_size(10000, 1000), wrong = 0;
    int cells = fresh_cells();
    struct pmap_pool *pool = create();

    if (pool == NULL)
        return;

    int *in = repeat(cells, n), *out = test_array(n, sizeof *out);
    struct pmap_result *result = pmap_map_async(pool, endless, in, out, n, .chunksize = 1);
    struct pmap_error error = {.status = PMAP_OK};

    CHECK(board_await(cells + RAN, pmap_threads(pool)));
    double begin = now();
    CHECK_STATUS(pmap_terminate(pool), PMAP_OK);
    CHECK_STATUS(pmap_join(pool), PMAP_OK);
    CHECK_SAYING(now() - begin < PROMPTLY, "it took %g s", now() - begin);
    CHECK(pmap_result_ready(result));
    CHECK_STATUS(finish(result, &error), PMAP_ECANCELLED);
    CHECK_STATUS(error.status, PMAP_ECANCELLED);
    CHECK_INT(count(cells + RAN), pmap_threads(pool));
    for (size_t i = 0; i < n; i++)
        wrong += out[i] != 0;
    CHECK_INT(wrong, 0);
    pmap_destroy(pool);
    free(in);
    free(out);
}

/* What is running, what is queued, of all kinds. What was ready before stays what it was. */
static void terminate_completes_every_pending_result(void)
{
    size_t n = test_size(5000, 500), wrong = 0;
    int cells = fresh_cells(), y = 0;
    atomic_int came = 0;
    struct pmap_pool *pool = create();

    if (pool == NULL)
        return;

    int *out = test_array(n, sizeof *out);
    struct pmap_result **results = test_array(n, sizeof *results), *ready = pmap_apply_async(pool, square, &y, 7);
    struct pmap_error error;

    CHECK_STATUS(pmap_result_wait(ready, PMAP_FOREVER), PMAP_OK);
    for (size_t i = 0; i < n; i++)
        results[i] = pmap_apply_async(pool, endless, &out[i], cells, .callback = count_success,
                                      .error_callback = count_failure, .user = &came);
    CHECK(board_await(cells + RAN, 1));
    CHECK_STATUS(pmap_terminate(pool), PMAP_OK);
    for (size_t i = 0; i < n; i++)
        wrong += finish(results[i], &error) != PMAP_ECANCELLED || out[i] != 0;
    CHECK_INT(wrong, 0);
    CHECK_STATUS(pmap_join(pool), PMAP_OK);
    CHECK_INT(atomic_load(&came), n);
    CHECK_STATUS(finish(ready, &error), PMAP_OK);
    CHECK_INT(y, 49);
    pmap_destroy(pool);
    free(results);
    free(out);
}

static atomic_int cells_inside; /* of the ranks of this process */
static void tick(void) { mark(atomic_load(&cells_inside) + RAN); }
PMAP_ACTION(tick);

/* For ever: nothing in it asks whether it should stop. */
static int map_inside(int cells)
{
    struct pmap_error error;

    atomic_store(&cells_inside, cells);
    return pmap_starmap(NULL, tick, NULL, NULL, SIZE_MAX / 256, .chunksize = 1000, .error = &error) == PMAP_OK;
}
PMAP_TASK(map_inside, int, int);

static int fail(int cells)
{
    mark(cells + RAN);
    return pmap_fail(3, "always");
}
PMAP_TASK(fail, int, int);

/* For a thousand seconds. */
static int retry_inside(int cells)
{
    int y;
    struct pmap_error error;
    return pmap_apply(NULL, fail, &y, cells, .retries = 1, .retry_delay = 1000, .error = &error) == PMAP_OK ? 1 : 2;
}
PMAP_TASK(retry_inside, int, int);

static int reduce_inside(int cells)
{
    int *in = repeat(cells, 1000), sum = 0;
    struct pmap_error error;
    enum pmap_status status = pmap_reduce(NULL, fail, add, in, &sum, 1000, .retries = INT_MAX, .error = &error);
    free(in);
    return status == PMAP_OK ? 1 : 2;
}
PMAP_TASK(reduce_inside, int, int);

static int map_inside_inside(int cells)
{
    int y = 0;
    struct pmap_error error;
    return pmap_apply(NULL, map_inside, &y, cells, .error = &error) == PMAP_OK ? 1 : 2;
}
PMAP_TASK(map_inside_inside, int, int);

/* Nobody asks; the calls inside the items end all the same, and what these items return is no result. */
static void check_terminate_ends(struct pmap_task *task)
{
    enum { N = 30 };
    int cells = fresh_cells(), wrong = 0;
    int *in = repeat(cells, N), out[N];
    struct pmap_error error;
    struct pmap_pool *pool = create();

    if (pool != NULL) {
        struct pmap_result *result = pmap_map_async_with(pool, task, in, sizeof *in, out, sizeof *out,
                                                         &(struct pmap_map_options){.size = sizeof(struct pmap_map_options), .n = N});
        CHECK(board_await(cells + RAN, 1));
        CHECK_STATUS(pmap_terminate(pool), PMAP_OK);
        CHECK_STATUS(finish(result, &error), PMAP_ECANCELLED);
        for (int i = 0; i < N; i++)
            wrong += out[i] != 0;
        CHECK_INT(wrong, 0);
        pmap_destroy(pool);
    }
    free(in);
}

static void terminate_ends_calls_inside_items(void)
{
    check_terminate_ends(&map_inside_task);
    check_terminate_ends(&map_inside_inside_task);
    check_terminate_ends(&retry_inside_task);
    check_terminate_ends(&reduce_inside_task);
}

/* Those that had begun were asked and did as they liked, those that had not never will. */
static void terminate_begins_nothing_more(void)
{
    enum { N = 100 };
    int cells = fresh_cells(), out[N];
    struct pmap_result *results[N];
    struct pmap_error error;
    struct pmap_pool *pool = create();

    if (pool == NULL)
        return;
    if (hold_workers(pool, cells)) {
        for (int i = 0; i < N; i++)
            results[i] = pmap_apply_async(pool, visit, &out[i], cells);
        CHECK_STATUS(pmap_terminate(pool), PMAP_OK);
        for (int i = 0; i < N; i++)
            CHECK_STATUS(finish(results[i], &error), PMAP_ECANCELLED);
        CHECK_STATUS(finish(held.result, &error), PMAP_ECANCELLED);
        free(held.in);
        free(held.out);
    }
    pmap_destroy(pool);
    CHECK_INT(count(cells + RAN), 0);
}

/* ---- Calls of other threads -------------------------------------------------------------------------- */

/* A thread that is inside a call. */
struct caller {
    pthread_t thread;
    struct pmap_pool *pool;
    struct pmap_result *result;
    int cells;
    enum pmap_status status; /* written by the thread, read when it has been joined */
};

static void *map_for_ever(void *argument)
{
    struct caller *c = argument;
    int *in = repeat(c->cells, 100), out[100];
    struct pmap_error error;

    c->status = pmap_map(c->pool, endless, in, out, 100, .chunksize = 1, .error = &error);
    free(in);
    return NULL;
}

static void *apply_for_ever(void *argument)
{
    struct caller *c = argument;
    struct pmap_error error;
    int y;

    c->status = pmap_apply(c->pool, endless, &y, c->cells, .error = &error);
    return NULL;
}

static void *get_for_ever(void *argument)
{
    struct caller *c = argument;
    struct pmap_error error;
    int y;

    c->status = finish(pmap_apply_async(c->pool, endless, &y, c->cells), &error);
    return NULL;
}

/* For a thousand seconds, at least. */
static void *reduce_again_and_again(void *argument)
{
    struct caller *c = argument;
    int *in = repeat(c->cells, 100), sum;
    struct pmap_error error;

    c->status = pmap_reduce(c->pool, fail, add, in, &sum, 100, .retries = 1, .retry_delay = 1000, .error = &error);
    free(in);
    return NULL;
}

static void check_ends(void *call(void *), enum pmap_status as)
{
    struct caller c = {.cells = fresh_cells(), .pool = create()};

    if (c.pool == NULL)
        return;
    if (CHECK(pthread_create(&c.thread, NULL, call, &c) == 0)) {
        CHECK(board_await(c.cells + RAN, 1));
        CHECK_STATUS(pmap_terminate(c.pool), PMAP_OK);
        pthread_join(c.thread, NULL);
        CHECK_STATUS(c.status, as);
    }
    pmap_destroy(c.pool);
}

static void terminate_ends_the_call_of_another_thread(void)
{
    check_ends(map_for_ever, PMAP_ECANCELLED);
    check_ends(apply_for_ever, PMAP_ECANCELLED);
    check_ends(get_for_ever, PMAP_ECANCELLED);
    check_ends(reduce_again_and_again, PMAP_EFAILED);
}

static void *map_that_waits(void *argument)
{
    struct caller *c = argument;
    size_t n = 3 * (size_t)pmap_threads(c->pool);
    int *in = repeat(c->cells, n);
    bool *out = test_array(n, sizeof *out);

    c->status = pmap_map(c->pool, hold, in, out, n, .chunksize = 1);
    free(in);
    free(out);
    return NULL;
}

static void close_lets_the_call_of_another_thread_go_on(void)
{
    struct caller c = {.cells = fresh_cells(), .pool = create()};

    if (c.pool == NULL)
        return;
    if (CHECK(pthread_create(&c.thread, NULL, map_that_waits, &c) == 0)) {
        CHECK(board_await(c.cells + HELD, 1));
        CHECK_STATUS(pmap_close(c.pool), PMAP_OK);
        mark(c.cells + OPEN);
        CHECK_STATUS(pmap_join(c.pool), PMAP_OK);
        pthread_join(c.thread, NULL);
        CHECK_STATUS(c.status, PMAP_OK);
        CHECK_INT(count(c.cells + HELD), 3 * pmap_threads(c.pool));
    }
    pmap_destroy(c.pool);
}

/* ---- Results without their pool ---------------------------------------------------------------------- */

static void results_outlive_the_pool(void)
{
    int in[] = {1, 2, -3}, out[3] = {0}, y = 0;
    struct pmap_result *results[2];
    struct pmap_error error = {.status = PMAP_OK};
    bool successful = true;
    size_t index = 99;
    struct pmap_pool *pool = create();

    if (pool == NULL)
        return;
    results[0] = pmap_apply_async(pool, square, &y, 7);
    results[1] = pmap_map_async(pool, square, in, out, 3);
    pmap_destroy(pool);
    CHECK(pmap_result_ready(results[0]) && pmap_result_ready(results[1]));
    CHECK_STATUS(pmap_wait(results, 2, PMAP_FIRST_ERROR, PMAP_FOREVER, &index), PMAP_OK);
    CHECK_INT(index, 1);
    CHECK_STATUS(pmap_result_successful(results[1], &successful), PMAP_OK);
    CHECK(!successful);
    CHECK_STATUS(pmap_result_cancel(results[1]), PMAP_OK);
    CHECK_STATUS(finish(results[0], &error), PMAP_OK);
    CHECK_STATUS(finish(results[1], &error), PMAP_EFAILED);
    CHECK_INT(error.item, 2);
    CHECK(strstr(error.text, "negative input -3") != NULL);
    CHECK(y == 49 && out[0] == 1 && out[1] == 4 && out[2] == 0);
}

static void cancelled_results_outlive_the_pool(void)
{
    int cells = fresh_cells(), y;
    struct pmap_result *result;
    struct pmap_error error = {.status = PMAP_OK};
    struct pmap_pool *pool = create();

    if (pool == NULL)
        return;
    result = pmap_apply_async(pool, endless, &y, cells);
    CHECK_STATUS(pmap_terminate(pool), PMAP_OK);
    pmap_destroy(pool);
    CHECK_STATUS(finish(result, &error), PMAP_ECANCELLED);
    CHECK_STATUS(error.status, PMAP_ECANCELLED);
}

/* ---- Ends that would wait for themselves ------------------------------------------------------------- */

/* What a callback does to its pool. */
struct ending {
    struct pmap_pool *pool;
    enum pmap_status close, terminate, join;
};

static void destroy_it(void *user, void *out, size_t n)
{
    struct ending *e = user;

    (void)out, (void)n;
    pmap_destroy(e->pool);
}

static void destroy_in_a_callback_does_nothing(void)
{
    struct ending e = {.pool = create()};
    int y = 0;

    if (e.pool == NULL)
        return;
    CHECK_STATUS(finish(pmap_apply_async(e.pool, square, &y, 7, .callback = destroy_it, .user = &e), NULL), PMAP_OK);
    CHECK_INT(y, 49);
    CHECK(works(e.pool));
    pmap_destroy(e.pool);
}

static void close_and_join_it(void *user, void *out, size_t n)
{
    struct ending *e = user;

    (void)out, (void)n;
    e->close = pmap_close(e->pool);
    e->join = pmap_join(e->pool);
}

static void callback_may_close_its_pool_but_not_join_it(void)
{
    struct ending e = {.pool = create()};
    int y;

    if (e.pool == NULL)
        return;
    CHECK_STATUS(finish(pmap_apply_async(e.pool, square, &y, 7, .callback = close_and_join_it, .user = &e), NULL),
                 PMAP_OK);
    CHECK_STATUS(e.close, PMAP_OK);
    CHECK_STATUS(e.join, PMAP_EDEADLOCK);
    check_takes_no_work(e.pool);
    CHECK_STATUS(pmap_join(e.pool), PMAP_OK);
    pmap_destroy(e.pool);
}

static void terminate_and_join_it(void *user, const struct pmap_error *error)
{
    struct ending *e = user;

    (void)error;
    e->terminate = pmap_terminate(e->pool);
    e->join = pmap_join(e->pool);
}

/* The call that fails goes first, behind it is one without end. */
static void callback_may_terminate_its_pool_but_not_join_it(void)
{
    int cells = fresh_cells(), y, z;
    struct ending e = {.pool = create()};
    struct pmap_result *failing, *other;
    struct pmap_error error;

    if (e.pool == NULL)
        return;
    failing = pmap_apply_async(e.pool, square, &y, -7, .error_callback = terminate_and_join_it, .user = &e);
    other = pmap_apply_async(e.pool, endless, &z, cells, .error = &error);
    CHECK_STATUS(finish(failing, &error), PMAP_EFAILED);
    if (other != NULL) /* else the callback was faster */
        CHECK_STATUS(finish(other, &error), PMAP_ECANCELLED);
    CHECK_STATUS(e.terminate, PMAP_OK);
    CHECK_STATUS(e.join, PMAP_EDEADLOCK);
    CHECK_STATUS(pmap_join(e.pool), PMAP_OK);
    pmap_destroy(e.pool);
}

/* The pool of this process, for its own tasks: NULL on other ranks. They have their items all the same. */
static struct pmap_pool *pool_of_the_task;

struct attempt {
    bool made;
    enum pmap_status join;
};

static struct attempt end_inside(int cells)
{
    struct attempt a = {.made = pool_of_the_task != NULL};

    mark(cells + HELD);
    hold_until(cells + OPEN, 1);
    if (a.made) {
        a.join = pmap_join(pool_of_the_task);
        pmap_destroy(pool_of_the_task);
    }
    return a;
}
PMAP_TASK(end_inside, struct attempt, int);

static void check_attempts(const struct attempt attempts[], int n)
{
    int made = 0;

    for (int i = 0; i < n; i++) {
        made += attempts[i].made;
        if (attempts[i].made)
            CHECK_STATUS(attempts[i].join, PMAP_EDEADLOCK);
    }
    CHECK(made > 0);
}

/* One item for each worker, those of the root among them. The pool is closed when they try. */
static void join_and_destroy_inside_a_task_are_refused(void)
{
    int cells = fresh_cells();
    struct pmap_pool *pool = create();

    if (pool == NULL)
        return;

    int workers = pmap_threads(pool), *in = repeat(cells, (size_t)workers);
    struct attempt *attempts = test_array((size_t)workers, sizeof *attempts);
    struct pmap_result *result;

    pool_of_the_task = pool;
    result = pmap_map_async(pool, end_inside, in, attempts, (size_t)workers, .chunksize = 1);
    CHECK(board_await(cells + HELD, workers));
    CHECK_STATUS(pmap_close(pool), PMAP_OK);
    mark(cells + OPEN);
    CHECK_STATUS(finish(result, NULL), PMAP_OK);
    check_attempts(attempts, workers);
    CHECK_STATUS(pmap_join(pool), PMAP_OK);
    pool_of_the_task = NULL;
    pmap_destroy(pool);
    free(in);
    free(attempts);
}

/* ---- Nothing left behind ----------------------------------------------------------------------------- */

static int entries(const char *directory)
{
    DIR *d = opendir(directory);
    int n = 0;

    if (d == NULL)
        return -1;
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

struct possessions {
    int threads, files;
};

static struct possessions take_stock(void)
{
    return (struct possessions){entries("/proc/self/task"), entries("/proc/self/fd")};
}

/* Threads of OpenMP may take a moment to go; this waits for them for ten seconds at most. */
static struct possessions settle_at(struct possessions wanted)
{
    time_t end = time(NULL) + 10;
    struct possessions have = take_stock();

    while ((have.threads > wanted.threads || have.files > wanted.files) && time(NULL) < end) {
        sched_yield();
        have = take_stock();
    }
    return have;
}

/* A life of each kind in turn: used, ended with work queued, ended by force, not used. */
static void live_somehow(int kind)
{
    static int out[50]; /* borrowed until the pool is gone */
    struct pmap_pool *pool = create();

    if (pool == NULL)
        return;
    if (kind % 4 == 0)
        CHECK(works(pool));
    for (int i = 0; i < 50 && kind % 4 < 3; i++)
        pmap_result_free(pmap_apply_async(pool, square, &out[i], i));
    if (kind % 4 == 2)
        CHECK_STATUS(pmap_terminate(pool), PMAP_OK);
    pmap_destroy(pool);
}

static void a_hundred_lives_leave_no_threads_and_files_behind(void)
{
    int lives = (int)test_size(100, 8);
    struct possessions before, after;

    for (int i = 0; i < 4; i++)
        live_somehow(i);
    before = take_stock();
    for (int i = 0; i < lives; i++)
        live_somehow(i);
    after = settle_at(before);
    CHECK_SAYING(after.threads <= before.threads, "%d threads grew to %d", before.threads, after.threads);
    CHECK_SAYING(after.files <= before.files, "%d open files grew to %d", before.files, after.files);
}

/* ---- Pools side by side ------------------------------------------------------------------------------ */

enum { POOLS = 3 };

/* A thread that uses one of the pools. */
struct user {
    pthread_t thread;
    struct pmap_pool *pool;
    int number;
    int wrong; /* written by the thread, read when it has been joined */
};

static void *use(void *argument)
{
    struct user *u = argument;
    struct pmap_result *results[100];
    int out[100];

    for (int i = 0; i < 100; i++)
        results[i] = pmap_apply_async(u->pool, add, &out[i], 1000 * u->number, i);
    for (int i = 0; i < 100; i++)
        u->wrong += finish(results[i], NULL) != PMAP_OK || out[i] != 1000 * u->number + i;
    for (int i = 0; i < 10; i++)
        u->wrong += !works(u->pool);
    return NULL;
}

static void use_at_once(struct pmap_pool *pools[POOLS])
{
    struct user users[POOLS];

    for (int i = 0; i < POOLS; i++) {
        users[i] = (struct user){.pool = pools[i], .number = i};
        if (pthread_create(&users[i].thread, NULL, use, &users[i]) != 0)
            abort();
    }
    for (int i = 0; i < POOLS; i++) {
        pthread_join(users[i].thread, NULL);
        CHECK_INT(users[i].wrong, 0);
    }
}

/* The ranks that serve find themselves at the end of all three behind the first, and are not held up by the others. */
static void live_together(const int order[POOLS])
{
    struct pmap_pool *pools[POOLS];

    for (int i = 0; i < POOLS; i++)
        pools[i] = create();
    if (pools[0] != NULL && pools[1] != NULL && pools[2] != NULL)
        use_at_once(pools);
    for (int k = 0; k < POOLS; k++) {
        for (int i = k; i < POOLS; i++)
            CHECK(pools[order[i]] == NULL || works(pools[order[i]]));
        pmap_destroy(pools[order[k]]);
    }
}

static void three_pools_do_not_mix_and_end_in_any_order(void)
{
    static const int permutations[][POOLS] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

    for (size_t k = 0; k < sizeof permutations / sizeof *permutations; k++)
        live_together(permutations[k]);
    live();
}

/* Each at a line of its own; the third comes when the first has gone, and with no word about threads. */
static void pools_come_and_go(void)
{
    struct pmap_pool *first, *second, *third;

    CHECK_STATUS(pmap_create(&first, .threads = test_threads()), PMAP_OK);
    CHECK_STATUS(pmap_create(&second, .threads = test_threads()), PMAP_OK);
    if (first != NULL && second != NULL) {
        CHECK(works(first) && works(second));
        pmap_destroy(first);
        CHECK(works(second));
    }
    CHECK_STATUS(pmap_create(&third), PMAP_OK);
    CHECK((third != NULL) == is_root());
    if (second != NULL && third != NULL) {
        CHECK_INT(pmap_ranks(third), test_ranks());
        CHECK(works(second) && works(third));
        pmap_destroy(second);
        CHECK(works(third));
    }
    pmap_destroy(third);
    live();
}

/* A function that the root alone calls has a pool of its own; the other ranks never come to that line. */
static bool compute_with_a_pool_of_its_own(void)
{
    struct pmap_pool *pool = NULL;
    bool right = pmap_create(&pool, .threads = test_threads()) == PMAP_OK && works(pool);

    pmap_destroy(pool);
    return right;
}

static void pool_of_the_root_alone_costs_nobody_a_pool(void)
{
    struct pmap_pool *pool = create();

    if (pool != NULL)
        CHECK(compute_with_a_pool_of_its_own() && compute_with_a_pool_of_its_own());
    pmap_destroy(pool);
    live();
    live();
}

/* mpi4py: sixteen executors on the same workers. */
static void sixteen_pools_share_the_ranks(void)
{
    enum { N = 16 };
    size_t rounds = test_size(128, 4), wrong = 0;
    struct pmap_pool *pools[N];

    for (int i = 0; i < N; i++)
        pools[i] = create();
    if (pools[0] == NULL)
        return;

    struct pmap_result **results = test_array(N * rounds, sizeof *results);
    int *out = test_array(N * rounds, sizeof *out);

    for (size_t i = 0; i < N * rounds; i++)
        results[i] = pmap_apply_async(pools[i % N], add, &out[i], (int)i, 1);
    for (size_t i = 0; i < N * rounds; i++)
        wrong += finish(results[i], NULL) != PMAP_OK || out[i] != (int)i + 1;
    CHECK_INT(wrong, 0);
    for (int i = 0; i < N; i++)
        pmap_destroy(pools[i]);
    free(results);
    free(out);
}

static void results_of_several_pools_are_awaited_together(void)
{
    struct pmap_pool *pools[POOLS];
    struct pmap_result *results[POOLS];
    struct pmap_error error;
    size_t index = 99;
    int out[POOLS];

    for (int i = 0; i < POOLS; i++)
        pools[i] = create();
    if (pools[0] == NULL)
        return;
    for (int i = 0; i < POOLS; i++)
        results[i] = pmap_apply_async(pools[i], square, &out[i], i == 1 ? -1 : i);
    CHECK_STATUS(pmap_wait(results, POOLS, PMAP_FIRST_ERROR, PMAP_FOREVER, &index), PMAP_OK);
    CHECK_INT(index, 1);
    CHECK_STATUS(pmap_wait(results, POOLS, PMAP_ALL, PMAP_FOREVER, &index), PMAP_OK);
    for (int i = 0; i < POOLS; i++)
        CHECK_STATUS(finish(results[i], &error), i == 1 ? PMAP_EFAILED : PMAP_OK);
    for (int i = 0; i < POOLS; i++)
        pmap_destroy(pools[i]);
}

static void end_of_one_pool_leaves_the_others_alone(void)
{
    int cells = fresh_cells(), in[100], out[100];
    struct pmap_pool *doomed = create(), *closed = create(), *other = create();

    if (doomed == NULL || closed == NULL || other == NULL)
        return;

    int *endless_in = repeat(cells, 100), endless_out[100], y = 0;
    struct pmap_result *cancelled = pmap_map_async(doomed, endless, endless_in, endless_out, 100);
    struct pmap_result *last, *map;
    struct pmap_error error;

    for (int i = 0; i < 100; i++)
        in[i] = i;
    CHECK(board_await(cells + RAN, 1));
    last = pmap_apply_async(closed, square, &y, 7);
    map = pmap_map_async(other, square, in, out, 100);
    CHECK_STATUS(pmap_close(closed), PMAP_OK);
    CHECK_STATUS(pmap_terminate(doomed), PMAP_OK);
    CHECK_STATUS(finish(cancelled, &error), PMAP_ECANCELLED);
    CHECK_STATUS(finish(last, NULL), PMAP_OK);
    CHECK_STATUS(finish(map, NULL), PMAP_OK);
    CHECK(works(other));
    check_takes_no_work(doomed);
    check_takes_no_work(closed);
    pmap_destroy(doomed);
    pmap_destroy(closed);
    CHECK(works(other));
    pmap_destroy(other);
    free(endless_in);
}

static void never_called(const void *initarg) { (void)initarg; }

/* The ranks have their threads already. The root alone tries. */
static void pool_beside_another_has_its_threads(void)
{
    struct pmap_pool *pool, *second;
    struct pmap_error error = {.status = PMAP_OK};

    if (test_processes() == 1) {
        test_skip("one process may have several pools");
        return;
    }
    pool = create();
    if (pool != NULL) {
#ifdef HAVE_OPENMP
        CHECK_STATUS(pmap_create(&second, .threads = test_threads() + 1, .error = &error), PMAP_EINVAL);
        CHECK(second == NULL);
        CHECK_NAMES(error.text, "threads");
#endif
        CHECK_STATUS(pmap_create(&second, .initializer = never_called, .error = &error), PMAP_EINVAL);
        CHECK(second == NULL);
        CHECK_NAMES(error.text, "initializer");
        CHECK_STATUS(pmap_create(&second, .thread_initializer = never_called, .error = &error), PMAP_EINVAL);
        CHECK(second == NULL);
        CHECK(works(pool));
    }
    pmap_destroy(pool);
    live();
}

/* ---- Initializers ------------------------------------------------------------------------------------ */

/* What initializers are given. The mark is the test's own: nothing is left of it from another pool. */
struct setup {
    int cells, mark;
    int victim; /* which of them shall fail */
};

static struct setup new_setup(void)
{
    int cells = fresh_cells();

    return (struct setup){.cells = cells, .mark = cells + 1};
}

static atomic_int rank_mark, calls_here; /* of this process */
static _Thread_local int thread_mark;

static void prepare_rank(const void *initarg)
{
    const struct setup *s = initarg;

    atomic_store(&rank_mark, s->mark);
    atomic_fetch_add(&calls_here, 1);
    mark(s->cells + ON_RANKS);
}

static void prepare_thread(const void *initarg)
{
    const struct setup *s = initarg;

    if (atomic_load(&rank_mark) != s->mark)
        mark(s->cells + EARLY);
    thread_mark = s->mark;
    mark(s->cells + ON_THREADS);
}

/* Has this worker been prepared? It waits until all workers are here. */
static bool is_prepared(struct setup s, int workers)
{
    mark(s.cells + HELD);
    return hold_until(s.cells + HELD, workers) && atomic_load(&rank_mark) == s.mark && thread_mark == s.mark;
}
PMAP_TASK(is_prepared, bool, struct setup, int);

static void check_prepared(struct pmap_pool *pool, struct setup s)
{
    int workers = pmap_threads(pool), unprepared = 0;
    struct is_prepared_args *args = test_array((size_t)workers, sizeof *args);
    bool *out = test_array((size_t)workers, sizeof *out);

    for (int i = 0; i < workers; i++)
        args[i] = (struct is_prepared_args){s, workers};
    CHECK_STATUS(pmap_starmap(pool, is_prepared, args, out, (size_t)workers, .chunksize = 1), PMAP_OK);
    for (int i = 0; i < workers; i++)
        unprepared += !out[i];
    CHECK_SAYING(unprepared == 0, "%d of %d workers are not prepared", unprepared, workers);
    CHECK(works(pool));
    CHECK_INT(count(s.cells + ON_THREADS), workers);
    CHECK_INT(count(s.cells + EARLY), 0);
    free(args);
    free(out);
}

static void initializers_run_once_on_each_rank_and_thread(void)
{
    struct setup s = new_setup();
    struct pmap_pool *pool;

    atomic_store(&calls_here, 0);
    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .initializer = prepare_rank,
                             .thread_initializer = prepare_thread, .initarg = &s, .initarg_size = sizeof s), PMAP_OK);
    if (pool != NULL) {
        CHECK_INT(count(s.cells + ON_RANKS), test_ranks());
        check_prepared(pool, s);
        CHECK_INT(count(s.cells + ON_RANKS), test_ranks());
    }
    pmap_destroy(pool);
    CHECK_INT(atomic_load(&calls_here), test_ranks() / test_processes());
}

static void initializers_run_on_no_rank_that_runs_no_items(void)
{
    struct setup s = new_setup();
    struct pmap_pool *pool;

    if (test_ranks() == 1) {
        test_skip("there is one rank");
        return;
    }
    atomic_store(&calls_here, 0);
    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .dedicated_root = true, .initializer = prepare_rank,
                             .thread_initializer = prepare_thread, .initarg = &s, .initarg_size = sizeof s), PMAP_OK);
    if (pool != NULL) {
        check_prepared(pool, s);
        CHECK_INT(count(s.cells + ON_RANKS), test_ranks() - 1);
    }
    pmap_destroy(pool);
    if (test_processes() > 1)
        CHECK_INT(atomic_load(&calls_here), test_rank() > 0);
}

static void either_initializer_may_be_missing(void)
{
    struct setup s = new_setup(), t = new_setup();
    struct pmap_pool *pool;

    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .initializer = prepare_rank, .initarg = &s,
                             .initarg_size = sizeof s), PMAP_OK);
    if (pool != NULL)
        CHECK(works(pool));
    pmap_destroy(pool);
    CHECK_INT(count(s.cells + ON_RANKS), test_ranks());
    CHECK_INT(count(s.cells + ON_THREADS), 0);
    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .thread_initializer = prepare_thread, .initarg = &t,
                             .initarg_size = sizeof t), PMAP_OK);
    if (pool != NULL) {
        CHECK(works(pool));
        CHECK_INT(count(t.cells + ON_THREADS), pmap_threads(pool));
    }
    pmap_destroy(pool);
    CHECK_INT(count(t.cells + ON_RANKS), 0);
}

/* A book that only the root's copy of has the right pages. */
struct book {
    struct setup setup;
    unsigned char pages[70000];
};

static void write_pages(struct book *book, int author)
{
    for (size_t i = 0; i < sizeof book->pages; i++)
        book->pages[i] = (unsigned char)(i * 7 + (size_t)author);
}

static void read_book(const void *initarg)
{
    const struct book *book = initarg;
    bool right = true;

    for (size_t i = 0; i < sizeof book->pages; i++)
        right &= book->pages[i] == (unsigned char)(i * 7);
    if (right)
        mark(book->setup.cells + RIGHT);
    mark(book->setup.cells + ON_THREADS);
}

/* The other ranks pass books of their own; the root writes another into its own when the pool lives, and every item has
 * a new worker that reads the library's copy again. */
static void initarg_is_a_copy_of_the_roots(void)
{
    struct book *book = test_array(1, sizeof *book);
    struct pmap_pool *pool;

    book->setup = new_setup();
    write_pages(book, is_root() ? 0 : 1);
    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .initializer = read_book,
                             .thread_initializer = read_book, .initarg = book, .initarg_size = sizeof *book,
                             .max_tasks_per_worker = 1), PMAP_OK);
    if (pool != NULL) {
        write_pages(book, 2);
        CHECK(works(pool));
        CHECK(works(pool));
    }
    pmap_destroy(pool);
    CHECK(count(book->setup.cells + ON_THREADS) >= 100);
    CHECK_INT(count(book->setup.cells + RIGHT), count(book->setup.cells + ON_THREADS));
    free(book);
}

static struct setup own_setup; /* of this process */

static void look_at_the_pointer(const void *initarg)
{
    if (initarg == &own_setup)
        mark(own_setup.cells + RIGHT);
}

static void initarg_without_a_size_is_each_ranks_own_pointer(void)
{
    struct pmap_pool *pool;

    own_setup = new_setup();
    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .initializer = look_at_the_pointer,
                             .thread_initializer = look_at_the_pointer, .initarg = &own_setup), PMAP_OK);
    if (pool != NULL)
        CHECK_INT(count(own_setup.cells + RIGHT), test_ranks() + pmap_threads(pool));
    pmap_destroy(pool);
}

/* ---- Initializers that fail -------------------------------------------------------------------------- */

/* On which rank it runs is known where ranks are processes; otherwise whoever comes as the victim is it. */
static void fail_on_the_victim(const void *initarg)
{
    const struct setup *s = initarg;
    int turn = mark(s->cells + ON_RANKS);

    if ((test_processes() > 1 ? test_rank() : turn) == s->victim) {
        mark(s->cells + FAILED);
        pmap_fail(7, "no licence for %d", s->victim);
    }
}

static void fail_on_the_victim_thread(const void *initarg)
{
    const struct setup *s = initarg;

    if (mark(s->cells + ON_THREADS) == s->victim) {
        mark(s->cells + FAILED);
        pmap_fail(7, "no licence for %d", s->victim);
    }
}

static void check_not_created(enum pmap_status status, const struct pmap_pool *pool, const struct pmap_error *error)
{
    char rank[20];

    CHECK_STATUS(status, PMAP_EFAILED);
    CHECK(pool == NULL);
    CHECK_STATUS(error->status, PMAP_EFAILED);
    CHECK_INT(error->code, 7);
    CHECK(error->item == PMAP_NO_ITEM);
    CHECK(error->rank >= 0 && error->rank < test_ranks());
    snprintf(rank, sizeof rank, "rank %d", error->rank);
    CHECK_NAMES(error->text, rank);
    CHECK(strstr(error->text, "no licence for ") != NULL);
}

static void check_fails_on(int victim)
{
    struct setup s = new_setup();
    struct pmap_error error = {.status = PMAP_OK};
    struct pmap_pool *pool = (struct pmap_pool *)&error;
    enum pmap_status status;

    s.victim = victim;
    status = pmap_create(&pool, .threads = test_threads(), .initializer = fail_on_the_victim, .initarg = &s,
                         .initarg_size = sizeof s, .error = &error);
    check_not_created(status, pool, &error);
    if (test_processes() > 1)
        CHECK_INT(error.rank, victim);
    CHECK_INT(count(s.cells + FAILED), 1);
    CHECK(count(s.cells + ON_RANKS) <= test_ranks());
    live();
}

static void initializer_that_fails_on_one_rank_fails_create_on_all(void)
{
    for (int victim = 0; victim < test_ranks(); victim++)
        check_fails_on(victim);
}

static void initializer_that_fails_on_all_ranks_is_reported_once(void)
{
    struct setup s = new_setup();
    struct pmap_error error = {.status = PMAP_OK};
    struct pmap_pool *pool = NULL;
    enum pmap_status status;

    s.victim = test_rank(); /* not copied from the root: it is each rank's own */
    own_setup = s;
    status = pmap_create(&pool, .threads = test_threads(), .initializer = fail_on_the_victim, .initarg = &own_setup,
                         .error = &error);
    check_not_created(status, pool, &error);
    CHECK(count(s.cells + FAILED) >= 1);
    live();
}

/* As in CPython, where a fourth worker that fails to start stops the three that did. */
static void thread_initializer_that_fails_on_one_thread_fails_create_on_all(void)
{
    struct setup s = new_setup();
    struct pmap_error error = {.status = PMAP_OK};
    struct pmap_pool *pool = (struct pmap_pool *)&error;
    struct possessions before, after;
    enum pmap_status status;

    live();
    before = take_stock();
    s.victim = test_ranks() * THREADS - 1;
    status = pmap_create(&pool, .threads = test_threads(), .thread_initializer = fail_on_the_victim_thread,
                         .initarg = &s, .initarg_size = sizeof s, .error = &error);
    check_not_created(status, pool, &error);
    CHECK_INT(count(s.cells + FAILED), 1);
    after = settle_at(before);
    CHECK_SAYING(after.threads <= before.threads, "%d threads grew to %d", before.threads, after.threads);
    live();
}

/* ---- New workers ------------------------------------------------------------------------------------- */

/* How many items this thread has run as one worker. */
static _Thread_local int age;

static void be_born(const void *initarg)
{
    const struct setup *s = initarg;

    age = 0;
    mark(s->cells + ON_THREADS);
}

static int grow(int x)
{
    (void)x;
    return ++age;
}
PMAP_TASK(grow, int, int);

static struct pmap_pool *create_with_lifetime(const struct setup *s, size_t max_tasks)
{
    struct pmap_pool *pool;

    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .thread_initializer = be_born, .initarg = s,
                             .initarg_size = sizeof *s, .max_tasks_per_worker = max_tasks), PMAP_OK);
    return pool;
}

static void check_ages(struct pmap_pool *pool, ptrdiff_t chunksize)
{
    int in[100] = {0}, ages[100], old = 0;

    CHECK_STATUS(pmap_map(pool, grow, in, ages, 100, .chunksize = chunksize), PMAP_OK);
    for (int i = 0; i < 100; i++)
        old += ages[i] < 1 || ages[i] > 10;
    CHECK_SAYING(old == 0, "chunksize %td: %d items on a worker that was too old", chunksize, old);
}

/* 400 items in chunks of several sizes: none is run by a worker that has run ten, however its chunks lie. A worker is
 * new at the beginning, and once more for each ten items of its thread. */
static void worker_is_renewed_after_ten_items(void)
{
    struct setup s = new_setup();
    struct pmap_pool *pool = create_with_lifetime(&s, 10);

    if (pool != NULL) {
        check_ages(pool, 1);
        check_ages(pool, 0);
        check_ages(pool, 25);
        check_ages(pool, 100);
        CHECK(count(s.cells + ON_THREADS) >= 400 / 10);
        CHECK(count(s.cells + ON_THREADS) <= 400 / 10 + pmap_threads(pool));
    }
    pmap_destroy(pool);
}

/* How much older the worker gets by a map inside an item. */
static int grow_inside(int x)
{
    int in[10] = {0}, out[10], before = age;
    (void)x;
    return pmap_map(NULL, grow, in, out, 10, .chunksize = 3) == PMAP_OK ? age - before : -1;
}
PMAP_TASK(grow_inside, int, int);

static void calls_inside_an_item_make_no_new_worker(void)
{
    struct setup s = new_setup();
    int in[20] = {0}, out[20], renewed = 0;
    struct pmap_pool *pool = create_with_lifetime(&s, 4);

    if (pool != NULL) {
        CHECK_STATUS(pmap_map(pool, grow_inside, in, out, 20), PMAP_OK);
        for (int i = 0; i < 20; i++)
            renewed += out[i] != 10;
        CHECK_INT(renewed, 0);
        CHECK(count(s.cells + ON_THREADS) <= 20 / 4 + pmap_threads(pool));
    }
    pmap_destroy(pool);
}

static void worker_grows_old_without_a_limit(void)
{
    struct setup s = new_setup();
    int in[100] = {0}, ages[100], sum = 0;
    struct pmap_pool *pool = create_with_lifetime(&s, 0);

    if (pool != NULL) {
        CHECK_STATUS(pmap_map(pool, grow, in, ages, 100, .chunksize = 100), PMAP_OK);
        for (int i = 0; i < 100; i++)
            sum += ages[i] - ages[0];
        CHECK_INT(sum, 99 * 100 / 2);
        CHECK_INT(count(s.cells + ON_THREADS), pmap_threads(pool));
    }
    pmap_destroy(pool);
}

static void six_items_queued_at_close_have_a_worker_each(void)
{
    struct setup s = new_setup();
    struct pmap_result *results[6];
    int ages[6];
    struct pmap_pool *pool = create_with_lifetime(&s, 1);

    if (pool == NULL)
        return;
    for (int i = 0; i < 6; i++)
        results[i] = pmap_apply_async(pool, grow, &ages[i], 0);
    CHECK_STATUS(pmap_close(pool), PMAP_OK);
    CHECK_STATUS(pmap_join(pool), PMAP_OK);
    for (int i = 0; i < 6; i++) {
        CHECK_STATUS(finish(results[i], NULL), PMAP_OK);
        CHECK_INT(ages[i], 1);
    }
    pmap_destroy(pool);
}

/* concurrent.futures hung there. */
static void pool_of_short_lived_workers_ends_after_a_failure(void)
{
    struct setup s = new_setup();
    struct pmap_result *results[3];
    int out[3] = {0};
    struct pmap_error error;
    struct pmap_pool *pool = create_with_lifetime(&s, 1);

    if (pool == NULL)
        return;
    for (int i = 0; i < 3; i++)
        results[i] = pmap_apply_async(pool, square, &out[i], i == 1 ? -1 : i);
    pmap_destroy(pool);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(finish(results[i], &error), i == 1 ? PMAP_EFAILED : PMAP_OK);
    CHECK_INT(out[2], 4);
}

/* Ends when so many have come. */
static bool gather(int cells, int all)
{
    mark(cells + HELD);
    return hold_until(cells + HELD, all);
}
PMAP_TASK(gather, bool, int, int);

/* One item for each worker; how many of them failed? */
static int gather_workers(struct pmap_pool *pool, int cells, int all)
{
    size_t n = (size_t)pmap_threads(pool);
    int failures = 0;
    struct gather_args *args = test_array(n, sizeof *args);
    bool *out = test_array(n, sizeof *out);
    enum pmap_status *statuses = test_array(n, sizeof *statuses);

    for (size_t i = 0; i < n; i++)
        args[i] = (struct gather_args){cells, all};
    CHECK_STATUS(pmap_starmap(pool, gather, args, out, n, .chunksize = 1, .on_error = PMAP_COLLECT,
                              .statuses = statuses), PMAP_OK);
    for (size_t i = 0; i < n; i++) {
        failures += statuses[i] == PMAP_EFAILED;
        CHECK(statuses[i] == PMAP_EFAILED || out[i]);
    }
    free(args);
    free(out);
    free(statuses);
    return failures;
}

/* Every worker runs one item, and is to be renewed: the first that is fails. All other items come together. */
static void thread_initializer_that_fails_later_fails_the_next_item(void)
{
    struct setup s = new_setup();
    int cells = fresh_cells();
    struct pmap_pool *pool;

    s.victim = test_ranks() * THREADS; /* that many do not fail */
    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .thread_initializer = fail_on_the_victim_thread,
                             .initarg = &s, .initarg_size = sizeof s, .max_tasks_per_worker = 1), PMAP_OK);
    if (pool != NULL) {
        CHECK_INT(gather_workers(pool, s.cells, pmap_threads(pool)), 0);
        CHECK_INT(gather_workers(pool, cells, pmap_threads(pool) - 1), 1);
        CHECK_INT(count(s.cells + FAILED), 1);
        CHECK(works(pool));
    }
    pmap_destroy(pool);
}

static const struct test tests[] = {
    TEST(idle_pool_ends_in_every_order),
    TEST(busy_pool_ends_in_every_order),
    TEST(join_before_close_is_refused),
    TEST(null_pools_are_refused),
    TEST(closed_pool_takes_no_work),
    TEST(terminated_pool_takes_no_work),
    TEST(close_lets_queued_work_run),
    TEST(join_waits_for_callbacks),
    TEST(destroy_lets_queued_work_run),
    TEST(pool_ends_after_a_call_was_cancelled),
    TEST(failures_with_texts_of_1_mib_do_not_stop_join),
    TEST(terminate_of_ten_thousand_endless_items_is_quick),
    TEST(terminate_completes_every_pending_result),
    TEST(terminate_ends_calls_inside_items),
    TEST(terminate_begins_nothing_more),
    TEST(terminate_ends_the_call_of_another_thread),
    TEST(close_lets_the_call_of_another_thread_go_on),
    TEST(results_outlive_the_pool),
    TEST(cancelled_results_outlive_the_pool),
    TEST(destroy_in_a_callback_does_nothing),
    TEST(callback_may_close_its_pool_but_not_join_it),
    TEST(callback_may_terminate_its_pool_but_not_join_it),
    TEST(join_and_destroy_inside_a_task_are_refused),
    TEST(a_hundred_lives_leave_no_threads_and_files_behind),
    TEST(three_pools_do_not_mix_and_end_in_any_order),
    TEST(pools_come_and_go),
    TEST(pool_of_the_root_alone_costs_nobody_a_pool),
    TEST(sixteen_pools_share_the_ranks),
    TEST(results_of_several_pools_are_awaited_together),
    TEST(end_of_one_pool_leaves_the_others_alone),
    TEST(pool_beside_another_has_its_threads),
    TEST(initializers_run_once_on_each_rank_and_thread),
    TEST(initializers_run_on_no_rank_that_runs_no_items),
    TEST(either_initializer_may_be_missing),
    TEST(initarg_is_a_copy_of_the_roots),
    TEST(initarg_without_a_size_is_each_ranks_own_pointer),
    TEST(initializer_that_fails_on_one_rank_fails_create_on_all),
    TEST(initializer_that_fails_on_all_ranks_is_reported_once),
    TEST(thread_initializer_that_fails_on_one_thread_fails_create_on_all),
    TEST(worker_is_renewed_after_ten_items),
    TEST(calls_inside_an_item_make_no_new_worker),
    TEST(worker_grows_old_without_a_limit),
    TEST(six_items_queued_at_close_have_a_worker_each),
    TEST(pool_of_short_lived_workers_ends_after_a_failure),
    TEST(thread_initializer_that_fails_later_fails_the_next_item),
    {NULL, NULL},
};

int main(int argc, char *argv[]) { return test_main(argc, argv, tests, ALL_SHAPES); }
