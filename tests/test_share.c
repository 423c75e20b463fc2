/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Shared data: what pmap_share copies, every thread of every rank finds behind pmap_shared, on a page of its own, until
 * pmap_unshare or the pool's end.
 *
 * Python's Pool shares by fork or by an initializer, so there are no tests of peers to port.
 */
#include "base/hash.h"
#include "board.h"
#include "harness.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- Data -------------------------------------------------------------------------------------------- */

/* Bytes that follow from a seed; in every run of eight there is another number. */
static unsigned char *make_bytes(size_t size, uint64_t seed)
{
    unsigned char *bytes = test_array(size, 1);

    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(((i / 8 + seed) * UINT64_C(0x9e3779b97f4a7c15)) >> (i % 8 * 8));
    return bytes;
}

static uint64_t hash_bytes(const void *bytes, size_t size) { return pmap__hash(PMAP__HASH_BEGIN, bytes, size); }

/* Share such bytes and forget them; what tasks must find is their hash. */
static bool share(struct pmap_pool *pool, size_t size, uint64_t seed, struct pmap_handle *handle, uint64_t *hash)
{
    unsigned char *bytes = make_bytes(size, seed);
    enum pmap_status status = pmap_share(pool, bytes, size, handle);

    *hash = hash_bytes(bytes, size);
    memset(bytes, 0xff, size);
    free(bytes);
    return status == PMAP_OK;
}

/* What a task, or the root, finds. */
struct found {
    bool there, aligned;
    uint64_t hash;
};

static struct found find(struct pmap_handle handle)
{
    const void *data = pmap_shared(handle);

    if (data == NULL)
        return (struct found){false, false, 0};
    return (struct found){true, (uintptr_t)data % (uintptr_t)sysconf(_SC_PAGESIZE) == 0, hash_bytes(data, handle.size)};
}
PMAP_TASK(find, struct found, struct pmap_handle);

static bool is(struct found f, uint64_t hash) { return f.there && f.aligned && f.hash == hash; }

/* ---- Everybody sees it ------------------------------------------------------------------------------- */

/* Each worker's first item of a round waits until all workers have come, so that all of them look, and at the same time. */
static struct found meet_and_find(int round, int workers, struct pmap_handle handle)
{
    static _Thread_local int last_round = -1;

    if (last_round != round) {
        last_round = round;
        atomic_fetch_add(&board()[round], 1);
        if (!board_await(round, workers))
            pmap_fail(1, "left alone");
    }
    return find(handle);
}
PMAP_TASK(meet_and_find, struct found, int, int, struct pmap_handle);

static int next_round;

static void check_seen_by_all(struct pmap_handle handle, uint64_t hash)
{
    int workers = pmap_threads(the_pool), round = next_round++;
    size_t n = 2 * (size_t)workers, blind = 0;
    struct meet_and_find_args *args = test_array(n, sizeof *args);
    struct found *found = test_array(n, sizeof *found);

    for (size_t i = 0; i < n; i++)
        args[i] = (struct meet_and_find_args){round, workers, handle};
    CHECK_STATUS(pmap_starmap(the_pool, meet_and_find, args, found, n, .chunksize = 1), PMAP_OK);
    for (size_t i = 0; i < n; i++)
        blind += !is(found[i], hash);
    CHECK_SAYING(blind == 0, "%zu bytes: %zu of %zu items see something else", handle.size, blind, n);
    CHECK(is(find(handle), hash));
    free(args);
    free(found);
}

static void check_size(size_t size)
{
    struct pmap_handle handle = {0, 0};
    uint64_t hash;

    if (!CHECK(share(the_pool, size, size, &handle, &hash)))
        return;
    CHECK(handle.id != 0);
    CHECK_INT(handle.size, size);
    check_seen_by_all(handle, hash);
    CHECK_STATUS(pmap_unshare(the_pool, handle), PMAP_OK);
}

static void every_rank_and_thread_sees_the_bytes(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), sizes[] = {1, 2, 1000, page - 1, page, page + 1, 3 * page + 7, 1 << 20};

    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        check_size(sizes[k]);
}

