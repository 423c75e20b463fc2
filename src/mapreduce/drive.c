/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A map-reduce from beginning to end, as the root's caller sees to it:
 *
 *   plan the splits -> BEGIN -> (SAMPLE -> BORDERS) -> MAP -> DRAIN -> FLUSH -> REDUCE -> output -> COUNTS -> END, or KEEP
 *
 * Every arrow waits for all ranks. Between BEGIN and END whatever fails ends in STOP and END on all ranks, so that
 * nothing is under way when sites go; and no file has come to its name before all is well.
 *
 * Output that is one sequence (one file, or a function on the root) is fetched here, block by block, from the stashes of all
 * partitions, and merged, or, of ranges, strung together. Where every pair is a record of output in a file of ranges its size is known
 * after FLUSH; then all ranks write into their places of the file at the same time, and nothing is fetched.
 */
#include "mapreduce/drive.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "engine/job.h"
#include "engine/registry.h"
#include "engine/wait.h"
#include "mapreduce/flights.h"
#include "mapreduce/near.h"
#include "mapreduce/run.h"
#include "mapreduce/site.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARTITIONS 64
#define SPLIT_SIZE ((size_t)4 << 20)
#define RECORD_MAX ((size_t)16 << 20)
#define BATCH ((size_t)256 << 10)    /* of a generator's records, about */
#define SAMPLES 128                  /* places that are looked at for ranges, */
#define SAMPLE_SIZE ((size_t)64 << 10) /* so many bytes each, */
#define SAMPLE_STORES 8192           /* keys of the stores of a rank */
#define SAMPLE_KEYS 1000             /* and so many keys at most */

struct drive {
    const struct pmap_mapreduce_options *o;
    struct pmap_error *error;
    struct pmap__flight_rules rules, patient; /* for steps that may be run again: with the user's retries */
    struct pmap__plan plan;     /* of the site that the next step is for */
    struct pmap__plan next;     /* number 0: there is none; or it has the other's place, and the other is done */
    struct pmap__split *splits; /* of files */
    size_t n_splits;
    uint64_t *out_bytes;        /* by partition, if the sink is shared */
    uint64_t total;             /* their sum */
    bool begun;                 /* there may be sites */
    uint64_t since;
    struct pmap_mapreduce_stats stats;
};

static enum pmap_status no_memory(struct drive *d)
{
    return pmap__error_set(d->error, PMAP_ENOMEM, "pmap_mapreduce: no memory on the root");
}

/* ---- The plan ---- */

static bool is_directory(const char *path)
{
    return path && path[0] && path[strlen(path) - 1] == '/';
}

static uint64_t new_number(void)
{
    static atomic_uint_fast64_t last;
    return atomic_fetch_add(&last, 1) + 1;
}

static char *copy_of(const char *text)
{
    return text ? strdup(text) : NULL;
}

static bool is_sequence(const struct pmap_mapreduce_options *o)
{
    return o->deliver || (o->output && !is_directory(o->output));
}

/* A pair that is emitted is a record of output. */
static bool is_plain(const struct pmap_mapreduce *what)
{
    return !what->combine && !what->reduce && !what->partition;
}

/* A plain sequence is made by ranges at once, if the input can be sampled. */
static bool wants_ranges(const struct drive *d)
{
    const struct pmap_mapreduce_options *o = d->o;
    return o->order == PMAP_ORDER_RANGES || (is_sequence(o) && is_plain(d->plan.what) && o->input.kind != PMAP_INPUT_GENERATOR);
}

static void choose_sink(struct drive *d)
{
    const struct pmap_mapreduce_options *o = d->o;

    if (o->output && is_directory(o->output))
        d->plan.sink = PMAP__SINK_PARTS;
    else if (o->output && d->plan.ranges && is_plain(d->plan.what))
        d->plan.sink = PMAP__SINK_SHARED;
    else if (o->output || o->deliver || o->keep)
        d->plan.sink = PMAP__SINK_STASH;
    if (is_sequence(o) && !d->plan.ranges)
        d->plan.sink = PMAP__SINK_NEXT;
}

/* The plan of the site that makes a sequence of what another has reduced: the same functions, but none of them is called. */
static enum pmap_status make_next(struct drive *d)
{
    struct pmap__plan *p = &d->next;

    *p = d->plan;
    p->number = new_number();
    p->plain = p->ranges = 1;
    p->before = d->plan.number;
    p->sink = d->o->output ? PMAP__SINK_SHARED : PMAP__SINK_STASH;
    d->plan.next = p->number;
    p->files = (struct pmap__files){NULL, 0};
    p->arg = NULL;
    p->arg_size = 0;
    p->output = NULL;
    p->scratch = copy_of(d->plan.scratch);
    p->separator = copy_of(d->plan.separator);
    p->threads = calloc((size_t)p->ranks, sizeof *p->threads);
    p->owners = calloc((size_t)p->ranks, sizeof *p->owners);
    if (p->threads == NULL || p->owners == NULL || p->separator == NULL || (d->plan.scratch && p->scratch == NULL))
        return no_memory(d);
    memcpy(p->threads, d->plan.threads, (size_t)p->ranks * sizeof *p->threads);
    memcpy(p->owners, d->plan.owners, (size_t)p->ranks * sizeof *p->owners);
    return PMAP_OK;
}

