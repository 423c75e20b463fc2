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
 * SIGUSR2 interrupts nothing: it asks for a report of what the ranks are doing, which the root of a pool gives, once, whichever rank it
 * came to. So it is counted, and a rank that is no root passes it on.
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

/* How often SIGUSR2 has come to this process so far; and how often another rank has passed it on. Any thread. */
unsigned pmap__signals_reports(void);
unsigned pmap__signals_passed_reports(void);
void pmap__signals_pass_report(void); /* another rank has; it rings */

/* Readable when SIGUSR2 has come to this process, until it is taken, by one thread: false if another has. -1: it cannot be had. It is never
 * closed, for a handler may just be writing to it. */
int pmap__signals_report_fd(void);
bool pmap__signals_take_report(void);

/* A wake-up for the watching thread, which a handler sends, too: to be prepared before the first ring, by anybody. ring is
 * async-signal-safe; a ring before the wait is kept. The wait ends by a ring, or after timeout ns; PMAP__FOR_EVER: by a ring only. */
void pmap__signals_prepare(void);
void pmap__signals_ring(void);
void pmap__signals_wait(uint64_t timeout);

#endif
