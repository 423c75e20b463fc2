/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What the command line says. It is the same on all ranks; only the root says what is wrong with it.
 */
#ifndef PMAP_TOOLS_RUN_OPTIONS_H
#define PMAP_TOOLS_RUN_OPTIONS_H

#include "tools/run/halt.h"
#include "tools/run/inputs.h"

struct run_options {
    int threads;                /* commands at once on this rank; 0: as many as the pool chooses */
    const char *joblog;
    bool append;                /* to the joblog, though it is not resumed */
    const char *results;
    size_t tries;               /* how often a job may run */
    double timeout;             /* seconds; 0: none */
    double timeout_share;       /* of the median; 0: none */
    struct run_halt halt;
    size_t free_memory;         /* bytes */
    bool resume, resume_failed, keep_order, bar, eta, dry_run, quote, tag, verbose, survive, help, version;
    bool trim_given, ignored;
    struct run_reading reading;
    struct run_source *sources; /* from malloc */
    size_t sources_n;
    const char **words;         /* of the command, from malloc */
    size_t words_n;
    char wrong[300];            /* with all this; "": nothing */
};

/* argv is borrowed, and so is what it points to. */
void run_options_read(struct run_options *options, int argc, char *argv[]);
void run_options_free(struct run_options *options);
void run_options_help(void);

/* What a line of #! or of the like is made of: words as the shell would read them, without its expansions. From malloc, as is each. */
char **run_options_split(const char *line, size_t *n);

#endif
