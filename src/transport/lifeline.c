/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Each rank connects to the root (reach.h); then nobody listens any more.
 *
 * A connection is a strand. Each end's thread alone reads it; it is written and closed under the lock, which is one for the
 * process, because whoever ends all ranks writes to all strands from whichever thread it is. What travels are single bytes.
 */
#include "transport/lifeline.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/signals.h"
#include "base/thread.h"
#include "transport/reach.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEARTBEAT_MIN 0.1
#define HEARTBEAT_MAX 86400.0
#define HEARTBEAT_DEFAULT 2.0
#define PATIENCE (200 * PMAP__MS) /* so long may nobody take the news: far longer than a loop naps, sooner than launchers kill */

/* The bytes. */
enum { BEAT = '.', BYE = 'B', END = 'E', REPORT = 'R' };

enum fate { ALIVE, ABSENT, LEFT, DIED, UNREACHABLE, TOLD };

struct strand {
    int fd;             /* -1: closed */
    struct pmap__hello hello; /* rank and host of the other end, */
    size_t got;         /* of which so much has come, */
    bool known;         /* and all is well */
    struct strand *next; /* of those that are not known yet */
};

struct pmap__lifeline {
    struct pmap__port *port;
    struct pmap__call call;
    int root, epoll, bell_fd; /* writing to bell_fd wakes the thread */
    int report_fd;            /* so does a SIGUSR2; only its address means anything */
    pthread_t thread;
    atomic_bool stop, complete; /* complete: nobody will connect any more */

    /* The thread's own, but for writing to strands and closing them. */
    int listener;            /* -1: closed */
    struct strand *guests;   /* connected, and not known yet */
    struct strand *strands;  /* at the root: of each rank; elsewhere: of the root */
    int n;
    uint64_t next_beat, heard, since; /* since: when the oldest news came that nobody has taken; 0: there are none */

    _Atomic unsigned char *fates; /* of each strand; the thread sets them, whoever takes news makes them TOLD */
    atomic_int news;
    _Atomic(struct pmap__bell *) bell;
    atomic_bool forbearing;
    struct pmap__lifeline *next; /* of the process's, under the lock */
};

static struct {
    pthread_mutex_t lock;
    struct pmap__lifeline *first;
    pthread_once_t once;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT};

static bool is_root(const struct pmap__lifeline *line)
{
    return line->port->rank == line->root;
}

static uint64_t interval(const struct pmap__lifeline *line)
{
    return line->call.heartbeat / 4 * PMAP__MS;
}

/* ---- Sockets ---- */

static void watch_fd(const struct pmap__lifeline *line, int fd, void *what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};
    epoll_ctl(line->epoll, EPOLL_CTL_ADD, fd, &event);
}

/* A child that was just forked may still have a copy, which would keep the descriptor in the set. */
static void unwatch_fd(const struct pmap__lifeline *line, int *fd)
{
    if (*fd >= 0)
        epoll_ctl(line->epoll, EPOLL_CTL_DEL, *fd, NULL);
    pmap__close_fd(fd);
}

/* Never waits: what does not fit is not sent, for then there is enough under way. */
static void say(int fd, char byte)
{
    if (fd >= 0)
        send(fd, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A byte is sent every quarter of the heartbeat, and given up when it is not acknowledged for so long; it is sent again after 0.2 s, and
 * then at intervals that double, so that a network that comes back within half of that time is in time. */
static void harden(int fd, uint32_t heartbeat)
{
    int on = 1, limit = (int)heartbeat;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit);
}

/* One descriptor for each rank, and what the program needs besides. */
static void raise_limit(int ranks)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)ranks + 1024;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* ---- The root is called ---- */

static void guest_remove(struct pmap__lifeline *line, struct strand *guest)
{
    struct strand **at = &line->guests;
    while (*at != guest)
        at = &(*at)->next;
    *at = guest->next;
    unwatch_fd(line, &guest->fd);
    free(guest);
}

