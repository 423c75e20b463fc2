/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap_map, pmap_starmap and pmap_apply equal the serial loop: for every kind of task, for every n and chunksize,
 * for items of any size and cost.
 *
 * Ported from CPython's _TestPool: test_apply, test_map, test_starmap, test_empty_iterable; from
 * concurrent.futures: test_map, test_map_chunksize. Their tests of lambdas and of unpicklable arguments make no
 * sense in C.
 */
#include "board.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- Tasks ------------------------------------------------------------------------------------------- */

static int square(int x) { return (int)((unsigned)x * (unsigned)x); }
PMAP_TASK(square, int, int);

static double weigh(double mass, int count) { return mass * count + 0.25; }
PMAP_TASK(weigh, double, double, int);

static int answer(void) { return 42; }
PMAP_TASK(answer, int);

enum colour { RED, GREEN, BLUE };
union bits {
    float number;
    uint32_t word;
};
struct point {
    char name;
    double x, y;
};

static enum colour next_colour(enum colour c) { return c == BLUE ? RED : (enum colour)(c + 1); }
PMAP_TASK(next_colour, enum colour, enum colour);

static uint32_t word_of(union bits b) { return b.word; }
PMAP_TASK(word_of, uint32_t, union bits);

static struct point mirror(struct point p) { return (struct point){.name = p.name, .x = p.y, .y = p.x}; }
PMAP_TASK(mirror, struct point, struct point);

static double eight(char a, short b, int c, long d, float e, double f, struct point g, unsigned char h)
{
    return a + 2.0 * b + 3.0 * c + 4.0 * (double)d + 5.0 * (double)e + 6 * f + 7 * g.x + 8 * g.y + 9.0 * h;
}
PMAP_TASK(eight, double, char, short, int, long, float, double, struct point, unsigned char);

struct digits {
    char text[100];
};
static struct digits spell(short number)
{
    struct digits d = {{0}};

    snprintf(d.text, sizeof d.text, "number %d", number);
    return d;
}
PMAP_TASK(spell, struct digits, short);

static char initial(struct digits d) { return d.text[7]; }
PMAP_TASK(initial, char, struct digits);

static void halve(size_t n, const double in[], float out[])
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(in[i] / 2);
}
PMAP_BLOCK_TASK(halve, float, double);

/* Actions leave their marks on the board. */
static void mark(int cell) { atomic_fetch_add(&board()[cell], 1); }
PMAP_ACTION(mark, int);

static void mark_by(int cell, int by) { atomic_fetch_add(&board()[cell], by); }
PMAP_ACTION(mark_by, int, int);

static void tick(void) { atomic_fetch_add(&board()[0], 1); }
PMAP_ACTION(tick);

/* Some 1e-9 s for each step. */
static unsigned toil(unsigned steps)
{
    unsigned x = steps;

    for (unsigned i = 0; i < steps; i++)
        x = x * 1664525u + 1013904223u;
    return x;
}
PMAP_TASK(toil, unsigned, unsigned);

/* ---- map, starmap, apply equal the loop -------------------------------------------------------------- */

static size_t first_difference(size_t n, const int a[], const int b[])
{
    size_t i = 0;

    while (i < n && a[i] == b[i])
        i++;
    return i;
}

/* Map over n numbers into an array with one more element on either side, which must stay as they are. */
static void check_square(size_t n, ptrdiff_t chunksize)
{
    int *in = test_array(n, sizeof *in);
    int *expected = test_array(n + 2, sizeof *expected);
    int *out = test_array(n + 2, sizeof *out);
    enum pmap_status status;

    expected[0] = expected[n + 1] = out[0] = out[n + 1] = -7;
    for (size_t i = 0; i < n; i++)
        expected[i + 1] = square(in[i] = (int)i - 5);
    status = pmap_map(the_pool, square, in, out + 1, n, .chunksize = chunksize);
    CHECK_SAYING(status == PMAP_OK, "n %zu, chunksize %td: %s", n, chunksize, pmap_status_name(status));
    size_t at = first_difference(n + 2, out, expected);
    CHECK_SAYING(at == n + 2, "n %zu, chunksize %td: wrong at %td", n, chunksize, (ptrdiff_t)at - 1);
    free(in);
    free(expected);
    free(out);
}

