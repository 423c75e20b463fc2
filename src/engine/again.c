/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What is run again: items that failed and may be tried once more, and those that were lost with a rank. Each is a child of its
 * job (job.h). The root's loop alone is here.
 */
#include "base/clock.h"
#include "base/error.h"
#include "engine/root_inside.h"

#include <stdlib.h>

static void put_off(struct pmap__root *root, struct pmap__job *child, uint64_t due)
{
    child->due = due;
    child->next = root->later;
    root->later = child;
}

static void run_again(struct pmap__root *root, struct pmap__job *child)
{
    uint64_t delay = child->form.retry_delay;

    if (delay)
        put_off(root, child, pmap__now() + delay);
    else if (child->losses)
        put_off(root, child, root->quiet);
    else
        pmap__root_open(root, child);
}

/* Its items are under way again, or not any more: for those who look. */
static void count_again(const struct pmap__job *child, bool more)
{
    size_t n = pmap__job_items(child, child->work.n), now = atomic_load(&child->parent->again);
    atomic_store(&child->parent->again, more ? now + n : now - n);
}

static void count_retry(const struct pmap__job *child)
{
    atomic_fetch_add(&child->parent->items_retried, pmap__job_items(child, child->work.n));
}

static void adopt(struct pmap__root *root, const struct pmap__job *job, struct pmap__job *child)
{
    child->root = root;
    child->place = job->place;
    child->all_threads = job->all_threads;
    child->times = job->times;
    child->id = job->id;
    child->subject = job->subject;
    child->subject.attempt = (unsigned)child->attempt;
    child->work.finished = job->work.finished;
    child->seats = job->seats;
    child->parent->children++;
    count_again(child, true);
}

static void raise_child(struct pmap__root *root, struct pmap__job *job, size_t item, size_t n, const struct pmap__record *record)
{
    struct pmap__job *child = pmap__job_again(job, item, n, record);

    if (child == NULL) {
        job->failures.forgot = true;
        return;
    }
    adopt(root, job, child);
    count_retry(child);
    run_again(root, child);
}

/* The positions were lost with this rank: why they will not be run again. */
static void give_up_lost(struct pmap__root *root, struct pmap__job *job, size_t begin, size_t n, int rank)
{
    const char *who = root->peers[rank].who ? root->peers[rank].who : "a rank died", *task = job->form.task->name;
    size_t item = pmap__job_at(job, begin) * (job->fold ? job->fold->leaf : 1);
    struct pmap_error error;

    if (job->form.aim)
        pmap__error_set(&error, PMAP_ELOST, "pmap: %s, and %s was for it alone", who, task);
    else if (job->losses + 1 < PMAP__LOSSES_MAX)
        pmap__error_set(&error, PMAP_ELOST, "pmap: %s while running item %zu of %s, and there was no memory to run it again", who, item, task);
    else
        pmap__error_set(&error, PMAP_ELOST, "pmap: %s failed at item %zu: %s while running it, as %d other ranks had", task, item, who,
                        job->losses);
    error.rank = rank;
    pmap__job_fail(job, begin, n, &error);
}

void pmap__again_lose(struct pmap__root *root, const struct pmap__ticket *ticket, bool counts)
{
    struct pmap__job *job = ticket->job, *child = NULL;
    size_t begin = ticket->begin, n = ticket->n;
    int losses = job->losses + counts;
    bool last_chance = losses + 1 == PMAP__LOSSES_MAX;

    atomic_fetch_add(job->parent ? &job->parent->items_lost : &job->items_lost, pmap__job_items(job, n));
    if (pmap__job_is_over(job)) {
        pmap__job_skip(job, begin, begin + n);
    } else if (job->form.aim || losses == PMAP__LOSSES_MAX) {
        give_up_lost(root, job, begin, n, ticket->rank);
        job->losses += job->attempt > 1;
    } else if (job->attempt > 1) {
        job->lost = true;
        job->losses = losses;
    } else if ((child = pmap__job_lost(job, begin, n, last_chance ? 1 : ticket->grain, losses)) == NULL) {
        give_up_lost(root, job, begin, n, ticket->rank);
    } else {
        adopt(root, job, child);
        put_off(root, child, root->quiet);
    }
    if (pmap__job_is_over(job))
        atomic_store(&root->cancels, true); /* perhaps these failures were too many */
}

