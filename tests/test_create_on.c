/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap_create_on in programs that own MPI: a pool for one phase of an SPMD code, on any communicator, at every
 * thread level (the program's argument: single, funneled or multiple).
 *
 * Ported from mpi4py.futures: every rank as root, bad roots rejected, an intercommunicator rejected; from
 * Distributed.jl: a pool over a subset of ranks uses that subset only.
 */
#include "harness.h"

#include <pmap_mpi.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int square(int x) { return x * x; }
PMAP_TASK(square, int, int);

/* The rank in MPI_COMM_WORLD that runs an item. */
static int world_rank(int x)
{
    (void)x;
    return test_rank();
}
PMAP_TASK(world_rank, int, int);

static enum pmap_status status_before_init; /* what pmap_create_on said before MPI_Init */

static int size_of(MPI_Comm comm)
{
    int size;

    MPI_Comm_size(comm, &size);
    return size;
}

static int rank_in(MPI_Comm comm)
{
    int rank;

    MPI_Comm_rank(comm, &rank);
    return rank;
}

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

/* One whole life of a pool on comm. */
static void live(MPI_Comm comm, int root)
{
    struct pmap_pool *pool = NULL;

    CHECK_STATUS(pmap_create_on(comm, root, &pool, .threads = test_threads()), PMAP_OK);
    CHECK((pool != NULL) == (rank_in(comm) == root));
    if (pool != NULL) {
        CHECK_INT(pmap_ranks(pool), size_of(comm));
        CHECK(works(pool));
    }
    pmap_destroy(pool);
}

/* ---- All kinds of calls ------------------------------------------------------------------------------
 *
 * Where the program owns MPI below MPI_THREAD_MULTIPLE they go on inside pmap calls, and callbacks are called there. */

static int fails_at_7(int x) { return x == 7 ? pmap_fail(7, "seven") : x; }
PMAP_TASK(fails_at_7, int, int);

static int endless(int x)
{
    while (!pmap_cancelled())
        ;
    return x;
}
PMAP_TASK(endless, int, int);

static int add(int a, int b) { return a + b; }
PMAP_OP(add, int);

static int from_shared(struct pmap_handle handle)
{
    const int *shared = pmap_shared(handle);
    return shared[1];
}
PMAP_TASK(from_shared, int, struct pmap_handle);

static struct pmap_result *other; /* a call that is not ready */
static struct pmap_iter *stream;
static enum pmap_status looks[3];
static int called;

/* A callback may look, with a timeout of 0. */
static void looks_around(void *user, void *out, size_t n)
{
    int y;
    (void)user;
    (void)out;
    (void)n;
    called++;
    looks[0] = pmap_result_wait(other, 0);
    looks[1] = pmap_wait(&other, 1, PMAP_ALL, 0, NULL);
    looks[2] = pmap_iter_next(stream, &y, 0);
    if (looks[2] == PMAP_OK)
        looks[2] = PMAP_ETIMEOUT; /* an item may be ready */
}

static void use_calls(struct pmap_pool *pool)
{
    int in[50], out[50], never[50], y, sum = 0;
    enum pmap_status status;

    for (int i = 0; i < 50; i++)
        in[i] = i;
    stream = pmap_imap(pool, square, PMAP_ARRAY(in, 50));
    other = pmap_map_async(pool, fails_at_7, in, never, 50, .retries = 1, .retry_delay = 1e6);
    struct pmap_result *r = pmap_map_async(pool, square, in, out, 50, .callback = looks_around);
    CHECK_STATUS(pmap_result_get(r, PMAP_FOREVER, NULL), PMAP_OK);
    CHECK_INT(called, 1);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(looks[i], PMAP_ETIMEOUT);
    pmap_result_cancel(other);
    CHECK(pmap_result_get(other, PMAP_FOREVER, &(struct pmap_error){0}) != PMAP_OK);
    while ((status = pmap_iter_next(stream, &y, PMAP_FOREVER)) == PMAP_OK)
        sum++;
    CHECK_STATUS(status, PMAP_END);
    CHECK(sum >= 49);
    pmap_iter_free(stream);
    pmap_result_free(r);
    pmap_result_free(other);

    CHECK_STATUS(pmap_reduce(pool, square, add, in, &y, 50), PMAP_OK);
    CHECK_INT(y, 49 * 50 * 99 / 6);
    struct pmap_handle handle;
    CHECK_STATUS(pmap_share(pool, in, sizeof in, &handle), PMAP_OK);
    CHECK_STATUS(pmap_apply(pool, from_shared, &y, handle), PMAP_OK);
    CHECK_INT(y, 1);
    struct pmap_error error;
    CHECK_STATUS(pmap_map(pool, fails_at_7, in, out, 50, .retries = 2, .error = &error), PMAP_EFAILED);
    CHECK_INT(error.item, 7);
    r = pmap_map_async(pool, endless, in, never, 50);
    pmap_terminate(pool);
    CHECK_STATUS(pmap_result_get(r, PMAP_FOREVER, &error), PMAP_ECANCELLED);
    pmap_result_free(r);
}

static void every_kind_of_call_works(void)
{
    struct pmap_pool *pool = NULL;

    called = 0;
    CHECK_STATUS(pmap_create_on(MPI_COMM_WORLD, 0, &pool, .threads = test_threads()), PMAP_OK);
    if (pool != NULL)
        use_calls(pool);
    pmap_destroy(pool);
}

/* ---- Pools on all kinds of communicators ------------------------------------------------------------- */

static void pool_on_world(void) { live(MPI_COMM_WORLD, 0); }

static void every_rank_as_root(void)
{
    for (int root = 0; root < size_of(MPI_COMM_WORLD); root++)
        live(MPI_COMM_WORLD, root);
}

static void pmap_create_takes_the_programs_mpi(void)
{
    struct pmap_pool *pool;
    int root = size_of(MPI_COMM_WORLD) - 1, up = 0, over = 1;

    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .root = root), PMAP_OK);
    CHECK((pool != NULL) == (rank_in(MPI_COMM_WORLD) == root));
    if (pool != NULL) {
        CHECK_INT(pmap_ranks(pool), size_of(MPI_COMM_WORLD));
        CHECK(works(pool));
    }
    pmap_destroy(pool);
    MPI_Initialized(&up);
    MPI_Finalized(&over);
    CHECK(up && !over);
}

