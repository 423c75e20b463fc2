/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A narrow front, for sums of integers: buckets of four places of 16 bytes, a cache line each. A place has a key of 11 bytes at most, its
 * size and a sum of 32 bits. A pair with a longer key or a larger value has no place and passes by; a sum that gets larger passes on, and
 * begins anew with the value that was too much for it.
 *
 * Where one pair in NOT_MOST passes by, the front is wide from then on: it is better to hold half as many pairs than not to hold these. */
#include "mapreduce/front_inside.h"

#define KEY 11             /* bytes at most */
#define WAYS 4
#define NOT_MOST 8
#define FIRST_LOOK 65536   /* pairs: fewer say nothing */

struct place {
    uint64_t first; /* bytes of the key, zeros behind them */
    uint32_t rest;  /* three more, in the low bytes, and its size plus 1; 0: the place is free */
    int32_t sum;
};

struct waiting {
    struct place place;
    struct place *bucket;
};

static size_t bucket(const struct pmap__front *front)
{
    (void)front;
    return WAYS * sizeof(struct place);
}

static inline struct pmap__short short_of(const struct place *place)
{
    return (struct pmap__short){{place->first, place->rest & 0xffffff}, place->rest >> 24, {0}, (uint64_t)(int64_t)place->sum};
}

/* ---- A bucket ---- */

static inline unsigned is_key(const struct place *p, const struct place *key)
{
    return ((p->first ^ key->first) | (p->rest ^ key->rest)) == 0;
}

/* Which of its places has this key, as a bit; 0: none. All are looked at, for where it is cannot be foreseen. */
static inline unsigned find(const struct place p[WAYS], const struct place *key)
{
    return is_key(p, key) | is_key(p + 1, key) << 1 | is_key(p + 2, key) << 2 | is_key(p + 3, key) << 3;
}

/* Most values are 1: so a sum says how often its key was met. */
static inline uint32_t worth(const struct place *p)
{
    return p->sum < 0 ? 0 - (uint32_t)p->sum : (uint32_t)p->sum;
}

static inline struct place *least_of(struct place *places)
{
    struct place *least = places;

    for (unsigned i = 1; i < WAYS && least->rest; i++)
        if (places[i].rest == 0 || worth(&places[i]) < worth(least))
            least = &places[i];
    return least;
}

/* ---- The batch ---- */

static inline void pass(struct pmap__front *front, struct pmap__short pair)
{
    ((struct pmap__short *)(void *)front->passing)[front->passed++] = pair;
}

static inline void fold(struct pmap__front *front, struct place *at, int32_t value)
{
    int32_t sum;

    if (__builtin_add_overflow(at->sum, value, &sum)) {
        pass(front, short_of(at));
        sum = value;
    }
    at->sum = sum;
}

/* The key is not in its bucket: it takes the place of what is worth least. */
static inline void enter(struct pmap__front *front, struct place *places, const struct place *key)
{
    struct place *least = least_of(places);

    if (least->rest)
        pass(front, short_of(least));
    *least = *key;
}

static void pass_batch(struct pmap__front *front)
{
    size_t n = front->passed;

    front->passed = 0;
    if (n)
        front->pass(front->owner, (const struct pmap__short *)(const void *)front->passing, n, sizeof(struct pmap__short));
}

static void drain(struct pmap__front *front)
{
    const struct waiting *batch = (const struct waiting *)(const void *)front->batch;
    size_t n = front->waiting, key_bytes = 0;

    front->waiting = 0;
    front->folded += n; /* but for those that enter */
    for (size_t i = 0; i < n; i++) {
        unsigned found = find(batch[i].bucket, &batch[i].place);
        key_bytes += batch[i].place.rest >> 24;
        if (found) {
            fold(front, batch[i].bucket + __builtin_ctz(found), batch[i].place.sum);
        } else {
            enter(front, batch[i].bucket, &batch[i].place);
            front->folded--;
        }
    }
    front->pairs += n;
    front->pair_bytes += key_bytes - n + n * sizeof(int64_t);
    pass_batch(front);
    if (front->by > FIRST_LOOK + front->pairs / NOT_MOST)
        pmap__front_become(front, &pmap__front_wide);
}

/* A pair that no place can have. */
static void pass_by(struct pmap__front *front, const uint64_t k[2], size_t key_size, int64_t value)
{
    pass(front, (struct pmap__short){{k[0], k[1]}, (uint32_t)key_size + 1, {0}, (uint64_t)value});
    front->pairs++;
    front->pair_bytes += key_size + sizeof value;
    front->by++;
}

/* False: no place can have it. */
static inline bool wait_in(struct waiting *w, const struct pmap__front *front, const uint64_t k[2], size_t key_size, int64_t value)
{
    if (key_size > KEY || value != (int32_t)value)
        return false;
    w->place = (struct place){k[0], (uint32_t)k[1] | (uint32_t)(key_size + 1) << 24, (int32_t)value};
    w->bucket = (struct place *)(void *)front->places + WAYS * pmap__hash_choose(pmap__hash_words(k, key_size), front->buckets);
    __builtin_prefetch(w->bucket, 1);
    return true;
}

static void add_words(struct pmap__front *front, const uint64_t k[2], size_t key_size, const void *value)
{
    int64_t number;

    memcpy(&number, value, sizeof number);
    if (wait_in((struct waiting *)(void *)front->batch + front->waiting, front, k, key_size, number))
        front->waiting++;
    else
        pass_by(front, k, key_size, number);
    if (front->waiting + front->passed == PMAP__FRONT_BATCH)
        drain(front);
}

static void add(struct pmap__front *front, const void *key, size_t key_size, const void *value)
{
    uint64_t k[2];

    pmap__short_load(key, key_size, k);
    add_words(front, k, key_size, value);
}

static void add_waiting(struct pmap__front *front, const struct pmap_waiting waiting[], size_t n)
{
    drain(front);
    if (front->kind != &pmap__front_narrow) {
        pmap__front_add_waiting(front, waiting, n);
        return;
    }
    struct waiting *w = (struct waiting *)(void *)front->batch;
    for (size_t i = 0; i < n; i++) {
        uint64_t k[2];
        pmap__short_load_wide(waiting[i].key, waiting[i].key_size, k);
        if (wait_in(w, front, k, waiting[i].key_size, waiting[i].value))
            w++;
        else
            pass_by(front, k, waiting[i].key_size, waiting[i].value);
    }
    front->waiting = (size_t)(w - (struct waiting *)(void *)front->batch);
    drain(front);
}

/* ---- All places ---- */

static void pass_all(struct pmap__front *front, const char *places, size_t size)
{
    const struct place *at = (const struct place *)(const void *)places, *end = at + size / sizeof *at;

    while (at < end) {
        for (; at < end && front->passed < PMAP__FRONT_BATCH; at++)
            if (at->rest)
                pass(front, short_of(at));
        pass_batch(front);
    }
}

const struct pmap__front_kind pmap__front_narrow = {bucket, add, add_words, add_waiting, drain, pass_all};
