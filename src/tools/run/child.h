/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * One command as a process group of its own, with its output in files without a name. Whoever starts it waits for it; nobody else
 * knows of it but the keeper.
 *
 * The command is run by the shell, or, if the shell would do no more than that, by execve itself: a word or several of harmless
 * characters, of which the first is no command that shells have inside.
 */
#ifndef PMAP_TOOLS_RUN_CHILD_H
#define PMAP_TOOLS_RUN_CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct run_command {
    const char *shell, *line;
    char *const *environment; /* NULL at its end */
    int out, err;             /* its standard output and error; its input is empty */
};

struct run_child {
    pid_t pid; /* of the process, and of its group */
    int watch; /* a descriptor that can be read when it has ended; -1: this kernel has none */
    size_t place; /* its entry in the keeper's table */
};

/* Before there are threads: what commands shall find as this process found it. */
void run_child_prepare(void);

/* False: there is no process to be had; errno says why. */
bool run_child_start(struct run_child *child, const struct run_command *command);

/* Wait seconds at most. True: it has ended, and is still to be reaped. */
bool run_child_wait(const struct run_child *child, double seconds);

/* All of its group. */
void run_child_signal(const struct run_child *child, int signal);

/* The status of one that has ended, as waitpid has it; whole: all that is left of its group is killed. It is over then. */
int run_child_reap(struct run_child *child, bool whole);

/* Is there nothing for a shell to do? For tests. */
bool run_command_is_simple(const char *shell, const char *line);

#endif
