/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A zygote: a process that forks others on behalf of its owner. It is forked from the owner when the owner is still simple,
 * without MPI and without threads, and does nothing itself, so its children are as simple.
 *
 * Who is whose parent. The owner forks a process that forks the zygote and ends, so the zygote is no child of the owner's:
 * the program's own wait() does not see it, and only the helper's end may be noticed, as one SIGCHLD. The children are the
 * zygote's; it reaps them and writes into the block of each how it ended.
 *
 * How it ends, however it ends. The owner asks by closing its end of a socket, or dies, which closes it: the zygote kills
 * its children and what they have started, and exits. If the zygote dies the kernel kills its children (PR_SET_PDEATHSIG); the
 * owner notices at its end of the socket, and starts another. All memory is in a file without a name.
 *
 * Signals. A child, and whatever it starts, is a process group of its own, so a Ctrl-C at the terminal reaches the owner
 * alone, who decides. What batch systems send to every process, SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGUSR2, a child ignores,
 * unless the owner has condemned the item that it is at: then SIGTERM ends it.
 */
#ifndef PMAP_CELL_ZYGOTE_H
#define PMAP_CELL_ZYGOTE_H

#include "cell/window.h"

#include <stdatomic.h>

/* Whose turn it is in a block. The owner takes GONE to BEGINNING, and HOME to AWAY or LEAVING; the child BEGINNING and AWAY to
 * HOME; the zygote, when the child is dead, anything to GONE. */
enum pmap__turn_of { PMAP__GONE, PMAP__BEGINNING, PMAP__HOME, PMAP__AWAY, PMAP__LEAVING };

/* The memory that an owner, its zygote and one child at a time have in common. */
struct pmap__block {
    atomic_uint state;          /* enum pmap__turn_of; who waits sleeps on it */
    atomic_bool owner_sleeps, child_sleeps; /* or is about to */
    atomic_int pid;             /* of the child; written by itself */
    atomic_int ended;           /* how it ended, as waitpid tells it; 0 and failed: none could be forked */
    atomic_int failed;          /* errno of fork; written with state GONE */
    atomic_uint_fast64_t item;  /* counts what the child has begun; the child's */
    atomic_uint_fast64_t since; /* when it began that, if somebody wants to know; the child's */
    atomic_uint_fast64_t resident; /* bytes that it had then; likewise */
    atomic_uint_fast64_t condemned; /* the item that SIGTERM shall end; the owner's */
    atomic_bool stop;           /* nothing more is to be begun; the owner's */
    _Alignas(64) char desk[6144]; /* what owner and child say to each other: whose turn it is may use it */
};

/* Where what belongs to a cell lies in the file. */
enum pmap__range { PMAP__RANGE_BLOCK, PMAP__RANGE_IN, PMAP__RANGE_OUT, PMAP__RANGES_EACH = 4 };
#define PMAP__CELLS_MAX ((uint64_t)1 << 19)
static inline uint64_t pmap__range_of(uint64_t cell, enum pmap__range range)
{
    return (1 + cell * PMAP__RANGES_EACH + range) * PMAP__RANGE_SIZE;
}

struct pmap__zygote;

/* What a child does: live(file, cell) with the file of the windows and its number. It should never return. prepare and
 * resume, which may be NULL, are called around each fork of the owner's: resume also in the zygote. Flushes stdio. NULL, with errno, if
 * there can be none. One who calls it holds it. */
struct pmap__zygote *pmap__zygote_create(void (*live)(int file, uint64_t cell), void (*prepare)(void), void (*resume)(void));
void pmap__zygote_hold(struct pmap__zygote *zygote);
void pmap__zygote_release(struct pmap__zygote *zygote); /* the last one ends it, and waits until it has; NULL is fine */

int pmap__zygote_file(const struct pmap__zygote *zygote);

/* A number for a cell that nobody has used. */
uint64_t pmap__zygote_number(struct pmap__zygote *zygote);

/* Ask for a child for this cell, or that a signal is sent to it, if it is still this process; pid 0: whichever it is. False if the zygote is dead. Any thread. */
bool pmap__zygote_fork(struct pmap__zygote *zygote, uint64_t cell);
bool pmap__zygote_kill(struct pmap__zygote *zygote, uint64_t cell, int pid, int sig);

/* Which zygote it is: they are counted, for one that has died is replaced. 0: it is dead. */
unsigned pmap__zygote_lives(struct pmap__zygote *zygote);

/* Replace it if it is dead; its children are, or will be at once. The new number, or 0 if there can be none. */
unsigned pmap__zygote_revive(struct pmap__zygote *zygote);

#endif
