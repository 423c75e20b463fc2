/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/steps.h"

#include "base/error.h"
#include "mapreduce/map.h"
#include "mapreduce/reduce.h"
#include "mapreduce/sound.h"

#include <stdio.h>
#include <stdlib.h>

/* One item on its way through: what came, where, and the answer. */
struct doing {
    const struct pmap__place *place;
    int thread;
    struct pmap__step step;
    struct pmap_view payload;
    struct pmap__site *site; /* NULL only in BEGIN */
    struct pmap_bytes answer;
};

static void fail(enum pmap_status status, const struct pmap_error *error)
{
    pmap__site_fail_item(status, error);
}

/* With a text that names the field. */
static void refuse(const char *what, const char *field)
{
    struct pmap_error error = {.status = PMAP_EMISMATCH};

    snprintf(error.text, sizeof error.text, "received %s with a bad %s", what, field);
    fail(PMAP_EMISMATCH, &error);
}

/* A copy as the answer. */
static void answer(struct doing *d, const void *bytes, size_t size)
{
    d->answer.data = malloc(size ? size : 1);
    d->answer.size = size;
    if (d->answer.data)
        memcpy(d->answer.data, bytes, size);
    else
        fail(PMAP_ENOMEM, NULL);
}

/* ---- Setting up ---- */

static void begin(struct doing *d)
{
    struct pmap__plan plan = {0};
    struct pmap__site *site;
    struct pmap_error error = {.text = "the plan of the call makes no sense here"};
    enum pmap_status status = pmap__plan_decode(d->payload.data, d->payload.size, &plan);

    const struct pmap__port *port = d->place->post ? d->place->post->port : NULL;
    const char *bad = status == PMAP_OK ? pmap__plan_bad_field(&plan, d->place->rank, port ? port->size : 1) : NULL;
    if (bad)
        refuse("the plan of a map-reduce", bad);
    else if (status == PMAP_OK)
        status = pmap__site_create(&plan, d->place, (struct pmap__site *)pmap__post_find(d->place->post, plan.before), &site);
    if (status == PMAP_OK && bad == NULL)
        pmap__post_enter(d->place->post, &site->resident);
    else if (bad == NULL)
        fail(status, status == PMAP_ENOMEM ? NULL : &error);
    pmap__plan_free(&plan); /* if no site has taken it */
}

struct sampling {
    struct pmap__sample *sample;
    bool no_memory;
};

static void sample_key(const void *key, size_t size, void *argument)
{
    struct sampling *s = argument;
    s->no_memory |= !pmap__sample_add(s->sample, key, size);
}

/* Of what is in the stores of this rank. */
static void sample_stores(struct pmap__site *site, struct pmap__sample *sample)
{
    size_t n = (size_t)site->plan.partitions, mine = n / (size_t)site->plan.n_owners + 1;
    struct sampling s = {sample, false};

    for (size_t p = 0; p < n; p++)
        if (pmap__plan_owner(&site->plan, p) == site->rank)
            pmap__store_sample(&site->stores[p], sample->most / mine + 1, sample_key, &s);
    if (s.no_memory)
        fail(PMAP_ENOMEM, NULL);
}

static void take_sample(struct doing *d)
{
    struct pmap__sample sample = {.most = (size_t)d->step.most};

    if (d->step.split_kind == PMAP__SPLIT_STORES)
        sample_stores(d->site, &sample);
    else
        pmap__map_sample(d->site, &d->step, d->payload, &sample);
    d->answer = (struct pmap_bytes){sample.bytes, sample.used};
}

/* The payload has a record for each border. */
static void set_borders(struct doing *d)
{
    struct pmap__site *site = d->site;
    size_t n = (size_t)site->plan.partitions - 1, i = 0;

    site->borders = calloc(n ? n : 1, sizeof *site->borders);
    site->border_sizes = calloc(n ? n : 1, sizeof *site->border_sizes);
    site->border_prefixes = calloc(n ? n : 1, sizeof *site->border_prefixes);
    bool well = site->borders && site->border_sizes && site->border_prefixes;
    for (size_t at = 0; at < d->payload.size && i < n && well; i++) {
        const char *record = (const char *)d->payload.data + at;
        size_t size = pmap__record_key_size(record);
        site->borders[i] = malloc(size + 1);
        if (site->borders[i] == NULL)
            break;
        memcpy(site->borders[i], pmap__record_key(record), size);
        site->border_sizes[i] = size;
        site->border_prefixes[i] = pmap__record_prefix(record, 0);
        at += pmap__record_size(record);
    }
    if (i < n || !well)
        fail(PMAP_ENOMEM, NULL);
}

