/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The threads of this rank that run items. This is the one place that knows OpenMP.
 *
 * A work is a run of items [0, n) that any thread may take pieces of. Its owner adds it to the team's line (base/line.h: by
 * priority, works of a single grain and others in turn); each thread that has nothing to do joins the next work of the line
 * and gives the owner's run function a turn: that takes
 * a grain of items with one atomic addition, runs it, takes the next, until none is left, or something more urgent waits
 * in the line, and the thread leaves. The
 * owner may take items away, too, with the same addition, to give them to somebody else. When the last thread has left
 * a work of which every item is taken, the work is finished, and its owner is told.
 *
 * Who may touch what: next is anybody's, atomically. users and place are the team's, under its lock. The
 * rest is written by the owner before the work is added and by nobody after.
 *
 * The threads live in one OpenMP parallel region for as long as the team, so that OMP_PLACES and OMP_PROC_BIND apply
 * and nothing is forked per work. A thread without work spins for a moment, then sleeps on a condition variable.
 * A team without threads of its own (lent = true) runs on the one thread that calls pmap__team_step; only that thread may call its
 * other functions, and so it has no use for a lock.
 */
#ifndef PMAP_TEAM_TEAM_H
#define PMAP_TEAM_TEAM_H

#include "base/cpus.h"
#include "base/line.h"

#include <pmap.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pmap__turn;

struct pmap__work {
    size_t n;     /* items; at least 1 */
    size_t grain; /* items that a thread takes at a time; 0: portion says, each time; n or more: a single piece */
    int priority;
    bool bulk;    /* it is a part of something larger: no single piece, however small */

    /* How many items to take when left are left and one costs item_ns (0: not measured yet); any thread. */
    size_t (*portion)(struct pmap__work *work, size_t left, uint64_t item_ns);
    /* A thread's turn: while (pmap__turn_next(turn)) run the items [turn->begin, turn->end). Any thread, several at a
     * time. */
    void (*run)(struct pmap__work *work, struct pmap__turn *turn);
    /* The work is finished; called once, on the thread that left it last. The work may be freed in it. */
    void (*finished)(struct pmap__work *work);

    atomic_size_t next;             /* the first item that nobody has taken; n or more: all are taken */
    atomic_uint_fast64_t item_ns;   /* mean time of an item on a thread here, the newest measure; 0: none yet */
    atomic_uint_fast64_t busy;      /* ns that threads spent in run, added when a thread leaves */
    int users;                      /* threads that have joined and not left */
    bool promised;                  /* in the line by pmap__team_offer: a thread is counted on */
    struct pmap__waiter place;      /* in the team's line */
};

/* Set next, the measures and the place of a work to their beginnings. n, grain and priority are set. */
void pmap__work_init(struct pmap__work *work);

/* Take up to want items; false if none is left. Any thread. There is no look at next before the addition: it would
 * fetch the cache line twice. So next runs past n by one want for each take that is just failing, and back to n when it has
 * failed; with n up to SIZE_MAX / 256 it stays far from overflow. */
static inline bool pmap__work_take(struct pmap__work *work, size_t want, size_t *begin, size_t *end)
{
    size_t taken = atomic_fetch_add_explicit(&work->next, want, memory_order_relaxed);

    if (taken >= work->n) {
        atomic_store_explicit(&work->next, work->n, memory_order_relaxed);
        return false;
    }
    *begin = taken;
    *end = want < work->n - taken ? taken + want : work->n;
    return true;
}

/* How many items nobody has taken. Any thread; out of date at once. */
size_t pmap__work_left(const struct pmap__work *work);

/* Take all items that nobody has taken. Any thread. */
bool pmap__work_take_rest(struct pmap__work *work, size_t *begin, size_t *end);

/* The priorities of the first single piece and of the first other work in the line; INT_MIN: there is none. */
struct pmap__urgency {
    atomic_int single, bulk;
};

