/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What another clock showed, in the time of ours. Both count nanoseconds, from different moments, and at rates that differ a
 * little, as those of two hosts do.
 *
 * A *ping* asks the other for its time: it was asked at sent, said there, and was heard at back. What it said belongs to some moment
 * between the two; taken for the middle it is wrong by half of the round trip at most. Of several pings the fastest is
 * believed (Cristian 1989). One such difference from the beginning and one from the end give the rate, too: in between the difference is a
 * straight line.
 */
#ifndef PMAP_SCHED_CLOCKS_H
#define PMAP_SCHED_CLOCKS_H

#include <stdbool.h>
#include <stdint.h>

struct pmap__ping {
    uint64_t sent, there, back; /* ours, theirs, ours */
};

/* A difference: at this time of theirs they were ahead by so much, give or take error; known: there is one. */
struct pmap__clock_look {
    bool known;
    uint64_t there;
    int64_t ahead;
    uint64_t error;
};

/* What is known of a clock. Start from {0}, which is a clock that shows the same as ours. */
struct pmap__clock {
    struct pmap__clock_look first, last;
};

/* One more ping of the beginning, or of the end. It counts if it is faster than those before. */
void pmap__clock_ping(struct pmap__clock *clock, const struct pmap__ping *ping, bool at_end);

/* The time of ours at which theirs was there. In the order of theirs, and at least 0. */
uint64_t pmap__clock_ours(const struct pmap__clock *clock, uint64_t there);

/* By how much their clock gains on ours, in parts per million; 0 if that is not known, or less than what is uncertain of it. */
double pmap__clock_drift(const struct pmap__clock *clock);

#endif
