/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * User-level failure mitigation, ULFM: an MPI that has it, and was started with it, says by the code of a call that the peer is dead, and
 * goes on with those who live. It is seen to work with Open MPI 5 under mpirun --with-ft ulfm. In a build without it nobody is ever
 * said to be dead.
 *
 * Who is dead is for the lifelines to say, here as elsewhere: so what is said does not depend on the MPI, and a death is told once. From MPI we
 * only take that a message will never be done. Collective calls go by the root (mpi_star.h), for MPI's own would have to be made again on a
 * communicator that all survivors have shrunk first. What ULFM gives beyond the other way (mpi_leave.h) is that nobody has to leave the
 * launcher, which hears of all deaths and of what the program says in the end.
 */
#ifndef PMAP_TRANSPORT_MPI_ULFM_H
#define PMAP_TRANSPORT_MPI_ULFM_H

#include <mpi.h>
#include <stdbool.h>

/* Was pmap built with it? */
bool pmap__ulfm_is_built(void);

/* Has the launcher switched it on? From MPI_Init to MPI_Finalize. */
bool pmap__ulfm_is_on(void);

/* Does this code say that the peer of the call is dead? Then its request is over, and the message is not whole. */
bool pmap__ulfm_peer_died(int code);

/* Does it say, of a probe for any source, that somebody has died from whom a message might have come? This call sees to it that the
 * communicator does not say so of him again. */
bool pmap__ulfm_somebody_died(int code, MPI_Comm comm);

#endif
