/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What a joblog says was done: rows of it are found again by the command, wherever it stands in the input now.
 *
 * A job is that of a row if its arguments, in the place that the row says, make the row's command. So where the command has no {#} or {%},
 * equal commands are the same job, and one that depends on its place is compared as if it were in the row's. Of equal jobs the k-th
 * is done if there are k rows.
 */
#ifndef PMAP_TOOLS_RUN_DONE_H
#define PMAP_TOOLS_RUN_DONE_H

#include "tools/run/template.h"

struct run_done;

/* From a file, which is borrowed only for the call. Only rows that succeeded count, or all. slots: that {%} may have stood for, the
 * highest. A last row that is not complete is none; *end is where it begins, or the end of the file. A file that is not there is
 * empty. NULL: it is no joblog, or cannot be read, as the text says. */
struct run_done *run_done_read(const char *path, bool succeeded, const struct run_template *template, size_t slots, long long *end,
                               char error[300]);
void run_done_free(struct run_done *done); /* NULL is fine */

/* Is a job of this row of arguments done? Each time it is asked is one job. */
bool run_done_take(struct run_done *done, const struct run_row *row);

#endif
