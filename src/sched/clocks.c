/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "sched/clocks.h"

/* Clocks of computers do not differ by more than a thousandth: what says so is a measurement gone wrong. */
#define DRIFT_MAX 1e-3

void pmap__clock_ping(struct pmap__clock *clock, const struct pmap__ping *ping, bool at_end)
{
    struct pmap__clock_look *look = at_end ? &clock->last : &clock->first;
    uint64_t trip = ping->back - ping->sent, middle = ping->sent + trip / 2;

    if (ping->back < ping->sent || (look->known && look->error <= trip - trip / 2))
        return;
    *look = (struct pmap__clock_look){.known = true, .there = ping->there, .ahead = (int64_t)(ping->there - middle), .error = trip - trip / 2};
}

/* How much is gained in each nanosecond. */
static double drift(const struct pmap__clock *clock)
{
    const struct pmap__clock_look *a = &clock->first, *b = &clock->last;

    if (!a->known || !b->known || b->there <= a->there)
        return 0;
    double gained = (double)(b->ahead - a->ahead), uncertain = (double)(a->error + b->error);
    double rate = gained / (double)(b->there - a->there);
    bool certain = gained > uncertain || -gained > uncertain;
    return certain && rate < DRIFT_MAX && rate > -DRIFT_MAX ? rate : 0;
}

double pmap__clock_drift(const struct pmap__clock *clock)
{
    return 1e6 * drift(clock);
}

/* The line goes through the more certain of the two differences. */
uint64_t pmap__clock_ours(const struct pmap__clock *clock, uint64_t there)
{
    const struct pmap__clock_look *a = &clock->first, *b = &clock->last;
    const struct pmap__clock_look *through = !a->known || (b->known && b->error < a->error) ? b : a;
    int64_t ahead = through->ahead + (int64_t)(drift(clock) * (double)(int64_t)(there - through->there));
    int64_t ours = (int64_t)(there - (uint64_t)ahead);

    return ours < 0 ? 0 : (uint64_t)ours;
}
