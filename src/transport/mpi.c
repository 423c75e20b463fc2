/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A port on a duplicated communicator. On the wire a message is an envelope with the head, and with the body if that
 * is short; a longer body follows as messages of its own, of at most SEGMENT bytes. Two constant tags keep them apart.
 * MPI keeps the order of messages of one rank and tag, and both ends post bodies in the order of their envelopes, so
 * that a body needs no number.
 *
 * Receiving: SLOTS envelopes are posted for any source, and looked at in the order they were posted. Sending:
 * an envelope is copied into a letter of its own and goes out with MPI_Isend; letters whose requests are done go
 * back to a list for the next. How many letters are under way is bounded by the engine, which bounds the chunks.
 *
 * A port that survives the death of ranks lets MPI use no memory but its own: what is sent is copied, and what is received is
 * delivered when it is whole, behind all that the same rank sent before. What MPI may still use for the sake of a dead rank is
 * never freed.
 */
#include "transport/lifeline.h"
#include "transport/mpi_process.h"
#include "transport/mpi_share.h"
#include "transport/mpi_star.h"
#include "transport/mpi_ulfm.h"

#include "base/error.h"
#include "base/screen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Below the eager limit of Open MPI's shared memory (4 KiB) with its own header. */
#define ENVELOPE_MAX 4000
/* What comes meanwhile waits inside MPI. They are used in turn, so that more of them would only take more of the cache. */
#define SLOTS 4
/* An int counts the bytes of a message, and some networks dislike more. */
#define SEGMENT ((size_t)1 << 30)

enum { TAG_ENVELOPE = 1, TAG_BODY = 2, TAG_STAR = 3 };

struct envelope {
    uint64_t body_size;
    uint32_t head_size;
    uint32_t inlined; /* 1: the body is in here, behind the head */
    unsigned char bytes[ENVELOPE_MAX - 16];
};

#define ENVELOPE_SIZE(head, body) (offsetof(struct envelope, bytes) + (head) + (body))

/* One message under way, out or in, with all its requests. */
struct letter {
    struct letter *next;
    MPI_Request *requests; /* one for each piece; NULL if one is enough */
    MPI_Request single;
    int pieces;
    bool broken;    /* one of them ended because the peer has died: it will never be done */
    int peer;       /* who sent it, or gets it */
    void *token;    /* out: for sent(); NULL if nobody asked */
    void *body;     /* in: where the body goes, */
    void *own;      /*     or a buffer of our own, for a body that nobody wants; on a port that survives for any */
    struct envelope envelope;
};

struct slot {
    MPI_Request request; /* persistent: each envelope would cost the making of a request otherwise */
    struct envelope envelope;
};

struct mpi_port {
    struct pmap__port port;
    MPI_Comm comm;
    struct slot slots[SLOTS];
    int turn;                /* the slot that was posted first */
    bool busy;               /* the last poll found an envelope */
    bool probes;             /* slots have no requests: see poll_slot */
    struct letter *out, *in; /* under way */
    struct letter *spare;
    bool *dead;              /* of each rank, on a port that survives; NULL elsewhere */
    bool dying;              /* a rank has just died, and there may be letters from or to it */
    struct pmap__mpi_star star; /* on a port that survives */
    struct pmap__mpi_nodes nodes;   /* for share() */
    struct pmap__mpi_member member; /* of the list of live ports */
};

static struct mpi_port *mine(struct pmap__port *port)
{
    return (struct mpi_port *)port;
}

static enum pmap_status broadcast(struct pmap__port *port, int root, void *bytes, size_t size)
{
    MPI_Request request;
    for (size_t at = 0; at < size; at += SEGMENT) {
        int count = (int)(size - at < SEGMENT ? size - at : SEGMENT);
        int code = MPI_Ibcast((char *)bytes + at, count, MPI_BYTE, root, mine(port)->comm, &request);
        if (code != MPI_SUCCESS || pmap__mpi_await(&request, "MPI_Ibcast", NULL) != PMAP_OK)
            return PMAP_EMPI;
    }
    return PMAP_OK;
}

