/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A chunk on a rank that serves goes through these hands: its items land in a buffer of its own (the loop); the team
 * gets it as a work (the loop adds it); threads run it into a second buffer; the last thread to leave puts it into the
 * list of finished chunks and rings; the loop sends the results from the buffer, after the records of what failed if
 * the root wants them; when they are sent the chunk, buffers
 * and all, is ready for another. So each buffer has one owner at a time, and there are never more chunks than the root
 * lets this rank hold. A CANCEL marks the chunks of its job, whoever has them.
 *
 * A rank with one thread lends it to its team: the loop runs a grain, looks for messages, runs the next. Two threads
 * would fight for the one CPU that such a rank usually has. With more threads the loop has its own and sleeps while
 * they compute. On the lent thread a task that asks pmap_cancelled() has the loop's messages handled meanwhile.
 */
#include "engine/serve.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "engine/fold.h"
#include "engine/isolate.h"
#include "engine/pack.h"
#include "engine/post.h"
#include "engine/recorder.h"
#include "engine/registry.h"
#include "engine/share.h"
#include "wire/frame.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The root keeps a rank supplied for a millisecond or more. */
#define NAP (500 * PMAP__US)

/* A spare chunk keeps buffers up to this size. What is larger costs more to fill than to allocate, and a rank shall not hold
 * on to the largest item that ever came for as long as the pool lives. */
#define KEPT ((size_t)1 << 20)

struct chunk {
    struct pmap__work work;
    struct pmap__server *server;
    const struct pmap_task *task;
    struct pmap__frame frame; /* as it came */
    struct pmap__buffer body, results; /* what came, and an element for each result */
    size_t body_size;
    struct pmap__buffer array; /* of bytes: a struct pmap_bytes for each item */
    const void *items;         /* elements, in body or array */
    const size_t *names;       /* in body; NULL: neighbours */
    struct pmap__fold fold;    /* of a reduction */
    struct pmap__failures failures;
    atomic_bool cancelled;
    struct pmap__subject subject; /* number 0: nobody observes it; else */
    uint64_t arrived, ended;      /* when it was here, and when the last thread had done with it; */
    _Atomic uint64_t begun;       /* when the first began; 0: none has */
    void *packed;              /* what is sent, if it had to be packed, */
    void *records;             /* and in front of it */
    int unsent;                /* messages of these two whose body is still borrowed */
    struct chunk *before, *after; /* in the server's list of those that it holds */
    struct chunk *next;           /* in another of the server's lists, or none */
};

/* The way into a collective call: see sharing.c. The root never asks for two at once. */
struct sharing {
    bool hold;  /* we are wanted, and have not answered yet */
    bool ready; /* we have, and begin no item on the loop's own thread until it is over: it would keep all others waiting */
    bool enter, remove; /* all are ready: which call it is, */
    uint64_t id, size;  /* and of what */
};

struct pmap__server {
    struct pmap__loop loop;
    bool by_progress;       /* the progress thread steps the loop; otherwise the caller, who sleeps on */
    struct pmap__bell bell;
    struct pmap__port *port;
    struct pmap__team *team;
    const struct pmap__place *place;
    int root;
    struct chunk *held;     /* chunks in anybody's hands */
    struct chunk *landing;  /* whose items are on their way */
    struct chunk *spare;    /* ready for use */
    struct sharing sharing;
    struct pmap__shares shared;
    bool bye;
    struct pmap__meetings met; /* what the goodbye said */
    const struct pmap_task *last_task; /* of the last chunk: the next is likely the same */

    _Atomic(struct chunk *) finished; /* a stack: any thread of the team adds, the loop takes all */
};

/* This rank cannot go on, and the root would wait for it for ever: the end of the MPI job. */
static void fail(struct pmap__server *server, const char *what)
{
    char text[600];
    snprintf(text, sizeof text, "pmap: %s (rank %d): %s", server->place->host, server->place->rank, what);
    server->port->ops->abort(server->port, text);
}

