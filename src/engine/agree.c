/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Rank 0 shows what it is (not the root: which rank that is may be what they differ on); each rank compares. Among survivors rank 0 may
 * be dead: there it is their root, which was agreed on when they became survivors. The table
 * of tasks travels only if some fingerprint differs, so that the usual case costs a few small collective calls
 * however many tasks and ranks there are.
 */
#include "engine/agree.h"

#include "base/error.h"
#include "engine/registry.h"
#include "wire/frame.h"

#include <stdlib.h>
#include <string.h>

/* Who shows what it is. */
static int reference(const struct pmap__port *port)
{
    return port->survives ? port->survivors_root : 0;
}

enum pmap_status pmap__agree(struct pmap__port *port, enum pmap_status status, struct pmap_error *error)
{
    unsigned char bytes[PMAP__HEAD_MAX + 2] = {0};
    int first = status == PMAP_OK ? port->size : port->rank;

    if (port->ops->least(port, &first) != PMAP_OK)
        goto broken;
    if (first == port->size)
        return PMAP_OK;
    if (first == port->rank) {
        size_t size = pmap__error_encode(error, bytes + 2);
        bytes[0] = (unsigned char)size;
        bytes[1] = (unsigned char)(size >> 8);
    }
    if (port->ops->broadcast(port, first, bytes, sizeof bytes) != PMAP_OK)
        goto broken;
    if (first == port->rank)
        return status;
    struct pmap_error theirs, bad;
    size_t size = bytes[0] | (size_t)bytes[1] << 8;
    if (size > PMAP__HEAD_MAX || pmap__error_decode(bytes + 2, size, &theirs, &bad) != PMAP_OK)
        goto broken;
    *error = theirs;
    return error->status;
broken:
    return pmap__error_set(error, PMAP_EMPI, "pmap_create: the ranks could not reach each other");
}

/* What the reference shows first. The layout must never change, so that any two versions of pmap understand it. */
struct hello {
    uint64_t wire_version;
    uint64_t tasks;
    int64_t root;
};

/* The table of the reference reaches every rank; malloc'ed. */
static enum pmap_status broadcast_table(struct pmap__port *port, unsigned char **table, size_t *size)
{
    uint64_t length = 0;
    int everybody = 1, from = reference(port);

    *table = NULL;
    if (port->rank == from) {
        everybody = pmap__tasks_export(table, size) == PMAP_OK;
        length = everybody ? *size : 0;
    }
    if (port->ops->broadcast(port, from, &length, sizeof length) != PMAP_OK)
        return PMAP_EMPI;
    if (port->rank != from) {
        *size = (size_t)length;
        *table = malloc((size_t)length + 1);
        everybody = *table != NULL;
    }
    if (port->ops->least(port, &everybody) != PMAP_OK)
        return PMAP_EMPI;
    if (!everybody)
        return PMAP_ENOMEM;
    return port->ops->broadcast(port, from, *table, (size_t)length);
}

static enum pmap_status compare_tasks(struct pmap__port *port, bool differ, struct pmap_error *error)
{
    int somebody = differ ? 0 : 1;
    unsigned char *table = NULL;
    size_t size = 0;

    if (port->ops->least(port, &somebody) != PMAP_OK)
        return pmap__error_set(error, PMAP_EMPI, "pmap_create: the ranks could not reach each other");
    if (somebody != 0)
        return PMAP_OK;
    enum pmap_status status = broadcast_table(port, &table, &size);
    if (status != PMAP_OK)
        pmap__error_set(error, status, "pmap_create: the ranks run different programs, and their tasks could not be "
                        "compared");
    else if (differ)
        status = pmap__tasks_compare(table, size, reference(port), port->rank, error);
    free(table);
    return status;
}

enum pmap_status pmap__agree_on_program(struct pmap__port *port, int root, bool *dedicated, enum pmap_status status,
                                        struct pmap_error *error)
{
    struct hello mine = {.wire_version = PMAP__WIRE_VERSION, .tasks = pmap__tasks_fingerprint(), .root = root};
    struct hello first = mine;
    int from = reference(port);

    if (port->ops->broadcast(port, from, &first, sizeof first) != PMAP_OK)
        return pmap__error_set(error, PMAP_EMPI, "pmap_create: the ranks could not reach each other");
    if (status == PMAP_OK && first.wire_version != mine.wire_version)
        status = pmap__error_set(error, PMAP_EMISMATCH,
                                 "pmap_create: rank %d runs pmap %s, whose messages rank %d does not understand", port->rank,
                                 pmap_version(), from);
    if (status == PMAP_OK && first.root != mine.root)
        status = pmap__error_set(error, PMAP_EINVAL, "pmap_create: root is %d on rank %d but %d on rank %d", root,
                                 port->rank, (int)first.root, from);
    if (status == PMAP_OK)
        status = pmap__tasks_unique(error);
    status = pmap__agree(port, status, error);
    if (status == PMAP_OK)
        status = compare_tasks(port, first.tasks != mine.tasks, error);
    status = pmap__agree(port, status, error);
    if (status != PMAP_OK)
        return status;
    if (port->ops->broadcast(port, root, dedicated, sizeof *dedicated) != PMAP_OK)
        return pmap__error_set(error, PMAP_EMPI, "pmap_create: the ranks could not reach each other");
    return PMAP_OK;
}
