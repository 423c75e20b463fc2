/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * transport: one suite of behaviours for every kind of port. Each behaviour is a function that all ranks run at the
 * same time on their own port; it returns NULL, or what went wrong. Under mpirun the ranks are processes and the ports
 * MPI's; otherwise they are threads and the ports loopback's.
 */
#include "harness.h"

#include "transport/loopback.h"
#include "transport/mpi.h"

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- A receiver that keeps what comes ---- */

struct got {
    int from, head;   /* the head is one int: a number of the message */
    unsigned char *body;
    size_t size;
};

struct inbox {
    struct got got[4096];
    int n, landed, sent;
    bool refuse;      /* land nothing */
    bool reads_whole; /* messages that come whole */
    struct got *landing;
};

static int head_number(const unsigned char *head)
{
    int number;
    memcpy(&number, head, sizeof number);
    return number;
}

static void *land(void *owner, int from, const unsigned char *head, size_t head_size, size_t size)
{
    struct inbox *in = owner;
    (void)from;
    (void)head;
    (void)head_size;
    in->landed++;
    return in->refuse ? NULL : malloc(size);
}

static void arrived(void *owner, int from, const unsigned char *head, size_t head_size, void *body, size_t size)
{
    struct inbox *in = owner;
    struct got *g = &in->got[in->n++ % 4096];
    *g = (struct got){.from = from, .head = head_size == sizeof(int) ? head_number(head) : INT_MIN, .body = body, .size = size};
}

static void whole(void *owner, int from, const unsigned char *head, size_t head_size, const void *body, size_t size)
{
    void *copy = size ? malloc(size) : NULL;

    if (copy)
        memcpy(copy, body, size);
    arrived(owner, from, head, head_size, copy, size);
}

static void sent(void *owner, void *token)
{
    struct inbox *in = owner;
    (void)token;
    in->sent++;
}

static bool poll_once(struct pmap__port *port, struct inbox *in)
{
    struct pmap__receiver r = {.land = land, .arrived = arrived, .sent = sent, .owner = in,
                               .whole = in->reads_whole ? whole : NULL};
    int events = 0;
    bool well = port->ops->poll(port, &r, &events) == PMAP_OK;
    if (events == 0)
        sched_yield();
    return well;
}

static void forget(struct inbox *in)
{
    for (int i = 0; i < in->n && i < 4096; i++)
        free(in->got[i].body);
    *in = (struct inbox){0};
}

static bool send_number(struct pmap__port *port, int to, int number, const void *body, size_t size, void *token)
{
    unsigned char head[sizeof number];
    memcpy(head, &number, sizeof number);
    return port->ops->send(port, to, head, sizeof head, body, size, token) == PMAP_OK;
}

/* Nobody leaves a behaviour while others still need to be polled for their messages. */
static const char *meet(struct pmap__port *port, struct inbox *in)
{
    int one = 1;
    while (port->ops->active(port))
        if (!poll_once(port, in))
            return "poll failed";
    if (!(port->ops->least(port, &one) == PMAP_OK))
        return "the ranks did not meet";
    return NULL;
}

/* ---- The behaviours ---- */

static const char *heads_come_in_the_order_they_were_sent(struct pmap__port *port, struct inbox *in)
{
    enum { EACH = 200 };
    if (port->rank != 0) {
        for (int i = 0; i < EACH; i++)
            if (!send_number(port, 0, i, NULL, 0, NULL))
                return "send failed";
        return meet(port, in);
    }
    int next[64] = {0};
    while (in->n < EACH * (port->size - 1))
        if (!poll_once(port, in))
            return "poll failed";
    for (int i = 0; i < in->n; i++)
        if (!(in->got[i].head == next[in->got[i].from]++))
            return "a head overtook another";
    if (!(in->landed == 0 && in->sent == 0))
        return "an empty body landed, or was sent";
    return meet(port, in);
}

