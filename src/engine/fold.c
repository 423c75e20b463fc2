/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/fold.h"

#include "base/error.h"
#include "engine/isolate.h"
#include "engine/recorder.h"

#include <stdlib.h>
#include <string.h>

/* About a thousand leaves, so that many threads can share them, and each long enough that what is done per leaf does not
 * count, where there are items enough. */
#define LEAVES 1024
#define LEAF_MAX 8192
/* Results of a leaf are folded in batches of so many bytes: near enough to be in a processor's first cache, and short enough
 * that the memory does not stand idle for long while they are folded. */
#define BATCH 4096

/* ---- Shape ---- */

size_t pmap__fold_leaf_size(size_t total)
{
    size_t leaf = 1;
    while (leaf < LEAF_MAX && leaf * 2 <= total / LEAVES)
        leaf *= 2;
    return leaf;
}

/* Does this node stand for everything? */
static bool is_top(const struct pmap__fold *fold, int level, size_t index)
{
    return index == 0 && (level >= 63 || (size_t)1 << level >= fold->leaves);
}

/* The leaf behind the last of a node. */
static size_t end_of(const struct pmap__fold *fold, int level, size_t index)
{
    size_t span = (size_t)1 << level, begin = index * span;
    return span < fold->leaves - begin ? begin + span : fold->leaves;
}

size_t pmap__fold_nodes(const struct pmap__fold *fold, size_t begin, size_t end,
                        struct pmap__node nodes[static PMAP__FOLD_NODES])
{
    size_t n = 0;

    while (begin < end) {
        int level = 0;
        size_t index = begin;
        while (!is_top(fold, level, index) && index % 2 == 0 && end_of(fold, level + 1, index / 2) <= end) {
            level++;
            index /= 2;
        }
        nodes[n++] = (struct pmap__node){.level = level, .index = index};
        begin = end_of(fold, level, index);
    }
    return n;
}

/* ---- Nodes ---- */

static struct pmap__node *node_create(const struct pmap__fold *fold, int level, size_t index, const void *value)
{
    struct pmap__node *node = malloc(sizeof *node);

    if (node == NULL)
        return NULL;
    *node = (struct pmap__node){.level = level, .index = index};
    node->value = malloc(2 * fold->op->size);
    if (node->value == NULL) {
        free(node);
        return NULL;
    }
    memcpy(node->value, value, fold->op->size);
    return node;
}

static void node_destroy(struct pmap__node *node)
{
    free(node->value);
    free(node);
}

static struct pmap__node **bucket(struct pmap__fold *fold, int level, size_t index)
{
    return &fold->waiting[(index + (size_t)level * 7) % PMAP__FOLD_BUCKETS];
}

/* Take a waiting node out; NULL if it is not there. Under the lock. */
static struct pmap__node *take(struct pmap__fold *fold, int level, size_t index)
{
    struct pmap__node **at = bucket(fold, level, index);

    while (*at && ((*at)->level != level || (*at)->index != index))
        at = &(*at)->next;
    struct pmap__node *node = *at;
    if (node)
        *at = node->next;
    return node;
}

/* The parent of a and b, which are its halves, in the memory of one of them. */
static struct pmap__node *merge(struct pmap__fold *fold, struct pmap__node *a, struct pmap__node *b,
                                struct pmap_error *error)
{
    struct pmap__node *left = a->index < b->index ? a : b, *right = left == a ? b : a;
    struct pmap__run run;
    size_t size = fold->op->size;

    memcpy(left->value + size, right->value, size);
    if (fold->place->cells) {
        error->status = pmap__isolated_merge(fold, left->value, right->value, error);
    } else {
        pmap__role_begin(&run, fold->op->name, fold->place, 0, error);
        fold->op->fold(2, left->value, right->value);
        pmap__role_end(&run);
    }
    right->level = left->level + 1;
    right->index = left->index / 2;
    node_destroy(left);
    return right;
}

/* The lock is not held while an op runs, which may be long. */
static enum pmap_status add(struct pmap__fold *fold, struct pmap__node *node, struct pmap_error *error)
{
    struct pmap__node *other;

    for (;;) {
        if (is_top(fold, node->level, node->index)) {
            fold->top = node;
            return PMAP_OK;
        }
        size_t sibling = node->index ^ 1;
        if (!fold->apart && node->index % 2 == 0 && end_of(fold, node->level, node->index) == fold->leaves) {
            node->level++; /* it has no right sibling */
            node->index /= 2;
            continue;
        }
        pthread_mutex_lock(&fold->lock);
        other = fold->apart ? NULL : take(fold, node->level, sibling);
        if (other == NULL) {
            struct pmap__node **at = bucket(fold, node->level, node->index);
            node->next = *at;
            *at = node;
        }
        pthread_mutex_unlock(&fold->lock);
        if (other == NULL)
            return PMAP_OK;
        node = merge(fold, node, other, error);
        if (error->status != PMAP_OK) {
            node_destroy(node);
            return error->status;
        }
    }
}

