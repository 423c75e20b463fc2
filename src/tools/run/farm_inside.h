/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What farm.c, farm_begin.c and farm_end.c share. Only they include it.
 */
#ifndef PMAP_TOOLS_RUN_FARM_INSIDE_H
#define PMAP_TOOLS_RUN_FARM_INSIDE_H

#include "tools/run/bell.h"
#include "tools/run/done.h"
#include "tools/run/feed.h"
#include "tools/run/job.h"
#include "tools/run/median.h"
#include "tools/run/options.h"
#include "tools/run/progress.h"
#include "tools/run/results.h"
#include "tools/run/show.h"

enum { RUN_UNUSABLE = 255 }; /* exit status: something cannot be opened, written or begun */

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

/* A line on stderr, behind the name of the program. */
__attribute__((format(printf, 2, 3))) void run_farm_say(struct run_farm *farm, const char *format, ...);

/* Begin no more; what runs is let run. The exit status is the first that is given. */
void run_farm_give_up(struct run_farm *farm, int status);

/* Jobs in all free slots, as far as there are some by now. */
void run_farm_begin(struct run_farm *farm);

/* Is a job of these arguments, which are those of the last row, done already? */
bool run_farm_is_done(struct run_farm *farm, const struct run_row *row);

/* The command of a job. */
char *run_farm_expand(const struct run_farm *farm, const struct run_job *job);

/* How long a command may take by the median of others; 0: that is not known, or not asked for. */
double run_farm_limit(const struct run_farm *farm);

/* See to the jobs that have ended, and to those that should have. */
void run_farm_end(struct run_farm *farm);

void run_farm_free_job(struct run_job *job);

#endif