static void stop_listening(struct pmap__lifeline *line)
{
    unwatch_fd(line, &line->listener);
    while (line->guests)
        guest_remove(line, line->guests);
}

static void accept_guest(struct pmap__lifeline *line)
{
    int fd = accept4(line->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct strand *guest = fd >= 0 ? calloc(1, sizeof *guest) : NULL;

    if (fd < 0 && (errno == EMFILE || errno == ENFILE))
        unwatch_fd(line, &line->listener); /* it would say so for ever; who comes now is refused */
    if (guest == NULL) {
        pmap__close_fd(&fd);
        return;
    }
    guest->fd = fd;
    guest->next = line->guests;
    line->guests = guest;
    watch_fd(line, fd, guest);
}

/* The guest is a rank: its connection is the rank's from now on. Whoever comes second with the same name is not answered. */
static void welcome(struct pmap__lifeline *line, struct strand *guest)
{
    const struct pmap__hello *h = &guest->hello;
    bool well = memcmp(h->token, line->call.token, PMAP__TOKEN) == 0 && h->rank >= 0 && h->rank < line->n &&
                !line->strands[h->rank].known;

    if (!well || send(guest->fd, line->call.answer, PMAP__TOKEN, MSG_NOSIGNAL) != PMAP__TOKEN) {
        guest_remove(line, guest);
        return;
    }
    struct strand *strand = &line->strands[h->rank];
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = strand};
    *strand = *guest;
    strand->known = true;
    strand->hello.host[PMAP__HOST - 1] = '\0';
    harden(strand->fd, line->call.heartbeat);
    epoll_ctl(line->epoll, EPOLL_CTL_MOD, strand->fd, &event);
    atomic_store(&line->fates[h->rank], ALIVE);
    guest->fd = -1;
    guest_remove(line, guest);
}

static void read_hello(struct pmap__lifeline *line, struct strand *guest)
{
    ssize_t n = recv(guest->fd, (char *)&guest->hello + guest->got, sizeof guest->hello - guest->got, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    guest->got += n > 0 ? (size_t)n : 0;
    if (n <= 0)
        guest_remove(line, guest);
    else if (guest->got == sizeof guest->hello)
        welcome(line, guest);
}

/* ---- Strands that end ---- */

/* Where ranks may die one by one this one does, by itself: perhaps the root lives, and has given it up. Who goes first then nobody
 * knows, so each says so. */
static void end_alone(const struct pmap__lifeline *line)
{
    char text[PMAP__HOST + 128];

    snprintf(text, sizeof text, "pmap: rank %d lost the connection to the root, rank %d on %s", line->port->rank, line->root,
             line->call.host);
    line->port->ops->abort(line->port, text);
}

/* Ranks that all say so would be no help: the first does. */
static void end_with_root(const struct pmap__lifeline *line, enum fate fate)
{
    int first = line->root == 0 ? 1 : 0;

    if (line->port->survives)
        end_alone(line);
    if (line->port->rank == first)
        pmap__warn("the root, rank %d on %s, %s; ending all ranks", line->root, line->call.host,
                   fate == DIED ? "died" : "cannot be reached any more");
    _exit(EXIT_FAILURE);
}

/* Under the lock. */
static void strand_ends(struct pmap__lifeline *line, struct strand *strand, enum fate fate)
{
    unwatch_fd(line, &strand->fd);
    if (!is_root(line) && fate != LEFT)
        end_with_root(line, fate);
    if (!is_root(line))
        return;
    atomic_store(&line->fates[strand->hello.rank], (unsigned char)fate);
    if (fate == LEFT && !atomic_load(&line->forbearing))
        return;
    if (line->since == 0)
        line->since = pmap__now();
    atomic_fetch_add(&line->news, 1);
    struct pmap__bell *bell = atomic_load(&line->bell);
    if (bell)
        pmap__bell_ring(bell);
}

static enum fate fate_of(ssize_t n)
{
    return n < 0 && (errno == ETIMEDOUT || errno == EHOSTUNREACH || errno == ENETUNREACH) ? UNREACHABLE : DIED;
}

/* True if the other end has printed a text and wants all ranks to end. Under the lock. */
static bool read_strand(struct pmap__lifeline *line, struct strand *strand)
{
    char bytes[64];
    ssize_t n = recv(strand->fd, bytes, sizeof bytes, MSG_DONTWAIT);

    line->heard = pmap__now();
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0)
        strand_ends(line, strand, fate_of(n));
    else if (memchr(bytes, END, (size_t)n))
        return true;
    else if (memchr(bytes, BYE, (size_t)n))
        strand_ends(line, strand, LEFT);
    else if (memchr(bytes, REPORT, (size_t)n) && is_root(line))
        pmap__signals_pass_report();
    return false;
}

