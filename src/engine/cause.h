/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Why nothing more of a pool, or of a job, is begun: a signal came, the program asked for it, or the walltime ends. It is set
 * once; later causes are none.
 */
#ifndef PMAP_ENGINE_CAUSE_H
#define PMAP_ENGINE_CAUSE_H

#include <pmap.h>
#include <stdatomic.h>

/* What happened: the number of a signal, which is above 0, or one of these. */
enum { PMAP__NOT_INTERRUPTED = 0, PMAP__ASKED = -1, PMAP__WALLTIME = -2 };

struct pmap__cause {
    atomic_int what;                  /* set last, under the root's lock; anybody reads */
    /* Of the walltime: ns that were left; and how long an item takes, and how many would go out together. 0: it does not matter. */
    atomic_uint_fast64_t left, item, items;
};

static inline void pmap__cause_init(struct pmap__cause *cause)
{
    atomic_init(&cause->what, PMAP__NOT_INTERRUPTED);
    atomic_init(&cause->left, 0);
    atomic_init(&cause->item, 0);
    atomic_init(&cause->items, 0);
}

/* Any thread, and async-signal-safe. */
static inline bool pmap__cause_is_set(const struct pmap__cause *cause)
{
    return atomic_load(&cause->what) != PMAP__NOT_INTERRUPTED;
}

/* Unless it is set. Under the root's lock. */
void pmap__cause_set(struct pmap__cause *cause, int what, uint64_t left, uint64_t item, size_t items);

/* PMAP_EINTERRUPTED with a text: what call, why, and then, if it is not NULL, what that means. */
enum pmap_status pmap__cause_error(const struct pmap__cause *cause, const char *call, const char *so,
                                   struct pmap_error *error);

#endif
