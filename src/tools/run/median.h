/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The median of how long commands took, to a percent, in bounded memory: times are counted in classes, each a percent wider than the one before.
 */
#ifndef PMAP_TOOLS_RUN_MEDIAN_H
#define PMAP_TOOLS_RUN_MEDIAN_H

#include <stddef.h>

enum { RUN_CLASSES = 3000 }; /* 1.01^3000 * 1 us is longer than a year */

struct run_median {
    size_t classes[RUN_CLASSES], n;
};

void run_median_add(struct run_median *median, double seconds);

/* 0 if there are none. */
double run_median(const struct run_median *median);

#endif