static const char *bodies_of_any_size_arrive_whole(struct pmap__port *port, struct inbox *in)
{
    static const size_t sizes[] = {1, 100, 3980, 4000, 4096, 65536, 1000003};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    unsigned char *bodies[SIZES];
    int to = (port->rank + 1) % port->size, from = (port->rank + port->size - 1) % port->size, token;
    const char *wrong = NULL;

    for (int i = 0; i < SIZES; i++) {
        bodies[i] = malloc(sizes[i]);
        memset(bodies[i], port->rank + 10 * i, sizes[i]);
        if (!send_number(port, to, i, bodies[i], sizes[i], &token))
            return "send failed";
    }
    while (in->n < SIZES || in->sent < SIZES)
        if (!poll_once(port, in))
            return "poll failed";
    for (int i = 0; i < SIZES; i++) {
        const struct got *g = &in->got[i]; /* long ones may come after later short ones */
        unsigned char first = (unsigned char)(from + 10 * g->head);
        if (g->head < 0 || g->head >= SIZES || g->from != from || g->size != sizes[g->head] || g->body[0] != first ||
            memcmp(g->body, g->body + 1, g->size - 1) != 0)
            wrong = "a body is not what was sent";
    }
    const char *met = meet(port, in);
    for (int i = 0; i < SIZES; i++)
        free(bodies[i]);
    return wrong ? wrong : met;
}

static const char *short_messages_are_read_once(struct pmap__port *port, struct inbox *in)
{
    in->reads_whole = true;
    const char *wrong = bodies_of_any_size_arrive_whole(port, in);
    if (wrong)
        return wrong;
    return in->landed >= 1 && in->landed <= 5 ? NULL : "bodies of 1 and 100 bytes landed, or the longest did not";
}

static const char *body_that_nobody_wants_is_dropped(struct pmap__port *port, struct inbox *in)
{
    static char large[100000], small[10];
    in->refuse = true;
    if (port->rank != 0) {
        int token;
        if (!send_number(port, 0, 1, large, sizeof large, &token))
            return "send failed";
        if (!send_number(port, 0, 2, small, sizeof small, &token))
            return "send failed";
        while (in->sent < 2)
            if (!poll_once(port, in))
                return "poll failed";
        return meet(port, in);
    }
    while (in->n < 2 * (port->size - 1))
        if (!poll_once(port, in))
            return "poll failed";
    for (int i = 0; i < in->n; i++)
        if (!(in->got[i].body == NULL && in->got[i].size == (in->got[i].head == 1 ? sizeof large : sizeof small)))
            return "a dropped body came, or not with its size";
    return meet(port, in);
}

static const char *everybody_floods_everybody(struct pmap__port *port, struct inbox *in)
{
    enum { EACH = 100 };
    static char body[20000];
    int token, all = EACH * (port->size - 1);
    for (int i = 0; i < EACH; i++)
        for (int to = 0; to < port->size; to++)
            if (to != port->rank)
                if (!send_number(port, to, i, body, (size_t)(i % 2 ? 20000 : 20), &token))
                    return "send failed";
    while (in->n < all || in->sent < all)
        if (!poll_once(port, in))
            return "poll failed";
    return meet(port, in);
}

static const char *collective_calls_agree(struct pmap__port *port, struct inbox *in)
{
    int value = port->rank + 5, all[64], *node = NULL, n, me;
    long numbers[1000];

    if (!(port->ops->least(port, &value) == PMAP_OK && value == 5))
        return "least did not find the least";
    for (int root = 0; root < port->size; root++) {
        for (int i = 0; i < 1000; i++)
            numbers[i] = port->rank == root ? i * root : -1;
        if (!(port->ops->broadcast(port, root, numbers, sizeof numbers) == PMAP_OK))
            return "broadcast failed";
        if (!(numbers[0] == 0 && numbers[999] == 999L * root))
            return "broadcast brought something else";
        if (!(port->ops->gather(port, root, 100 + port->rank, port->rank == root ? all : NULL) == PMAP_OK))
            return "gather failed";
        for (int r = 0; r < port->size && port->rank == root; r++)
            if (!(all[r] == 100 + r))
                return "gather gathered something else";
    }
    if (!(port->ops->node_gather(port, &port->rank, sizeof port->rank, (void **)&node, &n, &me) == PMAP_OK))
        return "node_gather failed";
    bool right = n == port->size && node[me] == port->rank; /* the tests run on one node */
    free(node);
    if (!right)
        return "node_gather did not gather all ranks in one order";
    return meet(port, in);
}

/* ---- Shared memory ---- */

/* The byte at a place of the data that this root shares. */
static unsigned char byte_of(int root, size_t at)
{
    return (unsigned char)((at * 2654435761u >> 7) + at / 4096 + (size_t)root);
}

