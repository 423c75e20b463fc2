/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Shared data, as the root hands it out. What each rank does with it: share.h.
 *
 * To share is a collective call, and whoever has entered one hears nothing until all have. A rank that lends its thread comes
 * only between two items, so nobody enters before everybody can: the loop tells the ranks to HOLD and goes on with all else,
 * cancels above all; each rank says that it is READY; at the last of them the loop says SHARE or UNSHARE, and all enter.
 * One at a time, in the order of the calls.
 */
#include "base/error.h"
#include "engine/root_inside.h"
#include "engine/wait.h"

static void tell_ranks(struct pmap__root *root, const struct pmap__frame *frame)
{
    if (root->port && !pmap__deal_tell(root, frame))
        root->port->ops->abort(root->port, "pmap: ranks could not be told of shared data");
}

/* The root's part; collective over the port, if it is not NULL. */
static void keep(struct pmap__root *root, struct pmap__sharing *s, struct pmap__port *port)
{
    s->status = pmap__shares_add(&root->shared, port, port ? port->rank : 0, s->id, s->data, s->size);
    if (s->status != PMAP_OK)
        return;
    atomic_store(&((struct pmap__tenant *)(uintptr_t)s->tenant)->shares, true);
    pmap__shares_find(&root->shared, NULL, s->id)->tenant = s->tenant;
}

static void share(struct pmap__root *root, struct pmap__sharing *s)
{
    tell_ranks(root, &(struct pmap__frame){.kind = PMAP__SHARE, .id = s->id, .size = s->size});
    keep(root, s, root->port);
    if (s->status == PMAP_EMPI)
        root->port->ops->abort(root->port, "pmap: data could not be shared");
}

/* What the tenant shares under this id, or one of all. */
static void take_away(struct pmap__root *root, struct pmap__sharing *s)
{
    struct pmap__shared *shared = pmap__shares_find(&root->shared, s->tenant, s->id);

    tell_ranks(root, &(struct pmap__frame){.kind = PMAP__UNSHARE, .id = shared->id, .size = shared->size});
    pmap__shares_remove(&root->shared, root->port, shared->id);
    s->status = PMAP_OK;
}

/* Is there (still) something for it to take away? */
static bool finds(const struct pmap__root *root, const struct pmap__sharing *s)
{
    return pmap__shares_find(&root->shared, s->tenant, s->id) != NULL;
}

/* Begin with a request, or with the next part of it; or it is over, and gone. */
static void gather(struct pmap__root *root, struct pmap__sharing *s, bool more)
{
    root->gathering = more ? s : NULL;
    root->ready = 0;
    if (more) {
        tell_ranks(root, &(struct pmap__frame){.kind = PMAP__HOLD});
        return;
    }
    atomic_store(&s->done, true);
    pmap__wait_over();
}

static struct pmap__sharing *next_request(struct pmap__root *root)
{
    if (!atomic_load_explicit(&root->shares, memory_order_acquire) || root->said_bye)
        return NULL;
    pthread_mutex_lock(&root->lock);
    struct pmap__sharing *s = root->sharing;
    if (s)
        root->sharing = s->next;
    if (root->sharing == NULL) {
        root->sharing_last = &root->sharing;
        atomic_store(&root->shares, false);
    }
    pthread_mutex_unlock(&root->lock);
    return s;
}

/* ---- Sharing among ranks that may die ----
 *
 * A collective call would wait for the dead. So each rank is sent a copy of its own, behind everything else that it is sent, and says
 * when it has it. What is on its way at a time is bounded, for it is memory of the root's. */

/* Bytes on their way; a single copy may be more. */
#define ROUND_MAX ((size_t)256 << 20)

static bool is_each_given_own(const struct pmap__root *root)
{
    return root->port && root->port->survives;
}