static bool list_ranks(struct drive *d, const struct pmap__root *root)
{
    struct pmap__plan *p = &d->plan;

    p->ranks = (uint64_t)pmap__root_ranks(root);
    p->root = (uint64_t)pmap__root_place(root)->rank;
    p->threads = calloc((size_t)p->ranks, sizeof *p->threads);
    p->owners = calloc((size_t)p->ranks, sizeof *p->owners);
    if (p->threads == NULL || p->owners == NULL)
        return false;
    for (uint64_t r = 0; r < p->ranks; r++) {
        p->threads[r] = (uint64_t)pmap__root_threads_of(root, (int)r);
        if (p->threads[r])
            p->owners[p->n_owners++] = r;
    }
    return true;
}

static enum pmap_status make_plan(struct drive *d, struct pmap_mapreduce *what, const struct pmap__root *root)
{
    const struct pmap_mapreduce_options *o = d->o;
    struct pmap__plan *p = &d->plan;

    p->number = new_number();
    p->task = what->task.id;
    p->what = what;
    p->partitions = o->partitions ? o->partitions : PARTITIONS;
    p->memory = o->memory;
    p->record_size = o->input.kind == PMAP_INPUT_RECORDS ? o->input.record_size : o->record_size;
    p->record_max = o->record_max ? o->record_max : RECORD_MAX;
    p->staged = o->retries > 0;
    p->ranges = wants_ranges(d);
    p->format = (uint64_t)o->format;
    p->scratch = copy_of(o->scratch);
    p->separator = copy_of(o->separator ? o->separator : "\t");
    choose_sink(d);
    if (p->sink == PMAP__SINK_PARTS)
        p->output = copy_of(o->output);
    p->arg_size = o->arg_size;
    p->arg = malloc(o->arg_size + 1);
    if (!list_ranks(d, root) || p->separator == NULL || p->arg == NULL || (o->scratch && p->scratch == NULL) ||
        (p->sink == PMAP__SINK_PARTS && p->output == NULL))
        return no_memory(d);
    if (o->arg_size)
        memcpy(p->arg, o->arg, o->arg_size);
    return p->sink == PMAP__SINK_NEXT ? make_next(d) : PMAP_OK;
}

/* Small input is cut so that every thread gets some. */
static size_t split_size(const struct drive *d, uint64_t total)
{
    uint64_t threads = 0;

    for (uint64_t r = 0; r < d->plan.ranks; r++)
        threads += d->plan.threads[r];
    uint64_t share = total / (4 * (threads ? threads : 1)) + 1;
    size_t size = d->o->split_size ? d->o->split_size : share < SPLIT_SIZE ? (size_t)share : SPLIT_SIZE;
    return d->o->split_size || size > 65536 ? size : 65536;
}

static enum pmap_status find_files(struct drive *d)
{
    uint64_t total = 0;
    enum pmap_status status = pmap__files_find(d->o->input.paths, &d->plan.files, d->error);

    for (size_t i = 0; status == PMAP_OK && i < d->plan.files.n; i++)
        total += d->plan.files.files[i].size;
    if (status == PMAP_OK)
        status = pmap__files_cut(&d->plan.files, split_size(d, total), (size_t)d->plan.record_size, &d->splits, &d->n_splits, d->error);
    return status == PMAP_ENOMEM ? no_memory(d) : status;
}

/* ---- Steps for all ranks ---- */

static enum pmap_status all_ranks(struct drive *d, enum pmap__step_kind kind, const void *payload, size_t size,
                                  struct pmap_bytes answers[])
{
    struct pmap__step step = {.kind = kind, .number = d->plan.number};
    return pmap__flights_all(&d->rules, &step, payload, size, d->plan.owners, (size_t)d->plan.n_owners, answers, d->error);
}

static enum pmap_status begin(struct drive *d)
{
    void *bytes = NULL;
    size_t size = 0;

    if (pmap__plan_encode(&d->plan, &bytes, &size) != PMAP_OK)
        return no_memory(d);
    d->begun = true;
    enum pmap_status status = all_ranks(d, PMAP__STEP_BEGIN, bytes, size, NULL);
    free(bytes);
    return status;
}

static void tidy_up_site(struct drive *d, uint64_t number, bool failed)
{
    uint64_t current = d->plan.number;

    d->plan.number = number;
    if (d->begun && failed)
        all_ranks(d, PMAP__STEP_STOP, NULL, 0, NULL);
    if (d->begun)
        all_ranks(d, PMAP__STEP_END, NULL, 0, NULL);
    d->plan.number = current;
}

/* Whatever happens: after this nothing of the call is on any rank. */
static void tidy_up(struct drive *d, bool failed)
{
    struct pmap_error ignored;

    d->error = &ignored;
    d->rules.last = true;
    if (d->next.number)
        tidy_up_site(d, d->next.number, failed);
    tidy_up_site(d, d->plan.number, failed);
}

static void lap(struct drive *d, double *seconds)
{
    uint64_t now = pmap__now();
    *seconds += (double)(now - d->since) / 1e9;
    d->since = now;
}

/* ---- Splits as steps ---- */

/* Steps that are made one after the other; false: there are no more. *payload is borrowed until the next. */
struct feed {
    struct drive *d;
    bool (*next)(struct feed *feed, struct pmap__step *step, struct pmap_view *payload, int *aim);
    size_t i;       /* of the next split */
    size_t at;      /* arrays: of the next split's begin in bytes; generators: records so far */
    size_t size;    /* of a split */
    bool ended;     /* of a generator */
    char *batch;    /* of its records */
    size_t used, room;
    bool no_memory;
    struct pmap_view left; /* a record that found no room in the last batch */
};

