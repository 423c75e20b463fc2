/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Every allocation fails in turn: the first one of a pool's life, then the second, … until a life passes in which
 * none failed; and once more all from the first on, from the second on, … Each time every call gives the right results or
 * PMAP_ENOMEM, and nothing is left behind.
 *
 * A life is a process of its own, so that one that crashes, or hangs, spoils no other. In it a pool is created, one kind of
 * call is made, then a plain map, and the pool is destroyed. On virtual ranks a life may also end early with a text of the
 * library's: a rank that cannot send or receive any more ends all of them, as pmap.h says of MPI.
 *
 * The linker sends the library's calls of malloc and its kin, and of pthread_create, to the functions __wrap_… in
 * here (options in Makefile.am), which works because the tests link the library statically. What other libraries
 * allocate is their own affair.
 */
#include "harness.h"

#include <pmap_mapreduce.h>

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Allocations that fail, and those that live ------------------------------------------------------ */

static atomic_bool watching;
static atomic_long until_failure; /* the allocation that brings it to zero fails */
static atomic_bool for_ever;      /* so do all after it */
static atomic_long failures;

/* Pointers that were allocated while watching and not freed since: a hash table with linear probing in which a
 * freed place stays taken, by the address of the table itself. */
enum { PLACES = 1 << 15 };
static struct {
    pthread_mutex_t lock;
    void *places[PLACES];
    int n; /* live */
} live = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The place of p, or the empty one where it would go. */
static void **live_place(const void *p)
{
    size_t at = ((uintptr_t)p >> 4) * 2654435761u % PLACES;

    while (live.places[at] != NULL && live.places[at] != p)
        at = (at + 1) % PLACES;
    return &live.places[at];
}

static void *remember(void *p)
{
    if (p == NULL || !atomic_load(&watching))
        return p;
    pthread_mutex_lock(&live.lock);
    *live_place(p) = p;
    live.n++;
    pthread_mutex_unlock(&live.lock);
    return p;
}

static void forget(void *p)
{
    pthread_mutex_lock(&live.lock);
    void **place = live_place(p);
    if (p != NULL && *place == p) {
        *place = &live;
        live.n--;
    }
    pthread_mutex_unlock(&live.lock);
}

static bool must_fail(void)
{
    long left = atomic_load(&watching) ? atomic_fetch_sub(&until_failure, 1) : LONG_MAX;

    if (left > 1 || (left < 1 && !atomic_load(&for_ever)))
        return false;
    atomic_fetch_add(&failures, 1);
    errno = ENOMEM;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **p, size_t alignment, size_t size);
void __real_free(void *p);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **p, size_t alignment, size_t size);
void __wrap_free(void *p);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument);

void *__wrap_malloc(size_t size) { return must_fail() ? NULL : remember(__real_malloc(size)); }

void *__wrap_calloc(size_t n, size_t size) { return must_fail() ? NULL : remember(__real_calloc(n, size)); }

void *__wrap_realloc(void *p, size_t size)
{
    if (must_fail())
        return NULL;
    forget(p);
    return remember(__real_realloc(p, size));
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return must_fail() ? NULL : remember(__real_aligned_alloc(alignment, size));
}

int __wrap_posix_memalign(void **p, size_t alignment, size_t size)
{
    int result = must_fail() ? ENOMEM : __real_posix_memalign(p, alignment, size);

    if (result == 0)
        remember(*p);
    return result;
}

void __wrap_free(void *p)
{
    forget(p);
    __real_free(p);
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
    bool fails = test_ranks() == 1 && must_fail(); /* virtual ranks are for debugging: without a thread they abort */
    return fails ? EAGAIN : __real_pthread_create(thread, attributes, run, argument);
}

/* Memory of a task's own: it never fails, and it is the library's to free. */
static void *task_memory(size_t size) { return remember(__real_malloc(size)); }

/* ---- A life ------------------------------------------------------------------------------------------ */

enum { N = 200, FEW = 24 };

/* What became of it, in memory that parent and child share. */
struct life {
    const char *wrong; /* a call that gave neither the right results nor PMAP_ENOMEM; NULL if none did */
    enum pmap_status status;
    int refused; /* calls, or items, that ended with PMAP_ENOMEM */
    int left;    /* allocations that are not freed */
    long failures;
    bool ended, gave_up;
};

static struct life *life;

static void judge(const char *call, enum pmap_status status, enum pmap_status wanted, bool right)
{
    life->refused += status == PMAP_ENOMEM;
    if (status == PMAP_ENOMEM || (status == wanted && right) || life->wrong != NULL)
        return;
    life->wrong = call;
    life->status = status;
}

/* An item is as it should be, or was lost for want of memory: then its result is all zero bytes. */
static bool is_item(enum pmap_status status, enum pmap_status wanted, int result, int expected)
{
    life->refused += status == PMAP_ENOMEM;
    return status == PMAP_ENOMEM ? result == 0 : status == wanted && result == (wanted == PMAP_OK ? expected : 0);
}

/* ---- Tasks ---- */

static int square(int x) { return x < 0 ? pmap_fail(2, "negative input %d", x) : x * x; }
PMAP_TASK(square, int, int);

static int add(int a, int b) { return a + b; }
PMAP_TASK(add, int, int, int);
PMAP_OP(add, int);

static void halve(size_t n, const double in[], double out[])
{
    for (size_t i = 0; i < n; i++)
        out[i] = in[i] / 2;
}
PMAP_BLOCK_TASK(halve, double, double);

