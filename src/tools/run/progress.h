/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * --bar and --eta: one line on standard error about how far the farm is. On a terminal it is drawn anew, ten times a second at most; elsewhere
 * it is a line of a log, every 30 seconds and at the end.
 */
#ifndef PMAP_TOOLS_RUN_PROGRESS_H
#define PMAP_TOOLS_RUN_PROGRESS_H

#include "tools/run/halt.h"

struct run_progress {
    bool bar, eta; /* neither: it does nothing */
    bool terminal;
    bool drawn;    /* a line is on the terminal */
    double began, next;
    size_t at_first; /* done by then, by a former farm */
};

void run_progress_begin(struct run_progress *progress, bool bar, bool eta);

/* If it is time. */
void run_progress_update(struct run_progress *progress, const struct run_counts *counts, size_t running, bool at_the_end);

/* Before somebody else writes on the terminal. */
void run_progress_clear(struct run_progress *progress);

/* The line, for tests: at most width columns, seconds after the beginning; done before that: at_first. */
void run_progress_line(char *line, size_t size, const struct run_progress *progress, const struct run_counts *counts, size_t running,
                       double seconds, int width);

#endif