/* ---- The thread ---- */

/* The root speaks; a rank does only when the root is silent, to see whether its host is there. */
static void beat(struct pmap__lifeline *line, uint64_t now)
{
    bool silent = !is_root(line) && now < line->heard + 3 * interval(line) / 2;

    for (int i = 0; i < line->n && !silent; i++)
        say(line->strands[i].fd, BEAT);
    line->next_beat = now + interval(line);
}

static int milliseconds_to_wait(const struct pmap__lifeline *line)
{
    uint64_t until = line->next_beat, now = pmap__now();
    if (line->since && !atomic_load(&line->forbearing) && line->since + PATIENCE < until)
        until = line->since + PATIENCE;
    return until > now ? (int)((until - now) / PMAP__MS) + 1 : 0;
}

/* True if all ranks shall end. Under the lock. */
static bool handle(struct pmap__lifeline *line, void *what)
{
    struct strand *strand = what;
    uint64_t count;

    if (what == &line->report_fd) {
        if (pmap__signals_take_report())
            say(line->strands[0].fd, REPORT);
        return false;
    }
    if (what != line && what != &line->listener && strand->known)
        return strand->fd >= 0 && read_strand(line, strand);
    if (what == &line->listener)
        accept_guest(line);
    else if (what != line)
        read_hello(line, strand);
    else if (read(line->bell_fd, &count, sizeof count) < 0)
        return false; /* somebody was faster: it is quiet already */
    return false;
}

/* Whoever should have taken the news is busy, or waits for the dead: this thread ends all ranks. */
static void check_patience(struct pmap__lifeline *line)
{
    char who[PMAP__OBITUARY_MAX], text[PMAP__OBITUARY_MAX + 8];

    if (line->since == 0)
        return;
    if (atomic_load(&line->news) == 0)
        line->since = 0;
    else if (!atomic_load(&line->forbearing) && pmap__now() >= line->since + PATIENCE && pmap__lifeline_next(line, who, NULL) >= 0) {
        snprintf(text, sizeof text, "pmap: %s", who);
        line->port->ops->abort(line->port, text);
    }
}

/* One round; true if all ranks shall end. */
static bool attend(struct pmap__lifeline *line)
{
    struct epoll_event events[16];
    int n = epoll_wait(line->epoll, events, 16, milliseconds_to_wait(line));
    bool end = false;

    pthread_mutex_lock(&all.lock);
    for (int i = 0; i < n && !end; i++)
        end = handle(line, events[i].data.ptr);
    if (line->listener >= 0 && atomic_load(&line->complete))
        stop_listening(line);
    if (pmap__now() >= line->next_beat)
        beat(line, pmap__now());
    pthread_mutex_unlock(&all.lock);
    return end;
}

static _Thread_local bool here;

bool pmap__lifeline_here(void)
{
    return here;
}

static void *line_main(void *argument)
{
    struct pmap__lifeline *line = argument;

    here = true;
    while (!atomic_load(&line->stop)) {
        if (attend(line)) {
            if (is_root(line))
                line->port->ops->abort(line->port, NULL);
            _exit(EXIT_FAILURE);
        }
        check_patience(line);
    }
    return NULL;
}

