/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "sched/durations.h"

/* 0 … 15 hold one nanosecond each; then there are eight classes for each power of two. The last is that of 2^64 - 1: 495. */
size_t pmap__durations_class(uint64_t ns)
{
    size_t shift = 0;

    while (ns >> shift >= 16)
        shift++;
    return 8 * shift + (size_t)(ns >> shift);
}

/* Of class 495 the sum wraps around, to just that. */
uint64_t pmap__durations_last(size_t class)
{
    size_t shift = class < 16 ? 0 : class / 8 - 1;
    return ((uint64_t)(class - 8 * shift + 1) << shift) - 1;
}

void pmap__durations_add(struct pmap__durations *d, uint64_t ns, uint64_t n)
{
    d->count[pmap__durations_class(ns)] += n;
    d->total += n;
    if (n && d->longest < ns)
        d->longest = ns;
}

uint64_t pmap__durations_percentile(const struct pmap__durations *d, unsigned percent)
{
    uint64_t sum = 0, enough = d->total - d->total / 100 * (100 - percent) - d->total % 100 * (100 - percent) / 100;

    for (size_t i = 0; i < PMAP__DURATIONS && d->total; i++) {
        sum += d->count[i];
        if (sum >= enough)
            return pmap__durations_last(i) < d->longest ? pmap__durations_last(i) : d->longest;
    }
    return 0;
}
