/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The root's loop. Callers put jobs into the inbox and ring; the team puts a note there when it has left a job. The
 * loop opens a job by giving its work to the team, whose threads begin at once, and by offering chunks to the other
 * ranks in rounds, one chunk for each rank at a time, until every rank holds what sched lets it hold. From then on
 * it is driven by answers: a RESULT from a rank is accounted for and that rank is offered more.
 *
 * A chunk that is away has a ticket: see ticket.h.
 *
 * While threads of the root are idle, as many items are left to them as there are: a message costs more than they do.
 *
 * If the transport fails the MPI job is ended with a text: MPI may still hold the caller's arrays then, and the other
 * ranks wait for a root that they cannot reach.
 */
#include "engine/root.h"

#include "base/error.h"
#include "base/memory.h"
#include "base/patience.h"
#include "engine/ticket.h"
#include "wire/frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct peer {
    int threads;
    size_t chunks; /* that it holds, of all jobs */
};

struct pmap__root {
    struct pmap__loop loop;
    struct pmap__port *port;
    struct pmap__team *team;
    struct pmap__place place;
    bool caller_steps;
    void (*closed)(void *);
    void *argument;
    pthread_t creator;
    struct pmap__bell own_bell; /* the loop's, if the caller steps */

    pthread_mutex_t lock; /* of the inbox */
    struct pmap__note *inbox, **inbox_last;
    atomic_bool mail;     /* there may be notes in it; so that the loop need not lock to see that there are none */
    atomic_bool closing;  /* the pool shall end once every job has */

    /* The loop's own from here on. */
    struct pmap__job *open, **open_last; /* jobs with items to hand out, first come first served */
    size_t alive;                        /* jobs that are not complete */
    struct peer *peers; /* by rank */
    int ranks, own_threads, all_threads;
    struct pmap__tickets tickets;
    uint64_t service_ns;     /* mean time the loop spends on one message of a chunk */
    uint64_t handled, moved; /* messages and bytes of bodies in this step, to measure that */
    size_t chunks_away;      /* that are not answered */
    uint64_t supplied_ns;    /* how long the work that a rank was last allowed to hold will last it; 0: unknown */
    bool offer_around;       /* ranks that hold nothing may want a chunk: a job is new, or at the head of the list */
    bool said_bye;
};

#define ATTENTIVE (200 * PMAP__US)

/* ---- Jobs that end ---- */

static size_t result_size(const struct pmap__job *job, size_t n)
{
    return n * job->task->result_size;
}

static void complete(struct pmap__root *root, struct pmap__job *job)
{
    root->alive--;
    atomic_store(&job->done, true);
    pmap__bell_ring(&job->bell);
}

static void unlist(struct pmap__root *root, struct pmap__job *job)
{
    struct pmap__job **at = &root->open;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    if (root->open_last == &job->next)
        root->open_last = at;
    job->listed = false;
    root->offer_around = true; /* the next job may suit ranks that this one had no chunk for */
}

/* Complete the job if nothing of it is outstanding. It may be gone after this. */
static void settle(struct pmap__root *root, struct pmap__job *job)
{
    if (pmap__work_left(&job->work) > 0 || job->away > 0)
        return;
    if (job->local && pmap__team_withdraw(root->team, &job->work))
        job->local = false;
    if (job->local)
        return;
    if (job->listed)
        unlist(root, job);
    complete(root, job);
}

/* These items were not run, for a reason that is not their own. */
static void fail_items(struct pmap__job *job, size_t begin, size_t n, const struct pmap_error *why)
{
    struct pmap_error error = *why;
    error.item = begin;
    if (job->task->result_size)
        memset(job->results + result_size(job, begin), 0, result_size(job, n));
    pmap__failures_add(&job->failures, &error, n);
}

/* ---- Chunks that are away ---- */

static struct pmap__ticket *take_ticket(struct pmap__root *root, struct pmap__job *job, int rank, size_t begin, size_t n)
{
    struct pmap__ticket *ticket = pmap__ticket_take(&root->tickets, job, rank, begin, n);

    if (ticket == NULL)
        return NULL;
    job->away++;
    if (job->ranks)
        job->ranks[rank].chunks++;
    root->peers[rank].chunks++;
    root->chunks_away++;
    return ticket;
}

static void ticket_answered(struct pmap__root *root, struct pmap__ticket *ticket)
{
    ticket->answered = true;
    root->chunks_away--;
    root->peers[ticket->rank].chunks--;
    if (ticket->job->ranks)
        ticket->job->ranks[ticket->rank].chunks--;
}

