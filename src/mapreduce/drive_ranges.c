/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Where partitions are ranges of keys: keys are sampled, and their quantiles are the borders.
 *
 * Places of the input are chosen by the input alone, since it may be seen which partition a key is in: in a directory of parts. What is
 * in the stores of all ranks when they are sampled depends on more; but such partitions are only ever strung together.
 */
#include "mapreduce/drive_inside.h"

#include "mapreduce/pair.h"
#include "mapreduce/sort.h"

#include <stdlib.h>
#include <string.h>

/* The map function is called for what is looked at, and called again when it is mapped: so that is a small part of the input. */
#define PART 64                        /* of which at most one is looked at, */
#define SAMPLES 128                    /* at so many places at most, */
#define FEW 16                         /* or so many, if each would be smaller than */
#define SAMPLE_SIZE ((size_t)64 << 10) /* bytes; */
#define SAMPLE_KEYS 1000               /* and so many keys at each place */
#define SAMPLE_STORES 8192             /* keys of the stores of a rank */

/* ---- Places of the input ---- */

/* How many places, and how many bytes at each; at least a record is looked at, wherever one begins. */
static size_t places(uint64_t total, size_t record, size_t *size)
{
    uint64_t all = total / PART;
    size_t n = all / SAMPLE_SIZE < FEW ? FEW : all / SAMPLE_SIZE < SAMPLES ? (size_t)(all / SAMPLE_SIZE) : SAMPLES;

    *size = all / n < SAMPLE_SIZE ? (size_t)(all / n) : SAMPLE_SIZE;
    *size = *size < record ? record : *size - *size % record;
    return total / record < n ? (size_t)(total / record) : n; /* each record once at most */
}

/* Places of the input that are far from each other: where they are depends on the input alone. False: this is in the same packed file
 * as the place before, and those are looked at from their beginnings. */
static bool cut_sample_of_files(const struct pmap__drive *d, uint64_t at, size_t size, struct pmap__split *split)
{
    uint64_t begin = 0;
    size_t file = 0;

    while (file + 1 < d->plan.files.n && at - begin >= d->plan.files.files[file].size)
        begin += d->plan.files.files[file++].size;
    const struct pmap__file *f = &d->plan.files.files[file];
    uint64_t offset = at - begin, record = d->plan.record_size ? d->plan.record_size : 1;
    offset -= offset % record;
    uint64_t end = f->size - offset < size ? f->size : offset + size;
    bool again = f->packed && split->end && split->file == file;
    *split = (struct pmap__split){.index = PMAP_NO_ITEM, .file = file, .begin = f->packed ? 0 : offset, .end = f->packed ? f->size : end};
    return !again;
}

static bool next_sample_of_files(struct pmap__drive_feed *feed, struct pmap__step *step, struct pmap_view *payload, int *aim)
{
    uint64_t total = 0;
    size_t size;
    (void)payload;

    for (size_t i = 0; i < feed->d->plan.files.n; i++)
        total += feed->d->plan.files.files[i].size;
    size_t n = places(total, feed->d->plan.record_size ? (size_t)feed->d->plan.record_size : 1, &size);
    step->split_kind = PMAP__SPLIT_FILE;
    step->split = feed->last;
    *aim = 0;
    while (feed->at < n)
        if (cut_sample_of_files(feed->d, total / n * feed->at++, size, &step->split)) {
            feed->last = step->split;
            return true;
        }
    return false;
}

static bool next_sample_of_array(struct pmap__drive_feed *feed, struct pmap__step *step, struct pmap_view *payload, int *aim)
{
    const struct pmap_input *in = &feed->d->o->input;
    size_t size, n = places((uint64_t)in->n * in->record_size, in->record_size, &size);

    if (feed->at >= n)
        return false;
    size_t begin = in->n / n * feed->at++ * in->record_size, all = in->n * in->record_size;
    if (size > all - begin)
        size = all - begin;
    step->split_kind = PMAP__SPLIT_BEHIND;
    step->split = (struct pmap__split){.index = PMAP_NO_ITEM, .begin = begin, .end = begin + size};
    *payload = (struct pmap_view){(const char *)in->records + begin, size};
    *aim = 0;
    return true;
}

static void sample_feed_init(struct pmap__drive_feed *feed, struct pmap__drive *d)
{
    pmap__drive_feed_init(feed, d);
    if (d->o->input.kind == PMAP_INPUT_FILES)
        feed->next = next_sample_of_files;
    else if (d->o->input.kind == PMAP_INPUT_RECORDS)
        feed->next = next_sample_of_array;
}

/* ---- Keys and borders ---- */

static bool add_keys(void *taker, struct pmap_bytes more)
{
    struct pmap__drive_keys *keys = taker;
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
static char *choose_borders(const struct pmap__drive_keys *keys, size_t partitions, size_t *size)
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

enum pmap_status pmap__drive_set_borders(struct pmap__drive *d, const struct pmap__drive_keys *keys)
{
    size_t size;
    char *borders = choose_borders(keys, (size_t)d->plan.partitions, &size);
    enum pmap_status status = borders ? pmap__drive_all_ranks(d, PMAP__STEP_BORDERS, borders, size, NULL) : pmap__drive_no_memory(d);

    free(borders);
    return status;
}

enum pmap_status pmap__drive_find_borders(struct pmap__drive *d)
{
    struct pmap__drive_keys keys = {NULL, 0, 0};
    struct pmap__drive_feed feed;

    sample_feed_init(&feed, d);
    enum pmap_status status = pmap__drive_feed_run(&feed, PMAP__STEP_SAMPLE, SAMPLE_KEYS, add_keys, &keys);
    if (status == PMAP_OK)
        status = pmap__drive_set_borders(d, &keys);
    free(keys.bytes);
    return status;
}

enum pmap_status pmap__drive_sample_stores(struct pmap__drive *d, struct pmap__drive_keys *keys)
{
    struct pmap__step step = {.kind = PMAP__STEP_SAMPLE, .number = d->plan.number, .split_kind = PMAP__SPLIT_STORES,
                              .most = SAMPLE_STORES};
    size_t n = (size_t)d->plan.n_owners;
    struct pmap_bytes *answers = calloc(n, sizeof *answers);

    if (answers == NULL)
        return pmap__drive_no_memory(d);
    enum pmap_status status = pmap__flights_all(&d->rules, &step, NULL, 0, d->plan.owners, n, answers, d->error);
    for (size_t i = 0; i < n; i++) {
        if (status == PMAP_OK && !add_keys(keys, answers[i]))
            status = pmap__drive_no_memory(d);
        free(answers[i].data);
    }
    free(answers);
    return status;
}
