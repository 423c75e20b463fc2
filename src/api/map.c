/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap_map, pmap_starmap and pmap_apply, and their async kin: options in, one job each.
 */
#include "api/api.h"

#include "base/error.h"
#include "engine/here.h"
#include "engine/wait.h"

#include <math.h>
#include <stdlib.h>

static enum pmap_status check_costs(const struct pmap__call *call, const double *cost, size_t n, struct pmap_error *error)
{
    for (size_t i = 0; cost && i < n; i++)
        if (isnan(cost[i]))
            return pmap__error_set(error, PMAP_EINVAL, "%s: cost[%zu] is not a number", call->name, i);
    return PMAP_OK;
}

static enum pmap_status check_callbacks(const struct pmap__call *call, pmap_callback_fn *callback,
                                        pmap_error_callback_fn *error_callback, struct pmap_error *error)
{
    if (call->async || (callback == NULL && error_callback == NULL))
        return PMAP_OK;
    return pmap__error_set(error, PMAP_EINVAL, "%s: %s is given, but callbacks are for async calls: use %s_async", call->name,
                           callback ? "callback" : "error_callback", call->name);
}

/* What a map asks for, if it makes sense. */
static enum pmap_status read_map(const struct pmap__call *call, const struct pmap_map_options *o, struct pmap__order_form *form,
                                 struct pmap_error *error)
{
    enum pmap_status status = pmap__form_fill(form, call, o->chunksize, o->retries, o->retry_delay, o->priority, o->seed, error);

    if (status == PMAP_OK)
        status = pmap__form_limit(form, call, o->timeout, o->max_rss, error);
    if (status == PMAP_OK && (o->on_error < PMAP_RUN_ALL || o->on_error > PMAP_COLLECT))
        return pmap__error_set(error, PMAP_EINVAL, "%s: on_error is %d, none of the enum's", call->name, (int)o->on_error);
    if (status == PMAP_OK && o->on_error == PMAP_COLLECT && o->statuses == NULL && o->n > 0)
        return pmap__error_set(error, PMAP_EINVAL, "%s: on_error is PMAP_COLLECT, but statuses is NULL", call->name);
    if (status == PMAP_OK)
        status = check_callbacks(call, o->callback, o->error_callback, error);
    if (status == PMAP_OK)
        status = pmap__call_check(call, o->n, error);
    if (status == PMAP_OK)
        status = check_costs(call, o->cost, o->n, error);
    form->n = o->n;
    form->name = pmap__call_name(call, o->name, o->where);
    form->on_error = o->on_error;
    form->statuses = o->statuses;
    form->max_failures = o->max_failures;
    form->cost = o->cost;
    form->callback = o->callback;
    form->error_callback = o->error_callback;
    form->user = o->user;
    return status;
}

static enum pmap_status read_apply(const struct pmap__call *call, const struct pmap_apply_options *o,
                                   struct pmap__order_form *form, struct pmap_error *error)
{
    enum pmap_status status = pmap__form_fill(form, call, 0, o->retries, o->retry_delay, o->priority, o->seed, error);

    if (status == PMAP_OK)
        status = pmap__form_limit(form, call, o->timeout, o->max_rss, error);
    if (status == PMAP_OK)
        status = check_callbacks(call, o->callback, o->error_callback, error);
    if (status == PMAP_OK)
        status = pmap__call_check(call, 1, error);
    form->n = 1;
    form->name = pmap__call_name(call, o->name, o->where);
    form->copy_args = call->async;
    form->callback = o->callback;
    form->error_callback = o->error_callback;
    form->user = o->user;
    return status;
}

/* ---- To the end ---- */

static enum pmap_status run(const struct pmap__call *call, enum pmap_status status, const struct pmap__order_form *form,
                            struct pmap_error *error, struct pmap_error *wanted)
{
    if (status == PMAP_OK && form->n > 0)
        status = pmap__call_run(call, form, error);
    return status == PMAP_OK ? PMAP_OK : pmap__error_report(wanted, error);
}

static enum pmap_status map(const struct pmap__call *call, const struct pmap_map_options *options)
{
    struct pmap_map_options o;
    struct pmap__order_form form = {0};
    struct pmap_error error;

    if (pmap__options_read(call->name, options, offsetof(struct pmap_map_options, chunksize), &o, sizeof o, &error) != PMAP_OK)
        return pmap__error_report(NULL, &error);
    enum pmap_status status = read_map(call, &o, &form, &error);
    return run(call, status, &form, &error, o.error);
}

enum pmap_status pmap_map_with(struct pmap_pool *pool, struct pmap_task *task, const void *in, size_t in_size, void *out,
                               size_t out_size, const struct pmap_map_options *options)
{
    struct pmap__call call = {.name = "pmap_map", .in_name = "in", .pool = pool, .task = task, .in = in, .out = out,
                              .in_size = in_size, .out_size = out_size, .map = true};
    return map(&call, options);
}

