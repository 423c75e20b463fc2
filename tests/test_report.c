/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * report: what is made of a trace. Figures are compared with what was computed by hand, advice with what was done to the run on purpose: a
 * schedule is played with made-up item times, and written down as a trace. The page itself is looked at by test_report.sh.
 *
 * The linker sends the library's allocations to the functions __wrap_… in here (options in Makefile.am). */
#include "harness.h"
#include "report/advice.h"
#include "report/deals.h"
#include "report/json.h"
#include "report/report.h"

#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define MS 1000000.0

/* ---- Allocations that fail ----------------------------------------------------------------------------- */

static long until_failure = -1; /* so many more are granted; -1: all */

static bool must_fail(void)
{
    return until_failure >= 0 && until_failure-- == 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t size) { return must_fail() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t n, size_t size) { return must_fail() ? NULL : __real_calloc(n, size); }
void *__wrap_realloc(void *p, size_t size) { return must_fail() ? NULL : __real_realloc(p, size); }
char *__wrap_strdup(const char *text) { return must_fail() ? NULL : __real_strdup(text); }

/* ---- Traces -------------------------------------------------------------------------------------------- */

/* A trace that grows; times in ms. */
struct trace {
    FILE *to;
    char *text;
    size_t size;
    int calls, chunks;
};

static void put(struct trace *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct trace *t, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(t->to, format, args);
    va_end(args);
}

/* Lanes are named, so that those that run nothing are there, too. tasks: what otherData.tasks has. */
static struct trace *begin_trace(int ranks, int threads, double ready, double end, const char *tasks)
{
    struct trace *t = test_array(1, sizeof *t);

    t->to = open_memstream(&t->text, &t->size);
    put(t, "{\"displayTimeUnit\":\"ms\",\"otherData\":{\"pmap\":\"0.1.0\",\"format\":1,\"command\":\"./test\",\"end_us\":%.3f,\"items\":1,\"lanes\":[", 1000 * end);
    for (int lane = 0; lane < ranks * threads; lane++)
        put(t, "%s{\"rank\":%d,\"thread\":%d,\"host\":\"node%d\"}", lane ? "," : "", lane / threads, lane % threads, lane / threads / 2);
    put(t, "],\"tasks\":[%s]},\"traceEvents\":[{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":0,\"args\":{\"name\":\"rank 0\"}}", tasks);
    for (int rank = 0; rank < ranks; rank++)
        put(t, ",\n{\"ph\":\"X\",\"cat\":\"startup\",\"name\":\"pmap_create\",\"pid\":%d,\"tid\":0,\"ts\":0,\"dur\":%.3f}", rank, 1000 * ready);
    return t;
}

static int put_call(struct trace *t, const char *function, const char *task, double begin, double end, size_t n, size_t chunksize)
{
    int number = ++t->calls;

    put(t, ",\n{\"ph\":\"b\",\"cat\":\"calls\",\"id\":\"%d\",\"pid\":-1,\"ts\":%.3f,\"args\":{\"call\":%d,\"function\":\"%s\",\"task\":\"%s\",\"n\":%zu,\"chunksize\":%zu}}",
        number, 1000 * begin, number, function, task, n, chunksize);
    put(t, ",\n{\"ph\":\"e\",\"cat\":\"calls\",\"id\":\"%d\",\"pid\":-1,\"ts\":%.3f,\"args\":{\"status\":\"PMAP_OK\",\"items\":%zu}}", number, 1000 * end, n);
    return number;
}

static void put_span(struct trace *t, int call, int rank, int thread, double begin, double end, size_t item, const char *more)
{
    put(t, ",\n{\"ph\":\"X\",\"cat\":\"items\",\"name\":\"x\",\"pid\":%d,\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f,\"args\":{\"call\":%d,\"item\":%zu%s}}", rank, thread,
        1000 * begin, 1000 * (end - begin), call, item, more);
}

/* The times of a chunk: handed out, sent, arrived, begun, done, answered. */
static void put_chunk(struct trace *t, int call, int rank, size_t n, size_t bytes, const double at[6])
{
    int number = ++t->chunks;

    put(t, ",\n{\"ph\":\"b\",\"cat\":\"chunks\",\"id\":\"%d\",\"pid\":%d,\"ts\":%.3f,\"args\":{\"call\":%d,\"n\":%zu,\"bytes_out\":%zu,\"bytes_in\":8,\"status\":\"ok\",\"send_us\":%.3f,"
        "\"transfer_us\":%.3f,\"queue_us\":%.3f,\"run_us\":%.3f,\"answer_us\":%.3f}}", number, rank, 1000 * at[0], call, n, bytes, 1000 * (at[1] - at[0]),
        1000 * (at[2] - at[1]), 1000 * (at[3] - at[2]), 1000 * (at[4] - at[3]), 1000 * (at[5] - at[4]));
    put(t, ",\n{\"ph\":\"e\",\"cat\":\"chunks\",\"id\":\"%d\",\"pid\":%d,\"ts\":%.3f}", number, rank, 1000 * at[5]);
}

