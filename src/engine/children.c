/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The children of a rank: how they come, are watched and end.
 */
#include "engine/isolate_inside.h"

#include "base/clock.h"
#include "base/error.h"
#include "engine/inmate.h"
#include "engine/registry.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* A child that dies as it begins is tried again, in case it was killed by somebody else. */
#define BEGINNINGS 3

/* When no process can be forked, for the user or the machine has too many or memory is short, we try again for so long, in steps that
 * grow; then items fail, at once, until one can be forked again. */
#define SHORTAGE (8 * PMAP__S)
#define STEP_FIRST PMAP__MS
#define STEP_MAX (200 * PMAP__MS)

/* What SIGTERM has not ended after so long SIGKILL does; and an item that does not ask pmap_cancelled gets this long after its
 * call was cancelled. */
#define GRACE PMAP__S

/* A waiting thread looks after its child in steps that grow to this; one that is lent to a loop is wanted sooner. */
#define LOOK_FIRST (100 * PMAP__US)
#define LOOK_MAX (5 * PMAP__MS)
#define LOOK_LENT PMAP__MS

/* ---- How children end ---- */

static const char *signal_name(int sig, char room[static 16])
{
    static const struct {
        int sig;
        const char *name;
    } names[] = {{SIGSEGV, "SIGSEGV"}, {SIGABRT, "SIGABRT"}, {SIGKILL, "SIGKILL"}, {SIGTERM, "SIGTERM"}, {SIGBUS, "SIGBUS"},
                 {SIGFPE, "SIGFPE"}, {SIGILL, "SIGILL"}, {SIGTRAP, "SIGTRAP"}, {SIGSYS, "SIGSYS"}, {SIGPIPE, "SIGPIPE"},
                 {SIGINT, "SIGINT"}, {SIGHUP, "SIGHUP"}, {SIGQUIT, "SIGQUIT"}, {SIGALRM, "SIGALRM"}, {SIGXCPU, "SIGXCPU"},
                 {SIGXFSZ, "SIGXFSZ"}, {SIGUSR1, "SIGUSR1"}, {SIGUSR2, "SIGUSR2"}};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].sig == sig)
            return names[i].name;
    snprintf(room, 16, "signal %d", sig);
    return room;
}

int pmap__watch_tell_end(const struct pmap__watch *watch, char *text, size_t room)
{
    int ended = atomic_load(&watch->worker->cell.block->ended);
    char name[16], reason[64] = "";

    if (watch->why && strcmp(watch->why, "timeout") == 0)
        snprintf(reason, sizeof reason, " after %g s (timeout)", (double)watch->much * 1e-9);
    else if (watch->why)
        snprintf(reason, sizeof reason, " at more than %llu bytes (%s)", (unsigned long long)watch->much, watch->why);
    if (WIFSIGNALED(ended))
        snprintf(text, room, "killed by %s%s", signal_name(WTERMSIG(ended), name), reason);
    else
        snprintf(text, room, "exited with status %d%s", WEXITSTATUS(ended), reason);
    return WIFSIGNALED(ended) ? WTERMSIG(ended) : -1 - WEXITSTATUS(ended);
}

void pmap__place_add(struct pmap_error *error, const struct pmap__place *place, int thread)
{
    error->rank = place->rank;
    error->thread = thread;
    memcpy(error->host, place->host, sizeof error->host);
}

/* ---- Waiting ---- */

static void condemn(struct pmap__watch *watch, uint64_t item, const char *why, uint64_t much)
{
    watch->condemned = item;
    watch->sentenced_at = pmap__now();
    watch->killed = false;
    watch->why = why;
    watch->much = much;
    pmap__cell_condemn(&watch->worker->cell, item, SIGTERM);
}

static bool is_too_large(const struct pmap__watch *watch)
{
    uint64_t before = atomic_load(&watch->worker->cell.block->resident);
    return watch->limits.max_rss && pmap__cell_resident(&watch->worker->cell) > before + watch->limits.max_rss;
}

