/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * wire: every frame survives its way through bytes; whatever else the bytes are is refused by name, never read past.
 */
#include "harness.h"
#include "wire/frame.h"
#include "wire/span.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static struct pmap_error sample_error(void)
{
    struct pmap_error e = {.status = PMAP_EFAILED, .code = -7, .item = 1234567890123, .rank = 41, .thread = 3,
                           .host = "node3", .text = "pmap: it failed"};
    return e;
}

/* A frame of each kind with something in every field that it has; a CHUNK of a reduction is one more. */
enum { REDUCTION = PMAP__BYE + 1, SAMPLES };

static struct pmap__frame sample_chunk(bool reduction)
{
    struct pmap__frame f = {.kind = PMAP__CHUNK, .ticket = UINT64_C(0xfedcba9876543210), .begin = 1000, .n = 17, .grain = 5,
                            .task = UINT64_MAX, .args_size = 24, .result_size = 8, .job = UINT64_C(0x8000000000000001),
                            .seed = UINT64_C(0x123456789abcdef0), .priority = -3, .wants = PMAP__WANT_RECORDS | PMAP__NAMED | PMAP__LIMITED | PMAP__TRACED,
                            .timeout = UINT64_C(1) << 40, .max_rss = UINT64_C(1) << 50, .observer = UINT64_C(1) << 62,
                            .call = UINT64_C(5) << 48 | 9, .chunk = UINT64_C(1) << 33, .attempt = 3};
    if (reduction) {
        f.wants = PMAP__WANT_RECORDS | PMAP__WANT_STOP | PMAP__LIMITED | PMAP__TRACED;
        f.op = UINT64_MAX - 1;
        f.leaf = 64;
        f.total = 1016 * 64 + 1; /* leaves 1000 to 1016: the last of them is the last of all, and has one item */
    }
    return f;
}

static struct pmap__frame sample(int kind)
{
    static struct pmap_error e;
    static const struct pmap__meetings met = {2, 0, {{77, PMAP_OK, 3}, {UINT64_MAX, PMAP_END, UINT32_MAX}}};
    struct pmap__frame f = {.kind = (enum pmap__frame_kind)kind};

    e = sample_error();
    if (kind == PMAP__CHUNK || kind == REDUCTION)
        return sample_chunk(kind == REDUCTION);
    if (kind < PMAP__CANCEL) {
        f.ticket = 7;
        f.begin = UINT64_C(1) << 40;
        f.n = 4;
    }
    switch (f.kind) {
    case PMAP__RECORDS:
        f.records = 3;
        break;
    case PMAP__RESULT:
        f.busy = 99;
        f.failed = 2;
        f.skipped = 11;
        f.records = 4;
        f.timed = true;
        f.arrived = UINT64_C(1) << 60;
        f.begun = f.arrived + 1;
        f.ended = UINT64_MAX;
        f.error = &e;
        break;
    case PMAP__REFUSAL:
        f.error = &e;
        break;
    case PMAP__CANCEL:
        f.job = UINT64_MAX;
        break;
    case PMAP__SHARE:
    case PMAP__UNSHARE:
        f.id = UINT64_C(0xffffffff00000001);
        f.size = SIZE_MAX;
        break;
    case PMAP__LETTER:
        f.id = 12345;
        f.words[0] = UINT64_MAX;
        f.words[1] = UINT64_C(0x0123456789abcdef);
        break;
    case PMAP__READY:
        f.id = 7;
        f.size = SIZE_MAX;
        break;
    case PMAP__LOST:
        f.rank = 9999;
        break;
    case PMAP__HOLD:
        break;
    default:
        f.met = &met;
    }
    return f;
}

static bool same_error(const struct pmap_error *a, const struct pmap_error *b)
{
    return a->status == b->status && a->code == b->code && a->item == b->item && a->rank == b->rank &&
           a->thread == b->thread && strcmp(a->host, b->host) == 0 && strcmp(a->text, b->text) == 0;
}

static bool same_lines(const struct pmap__meetings *a, const struct pmap__meetings *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    bool same = a->n == b->n;
    for (int i = 0; same && i < a->n; i++)
        same = a->lines[i].where == b->lines[i].where && a->lines[i].status == b->lines[i].status &&
               a->lines[i].times == b->lines[i].times;
    return same;
}

