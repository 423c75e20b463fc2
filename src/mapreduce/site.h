/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A site: a rank's part in a map-reduce. It is made by the first step of a call (steps.h) and is gone after the last, or stays as a part of
 * a dataset. Between the two it has
 *
 *   - an emitter for each thread of the rank (emit.h), which collects what map functions emit, by partition;
 *   - a store for each partition that the rank owns (store.h): what emitters of all ranks have brought;
 *   - a stash or a file for each such partition, once it is reduced: the output;
 *   - the way between (shuffle.c): a full block of an emitter goes into a store here, or as a letter to the rank that owns the partition.
 *
 * A call whose output is sorted once more has two sites on a rank: the first reduces into the emitters of the second (plan.h). The second
 * uses the budget of the first, which must be there as long as it is.
 *
 * What bounds memory: one budget counts the fronts and blocks of the emitters, what is in the stores and will be taken to sort it, stashes,
 * and letters that are on their way. A sender has at most a window of bytes, or one block, on their way to each other rank, until that
 * acknowledges them, which it does when they are in a store. Who waits for that handles what arrives meanwhile, if it is its rank's loop
 * that would. Who receives never waits for anybody, so nobody waits for ever. What exceeds the budget goes to scratch.
 */
#ifndef PMAP_MAPREDUCE_SITE_H
#define PMAP_MAPREDUCE_SITE_H

#include "engine/item.h"
#include "engine/post.h"
#include "mapreduce/deposit.h"
#include "mapreduce/plan.h"
#include "mapreduce/stash.h"
#include "mapreduce/store.h"

/* What a rank counts; the root adds them up. */
struct pmap__counts {
    uint64_t bytes_in, pairs, pair_bytes, combined, shuffled;
    uint64_t found; /* splits that a former run had mapped */
    uint64_t spills, spilled, spilled_disk, merges;
    uint64_t keys, records_out, bytes_out;
    uint64_t memory_limit, memory_peak;
    uint64_t largest_values, largest_bytes; /* of one key */
    uint64_t partition_max, partition_sum;  /* bytes */
    char largest_key[64];
};

/* Which of two groups is the larger one: by values, then by their bytes. */
static inline bool pmap__is_larger(uint64_t values, uint64_t bytes, uint64_t than_values, uint64_t than_bytes)
{
    return values > than_values || (values == than_values && bytes > than_bytes);
}

struct pmap__site {
    struct pmap__resident resident; /* first */
    struct pmap__plan plan;
    int rank;
    const struct pmap__place *place;
    struct pmap__post *post;
    struct pmap__site *before;       /* whose budget it shares; NULL: it has its own */
    struct pmap__budget *budget;     /* its own, or the one of the site before; allocated */
    struct pmap__scratch *scratch;
    struct pmap__deposits *deposits; /* NULL: pairs of splits are not kept for the next run */
    struct pmap__store_common common;
    struct pmap__store *stores;      /* by partition; those of others stay empty */
    struct pmap__stash *stashes;     /* likewise */
    struct pmap__outfile **files;    /* likewise; NULL: none yet */
    struct pmap_emitter **emitters;  /* by thread; made by the thread that first needs one */
    size_t n_emitters;               /* threads, or 1 */
    atomic_size_t drained;           /* emitters that somebody drains, or has drained */
    size_t block;                    /* bytes of an emitter's block */
    size_t front;                    /* bytes of an emitter's front; 0: none */
    struct pmap__formatter formatter;
    char **borders;                  /* of ranges: the first key of each partition but the first, */
    size_t *border_sizes;
    uint64_t *border_prefixes;       /* its first eight bytes, as pmap__record_prefix has them; partitions - 1 of each */

    /* Shuffle */
    size_t window;                   /* bytes on their way to one rank */
    atomic_size_t *under_way;        /* to each rank */
    atomic_bool *lost;               /* each rank is dead, and acknowledges nothing */
    pthread_mutex_t lock;            /* with it one waits for changed: something was acknowledged */
    pthread_cond_t changed;
    atomic_uint_fast64_t shuffled;   /* bytes sent */
    atomic_bool failed;              /* what arrived could not be kept, or the call is over: error says why */
    struct pmap_error error;         /* under the lock */

    struct pmap__counts counts;      /* of reduce steps and emitters that are done; under the lock */
};

/* A site for a plan, which it takes; before: the site whose budget it shares, NULL: none. PMAP_ENOMEM. */
enum pmap_status pmap__site_create(struct pmap__plan *plan, const struct pmap__place *place, struct pmap__site *before,
                                   struct pmap__site **site);
void pmap__site_destroy(struct pmap__site *site); /* it has left the post; NULL is fine */

/* Something went wrong outside of an item: items will hear of it. The first one counts. */
void pmap__site_fail(struct pmap__site *site, enum pmap_status status, const struct pmap_error *error);
/* Fail the item that runs, if something has; true if so. */
bool pmap__site_check(struct pmap__site *site);
/* Fail the item that runs with this status, whose error may be without a text (PMAP_ENOMEM). */
void pmap__site_fail_item(enum pmap_status status, const struct pmap_error *error);

/* ---- shuffle.c ---- */

/* Bring a block of records of one partition to its store. It is the site's from now on, but if *kept, which is set then: where values are
 * combined and the partition is ours. False: the item has failed, or is cancelled. */
bool pmap__shuffle_block(struct pmap__site *site, size_t partition, struct pmap__block *block, bool *kept);

/* Spill what stores have until the budget has room bytes left. False: the item has failed. */
bool pmap__shuffle_relieve(struct pmap__site *site, size_t room);

/* Bring the pile of a partition back into its table, which may grow to share bytes; what else can be spilled makes room for it, up to what
 * the site last has, to which output goes. False: the item has failed. */
bool pmap__shuffle_take_up(struct pmap__site *site, size_t partition, size_t share, struct pmap__site *last);

/* Wait until all that this rank has sent is in stores; whatever: also if the call has failed, or is cancelled. False as above. */
bool pmap__shuffle_settle(struct pmap__site *site, bool whatever);

/* A rank is dead. If it had a part in this, the call has failed. */
void pmap__shuffle_lost(struct pmap__resident *resident, int rank);

void pmap__shuffle_arrived(struct pmap__resident *resident, struct pmap__letter *letter);

#endif
