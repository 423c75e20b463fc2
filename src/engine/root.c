/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The root's loop, and the lives of jobs.
 *
 * Callers put jobs into the inbox and ring, and give their works to the team, whose threads begin at once; the team puts a
 * note into the inbox when it has left a job. The loop opens a job by dealing chunks to the other ranks (deal.c). When
 * nothing of a job is outstanding the loop calls its callbacks and says that it is done.
 *
 * What needs no other rank takes a shorter way: a direct job goes straight to the team, and the team's last thread says that
 * it is done. All jobs are direct where there are no other ranks, and single items where a thread of the root is free for
 * them; but what has callbacks, or is to be run again, is completed by the loop all the same.
 *
 * Cancelling is a flag of the job that every thread in it, and everyone who hands out its items, looks at. Whoever
 * finds it set takes what is left of the items and notes that they were not run. The loop tells the other ranks, and
 * completes what nobody was in. Halting is the same, but for the items that run: they are not asked to stop.
 *
 * An interruption comes from the watcher (watch.h), which looks at each tenant: it is asked for, or a signal came, or the time is
 * nearly over. The tenant takes no jobs from then on, and its jobs are cancelled; or halted, one by one, when what is left
 * is too short for their items.
 */
#include "engine/root_inside.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/patience.h"
#include "base/signals.h"
#include "engine/here.h"
#include "engine/isolate.h"
#include "engine/post.h"
#include "engine/times.h"
#include "engine/wait.h"
#include "transport/lifeline.h"
#include "wire/frame.h"

#include <stdlib.h>
#include <string.h>

#define ATTENTIVE (200 * PMAP__US)

/* Under the lock: after it the root may be gone with the job. */
static void put_into_inbox(struct pmap__root *root, struct pmap__note *note)
{
    note->next = NULL;
    *root->inbox_last = note;
    root->inbox_last = &note->next;
    atomic_store(&root->mail, true);
    if (!pmap__guest_here())
        pmap__bell_ring(root->loop.bell);
}

static void tell(struct pmap__root *root, struct pmap__note *note)
{
    pthread_mutex_lock(&root->lock);
    put_into_inbox(root, note);
    pthread_mutex_unlock(&root->lock);
}

static void ring(struct pmap__root *root, atomic_bool *flag)
{
    pthread_mutex_lock(&root->lock);
    atomic_store(flag, true);
    pmap__bell_ring(root->loop.bell);
    pthread_mutex_unlock(&root->lock);
}

/* ---- Jobs that end ---- */

/* Out of the list of its tenant, whose pool may be gone after that. */
static void leave_tenant(struct pmap__root *root, struct pmap__job *job)
{
    pthread_mutex_lock(&root->lock);
    *(job->before ? &job->before->after : &job->tenant->jobs) = job->after;
    if (job->after)
        job->after->before = job->before;
    pthread_mutex_unlock(&root->lock);
}

static void complete(struct pmap__root *root, struct pmap__job *job)
{
    struct pmap__tenant *tenant = job->tenant;

    pmap__job_give_result(job);
    pmap__job_call_back(job);
    if (job->form.ended)
        job->form.ended(job, job->form.owner);
    leave_tenant(root, job);
    bool watched = pmap__job_done(job);
    atomic_fetch_sub(&root->pending, 1);
    if (atomic_load(&root->closing))
        pmap__bell_ring(root->loop.bell);
    bool last = atomic_fetch_sub(&tenant->pending, 1) == 1; /* the last touch of the tenant */
    if (watched || last)
        pmap__wait_over();
}

/* Is the job for the root's own threads alone? */
static bool is_mine(const struct pmap__root *root, const struct pmap__job *job)
{
    return job->form.aim && (root->port == NULL || job->form.aim - 1 == root->port->rank);
}

/* Where a job waits that has items for other ranks. */
static struct pmap__line *line_of(struct pmap__root *root, const struct pmap__job *job)
{
    return job->form.aim ? &root->peers[job->form.aim - 1].aimed : &root->open;
}

void pmap__root_unlist(struct pmap__root *root, struct pmap__job *job)
{
    if (!job->place_in_line.waiting)
        return;
    pmap__line_remove(line_of(root, job), &job->place_in_line);
    root->offer_around = true; /* the next job may suit ranks that this one had no chunk for */
}

/* ---- Running again ---- */

static void open_job(struct pmap__root *root, struct pmap__job *job);

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
        open_job(root, child);
}

static void adopt(struct pmap__root *root, const struct pmap__job *job, struct pmap__job *child)
{
    child->root = root;
    child->place = job->place;
    child->all_threads = job->all_threads;
    child->times = job->times;
    child->id = job->id;
    child->work.finished = job->work.finished;
    child->parent->children++;
}