static enum pmap_status least(struct pmap__port *port, int *value)
{
    MPI_Request request;
    int mine_before = *value;
    int code = MPI_Iallreduce(&mine_before, value, 1, MPI_INT, MPI_MIN, mine(port)->comm, &request);
    return code != MPI_SUCCESS ? PMAP_EMPI : pmap__mpi_await(&request, "MPI_Iallreduce", NULL);
}

static enum pmap_status gather(struct pmap__port *port, int root, int value, int all[])
{
    MPI_Request request;
    int code = MPI_Igather(&value, 1, MPI_INT, all, 1, MPI_INT, root, mine(port)->comm, &request);
    return code != MPI_SUCCESS ? PMAP_EMPI : pmap__mpi_await(&request, "MPI_Igather", NULL);
}

static enum pmap_status node_gather(struct pmap__port *port, const void *my, size_t size, void **all, int *n, int *me)
{
    MPI_Comm node;
    MPI_Request request;
    enum pmap_status status = PMAP_EMPI;

    if (MPI_Comm_split_type(mine(port)->comm, MPI_COMM_TYPE_SHARED, port->rank, MPI_INFO_NULL, &node) != MPI_SUCCESS)
        return PMAP_EMPI;
    MPI_Comm_size(node, n);
    MPI_Comm_rank(node, me);
    char *bytes = calloc((size_t)*n, size);
    /* Every rank of the node takes part even if one of them has no memory: it sends to nobody's loss. */
    int everybody = bytes != NULL, code = MPI_SUCCESS;
    MPI_Allreduce(MPI_IN_PLACE, &everybody, 1, MPI_INT, MPI_MIN, node);
    if (!everybody) {
        status = PMAP_ENOMEM;
        goto done;
    }
    code = MPI_Iallgather(my, (int)size, MPI_BYTE, bytes, (int)size, MPI_BYTE, node, &request);
    if (code == MPI_SUCCESS)
        status = pmap__mpi_await(&request, "MPI_Iallgather", NULL);
done:
    MPI_Comm_free(&node);
    if (status == PMAP_OK)
        *all = bytes;
    else
        free(bytes);
    return status;
}

static enum pmap_status mpi_share(struct pmap__port *port, int root, const void *data, size_t size,
                                  struct pmap__segment **segment)
{
    return pmap__mpi_share(&mine(port)->nodes, root, data, size, segment);
}

static void mpi_unshare(struct pmap__port *port, struct pmap__segment *segment)
{
    pmap__mpi_unshare(&mine(port)->nodes, segment);
}

/* ---- Letters ---- */

static struct letter *letter_take(struct mpi_port *p)
{
    struct letter *letter = p->spare;
    if (letter)
        p->spare = letter->next;
    else
        letter = malloc(sizeof *letter);
    if (letter == NULL)
        return NULL;
    letter->requests = NULL;
    letter->pieces = 0;
    letter->broken = false;
    letter->own = NULL;
    return letter;
}

static void letter_give(struct mpi_port *p, struct letter *letter)
{
    free(letter->requests);
    free(letter->own);
    letter->next = p->spare;
    p->spare = letter;
}

static MPI_Request *requests_of(struct letter *letter)
{
    return letter->requests ? letter->requests : &letter->single;
}

/* Room for the requests of a body's segments and of one envelope. */
static bool letter_reserve(struct letter *letter, size_t body_size)
{
    size_t segments = body_size / SEGMENT + (body_size % SEGMENT != 0) + 1;
    if (segments > 1)
        letter->requests = malloc(segments * sizeof *letter->requests);
    return segments == 1 || letter->requests != NULL;
}

static enum pmap_status post_body(struct mpi_port *p, struct letter *letter, void *body, size_t size, int peer, bool out)
{
    for (size_t at = 0; at < size; at += SEGMENT) {
        int count = (int)(size - at < SEGMENT ? size - at : SEGMENT);
        MPI_Request *request = requests_of(letter) + letter->pieces;
        int code = out ? MPI_Isend((char *)body + at, count, MPI_BYTE, peer, TAG_BODY, p->comm, request)
                       : MPI_Irecv((char *)body + at, count, MPI_BYTE, peer, TAG_BODY, p->comm, request);
        if (pmap__ulfm_peer_died(code)) {
            letter->broken = true;
            return PMAP_OK;
        }
        if (code != MPI_SUCCESS)
            return PMAP_EMPI;
        letter->pieces++;
    }
    return PMAP_OK;
}

