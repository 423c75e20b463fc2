/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Dealing chunks to other ranks, and what comes back. The loop offers chunks in rounds, one for each rank at a time, until
 * every rank holds what sched lets it hold. From then on it is driven by answers: a RESULT from a rank is accounted for
 * and that rank is offered more. A chunk that is away has a ticket: see ticket.h.
 *
 * While threads of the root are idle, as many items are left to them as there are: a message costs more than they do.
 *
 * A chunk that has been dealt is never taken back. So none goes to a rank whose threads are all in items of other jobs that
 * may last, where it would wait while others are idle; that rank is offered more when it answers. Certain is only that a
 * chunk without an answer occupies one thread; that its other grains occupy others is likely. Therefore a rank of which it
 * is likely is passed over as long as somebody else has the job, and no longer.
 *
 * If the transport fails the MPI job is ended with a text: MPI may still hold the caller's arrays then, and the other
 * ranks wait for a root that they cannot reach.
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "engine/pack.h"
#include "engine/post.h"
#include "engine/root_inside.h"
#include "engine/times.h"
#include "wire/frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Chunks that are away ---- */

static struct pmap__lasting sum(struct pmap__lasting a, struct pmap__lasting b)
{
    return (struct pmap__lasting){a.chunks + b.chunks, a.grains + b.grains};
}

static struct pmap__lasting difference(struct pmap__lasting a, struct pmap__lasting b)
{
    return (struct pmap__lasting){a.chunks - b.chunks, a.grains - b.grains};
}

/* What is added to a rank by n items in grains. */
static struct pmap__lasting lasting(const struct pmap__job *job, int rank, size_t n, size_t grain)
{
    uint64_t mean = job->ranks ? pmap__meter_mean(&job->ranks[rank].meter) : 0;

    if (mean && grain <= PMAP__LONG_ITEM / mean)
        return (struct pmap__lasting){0};
    return (struct pmap__lasting){1, grain < n ? (n - 1) / grain + 1 : 1};
}

/* Will its items be given up if this rank dies, too? */
static bool is_last_chance(const struct pmap__job *job)
{
    return job->losses == PMAP__LOSSES_MAX - 1;
}

/* For those who look: so many grains are at the rank, and so many items of the job out, or not any more. */
static void count_grains(struct pmap__root *root, const struct pmap__ticket *ticket, bool more)
{
    atomic_size_t *grains = &root->peers[ticket->rank].grains;
    size_t n = ticket->grain < ticket->n ? (ticket->n - 1) / ticket->grain + 1 : 1, now = atomic_load_explicit(grains, memory_order_relaxed);

    atomic_store_explicit(grains, more ? now + n : now - n, memory_order_relaxed);
}

static void count_out(const struct pmap__ticket *ticket, bool more)
{
    struct pmap__job *job = ticket->job;
    size_t n = pmap__job_items(job, ticket->n), now = atomic_load_explicit(&job->out, memory_order_relaxed);

    atomic_store_explicit(&job->out, more ? now + n : now - n, memory_order_relaxed);
}

static struct pmap__ticket *take_ticket(struct pmap__root *root, struct pmap__job *job, int rank, size_t begin, size_t n,
                                        size_t grain)
{
    struct pmap__ticket *ticket = pmap__ticket_take(&root->tickets, job, rank, begin, n);

    if (ticket == NULL)
        return NULL;
    ticket->lasting = lasting(job, rank, n, grain);
    ticket->dealt = job->losses ? pmap__now() : 0;
    ticket->since = pmap__roughly_now();
    ticket->grain = grain;
    job->away++;
    if (job->ranks) {
        job->ranks[rank].chunks++;
        job->ranks[rank].lasting = sum(job->ranks[rank].lasting, ticket->lasting);
    }
    root->peers[rank].lasting = sum(root->peers[rank].lasting, ticket->lasting);
    if (ticket->single)
        root->peers[rank].singles++;
    if (is_last_chance(job))
        root->peers[rank].suspect = true;
    root->peers[rank].chunks++;
    root->chunks_away++;
    count_grains(root, ticket, true);
    count_out(ticket, true);
    return ticket;
}

