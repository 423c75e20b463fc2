/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * From a wish for a pool to a pool: which ranks there are, whether they agree, how many threads each gets.
 */
#ifndef PMAP_ENGINE_OPEN_H
#define PMAP_ENGINE_OPEN_H

#include "engine/root.h"

struct pmap__wish {
    int threads;      /* 0: a fair share */
    int root;
    bool dedicated;   /* the root runs no items, if there are other ranks */
    bool survive;     /* ranks may die one by one */
    uint64_t where;   /* a hash of the line of the program that asks */
    struct pmap__crew crew; /* what workers begin with */
    const char *journal;    /* a path; the root's word counts. NULL: none */
    const char *journal_version;
    size_t initarg_size;    /* of crew.initarg: the root's is for everybody; 0: each rank has its own */
    bool isolate;     /* items have processes of their own */
    struct pmap__zygote *zygote; /* that these come from; pmap__open makes it */
    enum pmap_status (*prepare)(void *preparer, struct pmap_error *error); /* called on the root alone, before its pool is made; may be NULL */
    void *preparer;
    const void *comm; /* points to the program's MPI_Comm; NULL: all ranks of the launcher, if there is one */
    enum pmap_status status; /* PMAP_OK, or the caller's verdict on its own arguments, with the text in error: */
    struct pmap_error error; /* other ranks may have to be told */
};

/* On the root: PMAP_OK and *root is the new pool's, or that of a pool over the same ranks that lives already, and *journal, which is the
 * caller's, is open, or NULL if none was wished for. On other ranks:
 * serves until the pool ends, then PMAP_OK and *root is NULL. A failure is the same on all ranks; *error says more. */
enum pmap_status pmap__open(const struct pmap__wish *wish, struct pmap__root **root, struct pmap__journal **journal,
                            struct pmap_error *error);

#endif
