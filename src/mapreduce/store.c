/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/store.h"

#include "base/error.h"
#include "mapreduce/sort.h"

#include <stdlib.h>

/* ---- Life ---- */

void pmap__store_init(struct pmap__store *store, struct pmap__store_common *common)
{
    *store = (struct pmap__store){.common = common};
    pthread_mutex_init(&store->lock, NULL); /* glibc's cannot fail */
    atomic_init(&store->weight, 0);
    pmap__table_init(&store->table, &common->combine, common->budget);
}

/* Free what is in memory. */
static void empty(struct pmap__store *store)
{
    pmap__table_clear(&store->table);
    while (store->blocks) {
        struct pmap__block *block = store->blocks;
        store->blocks = block->next;
        pmap__block_free(store->common->budget, block);
    }
    pmap__budget_give(store->common->budget, store->records * sizeof(struct pmap__sort_entry));
    store->records = store->held = 0;
    atomic_store_explicit(&store->weight, 0, memory_order_relaxed);
}

void pmap__store_fini(struct pmap__store *store)
{
    empty(store);
    for (size_t i = 0; i < store->n_consumed; i++)
        free(store->runs[i].blocks);
    for (size_t i = store->n_consumed; i < store->n_runs; i++)
        pmap__sorted_free(store->common->scratch, &store->runs[i]);
    free(store->runs);
    pthread_mutex_destroy(&store->lock);
}

/* ---- In order ---- */

#define MADE (PMAP__PAIR_HEAD + PMAP__SHORT_VALUE + PMAP__SHORT_KEY) /* bytes of the record of a place */

/* What is in memory, one after the other: places of the table, which become records when it is their turn, and records. */
struct gathered {
    const struct pmap__table *table;
    struct pmap__sort_entry *places, *entries; /* one array */
    size_t n_places, n, place, at;             /* how many, and the next of each */
    bool any_order;                            /* else each is in order */
    uint64_t made[MADE / 8];                   /* the record of the next place; */
    bool is_made;                              /* if it has been made */
};

static void gather(const void *record, void *argument)
{
    struct gathered *g = argument;
    g->entries[g->n++] = pmap__sort_entry_of(record);
}

static void gather_all(struct gathered *g, const void *records, size_t size)
{
    for (const char *at = records, *end = at + size; at < end; at += pmap__record_size(at))
        gather(at, g);
}

static void gather_places(struct gathered *g)
{
    for (size_t i = 0; i < g->table->capacity; i++) {
        const struct pmap__short *place = pmap__table_place(g->table, i);
        if (place->size)
            g->places[g->n_places++] = pmap__sort_entry_of_words(place);
    }
}

/* Sorted unless any order will do. Its memory was counted when pairs came. */
static enum pmap_status gather_sorted(struct pmap__store *store, bool any_order, struct gathered *g)
{
    size_t n = store->records + pmap__table_keys(&store->table);

    *g = (struct gathered){.table = &store->table, .places = malloc(n * sizeof *g->places + 1), .any_order = any_order};
    if (g->places == NULL)
        return PMAP_ENOMEM;
    g->entries = g->places + store->table.n_places;
    gather_places(g);
    pmap__table_each(&store->table, gather, g);
    for (const struct pmap__block *block = store->blocks; block; block = block->next)
        gather_all(g, block->bytes, block->used);
    if (any_order)
        return PMAP_OK;
    pmap__sort_words(g->places, g->n_places);
    pmap__sort(g->entries, g->n);
    return PMAP_OK;
}

/* The next one, there until the next call; NULL: there are no more. */
static const void *next_gathered(struct gathered *g)
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

/* ---- Spilling ---- */

static bool make_room_for_run(struct pmap__store *store)
{
    if (store->n_runs < store->runs_room)
        return true;
    size_t room = store->runs_room ? 2 * store->runs_room : 8;
    struct pmap__sorted *runs = realloc(store->runs, room * sizeof *runs);
    if (runs == NULL)
        return false;
    store->runs = runs;
    store->runs_room = room;
    return true;
}

static enum pmap_status write_run(struct pmap__store *store, struct gathered *g, struct pmap__sorted *run,
                                  struct pmap_error *error)
{
    struct pmap__sorted_writer *writer = NULL;
    enum pmap_status status = pmap__sorted_begin(store->common->scratch, store->common->run_block, &writer);

    for (const void *record; status == PMAP_OK && (record = next_gathered(g)) != NULL;)
        status = pmap__sorted_put(writer, record, error);
    if (status == PMAP_OK)
        return pmap__sorted_end(writer, run, error);
    pmap__sorted_abandon(writer);
    return status;
}

