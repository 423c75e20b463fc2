/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A hub with a mailbox for each port. send() puts a parcel, with the head copied and the body borrowed, into the
 * receiver's mailbox; the receiver's poll() copies the body to where it shall land and puts the parcel into
 * the sender's mailbox, back, as the receipt that becomes sent(). One lock per mailbox, held to link and unlink.
 *
 * Collective calls meet at a barrier twice: everybody shows what it has, everybody reads, everybody goes.
 */
#include "transport/loopback.h"

#include "base/screen.h"
#include "transport/lifeline.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct parcel {
    struct parcel *next;
    bool receipt; /* on its way back */
    int from;
    void *token;
    const void *body;
    size_t size, head_size;
    unsigned char head[PMAP__PORT_HEAD_MAX];
};

struct mailbox {
    pthread_mutex_t lock;
    struct parcel *first, **last;
};

struct loopback_port {
    struct pmap__port port;
    struct hub *hub;
    struct mailbox mailbox;
    atomic_int unreceipted; /* bodies sent and not yet copied; any thread */
    const void *shown;      /* what this rank shows in a collective call */
};

struct hub {
    pthread_barrier_t barrier;
    atomic_int open;
    int size;
    struct loopback_port ports[];
};

static struct loopback_port *mine(struct pmap__port *port)
{
    return (struct loopback_port *)port;
}

static void post(struct mailbox *mailbox, struct parcel *parcel)
{
    parcel->next = NULL;
    pthread_mutex_lock(&mailbox->lock);
    *mailbox->last = parcel;
    mailbox->last = &parcel->next;
    pthread_mutex_unlock(&mailbox->lock);
}

static struct parcel *collect(struct mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    struct parcel *all = mailbox->first;
    mailbox->first = NULL;
    mailbox->last = &mailbox->first;
    pthread_mutex_unlock(&mailbox->lock);
    return all;
}

static enum pmap_status loopback_send(struct pmap__port *port, int to, const unsigned char *head, size_t head_size,
                                      const void *body, size_t size, void *token)
{
    struct loopback_port *p = mine(port);
    struct parcel *parcel = malloc(sizeof *parcel);

    if (parcel == NULL)
        return PMAP_ENOMEM;
    parcel->receipt = false;
    parcel->from = port->rank;
    parcel->token = token;
    parcel->body = body;
    parcel->size = size;
    parcel->head_size = head_size;
    memcpy(parcel->head, head, head_size);
    atomic_fetch_add(&p->unreceipted, 1);
    post(&p->hub->ports[to].mailbox, parcel);
    return PMAP_OK;
}

/* Bodies that MPI would send with the head: so that whoever uses virtual ranks sees both ways to receive. */
#define SHORT 1024

static void receive(struct loopback_port *p, const struct pmap__receiver *r, struct parcel *parcel)
{
    if (r->whole && parcel->size <= SHORT) {
        r->whole(r->owner, parcel->from, parcel->head, parcel->head_size, parcel->body, parcel->size);
    } else {
        void *body = parcel->size ? r->land(r->owner, parcel->from, parcel->head, parcel->head_size, parcel->size) : NULL;
        if (body)
            memcpy(body, parcel->body, parcel->size);
        r->arrived(r->owner, parcel->from, parcel->head, parcel->head_size, body, parcel->size);
    }
    parcel->receipt = true;
    post(&p->hub->ports[parcel->from].mailbox, parcel);
}

static enum pmap_status loopback_poll(struct pmap__port *port, const struct pmap__receiver *receiver, int *events)
{
    struct loopback_port *p = mine(port);
    struct parcel *parcel = collect(&p->mailbox);

    while (parcel) {
        struct parcel *next = parcel->next;
        if (parcel->receipt) {
            atomic_fetch_sub(&p->unreceipted, 1);
            if (parcel->token) {
                receiver->sent(receiver->owner, parcel->token);
                (*events)++;
            }
            free(parcel);
        } else {
            receive(p, receiver, parcel);
            (*events)++;
        }
        parcel = next;
    }
    return PMAP_OK;
}

static bool active(const struct pmap__port *port)
{
    return atomic_load(&((const struct loopback_port *)port)->unreceipted) > 0;
}

static void abort_ranks(struct pmap__port *port, const char *text)
{
    (void)port;
    pmap__screen_hold(); /* to the end */
    if (text)
        fprintf(stderr, "%s\n", text);
    abort();
}

/* ---- Collective calls ---- */

static void show(struct loopback_port *p, const void *what)
{
    p->shown = what;
    pthread_barrier_wait(&p->hub->barrier);
}

static void leave(struct loopback_port *p)
{
    pthread_barrier_wait(&p->hub->barrier);
}

static enum pmap_status broadcast(struct pmap__port *port, int root, void *bytes, size_t size)
{
    struct loopback_port *p = mine(port);
    show(p, bytes);
    if (port->rank != root)
        memcpy(bytes, p->hub->ports[root].shown, size);
    leave(p);
    return PMAP_OK;
}

