/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Memory: how much map-reduce may hold on a rank if nobody says, and a count of what it holds. The count refuses nothing. A table (table.h)
 * looks before it grows; whoever else takes looks afterwards, and spills if the limit is exceeded. So it is exceeded by what is taken
 * between two looks. */
#ifndef PMAP_MAPREDUCE_BUDGET_H
#define PMAP_MAPREDUCE_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Half of this rank's share, where ranks_here ranks run on the node: the other half is for the functions and the rest of the program. To
 * share is the least of what the node has available, what the cgroups of this process (version 1 or 2, up to the root) leave, and the
 * job's memory in Slurm. What RLIMIT_AS leaves is this rank's alone. Never less than PMAP__MEMORY_MIN, with which map-reduce works, if
 * slowly. */
#define PMAP__MEMORY_MIN ((uint64_t)16 << 20)
uint64_t pmap__memory_share(int ranks_here);

/* The same where /proc and /sys lie below root: for tests, and with "" for everyone. */
uint64_t pmap__memory_share_in(const char *root, int ranks_here);

/* Any thread takes and gives. Nothing is published by these numbers, so they are relaxed. */
struct pmap__budget {
    uint64_t limit;        /* set once, before threads */
    _Atomic uint64_t held; /* what was taken and not given back */
    _Atomic uint64_t peak; /* the most that held has been */
    _Atomic int users;     /* of one that several share: whoever leaves it last frees it */
};

static inline void pmap__budget_init(struct pmap__budget *budget, uint64_t limit)
{
    budget->limit = limit;
    atomic_init(&budget->held, 0);
    atomic_init(&budget->peak, 0);
}

static inline void pmap__budget_take(struct pmap__budget *budget, uint64_t n)
{
    uint64_t held = atomic_fetch_add_explicit(&budget->held, n, memory_order_relaxed) + n;
    uint64_t peak = atomic_load_explicit(&budget->peak, memory_order_relaxed);

    while (held > peak &&
           !atomic_compare_exchange_weak_explicit(&budget->peak, &peak, held, memory_order_relaxed, memory_order_relaxed))
        ; /* ends: peak only grows, and was read anew */
}

static inline void pmap__budget_give(struct pmap__budget *budget, uint64_t n)
{
    atomic_fetch_sub_explicit(&budget->held, n, memory_order_relaxed);
}

static inline uint64_t pmap__budget_held(const struct pmap__budget *budget)
{
    return atomic_load_explicit(&budget->held, memory_order_relaxed);
}

static inline uint64_t pmap__budget_peak(const struct pmap__budget *budget)
{
    return atomic_load_explicit(&budget->peak, memory_order_relaxed);
}

/* Are so many bytes left? */
static inline bool pmap__budget_has(const struct pmap__budget *budget, uint64_t n)
{
    uint64_t held = pmap__budget_held(budget);
    return held <= budget->limit && budget->limit - held >= n;
}

/* Bytes above the limit, or 0. */
static inline uint64_t pmap__budget_over(const struct pmap__budget *budget)
{
    uint64_t held = pmap__budget_held(budget);
    return held > budget->limit ? held - budget->limit : 0;
}

#endif
