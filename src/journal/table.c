/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "journal/table.h"

#include <stdlib.h>

#define ROOM_MIN 64

void pmap__number_table_fini(struct pmap__number_table *table)
{
    free(table->places);
    *table = (struct pmap__number_table){0};
}

/* The place of a key, or the empty one where it would be; there is an empty one. */
static struct pmap__table_place *place_of(const struct pmap__number_table *table, uint64_t key)
{
    size_t at = (size_t)key & (table->room - 1);

    while (table->places[at].key != 0 && table->places[at].key != key)
        at = (at + 1) & (table->room - 1);
    return &table->places[at];
}

static int grow(struct pmap__number_table *table)
{
    struct pmap__number_table larger = {.room = table->room ? 2 * table->room : ROOM_MIN, .n = table->n};

    larger.places = calloc(larger.room, sizeof *larger.places);
    if (larger.places == NULL)
        return -1;
    for (size_t i = 0; i < table->room; i++)
        if (table->places[i].key != 0)
            *place_of(&larger, table->places[i].key) = table->places[i];
    free(table->places);
    *table = larger;
    return 0;
}

uint64_t *pmap__number_table_at(struct pmap__number_table *table, uint64_t key)
{
    if (table->n >= table->room / 4 * 3 && grow(table) != 0)
        return NULL;
    key += key == 0;
    struct pmap__table_place *place = place_of(table, key);
    if (place->key == 0) {
        place->key = key;
        table->n++;
    }
    return &place->value;
}

uint64_t pmap__number_table_find(const struct pmap__number_table *table, uint64_t key)
{
    if (table->room == 0)
        return 0;
    const struct pmap__table_place *place = place_of(table, key + (key == 0));
    return place->key ? place->value : 0;
}
