/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How long to wait before looking again, for a loop that must poll: it spins as long as an answer is likely, then
 * yields, then naps in growing steps. Pure arithmetic on the time since something last happened.
 *
 * The numbers: a message between two processes of a node takes a few microseconds and one between nodes tens, so
 * PMAP__SPIN catches the answer to what was just sent. A nap costs 5 to 30 us of CPU, most of it the kernel's for switching
 * back, so a loop that is to stay below 2 % of a core can take a few hundred a second. Naps are an eighth of the time
 * already waited up to PMAP__NAP_MAX, which a quarter of a second of waiting can bear; from then on they grow with a
 * 256th of it to PMAP__NAP_LONG. So a wake-up is late by a few percent of the wait at first and below 1 % in the end.
 */
#ifndef PMAP_BASE_PATIENCE_H
#define PMAP_BASE_PATIENCE_H

#include "base/clock.h"

#define PMAP__SPIN (50 * PMAP__US)
#define PMAP__YIELD (150 * PMAP__US)
#define PMAP__NAP_MIN (20 * PMAP__US)
#define PMAP__NAP_MAX (1 * PMAP__MS)
#define PMAP__NAP_LONG (4 * PMAP__MS)

enum pmap__pause { PMAP__PAUSE_SPIN, PMAP__PAUSE_YIELD, PMAP__PAUSE_NAP };

/* What to do after idle nanoseconds without an event; *nap is how long for PMAP__PAUSE_NAP. */
static inline enum pmap__pause pmap__patience(uint64_t idle, uint64_t *nap)
{
    if (idle < PMAP__SPIN)
        return PMAP__PAUSE_SPIN;
    if (idle < PMAP__YIELD)
        return PMAP__PAUSE_YIELD;
    *nap = idle / 8 < PMAP__NAP_MAX ? idle / 8 : idle / 256 > PMAP__NAP_MAX ? idle / 256 : PMAP__NAP_MAX;
    if (*nap < PMAP__NAP_MIN)
        *nap = PMAP__NAP_MIN;
    if (*nap > PMAP__NAP_LONG)
        *nap = PMAP__NAP_LONG;
    return PMAP__PAUSE_NAP;
}

#endif
