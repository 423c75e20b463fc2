/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A run: records (pair.h) in scratch, in compressed blocks. A writer gets them one by one, a reader gives them in the same order:
 * ascending, or, of a stash (stash.h), that of the output. Blocks hold whole records; a record that is longer than a block has several of
 * its own. What does not get much shorter is kept as it is.
 *
 * A source is anything that gives records one by one: a run's reader, records in memory, a merge of sources, the stash of another rank.
 * A source and a writer belong to one thread at a time; any number of them may use the same scratch at the same time. */
#ifndef PMAP_MAPREDUCE_RUN_H
#define PMAP_MAPREDUCE_RUN_H

#include "mapreduce/pair.h"
#include "mapreduce/scratch.h"
#include "mapreduce/sort.h"

#include <stdbool.h>

struct pmap__run_block {
    uint64_t at;
    size_t stored, size; /* in scratch, and uncompressed: equal if it is not compressed */
};

/* Called pmap__sorted, for pmap__run is what the engine calls the running of items. */
struct pmap__sorted {
    struct pmap__run_block *blocks;
    size_t n;
    uint64_t records, size, stored; /* sums */
    uint64_t check;                 /* 0, or a hash of the bytes in scratch, by which damage is found */
};

/* ---- Writing ---- */

struct pmap__sorted_writer;

/* block: bytes of a block, about; a few hundred KiB for throughput, 16 KiB where many runs are read at once. PMAP_ENOMEM. */
enum pmap_status pmap__sorted_begin(struct pmap__scratch *scratch, size_t block, struct pmap__sorted_writer **writer);
/* Before the first record: the run will have a check. */
void pmap__sorted_checked(struct pmap__sorted_writer *writer);
/* PMAP_ENOMEM or what scratch said: then the writer is good for pmap__sorted_abandon only. */
enum pmap_status pmap__sorted_put(struct pmap__sorted_writer *writer, const void *record, struct pmap_error *error);
/* The same for a record that is written to where this points, at once; size is at most that of a block. NULL: as on failure of put. */
void *pmap__sorted_reserve(struct pmap__sorted_writer *writer, size_t size, struct pmap_error *error);
/* End the block at hand. *n: how many blocks there are then. As put. */
enum pmap_status pmap__sorted_cut(struct pmap__sorted_writer *writer, size_t *n, struct pmap_error *error);
/* Ends the writer, well or not; *sorted only on success. On failure (as of put) nothing stays in scratch. */
enum pmap_status pmap__sorted_end(struct pmap__sorted_writer *writer, struct pmap__sorted *sorted, struct pmap_error *error);
/* Ends it and gives the scratch back. NULL is fine. */
void pmap__sorted_abandon(struct pmap__sorted_writer *writer);

/* Give its scratch back; *sorted is empty then. An empty one is fine. */
void pmap__sorted_free(struct pmap__scratch *scratch, struct pmap__sorted *sorted);

/* ---- Reading ---- */

struct pmap__source {
    /* *record: the next, there until the next call; NULL: there are no more. After an error the source can only be closed. */
    enum pmap_status (*next)(struct pmap__source *source, const void **record, struct pmap_error *error);
    void (*close)(struct pmap__source *source);
};

/* A reader of a run; it borrows *sorted and reads one block at a time. consume: the scratch of each block is given back as soon as it has
 * been read, and that of the others when the reader is closed; of the run there remains only to free(sorted->blocks). PMAP_ENOMEM. */
enum pmap_status pmap__sorted_open(struct pmap__scratch *scratch, const struct pmap__sorted *sorted, bool consume,
                                   struct pmap__source **source);

/* The records of block number *block, and of those after it that the last of them needs, malloc'ed; *block is the next one to read then.
 * *bytes is NULL behind the last. Any thread, any number of times. */
enum pmap_status pmap__sorted_read(struct pmap__scratch *scratch, const struct pmap__sorted *sorted, size_t *block, void **bytes,
                                   size_t *size, struct pmap_error *error);

/* The records of an array of entries, which is borrowed; prefixes are not looked at. PMAP_ENOMEM. */
enum pmap_status pmap__source_of_array(const struct pmap__sort_entry entries[], size_t n, struct pmap__source **source);

/* Read a run that has a check, as it is in scratch. *sound: it is what was written. PMAP_ENOMEM or what scratch said. */
enum pmap_status pmap__sorted_verify(struct pmap__scratch *scratch, const struct pmap__sorted *sorted, bool *sound,
                                     struct pmap_error *error);

/* ---- What it takes ---- */

/* Bytes of memory, compression included, at most: of a writer; of a reader; and of a thread while it reads a block, in addition to its
 * readers. Not in it: lists of blocks (24 bytes each), and a record that is longer than a block, which the reader holds as a whole. */
size_t pmap__sorted_writer_memory(size_t block);
size_t pmap__sorted_reader_memory(size_t block);
size_t pmap__sorted_unpack_memory(size_t block);

/* ---- Merging ---- */

/* Merge sources of ascending records, which become the merge's and are closed with it, on failure as well. Equal records come in the order
 * of the sources. PMAP_ENOMEM. */
enum pmap_status pmap__merge_open(struct pmap__source *const sources[], size_t n, struct pmap__source **source);

/* How values of equal keys become one; size 0: they do not. */
struct pmap__combine {
    size_t size;
    void (*fold)(void *acc, const void *value);
};

/* Merge the *n runs of an array until at most fan_in (2 at least) are left, writing as little as can be: the shortest first, so equal
 * records (the same tag, too) come in any order. runs[] changes its order; *merged goes up by the runs that were merged away. With
 * combine->size, records of one key become one, with the tag of the first. Runs are consumed as they are read. On failure those of the
 * merge at hand are gone; runs[] and *n are what is left, still the caller's to free. It takes the memory of a writer, of fan_in
 * readers, and to unpack; PMAP_ENOMEM or what scratch said. */
enum pmap_status pmap__sorted_merge_down(struct pmap__scratch *scratch, struct pmap__sorted runs[], size_t *n, size_t fan_in, size_t block,
                                         const struct pmap__combine *combine, uint64_t *merged, struct pmap_error *error);

#endif
