/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * An isolated pool: a rank's threads do not run items themselves, each has a child process that does (inmate.h). A crash costs the
 * item that ran, which has failed as PMAP_ECRASHED; what was finished stays, and the rest goes to the next child.
 *
 * Thread k of the rank has cell k. One more cell is for operations that bring together values of different threads and ranks, under a
 * lock. A thread that waits for its child sees to time limits and cancelling, and, if it is lent to a loop, to messages.
 */
#ifndef PMAP_ENGINE_ISOLATE_H
#define PMAP_ENGINE_ISOLATE_H

#include "engine/fold.h"

struct pmap__cells;
struct pmap__zygote;

/* A zygote for a pool that is to be created: before MPI and threads, if that can be. NULL, with errno. */
struct pmap__zygote *pmap__isolate_prepare(void);

/* For the threads of this place, which finds its cells here from now on. NULL if memory is short. Holds the zygote.
 * initarg_size: of the crew's initarg, if that is to be copied. */
struct pmap__cells *pmap__cells_create(struct pmap__zygote *zygote, struct pmap__place *place, int threads, size_t initarg_size);

/* All children leave, and are waited for. NULL is fine. No thread uses it any more. */
void pmap__cells_destroy(struct pmap__cells *cells);

/* Have a child for this thread begin, initializers and all. PMAP_OK; PMAP_EFAILED, PMAP_ECRASHED: an initializer did; PMAP_ENOMEM. On
 * that thread. */
enum pmap_status pmap__cells_begin(struct pmap__cells *cells, int thread, struct pmap_error *error);

/* As pmap__run_span, pmap__fold_span, and the op of a fold, in the child of the run's thread. */
void pmap__isolated_span(struct pmap__run *run, size_t begin, size_t end);
void pmap__isolated_fold(struct pmap__fold *fold, struct pmap__run *run, size_t begin, size_t end);
enum pmap_status pmap__isolated_merge(const struct pmap__fold *fold, const char *values, char *value, struct pmap_error *error);

/* The process that this thread's items run in, or ran in last; 0: there was none. Any thread. */
int pmap__cells_process(const struct pmap__cells *cells, int thread);

/* The file that its children find shared data in; -1 for NULL. */
int pmap__cells_file(const struct pmap__cells *cells);

#endif
