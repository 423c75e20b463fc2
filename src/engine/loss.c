/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What becomes of a root when another rank has died: its text says which rank that was, and what it was running, and all ranks
 * end.
 */
#include "engine/root_inside.h"
#include "transport/lifeline.h"

#include <stdarg.h>
#include <stdio.h>

/* So many chunks are named. */
#define NAMED 3

struct text {
    char bytes[512];
    size_t size;
};

static void append(struct text *text, const char *format, ...)
{
    size_t room = sizeof text->bytes - text->size;
    va_list arguments;

    va_start(arguments, format);
    int n = vsnprintf(text->bytes + text->size, room, format, arguments);
    va_end(arguments);
    if (n > 0)
        text->size += (size_t)n < room ? (size_t)n : room - 1;
}

/* Items [*first, *last] of a chunk. Where they are no neighbours, because the caller gave costs, false: *first is one of them. */
static bool items_of(const struct pmap__ticket *ticket, size_t *first, size_t *last)
{
    const struct pmap__job *job = ticket->job;
    size_t begin = job->base + ticket->begin, leaf = job->fold ? job->fold->leaf : 1;

    *first = job->order ? job->order[ticket->begin] : begin * leaf;
    *last = *first + ticket->n * leaf - 1;
    if (job->fold && *last >= job->fold->total)
        *last = job->fold->total - 1;
    return job->order == NULL || ticket->n == 1;
}

static void name_items(struct text *text, const struct pmap__ticket *ticket)
{
    size_t first, last;

    if (!items_of(ticket, &first, &last))
        append(text, "item %zu and %zu others", first, ticket->n - 1);
    else if (first == last)
        append(text, "item %zu", first);
    else
        append(text, "items %zu-%zu", first, last);
}

static bool is_held(const struct pmap__ticket *ticket, int rank)
{
    return ticket->job && ticket->rank == rank && !ticket->answered;
}

/* " while running items 40-47, items 48-55 of square", what the rank holds; nothing if that is nothing. */
static void name_chunks(struct text *text, const struct pmap__tickets *tickets, int rank)
{
    const struct pmap_task *task = NULL; /* of what is named already */
    size_t n = 0;

    for (uint64_t i = 0; i < tickets->count; i++) {
        const struct pmap__ticket *ticket = tickets->all[i];
        if (!is_held(ticket, rank) || n++ >= NAMED)
            continue;
        if (task && task != ticket->job->form.task)
            append(text, " of %s", task->name);
        task = ticket->job->form.task;
        append(text, n == 1 ? " while running " : ", ");
        name_items(text, ticket);
    }
    if (task)
        append(text, " of %s", task->name);
    if (n > NAMED)
        append(text, " and %zu more chunk%s", n - NAMED, n == NAMED + 1 ? "" : "s");
}

bool pmap__loss_handle(struct pmap__root *root)
{
    char who[PMAP__OBITUARY_MAX];
    struct text text = {.size = 0};
    int rank;

    if (root->port == NULL || root->port->lifeline == NULL || !pmap__lifeline_news(root->port->lifeline))
        return false;
    if ((rank = pmap__lifeline_next(root->port->lifeline, who)) < 0)
        return false;
    append(&text, "pmap: %s", who);
    name_chunks(&text, &root->tickets, rank);
    root->port->ops->abort(root->port, text.bytes);
    return true;
}
