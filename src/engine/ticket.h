/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A ticket stands for a chunk that is away: which items of which job went to which rank. Its number travels with the
 * chunk, and an answer is believed only if it names a ticket that is out and says the same as it.
 *
 * A ticket is done with when the chunk has been answered, the records of its failures are here, if there are any, and its
 * items have been sent, in whichever order: the answer may be here before the transport lets go of the array that it
 * sent from.
 */
#ifndef PMAP_ENGINE_TICKET_H
#define PMAP_ENGINE_TICKET_H

#include "engine/job.h"

struct pmap__ticket {
    struct pmap__job *job; /* NULL: this ticket is not out */
    int rank;
    size_t begin, n;       /* positions of the job */
    size_t first;          /* what the rank calls the first of them */
    unsigned wants;        /* that the rank was told */
    size_t grain;          /* positions that a thread takes at a time */
    bool single;           /* of a job of one piece */
    uint64_t since;        /* when it was handed out, roughly */
    uint64_t turn;         /* how many were handed out before it */
    uint64_t dealt;        /* when, if its items were lost before; else 0: a first loss always counts */
    struct pmap__lasting lasting; /* what it adds to what the rank holds */
    bool landing; /* the answer is on its way to its place */
    bool answered, sent;
    bool lost;             /* with its rank: it counts as answered, and that is all */
    bool records_due, records_here; /* there are records, says the answer; they have come */
    void *packed;   /* what is sent, if it had to be packed; malloc'ed */
    void *in;   /* where the answer lands, if that is not its place yet; malloc'ed */
    void *records; /* as they came, n of them in so many bytes: read when the results are in their place, for what failed is
                    * run again then, and must not be overwritten; NULL with records_here: there was no memory */
    uint64_t records_n; /* 0: none are here, or on their way */
    size_t records_size;
    struct pmap__chunk_ends seen; /* what an observer will be told; its chunk 0: nothing */
    uint64_t number;
    struct pmap__ticket *next_free;
};

/* All tickets of a root, by number. Tickets are never freed before the table is: numbers are used again. */
struct pmap__tickets {
    struct pmap__ticket **all;
    uint64_t count, room;
    uint64_t turns; /* tickets that have been taken, ever */
    struct pmap__ticket *free;
};

void pmap__tickets_fini(struct pmap__tickets *tickets);

/* A ticket that is out from now on; NULL if memory is short. */
struct pmap__ticket *pmap__ticket_take(struct pmap__tickets *tickets, struct pmap__job *job, int rank, size_t begin,
                                       size_t n);
void pmap__ticket_give(struct pmap__tickets *tickets, struct pmap__ticket *ticket);

/* The ticket with this number, if it was given to that rank for those items and is out; NULL if not, and which field is wrong. */
struct pmap__ticket *pmap__ticket_find(const struct pmap__tickets *tickets, uint64_t number, int rank, uint64_t begin,
                                       uint64_t n, const char **bad);

#endif
