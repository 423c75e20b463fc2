/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "cell/cell.h"

#include "cell/wake.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* Waking somebody costs more than this. */
#define SPIN (20 * PMAP__US)

/* How long a child may take to leave, which is to flush its files, before it is killed. */
#define PATIENCE (5 * PMAP__S)

/* ---- Windows ---- */

static void set_windows(struct pmap__cell *cell, int file, uint64_t number)
{
    cell->number = number;
    cell->frame = (struct pmap__window){.file = file, .at = pmap__range_of(number, PMAP__RANGE_BLOCK)};
    cell->in = (struct pmap__window){.file = file, .at = pmap__range_of(number, PMAP__RANGE_IN)};
    cell->out = (struct pmap__window){.file = file, .at = pmap__range_of(number, PMAP__RANGE_OUT)};
}

/* A number that nobody had: a child of an earlier zygote may still be dying in the old one. */
static bool move_in(struct pmap__cell *cell)
{
    uint64_t number = pmap__zygote_number(cell->zygote);

    if (number >= PMAP__CELLS_MAX)
        return false;
    set_windows(cell, pmap__zygote_file(cell->zygote), number);
    if (!pmap__window_grow(&cell->frame, sizeof(struct pmap__block)))
        return false;
    cell->block = (struct pmap__block *)cell->frame.bytes;
    return true;
}

static void move_out(struct pmap__cell *cell)
{
    pmap__window_drop(&cell->frame);
    pmap__window_drop(&cell->in);
    pmap__window_drop(&cell->out);
    cell->block = NULL;
}

void pmap__cell_close(struct pmap__cell *cell)
{
    if (cell->block == NULL)
        return;
    if (pmap__cell_is_home(cell))
        pmap__cell_dismiss(cell);
    move_out(cell);
}

/* ---- Taking turns ---- */

static bool wait_for(struct pmap__block *block, atomic_bool *sleeps, unsigned state, uint64_t ns, bool long_ago)
{
    uint64_t start = long_ago ? 0 : pmap__now();

    while (!long_ago && pmap__now() - start < SPIN) {
        if (atomic_load(&block->state) != state)
            return true;
        sched_yield();
    }
    /* Either we see the new state, or who sets it sees that we sleep. */
    atomic_store(sleeps, true);
    if (atomic_load(&block->state) == state)
        pmap__sleep_on(&block->state, state, ns);
    atomic_store(sleeps, false);
    return atomic_load(&block->state) != state;
}

static bool hand_on(struct pmap__block *block, enum pmap__turn_of from, enum pmap__turn_of to, atomic_bool *sleeps)
{
    unsigned expected = from;

    if (!atomic_compare_exchange_strong(&block->state, &expected, to))
        return false;
    if (atomic_load(sleeps))
        pmap__wake(&block->state);
    return true;
}

/* ---- The owner ---- */

bool pmap__cell_prepare(struct pmap__cell *cell)
{
    unsigned generation = pmap__zygote_revive(cell->zygote);

    if (generation == 0)
        return false;
    if (cell->block == NULL || cell->given_up || (cell->generation && generation != cell->generation)) {
        if (cell->block)
            move_out(cell);
        if (!move_in(cell))
            return false;
    }
    cell->generation = generation;
    cell->given_up = false;
    memset(cell->block, 0, sizeof *cell->block);
    return true;
}

bool pmap__cell_admit(struct pmap__cell *cell)
{
    atomic_store(&cell->block->state, PMAP__BEGINNING);
    return pmap__zygote_fork(cell->zygote, cell->number);
}

bool pmap__cell_give(struct pmap__cell *cell)
{
    return hand_on(cell->block, PMAP__HOME, PMAP__AWAY, &cell->block->child_sleeps);
}

bool pmap__cell_await(struct pmap__cell *cell, enum pmap__turn_of state, uint64_t ns, bool long_ago)
{
    return wait_for(cell->block, &cell->block->owner_sleeps, state, ns, long_ago);
}

static void give_up(struct pmap__cell *cell)
{
    cell->given_up = true;
    atomic_store(&cell->block->ended, SIGKILL); /* as waitpid would have told it */
    atomic_store(&cell->block->state, PMAP__GONE);
}

bool pmap__cell_check(struct pmap__cell *cell)
{
    if (pmap__zygote_lives(cell->zygote) == cell->generation)
        return true;
    give_up(cell);
    return false;
}

void pmap__cell_condemn(struct pmap__cell *cell, uint64_t item, int sig)
{
    atomic_store(&cell->block->condemned, item);
    pmap__zygote_kill(cell->zygote, cell->number, atomic_load(&cell->block->pid), sig);
}

void pmap__cell_abandon(struct pmap__cell *cell)
{
    pmap__zygote_kill(cell->zygote, cell->number, 0, SIGKILL);
    if (atomic_load(&cell->block->state) == PMAP__GONE)
        cell->given_up = true; /* how it ended is known */
    else
        give_up(cell);
}

void pmap__cell_dismiss(struct pmap__cell *cell)
{
    uint64_t end = pmap__now() + PATIENCE;

    if (!hand_on(cell->block, PMAP__HOME, PMAP__LEAVING, &cell->block->child_sleeps))
        return;
    while (!pmap__cell_await(cell, PMAP__LEAVING, 10 * PMAP__MS, true) && pmap__cell_check(cell))
        if (pmap__now() > end)
            pmap__zygote_kill(cell->zygote, cell->number, atomic_load(&cell->block->pid), SIGKILL);
}

/* What is resident, without files and shared memory. */
static uint64_t resident(int pid)
{
    char name[64];
    unsigned long long size, pages, shared;
    int n = 0;

    snprintf(name, sizeof name, "/proc/%d/statm", pid);
    FILE *file = fopen(name, "re");
    if (file) {
        n = fscanf(file, "%llu %llu %llu", &size, &pages, &shared);
        fclose(file);
    }
    return n == 3 && pages > shared ? (pages - shared) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

uint64_t pmap__cell_resident(const struct pmap__cell *cell)
{
    return resident(atomic_load(&cell->block->pid));
}

/* ---- The child ---- */

bool pmap__cell_enter(struct pmap__cell *cell, int file, uint64_t number)
{
    *cell = (struct pmap__cell){0};
    set_windows(cell, file, number);
    if (!pmap__window_see(&cell->frame, sizeof(struct pmap__block)))
        return false;
    cell->block = (struct pmap__block *)cell->frame.bytes;
    return true;
}

bool pmap__cell_take(struct pmap__cell *cell)
{
    struct pmap__block *block = cell->block;

    if (!hand_on(block, PMAP__BEGINNING, PMAP__HOME, &block->owner_sleeps) &&
        !hand_on(block, PMAP__AWAY, PMAP__HOME, &block->owner_sleeps))
        return false;
    for (bool long_ago = false; !wait_for(block, &block->child_sleeps, PMAP__HOME, 0, long_ago); long_ago = true)
        ;
    return atomic_load(&block->state) == PMAP__AWAY;
}

void pmap__cell_begin_item(struct pmap__cell *cell, bool timed, bool weighed)
{
    struct pmap__block *block = cell->block;

    if (weighed)
        atomic_store(&block->resident, resident((int)getpid()));
    if (timed)
        atomic_store(&block->since, pmap__now());
    atomic_fetch_add(&block->item, 1);
}
