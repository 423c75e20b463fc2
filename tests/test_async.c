/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Async calls: they equal their namesakes, their results can be asked by anybody at any time, their callbacks come once
 * each, and what is queued begins in its order.
 *
 * Ported from CPython's _TestPool: map_async and starmap_async equal the serial loop, exactly one callback with the
 * list, exactly one error callback on error, map_async of nothing with a timeout does not stall (test_map_chunksize),
 * get(timeout) times out after about the timeout (test_async_timeout), a callback that reports an error does not kill
 * the pool. From concurrent.futures: test_done_callback_with_result, _with_exception, _with_cancel and _raises,
 * test_result_with_timeout, test_first_completed, test_first_exception and test_all_completed with their variants where
 * some are complete already, test_timeout, test_no_timeout, test_zero_timeout, test_duplicate_futures. From
 * mpi4py.futures: wait sets for ANY / FIRST_ERROR / ALL, duplicates delivered once, cancel of queued work.
 *
 * What pmap_close and pmap_terminate do to async calls is in test_life. A Python callback that raises is one that calls
 * pmap_fail here; callbacks are given with the call, so those that are added later have no counterpart.
 */
#include "board.h"
#include "harness.h"

#include <float.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A wait that must end by itself has so many seconds: less than the 20 after which items on the board give up. */
#define PROMPTLY 15.0

/* Cells of the board: items that hold a worker, what lets them go, items that ran, who has passed by, callbacks that
 * came, threads that wait; then one cell for each group of items that march together. */
enum { HELD, OPEN, RAN, PASSED, CALLED, WAITING, GROUPS };

/* ---- Tasks ------------------------------------------------------------------------------------------- */

static int square(int x) { return x < 0 ? pmap_fail(2, "negative input %d", x) : x * x; }
PMAP_TASK(square, int, int);

static int add(int a, int b) { return a + b; }
PMAP_TASK(add, int, int, int);

static int visit(int x)
{
    atomic_fetch_add(&board()[RAN], 1);
    return x;
}
PMAP_TASK(visit, int, int);

/* Wait in an item until a cell has reached a value; false if the item is asked to stop, or after some 20 seconds.
 * Unlike board_await it calls pmap_cancelled, in which a rank of one thread handles its messages. */
static bool hold_until(int cell, int value)
{
    time_t end = time(NULL) + 20;

    while (atomic_load(&board()[cell]) < value) {
        if (pmap_cancelled() || time(NULL) > end)
            return false;
        sched_yield();
    }
    return true;
}

static bool hold(int x)
{
    (void)x;
    atomic_fetch_add(&board()[HELD], 1);
    return hold_until(OPEN, 1);
}
PMAP_TASK(hold, bool, int);

/* Waits for what never comes, unless it is asked to stop. What it returns then must not be seen. */
static int endless(int x)
{
    atomic_fetch_add(&board()[RAN], 1);
    hold_until(RAN, INT_MAX);
    return x;
}
PMAP_TASK(endless, int, int);

/* ---- Helpers ----------------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What a call came to, and the end of its result. */
static enum pmap_status finish(struct pmap_result *result, struct pmap_error *error)
{
    enum pmap_status status = pmap_result_get(result, PMAP_FOREVER, error);

    pmap_result_free(result);
    return status;
}

/* From hold_workers to release_workers every worker is in an item of its own: what is submitted between is queued. */
static struct {
    struct pmap_result *result; /* of these items: a call that is not ready */
    int workers, *in;
    bool *out;
} held;

static void release_workers(void)
{
    atomic_store(&board()[OPEN], 1);
    CHECK_STATUS(finish(held.result, NULL), PMAP_OK);
    for (int i = 0; i < held.workers; i++)
        CHECK_SAYING(held.out[i], "worker %d waited in vain", i);
    free(held.in);
    free(held.out);
}

static bool hold_workers(void)
{
    board_clear();
    held.workers = pmap_threads(the_pool);
    held.in = test_array((size_t)held.workers, sizeof *held.in);
    held.out = test_array((size_t)held.workers, sizeof *held.out);
    held.result = pmap_map_async(the_pool, hold, held.in, held.out, (size_t)held.workers, .chunksize = 1);
    if (CHECK(held.result != NULL) && CHECK(board_await(HELD, held.workers)))
        return true;
    release_workers();
    return false;
}

static void check_usable(void)
{
    int in[] = {1, 2, 3, 4, 5}, out[5] = {0};

    CHECK_STATUS(finish(pmap_map_async(the_pool, square, in, out, 5), NULL), PMAP_OK);
    for (int i = 0; i < 5; i++)
        CHECK_INT(out[i], in[i] * in[i]);
}

/* ---- They equal their namesakes ---------------------------------------------------------------------- */

static void apply_async_equals_a_direct_call(void)
{
    int y = 0;

    CHECK_STATUS(finish(pmap_apply_async(the_pool, add, &y, 40, 2), NULL), PMAP_OK);
    CHECK_INT(y, 42);
}

static void check_map(size_t n, ptrdiff_t chunksize)
{
    int *in = test_array(n, sizeof *in), *out = test_array(n, sizeof *out);
    size_t wrong = 0;

    for (size_t i = 0; i < n; i++)
        in[i] = (int)i;
    CHECK_STATUS(finish(pmap_map_async(the_pool, square, in, out, n, .chunksize = chunksize), NULL), PMAP_OK);
    for (size_t i = 0; i < n; i++)
        wrong += out[i] != (int)(i * i);
    CHECK_SAYING(wrong == 0, "n = %zu, chunksize %td: %zu wrong results", n, chunksize, wrong);
    free(in);
    free(out);
}

static void map_async_equals_the_loop(void)
{
    static const size_t sizes[] = {0, 1, 2, 7, 100, 1000};

    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        check_map(sizes[k], 0);
        check_map(sizes[k], 1);
        check_map(sizes[k], 20);
        check_map(sizes[k], 5000);
    }
}

static void starmap_async_equals_the_loop(void)
{
    enum { N = 200 };
    struct add_args args[N];
    int out[N], wrong = 0;

    for (int i = 0; i < N; i++)
        args[i] = (struct add_args){i, 1000 * i};
    CHECK_STATUS(finish(pmap_starmap_async(the_pool, add, args, out, N, .chunksize = 7), NULL), PMAP_OK);
    for (int i = 0; i < N; i++)
        wrong += out[i] != 1001 * i;
    CHECK_INT(wrong, 0);
}

static int answer(void) { return 42; }
PMAP_TASK(answer, int);

static void pass(void) { atomic_fetch_add(&board()[PASSED], 1); }
PMAP_ACTION(pass);

static void greet(int x) { atomic_fetch_add(&board()[RAN], x); }
PMAP_ACTION(greet, int);

static void halve(size_t n, const double in[], double out[])
{
    for (size_t i = 0; i < n; i++)
        out[i] = in[i] / 2;
}
PMAP_BLOCK_TASK(halve, double, double);

static void async_calls_take_every_kind_of_task(void)
{
    int y = 0, ones[] = {1, 1, 1, 1};
    double in[] = {1, 2, 3}, out[3] = {0}, half = 0;

    board_clear();
    CHECK_STATUS(finish(pmap_apply_async(the_pool, answer, &y), NULL), PMAP_OK);
    CHECK_INT(y, 42);
    CHECK_STATUS(finish(pmap_apply_async(the_pool, pass, NULL), NULL), PMAP_OK);
    CHECK_INT(atomic_load(&board()[PASSED]), 1);
    CHECK_STATUS(finish(pmap_map_async(the_pool, greet, ones, NULL, 4), NULL), PMAP_OK);
    CHECK_INT(atomic_load(&board()[RAN]), 4);
    CHECK_STATUS(finish(pmap_map_async(the_pool, halve, in, out, 3), NULL), PMAP_OK);
    CHECK(out[0] == 0.5 && out[1] == 1 && out[2] == 1.5);
    CHECK_STATUS(finish(pmap_apply_async(the_pool, halve, &half, 7.0), NULL), PMAP_OK);
    CHECK(half == 3.5);
}

struct point {
    int x, y[10];
};
static int manhattan(struct point p) { return p.x + p.y[0] + p.y[9]; }
PMAP_TASK(manhattan, int, struct point);

