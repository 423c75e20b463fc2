/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/registry.h"

#include "base/error.h"
#include "base/hash.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    pthread_mutex_t lock;
    struct pmap_task *first;
    const struct pmap_task *twice; /* a task whose id another file has registered before; NULL: there is none */
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t identify(const struct pmap_task *task)
{
    uint64_t numbers[] = {task->arguments, task->block, task->args_size, task->result_size};
    uint64_t h = pmap__hash(PMAP__HASH_BEGIN, task->name, strlen(task->name) + 1);
    h = pmap__hash(h, task->signature, strlen(task->signature) + 1);
    return pmap__hash(h, numbers, sizeof numbers);
}

static struct pmap_task *find(uint64_t id)
{
    struct pmap_task *task = registry.first;
    while (task && task->id != id)
        task = task->next;
    return task;
}

void pmap_task_register(struct pmap_task *task)
{
    uint64_t id = identify(task);

    pthread_mutex_lock(&registry.lock);
    /* A declaration in a header comes once from each file; one of them is enough, the others only need the id. */
    const struct pmap_task *before = find(id);
    if (before == NULL) {
        task->next = registry.first;
        registry.first = task;
    } else if (before->where && task->where && strcmp(before->where, task->where) != 0) {
        registry.twice = task;
    }
    task->id = id;
    pthread_mutex_unlock(&registry.lock);
}

const struct pmap_task *pmap__task_find(uint64_t id)
{
    pthread_mutex_lock(&registry.lock);
    const struct pmap_task *task = find(id);
    pthread_mutex_unlock(&registry.lock);
    return task;
}

enum pmap_status pmap__tasks_unique(struct pmap_error *error)
{
    pthread_mutex_lock(&registry.lock);
    const struct pmap_task *twice = registry.twice, *before = twice ? find(twice->id) : NULL;
    pthread_mutex_unlock(&registry.lock);
    if (before == NULL)
        return PMAP_OK;
    return pmap__error_set(error, PMAP_EINVAL,
                           "pmap_create: %s and %s both declare a task %s, %s: ranks know tasks by name, so one of them "
                           "needs another", before->where, twice->where, twice->name, twice->signature);
}

uint64_t pmap__tasks_fingerprint(void)
{
    uint64_t sum = 0;
    pthread_mutex_lock(&registry.lock);
    for (struct pmap_task *task = registry.first; task; task = task->next)
        sum += pmap__hash(PMAP__HASH_BEGIN, &task->id, sizeof task->id); /* a sum: the order does not matter */
    pthread_mutex_unlock(&registry.lock);
    return sum;
}

/* The table: for each task "name\0signature\0id in decimal\0". Text, so that other builds can read it. */
static size_t row(const struct pmap_task *task, char *at)
{
    char id[24];
    size_t name = strlen(task->name) + 1, signature = strlen(task->signature) + 1;
    size_t digits = (size_t)snprintf(id, sizeof id, "%" PRIu64, task->id) + 1;
    if (at) {
        memcpy(at, task->name, name);
        memcpy(at + name, task->signature, signature);
        memcpy(at + name + signature, id, digits);
    }
    return name + signature + digits;
}

enum pmap_status pmap__tasks_export(unsigned char **table, size_t *size)
{
    size_t need = 0;

    pthread_mutex_lock(&registry.lock);
    for (struct pmap_task *task = registry.first; task; task = task->next)
        need += row(task, NULL);
    char *bytes = malloc(need + 1);
    char *at = bytes;
    for (struct pmap_task *task = registry.first; task && bytes; task = task->next)
        at += row(task, at);
    pthread_mutex_unlock(&registry.lock);
    if (bytes == NULL)
        return PMAP_ENOMEM;
    *table = (unsigned char *)bytes;
    *size = need;
    return PMAP_OK;
}

/* The next string of a table, or NULL at its end or if it is cut. */
static const char *next_string(const char **at, const char *end)
{
    const char *string = *at;
    const char *zero = string < end ? memchr(string, '\0', (size_t)(end - string)) : NULL;
    if (zero == NULL)
        return NULL;
    *at = zero + 1;
    return string;
}

static const struct pmap_task *find_named(const char *name)
{
    const struct pmap_task *task = registry.first;
    while (task && strcmp(task->name, name) != 0)
        task = task->next;
    return task;
}

static bool listed(const unsigned char *table, size_t size, uint64_t id)
{
    const char *at = (const char *)table, *end = at + size, *number = NULL;
    while (next_string(&at, end) && next_string(&at, end) && (number = next_string(&at, end)))
        if (strtoull(number, NULL, 10) == id)
            return true;
    return false;
}

static enum pmap_status compare(const unsigned char *table, size_t size, int their, int mine, struct pmap_error *error)
{
    const char *at = (const char *)table, *end = at + size, *name, *signature, *number;

    while ((name = next_string(&at, end)) && (signature = next_string(&at, end)) && (number = next_string(&at, end))) {
        if (find(strtoull(number, NULL, 10)))
            continue;
        const struct pmap_task *other = find_named(name);
        if (other == NULL)
            return pmap__error_set(error, PMAP_EMISMATCH,
                                   "pmap_create: the ranks run different programs: task %s is declared on rank %d but not "
                                   "on rank %d", name, their, mine);
        if (strcmp(other->signature, signature) != 0)
            return pmap__error_set(error, PMAP_EMISMATCH,
                                   "pmap_create: the ranks run different programs: task %s is %s on rank %d but %s on "
                                   "rank %d", name, signature, their, other->signature, mine);
        return pmap__error_set(error, PMAP_EMISMATCH,
                               "pmap_create: the ranks run different programs: task %s, %s, has types of other sizes on "
                               "rank %d than on rank %d", name, signature, their, mine);
    }
    for (const struct pmap_task *task = registry.first; task; task = task->next)
        if (!listed(table, size, task->id))
            return pmap__error_set(error, PMAP_EMISMATCH,
                                   "pmap_create: the ranks run different programs: task %s is declared on rank %d but not "
                                   "on rank %d", task->name, mine, their);
    return PMAP_OK;
}

enum pmap_status pmap__tasks_compare(const unsigned char *table, size_t size, int their, int mine,
                                     struct pmap_error *error)
{
    pthread_mutex_lock(&registry.lock);
    enum pmap_status status = compare(table, size, their, mine, error);
    pthread_mutex_unlock(&registry.lock);
    return status;
}