static void raise_child(struct pmap__root *root, struct pmap__job *job, size_t item, size_t n, const struct pmap__record *record)
{
    struct pmap__job *child = pmap__job_again(job, item, n, record);

    if (child == NULL) {
        job->failures.forgot = true;
        return;
    }
    adopt(root, job, child);
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

void pmap__root_lose(struct pmap__root *root, const struct pmap__ticket *ticket, bool counts)
{
    struct pmap__job *job = ticket->job, *child = NULL;
    size_t begin = ticket->begin, n = ticket->n;
    int losses = job->losses + counts;
    bool last_chance = losses + 1 == PMAP__LOSSES_MAX;

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
static void raise_children(struct pmap__root *root, struct pmap__job *job)
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
static void child_done(struct pmap__root *root, struct pmap__job *child)
{
    struct pmap__job *parent = child->parent;
    bool bad = child->failures.count || child->failures.cancelled, first = child->attempt == 1;
    bool again = !first && child->losses < PMAP__LOSSES_MAX && pmap__job_may_retry(child) && !pmap__job_is_over(parent);

    free(child->ranks);
    child->ranks = NULL;
    if (again)
        pmap__job_retry(child);
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
    pmap__job_fini(child);
    free(child);
    pmap__root_settle(root, parent);
}

void pmap__root_settle(struct pmap__root *root, struct pmap__job *job)
{
    if (pmap__job_is_over(job))
        pmap__job_skip_rest(job);
    if (pmap__work_left(&job->work) > 0)
        return;
    if (job->form.retries && !job->parent)
        raise_children(root, job);
    if (job->away > 0)
        return;
    if (job->local && pmap__team_withdraw(root->team, &job->work))
        job->local = false;
    if (job->local || job->children > 0)
        return;
    pmap__root_unlist(root, job);
    root->alive--;
    if (job->parent)
        child_done(root, job);
    else
        complete(root, job);
}

/* ---- Jobs that begin ---- */

/* Does only the loop know how to end this job? */
static bool needs_loop(const struct pmap__job *job)
{
    return job->form.callback || job->form.error_callback || job->parent || job->form.retries;
}

/* The team has left the work, on its last thread. */
static void local_finished(struct pmap__work *work)
{
    struct pmap__job *job = (struct pmap__job *)work;

    if (job->direct && !needs_loop(job))
        complete(job->root, job);
    else
        tell(job->root, &job->local_done);
}

static bool make_ranks(struct pmap__root *root, struct pmap__job *job)
{
    if (job->place_in_line.single)
        return true;
    job->ranks = calloc((size_t)root->ranks, sizeof *job->ranks);
    return job->ranks != NULL;
}

/* Is there no rank any more that could run the job? */
static bool is_forsaken(const struct pmap__root *root, const struct pmap__job *job)
{
    return root->others == 0 || (job->form.aim && root->peers[job->form.aim - 1].dead);
}

static void why_without_ranks(const struct pmap__root *root, const struct pmap__job *job, struct pmap_error *error)
{
    const struct pmap__peer *peer = job->form.aim ? &root->peers[job->form.aim - 1] : NULL;

    if (peer && peer->dead)
        pmap__error_set(error, PMAP_ELOST, "pmap: %s, and %s was for it alone", peer->who ? peer->who : "a rank died", job->form.task->name);
    else if (root->others == 0)
        pmap__error_set(error, PMAP_ELOST, "pmap: no rank is left to run %s, for the root does not", job->form.task->name);
    else
        pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for the state of %d ranks", root->ranks);
}

/* There is no rank, or no memory, to deal chunks of the job: the root's threads run it alone, if they do at all. */
static void go_without_ranks(struct pmap__root *root, struct pmap__job *job)
{
    struct pmap_error error;
    size_t begin, end;

    if (job->local || !pmap__work_take_rest(&job->work, &begin, &end))
        return;
    why_without_ranks(root, job, &error);
    pmap__job_fail(job, begin, end - begin, &error);
    pmap__root_settle(root, job);
}

/* May threads of the root run this child? What was lost with a rank may have killed it, and the root must not die: so they do only
 * where nobody else is left. */
static bool is_for_root(const struct pmap__root *root, const struct pmap__job *child)
{
    bool harmless = child->losses == 0 || root->others == 0;
    return root->team && harmless && (child->form.aim == 0 || is_mine(root, child));
}

void pmap__root_forsake(struct pmap__root *root, struct pmap__queue *queue)
{
    struct pmap__job *job;

    while ((job = pmap__job_in_line(queue->first)) != NULL) {
        pmap__root_unlist(root, job);
        if (job->local || !job->parent || !is_for_root(root, job)) {
            go_without_ranks(root, job);
            continue;
        }
        job->local = true;
        if (!pmap__team_add_left(root->team, &job->work))
            job->local = false;
    }
}

static void open_job(struct pmap__root *root, struct pmap__job *job)
{
    root->alive++;
    job->known = true;
    bool mine = is_mine(root, job);
    if (job->parent && is_for_root(root, job)) {
        job->local = true;
        pmap__team_add(root->team, &job->work);
    }
    if (job->work.n == 0 || pmap__job_is_over(job)) {
        pmap__root_settle(root, job);
    } else if (root->port && !mine && is_forsaken(root, job)) {
        go_without_ranks(root, job);
    } else if (root->port && !mine && make_ranks(root, job)) {
        pmap__line_add(line_of(root, job), &job->place_in_line);
        root->offer_around = true;
    } else if (root->port && !mine) {
        go_without_ranks(root, job);
    }
}

/* ---- Notes to the loop ---- */

static void read_note(struct pmap__root *root, struct pmap__job *job, enum pmap__news news)
{
    if (news == PMAP__SUBMITTED) {
        open_job(root, job);
        return;
    }
    if (job->direct) { /* it is the loop's from here on */
        job->direct = false;
        job->known = true;
        root->alive++;
    }
    job->local = false;
    pmap__root_settle(root, job);
}

static bool read_inbox(struct pmap__root *root)
{
    if (!atomic_load_explicit(&root->mail, memory_order_acquire))
        return false;
    pthread_mutex_lock(&root->lock);
    atomic_store(&root->mail, false);
    struct pmap__note *note = root->inbox;
    root->inbox = NULL;
    root->inbox_last = &root->inbox;
    pthread_mutex_unlock(&root->lock);
    while (note) {
        struct pmap__job *job = note->job;
        enum pmap__news news = note->news;
        note = note->next; /* the job, and the note in it, may be gone after this */
        read_note(root, job, news);
    }
    return true;
}

/* Those of a tenant that are cancelled, or halted, and nobody else will complete: what the loop knows, and direct jobs that no thread has
 * begun. Under the lock, so that none of them can be completed meanwhile by the team. */
static struct pmap__job *find_cancelled(struct pmap__root *root, struct pmap__tenant *tenant, struct pmap__job *list)
{
    for (struct pmap__job *job = tenant->jobs; job; job = job->after) {
        if (!pmap__job_is_over(job))
            continue;
        if (job->direct ? !pmap__team_withdraw(root->team, &job->work) : !job->known)
            continue; /* a thread is in it, or just leaving; or it is on its way to us, and we shall see then */
        job->next = list;
        list = job;
    }
    return list;
}

static void settle_cancelled(struct pmap__root *root, struct pmap__job *job)
{
    pmap__job_skip_rest(job);
    if (job->direct) {
        job->direct = false;
        root->alive++;
    } else if (!job->told && atomic_load(&job->cancelled)) {
        job->told = true;
        pmap__deal_cancel(root, job);
    }
    pmap__root_settle(root, job);
}

/* Second runs of cancelled jobs that have not begun never will. */
static void drop_later(struct pmap__root *root)
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
        child_done(root, child);
    }
}