static bool next_of_array(struct feed *feed, struct pmap__step *step, struct pmap_view *payload, int *aim)
{
    const struct pmap_input *in = &feed->d->o->input;
    size_t total = in->n * in->record_size, size = total - feed->at < feed->size ? total - feed->at : feed->size;
    const char *data = in->records;

    if (size == 0)
        return false;
    step->split = (struct pmap__split){.index = feed->i, .begin = feed->at, .end = feed->at + size};
    if (feed->d->plan.ranks == 1) {
        step->split_kind = PMAP__SPLIT_HERE;
        step->address = (uintptr_t)data + feed->at;
    } else {
        step->split_kind = PMAP__SPLIT_BEHIND;
        *payload = (struct pmap_view){data + feed->at, size};
    }
    *aim = 0;
    feed->at += size;
    return true;
}

static bool add_record(struct feed *feed, struct pmap_view record)
{
    size_t size = sizeof(uint64_t) + pmap__padded(record.size);
    uint64_t n = record.size;

    if (size > feed->room - feed->used) {
        size_t room = feed->used + size > BATCH ? feed->used + size : BATCH;
        char *batch = realloc(feed->batch, room);
        if (batch == NULL)
            return false;
        feed->batch = batch;
        feed->room = room;
    }
    memcpy(feed->batch + feed->used, &n, sizeof n);
    memset(feed->batch + feed->used + size - 8, 0, 8);
    if (record.size == 0)
        memcpy(feed->batch + feed->used, &n, sizeof n); /* the padding was the size itself */
    if (record.size)
        memcpy(feed->batch + feed->used + sizeof n, record.data, record.size);
    feed->used += size;
    return true;
}

static bool next_of_generator(struct feed *feed, struct pmap__step *step, struct pmap_view *payload, int *aim)
{
    const struct pmap_input *in = &feed->d->o->input;
    size_t first = feed->at;

    feed->used = 0;
    while (!feed->ended && feed->used < BATCH) {
        struct pmap_view record = {NULL, 0};
        feed->ended = !in->next(in->state, &record);
        if (!feed->ended && !add_record(feed, record)) {
            feed->no_memory = true;
            return false;
        }
        feed->at += !feed->ended;
    }
    if (feed->used == 0)
        return false;
    step->split_kind = PMAP__SPLIT_RECORDS;
    step->split = (struct pmap__split){.index = feed->i, .begin = first, .end = feed->at};
    *payload = (struct pmap_view){feed->batch, feed->used};
    *aim = 0;
    return true;
}

static bool next_of_dataset(struct feed *feed, struct pmap__step *step, struct pmap_view *payload, int *aim)
{
    const struct pmap_dataset *set = feed->d->o->input.dataset;
    (void)payload;

    if (feed->i == set->partitions)
        return false;
    step->split_kind = PMAP__SPLIT_DATASET;
    step->split = (struct pmap__split){.index = feed->i};
    step->dataset = set->number;
    step->partition = feed->i;
    *aim = 1 + (int)set->owners[feed->i % set->n_owners];
    return true;
}

static void feed_init(struct feed *feed, struct drive *d)
{
    const struct pmap_input *in = &d->o->input;

    *feed = (struct feed){.d = d};
    if (in->kind == PMAP_INPUT_RECORDS) {
        size_t size = split_size(d, in->n * in->record_size), records = size / in->record_size;
        feed->next = next_of_array;
        feed->size = (records ? records : 1) * in->record_size;
    } else {
        feed->next = in->kind == PMAP_INPUT_GENERATOR ? next_of_generator : next_of_dataset;
    }
}

/* ---- Ranges ---- */

/* Places of the input that are far from each other: where they are depends on the input alone. */
static void cut_sample_of_files(const struct drive *d, size_t i, uint64_t total, struct pmap__split *split)
{
    uint64_t at = total / SAMPLES * i, begin = 0;
    size_t file = 0;

    while (file + 1 < d->plan.files.n && at - begin >= d->plan.files.files[file].size)
        begin += d->plan.files.files[file++].size;
    const struct pmap__file *f = &d->plan.files.files[file];
    uint64_t offset = at - begin, record = d->plan.record_size ? d->plan.record_size : 1;
    offset -= offset % record;
    uint64_t size = SAMPLE_SIZE < record ? record : SAMPLE_SIZE - SAMPLE_SIZE % record;
    uint64_t end = f->size - offset < size ? f->size : offset + size;
    *split = (struct pmap__split){.index = i, .file = file, .begin = f->packed ? 0 : offset, .end = f->packed ? f->size : end};
}

static bool next_sample_of_files(struct feed *feed, struct pmap__step *step, struct pmap_view *payload, int *aim)
{
    uint64_t total = 0;
    (void)payload;

    for (size_t i = 0; i < feed->d->plan.files.n; i++)
        total += feed->d->plan.files.files[i].size;
    if (feed->i == SAMPLES || total == 0)
        return false;
    step->split_kind = PMAP__SPLIT_FILE;
    cut_sample_of_files(feed->d, feed->i, total, &step->split);
    *aim = 0;
    return true;
}

static bool next_sample_of_array(struct feed *feed, struct pmap__step *step, struct pmap_view *payload, int *aim)
{
    const struct pmap_input *in = &feed->d->o->input;
    size_t most = SAMPLE_SIZE / in->record_size + 1, first = in->n / SAMPLES * feed->i;
    size_t n = in->n - first < most ? in->n - first : most;

    if (feed->i == SAMPLES || n == 0)
        return false;
    step->split_kind = PMAP__SPLIT_BEHIND;
    step->split = (struct pmap__split){.index = feed->i, .begin = first * in->record_size, .end = (first + n) * in->record_size};
    *payload = (struct pmap_view){(const char *)in->records + first * in->record_size, n * in->record_size};
    *aim = 0;
    return true;
}

