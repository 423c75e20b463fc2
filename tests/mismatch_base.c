/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Two tasks, alpha and beta. */
#include <pmap.h>

static int alpha(int x) { return 2 * x; }
PMAP_TASK(alpha, int, int);

static double beta(int x) { return 0.5 * x; }
PMAP_TASK(beta, double, int);

#include "mismatch.h"