static void end_trace(struct trace *t)
{
    put(t, "\n]}\n");
    fclose(t->to);
}

static void trace_destroy(struct trace *t)
{
    free(t->text);
    free(t);
}

static enum pmap_status read_text(struct pmap__run *run, const char *text, size_t size, struct pmap_error *error)
{
    FILE *in = fmemopen((void *)(uintptr_t)text, size, "r");
    enum pmap_status status = pmap__run_read(run, in, "run.json", error);

    fclose(in);
    return status;
}

/* Everything that is made of a trace, which is used up. */
struct all {
    struct pmap__run run;
    struct pmap__losses losses;
    struct pmap__figures figures;
    struct pmap__advices advices;
};

static bool analyse(struct all *all, struct trace *t)
{
    struct pmap_error error = {.text = ""};

    end_trace(t);
    bool well = CHECK_SAYING(read_text(&all->run, t->text, t->size, &error) == PMAP_OK, "%s", error.text);
    trace_destroy(t);
    return well && CHECK(pmap__losses_count(&all->losses, &all->run)) && CHECK(pmap__figures_count(&all->figures, &all->run)) &&
           CHECK(pmap__advices_find(&all->advices, &all->run, &all->losses, &all->figures));
}

static void all_fini(struct all *all)
{
    pmap__advices_fini(&all->advices);
    pmap__figures_fini(&all->figures);
    pmap__losses_fini(&all->losses);
    pmap__run_fini(&all->run);
}

/* ---- Figures ------------------------------------------------------------------------------------------- */

/* Two threads on the root, one on rank 1, 12 ms:
 *
 *   ms               0    1    2    3    4    5    6    7    8    9    10   11   12
 *   rank 0 thread 0  create--  .    [item 0        ][item 2       ]    .    no call
 *   rank 0 thread 1  create--  .    [item 1   ]     .    .    .    .   .    no call
 *   rank 1 thread 0  create--  out--[item 3]back         out--queue[item 4 ] no call
 *   call                       [                                       ]                */
static void every_nanosecond_of_a_lane_is_in_one_place(void)
{
    struct trace *t = begin_trace(2, 1, 2, 12, "");
    struct all all;

    put_call(t, "pmap_map", "x", 2, 10, 5, 1);
    put_span(t, 1, 0, 0, 2, 6, 0, "");
    put_span(t, 1, 0, 0, 6, 9, 2, ",\"status\":\"failed\",\"failed\":1");
    put_span(t, 1, 0, 1, 2, 5, 1, "");
    put_span(t, 1, 1, 0, 3, 4, 3, "");
    put_span(t, 1, 1, 0, 8, 10, 4, "");
    put_chunk(t, 1, 1, 1, 100, (const double[]){2, 2.5, 3, 3, 4, 5});
    put_chunk(t, 1, 1, 1, 200, (const double[]){6, 6.5, 7, 8, 10, 10});
    if (!analyse(&all, t))
        return;
    CHECK_INT(all.run.n_lanes, 3);
    CHECK_INT(all.losses.all[PMAP__WORKING] / MS, 10); /* 4 + 3 + 1 + 2 */
    CHECK_INT(all.losses.all[PMAP__FAILED] / MS, 3);
    CHECK_INT(all.losses.all[PMAP__STARTUP] / MS, 6);
    CHECK_INT(all.losses.all[PMAP__TRANSFER] / MS, 3);   /* 2-3, 4-5, 6-7 */
    CHECK_INT(all.losses.all[PMAP__WAITING] / MS, 2);    /* 5-6, 7-8 */
    CHECK_INT(all.losses.all[PMAP__IMBALANCE] / MS, 6);  /* 9-10, 5-10 */
    CHECK_INT(all.losses.all[PMAP__BETWEEN] / MS, 6);
    CHECK_INT(all.losses.lane_time / MS, 36);
    CHECK_INT(all.losses.alone / MS, 2);
    CHECK_INT(all.figures.ranks[1].bytes_out, 300);
    CHECK_INT(all.figures.ranks[1].items, 2);
    CHECK_INT(all.figures.failed_spans, 1);
    CHECK_INT(all.figures.slowest[0]->item, 0);
    all_fini(&all);
}

