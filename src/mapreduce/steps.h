/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The steps of a map-reduce are items of a task: of the call's own struct pmap_mapreduce, so that texts name it. An item is a
 * struct pmap__step and what is behind it, its payload; a result is an answer. Some steps are for whoever is free, some for the owner of a
 * partition, some for each rank that has threads:
 *
 *   step      for          what                                           payload -> answer
 *   BEGIN     each rank    make a site                                    the plan
 *   SAMPLE    anybody      some keys of a piece of the input              as MAP -> records with keys
 *             each rank    or, with SPLIT_STORES, of its stores           -> the same
 *   BORDERS   each rank    where ranges begin, all but the first          records with keys
 *   NEAR      each rank    which splits of files are near                 all of them -> a byte for each
 *   MAP       anybody      map a split; of a dataset, on its owner.       of arrays and records: these
 *                          Or take its pairs from a deposit
 *   DRAIN     each rank    bring what one emitter has to stores;
 *                          as often as the rank has threads
 *   FLUSH     each rank    wait until all that was sent is in stores      -> bytes of output by partition; SINK_SHARED only
 *   REDUCE    the owner    reduce a partition                             SINK_SHARED: name of the file
 *   FETCH     the owner    a block of a stash                             -> number of the next block, records; nothing: no more
 *   COMMIT    each rank    files come to their names, or are closed
 *   COUNTS    each rank                                                   -> struct pmap__counts
 *   STOP      each rank    the call has failed: send nothing more,
 *                          wait until nothing is under way
 *   KEEP      each rank    free all but the stashes: it is a dataset now
 *   END       each rank    free the site
 *
 * The root makes one after the other (drive.c); all ranks have done all steps of a kind before it makes the next.
 */
#ifndef PMAP_MAPREDUCE_STEPS_H
#define PMAP_MAPREDUCE_STEPS_H

#include "mapreduce/deposit.h"
#include "mapreduce/input.h"

enum pmap__step_kind {
    PMAP__STEP_BEGIN = 1,
    PMAP__STEP_SAMPLE,
    PMAP__STEP_BORDERS,
    PMAP__STEP_NEAR,
    PMAP__STEP_MAP,
    PMAP__STEP_DRAIN,
    PMAP__STEP_FLUSH,
    PMAP__STEP_REDUCE,
    PMAP__STEP_FETCH,
    PMAP__STEP_COMMIT,
    PMAP__STEP_COUNTS,
    PMAP__STEP_STOP,
    PMAP__STEP_KEEP,
    PMAP__STEP_END
};

/* Where the bytes of a split are. */
enum pmap__split_kind {
    PMAP__SPLIT_FILE,    /* in a file of the plan */
    PMAP__SPLIT_HERE,    /* in the memory of the root, which is the only rank: split.begin is at address */
    PMAP__SPLIT_BEHIND,  /* behind the step */
    PMAP__SPLIT_RECORDS, /* likewise, each record with its size in 8 bytes in front of it, and padded to 8 */
    PMAP__SPLIT_DATASET, /* the partition of a dataset */
    PMAP__SPLIT_STORES   /* SAMPLE: what the rank has in its stores */
};

struct pmap__step {
    uint64_t kind;      /* enum pmap__step_kind */
    uint64_t number;    /* of the site: its plan's */
    uint64_t split_kind;
    struct pmap__split split;
    struct pmap__claim claim; /* MAP: to its deposit, or to one that is to be made */
    uint64_t address;   /* SPLIT_HERE */
    uint64_t partition; /* REDUCE, FETCH; SPLIT_DATASET: of the dataset */
    uint64_t block;     /* FETCH */
    uint64_t dataset;   /* SPLIT_DATASET: its number */
    uint64_t most;      /* SAMPLE: keys */
    uint64_t offset, total; /* REDUCE: of its place in the shared file, and bytes of all of that */
};

#endif
