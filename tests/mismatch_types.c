/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * mismatch_base, but beta takes another type, of the same size. */
#include <pmap.h>

static int alpha(int x) { return 2 * x; }
PMAP_TASK(alpha, int, int);

static double beta(float x) { return 0.5 * (double)x; }
PMAP_TASK(beta, double, float);

#include "mismatch.h"
