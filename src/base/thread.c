/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "base/thread.h"

#include <sys/resource.h>

static bool unlimited_stack(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY;
}

static void raise_default_stack(void)
{
    pthread_attr_t attributes;
    size_t size = 0;

    if (pthread_getattr_default_np(&attributes) != 0)
        return;
    pthread_attr_getstacksize(&attributes, &size);
    if (size < PMAP__STACK && pthread_attr_setstacksize(&attributes, PMAP__STACK) == 0)
        pthread_setattr_default_np(&attributes);
    pthread_attr_destroy(&attributes);
}

bool pmap__thread_start(pthread_t *thread, void *(*main)(void *argument), void *argument)
{
    if (unlimited_stack())
        raise_default_stack();
    return pthread_create(thread, NULL, main, argument) == 0;
}
