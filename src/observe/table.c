/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "observe/table.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/screen.h"
#include "engine/view.h"
#include "observe/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double seconds(uint64_t ns)
{
    return 1e-9 * (double)ns;
}

/* ---- As data ---- */

static double share(double busy, int threads, double time)
{
    double all = threads * time;
    return all > 0 ? busy < all ? busy / all : 1 : 0;
}

static double age(const struct pmap__root *root)
{
    return seconds(pmap__now() - pmap__view_since(root));
}

static void fill_pool(const struct pmap__shown *pool, struct pmap_stats *s)
{
    struct pmap__view view;

    pmap__view_look(pool->tenant, &view);
    s->seconds = seconds(pmap__now() - pool->since);
    s->calls = view.calls;
    s->calls_over = view.over;
    s->items = view.sum.all;
    s->items_done = view.sum.done;
    s->items_failed = view.sum.failed;
    s->items_cancelled = view.sum.cancelled;
    s->items_recalled = view.sum.recalled;
    s->items_retried = view.sum.retried;
    s->items_lost = view.sum.lost;
}

static void fill_ranks(const struct pmap__root *root, struct pmap_stats *s)
{
    for (int rank = 0; rank < pmap__view_ranks(root); rank++) {
        struct pmap__view_rank r;
        pmap__view_rank(root, rank, &r);
        s->ranks += !r.dead;
        s->threads += r.threads;
        s->busy += r.busy;
        s->busy_seconds += seconds(r.busy_ns);
        s->chunks += r.chunks;
        s->bytes_sent += r.sent;
        s->bytes_received += r.received;
    }
    s->utilisation = share(s->busy_seconds, s->threads, age(root));
}

static void fill_times(const struct pmap__root *root, struct pmap_stats *s)
{
    struct pmap__durations durations;

    pmap__view_times(root, &durations);
    if (durations.total == 0)
        return;
    s->item_mean = s->busy_seconds / (double)durations.total;
    s->item_median = seconds(pmap__durations_percentile(&durations, 50));
    s->item_95 = seconds(pmap__durations_percentile(&durations, 95));
    s->item_max = seconds(durations.longest);
}

void pmap__table_fill(const struct pmap__shown *pool, struct pmap_stats *stats)
{
    memset(stats, 0, sizeof *stats);
    fill_pool(pool, stats);
    fill_ranks(pool->tenant->root, stats);
    fill_times(pool->tenant->root, stats);
}

bool pmap__table_fill_rank(const struct pmap__shown *pool, int rank, struct pmap_rank_stats *stats)
{
    const struct pmap__root *root = pool->tenant->root;
    struct pmap__view_rank r;

    if (rank < 0 || rank >= pmap__view_ranks(root))
        return false;
    pmap__view_rank(root, rank, &r);
    *stats = (struct pmap_rank_stats){.rank = rank, .threads = r.threads, .busy = r.busy, .dead = r.dead,
                                      .root = pmap__view_is_root(root, rank), .pid = r.pid, .items = r.items, .chunks = r.chunks,
                                      .bytes_sent = r.sent, .bytes_received = r.received, .busy_seconds = seconds(r.busy_ns),
                                      .utilisation = share(seconds(r.busy_ns), r.threads, age(root))};
    memcpy(stats->host, r.host, sizeof stats->host);
    return true;
}

/* ---- For people ---- */

static void print_items(FILE *out, const struct pmap_stats *s)
{
    static const struct {
        const char *what;
        size_t at;
    } parts[] = {{"failed", offsetof(struct pmap_stats, items_failed)}, {"not run", offsetof(struct pmap_stats, items_cancelled)},
                 {"from the journal", offsetof(struct pmap_stats, items_recalled)},
                 {"runs again", offsetof(struct pmap_stats, items_retried)}, {"lost with ranks", offsetof(struct pmap_stats, items_lost)}};

    fprintf(out, "  %llu call%s, %llu item%s", (unsigned long long)s->calls, s->calls == 1 ? "" : "s", (unsigned long long)s->items_done,
            s->items_done == 1 ? "" : "s");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        uint64_t n;
        memcpy(&n, (const char *)s + parts[i].at, sizeof n);
        if (n)
            fprintf(out, ", %llu %s", (unsigned long long)n, parts[i].what);
    }
    fprintf(out, "\n");
}

static void print_times(FILE *out, const struct pmap_stats *s)
{
    char a[PMAP__WORD], b[PMAP__WORD], c[PMAP__WORD], d[PMAP__WORD];

    if (s->item_max > 0)
        fprintf(out, "  an item: mean %s, median %s, 95%% up to %s, longest %s\n", pmap__word_time(a, s->item_mean),
                pmap__word_time(b, s->item_median), pmap__word_time(c, s->item_95), pmap__word_time(d, s->item_max));
}

static void print_rank(FILE *out, const struct pmap_rank_stats *r)
{
    char busy[PMAP__WORD], sent[PMAP__WORD] = "-", received[PMAP__WORD] = "-", chunks[PMAP__WORD] = "-";

    if (!r->root) {
        pmap__word_bytes(sent, (double)r->bytes_sent);
        pmap__word_bytes(received, (double)r->bytes_received);
        snprintf(chunks, sizeof chunks, "%llu", (unsigned long long)r->chunks);
    }
    fprintf(out, "  %4d  %-16.16s %7d  %10s %3.0f%%  %12llu %8s  %10s  %10s%s\n", r->rank, r->host, r->threads,
            pmap__word_time(busy, r->busy_seconds), 100 * r->utilisation, (unsigned long long)r->items, chunks, sent, received,
            r->dead ? "  dead" : "");
}

static void print_ranks(FILE *out, const struct pmap__shown *pool)
{
    struct pmap_rank_stats r;

    fprintf(out, "  %4s  %-16s %7s  %10s %4s  %12s %8s  %10s  %10s\n", "rank", "host", "threads", "busy", "", "items", "chunks", "sent",
            "received");
    for (int rank = 0; pmap__table_fill_rank(pool, rank, &r); rank++)
        print_rank(out, &r);
}

static void print(FILE *out, const void *what)
{
    const struct pmap__shown *pool = what;
    struct pmap_stats s;
    char a[PMAP__WORD], b[PMAP__WORD];

    pmap__table_fill(pool, &s);
    fprintf(out, "pmap: statistics: %s, %d rank%s, %d thread%s, %s in items (%.0f%%)\n", pmap__word_time(a, s.seconds), s.ranks,
            s.ranks == 1 ? "" : "s", s.threads, s.threads == 1 ? "" : "s", pmap__word_time(b, s.busy_seconds), 100 * s.utilisation);
    print_items(out, &s);
    print_times(out, &s);
    if (pmap__view_ranks(pool->tenant->root) > 1)
        print_ranks(out, pool);
}

void pmap__table_print(const struct pmap__shown *pool)
{
    if (!pmap__screen_print(print, pool))
        pmap__warn("no memory for statistics");
}