/* What cannot be written down any more is not computed any more. Under the lock. */
static void cancel_unrecorded(struct pmap__tenant *tenant)
{
    if (tenant->journal == NULL || !pmap__journal_broken(tenant->journal, NULL))
        return;
    for (struct pmap__job *job = tenant->jobs; job; job = job->after)
        if (job->recall)
            atomic_store(&job->cancelled, true);
}

static bool handle_cancels(struct pmap__root *root)
{
    struct pmap__job *list = NULL;

    if (!atomic_load_explicit(&root->cancels, memory_order_acquire))
        return false;
    pthread_mutex_lock(&root->lock);
    atomic_store(&root->cancels, false);
    for (struct pmap__tenant *tenant = root->tenants; tenant; tenant = tenant->next) {
        cancel_unrecorded(tenant);
        list = find_cancelled(root, tenant, list);
    }
    pthread_mutex_unlock(&root->lock);
    while (list) {
        struct pmap__job *job = list;
        list = job->next;
        settle_cancelled(root, job);
    }
    drop_later(root);
    return true;
}

/* When it may begin. What was lost with a rank waits until no other has died for a while. */
static uint64_t due_of(const struct pmap__root *root, const struct pmap__job *child)
{
    return child->losses && child->due < root->quiet ? root->quiet : child->due;
}

/* Open what has become due; say when the next will be. */
static bool wake_later(struct pmap__root *root)
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
            open_job(root, child);
            happened = true;
            continue;
        }
        if (root->loop.due == 0 || due < root->loop.due)
            root->loop.due = due;
        at = &child->next;
    }
    return happened;
}

/* ---- Sharing ----
 *
 * To share is a collective call, and whoever has entered one hears nothing until all have. A rank that lends its thread comes
 * only between two items, so nobody enters before everybody can: the loop tells the ranks to HOLD and goes on with all else,
 * cancels above all; each rank says that it is READY; at the last of them the loop says SHARE or UNSHARE, and all enter.
 * One at a time, in the order of the calls. */

static void tell_ranks(struct pmap__root *root, const struct pmap__frame *frame)
{
    if (root->port && !pmap__deal_tell(root, frame))
        root->port->ops->abort(root->port, "pmap: ranks could not be told of shared data");
}

