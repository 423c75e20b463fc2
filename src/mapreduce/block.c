/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/block.h"

#include <stdlib.h>

struct pmap__block *pmap__block_create(struct pmap__budget *budget, size_t size)
{
    struct pmap__block *block = malloc(sizeof *block + size + PMAP__LEAN_SLACK);

    if (block == NULL)
        return NULL;
    *block = (struct pmap__block){.size = size};
    pmap__budget_take(budget, sizeof *block + size);
    return block;
}

void pmap__block_free(struct pmap__budget *budget, struct pmap__block *block)
{
    if (block)
        pmap__budget_give(budget, sizeof *block + block->size);
    free(block);
}