/* Negative input fails in the first run, or in every run if it is even. */
static atomic_int runs[N];
static int moody(int x)
{
    size_t item = pmap_item();
    if (x >= 0 || item >= N)
        return x * x;
    return atomic_fetch_add(&runs[item], 1) == 0 || x % 2 == 0 ? pmap_fail(3, "not now") : x * x;
}
PMAP_TASK(moody, int, int);

/* The bytes backwards; those that begin with '!' fail. */
static struct pmap_bytes reverse(struct pmap_bytes in)
{
    struct pmap_bytes out = {in.size ? task_memory(in.size) : NULL, in.size};
    const char *from = in.data;
    char *to = out.data;

    for (size_t i = 0; i < in.size; i++)
        to[i] = from[in.size - 1 - i];
    if (in.size && *from == '!')
        pmap_fail(4, "bang");
    return out;
}
PMAP_BYTES_TASK(reverse);

/* A map inside a task; -1: no memory for it. */
static int sum_of_squares(int n)
{
    int in[FEW] = {0}, out[FEW], sum = 0;
    struct pmap_error error;

    for (int i = 0; i < n; i++)
        in[i] = i;
    if (pmap_map(NULL, square, in, out, (size_t)n, .retries = 1, .cost = NULL, .error = &error) != PMAP_OK)
        return error.status == PMAP_ENOMEM ? -1 : -2;
    for (int i = 0; i < n; i++)
        sum += out[i];
    return sum;
}
PMAP_TASK(sum_of_squares, int, int);

static int look_up(struct pmap_handle handle, int at)
{
    const int *table = pmap_shared(handle);
    return table ? table[at] : -1;
}
PMAP_TASK(look_up, int, struct pmap_handle, int);

/* ---- Calls ---- */

static void map(struct pmap_pool *pool, ptrdiff_t chunksize)
{
    static int in[N], out[N];
    bool right = true;
    struct pmap_error error;

    for (int i = 0; i < N; i++)
        in[i] = i;
    enum pmap_status status = pmap_map(pool, square, in, out, N, .chunksize = chunksize, .error = &error);
    for (int i = 0; i < N; i++)
        right &= out[i] == i * i;
    judge("map", status, PMAP_OK, right);
}

static void maps(struct pmap_pool *pool)
{
    map(pool, 0);
    map(pool, 7);
}

static void blocks_and_starmaps(struct pmap_pool *pool)
{
    static struct add_args args[N];
    static double in[N], halves[N];
    static int out[N];
    bool right = true;
    struct pmap_error error;

    for (int i = 0; i < N; i++) {
        args[i] = (struct add_args){i, 7};
        in[i] = i;
    }
    enum pmap_status status = pmap_starmap(pool, add, args, out, N, .error = &error);
    for (int i = 0; i < N; i++)
        right &= out[i] == i + 7;
    judge("starmap", status, PMAP_OK, right);
    right = true;
    status = pmap_map(pool, halve, in, halves, N, .error = &error);
    for (int i = 0; i < N; i++)
        right &= halves[i] == 0.5 * i;
    judge("map of a block task", status, PMAP_OK, right);
}

/* Where an item fails others may have been lost as well, and without statuses nobody can tell. */
static void failing_maps(struct pmap_pool *pool)
{
    static int in[N], out[N];
    bool right = true;
    struct pmap_error error;

    for (int i = 0; i < N; i++)
        in[i] = i % 50 == 30 ? -1 : i;
    enum pmap_status status = pmap_map(pool, square, in, out, N, .chunksize = 3, .error = &error);
    for (int i = 0; i < N; i++)
        right &= out[i] == (in[i] < 0 ? 0 : i * i) || (out[i] == 0 && test_ranks() > 1);
    judge("failing map", status, PMAP_EFAILED, right && error.item % 50 == 30 && (error.item == 30 || test_ranks() > 1));
    status = pmap_map(pool, square, in, out, N, .on_error = PMAP_STOP, .error = &error);
    judge("map that stops", status, PMAP_EFAILED, error.item % 50 == 30);
}

static void maps_with_statuses(struct pmap_pool *pool)
{
    static int in[N], out[N];
    static enum pmap_status statuses[N];
    bool right = true;
    struct pmap_error error;

    for (int i = 0; i < N; i++)
        in[i] = i % 50 == 30 ? -1 : i;
    enum pmap_status status = pmap_map(pool, square, in, out, N, .chunksize = 3, .on_error = PMAP_COLLECT,
                                       .statuses = statuses, .error = &error);
    for (int i = 0; i < N && status == PMAP_OK; i++)
        right &= is_item(statuses[i], in[i] < 0 ? PMAP_EFAILED : PMAP_OK, out[i], i * i);
    judge("map with statuses", status, PMAP_OK, right);
}

static void maps_with_costs(struct pmap_pool *pool)
{
    static int in[N], out[N];
    static double cost[N];
    static enum pmap_status statuses[N];
    bool right = true;
    struct pmap_error error;

    for (int i = 0; i < N; i++) {
        in[i] = i % 50 == 30 ? -1 : i;
        cost[i] = i * 7 % 31;
    }
    enum pmap_status status = pmap_map(pool, square, in, out, N, .cost = cost, .on_error = PMAP_COLLECT,
                                       .statuses = statuses, .error = &error);
    for (int i = 0; i < N && status == PMAP_OK; i++)
        right &= is_item(statuses[i], in[i] < 0 ? PMAP_EFAILED : PMAP_OK, out[i], i * i);
    judge("map with costs", status, PMAP_OK, right);
}

