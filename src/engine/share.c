/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/share.h"

#include "cell/shelf.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PAGE ((size_t)4096)

static struct {
    pthread_rwlock_t lock;
    struct pmap__shared *first;
    int shelf; /* 1 + the file of the shelf; 0: there is none, this is no process for items */
} known = {.lock = PTHREAD_RWLOCK_INITIALIZER};

static void make_known(struct pmap__shared *shared)
{
    pthread_rwlock_wrlock(&known.lock);
    shared->next_known = known.first;
    known.first = shared;
    pthread_rwlock_unlock(&known.lock);
}

static void forget(struct pmap__shared *shared)
{
    pthread_rwlock_wrlock(&known.lock);
    struct pmap__shared **at = &known.first;
    while (*at != shared)
        at = &(*at)->next_known;
    *at = shared->next_known;
    pthread_rwlock_unlock(&known.lock);
}

void pmap__share_move(int file)
{
    known.shelf = file + 1;
}

const void *pmap__share_find(uint64_t id)
{
    if (known.shelf)
        return pmap__shelf_find(known.shelf - 1, id);
    pthread_rwlock_rdlock(&known.lock);
    const struct pmap__shared *shared = known.first;
    while (shared && shared->id != id)
        shared = shared->next_known;
    const void *bytes = shared ? shared->bytes : NULL;
    pthread_rwlock_unlock(&known.lock);
    return bytes;
}

static enum pmap_status copy(struct pmap__shared *shared, const void *data, size_t size)
{
    if (size > SIZE_MAX - PAGE)
        return PMAP_ENOMEM;
    shared->own = aligned_alloc(PAGE, (size + PAGE - 1) / PAGE * PAGE);
    if (shared->own == NULL)
        return PMAP_ENOMEM;
    shared->bytes = memcpy(shared->own, data, size);
    return PMAP_OK;
}

/* Free what is in no list. */
static void drop(struct pmap__shared *shared, struct pmap__port *port)
{
    if (shared->segment)
        port->ops->unshare(port, shared->segment);
    free(shared->own);
    free(shared);
}

/* A copy for the processes that items run in, on all ranks or on none; collective. */
static enum pmap_status shelve(struct pmap__shares *shares, struct pmap__port *port, struct pmap__shared *shared)
{
    bool mine = !shares->shelved || pmap__shelf_put(shares->file, shared->id, shared->bytes, shared->size);
    int everybody = mine;

    if (!shares->shelved)
        return PMAP_OK;
    if (port && port->ops->least(port, &everybody) != PMAP_OK)
        return PMAP_EMPI;
    if (everybody)
        return PMAP_OK;
    if (mine)
        pmap__shelf_take(shares->file, shared->id);
    drop(shared, port);
    return PMAP_ENOMEM;
}

enum pmap_status pmap__shares_add(struct pmap__shares *shares, struct pmap__port *port, int root, uint64_t id,
                                  const void *data, size_t size)
{
    struct pmap__shared *shared = calloc(1, sizeof *shared);
    int everybody = shared != NULL;
    enum pmap_status status = PMAP_ENOMEM;

    if (port && port->ops->least(port, &everybody) != PMAP_OK)
        status = PMAP_EMPI;
    else if (everybody)
        status = port ? port->ops->share(port, root, data, size, &shared->segment) : copy(shared, data, size);
    if (status != PMAP_OK) {
        free(shared);
        return status;
    }
    if (shared->segment)
        shared->bytes = shared->segment->bytes;
    shared->id = id;
    shared->size = size;
    status = shelve(shares, port, shared);
    if (status != PMAP_OK)
        return status;
    shared->next = shares->first;
    shares->first = shared;
    make_known(shared);
    return PMAP_OK;
}

static void let_go(struct pmap__shares *shares, struct pmap__shared **at, struct pmap__port *port)
{
    struct pmap__shared *shared = *at;

    *at = shared->next;
    forget(shared);
    if (shares->shelved)
        pmap__shelf_take(shares->file, shared->id);
    drop(shared, port);
}

void pmap__shares_remove(struct pmap__shares *shares, struct pmap__port *port, uint64_t id)
{
    struct pmap__shared **at = &shares->first;
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    if (*at)
        let_go(shares, at, port);
}

void pmap__shares_clear(struct pmap__shares *shares, struct pmap__port *port)
{
    while (shares->first)
        let_go(shares, &shares->first, port);
}

struct pmap__shared *pmap__shares_find(const struct pmap__shares *shares, const void *tenant, uint64_t id)
{
    struct pmap__shared *shared = shares->first;
    while (shared && (shared->tenant != tenant || (id && shared->id != id)))
        shared = shared->next;
    return shared;
}
