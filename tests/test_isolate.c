/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Items in processes of their own: what a crash costs, what is said of it, time and memory limits, and that everything
 * else is as in a pool of threads. How such a pool begins and ends is in test_isolate_life.
 *
 * Ported from concurrent.futures: test_crash (a killed child breaks nothing silently), a crash while a large argument is in
 * flight; from CPython's _TestPool: test_worker_crash.
 */
#include "board.h"
#include "deaths.h"
#include "harness.h"

#include <pmap_mapreduce.h>

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>
#endif

enum { N = 500 };

/* Cells of the board. */
enum { RUNS, BEGUN, OPEN, PID, WORKERS = 100 };

/* What ends by itself because of a limit or because it is cancelled has so many seconds. */
#define PROMPTLY 20.0

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int mark(int cell) { return atomic_fetch_add(&board()[cell], 1); }

/* ---- Tasks ------------------------------------------------------------------------------------------- */

struct order {
    int x, death;
};

static int square_or_die(struct order o)
{
    die(o.death);
    return o.x * o.x;
}
PMAP_TASK(square_or_die, int, struct order);

/* Dies in its first so many runs. */
static int die_at_first(int times)
{
    if (mark(RUNS) < times)
        die(DEATH_SEGV);
    return 5;
}
PMAP_TASK(die_at_first, int, int);

static void block_or_die(size_t n, const struct order in[], int out[])
{
    for (size_t i = 0; i < n; i++)
        out[i] = square_or_die(in[i]);
}
PMAP_BLOCK_TASK(block_or_die, int, struct order);

static struct pmap_bytes double_or_die(struct pmap_bytes item)
{
    struct pmap_bytes result = {malloc(2 * item.size), 2 * item.size};

    die(((const char *)item.data)[0]);
    memcpy(result.data, item.data, item.size);
    memcpy((char *)result.data + item.size, item.data, item.size);
    return result;
}
PMAP_BYTES_TASK(double_or_die);

/* The item of value BAD runs past its array. */
enum { BAD = 7 };

static void overrun_block(size_t n, const int in[], int out[])
{
    for (size_t i = 0; i < n; i++)
        out[i] = in[i] * in[i];
    for (size_t i = 0; in[0] == BAD; i++)
        ((volatile int *)out)[i] = (int)i;
}
PMAP_BLOCK_TASK(overrun_block, int, int);

struct reader {
    struct pmap_handle data;
    int x;
};

static int overrun_shared(struct reader r)
{
    const volatile int *shared = pmap_shared(r.data);

    for (size_t i = 0; r.x == BAD; i++)
        ((volatile int *)shared)[i] = -1;
    return r.x + shared[0];
}
PMAP_TASK(overrun_shared, int, struct reader);

/* Item BAD fills with one byte whatever it shares with others, except for the board, and goes on. */
struct vandal {
    int x, with;
};

static int scribble(struct vandal v)
{
    char line[512];
    unsigned long begin, end;
    FILE *maps = v.x == BAD ? fopen("/proc/self/maps", "re") : NULL;

    while (maps && fgets(line, sizeof line, maps))
        if (sscanf(line, "%lx-%lx rw-s", &begin, &end) == 2 && strstr(line, " rw-s ") && strstr(line, "memfd:pmap"))
            memset((void *)begin, v.with, end - begin);
    if (maps)
        die(DEATH_LOOP);
    return v.x;
}
PMAP_TASK(scribble, int, struct vandal);

static int process(int x)
{
    (void)x;
    return (int)getpid();
}
PMAP_TASK(process, int, int);

static int zygote(int x)
{
    (void)x;
    return (int)getppid();
}
PMAP_TASK(zygote, int, int);

/* Returns when the test lets it. */
static int wait_for_it(int x)
{
    atomic_store(&board()[PID], (int)getpid());
    mark(BEGUN);
    return board_await(OPEN, 1) ? x : -1;
}
PMAP_TASK(wait_for_it, int, int);

static int endless(int x)
{
    (void)x;
    mark(BEGUN);
    die(DEATH_LOOP);
    return 0;
}
PMAP_TASK(endless, int, int);

static int asks(int x)
{
    mark(BEGUN);
    while (!pmap_cancelled())
        sched_yield();
    return x;
}
PMAP_TASK(asks, int, int);

static int stubborn(int x)
{
    signal(SIGTERM, SIG_IGN);
    die(DEATH_LOOP);
    return x;
}
PMAP_TASK(stubborn, int, int);

static int takes_memory(int mib)
{
    static char *volatile held; /* so that a compiler believes that it is needed */
    size_t size = (size_t)mib << 20;

    held = malloc(size);
    memset(held, 1, size);
    if (mib > 32)
        die(DEATH_LOOP);
    free(held);
    return mib;
}
PMAP_TASK(takes_memory, int, int);