/* Is every piece done? One that is stays so, and costs no look. (MPI_Testall would do, but for gcc, which takes MPICH's
 * MPI_STATUSES_IGNORE for an array.) */
static enum pmap_status test_pieces(struct letter *letter, bool *done)
{
    int is_done = 1;

    for (int i = 0; i < letter->pieces && is_done && !letter->broken; i++) {
        int code = MPI_Test(requests_of(letter) + i, &is_done, MPI_STATUS_IGNORE);
        if (code == MPI_SUCCESS)
            continue;
        letter->broken = pmap__ulfm_peer_died(code);
        if (!letter->broken)
            return PMAP_EMPI;
    }
    *done = is_done && !letter->broken;
    return PMAP_OK;
}

/* From *at on, the first letter of a list of which every piece is done, taken out of it; NULL if there is none. *at is
 * where to look for the next. */
static enum pmap_status unlink_done(struct letter ***at, struct letter **found)
{
    for (; (*found = **at) != NULL; *at = &(*found)->next) {
        struct letter *letter = *found;
        bool done;
        if (test_pieces(letter, &done) != PMAP_OK)
            return PMAP_EMPI;
        if (done) {
            **at = letter->next;
            return PMAP_OK;
        }
    }
    return PMAP_OK;
}

/* ---- Sending ---- */

/* A letter with nothing outside of it, on its way: mostly it has arrived already. */
static enum pmap_status post(struct mpi_port *p, struct letter *letter)
{
    bool done;

    letter->next = p->out;
    p->out = letter;
    if (test_pieces(letter, &done) != PMAP_OK)
        return PMAP_EMPI;
    if (!done)
        return PMAP_OK;
    p->out = letter->next;
    letter_give(p, letter);
    return PMAP_OK;
}

/* *body becomes a copy that belongs to the letter. */
static bool copy_body(struct letter *letter, const void **body, size_t size)
{
    letter->own = malloc(size);
    if (letter->own == NULL)
        return false;
    *body = memcpy(letter->own, *body, size);
    return true;
}

static enum pmap_status mpi_send(struct pmap__port *port, int to, const unsigned char *head, size_t head_size,
                                 const void *body, size_t size, void *token)
{
    struct mpi_port *p = mine(port);
    struct letter *letter = letter_take(p);
    bool inlined = size <= sizeof letter->envelope.bytes - head_size;
    size_t inside = inlined ? size : 0;

    if (letter == NULL)
        return PMAP_ENOMEM;
    if (!letter_reserve(letter, inlined ? 0 : size) || (port->survives && !inlined && !copy_body(letter, &body, size))) {
        letter_give(p, letter);
        return PMAP_ENOMEM;
    }
    if (port->survives && p->dead[to]) {
        letter_give(p, letter);
        return PMAP_OK;
    }
    letter->peer = to;
    letter->token = token;
    letter->envelope.body_size = size;
    letter->envelope.head_size = (uint32_t)head_size;
    letter->envelope.inlined = inlined;
    memcpy(letter->envelope.bytes, head, head_size);
    if (inside)
        memcpy(letter->envelope.bytes + head_size, body, inside);
    int code = MPI_Isend(&letter->envelope, (int)ENVELOPE_SIZE(head_size, inside), MPI_BYTE, to, TAG_ENVELOPE, p->comm,
                         requests_of(letter));
    if (pmap__ulfm_peer_died(code)) { /* which the lifeline tells, too */
        letter_give(p, letter);
        return PMAP_OK;
    }
    if (code != MPI_SUCCESS)
        return PMAP_EMPI;
    letter->pieces = 1;
    if (inlined && token == NULL)
        return post(p, letter);
    letter->next = p->out;
    p->out = letter; /* from here on its requests are waited for, whatever happens */
    /* MPI's send buffers are const in all but the type of this shared helper. */
    return inlined ? PMAP_OK : post_body(p, letter, (void *)(uintptr_t)body, size, to, true);
}

static enum pmap_status poll_out(struct mpi_port *p, const struct pmap__receiver *receiver, int *events)
{
    struct letter **at = &p->out, *letter;
    enum pmap_status status;

