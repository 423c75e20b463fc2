/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Files are read with pread into the caller's buffer; no mapping, so that a file that is cut off while it is read is an error and no
 * signal. A packed one goes through a small buffer of ours, from which a format's step takes bytes and unpacks them into the caller's,
 * until that is full or the file is at its end. Which is a good end only between two members, or frames: `whole` says so. */
#include "mapreduce/unpack.h"
#include "base/error.h"
#include "mapreduce/input.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

/* A few times what gzip and zstd want at once, and small beside the caches. */
#define PACKED_SIZE ((size_t)64 << 10)

/* What a step takes from and what it fills. */
struct room {
    char *to;
    size_t size;
};

struct pmap__source {
    int fd;
    const struct pmap__file *file;
    uint64_t at;                 /* bytes of the file that were read */
    const struct format *format; /* NULL: not packed */
    char *packed;                /* PACKED_SIZE bytes, of which */
    size_t next, end;            /* [next, end) are still to be unpacked */
    bool whole;                  /* what was unpacked so far ended a member, and nothing of another was seen */
    bool members;                /* there was one: what is wrong now is wrong behind it */
    bool padding;                /* there were zero bytes behind a member: nothing else may follow */
    z_stream gzip;
    ZSTD_DStream *zstd;
};

/* How a format is unpacked. step takes some of the packed bytes, of which there may be none, writes into *room and moves it on, and sets
 * `whole`; a status other than PMAP_OK comes with a *reason. close accepts what open left half done. */
struct format {
    const char *suffix;
    bool (*open)(struct pmap__source *source);
    enum pmap_status (*step)(struct pmap__source *source, struct room *room, const char **reason);
    void (*close)(struct pmap__source *source);
};

/* ---- gzip ---- */

static bool gzip_open(struct pmap__source *source)
{
    return inflateInit2(&source->gzip, 16 + MAX_WBITS) == Z_OK; /* 16: gzip's head and check, nothing else */
}

/* Behind a member there may be another, or zero bytes up to the end (tape blocks). */
static enum pmap_status gzip_between(struct pmap__source *source, const char **reason)
{
    while (source->next < source->end && source->packed[source->next] == 0) {
        source->next++;
        source->padding = true;
    }
    if (source->next == source->end)
        return PMAP_OK;
    *reason = "zero bytes and then others";
    if (source->padding)
        return PMAP_EINVAL;
    source->whole = false;
    inflateReset(&source->gzip);
    return PMAP_OK;
}

static enum pmap_status gzip_step(struct pmap__source *source, struct room *room, const char **reason)
{
    z_stream *z = &source->gzip;
    enum pmap_status status = source->whole ? gzip_between(source, reason) : PMAP_OK;

    if (status != PMAP_OK || source->whole)
        return status;
    size_t most = room->size < PACKED_SIZE * 64 ? room->size : PACKED_SIZE * 64; /* an unsigned holds it */
    z->next_in = (unsigned char *)source->packed + source->next;
    z->avail_in = (unsigned)(source->end - source->next);
    z->next_out = (unsigned char *)room->to;
    z->avail_out = (unsigned)most;
    int result = inflate(z, Z_NO_FLUSH);
    source->next = source->end - z->avail_in;
    room->to += most - z->avail_out;
    room->size -= most - z->avail_out;
    source->whole = result == Z_STREAM_END;
    *reason = z->msg ? z->msg : "it wants a dictionary";
    if (result == Z_MEM_ERROR)
        return PMAP_ENOMEM;
    return result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR ? PMAP_OK : PMAP_EINVAL;
}

static void gzip_close(struct pmap__source *source)
{
    inflateEnd(&source->gzip);
}

/* ---- zstd ---- */

static bool zstd_open(struct pmap__source *source)
{
    source->zstd = ZSTD_createDStream();
    return source->zstd != NULL;
}

static enum pmap_status zstd_step(struct pmap__source *source, struct room *room, const char **reason)
{
    if (source->whole && source->next == source->end)
        return PMAP_OK; /* or it would begin another frame */
    ZSTD_inBuffer in = {source->packed + source->next, source->end - source->next, 0};
    ZSTD_outBuffer out = {room->to, room->size, 0};
    size_t result = ZSTD_decompressStream(source->zstd, &out, &in);
    if (ZSTD_isError(result)) {
        *reason = ZSTD_getErrorName(result);
        return ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation ? PMAP_ENOMEM : PMAP_EINVAL;
    }
    source->next += in.pos;
    room->to += out.pos;
    room->size -= out.pos;
    source->whole = result == 0;
    return PMAP_OK;
}

static void zstd_close(struct pmap__source *source)
{
    ZSTD_freeDStream(source->zstd);
}

static const struct format formats[] = {
    {".gz", gzip_open, gzip_step, gzip_close},
    {".zst", zstd_open, zstd_step, zstd_close},
};

static const struct format *format_of(const char *path)
{
    size_t size = strlen(path);

    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        size_t suffix = strlen(formats[i].suffix);
        if (size >= suffix && strcmp(path + size - suffix, formats[i].suffix) == 0)
            return &formats[i];
    }
    return NULL;
}

bool pmap__path_is_packed(const char *path)
{
    return format_of(path) != NULL;
}

