/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/table.h"

#include "base/error.h"
#include "mapreduce/hash.h"
#include "mapreduce/lean.h"

#include <pmap_mapreduce.h>
#include <stddef.h>
#include <stdlib.h>

#define BLOCK ((size_t)64 << 10)
#define OFFSET_BITS 13 /* of a place in a block, in units of 8 bytes */
#define BATCH 64       /* pairs whose cache lines are on their way at once */
#define LINE ((size_t)64)
#define FIRST 128      /* places of a table that is not empty */

void pmap__table_init(struct pmap__table *table, const struct pmap__combine *combine, struct pmap__budget *budget)
{
    *table = (struct pmap__table){.combine = *combine, .budget = budget};
    if (combine->size > PMAP__SHORT_VALUE)
        return;
    table->each = offsetof(struct pmap__short, value) + pmap__padded(combine->size);
}

static size_t segments_of(size_t capacity)
{
    return (capacity + PMAP__SEGMENT - 1) / PMAP__SEGMENT;
}

void pmap__table_clear(struct pmap__table *table)
{
    for (size_t i = 0; i < table->n_blocks; i++)
        free(table->blocks[i].bytes);
    for (size_t i = 0; i < segments_of(table->capacity); i++)
        free(table->segments[i]);
    free(table->blocks);
    free(table->slots);
    free(table->segments);
    pmap__budget_give(table->budget, table->held);
    pmap__table_init(table, &table->combine, table->budget);
}

static void hold(struct pmap__table *table, size_t size)
{
    table->held += size;
    pmap__budget_take(table->budget, size);
}

/* Where to look first: hashes spread evenly over any capacity. */
static inline size_t home(uint32_t hash, size_t capacity)
{
    return (size_t)(((uint64_t)hash * capacity) >> 32);
}

static inline size_t next_of(size_t at, size_t capacity)
{
    return at + 1 == capacity ? 0 : at + 1;
}

static bool is_full(size_t n, size_t capacity)
{
    return (n + BATCH) * 8 > capacity * 7;
}

static size_t larger(size_t capacity)
{
    return capacity ? capacity + capacity / 2 : FIRST;
}

/* The same in whole segments. */
static size_t larger_places(size_t capacity)
{
    size_t size = larger(capacity);
    return size < PMAP__SEGMENT ? size : segments_of(size) * PMAP__SEGMENT;
}

static bool may_grow(const struct pmap__table *table, size_t size, bool force)
{
    return force || pmap__budget_held(table->budget) + size <= table->budget->limit;
}

/* A pair that is to be added. */
struct arrival {
    uint64_t k[2];          /* a short key as words; */
    uint32_t size;          /* its size plus 1; 0: it does not belong in a place */
    uint32_t hash;
    struct pmap__lean pair;
    const char *at;         /* where it lies */
};

/* ---- In the table ---- */

/* A table that grows, and pieces that its new segments may be made of. */
struct piece {
    struct piece *next;
};
struct growth {
    struct pmap__table bigger;
    struct piece *spare;
};

static void spare(struct growth *g, void *memory)
{
    struct piece *piece = memory;
    piece->next = g->spare;
    g->spare = piece;
}

static bool get_spare(struct growth *g, size_t n)
{
    for (; n > 0; n--) {
        void *memory = aligned_alloc(LINE, PMAP__SEGMENT * g->bigger.each);
        if (memory == NULL)
            return false;
        spare(g, memory);
    }
    return true;
}

static void free_spare(struct growth *g)
{
    while (g->spare) {
        struct piece *piece = g->spare;
        g->spare = piece->next;
        free(piece);
    }
}

/* A spare piece, of which there are enough (see prepare) where hashes spread. Keys that were chosen by their hashes may take more; and
 * when half of a table has moved there is no way back. */
static void *take_piece(struct growth *g)
{
    struct piece *piece = g->spare;

    if (piece) {
        g->spare = piece->next;
        return piece;
    }
    void *memory = aligned_alloc(LINE, PMAP__SEGMENT * g->bigger.each);
    if (memory == NULL) {
        pmap__warn("no memory for a table of keys whose hashes are of a kind");
        abort();
    }
    return memory;
}

static struct pmap__short *place_in(struct growth *g, size_t at)
{
    char **segment = &g->bigger.segments[at / PMAP__SEGMENT];

    if (*segment == NULL)
        *segment = memset(take_piece(g), 0, PMAP__SEGMENT * g->bigger.each);
    return pmap__table_place(&g->bigger, at);
}