/* ---- Chunks ---- */

static struct chunk *chunk_take(struct pmap__server *server)
{
    struct chunk *chunk = server->spare;

    if (chunk) {
        server->spare = chunk->next;
    } else {
        chunk = calloc(1, sizeof *chunk);
        if (chunk == NULL)
            return NULL;
        pmap__failures_init(&chunk->failures); /* glibc's mutexes cannot fail */
        chunk->server = server;
    }
    chunk->names = NULL;
    chunk->work.place.waiting = false;
    chunk->fold.op = NULL;
    chunk->subject.number = chunk->ended = 0;
    atomic_init(&chunk->begun, 0);
    atomic_init(&chunk->cancelled, false);
    chunk->before = NULL;
    chunk->after = server->held;
    if (chunk->after)
        chunk->after->before = chunk;
    server->held = chunk;
    return chunk;
}

static void trim(struct pmap__buffer *buffer)
{
    if (buffer->capacity > KEPT)
        pmap__buffer_fini(buffer);
}

/* Results that have not been given away are freed: a task of bytes made them. */
static void chunk_give(struct chunk *chunk)
{
    struct pmap__server *server = chunk->server;

    if (chunk->task->bytes && chunk->results.bytes)
        pmap_bytes_free(chunk->results.bytes, (size_t)chunk->frame.n);
    if (chunk->fold.op)
        pmap__fold_fini(&chunk->fold);
    free(chunk->packed);
    free(chunk->records);
    chunk->packed = chunk->records = NULL;
    pmap__failures_clear(&chunk->failures);
    trim(&chunk->body);
    trim(&chunk->results);
    trim(&chunk->array);
    *(chunk->before ? &chunk->before->after : &server->held) = chunk->after;
    if (chunk->after)
        chunk->after->before = chunk->before;
    chunk->next = server->spare;
    server->spare = chunk;
}

static void chunk_destroy(struct chunk *chunk)
{
    pmap__buffer_fini(&chunk->body);
    pmap__buffer_fini(&chunk->results);
    pmap__buffer_fini(&chunk->array);
    pmap__failures_fini(&chunk->failures);
    free(chunk);
}

static struct pmap__limits limits_of(const struct pmap__frame *f)
{
    return (struct pmap__limits){.timeout = f->timeout, .max_rss = f->max_rss};
}

static void run_init(struct pmap__run *run, struct chunk *chunk, int thread)
{
    pmap__run_clear(run);
    run->task = chunk->task;
    run->place = chunk->server->place;
    run->thread = thread;
    run->failures = &chunk->failures;
    run->cancelled = &chunk->cancelled;
    run->seed = chunk->frame.seed;
    run->limits = limits_of(&chunk->frame);
    run->args = chunk->items;
    run->results = chunk->results.bytes;
    run->base = (size_t)chunk->frame.begin;
    run->names = chunk->names;
}

/* A thread finds the chunk cancelled: it takes all that nobody has begun. */
static void skip_rest(struct chunk *chunk, struct pmap__run *run)
{
    size_t begin, end;

    if (!pmap__work_take_rest(&chunk->work, &begin, &end))
        return;
    if (chunk->fold.op)
        pmap__failures_skipped(&chunk->failures, end - begin);
    else
        pmap__run_skip(run, begin, end);
}

static void run(struct pmap__work *work, struct pmap__turn *turn)
{
    struct chunk *chunk = (struct chunk *)work; /* its first member */
    struct pmap__run run;

    struct pmap__noting noting;

    uint64_t since = work->bulk ? 0 : pmap__now(); /* the team does not measure single pieces, but the root may want to know */
    run_init(&run, chunk, turn->thread);
    if (chunk->subject.number) {
        pmap__noting_begin(&noting, chunk->server->place->recorder, &chunk->subject, turn->thread);
        atomic_compare_exchange_strong(&chunk->begun, &(uint64_t){0}, noting.since);
        run.noting = &noting;
    }
    pmap__run_begin(&run);
    while (pmap__turn_next(turn)) {
        if (chunk->fold.op)
            pmap__fold_span(&chunk->fold, &run, turn->begin, turn->end);
        else
            pmap__run_span(&run, turn->begin, turn->end);
        if (atomic_load_explicit(&chunk->cancelled, memory_order_relaxed))
            skip_rest(chunk, &run);
    }
    pmap__run_end(&run);
    if (run.noting)
        pmap__noting_end(&noting);
    if (!work->bulk)
        atomic_fetch_add_explicit(&work->busy, pmap__now() - since, memory_order_relaxed);
}