static void retry(struct pmap_pool *pool, const double *cost)
{
    static int in[N], out[N];
    static enum pmap_status statuses[N];
    bool right = true;
    struct pmap_error error;

    for (int i = 0; i < N; i++) {
        in[i] = i % 40 == 20 ? -1 : i % 40 == 33 ? -2 : i;
        atomic_store(&runs[i], 0);
    }
    enum pmap_status status = pmap_map(pool, moody, in, out, N, .chunksize = 3, .retries = 2, .on_error = PMAP_COLLECT,
                                       .statuses = statuses, .cost = cost, .error = &error);
    for (int i = 0; i < N && status == PMAP_OK; i++)
        right &= is_item(statuses[i], in[i] == -2 ? PMAP_EFAILED : PMAP_OK, out[i], in[i] * in[i]);
    judge("map with retries", status, PMAP_OK, right);
}

static void maps_with_retries(struct pmap_pool *pool)
{
    static double cost[N];

    for (int i = 0; i < N; i++)
        cost[i] = i * 7 % 31;
    retry(pool, NULL);
    retry(pool, cost);
}

static void applies(struct pmap_pool *pool)
{
    struct pmap_error error;
    int y = 0;

    enum pmap_status status = pmap_apply(pool, add, &y, 3, 4, .error = &error);
    judge("apply", status, PMAP_OK, y == 7);
    status = pmap_apply(pool, square, &y, -1, .retries = 1, .error = &error);
    judge("failing apply", status, PMAP_EFAILED, y == 0);
}

static void calls_inside_tasks(struct pmap_pool *pool)
{
    static int in[FEW], out[FEW];
    bool right = true;
    struct pmap_error error;

    for (int i = 0; i < FEW; i++)
        in[i] = i;
    enum pmap_status status = pmap_map(pool, sum_of_squares, in, out, FEW, .error = &error);
    for (int i = 0; i < FEW; i++) {
        right &= out[i] == (i - 1) * i * (2 * i - 1) / 6 || out[i] == -1;
        life->refused += out[i] == -1;
    }
    judge("map of maps", status, PMAP_OK, right);
}

/* ---- Async calls ---- */

struct calls {
    int good, bad;
    enum pmap_status status;
};

static void note_good(void *user, void *out, size_t n)
{
    struct calls *c = user;
    c->good += out != NULL && n > 0;
}

static void note_bad(void *user, const struct pmap_error *error)
{
    struct calls *c = user;
    c->bad++;
    c->status = error->status;
}

/* Wait for a result that may not have come to be; its status. One callback has been called then, or none. */
static enum pmap_status result_of(struct pmap_result *result, struct pmap_error *error, const struct calls *calls)
{
    if (result == NULL)
        return calls->good + calls->bad == 0 ? error->status : PMAP_END;
    enum pmap_status status = pmap_result_get(result, PMAP_FOREVER, error);
    bool called = status == PMAP_OK ? calls->good == 1 && calls->bad == 0
                                    : calls->good == 0 && calls->bad == 1 && calls->status == status;
    pmap_result_free(result);
    return called ? status : PMAP_END;
}

static void async_calls(struct pmap_pool *pool)
{
    static int in[N], out[N];
    struct calls calls = {0}, more = {0}, last = {0};
    struct pmap_error error, another, third;
    int y = 0;
    bool right = true;

    for (int i = 0; i < N; i++)
        in[i] = i;
    struct pmap_result *r = pmap_map_async(pool, square, in, out, N, .chunksize = 5, .callback = note_good,
                                           .error_callback = note_bad, .user = &calls, .error = &error);
    struct pmap_result *s = pmap_apply_async(pool, add, &y, 3, 4, .callback = note_good, .error_callback = note_bad,
                                             .user = &more, .error = &another);
    struct pmap_result *t = pmap_apply_async(pool, square, &(int){0}, -3, .retries = 1, .callback = note_good,
                                             .error_callback = note_bad, .user = &last, .error = &third);
    struct pmap_result *all[] = {r, s, t};
    judge("wait", pmap_wait(all, 3, PMAP_ALL, PMAP_FOREVER, NULL), PMAP_OK, true);
    enum pmap_status status = result_of(r, &error, &calls);
    for (int i = 0; i < N && status == PMAP_OK; i++)
        right &= out[i] == i * i;
    judge("async map", status, PMAP_OK, right);
    status = result_of(s, &another, &more);
    judge("async apply", status, PMAP_OK, y == 7);
    judge("failing async apply", result_of(t, &third, &last), PMAP_EFAILED, true);
}

/* A result that nobody waits for is freed when its call is over, and so is what it holds. */
static void forgotten_results(struct pmap_pool *pool)
{
    static int in[N] = {1, 2, -2, 3, -4}, out[N];
    struct pmap_error error;

    for (int i = 0; i < 5; i++)
        pmap_result_free(pmap_map_async(pool, moody, in, out, N, .retries = 1, .error = &error));
    struct pmap_result *r = pmap_map_async(pool, moody, in, out, N, .error = &error);
    if (r)
        pmap_result_cancel(r);
    enum pmap_status status = r ? pmap_result_get(r, PMAP_FOREVER, &error) : error.status;
    judge("cancelled map", status == PMAP_OK ? PMAP_ECANCELLED : status, PMAP_ECANCELLED, true);
    pmap_result_free(r);
}

/* ---- Streams ---- */

