/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A bell wakes one sleeper. Any thread rings; one thread at a time waits. A ring that comes while nobody waits is
 * kept: the next wait returns at once. Several rings before a wait count as one, so whoever wakes looks at all
 * that may have happened.
 *
 * State machine: QUIET -> RUNG by a ring; QUIET -> ASLEEP by the sleeper; ASLEEP -> RUNG by a ring, which then
 * signals. Ringing a bell that is RUNG already costs one atomic load. Whoever has been woken by the one ring that was
 * to come may free the bell.
 */
#ifndef PMAP_BASE_BELL_H
#define PMAP_BASE_BELL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define PMAP__FOR_EVER UINT64_MAX

struct pmap__bell {
    atomic_int state;
    pthread_mutex_t lock; /* between the sleeper's decision to sleep and the signal */
    pthread_cond_t signal;
};

bool pmap__bell_init(struct pmap__bell *bell);
void pmap__bell_fini(struct pmap__bell *bell);
void pmap__bell_ring(struct pmap__bell *bell);

/* Ends by a ring, or after timeout nanoseconds. True if it was rung. */
bool pmap__bell_wait(struct pmap__bell *bell, uint64_t timeout);

#endif
