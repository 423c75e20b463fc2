/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Calls whose arguments make no sense: a status, a text that names the argument and its value, and a pool that
 * works as before. Arguments of pmap_create are in test_create.
 *
 * Ported from concurrent.futures: test_map_chunksize with -1, refused.
 */
#include "harness.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int square(int x) { return x * x; }
PMAP_TASK(square, int, int);

static int add_op(int a, int b) { return a + b; }
PMAP_OP(add_op, int);

static double power(double base, int exponent) { return exponent == 0 ? 1 : base * exponent; }
PMAP_TASK(power, double, double, int);

static int answer(void) { return 42; }
PMAP_TASK(answer, int);

static void halve(size_t n, const double in[], double out[])
{
    for (size_t i = 0; i < n; i++)
        out[i] = in[i] / 2;
}
PMAP_BLOCK_TASK(halve, double, double);

struct large {
    char bytes[1 << 20];
};
static struct large inflate(char c) { return (struct large){.bytes = {c}}; }
PMAP_TASK(inflate, struct large, char);

static void ignore(int x) { (void)x; }
PMAP_ACTION(ignore, int);

static int length(const char *text) { return (int)strlen(text); }
PMAP_TASK(length, int, const char *);

static int *locate(int x) { return x == 0 ? NULL : NULL; }
PMAP_TASK(locate, int *, int);

static int in[] = {1, 2, 3};
static int out[3];
static struct pmap_error error;

/* After each refusal: the error belongs to no item and no task, and the pool works. */
static void check_refused(enum pmap_status status)
{
    CHECK_STATUS(status, PMAP_EINVAL);
    CHECK_STATUS(error.status, PMAP_EINVAL);
    CHECK_SAYING(strncmp(error.text, "pmap", 4) == 0, "text is \"%s\"", error.text);
    CHECK_INT(error.code, 0);
    CHECK(error.item == PMAP_NO_ITEM);
    CHECK_STATUS(pmap_map(the_pool, square, in, out, 3), PMAP_OK);
    CHECK(out[0] == 1 && out[1] == 4 && out[2] == 9);
}

/* ---- Elements of the wrong size ---------------------------------------------------------------------- */

static void wrong_element_size_names_the_task_and_both_sizes(void)
{
    double doubles[3] = {0};
    char chars[3] = {0};

    check_refused(pmap_map(the_pool, square, doubles, out, 3, .error = &error));
    CHECK_NAMES(error.text, "square");
    CHECK_NAMES(error.text, "in");
    CHECK_NAMES(error.text, "8");
    CHECK_NAMES(error.text, "4");
    check_refused(pmap_map(the_pool, square, in, chars, 3, .error = &error));
    CHECK_NAMES(error.text, "square");
    CHECK_NAMES(error.text, "out");
    CHECK_NAMES(error.text, "1");
    CHECK_NAMES(error.text, "4");
    CHECK(chars[0] == 0 && chars[1] == 0 && chars[2] == 0);
}

static void wrong_element_size_in_a_starmap(void)
{
    struct power_args args[3] = {{0}};
    double doubles[3] = {0};

    check_refused(pmap_starmap(the_pool, power, doubles, doubles, 3, .error = &error));
    CHECK_NAMES(error.text, "power");
    CHECK_NAMES(error.text, "args");
    CHECK_NAMES(error.text, "8");
    CHECK_NAMES(error.text, "16");
    check_refused(pmap_starmap(the_pool, power, args, out, 3, .error = &error));
    CHECK_NAMES(error.text, "power");
    CHECK_NAMES(error.text, "out");
}

static void wrong_element_size_in_a_block(void)
{
    float floats[3] = {0};
    double doubles[3] = {0};

    check_refused(pmap_map(the_pool, halve, floats, doubles, 3, .error = &error));
    CHECK_NAMES(error.text, "halve");
    check_refused(pmap_map(the_pool, halve, doubles, floats, 3, .error = &error));
    CHECK_NAMES(error.text, "halve");
}

/* ---- NULL where something is needed ------------------------------------------------------------------ */

