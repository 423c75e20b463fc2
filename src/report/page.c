/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "report/page.h"

#include "report/json.h"
#include "report/page.inc" /* page_before, page_after: made by embed.awk */

#include <math.h>
#include <stdlib.h>

static const char *name(const struct pmap__page *page, uint32_t index)
{
    return pmap__run_name(page->run, index);
}

/* ---- What is too much for a page ---- */

static int longest_first(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;

    return (a < b) - (a > b);
}

/* The longest have a place. Of those that are just as long as the first that has none, some, spread evenly. */
struct choice {
    int64_t least;       /* what is longer has a place */
    size_t equal, room;  /* as long as this there are so many, and so many of them have one */
    size_t seen;         /* of these */
};

/* lengths is sorted by this. */
static struct choice choose(int64_t *lengths, size_t n, size_t most)
{
    struct choice choice = {.least = -1};

    if (n <= most)
        return choice;
    qsort(lengths, n, sizeof *lengths, longest_first);
    choice.least = lengths[most];
    choice.room = most;
    for (size_t i = 0; i < n && lengths[i] >= choice.least; i++) {
        choice.room -= lengths[i] > choice.least;
        choice.equal += lengths[i] == choice.least;
    }
    return choice;
}

static bool is_chosen(struct choice *choice, int64_t length)
{
    if (length != choice->least)
        return length > choice->least;
    size_t before = choice->seen++ * choice->room / choice->equal;
    return choice->seen * choice->room / choice->equal > before;
}

static int64_t length_of_span(const struct pmap__run *run, size_t i)
{
    return run->spans[i].end - run->spans[i].begin;
}

static int64_t length_of_call(const struct pmap__run *run, size_t i)
{
    return run->calls[i].end - run->calls[i].begin;
}

/* At most so many of n. False: no memory. */
static bool choose_longest(struct choice *choice, const struct pmap__run *run, size_t n, size_t most,
                           int64_t (*length)(const struct pmap__run *run, size_t i))
{
    int64_t *lengths = malloc((n + 1) * sizeof *lengths);

    if (lengths == NULL)
        return false;
    for (size_t i = 0; i < n; i++)
        lengths[i] = length(run, i);
    *choice = choose(lengths, n, most);
    free(lengths);
    return true;
}

/* ---- Parts of the data ---- */

static void print_run(struct pmap__json *json, const struct pmap__page *page)
{
    const struct pmap__run *run = page->run;

    pmap__json_text(json, "file", run->file);
    pmap__json_text(json, "command", run->command ? run->command : "");
    pmap__json_text(json, "started", run->started ? run->started : "");
    pmap__json_text(json, "version", run->version ? run->version : "");
    pmap__json_count(json, "complete", run->complete);
    pmap__json_time(json, "end", run->end);
    pmap__json_time(json, "clockError", run->clock_error);
    pmap__json_count(json, "items", run->items);
    pmap__json_count(json, "failed", run->failed);
    pmap__json_count(json, "givenUp", run->given_up);
    pmap__json_count(json, "skipped", run->skipped);
    pmap__json_count(json, "spans", run->spans_noted);
    pmap__json_count(json, "kept", run->n_spans);
    pmap__json_real(json, "busy", page->figures->items_busy);
    pmap__json_real(json, "laneTime", page->losses->lane_time);
    pmap__json_real(json, "alone", page->losses->alone);
}

static void print_losses(struct pmap__json *json, const double losses[PMAP__LOSSES])
{
    pmap__json_open(json, "losses", '[');
    for (size_t l = 0; l < PMAP__LOSSES; l++)
        pmap__json_real(json, NULL, round(losses[l]));
    pmap__json_close(json, ']');
}

static void print_times(struct pmap__json *json, const struct pmap__figures *figures)
{
    pmap__json_open(json, "times", '{');
    pmap__json_real(json, "shortest", figures->shortest);
    pmap__json_real(json, "median", figures->median);
    pmap__json_real(json, "p90", figures->p90);
    pmap__json_real(json, "p99", figures->p99);
    pmap__json_real(json, "longest", figures->longest);
    pmap__json_close(json, '}');
    pmap__json_open(json, "histogram", '[');
    for (size_t b = 0; b < figures->n_histogram; b++) {
        pmap__json_open(json, NULL, '[');
        pmap__json_time(json, NULL, figures->histogram[b].from);
        pmap__json_time(json, NULL, figures->histogram[b].to);
        pmap__json_count(json, NULL, figures->histogram[b].items);
        pmap__json_close(json, ']');
    }
    pmap__json_close(json, ']');
}

