/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A child of an isolated pool: what it does from its birth to its end, which is to run what order.h says. It knows no pool and no
 * other rank. It ends when it is told to, by exit() in a task, or by what kills it.
 */
#ifndef PMAP_ENGINE_INMATE_H
#define PMAP_ENGINE_INMATE_H

#include <stdint.h>

/* For pmap__zygote_create. Does not return. */
void pmap__inmate_live(int file, uint64_t cell);

#endif