static bool count_up(void *state, void *item)
{
    int *next = state;
    *(int *)item = *next;
    return (*next)++ < N;
}

static bool words(void *state, void *item)
{
    int *next = state;
    size_t size = (size_t)*next % 5;
    struct pmap_bytes bytes = {size ? task_memory(size) : NULL, size};
    if (*next == FEW) {
        free(bytes.data);
        return false;
    }
    if (size)
        memset(bytes.data, 'a' + *next % 3, size);
    *(struct pmap_bytes *)item = bytes;
    (*next)++;
    return true;
}

/* Yield a stream to its end: items come once, in order or not, and are missing only for want of memory. fails is the
 * input that does. */
static void drain(const char *call, struct pmap_iter *it, struct pmap_error *error, int n, int fails)
{
    bool seen[N] = {false}, right = true, lost = false;
    enum pmap_status status;
    int y, items = 0;

    if (it == NULL) {
        judge(call, error->status, PMAP_OK, false);
        return;
    }
    while ((status = pmap_iter_next(it, &y, PMAP_FOREVER)) != PMAP_END) {
        size_t item = pmap_iter_item(it);
        if (status == PMAP_ENOMEM) {
            lost = true;
            life->refused++;
            right &= y == 0;
            continue;
        }
        right &= item < (size_t)n && !seen[item] && status == ((int)item == fails ? PMAP_EFAILED : PMAP_OK) &&
                 y == ((int)item == fails ? 0 : (int)(item * item));
        if (item < (size_t)n)
            seen[item] = true;
        items++;
    }
    judge(call, PMAP_OK, PMAP_OK, right && (lost || items == n));
    pmap_iter_free(it);
}

static void streams_of_an_array(struct pmap_pool *pool)
{
    int in[FEW];
    struct pmap_error error;

    for (int i = 0; i < FEW; i++)
        in[i] = i == 7 ? -1 : i;
    drain("imap", pmap_imap(pool, square, PMAP_ARRAY(in, FEW), .chunksize = 3, .buffersize = 9, .error = &error), &error, FEW,
          7);
    drain("imap_unordered", pmap_imap_unordered(pool, square, PMAP_ARRAY(in, FEW), .retries = 1, .error = &error), &error,
          FEW, 7);
    pmap_iter_free(pmap_imap(pool, square, PMAP_ARRAY(in, FEW), .error = &error)); /* nobody takes the items */
}

static void streams_of_a_generator(struct pmap_pool *pool)
{
    struct pmap_error error;
    int next = 0;

    drain("imap of a generator",
          pmap_imap(pool, square, PMAP_GENERATOR(count_up, &next), .chunksize = 4, .buffersize = 30, .error = &error), &error, N,
          -1);
    next = 0;
    drain("imap_unordered of a generator",
          pmap_imap_unordered(pool, square, PMAP_GENERATOR(count_up, &next), .chunksize = 7, .error = &error), &error, N, -1);
    next = 0;
    pmap_iter_free(pmap_imap(pool, square, PMAP_GENERATOR(count_up, &next), .error = &error));
}

/* Calls that make no sense leave nothing behind either. */
static void refused_calls(struct pmap_pool *pool)
{
    int in[FEW] = {0}, out[FEW];
    struct pmap_error error;
    enum pmap_status status = pmap_map(pool, square, in, out, FEW, .chunksize = -1, .error = &error);

    judge("refused map", status, PMAP_EINVAL, true);
    struct pmap_result *r = pmap_map_async(pool, square, in, out, FEW, .retries = -1, .error = &error);
    judge("refused async map", error.status, PMAP_EINVAL, r == NULL);
    struct pmap_iter *it = pmap_imap(pool, square, PMAP_ARRAY(in, FEW), .retry_delay = -1, .error = &error);
    judge("refused imap", error.status, PMAP_EINVAL, it == NULL);
    pmap_close(pool);
    r = pmap_apply_async(pool, add, &out[0], 3, 4, .error = &error);
    judge("apply on a closed pool", error.status, PMAP_ECLOSED, r == NULL);
    it = pmap_imap(pool, square, PMAP_ARRAY(in, FEW), .error = &error);
    judge("imap on a closed pool", error.status, PMAP_ECLOSED, it == NULL);
}

/* ---- Bytes ---- */

static void streams_of_bytes(struct pmap_pool *pool)
{
    struct pmap_error error;
    struct pmap_bytes y = {NULL, 0};
    enum pmap_status status;
    int next = 0, items = 0;
    bool right = true, lost = false;

    struct pmap_iter *it = pmap_imap(pool, reverse, PMAP_GENERATOR(words, &next), .chunksize = 3, .error = &error);
    if (it == NULL) {
        judge("imap of bytes", error.status, PMAP_OK, false);
        return;
    }
    while ((status = pmap_iter_next(it, &y, PMAP_FOREVER)) != PMAP_END) {
        lost |= status == PMAP_ENOMEM;
        life->refused += status == PMAP_ENOMEM;
        right &= status == PMAP_ENOMEM ? y.data == NULL && y.size == 0
                                       : status == PMAP_OK && y.size == pmap_iter_item(it) % 5;
        items += status == PMAP_OK;
        pmap_bytes_free(&y, 1);
    }
    judge("imap of bytes", PMAP_OK, PMAP_OK, right && (lost || items == FEW));
    pmap_iter_free(it);
    next = 0;
    it = pmap_imap(pool, reverse, PMAP_GENERATOR(words, &next), .chunksize = 2, .buffersize = 10, .error = &error);
    if (it && pmap_iter_next(it, &y, PMAP_FOREVER) == PMAP_OK)
        pmap_bytes_free(&y, 1);
    pmap_iter_free(it); /* in the middle */
}

