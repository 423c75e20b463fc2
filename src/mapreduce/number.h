/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Numbers in few bytes: seven bits in each, the lowest first; the highest bit of a byte says that there are more. */
#ifndef PMAP_MAPREDUCE_NUMBER_H
#define PMAP_MAPREDUCE_NUMBER_H

#include <stddef.h>
#include <stdint.h>

#define PMAP__NUMBER_MAX ((size_t)10) /* bytes */

static inline unsigned char *pmap__number_put(unsigned char *to, uint64_t n)
{
    for (; n > 127; n >>= 7)
        *to++ = (unsigned char)(n | 128);
    *to++ = (unsigned char)n;
    return to;
}

/* NULL: it does not end before end. */
static inline const unsigned char *pmap__number_get(const unsigned char *from, const unsigned char *end, uint64_t *n)
{
    *n = 0;
    for (unsigned shift = 0; from < end && shift < 64; shift += 7) {
        *n |= (uint64_t)(*from & 127) << shift;
        if (*from++ < 128)
            return from;
    }
    return NULL;
}

/* Of an integer v with a sign: 2 v or, if it is negative, -2 v - 1, so that those near 0 are short. And back. */
static inline uint64_t pmap__number_fold(uint64_t v)
{
    return v << 1 ^ (0 - (v >> 63));
}

static inline uint64_t pmap__number_unfold(uint64_t n)
{
    return n >> 1 ^ (0 - (n & 1));
}

#endif
