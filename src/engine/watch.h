/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The watcher: a thread, on processes that are the root of a pool, that waits for what may interrupt pools. Nothing can be done about a
 * signal in its handler, and the loop of a root may be asleep, or be the caller's, so the handler wakes the watcher (base/signals.h)
 * and the watcher has a look at each root. It also looks when the clock says so, where the walltime is known.
 */
#ifndef PMAP_ENGINE_WATCH_H
#define PMAP_ENGINE_WATCH_H

#include <pmap.h>

/* When the process has to end. */
struct pmap__limit_at {
    uint64_t deadline; /* as the clock of base/clock.h shows; 0: never, or it is not known (yet) */
    uint64_t margin;   /* ns to keep for the end */
};

/* So many ns are left from now on. */
struct pmap__limit_at pmap__limit_in(uint64_t left);

struct pmap__watched {
    /* See what has come, and do what has to be done about it, without waiting. By the watcher alone. Returns in how many ns
     * at the latest it has to be called again; PMAP__FOR_EVER: only when something has come. */
    uint64_t (*look)(struct pmap__watched *watched);
    struct pmap__watched *next;
};

/* Make sure that the watcher runs, until the hold is released; PMAP_ENOMEM. */
enum pmap_status pmap__watch_hold(void);
void pmap__watch_release(void);

/* From add to remove the watcher, which the caller holds, has looks whenever it is rung for (pmap__signals_ring); remove waits for
 * one that is under way. */
void pmap__watch_add(struct pmap__watched *watched);
void pmap__watch_remove(struct pmap__watched *watched);

/* The limit of the process, as its environment or its batch system says; any thread. expected: there is one, though it may not
 * be known yet. */
bool pmap__watch_expects_limit(void);
struct pmap__limit_at pmap__watch_limit(void);

#endif
