/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap_mapreduce: checks, then mapreduce/drive.c does it.
 */
#include "api/api.h"

#include "base/error.h"
#include "base/memory.h"
#include "mapreduce/drive.h"
#include "mapreduce/finished.h"
#include "mapreduce/pair.h"
#include "mapreduce/vault.h"

#include <string.h>

#define CALL "pmap_mapreduce"
#define PARTITIONS_MAX ((size_t)1 << 20)
#define VALUE_MAX ((size_t)4096)

/* ---- Checks ---- */

static enum pmap_status check_functions(const struct pmap_mapreduce *m, const struct pmap_mapreduce_options *o, struct pmap_error *error)
{
    const char *name = m->task.name;
    int maps = (m->map != NULL) + (m->map_record != NULL) + (m->map_pair != NULL);

    if (maps != 1)
        return pmap__error_set(error, PMAP_EINVAL, CALL ": %s has %d map functions, not one of map, map_record and map_pair", name, maps);
    if ((o->input.kind == PMAP_INPUT_DATASET) != (m->map_pair != NULL))
        return pmap__error_set(error, PMAP_EINVAL, CALL ": %s has %s, but its input is %s dataset", name,
                               m->map_pair ? "map_pair" : "no map_pair", m->map_pair ? "no" : "a");
    if (m->value_size > VALUE_MAX)
        return pmap__error_set(error, PMAP_EINVAL, CALL ": value_size of %s is %zu, more than %zu", name, m->value_size, VALUE_MAX);
    if (m->partition && o->order == PMAP_ORDER_RANGES)
        return pmap__error_set(error, PMAP_EINVAL, CALL ": %s has a partition function, but order is PMAP_ORDER_RANGES", name);
    if ((unsigned)m->key > PMAP_TYPE_NONE || (unsigned)m->value > PMAP_TYPE_NONE)
        return pmap__error_set(error, PMAP_EINVAL, CALL ": the key or value type of %s is no enum pmap_type", name);
    return PMAP_OK;
}

static enum pmap_status check_array(const struct pmap_mapreduce_options *o, struct pmap_error *error)
{
    const struct pmap_input *in = &o->input;
    size_t bytes;

    if (in->record_size == 0)
        return pmap__error_set(error, PMAP_EINVAL, CALL ": record_size of the input array is 0");
    if (!pmap__multiply(in->n, in->record_size, &bytes) || bytes > PTRDIFF_MAX)
        return pmap__error_set(error, PMAP_EINVAL, CALL ": the input has %zu records of %zu bytes, which do not fit into memory", in->n,
                               in->record_size);
    if (o->split_size && bytes / o->split_size > PMAP__SPLITS_MAX - 1)
        return pmap__error_set(error, PMAP_EINVAL, CALL ": split_size is %zu: that makes more than %zu splits", o->split_size,
                               PMAP__SPLITS_MAX);
    if (in->records == NULL && in->n)
        return pmap__error_set(error, PMAP_EINVAL, CALL ": records is NULL, but n is %zu", in->n);
    return PMAP_OK;
}

static enum pmap_status check_input(struct pmap_pool *pool, const struct pmap_mapreduce_options *o, struct pmap_error *error)
{
    const struct pmap_input *in = &o->input;

    switch (in->kind) {
    case PMAP_INPUT_FILES:
        if (in->paths == NULL)
            return pmap__error_set(error, PMAP_EINVAL, CALL ": paths is NULL");
        return PMAP_OK;
    case PMAP_INPUT_RECORDS:
        return check_array(o, error);
    case PMAP_INPUT_GENERATOR:
        if (in->next == NULL)
            return pmap__error_set(error, PMAP_EINVAL, CALL ": the generator is NULL");
        if (o->order == PMAP_ORDER_RANGES)
            return pmap__error_set(error, PMAP_EINVAL, CALL ": order is PMAP_ORDER_RANGES, but a generator cannot be sampled for ranges");
        return PMAP_OK;
    case PMAP_INPUT_DATASET:
        if (in->dataset == NULL)
            return pmap__error_set(error, PMAP_EINVAL, CALL ": the dataset is NULL");
        if (in->dataset->tenant != &pool->tenant)
            return pmap__error_set(error, PMAP_EINVAL, CALL ": the dataset belongs to another pool");
        return PMAP_OK;
    case PMAP_INPUT_NONE:
        break;
    }
    return pmap__error_set(error, PMAP_EINVAL, CALL ": there is no input: PMAP_FILES, PMAP_RECORDS, PMAP_RECORD_GENERATOR or PMAP_DATASET");
}

static enum pmap_status check_output(const struct pmap_mapreduce_options *o, struct pmap_error *error)
{
    int outputs = (o->output != NULL) + (o->deliver != NULL) + (o->keep != NULL);

    if (outputs > 1)
        return pmap__error_set(error, PMAP_EINVAL, CALL ": %d of output, deliver and keep are set, not one", outputs);
    if (o->output && o->output[0] == '\0')
        return pmap__error_set(error, PMAP_EINVAL, CALL ": output is \"\"");
    if ((unsigned)o->format > PMAP_FORMAT_RAW)
        return pmap__error_set(error, PMAP_EINVAL, CALL ": format is %d, no enum pmap_format", (int)o->format);
    if ((unsigned)o->order > PMAP_ORDER_RANGES)
        return pmap__error_set(error, PMAP_EINVAL, CALL ": order is %d, no enum pmap_order", (int)o->order);
    if (o->partitions > PARTITIONS_MAX)
        return pmap__error_set(error, PMAP_EINVAL, CALL ": partitions is %zu, more than %zu", o->partitions, PARTITIONS_MAX);
    return PMAP_OK;
}

