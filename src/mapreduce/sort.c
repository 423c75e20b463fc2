/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Entries are sorted by their prefix, a number, and only those that are equal in it are looked at again: by the next eight bytes. So a
 * long beginning that all keys share costs a pass over them for every eight bytes, not a comparison of it for every pair.
 *
 * A key is padded with zeros here, and one that ends may be equal to one that goes on with zero bytes. So there is a step between: words
 * of the keys from byte 0; the bytes that each key has in that word, or that it goes on; words from byte 8; and so on. Keys that end at
 * the same byte are the same and go by their tags.
 *
 * Numbers are sorted by American flag sort (McIlroy, Bostic, McIlroy: Engineering Radix Sort, 1993): in place, from the top, eight bits
 * at a time beginning with the highest that differs, and by insertion where few are left. */
#include "mapreduce/sort.h"

#include <stdbool.h>

/* So many or fewer are sorted by insertion: then the 256 counters cost more than the moves. */
#define FEW 24

enum step { WORD, LENGTH, TAG, DONE };

struct group {
    struct pmap__sort_entry *entries;
    size_t n;
    size_t from; /* byte of the key; its prefixes are equal before that */
    enum step by;
};

/* ---- Numbers ---- */

static void insert_by_prefix(struct pmap__sort_entry *e, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct pmap__sort_entry entry = e[i];
        size_t k = i;
        for (; k > 0 && e[k - 1].prefix > entry.prefix; k--)
            e[k] = e[k - 1];
        e[k] = entry;
    }
}

/* The bits in which prefixes differ; 0 also if they are in order already. */
static uint64_t unsorted_bits(const struct pmap__sort_entry *e, size_t n)
{
    uint64_t differ = 0;
    bool descends = false;

    for (size_t i = 1; i < n; i++) {
        differ |= e[i].prefix ^ e[0].prefix;
        descends |= e[i].prefix < e[i - 1].prefix;
    }
    return descends ? differ : 0;
}

static unsigned digit(const struct pmap__sort_entry *e, unsigned shift)
{
    return (unsigned)(e->prefix >> shift) & 255;
}

/* Bring every entry into the bucket of its digit; end[d] is where bucket d ends. Each entry in hand goes to the first place of its
 * bucket that is not yet right, and what was there is taken in hand, until the hole is filled from which the first was taken. */
static void deal(struct pmap__sort_entry *e, size_t n, unsigned shift, size_t end[static 256])
{
    size_t next[256], sum = 0;

    memset(end, 0, 256 * sizeof *end);
    for (size_t i = 0; i < n; i++)
        end[digit(&e[i], shift)]++;
    for (unsigned d = 0; d < 256; d++) {
        next[d] = sum;
        end[d] = sum += end[d];
    }
    for (unsigned d = 0; d < 256; d++) {
        while (next[d] < end[d]) {
            struct pmap__sort_entry hand = e[next[d]];
            for (unsigned k = digit(&hand, shift); k != d; k = digit(&hand, shift)) {
                struct pmap__sort_entry other = e[next[k]];
                e[next[k]++] = hand;
                hand = other;
            }
            e[next[d]++] = hand;
        }
    }
}

static void sort_by_prefix(struct pmap__sort_entry *e, size_t n)
{
    size_t end[256];
    uint64_t differ = unsorted_bits(e, n);

    if (differ == 0)
        return;
    if (n <= FEW) {
        insert_by_prefix(e, n);
        return;
    }
    unsigned top = 63 - (unsigned)__builtin_clzll(differ), shift = top > 7 ? top - 7 : 0;
    deal(e, n, shift, end);
    for (size_t d = 0, begin = 0; shift > 0 && d < 256; begin = end[d++])
        sort_by_prefix(e + begin, end[d] - begin);
}

/* ---- Records ---- */

static void insert_by_record(struct pmap__sort_entry *e, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct pmap__sort_entry entry = e[i];
        size_t k = i;
        for (; k > 0 && pmap__record_compare(e[k - 1].record, entry.record) > 0; k--)
            e[k] = e[k - 1];
        e[k] = entry;
    }
}

