/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Deposits: the pairs of splits that are done, in files beside the journal of the pool, so that the next run of the program need not map
 * these splits again. The root makes a directory for each call and knows what is in it (vault.h); each rank adds to it, and takes from it
 * what any rank has added, in this run or in a former one.
 *
 * A rank that maps a split has two files in the directory, NUMBER.pairs and NUMBER.index:
 *
 *   - the pairs of each split are a run (run.h) in the first, in the order in which they were emitted, and its list of blocks is behind it;
 *   - when all of that is written, the second gets an entry, 48 bytes: what the split is, and where its list is.
 *
 * So whatever moment the process is killed at, what the index has is whole, as long as the machine lives. If that loses power, or a disk
 * fails, sums tell: of an entry, of a list, of the bytes of all blocks. A deposit that is not what it was is as if it had not been made.
 *
 * Any thread of a rank makes deposits and takes them, each by itself.
 */
#ifndef PMAP_MAPREDUCE_DEPOSIT_H
#define PMAP_MAPREDUCE_DEPOSIT_H

#include "mapreduce/pair.h"

#include <pmap.h>
#include <stdbool.h>

/* What a split is, and where its deposit. */
struct pmap__claim {
    uint64_t high, low;      /* a hash of all that its pairs depend on (vault.c); 0, 0: there is no vault for it */
    uint64_t file, at, size; /* its list: in which file, and where; size 0: nowhere */
};

/* An entry of an index. */
struct pmap__deposit_entry {
    struct pmap__claim claim;
    uint64_t sum; /* of it */
};
uint64_t pmap__claim_sum(const struct pmap__claim *claim);

/* What was counted while the split was mapped. */
struct pmap__deposit_counts {
    uint64_t bytes_in, pairs, pair_bytes, combined;
};

/* Names of the two files with this number, in a directory. */
#define PMAP__DEPOSIT_PATH "%s/%016" PRIx64 "%s"
#define PMAP__DEPOSIT_PAIRS ".pairs"
#define PMAP__DEPOSIT_INDEX ".index"

/* ---- A rank's ---- */

struct pmap__deposits;

/* file: the number of the files that this rank writes, which nobody else does; they are made with the first deposit. *deposits is NULL
 * if the directory is not there on this rank: it says so, and that is all. PMAP_ENOMEM. */
enum pmap_status pmap__deposits_create(const char *directory, uint64_t file, struct pmap__deposits **deposits);
void pmap__deposits_destroy(struct pmap__deposits *deposits); /* NULL is fine */

/* ---- Making one ---- */

struct pmap__deposit;

/* Each of these: PMAP_OK; PMAP_EJOURNAL, and why; PMAP_ENOMEM. */
enum pmap_status pmap__deposit_begin(struct pmap__deposits *deposits, struct pmap__deposit **deposit, struct pmap_error *error);
enum pmap_status pmap__deposit_put(struct pmap__deposit *deposit, const struct pmap__pair *pair, struct pmap_error *error);
/* Where a pair shall be written that has so many bytes as a record, a few hundred at most; NULL: no. */
void *pmap__deposit_reserve(struct pmap__deposit *deposit, size_t size, struct pmap_error *error);
/* *mark: what has been put so far, for pmap__deposit_open. */
enum pmap_status pmap__deposit_mark(struct pmap__deposit *deposit, size_t *mark, struct pmap_error *error);
/* It is there, and claim says where, or nothing is. The deposit is gone. */
enum pmap_status pmap__deposit_end(struct pmap__deposit *deposit, const struct pmap__deposit_counts *counts, struct pmap__claim *claim,
                                   struct pmap_error *error);
void pmap__deposit_abandon(struct pmap__deposit *deposit); /* NULL is fine */

/* ---- Taking one ---- */

struct pmap__withdrawal;

/* *withdrawal is NULL if there is no such thing, or it is not what it was. PMAP_ENOMEM. */
enum pmap_status pmap__deposit_open(struct pmap__deposits *deposits, const struct pmap__claim *claim, struct pmap__withdrawal **withdrawal);
/* The same for one that this rank has made just now, and of that only what had been put up to a mark. */
enum pmap_status pmap__deposit_open_part(struct pmap__deposits *deposits, const struct pmap__claim *claim, size_t mark,
                                         struct pmap__withdrawal **withdrawal);
struct pmap__deposit_counts pmap__withdrawal_counts(const struct pmap__withdrawal *withdrawal);
/* *record: the next pair (pair.h), whose tag means nothing, until the next call; NULL: there are no more. PMAP_EJOURNAL, PMAP_ENOMEM. */
enum pmap_status pmap__withdrawal_next(struct pmap__withdrawal *withdrawal, const void **record, struct pmap_error *error);
void pmap__withdrawal_close(struct pmap__withdrawal *withdrawal); /* NULL is fine */

#endif
