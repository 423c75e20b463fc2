/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What the files of the emitter share: emit.c, and emit_deposit.c, where the pairs of a split are kept for the next run of the program.
 * Nobody else includes this. */
#ifndef PMAP_MAPREDUCE_EMIT_INSIDE_H
#define PMAP_MAPREDUCE_EMIT_INSIDE_H

#include "mapreduce/emit.h"

/* ---- emit.c ---- */

static inline bool pmap__emitter_goes_through(const struct pmap__front *front, const struct pmap__pair *pair)
{
    return front && pair->key_size <= PMAP__SHORT_KEY;
}

/* What goes through a front is counted there. */
static inline void pmap__emitter_count(struct pmap_emitter *out, const struct pmap__pair *pair)
{
    out->counts.pairs++;
    out->counts.pair_bytes += pair->key_size + pair->value_size;
}

/* A split begins, whose pairs go this way. */
void pmap__emitter_start(struct pmap_emitter *out, uint64_t split, enum pmap__emitter_role role);

/* On to the stores; it is counted already. */
void pmap__emitter_bring(struct pmap_emitter *out, const struct pmap__pair *pair);

/* Pairs of a split that has ended well do not come to stores. Some may have before: so it cannot be run again, and the call is over.
 * The first reason that is given counts. */
void pmap__emitter_lose(struct pmap_emitter *out, enum pmap_status status, const char *text);

/* The item has failed: false. */
bool pmap__emitter_no_memory(struct pmap_emitter *out);

/* *front stays NULL where there is none. False: no memory. */
bool pmap__emitter_make_front(struct pmap_emitter *out, size_t size, pmap__front_pass_fn *pass, struct pmap__front **front);
void pmap__emitter_free_front(struct pmap_emitter *out, struct pmap__front *front); /* NULL is fine */

/* ---- emit_deposit.c ---- */

/* A split of so many bytes begins; false: the item has failed. */
bool pmap__emitter_start_deposit(struct pmap_emitter *out, const struct pmap__claim *claim, uint64_t size);
/* A pair of it. */
void pmap__emitter_deposit(struct pmap_emitter *out, const struct pmap__pair *pair);
/* It has been mapped, and there is a deposit: complete that, and bring the pairs on. */
void pmap__emitter_end_deposit(struct pmap_emitter *out);
/* It is over, well or not: what is left of it goes. */
void pmap__emitter_drop_deposit(struct pmap_emitter *out);

#endif