enum pmap_status pmap__fold_add(struct pmap__fold *fold, int level, size_t index, const void *value,
                                struct pmap_error *error)
{
    struct pmap__node *node = node_create(fold, level, index, value);
    if (node == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for a value of %zu bytes", fold->op->size);
    return add(fold, node, error);
}

void pmap__fold_spoil(struct pmap__fold *fold, size_t item, struct pmap_error *error)
{
    error->item = item;
    if (error->status == PMAP_ECANCELLED)
        pmap__failures_skipped(fold->verdict, 1);
    else
        pmap__failures_count(fold->verdict, error, 1);
}

/* ---- Between ranks ---- */

size_t pmap__fold_values(const struct pmap__fold *fold, size_t begin, size_t end)
{
    struct pmap__node nodes[PMAP__FOLD_NODES];
    return fold->apart ? end - begin : pmap__fold_nodes(fold, begin, end, nodes);
}

/* Copy the value of a node, and forget the node. */
static void export(struct pmap__fold *fold, int level, size_t index, char *value)
{
    bool top = is_top(fold, level, index);
    struct pmap__node *node = top ? fold->top : take(fold, level, index);

    memcpy(value, node->value, fold->op->size);
    if (!top)
        node_destroy(node);
}

void pmap__fold_export(struct pmap__fold *fold, size_t begin, size_t end, char *values)
{
    struct pmap__node nodes[PMAP__FOLD_NODES];
    size_t n = pmap__fold_values(fold, begin, end), size = fold->op->size;

    if (!fold->apart)
        pmap__fold_nodes(fold, begin, end, nodes);
    for (size_t i = 0; i < n; i++)
        if (fold->apart)
            export(fold, 0, begin + i, values + i * size);
        else
            export(fold, nodes[i].level, nodes[i].index, values + i * size);
}

enum pmap_status pmap__fold_import(struct pmap__fold *fold, size_t begin, size_t end, const char *values,
                                   struct pmap_error *error)
{
    struct pmap__node nodes[PMAP__FOLD_NODES];
    size_t n = pmap__fold_nodes(fold, begin, end, nodes);
    enum pmap_status status = PMAP_OK;

