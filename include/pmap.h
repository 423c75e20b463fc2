/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap: Python's multiprocessing.Pool for C, on the threads of one machine and on the ranks of a cluster.
 *
 *     static int square(int x) { return x * x; }
 *     PMAP_TASK(square, int, int);
 *
 *     int main(void)
 *     {
 *         struct pmap_pool *pool;
 *         if (pmap_create(&pool) != PMAP_OK)      // ranks 1.. serve in here until the root is done
 *             return 1;
 *         if (pool) {                             // the root goes on alone
 *             int x[] = {1, 2, 3}, y[3];
 *             pmap_map(pool, square, x, y, 3);    // for (i = 0; i < 3; i++) y[i] = square(x[i]);
 *             pmap_destroy(pool);
 *         }
 *         return 0;
 *     }
 *
 * The same binary runs as ./prog, mpirun -n 5 ./prog and srun -n 5 ./prog, to the same results.
 *
 * The parts of this header, in reading order:
 *   1. Errors            enum pmap_status, struct pmap_error
 *   2. Tasks             PMAP_TASK, PMAP_ACTION, PMAP_BLOCK_TASK, PMAP_BYTES_TASK
 *   3. Pools             pmap_create, pmap_close, pmap_terminate, pmap_join, pmap_destroy, pmap_interrupt, pmap_stats
 *   4. Calls             pmap_map, pmap_starmap, pmap_apply
 *   5. Async calls       pmap_map_async, pmap_starmap_async, pmap_apply_async, pmap_result_get …, pmap_wait
 *   6. Streams           pmap_imap, pmap_imap_unordered, pmap_iter_next, pmap_iter_free
 *   7. Reduction         PMAP_OP, pmap_reduce
 *   8. Shared data       pmap_share, pmap_shared
 *   9. Inside a task     pmap_fail, pmap_item, pmap_cancelled, pmap_random_stream …
 *  10. Reports           pmap_report_write
 *  11. Plain functions   what the macros above expand to; for C++, Fortran and generated code
 *
 * Words. A rank is a process of an MPI job; without a launcher there is one. The root is the rank that goes on
 * after pmap_create; the others serve. An item is one element of an input array, a chunk is a run of
 * neighbouring items that one worker takes at once.
 *
 * Errors. Every call returns an enum pmap_status. Details go into a struct pmap_error that the caller passes
 * as .error; without one, a failing call prints its text on stderr (PMAP_LOG=quiet in the environment keeps
 * it silent). A call that fails for its arguments changes nothing, and the pool stays usable.
 *
 * Ownership. Arrays are borrowed: input and output must stay valid, and the input unchanged, until the call
 * returns, or, of an async call, until its result is ready. Nothing is kept after that. A pool belongs to whoever
 * created it, until pmap_destroy.
 *
 * Threads. Any thread of the root may call into a pool, several at the same time, unless the program itself
 * initialised MPI below MPI_THREAD_MULTIPLE: then only the thread that created the pool may (see pmap_mpi.h).
 * pmap_create and pmap_destroy of one pool are called by one thread. Work goes on while the root's program computes
 * something else, but in that one exception: there it goes on inside pmap calls only. A task runs on any thread of any rank; two
 * items run at the same time in one process only if that rank has two threads or more.
 */
#ifndef PMAP_H
#define PMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PMAP_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

struct pmap_pool;

/* ---- 1. Errors --------------------------------------------------------------------------------------- */

enum pmap_status {
    PMAP_OK = 0,
    PMAP_EINVAL,    /* an argument, or a combination of them, makes no sense; the text names it and its value */
    PMAP_ENOMEM,    /* memory or a thread could not be had, on the rank that the text names. (If the OpenMP runtime cannot
                     * start its threads it ends the process itself; under MPI all ranks end then.) */
    PMAP_EFAILED,   /* a task reported a failure with pmap_fail */
    PMAP_EMISMATCH, /* the ranks do not run the same program: another pmap, or other tasks */
    PMAP_EBUSY,     /* some of these ranks serve another pool already */
    PMAP_EMPI,      /* MPI returned an error while the pool was being created. (Later on such an error ends the MPI job,
                     * with a text, as MPI does by default.) */
    PMAP_ECANCELLED, /* not run, or not wanted any more: pmap_result_cancel, pmap_terminate, PMAP_STOP, .max_failures */
    PMAP_ECLOSED,   /* the pool takes no work any more: pmap_close or pmap_terminate was called */
    PMAP_EDEADLOCK, /* the call would wait for itself for ever: it was made inside a callback, an operation or an initializer, or in
                     * a task that would wait for what others run, or in the generator of the stream that it asks */
    PMAP_ECRASHED,  /* the process that ran the item died, or was killed: a signal, exit(), .timeout, .max_rss; code is the signal, or
                     * -1 - the exit status. Only in pools with .isolate */
    PMAP_ELOST,     /* a rank died while it held the item, and the item could not be run again. Only in pools with .survive */
    PMAP_EINTERRUPTED, /* SIGINT, SIGTERM or SIGUSR1 came, or the walltime nearly ended: nothing more was begun. What is finished is
                     * in out, and in the journal */
    PMAP_EJOURNAL,  /* the journal cannot be read or written; the text says why. It is left as it is */
    PMAP_ETIMEOUT,  /* not ready yet. Not a failure: nothing is cancelled or printed, the call can be repeated */
    PMAP_END,       /* the stream has no more results. Not a failure */
};

#define PMAP_NO_ITEM SIZE_MAX

/* What went wrong. Filled by a call that fails, untouched by one that succeeds. */
struct pmap_error {
    enum pmap_status status;
    int code;        /* what the task gave to pmap_fail; 0 if no task failed */
    size_t item;     /* index of the item in its array; PMAP_NO_ITEM if the error belongs to none */
    int rank;        /* where it happened, a rank of the pool's communicator; -1 if nowhere in particular */
    int thread;      /* thread of that rank, from 0; -1 likewise */
    char host[64];   /* its host name, cut if longer; "" likewise */
    char text[512];  /* one line for people, without a line break at the end:
                      * pmap: square failed at item 17 on node3 (rank 3, thread 1): negative input -4 (code 2) */
};

/* The name of a status, such as "PMAP_EINVAL"; "unknown status" for a value that is none. Never NULL. */
const char *pmap_status_name(enum pmap_status status);

/* Like perror: prints "prefix: text\n" on stderr, or "text\n" if prefix is NULL or empty. */
void pmap_perror(const char *prefix, const struct pmap_error *error);

/* The version of the library that runs, which need not be the header's PMAP_VERSION. */
const char *pmap_version(void);

/* ---- 2. Tasks ------------------------------------------------------------------------------------------
 *
 * A task is a plain C function that every rank knows by name. Declare it at file scope, after the function:
 *
 *     static double power(double base, int exponent);
 *     PMAP_TASK(power, double, double, int);        // name, result type, argument types (0 to 8 of them)
 *
 *     static void say(struct message m);
 *     PMAP_ACTION(say, struct message);             // no result
 *
 *     static void halve(size_t n, const double in[], double out[]);
 *     PMAP_BLOCK_TASK(halve, double, double);       // name, result type, item type: n items in one call, which
 *                                                   // a compiler can vectorise
 *
 *     static struct pmap_bytes reverse(struct pmap_bytes line);
 *     PMAP_BYTES_TASK(reverse);                     // items and results of any size: strings, images, files
 *
 * After PMAP_TASK(power, double, double, int):
 *   struct power_args {double _1; int _2;}   one call's arguments, for pmap_starmap
 *   struct pmap_task power_task              the task itself, for the plain functions of part 6
 *
 * Types are object types that can be assigned: numbers, structs, unions, enums; an array goes inside a struct.
 * Arguments and results travel between ranks byte by byte, so an address in them means nothing there; a task
 * with a '*' in its types is refused by a pool of several ranks. A pmap call inside a task runs on the spot,
 * on the calling thread (its pool argument is ignored and may be NULL).
 *
 * The declaration may stand in a header that several files include; otherwise a name is used once in a program, for ranks
 * know a task by its name and types. All ranks must declare the same tasks.
 *
 * OpenMP inside a task: in a pool of several threads per rank an inner parallel region has one thread, as nested regions
 * have by default. For few large items that use OpenMP themselves create the pool with .threads = 1. */