static void check_weigh(size_t n, ptrdiff_t chunksize)
{
    struct weigh_args *args = test_array(n, sizeof *args);
    double *out = test_array(n, sizeof *out);
    enum pmap_status status;
    size_t wrong = 0;

    for (size_t i = 0; i < n; i++)
        args[i] = (struct weigh_args){0.5 * (double)i, (int)(n - i)};
    status = pmap_starmap(the_pool, weigh, args, out, n, .chunksize = chunksize);
    CHECK_SAYING(status == PMAP_OK, "n %zu, chunksize %td: %s", n, chunksize, pmap_status_name(status));
    for (size_t i = 0; i < n; i++)
        wrong += out[i] != weigh(args[i]._1, args[i]._2);
    CHECK_SAYING(wrong == 0, "n %zu, chunksize %td: %zu wrong results", n, chunksize, wrong);
    free(args);
    free(out);
}

static void for_each_n_and_chunksize(void (*check)(size_t n, ptrdiff_t chunksize))
{
    static const size_t ns[] = {0, 1, 2, 3, 7, 40, 100, 1000};
    static const ptrdiff_t chunksizes[] = {0, 1, 6, 20, 40, 50, 5000, PTRDIFF_MAX};

    for (size_t i = 0; i < sizeof ns / sizeof *ns; i++)
        for (size_t k = 0; k < sizeof chunksizes / sizeof *chunksizes; k++)
            check(ns[i], chunksizes[k]);
}

/* CPython test_map (default and 20 on 100); concurrent.futures test_map_chunksize (6, 50 and 40 on 40). */
static void map_equals_serial_loop(void) { for_each_n_and_chunksize(check_square); }

/* CPython test_starmap. */
static void starmap_equals_serial_loop(void) { for_each_n_and_chunksize(check_weigh); }

static void many_items_equal_serial_loop(void)
{
    size_t n = test_size(100000, 2000);

    check_square(n, 0);
    check_square(n, 20);
    check_square(n, 50);
    check_square(n, (ptrdiff_t)n + 1);
    check_weigh(n, 0);
    check_weigh(n, 40);
}

/* The same numbers in each run: xorshift with a fixed seed. */
static size_t random_below(size_t limit)
{
    static uint64_t state = 88172645463325252u;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (size_t)(state % limit);
}

static void random_sizes_equal_serial_loop(void)
{
    for (size_t round = 0; round < test_size(60, 10); round++) {
        size_t n = random_below(2500);
        ptrdiff_t chunksize = (ptrdiff_t)(2 + random_below(n + 5));

        check_square(n, chunksize);
        check_weigh(n / 2, chunksize);
    }
}

/* CPython test_apply. */
static void apply_equals_direct_call(void)
{
    int y = 0;
    double weight = 0;

    CHECK_STATUS(pmap_apply(the_pool, square, &y, 5), PMAP_OK);
    CHECK_INT(y, 25);
    CHECK_STATUS(pmap_apply(the_pool, weigh, &weight, 2.5, 4), PMAP_OK);
    CHECK(weight == 10.25);
}

static void many_applies_equal_direct_calls(void)
{
    int wrong = 0;

    for (int i = 0; i < 200; i++) {
        int y = 0;

        wrong += pmap_apply(the_pool, square, &y, i) != PMAP_OK || y != i * i;
    }
    CHECK_INT(wrong, 0);
}

/* CPython test_empty_iterable. */
static void nothing_to_map_succeeds_without_arrays(void)
{
    CHECK_STATUS(pmap_map(the_pool, square, NULL, NULL, 0), PMAP_OK);
    CHECK_STATUS(pmap_map(the_pool, square, (const int *)NULL, (int *)NULL, 0, .chunksize = 3), PMAP_OK);
    CHECK_STATUS(pmap_starmap(the_pool, weigh, NULL, NULL, 0), PMAP_OK);
    CHECK_STATUS(pmap_map(the_pool, halve, NULL, NULL, 0), PMAP_OK);
    CHECK_STATUS(pmap_map(the_pool, mark, NULL, NULL, 0), PMAP_OK);
}

