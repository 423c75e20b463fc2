/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A merge is a tree of losers (Knuth, The Art of Computer Programming 3, 5.4.1): the leaves are the sources, each with the record it gave
 * last, every node above remembers who lost there, and the winner of all is the next record. When it has been used, its source gives
 * another, which plays against the losers on its way up: log2(n) matches. A leaf has the first bytes of the key as a number, so that most
 * matches do not look at records at all.
 *
 * Too many runs to be read at once are merged into longer ones first: which, so that the least is written, is Huffman's problem with more
 * than two branches, and his answer is the shortest, always, where the first merge takes just so many that all others are full. */
#include "mapreduce/run.h"

#include "base/error.h"
#include "base/memory.h"

#include <stdlib.h>

struct leaf {
    uint64_t prefix;    /* of the record's key; UINT64_MAX if there is none */
    const void *record; /* NULL: the source has no more */
    struct pmap__source *source;
};

/* Leaf i is node n + i, the nodes above are 1 to n - 1, and node k is above nodes 2k and 2k + 1. */
struct merge {
    struct pmap__source source;
    size_t n;
    bool begun;     /* every leaf has had a record */
    size_t winner;  /* leaf */
    size_t *losers; /* leaves, for each node */
    struct leaf leaves[];
};

/* ---- Matches ---- */

/* Records whose keys have the same first eight bytes, or zeros for them: where one of them ends there the shorter comes first. */
static int compare_behind(const void *a, const void *b)
{
    size_t x = pmap__record_key_size(a), y = pmap__record_key_size(b);
    int order = (x > y) - (x < y);

    if (x > 8 && y > 8)
        order = pmap__key_compare((const char *)pmap__record_key(a) + 8, x - 8, (const char *)pmap__record_key(b) + 8, y - 8);
    return order ? order : (pmap__record_tag(a) > pmap__record_tag(b)) - (pmap__record_tag(a) < pmap__record_tag(b));
}

static bool before(const struct merge *m, size_t a, size_t b)
{
    const struct leaf *p = &m->leaves[a], *q = &m->leaves[b];

    if (p->prefix != q->prefix)
        return p->prefix < q->prefix;
    if (p->record == NULL || q->record == NULL)
        return p->record != NULL;
    int order = compare_behind(p->record, q->record);
    return order ? order < 0 : a < b;
}

/* The leaf that wins below a node. */
static size_t play(struct merge *m, size_t node)
{
    if (node >= m->n)
        return node - m->n;
    size_t a = play(m, 2 * node), b = play(m, 2 * node + 1);
    bool first = before(m, a, b);
    m->losers[node] = first ? b : a;
    return first ? a : b;
}

/* The winner has changed its record. */
static void replay(struct merge *m)
{
    size_t winner = m->winner;

    for (size_t node = (m->n + winner) / 2; node > 0; node /= 2) {
        size_t other = m->losers[node];
        if (before(m, other, winner)) {
            m->losers[node] = winner;
            winner = other;
        }
    }
    m->winner = winner;
}

static enum pmap_status advance(struct leaf *leaf, struct pmap_error *error)
{
    enum pmap_status status = leaf->source->next(leaf->source, &leaf->record, error);
    if (status == PMAP_OK)
        leaf->prefix = leaf->record ? pmap__record_prefix(leaf->record, 0) : UINT64_MAX;
    return status;
}

/* ---- The source ---- */

static enum pmap_status begin(struct merge *m, struct pmap_error *error)
{
    for (size_t i = 0; i < m->n; i++) {
        enum pmap_status status = advance(&m->leaves[i], error);
        if (status != PMAP_OK)
            return status;
    }
    m->winner = m->n ? play(m, 1) : 0;
    m->begun = true;
    return PMAP_OK;
}

static enum pmap_status again(struct merge *m, struct pmap_error *error)
{
    if (m->n == 0 || m->leaves[m->winner].record == NULL)
        return PMAP_OK;
    enum pmap_status status = advance(&m->leaves[m->winner], error);
    if (status == PMAP_OK)
        replay(m);
    return status;
}

static enum pmap_status merge_next(struct pmap__source *source, const void **record, struct pmap_error *error)
{
    struct merge *m = (struct merge *)source;
    enum pmap_status status = m->begun ? again(m, error) : begin(m, error);

    *record = status == PMAP_OK && m->n ? m->leaves[m->winner].record : NULL;
    return status;
}