/* Share size bytes of the root's; *segment is NULL if that fails. */
static const char *share_bytes(struct pmap__port *port, int root, size_t size, struct pmap__segment **segment)
{
    unsigned char *data = NULL;
    *segment = NULL;
    if (port->rank == root) {
        data = test_array(size, 1);
        for (size_t i = 0; i < size; i++)
            data[i] = byte_of(root, i);
    }
    enum pmap_status status = port->ops->share(port, root, data, size, segment);
    if (data)
        memset(data, 0xff, size); /* what was shared is a copy */
    free(data);
    return status == PMAP_OK ? NULL : "share failed";
}

static const char *look_at(const struct pmap__segment *segment, int root, size_t size)
{
    const unsigned char *bytes = segment->bytes;
    if (!((uintptr_t)bytes % (uintptr_t)sysconf(_SC_PAGESIZE) == 0))
        return "the shared bytes do not begin with a page";
    if (!(segment->size == size))
        return "the shared bytes are not as many as the root has";
    for (size_t i = 0; i < size; i++)
        if (!(bytes[i] == byte_of(root, i)))
            return "the shared bytes are not the root's";
    return NULL;
}

static const char *shared_bytes_are_the_roots_on_every_rank(struct pmap__port *port, struct inbox *in)
{
    const size_t sizes[] = {1, 4095, 4096, 4097, 100003, test_size(5 << 20, 1 << 20)};
    const char *wrong = NULL;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int root = 0; root < port->size; root++) {
            struct pmap__segment *segment;
            const char *failed = share_bytes(port, root, sizes[i], &segment);
            if (failed)
                return failed;
            const char *seen = look_at(segment, root, sizes[i]);
            wrong = wrong ? wrong : seen;
            port->ops->unshare(port, segment);
        }
    const char *met = meet(port, in);
    return wrong ? wrong : met;
}

/* Between them others come and go, and messages too. */
static const char *several_segments_live_at_once(struct pmap__port *port, struct inbox *in)
{
    enum { SEGMENTS = 6, SIZE = 200000 };
    static char body[20000];
    struct pmap__segment *segments[SEGMENTS];
    int to = (port->rank + 1) % port->size, token;
    const char *wrong = NULL;

    for (int i = 0; i < SEGMENTS; i++) {
        if (!send_number(port, to, i, body, sizeof body, &token))
            return "send failed";
        const char *failed = share_bytes(port, i % port->size, SIZE + (size_t)i, &segments[i]);
        if (failed)
            return failed;
        if (i == 3)
            port->ops->unshare(port, segments[1]);
    }
    while (in->n < SEGMENTS || in->sent < SEGMENTS)
        if (!poll_once(port, in))
            return "poll failed";
    for (int i = 0; i < SEGMENTS; i++) {
        if (i == 1)
            continue;
        const char *seen = look_at(segments[i], i % port->size, SIZE + (size_t)i);
        wrong = wrong ? wrong : seen;
        port->ops->unshare(port, segments[i]);
    }
    const char *met = meet(port, in);
    return wrong ? wrong : met;
}

static const char *share_of_too_much_is_refused_on_every_rank(struct pmap__port *port, struct inbox *in)
{
    struct pmap__segment *segment;
    int root = port->size - 1;

    for (size_t size = SIZE_MAX; size >= SIZE_MAX / 2; size /= 2)
        if (!(port->ops->share(port, root, port->rank == root ? "" : NULL, size, &segment) == PMAP_ENOMEM))
            return "more memory than there can be was shared";
    const char *failed = share_bytes(port, root, 5000, &segment);
    if (failed)
        return failed;
    const char *seen = look_at(segment, root, 5000);
    port->ops->unshare(port, segment);
    const char *met = meet(port, in);
    return seen ? seen : met;
}

/* ---- Running them on every rank ---- */

typedef const char *behaviour(struct pmap__port *port, struct inbox *in);

struct rank {
    behaviour *run;
    struct pmap__port *port;
    const char *wrong;
    pthread_t thread;
};

static void *run_rank(void *argument)
{
    struct rank *rank = argument;
    struct inbox *in = test_array(1, sizeof *in);
    rank->wrong = rank->run(rank->port, in);
    forget(in);
    free(in);
    rank->port->ops->close(rank->port, &(struct pmap__meetings){0});
    return NULL;
}

