/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A job and its pool's journal. Before it starts, its items are looked up: the results of those that are known go to their
 * places, and the job's positions become those of the others. Whenever items have been run, what became of them is written down, on
 * the root's threads after each stride of items, of other ranks when a chunk is answered. What has failed, or was not run, is not.
 *
 * The unit is an element: an item of a map, a leaf of a reduction (fold.h), counted from 0 within the job.
 */
#ifndef PMAP_ENGINE_RECALL_H
#define PMAP_ENGINE_RECALL_H

#include "journal/journal.h"

#include <pmap.h>
#include <stdatomic.h>

struct pmap__job;
struct pmap__run;
struct pmap__ticket;

/* What a job that is written down has for that. */
struct pmap__recall {
    struct pmap__journal *journal;
    uint64_t call;         /* its number there */
    uint64_t context;      /* of its hashes */
    size_t *occurrences;   /* of each element; NULL: they are all 0 */
    _Atomic uint64_t *out; /* a bit for each element that is not to be written down: it was known, or, of a map, has failed */
    uint64_t since;        /* when it began */
    atomic_uint_fast64_t upto; /* the journal's number of the last thing that was added */
};

/* Look up all items of a job that is about to start, if its call has a name and its pool a journal. PMAP_OK; PMAP_ENOMEM;
 * PMAP_EJOURNAL. */
enum pmap_status pmap__recall_begin(struct pmap__job *job, struct pmap__journal *journal, struct pmap_error *error);

/* Has the result of this position been found there? False if the job has no recall. */
bool pmap__recall_knows(const struct pmap__job *job, size_t position);

/* Free what the job has for it; NULL is fine. */
void pmap__recall_free(struct pmap__recall *recall);

/* Have a run on this rank's threads write down what it does; the job may have no recall. */
void pmap__recall_watch(struct pmap__job *job, struct pmap__run *run);

/* The positions [begin, end) have been run on a rank, and their results and failures are known. Not of a reduction. */
void pmap__recall_span(struct pmap__job *job, size_t begin, size_t end, int rank);

/* The value of a leaf, which has been folded on a rank. */
void pmap__recall_leaf(struct pmap__job *job, size_t leaf, const void *value, int rank);

/* The job is over, and its caller is about to return: wait until all of it is in the file, if it took so long that this does not
 * count. What is not waited for is there within a second. */
void pmap__recall_settle(struct pmap__job *job);

/* Has something of this job been lost because its journal broke? Then why. */
bool pmap__recall_lost(struct pmap__job *job, bool cancelled, struct pmap_error *error);

/* Likewise of a row of jobs, whose numbers in the journal are below upto, when the last of them is over: pmap__recall_upto gives the
 * number of a job. Waits as pmap__recall_settle; since: when the first of them began. The journal may be NULL. */
uint64_t pmap__recall_upto(const struct pmap__job *job);
bool pmap__recall_row_lost(struct pmap__journal *journal, const char *call, uint64_t since, uint64_t upto,
                           struct pmap_error *error);

#endif
