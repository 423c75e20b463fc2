/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Any bytes as a head, as records, as an error, as a span: they are refused, or mean one thing only, which encodes to the same bytes. */
#include "fuzz.h"

#include "wire/frame.h"
#include "wire/span.h"

#include <stdlib.h>
#include <string.h>

const size_t fuzz_memory = 1 << 20;

enum { HEAD, RECORDS, ERROR, SPAN };

static void read_head(const unsigned char *bytes, size_t size)
{
    unsigned char again[PMAP__HEAD_MAX];
    struct pmap__frame frame;
    struct pmap__inside inside;
    struct pmap_error error = {.status = PMAP_OK};

    if (pmap__frame_decode(bytes, size, &frame, &inside, &error) == PMAP_OK)
        fuzz_check(pmap__frame_encode(&frame, again) == size && memcmp(bytes, again, size) == 0, "a head has one encoding");
    else
        fuzz_check(error.status == PMAP_EMISMATCH && strstr(error.text, "with a bad ") != NULL, "a refusal names a field");
}

static void read_records(const unsigned char *bytes, size_t size)
{
    const unsigned char *at = bytes, *before = bytes;
    unsigned char again[PMAP__HEAD_MAX];
    struct pmap__entry entry;
    struct pmap_error why, error = {.status = PMAP_OK};

    while (at < bytes + size && pmap__entry_decode(&at, bytes + size, &entry, &why, &error) == PMAP_OK) {
        size_t n = pmap__entry_encode(&entry, why.status ? &why : NULL, again);
        fuzz_check(n == (size_t)(at - before) && memcmp(before, again, n) == 0, "a record has one encoding");
        before = at;
    }
}

static void read_error(const unsigned char *bytes, size_t size)
{
    unsigned char again[PMAP__HEAD_MAX];
    struct pmap_error why, error;

    if (pmap__error_decode(bytes, size, &why, &error) == PMAP_OK)
        fuzz_check(pmap__error_encode(&why, again) == size && memcmp(bytes, again, size) == 0, "an error has one encoding");
}

static void read_span(const unsigned char *bytes, size_t size)
{
    unsigned char again[PMAP__SPAN_SIZE];
    struct pmap__span span;

    if (size >= sizeof again && pmap__span_decode(bytes, &span) == NULL) {
        pmap__span_encode(&span, again);
        fuzz_check(memcmp(bytes, again, sizeof again) == 0, "a span has one encoding");
    }
}

void fuzz_one(struct fuzz_input *in)
{
    void (*const read[])(const unsigned char *, size_t) = {read_head, read_records, read_error, read_span};
    size_t what = fuzz_number(in, 1) % 4, size = in->left;
    unsigned char *bytes = fuzz_bytes(in, &size);

    read[what](bytes, size);
    free(bytes);
}

/* ---- Seeds ---- */

static const struct pmap_error sample = {.status = PMAP_EFAILED, .code = -7, .item = 9, .rank = 4, .host = "node3", .text = "failed"};

static void put_head(struct pmap__frame frame)
{
    unsigned char head[PMAP__HEAD_MAX];

    fuzz_put(HEAD, 1);
    fuzz_put_bytes(head, pmap__frame_encode(&frame, head));
    fuzz_put_end();
}

static void put_records(void)
{
    const struct pmap__entry entries[] = {{5, 1, PMAP_EFAILED}, {7, 100, PMAP_ECANCELLED}};
    unsigned char bytes[PMAP__HEAD_MAX];

    fuzz_put(RECORDS, 1);
    fuzz_put_bytes(bytes, pmap__entry_encode(&entries[0], &sample, bytes));
    fuzz_put_bytes(bytes, pmap__entry_encode(&entries[1], NULL, bytes));
    fuzz_put_end();
}

static void put_span(void)
{
    static const struct pmap__span span = {.call = 1, .chunk = 2, .item = 3, .last = 5, .n = 3, .begin = 10, .end = 20, .busy = 9, .attempt = 1};
    unsigned char bytes[PMAP__SPAN_SIZE];

    pmap__span_encode(&span, bytes);
    fuzz_put(SPAN, 1);
    fuzz_put_bytes(bytes, sizeof bytes);
    fuzz_put_end();
}

void fuzz_seeds(void)
{
    static const struct pmap__meetings met = {2, 0, {{77, PMAP_OK, 3}, {78, PMAP_END, 1}}};
    unsigned char bytes[PMAP__HEAD_MAX];
    struct pmap__frame chunk = {.kind = PMAP__CHUNK, .ticket = 3, .begin = 10, .n = 17, .grain = 5, .task = 1, .args_size = 24, .result_size = 8};

    put_head(chunk);
    chunk.op = 1;
    chunk.leaf = 4;
    chunk.total = 1000;
    put_head(chunk);
    put_head((struct pmap__frame){.kind = PMAP__RECORDS, .n = 9, .records = 3});
    put_head((struct pmap__frame){.kind = PMAP__RESULT, .n = 9, .busy = 99});
    put_head((struct pmap__frame){.kind = PMAP__RESULT, .n = 9, .failed = 2, .records = 4, .skipped = 2, .error = &sample});
    put_head((struct pmap__frame){.kind = PMAP__REFUSAL, .n = 9, .error = &sample});
    put_head((struct pmap__frame){.kind = PMAP__CANCEL, .job = 8});
    put_head((struct pmap__frame){.kind = PMAP__HOLD});
    put_head((struct pmap__frame){.kind = PMAP__READY});
    put_head((struct pmap__frame){.kind = PMAP__SHARE, .id = 1, .size = 100});
    put_head((struct pmap__frame){.kind = PMAP__UNSHARE, .id = 1, .size = 100});
    put_head((struct pmap__frame){.kind = PMAP__LETTER, .id = 1, .words = {2, 3}});
    put_head((struct pmap__frame){.kind = PMAP__BYE, .met = &met});
    put_records();
    fuzz_put(ERROR, 1);
    fuzz_put_bytes(bytes, pmap__error_encode(&sample, bytes));
    fuzz_put_end();
    put_span();
}
