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

/* The lines of a lane in the order of their begin. */
void pmap__lane_sort(struct pmap__lane *lane);

#endif
