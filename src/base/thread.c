/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "base/thread.h"

#include <signal.h>
#include <sys/resource.h>

static void block_signals(sigset_t *before)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGPROF};
    sigset_t set;

    sigfillset(&set);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&set, faults[i]);
    pthread_sigmask(SIG_BLOCK, &set, before);
}

static bool unlimited_stack(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY;
}

bool pmap__thread_start(pthread_t *thread, void *(*main)(void *argument), void *argument)
{
    pthread_attr_t attributes;
    sigset_t before;

    if (pthread_attr_init(&attributes) != 0)
        return false;
    if (unlimited_stack())
        pthread_attr_setstacksize(&attributes, PMAP__STACK);
    block_signals(&before);
    bool started = pthread_create(thread, &attributes, main, argument) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return started;
}