static void void_pointers_are_taken_at_their_word(void)
{
    const int in[] = {1, 2, 3};
    int out[3] = {0};
    const void *from = in;
    void *to = out;

    CHECK_STATUS(pmap_map(the_pool, square, from, to, 3), PMAP_OK);
    CHECK_INT(out[0], 1);
    CHECK_INT(out[1], 4);
    CHECK_INT(out[2], 9);
}

/* A page that cannot be written. */
static void input_is_never_written(void)
{
    size_t size = 64 * 1024, n = size / sizeof(int), wrong = 0;
    int *in = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int *out = test_array(n, sizeof *out);

    if (!CHECK(in != MAP_FAILED))
        return;
    for (size_t i = 0; i < n; i++)
        in[i] = (int)i;
    CHECK(mprotect(in, size, PROT_READ) == 0);
    CHECK_STATUS(pmap_map(the_pool, square, in, out, n), PMAP_OK);
    for (size_t i = 0; i < n; i++)
        wrong += in[i] != (int)i || out[i] != square((int)i);
    CHECK_INT(wrong, 0);
    munmap(in, size);
    free(out);
}

/* ---- Kinds of tasks ---------------------------------------------------------------------------------- */

static void task_without_arguments(void)
{
    int y = 0, out[30] = {0}, wrong = 0;

    CHECK_STATUS(pmap_apply(the_pool, answer, &y), PMAP_OK);
    CHECK_INT(y, 42);
    CHECK_STATUS(pmap_starmap(the_pool, answer, NULL, out, 30), PMAP_OK);
    for (int i = 0; i < 30; i++)
        wrong += out[i] != 42;
    CHECK_INT(wrong, 0);
}

static void task_with_eight_arguments(void)
{
    struct point p = {'p', 0.5, 1.5};
    struct eight_args args[50];
    double y = 0, out[50];
    int wrong = 0;

    CHECK_STATUS(pmap_apply(the_pool, eight, &y, 1, 2, 3, 4, 5.0f, 6.0, p, 7), PMAP_OK);
    CHECK(y == eight(1, 2, 3, 4, 5.0f, 6.0, p, 7));
    for (int i = 0; i < 50; i++)
        args[i] = (struct eight_args){(char)i, (short)-i, i * i, -i, 0.5f, i / 4.0, p, (unsigned char)(255 - i)};
    CHECK_STATUS(pmap_starmap(the_pool, eight, args, out, 50), PMAP_OK);
    for (int i = 0; i < 50; i++)
        wrong += out[i] != eight(args[i]._1, args[i]._2, args[i]._3, args[i]._4, args[i]._5, args[i]._6,
                                 args[i]._7, args[i]._8);
    CHECK_INT(wrong, 0);
}

/* A starmap of a task of one argument takes the struct with that argument in it. */
static void starmap_of_a_task_of_one_argument(void)
{
    struct square_args args[20];
    int out[20], wrong = 0;

    for (int i = 0; i < 20; i++)
        args[i]._1 = i;
    CHECK_STATUS(pmap_starmap(the_pool, square, args, out, 20), PMAP_OK);
    for (int i = 0; i < 20; i++)
        wrong += out[i] != i * i;
    CHECK_INT(wrong, 0);
}

