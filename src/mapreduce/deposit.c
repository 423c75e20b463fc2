/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/deposit.h"

#include "base/error.h"
#include "mapreduce/run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Of a run, in all versions of the library that share deposits: see vault.c. */
#define BLOCK ((size_t)64 << 10)

struct pmap__deposits {
    char *directory;
    uint64_t file;
    pthread_mutex_t lock;        /* of what follows */
    struct pmap__scratch *pairs; /* NULL: neither file is there yet; then the same to the end */
    int index;
    uint64_t entries;            /* in it */
};

struct pmap__deposit {
    struct pmap__deposits *deposits;
    struct pmap__sorted_writer *writer;
    char *record; /* for the next pair */
    size_t room;
};

/* What lies behind a run, before its blocks. */
struct list {
    uint64_t sum; /* of all of the rest, blocks included */
    uint64_t high, low; /* as in its claim */
    struct pmap__deposit_counts counts;
    uint64_t check, n;  /* of the run */
    struct pmap__run_block blocks[];
};

struct pmap__withdrawal {
    struct pmap__scratch *other; /* a file that was opened for it; NULL: it is in this rank's */
    struct list *list;
    struct pmap__sorted run; /* its blocks are the list's */
    struct pmap__source *source;
};

uint64_t pmap__claim_sum(const struct pmap__claim *claim)
{
    return XXH3_64bits(claim, sizeof *claim);
}

static uint64_t sum_of(const struct list *list, size_t size)
{
    return XXH3_64bits((const char *)list + sizeof list->sum, size - sizeof list->sum);
}

/* ---- A rank's ---- */

enum pmap_status pmap__deposits_create(const char *directory, uint64_t file, struct pmap__deposits **made)
{
    *made = NULL;
    if (access(directory, F_OK) != 0) {
        pmap__warn("the splits of a map-reduce that this rank maps are not kept for the next run: %s: %s", directory, strerror(errno));
        return PMAP_OK;
    }
    struct pmap__deposits *d = calloc(1, sizeof *d);
    if (d == NULL || (d->directory = strdup(directory)) == NULL) {
        free(d);
        return PMAP_ENOMEM;
    }
    d->file = file;
    d->index = -1;
    pthread_mutex_init(&d->lock, NULL); /* glibc's cannot fail */
    *made = d;
    return PMAP_OK;
}

void pmap__deposits_destroy(struct pmap__deposits *d)
{
    if (d == NULL)
        return;
    pmap__scratch_destroy(d->pairs);
    if (d->index >= 0)
        close(d->index);
    pthread_mutex_destroy(&d->lock);
    free(d->directory);
    free(d);
}

/* Under the lock. */
static enum pmap_status make_files(struct pmap__deposits *d, struct pmap_error *error)
{
    char path[PATH_MAX];

    if (d->pairs)
        return PMAP_OK;
    snprintf(path, sizeof path, PMAP__DEPOSIT_PATH, d->directory, d->file, PMAP__DEPOSIT_INDEX);
    if (d->index < 0)
        d->index = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (d->index < 0)
        return pmap__error_set(error, PMAP_EJOURNAL, "pmap: journal: %s: %s", path, strerror(errno));
    snprintf(path, sizeof path, PMAP__DEPOSIT_PATH, d->directory, d->file, PMAP__DEPOSIT_PAIRS);
    return pmap__scratch_make(path, &d->pairs, error);
}

/* Where it is written says how many are whole, so that a piece of one is written over. Under the lock. */
static enum pmap_status add_entry(struct pmap__deposits *d, const struct pmap__claim *claim, struct pmap_error *error)
{
    struct pmap__deposit_entry entry = {*claim, pmap__claim_sum(claim)};
    ssize_t done;

    do
        done = pwrite(d->index, &entry, sizeof entry, (off_t)(d->entries * sizeof entry));
    while (done < 0 && errno == EINTR);
    if (done != (ssize_t)sizeof entry)
        return pmap__error_set(error, PMAP_EJOURNAL, "pmap: journal: " PMAP__DEPOSIT_PATH ": %s", d->directory, d->file,
                               PMAP__DEPOSIT_INDEX, strerror(done < 0 ? errno : ENOSPC));
    d->entries++;
    return PMAP_OK;
}

