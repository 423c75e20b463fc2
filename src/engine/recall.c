/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/recall.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "engine/job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 64                   /* elements that are looked up, or written down, at once */
#define WORTH (20 * PMAP__MS)      /* of a call, so that waiting for a commit, a fraction of a millisecond, does not count */

/* ---- Elements ---- */

/* The job that an element belongs to: what is run again belongs to its parent. */
static struct pmap__job *whole_of(struct pmap__job *job)
{
    return job->parent ? job->parent : job;
}

static size_t elements_of(const struct pmap__job *job)
{
    return job->fold ? job->fold->leaves : job->form.n;
}

static size_t element_at(const struct pmap__job *job, size_t position)
{
    return pmap__job_at(job, position) - (job->parent ? job->parent->base : job->base);
}

/* The bytes of an element that make it what it is. */
static const void *bytes_of(const struct pmap__job *job, size_t element, size_t *size)
{
    const struct pmap_task *task = job->form.task;
    size_t items = 1, leaf = job->fold ? job->fold->leaf : 1;

    if (task->bytes) {
        const struct pmap_bytes *bytes = (const struct pmap_bytes *)job->form.args + element;
        *size = bytes->size;
        return bytes->data;
    }
    if (job->fold)
        items = job->fold->total - element * leaf < leaf ? job->fold->total - element * leaf : leaf;
    *size = items * task->args_size;
    return pmap__element(job->form.args, element * leaf, task->args_size);
}

static struct pmap__journal_key key_of(const struct pmap__job *job, size_t element)
{
    size_t size;
    const void *bytes = bytes_of(job, element, &size);
    return pmap__journal_hash(job->recall->context, bytes, size);
}

static bool is_out(const struct pmap__recall *recall, size_t element)
{
    return atomic_load_explicit(&recall->out[element / 64], memory_order_relaxed) >> element % 64 & 1;
}

/* ---- Looking up ---- */

static void describe(const struct pmap__job *job, struct pmap__journal_call *call)
{
    const struct pmap__order_form *form = &job->form;

    *call = (struct pmap__journal_call){.name = form->name, .task = form->task->name, .signature = form->task->signature,
                                        .task_id = form->task->id, .seed = form->seed};
    if (job->fold) {
        call->op = form->op->name;
        call->op_id = form->op->id;
        call->total = job->fold->total;
        call->leaf = job->fold->leaf;
    }
}

/* Whose result is read, and where it goes. */
struct taking {
    struct pmap__job *job;
    size_t element;
    char *value; /* of a leaf: a copy, until no lock is held any more */
};

static enum pmap_status take_bytes(struct pmap_bytes *to, const void *result, size_t size, struct pmap_error *error)
{
    void *data = size ? malloc(size) : NULL;

    if (size && data == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for a result of %zu bytes from the journal", size);
    if (size)
        memcpy(data, result, size);
    *to = (struct pmap_bytes){data, size};
    return PMAP_OK;
}

static enum pmap_status take(void *owner, const void *result, size_t size, struct pmap_error *error)
{
    struct taking *t = owner;
    const struct pmap_task *task = t->job->form.task;
    void *to = t->value ? (void *)t->value : pmap__element_mutable(t->job->form.results, t->element, task->result_size);

    if (task->bytes)
        return take_bytes(to, result, size, error);
    if (size != task->result_size)
        return pmap__error_set(error, PMAP_EJOURNAL, "pmap: the journal is damaged: a result of task %s has %zu bytes there, not %zu",
                               task->name, size, task->result_size);
    if (size)
        memcpy(to, result, size);
    return PMAP_OK;
}

/* A leaf that is known joins the others; an operation may fail there as elsewhere. */
static enum pmap_status give_to_fold(struct taking *t, struct pmap_error *error)
{
    struct pmap__fold *fold = t->job->fold;
    enum pmap_status status = pmap__fold_add(fold, 0, t->element, t->value, error);

    if (status != PMAP_EFAILED)
        return status;
    error->item = t->element * fold->leaf;
    pmap__failures_count(fold->verdict, error, 1);
    return PMAP_OK;
}

/* *found: is there a result of this element? It is in its place then. */
static enum pmap_status recall_one(struct taking *t, const struct pmap__journal_key *key, bool *found, struct pmap_error *error)
{
    struct pmap__journal *journal = t->job->recall->journal;
    uint64_t row = pmap__journal_find(journal, key);

    *found = false;
    if (row == 0)
        return PMAP_OK;
    enum pmap_status status = pmap__journal_read(journal, row, key, take, t, found, error);
    return status == PMAP_OK && *found && t->job->fold ? give_to_fold(t, error) : status;
}

/* Which of several equal items they are. */
static enum pmap_status keep_occurrence(struct pmap__job *job, size_t element, uint64_t occurrence)
{
    struct pmap__recall *recall = job->recall;