/* Ask the function of each split. */
static void tell_near(struct doing *d)
{
    const struct pmap__split *splits = d->payload.data;
    const struct pmap__plan *plan = &d->site->plan;
    size_t n = d->payload.size / sizeof *splits;
    char *near = calloc(n + 1, 1);

    for (size_t i = 0; near && i < n; i++)
        if (splits[i].file < plan->files.n)
            near[i] = plan->what->near(plan->files.files[splits[i].file].path, splits[i].begin);
    if (near)
        d->answer = (struct pmap_bytes){near, n + 1};
    else
        fail(PMAP_ENOMEM, NULL);
}

/* ---- After the map ---- */

static bool add_out_bytes(const struct pmap__site *site, uint64_t sums[])
{
    for (size_t t = 0; t < site->n_emitters; t++)
        for (size_t p = 0; site->emitters[t] && p < site->plan.partitions; p++)
            sums[p] += site->emitters[t]->out_bytes[p];
    return true;
}

/* No thread maps any more: so any thread may take any emitter. */
static void drain(struct doing *d)
{
    size_t next = atomic_fetch_add(&d->site->drained, 1);

    if (next < d->site->n_emitters && d->site->emitters[next])
        pmap__emitter_flush(d->site->emitters[next]);
}

static void flush(struct doing *d)
{
    struct pmap__site *site = d->site;
    size_t size = (size_t)site->plan.partitions * sizeof(uint64_t);

    if (!pmap__shuffle_settle(site, false) || pmap__site_check(site) || site->plan.sink != PMAP__SINK_SHARED)
        return;
    uint64_t *sums = calloc(1, size);
    if (sums && add_out_bytes(site, sums))
        d->answer = (struct pmap_bytes){sums, size};
    else
        fail(PMAP_ENOMEM, NULL);
}

/* The number of the next block, then the records. */
static void answer_block(struct doing *d, uint64_t next, const void *bytes, size_t size)
{
    d->answer = (struct pmap_bytes){malloc(sizeof next + size), sizeof next + size};
    if (d->answer.data == NULL) {
        fail(PMAP_ENOMEM, NULL);
        return;
    }
    memcpy(d->answer.data, &next, sizeof next);
    memcpy((char *)d->answer.data + sizeof next, bytes, size);
}

static void fetch(struct doing *d)
{
    struct pmap_error error = {0};
    enum pmap_status status = PMAP_EINVAL;

    size_t block = (size_t)d->step.block, size = 0;
    void *bytes = NULL;

    if (d->step.partition < d->site->plan.partitions)
        status = pmap__stash_read(&d->site->stashes[d->step.partition], &block, &bytes, &size, &error);
    if (status == PMAP_OK && bytes)
        answer_block(d, block, bytes, size);
    if (status != PMAP_OK)
        fail(status, &error);
    free(bytes);
}

static void commit(struct doing *d)
{
    struct pmap__site *site = d->site;
    struct pmap_error error = {0};

    for (size_t p = 0; p < site->plan.partitions; p++) {
        struct pmap__outfile *file = site->files[p];
        site->files[p] = NULL; /* it is gone after commit, well or not */
        enum pmap_status status = file ? pmap__file_commit(file, &error) : PMAP_OK;
        if (status != PMAP_OK) {
            fail(status, &error);
            return;
        }
    }
}

static void add_emitter(struct pmap__counts *sum, const struct pmap_emitter *out)
{
    sum->bytes_in += out->counts.bytes_in;
    sum->pairs += out->counts.pairs;
    sum->pair_bytes += out->counts.pair_bytes;
    sum->combined += out->counts.combined;
    sum->found += out->counts.found;
}

