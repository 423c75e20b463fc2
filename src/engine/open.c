/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Three ways in:
 *
 *   - alone: no launcher, or a communicator of one rank. No port; the root's loop runs on the progress thread;
 *   - over MPI: on the progress thread if pmap initialised MPI; else the program owns MPI, and this thread connects,
 *     and steps the loop, too, unless MPI_THREAD_MULTIPLE lets the progress thread do that;
 *   - loopback (PMAP_LOOPBACK=n in the environment): n ranks as threads of this process, for tests and debuggers.
 *
 * Where a pool over the same ranks lives already, they are captive in it: its root takes the new pool in, without a message,
 * and notes the line of the program. When the ranks come to that line, the pool has been there already.
 *
 * Every rank makes the same collective calls in the same order whatever befalls it: connect, agree on the program,
 * count the threads, make what a rank needs, agree that everybody has it. Only then does anybody serve.
 */
#include "engine/open.h"

#include "base/clock.h"
#include "base/cpus.h"
#include "base/error.h"
#include "base/thread.h"
#include "engine/agree.h"
#include "engine/isolate.h"
#include "engine/post.h"
#include "engine/recorder.h"
#include "engine/registry.h"
#include "engine/serve.h"
#include "transport/lifeline.h"
#include "cell/zygote.h"
#include "transport/loopback.h"
#include "transport/mpi.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Where the items of a rank run. Lives as long as its root or server. */
struct home {
    struct pmap__place place;
    struct pmap__post post;
    struct pmap__crew crew;
    void *initarg; /* a copy of the root's; NULL: there is none */
    pthread_mutex_t lock;
    struct pmap_error failed; /* the first thread_initializer that did; PMAP_OK if none */
    void (*closed)(void *);
    void *argument;
};

/* One rank on its way into a pool. */
struct entry {
    const struct pmap__wish *wish;
    uint64_t since;          /* when it began */
    struct pmap__port *port; /* NULL: alone */
    bool i_am_root, dedicated, survive;
    int threads;        /* of this rank; 0 on a dedicated root */
    int crowded;        /* CPUs that they have to share because of the launcher's binding; 0: all is well */
    int *all_threads;   /* on the root: of each rank */
    int *all_crowded;
    size_t initarg_size; /* the root's */
    struct home *home;
    struct pmap__team *team;
    struct pmap__root *root;     /* on the root, */
    struct pmap__journal *journal; /* which has it open; NULL: none is wished for */
    struct pmap__server *server; /* on the other ranks */
    bool joined;                 /* the root is that of another pool, */
    bool been;                   /* or was, for this rank */
    bool by_caller;              /* the loop will be stepped by this thread, not by the progress thread */
    void (*closed)(void *);      /* see root.h */
    void *argument;
    enum pmap_status status;
    struct pmap_error error;
};

/* ---- Threads ---- */

static void decide_threads(struct entry *e)
{
    struct pmap__cpus mine;
    void *all = &mine;
    int n = 1, me = 0;

    pmap__cpus_mine(&mine);
    pmap__team_places(&mine);
    if (e->port)
        e->status = e->port->ops->node_gather(e->port, &mine, sizeof mine, &all, &n, &me);
    if (e->status != PMAP_OK) {
        pmap__error_set(&e->error, e->status, "pmap_create: the ranks of a node could not compare their CPUs");
        return;
    }
    e->home->place.ranks_here = n;
    int allowed = pmap__cpus_count(&mine);
    int wanted = e->wish->threads ? e->wish->threads : pmap__cpus_wanted();
    e->threads = wanted ? wanted : pmap__cpus_share(all, n, me);
    if (e->i_am_root && e->dedicated)
        e->threads = 0;
    if (e->threads > allowed && allowed < pmap__cpus_online())
        e->crowded = allowed;
    if (e->port)
        free(all);
}

