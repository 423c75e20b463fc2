/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What the files of this layer share. The layer turns the public calls into jobs for the engine: it checks
 * arguments, reads options, reports errors, and knows nothing of threads or ranks.
 */
#ifndef PMAP_API_API_H
#define PMAP_API_API_H

#include "engine/root.h"

#include <pmap.h>

struct pmap_pool {
    struct pmap__root *root;
};

/* Copy a caller's options struct, whose first member is its size, into one of our known_size, with what an older caller
 * does not know set to zero. PMAP_EINVAL, naming the call, if given is NULL, has not even the least bytes that every
 * version had, or asks for something that this library does not know. */
enum pmap_status pmap__options_read(const char *call, const void *given, size_t least, void *known, size_t known_size,
                                    struct pmap_error *error);

/* pmap_create with a communicator: points to an MPI_Comm; NULL: all ranks there are. */
enum pmap_status pmap__create(const char *call, const struct pmap_create_options *options, const void *comm,
                              const int *root);

#endif
