/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Is what came from another rank sound? Plans, steps, answers and blocks of records travel as bytes of items and letters, which the wire
 * knows nothing of. Here each is looked at once, before anybody follows it: whoever walks over records later, or takes a partition for an
 * index, need not ask again. What is not sound is refused with the name of its first bad field, which fails the call.
 */
#ifndef PMAP_MAPREDUCE_SOUND_H
#define PMAP_MAPREDUCE_SOUND_H

#include "mapreduce/site.h"
#include "mapreduce/steps.h"

/* Whole records side by side? Then *n is how many. */
bool pmap__records_are_sound(const void *bytes, size_t size, size_t *n);

/* Each of these: NULL if all is well, else the name of a field. */

/* A plan that was decoded, on a rank of so many. */
const char *pmap__plan_bad_field(const struct pmap__plan *plan, int rank, int ranks);

/* A step other than BEGIN, for this site. */
const char *pmap__step_bad_field(const struct pmap__step *step, struct pmap_view payload, const struct pmap__site *site);

/* Of what rank sent, the pairs of a block for a partition: records, or lean ones (lean.h) where values are combined. */
const char *pmap__block_bad_field(const struct pmap__site *site, const struct pmap__letter *letter);

/* The answer to a step. */
const char *pmap__answer_bad_field(const struct pmap__step *step, size_t payload_size, struct pmap_bytes answer);

#endif
