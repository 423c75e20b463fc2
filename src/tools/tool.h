/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What the programs have in common: the way through main, options, standard output. A program is a struct tool, some map-reduces, and
 * a function that calls them on the root.
 *
 * All ranks read the same arguments; only the root says what is wrong with them, or prints help.
 */
#ifndef PMAP_TOOLS_TOOL_H
#define PMAP_TOOLS_TOOL_H

#include <pmap_mapreduce.h>

#include <stdio.h>

enum tool_kind {
    TOOL_FLAG,  /* bool: true if it is given */
    TOOL_TEXT,  /* const char * */
    TOOL_COUNT, /* size_t, from low to high */
    TOOL_SIZE,  /* size_t, not 0: bytes, or with K, M, G or T behind 1024 times as many, and so on */
    TOOL_REAL   /* double, from low to high */
};

struct tool_option {
    const char *name; /* without the dashes */
    char letter;      /* 0: it has no short form */
    enum tool_kind kind;
    void *to;         /* what it sets; the default is what is there before */
    const char *value; /* what help calls the value */
    const char *help;
    double low, high;
};

struct tool {
    const char *name;
    const char *usage; /* behind the name: "[OPTION]… FILE…" */
    const char *about; /* a sentence or two for help */
    const struct tool_option *options; /* of its own; a row without a name ends them */
    size_t operands;   /* it must have so many at least */
    const char *(*check)(size_t operands); /* NULL, or what is wrong with options that are well by themselves; may be NULL */
    int (*run)(struct pmap_pool *pool, const char *const operands[]); /* on the root; the exit status. operands ends with NULL */
    int failure;       /* the exit status of what fails */
};

/* All of main. The exit status: that of run; 2: bad usage. */
int tool_main(const struct tool *tool, int argc, char *argv[]);

/* Run a map-reduce with what the user said about output, memory and so on; what is in o goes before that. Without .deliver and .keep
 * the output goes to --output, or as text to standard output. False: it failed, and that was said. */
bool tool_mapreduce(struct pmap_pool *pool, struct pmap_mapreduce *what, struct pmap_mapreduce_options o);

/* Say on stderr what is wrong, behind the name of the program; return its failure. */
__attribute__((format(printf, 1, 2))) int tool_fail(const char *format, ...);

bool tool_verbose(void);

/* For text that the root makes itself: a stream to --output, or standard output; NULL: it cannot be written, and that was said. A file
 * comes to its name when the stream is closed, if all went well; else a former file stays. False: it did not, and that was said. */
FILE *tool_text_open(void);
bool tool_text_close(FILE *text, bool well);

/* The files that paths stand for, directories replaced by the files in them as PMAP_FILES does, so that the number of a file as
 * pmap_emitter_source tells it is its place in the list. Ends with NULL, malloc'ed, as each path is. NULL: there is none, and that was
 * said. */
char **tool_files(const char *const paths[]);
void tool_files_free(char **files); /* NULL is fine */

#endif