/* Once in the life of the process: what binds it does not change from pool to pool. */
static void warn_of_crowding(const struct entry *e, int ranks)
{
    static atomic_flag warned = ATOMIC_FLAG_INIT;
    int rank = 0;

    while (rank < ranks && e->all_crowded[rank] == 0)
        rank++;
    if (rank == ranks || atomic_flag_test_and_set(&warned))
        return;
    if (e->port == NULL)
        pmap__warn("this process runs %d threads but may use only %d CPUs: see what binds it (taskset, OMP_PLACES, a cgroup)",
                   e->all_threads[0], e->all_crowded[0]);
    else
        pmap__warn("rank %d runs %d threads but may use only %d of its node's CPUs: start with mpirun --bind-to none "
                   "(or --map-by slot:PE=%d), or srun --cpus-per-task=%d", rank, e->all_threads[rank],
                   e->all_crowded[rank], e->all_threads[rank], e->all_threads[rank]);
}

/* The root learns how many threads each rank has got in the end. */
static void count_threads(struct entry *e)
{
    int threads = e->team ? pmap__team_threads(e->team) : 0, ranks = e->port ? e->port->size : 1;

    if (e->port == NULL) {
        e->all_threads[0] = threads;
        e->all_crowded[0] = e->crowded;
    } else if (e->port->ops->gather(e->port, e->wish->root, threads, e->all_threads) != PMAP_OK ||
               e->port->ops->gather(e->port, e->wish->root, e->crowded, e->all_crowded) != PMAP_OK) {
        e->status = pmap__error_set(&e->error, PMAP_EMPI, "pmap_create: the ranks could not reach each other");
        return;
    }
    if (e->i_am_root)
        warn_of_crowding(e, ranks);
}

/* ---- What a rank needs ---- */

static void home_destroy(void *argument)
{
    struct home *home = argument;

    if (home == NULL)
        return;
    pmap__cells_destroy(home->place.cells);
    pmap__post_fini(&home->post);
    pmap__recorder_destroy(home->place.recorder);
    if (home->closed)
        home->closed(home->argument);
    free(home->initarg);
    pthread_mutex_destroy(&home->lock);
    free(home);
}

static struct home *home_create(const struct entry *e)
{
    struct home *home = calloc(1, sizeof *home);

    if (home == NULL)
        return NULL;
    pmap__place_here(&home->place, e->port ? e->port->rank : 0);
    home->place.root = e->wish->root;
    home->crew = e->wish->crew;
    home->place.crew = &home->crew;
    home->place.post = &home->post;
    pmap__post_init(&home->post, e->port);
    home->place.recorder = pmap__recorder_create(&home->place);
    home->failed.status = PMAP_OK;
    pthread_mutex_init(&home->lock, NULL); /* glibc's cannot fail */
    return home;
}

/* Collective: the root's initarg reaches every rank. */
static enum pmap_status broadcast_initarg(struct entry *e)
{
    uint64_t size = e->wish->initarg_size;
    int everybody = 1;

    if (e->port && e->port->ops->broadcast(e->port, e->wish->root, &size, sizeof size) != PMAP_OK)
        return PMAP_EMPI;
    e->initarg_size = (size_t)size;
    if (size == 0)
        return PMAP_OK;
    e->home->initarg = malloc((size_t)size);
    everybody = e->home->initarg != NULL;
    if (e->port && e->port->ops->least(e->port, &everybody) != PMAP_OK)
        return PMAP_EMPI;
    if (!everybody)
        return PMAP_ENOMEM;
    if (e->i_am_root)
        memcpy(e->home->initarg, e->wish->crew.initarg, (size_t)size);
    e->home->crew.initarg = e->home->initarg;
    return e->port ? e->port->ops->broadcast(e->port, e->wish->root, e->home->initarg, (size_t)size) : PMAP_OK;
}

/* On each thread of the team, before any item. */
static void begin_thread(void *argument, int thread)
{
    struct home *home = argument;
    struct pmap_error error;
    uint64_t since = pmap__now();

    if ((home->place.cells ? pmap__cells_begin(home->place.cells, thread, &error)
                           : pmap__crew_thread_begin(&home->place, thread, &error)) == PMAP_OK) {
        if (home->crew.thread_initializer || home->place.cells)
            pmap__recorder_before(home->place.recorder, PMAP__SPAN_THREAD_INITIALIZER, thread, since);
        return;
    }
    pthread_mutex_lock(&home->lock);
    if (home->failed.status == PMAP_OK)
        home->failed = error;
    pthread_mutex_unlock(&home->lock);
}

