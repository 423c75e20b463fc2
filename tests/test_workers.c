/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Who runs what: a chunk stays together on one thread, every worker gets work, nothing waits for a busy worker while another is
 * free, pmap_item is right, a map inside a task runs on the spot, several threads may submit at once.
 *
 * Ported: from concurrent.futures test_idle_process_reuse and "15 x W blocked tasks use W workers"; from
 * Distributed.jl the pmap tests over batch sizes in which every worker must appear; from mpi4py.futures "three
 * pools with 100 tasks each do not mix", here as several threads on one pool (and in test_create as pools).
 */
#include "board.h"
#include "harness.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Chunks ------------------------------------------------------------------------------------------ */

/* A worker is a thread of a process; it counts the calls it has run. */
struct call {
    int process;
    uintptr_t thread; /* address of a variable of the thread: no other live thread of the process has it */
    int number;
    size_t item;
};

static struct call sign(int x)
{
    static _Thread_local int calls;

    (void)x;
    return (struct call){getpid(), (uintptr_t)&calls, calls++, pmap_item()};
}
PMAP_TASK(sign, struct call, int);

static bool follows(const struct call *a, const struct call *b)
{
    return a->process == b->process && a->thread == b->thread && a->number + 1 == b->number;
}

static void chunk_runs_in_order_on_one_thread(void)
{
    static const size_t chunksizes[] = {1, 7, 20, 64, 999, 1000, 5000};
    enum { N = 1000 };
    int *in = test_array(N, sizeof *in);
    struct call *calls = test_array(N, sizeof *calls);

    for (size_t k = 0; k < sizeof chunksizes / sizeof *chunksizes; k++) {
        size_t c = chunksizes[k], torn = 0;

        CHECK_STATUS(pmap_map(the_pool, sign, in, calls, N, .chunksize = (ptrdiff_t)c), PMAP_OK);
        for (size_t i = 1; i < N; i++)
            torn += i % c != 0 && !follows(&calls[i - 1], &calls[i]);
        CHECK_SAYING(torn == 0, "chunksize %zu: %zu tears inside chunks", c, torn);
    }
    free(in);
    free(calls);
}

/* Each item of a block says how long the block was and where it began. */
struct span {
    size_t begin, length;
};

static void measure(size_t n, const int in[], struct span out[])
{
    (void)in;
    for (size_t i = 0; i < n; i++)
        out[i] = (struct span){pmap_item(), n};
}
PMAP_BLOCK_TASK(measure, struct span, int);

static void block_is_exactly_a_chunk(void)
{
    static const size_t chunksizes[] = {1, 7, 64, 999, 1000, 5000};
    enum { N = 1000 };
    int *in = test_array(N, sizeof *in);
    struct span *spans = test_array(N, sizeof *spans);

    for (size_t k = 0; k < sizeof chunksizes / sizeof *chunksizes; k++) {
        size_t c = chunksizes[k], wrong = 0;

        CHECK_STATUS(pmap_map(the_pool, measure, in, spans, N, .chunksize = (ptrdiff_t)c), PMAP_OK);
        for (size_t i = 0; i < N; i++) {
            size_t begin = i / c * c;

            wrong += spans[i].begin != begin || spans[i].length != (N - begin < c ? N - begin : c);
        }
        CHECK_SAYING(wrong == 0, "chunksize %zu: %zu items in another block", c, wrong);
    }
    free(in);
    free(spans);
}

/* A map inside a task keeps to its chunksize, too. */
static bool measure_inside(int n)
{
    int in[100] = {0};
    struct span spans[100];
    bool right = pmap_map(NULL, measure, in, spans, (size_t)n, .chunksize = 10) == PMAP_OK;

    for (size_t i = 0; i < (size_t)n; i++)
        right &= spans[i].begin == i / 10 * 10 && spans[i].length == ((size_t)n - spans[i].begin < 10 ? 5 : 10);
    return right;
}
PMAP_TASK(measure_inside, bool, int);

static void block_inside_a_task_is_a_chunk(void)
{
    bool right = false;

    CHECK_STATUS(pmap_apply(the_pool, measure_inside, &right, 95), PMAP_OK);
    CHECK(right);
}

/* Whatever sizes the library chooses. */
static void blocks_cover_the_items_without_overlap(void)
{
    size_t n = test_size(20000, 2000), wrong = 0;
    int *in = test_array(n, sizeof *in);
    struct span *spans = test_array(n, sizeof *spans);

    CHECK_STATUS(pmap_map(the_pool, measure, in, spans, n), PMAP_OK);
    for (size_t i = 0; i < n;) {
        struct span s = spans[i];

        if (!CHECK(s.begin == i && s.length > 0 && s.length <= n - i))
            break;
        for (size_t end = i + s.length; i < end; i++)
            wrong += spans[i].begin != s.begin || spans[i].length != s.length;
    }
    CHECK_INT(wrong, 0);
    free(in);
    free(spans);
}

