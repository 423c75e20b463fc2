/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "tools/run/bell.h"

#include <time.h>

static double seconds_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double run_now(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

double run_date(void)
{
    return seconds_of(CLOCK_REALTIME);
}

void run_bell_init(struct run_bell *bell)
{
    pthread_condattr_t by;

    pthread_mutex_init(&bell->lock, NULL);
    pthread_condattr_init(&by);
    pthread_condattr_setclock(&by, CLOCK_MONOTONIC);
    pthread_cond_init(&bell->rings, &by);
    pthread_condattr_destroy(&by);
    bell->rung = false;
}

void run_bell_fini(struct run_bell *bell)
{
    pthread_cond_destroy(&bell->rings);
    pthread_mutex_destroy(&bell->lock);
}

void run_bell_ring(struct run_bell *bell)
{
    pthread_mutex_lock(&bell->lock);
    bell->rung = true;
    pthread_cond_signal(&bell->rings);
    pthread_mutex_unlock(&bell->lock);
}

void run_bell_wait(struct run_bell *bell, double seconds)
{
    double until = run_now() + seconds;
    struct timespec t = {.tv_sec = (time_t)until, .tv_nsec = (long)(1e9 * (until - (double)(time_t)until))};
    int late = 0;

    pthread_mutex_lock(&bell->lock);
    while (!bell->rung && !late)
        late = pthread_cond_timedwait(&bell->rings, &bell->lock, &t);
    bell->rung = false;
    pthread_mutex_unlock(&bell->lock);
}
