/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "cell/zygote.h"

#include "cell/wake.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct pmap__zygote {
    int file;
    void (*live)(int file, uint64_t cell);
    void (*prepare)(void), (*resume)(void);
    sigset_t mask; /* of the thread that made it: the children's */
    atomic_int holders;
    atomic_uint_fast64_t cells; /* numbers given away */
    pthread_mutex_t lock; /* of these: */
    int socket;       /* our end; -1: there was no zygote yet */
    unsigned number;
};

struct request {
    uint64_t cell;
    int pid, sig; /* 0: a child is wanted */
};

/* ---- In the zygote ----
 *
 * It has one thread, and all that it knows is here. */

struct child {
    pid_t pid;
    uint64_t cell;
    struct pmap__window window;
};

static struct {
    const struct pmap__zygote *self;
    int socket;
    pid_t pid;
    struct sigaction on_child; /* what the program does at SIGCHLD; its children's */
    struct child *children;
    size_t n, room;
} here;

static struct pmap__block *block_of(const struct child *child)
{
    return (struct pmap__block *)child->window.bytes;
}

static void tell_owner(struct pmap__block *block)
{
    atomic_store(&block->state, PMAP__GONE);
    pmap__wake(&block->state);
}

/* Signals that a child does not die of, for they come from people and batch systems who mean the whole program. */
static const int deaf_to[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
enum { DEAF = sizeof deaf_to / sizeof *deaf_to };

static struct pmap__block *own_block; /* in a child */

static void on_signal(int sig)
{
    if (sig != SIGTERM || atomic_load(&own_block->condemned) != atomic_load(&own_block->item))
        return;
    signal(SIGTERM, SIG_DFL);
    raise(SIGTERM); /* comes when this handler has returned */
}

static void listen_to_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigset_t set;

    sigemptyset(&action.sa_mask);
    for (int i = 0; i < DEAF; i++)
        sigaction(deaf_to[i], &action, NULL);
    sigaction(SIGCHLD, &here.on_child, NULL);
    sigprocmask(SIG_SETMASK, &here.self->mask, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* Memory is for the ranks rather than for an item: if the kernel has to end somebody, then us. */
static void be_first_to_go(void)
{
    int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (file < 0)
        return;
    if (write(file, "500", 3) < 0) { /* it was higher already, and we may not lower it */
    }
    close(file);
}

static void become_child(uint64_t cell)
{
    static struct pmap__window window;
    int null = open("/dev/null", O_RDONLY);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != here.pid)
        _exit(1); /* too late to hear of the zygote's death */
    prctl(PR_SET_NAME, "pmap-cell");
    setpgid(0, 0);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        if (null != STDIN_FILENO)
            close(null);
    }
    close(here.socket);
    be_first_to_go();
    window = (struct pmap__window){.file = here.self->file, .at = pmap__range_of(cell, PMAP__RANGE_BLOCK)};
    if (!pmap__window_see(&window, sizeof(struct pmap__block)))
        _exit(1);
    own_block = (struct pmap__block *)(void *)window.bytes;
    atomic_store(&own_block->pid, (int)getpid());
    listen_to_signals();
    here.self->live(here.self->file, cell);
    _exit(0);
}

static bool make_room(void)
{
    size_t room = here.room ? 2 * here.room : 16;

    if (here.n < here.room)
        return true;
    struct child *more = realloc(here.children, room * sizeof *more);
    if (more == NULL)
        return false;
    here.children = more;
    here.room = room;
    return true;
}

static void end_zygote(void)
{
    for (size_t i = 0; i < here.n; i++) {
        kill(-here.children[i].pid, SIGKILL);
        kill(here.children[i].pid, SIGKILL);
    }
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
    _exit(0);
}

static void add_child(uint64_t cell)
{
    struct child child = {.cell = cell, .window = {.file = here.self->file, .at = pmap__range_of(cell, PMAP__RANGE_BLOCK)}};

    if (!make_room() || !pmap__window_see(&child.window, sizeof(struct pmap__block)))
        end_zygote(); /* we are of no use, and the owner sees so by our end */
    struct pmap__block *block = block_of(&child);
    child.pid = fork();
    if (child.pid == 0)
        become_child(cell);
    if (child.pid > 0) {
        setpgid(child.pid, child.pid); /* whichever comes first, the child or we */
        here.children[here.n++] = child;
        return;
    }
    atomic_store(&block->failed, errno);
    tell_owner(block);
    pmap__window_close(&child.window);
}