static void null_arrays_are_refused(void)
{
    double doubles[3];

    check_refused(pmap_map(the_pool, square, NULL, out, 3, .error = &error));
    CHECK_NAMES(error.text, "in");
    CHECK_NAMES(error.text, "NULL");
    check_refused(pmap_map(the_pool, square, in, NULL, 3, .error = &error));
    CHECK_NAMES(error.text, "out");
    CHECK_NAMES(error.text, "NULL");
    check_refused(pmap_starmap(the_pool, power, NULL, doubles, 3, .error = &error));
    CHECK_NAMES(error.text, "args");
    CHECK_NAMES(error.text, "NULL");
    check_refused(pmap_map(the_pool, ignore, NULL, NULL, 3, .error = &error));
    CHECK_NAMES(error.text, "in");
    CHECK_NAMES(error.text, "NULL");
}

static void null_result_of_an_apply_is_refused(void)
{
    check_refused(pmap_apply(the_pool, square, NULL, 3, .error = &error));
    CHECK_NAMES(error.text, "out");
    CHECK_NAMES(error.text, "NULL");
}

static void null_arguments_of_a_plain_apply_are_refused(void)
{
    const struct pmap_apply_options options = {.size = sizeof options, .error = &error};

    check_refused(pmap_apply_with(the_pool, &square_task, NULL, out, &options));
    CHECK_NAMES(error.text, "args");
    CHECK_NAMES(error.text, "NULL");
}

static void null_pool_is_refused(void)
{
    check_refused(pmap_map(NULL, square, in, out, 3, .error = &error));
    CHECK_NAMES(error.text, "pool");
    CHECK_NAMES(error.text, "NULL");
    check_refused(pmap_starmap(NULL, answer, NULL, out, 3, .error = &error));
    CHECK_NAMES(error.text, "pool");
    check_refused(pmap_apply(NULL, square, out, 3, .error = &error));
    CHECK_NAMES(error.text, "pool");
}

static void null_task_is_refused(void)
{
    const struct pmap_map_options options = {.size = sizeof options, .n = 3, .error = &error};

    check_refused(pmap_map_with(the_pool, NULL, in, sizeof *in, out, sizeof *out, &options));
    CHECK_NAMES(error.text, "task");
    CHECK_NAMES(error.text, "NULL");
}

/* ---- Numbers that make no sense ---------------------------------------------------------------------- */

static void check_too_many(enum pmap_status status, size_t n)
{
    char number[32];

    check_refused(status);
    CHECK_NAMES(error.text, "n");
    snprintf(number, sizeof number, "%zu", n);
    CHECK_NAMES(error.text, number);
}

static void n_that_overflows_is_refused(void)
{
    struct power_args args[3] = {{0}};
    double doubles[3] = {0};
    char character = 0;
    struct large *large = test_array(1, sizeof *large);
    size_t n = SIZE_MAX / 16 + 2;

    check_too_many(pmap_map(the_pool, square, in, out, SIZE_MAX, .error = &error), SIZE_MAX);
    check_too_many(pmap_map(the_pool, square, in, out, SIZE_MAX / 2, .error = &error), SIZE_MAX / 2);
    check_too_many(pmap_starmap(the_pool, power, args, doubles, n, .error = &error), n);
    /* The arguments fit, the results do not. */
    n = SIZE_MAX / sizeof(struct large) + 2;
    check_too_many(pmap_map(the_pool, inflate, &character, large, n, .error = &error), n);
    free(large);
}

static void negative_chunksize_is_refused(void)
{
    check_refused(pmap_map(the_pool, square, in, out, 3, .chunksize = -1, .error = &error));
    CHECK_NAMES(error.text, "chunksize");
    CHECK_NAMES(error.text, "-1");
    check_refused(pmap_map(the_pool, square, in, out, 0, .chunksize = -20, .error = &error));
    CHECK_NAMES(error.text, "chunksize");
    CHECK_NAMES(error.text, "-20");
    check_refused(pmap_starmap(the_pool, answer, NULL, out, 3, .chunksize = PTRDIFF_MIN, .error = &error));
    CHECK_NAMES(error.text, "chunksize");
}

/* ---- Tasks of the wrong kind ------------------------------------------------------------------------- */

static void map_of_a_task_of_two_arguments_is_refused(void)
{
    struct power_args args[3] = {{0}};
    double results[3];

    check_refused(pmap_map(the_pool, power, args, results, 3, .error = &error));
    CHECK_NAMES(error.text, "power");
    CHECK(strstr(error.text, "starmap") != NULL);
}

static void map_of_a_task_without_arguments_is_refused(void)
{
    check_refused(pmap_map(the_pool, answer, NULL, out, 3, .error = &error));
    CHECK_NAMES(error.text, "answer");
}

