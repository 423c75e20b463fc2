/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Who is where. A rank that comes to a line where the root has been while the rank served another pool need not wait there for
 * the root. But the line may be in a function that creates several pools, and the root may be there again, or come there yet,
 * for a pool of which this rank is to be part. Nothing that the rank knows tells the two apart. So it asks the root, on
 * a communicator that outlives the pools, and waits: the root answers as soon as it waits for all ranks to create a pool, and
 * says at which line, or when the process ends. If it is at the same line the two meet there, for whichever pool; what was
 * remembered stays for the next time. Else the rank returns, and finds the root where it is.
 *
 * Survivors have no other communicator, and cannot ask. And a process that owns its MPI may have the root wait for this rank in a call of its own, so there is nothing that the rank
 * could wait for. There a rank believes the line, and the root warns if nobody comes.
 */
#include "transport/mpi_process.h"

#include "base/error.h"
#include "base/patience.h"
#include "base/will.h"
#include "transport/lifeline.h"
#include "transport/mpi_leave.h"
#include "transport/mpi_ulfm.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
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
    /* without the lock: */
    struct pmap__port *survivors; /* all ranks have left the launcher's care, and this is their port; NULL: they have not */
    bool may_leave;           /* MPI was initialised for that */
    MPI_Comm questions;       /* all ranks; the progress thread's; MPI_COMM_NULL: MPI is not ours, or there were no meetings yet */
    atomic_bool side_by_side; /* there were some, and nobody has wondered yet; any thread */
} mpi = {.lock = PTHREAD_MUTEX_INITIALIZER, .questions = MPI_COMM_NULL};

/* Where a process is, for those who ask. */
struct word {
    uint64_t creates; /* 1: it waits for all ranks to create a pool, 0: it ends */
    uint64_t where;
};

enum { TAG_QUESTION = 1, TAG_WORD = 2 };

/* So long may the others take to come without anybody wondering. */
#define WONDER (5 * PMAP__S)

enum pmap_status pmap__mpi_failed(int code, const char *what, struct pmap_error *error)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    MPI_Error_string(code, text, &length);
    return pmap__error_set(error, PMAP_EMPI, "pmap: %s failed: %s", what, text);
}

static void answer(const struct word *word)
{
    int asked = mpi.questions != MPI_COMM_NULL;
    MPI_Status status;

    while (asked && MPI_Iprobe(MPI_ANY_SOURCE, TAG_QUESTION, mpi.questions, &asked, &status) == MPI_SUCCESS && asked) {
        MPI_Recv(NULL, 0, MPI_BYTE, status.MPI_SOURCE, TAG_QUESTION, mpi.questions, MPI_STATUS_IGNORE);
        MPI_Send(word, sizeof *word, MPI_BYTE, status.MPI_SOURCE, TAG_WORD, mpi.questions); /* who asks has posted a receive */
    }
}

void pmap__mpi_wonder(uint64_t waited)
{
    if (waited <= WONDER || !atomic_exchange(&mpi.side_by_side, false))
        return;
    pmap__warn("pmap_create has waited %d s for the other ranks. If they never come: this program had pools side by side, and a "
               "rank may have taken this call for one of theirs at the same line of the program; see pmap_create in pmap.h",
               (int)(WONDER / PMAP__S));
}

/* word: what to answer meanwhile; NULL: nothing. */
static enum pmap_status await(MPI_Request *request, const char *what, const struct word *word, struct pmap_error *error)
{
    uint64_t start = pmap__now(), nap;
    int done = 0;

    for (;;) {
        int code = MPI_Test(request, &done, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS)
            return pmap__mpi_failed(code, what, error);
        if (done)
            return PMAP_OK;
        if (word)
            answer(word);
        uint64_t waited = pmap__now() - start;
        if (word && word->creates)
            pmap__mpi_wonder(waited);
        enum pmap__pause pause = pmap__patience(waited, &nap);
        if (pause == PMAP__PAUSE_YIELD)
            sched_yield();
        else if (pause == PMAP__PAUSE_NAP)
            nanosleep(&(struct timespec){.tv_nsec = (long)nap}, NULL);
    }
}

enum pmap_status pmap__mpi_await(MPI_Request *request, const char *what, struct pmap_error *error)
{
    return await(request, what, NULL, error);
}

enum pmap_status pmap__mpi_await_all(MPI_Request *request, uint64_t where, struct pmap_error *error)
{
    struct word word = {.creates = 1, .where = where};
    return await(request, "MPI_Comm_idup", &word, error);
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

/* Do all ranks want the same, and can all of them have it? */
static enum pmap_status agree_to_survive(bool survive, enum pmap_status verdict, struct pmap_error *error)
{
    int mine[3] = {survive, !survive, verdict == PMAP_OK}, least[3]; /* a survivor, somebody else, somebody who cannot */

