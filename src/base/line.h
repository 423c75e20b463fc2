/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A waiting line: who is next. Higher priority goes first. Among equals it is first come, first served, in two classes that
 * take turns: single pieces of work, which one thread does at once, and bulk, which occupies many for long. So what is short
 * need not wait for the end of what is long, nor the long for all that is short. The line has no lock of its own, and
 * whoever stands in it brings the memory.
 */
#ifndef PMAP_BASE_LINE_H
#define PMAP_BASE_LINE_H

#include <stdbool.h>

/* One that may wait in a line; part of something larger. Start from {.priority, .single}. */
struct pmap__waiter {
    int priority;
    bool single;  /* otherwise bulk */
    bool waiting; /* in a line now */
    struct pmap__waiter *before, *after;
};

struct pmap__queue {
    struct pmap__waiter *first, *last; /* by priority, the highest first */
};

struct pmap__line {
    struct pmap__queue single, bulk;
};

/* Behind all with the same priority or a higher one. It must not wait already. */
void pmap__line_add(struct pmap__line *line, struct pmap__waiter *waiter);

/* Does nothing if it does not wait. */
void pmap__line_remove(struct pmap__line *line, struct pmap__waiter *waiter);

/* Who is next, for somebody whose last piece of work was a single one or not; it stays in the line. NULL if it is empty. */
struct pmap__waiter *pmap__line_next(const struct pmap__line *line, bool after_single);

#endif
