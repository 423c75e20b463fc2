/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A rank in a map-reduce gets any steps and letters, in any order, after a plan that is sound: they are refused, or done. The other
 * rank acknowledges whatever it is sent. */
#include "port.h"

#include "engine/post.h"
#include "mapreduce/lean.h"
#include "mapreduce/sound.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const size_t fuzz_memory = 1 << 28; /* fronts and blocks have sizes of their own */

/* ---- Three map-reduces ---- */

static void count_bytes(struct pmap_view piece, struct pmap_emitter *out)
{
    const unsigned char *data = piece.data;
    for (size_t i = 0; i < piece.size; i++) {
        size_t size = 1 + data[i] % 20;
        pmap_emit_i64(out, &data[i], size < piece.size - i ? size : piece.size - i, 1);
    }
}
PMAP_MAPREDUCE(counts, .map = count_bytes, .combine = pmap_sum_i64, .key = PMAP_TYPE_BYTES, .value = PMAP_TYPE_I64);

static void each_record(struct pmap_view record, struct pmap_emitter *out)
{
    pmap_emit(out, record.data, record.size < 100 ? record.size : 100, record.data, record.size);
}
PMAP_MAPREDUCE(records, .map_record = each_record, .key = PMAP_TYPE_BYTES, .value = PMAP_TYPE_BYTES);

static void each_pair(struct pmap_view key, struct pmap_view value, struct pmap_emitter *out)
{
    pmap_emit(out, key.data, key.size, value.data, value.size);
}
static bool never_near(const char *path, uint64_t offset)
{
    return path == NULL && offset;
}
PMAP_MAPREDUCE(pairs, .map_pair = each_pair, .key = PMAP_TYPE_BYTES, .value = PMAP_TYPE_BYTES, .near = never_near);

static struct pmap_mapreduce *const all[] = {&counts_mapreduce, &records_mapreduce, &pairs_mapreduce};

/* ---- The rank ---- */

static struct fuzz_port port;
static struct pmap__post post;
static struct pmap__place place;
static struct pmap__loop loop;
static struct pmap__bell bell;
static char path[64];

/* A letter of ours is acknowledged: rank 1 answers at once. */
static void letter_sent(struct fuzz_port *p, int to, const struct pmap__frame *f, size_t size)
{
    const struct pmap__frame ack = {.kind = PMAP__LETTER, .id = f->id, .words = {UINT64_MAX, size}};
    (void)p;

    fuzz_check(f->kind == PMAP__LETTER, "letters are sent, and nothing else");
    if (f->words[0] != UINT64_MAX)
        pmap__post_deliver(&post, to, &ack, NULL, 0);
}

static void send_all(void *unused)
{
    enum pmap_status status;
    (void)unused;

    pmap__post_flush(&post, &status);
    while (port.n_tokens)
        pmap__post_sent(port.tokens[--port.n_tokens]);
}

/* Run a step as an item of the call's task. */
static void run_step(const struct pmap_task *task, const void *item, size_t size)
{
    struct pmap__failures failures;
    struct pmap_bytes in = {(void *)(uintptr_t)item, size}, out = {NULL, 0};
    struct pmap__run run;

    pmap__failures_init(&failures);
    pmap__run_clear(&run);
    run.task = task;
    run.place = &place;
    run.failures = &failures;
    run.args = (const char *)&in;
    run.results = (char *)&out;
    pmap__run_begin(&run);
    pmap__run_span(&run, 0, 1);
    pmap__run_end(&run);
    pmap__failures_fini(&failures);
    if (out.data && size >= sizeof(struct pmap__step)) {
        struct pmap__step step;
        memcpy(&step, item, sizeof step);
        fuzz_check(pmap__answer_bad_field(&step, size - sizeof step, out) == NULL, "an answer to a step is sound");
    }
    free(out.data);
    send_all(NULL);
}

static void step_with(const struct pmap_task *task, const struct pmap__step *step, const void *payload, size_t size)
{
    char *item = malloc(sizeof *step + size);

    if (item == NULL)
        abort();
    memcpy(item, step, sizeof *step);
    if (size)
        memcpy(item + sizeof *step, payload, size);
    run_step(task, item, sizeof *step + size);
    free(item);
}

/* A plan of two ranks with these flags. */
static void begin(struct pmap_mapreduce *what, unsigned flags)
{
    uint64_t threads[] = {1, 1}, owners[] = {0, 1};
    struct pmap__file file = {path, 300, false};
    struct pmap__plan plan = {.number = 1, .task = what->task.id, .ranks = 2, .threads = threads, .partitions = 1 + (flags & 3), .n_owners = 2,
                              .owners = owners, .memory = 1 << 20, .files = {&file, 1}, .record_size = flags & 4 ? 4 : 0, .record_max = 1000,
                              .staged = flags >> 3 & 1, .ranges = flags >> 4 & 1, .plain = flags >> 5 & 1,
                              .sink = flags & 64 ? PMAP__SINK_STASH : PMAP__SINK_NONE, .separator = (char *)(uintptr_t)"\t"};
    struct pmap__step step = {.kind = PMAP__STEP_BEGIN, .number = 1};
    void *bytes;
    size_t size;

    if (pmap__plan_encode(&plan, &bytes, &size) != PMAP_OK)
        abort();
    step_with(&what->task, &step, bytes, size);
    free(bytes);
    fuzz_check(pmap__post_find(&post, 1) != NULL, "a sound plan makes a site");
}

