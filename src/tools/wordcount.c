/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap-wordcount: how often each word is there. */
#include "tools/tool.h"
#include "tools/words.h"

#include <inttypes.h>

static void count_word(struct pmap_emitter *out, const unsigned char *word, size_t size, size_t at)
{
    (void)at;
    pmap_emit_i64(out, word, size, 1);
}

static void words_of(struct pmap_view text, struct pmap_emitter *out)
{
    words_each(text, out, count_word);
}
PMAP_MAPREDUCE(wordcount, .map = words_of, .combine = pmap_sum_i64, .value = PMAP_TYPE_I64);

/* ---- The commonest ---- */

/* Sorted by this the highest counts come first, and equal ones in the order of their words. */
static void turn_round(struct pmap_view word, struct pmap_view count, struct pmap_emitter *out)
{
    struct pmap_key8 key = pmap_key_i64(-pmap_view_i64(count));
    pmap_emit(out, key.bytes, sizeof key, word.data, word.size);
}
PMAP_MAPREDUCE(wordcount_top, .map_pair = turn_round);

static size_t top;

struct left {
    FILE *text;
    size_t n;
};

static bool print_one(void *user, struct pmap_view key, struct pmap_view word)
{
    struct left *left = user;

    fwrite(word.data, 1, word.size, left->text);
    fprintf(left->text, "\t%" PRId64 "\n", -pmap_i64_key(key));
    return --left->n > 0 && !ferror(left->text);
}

/* Words of equal counts come in the order in which they were emitted, which is that of partitions. Ranges are in order. */
static bool print_top(struct pmap_pool *pool, const char *const paths[])
{
    struct pmap_dataset *counts = NULL;
    struct left left = {tool_text_open(), top};

    if (left.text == NULL)
        return false;
    bool well = tool_mapreduce(pool, &wordcount_mapreduce,
                               (struct pmap_mapreduce_options){.input = PMAP_PATHS(paths), .keep = &counts, .order = PMAP_ORDER_RANGES}) &&
                tool_mapreduce(pool, &wordcount_top_mapreduce,
                               (struct pmap_mapreduce_options){.input = PMAP_DATASET(counts), .deliver = print_one, .user = &left});
    pmap_dataset_free(counts);
    return tool_text_close(left.text, well) && well;
}

/* ---- main ---- */

static int run(struct pmap_pool *pool, const char *const paths[])
{
    bool well = top ? print_top(pool, paths)
                    : tool_mapreduce(pool, &wordcount_mapreduce, (struct pmap_mapreduce_options){.input = PMAP_PATHS(paths)});
    return well ? 0 : 1;
}

static const struct tool_option options[] = {
    {"top", 0, TOOL_COUNT, &top, "N", "only the N commonest words, the commonest first", 1, 1e15},
    {0},
};

int main(int argc, char *argv[])
{
    static const struct tool tool = {
        .name = "pmap-wordcount", .usage = "[OPTION]... FILE...", .options = options, .operands = 1, .run = run, .failure = 1,
        .about = "Count how often each word is in the files. A word is a run of bytes above ' '. Prints\n"
                 "word, tab, count in the order of the words' bytes. A directory stands for its files."};
    return tool_main(&tool, argc, argv);
}