static void structs_unions_and_enums_travel(void)
{
    struct point points[64], mirrored[64];
    union bits bits[64];
    uint32_t words[64];
    enum colour colours[64], next[64];
    int wrong = 0;

    for (int i = 0; i < 64; i++) {
        points[i] = (struct point){(char)i, i, -i};
        bits[i].number = (float)i;
        colours[i] = (enum colour)(i % 3);
    }
    CHECK_STATUS(pmap_map(the_pool, mirror, points, mirrored, 64), PMAP_OK);
    CHECK_STATUS(pmap_map(the_pool, word_of, bits, words, 64, .chunksize = 5), PMAP_OK);
    CHECK_STATUS(pmap_map(the_pool, next_colour, colours, next, 64), PMAP_OK);
    for (int i = 0; i < 64; i++)
        wrong += mirrored[i].name != i || mirrored[i].x != -i || mirrored[i].y != i || words[i] != bits[i].word ||
                 next[i] != (enum colour)((i + 1) % 3);
    CHECK_INT(wrong, 0);
}

static void results_larger_and_smaller_than_arguments(void)
{
    short numbers[300];
    struct digits *texts = test_array(300, sizeof *texts);
    char initials[300];
    int wrong = 0;

    for (short i = 0; i < 300; i++)
        numbers[i] = i;
    CHECK_STATUS(pmap_map(the_pool, spell, numbers, texts, 300), PMAP_OK);
    CHECK_STATUS(pmap_map(the_pool, initial, texts, initials, 300, .chunksize = 11), PMAP_OK);
    for (short i = 0; i < 300; i++) {
        struct digits expected = spell(i);

        wrong += strcmp(texts[i].text, expected.text) != 0 || initials[i] != expected.text[7];
    }
    CHECK_INT(wrong, 0);
    free(texts);
}

static void action_runs_once_for_each_item(void)
{
    int n = 1000, wrong = 0, cells[1000];

    board_clear();
    for (int i = 0; i < n; i++)
        cells[i] = i;
    CHECK_STATUS(pmap_map(the_pool, mark, cells, NULL, (size_t)n), PMAP_OK);
    CHECK_STATUS(pmap_map(the_pool, mark, cells, NULL, (size_t)n, .chunksize = 7), PMAP_OK);
    for (int i = 0; i < n; i++)
        wrong += atomic_load(&board()[i]) != 2;
    CHECK_INT(wrong, 0);
}

static void actions_of_no_and_of_two_arguments(void)
{
    struct mark_by_args args[100];
    int wrong = 0;

    board_clear();
    CHECK_STATUS(pmap_apply(the_pool, tick, NULL), PMAP_OK);
    CHECK_STATUS(pmap_apply(the_pool, mark_by, NULL, 200, 30), PMAP_OK);
    CHECK_INT(atomic_load(&board()[0]), 1);
    CHECK_INT(atomic_load(&board()[200]), 30);
    for (int i = 0; i < 100; i++)
        args[i] = (struct mark_by_args){i + 1, i};
    CHECK_STATUS(pmap_starmap(the_pool, mark_by, args, NULL, 100), PMAP_OK);
    for (int i = 0; i < 100; i++)
        wrong += atomic_load(&board()[i + 1]) != i;
    CHECK_INT(wrong, 0);
}

static void block_task_equals_its_loop(void)
{
    static const ptrdiff_t chunksizes[] = {0, 1, 6, 333, 100000};
    size_t n = 1000, wrong = 0;
    double *in = test_array(n, sizeof *in);
    float *out = test_array(n, sizeof *out);

    for (size_t i = 0; i < n; i++)
        in[i] = (double)i;
    for (size_t k = 0; k < sizeof chunksizes / sizeof *chunksizes; k++) {
        memset(out, 0xff, n * sizeof *out);
        CHECK_STATUS(pmap_map(the_pool, halve, in, out, n, .chunksize = chunksizes[k]), PMAP_OK);
        for (size_t i = 0; i < n; i++)
            wrong += !(out[i] == (float)i / 2);
    }
    CHECK_INT(wrong, 0);
    free(in);
    free(out);
}

static void block_task_of_one_item(void)
{
    double in[] = {7};
    float out = 0;

    CHECK_STATUS(pmap_map(the_pool, halve, in, &out, 1), PMAP_OK);
    CHECK(out == 3.5f);
    CHECK_STATUS(pmap_apply(the_pool, halve, &out, 5.0), PMAP_OK);
    CHECK(out == 2.5f);
}

