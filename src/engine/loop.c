/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/loop.h"

#include "base/error.h"
#include "base/patience.h"
#include "base/thread.h"
#include "engine/item.h"
#include "transport/mpi.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- Resting ---- */

struct rest {
    uint64_t since; /* when it turned out that nothing happens any more; 0: not yet */
    unsigned spins; /* since then, or since the clock was read last */
};

/* Yielding takes several times as long as a look for messages, and whatever comes meanwhile waits. So the first looks, as
 * many as the answer of a rank on another core needs, go without; from then on the clock is read and the CPU is yielded
 * once in so many, for whom it waits for may have to share it. */
#define FIRST_SPINS 64
#define SPINS 4

/* What the loops that are stepped together agree on. */
struct wish {
    bool happened, polls;
    uint64_t nap; /* of those that poll: the shortest; UINT64_MAX: none said */
    uint64_t due; /* the earliest; PMAP__FOR_EVER: none */
};

static const struct wish no_wish = {.nap = UINT64_MAX, .due = PMAP__FOR_EVER};

static void step(struct pmap__loop *loop, struct wish *wish)
{
    wish->happened |= loop->step(loop);
    wish->polls |= loop->polls;
    if (loop->polls && loop->nap < wish->nap)
        wish->nap = loop->nap;
    if (loop->due && loop->due < wish->due)
        wish->due = loop->due;
}

/* Until the bell rings, something is due, or it is time to poll. */
static void rest(struct rest *r, struct pmap__bell *bell, const struct wish *wish)
{
    bool patient = !wish->polls || (wish->nap && wish->nap != UINT64_MAX);

    if (!patient && r->spins++ < (r->since ? SPINS : FIRST_SPINS))
        return;
    uint64_t now = pmap__now(), left = wish->due == PMAP__FOR_EVER ? PMAP__FOR_EVER : wish->due > now ? wish->due - now : 0;
    uint64_t nap;

    r->spins = 0;
    if (left == 0)
        return;
    if (patient) {
        nap = wish->polls && wish->nap < left ? wish->nap : left;
        if (pmap__bell_wait(bell, nap))
            r->since = 0;
        return;
    }
    if (r->since == 0)
        r->since = now;
    switch (pmap__patience(now - r->since, &nap)) {
    case PMAP__PAUSE_SPIN:
    case PMAP__PAUSE_YIELD:
        sched_yield();
        break;
    case PMAP__PAUSE_NAP:
        if (pmap__bell_wait(bell, nap < left ? nap : left))
            r->since = 0;
        break;
    }
}

void pmap__loop_run(struct pmap__loop *loop)
{
    struct rest r = {0};

    while (!loop->finished) {
        struct wish wish = no_wish;
        step(loop, &wish);
        if (wish.happened)
            r = (struct rest){0};
        else if (!loop->finished)
            rest(&r, loop->bell, &wish);
    }
}

/* ---- Loops of the caller ----
 *
 * They all belong to one thread, the program's that may use MPI; others only ring. */

static struct {
    pthread_t thread;
    struct pmap__loop *loops; /* that thread's own */
    struct pmap__bell bell;
    bool has_bell;            /* it is never taken down: somebody may ring late */
    atomic_int count;         /* of the loops; any thread may look */
} callers;

static void finalizing(void);

enum pmap_status pmap__caller_add(struct pmap__loop *loop)
{
    if (!callers.has_bell && !pmap__bell_init(&callers.bell))
        return PMAP_ENOMEM;
    callers.has_bell = true;
    callers.thread = pthread_self();
    loop->bell = &callers.bell;
    loop->next = callers.loops;
    callers.loops = loop;
    atomic_fetch_add(&callers.count, 1);
    pmap__mpi_on_finalize(finalizing);
    return PMAP_OK;
}

void pmap__caller_remove(struct pmap__loop *loop)
{
    struct pmap__loop **at = &callers.loops;
    while (*at && *at != loop)
        at = &(*at)->next;
    if (*at == NULL)
        return;
    *at = loop->next;
    atomic_fetch_sub(&callers.count, 1);
}

bool pmap__caller_steps(void)
{
    return atomic_load(&callers.count) > 0 && pthread_equal(callers.thread, pthread_self());
}

void pmap__caller_ring(void)
{
    if (atomic_load(&callers.count) > 0)
        pmap__bell_ring(&callers.bell);
}

