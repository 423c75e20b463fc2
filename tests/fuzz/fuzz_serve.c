/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A rank that serves gets any messages, in any order: it runs what makes sense, and ends the job with a reason if something does not. */
#include "port.h"

#include "engine/post.h"
#include "engine/serve.h"

#include <stdlib.h>
#include <string.h>

const size_t fuzz_memory = 1 << 22; /* inputs have up to 64 KiB */

static unsigned half(int x)
{
    if (x % 2)
        pmap_fail(x, "odd");
    return (unsigned)x / 2;
}
PMAP_TASK(half, unsigned, int);

static unsigned add(unsigned a, unsigned b) { return a + b; }
PMAP_OP(add, unsigned);

static struct pmap_bytes doubled(struct pmap_bytes x)
{
    struct pmap_bytes y = {x.size ? malloc(2 * x.size) : NULL, 2 * x.size};
    if (y.data) {
        memcpy(y.data, x.data, x.size);
        memcpy((char *)y.data + x.size, x.data, x.size);
    }
    return y;
}
PMAP_BYTES_TASK(doubled);

/* ---- The rank ---- */

static const struct pmap__meetings nobody;

/* The input's messages, then goodbye, once. */
static bool next(struct fuzz_port *port, struct fuzz_message *m)
{
    static const struct pmap__frame bye = {.kind = PMAP__BYE, .met = &nobody};

    if (fuzz_read_message(port->in, m))
        return true;
    *m = (struct fuzz_message){.from = 0};
    m->head_size = pmap__frame_encode(&bye, m->head);
    return port->n_landings == 0 && port->n_tokens == 0;
}

static void sent(struct fuzz_port *port, int to, const struct pmap__frame *frame, size_t size)
{
    (void)port, (void)size;
    fuzz_check(to == 0 && (frame->kind == PMAP__RESULT || frame->kind == PMAP__REFUSAL || frame->kind == PMAP__RECORDS || frame->kind == PMAP__READY),
               "a rank sends answers to the root");
}

static void letter_arrived(struct pmap__resident *resident, struct pmap__letter *letter)
{
    (void)resident;
    pmap__letter_free(letter);
}

static void evicted(struct pmap__resident *resident)
{
    (void)resident;
}

void fuzz_one(struct fuzz_input *in)
{
    static struct fuzz_port port;
    static struct pmap__post post;
    static struct pmap__place place;
    static struct pmap__resident resident;
    struct pmap__team *team;
    struct pmap__server *server;

    fuzz_port_init(&port, in, 1, 3);
    port.next = next;
    port.sent = sent;
    pmap__place_here(&place, 1);
    pmap__post_init(&post, &port.port);
    resident = (struct pmap__resident){.number = 7, .arrived = letter_arrived, .evicted = evicted};
    pmap__post_enter(&post, &resident);
    place.post = &post;
    if (pmap__team_create(&team, 1, true, NULL, NULL) != PMAP_OK || pmap__server_create(&port.port, team, 0, &place, false, &server) != PMAP_OK)
        abort();
    pmap__server_run(server);
    fuzz_check(port.closed, "a rank that has served closes its port");
    pmap__post_fini(&post);
}

/* ---- Seeds ---- */

static struct pmap__frame chunk_of(const struct pmap_task *task, uint64_t ticket, uint64_t n)
{
    return (struct pmap__frame){.kind = PMAP__CHUNK, .ticket = ticket, .begin = 100, .n = n, .grain = 1, .task = task->id,
                                .args_size = task->args_size, .result_size = task->result_size, .job = 5};
}

void fuzz_seeds(void)
{
    static const int numbers[32] = {2, 4, 6, 8, 1};
    static const uint64_t named[] = {7, 3, 9, 0, 0x200000002, 4}, sized[] = {5, 16, 0, 0, 1, 2, 3, 4};
    struct pmap__frame f;

    for (int whole = 0; whole < 2; whole++) {
        f = chunk_of(&half_task, 1, 4);
        fuzz_put_message(&f, numbers, 16, whole, 0);
        f = chunk_of(&half_task, 2, 5);
        f.wants = PMAP__WANT_RECORDS | PMAP__WANT_REASONS;
        fuzz_put_message(&f, numbers, 20, whole, 0);
        fuzz_put_message(&(struct pmap__frame){.kind = PMAP__CANCEL, .job = 5}, NULL, 0, whole, 0);
        fuzz_put_end();
        f = chunk_of(&half_task, 3, 3);
        f.wants = PMAP__NAMED | PMAP__WANT_STOP | PMAP__WANT_RECORDS;
        fuzz_put_message(&f, named, 44, whole, 0);
        fuzz_put_end();
        f = chunk_of(&doubled_task, 4, 2);
        fuzz_put_message(&f, sized, 48, whole, 0);
        f = chunk_of(&doubled_task, 5, 1);
        fuzz_put_message(&f, sized, 48, whole, 0);
        fuzz_put_end();
        f = chunk_of(&half_task, 6, 4);
        f.begin = 2;
        f.op = add_op.id;
        f.leaf = 4;
        f.total = 24;
        fuzz_put_message(&f, numbers, 64, whole, 0);
        fuzz_put_message(&(struct pmap__frame){.kind = PMAP__LETTER, .id = 7, .words = {1, 2}}, named, 40, whole, 2);
        fuzz_put_end();
        fuzz_put_message(&(struct pmap__frame){.kind = PMAP__HOLD}, NULL, 0, whole, 0);
        fuzz_put_message(&(struct pmap__frame){.kind = PMAP__SHARE, .id = 8, .size = 100}, NULL, 0, whole, 0);
        fuzz_put_message(&(struct pmap__frame){.kind = PMAP__HOLD}, NULL, 0, whole, 0);
        fuzz_put_message(&(struct pmap__frame){.kind = PMAP__UNSHARE, .id = 8, .size = 100}, NULL, 0, whole, 0);
        fuzz_put_end();
        fuzz_put_message(&(struct pmap__frame){.kind = PMAP__LOST, .rank = 2}, NULL, 0, whole, 0); /* nobody survives here */
        fuzz_put_end();
    }
}
