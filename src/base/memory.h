/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Sizes that cannot overflow unnoticed, and buffers that any element type may live in.
 */
#ifndef PMAP_BASE_MEMORY_H
#define PMAP_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* *product = a * b; false, and *product untouched, if that does not fit. */
bool pmap__multiply(size_t a, size_t b, size_t *product);

/* &base[index] for elements of size bytes; NULL stays NULL, for a task may have no arguments, or no results. */
static inline const void *pmap__element(const void *base, size_t index, size_t size)
{
    return base ? (const char *)base + index * size : NULL;
}
static inline void *pmap__element_mutable(void *base, size_t index, size_t size)
{
    return base ? (char *)base + index * size : NULL;
}

/* A buffer that grows and never shrinks, aligned for every type and to a cache line. Start from {0}. */
struct pmap__buffer {
    void *bytes; /* NULL as long as capacity is 0 */
    size_t capacity;
};

/* Make room for size bytes; what was in the buffer is lost if it has to grow. False if memory is short: the
 * buffer is empty then. */
bool pmap__buffer_reserve(struct pmap__buffer *buffer, size_t size);
void pmap__buffer_fini(struct pmap__buffer *buffer);

#endif
