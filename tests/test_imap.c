/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Streams: pmap_imap and pmap_imap_unordered equal the serial loop over their source, ask it exactly as far as they
 * may, go on after items that fail, and can be waited for with a timeout and freed at any time.
 *
 * Ported: from CPython's _TestPool test_imap, test_imap_unordered, test_imap_handle_iterable_exception,
 * test_imap_unordered_handle_iterable_exception, what test_map_handle_iterable_exception says of a source that lies
 * about its length, what test_empty_iterable says of imap, and the producer that runs exactly to the buffer limit;
 * from concurrent.futures test_map_exception, test_map_timeout, test_map_buffersize and its variants for infinite and
 * empty sources and for a full buffer; from mpi4py.futures test_map_buffersize (buffersize x chunksize in
 * {1, 2, 9, 10, 11}) and the unordered maps; from Distributed.jl "every worker must appear".
 * Skipped: test_map_buffersize_type_validation (the compiler sees to types), _value_validation (0 is the default here,
 * and there is no negative size_t), _on_multiple_iterables (a source is one array or one generator).
 */
#include "board.h"
#include "harness.h"

#include <ctype.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NOWHERE, GATE, BEGUN, ENDED, STOPPED, ITEMS = 100, ROUNDS = 5000 }; /* cells of the board */

enum { MANY = 1000 };
static int numbers[MANY]; /* 0, 1, 2, …; filled by main */

static struct pmap_error error; /* of the streams that the thread of the test reads */

/* ---- Tasks ------------------------------------------------------------------------------------------- */

static int square(int x)
{
    if (x < 0)
        return pmap_fail(2, "negative input %d", x);
    return x * x;
}
PMAP_TASK(square, int, int);

static double weigh(double mass, int count) { return mass * count + 0.25; }
PMAP_TASK(weigh, double, double, int);

static void visit(int x)
{
    atomic_fetch_add(&board()[ITEMS + abs(x)], 1);
    atomic_fetch_add(&board()[BEGUN], 1);
    if (x < 0)
        pmap_fail(5, "item %d is not welcome", x);
}
PMAP_ACTION(visit, int);

/* Fails so often before it gives x + 1; the board counts the attempts. */
static int flaky(int x, int failures)
{
    int attempt = 1 + atomic_fetch_add(&board()[ITEMS + x], 1);

    if (attempt <= failures)
        return pmap_fail(attempt, "attempt %d", attempt);
    return x + 1;
}
PMAP_TASK(flaky, int, int, int);

/* Like board_await, but asks pmap_cancelled meanwhile, so that a rank of one thread handles its messages. False if the
 * item is told to stop, or after some 20 seconds. */
static bool await_or_stop(int cell, int value)
{
    time_t end = time(NULL) + 20;

    while (atomic_load(&board()[cell]) < value) {
        if (pmap_cancelled() || time(NULL) > end)
            return false;
        sched_yield();
    }
    return true;
}

/* Waits until somebody marks the cell gate; NOWHERE is open. */
static int square_behind(int x, int gate)
{
    if (gate != NOWHERE && !await_or_stop(gate, 1))
        return pmap_fail(3, "the gate stays shut");
    return x * x;
}
PMAP_TASK(square_behind, int, int, int);

/* ---- What a stream yields ---------------------------------------------------------------------------- */

static void check_usable(void)
{
    int out[5] = {0}, wrong = 0;

    CHECK_STATUS(pmap_map(the_pool, square, numbers, out, 5, .chunksize = 1), PMAP_OK);
    for (int i = 0; i < 5; i++)
        wrong += out[i] != i * i;
    CHECK_INT(wrong, 0);
}

static struct pmap_iter *open_squares(bool ordered, struct pmap_source source, ptrdiff_t chunksize, size_t buffersize)
{
    if (ordered)
        return pmap_imap(the_pool, square, source, .chunksize = chunksize, .buffersize = buffersize, .error = &error);
    return pmap_imap_unordered(the_pool, square, source, .chunksize = chunksize, .buffersize = buffersize,
                               .error = &error);
}

/* How many of n results are not what they should be: the squares of 0 … n - 1, each once, in order if ordered. Any
 * thread; NULL yields nothing. */
static size_t wrong_squares(struct pmap_iter *it, bool ordered, size_t n)
{
    char *seen = test_array(n, 1);
    size_t wrong = it == NULL ? n : 0;

    for (size_t k = 0; it != NULL && k < n; k++) {
        int y = -1;
        enum pmap_status status = pmap_iter_next(it, &y, PMAP_FOREVER);
        size_t item = pmap_iter_item(it);

        wrong += status != PMAP_OK || item >= n || (ordered && item != k) || seen[item]++ != 0 ||
                 y != (int)(item * item);
    }
    free(seen);
    return wrong;
}

/* However often it is asked. */
static void check_end(struct pmap_iter *it)
{
    if (!CHECK(it != NULL))
        return;
    for (int k = 0; k < 3; k++) {
        int y = 99;

        CHECK_STATUS(pmap_iter_next(it, &y, k == 1 ? 0 : PMAP_FOREVER), PMAP_END);
        CHECK_INT(y, 99);
        CHECK(pmap_iter_item(it) == PMAP_NO_ITEM);
    }
}

/* The stream yields n squares and ends. Frees it. */
static void check_squares(struct pmap_iter *it, bool ordered, size_t n)
{
    size_t wrong = wrong_squares(it, ordered, n);

    CHECK_SAYING(wrong == 0, "%s, n %zu: %zu wrong results", ordered ? "ordered" : "unordered", n, wrong);
    check_end(it);
    pmap_iter_free(it);
}

/* ---- A generator that the test can watch, hold and spoil --------------------------------------------- */

#define NEVER SIZE_MAX

struct producer {
    size_t end;      /* it gives 0 … end - 1 */
    size_t fails_at; /* instead of giving this one it fails */
    pthread_mutex_t lock;
    pthread_cond_t moved; /* asked or held_at has changed */
    size_t asked;         /* how often it was called; under the lock */
    size_t held_at;       /* it does not give this one and later ones; under the lock */
};

static void producer_init(struct producer *p, size_t end)
{
    *p = (struct producer){.end = end, .fails_at = NEVER, .held_at = NEVER, .lock = PTHREAD_MUTEX_INITIALIZER,
                           .moved = PTHREAD_COND_INITIALIZER};
}

static bool produce(void *state, void *item)
{
    struct producer *p = state;

    pthread_mutex_lock(&p->lock);
    size_t i = p->asked++;
    pthread_cond_broadcast(&p->moved);
    while (i >= p->held_at)
        pthread_cond_wait(&p->moved, &p->lock); /* until the test calls producer_release */
    pthread_mutex_unlock(&p->lock);
    if (i == p->fails_at)
        return pmap_fail(7, "no item %zu", i);
    if (i < p->end)
        *(int *)item = (int)i;
    return i < p->end;
}

static struct pmap_source from(struct producer *p) { return PMAP_GENERATOR(produce, p); }

static void producer_release(struct producer *p)
{
    pthread_mutex_lock(&p->lock);
    p->held_at = NEVER;
    pthread_cond_broadcast(&p->moved);
    pthread_mutex_unlock(&p->lock);
}

/* Until it was asked so often, and how often that is. */
static size_t producer_await(struct producer *p, size_t asked)
{
    pthread_mutex_lock(&p->lock);
    while (p->asked < asked)
        pthread_cond_wait(&p->moved, &p->lock);
    asked = p->asked;
    pthread_mutex_unlock(&p->lock);
    return asked;
}

static size_t producer_asked(struct producer *p) { return producer_await(p, 0); }

/* ---- Streams equal the loop -------------------------------------------------------------------------- */

