/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How long items take: a histogram of times in nanoseconds, in classes that are an eighth wide or narrower, from one nanosecond to
 * centuries. What is asked of it is at most an eighth too high.
 */
#ifndef PMAP_SCHED_DURATIONS_H
#define PMAP_SCHED_DURATIONS_H

#include <stddef.h>
#include <stdint.h>

#define PMAP__DURATIONS 512

/* Start from {0}. */
struct pmap__durations {
    uint64_t count[PMAP__DURATIONS];
    uint64_t total, longest;
};

/* The class of a time, below PMAP__DURATIONS, and the longest time of a class: for who counts by itself. */
size_t pmap__durations_class(uint64_t ns);
uint64_t pmap__durations_last(size_t class);

/* n items that took ns each. */
void pmap__durations_add(struct pmap__durations *durations, uint64_t ns, uint64_t n);

/* A time that so many of 100 items did not exceed, and, without the class that it is in, more do; 0: nothing is known. */
uint64_t pmap__durations_percentile(const struct pmap__durations *durations, unsigned percent);
static inline uint64_t pmap__durations_95(const struct pmap__durations *durations)
{
    return pmap__durations_percentile(durations, 95);
}

#endif