/* Does the item that runs have to go? It may be the next by the time we know, and then nothing comes of it. */
static void judge(struct pmap__watch *watch, uint64_t now)
{
    struct pmap__block *block = watch->worker->cell.block;
    uint64_t item = atomic_load(&block->item), since = atomic_load(&block->since);

    if (item == watch->condemned) {
        if (!watch->killed && now - watch->sentenced_at > GRACE) {
            watch->killed = watch->worker->killed = true;
            pmap__cell_condemn(&watch->worker->cell, item, SIGKILL);
        }
    } else if (watch->limits.timeout && now > since && now - since > watch->limits.timeout) {
        condemn(watch, item, "timeout", watch->limits.timeout);
    } else if (watch->cancelled_at && now - watch->cancelled_at > GRACE) {
        condemn(watch, item, NULL, 0);
    } else if (is_too_large(watch)) {
        condemn(watch, item, "max_rss", watch->limits.max_rss);
    }
}

static void look_after(struct pmap__watch *watch)
{
    if (watch->place && watch->place->attend)
        watch->place->attend(watch->place->owner);
    uint64_t now = pmap__now();
    if (watch->cancelled && watch->cancelled_at == 0 && atomic_load(watch->cancelled)) {
        watch->cancelled_at = now;
        atomic_store(&watch->worker->cell.block->stop, true);
    }
    judge(watch, now);
}

void pmap__watch_wait(struct pmap__watch *watch, enum pmap__turn_of state)
{
    struct pmap__cell *cell = &watch->worker->cell;
    uint64_t most = watch->place && watch->place->attend ? LOOK_LENT : LOOK_MAX, look = LOOK_FIRST;
    bool long_ago = false;

    if (watch->limits.timeout && watch->limits.timeout < most)
        most = watch->limits.timeout < LOOK_FIRST ? LOOK_FIRST : watch->limits.timeout;
    while (!pmap__cell_await(cell, state, look, long_ago)) {
        look_after(watch);
        look = 2 * look < most ? 2 * look : most;
        if (long_ago && !pmap__cell_check(cell))
            return;
        long_ago = true;
    }
}

/* ---- Children that begin ---- */

static bool fill_orders(struct pmap__cells *cells, struct pmap__worker *worker)
{
    struct pmap__orders *orders = pmap__orders_of(&worker->cell);
    size_t size = cells->initarg_size;

    orders->rank = cells->place->rank;
    orders->thread = worker->thread;
    memcpy(orders->host, cells->place->host, sizeof orders->host);
    orders->crew = *cells->place->crew;
    orders->initarg_size = size;
    if (size == 0)
        return true;
    if (!pmap__window_grow(&worker->cell.in, size))
        return false;
    memcpy(worker->cell.in.bytes, cells->place->crew->initarg, size);
    return true;
}

static enum pmap_status no_child(const struct pmap__cells *cells, int thread, int why, struct pmap_error *error)
{
    enum pmap_status status = pmap__error_set(error, PMAP_ENOMEM, "pmap: no process for items can be started on %s (rank %d): %s",
                                              cells->place->host, cells->place->rank, strerror(why));
    pmap__place_add(error, cells->place, thread);
    return status;
}

/* The limits are those of items: to begin may take as long as it takes. */
static void wait_for_beginning(struct pmap__watch *watch)
{
    struct pmap__limits limits = watch->limits;

    watch->limits = (struct pmap__limits){0};
    pmap__watch_wait(watch, PMAP__BEGINNING);
    watch->limits = limits;
}

/* One child. PMAP_ECRASHED if it died, however; PMAP_ENOMEM if there can be none now. */
static enum pmap_status try_child(struct pmap__cells *cells, struct pmap__watch *watch, struct pmap_error *error)
{
    struct pmap__worker *worker = watch->worker;
    struct pmap__cell *cell = &worker->cell;
    char how[128];

    if (!pmap__cell_prepare(cell) || !fill_orders(cells, worker))
        return no_child(cells, worker->thread, errno ? errno : ENOMEM, error);
    atomic_store(&cell->block->item, 1); /* its beginning is its first */
    atomic_store(&cell->block->since, pmap__now());
    atomic_store(&cell->block->resident, UINT64_MAX / 2);
    worker->done = 0;
    worker->killed = false;
    if (pmap__cell_admit(cell))
        wait_for_beginning(watch);
    if (pmap__cell_is_home(cell))
        return PMAP_OK;
    if (pmap__orders_of(cell)->refused) {
        *error = pmap__orders_of(cell)->error;
        return error->status;
    }
    int failed = atomic_load(&cell->block->failed);
    if (failed)
        return no_child(cells, worker->thread, failed, error);
    int code = pmap__watch_tell_end(watch, how, sizeof how);
    pmap__error_set(error, PMAP_ECRASHED, "pmap: a process for items crashed as it began on %s (rank %d, thread %d): %s",
                    cells->place->host, cells->place->rank, worker->thread, how);
    error->code = code;
    pmap__place_add(error, cells->place, worker->thread);
    return PMAP_ECRASHED;
}