static void pools_on_disjoint_communicators_live_at_once(void)
{
    int rank = rank_in(MPI_COMM_WORLD);
    MPI_Comm half;

    MPI_Comm_split(MPI_COMM_WORLD, rank % 2, rank, &half);
    for (int root = 0; root < size_of(half); root++)
        live(half, root);
    MPI_Comm_free(&half);
}

static void every_rank_has_a_pool_of_its_own(void) { live(MPI_COMM_SELF, 0); }

/* Rank 0 of the communicator is the last of the world. */
static void ranks_count_as_the_communicator_says(void)
{
    MPI_Comm backwards;

    MPI_Comm_split(MPI_COMM_WORLD, 0, -rank_in(MPI_COMM_WORLD), &backwards);
    live(backwards, 0);
    live(backwards, size_of(backwards) - 1);
    MPI_Comm_free(&backwards);
}

/* The last rank stays outside. */
static void pool_over_some_ranks_uses_those_only(void)
{
    int rank = rank_in(MPI_COMM_WORLD), outside = size_of(MPI_COMM_WORLD) - 1, in[100] = {0}, ranks[100], wrong = 0;
    MPI_Comm some;
    struct pmap_pool *pool = NULL;

    if (outside == 0) {
        test_skip("there is one rank");
        return;
    }
    MPI_Comm_split(MPI_COMM_WORLD, rank == outside ? MPI_UNDEFINED : 0, rank, &some);
    if (some == MPI_COMM_NULL)
        return;
    CHECK_STATUS(pmap_create_on(some, 0, &pool, .threads = test_threads()), PMAP_OK);
    if (pool != NULL) {
        CHECK_STATUS(pmap_map(pool, world_rank, in, ranks, 100, .chunksize = 1), PMAP_OK);
        for (int i = 0; i < 100; i++)
            wrong += ranks[i] < 0 || ranks[i] >= outside;
        CHECK_INT(wrong, 0);
    }
    pmap_destroy(pool);
    MPI_Comm_free(&some);
}

