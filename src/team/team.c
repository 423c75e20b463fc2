/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "team/team.h"

#include "base/clock.h"
#include "base/thread.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#ifdef _OPENMP
#include <omp.h>
#endif

/* How long a thread without work looks for some before it sleeps: less than waking it would cost. */
#define SPIN (20 * PMAP__US)

struct pmap__team {
    int threads; /* until the region has started what was asked, then what OpenMP gave */
    bool lent;
    pthread_t leader; /* opens the parallel region and is its thread 0 */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct pmap__line line;           /* under the lock */
    struct pmap__urgency waiting;     /* what is first in it; written under the lock, read by anybody */
    atomic_uint added;                /* works ever added: a thread may look without the lock whether one came */
    atomic_int idle;                  /* threads that have nothing to do; written under the lock */
    int promised;                     /* works in the line that pmap__team_offer put there; under the lock */
    bool started, stop;               /* under the lock */
    bool after_single;                /* of a lent team: its last grain was a single piece */
    void (*begin)(void *argument, int thread);
    void *argument;
};

/* ---- Works ---- */

void pmap__work_init(struct pmap__work *work)
{
    atomic_init(&work->next, 0);
    atomic_init(&work->item_ns, 0);
    atomic_init(&work->busy, 0);
    work->users = 0;
    work->promised = false;
    work->place = (struct pmap__waiter){.priority = work->priority, .single = work->grain >= work->n && !work->bulk};
}

size_t pmap__work_left(const struct pmap__work *work)
{
    size_t next = atomic_load_explicit(&work->next, memory_order_relaxed);
    return next < work->n ? work->n - next : 0;
}

bool pmap__work_take_rest(struct pmap__work *work, size_t *begin, size_t *end)
{
    *begin = atomic_exchange_explicit(&work->next, work->n, memory_order_relaxed);
    *end = work->n;
    return *begin < *end;
}

/* ---- The line ----
 *
 * A team that is lent its thread is that thread's alone, and needs no lock. */

static void lock(struct pmap__team *team)
{
    if (!team->lent)
        pthread_mutex_lock(&team->lock);
}

static void unlock(struct pmap__team *team)
{
    if (!team->lent)
        pthread_mutex_unlock(&team->lock);
}

static struct pmap__work *work_at(struct pmap__waiter *place)
{
    return (struct pmap__work *)((char *)place - offsetof(struct pmap__work, place));
}

/* The line has changed; under the lock. */
static void show(struct pmap__team *team)
{
    const struct pmap__waiter *single = team->line.single.first, *bulk = team->line.bulk.first;
    atomic_store_explicit(&team->waiting.single, single ? single->priority : INT_MIN, memory_order_relaxed);
    atomic_store_explicit(&team->waiting.bulk, bulk ? bulk->priority : INT_MIN, memory_order_relaxed);
}

/* Any thread; what is just being added may not be seen yet. */
static bool is_empty(const struct pmap__team *team)
{
    return atomic_load_explicit(&team->waiting.single, memory_order_relaxed) == INT_MIN &&
           atomic_load_explicit(&team->waiting.bulk, memory_order_relaxed) == INT_MIN;
}

static void remove_from_line(struct pmap__team *team, struct pmap__work *work)
{
    if (!work->place.waiting)
        return;
    pmap__line_remove(&team->line, &work->place);
    team->promised -= work->promised;
    work->promised = false;
    show(team);
}

/* The next work of the line, joined; NULL if there is none. A single piece is out of the line with that: one thread is
 * enough for it. Under the lock. */
static struct pmap__work *join(struct pmap__team *team, bool *after_single)
{
    struct pmap__waiter *place = pmap__line_next(&team->line, *after_single);

    if (place == NULL)
        return NULL;
    struct pmap__work *work = work_at(place);
    work->users++;
    *after_single = place->single;
    if (place->single)
        remove_from_line(team, work);
    return work;
}

static void leave(struct pmap__team *team, struct pmap__work *work)
{
    lock(team);
    bool over = pmap__work_left(work) == 0;
    if (over)
        remove_from_line(team, work);
    bool last = --work->users == 0 && over;
    unlock(team);
    if (last)
        work->finished(work);
}

