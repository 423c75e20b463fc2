/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "tools/run/shell.h"

#include "tools/run/text.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_shell(const char *path)
{
    static const char *const names[] = {"sh", "bash", "dash", "ash", "ksh", "ksh93", "mksh", "zsh"};
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static long parent_of(long pid)
{
    char name[64], text[512];
    long parent = 0;

    snprintf(name, sizeof name, "/proc/%ld/stat", pid);
    FILE *file = fopen(name, "re");
    if (file == NULL)
        return 0;
    size_t n = fread(text, 1, sizeof text - 1, file);
    text[n] = 0;
    fclose(file);
    char *behind = strrchr(text, ')'); /* the name of the program may have anything in it */
    return behind && sscanf(behind + 1, " %*c %ld", &parent) == 1 ? parent : 0;
}

static char *shell_above(void)
{
    char name[64], path[PATH_MAX];

    for (long pid = getppid(); pid > 1; pid = parent_of(pid)) {
        snprintf(name, sizeof name, "/proc/%ld/exe", pid);
        ssize_t n = readlink(name, path, sizeof path - 1);
        path[n > 0 ? n : 0] = 0;
        if (is_shell(path))
            return run_copy(path);
    }
    return NULL;
}

char *run_shell(void)
{
    const char *chosen = getenv("PARALLEL_SHELL"), *own = getenv("SHELL");
    char *above = chosen && *chosen ? NULL : shell_above();

    if (above)
        return above;
    if (chosen && *chosen)
        return run_copy(chosen);
    return run_copy(own && is_shell(own) ? own : "/bin/sh");
}
