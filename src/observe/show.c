/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * There is one show for the process, for it has one stderr. Its lock is held while the pools are looked at and drawn, by its thread,
 * or by whichever thread has ended a call; so nobody who holds it may wait. A report waits for the loops of roots: it does without
 * the lock, and pools that want to leave wait until it is over.
 */
#include "observe/show.h"

#include "base/bell.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/screen.h"
#include "base/signals.h"
#include "base/thread.h"
#include "engine/watch.h"
#include "observe/progress.h"
#include "observe/report.h"
#include "observe/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TICK (100 * PMAP__MS)
#define POOLS 32 /* that progress shows together; of others nothing is shown */

/* A rank that was sent the signal together with the root passes it on a moment later. */
#define SAME_REPORT (2 * PMAP__S)

static struct {
    pthread_mutex_t life; /* one pool at a time begins or ends */
    pthread_mutex_t lock; /* of these: */
    struct pmap__shown *pools;
    size_t n, with_progress; /* how many there are, and which of them want progress */
    struct pmap__progress progress;
    bool running, stop;   /* stop: until it has */
    pthread_t thread;
    size_t with_reports;  /* pools that SIGUSR2 is for; under life */
    bool wanted;          /* a report is */
    bool reporting;       /* the pools may not leave */
    pthread_cond_t free;  /* they may again */
    struct pmap__bell bell; /* wakes the thread; there while it runs */
    uint64_t reported;    /* when a report was asked for last; these three are the watcher's; */
    unsigned own, passed; /* SIGUSR2 that have been seen */
    struct pmap__watched watched;
} show = {.life = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .free = PTHREAD_COND_INITIALIZER};

/* ---- The environment ---- */

static bool is_number(const char *text, double *number)
{
    char *end;

    *number = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*number);
}

/* -1: it is not set; 0 or 1; -2: it makes no sense. */
static int flag(const char *name)
{
    const char *value = getenv(name);

    if (value == NULL || *value == '\0')
        return -1;
    return strcmp(value, "0") == 0 ? 0 : strcmp(value, "1") == 0 ? 1 : -2;
}

static double log_every(void)
{
    const char *value = getenv("PMAP_PROGRESS_EVERY");
    double every;

    if (value == NULL || *value == '\0')
        return 30;
    return is_number(value, &every) && every > 0 && every <= 1e9 ? every : -1;
}

const char *pmap__show_complaint(void)
{
    if (flag("PMAP_PROGRESS") == -2)
        return "PMAP_PROGRESS";
    if (flag("PMAP_STATS") == -2)
        return "PMAP_STATS";
    return log_every() < 0 ? "PMAP_PROGRESS_EVERY" : NULL;
}

/* ---- Progress ---- */

/* Under the lock. */
static size_t list_pools(struct pmap__tenant *pools[POOLS])
{
    size_t n = 0;

    for (struct pmap__shown *pool = show.pools; pool && n < POOLS; pool = pool->next)
        if (pool->progress)
            pools[n++] = pool->tenant;
    return n;
}

static void look(void)
{
    struct pmap__tenant *pools[POOLS];

    pthread_mutex_lock(&show.lock);
    if (show.with_progress)
        pmap__progress_look(&show.progress, pools, list_pools(pools));
    pthread_mutex_unlock(&show.lock);
}

/* The last call of a pool has ended, on the calling thread. */
static void idle(void *unused)
{
    struct pmap__tenant *pools[POOLS];
    (void)unused;

    pthread_mutex_lock(&show.lock);
    pmap__progress_ended(&show.progress, pools, list_pools(pools));
    pthread_mutex_unlock(&show.lock);
}

/* ---- Reports ---- */

/* The pools to be reported on: none of them goes, and new ones come at the head. NULL: nobody wants a report. */
static const struct pmap__shown *take_wanted(void)
{
    pthread_mutex_lock(&show.lock);
    const struct pmap__shown *pools = show.wanted ? show.pools : NULL;
    show.wanted = false;
    show.reporting = pools;
    pthread_mutex_unlock(&show.lock);
    return pools;
}

static void report(const struct pmap__shown *pools)
{
    pmap__report_print(pools);
    pthread_mutex_lock(&show.lock);
    show.reporting = false;
    pthread_cond_broadcast(&show.free);
    pthread_mutex_unlock(&show.lock);
}

/* ---- The thread ---- */