static enum pmap_status begin_rank(struct entry *e)
{
    uint64_t since = pmap__now();
    enum pmap_status status = pmap__crew_begin(&e->home->place, &e->error);

    if (e->home->crew.initializer)
        pmap__recorder_before(e->home->place.recorder, PMAP__SPAN_INITIALIZER, 0, since);
    return status;
}

static enum pmap_status build_team(struct entry *e)
{
    /* A rank with one thread lends it: see serve.c. */
    bool lent = !e->i_am_root && e->threads == 1;

    if (e->wish->isolate && !pmap__cells_create(e->wish->zygote, &e->home->place, e->threads, e->initarg_size))
        return e->status = PMAP_ENOMEM;
    if (e->threads == 0)
        return PMAP_OK;
    if (!e->wish->isolate)
        e->status = begin_rank(e);
    if (e->status != PMAP_OK)
        return e->status;
    e->status = pmap__team_create(&e->team, e->threads, lent, begin_thread, e->home);
    if (e->status == PMAP_OK && e->home->failed.status != PMAP_OK) {
        e->error = e->home->failed;
        e->status = e->error.status;
    }
    return e->status;
}

static enum pmap_status build_root(struct entry *e)
{
    size_t ranks = e->port ? (size_t)e->port->size : 1;
    struct pmap__root_parts parts = {.port = e->port, .team = e->team, .place = &e->home->place, .asked = e->threads,
                                     .survives = e->survive && e->port,
                                     .caller_steps = e->by_caller && e->port, .closed = home_destroy, .argument = e->home};

    e->home->closed = e->closed;
    e->home->argument = e->argument;
    e->all_threads = calloc(ranks, sizeof *e->all_threads);
    e->all_crowded = calloc(ranks, sizeof *e->all_crowded);
    if (e->all_threads == NULL || e->all_crowded == NULL)
        return PMAP_ENOMEM;
    return pmap__root_create(&parts, &e->root);
}

static enum pmap_status build_server(struct entry *e)
{
    enum pmap_status status = pmap__server_create(e->port, e->team, e->wish->root, &e->home->place, !e->by_caller, &e->server);
    if (status == PMAP_OK && e->threads == 1) {
        e->home->place.attend = pmap__server_attend;
        e->home->place.owner = e->server;
    }
    return status;
}

/* What the layer above has to do where the pool will be. */
static enum pmap_status prepare(struct entry *e)
{
    const struct pmap__wish *w = e->wish;
    return w->prepare && (e->i_am_root || e->joined) ? w->prepare(w->preparer, &e->error) : PMAP_OK;
}

/* On the root alone. */
static enum pmap_status open_journal(struct entry *e)
{
    const struct pmap__wish *w = e->wish;

    if (w->journal == NULL || !(e->i_am_root || e->joined))
        return PMAP_OK;
    return pmap__journal_open(&e->journal, w->journal, pmap__tasks_fingerprint(), w->journal_version, &e->error);
}

static void build(struct entry *e)
{
    e->status = prepare(e);
    if (e->status == PMAP_OK)
        e->status = open_journal(e);
    if (e->status != PMAP_OK)
        return;
    if (build_team(e) == PMAP_OK && e->home->place.recorder && !pmap__recorder_begin(e->home->place.recorder, e->threads))
        e->status = PMAP_ENOMEM;
    if (e->status == PMAP_OK)
        e->status = e->i_am_root ? build_root(e) : build_server(e);
    if (e->status == PMAP_ENOMEM)
        pmap__error_set(&e->error, e->status, "pmap_create: no memory for %d threads on %s (rank %d)", e->threads,
                        e->home->place.host, e->home->place.rank);
}

static void unbuild(struct entry *e)
{
    pmap__journal_close(e->journal, NULL);
    pmap__root_discard(e->root);
    pmap__server_destroy(e->server);
    pmap__team_destroy(e->team);
    if (e->home)
        e->home->closed = NULL; /* whoever opened the port sees to that */
    home_destroy(e->home);
}

