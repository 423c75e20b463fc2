/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The words of a text: maximal runs of bytes above ' ', so that words of UTF-8 stay whole.
 *
 * 64 bytes are looked at together and become the bits of a mask, 1 for a byte of a word. Where neighbouring bits differ a word begins
 * or ends; those edges are all that is left to walk over, two for each word, whatever the words are like.
 */
#ifndef PMAP_TOOLS_WORDS_H
#define PMAP_TOOLS_WORDS_H

#include <pmap_mapreduce.h>

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define WORDS_BLOCK 64

#ifdef __SSE2__

/* The larger of a byte and '!' is that byte: it is above ' '. */
static inline uint64_t words_mask16(const unsigned char *at)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
    return (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(bytes, _mm_set1_epi8('!')), bytes));
}

static inline uint64_t words_mask(const unsigned char *at)
{
    return words_mask16(at) | words_mask16(at + 16) << 16 | words_mask16(at + 32) << 32 | words_mask16(at + 48) << 48;
}

#else

/* Eight bytes in one number, the first the lowest. Adding 0x5f to the lower seven bits of a byte sets its highest bit if they are above
 * ' ' (0x21 + 0x5f = 0x80) and carries into no other. The product brings the eight highest bits together in the top byte, in order. */
static inline uint64_t words_mask8(const unsigned char *at)
{
    uint64_t bytes = 0;

    for (int i = 0; i < 8; i++) /* one load, where the machine can */
        bytes |= (uint64_t)at[i] << 8 * i;
    uint64_t tops = (((bytes & UINT64_C(0x7f7f7f7f7f7f7f7f)) + UINT64_C(0x5f5f5f5f5f5f5f5f)) | bytes) & UINT64_C(0x8080808080808080);
    return (tops >> 7) * UINT64_C(0x0102040810204080) >> 56;
}

static inline uint64_t words_mask(const unsigned char *at)
{
    uint64_t mask = 0;

    for (int i = 0; i < 8; i++)
        mask |= words_mask8(at + 8 * i) << 8 * i;
    return mask;
}

#endif

typedef void words_fn(struct pmap_emitter *out, const unsigned char *word, size_t size, size_t at);

/* for each word of text, in order: each(out, word, its size, where in the text). Inlined, and each with it. */
static inline void words_each(struct pmap_view text, struct pmap_emitter *out, words_fn *each)
{
    const unsigned char *data = text.data, *block = data, *word = data;
    unsigned char rest[WORDS_BLOCK];
    uint64_t before = 0; /* 1: the last byte of the block before is one of a word, which begins at word */

    for (size_t left = text.size; left > 0 || before; block += WORDS_BLOCK) {
        const unsigned char *look = block;
        if (left < WORDS_BLOCK) { /* zeros behind the end end the last word */
            memset(rest, 0, sizeof rest);
            if (left)
                memcpy(rest, block, left);
            look = rest;
        }
        uint64_t mask = words_mask(look), edges = mask ^ (mask << 1 | before);
        if (before && edges) { /* the end of that word */
            const unsigned char *end = block + __builtin_ctzll(edges);
            each(out, word, (size_t)(end - word), (size_t)(word - data));
            edges &= edges - 1;
        }
        while (edges) {
            word = block + __builtin_ctzll(edges);
            edges &= edges - 1;
            if (edges == 0)
                break; /* it goes on behind this block */
            const unsigned char *end = block + __builtin_ctzll(edges);
            edges &= edges - 1;
            each(out, word, (size_t)(end - word), (size_t)(word - data));
        }
        before = mask >> 63;
        left -= left < WORDS_BLOCK ? left : WORDS_BLOCK;
    }
}

#endif
