/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A pile: lean pairs (lean.h) of a partition in scratch, in no order. Where so many keys are different that a table in little memory would
 * fold few of them, they are put by as they come, with neither look-ups nor sorting, and come to a table when there is more memory for it:
 * when their partition, one of many, is reduced.
 *
 * A pile has no lock. Its memory is counted in a budget, but for the list of places. */
#ifndef PMAP_MAPREDUCE_PILE_H
#define PMAP_MAPREDUCE_PILE_H

#include "mapreduce/block.h"
#include "mapreduce/scratch.h"

struct pmap__pile_place {
    uint64_t at;
    size_t size;
};

struct pmap__pile {
    struct pmap__pile_place *places; /* of whole pairs in scratch; */
    size_t n, room;                  /* how many, and how many there may be */
    struct pmap__block *last;        /* what has not been written yet; NULL: nothing */
};

/* What the piles of a rank share. */
struct pmap__pile_common {
    struct pmap__budget *budget;
    struct pmap__scratch *scratch;
    size_t block;      /* bytes that are written at once, about */
    size_t value_size; /* of each pair */
};

static inline bool pmap__pile_is_empty(const struct pmap__pile *pile)
{
    return pile->last == NULL && pile->n == 0;
}

/* *block: where the next size bytes of pairs are to be written, by the caller. PMAP_ENOMEM, or what scratch said. */
enum pmap_status pmap__pile_room(struct pmap__pile *pile, const struct pmap__pile_common *common, size_t size, struct pmap__block **block,
                                 struct pmap_error *error);

/* Put size bytes of whole pairs on it. Likewise. */
enum pmap_status pmap__pile_add(struct pmap__pile *pile, const struct pmap__pile_common *common, const void *pairs, size_t size,
                                struct pmap_error *error);

/* The pairs at a place, as a block of the caller's. Likewise; what is there may be damaged. */
enum pmap_status pmap__pile_read(const struct pmap__pile *pile, const struct pmap__pile_common *common, size_t place,
                                 struct pmap__block **block, struct pmap_error *error);

/* Take pairs off, which are the caller's; it is not empty. Likewise. */
enum pmap_status pmap__pile_take(struct pmap__pile *pile, const struct pmap__pile_common *common, struct pmap__block **block,
                                 struct pmap_error *error);

/* Free all that it has; it is empty, and of use, again. */
void pmap__pile_clear(struct pmap__pile *pile, const struct pmap__pile_common *common);

#endif