static void pmap_item_is_the_index(void)
{
    enum { N = 1000 };
    int *in = test_array(N, sizeof *in);
    struct call *calls = test_array(N, sizeof *calls);
    struct span span = {99, 99};

    for (ptrdiff_t chunksize = 0; chunksize < 4; chunksize++) {
        size_t wrong = 0;

        CHECK_STATUS(pmap_map(the_pool, sign, in, calls, N, .chunksize = chunksize), PMAP_OK);
        for (size_t i = 0; i < N; i++)
            wrong += calls[i].item != i;
        CHECK_INT(wrong, 0);
    }
    CHECK_STATUS(pmap_apply(the_pool, sign, &calls[0], 0), PMAP_OK);
    CHECK_INT(calls[0].item, 0);
    CHECK_STATUS(pmap_apply(the_pool, measure, &span, 0), PMAP_OK);
    CHECK_INT(span.begin, 0);
    CHECK_INT(span.length, 1);
    CHECK(pmap_item() == PMAP_NO_ITEM);
    free(in);
    free(calls);
}

/* ---- Every worker gets work -------------------------------------------------------------------------- */

/* Everybody's first item of a round waits until all workers have come, so that nobody can run a second one before
 * each has run one. No clock is involved but the one that gives up. */
static bool meet(int round, int workers)
{
    static _Thread_local int last_round = -1;

    if (last_round == round)
        return true;
    last_round = round;
    atomic_fetch_add(&board()[round], 1);
    return board_await(round, workers);
}
PMAP_TASK(meet, bool, int, int);

static int next_round;

static bool all_meet(size_t items_per_worker, ptrdiff_t chunksize)
{
    int workers = pmap_threads(the_pool), round = next_round++;
    size_t n = items_per_worker * (size_t)workers, left_alone = 0;
    struct meet_args *args = test_array(n, sizeof *args);
    bool *met = test_array(n, sizeof *met);

    for (size_t i = 0; i < n; i++)
        args[i] = (struct meet_args){round, workers};
    CHECK_STATUS(pmap_starmap(the_pool, meet, args, met, n, .chunksize = chunksize), PMAP_OK);
    for (size_t i = 0; i < n; i++)
        left_alone += !met[i];
    free(args);
    free(met);
    return CHECK_SAYING(left_alone == 0, "chunksize %td: %d of %d workers came", chunksize,
                        atomic_load(&board()[round]), workers);
}

static void every_worker_gets_items(void)
{
    bool met = all_meet(15, 0);

    met = met && all_meet(15, 1);
    if (met)
        all_meet(15 * 10, 10);
}

static void every_worker_gets_items_again_and_again(void)
{
    bool met = true;

    for (int i = 0; i < 20 && met; i++)
        met = all_meet(15, i % 3);
}

/* ---- Behind what lasts ------------------------------------------------------------------------------- */

static int square(int x) { return x * x; }
PMAP_TASK(square, int, int);

/* Lasts until somebody opens the gate. */
static bool last(int arrivals, int gate)
{
    atomic_fetch_add(&board()[arrivals], 1);
    return board_await(gate, 1);
}
PMAP_TASK(last, bool, int, int);

enum { LONGEST = 64 };

/* Occupy so many workers, by one map or by single calls, until the gate opens; how many results there are to wait for. */
static int occupy(int n, bool singly, ptrdiff_t chunksize, int gate, bool lasted[], struct pmap_result *results[])
{
    static struct last_args args[LONGEST]; /* borrowed until the result is ready */

    for (int i = 0; i < n; i++)
        args[i] = (struct last_args){gate + 1, gate};
    for (int i = 0; i < n && singly; i++)
        results[i] = pmap_apply_async(the_pool, last, &lasted[i], gate + 1, gate);
    if (!singly)
        results[0] = pmap_starmap_async(the_pool, last, args, lasted, (size_t)n, .chunksize = chunksize);
    CHECK(board_await(gate + 1, n));
    return singly ? n : 1;
}

static void open_gate(int gate, const bool lasted[], int n, struct pmap_result *results[], int n_results)
{
    int gave_up = 0;

    atomic_store(&board()[gate], 1);
    for (int i = 0; i < n_results; i++) {
        CHECK_STATUS(pmap_result_get(results[i], -1, NULL), PMAP_OK);
        pmap_result_free(results[i]);
    }
    for (int i = 0; i < n; i++)
        gave_up += !lasted[i];
    CHECK_SAYING(gave_up == 0, "%d of %d long items saw no end", gave_up, n);
}