static bool same_chunk(const struct pmap__frame *a, const struct pmap__frame *b)
{
    return a->ticket == b->ticket && a->begin == b->begin && a->n == b->n && a->grain == b->grain && a->task == b->task &&
           a->args_size == b->args_size && a->result_size == b->result_size && a->job == b->job && a->seed == b->seed &&
           a->priority == b->priority && a->wants == b->wants && a->timeout == b->timeout &&
           a->max_rss == b->max_rss && a->op == b->op && a->leaf == b->leaf && a->total == b->total && a->observer == b->observer &&
           a->call == b->call && a->chunk == b->chunk && a->attempt == b->attempt;
}

static bool same_answer(const struct pmap__frame *a, const struct pmap__frame *b)
{
    return a->busy == b->busy && a->failed == b->failed && a->skipped == b->skipped && a->records == b->records &&
           a->timed == b->timed && a->arrived == b->arrived && a->begun == b->begun && a->ended == b->ended &&
           (a->error == NULL) == (b->error == NULL) && (a->error == NULL || same_error(a->error, b->error));
}

static bool same(const struct pmap__frame *a, const struct pmap__frame *b)
{
    return a->kind == b->kind && same_chunk(a, b) && same_answer(a, b) && a->id == b->id && a->size == b->size &&
           a->rank == b->rank &&
           a->words[0] == b->words[0] && a->words[1] == b->words[1] &&
           same_lines(a->met, b->met);
}

static void survives(const struct pmap__frame *f)
{
    unsigned char head[PMAP__HEAD_MAX];
    struct pmap__frame g;
    struct pmap__inside inside;

    memset(&g, 0xa5, sizeof g);
    size_t size = pmap__frame_encode(f, head);
    if (CHECK_STATUS(pmap__frame_decode(head, size, &g, &inside, NULL), PMAP_OK))
        CHECK(same(f, &g));
}

static void frames_survive_their_way_through_bytes(void)
{
    for (int kind = PMAP__CHUNK; kind < SAMPLES; kind++) {
        struct pmap__frame f = sample(kind);
        survives(&f);
    }
}

static void extreme_fields_survive_too(void)
{
    static const struct pmap__meetings none;
    struct pmap__frame f = sample(PMAP__CHUNK);
    f.begin = 0;
    f.n = f.grain = SIZE_MAX;
    f.args_size = 1;
    f.result_size = 0;
    survives(&f);
    f.priority = INT_MIN;
    f.wants = PMAP__WANTS - PMAP__APART;
    f.max_rss = INT64_MAX;
    survives(&f);
    f.priority = INT_MAX;
    f.wants = 0;
    f.timeout = f.max_rss = 0;
    f.observer = f.call = f.chunk = f.attempt = 0;
    survives(&f);
    f = sample(REDUCTION);
    f.begin = SIZE_MAX - 1;
    f.n = f.grain = f.leaf = f.args_size = 1;
    f.total = SIZE_MAX;
    survives(&f);
    f = sample(PMAP__RESULT); /* all is well: no error is in it */
    f.failed = f.skipped = f.records = 0;
    f.error = NULL;
    survives(&f);
    f.timed = false;
    f.arrived = f.begun = f.ended = 0;
    survives(&f);
    f = sample(PMAP__BYE);
    f.met = &none;
    survives(&f);
}

static void longest_frames_fit(void)
{
    unsigned char head[PMAP__HEAD_MAX];
    struct pmap__frame f = sample(PMAP__RESULT), g;
    struct pmap_error longest = sample_error();
    struct pmap__inside inside;
    struct pmap__meetings met;
    memset(longest.host, 'h', sizeof longest.host - 1);
    memset(longest.text, 't', sizeof longest.text - 1);
    f.error = &longest;
    size_t size = pmap__frame_encode(&f, head);
    CHECK(size <= PMAP__HEAD_MAX);
    if (CHECK_STATUS(pmap__frame_decode(head, size, &g, &inside, NULL), PMAP_OK)) {
        CHECK_INT(strlen(g.error->text), sizeof longest.text - 1);
        CHECK(same_error(g.error, &longest));
    }
    f = sample(PMAP__BYE);
    for (met.n = 0; met.n < PMAP__MEETINGS_MAX; met.n++)
        met.lines[met.n] = (struct pmap__meeting){(uint64_t)met.n, PMAP_EBUSY, 1};
    f.met = &met;
    survives(&f);
}

static void bytes_are_little_endian_and_fixed(void)
{
    unsigned char head[PMAP__HEAD_MAX];
    static const unsigned char expected[] = {PMAP__WIRE_VERSION, 0, 12, 0, 1, 0, 8, 7, 6, 5, 4, 3, 2, 1, 5, 0, 0, 0, 0x0d, 0x0c, 0x0b, 0x0a};
    static const struct pmap__meetings met = {1, 0, {{UINT64_C(0x0102030405060708), PMAP_EBUSY, 0x0a0b0c0d}}};
    struct pmap__frame f = {.kind = PMAP__BYE, .met = &met};
    CHECK_INT(pmap__frame_encode(&f, head), sizeof expected);
    CHECK(memcmp(head, expected, sizeof expected) == 0);
}

