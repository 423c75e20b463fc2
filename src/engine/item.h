/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Running the items of a task on the calling thread: what pmap_item, pmap_fail and pmap_cancelled see, and what becomes of
 * the items that fail. Used for the root's own items, for chunks on the other ranks, and for calls inside a task.
 *
 * Each thread has a pointer to the run that it is in, thread-local; a run inside a run (a nested map) points back
 * to the outer one. pmap_fail writes to the innermost run.
 */
#ifndef PMAP_ENGINE_ITEM_H
#define PMAP_ENGINE_ITEM_H

#include "engine/failures.h"

#include <string.h>

/* What a rank does when a worker begins: the initializers of pmap_create. */
struct pmap__crew {
    void (*initializer)(const void *initarg);
    void (*thread_initializer)(const void *initarg);
    const void *initarg;
    size_t max_tasks; /* per worker; 0: no limit */
};

struct pmap__post;
struct pmap__cells;
struct pmap__noting;
struct pmap__recorder;

/* What an item of an isolated pool may use; 0: no limit. */
struct pmap__limits {
    uint64_t timeout; /* ns */
    uint64_t max_rss; /* bytes */
};

/* Where items run: what error texts say, and for whom. */
struct pmap__place {
    int rank, root; /* this one; who has the pool */
    char host[64];
    const struct pmap__crew *crew; /* NULL: there is nothing to do */
    /* On a thread that is lent to a loop: handle what has come, from inside a task. NULL: somebody else does. */
    void (*attend)(void *owner);
    void *owner;
    struct pmap__cells *cells; /* the processes that items run in (isolate.h); NULL: they run on the threads themselves */
    struct pmap__post *post; /* letters to and from other ranks; NULL: it has none */
    int ranks_here;          /* ranks of the pool on this node; 0: not known */
    struct pmap__recorder *recorder; /* what its threads note (recorder.h); NULL: nothing, ever */
};
void pmap__place_here(struct pmap__place *place, int rank);

/* Call the initializer of a crew on this thread, or its thread_initializer; PMAP_EFAILED and why if it called pmap_fail. */
enum pmap_status pmap__crew_begin(const struct pmap__place *place, struct pmap_error *error);
enum pmap_status pmap__crew_thread_begin(const struct pmap__place *place, int thread, struct pmap_error *error);

/* Items of one task being run by one thread. Between begin and end the thread is inside the task.
 *
 * The arrays args and results have an element for each position of a job or a chunk. Position p is item names[p] of the job,
 * or item base + p where names is NULL. With scattered the elements are not at their positions but at names[p], and position p
 * is item base + names[p]. */
struct pmap__run {
    /* What runs; the owner sets these. */
    const struct pmap_task *task;
    const struct pmap__place *place;
    int thread;
    struct pmap__failures *failures;
    const atomic_bool *cancelled; /* NULL: it cannot be */
    uint64_t seed;
    struct pmap__limits limits;   /* where items have processes of their own */
    const char *args;
    char *results;
    size_t base;
    const size_t *names;
    bool scattered;
    bool counts_only; /* failures are counted, their records are made by whoever runs the items */
    /* Called when these positions have been run, a short time of them: their results are there, or their failures noted. NULL: nobody
     * asks. */
    void (*ran)(struct pmap__run *run, size_t begin, size_t end);
    void *recorder;
    struct pmap__noting *noting; /* what is told of each piece (recorder.h); NULL: the call is not observed */

    /* How it goes. */
    bool failed;             /* an item of the current call has failed or given up; the owner resets it */
    const char *about;       /* what texts call the item instead of by its number; NULL: by it */
    const char *role;        /* for what is no item of a task: "an initializer"; then pmap_fail sets *said */
    struct pmap_error *said;
    bool may_wait;           /* of a role: it has a thread of its own, and may wait for jobs */
    struct pmap__run *outer; /* the run that this thread was in before */
    size_t first;            /* index in its job of the item that began the current call of the task's loop */
    size_t n;                /* items of that call */
    size_t at;               /* the item that runs, counted from first; the task's loop stores it */
    char *to;                /* results of that call */
    size_t failed_at;        /* the item that failed or gave up last and whose result is still to be wiped; SIZE_MAX: none */
    bool gave_up;
    size_t stride;           /* items to run between two looks at cancelled */
    uint64_t since;          /* when the clock was read last; 0: never */
    struct pmap_error error; /* of failed_at; noted when its result has been wiped: it may be run again at once then */
};

