/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What one thread of the root is in, and how long its items take. Each thread has a seat, which it alone writes, with plain stores,
 * so that nobody waits for anybody; whoever wants to know reads, and finds each number as it was at some moment.
 *
 * A grain may be an item of nanoseconds, and to look at the clock takes longer than that. So where the team looks between grains
 * anyhow, because it sizes them, the seat takes that; elsewhere it looks after every so many grains, as long as they are short; and of
 * single pieces it times one of so many, which stands for the others. The times of items that are short are therefore means of a
 * millisecond or so.
 */
#ifndef PMAP_ENGINE_SEAT_H
#define PMAP_ENGINE_SEAT_H

#include "sched/durations.h"
#include "team/team.h"

#include <pmap.h>

struct pmap__seat {
    _Atomic(const void *) whole; /* the job that it is in, or that job's parent: a name only, for it may be gone; NULL: in none */
    _Atomic(const struct pmap_task *) task; /* of that */
    atomic_size_t first, n;      /* items, or leaves, that it has taken */
    atomic_uint_fast64_t since;  /* when that was, or not long before, as pmap__roughly_now says */
    atomic_uint_fast64_t items, busy, longest; /* so far: how many it has run, ns in them, and the longest; a millisecond late at most */
    _Atomic uint64_t times[PMAP__DURATIONS];   /* of these items, by class */

    /* Nobody else reads these. */
    bool single, timed;
    uint64_t looked;        /* the clock, when it was looked at last */
    size_t fresh;           /* items that have been run since then, */
    unsigned grains, stride; /* in so many grains; to look again after so many */
    unsigned passed, pass;  /* single pieces that were not timed since the last that was; so many shall be */
    char apart[64];         /* from the next one's */
};

/* The thread joins a work, and leaves it. */
void pmap__seat_take(struct pmap__seat *seat, const void *whole, const struct pmap_task *task, const struct pmap__turn *turn);
void pmap__seat_leave(struct pmap__seat *seat);

/* The clock says now: what was run since it was looked at last? */
void pmap__seat_look(struct pmap__seat *seat, uint64_t now);

/* n > 0 items have taken so long, one after the other. */
void pmap__seat_measure(struct pmap__seat *seat, uint64_t took, size_t n);

static inline void pmap__seat_store(atomic_size_t *number, size_t value)
{
    atomic_store_explicit(number, value, memory_order_relaxed);
}

/* It begins with n elements from first on. */
static inline void pmap__seat_begin(struct pmap__seat *seat, const struct pmap__turn *turn, size_t first, size_t n)
{
    if (turn->work->grain == 0)
        pmap__seat_look(seat, turn->since);
    else if (!seat->single && ++seat->grains >= seat->stride)
        pmap__seat_look(seat, 0);
    pmap__seat_store(&seat->first, first);
    pmap__seat_store(&seat->n, n);
}

/* So many items have been run with that. */
static inline void pmap__seat_count(struct pmap__seat *seat, size_t items)
{
    seat->fresh += items;
}

/* What so many seats have measured. Any thread. */
void pmap__seats_add_up(const struct pmap__seat *seats, int n, struct pmap__durations *durations);

#endif