static void check_array_and_generator(bool ordered, size_t n, ptrdiff_t chunksize, size_t buffersize)
{
    struct producer p;

    check_squares(open_squares(ordered, PMAP_ARRAY(numbers, n), chunksize, buffersize), ordered, n);
    producer_init(&p, n);
    check_squares(open_squares(ordered, from(&p), chunksize, buffersize), ordered, n);
    CHECK_INT(producer_asked(&p), n + 1);
}

static void check_10_and_1000(bool ordered)
{
    check_array_and_generator(ordered, 10, 0, 0);
    check_array_and_generator(ordered, MANY, 0, 0);
    check_array_and_generator(ordered, MANY, 100, 0);
    check_array_and_generator(ordered, MANY, 53, 0);
}

/* CPython test_imap. */
static void stream_yields_in_order_and_ends(void) { check_10_and_1000(true); }

/* CPython test_imap_unordered. */
static void unordered_stream_yields_each_result_once(void) { check_10_and_1000(false); }

static const size_t sizes[] = {1, 2, 9, 10, 11};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* mpi4py.futures test_map_buffersize. */
static void every_buffersize_and_chunksize_equals_the_loop(void)
{
    for (size_t b = 0; b < SIZES; b++)
        for (size_t c = 0; c < SIZES; c++)
            for (int ordered = 0; ordered < 2; ordered++) {
                check_array_and_generator(ordered, 10, (ptrdiff_t)sizes[c], sizes[b]);
                check_array_and_generator(ordered, 33, (ptrdiff_t)sizes[c], sizes[b]);
            }
}

static void sizes_beyond_the_source_are_fine(void)
{
    for (int ordered = 0; ordered < 2; ordered++) {
        check_array_and_generator(ordered, 10, 5000, 0);
        check_array_and_generator(ordered, 10, PTRDIFF_MAX, 0);
        check_array_and_generator(ordered, 10, 3, SIZE_MAX);
        check_array_and_generator(ordered, 10, PTRDIFF_MAX, SIZE_MAX);
    }
}

/* CPython test_empty_iterable; concurrent.futures test_map_buffersize_on_empty_iterable. */
static void empty_source_ends_at_once(void)
{
    for (int ordered = 0; ordered < 2; ordered++) {
        check_array_and_generator(ordered, 0, 0, 0);
        check_array_and_generator(ordered, 0, 10, 2);
    }
}

static void no_item_is_told_about_before_the_first_result(void)
{
    struct pmap_iter *it = pmap_imap(the_pool, square, PMAP_ARRAY(numbers, 2));

    if (!CHECK(it != NULL))
        return;
    CHECK(pmap_iter_item(it) == PMAP_NO_ITEM);
    check_squares(it, true, 2);
}

static void generator_of_known_length_is_asked_so_often(void)
{
    struct producer p;
    struct pmap_source source = from(&p);

    source.n = 7;
    for (int ordered = 0; ordered < 2; ordered++) {
        producer_init(&p, NEVER);
        check_squares(open_squares(ordered, source, 3, 0), ordered, 7);
        CHECK_INT(producer_asked(&p), 7);
        producer_init(&p, 7);
        check_squares(open_squares(ordered, source, 0, 2), ordered, 7);
        CHECK_INT(producer_asked(&p), 7);
    }
}

static void results_do_not_wait_for_the_end_of_the_source(void)
{
    struct producer p;
    struct pmap_iter *it;

    producer_init(&p, 20);
    p.held_at = 10;
    it = open_squares(true, from(&p), 1, 100);
    CHECK_INT(wrong_squares(it, true, 10), 0);
    producer_release(&p);
    for (int i = 10; it != NULL && i < 20; i++) {
        int y = -1;

        CHECK_STATUS(pmap_iter_next(it, &y, PMAP_FOREVER), PMAP_OK);
        CHECK_INT(y, i * i);
    }
    check_end(it);
    pmap_iter_free(it);
}

/* ---- Kinds of tasks ---------------------------------------------------------------------------------- */

static bool next_weight(void *state, void *item)
{
    int *i = state;

    *(struct weigh_args *)item = (struct weigh_args){0.5 * *i, 100 - *i};
    return ++*i <= 50;
}

static void check_weights(struct pmap_iter *it)
{
    int wrong = 0;
    double y;

    if (!CHECK(it != NULL))
        return;
    for (int i = 0; i < 50; i++)
        wrong += pmap_iter_next(it, &y, PMAP_FOREVER) != PMAP_OK || y != weigh(0.5 * i, 100 - i);
    CHECK_INT(wrong, 0);
    CHECK_STATUS(pmap_iter_next(it, &y, PMAP_FOREVER), PMAP_END);
    pmap_iter_free(it);
}

static void task_of_several_arguments(void)
{
    struct weigh_args args[50];
    int i = 0;

    for (int k = 0; k < 50; k++)
        args[k] = (struct weigh_args){0.5 * k, 100 - k};
    check_weights(pmap_imap(the_pool, weigh, PMAP_ARRAY(args, 50), .chunksize = 7));
    check_weights(pmap_imap(the_pool, weigh, PMAP_GENERATOR(next_weight, &i)));
}

static void check_visits(struct pmap_iter *it, int n)
{
    int wrong = 0;

    if (!CHECK(it != NULL))
        return;
    for (int i = 0; i < n; i++)
        wrong += pmap_iter_next(it, NULL, PMAP_FOREVER) != PMAP_OK;
    CHECK_STATUS(pmap_iter_next(it, NULL, PMAP_FOREVER), PMAP_END);
    for (int i = 0; i < n; i++)
        wrong += atomic_exchange(&board()[ITEMS + i], 0) != 1;
    CHECK_INT(wrong, 0);
    pmap_iter_free(it);
}

static void action_runs_once_for_each_item(void)
{
    struct producer p;

    board_clear();
    check_visits(pmap_imap(the_pool, visit, PMAP_ARRAY(numbers, 100)), 100);
    check_visits(pmap_imap_unordered(the_pool, visit, PMAP_ARRAY(numbers, 100), .chunksize = 8), 100);
    producer_init(&p, 100);
    check_visits(pmap_imap(the_pool, visit, from(&p), .chunksize = 3, .buffersize = 10), 100);
}

/* Each item of a block says where the block began and how long it was. */
struct span {
    size_t begin, length;
};

static void measure(size_t n, const int in[], struct span out[])
{
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct span){pmap_item(), n};
        if (in[i] < 0)
            pmap_fail(4, "negative input %d", in[i]);
    }
}
PMAP_BLOCK_TASK(measure, struct span, int);

/* With room for all of them no chunk but the last is short. */
static void block_is_exactly_a_chunk(void)
{
    struct pmap_iter *it = pmap_imap(the_pool, measure, PMAP_ARRAY(numbers, 100), .chunksize = 7, .buffersize = 100);
    int wrong = 0;

    if (!CHECK(it != NULL))
        return;
    for (size_t i = 0; i < 100; i++) {
        struct span s = {0};

        wrong += pmap_iter_next(it, &s, PMAP_FOREVER) != PMAP_OK || s.begin != i / 7 * 7 ||
                 s.length != (i < 98 ? 7 : 2);
    }
    CHECK_INT(wrong, 0);
    pmap_iter_free(it);
}

/* ---- Items of bytes ---------------------------------------------------------------------------------- */

/* "word 17" becomes "WORD 17". Words 3, 8, 13 … fail at the first attempt; the board counts them. */
static struct pmap_bytes shout(struct pmap_bytes word)
{
    const char *text = word.data;
    int number = atoi(text + 5);
    char *loud = malloc(word.size);

    if (loud == NULL || (atomic_fetch_add(&board()[ITEMS + number], 1) == 0 && number % 5 == 3)) {
        pmap_fail(6, "hoarse");
        free(loud);
        return (struct pmap_bytes){NULL, 0};
    }
    for (size_t i = 0; i < word.size; i++)
        loud[i] = (char)toupper((unsigned char)text[i]);
    return (struct pmap_bytes){loud, word.size};
}
PMAP_BYTES_TASK(shout);