/* An address means nothing on another rank. */
static void task_with_pointers_needs_a_pool_of_one_rank(void)
{
    const char *texts[] = {"a", "bc", "def"};
    int *addresses[3] = {out, out, out};
    enum pmap_status status = pmap_map(the_pool, length, texts, out, 3, .error = &error);

    if (pmap_ranks(the_pool) > 1) {
        check_refused(status);
        CHECK_NAMES(error.text, "length");
        CHECK(strstr(error.text, "char *") != NULL);
        check_refused(pmap_map(the_pool, locate, in, addresses, 3, .error = &error));
        CHECK_NAMES(error.text, "locate");
        check_refused(pmap_apply(the_pool, length, out, "abc", .error = &error));
        CHECK_NAMES(error.text, "length");
    } else {
        CHECK_STATUS(status, PMAP_OK);
        CHECK(out[0] == 1 && out[1] == 2 && out[2] == 3);
        CHECK_STATUS(pmap_map(the_pool, locate, in, addresses, 3), PMAP_OK);
        CHECK(addresses[0] == NULL && addresses[1] == NULL && addresses[2] == NULL);
    }
}

/* ---- Options of other sizes -------------------------------------------------------------------------- */

/* A caller compiled against an older header knows fewer options; what lies behind them is not looked at. */
static void options_of_an_older_caller_are_accepted(void)
{
    struct pmap_map_options options = {.size = offsetof(struct pmap_map_options, chunksize), .n = 3,
                                       .chunksize = -1, .error = (struct pmap_error *)&options};
    struct pmap_apply_options apply = {.size = offsetof(struct pmap_apply_options, error),
                                       .error = (struct pmap_error *)&apply};
    struct square_args args = {5};

    memset(out, 0, sizeof out);
    CHECK_STATUS(pmap_map_with(the_pool, &square_task, in, 0, out, 0, &options), PMAP_OK);
    CHECK(out[0] == 1 && out[1] == 4 && out[2] == 9);
    options.size = offsetof(struct pmap_map_options, error);
    options.chunksize = 2;
    memset(out, 0, sizeof out);
    CHECK_STATUS(pmap_map_with(the_pool, &square_task, in, 0, out, 0, &options), PMAP_OK);
    CHECK(out[0] == 1 && out[1] == 4 && out[2] == 9);
    CHECK_STATUS(pmap_apply_with(the_pool, &square_task, &args, out, &apply), PMAP_OK);
    CHECK_INT(out[0], 25);
}

static void missing_options_are_refused(void)
{
    struct pmap_map_options options = {.n = 3};

    CHECK_STATUS(pmap_map_with(the_pool, &square_task, in, 0, out, 0, NULL), PMAP_EINVAL);
    CHECK_STATUS(pmap_starmap_with(the_pool, &power_task, NULL, 0, NULL, 0, NULL), PMAP_EINVAL);
    CHECK_STATUS(pmap_map_with(the_pool, &square_task, in, 0, out, 0, &options), PMAP_EINVAL);
    options.size = sizeof options.size; /* not even n */
    CHECK_STATUS(pmap_map_with(the_pool, &square_task, in, 0, out, 0, &options), PMAP_EINVAL);
    CHECK_STATUS(pmap_create_with(NULL), PMAP_EINVAL);
}

/* ---- Words for statuses and errors ------------------------------------------------------------------- */

static void statuses_have_names(void)
{
    CHECK_TEXT(pmap_status_name(PMAP_OK), "PMAP_OK");
    CHECK_TEXT(pmap_status_name(PMAP_EINVAL), "PMAP_EINVAL");
    CHECK_TEXT(pmap_status_name(PMAP_ENOMEM), "PMAP_ENOMEM");
    CHECK_TEXT(pmap_status_name(PMAP_EFAILED), "PMAP_EFAILED");
    CHECK_TEXT(pmap_status_name(PMAP_EMISMATCH), "PMAP_EMISMATCH");
    CHECK_TEXT(pmap_status_name(PMAP_EBUSY), "PMAP_EBUSY");
    CHECK_TEXT(pmap_status_name(PMAP_EMPI), "PMAP_EMPI");
    CHECK_TEXT(pmap_status_name((enum pmap_status)9999), "unknown status");
    CHECK_TEXT(pmap_version(), PMAP_VERSION);
}

/* What stderr gets between capture_begin and capture_end goes into a file and from there into a text. */
static FILE *captured;
static int real_stderr;

