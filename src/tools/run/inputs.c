/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "tools/run/inputs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A source of values. Those of a file come through a buffer of its own: stdio cannot be asked to stop. */
struct stream {
    struct run_source from;
    int file; /* -1: values */
    size_t at; /* values: the next */
    char *buffer;
    size_t begin, end, room; /* of what was read and not yet taken */
    bool ended;
};

/* Streams that are linked, and the rows of one but the first group. */
struct group {
    struct stream *streams;
    size_t n;
    struct run_row *rows; /* kept */
    size_t kept, at;
};

struct run_inputs {
    struct run_reading reading;
    struct group *groups;
    size_t n;
    regex_t columns;
    bool has_columns;
    struct run_row first; /* of the first group: it is combined with all rows of the others */
    bool begun;
    char error[300];
};

/* ---- Values ---- */

static void fail(struct run_inputs *in, const struct stream *s, const char *doing)
{
    if (in->error[0] == 0)
        snprintf(in->error, sizeof in->error, "%s %s: %s", doing, s->from.path, strerror(errno));
}

/* False: nothing more is to come, or is wanted. */
static bool await(const struct run_inputs *in, const struct stream *s)
{
    struct pollfd fds[] = {{.fd = s->file, .events = POLLIN}, {.fd = in->reading.stop, .events = POLLIN}};

    while (poll(fds, 2, -1) < 0)
        if (errno != EINTR)
            return false;
    return fds[1].revents == 0;
}

static bool read_more(struct run_inputs *in, struct stream *s)
{
    if (s->begin > 0 && s->begin == s->end)
        s->begin = s->end = 0;
    if (s->end == s->room && s->begin > s->room / 2) {
        memmove(s->buffer, s->buffer + s->begin, s->end - s->begin);
        s->end -= s->begin;
        s->begin = 0;
    } else if (s->end == s->room) {
        s->room = 2 * s->room + 65536;
        s->buffer = run_resize(s->buffer, s->room, 1);
    }
    ssize_t n = 0;
    if (await(in, s))
        while ((n = read(s->file, s->buffer + s->end, s->room - s->end)) < 0 && errno == EINTR)
            ;
    if (n < 0)
        fail(in, s, "cannot read");
    s->ended = n <= 0;
    s->end += s->ended ? 0 : (size_t)n;
    return !s->ended;
}

/* The next line, without its end, until the stream is asked again. */
static bool next_line(struct run_inputs *in, struct stream *s, const char **line, size_t *n)
{
    size_t seen = 0; /* bytes without an end */
    char *end = NULL;

    do {
        if (s->end - s->begin > seen)
            end = memchr(s->buffer + s->begin + seen, in->reading.delimiter, s->end - s->begin - seen);
        seen = s->end - s->begin;
    } while (end == NULL && !s->ended && read_more(in, s));
    if (end == NULL && seen == 0)
        return false;
    *line = s->buffer + s->begin;
    *n = end ? (size_t)(end - *line) : seen;
    s->begin += *n + (end != NULL);
    return true;
}

static bool is_blank(const char *text, size_t n)
{
    while (n && (text[n - 1] == ' ' || text[n - 1] == '\t' || text[n - 1] == '\n'))
        n--;
    return n == 0;
}

static bool next_value(struct run_inputs *in, struct stream *s, const char **value, size_t *n)
{
    if (s->file < 0) {
        if (s->at == s->from.n)
            return false;
        *value = s->from.values[s->at++];
        *n = strlen(*value);
        return true;
    }
    do {
        if (!next_line(in, s, value, n))
            return false;
    } while (in->reading.skip_blank && is_blank(*value, *n));
    return true;
}

/* ---- Columns ---- */

static void add_column(const struct run_inputs *in, struct run_row *row, const char *text, size_t n)
{
    if (in->reading.trim) {
        for (; n && (*text == ' ' || *text == '\t'); n--)
            text++;
        while (n && (text[n - 1] == ' ' || text[n - 1] == '\t'))
            n--;
    }
    run_row_add(row, text, n);
}

