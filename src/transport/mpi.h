/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Ports over MPI. Nothing in here needs mpi.h, so that the layers above never see it; without MPI the same
 * functions exist and say so (transport/nompi.c).
 *
 * Every function is called on one and the same thread of the process, the one that initialises MPI here, or the program's
 * own if the program did; MPI_THREAD_FUNNELED is enough. Only with MPI_THREAD_MULTIPLE may several threads call.
 */
#ifndef PMAP_TRANSPORT_MPI_H
#define PMAP_TRANSPORT_MPI_H

#include "transport/transport.h"

/* What this process has of MPI. */
enum pmap__mpi_state {
    PMAP__MPI_ABSENT,   /* not initialised, and no launcher started this process (or built without MPI) */
    PMAP__MPI_LAUNCHED, /* not initialised, but a launcher waits for it */
    PMAP__MPI_OURS,     /* initialised by pmap__mpi_init */
    PMAP__MPI_FOREIGN,  /* initialised by the program, below MPI_THREAD_MULTIPLE */
    PMAP__MPI_MULTIPLE, /* initialised by the program, with MPI_THREAD_MULTIPLE */
    PMAP__MPI_OVER      /* finalized */
};
enum pmap__mpi_state pmap__mpi_state(void);

/* Does MPI allow the calling thread to use it? Always with MULTIPLE, else only the one that initialised it. */
bool pmap__mpi_my_thread(void);

enum pmap_status pmap__mpi_init(struct pmap_error *error);
void pmap__mpi_finalize(void);

/* End all ranks of the job at once. Any thread; does not return. */
void pmap__mpi_abort(int code);

/* Is the program's communicator one on which a pool can live? comm points to an MPI_Comm; NULL means
 * MPI_COMM_WORLD. PMAP_OK and its size, or PMAP_EINVAL: all ranks that are in it agree on that without a message. */
enum pmap_status pmap__mpi_check(const void *comm, int *size, struct pmap_error *error);

/* Collective over the communicator, which is duplicated. where is a hash of the line of the program that asks for a pool.
 *
 * PMAP_EBUSY at once, without a message, if a port over the same ranks lives in this process already. The other ranks
 * serve that one then; they may come to the same line of the program later, and would wait for a root that has been
 * there already. So the root notes the lines that it refused while a port lives, and gives them to the other ranks when it
 * closes it; each of them then refuses the next open from such a line over those ranks, once. */
enum pmap_status pmap__mpi_open(const void *comm, uint64_t where, struct pmap__port **port, struct pmap_error *error);

#endif
