/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Pools as tenants of a root: how they come, give jobs to its loop and to the team, and go.
 */
#include "base/error.h"
#include "base/signals.h"
#include "engine/root_inside.h"
#include "engine/wait.h"

#include <string.h>

/* ---- Jobs that begin ---- */

/* Its loop is told if note is not NULL. */
static bool join_tenant(struct pmap__tenant *tenant, struct pmap__job *job, struct pmap__note *note)
{
    struct pmap__root *root = tenant->root;

    pthread_mutex_lock(&root->lock);
    bool open = tenant->state == PMAP__OPEN || (tenant->state == PMAP__CLOSED && job->form.late) || job->form.last;
    open = open && pmap__interrupt_admits(tenant, job);
    if (open) {
        job->before = NULL;
        job->after = tenant->jobs;
        if (job->after)
            job->after->before = job;
        tenant->jobs = job;
        tenant->calls += job->form.course == NULL;
        atomic_fetch_add(&tenant->pending, 1);
        atomic_fetch_add(&root->pending, 1);
    }
    if (open && note)
        pmap__root_post(root, note);
    pthread_mutex_unlock(&root->lock);
    return open;
}

static enum pmap_status refusal(struct pmap__tenant *tenant, const char *call, struct pmap_error *error)
{
    if (pmap__cause_is_set(&tenant->cause))
        return pmap__cause_error(&tenant->cause, call, NULL, error);
    return pmap__error_set(error, PMAP_ECLOSED, "%s: the pool is closed", call);
}

/* No thread of the root was free for it. */
static void submit_to_loop(struct pmap__root *root, struct pmap__job *job)
{
    pthread_mutex_lock(&root->lock);
    job->direct = false;
    job->local = true;
    pmap__root_post(root, &job->submitted);
    pthread_mutex_unlock(&root->lock);
}

static enum pmap_status submit(struct pmap__tenant *tenant, struct pmap__job *job, struct pmap_error *error)
{
    struct pmap__root *root = tenant->root;

    job->root = root;
    job->tenant = tenant;
    job->place = root->place;
    job->own_fold.place = root->place;
    job->own_fold.verdict = pmap__job_verdict(job);
    job->own_fold.cancelled = pmap__job_flag(job);
    job->all_threads = root->all_threads;
    job->id = atomic_fetch_add(&root->last_id, 1) + 1;
    job->seats = root->seats;
    job->began = pmap__roughly_now();
    enum pmap_status status = pmap__recall_begin(job, tenant->journal, error);
    if (status != PMAP_OK)
        return status;
    pmap__observe_begin(tenant, job);
    job->work.finished = pmap__root_local_finished;
    bool mine = pmap__root_has_alone(root, job), local = root->team && job->work.n > 0 && (mine || job->form.aim == 0);
    bool direct = local && (root->port == NULL || job->place_in_line.single);
    job->direct = direct;
    job->local = local && !direct;
    if (!join_tenant(tenant, job, direct ? NULL : &job->submitted)) {
        refusal(tenant, job->form.call, error);
        pmap__observe_end(job, error);
        return error->status;
    }
    if (direct && (root->port == NULL || mine)) {
        pmap__team_add(root->team, &job->work);
        return PMAP_OK;
    }
    if (direct && pmap__team_offer(root->team, &job->work))
        return PMAP_OK;
    if (direct)
        submit_to_loop(root, job);
    /* The loop must have opened it before it hears that the team has left it: so the team comes last. Other ranks may have been
     * faster by then, and the loop, with them, may have tried to end the job. */
    if (local && !pmap__team_add_left(root->team, &job->work))
        pmap__root_tell(root, &job->local_done);
    return PMAP_OK;
}

enum pmap_status pmap__tenant_submit(struct pmap__tenant *tenant, struct pmap__job *job, struct pmap_error *error)
{
    enum pmap_status status = submit(tenant, job, error);

    if (status != PMAP_OK)
        pmap__job_refuse(job);
    return status;
}

/* ---- Life ---- */

/* The journal cannot be written to any more; by its own thread. */
static void journal_broke(void *argument)
{
    struct pmap__root *root = argument;
    pmap__root_ring(root, &root->cancels);
}

