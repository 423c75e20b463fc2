/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The trace of a pool: an observer (engine/observer.h) that keeps a book and writes it to a file. doc/trace.md is for users.
 *
 * All pools of the process that have the same path share a book, which lives as long as the process. It is written when a pool is
 * destroyed, or abandoned, and as a will (base/will.h).
 */
#ifndef PMAP_OBSERVE_TRACE_H
#define PMAP_OBSERVE_TRACE_H

#include "engine/root.h"

struct pmap__book;
struct pmap__trace;

/* What a pool is to have, from pmap_create on. */
struct pmap__trace_wish {
    const char *call; /* for texts */
    const char *path; /* the program's; NULL: what PMAP_TRACE says */
    struct pmap__book *book; /* NULL: none, as long as it is not prepared, or not wanted */
};

/* On the root, before the pool is made: the file can be written. PMAP_OK; PMAP_EINVAL: it cannot, or a setting makes no sense; PMAP_ENOMEM.
 * argument is the wish. */
enum pmap_status pmap__trace_prepare(void *argument, struct pmap_error *error);

/* The tenant has come, and is observed from now on; *trace is NULL if nothing was wished for. Or it has not come. Either way the wish is used up. */
void pmap__trace_begin(struct pmap__trace_wish *wish, struct pmap__tenant *tenant, struct pmap__trace **trace);
void pmap__trace_drop(struct pmap__trace_wish *wish);

/* The tenant has been joined, and is about to leave: write the file. NULL is fine. */
void pmap__trace_end(struct pmap__trace *trace);

#endif
