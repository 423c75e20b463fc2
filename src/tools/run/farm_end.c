/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How jobs end: again in the farm's hands, or finished, or dropped. See farm.c.
 */
#include "tools/run/farm_inside.h"

#include "tools/run/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define OVERDUE 2.0 /* seconds that a rank has to end a command by itself */

static struct run_job *take_ended(struct run_farm *f)
{
    pthread_mutex_lock(&f->lock);
    struct run_job *all = f->ended;
    f->ended = NULL;
    f->ended_last = &f->ended;
    pthread_mutex_unlock(&f->lock);
    return all;
}

/* It was ended for want of memory, or it has failed and may try again. */
static void run_again(struct run_farm *f, struct run_job *job)
{
    free(job->result.data);
    job->result = (struct pmap_bytes){0};
    job->next = f->again;
    f->again = job;
}

/* As the joblog has it. */
static void read_status(struct run_job *job, const struct run_outcome *outcome)
{
    job->exit = WIFEXITED(outcome->status) ? WEXITSTATUS(outcome->status) : 0;
    job->signal = WIFSIGNALED(outcome->status) ? WTERMSIG(outcome->status) : 0;
    if (outcome->end == RUN_TIMED_OUT)
        job->exit = -1;
}

/* What became of a job that gave no outcome. False: nothing, it is dropped. */
static bool read_error(struct run_farm *f, struct run_job *job, struct run_outcome *outcome)
{
    *outcome = (struct run_outcome){.files = {-1, -1}, .data = {"", ""}, .host = ":"};
    outcome->seconds = run_now() - job->submitted;
    outcome->begin = run_date() - outcome->seconds;
    if (job->error.status == PMAP_EINTERRUPTED) {
        f->interrupted = f->stopping = true;
        return false;
    }
    if (job->overdue) {
        outcome->end = RUN_TIMED_OUT;
        outcome->status = SIGTERM; /* as waitpid has it */
        return true;
    }
    if (job->error.status == PMAP_ECANCELLED || job->error.status == PMAP_ECLOSED)
        return false;
    run_farm_say(f, "%s", job->error.text[0] ? job->error.text : "a job gave no outcome");
    outcome->status = RUN_UNUSABLE << 8; /* likewise */
    return true;
}

static void log_job(struct run_farm *f, const struct run_job *job, const struct run_outcome *o)
{
    struct run_log_row row = {.sequence = job->sequence, .host = o->host, .begin = o->begin, .seconds = o->seconds,
                              .received = o->sizes[0], .exit = job->exit, .signal = job->signal, .command = job->line};

    if (strcmp(o->host, f->host) == 0)
        row.host = ":";
    if (f->log >= 0 && !run_log_write(f->log, &row)) {
        run_farm_say(f, "cannot write joblog %s: %s", f->options->joblog, strerror(errno));
        run_farm_give_up(f, RUN_UNUSABLE);
    }
}

static char *tag_of(const struct run_job *job)
{
    struct run_text tag = {0};

    for (size_t i = 0; i < job->row.n; i++) {
        run_text_puts(&tag, i ? " " : "");
        run_text_puts(&tag, job->row.columns[i]);
    }
    return run_text_take(&tag);
}

static char *heading_of(const struct run_job *job)
{
    struct run_text heading = {0};

    run_text_puts(&heading, job->line);
    run_text_puts(&heading, "\n");
    return run_text_take(&heading);
}

static void show_job(struct run_farm *f, struct run_job *job)
{
    struct run_page page = {.result = job->result};

    if (f->options->tag)
        page.tag = tag_of(job);
    if (f->options->verbose)
        page.heading = heading_of(job);
    job->result = (struct pmap_bytes){0};
    run_progress_clear(&f->progress);
    if (run_show_put(f->show, job->sequence, &page))
        return;
    if (errno != EPIPE && f->status == 0)
        run_farm_say(f, "cannot write output: %s", strerror(errno));
    run_farm_give_up(f, RUN_UNUSABLE);
}