static void finished(struct pmap__work *work)
{
    struct chunk *chunk = (struct chunk *)work;
    struct pmap__server *server = chunk->server;

    if (chunk->subject.number)
        chunk->ended = pmap__now();
    chunk->next = atomic_load(&server->finished);
    while (!atomic_compare_exchange_weak(&server->finished, &chunk->next, chunk))
        ;
    pmap__bell_ring(server->loop.bell);
}

/* ---- What goes out ---- */

/* True if the body, which the chunk owns, is borrowed until sent(). */
static bool send_frame(struct pmap__server *server, const struct pmap__frame *frame, const void *body, size_t size,
                       struct chunk *chunk)
{
    unsigned char head[PMAP__HEAD_MAX];
    size_t head_size = pmap__frame_encode(frame, head);
    bool borrowed = size > server->port->copied;
    enum pmap_status status = server->port->ops->send(server->port, server->root, head, head_size, body, size,
                                                      borrowed ? chunk : NULL);
    if (status != PMAP_OK)
        fail(server, "an answer could not be sent");
    return borrowed;
}

static bool failed(const struct chunk *chunk)
{
    return chunk->failures.count || chunk->failures.cancelled;
}

/* The records of all failures, side by side; NULL if memory is short. */
static void *encode_records(const struct pmap__record *records, uint64_t *n, size_t *size)
{
    size_t room = 0, at = 0;
    unsigned char *bytes = NULL;

    *n = 0;
    for (const struct pmap__record *r = records; r; r = r->next)
        room += r->error ? PMAP__HEAD_MAX : 64;
    room += PMAP__HEAD_MAX; /* the last is written with room to spare */
    bytes = malloc(room);
    for (const struct pmap__record *r = records; r && bytes; r = r->next, ++*n)
        at += pmap__entry_encode(&(struct pmap__entry){r->item, r->n, r->status}, r->error, bytes + at);
    *size = at;
    return bytes;
}

/* Of a reduction nothing is sent unless every leaf is well: so none of them is. */
static void record_all_leaves(struct chunk *chunk)
{
    const struct pmap__frame *f = &chunk->frame;
    enum pmap_status status = chunk->failures.count ? PMAP_EFAILED : PMAP_ECANCELLED;
    uint64_t count = chunk->failures.count, cancelled = chunk->failures.cancelled;
    struct pmap_error lowest;

    if (count) {
        pmap__failures_lowest(&chunk->failures, &lowest);
        status = lowest.status;
    }
    pmap__failures_clear(&chunk->failures);
    for (uint64_t i = 0; i < f->n; i++)
        pmap__failures_record(&chunk->failures, (size_t)(f->begin + i), 1, status, NULL);
    if (count)
        pmap__failures_count(&chunk->failures, &lowest, count);
    if (cancelled)
        pmap__failures_skipped(&chunk->failures, cancelled);
}

/* Send the records, *n of them, if there are any; true if they are borrowed. */
static bool send_records(struct chunk *chunk, uint64_t *n)
{
    const struct pmap__frame *f = &chunk->frame;
    size_t size;

    *n = 0;
    if (chunk->fold.op && failed(chunk) && chunk->failures.keep != PMAP__KEEP_NOTHING)
        record_all_leaves(chunk);
    if (chunk->failures.records == NULL && !chunk->failures.forgot)
        return false;
    chunk->records = encode_records(chunk->failures.records, n, &size);
    if (chunk->records == NULL || chunk->failures.forgot) {
        fail(chunk->server, "no memory to note which items failed");
        return false;
    }
    struct pmap__frame records = {.kind = PMAP__RECORDS, .ticket = f->ticket, .begin = f->begin, .n = f->n, .records = *n};
    return send_frame(chunk->server, &records, chunk->records, size, chunk);
}

