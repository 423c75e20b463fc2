/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The pairs of a partition where values are combined: two hash tables, in which values of a key are folded into one.
 *
 *   Short keys with short values lie in the table itself, as two words and a value: one look into memory for each.
 *   Others are records (pair.h) in blocks, which never move; a slot of the table has 32 bits of a record's hash and its place, so that most
 *   slots of other keys are told without a look at their record.
 *
 * Both probe linearly and grow by half when they are seven eighths full. What misses the cache is fetched ahead, for a batch of records.
 *
 * A table has no lock. Its memory is counted in a budget.
 */
#ifndef PMAP_MAPREDUCE_TABLE_H
#define PMAP_MAPREDUCE_TABLE_H

#include "mapreduce/budget.h"
#include "mapreduce/run.h"

#include <stdbool.h>

#define PMAP__SHORT_KEY 16
#define PMAP__SHORT_VALUE 40

/* A pair in the table. */
struct pmap__table_place {
    uint64_t k[2];  /* the key, zeros behind it */
    uint32_t size;  /* of it, plus 1; 0: the place is free */
    uint32_t hash;
    uint64_t value; /* or more of it */
};

struct pmap__table_slot {
    uint32_t hash;
    uint32_t place; /* 0: free; else 1 + block << 13 | offset / 8 */
};

struct pmap__table_block {
    char *bytes;
    size_t used, size;
};

struct pmap__table {
    char *places;
    size_t each;               /* bytes of a place; 0: values are too long for places */
    size_t n_places, capacity; /* that are taken, and all */
    struct pmap__table_slot *slots;
    size_t n_slots, slots_capacity;
    struct pmap__table_block *blocks;
    size_t n_blocks, room;     /* of the array of blocks */
    size_t held;               /* bytes, all told */
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

/* Fold size bytes of records into it; their tags are the hashes of their keys. False if memory is short: some of them are in it. */
bool pmap__table_add(struct pmap__table *table, const void *records, size_t size);

/* Call each(record, argument) for all records in blocks, in no order of use. */
void pmap__table_each(const struct pmap__table *table, void (*each)(const void *record, void *argument), void *argument);

/* Write the pairs of the table itself as records, side by side, to where so many bytes are free at most; how many were written. */
size_t pmap__table_export_size(const struct pmap__table *table);
size_t pmap__table_export(const struct pmap__table *table, void *to);

#endif