/* To files, or to be seen. */
static void put_out(struct run_farm *f, struct run_job *job, const struct run_outcome *outcome)
{
    char error[300];

    if (f->results && !run_results_save(f->results, &job->row, job->sequence, job->slot, outcome, error)) {
        run_farm_say(f, "%s", error);
        run_farm_give_up(f, RUN_UNUSABLE);
    }
    if (f->results == NULL)
        show_job(f, job);
    else
        run_outcome_close(outcome);
}

static void consider_halt(struct run_farm *f, const struct run_job *job)
{
    const struct run_halt *halt = &f->options->halt;
    bool failed = job->exit || job->signal;
    static const char *const what[] = {[RUN_FAIL] = "failed", [RUN_SUCCESS] = "succeeded", [RUN_DONE] = "finished"};

    if (halt->when == RUN_NEVER || (halt->of == RUN_FAIL && !failed) || (halt->of == RUN_SUCCESS && failed))
        return;
    run_farm_say(f, "This job %s:\n%s", what[halt->of], job->line);
    if (f->halted || !run_halt_is_due(halt, &f->counts))
        return;
    f->halted = f->stopping = true;
    f->status = run_halt_status(halt, &f->counts, job->signal ? job->signal : job->exit << 8);
    if (halt->when == RUN_NOW)
        pmap_terminate(f->pool);
    else if (f->running_n)
        run_farm_say(f, "Starting no more jobs. Waiting for %zu jobs to finish.", f->running_n);
}

/* One that will not run again, and is not dropped. */
static void finish(struct run_farm *f, struct run_job *job, const struct run_outcome *outcome)
{
    bool failed = job->exit || job->signal;

    if (!failed) {
        run_median_add(&f->median, outcome->seconds);
        run_order_limit(run_farm_limit(f));
    }
    f->counts.done++;
    f->counts.failed += failed;
    if (outcome->end == RUN_TIMED_OUT)
        run_farm_say(f, "Warning: This job was killed because it timed out:\npmap-run: Warning: %s", job->line);
    log_job(f, job, outcome);
    put_out(f, job, outcome);
    consider_halt(f, job);
}

/* What is to be done about a job that has ended: it is in the farm's hands again, or finished, or dropped. */
static void end(struct run_farm *f, struct run_job *job)
{
    struct run_outcome outcome;

    f->running[job->slot - 1] = NULL;
    f->running_n--;
    pmap_result_free(job->ready);
    job->ready = NULL;
    bool known = job->error.status == PMAP_OK && run_outcome_unpack(job->result, &outcome);
    if ((!known && !read_error(f, job, &outcome)) || (f->halted && f->options->halt.when == RUN_NOW)) {
        run_farm_free_job(job);
        return;
    }
    read_status(job, &outcome);
    bool failed = job->exit || job->signal, tries_left = failed && job->tries + 1 < f->options->tries;
    if (outcome.end == RUN_NO_MEMORY || tries_left) {
        job->tries += outcome.end != RUN_NO_MEMORY;
        run_outcome_close(&outcome);
        run_again(f, job);
        return;
    }
    finish(f, job, &outcome);
    run_farm_free_job(job);
}

static void end_jobs(struct run_farm *f)
{
    struct run_job *next, *job = take_ended(f);

    for (; job; job = next) {
        next = job->next;
        end(f, job);
    }
}

/* Where the median came to be known only after a command had begun, and its rank has begun none since, the rank does not know it. */
static void cancel_overdue(struct run_farm *f)
{
    double limit = run_farm_limit(f), now = run_now();

    for (size_t i = 0; limit > 0 && i < f->slots_n; i++)
        if (f->running[i] && !f->running[i]->overdue && now - f->running[i]->submitted > limit + OVERDUE) {
            f->running[i]->overdue = true;
            pmap_result_cancel(f->running[i]->ready);
        }
}

void run_farm_end(struct run_farm *f)
{
    end_jobs(f);
    cancel_overdue(f);
}
