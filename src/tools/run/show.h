/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What commands have written goes to standard output and error, of each command in one piece; with an order, in that of the input. What
 * has to wait for its turn waits in memory as long as that is little, then in a file without a name.
 */
#ifndef PMAP_TOOLS_RUN_SHOW_H
#define PMAP_TOOLS_RUN_SHOW_H

#include "tools/run/order.h"

struct run_show;

/* What one job leaves to be seen. */
struct run_page {
    char *heading; /* a line above its output, from malloc; NULL: none */
    char *tag;     /* before each line, from malloc; NULL: nothing */
    struct pmap_bytes result; /* an outcome, from malloc; {NULL}: there is no output */
};

struct run_show *run_show_create(bool keep_order);
void run_show_destroy(struct run_show *show); /* what still waits is dropped; NULL is fine */

/* The page of job number sequence, from 1, which becomes the show's; NULL: the job has none, and nobody waits for it. False: standard
 * output cannot be written, now or before, as errno says. */
bool run_show_put(struct run_show *show, size_t sequence, struct run_page *page);

/* One of the two outputs into a file. False: it cannot be read or written, as errno says. */
bool run_outcome_copy(const struct run_outcome *outcome, int which, int to, const char *tag);

#endif
