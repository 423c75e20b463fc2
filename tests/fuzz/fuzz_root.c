/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A root whose two ranks answer what they like, and at last properly what they have not answered: the job is done, or the MPI job ends with a
 * reason. Answers are made from the chunk that was sent, with some fields replaced: so they are nearly right. */
#include "port.h"

#include "engine/root_inside.h"
#include "engine/wait.h"

#include <stdlib.h>
#include <string.h>

const size_t fuzz_memory = 1 << 22;

static unsigned half(int x) { return (unsigned)x / 2; }
PMAP_TASK(half, unsigned, int);

static unsigned add(unsigned a, unsigned b) { return a + b; }
PMAP_OP(add, unsigned);

static struct pmap_bytes doubled(struct pmap_bytes x) { return x; }
PMAP_BYTES_TASK(doubled);

/* ---- The ranks ---- */

enum { ITEMS = 40, CHUNKS = 64 };

static struct {
    struct pmap__frame frame;
    int rank;
} chunks[CHUNKS]; /* that are not answered */
static size_t n_chunks;
static bool over; /* goodbye has been said */
static struct pmap__root *root;

static void sent(struct fuzz_port *port, int to, const struct pmap__frame *frame, size_t size)
{
    (void)port, (void)size;
    over |= frame->kind == PMAP__BYE;
    if (frame->kind != PMAP__CHUNK)
        return;
    fuzz_check(n_chunks < CHUNKS, "there are not so many chunks at once");
    chunks[n_chunks].frame = *frame;
    chunks[n_chunks++].rank = to;
}

/* Bytes of the results of a chunk that is well: as pack.h says for results without bytes, as fold.h says for a reduction. */
static size_t results_size(const struct pmap__frame *f)
{
    const struct pmap__ticket *ticket = root->tickets.all[f->ticket];
    struct pmap__node nodes[PMAP__FOLD_NODES];

    if (f->op && ticket->job) /* else another answer named this chunk */
        return sizeof(unsigned) * pmap__fold_nodes(ticket->job->fold, (size_t)f->begin, (size_t)(f->begin + f->n), nodes);
    if (f->task == doubled_task.id)
        return f->n > 1 ? (f->n * 8 + 15) / 16 * 16 : 0;
    return (size_t)f->n * sizeof(int);
}

static void answer(struct fuzz_message *m, const struct pmap__frame *frame, int from, size_t size)
{
    m->from = from;
    m->head_size = pmap__frame_encode(frame, m->head);
    m->size = size;
    m->body = size ? calloc(1, size) : NULL;
}

/* Records of the first items. */
static void answer_records(struct fuzz_message *m, const struct pmap__frame *f)
{
    static unsigned char bytes[ITEMS * PMAP__HEAD_MAX];
    size_t size = 0;

    for (uint64_t i = 0; i < f->records; i++)
        size += pmap__entry_encode(&(struct pmap__entry){f->begin + i, 1, PMAP_EFAILED}, NULL, bytes + size);
    answer(m, f, m->from, size);
    memcpy(m->body, bytes, size);
}

/* Replace some fields; of the body, too. */
static void distort(struct fuzz_input *in, struct pmap__frame *f, struct pmap_error *error, struct fuzz_message *m)
{
    unsigned which = (unsigned)fuzz_number(in, 2);
    uint64_t *const fields[] = {&f->ticket, &f->begin, &f->n, &f->busy, &f->failed, &f->skipped, &f->records};

    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (which >> i & 1)
            *fields[i] = which & 1 << 15 ? *fields[i] + fuzz_number(in, 1) : fuzz_number(in, 8);
    if (which & 1 << 7)
        f->kind = (enum pmap__frame_kind)(PMAP__CHUNK + fuzz_number(in, 1) % 11);
    if (which & 1 << 8)
        error->item = fuzz_number(in, 8);
    f->error = error;
    if (f->kind == PMAP__BYE)
        f->kind = PMAP__READY;
    answer(m, f, m->from, m->size);
    if (which & 1 << 9) {
        free(m->body);
        m->size = fuzz_number(in, 2);
        m->body = fuzz_bytes(in, &m->size);
    }
    if (which & 1 << 10)
        m->from = (int)fuzz_number(in, 1) % 2 + 1;
}

/* An answer to one of the chunks; with a failure, refused, or after records of failures. */
static bool next(struct fuzz_port *port, struct fuzz_message *m)
{
    static struct pmap_error error;
    bool tame = port->in->left == 0;
    unsigned how = (unsigned)fuzz_number(port->in, 1);

    if (tame && (port->n_landings || port->n_tokens))
        return false; /* they come first */
    if (n_chunks == 0)
        return false;
    size_t i = (size_t)fuzz_number(port->in, 1) % n_chunks;
    struct pmap__frame c = chunks[i].frame, f = {.kind = PMAP__RESULT, .ticket = c.ticket, .begin = c.begin, .n = c.n, .busy = 1};
    bool fails = how & 1 || c.seed, records = how & 2 && c.seed == 0, keep = how & 4;
    error = (struct pmap_error){.status = PMAP_EFAILED, .item = c.begin, .text = "failed", .rank = chunks[i].rank};
    if (fails) {
        f.failed = 1;
        f.error = &error;
    }
    m->from = chunks[i].rank;
    if (records) { /* and no result yet: the next answer to this chunk */
        f.kind = PMAP__RECORDS;
        f.records = c.op ? c.n : 1;
        answer_records(m, &f);
        chunks[i].frame.seed = f.records; /* so that its result says so */
        keep = true;
    } else {
        if (how & 8)
            f.kind = PMAP__REFUSAL, f.error = &error;
        f.records = chunks[i].frame.seed;
        answer(m, &f, m->from, f.kind == PMAP__REFUSAL || (fails && c.op) ? 0 : results_size(&c));
    }
    if (how & 16 && !tame) {
        free(m->body);
        m->body = NULL;
        distort(port->in, &f, &error, m);
        keep |= f.ticket != c.ticket || (f.kind != PMAP__RESULT && f.kind != PMAP__REFUSAL); /* it is no answer to this chunk */
    }
    if (!keep)
        chunks[i] = chunks[--n_chunks];
    return true;
}