/* The body of the results; PMAP_ENOMEM. */
static enum pmap_status find_body(struct chunk *chunk, const void **body, size_t *size)
{
    const struct pmap__frame *f = &chunk->frame;
    struct pmap__pick pick = {.array = chunk->results.bytes, .element = (size_t)f->result_size, .bytes = chunk->task->bytes,
                              .n = (size_t)f->n};

    if (chunk->fold.op == NULL)
        return pmap__pack(&pick, false, body, size, &chunk->packed);
    size_t begin = (size_t)f->begin, end = begin + (size_t)f->n;
    *size = failed(chunk) ? 0 : pmap__fold_values(&chunk->fold, begin, end) * chunk->fold.op->size;
    *body = chunk->packed = malloc(*size ? *size : 1);
    if (chunk->packed && *size)
        pmap__fold_export(&chunk->fold, begin, end, chunk->packed);
    return chunk->packed ? PMAP_OK : PMAP_ENOMEM;
}

static void send_refusal(struct pmap__server *server, const struct pmap__frame *f, enum pmap_status status);

/* A chunk of which no thread ran anything, for it was cancelled, began when it ended. */
static void tell_times(struct chunk *chunk, struct pmap__frame *answer)
{
    uint64_t begun = atomic_load(&chunk->begun);

    answer->timed = chunk->frame.wants & PMAP__TRACED;
    if (!answer->timed)
        return;
    answer->arrived = chunk->arrived;
    answer->ended = chunk->ended ? chunk->ended : pmap__now();
    answer->begun = begun ? begun : answer->ended;
}

static void send_result(struct chunk *chunk)
{
    const struct pmap__frame *f = &chunk->frame;
    struct pmap__frame answer = {.kind = PMAP__RESULT, .ticket = f->ticket, .begin = f->begin, .n = f->n,
                                 .busy = atomic_load(&chunk->work.busy), .failed = chunk->failures.count,
                                 .skipped = chunk->failures.cancelled};
    struct pmap_error lowest;
    const void *body;
    size_t size;

    if (find_body(chunk, &body, &size) != PMAP_OK) {
        send_refusal(chunk->server, f, PMAP_ENOMEM);
        chunk_give(chunk);
        return;
    }
    tell_times(chunk, &answer);
    chunk->unsent = send_records(chunk, &answer.records);
    if (chunk->failures.count) {
        pmap__failures_lowest(&chunk->failures, &lowest);
        answer.error = &lowest;
    }
    chunk->unsent += send_frame(chunk->server, &answer, body, size, chunk);
    if (chunk->unsent == 0)
        chunk_give(chunk);
}

static void send_refusal(struct pmap__server *server, const struct pmap__frame *f, enum pmap_status status)
{
    struct pmap_error error;
    struct pmap__frame answer = {.kind = PMAP__REFUSAL, .ticket = f->ticket, .begin = f->begin, .n = f->n, .error = &error};
    if (status == PMAP_ENOMEM)
        pmap__error_set(&error, status, "pmap: no memory for %zu items of %zu bytes and their results of %zu "
                        "bytes on %s (rank %d)", (size_t)f->n, (size_t)f->args_size, (size_t)f->result_size,
                        server->place->host, server->place->rank);
    else
        pmap__error_set(&error, status, "pmap: no such task on rank %d", server->place->rank);
    error.item = (size_t)f->begin;
    error.rank = server->place->rank;
    memcpy(error.host, server->place->host, sizeof error.host);
    send_frame(server, &answer, NULL, 0, NULL);
}

