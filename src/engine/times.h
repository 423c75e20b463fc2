/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How long the items of a task take, for pools that know when they have to end. One estimate for all jobs of a task: a stream is a row
 * of jobs, and an apply is one, that could not learn from themselves.
 */
#ifndef PMAP_ENGINE_TIMES_H
#define PMAP_ENGINE_TIMES_H

#include "sched/walltime.h"

#include <pmap.h>
#include <pthread.h>

struct pmap__times {
    const struct pmap_task *task;
    pthread_mutex_t lock; /* of this: */
    struct pmap__durations durations;
    struct pmap__times *next; /* in the root's list */
};

/* Those of a task, made if there are none; NULL without memory. Lists are under a lock of the caller's. */
struct pmap__times *pmap__times_find(struct pmap__times **list, const struct pmap_task *task);
void pmap__times_free(struct pmap__times *list);

/* n items took ns, one after the other. Any thread. */
void pmap__times_add(struct pmap__times *times, uint64_t ns, size_t n);

/* What 95 of 100 items did not exceed; 0: not known. Any thread. */
uint64_t pmap__times_95(struct pmap__times *times);

#endif
