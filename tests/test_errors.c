/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Items that fail: the error is that of the lowest one, says where and why, and every other item has its result.
 *
 * Ported from CPython's _TestPool: test_traceback (the text carries rank, host, item and message),
 * test_map_no_failfast in part (its generators are in test_imap), and the test of two failing tasks with messages of
 * 1 MiB; the tests of unpicklable results make no sense in C.
 */
#include "board.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Tasks ------------------------------------------------------------------------------------------- */

static int square(int x)
{
    if (x < 0)
        return pmap_fail(2, "negative input %d", x);
    return x * x;
}
PMAP_TASK(square, int, int);

/* Fails, and returns something all the same. */
static int stubborn(int x)
{
    if (x < 0)
        pmap_fail(x, "no");
    return 77;
}
PMAP_TASK(stubborn, int, int);

static int fail_twice(int x)
{
    pmap_fail(x, "the first report");
    return pmap_fail(x + 1, "the second report");
}
PMAP_TASK(fail_twice, int, int);

struct message {
    char text[100];
};
static int quote(struct message m) { return pmap_fail(1, "%s", m.text); }
PMAP_TASK(quote, int, struct message);

static int rant(size_t length)
{
    char *text = test_array(length + 1, 1);

    memset(text, 'x', length);
    pmap_fail(13, "%s", text);
    free(text);
    return 0;
}
PMAP_TASK(rant, int, size_t);

static double ratio(double a, double b) { return b == 0 ? pmap_fail(33, "division by zero") : a / b; }
PMAP_TASK(ratio, double, double, double);

static void roots(size_t n, const double in[], double out[])
{
    for (size_t i = 0; i < n; i++) {
        out[i] = in[i] + 1;
        if (in[i] < 0)
            pmap_fail(4, "negative input %g", in[i]);
    }
}
PMAP_BLOCK_TASK(roots, double, double);

/* Marks each item that it runs, and fails at the negative ones. */
static void visit(int x)
{
    atomic_fetch_add(&board()[abs(x)], 1);
    if (x < 0)
        pmap_fail(5, "item %d is not welcome", x);
}
PMAP_ACTION(visit, int);

/* ---- What each error must look like ------------------------------------------------------------------ */

static void check_place(const struct pmap_error *error)
{
    char host[256] = "";

    gethostname(host, sizeof host - 1);
    CHECK(error->rank >= 0 && error->rank < pmap_ranks(the_pool));
    CHECK(error->thread >= 0 && error->thread < test_threads());
    CHECK(error->host[0] != '\0');
    bool is_here = strncmp(error->host, host, strlen(error->host)) == 0, must_be = error->rank == 0 || !test_on_hosts();
    CHECK_SAYING(is_here == must_be, "the host of rank %d is %s, and that of this one is %s", error->rank, error->host, host);
}

/* The error of one item, with its text as people read it. */
static void check_error(const struct pmap_error *error, const char *task, size_t item, const char *why, int code)
{
    char text[sizeof error->text];

    CHECK_STATUS(error->status, PMAP_EFAILED);
    CHECK_INT(error->code, code);
    CHECK_INT(error->item, item);
    check_place(error);
    snprintf(text, sizeof text, "pmap: %s failed at item %zu on %.64s (rank %d, thread %d): %s (code %d)", task,
             item, error->host, error->rank, error->thread, why, code);
    CHECK_TEXT(error->text, text);
}

static void check_usable(void)
{
    int in[] = {1, 2, 3, 4, 5}, out[5] = {0};

    CHECK_STATUS(pmap_map(the_pool, square, in, out, 5), PMAP_OK);
    for (int i = 0; i < 5; i++)
        CHECK_INT(out[i], in[i] * in[i]);
}

/* ---- Which item is reported -------------------------------------------------------------------------- */

enum { N = 100 };

/* Map over 0 … N - 1, of which those in failing (ended by -1) are negative. */
static void check_failing(const int failing[], ptrdiff_t chunksize)
{
    int in[N], out[N], wrong = 0, lowest = N;
    char why[64];
    struct pmap_error error;

    for (int i = 0; i < N; i++)
        in[i] = i + 1;
    for (int k = 0; failing[k] >= 0; k++) {
        in[failing[k]] *= -1;
        lowest = failing[k] < lowest ? failing[k] : lowest;
    }
    memset(out, 0xff, sizeof out);
    CHECK_STATUS(pmap_map(the_pool, square, in, out, N, .chunksize = chunksize, .error = &error), PMAP_EFAILED);
    snprintf(why, sizeof why, "negative input %d", in[lowest]);
    check_error(&error, "square", (size_t)lowest, why, 2);
    for (int i = 0; i < N; i++)
        wrong += out[i] != (in[i] < 0 ? 0 : in[i] * in[i]);
    CHECK_SAYING(wrong == 0, "chunksize %td: %d wrong results", chunksize, wrong);
    check_usable();
}

