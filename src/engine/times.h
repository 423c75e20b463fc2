/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How long the items of a task take, for pools that know when they have to end. One estimate for all jobs of a task: a stream is a row
 * of jobs, and an apply is one, that could not learn from themselves.
 */
#ifndef PMAP_ENGINE_TIMES_H
#define PMAP_ENGINE_TIMES_H

#include "sched/durations.h"

#include <pmap.h>
#include <pthread.h>

struct pmap__times {
    const struct pmap_task *task;
    pthread_mutex_t lock; /* of these: */
    struct pmap__durations durations;
    uint64_t ns_95; /* of durations, unless it is stale: it is asked for at each job that begins */
    bool stale;
    struct pmap__times *next; /* in the root's list */
};

/* Those of a task, made if there are none; NULL without memory. Lists are under a lock of the caller's. */
struct pmap__times *pmap__times_find(struct pmap__times **list, const struct pmap_task *task);
void pmap__times_free(struct pmap__times *list);

/* n items took ns, one after the other. Any thread. */
void pmap__times_add(struct pmap__times *times, uint64_t ns, size_t n);

/* What 95 of 100 items did not exceed; 0: not known. Any thread. */
uint64_t pmap__times_95(struct pmap__times *times);

/* What a thread has not told yet. A piece may be an item of nanoseconds, and looking at the clock takes as long: so the clock is read after every
 * stride of pieces, and what it shows is added once a millisecond. */
struct pmap__stopwatch {
    struct pmap__times *times; /* NULL: nobody needs to know */
    uint64_t since;
    size_t items; /* run since then */
    unsigned pieces, stride;
};

void pmap__stopwatch_begin(struct pmap__stopwatch *watch, struct pmap__times *times);
void pmap__stopwatch_look(struct pmap__stopwatch *watch);
void pmap__stopwatch_end(struct pmap__stopwatch *watch);

/* A piece of so many items has been run. */
static inline void pmap__stopwatch_count(struct pmap__stopwatch *watch, size_t items)
{
    watch->items += items;
    if (watch->times && ++watch->pieces >= watch->stride)
        pmap__stopwatch_look(watch);
}

#endif
