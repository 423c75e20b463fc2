/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The map phase: all splits to the ranks. Those of files are one job; others are fed (drive_feed.c).
 */
#include "mapreduce/drive_inside.h"

#include "engine/job.h"
#include "engine/wait.h"
#include "mapreduce/near.h"

#include <stdlib.h>

/* ---- Near splits ---- */

/* Steps of splits that are chosen when a rank takes them. */
struct binding {
    struct pmap__step *steps;
    const struct pmap__split *splits;
    const struct pmap__claim *claims;
    struct pmap__near *near;
};

static void set_split(const struct binding *b, size_t item, size_t split)
{
    b->steps[item].split = b->splits[split];
    b->steps[item].claim = b->claims[split];
}

static void bind(void *binder, size_t begin, size_t end, int rank)
{
    struct binding *b = binder;

    for (size_t i = begin; i < end; i++)
        set_split(b, i, pmap__near_next(b->near, (size_t)rank));
}

/* Ask all ranks which splits are near. */
static enum pmap_status find_near(struct pmap__drive *d, struct pmap__near **near)
{
    size_t n = (size_t)d->plan.n_owners, ranks = (size_t)d->plan.ranks;
    struct pmap_bytes *answers = calloc(n, sizeof *answers);
    const char **by_rank = calloc(ranks, sizeof(char *));
    enum pmap_status status = answers && by_rank ? PMAP_OK : pmap__drive_no_memory(d);

    if (status == PMAP_OK)
        status = pmap__drive_all_ranks(d, PMAP__STEP_NEAR, d->splits, d->n_splits * sizeof *d->splits, answers);
    for (size_t i = 0; i < n && status == PMAP_OK; i++)
        by_rank[d->plan.owners[i]] = answers[i].data;
    if (status == PMAP_OK && pmap__near_create(d->n_splits, ranks, by_rank, near) != PMAP_OK)
        status = pmap__drive_no_memory(d);
    for (size_t i = 0; i < n && answers; i++)
        free(answers[i].data);
    free(answers);
    free(by_rank);
    return status;
}

/* ---- All splits ---- */

static bool is_done(const void *job)
{
    return pmap__job_is_done(job);
}

static enum pmap_status run_job(struct pmap__drive *d, const struct pmap__order_form *form)
{
    struct pmap__job job;

    if (pmap__job_init(&job, form) != PMAP_OK)
        return pmap__drive_no_memory(d);
    pmap__job_watch(&job);
    enum pmap_status status = pmap__tenant_submit(d->rules.tenant, &job, d->error);
    if (status == PMAP_OK) {
        pmap__wait(is_done, &job, PMAP__FOR_EVER);
        status = pmap__job_outcome(&job, d->error);
    } else {
        status = pmap__refused(status, d->error);
    }
    pmap__job_fini(&job);
    return status;
}

/* Splits of files are all known, and small as items: they are one job, whose chunks the engine sizes. */
static enum pmap_status map_files(struct pmap__drive *d)
{
    struct pmap__step *steps = calloc(d->n_splits + 1, sizeof *steps);
    struct pmap_bytes *items = calloc(d->n_splits + 1, sizeof *items), *answers = calloc(d->n_splits + 1, sizeof *answers);
    struct pmap__claim *claims = calloc(d->n_splits + 1, sizeof *claims);
    struct pmap__order_form form = {.call = "pmap_mapreduce", .task = d->rules.task, .args = items, .results = answers, .n = d->n_splits,
                                    .on_error = PMAP_STOP, .retries = d->patient.retries, .retry_delay = d->patient.retry_delay,
                                    .priority = d->rules.priority, .seed = d->rules.seed, .late = true, .course = d->rules.course,
                                    .part_of = pmap__flight_part(&d->rules, PMAP__STEP_MAP)};
    struct binding binding = {.steps = steps, .splits = d->splits, .claims = claims};
    enum pmap_status status = steps && items && answers && claims ? PMAP_OK : pmap__drive_no_memory(d);

    if (status == PMAP_OK && d->vault && pmap__vault_claims(d->vault, &d->plan.files, d->splits, d->n_splits, claims) != PMAP_OK)
        status = pmap__drive_no_memory(d);
    if (status == PMAP_OK && d->plan.what->near)
        status = find_near(d, &binding.near);
    if (binding.near) {
        form.bind = bind;
        form.binder = &binding;
    }
    for (size_t i = 0; i < d->n_splits && status == PMAP_OK; i++) {
        steps[i] = (struct pmap__step){.kind = PMAP__STEP_MAP, .number = d->plan.number, .split_kind = PMAP__SPLIT_FILE};
        set_split(&binding, i, i);
        items[i] = (struct pmap_bytes){&steps[i], sizeof *steps};
    }
    if (status == PMAP_OK)
        status = run_job(d, &form);
    for (size_t i = 0; answers && i < d->n_splits; i++)
        free(answers[i].data);
    pmap__near_destroy(binding.near);
    free(claims);
    free(answers);
    free(items);
    free(steps);
    return status;
}

enum pmap_status pmap__drive_map(struct pmap__drive *d)
{
    struct pmap__drive_feed feed;

    if (d->o->input.kind == PMAP_INPUT_FILES) {
        d->stats.splits = d->n_splits;
        return d->n_splits ? map_files(d) : PMAP_OK;
    }
    pmap__drive_feed_init(&feed, d);
    enum pmap_status status = pmap__drive_feed_run(&feed, PMAP__STEP_MAP, 0, NULL, NULL);
    d->stats.splits = feed.i;
    return status;
}