/* Never more than a GiB, and that is not touched. */
static int uses_up_memory(int x)
{
    struct rlimit limit = {(rlim_t)1 << 30, (rlim_t)1 << 30};

    if (x)
        setrlimit(RLIMIT_AS, &limit);
    while (x) {
        volatile char *bytes = malloc((size_t)16 << 20);
        bytes[0] = 1; /* who does not look at what malloc says */
    }
    return x;
}
PMAP_TASK(uses_up_memory, int, int);

struct sight {
    size_t item;
    int rank, thread;
    uint64_t random;
    bool cancelled;
};

static struct sight look_around(int x)
{
    struct pmap_random r = pmap_random_stream(pmap_item());
    (void)x;
    return (struct sight){pmap_item(), pmap_rank(), pmap_thread(), pmap_random_bits(&r), pmap_cancelled()};
}
PMAP_TASK(look_around, struct sight, int);

static int add(int a, int b) { return a + b; }
PMAP_OP(add, int);

/* Operands are ids of deaths, or more. */
static int add_or_die(int a, int b)
{
    if (a > 0 && a < DEATHS)
        die(a);
    if (b > 0 && b < DEATHS)
        die(b);
    return a + b;
}
PMAP_OP(add_or_die, int);

static int same(int x) { return x; }
PMAP_TASK(same, int, int);

static int nested(int death)
{
    struct order in[10];
    int out[10], sum = 0;

    for (int i = 0; i < 10; i++)
        in[i] = (struct order){i, i == 5 ? death : NO_DEATH};
    if (pmap_map(NULL, square_or_die, in, out, 10) != PMAP_OK)
        return pmap_fail(1, "a nested call failed");
    for (int i = 0; i < 10; i++)
        sum += out[i];
    return sum;
}
PMAP_TASK(nested, int, int);

static int limited_inside(int x)
{
    struct pmap_error error;
    int y;

    return pmap_map(NULL, same, &x, &y, 1, .timeout = 1, .error = &error) == PMAP_EINVAL && strstr(error.text, "timeout");
}
PMAP_TASK(limited_inside, int, int);

static int look_up(struct pmap_handle handle, size_t i, int death)
{
    const int *table = pmap_shared(handle);

    die(death);
    return table ? table[i] : -1;
}
PMAP_TASK(look_up, int, struct pmap_handle, size_t, int);

static void fill(struct order in[], int n)
{
    for (int i = 0; i < n; i++)
        in[i] = (struct order){i, NO_DEATH};
}

/* ---- Like a pool of threads -------------------------------------------------------------------------- */

static int global = 1;

static int change_global(int x) { return global++ + 0 * x; }
PMAP_TASK(change_global, int, int);

static void items_run_in_other_processes(void)
{
    int *in = test_array(N, sizeof *in), *out = test_array(N, sizeof *out), *pids = test_array(N, sizeof *pids), different = 0;

    CHECK_STATUS(pmap_map(the_pool, change_global, in, out, N), PMAP_OK);
    CHECK_INT(global, 1);
    CHECK_STATUS(pmap_map(the_pool, process, in, pids, N), PMAP_OK);
    for (int i = 0; i < N; i++) {
        int j = 0;
        while (pids[j] != pids[i])
            j++;
        different += i == j;
        CHECK(pids[i] != (int)getpid());
    }
    CHECK(different <= pmap_threads(the_pool));
    free(in);
    free(out);
    free(pids);
}

static void tasks_see_where_they_are(void)
{
    int *in = test_array(N, sizeof *in);
    struct sight *out = test_array(N, sizeof *out), *again = test_array(N, sizeof *again);

    CHECK_STATUS(pmap_map(the_pool, look_around, in, out, N, .seed = 3), PMAP_OK);
    CHECK_STATUS(pmap_map(the_pool, look_around, in, again, N, .seed = 3, .chunksize = 7), PMAP_OK);
    for (size_t i = 0; i < N; i++) {
        CHECK_INT(out[i].item, i);
        CHECK(out[i].rank >= 0 && out[i].rank < test_ranks());
        CHECK(out[i].thread >= 0 && out[i].thread < test_threads());
        CHECK(out[i].random == again[i].random && (i == 0 || out[i].random != out[i - 1].random));
        CHECK(!out[i].cancelled);
    }
    free(in);
    free(out);
    free(again);
}