/* The root's part; collective over the port, if it is not NULL. */
static void keep(struct pmap__root *root, struct pmap__sharing *s, struct pmap__port *port)
{
    s->status = pmap__shares_add(&root->shared, port, port ? port->rank : 0, s->id, s->data, s->size);
    if (s->status != PMAP_OK)
        return;
    atomic_store(&((struct pmap__tenant *)(uintptr_t)s->tenant)->shares, true);
    pmap__shares_find(&root->shared, NULL, s->id)->tenant = s->tenant;
}

static void share(struct pmap__root *root, struct pmap__sharing *s)
{
    tell_ranks(root, &(struct pmap__frame){.kind = PMAP__SHARE, .id = s->id, .size = s->size});
    keep(root, s, root->port);
    if (s->status == PMAP_EMPI)
        root->port->ops->abort(root->port, "pmap: data could not be shared");
}

/* What the tenant shares under this id, or one of all. */
static void take_away(struct pmap__root *root, struct pmap__sharing *s)
{
    struct pmap__shared *shared = pmap__shares_find(&root->shared, s->tenant, s->id);

    tell_ranks(root, &(struct pmap__frame){.kind = PMAP__UNSHARE, .id = shared->id, .size = shared->size});
    pmap__shares_remove(&root->shared, root->port, shared->id);
    s->status = PMAP_OK;
}

/* Is there (still) something for it to take away? */
static bool finds(const struct pmap__root *root, const struct pmap__sharing *s)
{
    return pmap__shares_find(&root->shared, s->tenant, s->id) != NULL;
}

/* Begin with a request, or with the next part of it; or it is over, and gone. */
static void gather(struct pmap__root *root, struct pmap__sharing *s, bool more)
{
    root->gathering = more ? s : NULL;
    root->ready = 0;
    if (more) {
        tell_ranks(root, &(struct pmap__frame){.kind = PMAP__HOLD});
        return;
    }
    atomic_store(&s->done, true);
    pmap__wait_over();
}

static struct pmap__sharing *next_request(struct pmap__root *root)
{
    if (!atomic_load_explicit(&root->shares, memory_order_acquire) || root->said_bye)
        return NULL;
    pthread_mutex_lock(&root->lock);
    struct pmap__sharing *s = root->sharing;
    if (s)
        root->sharing = s->next;
    if (root->sharing == NULL) {
        root->sharing_last = &root->sharing;
        atomic_store(&root->shares, false);
    }
    pthread_mutex_unlock(&root->lock);
    return s;
}

/* ---- Sharing among ranks that may die ----
 *
 * A collective call would wait for the dead. So each rank is sent a copy of its own, behind everything else that it is sent, and says
 * when it has it. What is on its way at a time is bounded, for it is memory of the root's. */

/* Bytes on their way; a single copy may be more. */
#define ROUND_MAX ((size_t)256 << 20)

static bool is_each_given_own(const struct pmap__root *root)
{
    return root->port && root->port->survives;
}

/* False if it has to wait. */
static bool give_copy(struct pmap__root *root, int rank)
{
    const struct pmap__sharing *s = root->gathering;
    struct pmap__frame frame = {.kind = PMAP__SHARE, .id = s->id, .size = s->size};
    unsigned char head[PMAP__HEAD_MAX];

    if (rank == root->port->rank || root->peers[rank].dead)
        return true;
    if (root->owing > 0 && s->size > ROUND_MAX / (size_t)(root->owing + 1))
        return false;
    enum pmap_status status = root->port->ops->send(root->port, rank, head, pmap__frame_encode(&frame, head), s->data, s->size, NULL);
    if (status == PMAP_EMPI)
        root->port->ops->abort(root->port, "pmap: data could not be shared");
    root->refused |= status != PMAP_OK;
    root->peers[rank].owes = status == PMAP_OK;
    root->owing += status == PMAP_OK;
    return true;
}

void pmap__root_hand_round(struct pmap__root *root)
{
    while (root->given < root->ranks && (root->refused || give_copy(root, root->given)))
        root->given++;
}

static void begin_round(struct pmap__root *root, struct pmap__sharing *s)
{
    root->given = root->owing = 0;
    root->refused = false;
    while (s->remove && finds(root, s))
        take_away(root, s);
    if (!s->remove)
        keep(root, s, NULL);
    if (s->remove || s->status != PMAP_OK) {
        gather(root, s, false);
        return;
    }
    root->gathering = s;
    pmap__root_hand_round(root);
}

static bool go_on_round(struct pmap__root *root, struct pmap__sharing *s)
{
    if (root->given < root->ranks || root->owing > 0)
        return false;
    if (root->refused) {
        take_away(root, s);
        s->status = PMAP_ENOMEM;
    }
    gather(root, s, false);
    return true;
}