/* ---- Cost and size ----------------------------------------------------------------------------------- */

/* The long items come first and all together, so that the others overtake them. */
static void uneven_items_keep_their_order(void)
{
    enum { N = 256 };
    unsigned in[N], out[N];
    int wrong = 0;

    for (unsigned i = 0; i < N; i++)
        in[i] = i < 8 ? 4000000 + i : i % 16 == 0 ? 200000 + i : i;
    for (ptrdiff_t chunksize = 0; chunksize < 4; chunksize++) {
        CHECK_STATUS(pmap_map(the_pool, toil, in, out, N, .chunksize = chunksize), PMAP_OK);
        for (unsigned i = 0; i < N; i++)
            wrong += out[i] != toil(in[i]);
    }
    CHECK_INT(wrong, 0);
}

struct block {
    uint32_t words[16 * 1024]; /* 64 KiB */
};
static struct block invert(struct block b)
{
    for (size_t i = 0; i < sizeof b.words / sizeof *b.words; i++)
        b.words[i] = ~b.words[i];
    return b;
}
PMAP_TASK(invert, struct block, struct block);

struct picture {
    uint32_t pixels[256 * 1024]; /* 1 MiB */
};
static struct picture paint(uint32_t seed)
{
    struct picture p;

    for (uint32_t i = 0; i < sizeof p.pixels / sizeof *p.pixels; i++)
        p.pixels[i] = seed * 2654435761u + i;
    return p;
}
PMAP_TASK(paint, struct picture, uint32_t);

static void items_of_64_kib(void)
{
    size_t n = test_size(800, 50), words = sizeof(struct block) / sizeof(uint32_t), wrong = 0;
    struct block *in = test_array(n, sizeof *in), *out = test_array(n, sizeof *out);

    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < words; k++)
            in[i].words[k] = (uint32_t)(i * 40503 + k);
    CHECK_STATUS(pmap_map(the_pool, invert, in, out, n), PMAP_OK);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < words; k++)
            wrong += out[i].words[k] != ~in[i].words[k];
    CHECK_INT(wrong, 0);
    free(in);
    free(out);
}

static void results_of_1_mib(void)
{
    size_t n = test_size(50, 5), pixels = sizeof(struct picture) / sizeof(uint32_t), wrong = 0;
    struct picture *out = test_array(n, sizeof *out);
    uint32_t *seeds = test_array(n, sizeof *seeds);

    for (uint32_t i = 0; i < n; i++)
        seeds[i] = i;
    CHECK_STATUS(pmap_map(the_pool, paint, seeds, out, n), PMAP_OK);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < pixels; k++)
            wrong += out[i].pixels[k] != i * 2654435761u + k;
    CHECK_INT(wrong, 0);
    free(seeds);
    free(out);
}

static const struct test tests[] = {
    TEST(map_equals_serial_loop),
    TEST(starmap_equals_serial_loop),
    TEST(many_items_equal_serial_loop),
    TEST(random_sizes_equal_serial_loop),
    TEST(apply_equals_direct_call),
    TEST(many_applies_equal_direct_calls),
    TEST(nothing_to_map_succeeds_without_arrays),
    TEST(void_pointers_are_taken_at_their_word),
    TEST(input_is_never_written),
    TEST(task_without_arguments),
    TEST(task_with_eight_arguments),
    TEST(starmap_of_a_task_of_one_argument),
    TEST(structs_unions_and_enums_travel),
    TEST(results_larger_and_smaller_than_arguments),
    TEST(action_runs_once_for_each_item),
    TEST(actions_of_no_and_of_two_arguments),
    TEST(block_task_equals_its_loop),
    TEST(block_task_of_one_item),
    TEST(uneven_items_keep_their_order),
    TEST(items_of_64_kib),
    TEST(results_of_1_mib),
    {NULL, NULL},
};

int main(int argc, char *argv[]) { return test_main_with_pool(argc, argv, tests, ALL_SHAPES); }