static void print_tasks(struct pmap__json *json, const struct pmap__page *page)
{
    pmap__json_open(json, "tasks", '[');
    for (size_t t = 0; t < page->run->n_totals; t++) {
        const struct pmap__total *total = &page->run->totals[t];
        pmap__json_open(json, NULL, '{');
        pmap__json_text(json, "function", name(page, total->function));
        pmap__json_text(json, "task", name(page, total->task));
        pmap__json_count(json, "calls", total->calls);
        pmap__json_count(json, "items", total->items);
        pmap__json_count(json, "failed", total->failed);
        pmap__json_time(json, "busy", total->busy);
        pmap__json_time(json, "shortest", total->shortest);
        pmap__json_time(json, "longest", total->longest);
        pmap__json_close(json, '}');
    }
    pmap__json_close(json, ']');
}

static void print_ranks(struct pmap__json *json, const struct pmap__page *page)
{
    pmap__json_open(json, "ranks", '[');
    for (size_t r = 0; r < page->run->n_ranks; r++) {
        const struct pmap__rank *rank = &page->run->ranks[r];
        const struct pmap__sum *sum = &page->figures->ranks[r];
        pmap__json_open(json, NULL, '{');
        pmap__json_time(json, "rank", rank->rank);
        pmap__json_text(json, "host", name(page, rank->host));
        pmap__json_count(json, "threads", rank->threads);
        pmap__json_time(json, "ready", rank->ready);
        pmap__json_time(json, "lost", rank->lost);
        pmap__json_count(json, "items", sum->items);
        pmap__json_count(json, "failed", sum->failed);
        pmap__json_real(json, "busy", sum->busy);
        pmap__json_count(json, "chunks", sum->chunks);
        pmap__json_count(json, "bytesOut", sum->bytes_out);
        pmap__json_count(json, "bytesIn", sum->bytes_in);
        pmap__json_close(json, '}');
    }
    pmap__json_close(json, ']');
}

static void print_call(struct pmap__json *json, const struct pmap__page *page, size_t index)
{
    const struct pmap__call *call = &page->run->calls[index];

    pmap__json_open(json, NULL, '{');
    pmap__json_count(json, "number", call->number);
    pmap__json_count(json, "calls", call->calls);
    pmap__json_text(json, "function", name(page, call->function));
    pmap__json_text(json, "task", name(page, call->task));
    pmap__json_time(json, "begin", call->begin);
    pmap__json_time(json, "end", call->end);
    pmap__json_count(json, "n", call->n);
    pmap__json_count(json, "chunksize", call->chunksize);
    pmap__json_count(json, "items", call->items);
    pmap__json_count(json, "failed", call->failed);
    pmap__json_count(json, "givenUp", call->given_up);
    pmap__json_count(json, "skipped", call->skipped);
    pmap__json_count(json, "known", call->known);
    pmap__json_count(json, "retried", call->retried);
    pmap__json_text(json, "status", name(page, call->status));
    pmap__json_text(json, "error", name(page, call->error));
    print_losses(json, page->losses->of_call[index]);
    pmap__json_close(json, '}');
}

static void print_calls(struct pmap__json *json, const struct pmap__page *page, struct choice *choice)
{
    pmap__json_count(json, "callsInTrace", page->run->n_calls);
    pmap__json_open(json, "calls", '[');
    for (size_t c = 0; c < page->run->n_calls; c++)
        if (is_chosen(choice, page->run->calls[c].end - page->run->calls[c].begin))
            print_call(json, page, c);
    pmap__json_close(json, ']');
}

/* -1 is not known. */
static void print_if_known(struct pmap__json *json, const char *key, double number)
{
    if (number >= 0)
        pmap__json_real(json, key, number);
}

