/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/times.h"

#include "base/clock.h"

#include <stdlib.h>

struct pmap__times *pmap__times_find(struct pmap__times **list, const struct pmap_task *task)
{
    for (struct pmap__times *t = *list; t; t = t->next)
        if (t->task == task)
            return t;
    struct pmap__times *times = calloc(1, sizeof *times);
    if (times == NULL)
        return NULL;
    times->task = task;
    pthread_mutex_init(&times->lock, NULL); /* glibc's cannot fail */
    times->next = *list;
    *list = times;
    return times;
}

void pmap__times_free(struct pmap__times *list)
{
    while (list) {
        struct pmap__times *next = list->next;
        pthread_mutex_destroy(&list->lock);
        free(list);
        list = next;
    }
}

void pmap__times_add(struct pmap__times *times, uint64_t ns, size_t n)
{
    if (n == 0)
        return;
    pthread_mutex_lock(&times->lock);
    pmap__durations_add(&times->durations, ns / n, n);
    times->stale = true;
    pthread_mutex_unlock(&times->lock);
}

uint64_t pmap__times_95(struct pmap__times *times)
{
    pthread_mutex_lock(&times->lock);
    if (times->stale)
        times->ns_95 = pmap__durations_95(&times->durations);
    times->stale = false;
    uint64_t ns = times->ns_95;
    pthread_mutex_unlock(&times->lock);
    return ns;
}

/* ---- A thread ---- */

#define STRIDE_MAX 16 /* pieces: after so many, reading the clock does not count; and if they become long, it is soon noticed */

void pmap__stopwatch_begin(struct pmap__stopwatch *watch, struct pmap__times *times)
{
    *watch = (struct pmap__stopwatch){.times = times, .since = times ? pmap__now() : 0, .stride = 1};
}

void pmap__stopwatch_look(struct pmap__stopwatch *watch)
{
    uint64_t now = pmap__now();

    watch->pieces = 0;
    if (now - watch->since < PMAP__MS) {
        watch->stride = watch->stride < STRIDE_MAX ? 2 * watch->stride : STRIDE_MAX;
        return;
    }
    pmap__times_add(watch->times, now - watch->since, watch->items);
    watch->since = now;
    watch->items = 0;
    watch->stride = 1;
}

void pmap__stopwatch_end(struct pmap__stopwatch *watch)
{
    if (watch->times)
        pmap__times_add(watch->times, pmap__now() - watch->since, watch->items);
}
