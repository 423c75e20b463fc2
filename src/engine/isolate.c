/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The rank's side of a cell. A run of items goes to the child in orders of up to HAND bytes: the thread copies them into the
 * window, gives the turn away, and waits; then it takes the results that the child has counted as done out of the window. What was
 * not done when the turn came back is given once more, without the item that failed; and to another child if this one is dead.
 *
 * Whom a death is charged to. The child counts the items that it begins, and those that are done: if it died with one more begun than done
 * that one has crashed, else nobody has. Nor has one that the thread did not mean: SIGKILL, for an item that had overstayed
 * its time, may hit the next.
 */
#include "engine/isolate_inside.h"

#include "base/clock.h"
#include "base/error.h"
#include "engine/recorder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Items and results of one order, as far as they can be divided: copied while they are in a processor's second cache, and
 * long enough to make handing over cheap. */
#define HAND ((size_t)256 << 10)
#define HAND_ITEMS ((size_t)1 << 16)

/* Windows that grew beyond this for an order are given back after it. */
#define KEPT ((size_t)4 << 20)

/* ---- Orders ---- */

/* A part of a run on its way through the window: the positions [begin, begin + n), which are items or, with a fold, leaves. */
struct errand {
    struct pmap__run *run;
    struct pmap__fold *fold; /* NULL: items */
    struct pmap__worker *worker;
    struct pmap__order *order;
    size_t begin, n;
    size_t taken;         /* results of so many of them are where they belong */
    uint64_t item_before; /* the child's count when it got the turn, */
    size_t from;          /* and what was done then */
};

static size_t result_size(const struct errand *e)
{
    return e->fold ? e->fold->op->size : e->run->task->bytes ? sizeof(struct pmap__extent) : e->run->task->result_size;
}

/* Items at these positions. */
static size_t items_in(const struct errand *e, size_t begin, size_t n)
{
    if (e->fold == NULL)
        return n;
    size_t first = (e->run->base + begin) * e->fold->leaf, left = e->fold->total - first;
    return left / e->fold->leaf < n ? left : n * e->fold->leaf;
}

static const struct pmap_bytes *bytes_at(const struct errand *e, size_t position)
{
    return (const struct pmap_bytes *)(const void *)pmap__run_args(e->run, position);
}

static size_t aligned(size_t size)
{
    return (size + 63) / 64 * 64;
}

/* How many positions to hand over, of so many; *size: bytes of items behind their names. */
static size_t choose(const struct errand *e, size_t want, size_t *size)
{
    const struct pmap_task *task = e->run->task;
    size_t each = task->args_size * (e->fold ? e->fold->leaf : 1), n = 0;

    if (task->block && !e->fold) {
        n = e->run->names ? 1 : want;
    } else if (!task->bytes) {
        n = HAND / (each + result_size(e) + 1);
        n = n < 1 ? 1 : n > HAND_ITEMS ? HAND_ITEMS : n;
        n = n < want ? n : want;
    }
    *size = items_in(e, e->begin, n) * task->args_size;
    if (!task->bytes)
        return n;
    *size = 0;
    while (n < want && n < HAND_ITEMS && (n == 0 || *size + bytes_at(e, e->begin + n)->size < HAND))
        *size += aligned(bytes_at(e, e->begin + n++)->size) + sizeof(struct pmap__extent);
    *size += 64;
    return n;
}

static void copy_bytes(const struct errand *e, char *window, size_t items_at)
{
    struct pmap__extent *extents = (struct pmap__extent *)(void *)(window + items_at);
    size_t at = aligned(items_at + e->n * sizeof *extents);

    for (size_t i = 0; i < e->n; i++) {
        const struct pmap_bytes *item = bytes_at(e, e->begin + i);
        extents[i] = (struct pmap__extent){.at = at, .size = item->size, .is_null = item->data == NULL};
        if (item->size)
            memcpy(window + at, item->data, item->size);
        at += aligned(item->size);
    }
}

static void copy_items(const struct errand *e, char *items, size_t size)
{
    size_t each = e->run->task->args_size;

    if (e->run->scattered)
        for (size_t i = 0; i < e->n; i++)
            memcpy(items + i * each, pmap__run_args(e->run, e->begin + i), each);
    else if (e->fold)
        memcpy(items, e->run->args + e->begin * e->fold->leaf * each, size);
    else
        memcpy(items, pmap__run_args(e->run, e->begin), size);
}