static enum pmap_status check_rest(const struct pmap_mapreduce_options *o, struct pmap_error *error)
{
    if (o->arg == NULL && o->arg_size)
        return pmap__error_set(error, PMAP_EINVAL, CALL ": arg is NULL, but arg_size is %zu", o->arg_size);
    if (o->retries < 0)
        return pmap__error_set(error, PMAP_EINVAL, CALL ": retries is %d, not 0 or more", o->retries);
    if (!(o->retry_delay >= 0 && o->retry_delay <= 1e9))
        return pmap__error_set(error, PMAP_EINVAL, CALL ": retry_delay is %g, not a number of seconds from 0 on", o->retry_delay);
    if (o->memory && o->memory < (size_t)1 << 20)
        return pmap__error_set(error, PMAP_EINVAL, CALL ": memory is %zu; less than a MiB is not enough for anything", o->memory);
    return PMAP_OK;
}

static enum pmap_status check_place(struct pmap_pool *pool, const struct pmap_mapreduce *m, struct pmap_error *error)
{
    enum pmap_status status = pmap__may_wait(CALL, error);

    if (status != PMAP_OK)
        return status;
    if (pool == NULL)
        return pmap__error_set(error, PMAP_EINVAL, CALL ": pool is NULL; only the root of a pool has one");
    if (m == NULL || m->task.id == 0 || m->task.run != pmap_mapreduce_run)
        return pmap__error_set(error, PMAP_EINVAL, CALL ": mapreduce is %s", m ? "not registered" : "NULL");
    if (pmap__root_place(pool->tenant.root)->cells)
        return pmap__error_set(error, PMAP_EINVAL, CALL ": the pool was created with .isolate: what a map function emits stays in the memory of "
                               "its rank, so it cannot run in a process of its own");
    status = pmap__tenant_admits(&pool->tenant, CALL, error);
    if (status != PMAP_OK)
        return status;
    return pmap__root_admits(pool->tenant.root, error);
}

static enum pmap_status check(struct pmap_pool *pool, const struct pmap_mapreduce *m, const struct pmap_mapreduce_options *o,
                              struct pmap_error *error)
{
    enum pmap_status status = check_place(pool, m, error);

    if (status == PMAP_OK)
        status = check_functions(m, o, error);
    if (status == PMAP_OK)
        status = check_input(pool, o, error);
    if (status == PMAP_OK)
        status = check_output(o, error);
    return status == PMAP_OK ? check_rest(o, error) : status;
}

/* Unless the journal knows that it is done. What it knows of splits goes when all is done, however that came. */
static enum pmap_status run(struct pmap_pool *pool, struct pmap_mapreduce *mapreduce, const struct pmap_mapreduce_options *options,
                            struct pmap_error *error)
{
    struct pmap_mapreduce_options o = *options;
    struct pmap_mapreduce_stats stats = {0};
    struct pmap__finished finished;
    struct pmap__vault *vault = NULL;
    bool known = false;
    enum pmap_status status = pmap__finished_find(&finished, &pool->tenant, mapreduce, options, &known, &stats, error);

    if (status == PMAP_OK)
        status = pmap__vault_find(&vault, &pool->tenant, mapreduce, options, error);
    o.stats = &stats;
    if (status == PMAP_OK && !known) {
        status = pmap__drive(&pool->tenant, mapreduce, &o, vault, error);
        if (status == PMAP_OK)
            status = pmap__finished_keep(&finished, options, &stats, error);
    }
    pmap__vault_close(vault, status == PMAP_OK);
    if (status == PMAP_OK && options->stats)
        *options->stats = stats;
    return status;
}

enum pmap_status pmap_mapreduce_with(struct pmap_pool *pool, struct pmap_mapreduce *mapreduce, const struct pmap_mapreduce_options *options)
{
    struct pmap_mapreduce_options o;
    struct pmap_error error = {0};
    enum pmap_status status = pmap__options_read(CALL, options, offsetof(struct pmap_mapreduce_options, split_size), &o, sizeof o, &error);

    if (status != PMAP_OK)
        return pmap__error_report(NULL, &error);
    status = check(pool, mapreduce, &o, &error);
    if (status == PMAP_OK)
        status = run(pool, mapreduce, &o, &error);
    return status == PMAP_OK ? PMAP_OK : pmap__error_report(o.error, &error);
}

/* ---- Datasets ---- */

void pmap_dataset_free(struct pmap_dataset *dataset)
{
    struct pmap_error error;

    if (dataset == NULL)
        return;
    enum pmap_status status = pmap__may_wait("pmap_dataset_free", &error);
    if (status == PMAP_OK)
        status = pmap__root_admits(dataset->tenant->root, &error);
    if (status == PMAP_OK)
        pmap__dataset_release(dataset);
    else
        pmap__error_report(NULL, &error);
}

uint64_t pmap_dataset_records(const struct pmap_dataset *dataset)
{
    return dataset ? dataset->records : 0;
}

uint64_t pmap_dataset_bytes(const struct pmap_dataset *dataset)
{
    return dataset ? dataset->bytes : 0;
}