    while ((status = unlink_done(&at, &letter)) == PMAP_OK && letter) {
        void *token = letter->token;
        letter_give(p, letter);
        if (token) {
            receiver->sent(receiver->owner, token);
            (*events)++;
            at = &p->out; /* sent() may have sent, and so changed the list in front of us */
        }
    }
    return status;
}

/* ---- Receiving ---- */

static enum pmap_status post_slot(struct slot *slot)
{
    return MPI_Start(&slot->request) == MPI_SUCCESS ? PMAP_OK : PMAP_EMPI;
}

/* A failure shows at the first poll. */
static void open_slots(struct mpi_port *p)
{
    p->probes = pmap__ulfm_is_on();
    for (int i = 0; i < SLOTS && !p->probes; i++) {
        struct slot *slot = &p->slots[i];
        if (MPI_Recv_init(&slot->envelope, sizeof slot->envelope, MPI_BYTE, MPI_ANY_SOURCE, TAG_ENVELOPE, p->comm,
                          &slot->request) == MPI_SUCCESS)
            post_slot(slot);
    }
}

/* Has it an envelope? Open MPI 5.0.7 loses what is posted for any source when somebody dies, although the standard would have it live on. So with
 * ULFM nothing is posted: what is on its way is received when it is there. */
static int poll_slot(const struct mpi_port *p, struct slot *slot, int *done, MPI_Status *status)
{
    if (!p->probes)
        return MPI_Test(&slot->request, done, status);
    int code = MPI_Iprobe(MPI_ANY_SOURCE, TAG_ENVELOPE, p->comm, done, status);
    if (code == MPI_SUCCESS && *done)
        code = MPI_Recv(&slot->envelope, sizeof slot->envelope, MPI_BYTE, status->MPI_SOURCE, TAG_ENVELOPE, p->comm, status);
    return code;
}

static void close_slots(struct mpi_port *p)
{
    for (int i = 0; i < SLOTS && !p->probes; i++) {
        MPI_Cancel(&p->slots[i].request);
        MPI_Wait(&p->slots[i].request, MPI_STATUS_IGNORE);
        MPI_Request_free(&p->slots[i].request);
    }
}

/* The message is complete when its body is; where that goes nowhere, because nobody wants it, or there is no memory for it, or
 * the port survives, it is taken off the network all the same. */
static enum pmap_status expect_body(struct mpi_port *p, const struct envelope *e, int from, void *body)
{
    struct letter *letter = letter_take(p);
    size_t size = e->inlined ? 0 : (size_t)e->body_size;

    if (letter == NULL)
        return PMAP_ENOMEM;
    if (!letter_reserve(letter, size) || (body == NULL && size && (letter->own = malloc(size)) == NULL)) {
        letter_give(p, letter);
        return PMAP_ENOMEM;
    }
    letter->peer = from;
    letter->body = body;
    memcpy(&letter->envelope, e, ENVELOPE_SIZE(e->head_size, e->inlined ? e->body_size : 0));
    /* Appended: bodies are looked at in the order they will likely come. */
    struct letter **last = &p->in;
    while (*last)
        last = &(*last)->next;
    letter->next = NULL;
    *last = letter;
    return post_body(p, letter, body ? body : letter->own, size, from, false);
}

/* Is a message of this rank still incomplete, before this letter; NULL: at all? */
static bool is_behind(const struct mpi_port *p, const struct letter *letter, int from)
{
    const struct letter *before = p->in;
    while (before && before != letter && before->peer != from)
        before = before->next;
    return before != letter && before != NULL;
}

static enum pmap_status open_envelope(struct mpi_port *p, const struct pmap__receiver *r, const struct envelope *e,
                                      int from)
{
    size_t size = (size_t)e->body_size;
    bool inside = size == 0 || e->inlined;

    if (p->port.survives && p->dead[from])
        return PMAP_OK;
    if (p->port.survives && (!inside || is_behind(p, NULL, from)))
        return expect_body(p, e, from, NULL);
    if (r->whole && inside) {
        r->whole(r->owner, from, e->bytes, e->head_size, e->bytes + e->head_size, size);
        return PMAP_OK;
    }
    void *body = size ? r->land(r->owner, from, e->bytes, e->head_size, size) : NULL;

    if (size && !e->inlined)
        return expect_body(p, e, from, body);
    if (body)
        memcpy(body, e->bytes + e->head_size, size);
    r->arrived(r->owner, from, e->bytes, e->head_size, body, size);
    return PMAP_OK;
}