static void take_letter(struct fuzz_input *in)
{
    struct pmap__frame f = {.kind = PMAP__LETTER, .id = 1};

    f.words[0] = fuzz_number(in, 1);
    if (f.words[0] > 250)
        f.words[0] = UINT64_MAX;
    f.words[1] = fuzz_number(in, 2);
    size_t size = fuzz_number(in, 2);
    void *body = size && in->left ? fuzz_bytes(in, &size) : NULL;
    pmap__post_deliver(&post, 1, &f, body, body ? size : 0);
    send_all(NULL);
}

/* BEGIN again, and the files that SPLIT_HERE and the like would need, are not for an input to say. */
static void take_step(struct fuzz_input *in, const struct pmap_task *task)
{
    struct pmap__step step = {.number = 1};
    uint64_t *const fields[] = {&step.split_kind, &step.split.index, &step.split.file, &step.split.begin, &step.split.end, &step.partition,
                                &step.block, &step.dataset, &step.most, &step.offset, &step.total};

    step.kind = fuzz_number(in, 1) % 16;
    unsigned which = (unsigned)fuzz_number(in, 2);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (which >> i & 1)
            *fields[i] = which & 1 << 15 ? fuzz_number(in, 8) : fuzz_number(in, 2);
    if (step.kind == PMAP__STEP_BEGIN)
        step.kind = 0;
    size_t size = fuzz_number(in, 2);
    void *payload = fuzz_bytes(in, &size);
    step_with(task, &step, payload, size);
    free(payload);
}

static void make_file(void)
{
    int file;

    snprintf(path, sizeof path, "/tmp/pmap-fuzz-XXXXXX");
    file = mkstemp(path);
    fuzz_check(file >= 0 && dup2(file, 100) == 100 && unlink(path) == 0, "there is a file");
    for (int i = 0; i < 100; i++)
        fuzz_check(write(file, i % 10 == 9 ? "ab\n" : "cde", 3) == 3, "it can be written");
    snprintf(path, sizeof path, "/proc/self/fd/100");
}

void fuzz_one(struct fuzz_input *in)
{
    struct pmap_mapreduce *what = all[fuzz_number(in, 1) % 3];

    if (path[0] == '\0')
        make_file();
    fuzz_port_init(&port, in, 0, 2);
    port.sent = letter_sent;
    pmap__place_here(&place, 0);
    pmap__post_init(&post, &port.port);
    pmap__bell_init(&bell);
    loop.bell = &bell;
    post.loop = &loop;
    place.post = &post;
    place.attend = send_all;
    begin(what, (unsigned)fuzz_number(in, 1));
    while (in->left > 0)
        if (fuzz_number(in, 1) & 1)
            take_letter(in);
        else
            take_step(in, &what->task);
    pmap__post_fini(&post);
    pmap__bell_fini(&bell);
}

/* ---- Seeds ---- */

static void put_step(uint64_t kind, uint64_t split_kind, const void *payload, size_t size)
{
    fuzz_put(0, 1);
    fuzz_put(kind, 1);
    fuzz_put(1 | 1 << 4 | 1 << 8, 2); /* these fields: */
    fuzz_put(split_kind, 2);
    fuzz_put(200, 2);
    fuzz_put(10, 2);
    fuzz_put(size, 2);
    fuzz_put_bytes(payload, size);
}

static size_t put_records(char bytes[static 400], size_t n, size_t value_size)
{
    size_t size = 0;

    for (uint64_t i = 0; i < n; i++) {
        struct pmap__pair pair = {.key = "abcdefghijkl", .key_size = 3 + i, .value = "1234567890123456", .value_size = value_size, .tag = i};
        pmap__record_write(bytes + size, &pair);
        size += pmap__pair_size(pair.key_size, pair.value_size);
    }
    return size;
}

static size_t put_lean(char bytes[static 400], size_t n)
{
    size_t size = 0;

    for (uint64_t i = 0; i < n; i++)
        size += pmap__lean_write(bytes + size, "abcdefghijklmnopqrs", 3 + 5 * i, &i, sizeof i);
    return size;
}

void fuzz_seeds(void)
{
    static _Alignas(8) char bytes[400];
    static const uint64_t kinds[] = {PMAP__STEP_MAP, PMAP__STEP_DRAIN, PMAP__STEP_FLUSH, PMAP__STEP_REDUCE, PMAP__STEP_FETCH, PMAP__STEP_COUNTS,
                                     PMAP__STEP_COMMIT, PMAP__STEP_KEEP, PMAP__STEP_STOP, PMAP__STEP_END};

    for (unsigned what = 0; what < 3; what++)
        for (unsigned flags = 0; flags < 128; flags += 4) {
            size_t size = put_records(bytes, 4, what == 0 ? 8 : flags % 16);
            fuzz_put(what, 1);
            fuzz_put(flags | what, 1);
            if (flags & 16) {
                put_step(PMAP__STEP_SAMPLE, what == 2 ? PMAP__SPLIT_STORES : PMAP__SPLIT_FILE, NULL, 0);
                put_step(PMAP__STEP_BORDERS, 0, bytes, put_records(bytes, what, 0));
            }
            if (what == 2)
                put_step(PMAP__STEP_NEAR, 0, bytes, sizeof(struct pmap__split));
            fuzz_put(1, 1);
            fuzz_put(0, 1);
            fuzz_put(4, 2);
            size = what == 0 ? put_lean(bytes, 4) : put_records(bytes, 4, flags % 16);
            fuzz_put(size, 2);
            fuzz_put_bytes(bytes, size);
            for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
                put_step(kinds[k], flags & 4 ? PMAP__SPLIT_BEHIND : what == 1 ? PMAP__SPLIT_FILE : what == 2 ? PMAP__SPLIT_DATASET : PMAP__SPLIT_RECORDS,
                         flags & 4 ? bytes : NULL, flags & 4 ? 40 : 0);
            fuzz_put_end();
        }
}
