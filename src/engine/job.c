/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/job.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "engine/recorder.h"
#include "engine/root.h"
#include "engine/times.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What kills so many processes will kill the next. */
#define CRASHES_MAX 3

/* ---- As the team of the root sees it ---- */

static size_t portion(struct pmap__work *work, size_t left, uint64_t item_ns)
{
    struct pmap__job *job = (struct pmap__job *)work; /* its first member */
    struct pmap__demand demand = {
        .left = left,
        .threads = 1,
        .all_threads = job->all_threads,
        .item_ns = item_ns,
        .share = atomic_load_explicit(&job->thread_share, memory_order_relaxed),
    };
    return pmap__portion_next(&demand).chunk;
}

/* Leaves at these positions; where some are known already the others do not follow each other. */
static void fold(struct pmap__job *job, struct pmap__run *run, size_t begin, size_t end)
{
    for (size_t n; begin < end; begin += n) {
        n = pmap__job_run_of(job, begin, end);
        size_t leaf = pmap__job_at(job, begin);
        run->base = leaf;
        run->args = pmap__element(job->form.args, (leaf - job->base) * job->fold->leaf, job->form.task->args_size);
        pmap__fold_span(job->fold, run, 0, n);
    }
}

static void run(struct pmap__work *work, struct pmap__turn *turn)
{
    struct pmap__job *job = (struct pmap__job *)work;
    const atomic_bool *cancelled = pmap__job_flag(job);
    struct pmap__run run;

    pmap__run_clear(&run);
    run.task = job->form.task;
    run.place = job->place;
    run.thread = turn->thread;
    run.failures = &job->failures;
    run.cancelled = cancelled;
    run.seed = job->form.seed;
    run.limits = job->form.limits;
    run.args = job->form.args;
    run.results = job->form.results;
    run.base = job->base;
    run.names = job->order;
    run.scattered = job->order;
    pmap__recall_watch(job, &run);
    struct pmap__stopwatch watch;
    struct pmap__noting noting;
    struct pmap__seat *seat = &job->seats[turn->thread];
    pmap__stopwatch_begin(&watch, job->times);
    pmap__seat_take(seat, job->parent ? job->parent : job, job->form.task, turn);
    if (job->subject.number) {
        pmap__noting_begin(&noting, job->place->recorder, &job->subject, turn->thread);
        run.noting = &noting;
    }
    pmap__run_begin(&run);
    while (pmap__turn_next(turn)) {
        pmap__seat_begin(seat, turn, pmap__job_item(job, turn->begin), pmap__job_items(job, turn->end - turn->begin));
        if (job->form.bind && !job->parent)
            job->form.bind(job->form.binder, turn->begin, turn->end, job->place->rank);
        if (job->fold)
            fold(job, &run, turn->begin, turn->end);
        else
            pmap__run_span(&run, turn->begin, turn->end);
        pmap__stopwatch_count(&watch, pmap__job_items(job, turn->end - turn->begin));
        pmap__seat_count(seat, pmap__job_items(job, turn->end - turn->begin));
        if (pmap__job_is_over(job))
            pmap__job_skip_rest(job);
    }
    pmap__run_end(&run);
    if (run.noting)
        pmap__noting_end(&noting);
    pmap__stopwatch_end(&watch);
    pmap__seat_leave(seat);
    if (!job->place_in_line.single && atomic_load_explicit(cancelled, memory_order_relaxed))
        pmap__root_cancel(job->root, job); /* a failure was one too many, perhaps: the other ranks must hear of it */
}

/* ---- Life ---- */

struct costly {
    double cost;
    size_t item;
};

/* The highest cost first; among equals the lower index, so that the order is always the same. */
static int by_cost(const void *a, const void *b)
{
    const struct costly *x = a, *y = b;
    if (x->cost != y->cost)
        return x->cost > y->cost ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item;
}

static size_t *make_order(const double *cost, size_t n)
{
    struct costly *items = calloc(n, sizeof *items);
    size_t *order = calloc(n, sizeof *order);

    for (size_t i = 0; i < n && items && order; i++)
        items[i] = (struct costly){cost[i], i};
    if (items && order)
        qsort(items, n, sizeof *items, by_cost);
    for (size_t i = 0; i < n && items && order; i++)
        order[i] = items[i].item;
    if (items == NULL) {
        free(order);
        order = NULL;
    }
    free(items);
    return order;
}

