/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "observe/terminal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_launched(void)
{
    return getenv("OMPI_COMM_WORLD_RANK") || getenv("PMIX_RANK") || getenv("PMI_RANK");
}

static int open_launchers(void)
{
    struct stat what;
    char path[64];

    if (!is_launched() || fstat(STDERR_FILENO, &what) != 0 || !(S_ISFIFO(what.st_mode) || S_ISSOCK(what.st_mode)))
        return -1;
    snprintf(path, sizeof path, "/proc/%ld/fd/2", (long)getppid());
    if (stat(path, &what) != 0 || !S_ISCHR(what.st_mode)) /* to open anything else might wait, or do something */
        return -1;
    int fd = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (fd >= 0 && isatty(fd))
        return fd;
    pmap__terminal_close(fd);
    return -1;
}

int pmap__terminal_open(void)
{
    return isatty(STDERR_FILENO) ? STDERR_FILENO : open_launchers();
}

void pmap__terminal_close(int fd)
{
    if (fd > STDERR_FILENO)
        close(fd);
}

bool pmap__terminal_is_ours(int fd)
{
    pid_t foreground = tcgetpgrp(fd); /* -1: it has none, or is no controlling terminal of ours: there is no telling */

    return foreground < 0 || foreground == getpgrp() || (fd > STDERR_FILENO && foreground == getpgid(getppid()));
}

static size_t columns_of(int fd)
{
    struct winsize size;
    const char *columns = getenv("COLUMNS");

    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    int n = columns ? atoi(columns) : 0;
    return n > 0 ? (size_t)n : 80;
}

static bool is_set(const char *name)
{
    const char *value = getenv(name);
    return value && *value;
}

/* What setlocale would say, which is the program's to call. */
static bool is_utf8(void)
{
    const char *locale = is_set("LC_ALL") ? getenv("LC_ALL") : is_set("LC_CTYPE") ? getenv("LC_CTYPE") : getenv("LANG");
    const char *codeset = locale ? strchr(locale, '.') : NULL;

    return codeset && (strncasecmp(codeset, ".utf-8", 6) == 0 || strncasecmp(codeset, ".utf8", 5) == 0);
}

void pmap__terminal_look(int fd, struct pmap__terminal *terminal)
{
    const char *term = getenv("TERM");
    bool dumb = term == NULL || *term == '\0' || strcmp(term, "dumb") == 0;

    *terminal = (struct pmap__terminal){.columns = columns_of(fd), .utf8 = is_utf8(), .dumb = dumb,
                                        .color = !dumb && !is_set("NO_COLOR")};
}
