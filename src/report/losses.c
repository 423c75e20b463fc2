/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "report/losses.h"

#include <math.h>
#include <stdlib.h>

/* ---- Sets of times ---- */

struct piece {
    int64_t begin, end;
    uint32_t call;      /* which of those in it ends last */
};

/* Pieces that do not touch, ascending. */
struct set {
    struct piece *pieces;
    size_t n;
};

static int by_begin(const void *left, const void *right)
{
    const struct piece *a = left, *b = right;

    return (a->begin > b->begin) - (a->begin < b->begin);
}

/* Any pieces become a set, in place. */
static void unite(struct set *set)
{
    size_t n = 0;

    if (set->n > 1)
        qsort(set->pieces, set->n, sizeof *set->pieces, by_begin);
    for (size_t p = 0; p < set->n; p++) {
        struct piece *last = n ? &set->pieces[n - 1] : NULL, piece = set->pieces[p];
        if (piece.end <= piece.begin)
            continue;
        if (last == NULL || piece.begin > last->end)
            set->pieces[n++] = piece;
        else if (piece.end > last->end) {
            last->end = piece.end;
            last->call = piece.call;
        }
    }
    set->n = n;
}

/* How much of [begin, end) is in the set. */
static double measure(const struct set *set, int64_t begin, int64_t end)
{
    size_t low = 0, high = set->n;
    double sum = 0;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (set->pieces[middle].end <= begin)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < set->n && set->pieces[low].begin < end; low++) {
        const struct piece *p = &set->pieces[low];
        sum += (double)((p->end < end ? p->end : end) - (p->begin > begin ? p->begin : begin));
    }
    return sum;
}

/* ---- When there were calls, and when something was on its way to or from a rank ---- */

struct when {
    struct set calls;
    struct set *flights;   /* of each rank */
    struct piece *pieces;  /* theirs */
};

static bool note_calls(struct set *calls, const struct pmap__run *run)
{
    calls->pieces = malloc((run->n_calls + 1) * sizeof *calls->pieces);
    if (calls->pieces == NULL)
        return false;
    for (size_t c = 0; c < run->n_calls; c++)
        calls->pieces[calls->n++] = (struct piece){run->calls[c].begin, run->calls[c].end, (uint32_t)c};
    unite(calls);
    return true;
}

static void note_flight(struct set *flights, int64_t begin, int64_t end)
{
    flights->pieces[flights->n++] = (struct piece){begin, end, PMAP__NONE};
}

/* The chunks of a rank are together. Of several chunks that are joined the sums cannot be longer than all of it. */
static bool note_flights(struct when *when, const struct pmap__run *run)
{
    size_t c = 0;

    when->flights = calloc(run->n_ranks + 1, sizeof *when->flights);
    when->pieces = malloc((2 * run->n_chunks + 1) * sizeof *when->pieces);
    if (when->flights == NULL || when->pieces == NULL)
        return false;
    for (size_t r = 0; r < run->n_ranks; r++) {
        struct set *flights = &when->flights[r];
        for (; c < run->n_chunks && run->chunks[c].rank < run->ranks[r].rank; c++)
            ;
        flights->pieces = when->pieces + 2 * c;
        for (; c < run->n_chunks && run->chunks[c].rank == run->ranks[r].rank; c++) {
            const struct pmap__chunk *chunk = &run->chunks[c];
            int64_t out = chunk->begin + chunk->send + chunk->transfer, back = chunk->end - chunk->answer;
            note_flight(flights, chunk->begin, out < chunk->end ? out : chunk->end);
            note_flight(flights, back > chunk->begin ? back : chunk->begin, chunk->end);
        }
        unite(flights);
    }
    return true;
}

static void when_fini(struct when *when)
{
    free(when->calls.pieces);
    free(when->flights);
    free(when->pieces);
}

/* ---- Lanes ---- */

struct count {
    struct pmap__losses *losses;
    const struct pmap__run *run;
    const struct when *when;
};

static void lose(struct count *c, uint32_t call, enum pmap__loss loss, double time)
{
    c->losses->all[loss] += time;
    if (call != PMAP__NONE)
        c->losses->of_call[call][loss] += time;
}

/* Idle for so long, from begin to end, before an item of that call. */
static void lose_wait(struct count *c, const struct pmap__lane *lane, uint32_t call, int64_t begin, int64_t end, double idle)
{
    double flying = fmin(idle, measure(&c->when->flights[lane->rank_index], begin, end));

    lose(c, call, PMAP__TRANSFER, flying);
    lose(c, call, PMAP__WAITING, idle - flying);
}

