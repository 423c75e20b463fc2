/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A chunk on a rank that serves goes through these hands: its items land in a buffer of its own (the loop); the team
 * gets it as a work (the loop adds it); threads run it into a second buffer; the last thread to leave puts it into the
 * list of finished chunks and rings; the loop sends the results from the buffer; when they are sent the chunk, buffers
 * and all, is ready for another. So each buffer has one owner at a time, and there are never more chunks than the root
 * lets this rank hold.
 *
 * A rank with one thread lends it to its team: the loop runs a grain, looks for messages, runs the next. Two threads
 * would fight for the one CPU that such a rank usually has. With more threads the loop has its own and sleeps while
 * they compute.
 */
#include "engine/serve.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "engine/registry.h"
#include "wire/frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The root keeps a rank supplied for a millisecond or more. */
#define NAP (500 * PMAP__US)

struct chunk {
    struct pmap__work work;
    struct pmap__server *server;
    const struct pmap_task *task;
    struct pmap__frame frame; /* as it came */
    struct pmap__buffer args, results;
    struct pmap__failures failures;
    struct chunk *next; /* in one of the server's lists, or none */
};

struct pmap__server {
    struct pmap__loop loop;
    bool by_progress;       /* the progress thread steps the loop; otherwise the caller, who sleeps on */
    struct pmap__bell bell;
    struct pmap__port *port;
    struct pmap__team *team;
    struct pmap__place place;
    int root;
    struct chunk *landing;  /* whose items are on their way */
    struct chunk *spare;    /* ready for use */
    size_t held;            /* chunks in anybody's hands */
    bool bye;
    struct pmap__refusals refused; /* what the goodbye said */
    const struct pmap_task *last_task; /* of the last chunk: the next is likely the same */

    _Atomic(struct chunk *) finished; /* a stack: any thread of the team adds, the loop takes all */
};

/* This rank cannot go on, and the root would wait for it for ever: the end of the MPI job. */
static void fail(struct pmap__server *server, const char *what)
{
    char text[600];
    snprintf(text, sizeof text, "pmap: %s (rank %d): %s", server->place.host, server->place.rank, what);
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
        if (!pmap__failures_init(&chunk->failures)) {
            free(chunk);
            return NULL;
        }
        chunk->server = server;
    }
    chunk->failures.count = 0;
    server->held++;
    return chunk;
}

static void chunk_give(struct chunk *chunk)
{
    struct pmap__server *server = chunk->server;
    server->held--;
    chunk->next = server->spare;
    server->spare = chunk;
}

static void chunk_destroy(struct chunk *chunk)
{
    pmap__buffer_fini(&chunk->args);
    pmap__buffer_fini(&chunk->results);
    pmap__failures_fini(&chunk->failures);
    free(chunk);
}

static void run(struct pmap__work *work, struct pmap__turn *turn)
{
    struct chunk *chunk = (struct chunk *)work; /* its first member */
    const struct pmap__frame *f = &chunk->frame;
    struct pmap__run run;

    pmap__run_begin(&run, chunk->task, &chunk->server->place, turn->thread, &chunk->failures);
    while (pmap__turn_next(turn))
        pmap__run_items(&run, turn->end - turn->begin,
                        pmap__element(chunk->args.bytes, turn->begin, (size_t)f->args_size),
                        pmap__element_mutable(chunk->results.bytes, turn->begin, (size_t)f->result_size),
                        (size_t)f->begin + turn->begin);
    pmap__run_end(&run);
}

static void finished(struct pmap__work *work)
{
    struct chunk *chunk = (struct chunk *)work;
    struct pmap__server *server = chunk->server;

    chunk->next = atomic_load(&server->finished);
    while (!atomic_compare_exchange_weak(&server->finished, &chunk->next, chunk))
        ;
    pmap__bell_ring(server->loop.bell);
}

/* ---- What goes out ---- */

static void send_frame(struct pmap__server *server, const struct pmap__frame *frame, const void *body, size_t size,
                       void *token)
{
    unsigned char head[PMAP__HEAD_MAX];
    size_t head_size = pmap__frame_encode(frame, head);
    enum pmap_status status = server->port->ops->send(server->port, server->root, head, head_size, body, size, token);
    if (status != PMAP_OK)
        fail(server, "an answer could not be sent");
}

static void send_result(struct chunk *chunk)
{
    const struct pmap__frame *f = &chunk->frame;
    struct pmap__frame answer = {.kind = PMAP__RESULT, .ticket = f->ticket, .begin = f->begin, .n = f->n,
                                 .busy = atomic_load(&chunk->work.busy), .failed = chunk->failures.count};

    if (chunk->failures.count)
        answer.error = &chunk->failures.lowest;
    send_frame(chunk->server, &answer, chunk->results.bytes, (size_t)(f->n * f->result_size), chunk);
}

