/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A root's part in interruptions: what the watcher, and whoever submits a job, see of a tenant. Everything here is under the
 * root's lock, but for the two functions at the end.
 */
#include "base/clock.h"
#include "base/signals.h"
#include "engine/root_inside.h"
#include "engine/times.h"
#include "sched/walltime.h"

#include <stddef.h>

void pmap__interrupt_cancel(struct pmap__tenant *tenant, bool last_too)
{
    for (struct pmap__job *job = tenant->jobs; job; job = job->after)
        if (last_too || !job->form.last)
            atomic_store(&job->cancelled, true);
}

/* All that the tenant has ends now. */
static void interrupt(struct pmap__tenant *tenant, int what, uint64_t left)
{
    pmap__cause_set(&tenant->cause, what, left, 0, 0);
    for (struct pmap__job *job = tenant->jobs; job; job = job->after)
        if (!job->form.last)
            pmap__cause_set(&job->cause, what, left, 0, 0);
    pmap__interrupt_cancel(tenant, false);
    tenant->stopped = true;
}

/* ---- The walltime ---- */

static struct pmap__limit_at limit_of(const struct pmap__tenant *tenant)
{
    return tenant->limit.deadline ? tenant->limit : pmap__watch_limit();
}

static uint64_t left_until(uint64_t deadline)
{
    uint64_t now = pmap__now();
    return deadline > now ? deadline - now : 0;
}

/* May more of the job go out when so much time is left? If not, neither the job nor the tenant begin anything. */
static bool fits(struct pmap__tenant *tenant, struct pmap__job *job, uint64_t left, uint64_t margin)
{
    size_t grain = job->work.grain ? job->work.grain : 1, rest = pmap__work_left(&job->work);
    size_t items = pmap__job_items(job, rest && rest < grain ? rest : grain);
    uint64_t item = job->times ? pmap__times_95(job->times) : 0;

    if (pmap__walltime_fits(left, margin, items, item))
        return true;
    pmap__cause_set(&tenant->cause, PMAP__WALLTIME, left, item, items);
    pmap__cause_set(&job->cause, PMAP__WALLTIME, left, item, items);
    return false;
}

/* Is something of it not begun yet? What has failed may have to be run again, an item at a time. */
static bool waits(struct pmap__job *job)
{
    if (pmap__job_is_over(job) || job->form.last)
        return false;
    return pmap__work_left(&job->work) > 0 || (job->form.retries && pmap__job_has_failures(job));
}

/* Halt what does not fit any more; true if there was anything. */
static bool halt_jobs(struct pmap__tenant *tenant, uint64_t left, uint64_t margin)
{
    bool any = false;

    for (struct pmap__job *job = tenant->jobs; job; job = job->after) {
        if (!waits(job) || fits(tenant, job, left, margin))
            continue;
        atomic_store(&job->halted, true);
        any = true;
    }
    return any;
}

/* Is the time over, but for the margin? *left: how much there is. */
static bool is_over(const struct pmap__tenant *tenant, uint64_t *left)
{
    struct pmap__limit_at at = limit_of(tenant);

    *left = left_until(at.deadline);
    return at.deadline && *left <= at.margin;
}

/* The watcher's look at the clock, and then at all jobs; *next: in how many ns to look again. True if something ends. */
static bool look_at_jobs(struct pmap__tenant *tenant, uint64_t *next)
{
    struct pmap__limit_at at = limit_of(tenant);
    uint64_t left = left_until(at.deadline);

    if (tenant->stopped || !tenant->limited || at.deadline == 0)
        return false;
    uint64_t look = pmap__walltime_next_look(left, at.margin);
    *next = look < *next ? look : *next;
    return halt_jobs(tenant, left, at.margin);
}

/* ---- Tenants ---- */

/* Has something come that interrupts the tenant? Then see to it; true if the loop has something to do. At each job that begins: so the other jobs
 * are not looked at. */
static bool look_at(struct pmap__tenant *tenant)
{
    int signal = tenant->signals ? pmap__signals_came() : 0;
    uint64_t left;

    if (tenant->stopped)
        return false;
    if (atomic_load(&tenant->asked) || signal) {
        interrupt(tenant, signal ? signal : PMAP__ASKED, 0);
        return true;
    }
    if (!tenant->limited || !is_over(tenant, &left))
        return false;
    interrupt(tenant, PMAP__WALLTIME, left);
    return true;
}

static void wake_loop(struct pmap__root *root)
{
    atomic_store(&root->cancels, true);
    pmap__bell_ring(root->loop.bell);
}

uint64_t pmap__interrupt_look(struct pmap__watched *watched)
{
    struct pmap__root *root = (struct pmap__root *)((char *)watched - offsetof(struct pmap__root, watched));
    uint64_t next = PMAP__FOR_EVER;
    bool any = false;

    pthread_mutex_lock(&root->lock);
    for (struct pmap__tenant *tenant = root->tenants; tenant; tenant = tenant->next)
        any |= look_at(tenant) || look_at_jobs(tenant, &next);
    if (any)
        wake_loop(root);
    pthread_mutex_unlock(&root->lock);
    return next;
}

/* Without memory to note times the job goes out for as long as there is time at all. */
static bool admits_job(struct pmap__tenant *tenant, struct pmap__job *job)
{
    struct pmap__limit_at at = limit_of(tenant);

    job->times = pmap__times_find(&tenant->root->times, job->form.task);
    return at.deadline == 0 || job->form.last || job->work.n == 0 || fits(tenant, job, left_until(at.deadline), at.margin);
}

bool pmap__interrupt_admits(struct pmap__tenant *tenant, struct pmap__job *job)
{
    if (look_at(tenant))
        wake_loop(tenant->root);
    if (pmap__cause_is_set(&tenant->cause))
        return job && job->form.last;
    return job == NULL || !tenant->limited || admits_job(tenant, job);
}

void pmap__tenant_interrupt(struct pmap__tenant *tenant)
{
    atomic_store(&tenant->asked, true);
    pmap__signals_ring();
}

bool pmap__tenant_is_interrupted(const struct pmap__tenant *tenant)
{
    return pmap__cause_is_set(&tenant->cause) || atomic_load(&tenant->asked) || (tenant->signals && pmap__signals_came());
}
