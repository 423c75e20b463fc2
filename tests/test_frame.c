/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * wire: every frame survives its way through bytes; whatever else the bytes are is refused by name, never read past.
 */
#include "harness.h"
#include "wire/frame.h"

#include <stdlib.h>
#include <string.h>

static struct pmap_error sample_error(void)
{
    struct pmap_error e = {.status = PMAP_EFAILED, .code = -7, .item = 1234567890123, .rank = 41, .thread = 3,
                           .host = "node3", .text = "pmap: it failed"};
    return e;
}

static struct pmap__frame sample(enum pmap__frame_kind kind)
{
    struct pmap__frame f = {.kind = kind};
    if (kind != PMAP__BYE) {
        f.ticket = UINT64_C(0xfedcba9876543210);
        f.begin = 1000;
        f.n = 17;
    }
    if (kind == PMAP__CHUNK) {
        f.grain = 5;
        f.task = UINT64_MAX;
        f.args_size = 24;
        f.result_size = 0;
    }
    if (kind == PMAP__RESULT) {
        f.busy = 99;
        f.failed = 2;
    }
    static struct pmap_error e;
    e = sample_error();
    if (kind == PMAP__RESULT || kind == PMAP__REFUSAL)
        f.error = &e;
    if (kind == PMAP__BYE)
        f.refused = 2, f.where[0] = 77, f.where[1] = UINT64_MAX;
    return f;
}

static bool same_error(const struct pmap_error *a, const struct pmap_error *b)
{
    return a->status == b->status && a->code == b->code && a->item == b->item && a->rank == b->rank &&
           a->thread == b->thread && strcmp(a->host, b->host) == 0 && strcmp(a->text, b->text) == 0;
}

static void frames_survive_their_way_through_bytes(void)
{
    for (int kind = PMAP__CHUNK; kind <= PMAP__BYE; kind++) {
        unsigned char head[PMAP__HEAD_MAX];
        struct pmap__frame f = sample((enum pmap__frame_kind)kind), g;
        struct pmap_error inside;
        size_t size = pmap__frame_encode(&f, head);
        if (!CHECK_STATUS(pmap__frame_decode(head, size, &g, &inside, NULL), PMAP_OK))
            continue;
        CHECK(g.kind == f.kind && g.ticket == f.ticket && g.begin == f.begin && g.n == f.n && g.grain == f.grain &&
              g.task == f.task && g.args_size == f.args_size && g.result_size == f.result_size && g.busy == f.busy &&
              g.failed == f.failed && g.refused == f.refused && g.where[0] == f.where[0] && g.where[1] == f.where[1]);
        CHECK((f.error == NULL) == (g.error == NULL) && (f.error == NULL || same_error(g.error, f.error)));
    }
}

static void longest_frame_fits(void)
{
    unsigned char head[PMAP__HEAD_MAX];
    struct pmap__frame f = sample(PMAP__RESULT), g;
    struct pmap_error longest = sample_error(), inside;
    memset(longest.host, 'h', sizeof longest.host - 1);
    memset(longest.text, 't', sizeof longest.text - 1);
    f.error = &longest;
    size_t size = pmap__frame_encode(&f, head);
    CHECK(size <= PMAP__HEAD_MAX);
    if (!CHECK_STATUS(pmap__frame_decode(head, size, &g, &inside, NULL), PMAP_OK))
        return;
    CHECK_INT(strlen(g.error->text), sizeof inside.text - 1);
    CHECK(same_error(g.error, &longest));
}

static void bytes_are_little_endian_and_fixed(void)
{
    unsigned char head[PMAP__HEAD_MAX];
    static const unsigned char expected[] = {1, 0, 4, 0, 1, 0, 8, 7, 6, 5, 4, 3, 2, 1};
    struct pmap__frame f = {.kind = PMAP__BYE, .refused = 1, .where = {UINT64_C(0x0102030405060708)}};
    CHECK_INT(pmap__frame_encode(&f, head), sizeof expected);
    CHECK(memcmp(head, expected, sizeof expected) == 0);
}

/* Bytes at the end of a buffer of their own, so that valgrind and the sanitizers see a read past them. */
static enum pmap_status decode_copy(const unsigned char *head, size_t size, struct pmap_error *error)
{
    unsigned char *copy = malloc(size ? size : 1);
    struct pmap__frame g;
    struct pmap_error inside;
    memcpy(copy, head, size);
    enum pmap_status status = pmap__frame_decode(copy, size, &g, &inside, error);
    free(copy);
    return status;
}

