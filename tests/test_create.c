/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap_create and pmap_destroy: every rank calls them, gets the same status, and is left as it was before.
 *
 * All ranks run these functions in step. Where a pool comes to life, the ranks other than its root stay inside
 * pmap_create until the root destroys it.
 *
 * Ported from CPython's _TestPool: test_pool_worker_lifetime in part, size -1 rejected (0 is our default); from
 * mpi4py.futures: every rank as root, bad roots rejected, three pools with 100 tasks each do not mix; from
 * Distributed.jl: the master can be kept free of work.
 */
#include "board.h"
#include "harness.h"

#include <dirent.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef HAVE_OPENMP
#define THREADS test_threads()
#else
#define THREADS 1
#endif

static int square(int x) { return x * x; }
PMAP_TASK(square, int, int);

/* This process's rank in a pool, as far as it matters here: virtual ranks are all in this one. */
static bool is_root(int root) { return test_processes() == 1 || test_rank() == root; }

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
static void live(int root)
{
    struct pmap_pool *pool = NULL;
    enum pmap_status status = pmap_create(&pool, .threads = test_threads(), .root = root);

    CHECK_STATUS(status, PMAP_OK);
    CHECK((pool != NULL) == is_root(root));
    if (pool != NULL)
        CHECK(works(pool));
    pmap_destroy(pool);
}

/* ---- Pools that live --------------------------------------------------------------------------------- */

static void create_use_destroy(void) { live(0); }

static void every_rank_as_root(void)
{
    for (int root = 0; root < test_ranks(); root++)
        live(root);
}

static void pool_knows_its_ranks_and_threads(void)
{
    struct pmap_pool *pool;

    CHECK_STATUS(pmap_create(&pool, .threads = test_threads()), PMAP_OK);
    if (pool != NULL) {
        CHECK_INT(pmap_ranks(pool), test_ranks());
        CHECK_INT(pmap_threads(pool), test_ranks() * THREADS);
    }
    pmap_destroy(pool);
}

/* What ranks other than the root have. */
static void null_pool_has_no_ranks_and_threads(void)
{
    CHECK_INT(pmap_ranks(NULL), 0);
    CHECK_INT(pmap_threads(NULL), 0);
}

static void threads_may_differ_between_ranks(void)
{
    struct pmap_pool *pool;

    CHECK_STATUS(pmap_create(&pool, .threads = test_rank() == 0 ? 3 : 1), PMAP_OK);
    if (pool != NULL) {
        if (THREADS > 1 && test_processes() == test_ranks())
            CHECK_INT(pmap_threads(pool), 3 + test_ranks() - 1);
        CHECK(works(pool));
    }
    pmap_destroy(pool);
}

static void library_chooses_the_threads(void)
{
    struct pmap_pool *pool;

    CHECK_STATUS(pmap_create(&pool), PMAP_OK);
    if (pool != NULL) {
        CHECK(pmap_threads(pool) >= test_ranks());
        CHECK(works(pool));
    }
    pmap_destroy(pool);
}

static void success_leaves_the_error_alone(void)
{
    struct pmap_error error, before;
    struct pmap_pool *pool;

    memset(&error, 0xa5, sizeof error);
    memcpy(&before, &error, sizeof error);
    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .error = &error), PMAP_OK);
    pmap_destroy(pool);
    CHECK(memcmp(&before, &error, sizeof error) == 0);
}

static void options_of_an_older_caller_are_accepted(void)
{
    struct pmap_pool *pool;
    struct pmap_create_options options = {.size = offsetof(struct pmap_create_options, root), .pool = &pool,
                                          .threads = test_threads(), .root = -1,
                                          .error = (struct pmap_error *)&options};

    CHECK_STATUS(pmap_create_with(&options), PMAP_OK);
    CHECK((pool != NULL) == is_root(0));
    if (pool != NULL)
        CHECK(works(pool));
    pmap_destroy(pool);
}

/* Where an item ran is seen twice: by its process, and by the rank in the error of an item that fails. */
static int where(int x) { return x < 0 ? pmap_fail(1, "here") : getpid(); }
PMAP_TASK(where, int, int);