/* ---- Reading ---- */

static enum pmap_status shorter(const struct pmap__source *source, uint64_t size, struct pmap_error *error)
{
    return pmap__error_set(error, PMAP_EINVAL, "pmap: %s, at byte %" PRIu64 ": the file ends here, it had %" PRIu64 " bytes when it was found",
                           pmap__path_shown(source->file->path), size, source->file->size);
}

/* Up to size bytes of the file as it lies on disk; fewer only at the end that it had when it was found. */
static enum pmap_status read_file(struct pmap__source *source, char *to, size_t size, size_t *got, struct pmap_error *error)
{
    uint64_t left = source->file->size - source->at;
    size_t wanted = left < size ? (size_t)left : size, have = 0;

    while (have < wanted) {
        ssize_t n = pread(source->fd, to + have, wanted - have, (off_t)source->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pmap__error_set(error, PMAP_EINVAL, "pmap: %s, at byte %" PRIu64 ": %s", pmap__path_shown(source->file->path), source->at,
                                   strerror(errno));
        if (n == 0)
            return shorter(source, source->at, error);
        have += (size_t)n;
        source->at += (uint64_t)n;
    }
    *got = have;
    return PMAP_OK;
}

static enum pmap_status unpacking_failed(const struct pmap__source *source, enum pmap_status status, const char *reason,
                                         struct pmap_error *error)
{
    const char *path = pmap__path_shown(source->file->path);

    if (status == PMAP_ENOMEM)
        return pmap__error_set(error, status, "pmap: no memory to unpack %s", path);
    return pmap__error_set(error, status, "pmap: %s, at byte %" PRIu64 " as it is packed: %s: %s", path,
                           source->at - (source->end - source->next),
                           source->members ? "it is damaged, or something else is behind it" : "it is damaged, or not of this format", reason);
}

static enum pmap_status unpack(struct pmap__source *source, struct room *room, struct pmap_error *error)
{
    while (room->size > 0) {
        if (source->next == source->end) {
            source->next = 0;
            enum pmap_status status = read_file(source, source->packed, PACKED_SIZE, &source->end, error);
            if (status != PMAP_OK)
                return status;
        }
        bool at_end = source->end == 0; /* a step may still have something to give out */
        size_t before = room->size;
        const char *reason = "";
        enum pmap_status status = source->format->step(source, room, &reason);
        if (status != PMAP_OK)
            return unpacking_failed(source, status, reason, error);
        source->members = source->members || source->whole;
        if (at_end && source->whole)
            return PMAP_OK;
        if (at_end && room->size == before)
            return pmap__error_set(error, PMAP_EINVAL, "pmap: %s, at byte %" PRIu64 " as it is packed: it ends early",
                                   pmap__path_shown(source->file->path), source->at);
    }
    return PMAP_OK;
}

enum pmap_status pmap__source_read(struct pmap__source *source, char *to, size_t size, size_t *got, struct pmap_error *error)
{
    struct room room = {to, size};

    if (source->format == NULL)
        return read_file(source, to, size, got, error);
    enum pmap_status status = unpack(source, &room, error);
    if (status == PMAP_OK)
        *got = size - room.size;
    return status;
}

/* ---- Open and close ---- */

static enum pmap_status open_file(struct pmap__source *source, struct pmap_error *error)
{
    struct stat found;

    source->fd = open(source->file->path, O_RDONLY | O_CLOEXEC);
    if (source->fd < 0 || fstat(source->fd, &found) != 0)
        return pmap__error_set(error, PMAP_EINVAL, "pmap: %s: %s", pmap__path_shown(source->file->path), strerror(errno));
    if ((uint64_t)found.st_size < source->file->size)
        return shorter(source, (uint64_t)found.st_size, error);
    posix_fadvise(source->fd, 0, 0, POSIX_FADV_SEQUENTIAL); /* it reads ahead further; no harm if it cannot */
    return PMAP_OK;
}

static bool open_format(struct pmap__source *source)
{
    if (!source->file->packed)
        return true;
    const struct format *format = format_of(source->file->path);
    source->packed = malloc(PACKED_SIZE);
    if (source->packed == NULL || !format->open(source))
        return false;
    source->format = format;
    return true;
}

enum pmap_status pmap__source_open(const struct pmap__file *file, uint64_t begin, struct pmap__source **source, struct pmap_error *error)
{
    struct pmap__source *s = malloc(sizeof *s);
    enum pmap_status status = PMAP_ENOMEM;

    if (s == NULL)
        goto fail;
    *s = (struct pmap__source){.fd = -1, .file = file, .at = begin};
    if (!open_format(s))
        goto fail;
    status = open_file(s, error);
    if (status != PMAP_OK)
        goto fail;
    *source = s;
    return PMAP_OK;

fail:
    pmap__source_close(s);
    if (status == PMAP_ENOMEM)
        pmap__error_set(error, status, "pmap: no memory to read %s", pmap__path_shown(file->path));
    return status;
}

void pmap__source_close(struct pmap__source *source)
{
    if (source == NULL)
        return;
    if (source->format)
        source->format->close(source);
    if (source->fd >= 0)
        close(source->fd);
    free(source->packed);
    free(source);
}
