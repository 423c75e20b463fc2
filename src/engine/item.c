/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/item.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The model that needs no call: two loads, where a grain may be a single short item. */
static _Thread_local struct pmap__run *current __attribute__((tls_model("initial-exec")));

bool pmap__failures_init(struct pmap__failures *failures)
{
    failures->count = 0;
    return pthread_mutex_init(&failures->lock, NULL) == 0;
}

void pmap__failures_fini(struct pmap__failures *failures)
{
    pthread_mutex_destroy(&failures->lock);
}

void pmap__failures_add(struct pmap__failures *failures, const struct pmap_error *error, uint64_t count)
{
    pthread_mutex_lock(&failures->lock);
    if (failures->count == 0 || error->item < failures->lowest.item)
        failures->lowest = *error;
    failures->count += count;
    pthread_mutex_unlock(&failures->lock);
}

void pmap__place_here(struct pmap__place *place, int rank)
{
    place->rank = rank;
    if (gethostname(place->host, sizeof place->host) != 0)
        place->host[0] = '\0';
    place->host[sizeof place->host - 1] = '\0';
    place->host[strcspn(place->host, ".")] = '\0'; /* node3, not node3.cluster.example.org */
}

void pmap__run_begin(struct pmap__run *run, const struct pmap_task *task, const struct pmap__place *place, int thread,
                     struct pmap__failures *failures)
{
    *run = (struct pmap__run){.task = task, .place = place, .thread = thread, .failures = failures, .outer = current,
                              .failed_at = SIZE_MAX};
    current = run;
}

void pmap__run_end(struct pmap__run *run)
{
    current = run->outer;
}

/* A task writes its result after it has called pmap_fail; by the next failure, or the end of the run, it has. */
void pmap__run_wipe(struct pmap__run *run)
{
    size_t size = run->task->result_size;

    if (run->failed_at != SIZE_MAX && size > 0 && run->task->block)
        memset(run->results, 0, run->n * size);
    else if (run->failed_at != SIZE_MAX && size > 0)
        memset(run->results + run->failed_at * size, 0, size);
    run->failed_at = SIZE_MAX;
}

bool pmap__item_running(const struct pmap__place **place, int *thread)
{
    if (current == NULL)
        return false;
    if (place)
        *place = current->place;
    if (thread)
        *thread = current->thread;
    return true;
}

size_t pmap__item_index(void)
{
    return current ? current->first + current->at : PMAP_NO_ITEM;
}

static void describe(const struct pmap__run *run, int code, const char *text, struct pmap_error *error)
{
    size_t item = run->first + run->at;
    char items[64];

    if (run->task->block && run->n > 1)
        snprintf(items, sizeof items, "items %zu-%zu", item, item + run->n - 1);
    else
        snprintf(items, sizeof items, "item %zu", item);
    pmap__error_set(error, PMAP_EFAILED, "pmap: %s failed at %s on %s (rank %d, thread %d): ", run->task->name, items,
                    run->place->host, run->place->rank, run->thread);
    error->code = code;
    error->item = item;
    error->rank = run->place->rank;
    error->thread = run->thread;
    memcpy(error->host, run->place->host, sizeof error->host);
    /* The code comes last and must not be what a long text cuts off. */
    char tail[32];
    int tail_size = snprintf(tail, sizeof tail, " (code %d)", code);
    size_t used = strlen(error->text), room = sizeof error->text - used;
    if (room > (size_t)tail_size + 1)
        snprintf(error->text + used, room, "%.*s%s", (int)(room - (size_t)tail_size - 1), text, tail);
}

bool pmap__item_fail(int code, const char *text)
{
    struct pmap__run *run = current;
    struct pmap_error error;

    if (run == NULL)
        return false;
    if (run->failed_at == run->at)
        return true; /* the first report of an item counts */
    pmap__run_wipe(run);
    run->failed_at = run->at;
    describe(run, code, text, &error);
    pmap__failures_add(run->failures, &error, run->task->block ? run->n : 1);
    return true;
}