static int items_on_the_root(struct pmap_pool *pool)
{
    int in[200] = {0}, pids[200], fails = -1, pid, n = 0;
    struct pmap_error error;

    CHECK_STATUS(pmap_map(pool, where, in, pids, 200, .chunksize = 1), PMAP_OK);
    for (int i = 0; i < 200; i++)
        n += test_processes() > 1 && pids[i] == getpid();
    for (int i = 0; i < 50; i++) {
        CHECK_STATUS(pmap_map(pool, where, &fails, &pid, 1, .error = &error), PMAP_EFAILED);
        n += error.rank == 0;
    }
    return n;
}

static void dedicated_root_runs_no_items(void)
{
    struct pmap_pool *pool;

    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .dedicated_root = test_rank() == 0), PMAP_OK);
    if (pool != NULL && test_ranks() > 1) {
        CHECK_INT(pmap_threads(pool), (test_ranks() - 1) * THREADS);
        CHECK_INT(items_on_the_root(pool), 0);
    }
    if (pool != NULL)
        CHECK(works(pool));
    pmap_destroy(pool);
}

static void lonely_root_works_even_if_dedicated(void)
{
    struct pmap_pool *pool;

    if (test_ranks() > 1) {
        test_skip("there are several ranks");
        return;
    }
    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .dedicated_root = true), PMAP_OK);
    CHECK_INT(pmap_threads(pool), THREADS);
    CHECK(works(pool));
    pmap_destroy(pool);
}

/* Create two pools of two threads on one CPU; how often stderr says that this is narrow. */
static int warnings_of_two_narrow_pools(void)
{
    cpu_set_t before, one;
    size_t first = 0;
    int stderr_before = dup(STDERR_FILENO), n = 0;
    FILE *said = tmpfile();
    char line[500];

    sched_getaffinity(0, sizeof before, &before);
    while (!CPU_ISSET(first, &before))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    sched_setaffinity(0, sizeof one, &one);
    dup2(fileno(said), STDERR_FILENO);
    for (int i = 0; i < 2; i++) {
        struct pmap_pool *pool = NULL;
        pmap_create(&pool, .threads = 2);
        pmap_destroy(pool);
    }
    dup2(stderr_before, STDERR_FILENO);
    close(stderr_before);
    sched_setaffinity(0, sizeof before, &before);
    rewind(said);
    while (fgets(line, sizeof line, said))
        n += strstr(line, "CPUs") != NULL;
    fclose(said);
    return n;
}