static void argument_values_of_apply_are_copied(void)
{
    enum { N = 20 };
    struct pmap_result *results[N];
    int out[N];

    if (!hold_workers())
        return;
    for (int i = 0; i < N; i++) {
        struct point p = {i, {10 * i, [9] = 100 * i}};

        results[i] = pmap_apply_async(the_pool, manhattan, &out[i], p);
        memset(&p, 0xff, sizeof p);
    }
    release_workers();
    for (int i = 0; i < N; i++) {
        CHECK_STATUS(finish(results[i], NULL), PMAP_OK);
        CHECK_INT(out[i], 111 * i);
    }
}

/* All of them are queued before the first begins, and they are asked for from the end. */
static void ten_thousand_calls_are_outstanding_at_once(void)
{
    size_t n = test_size(10000, 500), early = 0, wrong = 0;
    struct pmap_result **results = test_array(n, sizeof *results);
    int *out = test_array(n, sizeof *out);

    if (!hold_workers())
        return;
    for (size_t i = 0; i < n; i++)
        results[i] = pmap_apply_async(the_pool, add, &out[i], (int)i, 1);
    for (size_t i = 0; i < n; i++)
        early += pmap_result_ready(results[i]);
    CHECK_INT(early, 0);
    release_workers();
    for (size_t i = n; i-- > 0;)
        wrong += finish(results[i], NULL) != PMAP_OK || out[i] != (int)i + 1;
    CHECK_INT(wrong, 0);
    free(results);
    free(out);
}

static void note_call(void *user, void *out, size_t n)
{
    (void)user, (void)out, (void)n;
    atomic_fetch_add(&board()[CALLED], 1);
}

/* The caller looks at nothing but memory, as a program does that computes something else. */
static void work_goes_on_without_a_call_into_the_pool(void)
{
    enum { N = 1000 };
    int *in = test_array(N, sizeof *in), *out = test_array(N, sizeof *out);
    struct pmap_result *result;

    board_clear();
    result = pmap_map_async(the_pool, visit, in, out, N, .chunksize = 3, .callback = note_call);
    CHECK(board_await(CALLED, 1));
    CHECK_INT(atomic_load(&board()[RAN]), N);
    CHECK_STATUS(finish(result, NULL), PMAP_OK);
    free(in);
    free(out);
}

/* Is everything ready at once, and right? */
static bool call_inside(int x)
{
    int in[] = {x, x + 1, x + 2}, out[3] = {0}, y = 0;
    struct pmap_result *map = pmap_map_async(NULL, square, in, out, 3);
    struct pmap_result *apply = pmap_apply_async(NULL, add, &y, x, 1);
    bool right = pmap_result_ready(map) && pmap_result_ready(apply);

    right &= finish(map, NULL) == PMAP_OK && out[0] == x * x && out[2] == (x + 2) * (x + 2);
    right &= finish(apply, NULL) == PMAP_OK && y == x + 1;
    return right;
}
PMAP_TASK(call_inside, bool, int);

static void async_call_inside_a_task_runs_on_the_spot(void)
{
    int in[50], wrong = 0;
    bool out[50];

    for (int i = 0; i < 50; i++)
        in[i] = i;
    CHECK_STATUS(finish(pmap_map_async(the_pool, call_inside, in, out, 50, .chunksize = 1), NULL), PMAP_OK);
    for (int i = 0; i < 50; i++)
        wrong += !out[i];
    CHECK_INT(wrong, 0);
}

/* ---- Asking a result --------------------------------------------------------------------------------- */

static void result_of_queued_work_is_not_ready(void)
{
    struct pmap_result *result;
    bool successful = false;
    int y = 0;

    if (!hold_workers())
        return;
    result = pmap_apply_async(the_pool, square, &y, 7);
    CHECK(!pmap_result_ready(result));
    CHECK_STATUS(pmap_result_successful(result, &successful), PMAP_EINVAL);
    CHECK_STATUS(pmap_result_wait(result, 0), PMAP_ETIMEOUT);
    CHECK_STATUS(pmap_result_get(result, 0, NULL), PMAP_ETIMEOUT);
    release_workers();
    CHECK_STATUS(pmap_result_wait(result, PMAP_FOREVER), PMAP_OK);
    CHECK(pmap_result_ready(result));
    CHECK_STATUS(pmap_result_wait(result, 0), PMAP_OK);
    CHECK_STATUS(pmap_result_successful(result, &successful), PMAP_OK);
    CHECK(successful);
    CHECK_STATUS(finish(result, NULL), PMAP_OK);
    CHECK_INT(y, 49);
}

/* Did a wait of 0.1 s take about that long? The upper limit is for a machine that is busy with something else. */
static void check_took(double begin)
{
    double took = now() - begin;

    CHECK_SAYING(took > 0.09 && took < PROMPTLY, "a wait of 0.1 s took %g s", took);
}

static void get_times_out_and_can_be_repeated(void)
{
    struct pmap_result *result;
    double begin;
    int y = 0;

    if (!hold_workers())
        return;
    result = pmap_apply_async(the_pool, square, &y, 7);
    for (int i = 0; i < 3; i++) {
        begin = now();
        CHECK_STATUS(pmap_result_get(result, 0.1, NULL), PMAP_ETIMEOUT);
        check_took(begin);
        begin = now();
        CHECK_STATUS(pmap_result_wait(result, 0.1), PMAP_ETIMEOUT);
        check_took(begin);
    }
    release_workers();
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(pmap_result_get(result, PMAP_FOREVER, NULL), PMAP_OK);
    CHECK_INT(y, 49);
    pmap_result_free(result);
}

static void timeouts_without_end_do_not_overflow(void)
{
    static const double timeouts[] = {PMAP_FOREVER, -1e-9, -INFINITY, 1e18, DBL_MAX, INFINITY};
    int in[20], out[20];

    for (int i = 0; i < 20; i++)
        in[i] = i;
    for (size_t k = 0; k < 10 * sizeof timeouts / sizeof *timeouts; k++) {
        double timeout = timeouts[k / 10];
        struct pmap_result *result = pmap_map_async(the_pool, square, in, out, 20);

        CHECK_STATUS(k % 2 ? pmap_result_wait(result, timeout) : pmap_wait(&result, 1, PMAP_ANY, timeout, NULL),
                     PMAP_OK);
        CHECK_STATUS(pmap_result_get(result, timeout, NULL), PMAP_OK);
        pmap_result_free(result);
    }
}

/* CPython: map_async of nothing with a timeout does not stall. Here it needs no worker either. */
static void map_of_nothing_is_ready_though_all_workers_are_held(void)
{
    struct pmap_result *results[2];
    bool successful = false;

    if (!hold_workers())
        return;
    results[0] = pmap_map_async(the_pool, square, NULL, NULL, 0, .chunksize = 1);
    results[1] = pmap_starmap_async(the_pool, add, NULL, NULL, 0);
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(pmap_result_get(results[i], PROMPTLY, NULL), PMAP_OK);
        CHECK_STATUS(pmap_result_successful(results[i], &successful), PMAP_OK);
        CHECK(successful);
        pmap_result_free(results[i]);
    }
    release_workers();
}

/* The failed items lie in different chunks; the lowest is reported as often as anybody asks. */
static void failed_call_reports_the_lowest_item(void)
{
    int in[100], out[100], wrong = 0;
    struct pmap_result *result;
    struct pmap_error error;
    bool successful = true;

    for (int i = 0; i < 100; i++)
        in[i] = i == 17 || i == 18 || i == 98 ? -i : i;
    result = pmap_map_async(the_pool, square, in, out, 100, .chunksize = 5);
    for (int k = 0; k < 2; k++) {
        memset(&error, 0, sizeof error);
        CHECK_STATUS(pmap_result_get(result, PMAP_FOREVER, &error), PMAP_EFAILED);
        CHECK_STATUS(error.status, PMAP_EFAILED);
        CHECK_INT(error.item, 17);
        CHECK_INT(error.code, 2);
        CHECK(strstr(error.text, "square failed at item 17 on ") != NULL);
        CHECK(strstr(error.text, "negative input -17 (code 2)") != NULL);
    }
    CHECK_STATUS(pmap_result_successful(result, &successful), PMAP_OK);
    CHECK(!successful);
    for (int i = 0; i < 100; i++)
        wrong += out[i] != (in[i] < 0 ? 0 : i * i);
    CHECK_INT(wrong, 0);
    pmap_result_free(result);
    check_usable();
}