static void print_phases(struct pmap__json *json, const struct pmap__page *page, const char *key, const struct pmap__report_phase *phases, size_t n)
{
    pmap__json_open(json, key, '[');
    for (size_t p = 0; p < n && p < PMAP__PAGE_CALLS; p++) {
        pmap__json_open(json, NULL, '{');
        pmap__json_text(json, "name", name(page, phases[p].name));
        pmap__json_count(json, "call", phases[p].number);
        pmap__json_time(json, "rank", phases[p].rank);
        pmap__json_time(json, "begin", phases[p].begin);
        pmap__json_time(json, "end", phases[p].end);
        print_if_known(json, "items", phases[p].items);
        print_if_known(json, "recordsIn", phases[p].records_in);
        print_if_known(json, "recordsOut", phases[p].records_out);
        print_if_known(json, "bytesIn", phases[p].bytes_in);
        print_if_known(json, "bytesOut", phases[p].bytes_out);
        print_if_known(json, "bytesSent", phases[p].bytes_sent);
        print_if_known(json, "bytesSpilled", phases[p].bytes_spilled);
        pmap__json_close(json, '}');
    }
    pmap__json_close(json, ']');
}

static void print_table(struct pmap__json *json, const struct pmap__page *page, const char *key, const struct pmap__report_span *const *spans, size_t n)
{
    pmap__json_open(json, key, '[');
    for (size_t s = 0; s < n; s++) {
        pmap__json_open(json, NULL, '{');
        pmap__json_text(json, "task", name(page, spans[s]->task));
        pmap__json_count(json, "call", spans[s]->number);
        pmap__json_count(json, "item", spans[s]->item);
        pmap__json_count(json, "n", spans[s]->n);
        pmap__json_count(json, "lane", spans[s]->lane);
        pmap__json_time(json, "begin", spans[s]->begin);
        pmap__json_time(json, "end", spans[s]->end);
        pmap__json_time(json, "longest", spans[s]->longest);
        pmap__json_count(json, "attempt", (uint64_t)spans[s]->attempt);
        pmap__json_count(json, "failed", spans[s]->failed);
        pmap__json_count(json, "givenUp", spans[s]->given_up);
        pmap__json_close(json, '}');
    }
    pmap__json_close(json, ']');
}

static void print_advice(struct pmap__json *json, const struct pmap__advices *advices)
{
    pmap__json_open(json, "advice", '[');
    for (size_t a = 0; a < advices->n; a++) {
        pmap__json_open(json, NULL, '{');
        pmap__json_text(json, "topic", pmap__topic_name(advices->list[a].topic));
        pmap__json_real(json, "share", advices->list[a].share);
        pmap__json_real(json, "saved", round(advices->list[a].saved));
        pmap__json_text(json, "title", advices->list[a].title);
        pmap__json_text(json, "text", advices->list[a].text);
        pmap__json_close(json, '}');
    }
    pmap__json_close(json, ']');
}

/* ---- Lanes ---- */

/* How busy a lane was in each bin, as one of 64 letters: those of base64 in their order. */
static void print_bins(struct pmap__json *json, const struct pmap__page *page)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const struct pmap__figures *f = page->figures;
    double width = (double)page->run->end / (double)f->n_bins;
    char text[8192 + 1]; /* as many bins as there can be */

    pmap__json_count(json, "bins", f->n_bins);
    pmap__json_open(json, "busyBins", '[');
    for (size_t l = 0; l < page->run->n_lanes; l++) {
        for (size_t b = 0; b < f->n_bins; b++) {
            double share = f->busy[l * f->n_bins + b] / width;
            text[b] = letters[(int)fmin(63, share > 0 ? fmax(1, round(63 * share)) : 0)];
        }
        text[f->n_bins] = 0;
        pmap__json_text(json, NULL, text);
    }
    pmap__json_close(json, ']');
}

enum { COLUMN_BEGIN, COLUMN_LENGTH, COLUMN_BUSY, COLUMN_ITEM, COLUMN_N, COLUMN_CALL, COLUMN_BAD, COLUMN_ATTEMPT, COLUMN_TASK, COLUMNS };
static const char *const columns[COLUMNS] = {"b", "d", "y", "i", "n", "c", "x", "a", "t"};

static int64_t value_of(const struct pmap__report_span *span, int column)
{
    switch (column) {
    case COLUMN_LENGTH: return span->end - span->begin;
    case COLUMN_BUSY: return span->end - span->begin - span->busy;
    case COLUMN_ITEM: return (int64_t)span->item;
    case COLUMN_N: return (int64_t)span->n;
    case COLUMN_CALL: return (int64_t)span->number;
    case COLUMN_BAD: return span->failed ? 1 : span->given_up ? 2 : 0;
    case COLUMN_ATTEMPT: return span->attempt;
    case COLUMN_TASK: return span->task;
    default: return span->begin;
    }
}

