/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The options of a call: what becomes of the other items when one fails (.on_error, .statuses, .max_failures), running
 * it again (.retries, .retry_delay), and what is begun first (.cost, .priority).
 *
 * Ported: from Distributed.jl the product batch size x on_error x retries on 1:100, in which every worker must appear;
 * from CPython's _TestPool test_map_no_failfast; from concurrent.futures test_map_exception. The retry_check of
 * Distributed.jl, a predicate on the exception, is skipped: a task that must not be run again can tell that by itself.
 * How many tasks run before a worker is renewed is a property of the pool: test_life.
 */
#include "board.h"
#include "harness.h"

#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Cells of the board. An item of flaky counts its attempts at ITEMS + its number. */
enum { BEGUN, CULPRIT, MATES, STOPPED, LATE, TICKETS, HIGHS, GATE, PER_RANK, WORKERS, STEPS = 20, ITEMS = 100, ROUNDS = 5000, TIMES = 6000 };

enum { N = 100, ALWAYS = 1000 /* failures */, MANY = 10000 };

static const enum pmap_on_error ways[] = {PMAP_RUN_ALL, PMAP_STOP, PMAP_COLLECT};
static const ptrdiff_t chunksizes[] = {0, 1, 7, N};
enum { WAYS = sizeof ways / sizeof *ways, CHUNKSIZES = sizeof chunksizes / sizeof *chunksizes };

/* ---- Tasks ------------------------------------------------------------------------------------------- */

static int square(int x) { return x * x; }
PMAP_TASK(square, int, int);

static int value(int number) { return 3 * number + 1; }

/* Fails so often before it gives its value. */
static int flaky(int number, int failures)
{
    int attempt = 1 + atomic_fetch_add(&board()[ITEMS + number], 1);

    if (attempt <= failures)
        return pmap_fail(attempt, "attempt %d of item %d", attempt, number);
    return value(number);
}
PMAP_TASK(flaky, int, int, int);

/* Like board_await, but asks pmap_cancelled meanwhile, so that a rank of one thread handles its messages. False if the
 * item is told to stop, or after some 20 seconds. */
static bool await_or_stop(int cell, int least)
{
    time_t end = time(NULL) + 20;

    while (atomic_load(&board()[cell]) < least) {
        if (pmap_cancelled() || time(NULL) > end)
            return false;
        sched_yield();
    }
    return true;
}

/* Nobody ever opens this gate. */
static int wait_to_be_stopped(void)
{
    await_or_stop(GATE, 1);
    atomic_fetch_add(&board()[pmap_cancelled() ? STOPPED : LATE], 1);
    return pmap_fail(10, "stopped");
}

static int marks(int cell) { return atomic_load(&board()[cell]); }

/* ---- A call and what came of it ---------------------------------------------------------------------- */

static struct flaky_args args[N];
static int out[N];
static enum pmap_status statuses[N];
static struct pmap_error error;

#define UNSET ((enum pmap_status)99)

/* Nothing has run; items 3, 13, 23, … will fail so often. */
static void prepare(int failures)
{
    board_clear();
    for (int i = 0; i < N; i++) {
        args[i] = (struct flaky_args){i, i % 10 == 3 ? failures : 0};
        out[i] = -1;
        statuses[i] = UNSET;
    }
    memset(&error, 0xa5, sizeof error);
}

static bool error_untouched(void)
{
    const unsigned char *byte = (const unsigned char *)&error;
    size_t i = 0;

    while (i < sizeof error && byte[i] == 0xa5)
        i++;
    return i == sizeof error;
}

/* Every item ran as often as it should, and its status and result say how the last time went. */
static void check_all_ran(int retries)
{
    int wrong = 0;

    for (int i = 0; i < N; i++) {
        int failures = args[i]._2;
        bool failed = failures > retries;

        wrong += marks(ITEMS + i) != 1 + (failed ? retries : failures);
        wrong += statuses[i] != (failed ? PMAP_EFAILED : PMAP_OK);
        wrong += out[i] != (failed ? 0 : value(i));
    }
    CHECK_SAYING(wrong == 0, "%d retries: %d wrong", retries, wrong);
}

static void check_error(size_t item, int code)
{
    CHECK_STATUS(error.status, PMAP_EFAILED);
    CHECK_INT(error.item, item);
    CHECK_INT(error.code, code);
    CHECK(error.rank >= 0 && error.rank < pmap_ranks(the_pool));
}

static size_t count_statuses(enum pmap_status status, size_t n, const enum pmap_status s[])
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += s[i] == status;
    return count;
}

static size_t first_failed(size_t n, const enum pmap_status s[])
{
    size_t i = 0;

    while (i < n && s[i] != PMAP_EFAILED)
        i++;
    return i;
}

/* Some items failed, the others ran or did not; none is presented as what it is not. */
static void check_some_ran(int retries)
{
    int wrong = 0;

    for (int i = 0; i < N; i++) {
        bool failed = statuses[i] == PMAP_EFAILED, done = statuses[i] == PMAP_OK;

        wrong += !failed && !done && statuses[i] != PMAP_ECANCELLED;
        wrong += failed && (args[i]._2 <= retries || marks(ITEMS + i) != 1 + retries);
        wrong += done && (args[i]._2 > retries || marks(ITEMS + i) != 1 + args[i]._2);
        wrong += out[i] != (done ? value(i) : 0);
    }
    CHECK_INT(wrong, 0);
    check_error(first_failed(N, statuses), 1 + retries);
}

static void check_usable(void)
{
    int in[] = {1, 2, 3, 4, 5}, y[5] = {0};

    CHECK_STATUS(pmap_map(the_pool, square, in, y, 5, .chunksize = 1), PMAP_OK);
    for (int i = 0; i < 5; i++)
        CHECK_INT(y[i], in[i] * in[i]);
}

static enum pmap_status run(enum pmap_on_error way, ptrdiff_t chunksize, int retries)
{
    return pmap_starmap(the_pool, flaky, args, out, N, .chunksize = chunksize, .on_error = way, .statuses = statuses,
                        .retries = retries, .error = &error);
}

/* ---- What becomes of the others ---------------------------------------------------------------------- */

static void run_all_runs_every_item_and_reports_the_lowest(void)
{
    for (size_t c = 0; c < CHUNKSIZES; c++) {
        prepare(ALWAYS);
        CHECK_STATUS(run(PMAP_RUN_ALL, chunksizes[c], 0), PMAP_EFAILED);
        check_error(3, 1);
        check_all_ran(0);
        check_usable();
    }
}

