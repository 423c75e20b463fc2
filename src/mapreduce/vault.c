/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/vault.h"

#include "base/error.h"
#include "journal/journal.h"
#include "journal/table.h"
#include "mapreduce/looks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Part of what a split is. Count up when the bytes of a deposit mean something else: run.h, terse.h, deposit.c. */
#define FORMAT "deposit 1"

static const char call_name[] = "pmap_mapreduce";

struct pmap__vault {
    struct pmap__journal *journal;
    struct pmap__journal_key call; /* with its occurrence */
    uint64_t context;              /* of the claims: all that is the same for all splits */
    uint64_t identity, run;        /* of the journal, and of this run */
    struct pmap__claim *claims;    /* what is there */
    size_t n, room;
    struct pmap__number_table by_hash; /* of a claim -> its number, from 1 */
    size_t parent;                 /* how many bytes of the directory are that of all vaults */
    char directory[];
};

/* ---- Which one it is ---- */

static enum pmap_status no_memory(struct pmap_error *error)
{
    return pmap__error_set(error, PMAP_ENOMEM, "%s: no memory to look splits up in the journal", call_name);
}

/* What the pairs of all splits depend on, but the call and its seed. What becomes of the pairs does not matter. */
static void put_options(struct pmap__looks *l, const struct pmap_mapreduce *what, const struct pmap_mapreduce_options *o)
{
    pmap__looks_text(l, FORMAT);
    pmap__looks_functions(l, what);
    pmap__looks_number(l, (uint64_t)o->input.kind);
    pmap__looks_number(l, o->input.kind == PMAP_INPUT_RECORDS ? o->input.record_size : o->record_size);
    pmap__looks_number(l, o->record_max);
    pmap__looks_number(l, o->arg_size);
    pmap__looks_bytes(l, o->arg, o->arg_size);
}

static struct pmap__vault *new_vault(struct pmap__journal *journal, const struct pmap__journal_key *call)
{
    struct pmap__journal_place place = pmap__journal_place(journal);
    size_t room = strlen(place.path) + 80;
    struct pmap__vault *v = calloc(1, sizeof *v + room);

    if (v == NULL)
        return NULL;
    v->journal = journal;
    v->call = *call;
    v->identity = place.identity;
    v->run = place.run;
    v->parent = (size_t)snprintf(v->directory, room, "%s-splits", place.path);
    snprintf(v->directory + v->parent, room - v->parent, "/%016" PRIx64 "-%016" PRIx64 "-%" PRIu64, v->identity,
             pmap__journal_short(call), call->occurrence);
    return v;
}

enum pmap_status pmap__vault_find(struct pmap__vault **vault, struct pmap__tenant *tenant, const struct pmap_mapreduce *what,
                                  const struct pmap_mapreduce_options *o, struct pmap_error *error)
{
    struct pmap__journal_call call = {.name = o->name ? o->name : o->where ? o->where : call_name, .task = what->task.name,
                                      .signature = what->task.signature, .task_id = what->task.id, .seed = o->seed};
    struct pmap__looks l = {0};

    *vault = NULL;
    if (tenant->journal == NULL || o->whole || o->input.kind == PMAP_INPUT_DATASET)
        return PMAP_OK;
    if (pmap__journal_broken(tenant->journal, error))
        return PMAP_EJOURNAL;
    uint64_t context = pmap__journal_context(&call);
    struct pmap__journal_key key = pmap__journal_hash(context, FORMAT, sizeof FORMAT);
    put_options(&l, what, o);
    struct pmap__vault *v = NULL;
    if (!l.short_of_memory && pmap__journal_number(tenant->journal, &key, 1))
        v = new_vault(tenant->journal, &key);
    if (v)
        v->context = pmap__journal_hash(context, l.bytes, l.size).low;
    free(l.bytes);
    *vault = v;
    return v ? PMAP_OK : no_memory(error);
}

