/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/table.h"

#include <pmap_mapreduce.h>
#include <stdlib.h>

#define BLOCK ((size_t)64 << 10)
#define OFFSET_BITS 13 /* of a place in a block, in units of 8 bytes */
#define BATCH 32       /* records whose cache lines are on their way at once */

void pmap__table_init(struct pmap__table *table, const struct pmap__combine *combine, struct pmap__budget *budget)
{
    *table = (struct pmap__table){.combine = *combine, .budget = budget};
}

void pmap__table_clear(struct pmap__table *table)
{
    for (size_t i = 0; i < table->n_blocks; i++)
        free(table->blocks[i].bytes);
    free(table->blocks);
    free(table->slots);
    pmap__budget_give(table->budget, table->held);
    pmap__table_init(table, &table->combine, table->budget);
}

static void hold(struct pmap__table *table, size_t size)
{
    table->held += size;
    pmap__budget_take(table->budget, size);
}

static void *record_at(const struct pmap__table *table, uint32_t place)
{
    place--;
    return table->blocks[place >> OFFSET_BITS].bytes + ((size_t)(place & ((1u << OFFSET_BITS) - 1)) << 3);
}

/* ---- Room ---- */

static bool grow(struct pmap__table *table)
{
    size_t capacity = table->capacity ? 2 * table->capacity : 64, mask = capacity - 1;
    struct pmap__table_slot *slots = calloc(capacity, sizeof *slots);

    if (slots == NULL)
        return false;
    for (size_t i = 0; i < table->capacity; i++) {
        if (table->slots[i].place == 0)
            continue;
        size_t at = table->slots[i].hash & mask;
        while (slots[at].place)
            at = (at + 1) & mask;
        slots[at] = table->slots[i];
    }
    free(table->slots);
    hold(table, (capacity - table->capacity) * sizeof *slots);
    table->slots = slots;
    table->capacity = capacity;
    return true;
}

/* The first blocks are small, for there may be many tables with little in them. */
static size_t next_block_size(const struct pmap__table *table, size_t least)
{
    size_t size = table->n_blocks < 4 ? BLOCK >> (4 - table->n_blocks) : BLOCK;
    return least > size ? least : size;
}

static bool add_block(struct pmap__table *table, size_t least)
{
    if (table->n_blocks == table->room) {
        size_t room = table->room ? 2 * table->room : 8;
        struct pmap__table_block *blocks = realloc(table->blocks, room * sizeof *blocks);
        if (blocks == NULL)
            return false;
        hold(table, (room - table->room) * sizeof *blocks);
        table->blocks = blocks;
        table->room = room;
    }
    size_t size = next_block_size(table, least);
    char *bytes = malloc(size);
    if (bytes == NULL || table->n_blocks >= (size_t)1 << (32 - OFFSET_BITS)) {
        free(bytes);
        return false;
    }
    hold(table, size);
    table->blocks[table->n_blocks++] = (struct pmap__table_block){bytes, 0, size};
    return true;
}

/* A copy of a record in the table; its place, or 0 if memory is short. A block for a long record alone begins with it, so that
 * offsets stay small. */
static uint32_t keep(struct pmap__table *table, const void *record, size_t size)
{
    struct pmap__table_block *last = table->n_blocks ? &table->blocks[table->n_blocks - 1] : NULL;

    if (last == NULL || last->used >= BLOCK || size > last->size - last->used) {
        if (!add_block(table, size))
            return 0;
        last = &table->blocks[table->n_blocks - 1];
    }
    uint32_t place = (uint32_t)(table->n_blocks - 1) << OFFSET_BITS | (uint32_t)(last->used >> 3);
    memcpy(last->bytes + last->used, record, size);
    last->used += size;
    return place + 1;
}

/* ---- Adding ---- */

static bool same_key(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return x[0] == y[0] && x[1] == y[1] &&
           memcmp(pmap__record_key(a), pmap__record_key(b), pmap__record_key_size(a)) == 0;
}

static void fold(const struct pmap__table *table, void *into, const void *record)
{
    void *acc = (char *)into + PMAP__PAIR_HEAD;

    if (table->combine.fold == pmap_sum_i64) { /* the most common one, without a call */
        uint64_t *sum = acc;
        *sum += *(const uint64_t *)pmap__record_value(record);
    } else {
        table->combine.fold(acc, pmap__record_value(record));
    }
}

/* The slot is free, or that of a key with this hash that may be another. */
static bool add_one(struct pmap__table *table, const void *record)
{
    uint32_t hash = (uint32_t)pmap__record_tag(record);
    size_t mask = table->capacity - 1, at = hash & mask;

    for (; table->slots[at].place; at = (at + 1) & mask) {
        if (table->slots[at].hash != hash)
            continue;
        void *there = record_at(table, table->slots[at].place);
        if (same_key(there, record)) {
            fold(table, there, record);
            return true;
        }
    }
    uint32_t place = keep(table, record, pmap__record_size(record));
    table->slots[at] = (struct pmap__table_slot){hash, place};
    table->n += place != 0;
    return place != 0;
}

/* The slots of a batch are on their way; now what they point to. */
static void fetch_records(const struct pmap__table *table, const void *const batch[], size_t n)
{
    size_t mask = table->capacity - 1;

    for (size_t i = 0; i < n; i++) {
        uint32_t hash = (uint32_t)pmap__record_tag(batch[i]);
        const struct pmap__table_slot *slot = &table->slots[hash & mask];
        if (slot->place)
            __builtin_prefetch(record_at(table, slot->place), 1);
    }
}

bool pmap__table_add(struct pmap__table *table, const void *records, size_t size)
{
    const char *at = records, *end = at + size;

    while (at < end) {
        const void *batch[BATCH];
        size_t n = 0;

        if ((table->n + BATCH) * 4 > table->capacity * 3 && !grow(table))
            return false;
        for (; n < BATCH && at < end; n++) {
            batch[n] = at;
            __builtin_prefetch(&table->slots[(uint32_t)pmap__record_tag(at) & (table->capacity - 1)], 0);
            at += pmap__record_size(at);
        }
        fetch_records(table, batch, n);
        for (size_t i = 0; i < n; i++)
            if (!add_one(table, batch[i]))
                return false;
    }
    return true;
}

void pmap__table_each(const struct pmap__table *table, void (*each)(const void *record, void *argument), void *argument)
{
    for (size_t b = 0; b < table->n_blocks; b++) {
        const struct pmap__table_block *block = &table->blocks[b];
        for (size_t at = 0; at < block->used; at += pmap__record_size(block->bytes + at))
            each(block->bytes + at, argument);
    }
}
