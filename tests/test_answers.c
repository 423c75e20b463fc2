/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * engine: a root believes no answer that makes no sense. The other rank is a port made for it: it answers the first chunk with one field
 * changed. Each case is a process of its own, for the root ends the MPI job, with a text that names the field. tests/fuzz looks for
 * more.
 */
#include "harness.h"

#include "engine/fold.h"
#include "engine/root.h"
#include "engine/wait.h"
#include "wire/frame.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int half(int x) { return x / 2; }
PMAP_TASK(half, int, int);

static int sum(int a, int b) { return a + b; }
PMAP_OP(sum, int);

/* ---- A rank that answers once, in a certain way ---- */

struct answer {
    struct pmap__frame records, result; /* records.records 0: there are none */
    struct pmap_error error;
    size_t size; /* of the body */
};

typedef void change_fn(struct answer *answer);

static struct {
    struct pmap__port port;
    struct pmap__frame chunk;
    bool asked;
    change_fn *change;
    bool in_two_steps; /* land() and arrived() */
    int pipe;
} rank;

static enum pmap_status send(struct pmap__port *port, int to, const unsigned char *head, size_t head_size, const void *body, size_t size,
                             void *token)
{
    struct pmap__inside inside;
    (void)port, (void)to, (void)body, (void)size, (void)token;

    if (!rank.asked && pmap__frame_decode(head, head_size, &rank.chunk, &inside, NULL) == PMAP_OK)
        rank.asked = rank.chunk.kind == PMAP__CHUNK;
    return PMAP_OK;
}

static void deliver(const struct pmap__receiver *r, const struct pmap__frame *frame, const void *bytes, size_t size)
{
    unsigned char head[PMAP__HEAD_MAX];
    size_t head_size = pmap__frame_encode(frame, head);

    if (!rank.in_two_steps) {
        r->whole(r->owner, 1, head, head_size, bytes, size);
        return;
    }
    void *to = size ? r->land(r->owner, 1, head, head_size, size) : NULL;
    if (to)
        memcpy(to, bytes, size);
    r->arrived(r->owner, 1, head, head_size, to, size);
}

static enum pmap_status poll(struct pmap__port *port, const struct pmap__receiver *r, int *events)
{
    static const int bytes[4096];
    const struct pmap__frame *c = &rank.chunk;
    (void)port;

    *events = rank.asked;
    if (!rank.asked)
        return PMAP_OK;
    struct answer a = {.records = {.kind = PMAP__RECORDS, .ticket = c->ticket, .begin = c->begin, .n = c->n},
                       .result = {.kind = PMAP__RESULT, .ticket = c->ticket, .begin = c->begin, .n = c->n},
                       .error = {.status = PMAP_EFAILED, .item = (size_t)c->begin, .text = "failed"}, .size = (size_t)c->n * sizeof(int)};
    a.result.error = &a.error;
    rank.change(&a);
    if (a.records.records) {
        unsigned char record[2 * PMAP__HEAD_MAX];
        size_t size = 0;
        for (uint64_t i = 0; i < a.records.records; i++)
            size += pmap__entry_encode(&(struct pmap__entry){a.error.item, 1, PMAP_EFAILED}, NULL, record + size);
        deliver(r, &a.records, record, size);
    }
    deliver(r, &a.result, bytes, a.size);
    return PMAP_OK;
}

/* What the root says, to the parent. */
static void end_job(struct pmap__port *port, const char *text)
{
    (void)port;
    _exit(write(rank.pipe, text, strlen(text)) < 0 ? 4 : 3);
}

static bool active(const struct pmap__port *port)
{
    (void)port;
    return false;
}

/* ---- The root ---- */

static bool is_done(const void *job)
{
    return pmap__job_is_done(job);
}

/* In a process of its own; returns only if it believes the answer. */
static void ask(bool reduction, enum pmap_status *statuses)
{
    static const struct pmap__transport ops = {.name = "test", .send = send, .poll = poll, .abort = end_job, .active = active};
    static int in[100], out[100];
    static const int threads[] = {0, 1};
    struct pmap__place place;
    struct pmap__tenant tenant;
    struct pmap__job job;
    struct pmap__root *root;
    struct pmap_error error;

    rank.port = (struct pmap__port){.ops = &ops, .rank = 0, .size = 2, .copied = 4096};
    struct pmap__root_parts parts = {.port = &rank.port, .place = &place, .asked = 1, .caller_steps = true};
    struct pmap__order_form form = {.call = "pmap_map", .task = &half_task, .args = in, .results = out, .n = 100, .chunksize = 10,
                                    .op = reduction ? &sum_op : NULL, .statuses = statuses};
    pmap__place_here(&place, 0);
    if (pmap__root_create(&parts, &root) != PMAP_OK)
        _exit(5);
    pmap__root_start(root, threads);
    pmap__tenant_enter(&tenant, root, NULL, false, -1);
    if (pmap__job_init(&job, &form) != PMAP_OK || pmap__tenant_submit(&tenant, &job, &error) != PMAP_OK)
        _exit(5);
    pmap__job_watch(&job);
    pmap__wait(is_done, &job, PMAP__FOR_EVER);
    _exit(0);
}

