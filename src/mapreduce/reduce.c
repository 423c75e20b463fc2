/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/reduce.h"

#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>

/* Records read from so many runs at once, at least; else runs are merged first. */
#define FAN_IN_MIN 8

/* ---- Where output goes ---- */

struct sink {
    struct pmap__site *site;
    size_t partition;
    struct pmap_emitter *onward; /* SINK_NEXT: of that site */
    uint64_t records, bytes;
    struct pmap_error error;
};

static enum pmap_status put_pair(struct sink *sink, const struct pmap__pair *pair)
{
    struct pmap__site *site = sink->site;
    struct pmap_view key = {pair->key, pair->key_size}, value = {pair->value, pair->value_size};
    struct pmap__pair kept = *pair;

    switch ((enum pmap__sink)site->plan.sink) {
    case PMAP__SINK_PARTS:
    case PMAP__SINK_SHARED:
        return pmap__file_put_pair(site->files[sink->partition], &site->formatter, key, value, &sink->error);
    case PMAP__SINK_STASH:
        kept.tag = sink->records;
        return pmap__stash_put(&site->stashes[sink->partition], &kept, &sink->error);
    case PMAP__SINK_NEXT:
    case PMAP__SINK_NONE:
        break;
    }
    return PMAP_OK;
}

static bool put(struct sink *sink, const struct pmap__pair *pair)
{
    if (sink->onward)
        return pmap__emitter_take(sink->onward, pair);
    sink->error.text[0] = '\0';
    enum pmap_status status = put_pair(sink, pair);
    if (status != PMAP_OK)
        pmap__site_fail_item(status, &sink->error);
    sink->records++;
    sink->bytes += pair->key_size + pair->value_size;
    return status == PMAP_OK;
}

static bool put_emitted(struct pmap_emitter *out, const struct pmap__pair *pair)
{
    return put(out->sink, pair);
}

/* A path in the directory, malloc'ed. */
static char *part_path(const struct pmap__plan *plan, size_t partition)
{
    size_t size = strlen(plan->output) + 32;
    char *path = malloc(size);

    if (path)
        snprintf(path, size, "%spart-%05zu", plan->output, partition);
    return path;
}

/* The emitter of this thread at the next site. Ties between keys there are broken by the partition, and the place in it. */
static enum pmap_status open_next(struct sink *sink)
{
    struct pmap__site *next = (struct pmap__site *)pmap__post_find(sink->site->post, sink->site->plan.next); /* its first member */
    int thread = 0;

    pmap__item_running(NULL, &thread);
    sink->onward = next ? pmap__emitter_of(next, thread) : NULL;
    if (sink->onward == NULL)
        return PMAP_ENOMEM;
    pmap__emitter_begin(sink->onward, sink->partition, NULL, 0); /* which cannot fail */
    return PMAP_OK;
}

static enum pmap_status open_sink(struct sink *sink, const struct pmap__step *step, const char *aside)
{
    struct pmap__site *site = sink->site;
    const struct pmap__plan *plan = &site->plan;
    struct pmap__outfile **file = &site->files[sink->partition];
    size_t buffer = site->common.run_block * 2;
    enum pmap_status status = PMAP_OK;

    pmap__file_abandon(*file); /* of a former try */
    *file = NULL;
    pmap__stash_clear(&site->stashes[sink->partition]);
    if (plan->sink == PMAP__SINK_PARTS) {
        char *path = part_path(plan, sink->partition);
        status = path ? pmap__file_create(path, buffer, file, &sink->error) : PMAP_ENOMEM;
        free(path);
    } else if (plan->sink == PMAP__SINK_SHARED) {
        status = pmap__shared_file_open(aside, step->total, step->offset, buffer, file, &sink->error);
    } else if (plan->sink == PMAP__SINK_NEXT) {
        status = open_next(sink);
    }
    return status;
}

static enum pmap_status close_sink(struct sink *sink)
{
    struct pmap__outfile *file = sink->site->files[sink->partition];

    if (file)
        sink->bytes = pmap__file_size(file);
    if (file)
        return pmap__file_finish(file, &sink->error);
    return pmap__stash_end(&sink->site->stashes[sink->partition], &sink->error);
}

/* ---- Groups ---- */

struct pmap_values {
    struct pmap__site *site;
    struct pmap__source *source;
    const void *record;      /* the next of the partition; NULL: there are no more */
    char *key;               /* of the group; a copy, for the record may be gone when it is looked at */
    size_t key_size, key_room;
    uint64_t *acc;           /* where values are combined: the one value, */
    bool given;              /* that was asked for */
    bool first;              /* record is the first of the group, and not given yet */
    bool ended;              /* the group has no more, and record is the next one's; or the call is over */
    unsigned looks;
    uint64_t n, bytes;       /* values of the group so far */
    enum pmap_status status;
    struct pmap_error error;
};

