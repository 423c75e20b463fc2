/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How isolated pools begin and end: initializers, workers that are renewed, what is refused, and that nothing is left. All ranks run
 * these functions in step, as in test_life.
 */
#include "board.h"
#include "deaths.h"
#include "harness.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { N = 200 };

/* Cells of one test, and room for the ids of processes behind them. All ranks take them in step; none is used twice. */
enum { STARTS, THREAD_STARTS, PIDS, CELLS = 100, MERGES = 99 /* of the first test's, who does not use it */ };

static int fresh_cells(void)
{
    static int taken;

    return CELLS * taken++;
}

static int count(int cell) { return atomic_load(&board()[cell]); }

static int mark(int cell) { return atomic_fetch_add(&board()[cell], 1); }

/* ---- Initializers and tasks -------------------------------------------------------------------------- */

static int told; /* by the initializer, to the items */
static int known_before;

struct plan {
    int cells, value;
    int death, thread_death; /* of the initializers */
    int from;                /* the so-manieth worker's thread_initializer dies, from 0 */
    char ballast[5000];
};

static void begin(const void *initarg)
{
    const struct plan *plan = initarg;

    mark(plan->cells + STARTS);
    die(plan->death);
    told = plan->value;
}

static void begin_thread(const void *initarg)
{
    const struct plan *plan = initarg;
    int before = mark(plan->cells + THREAD_STARTS);

    if (before >= plan->from)
        die(plan->thread_death);
    told++;
}

static int ask(int x) { return told + x; }
PMAP_TASK(ask, int, int);

static int ask_before(int x) { return known_before + x; }
PMAP_TASK(ask_before, int, int);

static int process(int x)
{
    (void)x;
    return (int)getpid();
}
PMAP_TASK(process, int, int);

static int parent(int x)
{
    (void)x;
    return (int)getppid();
}
PMAP_TASK(parent, int, int);

static int die_as(int death)
{
    die(death);
    return 1;
}
PMAP_TASK(die_as, int, int);

static const struct plan *make_plan(int cells)
{
    static struct plan plan;

    plan = (struct plan){.cells = cells, .value = 70};
    return &plan;
}

#ifdef HAVE_OPENMP
#define WORKERS (test_ranks() * test_threads())
#else
#define WORKERS test_ranks()
#endif

/* ---- Beginning --------------------------------------------------------------------------------------- */

static void each_worker_is_initialized(void)
{
    int cells = fresh_cells(), in[N] = {0}, out[N];
    const struct plan *plan = make_plan(cells);
    struct pmap_pool *pool;

    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .isolate = true, .initializer = begin, .thread_initializer = begin_thread,
                             .initarg = plan, .initarg_size = sizeof *plan), PMAP_OK);
    if (pool == NULL)
        return;
    CHECK_INT(count(cells + STARTS), pmap_threads(pool));
    CHECK_INT(count(cells + THREAD_STARTS), pmap_threads(pool));
    CHECK_INT(told, 0);
    CHECK_STATUS(pmap_map(pool, ask, in, out, N), PMAP_OK);
    for (int i = 0; i < N; i++)
        CHECK_INT(out[i], 71);
    pmap_destroy(pool);
}

static void failing_initializers_fail_the_pool(void)
{
    for (int death = DEATH_FAIL; death < DEATH_LOOP; death++)
        for (int which = 0; which < 2; which++) {
            int cells = fresh_cells();
            struct plan plan = {.cells = cells, .death = which ? NO_DEATH : death, .thread_death = which ? death : NO_DEATH};
            struct pmap_pool *pool;
            struct pmap_error error = {.status = PMAP_OK};

            CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .isolate = true, .initializer = begin, .initarg = &plan,
                                     .thread_initializer = begin_thread, .initarg_size = sizeof plan, .error = &error), death_status(death));
            CHECK(pool == NULL);
            CHECK_SAYING(death_is_told(death, &error), "%s: code %d: %s", death_name(death), error.code, error.text);
            CHECK(error.rank >= 0);
        }
}

