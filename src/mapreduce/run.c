/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A writer gathers records into a block; a full one is compressed and goes to scratch. A record longer than a block is never copied:
 * it goes there from the caller's memory in pieces of the size of a block, and a reader that finds a record longer than the block it
 * begins in knows that the rest is in the blocks that follow.
 *
 * Most blocks of combined pairs are made short as terse.h has it; what does not get half as long that way is compressed by zstd. Which of
 * both it was the first byte says.
 *
 * That is zstd at level -1: of sorted words with counts there remain 28 to 43 %, at 420 to 520 MB/s; level 1 takes a fifth more
 * time for 2 to 15 % less, level -5 a quarter less time for 16 to 50 % more. A block that does not lose a fifth is stored as it is, for
 * then the disk is faster: random bytes in records of 100 would lose a seventh, at 620 MB/s. Of data that has been like that for a while
 * only one block in RETRY is tried.
 *
 * A reader holds one block and nothing else: what is stored, and the memory of zstd (some 100 KB, which would be most of a reader of small
 * blocks), are there only while a block is unpacked. */
#include "mapreduce/run.h"

#include "base/error.h"
#include "mapreduce/terse.h"

#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define LEVEL (-1)
#define BLOCK_MIN ((size_t)64) /* the first piece of a record has its head, which says how long it is */
#define HARD 4                 /* after so many incompressible blocks in a row */
#define RETRY 16               /* only every so many are tried */

struct pmap__sorted_writer {
    struct pmap__scratch *scratch;
    struct pmap__sorted sorted;
    size_t room;      /* blocks that sorted.blocks has room for */
    ZSTD_CCtx *zstd;  /* NULL: not needed so far */
    bool checked;     /* sorted.check is wanted */
    unsigned hard;    /* blocks in a row that did not get shorter, or were not tried */
    size_t size, used; /* of block */
    char *block, *packed;
};

/* A multiple of 8, so that the last piece of a record is none of less, which would have nothing to lose. */
static size_t block_size(size_t block)
{
    return block < BLOCK_MIN ? BLOCK_MIN : pmap__padded(block);
}

/* What is not shorter than this is not worth its time. */
static size_t packed_max(size_t size)
{
    return size - size / 5;
}

static size_t packed_room(size_t size)
{
    return packed_max(size) > pmap__terse_room(size) ? packed_max(size) : pmap__terse_room(size);
}

/* zstd counts in blocks of its own, of up to 128 KiB, and has up to 3.4 bytes for each byte of such a block, and the rest is tables. */
size_t pmap__sorted_writer_memory(size_t block)
{
    size_t size = block_size(block), inner = size < 131072 ? size : 131072;

    return sizeof(struct pmap__sorted_writer) + size + PMAP__TERSE_SLACK + packed_room(size) + 4 * inner + 65536;
}

/* ---- Writing ---- */

enum pmap_status pmap__sorted_begin(struct pmap__scratch *scratch, size_t block, struct pmap__sorted_writer **writer)
{
    struct pmap__sorted_writer *w = calloc(1, sizeof *w);
    if (w == NULL)
        return PMAP_ENOMEM;
    w->scratch = scratch;
    w->size = block_size(block);
    w->block = malloc(w->size + PMAP__TERSE_SLACK);
    w->packed = malloc(packed_room(w->size));
    if (w->block == NULL || w->packed == NULL) {
        pmap__sorted_abandon(w);
        return PMAP_ENOMEM;
    }
    *writer = w;
    return PMAP_OK;
}

void pmap__sorted_checked(struct pmap__sorted_writer *writer)
{
    writer->checked = true;
}

/* That of a run so far, with another block; never 0. */
static uint64_t check_with(uint64_t check, const void *bytes, size_t size)
{
    uint64_t hash = XXH3_64bits_withSeed(bytes, size, check);
    return hash ? hash : 1;
}

static bool have_room(struct pmap__sorted_writer *w)
{
    if (w->sorted.n < w->room)
        return true;
    size_t room = w->room ? 2 * w->room : 16;
    struct pmap__run_block *blocks = realloc(w->sorted.blocks, room * sizeof *blocks);
    if (blocks == NULL)
        return false;
    w->sorted.blocks = blocks;
    w->room = room;
    return true;
}