static void collect_runs_every_item_and_succeeds(void)
{
    for (size_t c = 0; c < CHUNKSIZES; c++) {
        prepare(ALWAYS);
        CHECK_STATUS(run(PMAP_COLLECT, chunksizes[c], 0), PMAP_OK);
        CHECK(error_untouched());
        check_all_ran(0);
        check_usable();
    }
}

static void collect_succeeds_when_all_items_fail(void)
{
    prepare(ALWAYS);
    for (int i = 0; i < N; i++)
        args[i]._2 = ALWAYS;
    CHECK_STATUS(run(PMAP_COLLECT, 0, 0), PMAP_OK);
    check_all_ran(0);
}

static void stop_reports_the_lowest_that_failed(void)
{
    for (size_t c = 0; c < CHUNKSIZES; c++)
        for (int again = 0; again < 5; again++) {
            prepare(ALWAYS);
            CHECK_STATUS(run(PMAP_STOP, chunksizes[c], 0), PMAP_EFAILED);
            check_some_ran(0);
            check_usable();
        }
}

static void stop_reports_the_lowest_when_all_items_fail(void)
{
    for (size_t c = 0; c < CHUNKSIZES; c++) {
        prepare(ALWAYS);
        for (int i = 0; i < N; i++)
            args[i]._2 = ALWAYS;
        CHECK_STATUS(run(PMAP_STOP, chunksizes[c], 0), PMAP_EFAILED);
        check_some_ran(0);
    }
}

/* One chunk, run in order: nothing behind item 3 is begun. */
static void stop_begins_no_more_of_the_chunk_that_failed(void)
{
    int wrong = 0;

    prepare(ALWAYS);
    CHECK_STATUS(run(PMAP_STOP, N, 0), PMAP_EFAILED);
    check_error(3, 1);
    for (int i = 0; i < N; i++) {
        wrong += marks(ITEMS + i) != (i <= 3);
        wrong += statuses[i] != (i < 3 ? PMAP_OK : i == 3 ? PMAP_EFAILED : PMAP_ECANCELLED);
    }
    CHECK_INT(wrong, 0);
}

static void statuses_tell_of_success_too(void)
{
    for (size_t w = 0; w < WAYS; w++)
        for (size_t c = 0; c < CHUNKSIZES; c++) {
            prepare(0);
            CHECK_STATUS(run(ways[w], chunksizes[c], 0), PMAP_OK);
            CHECK(error_untouched());
            check_all_ran(0);
        }
}

static void statuses_are_not_needed_but_by_collect(void)
{
    prepare(ALWAYS);
    CHECK_STATUS(pmap_starmap(the_pool, flaky, args, out, N, .on_error = PMAP_STOP, .error = &error), PMAP_EFAILED);
    CHECK_INT(error.item % 10, 3);
    CHECK_INT(statuses[0], UNSET);
}

static void nothing_to_map_succeeds_with_all_options(void)
{
    double cost = 1;

    prepare(0);
    for (size_t w = 0; w < WAYS; w++)
        CHECK_STATUS(pmap_starmap(the_pool, flaky, NULL, NULL, 0, .on_error = ways[w], .statuses = statuses,
                                  .retries = 3, .retry_delay = 10, .max_failures = 1, .cost = &cost, .priority = -1),
                     PMAP_OK);
    CHECK_INT(statuses[0], UNSET);
}

/* A failure in a block is a failure of all its items. */
static void limp(size_t n, const struct flaky_args in[], int results[])
{
    for (size_t i = 0; i < n; i++)
        results[i] = flaky(in[i]._1, in[i]._2);
}
PMAP_BLOCK_TASK(limp, int, struct flaky_args);

static void statuses_of_a_failed_block(void)
{
    int wrong = 0;

    prepare(0);
    args[44]._2 = ALWAYS;
    CHECK_STATUS(pmap_map(the_pool, limp, args, out, N, .chunksize = 20, .on_error = PMAP_COLLECT,
                          .statuses = statuses), PMAP_OK);
    for (int i = 0; i < N; i++) {
        wrong += statuses[i] != (i / 20 == 2 ? PMAP_EFAILED : PMAP_OK);
        wrong += out[i] != (i / 20 == 2 ? 0 : value(i));
    }
    CHECK_INT(wrong, 0);
}

/* ---- The product of batch size, on_error and retries ------------------------------------------------- */

/* Everybody's first item of a round waits until all workers have come: no item ends, or fails, before. */
static bool meet(int round, int workers)
{
    static _Thread_local int last_round = -1;

    if (last_round == round)
        return true;
    last_round = round;
    atomic_fetch_add(&board()[ROUNDS + round], 1);
    return await_or_stop(ROUNDS + round, workers);
}

static int attend(int round, int workers, int number, int failures)
{
    if (!meet(round, workers))
        atomic_fetch_add(&board()[LATE], 1);
    return flaky(number, failures);
}
PMAP_TASK(attend, int, int, int, int, int);

static void check_combination(int round, ptrdiff_t chunksize, enum pmap_on_error way, int retries)
{
    int workers = pmap_threads(the_pool);
    struct attend_args a[N];
    enum pmap_status status, expected;

    prepare(1);
    for (int i = 0; i < N; i++)
        a[i] = (struct attend_args){round, workers, i, args[i]._2};
    expected = retries > 0 || way == PMAP_COLLECT ? PMAP_OK : PMAP_EFAILED;
    status = pmap_starmap(the_pool, attend, a, out, N, .chunksize = chunksize, .on_error = way, .statuses = statuses,
                          .retries = retries, .error = &error);
    CHECK_SAYING(status == expected, "chunksize %td, on_error %d, retries %d: %s", chunksize, (int)way, retries,
                 pmap_status_name(status));
    CHECK_INT(marks(ROUNDS + round), workers);
    CHECK_INT(marks(LATE), 0);
    if (way == PMAP_STOP && status != PMAP_OK)
        check_some_ran(retries);
    else
        check_all_ran(retries);
}

static void every_worker_appears_in_every_combination(void)
{
    int round = 0;

    for (ptrdiff_t chunksize = 0; chunksize < 3; chunksize++)
        for (size_t w = 0; w < WAYS; w++)
            for (int retries = 0; retries < 3; retries++)
                check_combination(round++, chunksize, ways[w], retries);
}