static void move(struct growth *g, const struct pmap__short *place)
{
    size_t at = home(place->hash, g->bigger.capacity);

    while (place_in(g, at)->size)
        at = next_of(at, g->bigger.capacity);
    memcpy(place_in(g, at), place, g->bigger.each);
}

/* Get all that it needs. A small table is one piece of its own. Else, when k segments of the old table are empty, the new one has
 * begun at most 3 / 2 k and two more, one of them its last, where it wraps around. So the difference and two more are enough. */
static bool prepare(struct growth *g, const struct pmap__table *table)
{
    size_t before = table->capacity < PMAP__SEGMENT ? 0 : segments_of(table->capacity);

    *g = (struct growth){.bigger = *table};
    g->bigger.capacity = larger_places(table->capacity);
    size_t n = segments_of(g->bigger.capacity);
    g->bigger.segments = calloc(n, sizeof(char *));
    if (g->bigger.segments == NULL)
        return false;
    if (g->bigger.capacity < PMAP__SEGMENT)
        g->bigger.segments[0] = calloc(g->bigger.capacity, table->each);
    if (g->bigger.segments[0] || (g->bigger.capacity >= PMAP__SEGMENT && get_spare(g, n - before + 2)))
        return true;
    free_spare(g);
    free(g->bigger.segments);
    return false;
}

static void empty_segment(struct growth *g, struct pmap__table *table, size_t i)
{
    size_t begin = i * PMAP__SEGMENT, end = begin + PMAP__SEGMENT < table->capacity ? begin + PMAP__SEGMENT : table->capacity;

    for (size_t at = begin; at < end; at++)
        if (pmap__table_place(table, at)->size)
            move(g, pmap__table_place(table, at));
    if (table->capacity < PMAP__SEGMENT)
        free(table->segments[i]);
    else
        spare(g, table->segments[i]);
}

static bool grow_places(struct pmap__table *table, bool force)
{
    size_t size = (larger_places(table->capacity) - table->capacity) * (table->each + PMAP__TABLE_SORT);
    struct growth g;

    if (!may_grow(table, size, force) || !prepare(&g, table))
        return false;
    for (size_t i = 0; i < segments_of(table->capacity); i++)
        empty_segment(&g, table, i);
    for (size_t at = 0; at < g.bigger.capacity; at += PMAP__SEGMENT)
        place_in(&g, at); /* it begins those that nothing has moved to */
    free_spare(&g);
    free(table->segments);
    table->segments = g.bigger.segments;
    table->capacity = g.bigger.capacity;
    hold(table, size);
    return true;
}

static inline void fold(const struct pmap__table *table, void *acc, const struct arrival *a)
{
    if (table->combine.fold == pmap_sum_i64 && pmap__lean_is_number(table->combine.size)) { /* the most common one, without a call */
        uint64_t *sum = acc;
        *sum += a->pair.number;
    } else {
        table->combine.fold(acc, a->pair.value);
    }
}

static inline void add_short(struct pmap__table *table, const struct arrival *a)
{
    size_t at = home(a->hash, table->capacity);
    struct pmap__short *p;

    for (; (p = pmap__table_place(table, at))->size; at = next_of(at, table->capacity))
        if (p->k[0] == a->k[0] && p->k[1] == a->k[1] && p->size == a->size) {
            fold(table, &p->value, a);
            return;
        }
    memcpy(p->k, a->k, sizeof a->k);
    p->size = a->size;
    p->hash = a->hash;
    memcpy(&p->value, a->pair.value, table->combine.size);
    table->n_places++;
}

/* ---- Records in blocks ---- */

static void *record_at(const struct pmap__table *table, uint32_t number)
{
    number--;
    return table->blocks[number >> OFFSET_BITS].bytes + ((size_t)(number & ((1u << OFFSET_BITS) - 1)) << 3);
}

