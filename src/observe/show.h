/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What people see of pools while they work: progress, and reports. It is off unless asked for: then a thread of its own looks at the
 * pools, ten times a second for progress, or when SIGUSR2 has come.
 */
#ifndef PMAP_OBSERVE_SHOW_H
#define PMAP_OBSERVE_SHOW_H

#include "engine/root.h"

/* A pool as it is observed, from begin to end. */
struct pmap__shown {
    struct pmap__tenant *tenant;
    bool progress, statistics, signals;
    uint64_t since;
    struct pmap__shown *next; /* of the process's */
};

/* What PMAP_PROGRESS, PMAP_PROGRESS_EVERY and PMAP_STATS say is wrong: the name of the first that makes no sense; NULL: none. */
const char *pmap__show_complaint(void);

/* The pool is there, and has made no call; its call is over, and it is about to leave. progress: it is wanted, unless the environment says no;
 * signals: SIGUSR2 asks for reports. */
void pmap__show_begin(struct pmap__shown *pool, struct pmap__tenant *tenant, bool progress, bool signals);
void pmap__show_end(struct pmap__shown *pool);

#endif