/* ---- Running failed items again ---------------------------------------------------------------------- */

static void item_that_fails_less_often_than_retries_succeeds(void)
{
    for (size_t c = 0; c < CHUNKSIZES; c++)
        for (size_t w = 0; w < WAYS; w++)
            for (int failures = 1; failures < 4; failures++) {
                prepare(failures);
                CHECK_STATUS(run(ways[w], chunksizes[c], failures + (int)c % 2), PMAP_OK);
                CHECK(error_untouched());
                check_all_ran(failures);
            }
}

static void item_that_goes_on_failing_is_reported_as_it_failed_last(void)
{
    for (size_t c = 0; c < CHUNKSIZES; c++)
        for (int retries = 1; retries < 4; retries++) {
            prepare(ALWAYS);
            CHECK_STATUS(run(PMAP_RUN_ALL, chunksizes[c], retries), PMAP_EFAILED);
            check_error(3, 1 + retries);
            CHECK(strstr(error.text, "of item 3") != NULL);
            check_all_ran(retries);
            prepare(ALWAYS);
            CHECK_STATUS(run(PMAP_COLLECT, chunksizes[c], retries), PMAP_OK);
            check_all_ran(retries);
            check_usable();
        }
}

static void stop_comes_after_the_last_retry(void)
{
    for (size_t c = 0; c < CHUNKSIZES; c++) {
        prepare(0);
        args[77]._2 = ALWAYS;
        CHECK_STATUS(run(PMAP_STOP, chunksizes[c], 2), PMAP_EFAILED);
        check_error(77, 3);
        CHECK_INT(statuses[77], PMAP_EFAILED);
        CHECK_INT(marks(ITEMS + 77), 3);
        CHECK_INT(count_statuses(PMAP_EFAILED, N, statuses), 1);
        check_usable();
    }
}

static void every_item_may_need_a_retry(void)
{
    for (size_t c = 0; c < CHUNKSIZES; c++) {
        prepare(0);
        for (int i = 0; i < N; i++)
            args[i]._2 = i % 4;
        CHECK_STATUS(run(PMAP_RUN_ALL, chunksizes[c], 3), PMAP_OK);
        check_all_ran(3);
    }
}

/* All bad items of a block fail at its first run, so that one more is enough however it is cut. */
static void failed_block_is_run_again(void)
{
    int wrong = 0;

    for (size_t c = 0; c < CHUNKSIZES; c++) {
        prepare(1);
        CHECK_STATUS(pmap_map(the_pool, limp, args, out, N, .chunksize = chunksizes[c], .retries = 1,
                              .statuses = statuses), PMAP_OK);
        for (int i = 0; i < N; i++) {
            wrong += out[i] != value(i) || statuses[i] != PMAP_OK;
            wrong += marks(ITEMS + i) < 1 + (i % 10 == 3) || marks(ITEMS + i) > 2;
        }
    }
    CHECK_INT(wrong, 0);
}

static void stumble(int number, int failures) { flaky(number, failures); }
PMAP_ACTION(stumble, int, int);

static void failed_action_is_run_again(void)
{
    struct stumble_args a[N];
    int wrong = 0;

    prepare(2);
    for (int i = 0; i < N; i++)
        a[i] = (struct stumble_args){i, args[i]._2};
    CHECK_STATUS(pmap_starmap(the_pool, stumble, a, NULL, N, .retries = 2), PMAP_OK);
    for (int i = 0; i < N; i++)
        wrong += marks(ITEMS + i) != 1 + args[i]._2;
    CHECK_INT(wrong, 0);
}

