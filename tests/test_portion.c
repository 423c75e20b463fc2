/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * sched: how large the next chunk is and how many a rank may hold. Decisions are tested as a table; what follows from
 * many decisions, by playing a whole map with made-up item times in simulated time.
 */
#include "harness.h"
#include "sched/portion.h"

#include <stdlib.h>
#include <string.h>

#define US UINT64_C(1000)
#define MS UINT64_C(1000000)
#define S UINT64_C(1000000000)
#define ALL SIZE_MAX

/* ---- Single decisions -------------------------------------------------------------------------------- */

struct row {
    const char *what;
    struct pmap__demand demand;
    struct pmap__portion expected;
};

static const struct row rows[] = {
    /* The user's chunksize: exactly, and one chunk for each thread until it is known how long one takes. */
    {"fixed, unknown", {.left = 1000, .chunksize = 20, .threads = 1, .all_threads = 4}, {20, 20, 1}},
    {"fixed, unknown, 3 threads", {.left = 1000, .chunksize = 20, .threads = 3, .all_threads = 4}, {20, 20, 3}},
    {"fixed, last chunk", {.left = 7, .chunksize = 20, .threads = 1, .all_threads = 2}, {7, 7, 1}},
    {"fixed, beyond n", {.left = 7, .chunksize = ALL, .threads = 1, .all_threads = 2}, {7, 7, 1}},
    {"fixed, one item left", {.left = 1, .chunksize = 1, .threads = 1, .all_threads = 1}, {1, 1, 1}},
    {"fixed, 1 ms", {.left = 1000, .chunksize = 1, .threads = 1, .all_threads = 2, .item_ns = MS}, {1, 1, 2}},
    {"fixed, 1 ms, 4 threads", {.left = 1000, .chunksize = 1, .threads = 4, .all_threads = 8, .item_ns = MS}, {1, 1, 8}},
    {"fixed, 50 us", {.left = 1000, .chunksize = 1, .threads = 1, .all_threads = 2, .item_ns = 50 * US}, {1, 1, 4}},
    {"fixed, 5 us x 10", {.left = 1000, .chunksize = 10, .threads = 1, .all_threads = 2, .item_ns = 5 * US}, {10, 10, 4}},
    {"fixed, trivial", {.left = 1000, .chunksize = 1, .threads = 1, .all_threads = 2, .item_ns = 1}, {1, 1, 16}},
    {"fixed, long: a wait is nothing", {.left = 1000, .chunksize = 1, .threads = 2, .all_threads = 4, .item_ns = S}, {1, 1, 2}},
    {"fixed, few left: for whoever is free", {.left = 4, .chunksize = 1, .threads = 2, .all_threads = 4, .item_ns = MS}, {1, 1, 2}},
    {"fixed, huge times", {.left = 9, .chunksize = 5, .threads = 1, .all_threads = 2, .item_ns = UINT64_MAX}, {5, 5, 1}},
    {"fixed, 16 MiB a chunk", {.left = 99, .chunksize = 1, .item_bytes = 16 << 20, .threads = 8, .all_threads = 9, .item_ns = MS}, {1, 1, 4}},
    {"fixed, 1 GiB a chunk is still obeyed", {.left = 99, .chunksize = 2, .item_bytes = 512 << 20, .threads = 8, .all_threads = 9, .item_ns = MS}, {2, 2, 1}},

    /* Nothing known: one item per thread. */
    {"probe", {.left = 1000, .threads = 4, .all_threads = 8}, {4, 1, 1}},
    {"probe, fewer items", {.left = 3, .threads = 4, .all_threads = 8}, {3, 1, 1}},
    {"probe, large items", {.left = 1000, .item_bytes = 33 << 20, .threads = 4, .all_threads = 8}, {1, 1, 1}},

    /* Short items: a millisecond of work for each thread, in four grains each. */
    {"1 us", {.left = 1 << 30, .threads = 1, .all_threads = 2, .item_ns = US}, {1000, 250, 2}},
    {"1 us, 4 threads", {.left = 1 << 30, .threads = 4, .all_threads = 8, .item_ns = US}, {4000, 250, 2}},
    {"300 us", {.left = 1 << 30, .threads = 1, .all_threads = 2, .item_ns = 300 * US}, {3, 1, 2}},
    {"999 us", {.left = 1 << 30, .threads = 4, .all_threads = 8, .item_ns = 999 * US}, {4, 1, 2}},
    {"1 ns", {.left = ALL, .threads = 1, .all_threads = 2, .item_ns = 1}, {1000000, 250000, 2}},
    {"half of the fair share", {.left = 800, .threads = 1, .all_threads = 4, .item_ns = US}, {100, 25, 2}},
    {"half of the fair share, 2 threads", {.left = 800, .threads = 2, .all_threads = 4, .item_ns = US}, {200, 25, 2}},
    {"the tail", {.left = 8, .threads = 1, .all_threads = 4, .item_ns = US}, {1, 1, 2}},
    {"the very tail: held back", {.left = 4, .threads = 1, .all_threads = 4, .item_ns = US}, {1, 1, 1}},
    {"the last item", {.left = 1, .threads = 4, .all_threads = 400, .item_ns = US}, {1, 1, 1}},
    {"a slow rank by its share", {.left = 8000, .threads = 1, .all_threads = 2, .item_ns = US, .share = PMAP__WHOLE / 64}, {62, 15, 2}},
    {"a fast rank by its share", {.left = 1000, .threads = 1, .all_threads = 2, .item_ns = US, .share = PMAP__WHOLE}, {500, 125, 2}},
    {"64 MiB in two chunks", {.left = 1 << 30, .item_bytes = 1 << 20, .threads = 1, .all_threads = 2, .item_ns = US}, {32, 8, 2}},

    /* The root saturates: 1000 ranks x 2 us; it shall be half idle, so a chunk lasts 4 ms. */
    {"many ranks, short items", {.left = 1 << 30, .threads = 1, .all_threads = 1000, .ranks = 1000, .service_ns = 2 * US, .item_ns = 10 * US}, {400, 100, 2}},
    {"few ranks: no reason", {.left = 1 << 30, .threads = 1, .all_threads = 100, .ranks = 100, .service_ns = 2 * US, .item_ns = 10 * US}, {100, 25, 2}},
    {"many ranks of many threads, longer items", {.left = 1 << 30, .threads = 64, .all_threads = 64000, .ranks = 1000, .service_ns = 2 * US, .item_ns = 16 * MS}, {16, 1, 8}},

    /* Long items go one by one. */
    {"1 ms", {.left = 1000, .threads = 1, .all_threads = 2, .item_ns = MS}, {1, 1, 4}},
    {"1 ms, three rounds left", {.left = 7, .threads = 1, .all_threads = 2, .item_ns = MS}, {1, 1, 3}},
    {"2 ms", {.left = 1000, .threads = 1, .all_threads = 2, .item_ns = 2 * MS}, {1, 1, 2}},
    {"10 ms, 4 threads", {.left = 1000, .threads = 4, .all_threads = 8, .item_ns = 10 * MS}, {1, 1, 8}},
    {"1 s: a wait is nothing", {.left = 1000, .threads = 4, .all_threads = 8, .item_ns = S}, {1, 1, 4}},
    {"10 ms, few left", {.left = 8, .threads = 4, .all_threads = 8, .item_ns = 10 * MS}, {1, 1, 4}},
    {"10 ms, 40 MiB", {.left = 1000, .item_bytes = 40 << 20, .threads = 4, .all_threads = 8, .item_ns = 10 * MS}, {1, 1, 1}},
};