/* Under the lock. */
static void add(struct pmap__team *team, struct pmap__work *work)
{
    pmap__line_add(&team->line, &work->place);
    show(team);
    atomic_fetch_add_explicit(&team->added, 1, memory_order_release);
    if (work->place.single)
        pthread_cond_signal(&team->wake);
    else
        pthread_cond_broadcast(&team->wake);
}

void pmap__team_add(struct pmap__team *team, struct pmap__work *work)
{
    lock(team);
    add(team, work);
    unlock(team);
}

bool pmap__team_add_left(struct pmap__team *team, struct pmap__work *work)
{
    lock(team);
    bool left = pmap__work_left(work) > 0; /* under the lock: whoever takes the last one later finds the work in the line */
    if (left)
        add(team, work);
    unlock(team);
    return left;
}

bool pmap__team_offer(struct pmap__team *team, struct pmap__work *work)
{
    if (team->lent || atomic_load_explicit(&team->idle, memory_order_relaxed) == 0)
        return false;
    pthread_mutex_lock(&team->lock);
    bool free = atomic_load_explicit(&team->idle, memory_order_relaxed) > team->promised;
    if (free) {
        work->promised = true;
        team->promised++;
        add(team, work);
    }
    pthread_mutex_unlock(&team->lock);
    return free;
}

bool pmap__team_withdraw(struct pmap__team *team, struct pmap__work *work)
{
    lock(team);
    bool mine = work->place.waiting && work->users == 0;
    if (mine)
        remove_from_line(team, work);
    unlock(team);
    return mine;
}

int pmap__team_idle(const struct pmap__team *team)
{
    return atomic_load_explicit(&team->idle, memory_order_relaxed);
}

bool pmap__team_busy(const struct pmap__team *team)
{
    return !team->lent && pmap__team_idle(team) == 0;
}

int pmap__team_threads(const struct pmap__team *team)
{
    return team->threads;
}

/* ---- Running ----
 *
 * A thread measures its own items and shows the newest mean in work->item_ns, where others that have not measured yet,
 * and the owner, find it. */

static void measure(struct pmap__turn *turn)
{
    uint64_t now = pmap__now(), took = now - turn->since;

    if (turn->items == 0)
        return;
    turn->mean.ns = turn->mean.ns / 2 + took;
    turn->mean.items = turn->mean.items / 2 + turn->items;
    uint64_t mean = turn->mean.ns / turn->mean.items;
    atomic_fetch_add_explicit(&turn->work->busy, took, memory_order_relaxed);
    atomic_store_explicit(&turn->work->item_ns, mean ? mean : 1, memory_order_relaxed);
    turn->since = now;
    turn->items = 0;
}

bool pmap__turn_next_sized(struct pmap__turn *turn)
{
    struct pmap__work *work = turn->work;

    measure(turn);
    size_t left = pmap__work_left(work);
    if (left == 0)
        return false;
    uint64_t mean = atomic_load_explicit(&work->item_ns, memory_order_relaxed);
    return pmap__work_take(work, work->portion(work, left, mean), &turn->begin, &turn->end);
}

static void take_turn(struct pmap__team *team, struct pmap__work *work, int thread, size_t most)
{
    struct pmap__turn turn = {.work = work, .thread = thread, .most = most, .waiting = &team->waiting};

    if (work->place.single) { /* nothing is sized by what it took */
        work->run(work, &turn);
        return;
    }
    turn.since = pmap__now();
    work->run(work, &turn);
    measure(&turn);
}

/* Spin until a work is added after the count seen, or not for long. */
static void look_out(struct pmap__team *team, unsigned seen)
{
    uint64_t start = pmap__now();
    while (atomic_load_explicit(&team->added, memory_order_acquire) == seen && pmap__now() - start < SPIN)
        sched_yield();
}

/* The next work for a thread that has none; NULL when the team ends. */
static struct pmap__work *await(struct pmap__team *team, bool *after_single)
{
    struct pmap__work *work;