static void pauses_inside_of_joined_spans_are_lost_too(void)
{
    struct trace *t = begin_trace(1, 1, 0, 10, "");
    struct all all;

    put_call(t, "pmap_map", "x", 0, 10, 1000, 0);
    put_span(t, 1, 0, 0, 0, 8, 0, ",\"n\":800,\"busy_us\":6000,\"weight\":2,\"longest_us\":50");
    put_span(t, 1, 0, 0, 8, 10, 800, ",\"n\":200");
    if (!analyse(&all, t))
        return;
    CHECK_INT(all.losses.all[PMAP__WORKING] / MS, 8);
    CHECK_INT(all.losses.all[PMAP__WAITING] / MS, 2);
    CHECK_INT(all.figures.lanes[0].items, 1000);
    CHECK_INT(all.figures.slowest[0]->longest, 50000);
    all_fini(&all);
}

static void bins_have_all_that_lanes_were_busy(void)
{
    struct trace *t = begin_trace(3, 2, 1, 100, "");
    struct all all;
    double sum = 0;

    put_call(t, "pmap_map", "x", 1, 100, 60, 1);
    for (size_t i = 0; i < 60; i++)
        put_span(t, 1, (int)(i % 3), (int)(i / 3 % 2), 1 + 9.7 * (double)(i / 6), 1 + 9.7 * (double)(i / 6) + 7.3, i, "");
    if (!analyse(&all, t))
        return;
    for (size_t b = 0; b < all.run.n_lanes * all.figures.n_bins; b++)
        sum += all.figures.busy[b];
    CHECK_SAYING(fabs(sum - all.figures.items_busy) < 1e-4 * sum, "%g of %g", sum, all.figures.items_busy);
    CHECK_SAYING(fabs(sum - 60 * 7.3 * MS) < 1e-4 * sum, "%g", sum);
    all_fini(&all);
}

static void quantiles_come_from_the_histogram(void)
{
    struct trace *t = begin_trace(1, 1, 0, 10,
        "{\"call\":\"pmap_map\",\"task\":\"x\",\"calls\":1,\"items\":90,\"min_us\":10,\"max_us\":1000,\"histogram\":[[10,12,50],[12,14,30],[900,1000,10]]},"
        "{\"call\":\"pmap_map\",\"task\":\"y\",\"calls\":1,\"items\":10,\"min_us\":10,\"max_us\":12,\"histogram\":[[10,12,10]]}");
    struct all all;

    if (!analyse(&all, t))
        return;
    CHECK_INT(all.figures.n_histogram, 3);
    CHECK_INT(all.figures.histogram[0].items, 60);
    CHECK_INT(all.figures.shortest, 10000);
    CHECK_INT(lround(all.figures.median), 11667); /* 50 of 60 items into 10-12 us */
    CHECK_INT(lround(all.figures.p90), 14000);
    CHECK_INT(lround(all.figures.p99), 990000);
    CHECK_INT(all.figures.longest, 1000000);
    all_fini(&all);
}

/* A call that was not ended, ranks that died, calls that were joined, and lanes that nobody named. */
static void half_a_run_is_read(void)
{
    struct trace *t = begin_trace(2, 1, 0, 10, "");
    struct all all;

    put(t, ",\n{\"ph\":\"b\",\"cat\":\"calls\",\"id\":\"7\",\"ts\":1000,\"args\":{\"call\":7,\"function\":\"pmap_map\",\"task\":\"x\",\"n\":9,\"calls\":3,\"to\":9}}");
    put_span(t, 8, 5, 3, 2, 4, 0, "");
    put_span(t, 77, 0, 0, 2, 4, 0, "");
    if (!analyse(&all, t))
        return;
    CHECK_INT(all.run.n_lanes, 3);
    CHECK_INT(all.run.calls[0].end / (int64_t)MS, 10);
    CHECK_INT(all.run.spans[all.run.lanes[2].first].call, 0);
    CHECK_INT(all.run.spans[all.run.lanes[0].first].call, PMAP__NONE);
    CHECK_INT(all.run.ranks[2].rank, 5);
    all_fini(&all);
}

/* ---- Replays ------------------------------------------------------------------------------------------- */

static void replays_are_list_scheduling(void)
{
    struct pmap__replay_work work[] = {{4, 1}, {1, 3}};
    double free_at[8];

    CHECK_INT(pmap__replay(work, 2, 2, 1, 0, free_at), 4);
    CHECK_INT(pmap__replay(work, 2, 2, 2, 0, free_at), 5);
    CHECK_INT(pmap__replay(work, 2, 2, 4, 0, free_at), 7);
    CHECK_INT(pmap__replay(work, 2, 1, 1, 0, free_at), 7);
    CHECK_INT(pmap__replay(work, 2, 8, 1, 0, free_at), 4);
    CHECK_INT(pmap__replay(work, 2, 2, 1, 1, free_at), 6); /* 1 + 4; 3 times 1 + 1 */
    struct pmap__replay_work late[] = {{1, 4}, {4, 1}};
    CHECK_INT(pmap__replay(late, 2, 2, 1, 0, free_at), 6);
    pmap__replay_sort(late, 2);
    CHECK_INT(pmap__replay(late, 2, 2, 1, 0, free_at), 4);
}

