/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The hash of a key. Its high bits choose the partition, and the bucket of a front: so a front that is passed on bucket by bucket comes to
 * one partition after the other, whose tables are in the core's cache then. The low bits choose the place in a partition's table. (If that
 * went by the high bits, too, a front would fill tables from one end: those that were still too small would be one long row to search.)
 *
 * A short key is hashed as two words, for fronts have it so. */
#ifndef PMAP_MAPREDUCE_HASH_H
#define PMAP_MAPREDUCE_HASH_H

#include "mapreduce/pair.h"

__extension__ typedef unsigned __int128 pmap__u128;

/* Of a key of PMAP__SHORT_KEY bytes at most, as two words, zeros behind its bytes. Both halves of a product depend on all bits of its
 * factors, as in XXH3; the second one brings what is in the low bits of their sum up. */
static inline uint64_t pmap__hash_words(const uint64_t k[2], size_t size)
{
    uint64_t a = k[0] ^ UINT64_C(0x9e3779b97f4a7c15), b = (k[1] + size * UINT64_C(0xd1342543de82ef95)) ^ UINT64_C(0xc2b2ae3d27d4eb4f);
    pmap__u128 product = (pmap__u128)a * b;
    uint64_t h = ((uint64_t)product ^ (uint64_t)(product >> 64)) * UINT64_C(0xd6e8feb86659fd93);

    return h ^ h >> 32;
}

/* Of any key: of a short one the same. */
uint64_t pmap__hash_key(const void *key, size_t size);

/* Which of n that is, n < 2^32: ascending as the hash does. */
static inline size_t pmap__hash_choose(uint64_t hash, uint64_t n)
{
    return (size_t)(((hash >> 32) * n) >> 32);
}

#endif