size_t pmap__job_run_of(const struct pmap__job *job, size_t begin, size_t end)
{
    size_t n = 1;

    if (job->order == NULL)
        return end - begin;
    while (begin + n < end && job->order[begin + n] == job->order[begin] + n)
        n++;
    return n;
}

static void init_work(struct pmap__job *job, size_t n, size_t grain, int priority)
{
    if (n == 1)
        grain = 1;
    job->work = (struct pmap__work){.n = n, .grain = grain < n ? grain : n, .portion = portion, .run = run,
                                    .priority = priority == INT_MIN ? INT_MIN + 1 : priority};
    pmap__work_init(&job->work);
    job->place_in_line = job->work.place;
}

static void init_verdict(struct pmap__job *job)
{
    const struct pmap__order_form *form = &job->form;
    struct pmap__failures *verdict = pmap__job_verdict(job);

    verdict->limit = form->on_error == PMAP_STOP ? 1 : form->max_failures;
    verdict->stop = &job->cancelled;
    verdict->statuses = form->statuses;
    verdict->keep = form->reasons ? PMAP__KEEP_REASONS : PMAP__KEEP_NOTHING;
    if (form->retries) /* reasons, too: the call may be cancelled before there are better ones */
        job->failures.keep = PMAP__KEEP_REASONS;
    for (size_t i = 0; form->statuses && i < form->n; i++)
        form->statuses[i] = PMAP_OK;
}

/* Bytes of items, on average: known for most tasks, looked up in the array for bytes. */
static size_t bytes_each(const struct pmap__order_form *form)
{
    const struct pmap_bytes *items = form->args;
    size_t sum = 0;

    if (!form->task->bytes)
        return form->task->args_size + form->task->result_size;
    for (size_t i = 0; i < form->n; i++)
        sum += items[i].size;
    return form->n ? 2 * (sum / form->n) + 64 : 0;
}

static void init_common(struct pmap__job *job)
{
    atomic_init(&job->thread_share, 0);
    atomic_init(&job->cancelled, false);
    atomic_init(&job->halted, false);
    pmap__cause_init(&job->cause);
    atomic_init(&job->state, 0);
    atomic_init(&job->out, 0);
    atomic_init(&job->again, 0);
    atomic_init(&job->items_retried, 0);
    atomic_init(&job->items_lost, 0);
    job->submitted = (struct pmap__note){.news = PMAP__SUBMITTED, .job = job};
    job->local_done = (struct pmap__note){.news = PMAP__LOCAL_DONE, .job = job};
}

enum pmap_status pmap__job_init(struct pmap__job *job, const struct pmap__order_form *form)
{
    size_t args_size = form->task->args_size, leaf = form->op ? pmap__fold_leaf_size(form->n) : 1;
    size_t positions = form->n ? (form->n - 1) / leaf + 1 : 0;

    memset(job, 0, offsetof(struct pmap__job, own_fold));
    job->form = *form;
    job->base = form->base;
    job->bytes_each = bytes_each(form);
    init_common(job);
    init_work(job, positions, form->chunksize ? (form->chunksize - 1) / leaf + 1 : 0, form->priority);
    if (form->copy_args && args_size && (job->own_args = malloc(args_size)) == NULL)
        return PMAP_ENOMEM;
    if (job->own_args)
        job->form.args = memcpy(job->own_args, form->args, args_size);
    if (form->cost && form->n > 1 && (job->order = make_order(form->cost, form->n)) == NULL)
        goto fail;
    if (form->op && form->n) {
        job->bytes_each = leaf * args_size;
        if (!pmap__fold_init(&job->own_fold, form->op, leaf, form->n, NULL))
            goto fail;
        job->fold = &job->own_fold;
        job->own_fold.limits = form->limits;
    }
    pmap__failures_init(&job->failures); /* glibc's mutexes cannot fail */
    pmap__failures_init(&job->last);
    init_verdict(job);
    return PMAP_OK;
fail:
    free(job->order);
    free(job->own_args);
    return PMAP_ENOMEM;
}