static void maps_of_bytes(struct pmap_pool *pool)
{
    static char text[FEW + 1] = "abc!efghijklmnopqrstuvwx";
    struct pmap_bytes in[FEW], out[FEW];
    enum pmap_status statuses[FEW];
    bool right = true;
    struct pmap_error error;

    for (int retries = 0; retries < 2; retries++) {
        for (size_t i = 0; i < FEW; i++)
            in[i] = (struct pmap_bytes){text + i, i % 4 ? FEW - i : 0};
        memset(out, 0, sizeof out);
        enum pmap_status status = pmap_map(pool, reverse, in, out, FEW, .chunksize = 5, .on_error = PMAP_COLLECT,
                                           .statuses = statuses, .retries = retries, .error = &error);
        for (size_t i = 0; i < FEW && status == PMAP_OK; i++)
            right &= is_item(statuses[i], i == 3 ? PMAP_EFAILED : PMAP_OK, (int)out[i].size, (int)in[i].size);
        judge("map of bytes", status, PMAP_OK, right);
        pmap_bytes_free(out, FEW);
    }
    enum pmap_status status = pmap_apply(pool, reverse, &out[0], in[5], .error = &error);
    judge("apply of bytes", status, PMAP_OK, out[0].size == in[5].size);
    pmap_bytes_free(out, 1);
}

/* ---- Reductions and shared data ---- */

static void reductions(struct pmap_pool *pool)
{
    enum { LEAVES = 50 };
    static int in[LEAVES];
    struct pmap_error error;
    int out = 42, expected = 0;

    for (int i = 0; i < LEAVES; i++) {
        in[i] = i;
        expected += in[i] * in[i];
    }
    for (int retries = 0; retries < 2; retries++) {
        out = 42;
        enum pmap_status status = pmap_reduce(pool, square, add, in, &out, LEAVES, .retries = retries, .chunksize = 7,
                                              .error = &error);
        judge(retries ? "reduce with retries" : "reduce", status, PMAP_OK, out == expected);
        if (status != PMAP_OK)
            judge("out of a reduce that fails", PMAP_OK, PMAP_OK, out == 42);
    }
}

static void reductions_of_what_fails(struct pmap_pool *pool)
{
    enum { LEAVES = 40 };
    static int in[LEAVES];
    struct pmap_error error;
    int out = 42, expected = 0;

    for (int i = 0; i < LEAVES; i++) {
        in[i] = i % 20 == 10 ? -1 : 2;
        expected += in[i] * in[i];
        atomic_store(&runs[i], 0);
    }
    enum pmap_status status = pmap_reduce(pool, moody, add, in, &out, LEAVES, .retries = 20, .error = &error);
    judge("reduce of what fails once", status, PMAP_OK, out == expected);
    out = 42;
    in[20] = -2;
    status = pmap_reduce(pool, moody, add, in, &out, LEAVES, .retries = 1, .error = &error);
    judge("reduce of what fails", status, PMAP_EFAILED, out == 42);
}

static void shared_data(struct pmap_pool *pool)
{
    static int table[3000];
    struct look_up_args args[FEW];
    int out[FEW];
    struct pmap_handle handle = {0, 0}, again = {0, 0};
    bool right = true;
    struct pmap_error error;

    for (int i = 0; i < 3000; i++)
        table[i] = 3 * i;
    enum pmap_status status = pmap_share(pool, table, sizeof table, &handle, .error = &error);
    judge("share", status, PMAP_OK, pmap_shared(handle) != NULL);
    for (int i = 0; i < FEW; i++)
        args[i] = (struct look_up_args){handle, 100 * i};
    if (status == PMAP_OK) {
        status = pmap_starmap(pool, look_up, args, out, FEW, .error = &error);
        for (int i = 0; i < FEW; i++)
            right &= out[i] == 300 * i;
        judge("starmap with shared data", status, PMAP_OK, right);
        status = pmap_unshare(pool, handle);
        judge("unshare", status, PMAP_OK, pmap_shared(handle) == NULL);
    }
    status = pmap_share(pool, table, sizeof table, &again, .error = &error); /* freed with the pool */
    judge("share again", status, PMAP_OK, true);
}

/* ---- Map-reduces ---- */

/* A number under its last digit. */
static void by_digit(struct pmap_view record, struct pmap_emitter *out)
{
    int x;
    memcpy(&x, record.data, sizeof x);
    pmap_emit_i64(out, &(char){(char)(x % 10)}, 1, x);
}

static void sum_values(struct pmap_view key, struct pmap_values *values, struct pmap_emitter *out)
{
    struct pmap_view value;
    int64_t sum = 0;

    while (pmap_values_next(values, &value))
        sum += pmap_view_i64(value);
    pmap_emit_i64(out, key.data, key.size, sum);
}

static void pass_on(struct pmap_view key, struct pmap_view value, struct pmap_emitter *out)
{
    pmap_emit(out, key.data, key.size, value.data, value.size);
}

/* Twelve values of 64 KiB for each number, random: they are not compressed, which would be allocations of zstd's. */
static void much(struct pmap_view record, struct pmap_emitter *out)
{
    static _Thread_local uint64_t value[8192];
    uint64_t state = 88172645463325252u;

    for (size_t i = 0; i < 12; i++) {
        for (size_t k = 0; k < 8192; k++)
            value[k] = state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
        pmap_emit(out, record.data, record.size, value, sizeof value);
    }
}