static void on_loopback(behaviour *run)
{
    enum { RANKS = 4 };
    struct rank ranks[RANKS];
    struct pmap__port *ports[RANKS];

    if (!CHECK_STATUS(pmap__loopback_open(RANKS, ports), PMAP_OK))
        return;
    for (int r = 0; r < RANKS; r++) {
        ranks[r] = (struct rank){.run = run, .port = ports[r]};
        if (!CHECK(pthread_create(&ranks[r].thread, NULL, run_rank, &ranks[r]) == 0))
            abort(); /* those that run wait for this one */
    }
    for (int r = 0; r < RANKS; r++) {
        pthread_join(ranks[r].thread, NULL);
        CHECK_SAYING(ranks[r].wrong == NULL, "rank %d: %s", r, ranks[r].wrong);
    }
}

static void on_mpi(behaviour *run)
{
    struct rank rank = {.run = run};
    if (pmap__mpi_state() == PMAP__MPI_LAUNCHED)
        CHECK_STATUS(pmap__mpi_init(false, NULL), PMAP_OK);
    if (!CHECK_STATUS(pmap__mpi_open(NULL, 0, &rank.port, NULL), PMAP_OK))
        return;
    run_rank(&rank);
    CHECK_SAYING(rank.wrong == NULL, "%s", rank.wrong);
}

static void on_ports(behaviour *run)
{
    if (test_processes() > 1)
        on_mpi(run);
    else
        on_loopback(run);
}

#define BEHAVIOUR(name) \
    static void test_##name(void) { on_ports(name); }
BEHAVIOUR(heads_come_in_the_order_they_were_sent)
BEHAVIOUR(bodies_of_any_size_arrive_whole)
BEHAVIOUR(short_messages_are_read_once)
BEHAVIOUR(body_that_nobody_wants_is_dropped)
BEHAVIOUR(everybody_floods_everybody)
BEHAVIOUR(collective_calls_agree)
BEHAVIOUR(shared_bytes_are_the_roots_on_every_rank)
BEHAVIOUR(several_segments_live_at_once)
BEHAVIOUR(share_of_too_much_is_refused_on_every_rank)

/* ---- Ports that live, and what their roots met ----
 *
 * Rank 0 is the root. What the others remember they believe only when they have heard from it, so it goes ahead and opens the
 * next port. */

#define HERE UINT64_C(42) /* lines of the program */
#define ELSEWHERE UINT64_C(99)

static bool no_mpi(void)
{
    if (test_processes() == 1)
        test_skip("loopback ports do not know of each other");
    return test_processes() == 1;
}

static struct pmap__port *open_port(uint64_t where)
{
    struct pmap__port *port = NULL;
    struct pmap_error error;

    return CHECK_STATUS(pmap__mpi_open(NULL, where, &port, &error), PMAP_OK) ? port : NULL;
}

static void close_port(struct pmap__port *port, struct pmap__meetings met)
{
    if (port == NULL)
        return;
    if (test_rank() == 0)
        port->owner = port; /* anything will do */
    port->ops->close(port, &met);
}

static void check_live(const struct pmap__port *expected)
{
    struct pmap__port *live = (struct pmap__port *)&live;
    int rank = -1;

    CHECK_STATUS(pmap__mpi_live(NULL, &live, &rank, NULL), PMAP_OK);
    CHECK(live == expected);
    CHECK_INT(rank, test_rank());
}

static void live_port_is_found_by_its_ranks(void)
{
    if (no_mpi())
        return;
    check_live(NULL);
    struct pmap__port *port = open_port(HERE);
    check_live(port);
    if (port)
        CHECK(port->met.n == 0 && port->owner == NULL);
    close_port(port, (struct pmap__meetings){0});
    check_live(NULL);
}

static void check_recall(uint64_t where, bool been, enum pmap_status expected)
{
    enum pmap_status status = PMAP_END;

    CHECK_INT(pmap__mpi_recall(NULL, where, &status), been);
    if (been)
        CHECK_STATUS(status, expected);
}