static void failed_apply_is_reported_by_get(void)
{
    struct pmap_error error = {.status = PMAP_OK};
    int y = 99;

    CHECK_STATUS(finish(pmap_apply_async(the_pool, square, &y, -3), &error), PMAP_EFAILED);
    CHECK_INT(error.item, 0);
    CHECK_INT(error.code, 2);
    CHECK_INT(y, 0);
    check_usable();
}

/* The call's own .error is for a refusal: it may be gone when an item fails. */
static void error_of_the_call_is_not_kept(void)
{
    struct pmap_error error, before, other;
    int x = -1, y;

    memset(&error, 0xa5, sizeof error);
    memcpy(&before, &error, sizeof error);
    CHECK_STATUS(finish(pmap_map_async(the_pool, square, &x, &y, 1, .error = &error), &other), PMAP_EFAILED);
    CHECK_STATUS(finish(pmap_apply_async(the_pool, square, &y, -1, .error = &error), &other), PMAP_EFAILED);
    CHECK_STATUS(finish(pmap_apply_async(the_pool, square, &y, 1), &error), PMAP_OK);
    CHECK(memcmp(&before, &error, sizeof error) == 0);
}

/* ---- Several threads --------------------------------------------------------------------------------- */

enum { THREADS = 6, ROUNDS = 40 };

struct client {
    pthread_t thread;
    struct pmap_result *result; /* that it waits for, */
    const int *value;           /* and what that will have filled in */
    int number;
    int wrong; /* written by the thread, read when it has been joined */
};

static void run_clients(struct client clients[], void *run(void *), void prepare(void))
{
    int started = 0;

    while (started < THREADS && CHECK(pthread_create(&clients[started].thread, NULL, run, &clients[started]) == 0))
        started++;
    prepare();
    for (int i = 0; i < started; i++) {
        pthread_join(clients[i].thread, NULL);
        CHECK_INT(clients[i].wrong, 0);
    }
}

static void *await_result(void *argument)
{
    struct client *c = argument;
    bool successful = false;

    atomic_fetch_add(&board()[WAITING], 1);
    c->wrong += c->number % 2 ? pmap_result_get(c->result, PMAP_FOREVER, NULL) != PMAP_OK
                              : pmap_wait(&c->result, 1, PMAP_ALL, PMAP_FOREVER, NULL) != PMAP_OK;
    c->wrong += *c->value != 49;
    c->wrong += pmap_result_successful(c->result, &successful) != PMAP_OK || !successful;
    return NULL;
}

static void release_when_all_wait(void)
{
    CHECK(board_await(WAITING, THREADS));
    release_workers();
}

static void several_threads_wait_for_one_result(void)
{
    struct client clients[THREADS];
    struct pmap_result *result;
    int y = 0;

    if (!hold_workers())
        return;
    result = pmap_apply_async(the_pool, square, &y, 7);
    for (int i = 0; i < THREADS; i++)
        clients[i] = (struct client){.result = result, .value = &y, .number = i};
    run_clients(clients, await_result, release_when_all_wait);
    pmap_result_free(result);
}

/* A map, an apply and one that fails, all outstanding at once. */
static int submit_some(int number, int round)
{
    int in[30], out[30], sum = 0, bad = 0, wrong = 0;
    struct pmap_result *map, *apply, *failing;
    struct pmap_error error;

    for (int i = 0; i < 30; i++)
        in[i] = number * 1000 + round * 30 + i;
    map = pmap_map_async(the_pool, square, in, out, 30, .chunksize = round % 4);
    failing = pmap_apply_async(the_pool, square, &bad, -number - 1);
    apply = pmap_apply_async(the_pool, add, &sum, number, round);
    wrong += finish(apply, NULL) != PMAP_OK || sum != number + round;
    wrong += finish(failing, &error) != PMAP_EFAILED;
    wrong += finish(map, NULL) != PMAP_OK;
    for (int i = 0; i < 30; i++)
        wrong += out[i] != in[i] * in[i];
    return wrong;
}

static void *submit(void *argument)
{
    struct client *c = argument;

    for (int round = 0; round < ROUNDS; round++)
        c->wrong += submit_some(c->number, round);
    return NULL;
}

static void nothing_to_prepare(void) {}

static void several_threads_submit_at_once(void)
{
    struct client clients[THREADS];

    for (int i = 0; i < THREADS; i++)
        clients[i] = (struct client){.number = i};
    run_clients(clients, submit, nothing_to_prepare);
}

/* ---- Freed before ready ------------------------------------------------------------------------------ */

static void freed_result_lets_its_work_go_on(void)
{
    enum { N = 50 };
    static int in[N], out[N], single[N]; /* borrowed until nobody can ask any more */
    int wrong = 0;

    if (!hold_workers())
        return;
    for (int i = 0; i < N; i++)
        in[i] = i;
    pmap_result_free(pmap_map_async(the_pool, square, in, out, N, .callback = note_call));
    for (int i = 0; i < N; i++)
        pmap_result_free(pmap_apply_async(the_pool, square, &single[i], i, .callback = note_call));
    release_workers();
    CHECK(board_await(CALLED, 1 + N));
    for (int i = 0; i < N; i++)
        wrong += out[i] != i * i || single[i] != i * i;
    CHECK_INT(wrong, 0);
    check_usable();
}

/* ---- Cancelling -------------------------------------------------------------------------------------- */

/* It is over before the workers are free, and none of it ever runs; other calls do not notice. */
static void queued_call_is_cancelled_at_once(void)
{
    int in[100] = {0}, out[100], y = 0, z = 0;
    struct pmap_result *map, *apply, *other;
    struct pmap_error error = {.status = PMAP_OK};
    bool successful = true;

    if (!hold_workers())
        return;
    map = pmap_map_async(the_pool, visit, in, out, 100, .chunksize = 1);
    apply = pmap_apply_async(the_pool, visit, &y, 5);
    other = pmap_apply_async(the_pool, square, &z, 7);
    CHECK_STATUS(pmap_result_cancel(map), PMAP_OK);
    CHECK_STATUS(pmap_result_cancel(apply), PMAP_OK);
    CHECK_STATUS(pmap_result_get(map, PROMPTLY, &error), PMAP_ECANCELLED);
    CHECK_STATUS(error.status, PMAP_ECANCELLED);
    CHECK_STATUS(pmap_result_get(apply, PROMPTLY, &error), PMAP_ECANCELLED);
    CHECK_STATUS(pmap_result_successful(map, &successful), PMAP_OK);
    CHECK(!successful);
    CHECK(!pmap_result_ready(other));
    release_workers();
    CHECK_STATUS(finish(other, NULL), PMAP_OK);
    CHECK_INT(z, 49);
    check_usable();
    CHECK_INT(atomic_load(&board()[RAN]), 0);
    pmap_result_free(map);
    pmap_result_free(apply);
}

/* More items than workers: some run, the others have not begun. What an item returns when asked is thrown away. */
static void cancel_asks_running_items_to_stop(void)
{
    size_t n = 20 * (size_t)pmap_threads(the_pool), wrong = 0;
    int *in = test_array(n, sizeof *in), *out = test_array(n, sizeof *out);
    enum pmap_status *statuses = test_array(n, sizeof *statuses);
    struct pmap_result *result;
    struct pmap_error error;

    for (size_t i = 0; i < n; i++)
        in[i] = 99;
    board_clear();
    result = pmap_map_async(the_pool, endless, in, out, n, .chunksize = 1, .statuses = statuses);
    CHECK(board_await(RAN, pmap_threads(the_pool)));
    CHECK_STATUS(pmap_result_cancel(result), PMAP_OK);
    CHECK_STATUS(pmap_result_wait(result, PROMPTLY), PMAP_OK);
    CHECK_STATUS(finish(result, &error), PMAP_ECANCELLED);
    for (size_t i = 0; i < n; i++)
        wrong += statuses[i] != PMAP_ECANCELLED || out[i] != 0;
    CHECK_INT(wrong, 0);
    CHECK_INT(atomic_load(&board()[RAN]), pmap_threads(the_pool));
    check_usable();
    free(in);
    free(out);
    free(statuses);
}

