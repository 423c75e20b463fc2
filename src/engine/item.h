/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Running the items of a task on the calling thread: what pmap_item and pmap_fail see, and what becomes of the
 * items that fail. Used for the root's own items, for chunks on the other ranks, and for calls inside a task.
 *
 * Each thread has a pointer to the run that it is in, thread-local; a run inside a run (a nested map) points back
 * to the outer one. pmap_fail writes to the innermost run.
 */
#ifndef PMAP_ENGINE_ITEM_H
#define PMAP_ENGINE_ITEM_H

#include <pmap.h>
#include <pthread.h>

/* The failures of a job or a chunk: how many items, and the one with the lowest index. */
struct pmap__failures {
    pthread_mutex_t lock; /* any thread that runs items of the job adds to it */
    uint64_t count;
    struct pmap_error lowest; /* valid if count > 0 */
};

bool pmap__failures_init(struct pmap__failures *failures);
void pmap__failures_fini(struct pmap__failures *failures);

/* Add count failed items of which error is the lowest. Any thread. */
void pmap__failures_add(struct pmap__failures *failures, const struct pmap_error *error, uint64_t count);

/* Where items run: what error texts say. */
struct pmap__place {
    int rank;
    char host[64];
};
void pmap__place_here(struct pmap__place *place, int rank);

/* Items of one task being run by one thread. Between begin and end the thread is inside the task: any number of runs of
 * neighbouring items, each
 *
 *     for (i = 0; i < n; i++) results[i] = task(args[i]);       as items first … first + n of their job
 *
 * Results of items that fail are filled with zeros. */
struct pmap__run {
    const struct pmap_task *task;
    const struct pmap__place *place;
    int thread;
    struct pmap__failures *failures;
    struct pmap__run *outer; /* the run that this thread was in before */

    size_t first;     /* index of args[0] in its job */
    size_t n;
    size_t at;        /* the item that runs, counted from first; the task's loop stores it */
    char *results;
    size_t failed_at; /* the item that failed last and whose result is still to be wiped; SIZE_MAX if there is none */
};

void pmap__run_begin(struct pmap__run *run, const struct pmap_task *task, const struct pmap__place *place, int thread,
                     struct pmap__failures *failures);
void pmap__run_end(struct pmap__run *run);
void pmap__run_wipe(struct pmap__run *run);

static inline void pmap__run_items(struct pmap__run *run, size_t n, const void *args, void *results, size_t first)
{
    run->first = first;
    run->n = n;
    run->results = results;
    run->task->run(n, args, results, &run->at);
    if (run->failed_at != SIZE_MAX)
        pmap__run_wipe(run);
}

/* Is the calling thread inside a task? Then where: place and thread may be NULL. */
bool pmap__item_running(const struct pmap__place **place, int *thread);

/* What pmap_item says. */
size_t pmap__item_index(void);

/* Remember that the item now running failed. False outside a task. */
bool pmap__item_fail(int code, const char *text);

#endif