static void check_root(struct entry *e)
{
    int ranks = e->port ? e->port->size : 1;
    if (e->status == PMAP_OK && (e->wish->root < 0 || e->wish->root >= ranks))
        e->status = pmap__error_set(&e->error, PMAP_EINVAL, "pmap_create: root is %d, but there %s %d rank%s", e->wish->root,
                                    ranks == 1 ? "is" : "are", ranks, ranks == 1 ? "" : "s");
    if (e->status == PMAP_OK && e->port && e->port->survives && e->wish->root != e->port->survivors_root)
        e->status = pmap__error_set(&e->error, PMAP_EINVAL, "pmap_create: root is %d, but the first pool of this program had survive, and root "
                                    "%d: all others have that root, too", e->wish->root, e->port->survivors_root);
}

/* Where items run is the same on all ranks: those that have no zygote cannot have one now. */
static void agree_on_isolation(struct entry *e)
{
    bool wanted = e->wish->isolate;

    if (e->port->ops->broadcast(e->port, e->wish->root, &wanted, sizeof wanted) != PMAP_OK) {
        e->status = pmap__error_set(&e->error, PMAP_EMPI, "pmap_create: the ranks could not reach each other");
        return;
    }
    if (wanted != e->wish->isolate)
        e->status = pmap__error_set(&e->error, PMAP_EINVAL, "pmap_create: isolate is %s on rank %d but %s on the root",
                                    e->wish->isolate ? "true" : "false", e->port->rank, wanted ? "true" : "false");
    e->status = pmap__agree(e->port, e->status, &e->error);
}

/* A home with the root's initarg, or a failure on all ranks. */
static void make_home(struct entry *e)
{
    int everybody;

    e->home = home_create(e);
    everybody = e->home != NULL;
    if (e->port && e->port->ops->least(e->port, &everybody) != PMAP_OK)
        e->status = PMAP_EMPI;
    else
        e->status = everybody ? broadcast_initarg(e) : PMAP_ENOMEM;
    if (e->status != PMAP_OK)
        pmap__error_set(&e->error, e->status, e->status == PMAP_EMPI ? "pmap_create: the ranks could not reach each other"
                                                                     : "pmap_create: no memory for initarg on some rank");
}

/* From here on it is noticed when a rank dies. Who wants to survive it needs to. */
static void tie_lifelines(struct entry *e)
{
    int missing = 0;

    e->status = pmap__lifeline_open(e->port, e->wish->root, &missing, &e->error);
    if (e->status == PMAP_OK && e->i_am_root && e->survive && (missing || e->port->lifeline == NULL))
        e->status = pmap__error_set(&e->error, PMAP_EINVAL, "pmap_create: survive is true, but %s",
                                    missing ? "not all ranks can reach the root by TCP" : "PMAP_HEARTBEAT is 0, so that nobody would notice a death");
    if (e->status != PMAP_EMPI)
        e->status = pmap__agree(e->port, e->status, &e->error);
}

/* Ranks may die from here on, one by one if the root wants that. Once survivors, ranks stay what they are, and have their lifelines. */
static void prepare_for_deaths(struct entry *e)
{
    if (e->port == NULL || !e->port->mortal)
        return;
    if (e->port->ops->broadcast(e->port, e->wish->root, &e->survive, sizeof e->survive) != PMAP_OK)
        e->status = pmap__error_set(&e->error, PMAP_EMPI, "pmap_create: the ranks could not reach each other");
    else if (!e->port->survives)
        tie_lifelines(e);
    if (e->status == PMAP_OK && e->survive && !e->port->survives)
        e->status = e->port->ops->survive(e->port, e->wish->root, &e->error);
}

/* Everything that the ranks do together before the pool lives, on the thread that may use the port. Closes the port
 * if it fails. */
