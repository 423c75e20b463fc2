/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/view.h"

#include "base/bell.h"
#include "base/clock.h"
#include "engine/isolate.h"
#include "engine/root_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- Calls ---- */

void pmap__tally_add(struct pmap__tally *sum, const struct pmap__tally *t)
{
    sum->all += t->all;
    sum->done += t->done;
    sum->failed += t->failed;
    sum->cancelled += t->cancelled;
    sum->recalled += t->recalled;
    sum->retried += t->retried;
    sum->lost += t->lost;
}

/* Items that are taken and not finished: in chunks, in seats, or in children. */
static uint64_t unfinished(const struct pmap__job *job)
{
    uint64_t n = atomic_load(&job->out) + atomic_load(&job->again);

    for (int i = 0; i < job->root->seated; i++)
        if (atomic_load_explicit(&job->seats[i].whole, memory_order_relaxed) == job)
            n += atomic_load_explicit(&job->seats[i].n, memory_order_relaxed);
    return n;
}

void pmap__view_job(struct pmap__job *job, struct pmap__tally *tally)
{
    struct pmap__failures *verdict = pmap__job_verdict(job);
    uint64_t rest = pmap__job_items(job, job->work.n), taken = pmap__job_items(job, job->work.n - pmap__work_left(&job->work));
    uint64_t open = unfinished(job);

    *tally = (struct pmap__tally){.all = job->form.n, .retried = atomic_load(&job->items_retried), .lost = atomic_load(&job->items_lost)};
    rest = rest < tally->all ? rest : tally->all; /* the last leaf of a reduction is a shorter one */
    taken = taken < rest ? taken : rest;
    tally->recalled = tally->all - rest;
    tally->done = tally->recalled + (open < taken ? taken - open : 0);
    pthread_mutex_lock(&verdict->lock);
    tally->failed = verdict->count;
    tally->cancelled = verdict->cancelled;
    pthread_mutex_unlock(&verdict->lock);
}

/* All of its threads have left it, so nobody changes anything any more. */
void pmap__view_over(struct pmap__job *job)
{
    const struct pmap__failures *verdict = pmap__job_verdict(job);
    uint64_t all = job->form.n, rest = pmap__job_items(job, job->work.n);
    struct pmap__tally tally = {.all = all, .done = all, .failed = verdict->count, .cancelled = verdict->cancelled,
                                .recalled = rest < all ? all - rest : 0, .retried = atomic_load(&job->items_retried),
                                .lost = atomic_load(&job->items_lost)};

    pmap__tally_add(job->form.course ? &job->form.course->over : &job->tenant->over, &tally);
    job->tenant->calls_over += job->form.course == NULL;
}

/* Has its last call just ended, and does somebody want to know? Under the lock. */
static bool is_idle(const struct pmap__tenant *tenant)
{
    return tenant->shown.idle && tenant->jobs == NULL && tenant->courses == NULL;
}

bool pmap__view_left(struct pmap__job *job)
{
    return job->form.course == NULL && is_idle(job->tenant);
}

void pmap__course_begin(struct pmap__tenant *tenant, struct pmap__course *course, const char *what)
{
    *course = (struct pmap__course){.what = what, .endless = true, .since = pmap__now()};
    pthread_mutex_lock(&tenant->root->lock);
    course->after = tenant->courses;
    if (course->after)
        course->after->before = course;
    tenant->courses = course;
    tenant->calls++;
    pthread_mutex_unlock(&tenant->root->lock);
}

void pmap__course_expect(struct pmap__tenant *tenant, struct pmap__course *course, size_t n)
{
    pthread_mutex_lock(&tenant->root->lock);
    course->n = n;
    course->endless = false;
    pthread_mutex_unlock(&tenant->root->lock);
}

