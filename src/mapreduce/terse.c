/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 *     1 byte    PMAP__TERSE_MARK
 *     number    size of each value
 *     and for each record:
 *     1 byte    how many bytes of the key are those of the key before
 *     1 byte    how many follow
 *     number    the tag
 *     value     of 8 bytes: as a number with a sign; else as it is
 *     key       its other bytes
 *
 * Numbers are those of number.h. */
#include "mapreduce/terse.h"

#include "mapreduce/number.h"
#include "mapreduce/pair.h"

#define LONGEST ((size_t)255) /* bytes of a key that follow, or of a value */
#define RECORD (2 + PMAP__NUMBER_MAX + LONGEST + LONGEST + PMAP__TERSE_SLACK)

size_t pmap__terse_room(size_t size)
{
    return 1 + PMAP__NUMBER_MAX + size / 2 + RECORD;
}

/* ---- Keys ---- */

struct key {
    const char *bytes;
    size_t size;
};

/* Bytes that two keys begin with. They are padded to whole words. */
static inline size_t shared_of(struct key a, struct key b)
{
    size_t most = a.size < b.size ? a.size : b.size;

    most = most < LONGEST ? most : LONGEST;
    for (size_t i = 0; i < most; i += 8) {
        uint64_t x, y;
        memcpy(&x, a.bytes + i, 8);
        memcpy(&y, b.bytes + i, 8);
        if (x == y)
            continue;
        size_t same = i + (size_t)(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_ctzll(x ^ y) : __builtin_clzll(x ^ y)) / 8;
        return same < most ? same : most;
    }
    return most;
}

/* Most are so short that a piece of a fixed size, which needs no call, has all of it. */
static inline void move(void *to, const void *from, size_t size)
{
    memcpy(to, from, PMAP__TERSE_SLACK);
    if (size > PMAP__TERSE_SLACK)
        memcpy(to, from, size);
}

/* ---- Writing ---- */

/* NULL: the key is too long. */
static inline unsigned char *put_record(unsigned char *to, const void *record, size_t value_size, struct key *before)
{
    struct key key = {pmap__record_key(record), pmap__record_key_size(record)};
    size_t shared = shared_of(*before, key), rest = key.size - shared;
    const void *value = pmap__record_value(record);

    if (rest > LONGEST)
        return NULL;
    *to++ = (unsigned char)shared;
    *to++ = (unsigned char)rest;
    to = pmap__number_put(to, pmap__record_tag(record));
    if (value_size == 8) {
        to = pmap__number_put(to, pmap__number_fold(*(const uint64_t *)value));
    } else {
        memcpy(to, value, value_size);
        to += value_size;
    }
    move(to, key.bytes + shared, rest);
    *before = key;
    return to + rest;
}

size_t pmap__terse_write(const void *records, size_t size, void *to)
{
    const char *at = records, *end = at + size;
    size_t value_size = pmap__record_value_size(at);
    unsigned char *begin = to, *next = begin;
    struct key before = {"", 0};

    if (value_size > LONGEST || (value_size != 8 && 2 * value_size > pmap__record_size(at)))
        return 0;
    *next++ = PMAP__TERSE_MARK;
    next = pmap__number_put(next, value_size);
    for (; at < end; at += pmap__record_size(at)) {
        if (pmap__record_value_size(at) != value_size)
            return 0;
        next = put_record(next, at, value_size, &before);
        if (next == NULL || (size_t)(next - begin) > size / 2)
            return 0;
    }
    return (size_t)(next - begin);
}

/* ---- Reading ---- */

/* Where what follows it begins; NULL: it makes no sense. */
static inline const unsigned char *get_record(const unsigned char *from, const unsigned char *end, size_t value_size, struct key *before,
                                              char *record, const char *records_end)
{
    uint64_t tag, number = 0;

    if (end - from < 2)
        return NULL;
    size_t shared = from[0], rest = from[1], key_size = shared + rest;
    from = pmap__number_get(from + 2, end, &tag);
    if (from && value_size == 8)
        from = pmap__number_get(from, end, &number);
    if (from == NULL || shared > before->size || pmap__pair_size(key_size, value_size) > (size_t)(records_end - record) ||
        rest + (value_size == 8 ? 0 : value_size) > (size_t)(end - from))
        return NULL;
    uint64_t *words = (uint64_t *)(void *)record;
    if (value_size == 8) {
        words[2] = pmap__number_unfold(number);
    } else {
        pmap__record_write(record, &(struct pmap__pair){"", from, 0, value_size, 0});
        from += value_size;
    }
    words[0] = (uint64_t)value_size << 24 | key_size;
    words[1] = tag;
    char *key = record + PMAP__PAIR_HEAD + pmap__padded(value_size);
    move(key, before->bytes, shared);
    move(key + shared, from, rest);
    memset(key + key_size, 0, 8); /* the padding; what is behind it is written later */
    *before = (struct key){key, key_size};
    return from + rest;
}

bool pmap__terse_read(const void *from, size_t from_size, void *records, size_t size)
{
    static const char nothing[PMAP__TERSE_SLACK];
    const unsigned char *next = from, *end = next + from_size;
    char *at = records, *records_end = at + size;
    struct key before = {nothing, 0};
    uint64_t value_size;

    next = pmap__number_get(next + 1, end, &value_size);
    if (next == NULL || value_size > LONGEST)
        return false;
    while (at < records_end) {
        next = get_record(next, end, (size_t)value_size, &before, at, records_end);
        if (next == NULL)
            return false;
        at += pmap__record_size(at);
    }
    return next == end;
}
