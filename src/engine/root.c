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
#include "base/screen.h"
#include "engine/here.h"
#include "engine/isolate.h"
#include "engine/post.h"
#include "engine/times.h"
#include "engine/wait.h"
#include "transport/lifeline.h"
#include "wire/frame.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ATTENTIVE (200 * PMAP__US)

/* Under the lock: after it the root may be gone with the job. */
void pmap__root_post(struct pmap__root *root, struct pmap__note *note)
{
    note->next = NULL;
    *root->inbox_last = note;
    root->inbox_last = &note->next;
    atomic_store(&root->mail, true);
    if (!pmap__guest_here())
        pmap__bell_ring(root->loop.bell);
}

void pmap__root_tell(struct pmap__root *root, struct pmap__note *note)
{
    pthread_mutex_lock(&root->lock);
    pmap__root_post(root, note);
    pthread_mutex_unlock(&root->lock);
}

void pmap__root_ring(struct pmap__root *root, atomic_bool *flag)
{
    pthread_mutex_lock(&root->lock);
    atomic_store(flag, true);
    pmap__bell_ring(root->loop.bell);
    pthread_mutex_unlock(&root->lock);
}

/* ---- Jobs that end ---- */

/* Out of the list of its tenant. True if whoever shows the tenant has to be told that this was the last. */
static bool leave_tenant(struct pmap__root *root, struct pmap__job *job)
{
    pthread_mutex_lock(&root->lock);
    pmap__view_over(job);
    *(job->before ? &job->before->after : &job->tenant->jobs) = job->after;
    if (job->after)
        job->after->before = job->before;
    bool last = pmap__view_left(job);
    pthread_mutex_unlock(&root->lock);
    return last;
}

static void complete(struct pmap__root *root, struct pmap__job *job)
{
    struct pmap__tenant *tenant = job->tenant;

    pmap__job_give_result(job);
    pmap__observe_end(job, NULL);
    if (job->form.callback || job->form.error_callback)
        pmap__screen_yield();
    pmap__job_call_back(job);
    if (job->form.ended)
        job->form.ended(job, job->form.owner);
    if (leave_tenant(root, job))
        tenant->shown.idle(tenant->shown.owner);
    bool watched = pmap__job_done(job);
    atomic_fetch_sub(&root->pending, 1);
    if (atomic_load(&root->closing))
        pmap__bell_ring(root->loop.bell);
    bool last = atomic_fetch_sub(&tenant->pending, 1) == 1; /* the last touch of the tenant */
    if (watched || last)
        pmap__wait_over();
}

/* Is the job for the root's own threads alone? */
bool pmap__root_has_alone(const struct pmap__root *root, const struct pmap__job *job)
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

void pmap__root_settle(struct pmap__root *root, struct pmap__job *job)
{
    if (pmap__job_is_over(job))
        pmap__job_skip_rest(job);
    if (pmap__work_left(&job->work) > 0)
        return;
    if (job->form.retries && !job->parent)
        pmap__again_raise(root, job);
    if (job->away > 0)
        return;
    if (job->local && pmap__team_withdraw(root->team, &job->work))
        job->local = false;
    if (job->local || job->children > 0)
        return;
    pmap__root_unlist(root, job);
    root->alive--;
    if (job->parent)
        pmap__again_done(root, job);
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
void pmap__root_local_finished(struct pmap__work *work)
{
    struct pmap__job *job = (struct pmap__job *)work;

    if (job->direct && !needs_loop(job))
        complete(job->root, job);
    else
        pmap__root_tell(job->root, &job->local_done);
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
    return root->team && harmless && (child->form.aim == 0 || pmap__root_has_alone(root, child));
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

void pmap__root_open(struct pmap__root *root, struct pmap__job *job)
{
    root->alive++;
    job->known = true;
    bool mine = pmap__root_has_alone(root, job);
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
        pmap__root_open(root, job);
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
    pmap__again_drop(root);
    return true;
}

/* ---- The loop ---- */

/* The observers of pools that their program has left without pmap_destroy. */
static void tell_abandoned(struct pmap__root *root)
{
    pthread_mutex_lock(&root->lock);
    for (struct pmap__tenant *tenant = root->tenants; tenant && !root->said_bye; tenant = tenant->next)
        if (tenant->observer)
            tenant->observer->ops->abandoned(tenant->observer);
    pthread_mutex_unlock(&root->lock);
}

/* Everything is done and the pool shall end: tell the ranks, and let go of the port once they have been told. */
static void close_up(struct pmap__root *root)
{
    tell_abandoned(root);
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
    happened |= pmap__sharing_handle(root);
    happened |= pmap__again_wake(root);
    happened |= pmap__view_answer(root);
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

void pmap__root_cancel(struct pmap__root *root, struct pmap__job *job)
{
    atomic_store(&job->cancelled, true);
    pmap__root_ring(root, &root->cancels);
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
    pmap__root_ring(root, &root->cancels);
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
    free(root->seats);
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
    r->rank = r->port ? r->port->rank : 0;
    r->since = pmap__now();
    r->seated = r->team ? pmap__team_threads(r->team) : 0;
    r->survives = parts->survives;
    atomic_init(&r->others, r->ranks - 1);
    r->shared.shelved = r->place->cells;
    r->shared.file = pmap__cells_file(r->place->cells);
    r->peers = calloc((size_t)r->ranks, sizeof *r->peers);
    r->seats = calloc((size_t)r->seated + 1, sizeof *r->seats);
    if (r->peers == NULL || r->seats == NULL)
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
    free(r->seats);
    free(r->peers);
    free(r);
    return PMAP_ENOMEM;
}

/* Where it is, for those who look. Ranks that are not processes are here. */
static void find_peer(const struct pmap__root *root, struct pmap__peer *peer, int rank)
{
    const struct pmap__port *port = root->port;
    bool here = port == NULL || !port->mortal;

    if (!here && port->lifeline && pmap__lifeline_where(port->lifeline, rank, peer->host, &peer->pid))
        return;
    peer->pid = here ? (int)getpid() : 0;
    if (here)
        memcpy(peer->host, root->place->host, sizeof peer->host);
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
    for (int rank = 0; rank < root->ranks; rank++)
        find_peer(root, &root->peers[rank], rank);
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

void pmap__root_destroy(struct pmap__root *root)
{
    struct pmap__team *team = root->team;
    void (*closed)(void *) = root->closed;
    void *argument = root->argument;

    pmap__watch_remove(&root->watched);
    pmap__root_ring(root, &root->closing);
    if (root->caller_steps)
        pmap__caller_run(is_finished, &root->loop, PMAP__FOR_EVER);
    else
        pmap__progress_join(&root->loop);
    pmap__team_destroy(team); /* its threads may just be ringing for the last time */
    pmap__root_discard(root);
    if (closed)
        closed(argument);
}
