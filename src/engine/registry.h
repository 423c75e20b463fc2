/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The tasks, and the operations of reductions, that this process knows. PMAP_TASK and PMAP_OP register them before main; a loaded library may add some later;
 * nothing is ever removed. Ranks name a task by its id, a hash of its name, its types and its sizes, so that it does
 * not matter in which order a process registered them.
 *
 * The list is the one piece of global state that every pool shares; a mutex guards it.
 */
#ifndef PMAP_ENGINE_REGISTRY_H
#define PMAP_ENGINE_REGISTRY_H

#include <pmap.h>

/* Do two files of this program declare different tasks, or operations, with one name and the same types? Ranks could not tell them apart:
 * PMAP_EINVAL, with a text that names both files; else PMAP_OK. */
enum pmap_status pmap__tasks_unique(struct pmap_error *error);

/* Around a fork: the new process, which releases it as well, can look things up then, whatever other threads did. */
void pmap__registry_hold(void);
void pmap__registry_release(void);

/* NULL if this process has no such task. Any thread. */
const struct pmap_task *pmap__task_find(uint64_t id);

/* Likewise an operation. */
const struct pmap_op *pmap__op_find(uint64_t id);

/* The same number on two ranks if they know the same tasks, and hardly ever if not. */
uint64_t pmap__tasks_fingerprint(void);

/* All tasks as a table for another rank: malloc'ed into *table, *size bytes. PMAP_OK or PMAP_ENOMEM. */
enum pmap_status pmap__tasks_export(unsigned char **table, size_t *size);

/* Compare the table of rank "their" with the tasks of this process, rank "mine": PMAP_OK if they are the same, else
 * PMAP_EMISMATCH and a text that names the first task that differs and how. */
enum pmap_status pmap__tasks_compare(const unsigned char *table, size_t size, int their, int mine,
                                     struct pmap_error *error);

#endif