/* Give the ticket back if nothing of it is outstanding; the job may end with it. */
static void ticket_settle(struct pmap__root *root, struct pmap__ticket *ticket)
{
    struct pmap__job *job = ticket->job;

    if (!ticket->answered || !ticket->sent)
        return;
    pmap__ticket_give(&root->tickets, ticket);
    job->away--;
    settle(root, job);
}

/* ---- Handing out ---- */

/* What all workers together do per time, as far as it is measured; those that are not count as the others' mean. */
static uint64_t all_rates(struct pmap__root *root, struct pmap__job *job, uint64_t *local)
{
    *local = pmap__rate(root->own_threads, atomic_load_explicit(&job->work.item_ns, memory_order_relaxed));
    int rated = job->rated_threads + (*local ? root->own_threads : 0);
    uint64_t sum = job->rates + *local;
    return rated ? sum / (uint64_t)rated * (uint64_t)root->all_threads : 0;
}

static struct pmap__portion portion_for(struct pmap__root *root, struct pmap__job *job, int rank, size_t left)
{
    struct pmap__job_rank *r = job->ranks ? &job->ranks[rank] : NULL;
    uint64_t local, all = all_rates(root, job, &local);
    struct pmap__demand demand = {
        .left = left,
        .chunksize = job->chunksize,
        .item_bytes = job->task->args_size + job->task->result_size,
        .threads = root->peers[rank].threads,
        .all_threads = root->all_threads,
        .ranks = root->ranks - 1,
        .item_ns = r ? pmap__meter_mean(&r->meter) : 0,
        .service_ns = root->service_ns,
        .share = r && all ? pmap__share(r->rate, all) : 0,
    };
    if (local && all && root->own_threads)
        atomic_store_explicit(&job->thread_share, pmap__share(local / (uint64_t)root->own_threads, all),
                              memory_order_relaxed);
    struct pmap__portion portion = pmap__portion_next(&demand);
    size_t held;
    root->supplied_ns = pmap__multiply(portion.hold * portion.chunk, demand.item_ns, &held)
                            ? held / (uint64_t)demand.threads : PMAP__S;
    return portion;
}

static void fail_for_memory(struct pmap__job *job, size_t begin, size_t n)
{
    struct pmap_error error;
    pmap__error_set(&error, PMAP_ENOMEM, "pmap: no memory on the root to hand out item %zu", begin);
    fail_items(job, begin, n, &error);
}

/* The chunk did not leave. */
static void withdraw_ticket(struct pmap__root *root, struct pmap__ticket *ticket)
{
    fail_for_memory(ticket->job, ticket->begin, ticket->n);
    ticket_answered(root, ticket);
    ticket->sent = true;
    ticket_settle(root, ticket);
}

static void send_chunk(struct pmap__root *root, struct pmap__job *job, int rank, size_t begin, size_t n, size_t grain)
{
    unsigned char head[PMAP__HEAD_MAX];
    struct pmap__ticket *ticket = take_ticket(root, job, rank, begin, n);

    if (ticket == NULL) {
        fail_for_memory(job, begin, n);
        settle(root, job);
        return;
    }
    struct pmap__frame frame = {.kind = PMAP__CHUNK,
                                .ticket = ticket->number,
                                .begin = begin,
                                .n = n,
                                .grain = grain < n ? grain : n,
                                .task = job->task->id,
                                .args_size = job->task->args_size,
                                .result_size = job->task->result_size};
    size_t head_size = pmap__frame_encode(&frame, head);
    size_t size = n * job->task->args_size;
    const void *body = pmap__element(job->args, begin, job->task->args_size);
    ticket->sent = size == 0;
    enum pmap_status status = root->port->ops->send(root->port, rank, head, head_size, body, size, size ? ticket : NULL);
    root->handled++;
    root->moved += size;
    if (status == PMAP_ENOMEM)
        withdraw_ticket(root, ticket);
    else if (status != PMAP_OK)
        root->port->ops->abort(root->port, "pmap: a chunk could not be sent");
}

/* May this rank hold another chunk of the job? */
static bool has_room(struct pmap__root *root, struct pmap__job *job, int rank, const struct pmap__portion *portion)
{
    const struct peer *peer = &root->peers[rank];
    return job->ranks ? job->ranks[rank].chunks < portion->hold : peer->chunks < (size_t)peer->threads;
}