static void decisions_follow_the_table(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *r = &rows[i];
        struct pmap__portion p = pmap__portion_next(&r->demand);
        CHECK_SAYING(p.chunk == r->expected.chunk && p.grain == r->expected.grain && p.hold == r->expected.hold,
                     "%s: chunk %zu grain %zu hold %zu, not %zu %zu %zu", r->what, p.chunk, p.grain, p.hold,
                     r->expected.chunk, r->expected.grain, r->expected.hold);
    }
}

/* Numbers that nobody thought of keep the promises of the header. */
static void any_demand_gets_a_sound_portion(void)
{
    uint64_t x = 12345;
    for (int i = 0; i < 200000; i++) {
        uint64_t r[9];
        for (int k = 0; k < 9; k++) {
            x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            r[k] = (x >> 11) >> (x >> 58); /* small and large alike */
        }
        struct pmap__demand d = {.left = r[0] + 1, .chunksize = r[1] % 3 ? 0 : r[1] + 1, .item_bytes = r[2] >> 12,
                                 .threads = 1 + (int)(r[3] % 256), .ranks = (int)(r[4] % 65536), .item_ns = r[5],
                                 .service_ns = r[6] % 1000000, .share = r[7] % (PMAP__WHOLE + 1)};
        d.all_threads = d.threads + (int)(r[8] % 1000000);
        struct pmap__portion p = pmap__portion_next(&d);
        if (!CHECK(p.chunk >= 1 && p.chunk <= d.left && p.grain >= 1 && p.grain <= p.chunk && p.hold >= 1))
            return;
        if (d.chunksize && !CHECK(p.chunk == (d.chunksize < d.left ? d.chunksize : d.left)))
            return;
        if (!d.chunksize && d.item_bytes && p.chunk > 1 && !CHECK(p.chunk * d.item_bytes <= PMAP__PAYLOAD_MAX))
            return;
    }
}