static struct pmap_bytes word(int number)
{
    char *text = test_array(20, 1);

    return (struct pmap_bytes){text, 1 + (size_t)snprintf(text, 20, "word %d", number)};
}

static bool next_word(void *state, void *item)
{
    struct producer *p = state;

    if (p->asked == p->end)
        return false;
    *(struct pmap_bytes *)item = word((int)p->asked++);
    return true;
}

static bool is_shouted(struct pmap_bytes y, size_t number)
{
    char text[20];
    size_t size = 1 + (size_t)snprintf(text, sizeof text, "WORD %zu", number);

    return y.size == size && memcmp(y.data, text, size) == 0;
}

/* The stream yields n words, of which some fail if it has no retries. Frees it. */
static void check_shouted(struct pmap_iter *it, size_t n, bool some_fail)
{
    struct pmap_bytes y;
    int wrong = 0;

    if (!CHECK(it != NULL))
        return;
    for (size_t k = 0; k < n; k++) {
        enum pmap_status status = pmap_iter_next(it, &y, PMAP_FOREVER);
        size_t item = pmap_iter_item(it);
        bool failed = some_fail && item % 5 == 3;

        wrong += status != (failed ? PMAP_EFAILED : PMAP_OK);
        wrong += failed ? y.data != NULL || y.size != 0 : !is_shouted(y, item);
        free(y.data);
    }
    CHECK_INT(wrong, 0);
    CHECK_STATUS(pmap_iter_next(it, &y, PMAP_FOREVER), PMAP_END);
    pmap_iter_free(it);
}

static void bytes_of_a_generator(void)
{
    struct producer p;

    for (ptrdiff_t chunksize = 0; chunksize < 8; chunksize += 7) {
        board_clear();
        producer_init(&p, 40);
        check_shouted(pmap_imap(the_pool, shout, PMAP_GENERATOR(next_word, &p), .chunksize = chunksize,
                                .error = &error), 40, true);
        board_clear();
        producer_init(&p, 40);
        check_shouted(pmap_imap_unordered(the_pool, shout, PMAP_GENERATOR(next_word, &p), .chunksize = chunksize,
                                          .error = &error), 40, true);
    }
}

/* An item is kept until its last attempt. */
static void bytes_of_a_generator_are_run_again(void)
{
    struct producer p;

    board_clear();
    producer_init(&p, 40);
    check_shouted(pmap_imap(the_pool, shout, PMAP_GENERATOR(next_word, &p), .chunksize = 4, .retries = 1), 40, false);
}

static void bytes_of_an_array_stay_the_callers(void)
{
    struct pmap_bytes words[20];
    char text[20];
    int wrong = 0;

    board_clear();
    for (int i = 0; i < 20; i++)
        words[i] = word(i);
    check_shouted(pmap_imap(the_pool, shout, PMAP_ARRAY(words, 20), .chunksize = 3, .error = &error), 20, true);
    for (int i = 0; i < 20; i++) {
        snprintf(text, sizeof text, "word %d", i);
        wrong += strcmp(words[i].data, text) != 0;
    }
    CHECK_INT(wrong, 0);
    pmap_bytes_free(words, 20);
}

/* valgrind and the sanitizers see whether items, queued and run, and results that nobody took are freed. */
static void bytes_of_a_stream_freed_early(void)
{
    struct producer p;

    for (int taken = 0; taken < 6; taken++) {
        board_clear();
        producer_init(&p, NEVER);
        struct pmap_iter *it = pmap_imap(the_pool, shout, PMAP_GENERATOR(next_word, &p), .chunksize = 2,
                                         .buffersize = 50, .error = &error);
        for (int k = 0; k < taken; k++) {
            struct pmap_bytes y = {NULL, 0};

            pmap_iter_next(it, &y, PMAP_FOREVER);
            free(y.data);
        }
        pmap_iter_free(it);
        check_usable();
    }
}

/* ---- How far the source is asked --------------------------------------------------------------------- */

/* After k results the producer has been asked k + limit times: it gets there, and no further. Further it could go at
 * any time, so whole maps run before the last look. */
static void check_limit(bool ordered, ptrdiff_t chunksize, size_t buffersize, size_t limit)
{
    struct producer p;
    struct pmap_iter *it;
    size_t wrong = 0, k = 0;

    producer_init(&p, NEVER);
    it = open_squares(ordered, from(&p), chunksize, buffersize);
    if (!CHECK(it != NULL))
        return;
    for (int y; k < 15; k++) {
        wrong += producer_await(&p, k + limit) != k + limit;
        wrong += pmap_iter_next(it, &y, PMAP_FOREVER) != PMAP_OK;
    }
    producer_await(&p, k + limit);
    check_usable();
    check_usable();
    CHECK_SAYING(wrong == 0, "buffersize %zu, chunksize %td: %zu times wrong", buffersize, chunksize, wrong);
    CHECK_INT(producer_asked(&p), k + limit);
    pmap_iter_free(it);
    CHECK_INT(producer_asked(&p), k + limit);
}

/* CPython: producer runs exactly to the buffer limit; concurrent.futures test_map_buffersize_when_buffer_is_full. The
 * stream that nobody reads does not keep the pool from running maps, either. */
static void producer_runs_exactly_to_the_limit(void)
{
    for (size_t b = 0; b < SIZES; b++)
        for (size_t c = 0; c < SIZES; c++)
            for (int ordered = 0; ordered < 2; ordered++)
                check_limit(ordered, (ptrdiff_t)sizes[c], sizes[b], sizes[b]);
}

static void default_limit_keeps_all_workers_busy_twice_over(void)
{
    size_t twice = 2 * (size_t)pmap_threads(the_pool);

    check_limit(true, 0, 0, twice);
    check_limit(true, 1, 0, twice);
    check_limit(false, 10, 0, 10 * twice);
}

static void items_of_an_array_run_exactly_to_the_limit(void)
{
    struct pmap_iter *it;

    board_clear();
    it = pmap_imap(the_pool, visit, PMAP_ARRAY(numbers, MANY), .chunksize = 2, .buffersize = 8);
    if (!CHECK(it != NULL))
        return;
    CHECK(board_await(BEGUN, 8));
    for (int k = 0; k < 4; k++)
        CHECK_STATUS(pmap_iter_next(it, NULL, PMAP_FOREVER), PMAP_OK);
    CHECK(board_await(BEGUN, 12));
    check_usable();
    check_usable();
    CHECK_INT(atomic_load(&board()[BEGUN]), 12);
    pmap_iter_free(it);
    CHECK_INT(atomic_load(&board()[BEGUN]), 12);
}

/* An error that was yielded makes room as a value does. */
static void failed_items_make_room_for_others(void)
{
    int in[40], wrong = 0;
    struct pmap_iter *it;

    board_clear();
    for (int i = 0; i < 40; i++)
        in[i] = -1 - i;
    it = pmap_imap(the_pool, visit, PMAP_ARRAY(in, 40), .buffersize = 2, .error = &error);
    if (!CHECK(it != NULL))
        return;
    for (size_t i = 0; i < 40; i++)
        wrong += pmap_iter_next(it, NULL, PMAP_FOREVER) != PMAP_EFAILED || error.item != i;
    CHECK_INT(wrong, 0);
    CHECK_STATUS(pmap_iter_next(it, NULL, PMAP_FOREVER), PMAP_END);
    pmap_iter_free(it);
}

/* concurrent.futures test_map_buffersize_on_infinite_iterable. */
static void endless_generator_is_freed_early(void)
{
    for (int ordered = 0; ordered < 2; ordered++) {
        struct producer p;
        struct pmap_iter *it;
        int wrong = 0, y;

        producer_init(&p, NEVER);
        it = open_squares(ordered, from(&p), 3, 0);
        if (!CHECK(it != NULL))
            return;
        for (int k = 0; k < 20; k++)
            wrong += pmap_iter_next(it, &y, PMAP_FOREVER) != PMAP_OK;
        CHECK_INT(wrong, 0);
        pmap_iter_free(it);
        size_t asked = producer_asked(&p);
        check_usable();
        CHECK_INT(producer_asked(&p), asked);
    }
}

