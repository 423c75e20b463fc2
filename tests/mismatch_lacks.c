/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * mismatch_base without beta. */
#include <pmap.h>

static int alpha(int x) { return 2 * x; }
PMAP_TASK(alpha, int, int);

#include "mismatch.h"