static void nested_calls_run_inside(void)
{
    int in[20] = {0}, out[20];
    struct pmap_error error;

    CHECK_STATUS(pmap_map(the_pool, nested, in, out, 20), PMAP_OK);
    for (int i = 0; i < 20; i++)
        CHECK_INT(out[i], 285);
    in[13] = DEATH_SEGV;
    CHECK_STATUS(pmap_map(the_pool, nested, in, out, 20, .error = &error), PMAP_ECRASHED);
    CHECK_INT(error.item, 13);
    CHECK_INT(out[13], 0);
    CHECK_INT(out[19], 285);
    CHECK_STATUS(pmap_map(the_pool, limited_inside, in, out, 20), PMAP_OK);
    CHECK_INT(out[7], 1);
}

static void shared_data_is_seen(void)
{
    enum { SIZE = 100000 };
    int *table = test_array(SIZE, sizeof *table), y;
    struct pmap_handle handle, second;

    for (int i = 0; i < SIZE; i++)
        table[i] = 3 * i;
    if (!CHECK_STATUS(pmap_share(the_pool, table, SIZE * sizeof *table, &handle), PMAP_OK))
        return;
    CHECK_STATUS(pmap_apply(the_pool, look_up, &y, handle, SIZE - 1, NO_DEATH), PMAP_OK);
    CHECK_INT(y, 3 * (SIZE - 1));
    struct pmap_error error;
    CHECK_STATUS(pmap_apply(the_pool, look_up, &y, handle, 7, DEATH_SEGV, .error = &error), PMAP_ECRASHED);
    CHECK_STATUS(pmap_apply(the_pool, look_up, &y, handle, 7, NO_DEATH), PMAP_OK);
    CHECK_INT(y, 21);
    CHECK_STATUS(pmap_unshare(the_pool, handle), PMAP_OK);
    CHECK_STATUS(pmap_apply(the_pool, look_up, &y, handle, 7, NO_DEATH), PMAP_OK);
    CHECK_INT(y, -1);
    table[7] = 4;
    CHECK_STATUS(pmap_share(the_pool, table, 8 * sizeof *table, &second), PMAP_OK);
    CHECK_STATUS(pmap_apply(the_pool, look_up, &y, second, 7, NO_DEATH), PMAP_OK);
    CHECK_INT(y, 4);
    CHECK_STATUS(pmap_unshare(the_pool, second), PMAP_OK);
    free(table);
}

#ifdef _OPENMP
static int team_inside(int n)
{
    int threads = 0, sum = 0;

#pragma omp parallel num_threads(2) reduction(+ : sum)
    {
#pragma omp single
        threads = omp_get_num_threads();
#pragma omp for
        for (int i = 0; i < n; i++)
            sum += i;
    }
    return threads == 2 ? sum : -1;
}
PMAP_TASK(team_inside, int, int);
#endif

static void items_may_use_openmp(void)
{
#ifdef _OPENMP
    int in[] = {10, 100, 1000, 10}, out[4];

    if (omp_get_thread_limit() < 2) {
        test_skip("OpenMP has one thread here");
        return;
    }
    CHECK_STATUS(pmap_map(the_pool, team_inside, in, out, 4), PMAP_OK);
    CHECK_INT(out[0], 45);
    CHECK_INT(out[2], 499500);
    CHECK_INT(out[3], 45);
#else
    test_skip("built without OpenMP");
#endif
}

static void emit_nothing(struct pmap_view record, struct pmap_emitter *out)
{
    (void)record;
    (void)out;
}
PMAP_MAPREDUCE(nothing, .map_record = emit_nothing);

static void mapreduce_is_refused(void)
{
    int records[4] = {0};
    struct pmap_error error;

    CHECK_STATUS(pmap_mapreduce(the_pool, nothing, PMAP_RECORDS(records, 4), .error = &error), PMAP_EINVAL);
    CHECK(strstr(error.text, ".isolate"));
}

/* ---- Crashes ----------------------------------------------------------------------------------------- */

static void crash_costs_the_item_alone(void)
{
    struct order *in = test_array(N, sizeof *in);
    int *out = test_array(N, sizeof *out);
    enum pmap_status *statuses = test_array(N, sizeof *statuses);

    fill(in, N);
    for (int death = DEATH_FAIL; death < DEATH_LOOP; death++) {
        in[10 * death].death = death; /* in the same chunks, */
        in[300 + death].death = death; /* and one after another */
    }
    in[N - 1].death = DEATH_SEGV;
    CHECK_STATUS(pmap_map(the_pool, square_or_die, in, out, N, .on_error = PMAP_COLLECT, .statuses = statuses), PMAP_OK);
    for (int i = 0; i < N; i++) {
        CHECK_STATUS(statuses[i], death_status(in[i].death));
        CHECK_INT(out[i], in[i].death ? 0 : i * i);
    }
    free(in);
    free(out);
    free(statuses);
}

