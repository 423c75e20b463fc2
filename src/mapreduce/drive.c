/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A map-reduce from beginning to end, as the root's caller sees to it:
 *
 *   plan -> BEGIN -> (SAMPLE -> BORDERS) -> (NEAR) -> MAP -> DRAIN -> FLUSH -> REDUCE -> output -> COUNTS -> END, or KEEP
 *
 * Every arrow waits for all ranks. Between BEGIN and END whatever fails ends in STOP and END on all ranks, so that nothing is under way
 * when sites go; and no file has come to its name before all is well.
 *
 * Where output is one sequence, but partitions are not ranges of the keys that are put out, there are two sites: the first reduces into
 * the second, whose partitions are such ranges and whose output is the call's.
 *
 *   ... MAP -> DRAIN -> FLUSH -> SAMPLE the first -> BEGIN, BORDERS of the second -> REDUCE, COUNTS of the first
 *                               -> DRAIN -> FLUSH -> REDUCE -> output -> COUNTS of the second -> END both
 *
 * Where every pair is a record of output in a file of ranges its size is known after FLUSH; then all ranks write into their places of the
 * file at the same time. Any other sequence is fetched to the root (drive_sequence.c).
 */
#include "mapreduce/drive_inside.h"

#include "base/clock.h"
#include "base/error.h"

#include <stdlib.h>
#include <string.h>

/* ---- Steps for all ranks ---- */

enum pmap_status pmap__drive_no_memory(struct pmap__drive *d)
{
    return pmap__error_set(d->error, PMAP_ENOMEM, "pmap_mapreduce: no memory on the root");
}

enum pmap_status pmap__drive_all_ranks(struct pmap__drive *d, enum pmap__step_kind kind, const void *payload, size_t size,
                                       struct pmap_bytes answers[])
{
    struct pmap__step step = {.kind = kind, .number = d->plan.number};
    return pmap__flights_all(&d->rules, &step, payload, size, d->plan.owners, (size_t)d->plan.n_owners, answers, d->error);
}

static enum pmap_status begin(struct pmap__drive *d)
{
    void *bytes = NULL;
    size_t size = 0;

    if (pmap__plan_encode(&d->plan, &bytes, &size) != PMAP_OK)
        return pmap__drive_no_memory(d);
    d->begun = true;
    enum pmap_status status = pmap__drive_all_ranks(d, PMAP__STEP_BEGIN, bytes, size, NULL);
    free(bytes);
    return status;
}

/* ---- Flush ---- */

static void add_out_bytes(struct pmap__drive *d, const struct pmap_bytes *answer)
{
    const uint64_t *sums = answer->data;

    for (size_t p = 0; p < d->plan.partitions && answer->size; p++) {
        d->out_bytes[p] += sums[p];
        d->total += sums[p];
    }
}

/* A step for every thread of all ranks. */
static enum pmap_status drain(struct pmap__drive *d)
{
    struct pmap__step step = {.kind = PMAP__STEP_DRAIN, .number = d->plan.number};
    struct pmap__flights *flights = pmap__flights_create(&d->rules, (size_t)pmap__root_threads(d->rules.tenant->root));
    enum pmap_status status = flights ? PMAP_OK : pmap__drive_no_memory(d);

    for (uint64_t r = 0; r < d->plan.ranks; r++)
        for (uint64_t t = 0; t < d->plan.threads[r] && status == PMAP_OK; t++)
            status = pmap__flights_send(flights, &step, NULL, 0, 1 + (int)r, (size_t)t, d->error);
    return pmap__flights_end(flights, status, d->error);
}

static enum pmap_status flush(struct pmap__drive *d)
{
    struct pmap_bytes *answers = calloc((size_t)d->plan.n_owners, sizeof *answers);

    if (d->out_bytes == NULL)
        d->out_bytes = calloc((size_t)d->plan.partitions, sizeof *d->out_bytes);
    if (answers == NULL || d->out_bytes == NULL) {
        free(answers);
        return pmap__drive_no_memory(d);
    }
    enum pmap_status status = drain(d);
    if (status == PMAP_OK)
        status = pmap__drive_all_ranks(d, PMAP__STEP_FLUSH, NULL, 0, answers);
    for (size_t i = 0; i < d->plan.n_owners; i++) {
        if (status == PMAP_OK && answers[i].size && answers[i].size != (size_t)d->plan.partitions * sizeof *d->out_bytes)
            status = pmap__error_set(d->error, PMAP_EMISMATCH, "pmap_mapreduce: received an answer to a step with a bad size");
        if (status == PMAP_OK)
            add_out_bytes(d, &answers[i]);
        free(answers[i].data);
    }
    free(answers);
    return status;
}

/* ---- Reduce and output, by sink ---- */

static void lap(struct pmap__drive *d, double *seconds)
{
    uint64_t now = pmap__now();
    *seconds += (double)(now - d->since) / 1e9;
    d->since = now;
}

