/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Where arguments come from: lists on the command line (:::), files (::::, --arg-file), standard input; and how sources become rows.
 * Sources that are linked (:::+) give one row together, as long as each has a value; other sources give all combinations, the last
 * changing fastest. The first of them, or the only one, is read as rows are asked for, so it need not end. The others are kept.
 */
#ifndef PMAP_TOOLS_RUN_INPUTS_H
#define PMAP_TOOLS_RUN_INPUTS_H

#include "tools/run/template.h"

struct run_source {
    const char *path;          /* a file, - for standard input; NULL: values */
    const char *const *values; /* n of them; borrowed, as the path is */
    size_t n;
    bool linked; /* to the source before */
};

struct run_reading {
    char delimiter;         /* ends a value of a file */
    const char *columns;    /* an extended regular expression that splits values into columns; NULL: they have one */
    bool trim;              /* columns lose blanks at both ends */
    bool link_all;          /* all sources are linked; those that end early begin again */
    bool skip_first_line;   /* of the first file */
    bool skip_blank;        /* values without anything but blanks are none */
    int stop;               /* a descriptor: when it can be read there are no more rows, though a file may give some */
};

struct run_inputs;

/* NULL: a file cannot be opened, or the expression makes no sense, as the text says. */
struct run_inputs *run_inputs_open(const struct run_source sources[], size_t n, const struct run_reading *reading, char error[300]);
void run_inputs_close(struct run_inputs *inputs); /* NULL is fine */

/* The next row, for run_row_free. False: there are no more. May wait for a file. */
bool run_inputs_next(struct run_inputs *inputs, struct run_row *row);

/* What went wrong with a file, or NULL. There are no more rows then. */
const char *run_inputs_error(const struct run_inputs *inputs);

#endif
