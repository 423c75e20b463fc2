/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Time: nanoseconds of a clock that never jumps; only differences mean anything.
 */
#ifndef PMAP_BASE_CLOCK_H
#define PMAP_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define PMAP__US UINT64_C(1000)
#define PMAP__MS UINT64_C(1000000)
#define PMAP__S UINT64_C(1000000000)

static inline uint64_t pmap__now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * PMAP__S + (uint64_t)t.tv_nsec;
}

/* The same clock as it was at the last tick, some milliseconds ago: that takes a fifth of the time. */
static inline uint64_t pmap__roughly_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * PMAP__S + (uint64_t)t.tv_nsec;
}

/* The time of day in so many ns: until when pthread_cond_timedwait and pthread_mutex_timedlock wait, unless told of another clock. */
static inline struct timespec pmap__date_in(uint64_t ns)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    ns += (uint64_t)t.tv_nsec;
    t.tv_sec += (time_t)(ns / PMAP__S);
    t.tv_nsec = (long)(ns % PMAP__S);
    return t;
}

#endif