/* An envelope whose sizes do not fit what was received comes from no pmap. */
static bool sound(const struct envelope *e, size_t received)
{
    return received >= ENVELOPE_SIZE(0, 0) && e->head_size <= PMAP__PORT_HEAD_MAX && e->inlined <= 1 &&
           received == ENVELOPE_SIZE(e->head_size, e->inlined ? e->body_size : 0);
}

/* A look that finds nothing costs several times as much as one that finds an envelope, since MPI looks at the network then:
 * behind a single envelope it would only make its receiver wait. So it is made where they come one after another. */
static enum pmap_status poll_envelopes(struct mpi_port *p, const struct pmap__receiver *receiver, int *events)
{
    int most = p->busy ? SLOTS : 1;

    p->busy = false;
    for (int i = 0; i < most; i++) {
        struct slot *slot = &p->slots[p->turn];
        MPI_Status status;
        int done, received, code = poll_slot(p, slot, &done, &status);
        if (code != MPI_SUCCESS)
            return pmap__ulfm_peer_died(code) || pmap__ulfm_somebody_died(code, p->comm) ? PMAP_OK : PMAP_EMPI;
        if (!done)
            return PMAP_OK;
        p->busy = true;
        MPI_Get_count(&status, MPI_BYTE, &received);
        if (!sound(&slot->envelope, (size_t)received))
            return PMAP_EMPI;
        enum pmap_status result = open_envelope(p, receiver, &slot->envelope, status.MPI_SOURCE);
        if (result == PMAP_OK && !p->probes)
            result = post_slot(slot);
        if (result != PMAP_OK)
            return result;
        p->turn = (p->turn + 1) % SLOTS;
        (*events)++;
    }
    return PMAP_OK;
}

/* A message that is whole, on a port that survives. */
static void deliver(const struct pmap__receiver *r, struct letter *letter)
{
    const struct envelope *e = &letter->envelope;
    size_t size = (size_t)e->body_size;
    const void *body = e->inlined ? e->bytes + e->head_size : letter->own;

    if (r->whole) {
        r->whole(r->owner, letter->peer, e->bytes, e->head_size, body, size);
        return;
    }
    void *place = size ? r->land(r->owner, letter->peer, e->bytes, e->head_size, size) : NULL;
    if (place)
        memcpy(place, body, size);
    r->arrived(r->owner, letter->peer, e->bytes, e->head_size, place, size);
}

static enum pmap_status poll_in_order(struct mpi_port *p, const struct pmap__receiver *r, int *events)
{
    struct letter **at = &p->in, *letter;
    bool done;

    while ((letter = *at) != NULL) {
        if (test_pieces(letter, &done) != PMAP_OK)
            return PMAP_EMPI;
        if (!done || is_behind(p, letter, letter->peer)) {
            at = &letter->next;
            continue;
        }
        *at = letter->next;
        if (!p->dead[letter->peer])
            deliver(r, letter);
        letter_give(p, letter);
        (*events)++;
    }
    return PMAP_OK;
}

/* Letters of the dead: nobody waits for them any more, and MPI may use their memory for ever. */
static void abandon_letters(const struct mpi_port *p, struct letter **at)
{
    while (*at) {
        struct letter *letter = *at;
        if (p->dead[letter->peer])
            *at = letter->next;
        else
            at = &letter->next;
    }
}

static enum pmap_status poll_in(struct mpi_port *p, const struct pmap__receiver *r, int *events)
{
    struct letter **at = &p->in, *letter;
    enum pmap_status status;

    if (p->port.survives)
        return poll_in_order(p, r, events);
    while ((status = unlink_done(&at, &letter)) == PMAP_OK && letter) {
        r->arrived(r->owner, letter->peer, letter->envelope.bytes, letter->envelope.head_size, letter->body,
                   (size_t)letter->envelope.body_size);
        letter_give(p, letter);
        (*events)++;
    }
    return status;
}

static enum pmap_status mpi_poll(struct pmap__port *port, const struct pmap__receiver *receiver, int *events)
{
    struct mpi_port *p = mine(port);

