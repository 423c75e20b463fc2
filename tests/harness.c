/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The harness: CUnit runs the tests and keeps the failures, the handlers in here print them as TAP.
 *
 * CUnit's own runners return success when checks fail, so the exit status comes from the number of failures.
 * Nothing may hang: an alarm around each test names the test that did not end and ends the process, upon which
 * mpirun ends the others.
 */
#include "harness.h"
#include "rank.h"

#include <CUnit/CUnit.h>
#include <ctype.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct pmap_pool *the_pool;

/* Of the test that runs. Written by the thread that runs tests; the alarm's handler reads running. */
static const char *volatile running = "(none)";
static const char *skipped;
static unsigned completed;
static pthread_t runner;
static double began; /* of the test that runs, in seconds */
static bool finished; /* the program has done what it should before it exits */

static int environment(const char *name, int otherwise)
{
    const char *value = getenv(name);

    return value != NULL && *value != '\0' ? atoi(value) : otherwise;
}

int test_rank(void)
{
    const char *rank = launched_rank();
    return rank ? atoi(rank) : 0;
}

int test_ranks(void) { return environment("PMAP_TEST_RANKS", 1); }

bool test_on_hosts(void) { return getenv("PMAP_TEST_HOSTS") != NULL; }

int test_processes(void) { return environment("PMAP_TEST_PROCESSES", 1); }

int test_threads(void) { return environment("PMAP_TEST_THREADS", 1); }

size_t test_size(size_t size, size_t small) { return getenv("PMAP_TEST_SMALL") != NULL ? small : size; }

void *test_array(size_t n, size_t size)
{
    void *array = calloc(n > 0 ? n : 1, size);

    if (array == NULL) {
        perror("calloc");
        abort();
    }
    return array;
}

void test_skip(const char *reason) { skipped = reason; }

/* ---- Checks ------------------------------------------------------------------------------------------ */

bool test_check(bool holds, const char *file, unsigned line, const char *format, ...)
{
    char text[1024];
    va_list list;

    if (!pthread_equal(pthread_self(), runner)) {
        fprintf(stderr, "# %s:%u: a check outside the thread that runs the tests\n", file, line);
        abort();
    }
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return CU_assertImplementation(holds, line, text, file, "", CU_FALSE);
}

bool test_check_int(long long actual, long long expected, const char *file, unsigned line, const char *what)
{
    return test_check(actual == expected, file, line, "%s is %lld, not %lld", what, actual, expected);
}

bool test_check_status(enum pmap_status actual, enum pmap_status expected, const char *file, unsigned line,
                       const char *what)
{
    return test_check(actual == expected, file, line, "%s is %s, not %s", what, pmap_status_name(actual),
                      pmap_status_name(expected));
}

bool test_check_text(const char *actual, const char *expected, const char *file, unsigned line, const char *what)
{
    return test_check(strcmp(actual, expected) == 0, file, line, "%s is \"%s\", not \"%s\"", what, actual, expected);
}

static bool in_word(char c) { return isalnum((unsigned char)c) || c == '_'; }

/* A border of a word is where only one neighbour belongs to words, or the word itself does not, as for "*". */
static bool is_word(const char *text, const char *at, const char *word)
{
    const char *end = at + strlen(word);

    return (at == text || !in_word(at[-1]) || !in_word(*word)) && (!in_word(*end) || !in_word(end[-1]));
}

bool test_check_names(const char *text, const char *word, const char *file, unsigned line, const char *what)
{
    const char *at = strstr(text, word);

    while (at != NULL && !is_word(text, at, word))
        at = strstr(at + 1, word);
    return test_check(at != NULL, file, line, "%s does not name %s: \"%s\"", what, word, text);
}

/* ---- TAP --------------------------------------------------------------------------------------------- */