/* Other tests may have been the first to run into it. */
static void threads_crowded_on_few_cpus_are_warned_of_once(void)
{
    if (test_processes() > 1 || sysconf(_SC_NPROCESSORS_ONLN) < 2) {
        test_skip("several processes, or one CPU");
        return;
    }
    CHECK(warnings_of_two_narrow_pools() <= 1);
    CHECK_INT(warnings_of_two_narrow_pools(), 0);
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

static int threads_and_files(void) { return entries("/proc/self/task") + entries("/proc/self/fd"); }

/* Threads of OpenMP may take a moment to go; this waits for them for ten seconds at most. */
static int settle_at(int wanted)
{
    time_t end = time(NULL) + 10;

    while (threads_and_files() > wanted && time(NULL) < end)
        sched_yield();
    return threads_and_files();
}

static void create_and_destroy_leave_no_threads_and_files_behind(void)
{
    int before, after;

    for (int i = 0; i < 3; i++)
        live(0);
    before = threads_and_files();
    for (int i = 0; i < 20; i++)
        live(i % test_ranks());
    after = settle_at(before);
    CHECK_SAYING(after <= before, "%d threads and open files grew to %d", before, after);
}

static void destroy_of_null_is_fine(void)
{
    pmap_destroy(NULL);
    pmap_destroy(NULL);
}

/* ---- Pools side by side ------------------------------------------------------------------------------
 *
 * All ranks go through these functions. The ranks other than the root stay in the first pmap_create until the last of the
 * pools has ended; then they come to the lines of the others, and must not wait there for a root that has been there. */

static struct pmap_pool *another(void)
{
    struct pmap_error error;
    struct pmap_pool *pool = (struct pmap_pool *)&error;

    CHECK_STATUS(pmap_create(&pool, .threads = THREADS, .error = &error), PMAP_OK);
    CHECK((pool != NULL) == is_root(0));
    return pool;
}

static bool all_work(struct pmap_pool *const pools[], int n)
{
    bool right = true;

    for (int i = 0; i < n; i++)
        right &= pools[i] == NULL || works(pools[i]);
    return right;
}

static void second_pool_is_served_by_the_same_ranks(void)
{
    struct pmap_pool *first = another(), *second = another();

    if (first != NULL && second != NULL) {
        CHECK(first != second);
        CHECK_INT(pmap_ranks(second), pmap_ranks(first));
        CHECK_INT(pmap_threads(second), pmap_threads(first));
        CHECK(works(first) && works(second) && works(first));
    }
    pmap_destroy(second);
    CHECK(all_work(&first, 1));
    pmap_destroy(first);
    live(0);
}

static void pools_end_in_any_order(void)
{
    static const int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

    for (size_t k = 0; k < sizeof orders / sizeof *orders; k++) {
        struct pmap_pool *pools[3];
        for (int i = 0; i < 3; i++)
            pools[i] = another();
        for (int i = 0; i < 3; i++) {
            CHECK(all_work(pools, 3));
            pmap_destroy(pools[orders[k][i]]);
            pools[orders[k][i]] = NULL;
        }
    }
    live(0);
}

static void second_pool_comes_and_goes_while_the_first_lives(void)
{
    struct pmap_pool *first = another(), *second;

    for (int i = 0; i < 50; i++) {
        second = another();
        CHECK(all_work(&second, 1));
        pmap_destroy(second);
    }
    CHECK(all_work(&first, 1));
    pmap_destroy(first);
    live(0);
}

static void first_pool_comes_and_goes_while_another_lives(void)
{
    struct pmap_pool *old = another(), *new;

    for (int i = 0; i < 50; i++) {
        new = another();
        pmap_destroy(old);
        CHECK(all_work(&new, 1));
        old = new;
    }
    pmap_destroy(old);
    live(0);
}

/* Each tells the others apart by a line of its own, as in a program where libraries have pools. */
static void pools_of_other_lines_live_side_by_side(void)
{
    struct pmap_pool *pools[4] = {NULL};

    CHECK_STATUS(pmap_create(&pools[0], .threads = THREADS), PMAP_OK);
    CHECK_STATUS(pmap_create(&pools[1], .threads = THREADS), PMAP_OK);
    CHECK_STATUS(pmap_create(&pools[2]), PMAP_OK); /* as many threads as there are */
    pmap_destroy(pools[1]);
    CHECK_STATUS(pmap_create(&pools[3], .threads = THREADS), PMAP_OK);
    pools[1] = NULL;
    CHECK(all_work(pools, 4));
    if (pools[0] != NULL && test_processes() > 1)
        CHECK_INT(pmap_threads(pools[2]), pmap_threads(pools[0]));
    for (int i = 0; i < 4; i++)
        pmap_destroy(pools[i]);
    live(0);
}

/* However many there may be: where one more is refused, it is on every rank. The root, who comes first, leaves what it was
 * told on the board. */
static void many_pools_live_side_by_side(void)
{
    enum { MANY = 40, FEW = 10 };
    struct pmap_pool *pools[MANY];
    struct pmap_error error;

    board_clear();
    for (int i = 0; i < MANY; i++) {
        error.text[0] = '\0';
        enum pmap_status status = pmap_create(&pools[i], .threads = THREADS, .error = &error);
        if (is_root(0))
            atomic_store(&board()[i], (int)status);
        CHECK_STATUS(status, (enum pmap_status)atomic_load(&board()[i]));
        CHECK(status == PMAP_OK || (i >= FEW && status == PMAP_EBUSY && strncmp(error.text, "pmap", 4) == 0));
        CHECK((pools[i] != NULL) == (status == PMAP_OK && is_root(0)));
    }
    CHECK(all_work(pools, MANY));
    for (int i = 0; i < MANY; i++)
        pmap_destroy(pools[i]);
    live(0);
}

static void *use_pool(void *argument)
{
    struct pmap_pool *pool = argument;
    bool right = true;

    for (int i = 0; i < 20; i++)
        right &= works(pool);
    return right ? pool : NULL;
}

static void three_pools_do_not_mix(void)
{
    struct pmap_pool *pools[3];
    pthread_t threads[3];
    void *result;

    for (int i = 0; i < 3; i++)
        pools[i] = another();
    for (int i = 0; i < 3 && pools[i] != NULL; i++)
        if (pthread_create(&threads[i], NULL, use_pool, pools[i]) != 0)
            abort();
    for (int i = 0; i < 3 && pools[i] != NULL; i++) {
        pthread_join(threads[i], &result);
        CHECK(result == pools[i]);
    }
    for (int i = 0; i < 3; i++)
        pmap_destroy(pools[i]);
}

static int slow_square(int x) { return pmap_cancelled() ? 0 : x * x; }
PMAP_TASK(slow_square, int, int);

/* What becomes of one pool is nothing to the others. */
static void closed_and_terminated_pools_leave_others_alone(void)
{
    struct pmap_pool *first = another(), *second = another();
    struct pmap_error error;
    int in[100] = {0}, out[100], y;

    for (int i = 0; i < 20 && first != NULL; i++) {
        struct pmap_result *mine = pmap_map_async(second, slow_square, in, out, 100, .chunksize = 1);
        if (i == 0) {
            CHECK_STATUS(pmap_close(first), PMAP_OK);
            CHECK_STATUS(pmap_apply(first, square, &y, 3, .error = &error), PMAP_ECLOSED);
        }
        CHECK_STATUS(pmap_terminate(first), PMAP_OK);
        CHECK_STATUS(pmap_result_get(mine, PMAP_FOREVER, &error), PMAP_OK);
        pmap_result_free(mine);
        if (i == 10)
            CHECK_STATUS(pmap_join(first), PMAP_OK);
    }
    pmap_destroy(first);
    CHECK(all_work(&second, 1));
    pmap_destroy(second);
    live(0);
}

/* What a pool has shared goes with it, though its ranks live on. */
static void shared_data_is_freed_with_its_pool(void)
{
    static const char data[] = "for all of you";
    struct pmap_handle handle = {0, 0};
    struct pmap_pool *first = another(), *second = another();

    if (second != NULL) {
        CHECK_STATUS(pmap_share(second, data, sizeof data, &handle), PMAP_OK);
        CHECK(pmap_shared(handle) != NULL);
    }
    pmap_destroy(second);
    if (first != NULL)
        CHECK(pmap_shared(handle) == NULL);
    pmap_destroy(first);
    CHECK(pmap_shared(handle) == NULL);
}

/* A function that the root calls wants a pool of its own; the other ranks never come there. */
static void second_pool_of_the_root_alone_costs_nobody_a_pool(void)
{
    struct pmap_pool *first = another(), *second = NULL;

    if (first != NULL) {
        CHECK_STATUS(pmap_create(&second, .threads = THREADS), PMAP_OK);
        CHECK(all_work(&second, 1));
    }
    pmap_destroy(second);
    pmap_destroy(first);
    live(0);
    live(0);
}

/* another() is one line of the program for all that it creates, on whichever ranks. */
static void function_makes_pools_for_all_and_for_the_root_alone(void)
{
    for (int i = 0; i < 5; i++) {
        struct pmap_pool *pools[2] = {another(), NULL};
        if (pools[0] != NULL)
            pools[1] = another();
        CHECK(all_work(pools, 2));
        pmap_destroy(pools[i % 2]);
        pmap_destroy(pools[1 - i % 2]);
    }
    struct pmap_pool *first = another(), *second = another(), *third = first ? another() : NULL;
    CHECK(all_work((struct pmap_pool *[]){first, second, third}, 3));
    pmap_destroy(second);
    pmap_destroy(first);
    pmap_destroy(third);
    live(0);
}

static void never_called(const void *initarg) { (void)initarg; }

/* What a second pool may not ask for is refused on every rank, and the first is none the worse for it. */
static void check_second_refused(const struct pmap_create_options *wish, enum pmap_status expected, const char *word)
{
    struct pmap_pool *first = another(), *second = (struct pmap_pool *)&first;
    struct pmap_error error = {.status = PMAP_OK};
    struct pmap_create_options options = *wish;

    options.size = sizeof options;
    options.pool = &second;
    options.error = &error;
    options.where = "a line of its own";
    CHECK_STATUS(pmap_create_with(&options), expected);
    CHECK_STATUS(error.status, expected);
    CHECK(second == NULL);
    CHECK(strncmp(error.text, "pmap", 4) == 0);
    if (first != NULL) {
        CHECK_NAMES(error.text, word);
        CHECK(works(first));
    }
    pmap_destroy(first);
    live(0);
}

static void second_pool_of_another_kind_is_refused_on_all(void)
{
    int root = test_ranks() - 1;

    if (test_processes() == 1) {
        test_skip("pools of one process are of any kind");
        return;
    }
    check_second_refused(&(struct pmap_create_options){.root = root}, PMAP_EBUSY, "root");
    check_second_refused(&(struct pmap_create_options){.threads = THREADS + 1}, PMAP_EINVAL, "threads");
    check_second_refused(&(struct pmap_create_options){.dedicated_root = true}, PMAP_EINVAL, "dedicated_root");
    check_second_refused(&(struct pmap_create_options){.initializer = never_called}, PMAP_EINVAL, "initializer");
    check_second_refused(&(struct pmap_create_options){.thread_initializer = never_called}, PMAP_EINVAL, "initializer");
    check_second_refused(&(struct pmap_create_options){.max_tasks_per_worker = 5}, PMAP_EINVAL, "max_tasks_per_worker");
    check_second_refused(&(struct pmap_create_options){.threads = -3}, PMAP_EINVAL, "-3");
    check_second_refused(&(struct pmap_create_options){.root = -1}, PMAP_EBUSY, "-1");
}

/* A loop whose second pool is refused now and then has the same statuses on every rank, round by round. */
static void statuses_of_a_loop_are_the_same_on_all(void)
{
    struct pmap_pool *first = another();
    struct pmap_error error;

    for (int i = 0; i < 12; i++) {
        struct pmap_pool *second;
        bool good = i % 3 != 1 || test_processes() == 1;
        int threads = good ? THREADS : THREADS + 1;
        CHECK_STATUS(pmap_create(&second, .threads = threads, .error = &error), good ? PMAP_OK : PMAP_EINVAL);
        CHECK(all_work(&second, 1));
        pmap_destroy(second);
    }
    pmap_destroy(first);
    live(0);
}

/* ---- Arguments that make no sense -------------------------------------------------------------------- */

/* Every rank is refused, for the same reason, and the next pool is none the worse for it. */
static void check_refused(int threads, int root, const char *argument, const char *value)
{
    struct pmap_error error = {.text = ""};
    struct pmap_pool *pool = (struct pmap_pool *)&error;
    enum pmap_status status = pmap_create(&pool, .threads = threads, .root = root, .error = &error);

    CHECK_STATUS(status, PMAP_EINVAL);
    CHECK_STATUS(error.status, PMAP_EINVAL);
    CHECK(pool == NULL);
    CHECK_NAMES(error.text, argument);
    CHECK_NAMES(error.text, value);
    if (status == PMAP_OK)
        pmap_destroy(pool); /* for the sake of the next test */
    live(0);
}

static void negative_threads_are_refused(void)
{
    check_refused(-1, 0, "threads", "-1");
    check_refused(INT_MIN, 0, "threads", "-2147483648");
}

static void negative_threads_on_one_rank_are_refused_on_all(void)
{
    if (test_processes() == 1) {
        test_skip("there is one process");
        return;
    }
    check_refused(test_rank() == test_processes() - 1 ? -7 : 1, 0, "threads", "-7");
    check_refused(test_rank() == 0 ? -8 : 1, 0, "threads", "-8");
}

static void root_out_of_range_is_refused(void)
{
    char ranks[16];

    snprintf(ranks, sizeof ranks, "%d", test_ranks());
    check_refused(test_threads(), test_ranks(), "root", ranks);
    check_refused(test_threads(), -1, "root", "-1");
    check_refused(test_threads(), INT_MAX, "root", "2147483647");
}

static void root_out_of_range_on_one_rank_is_refused_on_all(void)
{
    if (test_processes() == 1) {
        test_skip("there is one process");
        return;
    }
    check_refused(test_threads(), test_rank() == 1 ? -1 : 0, "root", "-1");
}

static void different_roots_are_refused_on_all(void)
{
    if (test_processes() == 1) {
        test_skip("there is one process");
        return;
    }
    check_refused(test_threads(), test_rank() == 0 ? 0 : 1, "root", "1");
    check_refused(test_threads(), test_rank() == 0 ? 1 : 0, "root", "1");
}

static void null_pool_is_refused(void)
{
    struct pmap_error error = {.status = PMAP_OK};

    CHECK_STATUS(pmap_create(NULL, .error = &error), PMAP_EINVAL);
    CHECK_STATUS(error.status, PMAP_EINVAL);
    CHECK_NAMES(error.text, "pool");
    CHECK_NAMES(error.text, "NULL");
    live(0);
}

static void null_pool_on_one_rank_is_refused_on_all(void)
{
    struct pmap_error error = {.status = PMAP_OK};
    struct pmap_pool *pool = (struct pmap_pool *)&error;
    bool mine = test_rank() == test_processes() - 1;

    CHECK_STATUS(pmap_create(mine ? NULL : &pool, .error = &error), PMAP_EINVAL);
    CHECK(mine || pool == NULL);
    CHECK_NAMES(error.text, "pool");
    live(0);
}

/* Registered on the root when the pool lives, so that the other processes cannot know it. The root is dedicated, so
 * that they must run it. */
static void run_late(size_t n, const void *args, void *results, size_t *at)
{
    (void)args;
    (void)at;
    memset(results, 0, n * sizeof(int));
}

static struct pmap_task late = {.name = "late", .signature = "int (int)", .arguments = 1, .args_size = sizeof(int),
                                .result_size = sizeof(int), .run = run_late};

static void check_late_is_refused(struct pmap_pool *pool)
{
    int in[10] = {0}, out[10];
    struct pmap_error error = {.status = PMAP_OK};
    const struct pmap_map_options options = {.size = sizeof options, .n = 10, .error = &error};

    CHECK_STATUS(pmap_map_with(pool, &late, in, sizeof *in, out, sizeof *out, &options), PMAP_EINVAL);
    CHECK_STATUS(error.status, PMAP_EINVAL);
    CHECK_NAMES(error.text, "late");
    CHECK(works(pool));
}

static void task_that_a_rank_does_not_know_is_refused(void)
{
    struct pmap_pool *pool;

    if (test_processes() == 1) {
        test_skip("there is one process");
        return;
    }
    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .dedicated_root = true), PMAP_OK);
    pmap_task_register(&late); /* on the other ranks when the pool is over, or the next one would not fit */
    if (pool != NULL)
        check_late_is_refused(pool);
    pmap_destroy(pool);
    live(0);
}

