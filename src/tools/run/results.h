/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The tree of --results, GNU parallel's: DIR/1/ARGUMENT/2/ARGUMENT/{stdout,stderr,seq}; or, where DIR has replacement strings, files of
 * that name, with .err and .seq behind it.
 */
#ifndef PMAP_TOOLS_RUN_RESULTS_H
#define PMAP_TOOLS_RUN_RESULTS_H

#include "tools/run/order.h"
#include "tools/run/template.h"

struct run_results;

/* NULL: the name has {= =}. */
struct run_results *run_results_create(const char *name);
void run_results_destroy(struct run_results *results); /* NULL is fine */

/* Write what a job has put out; the file of standard output comes to its name last, as a whole. False: it cannot be, as the text says. */
bool run_results_save(struct run_results *results, const struct run_row *row, size_t sequence, size_t slot,
                      const struct run_outcome *outcome, char error[300]);

/* Is that there? */
bool run_results_has(struct run_results *results, const struct run_row *row, size_t sequence, size_t slot);

#endif
