/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/map.h"

#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>

/* A piece stays in the core's cache while it is mapped. */
#define PIECE ((size_t)256 << 10)

/* ---- Pieces to functions ---- */

/* One record after the other, without its newline. */
static void map_each_record(const struct pmap__records *records, struct pmap_view piece, struct pmap_emitter *out, pmap_map_record_fn *map)
{
    bool lines = records->record_size == 0 && records->border == NULL;
    const char *at = piece.data, *end = at + piece.size;

    while (at < end && !out->failed) {
        size_t size = pmap__first_record(records, at, (size_t)(end - at));
        bool newline = lines && at[size - 1] == '\n';
        map((struct pmap_view){at, size - newline}, out);
        at += size;
        out->source.offset += size;
    }
}

/* False: the split need not go on. */
static bool map_piece(struct pmap__site *site, struct pmap_emitter *out, struct pmap_view piece, uint64_t offset,
                      const struct pmap__records *records)
{
    pmap__emitter_piece(out, piece, offset);
    out->counts.bytes_in += piece.size;
    if (site->plan.what->map)
        site->plan.what->map(piece, out);
    else
        map_each_record(records, piece, out, site->plan.what->map_record);
    pmap__emitter_piece_end(out);
    return !out->failed && !pmap__item_has_failed() && !pmap__item_cancelled();
}

/* ---- Where pieces come from ---- */

static bool map_file(struct pmap__site *site, struct pmap_emitter *out, const struct pmap__split *split, bool first_only)
{
    const struct pmap__file *file = &site->plan.files.files[split->file];
    struct pmap__records records = {(size_t)site->plan.record_size, site->plan.what->border, (size_t)site->plan.record_max};
    bool small = !first_only && site->budget->limit / 32 / site->n_emitters < PIECE; /* a sample must not depend on memory */
    size_t piece_size = small ? PIECE / 8 : PIECE;
    struct pmap_error error = {0};
    struct pmap__reader *reader = NULL;
    struct pmap_view piece = {NULL, 0};
    uint64_t offset;

    out->source.path = file->path;
    out->source.file = (size_t)split->file;
    enum pmap_status status = pmap__reader_open(file, split, &records, piece_size, &reader, &error);
    bool more = status == PMAP_OK;
    while (more) {
        status = pmap__reader_next(reader, &piece, &offset, &error);
        more = status == PMAP_OK && piece.size && map_piece(site, out, piece, offset, &records) && !first_only;
    }
    pmap__reader_close(reader);
    if (status != PMAP_OK)
        pmap__site_fail_item(status, &error);
    return status == PMAP_OK;
}

static void map_array(struct pmap__site *site, struct pmap_emitter *out, struct pmap_view all, uint64_t offset)
{
    size_t record = (size_t)site->plan.record_size, most = PIECE < record ? record : PIECE - PIECE % record;
    struct pmap__records records = {.record_size = record};

    for (size_t at = 0; at < all.size; at += most) {
        size_t size = all.size - at < most ? all.size - at : most;
        if (!map_piece(site, out, (struct pmap_view){(const char *)all.data + at, size}, offset + at, &records))
            return;
    }
}

static void map_records(struct pmap__site *site, struct pmap_emitter *out, struct pmap_view all, uint64_t first)
{
    const char *at = all.data, *end = at + all.size;

    for (uint64_t i = first; at < end; i++) {
        uint64_t size;
        memcpy(&size, at, sizeof size);
        struct pmap_view record = {at + sizeof size, (size_t)size};
        out->source.offset = i;
        out->counts.bytes_in += record.size;
        if (site->plan.what->map)
            site->plan.what->map(record, out);
        else
            site->plan.what->map_record(record, out);
        if (out->failed || pmap__item_has_failed() || pmap__item_cancelled())
            return;
        at += sizeof size + pmap__padded((size_t)size);
    }
}

/* The pairs of a block, as long as there are bytes *left to be mapped; false: enough. */
static bool map_pairs(struct pmap__site *site, struct pmap_emitter *out, const char *at, size_t size, uint64_t *left)
{
    for (const char *end = at + size; at < end && !out->failed; at += pmap__record_size(at)) {
        if (*left < pmap__record_size(at))
            return false;
        *left -= pmap__record_size(at);
        struct pmap_view key = {pmap__record_key(at), pmap__record_key_size(at)};
        struct pmap_view value = {pmap__record_value(at), pmap__record_value_size(at)};
        out->counts.bytes_in += key.size + value.size;
        site->plan.what->map_pair(key, value, out);
        out->source.offset++;
        if (pmap__item_has_failed())
            return false;
    }
    return !out->failed && !pmap__item_cancelled();
}

