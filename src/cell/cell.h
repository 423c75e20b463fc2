/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A cell: a place for one child at a time, as its owner's thread or the child itself sees it. They take turns, and the state of the
 * block says whose it is; the block's desk and the windows in and out belong to whoever has the turn. Whoever waits spins
 * for a moment, with sched_yield, for the two may share a CPU, then sleeps. An owner's thread has a cell for itself.
 */
#ifndef PMAP_CELL_CELL_H
#define PMAP_CELL_CELL_H

#include "cell/zygote.h"

struct pmap__cell {
    struct pmap__zygote *zygote; /* NULL in the child */
    unsigned generation;         /* of the zygote whose child has been here; 0: there was none */
    bool given_up;               /* somebody may still live at this number: the next child gets another */
    uint64_t number;
    struct pmap__window frame;   /* the block's */
    struct pmap__block *block;
    struct pmap__window in, out; /* what goes to the child, and comes from it */
};

/* ---- The owner ---- */

/* Start from {.zygote}. */

/* The child is asked to leave, and waited for; memory is given back. A cell of zeros is fine. */
void pmap__cell_close(struct pmap__cell *cell);

/* Nobody is in it: is a child to be had? The desk and the windows are empty and the owner's; to be filled before admit. False if there
 * can be no zygote. */
bool pmap__cell_prepare(struct pmap__cell *cell);

/* Have one come. It is BEGINNING, then HOME; or GONE if it could not, or died. False if the zygote is dead. */
bool pmap__cell_admit(struct pmap__cell *cell);

/* Is a child HOME, or was when we looked? */
static inline bool pmap__cell_is_home(const struct pmap__cell *cell)
{
    return cell->block && atomic_load(&cell->block->state) == PMAP__HOME;
}

/* The child is HOME: it gets the turn. False if it is dead. */
bool pmap__cell_give(struct pmap__cell *cell);

/* Wait until the state is not this one, for so many nanoseconds at most. True if so. long_ago: we have waited already, and do
 * not spin. */
bool pmap__cell_await(struct pmap__cell *cell, enum pmap__turn_of state, uint64_t ns, bool long_ago);

/* Is the zygote that the child is from dead? Then so is the child: the cell is empty. */
bool pmap__cell_check(struct pmap__cell *cell);

/* The item that was begun as this one is condemned: sig ends it, SIGTERM or SIGKILL. If another is begun by then SIGTERM does nothing. */
void pmap__cell_condemn(struct pmap__cell *cell, uint64_t item, int sig);

/* What the child has written cannot be trusted: whatever it does, it is killed, and it is GONE. */
void pmap__cell_abandon(struct pmap__cell *cell);

/* A child that is HOME leaves, in order. Returns when it is GONE. */
void pmap__cell_dismiss(struct pmap__cell *cell);

/* Bytes of memory that the child has for itself now; 0: not known. */
uint64_t pmap__cell_resident(const struct pmap__cell *cell);

/* ---- The child ---- */

/* Enter the cell of this number. False if it cannot: then exit. */
bool pmap__cell_enter(struct pmap__cell *cell, int file, uint64_t number);

/* Give the turn back; wait for the next. False: leave. */
bool pmap__cell_take(struct pmap__cell *cell);

/* An item begins, is counted, and timed or weighed if somebody wants to know. */
void pmap__cell_begin_item(struct pmap__cell *cell, bool timed, bool weighed);

#endif
