/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/finished.h"

#include "base/error.h"
#include "mapreduce/input.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char call_name[] = "pmap_mapreduce";

/* What a thing looks like, as bytes: of the call and its input, which are hashed, and of its output, which is kept. */
struct looks {
    char *bytes;
    size_t size, room;
    bool short_of_memory;
};

static void put(struct looks *l, const void *bytes, size_t size)
{
    if (l->size + size > l->room) {
        size_t room = 2 * (l->size + size) + 256;
        char *grown = realloc(l->bytes, room);
        if (grown == NULL) {
            l->short_of_memory = true;
            return;
        }
        l->bytes = grown;
        l->room = room;
    }
    if (size)
        memcpy(l->bytes + l->size, bytes, size);
    l->size += size;
}

static void put_number(struct looks *l, uint64_t number)
{
    put(l, &number, sizeof number);
}

static void put_text(struct looks *l, const char *text)
{
    put(l, text ? text : "", text ? strlen(text) + 1 : 1);
}

/* False if there is no such file. */
static bool put_file(struct looks *l, const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return false;
    put_text(l, path);
    put_number(l, (uint64_t)st.st_size);
    put_number(l, (uint64_t)st.st_mtim.tv_sec);
    put_number(l, (uint64_t)st.st_mtim.tv_nsec);
    return true;
}

/* Which functions there are; what they do nobody can see. */
static void put_functions(struct looks *l, const struct pmap_mapreduce *what)
{
    const bool has[] = {what->map, what->map_record, what->map_pair, what->combine, what->reduce, what->partition, what->border};

    put(l, has, sizeof has);
    put_number(l, what->value_size);
    put_number(l, (uint64_t)what->key);
    put_number(l, (uint64_t)what->value);
}

/* All that the output depends on. How it is made, in which splits and how much memory, is left out. */
static void put_options(struct looks *l, const struct pmap_mapreduce_options *o)
{
    put_number(l, o->record_size);
    put_number(l, o->record_max);
    put_number(l, o->arg_size);
    put(l, o->arg, o->arg_size);
    put_text(l, o->output);
    put_number(l, (uint64_t)o->format);
    put_text(l, o->separator);
    put_number(l, (uint64_t)o->order);
    put_number(l, o->partitions);
    put_number(l, o->seed);
}

static enum pmap_status put_input(struct looks *l, const struct pmap_input *in, struct pmap_error *error)
{
    struct pmap__files files;

    put_number(l, (uint64_t)in->kind);
    if (in->kind == PMAP_INPUT_RECORDS) {
        struct pmap__journal_key hash = pmap__journal_hash(0, in->records, in->n * in->record_size);
        put_number(l, in->record_size);
        put_number(l, hash.high);
        put_number(l, hash.low);
        return PMAP_OK;
    }
    enum pmap_status status = pmap__files_find(in->paths, &files, error);
    if (status != PMAP_OK)
        return status;
    for (size_t i = 0; i < files.n; i++)
        put_file(l, files.files[i].path);
    pmap__files_free(&files);
    return PMAP_OK;
}

/* The files that the call has made, or might have: one, or those of a directory. */
static void put_output(struct looks *l, const char *output)
{
    char path[PATH_MAX + 32];
    bool there = true;

    if (output[strlen(output) - 1] != '/') {
        put_file(l, output);
        return;
    }
    for (size_t i = 0; there && i < 100000; i++) {
        snprintf(path, sizeof path, "%spart-%05zu", output, i);
        there = put_file(l, path);
    }
}

static enum pmap_status no_memory(struct pmap_error *error)
{
    return pmap__error_set(error, PMAP_ENOMEM, "%s: no memory to look the call up in the journal", call_name);
}

/* ---- Looking up ---- */

static enum pmap_status recognise(struct pmap__finished *f, const struct pmap_mapreduce *what, const struct pmap_mapreduce_options *o,
                                  struct pmap_error *error)
{
    struct pmap__journal_call call = {.name = o->name ? o->name : o->where ? o->where : call_name, .task = what->task.name,
                                      .signature = what->task.signature, .task_id = what->task.id, .seed = o->seed};
    struct looks l = {0};

    put_functions(&l, what);
    put_options(&l, o);
    enum pmap_status status = put_input(&l, &o->input, error);
    if (status == PMAP_OK && l.short_of_memory)
        status = no_memory(error);
    if (status == PMAP_OK) {
        f->key = pmap__journal_hash(pmap__journal_context(&call), l.bytes, l.size);
        f->call = pmap__journal_call(f->journal, &call);
        if (f->call == 0 || !pmap__journal_number(f->journal, &f->key, 1))
            status = no_memory(error);
    }
    free(l.bytes);
    return status;
}

/* What was kept, to be compared with what is there. */
struct kept {
    const struct looks *output; /* as it is */
    struct pmap_mapreduce_stats *stats;
    bool same;
};

static enum pmap_status compare(void *owner, const void *result, size_t size, struct pmap_error *error)
{
    struct kept *k = owner;
    const char *bytes = result;

    (void)error;
    k->same = size == sizeof *k->stats + k->output->size &&
              (k->output->size == 0 || memcmp(bytes + sizeof *k->stats, k->output->bytes, k->output->size) == 0);
    if (k->same)
        memcpy(k->stats, bytes, sizeof *k->stats);
    return PMAP_OK;
}

enum pmap_status pmap__finished_find(struct pmap__finished *f, struct pmap__tenant *tenant, const struct pmap_mapreduce *what,
                                     const struct pmap_mapreduce_options *o, bool *known, struct pmap_mapreduce_stats *stats,
                                     struct pmap_error *error)
{
    bool lasting = o->output && (o->input.kind == PMAP_INPUT_FILES || o->input.kind == PMAP_INPUT_RECORDS), found = false;
    struct looks output = {0};

    *known = false;
    *f = (struct pmap__finished){.journal = lasting ? tenant->journal : NULL};
    if (f->journal == NULL)
        return PMAP_OK;
    if (pmap__journal_broken(f->journal, error))
        return PMAP_EJOURNAL;
    enum pmap_status status = recognise(f, what, o, error);
    uint64_t row = status == PMAP_OK ? pmap__journal_find(f->journal, &f->key) : 0;
    if (row == 0)
        return status;
    put_output(&output, o->output);
    struct kept kept = {.output = &output, .stats = stats};
    status = output.short_of_memory ? no_memory(error)
                                    : pmap__journal_read(f->journal, row, &f->key, compare, &kept, &found, error);
    *known = status == PMAP_OK && found && output.size && kept.same;
    free(output.bytes);
    return status;
}

/* ---- Writing down ---- */

enum pmap_status pmap__finished_keep(const struct pmap__finished *f, const struct pmap_mapreduce_options *o,
                                     const struct pmap_mapreduce_stats *stats, struct pmap_error *error)
{
    struct looks l = {0};

    if (f->journal == NULL)
        return PMAP_OK;
    put(&l, stats, sizeof *stats);
    put_output(&l, o->output);
    enum pmap_status status = l.short_of_memory ? no_memory(error) : PMAP_OK;
    if (status == PMAP_OK) {
        struct pmap__journal_entry entry = {.key = f->key, .result = l.bytes, .size = l.size};
        pmap__journal_add(f->journal, f->call, 0, &entry, 1);
        status = pmap__journal_flush(f->journal, error);
    }
    free(l.bytes);
    return status;
}
