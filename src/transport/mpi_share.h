/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The operations share and unshare of a port over MPI. What they keep for a port is its ranks' nodes.
 */
#ifndef PMAP_TRANSPORT_MPI_SHARE_H
#define PMAP_TRANSPORT_MPI_SHARE_H

#include "transport/transport.h"

#include <mpi.h>

/* Which ranks of a port share a node; part of the port. */
struct pmap__mpi_nodes {
    MPI_Comm comm;    /* the port's own; MPI_ERRORS_RETURN */
    MPI_Comm node;    /* of it the ranks of this node, in the same order; MPI_COMM_NULL until the first share */
    MPI_Comm leaders; /* of it rank 0 of every node; MPI_COMM_NULL elsewhere */
    int number;       /* this node's: the rank of its leader among the leaders */
};

/* Nothing is made yet. */
void pmap__mpi_nodes_init(struct pmap__mpi_nodes *nodes, MPI_Comm comm);

/* Collective. All segments have been given back. */
void pmap__mpi_nodes_fini(struct pmap__mpi_nodes *nodes);

/* See transport.h. */
enum pmap_status pmap__mpi_share(struct pmap__mpi_nodes *nodes, int root, const void *data, size_t size,
                                 struct pmap__segment **segment);
void pmap__mpi_unshare(const struct pmap__mpi_nodes *nodes, struct pmap__segment *segment);

#endif