static size_t compress(struct pmap__sorted_writer *w, const void *bytes, size_t size)
{
    if (w->zstd == NULL && (w->zstd = ZSTD_createCCtx()) != NULL)
        ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, LEVEL);
    size_t packed = w->zstd ? ZSTD_compress2(w->zstd, w->packed, packed_max(size), bytes, size) : 0;
    return ZSTD_isError(packed) ? 0 : packed;
}

/* Make it short, in packed; the size, or 0: store it as it is, also if zstd has no memory. */
static size_t pack(struct pmap__sorted_writer *w, const void *bytes, size_t size, bool whole)
{
    size_t packed = whole ? pmap__terse_write(bytes, size, w->packed) : 0;

    if (packed == 0 && w->hard >= HARD && w->hard % RETRY) {
        w->hard++;
        return 0;
    }
    packed = packed ? packed : compress(w, bytes, size);
    if (packed == 0) {
        w->hard++;
        return 0;
    }
    w->hard = 0;
    return packed;
}

/* Append a block; whole: that is not a piece of a record. */
static enum pmap_status store(struct pmap__sorted_writer *w, const void *bytes, size_t size, bool whole, struct pmap_error *error)
{
    struct pmap__run_block block = {.size = size};

    if (!have_room(w))
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for the list of %zu blocks in scratch", w->sorted.n);
    size_t packed = pack(w, bytes, size, whole);
    block.stored = packed ? packed : size;
    enum pmap_status status = pmap__scratch_write(w->scratch, packed ? w->packed : bytes, block.stored, &block.at, error);
    if (status == PMAP_OK) {
        if (w->checked)
            w->sorted.check = check_with(w->sorted.check, packed ? w->packed : bytes, block.stored);
        w->sorted.blocks[w->sorted.n++] = block;
        w->sorted.stored += block.stored;
    }
    return status;
}

static enum pmap_status flush(struct pmap__sorted_writer *w, struct pmap_error *error)
{
    enum pmap_status status = w->used ? store(w, w->block, w->used, true, error) : PMAP_OK;
    w->used = 0;
    return status;
}

static enum pmap_status store_long(struct pmap__sorted_writer *w, const char *record, size_t size, struct pmap_error *error)
{
    enum pmap_status status = PMAP_OK;

    for (size_t at = 0; status == PMAP_OK && at < size; at += w->size)
        status = store(w, record + at, size - at < w->size ? size - at : w->size, false, error);
    return status;
}

enum pmap_status pmap__sorted_put(struct pmap__sorted_writer *writer, const void *record, struct pmap_error *error)
{
    size_t size = pmap__record_size(record);
    enum pmap_status status = size > writer->size - writer->used ? flush(writer, error) : PMAP_OK;

    if (status == PMAP_OK && size > writer->size)
        status = store_long(writer, record, size, error);
    else if (status == PMAP_OK) {
        memcpy(writer->block + writer->used, record, size);
        writer->used += size;
    }
    writer->sorted.records++;
    writer->sorted.size += size;
    return status;
}

void *pmap__sorted_reserve(struct pmap__sorted_writer *writer, size_t size, struct pmap_error *error)
{
    if (size > writer->size - writer->used && flush(writer, error) != PMAP_OK)
        return NULL;
    void *at = writer->block + writer->used;
    writer->used += size;
    writer->sorted.records++;
    writer->sorted.size += size;
    return at;
}

enum pmap_status pmap__sorted_cut(struct pmap__sorted_writer *writer, size_t *n, struct pmap_error *error)
{
    enum pmap_status status = flush(writer, error);
    *n = writer->sorted.n;
    return status;
}

/* Free all but the list of blocks. */
static void writer_free(struct pmap__sorted_writer *writer)
{
    ZSTD_freeCCtx(writer->zstd);
    free(writer->packed);
    free(writer->block);
    free(writer);
}

enum pmap_status pmap__sorted_end(struct pmap__sorted_writer *writer, struct pmap__sorted *sorted, struct pmap_error *error)
{
    enum pmap_status status = flush(writer, error);

    if (status != PMAP_OK) {
        pmap__sorted_abandon(writer);
        return status;
    }
    *sorted = writer->sorted;
    struct pmap__run_block *fitting = sorted->n ? realloc(sorted->blocks, sorted->n * sizeof *fitting) : NULL;
    if (fitting)
        sorted->blocks = fitting;
    writer_free(writer);
    return PMAP_OK;
}

