/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The root's side of a pool: jobs come in, chunks go out, results come back. See root.c for the story.
 */
#ifndef PMAP_ENGINE_ROOT_H
#define PMAP_ENGINE_ROOT_H

#include "engine/job.h"
#include "engine/loop.h"
#include "transport/transport.h"

struct pmap__root;

/* What a root is made of. From pmap__root_start on it all belongs to the root. */
struct pmap__root_parts {
    struct pmap__port *port; /* NULL: there are no other ranks */
    struct pmap__team *team; /* NULL: the root runs no items, the other ranks do */
    struct pmap__place place;
    bool caller_steps;       /* no thread of ours may use the port: its loop runs inside pmap__root_wait */
    void (*closed)(void *);  /* called at the very end of pmap__root_destroy, with argument; may be NULL */
    void *argument;
};

/* Make everything that a root needs, so that nothing can fail once the other ranks have begun to serve it. PMAP_OK, or
 * PMAP_ENOMEM. */
enum pmap_status pmap__root_create(const struct pmap__root_parts *parts, struct pmap__root **root);

/* Begin; threads[r] is how many rank r has, for port->size ranks, and is not kept; NULL if there is no port. */
void pmap__root_start(struct pmap__root *root, const int threads[]);

/* Free a root that has not begun, not its parts. NULL is fine. */
void pmap__root_discard(struct pmap__root *root);

/* Ends the pool on all ranks: waits for all jobs, says goodbye to the ranks, closes the port, ends the team. */
void pmap__root_destroy(struct pmap__root *root);

/* Start a job; wait for it. Any thread, unless the caller steps: then only the thread that created the root, and
 * submit says PMAP_EINVAL on another. */
enum pmap_status pmap__root_submit(struct pmap__root *root, struct pmap__job *job, struct pmap_error *error);
void pmap__root_wait(struct pmap__root *root, struct pmap__job *job);

int pmap__root_ranks(const struct pmap__root *root);
int pmap__root_threads(const struct pmap__root *root);

#endif
