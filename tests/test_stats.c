/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap_stats and pmap_rank_stats: what is counted, for each kind of call, in every shape.
 *
 * The tests share a pool, so each looks at what has changed.
 */
#include "board.h"
#include "harness.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define N 1000

enum { TRIED, BEGUN, GO };

static int in[N], out[N];
static bool isolated; /* in this shape */

/* ---- Tasks ------------------------------------------------------------------------------------------- */

static int square(int x) { return x * x; }
PMAP_TASK(square, int, int);

static int fails_on_odd(int x) { return x % 2 ? pmap_fail(1, "odd") : x; }
PMAP_TASK(fails_on_odd, int, int);

/* Fails the first time that anybody tries it. */
static int fails_once(int x)
{
    if (x == 7 && atomic_fetch_add(&board()[TRIED], 1) == 0)
        return pmap_fail(1, "not yet");
    return x;
}
PMAP_TASK(fails_once, int, int);

static int add(int a, int b) { return a + b; }
PMAP_OP(add, int);

static int nests(int x)
{
    int some[50] = {x}, sums[50];

    pmap_map(NULL, square, some, sums, 50);
    return sums[0];
}
PMAP_TASK(nests, int, int);

static int waits(int x)
{
    atomic_fetch_add(&board()[BEGUN], 1);
    board_await(GO, 1);
    return x;
}
PMAP_TASK(waits, int, int);

static int takes_3_ms(int x)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    for (struct timespec now = t; (now.tv_sec - t.tv_sec) * 1000000000 + now.tv_nsec - t.tv_nsec < 3000000;)
        clock_gettime(CLOCK_MONOTONIC, &now);
    return x;
}
PMAP_TASK(takes_3_ms, int, int);

static bool three(void *state, void *item)
{
    *(int *)item = 2;
    return ++*(int *)state <= 3;
}

/* ---- What is looked at ------------------------------------------------------------------------------- */

static struct pmap_stats stats(void)
{
    struct pmap_stats s;

    CHECK_STATUS(pmap_stats(the_pool, &s), PMAP_OK);
    return s;
}

/* Items that the ranks say they have run. */
static uint64_t run_by_ranks(void)
{
    struct pmap_rank_stats r;
    uint64_t sum = 0;

    for (int rank = 0; rank < test_ranks(); rank++)
        if (CHECK_STATUS(pmap_rank_stats(the_pool, rank, &r), PMAP_OK))
            sum += r.items;
    return sum;
}

static void fill(void)
{
    for (int i = 0; i < N; i++)
        in[i] = i;
}

static void a_map_is_counted(void)
{
    struct pmap_stats before = stats();
    uint64_t run = run_by_ranks();

    fill();
    CHECK_STATUS(pmap_map(the_pool, square, in, out, N), PMAP_OK);
    struct pmap_stats after = stats();
    CHECK_INT(after.calls - before.calls, 1);
    CHECK_INT(after.calls_over - before.calls_over, 1);
    CHECK_INT(after.items - before.items, N);
    CHECK_INT(after.items_done - before.items_done, N);
    CHECK_INT(after.items_failed - before.items_failed, 0);
    CHECK_INT(run_by_ranks() - run, N);
    CHECK(after.seconds > before.seconds);
    CHECK(after.bytes_sent >= before.bytes_sent && after.bytes_received >= before.bytes_received);
}

static void applies_are_counted(void)
{
    struct pmap_stats before = stats();
    uint64_t run = run_by_ranks();
    int y;

    int n = (int)test_size(100, 20);
    for (int i = 0; i < n; i++)
        CHECK_STATUS(pmap_apply(the_pool, square, &y, i), PMAP_OK);
    struct pmap_stats after = stats();
    CHECK_INT(after.calls_over - before.calls_over, n);
    CHECK_INT(after.items_done - before.items_done, n);
    CHECK_INT(run_by_ranks() - run, n);
}

static void failures_are_counted(void)
{
    struct pmap_stats before = stats();
    struct pmap_error error;

    fill();
    CHECK_STATUS(pmap_map(the_pool, fails_on_odd, in, out, N, .error = &error), PMAP_EFAILED);
    struct pmap_stats after = stats();
    CHECK_INT(after.items_done - before.items_done, N);
    CHECK_INT(after.items_failed - before.items_failed, N / 2);
    CHECK_INT(after.items_cancelled - before.items_cancelled, 0);
    CHECK_STATUS(pmap_map(the_pool, fails_on_odd, in, out, N, .on_error = PMAP_STOP, .error = &error), PMAP_EFAILED);
    before = after;
    after = stats();
    CHECK_INT(after.items_done - before.items_done, N);
    CHECK(after.items_failed > before.items_failed);
    CHECK(after.items_failed - before.items_failed + after.items_cancelled - before.items_cancelled <= N);
}