static void data_of_64_mib(void) { check_size(test_size((size_t)64 << 20, 2 << 20)); }

static void several_shares_live_side_by_side(void)
{
    enum { SHARES = 20 };
    struct pmap_handle handles[SHARES];
    uint64_t hashes[SHARES];
    struct found found[SHARES];
    int wrong = 0;

    for (int i = 0; i < SHARES; i++)
        if (!CHECK(share(the_pool, (size_t)(1 + 3000 * i), (uint64_t)i, &handles[i], &hashes[i])))
            return;
    for (int i = 0; i < SHARES; i++)
        for (int k = 0; k < i; k++)
            wrong += handles[i].id == handles[k].id;
    CHECK_STATUS(pmap_map(the_pool, find, handles, found, SHARES, .chunksize = 1), PMAP_OK);
    for (int i = 0; i < SHARES; i++)
        wrong += !is(found[i], hashes[i]);
    for (int i = 0; i < SHARES; i += 2) /* half of them go, the others stay */
        wrong += pmap_unshare(the_pool, handles[i]) != PMAP_OK;
    for (int i = 1; i < SHARES; i += 2)
        check_seen_by_all(handles[i], hashes[i]);
    for (int i = 1; i < SHARES; i += 2)
        wrong += pmap_unshare(the_pool, handles[i]) != PMAP_OK;
    CHECK_INT(wrong, 0);
}

/* The handle is an argument like any other: beside others, inside a struct, and passed on to a call inside the task. */
struct question {
    short at;
    struct pmap_handle table;
};

static unsigned char look_up(struct question q)
{
    const unsigned char *table = pmap_shared(q.table);

    return table == NULL ? (unsigned char)pmap_fail(1, "no table") : table[q.at];
}
PMAP_TASK(look_up, unsigned char, struct question);

static int look_up_three(short at, struct pmap_handle table)
{
    struct question in[] = {{at, table}, {(short)(at + 1), table}, {(short)(at + 2), table}};
    unsigned char out[3];

    if (pmap_map(NULL, look_up, in, out, 3) != PMAP_OK)
        return pmap_fail(2, "the map inside fails");
    return out[0] + out[1] + out[2];
}
PMAP_TASK(look_up_three, int, short, struct pmap_handle);

static void handle_travels_in_structs_and_into_calls_inside(void)
{
    enum { N = 300 };
    unsigned char *table = make_bytes(N + 2, 3), out[N];
    struct pmap_handle handle;
    struct question in[N];
    struct look_up_three_args args[N];
    int sums[N], wrong = 0;

    if (!CHECK(pmap_share(the_pool, table, N + 2, &handle) == PMAP_OK))
        return;
    for (short i = 0; i < N; i++) {
        in[i] = (struct question){i, handle};
        args[i] = (struct look_up_three_args){i, handle};
    }
    CHECK_STATUS(pmap_map(the_pool, look_up, in, out, N), PMAP_OK);
    CHECK_STATUS(pmap_starmap(the_pool, look_up_three, args, sums, N), PMAP_OK);
    for (int i = 0; i < N; i++)
        wrong += out[i] != table[i] || sums[i] != table[i] + table[i + 1] + table[i + 2];
    CHECK_INT(wrong, 0);
    CHECK_STATUS(pmap_unshare(the_pool, handle), PMAP_OK);
    free(table);
}

/* ---- Kept once --------------------------------------------------------------------------------------- */

/* Which memory a task sees: a file's number on its device where processes share it. */
struct memory {
    int process;
    uintptr_t address;
    unsigned long device[2], file;
};

static struct memory locate(struct pmap_handle handle)
{
    struct memory m = {.process = getpid(), .address = (uintptr_t)pmap_shared(handle)};
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4096];
    unsigned long begin = 0, end = 0;

    while (maps != NULL && fgets(line, sizeof line, maps) != NULL)
        if (sscanf(line, "%lx-%lx %*s %*s %lx:%lx %lu", &begin, &end, &m.device[0], &m.device[1], &m.file) == 5 &&
            m.address >= begin && m.address < end)
            break;
    if (maps == NULL || m.address < begin || m.address >= end)
        pmap_fail(1, "not in /proc/self/maps");
    if (maps != NULL)
        fclose(maps);
    return m;
}
PMAP_TASK(locate, struct memory, struct pmap_handle);

