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

/* Asks for MPI_THREAD_SERIALIZED, and makes do with MPI_THREAD_FUNNELED. survive: in such a way that a port over all ranks can survive
 * their death. PMAP_OK; PMAP_EINVAL: MPI is initialised, but the ranks do not all say the same, or it is not possible here;
 * PMAP_EMPI. */
enum pmap_status pmap__mpi_init(bool survive, struct pmap_error *error);

/* May several threads use MPI, one after the other? */
bool pmap__mpi_in_turn(void);
void pmap__mpi_finalize(void);

/* Where the program owns MPI: have MPI_Finalize call this first thing, while MPI works still. Once per process; later calls do
 * nothing, nor do calls where the program does not own MPI. */
void pmap__mpi_on_finalize(void (*function)(void));

/* End all ranks of the job at once; or, if this rank's death will be survived, this one alone. Any thread; does not return. */
bool pmap__mpi_dies_alone(void);
void pmap__mpi_abort(int code);

/* Is the program's communicator one on which a pool can live? comm points to an MPI_Comm; NULL means
 * MPI_COMM_WORLD. PMAP_OK and its size, or PMAP_EINVAL: all ranks that are in it agree on that without a message. */
enum pmap_status pmap__mpi_check(const void *comm, int *size, struct pmap_error *error);

/* Collective over the communicator, which is duplicated. where is the caller's line of the program. */
enum pmap_status pmap__mpi_open(const void *comm, uint64_t where, struct pmap__port **port, struct pmap_error *error);

/* A port over the same ranks that lives in this process, in *live; *rank is the process's in comm. If there is none, but ranks of
 * comm are captive in another: PMAP_EBUSY. What is decided for the open that found a live port is noted in its met, for the
 * other ranks, who serve it and will come to that line of the program when it has been closed. */
enum pmap_status pmap__mpi_live(const void *comm, struct pmap__port **live, int *rank, struct pmap_error *error);

/* Did the root ask for a pool over these ranks at this line while the calling rank served, and is not there now for another?
 * *status is what it got. Each time counts once. May wait for the root to come anywhere, or to end. */
bool pmap__mpi_recall(const void *comm, uint64_t where, enum pmap_status *status);

#endif
