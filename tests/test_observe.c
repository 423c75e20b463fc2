/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * sched's clocks, and the book of observe: whatever is joined, no sum changes, and there is never too much.
 */
#include "base/clock.h"
#include "engine/recorder.h"
#include "harness.h"
#include "observe/book.h"
#include "observe/thin.h"
#include "sched/clocks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S PMAP__S
#define US PMAP__US

/* ---- Clocks ---- */

/* A host whose clock was ahead by so much at time 0 of ours, and gains so many ns in a second. */
struct host {
    int64_t ahead;
    int64_t gains;
};

static uint64_t there(const struct host *host, uint64_t ours)
{
    return (uint64_t)((int64_t)ours + host->ahead + (int64_t)((double)host->gains * ((double)ours / 1e9)));
}

/* A ping that leaves at a time and takes so long each way. */
static void ping(struct pmap__clock *clock, const struct host *host, uint64_t at, uint64_t out, uint64_t back, bool at_end)
{
    struct pmap__ping p = {.sent = at, .there = there(host, at + out), .back = at + out + back};
    pmap__clock_ping(clock, &p, at_end);
}

static bool is_within(uint64_t a, uint64_t b, uint64_t error)
{
    return (a < b ? b - a : a - b) <= error;
}

static const struct host hosts[] = {{0, 0}, {1, 0}, {-5000000000, 0}, {77000000000000, 0}, {1000, 20000}, {-3000000000, -50000},
                                    {900000000000000, 100000}};

static void unknown_clock_is_ours(void)
{
    struct pmap__clock clock = {0};

    CHECK(pmap__clock_ours(&clock, 12345) == 12345);
    CHECK(pmap__clock_drift(&clock) == 0);
}

/* Pings whose ways there and back take equally long say it exactly. */
static void even_ping_is_exact(void)
{
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        struct host host = {hosts[i].ahead, 0};
        struct pmap__clock clock = {0};
        ping(&clock, &host, 10000 * S, 40 * US, 40 * US, false);
        for (uint64_t t = 10000 * S; t < 90000 * S; t += 7777 * S)
            CHECK(pmap__clock_ours(&clock, there(&host, t)) == t);
    }
}

/* However uneven the ways are, it is wrong by half of the round trip at most, and the fastest ping is the one that counts. */
static void fastest_ping_bounds_the_error(void)
{
    static const uint64_t ways[][2] = {{900 * US, 2 * US}, {3 * US, 40 * US}, {30 * US, 2 * US}, {2 * US, 5000 * US}, {20 * US, 19 * US}};

    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        struct host host = {hosts[i].ahead, 0};
        struct pmap__clock clock = {0};
        for (size_t j = 0; j < sizeof ways / sizeof *ways; j++)
            ping(&clock, &host, 10000 * S + j * S, ways[j][0], ways[j][1], false);
        CHECK_INT(clock.first.error, 16 * US);
        CHECK(is_within(pmap__clock_ours(&clock, there(&host, 20000 * S)), 20000 * S, 16 * US));
    }
}

/* Pings of both ends know how much the clock gains: an hour later, and in between, it is as exact as they are. */
static void drift_is_taken_out(void)
{
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        struct pmap__clock clock = {0};
        ping(&clock, &hosts[i], 10000 * S, 30 * US, 10 * US, false);
        ping(&clock, &hosts[i], 13600 * S, 10 * US, 30 * US, true);
        for (uint64_t t = 10000 * S; t <= 13600 * S; t += 100 * S)
            CHECK(is_within(pmap__clock_ours(&clock, there(&hosts[i], t)), t, 60 * US));
        double ppm = (double)hosts[i].gains / 1000;
        CHECK(pmap__clock_drift(&clock) > ppm - 0.1 && pmap__clock_drift(&clock) < ppm + 0.1);
    }
}

