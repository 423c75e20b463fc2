/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Waiting for jobs, from the caller's side. One place for the whole process where any thread may wait for any condition:
 * whoever makes one true says so, and everybody who waits looks again. There are few waiters, and each has something
 * to do as soon as it is woken.
 *
 * A waiter first looks again and again for as long as a sleep and a wake-up would cost, if it may as a guest of the progress
 * thread, which does that thread's work meanwhile (loop.h). Where the program owns MPI and
 * allows no thread of ours to use it, waiting is when its loops are stepped: see loop.h.
 */
#ifndef PMAP_ENGINE_WAIT_H
#define PMAP_ENGINE_WAIT_H

#include <stdbool.h>
#include <stdint.h>

/* Wait until ready(argument), or until the clock (base/clock.h) shows deadline; PMAP__FOR_EVER: no matter how long. True if
 * it is ready. A thread that may not wait only looks. */
bool pmap__wait(bool (*ready)(const void *argument), const void *argument, uint64_t deadline);

/* Something that somebody may wait for is true now. Any thread. */
void pmap__wait_over(void);

/* The point in time so many seconds from now. Negative: never comes. */
uint64_t pmap__deadline(double seconds);

/* Is the calling thread in a callback of the user's, or in another place where it must not wait for jobs? */
bool pmap__wait_forbidden(void);
void pmap__wait_forbid(bool forbid);

#endif