PMAP_MAPREDUCE(digits, .map_record = by_digit, .combine = pmap_sum_i64);
PMAP_MAPREDUCE(listed_digits, .map_record = by_digit, .reduce = sum_values);
PMAP_MAPREDUCE(passed_on, .map_pair = pass_on, .reduce = sum_values);
PMAP_MAPREDUCE(large, .map_record = much);

struct totals {
    int64_t n, sum;
};

static bool add_up(void *user, struct pmap_view key, struct pmap_view value)
{
    struct totals *t = user;
    t->n += (int64_t)key.size;
    t->sum += pmap_view_i64(value);
    return true;
}

static bool stop_at_once(void *user, struct pmap_view key, struct pmap_view value)
{
    (void)user, (void)key, (void)value;
    return false;
}

static void mapreduces(struct pmap_pool *pool)
{
    int in[FEW];
    struct totals t = {0, 0};
    struct pmap_error error;

    for (int i = 0; i < FEW; i++)
        in[i] = i;
    enum pmap_status status = pmap_mapreduce(pool, listed_digits, PMAP_RECORDS(in, FEW), .partitions = 2, .split_size = 48, .deliver = add_up,
                                             .user = &t, .order = PMAP_ORDER_RANGES, .retries = 1, .error = &error);
    judge("map-reduce", status, PMAP_OK, t.n == 10 && t.sum == FEW * (FEW - 1) / 2);
}

static void datasets(struct pmap_pool *pool)
{
    int in[FEW];
    struct totals t = {0, 0};
    struct pmap_dataset *set = NULL;
    struct pmap_error error;

    for (int i = 0; i < FEW; i++)
        in[i] = i;
    enum pmap_status status = pmap_mapreduce(pool, digits, PMAP_RECORDS(in, FEW), .partitions = 2, .keep = &set, .error = &error);
    judge("dataset", status, PMAP_OK, set != NULL);
    if (status != PMAP_OK) {
        judge("dataset of a call that fails", PMAP_OK, PMAP_OK, set == NULL);
        return;
    }
    status = pmap_mapreduce(pool, passed_on, PMAP_DATASET(set), .partitions = 2, .deliver = add_up, .user = &t, .error = &error);
    judge("map-reduce of a dataset", status, PMAP_OK, t.n == 10 && t.sum == FEW * (FEW - 1) / 2);
    pmap_dataset_free(set);
}

static void spilled_mapreduces(struct pmap_pool *pool)
{
    int in[2] = {1, 2};
    struct totals t = {0, 0};
    struct pmap_error error;

    enum pmap_status status = pmap_mapreduce(pool, large, PMAP_RECORDS(in, 2), .memory = 1 << 20, .partitions = 2, .split_size = 4,
                                             .deliver = add_up, .user = &t, .error = &error);
    judge("map-reduce in scratch", status, PMAP_OK, t.n == 24 * (int64_t)sizeof in[0]);
}

/* ---- The pool itself ---- */

static atomic_int initialized, threads_initialized;

static void initialize(const void *initarg) { atomic_fetch_add(&initialized, *(const int *)initarg == 17); }

static void initialize_thread(const void *initarg) { atomic_fetch_add(&threads_initialized, *(const int *)initarg == 17); }

static void pools(struct pmap_pool *pool)
{
    struct pmap_error error;
    struct pmap_pool *other = pool;
    const int seventeen = 17;

    atomic_store(&initialized, 0);
    atomic_store(&threads_initialized, 0);
    enum pmap_status status = pmap_create(&other, .threads = test_threads(), .initializer = initialize,
                                          .thread_initializer = initialize_thread, .initarg = &seventeen,
                                          .initarg_size = sizeof seventeen, .max_tasks_per_worker = 10, .error = &error);
    judge("another pool", status, PMAP_OK, other != NULL);
    if (status != PMAP_OK) {
        judge("pool after a failed create", PMAP_OK, PMAP_OK, other == NULL);
        return;
    }
    judge("initializers", PMAP_OK, PMAP_OK, atomic_load(&initialized) == test_ranks() &&
                                             atomic_load(&threads_initialized) == pmap_threads(other));
    map(other, 0);
    pmap_destroy(other);
}

/* A journal that has no memory for a result breaks, and says why. */
static enum pmap_status lack(enum pmap_status status, const struct pmap_error *error)
{
    return status == PMAP_EJOURNAL && strstr(error->text, "no memory") ? PMAP_ENOMEM : status;
}

/* A pool with a journal of a former one, in which every third item of this one is known. */
static void use_journal(const char *path, int stride)
{
    static int in[N], out[N];
    static enum pmap_status statuses[N];
    struct pmap_bytes text = {(void *)(uintptr_t)"two", 3}, reversed = {NULL, 0};
    struct pmap_pool *pool = NULL;
    struct pmap_error error;
    bool right = true;
    int sum = 0;

    enum pmap_status status = pmap_create(&pool, .threads = test_threads(), .journal = path, .error = &error);
    judge("pool with a journal", status, PMAP_OK, pool != NULL);
    if (status != PMAP_OK)
        return;
    for (int i = 0; i < FEW; i++)
        in[i] = i * stride;
    status = pmap_map(pool, square, in, out, FEW, .on_error = PMAP_COLLECT, .statuses = statuses, .name = "map", .error = &error);
    for (int i = 0; i < FEW && status == PMAP_OK; i++)
        right &= is_item(statuses[i], PMAP_OK, out[i], in[i] * in[i]);
    judge("map with a journal", lack(status, &error), PMAP_OK, right);
    status = pmap_reduce(pool, square, add, in, &sum, FEW, .name = "reduce", .error = &error);
    judge("reduction with a journal", lack(status, &error), PMAP_OK, sum == stride * stride * 23 * 24 * 47 / 6);
    status = pmap_apply(pool, reverse, &reversed, text, .name = "reverse", .error = &error);
    judge("bytes with a journal", lack(status, &error), PMAP_OK, reversed.size == 3 && memcmp(reversed.data, "owt", 3) == 0);
    pmap_bytes_free(&reversed, 1);
    pmap_destroy(pool);
}

