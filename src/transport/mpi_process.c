/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "transport/mpi_process.h"

#include "base/error.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the process knows of MPI. */
static struct {
    bool ours;            /* pmap__mpi_init did it */
    pthread_mutex_t lock; /* of the rest */
    struct pmap__mpi_member *ports; /* those that live */
    struct refusal {
        MPI_Group group;    /* opens over these ranks are to be refused, */
        struct pmap__refusals lines; /* from these lines of the program */
        struct refusal *next;
    } *refusals;
} mpi = {.lock = PTHREAD_MUTEX_INITIALIZER};

enum pmap_status pmap__mpi_failed(int code, const char *what, struct pmap_error *error)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    MPI_Error_string(code, text, &length);
    return pmap__error_set(error, PMAP_EMPI, "pmap: %s failed: %s", what, text);
}

/* ---- The state of the process ---- */

/* Any of these is set by a launcher for the processes it starts. A batch script has SLURM_PROCID too, but no PMI. */
static bool launched(void)
{
    static const char *const signs[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_ID", "PALS_RANKID",
                                        "MV2_COMM_WORLD_RANK"};
    const char *wish = getenv("PMAP_MPI");

    if (wish && strcmp(wish, "no") == 0)
        return false;
    if (wish && strcmp(wish, "yes") == 0)
        return true;
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (getenv(signs[i]))
            return true;
    const char *tasks = getenv("SLURM_STEP_NUM_TASKS");
    if (tasks && atoi(tasks) > 1 && getenv("SLURM_STEP_ID"))
        pmap__warn("srun started %s tasks without MPI support, each on its own: use srun --mpi=pmix", tasks);
    return false;
}

enum pmap__mpi_state pmap__mpi_state(void)
{
    int initialised, finalized, level;

    MPI_Initialized(&initialised);
    MPI_Finalized(&finalized);
    if (finalized)
        return PMAP__MPI_OVER;
    if (!initialised)
        return launched() ? PMAP__MPI_LAUNCHED : PMAP__MPI_ABSENT;
    if (mpi.ours)
        return PMAP__MPI_OURS;
    MPI_Query_thread(&level);
    return level == MPI_THREAD_MULTIPLE ? PMAP__MPI_MULTIPLE : PMAP__MPI_FOREIGN;
}

bool pmap__mpi_my_thread(void)
{
    int level, mine;
    MPI_Query_thread(&level);
    MPI_Is_thread_main(&mine);
    return mine || level == MPI_THREAD_MULTIPLE;
}

enum pmap_status pmap__mpi_init(struct pmap_error *error)
{
    int level;
    int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level);
    if (code != MPI_SUCCESS)
        return pmap__mpi_failed(code, "MPI_Init_thread", error);
    if (level < MPI_THREAD_FUNNELED)
        return pmap__error_set(error, PMAP_EMPI, "pmap_create: this MPI does not allow threads (MPI_THREAD_FUNNELED)");
    mpi.ours = true;
    return PMAP_OK;
}

static void forget_refusals(void)
{
    while (mpi.refusals) {
        struct refusal *r = mpi.refusals;
        mpi.refusals = r->next;
        MPI_Group_free(&r->group);
        free(r);
    }
}

void pmap__mpi_finalize(void)
{
    forget_refusals();
    MPI_Finalize();
}

void pmap__mpi_abort(int code)
{
    MPI_Abort(MPI_COMM_WORLD, code);
    _exit(code);
}

enum pmap_status pmap__mpi_check(const void *comm, int *size, struct pmap_error *error)
{
    MPI_Comm c = comm ? *(const MPI_Comm *)comm : MPI_COMM_WORLD;
    int inter;

    if (c == MPI_COMM_NULL)
        return pmap__error_set(error, PMAP_EINVAL, "pmap_create_on: comm is MPI_COMM_NULL");
    MPI_Comm_test_inter(c, &inter);
    if (inter)
        return pmap__error_set(error, PMAP_EINVAL, "pmap_create_on: comm is an intercommunicator");
    MPI_Comm_size(c, size);
    return PMAP_OK;
}

/* ---- The list of live ports ---- */

/* Does a live port of this process have the same ranks, in whatever order? Under the lock. */
static struct pmap__port *find_live(MPI_Comm comm)
{
    for (struct pmap__mpi_member *p = mpi.ports; p; p = p->next) {
        int result;
        MPI_Comm_compare(comm, p->comm, &result);
        if (result != MPI_UNEQUAL)
            return p->port;
    }
    return NULL;
}

/* Take one line out of a list; false if it is not in it. */
static bool forgive(struct pmap__refusals *lines, uint64_t where)
{
    for (int i = 0; i < lines->n; i++)
        if (lines->where[i] == where) {
            lines->where[i] = lines->where[--lines->n];
            return true;
        }
    return false;
}

/* Has the root refused the open that the caller is about to make? Under the lock. */
static bool refused_before(MPI_Comm comm, uint64_t where)
{
    MPI_Group group;
    bool found = false;

    MPI_Comm_group(comm, &group);
    for (struct refusal *r = mpi.refusals; r && !found; r = r->next) {
        int result;
        MPI_Group_compare(group, r->group, &result);
        found = result != MPI_UNEQUAL && forgive(&r->lines, where);
    }
    MPI_Group_free(&group);
    return found;
}

/* The lines that the root refused while this port lived. An older list for the same ranks is out of date. */
static void remember_refusals(MPI_Comm comm, const struct pmap__refusals *lines)
{
    MPI_Group group;
    struct refusal **at = &mpi.refusals;
    int result = MPI_UNEQUAL;

    MPI_Comm_group(comm, &group);
    while (*at && (MPI_Group_compare(group, (*at)->group, &result), result == MPI_UNEQUAL))
        at = &(*at)->next;
    if (*at == NULL && lines->n > 0)
        *at = calloc(1, sizeof **at); /* without memory a rank may wait for a root that will not come */
    else if (*at)
        MPI_Group_free(&(*at)->group);
    if (*at) {
        (*at)->group = group;
        (*at)->lines = *lines;
    } else {
        MPI_Group_free(&group);
    }
}

enum pmap_status pmap__mpi_admit(MPI_Comm comm, uint64_t where, struct pmap_error *error)
{
    pthread_mutex_lock(&mpi.lock);
    struct pmap__port *live = find_live(comm);
    if (live && live->refused.n < PMAP__REFUSALS_MAX)
        live->refused.where[live->refused.n++] = where;
    bool busy = live || refused_before(comm, where);
    pthread_mutex_unlock(&mpi.lock);
    if (!busy)
        return PMAP_OK;
    return pmap__error_set(error, PMAP_EBUSY,
                           "pmap_create: a pool of these ranks lives already: destroy it first, or create this one on a "
                           "communicator of other ranks");
}

void pmap__mpi_enlist(struct pmap__mpi_member *member)
{
    pthread_mutex_lock(&mpi.lock);
    member->next = mpi.ports;
    mpi.ports = member;
    pthread_mutex_unlock(&mpi.lock);
}

void pmap__mpi_delist(struct pmap__mpi_member *member, const struct pmap__refusals *refused)
{
    pthread_mutex_lock(&mpi.lock);
    remember_refusals(member->comm, refused);
    struct pmap__mpi_member **at = &mpi.ports;
    while (*at && *at != member)
        at = &(*at)->next;
    if (*at)
        *at = member->next;
    pthread_mutex_unlock(&mpi.lock);
}
