/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Records for the tests of map-reduce: each lies at the end of memory of its own, so that valgrind and the sanitizers see a read past it.
 */
#ifndef PMAP_TESTS_MR_RECORDS_H
#define PMAP_TESTS_MR_RECORDS_H

#include "mapreduce/sort.h"

#include <stdlib.h>

struct records {
    struct pmap__sort_entry *entries;
    size_t n, room;
};

static inline uint64_t random_number(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline void records_add(struct records *r, const void *key, size_t key_size, const void *value, size_t value_size, uint64_t tag)
{
    struct pmap__pair pair = {key, value, key_size, value_size, tag};
    void *record = malloc(pmap__pair_size(key_size, value_size));

    if (r->n == r->room) {
        r->room = r->room ? 2 * r->room : 16;
        r->entries = realloc(r->entries, r->room * sizeof *r->entries);
    }
    if (record == NULL || r->entries == NULL)
        abort();
    pmap__record_write(record, &pair);
    r->entries[r->n++] = pmap__sort_entry_of(record);
}

static inline void records_free(struct records *r)
{
    for (size_t i = 0; i < r->n; i++)
        free((void *)(uintptr_t)r->entries[i].record);
    free(r->entries);
    *r = (struct records){0};
}

#endif
