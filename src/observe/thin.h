/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Making room in a book: neighbours that are alike are joined, two by two. The lock is held.
 */
#ifndef PMAP_OBSERVE_THIN_H
#define PMAP_OBSERVE_THIN_H

#include "observe/book.h"

void pmap__thin_spans(struct pmap__book *book);
void pmap__thin_chunks(struct pmap__book *book);
void pmap__thin_calls(struct pmap__book *book);

/* So that what is made of the book takes little time: to some 10 000 spans, and a quarter of that of calls and of chunks, or a few more. Only what
 * can be joined becomes less; nothing is dropped. */
#define PMAP__THINNED 10000
void pmap__thin_out(struct pmap__book *book);

/* The lines of a lane in the order of their begin. */
void pmap__lane_sort(struct pmap__lane *lane);

#endif
