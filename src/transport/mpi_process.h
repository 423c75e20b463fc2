/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What the files that know MPI share: its errors, how to wait for it, and the list of ports that live in this process.
 * That list, with the opens that it caused to be refused, is the global state of this layer; a lock guards it, for programs
 * with MPI_THREAD_MULTIPLE.
 */
#ifndef PMAP_TRANSPORT_MPI_PROCESS_H
#define PMAP_TRANSPORT_MPI_PROCESS_H

#include "transport/mpi.h"

#include <mpi.h>

/* PMAP_EMPI, with what MPI says of the code. */
enum pmap_status pmap__mpi_failed(int code, const char *what, struct pmap_error *error);

/* Wait for a collective call, named what, without burning a core while the others are not there yet. PMAP_OK or
 * PMAP_EMPI. */
enum pmap_status pmap__mpi_await(MPI_Request *request, const char *what, struct pmap_error *error);

/* The same for MPI_Comm_idup, in which the ranks come together for a pool; ranks that ask hear that this one is at this line. */
enum pmap_status pmap__mpi_await_all(MPI_Request *request, uint64_t where, struct pmap_error *error);

/* Can this rank leave the launcher's care? PMAP_OK; PMAP_EINVAL, and what to do. */
enum pmap_status pmap__mpi_may_leave(struct pmap_error *error);

/* If all ranks can, they do, between two barriers; the port, over all of them, is the process's until that ends. */
void pmap__mpi_leave_launcher(struct pmap__port *port, int root);

/* The port of those that have; NULL: they have not. */
struct pmap__port *pmap__mpi_survivors(void);

/* A port in the list; part of the port. */
struct pmap__mpi_member {
    struct pmap__port *port;
    MPI_Comm comm; /* the port's own */
    struct pmap__mpi_member *next;
};

void pmap__mpi_enlist(struct pmap__mpi_member *member);

/* Collective: the port ends; its root has met opens from these lines meanwhile. The communicator must still be valid, and the
 * root's port have its owner. */
void pmap__mpi_delist(struct pmap__mpi_member *member, const struct pmap__meetings *met);

/* The root has waited for so many nanoseconds until others create a pool, too: say why they may not come, once, and only where that is
 * likely. */
void pmap__mpi_wonder(uint64_t waited);

#endif