/* ---- Making one ---- */

enum pmap_status pmap__deposit_begin(struct pmap__deposits *deposits, struct pmap__deposit **made, struct pmap_error *error)
{
    struct pmap__deposit *d = calloc(1, sizeof *d);

    if (d == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for the pairs of a split");
    d->deposits = deposits;
    pthread_mutex_lock(&deposits->lock);
    enum pmap_status status = make_files(deposits, error);
    pthread_mutex_unlock(&deposits->lock);
    if (status == PMAP_OK && pmap__sorted_begin(deposits->pairs, BLOCK, &d->writer) != PMAP_OK)
        status = pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for the pairs of a split");
    if (status != PMAP_OK) {
        pmap__deposit_abandon(d);
        return status;
    }
    pmap__sorted_checked(d->writer);
    *made = d;
    return PMAP_OK;
}

enum pmap_status pmap__deposit_put(struct pmap__deposit *d, const struct pmap__pair *pair, struct pmap_error *error)
{
    size_t size = pmap__pair_size(pair->key_size, pair->value_size);

    if (size > d->room) {
        free(d->record);
        d->room = 2 * size;
        d->record = malloc(d->room);
        if (d->record == NULL) {
            d->room = 0;
            return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for a pair of %zu bytes", size);
        }
    }
    pmap__record_write(d->record, pair);
    return pmap__sorted_put(d->writer, d->record, error);
}

void *pmap__deposit_reserve(struct pmap__deposit *d, size_t size, struct pmap_error *error)
{
    return pmap__sorted_reserve(d->writer, size, error);
}

enum pmap_status pmap__deposit_mark(struct pmap__deposit *d, size_t *mark, struct pmap_error *error)
{
    return pmap__sorted_cut(d->writer, mark, error);
}

void pmap__deposit_abandon(struct pmap__deposit *d)
{
    if (d == NULL)
        return;
    pmap__sorted_abandon(d->writer);
    free(d->record);
    free(d);
}

/* The list of a run, behind it. */
static enum pmap_status write_list(struct pmap__deposits *d, const struct pmap__sorted *run, const struct pmap__deposit_counts *counts,
                                   struct pmap__claim *claim, struct pmap_error *error)
{
    size_t size = sizeof(struct list) + run->n * sizeof *run->blocks;
    struct list *list = malloc(size);

    if (list == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for the list of %zu blocks", run->n);
    *list = (struct list){.high = claim->high, .low = claim->low, .counts = *counts, .check = run->check, .n = run->n};
    if (run->n)
        memcpy(list->blocks, run->blocks, run->n * sizeof *run->blocks);
    list->sum = sum_of(list, size);
    enum pmap_status status = pmap__scratch_write(d->pairs, list, size, &claim->at, error);
    free(list);
    claim->file = d->file;
    claim->size = size;
    return status;
}

enum pmap_status pmap__deposit_end(struct pmap__deposit *deposit, const struct pmap__deposit_counts *counts, struct pmap__claim *claim,
                                   struct pmap_error *error)
{
    struct pmap__deposits *d = deposit->deposits;
    struct pmap__sorted run = {0};
    struct pmap__claim where = *claim;
    enum pmap_status status = pmap__sorted_end(deposit->writer, &run, error);

    deposit->writer = NULL;
    pmap__deposit_abandon(deposit);
    if (status != PMAP_OK)
        return status;
    status = write_list(d, &run, counts, &where, error);
    pthread_mutex_lock(&d->lock);
    if (status == PMAP_OK)
        status = add_entry(d, &where, error);
    pthread_mutex_unlock(&d->lock);
    if (status != PMAP_OK)
        pmap__sorted_free(d->pairs, &run);
    else
        *claim = where;
    free(run.blocks);
    return status;
}

/* ---- Taking one ---- */

/* The file that it is in. NULL: there is none. */
static struct pmap__scratch *find_file(struct pmap__deposits *d, uint64_t file, struct pmap__scratch **other)
{
    char path[PATH_MAX];