/* Bytes at the end of a buffer of their own, so that valgrind and the sanitizers see a read past them. */
static enum pmap_status decode_copy(const unsigned char *head, size_t size, struct pmap_error *error)
{
    unsigned char *copy = malloc(size ? size : 1);
    struct pmap__frame g;
    struct pmap__inside inside;
    memcpy(copy, head, size);
    enum pmap_status status = pmap__frame_decode(copy, size, &g, &inside, error);
    free(copy);
    return status;
}

static void cut_frames_are_refused(void)
{
    for (int kind = PMAP__CHUNK; kind < SAMPLES; kind++) {
        unsigned char head[PMAP__HEAD_MAX];
        struct pmap__frame f = sample(kind);
        size_t size = pmap__frame_encode(&f, head);
        for (size_t cut = 0; cut < size; cut++)
            CHECK_STATUS(decode_copy(head, cut, NULL), PMAP_EMISMATCH);
    }
}

static void longer_frames_are_refused(void)
{
    for (int kind = PMAP__CHUNK; kind < SAMPLES; kind++) {
        unsigned char head[PMAP__HEAD_MAX + 1] = {0};
        struct pmap_error error;
        struct pmap__frame f = sample(kind);
        size_t size = pmap__frame_encode(&f, head);
        CHECK_STATUS(decode_copy(head, size + 1, &error), PMAP_EMISMATCH);
        CHECK_NAMES(error.text, "length");
    }
}

/* What is refused changes nothing. */
static void refused_bytes_leave_the_frame_alone(void)
{
    unsigned char head[PMAP__HEAD_MAX];
    struct pmap__frame f = sample(PMAP__BYE), g, before;
    struct pmap__inside inside;

    memset(&g, 0xa5, sizeof g);
    before = g;
    size_t size = pmap__frame_encode(&f, head);
    CHECK_STATUS(pmap__frame_decode(head, size - 1, &g, &inside, NULL), PMAP_EMISMATCH);
    CHECK(memcmp(&g, &before, sizeof g) == 0);
}

static void refused(struct pmap__frame f, const char *field)
{
    unsigned char head[PMAP__HEAD_MAX];
    struct pmap_error error;
    size_t size = pmap__frame_encode(&f, head);
    if (CHECK_STATUS(decode_copy(head, size, &error), PMAP_EMISMATCH))
        CHECK_NAMES(error.text, field);
}

static void accepted(struct pmap__frame f)
{
    unsigned char head[PMAP__HEAD_MAX];
    size_t size = pmap__frame_encode(&f, head);
    CHECK_STATUS(decode_copy(head, size, NULL), PMAP_OK);
}

/* A sample with one field changed is refused, and the field named; or is accepted. */
#define REFUSED(sample_kind, change, field) \
    do {                                    \
        struct pmap__frame f = sample(sample_kind); \
        f.change;                           \
        refused(f, field);                  \
    } while (0)
#define ACCEPTED(sample_kind, change)       \
    do {                                    \
        struct pmap__frame f = sample(sample_kind); \
        f.change;                           \
        accepted(f);                        \
    } while (0)

/* Each field has here its lowest and highest values that are in range, and their neighbours that are not. Fields that are not in the list of
 * a kind take any number: ticket, task, job, seed, priority, call, chunk, op, busy, arrived, words, where, times, code. */
