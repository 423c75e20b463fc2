/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap-rank PROGRAM [ARGUMENT...]: run one rank of a pool that survives the death of ranks, under mpirun. See its manual.
 *
 * Mpirun bears no process that dies by a signal, whatever it is told. So the rank is a child of the process that mpirun starts,
 * and its death by a signal becomes an exit status, which mpirun can be told to bear. But then mpirun also bears, and hides, a
 * program that fails: for that, which is a rank that exits with another status than 0, or a root that dies in any way, this process
 * has mpirun end the job. And a rank that dies before there is a pool that could survive it, in MPI_Init for one, is waited for by all
 * others: then, too. So the rank says by a signal what it is from now on: IS_ROOT, or MAY_DIE.
 *
 * A rank that has left PMIx does not see mpirun die. This process does, by a signal that the kernel sends, ORPHANED, and kills the rank.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define IS_ROOT (SIGRTMIN) /* src/transport/mpi_leave.c sends it */
#define ORPHANED (SIGRTMIN + 1)
#define MAY_DIE (SIGRTMIN + 2) /* likewise */

static volatile sig_atomic_t child, may_die, launcher; /* pids, and a flag */

/* What launchers and users send to a rank. */
static const int passed_on[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCONT, SIGALRM};

static void pass_on(int signal)
{
    if (child > 0)
        kill((pid_t)child, signal);
}

static void note_part(int signal)
{
    may_die = signal == MAY_DIE;
}

/* Is the launcher dead? The signal alone does not say so: it also comes when only the thread ends that started this process. */
static int is_orphan(void)
{
    return getppid() != (pid_t)launcher;
}

static void end_orphan(int signal)
{
    (void)signal;
    if (is_orphan() && child > 0)
        kill((pid_t)child, SIGKILL);
}

static void watch_signals(void)
{
    struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART};

    for (size_t i = 0; i < sizeof passed_on / sizeof *passed_on; i++)
        sigaction(passed_on[i], &action, NULL);
    action.sa_handler = note_part;
    sigaction(IS_ROOT, &action, NULL);
    sigaction(MAY_DIE, &action, NULL);
    action.sa_handler = end_orphan;
    sigaction(ORPHANED, &action, NULL);
}

/* Whoever runs this from a shell may log out. */
static int is_launched(void)
{
    return getenv("OMPI_COMM_WORLD_SIZE") != NULL;
}

/* The rank, which does not outlive this process: SIGKILL cannot be passed on. */
static void become(char *argv[], pid_t parent, const sigset_t *mask)
{
    char name[32];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_FAILURE);
    snprintf(name, sizeof name, "%ld", (long)parent);
    setenv("PMAP_RANK", name, 1);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(argv[0], argv);
    fprintf(stderr, "pmap-rank: %s: %s\n", argv[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

/* Mpirun, or its daemon on this node: either ends the whole job, and mpirun's status is not 0 then. */
static void end_job(void)
{
    if (!is_orphan() && launcher > 1 && is_launched())
        kill((pid_t)launcher, SIGTERM);
}

int main(int argc, char *argv[])
{
    sigset_t every, before;
    pid_t parent = getpid();
    int status = 0;

    launcher = (sig_atomic_t)getppid();
    if (argc < 2 || argv[1][0] == '-') {
        fprintf(stderr, "usage: mpirun --mca orte_abort_on_non_zero_status 0 ... pmap-rank PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    sigfillset(&every);
    sigprocmask(SIG_BLOCK, &every, &before); /* what comes while there is no child yet waits */
    if (is_launched())
        prctl(PR_SET_PDEATHSIG, ORPHANED);
    if (is_orphan())
        return EXIT_FAILURE;
    pid_t pid = fork();
    if (pid < 0) {
        fprintf(stderr, "pmap-rank: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    if (pid == 0)
        become(argv + 1, parent, &before);
    child = (sig_atomic_t)pid;
    watch_signals();
    sigprocmask(SIG_SETMASK, &before, NULL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (may_die ? WIFEXITED(status) && WEXITSTATUS(status) != 0 : status != 0)
        end_job();
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
