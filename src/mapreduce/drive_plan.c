/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * From the options of a call to its plan: which partitions there are and who owns them, whether they are ranges, what becomes of the
 * output, which files the input has and where they are cut.
 */
#include "mapreduce/drive_inside.h"

#include "base/error.h"
#include "mapreduce/pair.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define PARTITIONS 64
#define SPLIT_SIZE ((size_t)4 << 20)
#define SPLIT_SIZE_MIN ((size_t)64 << 10) /* unless the call says so: less is not worth a step */
#define LASTING_SIZE ((size_t)16 << 20) /* where pairs of splits are kept: the longer they are, the more of them are combined before */
#define LASTING_SPLITS 128 /* but of small input so many, or more: two for each of 64 threads */
#define RECORD_MAX ((size_t)16 << 20)

/* ---- What becomes of the output ---- */

static bool is_directory(const char *path)
{
    return path && path[0] && path[strlen(path) - 1] == '/';
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
static bool wants_ranges(const struct pmap__drive *d)
{
    const struct pmap_mapreduce_options *o = d->o;
    return o->order == PMAP_ORDER_RANGES || (is_sequence(o) && is_plain(d->plan.what) && o->input.kind != PMAP_INPUT_GENERATOR);
}

static void choose_sink(struct pmap__drive *d)
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

/* ---- The plan ---- */

static uint64_t new_number(void)
{
    static atomic_uint_fast64_t last;
    return atomic_fetch_add(&last, 1) + 1;
}

static char *copy_of(const char *text)
{
    return text ? strdup(text) : NULL;
}

/* The plan of the site that makes a sequence of what another has reduced: the same functions, but none of them is called. */
static enum pmap_status make_next(struct pmap__drive *d)
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
    p->vault = NULL;
    p->scratch = copy_of(d->plan.scratch);
    p->separator = copy_of(d->plan.separator);
    p->threads = calloc((size_t)p->ranks, sizeof *p->threads);
    p->owners = calloc((size_t)p->ranks, sizeof *p->owners);
    if (p->threads == NULL || p->owners == NULL || p->separator == NULL || (d->plan.scratch && p->scratch == NULL))
        return pmap__drive_no_memory(d);
    memcpy(p->threads, d->plan.threads, (size_t)p->ranks * sizeof *p->threads);
    memcpy(p->owners, d->plan.owners, (size_t)p->ranks * sizeof *p->owners);
    return PMAP_OK;
}

static bool list_ranks(struct pmap__drive *d, const struct pmap__root *root)
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

enum pmap_status pmap__drive_plan_make(struct pmap__drive *d, struct pmap_mapreduce *what, const struct pmap__root *root)
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
    if (d->vault) {
        p->vault = copy_of(pmap__vault_directory(d->vault));
        p->deposits = pmap__vault_files(d->vault, p->number);
    }
    p->arg_size = o->arg_size;
    p->arg = malloc(o->arg_size + 1);
    if (!list_ranks(d, root) || p->separator == NULL || p->arg == NULL || (o->scratch && p->scratch == NULL) ||
        (p->sink == PMAP__SINK_PARTS && p->output == NULL) || (d->vault && p->vault == NULL))
        return pmap__drive_no_memory(d);
    if (o->arg_size)
        memcpy(p->arg, o->arg, o->arg_size);
    return p->sink == PMAP__SINK_NEXT ? make_next(d) : PMAP_OK;
}

/* ---- Splits of files ---- */

static uint64_t threads_of(const struct pmap__drive *d)
{
    uint64_t threads = 0;

    for (uint64_t r = 0; r < d->plan.ranks; r++)
        threads += d->plan.threads[r];
    return threads ? threads : 1;
}

/* Where splits are to be found again they are the same on any number of threads, and of a little more input, too. */
static size_t lasting_split_size(uint64_t total)
{
    size_t size = LASTING_SIZE;

    while (size > SPLIT_SIZE_MIN && size > total / LASTING_SPLITS)
        size /= 2;
    return size;
}

/* Small input is cut so that every thread gets some. */
size_t pmap__drive_split_size(const struct pmap__drive *d, uint64_t total)
{
    uint64_t share = total / (4 * threads_of(d)) + 1;

    if (d->o->split_size)
        return d->o->split_size;
    if (d->vault)
        return lasting_split_size(total);
    return share < SPLIT_SIZE_MIN ? SPLIT_SIZE_MIN : share < SPLIT_SIZE ? (size_t)share : SPLIT_SIZE;
}

enum pmap_status pmap__drive_plan_files(struct pmap__drive *d)
{
    uint64_t total = 0;
    enum pmap_status status = pmap__files_find(d->o->input.paths, &d->plan.files, d->error);

    for (size_t i = 0; status == PMAP_OK && i < d->plan.files.n; i++)
        total += d->plan.files.files[i].size;
    if (status == PMAP_OK)
        status = pmap__files_cut(&d->plan.files, pmap__drive_split_size(d, total), (size_t)d->plan.record_size, &d->splits,
                                 &d->n_splits, d->error);
    if (status == PMAP_OK && d->n_splits > PMAP__SPLITS_MAX)
        return pmap__error_set(d->error, PMAP_EINVAL, "pmap_mapreduce: split_size is %zu: that makes %zu splits, more than %zu",
                               d->o->split_size, d->n_splits, PMAP__SPLITS_MAX);
    return status == PMAP_ENOMEM ? pmap__drive_no_memory(d) : status;
}