static void runs_again_are_counted(void)
{
    struct pmap_stats before = stats();

    board_clear();
    fill();
    CHECK_STATUS(pmap_map(the_pool, fails_once, in, out, N, .retries = 3), PMAP_OK);
    struct pmap_stats after = stats();
    CHECK_INT(after.items_done - before.items_done, N);
    CHECK_INT(after.items_failed - before.items_failed, 0);
    CHECK_INT(after.items_retried - before.items_retried, 1);
}

static void a_reduction_counts_its_items(void)
{
    struct pmap_stats before = stats();
    int sum;

    fill();
    CHECK_STATUS(pmap_reduce(the_pool, square, add, in, &sum, N - 1), PMAP_OK);
    struct pmap_stats after = stats();
    CHECK_INT(after.calls_over - before.calls_over, 1);
    CHECK_INT(after.items_done - before.items_done, N - 1);
}

static void a_stream_is_one_call(void)
{
    struct pmap_stats before = stats(), after;
    int y, state = 0;

    struct pmap_iter *iter = pmap_imap(the_pool, square, PMAP_GENERATOR(three, &state));
    CHECK_STATUS(pmap_iter_next(iter, &y, PMAP_FOREVER), PMAP_OK);
    after = stats();
    CHECK_INT(after.calls - before.calls, 1);
    CHECK_INT(after.calls_over - before.calls_over, 0);
    while (pmap_iter_next(iter, &y, PMAP_FOREVER) != PMAP_END)
        ;
    after = stats();
    CHECK_INT(after.calls_over - before.calls_over, 1);
    CHECK_INT(after.items - before.items, 3);
    CHECK_INT(after.items_done - before.items_done, 3);
    pmap_iter_free(iter);
    after = stats();
    CHECK_INT(after.calls_over - before.calls_over, 1);
}

static void calls_in_tasks_do_not_count(void)
{
    struct pmap_stats before = stats();

    fill();
    CHECK_STATUS(pmap_map(the_pool, nests, in, out, 20), PMAP_OK);
    struct pmap_stats after = stats();
    CHECK_INT(after.calls - before.calls, 1);
    CHECK_INT(after.items_done - before.items_done, 20);
}

/* Some item has begun, and none can end: what is busy, and what is not done, can be seen, by any thread. */
static void *look(void *seen)
{
    pmap_stats(the_pool, (struct pmap_stats *)seen);
    return NULL;
}

static void what_is_under_way_is_seen(void)
{
    struct pmap_stats before = stats(), seen;
    pthread_t thread;

    board_clear();
    fill();
    struct pmap_result *result = pmap_map_async(the_pool, waits, in, out, 50);
    CHECK(board_await(BEGUN, 1));
    if (CHECK(pthread_create(&thread, NULL, look, &seen) == 0)) {
        pthread_join(thread, NULL);
        CHECK_INT(seen.calls - before.calls, 1);
        CHECK_INT(seen.calls_over - before.calls_over, 0);
        CHECK_INT(seen.items - before.items, 50);
        CHECK_INT(seen.items_done - before.items_done, 0);
        CHECK(seen.busy >= 1 && seen.busy <= seen.threads);
    }
    atomic_store(&board()[GO], 1);
    CHECK_STATUS(pmap_result_get(result, PMAP_FOREVER, NULL), PMAP_OK);
    pmap_result_free(result);
    seen = stats();
    CHECK_INT(seen.items_done - before.items_done, 50);
}

static void look_in_callback(void *user, void *results, size_t n)
{
    (void)results;
    (void)n;
    pmap_stats(the_pool, (struct pmap_stats *)user);
}

static void a_callback_may_look(void)
{
    struct pmap_stats before = stats(), seen = {.calls = 0};

    fill();
    struct pmap_result *result = pmap_map_async(the_pool, square, in, out, N, .callback = look_in_callback, .user = &seen);
    CHECK_STATUS(pmap_result_get(result, PMAP_FOREVER, NULL), PMAP_OK);
    pmap_result_free(result);
    CHECK_INT(seen.calls - before.calls, 1);
    CHECK_INT(seen.items_done - before.items_done, N);
}

