/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What still fits before the time is over: when nothing more of a job is handed out, and when all of it stops. Integers in,
 * integers out, as in portion.h; times in nanoseconds.
 *
 * A job of items that take longer than what is left, but for a margin, is not handed out any more; what runs of it goes on.
 * When only the margin is left everything is asked to stop, so that results can be written down and the program can end
 * by itself.
 */
#ifndef PMAP_SCHED_WALLTIME_H
#define PMAP_SCHED_WALLTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Time to keep for the end, of all that there is: a tenth, at most ten seconds. */
uint64_t pmap__walltime_margin(uint64_t all);

/* Does a piece of so many items fit in, one after the other, each of item_ns? */
bool pmap__walltime_fits(uint64_t left, uint64_t margin, size_t items, uint64_t item_ns);

/* When to ask again: often enough for what is begun meanwhile to be late by a small part of what is left only, and seldom
 * enough not to be noticed. */
uint64_t pmap__walltime_next_look(uint64_t left, uint64_t margin);

#endif
