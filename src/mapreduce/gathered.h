/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What a store has in memory, one record after the other: places of the table, which become records when it is their turn, and records. It
 * must not change meanwhile. */
#ifndef PMAP_MAPREDUCE_GATHERED_H
#define PMAP_MAPREDUCE_GATHERED_H

#include "mapreduce/block.h"
#include "mapreduce/table.h"

#define PMAP__GATHERED_MADE (PMAP__PAIR_HEAD + PMAP__SHORT_VALUE + PMAP__SHORT_KEY) /* bytes of the record of a place */

struct pmap__gathered {
    const struct pmap__table *table;
    struct pmap__sort_entry *places, *entries; /* one array */
    size_t n_places, n, place, at;             /* how many, and the next of each */
    bool any_order;                            /* else each is in order */
    uint64_t made[PMAP__GATHERED_MADE / 8];    /* the record of the next place; */
    bool is_made;                              /* if it has been made */
};

/* A table, and blocks with so many records; sorted unless any order will do. False: no memory. What it takes, PMAP__TABLE_SORT bytes a key,
 * was counted when pairs came. */
bool pmap__gathered_init(struct pmap__gathered *g, const struct pmap__table *table, const struct pmap__block *blocks, size_t records,
                         bool any_order);
void pmap__gathered_fini(struct pmap__gathered *g);

/* The next one, there until the next call; NULL: there are no more. */
const void *pmap__gathered_next(struct pmap__gathered *g);

#endif