static void failed_apply_is_run_again(void)
{
    int y = -1;

    prepare(0);
    CHECK_STATUS(pmap_apply(the_pool, flaky, &y, 5, 2, .retries = 2, .error = &error), PMAP_OK);
    CHECK(error_untouched());
    CHECK_INT(y, value(5));
    CHECK_INT(marks(ITEMS + 5), 3);
    CHECK_STATUS(pmap_apply(the_pool, flaky, &y, 6, ALWAYS, .retries = 3, .error = &error), PMAP_EFAILED);
    check_error(0, 4);
    CHECK_INT(y, 0);
    CHECK_INT(marks(ITEMS + 6), 4);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Each attempt notes when it began, and when it failed, in microseconds since start; all processes have this clock. */
static int timed(int number, int failures, double start)
{
    int attempt = atomic_fetch_add(&board()[ITEMS + number], 1);
    atomic_int *at = &board()[TIMES + 20 * number + 2 * (attempt % 10)];

    atomic_store(&at[0], (int)(1e6 * (now() - start)));
    if (attempt >= failures)
        return value(number);
    atomic_store(&at[1], (int)(1e6 * (now() - start)));
    return pmap_fail(attempt, "not yet");
}
PMAP_TASK(timed, int, int, int, double);

/* The first time is cut to a microsecond, too: so one less. */
static void check_delays(int number, int failures, double delay)
{
    atomic_int *at = &board()[TIMES + 20 * number];

    CHECK_INT(marks(ITEMS + number), failures + 1);
    for (int k = 0; k < failures; k++) {
        int pause = atomic_load(&at[2 * k + 2]) - atomic_load(&at[2 * k + 1]);

        CHECK_SAYING(pause >= (int)(1e6 * delay) - 1, "%d us after failure %d", pause, k + 1);
    }
}

static void retry_delay_passes_before_each_new_run(void)
{
    struct timed_args a[20];
    int y[20], wrong = 0;

    board_clear();
    for (int i = 0; i < 20; i++)
        a[i] = (struct timed_args){i, i % 7 == 2 ? 3 : 0, now()};
    CHECK_STATUS(pmap_starmap(the_pool, timed, a, y, 20, .retries = 3, .retry_delay = 0.03), PMAP_OK);
    for (int i = 0; i < 20; i++) {
        wrong += y[i] != value(i);
        check_delays(i, a[i]._2, 0.03);
    }
    CHECK_INT(wrong, 0);
    CHECK_STATUS(pmap_apply(the_pool, timed, y, 30, 2, now(), .retries = 5, .retry_delay = 0.02), PMAP_OK);
    check_delays(30, 2, 0.02);
}

static void retry_delay_of_a_stream(void)
{
    struct timed_args a[9];
    int wrong = 0, y = -1;

    board_clear();
    for (int i = 0; i < 9; i++)
        a[i] = (struct timed_args){i, i % 4 == 1 ? 2 : 0, now()};
    struct pmap_iter *it = pmap_imap(the_pool, timed, PMAP_ARRAY(a, 9), .retries = 2, .retry_delay = 0.02);
    for (int i = 0; i < 9; i++) {
        wrong += pmap_iter_next(it, &y, PMAP_FOREVER) != PMAP_OK || y != value(i);
        check_delays(i, a[i]._2, 0.02);
    }
    CHECK_INT(wrong, 0);
    pmap_iter_free(it);
}

/* ---- PMAP_STOP stops soon ---------------------------------------------------------------------------- */

/* The item that comes first fails once all workers are at work; the items of its chunk pass; the others wait to be told
 * to stop, and fail then. */
static int blow_the_whistle(int workers, int chunksize)
{
    int item = (int)pmap_item(), culprit;

    if (atomic_fetch_add(&board()[BEGUN], 1) == 0) {
        atomic_store(&board()[CULPRIT], 1 + item);
        if (!await_or_stop(BEGUN, workers))
            atomic_fetch_add(&board()[LATE], 1);
        return pmap_fail(9, "stop");
    }
    await_or_stop(CULPRIT, 1);
    culprit = marks(CULPRIT) - 1;
    if (chunksize == 0 || item / chunksize != culprit / chunksize)
        return wait_to_be_stopped();
    atomic_fetch_add(&board()[MATES], 1);
    return 7;
}
PMAP_TASK(blow_the_whistle, int, int, int);

/* A worker is in one item that waits at most, and one worker in the item that fails, so that no more than workers + 1
 * chunks are begun. */
static void check_stops_soon(ptrdiff_t chunksize, bool async)
{
    int workers = pmap_threads(the_pool);
    struct blow_the_whistle_args *a = test_array(MANY, sizeof *a);
    int *y = test_array(MANY, sizeof *y), wrong = 0;
    enum pmap_status *s = test_array(MANY, sizeof *s), status;

    board_clear();
    for (int i = 0; i < MANY; i++) {
        a[i] = (struct blow_the_whistle_args){workers, (int)chunksize};
        s[i] = UNSET;
        y[i] = -1;
    }
    if (async) {
        struct pmap_result *r = pmap_starmap_async(the_pool, blow_the_whistle, a, y, MANY, .chunksize = chunksize,
                                                   .on_error = PMAP_STOP, .statuses = s);
        status = pmap_result_get(r, PMAP_FOREVER, &error);
        pmap_result_free(r);
    } else {
        status = pmap_starmap(the_pool, blow_the_whistle, a, y, MANY, .chunksize = chunksize, .on_error = PMAP_STOP,
                              .statuses = s, .error = &error);
    }
    CHECK_STATUS(status, PMAP_EFAILED);
    check_error((size_t)marks(CULPRIT) - 1, 9);
    CHECK_SAYING(marks(BEGUN) <= (chunksize == 0 ? MANY / 2 : (workers + 1) * (int)chunksize),
                 "%d workers, chunksize %td: %d begun", workers, chunksize, marks(BEGUN));
    CHECK_INT(marks(LATE), 0);
    CHECK_INT(marks(BEGUN), 1 + marks(MATES) + marks(STOPPED));
    CHECK(marks(STOPPED) >= workers - 1);
    CHECK_INT(count_statuses(PMAP_EFAILED, MANY, s), 1);
    for (int i = 0; i < MANY; i++)
        wrong += s[i] == PMAP_OK ? y[i] != 7 : y[i] != 0 || (s[i] != PMAP_EFAILED && s[i] != PMAP_ECANCELLED);
    CHECK_INT(wrong, 0);
    check_usable();
    free(a);
    free(y);
    free(s);
}

static void stop_begins_no_more_and_stops_what_runs(void)
{
    check_stops_soon(1, false);
    check_stops_soon(1, true);
    check_stops_soon(20, false);
    check_stops_soon(0, false);
}

static bool look(int x)
{
    (void)x;
    return pmap_cancelled();
}
PMAP_TASK(look, bool, int);

static void nothing_is_cancelled_where_nothing_fails(void)
{
    int in[N] = {0}, told = 0;
    bool y[N];

    for (size_t w = 0; w < WAYS; w++) {
        CHECK_STATUS(pmap_map(the_pool, look, in, y, N, .on_error = ways[w], .statuses = statuses), PMAP_OK);
        for (int i = 0; i < N; i++)
            told += y[i];
    }
    CHECK_INT(told, 0);
    CHECK(!pmap_cancelled());
}

/* ---- So many failures and no more -------------------------------------------------------------------- */

/* The first so many to come fail, the others wait to be told to stop. */
static int fail_early(int many)
{
    if (atomic_fetch_add(&board()[BEGUN], 1) < many)
        return pmap_fail(9, "one of the first %d", many);
    return wait_to_be_stopped();
}
PMAP_TASK(fail_early, int, int);

static void check_max_failures(int most, enum pmap_on_error way)
{
    int in[1000], y[1000], wrong = 0;
    enum pmap_status s[1000];

    board_clear();
    for (int i = 0; i < 1000; i++)
        in[i] = most;
    CHECK_STATUS(pmap_map(the_pool, fail_early, in, y, 1000, .chunksize = 1, .on_error = way, .statuses = s,
                          .max_failures = (size_t)most, .error = &error), PMAP_EFAILED);
    check_error(first_failed(1000, s), 9);
    CHECK(marks(BEGUN) <= most + pmap_threads(the_pool));
    CHECK_INT(marks(LATE), 0);
    CHECK_INT(count_statuses(PMAP_EFAILED, 1000, s), most);
    CHECK_INT(count_statuses(PMAP_ECANCELLED, 1000, s), 1000 - most);
    for (int i = 0; i < 1000; i++)
        wrong += y[i] != 0;
    CHECK_INT(wrong, 0);
    check_usable();
}

static void max_failures_stops_after_so_many(void)
{
    for (int most = 1; most < 12; most += 5) {
        check_max_failures(most, PMAP_RUN_ALL);
        check_max_failures(most, PMAP_COLLECT);
    }
}

static enum pmap_status run_to(size_t max_failures, enum pmap_on_error way, ptrdiff_t chunksize, int retries)
{
    return pmap_starmap(the_pool, flaky, args, out, N, .chunksize = chunksize, .on_error = way, .statuses = statuses,
                        .max_failures = max_failures, .retries = retries, .error = &error);
}

/* Ten items fail. */
static void fewer_than_max_failures_change_nothing(void)
{
    for (size_t c = 0; c < CHUNKSIZES; c++) {
        prepare(ALWAYS);
        CHECK_STATUS(run_to(11, PMAP_RUN_ALL, chunksizes[c], 0), PMAP_EFAILED);
        check_error(3, 1);
        check_all_ran(0);
        prepare(ALWAYS);
        CHECK_STATUS(run_to(11, PMAP_COLLECT, chunksizes[c], 0), PMAP_OK);
        check_all_ran(0);
    }
}

static void as_many_as_max_failures_fail_the_call_in_any_case(void)
{
    for (size_t c = 0; c < CHUNKSIZES; c++)
        for (size_t most = 4; most < 11; most += 6) {
            prepare(ALWAYS);
            CHECK_STATUS(run_to(most, PMAP_RUN_ALL, chunksizes[c], 0), PMAP_EFAILED);
            check_some_ran(0);
            prepare(ALWAYS);
            CHECK_STATUS(run_to(most, PMAP_COLLECT, chunksizes[c], 0), PMAP_EFAILED);
            check_some_ran(0);
        }
}

static void failures_that_a_retry_mends_do_not_count(void)
{
    for (size_t c = 0; c < CHUNKSIZES; c++) {
        prepare(1);
        CHECK_STATUS(run_to(1, PMAP_COLLECT, chunksizes[c], 1), PMAP_OK);
        check_all_ran(1);
    }
}

/* ---- Cost: the longest first ------------------------------------------------------------------------- */

static double cost[N];

/* All different, in an order that has nothing to do with that of the items; some are negative. 101 is a prime. */
static void prepare_costs(void)
{
    for (int i = 0; i < N; i++)
        cost[i] = 37 * (i + 1) % 101 - 20;
}

static void cost_changes_no_result(void)
{
    prepare_costs();
    for (size_t c = 0; c < CHUNKSIZES; c++) {
        prepare(ALWAYS);
        CHECK_STATUS(pmap_starmap(the_pool, flaky, args, out, N, .chunksize = chunksizes[c], .cost = cost,
                                  .statuses = statuses, .error = &error), PMAP_EFAILED);
        check_error(3, 1);
        check_all_ran(0);
        prepare(2);
        CHECK_STATUS(pmap_starmap(the_pool, flaky, args, out, N, .chunksize = chunksizes[c], .cost = cost,
                                  .statuses = statuses, .retries = 2), PMAP_OK);
        check_all_ran(2);
        prepare(ALWAYS);
        CHECK_STATUS(pmap_starmap(the_pool, flaky, args, out, N, .chunksize = chunksizes[c], .cost = cost,
                                  .statuses = statuses, .on_error = PMAP_STOP, .error = &error), PMAP_EFAILED);
        check_some_ran(0);
    }
}

static void cost_of_a_block_task_changes_no_result(void)
{
    int wrong = 0;

    prepare_costs();
    for (size_t c = 0; c < CHUNKSIZES; c++) {
        prepare(0);
        CHECK_STATUS(pmap_map(the_pool, limp, args, out, N, .chunksize = chunksizes[c], .cost = cost), PMAP_OK);
        for (int i = 0; i < N; i++)
            wrong += out[i] != value(i) || marks(ITEMS + i) != 1;
    }
    CHECK_INT(wrong, 0);
}

static void equal_costs_are_fine(void)
{
    for (int i = 0; i < N; i++)
        cost[i] = i / 50;
    prepare(0);
    CHECK_STATUS(pmap_starmap(the_pool, flaky, args, out, N, .cost = cost, .statuses = statuses), PMAP_OK);
    check_all_ran(0);
    CHECK_STATUS(pmap_starmap(the_pool, flaky, args, out, 1, .cost = cost), PMAP_OK);
    CHECK_INT(out[0], value(0));
}

/* Who ran an item, and how many were begun before it. */
struct trace {
    int rank, thread, ticket;
    size_t item;
};

static struct trace sign(int workers)
{
    int ticket = atomic_fetch_add(&board()[TICKETS], 1);

    if (workers > 0)
        await_or_stop(TICKETS, workers);
    return (struct trace){pmap_rank(), pmap_thread(), ticket, pmap_item()};
}
PMAP_TASK(sign, struct trace, int);

/* Map N items with costs; by_ticket[t] becomes the item that was begun t others after the first. */
static bool trace_all(int workers, ptrdiff_t chunksize, struct trace traces[N], int by_ticket[N])
{
    int in[N], wrong = 0;

    board_clear();
    for (int i = 0; i < N; i++)
        in[i] = workers;
    memset(traces, 0xff, N * sizeof *traces);
    CHECK_STATUS(pmap_map(the_pool, sign, in, traces, N, .chunksize = chunksize, .cost = cost), PMAP_OK);
    for (int i = 0; i < N; i++) {
        wrong += traces[i].item != (size_t)i || traces[i].ticket < 0 || traces[i].ticket >= N;
        if (wrong == 0)
            by_ticket[traces[i].ticket] = i;
    }
    return CHECK_INT(wrong, 0);
}

/* Whatever the others do, each worker begins what it runs in the order of costs; one worker alone, everything. */
static void each_worker_begins_the_longest_first(void)
{
    int threads = pmap_threads(the_pool) / pmap_ranks(the_pool); /* without OpenMP there are fewer than asked for */
    double *last = test_array((size_t)pmap_threads(the_pool), sizeof *last);
    struct trace traces[N];
    int by_ticket[N], wrong = 0;

    prepare_costs();
    for (size_t c = 0; c < CHUNKSIZES; c++) {
        if (!trace_all(0, chunksizes[c], traces, by_ticket))
            break;
        for (int w = 0; w < pmap_threads(the_pool); w++)
            last[w] = (double)INFINITY;
        for (int t = 0; t < N; t++) {
            int i = by_ticket[t], worker = traces[i].rank * threads + traces[i].thread;

            wrong += cost[i] > last[worker];
            last[worker] = cost[i];
        }
        CHECK_SAYING(wrong == 0, "chunksize %td: %d items too late", chunksizes[c], wrong);
    }
    free(last);
}

/* Ranks hold chunks before they run them; threads of one process do not. No item ends before all workers are in one. */
static void all_workers_begin_with_the_longest(void)
{
    int workers = pmap_threads(the_pool), wrong = 0, by_ticket[N];
    struct trace traces[N];

    if (pmap_ranks(the_pool) > 1) {
        test_skip("ranks hold chunks before they run them");
        return;
    }
    prepare_costs();
    if (!trace_all(workers, 1, traces, by_ticket))
        return;
    for (int t = 0; t < workers; t++) {
        int longer = 0;

        for (int i = 0; i < N; i++)
            longer += cost[i] > cost[by_ticket[t]];
        wrong += longer >= workers;
    }
    CHECK_INT(wrong, 0);
}

/* ---- Priority ---------------------------------------------------------------------------------------- */

enum { HIGH_ITEMS = 1000, LOW_ITEMS = 50 };

static int hold(int x)
{
    atomic_fetch_add(&board()[BEGUN], 1);
    return await_or_stop(GATE, 1) ? x : pmap_fail(3, "the gate stays shut");
}
PMAP_TASK(hold, int, int);

static int high(int x)
{
    atomic_fetch_add(&board()[HIGHS], 1);
    return x;
}
PMAP_TASK(high, int, int);

/* How many of the others had been begun. */
static int low(int x)
{
    (void)x;
    return marks(HIGHS);
}
PMAP_TASK(low, int, int);

/* With other ranks some of the high ones may have been handed out and not begun. A thread of this process may have
 * taken one and not marked it yet. */
static int least_highs_before_a_low(void)
{
    return pmap_ranks(the_pool) > 1 ? HIGH_ITEMS / 2 : HIGH_ITEMS - (pmap_threads(the_pool) - 1);
}

/* While all workers are held, the low ones come first, then the high ones. */
static void check_priorities(int high_priority, int low_priority)
{
    int workers = pmap_threads(the_pool), in[HIGH_ITEMS] = {0}, highs[HIGH_ITEMS], lows[LOW_ITEMS], wrong = 0;
    size_t n = 20 * (size_t)workers;
    int *held = test_array(n, sizeof *held), *held_out = test_array(n, sizeof *held_out);
    struct pmap_result *r[3];

    board_clear();
    r[0] = pmap_map_async(the_pool, hold, held, held_out, n, .chunksize = 1, .priority = INT_MAX);
    CHECK(board_await(BEGUN, workers));
    r[1] = pmap_map_async(the_pool, low, in, lows, LOW_ITEMS, .chunksize = 1, .priority = low_priority);
    r[2] = pmap_map_async(the_pool, high, in, highs, HIGH_ITEMS, .chunksize = 1, .priority = high_priority);
    atomic_store(&board()[GATE], 1);
    for (int k = 0; k < 3; k++) {
        CHECK_STATUS(pmap_result_get(r[k], PMAP_FOREVER, NULL), PMAP_OK);
        pmap_result_free(r[k]);
    }
    for (int i = 0; i < LOW_ITEMS; i++)
        wrong += lows[i] < least_highs_before_a_low();
    CHECK_SAYING(wrong == 0, "priorities %d and %d: %d low ones too early", high_priority, low_priority, wrong);
    free(held);
    free(held_out);
}

static void higher_priority_goes_first(void)
{
    check_priorities(1, 0);
    check_priorities(0, -1);
    check_priorities(INT_MAX, INT_MIN);
}

static void priority_changes_no_result(void)
{
    prepare(1);
    CHECK_STATUS(pmap_starmap(the_pool, flaky, args, out, N, .priority = -5, .retries = 1, .statuses = statuses),
                 PMAP_OK);
    check_all_ran(1);
    CHECK_STATUS(pmap_apply(the_pool, square, &out[0], 6, .priority = 5), PMAP_OK);
    CHECK_INT(out[0], 36);
}

/* No worker is more than so many items ahead of another, for it might be kept from its CPU while the others run everything; until the
 * last items have come. */
enum { AHEAD = 100 };

static void keep_in_step(int last)
{
    atomic_int *steps = &board()[STEPS];
    int mine = atomic_fetch_add(&steps[pmap_rank() * marks(PER_RANK) + pmap_thread()], 1) + 1;
    time_t end = time(NULL) + 20;

    for (int w = 0; w < marks(WORKERS); w++)
        while (atomic_load(&steps[w]) + AHEAD < mine && marks(TICKETS) < last && time(NULL) < end)
            sched_yield();
}

/* The last items to come end only after the single one that was submitted behind them all. */
static int march(int last)
{
    if (!await_or_stop(GATE, 1))
        return pmap_fail(3, "the gate stays shut");
    keep_in_step(last);
    if (atomic_fetch_add(&board()[TICKETS], 1) >= last && !await_or_stop(STOPPED, 1))
        return pmap_fail(4, "the single item waits for the map");
    return 0;
}
PMAP_TASK(march, int, int);

/* As many are the last as there are workers: if the map went first, all would wait. */
static void single_item_waits_for_no_map(void)
{
    size_t n = 3000;
    int *in = test_array(n, sizeof *in), *y = test_array(n, sizeof *y), z = 0;
    struct pmap_result *map, *apply;

    board_clear();
    atomic_store(&board()[WORKERS], pmap_threads(the_pool));
    atomic_store(&board()[PER_RANK], pmap_threads(the_pool) / pmap_ranks(the_pool));
    for (size_t i = 0; i < n; i++)
        in[i] = (int)n - pmap_threads(the_pool);
    map = pmap_map_async(the_pool, march, in, y, n, .chunksize = 1);
    apply = pmap_apply_async(the_pool, square, &z, 7);
    atomic_store(&board()[GATE], 1);
    CHECK_STATUS(pmap_result_get(apply, PMAP_FOREVER, NULL), PMAP_OK);
    CHECK_INT(z, 49);
    atomic_store(&board()[STOPPED], 1);
    CHECK_STATUS(pmap_result_get(map, PMAP_FOREVER, NULL), PMAP_OK);
    pmap_result_free(map);
    pmap_result_free(apply);
    free(in);
    free(y);
}

/* ---- Async calls and calls inside a task ------------------------------------------------------------- */

static enum pmap_status get(struct pmap_result *r)
{
    enum pmap_status status;

    CHECK(r != NULL);
    status = pmap_result_get(r, PMAP_FOREVER, &error);
    pmap_result_free(r);
    return status;
}

static void options_hold_for_async_calls(void)
{
    prepare_costs();
    for (size_t c = 0; c < CHUNKSIZES; c++) {
        prepare(ALWAYS);
        CHECK_STATUS(get(pmap_starmap_async(the_pool, flaky, args, out, N, .chunksize = chunksizes[c], .cost = cost,
                                            .retries = 2, .statuses = statuses)), PMAP_EFAILED);
        check_error(3, 3);
        check_all_ran(2);
        prepare(ALWAYS);
        CHECK_STATUS(get(pmap_starmap_async(the_pool, flaky, args, out, N, .chunksize = chunksizes[c], .retries = 1,
                                            .on_error = PMAP_COLLECT, .statuses = statuses)), PMAP_OK);
        CHECK(error_untouched());
        check_all_ran(1);
        prepare(ALWAYS);
        CHECK_STATUS(get(pmap_starmap_async(the_pool, flaky, args, out, N, .chunksize = chunksizes[c],
                                            .max_failures = 4, .statuses = statuses)), PMAP_EFAILED);
        check_some_ran(0);
        prepare(1);
        CHECK_STATUS(get(pmap_map_async(the_pool, limp, args, out, N, .chunksize = chunksizes[c], .retries = 1,
                                        .retry_delay = 0.001, .priority = 3, .statuses = statuses)), PMAP_OK);
        CHECK_INT(count_statuses(PMAP_OK, N, statuses), N);
    }
}

static void options_hold_for_apply_async(void)
{
    int y = -1;

    prepare(0);
    CHECK_STATUS(get(pmap_apply_async(the_pool, flaky, &y, 5, 2, .retries = 2, .retry_delay = 0.001)), PMAP_OK);
    CHECK_INT(y, value(5));
    CHECK_INT(marks(ITEMS + 5), 3);
    CHECK_STATUS(get(pmap_apply_async(the_pool, flaky, &y, 6, ALWAYS, .retries = 3, .priority = 1)), PMAP_EFAILED);
    check_error(0, 4);
    CHECK_INT(y, 0);
}

/* Six items, of which number 2 fails for ever and number 4 once. */
struct verdict {
    enum pmap_status call, statuses[6];
    size_t item;
    int out[6];
};

static struct verdict judge(int first, enum pmap_on_error way, int retries, bool by_cost)
{
    struct verdict v = {.call = UNSET};
    struct flaky_args a[6];
    struct pmap_error e = {.item = PMAP_NO_ITEM};
    double costs[6];

    for (int i = 0; i < 6; i++) {
        a[i] = (struct flaky_args){first + i, i == 2 ? ALWAYS : i == 4};
        costs[i] = i;
        v.statuses[i] = UNSET;
    }
    v.call = pmap_starmap(NULL, flaky, a, v.out, 6, .chunksize = 1, .on_error = way, .statuses = v.statuses,
                          .retries = retries, .cost = by_cost ? costs : NULL, .error = &e);
    v.item = e.item;
    return v;
}
PMAP_TASK(judge, struct verdict, int, enum pmap_on_error, int, bool);

/* statuses in short: o for PMAP_OK, f for PMAP_EFAILED, c for PMAP_ECANCELLED. */
static void check_verdict(const struct verdict *v, int first, enum pmap_status call, const char *expected)
{
    char got[7] = "......";

    CHECK_STATUS(v->call, call);
    CHECK(v->item == (call == PMAP_OK ? PMAP_NO_ITEM : (size_t)(strchr(expected, 'f') - expected)));
    for (int i = 0; i < 6; i++) {
        enum pmap_status s = v->statuses[i];

        got[i] = s == PMAP_OK ? 'o' : s == PMAP_EFAILED ? 'f' : s == PMAP_ECANCELLED ? 'c' : '?';
        CHECK_INT(v->out[i], expected[i] == 'o' ? value(first + i) : 0);
    }
    CHECK_TEXT(got, expected);
}

static void options_hold_for_a_map_inside_a_task(void)
{
    static const struct {
        struct judge_args args;
        enum pmap_status call;
        const char *statuses;
    } cases[] = {
        {{0, PMAP_RUN_ALL, 0, false}, PMAP_EFAILED, "oofofo"},
        {{10, PMAP_RUN_ALL, 1, false}, PMAP_EFAILED, "oofooo"},
        {{20, PMAP_COLLECT, 0, true}, PMAP_OK, "oofofo"},
        {{30, PMAP_COLLECT, 3, true}, PMAP_OK, "oofooo"},
        {{40, PMAP_STOP, 0, false}, PMAP_EFAILED, "oofccc"},
        {{50, PMAP_STOP, 0, true}, PMAP_EFAILED, "ccccfo"}, /* the last item first */
    };
    enum { CASES = sizeof cases / sizeof *cases };
    struct judge_args a[CASES];
    struct verdict v[CASES];

    board_clear();
    for (int i = 0; i < CASES; i++)
        a[i] = cases[i].args;
    CHECK_STATUS(pmap_starmap(the_pool, judge, a, v, CASES, .chunksize = 2), PMAP_OK);
    for (int i = 0; i < CASES; i++)
        check_verdict(&v[i], a[i]._1, cases[i].call, cases[i].statuses);
    CHECK_INT(marks(ITEMS + 32), 4);
    CHECK_INT(marks(ITEMS + 34), 2);
}

/* ---- Options that make no sense ---------------------------------------------------------------------- */

/* The text names the option; nothing ran, and nothing was written. */
static void check_refused_for(const char *name, enum pmap_status status)
{
    CHECK_STATUS(status, PMAP_EINVAL);
    CHECK_STATUS(error.status, PMAP_EINVAL);
    CHECK(error.item == PMAP_NO_ITEM);
    CHECK_NAMES(error.text, name);
    CHECK_INT(marks(ITEMS), 0);
    CHECK_INT(out[0], -1);
    CHECK_INT(statuses[0], UNSET);
    check_usable();
    memset(&error, 0xa5, sizeof error);
}

/* The same for an async call. */
static void check_null_for(const char *name, struct pmap_result *r)
{
    CHECK(r == NULL);
    pmap_result_free(r);
    check_refused_for(name, PMAP_EINVAL);
}

static void negative_retries_are_refused(void)
{
    prepare(0);
    check_refused_for("retries", pmap_starmap(the_pool, flaky, args, out, N, .retries = -1, .error = &error));
    check_refused_for("-7", pmap_map(the_pool, limp, args, out, N, .retries = -7, .statuses = statuses,
                                     .error = &error));
    check_refused_for("retries", pmap_apply(the_pool, flaky, out, 0, 0, .retries = INT_MIN, .error = &error));
    check_null_for("retries", pmap_starmap_async(the_pool, flaky, args, out, N, .retries = -1, .error = &error));
    check_null_for("retries", pmap_apply_async(the_pool, flaky, out, 0, 0, .retries = -1, .error = &error));
}

static void retry_delay_must_be_a_number_and_not_negative(void)
{
    static const double bad[] = {-0.5, -(double)INFINITY, (double)NAN};

    prepare(0);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        check_refused_for("retry_delay", pmap_starmap(the_pool, flaky, args, out, N, .retries = 1,
                                                      .retry_delay = bad[k], .error = &error));
        check_refused_for("retry_delay", pmap_apply(the_pool, flaky, out, 0, 0, .retries = 1, .retry_delay = bad[k],
                                                    .error = &error));
        check_null_for("retry_delay", pmap_map_async(the_pool, limp, args, out, N, .retry_delay = bad[k],
                                                     .error = &error));
    }
}

