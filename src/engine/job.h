/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A job: one call over n items, from the moment it is made to its last result. Its items are taken from one cursor,
 * work.next, by the root's own threads and by the root's loop for the other ranks alike, so that no item is handed out
 * twice and none is left. It is complete when every item is taken, no thread of the root is in it any more, every
 * chunk that went away has been answered, and what failed has been run again as often as it may.
 *
 * A position is where the cursor is; mostly position p is item p. Where the caller gave costs, order says which item it
 * is; so it does where a journal knows some of the items, for then there are positions for the others only. In a reduction the
 * positions are leaves (fold.h).
 *
 * What is run again is a job of its own, of one piece, whose parent is the job that it belongs to: it has the parent's
 * arrays, and the parent waits for it. What was lost with a rank that died is likewise, but for that it may be of several
 * pieces, and is still the first run.
 *
 * Who touches what: whoever makes a job fills it in and submits it. Then work belongs to the team, failures to
 * anybody under its lock, cancelled to anybody, the rest to the root's loop, or, if direct, to the team's last
 * thread, until state says that it is done. A job that nobody waits for any more is freed by whoever completes it.
 */
#ifndef PMAP_ENGINE_JOB_H
#define PMAP_ENGINE_JOB_H

#include "engine/cause.h"
#include "engine/fold.h"
#include "engine/observer.h"
#include "engine/recall.h"
#include "engine/seat.h"
#include "engine/view.h"
#include "sched/portion.h"
#include "team/team.h"

struct pmap__root;
struct pmap__tenant;
struct pmap__times;

/* What the root's loop tells itself, and others tell it, about a job. */
struct pmap__note {
    enum pmap__news { PMAP__SUBMITTED, PMAP__LOCAL_DONE } news;
    struct pmap__job *job;
    struct pmap__note *next;
};

/* What a rank holds that may last: no one knows that its items are short. A chunk that is not answered occupies a thread,
 * perhaps as many as it has grains. */
struct pmap__lasting {
    size_t chunks, grains;
};

/* What the root knows of a rank as a worker on this job. */
struct pmap__job_rank {
    struct pmap__meter meter; /* item times as that rank reports them */
    uint64_t rate;            /* of all its threads, pmap__rate(); 0: not measured */
    size_t chunks;            /* of this job that are there now, */
    struct pmap__lasting lasting; /* and what of them may last */
};

/* What is asked for. Everything is borrowed until the job is done, but for what is said to be copied. */
struct pmap__order_form {
    const char *call; /* the public function, for texts */
    const char *name; /* what the journal of the pool calls it; NULL: it is not written down */
    const struct pmap_task *task;
    const void *args;
    bool copy_args;   /* of a single item: they are copied */
    void *results;
    size_t n;
    size_t base;      /* what the index of the first item is, for all that names items */
    size_t chunksize; /* the user's, or 0 */
    const struct pmap_op *op; /* a reduction into *results; NULL: no */
    enum pmap_on_error on_error;
    enum pmap_status *statuses;
    size_t max_failures;
    int retries;
    uint64_t retry_delay; /* ns */
    const double *cost;
    int priority;
    uint64_t seed;
    struct pmap__limits limits; /* of each item, in an isolated pool */
    bool reasons;     /* keep a reason for each failed item */
    bool late;        /* it may come when the pool is closed, */
    bool last;        /* or even terminated: it tidies up */
    /* Called before the items at these positions go to a rank, so that what they are may depend on it: it may write into args. Any thread,
     * each position once. Not with a fold or costs. NULL: nothing to do. */
    void (*bind)(void *binder, size_t begin, size_t end, int rank);
    void *binder;
    uint64_t part_of; /* the call that the job is a part of, as the pool's observer names it; 0: it is a call */
    int aim;          /* of a single item: 1 + the rank that it is for; 0: whoever is free */
    pmap_callback_fn *callback;
    pmap_error_callback_fn *error_callback;
    void *user;
    struct pmap__course *course; /* that it is a part of; NULL: it is a call of its own */
    /* Called last of all, by whoever completes the job, before it is done. It may not wait. */
    void (*ended)(struct pmap__job *job, void *owner);
    void *owner;
};

enum { PMAP__JOB_DONE = 1, PMAP__JOB_UNWANTED = 2, PMAP__JOB_WATCHED = 4 };