static void ticket_answered(struct pmap__root *root, struct pmap__ticket *ticket)
{
    struct pmap__peer *peer = &root->peers[ticket->rank];
    struct pmap__job_rank *r = ticket->job->ranks ? &ticket->job->ranks[ticket->rank] : NULL;

    ticket->answered = true;
    count_grains(root, ticket, false);
    root->chunks_away--;
    peer->chunks--;
    peer->lasting = difference(peer->lasting, ticket->lasting);
    if (r) {
        r->chunks--;
        r->lasting = difference(r->lasting, ticket->lasting);
    }
    if (ticket->single)
        peer->singles--;
    if (is_last_chance(ticket->job))
        peer->suspect = false;
}

static void read_records(struct pmap__root *root, struct pmap__ticket *ticket);

/* Give the ticket back if nothing of it is outstanding; the job may end with it. */
static void ticket_settle(struct pmap__root *root, struct pmap__ticket *ticket)
{
    struct pmap__job *job = ticket->job;
    bool failures_known = !ticket->records_due || ticket->records;

    if (!ticket->answered || !ticket->sent || (ticket->records_due && !ticket->records_here))
        return;
    if (ticket->records_due)
        read_records(root, ticket);
    if (job->fold == NULL && failures_known && !ticket->lost)
        pmap__recall_span(job, ticket->begin, ticket->begin + ticket->n, ticket->rank);
    count_out(ticket, false);
    pmap__ticket_give(&root->tickets, ticket);
    job->away--;
    pmap__root_settle(root, job);
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

    if (r == NULL) { /* a single piece: there is nothing to choose */
        root->supplied_ns = 0;
        return (struct pmap__portion){.chunk = left, .grain = left, .hold = 1};
    }
    uint64_t local, all = all_rates(root, job, &local);
    struct pmap__demand demand = {
        .left = left,
        .chunksize = job->work.grain,
        .item_bytes = job->bytes_each,
        .threads = root->peers[rank].threads,
        .all_threads = root->all_threads,
        .ranks = root->others,
        .item_ns = pmap__meter_mean(&r->meter),
        .service_ns = root->service_ns,
        .share = all ? pmap__share(r->rate, all) : 0,
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
    pmap__job_fail(job, begin, n, &error);
}

/* The chunk did not leave. */
static void withdraw_ticket(struct pmap__root *root, struct pmap__ticket *ticket)
{
    fail_for_memory(ticket->job, ticket->begin, ticket->n);
    ticket_answered(root, ticket);
    ticket->sent = true;
    ticket_settle(root, ticket);
}

/* Is what comes of its items written down? */
static bool is_recorded(const struct pmap__job *job)
{
    return job->parent ? job->parent->recall : job->recall;
}

/* A reduction of which the value of each leaf is written down. */
static bool is_apart(const struct pmap__job *job)
{
    return job->fold && is_recorded(job);
}

static unsigned wants(const struct pmap__job *job)
{
    const struct pmap__order_form *form = &job->form;
    unsigned w = 0;

    if (form->statuses || form->retries || form->reasons || (is_recorded(job) && !job->fold && pmap__job_is_first(job)))
        w |= PMAP__WANT_RECORDS;
    if (form->reasons || (form->retries && pmap__job_is_first(job)))
        w |= PMAP__WANT_REASONS;
    if (form->on_error == PMAP_STOP && !form->retries)
        w |= PMAP__WANT_STOP;
    if (job->order && !job->fold)
        w |= PMAP__NAMED;
    return w | (is_apart(job) ? PMAP__APART : 0) | (job->place_in_line.single ? PMAP__SINGLE : 0);
}

/* Items of the leaves [begin, begin + n). */
static size_t items_of_leaves(const struct pmap__fold *fold, size_t begin, size_t n)
{
    size_t first = begin * fold->leaf, left = fold->total - first;
    return left / fold->leaf < n ? left : n * fold->leaf;
}

static enum pmap_status find_body(struct pmap__job *job, size_t begin, size_t n, const void **body, size_t *size, void **packed)
{
    const struct pmap_task *task = job->form.task;
    struct pmap__pick pick = {.array = job->form.args, .element = task->args_size, .bytes = task->bytes, .begin = begin,
                              .n = n, .names = job->order, .base = job->base};

    if (job->fold == NULL)
        return pmap__pack(&pick, job->order != NULL, body, size, packed);
    size_t leaf = pmap__job_at(job, begin);
    *packed = NULL;
    *body = pmap__element(job->form.args, (leaf - job->base) * job->fold->leaf, task->args_size);
    *size = items_of_leaves(job->fold, leaf, n) * task->args_size;
    return PMAP_OK;
}

static void send_run(struct pmap__root *root, struct pmap__job *job, int rank, size_t begin, size_t n, size_t grain)
{
    unsigned char head[PMAP__HEAD_MAX];
    uint64_t dealt = pmap__observe_deal(job);
    struct pmap__ticket *ticket = take_ticket(root, job, rank, begin, n, grain);
    const void *body;
    size_t size;

    if (ticket == NULL) {
        fail_for_memory(job, begin, n);
        pmap__root_settle(root, job);
        return;
    }
    if (job->form.bind && !job->parent)
        job->form.bind(job->form.binder, begin, begin + n, rank);
    if (find_body(job, begin, n, &body, &size, &ticket->packed) != PMAP_OK) {
        withdraw_ticket(root, ticket);
        return;
    }
    struct pmap__frame frame = {.kind = PMAP__CHUNK,
                                .ticket = ticket->number,
                                .begin = pmap__job_named(job, begin),
                                .n = n,
                                .grain = grain < n ? grain : n,
                                .task = job->form.task->id,
                                .args_size = job->form.task->args_size,
                                .result_size = job->form.task->result_size,
                                .job = job->id,
                                .seed = job->form.seed,
                                .priority = job->form.priority,
                                .wants = ticket->wants = wants(job)};
    if (job->form.limits.timeout || job->form.limits.max_rss) {
        frame.wants |= PMAP__LIMITED;
        frame.timeout = job->form.limits.timeout;
        frame.max_rss = job->form.limits.max_rss;
    }
    if (job->fold) {
        frame.op = job->fold->op->id;
        frame.leaf = job->fold->leaf;
        frame.total = job->fold->total;
    }
    pmap__observe_send(ticket, dealt, size, &frame);
    size_t head_size = pmap__frame_encode(&frame, head);
    ticket->sent = size <= root->port->copied;
    enum pmap_status status = root->port->ops->send(root->port, rank, head, head_size, body, size,
                                                    ticket->sent ? NULL : ticket);
    root->handled++;
    root->moved += size;
    pmap__bump(&root->peers[rank].sent, size);
    if (status == PMAP_ENOMEM)
        withdraw_ticket(root, ticket);
    else if (status != PMAP_OK)
        root->port->ops->abort(root->port, "pmap: a chunk could not be sent");
}

/* Leaves of a chunk follow each other; where a journal knows some, there are several chunks for the positions of one. */
static void send_chunk(struct pmap__root *root, struct pmap__job *job, int rank, size_t begin, size_t n, size_t grain)
{
    size_t end = begin + n, run;

    if (job->fold == NULL || job->order == NULL) {
        send_run(root, job, rank, begin, n, grain);
        return;
    }
    job->away++; /* it must not end before the last of them has gone */
    for (; begin < end; begin += run) {
        run = pmap__job_run_of(job, begin, end);
        send_run(root, job, rank, begin, run, grain);
    }
    job->away--;
    pmap__root_settle(root, job);
}

/* May this rank hold another chunk of the job? A single piece waits here for the thread that is free first, wherever that
 * is: at a rank it may wait behind bulk alone, and only if that is known to come in short items. */
static bool has_room(struct pmap__root *root, struct pmap__job *job, int rank, const struct pmap__portion *portion)
{
    const struct pmap__peer *peer = &root->peers[rank];
    size_t threads = (size_t)peer->threads;

    if (is_last_chance(job))
        return peer->chunks == 0;
    if (job->ranks)
        return job->ranks[rank].chunks < portion->hold &&
               difference(peer->lasting, job->ranks[rank].lasting).chunks < threads;
    if (peer->lasting.chunks > peer->singles)
        return peer->chunks < threads;
    return peer->singles < threads;
}

/* Are all threads of the rank likely to be in what may last, of other jobs? */
static bool is_likely_full(const struct pmap__root *root, const struct pmap__job *job, int rank)
{
    const struct pmap__peer *peer = &root->peers[rank];
    struct pmap__lasting others = job->ranks ? difference(peer->lasting, job->ranks[rank].lasting) : peer->lasting;
    return others.grains >= (size_t)peer->threads;
}

/* Has somebody begun with the job, or is about to, so that it does not depend on this rank? */
static bool is_under_way(const struct pmap__root *root, const struct pmap__job *job)
{
    return job->away > 0 || (root->team && atomic_load_explicit(&job->work.next, memory_order_relaxed) > 0);
}

/* Nothing of it is left to hand out. */
static bool used_up(struct pmap__job *job)
{
    if (pmap__job_is_over(job))
        pmap__job_skip_rest(job);
    return pmap__work_left(&job->work) == 0;
}

static void clean(struct pmap__root *root, struct pmap__queue *queue)
{
    struct pmap__job *job;

    while ((job = pmap__job_in_line(queue->first)) != NULL && used_up(job)) {
        pmap__root_unlist(root, job);
        pmap__root_settle(root, job);
    }
}

void pmap__deal_clean(struct pmap__root *root)
{
    clean(root, &root->open.single);
    clean(root, &root->open.bulk);
}

/* Offer one chunk of a job to a rank, or to a rank that is likely to be full only at need; true if it took one. */
static bool offer_of(struct pmap__root *root, int rank, struct pmap__job *job, bool at_need)
{
    size_t begin, end;
    size_t left = pmap__work_left(&job->work);
    size_t idle = root->team && job->losses == 0 ? (size_t)pmap__team_idle(root->team) : 0;

    if (left <= idle) {
        root->left_to_team = true;
        return false;
    }
    struct pmap__portion portion = portion_for(root, job, rank, left);
    if (!has_room(root, job, rank, &portion))
        return false;
    if (is_likely_full(root, job, rank) && (!at_need || is_under_way(root, job))) {
        root->passed_over = true;
        return false;
    }
    if (job->work.grain == 0 && portion.chunk > left - idle)
        portion.chunk = left - idle;
    if (!pmap__work_take(&job->work, portion.chunk, &begin, &end))
        return false;
    root->peers[rank].after_single = job->place_in_line.single;
    send_chunk(root, job, rank, begin, end - begin, portion.grain);
    return true;
}

/* Hand out a job that is for this rank alone, if there is one and the rank has room; true if so. */
static bool offer_aimed(struct pmap__root *root, int rank)
{
    size_t begin, end;

    clean(root, &root->peers[rank].aimed.single);
    struct pmap__job *job = pmap__job_in_line(root->peers[rank].aimed.single.first);
    if (job == NULL || !has_room(root, job, rank, NULL) || !pmap__work_take(&job->work, 1, &begin, &end))
        return false;
    pmap__root_unlist(root, job);
    root->peers[rank].after_single = true;
    root->supplied_ns = 0;
    send_chunk(root, job, rank, begin, end - begin, 1);
    return true;
}

/* Offer one chunk to a rank, of the job whose turn it is, or else of the first of the other class if it has the same
 * priority; true if it took one. */
static bool offer(struct pmap__root *root, int rank, bool at_need)
{
    if (root->peers[rank].threads == 0 || root->peers[rank].suspect)
        return false;
    if (offer_aimed(root, rank))
        return true;
    pmap__deal_clean(root);
    struct pmap__waiter *first = pmap__line_next(&root->open, root->peers[rank].after_single);
    if (first == NULL)
        return false;
    struct pmap__waiter *other = first->single ? root->open.bulk.first : root->open.single.first;
    bool equal = other && other->priority == first->priority;
    return offer_of(root, rank, pmap__job_in_line(first), at_need) ||
           (equal && other->waiting && offer_of(root, rank, pmap__job_in_line(other), at_need));
}

static bool offer_all(struct pmap__root *root, bool at_need)
{
    bool taken = false;

    for (int rank = 0; root->port && rank < root->ranks; rank++)
        taken |= offer(root, rank, at_need);
    return taken;
}

void pmap__deal_around(struct pmap__root *root)
{
    root->left_to_team = root->passed_over = false;
    while (offer_all(root, false))
        ;
    if (root->passed_over)
        offer_all(root, true);
    /* Threads that seemed idle may have found something else to do: look again. */
    root->offer_around = root->left_to_team;
}

bool pmap__deal_tell(struct pmap__root *root, const struct pmap__frame *frame)
{
    unsigned char head[PMAP__HEAD_MAX];
    size_t head_size = pmap__frame_encode(frame, head);

    for (int rank = 0; rank < root->ranks; rank++)
        if (rank != root->port->rank &&
            root->port->ops->send(root->port, rank, head, head_size, NULL, 0, NULL) != PMAP_OK)
            return false;
    return true;
}

void pmap__deal_cancel(struct pmap__root *root, const struct pmap__job *job)
{
    struct pmap__frame frame = {.kind = PMAP__CANCEL, .job = job->id};
    if (root->port && (job->away || job->children) && !pmap__deal_tell(root, &frame))
        root->port->ops->abort(root->port, "pmap: the end of a call could not be sent");
}

static void lose_ticket(struct pmap__root *root, struct pmap__ticket *ticket, bool counts)
{
    ticket_answered(root, ticket);
    pmap__observe_answer(ticket, PMAP__CHUNK_LOST, NULL, 0);
    pmap__again_lose(root, ticket, counts);
    ticket->sent = ticket->lost = true; /* a copy was sent */
    ticket_settle(root, ticket);
}

void pmap__deal_lose(struct pmap__root *root, int rank, uint64_t alive)
{
    for (uint64_t i = 0; i < root->tickets.count; i++) {
        struct pmap__ticket *ticket = root->tickets.all[i];
        if (ticket->job && ticket->rank == rank && !ticket->answered)
            lose_ticket(root, ticket, ticket->dealt <= alive);
    }
    pmap__root_forsake(root, &root->peers[rank].aimed.single);
}

/* ---- What comes back ---- */

/* For those who look: a rank has run items. */
static void count_run(struct pmap__root *root, int rank, uint64_t busy, size_t items)
{
    struct pmap__peer *peer = &root->peers[rank];

    pmap__bump(&peer->chunks_run, 1);
    pmap__bump(&peer->items_run, items);
    pmap__bump(&peer->busy, busy);
    if (items)
        pmap__seat_measure(&root->seats[root->seated], busy, items);
}

static void measured(struct pmap__root *root, struct pmap__job *job, int rank, uint64_t busy, size_t n)
{
    struct pmap__job_rank *r = job->ranks ? &job->ranks[rank] : NULL;
    int threads = root->peers[rank].threads;

    if (job->times && busy)
        pmap__times_add(job->times, busy, pmap__job_items(job, n));
    if (r == NULL)
        return;
    if (r->rate == 0)
        job->rated_threads += threads;
    pmap__meter_add(&r->meter, busy, n);
    job->rates -= r->rate;
    r->rate = pmap__rate(threads, pmap__meter_mean(&r->meter));
    job->rates += r->rate;
}

/* Do results of a chunk go straight to their place? */
static bool is_direct(const struct pmap__ticket *ticket)
{
    const struct pmap__job *job = ticket->job;
    return job->fold == NULL && job->order == NULL && !job->form.task->bytes;
}

/* May the results of this chunk have so many bytes? */
static bool is_right_size(const struct pmap__ticket *ticket, const struct pmap__frame *frame, size_t size)
{
    const struct pmap__job *job = ticket->job;
    struct pmap__node nodes[PMAP__FOLD_NODES];

    if (job->fold && (frame->failed || frame->skipped))
        return size == 0;
    if (is_apart(job))
        return size == job->fold->op->size * ticket->n;
    if (job->fold)
        return size == job->fold->op->size *
                           pmap__fold_nodes(job->fold, job->base + ticket->begin, job->base + ticket->begin + ticket->n, nodes);
    return job->form.task->bytes || size == ticket->n * job->form.task->result_size;
}

/* Is this one of the items of the chunk? */
static bool has_item(const struct pmap__ticket *ticket, size_t item)
{
    const struct pmap__job *job = ticket->job;

    if (job->fold)
        item /= job->fold->leaf;
    if (job->order && job->fold == NULL)
        return item >= job->base && item - job->base < job->form.n;
    return item >= ticket->first && item - ticket->first < ticket->n;
}

/* There are records if there are failures and the job wants to know; of a reduction all leaves have one then. */
static bool has_right_records(const struct pmap__ticket *ticket, const struct pmap__frame *frame)
{
    bool bad = frame->failed || frame->skipped, wanted = ticket->wants & PMAP__WANT_RECORDS;

    if (frame->records != ticket->records_n || (frame->records > 0) != (bad && wanted))
        return false;
    return frame->records == 0 || ticket->job->fold == NULL || frame->records == frame->n;
}

static const char *bad_field_of_result(const struct pmap__ticket *ticket, const struct pmap__frame *frame, size_t size)
{
    const struct pmap__job *job = ticket->job;
    size_t items = job->fold ? items_of_leaves(job->fold, ticket->first, ticket->n) : ticket->n;

    if (frame->failed > items)
        return "failed";
    if (frame->skipped > items - frame->failed)
        return "skipped";
    if (frame->error && !has_item(ticket, frame->error->item))
        return "error.item";
    if (!has_right_records(ticket, frame))
        return "records";
    if (frame->timed != (ticket->seen.chunk != 0))
        return "timed";
    return is_right_size(ticket, frame, size) ? NULL : "size";
}

/* What is wrong with a message that names this chunk, when its head is seen first; NULL: nothing. Heads come in order, that of the
 * records before that of the result. */
static const char *bad_field(const struct pmap__ticket *ticket, const struct pmap__frame *frame, size_t size)
{
    if (ticket->answered || ticket->landing)
        return "ticket";
    switch (frame->kind) {
    case PMAP__RESULT: return bad_field_of_result(ticket, frame, size);
    case PMAP__REFUSAL: return ticket->records_n ? "records" : size ? "size" : NULL;
    case PMAP__RECORDS: return ticket->records_n ? "ticket" : size < frame->records ? "size" : NULL;
    default: return "kind";
    }
}

static bool answers(enum pmap__frame_kind kind)
{
    return kind == PMAP__RESULT || kind == PMAP__REFUSAL || kind == PMAP__RECORDS;
}

/* The ticket that a message answers; NULL and why not. first: its head is seen first. *inside is for frame->error. */
static struct pmap__ticket *read_answer(struct pmap__root *root, int from, const unsigned char *head, size_t head_size,
                                        size_t size, bool first, struct pmap__frame *frame, struct pmap__inside *inside,
                                        struct pmap_error *error)
{
    struct pmap__ticket *ticket = NULL;
    const char *bad = "kind";

    if (pmap__frame_decode(head, head_size, frame, inside, error) != PMAP_OK)
        return NULL;
    if (answers(frame->kind))
        ticket = pmap__ticket_find(&root->tickets, frame->ticket, from, frame->begin, frame->n, &bad);
    if (ticket && first)
        bad = bad_field(ticket, frame, size);
    if (ticket && (!first || bad == NULL))
        return ticket;
    pmap__error_set(error, PMAP_EMISMATCH, "pmap: received a message from rank %d with a bad %s", from, bad);
    return NULL;
}

/* Where the body of an answer goes; NULL: there is no memory for it. */
static void *landing_place(struct pmap__ticket *ticket, const struct pmap__frame *frame, size_t size)
{
    if (frame->kind == PMAP__RECORDS) {
        ticket->records_n = frame->records;
        return ticket->records = malloc(size);
    }
    ticket->landing = true;
    if (is_direct(ticket))
        return pmap__element_mutable(ticket->job->form.results, ticket->begin, ticket->job->form.task->result_size);
    return ticket->in = malloc(size);
}

static void refused(struct pmap__job *job, const struct pmap__ticket *ticket, const struct pmap__frame *frame)
{
    struct pmap_error error = *frame->error;
    if (error.status == PMAP_EINVAL)
        snprintf(error.text, sizeof error.text, "pmap: %s (rank %d) does not know %s %s: every rank must register it "
                 "before pmap_create", error.host, ticket->rank, job->fold ? "the operation or the task" : "task",
                 job->form.task->name);
    pmap__job_fail(job, ticket->begin, ticket->n, &error);
}

static void no_memory_for_results(struct pmap__ticket *ticket, size_t begin, size_t n)
{
    struct pmap_error error;
    pmap__error_set(&error, PMAP_ENOMEM, "pmap: no memory on the root for the result of item %zu", ticket->job->base + begin);
    pmap__job_fail(ticket->job, begin, n, &error);
}

/* The values of leaves, each by itself. */
static enum pmap_status import_apart(struct pmap__ticket *ticket, size_t leaf, struct pmap_error *error)
{
    struct pmap__job *job = ticket->job;
    enum pmap_status status = PMAP_OK;

    for (size_t i = 0; i < ticket->n && status == PMAP_OK; i++) {
        const char *value = (const char *)ticket->in + i * job->fold->op->size;
        pmap__recall_leaf(job, leaf + i, value, ticket->rank);
        status = pmap__fold_add(job->fold, 0, leaf + i, value, error);
    }
    return status;
}

static void import(struct pmap__ticket *ticket)
{
    struct pmap__job *job = ticket->job;
    size_t begin = pmap__job_at(job, ticket->begin);
    struct pmap_error error;

    if (is_apart(job) ? import_apart(ticket, begin, &error) == PMAP_OK : pmap__fold_import(job->fold, begin, begin + ticket->n, ticket->in, &error) == PMAP_OK)
        return;
    pmap__fold_spoil(job->fold, begin * job->fold->leaf, &error);
}

/* Put results that have landed in a buffer where they belong. */
static void place_results(struct pmap__ticket *ticket, size_t size)
{
    struct pmap__job *job = ticket->job;
    const struct pmap_task *task = job->form.task;
    struct pmap__pick pick = {.element = task->result_size, .bytes = task->bytes, .begin = ticket->begin, .n = ticket->n,
                              .names = job->order};
    const size_t *names;
    const void *elements;
    size_t lost;

    if (task->bytes && ticket->n == 1) { /* it is in its own memory already */
        size_t at = job->order ? job->order[ticket->begin] : ticket->begin;
        ((struct pmap_bytes *)job->form.results)[at] = (struct pmap_bytes){ticket->in, size};
        ticket->in = NULL;
        return;
    }
    struct pmap_bytes *array = task->bytes ? calloc(ticket->n, sizeof *array) : NULL;
    if (task->bytes && array == NULL)
        no_memory_for_results(ticket, ticket->begin, ticket->n);
    else if (!pmap__unpack(ticket->in, size, ticket->n, task->result_size, task->bytes, false, &names, &elements, array))
        job->root->port->ops->abort(job->root->port, "pmap: received results with a bad size of an item");
    else if (!pmap__place(&pick, job->form.results, elements, &lost))
        no_memory_for_results(ticket, ticket->begin + lost, ticket->n - lost);
    free(array);
}

static void take_result(struct pmap__root *root, struct pmap__ticket *ticket, const struct pmap__frame *frame,
                        const void *body, size_t size)
{
    struct pmap__job *job = ticket->job;

    if (size && body == NULL) {
        no_memory_for_results(ticket, ticket->begin, ticket->n);
    } else if (job->fold) {
        if (size)
            import(ticket);
    } else if (!is_direct(ticket) && job->form.task->result_size) {
        place_results(ticket, size);
    }
    if (frame->failed)
        pmap__failures_count(&job->failures, frame->error, frame->failed);
    if (frame->skipped)
        pmap__failures_skipped(&job->failures, frame->skipped);
    if (pmap__job_is_over(job))
        atomic_store(&root->cancels, true); /* perhaps these failures were too many */
    ticket->records_due = frame->records > 0;
    measured(root, job, ticket->rank, frame->busy, (size_t)frame->n);
    size_t items = pmap__job_items(job, ticket->n), skipped = (size_t)frame->skipped;
    count_run(root, ticket->rank, frame->busy, skipped < items ? items - skipped : 0);
}

/* The i-th record names items of its chunk; of a reduction the i-th leaf. */
static const char *bad_field_of_record(const struct pmap__ticket *ticket, const struct pmap__entry *entry, uint64_t i)
{
    const struct pmap__job *job = ticket->job;
    if (job->fold)
        return entry->item != ticket->first + i ? "item" : entry->n != 1 ? "n" : NULL;
    size_t begin = job->order ? job->base : ticket->first, n = job->order ? job->form.n : ticket->n;

    if (entry->item < begin || entry->item - begin >= n)
        return "item";
    return entry->n > n - (entry->item - begin) ? "n" : NULL;
}

static void refuse_records(struct pmap__root *root, const struct pmap__ticket *ticket, const char *bad)
{
    struct pmap_error error;
    pmap__error_set(&error, PMAP_EMISMATCH, "pmap: received a record from rank %d with a bad %s", ticket->rank, bad);
    root->port->ops->abort(root->port, error.text);
}

static void read_records(struct pmap__root *root, struct pmap__ticket *ticket)
{
    const unsigned char *at = ticket->records, *end = at + ticket->records_size;
    struct pmap__failures *failures = &ticket->job->failures;
    struct pmap__entry entry;
    struct pmap_error reason, error;

    if (at == NULL) {
        failures->forgot = true;
        return;
    }
    for (uint64_t i = 0; i < ticket->records_n; i++) {
        const char *bad = NULL;
        if (pmap__entry_decode(&at, end, &entry, &reason, &error) != PMAP_OK)
            root->port->ops->abort(root->port, error.text);
        else if ((bad = bad_field_of_record(ticket, &entry, i)))
            refuse_records(root, ticket, bad);
        pmap__failures_record(failures, entry.item, entry.n, entry.status, reason.status ? &reason : NULL);
    }
    if (at != end)
        refuse_records(root, ticket, "size");
}

static void has_its_copy(struct pmap__root *root, int rank, uint64_t size)
{
    root->peers[rank].owes = false;
    root->owing--;
    root->refused |= size != root->gathering->size;
    pmap__sharing_hand_round(root);
}

/* A message that is no answer to a chunk, or makes no sense, as error says. */
static void handle_other(struct pmap__root *root, int from, const struct pmap__frame *frame, void *body, size_t size,
                         const struct pmap_error *error)
{
    if (frame->kind == PMAP__LETTER && root->place->post)
        pmap__post_deliver(root->place->post, from, frame, body, size);
    else if (frame->kind == PMAP__READY && size == 0 && root->peers[from].owes && root->gathering &&
             frame->id == root->gathering->id)
        has_its_copy(root, from, frame->size);
    else if (frame->kind == PMAP__READY && size == 0 && frame->id == 0 && root->gathering && root->ready < root->ranks - 1)
        root->ready++;
    else
        root->port->ops->abort(root->port, error->text);
}

/* An answer is complete; its body is where it landed, NULL if it could not. */
static void handle(struct pmap__root *root, int from, struct pmap__ticket *ticket, const struct pmap__frame *frame,
                   const void *body, size_t size)
{
    root->handled++;
    root->moved += size;
    pmap__bump(&root->peers[from].received, size);
    if (frame->kind == PMAP__RECORDS) {
        ticket->records_here = true;
        ticket->records_size = size;
        ticket_settle(root, ticket);
        return;
    }
    if (frame->kind == PMAP__REFUSAL)
        refused(ticket->job, ticket, frame);
    else
        take_result(root, ticket, frame, body, size);
    pmap__observe_answer(ticket, frame->kind == PMAP__REFUSAL ? PMAP__CHUNK_REFUSED : frame->failed ? PMAP__CHUNK_FAILED : PMAP__CHUNK_OK,
                         frame, size);
    ticket_answered(root, ticket);
    ticket_settle(root, ticket);
    while (offer(root, from, true))
        ;
}

static void *land(void *owner, int from, const unsigned char *head, size_t head_size, size_t size)
{
    struct pmap__frame frame = {.kind = PMAP__BYE}; /* if it cannot be read; the root gets none */
    struct pmap__inside inside;
    struct pmap_error error;
    struct pmap__root *root = owner;
    struct pmap__ticket *ticket = read_answer(root, from, head, head_size, size, true, &frame, &inside, &error);

    if (ticket)
        return landing_place(ticket, &frame, size);
    if (frame.kind == PMAP__LETTER)
        return malloc(size);
    root->port->ops->abort(root->port, error.text); /* now: what it belongs to may be gone when it has arrived */
    return NULL;
}

static void arrived(void *owner, int from, const unsigned char *head, size_t head_size, void *body, size_t size)
{
    struct pmap__frame frame = {.kind = PMAP__BYE};
    struct pmap__inside inside;
    struct pmap_error error;
    struct pmap__ticket *ticket = read_answer(owner, from, head, head_size, size, size == 0, &frame, &inside, &error);

    if (ticket)
        handle(owner, from, ticket, &frame, body, size);
    else
        handle_other(owner, from, &frame, body, size, &error);
}

static void whole(void *owner, int from, const unsigned char *head, size_t head_size, const void *body, size_t size)
{
    struct pmap__frame frame = {.kind = PMAP__BYE};
    struct pmap__inside inside;
    struct pmap_error error;
    struct pmap__ticket *ticket = read_answer(owner, from, head, head_size, size, true, &frame, &inside, &error);

    bool letter = ticket == NULL && frame.kind == PMAP__LETTER;
    void *place = NULL;
    if (size && ticket)
        place = landing_place(ticket, &frame, size);
    else if (size && letter)
        place = malloc(size);
    if (place)
        memcpy(place, body, size);
    if (ticket == NULL)
        handle_other(owner, from, &frame, place, size, &error);
    else
        handle(owner, from, ticket, &frame, place, size);
}

static void sent(void *owner, void *token)
{
    struct pmap__root *root = owner;
    struct pmap__ticket *ticket = token;

    if (pmap__post_token(token)) {
        pmap__post_sent(token);
        return;
    }
    ticket->sent = true;
    ticket_settle(root, ticket);
}

bool pmap__deal_poll(struct pmap__root *root)
{
    static const struct pmap__receiver callbacks = {.land = land, .arrived = arrived, .sent = sent, .whole = whole};
    struct pmap__receiver receiver = callbacks;
    int events = 0;

    receiver.owner = root;
    enum pmap_status status = root->port->ops->poll(root->port, &receiver, &events);
    if (status != PMAP_OK)
        root->port->ops->abort(root->port, "pmap: the root could not receive");
    return events > 0;
}
