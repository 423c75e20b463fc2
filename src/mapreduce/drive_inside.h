/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What the files of the root's side share: drive.c, which tells the story, and those that have a part of it each. Nobody else includes
 * this. All of it runs on the caller's thread, and a struct pmap__drive is there for one call.
 *
 * Functions that return a status have said why in d->error.
 */
#ifndef PMAP_MAPREDUCE_DRIVE_INSIDE_H
#define PMAP_MAPREDUCE_DRIVE_INSIDE_H

#include "mapreduce/drive.h"
#include "mapreduce/flights.h"
#include "mapreduce/plan.h"
#include "mapreduce/vault.h"

#define PMAP__DRIVE_PHASES 16
struct pmap__drive_phase {
    const char *name;
    uint64_t begin, end;
};

struct pmap__drive {
    const struct pmap_mapreduce_options *o;
    struct pmap_error *error;
    struct pmap__flight_rules rules, patient; /* for steps that may be run again: with the user's retries */
    struct pmap__vault *vault;  /* for the pairs of splits; NULL: they are not kept */
    struct pmap__plan plan;     /* of the site that the next step is for */
    struct pmap__plan next;     /* number 0: there is none; or it has the other's place, and the other is done */
    struct pmap__split *splits; /* of files */
    size_t n_splits;
    uint64_t *out_bytes;        /* by partition, if the sink is shared */
    uint64_t total;             /* their sum */
    bool begun;                 /* there may be sites */
    uint64_t since;
    struct pmap_mapreduce_stats stats;
    struct pmap__drive_phase phases[PMAP__DRIVE_PHASES]; /* that are over, */
    size_t n_phases;
    uint64_t phase_since;       /* and when the last of them was */
};

/* ---- drive.c ---- */

enum pmap_status pmap__drive_no_memory(struct pmap__drive *d); /* PMAP_ENOMEM */

/* A step for each rank that has threads, and their answers: see pmap__flights_all. */
enum pmap_status pmap__drive_all_ranks(struct pmap__drive *d, enum pmap__step_kind kind, const void *payload, size_t size,
                                       struct pmap_bytes answers[]);

/* ---- drive_plan.c ---- */

/* All of the plan but the files of the input; and the plan of the next site, if there will be one. */
enum pmap_status pmap__drive_plan_make(struct pmap__drive *d, struct pmap_mapreduce *what, const struct pmap__root *root);
/* Find the files, and cut them into splits. */
enum pmap_status pmap__drive_plan_files(struct pmap__drive *d);
/* Bytes of a split of an input that has so many in all. */
size_t pmap__drive_split_size(const struct pmap__drive *d, uint64_t total);

/* ---- drive_feed.c ---- */

/* Steps that are made one after the other. */
struct pmap__drive_feed {
    struct pmap__drive *d;
    /* Make the next step, which has a kind and a number already; false: there are no more. *payload is borrowed until the next one,
     * *aim is as for pmap__flights_send. */
    bool (*next)(struct pmap__drive_feed *feed, struct pmap__step *step, struct pmap_view *payload, int *aim);
    size_t i;       /* of the next split */
    size_t at;      /* arrays: of the next split's begin in bytes; generators: records so far; samples: places so far */
    struct pmap__split last; /* samples of files */
    size_t size;    /* arrays: bytes of a split */
    /* Generators: */
    bool ended;
    bool no_memory;
    char *batch;    /* records of a split */
    size_t used, room;
};

/* A feed of all the input, which is not files. */
void pmap__drive_feed_init(struct pmap__drive_feed *feed, struct pmap__drive *d);

/* Send all of its steps off, so many at a time, and end it. kind: SAMPLE or MAP; most: keys to sample. Answers are given to take, in the
 * order of the steps; it returns false if it has no memory. NULL: there is nothing in them. */
enum pmap_status pmap__drive_feed_run(struct pmap__drive_feed *feed, enum pmap__step_kind kind, size_t most,
                                      bool (*take)(void *taker, struct pmap_bytes answer), void *taker);

/* ---- drive_map.c ---- */

enum pmap_status pmap__drive_map(struct pmap__drive *d);

/* ---- drive_ranges.c ---- */

/* Sampled keys as records, side by side. */
struct pmap__drive_keys {
    char *bytes; /* for free() */
    size_t used, n;
};

/* Sample the input, and tell all ranks the borders of the partitions. */
enum pmap_status pmap__drive_find_borders(struct pmap__drive *d);
/* The same in two parts: the keys that are in the stores of a site now; and borders for d->plan. */
enum pmap_status pmap__drive_sample_stores(struct pmap__drive *d, struct pmap__drive_keys *keys);
enum pmap_status pmap__drive_set_borders(struct pmap__drive *d, const struct pmap__drive_keys *keys);

/* ---- drive_sequence.c ---- */

/* Fetch all stashes, in the order of the partitions, to the file of the call, which has its name then, or to its function. */
enum pmap_status pmap__drive_put_sequence(struct pmap__drive *d);

/* ---- drive_phases.c ---- */

/* The call begins; so much of it is over, under this name, a literal; it has ended. error is read if status is not PMAP_OK. */
void pmap__drive_observe(struct pmap__drive *d);
void pmap__drive_mark(struct pmap__drive *d, const char *name);
void pmap__drive_observed(struct pmap__drive *d, enum pmap_status status, const struct pmap_error *error);

/* ---- drive_counts.c ---- */

/* Add what the ranks have counted at the site of d->plan to the statistics. */
enum pmap_status pmap__drive_count(struct pmap__drive *d);
/* Print them on stderr, a line for each phase. */
void pmap__drive_print(const struct pmap__drive *d);

#endif
