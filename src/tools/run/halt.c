/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "tools/run/halt.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* The short forms of former days. */
static const struct {
    const char *is, *means;
} short_forms[] = {{"0", "never"}, {"1", "soon,fail=1"}, {"2", "now,fail=1"}, {"-1", "soon,success=1"}, {"-2", "now,success=1"}};

static const char *const whens[] = {[RUN_NEVER] = "never", [RUN_SOON] = "soon,", [RUN_NOW] = "now,"};
static const char *const ofs[] = {[RUN_FAIL] = "fail=", [RUN_SUCCESS] = "success=", [RUN_DONE] = "done="};

/* Which word the text begins with; it then points behind it. -1: none. */
static int read_word(const char **text, const char *const words[], int n)
{
    for (int i = 0; i < n; i++)
        if (strncmp(*text, words[i], strlen(words[i])) == 0) {
            *text += strlen(words[i]);
            return i;
        }
    return -1;
}

bool run_halt_parse(const char *text, struct run_halt *halt)
{
    struct run_halt read = {0};
    char *end, longer[40];
    size_t digits = strspn(text, "0123456789");

    if (digits && strcmp(text + digits, "%") == 0 && digits < 20) {
        snprintf(longer, sizeof longer, "soon,fail=%s", text);
        text = longer;
    }
    for (size_t i = 0; i < sizeof short_forms / sizeof *short_forms; i++)
        if (strcmp(text, short_forms[i].is) == 0)
            text = short_forms[i].means;
    int when = read_word(&text, whens, 3);
    if (when == RUN_NEVER && *text == 0) {
        *halt = read;
        return true;
    }
    int of = when > RUN_NEVER ? read_word(&text, ofs, 3) : -1;
    if (of < 0 || !isdigit((unsigned char)*text))
        return false;
    read = (struct run_halt){.when = (enum run_when)when, .of = (enum run_of)of, .number = strtod(text, &end)};
    read.percent = strcmp(end, "%") == 0;
    if ((*end && !read.percent) || strspn(text, "0123456789") != (size_t)(end - text))
        return false;
    *halt = read;
    return true;
}

bool run_halt_is_due(const struct run_halt *halt, const struct run_counts *counts)
{
    size_t n = halt->of == RUN_FAIL ? counts->failed : halt->of == RUN_DONE ? counts->done : counts->done - counts->failed;

    if (halt->when == RUN_NEVER || n == 0 || (halt->percent && counts->total == 0))
        return false;
    return (double)n >= (halt->percent ? halt->number / 100 * (double)counts->total : halt->number);
}

int run_halt_status(const struct run_halt *halt, const struct run_counts *counts, int status)
{
    if (halt->of == RUN_SUCCESS)
        return 0;
    if (halt->percent)
        return (int)ceil(100 * (double)counts->failed / (double)counts->total);
    if (halt->number == 1)
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return counts->failed > 100 ? 101 : (int)counts->failed;
}
