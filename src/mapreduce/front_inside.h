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
    void (*add_waiting)(struct pmap__front *front, const struct pmap_waiting waiting[], size_t n);
    void (*drain)(struct pmap__front *front); /* fold the batch in */
    void (*pass_all)(struct pmap__front *front, const char *places, size_t size); /* what is in these bytes of places */
};
extern const struct pmap__front_kind pmap__front_wide, pmap__front_narrow;

/* Pass on all that is in it, and go on with places of another kind. */
void pmap__front_become(struct pmap__front *front, const struct pmap__front_kind *kind);

/* A key as two words, zeros behind its bytes. */
static inline void pmap__front_load_any(const void *key, size_t size, uint64_t k[2])
{
    k[0] = k[1] = 0;
    if (size)
        memcpy(k, key, size);
}

/* The same if 16 bytes can be read from where it begins. */
static inline void pmap__front_load_wide(const char *key, size_t size, uint64_t k[2])
{
    static const uint64_t low[] = {0, 0xff, 0xffff, 0xffffff, 0xffffffff, 0xffffffffff, 0xffffffffffff, 0xffffffffffffff,
                                   UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
                                   UINT64_MAX};
    static const uint64_t high[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xffff, 0xffffff, 0xffffffff, 0xffffffffff, 0xffffffffffff,
                                    0xffffffffffffff, UINT64_MAX};

    if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__) { /* the masks are for a machine that puts the low bytes first */
        pmap__front_load_any(key, size, k);
        return;
    }
    memcpy(k, key, 16);
    k[0] &= low[size];
    k[1] &= high[size];
}

#endif