static bool is_same(struct memory a, struct memory b)
{
    if (a.process == b.process)
        return a.address == b.address;
    return a.file != 0 && a.file == b.file && a.device[0] == b.device[0] && a.device[1] == b.device[1];
}

static void ranks_of_a_node_see_the_same_memory(void)
{
    if (test_on_hosts()) {
        test_skip("each rank has a node of its own");
        return;
    }
    size_t n = 10 * (size_t)pmap_threads(the_pool), copies = 0;
    struct pmap_handle handle, *handles = test_array(n, sizeof *handles);
    struct memory *memories = test_array(n, sizeof *memories);
    uint64_t hash;

    if (CHECK(share(the_pool, 1 << 20, 1, &handle, &hash))) {
        for (size_t i = 0; i < n; i++)
            handles[i] = handle;
        CHECK_STATUS(pmap_map(the_pool, locate, handles, memories, n, .chunksize = 1), PMAP_OK);
        for (size_t i = 1; i < n; i++)
            copies += !is_same(memories[0], memories[i]);
        CHECK_INT(copies, 0);
        CHECK_STATUS(pmap_unshare(the_pool, handle), PMAP_OK);
    }
    free(handles);
    free(memories);
}

/* ---- The end of it ----------------------------------------------------------------------------------- */

static void unshared_data_is_gone(void)
{
    struct pmap_handle handle;
    uint64_t hash;

    for (int round = 0; round < 3; round++) {
        if (!CHECK(share(the_pool, 5000, 2, &handle, &hash)))
            return;
        CHECK(is(find(handle), hash));
        CHECK_STATUS(pmap_unshare(the_pool, handle), PMAP_OK);
        CHECK(pmap_shared(handle) == NULL);
    }
}

/* In all it is 800 MiB. */
static void unshared_memory_is_given_back(void)
{
    size_t size = test_size(8 << 20, 1 << 16);
    unsigned char *bytes = make_bytes(size, 4);
    struct pmap_handle handle;
    struct rusage before, after;
    int wrong = 0;

    getrusage(RUSAGE_SELF, &before);
    for (int round = 0; round < 100; round++) {
        wrong += pmap_share(the_pool, bytes, size, &handle) != PMAP_OK;
        wrong += pmap_unshare(the_pool, handle) != PMAP_OK;
    }
    getrusage(RUSAGE_SELF, &after);
    CHECK_INT(wrong, 0);
    CHECK(size < 8 << 20 || (size_t)(after.ru_maxrss - before.ru_maxrss) * 1024 < 20 * size);
    free(bytes);
}

static void shares_are_freed_with_their_pool(void)
{
    size_t size = test_size(8 << 20, 1 << 16);
    struct rusage before, after;

    getrusage(RUSAGE_SELF, &before);
    for (int round = 0; round < 20; round++) {
        struct pmap_handle handles[2];
        struct pmap_pool *pool;
        uint64_t hashes[2];

        if (!CHECK(pmap_create(&pool) == PMAP_OK && pool != NULL))
            return;
        CHECK(share(pool, size, 5, &handles[0], &hashes[0]) && share(pool, 1, 6, &handles[1], &hashes[1]));
        CHECK(is(find(handles[0]), hashes[0]) && is(find(handles[1]), hashes[1]));
        pmap_destroy(pool);
        CHECK(pmap_shared(handles[0]) == NULL && pmap_shared(handles[1]) == NULL);
    }
    getrusage(RUSAGE_SELF, &after);
    CHECK(size < 8 << 20 || (size_t)(after.ru_maxrss - before.ru_maxrss) * 1024 < 10 * size);
}