/* Two pings of a short run differ for they are uncertain: that is no drift. */
static void uncertainty_is_no_drift(void)
{
    struct host host = {5 * (int64_t)S, 0};
    struct pmap__clock clock = {0};

    ping(&clock, &host, 10 * S, 500 * US, 10 * US, false);
    ping(&clock, &host, 10 * S + 2000 * US, 10 * US, 10 * US, true);
    CHECK(pmap__clock_drift(&clock) == 0);
    CHECK(pmap__clock_ours(&clock, there(&host, 20 * S)) == 20 * S); /* by the better of the two */
}

static void time_never_goes_back(void)
{
    struct host host = {-3 * (int64_t)S, 90000};
    struct pmap__clock clock = {0};
    uint64_t before = 0;

    ping(&clock, &host, 10 * S, 5 * US, 10 * US, false);
    ping(&clock, &host, 500 * S, 10 * US, 5 * US, true);
    for (uint64_t t = 9 * S; t < 9 * S + 100000; t++) {
        uint64_t ours = pmap__clock_ours(&clock, t);
        if (!CHECK(ours >= before))
            return;
        before = ours;
    }
}

/* A reply before its question, or clocks that differ by a tenth: something is wrong, and nothing follows from it. */
static void nonsense_is_not_believed(void)
{
    struct pmap__clock clock = {0};

    pmap__clock_ping(&clock, &(struct pmap__ping){.sent = 100, .there = 5, .back = 99}, false);
    CHECK(!clock.first.known);
    ping(&clock, &(struct host){0, 0}, 10 * S, 1, 1, false);
    ping(&clock, &(struct host){2 * (int64_t)S, 0}, 20 * S, 1, 1, true);
    CHECK(pmap__clock_drift(&clock) == 0);
}

/* ---- Books ---- */

struct sums {
    uint64_t lines, items, busy, failed, weight, longest;
};

static struct sums sum_lines(const struct pmap__book *book)
{
    struct sums s = {0};

    for (size_t i = 0; i < book->n_lanes; i++)
        for (size_t j = 0; j < book->lanes[i].n; j++) {
            const struct pmap__span_line *line = &book->lanes[i].lines[j];
            s.lines++;
            s.items += line->span.n;
            s.busy += line->span.busy;
            s.failed += line->span.failed;
            s.weight += line->weight;
            s.longest = line->longest > s.longest ? line->longest : s.longest;
        }
    return s;
}

static struct pmap__span span_of(uint64_t call, size_t i, uint64_t length)
{
    return (struct pmap__span){.call = call, .item = i, .last = i, .n = 1, .begin = 1000 * i, .end = 1000 * i + length, .busy = length,
                               .attempt = 1, .kind = PMAP__SPAN_ITEMS};
}

static struct pmap__book *make_book(size_t bound)
{
    struct pmap__book *book = pmap__book_create("nowhere", bound);

    if (book == NULL || pmap__book_pool(book, 4) != 0)
        abort();
    return book;
}

static uint64_t begin_call(struct pmap__book *book, const char *task, size_t n)
{
    return pmap__book_call_begins(book, &(struct pmap__call_begins){.function = "pmap_map", .task = task, .n = n});
}

static void sums_survive_any_joining(void)
{
    for (size_t bound = 16; bound < 3000; bound *= 5) {
        struct pmap__book *book = make_book(bound);
        uint64_t call = begin_call(book, "f", 20000), busy = 0;
        for (size_t i = 0; i < 20000; i++) {
            struct pmap__span span = span_of(call, i, 300 + i * 7919 % 600);
            span.thread = (int)(i / 3 % 3);
            busy += span.busy;
            pmap__book_spans(book, (int)(i % 4), &span, 1);
            if (!CHECK(book->n_lines <= bound))
                break;
        }
        struct sums s = sum_lines(book);
        CHECK_INT(s.lines, book->n_lines);
        CHECK_INT(s.items, 20000);
        CHECK_INT(s.weight, 20000);
        CHECK_INT(s.busy, busy);
        CHECK_INT(book->missed, 0);
        CHECK_INT(book->all_spans, 20000);
        CHECK_INT(book->kinds[1].items, 20000);
        CHECK_INT(book->kinds[1].busy, busy);
        pmap__book_destroy(book);
    }
}

