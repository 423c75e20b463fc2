/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Random numbers: the generator gives its known answers, the numbers of an item follow from the seed and the item's index
 * alone, whoever runs it, and the distributions are what they say.
 *
 * Peers have no such tests to port. The known answers are Random123's, from its tests/kat_vectors. All numbers in here are
 * the same in each run, so what is said of distributions holds always, or never.
 */
#include "board.h"
#include "harness.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- The generator ----------------------------------------------------------------------------------- */

/* A stream as pmap.h describes it; used is 4, for no number of the first block has been made yet. */
static struct pmap_random by_hand(uint64_t seed, size_t item)
{
    return (struct pmap_random){.key = {seed, 0}, .counter = {0, 0, item, 0}, .used = 4};
}

#define ALL UINT64_MAX

static void philox_gives_its_known_answers(void)
{
    static const struct {
        uint64_t counter[4], key[2], block[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x16554d9eca36314c, 0xdb20fe9d672d0fdc, 0xd7e772cee186176b, 0x7e68b68aec7ba23b}},
        {{ALL, ALL, ALL, ALL}, {ALL, ALL},
         {0x87b092c3013fe90b, 0x438c3c67be8d0224, 0x9cc7d7c69cd777b6, 0xa09caebf594f0ba0}},
        {{0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89},
         {0x452821e638d01377, 0xbe5466cf34e90c6c},
         {0xa528f45403e61d95, 0x38c72dbd566e9788, 0xa5a1610e72fd18b5, 0x57bd43b5e52b7fe6}},
        {{1, 0, 0, 0}, {1, 0}, {0x4db6a27b756282df, 0xd944fa03babe0e2f, 0x27f872e577060d32, 0x07f697696a0482a2}},
        {{0, 0, 1, 0}, {1, 0}, {0x05c42b05ff257651, 0x83431181197ac359, 0x57be92230b7ced59, 0x75073635c66ba84b}},
        {{0, 0, ALL, 0}, {1, 0}, {0xf5cfc4e5a58df07a, 0x6fcdcdd4c962f858, 0x9924d9474dfddf2f, 0xf5da8c63141ebe42}},
    };

    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        struct pmap_random r = {.used = 4};

        memcpy(r.key, known[k].key, sizeof r.key);
        memcpy(r.counter, known[k].counter, sizeof r.counter);
        for (int i = 0; i < 4; i++) {
            uint64_t bits = pmap_random_bits(&r);

            CHECK_SAYING(bits == known[k].block[i], "vector %zu, number %d: %016" PRIx64, k, i, bits);
        }
    }
}

static void stream_outside_a_task_has_seed_0(void)
{
    static const size_t items[] = {0, 1, 2, 1000000, SIZE_MAX};

    for (size_t k = 0; k < sizeof items / sizeof *items; k++) {
        struct pmap_random stream = pmap_random_stream(items[k]), expected = by_hand(0, items[k]);
        int wrong = 0;

        for (int i = 0; i < 41; i++)
            wrong += pmap_random_bits(&stream) != pmap_random_bits(&expected);
        CHECK_INT(wrong, 0);
    }
}

/* Number 4 k + j of a stream is number j of the block whose counter begins with k. */
static void blocks_follow_one_another(void)
{
    struct pmap_random stream = by_hand(42, 17);
    int wrong = 0;

    for (uint64_t k = 0; k < 100; k++) {
        struct pmap_random block = {.key = {42, 0}, .counter = {k, 0, 17, 0}, .used = 4};

        for (int j = 0; j < 4; j++)
            wrong += pmap_random_bits(&stream) != pmap_random_bits(&block);
    }
    CHECK_INT(wrong, 0);
}

/* ---- The numbers of an item -------------------------------------------------------------------------- */

/* Two blocks and a little more. */
struct numbers {
    uint64_t bits[9];
};

static struct numbers take(struct pmap_random r)
{
    struct numbers numbers;

    for (size_t i = 0; i < sizeof numbers.bits / sizeof *numbers.bits; i++)
        numbers.bits[i] = pmap_random_bits(&r);
    return numbers;
}

static struct numbers draw(int x)
{
    (void)x;
    return take(pmap_random_stream(pmap_item()));
}
PMAP_TASK(draw, struct numbers, int);