static void globals_have_the_values_of_creation(void)
{
    int in[N] = {0}, out[N];
    struct pmap_pool *pool;

    known_before++;
    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .isolate = true), PMAP_OK);
    if (pool) {
        int now = known_before;
        known_before = 1000;
        CHECK_STATUS(pmap_map(pool, ask_before, in, out, N), PMAP_OK);
        for (int i = 0; i < N; i++)
            CHECK_INT(out[i], now);
        known_before = now;
    }
    pmap_destroy(pool);
}

static void ranks_must_agree(void)
{
    struct pmap_pool *pool;
    struct pmap_error error;

    if (test_processes() < 2) {
        test_skip("one process agrees with itself");
        return;
    }
    for (int who = 0; who < 2; who++) {
        CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .isolate = test_rank() == who, .error = &error), PMAP_EINVAL);
        CHECK_NAMES(error.text, "isolate");
        CHECK(pool == NULL);
    }
}

static void pools_side_by_side(void)
{
    struct pmap_pool *pool, *other = NULL, *third = NULL;
    int in[N] = {0}, out[N];
    struct pmap_error error;

    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .isolate = true), PMAP_OK);
    if (pool == NULL)
        return;
    CHECK_STATUS(pmap_create(&other, .isolate = true), PMAP_OK);
    CHECK_STATUS(pmap_map(other, process, in, out, N), PMAP_OK);
    CHECK(out[0] != (int)getpid());
    if (test_processes() > 1) {
        CHECK_STATUS(pmap_create(&third, .error = &error), PMAP_EINVAL);
        CHECK_NAMES(error.text, "isolate");
    }
    pmap_destroy(pool);
    CHECK_STATUS(pmap_map(other, process, in, out, N), PMAP_OK);
    pmap_destroy(other);
}

/* ---- Renewing ---------------------------------------------------------------------------------------- */

static void workers_are_renewed(void)
{
    int cells = fresh_cells(), in[N] = {0}, pids[N];
    const struct plan *plan = make_plan(cells);
    struct pmap_pool *pool;

    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .isolate = true, .thread_initializer = begin_thread, .initarg = plan,
                             .initarg_size = sizeof *plan, .max_tasks_per_worker = 10), PMAP_OK);
    if (pool == NULL)
        return;
    CHECK_STATUS(pmap_map(pool, process, in, pids, N), PMAP_OK);
    for (int i = 0; i < N; i++) {
        int same = 0;
        for (int j = 0; j < N; j++)
            same += pids[j] == pids[i];
        CHECK(same <= 10);
    }
    CHECK(count(cells + THREAD_STARTS) >= N / 10);
    pmap_destroy(pool);
}

/* What should have run on the new worker has failed; those after it get another. */
static void renewed_worker_that_fails_costs_an_item(void)
{
    int cells = fresh_cells(), in[20] = {0}, out[20], failed = 0;
    struct plan plan = {.cells = cells, .thread_death = DEATH_FAIL, .from = WORKERS};
    struct pmap_pool *pool;
    enum pmap_status statuses[20];

    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .isolate = true, .thread_initializer = begin_thread, .initarg = &plan,
                             .initarg_size = sizeof plan, .max_tasks_per_worker = 1), PMAP_OK);
    if (pool == NULL)
        return;
    CHECK_STATUS(pmap_map(pool, ask, in, out, 20, .on_error = PMAP_COLLECT, .statuses = statuses), PMAP_OK);
    for (int i = 0; i < 20; i++)
        failed += statuses[i] == PMAP_EFAILED;
    CHECK(failed >= 20 - pmap_threads(pool) && failed < 20);
    pmap_destroy(pool);
}

/* ---- Ending ------------------------------------------------------------------------------------------ */

static bool is_gone(int pid)
{
    time_t end = time(NULL) + 20;
    char name[64], line[256];

    for (;;) {
        snprintf(name, sizeof name, "/proc/%d/stat", pid);
        FILE *file = fopen(name, "r");
        bool gone = file == NULL || fgets(line, sizeof line, file) == NULL || strstr(line, ") Z ") != NULL;
        if (file)
            fclose(file);
        if (gone || time(NULL) > end)
            return gone;
    }
}

