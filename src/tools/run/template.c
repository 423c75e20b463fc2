/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "tools/run/template.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum kind { LITERAL, ARGUMENT, SEQUENCE, SLOT, WORD_END };

struct part;

struct piece {
    enum kind kind;
    const char *text; /* of a literal: n bytes of the command */
    size_t n;
    long position; /* of an argument: from 1, or from the end below 0; 0: all of them */
    const struct part *part;
};

struct run_template {
    struct piece *pieces;
    size_t n;
    enum run_quoting quoting;
};

/* ---- Rows ---- */

void run_row_add(struct run_row *row, const char *text, size_t n)
{
    struct run_text copy = {0};

    run_text_add(&copy, text, n);
    row->columns = run_resize(row->columns, row->n + 1, sizeof *row->columns);
    row->columns[row->n++] = run_text_take(&copy);
}

void run_row_free(struct run_row *row)
{
    for (size_t i = 0; i < row->n; i++)
        free(row->columns[i]);
    free(row->columns);
    *row = (struct run_row){0};
}

/* ---- Quoting ---- */

static bool is_safe(unsigned char c)
{
    return (c < 128 && isalnum(c)) || (c && strchr("-_.+/", c));
}

/* Between single quotes, a single quote itself between double ones; an empty pair of quotes at either end is left out. */
void run_quote(struct run_text *out, const char *string)
{
    const char *at = string;

    while (is_safe((unsigned char)*at))
        at++;
    if (*string && *at == 0) {
        run_text_puts(out, string);
        return;
    }
    struct run_text quoted = {0};
    run_text_puts(&quoted, "'");
    for (at = string; *at; at++)
        if (*at == '\'')
            run_text_puts(&quoted, "'\"'\"'");
        else
            run_text_add(&quoted, at, 1);
    run_text_puts(&quoted, "'");
    const char *begin = quoted.data, *end = begin + quoted.n;
    if (*string && memcmp(begin, "''", 2) == 0)
        begin += 2;
    if (*string && end - begin >= 2 && memcmp(end - 2, "''", 2) == 0)
        end -= 2;
    run_text_add(out, begin, (size_t)(end - begin));
    free(quoted.data);
}

/* ---- Parts of an argument ---- */

struct part {
    const char *name; /* what stands between the braces */
    void (*add)(struct run_text *out, const char *argument);
};

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void add_all(struct run_text *out, const char *argument)
{
    run_text_puts(out, argument);
}

static void add_base(struct run_text *out, const char *argument)
{
    run_text_puts(out, base_of(argument));
}

/* What is behind the last dot of a base name goes; so does all of ".hidden". */
static void add_stem(struct run_text *out, const char *argument)
{
    const char *dot = strrchr(base_of(argument), '.');
    run_text_add(out, argument, dot ? (size_t)(dot - argument) : strlen(argument));
}

static void add_stem_of_base(struct run_text *out, const char *argument)
{
    add_stem(out, base_of(argument));
}

/* As dirname(1). */
static void add_directory(struct run_text *out, const char *argument)
{
    size_t n = strlen(argument);

    while (n > 1 && argument[n - 1] == '/')
        n--;
    while (n > 0 && argument[n - 1] != '/')
        n--;
    while (n > 1 && argument[n - 1] == '/')
        n--;
    if (n)
        run_text_add(out, argument, n);
    else
        run_text_puts(out, ".");
}

static const struct part parts[] = {
    {"}", add_all}, {".}", add_stem}, {"/}", add_base}, {"//}", add_directory}, {"/.}", add_stem_of_base},
};

/* ---- Reading ---- */

static void add_piece(struct run_template *t, struct piece piece)
{
    t->pieces = run_resize(t->pieces, t->n + 1, sizeof *t->pieces);
    t->pieces[t->n++] = piece;
}

/* The replacement string that begins here; how long it is. 0: there is none. */
static size_t read_replacement(const char *at, struct piece *piece)
{
    char *behind;

    *piece = (struct piece){.kind = ARGUMENT};
    if (strncmp(at, "{#}", 3) == 0 || strncmp(at, "{%}", 3) == 0) {
        piece->kind = at[1] == '#' ? SEQUENCE : SLOT;
        return 3;
    }
    behind = (char *)(at + 1);
    if (isdigit((unsigned char)at[1]) || (at[1] == '-' && isdigit((unsigned char)at[2])))
        piece->position = strtol(at + 1, &behind, 10);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strncmp(behind, parts[i].name, strlen(parts[i].name)) == 0) {
            piece->part = &parts[i];
            return (size_t)(behind - at) + strlen(parts[i].name);
        }
    return 0;
}

/* {= … =} may go over several words. */
static bool has_perl(const char *const words[], size_t n)
{
    bool begun = false;

    for (size_t i = 0; i < n; i++) {
        const char *begin = strstr(words[i], "{=");
        if (begun ? strstr(words[i], "=}") != NULL : begin && strstr(begin + 2, "=}"))
            return true;
        begun |= begin != NULL;
    }
    return false;
}