/* ---- Generators that go wrong ------------------------------------------------------------------------ */

/* After the n items before, the stream tells once that its generator failed, and has ended. */
static void check_generator_failure(struct pmap_iter *it, bool ordered, size_t n, const char *text)
{
    int y = 99;
    size_t wrong = wrong_squares(it, ordered, n);

    if (!CHECK(it != NULL))
        return;
    CHECK_SAYING(wrong == 0, "%zu of %zu results before the failure are wrong", wrong, n);
    memset(&error, 0, sizeof error);
    CHECK_STATUS(pmap_iter_next(it, &y, PMAP_FOREVER), PMAP_EFAILED);
    CHECK_STATUS(error.status, PMAP_EFAILED);
    CHECK_INT(error.item, n);
    CHECK_SAYING(strstr(error.text, text) != NULL, "the text is \"%s\"", error.text);
    CHECK_INT(y, 0);
    check_end(it);
    pmap_iter_free(it);
    check_usable();
}

static void check_failing_generator(bool ordered, size_t fails_at, ptrdiff_t chunksize)
{
    struct producer p;
    char text[40];

    snprintf(text, sizeof text, "no item %zu", fails_at);
    for (int again = 0; again < 2; again++) {
        producer_init(&p, 20);
        p.fails_at = fails_at;
        check_generator_failure(open_squares(ordered, from(&p), chunksize, 0), ordered, fails_at, text);
        CHECK_INT(error.code, 7);
        CHECK_INT(producer_asked(&p), fails_at + 1);
    }
}

/* CPython test_imap_handle_iterable_exception and test_imap_unordered_handle_iterable_exception. */
static void generator_that_fails_at_once(void)
{
    for (int ordered = 0; ordered < 2; ordered++) {
        check_failing_generator(ordered, 0, 1);
        check_failing_generator(ordered, 0, 4);
    }
}

static void generator_that_fails_after_good_items(void)
{
    for (int ordered = 0; ordered < 2; ordered++) {
        check_failing_generator(ordered, 3, 1);
        check_failing_generator(ordered, 8, 4);
    }
}

/* Python's drops the items of the chunk in which that happens. */
static void generator_that_fails_inside_a_chunk(void)
{
    for (int ordered = 0; ordered < 2; ordered++) {
        check_failing_generator(ordered, 7, 2);
        check_failing_generator(ordered, 7, 4);
        check_failing_generator(ordered, 3, 100);
    }
}

static bool report_and_go_on(void *state, void *item)
{
    int *asked = state;

    *(int *)item = *asked;
    if (++*asked == 5)
        pmap_fail(8, "something is wrong with 4");
    return true;
}

static void generator_that_reports_an_item_and_gives_it_has_failed(void)
{
    for (int ordered = 0; ordered < 2; ordered++) {
        int asked = 0;

        check_generator_failure(open_squares(ordered, PMAP_GENERATOR(report_and_go_on, &asked), 3, 0), ordered, 4,
                                "something is wrong with 4");
        CHECK_INT(error.code, 8);
        CHECK_INT(asked, 5);
    }
}

static void check_lying_generator(bool ordered, size_t says, size_t gives, ptrdiff_t chunksize)
{
    struct producer p;
    struct pmap_source source = from(&p);

    source.n = says;
    for (int again = 0; again < 2; again++) {
        producer_init(&p, gives);
        check_generator_failure(open_squares(ordered, source, chunksize, 0), ordered, gives, "");
        CHECK_INT(producer_asked(&p), gives + 1);
    }
}

/* CPython: a generator that lies about its length. */
static void generator_that_gives_fewer_than_it_said_has_failed(void)
{
    for (int ordered = 0; ordered < 2; ordered++) {
        check_lying_generator(ordered, 20, 10, 1);
        check_lying_generator(ordered, 20, 10, 4);
        check_lying_generator(ordered, 1000000, 10, 100);
        check_lying_generator(ordered, 1, 0, 1);
        check_lying_generator(ordered, 11, 10, 10);
    }
}

/* CPython's SpecialIterable: it says that it has one, and fails at it. */
static void generator_that_lies_and_fails_is_reported_once(void)
{
    for (int again = 0; again < 2; again++) {
        struct producer p;
        struct pmap_source source = from(&p);

        producer_init(&p, 1);
        p.fails_at = 0;
        source.n = 1;
        check_generator_failure(open_squares(true, source, 1, 0), true, 0, "no item 0");
    }
}

/* ---- Items that fail --------------------------------------------------------------------------------- */

static bool is_bad(size_t i) { return i % 7 == 3 || i == 0 || i == 49 || i / 5 == 4; }

/* One result, which is told right in every respect. */
static bool next_is_right(struct pmap_iter *it, bool ordered, size_t k, char seen[])
{
    int y = 99;

    memset(&error, 0, sizeof error);
    enum pmap_status status = pmap_iter_next(it, &y, PMAP_FOREVER);
    size_t i = pmap_iter_item(it);

    if (i >= 50 || (ordered && i != k) || seen[i]++ != 0)
        return false;
    if (!is_bad(i))
        return status == PMAP_OK && y == (int)(i * i);
    return status == PMAP_EFAILED && y == 0 && error.status == PMAP_EFAILED && error.item == i && error.code == 2 &&
           error.rank >= 0 && error.rank < pmap_ranks(the_pool) && strstr(error.text, "negative input") != NULL;
}

static void check_goes_on(bool ordered, ptrdiff_t chunksize)
{
    int in[50], wrong = 0;
    char seen[50] = {0};

    for (int i = 0; i < 50; i++)
        in[i] = is_bad((size_t)i) ? -1 - i : i;
    struct pmap_iter *it = open_squares(ordered, PMAP_ARRAY(in, 50), chunksize, 0);
    if (!CHECK(it != NULL))
        return;
    for (size_t k = 0; k < 50; k++)
        wrong += !next_is_right(it, ordered, k, seen);
    CHECK_SAYING(wrong == 0, "%s, chunksize %td: %d wrong", ordered ? "ordered" : "unordered", chunksize, wrong);
    check_end(it);
    pmap_iter_free(it);
    check_usable();
}

/* concurrent.futures test_map_exception, but the stream goes on. */
static void stream_goes_on_after_a_failed_item(void)
{
    static const ptrdiff_t chunksizes[] = {0, 1, 2, 7, 50, 5000};

    for (size_t c = 0; c < sizeof chunksizes / sizeof *chunksizes; c++)
        for (int ordered = 0; ordered < 2; ordered++)
            check_goes_on(ordered, chunksizes[c]);
}

static void failed_block_fails_each_item_of_its_chunk(void)
{
    int in[30] = {0}, wrong = 0;
    struct pmap_iter *it;
    struct span s;

    in[12] = -1;
    it = pmap_imap(the_pool, measure, PMAP_ARRAY(in, 30), .chunksize = 10, .buffersize = 30, .error = &error);
    if (!CHECK(it != NULL))
        return;
    for (size_t i = 0; i < 30; i++) {
        bool failed = i / 10 == 1;

        wrong += pmap_iter_next(it, &s, PMAP_FOREVER) != (failed ? PMAP_EFAILED : PMAP_OK);
        wrong += pmap_iter_item(it) != i || s.length != (failed ? 0 : 10);
    }
    CHECK_INT(wrong, 0);
    CHECK_STATUS(pmap_iter_next(it, &s, PMAP_FOREVER), PMAP_END);
    pmap_iter_free(it);
}

