/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Random numbers for each item. The generator is a keyed function from a counter to four numbers, Random123's
 * Philox4x64-10, so that a stream is a name, not a state that somebody must hand on: seed and item are its key and counter,
 * and nothing is kept or shared. Random123's known-answer test is the first in tests/test_random.c.
 */
#include "engine/item.h"

#include <math.h>
#include <pmap.h>

/* Random123 cuts products in two by silent conversion, in functions, so that the warning would come from here where it is
 * not installed as a system header. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#include <Random123/philox.h>
#pragma GCC diagnostic pop

enum { BLOCK = 4, ROUNDS = 10 };

struct pmap_random pmap_random_stream(size_t item)
{
    return (struct pmap_random){.key = {pmap__item_seed(), 0}, .counter = {0, 0, item, 0}, .used = BLOCK};
}

/* There is no carry into counter[1]: after 2^66 numbers a stream begins again. */
static void next_block(struct pmap_random *r)
{
    philox4x64_ctr_t counter = {{r->counter[0], r->counter[1], r->counter[2], r->counter[3]}};
    philox4x64_key_t key = {{r->key[0], r->key[1]}};
    philox4x64_ctr_t block = philox4x64_R(ROUNDS, counter, key);

    for (int i = 0; i < BLOCK; i++)
        r->block[i] = block.v[i];
    r->counter[0]++;
    r->used = 0;
}

uint64_t pmap_random_bits(struct pmap_random *random)
{
    if (random->used >= BLOCK)
        next_block(random);
    return random->block[random->used++];
}

/* The upper 53 bits: as many as a double holds, so that nothing is rounded, least of all up to 1. */
double pmap_random_uniform(struct pmap_random *random)
{
    return (double)(pmap_random_bits(random) >> 11) * 0x1p-53;
}

/* A point of the plane by its radius, whose square is exponentially distributed, and its angle; its other coordinate is
 * given up, for a stream keeps no half-used pairs. The logarithm is that of (0, 1]. */
double pmap_random_normal(struct pmap_random *random)
{
    const double two_pi = 6.283185307179586476925;
    double radius = sqrt(-2 * log(1 - pmap_random_uniform(random)));

    return radius * cos(two_pi * pmap_random_uniform(random));
}

/* Multiplied by n, 64 random bits are a number below n and 64 bits of fraction. Of the 2^64 products, n apart, each number
 * below n has 2^64 / n, rounded down or up; among those with a fraction of at least 2^64 mod n each has equally many. A
 * fraction of n or more is one of these without the division. (n = 0 gives 0.) */
uint64_t pmap_random_below(struct pmap_random *random, uint64_t n)
{
    uint64_t number, fraction = mulhilo64(pmap_random_bits(random), n, &number);

    if (fraction < n)
        for (uint64_t least = (0 - n) % n; fraction < least;)
            fraction = mulhilo64(pmap_random_bits(random), n, &number);
    return number;
}
