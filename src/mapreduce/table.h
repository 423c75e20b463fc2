/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The pairs of a partition where values are combined: a hash table with one record (pair.h) per key, into whose value further
 * values are folded.
 *
 * Records lie in blocks, which never move; a slot has the low 32 bits of a record's hash and the place of the record, so
 * that most slots of other keys are told without a look at their record, and the table can grow without one. Linear probing, three
 * quarters full at most. What misses the cache is fetched ahead for a batch of records.
 *
 * A table has no lock. Its memory is counted in a budget.
 */
#ifndef PMAP_MAPREDUCE_TABLE_H
#define PMAP_MAPREDUCE_TABLE_H

#include "mapreduce/budget.h"
#include "mapreduce/run.h"

#include <stdbool.h>

struct pmap__table_slot {
    uint32_t hash;
    uint32_t place; /* 0: free; else 1 + block << 13 | offset / 8 */
};

struct pmap__table_block {
    char *bytes;
    size_t used, size;
};

struct pmap__table {
    struct pmap__table_slot *slots;
    size_t capacity;  /* a power of two; 0: none yet */
    size_t n;         /* keys */
    struct pmap__table_block *blocks;
    size_t n_blocks, room; /* of the array of blocks */
    size_t held;      /* bytes, all told */
    struct pmap__combine combine;
    struct pmap__budget *budget;
};

void pmap__table_init(struct pmap__table *table, const struct pmap__combine *combine, struct pmap__budget *budget);

/* Free all that it has; it is empty, and of use, again. */
void pmap__table_clear(struct pmap__table *table);

/* Fold size bytes of records into it; their tags are the hashes of their keys. False if memory is short: some of them are in it. */
bool pmap__table_add(struct pmap__table *table, const void *records, size_t size);

/* Call each(record, argument) for all records, in no order of use. */
void pmap__table_each(const struct pmap__table *table, void (*each)(const void *record, void *argument), void *argument);

#endif