/* ---- The program goes on ----------------------------------------------------------------------------- */

static int sum_over_ranks(MPI_Comm comm, int value)
{
    int sum = -1;

    MPI_Allreduce(&value, &sum, 1, MPI_INT, MPI_SUM, comm);
    return sum;
}

static void spmd_code_goes_on_after_the_pool(void)
{
    int size = size_of(MPI_COMM_WORLD), up = 0, over = 1;

    for (int i = 0; i < 10; i++) {
        live(MPI_COMM_WORLD, i % size);
        CHECK_INT(sum_over_ranks(MPI_COMM_WORLD, rank_in(MPI_COMM_WORLD) + i), size * (size - 1) / 2 + i * size);
    }
    MPI_Initialized(&up);
    MPI_Finalized(&over);
    CHECK(up && !over);
}

/* A receive of the program that would take any message of its communicator is pending while the pool lives, and
 * gets the program's message when that is sent. */
static void messages_of_program_and_pool_do_not_mix(void)
{
    int rank = rank_in(MPI_COMM_WORLD), size = size_of(MPI_COMM_WORLD), got = -1, sent = rank + 1000, done = 1;
    MPI_Request request;

    MPI_Irecv(&got, 1, MPI_INT, MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &request);
    live(MPI_COMM_WORLD, 0);
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    CHECK(!done);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Send(&sent, 1, MPI_INT, (rank + 1) % size, 7, MPI_COMM_WORLD);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    CHECK_INT(got, (rank + size - 1) % size + 1000);
}