static void journals(struct pmap_pool *pool)
{
    char path[PATH_MAX];
    const char *directory = getenv("PMAP_TEST_DIR");

    (void)pool;
    snprintf(path, sizeof path, "%s/alloc.db", directory ? directory : ".");
    remove(path);
    use_journal(path, 3);
    use_journal(path, 1);
    remove(path);
}

static enum pmap_status count_digits(struct pmap_pool *pool, bool stop, struct totals *t, struct pmap_error *error)
{
    int in[FEW];

    for (int i = 0; i < FEW; i++)
        in[i] = i;
    return pmap_mapreduce(pool, digits, PMAP_RECORDS(in, FEW), .partitions = 2, .split_size = 48, .deliver = stop ? stop_at_once : add_up,
                          .user = t, .name = "digits", .error = error);
}

/* A map-reduce is cut short when its splits are in the journal, and made again. */
static void count_with_journal(const char *path)
{
    struct pmap_error error;
    struct pmap_pool *pool;
    struct totals t = {0, 0};
    enum pmap_status status = pmap_create(&pool, .threads = test_threads(), .journal = path, .error = &error);

    judge("create with a journal for a map-reduce", status, PMAP_OK, pool != NULL);
    if (status != PMAP_OK)
        return;
    status = count_digits(pool, true, &t, &error);
    judge("map-reduce that is cut short", lack(status, &error), PMAP_ECANCELLED, true);
    status = count_digits(pool, false, &t, &error);
    judge("map-reduce that goes on", lack(status, &error), PMAP_OK,
          t.n == 10 && t.sum == FEW * (FEW - 1) / 2);
    pmap_destroy(pool);
}

static void journals_of_splits(struct pmap_pool *pool)
{
    char path[PATH_MAX];
    const char *directory = getenv("PMAP_TEST_DIR");

    (void)pool;
    snprintf(path, sizeof path, "%s/splits.db", directory ? directory : ".");
    remove(path);
    count_with_journal(path);
    remove(path); /* what it has left is the next life's to remove */
}

/* What is under way is cancelled, or was done before. */
static void terminated_pools(struct pmap_pool *pool)
{
    static int in[N], out[N];
    struct pmap_error error, another;
    struct calls calls = {0}, more = {0};

    struct pmap_result *r = pmap_map_async(pool, square, in, out, N, .callback = note_good, .error_callback = note_bad,
                                           .user = &calls, .error = &error);
    struct pmap_result *s = pmap_map_async(pool, moody, in, out, N, .retries = 3, .callback = note_good,
                                           .error_callback = note_bad, .user = &more, .error = &another);
    struct pmap_iter *it = pmap_imap(pool, square, PMAP_ARRAY(in, FEW), .error = &error);
    pmap_terminate(pool);
    pmap_join(pool);
    enum pmap_status status = result_of(r, &error, &calls);
    judge("terminated map", status == PMAP_OK ? PMAP_ECANCELLED : status, PMAP_ECANCELLED, true);
    status = result_of(s, &another, &more);
    judge("terminated map with retries", status == PMAP_OK ? PMAP_ECANCELLED : status, PMAP_ECANCELLED, true);
    pmap_iter_free(it);
}

static void live_once(void (*call)(struct pmap_pool *))
{
    struct pmap_error error;
    struct pmap_pool *pool = (struct pmap_pool *)&error;
    enum pmap_status status = pmap_create(&pool, .threads = test_threads(), .error = &error);

    judge("create", status, PMAP_OK, pool != NULL);
    if (status != PMAP_OK) {
        judge("pool after a failed create", PMAP_OK, PMAP_OK, pool == NULL);
        return;
    }
    call(pool);
    if (call != terminated_pools && call != refused_calls)
        map(pool, 0); /* whatever failed before, and the pool may have no memory yet again */
    pmap_destroy(pool);
}

/* ---- The sweep --------------------------------------------------------------------------------------- */

/* In the child: a life in which the k-th allocation fails. */
static void live_with_failure(void (*call)(struct pmap_pool *), long k)
{
    atomic_store(&failures, 0);
    atomic_store(&until_failure, k);
    atomic_store(&watching, true);
    live_once(call);
    atomic_store(&watching, false);
    life->left = live.n;
    life->failures = atomic_load(&failures);
    life->ended = true;
}

/* The first line that the child wrote, and its status. */
static int run_child(void (*call)(struct pmap_pool *), long k, char line[static 200])
{
    int ends[2], status = -1;
    size_t n = 0;

    if (pipe(ends) != 0)
        abort();
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        alarm(10);
        live_with_failure(call, k);
        _exit(0);
    }
    close(ends[1]);
    for (ssize_t got; n < 199 && (got = read(ends[0], line + n, 199 - n)) > 0;)
        n += (size_t)got;
    close(ends[0]);
    line[n] = '\0';
    line[strcspn(line, "\n")] = '\0';
    waitpid(child, &status, 0);
    return status;
}

