/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A feed: splits that are made one after the other, each as a step, from an array, a generator or a dataset. Only so many are on their
 * way at once, so a generator is asked for no more than that ahead of the ranks.
 */
#include "mapreduce/drive_inside.h"

#include "mapreduce/pair.h"

#include <stdlib.h>
#include <string.h>

#define BATCH ((size_t)256 << 10) /* of a generator's records, about */

/* ---- Where splits come from ---- */

static void claim(const struct pmap__drive_feed *feed, struct pmap__step *step, struct pmap_view bytes)
{
    if (feed->d->vault && step->kind == PMAP__STEP_MAP)
        step->claim = pmap__vault_claim(feed->d->vault, &step->split, bytes.data, bytes.size);
}

static bool next_of_array(struct pmap__drive_feed *feed, struct pmap__step *step, struct pmap_view *payload, int *aim)
{
    const struct pmap_input *in = &feed->d->o->input;
    size_t total = in->n * in->record_size, size = total - feed->at < feed->size ? total - feed->at : feed->size;
    const char *data = in->records;

    if (size == 0)
        return false;
    step->split = (struct pmap__split){.index = feed->i, .begin = feed->at, .end = feed->at + size};
    claim(feed, step, (struct pmap_view){data + feed->at, size});
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

static bool add_record(struct pmap__drive_feed *feed, struct pmap_view record)
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

static bool next_of_generator(struct pmap__drive_feed *feed, struct pmap__step *step, struct pmap_view *payload, int *aim)
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
    claim(feed, step, *payload);
    *aim = 0;
    return true;
}

static bool next_of_dataset(struct pmap__drive_feed *feed, struct pmap__step *step, struct pmap_view *payload, int *aim)
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

void pmap__drive_feed_init(struct pmap__drive_feed *feed, struct pmap__drive *d)
{
    const struct pmap_input *in = &d->o->input;

    *feed = (struct pmap__drive_feed){.d = d};
    if (in->kind == PMAP_INPUT_RECORDS) {
        size_t size = pmap__drive_split_size(d, in->n * in->record_size), records = size / in->record_size;
        feed->next = next_of_array;
        feed->size = (records ? records : 1) * in->record_size;
    } else {
        feed->next = in->kind == PMAP_INPUT_GENERATOR ? next_of_generator : next_of_dataset;
    }
}

/* ---- On their way ---- */

/* So many steps at once: every thread has one, and some wait for whoever is done. */
static size_t window(const struct pmap__drive *d)
{
    return 4 * (size_t)pmap__root_threads(d->rules.tenant->root) + 4;
}

enum pmap_status pmap__drive_feed_run(struct pmap__drive_feed *feed, enum pmap__step_kind kind, size_t most,
                                      bool (*take)(void *taker, struct pmap_bytes answer), void *taker)
{
    struct pmap__drive *d = feed->d;
    struct pmap__flights *flights = pmap__flights_create(&d->patient, window(d));
    enum pmap_status status = flights ? PMAP_OK : pmap__drive_no_memory(d);
    bool more = status == PMAP_OK;

    while (status == PMAP_OK && (more || !pmap__flights_empty(flights))) {
        struct pmap__step step = {.kind = kind, .number = d->plan.number, .most = most};
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
        if (status == PMAP_OK && take && !take(taker, answer))
            status = pmap__drive_no_memory(d);
        free(answer.data);
    }
    pmap__flights_destroy(flights);
    free(feed->batch);
    return status == PMAP_OK && feed->no_memory ? pmap__drive_no_memory(d) : status;
}