/* aside: the shared file, or NULL. */
static enum pmap_status reduce(struct pmap__drive *d, const char *aside)
{
    size_t n = (size_t)d->plan.partitions, offset = 0;
    struct pmap__flights *flights = pmap__flights_create(&d->patient, n);
    enum pmap_status status = flights ? PMAP_OK : pmap__drive_no_memory(d);

    for (size_t p = 0; p < n && status == PMAP_OK; p++) {
        struct pmap__step step = {.kind = PMAP__STEP_REDUCE, .number = d->plan.number, .partition = p, .offset = offset,
                                  .total = d->total};
        int owner = pmap__plan_owner(&d->plan, p);
        status = pmap__flights_send(flights, &step, aside, aside ? strlen(aside) + 1 : 0, 1 + owner, p, d->error);
        offset += (size_t)d->out_bytes[p];
    }
    return pmap__flights_end(flights, status, d->error);
}

/* All is well: from here on pmap_terminate comes too late, or it would leave some files new and some old. */
static enum pmap_status commit(struct pmap__drive *d)
{
    d->rules.last = true;
    enum pmap_status status = pmap__drive_all_ranks(d, PMAP__STEP_COMMIT, NULL, 0, NULL);
    d->rules.last = false;
    return status;
}

static enum pmap_status to_parts(struct pmap__drive *d)
{
    enum pmap_status status = pmap__directory_make(d->o->output, d->error);

    if (status == PMAP_OK)
        status = reduce(d, NULL);
    lap(d, &d->stats.reduce_seconds);
    pmap__drive_mark(d, "reduce");
    if (status == PMAP_OK)
        status = commit(d);
    if (status == PMAP_OK)
        status = pmap__directory_trim(d->o->output, (size_t)d->plan.partitions, d->error);
    return status;
}

static enum pmap_status to_shared(struct pmap__drive *d)
{
    char *aside = NULL;
    enum pmap_status status = pmap__shared_file_create(d->o->output, d->total, &aside, d->error);

    if (status != PMAP_OK)
        return status == PMAP_ENOMEM ? pmap__drive_no_memory(d) : status;
    status = reduce(d, aside);
    lap(d, &d->stats.reduce_seconds);
    pmap__drive_mark(d, "reduce");
    if (status == PMAP_OK) /* writers close */
        status = commit(d);
    if (status == PMAP_OK)
        status = pmap__shared_file_commit(aside, d->o->output, d->error);
    else
        pmap__shared_file_abandon(aside);
    free(aside);
    return status;
}

static enum pmap_status to_stash(struct pmap__drive *d)
{
    enum pmap_status status = reduce(d, NULL);

    lap(d, &d->stats.reduce_seconds);
    pmap__drive_mark(d, "reduce");
    if (status == PMAP_OK && (d->o->output || d->o->deliver))
        status = pmap__drive_put_sequence(d);
    return status;
}

static enum pmap_status output(struct pmap__drive *d);

/* Reduce into the next site, which takes this one's place. */
static enum pmap_status to_next(struct pmap__drive *d)
{
    struct pmap__drive_keys keys = {NULL, 0, 0};
    struct pmap__plan first = d->plan;
    enum pmap_status status = pmap__drive_sample_stores(d, &keys);

    if (status == PMAP_OK) {
        d->plan = d->next;
        status = begin(d);
        if (status == PMAP_OK)
            status = pmap__drive_set_borders(d, &keys);
        d->next = d->plan;
        d->plan = first;
    }
    free(keys.bytes);
    if (status == PMAP_OK)
        status = reduce(d, NULL);
    if (status == PMAP_OK)
        status = pmap__drive_count(d);
    lap(d, &d->stats.reduce_seconds);
    pmap__drive_mark(d, "reduce");
    d->plan = d->next;
    d->next = first;
    if (status == PMAP_OK)
        status = flush(d);
    return status == PMAP_OK ? output(d) : status;
}

static enum pmap_status output(struct pmap__drive *d)
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

/* ---- The end ---- */

static void tidy_up_site(struct pmap__drive *d, uint64_t number, bool failed)
{
    uint64_t current = d->plan.number;

    d->plan.number = number;
    if (d->begun && failed)
        pmap__drive_all_ranks(d, PMAP__STEP_STOP, NULL, 0, NULL);
    if (d->begun)
        pmap__drive_all_ranks(d, PMAP__STEP_END, NULL, 0, NULL);
    d->plan.number = current;
}

/* Whatever happens: after this nothing of the call is on any rank. */
static void tidy_up(struct pmap__drive *d, bool failed)
{
    struct pmap_error ignored;

    d->error = &ignored;
    d->rules.last = true;
    uint64_t first = d->plan.before ? d->plan.number : d->next.number; /* it shares the other's budget, whichever has its place */
    uint64_t last = d->plan.before ? d->plan.before : d->plan.number;
    if (first)
        tidy_up_site(d, first, failed);
    tidy_up_site(d, last, failed);
}

static enum pmap_status keep(struct pmap__drive *d, struct pmap_dataset **made)
{
    struct pmap_dataset *set = calloc(1, sizeof *set);
    size_t n = (size_t)d->plan.n_owners;

