/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Statistics of a pool, as data and as a table for people.
 */
#ifndef PMAP_OBSERVE_TABLE_H
#define PMAP_OBSERVE_TABLE_H

#include "observe/show.h"

/* Of a pool, and of one of its ranks, false if there is none; any thread. */
void pmap__table_fill(const struct pmap__shown *pool, struct pmap_stats *stats);
bool pmap__table_fill_rank(const struct pmap__shown *pool, int rank, struct pmap_rank_stats *stats);

/* Onto stderr, in one piece. */
void pmap__table_print(const struct pmap__shown *pool);

#endif