static void enter(struct entry *e)
{
    check_root(e);
    e->i_am_root = e->port == NULL || e->port->rank == e->wish->root;
    e->dedicated = e->wish->dedicated && e->port;
    e->survive = e->wish->survive;
    if (e->port)
        e->status = pmap__agree_on_program(e->port, e->wish->root, &e->dedicated, e->status, &e->error);
    if (e->status == PMAP_OK && e->port)
        agree_on_isolation(e);
    if (e->status != PMAP_OK)
        goto done;
    make_home(e);
    if (e->status != PMAP_OK)
        goto done;
    prepare_for_deaths(e);
    if (e->status != PMAP_OK)
        goto done;
    decide_threads(e);
    if (e->status == PMAP_OK)
        build(e);
    if (e->port)
        e->status = pmap__agree(e->port, e->status, &e->error);
    if (e->status == PMAP_OK)
        count_threads(e);
done:
    if (e->status == PMAP_OK)
        return;
    unbuild(e);
    /* After a failed transport nobody would come to the collective close. */
    if (e->port && e->status != PMAP_EMPI)
        e->port->ops->close(e->port, &(struct pmap__meetings){0});
}

/* ---- Going to work ---- */

static enum pmap_status go(struct entry *e, struct pmap__root **root, struct pmap__journal **journal, struct pmap_error *error)
{
    enum pmap_status status = e->status;

    if (e->home && status == PMAP_OK)
        pmap__recorder_before(e->home->place.recorder, PMAP__SPAN_CREATE, 0, e->since);
    *journal = status == PMAP_OK ? e->journal : NULL;
    if (status == PMAP_OK && e->joined) {
        *root = e->root;
    } else if (status == PMAP_OK && e->i_am_root) {
        pmap__root_start(e->root, e->all_threads);
        *root = e->root;
    } else if (status == PMAP_OK && !e->been) {
        pmap__server_run(e->server);
        home_destroy(e->home);
    }
    if (status != PMAP_OK)
        *error = e->error;
    free(e->all_threads);
    free(e->all_crowded);
    return status;
}

static void entry_init(struct entry *e, const struct pmap__wish *wish)
{
    *e = (struct entry){.wish = wish, .since = pmap__now(), .status = wish->status, .error = wish->error};
}

static enum pmap_status open_alone(const struct pmap__wish *wish, struct pmap__root **root, struct pmap__journal **journal,
                                   struct pmap_error *error)
{
    struct entry e;

    entry_init(&e, wish);
    enter(&e);
    return go(&e, root, journal, error);
}

/* ---- MPI ---- */

/* May this wish share the root of a pool that lives? rank is the process's in the wish's communicator. */
static enum pmap_status check_join(struct entry *e, const struct pmap__root *root, int rank)
{
    int threads = pmap__root_own_threads(root);
    const struct pmap__wish *w = e->wish;

    if (e->status != PMAP_OK)
        return e->status;
    if (w->root != rank)
        return pmap__error_set(&e->error, PMAP_EBUSY, "pmap_create: root is %d, but these ranks serve a pool with root %d: destroy "
                               "that first", w->root, rank);
    if (w->dedicated != (threads == 0))
        return pmap__error_set(&e->error, PMAP_EINVAL, "pmap_create: dedicated_root is %s, but not of the pool that these ranks "
                               "serve already", w->dedicated ? "true" : "false");
    if (w->threads && !w->dedicated && w->threads != threads && w->threads != pmap__root_asked_threads(root))
        return pmap__error_set(&e->error, PMAP_EINVAL, "pmap_create: threads is %d, but these ranks serve a pool already, with %d "
                               "threads here", w->threads, threads);
    if (w->survive && !pmap__root_survives(root))
        return pmap__error_set(&e->error, PMAP_EINVAL, "pmap_create: survive is true, but not of the pool that these ranks serve already");
    if (w->isolate != (pmap__root_place(root)->cells != NULL))
        return pmap__error_set(&e->error, PMAP_EINVAL, "pmap_create: isolate is %s, but not of the pool that these ranks serve already",
                               w->isolate ? "true" : "false");
    if (w->crew.initializer || w->crew.thread_initializer || w->crew.max_tasks)
        return pmap__error_set(&e->error, PMAP_EINVAL, "pmap_create: initializer or max_tasks_per_worker is given, but these "
                               "ranks serve a pool already, whose workers have begun");
    return PMAP_OK;
}