static void check_failing_with_all_chunksizes(const int failing[])
{
    check_failing(failing, 0);
    check_failing(failing, 1);
    check_failing(failing, 7);
}

static void failing_first_item_is_reported(void) { check_failing_with_all_chunksizes((int[]){0, -1}); }

static void failing_last_item_is_reported(void) { check_failing_with_all_chunksizes((int[]){N - 1, -1}); }

static void failing_item_in_the_middle_is_reported(void) { check_failing_with_all_chunksizes((int[]){17, -1}); }

static void failing_item_reports_lowest_index(void)
{
    check_failing_with_all_chunksizes((int[]){99, 51, 50, 3, 4, 98, -1});
}

static void all_items_fail(void)
{
    int failing[N + 1];

    for (int i = 0; i < N; i++)
        failing[i] = N - 1 - i;
    failing[N] = -1;
    check_failing_with_all_chunksizes(failing);
}

static void the_only_item_fails(void)
{
    struct pmap_error error;
    int in = -4, out = 99;

    CHECK_STATUS(pmap_map(the_pool, square, &in, &out, 1, .error = &error), PMAP_EFAILED);
    check_error(&error, "square", 0, "negative input -4", 2);
    CHECK_INT(out, 0);
}

static void lowest_of_many_failures_is_found_again_and_again(void)
{
    int in[N], out[N], wrong = 0;
    struct pmap_error error;

    for (int round = 0; round < N; round++) {
        for (int i = 0; i < N; i++)
            in[i] = i < round || i % 3 == 0 ? i : -i;
        size_t lowest = 0;
        while (lowest < N && in[lowest] >= 0)
            lowest++;
        error.item = N; /* stays if nothing fails */
        wrong += pmap_map(the_pool, square, in, out, N, .chunksize = round % 5, .error = &error) !=
                 (lowest < N ? PMAP_EFAILED : PMAP_OK);
        wrong += error.item != lowest;
    }
    CHECK_INT(wrong, 0);
}

/* ---- What is reported -------------------------------------------------------------------------------- */

static void failed_result_is_zero_whatever_the_task_returned(void)
{
    int in[] = {1, -1, 1, -2, -3}, out[5] = {9, 9, 9, 9, 9};
    struct pmap_error error;

    CHECK_STATUS(pmap_map(the_pool, stubborn, in, out, 5, .chunksize = 5, .error = &error), PMAP_EFAILED);
    check_error(&error, "stubborn", 1, "no", -1);
    CHECK(out[0] == 77 && out[1] == 0 && out[2] == 77 && out[3] == 0 && out[4] == 0);
    check_usable();
}

static void first_report_of_an_item_counts(void)
{
    struct pmap_error error;
    int y = 5;

    CHECK_STATUS(pmap_apply(the_pool, fail_twice, &y, 40, .error = &error), PMAP_EFAILED);
    check_error(&error, "fail_twice", 0, "the first report", 40);
    check_usable();
}

static void code_of_zero_is_a_failure_too(void)
{
    struct pmap_error error;
    int y = 5;

    CHECK_STATUS(pmap_apply(the_pool, fail_twice, &y, 0, .error = &error), PMAP_EFAILED);
    check_error(&error, "fail_twice", 0, "the first report", 0);
}

static void text_is_not_formatted_twice(void)
{
    struct message m = {"100 % of %s, %d and %n"};
    struct pmap_error error;
    int y;

    CHECK_STATUS(pmap_apply(the_pool, quote, &y, m, .error = &error), PMAP_EFAILED);
    check_error(&error, "quote", 0, m.text, 1);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);

    return n >= k && strcmp(text + n - k, end) == 0;
}