static void draw_block(size_t n, const int in[], struct numbers out[])
{
    (void)in;
    for (size_t i = 0; i < n; i++)
        out[i] = take(pmap_random_stream(pmap_item() + i));
}
PMAP_BLOCK_TASK(draw_block, struct numbers, int);

/* Those of another item, wherever this one runs. */
static struct numbers draw_for(size_t item, int unused)
{
    (void)unused;
    return take(pmap_random_stream(item));
}
PMAP_TASK(draw_for, struct numbers, size_t, int);

static bool are_of(struct numbers numbers, uint64_t seed, size_t item)
{
    struct numbers expected = take(by_hand(seed, item));

    return memcmp(&numbers, &expected, sizeof expected) == 0;
}

static size_t count_wrong(size_t n, const struct numbers numbers[], uint64_t seed)
{
    size_t wrong = 0;

    for (size_t i = 0; i < n; i++)
        wrong += !are_of(numbers[i], seed, i);
    return wrong;
}

enum { N = 300 };
static const int in[N];
static struct numbers out[N];

static const uint64_t seeds[] = {0, 1, 42, UINT64_C(1) << 63, UINT64_MAX};
enum { SEEDS = sizeof seeds / sizeof *seeds };
static const ptrdiff_t chunksizes[] = {0, 1, 7, 100, 5000};
enum { CHUNKSIZES = sizeof chunksizes / sizeof *chunksizes };

static void check_task(struct pmap_task *task, uint64_t seed, ptrdiff_t chunksize)
{
    const struct pmap_map_options options = {.size = sizeof options, .n = N, .chunksize = chunksize, .seed = seed};

    memset(out, 0, sizeof out);
    CHECK_STATUS(pmap_map_with(the_pool, task, in, sizeof *in, out, sizeof *out, &options), PMAP_OK);
    size_t wrong = count_wrong(N, out, seed);
    CHECK_SAYING(wrong == 0, "%s, seed %" PRIu64 ", chunksize %td: %zu items have wrong numbers", task->name, seed,
                 chunksize, wrong);
}

static void numbers_follow_from_seed_and_item_alone(void)
{
    for (int s = 0; s < SEEDS; s++)
        for (int c = 0; c < CHUNKSIZES; c++)
            check_task(&draw_task, seeds[s], chunksizes[c]);
}

static void block_task_names_each_of_its_items(void)
{
    for (int s = 0; s < SEEDS; s++)
        for (int c = 0; c < CHUNKSIZES; c++)
            check_task(&draw_block_task, seeds[s], chunksizes[c]);
}

static void task_may_take_the_numbers_of_another_item(void)
{
    struct draw_for_args args[N];

    for (size_t i = 0; i < N; i++)
        args[i] = (struct draw_for_args){N - 1 - i, 0};
    CHECK_STATUS(pmap_starmap(the_pool, draw_for, args, out, N, .seed = 5), PMAP_OK);
    for (size_t i = 0, k = N - 1; i < k; i++, k--) {
        struct numbers swapped = out[i];

        out[i] = out[k];
        out[k] = swapped;
    }
    CHECK_INT(count_wrong(N, out, 5), 0);
}

static void apply_has_the_numbers_of_item_0(void)
{
    struct numbers numbers = {{0}};

    CHECK_STATUS(pmap_apply(the_pool, draw, &numbers, 0, .seed = 42), PMAP_OK);
    CHECK(are_of(numbers, 42, 0));
    CHECK_STATUS(pmap_apply(the_pool, draw_block, &numbers, 0, .seed = 43), PMAP_OK);
    CHECK(are_of(numbers, 43, 0));
    CHECK_STATUS(pmap_apply(the_pool, draw, &numbers, 0), PMAP_OK);
    CHECK(are_of(numbers, 0, 0));
}

/* Half of the items fail when they run first, having used a different count of numbers. */
static struct numbers draw_again(int cell)
{
    if (cell % 2 == 0 && atomic_fetch_add(&board()[cell], 1) == 0) {
        struct pmap_random r = pmap_random_stream(pmap_item());

        pmap_random_bits(&r);
        pmap_fail(1, "not the first time");
    }
    return draw(cell);
}
PMAP_TASK(draw_again, struct numbers, int);

