/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What would have been: the measured items of a call are dealt out once more, in simulated time, with another chunksize, in another
 * order, or to fewer lanes. Advice takes its numbers from here, and none from rules of thumb.
 *
 * The model is list scheduling: whoever is free first takes the next chunk, whose items then run one after the other. Handing out a
 * chunk costs the lane that gets it a fixed time. Lanes are equally fast.
 */
#ifndef PMAP_REPORT_REPLAY_H
#define PMAP_REPORT_REPLAY_H

#include <stddef.h>

/* A run of items that took as long each, neighbours in the call's array. */
struct pmap__replay_work {
    double seconds; /* each of them */
    size_t n;
};

/* Seconds until the last lane is done, with chunks of so many items in the order of the array. lanes and chunk are at least 1; free_at is
 * scratch for one number per lane. */
double pmap__replay(const struct pmap__replay_work *work, size_t n_work, size_t lanes, size_t chunk, double hand_out, double *free_at);

/* Sort the longest first, as .cost with good estimates would have them begun. */
void pmap__replay_sort(struct pmap__replay_work *work, size_t n_work);

#endif
