/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Each job is an async call of its own, and there are never more of them than the pool has threads. A single item waits at the root for
 * the thread that is free first, on whichever rank that is: so no command waits behind another, all that were handed out run, and
 * one that failed begins anew wherever there is room. All decisions are the main thread's; the feed brings rows, callbacks bring ends, and
 * both ring its bell. It also wakes ten times a second, for progress, for interruptions, and for commands that are overdue.
 *
 * A job ends as one of these: it is over, and then counted, logged and shown; it failed, and goes to those that run again; it is dropped,
 * because the farm was halted or interrupted, and leaves no trace, so that it is not done when the farm is resumed.
 */
#include "tools/run/farm.h"

#include "tools/run/bell.h"
#include "tools/run/done.h"
#include "tools/run/feed.h"
#include "tools/run/job.h"
#include "tools/run/log.h"
#include "tools/run/median.h"
#include "tools/run/progress.h"
#include "tools/run/results.h"
#include "tools/run/shell.h"
#include "tools/run/show.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { UNUSABLE = 255, INTERRUPTED = 85, FAILED_MOST = 101 }; /* exit statuses */
enum { KNOWN_AFTER = 3 };  /* commands that succeeded make a median */
#define OVERDUE 2.0        /* seconds that a rank has to end a command by itself */

struct run_farm {
    struct pmap_pool *pool;
    const struct run_options *options;
    struct run_template *template;
    char *shell;
    int stop[2];               /* ends what waits for input */
    struct run_inputs *inputs;
    struct run_feed *feed;
    struct run_done *done;     /* NULL: nothing */
    struct run_results *results;
    struct run_show *show;
    int log;                   /* -1: none */
    char host[RUN_HOST];       /* this one's name */
    struct run_progress progress;
    struct run_median median;  /* of those that succeeded */
    struct run_counts counts;
    size_t skipped;            /* done by a former farm */
    size_t sequence;           /* of the last row */
    struct run_job *again;     /* first in, first out */
    struct run_job **running;  /* that of slot i is at i - 1; NULL: the slot is free */
    size_t running_n, slots_n;
    bool stopping, halted, interrupted;
    int status;                /* when halted, or if anything cannot be used */
    struct run_bell bell;
    pthread_mutex_t lock;
    struct run_job *ended, **ended_last; /* under lock: the callbacks', in the order of their ends */
};

__attribute__((format(printf, 2, 3))) static void say(struct run_farm *f, const char *format, ...)
{
    va_list args;

    run_progress_clear(&f->progress);
    fputs("pmap-run: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* Begin no more; what runs is let run. */
static void give_up(struct run_farm *f, int status)
{
    if (f->status == 0)
        f->status = status;
    f->stopping = true;
}

/* ---- Jobs ---- */

static void free_job(struct run_job *job)
{
    run_row_free(&job->row);
    free(job->line);
    free(job->order.data);
    free(job->result.data);
    pmap_result_free(job->ready);
    free(job);
}

/* What stands for the numbers of a job in its command, or in names. */
static char *expand(const struct run_template *template, const struct run_job *job)
{
    char sequence[30], slot[30];

    snprintf(sequence, sizeof sequence, "%zu", job->sequence);
    snprintf(slot, sizeof slot, "%zu", job->slot);
    return run_template_expand(template, &job->row, sequence, slot);
}

static bool is_done(struct run_farm *f, const struct run_row *row)
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
        if (!is_done(f, &row)) {
            job = run_resize(NULL, 1, sizeof *job);
            *job = (struct run_job){.farm = f, .sequence = f->sequence, .row = row};
            return job;
        }
        f->skipped++;
        run_row_free(&row);
        if (!run_show_put(f->show, f->sequence, NULL))
            give_up(f, UNUSABLE);
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

/* 0: not known, or no limit. */
static double limit_by_median(const struct run_farm *f)
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
    job->line = expand(f->template, job);
    struct run_order order = {.sequence = job->sequence, .slot = job->slot, .timeout = o->timeout, .limit = limit_by_median(f),
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
            say(f, "%s", refusal.text);
            give_up(f, UNUSABLE);
        }
        f->stopping = true;
        return;
    }
    f->running[job->slot - 1] = job;
    f->running_n++;
}

static void begin_jobs(struct run_farm *f)
{
    struct run_job *job;

    size_t slots = (size_t)pmap_threads(f->pool); /* fewer than there were, if ranks have died */

    while (!f->stopping && f->running_n < slots && f->running_n < f->slots_n && (job = next_job(f)))
        begin(f, job);
}

/* ---- Ending ---- */

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
    say(f, "%s", job->error.text[0] ? job->error.text : "a job gave no outcome");
    outcome->status = UNUSABLE << 8; /* likewise */
    return true;
}