static void retry_has_the_same_numbers(void)
{
    int cells[N];

    for (int i = 0; i < N; i++)
        cells[i] = i;
    for (int c = 0; c < CHUNKSIZES; c++) {
        board_clear();
        CHECK_STATUS(pmap_map(the_pool, draw_again, cells, out, N, .chunksize = chunksizes[c], .retries = 1, .seed = 8),
                     PMAP_OK);
        CHECK_INT(count_wrong(N, out, 8), 0);
    }
}

static void cost_changes_no_numbers(void)
{
    double cost[N];

    for (int i = 0; i < N; i++)
        cost[i] = i * 7 % 100;
    CHECK_STATUS(pmap_map(the_pool, draw, in, out, N, .cost = cost, .seed = 3), PMAP_OK);
    CHECK_INT(count_wrong(N, out, 3), 0);
}

static void calls_at_the_same_time_have_numbers_of_their_own_seeds(void)
{
    static struct numbers results[SEEDS][N];
    struct pmap_result *r[SEEDS];

    for (int s = 0; s < SEEDS; s++)
        r[s] = pmap_map_async(the_pool, draw, in, results[s], N, .chunksize = 1, .seed = seeds[s]);
    for (int s = 0; s < SEEDS; s++) {
        CHECK_STATUS(pmap_result_get(r[s], PMAP_FOREVER, NULL), PMAP_OK);
        CHECK_INT(count_wrong(N, results[s], seeds[s]), 0);
        pmap_result_free(r[s]);
    }
}

static void item_of_a_stream_has_the_numbers_of_that_item(void)
{
    for (ptrdiff_t chunksize = 1; chunksize < 30; chunksize += 9) {
        struct pmap_iter *it = pmap_imap(the_pool, draw, PMAP_ARRAY(in, N), .chunksize = chunksize, .seed = 42);
        struct numbers numbers;
        size_t n = 0, wrong = 0;

        if (!CHECK(it != NULL))
            return;
        while (pmap_iter_next(it, &numbers, PMAP_FOREVER) == PMAP_OK)
            wrong += !are_of(numbers, 42, n++);
        CHECK_INT(n, N);
        CHECK_INT(wrong, 0);
        pmap_iter_free(it);
    }
}

static void item_of_an_unordered_stream_has_the_numbers_of_that_item(void)
{
    struct pmap_iter *it = pmap_imap_unordered(the_pool, draw_block, PMAP_ARRAY(in, N), .chunksize = 7, .seed = 42);
    struct numbers numbers;
    size_t n = 0, wrong = 0;

    if (!CHECK(it != NULL))
        return;
    for (; pmap_iter_next(it, &numbers, PMAP_FOREVER) == PMAP_OK; n++)
        wrong += !are_of(numbers, 42, pmap_iter_item(it));
    CHECK_INT(n, N);
    CHECK_INT(wrong, 0);
    pmap_iter_free(it);
}

static struct numbers mingle(struct numbers a, struct numbers b)
{
    for (size_t i = 0; i < sizeof a.bits / sizeof *a.bits; i++)
        a.bits[i] = a.bits[i] * 3 + b.bits[i];
    return a;
}

static struct numbers add(struct numbers a, struct numbers b)
{
    for (size_t i = 0; i < sizeof a.bits / sizeof *a.bits; i++)
        a.bits[i] += b.bits[i];
    return a;
}
PMAP_OP(add, struct numbers);

static void item_of_a_reduction_has_the_numbers_of_that_item(void)
{
    struct numbers expected = {{0}}, sum;

    for (size_t i = 0; i < N; i++)
        expected = add(expected, take(by_hand(42, i)));
    for (int c = 0; c < CHUNKSIZES; c++) {
        CHECK_STATUS(pmap_reduce(the_pool, draw, add, in, &sum, N, .chunksize = chunksizes[c], .seed = 42), PMAP_OK);
        CHECK(memcmp(&sum, &expected, sizeof sum) == 0);
        CHECK_STATUS(pmap_reduce(the_pool, draw_block, add, in, &sum, N, .chunksize = chunksizes[c], .seed = 42), PMAP_OK);
        CHECK(memcmp(&sum, &expected, sizeof sum) == 0);
    }
}

