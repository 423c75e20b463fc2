/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Mapping a split: its bytes, in pieces of whole records, or the pairs of a dataset's partition, go through the map function into the
 * emitter of the thread.
 */
#ifndef PMAP_MAPREDUCE_MAP_H
#define PMAP_MAPREDUCE_MAP_H

#include "mapreduce/emit.h"
#include "mapreduce/steps.h"

/* Map, inside an item, which fails if something goes wrong. payload: what is behind the step. */
void pmap__map_split(struct pmap__site *site, int thread, const struct pmap__step *step, struct pmap_view payload);

/* Emit only into a sample; of a file, or a dataset, only what the first piece, or block, has. */
void pmap__map_sample(struct pmap__site *site, const struct pmap__step *step, struct pmap_view payload, struct pmap__sample *sample);

#endif