/* A handle names its data without its pool, so those of two pools differ. */
static void shares_of_two_pools_do_not_mix(void)
{
    struct pmap_pool *pools[2];
    struct pmap_handle handles[2];
    uint64_t hashes[2];
    struct found found[2];

    for (int i = 0; i < 2; i++) {
        if (!CHECK(pmap_create(&pools[i]) == PMAP_OK && pools[i] != NULL))
            return;
        CHECK(share(pools[i], 10000, 7 + (uint64_t)i, &handles[i], &hashes[i]));
    }
    CHECK(handles[0].id != handles[1].id);
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(pmap_apply(pools[i], find, &found[i], handles[i]), PMAP_OK);
        CHECK(is(found[i], hashes[i]));
        CHECK(is(find(handles[i]), hashes[i]));
    }
    CHECK_STATUS(pmap_unshare(pools[1], handles[0]), PMAP_EINVAL);
    pmap_destroy(pools[0]);
    CHECK(pmap_shared(handles[0]) == NULL);
    CHECK_STATUS(pmap_apply(pools[1], find, &found[1], handles[1]), PMAP_OK);
    CHECK(is(found[1], hashes[1]));
    pmap_destroy(pools[1]);
}

/* ---- At the same time as other calls ----------------------------------------------------------------- */

static int square(int x) { return x * x; }
PMAP_TASK(square, int, int);

enum { THREADS = 3, ROUNDS = 15, ITEMS = 500 };

struct helper {
    pthread_t thread;
    uint64_t number;
    int wrong;         /* written by the thread, read when it has been joined */
    atomic_bool *done; /* set by the test when there was enough of it; NULL if the thread ends by itself */
};

/* Run helpers with one function, and then the rest of the test beside them. */
static void run_helpers(void *(*run)(void *), void (*beside)(void))
{
    struct helper helpers[THREADS];
    atomic_bool done = false;
    int started = 0;

    for (; started < THREADS; started++) {
        helpers[started] = (struct helper){.number = (uint64_t)started, .done = beside != NULL ? &done : NULL};
        if (!CHECK(pthread_create(&helpers[started].thread, NULL, run, &helpers[started]) == 0))
            break;
    }
    if (beside != NULL)
        beside();
    atomic_store(&done, true);
    for (int i = 0; i < started; i++) {
        pthread_join(helpers[i].thread, NULL);
        CHECK_INT(helpers[i].wrong, 0);
    }
}

static void *map_until_done(void *argument)
{
    struct helper *h = argument;
    int in[ITEMS], out[ITEMS];

    for (int i = 0; i < ITEMS; i++)
        in[i] = i;
    do {
        memset(out, 0, sizeof out);
        h->wrong += pmap_map(the_pool, square, in, out, ITEMS, .chunksize = (ptrdiff_t)h->number) != PMAP_OK;
        for (int i = 0; i < ITEMS; i++)
            h->wrong += out[i] != i * i;
    } while (!atomic_load(h->done));
    return NULL;
}

static void share_and_check(void)
{
    struct pmap_handle handle;
    struct found found;
    uint64_t hash;
    int wrong = 0;

    for (uint64_t round = 0; round < ROUNDS; round++) {
        if (!CHECK(share(the_pool, 100 + 10000 * round, round, &handle, &hash)))
            return;
        wrong += pmap_apply(the_pool, find, &found, handle) != PMAP_OK || !is(found, hash);
        wrong += pmap_unshare(the_pool, handle) != PMAP_OK;
    }
    CHECK_INT(wrong, 0);
}

static void share_while_maps_run(void) { run_helpers(map_until_done, share_and_check); }

static void *share_several_times(void *argument)
{
    struct helper *h = argument;
    struct pmap_handle handle;
    struct found found;
    uint64_t hash;

    for (uint64_t round = 0; round < ROUNDS; round++) {
        if (!share(the_pool, 1 + 7000 * h->number + round, 100 * h->number + round, &handle, &hash)) {
            h->wrong++;
            return NULL;
        }
        h->wrong += pmap_apply(the_pool, find, &found, handle) != PMAP_OK || !is(found, hash);
        h->wrong += pmap_unshare(the_pool, handle) != PMAP_OK;
    }
    return NULL;
}

