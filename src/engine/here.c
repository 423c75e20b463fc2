/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/here.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/patience.h"
#include "engine/wait.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

void pmap__job_call_back(struct pmap__job *job)
{
    const struct pmap__order_form *form = &job->form;
    struct pmap_error error, said;
    struct pmap__run run;

    if (form->callback == NULL && form->error_callback == NULL)
        return;
    enum pmap_status status = pmap__job_outcome(job, &error);
    bool before = pmap__wait_forbidden();
    pmap__wait_forbid(true);
    pmap__role_begin(&run, "a callback", job->place, 0, &said);
    if (status == PMAP_OK && form->callback)
        form->callback(form->user, form->results, form->n);
    else if (status != PMAP_OK && form->error_callback)
        form->error_callback(form->user, &error);
    pmap__role_end(&run);
    pmap__wait_forbid(before);
    if (said.status != PMAP_OK)
        pmap__warn("%s", said.text + strlen("pmap: "));
}

void pmap__job_give_result(struct pmap__job *job)
{
    struct pmap_error error;
    if (job->fold && job->fold->top && pmap__job_outcome(job, &error) == PMAP_OK)
        memcpy(job->form.results, job->fold->top->value, job->fold->op->size);
}

static void run_once(struct pmap__job *job, int thread)
{
    struct pmap__run run = {.task = job->form.task, .place = job->place, .thread = thread, .failures = &job->failures,
                            .cancelled = pmap__job_flag(job), .seed = job->form.seed, .args = job->form.args,
                            .results = job->form.results, .base = job->base, .names = job->order, .scattered = job->order};
    size_t n = job->work.n, chunk = job->work.grain ? job->work.grain : n;

    pmap__run_begin(&run);
    for (size_t at = 0, end; at < n; at = end) {
        end = chunk < n - at && !pmap__run_stopped(&run) ? at + chunk : n; /* what is left is skipped in one go */
        if (job->fold)
            pmap__fold_span(job->fold, &run, at, end);
        else
            pmap__run_span(&run, at, end);
    }
    pmap__run_end(&run);
}

/* Or until there is no sense in waiting; a thread that is lent to a loop looks at messages as often as the loop would. */
static void pause_for(uint64_t ns)
{
    uint64_t end = pmap__now() + ns;

    for (uint64_t now = end - ns; now < end && !pmap__item_cut(); now = pmap__now()) {
        uint64_t nap = end - now < PMAP__NAP_MAX ? end - now : PMAP__NAP_MAX;
        nanosleep(&(struct timespec){.tv_nsec = (long)nap}, NULL);
    }
}

/* Run what failed until it does not, or has been tried often enough; false if that was cut short. */
static bool run_again(struct pmap__job *job, const struct pmap__record *record, int thread)
{
    struct pmap__job *child = pmap__job_again(job, record->item, record->n, record);

    if (child == NULL) {
        job->failures.forgot = true;
        return true;
    }
    child->place = job->place;
    pause_for(job->form.retry_delay);
    run_once(child, thread);
    while (pmap__job_may_retry(child)) {
        pmap__job_retry(child);
        pause_for(job->form.retry_delay);
        run_once(child, thread);
    }
    if (child->failures.count || child->failures.cancelled)
        pmap__job_give_up(child);
    bool whole = child->failures.cancelled == 0;
    pmap__job_fini(child);
    free(child);
    return whole;
}

static bool run_failures_again(struct pmap__job *job, int thread)
{
    struct pmap__record *record = pmap__failures_take(&job->failures);
    bool whole = true;

    while (record) {
        struct pmap__record *next = record->next;
        if (record->status == PMAP_ECANCELLED || pmap__job_is_over(job))
            pmap__job_never_again(job, record);
        else
            whole &= run_again(job, record, thread);
        pmap__record_free(record);
        record = next;
    }
    return whole;
}

void pmap__job_run_here(struct pmap__job *job)
{
    int thread;

    pmap__item_running(&job->place, &thread);
    job->own_fold.place = job->place;
    job->own_fold.verdict = pmap__job_verdict(job);
    job->own_fold.cancelled = pmap__job_flag(job);
    run_once(job, thread);
    bool whole = job->failures.cancelled == 0;
    if (job->form.retries)
        whole &= run_failures_again(job, thread);
    if (!whole)
        pmap__item_cancelled(); /* then the item that makes the call goes on with a part of what it asked for: give it up */
    pmap__job_give_result(job);
    pmap__job_call_back(job);
    pmap__job_done(job);
}
