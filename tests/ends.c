/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Programs that leave their pool in the wrong way; test_ends.sh starts them and sees how they end.
 *
 *     ends main                    exit(3) on the root, with a pool whose items would run for ever
 *     ends deaf                    the same, and the items do not ask whether they shall stop
 *     ends task | operation | callback | initializer    exit(3) inside of one
 *     ends segv | abort | kill      a task, in a pool of threads, dies of it
 *     ends isolated | isolated-rank FILE    the root, or another rank, of an isolated pool dies of SIGKILL while items run, whose
 *                                  processes, and those that these come from, are in the file then
 *     ends own LEVEL               the program owns MPI, and finalizes it without pmap_destroy
 */
#include <pmap.h>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef HAVE_MPI
#include <mpi.h>
#endif

static atomic_bool begun; /* on this rank */

static int endless(int x)
{
    atomic_store(&begun, true);
    while (!pmap_cancelled())
        sched_yield();
    return x;
}
PMAP_TASK(endless, int, int);

static int deaf(int x)
{
    atomic_store(&begun, true);
    for (;;)
        sched_yield();
    return x;
}
PMAP_TASK(deaf, int, int);

static int leaves(int x)
{
    (void)x;
    exit(3);
}
PMAP_TASK(leaves, int, int);

static int square(int x) { return x * x; }
PMAP_TASK(square, int, int);

static int dies(int sig)
{
    raise(sig);
    return sig;
}
PMAP_TASK(dies, int, int);

/* A rank that is another process than the root's is found by its number; the pool's threads are two on each. */
static const char *list;
static pid_t this_rank; /* set before the pool is created */

static int notes(int kill_rank)
{
    char line[64];
    int size = snprintf(line, sizeof line, "%d\n%d\n", (int)getpid(), (int)getppid());
    int file = open(list, O_WRONLY | O_APPEND | O_CREAT, 0600);

    if (file < 0 || write(file, line, (size_t)size) != size)
        _exit(9);
    close(file);
    if (kill_rank && pmap_rank() == 1)
        kill(this_rank, SIGKILL);
    for (;;)
        sched_yield();
    return 0;
}
PMAP_TASK(notes, int, int);

static int lines_in(const char *path)
{
    FILE *file = fopen(path, "r");
    int n = 0, c;

    while (file && (c = getc(file)) != EOF)
        n += c == '\n';
    if (file)
        fclose(file);
    return n;
}

static int leaves_op(int a, int b)
{
    (void)a;
    (void)b;
    exit(3);
}
PMAP_OP(leaves_op, int);

static void leaves_callback(void *user, void *out, size_t n)
{
    (void)user;
    (void)out;
    (void)n;
    exit(3);
}

static void leaves_initializer(const void *unused)
{
    (void)unused;
    exit(3);
}

static int in[100], out[100];

/* Begin the map, and see an item of it run here. */
static void begin(struct pmap_pool *pool, const char *how)
{
    if (strcmp(how, "deaf") == 0)
        pmap_map_async(pool, deaf, in, out, 100, .chunksize = 1);
    else
        pmap_map_async(pool, endless, in, out, 100, .chunksize = 1);
    while (!atomic_load(&begun))
        sched_yield();
}

/* Does not return. */
static void leave_isolated(struct pmap_pool *pool, bool root)
{
    for (int i = 0; i < 100; i++)
        in[i] = !root;
    pmap_map_async(pool, notes, in, out, 100, .chunksize = 1);
    while (lines_in(list) < 2 * pmap_threads(pool))
        sched_yield();
    if (root)
        raise(SIGKILL);
    for (;;)
        sched_yield();
}

static void leave(struct pmap_pool *pool, const char *how)
{
    static const struct { const char *name; int sig; } signals[] = {{"segv", SIGSEGV}, {"abort", SIGABRT}, {"kill", SIGKILL}};

    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (strcmp(how, signals[i].name) == 0) {
            in[50] = signals[i].sig;
            pmap_map(pool, dies, in, out, 100, .chunksize = 1);
        }
    if (list)
        leave_isolated(pool, strcmp(how, "isolated") == 0);
    if (strcmp(how, "main") == 0 || strcmp(how, "deaf") == 0) {
        begin(pool, how);
        exit(3);
    }
    if (strcmp(how, "task") == 0)
        pmap_map(pool, leaves, in, out, 100);
    else if (strcmp(how, "operation") == 0)
        pmap_reduce(pool, square, leaves_op, in, out, 100);
    else if (strcmp(how, "callback") == 0)
        pmap_result_wait(pmap_map_async(pool, square, in, out, 100, .callback = leaves_callback), PMAP_FOREVER);
    else
        pmap_map(pool, square, in, out, 100);
}

#ifdef HAVE_MPI
static void begin_mpi(const char *level)
{
    int provided;
    MPI_Init_thread(NULL, NULL, strcmp(level, "multiple") == 0 ? MPI_THREAD_MULTIPLE : MPI_THREAD_FUNNELED, &provided);
}

static void end_mpi(void)
{
    MPI_Finalize();
}
#else
static void begin_mpi(const char *level)
{
    (void)level;
}

static void end_mpi(void)
{
}
#endif

int main(int argc, char *argv[])
{
    const char *how = argc > 1 ? argv[1] : "main";
    struct pmap_pool *pool;

    if (strncmp(how, "isolated", strlen("isolated")) == 0 && argc > 2) {
        list = argv[2];
        argc = 2;
    }
    this_rank = getpid();
    if (argc > 2)
        begin_mpi(argv[2]);
    if (strcmp(how, "initializer") == 0)
        pmap_create(&pool, .threads = 2, .initializer = leaves_initializer);
    else if (pmap_create(&pool, .threads = 2, .isolate = list != NULL) != PMAP_OK)
        return 1;
    else if (pool)
        leave(pool, how);
    if (argc > 2)
        end_mpi();
    puts("the end");
    return 0;
}
