/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What the engine tells whoever observes a pool: calls and chunks, as they come and go, and spans of items (recorder.h). A
 * tenant has an observer or none; without one nothing is told, and nothing costs more than a look at a pointer. Observers are
 * called on any thread, several at a time, and may not wait for anything of the pool's.
 */
#ifndef PMAP_ENGINE_OBSERVER_H
#define PMAP_ENGINE_OBSERVER_H

#include "wire/span.h"

#include <pmap.h>
#include <stdatomic.h>

struct pmap__observer;

/* All times are the clock's (base/clock.h), in ns, of the root but where another is named. */
struct pmap__call_begins {
    const char *function, *task; /* "pmap_map", "square": literals, or as long as the pool */
    size_t n, chunksize;         /* items; of a stream 0. What the caller gave, or 0 */
};

struct pmap__call_ends {
    uint64_t call;
    enum pmap_status status;
    const char *error;                    /* its text; NULL: none */
    size_t items, failed, skipped, known; /* of all, in the end; skipped: not run, or given up; known: to the journal */
};

struct pmap__chunk_ends {
    uint64_t call, chunk;
    int rank;
    size_t item, n;
    unsigned attempt;
    enum pmap__chunk_end { PMAP__CHUNK_OK, PMAP__CHUNK_FAILED, PMAP__CHUNK_REFUSED, PMAP__CHUNK_LOST } end;
    size_t bytes_out, bytes_in;
    uint64_t dealt, sent, answered; /* its items were taken; it was given to the transport; its answer has been handled */
    bool timed;                           /* these are there, of the rank's own clock: */
    uint64_t arrived, begun, ended;
};

/* A part of a call that is made of several: a step of a map-reduce. Numbers that are not known are UINT64_MAX. */
struct pmap__phase {
    uint64_t call;
    const char *name; /* a literal */
    uint64_t begin, end;
    uint64_t items, records_in, records_out, bytes_in, bytes_out, bytes_sent, bytes_spilled;
};

struct pmap__observer_ops {
    /* A call begins; returns its name for what follows, which is not 0. */
    uint64_t (*call_begins)(struct pmap__observer *observer, const struct pmap__call_begins *call);
    /* The name of a part of a call that is made of several: what it does, in a word. */
    uint64_t (*call_part)(struct pmap__observer *observer, uint64_t call, const char *part);
    /* n more items of a call that did not know how many it would have, or that are no jobs of its own. */
    void (*call_grows)(struct pmap__observer *observer, const struct pmap__call_ends *part);
    void (*call_ends)(struct pmap__observer *observer, const struct pmap__call_ends *call);
    void (*chunk_ends)(struct pmap__observer *observer, const struct pmap__chunk_ends *chunk);
    void (*phase)(struct pmap__observer *observer, const struct pmap__phase *phase);
    /* What threads of a rank did; times are of its own clock. */
    void (*spans)(struct pmap__observer *observer, int rank, const struct pmap__span *spans, size_t n);
    /* The pool ends without having been destroyed: what is not kept now never will be. */
    void (*abandoned)(struct pmap__observer *observer);
};

struct pmap__observer {
    const struct pmap__observer_ops *ops;
    uint64_t number;             /* of the resident (post.h) on the root who gets spans of other ranks; not 0 */
    atomic_uint_fast64_t *chunks; /* the number of the last chunk */
};

/* For whom items are noted, and as what. observer NULL: its letters go to the root. number 0: they are not. */
struct pmap__subject {
    struct pmap__observer *observer;
    uint64_t number, call, chunk;
    unsigned attempt; /* from 1 */
};

#endif
