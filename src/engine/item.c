/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/item.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "engine/isolate.h"
#include "engine/recorder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A cancelled run looks at its flag about so often, and a lent thread at its messages. */
#define LOOK (100 * PMAP__US)

/* The model that needs no call: two loads, where a grain may be a single short item. */
static _Thread_local struct pmap__run *current __attribute__((tls_model("initial-exec")));

void pmap__place_here(struct pmap__place *place, int rank)
{
    *place = (struct pmap__place){.rank = rank};
    if (gethostname(place->host, sizeof place->host) != 0)
        place->host[0] = '\0';
    place->host[sizeof place->host - 1] = '\0';
    place->host[strcspn(place->host, ".")] = '\0'; /* node3, not node3.cluster.example.org */
}

/* ---- Runs ---- */

void pmap__run_begin(struct pmap__run *run)
{
    run->role = NULL;
    run->failed = false;
    run->outer = current;
    run->failed_at = SIZE_MAX;
    run->stride = 1;
    run->since = 0;
    current = run;
}

void pmap__run_end(struct pmap__run *run)
{
    current = run->outer;
}

void pmap__results_wipe(const struct pmap_task *task, void *results, size_t n)
{
    struct pmap_bytes *bytes = results;

    if (results == NULL || task->result_size == 0)
        return;
    for (size_t i = 0; task->bytes && i < n; i++)
        free(bytes[i].data);
    memset(results, 0, n * task->result_size);
}

/* A task writes its result after it has called pmap_fail; by the next failure, or the end of the run, it has. */
void pmap__run_wipe(struct pmap__run *run)
{
    size_t n = run->task->block ? run->n : 1, item = run->first + run->failed_at;

    if (run->failed_at == SIZE_MAX)
        return;
    if (run->to)
        pmap__results_wipe(run->task, run->to + run->failed_at * run->task->result_size, n);
    if (run->noting)
        pmap__noting_miss(run->noting, n, run->gave_up);
    if (run->gave_up && run->counts_only)
        pmap__failures_skipped(run->failures, 1);
    else if (run->gave_up)
        pmap__failures_skip(run->failures, item, n);
    else if (run->counts_only)
        pmap__failures_count(run->failures, &run->error, 1);
    else
        pmap__failures_add(run->failures, &run->error, n);
    run->failed_at = SIZE_MAX;
}

void pmap__run_skip(struct pmap__run *run, size_t begin, size_t end)
{
    size_t n = run->names ? 1 : end - begin;

    for (; begin < end; begin += n) {
        void *results = pmap__run_result(run, begin);
        if (results && run->task->result_size) /* they were never written: there is nothing to free */
            memset(results, 0, n * run->task->result_size);
        pmap__failures_skip(run->failures, pmap__run_name(run, begin), n);
    }
}

/* A worker that has done its share is a new one: initialize it before the item at this position. False if that failed,
 * and the item with it. */
static bool renew(struct pmap__run *run, size_t position)
{
    struct pmap_error error;

    if (pmap__crew_thread_begin(run->place, run->thread, &error) == PMAP_OK)
        return true;
    void *results = pmap__run_result(run, position);
    if (results && run->task->result_size)
        memset(results, 0, run->task->result_size);
    error.item = pmap__run_name(run, position);
    pmap__failures_add(run->failures, &error, 1);
    if (run->noting) {
        pmap__noting_miss(run->noting, 1, false);
        pmap__noting_piece(run->noting, error.item, 1);
    }
    return false;
}

static _Thread_local size_t done_by_worker;

/* How many of the next want items this worker may still do; 0: it had to be renewed, and that failed. */
static size_t allowed(struct pmap__run *run, size_t position, size_t want)
{
    size_t most = run->place->crew->max_tasks;

    if (done_by_worker >= most) {
        done_by_worker = 0;
        if (!renew(run, position))
            return 0;
    }
    size_t n = run->task->block || want < most - done_by_worker ? want : most - done_by_worker;
    done_by_worker += n;
    return n;
}

/* Longer strides as long as they are short in time. */
static void adapt_stride(struct pmap__run *run)
{
    uint64_t now = pmap__now(), took = now - run->since;

    if (run->since && took < LOOK / 2)
        run->stride *= 2;
    else if (run->since && took > 2 * LOOK && run->stride > 1)
        run->stride /= 2;
    run->since = now;
}

void pmap__run_span(struct pmap__run *run, size_t begin, size_t end)
{
    if (run->place->cells) {
        pmap__isolated_span(run, begin, end);
        return;
    }
    /* A call inside an item is a part of that item: no worker begins in the middle of it. */
    bool limited = run->place->crew && run->place->crew->max_tasks && run->outer == NULL;

    while (begin < end) {
        if (pmap__run_stopped(run)) {
            pmap__run_skip(run, begin, end);
            return;
        }
        /* Bytes are looked at after they were run, and an item that failed may be run again, elsewhere, as soon as the next one fails: so one by
         * one. */
        size_t n = run->names || run->task->bytes ? 1 : end - begin;
        if (!run->task->block && n > run->stride)
            n = run->stride;
        if (limited && (n = allowed(run, begin, n)) == 0) {
            begin++; /* that item has failed */
            continue;
        }
        pmap__run_items(run, n, pmap__run_args(run, begin), pmap__run_result(run, begin), pmap__run_name(run, begin));
        if (run->ran)
            run->ran(run, begin, begin + n);
        if (run->noting)
            pmap__noting_piece(run->noting, pmap__run_name(run, begin), n);
        begin += n;
        if (begin < end && n == run->stride)
            adapt_stride(run);
    }
}

/* ---- What a task asks ---- */

bool pmap__item_running(const struct pmap__place **place, int *thread)
{
    return current && !current->role && pmap__item_place(place, thread);
}

