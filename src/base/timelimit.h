/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How long this process may run: what the environment says, or else Slurm's squeue.
 *
 * PMAP_WALLTIME has seconds from now; 0: there is no limit that anybody should think of. Without it SLURM_JOB_END_TIME has the
 * end as Unix time (where Slurm sets it), and without that, inside a job (SLURM_JOB_ID), squeue is asked once. It
 * is a program that may take its time, so it is an inquiry that is looked at from time to time, and given up after
 * PMAP__INQUIRY_TIME.
 */
#ifndef PMAP_BASE_TIMELIMIT_H
#define PMAP_BASE_TIMELIMIT_H

#include "base/clock.h"

#include <stdbool.h>
#include <sys/types.h>

#define PMAP__INQUIRY_TIME (10 * PMAP__S)

enum pmap__limit { PMAP__LIMIT_NONE, PMAP__LIMIT_KNOWN, PMAP__LIMIT_ASK };

/* What the environment says; *left: ns from now, if it is known. */
enum pmap__limit pmap__limit_here(uint64_t *left);

/* What is wrong with PMAP_WALLTIME; NULL: nothing. */
const char *pmap__limit_complaint(void);

/* A time as squeue writes it, [[days-]hours:]minutes:seconds; false if it is none: UNLIMITED, INVALID. */
bool pmap__limit_parse(const char *text, uint64_t *ns);

/* Ask squeue. One thread. */
struct pmap__inquiry {
    pid_t process; /* 0: none */
    int answer;    /* what it writes */
    uint64_t until;
    char text[64];
    size_t size;
};

/* False if it cannot be asked. */
bool pmap__inquiry_begin(struct pmap__inquiry *inquiry);

/* Is it over? Then *left is ns from now, or 0 if it gave no time. */
bool pmap__inquiry_over(struct pmap__inquiry *inquiry, uint64_t *left);

/* Give it up. Does nothing if it is over, or never began. */
void pmap__inquiry_end(struct pmap__inquiry *inquiry);

#endif