/* An item or a result of any size, for PMAP_BYTES_TASK. data may be NULL if size is 0; an item whose result is NULL with
 * another size has failed.
 *
 * As an item it is borrowed: the task reads it and leaves it. As a result it is given away: the task returns memory from
 * malloc (or {NULL, 0}), which belongs to the library from then on; what arrives in the caller's out array is memory from
 * malloc, too, and belongs to the caller: pmap_bytes_free frees all of an array at once. An item and its result travel
 * between ranks as they are, whatever their size; where they do, a task gets its item aligned for any type, else at the
 * caller's own address. */
struct pmap_bytes {
    void *data;
    size_t size;
};

/* for (i = 0; i < n; i++) { free(array[i].data); array[i] = (struct pmap_bytes){NULL, 0}; }
 * The array itself stays the caller's. NULL is fine if n is 0. */
void pmap_bytes_free(struct pmap_bytes array[], size_t n);

/* How one call of a task looks from outside. Made by the macros; a binding for another language may fill one
 * in and give it to pmap_task_register. */
struct pmap_task {
    const char *name;      /* what error texts call it */
    const char *signature; /* result and argument types as declared: "double (double, int)" */
    const char *where;     /* the source file that declares it: two files may not declare different tasks of one name */
    unsigned arguments;    /* how many arguments it takes */
    bool block;            /* one call takes a run of items: a failure in it is a failure of the whole run */
    bool bytes;            /* items and results are struct pmap_bytes, and what they point to travels with them */
    size_t args_size;      /* bytes of one item: its arguments; 0 if it takes none */
    size_t result_size;    /* bytes of one result; 0 if it has none */
    /* Equals: for (i = 0; i < n; i++) { *at = i; results[i] = f(args[i]); }
     * args and results are arrays of n elements of the sizes above. *at is for pmap_item and pmap_fail. */
    void (*run)(size_t n, const void *args, void *results, size_t *at);
    uint64_t id;            /* the library's: a hash of name, signature and sizes */
    struct pmap_task *next; /* the library's: the next registered task */
};

/* Make a task known to this process; every rank must, before pmap_create. The macros do it before main. The
 * struct and its strings must stay valid for as long as the process lives. Registering it twice does nothing. */
void pmap_task_register(struct pmap_task *task);

/* ---- 3. Pools ------------------------------------------------------------------------------------------ */

enum pmap_signals { PMAP_SIGNALS_ON = 0, PMAP_SIGNALS_OFF };

struct pmap_create_options {
    size_t size;              /* sizeof(struct pmap_create_options); the macro sets it */
    struct pmap_pool **pool;  /* where the pool goes */
    int threads;              /* threads on this rank that run items; 0: this rank's fair share of the CPUs */
    int root;                 /* the rank that goes on alone; the same on all ranks */
    bool dedicated_root;      /* the root's threads run no items, it only hands them out; the root's word counts.
                               * Without effect where the root is the only rank. */
    struct pmap_error *error; /* filled if pmap_create fails */
    const char *where;        /* the line of the program that makes this call; the macro sets it */
    void (*initializer)(const void *initarg);        /* called once on each rank that runs items, before the first, */
    void (*thread_initializer)(const void *initarg); /* and then this once on each of its threads */
    const void *initarg;      /* what they are given. With an initarg_size, a copy of the root's initarg of so many */
    size_t initarg_size;      /* bytes, kept as long as the pool; with 0, the pointer that this rank passed */
    size_t max_tasks_per_worker; /* after so many items a thread is a new worker: its thread_initializer runs again,
                               * between two items. 0: never. Those of calls inside a task do not count */
    enum pmap_signals signals; /* PMAP_SIGNALS_OFF: signals are the program's business; see Interruptions below */
    double walltime;          /* seconds until this process has to end; 0: as the environment says; below 0: do not care. The
                               * root's word counts */
    const char *journal;      /* a file in which results are kept for the next run of the program; the root's word counts. See below */
    const char *journal_version; /* which version of the program it belongs to, in a word of yours; NULL: "" */
    bool survive;             /* ranks may die: the others take over what they held. The same on all ranks. See Ranks that die below */
    bool isolate;             /* items run in processes of their own, see below; the same on all ranks */
    const char *trace;        /* a file that will say who ran what, and when; the root's word counts. NULL: what PMAP_TRACE says. See Watching below */
    bool progress;            /* show on stderr how far calls have come; the root's word counts. See Watching below */
};

/* Create a pool over all ranks of this MPI job, or over this process if no launcher started it.
 *
 *     pmap_create(&pool)
 *     pmap_create(&pool, .threads = 4, .error = &err)
 *
 * Collective: every rank of MPI_COMM_WORLD calls it. On the root it returns at once with the pool. On the
 * other ranks it runs the items that the root hands out until the root destroys the pool, and returns then,
 * PMAP_OK with *pool = NULL. It returns the same status on every rank. A pool is cheap to keep: while nothing
 * is submitted it costs next to no CPU.
 *
 * An initializer fails by pmap_fail, as a task does, and pmap_create then fails on all ranks, once, with PMAP_EFAILED and a
 * text that names the rank. (Python's Pool starts another worker, for ever.) A thread_initializer that fails when it runs
 * again fails the item that would have come next on that thread.
 *
 * ISOLATION. With .isolate each thread that runs items has a worker process, and items run there: a crash, exit() or endless loop costs
 * that item alone, which has failed as PMAP_ECRASHED, and not the rank. The worker is replaced; whatever else ran, or is finished, stays.
 *   - Worker processes are copies of this one as it was when pmap_create was called: global variables have the values of then, and what
 *     items write to them stays in the process. In the first pool of a program that leaves MPI to the library they come from
 *     before MPI and before all threads, so that an item may use OpenMP. In other pools it must not, if the program has used it before.
 *   - Tasks, operations and initializers run there; callbacks and generators on the root, as ever. Each worker runs both initializers when it
 *     begins, a replacement too; a thread_initializer that fails then, or crashes three times, fails the item that would have come next.
 *     max_tasks_per_worker replaces the process.
 *   - An item that does not ask pmap_cancelled() is ended, with its worker, one second after its call was cancelled, an
 *     interruption included (.signals, walltime): there, too, a result that comes later than that is lost. So is an operation of pmap_reduce.
 *   - SIGINT, SIGTERM, SIGHUP and SIGUSR1 end no worker, unless .timeout, .max_rss or cancelling does so: it is for the root to decide, if
 *     a batch system or Ctrl-C sends them to everybody. SIGTERM may be handled by the program; after one second comes SIGKILL.
 *   - Files that the program had open when pmap_create was called are open in items, at a position that is common to all. Pipes and sockets
 *     are not, so that who is at the other end sees the program's end of them closed when the program closes it.
 *   - Where no process can be forked, for there are too many or memory is short, it is tried again for some seconds, then items fail,
 *     as PMAP_ENOMEM. .timeout and .max_rss are about items: a worker's initializers have as long as they take.
 *   - Standard input is empty. What is printed comes when its buffer is full, or the worker leaves; not if it crashes.
 *   - Arguments and results are copied once more, through memory that both processes see, and cost a few microseconds per hand-over
 *     (for how many see README.md). pmap_share keeps a copy on each rank besides that of the node.
 *   - pmap_mapreduce refuses such a pool.
 *   - What is shared lies in a file without a name, so a limit on the size of files (ulimit -f) makes pmap_create fail, as PMAP_ENOMEM.
 *   - If the rank dies, however, so do its workers. They are not its children: wait() does not see them, though a handler
 *     of SIGCHLD may be called once during pmap_create.
 *
 * Pools may live side by side. Where a pool over the same ranks with the same root lives already, the new one is served by
 * the same threads of the same ranks: threads must be 0 or what it is there, isolate the same, and there can be no initializer. The other
 * ranks are inside their first pmap_create then; they leave it when the last of these pools ends, and when they come to
 * the line of the program that created the others, the same pmap_create returns there what it returned on the root, with NULL.
 * So they come to each such line as often as the root did, or not at all. Up to 32 such lines are remembered.
 *
 * A FUNCTION OF YOURS THAT CREATES POOLS is one line, whoever calls it. It may be called by all ranks, and by the root alone
 * for pools beside others: at a line that is remembered a rank waits until the root creates its next pool, and takes part if
 * that is at the same line, or until the root ends. But where the program owns MPI (pmap_mpi.h) it cannot wait, for the root
 * might wait for it in a call of the program's; nor can survivors (.survive), who hear of the root only in a pool: there either all ranks call such a function as often as the root, or the
 * function takes the line of its caller as an argument and passes it to pmap_create_with as where. Otherwise a rank may take a
 * call for one that the root made long ago, and return; the root then waits for it, and says so after five seconds.
 *
 * Initialises MPI if nobody has and a launcher (mpirun, srun --mpi=pmix …) started the process; MPI then stays
 * up until the process exits, and is finalized there. PMAP_MPI=no in the environment never initialises MPI,
 * PMAP_MPI=yes does in any case. Threads of the library's, or inside its calls, make all MPI calls then; a program that wants to make
 * some, too, initialises MPI itself and uses pmap_mpi.h.
 *
 * The fair share of the CPUs: OMP_NUM_THREADS if set, else SLURM_CPUS_PER_TASK if set, else the CPUs of this
 * process's OpenMP places, affinity mask and cgroup (version 2), divided among the ranks of this node that may use the
 * same ones.
 *
 * Returns PMAP_OK; PMAP_EINVAL (pool is NULL; threads, root, signals, walltime, PMAP_WALLTIME or PMAP_HEARTBEAT out of range, or root, survive or isolate not the same on all ranks; survive is not possible; called
 * inside a task, an initializer, a generator or an operation; over several ranks, two source files declare different tasks of
 * one name and type); PMAP_EDEADLOCK (called inside a callback); PMAP_ENOMEM; PMAP_EMISMATCH (the ranks run different
 * programs: the text names the task); PMAP_EFAILED (an initializer failed); PMAP_ECRASHED (an initializer of an isolated pool crashed,
 * three times); PMAP_EJOURNAL; PMAP_EBUSY (some of the ranks, or all with another root, serve a pool already and cannot join
 * another); PMAP_EMPI. *pool is NULL after a failure. */
