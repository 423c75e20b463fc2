/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The joblog, column for column GNU parallel's:
 *
 *     Seq  Host  Starttime  JobRuntime  Send  Receive  Exitval  Signal  Command
 *
 * A row is written by one call when its job is over, so that the file is good whatever happens to the farm.
 */
#ifndef PMAP_TOOLS_RUN_LOG_H
#define PMAP_TOOLS_RUN_LOG_H

#include <stdbool.h>
#include <stddef.h>

struct run_log_row {
    size_t sequence;
    const char *host;
    double begin, seconds;
    size_t received; /* bytes of standard output */
    int exit, signal;
    const char *command;
};

/* A descriptor for rows. Anew, or behind the first bytes of what is there. -1: errno says why. */
int run_log_open(const char *path, bool anew);
int run_log_open_at(const char *path, long long end);

/* False: errno says why. */
bool run_log_write(int log, const struct run_log_row *row);

#endif