/* A pool over these ranks lives. The other ranks are captive in it, and will hear what came of this. */
static void join(struct entry *e, struct pmap__port *live, int rank)
{
    if (live->owner == NULL)
        e->status = pmap__error_set(&e->error, PMAP_EBUSY, "pmap_create: this rank serves a pool of these ranks");
    else
        e->status = check_join(e, live->owner, rank);
    e->joined = true;
    if (e->status == PMAP_OK)
        e->status = prepare(e);
    if (e->status == PMAP_OK)
        e->status = open_journal(e);
    pmap__meeting_note(&live->met, e->wish->where, (uint32_t)e->status);
    e->root = live->owner;
}

/* The root has been at this line while this rank served another pool. */
static void remember(struct entry *e, enum pmap_status status)
{
    e->been = true;
    if (status != PMAP_OK)
        e->status = pmap__error_set(&e->error, status, "pmap_create: refused by the root, which had a pool of these ranks then: %s",
                                    pmap_status_name(status));
}

static void connect_mpi(void *argument)
{
    struct entry *e = argument;
    int size = 0, rank = 0;
    struct pmap_error error;
    struct pmap__port *live = NULL;
    enum pmap_status status = pmap__mpi_check(e->wish->comm, &size, &error), then;

    /* Where the communicator itself is wrong, all its ranks see it by themselves. */
    if (status == PMAP_OK && size > 1)
        status = pmap__mpi_live(e->wish->comm, &live, &rank, &error);
    if (status == PMAP_OK && live) {
        join(e, live, rank);
        return;
    }
    if (status == PMAP_OK && size > 1 && pmap__mpi_recall(e->wish->comm, e->wish->where, &then)) {
        remember(e, then);
        return;
    }
    if (status == PMAP_OK && size > 1)
        status = pmap__mpi_open(e->wish->comm, e->wish->where, &e->port, &error);
    if (status == PMAP_OK) {
        /* Where the program owns MPI a rank that serves uses the thread that is captive here. So does the root, inside
         * pmap calls, unless MPI lets the progress thread work while its caller goes on. */
        enum pmap__mpi_state state = pmap__mpi_state();
        bool i_serve = e->port && e->port->rank != e->wish->root;
        e->by_caller = e->port && (state == PMAP__MPI_FOREIGN || (state == PMAP__MPI_MULTIPLE && i_serve));
        enter(e);
        return;
    }
    e->status = status;
    e->error = error;
}

static void init_mpi(void *argument)
{
    struct entry *e = argument;
    struct pmap_error error;
    enum pmap_status status = pmap__mpi_init(e->wish->survive, &error);

    if (status != PMAP_EMPI) /* MPI is there, and will have to be ended */
        pmap__progress_owns_mpi(!pmap__mpi_in_turn());
    if (status == PMAP_OK)
        return;
    e->status = status;
    e->error = error;
}

static enum pmap_status open_mpi(const struct pmap__wish *wish, enum pmap__mpi_state state, struct pmap__root **root,
                                 struct pmap__journal **journal, struct pmap_error *error)
{
    struct entry e;
    bool ours = state == PMAP__MPI_LAUNCHED || state == PMAP__MPI_OURS;

    entry_init(&e, wish);
    if (ours) {
        enum pmap_status status = PMAP_OK, verdict = e.status;
        if (state == PMAP__MPI_LAUNCHED) {
            e.status = PMAP_OK;
            status = pmap__progress_call(init_mpi, &e);
            if (e.status != PMAP_OK)
                return go(&e, root, journal, error);
            e.status = verdict;
        }
        if (status == PMAP_OK)
            status = pmap__progress_call(connect_mpi, &e);
        if (status != PMAP_OK)
            return pmap__error_set(error, status, "pmap_create: no memory for a thread");
    } else {
        connect_mpi(&e);
    }
    return go(&e, root, journal, error);
}

/* ---- Loopback ---- */

struct virtual_ranks {
    struct pmap__wish wish;
    int size;
    struct virtual_rank {
        struct virtual_ranks *all;
        struct pmap__port *port;
        pthread_t thread;
    } ranks[];
};

static void *virtual_main(void *argument)
{
    struct virtual_rank *rank = argument;
    struct pmap__root *none = NULL;
    struct pmap__journal *no_journal = NULL;
    struct pmap_error error;
    struct entry e;

    entry_init(&e, &rank->all->wish);
    e.port = rank->port;
    e.by_caller = true;
    enter(&e);
    go(&e, &none, &no_journal, &error);
    return NULL;
}

