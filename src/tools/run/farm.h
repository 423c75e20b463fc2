/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The root's part: rows of arguments become jobs, jobs orders, and outcomes output, joblog and results.
 */
#ifndef PMAP_TOOLS_RUN_FARM_H
#define PMAP_TOOLS_RUN_FARM_H

#include "tools/run/options.h"

#include <pmap.h>

/* The exit status of the program. */
int run_farm(struct pmap_pool *pool, const struct run_options *options);

#endif