/* On virtual ranks the library may give up, with a text. */
static bool gave_up(int status, const char *line)
{
    return test_ranks() > 1 && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && strncmp(line, "pmap: ", 6) == 0;
}

/* False when there are not so many allocations. */
static bool life_with_failure(void (*call)(struct pmap_pool *), long k)
{
    char line[200];

    memset(life, 0, sizeof *life);
    int status = run_child(call, k, line);
    life->gave_up = gave_up(status, line);
    if (life->gave_up)
        return true;
    CHECK_SAYING(life->ended && status == 0, "allocation %ld fails: the process ends with %s %d: %s", k,
                 WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), line);
    CHECK_SAYING(life->wrong == NULL, "allocation %ld fails: %s: %s", k, life->wrong != NULL ? life->wrong : "",
                 pmap_status_name(life->status));
    CHECK_SAYING(life->left == 0, "allocation %ld fails: %d allocations are not freed", k, life->left);
    CHECK_SAYING(life->refused == 0 || !life->ended || life->failures > 0, "PMAP_ENOMEM though allocation %ld did not fail", k);
    return !life->ended || life->failures > 0;
}

/* The later ones in leaps: the k-th is followed by the (k + 1 + k / stride)-th. */
static void sweep(void (*call)(struct pmap_pool *), long stride)
{
    stride = (long)test_size((size_t)stride, 8);

    life = mmap(NULL, sizeof *life, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int all_after = 0; all_after < 2; all_after++) {
        long k = 1, bad = 0;
        atomic_store(&for_ever, all_after);
        while (k < 10000 && bad < 3 && life_with_failure(call, k)) {
            bad += !life->ended && !life->gave_up;
            k += 1 + k / stride;
        }
        CHECK_SAYING(k > 1 && k < 10000, "the sweep ends at allocation %ld", k);
    }
    munmap(life, sizeof *life);
}

#define SWEEP(call) \
    static void each_allocation_fails_in_turn_for_##call(void) { sweep(call, 10000); }
#define SWEEP_IN_LEAPS(call) \
    static void each_allocation_fails_in_turn_for_##call(void) { sweep(call, 20); }
#define SWEEP_IN_LARGE_LEAPS(call) \
    static void each_allocation_fails_in_turn_for_##call(void) { sweep(call, 4); }
SWEEP(maps)
SWEEP(blocks_and_starmaps)
SWEEP(failing_maps)
SWEEP(maps_with_statuses)
SWEEP(maps_with_costs)
SWEEP(maps_with_retries)
SWEEP(applies)
SWEEP(calls_inside_tasks)
SWEEP(async_calls)
SWEEP(forgotten_results)
SWEEP(streams_of_an_array)
SWEEP(streams_of_a_generator)
SWEEP(refused_calls)
SWEEP(streams_of_bytes)
SWEEP(maps_of_bytes)
SWEEP(reductions)
SWEEP(reductions_of_what_fails)
SWEEP(shared_data)
SWEEP_IN_LEAPS(mapreduces)
SWEEP_IN_LEAPS(datasets)
SWEEP_IN_LEAPS(spilled_mapreduces)
SWEEP(pools)
SWEEP_IN_LEAPS(journals)
SWEEP_IN_LARGE_LEAPS(journals_of_splits)
SWEEP(terminated_pools)

static const struct test tests[] = {
    TEST(each_allocation_fails_in_turn_for_maps),
    TEST(each_allocation_fails_in_turn_for_blocks_and_starmaps),
    TEST(each_allocation_fails_in_turn_for_failing_maps),
    TEST(each_allocation_fails_in_turn_for_maps_with_statuses),
    TEST(each_allocation_fails_in_turn_for_maps_with_costs),
    TEST(each_allocation_fails_in_turn_for_maps_with_retries),
    TEST(each_allocation_fails_in_turn_for_applies),
    TEST(each_allocation_fails_in_turn_for_calls_inside_tasks),
    TEST(each_allocation_fails_in_turn_for_async_calls),
    TEST(each_allocation_fails_in_turn_for_forgotten_results),
    TEST(each_allocation_fails_in_turn_for_streams_of_an_array),
    TEST(each_allocation_fails_in_turn_for_streams_of_a_generator),
    TEST(each_allocation_fails_in_turn_for_refused_calls),
    TEST(each_allocation_fails_in_turn_for_streams_of_bytes),
    TEST(each_allocation_fails_in_turn_for_maps_of_bytes),
    TEST(each_allocation_fails_in_turn_for_reductions),
    TEST(each_allocation_fails_in_turn_for_reductions_of_what_fails),
    TEST(each_allocation_fails_in_turn_for_shared_data),
    TEST(each_allocation_fails_in_turn_for_mapreduces),
    TEST(each_allocation_fails_in_turn_for_datasets),
    TEST(each_allocation_fails_in_turn_for_spilled_mapreduces),
    TEST(each_allocation_fails_in_turn_for_pools),
    TEST(each_allocation_fails_in_turn_for_journals),
    TEST(each_allocation_fails_in_turn_for_journals_of_splits),
    TEST(each_allocation_fails_in_turn_for_terminated_pools),
    {NULL, NULL},
};

int main(int argc, char *argv[]) { return test_main(argc, argv, tests, "t1 t2 v3 v2t2"); }
