/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "report/deals.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Chunks in one replay, at most: a call of a billion items is not dealt out one by one. */
#define MOST_CHUNKS ((size_t)1 << 20)

/* The library hands out about so much work at once, see sched/portion.h. */
#define QUANTUM 1e6

/* A chunksize within this part of the best is as good, and the nearest to what was used is taken. */
#define AS_GOOD 0.01

/* What a lane waits for a chunk of a stream, if it is longer than this, is not the hand-out but the generator, or the consumer. */
#define LONGEST_HAND_OUT 2e5

/* ---- The spans of a call, in the order of items ---- */

static int by_item(const void *left, const void *right)
{
    const struct pmap__report_span *a = left, *b = right;
    int order = (a->call > b->call) - (a->call < b->call);

    return order ? order : (a->item > b->item) - (a->item < b->item);
}

static bool sort_spans(struct pmap__deals *deals, const struct pmap__run *run)
{
    size_t size = run->n_spans * sizeof *deals->spans;

    deals->spans = malloc(size + 1);
    if (deals->spans == NULL)
        return false;
    if (size)
        memcpy(deals->spans, run->spans, size);
    deals->n_spans = run->n_spans;
    if (run->n_spans > 1)
        qsort(deals->spans, run->n_spans, sizeof *deals->spans, by_item);
    return true;
}

/* ---- One call ---- */

/* Scratch for as many spans and lanes as there are. */
struct table {
    const struct pmap__run *run;
    struct pmap__replay_work *work;
    size_t n;         /* of work */
    size_t items;
    double *free_at;
};

/* Of several items in a span the longest is known, and is one of them. All of them are so many times shorter than they were. */
static void put(struct table *t, const struct pmap__report_span *span, double shorter)
{
    double rest = (double)span->busy - (double)span->longest;

    t->items += (size_t)span->n;
    if (span->n == 1 || rest < 0 || span->longest <= llround(pmap__span_item(span))) {
        t->work[t->n++] = (struct pmap__replay_work){pmap__span_item(span) / shorter, (size_t)span->n};
    } else {
        t->work[t->n++] = (struct pmap__replay_work){(double)span->longest / shorter, 1};
        t->work[t->n++] = (struct pmap__replay_work){rest / (double)(span->n - 1) / shorter, (size_t)span->n - 1};
    }
}

static double replay(struct table *t, size_t lanes, size_t chunk, double hand_out)
{
    size_t least = t->items / MOST_CHUNKS + 1;

    return pmap__replay(t->work, t->n, lanes, chunk > least ? chunk : least, hand_out, t->free_at);
}

static bool is_stream(const struct pmap__run *run, const struct pmap__call *call)
{
    return strncmp(pmap__run_name(run, call->function), "pmap_imap", strlen("pmap_imap")) == 0;
}

/* What was used: a stream's default is 1, and a single item is a chunk. */
static size_t chunksize_of(const struct pmap__run *run, const struct pmap__call *call)
{
    if (call->chunksize == 0)
        return is_stream(run, call) || call->n == 1;
    return (size_t)(call->chunksize < call->n ? call->chunksize : call->n);
}

static double longest_chunk(const struct table *t, size_t chunk)
{
    size_t room = chunk;
    double seconds = 0, longest = 0;

    for (size_t w = 0; w < t->n && chunk > 0; w++)
        for (size_t left = t->work[w].n; left > 0;) {
            size_t n = left < room ? left : room;
            seconds += (double)n * t->work[w].seconds;
            longest = fmax(longest, seconds);
            left -= n;
            room -= n;
            if (room == 0) {
                room = chunk;
                seconds = 0;
            }
        }
    return longest;
}

/* Try chunksizes of a factor two. Smaller ones cannot save more than what was lost to imbalance, and larger ones no more than what was lost between
 * items, whatever the replay says: it leaves things out. Of larger ones the transfer is taken to grow with them, so that nothing is
 * promised that the network would not keep. */
static void try_chunks(struct table *t, struct pmap__deal *d, const double losses[PMAP__LOSSES], double hand_outs, bool may_grow)
{
    size_t lanes = t->run->n_lanes, most = t->items / lanes;
    double wait = losses[PMAP__WAITING] / hand_outs, transfer = losses[PMAP__TRANSFER] / hand_outs;
    double floor = d->length - losses[PMAP__IMBALANCE] / (double)lanes;

    d->better = d->chunksize;
    d->with_better = d->length;
    for (size_t c = d->chunksize ? d->chunksize / 2 : most; c >= 1; c /= 2) {
        double length = fmax(floor, replay(t, lanes, c, d->hand_out));
        if (length < d->with_better - AS_GOOD * d->length) {
            d->better = c;
            d->with_better = length;
        }
    }
    floor = d->length - (losses[PMAP__WAITING] + losses[PMAP__TRANSFER]) / (double)lanes;
    for (size_t c = 2 * d->chunksize; c > 0 && c <= most && may_grow; c *= 2) {
        double length = fmax(floor, replay(t, lanes, c, wait + transfer * (double)c / (double)d->chunksize));
        if (length < d->with_better - AS_GOOD * d->length) {
            d->better = c;
            d->with_better = length;
        }
    }
}

/* Items that the library would hand out at once. */
static size_t quantum_of(const struct table *t, const struct pmap__deal *d)
{
    return d->busy > 0 ? (size_t)fmax(1, QUANTUM * (double)t->items / d->busy) : 1;
}

