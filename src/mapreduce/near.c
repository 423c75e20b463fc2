/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A list of splits for each rank, one of those that nobody wants, and one of all; each is walked once, past what has been taken
 * meanwhile. So a split costs as many steps as it is in lists.
 */
#include "mapreduce/near.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct list {
    size_t *splits, n, next;
};

struct pmap__near {
    pthread_mutex_t lock; /* of all of this */
    bool *taken;          /* by split */
    size_t n, ranks;
    struct list lists[];  /* of each rank; then nobody's, then all */
};

static bool list_make(struct list *list, size_t n, bool (*has)(const char *const near[], size_t ranks, size_t which, size_t split),
                      const char *const near[], size_t ranks, size_t which)
{
    for (size_t i = 0; i < n; i++)
        list->n += has(near, ranks, which, i);
    list->splits = calloc(list->n + 1, sizeof *list->splits);
    list->n = 0;
    for (size_t i = 0; i < n && list->splits; i++)
        if (has(near, ranks, which, i))
            list->splits[list->n++] = i;
    return list->splits != NULL;
}

static bool is_near(const char *const near[], size_t ranks, size_t rank, size_t split)
{
    (void)ranks;
    return near[rank] && near[rank][split];
}

static bool is_nobodys(const char *const near[], size_t ranks, size_t unused, size_t split)
{
    (void)unused;
    for (size_t rank = 0; rank < ranks; rank++)
        if (is_near(near, ranks, rank, split))
            return false;
    return true;
}

static bool is_any(const char *const near[], size_t ranks, size_t unused, size_t split)
{
    (void)near, (void)ranks, (void)unused, (void)split;
    return true;
}

enum pmap_status pmap__near_create(size_t n, size_t ranks, const char *const near[], struct pmap__near **made)
{
    struct pmap__near *x = calloc(1, sizeof *x + (ranks + 2) * sizeof x->lists[0]);
    bool well = x != NULL;

    if (x == NULL)
        return PMAP_ENOMEM;
    pthread_mutex_init(&x->lock, NULL); /* glibc's cannot fail */
    x->n = n;
    x->ranks = ranks;
    x->taken = calloc(n + 1, sizeof *x->taken);
    for (size_t rank = 0; rank < ranks; rank++)
        well &= list_make(&x->lists[rank], n, is_near, near, ranks, rank);
    well &= list_make(&x->lists[ranks], n, is_nobodys, near, ranks, 0);
    well &= list_make(&x->lists[ranks + 1], n, is_any, near, ranks, 0);
    if (!well || x->taken == NULL) {
        pmap__near_destroy(x);
        return PMAP_ENOMEM;
    }
    *made = x;
    return PMAP_OK;
}

void pmap__near_destroy(struct pmap__near *near)
{
    if (near == NULL)
        return;
    for (size_t i = 0; i < near->ranks + 2; i++)
        free(near->lists[i].splits);
    free(near->taken);
    pthread_mutex_destroy(&near->lock);
    free(near);
}

/* SIZE_MAX: it has no more. */
static size_t take(struct pmap__near *near, struct list *list)
{
    while (list->next < list->n) {
        size_t split = list->splits[list->next++];
        if (!near->taken[split]) {
            near->taken[split] = true;
            return split;
        }
    }
    return SIZE_MAX;
}

size_t pmap__near_next(struct pmap__near *near, size_t rank)
{
    pthread_mutex_lock(&near->lock);
    size_t split = take(near, &near->lists[rank]);
    if (split == SIZE_MAX)
        split = take(near, &near->lists[near->ranks]);
    if (split == SIZE_MAX)
        split = take(near, &near->lists[near->ranks + 1]);
    pthread_mutex_unlock(&near->lock);
    return split;
}
