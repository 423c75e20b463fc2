/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What lies on the desk of a cell (cell/cell.h): what a rank's thread and its child say to each other.
 *
 * The window in holds the items of an order, in one of these ways: elements side by side; for a task of bytes a struct pmap__extent for
 * each and the bytes behind them; and in front of that, where items are not neighbours, the index of each. The window out
 * holds results likewise, in order; those of bytes are put there by the child one after another, who makes room for them.
 *
 * The child counts in done what is finished. What is counted is whole, and stays, whatever becomes of the child then. It returns
 * when all is done, or at the first item that fails, with its error, or when it is told to stop.
 */
#ifndef PMAP_ENGINE_ORDER_H
#define PMAP_ENGINE_ORDER_H

#include "cell/cell.h"
#include "engine/item.h"

struct pmap__extent {
    uint64_t at, size; /* in the window */
    bool is_null;      /* its data is */
};

enum pmap__order_kind {
    PMAP__ORDER_ITEMS,  /* items first … first + n, each by itself, */
    PMAP__ORDER_BLOCK,  /* or in one call */
    PMAP__ORDER_LEAVES, /* leaves first … first + n of a reduction, whose items lie side by side */
    PMAP__ORDER_MERGE,  /* op over the two values in the window */
};

#define PMAP__ORDER_SEAL UINT64_C(0x70a3d6c2b1e94f58)

struct pmap__order {
    uint64_t seal; /* here and at the end, the owner's: if they are not what they were, somebody has written over the desk */
    enum pmap__order_kind kind;
    uint64_t task, op; /* their ids */
    uint64_t seed;
    size_t first, n, from; /* begin at position from of n: what is before it is done */
    bool named;            /* the index of each is in the window */
    size_t items_at;       /* where items begin in the window, */
    size_t in_size;        /* and how large it is */
    size_t leaf, total;    /* of a reduction */
    bool timed, weighed;   /* see pmap__cell_begin_item */

    size_t out_used;    /* of the window out: in front of where the next result of bytes goes, */
    size_t out_size;    /* and how large it is; the child may make it larger */
    atomic_size_t done; /* positions; the child's */
    bool failed, gave_up; /* the item at done failed, with this error; or gave up, for it was told to */
    struct pmap_error error;
    uint64_t end_seal;
};

/* What a child is told once, when it begins. Its initarg lies in the window in if it has a size. */
struct pmap__orders {
    int rank, thread;
    char host[64];
    struct pmap__crew crew;
    size_t initarg_size;
    bool refused; /* an initializer failed, and error says why; the child is leaving */
    struct pmap_error error;
    struct pmap__order order;
};

_Static_assert(sizeof(struct pmap__orders) <= sizeof ((struct pmap__block *)0)->desk, "the desk is too small");

static inline struct pmap__orders *pmap__orders_of(const struct pmap__cell *cell)
{
    return (struct pmap__orders *)(void *)cell->block->desk;
}

#endif