struct pmap__job {
    struct pmap__work work;
    struct pmap__order_form form;
    char *own_args;   /* a copy; NULL if there is none */
    size_t base;      /* the item, or the leaf, at position 0 */
    size_t *order;    /* which item is at each position, or which leaf, counted from base; NULL: they follow each other */
    struct pmap__fold *fold; /* of a reduction; the parent's if there is one */

    struct pmap__root *root;
    struct pmap__tenant *tenant;
    const struct pmap__place *place; /* the root's */
    int all_threads;                 /* of the pool */
    uint64_t id;                     /* what ranks know it by; a child's is its parent's */
    struct pmap__failures failures;  /* of the first run, if failures are run again, */
    struct pmap__failures last;      /* and then these are of the last runs; of a child: how its items failed before this run */
    atomic_bool cancelled;           /* nothing more is begun, and what runs is asked to stop; any thread sets it */
    atomic_bool halted;              /* nothing more is begun, what runs goes on; likewise */
    struct pmap__cause cause;        /* why, if it was interrupted: set before these two, while the tenant has the job */
    struct pmap__times *times;       /* how long its items take; NULL: nobody needs to know */
    struct pmap__note submitted, local_done;

    struct pmap__job *parent;   /* NULL: this is no second run */
    size_t children;            /* second runs under way */
    int attempt;                /* of a child: it is the so-manieth run of its items, from 1; 1: the first was lost with a rank */
    int crashes;                /* so many runs before have crashed */
    int losses;                 /* of a child: so many ranks died that held its items */
    bool lost;                  /* of a second run: with a rank that died, just now */
    uint64_t due;               /* of a child: not to be begun before */

    struct pmap__subject subject; /* for whom its items are noted */
    struct pmap__recall *recall; /* what is written down of it; NULL: nothing, or its parent sees to that */

    struct pmap__seat *seats;    /* of the root's threads */
    uint64_t began;              /* when it was submitted, roughly */
    /* For those who look (view.h); the loop alone writes, anybody reads. Of a child they are its parent's: */
    atomic_size_t out;           /* items in chunks that are away; of the job's own positions, not of its children's */
    atomic_size_t again;         /* items of its children */
    atomic_size_t items_retried, items_lost; /* so far, items that were run again because they had failed, or because their rank had died */

    struct pmap__job_rank *ranks; /* one for each rank; NULL: one piece, or no other ranks */
    size_t bytes_each;            /* an item and its result on their way, on average */
    uint64_t rates;               /* the sum of ranks[].rate */
    int rated_threads;            /* threads of the ranks that have one */
    _Atomic uint64_t thread_share; /* of one of the root's threads, for portions; 0: not known */
    size_t away;                  /* chunks at other ranks, or still being sent */
    bool direct;                  /* the loop does not know it: the team's last thread completes it */
    bool known;                   /* the loop has opened it */
    bool told;                    /* ranks have been told that it is cancelled */
    bool local;                   /* the team has the work, or may be in it */
    struct pmap__waiter place_in_line; /* of jobs with items to hand out */
    struct pmap__job *next;       /* in a list that the loop is just making */
    struct pmap__job *before, *after; /* of the tenant's jobs; under the root's lock */

    atomic_int state; /* PMAP__JOB_… */

    struct pmap__fold own_fold; /* last, for it is large; but for its place and verdict it is set only for a reduction */
};

/* Fill in a job. PMAP_OK, or PMAP_ENOMEM with nothing to undo. */
enum pmap_status pmap__job_init(struct pmap__job *job, const struct pmap__order_form *form);

/* Leave only n positions, whose items are those of order, which belongs to the job then. It has not been submitted. */
void pmap__job_restrict(struct pmap__job *job, size_t *order, size_t n);

/* The item, or the leaf, at a position. */
static inline size_t pmap__job_at(const struct pmap__job *job, size_t position)
{
    return job->base + (job->order ? job->order[position] : position);
}

/* Are its items in their first run, be it once more because they were lost? */
static inline bool pmap__job_is_first(const struct pmap__job *job)
{
    return job->attempt < 2;
}

/* What a rank calls the first of the positions that it gets. Of a map that is only a name: the items' numbers go with them. */
static inline size_t pmap__job_named(const struct pmap__job *job, size_t position)
{
    return job->fold ? pmap__job_at(job, position) : job->base + position;
}

