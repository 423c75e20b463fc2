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

double pmap__estimate_left(const struct pmap__estimate *e, double items, int threads, double longest)
{
    double workers = threads > 0 ? threads : 1, last = fmin(items, workers);

    if (items <= 0)
        return 0;
    if (e->items <= 0 || e->time <= 0)
        return -1;
    double mean = e->busy / e->items, tail = mean * harmonic(last);
    if (longest > 0)
        tail = fmin(tail, fmax(longest, mean));
    return fmax((items - last) * mean / workers + tail, items * e->time / e->items);
}
