/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * mismatch_base and an operation gamma_of. */
#include <pmap.h>

static int alpha(int x) { return 2 * x; }
PMAP_TASK(alpha, int, int);

static double beta(int x) { return 0.5 * x; }
PMAP_TASK(beta, double, int);

static int gamma_of(int a, int b) { return a + b; }
PMAP_OP(gamma_of, int);

#include "mismatch.h"