/* Copy as many positions as suit one order into the window. False: there is no memory for the first. */
static bool load(struct errand *e, size_t want)
{
    struct pmap__cell *cell = &e->worker->cell;
    const struct pmap__run *run = e->run;
    struct pmap__order *order = e->order;
    size_t size;

    e->n = choose(e, want, &size);
    size_t names = run->names ? e->n * sizeof *run->names : 0, items_at = aligned(names);
    if (!pmap__window_grow(&cell->in, items_at + size) || !pmap__window_grow(&cell->out, e->n * result_size(e)))
        return false;
    for (size_t i = 0; names && i < e->n; i++)
        ((size_t *)(void *)cell->in.bytes)[i] = pmap__run_name(run, e->begin + i);
    if (run->task->bytes)
        copy_bytes(e, cell->in.bytes, items_at);
    else if (size)
        copy_items(e, cell->in.bytes + items_at, size);
    *order = (struct pmap__order){
        .kind = e->fold ? PMAP__ORDER_LEAVES : run->task->block ? PMAP__ORDER_BLOCK : PMAP__ORDER_ITEMS,
        .task = run->task->id,
        .op = e->fold ? e->fold->op->id : 0,
        .seed = run->seed,
        .first = run->names ? 0 : run->base + e->begin,
        .n = e->n,
        .named = names,
        .items_at = items_at,
        .leaf = e->fold ? e->fold->leaf : 0,
        .total = e->fold ? e->fold->total : 0,
        .timed = run->limits.timeout,
        .weighed = run->limits.max_rss,
        .out_used = e->n * result_size(e),
    };
    e->taken = 0;
    return true;
}

/* ---- Results ---- */

static void item_failed(const struct errand *e, size_t i, const struct pmap_error *error)
{
    struct pmap__run *run = e->run;
    size_t position = e->begin + i, n = run->task->block && !e->fold ? e->n : 1;
    char *result = e->fold ? NULL : pmap__run_result(run, position);

    if (run->noting)
        pmap__noting_miss(run->noting, n, false);
    if (e->fold) {
        pmap__failures_count(run->failures, error, 1);
        pmap__fold_miss(run, position, error->status);
        return;
    }
    if (result && run->task->result_size)
        memset(result, 0, n * run->task->result_size);
    struct pmap_error named = *error;
    named.item = pmap__run_name(run, position);
    pmap__failures_add(run->failures, &named, n);
}

/* It was cancelled, before it ran or while it did. */
static void item_skipped(const struct errand *e, size_t i, size_t n)
{
    if (!e->fold) {
        pmap__run_skip(e->run, e->begin + i, e->begin + i + n);
        return;
    }
    pmap__failures_skipped(e->run->failures, n);
    for (; n > 0; n--)
        pmap__fold_miss(e->run, e->begin + i++, PMAP_EFAILED);
}

/* The same, and it had begun. */
static void item_gave_up(const struct errand *e, size_t i, size_t n)
{
    if (e->run->noting)
        pmap__noting_miss(e->run->noting, n, true);
    item_skipped(e, i, n);
}

static void take_bytes(const struct errand *e, size_t i)
{
    const struct pmap__cell *cell = &e->worker->cell;
    struct pmap__extent extent = ((const struct pmap__extent *)(const void *)cell->out.bytes)[i];
    struct pmap_bytes *result = (struct pmap_bytes *)(void *)pmap__run_result(e->run, e->begin + i), copy = {NULL, (size_t)extent.size};
    struct pmap_error error;

    if (extent.at > cell->out.size || extent.size > cell->out.size - extent.at)
        copy.size = SIZE_MAX; /* the child has written where it must not */
    if (!extent.is_null && copy.size < PTRDIFF_MAX)
        copy.data = malloc(copy.size ? copy.size : 1);
    if (copy.data && copy.size)
        memcpy(copy.data, cell->out.bytes + extent.at, copy.size);
    if (copy.data || extent.is_null) {
        *result = copy;
        return;
    }
    pmap__error_set(&error, PMAP_ENOMEM, "pmap: no memory for a result of %zu bytes on %s (rank %d)", copy.size,
                    e->run->place->host, e->run->place->rank);
    pmap__place_add(&error, e->run->place, e->run->thread);
    item_failed(e, i, &error);
}

