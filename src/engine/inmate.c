/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/inmate.h"

#include "base/error.h"
#include "engine/fold.h"
#include "engine/order.h"
#include "engine/registry.h"
#include "engine/share.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One process, one of these. */
static struct {
    struct pmap__cell cell;
    struct pmap__orders *orders;
    struct pmap__order *order;
    struct pmap__place place;
    struct pmap__failures failures;
} me;

/* exit() in a task is a way to crash; what the program has registered with atexit is for the program. */
static void on_exit_called(int status, void *unused)
{
    (void)unused;
    fflush(NULL);
    _exit(status);
}

/* ---- Results ---- */

static void fail(const struct pmap_error *error)
{
    me.order->error = *error;
    me.order->failed = true;
}

/* Is the item that has just run well? Else say so. */
static bool went_well(void)
{
    struct pmap_error error;

    if (me.failures.count == 0 && me.failures.cancelled == 0)
        return true;
    if (me.failures.count)
        pmap__failures_lowest(&me.failures, &error);
    if (me.failures.count)
        fail(&error);
    else
        me.order->gave_up = true;
    pmap__failures_clear(&me.failures);
    return false;
}

static void count_done(size_t done)
{
    atomic_store_explicit(&me.order->done, done, memory_order_release);
}

/* Results of bytes go into the window, which may have to grow. False: there is no room, and the item has failed. */
static bool keep_bytes(struct pmap__run *run, size_t i, struct pmap_bytes *result)
{
    struct pmap__order *order = me.order;
    size_t at = (order->out_used + 15) / 16 * 16;

    if (!pmap__window_grow(&me.cell.out, at + result->size)) {
        run->at = 0;
        pmap__item_fail_as(PMAP_ENOMEM, 0, "no shared memory for its result");
        pmap__run_wipe(run); /* frees it */
        return false;
    }
    if (result->size)
        memcpy(me.cell.out.bytes + at, result->data, result->size);
    struct pmap__extent *extents = (struct pmap__extent *)(void *)me.cell.out.bytes;
    extents[i] = (struct pmap__extent){.at = at, .size = result->size, .is_null = result->data == NULL};
    order->out_used = at + result->size;
    order->out_size = me.cell.out.size;
    free(result->data);
    return true;
}

/* ---- Items ---- */

static const char *items(void)
{
    return me.cell.in.bytes ? me.cell.in.bytes + me.order->items_at : NULL;
}

static size_t name_of(size_t i)
{
    return me.order->named ? ((const size_t *)(const void *)me.cell.in.bytes)[i] : me.order->first + i;
}

static void begin_item(void)
{
    pmap__cell_begin_item(&me.cell, me.order->timed, me.order->weighed);
}

static bool run_bytes(struct pmap__run *run, size_t i)
{
    const struct pmap__extent *extent = (const struct pmap__extent *)(const void *)items() + i;
    struct pmap_bytes item = {extent->is_null ? NULL : me.cell.in.bytes + extent->at, (size_t)extent->size}, result = {NULL, 0};

    pmap__run_items(run, 1, &item, &result, name_of(i));
    if (me.failures.count == 0 && me.failures.cancelled == 0)
        keep_bytes(run, i, &result);
    return went_well();
}

static bool run_item(struct pmap__run *run, size_t i)
{
    const struct pmap_task *task = run->task;

    if (task->bytes)
        return run_bytes(run, i);
    pmap__run_items(run, 1, task->args_size ? items() + i * task->args_size : NULL,
                    task->result_size ? me.cell.out.bytes + i * task->result_size : NULL, name_of(i));
    return went_well();
}

static void run_items(struct pmap__run *run)
{
    for (size_t i = me.order->from; i < me.order->n && !atomic_load_explicit(&me.cell.block->stop, memory_order_relaxed); i++) {
        begin_item();
        if (!run_item(run, i))
            return;
        count_done(i + 1);
    }
}

static void run_block(struct pmap__run *run)
{
    size_t n = me.order->n;

    begin_item();
    pmap__run_items(run, n, run->task->args_size ? items() : NULL, run->task->result_size ? me.cell.out.bytes : NULL, name_of(0));
    if (went_well())
        count_done(n);
}

static void run_leaves(struct pmap__run *run, const struct pmap_op *op)
{
    struct pmap__order *order = me.order;
    struct pmap__fold fold = {.op = op, .leaf = order->leaf, .total = order->total};

    run->args = run->task->args_size ? items() : NULL;
    run->base = order->first;
    for (size_t i = order->from; i < order->n && !atomic_load_explicit(&me.cell.block->stop, memory_order_relaxed); i++) {
        begin_item();
        pmap__fold_leaf(&fold, run, i, me.cell.out.bytes + i * op->size);
        if (!went_well())
            return;
        count_done(i + 1);
    }
}