static void sample_feed_init(struct feed *feed, struct drive *d)
{
    feed_init(feed, d);
    if (d->o->input.kind == PMAP_INPUT_FILES)
        feed->next = next_sample_of_files;
    else if (d->o->input.kind == PMAP_INPUT_RECORDS)
        feed->next = next_sample_of_array;
}

/* Sampled keys as records, side by side. */
struct keys {
    char *bytes;
    size_t used, n;
};

static bool add_keys(struct keys *keys, struct pmap_bytes more)
{
    char *bytes = realloc(keys->bytes, keys->used + more.size + 1);

    if (bytes == NULL)
        return false;
    keys->bytes = bytes;
    if (more.size)
        memcpy(bytes + keys->used, more.data, more.size);
    for (size_t at = 0; at < more.size; at += pmap__record_size((char *)more.data + at))
        keys->n++;
    keys->used += more.size;
    return true;
}

/* The quantiles of the sampled keys, as records side by side; malloc'ed. */
static char *choose_borders(const struct keys *keys, size_t partitions, size_t *size)
{
    struct pmap__sort_entry *entries = calloc(keys->n + 1, sizeof *entries);
    static const uint64_t nothing[2] = {0, 0};
    char *borders = malloc(keys->used + partitions * PMAP__PAIR_HEAD + partitions * 300);
    size_t n = 0, used = 0;

    for (size_t at = 0; entries && at < keys->used; at += pmap__record_size(keys->bytes + at))
        entries[n++] = pmap__sort_entry_of(keys->bytes + at);
    if (entries)
        pmap__sort(entries, n);
    for (size_t i = 1; i < partitions && entries && borders; i++) {
        const void *record = n ? entries[n * i / partitions].record : nothing;
        memcpy(borders + used, record, pmap__record_size(record));
        used += pmap__record_size(record);
    }
    *size = used;
    if (entries == NULL) {
        free(borders);
        borders = NULL;
    }
    free(entries);
    return borders;
}

/* Send all steps of a feed off, so many at a time, and give their answers to take. */
static enum pmap_status run_feed(struct drive *d, struct feed *feed, enum pmap__step_kind kind, size_t most,
                                 bool (*take)(struct keys *keys, struct pmap_bytes answer), struct keys *keys)
{
    struct pmap__flights *flights = pmap__flights_create(&d->patient, most);
    enum pmap_status status = flights ? PMAP_OK : no_memory(d);
    bool more = status == PMAP_OK;

    while (status == PMAP_OK && (more || !pmap__flights_empty(flights))) {
        struct pmap__step step = {.kind = kind, .number = d->plan.number, .most = SAMPLE_KEYS};
        struct pmap_view payload = {NULL, 0};
        struct pmap_bytes answer;
        int aim;
        if (more && !pmap__flights_full(flights)) {
            more = feed->next(feed, &step, &payload, &aim);
            if (more)
                status = pmap__flights_send(flights, &step, payload.data, payload.size, aim, feed->i++, d->error);
            continue;
        }
        status = pmap__flights_take(flights, &answer, d->error);
        if (status == PMAP_OK && take && !take(keys, answer))
            status = no_memory(d);
        free(answer.data);
    }
    pmap__flights_destroy(flights);
    free(feed->batch);
    return status == PMAP_OK && feed->no_memory ? no_memory(d) : status;
}

static size_t window(const struct drive *d)
{
    return 4 * (size_t)pmap__root_threads(d->rules.tenant->root) + 4;
}

static enum pmap_status set_borders(struct drive *d, const struct keys *keys)
{
    size_t size;
    char *borders = choose_borders(keys, (size_t)d->plan.partitions, &size);
    enum pmap_status status = borders ? all_ranks(d, PMAP__STEP_BORDERS, borders, size, NULL) : no_memory(d);

    free(borders);
    return status;
}

static enum pmap_status find_borders(struct drive *d)
{
    struct keys keys = {NULL, 0, 0};
    struct feed feed;

    sample_feed_init(&feed, d);
    enum pmap_status status = run_feed(d, &feed, PMAP__STEP_SAMPLE, window(d), add_keys, &keys);
    if (status == PMAP_OK)
        status = set_borders(d, &keys);
    free(keys.bytes);
    return status;
}

/* The keys that are in the stores now. */
static enum pmap_status sample_stores(struct drive *d, struct keys *keys)
{
    struct pmap__step step = {.kind = PMAP__STEP_SAMPLE, .number = d->plan.number, .split_kind = PMAP__SPLIT_STORES, .most = SAMPLE_STORES};
    size_t n = (size_t)d->plan.n_owners;
    struct pmap_bytes *answers = calloc(n, sizeof *answers);

    if (answers == NULL)
        return no_memory(d);
    enum pmap_status status = pmap__flights_all(&d->rules, &step, NULL, 0, d->plan.owners, n, answers, d->error);
    for (size_t i = 0; i < n; i++) {
        if (status == PMAP_OK && !add_keys(keys, answers[i]))
            status = no_memory(d);
        free(answers[i].data);
    }
    free(answers);
    return status;
}

/* ---- Map ---- */

static bool is_done(const void *job)
{
    return pmap__job_is_done(job);
}

/* Steps of splits that are chosen when a rank takes them. */
struct binding {
    struct pmap__step *steps;
    const struct pmap__split *splits;
    struct pmap__near *near;
};

static void bind(void *binder, size_t begin, size_t end, int rank)
{
    struct binding *b = binder;

    for (size_t i = begin; i < end; i++)
        b->steps[i].split = b->splits[pmap__near_next(b->near, (size_t)rank)];
}