static bool handle_shares(struct pmap__root *root)
{
    struct pmap__sharing *s = root->gathering;

    if (s && is_each_given_own(root))
        return go_on_round(root, s);
    if (s == NULL && is_each_given_own(root)) {
        s = next_request(root);
        if (s)
            begin_round(root, s);
        return s != NULL;
    }
    if (s == NULL) {
        s = next_request(root);
        if (s)
            gather(root, s, !s->remove || finds(root, s));
        return s != NULL;
    }
    if (root->ready < root->ranks - 1)
        return false;
    if (s->remove)
        take_away(root, s);
    else
        share(root, s);
    gather(root, s, s->remove && finds(root, s));
    return true;
}

static bool is_shared(const void *argument)
{
    return atomic_load(&((const struct pmap__sharing *)argument)->done);
}

static enum pmap_status request(struct pmap__root *root, struct pmap__sharing *s)
{
    atomic_init(&s->done, false);
    s->next = NULL;
    pthread_mutex_lock(&root->lock);
    *root->sharing_last = s;
    root->sharing_last = &s->next;
    pthread_mutex_unlock(&root->lock);
    ring(root, &root->shares);
    pmap__wait(is_shared, s, PMAP__FOR_EVER);
    return s->status;
}

enum pmap_status pmap__tenant_share(struct pmap__tenant *tenant, uint64_t id, const void *data, size_t size,
                                    struct pmap_error *error)
{
    struct pmap__sharing s = {.tenant = tenant, .id = id, .data = data, .size = size};
    if (request(tenant->root, &s) == PMAP_OK)
        return PMAP_OK;
    return pmap__error_set(error, s.status, "pmap_share: no memory for %zu bytes on some node", size);
}

enum pmap_status pmap__tenant_unshare(struct pmap__tenant *tenant, uint64_t id, struct pmap_error *error)
{
    struct pmap__sharing s = {.remove = true, .tenant = tenant, .id = id, .status = PMAP_EINVAL}; /* if there is none */
    if (request(tenant->root, &s) == PMAP_OK)
        return PMAP_OK;
    return pmap__error_set(error, s.status, "pmap_unshare: the pool has no shared data with this handle");
}

/* ---- The loop ---- */

/* Everything is done and the pool shall end: tell the ranks, and let go of the port once they have been told. */
static void close_up(struct pmap__root *root)
{
    pmap__journals_flush(); /* of pools that their program has left without pmap_destroy */
    if (root->port && !root->said_bye) {
        struct pmap__frame frame = {.kind = PMAP__BYE, .met = &root->met};
        root->met = root->port->met;
        root->met.root = root->port->rank;
        root->said_bye = true;
        if (!pmap__deal_tell(root, &frame))
            root->port->ops->abort(root->port, "pmap: the end of the pool could not be sent");
    }
    if (root->port && root->port->ops->active(root->port))
        return;
    pmap__shares_clear(&root->shared, root->port);
    if (root->port)
        root->port->ops->close(root->port, &root->met);
    root->port = NULL;
    root->loop.finished = true;
}

/* The cost of a message, to know when the root saturates. Copying large bodies does not count: larger chunks would
 * not make it less. */
static void measure_service(struct pmap__root *root, uint64_t since)
{
    if (since && root->handled && root->moved / root->handled < 65536) {
        uint64_t each = (pmap__now() - since) / root->handled;
        root->service_ns = (3 * root->service_ns + each) / 4;
    }
    root->handled = root->moved = 0;
}

/* How long nothing need be done that somebody waits for: half of the time for which the ranks have work. What the root's
 * own threads do rings. Below ATTENTIVE the loop had better spin, unless it would take a CPU from them. */
static uint64_t how_long_to_nap(struct pmap__root *root)
{
    if (root->alive == 0)
        return 0;
    if (root->chunks_away == 0)
        return root->offer_around ? PMAP__NAP_MIN : PMAP__NAP_MAX;
    uint64_t nap = root->supplied_ns / 2;
    if (nap < ATTENTIVE)
        return root->team && pmap__team_busy(root->team) ? PMAP__NAP_MIN : 0;
    return nap < PMAP__NAP_MAX ? nap : PMAP__NAP_MAX;
}

static bool send_letters(struct pmap__root *root)
{
    enum pmap_status status = PMAP_OK;
    bool any = root->place->post && pmap__post_flush(root->place->post, &status);

    if (status != PMAP_OK)
        root->port->ops->abort(root->port, "pmap: a letter could not be sent");
    return any;
}

static bool step(struct pmap__loop *loop)
{
    struct pmap__root *root = (struct pmap__root *)loop; /* its first member */
    bool timed = root->port && root->steps++ % 8 == 0; /* a sample is enough: reading the clock costs as much as a message */
    uint64_t since = timed ? pmap__now() : 0;
    bool happened = pmap__loss_handle(root);

    happened |= read_inbox(root);
    happened |= handle_cancels(root);
    happened |= handle_shares(root);
    happened |= wake_later(root);
    happened |= send_letters(root);
    if (root->offer_around) /* first: a look at the network takes as long as a message */
        pmap__deal_around(root);
    if (root->port)
        happened |= pmap__deal_poll(root);
    pmap__deal_clean(root);
    if (root->offer_around)
        pmap__deal_around(root);
    measure_service(root, since);
    loop->nap = how_long_to_nap(root);
    bool at_rest = atomic_load(&root->pending) == 0 && !atomic_load(&root->mail) && root->gathering == NULL;
    if (atomic_load(&root->closing) && at_rest)
        close_up(root);
    return happened;
}

