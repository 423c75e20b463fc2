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
 *   2. Tasks             PMAP_TASK, PMAP_ACTION, PMAP_BLOCK_TASK
 *   3. Pools             pmap_create, pmap_destroy
 *   4. Calls             pmap_map, pmap_starmap, pmap_apply
 *   5. Inside a task     pmap_fail, pmap_item
 *   6. Plain functions   what the macros above expand to; for C++, Fortran and generated code
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
 * returns. Nothing is kept after that. A pool belongs to whoever created it, until pmap_destroy.
 *
 * Threads. Any thread of the root may call into a pool, several at the same time, unless the program itself
 * initialised MPI below MPI_THREAD_MULTIPLE: then only the thread that created the pool may (see pmap_mpi.h).
 * pmap_create and pmap_destroy of one pool are called by one thread. A task runs on any thread of any rank; two
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
    PMAP_EBUSY,     /* a pool already lives on this communicator */
    PMAP_EMPI,      /* MPI returned an error while the pool was being created. (Later on such an error ends the MPI job,
                     * with a text, as MPI does by default.) */
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

/* How one call of a task looks from outside. Made by the macros; a binding for another language may fill one
 * in and give it to pmap_task_register. */
struct pmap_task {
    const char *name;      /* what error texts call it */
    const char *signature; /* result and argument types as declared: "double (double, int)" */
    const char *where;     /* the source file that declares it: two files may not declare different tasks of one name */
    unsigned arguments;    /* how many arguments it takes */
    bool block;            /* one call takes a run of items: a failure in it is a failure of the whole run */
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

struct pmap_create_options {
    size_t size;              /* sizeof(struct pmap_create_options); the macro sets it */
    struct pmap_pool **pool;  /* where the pool goes */
    int threads;              /* threads on this rank that run items; 0: this rank's fair share of the CPUs */
    int root;                 /* the rank that goes on alone; the same on all ranks */
    bool dedicated_root;      /* the root's threads run no items, it only hands them out; the root's word counts.
                               * Without effect where the root is the only rank. */
    struct pmap_error *error; /* filled if pmap_create fails */
    const char *where;        /* the line of the program that makes this call; the macro sets it */
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
 * Initialises MPI if nobody has and a launcher (mpirun, srun --mpi=pmix …) started the process; MPI then stays
 * up until the process exits, and is finalized there. PMAP_MPI=no in the environment never initialises MPI,
 * PMAP_MPI=yes does in any case. A thread of the library's own makes all MPI calls then; a program that wants to make
 * some, too, initialises MPI itself and uses pmap_mpi.h.
 *
 * The fair share of the CPUs: OMP_NUM_THREADS if set, else SLURM_CPUS_PER_TASK if set, else the CPUs of this
 * process's OpenMP places, affinity mask and cgroup (version 2), divided among the ranks of this node that may use the
 * same ones.
 *
 * Returns PMAP_OK; PMAP_EINVAL (pool is NULL; threads or root out of range, or root not the same on all ranks; called
 * inside a task; over several ranks, two source files declare different tasks of one name and type); PMAP_ENOMEM; PMAP_EMISMATCH (the ranks run different programs: the text names the task); PMAP_EBUSY (a
 * pool over the same ranks lives already: they serve it, and cannot join another; ranks that come to the same line of
 * the program later are told so, too); PMAP_EMPI. *pool is NULL after a failure. */
#define pmap_create(...) \
    pmap_create_with(&(struct pmap_create_options){ \
        .size = sizeof(struct pmap_create_options), .where = PMAP__HERE, .pool = __VA_ARGS__})

/* End the pool on all ranks, and free it; no other thread may be in a call on it. NULL is fine. Only the root
 * has a pool to destroy; the other ranks leave pmap_create when it does. */
void pmap_destroy(struct pmap_pool *pool);

/* How many ranks the pool has; 1 without a launcher. */
int pmap_ranks(const struct pmap_pool *pool);

/* How many threads, of all ranks together, run its items. */
int pmap_threads(const struct pmap_pool *pool);

/* ---- 4. Calls ------------------------------------------------------------------------------------------
 *
 * Options follow n as designated initialisers: pmap_map(pool, square, x, y, 1000, .chunksize = 20).
 *
 * chunksize  0: chosen by the library, which times the items and hands out about a millisecond of work at a time,
 *            less toward the end. c > 0: exactly c neighbouring items at a time (the last chunk may be shorter),
 *            run one after another on one thread. It never changes a result.
 * error      filled if the call fails.
 *
 * n = 0 succeeds at once and runs nothing; arrays may be NULL then.
 *
 * If items fail, every other item runs all the same and its result is in the output. The error is that of the
 * failed item with the lowest index, whatever order they ran in; results of failed items are all zero bytes.
 * (Python's Pool reports whichever failure comes first and drops the rest of that chunk.)
 *
 * They return PMAP_OK; PMAP_EFAILED (an item called pmap_fail); PMAP_ENOMEM; PMAP_EINVAL: pool is
 * NULL, an array is NULL, n times the element size overflows, chunksize is negative, an element's size is not the
 * task's, the task is of the wrong kind for this call, a rank does not know the task, or the pool belongs to
 * another thread (see Threads above). */

struct pmap_map_options {
    size_t size; /* sizeof(struct pmap_map_options); the macro sets it */
    size_t n;
    ptrdiff_t chunksize;
    struct pmap_error *error;
};

/* for (i = 0; i < n; i++) out[i] = task(in[i]);       for a task of one argument, or a block task
 *
 * in and out are arrays of n elements of the task's argument and result type; they must not overlap. For an
 * action out is NULL. The sizes of their elements are checked, unless they are void pointers. */
#define pmap_map(pool, task, in, out, ...)                                                           \
    pmap_map_with((pool), &task##_task, (in), PMAP__ELEMENT_SIZE(in), (out), PMAP__ELEMENT_SIZE(out), \
                  &(struct pmap_map_options){.size = sizeof(struct pmap_map_options), .n = __VA_ARGS__})

/* for (i = 0; i < n; i++) out[i] = task(args[i]._1, args[i]._2, …);     args is an array of struct task_args
 * Like pmap_map, but for a task of any number of arguments. */
#define pmap_starmap(pool, task, args, out, ...)                                                           \
    pmap_starmap_with((pool), &task##_task, (args), PMAP__ELEMENT_SIZE(args), (out), PMAP__ELEMENT_SIZE(out), \
                      &(struct pmap_map_options){.size = sizeof(struct pmap_map_options), .n = __VA_ARGS__})

struct pmap_apply_options {
    size_t size; /* sizeof(struct pmap_apply_options) */
    struct pmap_error *error;
};

/* *out = task(a, b, …);                     pmap_apply(pool, power, &y, 2.0, 10)
 *
 * One call, on one thread of some rank. out is a pointer to the task's result type, NULL for an action. Options
 * follow the arguments: pmap_apply(pool, power, &y, 2.0, 10, .error = &err). */
#define pmap_apply(pool, task, ...) task##__apply((pool), (struct task##_call){.out = __VA_ARGS__})

/* ---- 5. Inside a task ---------------------------------------------------------------------------------- */

/* Report that the item now running has failed, with a code of your own and a text as for printf. It does not
 * end the function: return after it. It returns 0, so that a task can say
 *
 *     if (x < 0)
 *         return pmap_fail(2, "negative input %d", x);
 *
 * The first report of an item counts. In a block task it stands for all items of the block. Outside a task it
 * prints a warning and does nothing. The text may use what a struct pmap_error has room for. */
int pmap_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The index of the item now running in its map; 0 in an apply; the first of the run in a block task;
 * PMAP_NO_ITEM outside a task. */
size_t pmap_item(void);

/* ---- 6. Plain functions --------------------------------------------------------------------------------
 *
 * What the macros expand to. options->size must be sizeof the struct, so that a newer library can tell what an
 * older caller knows; fields left zero mean the default. A size of 0 for an element means "not checked". */

enum pmap_status pmap_create_with(const struct pmap_create_options *options);

enum pmap_status pmap_map_with(struct pmap_pool *pool, struct pmap_task *task, const void *in, size_t in_size,
                               void *out, size_t out_size, const struct pmap_map_options *options);

enum pmap_status pmap_starmap_with(struct pmap_pool *pool, struct pmap_task *task, const void *args,
                                   size_t args_size, void *out, size_t out_size,
                                   const struct pmap_map_options *options);

/* args is one struct of the task's arguments, out one result; either may be NULL if the task has none. */
enum pmap_status pmap_apply_with(struct pmap_pool *pool, struct pmap_task *task, const void *args, void *out,
                                 const struct pmap_apply_options *options);

#ifdef __cplusplus
}
#endif

#include <pmap_task.h>

#endif
