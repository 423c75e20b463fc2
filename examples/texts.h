/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * texts.h: the half of a word count that has nothing to do with pmap, in plain C: the names of files, the words
 * in a file, a table of words and their counts. Used by wordcount_map.c, which is the half to read.
 *
 * A word is a run of the letters A to Z, in either case.
 */
#ifndef TEXTS_H
#define TEXTS_H

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- Tables: hash tables of room words, all bytes zero when empty ---- */

struct word { char text[40]; size_t n; };       /* n = 0: a free slot. 40: see %39 in table_read */

/* The slot of a word, or a free one that it now has; NULL if there is none. */
static inline struct word *table_find(struct word table[], size_t room, const char *text)
{
    size_t slot = 0, tries = 0;

    for (const char *c = text; *c; c++)
        slot = (31 * slot + (unsigned char)*c) % room;
    for (; table[slot].n > 0 && strcmp(table[slot].text, text) != 0; slot = (slot + 1) % room)
        if (++tries == room)
            return NULL;
    strcpy(table[slot].text, text);
    return &table[slot];
}

/* Count the words of a file. Returns NULL, or what went wrong. */
static inline const char *table_read(struct word table[], size_t room, const char *file_name)
{
    char text[sizeof table->text];
    const char *problem = NULL;
    FILE *file = fopen(file_name, "r");

    if (file == NULL)
        return strerror(errno);
    while (!problem && fscanf(file, "%*[^A-Za-z]") != EOF && fscanf(file, "%39[A-Za-z]", text) == 1) {
        for (char *c = text; *c; c++)
            *c = (char)tolower(*c);
        struct word *word = table_find(table, room, text);

        if (strlen(text) == sizeof text - 1)    /* there may be more of it */
            problem = "a word of 39 letters or more";
        else if (word == NULL)
            problem = "too many different words";
        else
            word->n++;
    }
    if (ferror(file))
        problem = strerror(errno);
    fclose(file);
    return problem;
}

/* Add the counts of one table to those of another, which must have room for them. */
static inline void table_add(struct word to[], size_t to_room, const struct word from[], size_t from_room)
{
    for (size_t i = 0; i < from_room; i++)
        if (from[i].n > 0)
            table_find(to, to_room, from[i].text)->n += from[i].n;
}

static inline int table_order(const void *a, const void *b)
{
    const struct word *v = a, *w = b;
    return v->n != w->n ? (v->n < w->n) - (v->n > w->n) : strcmp(v->text, w->text);
}

/* Turn a hash table into a list, the commonest word first; of equally common ones, the first in the alphabet.
 * Returns how many words there are. */
static inline size_t table_sort(struct word table[], size_t room)
{
    size_t n = 0;

    for (size_t i = 0; i < room; i++)
        if (table[i].n > 0)
            table[n++] = table[i];
    qsort(table, n, sizeof *table, table_order);
    return n;
}

/* ---- Names of files ---- */

struct path { char name[1024]; };

/* The files named on the command line; or, if that is one directory, the regular files in it, without links, so
 * that each text is there once. Returns an array of *n files to free, or NULL after printing why there is none. */
static inline struct path *list_files(int argc, char **argv, size_t *n)
{
    struct dirent **entry = NULL;
    int found = argc == 2 ? scandir(argv[1], &entry, NULL, alphasort) : -1;
    size_t names = (size_t)(found >= 0 ? found : argc - 1), files = 0;
    struct path *paths = calloc(names + 1, sizeof *paths);
    const char *problem = paths ? NULL : strerror(errno);

    for (size_t i = 0; i < names && !problem; i++) {
        char *name = paths[files].name;
        int length = found >= 0 ? snprintf(name, sizeof *paths, "%s/%s", argv[1], entry[i]->d_name)
                                : snprintf(name, sizeof *paths, "%s", argv[i + 1]);
        struct stat info;

        if (length < 0 || (size_t)length >= sizeof *paths)
            problem = "a file's name of more than 1023 bytes";
        else if (found < 0 || lstat(name, &info) != 0 || S_ISREG(info.st_mode))
            files++;
    }
    for (int i = 0; i < found; i++)
        free(entry[i]);
    free(entry);

    if (!problem && files == 0)
        problem = "no files. Usage: wordcount_map FILE..., or: wordcount_map DIRECTORY";
    if (problem) {
        fprintf(stderr, "wordcount_map: %s\n", problem);
        free(paths);
        return NULL;
    }
    *n = files;
    return paths;
}

#endif
