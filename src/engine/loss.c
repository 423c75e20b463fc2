/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What becomes of a root when another rank has died: its text says which rank that was, and what it was running. Then all ranks
 * end; or, where the pool survives that, the rank gets and answers nothing any more, and what it held is run again elsewhere.
 *
 * What it held are its tickets. Each becomes a job of its own (job.h), for which the call waits, and which other ranks run, as soon as
 * no more ranks die; the root's threads only where no other rank is left, since an item may be what has killed the rank. What was for the dead rank alone
 * fails. No array of the caller's is in danger: a port that survives copies what it sends, and nothing lands that is not whole.
 */
#include "base/error.h"
#include "engine/post.h"
#include "engine/root_inside.h"
#include "transport/lifeline.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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
    size_t leaf = job->fold ? job->fold->leaf : 1;

    *first = pmap__job_at(job, ticket->begin) * leaf;
    *last = *first + ticket->n * leaf - 1;
    if (job->fold && *last >= job->fold->total)
        *last = job->fold->total - 1;
    return job->order == NULL || job->fold || ticket->n == 1;
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

/* ---- Going on without it ---- */

/* The other ranks hear it before they get anything of what it held. */
static void tell_others(struct pmap__root *root, int rank)
{
    root->port->ops->lost(root->port, rank);
    if (!pmap__deal_tell(root, &(struct pmap__frame){.kind = PMAP__LOST, .rank = rank}))
        root->port->ops->abort(root->port, "pmap: the death of a rank could not be told");
    if (root->place->post)
        pmap__post_lost(root->place->post, rank);
}

void pmap__loss_count(struct pmap__root *root, int rank)
{
    struct pmap__peer *peer = &root->peers[rank];

    if (peer->missing)
        return;
    peer->missing = true;
    atomic_fetch_sub(&root->all_threads, atomic_exchange(&peer->threads, 0));
    atomic_fetch_sub(&root->others, 1);
}

/* A rank that is mourned may be in the news, too. */
static void lose(struct pmap__root *root, int rank, const char *who, uint64_t alive)
{
    struct pmap__peer *peer = &root->peers[rank];

    if (peer->dead)
        return;
    peer->dead = true;
    atomic_store(&peer->gone, true);
    peer->who = strdup(who);
    pmap__loss_count(root, rank);
    root->quiet = pmap__now() + PMAP__QUIET;
    tell_others(root, rank);
    pmap__deal_lose(root, rank, alive);
    if (peer->owes) {
        peer->owes = false;
        root->owing--;
    }
    if (root->gathering)
        pmap__sharing_hand_round(root);
    if (root->others == 0) {
        pmap__root_forsake(root, &root->open.single);
        pmap__root_forsake(root, &root->open.bulk);
    }
    root->offer_around = true;
}

/* Those who died before the pool began: nothing was lost with them. */
static void mourn(struct pmap__root *root)
{
    char who[PMAP__OBITUARY_MAX];

    for (int rank = 0; rank < root->ranks; rank++)
        if (!root->peers[rank].dead && pmap__lifeline_is_gone(root->port->lifeline, rank)) {
            snprintf(who, sizeof who, "rank %d died", rank);
            lose(root, rank, who, 0);
        }
    root->mourned = true;
}

bool pmap__loss_handle(struct pmap__root *root)
{
    char who[PMAP__OBITUARY_MAX];
    bool ends = root->port == NULL || root->port->lifeline == NULL, any = false;
    uint64_t alive;
    int rank;

    while (!ends && pmap__lifeline_news(root->port->lifeline) && (rank = pmap__lifeline_next(root->port->lifeline, who, &alive)) >= 0) {
        struct text text = {.size = 0};
        append(&text, "%s%s", root->survives ? "" : "pmap: ", who);
        name_chunks(&text, &root->tickets, rank);
        if (!root->survives)
            root->port->ops->abort(root->port, text.bytes);
        pmap__warn("%s; going on without it", text.bytes);
        lose(root, rank, who, alive);
        any = true;
    }
    if (!ends && root->port->survives && !root->mourned)
        mourn(root);
    return any;
}