static void nothing_is_left(void)
{
    struct pmap_pool *pool;
    int in[N] = {0}, pids[N], zygotes[N], out[N];

    in[3] = in[60] = DEATH_SEGV;
    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .isolate = true), PMAP_OK);
    if (pool == NULL)
        return;
    struct pmap_error error;
    CHECK_STATUS(pmap_map(pool, die_as, in, out, N, .error = &error), PMAP_ECRASHED);
    CHECK_STATUS(pmap_map(pool, process, in, pids, N), PMAP_OK);
    CHECK_STATUS(pmap_map(pool, parent, in, zygotes, N), PMAP_OK);
    pmap_destroy(pool);
    for (int i = 0; i < N; i++)
        CHECK(is_gone(pids[i]) && is_gone(zygotes[i]));
}

static void program_does_not_see_them(void)
{
    struct pmap_pool *pool;
    int x = 0, y;

    if (test_processes() > 1) {
        test_skip("a launcher may start processes, too");
        return;
    }
    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .isolate = true), PMAP_OK);
    CHECK_STATUS(pmap_apply(pool, process, &y, x), PMAP_OK);
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    pmap_destroy(pool);
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

static void spin(double seconds)
{
    struct timespec begin, now;

    clock_gettime(CLOCK_MONOTONIC, &begin);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((double)(now.tv_sec - begin.tv_sec) + 1e-9 * (double)(now.tv_nsec - begin.tv_nsec) < seconds);
}

/* Long enough for its thread to look after it several times. */
static int square_slowly(int x)
{
    spin(0.015);
    return x * x;
}
PMAP_TASK(square_slowly, int, int);

static void on_tick(int sig) { (void)sig; }

/* A profiler's timer, say: every system call of a thread that waits may return EINTR. This thread has the signal blocked, so that it
 * comes to those that see to the children. */
static void programs_timer_disturbs_nothing(void)
{
    enum { SLOW = 40 };
    int in[SLOW], out[SLOW];
    struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2};
    struct itimerspec often = {.it_interval.tv_nsec = 20000, .it_value.tv_nsec = 20000};
    struct pmap_pool *pool;
    sigset_t tick, mask;
    timer_t timer;

    for (int i = 0; i < SLOW; i++)
        in[i] = i;
    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .isolate = true), PMAP_OK);
    if (pool == NULL)
        return;
    sigaction(SIGUSR2, &action, NULL); /* for good: valgrind may deliver one late */
    sigemptyset(&tick);
    sigaddset(&tick, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &tick, &mask);
    CHECK_INT(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    timer_settime(timer, 0, &often, NULL);
    CHECK_STATUS(pmap_map(pool, square_slowly, in, out, SLOW), PMAP_OK);
    timer_delete(timer);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    for (int i = 0; i < SLOW; i++)
        CHECK_INT(out[i], i * i);
    pmap_destroy(pool);
}

static void begin_slowly(const void *initarg)
{
    (void)initarg;
    spin(0.6);
}

/* A time limit is for items, not for what a worker does before the first. */
static void slow_initializer_costs_no_item(void)
{
    enum { FEW = 8 };
    int in[FEW] = {0}, out[FEW];
    enum pmap_status statuses[FEW];
    struct pmap_pool *pool;

    in[3] = DEATH_ABORT;
    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .isolate = true, .thread_initializer = begin_slowly), PMAP_OK);
    if (pool == NULL)
        return;
    CHECK_STATUS(pmap_map(pool, die_as, in, out, FEW, .timeout = 0.4, .on_error = PMAP_COLLECT, .statuses = statuses), PMAP_OK);
    for (int i = 0; i < FEW; i++)
        CHECK_STATUS(statuses[i], i == 3 ? PMAP_ECRASHED : PMAP_OK);
    pmap_destroy(pool);
}

enum { OVERSTAYS = 1, FOLLOWS };
#define OVERSTAY 0.5 /* seconds that an item has */

/* The first ends when its time is over and SIGKILL underway, for its zygote is stopped; it is delivered a little later, while the
 * second runs, which needs far less than its time. */