void pmap__job_restrict(struct pmap__job *job, size_t *order, size_t n)
{
    size_t leaf = job->fold ? job->fold->leaf : 1, grain = job->form.chunksize ? (job->form.chunksize - 1) / leaf + 1 : 0;

    free(job->order);
    job->order = order;
    init_work(job, n, grain, job->form.priority);
}

void pmap__job_fini(struct pmap__job *job)
{
    pmap__recall_free(job->recall);
    if (job->fold == &job->own_fold)
        pmap__fold_fini(&job->own_fold);
    free(job->ranks);
    if (job->parent == NULL)
        free(job->order);
    free(job->own_args);
    pmap__failures_fini(&job->failures);
    pmap__failures_fini(&job->last);
}

/* ---- Running again ---- */

/* The lowest failure so far, if there is one; threads of the root may be adding others. */
static bool any_failure(struct pmap__failures *failures, struct pmap_error *error)
{
    pthread_mutex_lock(&failures->lock);
    bool any = failures->count > 0;
    if (any && error)
        pmap__failures_lowest(failures, error);
    pthread_mutex_unlock(&failures->lock);
    return any;
}

bool pmap__job_has_failures(struct pmap__job *job)
{
    return any_failure(&job->failures, NULL);
}

/* Why the items of a record failed. A reduction has no reasons for each leaf; any reason is better than none. */
static void why(struct pmap__job *job, const struct pmap__record *record, struct pmap_error *error)
{
    if (record->error) {
        *error = *record->error;
        error->item = record->item;
    } else if (!job->fold || !any_failure(&job->failures, error)) {
        pmap__error_set(error, record->status, "pmap: item %zu failed, and there was no memory to keep its reason", record->item);
        error->item = record->item;
    }
}

/* So its items failed in the run before the next. */
static void set_why(struct pmap__job *child, const struct pmap_error *error)
{
    struct pmap_error e = *error;

    if (child->fold == NULL)
        e.item = child->base;
    pmap__failures_clear(&child->last);
    pmap__failures_count(&child->last, &e, 1);
}

static bool too_many(struct pmap__failures *verdict)
{
    pthread_mutex_lock(&verdict->lock);
    bool stopped = verdict->limit && verdict->count >= verdict->limit;
    pthread_mutex_unlock(&verdict->lock);
    return stopped;
}

/* The verdict on n items, or leaves, from this one on; error: NULL if they were not run. */
static void conclude(struct pmap__job *job, size_t item, size_t n, const struct pmap_error *error)
{
    if (job->fold && error)
        pmap__failures_count(&job->last, error, n);
    else if (job->fold)
        pmap__failures_skipped(&job->last, n);
    else if (error)
        pmap__failures_add(&job->last, error, n);
    else
        pmap__failures_skip(&job->last, item, n);
}

void pmap__job_never_again(struct pmap__job *job, const struct pmap__record *record)
{
    bool failed = record->status != PMAP_ECANCELLED && !too_many(&job->last);
    struct pmap_error error;

    if (job->fold && !any_failure(&job->failures, NULL)) /* leaves that were not folded have records of failures */
        failed = false;

    if (failed)
        why(job, record, &error);
    conclude(job, record->item, record->n, failed ? &error : NULL);
}

bool pmap__job_may_retry(const struct pmap__job *child)
{
    bool crashed = child->failures.count && child->failures.lowest_status == PMAP_ECRASHED;
    return child->failures.count && child->attempt <= child->form.retries && child->crashes + crashed < CRASHES_MAX;
}

void pmap__job_retry(struct pmap__job *child)
{
    struct pmap_error error;

    pmap__failures_lowest(&child->failures, &error);
    child->crashes += error.status == PMAP_ECRASHED;
    set_why(child, &error);
    child->attempt++;
    child->subject.attempt = (unsigned)child->attempt;
    pmap__failures_clear(&child->failures);
}

void pmap__job_give_up(struct pmap__job *child)
{
    bool ran = child->failures.count > 0, failed = ran || !too_many(&child->parent->last);
    struct pmap_error error;

    if (failed)
        pmap__failures_lowest(ran ? &child->failures : &child->last, &error);
    conclude(child->parent, child->base, child->work.n, failed ? &error : NULL);
}

