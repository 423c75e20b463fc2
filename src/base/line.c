/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "base/line.h"

#include <stddef.h>

static struct pmap__queue *queue_of(struct pmap__line *line, const struct pmap__waiter *waiter)
{
    return waiter->single ? &line->single : &line->bulk;
}

/* The last one in the queue that goes before a newcomer of this priority; NULL if none does. Looked for from both ends at
 * once: a newcomer usually belongs near one of them. */
static struct pmap__waiter *predecessor(const struct pmap__queue *queue, int priority)
{
    struct pmap__waiter *from_front = queue->first, *from_back = queue->last;

    while (from_back && from_back->priority < priority && from_front->priority >= priority) {
        from_front = from_front->after;
        from_back = from_back->before;
    }
    if (from_back == NULL || from_back->priority >= priority)
        return from_back;
    return from_front->before;
}

void pmap__line_add(struct pmap__line *line, struct pmap__waiter *waiter)
{
    struct pmap__queue *queue = queue_of(line, waiter);

    waiter->before = predecessor(queue, waiter->priority);
    waiter->after = waiter->before ? waiter->before->after : queue->first;
    *(waiter->before ? &waiter->before->after : &queue->first) = waiter;
    *(waiter->after ? &waiter->after->before : &queue->last) = waiter;
    waiter->waiting = true;
}

void pmap__line_remove(struct pmap__line *line, struct pmap__waiter *waiter)
{
    struct pmap__queue *queue = queue_of(line, waiter);

    if (!waiter->waiting)
        return;
    *(waiter->before ? &waiter->before->after : &queue->first) = waiter->after;
    *(waiter->after ? &waiter->after->before : &queue->last) = waiter->before;
    waiter->waiting = false;
}

struct pmap__waiter *pmap__line_next(const struct pmap__line *line, bool after_single)
{
    struct pmap__waiter *single = line->single.first, *bulk = line->bulk.first;

    if (single == NULL || bulk == NULL)
        return single ? single : bulk;
    if (single->priority != bulk->priority)
        return single->priority > bulk->priority ? single : bulk;
    return after_single ? bulk : single;
}
