/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * An emitter: where one thread of a rank puts what a function emits. Of map functions:
 *
 *   pmap_emit  ->  front  ->  a block for each partition  ->  the store of the partition, here or on another rank (shuffle.c)
 *
 * The front is there where short values are combined (front.h); keys that are too long for it pass by. What is in fronts and blocks at
 * the end of the map phase is brought on by DRAIN (steps.h).
 *
 * Where splits may be run again everything is staged: it goes nowhere before the split has ended well. The same where the pairs of splits are
 * kept for the next run of the program (deposit.h):
 *
 *   pmap_emit  ->  fore  ->  a deposit;  and from there, when the split has ended:  ->  front  ->  a block for each partition ...
 *
 * The fore is a front of the split's own, so that what is deposited is combined, as far as it goes. What a former run has deposited takes
 * the second half of the way.
 *
 * Of reduce functions, pairs go to the sink of their partition (reduce.c). If that is another site, the sink puts them into the thread's
 * emitter there, as if they were emitted by a map function whose split is the partition.
 */
#ifndef PMAP_MAPREDUCE_EMIT_H
#define PMAP_MAPREDUCE_EMIT_H

#include "mapreduce/front.h"
#include "mapreduce/site.h"

/* Sampled keys: records with no value, side by side. */
struct pmap__sample {
    char *bytes;
    size_t used, size, n, most;
};

/* Add a key, unless there are enough; false: no memory. */
bool pmap__sample_add(struct pmap__sample *sample, const void *key, size_t key_size);

struct pmap_emitter {
    struct pmap_queue queue; /* first: see pmap_mapreduce.h */
    struct pmap__site *site;
    enum pmap__emitter_role {
        PMAP__EMIT_MAP,
        PMAP__EMIT_STAGED,
        PMAP__EMIT_DEPOSIT,
        PMAP__EMIT_SAMPLE,
        PMAP__EMIT_REDUCE
    } role;
    bool failed;             /* nothing more is taken of this item */
    size_t value_size;       /* of combine; 0: any */
    uint64_t tag;            /* of the next pair, where values are not combined */
    struct pmap_source_of source;
    struct pmap__counts counts;

    struct pmap__front *front;   /* NULL: there is none, or it has been drained */
    double share;                /* from 0 to 1: how far through the front draining begins, so that emitters do not meet at a store */
    struct pmap__block **blocks; /* by partition; NULL: none yet */
    struct pmap__block *staged, *staged_last; /* STAGED: pairs of this split, in order, of any partition */
    struct pmap__front *fore;      /* DEPOSIT, where there is a front: empty between splits */
    struct pmap__deposit *deposit; /* of this split; NULL: there is none */
    struct pmap__claim claim;      /* of this split, */
    bool ended;                    /* which has ended well */
    struct pmap__counts before;    /* when it began */
    struct pmap__sample *sample; /* SAMPLE */
    uint64_t *out_bytes;     /* by partition: what its output will have; NULL: that is not known before */

    bool (*put)(struct pmap_emitter *out, const struct pmap__pair *pair); /* REDUCE */
    void *sink;
};

/* The emitter of a thread of this rank, made if need be, which only that thread may ask for; NULL: no memory. */
struct pmap_emitter *pmap__emitter_of(struct pmap__site *site, int thread);
void pmap__emitter_destroy(struct pmap_emitter *out); /* NULL is fine */

/* What is emitted next comes from this piece, which begins at offset and is there until its end. */
void pmap__emitter_piece(struct pmap_emitter *out, struct pmap_view piece, uint64_t offset);
void pmap__emitter_piece_end(struct pmap_emitter *out);

/* A split begins; its number is for tags, and the site's plan says whether it is staged. It has ended: bring on what was staged, or
 * deposited, or, if not well, drop it. claim: what it is, for a deposit, and size how many bytes, about; NULL: there shall be none. False: the item has failed. */
bool pmap__emitter_begin(struct pmap_emitter *out, uint64_t split, const struct pmap__claim *claim, uint64_t size);
bool pmap__emitter_end(struct pmap_emitter *out, bool well);

/* Or instead of both: bring on the pairs of a split that a former run has deposited. *found: false if they are not there, or damaged; then
 * nothing has been done. False: the item has failed. */
bool pmap__emitter_withdraw(struct pmap_emitter *out, uint64_t split, const struct pmap__claim *claim, bool *found);

/* Emit a pair, whose key and value point to something even if they have size 0. False: the item has failed. */
bool pmap__emitter_take(struct pmap_emitter *out, const struct pmap__pair *pair);

/* No split comes any more: bring all that it has to the stores, and free the front. Any thread. False: the item has failed. */
bool pmap__emitter_flush(struct pmap_emitter *out);

#endif
