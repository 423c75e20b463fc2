/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Starting a thread of the library's own inside somebody else's program.
 */
#ifndef PMAP_BASE_THREAD_H
#define PMAP_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* Like pthread_create, but the thread takes none of the program's signals: its handlers run on its own threads, and an
 * alarm or a SIGCHLD interrupts none of ours. (Faults like SIGSEGV stay where they happen.) It has the stack that the
 * main thread has, for tasks may run on it: where that is unlimited, as many sites set it, a thread's default would be
 * 2 MiB, so it gets PMAP__STACK. False if there is no thread to be had. */
bool pmap__thread_start(pthread_t *thread, void *(*main)(void *argument), void *argument);

#define PMAP__STACK ((size_t)64 << 20) /* of addresses; memory is used as it is touched */

#endif