/* Items 1, 4, 7, … fail so often before they succeed. */
static void check_retries(bool ordered, int failures, int retries, ptrdiff_t chunksize)
{
    struct flaky_args args[30];
    int wrong = 0, y;

    board_clear();
    for (int i = 0; i < 30; i++)
        args[i] = (struct flaky_args){i, i % 3 == 1 ? failures : 0};
    struct pmap_iter *it = ordered ? pmap_imap(the_pool, flaky, PMAP_ARRAY(args, 30), .chunksize = chunksize,
                                               .retries = retries, .error = &error)
                                   : pmap_imap_unordered(the_pool, flaky, PMAP_ARRAY(args, 30),
                                                         .chunksize = chunksize, .retries = retries, .error = &error);
    if (!CHECK(it != NULL))
        return;
    for (int k = 0; k < 30; k++) {
        enum pmap_status status = pmap_iter_next(it, &y, PMAP_FOREVER);
        int i = (int)pmap_iter_item(it);
        bool failed = i % 3 == 1 && failures > retries;

        wrong += i < 0 || i >= 30 || (ordered && i != k) || status != (failed ? PMAP_EFAILED : PMAP_OK);
        wrong += y != (failed ? 0 : i + 1) || (failed && (error.item != (size_t)i || error.code != retries + 1));
    }
    for (int i = 0; i < 30; i++) {
        int most = i % 3 != 1 ? 0 : failures > retries ? retries : failures;

        wrong += atomic_load(&board()[ITEMS + i]) != 1 + most;
    }
    CHECK_SAYING(wrong == 0, "%d failures, %d retries, chunksize %td: %d wrong", failures, retries, chunksize, wrong);
    CHECK_STATUS(pmap_iter_next(it, &y, PMAP_FOREVER), PMAP_END);
    pmap_iter_free(it);
}

static void failed_items_are_run_again(void)
{
    for (ptrdiff_t chunksize = 1; chunksize < 12; chunksize += 5)
        for (int ordered = 0; ordered < 2; ordered++) {
            check_retries(ordered, 1, 1, chunksize);
            check_retries(ordered, 3, 5, chunksize);
        }
}

static void last_run_of_an_item_counts(void)
{
    for (ptrdiff_t chunksize = 1; chunksize < 12; chunksize += 5)
        for (int ordered = 0; ordered < 2; ordered++)
            check_retries(ordered, 100, 2, chunksize);
}

/* ---- Timeouts ---------------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void timeout_of_0_polls(void)
{
    struct producer p;
    struct pmap_iter *it;
    enum pmap_status status;
    int y = 99;

    producer_init(&p, 3);
    p.held_at = 0;
    it = open_squares(true, from(&p), 1, 0);
    for (int k = 0; it != NULL && k < 3; k++) {
        CHECK_STATUS(pmap_iter_next(it, &y, 0), PMAP_ETIMEOUT);
        CHECK_INT(y, 99);
        CHECK(pmap_iter_item(it) == PMAP_NO_ITEM);
    }
    producer_release(&p);
    for (int i = 0; it != NULL && i < 3; i++) {
        while ((status = pmap_iter_next(it, &y, 0)) == PMAP_ETIMEOUT)
            sched_yield(); /* until the item has run */
        CHECK_STATUS(status, PMAP_OK);
        CHECK_INT(y, i * i);
        CHECK_INT(pmap_iter_item(it), i);
    }
    while ((status = pmap_iter_next(it, &y, 0)) == PMAP_ETIMEOUT)
        sched_yield(); /* until the generator has said that there are no more */
    CHECK_STATUS(status, PMAP_END);
    pmap_iter_free(it);
}

static void timeout_is_no_failure_and_comes_not_too_soon(void)
{
    struct pmap_error before;
    struct producer p;
    int y = 99;

    producer_init(&p, 10);
    p.held_at = 0;
    memset(&error, 0xa5, sizeof error);
    struct pmap_iter *it = open_squares(false, from(&p), 1, 0);
    memcpy(&before, &error, sizeof error);
    double begin = now();
    for (int k = 0; k < 3; k++)
        CHECK_STATUS(pmap_iter_next(it, &y, 0.02), PMAP_ETIMEOUT);
    CHECK(now() - begin >= 0.06);
    CHECK_INT(y, 99);
    CHECK(memcmp(&before, &error, sizeof error) == 0);
    producer_release(&p);
    check_squares(it, false, 10);
}

/* concurrent.futures test_map_timeout. */
static void finished_values_come_before_the_timeout(void)
{
    struct square_behind_args args[10];
    int y = 99;

    board_clear();
    for (int i = 0; i < 10; i++)
        args[i] = (struct square_behind_args){i, i == 3 ? GATE : NOWHERE};
    struct pmap_iter *it = pmap_imap(the_pool, square_behind, PMAP_ARRAY(args, 10));
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(pmap_iter_next(it, &y, PMAP_FOREVER), PMAP_OK);
        CHECK_INT(y, i * i);
    }
    CHECK_STATUS(pmap_iter_next(it, &y, 0), PMAP_ETIMEOUT);
    CHECK_STATUS(pmap_iter_next(it, &y, 0.01), PMAP_ETIMEOUT);
    CHECK_STATUS(pmap_iter_next(it, &y, 0.01), PMAP_ETIMEOUT);
    CHECK_INT(y, 4);
    atomic_store(&board()[GATE], 1);
    for (int i = 3; i < 10; i++) {
        CHECK_STATUS(pmap_iter_next(it, &y, PMAP_FOREVER), PMAP_OK);
        CHECK_INT(y, i * i);
    }
    CHECK_STATUS(pmap_iter_next(it, &y, PMAP_FOREVER), PMAP_END);
    pmap_iter_free(it);
}

/* ---- Order, and who works ---------------------------------------------------------------------------- */

static void unordered_results_overtake_one_another(void)
{
    struct square_behind_args args[100];
    char seen[100] = {0};
    int wrong = 0, y = -1;

    if (pmap_threads(the_pool) < 2) {
        test_skip("there is one worker");
        return;
    }
    board_clear();
    for (int i = 0; i < 100; i++)
        args[i] = (struct square_behind_args){i, i == 0 ? GATE : NOWHERE};
    struct pmap_iter *it = pmap_imap_unordered(the_pool, square_behind, PMAP_ARRAY(args, 100), .buffersize = 100);
    if (!CHECK(it != NULL))
        return;
    for (int k = 0; k < 100; k++) {
        wrong += pmap_iter_next(it, &y, PMAP_FOREVER) != PMAP_OK || pmap_iter_item(it) >= 100;
        if (wrong == 0)
            wrong += seen[pmap_iter_item(it)]++ != 0 || y != (int)(pmap_iter_item(it) * pmap_iter_item(it));
        CHECK(k > 0 || pmap_iter_item(it) != 0);
        atomic_store(&board()[GATE], 1); /* item 0 can go on once another has been yielded */
    }
    CHECK_INT(wrong, 0);
    pmap_iter_free(it);
}

/* The first item ends after another one. */
static int last_of_two(int x)
{
    if (x == 0 && !await_or_stop(ENDED, 1))
        return pmap_fail(3, "no other item has ended");
    atomic_fetch_add(&board()[ENDED], 1);
    return x * x;
}
PMAP_TASK(last_of_two, int, int);

static void ordered_results_wait_for_one_another(void)
{
    int wrong = 0, y;

    if (pmap_threads(the_pool) < 2) {
        test_skip("there is one worker");
        return;
    }
    board_clear();
    struct pmap_iter *it = pmap_imap(the_pool, last_of_two, PMAP_ARRAY(numbers, 100), .buffersize = 100);
    for (int i = 0; i < 100; i++)
        wrong += pmap_iter_next(it, &y, PMAP_FOREVER) != PMAP_OK || y != i * i;
    CHECK_INT(wrong, 0);
    pmap_iter_free(it);
}