static void times_are_those_of_items(void)
{
    struct pmap_stats before = stats();

    fill();
    CHECK_STATUS(pmap_map(the_pool, takes_3_ms, in, out, 40), PMAP_OK);
    struct pmap_stats after = stats();
    CHECK(after.busy_seconds - before.busy_seconds > 40 * 0.0029);
    CHECK(after.item_max > 0.0029 && after.item_max >= after.item_95 && after.item_95 >= after.item_median && after.item_median > 0);
    CHECK(after.item_mean > 0 && after.item_mean <= after.item_max);
    CHECK(after.utilisation > 0 && after.utilisation <= 1);
}

static void ranks_are_told_apart(void)
{
    struct pmap_rank_stats r;
    struct pmap_stats s = stats();
    int threads = 0, roots = 0;

    for (int rank = 0; rank < test_ranks(); rank++) {
        CHECK_STATUS(pmap_rank_stats(the_pool, rank, &r), PMAP_OK);
        CHECK_INT(r.rank, rank);
        CHECK(r.pid > 0 && r.host[0] != '\0' && !r.dead);
        CHECK_INT(r.root, rank == 0);
        CHECK(!r.root || r.pid == (int)getpid());
        threads += r.threads;
        roots += r.root;
    }
    CHECK_INT(s.ranks, test_ranks());
    CHECK_INT(s.threads, threads);
    CHECK_INT(roots, 1);
}

/* Beside the pool of the tests there is one with a journal. */
static void what_was_in_the_journal_is_told_apart(void)
{
    char path[512];
    struct pmap_stats s;

    snprintf(path, sizeof path, "%s/stats.db", getenv("PMAP_TEST_DIR") ? getenv("PMAP_TEST_DIR") : "/tmp");
    unlink(path);
    fill();
    for (int i = 0; i < 2; i++) {
        struct pmap_pool *pool = NULL;
        if (!CHECK_STATUS(pmap_create(&pool, .journal = path, .isolate = isolated), PMAP_OK))
            return;
        CHECK_STATUS(pmap_map(pool, square, in, out, 100 + 50 * (size_t)i, .name = "squares"), PMAP_OK);
        CHECK_STATUS(pmap_stats(pool, &s), PMAP_OK);
        pmap_destroy(pool);
        CHECK_INT(s.calls, 1);
        CHECK_INT(s.items_done, 100 + 50 * i);
        CHECK_INT(s.items_recalled, i * 100);
    }
    unlink(path);
}

static void the_caller_may_know_less_or_more(void)
{
    struct {
        struct pmap_stats known;
        uint64_t more;
    } large;
    struct pmap_stats small;

    memset(&large, 7, sizeof large);
    memset(&small, 7, sizeof small);
    CHECK_STATUS(pmap_stats_with(the_pool, &large.known, sizeof large), PMAP_OK);
    CHECK(large.more == 0 && large.known.threads > 0);
    CHECK_STATUS(pmap_stats_with(the_pool, &small, offsetof(struct pmap_stats, items)), PMAP_OK);
    CHECK(small.calls == large.known.calls && small.items == UINT64_C(0x0707070707070707));
}

static void nonsense_is_refused(void)
{
    struct pmap_stats s = {.calls = 5};
    struct pmap_rank_stats r = {.rank = 5};

    setenv("PMAP_LOG", "quiet", 1);
    CHECK_STATUS(pmap_stats(NULL, &s), PMAP_EINVAL);
    CHECK_STATUS(pmap_stats_with(the_pool, NULL, sizeof s), PMAP_EINVAL);
    CHECK_STATUS(pmap_rank_stats(the_pool, -1, &r), PMAP_EINVAL);
    CHECK_STATUS(pmap_rank_stats(the_pool, test_ranks(), &r), PMAP_EINVAL);
    CHECK_STATUS(pmap_rank_stats(NULL, 0, &r), PMAP_EINVAL);
    unsetenv("PMAP_LOG");
    CHECK(s.calls == 5 && r.rank == 5);
}

static const struct test tests[] = {
    TEST(a_map_is_counted),
    TEST(applies_are_counted),
    TEST(failures_are_counted),
    TEST(runs_again_are_counted),
    TEST(a_reduction_counts_its_items),
    TEST(a_stream_is_one_call),
    TEST(calls_in_tasks_do_not_count),
    TEST(what_is_under_way_is_seen),
    TEST(a_callback_may_look),
    TEST(times_are_those_of_items),
    TEST(ranks_are_told_apart),
    TEST(what_was_in_the_journal_is_told_apart),
    TEST(the_caller_may_know_less_or_more),
    TEST(nonsense_is_refused),
    {NULL, NULL},
};

int main(int argc, char *argv[])
{
    isolated = argc > 1 && strcmp(argv[1], "isolate") == 0;
    return test_main_with_pool(argc, argv, tests, "t1 t2 r2 r5 r2t2 v3 v2t2 t2:isolate");
}