static void log_job(struct run_farm *f, const struct run_job *job, const struct run_outcome *o)
{
    struct run_log_row row = {.sequence = job->sequence, .host = o->host, .begin = o->begin, .seconds = o->seconds,
                              .received = o->sizes[0], .exit = job->exit, .signal = job->signal, .command = job->line};

    if (strcmp(o->host, f->host) == 0)
        row.host = ":";
    if (f->log >= 0 && !run_log_write(f->log, &row)) {
        say(f, "cannot write joblog %s: %s", f->options->joblog, strerror(errno));
        give_up(f, UNUSABLE);
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
        say(f, "cannot write output: %s", strerror(errno));
    give_up(f, UNUSABLE);
}

/* To files, or to be seen. */
static void put_out(struct run_farm *f, struct run_job *job, const struct run_outcome *outcome)
{
    char error[300];

    if (f->results && !run_results_save(f->results, &job->row, job->sequence, job->slot, outcome, error)) {
        say(f, "%s", error);
        give_up(f, UNUSABLE);
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
    say(f, "This job %s:\n%s", what[halt->of], job->line);
    if (f->halted || !run_halt_is_due(halt, &f->counts))
        return;
    f->halted = f->stopping = true;
    f->status = run_halt_status(halt, &f->counts, job->signal ? job->signal : job->exit << 8);
    if (halt->when == RUN_NOW)
        pmap_terminate(f->pool);
    else if (f->running_n)
        say(f, "Starting no more jobs. Waiting for %zu jobs to finish.", f->running_n);
}

/* One that will not run again, and is not dropped. */
static void finish(struct run_farm *f, struct run_job *job, const struct run_outcome *outcome)
{
    bool failed = job->exit || job->signal;

    if (!failed) {
        run_median_add(&f->median, outcome->seconds);
        run_order_limit(limit_by_median(f));
    }
    f->counts.done++;
    f->counts.failed += failed;
    if (outcome->end == RUN_TIMED_OUT)
        say(f, "Warning: This job was killed because it timed out:\npmap-run: Warning: %s", job->line);
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
        free_job(job);
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
    free_job(job);
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
    double limit = limit_by_median(f), now = run_now();

    for (size_t i = 0; limit > 0 && i < f->slots_n; i++)
        if (f->running[i] && !f->running[i]->overdue && now - f->running[i]->submitted > limit + OVERDUE) {
            f->running[i]->overdue = true;
            pmap_result_cancel(f->running[i]->ready);
        }
}

/* ---- The whole ---- */

static void note_interruption(struct run_farm *f)
{
    if (f->interrupted || !pmap_interrupted(f->pool))
        return;
    f->interrupted = f->stopping = true;
}

static void show_progress(struct run_farm *f, bool at_the_end)
{
    struct run_counts all = f->counts;

    all.done += f->skipped;
    if (!run_feed_total(f->feed, &all.total))
        all.total = 0;
    f->counts.total = all.total;
    f->progress.at_first = f->skipped;
    run_progress_update(&f->progress, &all, f->running_n, at_the_end);
}

static bool is_over(struct run_farm *f)
{
    return f->running_n == 0 && (f->stopping || (f->again == NULL && run_feed_is_over(f->feed)));
}

static void run_all(struct run_farm *f)
{
    while (!is_over(f)) {
        begin_jobs(f);
        show_progress(f, false);
        if (is_over(f))
            break;
        run_bell_wait(&f->bell, 0.1);
        end_jobs(f);
        cancel_overdue(f);
        note_interruption(f);
    }
    show_progress(f, true);
}

static void print_all(struct run_farm *f)
{
    struct run_job job = {.slot = 1};

    while (run_inputs_next(f->inputs, &job.row)) {
        f->sequence = ++job.sequence;
        if (!is_done(f, &job.row)) {
            char *line = expand(f->template, &job);
            printf("%s\n", line);
            free(line);
        }
        run_row_free(&job.row);
    }
    if (fflush(stdout) != 0)
        give_up(f, UNUSABLE);
}

static int status_of(struct run_farm *f)
{
    const char *error = run_inputs_error(f->inputs);

    if (error) {
        say(f, "%s", error);
        return UNUSABLE;
    }
    if (f->status || f->halted)
        return f->status;
    if (f->interrupted) {
        say(f, "interrupted; what is not done yet%s", f->options->joblog ? " is done with --resume" : " would be known if there were a --joblog");
        return INTERRUPTED;
    }
    return f->counts.failed > FAILED_MOST ? FAILED_MOST : (int)f->counts.failed;
}

/* ---- Opening and closing ---- */

static bool open_template(struct run_farm *f)
{
    const struct run_options *o = f->options;
    enum run_quoting quoting = o->words_n == 0 ? RUN_QUOTE_NOTHING : o->quote ? RUN_QUOTE_WORDS : RUN_QUOTE_ARGUMENTS;

    f->template = run_template_create(o->words, o->words_n, quoting);
    if (f->template == NULL)
        say(f, "{= =} in the command: pmap-run has no Perl");
    return f->template != NULL;
}

static bool open_inputs(struct run_farm *f)
{
    struct run_reading reading = f->options->reading;
    char error[300];

    if (pipe2(f->stop, O_CLOEXEC) < 0)
        return false;
    reading.stop = f->stop[0];
    f->inputs = run_inputs_open(f->options->sources, f->options->sources_n, &reading, error);
    if (f->inputs == NULL)
        say(f, "%s", error);
    else if (f->options->sources_n == 1 && f->options->sources[0].path && strcmp(f->options->sources[0].path, "-") == 0 && isatty(0))
        say(f, "commands or arguments are read from the terminal; Ctrl-D ends them, Ctrl-C the program");
    return f->inputs != NULL;
}

static bool open_log(struct run_farm *f)
{
    enum { SLOTS = 256 }; /* a former farm may have had more than this one */
    const struct run_options *o = f->options;
    bool resume = o->resume || o->resume_failed;
    long long end;
    char error[300];

    if (o->joblog == NULL)
        return true;
    if (resume) {
        f->done = run_done_read(o->joblog, o->resume_failed, f->template, f->slots_n > SLOTS ? f->slots_n : SLOTS, &end, error);
        if (f->done == NULL) {
            say(f, "%s", error);
            return false;
        }
    }
    if (o->dry_run)
        return true;
    f->log = resume ? run_log_open_at(o->joblog, end) : run_log_open(o->joblog, !o->append);
    if (f->log < 0)
        say(f, "cannot write joblog %s: %s", o->joblog, strerror(errno));
    return f->log >= 0;
}

static bool open_results(struct run_farm *f)
{
    if (f->options->results == NULL)
        return true;
    f->results = run_results_create(f->options->results);
    if (f->results == NULL)
        say(f, "{= =} in --results: pmap-run has no Perl");
    return f->results != NULL;
}

static bool open_feed(struct run_farm *f)
{
    const struct run_options *o = f->options;
    bool all = o->bar || o->eta || o->halt.percent; /* these need to know how many there are */

    f->feed = run_feed_start(f->inputs, &f->bell, all ? 0 : 2 * f->slots_n + 64, f->stop[1]);
    if (f->feed == NULL)
        say(f, "there is no thread to read input");
    return f->feed != NULL;
}

static void close_farm(struct run_farm *f)
{
    struct run_job *job;

    run_feed_stop(f->feed);
    while ((job = f->again)) {
        f->again = job->next;
        free_job(job);
    }
    run_inputs_close(f->inputs);
    run_done_free(f->done);
    run_results_destroy(f->results);
    run_show_destroy(f->show);
    run_template_destroy(f->template);
    run_bell_fini(&f->bell);
    pthread_mutex_destroy(&f->lock);
    if (f->log >= 0)
        close(f->log);
    for (int i = 0; i < 2; i++)
        if (f->stop[i] >= 0)
            close(f->stop[i]);
    free(f->running);
    free(f->shell);
    free(f);
}

static struct run_farm *open_farm(struct pmap_pool *pool, const struct run_options *o)
{
    struct run_farm *f = run_resize(NULL, 1, sizeof *f);

    *f = (struct run_farm){.pool = pool, .options = o, .log = -1, .stop = {-1, -1}, .slots_n = (size_t)pmap_threads(pool)};
    f->ended_last = &f->ended;
    f->shell = run_shell();
    f->show = run_show_create(o->keep_order);
    f->running = run_resize(NULL, f->slots_n, sizeof *f->running);
    memset(f->running, 0, f->slots_n * sizeof *f->running);
    gethostname(f->host, sizeof f->host - 1);
    run_bell_init(&f->bell);
    pthread_mutex_init(&f->lock, NULL);
    return f;
}

int run_farm(struct pmap_pool *pool, const struct run_options *options)
{
    struct run_farm *f = open_farm(pool, options);
    int status = UNUSABLE;

    if (!open_template(f) || !open_inputs(f) || !open_results(f) || !open_log(f))
        goto done;
    if (options->dry_run) {
        print_all(f);
    } else {
        if (!open_feed(f))
            goto done;
        run_progress_begin(&f->progress, options->bar, options->eta);
        run_all(f);
        run_feed_stop(f->feed);
        f->feed = NULL;
    }
    status = status_of(f);
done:
    close_farm(f);
    return status;
}
