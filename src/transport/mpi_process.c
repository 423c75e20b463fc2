/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "transport/mpi_process.h"

#include "base/error.h"
#include "base/patience.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the process knows of MPI. */
static struct {
    bool ours;            /* pmap__mpi_init did it */
    void (*on_finalize)(void); /* called by MPI_Finalize; NULL: nobody asked; by whoever may use MPI */
    pthread_mutex_t lock; /* of the rest */
    struct pmap__mpi_member *ports; /* those that live */
    struct memory {
        MPI_Group group;    /* over these ranks, */
        struct pmap__meetings met; /* their root met these opens */
        struct memory *next;
    } *memories;
} mpi = {.lock = PTHREAD_MUTEX_INITIALIZER};

enum pmap_status pmap__mpi_failed(int code, const char *what, struct pmap_error *error)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    MPI_Error_string(code, text, &length);
    return pmap__error_set(error, PMAP_EMPI, "pmap: %s failed: %s", what, text);
}

enum pmap_status pmap__mpi_await(MPI_Request *request, const char *what, struct pmap_error *error)
{
    uint64_t start = pmap__now(), nap;
    int done = 0;

    for (;;) {
        int code = MPI_Test(request, &done, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS)
            return pmap__mpi_failed(code, what, error);
        if (done)
            return PMAP_OK;
        enum pmap__pause pause = pmap__patience(pmap__now() - start, &nap);
        if (pause == PMAP__PAUSE_YIELD)
            sched_yield();
        else if (pause == PMAP__PAUSE_NAP)
            nanosleep(&(struct timespec){.tv_nsec = (long)nap}, NULL);
    }
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
    int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level);
    if (code != MPI_SUCCESS)
        return pmap__mpi_failed(code, "MPI_Init_thread", error);
    if (level < MPI_THREAD_FUNNELED)
        return pmap__error_set(error, PMAP_EMPI, "pmap_create: this MPI does not allow threads (MPI_THREAD_FUNNELED)");
    mpi.ours = true;
    return PMAP_OK;
}

bool pmap__mpi_in_turn(void)
{
    int level;
    MPI_Query_thread(&level);
    return level >= MPI_THREAD_SERIALIZED;
}

/* MPI deletes what is attached to MPI_COMM_SELF before it does anything else (MPI 3.1, section 8.7.1). */
static int deleted(MPI_Comm comm, int key, void *attached, void *unused)
{
    (void)comm;
    (void)key;
    (void)attached;
    (void)unused;
    mpi.on_finalize();
    return MPI_SUCCESS;
}

void pmap__mpi_on_finalize(void (*function)(void))
{
    int initialised, finalized, key;

    MPI_Initialized(&initialised);
    MPI_Finalized(&finalized);
    if (!initialised || finalized || mpi.ours || mpi.on_finalize)
        return;
    mpi.on_finalize = function;
    MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, deleted, &key, NULL);
    MPI_Comm_set_attr(MPI_COMM_SELF, key, NULL);
}

static void forget_memories(void)
{
    while (mpi.memories) {
        struct memory *m = mpi.memories;
        mpi.memories = m->next;
        MPI_Group_free(&m->group);
        free(m);
    }
}

void pmap__mpi_finalize(void)
{
    forget_memories();
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

/* How many ranks two communicators have in common. */
static int common(MPI_Comm a, MPI_Comm b)
{
    MPI_Group of_a, of_b, both;
    int size;

    MPI_Comm_group(a, &of_a);
    MPI_Comm_group(b, &of_b);
    MPI_Group_intersection(of_a, of_b, &both);
    MPI_Group_size(both, &size);
    MPI_Group_free(&of_a);
    MPI_Group_free(&of_b);
    if (both != MPI_GROUP_EMPTY)
        MPI_Group_free(&both);
    return size;
}

enum pmap_status pmap__mpi_live(const void *comm, struct pmap__port **live, int *rank, struct pmap_error *error)
{
    MPI_Comm c = comm ? *(const MPI_Comm *)comm : MPI_COMM_WORLD;
    bool captive = false;

    *live = NULL;
    MPI_Comm_rank(c, rank);
    pthread_mutex_lock(&mpi.lock);
    for (struct pmap__mpi_member *p = mpi.ports; p; p = p->next) {
        int result;
        MPI_Comm_compare(c, p->comm, &result);
        if (result != MPI_UNEQUAL)
            *live = p->port;
        captive |= common(c, p->comm) > 1; /* more than this process */
    }
    pthread_mutex_unlock(&mpi.lock);
    if (*live || !captive)
        return PMAP_OK;
    return pmap__error_set(error, PMAP_EBUSY, "pmap_create: some of these ranks, but not the same, serve a pool already: destroy "
                           "it first, or create this one on a communicator of other ranks");
}

bool pmap__mpi_recall(const void *comm, uint64_t where, enum pmap_status *status)
{
    MPI_Comm c = comm ? *(const MPI_Comm *)comm : MPI_COMM_WORLD;
    MPI_Group group;
    int got = -1;

    MPI_Comm_group(c, &group);
    pthread_mutex_lock(&mpi.lock);
    for (struct memory *m = mpi.memories; m && got < 0; m = m->next) {
        int result;
        MPI_Group_compare(group, m->group, &result);
        if (result != MPI_UNEQUAL)
            got = pmap__meeting_recall(&m->met, where);
    }
    pthread_mutex_unlock(&mpi.lock);
    MPI_Group_free(&group);
    *status = got < 0 ? PMAP_OK : (enum pmap_status)got;
    return got >= 0;
}

/* What the root met while this port lived. An older list for the same ranks is out of date. */
static void remember(MPI_Comm comm, const struct pmap__meetings *met)
{
    MPI_Group group;
    struct memory **at = &mpi.memories;
    int result = MPI_UNEQUAL;

    MPI_Comm_group(comm, &group);
    while (*at && (MPI_Group_compare(group, (*at)->group, &result), result == MPI_UNEQUAL))
        at = &(*at)->next;
    if (*at == NULL && met->n > 0)
        *at = calloc(1, sizeof **at); /* without memory a rank may wait for a root that will not come */
    else if (*at)
        MPI_Group_free(&(*at)->group);
    if (*at) {
        (*at)->group = group;
        (*at)->met = *met;
    } else {
        MPI_Group_free(&group);
    }
}

void pmap__mpi_enlist(struct pmap__mpi_member *member)
{
    pthread_mutex_lock(&mpi.lock);
    member->next = mpi.ports;
    mpi.ports = member;
    pthread_mutex_unlock(&mpi.lock);
}

void pmap__mpi_delist(struct pmap__mpi_member *member, const struct pmap__meetings *met)
{
    pthread_mutex_lock(&mpi.lock);
    remember(member->comm, met);
    struct pmap__mpi_member **at = &mpi.ports;
    while (*at && *at != member)
        at = &(*at)->next;
    if (*at)
        *at = member->next;
    pthread_mutex_unlock(&mpi.lock);
}
