/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The harness: a test program is a table of functions, each named after the behaviour it tests.
 *
 *     static void map_equals_serial_loop(void) { …; CHECK_STATUS(pmap_map(the_pool, …), PMAP_OK); }
 *
 *     static const struct test tests[] = {TEST(map_equals_serial_loop), {NULL, NULL}};
 *
 *     int main(int argc, char *argv[]) { return test_main_with_pool(argc, argv, tests, ALL_SHAPES); }
 *
 * It runs the functions in order under CUnit and prints TAP. A body knows nothing of threads and ranks: the
 * program tests/shapes starts it in one shape after the other, and the_pool is then of that shape. CUnit is not
 * thread-safe, so checks are made by the thread that runs the test and by no other; a task reports by its result.
 *
 * The environment, all of it set by tests/shapes:
 *   PMAP_TEST_THREADS   threads per rank; 1 if unset
 *   PMAP_TEST_RANKS     ranks; 1 if unset
 *   PMAP_TEST_PROCESSES processes; 1 if unset
 *   PMAP_TEST_TIMEOUT   seconds that one test may take; 60 if unset
 *   PMAP_TEST_HOSTS     set: each rank is on a host of its own; else they are all on one
 *   PMAP_TEST_SMALL     set: sizes are cut down for valgrind and the sanitizers
 *   PMAP_TEST_ONLY      set: run the test of this name alone
 */
#ifndef PMAP_TESTS_HARNESS_H
#define PMAP_TESTS_HARNESS_H

#include <pmap.h>

struct test {
    const char *name;
    void (*run)(void);
};

#define TEST(function) {#function, function}

/* The shapes of tests/shapes: t = threads, r = ranks under mpirun, v = virtual ranks inside one process. */
#define ALL_SHAPES "t1 t2 t4 r1 r2 r3 r5 r2t2 r3t4 v3 v2t2"

/* Run the tests of a table that ends with {NULL, NULL}; the result is main's. With the one argument --shapes
 * print the shapes instead, in which tests/shapes shall run this program.
 *
 * On every rank of an MPI job the same functions run in the same order, each rank on its own: for tests of
 * pmap_create itself. Rank 0 prints TAP; the checks that fail on another rank go to stderr as "# rank 2: …", and
 * its exit status makes the whole job fail. Without a launcher it is an ordinary test program. */
int test_main(int argc, char *argv[], const struct test tests[], const char *shapes);

/* Like test_main, but create a pool first. The tests run on its root alone, while the other ranks serve. In a shape with the word
 * isolate, such as t2:isolate, the pool is isolated. */
int test_main_with_pool(int argc, char *argv[], const struct test tests[], const char *shapes);

/* The pool of test_main_with_pool. */
extern struct pmap_pool *the_pool;

int test_rank(void);      /* this process's rank as its launcher has it; 0 without one */
int test_ranks(void);     /* ranks that a pool over all of them has */
int test_processes(void); /* processes of this job: 1 if the ranks are virtual ones */
bool test_on_hosts(void); /* each rank is on a host of its own */
int test_threads(void);   /* threads that each rank was asked to have */

/* A size that valgrind need not suffer: size, or small where PMAP_TEST_SMALL is set. */
size_t test_size(size_t size, size_t small);

/* Zeroed memory for n elements, at least one byte; abort without it. For free(). */
void *test_array(size_t n, size_t size);

/* This test makes no sense in this shape, and why. Return after it. */
void test_skip(const char *reason);

/* What a failed check says; at most this many are printed for one test. */
#define TEST_DIAGNOSTICS 12

/* Each check is true if it holds, so that a test can say: if (!CHECK(p != NULL)) return; */
#define CHECK(condition) test_check((condition), __FILE__, __LINE__, "%s", #condition)
#define CHECK_SAYING(condition, ...) test_check((condition), __FILE__, __LINE__, __VA_ARGS__)
#define CHECK_INT(actual, expected) \
    test_check_int((long long)(actual), (long long)(expected), __FILE__, __LINE__, #actual)
#define CHECK_STATUS(actual, expected) test_check_status((actual), (expected), __FILE__, __LINE__, #actual)
#define CHECK_TEXT(actual, expected) test_check_text((actual), (expected), __FILE__, __LINE__, #actual)

/* text has word in it, as a whole word: "n" is in "n is 7", not in "none". */
#define CHECK_NAMES(text, word) test_check_names((text), (word), __FILE__, __LINE__, #text)

bool test_check(bool holds, const char *file, unsigned line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
bool test_check_int(long long actual, long long expected, const char *file, unsigned line, const char *what);
bool test_check_status(enum pmap_status actual, enum pmap_status expected, const char *file, unsigned line,
                       const char *what);
bool test_check_text(const char *actual, const char *expected, const char *file, unsigned line, const char *what);
bool test_check_names(const char *text, const char *word, const char *file, unsigned line, const char *what);

#endif