static void count_spill(struct pmap__store_common *common, const struct pmap__sorted *run)
{
    atomic_fetch_add_explicit(&common->spills, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&common->spilled, run->size, memory_order_relaxed);
    atomic_fetch_add_explicit(&common->spilled_disk, run->stored, memory_order_relaxed);
}

/* Under the lock. */
static enum pmap_status spill(struct pmap__store *store, struct pmap_error *error)
{
    struct gathered g;
    struct pmap__sorted run;

    if (store->reading || store->records + pmap__table_keys(&store->table) == 0)
        return PMAP_OK;
    if (!make_room_for_run(store) || gather_sorted(store, false, &g) != PMAP_OK)
        return PMAP_ENOMEM;
    enum pmap_status status = write_run(store, &g, &run, error);
    free(g.places);
    if (status != PMAP_OK)
        return status;
    store->runs[store->n_runs++] = run;
    count_spill(store->common, &run);
    empty(store);
    return PMAP_OK;
}

/* ---- Adding ---- */

/* Less is not worth a run. */
#define LEAST_KEYS 1024

/* Where the table cannot grow within the budget, it is spilled in between. */
static enum pmap_status add_to_table(struct pmap__store *store, const struct pmap__block *block, struct pmap_error *error)
{
    const char *pairs = (const char *)block->bytes;
    size_t done = 0;

    while (done < block->used) {
        bool force = pmap__table_keys(&store->table) < LEAST_KEYS;
        size_t more = pmap__table_add(&store->table, pairs + done, block->used - done, force);
        done += more;
        if (done == block->used)
            break;
        if (force && more == 0)
            return PMAP_ENOMEM;
        enum pmap_status status = force ? PMAP_OK : spill(store, error);
        if (status != PMAP_OK)
            return status;
    }
    return PMAP_OK;
}

enum pmap_status pmap__store_add(struct pmap__store *store, struct pmap__block *block, struct pmap_error *error)
{
    enum pmap_status status = PMAP_OK;

    pthread_mutex_lock(&store->lock);
    store->bytes += block->used;
    if (store->common->combine.size) {
        status = add_to_table(store, block, error);
    } else {
        block->next = store->blocks;
        store->blocks = block;
        store->records += block->records;
        store->held += block->size;
        /* Sorting them will take that. */
        pmap__budget_take(store->common->budget, block->records * sizeof(struct pmap__sort_entry));
    }
    atomic_store_explicit(&store->weight, store->held + store->table.held, memory_order_relaxed);
    pthread_mutex_unlock(&store->lock);
    return status;
}

/* ---- Relief ---- */

static struct pmap__store *largest(struct pmap__store stores[], size_t n)
{
    struct pmap__store *best = stores;
    size_t most = 0;

    for (size_t i = 0; i < n; i++) {
        size_t weight = atomic_load_explicit(&stores[i].weight, memory_order_relaxed);
        if (weight > most) {
            most = weight;
            best = &stores[i];
        }
    }
    return most ? best : NULL;
}

enum pmap_status pmap__stores_relieve(struct pmap__store stores[], size_t n, struct pmap_error *error)
{
    struct pmap__budget *budget = stores[0].common->budget;
    uint64_t least = budget->limit / 8 / n; /* a run of less would be one of very many */
    enum pmap_status status = PMAP_OK;

    for (size_t tries = 0; tries < n && status == PMAP_OK && pmap__budget_over(budget); tries++) {
        struct pmap__store *store = largest(stores, n);
        if (store == NULL || atomic_load_explicit(&store->weight, memory_order_relaxed) < least)
            break; /* what holds the memory is not in stores */
        /* Others may be in the same one; then it is small when it is our turn, and we go on to the next. */
        pthread_mutex_lock(&store->lock);
        status = spill(store, error);
        pthread_mutex_unlock(&store->lock);
    }
    return status;
}

/* ---- Reading ---- */

/* What is in memory, sorted, as a source. */
struct memory_source {
    struct pmap__source source; /* first */
    struct pmap__store *store;
    struct gathered g;
    bool keep;
};

static enum pmap_status memory_next(struct pmap__source *source, const void **record, struct pmap_error *error)
{
    struct memory_source *m = (struct memory_source *)source;
    (void)error;
    *record = next_gathered(&m->g);
    return PMAP_OK;
}

static void memory_close(struct pmap__source *source)
{
    struct memory_source *m = (struct memory_source *)source;
    free(m->g.places);
    if (!m->keep)
        empty(m->store);
    free(m);
}

