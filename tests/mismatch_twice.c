/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A task alpha here and, with the same types, quite another one in mismatch_twice_too.c. */
#include <pmap.h>

static int alpha(int x) { return 2 * x; }
PMAP_TASK(alpha, int, int);

#include "mismatch.h"