    for (size_t i = 0; i < n && status == PMAP_OK; i++)
        status = pmap__fold_add(fold, nodes[i].level, nodes[i].index, values + i * fold->op->size, error);
    return status;
}

/* ---- Leaves ---- */

/* What a thread needs for folding leaves: results of a batch, with the value so far in front of them, and the next value. */
struct batch {
    size_t items;
    char *values, *acc;
};

static bool batch_init(struct batch *batch, const struct pmap__fold *fold)
{
    size_t size = fold->op->size, items = BATCH / size;

    batch->items = items < 1 ? 1 : items > fold->leaf ? fold->leaf : items;
    batch->values = malloc((batch->items + 2) * size);
    batch->acc = batch->values ? batch->values + (batch->items + 1) * size : NULL;
    return batch->values != NULL;
}

/* op over values; false if it called pmap_fail, which is counted as a failure at item. */
static bool apply(const struct pmap__fold *fold, struct pmap__run *run, size_t n, const char *values, char *acc, size_t item)
{
    struct pmap__run role;
    struct pmap_error said;

    pmap__role_begin(&role, fold->op->name, run->place, run->thread, &said);
    fold->op->fold(n, values, acc);
    pmap__role_end(&role);
    if (said.status == PMAP_OK)
        return true;
    said.item = item;
    pmap__failures_count(run->failures, &said, 1);
    return false;
}

/* The next items: while values are folded that are near, the memory would have nothing to do. A hint; what lies behind the
 * array does no harm. */
static void fetch(const char *items, size_t size)
{
    if (size > BATCH)
        size = BATCH;
    for (size_t at = 0; at < size; at += 64)
        __builtin_prefetch(items + at, 0, 2);
}

/* *acc = task(items[0]) op task(items[1]) op …; false if an item or an op failed, or the run is cancelled. */
static bool fold_items(const struct pmap__fold *fold, struct pmap__run *run, struct batch *batch, size_t first, size_t n,
                       const char *items)
{
    size_t size = fold->op->size;

    for (size_t done = 0; done < n;) {
        size_t now = n - done < batch->items ? n - done : batch->items;
        if (pmap__run_stopped(run)) {
            pmap__failures_skipped(run->failures, 1);
            return false;
        }
        pmap__run_items(run, now, items ? items + done * run->task->args_size : NULL, batch->values + size, first + done);
        if (run->failed)
            return false;
        if (items)
            fetch(items + (done + now) * run->task->args_size, now * run->task->args_size);
        /* What is there already is the first operand. */
        bool more = done > 0;
        if (!apply(fold, run, now + more, batch->values + (more ? 0 : size), batch->acc, first + done))
            return false;
        done += now;
        if (done < n)
            memcpy(batch->values, batch->acc, size);
    }
    return true;
}

static bool fold_leaf(const struct pmap__fold *fold, struct pmap__run *run, struct batch *batch, size_t position)
{
    size_t first = (run->base + position) * fold->leaf;
    size_t n = fold->total - first < fold->leaf ? fold->total - first : fold->leaf;
    const char *items = run->args ? run->args + position * fold->leaf * run->task->args_size : NULL;

    run->counts_only = true;
    run->failed = false;
    return fold_items(fold, run, batch, first, n, items);
}

void pmap__fold_keep(struct pmap__fold *fold, const struct pmap__run *run, size_t position, const void *value)
{
    struct pmap_error error;

    if (fold->folded)
        fold->folded(fold->recorder, run->base + position, value, run->place->rank);
    if (pmap__fold_add(fold, 0, run->base + position, value, &error) == PMAP_OK)
        return;
    pmap__fold_spoil(fold, (run->base + position) * fold->leaf, &error);
}

void pmap__fold_miss(const struct pmap__run *run, size_t position, enum pmap_status status)
{
    pmap__failures_record(run->failures, run->base + position, 1, status, NULL);
}

/* No batch: count the leaves as failed. */
static void miss_all(const struct pmap__fold *fold, struct pmap__run *run, size_t begin, size_t end)
{
    struct pmap_error error;

    pmap__error_set(&error, PMAP_ENOMEM, "pmap: no memory for a batch of values of %zu bytes", fold->op->size);
    error.item = (run->base + begin) * fold->leaf;
    pmap__failures_count(run->failures, &error, end - begin);
}

void pmap__fold_leaf(const struct pmap__fold *fold, struct pmap__run *run, size_t position, void *value)
{
    struct batch batch;

    if (!batch_init(&batch, fold)) {
        miss_all(fold, run, position, position + 1);
        return;
    }
    if (fold_leaf(fold, run, &batch, position))
        memcpy(value, batch.acc, fold->op->size);
    free(batch.values);
}

static void note_leaf(const struct pmap__fold *fold, const struct pmap__run *run, size_t position)
{
    size_t first = (run->base + position) * fold->leaf, left = fold->total - first;
    pmap__noting_piece(run->noting, first, left < fold->leaf ? left : fold->leaf);
}

void pmap__fold_span(struct pmap__fold *fold, struct pmap__run *run, size_t begin, size_t end)
{
    struct batch batch;

    if (run->place->cells) {
        pmap__isolated_fold(fold, run, begin, end);
        return;
    }
    if (!batch_init(&batch, fold)) {
        miss_all(fold, run, begin, end);
        for (; begin < end; begin++)
            pmap__fold_miss(run, begin, PMAP_ENOMEM);
        return;
    }
    for (; begin < end; begin++) {
        if (fold_leaf(fold, run, &batch, begin))
            pmap__fold_keep(fold, run, begin, batch.acc);
        else
            pmap__fold_miss(run, begin, PMAP_EFAILED);
        if (run->noting)
            note_leaf(fold, run, begin);
    }
    free(batch.values);
}

/* ---- Life ---- */

bool pmap__fold_init(struct pmap__fold *fold, const struct pmap_op *op, size_t leaf, size_t total,
                     const struct pmap__place *place)
{
    *fold = (struct pmap__fold){.op = op, .leaf = leaf, .total = total, .leaves = (total - 1) / leaf + 1, .place = place};
    return pthread_mutex_init(&fold->lock, NULL) == 0;
}

void pmap__fold_fini(struct pmap__fold *fold)
{
    for (int i = 0; i < PMAP__FOLD_BUCKETS; i++)
        while (fold->waiting[i]) {
            struct pmap__node *node = fold->waiting[i];
            fold->waiting[i] = node->next;
            node_destroy(node);
        }
    if (fold->top)
        node_destroy(fold->top);
    pthread_mutex_destroy(&fold->lock);
}
