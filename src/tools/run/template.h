/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A command with replacement strings, and what becomes of it for a row of arguments:
 *
 *     {}  {.}  {/}  {//}  {/.}         every argument: as it is, without extension, base name, directory, base name without extension
 *     {2} {2.} {2/} {2//} {2/.} {-1}   one of them, counted from 1, or from the end; nothing if there are fewer
 *     {#} {%}                          the number of the job, and of its slot
 *
 * Anything else between braces stays. Arguments are quoted for the shell, in the very way of GNU parallel, whose joblogs have such lines.
 */
#ifndef PMAP_TOOLS_RUN_TEMPLATE_H
#define PMAP_TOOLS_RUN_TEMPLATE_H

#include "tools/run/text.h"

#include <stdbool.h>
#include <stddef.h>

struct run_row {
    char **columns; /* n strings, each from malloc, as is the array */
    size_t n;
};

void run_row_add(struct run_row *row, const char *text, size_t n);
void run_row_free(struct run_row *row);

enum run_quoting {
    RUN_QUOTE_NOTHING,   /* the arguments are commands, or parts of file names */
    RUN_QUOTE_ARGUMENTS, /* the words of the command are for the shell to read, arguments are not; but where the command begins with a
                          * replacement string arguments are commands, too */
    RUN_QUOTE_WORDS      /* each word of the command is one word for the shell, whatever is in it */
};

struct run_template;

/* A command of n words; without a replacement string in them, {} is one more. The words are borrowed. NULL: one of them has {= =}, which is
 * Perl in GNU parallel. */
struct run_template *run_template_create(const char *const words[], size_t n, enum run_quoting quoting);

/* One text that may be without replacement strings. Likewise. */
struct run_template *run_template_create_text(const char *text);
void run_template_destroy(struct run_template *template); /* NULL is fine */

/* How many {#} there are; whether there is any {%}, or anything. */
size_t run_template_sequences(const struct run_template *template);
bool run_template_has_slot(const struct run_template *template);
bool run_template_is_plain(const struct run_template *template);

/* The command, for free(). */
char *run_template_expand(const struct run_template *template, const struct run_row *row, const char *sequence, const char *slot);

/* Add a string as one word for the shell. */
void run_quote(struct run_text *out, const char *string);

#endif
