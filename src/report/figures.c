/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "report/figures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Who was busy when ---- */

/* A byte of the page for each lane and bin: a megabyte for all, and no more detail than a zoom of 8 on a large screen shows. */
static size_t bins_for(size_t lanes)
{
    size_t bins = 8192;

    while (bins > 128 && bins * lanes > (size_t)1 << 20)
        bins /= 2;
    return bins;
}

/* The pauses inside a span are taken to be spread evenly. */
static void fill_bins(float *bins, size_t n, double length, const struct pmap__report_span *span)
{
    double width = length / (double)n, share = (double)span->busy / (double)(span->end - span->begin);
    size_t first = (size_t)fmin((double)(n - 1), (double)span->begin / width), last = (size_t)fmin((double)(n - 1), (double)span->end / width);

    for (size_t b = first; b <= last; b++) {
        double from = fmax((double)span->begin, (double)b * width), to = fmin((double)span->end, (double)(b + 1) * width);
        if (to > from)
            bins[b] += (float)(share * (to - from));
    }
}

static void add(struct pmap__sum *sum, const struct pmap__report_span *span)
{
    sum->items += span->n;
    sum->failed += span->failed;
    sum->busy += (double)span->busy;
}

static void count_lanes(struct pmap__figures *f, const struct pmap__run *run)
{
    for (size_t s = 0; s < run->n_spans; s++) {
        const struct pmap__report_span *span = &run->spans[s];
        if (span->end > span->begin)
            fill_bins(&f->busy[span->lane * f->n_bins], f->n_bins, (double)run->end, span);
        add(&f->lanes[span->lane], span);
        add(&f->ranks[run->lanes[span->lane].rank_index], span);
        f->items_busy += (double)span->busy;
    }
}

static void count_chunks(struct pmap__figures *f, const struct pmap__run *run)
{
    for (size_t c = 0, r = 0; c < run->n_chunks && r < run->n_ranks;) {
        const struct pmap__chunk *chunk = &run->chunks[c];
        if (run->ranks[r].rank < chunk->rank) {
            r++;
            continue;
        }
        if (run->ranks[r].rank == chunk->rank) {
            f->ranks[r].bytes_out += chunk->bytes_out;
            f->ranks[r].bytes_in += chunk->bytes_in;
            f->ranks[r].chunks += chunk->chunks;
        }
        c++;
    }
}

/* ---- How long items took ---- */

static int by_from(const void *left, const void *right)
{
    const struct pmap__bin *a = left, *b = right;

    return (a->from > b->from) - (a->from < b->from);
}

/* Within a bin items are spread evenly. */
static double quantile(const struct pmap__figures *f, double share)
{
    double items = 0, before = 0;

    for (size_t b = 0; b < f->n_histogram; b++)
        items += (double)f->histogram[b].items;
    for (size_t b = 0; b < f->n_histogram; b++) {
        const struct pmap__bin *bin = &f->histogram[b];
        double here = (double)bin->items;
        if (here > 0 && before + here >= share * items)
            return fmax(f->shortest, fmin(f->longest, (double)bin->from + (double)(bin->to - bin->from) * (share * items - before) / here));
        before += here;
    }
    return f->longest;
}

static void join_equal_bins(struct pmap__figures *f)
{
    size_t n = 0;

    for (size_t b = 0; b < f->n_histogram; b++)
        if (n > 0 && f->histogram[n - 1].from == f->histogram[b].from)
            f->histogram[n - 1].items += f->histogram[b].items;
        else
            f->histogram[n++] = f->histogram[b];
    f->n_histogram = n;
}

static bool count_times(struct pmap__figures *f, const struct pmap__run *run)
{
    size_t n = 0;

    for (size_t t = 0; t < run->n_totals; t++)
        n += run->totals[t].n_histogram;
    f->histogram = malloc((n + 1) * sizeof *f->histogram);
    if (f->histogram == NULL)
        return false;
    f->shortest = run->n_totals ? INFINITY : 0;
    for (size_t t = 0; t < run->n_totals; t++) {
        const struct pmap__total *total = &run->totals[t];
        for (size_t b = 0; b < total->n_histogram; b++)
            f->histogram[f->n_histogram++] = total->histogram[b];
        if (total->items > 0)
            f->shortest = fmin(f->shortest, (double)total->shortest);
        f->longest = fmax(f->longest, (double)total->longest);
    }
    f->shortest = isfinite(f->shortest) ? f->shortest : 0;
    if (n > 1)
        qsort(f->histogram, n, sizeof *f->histogram, by_from);
    join_equal_bins(f);
    f->median = quantile(f, 0.5);
    f->p90 = quantile(f, 0.9);
    f->p99 = quantile(f, 0.99);
    return true;
}

/* ---- Which ---- */

/* Keep the first n of what comes, in an order. */
static void keep_best(const struct pmap__report_span **best, size_t *n, size_t most, const struct pmap__report_span *span,
                      bool (*before)(const struct pmap__report_span *a, const struct pmap__report_span *b))
{
    size_t at = *n;

    while (at > 0 && before(span, best[at - 1]))
        at--;
    if (at == most)
        return;
    *n += *n < most;
    memmove(&best[at + 1], &best[at], (*n - 1 - at) * sizeof *best);
    best[at] = span;
}

static bool is_slower(const struct pmap__report_span *a, const struct pmap__report_span *b)
{
    return a->longest > b->longest;
}

static bool is_earlier(const struct pmap__report_span *a, const struct pmap__report_span *b)
{
    return a->begin < b->begin;
}

static void choose(struct pmap__figures *f, const struct pmap__run *run)
{
    for (size_t s = 0; s < run->n_spans; s++) {
        const struct pmap__report_span *span = &run->spans[s];
        keep_best(f->slowest, &f->n_slowest, PMAP__SLOWEST, span, is_slower);
        if (span->failed + span->given_up > 0) {
            keep_best(f->failures, &f->n_failures, PMAP__FAILURES, span, is_earlier);
            f->failed_spans++;
        }
    }
}

bool pmap__figures_count(struct pmap__figures *figures, const struct pmap__run *run)
{
    size_t n_bins = bins_for(run->n_lanes);

    *figures = (struct pmap__figures){
        .n_bins = n_bins,
        .busy = calloc(run->n_lanes * n_bins + 1, sizeof *figures->busy),
        .lanes = calloc(run->n_lanes + 1, sizeof *figures->lanes),
        .ranks = calloc(run->n_ranks + 1, sizeof *figures->ranks),
    };
    if (!figures->busy || !figures->lanes || !figures->ranks || !count_times(figures, run)) {
        pmap__figures_fini(figures);
        return false;
    }
    count_lanes(figures, run);
    count_chunks(figures, run);
    choose(figures, run);
    return true;
}

void pmap__figures_fini(struct pmap__figures *figures)
{
    free(figures->busy);
    free(figures->lanes);
    free(figures->ranks);
    free(figures->histogram);
    *figures = (struct pmap__figures){0};
}