/* What pmap_create said inside a task. */
struct refusal {
    enum pmap_status status;
    bool null;
    char text[200];
};
static struct refusal create_inside(int x)
{
    struct refusal r = {.status = PMAP_OK};
    struct pmap_error error = {.status = PMAP_OK};
    struct pmap_pool *pool = (struct pmap_pool *)&x;

    r.status = pmap_create(&pool, .error = &error);
    r.null = pool == NULL;
    snprintf(r.text, sizeof r.text, "%.199s", error.text);
    return r;
}
PMAP_TASK(create_inside, struct refusal, int);

static void create_inside_a_task_is_refused(void)
{
    struct pmap_pool *pool;
    struct refusal refusals[20];
    int in[20] = {0};

    CHECK_STATUS(pmap_create(&pool, .threads = test_threads()), PMAP_OK);
    if (pool != NULL) {
        CHECK_STATUS(pmap_map(pool, create_inside, in, refusals, 20, .chunksize = 1), PMAP_OK);
        for (int i = 0; i < 20; i++) {
            CHECK_STATUS(refusals[i].status, PMAP_EINVAL);
            CHECK(refusals[i].null);
            CHECK_NAMES(refusals[i].text, "task");
        }
        CHECK(works(pool));
    }
    pmap_destroy(pool);
}

