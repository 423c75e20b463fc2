/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * One job, from its arguments to its end.
 */
#ifndef PMAP_TOOLS_RUN_JOB_H
#define PMAP_TOOLS_RUN_JOB_H

#include "tools/run/order.h"
#include "tools/run/template.h"

struct run_farm;

struct run_job {
    struct run_farm *farm;
    size_t sequence;        /* from 1, in the order of the input */
    size_t slot;            /* from 1; 0: it does not run */
    size_t tries;           /* that have failed */
    struct run_row row;
    char *line;             /* the command */
    struct pmap_bytes order, result;
    struct pmap_result *ready;
    struct pmap_error error; /* PMAP_OK: there is a result */
    double submitted;       /* by run_now */
    bool overdue;           /* it was cancelled since it takes longer than its rank was told */
    int exit, signal;       /* when it is over */
    struct run_job *next;   /* in whichever list it is */
};

#endif