static void error_tells_how_it_died(void)
{
    struct order in[20];
    int out[20];

    for (int death = DEATH_FAIL; death < DEATHS; death++) {
        struct pmap_error error = {.status = PMAP_OK};
        fill(in, 20);
        in[17].death = death;
        pmap_map(the_pool, square_or_die, in, out, 20, .timeout = death == DEATH_LOOP ? 0.2 : 0, .error = &error);
        CHECK_SAYING(death_is_told(death, &error), "%s: code %d: %s", death_name(death), error.code, error.text);
        CHECK_NAMES(error.text, "17");
        CHECK_INT(error.item, 17);
        CHECK(error.rank >= 0 && error.thread >= 0 && strstr(error.text, error.host));
        CHECK_INT(out[17], 0);
        CHECK_INT(out[19], 19 * 19);
    }
}

static void lowest_crash_is_reported(void)
{
    struct order in[100];
    int out[100];
    struct pmap_error error;

    fill(in, 100);
    in[80].death = in[31].death = in[99].death = DEATH_SEGV;
    in[60].death = DEATH_FAIL;
    CHECK_STATUS(pmap_map(the_pool, square_or_die, in, out, 100, .error = &error), PMAP_ECRASHED);
    CHECK_INT(error.item, 31);
}

static void crash_stops_the_map(void)
{
    struct order *in = test_array(N, sizeof *in);
    int *out = test_array(N, sizeof *out);
    enum pmap_status *statuses = test_array(N, sizeof *statuses);
    struct pmap_error error;

    fill(in, N);
    in[0].death = DEATH_SEGV;
    CHECK_STATUS(pmap_map(the_pool, square_or_die, in, out, N, .on_error = PMAP_STOP, .statuses = statuses, .error = &error), PMAP_ECRASHED);
    CHECK_STATUS(statuses[0], PMAP_ECRASHED);
    for (int i = 1; i < N; i++)
        CHECK(statuses[i] == PMAP_ECANCELLED ? out[i] == 0 : statuses[i] == PMAP_OK && out[i] == i * i);
    for (int i = 0; i < N; i++)
        in[i].death = i % 7 ? NO_DEATH : DEATH_EXIT;
    CHECK_STATUS(pmap_map(the_pool, square_or_die, in, out, N, .max_failures = 3, .error = &error), PMAP_ECRASHED);
    free(in);
    free(out);
    free(statuses);
}

static void crashed_item_is_run_again(void)
{
    int times = 2, y;
    struct pmap_error error;

    board_clear();
    CHECK_STATUS(pmap_apply(the_pool, die_at_first, &y, times, .retries = 2), PMAP_OK);
    CHECK_INT(y, 5);
    CHECK_INT(board()[RUNS], 3);
    board_clear();
    CHECK_STATUS(pmap_apply(the_pool, die_at_first, &y, times, .retries = 1, .error = &error), PMAP_ECRASHED);
    CHECK_INT(board()[RUNS], 2);
}

static void item_that_kills_three_workers_is_given_up(void)
{
    int in[5] = {0, 0, 1000, 0, 0}, out[5];
    struct pmap_error error;

    board_clear();
    CHECK_STATUS(pmap_map(the_pool, die_at_first, in, out, 5, .retries = 50, .error = &error), PMAP_ECRASHED);
    CHECK_INT(error.item, 2);
    CHECK_INT(board()[RUNS], 4 + 3);
    CHECK_INT(out[4], 5);
}

static void block_crashes_as_a_whole(void)
{
    struct order in[40];
    int out[40];
    enum pmap_status statuses[40];

    fill(in, 40);
    in[13].death = DEATH_SEGV;
    CHECK_STATUS(pmap_map(the_pool, block_or_die, in, out, 40, .chunksize = 10, .on_error = PMAP_COLLECT, .statuses = statuses),
                 PMAP_OK);
    for (int i = 0; i < 40; i++) {
        bool bad = i / 10 == 1;
        CHECK_STATUS(statuses[i], bad ? PMAP_ECRASHED : PMAP_OK);
        CHECK_INT(out[i], bad ? 0 : i * i);
    }
}

static void costs_and_streams_work(void)
{
    struct order in[60];
    int out[60], y;
    double cost[60];
    enum pmap_status statuses[60];

    fill(in, 60);
    for (int i = 0; i < 60; i++)
        cost[i] = (i * 37) % 60;
    in[20].death = in[41].death = DEATH_ABORT;
    CHECK_STATUS(pmap_map(the_pool, square_or_die, in, out, 60, .cost = cost, .on_error = PMAP_COLLECT, .statuses = statuses), PMAP_OK);
    for (int i = 0; i < 60; i++) {
        CHECK_STATUS(statuses[i], death_status(in[i].death));
        CHECK_INT(out[i], in[i].death ? 0 : i * i);
    }
    struct pmap_error error;
    struct pmap_iter *iter = pmap_imap(the_pool, square_or_die, PMAP_ARRAY(in, 60), .chunksize = 8, .error = &error);
    for (int i = 0; i < 60; i++) {
        CHECK_STATUS(pmap_iter_next(iter, &y, PMAP_FOREVER), death_status(in[i].death));
        CHECK_INT(y, in[i].death ? 0 : i * i);
    }
    CHECK_STATUS(pmap_iter_next(iter, &y, PMAP_FOREVER), PMAP_END);
    pmap_iter_free(iter);
}