/* Zero all that may be looked at: the error is most of a run, and is written before it is read. */
static inline void pmap__run_clear(struct pmap__run *run)
{
    memset(run, 0, offsetof(struct pmap__run, error));
}

/* Of a position: which item it is, where its result belongs (NULL: nowhere), and its arguments (NULL: there are none). */
static inline size_t pmap__run_name(const struct pmap__run *run, size_t position)
{
    return run->names == NULL ? run->base + position : run->names[position] + (run->scattered ? run->base : 0);
}
static inline char *pmap__run_result(const struct pmap__run *run, size_t position)
{
    size_t at = run->scattered ? run->names[position] : position;
    return run->results ? run->results + at * run->task->result_size : NULL;
}
static inline const char *pmap__run_args(const struct pmap__run *run, size_t position)
{
    size_t at = run->scattered ? run->names[position] : position;
    return run->args ? run->args + at * run->task->args_size : NULL;
}

void pmap__run_begin(struct pmap__run *run);
void pmap__run_end(struct pmap__run *run);
void pmap__run_wipe(struct pmap__run *run);
void pmap__run_check_bytes(struct pmap__run *run); /* an item whose result has a size, but is NULL, has failed */

/* for (i = 0; i < n; i++) results[i] = task(args[i]);       as items first … first + n of their job
 * Results of items that fail are wiped: all zero bytes. */
static inline void pmap__run_items(struct pmap__run *run, size_t n, const void *args, void *results, size_t first)
{
    run->first = first;
    run->n = n;
    run->to = results;
    run->task->run(n, args, results, &run->at);
    if (run->task->bytes)
        pmap__run_check_bytes(run);
    if (run->failed_at != SIZE_MAX)
        pmap__run_wipe(run);
}

/* Run the positions [begin, end), or skip what is left when the run is cancelled. */
void pmap__run_span(struct pmap__run *run, size_t begin, size_t end);

/* These positions are not run: note that, and wipe their results. */
void pmap__run_skip(struct pmap__run *run, size_t begin, size_t end);

/* Wipe the results of n elements; what bytes results point to is freed. results may be NULL. */
void pmap__results_wipe(const struct pmap_task *task, void *results, size_t n);

/* Is the calling thread inside a task? Then where: place and thread may be NULL. */
bool pmap__item_running(const struct pmap__place **place, int *thread);

/* The same, also in what is called by the library and is no task. */
bool pmap__item_place(const struct pmap__place **place, int *thread);

/* Is the calling thread in something of the user's, a task, an operation, an initializer or a callback, that items may wait for, so
 * that it may not wait for items itself? */
bool pmap__item_must_not_wait(void);

/* Is the run over, for its call is cancelled, or one that an item around it belongs to? On a lent thread it handles what has
 * come, inside of an item, so that it hears of that. */
bool pmap__run_cut(const struct pmap__run *run); /* whatever the run */
static inline bool pmap__run_stopped(const struct pmap__run *run)
{
    return (run->cancelled && atomic_load_explicit(run->cancelled, memory_order_relaxed)) ||
           (run->outer && pmap__run_cut(run));
}
bool pmap__item_cut(void); /* the same, of the item that runs */

/* What pmap_item, pmap_cancelled and the default seed of a call inside a task say. */
size_t pmap__item_index(void);
bool pmap__item_cancelled(void);
uint64_t pmap__item_seed(void);   /* of the call that the running task belongs to; 0 outside a task */
uint64_t pmap__item_subseed(void); /* for a call inside it, made of the seed and the item; 0 outside a task */

/* Remember that the item now running failed. False outside a task. _as: with another status than PMAP_EFAILED. */
bool pmap__item_fail(int code, const char *text);
bool pmap__item_fail_as(enum pmap_status status, int code, const char *text);

/* Has it? And what texts shall call it until it ends, or until the next call; borrowed. */
bool pmap__item_has_failed(void);
void pmap__item_about(const char *what);

/* Between begin and end pmap_fail on this thread fills *said: for functions of the user's that are no tasks. */
void pmap__role_begin(struct pmap__run *run, const char *role, const struct pmap__place *place, int thread,
                      struct pmap_error *said);
void pmap__role_end(struct pmap__run *run);

#endif
