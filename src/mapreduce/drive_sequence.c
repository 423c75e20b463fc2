/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Output that is one sequence on the root: the stashes of all partitions, which are ranges of keys, one after the other into a file, or
 * to the function. Each is fetched block by block, the next block while one is read; so the root holds two blocks, however much there is.
 */
#include "mapreduce/drive_inside.h"

#include "base/error.h"
#include "mapreduce/run.h"

#include <stdlib.h>
#include <string.h>

#define BUFFER ((size_t)1 << 20) /* of the file */

/* ---- Fetching ---- */

/* The stash of a partition as a source: its blocks are fetched, the next while one is read. */
struct fetched {
    struct pmap__source source; /* first */
    struct pmap__drive *d;
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

static enum pmap_status fetch(struct pmap__drive *d, size_t partition, struct pmap__source **source)
{
    struct fetched *f = calloc(1, sizeof *f);

    if (f == NULL)
        return pmap__drive_no_memory(d);
    f->source = (struct pmap__source){fetched_next, fetched_close};
    f->d = d;
    f->partition = partition;
    f->flights = pmap__flights_create(&d->rules, 1);
    enum pmap_status status = f->flights ? send_for_next(f, d->error) : pmap__drive_no_memory(d);
    if (status == PMAP_OK)
        *source = &f->source;
    else
        fetched_close(&f->source);
    return status;
}

/* ---- Putting ---- */

/* Where one sequence goes. */
struct exit {
    struct pmap__drive *d;
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

enum pmap_status pmap__drive_put_sequence(struct pmap__drive *d)
{
    const struct pmap_mapreduce_options *o = d->o;
    const struct pmap_mapreduce *what = d->plan.what;
    struct exit e = {.d = d, .formatter = {o->format, what->key, what->value, d->plan.separator, strlen(d->plan.separator)}};
    enum pmap_status status = PMAP_OK;

    if (o->output)
        status = pmap__file_create(o->output, BUFFER, &e.file, d->error);
    if (status == PMAP_OK)
        status = put_in_turn(&e);
    if (status == PMAP_OK && e.file)
        status = pmap__file_finish(e.file, d->error);
    if (status != PMAP_OK) {
        pmap__file_abandon(e.file);
        return status == PMAP_ENOMEM ? pmap__drive_no_memory(d) : status;
    }
    if (e.file)
        d->stats.bytes_out = pmap__file_size(e.file);
    return e.file ? pmap__file_commit(e.file, d->error) : PMAP_OK;
}
