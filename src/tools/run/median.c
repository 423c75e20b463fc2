/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "tools/run/median.h"

#include <math.h>

void run_median_add(struct run_median *median, double seconds)
{
    double class = seconds > 1e-6 ? log(seconds / 1e-6) / log(1.01) : 0;

    median->classes[class < RUN_CLASSES - 1 ? (size_t)class : RUN_CLASSES - 1]++;
    median->n++;
}

double run_median(const struct run_median *median)
{
    size_t seen = 0, i = 0;

    if (median->n == 0)
        return 0;
    while ((seen += median->classes[i]) < (median->n + 1) / 2)
        i++;
    return 1e-6 * pow(1.01, (double)i + 0.5); /* the middle of the class */
}