static void wake(const struct pmap__lifeline *line)
{
    uint64_t one = 1;
    ssize_t written = write(line->bell_fd, &one, sizeof one);
    (void)written; /* it is full only if it is rung already */
}

/* ---- Forks ----
 *
 * A child that a task forks has copies of our sockets, and would keep them open after our death. */

static void lock_all(void)
{
    pthread_mutex_lock(&all.lock);
}

static void unlock_all(void)
{
    pthread_mutex_unlock(&all.lock);
}

static void close_in_child(void)
{
    for (struct pmap__lifeline *line = all.first; line; line = line->next)
        for (int i = 0; i < line->n; i++)
            pmap__close_fd(&line->strands[i].fd);
    all.first = NULL;
    pthread_mutex_unlock(&all.lock);
}

static void register_fork(void)
{
    pthread_atfork(lock_all, unlock_all, close_in_child);
}

/* ---- Life ---- */

static void line_free(struct pmap__lifeline *line)
{
    if (line == NULL)
        return;
    pmap__close_fd(&line->listener);
    pmap__close_fd(&line->epoll);
    pmap__close_fd(&line->bell_fd);
    free(line->strands);
    free(line->fates);
    free(line);
}

static struct pmap__lifeline *line_create(struct pmap__port *port, int root, int n)
{
    struct pmap__lifeline *line = calloc(1, sizeof *line);

    if (line == NULL)
        return NULL;
    line->port = port;
    line->root = root;
    line->n = n;
    line->listener = -1;
    line->epoll = epoll_create1(EPOLL_CLOEXEC);
    line->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    line->strands = calloc((size_t)n, sizeof *line->strands);
    line->fates = calloc((size_t)n, sizeof *line->fates);
    if (line->epoll < 0 || line->bell_fd < 0 || line->strands == NULL || line->fates == NULL)
        goto fail;
    for (int i = 0; i < n; i++) {
        line->strands[i].fd = -1;
        atomic_init(&line->fates[i], ABSENT);
    }
    watch_fd(line, line->bell_fd, line);
    return line;
fail:
    line_free(line);
    return NULL;
}

static bool line_start(struct pmap__lifeline *line)
{
    line->heard = pmap__now();
    line->next_beat = line->heard + interval(line);
    pthread_once(&all.once, register_fork);
    pthread_mutex_lock(&all.lock);
    bool started = pmap__thread_start(&line->thread, line_main, line);
    if (started) {
        line->next = all.first;
        all.first = line;
        line->port->lifeline = line;
    }
    pthread_mutex_unlock(&all.lock);
    return started;
}

static enum pmap_status read_heartbeat(uint32_t *heartbeat, struct pmap_error *error)
{
    const char *text = getenv("PMAP_HEARTBEAT");
    char *end = NULL;
    double seconds = text ? strtod(text, &end) : HEARTBEAT_DEFAULT;
    bool sound = text == NULL || (end != text && *end == '\0');

    *heartbeat = 0;
    if (!sound || !(seconds == 0 || (seconds >= HEARTBEAT_MIN && seconds <= HEARTBEAT_MAX)))
        return pmap__error_set(error, PMAP_EINVAL, "pmap_create: PMAP_HEARTBEAT in the environment is \"%s\", not 0 or a number of "
                               "seconds from %g to %g", text, HEARTBEAT_MIN, HEARTBEAT_MAX);
    *heartbeat = (uint32_t)(seconds * 1000);
    return PMAP_OK;
}

/* A line that can be called, with its thread; NULL if something is short. */
static struct pmap__lifeline *line_of_root(struct pmap__port *port, struct pmap__call *call)
{
    struct pmap__lifeline *line = line_create(port, port->rank, port->size);

