/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Which rank a process is, as its launcher says before there is MPI.
 */
#ifndef PMAP_TESTS_RANK_H
#define PMAP_TESTS_RANK_H

#include <stdlib.h>

/* The first of these variables that is set: Open MPI's mpirun, MPICH's, srun; NULL: there is no launcher. */
static inline const char *launched_rank(void)
{
    static const char *const names[] = {"PMIX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"};
    const char *rank = NULL;

    for (size_t i = 0; i < sizeof names / sizeof *names && rank == NULL; i++)
        rank = getenv(names[i]);
    return rank;
}

#endif