/* Everybody's first item of a round waits until all workers have come. */
static bool meet(int round, int workers)
{
    static _Thread_local int last_round = -1;

    if (last_round == round)
        return true;
    last_round = round;
    atomic_fetch_add(&board()[ROUNDS + round], 1);
    return await_or_stop(ROUNDS + round, workers);
}
PMAP_TASK(meet, bool, int, int);

static void check_all_meet(int round, bool ordered, ptrdiff_t chunksize)
{
    int workers = pmap_threads(the_pool), left_alone = 0;
    size_t n = 15 * (size_t)workers * (size_t)chunksize;
    struct meet_args *args = test_array(n, sizeof *args);
    struct pmap_iter *it;

    for (size_t i = 0; i < n; i++)
        args[i] = (struct meet_args){round, workers};
    it = ordered ? pmap_imap(the_pool, meet, PMAP_ARRAY(args, n), .chunksize = chunksize)
                 : pmap_imap_unordered(the_pool, meet, PMAP_ARRAY(args, n), .chunksize = chunksize);
    for (size_t i = 0; i < n; i++) {
        bool met = false;

        left_alone += pmap_iter_next(it, &met, PMAP_FOREVER) != PMAP_OK || !met;
    }
    CHECK_SAYING(left_alone == 0, "chunksize %td: %d of %d workers came", chunksize,
                 atomic_load(&board()[ROUNDS + round]), workers);
    pmap_iter_free(it);
    free(args);
}

/* With the default buffersize. */
static void every_worker_works_for_a_stream(void)
{
    int round = 0;

    board_clear();
    for (ptrdiff_t chunksize = 1; chunksize < 8; chunksize += 6)
        for (int ordered = 0; ordered < 2; ordered++)
            check_all_meet(round++, ordered, chunksize);
}

/* ---- Freeing early ----------------------------------------------------------------------------------- */

static void early_free_leaves_the_pool_usable(void)
{
    for (int taken = 0; taken < 13; taken++)
        for (int ordered = 0; ordered < 2; ordered++) {
            struct producer p;
            struct pmap_iter *it;
            int y;

            producer_init(&p, 20);
            p.fails_at = 9;
            it = open_squares(ordered, from(&p), 1 + taken % 4, 0);
            CHECK(it != NULL);
            for (int k = 0; k < taken; k++)
                pmap_iter_next(it, &y, PMAP_FOREVER);
            pmap_iter_free(it);
            check_usable();
        }
}

/* A call that takes a while, of which the source counts both ends. */
struct calls {
    atomic_int begun, ended;
};

static bool dawdle(void *state, void *item)
{
    struct calls *calls = state;

    atomic_fetch_add(&calls->begun, 1);
    for (int k = 0; k < 1000; k++)
        sched_yield();
    *(int *)item = 1;
    atomic_fetch_add(&calls->ended, 1);
    return true;
}

static void free_waits_for_the_generator(void)
{
    for (int k = 0; k < 5; k++) {
        struct calls calls = {0, 0};
        struct pmap_iter *it = open_squares(true, PMAP_GENERATOR(dawdle, &calls), 1, MANY);

        while (it != NULL && atomic_load(&calls.begun) <= k)
            sched_yield(); /* until the generator has been called so often */
        pmap_iter_free(it);
        CHECK_INT(atomic_load(&calls.ended), atomic_load(&calls.begun));
    }
}

/* The gate stays shut, so the item ends when it is told to, and takes its time then. */
static void linger(int x)
{
    (void)x;
    atomic_fetch_add(&board()[BEGUN], 1);
    await_or_stop(GATE, 1);
    for (int k = 0; k < 1000; k++)
        sched_yield();
    atomic_fetch_add(&board()[STOPPED], pmap_cancelled());
    atomic_fetch_add(&board()[ENDED], 1);
}
PMAP_ACTION(linger, int);

static void free_stops_running_items_and_waits_for_them(void)
{
    for (int ordered = 0; ordered < 2; ordered++) {
        struct pmap_iter *it;

        board_clear();
        it = ordered ? pmap_imap(the_pool, linger, PMAP_ARRAY(numbers, MANY))
                     : pmap_imap_unordered(the_pool, linger, PMAP_ARRAY(numbers, MANY));
        CHECK(it != NULL);
        CHECK(board_await(BEGUN, pmap_threads(the_pool)));
        CHECK_STATUS(pmap_iter_next(it, NULL, 0), PMAP_ETIMEOUT);
        pmap_iter_free(it);
        int begun = atomic_load(&board()[BEGUN]);
        CHECK_INT(atomic_load(&board()[ENDED]), begun);
        CHECK_INT(atomic_load(&board()[STOPPED]), begun);
        check_usable();
        CHECK_INT(atomic_load(&board()[BEGUN]), begun);
    }
}

/* ---- Several streams --------------------------------------------------------------------------------- */

enum { STREAMS = 6, LENGTH = 60 };

/* Every other one reads a generator, two of three keep their order. */
static struct pmap_iter *open_one_of_several(int s, struct producer *p)
{
    producer_init(p, LENGTH);
    return open_squares(s % 3 != 0, s % 2 ? from(p) : PMAP_ARRAY(numbers, LENGTH), 1 + s, (size_t)(3 * s));
}

/* What is read from it in turns. */
static void check_sums(struct pmap_iter *streams[], int n)
{
    long sums[STREAMS] = {0};
    int wrong = 0, y;

    for (int i = 0; i < LENGTH; i++)
        for (int s = 0; s < n; s++) {
            wrong += pmap_iter_next(streams[s], &y, PMAP_FOREVER) != PMAP_OK;
            sums[s] += y;
        }
    for (int s = 0; s < n; s++) {
        CHECK_INT(sums[s], (LENGTH - 1) * LENGTH * (2 * LENGTH - 1) / 6);
        check_end(streams[s]);
    }
    CHECK_INT(wrong, 0);
}

static void several_streams_at_once(void)
{
    struct producer p[STREAMS];
    struct pmap_iter *streams[STREAMS];

    for (int s = 0; s < STREAMS; s++)
        streams[s] = open_one_of_several(s, &p[s]);
    check_sums(streams, STREAMS);
    for (int s = 0; s < STREAMS; s++)
        pmap_iter_free(streams[s]);
}

/* Two streams of the same array, and a generator that is asked by one stream after the other. */
static void source_may_feed_several_streams(void)
{
    struct pmap_iter *streams[] = {open_squares(true, PMAP_ARRAY(numbers, LENGTH), 1, 0),
                                   open_squares(true, PMAP_ARRAY(numbers, LENGTH), 7, 0)};
    struct pmap_source source;
    struct producer p;

    check_sums(streams, 2);
    pmap_iter_free(streams[0]);
    pmap_iter_free(streams[1]);
    producer_init(&p, 20);
    source = from(&p);
    source.n = 10;
    check_squares(open_squares(true, source, 1, 0), true, 10);
    struct pmap_iter *it = open_squares(true, from(&p), 1, 0);
    for (int i = 10, y = -1; it != NULL && i < 20; i++) {
        CHECK_STATUS(pmap_iter_next(it, &y, PMAP_FOREVER), PMAP_OK);
        CHECK_INT(y, i * i);
    }
    check_end(it);
    pmap_iter_free(it);
}

static void maps_go_on_beside_a_stream(void)
{
    struct producer p;
    int in[100], out[100], wrong = 0, y, z;

    for (int i = 0; i < 100; i++)
        in[i] = i;
    producer_init(&p, LENGTH);
    struct pmap_iter *it = open_squares(true, from(&p), 2, 5);
    for (int i = 0; i < LENGTH; i++) {
        wrong += pmap_iter_next(it, &y, PMAP_FOREVER) != PMAP_OK || y != i * i;
        wrong += pmap_map(the_pool, square, in, out, 100, .chunksize = i % 4) != PMAP_OK || out[99] != 99 * 99;
        wrong += pmap_apply(the_pool, square, &z, i) != PMAP_OK || z != i * i;
    }
    CHECK_INT(wrong, 0);
    check_end(it);
    pmap_iter_free(it);
}