/* How many bytes of the key are in the word that begins at from, or that there are more. */
#define GOES_ON 9
static uint64_t length(const void *record, size_t from)
{
    size_t size = pmap__record_key_size(record);
    return size > from + 8 ? GOES_ON : size - from;
}

static void fill(const struct group *g)
{
    for (size_t i = 0; i < g->n; i++) {
        struct pmap__sort_entry *e = &g->entries[i];
        e->prefix = g->by == WORD     ? pmap__record_prefix(e->record, g->from)
                    : g->by == LENGTH ? length(e->record, g->from)
                                      : pmap__record_tag(e->record);
    }
}

/* Sort a group by its step; a small one at once by all that is left. */
static void sort_group(struct group *g)
{
    if (g->n <= FEW) {
        insert_by_record(g->entries, g->n);
        g->by = DONE;
        return;
    }
    fill(g);
    sort_by_prefix(g->entries, g->n);
}

/* The entries from number begin on whose prefixes are equal, and what they are to be sorted by. */
static struct group equal_part(const struct group *g, size_t begin)
{
    const struct pmap__sort_entry *e = g->entries;
    size_t end = begin + 1;

    while (end < g->n && e[end].prefix == e[begin].prefix)
        end++;
    struct group part = {g->entries + begin, end - begin, g->from, LENGTH};
    if (g->by == LENGTH) {
        part.by = e[begin].prefix == GOES_ON ? WORD : TAG;
        part.from += 8;
    }
    return part;
}

/* The group is sorted by its step: sort what is equal in it by the steps that follow. The largest part comes last, without recursion,
 * so that this goes no deeper than log2(n), however long the keys are. */
static void refine(struct group g)
{
    while (g.n > 1 && g.by < TAG) {
        struct group largest = {.n = 1};
        for (size_t begin = 0, n; begin < g.n; begin += n) {
            struct group part = equal_part(&g, begin);
            n = part.n;
            if (part.n > largest.n) {
                struct group other = largest;
                largest = part;
                part = other;
            }
            if (part.n > 1) {
                sort_group(&part);
                refine(part);
            }
        }
        g = largest;
        if (g.n > 1)
            sort_group(&g);
    }
}

void pmap__sort(struct pmap__sort_entry *entries, size_t n)
{
    sort_by_prefix(entries, n);
    refine((struct group){entries, n, 0, WORD});
}

/* ---- Keys of two words ---- */

static uint32_t size_of(const void *words)
{
    uint32_t size;
    memcpy(&size, (const char *)words + 16, sizeof size);
    return size;
}

/* Keys that are alike in 16 bytes differ in how many zeros they end with; there are few such. */
static void sort_by_size(struct pmap__sort_entry *e, size_t n)
{
    for (size_t i = 0; i < n; i++)
        e[i].prefix = size_of(e[i].record);
    insert_by_prefix(e, n);
}

static size_t equal_run(const struct pmap__sort_entry *e, size_t n)
{
    size_t end = 1;
    while (end < n && e[end].prefix == e[0].prefix)
        end++;
    return end;
}

static void sort_by_second(struct pmap__sort_entry *e, size_t n)
{
    for (size_t i = 0; i < n; i++)
        e[i].prefix = be64toh(((const uint64_t *)e[i].record)[1]);
    sort_by_prefix(e, n);
    for (size_t begin = 0, run; begin < n; begin += run) {
        run = equal_run(e + begin, n - begin);
        if (run > 1)
            sort_by_size(e + begin, run);
    }
}

void pmap__sort_words(struct pmap__sort_entry *entries, size_t n)
{
    sort_by_prefix(entries, n);
    for (size_t begin = 0, run; begin < n; begin += run) {
        run = equal_run(entries + begin, n - begin);
        if (run > 1)
            sort_by_second(entries + begin, run);
    }
}