void pmap__sorted_abandon(struct pmap__sorted_writer *writer)
{
    if (writer == NULL)
        return;
    pmap__sorted_free(writer->scratch, &writer->sorted);
    writer_free(writer);
}

static void free_blocks(struct pmap__scratch *scratch, const struct pmap__sorted *sorted, size_t begin)
{
    for (size_t i = begin; i < sorted->n; i++)
        pmap__scratch_free(scratch, sorted->blocks[i].at, sorted->blocks[i].stored);
}

void pmap__sorted_free(struct pmap__scratch *scratch, struct pmap__sorted *sorted)
{
    free_blocks(scratch, sorted, 0);
    free(sorted->blocks);
    *sorted = (struct pmap__sorted){0};
}

/* ---- Reading ---- */

struct reader {
    struct pmap__source source;
    struct pmap__scratch *scratch;
    const struct pmap__sorted *sorted;
    bool consume;
    size_t next;           /* block to read */
    const char *at, *end;  /* of records in block that have not been given */
    char *longer;          /* a record that is longer than its first block; NULL if the last was none */
    char block[];          /* as large as the largest of the run; aligned, as it follows a pointer */
};

size_t pmap__sorted_reader_memory(size_t block)
{
    return sizeof(struct reader) + block_size(block) + PMAP__TERSE_SLACK;
}

/* zstd 1.5 takes 94 to 162 KB, as it is compiled. */
size_t pmap__sorted_unpack_memory(size_t block)
{
    return packed_max(block_size(block)) + PMAP__TERSE_SLACK + 163840;
}

/* The size that it has then, or what zstd says. */
static size_t unpack_from(const void *packed, const struct pmap__run_block *block, void *to)
{
    if (*(const unsigned char *)packed == PMAP__TERSE_MARK)
        return pmap__terse_read(packed, block->stored, to, block->size) ? block->size : 0;
    return ZSTD_decompress(to, block->size, packed, block->stored);
}

static enum pmap_status unpack(struct reader *r, const struct pmap__run_block *block, void *to, struct pmap_error *error)
{
    void *packed = malloc(block->stored + PMAP__TERSE_SLACK);
    if (packed == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for a block of %zu bytes in scratch", block->stored);
    enum pmap_status status = pmap__scratch_read(r->scratch, packed, block->stored, block->at, error);
    size_t size = status == PMAP_OK ? unpack_from(packed, block, to) : block->size;
    free(packed);
    if (ZSTD_getErrorCode(size) == ZSTD_error_memory_allocation)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory to uncompress a block of %zu bytes", block->size);
    if (size != block->size)
        return pmap__error_set(error, PMAP_EINVAL, "pmap: a block in scratch is damaged: it does not uncompress to %zu bytes", block->size);
    return status;
}

/* Read the next block, which is there, to where its size is free. */
static enum pmap_status load(struct reader *r, char *to, struct pmap_error *error)
{
    const struct pmap__run_block *block = &r->sorted->blocks[r->next];
    enum pmap_status status = block->stored == block->size ? pmap__scratch_read(r->scratch, to, block->size, block->at, error)
                                                           : unpack(r, block, to, error);

    if (status == PMAP_OK && r->consume)
        pmap__scratch_free(r->scratch, block->at, block->stored);
    r->next += status == PMAP_OK;
    return status;
}

/* The block that was read begins a record of so many bytes: read the others. */
static enum pmap_status load_longer(struct reader *r, size_t size, struct pmap_error *error)
{
    size_t done = (size_t)(r->end - r->at);
    enum pmap_status status = PMAP_OK;

    r->longer = malloc(size);
    if (r->longer == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for a pair of %zu bytes from scratch", size);
    memcpy(r->longer, r->at, done);
    while (status == PMAP_OK && done < size) {
        size_t piece = r->sorted->blocks[r->next].size;
        status = load(r, r->longer + done, error);
        done += piece;
    }
    r->at = r->end;
    return status;
}

static enum pmap_status next_block(struct reader *r, struct pmap_error *error)
{
    size_t size = r->sorted->blocks[r->next].size;
    enum pmap_status status = load(r, r->block, error);

    if (status != PMAP_OK)
        return status;
    r->at = r->block;
    r->end = r->block + size;
    return pmap__record_size(r->at) > size ? load_longer(r, pmap__record_size(r->at), error) : PMAP_OK;
}

static enum pmap_status reader_next(struct pmap__source *source, const void **record, struct pmap_error *error)
{
    struct reader *r = (struct reader *)source;