static void signal_child(const struct request *request)
{
    for (size_t i = 0; i < here.n; i++)
        if (here.children[i].cell == request->cell && (request->pid == 0 || here.children[i].pid == request->pid))
            kill(here.children[i].pid, request->sig);
}

/* Bury a dead child. What it has started goes with it, unless it left in order. */
static void bury(size_t i, int status)
{
    struct child child = here.children[i];
    struct pmap__block *block = block_of(&child);

    here.children[i] = here.children[--here.n];
    atomic_store(&block->ended, status);
    tell_owner(block);
    pmap__window_close(&child.window);
}

static void reap(void)
{
    siginfo_t info = {0};

    /* Look first: as long as it is not buried its group is no one else's. */
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid) {
        int status = 0;
        size_t i = 0;
        while (i < here.n && here.children[i].pid != info.si_pid)
            i++;
        if (i < here.n && atomic_load(&block_of(&here.children[i])->state) != PMAP__LEAVING)
            kill(-info.si_pid, SIGKILL);
        waitpid(info.si_pid, &status, 0);
        if (i < here.n)
            bury(i, status);
        info = (siginfo_t){0};
    }
}

/* A request, or the end: nobody has the other end of the socket any more. */
static void read_request(void)
{
    struct request request;
    ssize_t size = recv(here.socket, &request, sizeof request, 0);

    if (size == (ssize_t)sizeof request && request.sig)
        signal_child(&request);
    else if (size == (ssize_t)sizeof request)
        add_child(request.cell);
    else if (size >= 0 || errno != EINTR)
        end_zygote();
}

static void nothing(int sig)
{
    (void)sig;
}

/* Deaf to what is meant for the program; SIGCHLD comes only while we wait. waiting: the mask for that. */
static void prepare_signals(sigset_t *waiting)
{
    sigset_t children;

    for (int i = 0; i < DEAF; i++)
        signal(deaf_to[i], SIG_IGN);
    sigaction(SIGCHLD, &(struct sigaction){.sa_handler = nothing}, &here.on_child);
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_SETMASK, &children, NULL);
    sigemptyset(waiting);
}

/* The owner's death, even if a process that it has forked still holds the socket; -1 where the kernel cannot tell. */
static int watch_owner(pid_t owner)
{
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, owner, 0);
#else
    (void)owner;
    return -1;
#endif
}

/* The other end of a pipe or socket of the program's would never see its end if we kept ours. Files may be what items read. */
static void close_channels(int socket)
{
    DIR *all = opendir("/proc/self/fd");
    struct dirent *entry;
    struct stat what;

    while (all && (entry = readdir(all)) != NULL) {
        int fd = atoi(entry->d_name); /* "." and ".." are 0 */
        if (fd > STDERR_FILENO && fd != socket && fstat(fd, &what) == 0 && (S_ISFIFO(what.st_mode) || S_ISSOCK(what.st_mode)))
            close(fd);
    }
    if (all)
        closedir(all);
}

static void be_zygote(const struct pmap__zygote *zygote, int socket, pid_t owner)
{
    struct pollfd fds[] = {{.fd = socket, .events = POLLIN}, {.fd = watch_owner(owner), .events = POLLIN}};
    sigset_t waiting;

    memset(&here, 0, sizeof here);
    here.self = zygote;
    here.socket = socket;
    here.pid = getpid();
    prctl(PR_SET_NAME, "pmap-zygote");
    close_channels(socket);
    prepare_signals(&waiting);
    if (send(socket, "", 1, MSG_NOSIGNAL) != 1)
        _exit(1);
    for (;;) {
        int n = ppoll(fds, 2, NULL, &waiting);
        reap();
        if (n > 0 && fds[1].revents)
            end_zygote();
        if (n > 0 && fds[0].revents)
            read_request();
    }
}

/* ---- In the owner ---- */

/* The helper between us and the zygote ends at once. A handler of the program's may have waited for it before us. */
static bool fork_twice(struct pmap__zygote *zygote, const int ends[2])
{
    pid_t owner = getpid(), helper;

    fflush(NULL);
    if (zygote->prepare)
        zygote->prepare();
    helper = fork();
    if (helper == 0) {
        if (fork() != 0)
            _exit(0);
        if (zygote->resume)
            zygote->resume();
        close(ends[0]);
        be_zygote(zygote, ends[1], owner);
    }
    if (zygote->resume)
        zygote->resume();
    while (helper > 0 && waitpid(helper, NULL, 0) < 0 && errno == EINTR)
        ;
    return helper > 0;
}