struct pmap__job *pmap__job_again(struct pmap__job *parent, size_t item, size_t n, const struct pmap__record *record)
{
    struct pmap_error error;
    size_t position = item - parent->base;
    struct pmap__job *job = calloc(1, sizeof *job);
    size_t leaf = parent->fold ? parent->fold->leaf : 1;

    if (job == NULL)
        return NULL;
    job->form = parent->form;
    job->form.args = pmap__element(parent->form.args, position * leaf, parent->form.task->args_size);
    if (parent->fold == NULL)
        job->form.results = pmap__element_mutable(parent->form.results, position, parent->form.task->result_size);
    job->base = item;
    job->fold = parent->fold;
    job->bytes_each = parent->bytes_each;
    job->parent = parent;
    job->attempt = 2;
    job->crashes = record->status == PMAP_ECRASHED;
    init_common(job);
    init_work(job, n, n, parent->form.priority);
    pmap__failures_init(&job->failures);
    pmap__failures_init(&job->last);
    job->failures.keep = PMAP__KEEP_RECORDS;
    why(parent, record, &error);
    set_why(job, &error);
    return job;
}

/* ---- Losses ---- */

/* The arrays and positions of the child, as parts of those of the job. */
static void take_part(struct pmap__job *child, const struct pmap__job *job, size_t begin)
{
    size_t leaf = job->fold ? job->fold->leaf : 1;

    child->form = job->form;
    child->base = job->base;
    child->fold = job->fold;
    if (job->order) {
        child->order = job->order + begin; /* the elements are where they were */
        return;
    }
    child->base += begin;
    child->form.args = pmap__element(job->form.args, begin * leaf, job->form.task->args_size);
    if (job->fold == NULL)
        child->form.results = pmap__element_mutable(job->form.results, begin, job->form.task->result_size);
}

struct pmap__job *pmap__job_lost(struct pmap__job *job, size_t begin, size_t n, size_t grain, int losses)
{
    struct pmap__job *child = calloc(1, sizeof *child), *whole = job->parent ? job->parent : job;

    if (child == NULL)
        return NULL;
    take_part(child, job, begin);
    child->bytes_each = job->bytes_each;
    child->parent = whole;
    child->attempt = 1;
    child->losses = losses;
    init_common(child);
    init_work(child, n, grain, job->form.priority);
    pmap__failures_init(&child->failures);
    pmap__failures_init(&child->last);
    child->failures.keep = whole->failures.keep;
    child->failures.out = whole->failures.out;
    child->failures.out_base = whole->failures.out_base;
    if (whole->failures.statuses && child->failures.keep == PMAP__KEEP_NOTHING)
        child->failures.keep = PMAP__KEEP_RECORDS;
    return child;
}

void pmap__job_merge(struct pmap__job *child)
{
    struct pmap__failures *from = &child->failures, *to = &child->parent->failures;
    struct pmap__record *record = pmap__failures_take(from);
    struct pmap_error lowest;

    while (record) {
        struct pmap__record *next = record->next;
        pmap__failures_record(to, record->item, record->n, record->status, record->error);
        pmap__record_free(record);
        record = next;
    }
    if (from->count) {
        pmap__failures_lowest(from, &lowest);
        pmap__failures_count(to, &lowest, from->count);
    }
    if (from->cancelled)
        pmap__failures_skipped(to, from->cancelled);
    to->forgot |= from->forgot;
}

/* ---- The end ---- */

void pmap__job_forget(struct pmap__job *job)
{
    if (atomic_fetch_or(&job->state, PMAP__JOB_UNWANTED) & PMAP__JOB_DONE) {
        pmap__job_fini(job);
        free(job);
    }
}

bool pmap__job_done(struct pmap__job *job)
{
    int before = atomic_fetch_or(&job->state, PMAP__JOB_DONE);

    if (before & PMAP__JOB_UNWANTED) {
        pmap__job_fini(job);
        free(job);
    }
    return before & PMAP__JOB_WATCHED;
}

/* ---- How it goes ---- */

const atomic_bool *pmap__job_flag(const struct pmap__job *job)
{
    return job->parent ? &job->parent->cancelled : &job->cancelled;
}