/* Large items on their way to and from processes that die. */
static void bytes_of_any_size(void)
{
    enum { ITEMS = 12 };
    size_t large = test_size((size_t)6 << 20, (size_t)1 << 20);
    struct pmap_bytes in[ITEMS], out[ITEMS];
    enum pmap_status statuses[ITEMS];

    for (int i = 0; i < ITEMS; i++) {
        in[i].size = i % 3 == 0 ? large + (size_t)i : 1 + 100 * (size_t)i;
        in[i].data = test_array(in[i].size, 1);
        memset(in[i].data, 'a' + i, in[i].size);
        ((char *)in[i].data)[0] = i == 3 ? DEATH_SEGV : i == 4 ? DEATH_FAIL : NO_DEATH;
    }
    CHECK_STATUS(pmap_map(the_pool, double_or_die, in, out, ITEMS, .chunksize = 4, .on_error = PMAP_COLLECT, .statuses = statuses), PMAP_OK);
    for (int i = 0; i < ITEMS; i++) {
        bool bad = i == 3 || i == 4;
        CHECK_STATUS(statuses[i], i == 3 ? PMAP_ECRASHED : i == 4 ? PMAP_EFAILED : PMAP_OK);
        CHECK_INT(out[i].size, bad ? 0 : 2 * in[i].size);
        CHECK(bad ? out[i].data == NULL : memcmp((char *)out[i].data + in[i].size, in[i].data, in[i].size) == 0);
    }
    pmap_bytes_free(in, ITEMS);
    pmap_bytes_free(out, ITEMS);
}

static void reductions_crash_and_are_exact(void)
{
    enum { MANY = 20000 };
    int *in = test_array(MANY, sizeof *in), sum = 1;
    long long expected = 0;
    struct pmap_error error;

    for (int i = 0; i < MANY; i++) {
        in[i] = 100 + i % 13;
        expected += in[i];
    }
    CHECK_STATUS(pmap_reduce(the_pool, same, add_or_die, in, &sum, MANY), PMAP_OK);
    CHECK_INT(sum, expected);
    for (int death = DEATH_FAIL; death < DEATHS; death++) {
        double timeout = death == DEATH_LOOP ? 0.2 : 0;
        int few[] = {100, 100, death, 100, 100};
        sum = 1;
        error = (struct pmap_error){.status = PMAP_OK};
        pmap_reduce(the_pool, same, add_or_die, few, &sum, 5, .timeout = timeout, .error = &error); /* a leaf each: between leaves */
        CHECK_SAYING(death_is_told(death, &error), "%s: code %d: %s", death_name(death), error.code, error.text);
        in[MANY / 2 + 3] = death;
        error = (struct pmap_error){.status = PMAP_OK};
        pmap_reduce(the_pool, same, add_or_die, in, &sum, MANY, .timeout = timeout, .error = &error); /* inside of one */
        CHECK_SAYING(death_is_told(death, &error), "%s: code %d: %s", death_name(death), error.code, error.text);
        in[MANY / 2 + 3] = 100;
        CHECK_INT(sum, 1);
    }
    free(in);
}

static void crashed_leaf_is_run_again(void)
{
    int in[6] = {1, 1, 1, 1, 1, 1}, sum;

    board_clear();
    CHECK_STATUS(pmap_reduce(the_pool, die_at_first, add, in, &sum, 6, .retries = 3), PMAP_OK);
    CHECK_INT(sum, 30);
}

static void running_out_of_memory_costs_the_item(void)
{
    int in[5] = {0, 0, 1, 0, 0}, out[5];
    enum pmap_status statuses[5];

    CHECK_STATUS(pmap_map(the_pool, uses_up_memory, in, out, 5, .on_error = PMAP_COLLECT, .statuses = statuses), PMAP_OK);
    for (int i = 0; i < 5; i++)
        CHECK_STATUS(statuses[i], i == 2 ? PMAP_ECRASHED : PMAP_OK);
}

/* ---- Outsiders --------------------------------------------------------------------------------------- */

static void kill_all(int pids[], int n, int sig)
{
    for (int i = 0; i < n; i++)
        kill(pids[i], sig);
}

