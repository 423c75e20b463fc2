/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "tools/run/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PLACES = 1 << 17 }; /* more than a rank has threads */
enum { FREE = 0, TAKEN = -1 }; /* what is in an entry but a process group */

static _Atomic pid_t *table; /* shared with the keeper and, between fork and exec, with commands */
static int line = -1;        /* the rank's end of the pipe */
static pid_t keeper = -1;

static void kill_all(void)
{
    for (size_t i = 0; i < PLACES; i++) {
        pid_t group = atomic_load(&table[i]);
        if (group > 0)
            kill(-group, SIGKILL);
    }
}

/* Until the rank has ended, as its end of the pipe tells; true: in good order. A launcher that is killed cannot tell its ranks, and these
 * notice late: then the keeper ends its rank, too. */
static bool await_end(int end, int launcher, pid_t rank)
{
    struct pollfd fds[] = {{.fd = end, .events = POLLIN}, {.fd = launcher, .events = POLLIN}};
    ssize_t n = -1;
    char byte;

    while (n < 0) {
        if (poll(fds, 2, -1) < 0)
            continue;
        if (fds[1].revents && fds[0].revents == 0) {
            kill(rank, SIGKILL);
            fds[1].fd = -1;
        }
        if (fds[0].revents)
            n = read(end, &byte, 1);
    }
    return n > 0;
}

/* A descriptor that can be read when the launcher has ended; -1: there is none. */
static int watch_launcher(void)
{
    bool launched = getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMIX_RANK") || getenv("PMI_RANK");
    return launched ? (int)syscall(SYS_pidfd_open, getppid(), 0) : -1;
}

/* What the rank or its launcher is told is nothing to the keeper, and it holds none of its files: a launcher waits for their end. */
static void keep(int end, int launcher, pid_t rank)
{
    sigset_t every;

    setsid();
    sigfillset(&every);
    sigprocmask(SIG_BLOCK, &every, NULL);
    for (int fd = 0; fd < 1024; fd++)
        if (fd != end && fd != launcher)
            close(fd);
    if (!await_end(end, launcher, rank))
        kill_all();
    _exit(0);
}

bool run_keeper_start(void)
{
    int ends[2], launcher = watch_launcher();
    pid_t rank = getpid();

    table = mmap(NULL, PLACES * sizeof *table, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (table == MAP_FAILED || pipe2(ends, O_CLOEXEC) < 0)
        return false;
    keeper = fork();
    if (keeper == 0)
        keep(ends[0], launcher, rank);
    close(ends[0]);
    if (launcher >= 0)
        close(launcher);
    line = ends[1];
    return keeper > 0;
}

void run_keeper_stop(void)
{
    char byte = 0;

    if (keeper <= 0)
        return;
    while (write(line, &byte, 1) < 0 && errno == EINTR)
        ;
    close(line);
    waitpid(keeper, NULL, 0);
    keeper = -1;
}

size_t run_keeper_take(void)
{
    static _Atomic size_t next; /* where to look first */
    pid_t expected;

    for (;;) {
        size_t place = atomic_fetch_add(&next, 1) % PLACES;
        expected = FREE;
        if (atomic_compare_exchange_strong(&table[place], &expected, TAKEN))
            return place;
    }
}

void run_keeper_enter(size_t place, pid_t pid)
{
    atomic_store(&table[place], pid);
}

void run_keeper_give(size_t place)
{
    atomic_store(&table[place], FREE);
}