static void cut_frames_are_refused(void)
{
    for (int kind = PMAP__CHUNK; kind <= PMAP__BYE; kind++) {
        unsigned char head[PMAP__HEAD_MAX];
        struct pmap__frame f = sample((enum pmap__frame_kind)kind);
        size_t size = pmap__frame_encode(&f, head);
        for (size_t cut = 0; cut < size; cut++)
            CHECK_STATUS(decode_copy(head, cut, NULL), PMAP_EMISMATCH);
    }
}

static void longer_frames_are_refused(void)
{
    unsigned char head[PMAP__HEAD_MAX + 1] = {0};
    struct pmap_error error;
    struct pmap__frame f = sample(PMAP__CHUNK);
    size_t size = pmap__frame_encode(&f, head);
    CHECK_STATUS(decode_copy(head, size + 1, &error), PMAP_EMISMATCH);
    CHECK_NAMES(error.text, "length");
}

static void refused(struct pmap__frame f, const char *field)
{
    unsigned char head[PMAP__HEAD_MAX];
    struct pmap_error error;
    size_t size = pmap__frame_encode(&f, head);
    if (CHECK_STATUS(decode_copy(head, size, &error), PMAP_EMISMATCH))
        CHECK_NAMES(error.text, field);
}

static void fields_out_of_range_are_refused_by_name(void)
{
    struct pmap__frame f = sample(PMAP__CHUNK);
    f.n = 0;
    refused(f, "n");
    f = sample(PMAP__CHUNK);
    f.begin = SIZE_MAX;
    refused(f, "n");
    f = sample(PMAP__CHUNK);
    f.grain = 0;
    refused(f, "grain");
    f.grain = f.n + 1;
    refused(f, "grain");
    f = sample(PMAP__CHUNK);
    f.args_size = SIZE_MAX / f.n + 1;
    refused(f, "args_size");
    f = sample(PMAP__CHUNK);
    f.result_size = SIZE_MAX;
    refused(f, "result_size");
    f = sample(PMAP__RESULT);
    f.failed = f.n + 1;
    refused(f, "failed");
    f = sample(PMAP__REFUSAL);
    struct pmap_error fine = {.status = PMAP_OK};
    f.error = &fine;
    refused(f, "error.status");
}

static void too_many_refusals_are_refused_by_name(void)
{
    unsigned char head[PMAP__HEAD_MAX];
    struct pmap_error error;
    struct pmap__frame f = sample(PMAP__BYE);
    size_t size = pmap__frame_encode(&f, head);
    head[4] = PMAP__REFUSED_MAX + 1;
    CHECK_STATUS(decode_copy(head, size, &error), PMAP_EMISMATCH);
    CHECK_NAMES(error.text, "refused");
}

static void other_versions_and_kinds_are_refused_by_name(void)
{
    unsigned char head[PMAP__HEAD_MAX];
    struct pmap_error error;
    struct pmap__frame f = sample(PMAP__BYE);
    size_t size = pmap__frame_encode(&f, head);
    head[0]++;
    CHECK_STATUS(decode_copy(head, size, &error), PMAP_EMISMATCH);
    CHECK_NAMES(error.text, "version");
    head[0]--;
    head[2] = 0;
    CHECK_STATUS(decode_copy(head, size, &error), PMAP_EMISMATCH);
    CHECK_NAMES(error.text, "kind");
    head[2] = PMAP__BYE + 1;
    CHECK_STATUS(decode_copy(head, size, &error), PMAP_EMISMATCH);
}

/* A short fuzz; the long one is not a unit test's business. */
static void random_changes_never_do_harm(void)
{
    uint64_t x = 99;
    for (int i = 0; i < 100000; i++) {
        unsigned char head[PMAP__HEAD_MAX];
        struct pmap__frame f = sample((enum pmap__frame_kind)(PMAP__CHUNK + i % 4));
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

static const struct test tests[] = {TEST(frames_survive_their_way_through_bytes),
                                    TEST(longest_frame_fits),
                                    TEST(bytes_are_little_endian_and_fixed),
                                    TEST(cut_frames_are_refused),
                                    TEST(longer_frames_are_refused),
                                    TEST(fields_out_of_range_are_refused_by_name),
                                    TEST(too_many_refusals_are_refused_by_name),
                                    TEST(other_versions_and_kinds_are_refused_by_name),
                                    TEST(random_changes_never_do_harm),
                                    TEST(errors_alone_survive_too),
                                    {NULL, NULL}};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1");
}