/* The same the other way round: the program's messages are there before the pool starts. */
static void waiting_messages_of_the_program_stay_its_own(void)
{
    int rank = rank_in(MPI_COMM_WORLD), size = size_of(MPI_COMM_WORLD), got = -1;
    MPI_Request request;

    MPI_Isend(&rank, 1, MPI_INT, (rank + 1) % size, 0, MPI_COMM_WORLD, &request);
    MPI_Barrier(MPI_COMM_WORLD);
    live(MPI_COMM_WORLD, size - 1);
    MPI_Recv(&got, 1, MPI_INT, MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    CHECK_INT(got, (rank + size - 1) % size);
}

/* ---- Threads of the root ----------------------------------------------------------------------------- */

struct attempt {
    struct pmap_pool *pool;
    struct pmap_error error;
    enum pmap_status status;
    int result;
};

static void *attempt_apply(void *argument)
{
    struct attempt *a = argument;

    a->status = pmap_apply(a->pool, square, &a->result, 12, .error = &a->error);
    return NULL;
}

/* Below MPI_THREAD_MULTIPLE a pool over several ranks belongs to the thread that created it. */
static void check_other_thread(const struct attempt *a)
{
    int level;

    MPI_Query_thread(&level);
    if (level == MPI_THREAD_MULTIPLE) {
        CHECK_STATUS(a->status, PMAP_OK);
        CHECK_INT(a->result, 144);
    } else {
        CHECK_STATUS(a->status, PMAP_EINVAL);
        CHECK_NAMES(a->error.text, "thread");
    }
}

static void other_threads_use_the_pool_only_if_mpi_allows_it(void)
{
    struct attempt a = {NULL, {.status = PMAP_OK}, PMAP_OK, 0};
    pthread_t thread;

    if (size_of(MPI_COMM_WORLD) == 1) {
        test_skip("there is one rank");
        return;
    }
    CHECK_STATUS(pmap_create_on(MPI_COMM_WORLD, 0, &a.pool, .threads = test_threads()), PMAP_OK);
    if (a.pool != NULL) {
        if (pthread_create(&thread, NULL, attempt_apply, &a) != 0)
            abort();
        pthread_join(thread, NULL);
        check_other_thread(&a);
        CHECK(works(a.pool));
    }
    pmap_destroy(a.pool);
}

/* ---- What is refused --------------------------------------------------------------------------------- */

static void check_refused(MPI_Comm comm, int root, enum pmap_status expected, const char *word)
{
    struct pmap_error error = {.status = PMAP_OK};
    struct pmap_pool *pool = (struct pmap_pool *)&error;

    CHECK_STATUS(pmap_create_on(comm, root, &pool, .threads = test_threads(), .error = &error), expected);
    CHECK_STATUS(error.status, expected);
    CHECK(pool == NULL);
    CHECK_NAMES(error.text, word);
}

static void refused_before_mpi_init(void) { CHECK_STATUS(status_before_init, PMAP_EINVAL); }

static void null_communicator_is_refused(void)
{
    check_refused(MPI_COMM_NULL, 0, PMAP_EINVAL, "MPI_COMM_NULL");
    live(MPI_COMM_WORLD, 0);
}

static void intercommunicator_is_refused(void)
{
    int rank = rank_in(MPI_COMM_WORLD);
    MPI_Comm half, inter;

    if (size_of(MPI_COMM_WORLD) == 1) {
        test_skip("there is one rank");
        return;
    }
    MPI_Comm_split(MPI_COMM_WORLD, rank % 2, rank, &half);
    MPI_Intercomm_create(half, 0, MPI_COMM_WORLD, 1 - rank % 2, 0, &inter);
    check_refused(inter, 0, PMAP_EINVAL, "intercommunicator");
    MPI_Comm_free(&inter);
    MPI_Comm_free(&half);
    live(MPI_COMM_WORLD, 0);
}

static void bad_roots_are_refused(void)
{
    char size[16];

    snprintf(size, sizeof size, "%d", size_of(MPI_COMM_WORLD));
    check_refused(MPI_COMM_WORLD, -1, PMAP_EINVAL, "root");
    check_refused(MPI_COMM_WORLD, -1, PMAP_EINVAL, "-1");
    check_refused(MPI_COMM_WORLD, size_of(MPI_COMM_WORLD), PMAP_EINVAL, size);
    live(MPI_COMM_WORLD, 0);
}

/* ---- Pools side by side ------------------------------------------------------------------------------
 *
 * The ranks other than the root stay in the first pmap_create_on until the last of the pools has ended; then they come to
 * the lines of the others, and must not wait there for a root that has been there. */

/* A pool, on the rank with this number in comm. */
static struct pmap_pool *another(MPI_Comm comm, int root)
{
    struct pmap_error error;
    struct pmap_pool *pool = (struct pmap_pool *)&error;

    CHECK_STATUS(pmap_create_on(comm, root, &pool, .threads = test_threads(), .error = &error), PMAP_OK);
    CHECK((pool != NULL) == (rank_in(comm) == root));
    return pool;
}

static void check_works(struct pmap_pool *pool, MPI_Comm comm)
{
    if (pool == NULL)
        return;
    CHECK_INT(pmap_ranks(pool), size_of(comm));
    CHECK(works(pool));
}

static void second_pool_on_a_communicator_works(void)
{
    int last = size_of(MPI_COMM_WORLD) - 1;

    for (int i = 0; i < 4; i++) {
        struct pmap_pool *first = another(MPI_COMM_WORLD, last), *second = another(MPI_COMM_WORLD, last);
        check_works(first, MPI_COMM_WORLD);
        check_works(second, MPI_COMM_WORLD);
        pmap_destroy(i % 2 ? first : second);
        check_works(i % 2 ? second : first, MPI_COMM_WORLD);
        pmap_destroy(i % 2 ? second : first);
        CHECK_INT(sum_over_ranks(MPI_COMM_WORLD, 1), size_of(MPI_COMM_WORLD));
    }
    live(MPI_COMM_WORLD, 0);
}

static void second_pool_comes_and_goes_while_the_first_lives(void)
{
    struct pmap_pool *first = another(MPI_COMM_WORLD, 0);

    for (int i = 0; i < 50; i++) {
        struct pmap_pool *second = another(MPI_COMM_WORLD, 0);
        if (i % 10 == 0)
            check_works(second, MPI_COMM_WORLD);
        pmap_destroy(second);
    }
    check_works(first, MPI_COMM_WORLD);
    pmap_destroy(first);
    CHECK_INT(sum_over_ranks(MPI_COMM_WORLD, 2), 2 * size_of(MPI_COMM_WORLD));
    live(MPI_COMM_WORLD, 0);
}

/* A duplicate, and one that counts the ranks in another order: the root is the same process in all of them. */
static void other_communicators_of_the_same_ranks_have_the_same_pool(void)
{
    int last = size_of(MPI_COMM_WORLD) - 1;
    MPI_Comm same, backwards;
    struct pmap_pool *pools[4];

    MPI_Comm_dup(MPI_COMM_WORLD, &same);
    MPI_Comm_split(MPI_COMM_WORLD, 0, -rank_in(MPI_COMM_WORLD), &backwards);
    pools[0] = another(same, 0);
    pools[1] = another(MPI_COMM_WORLD, 0);
    pools[2] = another(backwards, last);
    pools[3] = another(same, 0);
    for (int i = 0; i < 4; i++)
        check_works(pools[i], MPI_COMM_WORLD);
    for (int i = 0; i < 4; i++)
        pmap_destroy(pools[i]);
    CHECK_INT(sum_over_ranks(MPI_COMM_WORLD, 1), size_of(MPI_COMM_WORLD));
    MPI_Comm_free(&same);
    MPI_Comm_free(&backwards);
    live(MPI_COMM_WORLD, last);
}

/* The root keeps its pools, and the other ranks hear of what was refused when those end. */
static void second_pool_with_another_root_is_busy_on_all_ranks(void)
{
    int last = size_of(MPI_COMM_WORLD) - 1;

    if (last == 0) {
        test_skip("one rank may have several pools");
        return;
    }
    struct pmap_pool *first = another(MPI_COMM_WORLD, 0);
    for (int i = 0; i < 3; i++) {
        check_refused(MPI_COMM_WORLD, last, PMAP_EBUSY, "pmap_create");
        check_works(first, MPI_COMM_WORLD);
    }
    pmap_destroy(first);
    CHECK_INT(sum_over_ranks(MPI_COMM_WORLD, 1), size_of(MPI_COMM_WORLD));
    live(MPI_COMM_WORLD, 0);
}

/* The ranks of a communicator without the last of the world; MPI_COMM_NULL there. */
static MPI_Comm all_but_the_last(void)
{
    int rank = rank_in(MPI_COMM_WORLD);
    MPI_Comm some;

    MPI_Comm_split(MPI_COMM_WORLD, rank == size_of(MPI_COMM_WORLD) - 1 ? MPI_UNDEFINED : 0, rank, &some);
    return some;
}

/* Some of the ranks are captive: they could not come. Only the root asks. */
static void pool_over_some_of_the_ranks_of_another_is_busy(void)
{
    if (size_of(MPI_COMM_WORLD) < 3) {
        test_skip("there are less than three ranks");
        return;
    }
    MPI_Comm some = all_but_the_last();
    struct pmap_pool *first = another(MPI_COMM_WORLD, 0);
    if (first != NULL) {
        check_refused(some, 0, PMAP_EBUSY, "ranks");
        check_works(first, MPI_COMM_WORLD);
    }
    pmap_destroy(first);
    first = some == MPI_COMM_NULL ? NULL : another(some, 0);
    if (first != NULL) {
        check_refused(MPI_COMM_WORLD, 0, PMAP_EBUSY, "ranks");
        check_works(first, some);
    }
    pmap_destroy(first);
    if (some != MPI_COMM_NULL)
        MPI_Comm_free(&some);
    live(MPI_COMM_WORLD, 0);
}

/* Rank 0 and the others one by one: a root that has several pools over different ranks, none of which is in two. */
static void root_may_have_pools_over_different_ranks(void)
{
    enum { MOST = 4 };
    int others = size_of(MPI_COMM_WORLD) - 1, rank = rank_in(MPI_COMM_WORLD), n = others < MOST ? others : MOST;
    MPI_Comm pairs[MOST];
    struct pmap_pool *pools[MOST];

    for (int i = 0; i < n; i++)
        MPI_Comm_split(MPI_COMM_WORLD, rank == 0 || rank == i + 1 ? 0 : MPI_UNDEFINED, rank, &pairs[i]);
    for (int i = 0; i < n; i++)
        pools[i] = pairs[i] == MPI_COMM_NULL ? NULL : another(pairs[i], 0);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < n; i++)
            check_works(pools[i], pairs[i]);
    for (int i = 0; i < n; i++) {
        pmap_destroy(pools[i]);
        for (int k = i + 1; k < n; k++)
            check_works(pools[k], pairs[k]);
    }
    CHECK_INT(sum_over_ranks(MPI_COMM_WORLD, 1), others + 1);
    for (int i = 0; i < n; i++)
        if (pairs[i] != MPI_COMM_NULL)
            MPI_Comm_free(&pairs[i]);
    live(MPI_COMM_WORLD, 0);
}