bool pmap__caller_run(bool (*ready)(const void *), const void *argument, uint64_t deadline)
{
    struct rest r = {0};

    for (;;) {
        struct wish wish = no_wish;
        wish.due = deadline;
        for (struct pmap__loop *loop = callers.loops; loop; loop = loop->next)
            if (!loop->finished)
                step(loop, &wish);
        if (ready(argument))
            return true;
        if (deadline != PMAP__FOR_EVER && pmap__now() >= deadline)
            return false;
        if (wish.happened)
            r = (struct rest){0};
        else
            rest(&r, &callers.bell, &wish);
    }
}

/* ---- The progress thread ----
 *
 * Everything here is under the lock but for the list of loops that are being stepped, which belongs to whoever has the turn:
 * the thread, or a guest; it is changed under the lock, too. Others put loops and calls into the inboxes and ring. */

struct call {
    void (*function)(void *argument);
    void *argument;
    bool done;
    struct call *next;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a loop is finished, a call is done */
    struct pmap__bell bell;
    bool has_bell;                       /* it is never taken down: somebody may ring late */
    bool running, stop, owns_mpi, exits; /* exits: the exit handler is registered */
    pid_t process;                       /* a forked child has no progress thread */
    pthread_t thread;
    int users;                           /* holds: the thread is needed */
    struct pmap__loop *new_loops;
    struct call *calls;
    bool in_call;                        /* the thread is in a call, which may wait for other ranks */
    struct pmap__loop *loops;            /* all that are added and not finished */
    pthread_mutex_t turn;                /* held by whoever steps, or makes a call; taken before the lock */
    atomic_bool captive;                 /* no guests: MPI allows this thread alone */
    atomic_int polling;                  /* loops that poll, among all that are added and not finished */
    atomic_int guests;                   /* 1 while there is one, and the thread keeps away */
    atomic_bool missed;                  /* the thread was woken meanwhile */
} progress = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .turn = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local bool guest;

/* Take what is new; with the turn. True to go on, false to end. */
static bool take_orders(bool *happened)
{
    pthread_mutex_lock(&progress.lock);
    struct call *calls = progress.calls;
    progress.calls = NULL;
    while (progress.new_loops) {
        struct pmap__loop *loop = progress.new_loops;
        progress.new_loops = loop->next;
        loop->next = progress.loops;
        progress.loops = loop;
        *happened = true;
    }
    bool go_on = !progress.stop;
    pthread_mutex_unlock(&progress.lock);
    while (calls) {
        struct call *call = calls;
        calls = call->next;
        pthread_mutex_lock(&progress.lock);
        progress.in_call = true;
        pthread_mutex_unlock(&progress.lock);
        call->function(call->argument);
        pthread_mutex_lock(&progress.lock);
        progress.in_call = false;
        call->done = true; /* its memory is the caller's, who may go on as soon as we unlock */
        pthread_cond_broadcast(&progress.changed);
        pthread_mutex_unlock(&progress.lock);
        *happened = true;
    }
    return go_on;
}

/* With the turn. */
static void step_all(struct wish *wish)
{
    struct pmap__loop **at = &progress.loops;

    while (*at) {
        struct pmap__loop *loop = *at;
        step(loop, wish);
        if (!loop->finished) {
            at = &loop->next;
            continue;
        }
        pthread_mutex_lock(&progress.lock);
        *at = loop->next;
        if (loop->polls)
            atomic_fetch_sub(&progress.polling, 1);
        loop->next = loop; /* a loop that points to itself is in no list: join() looks for that */
        pthread_cond_broadcast(&progress.changed);
        pthread_mutex_unlock(&progress.lock);
    }
}

/* Let a guest work, if there is one. Whoever rang meanwhile rang for the guest, which will look whether that was missed; if
 * it is just leaving, this thread sees that in its second look. */
static bool give_way(void)
{
    if (atomic_load(&progress.guests) == 0)
        return false;
    atomic_store(&progress.missed, true);
    if (atomic_load(&progress.guests) > 0)
        pmap__bell_wait(&progress.bell, PMAP__NAP_MAX);
    return true;
}

static void *progress_main(void *unused)
{
    struct rest r = {0};
    (void)unused;

    for (;;) {
        struct wish wish = no_wish;
        if (give_way())
            continue;
        pthread_mutex_lock(&progress.turn);
        bool go_on = take_orders(&wish.happened);
        if (go_on)
            step_all(&wish);
        pthread_mutex_unlock(&progress.turn);
        if (!go_on)
            break;
        if (wish.happened)
            r = (struct rest){0};
        else
            rest(&r, &progress.bell, &wish);
    }
    if (progress.owns_mpi)
        pmap__mpi_finalize();
    return NULL;
}

static void at_exit(void);

