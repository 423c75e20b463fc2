/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/watch.h"

#include "base/bell.h"
#include "base/signals.h"
#include "base/thread.h"
#include "base/timelimit.h"
#include "sched/walltime.h"

#include <pthread.h>
#include <stdatomic.h>

/* How often an inquiry is looked at. */
#define INQUIRY_LOOK (20 * PMAP__MS)

static struct {
    pthread_mutex_t life; /* one at a time starts and ends the thread; of holds, running and thread */
    int holds;
    bool running;
    pthread_t thread;
    pthread_mutex_t lock; /* of the list, whose members are looked at under it */
    struct pmap__watched *first;
    atomic_bool stop;
} watch = {.life = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER};

/* The limit of the process: found out once, by whoever needs it first, and then by the thread if squeue has to be asked. */
static struct {
    pthread_once_t once;
    enum pmap__limit kind;
    atomic_uint_fast64_t deadline, margin; /* deadline is set last */
    bool asked;                            /* the thread's */
} limit = {.once = PTHREAD_ONCE_INIT};

/* ---- The limit of the process ---- */

struct pmap__limit_at pmap__limit_in(uint64_t left)
{
    return (struct pmap__limit_at){pmap__now() + left, pmap__walltime_margin(left)};
}

static void set_limit(uint64_t left)
{
    struct pmap__limit_at at = pmap__limit_in(left);

    atomic_store(&limit.margin, at.margin);
    atomic_store(&limit.deadline, at.deadline);
}

static void find_limit(void)
{
    uint64_t left;

    limit.kind = pmap__limit_here(&left);
    if (limit.kind == PMAP__LIMIT_KNOWN)
        set_limit(left);
}

bool pmap__watch_expects_limit(void)
{
    pthread_once(&limit.once, find_limit);
    return limit.kind != PMAP__LIMIT_NONE;
}

struct pmap__limit_at pmap__watch_limit(void)
{
    uint64_t deadline = atomic_load(&limit.deadline);
    return (struct pmap__limit_at){deadline, atomic_load(&limit.margin)};
}

/* ---- The thread ---- */

static uint64_t look_at_all(void)
{
    uint64_t next = PMAP__FOR_EVER;

    pthread_mutex_lock(&watch.lock);
    for (struct pmap__watched *w = watch.first; w; w = w->next) {
        uint64_t wish = w->look(w);
        next = wish < next ? wish : next;
    }
    pthread_mutex_unlock(&watch.lock);
    return next;
}

static bool must_ask(void)
{
    return pmap__watch_expects_limit() && limit.kind == PMAP__LIMIT_ASK && !limit.asked;
}

/* True while there is no answer. */
static bool is_asking(struct pmap__inquiry *inquiry)
{
    uint64_t left = 0;

    if (inquiry->process == 0 || !pmap__inquiry_over(inquiry, &left))
        return inquiry->process != 0;
    limit.asked = true;
    if (left)
        set_limit(left);
    return false;
}

static void *watch_main(void *unused)
{
    struct pmap__inquiry inquiry = {0};
    (void)unused;

    if (must_ask())
        limit.asked = !pmap__inquiry_begin(&inquiry);
    while (!atomic_load(&watch.stop)) {
        bool asking = is_asking(&inquiry);
        uint64_t next = look_at_all();
        pmap__signals_wait(asking && INQUIRY_LOOK < next ? INQUIRY_LOOK : next);
    }
    pmap__inquiry_end(&inquiry);
    return NULL;
}

/* ---- For everybody ---- */

enum pmap_status pmap__watch_hold(void)
{
    pthread_mutex_lock(&watch.life);
    if (!watch.running) {
        pmap__signals_prepare(); /* not by the thread: it may be rung for, or told to stop, before it has begun */
        atomic_store(&watch.stop, false);
        watch.running = pmap__thread_start(&watch.thread, watch_main, NULL);
    }
    bool running = watch.running;
    watch.holds += running;
    pthread_mutex_unlock(&watch.life);
    return running ? PMAP_OK : PMAP_ENOMEM;
}

void pmap__watch_release(void)
{
    pthread_mutex_lock(&watch.life);
    if (--watch.holds == 0) {
        atomic_store(&watch.stop, true);
        pmap__signals_ring();
        pthread_join(watch.thread, NULL);
        watch.running = false;
    }
    pthread_mutex_unlock(&watch.life);
}

void pmap__watch_add(struct pmap__watched *watched)
{
    pthread_mutex_lock(&watch.lock);
    watched->next = watch.first;
    watch.first = watched;
    pthread_mutex_unlock(&watch.lock);
}

void pmap__watch_remove(struct pmap__watched *watched)
{
    pthread_mutex_lock(&watch.lock);
    struct pmap__watched **at = &watch.first;
    while (*at != watched)
        at = &(*at)->next;
    *at = watched->next;
    pthread_mutex_unlock(&watch.lock);
}
