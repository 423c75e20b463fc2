/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The board: counters that the tasks of all ranks of a test share, so that a test can see what ran where, and so
 * that tasks can wait for one another instead of sleeping. Ranks share no memory, but tests run on one machine:
 * the board is a file in PMAP_TEST_DIR, mapped by every process, or plain memory where that is not set.
 */
#ifndef PMAP_TESTS_BOARD_H
#define PMAP_TESTS_BOARD_H

#include <stdatomic.h>
#include <stdbool.h>

#define BOARD_CELLS 16384

/* The cells, mapped on first use. Any thread. */
atomic_int *board(void);

/* All cells zero. Only while no task runs. */
void board_clear(void);

/* Wait, yielding, until a cell has reached a value; false if that did not happen in some 20 seconds. */
bool board_await(int cell, int value);

#endif