bool pmap__item_place(const struct pmap__place **place, int *thread)
{
    if (current == NULL)
        return false;
    if (place)
        *place = current->place;
    if (thread)
        *thread = current->thread;
    return true;
}

bool pmap__item_must_not_wait(void)
{
    return current && !current->may_wait;
}

size_t pmap__item_index(void)
{
    return current && !current->role ? current->first + current->at : PMAP_NO_ITEM;
}

/* The item that runs is given up: whatever it returns is no result. */
static void give_up(struct pmap__run *run)
{
    if (run->failed_at == run->at)
        return; /* it has failed before, or been given up */
    pmap__run_wipe(run);
    run->failed_at = run->at;
    run->failed = run->gave_up = true;
}

/* Its call, or one that it is part of. */
static bool is_cancelled(const struct pmap__run *run)
{
    for (; run; run = run->outer)
        if (run->cancelled && atomic_load(run->cancelled))
            return true;
    return false;
}

bool pmap__run_cut(const struct pmap__run *run)
{
    static _Thread_local uint64_t attended; /* when messages were last handled */

    if (run->place->attend && !is_cancelled(run)) {
        uint64_t now = pmap__now();
        if (now - attended > LOOK) {
            attended = now;
            run->place->attend(run->place->owner);
        }
    }
    return is_cancelled(run);
}

bool pmap__item_cut(void)
{
    return current && !current->role && pmap__run_cut(current);
}

bool pmap__item_cancelled(void)
{
    if (!pmap__item_cut())
        return false;
    give_up(current);
    return true;
}

uint64_t pmap__item_seed(void)
{
    return current && !current->role ? current->seed : 0;
}

uint64_t pmap__item_subseed(void)
{
    if (current == NULL || current->role)
        return 0;
    uint64_t own[] = {current->seed, current->first + current->at};
    return pmap__hash(PMAP__HASH_BEGIN, own, sizeof own);
}

static void describe(const struct pmap__run *run, enum pmap_status status, int code, const char *text, struct pmap_error *error)
{
    size_t item = run->first + run->at;
    char items[sizeof error->text / 2];

    if (run->about)
        snprintf(items, sizeof items, "%s", run->about);
    else if (run->task->block && run->n > 1)
        snprintf(items, sizeof items, "items %zu-%zu", item, item + run->n - 1);
    else
        snprintf(items, sizeof items, "item %zu", item);
    pmap__error_set(error, status, "pmap: %s failed at %s on %s (rank %d, thread %d): ", run->task->name, items,
                    run->place->host, run->place->rank, run->thread);
    error->code = code;
    error->item = item;
    error->rank = run->place->rank;
    error->thread = run->thread;
    memcpy(error->host, run->place->host, sizeof error->host);
    pmap__error_append(error, code, text);
}

static void describe_role(const struct pmap__run *run, int code, const char *text, struct pmap_error *error)
{
    pmap__error_set(error, PMAP_EFAILED, "pmap: %s failed on %s (rank %d): ", run->role, run->place->host, run->place->rank);
    error->rank = run->place->rank;
    error->thread = run->thread;
    memcpy(error->host, run->place->host, sizeof error->host);
    pmap__error_append(error, code, text);
}

bool pmap__item_fail(int code, const char *text)
{
    return pmap__item_fail_as(PMAP_EFAILED, code, text);
}

bool pmap__item_has_failed(void)
{
    return current && !current->role && current->failed_at == current->at;
}

void pmap__item_about(const char *what)
{
    if (current)
        current->about = what;
}

bool pmap__item_fail_as(enum pmap_status status, int code, const char *text)
{
    struct pmap__run *run = current;

    if (run == NULL)
        return false;
    if (run->role && run->said->status == PMAP_OK)
        describe_role(run, code, text, run->said);
    if (run->role || run->failed_at == run->at)
        return true; /* the first report of an item counts */
    pmap__run_wipe(run);
    run->failed_at = run->at;
    run->failed = true;
    run->gave_up = false;
    describe(run, status, code, text, &run->error);
    return true;
}

void pmap__run_check_bytes(struct pmap__run *run)
{
    const struct pmap_bytes *results = (const void *)run->to;

    for (size_t i = 0; results && i < run->n; i++) {
        if (results[i].data || results[i].size == 0)
            continue;
        run->at = i;
        pmap__item_fail(0, "its result has a size, but its data is NULL");
    }
}

/* ---- What is no item ---- */

void pmap__role_begin(struct pmap__run *run, const char *role, const struct pmap__place *place, int thread,
                      struct pmap_error *said)
{
    *run = (struct pmap__run){.role = role, .place = place, .thread = thread, .said = said, .outer = current};
    *said = (struct pmap_error){.status = PMAP_OK};
    current = run;
}

void pmap__role_end(struct pmap__run *run)
{
    current = run->outer;
}

static enum pmap_status initialize(const struct pmap__place *place, int thread, const char *role,
                                   void (*initializer)(const void *), struct pmap_error *error)
{
    struct pmap__run run;

    if (initializer == NULL)
        return PMAP_OK;
    pmap__role_begin(&run, role, place, thread, error);
    initializer(place->crew->initarg);
    pmap__role_end(&run);
    return error->status;
}

enum pmap_status pmap__crew_begin(const struct pmap__place *place, struct pmap_error *error)
{
    return place->crew ? initialize(place, 0, "the initializer", place->crew->initializer, error) : PMAP_OK;
}

enum pmap_status pmap__crew_thread_begin(const struct pmap__place *place, int thread, struct pmap_error *error)
{
    done_by_worker = 0;
    return place->crew ? initialize(place, thread, "the thread_initializer", place->crew->thread_initializer, error) : PMAP_OK;
}
