/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "sched/walltime.h"

#define MS UINT64_C(1000000)
#define S UINT64_C(1000000000)

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Classes, in units of 2^20 ns, about a millisecond: 0 … 15 hold one unit each; then eight for each power of two. */
static size_t class_of(uint64_t ns)
{
    uint64_t units = ns >> 20;
    size_t shift = 0;

    while (units >> shift >= 16)
        shift++;
    return (size_t)smaller(8 * shift + (units >> shift), PMAP__DURATIONS - 1);
}

/* The end of a class, which no time in it reaches; the last has none. */
static uint64_t end_of(size_t class)
{
    if (class == PMAP__DURATIONS - 1)
        return UINT64_MAX;
    size_t shift = class < 16 ? 0 : class / 8 - 1;
    return (class - 8 * shift + 1) << shift << 20;
}

void pmap__durations_add(struct pmap__durations *d, uint64_t ns, uint64_t n)
{
    d->count[class_of(ns)] += n;
    d->total += n;
    if (d->longest < ns)
        d->longest = ns;
}

uint64_t pmap__durations_95(const struct pmap__durations *d)
{
    uint64_t sum = 0, enough = d->total - d->total / 20;

    for (size_t i = 0; i < PMAP__DURATIONS && d->total; i++) {
        sum += d->count[i];
        if (sum >= enough)
            return smaller(end_of(i), d->longest);
    }
    return 0;
}

uint64_t pmap__walltime_margin(uint64_t all)
{
    return smaller(all / 10, 10 * S);
}

bool pmap__walltime_fits(uint64_t left, uint64_t margin, size_t items, uint64_t item_ns)
{
    if (left <= margin)
        return false;
    return item_ns == 0 || items <= (left - margin) / item_ns;
}

uint64_t pmap__walltime_next_look(uint64_t left, uint64_t margin)
{
    uint64_t look = left > margin ? (left - margin) / 64 : 0;
    return look < 5 * MS ? 5 * MS : smaller(look, S);
}