/* Nobody is in the cell, so this wait is over when its time is. */
static void pause_for(struct pmap__watch *watch, uint64_t step)
{
    struct pmap__cell *cell = &watch->worker->cell;
    uint64_t end = pmap__now() + step;

    for (uint64_t now = pmap__now(); now < end; now = pmap__now()) {
        if (watch->place && watch->place->attend)
            watch->place->attend(watch->place->owner);
        pmap__cell_await(cell, PMAP__GONE, end - now < LOOK_LENT ? end - now : LOOK_LENT, true);
    }
}

/* As try_child, but with patience where processes are short. */
static enum pmap_status try_patiently(struct pmap__cells *cells, struct pmap__watch *watch, struct pmap_error *error)
{
    struct pmap__worker *worker = watch->worker;
    enum pmap_status status = try_child(cells, watch, error);

    for (uint64_t step = STEP_FIRST; status == PMAP_ENOMEM && worker->cell.block; step = 2 * step < STEP_MAX ? 2 * step : STEP_MAX) {
        int why = atomic_load(&worker->cell.block->failed);
        uint64_t now = pmap__now();
        worker->short_since = worker->short_since ? worker->short_since : now;
        if ((why != EAGAIN && why != ENOMEM) || now - worker->short_since > SHORTAGE)
            return status;
        if (watch->cancelled && atomic_load(watch->cancelled))
            return status;
        pause_for(watch, step);
        status = try_child(cells, watch, error);
    }
    worker->short_since = 0;
    return status;
}

enum pmap_status pmap__watch_have_child(struct pmap__cells *cells, struct pmap__watch *watch, struct pmap_error *error)
{
    enum pmap_status status = PMAP_ECRASHED;
    size_t most = cells->place->crew->max_tasks;

    if (pmap__cell_is_home(&watch->worker->cell)) {
        if (!watch->worker->killed && (most == 0 || watch->worker->done < most))
            return PMAP_OK;
        pmap__cell_dismiss(&watch->worker->cell);
    }
    for (int i = 0; i < BEGINNINGS && status == PMAP_ECRASHED && watch->condemned == 0; i++)
        status = try_patiently(cells, watch, error);
    if (status == PMAP_OK)
        atomic_store(&watch->worker->pid, atomic_load(&watch->worker->cell.block->pid));
    return status;
}

enum pmap_status pmap__cells_begin(struct pmap__cells *cells, int thread, struct pmap_error *error)
{
    struct pmap__watch watch = {.worker = &cells->workers[thread]};
    return pmap__watch_have_child(cells, &watch, error);
}

/* ---- Life ---- */

struct pmap__zygote *pmap__isolate_prepare(void)
{
    return pmap__zygote_create(pmap__inmate_live, pmap__registry_hold, pmap__registry_release);
}

struct pmap__cells *pmap__cells_create(struct pmap__zygote *zygote, struct pmap__place *place, int threads, size_t initarg_size)
{
    struct pmap__cells *cells = calloc(1, sizeof *cells + ((size_t)threads + 1) * sizeof cells->workers[0]);

    if (cells == NULL)
        return NULL;
    cells->zygote = zygote;
    cells->place = place;
    cells->initarg_size = initarg_size;
    cells->threads = threads;
    pthread_mutex_init(&cells->merging, NULL); /* glibc's cannot fail */
    for (int i = 0; i <= threads; i++) {
        cells->workers[i].thread = i < threads ? i : 0;
        cells->workers[i].cell.zygote = zygote;
    }
    pmap__zygote_hold(zygote);
    place->cells = cells;
    return cells;
}

void pmap__cells_destroy(struct pmap__cells *cells)
{
    if (cells == NULL)
        return;
    for (int i = 0; i <= cells->threads; i++)
        pmap__cell_close(&cells->workers[i].cell);
    pmap__zygote_release(cells->zygote);
    pthread_mutex_destroy(&cells->merging);
    free(cells);
}

int pmap__cells_process(const struct pmap__cells *cells, int thread)
{
    return cells ? atomic_load(&cells->workers[thread].pid) : 0;
}

int pmap__cells_file(const struct pmap__cells *cells)
{
    return cells ? pmap__zygote_file(cells->zygote) : -1;
}