    if (file == d->file)
        return d->pairs;
    snprintf(path, sizeof path, PMAP__DEPOSIT_PATH, d->directory, file, PMAP__DEPOSIT_PAIRS);
    return pmap__scratch_open(path, other, NULL) == PMAP_OK ? *other : NULL;
}

/* Blocks that a writer could have made, and whose bytes are so many that they can be asked for. */
static bool blocks_make_sense(const struct list *list)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->blocks[i].stored == 0 || list->blocks[i].stored > list->blocks[i].size || list->blocks[i].size > BLOCK)
            return false;
    return true;
}

/* The list, if it is what was written. */
static enum pmap_status read_list(struct pmap__withdrawal *w, struct pmap__scratch *pairs, const struct pmap__claim *claim,
                                  bool *sound)
{
    size_t size = (size_t)claim->size, each = sizeof(struct pmap__run_block);
    uint64_t all = pmap__scratch_size(pairs);

    *sound = false;
    if (size < sizeof(struct list) || (size - sizeof(struct list)) % each || size > all || claim->at > all - size)
        return PMAP_OK;
    w->list = malloc(size);
    if (w->list == NULL)
        return PMAP_ENOMEM;
    *sound = pmap__scratch_read(pairs, w->list, size, claim->at, NULL) == PMAP_OK && w->list->sum == sum_of(w->list, size) &&
             w->list->high == claim->high && w->list->low == claim->low && w->list->n == (size - sizeof(struct list)) / each &&
             blocks_make_sense(w->list);
    w->run = (struct pmap__sorted){.blocks = w->list->blocks, .n = (size_t)w->list->n, .check = w->list->check};
    return PMAP_OK;
}

#define ALL SIZE_MAX

/* Only a part of it is of this rank's own making, and need not be looked at before. */
static enum pmap_status open_run(struct pmap__withdrawal *w, struct pmap__scratch *pairs, const struct pmap__claim *claim, size_t mark,
                                 bool *sound)
{
    enum pmap_status status = read_list(w, pairs, claim, sound);

    if (status == PMAP_OK && *sound && mark == ALL) {
        status = pmap__sorted_verify(pairs, &w->run, sound, NULL);
        *sound = *sound && status == PMAP_OK;
        status = status == PMAP_ENOMEM ? PMAP_ENOMEM : PMAP_OK; /* what cannot be read is damaged */
    }
    if (status != PMAP_OK || !*sound)
        return status;
    w->run.n = mark < w->run.n ? mark : w->run.n;
    return pmap__sorted_open(pairs, &w->run, false, &w->source);
}

static enum pmap_status open_any(struct pmap__deposits *d, const struct pmap__claim *claim, size_t mark,
                                 struct pmap__withdrawal **withdrawal)
{
    struct pmap__withdrawal *w = calloc(1, sizeof *w);
    bool sound = false;

    *withdrawal = NULL;
    if (w == NULL)
        return PMAP_ENOMEM;
    struct pmap__scratch *pairs = find_file(d, claim->file, &w->other);
    enum pmap_status status = pairs ? open_run(w, pairs, claim, mark, &sound) : PMAP_OK;
    if (status != PMAP_OK || !sound) {
        pmap__withdrawal_close(w);
        return status;
    }
    *withdrawal = w;
    return PMAP_OK;
}

enum pmap_status pmap__deposit_open(struct pmap__deposits *d, const struct pmap__claim *claim, struct pmap__withdrawal **withdrawal)
{
    return open_any(d, claim, ALL, withdrawal);
}

enum pmap_status pmap__deposit_open_part(struct pmap__deposits *d, const struct pmap__claim *claim, size_t mark,
                                         struct pmap__withdrawal **withdrawal)
{
    return open_any(d, claim, mark, withdrawal);
}

struct pmap__deposit_counts pmap__withdrawal_counts(const struct pmap__withdrawal *w)
{
    return w->list->counts;
}

enum pmap_status pmap__withdrawal_next(struct pmap__withdrawal *w, const void **record, struct pmap_error *error)
{
    return w->source->next(w->source, record, error);
}

void pmap__withdrawal_close(struct pmap__withdrawal *w)
{
    if (w == NULL)
        return;
    if (w->source)
        w->source->close(w->source);
    pmap__scratch_destroy(w->other);
    free(w->list);
    free(w);
}
