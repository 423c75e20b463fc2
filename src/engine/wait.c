/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/wait.h"

#include "base/bell.h"
#include "base/clock.h"
#include "base/screen.h"
#include "engine/item.h"
#include "engine/loop.h"

#include <pthread.h>
#include <sched.h>

/* A sleep and a wake-up take about so long. */
#define SPIN (30 * PMAP__US)

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_once_t once;
    atomic_int waiters; /* who sets a condition need not lock if there are none */
} hall = {.lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT};

static _Thread_local bool forbidden;

static void prepare(void)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&hall.changed, &attributes); /* glibc's cannot fail */
    pthread_condattr_destroy(&attributes);
}

static bool spin(bool (*ready)(const void *), const void *argument, uint64_t deadline)
{
    uint64_t now = pmap__now(), end = now + SPIN;

    while (now < end && now < deadline) {
        if (ready(argument))
            return true;
        sched_yield();
        now = pmap__now();
    }
    return ready(argument);
}

static bool sleep_until(bool (*ready)(const void *), const void *argument, uint64_t deadline)
{
    struct timespec at = {.tv_sec = (time_t)(deadline / PMAP__S), .tv_nsec = (long)(deadline % PMAP__S)};
    bool is_ready;

    pthread_once(&hall.once, prepare);
    pthread_mutex_lock(&hall.lock);
    atomic_fetch_add(&hall.waiters, 1);
    while (!(is_ready = ready(argument)) && pmap__now() < deadline) {
        if (deadline == PMAP__FOR_EVER)
            pthread_cond_wait(&hall.changed, &hall.lock);
        else
            pthread_cond_timedwait(&hall.changed, &hall.lock, &at);
    }
    atomic_fetch_sub(&hall.waiters, 1);
    pthread_mutex_unlock(&hall.lock);
    return is_ready;
}

static bool as_guest(bool (*ready)(const void *), const void *argument, uint64_t deadline)
{
    if (deadline != PMAP__FOR_EVER && pmap__now() >= deadline)
        return false;
    if (!pmap__guest_here() && !pmap__guest_enter())
        return false;
    bool is_ready = pmap__guest_run(ready, argument, deadline);
    pmap__guest_leave();
    return is_ready;
}

static bool await(bool (*ready)(const void *), const void *argument, uint64_t deadline)
{
    if (ready(argument))
        return true;
    if (pmap__wait_forbidden() || pmap__item_must_not_wait())
        return false; /* it may look, but what calls it may be a step of the very loop that would have to be stepped */
    if (pmap__caller_steps())
        return pmap__caller_run(ready, argument, deadline);
    if (as_guest(ready, argument, deadline))
        return true;
    return spin(ready, argument, deadline) || (pmap__now() < deadline && sleep_until(ready, argument, deadline));
}

/* Whoever has waited goes on, and may print something. */
bool pmap__wait(bool (*ready)(const void *), const void *argument, uint64_t deadline)
{
    if (!ready(argument))
        pmap__screen_resume();
    bool is_ready = await(ready, argument, deadline);
    pmap__screen_yield();
    return is_ready;
}

void pmap__wait_over(void)
{
    pmap__caller_ring();
    if (atomic_load(&hall.waiters) == 0)
        return; /* whoever comes now looks before it sleeps */
    pthread_once(&hall.once, prepare);
    pthread_mutex_lock(&hall.lock);
    pthread_cond_broadcast(&hall.changed);
    pthread_mutex_unlock(&hall.lock);
}

uint64_t pmap__deadline(double seconds)
{
    if (seconds < 0 || seconds > 1e9)
        return PMAP__FOR_EVER;
    return pmap__now() + (uint64_t)(seconds * 1e9);
}

bool pmap__wait_forbidden(void)
{
    return forbidden;
}

void pmap__wait_forbid(bool forbid)
{
    forbidden = forbid;
}
