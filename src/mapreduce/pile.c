/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/pile.h"

#include "base/error.h"

#include <stdlib.h>

static bool have_place(struct pmap__pile *pile)
{
    if (pile->n < pile->room)
        return true;
    size_t room = pile->room ? 2 * pile->room : 16;
    struct pmap__pile_place *places = realloc(pile->places, room * sizeof *places);
    if (places == NULL)
        return false;
    pile->places = places;
    pile->room = room;
    return true;
}

/* What has not been written is; the block is empty then. */
static enum pmap_status write_last(struct pmap__pile *pile, const struct pmap__pile_common *common, struct pmap_error *error)
{
    struct pmap__pile_place place = {.size = pile->last->used};

    if (!have_place(pile))
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for the list of %zu places in scratch", pile->n);
    enum pmap_status status = pmap__scratch_write(common->scratch, pile->last->bytes, place.size, &place.at, error);
    if (status == PMAP_OK) {
        pile->places[pile->n++] = place;
        pile->last->used = 0;
    }
    return status;
}

static void free_last(struct pmap__pile *pile, const struct pmap__pile_common *common)
{
    pmap__block_free(common->budget, pile->last);
    pile->last = NULL;
}

enum pmap_status pmap__pile_room(struct pmap__pile *pile, const struct pmap__pile_common *common, size_t size, struct pmap__block **block,
                                 struct pmap_error *error)
{
    bool fits = pile->last && pmap__block_fits(pile->last, size);
    enum pmap_status status = fits || pile->last == NULL || pile->last->used == 0 ? PMAP_OK : write_last(pile, common, error);

    if (status != PMAP_OK)
        return status;
    if (!fits && pile->last && pile->last->size < size)
        free_last(pile, common);
    if (pile->last == NULL)
        pile->last = pmap__block_create(common->budget, size > common->block ? size : common->block);
    if (pile->last == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for a block of pairs that go to scratch");
    *block = pile->last;
    return PMAP_OK;
}

enum pmap_status pmap__pile_add(struct pmap__pile *pile, const struct pmap__pile_common *common, const void *pairs, size_t size,
                                struct pmap_error *error)
{
    struct pmap__block *to;
    enum pmap_status status = pmap__pile_room(pile, common, size, &to, error);

    if (status == PMAP_OK) {
        memcpy(pmap__block_end(to), pairs, size);
        to->used += size;
    }
    return status;
}

enum pmap_status pmap__pile_read(const struct pmap__pile *pile, const struct pmap__pile_common *common, size_t place,
                                 struct pmap__block **made, struct pmap_error *error)
{
    size_t size = pile->places[place].size;
    struct pmap__block *block = pmap__block_create(common->budget, size);

    if (block == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for a block of %zu bytes in scratch", size);
    enum pmap_status status = pmap__scratch_read(common->scratch, block->bytes, size, pile->places[place].at, error);
    if (status == PMAP_OK && !pmap__lean_are_whole(block->bytes, size, common->value_size, &block->records))
        status = pmap__error_set(error, PMAP_EINVAL, "pmap: a block in scratch is damaged: it has no whole pairs");
    if (status != PMAP_OK) {
        pmap__block_free(common->budget, block);
        return status;
    }
    block->used = size;
    *made = block;
    return PMAP_OK;
}

enum pmap_status pmap__pile_take(struct pmap__pile *pile, const struct pmap__pile_common *common, struct pmap__block **block,
                                 struct pmap_error *error)
{
    if (pile->last) {
        *block = pile->last;
        pile->last = NULL;
        return PMAP_OK;
    }
    enum pmap_status status = pmap__pile_read(pile, common, pile->n - 1, block, error);
    if (status == PMAP_OK) {
        pile->n--;
        pmap__scratch_free(common->scratch, pile->places[pile->n].at, pile->places[pile->n].size);
    }
    return status;
}

void pmap__pile_clear(struct pmap__pile *pile, const struct pmap__pile_common *common)
{
    free_last(pile, common);
    while (pile->n > 0) {
        pile->n--;
        pmap__scratch_free(common->scratch, pile->places[pile->n].at, pile->places[pile->n].size);
    }
    free(pile->places);
    *pile = (struct pmap__pile){0};
}
