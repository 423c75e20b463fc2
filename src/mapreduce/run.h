/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A run: records (pair.h) in ascending order, in scratch, in compressed blocks. A writer gets them one by one, a reader gives them in the same
 * order. Blocks hold whole records; a record that is longer than a block is a block of its own. What does not get shorter is kept as it
 * is.
 *
 * A source is anything that gives records in ascending order: a run's reader, an array of records in memory, a merge of sources. */
#ifndef PMAP_MAPREDUCE_RUN_H
#define PMAP_MAPREDUCE_RUN_H

#include "mapreduce/pair.h"
#include "mapreduce/scratch.h"

struct pmap__run_block {
    uint64_t at;
    size_t stored, size; /* in scratch, and uncompressed: equal if it is not compressed */
};

/* Called pmap__sorted, for pmap__run is what the engine calls the running of items. */
struct pmap__sorted {
    struct pmap__run_block *blocks;
    size_t n;
    uint64_t records, size, stored; /* sums */
};

struct pmap__sorted_writer;
/* block: bytes of a block, about. PMAP_ENOMEM. */
enum pmap_status pmap__sorted_begin(struct pmap__scratch *scratch, size_t block, struct pmap__sorted_writer **writer);
enum pmap_status pmap__sorted_put(struct pmap__sorted_writer *writer, const void *record, struct pmap_error *error);
/* Ends the writer, well or not. *sorted only on success; error NULL: drop what was written. PMAP_ENOMEM or what scratch said. */
enum pmap_status pmap__sorted_end(struct pmap__sorted_writer *writer, struct pmap__sorted *sorted, struct pmap_error *error);
void pmap__sorted_abandon(struct pmap__sorted_writer *writer); /* NULL is fine */

/* Give its scratch back. */
void pmap__sorted_free(struct pmap__scratch *scratch, struct pmap__sorted *sorted);

struct pmap__source {
    /* *record: the next, there until the next call; NULL: there are no more. */
    enum pmap_status (*next)(struct pmap__source *source, const void **record, struct pmap_error *error);
    void (*close)(struct pmap__source *source);
};

/* A reader of a run; consume: each block's scratch is given back as soon as it has been read, and the caller need not free the run but for
 * free(sorted->blocks). Borrows *sorted. It reads one block at a time. PMAP_ENOMEM. */
enum pmap_status pmap__sorted_open(struct pmap__scratch *scratch, const struct pmap__sorted *sorted, bool consume,
                                   struct pmap__source **source);

/* The records of an array, which is borrowed. PMAP_ENOMEM. */
enum pmap_status pmap__source_of_array(const void *const records[], size_t n, struct pmap__source **source);

/* Merge sources, which become the merge's and are closed with it, on failure as well. Equal records come in the order of the sources. PMAP_ENOMEM. */
enum pmap_status pmap__merge_open(struct pmap__source *const sources[], size_t n, struct pmap__source **source);

/* How values of equal keys become one; size 0: they do not. */
struct pmap__combine {
    size_t size;
    void (*fold)(void *acc, const void *value);
};

/* Merge the *n runs of an array, the first ones first, into so few that at most fan_in are left, writing as little as can be; *merged counts those that
 * were merged away. With combine->size, records of one key become one. */
enum pmap_status pmap__sorted_merge_down(struct pmap__scratch *scratch, struct pmap__sorted runs[], size_t *n, size_t fan_in, size_t block,
                                         const struct pmap__combine *combine, uint64_t *merged, struct pmap_error *error);

#endif
