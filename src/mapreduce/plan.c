/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Encoding, decoding and freeing walk over the same list of fields, so that none can be forgotten in one of them. Ranks have agreed
 * on the program and the wire version before: numbers have the byte order of the machine.
 */
#include "mapreduce/plan.h"

#include "base/memory.h"
#include "engine/registry.h"

#include <stdlib.h>
#include <string.h>

/* A pass over a plan. */
struct pass {
    enum { MEASURE, WRITE, READ } what;
    char *at;         /* WRITE, READ */
    const char *end;  /* READ */
    size_t size;      /* MEASURE */
    enum pmap_status status;
};

static void raw(struct pass *pass, void *bytes, size_t size)
{
    if (pass->what == MEASURE)
        pass->size += size;
    else if (pass->what == READ && (size_t)(pass->end - pass->at) < size)
        pass->status = PMAP_EMISMATCH;
    else if (pass->what == READ)
        memcpy(bytes, pass->at, size);
    else
        memcpy(pass->at, bytes, size);
    if (pass->what != MEASURE && pass->status == PMAP_OK)
        pass->at += size;
}

static void number(struct pass *pass, uint64_t *value)
{
    raw(pass, value, sizeof *value);
}

/* Bytes from malloc, *count times each; a zero byte is behind them when they are read. */
static void array(struct pass *pass, void **bytes, uint64_t count, size_t each)
{
    size_t size;

    if (pass->what == READ) {
        bool fits = pmap__multiply((size_t)count, each, &size) && size <= (size_t)(pass->end - pass->at);
        *bytes = pass->status == PMAP_OK && fits ? calloc(1, size + 1) : NULL;
        if (pass->status == PMAP_OK && *bytes == NULL)
            pass->status = fits ? PMAP_ENOMEM : PMAP_EMISMATCH;
        if (pass->status != PMAP_OK)
            return;
    }
    if (count)
        raw(pass, *bytes, (size_t)count * each);
}

/* A string, or NULL. */
static void string(struct pass *pass, char **text)
{
    uint64_t size = *text ? strlen(*text) + 1 : 0;
    void *bytes = *text;

    number(pass, &size);
    if (size == 0)
        return;
    array(pass, &bytes, size, 1);
    *text = bytes;
}

static void file(struct pass *pass, struct pmap__file *f)
{
    uint64_t packed = f->packed;

    string(pass, &f->path);
    number(pass, &f->size);
    number(pass, &packed);
    f->packed = packed != 0;
}

static void files(struct pass *pass, struct pmap__files *list)
{
    uint64_t n = list->n;

    number(pass, &n);
    if (pass->what == READ) {
        if (pass->status == PMAP_OK && n > (uint64_t)(pass->end - pass->at))
            pass->status = PMAP_EMISMATCH;
        list->files = pass->status == PMAP_OK ? calloc((size_t)n + 1, sizeof *list->files) : NULL;
        if (list->files == NULL) {
            pass->status = pass->status == PMAP_OK ? PMAP_ENOMEM : pass->status;
            return;
        }
        list->n = (size_t)n;
    }
    for (size_t i = 0; i < list->n && pass->status == PMAP_OK; i++)
        file(pass, &list->files[i]);
}

static void numbers(struct pass *pass, uint64_t **list, uint64_t n)
{
    void *bytes = *list;
    array(pass, &bytes, n, sizeof **list);
    *list = bytes;
}

static void walk(struct pass *pass, struct pmap__plan *p)
{
    uint64_t *const plain[] = {&p->number, &p->task, &p->ranks, &p->root, &p->partitions, &p->n_owners, &p->memory,
                               &p->record_size, &p->record_max, &p->staged, &p->ranges, &p->sink, &p->plain,
                               &p->next, &p->before, &p->format, &p->arg_size, &p->deposits};

    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        number(pass, plain[i]);
    numbers(pass, &p->threads, p->ranks);
    numbers(pass, &p->owners, p->n_owners);
    string(pass, &p->scratch);
    string(pass, &p->vault);
    files(pass, &p->files);
    string(pass, &p->output);
    string(pass, &p->separator);
    array(pass, &p->arg, p->arg_size, 1);
}

/* The passes that only look at a plan leave it as it is. */
enum pmap_status pmap__plan_encode(const struct pmap__plan *plan, void **bytes, size_t *size)
{
    struct pmap__plan p = *plan;
    struct pass pass = {.what = MEASURE};

    walk(&pass, &p);
    char *all = malloc(pass.size);
    if (all == NULL)
        return PMAP_ENOMEM;
    *size = pass.size;
    *bytes = all;
    pass = (struct pass){.what = WRITE, .at = all};
    walk(&pass, &p);
    return PMAP_OK;
}

enum pmap_status pmap__plan_decode(const void *bytes, size_t size, struct pmap__plan *plan)
{
    struct pmap__plan p = {0};
    struct pass pass = {.what = READ, .at = (char *)(uintptr_t)bytes, .end = (const char *)bytes + size};

    walk(&pass, &p);
    if (pass.status == PMAP_OK && pass.at != pass.end)
        pass.status = PMAP_EMISMATCH;
    const struct pmap_task *task = pass.status == PMAP_OK ? pmap__task_find(p.task) : NULL;
    if (pass.status == PMAP_OK && (task == NULL || task->run != pmap_mapreduce_run))
        pass.status = PMAP_EMISMATCH;
    if (pass.status != PMAP_OK) {
        pmap__plan_free(&p);
        return pass.status;
    }
    p.what = (struct pmap_mapreduce *)(uintptr_t)task; /* its first member */
    *plan = p;
    return PMAP_OK;
}

void pmap__plan_free(struct pmap__plan *plan)
{
    free(plan->threads);
    free(plan->owners);
    free(plan->scratch);
    free(plan->vault);
    pmap__files_free(&plan->files);
    free(plan->output);
    free(plan->separator);
    free(plan->arg);
    *plan = (struct pmap__plan){0};
}