/* Need the thread; under the lock. */
static bool need(void)
{
    if (progress.running) {
        progress.users++;
        return true;
    }
    if (!progress.has_bell && !pmap__bell_init(&progress.bell))
        return false;
    progress.has_bell = true;
    progress.stop = false;
    progress.process = getpid();
    if (!pmap__thread_start(&progress.thread, progress_main, NULL))
        return false;
    progress.running = true;
    progress.users++;
    if (!progress.exits)
        atexit(at_exit);
    progress.exits = true;
    return true;
}

/* Need it no more; under the lock, which is given up while the thread ends. */
static void end_thread(void)
{
    progress.stop = true;
    progress.running = false;
    pthread_t thread = progress.thread;
    pmap__bell_ring(&progress.bell);
    pthread_mutex_unlock(&progress.lock);
    pthread_join(thread, NULL);
    pthread_mutex_lock(&progress.lock);
}

/* Wait for the thread of a former life that is just ending: nobody may start the next while it is joined. */
static pthread_mutex_t life = PTHREAD_MUTEX_INITIALIZER;

enum pmap_status pmap__progress_hold(void)
{
    pthread_mutex_lock(&life);
    pthread_mutex_lock(&progress.lock);
    bool there = need();
    pthread_mutex_unlock(&progress.lock);
    pthread_mutex_unlock(&life);
    return there ? PMAP_OK : PMAP_ENOMEM;
}

void pmap__progress_release(void)
{
    pthread_mutex_lock(&life);
    pthread_mutex_lock(&progress.lock);
    if (--progress.users == 0 && !progress.owns_mpi)
        end_thread();
    pthread_mutex_unlock(&progress.lock);
    pthread_mutex_unlock(&life);
}

void pmap__progress_add(struct pmap__loop *loop)
{
    loop->bell = &progress.bell;
    if (loop->polls)
        atomic_fetch_add(&progress.polling, 1);
    pthread_mutex_lock(&progress.lock);
    loop->next = progress.new_loops;
    progress.new_loops = loop;
    pthread_mutex_unlock(&progress.lock);
    pmap__bell_ring(&progress.bell);
    pmap__mpi_on_finalize(finalizing);
}

void pmap__progress_join(struct pmap__loop *loop)
{
    pthread_mutex_lock(&progress.lock);
    while (loop->next != loop)
        pthread_cond_wait(&progress.changed, &progress.lock);
    pthread_mutex_unlock(&progress.lock);
}

enum pmap_status pmap__progress_call(void (*function)(void *argument), void *argument)
{
    struct call call = {.function = function, .argument = argument};

    if (pmap__progress_hold() != PMAP_OK)
        return PMAP_ENOMEM;
    pthread_mutex_lock(&progress.lock);
    call.next = progress.calls;
    progress.calls = &call;
    pmap__bell_ring(&progress.bell);
    while (!call.done)
        pthread_cond_wait(&progress.changed, &progress.lock);
    pthread_mutex_unlock(&progress.lock);
    pmap__progress_release();
    return PMAP_OK;
}

/* ---- Guests ---- */

/* A turn of the progress thread is short, unless it is in a call, or in a callback of the user's. */
#define GUEST_TRIES 64

bool pmap__guest_here(void)
{
    return guest;
}

bool pmap__guest_enter(void)
{
    bool mine = false;

    if (atomic_load(&progress.polling) == 0 || atomic_load(&progress.captive) || guest || pmap__item_place(NULL, NULL) ||
        pmap__caller_steps())
        return false;
    int none = 0;
    if (!atomic_compare_exchange_strong(&progress.guests, &none, 1))
        return false;
    for (int i = 0; i < GUEST_TRIES && !mine; i++)
        mine = pthread_mutex_trylock(&progress.turn) == 0;
    if (!mine) {
        atomic_store(&progress.guests, 0);
        if (atomic_exchange(&progress.missed, false))
            pmap__bell_ring(&progress.bell);
    }
    return guest = mine;
}

/* Is there nothing that the progress thread would have to see to? */
static bool quiet(void)
{
    for (struct pmap__loop *loop = progress.loops; loop; loop = loop->next)
        if (loop->polls && (loop->quiet == NULL || !loop->quiet(loop)))
            return false;
    return true;
}

void pmap__guest_leave(void)
{
    bool all_quiet = quiet();

    guest = false;
    pthread_mutex_unlock(&progress.turn);
    atomic_store(&progress.guests, 0);
    if (atomic_exchange(&progress.missed, false) || !all_quiet)
        pmap__bell_ring(&progress.bell);
}

