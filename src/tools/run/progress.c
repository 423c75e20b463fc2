/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "tools/run/progress.h"

#include "tools/run/bell.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* 59s, 12m03s, 3h20m, 5d04h */
static void print_time(char *text, size_t size, double seconds)
{
    size_t s = seconds > 1e9 ? (size_t)1e9 : (size_t)(seconds + 0.5);

    if (s < 60)
        snprintf(text, size, "%zus", s);
    else if (s < 3600)
        snprintf(text, size, "%zum%02zus", s / 60, s % 60);
    else if (s < 86400)
        snprintf(text, size, "%zuh%02zum", s / 3600, s / 60 % 60);
    else
        snprintf(text, size, "%zud%02zuh", s / 86400, s / 3600 % 24);
}

/* What is left takes as long, for each, as what was done here. */
static void print_left(char *text, size_t size, const struct run_progress *p, const struct run_counts *c, double seconds)
{
    char left[30];
    size_t here = c->done - p->at_first;

    text[0] = 0;
    if (c->total && here && c->done < c->total) {
        print_time(left, sizeof left, seconds / (double)here * (double)(c->total - c->done));
        snprintf(text, size, "  %s left", left);
    } else if (c->total && c->done == c->total) {
        print_time(left, sizeof left, seconds);
        snprintf(text, size, "  took %s", left);
    }
}

static void print_bar(char *text, size_t size, size_t done, size_t total, int cells)
{
    size_t full = total ? (size_t)((double)done / (double)total * cells) : 0, n = (size_t)cells;

    if (n + 4 > size)
        n = size - 4;
    text[0] = '[';
    memset(text + 1, '.', n);
    memset(text + 1, '#', full < n ? full : n);
    snprintf(text + 1 + n, 3, "] ");
}

void run_progress_line(char *line, size_t size, const struct run_progress *p, const struct run_counts *c, size_t running,
                       double seconds, int width)
{
    char left[50], total[40] = "", failed[40] = "", text[300], bar[210] = "";

    print_left(left, sizeof left, p, c, seconds);
    if (c->total)
        snprintf(total, sizeof total, "/%zu (%d%%)", c->total, (int)(100.0 * (double)c->done / (double)c->total));
    if (c->failed)
        snprintf(failed, sizeof failed, "  %zu failed", c->failed);
    snprintf(text, sizeof text, "%zu%s done  %zu running%s%s", c->done, total, running, failed, left);
    int cells = width - (int)strlen(text) - 4;
    if (p->bar && c->total && cells >= 10)
        print_bar(bar, sizeof bar, c->done, c->total, cells < 40 ? cells : 40);
    int n = snprintf(line, size, "%s%s", bar, text);
    if (n >= width && width > 0 && (size_t)width < size)
        line[width - 1] = 0; /* the last column stays free: some terminals break the line there */
}

void run_progress_begin(struct run_progress *p, bool bar, bool eta)
{
    *p = (struct run_progress){.bar = bar, .eta = eta, .terminal = isatty(2), .began = run_now()};
    p->next = p->began + (p->terminal ? 0 : 30);
}

static int width_of_terminal(void)
{
    struct winsize w = {0};
    return ioctl(2, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}

void run_progress_update(struct run_progress *p, const struct run_counts *counts, size_t running, bool at_the_end)
{
    char line[600];
    double now = run_now();

    if ((!p->bar && !p->eta) || (!at_the_end && now < p->next))
        return;
    p->next = now + (p->terminal ? 0.1 : 30);
    run_progress_line(line, sizeof line, p, counts, running, now - p->began, p->terminal ? width_of_terminal() : 120);
    if (p->terminal)
        fprintf(stderr, "\r\033[K%s%s", line, at_the_end ? "\n" : "");
    else
        fprintf(stderr, "pmap-run: %s\n", line);
    fflush(stderr);
    p->drawn = p->terminal && !at_the_end;
}

void run_progress_clear(struct run_progress *p)
{
    if (!p->drawn)
        return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    p->drawn = false;
}
