/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/front_inside.h"

#include <stdlib.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define PARTS 8 /* that it is given back in */

/* ---- Pairs ---- */

void pmap__front_add(struct pmap__front *front, const void *key, size_t key_size, const void *value)
{
    front->kind->add(front, key, key_size, value);
}

void pmap__front_add_places(struct pmap__front *front, const struct pmap__short *places, size_t n, size_t each)
{
    for (size_t i = 0; i < n; i++) {
        const struct pmap__short *p = (const void *)((const char *)places + i * each);
        if (p->size)
            front->kind->add_words(front, p->k, p->size - 1, &p->value);
    }
}

void pmap__front_add_waiting(struct pmap__front *front, const struct pmap_waiting waiting[], size_t n)
{
    front->kind->add_waiting(front, waiting, n);
}

void pmap__front_become(struct pmap__front *front, const struct pmap__front_kind *kind)
{
    front->kind->pass_all(front, front->places, front->held);
    memset(front->places, 0, front->held);
    front->kind = kind;
    front->buckets = front->held / kind->bucket(front);
}

void pmap__front_empty(struct pmap__front *front, bool pass)
{
    if (pass) {
        front->kind->drain(front);
        front->kind->pass_all(front, front->places, front->held);
    }
    front->waiting = front->passed = 0;
    memset(front->places, 0, front->held);
}

/* ---- Shrinking ---- */

/* Only whole huge pages can be given back before the rest. */
static void give_back(char *begin, char *end)
{
    begin += (HUGE_PAGE - (uintptr_t)begin % HUGE_PAGE) % HUGE_PAGE;
#ifdef MADV_DONTNEED
    if (begin < end && (size_t)(end - begin) >= HUGE_PAGE)
        madvise(begin, (size_t)(end - begin) / HUGE_PAGE * HUGE_PAGE, MADV_DONTNEED);
#endif
}

size_t pmap__front_shrink(struct pmap__front *front, double share)
{
    size_t part = ((size_t)(share * PARTS) + front->given) % PARTS, bucket = front->kind->bucket(front);

    if (front->given == 0)
        front->kind->drain(front);
    if (front->given++ == PARTS)
        return 0;
    char *begin = front->places + front->buckets * part / PARTS * bucket;
    char *end = front->places + front->buckets * (part + 1) / PARTS * bucket;
    front->kind->pass_all(front, begin, (size_t)(end - begin));
    give_back(begin, end);
    front->held -= (size_t)(end - begin);
    return (size_t)(end - begin);
}

/* ---- Life ---- */

size_t pmap__front_memory(const struct pmap__front *front)
{
    return front->held;
}

static const struct pmap__front_kind *first_kind(const struct pmap__combine *combine)
{
    bool sums = combine->fold == pmap_sum_i64 && combine->size == sizeof(int64_t);
    return sums && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? &pmap__front_narrow : &pmap__front_wide;
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
    front->each = sizeof(struct pmap__short) - 8 + pmap__padded(combine->size);
    front->kind = first_kind(combine);
    front->buckets = size > front->kind->bucket(front) ? size / front->kind->bucket(front) : 1;
    front->held = front->buckets * front->kind->bucket(front);
    size_t aligned = front->held >= HUGE_PAGE ? HUGE_PAGE : 64;
    front->places = aligned_alloc(aligned, (front->held + aligned - 1) & ~(aligned - 1));
    front->batch = malloc(PMAP__FRONT_BATCH * front->each);
    front->passing = malloc(PMAP__FRONT_BATCH * front->each);
    if (front->places == NULL || front->batch == NULL || front->passing == NULL) {
        pmap__front_destroy(front);
        return PMAP_ENOMEM;
    }
#ifdef MADV_HUGEPAGE
    if (aligned == HUGE_PAGE) /* places are met at random: each would miss the page tables' cache, too */
        madvise(front->places, front->held, MADV_HUGEPAGE);
#endif
    memset(front->places, 0, front->held);
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