static void root_may_have_a_pool_of_its_own_beside_another(void)
{
    struct pmap_pool *first = another(MPI_COMM_WORLD, 0);

    if (first != NULL) {
        struct pmap_pool *mine = another(MPI_COMM_SELF, 0);
        check_works(mine, MPI_COMM_SELF);
        check_works(first, MPI_COMM_WORLD);
        check_works(mine, MPI_COMM_SELF);
        pmap_destroy(mine);
        check_works(first, MPI_COMM_WORLD);
    }
    pmap_destroy(first);
    live(MPI_COMM_WORLD, 0);
}

static const struct test tests[] = {
    TEST(refused_before_mpi_init),
    TEST(pool_on_world),
    TEST(every_rank_as_root),
    TEST(pmap_create_takes_the_programs_mpi),
    TEST(every_kind_of_call_works),
    TEST(pools_on_disjoint_communicators_live_at_once),
    TEST(every_rank_has_a_pool_of_its_own),
    TEST(ranks_count_as_the_communicator_says),
    TEST(pool_over_some_ranks_uses_those_only),
    TEST(spmd_code_goes_on_after_the_pool),
    TEST(messages_of_program_and_pool_do_not_mix),
    TEST(waiting_messages_of_the_program_stay_its_own),
    TEST(other_threads_use_the_pool_only_if_mpi_allows_it),
    TEST(null_communicator_is_refused),
    TEST(intercommunicator_is_refused),
    TEST(bad_roots_are_refused),
    TEST(second_pool_on_a_communicator_works),
    TEST(second_pool_comes_and_goes_while_the_first_lives),
    TEST(other_communicators_of_the_same_ranks_have_the_same_pool),
    TEST(second_pool_with_another_root_is_busy_on_all_ranks),
    TEST(pool_over_some_of_the_ranks_of_another_is_busy),
    TEST(root_may_have_pools_over_different_ranks),
    TEST(root_may_have_a_pool_of_its_own_beside_another),
    {NULL, NULL},
};

