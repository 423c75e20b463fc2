/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * observe, from the inside: the line of progress fits into any width, the time that is left is sane, numbers are as people read them.
 */
#include "harness.h"
#include "observe/drawing.h"
#include "observe/estimate.h"
#include "observe/words.h"

#include <stdlib.h>
#include <string.h>

/* ---- Words ------------------------------------------------------------------------------------------- */

static void words_are_short(void)
{
    char text[PMAP__WORD];

    CHECK_TEXT(pmap__word_count(text, 0), "0");
    CHECK_TEXT(pmap__word_count(text, 99999), "99999");
    CHECK_TEXT(pmap__word_count(text, 123456), "123k");
    CHECK_TEXT(pmap__word_count(text, 1.234e6), "1.23M");
    CHECK_TEXT(pmap__word_count(text, 999.6e6), "1.00G");
    CHECK_TEXT(pmap__word_rate(text, 1234), "1.23k/s");
    CHECK_TEXT(pmap__word_rate(text, 12.34), "12.3/s");
    CHECK_TEXT(pmap__word_rate(text, 0.1), "6.00/min");
    CHECK_TEXT(pmap__word_rate(text, 0.001), "3.60/h");
    CHECK_TEXT(pmap__word_clock(text, 0), "0:00");
    CHECK_TEXT(pmap__word_clock(text, 59.6), "1:00");
    CHECK_TEXT(pmap__word_clock(text, 3723), "1:02:03");
    CHECK_TEXT(pmap__word_clock(text, 3 * 86400 + 4 * 3600), "3d 04h");
    CHECK_TEXT(pmap__word_time(text, 850e-9), "850 ns");
    CHECK_TEXT(pmap__word_time(text, 1.2e-6), "1.20 us");
    CHECK_TEXT(pmap__word_time(text, 35.06), "35.1 s");
    CHECK_TEXT(pmap__word_time(text, 1800), "30:00");
    CHECK_TEXT(pmap__word_bytes(text, 0), "0 B");
    CHECK_TEXT(pmap__word_bytes(text, 1234), "1.23 kB");
    CHECK(strlen(pmap__word_clock(text, 1e300)) < PMAP__WORD && strlen(pmap__word_count(text, 1e300)) < PMAP__WORD);
}

/* ---- Drawing ----------------------------------------------------------------------------------------- */

static const struct pmap__scene scenes[] = {
    {.what = "f", .nth = 1, .left = -1, .ranks = 1, .threads = 1},
    {.what = "simulate", .nth = 1, .all = 10000, .done = 5200, .failed = 3, .seconds = 22, .rate = 237, .left = 20, .ranks = 5, .threads = 10,
     .busy = 10, .each = 2},
    {.what = "a_task_with_a_long_name", .nth = 1234567, .all = UINT64_MAX, .done = UINT64_MAX / 3, .failed = UINT64_MAX / 7,
     .cancelled = UINT64_MAX / 9, .recalled = UINT64_MAX / 11, .retried = 5, .seconds = 1e12, .rate = 1e15, .left = 1e15, .ranks = 1000000,
     .threads = 123456789, .busy = 12345678},
    {.what = "stream", .nth = 1, .endless = true, .done = 123456, .seconds = 7, .rate = 0.001, .left = -1, .ranks = 1, .threads = 8, .busy = 8,
     .each = 8, .turn = 3},
    {.what = "over", .nth = 1, .all = 7, .done = 9, .seconds = 7, .ranks = 2, .threads = 3, .busy = 0},
};

#define SCENES (sizeof scenes / sizeof *scenes)