/* ---- Measuring --------------------------------------------------------------------------------------- */

static void meter_is_zero_only_before_it_measures(void)
{
    struct pmap__meter m = {0};
    CHECK_INT(pmap__meter_mean(&m), 0);
    pmap__meter_add(&m, 0, 1000);
    CHECK_INT(pmap__meter_mean(&m), 1);
}

static void meter_forgets_a_cold_probe(void)
{
    struct pmap__meter m = {0};
    pmap__meter_add(&m, 20000, 1); /* a page fault */
    CHECK_INT(pmap__meter_mean(&m), 20000);
    for (int i = 0; i < 3; i++)
        pmap__meter_add(&m, 5000, 500);
    CHECK(pmap__meter_mean(&m) < 20);
}

static void meter_follows_longer_items(void)
{
    struct pmap__meter m = {0};
    for (int i = 0; i < 10; i++)
        pmap__meter_add(&m, 1000000, 1000);
    CHECK(pmap__meter_mean(&m) > 990 && pmap__meter_mean(&m) <= 1000);
    for (int i = 0; i < 12; i++)
        pmap__meter_add(&m, S, 1);
    CHECK(pmap__meter_mean(&m) > S / 4);
}

static void shares_are_by_rate(void)
{
    uint64_t fast = pmap__rate(4, 1000), slow = pmap__rate(2, 2000);
    CHECK_INT(fast, 4 * slow);
    CHECK_INT(pmap__rate(3, 0), 0);
    CHECK(pmap__rate(1, UINT64_MAX) > 0);
    CHECK_INT(pmap__share(slow, fast + slow) / (PMAP__WHOLE / 1000), 200);
    CHECK_INT(pmap__share(7, 7), PMAP__WHOLE);
    CHECK_INT(pmap__share(0, 7), 0);
    CHECK_INT(pmap__share(1, UINT64_MAX), 1);
    CHECK_INT(pmap__share(UINT64_MAX / 2, UINT64_MAX) / (PMAP__WHOLE / 1000), 500);
}

/* ---- Whole maps in simulated time -------------------------------------------------------------------- */

/* Workers of one thread each take portions as the root's own threads do, in the order in which they come free. */
struct play {
    int workers;
    size_t n, chunksize;
    uint64_t (*cost)(size_t item, int worker);
    uint64_t makespan, work; /* out: the end; the sum of all costs */
    size_t chunks;           /* out: portions handed out */
};