/* Ask all ranks which splits are near; NULL if the functions do not say. */
static enum pmap_status find_near(struct drive *d, struct pmap__near **near)
{
    size_t n = (size_t)d->plan.n_owners, ranks = (size_t)d->plan.ranks;
    struct pmap_bytes *answers = calloc(n, sizeof *answers);
    const char **by_rank = calloc(ranks, sizeof(char *));
    enum pmap_status status = answers && by_rank ? PMAP_OK : no_memory(d);

    if (status == PMAP_OK)
        status = all_ranks(d, PMAP__STEP_NEAR, d->splits, d->n_splits * sizeof *d->splits, answers);
    for (size_t i = 0; i < n && status == PMAP_OK; i++)
        by_rank[d->plan.owners[i]] = answers[i].data;
    if (status == PMAP_OK && pmap__near_create(d->n_splits, ranks, by_rank, near) != PMAP_OK)
        status = no_memory(d);
    for (size_t i = 0; i < n && answers; i++)
        free(answers[i].data);
    free(answers);
    free(by_rank);
    return status;
}

/* Splits of files are all known, and small as items: they are one job, whose chunks the engine sizes. */
static enum pmap_status map_files(struct drive *d)
{
    struct pmap__step *steps = calloc(d->n_splits + 1, sizeof *steps);
    struct pmap_bytes *items = calloc(d->n_splits + 1, sizeof *items), *answers = calloc(d->n_splits + 1, sizeof *answers);
    struct pmap__order_form form = {.call = "pmap_mapreduce", .task = d->rules.task, .args = items, .results = answers, .n = d->n_splits,
                                    .on_error = PMAP_STOP, .retries = d->patient.retries, .retry_delay = d->patient.retry_delay,
                                    .priority = d->rules.priority, .seed = d->rules.seed, .late = true};
    struct pmap__job job;
    struct binding binding = {.steps = steps, .splits = d->splits};
    enum pmap_status status = steps && items && answers ? PMAP_OK : no_memory(d);

    if (status == PMAP_OK && d->plan.what->near)
        status = find_near(d, &binding.near);
    if (binding.near) {
        form.bind = bind;
        form.binder = &binding;
    }
    for (size_t i = 0; i < d->n_splits && status == PMAP_OK; i++) {
        steps[i] = (struct pmap__step){.kind = PMAP__STEP_MAP, .number = d->plan.number, .split_kind = PMAP__SPLIT_FILE,
                                       .split = d->splits[i]};
        items[i] = (struct pmap_bytes){&steps[i], sizeof *steps};
    }
    if (status == PMAP_OK && pmap__job_init(&job, &form) != PMAP_OK)
        status = no_memory(d);
    else if (status == PMAP_OK) {
        pmap__job_watch(&job);
        status = pmap__tenant_submit(d->rules.tenant, &job, d->error) == PMAP_OK ? PMAP_OK : pmap__terminated(d->error);
        if (status == PMAP_OK) {
            pmap__wait(is_done, &job, PMAP__FOR_EVER);
            status = pmap__job_outcome(&job, d->error);
        }
        pmap__job_fini(&job);
    }
    for (size_t i = 0; answers && i < d->n_splits; i++)
        free(answers[i].data);
    pmap__near_destroy(binding.near);
    free(answers);
    free(items);
    free(steps);
    return status;
}

static enum pmap_status map(struct drive *d)
{
    struct feed feed;

    if (d->o->input.kind == PMAP_INPUT_FILES) {
        d->stats.splits = d->n_splits;
        return d->n_splits ? map_files(d) : PMAP_OK;
    }
    feed_init(&feed, d);
    enum pmap_status status = run_feed(d, &feed, PMAP__STEP_MAP, window(d), NULL, NULL);
    d->stats.splits = feed.i;
    return status;
}

/* ---- Flush ---- */

static void add_out_bytes(struct drive *d, const struct pmap_bytes *answer)
{
    const uint64_t *sums = answer->data;

    for (size_t p = 0; p < d->plan.partitions && answer->size; p++) {
        d->out_bytes[p] += sums[p];
        d->total += sums[p];
    }
}

/* A step for every thread of all ranks. */
static enum pmap_status drain(struct drive *d)
{
    struct pmap__step step = {.kind = PMAP__STEP_DRAIN, .number = d->plan.number};
    struct pmap__flights *flights = pmap__flights_create(&d->rules, (size_t)pmap__root_threads(d->rules.tenant->root));
    enum pmap_status status = flights ? PMAP_OK : no_memory(d);
    struct pmap_bytes answer;

    for (uint64_t r = 0; r < d->plan.ranks; r++)
        for (uint64_t t = 0; t < d->plan.threads[r] && status == PMAP_OK; t++)
            status = pmap__flights_send(flights, &step, NULL, 0, 1 + (int)r, (size_t)t, d->error);
    while (status == PMAP_OK && !pmap__flights_empty(flights)) {
        status = pmap__flights_take(flights, &answer, d->error);
        free(answer.data);
    }
    pmap__flights_destroy(flights);
    return status;
}

static enum pmap_status flush(struct drive *d)
{
    struct pmap_bytes *answers = calloc((size_t)d->plan.n_owners, sizeof *answers);

    if (d->out_bytes == NULL)
        d->out_bytes = calloc((size_t)d->plan.partitions, sizeof *d->out_bytes);
    if (answers == NULL || d->out_bytes == NULL) {
        free(answers);
        return no_memory(d);
    }
    enum pmap_status status = drain(d);
    if (status == PMAP_OK)
        status = all_ranks(d, PMAP__STEP_FLUSH, NULL, 0, answers);
    for (size_t i = 0; i < d->plan.n_owners; i++) {
        if (status == PMAP_OK)
            add_out_bytes(d, &answers[i]);
        free(answers[i].data);
    }
    free(answers);
    return status;
}

