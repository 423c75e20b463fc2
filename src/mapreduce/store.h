/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A store: what a rank has of a partition that it owns. In memory it is a table (table.h) where values are combined, else a list of blocks
 * of records as map threads filled them; beyond memory, sorted runs in scratch. Any thread adds. A table that may not grow within the
 * budget becomes a run; when the budget of the rank is exceeded all the same, whoever notices makes a run of the largest store. But if few
 * pairs have found their keys in the table it goes to the pile (pile.h), and so do most of the short pairs that come after. When all has
 * been added, one thread takes up the pile and reads the store in order.
 */
#ifndef PMAP_MAPREDUCE_STORE_H
#define PMAP_MAPREDUCE_STORE_H

#include "mapreduce/pile.h"
#include "mapreduce/table.h"

#include <pthread.h>

struct pmap__store {
    pthread_mutex_t lock;       /* of all of this while pairs are added */
    struct pmap__table table;
    struct pmap__pile pile;
    size_t past_table;          /* so many pairs go to the pile before one comes to the table again */
    bool taking_up;             /* pairs come from the pile, and so not to it */
    struct pmap__block *blocks; /* of the list */
    size_t records, held;       /* of the list: how many, and bytes */
    struct pmap__sorted *runs;
    size_t n_runs, runs_room;
    size_t n_consumed;          /* of the runs, the first ones: whoever reads them gives their scratch back, and lists are what is left */
    atomic_size_t weight;       /* bytes in memory, as of the last addition: for finding the largest without a lock */
    uint64_t bytes;             /* of all records that were added */
    bool reading;               /* somebody reads it: it must stay as it is */
    struct pmap__store_common *common;
};

/* What the stores of a rank share. */
struct pmap__store_common {
    struct pmap__combine combine; /* size 0: values are not combined */
    struct pmap__budget *budget;
    struct pmap__scratch *scratch;
    size_t run_block;             /* bytes of a block of a run */
    bool piles;                   /* there may be some: nobody reads a store twice */
    struct pmap__pile_common pile;
    atomic_uint_fast64_t spills, spilled, spilled_disk, merged;
};

void pmap__store_init(struct pmap__store *store, struct pmap__store_common *common);
void pmap__store_fini(struct pmap__store *store);

/* Add the records of a block. Combined: the block stays the caller's. Else it is the store's from now on. Any thread. PMAP_ENOMEM, or what
 * scratch said: then some of them may be in it. */
enum pmap_status pmap__store_add(struct pmap__store *store, struct pmap__block *block, struct pmap_error *error);

/* Until the budget has room bytes left spill the largest of n stores, n times at most. Any thread. PMAP_ENOMEM, or what scratch said. */
enum pmap_status pmap__stores_relieve(struct pmap__store stores[], size_t n, size_t room, struct pmap_error *error);

/* Bring some pairs of the pile back into the table, which may grow to share bytes whatever the budget says. *grows: so many bytes it may
 * take the next time; 0: nothing is left on the pile. No thread adds any more. PMAP_ENOMEM, or what scratch said: pairs are lost then. */
enum pmap_status pmap__store_take_up(struct pmap__store *store, size_t share, size_t *grows, struct pmap_error *error);

/* All that has been added, but what is in the pile, in order, each record once; of keys that are combined there may still be several records, one behind the
 * other. keep: it can be read again; else the store is empty when the source is closed. any_order: so it may come if that is cheaper, but
 * then each key has one record. At most fan_in runs are read at once: if there are more, they are merged first. PMAP_ENOMEM, or what
 * scratch said: runs may be lost then. */
enum pmap_status pmap__store_open(struct pmap__store *store, bool keep, bool any_order, size_t fan_in, struct pmap__source **source,
                                  struct pmap_error *error);

/* Call each() with some of the keys in it, about so many, spread over all; what cannot be read is left out. No thread adds. */
void pmap__store_sample(struct pmap__store *store, size_t most, void (*each)(const void *key, size_t size, void *argument), void *argument);

#endif
