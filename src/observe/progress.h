/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Progress: one line for all pools of the process that want it, drawn up to ten times a second, or, where stderr is no terminal, a line of
 * a log from time to time.
 *
 * What it shows is a run: the calls that are under way now, and those that have ended since nothing was under way last, added up. A run
 * ends with its last call, before that returns, so that what the program prints then has a line to itself: the drawn line is taken away,
 * and if the run took a second or more its outcome is left in its place, as a line of its own. Runs that follow each other closely, as in a
 * loop of short calls, are counted; the line then comes when the row of them has lasted long enough.
 *
 * Everything here is called under the lock of show.c.
 */
#ifndef PMAP_OBSERVE_PROGRESS_H
#define PMAP_OBSERVE_PROGRESS_H

#include "engine/root.h"
#include "observe/drawing.h"
#include "observe/estimate.h"

struct pmap__progress {
    int terminal;       /* a descriptor; -1: there is none */
    uint64_t every;     /* ns between two lines of a log */
    struct pmap__tally gone;    /* of pools that have left, */
    uint64_t gone_calls;        /* and their calls: what has been shown does not go back */
    bool running;
    struct pmap__tally base; /* of all pools, when the run began */
    uint64_t since, calls;      /* when that was, and how many calls were over then; */
    uint64_t row_since, row_calls; /* likewise of the row of runs; */
    uint64_t ended;             /* when the last call ended */
    uint64_t looked, done, logged;    /* when, and how many items, at the last look; when a line was logged last, 0: none in this run */
    struct pmap__estimate estimate;
    struct pmap__spread spread; /* of items; looked for now and then */
    unsigned turn;
    char what[48];      /* was shown last; it is not known any more when it has ended */
};

/* every: seconds. */
void pmap__progress_begin(struct pmap__progress *progress, double every);
void pmap__progress_end(struct pmap__progress *progress);

/* The pools have come so far: measure that, and show it if it is time. */
void pmap__progress_look(struct pmap__progress *progress, struct pmap__tenant *const pools[], size_t n);

/* A pool, whose calls are over, is about to leave, and others go on. */
void pmap__progress_leave(struct pmap__progress *progress, struct pmap__tenant *pool);

/* A call has ended: if it was the last, the run has, too. */
void pmap__progress_ended(struct pmap__progress *progress, struct pmap__tenant *const pools[], size_t n);

#endif
