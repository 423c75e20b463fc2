/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The tasks of mismatch_base, declared in the other order: no mismatch. */
#include <pmap.h>

static double beta(int x) { return 0.5 * x; }
PMAP_TASK(beta, double, int);

static int alpha(int x) { return 2 * x; }
PMAP_TASK(alpha, int, int);

#include "mismatch.h"
