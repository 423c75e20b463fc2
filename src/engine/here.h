/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A call inside a task: its job runs on the calling thread, at the place of the item that makes it, to the same results as
 * on a pool of one thread; chunks matter to block tasks only. If the call around it is cancelled it ends at the next item, and
 * the item that makes it is given up.
 */
#ifndef PMAP_ENGINE_HERE_H
#define PMAP_ENGINE_HERE_H

#include "engine/job.h"

/* Run a job from pmap__job_init to its end, callbacks included. It is done then. */
void pmap__job_run_here(struct pmap__job *job);

/* Call the callbacks of a job that is as good as done. */
void pmap__job_call_back(struct pmap__job *job);

/* Where the result of a reduction belongs, if nothing has failed. */
void pmap__job_give_result(struct pmap__job *job);

#endif
