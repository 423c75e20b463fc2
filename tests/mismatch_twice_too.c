/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * See mismatch_twice.c. */
#include <pmap.h>

static int alpha(int x) { return 100 * x; }
PMAP_TASK(alpha, int, int);