/* ---- Reduce ---- */

static enum pmap_status reduce(struct drive *d, const char *aside)
{
    size_t n = (size_t)d->plan.partitions, offset = 0;
    struct pmap__flights *flights = pmap__flights_create(&d->patient, n);
    enum pmap_status status = flights ? PMAP_OK : no_memory(d);
    struct pmap_bytes answer;

    for (size_t p = 0; p < n && status == PMAP_OK; p++) {
        struct pmap__step step = {.kind = PMAP__STEP_REDUCE, .number = d->plan.number, .partition = p, .offset = offset, .total = d->total};
        status = pmap__flights_send(flights, &step, aside, aside ? strlen(aside) + 1 : 0, 1 + pmap__plan_owner(&d->plan, p), p, d->error);
        offset += (size_t)d->out_bytes[p];
    }
    while (status == PMAP_OK && !pmap__flights_empty(flights)) {
        status = pmap__flights_take(flights, &answer, d->error);
        free(answer.data);
    }
    pmap__flights_destroy(flights);
    return status;
}

/* ---- Output on the root ---- */

/* The stash of a partition as a source: its blocks are fetched, the next while one is read. */
struct fetched {
    struct pmap__source source; /* first */
    struct drive *d;
    size_t partition;
    uint64_t block; /* the next */
    struct pmap__flights *flights;
    struct pmap_bytes bytes;
    size_t at;
};

static enum pmap_status send_for_next(struct fetched *f, struct pmap_error *error)
{
    struct pmap__step step = {.kind = PMAP__STEP_FETCH, .number = f->d->plan.number, .partition = f->partition, .block = f->block};
    return pmap__flights_send(f->flights, &step, NULL, 0, 1 + pmap__plan_owner(&f->d->plan, f->partition), f->partition, error);
}

static enum pmap_status fetched_next(struct pmap__source *source, const void **record, struct pmap_error *error)
{
    struct fetched *f = (struct fetched *)source;
    enum pmap_status status = PMAP_OK;

    if (f->at == f->bytes.size && !pmap__flights_empty(f->flights)) {
        free(f->bytes.data);
        f->bytes = (struct pmap_bytes){NULL, 0};
        status = pmap__flights_take(f->flights, &f->bytes, error);
        f->at = f->bytes.size ? sizeof f->block : 0; /* the number of the next one is in front */
        if (status == PMAP_OK && f->bytes.size) {
            memcpy(&f->block, f->bytes.data, sizeof f->block);
            status = send_for_next(f, error);
        }
    }
    *record = NULL;
    if (status == PMAP_OK && f->at < f->bytes.size) {
        *record = (char *)f->bytes.data + f->at;
        f->at += pmap__record_size(*record);
    }
    return status;
}

static void fetched_close(struct pmap__source *source)
{
    struct fetched *f = (struct fetched *)source;
    pmap__flights_destroy(f->flights);
    free(f->bytes.data);
    free(f);
}

static enum pmap_status fetch(struct drive *d, size_t partition, struct pmap__source **source)
{
    struct fetched *f = calloc(1, sizeof *f);

    if (f == NULL)
        return no_memory(d);
    f->source = (struct pmap__source){fetched_next, fetched_close};
    f->d = d;
    f->partition = partition;
    f->flights = pmap__flights_create(&d->rules, 1);
    enum pmap_status status = f->flights ? send_for_next(f, d->error) : no_memory(d);
    if (status == PMAP_OK)
        *source = &f->source;
    else
        fetched_close(&f->source);
    return status;
}

/* Where one sequence goes. */
struct exit {
    struct drive *d;
    struct pmap__outfile *file; /* NULL: to the function */
    struct pmap__formatter formatter;
};

static enum pmap_status put(struct exit *e, const void *record)
{
    struct pmap_view key = {pmap__record_key(record), pmap__record_key_size(record)};
    struct pmap_view value = {pmap__record_value(record), pmap__record_value_size(record)};

    if (e->file)
        return pmap__file_put_pair(e->file, &e->formatter, key, value, e->d->error);
    if (e->d->o->deliver(e->d->o->user, key, value))
        return PMAP_OK;
    return pmap__error_set(e->d->error, PMAP_ECANCELLED, "pmap_mapreduce: the deliver function has had enough");
}

/* All of a source, and close it. */
static enum pmap_status put_all(struct exit *e, struct pmap__source *source)
{
    const void *record = NULL;
    enum pmap_status status;

    do {
        status = source->next(source, &record, e->d->error);
        if (status == PMAP_OK && record)
            status = put(e, record);
    } while (status == PMAP_OK && record);
    source->close(source);
    return status;
}

static enum pmap_status put_in_turn(struct exit *e)
{
    enum pmap_status status = PMAP_OK;
    struct pmap__source *source = NULL;

    for (size_t p = 0; p < e->d->plan.partitions && status == PMAP_OK; p++) {
        status = fetch(e->d, p, &source);
        if (status == PMAP_OK)
            status = put_all(e, source);
    }
    return status;
}

static enum pmap_status put_sequence(struct drive *d)
{
    const struct pmap_mapreduce_options *o = d->o;
    struct exit e = {.d = d, .formatter = {o->format, d->plan.what->key, d->plan.what->value, d->plan.separator, strlen(d->plan.separator)}};
    enum pmap_status status = PMAP_OK;