static void *show_main(void *unused)
{
    (void)unused;
    for (;;) {
        pthread_mutex_lock(&show.lock);
        bool stop = show.stop, ticks = show.with_progress > 0;
        pthread_mutex_unlock(&show.lock);
        if (stop)
            return NULL;
        const struct pmap__shown *pools = take_wanted();
        if (pools)
            report(pools);
        look();
        pmap__bell_wait(&show.bell, ticks ? TICK : PMAP__FOR_EVER);
    }
}

/* Make sure that it runs; under the lock. */
static void start(void)
{
    if (show.running) {
        pmap__bell_ring(&show.bell);
        return;
    }
    if (show.stop || !pmap__bell_init(&show.bell))
        return;
    show.running = pmap__thread_start(&show.thread, show_main, NULL);
    if (!show.running)
        pmap__bell_fini(&show.bell);
}

/* Nobody needs it any more. Not under the lock. */
static void stop(void)
{
    pthread_mutex_lock(&show.lock);
    bool running = show.running;
    show.stop = running;
    if (running)
        pmap__bell_ring(&show.bell);
    pthread_mutex_unlock(&show.lock);
    if (!running)
        return;
    pthread_join(show.thread, NULL);
    pthread_mutex_lock(&show.lock);
    show.running = show.stop = show.wanted = false;
    pthread_mutex_unlock(&show.lock);
    pmap__bell_fini(&show.bell);
}

/* ---- SIGUSR2 ---- */

/* Has it come, to this process or to another rank? Launchers give it to all ranks, and those pass it on: that is one. */
static bool has_come(void)
{
    unsigned own = pmap__signals_reports(), passed = pmap__signals_passed_reports();
    uint64_t now = pmap__now(), age = now - show.reported;
    bool new = (own != show.own && (show.reported == 0 || age > PMAP__SAME_SIGNAL)) ||
               (passed != show.passed && (show.reported == 0 || age > SAME_REPORT));

    show.own = own;
    show.passed = passed;
    if (new)
        show.reported = now;
    return new;
}

/* By the watcher. */
static uint64_t on_signal(struct pmap__watched *unused)
{
    (void)unused;
    if (!has_come())
        return PMAP__FOR_EVER;
    pthread_mutex_lock(&show.lock);
    show.wanted = true;
    start();
    pthread_mutex_unlock(&show.lock);
    return PMAP__FOR_EVER;
}

/* ---- Pools ---- */

/* What came before there was a pool is nobody's. */
static void begin_reports(void)
{
    show.own = pmap__signals_reports();
    show.passed = pmap__signals_passed_reports();
    show.watched.look = on_signal;
    pmap__watch_add(&show.watched);
}

static void enlist(struct pmap__shown *pool)
{
    pthread_mutex_lock(&show.lock);
    pool->next = show.pools;
    show.pools = pool;
    show.n++;
    pool->progress = pool->progress && show.with_progress < POOLS;
    if (pool->progress)
        pool->tenant->shown.idle = idle;
    if (pool->progress && show.with_progress++ == 0)
        pmap__progress_begin(&show.progress, log_every());
    if (pool->progress)
        start();
    pthread_mutex_unlock(&show.lock);
}

static void delist(struct pmap__shown *pool)
{
    pthread_mutex_lock(&show.lock);
    while (show.reporting)
        pthread_cond_wait(&show.free, &show.lock);
    struct pmap__shown **at = &show.pools;
    while (*at != pool)
        at = &(*at)->next;
    *at = pool->next;
    show.n--;
    if (pool->progress && --show.with_progress == 0)
        pmap__progress_end(&show.progress);
    else if (pool->progress)
        pmap__progress_leave(&show.progress, pool->tenant);
    pthread_mutex_unlock(&show.lock);
}

void pmap__show_begin(struct pmap__shown *pool, struct pmap__tenant *tenant, bool progress, bool signals)
{
    int wanted = flag("PMAP_PROGRESS");

    *pool = (struct pmap__shown){.tenant = tenant, .progress = wanted < 0 ? progress : wanted == 1, .signals = signals,
                                    .statistics = flag("PMAP_STATS") == 1, .since = pmap__now()};
    pthread_mutex_lock(&show.life);
    if (signals && show.with_reports++ == 0)
        begin_reports();
    enlist(pool);
    pthread_mutex_unlock(&show.life);
}

void pmap__show_end(struct pmap__shown *pool)
{
    pthread_mutex_lock(&show.life);
    delist(pool);
    if (pool->signals && --show.with_reports == 0)
        pmap__watch_remove(&show.watched);
    if (show.n == 0)
        stop();
    pthread_mutex_unlock(&show.life);
    if (pool->statistics)
        pmap__table_print(pool);
}
