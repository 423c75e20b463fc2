/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A pair in few bytes, where values are combined: on its way from an emitter to a table, for of millions of them memory is what bounds that
 * way, and waiting in a pile (pile.h). All values of a call have the same size, which is written nowhere, and order is nobody's concern,
 * so there is no tag.
 *
 *     value     of 8 bytes: as a number with a sign (number.h), for most are small; else as it is, padded to 8 bytes
 *     1 byte    size of the key; LONG: it is in the 3 bytes that follow, the lowest first
 *     key       and where values have not 8 bytes zeros, so that the next pair begins at a multiple of 8: values may be of any type
 *
 * Behind pairs PMAP__LEAN_SLACK bytes can be read and written, whatever they are: short keys are moved in one piece. */
#ifndef PMAP_MAPREDUCE_LEAN_H
#define PMAP_MAPREDUCE_LEAN_H

#include "mapreduce/number.h"
#include "mapreduce/pair.h"

#include <stdbool.h>

#define PMAP__LEAN_SLACK ((size_t)PMAP__SHORT_KEY)
#define PMAP__LEAN_LONG 255

struct pmap__lean {
    const char *key; /* where it lies among the pairs */
    size_t key_size;
    const void *value; /* likewise; of 8 bytes: &number */
    uint64_t number;
};

static inline bool pmap__lean_is_number(size_t value_size)
{
    return value_size == sizeof(uint64_t);
}

/* Bytes that a pair takes at most. */
static inline size_t pmap__lean_room(size_t key_size, size_t value_size)
{
    return (pmap__lean_is_number(value_size) ? PMAP__NUMBER_MAX : pmap__padded(value_size)) + 4 + key_size + 7;
}

/* ---- Writing ---- */

static inline unsigned char *pmap__lean_put_value(unsigned char *to, const void *value, size_t value_size)
{
    uint64_t number;

    if (pmap__lean_is_number(value_size)) {
        memcpy(&number, value, sizeof number);
        return pmap__number_put(to, pmap__number_fold(number));
    }
    memcpy(to, value, value_size);
    memset(to + value_size, 0, pmap__padded(value_size) - value_size);
    return to + pmap__padded(value_size);
}

static inline unsigned char *pmap__lean_put_size(unsigned char *to, size_t key_size)
{
    if (key_size < PMAP__LEAN_LONG) {
        *to++ = (unsigned char)key_size;
        return to;
    }
    *to++ = PMAP__LEAN_LONG;
    for (int shift = 0; shift < 24; shift += 8)
        *to++ = (unsigned char)(key_size >> shift);
    return to;
}

/* How many bytes a pair has that begins at a multiple of 8 and has so many. */
static inline size_t pmap__lean_padded(size_t size, size_t value_size)
{
    return pmap__lean_is_number(value_size) ? size : pmap__padded(size);
}

/* How many bytes it took. */
static inline size_t pmap__lean_write(void *at, const void *key, size_t key_size, const void *value, size_t value_size)
{
    unsigned char *begin = at, *to = pmap__lean_put_size(pmap__lean_put_value(begin, value, value_size), key_size);

    memcpy(to, key, key_size);
    memset(to + key_size, 0, 8);
    return pmap__lean_padded((size_t)(to - begin) + key_size, value_size);
}

static inline size_t pmap__lean_write_short(void *at, const struct pmap__short *pair, size_t value_size)
{
    unsigned char *begin = at, *to = pmap__lean_put_value(begin, &pair->value, value_size);
    size_t key_size = pair->size - 1;

    *to++ = (unsigned char)key_size;
    memcpy(to, pair->k, sizeof pair->k);
    memset(to + key_size, 0, 8);
    return pmap__lean_padded((size_t)(to - begin) + key_size, value_size);
}

/* ---- Reading ---- */

/* The pair at at, and where the next one begins; NULL: it is not whole at end. */
static inline const char *pmap__lean_read(const char *at, const char *end, size_t value_size, struct pmap__lean *pair)
{
    const unsigned char *from = (const unsigned char *)at, *behind = (const unsigned char *)end;

    if (pmap__lean_is_number(value_size)) {
        from = pmap__number_get(from, behind, &pair->number);
        pair->number = pmap__number_unfold(pair->number);
        pair->value = &pair->number;
    } else {
        pair->value = from;
        from = pmap__padded(value_size) < (size_t)(behind - from) ? from + pmap__padded(value_size) : NULL;
    }
    if (from == NULL || from == behind)
        return NULL;
    pair->key_size = *from++;
    if (pair->key_size == PMAP__LEAN_LONG) {
        if (behind - from < 3)
            return NULL;
        pair->key_size = from[0] | (size_t)from[1] << 8 | (size_t)from[2] << 16;
        from += 3;
    }
    pair->key = (const char *)from;
    size_t size = pmap__lean_padded((size_t)(pair->key - at) + pair->key_size, value_size);
    return size <= (size_t)(end - at) ? at + size : NULL;
}

/* Are these whole pairs, n of them? */
static inline bool pmap__lean_are_whole(const void *pairs, size_t size, size_t value_size, size_t *n)
{
    const char *at = pairs, *end = at + size;
    struct pmap__lean pair;

    for (*n = 0; at && at < end; ++*n)
        at = pmap__lean_read(at, end, value_size, &pair);
    return at == end;
}

#endif