    if (occurrence == 0)
        return PMAP_OK;
    if (recall->occurrences == NULL)
        recall->occurrences = calloc(elements_of(job), sizeof *recall->occurrences);
    if (recall->occurrences == NULL)
        return PMAP_ENOMEM;
    recall->occurrences[element] = (size_t)occurrence;
    return PMAP_OK;
}

static enum pmap_status recall_block(struct taking *t, size_t begin, size_t n, size_t *known, struct pmap_error *error)
{
    struct pmap__job *job = t->job;
    struct pmap__journal_key keys[BLOCK];
    enum pmap_status status = PMAP_OK;
    bool found;

    for (size_t i = 0; i < n; i++)
        keys[i] = key_of(job, begin + i);
    if (!pmap__journal_number(job->recall->journal, keys, n))
        return pmap__error_set(error, PMAP_ENOMEM, "%s: no memory to count items for the journal", job->form.call);
    for (size_t i = 0; i < n && status == PMAP_OK; i++) {
        t->element = begin + i;
        if (keep_occurrence(job, t->element, keys[i].occurrence) != PMAP_OK)
            return pmap__error_set(error, PMAP_ENOMEM, "%s: no memory to number equal items for the journal", job->form.call);
        status = recall_one(t, &keys[i], &found, error);
        if (status == PMAP_OK && found) {
            atomic_fetch_or_explicit(&job->recall->out[t->element / 64], UINT64_C(1) << t->element % 64, memory_order_relaxed);
            ++*known;
        }
    }
    return status;
}

static enum pmap_status recall_all(struct pmap__job *job, size_t n, size_t *known, struct pmap_error *error)
{
    struct taking t = {.job = job};
    enum pmap_status status = PMAP_OK;

    if (job->fold && (t.value = malloc(job->fold->op->size)) == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "%s: no memory for a value", job->form.call);
    for (size_t begin = 0; begin < n && status == PMAP_OK; begin += BLOCK)
        status = recall_block(&t, begin, n - begin < BLOCK ? n - begin : BLOCK, known, error);
    free(t.value);
    return status;
}

/* Only the others are run, in the order that they had. */
static enum pmap_status leave_out(struct pmap__job *job, size_t n, size_t known, struct pmap_error *error)
{
    size_t *order = calloc(n - known + 1, sizeof *order), at = 0;

    if (order == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "%s: no memory for the numbers of %zu items", job->form.call, n - known);
    for (size_t p = 0; p < n; p++) {
        size_t element = element_at(job, p);
        if (!is_out(job->recall, element))
            order[at++] = element;
    }
    pmap__job_restrict(job, order, at);
    return PMAP_OK;
}

static struct pmap__recall *create(struct pmap__job *job, struct pmap__journal *journal)
{
    struct pmap__recall *recall = calloc(1, sizeof *recall);
    struct pmap__journal_call call;

    if (recall == NULL)
        return NULL;
    describe(job, &call);
    recall->journal = journal;
    pmap__journal_hold(journal); /* results of async calls are asked when the pool is gone */
    recall->since = pmap__now();
    recall->context = pmap__journal_context(&call);
    recall->call = pmap__journal_call(journal, &call);
    recall->out = calloc(elements_of(job) / 64 + 1, sizeof *recall->out);
    atomic_init(&recall->upto, 0);
    if (recall->out && recall->call)
        return recall;
    pmap__recall_free(recall);
    return NULL;
}

static void folded(void *recorder, size_t leaf, const void *value, int rank)
{
    pmap__recall_leaf(recorder, leaf, value, rank);
}

enum pmap_status pmap__recall_begin(struct pmap__job *job, struct pmap__journal *journal, struct pmap_error *error)
{
    size_t n = elements_of(job), known = 0;