static void capture_begin(void)
{
    captured = tmpfile();
    if (captured == NULL || (real_stderr = dup(STDERR_FILENO)) < 0 || dup2(fileno(captured), STDERR_FILENO) < 0) {
        perror("capture_begin");
        abort();
    }
}

static const char *capture_end(void)
{
    static char text[4096];

    fflush(stderr);
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    rewind(captured);
    text[fread(text, 1, sizeof text - 1, captured)] = '\0';
    fclose(captured);
    return text;
}

static void pmap_perror_prints_prefix_and_text(void)
{
    struct pmap_error e = {.status = PMAP_EINVAL, .text = "pmap: n is 7"};

    capture_begin();
    pmap_perror("main", &e);
    pmap_perror(NULL, &e);
    pmap_perror("", &e);
    CHECK_TEXT(capture_end(), "main: pmap: n is 7\npmap: n is 7\npmap: n is 7\n");
}

static void failing_call_without_error_prints_its_text(void)
{
    capture_begin();
    pmap_map(the_pool, square, in, out, 3, .chunksize = -1);
    CHECK_NAMES(capture_end(), "chunksize");
}

static void quiet_log_keeps_failing_calls_silent(void)
{
    setenv("PMAP_LOG", "quiet", 1);
    capture_begin();
    CHECK_STATUS(pmap_map(the_pool, square, in, out, 3, .chunksize = -1), PMAP_EINVAL);
    CHECK_TEXT(capture_end(), "");
    unsetenv("PMAP_LOG");
}

static void error_struct_keeps_failing_calls_silent(void)
{
    capture_begin();
    CHECK_STATUS(pmap_map(the_pool, square, in, out, 3, .chunksize = -1, .error = &error), PMAP_EINVAL);
    CHECK_TEXT(capture_end(), "");
}

static void pmap_fail_outside_a_task_warns_and_does_nothing(void)
{
    int result;

    capture_begin();
    result = pmap_fail(3, "nobody fails");
    CHECK(strlen(capture_end()) > 0);
    CHECK_INT(result, 0);
    CHECK_STATUS(pmap_map(the_pool, square, in, out, 3), PMAP_OK);
}

static void limits_need_an_isolated_pool(void)
{
    int y, sum;

    CHECK_STATUS(pmap_map(the_pool, square, in, out, 3, .timeout = 1, .error = &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "timeout");
    CHECK_NAMES(error.text, "isolate");
    CHECK_STATUS(pmap_apply(the_pool, square, &y, 3, .max_rss = 1, .error = &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "max_rss");
    CHECK_STATUS(pmap_reduce(the_pool, square, add_op, in, &sum, 3, .timeout = 1, .error = &error), PMAP_EINVAL);
    CHECK(pmap_imap(the_pool, square, PMAP_ARRAY(in, 3), .max_rss = 1, .error = &error) == NULL);
    CHECK_NAMES(error.text, "max_rss");
    CHECK_STATUS(pmap_map(the_pool, square, in, out, 3), PMAP_OK);
}

static const struct test tests[] = {
    TEST(wrong_element_size_names_the_task_and_both_sizes),
    TEST(wrong_element_size_in_a_starmap),
    TEST(wrong_element_size_in_a_block),
    TEST(null_arrays_are_refused),
    TEST(null_result_of_an_apply_is_refused),
    TEST(null_arguments_of_a_plain_apply_are_refused),
    TEST(null_pool_is_refused),
    TEST(null_task_is_refused),
    TEST(n_that_overflows_is_refused),
    TEST(negative_chunksize_is_refused),
    TEST(map_of_a_task_of_two_arguments_is_refused),
    TEST(map_of_a_task_without_arguments_is_refused),
    TEST(task_with_pointers_needs_a_pool_of_one_rank),
    TEST(options_of_an_older_caller_are_accepted),
    TEST(limits_need_an_isolated_pool),
    TEST(missing_options_are_refused),
    TEST(statuses_have_names),
    TEST(pmap_perror_prints_prefix_and_text),
    TEST(failing_call_without_error_prints_its_text),
    TEST(quiet_log_keeps_failing_calls_silent),
    TEST(error_struct_keeps_failing_calls_silent),
    TEST(pmap_fail_outside_a_task_warns_and_does_nothing),
    {NULL, NULL},
};

int main(int argc, char *argv[]) { return test_main_with_pool(argc, argv, tests, ALL_SHAPES); }
