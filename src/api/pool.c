/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "api/api.h"

#include "base/error.h"
#include "base/hash.h"
#include "engine/item.h"
#include "engine/open.h"

#include <stdlib.h>
#include <string.h>

/* The verdict on what the caller wants; it goes into the wish, for other ranks may have to hear of it. */
static void check(const char *call, const struct pmap_create_options *o, struct pmap__wish *wish)
{
    if (o->pool == NULL)
        wish->status = pmap__error_set(&wish->error, PMAP_EINVAL, "%s: pool is NULL", call);
    else if (o->threads < 0 || o->threads > 1 << 16)
        wish->status = pmap__error_set(&wish->error, PMAP_EINVAL, "%s: threads is %d, not 0 to %d", call, o->threads,
                                       1 << 16);
}

static enum pmap_status create(const char *call, const struct pmap_create_options *o, const void *comm, const int *root,
                               struct pmap_error *error)
{
    struct pmap__wish wish = {.threads = o->threads, .root = root ? *root : o->root, .dedicated = o->dedicated_root,
                              .comm = comm,
                              .where = o->where ? pmap__hash(PMAP__HASH_BEGIN, o->where, strlen(o->where)) : 0};
    struct pmap_pool *pool;

    if (o->pool)
        *o->pool = NULL;
    if (pmap__item_running(NULL, NULL))
        return pmap__error_set(error, PMAP_EINVAL, "%s: called inside a task", call);
    check(call, o, &wish);
    pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        wish.status = pmap__error_set(&wish.error, PMAP_ENOMEM, "%s: no memory for %zu bytes", call, sizeof *pool);
    enum pmap_status status = pmap__open(&wish, pool ? &pool->root : &(struct pmap__root *){NULL}, error);
    if (status != PMAP_OK || pool->root == NULL) {
        free(pool);
        return status;
    }
    *o->pool = pool;
    return PMAP_OK;
}

enum pmap_status pmap__create(const char *call, const struct pmap_create_options *options, const void *comm,
                              const int *root)
{
    struct pmap_create_options o = {0};
    struct pmap_error error;

    enum pmap_status status = pmap__options_read(call, options, offsetof(struct pmap_create_options, threads), &o, sizeof o,
                                                 &error);
    if (status == PMAP_OK)
        status = create(call, &o, comm, root, &error);
    return status == PMAP_OK ? PMAP_OK : pmap__error_report(o.error, &error);
}

enum pmap_status pmap_create_with(const struct pmap_create_options *options)
{
    return pmap__create("pmap_create", options, NULL, NULL);
}

void pmap_destroy(struct pmap_pool *pool)
{
    if (pool == NULL)
        return;
    pmap__root_destroy(pool->root);
    free(pool);
}

int pmap_ranks(const struct pmap_pool *pool)
{
    return pmap__root_ranks(pool->root);
}

int pmap_threads(const struct pmap_pool *pool)
{
    return pmap__root_threads(pool->root);
}
