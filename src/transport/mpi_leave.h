/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Leaving the launcher's care, so that ranks may die one by one. A launcher ends all ranks as soon as one of them vanishes
 * from PMIx, the service by which they found each other. A rank that has left PMIx in good order may vanish, and the others
 * go on over the connections that they have.
 *
 * Where pmap is built with ULFM (mpi_ulfm.h) nobody leaves, and what is here only sees to it that the launcher has switched that on.
 *
 * Leaving is seen to work with Open MPI 4.1 over TCP and shared memory, under srun --mpi=pmix and mpirun. The price: no
 * MPI_Finalize, and nothing that needs PMIx: MPI_Abort, MPI_Comm_spawn, connections to new processes.
 */
#ifndef PMAP_TRANSPORT_MPI_LEAVE_H
#define PMAP_TRANSPORT_MPI_LEAVE_H

#include <pmap.h>

/* Before MPI_Init: can it work here? PMAP_OK, with what Open MPI must be told in the environment; PMAP_EINVAL, and what to do. */
enum pmap_status pmap__mpi_leave_prepare(struct pmap_error *error);

/* After MPI_Init: is there a PMIx to be left? PMAP_OK, or PMAP_EINVAL, and what to do. */
enum pmap_status pmap__mpi_leave_check(struct pmap_error *error);

/* If so: leave it. Between two barriers of all ranks. root: with this rank the job ends. */
void pmap__mpi_leave(bool root);

#endif