static bool quiet(struct pmap__loop *loop)
{
    struct pmap__root *root = (struct pmap__root *)loop;
    return atomic_load(&root->pending) == 0 && !atomic_load(&root->cancels) && !atomic_load(&root->shares) &&
           root->gathering == NULL && !atomic_load(&root->closing);
}

/* ---- For the callers ---- */

enum pmap_status pmap__root_admits(const struct pmap__root *root, struct pmap_error *error)
{
    if (!root->caller_steps || pthread_equal(root->creator, pthread_self()))
        return PMAP_OK;
    return pmap__error_set(error, PMAP_EINVAL,
                           "pmap: this thread may not use the pool: the program initialised MPI below "
                           "MPI_THREAD_MULTIPLE, so only the thread that created the pool may");
}

/* Its loop is told if note is not NULL. */
static bool join_tenant(struct pmap__tenant *tenant, struct pmap__job *job, struct pmap__note *note)
{
    struct pmap__root *root = tenant->root;

    pthread_mutex_lock(&root->lock);
    bool open = tenant->state == PMAP__OPEN || (tenant->state == PMAP__CLOSED && job->form.late) || job->form.last;
    open = open && pmap__interrupt_admits(tenant, job);
    if (open) {
        job->before = NULL;
        job->after = tenant->jobs;
        if (job->after)
            job->after->before = job;
        tenant->jobs = job;
        atomic_fetch_add(&tenant->pending, 1);
        atomic_fetch_add(&root->pending, 1);
    }
    if (open && note)
        put_into_inbox(root, note);
    pthread_mutex_unlock(&root->lock);
    return open;
}

static enum pmap_status refusal(struct pmap__tenant *tenant, const char *call, struct pmap_error *error)
{
    if (pmap__cause_is_set(&tenant->cause))
        return pmap__cause_error(&tenant->cause, call, NULL, error);
    return pmap__error_set(error, PMAP_ECLOSED, "%s: the pool is closed", call);
}

/* No thread of the root was free for it. */
static void submit_to_loop(struct pmap__root *root, struct pmap__job *job)
{
    pthread_mutex_lock(&root->lock);
    job->direct = false;
    job->local = true;
    put_into_inbox(root, &job->submitted);
    pthread_mutex_unlock(&root->lock);
}

static enum pmap_status submit(struct pmap__tenant *tenant, struct pmap__job *job, struct pmap_error *error)
{
    struct pmap__root *root = tenant->root;

    job->root = root;
    job->tenant = tenant;
    job->place = root->place;
    job->own_fold.place = root->place;
    job->own_fold.verdict = pmap__job_verdict(job);
    job->own_fold.cancelled = pmap__job_flag(job);
    job->all_threads = root->all_threads;
    job->id = atomic_fetch_add(&root->last_id, 1) + 1;
    enum pmap_status status = pmap__recall_begin(job, tenant->journal, error);
    if (status != PMAP_OK)
        return status;
    job->work.finished = local_finished;
    bool mine = is_mine(root, job), local = root->team && job->work.n > 0 && (mine || job->form.aim == 0);
    bool direct = local && (root->port == NULL || job->place_in_line.single);
    job->direct = direct;
    job->local = local && !direct;
    if (!join_tenant(tenant, job, direct ? NULL : &job->submitted))
        return refusal(tenant, job->form.call, error);
    if (direct && (root->port == NULL || mine)) {
        pmap__team_add(root->team, &job->work);
        return PMAP_OK;
    }
    if (direct && pmap__team_offer(root->team, &job->work))
        return PMAP_OK;
    if (direct)
        submit_to_loop(root, job);
    /* The loop must have opened it before it hears that the team has left it: so the team comes last. Other ranks may have been
     * faster by then, and the loop, with them, may have tried to end the job. */
    if (local && !pmap__team_add_left(root->team, &job->work))
        tell(root, &job->local_done);
    return PMAP_OK;
}

enum pmap_status pmap__tenant_submit(struct pmap__tenant *tenant, struct pmap__job *job, struct pmap_error *error)
{
    enum pmap_status status = submit(tenant, job, error);

    if (status != PMAP_OK)
        pmap__job_refuse(job);
    return status;
}

void pmap__root_cancel(struct pmap__root *root, struct pmap__job *job)
{
    atomic_store(&job->cancelled, true);
    ring(root, &root->cancels);
}

int pmap__root_ranks(const struct pmap__root *root)
{
    return root->ranks;
}

int pmap__root_living(const struct pmap__root *root)
{
    return root->others + 1;
}

bool pmap__root_survives(const struct pmap__root *root)
{
    return root->survives;
}

