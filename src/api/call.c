/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What all calls that run items have in common: checks, options, and the way through the engine. A call is a job that is
 * submitted and awaited; inside a task it runs on the spot.
 */
#include "api/api.h"

#include "base/error.h"
#include "base/memory.h"
#include "engine/here.h"
#include "engine/loop.h"
#include "engine/wait.h"

#include <math.h>
#include <string.h>

/* ---- Checks ---- */

enum pmap_status pmap__element_check(const struct pmap__call *c, const char *array, size_t given, size_t needed,
                                     struct pmap_error *error)
{
    if (given == 0 || given == needed)
        return PMAP_OK;
    return pmap__error_set(error, PMAP_EINVAL, "%s: an element of %s has %zu bytes, but task %s, %s, needs %zu", c->name,
                           array, given, c->task->name, c->task->signature, needed);
}

static enum pmap_status check_array(const struct pmap__call *c, const char *array, const void *base, size_t n, size_t size,
                                    struct pmap_error *error)
{
    size_t bytes;

    if (n > SIZE_MAX / 256) /* the cursor needs room behind the last; items of no size could be as many */
        return pmap__error_set(error, PMAP_EINVAL, "%s: n is %zu, more than SIZE_MAX / 256", c->name, n);
    if (size == 0)
        return PMAP_OK;
    if (!pmap__multiply(n, size, &bytes) || bytes > PTRDIFF_MAX)
        return pmap__error_set(error, PMAP_EINVAL, "%s: n is %zu, and so many elements of %zu bytes do not fit into memory",
                               c->name, n, size);
    if (base == NULL && n > 0)
        return pmap__error_set(error, PMAP_EINVAL, "%s: %s is NULL, but n is %zu", c->name, array, n);
    return PMAP_OK;
}

/* Bytes that are nowhere. A single item of apply is looked at, too. */
enum pmap_status pmap__bytes_check(const struct pmap__call *c, const char *array, const void *base, size_t n,
                                   struct pmap_error *error)
{
    const struct pmap_bytes *items = base;

    for (size_t i = 0; c->task->bytes && items && i < n; i++)
        if (items[i].data == NULL && items[i].size > 0)
            return pmap__error_set(error, PMAP_EINVAL, "%s: %s[%zu] has %zu bytes, but its data is NULL", c->name, array, i,
                                   items[i].size);
    return PMAP_OK;
}

static enum pmap_status check_task(const struct pmap__call *c, struct pmap_error *error)
{
    if (c->task == NULL)
        return pmap__error_set(error, PMAP_EINVAL, "%s: task is NULL", c->name);
    if (c->task->id == 0 || c->task->run == NULL)
        return pmap__error_set(error, PMAP_EINVAL, "%s: task %s is not registered", c->name,
                               c->task->name ? c->task->name : "(null)");
    /* Python's map passes one argument, starmap any number; so here. */
    if (c->map && c->task->arguments != 1)
        return pmap__error_set(error, PMAP_EINVAL, "%s: task %s, %s, takes %u arguments, not 1: use pmap_starmap", c->name,
                               c->task->name, c->task->signature, c->task->arguments);
    return PMAP_OK;
}

/* What depends on where the call is made. */
static enum pmap_status check_place(const struct pmap__call *c, struct pmap_error *error)
{
    if (pmap__item_running(NULL, NULL))
        return PMAP_OK;
    enum pmap_status status = c->async ? PMAP_OK : pmap__may_wait(c->name, error);
    if (status != PMAP_OK)
        return status;
    status = pmap__tenant_admits(&c->pool->tenant, c->name, error);
    if (status != PMAP_OK)
        return status;
    if (pmap__root_ranks(c->pool->tenant.root) > 1 && strchr(c->task->signature, '*'))
        return pmap__error_set(error, PMAP_EINVAL,
                               "%s: task %s, %s, has a pointer in its types, and an address means nothing on another rank: "
                               "pass what it points to", c->name, c->task->name, c->task->signature);
    if (c->pool->tenant.journal && strchr(c->task->signature, '*'))
        return pmap__error_set(error, PMAP_EINVAL,
                               "%s: task %s, %s, has a pointer in its types, and an address in the journal means nothing in the "
                               "next run: use a pool without a journal, or pass what it points to", c->name, c->task->name,
                               c->task->signature);
    return pmap__wait_forbidden() ? PMAP_OK : pmap__root_admits(c->pool->tenant.root, error);
}

enum pmap_status pmap__call_check(const struct pmap__call *c, size_t n, struct pmap_error *error)
{
    if (c->pool == NULL && !pmap__item_running(NULL, NULL))
        return pmap__error_set(error, PMAP_EINVAL, "%s: pool is NULL; only the root of a pool has one", c->name);
    enum pmap_status status = check_task(c, error);
    if (status == PMAP_OK && c->in_name)
        status = pmap__element_check(c, c->in_name, c->in_size, c->task->args_size, error);
    if (status == PMAP_OK && c->out != NULL)
        status = pmap__element_check(c, "out", c->out_size, c->task->result_size, error);
    if (status == PMAP_OK && c->in_name)
        status = check_array(c, c->in_name, c->in, n, c->task->args_size, error);
    if (status == PMAP_OK && c->in_name)
        status = check_array(c, "out", c->out, n, c->task->result_size, error);
    if (status == PMAP_OK && c->in_name)
        status = pmap__bytes_check(c, c->in_name, c->in, n, error);
    return status == PMAP_OK ? check_place(c, error) : status;
}