static void cancel_after_the_end_changes_nothing(void)
{
    struct pmap_result *good, *bad;
    struct pmap_error error;
    int y = 0, z;

    good = pmap_apply_async(the_pool, square, &y, 7);
    bad = pmap_apply_async(the_pool, square, &z, -7);
    CHECK_STATUS(pmap_result_wait(good, PMAP_FOREVER), PMAP_OK);
    CHECK_STATUS(pmap_result_wait(bad, PMAP_FOREVER), PMAP_OK);
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(pmap_result_cancel(good), PMAP_OK);
        CHECK_STATUS(pmap_result_cancel(bad), PMAP_OK);
        CHECK_STATUS(pmap_result_get(good, 0, &error), PMAP_OK);
        CHECK_STATUS(pmap_result_get(bad, 0, &error), PMAP_EFAILED);
    }
    CHECK_INT(y, 49);
    pmap_result_free(good);
    pmap_result_free(bad);
}

static int fail_or_stay(int x) { return x < 0 ? pmap_fail(3, "at once") : endless(x); }
PMAP_TASK(fail_or_stay, int, int);

/* Both items are in one chunk: the first has failed when the second begins. */
static void cancelled_call_reports_an_item_that_had_failed(void)
{
    int in[] = {-1, 5}, out[2];
    struct pmap_result *result;
    struct pmap_error error = {.status = PMAP_OK};

    board_clear();
    result = pmap_map_async(the_pool, fail_or_stay, in, out, 2, .chunksize = 2);
    CHECK(board_await(RAN, 1));
    CHECK_STATUS(pmap_result_cancel(result), PMAP_OK);
    CHECK_STATUS(pmap_result_wait(result, PROMPTLY), PMAP_OK);
    CHECK_STATUS(finish(result, &error), PMAP_EFAILED);
    CHECK_INT(error.item, 0);
    CHECK_INT(error.code, 3);
    check_usable();
}

/* Fails at once in its first run; in the second it stays. */
static int fail_then_stay(int x)
{
    int before = atomic_fetch_add(&board()[RAN], 1);
    if (before < x)
        return pmap_fail(3, "in run %d", before);
    endless(x);
    return x;
}
PMAP_TASK(fail_then_stay, int, int);

static void check_failed_then_cancelled(struct pmap_result *result, const int out[], const enum pmap_status statuses[], size_t n)
{
    struct pmap_error error = {.status = PMAP_OK};
    size_t wrong = 0;

    CHECK_STATUS(pmap_result_cancel(result), PMAP_OK);
    CHECK_STATUS(pmap_result_wait(result, PROMPTLY), PMAP_OK);
    CHECK_STATUS(finish(result, &error), PMAP_EFAILED);
    CHECK_INT(error.item, 0);
    CHECK_INT(error.code, 3);
    CHECK_NAMES(error.text, "run");
    for (size_t i = 0; i < n; i++)
        wrong += statuses[i] != PMAP_EFAILED || out[i] != 0;
    CHECK_INT(wrong, 0);
}

/* Whether it waits for its retry, or is in it, and gives up: its last whole run failed. */
static void cancelled_call_reports_an_item_that_waits_to_be_run_again(void)
{
    enum { N = 40 };
    int in[N], out[N];
    enum pmap_status statuses[N];
    struct pmap_result *result;

    for (int i = 0; i < N; i++)
        in[i] = N;
    for (ptrdiff_t chunksize = 0; chunksize < 3; chunksize++) {
        board_clear();
        result = pmap_map_async(the_pool, fail_then_stay, in, out, N, .chunksize = chunksize, .retries = 2, .retry_delay = 1000,
                                .statuses = statuses);
        CHECK(board_await(RAN, N));
        check_failed_then_cancelled(result, out, statuses, N);
    }
    for (int runs = 1; runs < 4; runs++) {
        board_clear();
        result = pmap_apply_async(the_pool, fail_then_stay, out, runs, .retries = INT_MAX);
        CHECK(board_await(RAN, runs + 1));
        check_failed_then_cancelled(result, out, NULL, 0);
    }
    check_usable();
}

static void calls_can_be_cancelled_and_freed_while_they_are_queued(void)
{
    static int out[100]; /* borrowed until nobody can ask any more */

    if (!hold_workers())
        return;
    for (int i = 0; i < 100; i++) {
        struct pmap_result *result = pmap_apply_async(the_pool, visit, &out[i], i);

        CHECK_STATUS(pmap_result_cancel(result), PMAP_OK);
        pmap_result_free(result);
    }
    release_workers();
    check_usable();
    CHECK_INT(atomic_load(&board()[RAN]), 0);
}

/* ---- Callbacks --------------------------------------------------------------------------------------- */

/* What the callbacks of a call saw. The test reads it when the result is ready. */
struct seen {
    int successes, failures;
    void *out;
    size_t n;
    struct pmap_error error;
};

static void succeeded(void *user, void *out, size_t n)
{
    struct seen *seen = user;

    seen->successes++;
    seen->out = out;
    seen->n = n;
}

static void failed(void *user, const struct pmap_error *error)
{
    struct seen *seen = user;

    seen->failures++;
    seen->error = *error;
}

/* The options that make a call seen. */
#define SEEN_BY(seen) .callback = succeeded, .error_callback = failed, .user = &(seen)

static void check_seen(const struct seen *seen, void *out, size_t n)
{
    CHECK_INT(seen->successes, 1);
    CHECK_INT(seen->failures, 0);
    CHECK(seen->out == out);
    CHECK_INT(seen->n, n);
}

static void callback_comes_once_with_out_and_n(void)
{
    struct seen map = {0}, starmap = {0}, apply = {0};
    struct add_args args[] = {{1, 2}, {3, 4}};
    int in[30] = {0}, out[30], sums[2], y;

    CHECK_STATUS(finish(pmap_map_async(the_pool, square, in, out, 30, .chunksize = 1, SEEN_BY(map)), NULL), PMAP_OK);
    CHECK_STATUS(finish(pmap_starmap_async(the_pool, add, args, sums, 2, SEEN_BY(starmap)), NULL), PMAP_OK);
    CHECK_STATUS(finish(pmap_apply_async(the_pool, square, &y, 7, SEEN_BY(apply)), NULL), PMAP_OK);
    check_usable(); /* if a callback came twice it has done so by now */
    check_seen(&map, out, 30);
    check_seen(&starmap, sums, 2);
    check_seen(&apply, &y, 1);
}

static void error_callback_comes_once_with_the_error(void)
{
    struct seen map = {0}, apply = {0};
    int in[] = {1, 2, -3, 4, -5}, out[5], y;
    struct pmap_error error;

    CHECK_STATUS(finish(pmap_map_async(the_pool, square, in, out, 5, .chunksize = 1, SEEN_BY(map)), &error),
                 PMAP_EFAILED);
    check_usable();
    CHECK_INT(map.successes, 0);
    CHECK_INT(map.failures, 1);
    CHECK_STATUS(map.error.status, PMAP_EFAILED);
    CHECK_INT(map.error.item, 2);
    CHECK_TEXT(map.error.text, error.text);
    CHECK_STATUS(finish(pmap_apply_async(the_pool, square, &y, -7, SEEN_BY(apply)), &error), PMAP_EFAILED);
    check_usable();
    CHECK_INT(apply.successes, 0);
    CHECK_INT(apply.failures, 1);
    CHECK_TEXT(apply.error.text, error.text);
}

static void callback_of_nothing_comes_too(void)
{
    struct seen map = {0}, starmap = {0};
    int out;

    CHECK_STATUS(finish(pmap_map_async(the_pool, square, NULL, NULL, 0, SEEN_BY(map)), NULL), PMAP_OK);
    CHECK_STATUS(finish(pmap_starmap_async(the_pool, add, NULL, &out, 0, SEEN_BY(starmap)), NULL), PMAP_OK);
    check_usable();
    check_seen(&map, NULL, 0);
    check_seen(&starmap, &out, 0);
}