/* Of ten thousand the one that took long, and the one that failed, are still by themselves. */
static void long_and_failed_spans_stay_apart(void)
{
    struct pmap__book *book = make_book(400);
    uint64_t call = begin_call(book, "f", 10000);
    int apart = 0;

    for (size_t i = 0; i < 10000; i++) {
        struct pmap__span span = span_of(call, i, i == 3000 ? 999 : 10);
        span.failed = i == 7000;
        pmap__book_spans(book, 0, &span, 1);
    }
    for (size_t j = 0; j < book->lanes[0].n; j++) {
        const struct pmap__span_line *line = &book->lanes[0].lines[j];
        apart += line->weight == 1 && (line->span.item == 3000 || line->span.item == 7000);
    }
    CHECK_INT(apart, 2);
    CHECK(book->n_lines <= 400);
    pmap__book_destroy(book);
}

/* If all fail, or all are equally long, they are joined like any others. */
static void all_being_special_none_is(void)
{
    struct pmap__book *book = make_book(64);
    uint64_t call = begin_call(book, "f", 5000);

    for (size_t i = 0; i < 5000; i++) {
        struct pmap__span span = span_of(call, i, 100);
        span.failed = 1;
        pmap__book_spans(book, 0, &span, 1);
    }
    CHECK_INT(sum_lines(book).failed, 5000);
    CHECK_INT(book->missed, 0);
    CHECK(book->n_lines <= 64);
    pmap__book_destroy(book);
}

/* Joined spans of a lane lie one after the other still. Where there is more rest than work between two they stay apart, as long as there
 * is room. */
static void joined_spans_do_not_overlap(void)
{
    struct pmap__book *book = make_book(50);
    uint64_t call = begin_call(book, "f", 4096);

    for (size_t i = 0; i < 4096; i++) {
        struct pmap__span span = span_of(call, i + (i < 1000 ? 0 : 5000), 900);
        pmap__book_spans(book, 0, &span, 1);
    }
    for (size_t j = 1; j < book->lanes[0].n; j++)
        CHECK(book->lanes[0].lines[j].span.begin >= book->lanes[0].lines[j - 1].span.end);
    for (size_t j = 0; j < book->lanes[0].n; j++)
        CHECK(book->lanes[0].lines[j].span.begin >= 6000000 || book->lanes[0].lines[j].span.end <= 1000000);
    CHECK_INT(sum_lines(book).items, 4096);
    pmap__book_destroy(book);
}

/* Where no neighbours are alike, spans are dropped and counted, and the sums of the kinds do not change. */
static void alternating_kinds_are_counted(void)
{
    struct pmap__book *book = make_book(100);
    uint64_t calls[] = {begin_call(book, "f", 0), begin_call(book, "g", 0)};

    for (size_t i = 0; i < 5000; i++) {
        struct pmap__span span = span_of(calls[i % 2], i, 500);
        pmap__book_spans(book, 1, &span, 1);
    }
    CHECK(book->n_lines <= 100);
    CHECK_INT(sum_lines(book).weight + book->missed, 5000);
    CHECK_INT(book->kinds[1].items, 2500);
    CHECK_INT(book->kinds[2].items, 2500);
    pmap__book_destroy(book);
}

static void calls_that_have_ended_are_joined(void)
{
    struct pmap__book *book = make_book(64);
    uint64_t items = 0, calls = 0, open = begin_call(book, "h", 7), failed = 0;

    for (size_t i = 0; i < 5000; i++) {
        uint64_t call = begin_call(book, i % 3 ? "f" : "g", 2);
        pmap__book_call_ends(book, &(struct pmap__call_ends){.call = call, .status = i == 99 ? PMAP_EFAILED : PMAP_OK, .items = 2,
                                                             .failed = i == 99, .error = i == 99 ? "why" : NULL});
    }
    pmap__book_call_ends(book, &(struct pmap__call_ends){.call = open, .items = 7});
    for (size_t i = 0; i < book->n_calls; i++) {
        items += book->calls[i].items;
        calls += book->calls[i].calls;
        failed += book->calls[i].status == PMAP_EFAILED && strcmp(book->calls[i].error, "why") == 0 && book->calls[i].calls == 1;
    }
    CHECK_INT(items, 10007);
    CHECK_INT(calls, 5001);
    CHECK_INT(failed, 1);
    CHECK(book->n_calls <= 64);
    pmap__book_destroy(book);
}

