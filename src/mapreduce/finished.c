/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/finished.h"

#include "base/error.h"
#include "mapreduce/input.h"
#include "mapreduce/looks.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char call_name[] = "pmap_mapreduce";

/* All that the output depends on. How it is made, in which splits and how much memory, is left out. */
static void put_options(struct pmap__looks *l, const struct pmap_mapreduce_options *o)
{
    pmap__looks_number(l, o->record_size);
    pmap__looks_number(l, o->record_max);
    pmap__looks_number(l, o->arg_size);
    pmap__looks_bytes(l, o->arg, o->arg_size);
    pmap__looks_text(l, o->output);
    pmap__looks_number(l, (uint64_t)o->format);
    pmap__looks_text(l, o->separator);
    pmap__looks_number(l, (uint64_t)o->order);
    pmap__looks_number(l, o->partitions);
    pmap__looks_number(l, o->seed);
}

static enum pmap_status put_input(struct pmap__looks *l, const struct pmap_input *in, struct pmap_error *error)
{
    struct pmap__files files;

    pmap__looks_number(l, (uint64_t)in->kind);
    if (in->kind == PMAP_INPUT_RECORDS) {
        struct pmap__journal_key hash = pmap__journal_hash(0, in->records, in->n * in->record_size);
        pmap__looks_number(l, in->record_size);
        pmap__looks_number(l, hash.high);
        pmap__looks_number(l, hash.low);
        return PMAP_OK;
    }
    enum pmap_status status = pmap__files_find(in->paths, &files, error);
    if (status != PMAP_OK)
        return status;
    for (size_t i = 0; i < files.n; i++)
        pmap__looks_file(l, files.files[i].path);
    pmap__files_free(&files);
    return PMAP_OK;
}

/* The files that the call has made, or might have: one, or those of a directory. */
static void put_output(struct pmap__looks *l, const char *output)
{
    char path[PATH_MAX + 32];
    bool there = true;

    if (output[strlen(output) - 1] != '/') {
        pmap__looks_file(l, output);
        return;
    }
    for (size_t i = 0; there && i < 100000; i++) {
        snprintf(path, sizeof path, "%spart-%05zu", output, i);
        there = pmap__looks_file(l, path);
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
    struct pmap__looks l = {0};

    pmap__looks_functions(&l, what);
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
    const struct pmap__looks *output; /* as it is */
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
    struct pmap__looks output = {0};

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
    struct pmap__looks l = {0};

    if (f->journal == NULL)
        return PMAP_OK;
    pmap__looks_bytes(&l, stats, sizeof *stats);
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
