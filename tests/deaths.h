/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Ways in which a task goes wrong, and what becomes of it in an isolated pool.
 */
#ifndef PMAP_TESTS_DEATHS_H
#define PMAP_TESTS_DEATHS_H

#include <pmap.h>

enum death { NO_DEATH, DEATH_FAIL, DEATH_EXIT, DEATH_EXIT_0, DEATH_SEGV, DEATH_ABORT, DEATH_KILL, DEATH_STACK, DEATH_LOOP, DEATHS };

/* Die in this way; returns only after NO_DEATH and DEATH_FAIL. */
void die(int death);

const char *death_name(int death);

/* What an item has that did: PMAP_OK, PMAP_EFAILED or PMAP_ECRASHED. */
enum pmap_status death_status(int death);

/* Does this error tell of it? The sanitizers turn some signals into an exit. */
bool death_is_told(int death, const struct pmap_error *error);

#endif