static void join_virtual(void *argument)
{
    struct virtual_ranks *all = argument;
    for (int r = 0; r < all->size; r++)
        if (r != all->wish.root)
            pthread_join(all->ranks[r].thread, NULL);
    free(all);
}

static struct virtual_ranks *start_virtual(const struct pmap__wish *wish, int size)
{
    struct virtual_ranks *all = calloc(1, sizeof *all + (size_t)size * sizeof all->ranks[0]);
    struct pmap__port **ports = calloc((size_t)size, sizeof *ports);

    if (all == NULL || ports == NULL || pmap__loopback_open(size, ports) != PMAP_OK)
        goto fail;
    all->wish = *wish;
    all->size = size;
    for (int r = 0; r < size; r++) {
        all->ranks[r].all = all;
        all->ranks[r].port = ports[r];
        if (r != wish->root && !pmap__thread_start(&all->ranks[r].thread, virtual_main, &all->ranks[r]))
            abort(); /* a debugging aid; the threads that run already wait for this one at a barrier */
    }
    free(ports);
    return all;
fail:
    free(all);
    free(ports);
    return NULL;
}

static enum pmap_status open_loopback(const struct pmap__wish *wish, int size, struct pmap__root **root,
                                      struct pmap__journal **journal, struct pmap_error *error)
{
    struct entry e;

    if (wish->root < 0 || wish->root >= size)
        return pmap__error_set(error, PMAP_EINVAL, "pmap_create: root is %d, but there are %d ranks", wish->root, size);
    struct virtual_ranks *all = start_virtual(wish, size);
    if (all == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap_create: no memory for %d virtual ranks", size);
    entry_init(&e, &all->wish);
    e.port = all->ranks[wish->root].port;
    e.closed = join_virtual;
    e.argument = all;
    enter(&e);
    enum pmap_status status = go(&e, root, journal, error);
    if (status != PMAP_OK)
        join_virtual(all);
    return status;
}

/* ---- The choice ---- */

static enum pmap_status open_somehow(const struct pmap__wish *wish, struct pmap__root **root, struct pmap__journal **journal,
                                     struct pmap_error *error)
{
    const char *loopback = getenv("PMAP_LOOPBACK");
    int virtual_ranks = loopback ? atoi(loopback) : 0;
    enum pmap__mpi_state state = pmap__mpi_state();

    *root = NULL;
    *journal = NULL;
    if (wish->comm && (state == PMAP__MPI_ABSENT || state == PMAP__MPI_LAUNCHED))
        return pmap__error_set(error, PMAP_EINVAL, "pmap_create_on: MPI is not initialised");
    if (state == PMAP__MPI_OVER)
        return pmap__error_set(error, PMAP_EINVAL, "pmap_create: MPI is finalized already");
    if (virtual_ranks > 1 && state == PMAP__MPI_ABSENT)
        return open_loopback(wish, virtual_ranks, root, journal, error);
    if (state == PMAP__MPI_ABSENT)
        return open_alone(wish, root, journal, error);
    if ((state == PMAP__MPI_FOREIGN || state == PMAP__MPI_MULTIPLE) && !pmap__mpi_my_thread())
        return pmap__error_set(error, PMAP_EINVAL,
                               "pmap_create: the program initialised MPI below MPI_THREAD_MULTIPLE: only the thread that did "
                               "may create a pool");
    return open_mpi(wish, state, root, journal, error);
}

/* The zygote is forked first of all: this process is as simple as it will ever be. */
enum pmap_status pmap__open(const struct pmap__wish *wish, struct pmap__root **root, struct pmap__journal **journal,
                            struct pmap_error *error)
{
    struct pmap__wish own = *wish;

    if (own.isolate && own.status == PMAP_OK && (own.zygote = pmap__isolate_prepare()) == NULL)
        own.status = pmap__error_set(&own.error, PMAP_ENOMEM, "pmap_create: isolate is true, but no process can be forked: %s",
                                     strerror(errno));
    enum pmap_status status = open_somehow(&own, root, journal, error);
    pmap__zygote_release(own.zygote);
    return status;
}