static void run_play(struct play *p)
{
    uint64_t *free_at = test_array((size_t)p->workers, sizeof *free_at);
    struct pmap__meter *meters = test_array((size_t)p->workers, sizeof *meters);
    size_t next = 0;

    p->makespan = p->work = p->chunks = 0;
    while (next < p->n) {
        int w = 0;
        for (int i = 1; i < p->workers; i++)
            w = free_at[i] < free_at[w] ? i : w;
        uint64_t all = 0, rates = 0;
        int rated = 0;
        for (int i = 0; i < p->workers; i++) {
            uint64_t rate = pmap__rate(1, pmap__meter_mean(&meters[i]));
            rates += rate;
            rated += rate != 0;
        }
        if (rated)
            all = rates / (uint64_t)rated * (uint64_t)p->workers;
        uint64_t mean = pmap__meter_mean(&meters[w]);
        struct pmap__demand d = {.left = p->n - next, .chunksize = p->chunksize, .threads = 1, .all_threads = p->workers,
                                 .item_ns = mean, .share = mean ? pmap__share(pmap__rate(1, mean), all) : 0};
        size_t chunk = pmap__portion_next(&d).chunk;
        uint64_t took = 0;
        for (size_t i = 0; i < chunk; i++)
            took += p->cost(next + i, w);
        next += chunk;
        free_at[w] += took;
        p->work += took;
        p->chunks++;
        p->makespan = free_at[w] > p->makespan ? free_at[w] : p->makespan;
        pmap__meter_add(&meters[w], took, chunk);
    }
    free(free_at);
    free(meters);
}

static uint64_t even_microsecond(size_t item, int worker)
{
    (void)item;
    (void)worker;
    return US;
}

static void even_items_finish_together_in_few_chunks(void)
{
    struct play p = {.workers = 8, .n = 10000000, .cost = even_microsecond};
    run_play(&p);
    CHECK(p.makespan <= p.work / 8 + p.work / 8 / 1000);
    CHECK(p.chunks < 11500); /* 10 s of work in chunks of 1 ms, and the tail */
}

static uint64_t four_long(size_t item, int worker)
{
    (void)worker;
    return item >= 32 && item < 36 ? S : 10 * MS;
}

static void neighbouring_long_items_are_not_caught_together(void)
{
    struct play ours = {.workers = 4, .n = 64, .cost = four_long};
    struct play one = {.workers = 4, .n = 64, .chunksize = 1, .cost = four_long};
    struct play python = {.workers = 4, .n = 64, .chunksize = 4, .cost = four_long}; /* ceil(n / (4 W)) */
    run_play(&ours);
    run_play(&one);
    run_play(&python);
    CHECK_INT(ours.makespan, one.makespan);
    CHECK(python.makespan > 2 * ours.makespan);
}

static uint64_t slow_worker(size_t item, int worker)
{
    (void)item;
    return worker == 2 ? 50 * US : US;
}

static void slow_worker_does_not_delay_the_end(void)
{
    struct play p = {.workers = 4, .n = 1000000, .cost = slow_worker};
    run_play(&p);
    /* Together 3.02 items per us. */
    CHECK(p.makespan < 1000000 * US / 3020 * 1000 * 101 / 100);
}

static uint64_t growing(size_t item, int worker)
{
    (void)worker;
    return 1 + item * item / 1000000; /* 1 ns … 10 ms */
}

static void growing_items_finish_together(void)
{
    struct play p = {.workers = 4, .n = 100000, .cost = growing};
    run_play(&p);
    CHECK(p.makespan <= p.work / 4 + 20 * MS);
}

static const struct test tests[] = {TEST(decisions_follow_the_table),
                                    TEST(any_demand_gets_a_sound_portion),
                                    TEST(meter_is_zero_only_before_it_measures),
                                    TEST(meter_forgets_a_cold_probe),
                                    TEST(meter_follows_longer_items),
                                    TEST(shares_are_by_rate),
                                    TEST(even_items_finish_together_in_few_chunks),
                                    TEST(neighbouring_long_items_are_not_caught_together),
                                    TEST(slow_worker_does_not_delay_the_end),
                                    TEST(growing_items_finish_together),
                                    {NULL, NULL}};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1");
}
