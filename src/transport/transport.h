/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How ranks reach each other. A port is one rank's end of a connection among size ranks; behind it is MPI
 * (transport/mpi.c, the one place that knows it) or, for tests and debugging, memory shared by ranks that are threads
 * of one process (transport/loopback.c). Both keep the same contract, and one test suite runs on both.
 *
 * A message is a head (a few hundred bytes, copied at once) and a body (any size, borrowed). A receiver is told in two
 * steps: when the head is there, land() says where the body shall go; when the body is there, arrived() gets both. So a
 * body goes straight into a caller's array. For an empty body land() is not called. Heads from one rank come in the
 * order they were sent; a message with a long body may be overtaken by a later one before it has arrived.
 *
 * Who calls what: a port belongs to one thread, which makes every call on it; all callbacks come from inside
 * poll(). A callback may send. The collective calls (meet … close) are made by all ranks of the port in the same
 * order, and wait for the others; what waits long sleeps.
 */
#ifndef PMAP_TRANSPORT_TRANSPORT_H
#define PMAP_TRANSPORT_TRANSPORT_H

#include "base/meeting.h"

#include <pmap.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No head is longer. */
#define PMAP__PORT_HEAD_MAX 1024

struct pmap__port;

struct pmap__receiver {
    /* Where shall this body of size > 0 go? NULL: nowhere; it is received all the same, and dropped. */
    void *(*land)(void *owner, int from, const unsigned char *head, size_t head_size, size_t size);
    /* A message is complete. body is what land() said; NULL if the body was empty or dropped, size is what was sent. */
    void (*arrived)(void *owner, int from, const unsigned char *head, size_t head_size, void *body, size_t size);
    /* The body that was sent with this token (not NULL) may be changed or freed. */
    void (*sent)(void *owner, void *token);
    void *owner;
    /* Instead of land() and arrived(), where the body came with the head: it is the transport's, and there during the call. So
     * a short message is read once. NULL: both are called. */
    void (*whole)(void *owner, int from, const unsigned char *head, size_t head_size, const void *body, size_t size);
};

/* Shared memory as this rank sees it; part of the transport's own struct. */
struct pmap__segment {
    const void *bytes;
    size_t size;
};

struct pmap__transport {
    const char *name;

    /* Send a message to another rank. A body of up to port->copied bytes is copied. A longer one is borrowed until
     * sent(token); that comes from a later poll(), or not at all if token is NULL, for callers who learn it otherwise.
     * PMAP_OK, PMAP_ENOMEM or PMAP_EMPI. */
    enum pmap_status (*send)(struct pmap__port *port, int to, const unsigned char *head, size_t head_size,
                             const void *body, size_t size, void *token);

    /* Handle what has come, without waiting; *events counts heads, bodies and sent bodies. PMAP_OK, or PMAP_ENOMEM or
     * PMAP_EMPI, after which the port is of no use but for abort(). */
    enum pmap_status (*poll)(struct pmap__port *port, const struct pmap__receiver *receiver, int *events);

    /* Print a text and end all ranks at once, whatever they do: this one cannot go on, and they would wait for it. NULL: another
     * rank has printed one. Any thread. Does not return. */
    void (*abort)(struct pmap__port *port, const char *text);

    /* True while a body, given or awaited, is on its way; on a port that survives, but for its root: to or from the root. */
    bool (*active)(const struct pmap__port *port);

    /* Collective: size bytes of the root go to all. */
    enum pmap_status (*broadcast)(struct pmap__port *port, int root, void *bytes, size_t size);
    /* Collective: *value becomes the least of all ranks' values. */
    enum pmap_status (*least)(struct pmap__port *port, int *value);
    /* Collective: all[r] on the root becomes rank r's value; all is NULL elsewhere. */
    enum pmap_status (*gather)(struct pmap__port *port, int root, int value, int all[]);
    /* Collective: what the ranks of this node said, malloc'ed, in one order for all of them; *me is the caller's
     * place in it. */
    enum pmap_status (*node_gather)(struct pmap__port *port, const void *mine, size_t size, void **all, int *n, int *me);

    /* Collective: the size > 0 bytes at the root's data (NULL elsewhere) become memory that every rank can read, aligned to
     * a page, one copy for all ranks of a node. PMAP_OK; PMAP_ENOMEM on all ranks, if some node has no memory for it, with
     * nothing left behind; PMAP_EMPI, after which the port is of no use but for abort(). What waits for
     * other ranks sleeps. */
    enum pmap_status (*share)(struct pmap__port *port, int root, const void *data, size_t size,
                              struct pmap__segment **segment);
    /* Collective: give a segment back. All ranks give them back in the same order, before close. */
    void (*unshare)(struct pmap__port *port, struct pmap__segment *segment);

    /* Collective, once, on a port with a lifeline to every rank: from now on a rank may die alone, and the port survives it, if its root
     * is this one. The collective calls leave the dead out, and wait for nobody but the root; there is no share(). A body that is sent
     * is always copied, and one that is received is whole when land() is called; messages of one rank come in the order in which
     * they were sent, whatever their size. close() keeps the connection, and the next port over these ranks is the same one. PMAP_OK;
     * PMAP_EINVAL: it is not possible here, the text says what to do, and nothing is changed; PMAP_EMPI. NULL: it never is. */
    enum pmap_status (*survive)(struct pmap__port *port, int root, struct pmap_error *error);
    /* This rank is dead: nothing comes from it any more, and what is sent to it is dropped. On a port that survives. */
    void (*lost)(struct pmap__port *port, int rank);

    /* Collective: end the connection and free the port. met: what the root had in its port's when it said goodbye, the same on
     * all ranks; no lines if nobody did. */
    void (*close)(struct pmap__port *port, const struct pmap__meetings *met);
};

struct pmap__lifeline;

struct pmap__port {
    const struct pmap__transport *ops;
    int rank, size;
    bool mortal;               /* ranks may die one by one: they are processes, not threads of one */
    bool survives;             /* survive() has been called */
    int survivors_root;        /* with that root */
    struct pmap__lifeline *lifeline; /* by which they notice; closed with the port; NULL: there is none. See lifeline.h */
    size_t copied;             /* bodies that are not longer are copied by send() */
    void *owner;               /* who works on it, for those who find it by its ranks; NULL: it cannot be shared */
    struct pmap__meetings met; /* opens over the same ranks while it lives: see pmap__mpi_live */
};

#endif
