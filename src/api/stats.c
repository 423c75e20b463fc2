/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Statistics of a pool, for the program.
 */
#include "api/api.h"

#include "base/error.h"
#include "observe/table.h"

#include <string.h>

/* So much of a struct as caller and library both know; the rest of the caller's is zero. */
static void give(void *to, size_t to_size, const void *from, size_t from_size)
{
    memset(to, 0, to_size);
    memcpy(to, from, to_size < from_size ? to_size : from_size);
}

static enum pmap_status check(const char *call, const struct pmap_pool *pool, const void *stats)
{
    struct pmap_error error;

    if (pool && stats)
        return PMAP_OK;
    pmap__error_set(&error, PMAP_EINVAL, "%s: %s is NULL", call, pool ? "stats" : "pool");
    return pmap__error_report(NULL, &error);
}

enum pmap_status pmap_stats_with(const struct pmap_pool *pool, struct pmap_stats *stats, size_t size)
{
    struct pmap_stats known;
    enum pmap_status status = check("pmap_stats", pool, stats);

    if (status != PMAP_OK)
        return status;
    pmap__table_fill(&pool->shown, &known);
    give(stats, size, &known, sizeof known);
    return PMAP_OK;
}

enum pmap_status pmap_rank_stats_with(const struct pmap_pool *pool, int rank, struct pmap_rank_stats *stats, size_t size)
{
    struct pmap_rank_stats known;
    struct pmap_error error;
    enum pmap_status status = check("pmap_rank_stats", pool, stats);

    if (status != PMAP_OK)
        return status;
    if (!pmap__table_fill_rank(&pool->shown, rank, &known)) {
        pmap__error_set(&error, PMAP_EINVAL, "pmap_rank_stats: rank is %d, but the pool has ranks 0 to %d", rank,
                        pmap__root_ranks(pool->tenant.root) - 1);
        return pmap__error_report(NULL, &error);
    }
    give(stats, size, &known, sizeof known);
    return PMAP_OK;
}
