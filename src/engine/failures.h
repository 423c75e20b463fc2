/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What went wrong with the items of a job, or of a chunk of it: how many failed, which of them has the lowest index and
 * why, how many were never run; and, where somebody wants to know, each of them by itself. Any thread that runs items
 * adds to it, under its lock.
 */
#ifndef PMAP_ENGINE_FAILURES_H
#define PMAP_ENGINE_FAILURES_H

#include <pmap.h>
#include <pthread.h>
#include <stdatomic.h>

/* One failure, or one run of items that were not run. */
struct pmap__record {
    size_t item, n;
    enum pmap_status status;
    struct pmap_error *error; /* malloc'ed; NULL unless reasons are kept */
    struct pmap__record *next;
};

/* What is kept of each failure besides the lowest. */
enum pmap__keep { PMAP__KEEP_NOTHING, PMAP__KEEP_RECORDS, PMAP__KEEP_REASONS };

struct pmap__failures {
    pthread_mutex_t lock;
    uint64_t count;            /* items that failed */
    uint64_t cancelled;        /* items that were not run, or stopped because they were told to */
    size_t lowest_item;        /* these two are valid if count > 0 */
    enum pmap_status lowest_status;
    struct pmap_error *lowest; /* malloc'ed; NULL with count > 0: there was no memory for it */
    enum pmap__keep keep;
    struct pmap__record *records, **last;
    bool forgot;               /* there was no memory for a record */
    size_t limit;              /* with so many failures *stop is set; 0: never */
    atomic_bool *stop;
    enum pmap_status *statuses; /* of all items of the job, the caller's; NULL: nobody asks */
    _Atomic uint64_t *out;      /* a bit for each item from out_base on, set when it has failed; NULL: nobody asks */
    size_t out_base;
};

bool pmap__failures_init(struct pmap__failures *failures);
void pmap__failures_fini(struct pmap__failures *failures);

/* As after init, but what is asked for stays. */
void pmap__failures_clear(struct pmap__failures *failures);

/* Add count failed items [error->item, …) of which error is the reason, or the lowest's if they are several. */
void pmap__failures_add(struct pmap__failures *failures, const struct pmap_error *error, uint64_t count);

/* Like add, for failures that are counted but have records of their own. */
void pmap__failures_count(struct pmap__failures *failures, const struct pmap_error *error, uint64_t count);

/* The items [item, item + n) were not run. */
void pmap__failures_skip(struct pmap__failures *failures, size_t item, size_t n);

/* Count n items that were not run and have records of their own, or none. */
void pmap__failures_skipped(struct pmap__failures *failures, uint64_t n);

/* Add a record as another rank made it: statuses, and the records if they are kept. error may be NULL. */
void pmap__failures_record(struct pmap__failures *failures, size_t item, size_t n, enum pmap_status status,
                           const struct pmap_error *error);

/* Take all records out; the caller frees them. */
struct pmap__record *pmap__failures_take(struct pmap__failures *failures);
void pmap__record_free(struct pmap__record *record);

/* The lowest failure, or what is left of it if there was no memory to keep it. */
void pmap__failures_lowest(const struct pmap__failures *failures, struct pmap_error *error);

#endif