    if (p->dying) {
        p->dying = false;
        abandon_letters(p, &p->in);
        abandon_letters(p, &p->out);
    }
    enum pmap_status status = poll_envelopes(p, receiver, events);
    if (status == PMAP_OK)
        status = poll_in(p, receiver, events);
    if (status == PMAP_OK)
        status = poll_out(p, receiver, events);
    return status;
}

static bool active(const struct pmap__port *port)
{
    const struct mpi_port *p = (const struct mpi_port *)port;
    return p->out || p->in;
}

static void abort_ranks(struct pmap__port *port, const char *text)
{
    (void)port;
    pmap__screen_hold(); /* to the end */
    if (text)
        fprintf(stderr, "%s; ending %s\n", text, pmap__mpi_dies_alone() ? "this rank" : "all ranks");
    pmap__mpi_abort(EXIT_FAILURE);
}

/* ---- Surviving ---- */

static enum pmap_status star_broadcast(struct pmap__port *port, int root, void *bytes, size_t size)
{
    return pmap__mpi_star_broadcast(&mine(port)->star, root, bytes, size);
}

static enum pmap_status star_least(struct pmap__port *port, int *value)
{
    return pmap__mpi_star_least(&mine(port)->star, value);
}

static enum pmap_status star_gather(struct pmap__port *port, int root, int value, int all[])
{
    return root == port->survivors_root ? pmap__mpi_star_gather(&mine(port)->star, value, all) : PMAP_EMPI;
}

static enum pmap_status star_node_gather(struct pmap__port *port, const void *my, size_t size, void **all, int *n, int *me)
{
    return pmap__mpi_star_node_gather(&mine(port)->star, my, size, all, n, me);
}

/* A rank waits for the root alone. What is under way between others when the pool ends nobody wants any more; and of those that
 * die then it would not hear. */
static bool star_active(const struct pmap__port *port)
{
    const struct mpi_port *p = (const struct mpi_port *)port;
    const struct letter *lists[] = {p->out, p->in};

    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (const struct letter *letter = lists[i]; letter; letter = letter->next)
            if (port->rank == port->survivors_root || letter->peer == port->survivors_root)
                return true;
    return false;
}

static void lost(struct pmap__port *port, int rank)
{
    mine(port)->dead[rank] = true;
    mine(port)->dying = true;
}

/* The ranks part from each other, not for ever. */
static void star_close(struct pmap__port *port, const struct pmap__meetings *met)
{
    int nothing = 0;

    star_least(port, &nothing); /* a message that MPI has taken may still sit on this side: see mpi_close */
    pmap__lifeline_watch(port->lifeline, NULL, true);
    pmap__mpi_delist(&mine(port)->member, met);
    port->owner = NULL;
    port->met = (struct pmap__meetings){0};
}

static const struct pmap__transport transport_survivors = {
    .name = "mpi, surviving",
    .send = mpi_send,
    .poll = mpi_poll,
    .active = star_active,
    .abort = abort_ranks,
    .broadcast = star_broadcast,
    .least = star_least,
    .gather = star_gather,
    .node_gather = star_node_gather,
    .lost = lost,
    .close = star_close,
};

static enum pmap_status meet(struct mpi_port *p)
{
    MPI_Request request;
    return MPI_Ibarrier(p->comm, &request) == MPI_SUCCESS ? pmap__mpi_await(&request, "MPI_Ibarrier", NULL) : PMAP_EMPI;
}

static enum pmap_status unreachable(struct pmap_error *error)
{
    return pmap__error_set(error, PMAP_EMPI, "pmap_create: the ranks could not reach each other");
}

/* All or none. */
static enum pmap_status agree_to_leave(struct pmap__port *port, const bool *dead, struct pmap_error *error)
{
    enum pmap_status status = pmap__mpi_may_leave(error);

    if (status == PMAP_OK && dead == NULL)
        status = pmap__error_set(error, PMAP_ENOMEM, "pmap_create: no memory for the state of %d ranks", port->size);
    int everybody = status == PMAP_OK;
    if (least(port, &everybody) != PMAP_OK)
        return unreachable(error);
    if (status == PMAP_OK && !everybody)
        status = pmap__error_set(error, PMAP_EINVAL, "pmap_create: survive is true, but not possible on another rank");
    return status;
}

