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

/* for (i = 0; i < n; i++) results[i] = task(args[i]), as items first … first + n of their job, on the given
 * thread of the place. Failed results are filled with zeros. */
void pmap__items_run(const struct pmap_task *task, size_t n, const void *args, void *results, size_t first,
                     const struct pmap__place *place, int thread, struct pmap__failures *failures);

/* Is the calling thread inside a task? Then where: place and thread may be NULL. */
bool pmap__item_running(const struct pmap__place **place, int *thread);

/* What pmap_item says. */
size_t pmap__item_index(void);

/* Remember that the item now running failed. False outside a task. */
bool pmap__item_fail(int code, const char *text);

#endif