/* ---- Advice -------------------------------------------------------------------------------------------- */

/* A map that is played: whoever is free first takes the next chunk. */
struct play {
    const char *function;
    size_t n, chunksize;
    bool automatic;        /* the chunksize is said to be the library's */
    double begin;          /* ms */
    double hand_out;       /* for each chunk */
    double flight;         /* to another rank, and back */
    size_t bytes;          /* an item */
    double (*time)(size_t item);
    double (*speed)(int rank);
    bool (*fails)(size_t item);
};

/* Play it on lanes; when it ended. A failing item says so. */
static double play(struct trace *t, int ranks, int threads, const struct play *p)
{
    double free_at[64], end = p->begin;
    int call = t->calls + 1;

    for (int lane = 0; lane < ranks * threads; lane++)
        free_at[lane] = p->begin;
    for (size_t first = 0; first < p->n; first += p->chunksize) {
        int lane = 0;
        for (int other = 1; other < ranks * threads; other++)
            lane = free_at[other] < free_at[lane] ? other : lane;
        int rank = lane / threads;
        double out = free_at[lane] + p->hand_out, begin = out + (rank ? p->flight : 0), at = begin;
        size_t until = first + p->chunksize < p->n ? first + p->chunksize : p->n;
        for (size_t item = first; item < until; item++) {
            double seconds = p->time(item) * (p->speed ? p->speed(rank) : 1);
            put_span(t, call, rank, lane % threads, at, at + seconds, item, p->fails && p->fails(item) ? ",\"status\":\"failed\",\"failed\":1" : "");
            at += seconds;
        }
        double back = at + (rank ? p->flight : 0);
        if (rank)
            put_chunk(t, call, rank, until - first, p->bytes * (until - first), (const double[]){out, out + p->flight / 2, begin, begin, at, back});
        free_at[lane] = back;
        end = back > end ? back : end;
    }
    put_call(t, p->function ? p->function : "pmap_map", "x", p->begin, end, p->n, p->automatic ? 0 : p->chunksize);
    return end;
}

static double one(size_t item) { (void)item; return 1; }
static double ten(size_t item) { (void)item; return 10; }
static double tiny(size_t item) { (void)item; return 0.002; }
static double uneven(size_t item) { return 1 + (double)(item * 7919 % 13); }
static double late_long(size_t item) { return item == 99 ? 30 : 2; }
static double giant(size_t item) { return item == 0 ? 300 : 1; }
static double rising(size_t item) { return item < 640 ? 0.2 : 10; }

/* The advice about one map, which takes all of the time. */
static bool advise(struct all *all, int ranks, int threads, const struct play *p)
{
    struct trace *t = begin_trace(ranks, threads, 0, 0,
        "{\"call\":\"pmap_map\",\"task\":\"x\",\"calls\":1,\"items\":1,\"histogram\":[]}"); /* it ends with its last span */

    play(t, ranks, threads, p);
    return analyse(all, t);
}

static const struct pmap__advice *find(const struct all *all, enum pmap__topic topic)
{
    for (size_t a = 0; a < all->advices.n; a++)
        if (all->advices.list[a].topic == topic)
            return &all->advices.list[a];
    return NULL;
}

/* There is this advice, and no other but those of which it does not matter. */
static const struct pmap__advice *only(const struct all *all, enum pmap__topic topic)
{
    for (size_t a = 0; a < all->advices.n; a++)
        CHECK_SAYING(all->advices.list[a].topic == topic, "there is also %s: %s", pmap__topic_name(all->advices.list[a].topic), all->advices.list[a].text);
    const struct pmap__advice *advice = find(all, topic);
    CHECK_SAYING(advice != NULL, "no advice about %s", pmap__topic_name(topic));
    return advice;
}

static void none(const struct all *all)
{
    for (size_t a = 0; a < all->advices.n; a++)
        CHECK_SAYING(false, "there is %s: %s", pmap__topic_name(all->advices.list[a].topic), all->advices.list[a].text);
}

static void nothing_is_said_of_good_runs(void)
{
    static const struct play plays[] = {
        {.n = 800, .chunksize = 1, .time = one},
        {.n = 800, .chunksize = 10, .time = one},
        {.n = 400, .chunksize = 1, .automatic = true, .time = uneven, .flight = 0.01},
        {.n = 1600, .chunksize = 4, .time = uneven, .hand_out = 0.01},
    };

    for (size_t p = 0; p < sizeof plays / sizeof plays[0]; p++) {
        struct all all;
        if (advise(&all, 2, 4, &plays[p])) {
            none(&all);
            all_fini(&all);
        }
    }
}

