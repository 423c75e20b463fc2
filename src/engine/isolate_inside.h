/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What the two halves of an isolated rank share: children.c, how children come, are watched and go, and isolate.c, what they are
 * given to do. Nobody else includes this.
 */
#ifndef PMAP_ENGINE_ISOLATE_INSIDE_H
#define PMAP_ENGINE_ISOLATE_INSIDE_H

#include "engine/isolate.h"
#include "engine/order.h"

struct pmap__worker {
    struct pmap__cell cell;
    int thread;
    size_t done; /* items that the child has run */
    atomic_int pid; /* of the child that came last; anybody reads */
    bool killed;   /* SIGKILL is on its way to it: whatever it does by then, it gets nothing more to do */
    uint64_t short_since; /* when a process could not be forked; 0: the last one could */
    size_t singly; /* so many of the next positions are given one by one */
};

struct pmap__cells {
    struct pmap__zygote *zygote;
    const struct pmap__place *place;
    size_t initarg_size;
    int threads;
    pthread_mutex_t merging; /* of the last worker */
    struct pmap__worker workers[]; /* of each thread, and the one for merging */
};

/* One wait for a child. */
struct pmap__watch {
    struct pmap__worker *worker;
    const struct pmap__place *place; /* whose messages are to be handled meanwhile; NULL: nobody's */
    const atomic_bool *cancelled;    /* NULL: it cannot be */
    struct pmap__limits limits;
    uint64_t cancelled_at; /* when we saw it; 0: not yet */
    uint64_t condemned;    /* an item of the cell's count; 0: none */
    uint64_t sentenced_at;
    bool killed;           /* by SIGKILL */
    const char *why;       /* what it is condemned for */
    uint64_t much;         /* what the limit was, in ns or bytes */
};

/* Is a child there and HOME? Else have one come. PMAP_OK; PMAP_EFAILED, PMAP_ECRASHED, PMAP_ENOMEM and why. */
enum pmap_status pmap__watch_have_child(struct pmap__cells *cells, struct pmap__watch *watch, struct pmap_error *error);

/* Until the child has left this state; sees to messages, cancelling and limits meanwhile. */
void pmap__watch_wait(struct pmap__watch *watch, enum pmap__turn_of state);

/* How a dead child ended: "killed by SIGSEGV", "exited with status 3 after 2 s (timeout)"; returns the error's code. */
int pmap__watch_tell_end(const struct pmap__watch *watch, char *text, size_t room);

/* Where an error happened. */
void pmap__place_add(struct pmap_error *error, const struct pmap__place *place, int thread);

#endif