static void skip(struct pmap__job *job, struct pmap__failures *failures, size_t begin, size_t end)
{
    struct pmap__run run = {.task = job->form.task, .failures = failures, .results = job->form.results,
                            .base = job->base, .names = job->order, .scattered = job->order};

    if (job->fold == NULL) {
        pmap__run_skip(&run, begin, end);
        return;
    }
    pmap__failures_skipped(failures, end - begin);
    for (size_t n; begin < end; begin += n) { /* with records, by which the verdict hears of them if failures are run again */
        n = pmap__job_run_of(job, begin, end);
        pmap__failures_record(failures, pmap__job_at(job, begin), n, PMAP_ECANCELLED, NULL);
    }
}

void pmap__job_skip(struct pmap__job *job, size_t begin, size_t end)
{
    skip(job, &job->failures, begin, end);
}

void pmap__job_refuse(struct pmap__job *job)
{
    for (size_t begin = 0, end; begin < job->work.n; begin = end) {
        bool known = pmap__recall_knows(job, begin);
        for (end = begin + 1; end < job->work.n && pmap__recall_knows(job, end) == known; end++)
            ;
        if (!known)
            skip(job, pmap__job_verdict(job), begin, end);
    }
}

void pmap__job_skip_rest(struct pmap__job *job)
{
    size_t begin, end;

    if (pmap__job_is_over(job) && pmap__work_take_rest(&job->work, &begin, &end))
        pmap__job_skip(job, begin, end);
}

void pmap__job_fail(struct pmap__job *job, size_t begin, size_t n, const struct pmap_error *why)
{
    struct pmap_error error = *why;
    size_t one = job->order ? 1 : n, size = pmap__job_result_size(job);

    if (job->fold) {
        error.item = pmap__job_at(job, begin) * job->fold->leaf;
        pmap__failures_count(&job->failures, &error, n);
        for (size_t i = 0; i < n; i++)
            pmap__failures_record(&job->failures, pmap__job_at(job, begin + i), 1, why->status, NULL);
        return;
    }
    for (size_t at = begin; at < begin + n; at += one) {
        size_t position = job->order ? job->order[at] : at;
        if (job->form.results && size)
            memset((char *)job->form.results + position * size, 0, one * size);
        error.item = job->base + position;
        pmap__failures_add(&job->failures, &error, one);
    }
}

struct pmap__failures *pmap__job_verdict(struct pmap__job *job)
{
    return job->form.retries && !job->parent ? &job->last : &job->failures;
}

/* Has an interruption kept items from being run, or from being run again? */
static bool is_cut_short(const struct pmap__job *job, const struct pmap__failures *verdict)
{
    return pmap__cause_is_set(&job->cause) && (verdict->cancelled || (job->form.retries && verdict->count));
}

static enum pmap_status interrupted(const struct pmap__job *job, uint64_t not_run, struct pmap_error *error)
{
    char so[64];

    snprintf(so, sizeof so, "%llu of %zu items not run", (unsigned long long)not_run, job->work.n);
    return pmap__cause_error(&job->cause, job->form.call, so, error);
}

enum pmap_status pmap__job_outcome(struct pmap__job *job, struct pmap_error *error)
{
    struct pmap__failures *verdict = pmap__job_verdict(job);
    bool stopped = verdict->limit && verdict->count >= verdict->limit;

    if (pmap__recall_lost(job, verdict->cancelled > 0, error))
        return error->status;
    if (job->failures.forgot || job->last.forgot)
        return pmap__error_set(error, PMAP_ENOMEM, "%s: no memory to note which items failed", job->form.call);
    if (!stopped && is_cut_short(job, verdict))
        return interrupted(job, verdict->cancelled, error);
    if (verdict->count && (job->form.on_error != PMAP_COLLECT || stopped)) {
        pmap__failures_lowest(verdict, error);
        return error->status;
    }
    if (verdict->cancelled)
        return pmap__error_set(error, PMAP_ECANCELLED, "%s: cancelled with %llu of %zu items not run", job->form.call,
                               (unsigned long long)verdict->cancelled, job->work.n);
    if (job->fold && job->fold->top == NULL) /* whatever became of its leaves: it has no value */
        return pmap__error_set(error, PMAP_ECANCELLED, "%s: some of %zu items were not run", job->form.call, job->form.n);
    return PMAP_OK;
}