/* Under the lock, or before anybody knows it. */
static bool start(struct pmap__zygote *zygote)
{
    int ends[2];
    char hello;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return false;
    bool forked = fork_twice(zygote, ends);
    int why = errno;
    close(ends[1]);
    ssize_t size = -1;
    while (forked && (size = recv(ends[0], &hello, 1, 0)) < 0 && errno == EINTR)
        ;
    if (size != 1) {
        close(ends[0]);
        errno = forked ? EAGAIN : why;
        return false;
    }
    if (zygote->socket >= 0)
        close(zygote->socket);
    zygote->socket = ends[0];
    zygote->number++;
    return true;
}

struct pmap__zygote *pmap__zygote_create(void (*live)(int file, uint64_t cell), void (*prepare)(void), void (*resume)(void))
{
    struct pmap__zygote *z = calloc(1, sizeof *z);

    if (z == NULL)
        return NULL;
    *z = (struct pmap__zygote){.file = pmap__window_file(), .live = live, .prepare = prepare, .resume = resume, .socket = -1};
    atomic_init(&z->holders, 1);
    pthread_mutex_init(&z->lock, NULL); /* glibc's cannot fail */
    pthread_sigmask(SIG_SETMASK, NULL, &z->mask);
    if (z->file >= 0 && start(z))
        return z;
    int why = errno;
    pmap__zygote_release(z);
    errno = why;
    return NULL;
}

void pmap__zygote_hold(struct pmap__zygote *zygote)
{
    atomic_fetch_add(&zygote->holders, 1);
}

void pmap__zygote_release(struct pmap__zygote *zygote)
{
    char byte;

    if (zygote == NULL || atomic_fetch_sub(&zygote->holders, 1) > 1)
        return;
    if (zygote->socket >= 0) {
        shutdown(zygote->socket, SHUT_WR);
        while (recv(zygote->socket, &byte, 1, 0) < 0 && errno == EINTR) /* its end: it is over */
            ;
        close(zygote->socket);
    }
    if (zygote->file >= 0)
        close(zygote->file);
    pthread_mutex_destroy(&zygote->lock);
    free(zygote);
}

int pmap__zygote_file(const struct pmap__zygote *zygote)
{
    return zygote->file;
}

uint64_t pmap__zygote_number(struct pmap__zygote *zygote)
{
    return atomic_fetch_add(&zygote->cells, 1);
}

static bool ask(struct pmap__zygote *zygote, const struct request *request)
{
    ssize_t size;

    pthread_mutex_lock(&zygote->lock);
    do
        size = send(zygote->socket, request, sizeof *request, MSG_NOSIGNAL);
    while (size < 0 && errno == EINTR);
    pthread_mutex_unlock(&zygote->lock);
    return size == (ssize_t)sizeof *request;
}

bool pmap__zygote_fork(struct pmap__zygote *zygote, uint64_t cell)
{
    return ask(zygote, &(struct request){.cell = cell});
}

bool pmap__zygote_kill(struct pmap__zygote *zygote, uint64_t cell, int pid, int sig)
{
    return ask(zygote, &(struct request){.cell = cell, .pid = pid, .sig = sig});
}

/* It never says a thing after its hello, so whatever can be read is the end. Under the lock. */
static unsigned lives(const struct pmap__zygote *zygote)
{
    struct pollfd fd = {.fd = zygote->socket, .events = POLLIN};
    int n;

    do
        n = poll(&fd, 1, 0);
    while (n < 0 && errno == EINTR); /* a signal that waits to be delivered is enough for that */
    return n == 0 ? zygote->number : 0;
}

unsigned pmap__zygote_lives(struct pmap__zygote *zygote)
{
    pthread_mutex_lock(&zygote->lock);
    unsigned number = lives(zygote);
    pthread_mutex_unlock(&zygote->lock);
    return number;
}

unsigned pmap__zygote_revive(struct pmap__zygote *zygote)
{
    pthread_mutex_lock(&zygote->lock);
    unsigned number = lives(zygote);
    if (number == 0 && start(zygote))
        number = zygote->number;
    pthread_mutex_unlock(&zygote->lock);
    return number;
}
