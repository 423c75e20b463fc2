/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap_reduce: one job whose result is a single value.
 */
#include "api/api.h"

#include "base/error.h"

#include <string.h>

static enum pmap_status check(const struct pmap__call *call, const struct pmap_op *op, const struct pmap_reduce_options *o,
                              struct pmap_error *error)
{
    size_t one = 1;

    /* An array of n items, but a single result. */
    struct pmap__call in_only = *call;
    in_only.out = (void *)&one;
    in_only.out_size = 0;
    enum pmap_status status = pmap__call_check(&in_only, o->n, error);
    if (status != PMAP_OK)
        return status;
    if (call->out == NULL)
        return pmap__error_set(error, PMAP_EINVAL, "pmap_reduce: out is NULL");
    if (op == NULL || op->id == 0 || op->fold == NULL)
        return pmap__error_set(error, PMAP_EINVAL, "pmap_reduce: op is %s", op ? "not registered" : "NULL");
    if (call->task->bytes || call->task->result_size == 0)
        return pmap__error_set(error, PMAP_EINVAL, "pmap_reduce: task %s, %s, has no results of a fixed size to reduce",
                               call->task->name, call->task->signature);
    if (op->size != call->task->result_size)
        return pmap__error_set(error, PMAP_EINVAL, "pmap_reduce: op %s takes %s of %zu bytes, but a result of task %s, %s, has %zu",
                               op->name, op->type, op->size, call->task->name, call->task->signature, call->task->result_size);
    if (o->n == 0 && o->identity == NULL)
        return pmap__error_set(error, PMAP_EINVAL, "pmap_reduce: n is 0, and there is no identity");
    return pmap__element_check(call, "out", call->out_size, call->task->result_size, error);
}

static enum pmap_status run(const struct pmap__call *call, const struct pmap_op *op, const struct pmap_reduce_options *o,
                            struct pmap_error *error)
{
    struct pmap__order_form form = {0};

    enum pmap_status status = pmap__form_fill(&form, call, o->chunksize, o->retries, o->retry_delay, o->priority, o->seed, error);
    if (status == PMAP_OK)
        status = pmap__form_limit(&form, call, o->timeout, o->max_rss, error);
    if (status == PMAP_OK)
        status = check(call, op, o, error);
    if (status != PMAP_OK)
        return status;
    if (o->n == 0) {
        memcpy(call->out, o->identity, op->size);
        return PMAP_OK;
    }
    form.n = o->n;
    form.name = pmap__call_name(call, o->name, o->where);
    form.op = op;
    form.on_error = PMAP_STOP;
    return pmap__call_run(call, &form, error);
}

enum pmap_status pmap_reduce_with(struct pmap_pool *pool, struct pmap_task *task, struct pmap_op *op, const void *in,
                                  size_t in_size, void *out, size_t out_size, const struct pmap_reduce_options *options)
{
    struct pmap__call call = {.name = "pmap_reduce", .in_name = "in", .pool = pool, .task = task, .in = in, .out = out,
                              .in_size = in_size, .out_size = out_size};
    struct pmap_reduce_options o;
    struct pmap_error error;

    if (pmap__options_read(call.name, options, offsetof(struct pmap_reduce_options, identity), &o, sizeof o, &error) != PMAP_OK)
        return pmap__error_report(NULL, &error);
    enum pmap_status status = run(&call, op, &o, &error);
    return status == PMAP_OK ? PMAP_OK : pmap__error_report(o.error, &error);
}