static void killed_between_items_costs_nothing(void)
{
    int in[64] = {0}, pids[64];

    for (int round = 0; round < 5; round++) {
        CHECK_STATUS(pmap_map(the_pool, process, in, pids, 64, .chunksize = 1), PMAP_OK);
        kill_all(pids, 64, SIGKILL);
    }
    CHECK_STATUS(pmap_map(the_pool, process, in, pids, 64), PMAP_OK);
}

static void zygote_is_replaced(void)
{
    int in[64] = {0}, pids[64];

    for (int round = 0; round < 3; round++) {
        CHECK_STATUS(pmap_map(the_pool, zygote, in, pids, 64, .chunksize = 1, .retries = 2), PMAP_OK);
        kill_all(pids, 64, SIGKILL);
    }
    CHECK_STATUS(pmap_map(the_pool, zygote, in, pids, 64, .retries = 2), PMAP_OK);
}

/* ---- Killed at random -------------------------------------------------------------------------------- */

/* Leaves its process on the board, and what that comes from. */
static int note_and_square(int x)
{
    int cell = WORKERS + 2 * (pmap_rank() * 16 + pmap_thread());

    atomic_store(&board()[cell], (int)getpid());
    atomic_store(&board()[cell + 1], (int)getppid());
    return x * x;
}
PMAP_TASK(note_and_square, int, int);

struct killer {
    unsigned seed;
    atomic_int kills;
    atomic_bool stop;
};

/* The process may be gone, and its number another's by now: so look at its name. */
static bool is_ours(int pid)
{
    char path[64], name[32] = "";

    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    FILE *file = fopen(path, "r");
    bool read = file && fgets(name, sizeof name, file);
    if (file)
        fclose(file);
    return read && (strcmp(name, "pmap-cell\n") == 0 || strcmp(name, "pmap-zygote\n") == 0);
}

/* One of the processes on the board; one in eight is a zygote. */
static void *kill_at_random(void *argument)
{
    struct killer *k = argument;

    while (!atomic_load(&k->stop)) {
        int rank = rand_r(&k->seed) % test_ranks(), thread = rand_r(&k->seed) % test_threads();
        int pid = board()[WORKERS + 2 * (rank * 16 + thread) + (rand_r(&k->seed) % 8 == 0)];
        if (pid && is_ours(pid) && kill(pid, SIGKILL) == 0)
            atomic_fetch_add(&k->kills, 1);
        for (int pause = rand_r(&k->seed) % 2000; pause > 0; pause--)
            sched_yield();
    }
    return NULL;
}

/* Only what was hit three times may be without a result. */
static void workers_killed_at_random_lose_nothing(void)
{
    enum { MANY = 5000 };
    int *in = test_array(MANY, sizeof *in), *out = test_array(MANY, sizeof *out), wanted = (int)test_size(100, 10);
    enum pmap_status *statuses = test_array(MANY, sizeof *statuses);
    struct killer killer = {.seed = (unsigned)time(NULL)};
    unsigned seed = killer.seed;
    pthread_t thread;

    board_clear();
    for (int i = 0; i < MANY; i++)
        in[i] = i;
    if (!CHECK(pthread_create(&thread, NULL, kill_at_random, &killer) == 0))
        return;
    for (int round = 0; atomic_load(&killer.kills) < wanted; round++) {
        memset(out, 0, MANY * sizeof *out);
        CHECK_STATUS(pmap_map(the_pool, note_and_square, in, out, MANY, .chunksize = round % 3 * 40, .retries = 10, .on_error = PMAP_COLLECT,
                              .statuses = statuses), PMAP_OK);
        for (int i = 0; i < MANY; i++)
            CHECK_SAYING(statuses[i] == PMAP_OK ? out[i] == i * i : statuses[i] == PMAP_ECRASHED && out[i] == 0,
                         "seed %u: item %d is %d: %s", seed, i, out[i], pmap_status_name(statuses[i]));
    }
    atomic_store(&killer.stop, true);
    pthread_join(thread, NULL);
    free(in);
    free(out);
    free(statuses);
}

/* Start one item, have it do this, and see what comes of it. */
static enum pmap_status disturb(int sig, int *y, struct pmap_error *error)
{
    board_clear();
    struct pmap_result *result = pmap_apply_async(the_pool, wait_for_it, y, 6);
    if (!CHECK(board_await(BEGUN, 1)))
        return PMAP_EINVAL;
    kill(board()[PID], sig);
    if (sig != SIGKILL)
        atomic_store(&board()[OPEN], 1);
    enum pmap_status status = pmap_result_get(result, PROMPTLY, error);
    pmap_result_free(result);
    return status;
}

