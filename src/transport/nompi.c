/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What transport/mpi.h means in a library built without MPI: there is none, and a launcher is met with a warning
 * rather than with as many lonely roots as it started processes.
 */
#include "transport/mpi.h"

#include "base/error.h"

#include <stdlib.h>

enum pmap__mpi_state pmap__mpi_state(void)
{
    const char *ranks = getenv("OMPI_COMM_WORLD_SIZE");
    if (ranks == NULL)
        ranks = getenv("PMI_SIZE");
    if (ranks && atoi(ranks) > 1)
        pmap__warn("this library was built without MPI: each of the %s processes works on its own", ranks);
    return PMAP__MPI_ABSENT;
}

static enum pmap_status absent(struct pmap_error *error)
{
    return pmap__error_set(error, PMAP_EINVAL, "pmap_create: this library was built without MPI");
}

bool pmap__mpi_my_thread(void)
{
    return true;
}

enum pmap_status pmap__mpi_init(bool survive, struct pmap_error *error)
{
    (void)survive;
    return absent(error);
}

bool pmap__mpi_in_turn(void)
{
    return true;
}

void pmap__mpi_on_finalize(void (*function)(void))
{
    (void)function;
}

void pmap__mpi_finalize(void)
{
}

bool pmap__mpi_dies_alone(void)
{
    return false;
}

void pmap__mpi_abort(int code)
{
    exit(code);
}

enum pmap_status pmap__mpi_check(const void *comm, int *size, struct pmap_error *error)
{
    (void)comm;
    (void)size;
    return absent(error);
}

enum pmap_status pmap__mpi_open(const void *comm, uint64_t where, struct pmap__port **port, struct pmap_error *error)
{
    (void)comm;
    (void)where;
    (void)port;
    return absent(error);
}

enum pmap_status pmap__mpi_live(const void *comm, struct pmap__port **live, int *rank, struct pmap_error *error)
{
    (void)comm;
    (void)live;
    (void)rank;
    return absent(error);
}

bool pmap__mpi_recall(const void *comm, uint64_t where, enum pmap_status *status)
{
    (void)comm;
    (void)where;
    (void)status;
    return false;
}