/* Lengths around sizeof error.text, where an off-by-one would show. */
static void long_texts_are_cut_and_never_overrun(void)
{
    struct {
        struct pmap_error error;
        char guard[64];
    } e;
    int y, wrong = 0;

    memset(e.guard, 0x55, sizeof e.guard);
    for (size_t length = 380; length < 1100; length += length < 600 ? 1 : 50) {
        wrong += pmap_apply(the_pool, rant, &y, length, .error = &e.error) != PMAP_EFAILED;
        wrong += memchr(e.error.text, '\0', sizeof e.error.text) == NULL;
        wrong += strncmp(e.error.text, "pmap: rant failed at item 0 on ", 31) != 0;
        wrong += !ends_with(e.error.text, " (code 13)");
        for (size_t i = 0; i < sizeof e.guard; i++)
            wrong += e.guard[i] != 0x55;
    }
    CHECK_INT(wrong, 0);
    check_usable();
}

/* CPython: two failing tasks with messages of 1 MiB do not deadlock join. */
static void texts_of_1_mib_stop_nothing(void)
{
    size_t lengths[40];
    int out[40];
    struct pmap_error error;

    for (size_t i = 0; i < 40; i++)
        lengths[i] = (size_t)1 << 20;
    CHECK_STATUS(pmap_map(the_pool, rant, lengths, out, 2, .chunksize = 1, .error = &error), PMAP_EFAILED);
    CHECK_INT(error.item, 0);
    CHECK_STATUS(pmap_map(the_pool, rant, lengths, out, 40, .error = &error), PMAP_EFAILED);
    CHECK_INT(error.item, 0);
    check_usable();
}

static void success_leaves_the_error_alone(void)
{
    struct pmap_error error, before;
    int in[] = {1, 2, 3}, out[3];

    memset(&error, 0xa5, sizeof error);
    memcpy(&before, &error, sizeof error);
    CHECK_STATUS(pmap_map(the_pool, square, in, out, 3, .error = &error), PMAP_OK);
    CHECK_STATUS(pmap_map(the_pool, square, in, out, 0, .error = &error), PMAP_OK);
    CHECK_STATUS(pmap_apply(the_pool, square, out, 3, .error = &error), PMAP_OK);
    CHECK(memcmp(&before, &error, sizeof error) == 0);
}

/* ---- Kinds of tasks ---------------------------------------------------------------------------------- */

static void failing_apply(void)
{
    struct pmap_error error;
    int y = 99;

    CHECK_STATUS(pmap_apply(the_pool, square, &y, -3, .error = &error), PMAP_EFAILED);
    check_error(&error, "square", 0, "negative input -3", 2);
    CHECK_INT(y, 0);
    check_usable();
}

static void failing_starmap(void)
{
    struct ratio_args args[] = {{1, 2}, {1, 0}, {3, 4}, {5, 0}};
    double out[4];
    struct pmap_error error;

    CHECK_STATUS(pmap_starmap(the_pool, ratio, args, out, 4, .error = &error), PMAP_EFAILED);
    check_error(&error, "ratio", 1, "division by zero", 33);
    CHECK(out[0] == 0.5 && out[1] == 0 && out[2] == 0.75 && out[3] == 0);
    check_usable();
}

/* A failure in a block is the failure of all its items. */
static void failing_block(void)
{
    double in[N], out[N];
    int wrong = 0;
    struct pmap_error error;

    for (int i = 0; i < N; i++)
        in[i] = i == 55 || i == 57 || i == 80 ? -i : i;
    CHECK_STATUS(pmap_map(the_pool, roots, in, out, N, .chunksize = 10, .error = &error), PMAP_EFAILED);
    CHECK_STATUS(error.status, PMAP_EFAILED);
    CHECK_INT(error.item, 50);
    CHECK_INT(error.code, 4);
    check_place(&error);
    CHECK(strstr(error.text, "negative input -55") != NULL);
    for (int i = 0; i < N; i++)
        wrong += out[i] != (i / 10 == 5 || i / 10 == 8 ? 0 : in[i] + 1);
    CHECK_INT(wrong, 0);
    check_usable();
}

static void failing_block_of_one_item(void)
{
    struct pmap_error error;
    double y = 9, x = -1;

    CHECK_STATUS(pmap_apply(the_pool, roots, &y, -2.0, .error = &error), PMAP_EFAILED);
    check_error(&error, "roots", 0, "negative input -2", 4);
    CHECK(y == 0);
    CHECK_STATUS(pmap_map(the_pool, roots, &x, &y, 1, .error = &error), PMAP_EFAILED);
    check_error(&error, "roots", 0, "negative input -1", 4);
}

