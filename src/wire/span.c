/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "wire/span.h"

#include <endian.h>
#include <limits.h>
#include <string.h>

static void put(unsigned char **at, uint64_t value, size_t bytes)
{
    uint64_t little = htole64(value);
    memcpy(*at, &little, bytes);
    *at += bytes;
}

static uint64_t get(const unsigned char **at, size_t bytes)
{
    uint64_t little = 0;
    memcpy(&little, *at, bytes);
    *at += bytes;
    return le64toh(little);
}

void pmap__span_encode(const struct pmap__span *span, unsigned char bytes[static PMAP__SPAN_SIZE])
{
    const uint64_t numbers[] = {span->call, span->chunk, span->item, span->last, span->n,
                                span->begin, span->end, span->busy, span->failed, span->given_up};

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        put(&bytes, numbers[i], 8);
    put(&bytes, (uint64_t)span->thread, 4);
    put(&bytes, span->attempt, 4);
    put(&bytes, span->kind, 2);
    put(&bytes, span->isolated, 2);
}

/* The first field that makes no sense. */
static const char *bad_field(const struct pmap__span *s)
{
    if (s->last < s->item)
        return "last";
    if (s->n > s->last - s->item + 1 || (s->n == 0) != (s->kind != PMAP__SPAN_ITEMS))
        return "n";
    if (s->end < s->begin)
        return "end";
    if (s->busy > s->end - s->begin)
        return "busy";
    if (s->failed > s->n)
        return "failed";
    if (s->given_up > s->n - s->failed)
        return "given_up";
    return s->attempt < 1 ? "attempt" : NULL;
}

const char *pmap__span_decode(const unsigned char bytes[static PMAP__SPAN_SIZE], struct pmap__span *span)
{
    const unsigned char *at = bytes;
    uint64_t numbers[10];

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        numbers[i] = get(&at, 8);
    uint64_t thread = get(&at, 4), attempt = get(&at, 4), kind = get(&at, 2), isolated = get(&at, 2);
    if (thread > INT_MAX)
        return "thread";
    if (kind >= PMAP__SPAN_KINDS)
        return "kind";
    if (isolated > 1)
        return "isolated";
    struct pmap__span s = {.call = numbers[0], .chunk = numbers[1], .item = numbers[2], .last = numbers[3], .n = numbers[4],
                           .begin = numbers[5], .end = numbers[6], .busy = numbers[7], .failed = numbers[8],
                           .given_up = numbers[9], .thread = (int)thread, .attempt = (unsigned)attempt,
                           .kind = (enum pmap__span_kind)kind, .isolated = isolated};
    const char *bad = bad_field(&s);
    if (bad == NULL)
        *span = s;
    return bad;
}
