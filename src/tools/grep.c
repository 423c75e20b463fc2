/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap-grep: the lines that match a pattern, in the order of the files. The key of a line is where it is, so they are in order however the
 * files were cut, and the output is their values. */
#include "tools/tool.h"

#include <ctype.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What goes to every rank, and behind it the pattern. */
struct search {
    bool fixed, extended, no_case, invert, named;
    char pattern[];
};

/* ---- Matching ---- */

/* A pattern, ready to use: one for each piece, as threads would wait for each other in a regex_t. */
struct matcher {
    const struct search *search;
    size_t size;     /* of the pattern */
    regex_t regex;   /* unless it is fixed */
    char *line;      /* a copy of the line, for regexec wants a zero byte behind it, */
    size_t room;     /* of so many bytes at most */
};

/* A line may have zero bytes, where the library knows that; else it ends there. */
#ifdef REG_STARTEND
enum { SPAN_IS_GIVEN = REG_STARTEND };
#else
enum { SPAN_IS_GIVEN = 0 };
#endif

static bool matcher_init(struct matcher *matcher, const struct search *search)
{
    char text[200];

    *matcher = (struct matcher){.search = search, .size = strlen(search->pattern)};
    int code = search->fixed ? 0 : regcomp(&matcher->regex, search->pattern, (search->extended ? REG_EXTENDED : 0) |
                                                                                 (search->no_case ? REG_ICASE : 0));
    if (code == 0)
        return true;
    regerror(code, &matcher->regex, text, sizeof text);
    pmap_fail(code, "%s: %s", search->pattern, text);
    return false;
}

static void matcher_fini(struct matcher *matcher)
{
    if (!matcher->search->fixed)
        regfree(&matcher->regex);
    free(matcher->line);
}

static bool copy_line(struct matcher *matcher, const char *line, size_t size)
{
    if (size >= matcher->room) {
        size_t room = 2 * size + 1000;
        char *copy = realloc(matcher->line, room);
        if (copy == NULL)
            return false;
        matcher->line = copy;
        matcher->room = room;
    }
    memcpy(matcher->line, line, size);
    matcher->line[size] = 0;
    return true;
}

static const char *line_end(const char *at, const char *end)
{
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    return newline ? newline : end;
}

static bool line_matches(struct matcher *matcher, const char *line, size_t size)
{
    regmatch_t span[1] = {{0, (regoff_t)size}};

    if (matcher->search->fixed)
        return memmem(line, size, matcher->search->pattern, matcher->size) != NULL;
    int code = copy_line(matcher, line, size) ? regexec(&matcher->regex, matcher->line, 1, span, SPAN_IS_GIVEN) : REG_ESPACE;
    if (code == REG_ESPACE)
        pmap_fail(code, "no memory to match a line of %zu bytes", size);
    return code == 0;
}

/* The first line that is wanted, from at on, where one begins; NULL: none. */
static const char *next_line(struct matcher *matcher, const char *at, const char *end)
{
    const struct search *search = matcher->search;

    if (search->fixed && !search->invert && matcher->size) { /* over all lines at once: a pattern has no newline */
        const char *found = memmem(at, (size_t)(end - at), search->pattern, matcher->size);
        const char *newline = found ? memrchr(at, '\n', (size_t)(found - at)) : NULL;
        return found && newline ? newline + 1 : found ? at : NULL;
    }
    for (const char *next; at < end; at = next) {
        const char *newline = line_end(at, end);
        if (line_matches(matcher, at, (size_t)(newline - at)) != search->invert)
            return at;
        next = newline + (newline < end);
    }
    return NULL;
}

/* ---- Lines ---- */

typedef void found_fn(struct pmap_emitter *out, const char *line, size_t size, uint64_t at);

/* found() for each line of a piece that is wanted; how many there were. */
static int64_t each_line(struct pmap_view piece, struct pmap_emitter *out, found_fn *found)
{
    const char *data = piece.data, *end = data + piece.size, *line, *newline;
    uint64_t offset = pmap_emitter_source(out).offset;
    struct matcher matcher;
    int64_t n = 0;

    if (!matcher_init(&matcher, pmap_emitter_arg(out).data))
        return 0;
    for (const char *at = data; at < end && (line = next_line(&matcher, at, end)) != NULL; at = newline + (newline < end), n++) {
        newline = line_end(line, end);
        if (found)
            found(out, line, (size_t)(newline - line), offset + (uint64_t)(line - data));
    }
    matcher_fini(&matcher);
    return n;
}

struct place {
    struct pmap_key8 file, offset;
};

static struct place place_of(struct pmap_emitter *out, uint64_t offset)
{
    return (struct place){pmap_key_u64(pmap_emitter_source(out).file), pmap_key_u64(offset)};
}

static void emit_line(struct pmap_emitter *out, const char *line, size_t size, uint64_t at)
{
    struct place place = place_of(out, at);
    pmap_emit(out, &place, sizeof place, line, size);
}

static void emit_named_line(struct pmap_emitter *out, const char *line, size_t size, uint64_t at)
{
    struct place place = place_of(out, at);
    const char *path = pmap_emitter_source(out).path;
    size_t path_size = strlen(path);
    char *text = malloc(path_size + 1 + size);

    if (text == NULL) {
        pmap_fail(1, "no memory for a line of %zu bytes", size);
        return;
    }
    memcpy(text, path, path_size);
    text[path_size] = ':';
    memcpy(text + path_size + 1, line, size);
    pmap_emit(out, &place, sizeof place, text, path_size + 1 + size);
    free(text);
}