void pmap__course_end(struct pmap__tenant *tenant, struct pmap__course *course)
{
    pthread_mutex_lock(&tenant->root->lock);
    *(course->before ? &course->before->after : &tenant->courses) = course->after;
    if (course->after)
        course->after->before = course->before;
    pmap__tally_add(&tenant->over, &course->over);
    tenant->calls_over++;
    bool idle = is_idle(tenant);
    pthread_mutex_unlock(&tenant->root->lock);
    if (idle)
        tenant->shown.idle(tenant->shown.owner);
}

static void name(struct pmap__view *view, const char *what, uint64_t since)
{
    if (view->since && view->since <= since)
        return;
    view->since = since;
    snprintf(view->what, sizeof view->what, "%s", what);
}

/* A stream or the like: its jobs that are over are a part of what is not. */
static void look_at_course(struct pmap__course *course, struct pmap__view *view)
{
    name(view, course->what, course->since);
    pmap__tally_add(&view->now, &course->over);
    view->endless |= course->endless;
    course->taken = course->over.all;
}

static void look_at_job(struct pmap__job *job, struct pmap__view *view)
{
    struct pmap__tally tally;

    pmap__view_job(job, &tally);
    pmap__tally_add(&view->now, &tally);
    if (job->form.course)
        job->form.course->taken += tally.all;
    else
        name(view, job->form.task->name, job->began);
}

void pmap__view_look(struct pmap__tenant *tenant, struct pmap__view *view)
{
    *view = (struct pmap__view){.since = 0};
    pthread_mutex_lock(&tenant->root->lock);
    view->calls = tenant->calls;
    view->over = tenant->calls_over;
    for (struct pmap__course *course = tenant->courses; course; course = course->after)
        look_at_course(course, view);
    for (struct pmap__job *job = tenant->jobs; job; job = job->after)
        look_at_job(job, view);
    for (struct pmap__course *course = tenant->courses; course; course = course->after)
        view->to_come += course->n > course->taken ? course->n - course->taken : 0;
    view->sum = tenant->over;
    pthread_mutex_unlock(&tenant->root->lock);
    pmap__tally_add(&view->sum, &view->now);
}

uint64_t pmap__view_calls(struct pmap__tenant *tenant)
{
    pthread_mutex_lock(&tenant->root->lock);
    uint64_t calls = tenant->calls_over;
    pthread_mutex_unlock(&tenant->root->lock);
    return calls;
}

/* ---- Ranks ---- */

uint64_t pmap__view_since(const struct pmap__root *root)
{
    return root->since;
}

int pmap__view_ranks(const struct pmap__root *root)
{
    return root->ranks;
}

bool pmap__view_is_root(const struct pmap__root *root, int rank)
{
    return rank == root->rank;
}

static void look_at_root(const struct pmap__root *root, struct pmap__view_rank *view)
{
    view->threads = root->own_threads;
    view->busy = root->team ? view->threads - pmap__team_idle(root->team) : 0;
    view->pid = (int)getpid();
    snprintf(view->host, sizeof view->host, "%s", root->place->host);
    for (int i = 0; i < root->seated; i++) {
        view->items += atomic_load_explicit(&root->seats[i].items, memory_order_relaxed);
        view->busy_ns += atomic_load_explicit(&root->seats[i].busy, memory_order_relaxed);
    }
}

void pmap__view_rank(const struct pmap__root *root, int rank, struct pmap__view_rank *view)
{
    const struct pmap__peer *peer = &root->peers[rank];

    *view = (struct pmap__view_rank){.threads = 0};
    if (pmap__view_is_root(root, rank)) {
        look_at_root(root, view);
        return;
    }
    size_t grains = atomic_load(&peer->grains);
    view->threads = atomic_load(&peer->threads);
    view->busy = grains < (size_t)view->threads ? (int)grains : view->threads;
    view->dead = atomic_load(&peer->gone);
    view->pid = peer->pid;
    snprintf(view->host, sizeof view->host, "%s", peer->host);
    view->items = atomic_load(&peer->items_run);
    view->chunks = atomic_load(&peer->chunks_run);
    view->busy_ns = atomic_load(&peer->busy);
    view->sent = atomic_load(&peer->sent);
    view->received = atomic_load(&peer->received);
}