static void fields_of_a_chunk_out_of_range_are_refused_by_name(void)
{
    ACCEPTED(PMAP__CHUNK, begin = 0);
    ACCEPTED(PMAP__CHUNK, begin = SIZE_MAX - 17);
    REFUSED(PMAP__CHUNK, begin = SIZE_MAX - 16, "n");
    REFUSED(PMAP__CHUNK, begin = SIZE_MAX, "n");
    ACCEPTED(PMAP__CHUNK, n = 5); /* the grain */
    REFUSED(PMAP__CHUNK, n = 0, "n");
    REFUSED(PMAP__CHUNK, n = SIZE_MAX - 999, "n");
    REFUSED(PMAP__CHUNK, n = UINT64_MAX, "n");
    REFUSED(PMAP__CHUNK, n = SIZE_MAX - 1000, "args_size"); /* so many items are no array */
    ACCEPTED(PMAP__CHUNK, grain = 1);
    ACCEPTED(PMAP__CHUNK, grain = 17);
    REFUSED(PMAP__CHUNK, grain = 0, "grain");
    REFUSED(PMAP__CHUNK, grain = 18, "grain");
    REFUSED(PMAP__CHUNK, grain = UINT64_MAX, "grain");
    ACCEPTED(PMAP__CHUNK, args_size = 0);
    ACCEPTED(PMAP__CHUNK, args_size = SIZE_MAX / 17);
    REFUSED(PMAP__CHUNK, args_size = SIZE_MAX / 17 + 1, "args_size");
    REFUSED(PMAP__CHUNK, args_size = UINT64_MAX, "args_size");
    ACCEPTED(PMAP__CHUNK, result_size = 0);
    ACCEPTED(PMAP__CHUNK, result_size = SIZE_MAX / 17);
    REFUSED(PMAP__CHUNK, result_size = SIZE_MAX / 17 + 1, "result_size");
    REFUSED(PMAP__CHUNK, result_size = UINT64_MAX, "result_size");
    ACCEPTED(PMAP__CHUNK, wants = 0);
    ACCEPTED(PMAP__CHUNK, wants = PMAP__WANTS - PMAP__APART);
    REFUSED(PMAP__CHUNK, wants = PMAP__APART, "wants");
    REFUSED(PMAP__CHUNK, wants = PMAP__WANTS + 1, "wants");
    REFUSED(PMAP__CHUNK, wants = UINT_MAX, "wants");
    ACCEPTED(PMAP__CHUNK, timeout = PMAP__TIMEOUT_MAX);
    REFUSED(PMAP__CHUNK, timeout = PMAP__TIMEOUT_MAX + 1, "timeout");
    ACCEPTED(PMAP__CHUNK, max_rss = INT64_MAX);
    ACCEPTED(PMAP__CHUNK, max_rss = 0);
    REFUSED(PMAP__CHUNK, max_rss = (uint64_t)INT64_MAX + 1, "max_rss");
    ACCEPTED(PMAP__CHUNK, observer = UINT64_MAX);
    REFUSED(PMAP__CHUNK, observer = 0, "observer");
    ACCEPTED(PMAP__CHUNK, attempt = 1);
    ACCEPTED(PMAP__CHUNK, attempt = UINT_MAX);
    REFUSED(PMAP__CHUNK, attempt = 0, "attempt");
}

static void leaves_that_are_not_there_are_refused_by_name(void)
{
    ACCEPTED(REDUCTION, total = UINT64_C(1017) * 64);
    ACCEPTED(REDUCTION, wants = PMAP__WANTS - PMAP__NAMED);
    REFUSED(REDUCTION, wants = PMAP__NAMED, "wants");
    ACCEPTED(REDUCTION, leaf = 1);
    REFUSED(REDUCTION, leaf = 0, "leaf");
    REFUSED(REDUCTION, total = 0, "total");
    REFUSED(REDUCTION, total = 1016 * 64, "total"); /* the last leaf of the chunk has no item */
    REFUSED(REDUCTION, total = 1, "total");
    REFUSED(REDUCTION, leaf = 65, "total");
    REFUSED(REDUCTION, leaf = SIZE_MAX, "total");
    REFUSED(REDUCTION, n = 18, "total");
    REFUSED(REDUCTION, begin = 1001, "total");
    ACCEPTED(REDUCTION, total = SIZE_MAX / 24);
    REFUSED(REDUCTION, total = SIZE_MAX / 24 + 1, "total"); /* so many items are no array */
    REFUSED(REDUCTION, total = UINT64_MAX, "total");
}

