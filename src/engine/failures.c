/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/failures.h"

#include "base/error.h"

#include <stdlib.h>

bool pmap__failures_init(struct pmap__failures *failures)
{
    *failures = (struct pmap__failures){0};
    failures->last = &failures->records;
    return pthread_mutex_init(&failures->lock, NULL) == 0;
}

void pmap__record_free(struct pmap__record *record)
{
    free(record->error);
    free(record);
}

void pmap__failures_clear(struct pmap__failures *failures)
{
    struct pmap__record *record = pmap__failures_take(failures);

    while (record) {
        struct pmap__record *next = record->next;
        pmap__record_free(record);
        record = next;
    }
    free(failures->lowest);
    failures->lowest = NULL;
    failures->count = failures->cancelled = 0;
    failures->forgot = false;
}

void pmap__failures_fini(struct pmap__failures *failures)
{
    pmap__failures_clear(failures);
    pthread_mutex_destroy(&failures->lock);
}

/* ---- Under the lock ---- */

static struct pmap_error *copy(const struct pmap_error *error)
{
    struct pmap_error *copied = malloc(sizeof *copied);
    if (copied)
        *copied = *error;
    return copied;
}

static void count(struct pmap__failures *f, const struct pmap_error *error, uint64_t n)
{
    if (f->count == 0 || error->item < f->lowest_item) {
        f->lowest_item = error->item;
        f->lowest_status = error->status;
        if (f->lowest)
            *f->lowest = *error;
        else if (f->count == 0)
            f->lowest = copy(error);
    }
    f->count += n;
    if (f->limit && f->count >= f->limit)
        atomic_store(f->stop, true);
}

static void record(struct pmap__failures *f, size_t item, size_t n, enum pmap_status status, const struct pmap_error *error)
{
    for (size_t i = 0; f->statuses && i < n; i++)
        f->statuses[item + i] = status;
    for (size_t i = item - f->out_base; f->out && i < item - f->out_base + n; i++)
        atomic_fetch_or_explicit(&f->out[i / 64], UINT64_C(1) << i % 64, memory_order_relaxed);
    if (f->keep == PMAP__KEEP_NOTHING)
        return;
    struct pmap__record *r = malloc(sizeof *r);
    if (r == NULL) {
        f->forgot = true;
        return;
    }
    *r = (struct pmap__record){.item = item, .n = n, .status = status};
    if (f->keep == PMAP__KEEP_REASONS && error)
        r->error = copy(error);
    *f->last = r;
    f->last = &r->next;
}

/* ---- For everybody ---- */

void pmap__failures_add(struct pmap__failures *failures, const struct pmap_error *error, uint64_t n)
{
    pthread_mutex_lock(&failures->lock);
    count(failures, error, n);
    record(failures, error->item, (size_t)n, error->status, error);
    pthread_mutex_unlock(&failures->lock);
}

void pmap__failures_count(struct pmap__failures *failures, const struct pmap_error *error, uint64_t n)
{
    pthread_mutex_lock(&failures->lock);
    count(failures, error, n);
    pthread_mutex_unlock(&failures->lock);
}

void pmap__failures_skip(struct pmap__failures *failures, size_t item, size_t n)
{
    pthread_mutex_lock(&failures->lock);
    failures->cancelled += n;
    record(failures, item, n, PMAP_ECANCELLED, NULL);
    pthread_mutex_unlock(&failures->lock);
}

void pmap__failures_skipped(struct pmap__failures *failures, uint64_t n)
{
    pthread_mutex_lock(&failures->lock);
    failures->cancelled += n;
    pthread_mutex_unlock(&failures->lock);
}

void pmap__failures_record(struct pmap__failures *failures, size_t item, size_t n, enum pmap_status status,
                           const struct pmap_error *error)
{
    pthread_mutex_lock(&failures->lock);
    record(failures, item, n, status, error);
    pthread_mutex_unlock(&failures->lock);
}

struct pmap__record *pmap__failures_take(struct pmap__failures *failures)
{
    struct pmap__record *records = failures->records;
    failures->records = NULL;
    failures->last = &failures->records;
    return records;
}

void pmap__failures_lowest(const struct pmap__failures *failures, struct pmap_error *error)
{
    if (failures->lowest) {
        *error = *failures->lowest;
        return;
    }
    pmap__error_set(error, failures->lowest_status, "pmap: item %zu failed, and there was no memory to keep its reason",
                    failures->lowest_item);
    error->item = failures->lowest_item;
}
