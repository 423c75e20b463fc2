/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap for programs that own MPI: a pool on a communicator of theirs, for one phase of an SPMD code.
 *
 *     MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &level);
 *     …                                                   // SPMD work on all ranks
 *     pmap_create_on(comm, 0, &pool);                     // collective over comm; ranks other than 0 serve in here
 *     if (pool) {
 *         pmap_map(pool, energy, states, energies, n);
 *         pmap_destroy(pool);
 *     }
 *     …                                                   // all ranks of comm go on together
 *     MPI_Finalize();
 *
 * The communicator is duplicated: messages of the pool and of the program never mix, and MPI_COMM_WORLD is
 * left alone. MPI must be initialised and is never finalized by pmap. Create and destroy may be repeated.
 *
 * Threads. With MPI_THREAD_MULTIPLE the pool works on while the root computes. Below that only the thread that
 * initialised MPI may create and use a pool, and the other ranks are served while the root is inside a pmap
 * call; the tasks run on all threads of all ranks in any case.
 *
 * pmap_create in a program that has initialised MPI is pmap_create_on(MPI_COMM_WORLD, root, …).
 */
#ifndef PMAP_MPI_H
#define PMAP_MPI_H

#include <mpi.h>
#include <pmap.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Create a pool over the ranks of comm, with the given root:
 *
 *     pmap_create_on(comm, root, &pool)
 *     pmap_create_on(comm, root, &pool, .threads = 2, .error = &err)
 *
 * Collective over comm; otherwise as pmap_create, with its options (but .root: the argument counts) and statuses.
 * Also PMAP_EINVAL: MPI is not initialised or already finalized, comm is MPI_COMM_NULL or an intercommunicator. */
#define pmap_create_on(comm, root, ...)  \
    pmap_create_on_with((comm), (root),  \
                        &(struct pmap_create_options){ \
                            .size = sizeof(struct pmap_create_options), .where = PMAP__HERE, .pool = __VA_ARGS__})

enum pmap_status pmap_create_on_with(MPI_Comm comm, int root, const struct pmap_create_options *options);

#ifdef __cplusplus
}
#endif

#endif