static void grep_lines(struct pmap_view piece, struct pmap_emitter *out)
{
    const struct search *search = pmap_emitter_arg(out).data;
    each_line(piece, out, search->named ? emit_named_line : emit_line);
}
PMAP_MAPREDUCE(grep, .map = grep_lines, .key = PMAP_TYPE_NONE);

/* How many there are in each file. */
static void count_lines(struct pmap_view piece, struct pmap_emitter *out)
{
    struct pmap_key8 file = pmap_key_u64(pmap_emitter_source(out).file);
    pmap_emit_i64(out, &file, sizeof file, each_line(piece, out, NULL));
}
PMAP_MAPREDUCE(grep_count, .map = count_lines, .combine = pmap_sum_i64);

/* ---- The command ---- */

static struct search chosen;
static bool count;

static bool take_count(void *user, struct pmap_view key, struct pmap_view value)
{
    int64_t *counts = user;
    counts[pmap_u64_key(key)] = pmap_view_i64(value);
    return true;
}

/* Whether something was found; well: whether all went well. */
static bool print_counts(struct pmap_pool *pool, struct pmap_mapreduce_options o, char *const files[], bool *well)
{
    size_t n = 0;
    bool any = false;

    while (files[n])
        n++;
    int64_t *counts = calloc(n + 1, sizeof *counts);
    FILE *text = counts ? tool_text_open() : NULL;
    if (counts == NULL)
        tool_fail("no memory for %zu counts", n);
    o.deliver = take_count;
    o.user = counts;
    *well = text && tool_mapreduce(pool, &grep_count_mapreduce, o);
    for (size_t i = 0; *well && i < n; i++) {
        if (chosen.named)
            fprintf(text, "%s:", files[i]);
        fprintf(text, "%lld\n", (long long)counts[i]);
        any = any || counts[i];
    }
    if (text)
        *well = tool_text_close(text, *well) && *well;
    free(counts);
    return any;
}

static bool print_lines(struct pmap_pool *pool, struct pmap_mapreduce_options o, bool *well)
{
    struct pmap_mapreduce_stats stats;

    o.order = PMAP_ORDER_RANGES;
    o.stats = &stats;
    *well = tool_mapreduce(pool, &grep_mapreduce, o);
    return *well && stats.records_out > 0;
}

/* A fixed pattern without case is a regular expression in which nothing is special. (A letter in brackets is itself, in either case.) */
static struct search *search_for(const char *pattern)
{
    struct search *search = malloc(sizeof *search + 3 * strlen(pattern) + 1);
    bool quote = chosen.fixed && chosen.no_case;

    if (search == NULL)
        return NULL;
    *search = chosen;
    search->fixed = chosen.fixed && !quote;
    char *to = search->pattern;
    for (const char *from = pattern; *from; from++) {
        if (quote && strchr(".[*^$\\", *from))
            *to++ = '\\';
        *to++ = *from;
    }
    *to = 0;
    return search;
}

/* Is the pattern one? Where it is used it would be too late to say so in few words. */
static bool is_well(const struct search *search)
{
    char text[200];
    regex_t regex;

    if (search->fixed)
        return true;
    int code = regcomp(&regex, search->pattern, (search->extended ? REG_EXTENDED : 0) | REG_NOSUB);
    if (code == 0) {
        regfree(&regex);
        return true;
    }
    regerror(code, &regex, text, sizeof text);
    tool_fail("%s: %s", search->pattern, text);
    return false;
}

static int run(struct pmap_pool *pool, const char *const operands[])
{
    struct stat about;
    bool well = false, any = false;

    if (strchr(operands[0], '\n'))
        return tool_fail("a pattern is one line");
    char **files = tool_files(operands + 1);
    chosen.named = operands[2] || (stat(operands[1], &about) == 0 && S_ISDIR(about.st_mode));
    struct search *search = files ? search_for(operands[0]) : NULL;
    if (files && search == NULL)
        tool_fail("no memory for the pattern");
    if (search && files[0] && is_well(search)) {
        struct pmap_mapreduce_options o = {.input = PMAP_PATHS((const char *const *)files), .arg = search,
                                           .arg_size = sizeof *search + strlen(search->pattern) + 1};
        any = count ? print_counts(pool, o, files, &well) : print_lines(pool, o, &well);
    } else {
        well = files && files[0] == NULL;
    }
    free(search);
    tool_files_free(files);
    return well ? !any : 2;
}

static const struct tool_option options[] = {
    {"extended-regexp", 'E', TOOL_FLAG, &chosen.extended, NULL, "the pattern is an extended regular expression", 0, 0},
    {"fixed-strings", 'F', TOOL_FLAG, &chosen.fixed, NULL, "the pattern is a string", 0, 0},
    {"ignore-case", 'i', TOOL_FLAG, &chosen.no_case, NULL, "upper and lower case are alike", 0, 0},
    {"invert-match", 'v', TOOL_FLAG, &chosen.invert, NULL, "the lines that do not match", 0, 0},
    {"count", 'c', TOOL_FLAG, &count, NULL, "how many there are in each file, not the lines", 0, 0},
    {0},
};

int main(int argc, char *argv[])
{
    static const struct tool tool = {
        .name = "pmap-grep", .usage = "[OPTION]... PATTERN FILE...", .options = options, .operands = 2, .run = run, .failure = 2,
        .about = "Print the lines that match a regular expression, in the order of the files. A directory stands for\n"
                 "its files. The status is 0 if there is such a line, 1 if there is none, 2 if something went wrong."};
    return tool_main(&tool, argc, argv);
}