/* Drop jobs at the head of the list that have nothing left to hand out; the first that has, or NULL. */
static struct pmap__job *first_open(struct pmap__root *root)
{
    while (root->open && pmap__work_left(&root->open->work) == 0) {
        struct pmap__job *job = root->open;
        unlist(root, job);
        settle(root, job);
    }
    return root->open;
}

/* Offer one chunk to a rank; true if it took one. */
static bool offer(struct pmap__root *root, int rank)
{
    size_t begin, end;

    if (root->peers[rank].threads == 0)
        return false;
    struct pmap__job *job = first_open(root);
    if (job == NULL)
        return false;
    size_t left = pmap__work_left(&job->work);
    size_t idle = root->team ? (size_t)pmap__team_idle(root->team) : 0;
    if (left <= idle)
        return false;
    struct pmap__portion portion = portion_for(root, job, rank, left);
    if (!has_room(root, job, rank, &portion))
        return false;
    if (job->chunksize == 0 && portion.chunk > left - idle)
        portion.chunk = left - idle;
    if (!pmap__work_take(&job->work, portion.chunk, &begin, &end))
        return false;
    send_chunk(root, job, rank, begin, end - begin, portion.grain);
    return true;
}

/* Offer chunks all around, one at a time for each rank, until nobody takes any. */
static void offer_around(struct pmap__root *root)
{
    bool taken = root->port != NULL;

    while (taken) {
        taken = false;
        for (int rank = 0; rank < root->ranks; rank++)
            taken |= offer(root, rank);
    }
    root->offer_around = false;
}

/* ---- What comes back ---- */

static void measured(struct pmap__root *root, struct pmap__job *job, int rank, uint64_t busy, uint64_t n)
{
    struct pmap__job_rank *r = job->ranks ? &job->ranks[rank] : NULL;
    int threads = root->peers[rank].threads;

    if (r == NULL)
        return;
    if (r->rate == 0)
        job->rated_threads += threads;
    pmap__meter_add(&r->meter, busy, n);
    job->rates -= r->rate;
    r->rate = pmap__rate(threads, pmap__meter_mean(&r->meter));
    job->rates += r->rate;
}

/* The ticket that a message answers; NULL and why not. *inside is for frame->error. */
static struct pmap__ticket *read_answer(struct pmap__root *root, int from, const unsigned char *head, size_t head_size,
                                        size_t size, struct pmap__frame *frame, struct pmap_error *inside,
                                        struct pmap_error *error)
{
    if (pmap__frame_decode(head, head_size, frame, inside, error) != PMAP_OK)
        return NULL;
    struct pmap__ticket *ticket = pmap__ticket_find(&root->tickets, frame->ticket, from, frame->begin, frame->n);
    bool result = frame->kind == PMAP__RESULT;
    if (ticket && (result || frame->kind == PMAP__REFUSAL) && size == (result ? result_size(ticket->job, ticket->n) : 0))
        return ticket;
    pmap__error_set(error, PMAP_EMISMATCH, "pmap: rank %d sent an answer to nothing that it was asked", from);
    return NULL;
}

static void *land(void *owner, int from, const unsigned char *head, size_t head_size, size_t size)
{
    struct pmap__root *root = owner;
    struct pmap__frame frame;
    struct pmap_error inside, error;
    struct pmap__ticket *ticket = read_answer(root, from, head, head_size, size, &frame, &inside, &error);
    return ticket ? ticket->job->results + result_size(ticket->job, ticket->begin) : NULL;
}

static void refused(struct pmap__job *job, const struct pmap__ticket *ticket, const struct pmap__frame *frame)
{
    struct pmap_error error = *frame->error;
    if (error.status == PMAP_EINVAL)
        snprintf(error.text, sizeof error.text, "pmap: %s (rank %d) does not know task %s: every rank must register it "
                 "before pmap_create", error.host, ticket->rank, job->task->name);
    fail_items(job, ticket->begin, ticket->n, &error);
}

