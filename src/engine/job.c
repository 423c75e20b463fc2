/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/job.h"

#include "base/memory.h"

#include <stdlib.h>

/* ---- As the team of the root sees it ---- */

static size_t portion(struct pmap__work *work, size_t left, uint64_t item_ns)
{
    struct pmap__job *job = (struct pmap__job *)work; /* its first member */
    struct pmap__demand demand = {
        .left = left,
        .threads = 1,
        .all_threads = job->all_threads,
        .item_ns = item_ns,
        .share = atomic_load_explicit(&job->thread_share, memory_order_relaxed),
    };
    return pmap__portion_next(&demand).chunk;
}

static void run(struct pmap__work *work, struct pmap__turn *turn)
{
    struct pmap__job *job = (struct pmap__job *)work;
    size_t args_size = job->task->args_size, result_size = job->task->result_size;
    struct pmap__run run;

    pmap__run_begin(&run, job->task, job->place, turn->thread, &job->failures);
    while (pmap__turn_next(turn))
        pmap__run_items(&run, turn->end - turn->begin, pmap__element(job->args, turn->begin, args_size),
                        pmap__element_mutable(job->results, turn->begin, result_size), turn->begin);
    pmap__run_end(&run);
}

/* ---- Life ---- */

enum pmap_status pmap__job_init(struct pmap__job *job, const struct pmap_task *task, const void *args, void *results,
                                size_t n, size_t chunksize)
{
    *job = (struct pmap__job){.work = {.n = n, .grain = chunksize, .portion = portion, .run = run},
                              .task = task, .args = args, .results = results, .chunksize = chunksize};
    pmap__work_init(&job->work);
    atomic_init(&job->thread_share, 0);
    atomic_init(&job->done, false);
    job->submitted = (struct pmap__note){.news = PMAP__SUBMITTED, .job = job};
    job->local_done = (struct pmap__note){.news = PMAP__LOCAL_DONE, .job = job};
    if (!pmap__bell_init(&job->bell))
        return PMAP_ENOMEM;
    if (!pmap__failures_init(&job->failures)) {
        pmap__bell_fini(&job->bell);
        return PMAP_ENOMEM;
    }
    return PMAP_OK;
}

void pmap__job_fini(struct pmap__job *job)
{
    free(job->ranks);
    pmap__failures_fini(&job->failures);
    pmap__bell_fini(&job->bell);
}

enum pmap_status pmap__job_outcome(const struct pmap__job *job, struct pmap_error *error)
{
    if (job->failures.count == 0)
        return PMAP_OK;
    *error = job->failures.lowest;
    return error->status;
}
