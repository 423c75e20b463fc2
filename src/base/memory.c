/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>

/* A cache line on every machine we know of, and enough for the vectors of a block task. */
#define ALIGNMENT 64

bool pmap__multiply(size_t a, size_t b, size_t *product)
{
    if (b != 0 && a > SIZE_MAX / b)
        return false;
    *product = a * b;
    return true;
}

bool pmap__buffer_reserve(struct pmap__buffer *buffer, size_t size)
{
    if (size <= buffer->capacity)
        return true;
    pmap__buffer_fini(buffer);
    if (size > SIZE_MAX - ALIGNMENT)
        return false;
    size_t whole_lines = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    buffer->bytes = aligned_alloc(ALIGNMENT, whole_lines);
    if (buffer->bytes == NULL)
        return false;
    buffer->capacity = whole_lines;
    return true;
}

void pmap__buffer_fini(struct pmap__buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct pmap__buffer){0};
}