/* Answers name the items of their chunk as it did. How many items of it may have failed, or were skipped, the root knows who sent it. */
static void fields_of_answers_out_of_range_are_refused_by_name(void)
{
    static const int kinds[] = {PMAP__RECORDS, PMAP__RESULT, PMAP__REFUSAL};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        ACCEPTED(kinds[i], begin = 0);
        ACCEPTED(kinds[i], begin = SIZE_MAX - 4);
        REFUSED(kinds[i], begin = SIZE_MAX - 3, "n");
        REFUSED(kinds[i], begin = SIZE_MAX, "n");
        REFUSED(kinds[i], n = 0, "n");
        ACCEPTED(kinds[i], n = SIZE_MAX - (UINT64_C(1) << 40));
        REFUSED(kinds[i], n = SIZE_MAX - (UINT64_C(1) << 40) + 1, "n");
        REFUSED(kinds[i], n = UINT64_MAX, "n");
    }
    ACCEPTED(PMAP__RECORDS, records = 1);
    ACCEPTED(PMAP__RECORDS, records = 4);
    REFUSED(PMAP__RECORDS, records = 0, "records");
    REFUSED(PMAP__RECORDS, records = 5, "records");
    REFUSED(PMAP__RECORDS, records = UINT64_MAX, "records");
    ACCEPTED(PMAP__RESULT, records = 0);
    ACCEPTED(PMAP__RESULT, records = 4);
    REFUSED(PMAP__RESULT, records = 5, "records");
    REFUSED(PMAP__RESULT, records = UINT64_MAX, "records");
    ACCEPTED(PMAP__RESULT, begun = f.arrived);
    REFUSED(PMAP__RESULT, begun = f.arrived - 1, "begun");
    ACCEPTED(PMAP__RESULT, ended = f.begun);
    REFUSED(PMAP__RESULT, ended = f.begun - 1, "ended");
}

static void error_refused(int kind, struct pmap_error changed, const char *field)
{
    REFUSED(kind, error = &changed, field);
}

static void error_accepted(int kind, struct pmap_error changed)
{
    ACCEPTED(kind, error = &changed);
}

#define ERROR_REFUSED(kind, change, field)   \
    do {                                     \
        struct pmap_error e = sample_error(); \
        e.change;                            \
        error_refused(kind, e, field);       \
    } while (0)
#define ERROR_ACCEPTED(kind, change)         \
    do {                                     \
        struct pmap_error e = sample_error(); \
        e.change;                            \
        error_accepted(kind, e);             \
    } while (0)

static void fields_of_errors_out_of_range_are_refused_by_name(void)
{
    static const int kinds[] = {PMAP__RESULT, PMAP__REFUSAL};

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        ERROR_ACCEPTED(kinds[i], status = PMAP_EINVAL);
        ERROR_ACCEPTED(kinds[i], status = PMAP_END);
        ERROR_REFUSED(kinds[i], status = PMAP_OK, "error.status");
        ERROR_REFUSED(kinds[i], status = (enum pmap_status)(PMAP_END + 1), "error.status");
        ERROR_REFUSED(kinds[i], status = (enum pmap_status)-1, "error.status");
        ERROR_ACCEPTED(kinds[i], item = 0);
        ERROR_ACCEPTED(kinds[i], item = SIZE_MAX);
        ERROR_ACCEPTED(kinds[i], rank = -1);
        ERROR_ACCEPTED(kinds[i], rank = INT_MAX);
        ERROR_REFUSED(kinds[i], rank = -2, "error.rank");
        ERROR_REFUSED(kinds[i], rank = INT_MIN, "error.rank");
        ERROR_ACCEPTED(kinds[i], thread = -1);
        ERROR_ACCEPTED(kinds[i], thread = INT_MAX);
        ERROR_REFUSED(kinds[i], thread = -2, "error.thread");
        ERROR_REFUSED(kinds[i], thread = INT_MIN, "error.thread");
    }
}

/* A text is a length of two bytes and its bytes: what cannot be encoded is written by hand. */
static void texts_out_of_range_are_refused_by_name(void)
{
    struct pmap_error e = sample_error(), back, why;
    unsigned char bytes[PMAP__HEAD_MAX];
    size_t size = pmap__error_encode(&e, bytes), host = 24, text = host + 2 + strlen(e.host);

    CHECK(bytes[host] == strlen(e.host) && bytes[text] == strlen(e.text));
    bytes[host] = sizeof e.host;
    CHECK_STATUS(pmap__error_decode(bytes, size, &back, &why), PMAP_EMISMATCH);
    CHECK_NAMES(why.text, "error.host");
    bytes[host] = (unsigned char)strlen(e.host);
    bytes[text + 1] = sizeof e.text >> 8;
    CHECK_STATUS(pmap__error_decode(bytes, size, &back, &why), PMAP_EMISMATCH);
    CHECK_NAMES(why.text, "error.text");
    bytes[text + 1] = 0;
    bytes[text + 4] = '\0'; /* inside */
    CHECK_STATUS(pmap__error_decode(bytes, size, &back, &why), PMAP_EMISMATCH);
    CHECK_NAMES(why.text, "error.text");
}