static void print_failures(const CU_FailureRecord *failure)
{
    FILE *stream = test_rank() == 0 ? stdout : stderr;
    unsigned printed = 0;

    for (; failure != NULL && printed < TEST_DIAGNOSTICS; failure = failure->pNext, printed++) {
        if (test_rank() == 0)
            fprintf(stream, "# ");
        else
            fprintf(stream, "# rank %d: %s: ", test_rank(), running);
        fprintf(stream, "%s:%u: %s\n", failure->strFileName, failure->uiLineNumber, failure->strCondition);
    }
    if (failure != NULL)
        fprintf(stream, "# … and more\n");
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A test that takes long is worth a look: all of them run in many shapes and builds. */
static void print_time(const char *name)
{
    double took = now() - began;

    if (took >= 0.5 && test_rank() == 0)
        printf("# %s took %.1f s\n", name, took);
}

static void test_starts(const CU_pTest test, const CU_pSuite suite)
{
    (void)suite;
    running = test->pName;
    skipped = NULL;
    began = now();
    alarm((unsigned)environment("PMAP_TEST_TIMEOUT", 60));
}

static void test_ends(const CU_pTest test, const CU_pSuite suite, const CU_pFailureRecord failure)
{
    (void)suite;
    completed++;
    if (test_rank() == 0)
        printf("%sok %u - %s%s%s\n", failure == NULL ? "" : "not ", completed, test->pName,
               skipped == NULL ? "" : " # SKIP ", skipped == NULL ? "" : skipped);
    print_failures(failure);
    print_time(test->pName);
}

/* Only what a signal handler may do; in one write, for several ranks may say it at the same time. */
static void time_is_up(int number)
{
    static char text[300] = "# time limit reached in test ";
    size_t length = strlen(text), room = sizeof text - length - 1;

    (void)number;
    for (const char *c = running; *c != '\0' && room > 0; room--)
        text[length++] = *c++;
    text[length++] = '\n';
    _exit(write(STDERR_FILENO, text, length) < 0 ? 96 : 97);
}

/* ---- Programs ---------------------------------------------------------------------------------------- */

static bool wanted(const struct test *test)
{
    const char *only = getenv("PMAP_TEST_ONLY");

    return only == NULL || strcmp(only, test->name) == 0;
}

/* The registry is CUnit's, one for the process. Names of tests must differ, or CUnit refuses the second. */
static bool register_tests(const struct test tests[])
{
    CU_pSuite suite;

    if (CU_initialize_registry() != CUE_SUCCESS)
        return false;
    suite = CU_add_suite("tests", NULL, NULL);
    if (suite == NULL)
        return false;
    for (const struct test *t = tests; t->name != NULL; t++)
        if (wanted(t) && CU_add_test(suite, t->name, t->run) == NULL)
            return false;
    CU_set_test_start_handler(test_starts);
    CU_set_test_complete_handler(test_ends);
    return true;
}

/* The plan comes first, so that a program that ends early is seen to. */
static void print_plan(const struct test tests[])
{
    unsigned n = 0;

    for (const struct test *t = tests; t->name != NULL; t++)
        n += wanted(t);
    if (test_rank() == 0)
        printf("1..%u\n", n);
}

static int run_tests(const struct test tests[])
{
    bool failed;

    runner = pthread_self();
    print_plan(tests);
    failed = !register_tests(tests) || CU_run_all_tests() != CUE_SUCCESS || CU_get_number_of_failures() > 0;
    if (CU_get_error() != CUE_SUCCESS)
        fprintf(stderr, "# CUnit: %s\n", CU_get_error_msg());
    CU_cleanup_registry();
    running = "(the program's end)";
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* exit() in the middle must not look like success, on whichever rank. */
static void check_finished(void)
{
    static const char text[] = "# exit in the middle of the tests\n";

    if (!finished && write(STDERR_FILENO, text, sizeof text - 1) >= 0)
        _exit(98);
}

static void prepare(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    atexit(check_finished);
    signal(SIGALRM, time_is_up);
    alarm((unsigned)environment("PMAP_TEST_TIMEOUT", 60));
}

static bool asks_for_shapes(int argc, char *argv[]) { return argc == 2 && strcmp(argv[1], "--shapes") == 0; }

int test_main(int argc, char *argv[], const struct test tests[], const char *shapes)
{
    int status;

    if (asks_for_shapes(argc, argv))
        return puts(shapes) < 0;
    prepare();
    status = run_tests(tests);
    finished = true;
    return status;
}

/* Serving lasts as long as all tests of the root together, and the root's alarm ends it. */
int test_main_with_pool(int argc, char *argv[], const struct test tests[], const char *shapes)
{
    struct pmap_error error;
    int status = EXIT_SUCCESS;

    if (asks_for_shapes(argc, argv))
        return puts(shapes) < 0;
    prepare();
    running = "(pmap_create)";
    if (test_rank() != 0)
        alarm(0);
    bool isolate = argc == 2 && strcmp(argv[1], "isolate") == 0;
    if (pmap_create(&the_pool, .threads = test_threads(), .isolate = isolate, .error = &error) != PMAP_OK) {
        fprintf(stderr, "# rank %d: %s\n", test_rank(), error.text);
        finished = true;
        return EXIT_FAILURE;
    }
    if (the_pool != NULL)
        status = run_tests(tests);
    running = "(pmap_destroy)";
    pmap_destroy(the_pool);
    finished = true;
    return status;
}
