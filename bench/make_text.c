/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Makes text for word counts: the same bytes for the same arguments, on every machine.
 *
 *     make_text BYTES [DISTINCT [SEED]] >text         DISTINCT: 1000000 words unless given
 *
 * Words are drawn by Zipf's law with exponent 1, as in a natural language: the word of rank r comes in proportion to
 * 1 / r. Their lengths are natural, too: about 5 letters in the mean over the text, about 8 over the dictionary, because a
 * frequent word is short. A few are longer than 16 letters. Lines have 10 to 12 words; the last one ends at BYTES or soon
 * behind.
 *
 * A word is drawn by inversion: a random number of 64 bits is looked up in the sums of the probabilities of all ranks. A
 * guide says where to begin: at the first rank that is possible for the upper bits of the number.
 */
#include "mix.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LETTERS = 13,                /* at most, unless doubled: 26 to the power of 13 fits in 64 bits */
    WORDS = 12,                  /* of a line, at most */
    GUIDE_BITS = 18,
    BUFFER = 1 << 18,
    MOST = 1000000000            /* distinct words */
};

__extension__ typedef unsigned __int128 uint128;

struct word {
    char text[31];      /* with a space behind it */
    unsigned char size; /* with the space */
};

struct dictionary {
    size_t n;
    struct word *words;
    uint64_t *sums;              /* rank i is drawn by numbers in [sums[i - 1], sums[i]) */
    uint32_t guide[1 << GUIDE_BITS]; /* by the upper bits of a number: the lowest rank that it may draw */
};

static int log2_of(uint64_t x)
{
    int bits = 0;
    while (x >>= 1)
        bits++;
    return bits;
}

/* Three letters for every eight bits of the rank, and one or two more or less; but as many as it takes to tell so many
 * ranks apart. */
static int letters_of(uint64_t rank, uint64_t random)
{
    int wanted = (4 + 3 * log2_of(rank)) / 8 + (int)(random % 5) - 1, needed = 1;
    for (uint64_t room = 26; room <= rank; room *= 26)
        needed++;
    return wanted < needed ? needed : wanted > LETTERS ? LETTERS : wanted;
}

/* Rank times a number that has no factor in common with 26, modulo 26 to the power of the letters, written in base 26: so
 * no two ranks with as many letters are spelt alike. */
static struct word spell(uint64_t rank)
{
    uint64_t random = mix(0, rank), room = 1;
    int letters = letters_of(rank, random >> 32);
    struct word word = {.size = (unsigned char)letters};

    for (int i = 0; i < letters; i++)
        room *= 26;
    uint64_t number = (uint64_t)((uint128)rank * UINT64_C(0x9e3779b97f4a7c15) % room);
    for (int i = letters - 1; i >= 0; i--, number /= 26)
        word.text[i] = (char)('a' + number % 26);
    if (random % 512 == 0 && letters > LETTERS / 2) { /* doubled, it has more letters than any that is not */
        memcpy(word.text + letters, word.text, (size_t)letters);
        word.size = (unsigned char)(2 * letters);
    }
    word.text[word.size++] = ' ';
    return word;
}

/* The probabilities of ranks 1 to n in units of 2 to the power of -64. The last sum is the largest number, so that
 * every number finds a rank. */
static void fill_sums(struct dictionary *d)
{
    double harmonic = 0, sum = 0;
    for (size_t i = d->n; i > 0; i--) /* the small ones first */
        harmonic += 1.0 / (double)i;
    for (size_t i = 0; i < d->n; i++) {
        sum += 1.0 / (double)(i + 1) / harmonic;
        d->sums[i] = sum < 1 ? (uint64_t)(sum * 0x1p64) : UINT64_MAX;
    }
    d->sums[d->n - 1] = UINT64_MAX;
}

static void fill_guide(struct dictionary *d)
{
    uint32_t rank = 0;
    for (uint64_t i = 0; i < 1 << GUIDE_BITS; i++) {
        while (d->sums[rank] <= i << (64 - GUIDE_BITS))
            rank++;
        d->guide[i] = rank;
    }
}

static bool fill(struct dictionary *d, size_t n)
{
    d->n = n;
    d->words = malloc(n * sizeof *d->words);
    d->sums = malloc(n * sizeof *d->sums);
    if (d->words == NULL || d->sums == NULL)
        return false;
    for (size_t i = 0; i < n; i++)
        d->words[i] = spell(i + 1);
    fill_sums(d);
    fill_guide(d);
    return true;
}

static size_t draw(const struct dictionary *d, uint64_t number)
{
    size_t rank = d->guide[number >> (64 - GUIDE_BITS)];
    while (d->sums[rank] <= number && rank < d->n - 1)
        rank++;
    return rank;
}

/* Append a line; returns its end. All ranks are drawn first, so that the processor can wait for several words at once. */
static char *line(const struct dictionary *d, char *end, uint64_t seed, uint64_t i)
{
    const struct word *words[WORDS];
    size_t n = WORDS - mix(seed, i * (WORDS + 1)) % 3;

    for (size_t k = 0; k < n; k++) {
        words[k] = d->words + draw(d, mix(seed, i * (WORDS + 1) + k + 1));
        __builtin_prefetch(words[k]);
    }
    for (size_t k = 0; k < n; k++) {
        memcpy(end, words[k]->text, sizeof words[k]->text); /* a fixed size is faster, and the rest is written over */
        end += words[k]->size;
    }
    end[-1] = '\n';
    return end;
}

static bool write_text(const struct dictionary *d, uint64_t size, uint64_t seed)
{
    static char buffer[BUFFER + (WORDS + 1) * sizeof(struct word)]; /* a line more */
    char *end = buffer;
    bool good = true;

    for (uint64_t i = 0, written = 0; good && written + (uint64_t)(end - buffer) < size; i++) {
        end = line(d, end, seed, i);
        if (end - buffer >= BUFFER) {
            good = fwrite(buffer, 1, (size_t)(end - buffer), stdout) == (size_t)(end - buffer);
            written += (uint64_t)(end - buffer);
            end = buffer;
        }
    }
    return good && fwrite(buffer, 1, (size_t)(end - buffer), stdout) == (size_t)(end - buffer) && fflush(stdout) == 0;
}

int main(int argc, char **argv)
{
    static struct dictionary dictionary;
    uint64_t size = argc > 1 ? strtoull(argv[1], NULL, 10) : 0, n = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;

    if (size == 0 || n == 0 || n > MOST || argc > 4) {
        fprintf(stderr, "usage: make_text BYTES [DISTINCT [SEED]] >text\n");
        return 2;
    }
    bool good = fill(&dictionary, n) && write_text(&dictionary, size, seed);
    if (!good)
        perror("make_text");
    free(dictionary.words);
    free(dictionary.sums);
    return good ? 0 : 1;
}
