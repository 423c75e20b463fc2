/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A job: one map over n items, from the call that makes it to the last result. Its items are taken from one cursor,
 * work.next, by the root's own threads and by the root's loop for the other ranks alike, so that no item is handed out
 * twice and none is left. It is complete when every item is taken, no thread of the root is in it any more, and every
 * chunk that went away has been answered.
 *
 * Who touches what: the caller fills it in, submits it and waits on done. Then work belongs to the team, failures to
 * anybody under its lock, the rest to the root's loop.
 */
#ifndef PMAP_ENGINE_JOB_H
#define PMAP_ENGINE_JOB_H

#include "base/bell.h"
#include "engine/item.h"
#include "sched/portion.h"
#include "team/team.h"

struct pmap__root;

/* What the root's loop tells itself, and others tell it, about a job. */
struct pmap__note {
    enum pmap__news { PMAP__SUBMITTED, PMAP__LOCAL_DONE } news;
    struct pmap__job *job;
    struct pmap__note *next;
};

/* What the root knows of a rank as a worker on this job. */
struct pmap__job_rank {
    struct pmap__meter meter; /* item times as that rank reports them */
    uint64_t rate;            /* of all its threads, pmap__rate(); 0: not measured */
    size_t chunks;            /* of this job that are there now */
};

struct pmap__job {
    struct pmap__work work;
    const struct pmap_task *task;
    const char *args; /* the caller's arrays */
    char *results;
    size_t chunksize; /* the user's, or 0 */

    struct pmap__root *root;
    const struct pmap__place *place; /* the root's */
    int all_threads;                 /* of the pool */
    struct pmap__failures failures;
    struct pmap__note submitted, local_done;

    struct pmap__job_rank *ranks; /* one for each rank; NULL: one item, or no other ranks */
    uint64_t rates;               /* the sum of ranks[].rate */
    int rated_threads;            /* threads of the ranks that have one */
    _Atomic uint64_t thread_share; /* of one of the root's threads, for portions; 0: not known */
    size_t away;                  /* chunks at other ranks, or still being sent */
    bool local;                   /* the team has the work, or may be in it */
    bool listed;                  /* in the list of jobs with items to hand out, */
    struct pmap__job *next;       /* of which this is the link */

    atomic_bool done; /* set last; then only the caller touches the job */
    struct pmap__bell bell; /* rung once after done */
};

/* Fill in a job over n > 0 items. PMAP_OK, or PMAP_ENOMEM with nothing to undo. */
enum pmap_status pmap__job_init(struct pmap__job *job, const struct pmap_task *task, const void *args, void *results,
                                size_t n, size_t chunksize);

/* Free what a job holds; it must be complete, or never submitted. */
void pmap__job_fini(struct pmap__job *job);

/* PMAP_OK if every item of a complete job succeeded, else the status and the error of the lowest that did not. */
enum pmap_status pmap__job_outcome(const struct pmap__job *job, struct pmap_error *error);

#endif