static bool advance(struct pmap_values *v)
{
    v->status = v->source->next(v->source, &v->record, &v->error);
    if (v->status != PMAP_OK)
        v->record = NULL;
    return v->record != NULL;
}

static bool in_group(const struct pmap_values *v)
{
    return v->record && pmap__record_key_size(v->record) == v->key_size &&
           memcmp(pmap__record_key(v->record), v->key, v->key_size) == 0;
}

/* Fold all values of the group. */
static void combine(struct pmap_values *v)
{
    const struct pmap__combine *how = &v->site->common.combine;

    memcpy(v->acc, pmap__record_value(v->record), how->size);
    while (advance(v) && in_group(v))
        how->fold(v->acc, pmap__record_value(v->record));
    v->n = 1;
    v->bytes = how->size;
    v->given = false;
}

/* The next group begins with the record; false: no memory. */
static bool begin_group(struct pmap_values *v)
{
    size_t size = pmap__record_key_size(v->record);

    if (size + 1 > v->key_room) {
        char *key = realloc(v->key, 2 * size + 64);
        if (key == NULL) {
            v->status = PMAP_ENOMEM;
            return false;
        }
        v->key = key;
        v->key_room = 2 * size + 64;
    }
    memcpy(v->key, pmap__record_key(v->record), size);
    v->key_size = size;
    v->n = v->bytes = 0;
    v->first = true;
    v->ended = false;
    if (v->acc)
        combine(v);
    return v->status == PMAP_OK;
}

/* A group may be as long as the input: somebody may have ended the call meanwhile. */
static bool is_over(struct pmap_values *v)
{
    return ++v->looks % 1024 == 0 && pmap__item_cancelled();
}

bool pmap_values_next(struct pmap_values *v, struct pmap_view *value)
{
    if (v->acc) {
        *value = (struct pmap_view){v->acc, v->site->common.combine.size};
        return !v->given && (v->given = true);
    }
    if (!v->first && !v->ended)
        v->ended = is_over(v) || v->record == NULL || !advance(v) || !in_group(v);
    if (v->ended)
        return false;
    v->first = false;
    *value = (struct pmap_view){pmap__record_value(v->record), pmap__record_value_size(v->record)};
    v->n++;
    v->bytes += value->size;
    return true;
}

/* Pass over what the reduce function has not asked for. */
static void end_group(struct pmap_values *v)
{
    struct pmap_view value;

    while (!v->acc && in_group(v) && pmap_values_next(v, &value))
        ;
}

/* ---- A partition ---- */

static void note_largest(struct pmap__counts *counts, const void *key, size_t key_size, const struct pmap_values *v)
{
    size_t size = key_size < sizeof counts->largest_key - 1 ? key_size : sizeof counts->largest_key - 1;

    counts->largest_values = v->n;
    counts->largest_bytes = v->bytes;
    memcpy(counts->largest_key, key, size);
    counts->largest_key[size] = '\0';
}

static void count_group(struct pmap__counts *counts, const struct pmap_values *v)
{
    counts->keys++;
    if (pmap__is_larger(v->n, v->bytes, counts->largest_values, counts->largest_bytes))
        note_largest(counts, v->key, v->key_size, v);
}

static bool reduce_group(struct pmap_values *v, struct sink *sink, struct pmap_emitter *out)
{
    const struct pmap_mapreduce *what = v->site->plan.what;
    struct pmap_view value, key = {v->key, v->key_size};

    if (what->reduce && !v->site->plan.plain) {
        what->reduce(key, v, out);
        if (!out->failed && !pmap__item_has_failed())
            end_group(v);
    } else {
        while (pmap_values_next(v, &value))
            if (!put(sink, &(struct pmap__pair){v->key, value.data, v->key_size, value.size, 0}))
                return false;
    }
    return !out->failed && !pmap__item_has_failed() && v->status == PMAP_OK;
}

/* Where each key has one record, and nothing is to be done with it: on with them as they are. */
static void pass_all(struct pmap_values *v, struct sink *sink, struct pmap__counts *counts)
{
    unsigned looks = 0;

    while (advance(v)) {
        struct pmap__pair pair = {pmap__record_key(v->record), pmap__record_value(v->record), pmap__record_key_size(v->record),
                                  pmap__record_value_size(v->record), 0};
        if (!put(sink, &pair) || (++looks % 256 == 0 && pmap__item_cancelled()))
            return;
        counts->keys++;
        if (counts->keys == 1) { /* all are as large */
            v->n = 1;
            v->bytes = pair.value_size;
            note_largest(counts, pair.key, pair.key_size, v);
        }
    }
    if (v->status != PMAP_OK)
        pmap__site_fail_item(v->status, &v->error);
}

