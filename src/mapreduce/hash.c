/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t pmap__hash_key(const void *key, size_t size)
{
    uint64_t k[2];

    if (size > PMAP__SHORT_KEY)
        return XXH3_64bits(key, size);
    pmap__short_load(key, size, k);
    return pmap__hash_words(k, size);
}