const char *pmap__vault_directory(const struct pmap__vault *v)
{
    return v->directory;
}

uint64_t pmap__vault_files(const struct pmap__vault *v, uint64_t site)
{
    return (v->run & 0xffffff) << 40 | (site & 0xfffff) << 20;
}

/* ---- What is there ---- */

static uint64_t hash_of(const struct pmap__claim *claim)
{
    return pmap__journal_short(&(struct pmap__journal_key){.high = claim->high, .low = claim->low});
}

/* NULL: it is not there. */
static struct pmap__claim *find(const struct pmap__vault *v, const struct pmap__claim *claim)
{
    uint64_t number = pmap__number_table_find(&v->by_hash, hash_of(claim));
    struct pmap__claim *there = number ? &v->claims[number - 1] : NULL;

    return there && there->high == claim->high && there->low == claim->low ? there : NULL;
}

/* One that was found damaged has been made again by a later run. False: no memory. */
static bool take(struct pmap__vault *v, const struct pmap__claim *claim)
{
    struct pmap__claim *there = find(v, claim);

    if (there) {
        *there = there->file < claim->file ? *claim : *there;
        return true;
    }
    if (v->n == v->room) {
        size_t room = 2 * v->room + 64;
        struct pmap__claim *grown = realloc(v->claims, room * sizeof *grown);
        if (grown == NULL)
            return false;
        v->claims = grown;
        v->room = room;
    }
    uint64_t *number = pmap__number_table_at(&v->by_hash, hash_of(claim));
    if (number == NULL)
        return false;
    v->claims[v->n++] = *claim;
    *number = v->n;
    return true;
}

/* What is no entry, for the machine was lost while it was written, is passed over. What cannot be read is not there. False: no memory. */
static bool read_index(struct pmap__vault *v, int file)
{
    struct pmap__deposit_entry entries[256];
    ssize_t size;
    bool well = true;

    for (off_t at = 0; well && (size = pread(file, entries, sizeof entries, at)) >= (ssize_t)sizeof *entries;) {
        size_t n = (size_t)size / sizeof *entries;
        for (size_t i = 0; i < n && well; i++)
            if (entries[i].sum == pmap__claim_sum(&entries[i].claim))
                well = take(v, &entries[i].claim);
        at += (off_t)(n * sizeof *entries);
    }
    return well;
}

static bool ends_with(const char *name, const char *end)
{
    size_t size = strlen(name), n = strlen(end);
    return size > n && strcmp(name + size - n, end) == 0;
}

static enum pmap_status read_all(struct pmap__vault *v, struct pmap_error *error)
{
    DIR *directory = opendir(v->directory);
    const struct dirent *entry;
    bool well = true;

    if (directory == NULL)
        return pmap__error_set(error, PMAP_EJOURNAL, "pmap: journal: %s: %s", v->directory, strerror(errno));
    while (well && (entry = readdir(directory)) != NULL) {
        int file = ends_with(entry->d_name, PMAP__DEPOSIT_INDEX) ? openat(dirfd(directory), entry->d_name, O_RDONLY | O_CLOEXEC) : -1;
        if (file < 0)
            continue;
        well = read_index(v, file);
        close(file);
    }
    closedir(directory);
    return well ? PMAP_OK : no_memory(error);
}

/* ---- Making and removing ---- */

/* All deposits in it, and the directory itself, if there was nothing else. */
static void remove_vault(const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;

    if (directory == NULL)
        return;
    while ((entry = readdir(directory)) != NULL)
        if (ends_with(entry->d_name, PMAP__DEPOSIT_INDEX) || ends_with(entry->d_name, PMAP__DEPOSIT_PAIRS))
            unlinkat(dirfd(directory), entry->d_name, 0);
    closedir(directory);
    rmdir(path);
}

