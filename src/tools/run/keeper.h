/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The keeper: a process beside each rank that outlives it by a moment and kills the commands that it left behind, however it died. It
 * also ends the rank if the launcher is killed.
 *
 * It sleeps on a pipe whose other end only the rank has, and finds the process groups of the commands in a table that both see.
 * A command enters itself, before it becomes what it is, and its rank crosses it out when it has ended, before it is reaped: so the
 * number is that of this command, and of no other.
 */
#ifndef PMAP_TOOLS_RUN_KEEPER_H
#define PMAP_TOOLS_RUN_KEEPER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Before there are threads. False: it cannot be, and errno says why. */
bool run_keeper_start(void);

/* The rank ends in good order. */
void run_keeper_stop(void);

/* An entry for a command that is to begin; the command, in its own process, enters itself there; it is crossed out. */
size_t run_keeper_take(void);
void run_keeper_enter(size_t place, pid_t pid);
void run_keeper_give(size_t place);

#endif
