/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/store.h"

#include "base/error.h"
#include "mapreduce/gathered.h"

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
    pmap__pile_clear(&store->pile, &store->common->pile);
    pthread_mutex_destroy(&store->lock);
}

static bool gather(const struct pmap__store *store, bool any_order, struct pmap__gathered *g)
{
    return pmap__gathered_init(g, &store->table, store->blocks, store->records, any_order);
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

static enum pmap_status write_run(struct pmap__store *store, struct pmap__gathered *g, struct pmap__sorted *run,
                                  struct pmap_error *error)
{
    struct pmap__sorted_writer *writer = NULL;
    enum pmap_status status = pmap__sorted_begin(store->common->scratch, store->common->run_block, &writer);

    for (const void *record; status == PMAP_OK && (record = pmap__gathered_next(g)) != NULL;)
        status = pmap__sorted_put(writer, record, error);
    if (status == PMAP_OK)
        return pmap__sorted_end(writer, run, error);
    pmap__sorted_abandon(writer);
    return status;
}

static void count_spill(struct pmap__store_common *common, uint64_t size, uint64_t stored)
{
    atomic_fetch_add_explicit(&common->spills, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&common->spilled, size, memory_order_relaxed);
    atomic_fetch_add_explicit(&common->spilled_disk, stored, memory_order_relaxed);
}

static enum pmap_status write_as_run(struct pmap__store *store, struct pmap__gathered *g, struct pmap_error *error)
{
    struct pmap__sorted run;

    if (!make_room_for_run(store))
        return PMAP_ENOMEM;
    enum pmap_status status = write_run(store, g, &run, error);
    if (status == PMAP_OK) {
        store->runs[store->n_runs++] = run;
        count_spill(store->common, run.size, run.stored);
    }
    return status;
}

/* ---- Putting by ---- */

/* Bytes of a pair on average: longer keys have much in common with their neighbours in a sorted run, which makes that shorter. */
#define SHORT_PAIR 32
/* The table is tried again after so many times the pairs that it was tried with, for what comes may change. */
#define TRY_AGAIN 8

/* Most keys came once: it is not worth its time. */
static bool folds_little(const struct pmap__store *store)
{
    const struct pmap__table *table = &store->table;

    return store->common->piles && !store->taking_up && table->pairs < 2 * pmap__table_keys(table) &&
           table->pair_bytes <= SHORT_PAIR * table->pairs;
}

/* In the order of keys: that of places would later fill a table from one end (hash.h). */
static enum pmap_status put_by(struct pmap__store *store, struct pmap__gathered *g, struct pmap_error *error)
{
    size_t value_size = store->common->combine.size, size = 0;
    enum pmap_status status = PMAP_OK;

    for (const void *record; status == PMAP_OK && (record = pmap__gathered_next(g)) != NULL;) {
        size_t key_size = pmap__record_key_size(record);
        struct pmap__block *block;
        status = pmap__pile_room(&store->pile, &store->common->pile, pmap__lean_room(key_size, value_size), &block, error);
        if (status != PMAP_OK)
            return status;
        size_t pair = pmap__lean_write(pmap__block_end(block), pmap__record_key(record), key_size, pmap__record_value(record), value_size);
        pmap__block_added(block, pair);
        size += pair;
    }
    count_spill(store->common, size, size);
    store->past_table = TRY_AGAIN * store->table.pairs;
    return status;
}

/* Under the lock. */
static enum pmap_status spill(struct pmap__store *store, struct pmap_error *error)
{
    bool to_pile = folds_little(store);
    struct pmap__gathered g;

    if (store->reading || store->records + pmap__table_keys(&store->table) == 0)
        return PMAP_OK;
    if (!gather(store, false, &g))
        return PMAP_ENOMEM;
    enum pmap_status status = to_pile ? put_by(store, &g, error) : write_as_run(store, &g, error);
    pmap__gathered_fini(&g);
    if (status == PMAP_OK)
        empty(store);
    return status;
}

/* ---- Adding ---- */

/* Less is not worth a run. */
#define LEAST_KEYS 1024

/* Where the table cannot grow within the budget, nor has less than share bytes, it is spilled in between; *done: bytes of the block that
 * it has taken before it should be passed by. */
static enum pmap_status add_to_table(struct pmap__store *store, const struct pmap__block *block, size_t share, size_t *done,
                                     struct pmap_error *error)
{
    const char *pairs = (const char *)block->bytes;

    while (*done < block->used && store->past_table == 0) {
        bool force = pmap__table_keys(&store->table) < LEAST_KEYS || store->table.held < share;
        size_t more = pmap__table_add(&store->table, pairs + *done, block->used - *done, force);
        *done += more;
        if (*done == block->used)
            break;
        if (force && more == 0)
            return PMAP_ENOMEM;
        enum pmap_status status = force ? PMAP_OK : spill(store, error);
        if (status != PMAP_OK)
            return status;
    }
    return PMAP_OK;
}

static enum pmap_status add_combined(struct pmap__store *store, const struct pmap__block *block, struct pmap_error *error)
{
    size_t done = 0;
    enum pmap_status status = store->past_table == 0 ? add_to_table(store, block, 0, &done, error) : PMAP_OK;

    if (status != PMAP_OK || done == block->used)
        return status;
    size_t rest = block->used - done;
    store->past_table -= store->past_table < block->records ? store->past_table : block->records;
    atomic_fetch_add_explicit(&store->common->spilled, rest, memory_order_relaxed);
    atomic_fetch_add_explicit(&store->common->spilled_disk, rest, memory_order_relaxed);
    return pmap__pile_add(&store->pile, &store->common->pile, (const char *)block->bytes + done, rest, error);
}

enum pmap_status pmap__store_add(struct pmap__store *store, struct pmap__block *block, struct pmap_error *error)
{
    enum pmap_status status = PMAP_OK;

    pthread_mutex_lock(&store->lock);
    store->bytes += block->used;
    if (store->common->combine.size) {
        status = add_combined(store, block, error);
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

enum pmap_status pmap__stores_relieve(struct pmap__store stores[], size_t n, size_t room, struct pmap_error *error)
{
    struct pmap__budget *budget = stores[0].common->budget;
    uint64_t least = budget->limit / 8 / n; /* a run of less would be one of very many */
    enum pmap_status status = PMAP_OK;

    for (size_t tries = 0; tries < n && status == PMAP_OK && !pmap__budget_has(budget, room); tries++) {
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

/* By half, and pairs have more bytes in it. */
static size_t next_growth(const struct pmap__store *store)
{
    return store->table.held / 2 + 4 * store->common->pile.block;
}

enum pmap_status pmap__store_take_up(struct pmap__store *store, size_t share, size_t *grows, struct pmap_error *error)
{
    struct pmap__block *block = NULL;
    enum pmap_status status = PMAP_OK;
    size_t done = 0;

    pthread_mutex_lock(&store->lock);
    store->taking_up = true;
    store->past_table = 0;
    atomic_store_explicit(&store->weight, 0, memory_order_relaxed); /* so nobody finds it the largest */
    if (!pmap__pile_is_empty(&store->pile))
        status = pmap__pile_take(&store->pile, &store->common->pile, &block, error);
    if (block)
        status = add_to_table(store, block, share, &done, error);
    pmap__block_free(store->common->budget, block);
    *grows = pmap__pile_is_empty(&store->pile) ? 0 : next_growth(store);
    pthread_mutex_unlock(&store->lock);
    return status;
}

/* What is in memory, sorted, as a source. */
struct memory_source {
    struct pmap__source source; /* first */
    struct pmap__store *store;
    struct pmap__gathered g;
    bool keep;
};

static enum pmap_status memory_next(struct pmap__source *source, const void **record, struct pmap_error *error)
{
    struct memory_source *m = (struct memory_source *)source;
    (void)error;
    *record = pmap__gathered_next(&m->g);
    return PMAP_OK;
}

static void memory_close(struct pmap__source *source)
{
    struct memory_source *m = (struct memory_source *)source;
    pmap__gathered_fini(&m->g);
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
    if (!gather(store, any_order, &m->g)) {
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

/* Of the keys that are at one place together: they are there in no order. */
static void sample_pile(const struct pmap__store *store, size_t most, void (*each)(const void *, size_t, void *), void *argument)
{
    const struct pmap__pile *pile = &store->pile;
    struct pmap__block *block = NULL;
    struct pmap__lean pair;
    struct pmap_error ignored;

    if (pile->n == 0 || pmap__pile_read(pile, &store->common->pile, pile->n / 2, &block, &ignored) != PMAP_OK)
        return;
    const char *at = (const char *)block->bytes, *end = at + block->used;
    for (size_t i = 0, stride = block->records / most + 1; at < end; i++) {
        at = pmap__lean_read(at, end, store->common->combine.size, &pair);
        if (i % stride == 0)
            each(pair.key, pair.key_size, argument);
    }
    pmap__block_free(store->common->budget, block);
}

void pmap__store_sample(struct pmap__store *store, size_t most, void (*each)(const void *key, size_t size, void *argument), void *argument)
{
    size_t i = 0;

    sample_table(&store->table, most, each, argument);
    sample_pile(store, most, each, argument);
    for (const struct pmap__block *block = store->blocks; block && i < most; block = block->next, i++)
        if (block->used)
            each(pmap__record_key(block->bytes), pmap__record_key_size(block->bytes), argument);
    for (size_t r = 0; r < store->n_runs && r < 8; r++)
        sample_run(store, &store->runs[r], most / 8 + 1, each, argument);
}
