/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Data that an owner lays out for all its children, by id: a table at the beginning of the file says which slot has which, and each
 * slot has a range of its own. The owner writes under a lock of the process; children read without: an entry is filled before its id
 * is set, and emptied after.
 */
#ifndef PMAP_CELL_SHELF_H
#define PMAP_CELL_SHELF_H

#include "cell/window.h"

/* The owner: a copy of the data. Those who put the same id there share one, and each takes it away once. False if memory, or
 * the 4096 slots, are short. */
bool pmap__shelf_put(int file, uint64_t id, const void *data, size_t size);
void pmap__shelf_take(int file, uint64_t id);

/* A child: where the data of an id is; NULL if it is not there. Any thread of it. */
const void *pmap__shelf_find(int file, uint64_t id);

#endif