/* 640 short items and 80 long ones, in chunks of 40: two lanes have the long ones, and take 400 ms. */
static void large_chunks_are_found(void)
{
    struct all all;

    if (!advise(&all, 1, 4, &(struct play){.n = 720, .chunksize = 40, .time = rising}))
        return;
    const struct pmap__advice *advice = only(&all, PMAP__SMALLER_CHUNKS);
    if (advice) {
        double length = (double)all.run.end / MS, even = (640 * 0.2 + 80 * 10) / 4;
        CHECK_SAYING(advice->saved / MS > 0.9 * (length - even) && advice->saved / MS <= length - even + 1e-6, "saved %g of %g, at best %g", advice->saved / MS, length, even);
        CHECK_SAYING(strstr(advice->text, "chunks of 40 items took up to 400 ms") != NULL, "%s", advice->text);
        CHECK_SAYING(strstr(advice->title, ".chunksize = ") != NULL, "%s", advice->title);
    }
    all_fini(&all);
}

/* Those of the library, too. */
static void large_chunks_of_the_library_are_found(void)
{
    struct all all;

    if (!advise(&all, 1, 4, &(struct play){.n = 720, .chunksize = 40, .automatic = true, .time = rising}))
        return;
    const struct pmap__advice *advice = only(&all, PMAP__SMALLER_CHUNKS);
    CHECK(advice && strstr(advice->text, "the library's chunks") != NULL);
    all_fini(&all);
}

/* Items of 2 us, and 8 us for each hand-out: one fifth of the time is work. */
static void small_chunks_are_found(void)
{
    struct all all;

    if (!advise(&all, 1, 4, &(struct play){.n = test_size(8000, 800), .chunksize = 1, .time = tiny, .hand_out = 0.008}))
        return;
    const struct pmap__advice *advice = only(&all, PMAP__LARGER_CHUNKS);
    if (advice) {
        CHECK_SAYING(advice->share > 0.7 && advice->share < 0.8, "%g", advice->share);
        CHECK_SAYING(strstr(advice->text, "ran for 2.00 us on average, and each cost its thread another 8.00 us") != NULL, "%s", advice->text);
    }
    all_fini(&all);
}

/* The last of 100 items takes 30 ms, others 2: it is begun when all others are nearly done. */
static void late_long_items_are_found(void)
{
    struct all all;

    if (!advise(&all, 1, 4, &(struct play){.n = 100, .chunksize = 1, .time = late_long}))
        return;
    const struct pmap__advice *advice = only(&all, PMAP__LONGEST_FIRST);
    CHECK_SAYING(advice == NULL || fabs(advice->saved / MS - (78 - 58)) < 1e-6, "%g", advice ? advice->saved / MS : 0); /* 48 + 30; (99 * 2 + 30) / 4, in whole items */
    all_fini(&all);
}

static void one_giant_item_is_found(void)
{
    struct all all;

    if (!advise(&all, 1, 4, &(struct play){.n = 301, .chunksize = 1, .time = giant}))
        return;
    const struct pmap__advice *advice = find(&all, PMAP__LONGEST_ITEM);
    CHECK_SAYING(advice && fabs(advice->saved / MS - 150) < 1e-6, "%g", advice ? advice->saved / MS : -1); /* 300 instead of 600 / 4 */
    CHECK(find(&all, PMAP__LONGEST_FIRST) == NULL);
    CHECK(find(&all, PMAP__FEWER_LANES) != NULL); /* two threads would do as well */
    all_fini(&all);
}

static void calls_of_single_items_are_found(void)
{
    struct trace *t = begin_trace(1, 4, 0, 0, "{\"call\":\"pmap_apply\",\"task\":\"x\",\"calls\":40,\"items\":40,\"histogram\":[]}");
    struct all all;
    double now = 0;

    for (int call = 0; call < 40; call++)
        now = play(t, 1, 4, &(struct play){.function = "pmap_apply", .n = 1, .chunksize = 1, .begin = now, .time = ten});
    if (!analyse(&all, t))
        return;
    const struct pmap__advice *advice = find(&all, PMAP__SMALL_CALLS);
    CHECK_SAYING(advice && fabs(advice->saved / MS - 300) < 1e-6, "%g", advice ? advice->saved / MS : -1); /* 400 instead of 100 */
    all_fini(&all);
}

static void a_program_that_runs_alone_is_found(void)
{
    struct trace *t = begin_trace(1, 4, 0, 0, "");
    struct all all;
    double now = play(t, 1, 4, &(struct play){.n = 400, .chunksize = 1, .time = one});

    play(t, 1, 4, &(struct play){.n = 400, .chunksize = 1, .begin = now + 50, .time = one});
    if (!analyse(&all, t))
        return;
    const struct pmap__advice *advice = only(&all, PMAP__ALONE);
    CHECK_SAYING(advice && strstr(advice->title, "50.0 ms") && strstr(advice->text, "from 100 ms on, after pmap_map x"), "%s", advice ? advice->text : "");
    all_fini(&all);
}

