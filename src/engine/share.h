/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Shared data, by id. Each rank of a pool has a list of what is shared in it; the memory itself is the transport's, one copy
 * per node, or ours where there are no other ranks. A table of the process says where the data of an id is, for tasks
 * that ask; ids are never used twice.
 */
#ifndef PMAP_ENGINE_SHARE_H
#define PMAP_ENGINE_SHARE_H

#include "transport/transport.h"

#include <stdatomic.h>

/* One piece of data on one rank. */
struct pmap__shared {
    uint64_t id;
    const void *tenant; /* on the root: whose it is */
    size_t size;
    const void *bytes;
    struct pmap__segment *segment; /* NULL: bytes is own */
    void *own;
    struct pmap__shared *next;       /* of the rank's, */
    struct pmap__shared *next_known; /* and of the process's */
};

struct pmap__shares {
    struct pmap__shared *first;
    bool shelved; /* the processes that items run in find a copy on the shelf (cell/shelf.h) */
    int file;     /* of this file */
};

/* What somebody on the root wants to be done, and waits for. */
struct pmap__sharing {
    bool remove;
    const void *tenant;
    uint64_t id;
    const void *data;
    size_t size;
    enum pmap_status status;
    atomic_bool done;
    struct pmap__sharing *next;
};

/* Collective over the port, which is NULL if there are no other ranks: data is the root's, NULL elsewhere. */
enum pmap_status pmap__shares_add(struct pmap__shares *shares, struct pmap__port *port, int root, uint64_t id,
                                  const void *data, size_t size);
void pmap__shares_remove(struct pmap__shares *shares, struct pmap__port *port, uint64_t id);
void pmap__shares_clear(struct pmap__shares *shares, struct pmap__port *port);

/* What the tenant shares under this id, or anything if id is 0; NULL if there is nothing. */
struct pmap__shared *pmap__shares_find(const struct pmap__shares *shares, const void *tenant, uint64_t id);

/* This process is one of those: it looks on the shelf from now on. */
void pmap__share_move(int file);

/* Where it is in this process; NULL if it is not. Any thread. */
const void *pmap__share_find(uint64_t id);

#endif