static void add_columns(const struct run_inputs *in, struct run_row *row, const char *value, size_t n)
{
    regmatch_t match;
    struct run_row whole = {0};

    if (!in->has_columns) {
        add_column(in, row, value, n);
        return;
    }
    run_row_add(&whole, value, n); /* a string, for regexec */
    const char *at = whole.columns[0];
    while (regexec(&in->columns, at, 1, &match, at > whole.columns[0] ? REG_NOTBOL : 0) == 0 && match.rm_eo > 0) {
        add_column(in, row, at, (size_t)match.rm_so);
        at += match.rm_eo;
    }
    add_column(in, row, at, strlen(at));
    run_row_free(&whole);
}

/* What people know from Perl and regcomp does not. */
static char *expression_of(const char *columns)
{
    static const struct {
        const char *perl, *posix;
    } same[] = {{"\\t", "\t"}, {"\\n", "\n"}, {"\\d", "[0-9]"}, {"\\D", "[^0-9]"}};
    struct run_text out = {0};

    while (*columns) {
        size_t i = 0, n = sizeof same / sizeof *same;
        while (i < n && strncmp(columns, same[i].perl, 2) != 0)
            i++;
        if (i < n)
            run_text_puts(&out, same[i].posix);
        else
            run_text_add(&out, columns, *columns == '\\' && columns[1] ? 2 : 1);
        columns += i < n || (*columns == '\\' && columns[1]) ? 2 : 1;
    }
    return run_text_take(&out);
}

static bool compile_columns(struct run_inputs *in)
{
    char reason[200], *expression = expression_of(in->reading.columns);
    int code = regcomp(&in->columns, expression, REG_EXTENDED);

    free(expression);
    in->has_columns = code == 0;
    if (code) {
        regerror(code, &in->columns, reason, sizeof reason);
        snprintf(in->error, sizeof in->error, "--colsep '%.60s': %s", in->reading.columns, reason);
    }
    return code == 0;
}

/* ---- Rows of a group ---- */

/* A row with a value of each stream. */
static bool next_of_group(struct run_inputs *in, struct group *g, struct run_row *row)
{
    const char *value;
    size_t n;

    *row = (struct run_row){0};
    for (size_t i = 0; i < g->n; i++) {
        if (!next_value(in, &g->streams[i], &value, &n)) {
            run_row_free(row);
            return false;
        }
        add_columns(in, row, value, n);
    }
    return true;
}

static void keep(struct group *g, struct run_row row)
{
    g->rows = run_resize(g->rows, g->kept + 1, sizeof *g->rows);
    g->rows[g->kept++] = row;
}

static void keep_all(struct run_inputs *in, struct group *g)
{
    struct run_row row;

    while (next_of_group(in, g, &row))
        keep(g, row);
}

static void copy_columns(struct run_row *to, const struct run_row *from)
{
    for (size_t i = 0; i < from->n; i++)
        run_row_add(to, from->columns[i], strlen(from->columns[i]));
}

/* In a ring all values are there before the first row: the longest list says how many rows there are. */
static void make_ring(struct run_inputs *in, struct group *g)
{
    struct group *lists = run_resize(NULL, g->n, sizeof *lists);
    size_t longest = 0;

    for (size_t i = 0; i < g->n; i++) {
        struct group one = {.streams = &g->streams[i], .n = 1};
        keep_all(in, &one);
        lists[i] = one;
        longest = one.kept > longest ? one.kept : longest;
    }
    for (size_t r = 0; r < longest; r++) {
        struct run_row row = {0};
        for (size_t i = 0; i < g->n; i++)
            if (lists[i].kept)
                copy_columns(&row, &lists[i].rows[r % lists[i].kept]);
        keep(g, row);
    }
    for (size_t i = 0; i < g->n; i++) {
        for (size_t r = 0; r < lists[i].kept; r++)
            run_row_free(&lists[i].rows[r]);
        free(lists[i].rows);
    }
    free(lists);
}

static bool next_of_first(struct run_inputs *in, struct run_row *row)
{
    struct group *g = &in->groups[0];

    if (!in->reading.link_all)
        return next_of_group(in, g, row);
    *row = (struct run_row){0};
    if (g->at == g->kept)
        return false;
    copy_columns(row, &g->rows[g->at++]);
    return true;
}

