/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A hash for names: FNV-1a, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/). The same on every machine.
 */
#ifndef PMAP_BASE_HASH_H
#define PMAP_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define PMAP__HASH_BEGIN UINT64_C(14695981039346656037)

static inline uint64_t pmap__hash(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *b = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ b[i]) * UINT64_C(1099511628211);
    return hash;
}

#endif