static void either_callback_may_be_missing(void)
{
    struct seen seen = {0};
    struct pmap_error error;
    int y;

    CHECK_STATUS(finish(pmap_apply_async(the_pool, square, &y, -1, .callback = succeeded, .user = &seen), &error),
                 PMAP_EFAILED);
    CHECK_STATUS(finish(pmap_apply_async(the_pool, square, &y, 1, .error_callback = failed, .user = &seen), NULL),
                 PMAP_OK);
    check_usable();
    CHECK_INT(seen.successes + seen.failures, 0);
}

static void cancelled_call_has_its_error_callback(void)
{
    struct seen seen = {0};
    struct pmap_result *result;
    struct pmap_error error;
    int y;

    if (!hold_workers())
        return;
    result = pmap_apply_async(the_pool, visit, &y, 1, SEEN_BY(seen));
    CHECK_STATUS(pmap_result_cancel(result), PMAP_OK);
    CHECK_STATUS(pmap_result_cancel(result), PMAP_OK);
    CHECK_STATUS(pmap_result_get(result, PROMPTLY, &error), PMAP_ECANCELLED);
    release_workers();
    check_usable();
    CHECK_INT(seen.successes, 0);
    CHECK_INT(seen.failures, 1);
    CHECK_STATUS(seen.error.status, PMAP_ECANCELLED);
    pmap_result_free(result);
}

/* A fifth of them fail. */
static void each_of_many_calls_has_one_callback(void)
{
    size_t n = test_size(2000, 200), wrong = 0;
    struct pmap_result **results = test_array(n, sizeof *results);
    struct seen *seen = test_array(n, sizeof *seen);
    int *out = test_array(n, sizeof *out);
    struct pmap_error error;

    for (size_t i = 0; i < n; i++)
        results[i] = pmap_apply_async(the_pool, square, &out[i], i % 5 ? 3 : -3, SEEN_BY(seen[i]));
    for (size_t i = 0; i < n; i++)
        wrong += finish(results[i], &error) != (i % 5 ? PMAP_OK : PMAP_EFAILED);
    check_usable();
    for (size_t i = 0; i < n; i++)
        wrong += seen[i].successes != (i % 5 ? 1 : 0) || seen[i].failures != (i % 5 ? 0 : 1);
    CHECK_INT(wrong, 0);
    free(results);
    free(seen);
    free(out);
}

struct crowd {
    atomic_int inside, overlaps, came;
};

static void enter(struct crowd *crowd)
{
    if (atomic_fetch_add(&crowd->inside, 1) != 0)
        atomic_fetch_add(&crowd->overlaps, 1);
    sched_yield(); /* an invitation to the next one */
    atomic_fetch_add(&crowd->came, 1);
    atomic_fetch_sub(&crowd->inside, 1);
}

static void enter_glad(void *user, void *out, size_t n)
{
    (void)out, (void)n;
    enter(user);
}

static void enter_sad(void *user, const struct pmap_error *error)
{
    (void)error;
    enter(user);
}

/* Of both kinds, with and without work behind them. */
static void callbacks_come_one_at_a_time(void)
{
    enum { N = 300 };
    struct pmap_result *results[N];
    struct crowd crowd = {0};
    int out[N];
    struct pmap_error error;

    for (int i = 0; i < N; i++)
        if (i % 3 == 0)
            results[i] = pmap_map_async(the_pool, square, NULL, NULL, 0, .callback = enter_glad, .user = &crowd);
        else
            results[i] = pmap_apply_async(the_pool, square, &out[i], i % 3 == 1 ? i : -i, .callback = enter_glad,
                                          .error_callback = enter_sad, .user = &crowd);
    for (int i = 0; i < N; i++)
        CHECK_STATUS(finish(results[i], &error), i % 3 == 2 ? PMAP_EFAILED : PMAP_OK);
    CHECK_INT(atomic_load(&crowd.came), N);
    CHECK_INT(atomic_load(&crowd.overlaps), 0);
}

/* The call that was made first ends when the callback of the second has come, and not before. */
static bool await_callback(void) { return hold_until(CALLED, 1); }
PMAP_TASK(await_callback, bool);

static void callback_waits_for_no_call_made_earlier(void)
{
    struct pmap_result *first, *second;
    bool came = false;
    int y;

    if (pmap_threads(the_pool) == 1) {
        test_skip("one worker ends calls in the order in which they were made");
        return;
    }
    board_clear();
    first = pmap_apply_async(the_pool, await_callback, &came);
    second = pmap_apply_async(the_pool, square, &y, 7, .callback = note_call);
    CHECK_STATUS(finish(first, NULL), PMAP_OK);
    CHECK(came);
    CHECK_STATUS(finish(second, NULL), PMAP_OK);
}

struct log {
    int length, entries[50];
};

/* out is that of visit: what the call was given. */
static void write_down(void *user, void *out, size_t n)
{
    struct log *log = user;

    (void)n;
    log->entries[log->length++] = *(int *)out;
}

static void callbacks_of_one_worker_come_in_the_order_of_its_work(void)
{
    struct log log = {0};
    struct pmap_result *results[50];
    int out[50], wrong = 0;

    if (pmap_threads(the_pool) > 1) {
        test_skip("there are several workers");
        return;
    }
    if (!hold_workers())
        return;
    for (int i = 0; i < 50; i++)
        results[i] = pmap_apply_async(the_pool, visit, &out[i], i, .callback = write_down, .user = &log);
    release_workers();
    for (int i = 0; i < 50; i++)
        CHECK_STATUS(finish(results[i], NULL), PMAP_OK);
    CHECK_INT(log.length, 50);
    for (int i = 0; i < 50; i++)
        wrong += log.entries[i] != i;
    CHECK_INT(wrong, 0);
}

/* Each call's callback makes the next call, and nobody ever asks for a result. */
enum { LINKS = 100 };
static struct {
    int length, values[LINKS]; /* borrowed until nobody can ask any more */
} chain;

static void make_next_call(void *user, void *out, size_t n)
{
    int k = ++chain.length;

    (void)user, (void)out, (void)n;
    if (k == LINKS)
        atomic_store(&board()[CALLED], 1);
    else
        pmap_result_free(pmap_apply_async(the_pool, add, &chain.values[k], chain.values[k - 1], 1,
                                          .callback = make_next_call));
}

static void callback_may_submit(void)
{
    int wrong = 0;

    board_clear();
    chain.length = 0;
    chain.values[0] = 0;
    pmap_result_free(pmap_apply_async(the_pool, add, &chain.values[0], 1, 0, .callback = make_next_call));
    CHECK(board_await(CALLED, 1));
    CHECK_INT(chain.length, LINKS);
    for (int i = 0; i < LINKS; i++)
        wrong += chain.values[i] != i + 1;
    CHECK_INT(wrong, 0);
    check_usable();
}

/* What a callback is told about its own result and others. */
struct questions {
    struct pmap_result *own, *done;
    bool own_ready, done_ready;
    enum pmap_status own_wait, own_get, own_set, done_wait, done_get, any_of_both;
};

static void ask(void *user, void *out, size_t n)
{
    struct questions *q = user;
    struct pmap_result *both[] = {q->own, q->done};

    (void)out, (void)n;
    q->own_ready = pmap_result_ready(q->own);
    q->own_wait = pmap_result_wait(q->own, PMAP_FOREVER);
    q->own_get = pmap_result_get(q->own, 1000, NULL);
    q->own_set = pmap_wait(both, 2, PMAP_ALL, PMAP_FOREVER, NULL);
    q->done_ready = pmap_result_ready(q->done);
    q->done_wait = pmap_result_wait(q->done, PMAP_FOREVER);
    q->done_get = pmap_result_get(q->done, PMAP_FOREVER, NULL);
    q->any_of_both = pmap_wait(both, 2, PMAP_ANY, PMAP_FOREVER, NULL);
}

/* The workers are held until the callback's own result is known to it. */
static void callback_comes_before_its_result_is_ready(void)
{
    struct questions q = {.own_ready = true};
    int y, z;

    q.done = pmap_apply_async(the_pool, square, &y, 7);
    CHECK_STATUS(pmap_result_wait(q.done, PMAP_FOREVER), PMAP_OK);
    if (!hold_workers())
        return;
    q.own = pmap_apply_async(the_pool, square, &z, 8, .callback = ask, .user = &q);
    release_workers();
    CHECK_STATUS(finish(q.own, NULL), PMAP_OK);
    CHECK(!q.own_ready);
    CHECK(q.done_ready);
    CHECK_STATUS(q.own_wait, PMAP_EDEADLOCK);
    CHECK_STATUS(q.own_get, PMAP_EDEADLOCK);
    CHECK_STATUS(q.own_set, PMAP_EDEADLOCK);
    CHECK_STATUS(q.done_wait, PMAP_OK);
    CHECK_STATUS(q.done_get, PMAP_OK);
    CHECK_STATUS(q.any_of_both, PMAP_OK);
    pmap_result_free(q.done);
}