static bool send_finished(struct pmap__server *server)
{
    struct chunk *chunk = atomic_exchange(&server->finished, NULL);
    bool any = chunk != NULL;
    while (chunk) {
        struct chunk *next = chunk->next;
        send_result(chunk);
        chunk = next;
    }
    return any;
}

/* ---- What comes in ---- */

/* The task of a chunk, with the sizes that the root says; NULL if this rank has no such task. */
static const struct pmap_task *task_of(struct pmap__server *server, const struct pmap__frame *f)
{
    if (server->last_task == NULL || server->last_task->id != f->task)
        server->last_task = pmap__task_find(f->task);
    const struct pmap_task *task = server->last_task;
    return task && task->args_size == f->args_size && task->result_size == f->result_size ? task : NULL;
}

/* Bytes of the items of a chunk; 0 with bytes and names, where the body alone knows. */
static size_t items_size(const struct pmap__frame *f)
{
    uint64_t n = f->n;
    if (f->op) {
        uint64_t left = f->total - f->begin * f->leaf;
        n = left / f->leaf < f->n ? left : f->n * f->leaf;
    }
    return (size_t)(n * f->args_size);
}

/* A chunk with room for its items and results; NULL and why not. */
static struct chunk *prepare(struct pmap__server *server, const struct pmap__frame *f, size_t size, enum pmap_status *why)
{
    const struct pmap_task *task = task_of(server, f);
    const struct pmap_op *op = f->op ? pmap__op_find(f->op) : NULL;
    bool known = task && (f->op == 0 || (op && op->size == f->result_size));
    struct chunk *chunk = known ? chunk_take(server) : NULL;
    size_t results = f->op ? 0 : (size_t)(f->n * f->result_size);

    *why = known ? PMAP_ENOMEM : PMAP_EINVAL;
    if (chunk == NULL)
        return NULL;
    chunk->task = task;
    chunk->frame = *f;
    chunk->body_size = size;
    if (!pmap__buffer_reserve(&chunk->body, size) || !pmap__buffer_reserve(&chunk->results, results) ||
        (task->bytes && !pmap__buffer_reserve(&chunk->array, (size_t)f->n * sizeof(struct pmap_bytes))))
        goto fail;
    if (task->bytes)
        memset(chunk->results.bytes, 0, results); /* it is looked at before it is freed */
    if (op && !pmap__fold_init(&chunk->fold, op, (size_t)f->leaf, (size_t)f->total, server->place))
        goto fail;
    chunk->fold.verdict = &chunk->failures;
    chunk->fold.cancelled = &chunk->cancelled;
    chunk->fold.apart = f->wants & PMAP__APART;
    chunk->fold.limits = limits_of(f);
    return chunk;
fail:
    chunk->frame.n = 0; /* it has no results to free */
    chunk_give(chunk);
    return NULL;
}

static enum pmap__keep what_to_keep(unsigned wants)
{
    if (wants & PMAP__WANT_REASONS)
        return PMAP__KEEP_REASONS;
    return wants & PMAP__WANT_RECORDS ? PMAP__KEEP_RECORDS : PMAP__KEEP_NOTHING;
}

static void start(struct chunk *chunk)
{
    const struct pmap__frame *f = &chunk->frame;
    struct pmap__server *server = chunk->server;

    chunk->items = chunk->body_size ? chunk->body.bytes : NULL;
    if (f->op == 0 && !pmap__unpack(chunk->body.bytes, chunk->body_size, (size_t)f->n, (size_t)f->args_size, chunk->task->bytes,
                                    f->wants & PMAP__NAMED, &chunk->names, &chunk->items, chunk->array.bytes)) {
        fail(server, "received a chunk with a bad size of an item");
        return;
    }
    if (f->wants & PMAP__TRACED) {
        chunk->subject = (struct pmap__subject){.number = server->place->recorder ? f->observer : 0, .call = f->call,
                                                .chunk = f->chunk, .attempt = f->attempt};
        chunk->arrived = pmap__now();
    }
    chunk->failures.keep = what_to_keep(f->wants);
    chunk->failures.limit = f->wants & PMAP__WANT_STOP ? 1 : 0;
    chunk->failures.stop = &chunk->cancelled;
    chunk->work.n = (size_t)f->n;
    chunk->work.grain = (size_t)f->grain;
    chunk->work.priority = f->priority == INT_MIN ? INT_MIN + 1 : f->priority;
    chunk->work.bulk = !(f->wants & PMAP__SINGLE);
    chunk->work.run = run;
    chunk->work.finished = finished;
    pmap__work_init(&chunk->work);
    pmap__team_add(server->team, &chunk->work);
}

