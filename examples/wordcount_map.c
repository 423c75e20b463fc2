/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * wordcount_map: the ten commonest words of many texts, one file per item; and what becomes of items that fail.
 *     ./wordcount_map FILE…     or     ./wordcount_map DIRECTORY
 *
 * Every rank opens the files by their names: on a cluster they must lie where all nodes see them. Items and results
 * have a fixed size here, so an item is an array that holds a file's name, not a pointer, which would mean nothing on
 * another node; and a result is a table with room for so many words. A text with more of them fails, and says so.
 */
#define _POSIX_C_SOURCE 200809L
#include <pmap.h>
#include "texts.h" /* the plain C of it: struct path, struct word, list_files, table_read … */

enum { ROOM = 8192, TOP = 10 };
struct counts { bool done; struct word words[ROOM]; };  /* 400 KB per file */
static struct counts count_words(struct path path)
{
    struct counts counts = {.done = true};
    const char *problem = table_read(counts.words, ROOM, path.name);
    if (problem)                                        /* this item fails, and no other */
        pmap_fail(1, "%s: %s", path.name, problem);
    return counts;
}
PMAP_TASK(count_words, struct counts, struct path);

static int run(struct pmap_pool *pool, const struct path paths[], size_t n)
{
    struct counts *counts = calloc(n, sizeof *counts);
    struct word *all = calloc(n * ROOM, sizeof *all);
    struct pmap_error error;
    size_t done = 0, words;
    if (counts == NULL || all == NULL) {
        fprintf(stderr, "wordcount_map: no memory for %zu files\n", n);
        goto end;
    }
    if (pmap_map(pool, count_words, paths, counts, n, .error = &error) != PMAP_OK)
        pmap_perror("wordcount_map", &error);           /* about the first file that failed */
    for (size_t i = 0; i < n; i++)                      /* every other result is there */
        if (counts[i].done) {
            table_add(all, n * ROOM, counts[i].words, ROOM);
            done++;
        } else {                                        /* the result of a failed item is all zeros */
            fprintf(stderr, "wordcount_map: not counted: %s\n", paths[i].name);
        }
    words = table_sort(all, n * ROOM);
    for (size_t i = 0; i < words && i < TOP; i++)
        printf("%7zu %s\n", all[i].n, all[i].text);
    printf("%zu different words in %zu of %zu files\n", words, done, n);
end:
    free(counts);
    free(all);
    return done == n ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    struct pmap_pool *pool;
    size_t n;

    if (pmap_create(&pool) != PMAP_OK)
        return EXIT_FAILURE;
    if (pool == NULL)                                   /* this rank has served, and is done */
        return EXIT_SUCCESS;
    struct path *paths = list_files(argc, argv, &n);
    int status = paths ? run(pool, paths, n) : EXIT_FAILURE;
    free(paths);
    pmap_destroy(pool);
    return status;
}
