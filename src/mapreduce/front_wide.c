/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A wide front: buckets of two places, each a short pair (pair.h). */
#include "mapreduce/front_inside.h"

typedef struct pmap__short place;

static size_t bucket(const struct pmap__front *front)
{
    return 2 * front->each;
}

static inline bool is_key(const place *p, const place *key)
{
    return p->k[0] == key->k[0] && p->k[1] == key->k[1] && p->size == key->size;
}

/* The key is in neither place. It takes the one that was met less often, if that has been in the way as often as it was met; else it
 * passes on. */
static inline void miss(place *a, place *b, const place *key, size_t each, place *passing)
{
    place *p = a->size == 0 || (b->size && a->age <= b->age) ? a : b;
    bool stays = p->size && p->age > 0;

    memcpy(passing, stays ? key : p, each); /* a free place passes on as one of size 0 */
    if (stays) {
        p->age--;
        return;
    }
    memcpy(p, key, each);
    p->age = 0;
}

static inline void fold(const struct pmap__front *front, place *p, const place *key, bool sum)
{
    if (sum)
        p->value += key->value;
    else
        front->combine.fold(&p->value, &key->value);
    p->age++;
}

static inline __attribute__((always_inline)) void drain_as(struct pmap__front *front, size_t each, bool sum)
{
    size_t n = front->waiting, missed = 0, key_bytes = 0;
    char *passing = front->passing;

    front->waiting = 0;
    for (size_t i = 0; i < n; i++) {
        const place *key = (const place *)(const void *)(front->batch + i * each);
        place *a = (place *)(void *)(front->places + (size_t)key->age * 2 * each), *b = (place *)(void *)((char *)a + each);
        key_bytes += key->size;
        if (is_key(a, key)) {
            fold(front, a, key, sum);
        } else if (is_key(b, key)) {
            fold(front, b, key, sum);
        } else {
            miss(a, b, key, each, (place *)(void *)(passing + missed++ * each));
        }
    }
    front->pairs += n;
    front->pair_bytes += key_bytes - n + n * front->combine.size;
    front->folded += n - missed;
    if (missed)
        front->pass(front->owner, (const place *)(const void *)passing, missed, each);
}

static void drain(struct pmap__front *front)
{
    if (front->combine.fold == pmap_sum_i64 && front->each == sizeof(place)) /* the most common one, without calls */
        drain_as(front, sizeof(place), true);
    else
        drain_as(front, front->each, false);
}

static void add_words(struct pmap__front *front, const uint64_t k[2], size_t key_size, const void *value)
{
    place *p = (place *)(void *)(front->batch + front->waiting * front->each);

    p->k[0] = k[0];
    p->k[1] = k[1];
    p->size = (uint32_t)key_size + 1;
    p->age = (uint32_t)pmap__hash_choose(pmap__hash_words(p->k, p->size - 1), front->buckets);
    memcpy(&p->value, value, front->combine.size);
    __builtin_prefetch(front->places + (size_t)p->age * 2 * front->each, 1);
    if (++front->waiting == PMAP__FRONT_BATCH)
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
    for (size_t i = 0; i < n; i++) {
        place *p = (place *)(void *)front->batch + i; /* values have 8 bytes */
        pmap__short_load_wide(waiting[i].key, waiting[i].key_size, p->k);
        p->size = (uint32_t)waiting[i].key_size + 1;
        p->age = (uint32_t)pmap__hash_choose(pmap__hash_words(p->k, p->size - 1), front->buckets);
        p->value = (uint64_t)waiting[i].value;
        __builtin_prefetch(front->places + (size_t)p->age * 2 * sizeof *p, 1);
    }
    front->waiting = n;
    drain(front);
}

static void pass_all(struct pmap__front *front, const char *places, size_t size)
{
    front->pass(front->owner, (const place *)(const void *)places, size / front->each, front->each);
}

const struct pmap__front_kind pmap__front_wide = {bucket, add, add_words, add_waiting, drain, pass_all};