static void collect_needs_statuses(void)
{
    prepare(0);
    check_refused_for("statuses", pmap_starmap(the_pool, flaky, args, out, N, .on_error = PMAP_COLLECT,
                                               .error = &error));
    check_null_for("statuses", pmap_starmap_async(the_pool, flaky, args, out, N, .on_error = PMAP_COLLECT,
                                                  .error = &error));
}

static void unknown_on_error_is_refused(void)
{
    prepare(0);
    check_refused_for("on_error", pmap_starmap(the_pool, flaky, args, out, N, .on_error = (enum pmap_on_error)7,
                                               .statuses = statuses, .error = &error));
    check_null_for("on_error", pmap_starmap_async(the_pool, flaky, args, out, N, .on_error = (enum pmap_on_error)7,
                                                  .statuses = statuses, .error = &error));
}

static void cost_must_be_a_number(void)
{
    static const int places[] = {0, 50, N - 1};

    prepare(0);
    for (size_t k = 0; k < sizeof places / sizeof *places; k++) {
        prepare_costs();
        cost[places[k]] = (double)NAN;
        check_refused_for("cost", pmap_starmap(the_pool, flaky, args, out, N, .cost = cost, .statuses = statuses,
                                               .error = &error));
        check_null_for("cost", pmap_starmap_async(the_pool, flaky, args, out, N, .cost = cost, .error = &error));
    }
}

