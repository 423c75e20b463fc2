/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/pack.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

#define ALIGN ((size_t)16)

static size_t rounded(size_t size)
{
    return (size + ALIGN - 1) / ALIGN * ALIGN;
}

static size_t index_of(const struct pmap__pick *pick, size_t i)
{
    return pick->names ? pick->names[pick->begin + i] : pick->begin + i;
}

static const void *element_of(const struct pmap__pick *pick, size_t i)
{
    return pick->array ? pick->array + index_of(pick, i) * pick->element : NULL;
}

/* Bytes in front of the items. */
static size_t tables(size_t n, bool bytes, bool names)
{
    return rounded(n * sizeof(uint64_t) * ((size_t)bytes + (size_t)names));
}

static size_t packed_size(const struct pmap__pick *pick, bool with_names)
{
    size_t size = tables(pick->n, pick->bytes, with_names);

    if (!pick->bytes)
        return size + pick->n * pick->element;
    for (size_t i = 0; i < pick->n; i++)
        size += rounded(((const struct pmap_bytes *)element_of(pick, i))->size);
    return size;
}

static void fill(const struct pmap__pick *pick, bool with_names, char *to)
{
    uint64_t *number = (uint64_t *)(void *)to;

    for (size_t i = 0; with_names && i < pick->n; i++)
        *number++ = pick->base + index_of(pick, i);
    for (size_t i = 0; pick->bytes && i < pick->n; i++)
        *number++ = ((const struct pmap_bytes *)element_of(pick, i))->size;
    to += tables(pick->n, pick->bytes, with_names);
    for (size_t i = 0; i < pick->n; i++) {
        const void *element = element_of(pick, i);
        const struct pmap_bytes *bytes = pick->bytes ? element : NULL;
        const void *data = bytes ? bytes->data : element;
        size_t size = bytes ? bytes->size : pick->element;
        if (size)
            memcpy(to, data, size);
        to += bytes ? rounded(size) : size;
    }
}

enum pmap_status pmap__pack(const struct pmap__pick *pick, bool with_names, const void **body, size_t *size, void **packed)
{
    *packed = NULL;
    if (!pmap__is_packed(pick->n, pick->bytes, with_names)) {
        const struct pmap_bytes *one = pick->bytes ? element_of(pick, 0) : NULL;
        *body = one ? one->data : element_of(pick, 0);
        *size = one ? one->size : pick->n * pick->element;
        return PMAP_OK;
    }
    *size = packed_size(pick, with_names);
    *body = *packed = malloc(*size ? *size : 1);
    if (*packed == NULL)
        return PMAP_ENOMEM;
    fill(pick, with_names, *packed);
    return PMAP_OK;
}

bool pmap__body_fits(size_t size, size_t n, size_t element, bool bytes, bool with_names)
{
    bool packed = pmap__is_packed(n, bytes, with_names);
    size_t head = packed ? tables(n, bytes, with_names) : 0, items;

    if (packed && (n > SIZE_MAX / 64 || size < head))
        return false;
    return bytes || (pmap__multiply(n, element, &items) && size - head == items);
}

bool pmap__unpack(const void *body, size_t size, size_t n, size_t element, bool bytes, bool with_names, const size_t **names,
                  const void **elements, struct pmap_bytes *array)
{
    char *at = (char *)(uintptr_t)body; /* bytes are not const in a struct pmap_bytes; nobody writes to them */

    if (!pmap__body_fits(size, n, element, bytes, with_names))
        return false;
    *names = NULL;
    *elements = body;
    if (!pmap__is_packed(n, bytes, with_names)) {
        if (bytes) {
            array[0] = (struct pmap_bytes){size ? at : NULL, size};
            *elements = array;
        }
        return true;
    }
    size_t head = tables(n, bytes, with_names), left = size - head;
    const uint64_t *number = (const uint64_t *)(const void *)at;
    if (with_names) {
        *names = (const size_t *)number;
        number += n;
    }
    at += head;
    *elements = bytes ? (const void *)array : at;
    if (!bytes)
        return true;
    for (size_t i = 0; i < n; i++) {
        if (number[i] > left || rounded(number[i]) > left)
            return false;
        array[i] = (struct pmap_bytes){number[i] ? at : NULL, number[i]};
        at += rounded(number[i]);
        left -= rounded(number[i]);
    }
    return left == 0;
}

bool pmap__place(const struct pmap__pick *pick, char *array, const void *elements, size_t *lost)
{
    bool all = true;

    for (size_t i = 0; i < pick->n; i++) {
        void *to = array + index_of(pick, i) * pick->element;
        const void *from = (const char *)elements + i * pick->element;
        if (!pick->bytes) {
            memcpy(to, from, pick->element);
            continue;
        }
        const struct pmap_bytes *bytes = from;
        struct pmap_bytes *copy = to;
        *copy = (struct pmap_bytes){NULL, 0};
        if (bytes->size == 0 || !all)
            continue;
        copy->data = malloc(bytes->size);
        if (copy->data) {
            memcpy(copy->data, bytes->data, bytes->size);
            copy->size = bytes->size;
        } else {
            all = false;
            *lost = i;
        }
    }
    return all;
}