static void arrived(void *owner, int from, const unsigned char *head, size_t head_size, void *body, size_t size)
{
    struct pmap__root *root = owner;
    struct pmap__frame frame;
    struct pmap_error inside, error;
    (void)body;

    struct pmap__ticket *ticket = read_answer(root, from, head, head_size, size, &frame, &inside, &error);
    if (ticket == NULL) {
        root->port->ops->abort(root->port, error.text);
        return;
    }
    struct pmap__job *job = ticket->job;
    if (frame.kind == PMAP__REFUSAL)
        refused(job, ticket, &frame);
    else if (frame.failed > 0)
        pmap__failures_add(&job->failures, frame.error, frame.failed);
    if (frame.kind == PMAP__RESULT)
        measured(root, job, from, frame.busy, frame.n);
    root->handled++;
    root->moved += size;
    ticket_answered(root, ticket);
    ticket_settle(root, ticket);
    while (offer(root, from))
        ;
}

static void sent(void *owner, void *token)
{
    struct pmap__root *root = owner;
    struct pmap__ticket *ticket = token;
    ticket->sent = true;
    ticket_settle(root, ticket);
}

/* ---- Notes to the loop ---- */

static void tell(struct pmap__root *root, struct pmap__note *note)
{
    note->next = NULL;
    pthread_mutex_lock(&root->lock);
    *root->inbox_last = note;
    root->inbox_last = &note->next;
    atomic_store(&root->mail, true);
    pmap__bell_ring(root->loop.bell); /* under the lock: after it the root may be gone with the job */
    pthread_mutex_unlock(&root->lock);
}

static void local_finished(struct pmap__work *work)
{
    struct pmap__job *job = (struct pmap__job *)work;
    tell(job->root, &job->local_done);
}

/* ---- The loop ---- */

static void open_job(struct pmap__root *root, struct pmap__job *job)
{
    struct pmap_error error;

    root->alive++;
    if (root->port && job->work.n > 1) {
        job->ranks = calloc((size_t)root->ranks, sizeof *job->ranks);
        if (job->ranks == NULL) {
            pmap__error_set(&error, PMAP_ENOMEM, "pmap: no memory for the state of %d ranks", root->ranks);
            fail_items(job, 0, job->work.n, &error);
            atomic_store(&job->work.next, job->work.n);
            settle(root, job);
            return;
        }
    }
    job->next = NULL;
    job->listed = true;
    *root->open_last = job;
    root->open_last = &job->next;
    root->offer_around = true;
    if (root->team) {
        job->local = true;
        pmap__team_add(root->team, &job->work);
    }
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
        if (news == PMAP__LOCAL_DONE) {
            job->local = false;
            settle(root, job);
        } else {
            open_job(root, job);
        }
    }
    return true;
}

static bool say_bye(struct pmap__root *root)
{
    unsigned char head[PMAP__HEAD_MAX];
    const struct pmap__refusals *refused = &root->port->refused;
    struct pmap__frame frame = {.kind = PMAP__BYE, .refused = refused->n};
    memcpy(frame.where, refused->where, sizeof refused->where);
    size_t head_size = pmap__frame_encode(&frame, head);

    for (int rank = 0; rank < root->ranks; rank++)
        if (rank != root->port->rank &&
            root->port->ops->send(root->port, rank, head, head_size, NULL, 0, NULL) != PMAP_OK)
            return false;
    return true;
}

/* Everything is done and the pool shall end: tell the ranks, and let go of the port once they have been told. */
static void close_up(struct pmap__root *root)
{
    if (root->port && !root->said_bye) {
        root->said_bye = true;
        if (!say_bye(root))
            root->port->ops->abort(root->port, "pmap: the end of the pool could not be sent");
    }
    if (root->port && root->port->ops->active(root->port))
        return;
    if (root->port)
        root->port->ops->close(root->port, &(struct pmap__refusals){0});
    root->port = NULL;
    root->loop.finished = true;
}

static bool poll_port(struct pmap__root *root)
{
    static const struct pmap__receiver callbacks = {.land = land, .arrived = arrived, .sent = sent};
    struct pmap__receiver receiver = callbacks;
    int events = 0;

    receiver.owner = root;
    enum pmap_status status = root->port->ops->poll(root->port, &receiver, &events);
    if (status != PMAP_OK)
        root->port->ops->abort(root->port, "pmap: the root could not receive");
    return events > 0;
}

/* The cost of a message, to know when the root saturates. Copying large bodies does not count: larger chunks would
 * not make it less. */
