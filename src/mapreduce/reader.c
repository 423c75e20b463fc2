/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Reading a split. Where it begins and where it ends is one question asked twice: which is the first border at byte x of the file or
 * behind? Its answer does not depend on who asks, for it is looked for from a fixed distance in front of x (context_of): so the
 * records of a split end where those of the next begin, and nobody need talk to anybody.
 *
 * Between, bytes are read into a buffer that stays in the cache, and given out up to the last border in it. What is behind that, the
 * beginning of a record, goes to the front of the buffer for the next piece: nothing else is copied. Behind the split's end it is read
 * in small steps that double, as the buffer does for a long record, so that looking for a border again after each stays linear.
 *
 * The bytes of the buffer:
 *
 *     0 .. from .. to .. room       [from, to) are read and not given out; buffer[0] is byte `base` of the file */
#include "base/error.h"
#include "mapreduce/input.h"
#include "mapreduce/unpack.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* For records of a fixed size with numbers in them, and for memcpy. */
#define ALIGNMENT ((size_t)64)
/* The first step behind a split's end: a page, for most lines are shorter. */
#define BEYOND ((size_t)4096)

struct pmap__reader {
    const struct pmap__file *file;
    struct pmap__source *source;
    struct pmap__records records;
    uint64_t begin, end; /* the split; end is UINT64_MAX if packed, for nobody knows it */
    size_t piece_size;
    char *buffer;
    size_t room, from, to;
    uint64_t base;
    size_t given;        /* of [from, to): what the caller has now */
    bool found;          /* the first record of the split is at from; false: not looked for yet */
    bool at_end;         /* nothing is behind what was read */
    bool done;           /* no record of the split is left */
};

/* ---- Borders ---- */

/* Bytes in front of a place from which on it is known whether a record begins there. */
static size_t context_of(const struct pmap__records *records)
{
    return records->border ? PMAP_BORDER_CONTEXT : 1;
}

/* As the border function says, but an answer that is none is 0. */
static size_t ask(const struct pmap__records *records, const char *data, size_t size)
{
    size_t border = size > 0 ? records->border(data, size) : 0;

    return border <= size ? border : 0;
}

/* The first border at data + x or behind, x > 0; as its distance from data, 0 if there is none. It is certain if data is a record's
 * beginning or x at least the context. */
static size_t first_border(const struct pmap__records *records, const char *data, size_t size, size_t x)
{
    if (records->border == NULL) {
        const char *newline = x <= size ? memchr(data + (x - 1), '\n', size - (x - 1)) : NULL;
        return newline ? (size_t)(newline - data) + 1 : 0;
    }
    size_t at = x > PMAP_BORDER_CONTEXT ? x - PMAP_BORDER_CONTEXT : 0;
    for (size_t step; at < size && (step = ask(records, data + at, size - at)) != 0;) {
        at += step;
        if (at >= x)
            return at;
    }
    return 0;
}

/* The last border behind data, a record's beginning; 0 if there is none. A border function is asked only near the end, and further in
 * front as long as it finds nothing there. */
static size_t last_border(const struct pmap__records *records, const char *data, size_t size)
{
    if (records->border == NULL) {
        const char *newline = memrchr(data, '\n', size);
        return newline ? (size_t)(newline - data) + 1 : 0;
    }
    for (size_t window = 4 * PMAP_BORDER_CONTEXT;; window = window < size / 4 ? window * 4 : size) {
        size_t at = window < size ? size - window : 0, certain = at ? at + PMAP_BORDER_CONTEXT : 1, last = 0;
        for (size_t step; at < size && (step = ask(records, data + at, size - at)) != 0;) {
            at += step;
            last = at >= certain ? at : 0;
        }
        if (last || window >= size)
            return last;
    }
}

size_t pmap__first_record(const struct pmap__records *records, const char *data, size_t size)
{
    if (records->record_size)
        return records->record_size < size ? records->record_size : size;
    size_t border = first_border(records, data, size, 1);
    return border ? border : size;
}

/* ---- Filling the buffer ---- */

static uint64_t position(const struct pmap__reader *reader, size_t in_buffer)
{
    return reader->base + in_buffer;
}