static void fields_of_other_frames_out_of_range_are_refused_by_name(void)
{
    static const struct pmap__meetings strange = {2, 0, {{77, PMAP_OK, 3}, {78, PMAP_END + 1, 1}}},
                                       stranger = {1, 0, {{77, UINT32_MAX, 3}}};
    static const int shares[] = {PMAP__SHARE, PMAP__UNSHARE};

    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        ACCEPTED(shares[i], id = 1);
        ACCEPTED(shares[i], id = UINT64_MAX);
        REFUSED(shares[i], id = 0, "id");
        ACCEPTED(shares[i], size = 1);
        REFUSED(shares[i], size = 0, "size");
    }
    ACCEPTED(PMAP__READY, id = 0);
    ACCEPTED(PMAP__READY, size = 0);
    ACCEPTED(PMAP__LOST, rank = 0);
    ACCEPTED(PMAP__LOST, rank = INT_MAX);
    REFUSED(PMAP__LOST, rank = -1, "rank");
    ACCEPTED(PMAP__LETTER, id = 1);
    ACCEPTED(PMAP__LETTER, id = UINT64_MAX);
    REFUSED(PMAP__LETTER, id = 0, "id");
    REFUSED(PMAP__BYE, met = &strange, "status");
    REFUSED(PMAP__BYE, met = &stranger, "status");
}

/* More than there is room for cannot be encoded. */
static void too_many_meetings_are_refused_by_name(void)
{
    unsigned char head[PMAP__HEAD_MAX];
    struct pmap_error error;
    struct pmap__frame f = sample(PMAP__BYE);
    size_t size = pmap__frame_encode(&f, head);
    head[4] = PMAP__MEETINGS_MAX + 1;
    CHECK_STATUS(decode_copy(head, size, &error), PMAP_EMISMATCH);
    CHECK_NAMES(error.text, "met");
    head[5] = 0xff;
    CHECK_STATUS(decode_copy(head, size, &error), PMAP_EMISMATCH);
    CHECK_NAMES(error.text, "met");
}

static void other_versions_and_kinds_are_refused_by_name(void)
{
    unsigned char head[PMAP__HEAD_MAX];
    struct pmap_error error;
    struct pmap__frame f = sample(PMAP__BYE);
    size_t size = pmap__frame_encode(&f, head);
    CHECK_INT(head[0], PMAP__WIRE_VERSION);
    for (int version = 0; version < 256; version++) {
        head[0] = (unsigned char)version;
        CHECK_STATUS(decode_copy(head, size, &error), version == PMAP__WIRE_VERSION ? PMAP_OK : PMAP_EMISMATCH);
        if (version != PMAP__WIRE_VERSION)
            CHECK_NAMES(error.text, "version");
    }
    head[0] = PMAP__WIRE_VERSION;
    head[2] = 0;
    CHECK_STATUS(decode_copy(head, size, &error), PMAP_EMISMATCH);
    CHECK_NAMES(error.text, "kind");
    head[2] = PMAP__BYE + 1;
    CHECK_STATUS(decode_copy(head, size, &error), PMAP_EMISMATCH);
    CHECK_NAMES(error.text, "kind");
}

/* A short fuzz; the long one is not a unit test's business. */
static void random_changes_never_do_harm(void)
{
    uint64_t x = 99;
    for (int i = 0; i < 200000; i++) {
        unsigned char head[PMAP__HEAD_MAX];
        struct pmap__frame f = sample(PMAP__CHUNK + i % (SAMPLES - PMAP__CHUNK));
        size_t size = pmap__frame_encode(&f, head);
        for (int k = 0; k < 3; k++) {
            x = x * UINT64_C(6364136223846793005) + 1;
            head[(x >> 33) % size] = (unsigned char)(x >> 25);
        }
        struct pmap_error error;
        enum pmap_status status = decode_copy(head, size, &error);
        if (!CHECK(status == PMAP_OK || status == PMAP_EMISMATCH))
            return;
    }
}

/* ---- Records ---- */

/* Each with an error or none: they stand side by side in a body. */
static const struct pmap__entry entries[] = {
    {5, 1, PMAP_EFAILED}, {0, SIZE_MAX, PMAP_ECANCELLED}, {SIZE_MAX - 1, 1, PMAP_ENOMEM}, {17, 4, PMAP_EINVAL}};
enum { ENTRIES = sizeof entries / sizeof *entries };

static size_t encode_entries(unsigned char bytes[static ENTRIES * PMAP__HEAD_MAX], const struct pmap_error *error)
{
    size_t size = 0;
    for (size_t i = 0; i < ENTRIES; i++)
        size += pmap__entry_encode(&entries[i], i % 2 ? NULL : error, bytes + size);
    return size;
}

