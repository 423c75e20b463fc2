/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A stash: the output of a partition, kept as records (pair.h) in the order of the output until somebody reads them, block by block, any
 * number of times. In memory as long as the budget allows, else in scratch: all of it, from the moment that it does not.
 */
#ifndef PMAP_MAPREDUCE_STASH_H
#define PMAP_MAPREDUCE_STASH_H

#include "mapreduce/store.h"

struct pmap__stash {
    struct pmap__block *first, *last; /* in memory; or */
    struct pmap__sorted_writer *writer;
    struct pmap__sorted run;
    struct pmap__budget *budget;
    struct pmap__scratch *scratch;
    size_t block;
    uint64_t records, bytes;          /* of keys and values */
};

void pmap__stash_init(struct pmap__stash *stash, struct pmap__budget *budget, struct pmap__scratch *scratch, size_t block);
void pmap__stash_fini(struct pmap__stash *stash);

/* Add a pair, or end adding. PMAP_ENOMEM, or what scratch said: then it is good for clear or fini only. */
enum pmap_status pmap__stash_put(struct pmap__stash *stash, const struct pmap__pair *pair, struct pmap_error *error);
enum pmap_status pmap__stash_end(struct pmap__stash *stash, struct pmap_error *error);

/* Drop all; it can be filled again. */
void pmap__stash_clear(struct pmap__stash *stash);

/* The records of block number *block, malloc'ed; *block is the next one to read then. *bytes is NULL and *size 0 behind the last. */
enum pmap_status pmap__stash_read(const struct pmap__stash *stash, size_t *block, void **bytes, size_t *size, struct pmap_error *error);

#endif
