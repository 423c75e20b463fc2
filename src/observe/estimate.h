/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How fast items are done, and when all of them will be. Plain arithmetic; times in seconds.
 *
 * What is measured is the time of threads: how many are busy, looked at now and then, times how long. Divided by the items that were
 * done it is the mean time of an item in which those that have begun and not ended count as well: the maximum-likelihood estimate
 * for censored observations. So it grows while a long item runs, before that has ended, and short items that are done first
 * do not promise too much.
 *
 * What is left has two parts. While there are more items than threads, all threads work, and it takes as long as the mean says. The last
 * items run side by side, and the longest decides. An item that is found running is likely to be a long one, and has
 * E[X^2] / 2 E[X] before it on average (the inspection paradox of renewal theory); of k such times, were they exponential, the longest is
 * H(k) = 1 + 1/2 + … + 1/k times that; but it is no more than the longest item so far. If nothing has ended for longer than any item
 * took, what runs is given as long again. Nor is less left than at the rate so far.
 *
 * The rate that is shown is that of the recent past: what was done counts for 1/e of that after 10 s.
 */
#ifndef PMAP_OBSERVE_ESTIMATE_H
#define PMAP_OBSERVE_ESTIMATE_H

#include <stdbool.h>

/* Start from {0}. */
struct pmap__estimate {
    double time, items, busy;        /* since the start: the time, what was done in it, and the seconds of threads */
    double recent_time, recent_items; /* these fade */
    double still;                    /* since something was done */
};

/* For so many seconds so many threads were busy, and so many items were done. */
void pmap__estimate_add(struct pmap__estimate *estimate, double seconds, double items, double threads);

/* Items per second, recently; 0: none was done yet. */
double pmap__estimate_rate(const struct pmap__estimate *estimate);

/* Of the items so far: the longest, and E[X^2] / 2 E[X]; 0: not known. */
struct pmap__spread {
    double longest, residual;
};

/* Seconds for so many items that are not done, on so many threads. Below 0: nobody can say yet. */
double pmap__estimate_left(const struct pmap__estimate *estimate, double items, int threads, const struct pmap__spread *spread);

#endif