/* ---- Calls inside a task ----------------------------------------------------------------------------- */

/* One number that stands for those of a whole map inside a task; the task's own stream is the same before and after it. */
static struct numbers draw_inside(int x, uint64_t seed)
{
    struct numbers inner[10], before = draw(x), all = {{0}};
    int items[10] = {0};

    if (pmap_map(NULL, draw, items, inner, 10, .chunksize = x % 4, .seed = seed) != PMAP_OK)
        pmap_fail(1, "the map inside fails");
    struct numbers after = draw(x);
    if (memcmp(&before, &after, sizeof before) != 0)
        pmap_fail(2, "the map inside changes the numbers outside");
    for (int i = 0; i < 10; i++)
        all = mingle(all, inner[i]);
    return all;
}
PMAP_TASK(draw_inside, struct numbers, int, uint64_t);

static void map_inside_a_task_with_a_seed_has_the_numbers_of_that_seed(void)
{
    struct draw_inside_args args[N];
    struct numbers expected = {{0}};
    int wrong = 0;

    for (size_t i = 0; i < 10; i++)
        expected = mingle(expected, take(by_hand(77, i)));
    for (int i = 0; i < N; i++)
        args[i] = (struct draw_inside_args){i, 77};
    CHECK_STATUS(pmap_starmap(the_pool, draw_inside, args, out, N, .seed = 5), PMAP_OK);
    for (int i = 0; i < N; i++)
        wrong += memcmp(&out[i], &expected, sizeof expected) != 0;
    CHECK_INT(wrong, 0);
}

static int compare(const void *a, const void *b) { return memcmp(a, b, sizeof(struct numbers)); }

static size_t count_equal(size_t n, struct numbers numbers[])
{
    size_t equal = 0;

    qsort(numbers, n, sizeof *numbers, compare);
    for (size_t i = 1; i < n; i++)
        equal += compare(&numbers[i - 1], &numbers[i]) == 0;
    return equal;
}

/* Without a seed of its own it takes one that follows from the outer item: another for each, and the same in any chunk. */
static void maps_inside_tasks_differ_from_one_another(void)
{
    struct draw_inside_args args[N];
    static struct numbers first[2 * N];

    for (int i = 0; i < N; i++)
        args[i] = (struct draw_inside_args){i, 0};
    CHECK_STATUS(pmap_starmap(the_pool, draw_inside, args, first, N, .seed = 5), PMAP_OK);
    for (int c = 0; c < CHUNKSIZES; c++) {
        CHECK_STATUS(pmap_starmap(the_pool, draw_inside, args, out, N, .chunksize = chunksizes[c], .seed = 5), PMAP_OK);
        CHECK(memcmp(first, out, sizeof out) == 0);
    }
    CHECK_STATUS(pmap_starmap(the_pool, draw_inside, args, &first[N], N, .seed = 6), PMAP_OK);
    CHECK_INT(count_equal(2 * N, first), 0);
}

/* Nor do they have any of the numbers that the outer items have, or the items of a call without a seed. */
static void maps_inside_tasks_differ_from_the_outer_map(void)
{
    struct draw_inside_args args = {3, 0};
    struct numbers inside, outside = {{0}}, unseeded = {{0}};

    CHECK_STATUS(pmap_starmap(the_pool, draw_inside, &args, &inside, 1, .seed = 5), PMAP_OK);
    for (size_t i = 0; i < 10; i++) {
        outside = mingle(outside, take(by_hand(5, i)));
        unseeded = mingle(unseeded, take(by_hand(0, i)));
    }
    CHECK(memcmp(&inside, &outside, sizeof inside) != 0);
    CHECK(memcmp(&inside, &unseeded, sizeof inside) != 0);
}

/* By chance, two of so many would be the same once in 10^12 such tests. */
static void items_and_seeds_differ_from_one_another(void)
{
    enum { ITEMS = 500 };
    static struct numbers all[SEEDS * ITEMS];

    for (size_t s = 0; s < SEEDS; s++)
        for (size_t i = 0; i < ITEMS; i++)
            all[s * ITEMS + i].bits[0] = take(by_hand(seeds[s], i)).bits[0];
    CHECK_INT(count_equal(SEEDS * ITEMS, all), 0);
}

