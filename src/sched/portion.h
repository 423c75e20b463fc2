/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How much to hand out. A worker (a rank with its threads, or one thread of the root) is about to get the next
 * items of a job; this says how many, in what pieces its threads should take them, and how many it may hold.
 * Integers in, integers out: no clock, no thread, no message, so that every decision can be tested as a table.
 *
 * The idea. Handing out costs time, so a chunk must not be too small; whoever gets the last chunk makes the others
 * wait, so it must not be too large; and neighbouring items are often alike, so a large early chunk may catch
 * all the long ones. Therefore:
 *
 *   - a chunk is sized in measured time: a first probe of one item per thread, then about PMAP__QUANTUM of work per
 *     thread, whatever an item costs;
 *   - longer only if so many ranks ask that the root would spend more than half of its time serving them;
 *   - never more than half of the worker's fair share of what is left, so that the tail shrinks to single items. The
 *     fair share is by measured rate, so that a slow rank gets small chunks;
 *   - a rank holds more than it runs, so that its threads need not wait for the round trip, unless an item is so
 *     long that the wait does not matter, or so few are left that they are better kept for whoever is free;
 *   - never more than PMAP__PAYLOAD_MAX bytes of items and results at one rank, where the choice is ours.
 *
 * A user's chunksize is obeyed exactly; then only the number of chunks that a rank holds is ours.
 */
#ifndef PMAP_SCHED_PORTION_H
#define PMAP_SCHED_PORTION_H

#include <stddef.h>
#include <stdint.h>

#define PMAP__QUANTUM UINT64_C(1000000)       /* ns: hand-out costs of some us are then below 1 % */
#define PMAP__LONG_ITEM UINT64_C(50000000)    /* ns: a wait of up to 0.5 ms for the next one is then below 1 % */
#define PMAP__DEPTH_TIME UINT64_C(200000)     /* ns of fixed chunks to hold: several round trips */
#define PMAP__DEPTH_MAX 16                    /* fixed chunks to hold per thread, at most */
#define PMAP__PAYLOAD_MAX (UINT64_C(64) << 20)

/* A share of the whole: PMAP__WHOLE is all of it. */
#define PMAP__WHOLE (UINT64_C(1) << 32)

/* Who asks, and what is known. */
struct pmap__demand {
    size_t left;         /* items of the job that nobody has yet; at least 1 */
    size_t chunksize;    /* the user's; 0: ours to choose */
    size_t item_bytes;   /* of an item and its result on their way to and from this worker; 0: they stay in place */
    int threads;         /* of this worker, at least 1 */
    int all_threads;     /* of all workers together, at least threads */
    int ranks;           /* how many ranks the root serves by messages */
    uint64_t item_ns;    /* mean time of an item on one thread of this worker; 0: not measured */
    uint64_t service_ns; /* what the root spends on one chunk */
    uint64_t share;      /* this worker's part of all workers' measured rates, of PMAP__WHOLE; 0: not measured */
};

struct pmap__portion {
    size_t chunk;  /* items to hand out now, 1 … left */
    size_t grain;  /* items that one thread takes at a time, 1 … chunk */
    size_t hold;   /* chunks of this job that the worker may hold, this one included; at least 1 */
};

struct pmap__portion pmap__portion_next(const struct pmap__demand *demand);

/* The rate of a worker for shares, threads / item_ns in a unit of its own; 0 only if item_ns is 0. */
uint64_t pmap__rate(int threads, uint64_t item_ns);

/* part / all, of PMAP__WHOLE; at least 1 if part is not 0. */
uint64_t pmap__share(uint64_t part, uint64_t all);

/* A running mean of item times that forgets: the past counts half at each new measurement, and a measurement
 * counts by its items, so that one probe on a cold cache is soon outweighed. Start from {0}. */
struct pmap__meter {
    uint64_t ns, items;
};
void pmap__meter_add(struct pmap__meter *meter, uint64_t ns, uint64_t items);
uint64_t pmap__meter_mean(const struct pmap__meter *meter); /* 0: nothing measured; otherwise at least 1 */

#endif
