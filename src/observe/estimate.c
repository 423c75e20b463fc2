/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "observe/estimate.h"

#include <math.h>

#define MEMORY 10 /* seconds */

void pmap__estimate_add(struct pmap__estimate *e, double seconds, double items, double threads)
{
    double keep = exp(-seconds / MEMORY);

    e->time += seconds;
    e->items += items;
    e->busy += seconds * threads;
    e->recent_time = e->recent_time * keep + seconds;
    e->recent_items = e->recent_items * keep + items;
    e->still = items > 0 ? 0 : e->still + seconds;
}

double pmap__estimate_rate(const struct pmap__estimate *e)
{
    return e->recent_time > 0 ? e->recent_items / e->recent_time : 0;
}

/* 1 + 1/2 + … + 1/k, to a hundredth. */
static double harmonic(double k)
{
    return k < 2 ? k : log(k) + 0.5772156649 + 0.5 / k;
}

/* So many items are running, and no others wait. */
static double left_of_last(const struct pmap__estimate *e, double items, const struct pmap__spread *spread)
{
    double mean = e->busy / e->items, longest = fmax(spread->longest, mean);
    double left = fmin(fmax(mean, spread->residual) * harmonic(items), longest);

    return e->still > longest ? fmax(left, e->still) : left;
}

double pmap__estimate_left(const struct pmap__estimate *e, double items, int threads, const struct pmap__spread *spread)
{
    double workers = threads > 0 ? threads : 1, last = fmin(items, workers);

    if (items <= 0)
        return 0;
    if (e->items <= 0 || e->time <= 0)
        return -1;
    double before = (items - last) * (e->busy / e->items) / workers;
    return fmax(before + left_of_last(e, last, spread), items * e->time / e->items);
}
