/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The root's side of a map-reduce: from the options of a call to its output, step by step, on the caller's thread. drive.c tells the story;
 * drive_*.c have a part of it each.
 */
#ifndef PMAP_MAPREDUCE_DRIVE_H
#define PMAP_MAPREDUCE_DRIVE_H

#include "engine/root.h"

#include <pmap_mapreduce.h>
#include <stdatomic.h>

/* Output that is kept: stashes on all ranks. */
struct pmap_dataset {
    struct pmap__tenant *tenant;
    struct pmap_mapreduce *what; /* of the call that made it */
    uint64_t number;             /* of its sites */
    size_t partitions, n_owners;
    uint64_t *owners;            /* ranks: partition p is on owners[p % n_owners] */
    uint64_t records, bytes;     /* of keys and values */
    atomic_int users; /* whoever may free it, and calls that read it */
};

struct pmap__vault;

/* Run a call whose options have been checked. vault: for the pairs of its splits, not open yet; NULL: they are not kept. */
enum pmap_status pmap__drive(struct pmap__tenant *tenant, struct pmap_mapreduce *what, const struct pmap_mapreduce_options *options,
                             struct pmap__vault *vault, struct pmap_error *error);

/* One more user of a dataset, or one less; the last one frees what it has on all ranks, and itself. */
void pmap__dataset_hold(struct pmap_dataset *dataset);
void pmap__dataset_release(struct pmap_dataset *dataset);

#endif
