/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A pair as bytes, a record: in memory, on their way to another rank and in scratch alike. (Pairs that will be combined go a leaner way to
 * their tables: lean.h.)
 *
 *     8 bytes   size of the key (24 bits, the low ones) and of the value (40 bits)
 *     8 bytes   the tag: which pair came first (the split, then its place in the split); where values are combined 0; in a stash,
 *               the place in the output
 *     value     padded to 8 bytes, so that it may be a number of any type
 *     key       likewise, with zero bytes
 *
 * A record begins at a multiple of 8 bytes, numbers have the byte order of the machine. */
#ifndef PMAP_MAPREDUCE_PAIR_H
#define PMAP_MAPREDUCE_PAIR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PMAP__KEY_MAX ((size_t)0xffffff)
#define PMAP__VALUE_MAX ((size_t)0xffffffffff)
/* A tag that says which pair came first: its split, and its place in the split in so many bits. */
#define PMAP__TAG_PLACE 36
#define PMAP__SPLITS_MAX ((size_t)1 << (64 - PMAP__TAG_PLACE))
#define PMAP__PAIR_HEAD ((size_t)16)

struct pmap__pair {
    const void *key, *value;
    size_t key_size, value_size;
    uint64_t tag;
};

static inline size_t pmap__padded(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

static inline size_t pmap__pair_size(size_t key_size, size_t value_size)
{
    return PMAP__PAIR_HEAD + pmap__padded(value_size) + pmap__padded(key_size);
}

/* Parts of a record. */
static inline size_t pmap__record_key_size(const void *record)
{
    return (size_t)(*(const uint64_t *)record & PMAP__KEY_MAX);
}
static inline size_t pmap__record_value_size(const void *record)
{
    return (size_t)(*(const uint64_t *)record >> 24);
}
static inline size_t pmap__record_size(const void *record)
{
    return pmap__pair_size(pmap__record_key_size(record), pmap__record_value_size(record));
}
static inline uint64_t pmap__record_tag(const void *record)
{
    return ((const uint64_t *)record)[1];
}
static inline const void *pmap__record_value(const void *record)
{
    return (const char *)record + PMAP__PAIR_HEAD;
}
static inline const void *pmap__record_key(const void *record)
{
    return (const char *)record + PMAP__PAIR_HEAD + pmap__padded(pmap__record_value_size(record));
}

/* Write a record to where pmap__pair_size bytes are free. */
static inline void pmap__record_write(void *at, const struct pmap__pair *pair)
{
    uint64_t *words = at;
    char *value = (char *)at + PMAP__PAIR_HEAD, *key = value + pmap__padded(pair->value_size);

    words[0] = (uint64_t)pair->value_size << 24 | pair->key_size;
    words[1] = pair->tag;
    if (pair->value_size) {
        memset(key - 8, 0, 8);
        memcpy(value, pair->value, pair->value_size);
    }
    if (pair->key_size) {
        memset(key + pmap__padded(pair->key_size) - 8, 0, 8);
        memcpy(key, pair->key, pair->key_size);
    }
}

/* Keys as bytes; of two where one begins with the other the shorter comes first. */
static inline int pmap__key_compare(const void *a, size_t a_size, const void *b, size_t b_size)
{
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order ? order : (a_size > b_size) - (a_size < b_size);
}

/* Records by key, then by tag. */
static inline int pmap__record_compare(const void *a, const void *b)
{
    int order = pmap__key_compare(pmap__record_key(a), pmap__record_key_size(a), pmap__record_key(b), pmap__record_key_size(b));
    uint64_t s = pmap__record_tag(a), t = pmap__record_tag(b);
    return order ? order : (s > t) - (s < t);
}

/* A short pair where values are combined, as words: fronts and tables have such, side by side. */
#define PMAP__SHORT_KEY 16   /* bytes at most */
#define PMAP__SHORT_VALUE 40

struct pmap__short {
    uint64_t k[2]; /* the key, zeros behind it */
    uint32_t size; /* of it, plus 1; 0: there is no pair here */
    union {
        uint32_t hash; /* in a table */
        uint32_t age;  /* in a front: how often the key was met, less how often it was in the way. Of one that waits: its bucket */
    };
    uint64_t value; /* or more of it */
};

/* A key as two words, zeros behind its bytes. */
static inline void pmap__short_load(const void *key, size_t size, uint64_t k[2])
{
    k[0] = k[1] = 0;
    if (size)
        memcpy(k, key, size);
}

/* The same if 16 bytes can be read from where it begins. */
static inline void pmap__short_load_wide(const char *key, size_t size, uint64_t k[2])
{
    static const uint64_t low[] = {0, 0xff, 0xffff, 0xffffff, 0xffffffff, 0xffffffffff, 0xffffffffffff, 0xffffffffffffff,
                                   UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
                                   UINT64_MAX};
    static const uint64_t high[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xffff, 0xffffff, 0xffffffff, 0xffffffffff, 0xffffffffffff,
                                    0xffffffffffffff, UINT64_MAX};

    if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__) { /* the masks are for a machine that puts the low bytes first */
        pmap__short_load(key, size, k);
        return;
    }
    memcpy(k, key, 16);
    k[0] &= low[size];
    k[1] &= high[size];
}

/* As a record, to where pmap__pair_size bytes are free. */
static inline void pmap__short_write(uint64_t *to, const struct pmap__short *pair, size_t value_size, uint64_t tag)
{
    size_t words = pmap__padded(value_size) / 8, key_size = pair->size - 1;

    to[0] = (uint64_t)value_size << 24 | key_size;
    to[1] = tag;
    to[2] = pair->value;
    if (value_size != 8) { /* what is behind it is not its own */
        to[1 + words] = 0;
        memcpy(to + 2, &pair->value, value_size);
    }
    if (key_size > 0)
        to[2 + words] = pair->k[0];
    if (key_size > 8)
        to[3 + words] = pair->k[1];
}

#endif
