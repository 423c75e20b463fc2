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
#include <endian.h>
#include <limits.h>
#include <string.h>

/* ---- Writing ---- */

struct pen {
    unsigned char *at;
};

/* Inline, for bytes is a constant and one store is enough then: heads are half of what a short message costs. */
static inline void put(struct pen *pen, uint64_t value, size_t bytes)
{
    uint64_t little = htole64(value);
    memcpy(pen->at, &little, bytes);
    pen->at += bytes;
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

/* Of which kinds are the messages that name a chunk? */
static bool names_chunk(enum pmap__frame_kind kind)
{
    return kind >= PMAP__CHUNK && kind <= PMAP__REFUSAL;
}

static void put_chunk(struct pen *pen, const struct pmap__frame *frame)
{
    put(pen, frame->grain, 8);
    put(pen, frame->task, 8);
    put(pen, frame->args_size, 8);
    put(pen, frame->result_size, 8);
    put(pen, frame->job, 8);
    put(pen, frame->seed, 8);
    put(pen, (uint64_t)(int64_t)frame->priority, 4);
    put(pen, frame->wants, 4);
    if (frame->wants & PMAP__LIMITED) {
        put(pen, frame->timeout, 8);
        put(pen, frame->max_rss, 8);
    }
    if (frame->wants & PMAP__TRACED) {
        put(pen, frame->observer, 8);
        put(pen, frame->call, 8);
        put(pen, frame->chunk, 8);
        put(pen, frame->attempt, 4);
    }
    put(pen, frame->op, 8);
    if (frame->op) {
        put(pen, frame->leaf, 8);
        put(pen, frame->total, 8);
    }
}

static void put_lines(struct pen *pen, const struct pmap__frame *frame)
{
    put(pen, (uint64_t)frame->met->n, 2);
    for (int i = 0; i < frame->met->n; i++) {
        put(pen, frame->met->lines[i].where, 8);
        put(pen, frame->met->lines[i].status, 4);
        put(pen, frame->met->lines[i].times, 4);
    }
}

static void put_times(struct pen *pen, const struct pmap__frame *frame)
{
    put(pen, frame->timed, 1);
    if (!frame->timed)
        return;
    put(pen, frame->arrived, 8);
    put(pen, frame->begun, 8);
    put(pen, frame->ended, 8);
}

size_t pmap__frame_encode(const struct pmap__frame *frame, unsigned char head[static PMAP__HEAD_MAX])
{
    struct pen pen = {head};

    put(&pen, PMAP__WIRE_VERSION, 2);
    put(&pen, (uint64_t)frame->kind, 2);
    if (names_chunk(frame->kind)) {
        put(&pen, frame->ticket, 8);
        put(&pen, frame->begin, 8);
        put(&pen, frame->n, 8);
    }
    switch (frame->kind) {
    case PMAP__CHUNK:
        put_chunk(&pen, frame);
        break;
    case PMAP__RECORDS:
        put(&pen, frame->records, 8);
        break;
    case PMAP__RESULT:
        put(&pen, frame->busy, 8);
        put(&pen, frame->skipped, 8);
        put(&pen, frame->records, 8);
        put_times(&pen, frame);
        put(&pen, frame->failed, 8);
        if (frame->failed > 0)
            put_error(&pen, frame->error);
        break;
    case PMAP__REFUSAL:
        put_error(&pen, frame->error);
        break;
    case PMAP__CANCEL:
        put(&pen, frame->job, 8);
        break;
    case PMAP__HOLD:
        break;
    case PMAP__READY:
    case PMAP__SHARE:
    case PMAP__UNSHARE:
        put(&pen, frame->id, 8);
        put(&pen, frame->size, 8);
        break;
    case PMAP__LOST:
        put(&pen, (uint64_t)frame->rank, 4);
        break;
    case PMAP__LETTER:
        put(&pen, frame->id, 8);
        put(&pen, frame->words[0], 8);
        put(&pen, frame->words[1], 8);
        break;
    case PMAP__BYE:
        put_lines(&pen, frame);
        break;
    }
    assert(pen.at <= head + PMAP__HEAD_MAX);
    return (size_t)(pen.at - head);
}

size_t pmap__entry_encode(const struct pmap__entry *entry, const struct pmap_error *error,
                          unsigned char bytes[static PMAP__HEAD_MAX])
{
    struct pen pen = {bytes};

    put(&pen, entry->item, 8);
    put(&pen, entry->n, 8);
    put(&pen, (uint64_t)entry->status, 4);
    put(&pen, error != NULL, 1);
    if (error)
        put_error(&pen, error);
    return (size_t)(pen.at - bytes);
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

static inline uint64_t get(struct eye *eye, size_t bytes, const char *field)
{
    uint64_t little = 0;
    if ((size_t)(eye->end - eye->at) < bytes) {
        refuse(eye, field);
        return 0;
    }
    memcpy(&little, eye->at, bytes);
    eye->at += bytes;
    return le64toh(little);
}

static inline uint64_t get_between(struct eye *eye, size_t bytes, uint64_t least, uint64_t most, const char *field)
{
    uint64_t value = get(eye, bytes, field);
    if (value < least || value > most)
        refuse(eye, field);
    return value;
}

static inline int get_int(struct eye *eye, const char *field)
{
    return (int)(int32_t)(uint32_t)get(eye, 4, field);
}

/* Of a rank or a thread; -1: of none. */
static inline int get_number(struct eye *eye, const char *field)
{
    int number = get_int(eye, field);
    if (number < -1)
        refuse(eye, field);
    return number;
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
    if (strlen(text) < length) /* what is behind a zero byte would be lost */
        refuse(eye, field);
}

static void get_error(struct eye *eye, struct pmap_error *error)
{
    *error = (struct pmap_error){0};
    error->status = (enum pmap_status)get_between(eye, 4, PMAP_EINVAL, PMAP_END, "error.status");
    error->code = get_int(eye, "error.code");
    error->item = (size_t)get_between(eye, 8, 0, SIZE_MAX, "error.item");
    error->rank = get_number(eye, "error.rank");
    error->thread = get_number(eye, "error.thread");
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

static void get_chunk(struct eye *eye, struct pmap__frame *f)
{
    uint64_t most = SIZE_MAX / (f->n ? f->n : 1);

    f->grain = get_between(eye, 8, 1, f->n, "grain");
    f->task = get(eye, 8, "task");
    f->args_size = get_between(eye, 8, 0, most, "args_size");
    f->result_size = get_between(eye, 8, 0, most, "result_size");
    f->job = get(eye, 8, "job");
    f->seed = get(eye, 8, "seed");
    f->priority = get_int(eye, "priority");
    f->wants = (unsigned)get_between(eye, 4, 0, PMAP__WANTS, "wants");
    if (f->wants & PMAP__LIMITED) {
        f->timeout = get_between(eye, 8, 0, PMAP__TIMEOUT_MAX, "timeout");
        f->max_rss = get_between(eye, 8, f->timeout ? 0 : 1, INT64_MAX, "max_rss");
    }
    if (f->wants & PMAP__TRACED) {
        f->observer = get_between(eye, 8, 1, UINT64_MAX, "observer");
        f->call = get(eye, 8, "call");
        f->chunk = get(eye, 8, "chunk");
        f->attempt = (unsigned)get_between(eye, 4, 1, UINT32_MAX, "attempt");
    }
    f->op = get(eye, 8, "op");
    if (f->op == 0 && f->wants & PMAP__APART) /* there are no leaves */
        refuse(eye, "wants");
    if (f->op == 0)
        return;
    if (f->wants & PMAP__NAMED) /* leaves are neighbours */
        refuse(eye, "wants");
    f->leaf = get_between(eye, 8, 1, SIZE_MAX, "leaf");
    f->total = get_between(eye, 8, 1, SIZE_MAX, "total");
    if (f->leaf == 0 || f->n == 0 || f->begin + f->n > (f->total - 1) / f->leaf + 1 ||
        (f->args_size && f->total > SIZE_MAX / f->args_size))
        refuse(eye, "total");
}

static void get_times(struct eye *eye, struct pmap__frame *f)
{
    f->timed = get_between(eye, 1, 0, 1, "timed");
    if (!f->timed)
        return;
    f->arrived = get(eye, 8, "arrived");
    f->begun = get_between(eye, 8, f->arrived, UINT64_MAX, "begun");
    f->ended = get_between(eye, 8, f->begun, UINT64_MAX, "ended");
}

static void get_lines(struct eye *eye, struct pmap__meetings *met)
{
    met->n = (int)get_between(eye, 2, 0, PMAP__MEETINGS_MAX, "met");
    for (int i = 0; i < met->n && eye->bad == NULL; i++) {
        met->lines[i].where = get(eye, 8, "where");
        met->lines[i].status = (uint32_t)get_between(eye, 4, PMAP_OK, PMAP_END, "status");
        met->lines[i].times = (uint32_t)get(eye, 4, "times");
    }
}

enum pmap_status pmap__frame_decode(const unsigned char *head, size_t size, struct pmap__frame *frame,
                                    struct pmap__inside *inside, struct pmap_error *error)
{
    struct eye eye = {head, head + size, NULL};
    struct pmap__frame f = {0};

    get_between(&eye, 2, PMAP__WIRE_VERSION, PMAP__WIRE_VERSION, "version");
    f.kind = (enum pmap__frame_kind)get_between(&eye, 2, PMAP__CHUNK, PMAP__BYE, "kind");
    if (names_chunk(f.kind)) {
        f.ticket = get(&eye, 8, "ticket");
        f.begin = get_between(&eye, 8, 0, SIZE_MAX, "begin");
        f.n = get_between(&eye, 8, 1, SIZE_MAX - f.begin, "n");
    }
    switch (f.kind) {
    case PMAP__CHUNK:
        get_chunk(&eye, &f);
        break;
    case PMAP__RECORDS:
        f.records = get_between(&eye, 8, 1, f.n, "records");
        break;
    case PMAP__RESULT:
        f.busy = get(&eye, 8, "busy");
        f.skipped = get(&eye, 8, "skipped");
        f.records = get_between(&eye, 8, 0, f.n, "records");
        get_times(&eye, &f);
        f.failed = get(&eye, 8, "failed");
        if (f.failed > 0)
            f.error = &inside->error;
        break;
    case PMAP__REFUSAL:
        f.error = &inside->error;
        break;
    case PMAP__CANCEL:
        f.job = get(&eye, 8, "job");
        break;
    case PMAP__HOLD:
        break;
    case PMAP__READY:
        f.id = get(&eye, 8, "id");
        f.size = get_between(&eye, 8, 0, SIZE_MAX, "size");
        break;
    case PMAP__LOST:
        f.rank = (int)get_between(&eye, 4, 0, INT_MAX, "rank");
        break;
    case PMAP__SHARE:
    case PMAP__UNSHARE:
        f.id = get_between(&eye, 8, 1, UINT64_MAX, "id");
        f.size = get_between(&eye, 8, 1, SIZE_MAX, "size");
        break;
    case PMAP__LETTER:
        f.id = get_between(&eye, 8, 1, UINT64_MAX, "id");
        f.words[0] = get(&eye, 8, "words");
        f.words[1] = get(&eye, 8, "words");
        break;
    case PMAP__BYE:
        get_lines(&eye, &inside->met);
        f.met = &inside->met;
        break;
    }
    if (f.error)
        get_error(&eye, &inside->error);
    enum pmap_status status = finish(&eye, "a message", error);
    if (status == PMAP_OK)
        *frame = f;
    return status;
}

enum pmap_status pmap__entry_decode(const unsigned char **at, const unsigned char *end, struct pmap__entry *entry,
                                    struct pmap_error *decoded, struct pmap_error *error)
{
    struct eye eye = {*at, end, NULL};

    entry->item = get_between(&eye, 8, 0, SIZE_MAX, "item");
    entry->n = get_between(&eye, 8, 1, SIZE_MAX - entry->item, "n");
    entry->status = (enum pmap_status)get_between(&eye, 4, PMAP_EINVAL, PMAP_END, "status");
    decoded->status = PMAP_OK;
    if (get_between(&eye, 1, 0, 1, "error"))
        get_error(&eye, decoded);
    if (eye.bad)
        return pmap__error_set(error, PMAP_EMISMATCH, "pmap: received a record with a bad %s", eye.bad);
    *at = eye.at;
    return PMAP_OK;
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
