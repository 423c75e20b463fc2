/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "sched/walltime.h"

#define MS UINT64_C(1000000)
#define S UINT64_C(1000000000)

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t pmap__walltime_margin(uint64_t all)
{
    return smaller(all / 10, 10 * S);
}

bool pmap__walltime_fits(uint64_t left, uint64_t margin, size_t items, uint64_t item_ns)
{
    if (left <= margin)
        return false;
    return item_ns == 0 || items <= (left - margin) / item_ns;
}

uint64_t pmap__walltime_next_look(uint64_t left, uint64_t margin)
{
    uint64_t look = left > margin ? (left - margin) / 64 : 0;
    return look < 5 * MS ? 5 * MS : smaller(look, S);
}