/* Results of the positions up to done. */
static void take_results(struct errand *e, size_t done)
{
    const char *out = e->worker->cell.out.bytes;
    size_t size = result_size(e), n = done - e->taken;

    if (e->fold)
        for (; e->taken < done; e->taken++)
            pmap__fold_keep(e->fold, e->run, e->begin + e->taken, out + e->taken * size);
    else if (size == 0 || e->run->results == NULL)
        ;
    else if (e->run->task->bytes)
        for (; e->taken < done; e->taken++)
            take_bytes(e, e->taken);
    else if (e->run->scattered)
        for (; e->taken < done; e->taken++)
            memcpy(pmap__run_result(e->run, e->begin + e->taken), out + e->taken * size, size);
    else
        memcpy(pmap__run_result(e->run, e->begin + e->taken), out + e->taken * size, n * size);
    e->taken = done;
}

/* ---- Conversations ---- */

/* The position has cost the child its life. */
static void item_crashed(const struct errand *e, size_t i, const struct pmap__watch *watch)
{
    const struct pmap__run *run = e->run;
    size_t first = e->fold ? (run->base + e->begin + i) * e->fold->leaf : pmap__run_name(run, e->begin + i);
    size_t n = e->fold ? items_in(e, e->begin + i, 1) : run->task->block ? e->n : 1;
    struct pmap_error error;
    char how[128], items[64];

    int code = pmap__watch_tell_end(watch, how, sizeof how);
    if (n > 1)
        snprintf(items, sizeof items, "items %zu-%zu", first, first + n - 1);
    else
        snprintf(items, sizeof items, "item %zu", first);
    pmap__error_set(&error, PMAP_ECRASHED, "pmap: %s%s%s crashed at %s on %s (rank %d, thread %d): %s", run->task->name,
                    e->fold ? " or " : "", e->fold ? e->fold->op->name : "", items, run->place->host, run->place->rank, run->thread, how);
    error.code = code;
    error.item = first;
    pmap__place_add(&error, run->place, run->thread);
    item_failed(e, i, &error);
}

/* The child is dead. Whose fault was it? Returns how many positions are dealt with. */
static size_t settle_death(const struct errand *e, size_t done, struct pmap__watch *watch)
{
    uint64_t item = atomic_load(&e->worker->cell.block->item), begun = item - e->item_before;
    uint64_t finished = e->order->kind == PMAP__ORDER_BLOCK ? done > 0 : done - e->from;
    bool meant = watch->condemned == 0 || watch->condemned == item || !watch->killed;
    size_t n = e->order->kind == PMAP__ORDER_BLOCK ? e->n : 1;

    if (begun <= finished || !meant || done >= e->n)
        return done;
    if (watch->condemned != item)
        watch->why = NULL; /* that was about another */
    if (watch->condemned == item && watch->why == NULL)
        item_gave_up(e, done, n);
    else
        item_crashed(e, done, watch);
    return done + n;
}

static void seal(struct pmap__order *order)
{
    order->seal = order->end_seal = PMAP__ORDER_SEAL;
}

/* The turn is over, but is it what it looks like? An item that writes where it must not may have hit what it and we have in common: then
 * nothing that the child has said counts, and it is dead to us. */
static bool is_sound(struct pmap__cell *cell, const struct pmap__order *order)
{
    unsigned state = atomic_load(&cell->block->state);

    if (order->seal == PMAP__ORDER_SEAL && order->end_seal == PMAP__ORDER_SEAL && (state == PMAP__HOME || state == PMAP__GONE))
        return true;
    pmap__cell_abandon(cell);
    return false;
}

/* What the child says of a failure, within bounds. */
static const struct pmap_error *error_of(struct pmap__order *order)
{
    struct pmap_error *error = &order->error;

    error->text[sizeof error->text - 1] = '\0';
    error->host[sizeof error->host - 1] = '\0';
    if ((unsigned)error->status == PMAP_OK || (unsigned)error->status > PMAP_EJOURNAL)
        error->status = PMAP_EFAILED;
    return error;
}

static size_t done_by(const struct errand *e)
{
    size_t done = atomic_load(&e->order->done);
    return done < e->from ? e->from : done <= e->n ? done : e->n;
}

/* The window out, as far as the child has made it. */
static void see_results(struct errand *e)
{
    size_t size = e->order->out_size;

    if (size > e->worker->cell.out.size && size <= PMAP__RANGE_SIZE / 2)
        pmap__window_see(&e->worker->cell.out, size);
}

/* Nobody knows how far the child has come, nor where it went wrong: if it had one position to do, there; else they are given to
 * others one by one, to find out. Returns as give_turn. */