static size_t unread(const struct pmap__reader *reader)
{
    return reader->to - reader->from;
}

static enum pmap_status no_memory(const struct pmap__reader *reader, size_t size, struct pmap_error *error)
{
    return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory to read %s: %zu bytes", pmap__path_shown(reader->file->path), size);
}

/* Bring what is unread to the front of a buffer of at least `size` bytes. */
static enum pmap_status make_room(struct pmap__reader *reader, size_t size, struct pmap_error *error)
{
    char *buffer = reader->buffer;

    if (size > reader->room) {
        if (size > SIZE_MAX - ALIGNMENT)
            return no_memory(reader, size, error);
        size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        buffer = aligned_alloc(ALIGNMENT, size);
        if (buffer == NULL)
            return no_memory(reader, size, error);
        reader->room = size;
    }
    if (unread(reader) > 0)
        memmove(buffer, reader->buffer + reader->from, unread(reader));
    if (buffer != reader->buffer)
        free(reader->buffer);
    reader->buffer = buffer;
    reader->base += reader->from;
    reader->to -= reader->from;
    reader->from = 0;
    return PMAP_OK;
}

/* Read on until `want` bytes are there; not over the split's end, or, if that was reached, by one step. */
static enum pmap_status fill(struct pmap__reader *reader, size_t want, struct pmap_error *error)
{
    size_t got;
    enum pmap_status status = make_room(reader, want, error);

    if (status != PMAP_OK)
        return status;
    uint64_t at = position(reader, reader->to), most = at < reader->end ? reader->end - at : at - reader->end;
    if (at >= reader->end && most < BEYOND)
        most = BEYOND;
    size_t size = want - reader->to < most ? want - reader->to : (size_t)most;
    status = pmap__source_read(reader->source, reader->buffer + reader->to, size, &got, error);
    if (status != PMAP_OK)
        return status;
    reader->to += got;
    reader->at_end = got < size || (!reader->file->packed && position(reader, reader->to) == reader->file->size);
    return PMAP_OK;
}

/* How many bytes to have in the buffer next, more than there are now: what one piece has, or as often twice that as it takes. */
static size_t wanted(const struct pmap__reader *reader)
{
    size_t want = reader->piece_size;

    while (want <= unread(reader))
        want = want < SIZE_MAX / 2 ? want * 2 : SIZE_MAX;
    return want;
}

/* ---- Records ---- */

/* From so many bytes on, a record without a border is too long. A border function may want to see the next record, too. */
static size_t enough(const struct pmap__reader *reader)
{
    size_t most = reader->records.record_max, more = reader->records.border ? most : 1;

    return most < SIZE_MAX - more ? most + more : SIZE_MAX;
}

/* Go to the first record that begins in the split. Is none found in so many bytes, then the split lies inside a record that is too
 * long. That is for the split to say where it begins: so the error is the same one however the file is cut. */
static enum pmap_status find_first(struct pmap__reader *reader, struct pmap_error *error)
{
    size_t context = (size_t)(reader->begin - reader->base);

    while (context > 0 && !reader->done) {
        enum pmap_status status = fill(reader, wanted(reader), error);
        if (status != PMAP_OK)
            return status;
        reader->from = first_border(&reader->records, reader->buffer, reader->to, context);
        if (reader->from > 0)
            break;
        bool passed = reader->records.border == NULL && position(reader, reader->to) >= reader->end;
        reader->done = reader->at_end || passed || (reader->to > context && reader->to - context >= enough(reader));
    }
    reader->found = true;
    return PMAP_OK;
}

/* Bytes of the whole records at from that are the split's; 0 if one is not whole yet. */
static size_t whole(const struct pmap__reader *reader)
{
    const struct pmap__records *records = &reader->records;
    uint64_t left = reader->end - position(reader, reader->from);
    size_t size = unread(reader), last = 0;

    if (size == 0)
        return 0;
    const char *data = reader->buffer + reader->from;
    if (records->record_size)
        return size - size % records->record_size;
    if (left <= size)
        last = first_border(records, data, size, (size_t)left);
    if (last)
        return last;
    return reader->at_end ? size : last_border(records, data, size);
}

