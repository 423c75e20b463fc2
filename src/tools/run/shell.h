/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Which shell runs the commands, chosen as GNU parallel does: $PARALLEL_SHELL; or the nearest shell among the processes that this one comes
 * from; or $SHELL, if it is one whose quoting is that of sh; or /bin/sh.
 */
#ifndef PMAP_TOOLS_RUN_SHELL_H
#define PMAP_TOOLS_RUN_SHELL_H

/* For free(). */
char *run_shell(void);

#endif