static int thread_level(const char *name)
{
    static const struct {
        const char *name;
        int level;
    } levels[] = {{"single", MPI_THREAD_SINGLE}, {"funneled", MPI_THREAD_FUNNELED}, {"multiple", MPI_THREAD_MULTIPLE}};

    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (strcmp(name, levels[i].name) == 0)
            return levels[i].level;
    return MPI_THREAD_FUNNELED;
}

#define SHAPES                                                                                        \
    "t1:funneled t2:multiple r1:single r2:single r2:funneled r2:multiple r3:funneled r5:multiple "    \
    "r2t2:funneled r2t2:multiple r3t4:funneled"

int main(int argc, char *argv[])
{
    struct pmap_error error;
    struct pmap_pool *pool;
    int result, level;

    if (argc == 2 && strcmp(argv[1], "--shapes") == 0)
        return test_main(argc, argv, tests, SHAPES);
    status_before_init = pmap_create_on(MPI_COMM_WORLD, 0, &pool, .error = &error);
    MPI_Init_thread(&argc, &argv, thread_level(argc > 1 ? argv[1] : ""), &level);
    result = test_main(argc, argv, tests, SHAPES);
    MPI_Finalize();
    if (pmap_create_on(MPI_COMM_WORLD, 0, &pool, .error = &error) != PMAP_EINVAL) {
        fprintf(stderr, "# pmap_create_on after MPI_Finalize is not refused\n");
        result = EXIT_FAILURE;
    }
    return result;
}