static void several_threads_share_at_once(void) { run_helpers(share_several_times, NULL); }

/* Not even an async call that is under way is in the way. */
static void share_while_an_async_map_runs(void)
{
    static int in[ITEMS], out[ITEMS];
    struct pmap_result *r = pmap_map_async(the_pool, square, in, out, ITEMS, .chunksize = 1);

    share_and_check();
    CHECK_STATUS(pmap_result_get(r, PMAP_FOREVER, NULL), PMAP_OK);
    pmap_result_free(r);
}

/* ---- While ranks are busy ---------------------------------------------------------------------------- */

enum { BUSY = 1000, RELEASED, ENTERED, CELLS };

static void clear_cells(void)
{
    for (int i = BUSY; i < CELLS; i++)
        atomic_store(&board()[i], 0);
}

/* A share by another thread; the test goes on when it is about to be made. */
struct sharer {
    pthread_t thread;
    struct pmap_pool *pool;
    struct pmap_handle handle;
    enum pmap_status status;
};

static void *share_beside(void *argument)
{
    static const char bytes[] = "data that comes late";
    struct sharer *s = argument;

    atomic_store(&board()[ENTERED], 1);
    s->status = pmap_share(s->pool, bytes, sizeof bytes, &s->handle);
    return NULL;
}

static bool begin_share(struct sharer *s, struct pmap_pool *pool)
{
    *s = (struct sharer){.pool = pool};
    if (!CHECK(pthread_create(&s->thread, NULL, share_beside, s) == 0))
        return false;
    CHECK(board_await(ENTERED, 1));
    for (int i = 0; i < 1000; i++) /* most likely it is in there after that; if not, the test passes all the same */
        sched_yield();
    return true;
}

/* Held up on every rank but the root, until the root says so; the root's items wait until somebody is. */
static int hold_up(int ranks)
{
    if (pmap_rank() == 0)
        return ranks == 1 || board_await(BUSY, 1);
    atomic_fetch_add(&board()[BUSY], 1);
    return board_await(RELEASED, 1);
}
PMAP_TASK(hold_up, int, int);

static void release(void *user, void *results, size_t n)
{
    (void)user, (void)results, (void)n;
    atomic_store(&board()[RELEASED], 1);
}

/* The share waits for items that wait for the callback of another call. */
static void calls_end_while_a_share_waits_for_busy_ranks(void)
{
    size_t n = 4 * (size_t)pmap_threads(the_pool);
    int *in = test_array(n, sizeof *in), *out = test_array(n, sizeof *out), y, wrong = 0;
    struct sharer s;

    clear_cells();
    for (size_t i = 0; i < n; i++)
        in[i] = test_ranks();
    struct pmap_result *held = pmap_map_async(the_pool, hold_up, in, out, n, .chunksize = 1);
    CHECK(test_ranks() == 1 || board_await(BUSY, 1));
    if (begin_share(&s, the_pool)) {
        struct pmap_result *r = pmap_apply_async(the_pool, square, &y, 3, .callback = release);
        CHECK_STATUS(pmap_result_get(r, PMAP_FOREVER, NULL), PMAP_OK);
        pmap_result_free(r);
        pthread_join(s.thread, NULL);
        CHECK_STATUS(s.status, PMAP_OK);
        CHECK_STATUS(pmap_unshare(the_pool, s.handle), PMAP_OK);
    }
    atomic_store(&board()[RELEASED], 1);
    CHECK_STATUS(pmap_result_get(held, PMAP_FOREVER, NULL), PMAP_OK);
    pmap_result_free(held);
    for (size_t i = 0; i < n; i++)
        wrong += !out[i];
    CHECK_INT(wrong, 0);
    free(in);
    free(out);
}

static int until_cancelled(int ranks)
{
    if (pmap_rank() != 0 || ranks == 1)
        atomic_fetch_add(&board()[BUSY], 1);
    while (!pmap_cancelled())
        sched_yield();
    return 1;
}
PMAP_TASK(until_cancelled, int, int);