/* Make a child of each item that failed in the first run, or of each block; what was not run has its verdict. */
void pmap__again_raise(struct pmap__root *root, struct pmap__job *job)
{
    job->children++; /* it must not end while we raise others */
    pthread_mutex_lock(&job->failures.lock);
    struct pmap__record *record = pmap__failures_take(&job->failures);
    pthread_mutex_unlock(&job->failures.lock);
    while (record) {
        struct pmap__record *next = record->next;
        size_t end = record->item + record->n, n = job->form.task->block && !job->fold ? record->n : 1;
        bool wanted = record->status != PMAP_ECANCELLED && record->status != PMAP_ELOST && !pmap__job_is_over(job);
        for (size_t item = record->item; item < end && wanted; item += n)
            raise_child(root, job, item, n, record);
        if (!wanted)
            pmap__job_never_again(job, record);
        pmap__record_free(record);
        record = next;
    }
    job->children--;
}

static void begin_anew(struct pmap__root *root, struct pmap__job *child)
{
    pmap__work_init(&child->work);
    child->rates = 0;
    child->rated_threads = 0;
    run_again(root, child);
}

/* A second run is over: well, or to be tried once more, or given up. Or what was lost has been run. */
void pmap__again_done(struct pmap__root *root, struct pmap__job *child)
{
    struct pmap__job *parent = child->parent;
    bool bad = child->failures.count || child->failures.cancelled, first = child->attempt == 1;
    bool again = !first && child->losses < PMAP__LOSSES_MAX && pmap__job_may_retry(child) && !pmap__job_is_over(parent);

    free(child->ranks);
    child->ranks = NULL;
    if (again) {
        pmap__job_retry(child);
        count_retry(child);
    }
    if (again || child->lost) {
        child->lost = false;
        begin_anew(root, child);
        return;
    }
    if (bad && first)
        pmap__job_merge(child);
    else if (bad)
        pmap__job_give_up(child);
    if (pmap__job_is_over(parent))
        atomic_store(&root->cancels, true); /* with this failure there are too many */
    parent->children--;
    count_again(child, false);
    pmap__job_fini(child);
    free(child);
    pmap__root_settle(root, parent);
}
/* ---- Those that are not due yet ---- */

/* When it may begin. What was lost with a rank waits until no other has died for a while. */
static uint64_t due_of(const struct pmap__root *root, const struct pmap__job *child)
{
    return child->losses && child->due < root->quiet ? root->quiet : child->due;
}

/* Open what has become due; say when the next will be. */
bool pmap__again_wake(struct pmap__root *root)
{
    struct pmap__job **at = &root->later;
    uint64_t now = root->later ? pmap__now() : 0;
    bool happened = false;

    root->loop.due = 0;
    while (*at) {
        struct pmap__job *child = *at;
        uint64_t due = due_of(root, child);
        if (due <= now) {
            *at = child->next;
            pmap__root_open(root, child);
            happened = true;
            continue;
        }
        if (root->loop.due == 0 || due < root->loop.due)
            root->loop.due = due;
        at = &child->next;
    }
    return happened;
}

/* Second runs of cancelled jobs that have not begun never will. */
void pmap__again_drop(struct pmap__root *root)
{
    struct pmap__job **at = &root->later, *dropped = NULL;

    while (*at) {
        struct pmap__job *child = *at;
        if (!pmap__job_is_over(child->parent)) {
            at = &child->next;
            continue;
        }
        *at = child->next;
        child->next = dropped;
        dropped = child;
    }
    while (dropped) {
        struct pmap__job *child = dropped;
        dropped = child->next;
        pmap__job_skip_rest(child);
        pmap__again_done(root, child);
    }
}