static void never_called(void *user, void *results, size_t n)
{
    (void)results;
    *(int *)user += 1 + (int)n;
}

static void never_called_either(void *user, const struct pmap_error *e)
{
    (void)e;
    ++*(int *)user;
}

static void callback_of_a_call_that_waits_is_refused(void)
{
    int calls = 0;

    prepare(0);
    check_refused_for("callback", pmap_starmap(the_pool, flaky, args, out, N, .callback = never_called,
                                               .user = &calls, .error = &error));
    check_refused_for("error_callback", pmap_map(the_pool, limp, args, out, N, .user = &calls,
                                                 .error_callback = never_called_either, .error = &error));
    check_refused_for("callback", pmap_apply(the_pool, flaky, out, 0, 0, .callback = never_called, .user = &calls,
                                             .error = &error));
    check_refused_for("error_callback", pmap_apply(the_pool, flaky, out, 0, 0, .user = &calls,
                                                   .error_callback = never_called_either, .error = &error));
    CHECK_INT(calls, 0);
}

static const struct test tests[] = {
    TEST(run_all_runs_every_item_and_reports_the_lowest),
    TEST(collect_runs_every_item_and_succeeds),
    TEST(collect_succeeds_when_all_items_fail),
    TEST(stop_reports_the_lowest_that_failed),
    TEST(stop_reports_the_lowest_when_all_items_fail),
    TEST(stop_begins_no_more_of_the_chunk_that_failed),
    TEST(statuses_tell_of_success_too),
    TEST(statuses_are_not_needed_but_by_collect),
    TEST(nothing_to_map_succeeds_with_all_options),
    TEST(statuses_of_a_failed_block),
    TEST(every_worker_appears_in_every_combination),
    TEST(item_that_fails_less_often_than_retries_succeeds),
    TEST(item_that_goes_on_failing_is_reported_as_it_failed_last),
    TEST(stop_comes_after_the_last_retry),
    TEST(every_item_may_need_a_retry),
    TEST(failed_block_is_run_again),
    TEST(failed_action_is_run_again),
    TEST(failed_apply_is_run_again),
    TEST(retry_delay_passes_before_each_new_run),
    TEST(retry_delay_of_a_stream),
    TEST(stop_begins_no_more_and_stops_what_runs),
    TEST(nothing_is_cancelled_where_nothing_fails),
    TEST(max_failures_stops_after_so_many),
    TEST(fewer_than_max_failures_change_nothing),
    TEST(as_many_as_max_failures_fail_the_call_in_any_case),
    TEST(failures_that_a_retry_mends_do_not_count),
    TEST(cost_changes_no_result),
    TEST(cost_of_a_block_task_changes_no_result),
    TEST(equal_costs_are_fine),
    TEST(each_worker_begins_the_longest_first),
    TEST(all_workers_begin_with_the_longest),
    TEST(higher_priority_goes_first),
    TEST(priority_changes_no_result),
    TEST(single_item_waits_for_no_map),
    TEST(options_hold_for_async_calls),
    TEST(options_hold_for_apply_async),
    TEST(options_hold_for_a_map_inside_a_task),
    TEST(negative_retries_are_refused),
    TEST(retry_delay_must_be_a_number_and_not_negative),
    TEST(collect_needs_statuses),
    TEST(unknown_on_error_is_refused),
    TEST(cost_must_be_a_number),
    TEST(callback_of_a_call_that_waits_is_refused),
    {NULL, NULL},
};

int main(int argc, char *argv[]) { return test_main_with_pool(argc, argv, tests, ALL_SHAPES " t2:isolate"); }