static void reduce_all(struct pmap_values *v, struct sink *sink, struct pmap__counts *counts)
{
    struct pmap_emitter out = {.site = v->site, .role = PMAP__EMIT_REDUCE, .put = put_emitted, .sink = sink,
                               .source.split = sink->partition};
    unsigned looks = 0;
    bool more = advance(v);

    while (more) {
        if (!begin_group(v) || !reduce_group(v, sink, &out))
            break;
        count_group(counts, v);
        more = v->record != NULL;
        if (more && ++looks % 256 == 0 && pmap__item_cancelled())
            break;
    }
    if (v->status != PMAP_OK && !pmap__item_has_failed())
        pmap__site_fail_item(v->status, &v->error);
}

static void add_counts(struct pmap__site *site, const struct sink *sink, const struct pmap__counts *counts)
{
    struct pmap__counts *all = &site->counts;
    uint64_t bytes = site->stores[sink->partition].bytes;

    pthread_mutex_lock(&site->lock);
    all->keys += counts->keys;
    all->records_out += sink->records;
    all->bytes_out += sink->bytes;
    all->partition_sum += bytes;
    if (bytes > all->partition_max)
        all->partition_max = bytes;
    if (pmap__is_larger(counts->largest_values, counts->largest_bytes, all->largest_values, all->largest_bytes)) {
        all->largest_values = counts->largest_values;
        all->largest_bytes = counts->largest_bytes;
        memcpy(all->largest_key, counts->largest_key, sizeof all->largest_key);
    }
    pthread_mutex_unlock(&site->lock);
}

/* What a thread may have for reading a partition: together a quarter of the budget. A pile that is taken up is sure of half of that: for more it has to
 * find room. */
static size_t share_of_thread(const struct pmap__site *site)
{
    return (size_t)(site->budget->limit / 4 / site->n_emitters);
}

/* How many runs may be read at once. */
static size_t fan_in(const struct pmap__site *site)
{
    size_t n = share_of_thread(site) / pmap__sorted_reader_memory(site->common.run_block);
    return n < FAN_IN_MIN ? FAN_IN_MIN : n;
}

/* What the site before has combined, and no reduce function has emitted, comes once. (The plan has the same functions, but is plain.) */
static bool keys_come_once(const struct pmap__plan *plan)
{
    return plan->before && plan->plain && plan->what->combine && plan->what->reduce == NULL;
}

/* simple: each key has one record, and there is no reduce function. */
static void reduce_source(struct pmap__site *site, struct pmap__source *source, bool simple, struct sink *sink)
{
    struct pmap__counts counts = {0};
    struct pmap_values v = {.site = site, .source = source};
    size_t size = site->common.combine.size;

    if (size && !simple)
        v.acc = malloc(pmap__padded(size));
    if (size && !simple && v.acc == NULL)
        pmap__site_fail_item(PMAP_ENOMEM, NULL);
    else
        (simple ? pass_all : reduce_all)(&v, sink, &counts);
    free(v.acc);
    free(v.key);
    if (sink->onward)
        pmap__emitter_end(sink->onward, !pmap__item_has_failed());
    if (pmap__item_has_failed())
        return;
    enum pmap_status status = close_sink(sink);
    if (status != PMAP_OK)
        pmap__site_fail_item(status, &sink->error);
    else
        add_counts(site, sink, &counts);
}

/* False: the item has failed. Runs may have got lost in a merge then, so a second try would find less. */
static bool open_store(struct pmap__site *site, size_t partition, bool again, bool any_order, struct pmap__source **source,
                       struct pmap_error *error)
{
    enum pmap_status status = pmap__store_open(&site->stores[partition], again, any_order, fan_in(site), source, error);

    if (status == PMAP_OK)
        return true;
    pmap__site_fail(site, status, error);
    pmap__site_fail_item(status, error);
    return false;
}

void pmap__reduce_partition(struct pmap__site *site, const struct pmap__step *step, const char *aside, bool again)
{
    struct sink sink = {.site = site, .partition = (size_t)step->partition};
    struct pmap__source *source;
    char about[64];

    snprintf(about, sizeof about, "partition %zu", sink.partition);
    pmap__item_about(about);
    if (pmap__site_check(site)) {
        pmap__item_about(NULL);
        return;
    }
    /* Combined values that are only emitted again may come in any order. */
    bool onward = site->common.combine.size && site->plan.sink == PMAP__SINK_NEXT && site->plan.what->reduce == NULL;
    enum pmap_status status = open_sink(&sink, step, aside);
    if (status != PMAP_OK) {
        pmap__site_fail_item(status, &sink.error);
    } else if (pmap__shuffle_take_up(site, sink.partition, share_of_thread(site) / 2, sink.onward ? sink.onward->site : site) &&
               open_store(site, sink.partition, again, onward, &source, &sink.error)) {
        bool simple = keys_come_once(&site->plan) || (onward && site->stores[sink.partition].n_runs == 0);
        reduce_source(site, source, simple, &sink);
        source->close(source);
    }
    pmap__item_about(NULL);
}