static void measure_service(struct pmap__root *root, uint64_t since)
{
    if (root->handled && root->moved / root->handled < 65536) {
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
        return PMAP__NAP_MAX;
    uint64_t nap = root->supplied_ns / 2;
    if (nap < ATTENTIVE)
        return root->team && pmap__team_busy(root->team) ? PMAP__NAP_MIN : 0;
    return nap < PMAP__NAP_MAX ? nap : PMAP__NAP_MAX;
}

static bool step(struct pmap__loop *loop)
{
    struct pmap__root *root = (struct pmap__root *)loop; /* its first member */
    uint64_t since = root->port ? pmap__now() : 0;
    bool happened = read_inbox(root);

    if (root->port)
        happened |= poll_port(root);
    first_open(root);
    if (root->offer_around)
        offer_around(root);
    measure_service(root, since);
    loop->nap = how_long_to_nap(root);
    if (root->alive == 0 && atomic_load(&root->closing) && !atomic_load(&root->mail))
        close_up(root);
    return happened;
}

/* ---- For the callers ---- */

enum pmap_status pmap__root_submit(struct pmap__root *root, struct pmap__job *job, struct pmap_error *error)
{
    if (root->caller_steps && !pthread_equal(root->creator, pthread_self()))
        return pmap__error_set(error, PMAP_EINVAL,
                               "pmap: this thread may not use the pool: the program initialised MPI below "
                               "MPI_THREAD_MULTIPLE, so only the thread that created the pool may");
    job->root = root;
    job->place = &root->place;
    job->all_threads = root->all_threads;
    job->work.finished = local_finished;
    tell(root, &job->submitted);
    return PMAP_OK;
}

void pmap__root_wait(struct pmap__root *root, struct pmap__job *job)
{
    if (root->caller_steps)
        pmap__loop_run(&root->loop, &job->done);
    /* The bell is the last thing that the loop touches of a job. */
    pmap__bell_wait(&job->bell, PMAP__FOR_EVER);
}

int pmap__root_ranks(const struct pmap__root *root)
{
    return root->ranks;
}

int pmap__root_threads(const struct pmap__root *root)
{
    return root->all_threads;
}

/* ---- Life ---- */

static void close_soon(struct pmap__loop *loop)
{
    struct pmap__root *root = (struct pmap__root *)loop;
    atomic_store(&root->closing, true);
    pmap__bell_ring(loop->bell);
}

void pmap__root_discard(struct pmap__root *root)
{
    if (root == NULL)
        return;
    if (root->caller_steps)
        pmap__bell_fini(&root->own_bell);
    else
        pmap__progress_release();
    pmap__tickets_fini(&root->tickets);
    free(root->peers);
    pthread_mutex_destroy(&root->lock);
    free(root);
}

enum pmap_status pmap__root_create(const struct pmap__root_parts *parts, struct pmap__root **root)
{
    struct pmap__root *r = calloc(1, sizeof *r);

    if (r == NULL)
        return PMAP_ENOMEM;
    r->loop = (struct pmap__loop){.step = step, .abandon = close_soon, .polls = parts->port != NULL};
    r->port = parts->port;
    r->team = parts->team;
    r->place = parts->place;
    r->caller_steps = parts->caller_steps;
    r->closed = parts->closed;
    r->argument = parts->argument;
    r->creator = pthread_self();
    r->inbox_last = &r->inbox;
    r->open_last = &r->open;
    r->service_ns = 2 * PMAP__US; /* until measured: what a message costs on a common machine */
    r->ranks = r->port ? r->port->size : 1;
    r->peers = calloc((size_t)r->ranks, sizeof *r->peers);
    if (r->peers == NULL)
        goto fail;
    if (r->caller_steps ? !pmap__bell_init(&r->own_bell) : pmap__progress_hold() != PMAP_OK)
        goto fail;
    pthread_mutex_init(&r->lock, NULL); /* glibc's cannot fail */
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
    root->all_threads = root->own_threads;
    for (int rank = 0; root->port && rank < root->ranks; rank++)
        if (rank != root->port->rank) { /* the root needs no messages: as a peer it has no threads */
            root->peers[rank].threads = threads[rank];
            root->all_threads += threads[rank];
        }
    if (root->caller_steps)
        root->loop.bell = &root->own_bell;
    else
        pmap__progress_add(&root->loop);
}

void pmap__root_destroy(struct pmap__root *root)
{
    struct pmap__team *team = root->team;
    void (*closed)(void *) = root->closed;
    void *argument = root->argument;

    close_soon(&root->loop);
    if (root->caller_steps)
        pmap__loop_run(&root->loop, NULL);
    else
        pmap__progress_join(&root->loop);
    pmap__team_destroy(team); /* its threads may just be ringing for the last time */
    pmap__root_discard(root);
    if (closed)
        closed(argument);
}