static void try_orders(struct table *t, struct pmap__deal *d, double floor)
{
    size_t lanes = t->run->n_lanes, quantum = quantum_of(t, d);
    size_t chunk = d->better && d->better < quantum ? d->better : quantum; /* a long row of long items would be no good */

    pmap__replay_sort(t->work, t->n);
    d->dealt = replay(t, lanes, chunk, d->hand_out);
    d->longest_first = fmax(floor, d->dealt);
    d->halved = replay(t, (lanes + 1) / 2, chunk, d->hand_out);
    d->quartered = replay(t, (lanes + 3) / 4, chunk, d->hand_out);
}

static void play(struct table *t, struct pmap__deal *d, const double losses[PMAP__LOSSES], const struct pmap__call *call)
{
    double n = (double)(d->chunksize ? (t->items + d->chunksize - 1) / d->chunksize : t->n);

    d->busy = losses[PMAP__WORKING] + losses[PMAP__FAILED];
    d->hand_out = (losses[PMAP__WAITING] + losses[PMAP__TRANSFER]) / n;
    d->length = (double)(call->end - call->begin);
    for (size_t w = 0; w < t->n; w++)
        d->longest = fmax(d->longest, t->work[w].seconds);
    if (d->chunksize) {
        d->longest_chunk = longest_chunk(t, d->chunksize);
        d->length = fmin(d->length, replay(t, t->run->n_lanes, d->chunksize, d->hand_out));
    }
    try_chunks(t, d, losses, n, !is_stream(t->run, call) || losses[PMAP__WAITING] / n < LONGEST_HAND_OUT);
    try_orders(t, d, d->length - losses[PMAP__IMBALANCE] / (double)t->run->n_lanes);
}

/* ---- All calls ---- */

/* No other call is there at the same time. Calls are in the order in which they were made. */
static bool is_alone(const struct pmap__run *run, size_t c, int64_t latest)
{
    const struct pmap__call *call = &run->calls[c];

    return latest <= call->begin && (c + 1 == run->n_calls || call[1].begin >= call->end);
}

static bool is_playable(const struct pmap__run *run, const struct pmap__call *call)
{
    return call->calls == 1 && strcmp(pmap__run_name(run, call->function), "pmap_mapreduce") != 0;
}

static void play_all(struct pmap__deals *deals, struct table *t, const struct pmap__losses *losses)
{
    int64_t latest = 0;
    size_t s = 0;

    for (size_t c = 0; c < t->run->n_calls; c++) {
        const struct pmap__call *call = &t->run->calls[c];
        t->n = t->items = 0;
        for (; s < deals->n_spans && deals->spans[s].call < c; s++)
            ;
        for (; s < deals->n_spans && deals->spans[s].call == c; s++)
            put(t, &deals->spans[s], 1);
        if (t->n > 0 && is_playable(t->run, call) && is_alone(t->run, c, latest)) {
            struct pmap__deal *d = &deals->list[deals->n++];
            *d = (struct pmap__deal){.call = (uint32_t)c, .chunksize = chunksize_of(t->run, call)};
            play(t, d, losses->of_call[c], call);
        }
        latest = call->end > latest ? call->end : latest;
    }
}

static bool table_init(struct table *t, const struct pmap__run *run)
{
    *t = (struct table){
        .run = run,
        .work = malloc((2 * run->n_spans + 1) * sizeof *t->work),
        .free_at = malloc((run->n_lanes + 1) * sizeof *t->free_at),
    };
    return t->work && t->free_at;
}

static void table_fini(struct table *t)
{
    free(t->work);
    free(t->free_at);
}

bool pmap__deals_play(struct pmap__deals *deals, const struct pmap__run *run, const struct pmap__losses *losses)
{
    struct table table;
    bool well = table_init(&table, run);

    *deals = (struct pmap__deals){.list = malloc((run->n_calls + 1) * sizeof *deals->list)};
    well = well && deals->list && sort_spans(deals, run);
    if (well)
        play_all(deals, &table, losses);
    else
        pmap__deals_fini(deals);
    table_fini(&table);
    return well;
}

void pmap__deals_fini(struct pmap__deals *deals)
{
    free(deals->list);
    free(deals->spans);
    *deals = (struct pmap__deals){0};
}

double pmap__deals_as_one(const struct pmap__run *run, const struct pmap__deals *deals, uint32_t function, uint32_t task, double hand_out)
{
    struct table table;
    double length = -1;

    if (table_init(&table, run)) {
        for (size_t s = 0; s < deals->n_spans; s++) {
            const struct pmap__report_span *span = &deals->spans[s];
            if (span->call != PMAP__NONE && run->calls[span->call].function == function && run->calls[span->call].task == task)
                put(&table, span, 1);
        }
        length = replay(&table, run->n_lanes, 1, hand_out);
    }
    table_fini(&table);
    return length;
}

/* Deals are in another order than spans by now. */
static size_t first_of(const struct pmap__deals *deals, uint32_t call)
{
    size_t low = 0, high = deals->n_spans;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (deals->spans[middle].call < call)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

double pmap__deals_faster(const struct pmap__run *run, const struct pmap__deals *deals, const double *slower)
{
    struct table table;
    double length = -1;

    if (table_init(&table, run)) {
        length = 0;
        for (size_t d = 0; d < deals->n; d++) {
            const struct pmap__deal *deal = &deals->list[d];
            table.n = table.items = 0;
            for (size_t s = first_of(deals, deal->call); s < deals->n_spans && deals->spans[s].call == deal->call; s++)
                put(&table, &deals->spans[s], slower[run->lanes[deals->spans[s].lane].rank_index]);
            length += fmin(deal->length, replay(&table, run->n_lanes, deal->chunksize ? deal->chunksize : quantum_of(&table, deal), deal->hand_out));
        }
    }
    table_fini(&table);
    return length;
}
