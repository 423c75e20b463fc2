/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Starting threads on which tasks may run.
 */
#ifndef PMAP_BASE_THREAD_H
#define PMAP_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* Where the stack is unlimited, as many sites set it, a thread would get 2 MiB while main has all memory: then the
 * default of this process becomes this, of addresses; memory is used as it is touched. (It holds for the threads that
 * OpenMP starts, too, unless OMP_STACKSIZE says otherwise.) */
#define PMAP__STACK ((size_t)64 << 20)

/* Like pthread_create. False if there is no thread to be had. */
bool pmap__thread_start(pthread_t *thread, void *(*main)(void *argument), void *argument);

#endif