/* A vault of another journal, by its name. */
static bool is_strange(const struct pmap__vault *v, const char *name)
{
    uint64_t identity, call, occurrence;
    int size = 0;

    return sscanf(name, "%16" SCNx64 "-%16" SCNx64 "-%" SCNu64 "%n", &identity, &call, &occurrence, &size) == 3 &&
           name[size] == '\0' && identity != v->identity;
}

static void remove_strangers(struct pmap__vault *v)
{
    char path[PATH_MAX];

    v->directory[v->parent] = '\0';
    DIR *directory = opendir(v->directory);
    const struct dirent *entry;
    while (directory && (entry = readdir(directory)) != NULL)
        if (is_strange(v, entry->d_name) && snprintf(path, sizeof path, "%s/%s", v->directory, entry->d_name) < (int)sizeof path)
            remove_vault(path);
    if (directory)
        closedir(directory);
    v->directory[v->parent] = '/';
}

static int make_directories(struct pmap__vault *v)
{
    v->directory[v->parent] = '\0';
    int done = mkdir(v->directory, 0777);
    v->directory[v->parent] = '/';
    if (done != 0 && errno != EEXIST)
        return done;
    done = mkdir(v->directory, 0777);
    return done != 0 && errno == EEXIST ? 0 : done;
}

enum pmap_status pmap__vault_open(struct pmap__vault *v, struct pmap_error *error)
{
    remove_strangers(v);
    if (make_directories(v) != 0)
        return pmap__error_set(error, PMAP_EJOURNAL, "pmap: journal: %s cannot be made: %s", v->directory, strerror(errno));
    return read_all(v, error);
}

void pmap__vault_close(struct pmap__vault *v, bool succeeded)
{
    if (v == NULL)
        return;
    if (succeeded) {
        remove_vault(v->directory);
        v->directory[v->parent] = '\0';
        rmdir(v->directory); /* if it was the last */
    } else {
        pmap__journal_forget(v->journal, &v->call);
    }
    pmap__number_table_fini(&v->by_hash);
    free(v->claims);
    free(v);
}

/* ---- Claims ---- */

/* With what is there. */
static struct pmap__claim claim_of(const struct pmap__vault *v, struct pmap__journal_key key)
{
    struct pmap__claim claim = {.high = key.high, .low = key.low};
    const struct pmap__claim *there = find(v, &claim);

    return there ? *there : claim;
}

/* A file as its splits see it; its number is part of that, for the map function may ask for it. */
static bool look_at(const struct pmap__vault *v, const struct pmap__file *file, uint64_t number, struct pmap__journal_key *key)
{
    struct pmap__looks l = {0};

    pmap__looks_file(&l, file->path);
    pmap__looks_number(&l, number);
    *key = pmap__journal_hash(v->context, l.bytes, l.size);
    free(l.bytes);
    return !l.short_of_memory;
}

enum pmap_status pmap__vault_claims(const struct pmap__vault *v, const struct pmap__files *files, const struct pmap__split splits[],
                                    size_t n, struct pmap__claim claims[])
{
    struct pmap__journal_key file = {0};

    for (size_t i = 0; i < n; i++) {
        const struct pmap__split *s = &splits[i];
        bool next = i == 0 || s->file != splits[i - 1].file; /* they come file by file */
        if (next && !look_at(v, &files->files[s->file], s->file, &file))
            return PMAP_ENOMEM;
        uint64_t words[] = {file.high, file.low, s->begin, s->end};
        claims[i] = claim_of(v, pmap__journal_hash(v->context, words, sizeof words));
    }
    return PMAP_OK;
}

struct pmap__claim pmap__vault_claim(const struct pmap__vault *v, const struct pmap__split *s, const void *bytes, size_t size)
{
    struct pmap__journal_key data = pmap__journal_hash(v->context, bytes, size);
    uint64_t words[] = {data.high, data.low, s->begin, s->end};

    return claim_of(v, pmap__journal_hash(v->context, words, sizeof words));
}