static void close_all(struct pmap__source *const sources[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        sources[i]->close(sources[i]);
}

static void merge_close(struct pmap__source *source)
{
    struct merge *m = (struct merge *)source;

    for (size_t i = 0; i < m->n; i++)
        close_all(&m->leaves[i].source, 1);
    free(m->losers);
    free(m);
}

enum pmap_status pmap__merge_open(struct pmap__source *const sources[], size_t n, struct pmap__source **source)
{
    struct merge *m = malloc(sizeof *m + n * sizeof *m->leaves);
    size_t *losers = malloc((n + 1) * sizeof *losers);

    if (m == NULL || losers == NULL) {
        free(losers);
        free(m);
        close_all(sources, n);
        return PMAP_ENOMEM;
    }
    *m = (struct merge){.source = {merge_next, merge_close}, .n = n, .losers = losers};
    for (size_t i = 0; i < n; i++)
        m->leaves[i] = (struct leaf){.source = sources[i]};
    *source = &m->source;
    return PMAP_OK;
}

/* ---- Merging runs into one ---- */

static enum pmap_status copy(struct pmap__source *from, struct pmap__sorted_writer *to, struct pmap_error *error)
{
    for (;;) {
        const void *record;
        enum pmap_status status = from->next(from, &record, error);
        if (status != PMAP_OK || record == NULL)
            return status;
        status = pmap__sorted_put(to, record, error);
        if (status != PMAP_OK)
            return status;
    }
}

static bool same_key(const void *a, const void *b)
{
    size_t size = pmap__record_key_size(a);
    return size == pmap__record_key_size(b) && memcmp(pmap__record_key(a), pmap__record_key(b), size) == 0;
}

static enum pmap_status hold(struct pmap__buffer *held, const void *record, struct pmap_error *error)
{
    size_t size = pmap__record_size(record);

    if (!pmap__buffer_reserve(held, size))
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for a pair of %zu bytes", size);
    memcpy(held->bytes, record, size);
    return PMAP_OK;
}

/* Copy, and fold the values of each key. *held has the record that they are folded into. */
static enum pmap_status copy_folded(struct pmap__source *from, struct pmap__sorted_writer *to, const struct pmap__combine *combine,
                                    struct pmap__buffer *held, struct pmap_error *error)
{
    for (bool any = false;; any = true) {
        const void *record;
        enum pmap_status status = from->next(from, &record, error);
        if (status != PMAP_OK)
            return status;
        if (any && record && same_key(held->bytes, record)) {
            combine->fold((char *)held->bytes + PMAP__PAIR_HEAD, pmap__record_value(record));
            continue;
        }
        if (any)
            status = pmap__sorted_put(to, held->bytes, error);
        if (status != PMAP_OK || record == NULL)
            return status;
        status = hold(held, record, error);
        if (status != PMAP_OK)
            return status;
    }
}

static enum pmap_status write_out(struct pmap__scratch *scratch, struct pmap__source *from, size_t block,
                                  const struct pmap__combine *combine, struct pmap__sorted *whole, struct pmap_error *error)
{
    struct pmap__sorted_writer *to;
    struct pmap__buffer held = {0};
    enum pmap_status status = pmap__sorted_begin(scratch, block, &to);

    if (status != PMAP_OK)
        return pmap__error_set(error, status, "pmap: no memory to write what is merged");
    status = combine->size ? copy_folded(from, to, combine, &held, error) : copy(from, to, error);
    pmap__buffer_fini(&held);
    if (status == PMAP_OK)
        return pmap__sorted_end(to, whole, error);
    pmap__sorted_abandon(to);
    return status;
}

/* A merge that consumes n runs. What there is to free of them, beside the lists, goes with it, or at once if it cannot be made. */
static enum pmap_status open_runs(struct pmap__scratch *scratch, struct pmap__sorted runs[], size_t n, struct pmap__source **merge,
                                  struct pmap_error *error)
{
    struct pmap__source **sources = malloc(n * sizeof *sources);
    size_t opened = 0;

    while (sources && opened < n && pmap__sorted_open(scratch, &runs[opened], true, &sources[opened]) == PMAP_OK)
        opened++;
    enum pmap_status status = PMAP_ENOMEM;
    if (opened == n)
        status = pmap__merge_open(sources, n, merge);
    else
        close_all(sources, opened);
    for (size_t i = opened; i < n; i++)
        pmap__sorted_free(scratch, &runs[i]);
    free(sources);
    return status == PMAP_OK ? status : pmap__error_set(error, status, "pmap: no memory to merge %zu runs", n);
}

/* Runs become one; they are gone in any case. */
static enum pmap_status merge_runs(struct pmap__scratch *scratch, struct pmap__sorted runs[], size_t n, size_t block,
                                   const struct pmap__combine *combine, struct pmap__sorted *whole, struct pmap_error *error)
{
    struct pmap__source *merge;
    enum pmap_status status = open_runs(scratch, runs, n, &merge, error);

    if (status == PMAP_OK) {
        status = write_out(scratch, merge, block, combine, whole, error);
        merge->close(merge);
    }
    for (size_t i = 0; i < n; i++)
        free(runs[i].blocks);
    return status;
}

/* ---- Merging many runs into few ---- */

static int by_stored(const void *a, const void *b)
{
    const struct pmap__sorted *r = a, *s = b;
    return (r->stored > s->stored) - (r->stored < s->stored);
}

/* Put a run where it belongs among n that go by their stored sizes; the array has room for it. */
static void insert(struct pmap__sorted runs[], size_t n, const struct pmap__sorted *run)
{
    for (; n > 0 && runs[n - 1].stored > run->stored; n--)
        runs[n] = runs[n - 1];
    runs[n] = *run;
}

enum pmap_status pmap__sorted_merge_down(struct pmap__scratch *scratch, struct pmap__sorted runs[], size_t *n, size_t fan_in, size_t block,
                                         const struct pmap__combine *combine, uint64_t *merged, struct pmap_error *error)
{
    fan_in = fan_in < 2 ? 2 : fan_in;
    if (*n > fan_in)
        qsort(runs, *n, sizeof *runs, by_stored);
    while (*n > fan_in) {
        /* A full merge makes fan_in - 1 runs fewer. This one takes what is left over beside full ones, if there is. */
        size_t count = (*n - 2) % (fan_in - 1) + 2;
        struct pmap__sorted whole;
        enum pmap_status status = merge_runs(scratch, runs, count, block, combine, &whole, error);
        *n -= count;
        memmove(runs, runs + count, *n * sizeof *runs);
        if (status != PMAP_OK)
            return status;
        insert(runs, (*n)++, &whole);
        *merged += count;
    }
    return PMAP_OK;
}