enum pmap_status pmap_starmap_with(struct pmap_pool *pool, struct pmap_task *task, const void *args, size_t args_size,
                                   void *out, size_t out_size, const struct pmap_map_options *options)
{
    struct pmap__call call = {.name = "pmap_starmap", .in_name = "args", .pool = pool, .task = task, .in = args, .out = out,
                              .in_size = args_size, .out_size = out_size};
    return map(&call, options);
}

enum pmap_status pmap_apply_with(struct pmap_pool *pool, struct pmap_task *task, const void *args, void *out,
                                 const struct pmap_apply_options *options)
{
    struct pmap__call call = {.name = "pmap_apply", .in_name = "args", .pool = pool, .task = task, .in = args, .out = out};
    struct pmap_apply_options o;
    struct pmap__order_form form = {0};
    struct pmap_error error;

    if (pmap__options_read(call.name, options, sizeof o.size, &o, sizeof o, &error) != PMAP_OK)
        return pmap__error_report(NULL, &error);
    enum pmap_status status = read_apply(&call, &o, &form, &error);
    return run(&call, status, &form, &error, o.error);
}

/* ---- Async ---- */

static enum pmap_status start(const struct pmap__call *call, const struct pmap__order_form *form, struct pmap_result **result,
                              struct pmap_error *error)
{
    struct pmap_result *r = malloc(sizeof *r);

    if (r == NULL || pmap__job_init(&r->job, form) != PMAP_OK) {
        free(r);
        return pmap__error_set(error, PMAP_ENOMEM, "%s: no memory for a job", call->name);
    }
    enum pmap_status status = PMAP_OK;
    *result = r; /* in sight of callbacks, which may come at once */
    if (pmap__item_running(NULL, NULL))
        pmap__job_run_here(&r->job);
    else
        status = pmap__tenant_submit(&call->pool->tenant, &r->job, error);
    if (status == PMAP_OK)
        return PMAP_OK;
    *result = NULL;
    pmap__job_fini(&r->job);
    free(r);
    return status;
}

static struct pmap_result *run_async(const struct pmap__call *call, enum pmap_status status, const struct pmap__order_form *form,
                                     struct pmap_error *error, struct pmap_error *wanted)
{
    struct pmap_result *result = NULL;

    if (status == PMAP_OK)
        status = start(call, form, &result, error);
    if (status != PMAP_OK)
        pmap__error_report(wanted, error);
    return result;
}

static struct pmap_result *map_async(const struct pmap__call *call, const struct pmap_map_options *options)
{
    struct pmap_map_options o;
    struct pmap__order_form form = {0};
    struct pmap_error error;

    if (pmap__options_read(call->name, options, offsetof(struct pmap_map_options, chunksize), &o, sizeof o, &error) != PMAP_OK) {
        pmap__error_report(NULL, &error);
        return NULL;
    }
    enum pmap_status status = read_map(call, &o, &form, &error);
    return run_async(call, status, &form, &error, o.error);
}

struct pmap_result *pmap_map_async_with(struct pmap_pool *pool, struct pmap_task *task, const void *in, size_t in_size,
                                        void *out, size_t out_size, const struct pmap_map_options *options)
{
    struct pmap__call call = {.name = "pmap_map_async", .in_name = "in", .pool = pool, .task = task, .in = in, .out = out,
                              .in_size = in_size, .out_size = out_size, .map = true, .async = true};
    return map_async(&call, options);
}

struct pmap_result *pmap_starmap_async_with(struct pmap_pool *pool, struct pmap_task *task, const void *args,
                                            size_t args_size, void *out, size_t out_size,
                                            const struct pmap_map_options *options)
{
    struct pmap__call call = {.name = "pmap_starmap_async", .in_name = "args", .pool = pool, .task = task, .in = args,
                              .out = out, .in_size = args_size, .out_size = out_size, .async = true};
    return map_async(&call, options);
}

struct pmap_result *pmap_apply_async_with(struct pmap_pool *pool, struct pmap_task *task, const void *args, void *out,
                                          const struct pmap_apply_options *options)
{
    struct pmap__call call = {.name = "pmap_apply_async", .in_name = "args", .pool = pool, .task = task, .in = args, .out = out,
                              .async = true};
    struct pmap_apply_options o;
    struct pmap__order_form form = {0};
    struct pmap_error error;

    if (pmap__options_read(call.name, options, sizeof o.size, &o, sizeof o, &error) != PMAP_OK) {
        pmap__error_report(NULL, &error);
        return NULL;
    }
    enum pmap_status status = read_apply(&call, &o, &form, &error);
    return run_async(&call, status, &form, &error, o.error);
}