/* ---- The job ---- */

/* What the process has of it: the root's own memory goes with the input. */
static void remove_root(void)
{
    if (!atomic_load(&root->closing))
        pmap__watch_remove(&root->watched);
    pmap__watch_release();
    pmap__caller_remove(&root->loop);
}

static bool is_done(const void *job)
{
    return pmap__job_is_done(job);
}

static int ints[ITEMS], int_results[ITEMS];
static struct pmap_bytes bytes[ITEMS], bytes_results[ITEMS];
static enum pmap_status statuses[ITEMS];
static double costs[ITEMS];

/* A form from the first bytes of an input. */
static struct pmap__order_form form_of(struct fuzz_input *in)
{
    unsigned flags = (unsigned)fuzz_number(in, 1);
    bool of_bytes = (flags & 0xc0) == 0x40, reduces = (flags & 0xc0) == 0x80;
    struct pmap__order_form form = {.call = "pmap_map", .task = of_bytes ? &doubled_task : &half_task, .n = 1 + fuzz_number(in, 1) % ITEMS,
                                    .chunksize = fuzz_number(in, 1) % 8, .on_error = (enum pmap_on_error)(flags & 3) % 3};

    form.args = of_bytes ? (const void *)bytes : ints;
    form.results = of_bytes ? (void *)bytes_results : int_results;
    form.op = reduces ? &add_op : NULL;
    form.statuses = flags & 4 && !reduces ? statuses : NULL;
    form.retries = flags & 8 && !of_bytes ? 1 : 0; /* who says that an item failed, and sends its bytes, makes them leak */
    form.reasons = flags & 16;
    form.cost = flags & 32 && !reduces ? costs : NULL;
    return form;
}

static void run(struct fuzz_port *port, const struct pmap__order_form *form)
{
    static struct pmap__place place;
    static struct pmap__tenant tenant;
    static struct pmap__job job;
    static const int threads[] = {0, 1, 2};
    struct pmap__root_parts parts = {.port = &port->port, .place = &place, .asked = 1, .caller_steps = true};
    struct pmap_error error;

    pmap__place_here(&place, 0);
    if (pmap__root_create(&parts, &root) != PMAP_OK)
        abort();
    fuzz_on_give_up(remove_root);
    pmap__root_start(root, threads);
    pmap__tenant_enter(&tenant, root, NULL, false, -1);
    if (pmap__job_init(&job, form) != PMAP_OK || pmap__tenant_submit(&tenant, &job, &error) != PMAP_OK)
        abort();
    pmap__job_watch(&job);
    pmap__wait(is_done, &job, PMAP__FOR_EVER);
    pmap__job_outcome(&job, &error);
    pmap__job_fini(&job);
    pmap__tenant_join(&tenant);
    pmap__tenant_leave(&tenant);
    fuzz_check(over && port->closed, "a root that ends says goodbye");
}

void fuzz_one(struct fuzz_input *in)
{
    static struct fuzz_port port;
    struct pmap__order_form form = form_of(in);

    static bool watching;

    if (!watching && pmap__watch_hold() != PMAP_OK) /* one watcher for all inputs */
        abort();
    watching = true;
    n_chunks = 0;
    over = false;
    for (size_t i = 0; i < ITEMS; i++) {
        costs[i] = (double)(i * 7 % 5);
        bytes_results[i] = (struct pmap_bytes){NULL, 0};
    }
    fuzz_port_init(&port, in, 0, 3);
    port.next = next;
    port.sent = sent;
    run(&port, &form);
    for (size_t i = 0; i < ITEMS; i++)
        free(bytes_results[i].data);
}

/* ---- Seeds ---- */

void fuzz_seeds(void)
{
    static const unsigned kinds[] = {0x00, 0x04, 0x1c, 0x24, 0x40, 0x4c, 0x60, 0x80, 0x88};
    static const unsigned hows[] = {0, 1, 2, 3, 8, 16, 17, 18};

    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (size_t h = 0; h < sizeof hows / sizeof *hows; h++) {
            fuzz_put(kinds[k], 1);
            fuzz_put(30, 1);
            fuzz_put(h % 4 * 2, 1);
            for (int i = 0; i < 4; i++) {
                fuzz_put(i % 2 ? 0x1f : 0x0f, 1); /* the dice of the port */
                fuzz_put(hows[h], 1);
                fuzz_put((uint64_t)i, 1);
                if (hows[h] & 16)
                    fuzz_put(UINT64_C(1) << i | 1 << 15, 2), fuzz_put(1, 1);
            }
            fuzz_put_end();
        }
}