    if (line == NULL || getrandom(call->token, PMAP__TOKEN, 0) != PMAP__TOKEN || getrandom(call->answer, PMAP__TOKEN, 0) != PMAP__TOKEN)
        goto fail;
    line->listener = pmap__reach_listen(&call->port);
    if (line->listener < 0)
        goto fail;
    line->call = *call;
    watch_fd(line, line->listener, &line->listener);
    if (line_start(line))
        return line;
fail:
    line_free(line);
    return NULL;
}

/* Make the root ready to be called; *call is what it broadcasts, and says that there are no lifelines if that fails. */
static enum pmap_status prepare(struct pmap__port *port, struct pmap__call *call, struct pmap_error *error)
{
    enum pmap_status status = read_heartbeat(&call->heartbeat, error);

    if (status != PMAP_OK || call->heartbeat == 0)
        return status;
    raise_limit(port->size);
    pmap__reach_list(call);
    gethostname(call->host, sizeof call->host - 1);
    if (line_of_root(port, call))
        return PMAP_OK;
    call->heartbeat = 0;
    return pmap__error_set(error, PMAP_ENOMEM, "pmap_create: no memory, thread or socket to notice ranks that die");
}

/* 0, or the errno that says why this rank has no lifeline. */
static int call_root(struct pmap__port *port, int root, const struct pmap__call *call)
{
    struct pmap__hello hello = {.rank = port->rank, .pid = (int32_t)getpid()};
    struct pmap__lifeline *line = line_create(port, root, 1);
    int why = ENOMEM;

    if (line == NULL)
        return why;
    memcpy(hello.token, call->token, PMAP__TOKEN);
    gethostname(hello.host, sizeof hello.host - 1);
    line->call = *call;
    line->strands[0].fd = pmap__reach_root(call, &hello);
    if (line->strands[0].fd < 0) {
        why = errno;
        goto fail;
    }
    line->strands[0].known = true;
    harden(line->strands[0].fd, call->heartbeat);
    watch_fd(line, line->strands[0].fd, &line->strands[0]);
    if (pmap__signals_report_fd() >= 0)
        watch_fd(line, pmap__signals_report_fd(), &line->report_fd);
    if (line_start(line))
        return 0;
    pmap__close_fd(&line->strands[0].fd);
fail:
    line_free(line);
    return why;
}

/* The first of those that have none stands for all: mostly they fail for the same reason. */
static int count_missing(const struct pmap__port *port, const int why[])
{
    int missing = 0;

    for (int rank = 0; rank < port->size; rank++)
        if (why[rank] && missing++ == 0)
            pmap__warn("rank %d cannot reach the root by TCP (%s): if it dies only the launcher will notice", rank,
                       strerror(why[rank]));
    if (missing > 1)
        pmap__warn("nor can %d other ranks", missing - 1);
    return missing;
}

enum pmap_status pmap__lifeline_open(struct pmap__port *port, int root, int *missing, struct pmap_error *error)
{
    bool i_am_root = port->rank == root;
    struct pmap__call call = {0};
    int *whys = i_am_root ? calloc((size_t)port->size, sizeof *whys) : NULL, why = 0;
    enum pmap_status status = PMAP_OK;

    *missing = 0;
    if (i_am_root)
        status = whys ? prepare(port, &call, error)
                      : pmap__error_set(error, PMAP_ENOMEM, "pmap_create: no memory to notice ranks that die");
    if (port->ops->broadcast(port, root, &call, sizeof call) != PMAP_OK)
        goto broken;
    if (call.heartbeat && !i_am_root)
        why = call_root(port, root, &call);
    if (call.heartbeat && port->ops->gather(port, root, why, whys) != PMAP_OK)
        goto broken;
    if (call.heartbeat && i_am_root) {
        atomic_store(&port->lifeline->complete, true);
        wake(port->lifeline);
        *missing = count_missing(port, whys);
    }
    free(whys);
    return status;
broken:
    free(whys);
    return pmap__error_set(error, PMAP_EMPI, "pmap_create: the ranks could not reach each other");
}