static void read_word(struct run_template *t, const char *word)
{
    const char *literal = word, *at = word;
    struct piece piece;
    size_t n;

    while ((at = strchr(at, '{'))) {
        if ((n = read_replacement(at, &piece)) == 0) {
            at++;
            continue;
        }
        if (at > literal)
            add_piece(t, (struct piece){.kind = LITERAL, .text = literal, .n = (size_t)(at - literal)});
        add_piece(t, piece);
        literal = at += n;
    }
    if (*literal)
        add_piece(t, (struct piece){.kind = LITERAL, .text = literal, .n = strlen(literal)});
    add_piece(t, (struct piece){.kind = WORD_END});
}

bool run_template_is_plain(const struct run_template *t)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->pieces[i].kind != LITERAL && t->pieces[i].kind != WORD_END)
            return false;
    return true;
}

static struct run_template *create(const char *const words[], size_t n, enum run_quoting quoting)
{
    if (has_perl(words, n))
        return NULL;
    struct run_template *t = run_resize(NULL, 1, sizeof *t);
    *t = (struct run_template){.quoting = quoting};
    for (size_t i = 0; i < n; i++)
        read_word(t, words[i]);
    return t;
}

/* Is a replacement string the name of the program, or a part of it? Then arguments are commands, which quoting would spoil. */
static bool begins_with_argument(const struct run_template *t)
{
    for (size_t i = 0; i < t->n && t->pieces[i].kind != WORD_END; i++) {
        if (t->pieces[i].kind != LITERAL)
            return true;
        for (size_t k = 0; k < t->pieces[i].n; k++)
            if (strchr(" \t\n=", t->pieces[i].text[k]))
                return false;
    }
    return false;
}

struct run_template *run_template_create(const char *const words[], size_t n, enum run_quoting quoting)
{
    struct run_template *t = create(words, n, quoting);

    if (t && run_template_is_plain(t))
        read_word(t, "{}");
    if (t && quoting == RUN_QUOTE_ARGUMENTS && begins_with_argument(t))
        t->quoting = RUN_QUOTE_NOTHING;
    return t;
}

struct run_template *run_template_create_text(const char *text)
{
    return create(&text, 1, RUN_QUOTE_NOTHING);
}

void run_template_destroy(struct run_template *t)
{
    if (t)
        free(t->pieces);
    free(t);
}

static size_t count(const struct run_template *t, enum kind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < t->n; i++)
        n += t->pieces[i].kind == kind;
    return n;
}

size_t run_template_sequences(const struct run_template *t)
{
    return count(t, SEQUENCE);
}

bool run_template_has_slot(const struct run_template *t)
{
    return count(t, SLOT) > 0;
}

/* ---- Expanding ---- */

/* What is written, and the word that is not yet, for it may have to be quoted as a whole. */
struct expansion {
    struct run_text out, word;
    bool words;   /* quote them */
    size_t ended; /* words that are written */
};

static void end_word(struct expansion *e)
{
    if (e->ended++)
        run_text_puts(&e->out, " ");
    char *word = run_text_take(&e->word);
    if (e->words)
        run_quote(&e->out, word);
    else
        run_text_puts(&e->out, word);
    free(word);
}

static void add_argument(struct expansion *e, const struct run_template *t, const struct piece *piece, const char *argument)
{
    struct run_text part = {0};

    piece->part->add(&part, argument);
    char *text = run_text_take(&part);
    if (t->quoting == RUN_QUOTE_ARGUMENTS)
        run_quote(&e->word, text);
    else
        run_text_puts(&e->word, text);
    free(text);
}

/* All arguments are words of their own, but for what the first and the last stick to. */
static void add_arguments(struct expansion *e, const struct run_template *t, const struct piece *piece, const struct run_row *row)
{
    for (size_t i = 0; i < row->n; i++) {
        if (i)
            end_word(e);
        add_argument(e, t, piece, row->columns[i]);
    }
}

static void add_positional(struct expansion *e, const struct run_template *t, const struct piece *piece, const struct run_row *row)
{
    long n = (long)row->n, at = piece->position > 0 ? piece->position - 1 : n + piece->position;

    if (at >= 0 && at < n)
        add_argument(e, t, piece, row->columns[at]);
}

char *run_template_expand(const struct run_template *t, const struct run_row *row, const char *sequence, const char *slot)
{
    struct expansion e = {.words = t->quoting == RUN_QUOTE_WORDS};

    for (size_t i = 0; i < t->n; i++) {
        const struct piece *piece = &t->pieces[i];
        switch (piece->kind) {
        case LITERAL: run_text_add(&e.word, piece->text, piece->n); break;
        case SEQUENCE: run_text_puts(&e.word, sequence); break;
        case SLOT: run_text_puts(&e.word, slot); break;
        case WORD_END: end_word(&e); break;
        case ARGUMENT:
            if (piece->position)
                add_positional(&e, t, piece, row);
            else
                add_arguments(&e, t, piece, row);
        }
    }
    free(e.word.data);
    return run_text_take(&e.out);
}