void pmap__tenant_enter(struct pmap__tenant *tenant, struct pmap__root *root, struct pmap__journal *journal, bool signals,
                        double walltime)
{
    *tenant = (struct pmap__tenant){.root = root, .state = PMAP__OPEN, .journal = journal, .signals = signals};
    if (journal)
        pmap__journal_alarm(journal, journal_broke, root);
    if (walltime > 0)
        tenant->limit = pmap__limit_in((uint64_t)(walltime * 1e9));
    tenant->limited = walltime > 0 || (walltime == 0 && pmap__watch_expects_limit());
    if (signals)
        pmap__signals_hold();
    pmap__cause_init(&tenant->cause);
    atomic_init(&tenant->asked, false);
    atomic_init(&tenant->pending, 0);
    atomic_init(&tenant->shares, false);
    pthread_mutex_lock(&root->lock);
    tenant->next = root->tenants;
    root->tenants = tenant;
    pthread_mutex_unlock(&root->lock);
    pmap__signals_ring(); /* the watcher has another clock to look at, perhaps, and a signal may have come before */
}

static void set_state(struct pmap__tenant *tenant, enum pmap__tenancy state)
{
    pthread_mutex_lock(&tenant->root->lock);
    if (state > tenant->state)
        tenant->state = state;
    if (state == PMAP__TERMINATED)
        pmap__interrupt_cancel(tenant, false);
    pthread_mutex_unlock(&tenant->root->lock);
}

void pmap__tenant_close(struct pmap__tenant *tenant)
{
    set_state(tenant, PMAP__CLOSED);
}

void pmap__tenant_terminate(struct pmap__tenant *tenant)
{
    set_state(tenant, PMAP__TERMINATED);
    pmap__root_ring(tenant->root, &tenant->root->cancels);
}

enum pmap__tenancy pmap__tenant_state(struct pmap__tenant *tenant)
{
    pthread_mutex_lock(&tenant->root->lock);
    enum pmap__tenancy state = tenant->state;
    pthread_mutex_unlock(&tenant->root->lock);
    return state;
}

enum pmap_status pmap__tenant_admits(struct pmap__tenant *tenant, const char *call, struct pmap_error *error)
{
    pthread_mutex_lock(&tenant->root->lock);
    bool open = tenant->state == PMAP__OPEN && pmap__interrupt_admits(tenant, NULL);
    pthread_mutex_unlock(&tenant->root->lock);
    return open ? PMAP_OK : refusal(tenant, call, error);
}

static bool is_empty(const void *tenant)
{
    return atomic_load(&((const struct pmap__tenant *)tenant)->pending) == 0;
}

void pmap__tenant_hold(struct pmap__tenant *tenant)
{
    atomic_fetch_add(&tenant->pending, 1);
    atomic_fetch_add(&tenant->root->pending, 1);
}

void pmap__tenant_release(struct pmap__tenant *tenant)
{
    struct pmap__root *root = tenant->root;

    pthread_mutex_lock(&root->lock); /* so that the root outlives its bell's ringing */
    atomic_fetch_sub(&root->pending, 1);
    atomic_fetch_sub(&tenant->pending, 1);
    pmap__bell_ring(root->loop.bell);
    pthread_mutex_unlock(&root->lock);
    pmap__wait_over();
}

void pmap__tenant_join(struct pmap__tenant *tenant)
{
    pmap__wait(is_empty, tenant, PMAP__FOR_EVER);
}

/* All of its calls have ended. */
static void close_journal(struct pmap__tenant *tenant)
{
    struct pmap_error error;

    pthread_mutex_lock(&tenant->root->lock);
    struct pmap__journal *journal = tenant->journal;
    tenant->journal = NULL;
    pthread_mutex_unlock(&tenant->root->lock);
    if (pmap__journal_close(journal, &error) != PMAP_OK)
        pmap__warn("%s", error.text + strlen("pmap: "));
}

void pmap__tenant_leave(struct pmap__tenant *tenant)
{
    struct pmap__root *root = tenant->root;
    struct pmap__sharing all = {.remove = true, .tenant = tenant};

    close_journal(tenant);
    if (atomic_load(&tenant->shares))
        pmap__sharing_request(root, &all);
    pthread_mutex_lock(&root->lock);
    struct pmap__tenant **at = &root->tenants;
    while (*at != tenant)
        at = &(*at)->next;
    *at = tenant->next;
    bool last = root->tenants == NULL, signals = tenant->signals;
    pthread_mutex_unlock(&root->lock);
    if (last)
        pmap__root_destroy(root);
    if (signals)
        pmap__signals_release();
}
