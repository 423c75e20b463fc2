/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "journal/key.h"

#include "base/hash.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t pmap__journal_context(const struct pmap__journal_call *call)
{
    uint64_t numbers[] = {call->task_id, call->op_id, call->seed, call->total, call->leaf};
    uint64_t h = pmap__hash(PMAP__HASH_BEGIN, call->name, strlen(call->name) + 1);
    return pmap__hash(h, numbers, sizeof numbers);
}

struct pmap__journal_key pmap__journal_hash(uint64_t context, const void *bytes, size_t size)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(size ? bytes : "", size, context);
    return (struct pmap__journal_key){.high = hash.high64, .low = hash.low64};
}

uint64_t pmap__journal_short(const struct pmap__journal_key *key)
{
    return key->low ^ (key->high << 1 | key->high >> 63);
}

uint64_t pmap__journal_short_of(const struct pmap__journal_key *key)
{
    uint64_t mixed = pmap__journal_short(key) + key->occurrence * UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return mixed ^ mixed >> 32;
}

uint64_t pmap__journal_sum(const struct pmap__journal_key *key, const void *result, size_t size)
{
    uint64_t seed = pmap__journal_short_of(key);
    return XXH3_64bits_withSeed(size ? result : "", size, seed);
}