static void chunks_are_joined_and_add_up(void)
{
    struct pmap__book *book = make_book(64);
    uint64_t call = begin_call(book, "f", 0), n = 0, total = 0, chunks = 0, queue = 0;

    for (uint64_t i = 0; i < 3000; i++) {
        struct pmap__chunk_ends chunk = {.call = call, .chunk = i + 1, .rank = (int)(i % 4), .item = 5 * i, .n = 5, .attempt = 1, .dealt = 100 * i,
                                         .sent = 100 * i + 10, .answered = 100 * i + 90, .timed = true, .arrived = 100 * i + 20,
                                         .begun = 100 * i + 25, .ended = 100 * i + 80};
        pmap__book_chunk(book, chunk.rank, &chunk);
    }
    for (int r = 0; r < 4; r++)
        for (size_t i = 0; i < book->ranks[r].n; i++) {
            n += book->ranks[r].chunks[i].first.n;
            total += book->ranks[r].chunks[i].total;
            queue += book->ranks[r].chunks[i].queue;
            chunks += book->ranks[r].chunks[i].chunks;
        }
    CHECK_INT(n, 15000);
    CHECK_INT(chunks, 3000);
    CHECK_INT(total, 3000 * 90);
    CHECK_INT(queue, 3000 * 5);
    CHECK(book->n_chunks <= 64);
    pmap__book_destroy(book);
}

/* For a page in haste: to a tenth, in which everything is still counted, and the longest span is by itself. */
static void thinning_out_loses_nothing(void)
{
    struct pmap__book *book = make_book(100000);
    uint64_t call = begin_call(book, "f", 100000), chunks = 0;
    int apart = 0;

    for (size_t i = 0; i < 100000; i++) {
        struct pmap__span span = span_of(call, i, i == 70000 ? 990 : 500);
        pmap__book_spans(book, (int)(i / 100 % 4), &span, 1);
    }
    for (uint64_t i = 0; i < 20000; i++)
        pmap__book_chunk(book, (int)(i % 4), &(struct pmap__chunk_ends){.call = call, .chunk = i + 1, .n = 5, .attempt = 1});
    for (size_t i = 0; i < 5000; i++)
        pmap__book_call_ends(book, &(struct pmap__call_ends){.call = begin_call(book, "g", 2), .items = 2});
    CHECK_INT(book->n_lines, 100000);
    pmap__thin_out(book);
    CHECK(book->n_lines <= PMAP__THINNED);
    CHECK(book->n_chunks <= PMAP__THINNED / 4);
    CHECK(book->n_calls <= PMAP__THINNED / 4);
    CHECK_INT(sum_lines(book).lines, book->n_lines);
    CHECK_INT(sum_lines(book).weight, 100000);
    CHECK_INT(sum_lines(book).busy, 99999 * 500 + 990);
    CHECK_INT(book->missed, 0);
    for (int r = 0; r < 4; r++)
        for (size_t i = 0; i < book->ranks[r].n; i++)
            chunks += book->ranks[r].chunks[i].chunks;
    CHECK_INT(chunks, 20000);
    for (size_t i = 0; i < book->n_lanes; i++)
        for (size_t j = 0; j < book->lanes[i].n; j++)
            apart += book->lanes[i].lines[j].weight == 1 && book->lanes[i].lines[j].longest == 990;
    CHECK_INT(apart, 1);
    pmap__book_destroy(book);
}

static void each_duration_is_in_its_class(void)
{
    CHECK_INT(pmap__duration_class(0), 0);
    for (uint64_t ns = 1; ns < UINT64_MAX / 2; ns += ns / 5 + 1) {
        size_t class = pmap__duration_class(ns);
        if (!CHECK(class < PMAP__CLASSES && pmap__class_from(class) <= (double)ns && (double)ns < pmap__class_from(class + 1)))
            return;
    }
    CHECK(pmap__duration_class(UINT64_MAX) < PMAP__CLASSES);
}