static enum pmap_status too_long(const struct pmap__reader *reader, size_t in_buffer, struct pmap_error *error)
{
    return pmap__error_set(error, PMAP_EINVAL, "pmap: %s, at byte %" PRIu64 ": a record is longer than %zu bytes (record_max)",
                           pmap__path_shown(reader->file->path), position(reader, in_buffer), reader->records.record_max);
}

/* A piece of up to record_max bytes has no longer record; in a longer one each must be looked at. */
static enum pmap_status check_lengths(const struct pmap__reader *reader, size_t size, struct pmap_error *error)
{
    size_t most = reader->records.record_max, record;

    for (size_t at = reader->from, end = at + size; end - at > most; at += record) {
        record = pmap__first_record(&reader->records, reader->buffer + at, end - at);
        if (record > most)
            return too_long(reader, at, error);
    }
    return PMAP_OK;
}

static enum pmap_status check_fixed(const struct pmap__reader *reader, size_t size, struct pmap_error *error)
{
    if (size > 0 || !reader->at_end || unread(reader) == 0)
        return PMAP_OK;
    return pmap__error_set(error, PMAP_EINVAL, "pmap: %s, at byte %" PRIu64 ": it ends in a record, %zu of %zu bytes (record_size)",
                           pmap__path_shown(reader->file->path), position(reader, reader->from), unread(reader), reader->records.record_size);
}

/* Read until there are whole records, and how many bytes of them; 0 at the end. */
static enum pmap_status gather(struct pmap__reader *reader, size_t *size, struct pmap_error *error)
{
    while ((*size = whole(reader)) == 0 && !reader->at_end) {
        if (reader->records.record_size == 0 && unread(reader) >= enough(reader))
            return too_long(reader, reader->from, error);
        enum pmap_status status = fill(reader, wanted(reader), error);
        if (status != PMAP_OK)
            return status;
    }
    return reader->records.record_size ? check_fixed(reader, *size, error) : check_lengths(reader, *size, error);
}

/* ---- The reader ---- */

enum pmap_status pmap__reader_next(struct pmap__reader *reader, struct pmap_view *piece, uint64_t *offset, struct pmap_error *error)
{
    enum pmap_status status = reader->found ? PMAP_OK : find_first(reader, error);
    size_t size = 0;

    reader->from += reader->given;
    reader->given = 0;
    if (status == PMAP_OK && !reader->done && position(reader, reader->from) < reader->end)
        status = gather(reader, &size, error);
    if (status != PMAP_OK)
        return status;
    reader->done = size == 0;
    reader->given = size;
    *piece = (struct pmap_view){size ? reader->buffer + reader->from : "", size};
    *offset = position(reader, reader->from);
    return PMAP_OK;
}

/* With a fixed size, so that nothing is left behind a piece. */
static size_t whole_piece(size_t piece_size, size_t record_size)
{
    if (record_size == 0)
        return piece_size;
    return piece_size < record_size ? record_size : piece_size - piece_size % record_size;
}

enum pmap_status pmap__reader_open(const struct pmap__file *file, const struct pmap__split *split, const struct pmap__records *records,
                                   size_t piece_size, struct pmap__reader **reader, struct pmap_error *error)
{
    size_t context = records->record_size ? 0 : context_of(records);
    struct pmap__reader *r = malloc(sizeof *r);

    if (r == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory to read %s", pmap__path_shown(file->path));
    *r = (struct pmap__reader){.file = file, .records = *records, .begin = split->begin, .end = file->packed ? UINT64_MAX : split->end,
                               .piece_size = whole_piece(piece_size, records->record_size)};
    r->base = split->begin > context ? split->begin - context : 0;
    enum pmap_status status = pmap__source_open(file, r->base, &r->source, error);
    if (status != PMAP_OK) {
        pmap__reader_close(r);
        return status;
    }
    *reader = r;
    return PMAP_OK;
}

void pmap__reader_close(struct pmap__reader *reader)
{
    if (reader == NULL)
        return;
    pmap__source_close(reader->source);
    free(reader->buffer);
    free(reader);
}