enum { BEHIND = 40 };

static void check_squares(const int out[])
{
    int wrong = 0;

    for (int i = 0; i < BEHIND; i++)
        wrong += out[i] != i * i;
    CHECK_INT(wrong, 0);
}

/* One worker is free: it does all, and nothing is left behind an item whose end is not in sight. */
static void one_free_worker_does_what_others_are_too_busy_for(void)
{
    int busy = pmap_threads(the_pool) - 1, in[BEHIND], out[BEHIND];
    struct pmap_result *results[LONGEST];
    bool lasted[LONGEST];

    if (busy == 0) {
        test_skip("there is one worker");
        return;
    }
    for (int i = 0; i < BEHIND; i++)
        in[i] = i;
    for (int k = 0; k < 3; k++) {
        board_clear();
        int n = occupy(busy, k == 2, k, 0, lasted, results);
        memset(out, 0, sizeof out);
        CHECK_STATUS(pmap_map(the_pool, square, in, out, BEHIND), PMAP_OK);
        check_squares(out);
        for (int i = 0; i < BEHIND; i++)
            CHECK_STATUS(pmap_apply(the_pool, square, &out[i], i), PMAP_OK);
        check_squares(out);
        open_gate(0, lasted, busy, results, n);
    }
}

static void what_no_worker_is_free_for_goes_to_the_first_that_is(void)
{
    int busy = pmap_threads(the_pool), in[BEHIND], out[BEHIND];
    struct pmap_result *results[LONGEST];
    bool lasted[LONGEST];

    for (int i = 0; i < BEHIND; i++)
        in[i] = i;
    for (int k = 0; k < 3; k++) {
        board_clear();
        int n = occupy(busy, k == 2, k, 0, lasted, results);
        memset(out, 0, sizeof out);
        struct pmap_result *low = pmap_map_async(the_pool, square, in, out, BEHIND / 2);
        struct pmap_result *high = pmap_map_async(the_pool, square, in + BEHIND / 2, out + BEHIND / 2, BEHIND / 2, .priority = 1);
        CHECK_STATUS(pmap_result_wait(low, 0), PMAP_ETIMEOUT);
        CHECK_STATUS(pmap_result_wait(high, 0), PMAP_ETIMEOUT);
        open_gate(0, lasted, busy, results, n);
        CHECK_STATUS(pmap_result_get(low, -1, NULL), PMAP_OK);
        CHECK_STATUS(pmap_result_get(high, -1, NULL), PMAP_OK);
        check_squares(out);
        pmap_result_free(low);
        pmap_result_free(high);
    }
}

/* ---- A map inside a task ----------------------------------------------------------------------------- */

static int add(int a, int b) { return a + b; }
PMAP_TASK(add, int, int, int);

static int sum_of_squares(int n)
{
    int *x = test_array((size_t)n, sizeof *x), *y = test_array((size_t)n, sizeof *y), sum = 0;

    for (int i = 0; i < n; i++)
        x[i] = i;
    if (pmap_map(NULL, square, x, y, (size_t)n) != PMAP_OK)
        sum = -1;
    for (int i = 0; i < n && sum >= 0; i++)
        if (pmap_apply(NULL, add, &sum, sum, y[i]) != PMAP_OK)
            sum = -1;
    free(x);
    free(y);
    return sum;
}
PMAP_TASK(sum_of_squares, int, int);

static void map_inside_a_task_equals_the_loop(void)
{
    int in[60], out[60], wrong = 0;

    for (int i = 0; i < 60; i++)
        in[i] = i * 5;
    CHECK_STATUS(pmap_map(the_pool, sum_of_squares, in, out, 60), PMAP_OK);
    for (int i = 0; i < 60; i++)
        wrong += out[i] != (in[i] - 1) * in[i] * (2 * in[i] - 1) / 6;
    CHECK_INT(wrong, 0);
}

/* Inside a task the pool is not looked at, so any address will do. */
static int starmap_anywhere(int x)
{
    struct add_args args[] = {{x, 1}, {x, 2}, {x, 3}};
    int out[3] = {0};

    if (pmap_starmap((struct pmap_pool *)&args, add, args, out, 3, .chunksize = 2) != PMAP_OK)
        return -1;
    return out[0] + out[1] + out[2];
}
PMAP_TASK(starmap_anywhere, int, int);

static void pool_of_a_call_inside_a_task_is_ignored(void)
{
    int in[] = {0, 10, 20}, out[3];

    CHECK_STATUS(pmap_map(the_pool, starmap_anywhere, in, out, 3, .chunksize = 1), PMAP_OK);
    CHECK_INT(out[0], 6);
    CHECK_INT(out[1], 36);
    CHECK_INT(out[2], 66);
}