/* ---- All combinations ---- */

/* The next combination of the groups behind the first; false: they begin anew. */
static bool turn(struct run_inputs *in)
{
    for (size_t i = in->n - 1; i > 0; i--) {
        if (++in->groups[i].at < in->groups[i].kept)
            return true;
        in->groups[i].at = 0;
    }
    return false;
}

static bool begin(struct run_inputs *in)
{
    bool rows = true;

    in->begun = true;
    if (in->reading.link_all)
        make_ring(in, &in->groups[0]);
    for (size_t i = 1; i < in->n; i++) {
        keep_all(in, &in->groups[i]);
        rows &= in->groups[i].kept > 0;
    }
    return rows;
}

bool run_inputs_next(struct run_inputs *in, struct run_row *row)
{
    bool has_first = in->first.n > 0;

    if (!in->begun && !begin(in))
        return false;
    if (!has_first || !turn(in)) {
        run_row_free(&in->first);
        if (in->error[0] || !next_of_first(in, &in->first))
            return false;
    }
    *row = (struct run_row){0};
    copy_columns(row, &in->first);
    for (size_t i = 1; i < in->n; i++)
        copy_columns(row, &in->groups[i].rows[in->groups[i].at]);
    return in->error[0] == 0;
}

const char *run_inputs_error(const struct run_inputs *in)
{
    return in->error[0] ? in->error : NULL;
}

/* ---- Opening and closing ---- */

static bool open_stream(struct run_inputs *in, struct stream *s)
{
    const char *path = s->from.path;

    if (path == NULL)
        return true;
    s->file = strcmp(path, "-") == 0 ? dup(0) : open(path, O_RDONLY | O_CLOEXEC);
    if (s->file < 0) {
        fail(in, s, "cannot open input file");
        return false;
    }
    fcntl(s->file, F_SETFD, FD_CLOEXEC);
    return true;
}

static struct stream *add_stream(struct run_inputs *in, const struct run_source *source)
{
    if (in->n == 0 || !(source->linked || in->reading.link_all)) {
        in->groups = run_resize(in->groups, in->n + 1, sizeof *in->groups);
        in->groups[in->n++] = (struct group){0};
    }
    struct group *g = &in->groups[in->n - 1];
    g->streams = run_resize(g->streams, g->n + 1, sizeof *g->streams);
    g->streams[g->n] = (struct stream){.from = *source, .file = -1};
    return &g->streams[g->n++];
}

static void skip_first_line(struct run_inputs *in)
{
    const char *line;
    size_t n;

    for (size_t g = 0; g < in->n; g++)
        for (size_t i = 0; i < in->groups[g].n; i++)
            if (in->groups[g].streams[i].file >= 0) {
                next_line(in, &in->groups[g].streams[i], &line, &n);
                return;
            }
}

struct run_inputs *run_inputs_open(const struct run_source sources[], size_t n, const struct run_reading *reading, char error[300])
{
    struct run_inputs *in = run_resize(NULL, 1, sizeof *in);

    *in = (struct run_inputs){.reading = *reading};
    for (size_t i = 0; i < n; i++)
        if (!open_stream(in, add_stream(in, &sources[i])))
            goto fail;
    if (reading->columns && !compile_columns(in))
        goto fail;
    if (reading->skip_first_line)
        skip_first_line(in);
    return in;
fail:
    snprintf(error, 300, "%s", in->error);
    run_inputs_close(in);
    return NULL;
}

static void close_group(struct group *g)
{
    for (size_t i = 0; i < g->n; i++) {
        free(g->streams[i].buffer);
        if (g->streams[i].file >= 0)
            close(g->streams[i].file);
    }
    for (size_t i = 0; i < g->kept; i++)
        run_row_free(&g->rows[i]);
    free(g->rows);
    free(g->streams);
}

void run_inputs_close(struct run_inputs *in)
{
    if (in == NULL)
        return;
    for (size_t i = 0; i < in->n; i++)
        close_group(&in->groups[i]);
    free(in->groups);
    run_row_free(&in->first);
    if (in->has_columns)
        regfree(&in->columns);
    free(in);
}
