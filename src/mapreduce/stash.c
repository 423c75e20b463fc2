/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/stash.h"

#include <stdlib.h>

/* Blocks in memory, from the first to the longest: there may be many stashes with little in them, or few with much. */
#define FIRST ((size_t)2 << 10)
#define LONGEST ((size_t)1 << 20)

void pmap__stash_init(struct pmap__stash *stash, struct pmap__budget *budget, struct pmap__scratch *scratch, size_t block)
{
    *stash = (struct pmap__stash){.budget = budget, .scratch = scratch, .block = block};
}

static void drop_blocks(struct pmap__stash *stash)
{
    while (stash->first) {
        struct pmap__block *block = stash->first;
        stash->first = block->next;
        pmap__block_free(stash->budget, block);
    }
    stash->last = NULL;
}

void pmap__stash_clear(struct pmap__stash *stash)
{
    drop_blocks(stash);
    pmap__sorted_abandon(stash->writer);
    pmap__sorted_free(stash->scratch, &stash->run);
    pmap__stash_init(stash, stash->budget, stash->scratch, stash->block);
}

void pmap__stash_fini(struct pmap__stash *stash)
{
    pmap__stash_clear(stash);
}

/* From now on it lies in scratch. */
static enum pmap_status move_out(struct pmap__stash *stash, struct pmap_error *error)
{
    enum pmap_status status = pmap__sorted_begin(stash->scratch, stash->block, &stash->writer);

    for (struct pmap__block *block = stash->first; block && status == PMAP_OK; block = block->next)
        for (size_t at = 0; at < block->used && status == PMAP_OK; at += pmap__record_size((char *)block->bytes + at))
            status = pmap__sorted_put(stash->writer, (char *)block->bytes + at, error);
    drop_blocks(stash);
    return status;
}

static enum pmap_status put_out(struct pmap__stash *stash, const struct pmap__pair *pair, struct pmap_error *error)
{
    size_t size = pmap__pair_size(pair->key_size, pair->value_size);
    uint64_t small[64];
    void *record = size <= sizeof small ? small : malloc(size);

    if (record == NULL)
        return PMAP_ENOMEM;
    pmap__record_write(record, pair);
    enum pmap_status status = pmap__sorted_put(stash->writer, record, error);
    if (record != small)
        free(record);
    return status;
}

enum pmap_status pmap__stash_put(struct pmap__stash *stash, const struct pmap__pair *pair, struct pmap_error *error)
{
    size_t size = pmap__pair_size(pair->key_size, pair->value_size);
    struct pmap__block *block = stash->last;
    enum pmap_status status = PMAP_OK;

    stash->records++;
    stash->bytes += pair->key_size + pair->value_size;
    if (stash->writer)
        return put_out(stash, pair, error);
    if (block == NULL || size > block->size - block->used) {
        if (pmap__budget_over(stash->budget)) {
            status = move_out(stash, error);
            return status == PMAP_OK ? put_out(stash, pair, error) : status;
        }
        size_t room = block == NULL ? FIRST : block->size < LONGEST / 2 ? 2 * block->size : LONGEST;
        block = pmap__block_create(stash->budget, size > room ? size : room);
        if (block == NULL)
            return PMAP_ENOMEM;
        *(stash->last ? &stash->last->next : &stash->first) = block;
        stash->last = block;
    }
    pmap__record_write((char *)block->bytes + block->used, pair);
    block->used += size;
    block->records++;
    return PMAP_OK;
}

enum pmap_status pmap__stash_end(struct pmap__stash *stash, struct pmap_error *error)
{
    struct pmap__sorted_writer *writer = stash->writer;

    if (writer == NULL)
        return PMAP_OK;
    stash->writer = NULL;
    return pmap__sorted_end(writer, &stash->run, error);
}

enum pmap_status pmap__stash_read(const struct pmap__stash *stash, size_t *number, void **bytes, size_t *size, struct pmap_error *error)
{
    const struct pmap__block *block = stash->first;

    if (stash->run.n)
        return pmap__sorted_read(stash->scratch, &stash->run, number, bytes, size, error);
    for (size_t i = (*number)++; block && i > 0; i--)
        block = block->next;
    *bytes = NULL;
    *size = block ? block->used : 0;
    if (block == NULL)
        return PMAP_OK;
    *bytes = malloc(block->used);
    if (*bytes == NULL)
        return PMAP_ENOMEM;
    memcpy(*bytes, block->bytes, block->used);
    return PMAP_OK;
}
