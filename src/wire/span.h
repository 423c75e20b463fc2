/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A span: what one thread did from one moment to another. Ranks send theirs to the root, many in one letter (engine/recorder.h),
 * as bytes of a fixed width; reading trusts nothing.
 */
#ifndef PMAP_WIRE_SPAN_H
#define PMAP_WIRE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum pmap__span_kind {
    PMAP__SPAN_ITEMS,              /* ran items of a call */
    PMAP__SPAN_CREATE,             /* was in pmap_create, until it could run items */
    PMAP__SPAN_INITIALIZER,        /* ran the pool's initializer, */
    PMAP__SPAN_THREAD_INITIALIZER, /* or its thread_initializer */
    PMAP__SPAN_KINDS
};

/* All but begin, end, thread and kind is of PMAP__SPAN_ITEMS. */
struct pmap__span {
    uint64_t call;       /* which call they belong to, as the observer named it */
    uint64_t chunk;      /* the one that brought them, or the first that did; 0: they were there */
    uint64_t item, last; /* the lowest and the highest index of an item; what is between may belong to other spans */
    uint64_t n;          /* items */
    uint64_t begin, end; /* ns of the rank's own clock */
    uint64_t busy;       /* ns that the thread was in items; end - begin unless there were pauses between them */
    uint64_t failed, given_up; /* how many of the items */
    int thread;          /* from 0 */
    unsigned attempt;    /* 1: the first */
    enum pmap__span_kind kind;
    bool isolated;       /* the items had processes of their own */
};

/* Bytes of one. */
#define PMAP__SPAN_SIZE 92

void pmap__span_encode(const struct pmap__span *span, unsigned char bytes[static PMAP__SPAN_SIZE]);

/* NULL, or the name of a field that makes no sense. *span only if all do. */
const char *pmap__span_decode(const unsigned char bytes[static PMAP__SPAN_SIZE], struct pmap__span *span);

#endif