#define pmap_create(...) \
    pmap_create_with(&(struct pmap_create_options){ \
        .size = sizeof(struct pmap_create_options), .where = PMAP__HERE, .pool = __VA_ARGS__})

/* THE JOURNAL. With .journal = "run.db" the result of every item that has succeeded is written to that file, an SQLite
 * database on the root, as it arrives; and a call takes from it what a former run of the program has computed, and runs
 * only the other items. So a program that was killed goes on where it was when it is simply started again, on any number
 * of ranks and threads. In map, starmap, apply, imap and reduce, async or not, and in map-reduce
 * (pmap_mapreduce.h), split by split; not in calls inside a task. doc/journal.md tells more, and how to look into the file.
 *
 * An item is the same as one of a former run if all of these are: the call (its .name, or the file and line of the
 * program where it is made), the task (name, types and sizes), .seed, and the item's bytes; in a reduction also the
 * operation and n, for what is kept there are the leaves of its tree. Its place does not matter: items are found again
 * if their order has changed, and only those that are new run. Equal items are told apart by counting: the k-th of a
 * call is the k-th of former runs, and counting goes on when the same call is made again in the same run of the program,
 * from pmap_create to pmap_destroy. So a loop that makes the same call with the same items ten times has ten results of
 * each. But what an item does must depend on these bytes alone, as far as that matters to you: one that looks at its
 * index, at its random numbers (which belong to seed and index), at files, at shared data or at global variables is not
 * recognised as another one for that. Padding in an item is part of its bytes. Items that have failed run again. An
 * action that is in the journal is not done again. Tasks with pointers in their types are refused (PMAP_EINVAL): an
 * address means nothing in the next run.
 *
 * At risk, if the whole job is killed, is what arrived in the last second, mostly in the last tenth of one; of a chunk
 * of another rank items arrive when all of it is done. A call that took longer than 20 ms returns when its results are
 * in the file. The file is never damaged by that. (If the machine itself loses power, what was written in the last
 * moments may be missing, too.) An async call looks its items up before it returns.
 *
 * PMAP_EJOURNAL: the file is used by another process or pool, cannot be read or written, is damaged, is no journal, or
 * one of another format or version of the program: with other tasks or operations, or another .journal_version. The text
 * says which. It is left as it is: remove it to begin anew. Give another .journal_version when a task computes something
 * else than before. If the disk becomes full later on, nothing more is begun of what would have to be written down,
 * calls return PMAP_EJOURNAL, streams yield it for each item that was not run, or once before PMAP_END, and what was
 * written before stays good.
 *
 * Costs: about a microsecond of CPU, and on the disk 60 bytes and the result, for each item; 16 to 43 bytes of the
 * root's memory for each different item, and for each that is in the file. Results above 1 GB are not kept. Each of
 * several pools side by side has a journal of its own, or none. */

/* No new work: every further call on the pool says PMAP_ECLOSED. What was submitted runs; a stream ends with what it has
 * taken from its source. Closing twice does nothing. PMAP_OK, or PMAP_EINVAL: pool is NULL. */
enum pmap_status pmap_close(struct pmap_pool *pool);

/* Like pmap_close, but what has not begun never will, and what runs is asked to stop: pmap_cancelled() says true in it.
 * Returns at once. Each pending result becomes ready, as PMAP_ECANCELLED, when the last of its items that runs has
 * returned. (Python's Pool leaves them pending for ever.) An item that never asks pmap_cancelled() runs to its end, and a
 * rank of one thread that is in it hears nothing until then: a thread cannot be stopped from outside. (A worker process of an isolated pool
 * can: see Isolation.) A call inside a task
 * asks between its items; it ends as PMAP_ECANCELLED, or PMAP_EFAILED, and the item around it as if it had asked. PMAP_OK, or PMAP_EINVAL: pool is NULL. */
enum pmap_status pmap_terminate(struct pmap_pool *pool);

/* Wait until everything that was submitted is done, callbacks included. PMAP_OK; PMAP_EINVAL: pool is NULL, or neither
 * closed nor terminated; PMAP_EDEADLOCK: called inside a callback or a task. */
enum pmap_status pmap_join(struct pmap_pool *pool);

/* pmap_close, pmap_join, and free the pool; on all ranks it is over. No other thread may be in a call on it. NULL is fine.
 * Only the root has a pool to destroy; the other ranks leave pmap_create when it does. Results stay valid until they
 * are freed; streams should be freed before: one that was not is ended, with a warning, and yields PMAP_END until it is freed.
 * Inside a callback or a task it prints a warning and does nothing. (Python's with statement terminates instead.)
 *
 * A program that leaves its pool without it, by exit(), by returning from main, or by MPI_Finalize if it owns MPI, is warned, and
 * the pool is terminated on all ranks. An item that never asks pmap_cancelled() delays that by 3 s at most: then the MPI job
 * is ended, with a text and a status that is not 0. exit() inside a task, an operation, an initializer or a callback ends the
 * MPI job at once; in an isolated pool only inside a callback, elsewhere it is a crash. */
void pmap_destroy(struct pmap_pool *pool);