static enum pmap_status least(struct pmap__port *port, int *value)
{
    struct loopback_port *p = mine(port);
    int mine_before = *value, lowest = INT_MAX;

    show(p, &mine_before);
    for (int r = 0; r < port->size; r++) {
        int theirs = *(const int *)p->hub->ports[r].shown;
        lowest = theirs < lowest ? theirs : lowest;
    }
    leave(p);
    *value = lowest;
    return PMAP_OK;
}

static enum pmap_status gather(struct pmap__port *port, int root, int value, int all[])
{
    struct loopback_port *p = mine(port);
    show(p, &value);
    for (int r = 0; r < port->size && port->rank == root; r++)
        all[r] = *(const int *)p->hub->ports[r].shown;
    leave(p);
    return PMAP_OK;
}

static enum pmap_status node_gather(struct pmap__port *port, const void *what, size_t size, void **all, int *n, int *me)
{
    struct loopback_port *p = mine(port);
    char *bytes = calloc((size_t)port->size, size);

    show(p, what);
    for (int r = 0; r < port->size && bytes; r++)
        memcpy(bytes + (size_t)r * size, p->hub->ports[r].shown, size);
    leave(p);
    int everybody = bytes != NULL;
    least(port, &everybody);
    if (!everybody) {
        free(bytes);
        return PMAP_ENOMEM;
    }
    *all = bytes;
    *n = port->size;
    *me = port->rank;
    return PMAP_OK;
}

/* ---- Shared memory: one segment for all ports ---- */

struct segment {
    struct pmap__segment segment;
    void *bytes; /* the same, for free() */
};

static void segment_destroy(struct segment *s)
{
    if (s)
        free(s->bytes);
    free(s);
}

static struct segment *segment_create(const void *data, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct segment *s = calloc(1, sizeof *s);

    if (s && size < PTRDIFF_MAX)
        s->bytes = aligned_alloc(page, (size + page - 1) / page * page);
    if (s == NULL || s->bytes == NULL) {
        segment_destroy(s);
        return NULL;
    }
    memcpy(s->bytes, data, size);
    s->segment = (struct pmap__segment){.bytes = s->bytes, .size = size};
    return s;
}

static enum pmap_status loopback_share(struct pmap__port *port, int root, const void *data, size_t size,
                                       struct pmap__segment **segment)
{
    struct loopback_port *p = mine(port);
    struct segment *made = port->rank == root ? segment_create(data, size) : NULL;

    show(p, &made);
    struct segment *const *theirs = p->hub->ports[root].shown, *s = *theirs;
    leave(p);
    if (s == NULL)
        return PMAP_ENOMEM;
    *segment = &s->segment;
    return PMAP_OK;
}

static void loopback_unshare(struct pmap__port *port, struct pmap__segment *segment)
{
    leave(mine(port)); /* nobody reads it any more */
    if (port->rank == 0)
        segment_destroy((struct segment *)segment);
}

/* ---- Life ---- */

static void hub_destroy(struct hub *hub)
{
    for (int r = 0; r < hub->size; r++) {
        struct parcel *parcel = collect(&hub->ports[r].mailbox); /* receipts that nobody waited for */
        while (parcel) {
            struct parcel *next = parcel->next;
            free(parcel);
            parcel = next;
        }
        pthread_mutex_destroy(&hub->ports[r].mailbox.lock);
    }
    pthread_barrier_destroy(&hub->barrier);
    free(hub);
}

static void loopback_close(struct pmap__port *port, const struct pmap__meetings *met)
{
    struct hub *hub = mine(port)->hub;
    (void)met;
    pmap__lifeline_close(port->lifeline);
    if (atomic_fetch_sub(&hub->open, 1) == 1)
        hub_destroy(hub);
}

static const struct pmap__transport transport_loopback = {
    .name = "loopback",
    .send = loopback_send,
    .poll = loopback_poll,
    .active = active,
    .abort = abort_ranks,
    .broadcast = broadcast,
    .least = least,
    .gather = gather,
    .node_gather = node_gather,
    .share = loopback_share,
    .unshare = loopback_unshare,
    .close = loopback_close,
};

enum pmap_status pmap__loopback_open(int size, struct pmap__port *ports[])
{
    struct hub *hub = calloc(1, sizeof *hub + (size_t)size * sizeof hub->ports[0]);

    if (hub == NULL)
        return PMAP_ENOMEM;
    if (pthread_barrier_init(&hub->barrier, NULL, (unsigned)size) != 0) {
        free(hub);
        return PMAP_ENOMEM;
    }
    hub->size = size;
    atomic_init(&hub->open, size);
    for (int r = 0; r < size; r++) {
        struct loopback_port *p = &hub->ports[r];
        p->port = (struct pmap__port){.ops = &transport_loopback, .rank = r, .size = size};
        p->hub = hub;
        atomic_init(&p->unreceipted, 0);
        p->mailbox.last = &p->mailbox.first;
        pthread_mutex_init(&p->mailbox.lock, NULL);
        ports[r] = &p->port;
    }
    return PMAP_OK;
}
