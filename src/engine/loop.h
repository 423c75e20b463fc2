/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Who does the engine's work, and when it rests. A loop is something that must be stepped until it says that it is
 * finished: a root handing out chunks (root.c) or a rank serving them (serve.c). It is stepped either
 *
 *   - by the progress thread, one per process, started when first needed, and by callers that wait, as its guests. It
 *     initialises MPI, if pmap does, and so lives until the process exits. Otherwise it ends with its last loop; or
 *   - by the caller, inside a pmap call, where the program owns MPI and allows no thread of ours to use it.
 *
 * Between steps that find nothing to do a loop rests: until its bell is rung if rings tell it everything, else for as
 * long as it says itself, else for as long as base/patience.h says.
 */
#ifndef PMAP_ENGINE_LOOP_H
#define PMAP_ENGINE_LOOP_H

#include "base/bell.h"

#include <pmap.h>

struct pmap__loop {
    bool (*step)(struct pmap__loop *loop);    /* do what there is to do, without waiting; true if there was anything */
    void (*abandon)(struct pmap__loop *loop); /* the process exits: finish soon; any thread; NULL: that cannot be */
    bool (*quiet)(struct pmap__loop *loop);   /* nothing is outstanding; by whoever steps it; NULL: it never is */
    bool polls;              /* step must be called even if nobody rings */
    uint64_t nap;            /* step says: nothing urgent can come within so many ns; 0: it does not know */
    uint64_t due;            /* step says: it must be called when the clock shows this; 0: there is no such time */
    bool finished;           /* step says: it need not be called again */
    struct pmap__bell *bell; /* whoever steps the loop sleeps on it; set by pmap__caller_add and pmap__progress_add */
    struct pmap__loop *next; /* of the progress thread's list */
};

/* Step a loop on the calling thread until it is finished. Its bell is the caller's. */
void pmap__loop_run(struct pmap__loop *loop);

/* Loops that the program's own thread steps inside pmap calls, all of them whenever it waits for anything: the calling
 * thread is the one. add: PMAP_ENOMEM if there is no bell to be had. */
enum pmap_status pmap__caller_add(struct pmap__loop *loop);
void pmap__caller_remove(struct pmap__loop *loop);

/* Is the calling thread one that must step such loops? */
bool pmap__caller_steps(void);

/* Step them until ready(argument), or the clock shows deadline; true if it is ready. */
bool pmap__caller_run(bool (*ready)(const void *argument), const void *argument, uint64_t deadline);

/* Wake it, if it rests in caller_run. Any thread. */
void pmap__caller_ring(void);

/* Make sure that the progress thread runs, and keep it running until the hold is released; PMAP_ENOMEM if it cannot be
 * started. */
enum pmap_status pmap__progress_hold(void);
void pmap__progress_release(void);

/* Have the progress thread, which the caller holds, step a loop; wait until it is finished. */
void pmap__progress_add(struct pmap__loop *loop);
void pmap__progress_join(struct pmap__loop *loop);

/* Guests: callers that wait, and step the progress thread's loops themselves meanwhile, since handing a call over to another
 * thread and back takes longer than a message. One at a time; the progress thread keeps away, and takes over when the
 * guest leaves something outstanding. There are guests only where MPI lets several threads use it in turn
 * (MPI_THREAD_SERIALIZED), and only while there are loops that poll.
 *
 * enter: false if that cannot be, or somebody else steps just now. run: until ready(argument), or the clock shows deadline, or
 * it turns out that the wait may be long, and the guest had better leave and sleep; true if it is ready. */
bool pmap__guest_enter(void);
bool pmap__guest_run(bool (*ready)(const void *argument), const void *argument, uint64_t deadline);
void pmap__guest_leave(void);

/* Is the calling thread a guest? Then it need not ring for what it is going to see to itself. */
bool pmap__guest_here(void);

/* Run a function on the progress thread, started if need be, and wait for it. PMAP_ENOMEM if it cannot be started. */
enum pmap_status pmap__progress_call(void (*function)(void *argument), void *argument);

/* The progress thread has initialised MPI: it stays, and finalizes MPI when the process exits. captive: no other thread may
 * make MPI calls, not even in turn. */
void pmap__progress_owns_mpi(bool captive);

#endif
