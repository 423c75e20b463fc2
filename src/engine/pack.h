/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The bodies of chunks and results. Mostly they are just an array: n items, sent straight from the caller's memory and
 * received straight into it. Where that cannot be, because items have sizes of their own, or because those of a chunk do not
 * lie side by side, they are packed into a buffer:
 *
 *     names    n numbers of 8 bytes: the index of each item        only if they are not neighbours
 *     sizes    n numbers of 8 bytes: bytes of each item            only for bytes
 *     items    one after another, each at a multiple of 16
 *
 * A single item of bytes needs no packing either: its data is the body, however large.
 */
#ifndef PMAP_ENGINE_PACK_H
#define PMAP_ENGINE_PACK_H

#include <pmap.h>

/* Which elements of an array: n of them from position begin on; with names, those at names[begin], names[begin + 1] … */
struct pmap__pick {
    const char *array;
    size_t element; /* bytes; elements are struct pmap_bytes if bytes */
    bool bytes;
    size_t begin, n;
    const size_t *names;
    size_t base; /* what the index of the first element of the array is, where names are written */
};

/* The body of these elements. *body points into the array if it needs no packing; else *packed is malloc'ed and *body
 * the same. with_names: put the names into it. PMAP_OK or PMAP_ENOMEM. */
enum pmap_status pmap__pack(const struct pmap__pick *pick, bool with_names, const void **body, size_t *size, void **packed);

/* Does a body of n elements come packed? */
static inline bool pmap__is_packed(size_t n, bool bytes, bool names)
{
    return names || (bytes && n > 1);
}

/* May a body of n elements have so many bytes? Of packed ones that have sizes of their own pmap__unpack says more; but nobody makes
 * room for n elements because a number in a head says so. */
bool pmap__body_fits(size_t size, size_t n, size_t element, bool bytes, bool with_names);

/* Look into a body. *names points into it, if there are any, else is NULL; *elements points into it, or, for bytes, to array,
 * which has room for n and is filled with what points into the body. False if the body makes no sense. */
bool pmap__unpack(const void *body, size_t size, size_t n, size_t element, bool bytes, bool with_names, const size_t **names,
                  const void **elements, struct pmap_bytes *array);

/* Put received results where they belong: elements of a body, as pmap__unpack gives them, to the picked places. Bytes are copied
 * into memory of their own. False if there is none for some of them: those, from *lost on, are {NULL, 0}. */
bool pmap__place(const struct pmap__pick *pick, char *array, const void *elements, size_t *lost);

#endif