    free(r->longer);
    r->longer = NULL;
    *record = NULL;
    if (r->at == r->end) {
        enum pmap_status status = r->next < r->sorted->n ? next_block(r, error) : PMAP_OK;
        if (status != PMAP_OK)
            return status;
    }
    if (r->longer)
        *record = r->longer;
    else if (r->at != r->end) {
        *record = r->at;
        r->at += pmap__record_size(r->at);
    }
    return PMAP_OK;
}

static void reader_close(struct pmap__source *source)
{
    struct reader *r = (struct reader *)source;

    if (r->consume)
        free_blocks(r->scratch, r->sorted, r->next);
    free(r->longer);
    free(r);
}

enum pmap_status pmap__sorted_open(struct pmap__scratch *scratch, const struct pmap__sorted *sorted, bool consume,
                                   struct pmap__source **source)
{
    size_t largest = 0;

    for (size_t i = 0; i < sorted->n; i++)
        largest = sorted->blocks[i].size > largest ? sorted->blocks[i].size : largest;
    struct reader *r = malloc(sizeof *r + largest + PMAP__TERSE_SLACK);
    if (r == NULL)
        return PMAP_ENOMEM;
    *r = (struct reader){.source = {reader_next, reader_close}, .scratch = scratch, .sorted = sorted, .consume = consume};
    *source = &r->source;
    return PMAP_OK;
}

enum pmap_status pmap__sorted_read(struct pmap__scratch *scratch, const struct pmap__sorted *sorted, size_t *block, void **bytes,
                                   size_t *size, struct pmap_error *error)
{
    struct pmap__source *source;

    *bytes = NULL;
    *size = 0;
    if (*block >= sorted->n)
        return PMAP_OK;
    enum pmap_status status = pmap__sorted_open(scratch, sorted, false, &source);
    if (status != PMAP_OK)
        return status;
    struct reader *r = (struct reader *)source;
    r->next = *block;
    status = next_block(r, error);
    if (status == PMAP_OK) {
        *size = r->longer ? pmap__record_size(r->longer) : (size_t)(r->end - r->at);
        *bytes = r->longer ? r->longer : malloc(*size);
        status = *bytes ? PMAP_OK : PMAP_ENOMEM;
    }
    if (status == PMAP_OK && r->longer == NULL)
        memcpy(*bytes, r->at, *size);
    if (status == PMAP_OK)
        r->longer = NULL; /* it has been given away */
    *block = r->next;
    source->close(source);
    return status;
}

enum pmap_status pmap__sorted_verify(struct pmap__scratch *scratch, const struct pmap__sorted *sorted, bool *sound,
                                     struct pmap_error *error)
{
    enum pmap_status status = PMAP_OK;
    uint64_t check = 0;
    char *bytes = NULL;
    size_t room = 0;

    for (size_t i = 0; i < sorted->n && status == PMAP_OK; i++) {
        const struct pmap__run_block *block = &sorted->blocks[i];
        if (block->stored > room) {
            free(bytes);
            room = block->stored;
            bytes = malloc(room);
        }
        status = bytes ? pmap__scratch_read(scratch, bytes, block->stored, block->at, error)
                       : pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for a block of %zu bytes", room);
        if (status == PMAP_OK)
            check = check_with(check, bytes, block->stored);
    }
    free(bytes);
    *sound = status == PMAP_OK && check == sorted->check;
    return status;
}

/* ---- Records in memory ---- */

struct array {
    struct pmap__source source;
    const struct pmap__sort_entry *next, *end;
};

static enum pmap_status array_next(struct pmap__source *source, const void **record, struct pmap_error *error)
{
    struct array *a = (struct array *)source;

    (void)error;
    *record = a->next == a->end ? NULL : a->next++->record;
    return PMAP_OK;
}

static void array_close(struct pmap__source *source)
{
    free((struct array *)source);
}

enum pmap_status pmap__source_of_array(const struct pmap__sort_entry entries[], size_t n, struct pmap__source **source)
{
    struct array *a = malloc(sizeof *a);
    if (a == NULL)
        return PMAP_ENOMEM;
    *a = (struct array){{array_next, array_close}, entries, n ? entries + n : entries};
    *source = &a->source;
    return PMAP_OK;
}