static void terminate_ends_what_a_share_waits_for(void)
{
    size_t n = 4 * (size_t)pmap_threads(the_pool);
    int *in = test_array(n, sizeof *in), *out = test_array(n, sizeof *out);
    struct pmap_pool *pool;
    struct sharer s;

    clear_cells();
    for (size_t i = 0; i < n; i++)
        in[i] = test_ranks();
    if (!CHECK(pmap_create(&pool) == PMAP_OK && pool != NULL))
        goto done;
    struct pmap_result *r = pmap_map_async(pool, until_cancelled, in, out, n, .chunksize = 1);
    CHECK(board_await(BUSY, 1));
    bool begun = begin_share(&s, pool);
    CHECK_STATUS(pmap_terminate(pool), PMAP_OK);
    CHECK_STATUS(pmap_result_get(r, PMAP_FOREVER, NULL), PMAP_ECANCELLED);
    pmap_result_free(r);
    if (begun) {
        pthread_join(s.thread, NULL);
        CHECK(s.status == PMAP_OK || s.status == PMAP_ECLOSED);
    }
    pmap_destroy(pool);
done:
    free(in);
    free(out);
}

/* ---- Refusals ---------------------------------------------------------------------------------------- */

static const char data[] = "some data";

static void check_usable(void)
{
    struct pmap_handle handle;
    uint64_t hash;
    int y = 0;

    CHECK_STATUS(pmap_apply(the_pool, square, &y, 5), PMAP_OK);
    CHECK_INT(y, 25);
    CHECK(share(the_pool, 10, 9, &handle, &hash) && is(find(handle), hash));
    CHECK_STATUS(pmap_unshare(the_pool, handle), PMAP_OK);
}