static size_t settle_ruin(const struct errand *e, const struct pmap__watch *watch)
{
    bool block = e->order->kind == PMAP__ORDER_BLOCK;

    if (block || e->n - e->from == 1) {
        item_crashed(e, e->from, watch);
        return e->from + (block ? e->n : 1);
    }
    e->worker->singly = e->n - e->from;
    return e->from;
}

/* Give the turn to the child from position from on, until it comes back. Returns how many positions are dealt with then. */
static size_t give_turn(struct errand *e, size_t from, struct pmap__watch *watch)
{
    struct pmap__cell *cell = &e->worker->cell;
    struct pmap__order *order = e->order;
    size_t n = order->kind == PMAP__ORDER_BLOCK ? e->n : 1;

    order->from = e->from = from;
    atomic_store(&order->done, from);
    order->failed = order->gave_up = false;
    order->in_size = cell->in.size;
    order->out_size = cell->out.size;
    seal(order);
    e->item_before = atomic_load(&cell->block->item);
    atomic_store(&cell->block->since, pmap__now());
    atomic_store(&cell->block->resident, UINT64_MAX / 2); /* until it knows better */
    atomic_store(&cell->block->stop, false);
    if (pmap__cell_give(cell))
        pmap__watch_wait(watch, PMAP__AWAY);
    if (!is_sound(cell, order))
        return settle_ruin(e, watch);
    size_t done = done_by(e);
    e->worker->done += done - from;
    see_results(e);
    take_results(e, done);
    if (done < e->n && (order->failed || order->gave_up)) {
        e->worker->done++;
        e->taken = done + n; /* it has no result */
        if (order->failed)
            item_failed(e, done, error_of(order));
        else
            item_gave_up(e, done, n);
        return done + n;
    }
    return pmap__cell_is_home(cell) ? done : settle_death(e, done, watch);
}

static void tidy(struct pmap__cell *cell)
{
    if (cell->in.size > KEPT)
        pmap__window_drop(&cell->in);
    if (cell->out.size > KEPT)
        pmap__window_drop(&cell->out);
}

static void no_room(const struct errand *e)
{
    struct pmap_error error;

    pmap__error_set(&error, PMAP_ENOMEM, "pmap: no shared memory for %zu items of %zu bytes and their results of %zu bytes on %s (rank %d)",
                    items_in(e, e->begin, e->n), e->run->task->args_size, result_size(e), e->run->place->host, e->run->place->rank);
    error.item = e->fold ? (e->run->base + e->begin) * e->fold->leaf : pmap__run_name(e->run, e->begin);
    pmap__place_add(&error, e->run->place, e->run->thread);
    item_failed(e, 0, &error);
}

/* Some of the positions [e->begin, end), in one order. Returns how many are dealt with. */
static size_t do_errand(struct errand *e, size_t end)
{
    struct pmap__run *run = e->run;
    struct pmap__watch watch = {.worker = e->worker, .place = run->place, .cancelled = run->cancelled, .limits = run->limits};
    size_t want = end - e->begin, most = run->place->crew->max_tasks, at = 0;
    struct pmap_error error;
    bool block = run->task->block && !e->fold;

    e->n = block && !run->names ? want : 1;
    if (pmap__watch_have_child(run->place->cells, &watch, &error) != PMAP_OK) {
        error.item = e->fold ? (run->base + e->begin) * e->fold->leaf : error.item;
        item_failed(e, 0, &error);
        return e->n;
    }
    e->order = &pmap__orders_of(&e->worker->cell)->order;
    if (most && !block && most - e->worker->done < want)
        want = most - e->worker->done;
    if (e->worker->singly && !block) {
        e->worker->singly--;
        want = 1;
    }
    if (!load(e, want)) {
        no_room(e);
        return block ? e->n : 1;
    }
    do
        at = give_turn(e, at, &watch);
    while (at < e->n && pmap__cell_is_home(&e->worker->cell) && !e->worker->killed && !pmap__run_stopped(run));
    tidy(&e->worker->cell);
    return at;
}

/* These n positions have been dealt with. */
static void note(const struct errand *e, size_t n)
{
    struct pmap__run *run = e->run;
    size_t at = e->begin;

    for (; run->names && at < e->begin + n - 1; at++)
        pmap__noting_count(run->noting, pmap__run_name(run, at), 1);
    n -= at - e->begin;
    pmap__noting_piece(run->noting, e->fold ? (run->base + at) * e->fold->leaf : pmap__run_name(run, at), items_in(e, at, n));
}