static int overstay(int role)
{
    int zygote = (int)getppid();

    if (role == FOLLOWS)
        spin(0.1);
    if (role != OVERSTAYS)
        return role;
    signal(SIGTERM, SIG_IGN);
    kill(zygote, SIGSTOP);
    spin(OVERSTAY + 1.3);
    if (fork() == 0) {
        setsid();
        spin(0.05);
        kill(zygote, SIGCONT);
        _exit(0);
    }
    return role;
}
PMAP_TASK(overstay, int, int);

static void late_sigkill_hits_nobody_else(void)
{
    int in[] = {0, OVERSTAYS, FOLLOWS, 0}, out[4];
    enum pmap_status statuses[4];
    struct pmap_pool *pool;

    if (test_processes() > 1) {
        test_skip("all four are for one worker");
        return;
    }
    CHECK_STATUS(pmap_create(&pool, .threads = 1, .isolate = true), PMAP_OK);
    CHECK_STATUS(pmap_map(pool, overstay, in, out, 4, .chunksize = 1, .timeout = OVERSTAY, .on_error = PMAP_COLLECT, .statuses = statuses), PMAP_OK);
    for (int i = 0; i < 4; i++)
        if (i != 1)
            CHECK_STATUS(statuses[i], PMAP_OK);
    pmap_destroy(pool);
}

/* pclose() waits for a process that ends when nobody has the pipe any more. */
static void programs_pipes_are_not_kept(void)
{
    struct pmap_pool *pool;
    int x = 0, y;

    FILE *pipe = popen("cat >/dev/null", "w");
    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .isolate = true), PMAP_OK);
    if (pool)
        CHECK_STATUS(pmap_apply(pool, process, &y, x), PMAP_OK);
    CHECK(pipe && pclose(pipe) == 0);
    pmap_destroy(pool);
}

/* Runs a child of its own, and hears of it as the program would. */
static int run_command(int x)
{
    return system("exit 3") == 3 << 8 ? x : -1;
}
PMAP_TASK(run_command, int, int);

static void items_may_run_commands(void)
{
    struct pmap_pool *pool;
    int x = 5, y;

    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .isolate = true), PMAP_OK);
    if (pool) {
        CHECK_STATUS(pmap_apply(pool, run_command, &y, x), PMAP_OK);
        CHECK_INT(y, 5);
    }
    pmap_destroy(pool);
}

/* Leaves of ones are folded; two of them are not merged in our lifetime. */
static int one(int x) { return 1 + 0 * x; }
PMAP_TASK(one, int, int);

static int merge_endlessly(int a, int b)
{
    if (a >= 64 && b >= 64) {
        mark(MERGES);
        die(DEATH_LOOP);
    }
    return a + b;
}
PMAP_OP(merge_endlessly, int);

static void *terminate_when_it_merges(void *pool)
{
    board_await(MERGES, 1);
    pmap_terminate(pool);
    return NULL;
}

/* A merge is cancelled like an item. */
static void endless_merge_is_ended(void)
{
    enum { MANY = 100000 };
    int *in = calloc(MANY, sizeof *in), sum;
    struct pmap_pool *pool;
    pthread_t thread;

    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .isolate = true), PMAP_OK);
    if (pool && CHECK(in && pthread_create(&thread, NULL, terminate_when_it_merges, pool) == 0)) {
        CHECK_STATUS(pmap_reduce(pool, one, merge_endlessly, in, &sum, MANY), PMAP_ECANCELLED);
        pthread_join(thread, NULL);
    }
    pmap_destroy(pool);
    free(in);
}

static const struct test tests[] = {
    TEST(each_worker_is_initialized),
    TEST(failing_initializers_fail_the_pool),
    TEST(globals_have_the_values_of_creation),
    TEST(ranks_must_agree),
    TEST(pools_side_by_side),
    TEST(workers_are_renewed),
    TEST(renewed_worker_that_fails_costs_an_item),
    TEST(nothing_is_left),
    TEST(program_does_not_see_them),
    TEST(programs_timer_disturbs_nothing),
    TEST(slow_initializer_costs_no_item),
    TEST(late_sigkill_hits_nobody_else),
    TEST(programs_pipes_are_not_kept),
    TEST(items_may_run_commands),
    TEST(endless_merge_is_ended),
    {NULL, NULL},
};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t2 r2 r2t2 v3");
}
