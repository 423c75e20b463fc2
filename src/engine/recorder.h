/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Noting what threads do, on each rank of a pool that is observed. Whoever runs items has a *noting* on its stack, and tells
 * it of each piece that it has run. An item may take nanoseconds, and reading the clock takes twenty: so the clock is read after a stride of
 * pieces, and what lies between two readings is a span; an item that takes long is one by itself. Short spans of the same call that
 * follow each other closely are joined.
 *
 * Each thread has a place of its own, with a lock of its own, which nobody else wants but when all is gathered. When the place is full,
 * or its first span is a tenth of a second old, the thread hands it over: on the root to the observer, elsewhere to the post
 * (post.h). So a rank that dies takes little with it, and no thread waits for another.
 *
 * The recorder of a rank is the resident PMAP__RECORDERS of its post. It answers letters of an observer: words[0] says what is
 * wanted, words[1] which resident of the sender gets the answer. The words of an answer are (what << 32 | a count) and the rank's
 * clock.
 *
 *   to a rank   PING     what time is it? The count is repeated
 *               HAIL     likewise, and who are you? A body comes back: struct pmap__hail, and behind it what it did before the pool
 *                        began, as spans
 *               GATHER   all that was noted. It is sent, and how many letters with spans that were in all, for some may come later
 *   to an       SPANS    a body of spans
 *   observer
 */
#ifndef PMAP_ENGINE_RECORDER_H
#define PMAP_ENGINE_RECORDER_H

#include "engine/item.h"
#include "engine/observer.h"
#include "engine/post.h"

#define PMAP__RECORDERS UINT64_MAX

enum pmap__record_letter { PMAP__PING = 1, PMAP__HAIL, PMAP__GATHER, PMAP__SPANS };

/* Who a rank is, as bytes: both ends are the same program. */
struct pmap__hail {
    char host[64];
    uint64_t clock;  /* equal where clocks show the same time: of the machine and the time namespace */
    int64_t threads; /* that run items */
};

struct pmap__recorder;

/* NULL if memory is short. place outlives it, and is what it belongs to. */
struct pmap__recorder *pmap__recorder_create(struct pmap__place *place);
void pmap__recorder_destroy(struct pmap__recorder *recorder); /* NULL is fine */

/* So many threads will run items, and it answers letters. False if memory is short. */
bool pmap__recorder_begin(struct pmap__recorder *recorder, int threads);

/* Something that was done before there was a pool. Any thread. NULL is fine. */
void pmap__recorder_before(struct pmap__recorder *recorder, enum pmap__span_kind kind, int thread, uint64_t begin);

/* Who this rank is; and those of the above: copies of up to most, to return how many, once. */
void pmap__recorder_hail(const struct pmap__recorder *recorder, struct pmap__hail *hail);
size_t pmap__recorder_begun(struct pmap__recorder *recorder, struct pmap__span spans[], size_t most);

/* Hand over all that threads have noted. */
void pmap__recorder_gather(struct pmap__recorder *recorder);

/* The same in haste, and waits for nobody: what is noted here for this observer, but for what somebody is just noting, is handed to keep instead
 * of the observer's spans(), which may wait. */
typedef void pmap__keep_fn(struct pmap__observer *observer, int rank, const struct pmap__span *spans, size_t n);
void pmap__recorder_salvage(struct pmap__recorder *recorder, struct pmap__observer *observer, pmap__keep_fn *keep);

/* ---- A thread that runs items ---- */

struct pmap__noting {
    struct pmap__recorder *recorder;
    const struct pmap__subject *subject;
    int thread;
    unsigned pieces, stride;  /* since the clock was read; after how many it is read again */
    uint64_t since;           /* when that was */
    size_t item, last, n, failed, given_up; /* of these pieces */
};

/* The thread begins to run items, and comes to an end with that. */
void pmap__noting_begin(struct pmap__noting *noting, struct pmap__recorder *recorder, const struct pmap__subject *subject, int thread);
void pmap__noting_end(struct pmap__noting *noting);
void pmap__noting_look(struct pmap__noting *noting);

/* n items from first on have been run; others of the same piece are to follow. */
static inline void pmap__noting_count(struct pmap__noting *noting, size_t first, size_t n)
{
    if (noting->n == 0 || first < noting->item)
        noting->item = first;
    if (noting->n == 0 || first + n - 1 > noting->last)
        noting->last = first + n - 1;
    noting->n += n;
}

/* The same, and they are all of the piece. */
static inline void pmap__noting_piece(struct pmap__noting *noting, size_t first, size_t n)
{
    pmap__noting_count(noting, first, n);
    if (++noting->pieces >= noting->stride)
        pmap__noting_look(noting);
}

/* Items of the piece that is being run have failed, or given up. It is soon to be seen by itself. */
static inline void pmap__noting_miss(struct pmap__noting *noting, size_t n, bool gave_up)
{
    *(gave_up ? &noting->given_up : &noting->failed) += n;
    noting->stride = 1;
}

#endif
