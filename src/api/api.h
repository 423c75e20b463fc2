/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What the files of this layer share. The layer turns the public calls into jobs for the engine: it checks
 * arguments, reads options, reports errors, and knows nothing of threads or ranks.
 */
#ifndef PMAP_API_API_H
#define PMAP_API_API_H

#include "engine/root.h"
#include "observe/trace.h"
#include "observe/show.h"

#include <pmap.h>

struct pmap_pool {
    struct pmap__tenant tenant;
    struct pmap__trace *trace; /* NULL: there is none */
    struct pmap__shown shown;
    struct pmap_iter *streams; /* that have not been freed; under a lock of iter.c's */
};

/* Allocated, and freed by whichever comes last, the job's end or pmap_result_free. */
struct pmap_result {
    struct pmap__job job; /* the first member: it is freed as a job */
};

/* One call as it was made; element sizes of 0 are not checked. */
struct pmap__call {
    const char *name;    /* of the public function, for texts */
    const char *in_name; /* what that function calls its input; NULL: it has none to check */
    struct pmap_pool *pool;
    const struct pmap_task *task;
    const void *in;
    void *out;
    size_t in_size, out_size;
    bool map;            /* as map: tasks of one argument only */
    bool async;
};

/* Copy a caller's options struct, whose first member is its size, into one of our known_size, with what an older caller
 * does not know set to zero. PMAP_EINVAL, naming the call, if given is NULL, has not even the least bytes that every
 * version had, or asks for something that this library does not know. */
enum pmap_status pmap__options_read(const char *call, const void *given, size_t least, void *known, size_t known_size,
                                    struct pmap_error *error);

/* pmap_create with a communicator: points to an MPI_Comm; NULL: all ranks there are. */
enum pmap_status pmap__create(const char *call, const struct pmap_create_options *options, const void *comm,
                              const int *root);

/* Do the arguments of a call over n items make sense, and may the calling thread make it now? */
enum pmap_status pmap__call_check(const struct pmap__call *call, size_t n, struct pmap_error *error);
enum pmap_status pmap__bytes_check(const struct pmap__call *call, const char *array, const void *items, size_t n,
                                   struct pmap_error *error);
enum pmap_status pmap__element_check(const struct pmap__call *call, const char *array, size_t given, size_t needed,
                                     struct pmap_error *error);

/* Options that several calls have, into the form: PMAP_EINVAL if they make no sense. */
enum pmap_status pmap__form_fill(struct pmap__order_form *form, const struct pmap__call *call, ptrdiff_t chunksize, int retries,
                                 double retry_delay, int priority, uint64_t seed, struct pmap_error *error);

/* What the journal calls a call: the user's name for it, or the line that makes it, or, of a plain function that was told none, that function. */
static inline const char *pmap__call_name(const struct pmap__call *call, const char *name, const char *where)
{
    return name ? name : where ? where : call->name;
}
/* The limits of each item, likewise: they are for isolated pools. */
enum pmap_status pmap__form_limit(struct pmap__order_form *form, const struct pmap__call *call, double timeout, size_t max_rss,
                                  struct pmap_error *error);

/* Run a call to its end; its status. */
enum pmap_status pmap__call_run(const struct pmap__call *call, const struct pmap__order_form *form, struct pmap_error *error);

/* The pool ends: so do streams of it that somebody forgot to free. */
void pmap__iters_end(struct pmap_pool *pool);

/* May the calling thread wait for jobs? PMAP_EDEADLOCK if not, for it is in a callback, a task, an operation or an initializer. */
enum pmap_status pmap__may_wait(const char *call, struct pmap_error *error);

/* Is it a number of seconds? PMAP_EINVAL if not. */
enum pmap_status pmap__timeout_check(const char *call, double timeout, struct pmap_error *error);

/* Not ready yet; no text is printed. *wanted may be NULL. */
enum pmap_status pmap__timed_out(const char *call, struct pmap_error *wanted);

#endif
