/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "api/api.h"

#include "base/error.h"
#include "base/hash.h"
#include "base/signals.h"
#include "base/timelimit.h"
#include "engine/item.h"
#include "engine/open.h"
#include "engine/wait.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The verdict on what the caller wants; it goes into the wish, for other ranks may have to hear of it. */
static void check(const char *call, const struct pmap_create_options *o, struct pmap__wish *wish)
{
    if (o->pool == NULL)
        wish->status = pmap__error_set(&wish->error, PMAP_EINVAL, "%s: pool is NULL", call);
    else if (o->threads < 0 || o->threads > 1 << 16)
        wish->status = pmap__error_set(&wish->error, PMAP_EINVAL, "%s: threads is %d, not 0 to %d", call, o->threads,
                                       1 << 16);
    else if (isnan(o->walltime))
        wish->status = pmap__error_set(&wish->error, PMAP_EINVAL, "%s: walltime is not a number", call);
    else if (o->walltime == 0 && pmap__limit_complaint())
        wish->status = pmap__error_set(&wish->error, PMAP_EINVAL, "%s: PMAP_WALLTIME in the environment is \"%s\", %s", call,
                                       getenv("PMAP_WALLTIME"), pmap__limit_complaint());
    else if ((unsigned)o->signals > PMAP_SIGNALS_OFF)
        wish->status = pmap__error_set(&wish->error, PMAP_EINVAL, "%s: signals is %d, none of the enum's", call, (int)o->signals);
    else if (o->initarg_size > 0 && o->initarg == NULL)
        wish->status = pmap__error_set(&wish->error, PMAP_EINVAL, "%s: initarg is NULL, but initarg_size is %zu", call,
                                       o->initarg_size);
    else if (o->journal && o->journal[0] == '\0')
        wish->status = pmap__error_set(&wish->error, PMAP_EINVAL, "%s: journal is an empty path", call);
    else if (o->trace && o->trace[0] == '\0')
        wish->status = pmap__error_set(&wish->error, PMAP_EINVAL, "%s: trace is an empty path", call);
    else if (pmap__show_complaint())
        wish->status = pmap__error_set(&wish->error, PMAP_EINVAL, "%s: %s in the environment is \"%s\", %s", call, pmap__show_complaint(),
                                       getenv(pmap__show_complaint()),
                                       strcmp(pmap__show_complaint(), "PMAP_PROGRESS_EVERY") == 0 ? "no number of seconds above 0" : "not 0 or 1");
}

static enum pmap_status create(const char *call, const struct pmap_create_options *o, const void *comm, const int *root,
                               struct pmap_error *error)
{
    struct pmap__trace_wish trace = {.call = call, .path = o->trace};
    struct pmap__wish wish = {.threads = o->threads, .root = root ? *root : o->root, .dedicated = o->dedicated_root,
                              .survive = o->survive, .comm = comm,
                              .crew = {o->initializer, o->thread_initializer, o->initarg, o->max_tasks_per_worker},
                              .initarg_size = o->initarg_size, .isolate = o->isolate, .journal = o->journal,
                              .journal_version = o->journal_version, .prepare = pmap__trace_prepare, .preparer = &trace,
                              .where = o->where ? pmap__hash(PMAP__HASH_BEGIN, o->where, strlen(o->where)) : 0};
    bool signals = o->signals == PMAP_SIGNALS_ON;
    struct pmap_pool *pool;

    if (o->pool)
        *o->pool = NULL;
    if (pmap__item_running(NULL, NULL))
        return pmap__error_set(error, PMAP_EINVAL, "%s: called inside a task", call);
    if (pmap__wait_forbidden())
        return pmap__error_set(error, PMAP_EDEADLOCK, "%s: called inside a callback", call);
    if (pmap__item_place(NULL, NULL)) /* the other ranks may be waiting for this function */
        return pmap__error_set(error, PMAP_EINVAL, "%s: called inside an initializer, a generator or an operation", call);
    check(call, o, &wish);
    pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        wish.status = pmap__error_set(&wish.error, PMAP_ENOMEM, "%s: no memory for %zu bytes", call, sizeof *pool);
    struct pmap__root *r = NULL;
    struct pmap__journal *journal = NULL;
    /* A rank that serves, in there, does not decide what a signal means: the root, which is given it, too, tells it. */
    if (signals)
        pmap__signals_hold();
    enum pmap_status status = pmap__open(&wish, &r, &journal, error);
    if (status == PMAP_OK && r) {
        pmap__tenant_enter(&pool->tenant, r, journal, signals, o->walltime < 1e9 ? o->walltime : -1);
        pmap__trace_begin(&trace, &pool->tenant, &pool->trace);
        pmap__show_begin(&pool->shown, &pool->tenant, o->progress, signals);
        *o->pool = pool;
    } else {
        pmap__trace_drop(&trace);
        free(pool);
    }
    if (signals)
        pmap__signals_release();
    return status;
}