static void failing_action_runs_every_item(void)
{
    int in[N], wrong = 0;
    struct pmap_error error;

    board_clear();
    for (int i = 0; i < N; i++)
        in[i] = i % 10 == 7 ? -i : i;
    CHECK_STATUS(pmap_map(the_pool, visit, in, NULL, N, .error = &error), PMAP_EFAILED);
    check_error(&error, "visit", 7, "item -7 is not welcome", 5);
    for (int i = 0; i < N; i++)
        wrong += atomic_load(&board()[i]) != 1;
    CHECK_INT(wrong, 0);
    check_usable();
}

/* ---- Failures inside maps inside tasks --------------------------------------------------------------- */

/* The nested map's error is the task's to keep: the item fails only if the task says so. */
static struct pmap_error keep_to_oneself(int x)
{
    int in[] = {1, 2, -x, -1}, out[4];
    struct pmap_error error = {.status = PMAP_OK};

    pmap_map(NULL, square, in, out, 4, .error = &error);
    return error;
}
PMAP_TASK(keep_to_oneself, struct pmap_error, int);

static void failure_in_a_nested_map_is_the_tasks_own(void)
{
    int in[] = {5, 6};
    struct pmap_error errors[2];

    CHECK_STATUS(pmap_map(the_pool, keep_to_oneself, in, errors, 2, .chunksize = 1), PMAP_OK);
    check_error(&errors[0], "square", 2, "negative input -5", 2);
    check_error(&errors[1], "square", 2, "negative input -6", 2);
}

static int pass_on(int x)
{
    int in[] = {1, x}, out[2];
    struct pmap_error error;

    if (pmap_map(NULL, square, in, out, 2, .error = &error) == PMAP_OK)
        return out[0] + out[1];
    return pmap_fail(error.code + 100, "inside: code %d, item %zu", error.code, error.item);
}
PMAP_TASK(pass_on, int, int);

static void task_passes_on_the_failure_of_its_nested_map(void)
{
    int in[] = {3, 4, -5, -6, 7}, out[5];
    struct pmap_error error;

    CHECK_STATUS(pmap_map(the_pool, pass_on, in, out, 5, .error = &error), PMAP_EFAILED);
    check_error(&error, "pass_on", 2, "inside: code 2, item 1", 102);
    CHECK(out[0] == 10 && out[1] == 17 && out[2] == 0 && out[3] == 0 && out[4] == 50);
    check_usable();
}

static void stumble_at_once(void) { pmap_fail(1, "first"); }
PMAP_ACTION(stumble_at_once);

/* As many items as there can be, in chunks as large as can be: nobody counts beyond the end and begins again. */
static void stop_of_very_many_items_without_size_stops(void)
{
    size_t n = SIZE_MAX / 256;
    struct pmap_error error;

    for (int i = 0; i < 100; i++) {
        CHECK_STATUS(pmap_starmap(the_pool, stumble_at_once, NULL, NULL, n, .on_error = PMAP_STOP, .error = &error,
                                  .chunksize = i % 2 ? 0 : (ptrdiff_t)n - 1), PMAP_EFAILED);
    }
    CHECK_STATUS(pmap_starmap(the_pool, stumble_at_once, NULL, NULL, n + 1, .error = &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "SIZE_MAX");
}

static const struct test tests[] = {
    TEST(failing_first_item_is_reported),
    TEST(failing_last_item_is_reported),
    TEST(failing_item_in_the_middle_is_reported),
    TEST(failing_item_reports_lowest_index),
    TEST(all_items_fail),
    TEST(the_only_item_fails),
    TEST(lowest_of_many_failures_is_found_again_and_again),
    TEST(failed_result_is_zero_whatever_the_task_returned),
    TEST(first_report_of_an_item_counts),
    TEST(code_of_zero_is_a_failure_too),
    TEST(text_is_not_formatted_twice),
    TEST(long_texts_are_cut_and_never_overrun),
    TEST(texts_of_1_mib_stop_nothing),
    TEST(success_leaves_the_error_alone),
    TEST(failing_apply),
    TEST(failing_starmap),
    TEST(failing_block),
    TEST(failing_block_of_one_item),
    TEST(failing_action_runs_every_item),
    TEST(failure_in_a_nested_map_is_the_tasks_own),
    TEST(task_passes_on_the_failure_of_its_nested_map),
    TEST(stop_of_very_many_items_without_size_stops),
    {NULL, NULL},
};

int main(int argc, char *argv[]) { return test_main_with_pool(argc, argv, tests, ALL_SHAPES " t2:isolate"); }
