/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A reduction over a fixed tree. The items are cut into leaves of equal size, a power of two that depends on their number
 * alone; the leaves are folded from left to right, and their values along a binary tree over the leaf index: node
 * (level, index) stands for the leaves [index << level, (index + 1) << level), and is the op of its two halves; where
 * the right half lies beyond the last leaf the node is its left half. So who computes what, and when, changes nothing.
 *
 * Values come in any order. A node whose other half is there already is merged with it at once; else it waits. As leaves are
 * handed out nearly in order, few wait at any time. A rank that folds a run of leaves ends with the few nodes that this
 * run consists of (pmap__fold_nodes); those it sends to the root, who merges them with the others.
 */
#ifndef PMAP_ENGINE_FOLD_H
#define PMAP_ENGINE_FOLD_H

#include "engine/item.h"

struct pmap__node {
    size_t index;
    int level;
    struct pmap__node *next;
    char *value; /* op->size bytes, and room for as many behind them */
};

#define PMAP__FOLD_BUCKETS 64
#define PMAP__FOLD_NODES 128 /* a run of leaves never has more nodes */

struct pmap__fold {
    const struct pmap_op *op;
    size_t leaf, total, leaves; /* items of a leaf; items in all; leaves in all */
    const struct pmap__place *place;
    struct pmap__limits limits; /* of the op, where it has a process of its own, */
    const atomic_bool *cancelled; /* and the flag that ends it there; NULL: it cannot be cancelled */
    struct pmap__failures *verdict; /* where it is noted that values could not be merged: no leaf can be run again for that */
    bool apart;                 /* leaves stay as they are, for somebody else to merge */
    void (*folded)(void *recorder, size_t leaf, const void *value, int rank); /* called with each leaf that is folded here; NULL: by nobody */
    void *recorder;
    pthread_mutex_t lock;
    struct pmap__node *waiting[PMAP__FOLD_BUCKETS];
    struct pmap__node *top;     /* everything; NULL until then */
};

/* Items of a leaf for so many items in all. */
size_t pmap__fold_leaf_size(size_t total);

bool pmap__fold_init(struct pmap__fold *fold, const struct pmap_op *op, size_t leaf, size_t total,
                     const struct pmap__place *place);
void pmap__fold_fini(struct pmap__fold *fold);

/* Run and fold the leaves at the positions [begin, end) of a run whose base is a leaf and whose args begin with that leaf's.
 * What fails is counted in the run's failures, with a record of the leaf. */
void pmap__fold_span(struct pmap__fold *fold, struct pmap__run *run, size_t begin, size_t end);

/* Its parts. Fold the leaf at one position: *value, of the op's size, if nothing fails; what does is counted in the run's failures. Add
 * the value of that leaf. Or note that it has none, and with which status. */
void pmap__fold_leaf(const struct pmap__fold *fold, struct pmap__run *run, size_t position, void *value);
void pmap__fold_keep(struct pmap__fold *fold, const struct pmap__run *run, size_t position, const void *value);
void pmap__fold_miss(const struct pmap__run *run, size_t position, enum pmap_status status);

/* Add the value of a node, copied. PMAP_OK; PMAP_ENOMEM; PMAP_EFAILED and why: an op called pmap_fail. Any thread. */
enum pmap_status pmap__fold_add(struct pmap__fold *fold, int level, size_t index, const void *value,
                                struct pmap_error *error);

/* An op has failed, or was cancelled, so that there will be no value of everything: note that in the verdict. item: where. */
void pmap__fold_spoil(struct pmap__fold *fold, size_t item, struct pmap_error *error);

/* How many values the leaves [begin, end) come to when they are sent: one for each node that they consist of, or, apart, for each leaf. */
size_t pmap__fold_values(const struct pmap__fold *fold, size_t begin, size_t end);

/* The nodes that the leaves [begin, end) consist of, from left to right; returns how many. */
size_t pmap__fold_nodes(const struct pmap__fold *fold, size_t begin, size_t end,
                        struct pmap__node nodes[static PMAP__FOLD_NODES]);

/* Copy their values, which must all be there, side by side. */
void pmap__fold_export(struct pmap__fold *fold, size_t begin, size_t end, char *values);

/* Add them on another rank. As pmap__fold_add. */
enum pmap_status pmap__fold_import(struct pmap__fold *fold, size_t begin, size_t end, const char *values,
                                   struct pmap_error *error);

#endif