    if (journal == NULL || job->form.name == NULL || n == 0)
        return PMAP_OK;
    if (pmap__journal_broken(journal, error))
        return PMAP_EJOURNAL;
    job->recall = create(job, journal);
    if (job->recall == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "%s: no memory to look up %zu items in the journal", job->form.call, n);
    enum pmap_status status = recall_all(job, n, &known, error);
    if (status == PMAP_OK && known)
        status = leave_out(job, n, known, error);
    if (job->fold) {
        job->own_fold.folded = folded;
        job->own_fold.recorder = job;
    } else {
        job->failures.out = job->recall->out;
        job->failures.out_base = job->base;
    }
    return status;
}

bool pmap__recall_knows(const struct pmap__job *job, size_t position)
{
    return job->recall && is_out(job->recall, element_at(job, position));
}

void pmap__recall_free(struct pmap__recall *recall)
{
    if (recall == NULL)
        return;
    pmap__journal_release(recall->journal);
    free(recall->occurrences);
    free(recall->out);
    free(recall);
}

/* ---- Writing down ---- */

static void add(struct pmap__recall *recall, const struct pmap__journal_entry entries[], size_t n, int rank)
{
    if (n == 0)
        return;
    uint64_t number = pmap__journal_add(recall->journal, recall->call, rank, entries, n), before = atomic_load(&recall->upto);
    while (before < number && !atomic_compare_exchange_weak(&recall->upto, &before, number))
        ;
}

static struct pmap__journal_entry entry_of(const struct pmap__job *whole, size_t element, const void *result, size_t size)
{
    const struct pmap__recall *recall = whole->recall;
    struct pmap__journal_entry entry = {.key = key_of(whole, element), .result = result, .size = size};

    entry.key.occurrence = recall->occurrences ? recall->occurrences[element] : 0;
    entry.item = whole->base + element * (whole->fold ? whole->fold->leaf : 1);
    return entry;
}

static struct pmap__journal_entry item_entry(const struct pmap__job *whole, size_t element)
{
    const struct pmap_task *task = whole->form.task;
    const void *result = pmap__element(whole->form.results, element, task->result_size);
    const struct pmap_bytes *bytes = task->bytes ? result : NULL;

    return entry_of(whole, element, bytes ? bytes->data : result, bytes ? bytes->size : result ? task->result_size : 0);
}

void pmap__recall_span(struct pmap__job *job, size_t begin, size_t end, int rank)
{
    struct pmap__job *whole = whole_of(job);
    struct pmap__journal_entry entries[BLOCK];
    size_t n = 0;

    bool first = pmap__job_is_first(job);

    if (whole->recall == NULL || (!first && (job->failures.count || job->failures.cancelled)))
        return; /* of a second run, which is of one piece, all has failed, or nothing */
    for (size_t p = begin; p < end; p++) {
        size_t element = element_at(job, p);
        if (first && is_out(whole->recall, element))
            continue;
        entries[n++] = item_entry(whole, element);
        if (n == BLOCK) {
            add(whole->recall, entries, n, rank);
            n = 0;
        }
    }
    add(whole->recall, entries, n, rank);
}

void pmap__recall_leaf(struct pmap__job *job, size_t leaf, const void *value, int rank)
{
    struct pmap__job *whole = whole_of(job);

    if (whole->recall == NULL)
        return;
    struct pmap__journal_entry entry = entry_of(whole, leaf, value, whole->fold->op->size);
    add(whole->recall, &entry, 1, rank);
}

static void ran(struct pmap__run *run, size_t begin, size_t end)
{
    pmap__recall_span(run->recorder, begin, end, run->place->rank);
}

void pmap__recall_watch(struct pmap__job *job, struct pmap__run *run)
{
    if (whole_of(job)->recall == NULL || job->fold)
        return;
    run->ran = ran;
    run->recorder = job;
}

/* ---- The end ---- */

static void settle(struct pmap__journal *journal, uint64_t since, uint64_t upto)
{
    if (pmap__now() - since > WORTH && !pmap__journal_has(journal, upto))
        pmap__journal_flush(journal, NULL);
}

/* What has no number there has not been run. */
static bool is_lost(struct pmap__journal *journal, const char *call, bool cancelled, uint64_t upto, struct pmap_error *error)
{
    struct pmap_error why;

    if (!pmap__journal_broken(journal, &why) || (!cancelled && pmap__journal_has(journal, upto)))
        return false;
    pmap__error_set(error, PMAP_EJOURNAL, "%s: %.400s; what was computed is valid", call, why.text + strlen("pmap: "));
    return true;
}

void pmap__recall_settle(struct pmap__job *job)
{
    if (job->recall)
        settle(job->recall->journal, job->recall->since, pmap__recall_upto(job));
}

bool pmap__recall_lost(struct pmap__job *job, bool cancelled, struct pmap_error *error)
{
    return job->recall && is_lost(job->recall->journal, job->form.call, cancelled, pmap__recall_upto(job), error);
}

uint64_t pmap__recall_upto(const struct pmap__job *job)
{
    return job->recall ? atomic_load(&job->recall->upto) : 0;
}

bool pmap__recall_row_lost(struct pmap__journal *journal, const char *call, uint64_t since, uint64_t upto,
                           struct pmap_error *error)
{
    if (journal == NULL)
        return false;
    settle(journal, since, upto);
    return is_lost(journal, call, false, upto, error);
}
