/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Random numbers for the programs that make data: the i-th of a seed is mix(seed, i), so there is no state to keep. It is
 * the finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014), the same on
 * every machine.
 */
#ifndef BENCH_MIX_H
#define BENCH_MIX_H

#include <stdint.h>

static inline uint64_t mix(uint64_t seed, uint64_t i)
{
    uint64_t x = seed * UINT64_C(0xd1342543de82ef95) + (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

#endif