static void killed_in_the_middle_costs_the_item(void)
{
    struct pmap_error error;
    int y = 1;

    CHECK_STATUS(disturb(SIGKILL, &y, &error), PMAP_ECRASHED);
    CHECK_SAYING(death_is_told(DEATH_KILL, &error), "%s", error.text);
    CHECK_INT(y, 0);
}

static void signals_for_everybody_end_nothing(void)
{
    static const int sigs[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
    struct pmap_error error;

    for (size_t i = 0; i < sizeof sigs / sizeof *sigs; i++) {
        int y = 1;
        CHECK_STATUS(disturb(sigs[i], &y, &error), PMAP_OK);
        CHECK_INT(y, 6);
    }
}

/* ---- Limits ------------------------------------------------------------------------------------------ */

static void timeout_ends_the_item(void)
{
    struct order in[20];
    int out[20];
    enum pmap_status statuses[20];
    double start = now();

    fill(in, 20);
    in[4].death = in[15].death = DEATH_LOOP;
    CHECK_STATUS(pmap_map(the_pool, square_or_die, in, out, 20, .timeout = 0.3, .on_error = PMAP_COLLECT, .statuses = statuses), PMAP_OK);
    for (int i = 0; i < 20; i++) {
        CHECK_STATUS(statuses[i], death_status(in[i].death));
        CHECK_INT(out[i], in[i].death ? 0 : i * i);
    }
    CHECK(now() - start < PROMPTLY);
    struct pmap_error error;
    CHECK_STATUS(pmap_apply(the_pool, endless, out, 1, .timeout = 0.2, .error = &error), PMAP_ECRASHED);
    CHECK_NAMES(error.text, "timeout");
    struct pmap_iter *iter = pmap_imap(the_pool, square_or_die, PMAP_ARRAY(in, 20), .timeout = 0.2, .error = &error);
    for (int i = 0; i < 20; i++)
        CHECK_STATUS(pmap_iter_next(iter, out, PMAP_FOREVER), death_status(in[i].death));
    pmap_iter_free(iter);
}

static void sigkill_follows_sigterm(void)
{
    struct pmap_error error;
    int y;

    CHECK_STATUS(pmap_apply(the_pool, stubborn, &y, 1, .timeout = 0.2, .error = &error), PMAP_ECRASHED);
    CHECK_INT(error.code, SIGKILL);
    CHECK_NAMES(error.text, "timeout");
}

static void max_rss_ends_the_item(void)
{
    int in[] = {1, 48, 2, 3}, out[4];
    enum pmap_status statuses[4];
    struct pmap_error error;

    CHECK_STATUS(pmap_map(the_pool, takes_memory, in, out, 4, .max_rss = (size_t)16 << 20, .on_error = PMAP_COLLECT, .statuses = statuses),
                 PMAP_OK);
    for (int i = 0; i < 4; i++) {
        CHECK_STATUS(statuses[i], i == 1 ? PMAP_ECRASHED : PMAP_OK);
        CHECK_INT(out[i], i == 1 ? 0 : in[i]);
    }
    CHECK_STATUS(pmap_apply(the_pool, takes_memory, out, 48, .max_rss = (size_t)16 << 20, .error = &error), PMAP_ECRASHED);
    CHECK_NAMES(error.text, "max_rss");
}

static void limits_out_of_range_are_refused(void)
{
    struct pmap_error error;
    int y;

    CHECK_STATUS(pmap_apply(the_pool, same, &y, 1, .timeout = -1, .error = &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "timeout");
    CHECK_STATUS(pmap_apply(the_pool, same, &y, 1, .timeout = NAN, .error = &error), PMAP_EINVAL);
    CHECK_STATUS(pmap_apply(the_pool, same, &y, 1, .timeout = 1e10, .error = &error), PMAP_EINVAL);
    CHECK_STATUS(pmap_apply(the_pool, same, &y, 1, .max_rss = SIZE_MAX, .error = &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "max_rss");
    CHECK_STATUS(pmap_apply(the_pool, same, &y, 1, .timeout = 1e9, .max_rss = (size_t)1 << 40), PMAP_OK);
}

/* ---- Cancelling -------------------------------------------------------------------------------------- */

static void cancelled_items_hear_of_it(void)
{
    int in[200] = {0}, out[200];
    struct pmap_error error;

    board_clear();
    struct pmap_result *result = pmap_map_async(the_pool, asks, in, out, 200);
    CHECK(board_await(BEGUN, pmap_threads(the_pool)));
    pmap_result_cancel(result);
    CHECK_STATUS(pmap_result_get(result, PROMPTLY, &error), PMAP_ECANCELLED);
    pmap_result_free(result);
}

static void cancelled_items_that_do_not_ask_are_ended(void)
{
    int in[200] = {0}, out[200];
    struct pmap_error error;

    board_clear();
    struct pmap_result *result = pmap_map_async(the_pool, endless, in, out, 200);
    CHECK(board_await(BEGUN, pmap_threads(the_pool)));
    pmap_result_cancel(result);
    CHECK_STATUS(pmap_result_get(result, PROMPTLY, &error), PMAP_ECANCELLED);
    pmap_result_free(result);
    CHECK_STATUS(pmap_map(the_pool, same, in, out, 200), PMAP_OK);
}

static void overrun_costs_the_item_alone(void)
{
    enum { BLOCKS = 40, EACH = 10 };
    int in[BLOCKS * EACH], out[BLOCKS * EACH];
    enum pmap_status statuses[BLOCKS * EACH];

    for (int i = 0; i < BLOCKS * EACH; i++)
        in[i] = 100 + i;
    in[5 * EACH] = BAD;
    CHECK_STATUS(pmap_map(the_pool, overrun_block, in, out, BLOCKS * EACH, .chunksize = EACH, .on_error = PMAP_COLLECT,
                          .statuses = statuses), PMAP_OK);
    for (int i = 0; i < BLOCKS * EACH; i++) {
        CHECK_STATUS(statuses[i], i / EACH == 5 ? PMAP_ECRASHED : PMAP_OK);
        CHECK_INT(out[i], i / EACH == 5 ? 0 : in[i] * in[i]);
    }
}

static void shared_data_cannot_be_changed(void)
{
    int data[1000] = {30}, out[100];
    struct reader in[100];
    enum pmap_status statuses[100];
    struct pmap_handle handle;

    CHECK_STATUS(pmap_share(the_pool, data, sizeof data, &handle), PMAP_OK);
    for (int i = 0; i < 100; i++)
        in[i] = (struct reader){handle, i};
    CHECK_STATUS(pmap_map(the_pool, overrun_shared, in, out, 100, .on_error = PMAP_COLLECT, .statuses = statuses), PMAP_OK);
    for (int i = 0; i < 100; i++) {
        CHECK_STATUS(statuses[i], i == BAD ? PMAP_ECRASHED : PMAP_OK);
        CHECK_INT(out[i], i == BAD ? 0 : i + 30);
    }
    pmap_unshare(the_pool, handle);
}

static void item_that_writes_everywhere_is_found(void)
{
    static const int with[] = {0, 1, 2, 255};
    struct vandal in[60];
    int out[60];
    enum pmap_status statuses[60];

    for (int k = 0; k < 4; k++) {
        for (int i = 0; i < 60; i++)
            in[i] = (struct vandal){i, with[k]};
        CHECK_STATUS(pmap_map(the_pool, scribble, in, out, 60, .chunksize = 30, .on_error = PMAP_COLLECT, .statuses = statuses),
                     PMAP_OK);
        for (int i = 0; i < 60; i++) {
            CHECK_STATUS(statuses[i], i == BAD ? PMAP_ECRASHED : PMAP_OK);
            CHECK_INT(out[i], i == BAD ? 0 : i);
        }
    }
}

static const struct test tests[] = {
    TEST(items_run_in_other_processes),
    TEST(tasks_see_where_they_are),
    TEST(nested_calls_run_inside),
    TEST(shared_data_is_seen),
    TEST(items_may_use_openmp),
    TEST(crash_costs_the_item_alone),
    TEST(error_tells_how_it_died),
    TEST(lowest_crash_is_reported),
    TEST(crash_stops_the_map),
    TEST(crashed_item_is_run_again),
    TEST(item_that_kills_three_workers_is_given_up),
    TEST(block_crashes_as_a_whole),
    TEST(costs_and_streams_work),
    TEST(bytes_of_any_size),
    TEST(reductions_crash_and_are_exact),
    TEST(crashed_leaf_is_run_again),
    TEST(running_out_of_memory_costs_the_item),
    TEST(killed_between_items_costs_nothing),
    TEST(zygote_is_replaced),
    TEST(workers_killed_at_random_lose_nothing),
    TEST(killed_in_the_middle_costs_the_item),
    TEST(signals_for_everybody_end_nothing),
    TEST(timeout_ends_the_item),
    TEST(sigkill_follows_sigterm),
    TEST(max_rss_ends_the_item),
    TEST(limits_out_of_range_are_refused),
    TEST(cancelled_items_hear_of_it),
    TEST(cancelled_items_that_do_not_ask_are_ended),
    TEST(overrun_costs_the_item_alone),
    TEST(shared_data_cannot_be_changed),
    TEST(item_that_writes_everywhere_is_found),
    TEST(mapreduce_is_refused),
    {NULL, NULL},
};

int main(int argc, char *argv[])
{
    return test_main_with_pool(argc, argv, tests, "t2:isolate r2:isolate r2t2:isolate v3:isolate");
}