bool pmap__guest_run(bool (*ready)(const void *), const void *argument, uint64_t deadline)
{
    uint64_t since = 0, nap;
    unsigned spins = 0;

    for (;;) {
        struct wish wish = no_wish;
        step_all(&wish);
        if (ready(argument))
            return true;
        if (wish.happened) {
            since = spins = 0;
            continue;
        }
        if (wish.nap && wish.nap != UINT64_MAX)
            return false; /* nothing comes so soon */
        if (spins++ < (since ? SPINS : FIRST_SPINS))
            continue;
        uint64_t now = pmap__now();
        spins = 0;
        since = since ? since : now;
        if (now >= deadline || pmap__patience(now - since, &nap) == PMAP__PAUSE_NAP)
            return false;
        sched_yield();
    }
}

/* ---- The end of the process ---- */

/* End all ranks: they would wait for this one for ever. Under the lock. */
static void abort_all(const char *why)
{
    pmap__warn("%s: ending %s", why, pmap__mpi_dies_alone() ? "this rank" : "all ranks");
    pmap__mpi_abort(EXIT_FAILURE);
}

/* How long the exit of a process waits for items that run. */
#define ABANDON_SECONDS 3

static void abandon_one(struct pmap__loop *loop)
{
    if (loop->abandon == NULL)
        abort_all("exit() on a rank that serves a pool");
    pmap__warn("the program exits without pmap_destroy: ending its pool");
    loop->abandon(loop);
}

static void abandon(struct pmap__loop *loops)
{
    for (struct pmap__loop *loop = loops; loop; loop = loop->next)
        abandon_one(loop);
}

/* Without ranks to think of nobody need wait: the process ends, and its threads with it. */
static void abandon_alone(void)
{
    if (guest || pmap__item_must_not_wait() || pthread_equal(pthread_self(), progress.thread))
        return;
    pthread_mutex_lock(&progress.lock);
    abandon(progress.loops);
    abandon(progress.new_loops);
    pthread_mutex_unlock(&progress.lock);
}

/* Items that run were asked to stop. One that does not look whether it should (pmap_cancelled) must not hold up the end of
 * the process: then all ranks are ended. Under the lock. */
static void await_loops(void)
{
    struct timespec until = pmap__date_in(ABANDON_SECONDS * PMAP__S);
    int late = 0;

    while ((progress.loops || progress.new_loops) && !late)
        late = pthread_cond_timedwait(&progress.changed, &progress.lock, &until) == ETIMEDOUT;
    if (progress.loops || progress.new_loops)
        abort_all("an item runs on and does not ask pmap_cancelled()");
}

/* The root forgot to destroy a pool: that is mended with a warning. Or a task called exit(), or somebody did (OpenMP does,
 * if it cannot start its threads) while a pool was being created or served. Runs on whichever thread called exit(). */
static void abandon_all(void)
{
    pthread_mutex_lock(&progress.lock);
    if (guest || pmap__item_must_not_wait() || pthread_equal(pthread_self(), progress.thread))
        abort_all("a task, an operation, an initializer or a callback called exit()");
    if (progress.in_call || progress.calls)
        abort_all("exit() while a pool was being created or ended");
    abandon(progress.loops);
    abandon(progress.new_loops);
    await_loops();
    pthread_mutex_unlock(&progress.lock);
}

static void at_exit(void)
{
    if (!progress.running || progress.process != getpid())
        return;
    if (!progress.owns_mpi) {
        abandon_alone();
        return;
    }
    abandon_all();
    pthread_mutex_lock(&progress.lock);
    end_thread();
    pthread_mutex_unlock(&progress.lock);
}

static bool callers_finished(const void *unused)
{
    (void)unused;
    for (struct pmap__loop *loop = callers.loops; loop; loop = loop->next)
        if (!loop->finished)
            return false;
    return true;
}

/* The program, which owns MPI, ends it and has forgotten a pool: the other ranks are captive in that, and MPI_Finalize would wait
 * for them. */
static void finalizing(void)
{
    for (struct pmap__loop *loop = callers.loops; loop; loop = loop->next)
        if (!loop->finished)
            abandon_one(loop);
    if (!callers_finished(NULL) && !pmap__caller_run(callers_finished, NULL, pmap__now() + ABANDON_SECONDS * PMAP__S))
        abort_all("an item runs on and does not ask pmap_cancelled()");
    pthread_mutex_lock(&progress.lock);
    abandon(progress.loops);
    abandon(progress.new_loops);
    await_loops();
    pthread_mutex_unlock(&progress.lock);
}

void pmap__progress_owns_mpi(bool captive)
{
    pthread_mutex_lock(&progress.lock);
    progress.owns_mpi = true;
    atomic_store(&progress.captive, captive);
    pthread_mutex_unlock(&progress.lock);
}
