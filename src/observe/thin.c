/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Passes over the spans, each only if the one before made too little room: join what is near each other; join also what has rest in between; join also
 * what would have deserved to stay by itself; and drop every second, where kinds alternate so that no neighbours are alike.
 */
#include "observe/thin.h"

#include <stdlib.h>

/* A pass has made room enough if so much is left at most, of what there may be. */
static bool is_enough(size_t n, size_t limit)
{
    return n <= limit - limit / 4;
}

/* ---- Spans ---- */

/* What stays by itself: items of such a class of durations and longer ones, failures, and what is not near to the next. */
struct rule {
    size_t class;
    bool failures, far;
};

static bool has_failures(const struct pmap__span *span)
{
    return span->failed || span->given_up;
}

static bool deserves(const struct pmap__span_line *line, const struct rule *rule)
{
    return pmap__duration_class(line->longest) >= rule->class || (rule->failures && has_failures(&line->span));
}

/* The longest eighth stays, and failures if they are not more than that. */
static struct rule find_rule(const struct pmap__book *book)
{
    size_t counts[PMAP__CLASSES] = {0}, failures = 0, most = book->bound / 8, sum = 0, class = PMAP__CLASSES;

    for (size_t i = 0; i < book->n_lanes; i++)
        for (size_t j = 0; j < book->lanes[i].n; j++) {
            counts[pmap__duration_class(book->lanes[i].lines[j].longest)]++;
            failures += has_failures(&book->lanes[i].lines[j].span);
        }
    while (class > 0 && sum + counts[class - 1] <= most)
        sum += counts[--class];
    return (struct rule){.class = class, .failures = failures <= most, .far = true};
}

static bool is_alike(const struct pmap__span *a, const struct pmap__span *b)
{
    return a->kind == PMAP__SPAN_ITEMS && b->kind == PMAP__SPAN_ITEMS && pmap__call_kind(a->call) == pmap__call_kind(b->call) &&
           a->attempt == b->attempt && a->isolated == b->isolated;
}

/* Is there less time between them than in them? Else a picture of both would show work where there was rest. */
static bool is_near(const struct pmap__span *a, const struct pmap__span *b)
{
    return b->begin <= a->end || b->begin - a->end <= (a->end - a->begin) + (b->end - b->begin);
}

static void join_spans(struct pmap__span_line *a, const struct pmap__span_line *b)
{
    struct pmap__span *s = &a->span;
    const struct pmap__span *t = &b->span;

    s->item = s->item < t->item ? s->item : t->item;
    s->last = s->last > t->last ? s->last : t->last;
    s->end = s->end > t->end ? s->end : t->end;
    s->n += t->n;
    s->busy += t->busy;
    s->failed += t->failed;
    s->given_up += t->given_up;
    a->weight += b->weight;
    a->longest = a->longest > b->longest ? a->longest : b->longest;
}

static int by_begin(const void *a, const void *b)
{
    const struct pmap__span_line *x = a, *y = b;
    return x->span.begin < y->span.begin ? -1 : x->span.begin > y->span.begin;
}

void pmap__lane_sort(struct pmap__lane *lane)
{
    if (!lane->sorted)
        qsort(lane->lines, lane->n, sizeof *lane->lines, by_begin);
    lane->sorted = true;
}

static void thin_lane(struct pmap__book *book, struct pmap__lane *lane, const struct rule *rule)
{
    size_t kept = 0;
    bool open = false; /* the last that was kept may be joined with the next */

    pmap__lane_sort(lane);
    for (size_t i = 0; i < lane->n; i++) {
        struct pmap__span_line *last = &lane->lines[kept - open];
        bool stays = deserves(&lane->lines[i], rule);
        bool may = open && !stays && is_alike(&last->span, &lane->lines[i].span);
        if (may && (!rule->far || is_near(&last->span, &lane->lines[i].span))) {
            join_spans(last, &lane->lines[i]);
            open = false;
            continue;
        }
        lane->lines[kept++] = lane->lines[i];
        open = !stays;
    }
    book->n_lines -= lane->n - kept;
    lane->n = kept;
}

static void thin_lanes(struct pmap__book *book, const struct rule *rule)
{
    for (size_t i = 0; i < book->n_lanes; i++)
        thin_lane(book, &book->lanes[i], rule);
}

static void drop_every_second(struct pmap__book *book, struct pmap__lane *lane)
{
    size_t kept = 0;

    for (size_t i = 0; i < lane->n; i++)
        if (i % 2 == 0 || lane->lines[i].span.kind != PMAP__SPAN_ITEMS)
            lane->lines[kept++] = lane->lines[i];
        else
            book->missed += lane->lines[i].weight;
    book->n_lines -= lane->n - kept;
    lane->n = kept;
}

void pmap__thin_spans(struct pmap__book *book)
{
    static const struct rule nothing = {.class = PMAP__CLASSES};
    struct rule rule = find_rule(book);

    thin_lanes(book, &rule);
    rule.far = false;
    if (!is_enough(book->n_lines, book->bound))
        thin_lanes(book, &rule);
    if (!is_enough(book->n_lines, book->bound))
        thin_lanes(book, &nothing);
    for (size_t i = 0; i < book->n_lanes && !is_enough(book->n_lines, book->bound); i++)
        drop_every_second(book, &book->lanes[i]);
    book->limit_lines = is_enough(book->n_lines, book->bound) ? book->bound : 2 * book->n_lines; /* more lanes than there may be spans */
}