void pmap__lifeline_watch(struct pmap__lifeline *line, struct pmap__bell *bell, bool forbearing)
{
    atomic_store(&line->forbearing, forbearing);
    atomic_store(&line->bell, bell);
    if (bell && pmap__lifeline_news(line))
        pmap__bell_ring(bell);
}

/* What has come and nobody has read would have the kernel answer with a reset, which may overtake the goodbye. */
static void say_goodbye(struct strand *strand)
{
    char bytes[256];

    say(strand->fd, BYE);
    while (strand->fd >= 0 && recv(strand->fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
    pmap__close_fd(&strand->fd);
}

void pmap__lifeline_close(struct pmap__lifeline *line)
{
    if (line == NULL)
        return;
    atomic_store(&line->stop, true);
    wake(line);
    pthread_join(line->thread, NULL);
    pthread_mutex_lock(&all.lock);
    stop_listening(line);
    for (int i = 0; i < line->n; i++)
        say_goodbye(&line->strands[i]);
    struct pmap__lifeline **at = &all.first;
    while (*at && *at != line)
        at = &(*at)->next;
    if (*at)
        *at = line->next;
    pthread_mutex_unlock(&all.lock);
    line->port->lifeline = NULL;
    line_free(line);
}

/* ---- News ---- */

bool pmap__lifeline_news(const struct pmap__lifeline *line)
{
    return atomic_load_explicit(&line->news, memory_order_acquire) > 0;
}

bool pmap__lifeline_is_gone(const struct pmap__lifeline *line, int rank)
{
    return rank != line->root && atomic_load_explicit(&line->fates[rank], memory_order_acquire) != ALIVE;
}

bool pmap__lifeline_is_dead(const struct pmap__lifeline *line, int rank)
{
    unsigned char fate = atomic_load_explicit(&line->fates[rank], memory_order_acquire);
    return rank != line->root && (fate == DIED || fate == UNREACHABLE || fate == TOLD);
}

bool pmap__lifeline_where(const struct pmap__lifeline *line, int rank, char host[static 64], int *pid)
{
    if (rank == line->root || atomic_load_explicit(&line->fates[rank], memory_order_acquire) == ABSENT)
        return false;
    snprintf(host, PMAP__HOST, "%s", line->strands[rank].hello.host);
    *pid = line->strands[rank].hello.pid;
    return true;
}

int pmap__lifeline_next(struct pmap__lifeline *line, char text[static PMAP__OBITUARY_MAX], uint64_t *alive)
{
    for (int rank = 0; rank < line->n && pmap__lifeline_news(line); rank++) {
        unsigned char fate = atomic_load(&line->fates[rank]);
        if (fate != DIED && fate != UNREACHABLE && (fate != LEFT || !atomic_load(&line->forbearing)))
            continue;
        if (!atomic_compare_exchange_strong(&line->fates[rank], &fate, TOLD))
            continue; /* somebody else is telling */
        atomic_fetch_sub(&line->news, 1);
        if (alive)
            *alive = pmap__now() - (fate == UNREACHABLE ? line->call.heartbeat * PMAP__MS : 0);
        snprintf(text, PMAP__OBITUARY_MAX, "rank %d on %s %s", rank, line->strands[rank].hello.host,
                 fate == DIED ? "died" : fate == LEFT ? "exited" : "cannot be reached any more");
        return rank;
    }
    return -1;
}

void pmap__lifelines_end_all(void)
{
    struct timespec soon = pmap__date_in(PMAP__S);

    if (pthread_mutex_timedlock(&all.lock, &soon) != 0)
        return;
    for (struct pmap__lifeline *line = all.first; line; line = line->next)
        for (int i = 0; i < line->n; i++)
            say(line->strands[i].fd, END);
    pthread_mutex_unlock(&all.lock);
}
