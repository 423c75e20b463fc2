/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How long to wait before looking again, for a loop that must poll: it spins as long as an answer is likely, then
 * yields, then sleeps in growing steps. Pure arithmetic on the time since something last happened.
 *
 * The numbers: a message between two processes of a node takes a few microseconds and one between nodes tens, so
 * PMAP__SPIN catches the answer to what was just sent. A nap costs about 5 us of CPU, so naps that are at
 * least a quarter of the time already waited, up to PMAP__NAP_MAX, keep an idle loop below 2 % of a core, and a
 * wake-up late by half a nap. Only after PMAP__LONG without anything do naps reach a millisecond.
 */
#ifndef PMAP_BASE_PATIENCE_H
#define PMAP_BASE_PATIENCE_H

#include "base/clock.h"

#include <stdbool.h>

#define PMAP__SPIN (50 * PMAP__US)
#define PMAP__YIELD (150 * PMAP__US)
#define PMAP__NAP_MIN (20 * PMAP__US)
#define PMAP__NAP_MAX (200 * PMAP__US)
#define PMAP__LONG (1 * PMAP__S)
#define PMAP__NAP_LONG (1 * PMAP__MS)

enum pmap__pause { PMAP__PAUSE_SPIN, PMAP__PAUSE_YIELD, PMAP__PAUSE_NAP };

/* What to do after idle nanoseconds without an event; *nap is how long for PMAP__PAUSE_NAP. busy: this process's
 * own threads compute meanwhile, so that spinning would take their time: nap at once. */
static inline enum pmap__pause pmap__patience(uint64_t idle, bool busy, uint64_t *nap)
{
    if (!busy && idle < PMAP__SPIN)
        return PMAP__PAUSE_SPIN;
    if (!busy && idle < PMAP__YIELD)
        return PMAP__PAUSE_YIELD;
    uint64_t quarter = idle / 4;
    uint64_t most = idle < PMAP__LONG ? PMAP__NAP_MAX : PMAP__NAP_LONG;
    *nap = quarter < PMAP__NAP_MIN ? PMAP__NAP_MIN : quarter > most ? most : quarter;
    return PMAP__PAUSE_NAP;
}

#endif
