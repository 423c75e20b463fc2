/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Every allocation fails in turn: the first one of a pool's life, then the second, … until a life passes in which
 * none failed. Each time every call gives the right results or PMAP_ENOMEM, and nothing is left behind.
 *
 * The linker sends the library's calls of malloc and its kin, and of pthread_create, to the functions __wrap_… in
 * here (options in Makefile.am), which works because the tests link the library statically. What other libraries
 * allocate is their own affair.
 */
#include "harness.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Tasks ------------------------------------------------------------------------------------------- */

static int square(int x) { return x < 0 ? pmap_fail(2, "negative input %d", x) : x * x; }
PMAP_TASK(square, int, int);

static int add(int a, int b) { return a + b; }
PMAP_TASK(add, int, int, int);

static void halve(size_t n, const double in[], double out[])
{
    for (size_t i = 0; i < n; i++)
        out[i] = in[i] / 2;
}
PMAP_BLOCK_TASK(halve, double, double);

/* ---- Allocations that fail, and those that live ------------------------------------------------------ */

static atomic_bool watching;
static atomic_long until_failure; /* the allocation that brings it to zero fails */
static atomic_bool for_ever;      /* so do all after it */
static atomic_long failures;

/* Pointers that were allocated while watching and not freed since: a hash table with linear probing in which a
 * freed place stays taken, by the address of the table itself, until the next clear. */
enum { PLACES = 1 << 15 };
static struct {
    pthread_mutex_t lock;
    void *places[PLACES];
    int n; /* live */
} live = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void live_clear(void)
{
    memset(live.places, 0, sizeof live.places);
    live.n = 0;
}

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
    return must_fail() ? EAGAIN : __real_pthread_create(thread, attributes, run, argument);
}

/* ---- A pool's life ----------------------------------------------------------------------------------- */

enum { N = 500 };

/* What went wrong in a life, for a check after it; checks allocate. */
struct life {
    const char *wrong; /* a call that gave neither the right results nor PMAP_ENOMEM; NULL if none did */
    enum pmap_status status;
    int refused; /* calls that ended with PMAP_ENOMEM */
};

static void judge(struct life *life, const char *call, enum pmap_status status, enum pmap_status wanted, bool right)
{
    life->refused += status == PMAP_ENOMEM;
    if (status == PMAP_ENOMEM || (status == wanted && right) || life->wrong != NULL)
        return;
    life->wrong = call;
    life->status = status;
}

static void live_map(struct life *life, struct pmap_pool *pool, ptrdiff_t chunksize, bool failing)
{
    static int in[N], out[N];
    bool right = true;
    struct pmap_error error;

    for (int i = 0; i < N; i++)
        in[i] = failing && i % 100 == 50 ? -1 : i;
    enum pmap_status status = pmap_map(pool, square, in, out, N, .chunksize = chunksize, .error = &error);
    for (int i = 0; i < N; i++)
        right &= out[i] == (in[i] < 0 ? 0 : i * i);
    judge(life, failing ? "failing map" : "map", status, failing ? PMAP_EFAILED : PMAP_OK,
          right && (!failing || error.item == 50));
}

static void live_starmap(struct life *life, struct pmap_pool *pool)
{
    static struct add_args args[N];
    static int out[N];
    bool right = true;
    struct pmap_error error;

    for (int i = 0; i < N; i++)
        args[i] = (struct add_args){i, 7};
    enum pmap_status status = pmap_starmap(pool, add, args, out, N, .error = &error);
    for (int i = 0; i < N; i++)
        right &= out[i] == i + 7;
    judge(life, "starmap", status, PMAP_OK, right);
}

static void live_block_map(struct life *life, struct pmap_pool *pool)
{
    static double in[N], out[N];
    bool right = true;
    struct pmap_error error;

    for (int i = 0; i < N; i++)
        in[i] = i;
    enum pmap_status status = pmap_map(pool, halve, in, out, N, .error = &error);
    for (int i = 0; i < N; i++)
        right &= out[i] == 0.5 * i;
    judge(life, "block map", status, PMAP_OK, right);
}

static void live_apply(struct life *life, struct pmap_pool *pool)
{
    struct pmap_error error;
    int y = 0;
    enum pmap_status status = pmap_apply(pool, add, &y, 3, 4, .error = &error);

    judge(life, "apply", status, PMAP_OK, y == 7);
}

static struct life live_once(void)
{
    struct life life = {NULL, PMAP_OK, 0};
    struct pmap_error error;
    struct pmap_pool *pool = (struct pmap_pool *)&error;
    enum pmap_status status = pmap_create(&pool, .threads = test_threads(), .error = &error);

    judge(&life, "create", status, PMAP_OK, pool != NULL);
    if (status != PMAP_OK) {
        judge(&life, "pool after a failed create", status, status, pool == NULL);
        return life;
    }
    live_map(&life, pool, 0, false);
    live_map(&life, pool, 7, false);
    live_starmap(&life, pool);
    live_map(&life, pool, 3, true);
    live_block_map(&life, pool);
    live_apply(&life, pool);
    live_map(&life, pool, 0, false); /* whatever failed before, and the pool may have no memory yet again */
    pmap_destroy(pool);
    return life;
}

/* A life in which the k-th allocation fails. False when there were fewer. */
static bool life_with_failure(long k)
{
    struct life life;

    live_clear();
    atomic_store(&failures, 0);
    atomic_store(&until_failure, k);
    atomic_store(&watching, true);
    life = live_once();
    atomic_store(&watching, false);
    CHECK_SAYING(life.wrong == NULL, "allocation %ld fails: %s: %s", k, life.wrong != NULL ? life.wrong : "",
                 pmap_status_name(life.status));
    CHECK_SAYING(live.n == 0, "allocation %ld fails: %d allocations are not freed", k, live.n);
    CHECK_SAYING(life.refused == 0 || atomic_load(&failures) > 0, "PMAP_ENOMEM though allocation %ld did not fail", k);
    return atomic_load(&failures) > 0;
}

static void sweep(bool all_after)
{
    long k = 1;

    atomic_store(&for_ever, all_after);
    live_once(); /* what the process allocates once and for all is not a leak of a pool */
    while (k < 10000 && life_with_failure(k))
        k++;
    CHECK_SAYING(k > 1 && k < 10000, "the sweep ends at allocation %ld", k);
}

static void each_allocation_fails_in_turn(void) { sweep(false); }

static void all_allocations_fail_from_each_in_turn(void) { sweep(true); }

static const struct test tests[] = {
    TEST(each_allocation_fails_in_turn),
    TEST(all_allocations_fail_from_each_in_turn),
    {NULL, NULL},
};

int main(int argc, char *argv[]) { return test_main(argc, argv, tests, "t1 t2"); }