enum { PLAIN, STATUSES, REDUCTION };

static void refused(int kind, change_fn *change, const char *field)
{
    static enum pmap_status statuses[100];
    char text[1024] = "";
    int pipes[2], status = 0;

    for (int two = 0; two < 2; two++) {
        if (!CHECK(pipe(pipes) == 0))
            return;
        pid_t child = fork();
        if (child == 0) {
            rank.change = change;
            rank.in_two_steps = two;
            rank.pipe = pipes[1];
            ask(kind == REDUCTION, kind == STATUSES ? statuses : NULL);
        }
        close(pipes[1]);
        ssize_t size = read(pipes[0], text, sizeof text - 1);
        close(pipes[0]);
        text[size > 0 ? size : 0] = '\0';
        waitpid(child, &status, 0);
        CHECK_SAYING(WIFEXITED(status) && WEXITSTATUS(status) == 3, "a bad %s ended with status %x", field, status);
        CHECK_NAMES(text, field);
        CHECK_NAMES(text, "rank 1");
    }
}

/* ---- Tests ---- */

static void other_ticket(struct answer *a) { a->result.ticket += 1000; }
static void highest_ticket(struct answer *a) { a->result.ticket = UINT64_MAX; }
static void other_begin(struct answer *a) { a->result.begin++; }
static void other_n(struct answer *a) { a->result.n++; }
static void short_body(struct answer *a) { a->size--; }
static void long_body(struct answer *a) { a->size += sizeof(int); }
static void no_body(struct answer *a) { a->size = 0; }
static void refusal_with_body(struct answer *a) { a->result.kind = PMAP__REFUSAL; }
static void no_answer(struct answer *a)
{
    a->result = (struct pmap__frame){.kind = PMAP__CANCEL};
    a->size = 0;
}

static void answers_to_nothing_that_was_asked_are_refused_by_field(void)
{
    refused(PLAIN, other_ticket, "ticket");
    refused(PLAIN, highest_ticket, "ticket");
    refused(PLAIN, other_begin, "begin");
    refused(PLAIN, other_n, "n");
    refused(PLAIN, short_body, "size");
    refused(PLAIN, long_body, "size");
    refused(PLAIN, no_body, "size");
    refused(PLAIN, refusal_with_body, "size");
    refused(PLAIN, no_answer, "kind");
    refused(REDUCTION, short_body, "size");
    refused(REDUCTION, no_body, "size");
}

static void all_and_one_failed(struct answer *a) { a->result.failed = a->result.n + 1; }
static void countless_failed(struct answer *a) { a->result.failed = UINT64_MAX; }
static void too_many_skipped(struct answer *a)
{
    a->result.failed = 1;
    a->result.skipped = a->result.n;
}
static void countless_skipped(struct answer *a) { a->result.skipped = UINT64_MAX; }
static void item_before(struct answer *a)
{
    a->result.failed = 1;
    a->error.item = (size_t)(a->result.begin + a->result.n);
}
static void item_nowhere(struct answer *a)
{
    a->result.failed = 1;
    a->error.item = SIZE_MAX;
}

static void failures_of_more_or_other_items_are_refused_by_field(void)
{
    static const int kinds[] = {PLAIN, REDUCTION};

    for (size_t i = 0; i < 2; i++) {
        refused(kinds[i], countless_failed, "failed");
        refused(kinds[i], all_and_one_failed, "failed");
        refused(kinds[i], countless_skipped, "skipped");
        refused(kinds[i], too_many_skipped, "skipped");
        refused(kinds[i], item_before, "error.item");
        refused(kinds[i], item_nowhere, "error.item");
    }
}

static void unwanted_records(struct answer *a)
{
    a->result.failed = 1;
    a->result.records = a->records.records = 1;
}
static void missing_records(struct answer *a) { a->result.failed = 1; }
static void records_never_sent(struct answer *a)
{
    a->result.failed = 1;
    a->result.records = 1;
}
static void other_number_of_records(struct answer *a)
{
    a->result.failed = 2;
    a->result.records = 2;
    a->records.records = 1;
}
static void records_of_nothing(struct answer *a) { a->result.records = a->records.records = 1; }
static void record_of_another_chunk(struct answer *a)
{
    unwanted_records(a);
    a->result.error = NULL;
    a->result.failed = 0;
    a->result.skipped = 1;
    a->error.item = (size_t)(a->result.begin + a->result.n);
}

static void records_that_do_not_fit_are_refused_by_field(void)
{
    refused(PLAIN, unwanted_records, "records");
    refused(STATUSES, missing_records, "records");
    refused(STATUSES, records_never_sent, "records");
    refused(STATUSES, other_number_of_records, "records");
    refused(STATUSES, records_of_nothing, "records");
    refused(STATUSES, record_of_another_chunk, "item");
}

static const struct test tests[] = {TEST(answers_to_nothing_that_was_asked_are_refused_by_field),
                                    TEST(failures_of_more_or_other_items_are_refused_by_field),
                                    TEST(records_that_do_not_fit_are_refused_by_field),
                                    {NULL, NULL}};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1");
}
