/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Reducing a partition: its records in order, key by key, through the reduce function into the sink of the partition. Values of a key are
 * never gathered in memory: they are read as they are asked for.
 */
#ifndef PMAP_MAPREDUCE_REDUCE_H
#define PMAP_MAPREDUCE_REDUCE_H

#include "mapreduce/emit.h"
#include "mapreduce/steps.h"

/* Inside an item, which fails if something goes wrong; again: it may be run again, so the store stays as it is. aside: the shared file, if
 * that is the sink. */
void pmap__reduce_partition(struct pmap__site *site, const struct pmap__step *step, const char *aside, bool again);

#endif