static void send_refusal(struct pmap__server *server, const struct pmap__frame *f, enum pmap_status status)
{
    struct pmap_error error;
    struct pmap__frame answer = {.kind = PMAP__REFUSAL, .ticket = f->ticket, .begin = f->begin, .n = f->n, .error = &error};
    if (status == PMAP_ENOMEM)
        pmap__error_set(&error, status, "pmap: no memory for %zu items of %zu bytes and their results of %zu "
                        "bytes on %s (rank %d)", (size_t)f->n, (size_t)f->args_size, (size_t)f->result_size,
                        server->place.host, server->place.rank);
    else
        pmap__error_set(&error, status, "pmap: no such task on rank %d", server->place.rank);
    error.item = (size_t)f->begin;
    error.rank = server->place.rank;
    memcpy(error.host, server->place.host, sizeof error.host);
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

/* A chunk with room for its items and results; NULL and why not. */
static struct chunk *prepare(struct pmap__server *server, const struct pmap__frame *f, enum pmap_status *why)
{
    const struct pmap_task *task = task_of(server, f);
    struct chunk *chunk = task ? chunk_take(server) : NULL;

    *why = task ? PMAP_ENOMEM : PMAP_EINVAL;
    if (chunk == NULL)
        return NULL;
    chunk->task = task;
    chunk->frame = *f;
    if (!pmap__buffer_reserve(&chunk->args, (size_t)(f->n * f->args_size)) ||
        !pmap__buffer_reserve(&chunk->results, (size_t)(f->n * f->result_size))) {
        chunk_give(chunk);
        return NULL;
    }
    return chunk;
}

static void start(struct chunk *chunk)
{
    chunk->work.n = (size_t)chunk->frame.n;
    chunk->work.grain = (size_t)chunk->frame.grain;
    chunk->work.run = run;
    chunk->work.finished = finished;
    pmap__work_init(&chunk->work);
    pmap__team_add(chunk->server->team, &chunk->work);
}

static void *land(void *owner, int from, const unsigned char *head, size_t head_size, size_t size)
{
    struct pmap__server *server = owner;
    struct pmap__frame f;
    struct pmap_error inside;
    enum pmap_status why;
    (void)from;

    if (pmap__frame_decode(head, head_size, &f, &inside, NULL) != PMAP_OK || f.kind != PMAP__CHUNK || size != f.n * f.args_size)
        return NULL; /* arrived() says what is wrong */
    struct chunk *chunk = prepare(server, &f, &why);
    if (chunk == NULL)
        return NULL;
    chunk->next = server->landing;
    server->landing = chunk;
    return chunk->args.bytes;
}

static struct chunk *landed(struct pmap__server *server, uint64_t ticket)
{
    struct chunk **at = &server->landing;
    while (*at && (*at)->frame.ticket != ticket)
        at = &(*at)->next;
    struct chunk *chunk = *at;
    if (chunk)
        *at = chunk->next;
    return chunk;
}

static void chunk_arrived(struct pmap__server *server, const struct pmap__frame *f, bool with_items)
{
    enum pmap_status why = PMAP_ENOMEM;
    struct chunk *chunk = NULL;

    if (with_items)
        chunk = landed(server, f->ticket);
    else if (f->args_size == 0 || task_of(server, f) == NULL)
        chunk = prepare(server, f, &why);
    if (chunk)
        start(chunk);
    else
        send_refusal(server, f, why);
}

static void arrived(void *owner, int from, const unsigned char *head, size_t head_size, void *body, size_t size)
{
    struct pmap__server *server = owner;
    struct pmap__frame f;
    struct pmap_error inside, error;

    if (pmap__frame_decode(head, head_size, &f, &inside, &error) != PMAP_OK) {
        fail(server, error.text);
    } else if (f.kind == PMAP__CHUNK && from == server->root && size == f.n * f.args_size) {
        chunk_arrived(server, &f, body != NULL);
    } else if (f.kind == PMAP__BYE && from == server->root) {
        server->bye = true;
        server->refused.n = f.refused;
        memcpy(server->refused.where, f.where, sizeof f.where);
    } else {
        fail(server, "a message came that nobody should send");
    }
}

static void sent(void *owner, void *token)
{
    (void)owner;
    chunk_give(token);
}

/* ---- The loop ---- */

static bool step(struct pmap__loop *loop)
{
    struct pmap__server *server = (struct pmap__server *)loop; /* its first member */
    struct pmap__receiver receiver = {.land = land, .arrived = arrived, .sent = sent, .owner = server};
    int events = 0;

    enum pmap_status status = server->port->ops->poll(server->port, &receiver, &events);
    if (status != PMAP_OK)
        fail(server, status == PMAP_ENOMEM ? "no memory to receive a message" : "receiving failed");
    bool happened = events > 0;
    happened |= pmap__team_step(server->team);
    happened |= send_finished(server);
    /* While all threads compute nothing can come that they wait for, and what they finish rings. */
    loop->nap = pmap__team_busy(server->team) ? NAP : 0;
    loop->finished = server->bye && server->held == 0 && !server->port->ops->active(server->port);
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
    s->place = *place;
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

struct closing {
    struct pmap__port *port;
    struct pmap__refusals refused;
};

static void close_port(void *argument)
{
    struct closing *c = argument;
    c->port->ops->close(c->port, &c->refused);
}

void pmap__server_run(struct pmap__server *server)
{
    struct closing closing = {.port = server->port};

    if (server->by_progress) {
        pmap__progress_add(&server->loop);
        pmap__progress_join(&server->loop);
    } else {
        pmap__loop_run(&server->loop, NULL);
    }
    closing.refused = server->refused;
    if (server->by_progress)
        pmap__progress_call(close_port, &closing);
    else
        close_port(&closing);
    pmap__team_destroy(server->team);
    pmap__server_destroy(server);
}
