/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Encoding and decoding walk over the same list of fields, each through a cursor that never leaves its bytes:
 * one that runs out, or meets a value it must not, remembers the name of the field and reads zeros from then on,
 * so that the walk needs no checks of its own.
 */
#include "wire/frame.h"

#include "base/error.h"

#include <assert.h>
#include <string.h>

/* ---- Writing ---- */

struct pen {
    unsigned char *at;
};

static void put(struct pen *pen, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        *pen->at++ = (unsigned char)(value >> (8 * i));
}

static void put_text(struct pen *pen, const char *text, size_t room)
{
    size_t length = strnlen(text, room - 1);
    put(pen, length, 2);
    memcpy(pen->at, text, length);
    pen->at += length;
}

static void put_error(struct pen *pen, const struct pmap_error *error)
{
    put(pen, (uint64_t)error->status, 4);
    put(pen, (uint64_t)(int64_t)error->code, 4);
    put(pen, (uint64_t)error->item, 8);
    put(pen, (uint64_t)(int64_t)error->rank, 4);
    put(pen, (uint64_t)(int64_t)error->thread, 4);
    put_text(pen, error->host, sizeof error->host);
    put_text(pen, error->text, sizeof error->text);
}

size_t pmap__frame_encode(const struct pmap__frame *frame, unsigned char head[static PMAP__HEAD_MAX])
{
    struct pen pen = {head};

    put(&pen, PMAP__WIRE_VERSION, 2);
    put(&pen, (uint64_t)frame->kind, 2);
    if (frame->kind != PMAP__BYE) {
        put(&pen, frame->ticket, 8);
        put(&pen, frame->begin, 8);
        put(&pen, frame->n, 8);
    }
    switch (frame->kind) {
    case PMAP__CHUNK:
        put(&pen, frame->grain, 8);
        put(&pen, frame->task, 8);
        put(&pen, frame->args_size, 8);
        put(&pen, frame->result_size, 8);
        break;
    case PMAP__RESULT:
        put(&pen, frame->busy, 8);
        put(&pen, frame->failed, 8);
        if (frame->failed > 0)
            put_error(&pen, frame->error);
        break;
    case PMAP__REFUSAL:
        put_error(&pen, frame->error);
        break;
    case PMAP__BYE:
        put(&pen, (uint64_t)frame->refused, 2);
        for (int i = 0; i < frame->refused; i++)
            put(&pen, frame->where[i], 8);
        break;
    }
    assert(pen.at <= head + PMAP__HEAD_MAX);
    return (size_t)(pen.at - head);
}

size_t pmap__error_encode(const struct pmap_error *error, unsigned char bytes[static PMAP__HEAD_MAX])
{
    struct pen pen = {bytes};
    put_error(&pen, error);
    return (size_t)(pen.at - bytes);
}

/* ---- Reading ---- */

struct eye {
    const unsigned char *at, *end;
    const char *bad; /* the first field that was missing or out of range; NULL so far */
};

static void refuse(struct eye *eye, const char *field)
{
    if (eye->bad == NULL)
        eye->bad = field;
    eye->at = eye->end;
}

static uint64_t get(struct eye *eye, int bytes, const char *field)
{
    uint64_t value = 0;
    if (eye->end - eye->at < bytes) {
        refuse(eye, field);
        return 0;
    }
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)*eye->at++ << (8 * i);
    return value;
}

static uint64_t get_between(struct eye *eye, int bytes, uint64_t least, uint64_t most, const char *field)
{
    uint64_t value = get(eye, bytes, field);
    if (value < least || value > most)
        refuse(eye, field);
    return value;
}

static int get_int(struct eye *eye, const char *field)
{
    return (int)(int32_t)(uint32_t)get(eye, 4, field);
}

static void get_text(struct eye *eye, char *text, size_t room, const char *field)
{
    size_t length = (size_t)get_between(eye, 2, 0, room - 1, field);
    if ((size_t)(eye->end - eye->at) < length)
        refuse(eye, field);
    if (eye->bad)
        length = 0;
    memcpy(text, eye->at, length);
    text[length] = '\0';
    eye->at += length;
}

static void get_error(struct eye *eye, struct pmap_error *error)
{
    *error = (struct pmap_error){0};
    error->status = (enum pmap_status)get_between(eye, 4, PMAP_EINVAL, PMAP_EMPI, "error.status");
    error->code = get_int(eye, "error.code");
    error->item = (size_t)get_between(eye, 8, 0, SIZE_MAX, "error.item");
    error->rank = get_int(eye, "error.rank");
    error->thread = get_int(eye, "error.thread");
    get_text(eye, error->host, sizeof error->host, "error.host");
    get_text(eye, error->text, sizeof error->text, "error.text");
}

static enum pmap_status finish(struct eye *eye, const char *what, struct pmap_error *error)
{
    if (eye->bad == NULL && eye->at != eye->end)
        eye->bad = "length";
    if (eye->bad)
        return pmap__error_set(error, PMAP_EMISMATCH, "pmap: received %s with a bad %s", what, eye->bad);
    return PMAP_OK;
}

enum pmap_status pmap__frame_decode(const unsigned char *head, size_t size, struct pmap__frame *frame,
                                    struct pmap_error *inside, struct pmap_error *error)
{
    struct eye eye = {head, head + size, NULL};
    struct pmap__frame f = {0};

    get_between(&eye, 2, PMAP__WIRE_VERSION, PMAP__WIRE_VERSION, "version");
    f.kind = (enum pmap__frame_kind)get_between(&eye, 2, PMAP__CHUNK, PMAP__BYE, "kind");
    if (f.kind != PMAP__BYE) {
        f.ticket = get(&eye, 8, "ticket");
        f.begin = get_between(&eye, 8, 0, SIZE_MAX, "begin");
        f.n = get_between(&eye, 8, 1, SIZE_MAX - f.begin, "n");
    }
    switch (f.kind) {
    case PMAP__CHUNK:
        f.grain = get_between(&eye, 8, 1, f.n, "grain");
        f.task = get(&eye, 8, "task");
        f.args_size = get_between(&eye, 8, 0, SIZE_MAX / (f.n ? f.n : 1), "args_size");
        f.result_size = get_between(&eye, 8, 0, SIZE_MAX / (f.n ? f.n : 1), "result_size");
        break;
    case PMAP__RESULT:
        f.busy = get(&eye, 8, "busy");
        f.failed = get_between(&eye, 8, 0, f.n, "failed");
        if (f.failed > 0)
            f.error = inside;
        break;
    case PMAP__REFUSAL:
        f.error = inside;
        break;
    case PMAP__BYE:
        f.refused = (int)get_between(&eye, 2, 0, PMAP__REFUSED_MAX, "refused");
        for (int i = 0; i < f.refused && eye.bad == NULL; i++)
            f.where[i] = get(&eye, 8, "where");
        break;
    }
    if (f.error)
        get_error(&eye, inside);
    enum pmap_status status = finish(&eye, "a message", error);
    if (status == PMAP_OK)
        *frame = f;
    return status;
}

enum pmap_status pmap__error_decode(const unsigned char *bytes, size_t size, struct pmap_error *decoded,
                                    struct pmap_error *error)
{
    struct eye eye = {bytes, bytes + size, NULL};
    struct pmap_error e;

    get_error(&eye, &e);
    enum pmap_status status = finish(&eye, "an error", error);
    if (status == PMAP_OK)
        *decoded = e;
    return status;
}