    if (set == NULL || (set->owners = calloc(n, sizeof *set->owners)) == NULL) {
        free(set);
        return pmap__drive_no_memory(d);
    }
    memcpy(set->owners, d->plan.owners, n * sizeof *set->owners);
    atomic_init(&set->users, 1);
    set->tenant = d->rules.tenant;
    set->what = d->plan.what;
    set->number = d->plan.number;
    set->partitions = (size_t)d->plan.partitions;
    set->n_owners = n;
    set->records = d->stats.records_out;
    set->bytes = d->stats.bytes_out;
    enum pmap_status status = pmap__drive_all_ranks(d, PMAP__STEP_KEEP, NULL, 0, NULL);
    if (status != PMAP_OK) {
        free(set->owners);
        free(set);
        return status;
    }
    *made = set;
    return PMAP_OK;
}

static void dataset_end(struct pmap_dataset *set)
{
    struct pmap__course course;
    struct pmap__flight_rules rules = {.tenant = set->tenant, .task = &set->what->task, .last = true, .course = &course};
    struct pmap__step step = {.kind = PMAP__STEP_END, .number = set->number};
    struct pmap_error ignored;

    pmap__course_begin(set->tenant, &course, set->what->task.name);
    pmap__flights_all(&rules, &step, NULL, 0, set->owners, set->n_owners, NULL, &ignored);
    pmap__course_end(set->tenant, &course);
    free(set->owners);
    free(set);
}

void pmap__dataset_hold(struct pmap_dataset *set)
{
    atomic_fetch_add(&set->users, 1);
}

void pmap__dataset_release(struct pmap_dataset *set)
{
    if (atomic_fetch_sub(&set->users, 1) == 1)
        dataset_end(set);
}

/* ---- From beginning to end ---- */

static enum pmap_status go(struct pmap__drive *d)
{
    enum pmap_status status = begin(d);

    if (status == PMAP_OK && d->plan.ranges)
        status = pmap__drive_find_borders(d);
    pmap__drive_mark(d, "begin");
    if (status == PMAP_OK)
        status = pmap__drive_map(d);
    lap(d, &d->stats.map_seconds);
    pmap__drive_mark(d, "map");
    if (status == PMAP_OK)
        status = flush(d);
    lap(d, &d->stats.flush_seconds);
    pmap__drive_mark(d, "shuffle");
    if (status == PMAP_OK)
        status = output(d);
    lap(d, &d->stats.output_seconds);
    pmap__drive_mark(d, "output");
    return status == PMAP_OK ? pmap__drive_count(d) : status;
}

enum pmap_status pmap__drive(struct pmap__tenant *tenant, struct pmap_mapreduce *what, const struct pmap_mapreduce_options *o,
                             struct pmap__vault *vault, struct pmap_error *error)
{
    struct pmap__drive d = {.o = o, .error = error, .vault = vault, .since = pmap__now(),
                            .rules = {.tenant = tenant, .task = &what->task, .priority = o->priority, .seed = o->seed}};
    struct pmap_dataset *kept = NULL;
    struct pmap__course course;

    if (o->input.kind == PMAP_INPUT_DATASET)
        pmap__dataset_hold(o->input.dataset);
    d.rules.course = &course;
    d.patient = d.rules;
    d.patient.retries = o->retries;
    d.patient.retry_delay = (uint64_t)(o->retry_delay * 1e9);
    pmap__tenant_hold(tenant);
    pmap__course_begin(tenant, &course, what->task.name);
    pmap__drive_observe(&d);
    d.patient.call = d.rules.call;
    enum pmap_status status = pmap__drive_plan_make(&d, what, tenant->root);
    if (status == PMAP_OK && vault)
        status = pmap__vault_open(vault, error);
    if (status == PMAP_OK && o->input.kind == PMAP_INPUT_FILES)
        status = pmap__drive_plan_files(&d);
    if (status == PMAP_OK && d.n_splits) /* those of files are known; steps of later phases come on top */
        pmap__course_expect(tenant, &course, d.n_splits);
    pmap__drive_mark(&d, "plan");
    if (status == PMAP_OK)
        status = go(&d);
    if (status == PMAP_OK && o->keep)
        status = keep(&d, &kept);
    if (kept == NULL)
        tidy_up(&d, status != PMAP_OK);
    pmap__drive_mark(&d, "end");
    pmap__drive_observed(&d, status, error);
    if (status == PMAP_OK && o->verbose)
        pmap__drive_print(&d);
    if (status == PMAP_OK && o->stats)
        *o->stats = d.stats;
    if (kept)
        *o->keep = kept;
    pmap__plan_free(&d.plan);
    pmap__plan_free(&d.next);
    free(d.splits);
    free(d.out_bytes);
    if (o->input.kind == PMAP_INPUT_DATASET)
        pmap__dataset_release(o->input.dataset);
    pmap__course_end(tenant, &course);
    pmap__tenant_release(tenant);
    return status;
}
