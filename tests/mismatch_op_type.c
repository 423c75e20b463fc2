/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * mismatch_op, but the operands of gamma_of have another type, of the same size. */
#include <pmap.h>

static int alpha(int x) { return 2 * x; }
PMAP_TASK(alpha, int, int);

static double beta(int x) { return 0.5 * x; }
PMAP_TASK(beta, double, int);

static float gamma_of(float a, float b) { return a + b; }
PMAP_OP(gamma_of, float);

#include "mismatch.h"
