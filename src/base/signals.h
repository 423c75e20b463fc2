/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * SIGINT, SIGTERM and SIGUSR1 while pools live, and a way to wake the one thread that sees to them (engine/watch.h) from
 * inside a handler.
 *
 * The first of these signals is noted; the next one ends the process as if nobody had ever caught it. Launchers
 * pass one signal on in several ways (slurmd to every process of a job, and srun to its ranks), so those that come
 * within PMAP__SAME_SIGNAL of the first are taken for the same.
 *
 * Handlers belong to the process, so this is the one mutable state of the library that all pools share. A signal gets one only
 * while somebody holds the signals, and only if its disposition was the default then: a program's own handler, and SIG_IGN, stay.
 * What was noted stays for as long as the process lives. In a forked child the handlers do nothing but what would happen without.
 */
#ifndef PMAP_BASE_SIGNALS_H
#define PMAP_BASE_SIGNALS_H

#include "base/clock.h"

#include <stdbool.h>

/* Passing a signal on over a busy node takes some milliseconds; nobody sends a second one by hand so soon. */
#define PMAP__SAME_SIGNAL (500 * PMAP__MS)

/* Between hold and release handlers are installed; several may hold. */
void pmap__signals_hold(void);
void pmap__signals_release(void);

/* The first signal that came; 0: none. Async-signal-safe. */
int pmap__signals_came(void);

/* Is a signal that comes now another one than the first, which came then? The clock of its handler may have been read before that
 * of the first. */
static inline bool pmap__signal_is_another(uint64_t now, uint64_t first)
{
    return now > first && now - first > PMAP__SAME_SIGNAL;
}

/* The name of a signal that is caught here: "SIGTERM". */
const char *pmap__signal_name(int signal);

/* A wake-up for the watching thread, which a handler sends, too: to be prepared before the first ring, by anybody. ring is
 * async-signal-safe; a ring before the wait is kept. The wait ends by a ring, or after timeout ns; PMAP__FOR_EVER: by a ring only. */
void pmap__signals_prepare(void);
void pmap__signals_ring(void);
void pmap__signals_wait(uint64_t timeout);

#endif