/* What the root met while the port lived is what the ranks recall when it is closed: each time once, the oldest first. */
static void meetings_are_recalled_when_the_port_is_closed(void)
{
    struct pmap__meetings met = {0};

    if (no_mpi())
        return;
    pmap__meeting_note(&met, HERE, PMAP_OK);
    pmap__meeting_note(&met, HERE + 1, PMAP_EINVAL);
    pmap__meeting_note(&met, HERE, PMAP_OK);
    check_recall(HERE, false, PMAP_OK);
    struct pmap__port *port = open_port(HERE);
    check_recall(HERE, false, PMAP_OK);
    close_port(port, met);
    if (test_rank() > 0) {
        check_recall(HERE + 2, false, PMAP_OK);
        check_recall(HERE + 1, true, PMAP_EINVAL);
        check_recall(HERE + 1, false, PMAP_OK);
        check_recall(HERE, true, PMAP_OK);
        check_recall(HERE, true, PMAP_OK);
    }
    check_recall(HERE, false, PMAP_OK);
    close_port(open_port(ELSEWHERE), (struct pmap__meetings){0});
}

/* A rank may come to lines of an older pool after those of a newer one, if one line made both. */
static void older_meetings_stay_until_they_are_recalled(void)
{
    if (no_mpi())
        return;
    close_port(open_port(ELSEWHERE), (struct pmap__meetings){1, 0, {{HERE, PMAP_OK, 2}}});
    if (test_rank() > 0)
        check_recall(HERE, true, PMAP_OK);
    close_port(open_port(ELSEWHERE), (struct pmap__meetings){1, 0, {{HERE + 1, PMAP_EBUSY, 1}}});
    close_port(open_port(ELSEWHERE), (struct pmap__meetings){0});
    if (test_rank() > 0) {
        check_recall(HERE + 1, true, PMAP_EBUSY);
        check_recall(HERE, true, PMAP_OK);
    }
    check_recall(HERE, false, PMAP_OK);
    close_port(open_port(ELSEWHERE), (struct pmap__meetings){0});
}

static void root_that_is_at_the_line_again_is_met_there(void)
{
    if (no_mpi())
        return;
    close_port(open_port(HERE), (struct pmap__meetings){1, 0, {{HERE, PMAP_EINVAL, 1}}});
    check_recall(HERE, false, PMAP_OK);
    close_port(open_port(HERE), (struct pmap__meetings){0});
    if (test_rank() > 0)
        check_recall(HERE, true, PMAP_EINVAL);
    close_port(open_port(ELSEWHERE), (struct pmap__meetings){0});
}

/* Two times, of which one is left when the root ends. */
static void root_that_ends_is_not_waited_for(void)
{
    if (no_mpi())
        return;
    close_port(open_port(HERE), (struct pmap__meetings){1, 0, {{HERE, PMAP_OK, 2}}});
    if (test_rank() > 0)
        check_recall(HERE, true, PMAP_OK);
    /* mpi_can_be_finalized_after_all_ports is the other half of this test */
}

static void mpi_can_be_finalized_after_all_ports(void)
{
    if (test_processes() == 1) {
        test_skip("no MPI here");
        return;
    }
    CHECK_INT(pmap__mpi_state(), PMAP__MPI_OURS);
    pmap__mpi_finalize();
    CHECK_INT(pmap__mpi_state(), PMAP__MPI_OVER);
}

static const struct test tests[] = {{"heads_come_in_the_order_they_were_sent", test_heads_come_in_the_order_they_were_sent},
                                    {"bodies_of_any_size_arrive_whole", test_bodies_of_any_size_arrive_whole},
                                    {"short_messages_are_read_once", test_short_messages_are_read_once},
                                    {"body_that_nobody_wants_is_dropped", test_body_that_nobody_wants_is_dropped},
                                    {"everybody_floods_everybody", test_everybody_floods_everybody},
                                    {"collective_calls_agree", test_collective_calls_agree},
                                    {"shared_bytes_are_the_roots_on_every_rank",
                                     test_shared_bytes_are_the_roots_on_every_rank},
                                    {"several_segments_live_at_once", test_several_segments_live_at_once},
                                    {"share_of_too_much_is_refused_on_every_rank",
                                     test_share_of_too_much_is_refused_on_every_rank},
                                    TEST(live_port_is_found_by_its_ranks),
                                    TEST(meetings_are_recalled_when_the_port_is_closed),
                                    TEST(older_meetings_stay_until_they_are_recalled),
                                    TEST(root_that_is_at_the_line_again_is_met_there),
                                    TEST(root_that_ends_is_not_waited_for),
                                    TEST(mpi_can_be_finalized_after_all_ports),
                                    {NULL, NULL}};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1 r2 r3 r5");
}