    pthread_mutex_lock(&team->lock);
    work = join(team, after_single);
    if (work == NULL && !team->stop) {
        unsigned seen = atomic_load_explicit(&team->added, memory_order_relaxed);
        atomic_fetch_add_explicit(&team->idle, 1, memory_order_relaxed);
        pthread_mutex_unlock(&team->lock);
        look_out(team, seen);
        pthread_mutex_lock(&team->lock);
        while ((work = join(team, after_single)) == NULL && !team->stop)
            pthread_cond_wait(&team->wake, &team->lock);
        atomic_fetch_sub_explicit(&team->idle, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&team->lock);
    return work;
}

static void serve(struct pmap__team *team, int thread)
{
    struct pmap__work *work;
    bool after_single = false;

    while ((work = await(team, &after_single))) {
        take_turn(team, work, thread, SIZE_MAX);
        leave(team, work);
    }
}

static void report_start(struct pmap__team *team, int threads)
{
    pthread_mutex_lock(&team->lock);
    team->threads = threads;
    team->started = true;
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->lock);
}

static void *lead(void *argument)
{
    struct pmap__team *team = argument;
#ifdef _OPENMP
#pragma omp parallel num_threads(team->threads)
    {
        if (team->begin)
            team->begin(team->argument, omp_get_thread_num());
#pragma omp barrier
#pragma omp single nowait
        report_start(team, omp_get_num_threads());
        serve(team, omp_get_thread_num());
    }
#else
    if (team->begin)
        team->begin(team->argument, 0);
    report_start(team, 1);
    serve(team, 0);
#endif
    return NULL;
}

bool pmap__team_step(struct pmap__team *team)
{
    if (!team->lent || is_empty(team))
        return false;
    lock(team);
    struct pmap__work *work = join(team, &team->after_single);
    unlock(team);
    if (work == NULL)
        return false;
    take_turn(team, work, 0, 1);
    leave(team, work);
    return true;
}

/* ---- Places ---- */

void pmap__team_places(struct pmap__cpus *cpus)
{
#ifdef _OPENMP
    int places = omp_get_proc_bind() == omp_proc_bind_false ? 0 : omp_get_num_places();
    struct pmap__cpus all = {.quota = cpus->quota};

    for (int place = 0; place < places; place++) {
        int n = omp_get_place_num_procs(place);
        int *ids = calloc((size_t)n + 1, sizeof *ids);
        if (ids == NULL)
            return;
        omp_get_place_proc_ids(place, ids);
        for (int i = 0; i < n; i++)
            if (ids[i] >= 0 && ids[i] < PMAP__CPU_WORDS * 64)
                all.mask[ids[i] / 64] |= UINT64_C(1) << ids[i] % 64;
        free(ids);
    }
    if (places > 0)
        *cpus = all;
#else
    (void)cpus;
#endif
}

/* ---- Life ---- */

/* Returns when the region runs and the size of the team is known. */
static bool start_leader(struct pmap__team *team)
{
    if (!pmap__thread_start(&team->leader, lead, team))
        return false;
    pthread_mutex_lock(&team->lock);
    while (!team->started)
        pthread_cond_wait(&team->wake, &team->lock);
    pthread_mutex_unlock(&team->lock);
    return true;
}

enum pmap_status pmap__team_create(struct pmap__team **team, int threads, bool lent,
                                   void (*begin)(void *argument, int thread), void *argument)
{
    struct pmap__team *t = calloc(1, sizeof *t);

    if (t == NULL)
        return PMAP_ENOMEM;
    t->threads = lent ? 1 : threads;
    t->lent = lent;
    t->begin = begin;
    t->argument = argument;
    show(t);
    if (pthread_mutex_init(&t->lock, NULL) != 0)
        goto fail;
    if (pthread_cond_init(&t->wake, NULL) != 0)
        goto fail_lock;
    if (lent && begin)
        begin(argument, 0);
    if (!lent && !start_leader(t))
        goto fail_wake;
    *team = t;
    return PMAP_OK;
fail_wake:
    pthread_cond_destroy(&t->wake);
fail_lock:
    pthread_mutex_destroy(&t->lock);
fail:
    free(t);
    return PMAP_ENOMEM;
}

void pmap__team_destroy(struct pmap__team *team)
{
    if (team == NULL)
        return;
    if (!team->lent) {
        pthread_mutex_lock(&team->lock);
        team->stop = true;
        pthread_cond_broadcast(&team->wake);
        pthread_mutex_unlock(&team->lock);
        pthread_join(team->leader, NULL);
    }
    pthread_cond_destroy(&team->wake);
    pthread_mutex_destroy(&team->lock);
    free(team);
}
