/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * When to begin no more, as GNU parallel's --halt says it: soon,fail=3 or now,success=10% and so on.
 */
#ifndef PMAP_TOOLS_RUN_HALT_H
#define PMAP_TOOLS_RUN_HALT_H

#include <stdbool.h>
#include <stddef.h>

enum run_when { RUN_NEVER, RUN_SOON, RUN_NOW };
enum run_of { RUN_FAIL, RUN_SUCCESS, RUN_DONE };

struct run_halt {
    enum run_when when;
    enum run_of of;
    double number; /* jobs, or if percent, of a hundred */
    bool percent;
};

struct run_counts {
    size_t done, failed;
    size_t total; /* 0: not known */
};

/* False: it makes no sense; *halt is as it was. */
bool run_halt_parse(const char *text, struct run_halt *halt);

/* Is this the time? Never of a percentage of what is not known. */
bool run_halt_is_due(const struct run_halt *halt, const struct run_counts *counts);

/* The exit status of a farm that has halted with a job of this status, as waitpid has it. */
int run_halt_status(const struct run_halt *halt, const struct run_counts *counts, int status);

#endif
