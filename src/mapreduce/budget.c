/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Limits are bytes, NO_LIMIT where nobody says: the least counts. */
#include "mapreduce/budget.h"

#include "base/room.h"

#include <stdlib.h>

#define NO_LIMIT PMAP__ROOM_ENDLESS

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t times(uint64_t a, uint64_t b)
{
    return b && a > NO_LIMIT / b ? NO_LIMIT : a * b;
}

/* ---- Slurm ---- */

/* The number of a variable; NO_LIMIT if it is not set, or 0, by which Slurm means all there is. */
static uint64_t variable(const char *name)
{
    const char *text = getenv(name);
    uint64_t number = text && *text >= '0' && *text <= '9' ? strtoull(text, NULL, 10) : 0;
    return number ? number : NO_LIMIT;
}

/* What the job may use on this node: MiB for all of it, or for each CPU. */
static uint64_t of_job(void)
{
    uint64_t node = variable("SLURM_MEM_PER_NODE"), cpu = variable("SLURM_MEM_PER_CPU"), cpus = variable("SLURM_CPUS_ON_NODE");
    uint64_t all_cpus = cpus == NO_LIMIT ? NO_LIMIT : times(cpu, cpus);
    return times(least(node, all_cpus), 1 << 20);
}

/* ---- All of it ---- */

uint64_t pmap__memory_share_in(const char *root, int ranks_here)
{
    uint64_t node = least(pmap__room_of_node(root), of_job());
    uint64_t share = least(node / (uint64_t)(ranks_here > 0 ? ranks_here : 1), pmap__room_of_process(root));

    return share / 2 > PMAP__MEMORY_MIN ? share / 2 : PMAP__MEMORY_MIN;
}

uint64_t pmap__memory_share(int ranks_here)
{
    return pmap__memory_share_in("", ranks_here);
}