static void records_survive_side_by_side(void)
{
    unsigned char bytes[ENTRIES * PMAP__HEAD_MAX];
    const unsigned char *at = bytes, *end;
    struct pmap_error error = sample_error();

    end = bytes + encode_entries(bytes, &error);
    for (size_t i = 0; i < ENTRIES; i++) {
        struct pmap__entry entry;
        struct pmap_error inside;
        memset(&inside, 0xa5, sizeof inside);
        if (!CHECK_STATUS(pmap__entry_decode(&at, end, &entry, &inside, NULL), PMAP_OK))
            return;
        CHECK(entry.item == entries[i].item && entry.n == entries[i].n && entry.status == entries[i].status);
        CHECK(i % 2 ? inside.status == PMAP_OK : same_error(&inside, &error));
    }
    CHECK(at == end);
}

static void longest_record_fits(void)
{
    unsigned char bytes[PMAP__HEAD_MAX];
    struct pmap_error longest = sample_error();
    memset(longest.host, 'h', sizeof longest.host - 1);
    memset(longest.text, 't', sizeof longest.text - 1);
    CHECK(pmap__entry_encode(&entries[0], &longest, bytes) <= PMAP__HEAD_MAX);
}

/* Decode one record from bytes at the end of a buffer of their own. */
static enum pmap_status decode_entry(const unsigned char *bytes, size_t size, struct pmap_error *error, size_t *read)
{
    unsigned char *copy = malloc(size ? size : 1);
    const unsigned char *at = copy;
    struct pmap__entry entry;
    struct pmap_error inside;

    memcpy(copy, bytes, size);
    enum pmap_status status = pmap__entry_decode(&at, copy + size, &entry, &inside, error);
    *read = (size_t)(at - copy);
    free(copy);
    return status;
}

static void cut_records_are_refused(void)
{
    struct pmap_error error = sample_error(), why;

    for (size_t i = 0; i < ENTRIES; i++) {
        unsigned char bytes[PMAP__HEAD_MAX];
        size_t read, size = pmap__entry_encode(&entries[i], i % 2 ? NULL : &error, bytes);
        for (size_t cut = 0; cut < size; cut++) {
            CHECK_STATUS(decode_entry(bytes, cut, &why, &read), PMAP_EMISMATCH);
            CHECK_INT(read, 0);
        }
        CHECK_STATUS(decode_entry(bytes, size, &why, &read), PMAP_OK);
        CHECK_INT(read, size);
    }
}

static void record_refused(struct pmap__entry entry, const struct pmap_error *inside, const char *field)
{
    unsigned char bytes[PMAP__HEAD_MAX];
    struct pmap_error why;
    size_t read, size = pmap__entry_encode(&entry, inside, bytes);
    if (CHECK_STATUS(decode_entry(bytes, size, &why, &read), PMAP_EMISMATCH))
        CHECK_NAMES(why.text, field);
}

static void fields_of_records_out_of_range_are_refused_by_name(void)
{
    unsigned char bytes[PMAP__HEAD_MAX];
    struct pmap_error fine = {.status = PMAP_OK}, why;
    size_t read;

    record_refused((struct pmap__entry){0, 0, PMAP_EFAILED}, NULL, "n");
    record_refused((struct pmap__entry){2, SIZE_MAX - 1, PMAP_EFAILED}, NULL, "n");
    record_refused((struct pmap__entry){SIZE_MAX, 1, PMAP_EFAILED}, NULL, "n");
    record_refused((struct pmap__entry){0, 1, PMAP_OK}, NULL, "status");
    record_refused((struct pmap__entry){0, 1, (enum pmap_status)(PMAP_END + 1)}, NULL, "status");
    record_refused(entries[0], &fine, "error.status");
    size_t size = pmap__entry_encode(&entries[0], NULL, bytes);
    bytes[size - 1] = 2;
    CHECK_STATUS(decode_entry(bytes, size, &why, &read), PMAP_EMISMATCH);
    CHECK_NAMES(why.text, "error");
}

/* ---- Errors alone ---- */

static void errors_alone_survive_too(void)
{
    unsigned char bytes[PMAP__HEAD_MAX];
    struct pmap_error e = sample_error(), back, why;
    size_t size = pmap__error_encode(&e, bytes);
    CHECK_STATUS(pmap__error_decode(bytes, size, &back, NULL), PMAP_OK);
    CHECK(same_error(&e, &back));
    CHECK_STATUS(pmap__error_decode(bytes, size - 1, &back, &why), PMAP_EMISMATCH);
    CHECK_NAMES(why.text, "error.text");
}

/* ---- Spans ---- */