void pmap__view_times(const struct pmap__root *root, struct pmap__durations *durations)
{
    *durations = (struct pmap__durations){.total = 0};
    pmap__seats_add_up(root->seats, root->seated + 1, durations);
}

/* ---- What is being done ---- */

static void add_held(struct pmap__asking *asking, const struct pmap__held *held)
{
    if (asking->n < asking->room)
        asking->held[asking->n] = *held;
    asking->n++;
}

static void look_at_seats(const struct pmap__root *root, struct pmap__asking *asking)
{
    for (int i = 0; i < root->seated; i++) {
        const struct pmap__seat *seat = &root->seats[i];
        struct pmap__held held = {.rank = root->rank, .thread = i, .task = atomic_load_explicit(&seat->task, memory_order_relaxed),
                                  .first = atomic_load_explicit(&seat->first, memory_order_relaxed),
                                  .n = atomic_load_explicit(&seat->n, memory_order_relaxed),
                                  .since = atomic_load_explicit(&seat->since, memory_order_relaxed),
                                  .process = pmap__cells_process(root->place->cells, i)};
        if (atomic_load(&seat->whole) && held.task && held.n)
            add_held(asking, &held);
    }
}

static void look_at_tickets(struct pmap__root *root, struct pmap__asking *asking)
{
    for (uint64_t i = 0; i < root->tickets.count; i++) {
        const struct pmap__ticket *ticket = root->tickets.all[i];
        if (ticket->job == NULL || ticket->answered)
            continue;
        add_held(asking, &(struct pmap__held){.rank = ticket->rank, .thread = -1, .task = ticket->job->form.task,
                                              .first = pmap__job_item(ticket->job, ticket->begin),
                                              .n = pmap__job_items(ticket->job, ticket->n), .since = ticket->since, .turn = ticket->turn,
                                              .scattered = ticket->job->order && ticket->n > 1});
    }
}

bool pmap__view_answer(struct pmap__root *root)
{
    if (!atomic_load_explicit(&root->asked_view, memory_order_relaxed))
        return false;
    pthread_mutex_lock(&root->lock);
    atomic_store(&root->asked_view, false);
    if (root->asking) {
        look_at_tickets(root, root->asking);
        root->asking->answered = true;
        pmap__bell_ring(root->asking->bell); /* under the lock: whoever asked does not leave before */
        root->asking = NULL;
    }
    pthread_mutex_unlock(&root->lock);
    return true;
}

static void ask(struct pmap__root *root, struct pmap__asking *asking, uint64_t patience)
{
    pthread_mutex_lock(&root->lock);
    root->asking = asking;
    atomic_store(&root->asked_view, true);
    pmap__bell_ring(root->loop.bell);
    pthread_mutex_unlock(&root->lock);
    pmap__bell_wait(asking->bell, patience);
    pthread_mutex_lock(&root->lock);
    root->asking = NULL;
    pthread_mutex_unlock(&root->lock);
}

static int by_rank(const void *a, const void *b)
{
    const struct pmap__held *x = a, *y = b;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    if (x->turn != y->turn)
        return x->turn < y->turn ? -1 : 1;
    return x->since < y->since ? -1 : x->since > y->since;
}

bool pmap__view_held(struct pmap__root *root, struct pmap__held held[], size_t room, size_t *n, uint64_t patience)
{
    struct pmap__bell bell;
    struct pmap__asking asking = {.held = held, .room = room, .answered = root->port == NULL, .bell = &bell};

    if (root->port && pmap__bell_init(&bell)) {
        ask(root, &asking, patience);
        pmap__bell_fini(&bell);
    }
    look_at_seats(root, &asking);
    *n = asking.n;
    qsort(held, *n < room ? *n : room, sizeof *held, by_rank);
    return asking.answered;
}