/* ---- Distributions ----------------------------------------------------------------------------------- */

/* A stream whose next block is known: numbers a and b, twice. */
static struct pmap_random rigged(uint64_t a, uint64_t b) { return (struct pmap_random){.block = {a, b, a, b}, .used = 0}; }

/* The mean of n values is off by their standard deviation / sqrt(n), as a rule; 5 times that, once in a million. */
static void check_mean(const char *of, double sum, size_t n, double expected, double deviation)
{
    double mean = sum / (double)n, limit = 5 * deviation / sqrt((double)n);

    CHECK_SAYING(fabs(mean - expected) < limit, "mean of %s is %g, not %g", of, mean, expected);
}

static void uniform_is_spread_over_0_to_1(void)
{
    size_t n = test_size(1000000, 20000), outside = 0, uneven = 0;
    double sum = 0, squares = 0, product = 0, last = 0.5;
    struct pmap_random r = pmap_random_stream(1);

    for (size_t i = 0; i < n; i++) {
        double x = pmap_random_uniform(&r), scaled = ldexp(x, 53);

        outside += !(x >= 0 && x < 1);
        uneven += scaled != floor(scaled);
        sum += x;
        squares += (x - 0.5) * (x - 0.5);
        product += (x - 0.5) * (last - 0.5);
        last = x;
    }
    CHECK_INT(outside, 0);
    CHECK_INT(uneven, 0);
    check_mean("x", sum, n, 0.5, sqrt(1 / 12.0));
    check_mean("(x - 1/2)^2", squares, n, 1 / 12.0, sqrt(1 / 180.0));
    check_mean("the product of neighbours", product, n, 0, 1 / 12.0);
}

static void uniform_reaches_0_but_not_1(void)
{
    struct pmap_random r = rigged(0, UINT64_MAX);

    CHECK(pmap_random_uniform(&r) == 0);
    CHECK(pmap_random_uniform(&r) == 1 - ldexp(1, -53));
}

/* Its first four moments, and how many lie within one, two and three standard deviations. */
static void normal_is_a_bell_curve(void)
{
    static const double moments[] = {0, 1, 0, 3}, variances[] = {1, 2, 15, 96};
    static const double within[] = {0.682689492137, 0.954499736104, 0.997300203937};
    size_t n = test_size(1000000, 20000);
    double sums[4] = {0}, counts[3] = {0};
    struct pmap_random r = pmap_random_stream(2);

    for (size_t i = 0; i < n; i++) {
        double x = pmap_random_normal(&r), power = 1;

        for (int k = 0; k < 4; k++)
            sums[k] += power *= x;
        for (int k = 0; k < 3; k++)
            counts[k] += fabs(x) < k + 1;
    }
    for (int k = 0; k < 4; k++)
        check_mean("a power of x", sums[k], n, moments[k], sqrt(variances[k]));
    for (int k = 0; k < 3; k++)
        check_mean("|x| < k", counts[k], n, within[k], sqrt(within[k] * (1 - within[k])));
}

static void normal_uses_two_numbers(void)
{
    struct pmap_random r = by_hand(9, 9), other = r;

    for (int i = 0; i < 7; i++) {
        pmap_random_normal(&r);
        pmap_random_bits(&other);
        pmap_random_bits(&other);
    }
    CHECK(pmap_random_bits(&r) == pmap_random_bits(&other));
}

static void normal_is_finite_whatever_the_bits(void)
{
    static const uint64_t extremes[] = {0, 1, UINT64_C(1) << 63, UINT64_MAX};

    for (size_t a = 0; a < 4; a++)
        for (size_t b = 0; b < 4; b++) {
            struct pmap_random r = rigged(extremes[a], extremes[b]);

            CHECK(isfinite(pmap_random_normal(&r)));
        }
}

