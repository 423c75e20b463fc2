/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Pairs side by side in memory: records (pair.h), or, where values are combined, lean pairs (lean.h). Blocks are what emitters fill and what
 * goes from rank to rank. */
#ifndef PMAP_MAPREDUCE_BLOCK_H
#define PMAP_MAPREDUCE_BLOCK_H

#include "mapreduce/budget.h"
#include "mapreduce/lean.h"

/* Malloc'ed, with the bytes behind, and PMAP__LEAN_SLACK bytes behind these. */
struct pmap__block {
    struct pmap__block *next; /* of a list */
    size_t used, size;        /* of bytes: what pairs have, and all */
    size_t records;           /* how many pairs */
    uint64_t bytes[];
};

/* With room for size bytes, counted in the budget; NULL if memory is short. */
struct pmap__block *pmap__block_create(struct pmap__budget *budget, size_t size);
void pmap__block_free(struct pmap__budget *budget, struct pmap__block *block); /* NULL is fine */

static inline bool pmap__block_fits(const struct pmap__block *block, size_t size)
{
    return size <= block->size - block->used;
}

static inline void *pmap__block_end(struct pmap__block *block)
{
    return (char *)block->bytes + block->used;
}

/* A pair of so many bytes has been written to its end. */
static inline void pmap__block_added(struct pmap__block *block, size_t size)
{
    block->used += size;
    block->records++;
}

#endif
