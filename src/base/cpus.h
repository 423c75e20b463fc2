/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How many threads this rank should run: the CPUs it may use, shared with the other ranks of the node that may
 * use the same ones.
 */
#ifndef PMAP_BASE_CPUS_H
#define PMAP_BASE_CPUS_H

#include <stdint.h>

#define PMAP__CPU_WORDS 64 /* 4096 CPUs */

/* What one rank may use; ranks of a node show each other theirs. Plain bytes, so that it can be sent. */
struct pmap__cpus {
    uint64_t mask[PMAP__CPU_WORDS]; /* affinity: bit c of the whole is CPU c */
    uint64_t quota;                 /* whole CPUs that the cgroup allows; 0: as many as the mask has */
};

/* What this process may use now. */
void pmap__cpus_mine(struct pmap__cpus *cpus);
int pmap__cpus_count(const struct pmap__cpus *cpus);

/* How many CPUs the machine has online, whether or not this process may use them. */
int pmap__cpus_online(void);

/* The fair share of rank me among n ranks of one node: each CPU is divided among the ranks that may use it, and
 * what remains of whole CPUs goes to the lower ranks. At least 1. */
int pmap__cpus_share(const struct pmap__cpus all[], int n, int me);

/* What the user asked for in the environment, OMP_NUM_THREADS or else SLURM_CPUS_PER_TASK; 0 if neither says. */
int pmap__cpus_wanted(void);

#endif
