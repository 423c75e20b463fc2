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

#include "tools/run/farm_inside.h"
#include "tools/run/log.h"
#include "tools/run/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INTERRUPTED = 85, FAILED_MOST = 101 }; /* exit statuses */

void run_farm_say(struct run_farm *f, const char *format, ...)
{
    va_list args;

    run_progress_clear(&f->progress);
    fputs("pmap-run: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void run_farm_give_up(struct run_farm *f, int status)
{
    if (f->status == 0)
        f->status = status;
    f->stopping = true;
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
        run_farm_begin(f);
        show_progress(f, false);
        if (is_over(f))
            break;
        run_bell_wait(&f->bell, 0.1);
        run_farm_end(f);
        note_interruption(f);
    }
    show_progress(f, true);
}

static void print_all(struct run_farm *f)
{
    struct run_job job = {.slot = 1};

    while (run_inputs_next(f->inputs, &job.row)) {
        f->sequence = ++job.sequence;
        if (!run_farm_is_done(f, &job.row)) {
            char *line = run_farm_expand(f, &job);
            printf("%s\n", line);
            free(line);
        }
        run_row_free(&job.row);
    }
    if (fflush(stdout) != 0)
        run_farm_give_up(f, RUN_UNUSABLE);
}

static int status_of(struct run_farm *f)
{
    const char *error = run_inputs_error(f->inputs);

    if (error) {
        run_farm_say(f, "%s", error);
        return RUN_UNUSABLE;
    }
    if (f->status || f->halted)
        return f->status;
    if (f->interrupted) {
        run_farm_say(f, "interrupted; what is not done yet%s", f->options->joblog ? " is done with --resume" : " would be known if there were a --joblog");
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
        run_farm_say(f, "{= =} in the command: pmap-run has no Perl");
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
        run_farm_say(f, "%s", error);
    else if (f->options->sources_n == 1 && f->options->sources[0].path && strcmp(f->options->sources[0].path, "-") == 0 && isatty(0))
        run_farm_say(f, "commands or arguments are read from the terminal; Ctrl-D ends them, Ctrl-C the program");
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
            run_farm_say(f, "%s", error);
            return false;
        }
    }
    if (o->dry_run)
        return true;
    f->log = resume ? run_log_open_at(o->joblog, end) : run_log_open(o->joblog, !o->append);
    if (f->log < 0)
        run_farm_say(f, "cannot write joblog %s: %s", o->joblog, strerror(errno));
    return f->log >= 0;
}

static bool open_results(struct run_farm *f)
{
    if (f->options->results == NULL)
        return true;
    f->results = run_results_create(f->options->results);
    if (f->results == NULL)
        run_farm_say(f, "{= =} in --results: pmap-run has no Perl");
    return f->results != NULL;
}

static bool open_feed(struct run_farm *f)
{
    const struct run_options *o = f->options;
    bool all = o->bar || o->eta || o->halt.percent; /* these need to know how many there are */

    f->feed = run_feed_start(f->inputs, &f->bell, all ? 0 : 2 * f->slots_n + 64, f->stop[1]);
    if (f->feed == NULL)
        run_farm_say(f, "there is no thread to read input");
    return f->feed != NULL;
}

static void close_farm(struct run_farm *f)
{
    struct run_job *job;

    run_feed_stop(f->feed);
    while ((job = f->again)) {
        f->again = job->next;
        run_farm_free_job(job);
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
    int status = RUN_UNUSABLE;

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