    MPI_Allreduce(mine, least, 3, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    if (least[0] == least[1]) /* both are 0 */
        return pmap__error_set(error, PMAP_EINVAL, "pmap_create: survive is %s here, but %s on another rank", survive ? "true" : "false",
                               survive ? "false" : "true");
    if (verdict == PMAP_OK && !least[2])
        return pmap__error_set(error, PMAP_EINVAL, "pmap_create: survive is true, but not possible on another rank");
    return verdict;
}

/* MPICH takes SIGUSR1 for itself, by which its launcher tells of ranks that have died: there it ends the process. What the signal means
 * is for the program to say, and for pmap. */
static int init(int *level)
{
    struct sigaction before;
    bool known = sigaction(SIGUSR1, NULL, &before) == 0;
    int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, level);

    if (known)
        sigaction(SIGUSR1, &before, NULL);
    return code;
}

enum pmap_status pmap__mpi_init(bool survive, struct pmap_error *error)
{
    int level, size;
    enum pmap_status verdict = survive ? pmap__mpi_leave_prepare(error) : PMAP_OK;
    int code = init(&level);
    if (code != MPI_SUCCESS)
        return pmap__mpi_failed(code, "MPI_Init_thread", error);
    if (level < MPI_THREAD_FUNNELED)
        return pmap__error_set(error, PMAP_EMPI, "pmap_create: this MPI does not allow threads (MPI_THREAD_FUNNELED)");
    mpi.ours = true;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (size == 1) /* there is nobody to be survived */
        return PMAP_OK;
    verdict = agree_to_survive(survive, verdict, error);
    mpi.may_leave = survive && verdict == PMAP_OK;
    return verdict;
}

enum pmap_status pmap__mpi_may_leave(struct pmap_error *error)
{
    if (mpi.may_leave)
        return pmap__mpi_leave_check(error);
    return pmap__error_set(error, PMAP_EINVAL, "pmap_create: survive is true, but %s",
                           mpi.ours ? "was not in the first pool of the program"
                                    : "the program initialised MPI itself: leave that to pmap_create");
}

void pmap__mpi_leave_launcher(struct pmap__port *port, int root)
{
    pmap__mpi_leave(port->rank == root);
    mpi.survivors = port;
}

struct pmap__port *pmap__mpi_survivors(void)
{
    return mpi.survivors;
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
    MPI_Comm_free_keyval(&key); /* it goes when the attribute goes */
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

/* Answer until all ranks are here. */
static void end_questions(void)
{
    struct word word = {.creates = 0};
    MPI_Request request;

    if (mpi.questions == MPI_COMM_NULL)
        return;
    if (MPI_Ibarrier(mpi.questions, &request) == MPI_SUCCESS)
        await(&request, "MPI_Ibarrier", &word, NULL);
    MPI_Comm_free(&mpi.questions);
}

/* Survivors say goodbye, and go. They cannot finalize MPI, with ULFM neither: MPI_Finalize of Open MPI 5.0.7 often waits for the dead. */
void pmap__mpi_finalize(void)
{
    if (mpi.survivors) {
        pmap__lifeline_close(mpi.survivors->lifeline);
        return;
    }
    end_questions();
    forget_memories();
    MPI_Finalize();
}

bool pmap__mpi_dies_alone(void)
{
    return mpi.survivors && mpi.survivors->rank != mpi.survivors->survivors_root;
}

/* A survivor that cannot go on is as good as dead, and the others go on without it. By a signal, for an exit with another
 * status than 0 is the program's own verdict, and would be heard as such. But where it is the root that has died, which is what a lifeline's
 * thread has to say, that should be heard: mpirun --with-ft ulfm takes deaths by signals, of all ranks even, for success. */
static void die_alone(int code)
{
    fflush(NULL);
    if (pmap__ulfm_is_built() && pmap__lifeline_here())
        _exit(code);
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Another thread may be inside MPI while a lifeline's thread ends all ranks. */
static bool may_call(void)
{
    int level;

    MPI_Query_thread(&level);
    return !pmap__lifeline_here() || level == MPI_THREAD_MULTIPLE;
}

/* Where the launcher is gone, or does not care, MPI_Abort may wait for it for ever, and other ranks hear nothing: they are told
 * on their lifelines, and this process does not wait for longer than a second. A thread that may not call MPI leaves it at that, and at an
 * exit that the launcher hears of. Whoever comes second waits for the first. */
void pmap__mpi_abort(int code)
{
    static atomic_flag aborting = ATOMIC_FLAG_INIT;

    while (atomic_flag_test_and_set(&aborting))
        pause();
    signal(SIGALRM, SIG_DFL);
    alarm(1);
    if (pmap__mpi_dies_alone())
        die_alone(code);
    pmap__will_execute();
    pmap__lifelines_end_all();
    if (mpi.survivors == NULL && may_call()) /* survivors would not hear it */
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

/* What is remembered of pools over the ranks of this group; *at is NULL if nothing is. Under the lock. */
static struct memory **find_memory(MPI_Group group)
{
    struct memory **at = &mpi.memories;
    int result;

    while (*at && (MPI_Group_compare(group, (*at)->group, &result), result == MPI_UNEQUAL))
        at = &(*at)->next;
    return at;
}

/* The root has been at this line. Is it there again, or will it be next? */
static bool returns(int root, uint64_t where)
{
    MPI_Request receive, send;
    struct word word;

    if (mpi.questions == MPI_COMM_NULL)
        return false;
    if (MPI_Irecv(&word, sizeof word, MPI_BYTE, root, TAG_WORD, mpi.questions, &receive) != MPI_SUCCESS ||
        MPI_Isend(NULL, 0, MPI_BYTE, root, TAG_QUESTION, mpi.questions, &send) != MPI_SUCCESS ||
        await(&send, "MPI_Isend", NULL, NULL) != PMAP_OK || await(&receive, "MPI_Irecv", NULL, NULL) != PMAP_OK)
        return false;
    return word.creates && word.where == where;
}

bool pmap__mpi_recall(const void *comm, uint64_t where, enum pmap_status *status)
{
    MPI_Comm c = comm ? *(const MPI_Comm *)comm : MPI_COMM_WORLD;
    MPI_Group group;
    int got = -1;

    MPI_Comm_group(c, &group);
    pthread_mutex_lock(&mpi.lock);
    struct memory *m = *find_memory(group);
    bool known = m && pmap__meeting_known(&m->met, where);
    pthread_mutex_unlock(&mpi.lock);
    if (known && !returns(m->met.root, where)) {
        pthread_mutex_lock(&mpi.lock);
        m = *find_memory(group);
        got = m ? pmap__meeting_recall(&m->met, where) : -1;
        pthread_mutex_unlock(&mpi.lock);
    }
    MPI_Group_free(&group);
    *status = got < 0 ? PMAP_OK : (enum pmap_status)got;
    return got >= 0;
}

/* What the root met while this port lived. Where ranks ask, what is older stays until they have come to it; else it is out of
 * date. A root has been everywhere itself. Without memory a rank may wait for a root that will not come. */
static void remember(MPI_Comm comm, const struct pmap__meetings *met, bool root)
{
    MPI_Group group;

    MPI_Comm_group(comm, &group);
    struct memory **at = find_memory(group), *m = *at;
    if (m == NULL && met->n > 0 && !root && (m = calloc(1, sizeof *m)) != NULL) {
        m->group = group;
        *at = m;
    } else {
        MPI_Group_free(&group);
    }
    if (m == NULL)
        return;
    if (root || mpi.questions == MPI_COMM_NULL)
        m->met = (struct pmap__meetings){0};
    if (root)
        return;
    pmap__meetings_add(&m->met, met);
    if (met->n > 0)
        m->met.root = met->root;
}

/* From the first meetings on there can be questions; where MPI is ours all ranks of all pools are those of MPI_COMM_WORLD. */
static void open_questions(MPI_Comm comm, const struct pmap__meetings *met)
{
    MPI_Request request;
    MPI_Comm questions;
    int result;

    if (met->n > 0)
        atomic_store(&mpi.side_by_side, true);
    MPI_Comm_compare(comm, MPI_COMM_WORLD, &result);
    if (!mpi.ours || mpi.survivors || met->n == 0 || mpi.questions != MPI_COMM_NULL || result == MPI_UNEQUAL || result == MPI_SIMILAR)
        return;
    if (MPI_Comm_idup(comm, &questions, &request) == MPI_SUCCESS && pmap__mpi_await(&request, "MPI_Comm_idup", NULL) == PMAP_OK)
        mpi.questions = questions;
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
    open_questions(member->comm, met);
    pthread_mutex_lock(&mpi.lock);
    remember(member->comm, met, member->port->owner != NULL);
    struct pmap__mpi_member **at = &mpi.ports;
    while (*at && *at != member)
        at = &(*at)->next;
    if (*at)
        *at = member->next;
    pthread_mutex_unlock(&mpi.lock);
}