static void a_slow_creation_is_found(void)
{
    struct trace *t = begin_trace(2, 2, 900, 0, "");
    struct all all;

    put(t, ",\n{\"ph\":\"X\",\"cat\":\"startup\",\"name\":\"initializer\",\"pid\":1,\"tid\":0,\"ts\":100000,\"dur\":700000}");
    play(t, 2, 2, &(struct play){.n = 400, .chunksize = 1, .begin = 900, .time = ten});
    if (!analyse(&all, t))
        return;
    const struct pmap__advice *advice = only(&all, PMAP__CREATION);
    CHECK_SAYING(advice && strstr(advice->text, "The longest initializer took 700 ms, on rank 1."), "%s", advice ? advice->text : "");
    all_fini(&all);
}

static void messages_are_found(void)
{
    struct all all;

    if (!advise(&all, 4, 1, &(struct play){.n = 400, .chunksize = 1, .automatic = true, .time = one, .flight = 1, .bytes = 1000000}))
        return;
    const struct pmap__advice *advice = find(&all, PMAP__MESSAGES);
    CHECK_SAYING(advice && strstr(advice->text, "1.0 MB an item on the way out") && strstr(advice->text, "pmap_share"), "%s", advice ? advice->text : "");
    all_fini(&all);
}

static void a_stream_that_is_waited_for_is_found(void)
{
    struct all all;

    if (!advise(&all, 1, 2, &(struct play){.function = "pmap_imap", .n = 200, .chunksize = 1, .automatic = true, .time = one, .hand_out = 5}))
        return;
    CHECK(find(&all, PMAP__WAITS) != NULL);
    CHECK(find(&all, PMAP__LARGER_CHUNKS) == NULL); /* it is not the hand-out that takes 5 ms */
    all_fini(&all);
}

/* The library's chunks: no chunksize is to blame. */
static void waiting_for_the_root_is_found(void)
{
    struct all all;

    if (!advise(&all, 2, 2, &(struct play){.n = 800, .chunksize = 1, .automatic = true, .time = one, .hand_out = 0.1}))
        return;
    const struct pmap__advice *advice = only(&all, PMAP__WAITS);
    CHECK_SAYING(advice && fabs(advice->share - 0.1 / 1.1) < 1e-3 && strstr(advice->text, "dedicated_root"), "%s", advice ? advice->text : "");
    all_fini(&all);
}

static bool each_tenth(size_t item) { return item % 10 == 0; }
static bool one_in_fifty(size_t item) { return item % 50 == 0; }

static void costly_failures_are_found(void)
{
    struct all all;

    if (!advise(&all, 1, 4, &(struct play){.n = 800, .chunksize = 1, .time = one, .fails = each_tenth}))
        return;
    const struct pmap__advice *advice = only(&all, PMAP__FAILURES_COST);
    CHECK_SAYING(advice && fabs(advice->share - 0.1) < 1e-3, "%g", advice ? advice->share : 0);
    all_fini(&all);
    if (!advise(&all, 1, 4, &(struct play){.n = 800, .chunksize = 1, .time = one, .fails = one_in_fifty}))
        return;
    none(&all); /* 2 % do not matter */
    all_fini(&all);
}

static double drift(size_t item) { return 1 + (double)item / 800; } /* ms */
static double third_is_slow(int rank) { return rank == 2 ? 2 : 1; }

static void a_slow_rank_is_found(void)
{
    struct all all;

    if (!advise(&all, 4, 2, &(struct play){.n = test_size(1600, 400), .chunksize = 1, .time = drift, .speed = third_is_slow}))
        return;
    const struct pmap__advice *advice = only(&all, PMAP__SLOW_RANK);
    CHECK_SAYING(advice && strcmp(advice->title, "Rank 2 on node1 is slow") == 0, "%s", advice ? advice->title : "");
    CHECK_SAYING(advice && strstr(advice->text, "took 2.0 times as long"), "%s", advice ? advice->text : "");
    CHECK_SAYING(advice && fabs(advice->share - 0.125) < 0.01, "%g", advice ? advice->share : 0); /* 3.5 of 4 ranks are there as it is */
    all_fini(&all);
}

static void too_many_threads_are_found(void)
{
    struct all all;

    if (!advise(&all, 1, 16, &(struct play){.n = 4, .chunksize = 1, .time = ten}))
        return;
    const struct pmap__advice *advice = only(&all, PMAP__FEWER_LANES);
    CHECK_SAYING(advice && strstr(advice->title, "4 threads would do") && strstr(advice->text, "12 of 16 threads ran nothing"), "%s", advice ? advice->text : "");
    all_fini(&all);
}

