/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A table from numbers to numbers, for keys that are hashes already: open addressing, 16 bytes a place, at most three quarters
 * full. Start from {0}. Not for several threads.
 */
#ifndef PMAP_JOURNAL_TABLE_H
#define PMAP_JOURNAL_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct pmap__table_place {
    uint64_t key; /* 0: it is empty */
    uint64_t value;
};

struct pmap__number_table {
    struct pmap__table_place *places;
    size_t room; /* a power of two, or 0 */
    size_t n;
};

void pmap__number_table_fini(struct pmap__number_table *table);

/* Where the value of this key is, 0 if the key is new; until the next call. NULL if memory is short. */
uint64_t *pmap__number_table_at(struct pmap__number_table *table, uint64_t key);

/* The value of this key; 0 if it is not there. */
uint64_t pmap__number_table_find(const struct pmap__number_table *table, uint64_t key);

#endif