/* Columns of a text: its characters, without escape sequences. */
static size_t columns_of(const char *text)
{
    size_t n = 0;

    for (; *text; text++) {
        if (*text == '\033') {
            text = strchr(text, 'm');
            continue;
        }
        n += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return n;
}

static void the_line_fits_into_any_width(void)
{
    char text[PMAP__DRAWING];

    for (size_t columns = 0; columns < 300; columns++)
        for (size_t i = 0; i < 4 * SCENES; i++) {
            struct pmap__terminal terminal = {.columns = columns, .utf8 = i / SCENES % 2, .color = i / SCENES / 2};
            size_t said = pmap__drawing_line(&scenes[i % SCENES], &terminal, text), drawn = columns_of(text);
            if (!CHECK_SAYING(drawn == said && (drawn < columns || drawn == 0), "in %zu columns: %s", columns, text))
                return;
            CHECK(terminal.color || strchr(text, '\033') == NULL);
            for (const char *c = text; *c && !terminal.utf8; c++)
                CHECK((unsigned char)*c < 128 && (*c >= 32 || *c == '\033'));
        }
}

static void what_matters_most_stays(void)
{
    char text[PMAP__DRAWING];

    pmap__drawing_line(&scenes[1], &(struct pmap__terminal){.columns = 25}, text);
    CHECK_TEXT(text, "52% 0:20 3 failed");
    pmap__drawing_line(&scenes[1], &(struct pmap__terminal){.columns = 12}, text);
    CHECK_TEXT(text, "52% 0:20");
    pmap__drawing_line(&scenes[1], &(struct pmap__terminal){.columns = 80}, text);
    CHECK_TEXT(text, "simulate   52%  [######......]  5200/10000  237/s  0:20 left  3 failed  10 busy");
    pmap__drawing_line(&scenes[1], &(struct pmap__terminal){.columns = 200}, text);
    CHECK_TEXT(text, "simulate   52%  [###################-..................]  5200/10000  237/s  0:20 left  3 failed  "
                     "5 ranks x 2 threads  10 busy");
    pmap__drawing_line(&scenes[3], &(struct pmap__terminal){.columns = 80}, text);
    CHECK_TEXT(text, "stream  \\  123k  3.60/h  0:07  8 threads  8 busy");
}

static void logs_are_sentences(void)
{
    char text[PMAP__DRAWING];

    pmap__drawing_log(&scenes[1], text);
    CHECK_TEXT(text, "pmap: simulate: 5200 of 10000 items (52%), 237/s, 0:20 left, 3 failed, 5 ranks x 2 threads, 10 busy");
    pmap__drawing_end(&scenes[1], text);
    CHECK_TEXT(text, "pmap: simulate: 5200 items in 22.0 s, 236/s, 3 failed");
    pmap__drawing_log(&scenes[3], text);
    CHECK_TEXT(text, "pmap: stream: 123456 items in 0:07, 3.60/h, 8 threads, 8 busy");
    pmap__drawing_log(&scenes[2], text);
    CHECK(strlen(text) < PMAP__DRAWING && strstr(text, "run again"));
}

/* ---- What is left ------------------------------------------------------------------------------------ */

/* Items of these times on so many threads, each taken by whoever is free first: at a time, how many are done, how many run, and when it
 * is all over. */
struct play {
    double begin[1000], end[1000], over;
    size_t n;
};

static void play(struct play *p, const double times[], size_t n, int threads)
{
    double free_at[16] = {0};

    p->n = n;
    p->over = 0;
    for (size_t i = 0; i < n; i++) {
        int first = 0;
        for (int t = 1; t < threads; t++)
            if (free_at[t] < free_at[first])
                first = t;
        p->begin[i] = free_at[first];
        p->end[i] = free_at[first] += times[i];
        p->over = p->end[i] > p->over ? p->end[i] : p->over;
    }
}

/* Look at it every 0.1 s; what is said to be left at a part of the time, and that it was never negative once it was known. */
static double left_at(const struct play *p, double part, int threads)
{
    struct pmap__estimate e = {.time = 0};
    double left = -1, first = 0, second = 0, now;
    struct pmap__spread spread = {.longest = 0};
    size_t done = 0;

    for (now = 0.1; now <= part * p->over; now += 0.1) {
        size_t ended = 0, running = 0;
        first = second = 0;
        for (size_t i = 0; i < p->n; i++) {
            double took = p->end[i] - p->begin[i];
            running += p->begin[i] <= now && p->end[i] > now;
            if (p->end[i] > now)
                continue;
            ended++;
            first += took;
            second += took * took;
            spread.longest = took > spread.longest ? took : spread.longest;
        }
        spread.residual = first > 0 ? second / (2 * first) : 0;
        pmap__estimate_add(&e, 0.1, (double)(ended - done), (double)running);
        done = ended;
        left = pmap__estimate_left(&e, (double)(p->n - done), threads, &spread);
        CHECK(left >= 0 || done == 0);
    }
    return left;
}

static void nobody_knows_at_first(void)
{
    struct pmap__estimate e = {.time = 0};
    struct pmap__spread spread = {.longest = 0};

    CHECK(pmap__estimate_left(&e, 10, 4, &spread) < 0);
    CHECK(pmap__estimate_left(&e, 0, 4, &spread) == 0);
    pmap__estimate_add(&e, 5, 0, 4);
    CHECK(pmap__estimate_left(&e, 10, 4, &spread) < 0);
    CHECK(pmap__estimate_rate(&e) == 0);
}

static void equal_items_are_foreseen(void)
{
    static struct play p;
    static double times[1000];

    for (size_t i = 0; i < 1000; i++)
        times[i] = 0.35;
    play(&p, times, 1000, 10);
    for (double part = 0.1; part < 0.95; part += 0.2) {
        double left = left_at(&p, part, 10), truth = (1 - part) * p.over;
        CHECK_SAYING(left > 0.85 * truth && left < 1.15 * truth + 0.7, "at %.0f%%: %.1f s instead of %.1f", 100 * part, left, truth);
    }
}

/* One of twenty takes 50 times as long: the short ones that are done first do not promise too much. */
static void skewed_items_are_foreseen(void)
{
    static struct play p;
    static double times[400];

    for (size_t i = 0; i < 400; i++)
        times[i] = i % 20 == 10 ? 10 : 0.2;
    play(&p, times, 400, 8);
    for (double part = 0.3; part < 0.95; part += 0.2) {
        double left = left_at(&p, part, 8), truth = (1 - part) * p.over;
        CHECK_SAYING(left > 0.5 * truth && left < 2 * truth + 10, "at %.0f%%: %.1f s instead of %.1f", 100 * part, left, truth);
    }
}

/* The last item takes for ever: it is given as long again, instead of nothing. */
static void the_last_item_is_not_forgotten(void)
{
    static struct play p;
    static double times[100];
    double before = 0;

    for (size_t i = 0; i < 100; i++)
        times[i] = i == 99 ? 1000 : 0.5;
    play(&p, times, 100, 10);
    for (double part = 0.02; part < 0.99; part += 0.2) {
        double left = left_at(&p, part, 10);
        CHECK_SAYING(left > before && left > 0.9 * part * p.over - 10, "%.1f s after %.1f", left, before);
        before = left;
    }
}

static const struct test tests[] = {
    TEST(words_are_short),
    TEST(the_line_fits_into_any_width),
    TEST(what_matters_most_stays),
    TEST(logs_are_sentences),
    TEST(nobody_knows_at_first),
    TEST(equal_items_are_foreseen),
    TEST(skewed_items_are_foreseen),
    TEST(the_last_item_is_not_forgotten),
    {NULL, NULL},
};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1");
}
