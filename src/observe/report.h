/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What each rank of all pools is doing now, and since when, in lines for people.
 */
#ifndef PMAP_OBSERVE_REPORT_H
#define PMAP_OBSERVE_REPORT_H

#include "observe/show.h"

/* Onto stderr, in one piece. It waits for the loops of roots, but not for ever. */
void pmap__report_print(const struct pmap__shown *pools);

#endif
