/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The threads of this rank that run items. This is the one place that knows OpenMP.
 *
 * A work is a run of items [0, n) that any thread may take pieces of. Its owner adds it to the team's queue; each
 * thread that has nothing to do joins the first work of the queue, takes a grain of its items with one atomic
 * addition, runs it, takes the next, and leaves when none is left. The owner may take items away, too, with the same
 * addition, to give them to somebody else. When the last thread has left a work of which every item is taken, the
 * work is finished, and its owner is told.
 *
 * Who may touch what: next is anybody's, atomically. users and link are the team's, under its lock. The
 * rest is written by the owner before the work is added and by nobody after.
 *
 * The threads live in one OpenMP parallel region for as long as the team, so that OMP_PLACES and OMP_PROC_BIND apply
 * and nothing is forked per work. A thread without work spins for a moment, then sleeps on a condition variable.
 * A team without threads of its own (lent = true) runs on whichever thread calls pmap__team_step.
 */
#ifndef PMAP_TEAM_TEAM_H
#define PMAP_TEAM_TEAM_H

#include <pmap.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pmap__work {
    size_t n;     /* items; at least 1 */
    size_t grain; /* items that a thread takes at a time; 0: portion says, each time */

    /* How many items to take when left are left and one costs item_ns (0: not measured yet); any thread. */
    size_t (*portion)(struct pmap__work *work, size_t left, uint64_t item_ns);
    /* Run items [begin, end) on the given thread of the team; any thread. */
    void (*run)(struct pmap__work *work, size_t begin, size_t end, int thread);
    /* The work is finished; called once, on the thread that left it last. The work may be freed in it. */
    void (*finished)(struct pmap__work *work);

    atomic_size_t next;             /* the first item that nobody has taken; n or more: all are taken */
    atomic_uint_fast64_t item_ns;   /* mean time of an item on a thread here, the newest measure; 0: none yet */
    atomic_uint_fast64_t busy;      /* ns that threads spent in run, added when a thread leaves */
    int users;                      /* threads that have joined and not left */
    bool queued;
    struct pmap__work *link;
};

/* Set next and the measures of a work to their beginnings. */
void pmap__work_init(struct pmap__work *work);

/* Take up to want items; false if none is left. Any thread. */
bool pmap__work_take(struct pmap__work *work, size_t want, size_t *begin, size_t *end);

/* How many items nobody has taken. Any thread; out of date at once. */
size_t pmap__work_left(const struct pmap__work *work);

struct pmap__team;

/* Start a team. It may turn out smaller than asked, where OpenMP gives fewer threads; without OpenMP it has one.
 * lent: it has no thread of its own, and counts as one. PMAP_OK or PMAP_ENOMEM. */
enum pmap_status pmap__team_create(struct pmap__team **team, int threads, bool lent);

/* Ends the threads once the queue is empty and they are idle. NULL is fine. */
void pmap__team_destroy(struct pmap__team *team);

int pmap__team_threads(const struct pmap__team *team);

/* Append a work to the queue and wake threads for it. Any thread. */
void pmap__team_add(struct pmap__team *team, struct pmap__work *work);

/* All items of the work are taken: forget it, if no thread is in it any more. True if so: finished will not be
 * called, the caller takes its place. False: finished has been called or will be. Any thread. */
bool pmap__team_withdraw(struct pmap__team *team, struct pmap__work *work);

/* How many threads have nothing to do. Any thread; out of date at once. */
int pmap__team_idle(const struct pmap__team *team);

/* Do all threads of the team's own compute? Any thread; out of date at once. */
bool pmap__team_busy(const struct pmap__team *team);

/* For a team that is lent its thread: run one grain on the calling thread. False if there was nothing to run, and for
 * a team that has threads of its own. */
bool pmap__team_step(struct pmap__team *team);

#endif