PMAP_OP(add, int);

/* What the calls that would wait say in a callback. */
struct attempts {
    enum pmap_status map, starmap, apply, reduce, share;
};

static void try_to_wait(struct attempts *a)
{
    int in[] = {1, 2, 3}, out[3], y;
    struct add_args args[] = {{1, 2}};
    struct pmap_handle handle;

    a->map = pmap_map(the_pool, square, in, out, 3);
    a->starmap = pmap_starmap(the_pool, add, args, out, 1);
    a->apply = pmap_apply(the_pool, square, &y, 7);
    a->reduce = pmap_reduce(the_pool, square, add, in, &y, 3);
    a->share = pmap_share(the_pool, in, sizeof in, &handle);
}

static void try_when_glad(void *user, void *out, size_t n)
{
    (void)out, (void)n;
    try_to_wait(user);
}

static void try_when_sad(void *user, const struct pmap_error *error)
{
    (void)error;
    try_to_wait(user);
}

static void check_attempts(const struct attempts *a)
{
    CHECK_STATUS(a->map, PMAP_EDEADLOCK);
    CHECK_STATUS(a->starmap, PMAP_EDEADLOCK);
    CHECK_STATUS(a->apply, PMAP_EDEADLOCK);
    CHECK_STATUS(a->reduce, PMAP_EDEADLOCK);
    CHECK_STATUS(a->share, PMAP_EDEADLOCK);
    check_usable();
}

static void waiting_in_a_callback_is_a_reported_deadlock(void)
{
    struct attempts glad = {0}, sad = {0};
    struct pmap_error error;
    int y;

    CHECK_STATUS(finish(pmap_apply_async(the_pool, square, &y, 7, .callback = try_when_glad, .user = &glad), NULL),
                 PMAP_OK);
    check_attempts(&glad);
    CHECK_STATUS(finish(pmap_apply_async(the_pool, square, &y, -7, .error_callback = try_when_sad, .user = &sad),
                        &error), PMAP_EFAILED);
    check_attempts(&sad);
}

static void complain(void *user, void *out, size_t n)
{
    (void)user, (void)out, (void)n;
    pmap_fail(9, "a callback complains, as the tests want it to");
}

static void complain_again(void *user, const struct pmap_error *error)
{
    (void)user, (void)error;
    pmap_fail(9, "an error callback complains, as the tests want it to");
}

static void failure_in_a_callback_harms_nothing(void)
{
    struct pmap_error error = {.code = 0};
    int y = 0;

    CHECK_STATUS(finish(pmap_apply_async(the_pool, square, &y, 7, .callback = complain), &error), PMAP_OK);
    CHECK_INT(y, 49);
    check_usable();
    CHECK_STATUS(finish(pmap_apply_async(the_pool, square, &y, -7, .error_callback = complain_again), &error),
                 PMAP_EFAILED);
    CHECK_INT(error.code, 2);
    check_usable();
}

/* A search: whoever finds it ends the others. Atomic, for what orders the two may go by way of another process, which no tool sees. */
static void cancel_other(void *user, void *out, size_t n)
{
    _Atomic(struct pmap_result *) *other = user;

    (void)out, (void)n;
    pmap_result_cancel(atomic_load(other));
}

static void callback_may_cancel_another_call(void)
{
    struct pmap_result *first, *second;
    _Atomic(struct pmap_result *) other = NULL;
    struct pmap_error error;
    int y, z;

    if (!hold_workers())
        return;
    first = pmap_apply_async(the_pool, square, &y, 7, .callback = cancel_other, .user = &other);
    second = pmap_apply_async(the_pool, endless, &z, 99);
    atomic_store(&other, second);
    release_workers();
    CHECK_STATUS(finish(first, NULL), PMAP_OK);
    CHECK_STATUS(pmap_result_wait(second, PROMPTLY), PMAP_OK);
    CHECK_STATUS(finish(second, &error), PMAP_ECANCELLED);
    check_usable();
}

/* ---- Waiting for several ----------------------------------------------------------------------------- */

/* One that is ready, one that failed, and in held.result one that will not be ready. */
static struct {
    struct pmap_result *good, *bad;
    int y, z;
} set;

static bool prepare_set(void)
{
    set.good = pmap_apply_async(the_pool, square, &set.y, 7);
    set.bad = pmap_apply_async(the_pool, square, &set.z, -7);
    CHECK_STATUS(pmap_result_wait(set.good, PMAP_FOREVER), PMAP_OK);
    CHECK_STATUS(pmap_result_wait(set.bad, PMAP_FOREVER), PMAP_OK);
    return hold_workers();
}

static void dismiss_set(void)
{
    release_workers();
    pmap_result_free(set.good);
    pmap_result_free(set.bad);
}

/* Wait without patience, and then with some, to the same end. */
static void check_wait(struct pmap_result *const results[], size_t n, enum pmap_until until, enum pmap_status status,
                       size_t wanted)
{
    size_t index = 99;

    CHECK_STATUS(pmap_wait(results, n, until, 0, &index), status);
    if (status == PMAP_OK)
        CHECK_INT(index, wanted);
    CHECK_STATUS(pmap_wait(results, n, until, status == PMAP_OK ? PMAP_FOREVER : 0.1, NULL), status);
}

static void wait_for_any_ends_at_one_that_is_ready(void)
{
    if (!prepare_set())
        return;
    check_wait((struct pmap_result *[]){NULL, held.result, set.good, NULL}, 4, PMAP_ANY, PMAP_OK, 2);
    check_wait((struct pmap_result *[]){set.bad, held.result, held.result}, 3, PMAP_ANY, PMAP_OK, 0);
    check_wait((struct pmap_result *[]){held.result, set.good, set.good}, 3, PMAP_ANY, PMAP_OK, 1);
    check_wait((struct pmap_result *[]){held.result}, 1, PMAP_ANY, PMAP_ETIMEOUT, 0);
    check_wait((struct pmap_result *[]){held.result, NULL, held.result}, 3, PMAP_ANY, PMAP_ETIMEOUT, 0);
    dismiss_set();
}

static void wait_for_all_ends_when_all_are_ready(void)
{
    if (!prepare_set())
        return;
    check_wait((struct pmap_result *[]){set.good, set.bad}, 2, PMAP_ALL, PMAP_OK, 0);
    check_wait((struct pmap_result *[]){NULL, set.bad, set.bad, NULL, set.good}, 5, PMAP_ALL, PMAP_OK, 1);
    check_wait((struct pmap_result *[]){set.good, set.bad, held.result}, 3, PMAP_ALL, PMAP_ETIMEOUT, 0);
    check_wait((struct pmap_result *[]){held.result, held.result, set.good}, 3, PMAP_ALL, PMAP_ETIMEOUT, 0);
    dismiss_set();
}

static void wait_for_the_first_error_ends_there_or_when_all_are_ready(void)
{
    struct pmap_result *cancelled;
    int y;

    if (!prepare_set())
        return;
    cancelled = pmap_apply_async(the_pool, visit, &y, 1);
    pmap_result_cancel(cancelled);
    CHECK_STATUS(pmap_result_wait(cancelled, PROMPTLY), PMAP_OK);
    check_wait((struct pmap_result *[]){set.good, held.result, set.bad}, 3, PMAP_FIRST_ERROR, PMAP_OK, 2);
    check_wait((struct pmap_result *[]){held.result, cancelled, set.good}, 3, PMAP_FIRST_ERROR, PMAP_OK, 1);
    check_wait((struct pmap_result *[]){NULL, set.bad, set.bad}, 3, PMAP_FIRST_ERROR, PMAP_OK, 1);
    check_wait((struct pmap_result *[]){set.good, NULL, set.good}, 3, PMAP_FIRST_ERROR, PMAP_OK, 3);
    check_wait((struct pmap_result *[]){set.good, held.result}, 2, PMAP_FIRST_ERROR, PMAP_ETIMEOUT, 0);
    dismiss_set();
    pmap_result_free(cancelled);
}

