/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * sched, and the engine's times: what still fits before the time is over.
 */
#include "base/clock.h"
#include "engine/times.h"
#include "harness.h"
#include "sched/durations.h"
#include "sched/walltime.h"

#define MS UINT64_C(1000000)
#define S UINT64_C(1000000000)

static struct pmap__durations durations;

static void forget(void)
{
    durations = (struct pmap__durations){0};
}

static void nothing_is_known_of_nothing(void)
{
    forget();
    CHECK_INT(pmap__durations_95(&durations), 0);
    pmap__durations_add(&durations, 5 * S, 0);
    CHECK_INT(pmap__durations_95(&durations), 0);
}

static void equal_items_are_known_exactly(void)
{
    static const uint64_t times[] = {0, 1, MS, 7 * MS, 20 * S, 86400 * S, UINT64_MAX};

    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        forget();
        pmap__durations_add(&durations, times[i], 1);
        CHECK(pmap__durations_95(&durations) == times[i]);
        pmap__durations_add(&durations, times[i], 1000);
        CHECK(pmap__durations_95(&durations) == times[i]);
    }
}

/* Of 20 items one may be longer, of 19 none. */
static void one_of_twenty_may_be_longer(void)
{
    forget();
    pmap__durations_add(&durations, S, 18);
    pmap__durations_add(&durations, 100 * S, 1);
    CHECK(pmap__durations_95(&durations) == 100 * S);
    pmap__durations_add(&durations, S, 1);
    CHECK(pmap__durations_95(&durations) >= S && pmap__durations_95(&durations) <= S + S / 8);
}

/* From above, by an eighth at most, over all sizes; and longer items never make it smaller. */
static void percentile_is_close(void)
{
    uint64_t before = 0;

    for (uint64_t ns = 1; ns < 1000000 * S; ns += ns / 3 + 1) {
        forget();
        pmap__durations_add(&durations, ns, 95);
        pmap__durations_add(&durations, UINT64_MAX, 5);
        uint64_t found = pmap__durations_95(&durations);
        if (!CHECK_SAYING(found >= ns && found <= ns + ns / 8 && found >= before, "%llu ns are taken for %llu",
                          (unsigned long long)ns, (unsigned long long)found))
            return;
        before = found;
    }
}

static void margin_is_a_tenth_up_to_ten_seconds(void)
{
    CHECK_INT(pmap__walltime_margin(0), 0);
    CHECK_INT(pmap__walltime_margin(2 * S), 200 * MS);
    CHECK_INT(pmap__walltime_margin(100 * S), 10 * S);
    CHECK_INT(pmap__walltime_margin(86400 * S), 10 * S);
    CHECK_INT(pmap__walltime_margin(UINT64_MAX), 10 * S);
}

static const struct {
    const char *what;
    uint64_t left, margin;
    size_t items;
    uint64_t item_ns;
    bool fits;
} rows[] = {
    {"just", 30 * S, 10 * S, 1, 20 * S, true},
    {"just not", 30 * S - 1, 10 * S, 1, 20 * S, false},
    {"two do", 50 * S, 10 * S, 2, 20 * S, true},
    {"three do not", 50 * S, 10 * S, 3, 20 * S, false},
    {"what is not known does", 11 * S, 10 * S, 5, 0, true},
    {"in the margin nothing does", 10 * S, 10 * S, 1, 0, false},
    {"behind the end nothing does", 0, 10 * S, 1, 1, false},
    {"more than there are numbers", 100 * S, 0, SIZE_MAX, UINT64_MAX, false},
};

static void what_fits(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        CHECK_SAYING(pmap__walltime_fits(rows[i].left, rows[i].margin, rows[i].items, rows[i].item_ns) == rows[i].fits, "%s",
                     rows[i].what);
}

static void looks_become_frequent(void)
{
    CHECK_INT(pmap__walltime_next_look(86400 * S, 10 * S), S);
    CHECK_INT(pmap__walltime_next_look(42 * S, 10 * S), S / 2);
    CHECK_INT(pmap__walltime_next_look(10 * S, 10 * S), 5 * MS);
    CHECK_INT(pmap__walltime_next_look(0, 10 * S), 5 * MS);
}

/* ---- What threads tell ---- */

/* Short pieces are told together, at the latest at the end, and none is lost; a long one is told at once. */
static void stopwatch_tells_all_items(void)
{
    static struct pmap_task task;
    struct pmap__times *list = NULL, *times = pmap__times_find(&list, &task);
    struct pmap__stopwatch watch;

    if (!CHECK(times != NULL))
        return;
    CHECK_INT(pmap__times_95(times), 0);
    pmap__stopwatch_begin(&watch, times);
    for (int i = 0; i < 100000; i++)
        pmap__stopwatch_count(&watch, 3);
    CHECK(times->durations.total <= 300000);
    for (uint64_t end = pmap__now() + 2 * MS; pmap__now() < end;)
        ;
    pmap__stopwatch_look(&watch);
    CHECK_INT(times->durations.total, 300000);
    pmap__stopwatch_count(&watch, 1);
    pmap__stopwatch_end(&watch);
    CHECK_INT(times->durations.total, 300001);
    CHECK(pmap__times_95(times) > 0);
    pmap__times_add(times, 5 * S, 1000000);
    CHECK(pmap__times_95(times) < MS);
    pmap__times_add(times, 5000000 * S, 1000000);
    CHECK(pmap__times_95(times) >= 5 * S);
    pmap__times_free(list);
}

static void nobody_needs_to_know(void)
{
    struct pmap__stopwatch watch;

    pmap__stopwatch_begin(&watch, NULL);
    pmap__stopwatch_count(&watch, 1);
    pmap__stopwatch_end(&watch);
    CHECK_INT(watch.since, 0);
}

static const struct test tests[] = {
    TEST(nothing_is_known_of_nothing),
    TEST(equal_items_are_known_exactly),
    TEST(one_of_twenty_may_be_longer),
    TEST(percentile_is_close),
    TEST(margin_is_a_tenth_up_to_ten_seconds),
    TEST(what_fits),
    TEST(looks_become_frequent),
    TEST(stopwatch_tells_all_items),
    TEST(nobody_needs_to_know),
    {NULL, NULL},
};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1");
}
