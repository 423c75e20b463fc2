/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The front of an emitter, where values are combined: a table of short keys of one thread. Frequent keys are folded in it; a key that
 * finds no room either passes on, or takes the place of one that is met less often, which passes on instead. It is a filter, so it need
 * not be right about what is frequent, and it never grows.
 *
 * It is larger than the core's nearest caches, for each key that it holds saves a way to the partition's table. So pairs wait in a batch
 * while their places are fetched, and what passes on does so in batches. There are two kinds:
 *
 *   wide     any short pair: a key is two words, zeros behind its bytes, and compared as such (front_wide.c);
 *   narrow   for sums of integers, where most keys have 11 bytes at most, and most sums 32 bits: half as large, so it holds twice as many
 *            pairs. Others pass by; where they are too many it becomes a wide one (front_narrow.c).
 *
 * Keys of more than PMAP__SHORT_KEY bytes pass by both, as the emitter sees to.
 */
#ifndef PMAP_MAPREDUCE_FRONT_H
#define PMAP_MAPREDUCE_FRONT_H

#include "mapreduce/run.h"

#include <pmap_mapreduce.h>
#include <stdbool.h>

#define PMAP__FRONT_BATCH PMAP_WAITING

/* n places, each bytes apart: pairs that pass on, and free places among them. They are borrowed for the call. */
typedef void pmap__front_pass_fn(void *owner, const struct pmap__short *places, size_t n, size_t each);

struct pmap__front_kind;

struct pmap__front {
    const struct pmap__front_kind *kind;
    char *places;       /* of its kind, in buckets: a key may be in any place of its bucket */
    size_t buckets;
    size_t held;        /* bytes of places that have not been given back, */
    unsigned given;     /* for so many parts have */
    size_t waiting;     /* in the batch */
    char *batch;        /* PMAP__FRONT_BATCH pairs, of the kind */
    char *passing;      /* what has found no room: as many pairs as the batch may have, */
    size_t passed;      /* and how many of them, while a narrow batch is filled */
    size_t each;        /* bytes of a wide place */
    struct pmap__combine combine;
    pmap__front_pass_fn *pass;
    void *owner;
    uint64_t pairs, pair_bytes, folded; /* that went in, and their bytes; those that were folded into others */
    uint64_t by;        /* of pairs, those that a narrow front has no places for */
};

/* size: bytes that its places may take, about; combine->size: at most PMAP__SHORT_VALUE. PMAP_ENOMEM. */
enum pmap_status pmap__front_create(size_t size, const struct pmap__combine *combine, pmap__front_pass_fn *pass, void *owner,
                                    struct pmap__front **front);
void pmap__front_destroy(struct pmap__front *front); /* NULL is fine */
size_t pmap__front_memory(const struct pmap__front *front); /* bytes of its places */

/* Nothing is added any more: pass on what is in a part of it, and give the memory of that part back. How many bytes; 0: all have been.
 * Parts come in the order of their keys' hashes, from share (below 1) of all on, and round. */
size_t pmap__front_shrink(struct pmap__front *front, double share);

/* Pass on all that is in it, or drop it; then it is as new, but for what it has counted. */
void pmap__front_empty(struct pmap__front *front, bool pass);

/* Fold a pair in, or pass it on; soon. key_size is at most PMAP__SHORT_KEY. */
void pmap__front_add(struct pmap__front *front, const void *key, size_t key_size, const void *value);

/* The same for what another front has passed. */
void pmap__front_add_places(struct pmap__front *front, const struct pmap__short *places, size_t n, size_t each);

/* The same for a batch at most of pairs of which 16 bytes can be read from where a key begins, and whose values have 8. */
void pmap__front_add_waiting(struct pmap__front *front, const struct pmap_waiting waiting[], size_t n);

#endif
