/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Any bytes as the body of a chunk or a result: it is refused, or all elements lie inside of it, and packed again they are the same. */
#include "fuzz.h"

#include "engine/pack.h"

#include <stdlib.h>
#include <string.h>

const size_t fuzz_memory = 1 << 24;

static volatile unsigned used;

/* Touches what the elements say is theirs. */
static unsigned sum(const struct pmap_bytes *elements, size_t n)
{
    unsigned all = 0;

    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < elements[i].size; k++)
            all += ((const unsigned char *)elements[i].data)[k];
    return all;
}

static void pack_again(const void *elements, size_t n, size_t element, bool bytes, size_t size)
{
    struct pmap__pick pick = {.array = elements, .element = element, .bytes = bytes, .n = n};
    const void *body;
    void *packed;
    size_t again;

    fuzz_check(pmap__pack(&pick, false, &body, &again, &packed) == PMAP_OK && again == size, "a body has one size");
    free(packed);
}

void fuzz_one(struct fuzz_input *in)
{
    size_t n = (size_t)fuzz_number(in, 8), element = (size_t)fuzz_number(in, 8), flags = fuzz_number(in, 1), size;
    bool bytes = flags & 1, named = flags & 2;
    unsigned all = 0;

    if (flags & 4)
        n = n % 64 + 1;
    if (flags & 8)
        element %= 64;
    if (n == 0)
        return; /* nobody asks that */
    size = in->left;
    unsigned char *body = fuzz_bytes(in, &size);
    const size_t *names;
    const void *elements;
    struct pmap_bytes *array = NULL;
    if (pmap__body_fits(size, n, element, bytes, named)) { /* only then there is to be room */
        array = bytes ? calloc(n, sizeof *array) : NULL;
        if (pmap__unpack(body, size, n, bytes ? sizeof *array : element, bytes, named, &names, &elements, array)) {
            for (size_t i = 0; names && i < n; i++)
                all += (unsigned)names[i];
            if (bytes)
                all += sum(elements, n);
            else
                all += sum(&(struct pmap_bytes){(void *)(uintptr_t)elements, n * element}, 1);
            if (!named)
                pack_again(elements, n, bytes ? sizeof *array : element, bytes, size);
        }
    }
    used = all;
    free(array);
    free(body);
}

void fuzz_seeds(void)
{
    static char data[64];
    static const size_t order[] = {0, 1, 2};
    struct pmap_bytes items[] = {{data, 5}, {NULL, 0}, {data, 33}};

    for (unsigned flags = 0; flags < 4; flags++)
        for (size_t n = 1; n <= 3; n++) {
            bool bytes = flags & 1, named = flags & 2;
            struct pmap__pick pick = {.array = bytes ? (const char *)items : data, .element = bytes ? sizeof *items : 8, .bytes = bytes, .n = n,
                                      .names = named ? order : NULL};
            const void *body;
            size_t size;
            void *packed;
            if (pmap__pack(&pick, named, &body, &size, &packed) != PMAP_OK)
                abort();
            fuzz_put(n, 8);
            fuzz_put(8, 8);
            fuzz_put(flags, 1);
            fuzz_put_bytes(body, size);
            fuzz_put_end();
            free(packed);
        }
}
