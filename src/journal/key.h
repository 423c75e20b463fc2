/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What an item is recognised by: a hash (XXH3, 128 bits) of its bytes, seeded with what its call is, and how many items with the
 * same hash came before it in this run. So equal items each have a result of their own, and where an item stands, or how many
 * others there are, does not matter.
 */
#ifndef PMAP_JOURNAL_KEY_H
#define PMAP_JOURNAL_KEY_H

#include <stddef.h>
#include <stdint.h>

/* All that two items must have in common, besides their bytes, to be the same. */
struct pmap__journal_call {
    const char *name;             /* the user's, or the line of the program */
    const char *task, *signature; /* for people; id stands for them */
    const char *op;               /* of a reduction; NULL: it is none */
    uint64_t task_id, op_id;
    uint64_t seed;
    uint64_t total, leaf;         /* of a reduction: how many items, and how many of them are one of ours */
};

struct pmap__journal_key {
    uint64_t high, low;
    uint64_t occurrence; /* from 0 */
};

/* A hash of a call, and with it the hash of an item. occurrence is 0. */
uint64_t pmap__journal_context(const struct pmap__journal_call *call);
struct pmap__journal_key pmap__journal_hash(uint64_t context, const void *bytes, size_t size);

/* 64 bits of a key, for tables; without the occurrence, and with it. */
uint64_t pmap__journal_short(const struct pmap__journal_key *key);
uint64_t pmap__journal_short_of(const struct pmap__journal_key *key);

/* A sum of a key and its result, by which a damaged one is known. */
uint64_t pmap__journal_sum(const struct pmap__journal_key *key, const void *result, size_t size);

#endif