static void arguments_that_make_no_sense_are_refused(void)
{
    struct pmap_handle handle = {17, 18};
    struct pmap_error error;

    CHECK_STATUS(pmap_share(NULL, data, sizeof data, &handle, .error = &error), PMAP_EINVAL);
    CHECK_STATUS(error.status, PMAP_EINVAL);
    CHECK_NAMES(error.text, "pool");
    CHECK_STATUS(pmap_share(the_pool, NULL, sizeof data, &handle, .error = &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "data");
    CHECK_NAMES(error.text, "NULL");
    CHECK_STATUS(pmap_share(the_pool, data, 0, &handle, .error = &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "0");
    CHECK_STATUS(pmap_share(the_pool, data, sizeof data, NULL, .error = &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "handle");
    CHECK_STATUS(pmap_share_with(the_pool, data, sizeof data, NULL), PMAP_EINVAL);
    CHECK(handle.id == 17 && handle.size == 18);
    check_usable();
}

static void unknown_handles_are_refused(void)
{
    struct pmap_handle handle, unknown = {UINT64_C(0x123456789abcdef), 10}, none = {0, 0};
    struct found found;
    uint64_t hash;

    if (!CHECK(share(the_pool, 10, 10, &handle, &hash)))
        return;
    CHECK_STATUS(pmap_unshare(NULL, handle), PMAP_EINVAL);
    CHECK_STATUS(pmap_unshare(the_pool, unknown), PMAP_EINVAL);
    CHECK_STATUS(pmap_unshare(the_pool, none), PMAP_EINVAL);
    CHECK(pmap_shared(unknown) == NULL && pmap_shared(none) == NULL);
    CHECK_STATUS(pmap_apply(the_pool, find, &found, unknown), PMAP_OK);
    CHECK(!found.there);
    CHECK(is(find(handle), hash));
    CHECK_STATUS(pmap_unshare(the_pool, handle), PMAP_OK);
    CHECK_STATUS(pmap_unshare(the_pool, handle), PMAP_EINVAL);
    check_usable();
}

/* What a task is told, on whatever rank. */
static enum pmap_status share_inside(int x)
{
    struct pmap_handle handle;
    struct pmap_error error;

    return pmap_share(NULL, &x, sizeof x, &handle, .error = &error);
}
PMAP_TASK(share_inside, enum pmap_status, int);

static void share_inside_a_task_is_refused(void)
{
    size_t n = 10 * (size_t)pmap_threads(the_pool), wrong = 0;
    int *in = test_array(n, sizeof *in);
    enum pmap_status *statuses = test_array(n, sizeof *statuses);

    CHECK_STATUS(pmap_map(the_pool, share_inside, in, statuses, n, .chunksize = 1), PMAP_OK);
    for (size_t i = 0; i < n; i++)
        wrong += statuses[i] != PMAP_EINVAL;
    CHECK_INT(wrong, 0);
    check_usable();
    free(in);
    free(statuses);
}

struct attempts {
    struct pmap_handle handle; /* shared before */
    enum pmap_status share, unshare;
    bool there;
};

static void share_in_callback(void *user, void *out, size_t n)
{
    struct attempts *a = user;
    struct pmap_handle handle;
    struct pmap_error error; /* keeps it off stderr */

    (void)out;
    (void)n;
    a->share = pmap_share(the_pool, data, sizeof data, &handle, .error = &error);
    a->unshare = pmap_unshare(the_pool, a->handle);
    a->there = pmap_shared(a->handle) != NULL;
}

static void share_in_a_callback_is_refused(void)
{
    struct attempts a = {.share = PMAP_OK, .unshare = PMAP_OK};
    uint64_t hash;
    int y;

    if (!CHECK(share(the_pool, 10, 11, &a.handle, &hash)))
        return;
    struct pmap_result *r = pmap_apply_async(the_pool, square, &y, 3, .callback = share_in_callback, .user = &a);
    CHECK_STATUS(pmap_result_get(r, PMAP_FOREVER, NULL), PMAP_OK);
    CHECK_STATUS(a.share, PMAP_EDEADLOCK);
    CHECK_STATUS(a.unshare, PMAP_EDEADLOCK);
    CHECK(a.there);
    pmap_result_free(r);
    CHECK_STATUS(pmap_unshare(the_pool, a.handle), PMAP_OK);
    check_usable();
}

/* What was shared before stays; what was submitted may still use it. */
static void check_ended(enum pmap_status (*end)(struct pmap_pool *pool))
{
    struct pmap_handle handle, another = {17, 18};
    struct pmap_error error;
    struct pmap_pool *pool;
    uint64_t hash;

    if (!CHECK(pmap_create(&pool) == PMAP_OK && pool != NULL))
        return;
    CHECK(share(pool, 100, 12, &handle, &hash));
    CHECK_STATUS(end(pool), PMAP_OK);
    CHECK_STATUS(pmap_share(pool, data, sizeof data, &another, .error = &error), PMAP_ECLOSED);
    CHECK_STATUS(error.status, PMAP_ECLOSED);
    CHECK(another.id == 17 && another.size == 18);
    CHECK(is(find(handle), hash));
    pmap_destroy(pool);
    CHECK(pmap_shared(handle) == NULL);
}

static void share_after_the_end_is_refused(void)
{
    check_ended(pmap_close);
    check_ended(pmap_terminate);
}

static const struct test tests[] = {
    TEST(every_rank_and_thread_sees_the_bytes),
    TEST(data_of_64_mib),
    TEST(several_shares_live_side_by_side),
    TEST(handle_travels_in_structs_and_into_calls_inside),
    TEST(ranks_of_a_node_see_the_same_memory),
    TEST(unshared_data_is_gone),
    TEST(unshared_memory_is_given_back),
    TEST(shares_are_freed_with_their_pool),
    TEST(shares_of_two_pools_do_not_mix),
    TEST(share_while_maps_run),
    TEST(several_threads_share_at_once),
    TEST(share_while_an_async_map_runs),
    TEST(calls_end_while_a_share_waits_for_busy_ranks),
    TEST(terminate_ends_what_a_share_waits_for),
    TEST(arguments_that_make_no_sense_are_refused),
    TEST(unknown_handles_are_refused),
    TEST(share_inside_a_task_is_refused),
    TEST(share_in_a_callback_is_refused),
    TEST(share_after_the_end_is_refused),
    {NULL, NULL},
};

int main(int argc, char *argv[]) { return test_main_with_pool(argc, argv, tests, ALL_SHAPES); }