static bool grow_slots(struct pmap__table *table, bool force)
{
    size_t capacity = larger(table->slots_capacity);
    bool may = may_grow(table, capacity * (sizeof(struct pmap__table_slot) + PMAP__TABLE_SORT), force);
    struct pmap__table_slot *slots = may ? calloc(capacity, sizeof *slots) : NULL;

    if (slots == NULL)
        return false;
    for (size_t i = 0; i < table->slots_capacity; i++) {
        if (table->slots[i].place == 0)
            continue;
        size_t at = home(table->slots[i].hash, capacity);
        while (slots[at].place)
            at = next_of(at, capacity);
        slots[at] = table->slots[i];
    }
    free(table->slots);
    hold(table, (capacity - table->slots_capacity) * (sizeof *slots + PMAP__TABLE_SORT));
    table->slots = slots;
    table->slots_capacity = capacity;
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

/* A record of it in the table; its place, or 0 if memory is short. A block for a long record alone begins with it, so that offsets stay
 * small. */
static uint32_t keep(struct pmap__table *table, const struct pmap__lean *pair)
{
    struct pmap__table_block *last = table->n_blocks ? &table->blocks[table->n_blocks - 1] : NULL;
    struct pmap__pair record = {pair->key, pair->value, pair->key_size, table->combine.size, 0};
    size_t size = pmap__pair_size(record.key_size, record.value_size);

    if (last == NULL || last->used >= BLOCK || size > last->size - last->used) {
        if (!add_block(table, size))
            return 0;
        last = &table->blocks[table->n_blocks - 1];
    }
    uint32_t number = (uint32_t)(table->n_blocks - 1) << OFFSET_BITS | (uint32_t)(last->used >> 3);
    pmap__record_write(last->bytes + last->used, &record);
    last->used += size;
    return number + 1;
}

static bool has_key(const void *record, const struct pmap__lean *pair)
{
    return pmap__record_key_size(record) == pair->key_size && memcmp(pmap__record_key(record), pair->key, pair->key_size) == 0;
}

static bool add_long(struct pmap__table *table, const struct arrival *a)
{
    size_t at = home(a->hash, table->slots_capacity);

    for (; table->slots[at].place; at = next_of(at, table->slots_capacity)) {
        if (table->slots[at].hash != a->hash)
            continue;
        char *there = record_at(table, table->slots[at].place);
        if (has_key(there, &a->pair)) {
            fold(table, there + PMAP__PAIR_HEAD, a);
            return true;
        }
    }
    uint32_t kept = keep(table, &a->pair);
    table->slots[at] = (struct pmap__table_slot){a->hash, kept};
    table->n_slots += kept != 0;
    return kept != 0;
}

/* ---- Adding ---- */

static bool make_room(struct pmap__table *table, bool force)
{
    while (table->each && is_full(table->n_places, table->capacity))
        if (!grow_places(table, force))
            return false;
    while (is_full(table->n_slots, table->slots_capacity))
        if (!grow_slots(table, force))
            return false;
    return true;
}

/* Take a pair in; where the next one begins. */
static inline const char *arrive(const struct pmap__table *table, const char *at, const char *end, struct arrival *a)
{
    const char *next = pmap__lean_read(at, end, table->combine.size, &a->pair);
    size_t size = a->pair.key_size;
    bool is_short = table->each && size <= PMAP__SHORT_KEY;

    if (is_short)
        pmap__short_load_wide(a->pair.key, size, a->k);
    a->hash = (uint32_t)(is_short ? pmap__hash_words(a->k, size) : pmap__hash_key(a->pair.key, size));
    a->size = is_short ? (uint32_t)size + 1 : 0;
    a->at = at;
    return next;
}

/* Where to look for it first. (Not a function that prefetches itself: gcc takes it for one without an effect, and drops it.) */
static inline const void *first_look(const struct pmap__table *table, const struct arrival *a)
{
    if (a->size)
        return pmap__table_place(table, home(a->hash, table->capacity));
    return &table->slots[home(a->hash, table->slots_capacity)];
}

size_t pmap__table_add(struct pmap__table *table, const void *pairs, size_t size, bool force)
{
    const char *begin = pairs, *at = begin, *end = at + size;

    while (at < end) {
        struct arrival batch[BATCH];
        size_t n = 0;

        if (!make_room(table, force))
            break;
        for (; n < BATCH && at < end; n++) {
            at = arrive(table, at, end, &batch[n]);
            __builtin_prefetch(first_look(table, &batch[n]), 1);
        }
        table->pairs += n;
        table->pair_bytes += (size_t)(at - batch[0].at);
        for (size_t i = 0; i < n; i++) {
            if (batch[i].size)
                add_short(table, &batch[i]);
            else if (!add_long(table, &batch[i]))
                return (size_t)(batch[i].at - begin);
        }
    }
    return (size_t)(at - begin);
}

/* ---- Looking ---- */

void pmap__table_each(const struct pmap__table *table, void (*each)(const void *record, void *argument), void *argument)
{
    for (size_t b = 0; b < table->n_blocks; b++) {
        const struct pmap__table_block *block = &table->blocks[b];
        for (size_t at = 0; at < block->used; at += pmap__record_size(block->bytes + at))
            each(block->bytes + at, argument);
    }
}
