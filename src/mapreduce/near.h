/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Which split a rank gets next, where some are near: one that is near to it, as long as there is one; else one that is near to nobody;
 * else any. Within each of these, in order. So who asks first takes what suits it, and nobody idles because nothing does.
 */
#ifndef PMAP_MAPREDUCE_NEAR_H
#define PMAP_MAPREDUCE_NEAR_H

#include <pmap.h>

struct pmap__near;

/* n splits, of ranks. near[rank][split] is not 0 if the split is near to the rank; near[rank] may be NULL: none is. It is not kept.
 * PMAP_ENOMEM. */
enum pmap_status pmap__near_create(size_t n, size_t ranks, const char *const near[], struct pmap__near **made);
void pmap__near_destroy(struct pmap__near *near); /* NULL is fine */

/* The next split for a rank. Any thread, n times in all. */
size_t pmap__near_next(struct pmap__near *near, size_t rank);

#endif