static void wait_for_none_ends_at_once(void)
{
    static const enum pmap_until ways[] = {PMAP_ANY, PMAP_ALL, PMAP_FIRST_ERROR};
    struct pmap_result *none[5] = {NULL};

    for (size_t k = 0; k < 3; k++) {
        check_wait(none, 0, ways[k], PMAP_OK, 0);
        check_wait(none, 5, ways[k], PMAP_OK, 5);
    }
}

static void *open_when_somebody_waits(void *unused)
{
    board_await(WAITING, 1);
    atomic_store(&board()[OPEN], 1);
    return unused;
}

/* Behind the items that hold the workers comes one that fails. */
static void check_wakes_up(enum pmap_until until, size_t lowest, size_t highest)
{
    struct pmap_result *results[2];
    struct pmap_error error;
    pthread_t opener;
    size_t index = 99;
    int y;

    if (!hold_workers() || !CHECK(pthread_create(&opener, NULL, open_when_somebody_waits, NULL) == 0))
        return;
    results[0] = held.result;
    results[1] = pmap_apply_async(the_pool, square, &y, -7);
    atomic_store(&board()[WAITING], 1);
    CHECK_STATUS(pmap_wait(results, 2, until, PMAP_FOREVER, &index), PMAP_OK);
    CHECK_SAYING(index >= lowest && index <= highest, "index is %zu", index);
    pthread_join(opener, NULL);
    CHECK_STATUS(finish(results[1], &error), PMAP_EFAILED);
    release_workers();
}

static void wait_wakes_up_when_its_time_has_come(void)
{
    check_wakes_up(PMAP_ANY, 0, 1);
    check_wakes_up(PMAP_ALL, 0, 0);
    check_wakes_up(PMAP_FIRST_ERROR, 1, 1);
}

static void cross_out(struct pmap_result *results[], size_t n, struct pmap_result *result)
{
    for (size_t i = 0; i < n; i++)
        if (results[i] == result)
            results[i] = NULL;
}

/* Python's as_completed, with every result in the list twice. */
static void each_result_is_delivered_once(void)
{
    enum { N = 60 };
    struct pmap_result *results[2 * N];
    int out[N], deliveries[N] = {0}, wrong = 0;
    size_t index = 0;

    for (int i = 0; i < N; i++)
        results[i] = results[N + i] = pmap_apply_async(the_pool, square, &out[i], i);
    while (pmap_wait(results, 2 * N, PMAP_ANY, PMAP_FOREVER, &index) == PMAP_OK && index < 2 * N) {
        struct pmap_result *result = results[index];

        deliveries[index % N]++;
        cross_out(results, 2 * N, result);
        wrong += finish(result, NULL) != PMAP_OK;
    }
    CHECK_INT(index, 2 * N);
    for (int i = 0; i < N; i++)
        wrong += deliveries[i] != 1 || out[i] != i * i;
    CHECK_INT(wrong, 0);
}

/* ---- Arguments that make no sense -------------------------------------------------------------------- */

static void null_results_are_refused(void)
{
    struct pmap_error error = {.status = PMAP_OK};
    bool successful = false;

    CHECK_STATUS(pmap_result_wait(NULL, 0), PMAP_EINVAL);
    CHECK_STATUS(pmap_result_wait(NULL, PMAP_FOREVER), PMAP_EINVAL);
    CHECK_STATUS(pmap_result_get(NULL, PMAP_FOREVER, &error), PMAP_EINVAL);
    CHECK_STATUS(error.status, PMAP_EINVAL);
    CHECK_STATUS(pmap_result_successful(NULL, &successful), PMAP_EINVAL);
    CHECK_STATUS(pmap_result_cancel(NULL), PMAP_EINVAL);
    CHECK_STATUS(pmap_wait(NULL, 3, PMAP_ALL, 0, NULL), PMAP_EINVAL);
    CHECK(!pmap_result_ready(NULL));
    pmap_result_free(NULL);
}

static void timeouts_that_are_no_numbers_are_refused(void)
{
    struct pmap_error error = {.status = PMAP_OK};
    struct pmap_result *result;
    int y;

    result = pmap_apply_async(the_pool, square, &y, 7);
    CHECK_STATUS(pmap_result_wait(result, NAN), PMAP_EINVAL);
    CHECK_STATUS(pmap_result_get(result, NAN, &error), PMAP_EINVAL);
    CHECK_STATUS(error.status, PMAP_EINVAL);
    CHECK_STATUS(pmap_wait(&result, 1, PMAP_ALL, NAN, NULL), PMAP_EINVAL);
    CHECK_STATUS(pmap_wait(&result, 1, (enum pmap_until)77, PMAP_FOREVER, NULL), PMAP_EINVAL);
    CHECK_STATUS(pmap_result_wait(result, PMAP_FOREVER), PMAP_OK);
    CHECK_STATUS(pmap_result_successful(result, NULL), PMAP_EINVAL);
    CHECK_STATUS(finish(result, NULL), PMAP_OK);
}

static struct pmap_error refusal;

static void check_refused(struct pmap_result *result, const char *word)
{
    CHECK(result == NULL);
    CHECK_STATUS(refusal.status, PMAP_EINVAL);
    CHECK_NAMES(refusal.text, word);
    memset(&refusal, 0, sizeof refusal);
    pmap_result_free(result);
}

/* A call that is refused says why at once, and has no callback. */
#define REFUSED .error = &refusal, SEEN_BY(seen)

static void refused_map_returns_null_and_says_why(void)
{
    struct seen seen = {0};
    int in[] = {1, 2, 3}, out[3];
    double wide[3];

    check_refused(pmap_map_async(NULL, square, in, out, 3, REFUSED), "pool");
    check_refused(pmap_map_async(the_pool, square, NULL, out, 3, REFUSED), "in");
    check_refused(pmap_map_async(the_pool, square, in, NULL, 3, REFUSED), "out");
    check_refused(pmap_map_async(the_pool, square, in, wide, 3, REFUSED), "square");
    check_refused(pmap_map_async(the_pool, square, in, out, SIZE_MAX, REFUSED), "n");
    check_refused(pmap_map_async(the_pool, square, in, out, 3, .chunksize = -1, REFUSED), "chunksize");
    check_refused(pmap_map_async(the_pool, square, in, out, 3, .retries = -1, REFUSED), "retries");
    check_refused(pmap_map_async(the_pool, square, in, out, 3, .on_error = PMAP_COLLECT, REFUSED), "statuses");
    check_refused(pmap_map_async(the_pool, add, in, out, 3, REFUSED), "add");
    check_usable();
    CHECK_INT(seen.successes + seen.failures, 0);
}

static void refused_starmap_and_apply_return_null_and_say_why(void)
{
    struct seen seen = {0};
    struct add_args args[] = {{1, 2}, {3, 4}};
    int out[2];

    check_refused(pmap_starmap_async(NULL, add, args, out, 2, REFUSED), "pool");
    check_refused(pmap_starmap_async(the_pool, add, NULL, out, 2, REFUSED), "args");
    check_refused(pmap_starmap_async(the_pool, add, args, out, 2, .chunksize = -20, REFUSED), "-20");
    check_refused(pmap_apply_async(NULL, add, out, 1, 2, REFUSED), "pool");
    check_refused(pmap_apply_async(the_pool, add, NULL, 1, 2, REFUSED), "out");
    check_refused(pmap_apply_async(the_pool, add, out, 1, 2, .retries = -1, REFUSED), "retries");
    check_usable();
    CHECK_INT(seen.successes + seen.failures, 0);
}

/* ---- What begins first ------------------------------------------------------------------------------- */

/* An item of a group that has one for each worker. It waits until all of the group have begun, so no worker begins a
 * second one before each has begun its first. Had all of another group begun already? (after < 0: of none.) */
static bool march(int group, int after, int members)
{
    bool right = after < 0 || atomic_load(&board()[GROUPS + after]) >= members;

    atomic_fetch_add(&board()[GROUPS + group], 1);
    return hold_until(GROUPS + group, members) && right;
}
PMAP_TASK(march, bool, int, int, int);