/* Interruptions
 *
 *     status = pmap_map(pool, simulate, in, out, n, .error = &err);
 *     if (status == PMAP_EINTERRUPTED) {          // err.text says by what
 *         save(out, n);                           // or there is a journal
 *         pmap_destroy(pool);
 *         return 85;                              // to whoever starts the program again: see doc/slurm.md
 *     }
 *
 * SIGINT, SIGTERM and SIGUSR1, and the end of the walltime, interrupt the pool: no item is begun any more, and those that run are asked to stop
 * (pmap_cancelled); what they return, if they do not ask, counts (in an isolated pool if it comes within a second). Each pending call returns PMAP_EINTERRUPTED when none of
 * its items runs any more, unless all had succeeded by then; good results are in out, and statuses, if there are any, say of the
 * others PMAP_ECANCELLED. A stream yields what is finished, PMAP_EINTERRUPTED for each item that it had taken and that was
 * not run, once more for the rest of the source, and then PMAP_END. Every later call says PMAP_EINTERRUPTED, too, on this pool and on others that are
 * created later, so that a program comes to its end, which is its own business: it destroys its pools as usual. A call inside
 * a task ends as after pmap_terminate.
 *
 * A second signal ends the process as if there were no pmap. Signals that come within half a second of the first are the
 * first, for launchers pass one on in several ways.
 *
 * Handlers are there only while a pool lives, and only for signals whose disposition was the default when it was created: a
 * handler of the program's own, or SIG_IGN, stays, and it is restored at the end. A program with handlers of its own calls pmap_interrupt in them.
 *
 * In a pool of several ranks launchers give a signal to all of them. The root's counts, and the other ranks wait for what the root
 * decides. A signal to one of those alone does nothing, and a second one ends that rank.
 *
 * The walltime is .walltime; or else PMAP_WALLTIME in the environment, seconds from the first pmap_create on, 0 for none; or else, in a job of
 * Slurm's, what is left of it then: SLURM_JOB_END_TIME, or what squeue says. Of that a tenth, ten seconds at most, is kept for the
 * program's end: when no more is left the pool is interrupted. Before that, nothing of a call goes out any more that would not be finished by then,
 * as 95 of 100 items of its task were; its items that run go on, and later calls are refused. The text says so: "12 s of walltime are left, an item
 * takes 20 s".
 *
 * pmap_interrupt interrupts this pool alone. Both may be called by any thread, and in a signal handler; NULL is fine: there is nothing to interrupt. */
void pmap_interrupt(struct pmap_pool *pool);
bool pmap_interrupted(const struct pmap_pool *pool);

/* Ranks that die
 *
 * A rank that dies, by a signal, for want of memory, with its node, is noticed within milliseconds; one whose host cannot be reached
 * any more, within 2 s (PMAP_HEARTBEAT in the environment: so many seconds; 0: not at all). A line on stderr names it, and the items
 * that it held. Then all ranks end, with a status that is not 0. If the root dies all others end.
 *
 * With .survive = true the others go on. Items that the rank held are run again elsewhere, and calls succeed as if nothing had happened. An
 * item that was held by three ranks when they died is given up, as PMAP_ELOST: it may be what kills them. The root runs items that
 * were lost only when no other rank is left. A map-reduce of which a rank that died had a part fails, with PMAP_ELOST; the next one does without
 * that rank. A task on a rank that calls exit() is a rank that dies. The root must live.
 *
 * That is possible where pmap_create initialises MPI, for the first pool of the program, with Open MPI 4 or 5 over TCP or shared memory, and if
 * it is started so that the launcher bears it:
 *
 *     srun -K0 --mpi=pmix ./prog                                       Open MPI 4
 *     mpirun --mca orte_abort_on_non_zero_status 0 pmap-rank ./prog    Open MPI 4
 *     mpirun --with-ft ulfm ./prog                                     Open MPI 5
 *
 * Elsewhere pmap_create says PMAP_EINVAL, and what to do; but for what only the launcher knows, such as -K0. A program of one
 * process needs none of it. The price: results and items are copied once more on their way; shared data is there once for each rank, not for each node;
 * MPI is not finalized. All later pools have the same root. doc/reliability.md says more. */

/* How many ranks the pool has, without those that died; 1 without a launcher. 0 for NULL, which is what ranks other than the root have. */
int pmap_ranks(const struct pmap_pool *pool);

/* How many threads, of all these ranks together, run its items. 0 for NULL. */
int pmap_threads(const struct pmap_pool *pool);

/* Watching
 *
 * PROGRESS. With .progress = true, or PMAP_PROGRESS=1 in the environment (0: in no case), one line on the root's terminal shows how far the calls
 * are that are under way, those of all pools together: a bar, items done and in all, items per second, the time that is left, failures, ranks
 * and threads, and how many of those are busy.
 *
 *     simulate   52% ━━━━━━━━━━━━━╸─────────── 5200/10000  237/s  0:20 left  3 failed  5 ranks x 2 threads  10 busy
 *
 * It is drawn up to ten times a second, on stderr, once the calls have taken 0.3 s. It is taken away before the library writes there, before callbacks, and
 * before a call returns that ends what is under way; what a program prints while calls are under way is its own business. Calls that took
 * a second or more leave a line with their outcome. Several calls at once are added up; calls that follow each other closely are counted.
 * A stream whose length is not known has no bar, and shows how long it has run. Items of calls inside a task are no items of their own.
 * It fits into any width. NO_COLOR and TERM=dumb are respected, and the locale of LC_ALL, LC_CTYPE or LANG decides whether it is UTF-8.
 * The root sees mpirun's terminal, too. Where stderr is no terminal a line comes every 30 s (PMAP_PROGRESS_EVERY in the environment: so many seconds).
 * The time that is left follows from the mean time of items, in which those that still run count, and the longest so far: no more than a guess.
 *
 * SIGUSR2 has the root print a report on stderr: what each rank is doing now, which items, and for how long. Of another rank's chunks those are named
 * that it got first, as many as it has threads, for it runs no more at a time; the others wait, and are counted. It may be sent to the root, to
 * mpirun, which hands it on to all, or to any rank: it is one report in each case. So a rank that hangs is found from outside.
 * As of other signals, there is no handler with .signals = PMAP_SIGNALS_OFF, or if the program has one.
 *
 * THE TRACE. With .trace = "run.json", or PMAP_TRACE=run.json in the environment of the root, the pool writes a file in Chrome's trace format, which Perfetto
 * (https://ui.perfetto.dev), chrome://tracing and pmap-report open: which thread of which rank ran which items from when to when, on one
 * clock, and how that ended; which chunks went where, and how long they were on their way and waited; calls, phases of map-reduces, and
 * start-up. An item of 100 us or more is there by itself, shorter ones are gathered. Memory and file are bounded: when there are more than 100 000
 * spans (PMAP_TRACE_SPANS in the environment: so many) neighbours are joined, and sums stay exact. It costs less than a hundredth of the time of items of
 * 100 us. The file comes to its name when the pool is destroyed, and, incomplete, when a rank dies and ends the run, or the program exits
 * without pmap_destroy. Pools with the same path are in one file. pmap_create fails with PMAP_EINVAL if it cannot be written.
 * doc/trace.md has the format. PMAP_REPORT=run.html writes a page of it, with or without the trace itself (doc/report.md).
 *
 * STATISTICS. PMAP_STATS=1 in the environment prints a table on stderr when a pool is destroyed. As data:
 *
 *     struct pmap_stats s;
 *     if (pmap_stats(pool, &s) == PMAP_OK)
 *         printf("%.0f items per second\n", s.items_done / s.seconds);
 *
 * at any time, by any thread of the root, in callbacks and tasks as well. What is under way is in it, as far as it is known: threads of the root
 * are counted all the time, chunks of other ranks when they are answered. Calls inside a task do not count. */
