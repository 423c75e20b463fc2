/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "transport/mpi_ulfm.h"

#ifdef HAVE_ULFM
#include <mpi-ext.h>

bool pmap__ulfm_is_built(void)
{
    return true;
}

bool pmap__ulfm_is_on(void)
{
    int *value, found = 0;

    return MPI_Comm_get_attr(MPI_COMM_WORLD, MPIX_FT, &value, &found) == MPI_SUCCESS && found && *value;
}

static bool is_of_class(int code, int wanted)
{
    int class;
    return code != MPI_SUCCESS && MPI_Error_class(code, &class) == MPI_SUCCESS && class == wanted;
}

bool pmap__ulfm_peer_died(int code)
{
    return is_of_class(code, MPIX_ERR_PROC_FAILED);
}

bool pmap__ulfm_somebody_died(int code, MPI_Comm comm)
{
    return is_of_class(code, MPIX_ERR_PROC_FAILED_PENDING) && MPIX_Comm_failure_ack(comm) == MPI_SUCCESS;
}

#else

bool pmap__ulfm_is_built(void)
{
    return false;
}

bool pmap__ulfm_is_on(void)
{
    return false;
}

bool pmap__ulfm_peer_died(int code)
{
    (void)code;
    return false;
}

bool pmap__ulfm_somebody_died(int code, MPI_Comm comm)
{
    (void)code;
    (void)comm;
    return false;
}

#endif