/* ---- What is no trace ---------------------------------------------------------------------------------- */

static void refuses(const char *text, const char *why)
{
    struct pmap__run run;
    struct pmap_error error = {.text = ""};

    if (CHECK_STATUS(read_text(&run, text, strlen(text), &error), PMAP_EINVAL))
        CHECK_SAYING(strstr(error.text, why) != NULL, "%s: %s", text, error.text);
}

static void what_is_no_trace_is_refused(void)
{
    refuses(" \n", "run.json is empty");
    refuses("hello", "run.json is no trace: at byte 0 there should be { or [");
    refuses("\"text\"", "no trace");
    refuses("{\"traceEvents\":7}", "where the events begin");
    refuses("{\"traceEvents\":[{}}", "a comma or ]");
    refuses("{\"traceEvents\":[{}]}}", "nothing more");
    refuses("{\"traceEvents\":[1]}", "an object");
    refuses("{\"traceEvents\":[{\"ts\":nan}]}", "a JSON value");
    refuses("{traceEvents:[]}", "a key");
    refuses("{\"traceEvents\" []}", "a colon");
    refuses("{\"traceEvents\":[]}", "of another program");
    refuses("[{\"ph\":\"X\",\"name\":\"x\",\"ts\":1,\"dur\":2,\"pid\":1,\"tid\":1}]", "of another program");
    refuses("{\"otherData\":{\"pmap\":\"9.0\",\"format\":2}}", "of pmap 9.0 in format 2, but this version reads format 1");
}

static void every_truncated_trace_is_refused(void)
{
    struct trace *t = begin_trace(2, 1, 1, 10, "{\"call\":\"pmap_map\",\"task\":\"x\",\"items\":2,\"histogram\":[[1,2,3]]}");
    struct pmap__run run;
    struct pmap_error error;

    put_call(t, "pmap_map", "x", 1, 10, 2, 1);
    put_span(t, 1, 0, 0, 1, 5, 0, "");
    put_chunk(t, 1, 1, 1, 8, (const double[]){1, 2, 3, 4, 5, 6});
    end_trace(t);
    size_t end = strlen(t->text) - 1; /* without the last line break it is whole */
    for (size_t size = 1; size < end; size += test_size(1, 5))
        if (!CHECK_STATUS(read_text(&run, t->text, size, &error), PMAP_EINVAL) || !CHECK_SAYING(strstr(error.text, "ends in the middle") != NULL, "%s", error.text))
            break;
    if (CHECK_STATUS(read_text(&run, t->text, end, &error), PMAP_OK))
        pmap__run_fini(&run);
    trace_destroy(t);
}

/* Numbers that make no sense do not get far. */
static void hostile_numbers_do_no_harm(void)
{
    static const char *const numbers[] = {"-1", "1e308", "-1e308", "1e19", "null", "\"7\"", "[]", "0.0000001", "18446744073709551615"};

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct trace *t = begin_trace(1, 2, 0, 10, "{\"items\":-3,\"histogram\":[[1,2],[],7,[3,1,-4],[1e300,1e301,1e302]]}");
        struct all all;
        put(t, ",\n{\"ph\":\"b\",\"cat\":\"calls\",\"id\":%s,\"ts\":%s,\"args\":{\"n\":%s,\"chunksize\":%s,\"calls\":%s,\"to\":%s}}", numbers[i], numbers[i], numbers[i], numbers[i],
            numbers[i], numbers[i]);
        put(t, ",\n{\"ph\":\"X\",\"cat\":\"items\",\"pid\":%s,\"tid\":%s,\"ts\":%s,\"dur\":%s,\"args\":{\"call\":%s,\"item\":%s,\"n\":%s,\"busy_us\":%s,\"longest_us\":%s,\"failed\":%s,\"attempt\":%s}}",
            numbers[i], numbers[i], numbers[i], numbers[i], numbers[i], numbers[i], numbers[i], numbers[i], numbers[i], numbers[i], numbers[i]);
        put(t, ",\n{\"ph\":\"b\",\"cat\":\"chunks\",\"id\":%s,\"pid\":%s,\"ts\":%s,\"args\":{\"n\":%s,\"send_us\":%s,\"answer_us\":%s}}", numbers[i], numbers[i], numbers[i], numbers[i],
            numbers[i], numbers[i]);
        put(t, ",\n{\"ph\":\"X\",\"cat\":\"items\"},{\"cat\":\"items\",\"ph\":7},{\"ph\":\"X\",\"cat\":\"phase\",\"args\":[]}");
        if (analyse(&all, t)) {
            CHECK(isfinite(all.losses.lane_time));
            all_fini(&all);
        }
    }
}