static enum pmap_status survive(struct pmap__port *port, int root, struct pmap_error *error)
{
    struct mpi_port *p = mine(port);
    bool *dead = calloc((size_t)port->size, sizeof *dead);
    enum pmap_status status = agree_to_leave(port, dead, error);

    if (status != PMAP_OK) {
        free(dead);
        return status;
    }
    p->dead = dead;
    p->star = (struct pmap__mpi_star){.comm = p->comm, .tag = TAG_STAR, .root = root, .port = port};
    if (meet(p) != PMAP_OK)
        return unreachable(error);
    pmap__mpi_leave_launcher(port, root);
    if (meet(p) != PMAP_OK)
        return unreachable(error);
    port->ops = &transport_survivors;
    port->copied = SIZE_MAX;
    port->survivors_root = root;
    port->survives = true;
    return PMAP_OK;
}

/* ---- Life ---- */

static const struct pmap__transport transport_mpi;

/* Survivors cannot make another communicator, for some of them may be dead. */
static enum pmap_status open_again(struct pmap__port *again, MPI_Comm comm, struct pmap__port **port, struct pmap_error *error)
{
    int result;

    MPI_Comm_compare(comm, mine(again)->comm, &result);
    if (result != MPI_IDENT && result != MPI_CONGRUENT)
        return pmap__error_set(error, PMAP_EINVAL, "pmap_create_on: the first pool of this program had survive, and %d ranks: all others "
                               "have the same, in the same order, and comm has not", again->size);
    pmap__mpi_enlist(&mine(again)->member);
    *port = again;
    return PMAP_OK;
}

enum pmap_status pmap__mpi_open(const void *comm, uint64_t where, struct pmap__port **port, struct pmap_error *error)
{
    MPI_Comm c = comm ? *(const MPI_Comm *)comm : MPI_COMM_WORLD;
    MPI_Request request;

    if (pmap__mpi_survivors())
        return open_again(pmap__mpi_survivors(), c, port, error);
    struct mpi_port *p = calloc(1, sizeof *p);
    if (p == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap_create: no memory for a port of %zu bytes", sizeof *p);
    int code = MPI_Comm_idup(c, &p->comm, &request);
    if (code != MPI_SUCCESS) {
        free(p);
        return pmap__mpi_failed(code, "MPI_Comm_idup", error);
    }
    enum pmap_status status = pmap__mpi_await_all(&request, where, error);
    if (status != PMAP_OK) {
        free(p);
        return status;
    }
    MPI_Comm_set_errhandler(p->comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(p->comm, &p->port.rank);
    MPI_Comm_size(p->comm, &p->port.size);
    p->port.ops = &transport_mpi;
    p->port.mortal = true;
    p->port.copied = sizeof ((struct envelope){0}).bytes - PMAP__PORT_HEAD_MAX;
    open_slots(p);
    pmap__mpi_nodes_init(&p->nodes, p->comm);
    p->member = (struct pmap__mpi_member){.port = &p->port, .comm = p->comm};
    pmap__mpi_enlist(&p->member);
    *port = &p->port;
    return PMAP_OK;
}

static void mpi_close(struct pmap__port *port, const struct pmap__meetings *met)
{
    struct mpi_port *p = mine(port);
    MPI_Request request;

    /* A message that MPI has taken may still sit on this side until it is called again: wait for the others. */
    if (MPI_Ibarrier(p->comm, &request) == MPI_SUCCESS)
        pmap__mpi_await(&request, "MPI_Ibarrier", NULL);
    pmap__lifeline_close(port->lifeline);
    close_slots(p);
    pmap__mpi_delist(&p->member, met);
    pmap__mpi_nodes_fini(&p->nodes);
    MPI_Comm_free(&p->comm);
    while (p->spare) {
        struct letter *letter = p->spare;
        p->spare = letter->next;
        free(letter);
    }
    free(p);
}

static const struct pmap__transport transport_mpi = {
    .name = "mpi",
    .send = mpi_send,
    .poll = mpi_poll,
    .active = active,
    .abort = abort_ranks,
    .broadcast = broadcast,
    .least = least,
    .gather = gather,
    .node_gather = node_gather,
    .share = mpi_share,
    .unshare = mpi_unshare,
    .survive = survive,
    .close = mpi_close,
};
