/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap-index: an inverted index. For each word where it is: file:offset,offset… for each of the files that have it, in their order. */
#include "tools/tool.h"
#include "tools/words.h"

#include <inttypes.h>
#include <stdlib.h>

/* Where a word is: the value of a pair. */
struct place {
    uint64_t file, offset;
};

/* ---- Map: each word, and where it is ---- */

static void place_word(struct pmap_emitter *out, const unsigned char *word, size_t size, size_t at)
{
    struct pmap_source_of source = pmap_emitter_source(out);
    struct place place = {source.file, source.offset + at};
    pmap_emit(out, word, size, &place, sizeof place);
}

static void words_of(struct pmap_view text, struct pmap_emitter *out)
{
    words_each(text, out, place_word);
}

/* ---- Reduce: the places of a word as text ---- */

struct text {
    char *bytes;
    size_t used, size;
};

/* False: no memory. */
static bool append(struct text *text, const char *bytes, size_t size)
{
    if (size > text->size - text->used) {
        size_t more = 2 * text->size + size;
        char *larger = realloc(text->bytes, more);
        if (larger == NULL)
            return false;
        text->bytes = larger;
        text->size = more;
    }
    memcpy(text->bytes + text->used, bytes, size);
    text->used += size;
    return true;
}

/* What goes to every rank, and behind it the paths of the files, each with a zero byte. */
struct names {
    uint64_t offsets;  /* 1: list them */
    uint64_t begins[]; /* of the path of each file: bytes from here on */
};

static const char *path_of(const struct names *names, uint64_t file)
{
    return (const char *)names + names->begins[file];
}

static void list_places(struct pmap_view word, struct pmap_values *values, struct pmap_emitter *out)
{
    const struct names *names = pmap_emitter_arg(out).data;
    struct text text = {NULL, 0, 0};
    struct pmap_view value;
    bool well = true;
    uint64_t last = UINT64_MAX;
    char number[24];

    while (well && pmap_values_next(values, &value)) {
        const struct place *place = value.data;
        bool new_file = place->file != last;
        if (new_file) {
            const char *path = path_of(names, place->file);
            well = (text.used == 0 || append(&text, " ", 1)) && append(&text, path, strlen(path));
        }
        if (names->offsets && well)
            well = append(&text, number, (size_t)snprintf(number, sizeof number, "%c%" PRIu64, new_file ? ':' : ',', place->offset));
        last = place->file;
    }
    if (well)
        pmap_emit(out, word.data, word.size, text.bytes, text.used);
    else
        pmap_fail(1, "no memory for the places of '%.*s'", (int)(word.size < 40 ? word.size : 40), (const char *)word.data);
    free(text.bytes);
}
PMAP_MAPREDUCE(index, .map = words_of, .reduce = list_places);

/* ---- The command ---- */

static bool files_only;

static struct names *list_names(char *const files[], size_t *size)
{
    size_t n = 0, chars = 0;

    for (; files[n]; n++)
        chars += strlen(files[n]) + 1;
    *size = sizeof(struct names) + n * sizeof(uint64_t) + chars;
    struct names *names = malloc(*size);
    if (names == NULL)
        return NULL;
    names->offsets = !files_only;
    char *to = (char *)&names->begins[n];
    for (size_t i = 0; i < n; i++) {
        names->begins[i] = (uint64_t)(to - (char *)names);
        memcpy(to, files[i], strlen(files[i]) + 1);
        to += strlen(files[i]) + 1;
    }
    return names;
}

static int run(struct pmap_pool *pool, const char *const paths[])
{
    char **files = tool_files(paths);
    size_t size = 0;
    struct names *names = files ? list_names(files, &size) : NULL;
    bool well = names != NULL;

    if (files && !well)
        tool_fail("no memory for the names of the files");
    if (well && files[0])
        well = tool_mapreduce(pool, &index_mapreduce, (struct pmap_mapreduce_options){
            .input = PMAP_PATHS((const char *const *)files), .arg = names, .arg_size = size});
    free(names);
    tool_files_free(files);
    return well ? 0 : 1;
}

static const struct tool_option options[] = {
    {"files", 'l', TOOL_FLAG, &files_only, NULL, "only which files have a word, not where", 0, 0},
    {0},
};

int main(int argc, char *argv[])
{
    static const struct tool tool = {
        .name = "pmap-index", .usage = "[OPTION]... FILE...", .options = options, .operands = 1, .run = run, .failure = 1,
        .about = "List for each word of the files where it is: word, tab, file:offset,offset... for each file,\n"
                 "with a space between files. A word is a run of bytes above ' '. A directory stands for its files."};
    return tool_main(&tool, argc, argv);
}