struct pmap_stats {
    /* Of this pool: */
    double seconds;          /* since it was created */
    uint64_t calls;          /* that were made: a map, an apply, a stream, a map-reduce … is one; */
    uint64_t calls_over;     /* and that have ended */
    uint64_t items;          /* of these calls; of streams those that were taken from the source, of map-reduces their steps (splits and the like) */
    uint64_t items_done;     /* of which it is known what became of them: they have run, or one of the next five */
    uint64_t items_failed;   /* in their last run: by pmap_fail, a crash, a limit, or lost for good */
    uint64_t items_cancelled; /* not run, or given up */
    uint64_t items_recalled; /* found in the journal, and not run */
    uint64_t items_retried;  /* runs of items that had failed before (.retries) */
    uint64_t items_lost;     /* that a rank held when it died; they ran again, or failed (.survive) */
    /* Of its ranks, and so of all pools side by side with it: */
    int ranks;               /* that live, */
    int threads;             /* their threads, */
    int busy;                /* and how many of these are in items now, as far as the root knows */
    double busy_seconds;     /* time that threads have spent in items, added up. Of single items (pmap_apply) on the root some are timed for all */
    double utilisation;      /* the part of the threads' time since the first of these pools that this is: 0 to 1 */
    uint64_t chunks;         /* that were sent to other ranks, and answered */
    uint64_t bytes_sent;     /* of items, to other ranks, */
    uint64_t bytes_received; /* and of results from them; not what pmap_share and map-reduces send */
    double item_mean;        /* seconds that an item takes; 0: none is known. */
    double item_median;      /* Short items are timed some at a time, for a millisecond or so, and chunks of other ranks as a whole: */
    double item_95;          /* then each counts with their mean. The median and what 95 of 100 items do not exceed are at most an eighth too high. */
    double item_max;         /* The longest */
};

/* Its rank'th rank, 0 to n - 1 for the n that it had at first. */
struct pmap_rank_stats {
    int rank;
    int threads;             /* that run items; 0 if it is dead, or a root that does not */
    int busy;                /* as above */
    bool dead;
    bool root;
    int pid;                 /* of its process; 0: not known */
    char host[64];           /* its host; "": not known. Both are known where PMAP_HEARTBEAT is not 0 */
    uint64_t items;          /* that it has run, second runs included */
    uint64_t chunks, bytes_sent, bytes_received; /* to and from the root, as above; 0 for the root itself */
    double busy_seconds;
    double utilisation;
};

/* Both return PMAP_OK, or PMAP_EINVAL, and change nothing: pool or stats is NULL; there is no such rank. */
#define pmap_stats(pool, stats) pmap_stats_with((pool), (stats), sizeof *(stats))
#define pmap_rank_stats(pool, rank, stats) pmap_rank_stats_with((pool), (rank), (stats), sizeof *(stats))

/* ---- 4. Calls ------------------------------------------------------------------------------------------
 *
 * Options follow n as designated initialisers: pmap_map(pool, square, x, y, 1000, .chunksize = 20).
 *
 * chunksize     0: chosen by the library, which times the items and hands out about a millisecond of work at a time,
 *               less toward the end. c > 0: exactly c neighbouring items at a time (the last chunk may be shorter),
 *               run one after another on one thread. It never changes a result.
 * error         filled if the call fails.
 * on_error      what becomes of the other items when one fails.
 *                 PMAP_RUN_ALL (the default): they all run; the call returns PMAP_EFAILED and the error of the failed item
 *                 with the lowest index, whatever order they ran in. (Python's Pool reports whichever failure comes first
 *                 and drops the rest of that chunk.)
 *                 PMAP_STOP: no more are begun, and those that run are asked to stop (pmap_cancelled). The error is that of
 *                 the lowest that failed.
 *                 PMAP_COLLECT: they all run, statuses tells which failed, and the call returns PMAP_OK.
 * statuses      an array of n, filled with what became of each item: PMAP_OK; PMAP_EFAILED; PMAP_ECRASHED; PMAP_ECANCELLED (it was not
 *               run, or was asked to stop and gave up then: pmap_cancelled); PMAP_ENOMEM; PMAP_EINVAL (its rank does not know the task).
 * max_failures  m > 0: stop as PMAP_STOP does when m items have failed, and return PMAP_EFAILED in any case.
 * retries       a failed item is run again, on whichever thread is free, up to so many times. Only its last run counts, and one
 *               that has crashed three times is given up,
 * retry_delay   and each new run begins at least so many seconds after the failure.
 * cost          an array of n estimates, in any unit: the items with the highest are begun first. A chunk is then a run of
 *               items of neighbouring cost. It never changes a result.
 * priority      jobs with a higher one go first: no item of another is begun while one of them is left. Among equals,
 *               first come, first served, but a call of a single item waits for no map: threads take both in turn.
 * seed          for pmap_random_stream. 0 is a seed like any other.
 * name          what the journal of the pool calls this call; without one, the line of the program that makes it. Give one to
 *               calls whose lines may move before the next run.
 * timeout       of an isolated pool: an item (a block, a leaf of a reduction) that runs longer than so many seconds is ended: SIGTERM,
 *               after another second SIGKILL. It has failed as PMAP_ECRASHED. 0: no limit.
 * max_rss       of an isolated pool: likewise an item whose process has so many bytes more than when the item began. Counted are resident
 *               pages that are its own (resident - shared in /proc/PID/statm), every 5 ms: so an item may be over the limit for as long. 0: no limit.
 *
 * n = 0 succeeds at once and runs nothing; arrays may be NULL then.
 *
 * When a call is over, however it ended, none of its items runs any more on any rank. Results of items that did not succeed are all zero bytes. Good results are in out whatever failed.
 *
 * They return PMAP_OK; PMAP_EFAILED (an item called pmap_fail); PMAP_ECRASHED (an item's process died); PMAP_EJOURNAL (above); PMAP_ECANCELLED (by pmap_terminate on another thread);
 * PMAP_EINTERRUPTED (a signal, pmap_interrupt, or the end of the walltime); PMAP_ECLOSED; PMAP_EDEADLOCK (called in a callback, an operation or an initializer); PMAP_ENOMEM; PMAP_EINVAL: pool is
 * NULL, an array is NULL, n times the element size overflows, n is above SIZE_MAX / 256, an item of bytes has a size but is NULL,
 * chunksize, retries or retry_delay is negative, a cost is
 * not a number, timeout or max_rss is out of range, or given where the pool is not isolated or in a call inside a task, PMAP_COLLECT without statuses, an element's size is not the
 * task's, the task is of the wrong kind for this call, a rank does not know the task, or the pool belongs to
 * another thread (see Threads above). */

enum pmap_on_error { PMAP_RUN_ALL = 0, PMAP_STOP, PMAP_COLLECT };

/* Called when an async call has succeeded, with its out array and n; or else with its error, which is valid during the
 * callback. See part 5. */
typedef void pmap_callback_fn(void *user, void *out, size_t n);
typedef void pmap_error_callback_fn(void *user, const struct pmap_error *error);

struct pmap_map_options {
    size_t size; /* sizeof(struct pmap_map_options); the macro sets it */
    size_t n;
    ptrdiff_t chunksize;
    struct pmap_error *error;
    enum pmap_on_error on_error;
    enum pmap_status *statuses;
    size_t max_failures;
    int retries;
    double retry_delay; /* seconds */
    const double *cost;
    int priority;
    uint64_t seed;
    pmap_callback_fn *callback; /* these three for async calls only */
    pmap_error_callback_fn *error_callback;
    void *user;
    const char *name;  /* for the journal */
    const char *where; /* the line of the program that makes this call; the macro sets it */
    double timeout; /* seconds */
    size_t max_rss; /* bytes */
};

/* for (i = 0; i < n; i++) out[i] = task(in[i]);       for a task of one argument, or a block task
 *
 * in and out are arrays of n elements of the task's argument and result type; they must not overlap. For an
 * action out is NULL. The sizes of their elements are checked, unless they are void pointers. */
#define pmap_map(pool, task, in, out, ...)                                                           \
    pmap_map_with((pool), &task##_task, (in), PMAP__ELEMENT_SIZE(in), (out), PMAP__ELEMENT_SIZE(out), \
                  &(struct pmap_map_options){.size = sizeof(struct pmap_map_options), .where = PMAP__HERE, .n = __VA_ARGS__})