int pmap__root_threads(const struct pmap__root *root)
{
    return root->all_threads;
}

int pmap__root_own_threads(const struct pmap__root *root)
{
    return root->own_threads;
}

int pmap__root_threads_of(const struct pmap__root *root, int rank)
{
    bool mine = root->port == NULL || rank == root->port->rank;
    return mine ? root->own_threads : root->peers[rank].threads;
}

int pmap__root_asked_threads(const struct pmap__root *root)
{
    return root->asked;
}

const struct pmap__place *pmap__root_place(const struct pmap__root *root)
{
    return root->place;
}

/* ---- Life ---- */

/* The process exits: what is not done never will be. */
static void abandon(struct pmap__loop *loop)
{
    struct pmap__root *root = (struct pmap__root *)loop;

    pthread_mutex_lock(&root->lock);
    for (struct pmap__tenant *tenant = root->tenants; tenant; tenant = tenant->next) {
        tenant->state = PMAP__TERMINATED;
        pmap__interrupt_cancel(tenant, true);
    }
    pthread_mutex_unlock(&root->lock);
    atomic_store(&root->closing, true);
    ring(root, &root->cancels);
}

void pmap__root_discard(struct pmap__root *root)
{
    if (root == NULL)
        return;
    if (root->caller_steps)
        pmap__caller_remove(&root->loop);
    else
        pmap__progress_release();
    pmap__tickets_fini(&root->tickets);
    pmap__watch_release();
    pmap__times_free(root->times);
    for (int rank = 0; rank < root->ranks; rank++)
        free(root->peers[rank].who);
    free(root->peers);
    pthread_mutex_destroy(&root->lock);
    free(root);
}

enum pmap_status pmap__root_create(const struct pmap__root_parts *parts, struct pmap__root **root)
{
    struct pmap__root *r = calloc(1, sizeof *r);

    if (r == NULL)
        return PMAP_ENOMEM;
    r->loop = (struct pmap__loop){.step = step, .abandon = abandon, .quiet = quiet, .polls = parts->port != NULL};
    r->port = parts->port;
    r->team = parts->team;
    r->place = parts->place;
    r->caller_steps = parts->caller_steps;
    r->asked = parts->asked;
    r->closed = parts->closed;
    r->argument = parts->argument;
    r->creator = pthread_self();
    r->inbox_last = &r->inbox;
    r->sharing_last = &r->sharing;
    r->service_ns = 2 * PMAP__US; /* until measured: what a message costs on a common machine */
    r->ranks = r->port ? r->port->size : 1;
    r->survives = parts->survives;
    atomic_init(&r->others, r->ranks - 1);
    r->shared.shelved = r->place->cells;
    r->shared.file = pmap__cells_file(r->place->cells);
    r->peers = calloc((size_t)r->ranks, sizeof *r->peers);
    if (r->peers == NULL)
        goto fail;
    pthread_mutex_init(&r->lock, NULL); /* glibc's cannot fail */
    if (r->place->post)
        r->place->post->loop = &r->loop;
    r->watched.look = pmap__interrupt_look;
    if (pmap__watch_hold() != PMAP_OK)
        goto fail;
    if ((r->caller_steps ? pmap__caller_add(&r->loop) : pmap__progress_hold()) != PMAP_OK) {
        pmap__watch_release();
        goto fail;
    }
    *root = r;
    return PMAP_OK;
fail:
    free(r->peers);
    free(r);
    return PMAP_ENOMEM;
}

void pmap__root_start(struct pmap__root *root, const int threads[])
{
    root->own_threads = root->team ? pmap__team_threads(root->team) : 0;
    atomic_store(&root->all_threads, root->own_threads);
    for (int rank = 0; root->port && rank < root->ranks; rank++)
        if (rank != root->port->rank) { /* the root needs no messages: as a peer it has no threads */
            atomic_store(&root->peers[rank].threads, threads[rank]);
            atomic_fetch_add(&root->all_threads, threads[rank]);
        }
    for (int rank = 0; root->port && root->port->survives && rank < root->ranks; rank++)
        if (pmap__lifeline_is_gone(root->port->lifeline, rank))
            pmap__loss_count(root, rank);
    if (root->port)
        root->port->owner = root;
    if (!root->caller_steps)
        pmap__progress_add(&root->loop);
    if (root->port && root->port->lifeline)
        pmap__lifeline_watch(root->port->lifeline, root->loop.bell, root->survives);
    pmap__watch_add(&root->watched);
}

static bool is_finished(const void *loop)
{
    return ((const struct pmap__loop *)loop)->finished;
}

static void root_destroy(struct pmap__root *root)
{
    struct pmap__team *team = root->team;
    void (*closed)(void *) = root->closed;
    void *argument = root->argument;

    pmap__watch_remove(&root->watched);
    ring(root, &root->closing);
    if (root->caller_steps)
        pmap__caller_run(is_finished, &root->loop, PMAP__FOR_EVER);
    else
        pmap__progress_join(&root->loop);
    pmap__team_destroy(team); /* its threads may just be ringing for the last time */
    pmap__root_discard(root);
    if (closed)
        closed(argument);
}

