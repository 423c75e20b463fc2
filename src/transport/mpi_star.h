/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Collective calls that bear the death of ranks: all go by the root, one message at a time to and from each rank, and the
 * root leaves out whom its lifelines say to be dead. The others wait for nobody but the root, with which they end.
 *
 * MPI's own would wait for the dead for ever. The price is time that grows with the number of ranks: some microseconds for each.
 *
 * Memory that MPI may still use for a message of a dead rank is never freed.
 */
#ifndef PMAP_TRANSPORT_MPI_STAR_H
#define PMAP_TRANSPORT_MPI_STAR_H

#include "transport/transport.h"

#include <mpi.h>

struct pmap__mpi_star {
    MPI_Comm comm;
    int tag;  /* that nobody else uses */
    int root;
    struct pmap__port *port; /* with a lifeline */
};

/* As the operations of struct pmap__transport are. What a dead rank would have said is zero bytes, and does not count in least. gather
 * goes to the root of the star. node_gather takes ranks of one host name for a node. */
enum pmap_status pmap__mpi_star_broadcast(const struct pmap__mpi_star *star, int from, void *bytes, size_t size);
enum pmap_status pmap__mpi_star_least(const struct pmap__mpi_star *star, int *value);
enum pmap_status pmap__mpi_star_gather(const struct pmap__mpi_star *star, int value, int all[]);
enum pmap_status pmap__mpi_star_node_gather(const struct pmap__mpi_star *star, const void *mine, size_t size, void **all, int *n,
                                            int *me);

#endif