/* 2 to the power of depth, the hard way: each task maps over two of itself. */
static int double_up(int depth);
PMAP_TASK(double_up, int, int);

static int double_up(int depth)
{
    int in[] = {depth - 1, depth - 1}, out[2];

    if (depth == 0)
        return 1;
    return pmap_map(NULL, double_up, in, out, 2) == PMAP_OK ? out[0] + out[1] : -1000000;
}

static void maps_inside_maps_inside_maps(void)
{
    int in[] = {0, 1, 2, 3, 8}, out[5];

    CHECK_STATUS(pmap_map(the_pool, double_up, in, out, 5), PMAP_OK);
    CHECK_INT(out[3], 8);
    CHECK_INT(out[4], 256);
    CHECK_STATUS(pmap_apply(the_pool, double_up, out, 6), PMAP_OK);
    CHECK_INT(out[0], 64);
}

/* A nested map runs on the calling thread, in order, with its own indices; the outer index comes back after it. */
static bool look_around(int x)
{
    int in[10] = {0};
    struct call calls[10], own = sign(x);
    bool right = own.item == (size_t)x;

    right &= pmap_map(NULL, sign, in, calls, 10) == PMAP_OK;
    for (size_t i = 0; i < 10; i++)
        right &= calls[i].item == i && follows(i == 0 ? &own : &calls[i - 1], &calls[i]);
    return right && pmap_item() == (size_t)x;
}
PMAP_TASK(look_around, bool, int);

static void map_inside_a_task_runs_on_its_thread(void)
{
    int in[200], wrong = 0;
    bool out[200];

    for (int i = 0; i < 200; i++)
        in[i] = i;
    CHECK_STATUS(pmap_map(the_pool, look_around, in, out, 200, .chunksize = 3), PMAP_OK);
    for (int i = 0; i < 200; i++)
        wrong += !out[i];
    CHECK_INT(wrong, 0);
}

/* ---- Several threads of the root submit at once ------------------------------------------------------ */

enum { SUBMITTERS = 4, MAPS = 50, ITEMS = 120 };

struct submitter {
    pthread_t thread;
    int number;
    int wrong; /* written by the thread, read when it has been joined */
};

static int submit_one_map(int number, int round)
{
    struct add_args args[ITEMS];
    int out[ITEMS], n = ITEMS - round, wrong = 0, sum;

    for (int i = 0; i < n; i++)
        args[i] = (struct add_args){number * 1000000 + round * 1000, i};
    wrong += pmap_starmap(the_pool, add, args, out, (size_t)n, .chunksize = round % 4) != PMAP_OK;
    for (int i = 0; i < n; i++)
        wrong += out[i] != args[i]._1 + i;
    wrong += pmap_apply(the_pool, add, &sum, number, round) != PMAP_OK || sum != number + round;
    return wrong;
}

static void *submit_maps(void *argument)
{
    struct submitter *s = argument;

    for (int round = 0; round < MAPS; round++)
        s->wrong += submit_one_map(s->number, round);
    return NULL;
}

static void several_threads_submit_at_once(void)
{
    struct submitter s[SUBMITTERS];
    int started = 0;

    for (; started < SUBMITTERS; started++) {
        s[started] = (struct submitter){.number = started};
        if (!CHECK(pthread_create(&s[started].thread, NULL, submit_maps, &s[started]) == 0))
            break;
    }
    for (int i = 0; i < started; i++) {
        pthread_join(s[i].thread, NULL);
        CHECK_INT(s[i].wrong, 0);
    }
}

static const struct test tests[] = {
    TEST(chunk_runs_in_order_on_one_thread),
    TEST(block_is_exactly_a_chunk),
    TEST(block_inside_a_task_is_a_chunk),
    TEST(blocks_cover_the_items_without_overlap),
    TEST(pmap_item_is_the_index),
    TEST(every_worker_gets_items),
    TEST(every_worker_gets_items_again_and_again),
    TEST(one_free_worker_does_what_others_are_too_busy_for),
    TEST(what_no_worker_is_free_for_goes_to_the_first_that_is),
    TEST(map_inside_a_task_equals_the_loop),
    TEST(pool_of_a_call_inside_a_task_is_ignored),
    TEST(maps_inside_maps_inside_maps),
    TEST(map_inside_a_task_runs_on_its_thread),
    TEST(several_threads_submit_at_once),
    {NULL, NULL},
};

int main(int argc, char *argv[]) { return test_main_with_pool(argc, argv, tests, ALL_SHAPES); }