static void run_all(struct errand *e, size_t end)
{
    while (e->begin < end) {
        if (pmap__run_stopped(e->run)) {
            item_skipped(e, 0, end - e->begin);
            return;
        }
        size_t n = do_errand(e, end);
        if (e->run->ran && !e->fold)
            e->run->ran(e->run, e->begin, e->begin + n);
        if (e->run->noting && n > 0) /* none: they are to be given to another child, one by one */
            note(e, n);
        e->begin += n;
    }
}

void pmap__isolated_span(struct pmap__run *run, size_t begin, size_t end)
{
    struct errand errand = {.run = run, .worker = &run->place->cells->workers[run->thread], .begin = begin};
    run_all(&errand, end);
}

void pmap__isolated_fold(struct pmap__fold *fold, struct pmap__run *run, size_t begin, size_t end)
{
    struct errand errand = {.run = run, .fold = fold, .worker = &run->place->cells->workers[run->thread], .begin = begin};
    run_all(&errand, end);
}

/* ---- Merging ---- */

/* A merge whose child was killed before it began is given to so many. */
#define MERGINGS 3

static enum pmap_status merge_crashed(const struct pmap__fold *fold, const struct pmap__watch *watch, struct pmap_error *error)
{
    char how[128];

    if (watch->condemned && watch->why == NULL)
        return pmap__error_set(error, PMAP_ECANCELLED, "pmap: %s was cancelled", fold->op->name);
    int code = pmap__watch_tell_end(watch, how, sizeof how);

    pmap__error_set(error, PMAP_ECRASHED, "pmap: %s crashed on %s (rank %d): %s", fold->op->name, fold->place->host,
                    fold->place->rank, how);
    error->code = code;
    pmap__place_add(error, fold->place, 0);
    return PMAP_ECRASHED;
}

/* With a child at home. *begun: has it come so far that its death is the op's fault? */
static enum pmap_status merge(const struct pmap__fold *fold, const char *values, char *value, struct pmap__watch *watch,
                              bool *begun, struct pmap_error *error)
{
    struct pmap__cell *cell = &watch->worker->cell;
    uint64_t item = atomic_load(&cell->block->item);
    struct pmap__order *order = &pmap__orders_of(cell)->order;
    size_t size = fold->op->size;

    *begun = true;
    if (!pmap__window_grow(&cell->in, 2 * size) || !pmap__window_grow(&cell->out, size))
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: no shared memory for values of %zu bytes", size);
    memcpy(cell->in.bytes, values, 2 * size);
    *order = (struct pmap__order){.kind = PMAP__ORDER_MERGE, .op = fold->op->id, .timed = fold->limits.timeout,
                                  .weighed = fold->limits.max_rss, .in_size = cell->in.size, .out_size = cell->out.size};
    seal(order);
    atomic_store(&cell->block->since, pmap__now());
    atomic_store(&cell->block->resident, UINT64_MAX / 2);
    if (pmap__cell_give(cell))
        pmap__watch_wait(watch, PMAP__AWAY);
    bool sound = is_sound(cell, order);
    *begun = !sound || atomic_load(&cell->block->item) != item;
    if (!sound)
        return merge_crashed(fold, watch, error);
    if (order->failed)
        *error = *error_of(order);
    else if (atomic_load(&order->done) == 0)
        return merge_crashed(fold, watch, error);
    if (!order->failed)
        memcpy(value, cell->out.bytes, size);
    watch->worker->done++;
    tidy(cell);
    return order->failed ? error->status : PMAP_OK;
}

enum pmap_status pmap__isolated_merge(const struct pmap__fold *fold, const char *values, char *value, struct pmap_error *error)
{
    struct pmap__cells *cells = fold->place->cells;
    struct pmap__watch watch = {.worker = &cells->workers[cells->threads], .place = fold->place, .cancelled = fold->cancelled,
                                .limits = fold->limits};
    enum pmap_status status;
    bool begun;
    int times = 0;

    pthread_mutex_lock(&cells->merging);
    do {
        begun = true;
        *error = (struct pmap_error){.status = PMAP_OK};
        status = pmap__watch_have_child(cells, &watch, error);
        if (status == PMAP_OK)
            status = merge(fold, values, value, &watch, &begun, error);
    } while (status == PMAP_ECRASHED && !begun && ++times < MERGINGS);
    pthread_mutex_unlock(&cells->merging);
    return status;
}
