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
    struct pmap_op *first_op;
    const struct pmap_task *twice; /* a task whose id another file has registered before; NULL: there is none */
    const struct pmap_op *op_twice; /* likewise an operation */
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t identify(const struct pmap_task *task)
{
    uint64_t numbers[] = {task->arguments, task->block, task->bytes, task->args_size, task->result_size};
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

void pmap__registry_hold(void)
{
    pthread_mutex_lock(&registry.lock);
}

void pmap__registry_release(void)
{
    pthread_mutex_unlock(&registry.lock);
}

const struct pmap_task *pmap__task_find(uint64_t id)
{
    pthread_mutex_lock(&registry.lock);
    const struct pmap_task *task = find(id);
    pthread_mutex_unlock(&registry.lock);
    return task;
}

static struct pmap_op *find_op(uint64_t id)
{
    struct pmap_op *op = registry.first_op;
    while (op && op->id != id)
        op = op->next;
    return op;
}

void pmap_op_register(struct pmap_op *op)
{
    uint64_t size = op->size;
    uint64_t id = pmap__hash(PMAP__HASH_BEGIN, op->name, strlen(op->name) + 1);

    id = pmap__hash(id, op->type, strlen(op->type) + 1);
    id = pmap__hash(id, &size, sizeof size);
    pthread_mutex_lock(&registry.lock);
    const struct pmap_op *before = find_op(id);
    if (before == NULL) {
        op->next = registry.first_op;
        registry.first_op = op;
    } else if (before->where && op->where && strcmp(before->where, op->where) != 0) {
        registry.op_twice = op;
    }
    op->id = id;
    pthread_mutex_unlock(&registry.lock);
}

const struct pmap_op *pmap__op_find(uint64_t id)
{
    pthread_mutex_lock(&registry.lock);
    const struct pmap_op *op = find_op(id);
    pthread_mutex_unlock(&registry.lock);
    return op;
}

static enum pmap_status twice(const char *kind, const char *name, const char *signature, const char *here, const char *there,
                              struct pmap_error *error)
{
    return pmap__error_set(error, PMAP_EINVAL,
                           "pmap_create: %s and %s both declare %s %s, %s: ranks know tasks and operations by name, so one of "
                           "them needs another", there, here, kind, name, signature);
}

enum pmap_status pmap__tasks_unique(struct pmap_error *error)
{
    pthread_mutex_lock(&registry.lock);
    const struct pmap_task *task = registry.twice, *task_before = task ? find(task->id) : NULL;
    const struct pmap_op *op = registry.op_twice, *op_before = op ? find_op(op->id) : NULL;
    pthread_mutex_unlock(&registry.lock);
    if (task_before)
        return twice("a task", task->name, task->signature, task->where, task_before->where, error);
    if (op_before)
        return twice("an operation", op->name, op->type, op->where, op_before->where, error);
    return PMAP_OK;
}

uint64_t pmap__tasks_fingerprint(void)
{
    uint64_t sum = 0;
    pthread_mutex_lock(&registry.lock);
    for (struct pmap_task *task = registry.first; task; task = task->next)
        sum += pmap__hash(PMAP__HASH_BEGIN, &task->id, sizeof task->id); /* a sum: the order does not matter */
    for (struct pmap_op *op = registry.first_op; op; op = op->next)
        sum += pmap__hash(PMAP__HASH_BEGIN, &op->id, sizeof op->id);
    pthread_mutex_unlock(&registry.lock);
    return sum;
}

/* What the table says of a task or an operation. */
struct row {
    const char *name, *signature;
    uint64_t id;
};

/* Row number i; false beyond the last. Under the lock. */
static bool row_of(size_t i, struct row *row)
{
    const struct pmap_task *task = registry.first;
    const struct pmap_op *op = registry.first_op;

    for (; task && i > 0; i--)
        task = task->next;
    if (task) {
        *row = (struct row){task->name, task->signature, task->id};
        return true;
    }
    for (; op && i > 0; i--)
        op = op->next;
    if (op)
        *row = (struct row){op->name, op->type, op->id};
    return op != NULL;
}

/* The table: for each task "name\0signature\0id in decimal\0". Text, so that other builds can read it. */
static size_t write_row(const struct row *row, char *at)
{
    char id[24];
    size_t name = strlen(row->name) + 1, signature = strlen(row->signature) + 1;
    size_t digits = (size_t)snprintf(id, sizeof id, "%" PRIu64, row->id) + 1;
    if (at) {
        memcpy(at, row->name, name);
        memcpy(at + name, row->signature, signature);
        memcpy(at + name + signature, id, digits);
    }
    return name + signature + digits;
}

enum pmap_status pmap__tasks_export(unsigned char **table, size_t *size)
{
    size_t need = 0;

    pthread_mutex_lock(&registry.lock);
    struct row row;
    for (size_t i = 0; row_of(i, &row); i++)
        need += write_row(&row, NULL);
    char *bytes = malloc(need + 1);
    char *at = bytes;
    for (size_t i = 0; bytes && row_of(i, &row); i++)
        at += write_row(&row, at);
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

static bool find_named(const char *name, struct row *row)
{
    for (size_t i = 0; row_of(i, row); i++)
        if (strcmp(row->name, name) == 0)
            return true;
    return false;
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
        struct row other;
        uint64_t id = strtoull(number, NULL, 10);
        if (find(id) || find_op(id))
            continue;
        if (!find_named(name, &other))
            return pmap__error_set(error, PMAP_EMISMATCH,
                                   "pmap_create: the ranks run different programs: task %s is declared on rank %d but not "
                                   "on rank %d", name, their, mine);
        if (strcmp(other.signature, signature) != 0)
            return pmap__error_set(error, PMAP_EMISMATCH,
                                   "pmap_create: the ranks run different programs: task %s is %s on rank %d but %s on "
                                   "rank %d", name, signature, their, other.signature, mine);
        return pmap__error_set(error, PMAP_EMISMATCH,
                               "pmap_create: the ranks run different programs: task %s, %s, has types of other sizes on "
                               "rank %d than on rank %d", name, signature, their, mine);
    }
    struct row row;
    for (size_t i = 0; row_of(i, &row); i++)
        if (!listed(table, size, row.id))
            return pmap__error_set(error, PMAP_EMISMATCH,
                                   "pmap_create: the ranks run different programs: task %s is declared on rank %d but not "
                                   "on rank %d", row.name, mine, their);
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
