/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Each call of a run dealt out once more (report/replay.h): what another chunksize, another order or fewer lanes would have made of it.
 * Calls at the same time share lanes, so that nothing can be said of one of them alone; they are left out.
 */
#ifndef PMAP_REPORT_DEALS_H
#define PMAP_REPORT_DEALS_H

#include "report/losses.h"
#include "report/replay.h"

/* Times are ns. */
struct pmap__deal {
    uint32_t call;
    size_t chunksize;      /* that was used; 0: the library chose */
    double length;         /* of the call, as it was; less if even dealing it out in the same way is faster: then something else held it up */
    double busy;           /* in its items */
    double longest;        /* item */
    double longest_chunk;  /* with chunksize */
    double hand_out;       /* what a lane loses for each chunk */
    size_t better;         /* the best chunksize; chunksize if no other is better */
    double with_better;    /* length then */
    double longest_first;  /* length if the longest items were begun first */
    double dealt, halved, quartered; /* the same as the replay has it, on all lanes, half of them, and a quarter */
};

struct pmap__deals {
    struct pmap__deal *list;
    size_t n;
    struct pmap__report_span *spans; /* of the run, by call, then by item */
    size_t n_spans;
};

/* False: no memory. */
bool pmap__deals_play(struct pmap__deals *deals, const struct pmap__run *run, const struct pmap__losses *losses);
void pmap__deals_fini(struct pmap__deals *deals);

/* The length of all items of all calls of a function and task (names) together, as if they had been one call, dealt out one by one.
 * Negative: no memory. */
double pmap__deals_as_one(const struct pmap__run *run, const struct pmap__deals *deals, uint32_t function, uint32_t task, double hand_out);

/* The length of all deals together if the items of each rank had taken so many times less. slower: by rank_index. Negative: no memory. */
double pmap__deals_faster(const struct pmap__run *run, const struct pmap__deals *deals, const double *slower);

#endif
