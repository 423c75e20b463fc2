/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "base/signals.h"

#include "base/bell.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

static const struct {
    int number;
    const char *name;
} caught[] = {{SIGINT, "SIGINT"}, {SIGTERM, "SIGTERM"}, {SIGUSR1, "SIGUSR1"}, {SIGUSR2, "SIGUSR2"}};

#define CAUGHT (sizeof caught / sizeof *caught)

static struct {
    pthread_mutex_t lock;
    int holders;                 /* these two are under the lock */
    bool installed[CAUGHT];
    atomic_int process;          /* whose handlers they are: a forked child has copies */
    atomic_int came;             /* the handler sets these two, once */
    atomic_uint_fast64_t since;  /* when that was; 0: not yet */
    pthread_once_t once;
    atomic_uint reports, passed; /* SIGUSR2 that came to this process, and to other ranks */
    int report_fd;               /* an eventfd, made once, never closed */
    sem_t rings;                 /* made once, never taken down: a handler may ring at any time */
} signals = {.lock = PTHREAD_MUTEX_INITIALIZER, .once = PTHREAD_ONCE_INIT};

static void prepare(void)
{
    sem_init(&signals.rings, 0, 0); /* cannot fail: 0 is a value that fits */
    signals.report_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

void pmap__signals_prepare(void)
{
    pthread_once(&signals.once, prepare);
}

/* ---- In the handler: async-signal-safe ---- */

/* As if there were no handler. */
static void die_of(int signal)
{
    struct sigaction none = {.sa_handler = SIG_DFL};
    sigset_t blocked;

    sigaction(signal, &none, NULL);
    raise(signal);
    sigemptyset(&blocked);
    sigaddset(&blocked, signal);
    pthread_sigmask(SIG_UNBLOCK, &blocked, NULL);
    _exit(128 + signal); /* process 1 of a container does not die of a signal that it does not catch */
}

static void note_report(void)
{
    uint64_t one = 1;

    atomic_fetch_add(&signals.reports, 1);
    if (write(signals.report_fd, &one, sizeof one) < 0) { /* it is full of them, or there is none */
    }
    sem_post(&signals.rings);
}

static void note(int signal)
{
    int saved = errno;
    uint64_t now = pmap__now();
    uint_fast64_t since = 0;

    if (atomic_load(&signals.process) != getpid())
        die_of(signal);
    if (signal == SIGUSR2) {
        note_report();
    } else if (atomic_compare_exchange_strong(&signals.since, &since, now)) {
        atomic_store(&signals.came, signal);
        sem_post(&signals.rings);
    } else if (pmap__signal_is_another(now, since)) {
        die_of(signal);
    }
    errno = saved;
}

int pmap__signals_came(void)
{
    return atomic_load(&signals.came);
}

void pmap__signals_ring(void)
{
    int saved = errno;
    sem_post(&signals.rings);
    errno = saved;
}

/* ---- For everybody ---- */

unsigned pmap__signals_reports(void)
{
    return atomic_load(&signals.reports);
}

unsigned pmap__signals_passed_reports(void)
{
    return atomic_load(&signals.passed);
}

void pmap__signals_pass_report(void)
{
    atomic_fetch_add(&signals.passed, 1);
    pmap__signals_ring();
}

int pmap__signals_report_fd(void)
{
    pmap__signals_prepare();
    return signals.report_fd;
}

bool pmap__signals_take_report(void)
{
    uint64_t count;
    return read(signals.report_fd, &count, sizeof count) == (ssize_t)sizeof count;
}

const char *pmap__signal_name(int signal)
{
    for (size_t i = 0; i < CAUGHT; i++)
        if (caught[i].number == signal)
            return caught[i].name;
    return "a signal";
}

void pmap__signals_wait(uint64_t timeout)
{
    if (timeout == PMAP__FOR_EVER) {
        sem_wait(&signals.rings); /* interrupted by a signal it returns early, and that does no harm */
        return;
    }
    uint64_t until = pmap__now() + timeout;
    struct timespec deadline = {.tv_sec = (time_t)(until / PMAP__S), .tv_nsec = (long)(until % PMAP__S)};
    sem_clockwait(&signals.rings, CLOCK_MONOTONIC, &deadline);
}

/* Under the lock, as the next. */
static void install(void)
{
    struct sigaction ours = {.sa_handler = note, .sa_flags = SA_RESTART}, before;

    sigemptyset(&ours.sa_mask);
    for (size_t i = 0; i < CAUGHT; i++) {
        bool is_default = sigaction(caught[i].number, NULL, &before) == 0 && !(before.sa_flags & SA_SIGINFO) &&
                          before.sa_handler == SIG_DFL;
        signals.installed[i] = is_default && sigaction(caught[i].number, &ours, NULL) == 0;
    }
}

/* Only if the program has not put a handler of its own there since. */
static void restore(void)
{
    struct sigaction none = {.sa_handler = SIG_DFL}, now;

    for (size_t i = 0; i < CAUGHT; i++)
        if (signals.installed[i] && sigaction(caught[i].number, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) &&
            now.sa_handler == note)
            sigaction(caught[i].number, &none, NULL);
}

void pmap__signals_hold(void)
{
    pmap__signals_prepare();
    pthread_mutex_lock(&signals.lock);
    atomic_store(&signals.process, getpid());
    if (signals.holders++ == 0)
        install();
    pthread_mutex_unlock(&signals.lock);
}

void pmap__signals_release(void)
{
    pthread_mutex_lock(&signals.lock);
    if (--signals.holders == 0)
        restore();
    pthread_mutex_unlock(&signals.lock);
}
