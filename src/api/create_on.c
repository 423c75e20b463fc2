/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The one public call that names an MPI type: it hands the communicator on unseen. Only in a library with MPI.
 */
#include "api/api.h"

#include <pmap_mpi.h>

enum pmap_status pmap_create_on_with(MPI_Comm comm, int root, const struct pmap_create_options *options)
{
    return pmap__create("pmap_create_on", options, &comm, &root);
}