/* The spans of a lane column by column, for that is shorter. Begins and items are differences to the one before; a column whose values are all
 * the same is that value alone. */
static void print_column(struct pmap__json *json, const struct pmap__report_span *const *spans, size_t n, int column)
{
    bool differences = column == COLUMN_BEGIN || column == COLUMN_ITEM, same = !differences;
    int64_t before = 0;

    for (size_t s = 1; s < n && same; s++)
        same = value_of(spans[s], column) == value_of(spans[0], column);
    if (same) {
        pmap__json_time(json, columns[column], value_of(spans[0], column));
        return;
    }
    pmap__json_open(json, columns[column], '[');
    for (size_t s = 0; s < n; s++) {
        int64_t value = value_of(spans[s], column);
        pmap__json_time(json, NULL, value - before);
        before = differences ? value : 0;
    }
    pmap__json_close(json, ']');
}

/* What column t refers to, and more. */
static void print_names(struct pmap__json *json, const struct pmap__run *run)
{
    pmap__json_open(json, "names", '[');
    for (size_t i = 0; i < run->n_names; i++)
        pmap__json_text(json, NULL, run->names[i]);
    pmap__json_close(json, ']');
}

/* shown is scratch for all spans. */
static void print_lanes(struct pmap__json *json, const struct pmap__page *page, const struct pmap__report_span **shown, struct choice *choice)
{
    pmap__json_open(json, "lanes", '[');
    for (size_t l = 0; l < page->run->n_lanes; l++) {
        const struct pmap__lane *lane = &page->run->lanes[l];
        size_t n = 0;
        for (size_t s = lane->first; s < lane->first + lane->n; s++)
            if (is_chosen(choice, page->run->spans[s].end - page->run->spans[s].begin))
                shown[n++] = &page->run->spans[s];
        pmap__json_open(json, NULL, '{');
        pmap__json_count(json, "rank", lane->rank_index);
        pmap__json_time(json, "thread", lane->thread);
        pmap__json_count(json, "items", page->figures->lanes[l].items);
        pmap__json_real(json, "busy", page->figures->lanes[l].busy);
        pmap__json_count(json, "count", n);
        for (int column = 0; column < COLUMNS && n > 0; column++)
            print_column(json, shown, n, column);
        pmap__json_close(json, '}');
    }
    pmap__json_close(json, ']');
}

/* ---- The page ---- */

static void print_lines(FILE *out, const char *const *lines)
{
    for (; *lines; lines++)
        fputs(*lines, out);
}

bool pmap__page_print(FILE *out, const struct pmap__page *page)
{
    struct choice spans, calls;
    const struct pmap__report_span **shown = malloc((page->run->n_spans + 1) * sizeof *shown);
    struct pmap__json json = {out, false};
    bool well = shown && choose_longest(&spans, page->run, page->run->n_spans, PMAP__PAGE_SPANS, length_of_span) &&
                choose_longest(&calls, page->run, page->run->n_calls, PMAP__PAGE_CALLS, length_of_call);

    if (well) {
        print_lines(out, page_before);
        pmap__json_open(&json, NULL, '{');
        print_run(&json, page);
        print_losses(&json, page->losses->all);
        print_times(&json, page->figures);
        print_tasks(&json, page);
        print_ranks(&json, page);
        print_calls(&json, page, &calls);
        print_phases(&json, page, "phases", page->run->phases, page->run->n_phases);
        print_phases(&json, page, "startups", page->run->startups, page->run->n_startups);
        print_table(&json, page, "slowest", page->figures->slowest, page->figures->n_slowest);
        print_table(&json, page, "failures", page->figures->failures, page->figures->n_failures);
        pmap__json_count(&json, "failedSpans", page->figures->failed_spans);
        print_advice(&json, page->advices);
        print_bins(&json, page);
        print_names(&json, page->run);
        print_lanes(&json, page, shown, &spans);
        pmap__json_close(&json, '}');
        print_lines(out, page_after);
    }
    free(shown);
    return well;
}