/* False if it has to wait. */
static bool give_copy(struct pmap__root *root, int rank)
{
    const struct pmap__sharing *s = root->gathering;
    struct pmap__frame frame = {.kind = PMAP__SHARE, .id = s->id, .size = s->size};
    unsigned char head[PMAP__HEAD_MAX];

    if (rank == root->port->rank || root->peers[rank].dead)
        return true;
    if (root->owing > 0 && s->size > ROUND_MAX / (size_t)(root->owing + 1))
        return false;
    enum pmap_status status = root->port->ops->send(root->port, rank, head, pmap__frame_encode(&frame, head), s->data, s->size, NULL);
    if (status == PMAP_EMPI)
        root->port->ops->abort(root->port, "pmap: data could not be shared");
    root->refused |= status != PMAP_OK;
    root->peers[rank].owes = status == PMAP_OK;
    root->owing += status == PMAP_OK;
    return true;
}

void pmap__sharing_hand_round(struct pmap__root *root)
{
    while (root->given < root->ranks && (root->refused || give_copy(root, root->given)))
        root->given++;
}

static void begin_round(struct pmap__root *root, struct pmap__sharing *s)
{
    root->given = root->owing = 0;
    root->refused = false;
    while (s->remove && finds(root, s))
        take_away(root, s);
    if (!s->remove)
        keep(root, s, NULL);
    if (s->remove || s->status != PMAP_OK) {
        gather(root, s, false);
        return;
    }
    root->gathering = s;
    pmap__sharing_hand_round(root);
}

static bool go_on_round(struct pmap__root *root, struct pmap__sharing *s)
{
    if (root->given < root->ranks || root->owing > 0)
        return false;
    if (root->refused) {
        take_away(root, s);
        s->status = PMAP_ENOMEM;
    }
    gather(root, s, false);
    return true;
}

bool pmap__sharing_handle(struct pmap__root *root)
{
    struct pmap__sharing *s = root->gathering;

    if (s && is_each_given_own(root))
        return go_on_round(root, s);
    if (s == NULL && is_each_given_own(root)) {
        s = next_request(root);
        if (s)
            begin_round(root, s);
        return s != NULL;
    }
    if (s == NULL) {
        s = next_request(root);
        if (s)
            gather(root, s, !s->remove || finds(root, s));
        return s != NULL;
    }
    if (root->ready < root->ranks - 1)
        return false;
    if (s->remove)
        take_away(root, s);
    else
        share(root, s);
    gather(root, s, s->remove && finds(root, s));
    return true;
}

static bool is_shared(const void *argument)
{
    return atomic_load(&((const struct pmap__sharing *)argument)->done);
}

enum pmap_status pmap__sharing_request(struct pmap__root *root, struct pmap__sharing *s)
{
    atomic_init(&s->done, false);
    s->next = NULL;
    pthread_mutex_lock(&root->lock);
    *root->sharing_last = s;
    root->sharing_last = &s->next;
    pthread_mutex_unlock(&root->lock);
    pmap__root_ring(root, &root->shares);
    pmap__wait(is_shared, s, PMAP__FOR_EVER);
    return s->status;
}

enum pmap_status pmap__tenant_share(struct pmap__tenant *tenant, uint64_t id, const void *data, size_t size,
                                    struct pmap_error *error)
{
    struct pmap__sharing s = {.tenant = tenant, .id = id, .data = data, .size = size};
    if (pmap__sharing_request(tenant->root, &s) == PMAP_OK)
        return PMAP_OK;
    return pmap__error_set(error, s.status, "pmap_share: no memory for %zu bytes on some node", size);
}

enum pmap_status pmap__tenant_unshare(struct pmap__tenant *tenant, uint64_t id, struct pmap_error *error)
{
    struct pmap__sharing s = {.remove = true, .tenant = tenant, .id = id, .status = PMAP_EINVAL}; /* if there is none */
    if (pmap__sharing_request(tenant->root, &s) == PMAP_OK)
        return PMAP_OK;
    return pmap__error_set(error, s.status, "pmap_unshare: the pool has no shared data with this handle");
}
