/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "observe/report.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/screen.h"
#include "engine/view.h"
#include "observe/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROOM ((size_t)4096)          /* chunks and threads that a report tells of */
#define PATIENCE (1 * PMAP__S)       /* a loop that is well comes within milliseconds */

/* How long ago, as the clock of base/clock.h says. */
static char *ago(char *text, uint64_t since)
{
    uint64_t now = pmap__now();
    return pmap__word_time(text, 1e-9 * (double)(now > since ? now - since : 0));
}

static void print_pool(FILE *out, const struct pmap__shown *pool)
{
    struct pmap__view view;
    char word[PMAP__WORD];

    pmap__view_look(pool->tenant, &view);
    unsigned long long open = view.calls - view.over, done = view.now.done, all = view.now.all + view.to_come;
    if (open == 0) {
        fprintf(out, "  no call is under way, %llu %s over\n", (unsigned long long)view.over, view.over == 1 ? "is" : "are");
        return;
    }
    fprintf(out, "  %llu call%s under way, %s for %s: %llu", open, open == 1 ? "" : "s", view.what, ago(word, view.since), done);
    if (!view.endless)
        fprintf(out, " of %llu", all);
    fprintf(out, " items done");
    if (view.now.failed)
        fprintf(out, ", %llu failed", (unsigned long long)view.now.failed);
    fprintf(out, "\n");
}

static void print_items(FILE *out, const struct pmap__held *held)
{
    char word[PMAP__WORD];

    if (held->thread < 0)
        fprintf(out, "    chunk: ");
    else if (held->process)
        fprintf(out, "    thread %d, in process %d: ", held->thread, held->process);
    else
        fprintf(out, "    thread %d: ", held->thread);
    fprintf(out, "%s, item%s %zu", held->task->name, held->n == 1 ? "" : "s", held->first);
    if (held->scattered)
        fprintf(out, " and %zu others", held->n - 1);
    else if (held->n > 1)
        fprintf(out, "-%zu", held->first + held->n - 1);
    fprintf(out, ", for %s\n", ago(word, held->since));
}

/* Its threads. */
static int print_rank(FILE *out, const struct pmap__root *root, int rank)
{
    struct pmap__view_rank r;

    pmap__view_rank(root, rank, &r);
    fprintf(out, "  rank %d", rank);
    if (r.host[0])
        fprintf(out, " on %s", r.host);
    if (r.pid)
        fprintf(out, ", process %d", r.pid);
    if (pmap__view_is_root(root, rank))
        fprintf(out, ", the root");
    if (r.dead)
        fprintf(out, ": dead\n");
    else if (r.threads == 0)
        fprintf(out, ": runs no items\n");
    else
        fprintf(out, ": %d of %d thread%s busy, %llu items so far\n", r.busy, r.threads, r.threads == 1 ? "" : "s",
                (unsigned long long)r.items);
    return r.threads;
}

/* What a rank holds. A chunk keeps a thread busy, or several: so it does not run more of them than it has threads, and it begins with those that it
 * got first, but for single items, which may overtake. */
static void print_rank_holds(FILE *out, const struct pmap__held held[], size_t n, int threads)
{
    size_t most = threads > 0 ? (size_t)threads : 1, told = held[0].thread >= 0 || n < most ? n : most, rest = n - told;

    for (size_t i = 0; i < told; i++)
        print_items(out, &held[i]);
    if (rest)
        fprintf(out, "    and %zu chunk%s that wait%s\n", rest, rest == 1 ? "" : "s", rest == 1 ? "s" : "");
}

static void print_root(FILE *out, struct pmap__root *root)
{
    struct pmap__held *held = calloc(ROOM, sizeof *held);
    size_t n = 0, at = 0;
    bool answered = pmap__view_held(root, held, held ? ROOM : 0, &n, PATIENCE);
    size_t told = held == NULL ? 0 : n < ROOM ? n : ROOM;

    for (int rank = 0; rank < pmap__view_ranks(root); rank++) {
        int threads = print_rank(out, root, rank);
        size_t from = at;
        while (at < told && held[at].rank == rank)
            at++;
        if (at > from)
            print_rank_holds(out, held + from, at - from, threads);
    }
    if (told < n)
        fprintf(out, "  … and %zu chunks more\n", n - told);
    if (!answered)
        fprintf(out, "  what other ranks hold is not known: the root's loop does not answer, for it is in a callback, or waits for a rank, "
                     "or is stepped by the program, which computes\n");
    free(held);
}

static bool is_told(const struct pmap__shown *first, const struct pmap__shown *pool)
{
    for (; first != pool; first = first->next)
        if (first->tenant->root == pool->tenant->root)
            return true;
    return false;
}

static void print(FILE *out, const void *what)
{
    const struct pmap__shown *pools = what;
    char stamp[64] = "";
    time_t now = time(NULL);
    struct tm local;

    if (localtime_r(&now, &local))
        strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", &local);
    fprintf(out, "pmap: report of %s\n", stamp);
    for (const struct pmap__shown *pool = pools; pool; pool = pool->next) {
        if (is_told(pools, pool))
            continue;
        for (const struct pmap__shown *p = pool; p; p = p->next)
            if (p->tenant->root == pool->tenant->root)
                print_pool(out, p);
        print_root(out, pool->tenant->root);
    }
}

void pmap__report_print(const struct pmap__shown *pools)
{
    if (!pmap__screen_print(print, pools))
        pmap__warn("no memory for a report");
}