/* The groups in the order in which they are submitted: their priority, and the group that must begin just before. */
struct rule {
    int priority, after;
};

struct group {
    struct pmap_result **results; /* one, or one for each member; NULL for those that are none */
    struct march_args *args;
    bool *right;
};

static void submit_group(struct group *group, int number, const struct rule *rule, bool as_map)
{
    size_t members = (size_t)held.workers;

    group->results = test_array(members, sizeof *group->results);
    group->args = test_array(members, sizeof *group->args);
    group->right = test_array(members, sizeof *group->right);
    for (size_t i = 0; i < members; i++)
        group->args[i] = (struct march_args){number, rule->after, held.workers};
    if (as_map)
        group->results[0] = pmap_starmap_async(the_pool, march, group->args, group->right, members, .chunksize = 1,
                                               .priority = rule->priority);
    for (size_t i = 0; i < members && !as_map; i++)
        group->results[i] = pmap_apply_async(the_pool, march, &group->right[i], number, rule->after, held.workers,
                                             .priority = rule->priority);
}

static void finish_group(struct group *group, int number)
{
    int wrong = 0;

    for (int i = 0; i < held.workers; i++)
        if (group->results[i] != NULL)
            CHECK_STATUS(finish(group->results[i], NULL), PMAP_OK);
    for (int i = 0; i < held.workers; i++)
        wrong += !group->right[i];
    CHECK_SAYING(wrong == 0, "group %d: %d of %d items began too early, or alone", number, wrong, held.workers);
    free(group->results);
    free(group->args);
    free(group->right);
}

static void check_order(const struct rule rules[], int n, bool as_maps)
{
    struct group groups[8];

    if (!hold_workers())
        return;
    for (int i = 0; i < n; i++)
        submit_group(&groups[i], i, &rules[i], as_maps);
    release_workers();
    for (int i = 0; i < n; i++)
        finish_group(&groups[i], i);
}

/* Two of the groups have one priority: of these the first comes first. */
static const struct rule by_priority[] = {{0, 1}, {3, 3}, {-2, 4}, {7, -1}, {0, 0}};
static const struct rule by_arrival[] = {{5, -1}, {5, 0}, {5, 1}, {5, 2}};

static void calls_of_higher_priority_begin_first(void) { check_order(by_priority, 5, false); }

static void maps_of_higher_priority_begin_first(void)
{
    if (pmap_ranks(the_pool) > 1) {
        test_skip("items of the first map may be on their way to other ranks already");
        return;
    }
    check_order(by_priority, 5, true);
}

static void calls_of_one_priority_begin_in_their_order(void) { check_order(by_arrival, 4, false); }

static void maps_of_one_priority_begin_in_their_order(void) { check_order(by_arrival, 4, true); }

/* Waits until so many have passed. */
static bool plod(int passers) { return hold_until(PASSED, passers); }
PMAP_TASK(plod, bool, int);

/* A long map, whose last items, one for each worker, wait for those who pass it. Whoever must wait until all its items
 * are taken will never pass. */
static struct {
    struct pmap_result *result;
    size_t n;
    int *in;
    bool *out;
} long_map;

static bool begin_long_map(int passers)
{
    size_t workers = (size_t)pmap_threads(the_pool);

    if (!hold_workers())
        return false;
    long_map.n = 101 * workers;
    long_map.in = test_array(long_map.n, sizeof *long_map.in);
    long_map.out = test_array(long_map.n, sizeof *long_map.out);
    for (size_t i = 100 * workers; i < long_map.n; i++)
        long_map.in[i] = passers;
    long_map.result = pmap_map_async(the_pool, plod, long_map.in, long_map.out, long_map.n, .chunksize = 1);
    return CHECK(long_map.result != NULL);
}

static void end_long_map(void)
{
    size_t stuck = 0;

    release_workers();
    CHECK_STATUS(finish(long_map.result, NULL), PMAP_OK);
    for (size_t i = 0; i < long_map.n; i++)
        stuck += !long_map.out[i];
    CHECK_SAYING(stuck == 0, "%zu items of a long map waited in vain for what was submitted after it", stuck);
    free(long_map.in);
    free(long_map.out);
}

static void apply_waits_for_no_map(void)
{
    struct pmap_result *result;

    if (!begin_long_map(1))
        return;
    result = pmap_apply_async(the_pool, pass, NULL);
    end_long_map();
    CHECK_STATUS(finish(result, NULL), PMAP_OK);
}

static void overtake(int x)
{
    (void)x;
    pass();
}
PMAP_ACTION(overtake, int);

static void map_of_higher_priority_overtakes_a_long_one(void)
{
    int in[20] = {0};
    struct pmap_result *result;

    if (!begin_long_map(20))
        return;
    result = pmap_map_async(the_pool, overtake, in, NULL, 20, .chunksize = 1, .priority = 1);
    end_long_map();
    CHECK_STATUS(finish(result, NULL), PMAP_OK);
}

static const struct test tests[] = {
    TEST(apply_async_equals_a_direct_call),
    TEST(map_async_equals_the_loop),
    TEST(starmap_async_equals_the_loop),
    TEST(async_calls_take_every_kind_of_task),
    TEST(argument_values_of_apply_are_copied),
    TEST(ten_thousand_calls_are_outstanding_at_once),
    TEST(work_goes_on_without_a_call_into_the_pool),
    TEST(async_call_inside_a_task_runs_on_the_spot),
    TEST(result_of_queued_work_is_not_ready),
    TEST(get_times_out_and_can_be_repeated),
    TEST(timeouts_without_end_do_not_overflow),
    TEST(map_of_nothing_is_ready_though_all_workers_are_held),
    TEST(failed_call_reports_the_lowest_item),
    TEST(failed_apply_is_reported_by_get),
    TEST(error_of_the_call_is_not_kept),
    TEST(several_threads_wait_for_one_result),
    TEST(several_threads_submit_at_once),
    TEST(freed_result_lets_its_work_go_on),
    TEST(queued_call_is_cancelled_at_once),
    TEST(cancel_asks_running_items_to_stop),
    TEST(cancel_after_the_end_changes_nothing),
    TEST(cancelled_call_reports_an_item_that_had_failed),
    TEST(cancelled_call_reports_an_item_that_waits_to_be_run_again),
    TEST(calls_can_be_cancelled_and_freed_while_they_are_queued),
    TEST(callback_comes_once_with_out_and_n),
    TEST(error_callback_comes_once_with_the_error),
    TEST(callback_of_nothing_comes_too),
    TEST(either_callback_may_be_missing),
    TEST(cancelled_call_has_its_error_callback),
    TEST(each_of_many_calls_has_one_callback),
    TEST(callbacks_come_one_at_a_time),
    TEST(callback_waits_for_no_call_made_earlier),
    TEST(callbacks_of_one_worker_come_in_the_order_of_its_work),
    TEST(callback_may_submit),
    TEST(callback_comes_before_its_result_is_ready),
    TEST(waiting_in_a_callback_is_a_reported_deadlock),
    TEST(failure_in_a_callback_harms_nothing),
    TEST(callback_may_cancel_another_call),
    TEST(wait_for_any_ends_at_one_that_is_ready),
    TEST(wait_for_all_ends_when_all_are_ready),
    TEST(wait_for_the_first_error_ends_there_or_when_all_are_ready),
    TEST(wait_for_none_ends_at_once),
    TEST(wait_wakes_up_when_its_time_has_come),
    TEST(each_result_is_delivered_once),
    TEST(null_results_are_refused),
    TEST(timeouts_that_are_no_numbers_are_refused),
    TEST(refused_map_returns_null_and_says_why),
    TEST(refused_starmap_and_apply_return_null_and_say_why),
    TEST(calls_of_higher_priority_begin_first),
    TEST(maps_of_higher_priority_begin_first),
    TEST(calls_of_one_priority_begin_in_their_order),
    TEST(maps_of_one_priority_begin_in_their_order),
    TEST(apply_waits_for_no_map),
    TEST(map_of_higher_priority_overtakes_a_long_one),
    {NULL, NULL},
};

int main(int argc, char *argv[]) { return test_main_with_pool(argc, argv, tests, ALL_SHAPES " t2:isolate"); }
