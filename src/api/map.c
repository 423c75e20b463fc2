/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap_map, pmap_starmap and pmap_apply: one job each, submitted and awaited; inside a task, a loop on the spot.
 */
#include "api/api.h"

#include "base/error.h"
#include "base/memory.h"
#include "engine/item.h"

#include <string.h>

/* One call as it was made; element sizes of 0 are not checked. */
struct call {
    const char *name;    /* of the public function, for texts */
    const char *in_name; /* what that function calls its input */
    struct pmap_pool *pool;
    struct pmap_task *task;
    const void *in;
    void *out;
    size_t in_size, out_size, n;
    ptrdiff_t chunksize;
};

static enum pmap_status check_element(const struct call *c, const char *array, size_t given, size_t needed,
                                      struct pmap_error *error)
{
    if (given == 0 || given == needed)
        return PMAP_OK;
    return pmap__error_set(error, PMAP_EINVAL, "%s: an element of %s has %zu bytes, but task %s, %s, needs %zu", c->name,
                           array, given, c->task->name, c->task->signature, needed);
}

static enum pmap_status check_array(const struct call *c, const char *array, const void *base, size_t size,
                                    struct pmap_error *error)
{
    size_t bytes;

    if (size == 0)
        return PMAP_OK;
    if (!pmap__multiply(c->n, size, &bytes) || bytes > PTRDIFF_MAX)
        return pmap__error_set(error, PMAP_EINVAL, "%s: n is %zu, and so many elements of %zu bytes do not fit into memory",
                               c->name, c->n, size);
    if (base == NULL && c->n > 0)
        return pmap__error_set(error, PMAP_EINVAL, "%s: %s is NULL, but n is %zu", c->name, array, c->n);
    return PMAP_OK;
}

static enum pmap_status check(const struct call *c, struct pmap_error *error)
{
    if (c->pool == NULL && !pmap__item_running(NULL, NULL))
        return pmap__error_set(error, PMAP_EINVAL, "%s: pool is NULL; only the root of a pool has one", c->name);
    if (c->task == NULL)
        return pmap__error_set(error, PMAP_EINVAL, "%s: task is NULL", c->name);
    if (c->task->id == 0 || c->task->run == NULL)
        return pmap__error_set(error, PMAP_EINVAL, "%s: task %s is not registered", c->name,
                               c->task->name ? c->task->name : "(null)");
    if (c->chunksize < 0)
        return pmap__error_set(error, PMAP_EINVAL, "%s: chunksize is %td, not 0 (choose for me) or more", c->name,
                               c->chunksize);
    /* Python's map passes one argument, starmap any number; so here. */
    if (strcmp(c->name, "pmap_map") == 0 && c->task->arguments != 1)
        return pmap__error_set(error, PMAP_EINVAL, "pmap_map: task %s, %s, takes %u arguments, not 1: use pmap_starmap",
                               c->task->name, c->task->signature, c->task->arguments);
    enum pmap_status status = check_element(c, c->in_name, c->in_size, c->task->args_size, error);
    if (status == PMAP_OK && c->out != NULL)
        status = check_element(c, "out", c->out_size, c->task->result_size, error);
    if (status == PMAP_OK)
        status = check_array(c, c->in_name, c->in, c->task->args_size, error);
    if (status == PMAP_OK)
        status = check_array(c, "out", c->out, c->task->result_size, error);
    if (status != PMAP_OK)
        return status;
    if (!pmap__item_running(NULL, NULL) && pmap__root_ranks(c->pool->root) > 1 && strchr(c->task->signature, '*'))
        return pmap__error_set(error, PMAP_EINVAL,
                               "%s: task %s, %s, has a pointer in its types, and an address means nothing on another rank: "
                               "pass what it points to", c->name, c->task->name, c->task->signature);
    return PMAP_OK;
}

/* A call inside a task runs on the calling thread, at the place of the item that makes it; chunks matter to block
 * tasks. */