    if (o->output)
        status = pmap__file_create(o->output, 1 << 20, &e.file, d->error);
    if (status == PMAP_OK)
        status = put_in_turn(&e);
    if (status == PMAP_OK && e.file)
        status = pmap__file_finish(e.file, d->error);
    if (status != PMAP_OK) {
        pmap__file_abandon(e.file);
        return status == PMAP_ENOMEM ? no_memory(d) : status;
    }
    if (e.file)
        d->stats.bytes_out = pmap__file_size(e.file);
    return e.file ? pmap__file_commit(e.file, d->error) : PMAP_OK;
}

/* ---- Reduce and output, by sink ---- */

static enum pmap_status to_parts(struct drive *d)
{
    enum pmap_status status = pmap__directory_make(d->o->output, d->error);

    if (status == PMAP_OK)
        status = reduce(d, NULL);
    lap(d, &d->stats.reduce_seconds);
    if (status == PMAP_OK)
        status = all_ranks(d, PMAP__STEP_COMMIT, NULL, 0, NULL);
    if (status == PMAP_OK)
        status = pmap__directory_trim(d->o->output, (size_t)d->plan.partitions, d->error);
    return status;
}

static enum pmap_status to_shared(struct drive *d)
{
    char *aside = NULL;
    enum pmap_status status = pmap__shared_file_create(d->o->output, d->total, &aside, d->error);

    if (status != PMAP_OK)
        return status == PMAP_ENOMEM ? no_memory(d) : status;
    status = reduce(d, aside);
    lap(d, &d->stats.reduce_seconds);
    if (status == PMAP_OK) /* writers close */
        status = all_ranks(d, PMAP__STEP_COMMIT, NULL, 0, NULL);
    if (status == PMAP_OK)
        status = pmap__shared_file_commit(aside, d->o->output, d->error);
    else
        pmap__shared_file_abandon(aside);
    free(aside);
    return status;
}

static enum pmap_status to_stash(struct drive *d)
{
    enum pmap_status status = reduce(d, NULL);

    lap(d, &d->stats.reduce_seconds);
    if (status == PMAP_OK && (d->o->output || d->o->deliver))
        status = put_sequence(d);
    return status;
}

static enum pmap_status count(struct drive *d);
static enum pmap_status output(struct drive *d);

/* Reduce into the next site, which takes this one's place. */
static enum pmap_status to_next(struct drive *d)
{
    struct keys keys = {NULL, 0, 0};
    struct pmap__plan first = d->plan;
    enum pmap_status status = sample_stores(d, &keys);

    if (status == PMAP_OK) {
        d->plan = d->next;
        status = begin(d);
        if (status == PMAP_OK)
            status = set_borders(d, &keys);
        d->next = d->plan;
        d->plan = first;
    }
    free(keys.bytes);
    if (status == PMAP_OK)
        status = reduce(d, NULL);
    if (status == PMAP_OK)
        status = count(d);
    lap(d, &d->stats.reduce_seconds);
    d->plan = d->next;
    d->next = first;
    if (status == PMAP_OK)
        status = flush(d);
    return status == PMAP_OK ? output(d) : status;
}

static enum pmap_status output(struct drive *d)
{
    switch ((enum pmap__sink)d->plan.sink) {
    case PMAP__SINK_PARTS: return to_parts(d);
    case PMAP__SINK_SHARED: return to_shared(d);
    case PMAP__SINK_NEXT: return to_next(d);
    case PMAP__SINK_STASH:
    case PMAP__SINK_NONE: break;
    }
    return to_stash(d);
}

/* ---- Counters ---- */

static void add_work(struct pmap_mapreduce_stats *s, const struct pmap__counts *c)
{
    s->shuffled_bytes += c->shuffled;
    s->spills += c->spills;
    s->spilled_bytes += c->spilled;
    s->spilled_disk += c->spilled_disk;
    s->merges += c->merges;
    s->records_out += c->records_out;
    if (c->memory_peak > s->memory_peak) {
        s->memory_peak = c->memory_peak;
        s->memory_limit = c->memory_limit;
    }
}

/* Of a site that only puts in order what another has made this would count everything twice. */
static void add_pairs(struct pmap_mapreduce_stats *s, const struct pmap__counts *c)
{
    s->bytes_in += c->bytes_in;
    s->pairs += c->pairs;
    s->pair_bytes += c->pair_bytes;
    s->combined += c->combined;
    s->keys += c->keys;
    if (c->partition_max > s->partition_max)
        s->partition_max = c->partition_max;
    if (c->largest_values > s->largest_values || (c->largest_values == s->largest_values && c->largest_bytes > s->largest_bytes)) {
        s->largest_values = c->largest_values;
        s->largest_bytes = c->largest_bytes;
        memcpy(s->largest_key, c->largest_key, sizeof s->largest_key);
    }
}

static enum pmap_status count(struct drive *d)
{
    size_t n = (size_t)d->plan.n_owners;
    struct pmap_bytes *answers = calloc(n, sizeof *answers);
    uint64_t sum = 0, bytes_out = 0;
    struct pmap__counts c;

    if (answers == NULL)
        return no_memory(d);
    enum pmap_status status = all_ranks(d, PMAP__STEP_COUNTS, NULL, 0, answers);
    for (size_t i = 0; i < n; i++) {
        if (status == PMAP_OK && answers[i].size == sizeof c) {
            memcpy(&c, answers[i].data, sizeof c);
            add_work(&d->stats, &c);
            if (!d->plan.plain)
                add_pairs(&d->stats, &c);
            sum += c.partition_sum;
            bytes_out += c.bytes_out;
        }
        free(answers[i].data);
    }
    free(answers);
    if (d->stats.bytes_out == 0) /* the file on the root knows better */
        d->stats.bytes_out = bytes_out;
    if (!d->plan.plain)
        d->stats.partition_mean = sum / d->plan.partitions;
    return status;
}

