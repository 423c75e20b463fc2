/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What the kinds of fronts share. */
#ifndef PMAP_MAPREDUCE_FRONT_INSIDE_H
#define PMAP_MAPREDUCE_FRONT_INSIDE_H

#include "mapreduce/front.h"
#include "mapreduce/hash.h"

struct pmap__front_kind {
    size_t (*bucket)(const struct pmap__front *front); /* its bytes */
    void (*add)(struct pmap__front *front, const void *key, size_t key_size, const void *value);
    void (*add_words)(struct pmap__front *front, const uint64_t k[2], size_t key_size, const void *value); /* zeros are behind the key */
    void (*add_waiting)(struct pmap__front *front, const struct pmap_waiting waiting[], size_t n);
    void (*drain)(struct pmap__front *front); /* fold the batch in */
    void (*pass_all)(struct pmap__front *front, const char *places, size_t size); /* what is in these bytes of places */
};
extern const struct pmap__front_kind pmap__front_wide, pmap__front_narrow;

/* Pass on all that is in it, and go on with places of another kind. */
void pmap__front_become(struct pmap__front *front, const struct pmap__front_kind *kind);

#endif