static void merge(const struct pmap_op *op)
{
    struct pmap__run role;
    struct pmap_error said;
    char *values = me.cell.in.bytes;

    begin_item();
    pmap__role_begin(&role, op->name, &me.place, 0, &said);
    op->fold(2, values, me.cell.out.bytes);
    pmap__role_end(&role);
    if (said.status != PMAP_OK)
        fail(&said);
    else
        count_done(1);
}

/* The item that comes next fails for what we are. */
static void complain(enum pmap_status status, const char *what)
{
    struct pmap_error error;

    begin_item();
    pmap__error_set(&error, status, "pmap: the processes of this pool on %s (rank %d) %s", me.place.host, me.place.rank, what);
    error.rank = me.place.rank;
    error.thread = me.orders->thread;
    memcpy(error.host, me.place.host, sizeof error.host);
    fail(&error);
}

static const struct pmap_task *find_task(uint64_t id)
{
    static const struct pmap_task *last;
    if (last == NULL || last->id != id)
        last = pmap__task_find(id);
    return last;
}

/* An order, from taking the turn to giving it back. */
static void obey(void)
{
    struct pmap__order *order = me.order;
    const struct pmap_op *op = order->op ? pmap__op_find(order->op) : NULL;
    const struct pmap_task *task = order->kind == PMAP__ORDER_MERGE ? NULL : find_task(order->task);
    struct pmap__run run;

    if ((order->op && op == NULL) || (task == NULL && order->kind != PMAP__ORDER_MERGE)) {
        complain(PMAP_EINVAL, "do not know this task or operation: it was registered after pmap_create");
        return;
    }
    if (order->kind == PMAP__ORDER_MERGE) {
        merge(op);
        return;
    }
    pmap__run_clear(&run);
    run.task = task;
    run.place = &me.place;
    run.thread = me.orders->thread;
    run.failures = &me.failures;
    run.cancelled = &me.cell.block->stop;
    run.seed = order->seed;
    pmap__run_begin(&run);
    if (order->kind == PMAP__ORDER_LEAVES)
        run_leaves(&run, op);
    else if (order->kind == PMAP__ORDER_BLOCK)
        run_block(&run);
    else
        run_items(&run);
    pmap__run_end(&run);
}

/* See what of the windows is taken; the owner may have given back what was more. */
static bool look(void)
{
    pmap__window_trim(&me.cell.in, me.order->in_size);
    pmap__window_trim(&me.cell.out, me.order->out_size);
    return pmap__window_see(&me.cell.in, me.order->in_size) && pmap__window_see(&me.cell.out, me.order->out_size);
}

/* ---- Life ---- */

static void refuse(const struct pmap_error *error)
{
    me.orders->error = *error;
    me.orders->refused = true;
    fflush(NULL);
    _exit(1);
}

static void keep_initarg(void)
{
    size_t size = me.orders->initarg_size;
    struct pmap__crew *crew = &me.orders->crew;

    if (size == 0)
        return;
    void *copy = malloc(size);
    if (copy == NULL || !pmap__window_see(&me.cell.in, size))
        _exit(1);
    crew->initarg = memcpy(copy, me.cell.in.bytes, size);
}

static void initialize(void)
{
    struct pmap_error error;
    static struct pmap__crew crew;

    keep_initarg();
    crew = me.orders->crew;
    me.place.crew = &crew;
    if (pmap__crew_begin(&me.place, &error) != PMAP_OK || pmap__crew_thread_begin(&me.place, me.orders->thread, &error) != PMAP_OK)
        refuse(&error);
    me.place.crew = NULL;
}

void pmap__inmate_live(int file, uint64_t cell)
{
    on_exit(on_exit_called, NULL);
    if (!pmap__cell_enter(&me.cell, file, cell))
        _exit(1);
    me.orders = pmap__orders_of(&me.cell);
    me.order = &me.orders->order;
    me.place.rank = me.orders->rank;
    memcpy(me.place.host, me.orders->host, sizeof me.place.host);
    pmap__failures_init(&me.failures);
    pmap__share_move(file);
    initialize();
    while (pmap__cell_take(&me.cell))
        if (look())
            obey();
        else
            complain(PMAP_ENOMEM, "have no addresses left for items and results");
    fflush(NULL);
    _exit(0);
}
