/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Waiting for a word of shared memory to change, asleep: the system's futex.
 */
#ifndef PMAP_CELL_WAKE_H
#define PMAP_CELL_WAKE_H

#include "base/clock.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Sleep while *word is seen, for so many nanoseconds at most; 0: for ever. It may return for no reason. */
static inline void pmap__sleep_on(atomic_uint *word, unsigned seen, uint64_t ns)
{
    struct timespec t = {.tv_sec = (time_t)(ns / PMAP__S), .tv_nsec = (long)(ns % PMAP__S)};
    syscall(SYS_futex, word, FUTEX_WAIT, seen, ns ? &t : NULL, NULL, 0);
}

/* End the sleep of all who sleep on it. */
static inline void pmap__wake(atomic_uint *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, 1 << 30, NULL, NULL, 0);
}

#endif