static enum pmap_status open_memory(struct pmap__store *store, bool keep, bool any_order, struct pmap__source **source)
{
    struct memory_source *m = calloc(1, sizeof *m);

    if (m == NULL)
        return PMAP_ENOMEM;
    m->source = (struct pmap__source){memory_next, memory_close};
    m->store = store;
    m->keep = keep;
    if (gather_sorted(store, any_order, &m->g) != PMAP_OK) {
        free(m);
        return PMAP_ENOMEM;
    }
    *source = &m->source;
    return PMAP_OK;
}

static enum pmap_status open_all(struct pmap__store *store, bool keep, struct pmap__source *sources[], size_t *n)
{
    enum pmap_status status = PMAP_OK;

    for (size_t i = 0; i < store->n_runs && status == PMAP_OK; i++) {
        status = pmap__sorted_open(store->common->scratch, &store->runs[i], !keep, &sources[*n]);
        *n += status == PMAP_OK;
        store->n_consumed += status == PMAP_OK && !keep;
    }
    if (status == PMAP_OK)
        status = open_memory(store, keep, false, &sources[*n]);
    *n += status == PMAP_OK;
    return status;
}

enum pmap_status pmap__store_open(struct pmap__store *store, bool keep, bool any_order, size_t fan_in, struct pmap__source **source,
                                  struct pmap_error *error)
{
    struct pmap__store_common *common = store->common;
    uint64_t merged = 0;

    pthread_mutex_lock(&store->lock);
    store->reading = true;
    atomic_store_explicit(&store->weight, 0, memory_order_relaxed); /* so nobody finds it the largest */
    pthread_mutex_unlock(&store->lock);
    if (store->n_runs == 0)
        return open_memory(store, keep, any_order, source);
    enum pmap_status status = pmap__sorted_merge_down(common->scratch, store->runs, &store->n_runs, fan_in, common->run_block,
                                                      &common->combine, &merged, error);
    atomic_fetch_add_explicit(&common->merged, merged, memory_order_relaxed);
    if (status != PMAP_OK)
        return status;
    size_t n = 0;
    struct pmap__source **sources = calloc(store->n_runs + 1, sizeof(struct pmap__source *));
    if (sources == NULL)
        return PMAP_ENOMEM;
    status = open_all(store, keep, sources, &n);
    if (status == PMAP_OK)
        status = pmap__merge_open(sources, n, source); /* closes them if it fails */
    else
        while (n > 0) {
            n--;
            sources[n]->close(sources[n]);
        }
    free(sources);
    return status;
}

/* ---- Sampling ---- */

static void sample_table(const struct pmap__table *table, size_t most, void (*each)(const void *, size_t, void *), void *argument)
{
    size_t stride = table->capacity / most + 1;

    for (size_t i = 0; i < table->capacity; i += stride) {
        const struct pmap__short *p = pmap__table_place(table, i);
        if (p->size)
            each(p->k, p->size - 1, argument);
    }
    for (size_t i = 0; i < table->n_blocks; i += table->n_blocks / most + 1)
        if (table->blocks[i].used)
            each(pmap__record_key(table->blocks[i].bytes), pmap__record_key_size(table->blocks[i].bytes), argument);
}

static void sample_run(struct pmap__store *store, const struct pmap__sorted *run, size_t most, void (*each)(const void *, size_t, void *),
                       void *argument)
{
    size_t stride = run->n / most + 1, size;
    struct pmap_error ignored;
    void *bytes;

    for (size_t i = 0; i < run->n; i += stride) {
        size_t block = i; /* one in the middle of a long record makes no sense, but such runs have few blocks that begin one */
        if (run->records < run->n || pmap__sorted_read(store->common->scratch, run, &block, &bytes, &size, &ignored) != PMAP_OK)
            return;
        each(pmap__record_key(bytes), pmap__record_key_size(bytes), argument);
        free(bytes);
    }
}

void pmap__store_sample(struct pmap__store *store, size_t most, void (*each)(const void *key, size_t size, void *argument), void *argument)
{
    size_t i = 0;

    sample_table(&store->table, most, each, argument);
    for (const struct pmap__block *block = store->blocks; block && i < most; block = block->next, i++)
        if (block->used)
            each(pmap__record_key(block->bytes), pmap__record_key_size(block->bytes), argument);
    for (size_t r = 0; r < store->n_runs && r < 8; r++)
        sample_run(store, &store->runs[r], most / 8 + 1, each, argument);
}