/* How many of the positions [begin, end), from the first on, have leaves that follow each other. */
size_t pmap__job_run_of(const struct pmap__job *job, size_t begin, size_t end);

/* Free what a job holds; it must be complete, or never submitted. */
void pmap__job_fini(struct pmap__job *job);

/* A job for running n items, or leaves, of another again, from this one on, which failed as the record says; allocated. NULL
 * if memory is short. */
struct pmap__job *pmap__job_again(struct pmap__job *parent, size_t item, size_t n, const struct pmap__record *record);

/* A job for the positions [begin, begin + n) of another, which may be a child itself, that were lost with a rank; allocated. It is a child of
 * the whole, and no second run. NULL if memory is short. */
struct pmap__job *pmap__job_lost(struct pmap__job *job, size_t begin, size_t n, size_t grain, int losses);

/* Its parent hears of its failures, as if its items had never been lost. */
void pmap__job_merge(struct pmap__job *child);

/* It has failed: may it be run once more? What has killed three processes may not. */
bool pmap__job_may_retry(const struct pmap__job *child);

/* It has failed and is to be run once more. */
void pmap__job_retry(struct pmap__job *child);

/* It will not be: what its parent hears of it. If it was cancelled its items have failed all the same, as they did before, unless
 * the call ended because too many had: then only last runs count. */
void pmap__job_give_up(struct pmap__job *child);

/* Likewise items of the first run, of which no job was made. */
void pmap__job_never_again(struct pmap__job *job, const struct pmap__record *record);

/* Nobody waits for an allocated job any more: it is freed now, or when it is done. */
void pmap__job_forget(struct pmap__job *job);

/* Somebody is going to wait for it: whoever completes it shall say so. */
static inline void pmap__job_watch(struct pmap__job *job)
{
    atomic_fetch_or(&job->state, PMAP__JOB_WATCHED);
}

/* The job is over, and nobody but the one who waits touches it any more. Frees it if nobody wants it. True if somebody waits. */
bool pmap__job_done(struct pmap__job *job);
static inline bool pmap__job_is_done(const struct pmap__job *job)
{
    return atomic_load(&job->state) & PMAP__JOB_DONE;
}

/* Is the job, or the one that it is part of, cancelled? The same, or halted? Then take what nobody has taken, and note that it was
 * not run. */
const atomic_bool *pmap__job_flag(const struct pmap__job *job);
static inline bool pmap__job_is_over(const struct pmap__job *job) /* a grain may be an item of nanoseconds */
{
    const struct pmap__job *whole = job->parent ? job->parent : job;

    return atomic_load_explicit(&whole->cancelled, memory_order_relaxed) ||
           atomic_load_explicit(&whole->halted, memory_order_relaxed);
}
void pmap__job_skip(struct pmap__job *job, size_t begin, size_t end); /* these positions */
void pmap__job_skip_rest(struct pmap__job *job);

/* It will not begin: note that its items are not run, but for those whose results its journal has put in their places. */
void pmap__job_refuse(struct pmap__job *job);

/* Has an item of the job failed in its first run? Any thread. */
bool pmap__job_has_failures(struct pmap__job *job);

/* The job's failures that count in the end. */
struct pmap__failures *pmap__job_verdict(struct pmap__job *job);

/* What the call returns: PMAP_OK, or a status and its error. */
enum pmap_status pmap__job_outcome(struct pmap__job *job, struct pmap_error *error);

/* The item, or the first of the leaf, at a position. */
static inline size_t pmap__job_item(const struct pmap__job *job, size_t position)
{
    return job->fold ? pmap__job_at(job, position) * job->fold->leaf : pmap__job_at(job, position);
}

/* How many items are at n positions. */
static inline size_t pmap__job_items(const struct pmap__job *job, size_t n)
{
    return job->fold ? n * job->fold->leaf : n;
}

/* Bytes of a result in the caller's array; 0 for a reduction, whose positions have none. */
static inline size_t pmap__job_result_size(const struct pmap__job *job)
{
    return job->fold ? 0 : job->form.task->result_size;
}

/* The positions [begin, begin + n) cannot be run, for a reason that is not their own. */
void pmap__job_fail(struct pmap__job *job, size_t begin, size_t n, const struct pmap_error *why);

#endif