enum pmap_status pmap__create(const char *call, const struct pmap_create_options *options, const void *comm,
                              const int *root)
{
    struct pmap_create_options o = {0};
    struct pmap_error error;

    enum pmap_status status = pmap__options_read(call, options, offsetof(struct pmap_create_options, threads), &o, sizeof o,
                                                 &error);
    if (status == PMAP_OK)
        status = create(call, &o, comm, root, &error);
    return status == PMAP_OK ? PMAP_OK : pmap__error_report(o.error, &error);
}

enum pmap_status pmap_create_with(const struct pmap_create_options *options)
{
    return pmap__create("pmap_create", options, NULL, NULL);
}

/* ---- Interruptions ---- */

void pmap_interrupt(struct pmap_pool *pool)
{
    if (pool)
        pmap__tenant_interrupt(&pool->tenant);
}

bool pmap_interrupted(const struct pmap_pool *pool)
{
    return pool && pmap__tenant_is_interrupted(&pool->tenant);
}

/* ---- The end ---- */

static enum pmap_status check_end(const char *call, const struct pmap_pool *pool, bool waits, struct pmap_error *error)
{
    if (pool == NULL)
        return pmap__error_set(error, PMAP_EINVAL, "%s: pool is NULL", call);
    return waits ? pmap__may_wait(call, error) : PMAP_OK;
}

enum pmap_status pmap_close(struct pmap_pool *pool)
{
    struct pmap_error error;

    if (check_end("pmap_close", pool, false, &error) != PMAP_OK)
        return pmap__error_report(NULL, &error);
    pmap__tenant_close(&pool->tenant);
    return PMAP_OK;
}

enum pmap_status pmap_terminate(struct pmap_pool *pool)
{
    struct pmap_error error;

    if (check_end("pmap_terminate", pool, false, &error) != PMAP_OK)
        return pmap__error_report(NULL, &error);
    pmap__tenant_terminate(&pool->tenant);
    return PMAP_OK;
}

enum pmap_status pmap_join(struct pmap_pool *pool)
{
    struct pmap_error error;
    enum pmap_status status = check_end("pmap_join", pool, true, &error);

    if (status == PMAP_OK && pmap__tenant_state(&pool->tenant) == PMAP__OPEN)
        status = pmap__error_set(&error, PMAP_EINVAL, "pmap_join: the pool is open: pmap_close or pmap_terminate it first");
    if (status != PMAP_OK)
        return pmap__error_report(NULL, &error);
    pmap__tenant_join(&pool->tenant);
    return PMAP_OK;
}

void pmap_destroy(struct pmap_pool *pool)
{
    struct pmap_error error;

    if (pool == NULL)
        return;
    if (check_end("pmap_destroy", pool, true, &error) != PMAP_OK) {
        pmap__error_report(NULL, &error);
        return;
    }
    pmap__iters_end(pool);
    pmap__tenant_close(&pool->tenant);
    pmap__tenant_join(&pool->tenant);
    pmap__trace_end(pool->trace);
    pmap__show_end(&pool->shown);
    pmap__tenant_leave(&pool->tenant);
    free(pool);
}

int pmap_ranks(const struct pmap_pool *pool)
{
    return pool ? pmap__root_living(pool->tenant.root) : 0;
}

int pmap_threads(const struct pmap_pool *pool)
{
    return pool ? pmap__root_threads(pool->tenant.root) : 0;
}

void pmap_bytes_free(struct pmap_bytes array[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(array[i].data);
        array[i] = (struct pmap_bytes){NULL, 0};
    }
}