enum pmap_status pmap__form_fill(struct pmap__order_form *form, const struct pmap__call *call, ptrdiff_t chunksize, int retries,
                                 double retry_delay, int priority, uint64_t seed, struct pmap_error *error)
{
    if (chunksize < 0)
        return pmap__error_set(error, PMAP_EINVAL, "%s: chunksize is %td, not 0 (choose for me) or more", call->name,
                               chunksize);
    if (retries < 0)
        return pmap__error_set(error, PMAP_EINVAL, "%s: retries is %d, not 0 or more", call->name, retries);
    if (!(retry_delay >= 0 && retry_delay <= 1e9))
        return pmap__error_set(error, PMAP_EINVAL, "%s: retry_delay is %g, not a number of seconds from 0 on", call->name,
                               retry_delay);
    form->call = call->name;
    form->task = call->task;
    form->args = call->in;
    form->results = call->out;
    form->chunksize = (size_t)chunksize;
    form->retries = retries;
    form->retry_delay = (uint64_t)(retry_delay * 1e9);
    form->priority = priority;
    form->seed = seed ? seed : pmap__item_subseed();
    return PMAP_OK;
}

enum pmap_status pmap__form_limit(struct pmap__order_form *form, const struct pmap__call *call, double timeout, size_t max_rss,
                                  struct pmap_error *error)
{
    const char *name = timeout != 0 ? "timeout" : "max_rss";

    if (!(timeout >= 0 && timeout <= 1e9))
        return pmap__error_set(error, PMAP_EINVAL, "%s: timeout is %g, not a number of seconds from 0 on", call->name, timeout);
    if (max_rss > INT64_MAX)
        return pmap__error_set(error, PMAP_EINVAL, "%s: max_rss is %zu, more than any machine has", call->name, max_rss);
    if (timeout == 0 && max_rss == 0)
        return PMAP_OK;
    if (pmap__item_running(NULL, NULL))
        return pmap__error_set(error, PMAP_EINVAL, "%s: %s is given in a call inside a task, whose items have no processes of their own",
                               call->name, name);
    if (call->pool && !pmap__root_place(call->pool->tenant.root)->cells)
        return pmap__error_set(error, PMAP_EINVAL, "%s: %s is given, but only a pool created with .isolate can hold an item to it",
                               call->name, name);
    form->limits.timeout = timeout > 0 && timeout < 1e-9 ? 1 : (uint64_t)(timeout * 1e9);
    form->limits.max_rss = max_rss;
    return PMAP_OK;
}

enum pmap_status pmap__may_wait(const char *call, struct pmap_error *error)
{
    const char *where = pmap__wait_forbidden() ? "a callback" : pmap__item_running(NULL, NULL) ? "a task"
                        : pmap__item_must_not_wait() ? "an operation or an initializer" : NULL;

    if (where == NULL)
        return PMAP_OK;
    return pmap__error_set(error, PMAP_EDEADLOCK, "%s: called inside %s, where nothing can be waited for", call, where);
}

enum pmap_status pmap__timeout_check(const char *call, double timeout, struct pmap_error *error)
{
    if (!isnan(timeout))
        return PMAP_OK;
    return pmap__error_set(error, PMAP_EINVAL, "%s: timeout is not a number", call);
}

enum pmap_status pmap__timed_out(const char *call, struct pmap_error *wanted)
{
    return pmap__error_set(wanted, PMAP_ETIMEOUT, "%s: not ready yet", call);
}

/* ---- Running ---- */

static bool is_done(const void *job)
{
    return pmap__job_is_done(job);
}

enum pmap_status pmap__call_run(const struct pmap__call *call, const struct pmap__order_form *form, struct pmap_error *error)
{
    bool here = pmap__item_running(NULL, NULL);
    struct pmap__job job;

    if (pmap__job_init(&job, form) != PMAP_OK)
        return pmap__error_set(error, PMAP_ENOMEM, "%s: no memory for a job", call->name);
    pmap__job_watch(&job);
    enum pmap_status status = PMAP_OK;
    bool guest = !here && pmap__guest_enter(); /* before it is submitted, so that nobody is woken for it */
    if (here)
        pmap__job_run_here(&job);
    else
        status = pmap__tenant_submit(&call->pool->tenant, &job, error);
    if (status == PMAP_OK && !here)
        pmap__wait(is_done, &job, PMAP__FOR_EVER);
    if (guest && pmap__guest_here()) /* a wait that turned out to be long has ended the visit */
        pmap__guest_leave();
    pmap__recall_settle(&job);
    if (status == PMAP_OK)
        status = pmap__job_outcome(&job, error);
    pmap__job_fini(&job);
    return status;
}
