/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The terminal at the other end of stderr, if there is one, and what it can do.
 *
 * Under mpirun the stderr of a rank is a pipe, and mpirun copies what comes out of it to its own. So where a launcher is the parent of this
 * process, and its stderr is a terminal, that is ours, too. It is written to directly, so that the line is gone in time.
 */
#ifndef PMAP_OBSERVE_TERMINAL_H
#define PMAP_OBSERVE_TERMINAL_H

#include "observe/drawing.h"

/* A descriptor of the terminal that stderr goes to: STDERR_FILENO, or one to be closed by pmap__terminal_close; -1: there is none. */
int pmap__terminal_open(void);
void pmap__terminal_close(int fd);

/* Is this program in the foreground there, or is that of the launcher? What is in the background draws no line into what somebody types. */
bool pmap__terminal_is_ours(int fd);

/* How wide it is now, for it may change at any time, and what it shows: NO_COLOR, TERM, LC_ALL, LC_CTYPE, LANG, COLUMNS. */
void pmap__terminal_look(int fd, struct pmap__terminal *terminal);

#endif