/* Pools of the same size share their ranks. */
static void pools_have_ranks_by_their_size(void)
{
    struct pmap__book *book = make_book(64);

    CHECK_INT(pmap__book_pool(book, 4), 0);
    CHECK_INT(pmap__book_pool(book, 1), 4);
    CHECK_INT(pmap__book_pool(book, 3), 5);
    CHECK_INT(pmap__book_pool(book, 1), 4);
    CHECK_INT(book->n_ranks, 8);
    pmap__book_destroy(book);
}

/* ---- Haste ---- */

static size_t salvaged;

static void keep_salvaged(struct pmap__observer *observer, int rank, const struct pmap__span *spans, size_t n)
{
    (void)observer;
    (void)spans;
    CHECK_INT(rank, 3);
    salvaged += n;
}

static void must_not_be_called(struct pmap__observer *observer, int rank, const struct pmap__span *spans, size_t n)
{
    (void)observer;
    (void)rank;
    (void)spans;
    (void)n;
    CHECK_SAYING(false, "spans() may wait, and was called in haste");
}

static void note_one(struct pmap__recorder *recorder, struct pmap__observer *observer, int thread)
{
    struct pmap__subject subject = {.observer = observer, .number = observer->number, .call = 1, .attempt = 1};
    struct pmap__noting noting;

    pmap__noting_begin(&noting, recorder, &subject, thread);
    pmap__noting_piece(&noting, 0, 1);
    pmap__noting_end(&noting);
}

/* Whoever writes hastily has the book's lock already, and that of no other observer: so nothing goes the usual way. */
static void haste_takes_its_own_and_waits_for_nobody(void)
{
    static const struct pmap__observer_ops ops = {.spans = must_not_be_called};
    struct pmap__observer mine = {.ops = &ops, .number = 1}, another = {.ops = &ops, .number = 2};
    struct pmap__post post;
    struct pmap__place place = {.rank = 3, .root = 3, .post = &post};

    pmap__post_init(&post, NULL);
    struct pmap__recorder *recorder = pmap__recorder_create(&place);
    if (CHECK(recorder != NULL && pmap__recorder_begin(recorder, 3))) {
        note_one(recorder, &mine, 0);
        note_one(recorder, &another, 1);
        note_one(recorder, &mine, 2);
        salvaged = 0;
        pmap__recorder_salvage(recorder, &mine, keep_salvaged);
        CHECK_INT(salvaged, 2);
        pmap__recorder_salvage(recorder, &mine, keep_salvaged); /* once */
        CHECK_INT(salvaged, 2);
        pmap__recorder_salvage(recorder, &another, keep_salvaged);
        CHECK_INT(salvaged, 3);
    }
    pmap__recorder_destroy(recorder);
    pmap__post_fini(&post);
}

static const struct test tests[] = {TEST(unknown_clock_is_ours),
                                    TEST(even_ping_is_exact),
                                    TEST(fastest_ping_bounds_the_error),
                                    TEST(drift_is_taken_out),
                                    TEST(uncertainty_is_no_drift),
                                    TEST(time_never_goes_back),
                                    TEST(nonsense_is_not_believed),
                                    TEST(sums_survive_any_joining),
                                    TEST(long_and_failed_spans_stay_apart),
                                    TEST(all_being_special_none_is),
                                    TEST(joined_spans_do_not_overlap),
                                    TEST(alternating_kinds_are_counted),
                                    TEST(calls_that_have_ended_are_joined),
                                    TEST(chunks_are_joined_and_add_up),
                                    TEST(thinning_out_loses_nothing),
                                    TEST(each_duration_is_in_its_class),
                                    TEST(pools_have_ranks_by_their_size),
                                    TEST(haste_takes_its_own_and_waits_for_nobody),
                                    {NULL, NULL}};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1");
}
