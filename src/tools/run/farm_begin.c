/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How jobs begin: a row becomes a job, unless it is done, and a job an order, in the lowest free slot.
 */
#include "tools/run/farm_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { KNOWN_AFTER = 3 }; /* commands that succeeded make a median */

/* ---- Jobs ---- */

void run_farm_free_job(struct run_job *job)
{
    run_row_free(&job->row);
    free(job->line);
    free(job->order.data);
    free(job->result.data);
    pmap_result_free(job->ready);
    free(job);
}

char *run_farm_expand(const struct run_farm *f, const struct run_job *job)
{
    char sequence[30], slot[30];

    snprintf(sequence, sizeof sequence, "%zu", job->sequence);
    snprintf(slot, sizeof slot, "%zu", job->slot);
    return run_template_expand(f->template, &job->row, sequence, slot);
}

bool run_farm_is_done(struct run_farm *f, const struct run_row *row)
{
    if (f->done)
        return run_done_take(f->done, row);
    return f->options->resume && f->options->joblog == NULL && run_results_has(f->results, row, f->sequence, 1);
}

/* The next job that is not done yet; NULL: there is none by now. */
static struct run_job *next_job(struct run_farm *f)
{
    struct run_job *job = f->again;
    struct run_row row;

    if (job) {
        f->again = job->next;
        return job;
    }
    while (run_feed_take(f->feed, &row)) {
        f->sequence++;
        if (!run_farm_is_done(f, &row)) {
            job = run_resize(NULL, 1, sizeof *job);
            *job = (struct run_job){.farm = f, .sequence = f->sequence, .row = row};
            return job;
        }
        f->skipped++;
        run_row_free(&row);
        if (!run_show_put(f->show, f->sequence, NULL))
            run_farm_give_up(f, RUN_UNUSABLE);
    }
    return NULL;
}
/* ---- Beginning ---- */

static void ended(struct run_job *job)
{
    struct run_farm *f = job->farm;

    pthread_mutex_lock(&f->lock);
    job->next = NULL;
    *f->ended_last = job;
    f->ended_last = &job->next;
    pthread_mutex_unlock(&f->lock);
    run_bell_ring(&f->bell);
}

static void succeeded(void *user, void *out, size_t n)
{
    struct run_job *job = user;
    (void)out;
    (void)n;
    job->error.status = PMAP_OK;
    ended(job);
}

static void failed(void *user, const struct pmap_error *error)
{
    struct run_job *job = user;
    job->error = *error;
    ended(job);
}

double run_farm_limit(const struct run_farm *f)
{
    bool known = f->options->timeout_share > 0 && f->median.n >= KNOWN_AFTER;
    return known ? f->options->timeout_share * run_median(&f->median) : 0;
}

static size_t free_slot(const struct run_farm *f)
{
    size_t slot = 1;

    while (f->running[slot - 1])
        slot++;
    return slot;
}

static void prepare(struct run_farm *f, struct run_job *job)
{
    const struct run_options *o = f->options;

    job->slot = free_slot(f);
    free(job->line);
    job->line = run_farm_expand(f, job);
    struct run_order order = {.sequence = job->sequence, .slot = job->slot, .timeout = o->timeout, .limit = run_farm_limit(f),
                              .free_memory = o->free_memory, .root = getpid(), .shell = f->shell, .line = job->line};
    free(job->order.data);
    job->order = run_order_pack(&order);
    job->submitted = run_now();
    job->overdue = false;
}

static void begin(struct run_farm *f, struct run_job *job)
{
    struct pmap_error refusal = {0};

    prepare(f, job);
    job->ready = pmap_apply_async(f->pool, run_command, &job->result, job->order, .callback = succeeded, .error_callback = failed,
                                  .user = job, .error = &refusal);
    if (job->ready == NULL) {
        job->next = f->again;
        f->again = job;
        if (refusal.status != PMAP_EINTERRUPTED) {
            run_farm_say(f, "%s", refusal.text);
            run_farm_give_up(f, RUN_UNUSABLE);
        }
        f->stopping = true;
        return;
    }
    f->running[job->slot - 1] = job;
    f->running_n++;
}

void run_farm_begin(struct run_farm *f)
{
    struct run_job *job;

    size_t slots = (size_t)pmap_threads(f->pool); /* fewer than there were, if ranks have died */

    while (!f->stopping && f->running_n < slots && f->running_n < f->slots_n && (job = next_job(f)))
        begin(f, job);
}
