/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Sorting records (pair.h) that lie in memory in any order: what is moved are entries, which point to them and have the next eight
 * bytes that matter beside the pointer, so that a record itself is looked at only where those are equal. */
#ifndef PMAP_MAPREDUCE_SORT_H
#define PMAP_MAPREDUCE_SORT_H

#include "mapreduce/pair.h"

#include <endian.h>

struct pmap__sort_entry {
    uint64_t prefix; /* pmap__record_prefix(record, 0) */
    const void *record;
};

/* The eight bytes of the key that begin at from, a multiple of 8, as a number that compares as they do; zeros stand for what is behind
 * its end. */
static inline uint64_t pmap__record_prefix(const void *record, size_t from)
{
    uint64_t word;

    if (from >= pmap__record_key_size(record))
        return 0;
    memcpy(&word, (const char *)pmap__record_key(record) + from, sizeof word); /* keys are padded with zeros: pair.h */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* Best made when the record has just been written. */
static inline struct pmap__sort_entry pmap__sort_entry_of(const void *record)
{
    return (struct pmap__sort_entry){pmap__record_prefix(record, 0), record};
}

/* Sort by pmap__record_compare; of equal records (the same tag, too) any may come first. The prefixes are used up: they mean nothing
 * then. It takes no memory but some KiB of the stack. */
void pmap__sort(struct pmap__sort_entry *entries, size_t n);

/* The same of what is no record but begins with a key of two words, zeros behind its bytes, and then its size in 4 bytes. No two keys
 * are equal. */
static inline struct pmap__sort_entry pmap__sort_entry_of_words(const void *words)
{
    return (struct pmap__sort_entry){be64toh(*(const uint64_t *)words), words};
}
void pmap__sort_words(struct pmap__sort_entry *entries, size_t n);

#endif
