/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap_share and its kin. An id is used once in the life of the process, and differs from those of other roots.
 */
#include "api/api.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "engine/share.h"
#include "engine/wait.h"

#include <unistd.h>

static uint64_t new_id(const struct pmap__place *place)
{
    static atomic_uint_fast64_t count;
    uint64_t own[] = {atomic_fetch_add(&count, 1), (uint64_t)getpid(), pmap__now()};
    uint64_t id = pmap__hash(pmap__hash(PMAP__HASH_BEGIN, place->host, sizeof place->host), own, sizeof own);
    return id ? id : 1;
}

static enum pmap_status check(const char *call, struct pmap_pool *pool, struct pmap_error *error)
{
    if (pool == NULL)
        return pmap__error_set(error, PMAP_EINVAL, "%s: pool is NULL; only the root of a pool has one", call);
    if (pmap__item_running(NULL, NULL))
        return pmap__error_set(error, PMAP_EINVAL, "%s: called inside a task", call);
    if (pmap__wait_forbidden())
        return pmap__error_set(error, PMAP_EDEADLOCK, "%s: called inside a callback, where nothing can be waited for", call);
    return pmap__root_admits(pool->tenant.root, error);
}

static enum pmap_status share(struct pmap_pool *pool, const void *data, size_t bytes, struct pmap_handle *handle,
                              struct pmap_error *error)
{
    enum pmap_status status = check("pmap_share", pool, error);

    if (status != PMAP_OK)
        return status;
    if (handle == NULL || data == NULL)
        return pmap__error_set(error, PMAP_EINVAL, "pmap_share: %s is NULL", data ? "handle" : "data");
    if (bytes == 0)
        return pmap__error_set(error, PMAP_EINVAL, "pmap_share: size is 0");
    status = pmap__tenant_admits(&pool->tenant, "pmap_share", error);
    if (status != PMAP_OK)
        return status;
    uint64_t id = new_id(pmap__root_place(pool->tenant.root));
    status = pmap__tenant_share(&pool->tenant, id, data, bytes, error);
    if (status == PMAP_OK)
        *handle = (struct pmap_handle){id, bytes};
    return status;
}

enum pmap_status pmap_share_with(struct pmap_pool *pool, const void *data, size_t bytes,
                                 const struct pmap_share_options *options)
{
    struct pmap_share_options o = {0};
    struct pmap_error error;

    enum pmap_status status = pmap__options_read("pmap_share", options, offsetof(struct pmap_share_options, error), &o, sizeof o,
                                                 &error);
    if (status == PMAP_OK)
        status = share(pool, data, bytes, o.handle, &error);
    return status == PMAP_OK ? PMAP_OK : pmap__error_report(o.error, &error);
}

const void *pmap_shared(struct pmap_handle handle)
{
    return pmap__share_find(handle.id);
}

enum pmap_status pmap_unshare(struct pmap_pool *pool, struct pmap_handle handle)
{
    struct pmap_error error;
    enum pmap_status status = check("pmap_unshare", pool, &error);

    if (status == PMAP_OK && handle.id == 0)
        status = pmap__error_set(&error, PMAP_EINVAL, "pmap_unshare: the handle is of no shared data");
    if (status == PMAP_OK)
        status = pmap__tenant_unshare(&pool->tenant, handle.id, &error);
    return status == PMAP_OK ? PMAP_OK : pmap__error_report(NULL, &error);
}
