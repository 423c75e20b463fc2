/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Programs whose ranks die; test_survive.sh starts them and sees what becomes of the others.
 *
 *     mortal CALL DIRECTORY [WORD=VALUE]…
 *
 * CALL is what the root does. A rank dies by SIGKILL inside an item; DIRECTORY is where it leaves a file first, so that so many
 * die and no more, and everybody who waits for a death can see it.
 *
 *     kills=K     K ranks other than the root die, one after the other, when they come to an item that is fatal (1)
 *     threads=T   of each rank (1)
 *     own=1       the program owns MPI
 *     fork=1      a rank that dies leaves a child behind
 */
#include <pmap.h>

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef HAVE_MPI
#include <mpi.h>
#endif

#define N 2000

static const char *directory;
static int kills = 1, threads = 1;
static bool own, forks;

static int my_rank(void)
{
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    if (rank == NULL)
        rank = getenv("PMIX_RANK");
    return rank ? atoi(rank) : 0;
}

/* Leave a file of this name and number; false if it is there already. */
static bool leave_file(const char *name, int number)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s.%d", directory, name, number);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool is_file(const char *name, int number)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s.%d", directory, name, number);
    return access(path, F_OK) == 0;
}

static void die(void)
{
    if (forks && fork() == 0) {
        alarm(1); /* long after the launcher has seen to everybody else */
        for (;;)
            pause();
    }
    kill(getpid(), SIGKILL);
    for (;;) /* the signal reaches a thread of this process, not necessarily this one at once */
        pause();
}

/* Is it this rank's turn to die? */
static void die_perhaps(void)
{
    for (int k = 0; k < kills && my_rank() != 0; k++)
        if (leave_file("death", k))
            die();
}

static int square(int x)
{
    if (x % 10 == 7)
        die_perhaps();
    return x * x;
}
PMAP_TASK(square, int, int);

/* A rank that is stopped for a second is slow, not dead. */
static int stops(int x)
{
    char command[100];

    if (my_rank() == 0 || !leave_file("stop", 0))
        return x;
    snprintf(command, sizeof command, "(sleep 1; kill -CONT %d) &", (int)getpid());
    if (system(command) == 0)
        kill(getpid(), SIGSTOP);
    return x;
}
PMAP_TASK(stops, int, int);

/* Say on which process it runs, and stay until it is killed. */
static int stays(int x)
{
    leave_file("pid", (int)getpid());
    for (;;)
        pause();
    return x;
}
PMAP_TASK(stays, int, int);

static int in[N], out[N];

static int check(enum pmap_status status, const char *what)
{
    int wrong = 0;

    for (int i = 0; i < N; i++)
        wrong += out[i] != i * i;
    printf("%s: %s, %d wrong\n", what, pmap_status_name(status), wrong);
    return status == PMAP_OK && wrong == 0 ? 0 : 1;
}

/* Begin a map, see a rank die of it, and stay outside of all calls of the library, as a program does that computes for long. */
static void compute(struct pmap_pool *pool)
{
    struct pmap_result *result = pmap_map_async(pool, square, in, out, N, .chunksize = 8);

    while (!is_file("death", 0))
        pmap_result_wait(result, 0.001);
    for (;;)
        pause();
}

static int use(struct pmap_pool *pool, const char *call)
{
    if (strcmp(call, "map") == 0)
        return check(pmap_map(pool, square, in, out, N, .chunksize = 8), call);
    if (strcmp(call, "stop") == 0)
        return pmap_map(pool, stops, in, out, N, .chunksize = 8) != PMAP_OK;
    if (strcmp(call, "stay") == 0)
        return pmap_map(pool, stays, in, out, N, .chunksize = 8) != PMAP_OK;
    if (strcmp(call, "compute") == 0)
        compute(pool);
    return 2;
}

static void read_word(const char *word)
{
    int value = strchr(word, '=') ? atoi(strchr(word, '=') + 1) : 1;

    if (strncmp(word, "kills=", 6) == 0)
        kills = value;
    else if (strncmp(word, "threads=", 8) == 0)
        threads = value;
    else if (strncmp(word, "own=", 4) == 0)
        own = value;
    else if (strncmp(word, "fork=", 5) == 0)
        forks = value;
    else
        exit(2);
}

static void begin_mpi(void)
{
#ifdef HAVE_MPI
    int provided;
    MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
#endif
}

static void end_mpi(void)
{
#ifdef HAVE_MPI
    MPI_Finalize();
#endif
}

int main(int argc, char *argv[])
{
    struct pmap_pool *pool;
    int status = 0;

    if (argc < 3)
        return 2;
    directory = argv[2];
    for (int i = 3; i < argc; i++)
        read_word(argv[i]);
    for (int i = 0; i < N; i++)
        in[i] = i;
    if (own)
        begin_mpi();
    if (pmap_create(&pool, .threads = threads, .dedicated_root = true) != PMAP_OK)
        return 3;
    if (pool)
        status = use(pool, argv[1]);
    pmap_destroy(pool);
    if (own)
        end_mpi();
    return status;
}