/* ---- Tenants ---- */

/* The journal cannot be written to any more; by its own thread. */
static void journal_broke(void *argument)
{
    struct pmap__root *root = argument;
    ring(root, &root->cancels);
}

void pmap__tenant_enter(struct pmap__tenant *tenant, struct pmap__root *root, struct pmap__journal *journal, bool signals,
                        double walltime)
{
    *tenant = (struct pmap__tenant){.root = root, .state = PMAP__OPEN, .journal = journal, .signals = signals};
    if (journal)
        pmap__journal_alarm(journal, journal_broke, root);
    if (walltime > 0)
        tenant->limit = pmap__limit_in((uint64_t)(walltime * 1e9));
    tenant->limited = walltime > 0 || (walltime == 0 && pmap__watch_expects_limit());
    if (signals)
        pmap__signals_hold();
    pmap__cause_init(&tenant->cause);
    atomic_init(&tenant->asked, false);
    atomic_init(&tenant->pending, 0);
    atomic_init(&tenant->shares, false);
    pthread_mutex_lock(&root->lock);
    tenant->next = root->tenants;
    root->tenants = tenant;
    pthread_mutex_unlock(&root->lock);
    pmap__signals_ring(); /* the watcher has another clock to look at, perhaps, and a signal may have come before */
}

static void set_state(struct pmap__tenant *tenant, enum pmap__tenancy state)
{
    pthread_mutex_lock(&tenant->root->lock);
    if (state > tenant->state)
        tenant->state = state;
    if (state == PMAP__TERMINATED)
        pmap__interrupt_cancel(tenant, false);
    pthread_mutex_unlock(&tenant->root->lock);
}

void pmap__tenant_close(struct pmap__tenant *tenant)
{
    set_state(tenant, PMAP__CLOSED);
}

void pmap__tenant_terminate(struct pmap__tenant *tenant)
{
    set_state(tenant, PMAP__TERMINATED);
    ring(tenant->root, &tenant->root->cancels);
}

enum pmap__tenancy pmap__tenant_state(struct pmap__tenant *tenant)
{
    pthread_mutex_lock(&tenant->root->lock);
    enum pmap__tenancy state = tenant->state;
    pthread_mutex_unlock(&tenant->root->lock);
    return state;
}

enum pmap_status pmap__tenant_admits(struct pmap__tenant *tenant, const char *call, struct pmap_error *error)
{
    pthread_mutex_lock(&tenant->root->lock);
    bool open = tenant->state == PMAP__OPEN && pmap__interrupt_admits(tenant, NULL);
    pthread_mutex_unlock(&tenant->root->lock);
    return open ? PMAP_OK : refusal(tenant, call, error);
}

static bool is_empty(const void *tenant)
{
    return atomic_load(&((const struct pmap__tenant *)tenant)->pending) == 0;
}

void pmap__tenant_hold(struct pmap__tenant *tenant)
{
    atomic_fetch_add(&tenant->pending, 1);
    atomic_fetch_add(&tenant->root->pending, 1);
}

void pmap__tenant_release(struct pmap__tenant *tenant)
{
    struct pmap__root *root = tenant->root;

    pthread_mutex_lock(&root->lock); /* so that the root outlives its bell's ringing */
    atomic_fetch_sub(&root->pending, 1);
    atomic_fetch_sub(&tenant->pending, 1);
    pmap__bell_ring(root->loop.bell);
    pthread_mutex_unlock(&root->lock);
    pmap__wait_over();
}

void pmap__tenant_join(struct pmap__tenant *tenant)
{
    pmap__wait(is_empty, tenant, PMAP__FOR_EVER);
}

/* All of its calls have ended. */
static void close_journal(struct pmap__tenant *tenant)
{
    struct pmap_error error;

    pthread_mutex_lock(&tenant->root->lock);
    struct pmap__journal *journal = tenant->journal;
    tenant->journal = NULL;
    pthread_mutex_unlock(&tenant->root->lock);
    if (pmap__journal_close(journal, &error) != PMAP_OK)
        pmap__warn("%s", error.text + strlen("pmap: "));
}

void pmap__tenant_leave(struct pmap__tenant *tenant)
{
    struct pmap__root *root = tenant->root;
    struct pmap__sharing all = {.remove = true, .tenant = tenant};

    close_journal(tenant);
    if (atomic_load(&tenant->shares))
        request(root, &all);
    pthread_mutex_lock(&root->lock);
    struct pmap__tenant **at = &root->tenants;
    while (*at != tenant)
        at = &(*at)->next;
    *at = tenant->next;
    bool last = root->tenants == NULL, signals = tenant->signals;
    pthread_mutex_unlock(&root->lock);
    if (last)
        root_destroy(root);
    if (signals)
        pmap__signals_release();
}