/* One thread's stay in a work. */
struct pmap__turn {
    struct pmap__work *work;
    int thread;        /* of the team, from 0 */
    size_t begin, end; /* the grain to run now */
    size_t most;       /* grains that this turn may still take */
    const struct pmap__urgency *waiting; /* of the team's line */
    bool begun;        /* a turn takes at least one grain */

    /* The clock is read when a turn ends; where portion sizes the grains, after each of them, too. */
    size_t items;           /* run since then */
    uint64_t since;         /* when it was read last */
    struct { uint64_t ns, items; } mean; /* the past counts half, each measure by its items */
};

bool pmap__turn_next_sized(struct pmap__turn *turn);

/* Does something wait in the line that this thread had better do now? */
static inline bool pmap__turn_pressed(const struct pmap__turn *turn)
{
    return atomic_load_explicit(&turn->waiting->single, memory_order_relaxed) >= turn->work->priority ||
           atomic_load_explicit(&turn->waiting->bulk, memory_order_relaxed) > turn->work->priority;
}

/* The next grain for this thread, or false. Inline because a grain may be a single item of a nanosecond. */
static inline bool pmap__turn_next(struct pmap__turn *turn)
{
    struct pmap__work *work = turn->work;

    turn->items += turn->end - turn->begin;
    turn->end = turn->begin = 0;
    if (turn->most == 0 || (turn->begun && pmap__turn_pressed(turn)))
        return false;
    turn->most--;
    turn->begun = true;
    if (work->grain == 0)
        return pmap__turn_next_sized(turn);
    return pmap__work_take(work, work->grain, &turn->begin, &turn->end);
}

/* Where OMP_PROC_BIND or OMP_PLACES bind threads, OpenMP has pinned the program's first thread to one place, and its
 * affinity mask says no more what the process may use: put the CPUs of all places into *cpus. Else leave it as it is. */
void pmap__team_places(struct pmap__cpus *cpus);

struct pmap__team;

/* Start a team. It may turn out smaller than asked, where OpenMP gives fewer threads; without OpenMP it has one.
 * lent: it has no thread of its own, and counts as one. begin, if not NULL, is called with argument once on each thread before
 * any work; for a lent team, on the calling thread. Returns when they all have. PMAP_OK or PMAP_ENOMEM. */
enum pmap_status pmap__team_create(struct pmap__team **team, int threads, bool lent,
                                   void (*begin)(void *argument, int thread), void *argument);

/* Ends the threads once the line is empty and they are idle. NULL is fine. */
void pmap__team_destroy(struct pmap__team *team);

int pmap__team_threads(const struct pmap__team *team);

/* Put a work into the line and wake threads for it. Any thread. */
void pmap__team_add(struct pmap__team *team, struct pmap__work *work);

/* Like pmap__team_add, for a work that others take items of already. False, and nothing is done, if none is left: the caller
 * takes the place of finished. */
bool pmap__team_add_left(struct pmap__team *team, struct pmap__work *work);

/* Put a single piece into the line if a thread is free for it: one that has nothing to do, and that no other caller of this
 * function counts on. False if there is none. Any thread. */
bool pmap__team_offer(struct pmap__team *team, struct pmap__work *work);

/* Forget the work, if no thread is in it: all of its items are taken, or it is not wanted any more. True if so: finished will
 * not be called, the caller takes its place. False: it is not in the line, and finished has been called or will be, or
 * a thread is in it. Any thread. */
bool pmap__team_withdraw(struct pmap__team *team, struct pmap__work *work);

/* How many threads have nothing to do. Any thread; out of date at once. */
int pmap__team_idle(const struct pmap__team *team);

/* Do all threads of the team's own compute? Any thread; out of date at once. */
bool pmap__team_busy(const struct pmap__team *team);

/* For a team that is lent its thread: run one grain on the calling thread. False if there was nothing to run, and for
 * a team that has threads of its own. */
bool pmap__team_step(struct pmap__team *team);

#endif
