/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What the root asks of a rank, an order to run one command, and the outcome that comes back: the only task there is.
 *
 * An outcome has the command's output with it. But what is long, and was written on the root's own rank, stays in its files, of which
 * the outcome then has the descriptors. On other ranks the output of one command has to fit into memory.
 */
#ifndef PMAP_TOOLS_RUN_ORDER_H
#define PMAP_TOOLS_RUN_ORDER_H

#include <pmap.h>

#include <sys/types.h>

enum { RUN_HOST = 64 };

struct run_order {
    size_t sequence, slot; /* for PARALLEL_SEQ and so on */
    double timeout;        /* seconds that the command may take; 0: any time */
    double limit;          /* the same, where it depends on how long others took: 0 as long as that is not known. Of all orders to a rank
                            * the last counts, also for commands that run by then */
    size_t free_memory;    /* bytes that must be free before it begins; below half of that it is ended, if it is the last to have begun */
    pid_t root;            /* for PARALLEL_PID */
    const char *shell, *line;
};

enum run_end {
    RUN_ENDED,     /* by itself */
    RUN_TIMED_OUT,
    RUN_NO_MEMORY, /* it was ended for want of memory, and should run again */
    RUN_CANCELLED  /* nobody asks what became of it */
};

struct run_outcome {
    double begin;     /* seconds since 1970 */
    double seconds;   /* that it took */
    int status;       /* as waitpid has it */
    enum run_end end;
    int files[2];     /* standard output and error, at any position; -1: */
    const char *data[2]; /* they are here */
    size_t sizes[2];
    char host[RUN_HOST];
};

/* What a later order would say about the limit: the root's own rank need not wait for one. */
void run_order_limit(double limit);

/* The order as an item of run_command. */
struct pmap_bytes run_order_pack(const struct run_order *order);

/* The outcome, which borrows the result of run_command. False: it is none. */
bool run_outcome_unpack(struct pmap_bytes result, struct run_outcome *outcome);

/* Its files, if it has some. */
void run_outcome_close(const struct run_outcome *outcome);

/* A file without a name, in $TMPDIR or /tmp. -1: errno says why. */
int run_file_open(void);

/* On each rank, before there are threads. */
void run_order_prepare(void);

struct pmap_bytes run_command(struct pmap_bytes order);
PMAP_BYTES_TASK(run_command);

#endif