/* Pearson's chi-square of counts that should be equal: about cells - 1, with a standard deviation of sqrt(2 (cells - 1)). */
static void check_even(uint64_t n, const char *of, size_t cells, const size_t counts[], size_t draws)
{
    double expected = (double)draws / (double)cells, freedom = (double)(cells - 1), sum = 0;

    for (size_t i = 0; i < cells; i++)
        sum += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
    CHECK_SAYING(sum <= freedom + 6 * sqrt(2 * freedom), "below %" PRIu64 ", %s: chi-square of %zu cells is %g", n, of,
                 cells, sum);
}

static void below_gives_each_number_as_often(void)
{
    static const uint64_t ns[] = {1, 2, 3, 5, 6, 7, 10, 64, 100, 1000};
    size_t draws = test_size(200000, 20000);

    for (size_t k = 0; k < sizeof ns / sizeof *ns; k++) {
        size_t counts[1000] = {0}, outside = 0;
        struct pmap_random r = pmap_random_stream(100 + k);

        for (size_t i = 0; i < draws; i++) {
            uint64_t x = pmap_random_below(&r, ns[k]);

            outside += x >= ns[k];
            counts[x % ns[k]]++;
        }
        CHECK_INT(outside, 0);
        check_even(ns[k], "all numbers", (size_t)ns[k], counts, draws);
    }
}

/* Where 2^64 is no multiple of n and n is large, bits % n would favour the lower third of this n, and bits * n / 2^64 every
 * third number, both twofold. */
static void below_a_huge_number_has_no_favourites(void)
{
    uint64_t n = UINT64_C(3) << 62;
    size_t draws = test_size(200000, 20000), thirds[3] = {0}, remainders[3] = {0}, outside = 0;
    struct pmap_random r = pmap_random_stream(200);

    for (size_t i = 0; i < draws; i++) {
        uint64_t x = pmap_random_below(&r, n);

        outside += x >= n;
        thirds[x / (n / 3) % 3]++;
        remainders[x % 3]++;
    }
    CHECK_INT(outside, 0);
    check_even(n, "thirds", 3, thirds, draws);
    check_even(n, "remainders of 3", 3, remainders, draws);
}

static void below_stays_below(void)
{
    static const uint64_t extremes[] = {0, 1, UINT64_C(1) << 63, UINT64_MAX - 1, UINT64_MAX};
    int wrong = 0;

    for (size_t a = 0; a < 5; a++)
        for (size_t k = 1; k < 5; k++) { /* a rigged block may be refused; then the stream goes on as usual */
            struct pmap_random r = rigged(extremes[a], extremes[a]);

            wrong += pmap_random_below(&r, extremes[k]) >= extremes[k];
        }
    CHECK_INT(wrong, 0);
}

static const struct test tests[] = {
    TEST(philox_gives_its_known_answers),
    TEST(stream_outside_a_task_has_seed_0),
    TEST(blocks_follow_one_another),
    TEST(numbers_follow_from_seed_and_item_alone),
    TEST(block_task_names_each_of_its_items),
    TEST(task_may_take_the_numbers_of_another_item),
    TEST(apply_has_the_numbers_of_item_0),
    TEST(retry_has_the_same_numbers),
    TEST(cost_changes_no_numbers),
    TEST(calls_at_the_same_time_have_numbers_of_their_own_seeds),
    TEST(item_of_a_stream_has_the_numbers_of_that_item),
    TEST(item_of_an_unordered_stream_has_the_numbers_of_that_item),
    TEST(item_of_a_reduction_has_the_numbers_of_that_item),
    TEST(map_inside_a_task_with_a_seed_has_the_numbers_of_that_seed),
    TEST(maps_inside_tasks_differ_from_one_another),
    TEST(maps_inside_tasks_differ_from_the_outer_map),
    TEST(items_and_seeds_differ_from_one_another),
    TEST(uniform_is_spread_over_0_to_1),
    TEST(uniform_reaches_0_but_not_1),
    TEST(normal_is_a_bell_curve),
    TEST(normal_uses_two_numbers),
    TEST(normal_is_finite_whatever_the_bits),
    TEST(below_gives_each_number_as_often),
    TEST(below_a_huge_number_has_no_favourites),
    TEST(below_stays_below),
    {NULL, NULL},
};

int main(int argc, char *argv[]) { return test_main_with_pool(argc, argv, tests, ALL_SHAPES); }