struct consumer {
    pthread_t thread;
    int number;
    size_t wrong; /* written by the thread, read when it has been joined */
};

static size_t consume_one(bool ordered, struct pmap_source source, ptrdiff_t chunksize, size_t n)
{
    struct pmap_iter *it = ordered ? pmap_imap(the_pool, square, source, .chunksize = chunksize)
                                   : pmap_imap_unordered(the_pool, square, source, .chunksize = chunksize);
    size_t wrong = wrong_squares(it, ordered, n);
    int y;

    wrong += pmap_iter_next(it, &y, PMAP_FOREVER) != PMAP_END;
    pmap_iter_free(it);
    return wrong;
}

static void *consume(void *argument)
{
    struct consumer *c = argument;
    struct producer p;

    for (int round = 0; round < 10; round++) {
        c->wrong += consume_one(round % 2, PMAP_ARRAY(numbers, 50), 1 + round, 50);
        producer_init(&p, 50);
        c->wrong += consume_one(c->number % 2, from(&p), 1 + c->number, 50);
    }
    return NULL;
}

/* Each reads streams of its own, while the thread of the test reads another one and maps. */
static void several_threads_read_streams(void)
{
    struct consumer c[4];
    int started = 0;

    for (; started < 4; started++) {
        c[started] = (struct consumer){.number = started};
        if (!CHECK(pthread_create(&c[started].thread, NULL, consume, &c[started]) == 0))
            break;
    }
    maps_go_on_beside_a_stream();
    for (int i = 0; i < started; i++) {
        pthread_join(c[i].thread, NULL);
        CHECK_INT(c[i].wrong, 0);
    }
}

/* A generator that passes on what another stream yields. */
static bool pass_on(void *state, void *item)
{
    return pmap_iter_next((struct pmap_iter *)state, (int *)item, PMAP_FOREVER) == PMAP_OK;
}

static void streams_form_a_chain(void)
{
    struct pmap_iter *first = open_squares(true, PMAP_ARRAY(numbers, 100), 3, 10);
    struct pmap_iter *second = pmap_imap(the_pool, square, PMAP_GENERATOR(pass_on, first), .buffersize = 7);
    int wrong = 0, y;

    for (int i = 0; i < 100; i++)
        wrong += pmap_iter_next(second, &y, PMAP_FOREVER) != PMAP_OK || y != i * i * i * i;
    CHECK_INT(wrong, 0);
    check_end(second);
    pmap_iter_free(second);
    pmap_iter_free(first);
}

/* ---- Streams and callbacks --------------------------------------------------------------------------- */

struct listener {
    struct pmap_iter *it;
    enum pmap_status status; /* written by the callback, read when the result is ready */
};

static void listen_in(void *user, void *out, size_t n)
{
    struct listener *l = user;
    int y;

    (void)out;
    (void)n;
    l->status = pmap_iter_next(l->it, &y, PMAP_FOREVER);
}

static void callback_cannot_wait_for_a_stream(void)
{
    struct producer p;
    struct listener l = {NULL, PMAP_OK};
    struct pmap_result *r;
    int y = 0;

    producer_init(&p, 5);
    p.held_at = 0;
    l.it = open_squares(true, from(&p), 1, 0);
    r = pmap_apply_async(the_pool, square, &y, 6, .callback = listen_in, .user = &l);
    CHECK(r != NULL);
    CHECK_STATUS(pmap_result_get(r, PMAP_FOREVER, NULL), PMAP_OK);
    CHECK_INT(y, 36);
    CHECK_STATUS(l.status, PMAP_EDEADLOCK);
    pmap_result_free(r);
    producer_release(&p);
    check_squares(l.it, true, 5);
}

/* ---- Bad input --------------------------------------------------------------------------------------- */

/* After each refusal: the error belongs to no item and no task, and the pool works. */
static void check_refused(struct pmap_iter *it)
{
    CHECK(it == NULL);
    pmap_iter_free(it);
    CHECK_STATUS(error.status, PMAP_EINVAL);
    CHECK_SAYING(strncmp(error.text, "pmap", 4) == 0, "text is \"%s\"", error.text);
    CHECK_INT(error.code, 0);
    CHECK(error.item == PMAP_NO_ITEM);
    check_usable();
}

/* And the text names an argument. */
static void check_refused_for(const char *name, struct pmap_iter *it)
{
    check_refused(it);
    CHECK_NAMES(error.text, name);
    memset(&error, 0, sizeof error);
}

static void source_must_be_either_array_or_generator(void)
{
    struct producer p;
    struct pmap_source neither = {.n = 3}, both = PMAP_ARRAY(numbers, 3);

    producer_init(&p, 3);
    both.next = produce;
    both.state = &p;
    check_refused_for("source", pmap_imap(the_pool, square, neither, .error = &error));
    check_refused_for("source", pmap_imap(the_pool, square, both, .error = &error));
    check_refused_for("source", pmap_imap_unordered(the_pool, square, neither, .error = &error));
    check_refused_for("source", pmap_imap_unordered(the_pool, square, both, .error = &error));
    CHECK_INT(producer_asked(&p), 0);
}

static void source_of_elements_of_the_wrong_size_is_refused(void)
{
    double doubles[3] = {0};

    check_refused_for("square", pmap_imap(the_pool, square, PMAP_ARRAY(doubles, 3), .error = &error));
    check_refused_for("weigh", pmap_imap_unordered(the_pool, weigh, PMAP_ARRAY(doubles, 3), .error = &error));
    check_refused_for("n", pmap_imap(the_pool, square, PMAP_ARRAY(numbers, SIZE_MAX), .error = &error));
}

static void array_behind_a_void_pointer_is_taken_at_its_word(void)
{
    const void *items = numbers;

    check_squares(pmap_imap(the_pool, square, PMAP_ARRAY(items, 30)), true, 30);
}

static void numbers_that_make_no_sense_are_refused(void)
{
    const struct pmap_source source = PMAP_ARRAY(numbers, 3);

    check_refused_for("chunksize", pmap_imap(the_pool, square, source, .chunksize = -1, .error = &error));
    check_refused_for("chunksize", pmap_imap_unordered(the_pool, square, source, .chunksize = PTRDIFF_MIN,
                                                       .error = &error));
    check_refused_for("retries", pmap_imap(the_pool, square, source, .retries = -1, .error = &error));
    check_refused_for("retry_delay", pmap_imap(the_pool, square, source, .retry_delay = -0.5, .error = &error));
    check_refused_for("retry_delay", pmap_imap(the_pool, square, source, .retry_delay = (double)NAN,
                                               .error = &error));
}

static void null_where_something_is_needed_is_refused(void)
{
    const struct pmap_imap_options options = {.size = sizeof options, .source = PMAP_ARRAY(numbers, 3),
                                              .error = &error};

    check_refused_for("pool", pmap_imap(NULL, square, PMAP_ARRAY(numbers, 3), .error = &error));
    check_refused_for("pool", pmap_imap_unordered(NULL, square, PMAP_ARRAY(numbers, 3), .error = &error));
    check_refused_for("task", pmap_imap_with(the_pool, NULL, &options));
    check_refused_for("task", pmap_imap_unordered_with(the_pool, NULL, &options));
    setenv("PMAP_LOG", "quiet", 1); /* there is no error to be filled */
    CHECK(pmap_imap_with(the_pool, &square_task, NULL) == NULL);
    CHECK(pmap_imap_unordered_with(the_pool, &square_task, NULL) == NULL);
    unsetenv("PMAP_LOG");
}

static void null_stream_is_at_its_end(void)
{
    int y = 99;

    CHECK_STATUS(pmap_iter_next(NULL, &y, 0), PMAP_END);
    CHECK_STATUS(pmap_iter_next(NULL, &y, PMAP_FOREVER), PMAP_END);
    CHECK_INT(y, 99);
    pmap_iter_free(NULL);
}

