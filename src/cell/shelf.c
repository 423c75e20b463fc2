/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "cell/shelf.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define SLOTS 4096

struct table {
    struct entry {
        atomic_uint_fast64_t id; /* 0: the slot is free */
        uint64_t size;
        uint64_t users;
    } entries[SLOTS];
};

static struct pmap__window window_of(int file, size_t slot)
{
    return (struct pmap__window){.file = file, .at = (PMAP__RANGES / 2 + slot) * PMAP__RANGE_SIZE};
}

static struct entry *find(struct table *table, uint64_t id)
{
    size_t slot = 0;

    while (slot < SLOTS && atomic_load(&table->entries[slot].id) != id)
        slot++;
    return slot < SLOTS ? &table->entries[slot] : NULL;
}

/* ---- The owner ---- */

static pthread_mutex_t putting = PTHREAD_MUTEX_INITIALIZER; /* of the tables of all files */

static bool fill(int file, struct table *table, uint64_t id, const void *data, size_t size)
{
    struct entry *entry = find(table, id);

    if (entry) {
        entry->users++;
        return true;
    }
    entry = find(table, 0);
    if (entry == NULL)
        return false;
    struct pmap__window window = window_of(file, (size_t)(entry - table->entries));
    if (!pmap__window_grow(&window, size))
        return false;
    memcpy(window.bytes, data, size);
    pmap__window_close(&window);
    entry->size = size;
    entry->users = 1;
    atomic_store(&entry->id, id);
    return true;
}

bool pmap__shelf_put(int file, uint64_t id, const void *data, size_t size)
{
    struct pmap__window window = {.file = file};
    bool there = false;

    pthread_mutex_lock(&putting);
    if (pmap__window_grow(&window, sizeof(struct table)))
        there = fill(file, (struct table *)(void *)window.bytes, id, data, size);
    pmap__window_close(&window);
    pthread_mutex_unlock(&putting);
    return there;
}

static void empty(int file, struct table *table, struct entry *entry)
{
    struct pmap__window window = window_of(file, (size_t)(entry - table->entries));

    if (--entry->users > 0)
        return;
    atomic_store(&entry->id, 0);
    window.size = (size_t)entry->size; /* the children may still see it, but have no use for it */
    pmap__window_drop(&window);
}

void pmap__shelf_take(int file, uint64_t id)
{
    struct pmap__window window = {.file = file};

    pthread_mutex_lock(&putting);
    if (pmap__window_see(&window, sizeof(struct table))) {
        struct table *table = (struct table *)(void *)window.bytes;
        struct entry *entry = find(table, id);
        if (entry)
            empty(file, table, entry);
    }
    pmap__window_close(&window);
    pthread_mutex_unlock(&putting);
}

/* ---- A child ---- */

static struct {
    pthread_mutex_t lock;
    struct pmap__window table;
    struct view {
        uint64_t id;
        struct pmap__window window;
    } views[SLOTS]; /* what it has mapped */
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const void *look_at(int file, struct entry *entry, size_t slot, uint64_t id)
{
    struct view *view = &seen.views[slot];

    if (view->id != id) {
        pmap__window_close(&view->window);
        view->window = window_of(file, slot);
        view->window.read_only = true;
        view->id = pmap__window_see(&view->window, (size_t)entry->size) ? id : 0;
    }
    return view->window.bytes;
}

const void *pmap__shelf_find(int file, uint64_t id)
{
    const void *data = NULL;

    pthread_mutex_lock(&seen.lock);
    seen.table.file = file;
    seen.table.read_only = true;
    if (id && pmap__window_see(&seen.table, sizeof(struct table))) {
        struct table *table = (struct table *)(void *)seen.table.bytes;
        struct entry *entry = find(table, id);
        if (entry)
            data = look_at(file, entry, (size_t)(entry - table->entries), id);
    }
    pthread_mutex_unlock(&seen.lock);
    return data;
}