static enum pmap_status run_here(const struct call *c, struct pmap_error *error)
{
    const struct pmap__place *place;
    int thread;
    struct pmap__failures failures;
    struct pmap__run run;

    pmap__item_running(&place, &thread);
    if (!pmap__failures_init(&failures))
        return pmap__error_set(error, PMAP_ENOMEM, "%s: no memory", c->name);
    size_t chunk = c->chunksize ? (size_t)c->chunksize : c->n;
    pmap__run_begin(&run, c->task, place, thread, &failures);
    for (size_t at = 0; at < c->n; at += chunk) {
        chunk = chunk < c->n - at ? chunk : c->n - at;
        pmap__run_items(&run, chunk, pmap__element(c->in, at, c->task->args_size),
                        pmap__element_mutable(c->out, at, c->task->result_size), at);
    }
    pmap__run_end(&run);
    if (failures.count)
        *error = failures.lowest;
    pmap__failures_fini(&failures);
    return failures.count ? error->status : PMAP_OK;
}

static enum pmap_status run_in_pool(const struct call *c, struct pmap_error *error)
{
    struct pmap__root *root = c->pool->root;
    struct pmap__job job;
    size_t chunksize = (size_t)c->chunksize < c->n ? (size_t)c->chunksize : c->n;

    if (pmap__job_init(&job, c->task, c->in, c->out, c->n, chunksize) != PMAP_OK)
        return pmap__error_set(error, PMAP_ENOMEM, "%s: no memory for a job", c->name);
    enum pmap_status status = pmap__root_submit(root, &job, error);
    if (status == PMAP_OK) {
        pmap__root_wait(root, &job);
        status = pmap__job_outcome(&job, error);
    }
    pmap__job_fini(&job);
    return status;
}

static enum pmap_status run(const struct call *c, struct pmap_error *wanted)
{
    struct pmap_error error;

    enum pmap_status status = check(c, &error);
    if (status == PMAP_OK && c->n > 0)
        status = pmap__item_running(NULL, NULL) ? run_here(c, &error) : run_in_pool(c, &error);
    return status == PMAP_OK ? PMAP_OK : pmap__error_report(wanted, &error);
}

static enum pmap_status map(struct call *c, const struct pmap_map_options *options)
{
    struct pmap_map_options o;
    struct pmap_error error;

    if (pmap__options_read(c->name, options, offsetof(struct pmap_map_options, chunksize), &o, sizeof o, &error) != PMAP_OK)
        return pmap__error_report(NULL, &error);
    c->n = o.n;
    c->chunksize = o.chunksize;
    return run(c, o.error);
}

enum pmap_status pmap_map_with(struct pmap_pool *pool, struct pmap_task *task, const void *in, size_t in_size, void *out,
                               size_t out_size, const struct pmap_map_options *options)
{
    struct call c = {.name = "pmap_map", .in_name = "in", .pool = pool, .task = task, .in = in, .out = out,
                     .in_size = in_size, .out_size = out_size};
    return map(&c, options);
}

enum pmap_status pmap_starmap_with(struct pmap_pool *pool, struct pmap_task *task, const void *args, size_t args_size,
                                   void *out, size_t out_size, const struct pmap_map_options *options)
{
    struct call c = {.name = "pmap_starmap", .in_name = "args", .pool = pool, .task = task, .in = args, .out = out,
                     .in_size = args_size, .out_size = out_size};
    return map(&c, options);
}

enum pmap_status pmap_apply_with(struct pmap_pool *pool, struct pmap_task *task, const void *args, void *out,
                                 const struct pmap_apply_options *options)
{
    struct call c = {.name = "pmap_apply", .in_name = "args", .pool = pool, .task = task, .in = args, .out = out, .n = 1};
    struct pmap_apply_options o;
    struct pmap_error error;

    if (pmap__options_read(c.name, options, sizeof o.size, &o, sizeof o, &error) != PMAP_OK)
        return pmap__error_report(NULL, &error);
    return run(&c, o.error);
}
