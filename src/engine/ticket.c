/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/ticket.h"

#include <stdlib.h>

void pmap__tickets_fini(struct pmap__tickets *tickets)
{
    for (uint64_t i = 0; i < tickets->count; i++)
        free(tickets->all[i]);
    free(tickets->all);
    *tickets = (struct pmap__tickets){0};
}

static bool grow(struct pmap__tickets *tickets)
{
    uint64_t room = tickets->room ? 2 * tickets->room : 16;
    struct pmap__ticket **all = realloc(tickets->all, (size_t)room * sizeof *all);
    if (all == NULL)
        return false;
    tickets->all = all;
    tickets->room = room;
    return true;
}

static struct pmap__ticket *print_new(struct pmap__tickets *tickets)
{
    if (tickets->count == tickets->room && !grow(tickets))
        return NULL;
    struct pmap__ticket *ticket = malloc(sizeof *ticket);
    if (ticket == NULL)
        return NULL;
    ticket->number = tickets->count;
    tickets->all[tickets->count++] = ticket;
    return ticket;
}

struct pmap__ticket *pmap__ticket_take(struct pmap__tickets *tickets, struct pmap__job *job, int rank, size_t begin,
                                       size_t n)
{
    struct pmap__ticket *ticket = tickets->free;
    if (ticket)
        tickets->free = ticket->next_free;
    else
        ticket = print_new(tickets);
    if (ticket == NULL)
        return NULL;
    *ticket = (struct pmap__ticket){.job = job, .rank = rank, .begin = begin, .n = n, .first = pmap__job_named(job, begin),
                                     .single = job->place_in_line.single, .number = ticket->number, .turn = tickets->turns++};
    return ticket;
}

void pmap__ticket_give(struct pmap__tickets *tickets, struct pmap__ticket *ticket)
{
    free(ticket->packed);
    free(ticket->in);
    free(ticket->records);
    ticket->packed = ticket->in = ticket->records = NULL;
    ticket->job = NULL;
    ticket->next_free = tickets->free;
    tickets->free = ticket;
}

struct pmap__ticket *pmap__ticket_find(const struct pmap__tickets *tickets, uint64_t number, int rank, uint64_t begin,
                                       uint64_t n, const char **bad)
{
    struct pmap__ticket *ticket = number < tickets->count ? tickets->all[number] : NULL;

    if (ticket == NULL || ticket->job == NULL || ticket->rank != rank)
        *bad = "ticket";
    else if (ticket->first != begin)
        *bad = "begin";
    else if (ticket->n != n)
        *bad = "n";
    else
        return ticket;
    return NULL;
}