/* A lane is idle from begin to end, between two spans of its; either may be NULL. */
static void count_gap(struct count *c, const struct pmap__lane *lane, int64_t begin, int64_t end, const struct pmap__report_span *before,
                      const struct pmap__report_span *after)
{
    int64_t ready = c->run->ranks[lane->rank_index].ready, wait = end;

    if (begin < ready && begin < end) {
        int64_t until = ready < end ? ready : end;
        c->losses->all[PMAP__STARTUP] += (double)(until - begin);
        begin = until;
    }
    if (begin >= end)
        return;
    if (after && after->call != PMAP__NONE && before && before->call == after->call)
        wait = begin;
    else if (after && after->call != PMAP__NONE && c->run->calls[after->call].begin < end)
        wait = c->run->calls[after->call].begin > begin ? c->run->calls[after->call].begin : begin;
    double called = measure(&c->when->calls, begin, end), early = measure(&c->when->calls, begin, wait);
    c->losses->all[PMAP__BETWEEN] += (double)(end - begin) - called;
    c->losses->all[PMAP__IMBALANCE] += early;
    if (wait < end)
        lose_wait(c, lane, after->call, wait, end, called - early);
}

static void count_span(struct count *c, const struct pmap__lane *lane, const struct pmap__report_span *span)
{
    uint64_t bad = span->failed + span->given_up;
    double share = bad < span->n ? (double)bad / (double)span->n : 1, idle = (double)(span->end - span->begin - span->busy);

    lose(c, span->call, PMAP__FAILED, share * (double)span->busy);
    lose(c, span->call, PMAP__WORKING, (1 - share) * (double)span->busy);
    if (idle > 0) {
        double flying = measure(&c->when->flights[lane->rank_index], span->begin, span->end) / (double)(span->end - span->begin);
        lose(c, span->call, PMAP__TRANSFER, flying * idle);
        lose(c, span->call, PMAP__WAITING, (1 - flying) * idle);
    }
}

static void count_lane(struct count *c, const struct pmap__lane *lane)
{
    int64_t lost = c->run->ranks[lane->rank_index].lost, end = lost >= 0 && lost < c->run->end ? lost : c->run->end, now = 0;
    const struct pmap__report_span *before = NULL;

    for (size_t s = lane->first; s < lane->first + lane->n; s++) {
        const struct pmap__report_span *span = &c->run->spans[s];
        count_gap(c, lane, now, span->begin, before, span);
        count_span(c, lane, span);
        before = span;
        now = span->end > now ? span->end : now;
    }
    count_gap(c, lane, now, end, before, NULL);
}

/* ---- Calls, and the time between them ---- */

static void count_imbalance(struct pmap__losses *losses, const struct pmap__run *run)
{
    for (size_t c = 0; c < run->n_calls; c++) {
        double *of = losses->of_call[c], length = (double)(run->calls[c].end - run->calls[c].begin);
        of[PMAP__IMBALANCE] = fmax(0, length * (double)run->n_lanes - of[PMAP__WORKING] - of[PMAP__FAILED] - of[PMAP__TRANSFER] - of[PMAP__WAITING]);
    }
}

static void count_pause(struct pmap__losses *losses, int64_t begin, int64_t end, uint32_t after)
{
    if (end <= begin)
        return;
    losses->alone += (double)(end - begin);
    if (end - begin > losses->longest.end - losses->longest.begin)
        losses->longest = (struct pmap__pause){begin, end, after};
}

static void count_pauses(struct pmap__losses *losses, const struct pmap__run *run, const struct set *calls)
{
    int64_t now = run->n_ranks ? run->ranks[0].ready : 0;
    uint32_t after = PMAP__NONE;

    for (size_t p = 0; p < calls->n; p++) {
        count_pause(losses, now, calls->pieces[p].begin, after);
        now = calls->pieces[p].end > now ? calls->pieces[p].end : now;
        after = calls->pieces[p].call;
    }
    count_pause(losses, now, run->end, after);
}

bool pmap__losses_count(struct pmap__losses *losses, const struct pmap__run *run)
{
    struct when when = {0};
    struct count count = {losses, run, &when};
    bool well;

    *losses = (struct pmap__losses){.of_call = calloc(run->n_calls + 1, sizeof *losses->of_call)};
    well = losses->of_call && note_calls(&when.calls, run) && note_flights(&when, run);
    if (well) {
        for (size_t l = 0; l < run->n_lanes; l++)
            count_lane(&count, &run->lanes[l]);
        for (size_t loss = 0; loss < PMAP__LOSSES; loss++)
            losses->lane_time += losses->all[loss];
        count_imbalance(losses, run);
        count_pauses(losses, run, &when.calls);
    } else {
        pmap__losses_fini(losses);
    }
    when_fini(&when);
    return well;
}

void pmap__losses_fini(struct pmap__losses *losses)
{
    free(losses->of_call);
    *losses = (struct pmap__losses){0};
}
