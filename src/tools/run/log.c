/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "tools/run/log.h"

#include "tools/run/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_for_rows(const char *path, int how, long long end)
{
    static const char names[] = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | how, 0666);
    struct stat s = {0};

    if (file < 0)
        return -1;
    if ((end >= 0 && fstat(file, &s) == 0 && S_ISREG(s.st_mode) && s.st_size > end && ftruncate(file, end) < 0) ||
        fstat(file, &s) < 0 || (s.st_size == 0 && !run_write(file, names, sizeof names - 1))) {
        int reason = errno;
        close(file);
        errno = reason;
        return -1;
    }
    return file;
}

int run_log_open(const char *path, bool anew)
{
    return open_for_rows(path, anew ? O_TRUNC : 0, -1);
}

int run_log_open_at(const char *path, long long end)
{
    return open_for_rows(path, 0, end);
}

bool run_log_write(int log, const struct run_log_row *row)
{
    struct run_text line = {0};
    char columns[300];

    snprintf(columns, sizeof columns, "%zu\t%s\t%.3f\t%10.3f\t0\t%zu\t%d\t%d\t", row->sequence, row->host, row->begin, row->seconds,
             row->received, row->exit, row->signal);
    run_text_puts(&line, columns);
    size_t begin = line.n;
    run_text_puts(&line, row->command);
    for (size_t i = begin; i < line.n; i++)
        if (line.data[i] == '\n')
            line.data[i] = 0;
    run_text_add(&line, "\n", 1);
    bool written = run_write(log, line.data, line.n);
    free(line.data);
    return written;
}