static void tell_counts(struct doing *d)
{
    struct pmap__site *site = d->site;
    struct pmap__counts sum = site->counts;

    for (size_t t = 0; t < site->n_emitters; t++)
        if (site->emitters[t])
            add_emitter(&sum, site->emitters[t]);
    sum.shuffled = atomic_load(&site->shuffled);
    sum.spills = atomic_load(&site->common.spills);
    sum.spilled = atomic_load(&site->common.spilled);
    sum.spilled_disk = atomic_load(&site->common.spilled_disk);
    sum.merges = atomic_load(&site->common.merged);
    sum.memory_limit = site->budget->limit;
    sum.memory_peak = pmap__budget_peak(site->budget);
    answer(d, &sum, sizeof sum);
}

/* ---- The end ---- */

/* From now on what arrives is dropped, but acknowledged. */
static void stop(struct doing *d)
{
    struct pmap_error over = {.text = "the call has failed"};

    pmap__site_fail(d->site, PMAP_ECANCELLED, &over);
    pmap__shuffle_settle(d->site, true);
}

/* What only the call needed. */
static void keep(struct doing *d)
{
    struct pmap__site *site = d->site;

    for (size_t t = 0; t < site->n_emitters; t++) {
        pmap__emitter_destroy(site->emitters[t]);
        site->emitters[t] = NULL;
    }
    pmap__deposits_destroy(site->deposits); /* its files are about to be removed */
    site->deposits = NULL;
    for (size_t p = 0; p < site->plan.partitions; p++) { /* with retries they are still full */
        pmap__store_fini(&site->stores[p]);
        pmap__store_init(&site->stores[p], &site->common);
    }
}

static void end(struct doing *d)
{
    pmap__post_leave(d->place->post, &d->site->resident);
    pmap__site_destroy(d->site);
}

/* ---- Which is which ---- */

static const struct {
    void (*run)(struct doing *d);
    bool lenient; /* there need be no site: the call has failed before there was one */
} steps[] = {
    [PMAP__STEP_SAMPLE] = {take_sample, false}, [PMAP__STEP_BORDERS] = {set_borders, false},
    [PMAP__STEP_NEAR] = {tell_near, false},     [PMAP__STEP_DRAIN] = {drain, false},        [PMAP__STEP_FLUSH] = {flush, false},
        [PMAP__STEP_FETCH] = {fetch, false},
    [PMAP__STEP_COMMIT] = {commit, false},      [PMAP__STEP_COUNTS] = {tell_counts, false},
    [PMAP__STEP_STOP] = {stop, true},           [PMAP__STEP_KEEP] = {keep, false},
    [PMAP__STEP_END] = {end, true},
};

static void run_one(struct doing *d)
{
    static const struct pmap_error strange = {.text = "a step of a map-reduce came that makes no sense here"};
    const char *bad = NULL;

    if (d->step.kind == PMAP__STEP_BEGIN) {
        begin(d);
        return;
    }
    d->site = (struct pmap__site *)pmap__post_find(d->place->post, d->step.number); /* its first member */
    if (d->site)
        bad = pmap__step_bad_field(&d->step, d->payload, d->site);
    if (bad)
        refuse("a step of a map-reduce", bad);
    else if (d->site && d->step.kind == PMAP__STEP_MAP)
        pmap__map_split(d->site, d->thread, &d->step, d->payload);
    else if (d->site && d->step.kind == PMAP__STEP_REDUCE)
        pmap__reduce_partition(d->site, &d->step, d->payload.data, d->site->plan.staged);
    else if (d->step.kind < sizeof steps / sizeof *steps && steps[d->step.kind].run && (d->site || steps[d->step.kind].lenient))
        d->site ? steps[d->step.kind].run(d) : (void)0;
    else
        fail(PMAP_EMISMATCH, &strange);
}

void pmap_mapreduce_run(size_t n, const void *args, void *results, size_t *at)
{
    const struct pmap_bytes *items = args;
    struct pmap_bytes *answers = results;

    for (size_t i = 0; i < n; i++) {
        struct doing d = {0};
        *at = i;
        pmap__item_running(&d.place, &d.thread);
        if (items[i].size >= sizeof d.step) {
            memcpy(&d.step, items[i].data, sizeof d.step);
            d.payload = (struct pmap_view){(const char *)items[i].data + sizeof d.step, items[i].size - sizeof d.step};
        }
        run_one(&d);
        answers[i] = d.answer;
    }
}