static void map_dataset(struct pmap__site *site, struct pmap_emitter *out, uint64_t number, size_t partition, bool first_only)
{
    struct pmap__site *from = (struct pmap__site *)pmap__post_find(site->post, number);
    struct pmap_error error = {0};
    enum pmap_status status = from && partition < from->plan.partitions ? PMAP_OK : PMAP_EINVAL;
    void *bytes = NULL;
    size_t size = 0;
    uint64_t left = first_only ? PIECE : UINT64_MAX; /* how large blocks are depends on where they lie, and a sample must not */
    bool more = status == PMAP_OK;

    for (size_t block = 0; more;) {
        status = pmap__stash_read(&from->stashes[partition], &block, &bytes, &size, &error);
        more = status == PMAP_OK && bytes && map_pairs(site, out, bytes, size, &left);
        if (status == PMAP_OK)
            free(bytes);
    }
    if (status != PMAP_OK)
        pmap__site_fail_item(status, &error);
}

static void map_any(struct pmap__site *site, struct pmap_emitter *out, const struct pmap__step *step, struct pmap_view payload,
                    bool sample)
{
    switch (step->split_kind) {
    case PMAP__SPLIT_FILE:
        map_file(site, out, &step->split, sample);
        break;
    case PMAP__SPLIT_HERE:
        payload = (struct pmap_view){(const void *)(uintptr_t)step->address, (size_t)(step->split.end - step->split.begin)};
        map_array(site, out, payload, step->split.begin);
        break;
    case PMAP__SPLIT_BEHIND:
        map_array(site, out, payload, step->split.begin);
        break;
    case PMAP__SPLIT_RECORDS:
        map_records(site, out, payload, step->split.begin);
        break;
    case PMAP__SPLIT_DATASET:
        map_dataset(site, out, step->dataset, (size_t)step->partition, sample);
        break;
    }
}

/* What texts call the item. */
static void describe(const struct pmap__site *site, const struct pmap__step *step, char *text, size_t room)
{
    const struct pmap__split *s = &step->split;
    unsigned long long index = s->index, begin = s->begin, end = s->end;

    if (step->split.index == PMAP_NO_ITEM && step->split_kind == PMAP__SPLIT_FILE)
        snprintf(text, room, "a sample (%s, bytes %llu-%llu)", site->plan.files.files[s->file].path, begin, end);
    else if (step->split.index == PMAP_NO_ITEM)
        snprintf(text, room, "a sample (bytes %llu-%llu of the array)", begin, end);
    else if (step->split_kind == PMAP__SPLIT_FILE && site->plan.files.files[s->file].packed)
        snprintf(text, room, "split %llu (%s)", index, site->plan.files.files[s->file].path);
    else if (step->split_kind == PMAP__SPLIT_FILE)
        snprintf(text, room, "split %llu (%s, bytes %llu-%llu)", index, site->plan.files.files[s->file].path, begin, end);
    else if (step->split_kind == PMAP__SPLIT_DATASET)
        snprintf(text, room, "split %llu (a dataset)", index);
    else if (step->split_kind == PMAP__SPLIT_RECORDS)
        snprintf(text, room, "split %llu (from record %llu on)", index, begin);
    else
        snprintf(text, room, "split %llu (bytes %llu-%llu of the array)", index, begin, end);
}

/* One that was cancelled may have ended early, without having failed: that is nothing to keep. */
static void map_anew(struct pmap__site *site, struct pmap_emitter *out, const struct pmap__step *step, struct pmap_view payload)
{
    bool claimed = step->claim.high || step->claim.low;
    uint64_t size = step->split_kind == PMAP__SPLIT_RECORDS ? payload.size : step->split.end - step->split.begin;

    if (!pmap__emitter_begin(out, step->split.index, claimed ? &step->claim : NULL, size))
        return;
    map_any(site, out, step, payload, false);
    bool well = !out->failed && !pmap__item_has_failed() && !(claimed && pmap__item_cancelled());
    if (!well)
        out->counts = out->before; /* it may be run again */
    pmap__emitter_end(out, well);
}

void pmap__map_split(struct pmap__site *site, int thread, const struct pmap__step *step, struct pmap_view payload)
{
    struct pmap_emitter *out = pmap__emitter_of(site, thread);
    char about[300];

    describe(site, step, about, sizeof about);
    pmap__item_about(about);
    if (out == NULL) {
        pmap__site_fail_item(PMAP_ENOMEM, NULL);
    } else if (!pmap__site_check(site)) {
        bool found = false, well = pmap__emitter_withdraw(out, step->split.index, &step->claim, &found);
        if (well && !found)
            map_anew(site, out, step, payload);
    }
    pmap__item_about(NULL);
}

void pmap__map_sample(struct pmap__site *site, const struct pmap__step *step, struct pmap_view payload, struct pmap__sample *sample)
{
    struct pmap_emitter out = {.site = site, .role = PMAP__EMIT_SAMPLE, .sample = sample, .value_size = site->common.combine.size};
    char about[300];

    describe(site, step, about, sizeof about);
    pmap__item_about(about);
    out.source.split = PMAP_NO_ITEM;
    map_any(site, &out, step, payload, true);
    pmap__item_about(NULL);
}