static atomic_int refused_inside, strange_inside;

static void create_in_initializer(const void *initarg)
{
    struct refusal r = create_inside(0);

    (void)initarg;
    bool right = r.status == PMAP_EINVAL && r.null && strstr(r.text, "initializer");
    atomic_fetch_add(right ? &refused_inside : &strange_inside, 1);
}

static void create_inside_an_initializer_is_refused(void)
{
    struct pmap_pool *pool;

    atomic_store(&refused_inside, 0);
    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .initializer = create_in_initializer,
                             .thread_initializer = create_in_initializer), PMAP_OK);
    if (pool != NULL)
        CHECK(works(pool));
    pmap_destroy(pool);
    CHECK_INT(atomic_load(&refused_inside), test_ranks() / test_processes() * (1 + THREADS));
    CHECK_INT(atomic_load(&strange_inside), 0);
}

static const struct test tests[] = {
    TEST(destroy_of_null_is_fine),
    TEST(create_use_destroy),
    TEST(every_rank_as_root),
    TEST(pool_knows_its_ranks_and_threads),
    TEST(null_pool_has_no_ranks_and_threads),
    TEST(threads_may_differ_between_ranks),
    TEST(library_chooses_the_threads),
    TEST(success_leaves_the_error_alone),
    TEST(options_of_an_older_caller_are_accepted),
    TEST(dedicated_root_runs_no_items),
    TEST(lonely_root_works_even_if_dedicated),
    TEST(threads_crowded_on_few_cpus_are_warned_of_once),
    TEST(create_and_destroy_leave_no_threads_and_files_behind),
    TEST(second_pool_is_served_by_the_same_ranks),
    TEST(pools_end_in_any_order),
    TEST(second_pool_comes_and_goes_while_the_first_lives),
    TEST(first_pool_comes_and_goes_while_another_lives),
    TEST(pools_of_other_lines_live_side_by_side),
    TEST(many_pools_live_side_by_side),
    TEST(three_pools_do_not_mix),
    TEST(closed_and_terminated_pools_leave_others_alone),
    TEST(shared_data_is_freed_with_its_pool),
    TEST(second_pool_of_the_root_alone_costs_nobody_a_pool),
    TEST(function_makes_pools_for_all_and_for_the_root_alone),
    TEST(second_pool_of_another_kind_is_refused_on_all),
    TEST(statuses_of_a_loop_are_the_same_on_all),
    TEST(negative_threads_are_refused),
    TEST(negative_threads_on_one_rank_are_refused_on_all),
    TEST(root_out_of_range_is_refused),
    TEST(different_roots_are_refused_on_all),
    TEST(null_pool_is_refused),
    TEST(null_pool_on_one_rank_is_refused_on_all),
    TEST(task_that_a_rank_does_not_know_is_refused),
    TEST(create_inside_a_task_is_refused),
    TEST(create_inside_an_initializer_is_refused),
    TEST(root_out_of_range_on_one_rank_is_refused_on_all),
    {NULL, NULL},
};

int main(int argc, char *argv[]) { return test_main(argc, argv, tests, ALL_SHAPES); }
