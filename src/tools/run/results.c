/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "tools/run/results.h"

#include "tools/run/show.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct run_results {
    char *name;
    struct run_template *template;
};

/* ---- Names ---- */

/* An argument as the name of a directory. */
static void add_argument(struct run_text *path, const char *argument)
{
    size_t begin = path->n;

    for (; *argument; argument++)
        switch (*argument) {
        case '\\': run_text_puts(path, "\\\\"); break;
        case '\t': run_text_puts(path, "\\t"); break;
        case '/': run_text_puts(path, "\\_"); break;
        default: run_text_add(path, argument, 1);
        }
    if (path->n - begin > NAME_MAX)
        path->data[path->n = begin + NAME_MAX] = 0;
}

/* What all three names of a job begin with; *directory: they are in a directory of their own. */
static char *prefix_of(struct run_results *r, const struct run_row *row, size_t sequence, size_t slot, bool *directory)
{
    char numbers[2][30], column[30];
    struct run_text path = {0};

    if (!run_template_is_plain(r->template)) {
        snprintf(numbers[0], sizeof numbers[0], "%zu", sequence);
        snprintf(numbers[1], sizeof numbers[1], "%zu", slot);
        char *prefix = run_template_expand(r->template, row, numbers[0], numbers[1]);
        *directory = *prefix && prefix[strlen(prefix) - 1] == '/';
        return prefix;
    }
    *directory = true;
    run_text_puts(&path, r->name);
    for (size_t i = 0; i < row->n; i++) {
        snprintf(column, sizeof column, "/%zu/", i + 1);
        run_text_puts(&path, column);
        add_argument(&path, row->columns[i]);
    }
    run_text_puts(&path, "/");
    return run_text_take(&path);
}

enum { OUT, ERR, SEQ };

static char *name_of(const char *prefix, bool directory, int which)
{
    static const char *const inside[] = {"stdout", "stderr", "seq"}, *const behind[] = {"", ".err", ".seq"};
    struct run_text name = {0};

    run_text_puts(&name, prefix);
    run_text_puts(&name, directory ? inside[which] : behind[which]);
    return run_text_take(&name);
}

/* All directories that the path goes through. */
static bool make_directories(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        bool made = mkdir(path, 0777) == 0 || errno == EEXIST || errno == EISDIR;
        *slash = '/';
        if (!made)
            return false;
    }
    return true;
}

/* ---- Files ---- */

static bool write_output(const char *name, const struct run_outcome *outcome, int which)
{
    int file = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

    if (file < 0)
        return false;
    bool written = run_outcome_copy(outcome, which, file, NULL);
    int reason = errno;
    if (close(file) == 0)
        errno = reason;
    else
        written = false;
    return written;
}

static bool write_number(const char *name, size_t sequence)
{
    FILE *file = fopen(name, "we");

    if (file == NULL)
        return false;
    bool written = fprintf(file, "%zu", sequence) > 0;
    return fclose(file) == 0 && written;
}

static bool write_whole_output(const char *name, const struct run_outcome *outcome)
{
    struct run_text other = {0};

    run_text_puts(&other, name);
    run_text_puts(&other, ".new");
    bool written = write_output(other.data, outcome, OUT) && rename(other.data, name) == 0;
    free(other.data);
    return written;
}

bool run_results_save(struct run_results *r, const struct run_row *row, size_t sequence, size_t slot,
                      const struct run_outcome *outcome, char error[300])
{
    bool directory;
    char *prefix = prefix_of(r, row, sequence, slot, &directory);
    char *names[] = {name_of(prefix, directory, OUT), name_of(prefix, directory, ERR), name_of(prefix, directory, SEQ)};

    bool saved = make_directories(names[OUT]) && write_number(names[SEQ], sequence) && write_output(names[ERR], outcome, ERR) &&
                 write_whole_output(names[OUT], outcome);
    if (!saved)
        snprintf(error, 300, "cannot write results %.200s: %s", prefix, strerror(errno));
    for (int i = 0; i < 3; i++)
        free(names[i]);
    free(prefix);
    return saved;
}

bool run_results_has(struct run_results *r, const struct run_row *row, size_t sequence, size_t slot)
{
    bool directory;
    char *prefix = prefix_of(r, row, sequence, slot, &directory), *name = name_of(prefix, directory, OUT);
    bool has = access(name, F_OK) == 0;

    free(name);
    free(prefix);
    return has;
}

struct run_results *run_results_create(const char *name)
{
    struct run_results *r = run_resize(NULL, 1, sizeof *r);

    *r = (struct run_results){.name = run_copy(name)};
    r->template = run_template_create_text(r->name);
    if (r->template)
        return r;
    run_results_destroy(r);
    return NULL;
}

void run_results_destroy(struct run_results *r)
{
    if (r == NULL)
        return;
    run_template_destroy(r->template);
    free(r->name);
    free(r);
}
