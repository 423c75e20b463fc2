/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "tools/run/done.h"

#include <errno.h>
#include <search.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What stands for the number of a job where it does not matter: nothing that a shell would quote, as a number is nothing. */
#define ANY_SEQUENCE "_pmap-run.any-sequence_"

enum { MOST_READINGS = 20000 }; /* of one row, of which nearly all are wrong */

struct record {
    bool succeeded, used;
};

/* A text, and the records that it stands for: some, or in the table of rows one. */
struct found {
    char *text;
    size_t *records, n;
};

struct run_done {
    const struct run_template *template;
    size_t slots;
    bool wants_success;
    struct record *records;
    size_t n;
    void *rows;     /* of "number command": a job that ran again has one record, that of its last row */
    void *commands; /* as they are, or with ANY_SEQUENCE */
};

/* ---- Tables ---- */

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct found *)a)->text, ((const struct found *)b)->text);
}

static struct found *find(void *const *table, const char *text)
{
    struct found wanted = {.text = (char *)text}, **found = tfind(&wanted, table, compare);
    return found ? *found : NULL;
}

static struct found *find_or_add(void **table, const char *text)
{
    struct found *e = find(table, text);

    if (e)
        return e;
    e = run_resize(NULL, 1, sizeof *e);
    *e = (struct found){.text = run_copy(text)};
    if (tsearch(e, table, compare) == NULL)
        run_resize(NULL, SIZE_MAX, 2); /* there is no memory: it says so and ends the program */
    return e;
}

static void add_record(struct found *e, size_t record)
{
    e->records = run_resize(e->records, e->n + 1, sizeof *e->records);
    e->records[e->n++] = record;
}

static void free_entry(void *entry)
{
    struct found *e = entry;
    free(e->text);
    free(e->records);
    free(e);
}

/* ---- Readings of a command ---- */

/* A command in which k of the places where a number stands are those of {#}; which of them is not known, so all choices are entered. */
struct reading {
    struct run_done *done;
    const char *number;
    size_t record, left; /* readings that may still be entered */
};

static void enter_readings(struct reading *r, struct run_text *before, const char *rest, size_t k)
{
    size_t n = before->n, width = strlen(r->number);
    const char *at;

    if (r->left == 0)
        return;
    if (k == 0) {
        run_text_puts(before, rest);
        add_record(find_or_add(&r->done->commands, before->data), r->record);
        before->data[before->n = n] = 0;
        r->left--;
        return;
    }
    for (at = strstr(rest, r->number); at; at = strstr(at + 1, r->number)) {
        run_text_add(before, rest, (size_t)(at - rest));
        run_text_puts(before, ANY_SEQUENCE);
        enter_readings(r, before, at + width, k - 1);
        before->data[before->n = n] = 0;
    }
}

static void enter(struct run_done *d, const char *number, const char *command, bool succeeded)
{
    struct run_text row = {0}, before = {0};
    struct reading reading = {d, number, d->n, MOST_READINGS};

    run_text_puts(&row, number);
    run_text_puts(&row, " ");
    run_text_puts(&row, command);
    struct found *e = find_or_add(&d->rows, row.data);
    free(row.data);
    if (e->n) {
        d->records[e->records[0]].succeeded = succeeded;
        return;
    }
    add_record(e, d->n);
    d->records = run_resize(d->records, d->n + 1, sizeof *d->records);
    d->records[d->n++] = (struct record){.succeeded = succeeded};
    run_text_puts(&before, "");
    enter_readings(&reading, &before, command, run_template_sequences(d->template));
    free(before.data);
}

/* ---- The file ---- */

/* Seq Host Starttime JobRuntime Send Receive Exitval Signal Command: the beginnings of these. False: it is no row. */
static bool split(char *line, char *fields[9])
{
    for (size_t i = 0; i < 9; i++) {
        fields[i] = line;
        if (i < 8 && (line = strchr(line, '\t')) == NULL)
            return false;
        if (i < 8)
            *line++ = 0;
    }
    return fields[0][0] && strspn(fields[0], "0123456789") == strlen(fields[0]);
}

/* Line breaks in commands are zero bytes in a joblog. */
static void break_lines(char *line, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (line[i] == 0)
            line[i] = '\n';
}

/* False: error says what is wrong. */
static bool read_rows(struct run_done *d, FILE *file, const char *path, long long *end, char error[300])
{
    char *line = NULL, *fields[9];
    size_t room = 0, number = 0;
    ssize_t n;
    bool good = true;

    *end = 0;
    while (good && (n = getline(&line, &room, file)) > 0 && line[n - 1] == '\n') {
        *end += n;
        line[n - 1] = 0;
        if (number++ == 0)
            continue; /* the names of the columns */
        break_lines(line, (size_t)n - 1);
        good = split(line, fields);
        if (good)
            enter(d, fields[0], fields[8], strcmp(fields[6], "0") == 0 && strcmp(fields[7], "0") == 0);
        else
            snprintf(error, 300, "%s is no joblog: its line %zu is '%.100s'", path, number, line);
    }
    if (good && ferror(file)) {
        snprintf(error, 300, "cannot read joblog %s: %s", path, strerror(errno));
        good = false;
    }
    free(line);
    return good;
}

struct run_done *run_done_read(const char *path, bool succeeded, const struct run_template *template, size_t slots, long long *end,
                               char error[300])
{
    struct run_done *d = run_resize(NULL, 1, sizeof *d);
    FILE *file = fopen(path, "re");
    bool good = file != NULL || errno == ENOENT;

    *d = (struct run_done){.template = template, .slots = slots, .wants_success = succeeded};
    *end = 0;
    if (!good)
        snprintf(error, 300, "cannot read joblog %s: %s", path, strerror(errno));
    if (file) {
        good = read_rows(d, file, path, end, error);
        fclose(file);
    }
    if (good)
        return d;
    run_done_free(d);
    return NULL;
}

void run_done_free(struct run_done *d)
{
    if (d == NULL)
        return;
    tdestroy(d->rows, free_entry);
    tdestroy(d->commands, free_entry);
    free(d->records);
    free(d);
}

/* ---- Looking up ---- */

static bool use(struct run_done *d, const struct found *e)
{
    for (size_t i = 0; e && i < e->n; i++) {
        struct record *record = &d->records[e->records[i]];
        if (!record->used && (record->succeeded || !d->wants_success)) {
            record->used = true;
            return true;
        }
    }
    return false;
}

static bool take_in_slot(struct run_done *d, const struct run_row *row, size_t slot)
{
    char number[30];

    snprintf(number, sizeof number, "%zu", slot);
    char *command = run_template_expand(d->template, row, ANY_SEQUENCE, number);
    bool done = use(d, find(&d->commands, command));
    free(command);
    return done;
}

bool run_done_take(struct run_done *d, const struct run_row *row)
{
    size_t slots = run_template_has_slot(d->template) ? d->slots : 1;

    for (size_t slot = 1; slot <= slots; slot++)
        if (take_in_slot(d, row, slot))
            return true;
    return false;
}
