/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What a trace says of a run, as arrays; doc/trace.md has the words. Times are nanoseconds since time 0 of the trace.
 *
 * A trace comes from a file that anybody may have written: numbers that make no sense are brought into a range in which nothing
 * overflows, and what refers to something that is not there refers to nothing.
 */
#ifndef PMAP_REPORT_RUN_H
#define PMAP_REPORT_RUN_H

#include <pmap.h>
#include <stdio.h>

#define PMAP__NONE UINT32_MAX /* an index of nothing */

/* One item on a thread, or several that were gathered or joined. */
struct pmap__report_span {
    int64_t begin, end;
    int64_t busy;      /* in items: end - begin, less the pauses */
    int64_t longest;   /* item of these, as far as it is known */
    uint64_t item, n;  /* the first, and how many: at least 1 */
    uint64_t number;   /* of the call */
    uint64_t chunk;    /* number of the chunk that brought it; 0: none */
    uint64_t failed, given_up;
    uint32_t call;     /* index in calls */
    uint32_t lane;     /* index in lanes */
    uint32_t task;     /* a name: of the task, in a map-reduce with what was done */
    int rank, thread, attempt;
};

struct pmap__lane {
    int rank, thread;
    uint32_t rank_index;
    size_t first, n; /* its spans, in the order of time */
};

struct pmap__rank {
    int rank;
    uint32_t host;   /* index in names */
    uint32_t first;  /* its lanes */
    uint32_t threads;
    int64_t ready;   /* when it had been created; 0: unknown */
    int64_t lost;    /* when it died; -1: it did not */
};

struct pmap__call {
    uint64_t number, to;        /* to: the last of those that are joined here */
    uint64_t calls;
    int64_t begin, end;
    uint32_t function, task;    /* names */
    uint32_t status, error;     /* names; error may be PMAP__NONE */
    uint64_t n, chunksize, items, failed, given_up, skipped, known, retried;
    bool ends;                  /* while it is read: this is the second half */
};

struct pmap__chunk {
    uint64_t number, call_number;
    int64_t begin, end;
    int rank;
    uint32_t status;            /* a name */
    uint64_t item, n, chunks, bytes_out, bytes_in;
    int64_t send, transfer, queue, run, answer;
    bool ends;
};

/* What map-reduce or the creation of a pool was busy with. Numbers that are not known are -1. */
struct pmap__report_phase {
    uint32_t name;
    uint64_t number;            /* of the call */
    int64_t begin, end;
    int rank, thread;
    double items, records_in, records_out, bytes_in, bytes_out, bytes_sent, bytes_spilled;
};

struct pmap__bin {
    int64_t from, to;
    uint64_t items;
};

/* Everything of one function and task, exact whatever was joined. */
struct pmap__total {
    uint32_t function, task; /* names */
    uint64_t calls, items, failed, given_up, skipped;
    int64_t busy, shortest, longest;
    struct pmap__bin *histogram;
    size_t n_histogram;
};

struct pmap__run {
    char *file, *command, *started, *version; /* malloc'ed */
    bool is_pmap, complete;
    int format;
    int64_t end;                 /* of the run */
    uint64_t spans_noted, spans_kept, items, failed, given_up, skipped;
    int64_t clock_error;         /* the largest of all ranks */
    char **names;
    struct pmap__report_span *spans;    /* by lane, then by time */
    struct pmap__lane *lanes;    /* by rank, then by thread */
    struct pmap__rank *ranks;
    struct pmap__call *calls;    /* by number */
    struct pmap__chunk *chunks;  /* by rank, then by time */
    struct pmap__report_phase *phases, *startups;
    struct pmap__total *totals;
    size_t n_names, n_spans, n_lanes, n_ranks, n_calls, n_chunks, n_phases, n_startups, n_totals;
};

/* Read a trace. PMAP_EINVAL: it is none, or none of pmap's, or a newer one's; PMAP_ENOMEM. Then *run is as if nothing had been read. */
enum pmap_status pmap__run_read(struct pmap__run *run, FILE *in, const char *name, struct pmap_error *error);
void pmap__run_fini(struct pmap__run *run);

/* A name by its index; "" for PMAP__NONE. */
const char *pmap__run_name(const struct pmap__run *run, uint32_t name);

/* Mean time of an item of a span. */
static inline double pmap__span_item(const struct pmap__report_span *span)
{
    return (double)span->busy / (double)span->n;
}

#endif
