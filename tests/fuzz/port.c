/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "port.h"

#include <stdlib.h>
#include <string.h>

/* ---- Out ---- */

static enum pmap_status send(struct pmap__port *base, int to, const unsigned char *head, size_t head_size, const void *body, size_t size,
                             void *token)
{
    struct fuzz_port *port = (struct fuzz_port *)base; /* its first member */
    struct pmap__frame frame;
    struct pmap__inside inside;
    unsigned char *copy = malloc(size + 1);

    fuzz_check(to >= 0 && to < base->size && to != base->rank, "messages go to other ranks");
    fuzz_check(pmap__frame_decode(head, head_size, &frame, &inside, NULL) == PMAP_OK, "a head that is sent is sound");
    if (copy && size)
        memcpy(copy, body, size); /* all of it is there */
    free(copy);
    if (token && port->n_tokens == FUZZ_TOKENS)
        return PMAP_ENOMEM;
    if (token)
        port->tokens[port->n_tokens++] = token;
    if (port->sent)
        port->sent(port, to, &frame, size);
    return PMAP_OK;
}

static void give_up(struct pmap__port *port, const char *text)
{
    (void)port;
    fuzz_check(strlen(text) > 6, "the end has a reason");
    fuzz_give_up();
}

/* ---- In ---- */

static void land(struct fuzz_port *port, const struct pmap__receiver *r, struct fuzz_message *m)
{
    m->to = m->size ? r->land(r->owner, m->from, m->head, m->head_size, m->size) : NULL;
    port->landings[port->n_landings++] = *m;
}

static void finish_landing(struct fuzz_port *port, const struct pmap__receiver *r, size_t which)
{
    struct fuzz_message m = port->landings[which];

    port->landings[which] = port->landings[--port->n_landings];
    if (m.to)
        memcpy(m.to, m.body, m.size);
    r->arrived(r->owner, m.from, m.head, m.head_size, m.to, m.size);
    free(m.body);
}

/* One thing at a time: what was sent is sent, or something lands, or a message comes. */
static enum pmap_status poll(struct pmap__port *base, const struct pmap__receiver *r, int *events)
{
    struct fuzz_port *port = (struct fuzz_port *)base;
    unsigned dice = (unsigned)fuzz_number(port->in, 1);
    struct fuzz_message m = {0};

    *events = 1;
    if (port->n_tokens && (dice & 3) == 0) {
        r->sent(r->owner, port->tokens[--port->n_tokens]);
    } else if (port->n_landings && ((dice & 12) == 0 || port->n_landings == FUZZ_LANDINGS)) {
        finish_landing(port, r, dice / 16 % port->n_landings);
    } else if (!port->next(port, &m)) {
        *events = 0;
    } else if (dice & 16) {
        land(port, r, &m);
    } else {
        r->whole(r->owner, m.from, m.head, m.head_size, m.body, m.size);
        free(m.body);
    }
    return PMAP_OK;
}

/* ---- The rest ---- */

static bool active(const struct pmap__port *base)
{
    const struct fuzz_port *port = (const struct fuzz_port *)base;
    return port->n_landings || port->n_tokens;
}

static enum pmap_status least(struct pmap__port *port, int *value)
{
    (void)port, (void)value;
    return PMAP_OK;
}

/* The other ranks have no memory for it. */
static enum pmap_status share(struct pmap__port *port, int root, const void *data, size_t size, struct pmap__segment **segment)
{
    (void)port, (void)root, (void)data, (void)size, (void)segment;
    return PMAP_ENOMEM;
}

static void unshare(struct pmap__port *port, struct pmap__segment *segment)
{
    (void)port, (void)segment;
}

static void close(struct pmap__port *base, const struct pmap__meetings *met)
{
    (void)met;
    ((struct fuzz_port *)base)->closed = true;
}

void fuzz_port_init(struct fuzz_port *port, struct fuzz_input *in, int rank, int size)
{
    static const struct pmap__transport ops = {.name = "fuzz", .send = send, .poll = poll, .abort = give_up, .active = active, .least = least,
                                               .share = share, .unshare = unshare, .close = close};

    *port = (struct fuzz_port){.port = {.ops = &ops, .rank = rank, .size = size, .copied = 64}, .in = in};
}

/* ---- Messages of an input ---- */

bool fuzz_read_message(struct fuzz_input *in, struct fuzz_message *m)
{
    if (in->left == 0)
        return false;
    m->from = (int)fuzz_number(in, 1) % 3;
    m->head_size = fuzz_number(in, 2) % sizeof m->head;
    m->size = fuzz_number(in, 2);
    if (m->head_size > in->left)
        m->head_size = in->left;
    memcpy(m->head, in->at, m->head_size);
    in->at += m->head_size;
    in->left -= m->head_size;
    m->body = fuzz_bytes(in, &m->size);
    return true; /* as for all messages: body is to be freed, size may be 0 */
}

void fuzz_put_message(const struct pmap__frame *frame, const void *body, size_t size, bool whole, int from)
{
    unsigned char head[PMAP__HEAD_MAX];
    size_t head_size = pmap__frame_encode(frame, head);

    fuzz_put(whole ? 0x0f : 0x1f, 1); /* the dice */
    fuzz_put((uint64_t)from, 1);
    fuzz_put(head_size, 2);
    fuzz_put(size, 2);
    fuzz_put_bytes(head, head_size);
    fuzz_put_bytes(body, size);
}