/* Nothing is taken from the stream by a call that makes no sense. */
static void refused_next_takes_nothing(void)
{
    struct pmap_iter *it = open_squares(true, PMAP_ARRAY(numbers, 3), 1, 0);
    double x = 99;
    int y = 99;

    CHECK_STATUS(pmap_iter_next(it, &x, PMAP_FOREVER), PMAP_EINVAL);
    CHECK_STATUS(error.status, PMAP_EINVAL);
    CHECK_NAMES(error.text, "out");
    CHECK(x == 99);
    CHECK_STATUS(pmap_iter_next(it, NULL, PMAP_FOREVER), PMAP_EINVAL);
    CHECK_NAMES(error.text, "out");
    CHECK_STATUS(pmap_iter_next(it, &y, (double)NAN), PMAP_EINVAL);
    CHECK_NAMES(error.text, "timeout");
    CHECK_INT(y, 99);
    check_squares(it, true, 3);
}

/* A loop that waits for PMAP_END ends, though it would be refused each time. */
static void same_refusal_twice_is_the_end_of_a_loop(void)
{
    struct pmap_iter *it = open_squares(true, PMAP_ARRAY(numbers, 3), 1, 0);
    double x;

    CHECK_STATUS(pmap_iter_next(it, &x, PMAP_FOREVER), PMAP_EINVAL);
    CHECK_STATUS(pmap_iter_next(it, &x, PMAP_FOREVER), PMAP_END);
    CHECK_STATUS(pmap_iter_next(it, &x, PMAP_FOREVER), PMAP_END);
    check_squares(it, true, 3); /* nothing was taken */
}

/* What a generator gets from its own stream. */
static struct pmap_iter *own_stream;
static atomic_bool own_stream_is_there;
static enum pmap_status said_by_own_stream;

static bool asks_its_own_stream(void *state, void *item)
{
    int *given = state, y;

    while (!atomic_load(&own_stream_is_there))
        sched_yield();
    if (*given == 0)
        said_by_own_stream = pmap_iter_next(own_stream, &y, PMAP_FOREVER);
    pmap_iter_free(own_stream); /* a warning, and nothing else */
    *(int *)item = *given;
    return (*given)++ < 3;
}

static void generator_cannot_use_its_own_stream(void)
{
    int given = 0, y, sum = 0;
    enum pmap_status status;

    atomic_store(&own_stream_is_there, false);
    own_stream = open_squares(true, PMAP_GENERATOR(asks_its_own_stream, &given), 1, 0);
    atomic_store(&own_stream_is_there, true);
    while ((status = pmap_iter_next(own_stream, &y, PMAP_FOREVER)) == PMAP_OK)
        sum += y;
    CHECK_STATUS(status, PMAP_END);
    CHECK_INT(sum, 0 + 1 + 4);
    CHECK_STATUS(said_by_own_stream, PMAP_EDEADLOCK);
    pmap_iter_free(own_stream);
}

/* An address means nothing on another rank. */
static int length(const char *text) { return (int)strlen(text); }
PMAP_TASK(length, int, const char *);

static void stream_of_pointers_needs_a_pool_of_one_rank(void)
{
    const char *texts[] = {"a", "bc", "def"};
    struct pmap_iter *it = pmap_imap(the_pool, length, PMAP_ARRAY(texts, 3), .error = &error);

    if (pmap_ranks(the_pool) > 1) {
        check_refused_for("length", it);
        return;
    }
    for (int i = 0, y = 0; i < 3; i++) {
        CHECK_STATUS(pmap_iter_next(it, &y, PMAP_FOREVER), PMAP_OK);
        CHECK_INT(y, i + 1);
    }
    pmap_iter_free(it);
}

/* Only the root's processes know the pool; a task must not use it anyway. */
static int open_inside(int x)
{
    struct pmap_error e = {.status = PMAP_OK};
    struct pmap_iter *it = pmap_imap(the_pool, square, PMAP_ARRAY(&x, 1), .error = &e);

    return it == NULL ? (int)e.status : -1;
}
PMAP_TASK(open_inside, int, int);

static void stream_inside_a_task_is_refused(void)
{
    int out[5], wrong = 0;

    CHECK_STATUS(pmap_map(the_pool, open_inside, numbers, out, 5, .chunksize = 1), PMAP_OK);
    for (int i = 0; i < 5; i++)
        wrong += out[i] != PMAP_EINVAL;
    CHECK_INT(wrong, 0);
    check_usable();
}

static const struct test tests[] = {
    TEST(stream_yields_in_order_and_ends),
    TEST(unordered_stream_yields_each_result_once),
    TEST(every_buffersize_and_chunksize_equals_the_loop),
    TEST(sizes_beyond_the_source_are_fine),
    TEST(empty_source_ends_at_once),
    TEST(no_item_is_told_about_before_the_first_result),
    TEST(generator_of_known_length_is_asked_so_often),
    TEST(results_do_not_wait_for_the_end_of_the_source),
    TEST(task_of_several_arguments),
    TEST(action_runs_once_for_each_item),
    TEST(block_is_exactly_a_chunk),
    TEST(bytes_of_a_generator),
    TEST(bytes_of_a_generator_are_run_again),
    TEST(bytes_of_an_array_stay_the_callers),
    TEST(bytes_of_a_stream_freed_early),
    TEST(producer_runs_exactly_to_the_limit),
    TEST(default_limit_keeps_all_workers_busy_twice_over),
    TEST(items_of_an_array_run_exactly_to_the_limit),
    TEST(failed_items_make_room_for_others),
    TEST(endless_generator_is_freed_early),
    TEST(generator_that_fails_at_once),
    TEST(generator_that_fails_after_good_items),
    TEST(generator_that_fails_inside_a_chunk),
    TEST(generator_that_reports_an_item_and_gives_it_has_failed),
    TEST(generator_that_gives_fewer_than_it_said_has_failed),
    TEST(generator_that_lies_and_fails_is_reported_once),
    TEST(stream_goes_on_after_a_failed_item),
    TEST(failed_block_fails_each_item_of_its_chunk),
    TEST(failed_items_are_run_again),
    TEST(last_run_of_an_item_counts),
    TEST(timeout_of_0_polls),
    TEST(timeout_is_no_failure_and_comes_not_too_soon),
    TEST(finished_values_come_before_the_timeout),
    TEST(unordered_results_overtake_one_another),
    TEST(ordered_results_wait_for_one_another),
    TEST(every_worker_works_for_a_stream),
    TEST(early_free_leaves_the_pool_usable),
    TEST(free_waits_for_the_generator),
    TEST(free_stops_running_items_and_waits_for_them),
    TEST(several_streams_at_once),
    TEST(source_may_feed_several_streams),
    TEST(maps_go_on_beside_a_stream),
    TEST(several_threads_read_streams),
    TEST(streams_form_a_chain),
    TEST(callback_cannot_wait_for_a_stream),
    TEST(source_must_be_either_array_or_generator),
    TEST(source_of_elements_of_the_wrong_size_is_refused),
    TEST(array_behind_a_void_pointer_is_taken_at_its_word),
    TEST(numbers_that_make_no_sense_are_refused),
    TEST(null_where_something_is_needed_is_refused),
    TEST(null_stream_is_at_its_end),
    TEST(refused_next_takes_nothing),
    TEST(same_refusal_twice_is_the_end_of_a_loop),
    TEST(generator_cannot_use_its_own_stream),
    TEST(stream_of_pointers_needs_a_pool_of_one_rank),
    TEST(stream_inside_a_task_is_refused),
    {NULL, NULL},
};

int main(int argc, char *argv[])
{
    for (int i = 0; i < MANY; i++)
        numbers[i] = i;
    return test_main_with_pool(argc, argv, tests, ALL_SHAPES " t2:isolate");
}
