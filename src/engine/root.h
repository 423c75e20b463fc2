/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The root's side of a pool: jobs come in, chunks go out, results come back. See root.c for the story.
 */
#ifndef PMAP_ENGINE_ROOT_H
#define PMAP_ENGINE_ROOT_H

#include "engine/job.h"
#include "engine/loop.h"
#include "engine/watch.h"
#include "transport/transport.h"

struct pmap__root;

/* What a root is made of. From pmap__root_start on it all belongs to the root, the crew and its initarg included. */
struct pmap__root_parts {
    struct pmap__port *port; /* NULL: there are no other ranks */
    struct pmap__team *team; /* NULL: the root runs no items, the other ranks do */
    const struct pmap__place *place; /* lives as long as the root */
    int asked;               /* threads of the root that were asked for; OpenMP may have given fewer */
    bool survives;           /* ranks may die: the others take over what they held */
    bool caller_steps;       /* no thread of ours may use the port: its loop runs while the caller waits */
    void (*closed)(void *);  /* called at the very end of the root, with argument; may be NULL */
    void *argument;
};

/* Make everything that a root needs, so that nothing can fail once the other ranks have begun to serve it. PMAP_OK, or
 * PMAP_ENOMEM. */
enum pmap_status pmap__root_create(const struct pmap__root_parts *parts, struct pmap__root **root);

/* Begin; threads[r] is how many rank r has, for port->size ranks, and is not kept; NULL if there is no port. */
void pmap__root_start(struct pmap__root *root, const int threads[]);

/* Free a root that has not begun, not its parts. NULL is fine. */
void pmap__root_discard(struct pmap__root *root);

int pmap__root_ranks(const struct pmap__root *root);
int pmap__root_living(const struct pmap__root *root); /* ranks that are not dead */
bool pmap__root_survives(const struct pmap__root *root);
int pmap__root_threads(const struct pmap__root *root);
int pmap__root_own_threads(const struct pmap__root *root);
int pmap__root_threads_of(const struct pmap__root *root, int rank);
int pmap__root_asked_threads(const struct pmap__root *root);
const struct pmap__place *pmap__root_place(const struct pmap__root *root);

/* May the calling thread use the pool? Else PMAP_EINVAL and why. */
enum pmap_status pmap__root_admits(const struct pmap__root *root, struct pmap_error *error);

/* ---- Tenants ----
 *
 * A pool is a tenant of a root: several pools over the same ranks have the same root, whose loop and threads serve them
 * all. Calls on one tenant after pmap__tenant_leave are not allowed, other calls are on any thread. */

struct pmap__tenant {
    struct pmap__root *root;
    enum pmap__tenancy { PMAP__OPEN, PMAP__CLOSED, PMAP__TERMINATED } state;
    struct pmap__journal *journal; /* the pool's; NULL: it has none. Closed when the tenant leaves; under the lock then */
    struct pmap__observer *observer; /* who is told of its calls; NULL: nobody. Constant from before the first call until the pool is left */
    struct pmap__job *jobs; /* that are not done; these three are under the root's lock */
    struct pmap__course *courses; /* for those who look (view.h): calls of several jobs that are not done; */
    struct pmap__tally over;      /* what became of those that are, */
    uint64_t calls, calls_over;   /* and how many they are. Under the lock, too */
    struct {                      /* whom to tell when its last call has ended, before that returns; set before the first */
        void (*idle)(void *owner); /* by any thread, which may not wait in there; NULL: nobody */
        void *owner;
    } shown;
    bool stopped;           /* it was interrupted: they are all cancelled, but for those that tidy up */
    struct pmap__limit_at limit; /* of its own; no deadline: that of the process, if it is limited */
    bool limited;           /* it has to end at some time, which may not be known yet; this and the next are constant */
    bool signals;           /* signals interrupt it */
    atomic_bool asked;      /* it shall be interrupted: any thread, or a handler */
    struct pmap__cause cause; /* once it is set no jobs are taken; under the lock, anybody reads */
    atomic_size_t pending;  /* jobs that are not done */
    atomic_bool shares;     /* it has shared data at some time */
    struct pmap__tenant *next; /* of the root's; under its lock, too */
};

/* walltime: how many seconds it has; 0: what the environment says; below 0: it does not care. */
void pmap__tenant_enter(struct pmap__tenant *tenant, struct pmap__root *root, struct pmap__journal *journal, bool signals,
                        double walltime);

/* Take no more jobs; cancel those that there are; wait until there are none. */
void pmap__tenant_close(struct pmap__tenant *tenant);
void pmap__tenant_terminate(struct pmap__tenant *tenant);
void pmap__tenant_join(struct pmap__tenant *tenant);
enum pmap__tenancy pmap__tenant_state(struct pmap__tenant *tenant);

/* Does it take jobs? PMAP_ECLOSED or PMAP_EINTERRUPTED, with a text, if not. */
enum pmap_status pmap__tenant_admits(struct pmap__tenant *tenant, const char *call, struct pmap_error *error);

/* Take no more jobs, and cancel those that there are, as if a signal had come. Async-signal-safe, as is the question. */
void pmap__tenant_interrupt(struct pmap__tenant *tenant);
bool pmap__tenant_is_interrupted(const struct pmap__tenant *tenant);

/* A call that is made of several jobs: between hold and release the tenant has something that is not done. */
void pmap__tenant_hold(struct pmap__tenant *tenant);
void pmap__tenant_release(struct pmap__tenant *tenant);

/* Leave the root; its last tenant ends the pool on all ranks: says goodbye to them, closes the port, ends the team. The
 * tenant has been joined. */
void pmap__tenant_leave(struct pmap__tenant *tenant);

/* Start a job, with what the journal does not know of it. PMAP_OK; PMAP_ECLOSED, PMAP_EINTERRUPTED, PMAP_EJOURNAL or PMAP_ENOMEM, with a
 * text: then its items have not been run, as its statuses and results say, but for those that the journal knew. */
enum pmap_status pmap__tenant_submit(struct pmap__tenant *tenant, struct pmap__job *job, struct pmap_error *error);

/* Begin nothing more of it. It is not done, or the root lives still. */
void pmap__root_cancel(struct pmap__root *root, struct pmap__job *job);

/* ---- Shared data ---- */

/* Bring size bytes to all nodes under this id; take them away again, which tenant_leave does with what is left. They wait.
 * PMAP_OK; PMAP_ENOMEM; PMAP_EINVAL: the tenant has no such data. */
enum pmap_status pmap__tenant_share(struct pmap__tenant *tenant, uint64_t id, const void *data, size_t size,
                                    struct pmap_error *error);
enum pmap_status pmap__tenant_unshare(struct pmap__tenant *tenant, uint64_t id, struct pmap_error *error);

#endif