static void numbers_in_json_have_a_point_in_every_locale(void)
{
    static const char *const names[] = {"de_DE.utf8", "fr_FR.utf8", "de_DE", "ps_AF.utf8"};
    size_t found = 0;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *text = NULL;
        size_t size;
        if (setlocale(LC_NUMERIC, names[i]) == NULL)
            continue;
        struct pmap__json json = {open_memstream(&text, &size), 0};
        pmap__json_real(&json, NULL, 0.25);
        pmap__json_real(&json, NULL, -1.5e-9);
        fclose(json.out);
        CHECK_TEXT(text, "0.25,-1.5e-09");
        free(text);
        found++;
    }
    setlocale(LC_NUMERIC, "C");
    if (found == 0)
        test_skip("no locale with another decimal point is installed");
}

static void text_in_json_is_harmless(void)
{
    char *text;
    size_t size;
    struct pmap__json json = {open_memstream(&text, &size), 0};

    pmap__json_text(&json, NULL, "a</script>&\"\\\n\x7f\xc3\xa9\xff\xc0\x80\xed\xa0\x80\xf0\x9f\x90\x9d\xe2\x82");
    fclose(json.out);
    CHECK_TEXT(text, "\"a\\u003c/script\\u003e\\u0026\\u0022\\u005c\\u000a\\u007f\xc3\xa9\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\xf0\x9f\x90\x9d\\ufffd\\ufffd\"");
    free(text);
}

/* With each allocation failing in turn there is an error, or a report, and nothing is left behind (the sanitizers look). */
static void every_allocation_may_fail(void)
{
    struct trace *t = begin_trace(2, 2, 1, 0, "{\"call\":\"pmap_map\",\"task\":\"x\",\"items\":2,\"histogram\":[[1,2,3]]}");
    struct pmap_error error;
    enum pmap_status status = PMAP_ENOMEM;
    char *path = NULL;

    play(t, 2, 2, &(struct play){.n = 30, .chunksize = 10, .begin = 10, .time = uneven, .flight = 1});
    end_trace(t);
    path = strdup("/dev/null");
    long n = 0;
    for (; status != PMAP_OK && n < 10000; n++) {
        until_failure = n;
        status = pmap__report_write(t->text, t->size, path, &error);
        until_failure = -1;
        if (!CHECK(status == PMAP_OK || status == PMAP_ENOMEM))
            break;
    }
    CHECK_STATUS(status, PMAP_OK);
    CHECK(n > 40);
    free(path);
    trace_destroy(t);
}

static void the_public_call_names_what_is_wrong(void)
{
    struct pmap_error error;

    CHECK_STATUS(pmap_report_write(NULL, "page", &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "trace");
    CHECK_STATUS(pmap_report_write("trace", NULL, NULL), PMAP_EINVAL);
    CHECK_STATUS(pmap_report_write("/no/such/trace.json", "page", &error), PMAP_EINVAL);
    CHECK_TEXT(error.text, "pmap: /no/such/trace.json cannot be read: No such file or directory");
    CHECK_STATUS(pmap_report_write("/", "page", &error), PMAP_EINVAL);
    CHECK_SAYING(strstr(error.text, "Is a directory") != NULL, "%s", error.text);
}

int main(int argc, char *argv[])
{
    static const struct test tests[] = {
        TEST(every_nanosecond_of_a_lane_is_in_one_place),
        TEST(pauses_inside_of_joined_spans_are_lost_too),
        TEST(bins_have_all_that_lanes_were_busy),
        TEST(quantiles_come_from_the_histogram),
        TEST(half_a_run_is_read),
        TEST(replays_are_list_scheduling),
        TEST(nothing_is_said_of_good_runs),
        TEST(large_chunks_are_found),
        TEST(large_chunks_of_the_library_are_found),
        TEST(small_chunks_are_found),
        TEST(late_long_items_are_found),
        TEST(one_giant_item_is_found),
        TEST(calls_of_single_items_are_found),
        TEST(a_program_that_runs_alone_is_found),
        TEST(a_slow_creation_is_found),
        TEST(messages_are_found),
        TEST(a_stream_that_is_waited_for_is_found),
        TEST(waiting_for_the_root_is_found),
        TEST(costly_failures_are_found),
        TEST(a_slow_rank_is_found),
        TEST(too_many_threads_are_found),
        TEST(what_is_no_trace_is_refused),
        TEST(every_truncated_trace_is_refused),
        TEST(hostile_numbers_do_no_harm),
        TEST(numbers_in_json_have_a_point_in_every_locale),
        TEST(text_in_json_is_harmless),
        TEST(every_allocation_may_fail),
        TEST(the_public_call_names_what_is_wrong),
        {NULL, NULL},
    };

    return test_main(argc, argv, tests, "t1");
}