/* May the body of this chunk have so many bytes? */
static bool is_right_size(const struct pmap_task *task, const struct pmap__frame *f, size_t size)
{
    if (task == NULL) /* it will be refused */
        return true;
    if (f->op)
        return !task->bytes && size == items_size(f);
    return pmap__body_fits(size, (size_t)f->n, task->args_size, task->bytes, f->wants & PMAP__NAMED);
}

/* Where the body of this message goes; NULL if it is none that has one, or there is no room: handle() says what is wrong. */
static void *landing_place(struct pmap__server *server, const struct pmap__frame *f, size_t size)
{
    enum pmap_status why;

    if (f->kind == PMAP__LETTER)
        return malloc(size);
    if (f->kind != PMAP__CHUNK || !is_right_size(task_of(server, f), f, size))
        return NULL;
    struct chunk *chunk = prepare(server, f, size, &why);
    if (chunk == NULL)
        return NULL;
    chunk->next = server->landing;
    server->landing = chunk;
    return chunk->body.bytes;
}

static struct chunk *landed(struct pmap__server *server, const void *body)
{
    struct chunk **at = &server->landing;
    while (*at && (*at)->body.bytes != body)
        at = &(*at)->next;
    struct chunk *chunk = *at;
    if (chunk)
        *at = chunk->next;
    return chunk;
}

static void chunk_arrived(struct pmap__server *server, const struct pmap__frame *f, const void *body, size_t size)
{
    enum pmap_status why = task_of(server, f) ? PMAP_ENOMEM : PMAP_EINVAL;
    struct chunk *chunk = NULL;

    if (body)
        chunk = landed(server, body);
    else if (size == 0)
        chunk = prepare(server, f, 0, &why);
    else if (f->op && pmap__op_find(f->op) == NULL)
        why = PMAP_EINVAL;
    if (chunk)
        start(chunk);
    else
        send_refusal(server, f, why);
}

/* What no thread has begun is answered at once. */
static void cancel(struct pmap__server *server, uint64_t job)
{
    for (struct chunk *chunk = server->held; chunk; chunk = chunk->after) {
        if (chunk->frame.job != job)
            continue;
        atomic_store(&chunk->cancelled, true);
        if (pmap__team_withdraw(server->team, &chunk->work)) {
            struct pmap__run run;
            run_init(&run, chunk, 0);
            skip_rest(chunk, &run);
            finished(&chunk->work);
        }
    }
}

static bool is_own_copy(const struct pmap__server *server, int from, const struct pmap__frame *f)
{
    return server->port->survives && from == server->root && (f->kind == PMAP__SHARE || f->kind == PMAP__UNSHARE);
}

/* Where ranks may die each has its own copy of what is shared: see sharing.c. No item runs that uses what is taken away. */
static void take_copy(struct pmap__server *server, const struct pmap__frame *f, const void *body, size_t size)
{
    struct pmap__frame answer = {.kind = PMAP__READY, .id = f->id, .size = f->size};

    if (f->kind == PMAP__UNSHARE) {
        pmap__shares_remove(&server->shared, server->port, f->id);
        return;
    }
    if (size != f->size)
        fail(server, "shared data came whose size is wrong");
    if (pmap__shares_add(&server->shared, NULL, server->root, f->id, body, size) != PMAP_OK)
        answer.size = 0;
    send_frame(server, &answer, NULL, 0, NULL);
}

