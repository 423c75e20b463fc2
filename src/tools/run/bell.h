/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What the root's main thread sleeps on: the reader of input and the callbacks of the pool ring.
 */
#ifndef PMAP_TOOLS_RUN_BELL_H
#define PMAP_TOOLS_RUN_BELL_H

#include <pthread.h>
#include <stdbool.h>

struct run_bell {
    pthread_mutex_t lock;
    pthread_cond_t rings;
    bool rung; /* under lock; kept for the next wait */
};

void run_bell_init(struct run_bell *bell);
void run_bell_fini(struct run_bell *bell);
void run_bell_ring(struct run_bell *bell);

/* Until it rings, or seconds have passed. */
void run_bell_wait(struct run_bell *bell, double seconds);

/* The clock by which everything is measured that is not a date: seconds. */
double run_now(void);

/* Seconds since 1970. */
double run_date(void);

#endif
