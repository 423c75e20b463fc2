/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Word count as one writes it in a quarter of an hour: a table of chains, getc, qsort. Plain C.
 *
 *     count_simple <text >counts         "word\tcount\n" in the order of the words' bytes
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct word { struct word *next; long count; char text[]; } *chains[1 << 20], **words;
static size_t n;

static void count(const char *text, size_t size, size_t hash)
{
    struct word **at = &chains[hash % (1 << 20)];
    while (*at && strcmp((*at)->text, text) != 0)
        at = &(*at)->next;
    if (!*at) {
        *at = calloc(1, sizeof **at + size + 1);
        memcpy((*at)->text, text, size);
        n++;
    }
    (*at)->count++;
}

static int by_word(const void *a, const void *b)
{
    return strcmp((*(struct word *const *)a)->text, (*(struct word *const *)b)->text);
}

int main(void)
{
    static char text[1 << 20]; /* the longest word */
    size_t size = 0, hash = 0, at = 0;

    for (int c = ' '; c != EOF;) {
        c = getc_unlocked(stdin);
        if (c != EOF && !isspace(c) && size < sizeof text - 1) {
            text[size++] = (char)c;
            hash = 31 * hash + (size_t)c;
        } else if (size > 0) {
            text[size] = 0;
            count(text, size, hash);
            size = hash = 0;
        }
    }
    words = malloc((n + 1) * sizeof *words);
    for (size_t i = 0; i < 1 << 20; i++)
        for (struct word *word = chains[i]; word; word = word->next)
            words[at++] = word;
    qsort(words, n, sizeof *words, by_word);
    for (size_t i = 0; i < n; i++)
        printf("%s\t%ld\n", words[i]->text, words[i]->count);
    return 0;
}