/* A message is complete; its body, if it has one, has landed, or could not. */
static void handle(struct pmap__server *server, int from, const struct pmap__frame *f, void *body, size_t size)
{
    if (f->kind == PMAP__LETTER && server->place->post) {
        pmap__post_deliver(server->place->post, from, f, body, size);
        return;
    }
    bool chunk = f->kind == PMAP__CHUNK && is_right_size(task_of(server, f), f, size);

    if (from != server->root) {
        fail(server, "a message came that nobody should send");
        return;
    }
    if (f->kind != PMAP__CHUNK && size > 0) {
        fail(server, "received a message with a bad size");
        return;
    }
    switch (f->kind) {
    case PMAP__CHUNK:
        if (chunk)
            chunk_arrived(server, f, body, size);
        else
            fail(server, "received a chunk with a bad size");
        break;
    case PMAP__CANCEL:
        cancel(server, f->job);
        break;
    case PMAP__HOLD:
        server->sharing.hold = true;
        break;
    case PMAP__SHARE:
    case PMAP__UNSHARE:
        if (!server->sharing.ready || server->sharing.enter) {
            fail(server, "a call came that this rank is not ready for");
            break;
        }
        server->sharing.enter = true;
        server->sharing.remove = f->kind == PMAP__UNSHARE;
        server->sharing.id = f->id;
        server->sharing.size = f->size;
        break;
    case PMAP__LOST:
        if (!server->port->survives || f->rank >= server->port->size || f->rank == server->root || f->rank == server->port->rank) {
            fail(server, "was told of a death with a bad rank");
            break;
        }
        server->port->ops->lost(server->port, f->rank);
        if (server->place->post)
            pmap__post_lost(server->place->post, f->rank);
        break;
    case PMAP__BYE:
        server->bye = true;
        server->met = *f->met;
        server->met.root = server->root;
        break;
    default:
        fail(server, "a message came that nobody should send");
    }
}

static void *land(void *owner, int from, const unsigned char *head, size_t head_size, size_t size)
{
    struct pmap__frame f;
    struct pmap__inside inside;
    (void)from;

    if (pmap__frame_decode(head, head_size, &f, &inside, NULL) != PMAP_OK)
        return NULL; /* arrived() says what is wrong */
    return landing_place(owner, &f, size);
}

static void arrived(void *owner, int from, const unsigned char *head, size_t head_size, void *body, size_t size)
{
    struct pmap__frame f;
    struct pmap__inside inside;
    struct pmap_error error;

    if (pmap__frame_decode(head, head_size, &f, &inside, &error) != PMAP_OK)
        fail(owner, error.text);
    else
        handle(owner, from, &f, body, size);
}

static void whole(void *owner, int from, const unsigned char *head, size_t head_size, const void *body, size_t size)
{
    struct pmap__frame f;
    struct pmap__inside inside;
    struct pmap_error error;

    if (pmap__frame_decode(head, head_size, &f, &inside, &error) != PMAP_OK) {
        fail(owner, error.text);
        return;
    }
    if (is_own_copy(owner, from, &f)) {
        take_copy(owner, &f, body, size);
        return;
    }
    void *place = size ? landing_place(owner, &f, size) : NULL;
    if (place)
        memcpy(place, body, size);
    handle(owner, from, &f, place, size);
}

static void sent(void *owner, void *token)
{
    struct chunk *chunk = token;
    (void)owner;
    if (pmap__post_token(token))
        pmap__post_sent(token);
    else if (--chunk->unsent == 0)
        chunk_give(chunk);
}

static void enter_sharing(struct pmap__server *server)
{
    const struct sharing *s = &server->sharing;

    if (s->remove)
        pmap__shares_remove(&server->shared, server->port, s->id);
    else if (pmap__shares_add(&server->shared, server->port, server->root, s->id, NULL, (size_t)s->size) == PMAP_EMPI)
        fail(server, "data could not be shared");
}