/* ---- Chunks ---- */

static bool are_alike(const struct pmap__chunk_line *a, const struct pmap__chunk_line *b, bool strict)
{
    return pmap__call_kind(a->first.call) == pmap__call_kind(b->first.call) && a->first.timed == b->first.timed &&
           (!strict || (a->first.end == PMAP__CHUNK_OK && b->first.end == PMAP__CHUNK_OK && a->first.attempt == b->first.attempt));
}

static void join_chunks(struct pmap__chunk_line *a, const struct pmap__chunk_line *b)
{
    a->first.n += b->first.n;
    a->first.bytes_out += b->first.bytes_out;
    a->first.bytes_in += b->first.bytes_in;
    a->first.end = a->first.end > b->first.end ? a->first.end : b->first.end;
    a->chunks += b->chunks;
    a->answered = a->answered > b->answered ? a->answered : b->answered;
    a->send += b->send;
    a->queue += b->queue;
    a->run += b->run;
    a->total += b->total;
    a->transfer += b->transfer;
}

static void thin_rank(struct pmap__book *book, struct pmap__book_rank *rank, bool strict)
{
    size_t kept = 0;
    bool open = false;

    for (size_t i = 0; i < rank->n; i++) {
        if (open && are_alike(&rank->chunks[kept - 1], &rank->chunks[i], strict)) {
            join_chunks(&rank->chunks[kept - 1], &rank->chunks[i]);
            open = false;
            continue;
        }
        rank->chunks[kept++] = rank->chunks[i];
        open = true;
    }
    book->n_chunks -= rank->n - kept;
    rank->n = kept;
}

void pmap__thin_chunks(struct pmap__book *book)
{
    size_t most = book->bound / 4 + 16;

    for (int i = 0; i < book->n_ranks; i++)
        thin_rank(book, &book->ranks[i], true);
    for (int i = 0; i < book->n_ranks && !is_enough(book->n_chunks, most); i++)
        thin_rank(book, &book->ranks[i], false);
    book->limit_chunks = is_enough(book->n_chunks, most) ? most : 2 * book->n_chunks;
}

/* ---- Calls ---- */

static void join_calls(struct pmap__call_line *a, struct pmap__call_line *b)
{
    a->last = b->last > a->last ? b->last : a->last;
    a->calls += b->calls;
    a->end = b->end > a->end ? b->end : a->end;
    a->n += b->n;
    a->items += b->items;
    a->failed += b->failed;
    a->skipped += b->skipped;
    a->known += b->known;
    if (a->status == PMAP_OK)
        a->status = b->status;
    if (a->error == NULL)
        a->error = b->error;
    else
        free(b->error);
}

static bool may_join(const struct pmap__call_line *line, bool strict)
{
    return line->end && (!strict || (line->status == PMAP_OK && line->failed == 0));
}

/* A call is joined with the last one of its kind that has not been joined yet. last[kind]: where that is, from 1; 0: nowhere. */
static void thin_calls(struct pmap__book *book, size_t last[], bool strict)
{
    size_t kept = 0;

    for (size_t i = 0; i < book->n_kinds; i++)
        last[i] = 0;
    for (size_t i = 0; i < book->n_calls; i++) {
        struct pmap__call_line *line = &book->calls[i];
        size_t *partner = &last[pmap__call_kind(line->call)];
        bool may = may_join(line, strict);
        if (may && *partner) {
            join_calls(&book->calls[*partner - 1], line);
            *partner = 0;
            continue;
        }
        book->calls[kept++] = *line;
        if (may)
            *partner = kept;
    }
    book->n_calls = kept;
}

void pmap__thin_calls(struct pmap__book *book)
{
    size_t *last = calloc(book->n_kinds, sizeof *last), most = book->bound / 4 + 16;

    if (last)
        thin_calls(book, last, true);
    if (last && !is_enough(book->n_calls, most))
        thin_calls(book, last, false);
    free(last);
    book->limit_calls = is_enough(book->n_calls, most) ? most : 2 * book->n_calls; /* those that have not ended stay */
}

/* ---- All ---- */

/* Step by step: a bound that is three quarters of what there is has neighbours joined once, and lets the longest stay. */
static size_t bound_for(size_t n)
{
    return n - n / 4;
}

static void thin_spans_out(struct pmap__book *book)
{
    size_t before = SIZE_MAX;

    while (book->n_lines > PMAP__THINNED && book->n_lines < before) {
        struct rule rule;
        before = book->n_lines;
        book->bound = bound_for(before);
        rule = find_rule(book);
        thin_lanes(book, &rule);
        rule.far = false;
        if (!is_enough(book->n_lines, book->bound))
            thin_lanes(book, &rule);
    }
}

/* Chunks, or calls: *n of them, which thin() makes fewer. */
static void thin_others_out(struct pmap__book *book, const size_t *n, void (*thin)(struct pmap__book *))
{
    size_t before = SIZE_MAX;

    while (*n > PMAP__THINNED / 4 && *n < before) {
        before = *n;
        book->bound = 4 * bound_for(before);
        thin(book);
    }
}

void pmap__thin_out(struct pmap__book *book)
{
    size_t bound = book->bound;

    thin_spans_out(book);
    thin_others_out(book, &book->n_chunks, pmap__thin_chunks);
    thin_others_out(book, &book->n_calls, pmap__thin_calls);
    book->bound = bound;
}
