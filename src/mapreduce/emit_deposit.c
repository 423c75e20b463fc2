/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The emitter of a split whose pairs are kept for the next run of the program, and that of a split of which a former run has kept them. */
#include "mapreduce/emit_inside.h"

#include "base/error.h"

/* ---- Into a deposit ---- */

static void fail_deposit(struct pmap_emitter *out, enum pmap_status status, const struct pmap_error *error)
{
    out->failed = true;
    pmap__site_fail_item(status, error);
}

static void put_in_deposit(struct pmap_emitter *out, const struct pmap__pair *pair)
{
    struct pmap_error error = {0};
    enum pmap_status status = pmap__deposit_put(out->deposit, pair, &error);

    if (status != PMAP_OK)
        fail_deposit(out, status, &error);
}

/* From the fore. When the split has ended well they go both ways. */
static void put_some(void *owner, const struct pmap__short *places, size_t n, size_t each)
{
    struct pmap_emitter *out = owner;
    struct pmap_error error = {0};

    for (size_t i = 0; i < n && !out->failed; i++) {
        const struct pmap__short *p = (const void *)((const char *)places + i * each);
        void *to = p->size ? pmap__deposit_reserve(out->deposit, pmap__pair_size(p->size - 1, out->value_size), &error) : NULL;
        if (to)
            pmap__short_write(to, p, out->value_size, 0);
        else if (p->size)
            fail_deposit(out, error.status, &error);
    }
    if (out->ended && !out->failed)
        pmap__front_add_places(out->front, places, n, each);
}

void pmap__emitter_deposit(struct pmap_emitter *out, const struct pmap__pair *pair)
{
    if (pmap__emitter_goes_through(out->fore, pair)) {
        pmap__front_add(out->fore, pair->key, pair->key_size, pair->value);
        return;
    }
    pmap__emitter_count(out, pair);
    put_in_deposit(out, pair);
}

/* ---- A split begins ---- */

/* Bytes of a fore, at most: what it holds is looked through for each split. */
#define FORE_MAX ((size_t)4 << 20)
#define FORE_MIN ((size_t)64 << 10)

/* It shall hold most keys of a split of so many bytes. Those of a call are of one size, but where files end. */
static bool fit_fore(struct pmap_emitter *out, uint64_t size)
{
    size_t most = out->site->front / 4 < FORE_MAX ? out->site->front / 4 : FORE_MAX;
    size_t wanted = 2 * size > most ? most : 2 * size < FORE_MIN ? FORE_MIN : 2 * (size_t)size;

    if (out->front == NULL || (out->fore && pmap__front_memory(out->fore) > wanted / 2))
        return true;
    pmap__emitter_free_front(out, out->fore);
    out->fore = NULL;
    return pmap__emitter_make_front(out, wanted, put_some, &out->fore);
}

bool pmap__emitter_start_deposit(struct pmap_emitter *out, const struct pmap__claim *claim, uint64_t size)
{
    struct pmap_error error = {0};

    out->claim = *claim;
    out->ended = false;
    if (!fit_fore(out, size))
        return pmap__emitter_no_memory(out);
    if (out->fore)
        out->fore->pairs = out->fore->pair_bytes = out->fore->folded = 0;
    enum pmap_status status = pmap__deposit_begin(out->site->deposits, &out->deposit, &error);
    if (status != PMAP_OK)
        fail_deposit(out, status, &error);
    return status == PMAP_OK;
}

/* ---- From a deposit to the front ---- */

static void bring_record(struct pmap_emitter *out, const void *record)
{
    pmap__emitter_bring(out, &(struct pmap__pair){pmap__record_key(record), pmap__record_value(record), pmap__record_key_size(record),
                                                  pmap__record_value_size(record), 0});
}

