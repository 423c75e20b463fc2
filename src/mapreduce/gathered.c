/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/gathered.h"

#include <stdlib.h>

static void gather(const void *record, void *argument)
{
    struct pmap__gathered *g = argument;
    g->entries[g->n++] = pmap__sort_entry_of(record);
}

static void gather_all(struct pmap__gathered *g, const void *records, size_t size)
{
    for (const char *at = records, *end = at + size; at < end; at += pmap__record_size(at))
        gather(at, g);
}

static void gather_places(struct pmap__gathered *g)
{
    for (size_t i = 0; i < g->table->capacity; i++) {
        const struct pmap__short *place = pmap__table_place(g->table, i);
        if (place->size)
            g->places[g->n_places++] = pmap__sort_entry_of_words(place);
    }
}

bool pmap__gathered_init(struct pmap__gathered *g, const struct pmap__table *table, const struct pmap__block *blocks, size_t records,
                         bool any_order)
{
    size_t n = records + pmap__table_keys(table);

    *g = (struct pmap__gathered){.table = table, .places = malloc(n * sizeof *g->places + 1), .any_order = any_order};
    if (g->places == NULL)
        return false;
    g->entries = g->places + table->n_places;
    gather_places(g);
    pmap__table_each(table, gather, g);
    for (const struct pmap__block *block = blocks; block; block = block->next)
        gather_all(g, block->bytes, block->used);
    if (any_order)
        return true;
    pmap__sort_words(g->places, g->n_places);
    pmap__sort(g->entries, g->n);
    return true;
}

const void *pmap__gathered_next(struct pmap__gathered *g)
{
    bool place = g->place < g->n_places, record = g->at < g->n;

    if (place && !g->is_made) {
        pmap__short_write(g->made, g->places[g->place].record, g->table->combine.size, 0);
        g->is_made = true;
    }
    if (place && record && !g->any_order)
        place = pmap__record_compare(g->made, g->entries[g->at].record) < 0;
    if (place) {
        g->is_made = false;
        g->place++;
        return g->made;
    }
    return record ? g->entries[g->at++].record : NULL;
}

void pmap__gathered_fini(struct pmap__gathered *g)
{
    free(g->places);
}