/* for (i = 0; i < n; i++) out[i] = task(args[i]._1, args[i]._2, …);     args is an array of struct task_args
 * Like pmap_map, but for a task of any number of arguments. */
#define pmap_starmap(pool, task, args, out, ...)                                                           \
    pmap_starmap_with((pool), &task##_task, (args), PMAP__ELEMENT_SIZE(args), (out), PMAP__ELEMENT_SIZE(out), \
                      &(struct pmap_map_options){.size = sizeof(struct pmap_map_options), .where = PMAP__HERE, .n = __VA_ARGS__})

struct pmap_apply_options {
    size_t size; /* sizeof(struct pmap_apply_options) */
    struct pmap_error *error;
    int retries;
    double retry_delay;
    int priority;
    uint64_t seed;
    pmap_callback_fn *callback; /* these three for pmap_apply_async only */
    pmap_error_callback_fn *error_callback;
    void *user;
    const char *name;
    const char *where;
    double timeout;
    size_t max_rss;
};

/* *out = task(a, b, …);                     pmap_apply(pool, power, &y, 2.0, 10)
 *
 * One call, on one thread of some rank. out is a pointer to the task's result type, NULL for an action. Options
 * follow the arguments: pmap_apply(pool, power, &y, 2.0, 10, .error = &err). */
#define pmap_apply(pool, task, ...) task##__apply((pool), (struct task##_call){.where = PMAP__HERE, .out = __VA_ARGS__})

/* ---- 5. Async calls ------------------------------------------------------------------------------------
 *
 *     struct pmap_result *r = pmap_map_async(pool, square, x, y, 1000);
 *     …                                                       // compute something else meanwhile
 *     status = pmap_result_get(r, PMAP_FOREVER, &err);        // y is filled now
 *     pmap_result_free(r);
 *
 * Each takes what its namesake takes, and the options callback, error_callback and user; it returns at once with a result
 * to ask later, or with NULL if the call itself is refused (why: .error, or stderr). What the call borrows, arrays,
 * statuses and cost, it borrows until the result is ready; .error is used for a refusal only, and not kept. (The argument
 * values of pmap_apply_async are copied, but not what a struct pmap_bytes points to.) Inside a task such a call runs on the
 * spot, too, and its result is ready at once.
 *
 * Exactly one of callback and error_callback is called, once, if it was given, also for n = 0: on the root, on a thread of
 * the library's or of a caller that waits in a pmap call, one at a time, in the order in which
 * calls complete, before the result turns ready. A callback may submit work. It may not wait for any: a call that would
 * have to returns PMAP_EDEADLOCK (looking, with a timeout of 0, is fine). What it reports by pmap_fail is printed as a warning. Messages of this pool's
 * ranks are not handled while it runs, so it should be short. */
struct pmap_result;

#define PMAP_FOREVER (-1.0) /* as a timeout: any negative number of seconds */

#define pmap_map_async(pool, task, in, out, ...)                                                           \
    pmap_map_async_with((pool), &task##_task, (in), PMAP__ELEMENT_SIZE(in), (out), PMAP__ELEMENT_SIZE(out), \
                        &(struct pmap_map_options){.size = sizeof(struct pmap_map_options), .where = PMAP__HERE, .n = __VA_ARGS__})
#define pmap_starmap_async(pool, task, args, out, ...)                                                           \
    pmap_starmap_async_with((pool), &task##_task, (args), PMAP__ELEMENT_SIZE(args), (out), PMAP__ELEMENT_SIZE(out), \
                            &(struct pmap_map_options){.size = sizeof(struct pmap_map_options), .where = PMAP__HERE, .n = __VA_ARGS__})
#define pmap_apply_async(pool, task, ...) task##__apply_async((pool), (struct task##_call){.where = PMAP__HERE, .out = __VA_ARGS__})

/* Wait until the result is ready, for timeout seconds at most; 0 only looks. PMAP_OK; PMAP_ETIMEOUT; PMAP_EINVAL: result is
 * NULL, or timeout is not a number; PMAP_EDEADLOCK: it is not ready, and this is a callback, a task, an
 * operation or an initializer. Several threads may wait. */
enum pmap_status pmap_result_wait(struct pmap_result *result, double timeout);

/* Like pmap_result_wait, then what the call would have returned, were it not async; of a failure *error says more, or stderr
 * if error is NULL. It can be repeated. */
enum pmap_status pmap_result_get(struct pmap_result *result, double timeout, struct pmap_error *error);

/* Is it ready? False for NULL. Never waits, never fails; (where the program owns MPI below MPI_THREAD_MULTIPLE it is also a
 * chance for work to go on). */
bool pmap_result_ready(struct pmap_result *result);

/* *successful: did the call return PMAP_OK? PMAP_OK, or PMAP_EINVAL: result or successful is NULL, or it is not ready. */
enum pmap_status pmap_result_successful(struct pmap_result *result, bool *successful);

/* What has not begun of this call never will, and its items that run are asked to stop: as pmap_terminate, for one call. It
 * becomes ready as PMAP_ECANCELLED, or as PMAP_EFAILED if an item had failed, be it that it was to be run again, or as
 * PMAP_OK if every item had succeeded by then. Returns at once. PMAP_OK, also if it was ready; PMAP_EINVAL: result is NULL. */
enum pmap_status pmap_result_cancel(struct pmap_result *result);

/* The result is not needed any more. What is not ready goes on, borrows what it borrows, and calls its callbacks. NULL is
 * fine. */
void pmap_result_free(struct pmap_result *result);

/* Wait for any of n results, for all, or for one that is not successful (or all). NULL entries are passed over, so that
 * those that have been dealt with can be crossed out; the same result may be there twice. *index, if index is not NULL, is a
 * result that ended the wait: the first that is ready, for PMAP_FIRST_ERROR the first that failed, n if there is none.
 * Results may be of several pools. PMAP_OK (also for n = 0, or if all are NULL); PMAP_ETIMEOUT; PMAP_EINVAL: results is
 * NULL, until or timeout makes no sense; PMAP_EDEADLOCK as for pmap_result_wait. */
enum pmap_until { PMAP_ANY, PMAP_ALL, PMAP_FIRST_ERROR };
enum pmap_status pmap_wait(struct pmap_result *const results[], size_t n, enum pmap_until until, double timeout,
                           size_t *index);

/* ---- 6. Streams ----------------------------------------------------------------------------------------
 *
 *     struct pmap_iter *it = pmap_imap(pool, square, PMAP_ARRAY(x, 1000), .chunksize = 10);
 *     while ((status = pmap_iter_next(it, &y, PMAP_FOREVER)) != PMAP_END)     // at once if it is NULL
 *         if (status == PMAP_OK)
 *             printf("%d\n", y);
 *     pmap_iter_free(it);
 *
 * Equals: while (source gives an item) yield task(item); with many items at work at once, and results that can be used
 * before the last item is even known. pmap_imap yields in the order of the source, pmap_imap_unordered as they come.
 *
 * A source is an array, borrowed until the stream is freed, or a generator:
 *
 *     static bool next_line(void *state, void *item)         // item points to one of the task's items, to be filled
 *     {
 *         if (end of file) return false;                     // no more
 *         *(struct line *)item = …; return true;
 *     }
 *     pmap_imap(pool, count, PMAP_GENERATOR(next_line, file))
 *
 * The items of a task of several arguments are struct task_args. The data of struct pmap_bytes items from a generator must
 * be from malloc, and is freed by the library when the item has run.
 *
 * A generator is called on a thread of its own, one call at a time, never after pmap_iter_free has returned. It may be
 * endless. It fails by pmap_fail and ends with that: the items before still yield, then the stream yields the error once
 * (status PMAP_EFAILED, item: how many it had given), then PMAP_END.
 *
 * chunksize     items that go to a worker at once, 1 unless given (0 is 1, too), and buffersize at most; only the last
 *               chunk is shorter.
 * buffersize    at most so many items are taken from the source and not yet yielded; that bounds memory, however slow
 *               the consumer. Default: enough to keep all threads busy twice over, 2 * pmap_threads * chunksize. It
 *               holds exactly: the producer is asked so often and no further until a result is taken.
 * error         filled by pmap_imap if it fails, and then by each pmap_iter_next that does; it must stay valid as long
 *               as the stream.
 * name          as for pmap_map; it must stay valid as long as the stream.
 * retries, retry_delay, priority, seed, timeout, max_rss      as for pmap_map; item i of the stream has the random numbers of item i. */
