/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/front.h"

#include <pmap_mapreduce.h>
#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)

typedef struct pmap__short place;

/* ---- Keys ---- */

static inline uint32_t bucket_of(const struct pmap__front *front, const uint64_t k[2])
{
    uint64_t h = k[0] * UINT64_C(0x9e3779b97f4a7c15) ^ k[1] * UINT64_C(0xc2b2ae3d27d4eb4f);
    h = (h ^ h >> 29) * UINT64_C(0xd6e8feb86659fd93);
    return (uint32_t)(((h >> 32) * front->buckets) >> 32);
}

/* Of a key of which 16 bytes can be read. On a machine that puts the low bytes first. */
static inline void load_wide(const char *key, size_t size, uint64_t k[2])
{
    static const uint64_t low[] = {0, 0xff, 0xffff, 0xffffff, 0xffffffff, 0xffffffffff, 0xffffffffffff, 0xffffffffffffff,
                                   UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
                                   UINT64_MAX};
    static const uint64_t high[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xffff, 0xffffff, 0xffffffff, 0xffffffffff, 0xffffffffffff,
                                    0xffffffffffffff, UINT64_MAX};
    memcpy(k, key, 16);
    k[0] &= low[size];
    k[1] &= high[size];
}

static inline void load_any(const void *key, size_t size, uint64_t k[2])
{
    k[0] = k[1] = 0;
    if (size)
        memcpy(k, key, size);
}

/* ---- The batch ---- */

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

static inline __attribute__((always_inline)) void drain(struct pmap__front *front, size_t each, bool sum)
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

void pmap__front_drain(struct pmap__front *front)
{
    if (front->combine.fold == pmap_sum_i64 && front->each == sizeof(place)) /* the most common one, without calls */
        drain(front, sizeof(place), true);
    else
        drain(front, front->each, false);
}

static inline place *waiting_place(const struct pmap__front *front, size_t i)
{
    return (place *)(void *)(front->batch + i * front->each);
}

void pmap__front_add(struct pmap__front *front, const void *key, size_t key_size, const void *value)
{
    place *p = waiting_place(front, front->waiting);

    load_any(key, key_size, p->k);
    p->size = (uint32_t)key_size + 1;
    p->age = bucket_of(front, p->k);
    memcpy(&p->value, value, front->combine.size);
    __builtin_prefetch(front->places + (size_t)p->age * 2 * front->each, 1);
    if (++front->waiting == PMAP__FRONT_BATCH)
        pmap__front_drain(front);
}

void pmap__front_add_waiting(struct pmap__front *front, const struct pmap_waiting waiting[], size_t n)
{
    pmap__front_drain(front);
    for (size_t i = 0; i < n; i++) {
        place *p = (place *)(void *)front->batch + i; /* values have 8 bytes */
        if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
            load_wide(waiting[i].key, waiting[i].key_size, p->k);
        else
            load_any(waiting[i].key, waiting[i].key_size, p->k);
        p->size = (uint32_t)waiting[i].key_size + 1;
        p->age = bucket_of(front, p->k);
        p->value = (uint64_t)waiting[i].value;
        __builtin_prefetch(front->places + (size_t)p->age * 2 * sizeof *p, 1);
    }
    front->waiting = n;
    pmap__front_drain(front);
}

void pmap__front_empty(struct pmap__front *front)
{
    pmap__front_drain(front);
    front->pass(front->owner, (const place *)(const void *)front->places, 2 * front->buckets, front->each);
    memset(front->places, 0, pmap__front_memory(front));
}

/* ---- Life ---- */

size_t pmap__front_memory(const struct pmap__front *front)
{
    return 2 * front->buckets * front->each;
}

enum pmap_status pmap__front_create(size_t size, const struct pmap__combine *combine, pmap__front_pass_fn *pass, void *owner,
                                    struct pmap__front **made)
{
    struct pmap__front *front = calloc(1, sizeof *front);

    if (front == NULL)
        return PMAP_ENOMEM;
    front->combine = *combine;
    front->pass = pass;
    front->owner = owner;
    front->each = sizeof(place) - 8 + ((combine->size + 7) & ~(size_t)7);
    front->buckets = size / (2 * front->each) + 1;
    size_t bytes = pmap__front_memory(front), aligned = bytes >= HUGE_PAGE ? HUGE_PAGE : 64;
    front->places = aligned_alloc(aligned, (bytes + aligned - 1) & ~(aligned - 1));
    front->batch = malloc(PMAP__FRONT_BATCH * front->each);
    front->passing = malloc(PMAP__FRONT_BATCH * front->each);
    if (front->places == NULL || front->batch == NULL || front->passing == NULL) {
        pmap__front_destroy(front);
        return PMAP_ENOMEM;
    }
#ifdef MADV_HUGEPAGE
    if (aligned == HUGE_PAGE) /* places are met at random: each would miss the page tables' cache, too */
        madvise(front->places, bytes, MADV_HUGEPAGE);
#endif
    memset(front->places, 0, bytes);
    *made = front;
    return PMAP_OK;
}

void pmap__front_destroy(struct pmap__front *front)
{
    if (front) {
        free(front->places);
        free(front->batch);
        free(front->passing);
    }
    free(front);
}