static double rate(uint64_t bytes, double seconds)
{
    return seconds > 0 ? (double)bytes / seconds / 1e6 : 0;
}

static void print(const struct drive *d)
{
    const struct pmap_mapreduce_stats *s = &d->stats;
    double mean = s->partition_mean ? (double)s->partition_mean : 1;

    fprintf(stderr, "pmap: %s: map     %8.3f s  %8.1f MB/s  %llu bytes in %zu splits, %llu pairs of %llu bytes\n", d->rules.task->name,
            s->map_seconds, rate(s->bytes_in, s->map_seconds), (unsigned long long)s->bytes_in, s->splits,
            (unsigned long long)s->pairs, (unsigned long long)s->pair_bytes);
    fprintf(stderr, "pmap: %s: shuffle %8.3f s  %8.1f MB/s  %llu bytes to other ranks, %llu pairs combined before\n", d->rules.task->name,
            s->flush_seconds, rate(s->shuffled_bytes, s->map_seconds + s->flush_seconds), (unsigned long long)s->shuffled_bytes,
            (unsigned long long)s->combined);
    fprintf(stderr, "pmap: %s: reduce  %8.3f s  %8.1f MB/s  %llu keys, the largest with %llu values; largest partition %.2f of the mean\n",
            d->rules.task->name, s->reduce_seconds, rate(s->partition_mean * d->plan.partitions, s->reduce_seconds),
            (unsigned long long)s->keys, (unsigned long long)s->largest_values, (double)s->partition_max / mean);
    fprintf(stderr, "pmap: %s: output  %8.3f s  %8.1f MB/s  %llu records, %llu bytes\n", d->rules.task->name, s->output_seconds,
            rate(s->bytes_out, s->output_seconds), (unsigned long long)s->records_out, (unsigned long long)s->bytes_out);
    fprintf(stderr, "pmap: %s: memory  %.1f of %.1f MB; %llu runs spilled, %llu bytes, %llu on disk; %llu merged again\n", d->rules.task->name,
            (double)s->memory_peak / 1e6, (double)s->memory_limit / 1e6, (unsigned long long)s->spills,
            (unsigned long long)s->spilled_bytes, (unsigned long long)s->spilled_disk, (unsigned long long)s->merges);
}

/* ---- Datasets ---- */

static enum pmap_status keep(struct drive *d, struct pmap_dataset **made)
{
    struct pmap_dataset *set = calloc(1, sizeof *set);
    size_t n = (size_t)d->plan.n_owners;

    if (set == NULL || (set->owners = calloc(n, sizeof *set->owners)) == NULL) {
        free(set);
        return no_memory(d);
    }
    memcpy(set->owners, d->plan.owners, n * sizeof *set->owners);
    set->tenant = d->rules.tenant;
    set->what = d->plan.what;
    set->number = d->plan.number;
    set->partitions = (size_t)d->plan.partitions;
    set->n_owners = n;
    set->records = d->stats.records_out;
    set->bytes = d->stats.bytes_out;
    enum pmap_status status = all_ranks(d, PMAP__STEP_KEEP, NULL, 0, NULL);
    if (status != PMAP_OK) {
        free(set->owners);
        free(set);
        return status;
    }
    *made = set;
    return PMAP_OK;
}

void pmap__dataset_end(struct pmap_dataset *set)
{
    struct pmap__flight_rules rules = {.tenant = set->tenant, .task = &set->what->task, .last = true};
    struct pmap__step step = {.kind = PMAP__STEP_END, .number = set->number};
    struct pmap_error ignored;

    pmap__flights_all(&rules, &step, NULL, 0, set->owners, set->n_owners, NULL, &ignored);
    free(set->owners);
    free(set);
}

/* ---- From beginning to end ---- */

static enum pmap_status go(struct drive *d)
{
    enum pmap_status status = begin(d);

    if (status == PMAP_OK && d->plan.ranges)
        status = find_borders(d);
    if (status == PMAP_OK)
        status = map(d);
    lap(d, &d->stats.map_seconds);
    if (status == PMAP_OK)
        status = flush(d);
    lap(d, &d->stats.flush_seconds);
    if (status == PMAP_OK)
        status = output(d);
    lap(d, &d->stats.output_seconds);
    return status == PMAP_OK ? count(d) : status;
}

enum pmap_status pmap__drive(struct pmap__tenant *tenant, struct pmap_mapreduce *what, const struct pmap_mapreduce_options *o,
                             struct pmap_error *error)
{
    struct drive d = {.o = o, .error = error, .since = pmap__now(),
                      .rules = {.tenant = tenant, .task = &what->task, .priority = o->priority, .seed = o->seed}};
    struct pmap_dataset *kept = NULL;

    d.patient = d.rules;
    d.patient.retries = o->retries;
    d.patient.retry_delay = (uint64_t)(o->retry_delay * 1e9);
    pmap__tenant_hold(tenant);
    enum pmap_status status = make_plan(&d, what, tenant->root);
    if (status == PMAP_OK && o->input.kind == PMAP_INPUT_FILES)
        status = find_files(&d);
    if (status == PMAP_OK)
        status = go(&d);
    if (status == PMAP_OK && o->keep)
        status = keep(&d, &kept);
    if (kept == NULL)
        tidy_up(&d, status != PMAP_OK);
    if (status == PMAP_OK && o->verbose)
        print(&d);
    if (status == PMAP_OK && o->stats)
        *o->stats = d.stats;
    if (kept)
        *o->keep = kept;
    pmap__plan_free(&d.plan);
    pmap__plan_free(&d.next);
    free(d.splits);
    free(d.out_bytes);
    pmap__tenant_release(tenant);
    return status;
}