typedef bool pmap_source_fn(void *state, void *item);

struct pmap_source {
    const void *items;    /* an array: its items, */
    size_t item_size;     /* bytes of one (0: not checked), */
    size_t n;             /* and how many. Or a generator: how many it will give, 0 if that is not known; one that
                           * gives fewer has failed, and more it is not asked for */
    pmap_source_fn *next; /* a generator, */
    void *state;          /* and what it is given */
};

#define PMAP_ARRAY(array, count) \
    ((struct pmap_source){.items = (array), .item_size = PMAP__ELEMENT_SIZE(array), .n = (count)})
#define PMAP_GENERATOR(function, its_state) ((struct pmap_source){.next = (function), .state = (its_state)})

struct pmap_imap_options {
    size_t size; /* sizeof(struct pmap_imap_options); the macro sets it */
    struct pmap_source source;
    ptrdiff_t chunksize;
    size_t buffersize;
    struct pmap_error *error;
    int retries;
    double retry_delay;
    int priority;
    uint64_t seed;
    const char *name;
    const char *where;
    double timeout;
    size_t max_rss;
};

struct pmap_iter;

/* A stream, or NULL if it cannot be: PMAP_EINVAL, PMAP_ENOMEM, PMAP_ECLOSED, PMAP_EINTERRUPTED, as for pmap_map; also PMAP_EINVAL if the source
 * is neither an array nor a generator, or both, and inside a task. */
#define pmap_imap(pool, task, ...)       \
    pmap_imap_with((pool), &task##_task, \
                   &(struct pmap_imap_options){.size = sizeof(struct pmap_imap_options), .where = PMAP__HERE, .source = __VA_ARGS__})
#define pmap_imap_unordered(pool, task, ...)       \
    pmap_imap_unordered_with((pool), &task##_task, \
                             &(struct pmap_imap_options){.size = sizeof(struct pmap_imap_options), .where = PMAP__HERE, .source = __VA_ARGS__})

/* The next result into *out (NULL for an action), waiting for it timeout seconds at most. One thread at a time.
 *
 * PMAP_OK; PMAP_END: there are no more, and will be none, or iter is NULL; PMAP_ETIMEOUT; PMAP_EFAILED, PMAP_ECRASHED: an item failed, or the generator did,
 * and the stream goes on with the next (Python's gives up the rest of the chunk); PMAP_ECANCELLED: the item was given up
 * when the pool was terminated; PMAP_EINTERRUPTED: likewise, or items that would have followed were; PMAP_ENOMEM for an item likewise; PMAP_EDEADLOCK: nothing is ready, and this is a callback,
 * a task or the like, or the stream's own generator; PMAP_EINVAL: out is NULL or points to something of another size than a
 * result, timeout is not a number. Whoever is refused twice in a row for the same reason is told PMAP_END, so that a loop that
 * waits for it ends; nothing is lost by that, a call that makes sense takes the next result.
 * *out is set to zero bytes if an item or the generator failed, was given up or lost; else only PMAP_OK changes it. */
#define pmap_iter_next(iter, out, timeout) pmap_iter_next_with((iter), (out), PMAP__ELEMENT_SIZE(out), (timeout))

/* Which item the last pmap_iter_next that told about one was about: its place in the source, from 0; for a failure of the
 * generator, how many items it had given; PMAP_NO_ITEM at the end, before the first and for NULL. */
size_t pmap_iter_item(const struct pmap_iter *iter);

/* End the stream: the source is not asked any more, what is queued is dropped, and what runs is asked to stop and
 * waited for. The pool stays usable. It waits for a call of the generator that is under way. NULL is fine. Should come before
 * pmap_destroy. In a callback, a task or the stream's own generator it prints a warning, and the stream stays. */
void pmap_iter_free(struct pmap_iter *iter);

/* ---- 7. Reduction --------------------------------------------------------------------------------------
 *
 *     static double add(double a, double b) { return a + b; }
 *     PMAP_OP(add, double);                            // at file scope: name, type
 *
 *     pmap_reduce(pool, square, add, x, &sum, n);      // sum of squares
 *
 * Equals: out = task(in[0]); for (i = 1; i < n; i++) out = op(out, task(in[i]));     up to where the brackets are
 *
 * The brackets are a fixed tree over the item index that depends on n, and on the size of a result, alone. So the result is the same, bit
 * for bit, for any number of threads and ranks and any chunk size. op must be associative, as far as you care about
 * the difference; it need not be commutative, for operands keep their order. It is a plain function of two values of the task's
 * result type, which may be a struct; it may run on any thread of any rank, several at once, and it may fail by pmap_fail.
 * Mapping and folding happen where the items are: at no time are there n results in memory.
 *
 * The task may be of any kind but one of bytes; for a block task in and out are as for pmap_map.
 *
 * identity   a value of the result type: *out for n = 0. Without it n = 0 is PMAP_EINVAL.
 * chunksize  is rounded up to whole leaves of the tree.
 * error, priority, seed, retries, retry_delay, name, timeout, max_rss   as for pmap_map; what is run again, or ended, is a leaf of the tree, or
 * one application of op.
 *
 * Statuses as for pmap_map; the first failure stops the rest (on_error is PMAP_STOP here), and *out is set only by success. */
struct pmap_op {
    const char *name; /* what error texts call it */
    const char *type; /* of its operands, as declared */
    const char *where; /* the source file that declares it */
    size_t size;      /* bytes of an operand */
    /* *acc = values[0]; for (i = 1; i < n; i++) *acc = op(*acc, values[i]);    for n > 0; acc is none of the values.
     * For 32 values or more the brackets are around eight runs of neighbours, which lets a processor work on all at once. */
    void (*fold)(size_t n, const void *values, void *acc);
    uint64_t id;          /* the library's */
    struct pmap_op *next; /* the library's */
};

/* Make an operation known to this process, as pmap_task_register does. */
void pmap_op_register(struct pmap_op *op);

struct pmap_reduce_options {
    size_t size; /* sizeof(struct pmap_reduce_options); the macro sets it */
    size_t n;
    const void *identity;
    ptrdiff_t chunksize;
    struct pmap_error *error;
    int retries;
    double retry_delay;
    int priority;
    uint64_t seed;
    const char *name;
    const char *where;
    double timeout;
    size_t max_rss;
};

#define pmap_reduce(pool, task, op, in, out, ...)                                                     \
    pmap_reduce_with((pool), &task##_task, &op##_op, (in), PMAP__ELEMENT_SIZE(in), (out), PMAP__ELEMENT_SIZE(out), \
                     &(struct pmap_reduce_options){.size = sizeof(struct pmap_reduce_options), .where = PMAP__HERE, .n = __VA_ARGS__})

/* ---- 8. Shared data ------------------------------------------------------------------------------------
 *
 *     pmap_share(pool, table, table_size, &handle);                  // on the root, once
 *     static double look_up(struct pmap_handle handle, double x)     // a task: the handle travels as an argument
 *     {
 *         const double *table = pmap_shared(handle);
 *         …
 *     }
 *
 * Read-only data for all tasks: sent once, along a tree of ranks, and kept once per node, where its ranks share the memory. */
struct pmap_handle {
    uint64_t id; /* never 0 */
    size_t size; /* bytes */
};