static void bring_deposit(struct pmap_emitter *out, struct pmap__withdrawal *from)
{
    struct pmap__deposit_counts counts = pmap__withdrawal_counts(from);
    enum pmap_status status = PMAP_OK;
    struct pmap_error error = {0};
    const void *record = "";

    while (status == PMAP_OK && record && !out->failed) {
        status = pmap__withdrawal_next(from, &record, &error);
        if (status == PMAP_OK && record)
            bring_record(out, record);
    }
    if (status != PMAP_OK)
        fail_deposit(out, status, &error);
    if (out->failed)
        pmap__emitter_lose(out, status == PMAP_OK ? PMAP_ENOMEM : status, status == PMAP_OK ? "no memory" : error.text);
    out->counts.bytes_in += counts.bytes_in;
    out->counts.pairs += counts.pairs;
    out->counts.pair_bytes += counts.pair_bytes;
    out->counts.combined += counts.combined;
}

static void count_deposit(struct pmap_emitter *out, struct pmap__deposit_counts *counts)
{
    const struct pmap__counts *now = &out->counts, *then = &out->before;

    *counts = (struct pmap__deposit_counts){now->bytes_in - then->bytes_in, now->pairs - then->pairs, now->pair_bytes - then->pair_bytes, 0};
    if (out->fore) {
        counts->pairs += out->fore->pairs;
        counts->pair_bytes += out->fore->pair_bytes;
        counts->combined = out->fore->folded;
    }
}

/* What went there while the split was mapped, up to the mark, comes back from there. */
static enum pmap_status bring_marked(struct pmap_emitter *out, size_t mark, struct pmap_error *error)
{
    struct pmap__withdrawal *withdrawal = NULL;
    enum pmap_status status = pmap__deposit_open_part(out->site->deposits, &out->claim, mark, &withdrawal);

    if (status == PMAP_OK && withdrawal == NULL)
        status = pmap__error_set(error, PMAP_EJOURNAL, "pmap: journal: %s: what was written there cannot be read", out->site->plan.vault);
    if (status == PMAP_OK)
        bring_deposit(out, withdrawal);
    pmap__withdrawal_close(withdrawal);
    return status;
}

/* The split has been mapped. What is in the fore goes to the deposit and to the front. If anything fails from here on, so does the call. */
void pmap__emitter_end_deposit(struct pmap_emitter *out)
{
    struct pmap_error error = {0};
    struct pmap__deposit_counts counts;
    size_t mark = 0;
    enum pmap_status status = pmap__deposit_mark(out->deposit, &mark, &error);

    if (status == PMAP_OK) {
        out->ended = true;
        if (out->fore)
            pmap__front_empty(out->fore, true);
        if (out->failed)
            return;
        count_deposit(out, &counts);
        out->counts = out->before;
        status = pmap__deposit_end(out->deposit, &counts, &out->claim, &error);
        out->deposit = NULL;
    }
    if (status == PMAP_OK)
        status = bring_marked(out, mark, &error);
    if (status != PMAP_OK)
        fail_deposit(out, status, &error);
}

void pmap__emitter_drop_deposit(struct pmap_emitter *out)
{
    if (out->fore && out->deposit)
        pmap__front_empty(out->fore, false);
    pmap__deposit_abandon(out->deposit);
    out->deposit = NULL;
}

bool pmap__emitter_withdraw(struct pmap_emitter *out, uint64_t split, const struct pmap__claim *claim, bool *found)
{
    struct pmap__withdrawal *withdrawal = NULL;

    *found = false;
    if (claim->size == 0 || out->site->deposits == NULL)
        return true;
    pmap__emitter_start(out, split, PMAP__EMIT_DEPOSIT);
    if (pmap__deposit_open(out->site->deposits, claim, &withdrawal) != PMAP_OK)
        return pmap__emitter_no_memory(out);
    if (withdrawal == NULL)
        return true;
    *found = true;
    out->counts.found++;
    bring_deposit(out, withdrawal);
    pmap__withdrawal_close(withdrawal);
    return !out->failed;
}
