/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The pairs of a partition where values are combined: two hash tables, in which values of a key are folded into one.
 *
 *   Short keys with short values lie in the table itself, as two words and a value: 32 bytes for a number, so that no place lies in
 *   two cache lines.
 *   Others are records (pair.h) in blocks, which never move; a slot of the table has 32 bits of a record's hash and its place, so that
 *   most slots of other keys are told without a look at their record.
 *
 * Both probe linearly and grow by half when they are seven eighths full. A place is found by the high bits of the hash, so when a
 * table of short keys grows its records move from segment to segment in order, and what has been emptied is filled again: it never
 * takes much more than it needs. What misses the cache is fetched ahead, for a batch of records.
 *
 * A table has no lock. Its memory is counted in a budget.
 */
#ifndef PMAP_MAPREDUCE_TABLE_H
#define PMAP_MAPREDUCE_TABLE_H

#include "mapreduce/budget.h"
#include "mapreduce/run.h"

#include <stdbool.h>

#define PMAP__SEGMENT ((size_t)1024) /* places */

struct pmap__table_slot {
    uint32_t hash;
    uint32_t place; /* 0: free; else 1 + block << 13 | offset / 8 */
};

struct pmap__table_block {
    char *bytes;
    size_t used, size;
};

struct pmap__table {
    char **segments;           /* of places: one of fewer, or several of PMAP__SEGMENT: what one table gives back is of use to the next */
    size_t each;               /* bytes of a place; 0: values are too long for places */
    size_t n_places, capacity; /* that are taken, and all */
    struct pmap__table_slot *slots;
    size_t n_slots, slots_capacity;
    struct pmap__table_block *blocks;
    size_t n_blocks, room;     /* of the array of blocks */
    size_t held;               /* bytes, all told */
    size_t pairs, pair_bytes;  /* that have come since it was empty */
    struct pmap__combine combine;
    struct pmap__budget *budget;
};

void pmap__table_init(struct pmap__table *table, const struct pmap__combine *combine, struct pmap__budget *budget);

/* Free all that it has; it is empty, and of use, again. */
void pmap__table_clear(struct pmap__table *table);

static inline size_t pmap__table_keys(const struct pmap__table *table)
{
    return table->n_places + table->n_slots;
}

/* Fold size bytes of lean pairs (lean.h) into it, with slack behind them. How many of these bytes it took, whole pairs: fewer if memory is
 * short, or it had to grow and the budget does not allow that, unless force. */
size_t pmap__table_add(struct pmap__table *table, const void *pairs, size_t size, bool force);

/* Call each(record, argument) for all records in blocks, in no order of use. */
void pmap__table_each(const struct pmap__table *table, void (*each)(const void *record, void *argument), void *argument);

/* Bytes per key that sorting them takes; they are counted in held. */
#define PMAP__TABLE_SORT sizeof(struct pmap__sort_entry)

/* Those in the table itself: for (at = 0; at < capacity; at++) if (place->size) … */
static inline struct pmap__short *pmap__table_place(const struct pmap__table *table, size_t at)
{
    char *segment = table->segments[at / PMAP__SEGMENT];
    return (struct pmap__short *)(void *)(segment + at % PMAP__SEGMENT * table->each);
}

#endif