struct pmap_share_options {
    size_t size; /* sizeof(struct pmap_share_options); the macro sets it */
    struct pmap_handle *handle; /* where the handle goes */
    struct pmap_error *error;
};

/* Copy size bytes at data to every node of the pool. Returns when they are there; data is not needed any more then. It
 * waits for ranks of a single thread, until the item that runs there has returned, and such a rank that is ready begins no
 * other until all are; so pmap_terminate ends the wait as soon as it ends those items, and the share succeeds then. Everything
 * else goes on meanwhile, until all are ready; then hand-out, answers and callbacks stand still while the bytes are sent, but
 * for items that run. Calls from several threads, and of pmap_unshare, are served one after another. PMAP_OK; PMAP_EINVAL (pool, data or handle is NULL, size is 0, or called inside a task);
 * PMAP_EDEADLOCK (in a callback); PMAP_ECLOSED; PMAP_EINTERRUPTED; PMAP_ENOMEM (on some node: the data is on none then). */
#define pmap_share(pool, data, bytes, ...)    \
    pmap_share_with((pool), (data), (bytes), \
                    &(struct pmap_share_options){.size = sizeof(struct pmap_share_options), .handle = __VA_ARGS__})

/* The shared data, aligned to a page; NULL if there is no such data (any more). On any thread of any rank of the pool, inside
 * tasks or not. */
const void *pmap_shared(struct pmap_handle handle);

/* The data is not needed any more: no task may use it now or later. Waits as pmap_share does. What is left is freed with the
 * pool. PMAP_OK; PMAP_EINVAL
 * (pool is NULL, or knows no such handle); PMAP_EDEADLOCK. */
enum pmap_status pmap_unshare(struct pmap_pool *pool, struct pmap_handle handle);

/* ---- 9. Inside a task ---------------------------------------------------------------------------------- */

/* Report that the item now running has failed, with a code of your own and a text as for printf. It does not
 * end the function: return after it. It returns 0, so that a task can say
 *
 *     if (x < 0)
 *         return pmap_fail(2, "negative input %d", x);
 *
 * The first report of an item counts. In a block task it stands for all items of the block. It works in the same way in
 * initializers, generators and operations. Elsewhere it prints a warning and does nothing. The text may use what a struct pmap_error has room for. */
int pmap_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The index of the item now running in its map; 0 in an apply; the first of the run in a block task;
 * PMAP_NO_ITEM outside a task. */
size_t pmap_item(void);

/* Should the item now running stop? True once its call is cancelled (pmap_result_cancel, pmap_terminate, pmap_iter_free, or a
 * failure under PMAP_STOP). A long task that asks from time to time, and returns early, makes all of these quick; once it has been told so,
 * what it returns is thrown away, and the item counts as PMAP_ECANCELLED. Costs a few nanoseconds. False outside a task. */
bool pmap_cancelled(void);

/* The rank, and the thread of that rank, that runs the calling task, initializer, operation, generator or callback; -1
 * elsewhere. */
int pmap_rank(void);
int pmap_thread(void);

/* Random numbers that do not depend on who runs what: one stream for each item of a call.
 *
 *     struct pmap_random r = pmap_random_stream(pmap_item());
 *     double x = pmap_random_uniform(&r);
 *
 * The stream of an item is a function of the call's .seed and the item's index alone: the same for any number of threads and
 * ranks, any chunk size, and a retry. Inside a block task, name each item of the block: pmap_random_stream(pmap_item() + i).
 * A call inside a task takes its default seed from the task's own stream, so that nested calls differ. Two calls
 * with one seed have the same numbers: give them different ones. Outside a task the seed is 0.
 *
 * The generator is Philox4x64-10 as in the Random123 library (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy
 * as 1, 2, 3, SC 2011), with key {seed, 0} and counter {block, 0, item, 0}: 2^64 streams of 2^66 numbers. */
struct pmap_random {
    uint64_t key[2], counter[4]; /* of the next block */
    uint64_t block[4];           /* four numbers */
    unsigned used;               /* of them */
};

struct pmap_random pmap_random_stream(size_t item);
uint64_t pmap_random_bits(struct pmap_random *random);    /* 64 random bits */
double pmap_random_uniform(struct pmap_random *random);   /* in [0, 1), a multiple of 2^-53 */
double pmap_random_normal(struct pmap_random *random);    /* mean 0, variance 1 (Box and Muller 1958); uses two numbers */
uint64_t pmap_random_below(struct pmap_random *random, uint64_t n); /* 0 … n - 1, each as likely (Lemire 2019); n > 0 */

/* ---- 10. Reports --------------------------------------------------------------------------------------- */

/* Make a page of a trace, as pmap-report does (doc/report.md): one HTML file that needs nothing else. trace and page are paths; "-" is
 * standard input, standard output. The page comes to its name when it is whole; a former one stays if this fails. No pool is needed.
 *
 * PMAP_OK; PMAP_EINVAL: a path is NULL, trace cannot be read, is empty, truncated, no trace at all or one of another program or of a newer pmap, or
 * page cannot be written; PMAP_ENOMEM. The text of *error, which may be NULL, says which; nothing is printed. */
enum pmap_status pmap_report_write(const char *trace, const char *page, struct pmap_error *error);

/* ---- 11. Plain functions -------------------------------------------------------------------------------
 *
 * What the macros expand to. options->size must be sizeof the struct, so that a newer library can tell what an
 * older caller knows; fields left zero mean the default. A size of 0 for an element means "not checked". */

enum pmap_status pmap_create_with(const struct pmap_create_options *options);

/* size: sizeof *stats. A newer library fills what an older caller knows; what an older library does not know is zero. */
enum pmap_status pmap_stats_with(const struct pmap_pool *pool, struct pmap_stats *stats, size_t size);
enum pmap_status pmap_rank_stats_with(const struct pmap_pool *pool, int rank, struct pmap_rank_stats *stats, size_t size);

enum pmap_status pmap_map_with(struct pmap_pool *pool, struct pmap_task *task, const void *in, size_t in_size,
                               void *out, size_t out_size, const struct pmap_map_options *options);

enum pmap_status pmap_starmap_with(struct pmap_pool *pool, struct pmap_task *task, const void *args,
                                   size_t args_size, void *out, size_t out_size,
                                   const struct pmap_map_options *options);

/* args is one struct of the task's arguments, out one result; either may be NULL if the task has none. */
enum pmap_status pmap_apply_with(struct pmap_pool *pool, struct pmap_task *task, const void *args, void *out,
                                 const struct pmap_apply_options *options);

struct pmap_result *pmap_map_async_with(struct pmap_pool *pool, struct pmap_task *task, const void *in, size_t in_size,
                                        void *out, size_t out_size, const struct pmap_map_options *options);

struct pmap_result *pmap_starmap_async_with(struct pmap_pool *pool, struct pmap_task *task, const void *args,
                                            size_t args_size, void *out, size_t out_size,
                                            const struct pmap_map_options *options);

struct pmap_result *pmap_apply_async_with(struct pmap_pool *pool, struct pmap_task *task, const void *args, void *out,
                                          const struct pmap_apply_options *options);

struct pmap_iter *pmap_imap_with(struct pmap_pool *pool, struct pmap_task *task, const struct pmap_imap_options *options);

struct pmap_iter *pmap_imap_unordered_with(struct pmap_pool *pool, struct pmap_task *task,
                                           const struct pmap_imap_options *options);

enum pmap_status pmap_iter_next_with(struct pmap_iter *iter, void *out, size_t out_size, double timeout);

enum pmap_status pmap_reduce_with(struct pmap_pool *pool, struct pmap_task *task, struct pmap_op *op, const void *in,
                                  size_t in_size, void *out, size_t out_size, const struct pmap_reduce_options *options);

enum pmap_status pmap_share_with(struct pmap_pool *pool, const void *data, size_t bytes,
                                 const struct pmap_share_options *options);

#ifdef __cplusplus
}
#endif

#include <pmap_task.h>

#endif