static struct pmap__span sample_span(void)
{
    return (struct pmap__span){.call = UINT64_MAX, .chunk = UINT64_C(0x8000000000000001), .item = 5, .last = 90, .n = 17,
                               .begin = 1000, .end = UINT64_C(1) << 60, .busy = 77, .failed = 9, .given_up = 8,
                               .thread = INT_MAX, .attempt = UINT_MAX, .kind = PMAP__SPAN_ITEMS, .isolated = true};
}

/* The field that reading it names; NULL if it is read, and is the same. Bytes of its own, as above. */
static const char *read_span(struct pmap__span span)
{
    unsigned char *bytes = malloc(PMAP__SPAN_SIZE);
    struct pmap__span back;

    pmap__span_encode(&span, bytes);
    const char *bad = pmap__span_decode(bytes, &back);
    free(bytes);
    if (bad == NULL)
        CHECK(back.call == span.call && back.chunk == span.chunk && back.item == span.item && back.last == span.last && back.n == span.n &&
              back.begin == span.begin && back.end == span.end && back.busy == span.busy && back.failed == span.failed &&
              back.given_up == span.given_up && back.thread == span.thread && back.attempt == span.attempt &&
              back.kind == span.kind && back.isolated == span.isolated);
    return bad;
}

#define SPAN_ACCEPTED(change)                     \
    do {                                          \
        struct pmap__span s = sample_span();      \
        s.change;                                 \
        CHECK(read_span(s) == NULL);              \
    } while (0)
#define SPAN_REFUSED(change, field)               \
    do {                                          \
        struct pmap__span s = sample_span();      \
        s.change;                                 \
        const char *bad = read_span(s);           \
        if (CHECK(bad != NULL))                   \
            CHECK_TEXT(bad, field);               \
    } while (0)

static void fields_of_spans_out_of_range_are_refused_by_name(void)
{
    SPAN_ACCEPTED(call = 0);
    SPAN_ACCEPTED(item = 74);
    SPAN_REFUSED(item = 75, "n");
    SPAN_REFUSED(item = 91, "last");
    SPAN_ACCEPTED(last = 21);
    SPAN_REFUSED(last = 20, "n");
    SPAN_REFUSED(n = 0, "n");
    SPAN_REFUSED(kind = PMAP__SPAN_CREATE, "n");
    SPAN_REFUSED(kind = PMAP__SPAN_KINDS, "kind");
    SPAN_ACCEPTED(begin = s.end - s.busy);
    SPAN_REFUSED(begin = s.end - s.busy + 1, "busy");
    SPAN_REFUSED(end = 999, "end");
    SPAN_REFUSED(failed = 18, "failed");
    SPAN_REFUSED(failed = 10, "given_up");
    SPAN_REFUSED(given_up = UINT64_MAX, "given_up");
    SPAN_REFUSED(thread = -1, "thread");
    SPAN_ACCEPTED(attempt = 1);
    SPAN_REFUSED(attempt = 0, "attempt");
    struct pmap__span create = {.begin = 3, .end = 3, .attempt = 1, .kind = PMAP__SPAN_CREATE};
    CHECK(read_span(create) == NULL);
}

static const struct test tests[] = {TEST(frames_survive_their_way_through_bytes),
                                    TEST(extreme_fields_survive_too),
                                    TEST(longest_frames_fit),
                                    TEST(bytes_are_little_endian_and_fixed),
                                    TEST(cut_frames_are_refused),
                                    TEST(longer_frames_are_refused),
                                    TEST(refused_bytes_leave_the_frame_alone),
                                    TEST(fields_of_a_chunk_out_of_range_are_refused_by_name),
                                    TEST(leaves_that_are_not_there_are_refused_by_name),
                                    TEST(fields_of_answers_out_of_range_are_refused_by_name),
                                    TEST(fields_of_errors_out_of_range_are_refused_by_name),
                                    TEST(texts_out_of_range_are_refused_by_name),
                                    TEST(fields_of_other_frames_out_of_range_are_refused_by_name),
                                    TEST(too_many_meetings_are_refused_by_name),
                                    TEST(other_versions_and_kinds_are_refused_by_name),
                                    TEST(random_changes_never_do_harm),
                                    TEST(records_survive_side_by_side),
                                    TEST(longest_record_fits),
                                    TEST(cut_records_are_refused),
                                    TEST(fields_of_records_out_of_range_are_refused_by_name),
                                    TEST(errors_alone_survive_too),
                                    TEST(fields_of_spans_out_of_range_are_refused_by_name),
                                    {NULL, NULL}};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1");
}
