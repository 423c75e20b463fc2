/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/times.h"

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
    pthread_mutex_unlock(&times->lock);
}

uint64_t pmap__times_95(struct pmap__times *times)
{
    pthread_mutex_lock(&times->lock);
    uint64_t ns = pmap__durations_95(&times->durations);
    pthread_mutex_unlock(&times->lock);
    return ns;
}