/* Take part in what the root shares. Outside of poll, for these are collective calls, and outside of items. The next HOLD may
 * have come with the call before it, but never two calls. */
static bool take_part(struct pmap__server *server)
{
    struct sharing *s = &server->sharing;
    bool happened = s->enter || s->hold;

    if (s->enter) {
        enter_sharing(server);
        s->enter = s->ready = false;
    }
    if (s->hold) {
        send_frame(server, &(struct pmap__frame){.kind = PMAP__READY}, NULL, 0, NULL);
        s->hold = false;
        s->ready = true;
    }
    return happened;
}

/* ---- The loop ---- */

static bool poll(struct pmap__server *server)
{
    struct pmap__receiver receiver = {.land = land, .arrived = arrived, .sent = sent, .owner = server, .whole = whole};
    int events = 0;

    enum pmap_status status = server->port->ops->poll(server->port, &receiver, &events);
    if (status != PMAP_OK)
        fail(server, status == PMAP_ENOMEM ? "no memory to receive a message" : "receiving failed");
    return events > 0;
}

static bool send_letters(struct pmap__server *server)
{
    enum pmap_status status = PMAP_OK;
    bool any = server->place->post && pmap__post_flush(server->place->post, &status);

    if (status != PMAP_OK)
        fail(server, "a letter could not be sent");
    return any;
}

void pmap__server_attend(void *server)
{
    poll(server);
    send_letters(server);
    send_finished(server);
}

static bool step(struct pmap__loop *loop)
{
    struct pmap__server *server = (struct pmap__server *)loop; /* its first member */

    bool happened = poll(server);
    happened |= take_part(server);
    if (!server->sharing.ready)
        happened |= pmap__team_step(server->team);
    happened |= send_letters(server); /* before the results: who has them may count on what was written */
    happened |= send_finished(server);
    /* While all threads compute nothing can come that they wait for, and what they finish rings. */
    loop->nap = pmap__team_busy(server->team) ? NAP : 0;
    loop->finished = server->bye && server->held == NULL && !server->port->ops->active(server->port);
    return happened;
}

/* ---- Life ---- */

enum pmap_status pmap__server_create(struct pmap__port *port, struct pmap__team *team, int root,
                                     const struct pmap__place *place, bool by_progress, struct pmap__server **server)
{
    struct pmap__server *s = calloc(1, sizeof *s);

    if (s == NULL)
        return PMAP_ENOMEM;
    s->by_progress = by_progress;
    if (by_progress ? pmap__progress_hold() != PMAP_OK : !pmap__bell_init(&s->bell)) {
        free(s);
        return PMAP_ENOMEM;
    }
    s->loop = (struct pmap__loop){.step = step, .polls = true, .bell = &s->bell};
    s->port = port;
    s->team = team;
    s->root = root;
    s->place = place;
    s->shared.shelved = place->cells;
    s->shared.file = pmap__cells_file(place->cells);
    if (place->post)
        place->post->loop = &s->loop;
    *server = s;
    return PMAP_OK;
}

void pmap__server_destroy(struct pmap__server *server)
{
    if (server == NULL)
        return;
    while (server->spare) {
        struct chunk *chunk = server->spare;
        server->spare = chunk->next;
        chunk_destroy(chunk);
    }
    if (server->by_progress)
        pmap__progress_release();
    else
        pmap__bell_fini(&server->bell);
    free(server);
}

/* On the thread that may use the port. */
static void close_port(void *argument)
{
    struct pmap__server *server = argument;
    pmap__shares_clear(&server->shared, server->port);
    server->port->ops->close(server->port, &server->met);
}

void pmap__server_run(struct pmap__server *server)
{
    if (server->by_progress) {
        pmap__progress_add(&server->loop);
        pmap__progress_join(&server->loop);
    } else {
        pmap__loop_run(&server->loop);
    }
    if (server->by_progress)
        pmap__progress_call(close_port, server);
    else
        close_port(server);
    pmap__team_destroy(server->team);
    pmap__server_destroy(server);
}
