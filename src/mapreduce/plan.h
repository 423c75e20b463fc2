/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The plan of a map-reduce: all that a rank must know of it before it can do its part. The root makes it from the options of the call, and
 * every rank that has threads gets a copy as bytes. Who has which partition follows from it: partition p belongs to the rank
 * owners[p % n_owners], so it depends on ranks; what is in a partition does not.
 *
 * A call has one plan, or two, one after the other, where what partitions by hash have reduced is made a sequence by ranges: then the sink
 * of the first is the second.
 */
#ifndef PMAP_MAPREDUCE_PLAN_H
#define PMAP_MAPREDUCE_PLAN_H

#include "mapreduce/input.h"
#include "mapreduce/output.h"

#include <stdint.h>

/* What becomes of the output of a partition on its rank. */
enum pmap__sink {
    PMAP__SINK_NONE,   /* it is counted, no more */
    PMAP__SINK_PARTS,  /* a file of its own in the directory output */
    PMAP__SINK_SHARED, /* its place in the one file output: known before, for every pair is a record of output */
    PMAP__SINK_STASH,  /* it is kept until the root asks for it, or as a dataset */
    PMAP__SINK_NEXT    /* it is emitted again, in the site next, whose partitions are ranges */
};

struct pmap__plan {
    uint64_t number;   /* of the site: not 0, and never the same twice in a process */
    uint64_t task;     /* the id of what->task */
    struct pmap_mapreduce *what;
    uint64_t ranks, root;
    uint64_t *threads; /* of each rank */
    uint64_t partitions;
    uint64_t n_owners, *owners; /* the ranks that have threads */
    uint64_t memory;   /* 0: by default */
    char *scratch;     /* NULL: by default */
    char *vault;       /* directory for the pairs of splits that are done (deposit.h); NULL: they are not kept */
    uint64_t deposits; /* the number of the files in it that rank 0 writes; those of the others follow */
    struct pmap__files files;
    uint64_t record_size, record_max;
    uint64_t staged;   /* emit only what whole splits emit, for splits may be run again */
    uint64_t ranges;   /* partitions are ranges */
    uint64_t sink;     /* enum pmap__sink */
    uint64_t plain;    /* there is neither combine nor reduce, whatever what says */
    uint64_t next;     /* SINK_NEXT: the number of that site; its plan is plain, */
    uint64_t before;   /* and has this one's number here: they share a budget */
    char *output;      /* SINK_PARTS: the directory; else NULL */
    uint64_t format;   /* enum pmap_format */
    char *separator;
    void *arg;
    uint64_t arg_size;
};

/* A plan as bytes, malloc'ed; PMAP_ENOMEM. */
enum pmap_status pmap__plan_encode(const struct pmap__plan *plan, void **bytes, size_t *size);
/* And back; what is found in this process. PMAP_ENOMEM; PMAP_EMISMATCH: these are not the bytes of a plan, or this rank has no such
 * map-reduce. Whether its numbers make sense here says sound.h. */
enum pmap_status pmap__plan_decode(const void *bytes, size_t size, struct pmap__plan *plan);
void pmap__plan_free(struct pmap__plan *plan); /* what it has */

static inline int pmap__plan_owner(const struct pmap__plan *plan, size_t partition)
{
    return (int)plan->owners[partition % plan->n_owners];
}

#endif
