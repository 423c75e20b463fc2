/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "base/bell.h"

#include "base/clock.h"

#include <errno.h>

enum { QUIET, RUNG, ASLEEP };

bool pmap__bell_init(struct pmap__bell *bell)
{
    pthread_condattr_t attributes;

    atomic_init(&bell->state, QUIET);
    if (pthread_mutex_init(&bell->lock, NULL) != 0)
        return false;
    if (pthread_condattr_init(&attributes) != 0)
        goto fail;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    int bad = pthread_cond_init(&bell->signal, &attributes);
    pthread_condattr_destroy(&attributes);
    if (bad)
        goto fail;
    return true;
fail:
    pthread_mutex_destroy(&bell->lock);
    return false;
}

void pmap__bell_fini(struct pmap__bell *bell)
{
    pthread_cond_destroy(&bell->signal);
    pthread_mutex_destroy(&bell->lock);
}

void pmap__bell_ring(struct pmap__bell *bell)
{
    if (atomic_load(&bell->state) == RUNG)
        return;
    /* Under the lock, which the sleeper takes before it leaves: so it may free the bell when it has woken. */
    pthread_mutex_lock(&bell->lock);
    if (atomic_exchange(&bell->state, RUNG) == ASLEEP)
        pthread_cond_signal(&bell->signal);
    pthread_mutex_unlock(&bell->lock);
}

static void wait_until_rung_or(struct pmap__bell *bell, uint64_t timeout)
{
    uint64_t until = pmap__now() + timeout;
    struct timespec deadline = {.tv_sec = (time_t)(until / PMAP__S), .tv_nsec = (long)(until % PMAP__S)};

    while (atomic_load(&bell->state) == ASLEEP) {
        if (timeout == PMAP__FOR_EVER)
            pthread_cond_wait(&bell->signal, &bell->lock);
        else if (pthread_cond_timedwait(&bell->signal, &bell->lock, &deadline) == ETIMEDOUT)
            return;
    }
}

bool pmap__bell_wait(struct pmap__bell *bell, uint64_t timeout)
{
    int expected = QUIET;

    pthread_mutex_lock(&bell->lock);
    if (atomic_compare_exchange_strong(&bell->state, &expected, ASLEEP))
        wait_until_rung_or(bell, timeout);
    pthread_mutex_unlock(&bell->lock);
    return atomic_exchange(&bell->state, QUIET) == RUNG;
}
