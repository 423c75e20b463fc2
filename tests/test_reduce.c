/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap_reduce equals the serial loop; where brackets matter, its result is the same to the last bit for any chunk size and
 * any number of threads and ranks; and it fails as a map does.
 *
 * Python's Pool has no reduce, so there are no tests of peers to port.
 */
#include "base/hash.h"
#include "board.h"
#include "harness.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Every shape must make the same bits of the sums of doubles in here, so their hashes are known: what the tests said when
 * they first ran, in the shape t1. Another tree makes other hashes, and programs other results than before: a change for
 * NEWS.md. */
#define HASH_OF_SUMS UINT64_C(0x42f5a1c3d13f8dff) /* sums_of_doubles_have_the_same_bits_everywhere */
#define HASH_OF_LARGE_SUM UINT64_C(0x18806ee049ed06be) /* large_sum_of_doubles_has_the_same_bits_everywhere */

static const size_t ns[] = {1, 2, 3, 31, 32, 33, 255, 256, 257, 1023, 1024, 1025, 100000};
enum { NS = sizeof ns / sizeof *ns, LARGEST = 100000 };
static const ptrdiff_t chunksizes[] = {0, 1, 7, 100, 1000, 100000};
enum { CHUNKSIZES = sizeof chunksizes / sizeof *chunksizes };

/* ---- Equal to the loop ------------------------------------------------------------------------------- */

static int square(int x) { return x < 0 ? pmap_fail(2, "negative input %d", x) : (int)((unsigned)x * (unsigned)x); }
PMAP_TASK(square, int, int);

static int add(int a, int b) { return (int)((unsigned)a + (unsigned)b); }
PMAP_OP(add, int);

static int *count_up(size_t n)
{
    int *in = test_array(n, sizeof *in);

    for (size_t i = 0; i < n; i++)
        in[i] = (int)i + 1;
    return in;
}

static int sum_of_squares(size_t n, const int in[])
{
    int sum = 0;

    for (size_t i = 0; i < n; i++)
        sum = add(sum, square(in[i]));
    return sum;
}

static void check_sum(size_t n, const int in[], ptrdiff_t chunksize)
{
    int sum = -1;
    enum pmap_status status = pmap_reduce(the_pool, square, add, in, &sum, n, .chunksize = chunksize);

    CHECK_SAYING(status == PMAP_OK && sum == sum_of_squares(n, in), "n %zu, chunksize %td: %s, %d, not %d", n, chunksize,
                 pmap_status_name(status), sum, sum_of_squares(n, in));
}

static void check_usable(void)
{
    static const int five[] = {1, 2, 3, 4, 5};

    check_sum(5, five, 0);
}

static void sum_of_ints_equals_serial_loop(void)
{
    int *in = count_up(LARGEST);

    for (int i = 0; i < NS; i++)
        for (int c = 0; c < CHUNKSIZES; c++)
            check_sum(ns[i], in, chunksizes[c]);
    check_sum(1000, in, PTRDIFF_MAX);
    free(in);
}

/* Matrices of two rows modulo a prime: their product is associative to the last bit, and not commutative. */
struct matrix {
    uint32_t a[2][2];
};

static struct matrix make_matrix(int x)
{
    uint32_t u = (uint32_t)x;

    return (struct matrix){{{u * 2654435761u >> 3, u + 1}, {7, u * 40503u >> 3}}};
}
PMAP_TASK(make_matrix, struct matrix, int);

static struct matrix multiply(struct matrix x, struct matrix y)
{
    const uint64_t prime = 2147483647;
    struct matrix z;

    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++)
            z.a[i][k] = (uint32_t)(((uint64_t)x.a[i][0] * y.a[0][k] % prime + (uint64_t)x.a[i][1] * y.a[1][k] % prime) %
                                   prime);
    return z;
}
PMAP_OP(multiply, struct matrix);

static void operands_keep_their_order(void)
{
    int *in = count_up(LARGEST);

    for (int i = 0; i < NS; i++) {
        struct matrix expected = make_matrix(in[0]), product;

        for (size_t k = 1; k < ns[i]; k++)
            expected = multiply(expected, make_matrix(in[k]));
        for (int c = 0; c < CHUNKSIZES; c++) {
            memset(&product, 0xff, sizeof product);
            CHECK_STATUS(pmap_reduce(the_pool, make_matrix, multiply, in, &product, ns[i], .chunksize = chunksizes[c]),
                         PMAP_OK);
            CHECK_SAYING(memcmp(&product, &expected, sizeof product) == 0, "n %zu, chunksize %td: another product", ns[i],
                         chunksizes[c]);
        }
    }
    free(in);
}

/* The same with operands that are too large to be folded eight at a time. */
struct permutation {
    unsigned char to[256];
};

static struct permutation rotate_and_swap(int x)
{
    struct permutation p;
    unsigned at = (unsigned)x * 37 % 256, other = at * at % 256;

    for (unsigned i = 0; i < 256; i++)
        p.to[i] = (unsigned char)(i + (unsigned)x);
    unsigned char swapped = p.to[at];
    p.to[at] = p.to[other];
    p.to[other] = swapped;
    return p;
}
PMAP_TASK(rotate_and_swap, struct permutation, int);

static struct permutation follow(struct permutation p, struct permutation q)
{
    for (int i = 0; i < 256; i++)
        p.to[i] = q.to[p.to[i]];
    return p;
}
PMAP_OP(follow, struct permutation);

static void large_operands_keep_their_order(void)
{
    size_t n = test_size(5000, 1025);
    int *in = count_up(n);
    struct permutation expected = rotate_and_swap(in[0]), result;

    for (size_t i = 1; i < n; i++)
        expected = follow(expected, rotate_and_swap(in[i]));
    for (int c = 0; c < CHUNKSIZES; c++) {
        memset(&result, 0xff, sizeof result);
        CHECK_STATUS(pmap_reduce(the_pool, rotate_and_swap, follow, in, &result, n, .chunksize = chunksizes[c]), PMAP_OK);
        CHECK(memcmp(&result, &expected, sizeof result) == 0);
    }
    free(in);
}

/* ---- Equal to the last bit --------------------------------------------------------------------------- */

/* Of either sign and of any size from 2^-40 to 2^40, so that every other bracket is another sum. The same on every
 * machine: a whole number times a power of two. */
static double make_double(uint64_t i)
{
    uint64_t bits = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);

    bits = (bits ^ bits >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
    bits ^= bits >> 32;
    return ldexp((double)(int64_t)bits, (int)(bits % 81) - 103);
}
PMAP_TASK(make_double, double, uint64_t);

static void make_doubles(size_t n, const uint64_t in[], double out[])
{
    for (size_t i = 0; i < n; i++)
        out[i] = make_double(in[i]);
}
PMAP_BLOCK_TASK(make_doubles, double, uint64_t);

static double add_doubles(double a, double b) { return a + b; }
PMAP_OP(add_doubles, double);

static uint64_t *count_from_0(size_t n)
{
    uint64_t *in = test_array(n, sizeof *in);

    for (size_t i = 0; i < n; i++)
        in[i] = i;
    return in;
}

/* Were the brackets of no matter, the tests below would say nothing. */
static void sums_of_these_doubles_depend_on_the_brackets(void)
{
    double left = 0, right = 0;

    for (uint64_t i = 0; i < 1000; i++)
        left += make_double(i);
    for (uint64_t i = 1000; i-- > 0;)
        right += make_double(i);
    CHECK(left != right);
}

static bool same_bits(double a, double b) { return memcmp(&a, &b, sizeof a) == 0; }

static void check_hash(const char *name, uint64_t hash, uint64_t known)
{
    if (known == 0)
        printf("# %s is 0x%016" PRIx64 "\n", name, hash);
    CHECK_SAYING(known == 0 || hash == known, "%s is 0x%016" PRIx64 ", not 0x%016" PRIx64, name, hash, known);
}

static void sums_of_doubles_have_the_same_bits_everywhere(void)
{
    uint64_t *in = count_from_0(LARGEST), hash = PMAP__HASH_BEGIN;

    for (int i = 0; i < NS; i++) {
        double first = 0, sum;

        CHECK_STATUS(pmap_reduce(the_pool, make_double, add_doubles, in, &first, ns[i]), PMAP_OK);
        hash = pmap__hash(hash, &first, sizeof first);
        for (int c = 0; c < CHUNKSIZES; c++) {
            CHECK_STATUS(pmap_reduce(the_pool, make_double, add_doubles, in, &sum, ns[i], .chunksize = chunksizes[c]),
                         PMAP_OK);
            CHECK_SAYING(same_bits(sum, first), "n %zu, chunksize %td: %a, not %a", ns[i], chunksizes[c], sum, first);
        }
    }
    check_hash("HASH_OF_SUMS", hash, HASH_OF_SUMS);
    free(in);
}

/* So many that one leaf of the tree is more than fits into a processor's first cache. */
static double make_double_of_item(void) { return make_double(pmap_item()); }
PMAP_TASK(make_double_of_item, double);

static void large_sum_of_doubles_has_the_same_bits_everywhere(void)
{
    static const ptrdiff_t sizes[] = {0, 1, 1000000};
    size_t n = test_size(5000000, 50000);
    double first = 0, sum;

    CHECK_STATUS(pmap_reduce(the_pool, make_double_of_item, add_doubles, NULL, &first, n), PMAP_OK);
    for (int c = 0; c < 3; c++) {
        CHECK_STATUS(pmap_reduce(the_pool, make_double_of_item, add_doubles, NULL, &sum, n, .chunksize = sizes[c]), PMAP_OK);
        CHECK_SAYING(same_bits(sum, first), "chunksize %td: %a, not %a", sizes[c], sum, first);
    }
    if (n == 5000000)
        check_hash("HASH_OF_LARGE_SUM", pmap__hash(PMAP__HASH_BEGIN, &first, sizeof first), HASH_OF_LARGE_SUM);
}

static void sum_of_doubles_has_the_same_bits_again_and_again(void)
{
    size_t n = test_size(LARGEST, 5000);
    uint64_t *in = count_from_0(n);
    double first = 0, sum;
    int wrong = 0;

    CHECK_STATUS(pmap_reduce(the_pool, make_double, add_doubles, in, &first, n), PMAP_OK);
    for (int round = 0; round < 30; round++) {
        wrong += pmap_reduce(the_pool, make_double, add_doubles, in, &sum, n, .priority = round % 3) != PMAP_OK;
        wrong += !same_bits(sum, first);
    }
    CHECK_INT(wrong, 0);
    free(in);
}

/* The tree is that of the items, however they are mapped. */
static void block_task_has_the_same_bits(void)
{
    uint64_t *in = count_from_0(LARGEST);

    for (int i = 0; i < NS; i++) {
        double expected = 0, sum;

        CHECK_STATUS(pmap_reduce(the_pool, make_double, add_doubles, in, &expected, ns[i]), PMAP_OK);
        for (int c = 0; c < CHUNKSIZES; c++) {
            CHECK_STATUS(pmap_reduce(the_pool, make_doubles, add_doubles, in, &sum, ns[i], .chunksize = chunksizes[c]),
                         PMAP_OK);
            CHECK_SAYING(same_bits(sum, expected), "n %zu, chunksize %td: %a, not %a", ns[i], chunksizes[c], sum, expected);
        }
    }
    free(in);
}

/* ---- Kinds of tasks and operands --------------------------------------------------------------------- */

/* 8 bytes. */
struct range {
    int least, greatest;
};

static struct range range_of(int x) { return (struct range){x * 7919 % 100003, x * 7919 % 100003}; }
PMAP_TASK(range_of, struct range, int);

static struct range unite(struct range a, struct range b)
{
    return (struct range){a.least < b.least ? a.least : b.least, a.greatest > b.greatest ? a.greatest : b.greatest};
}
PMAP_OP(unite, struct range);

static void operands_of_8_bytes(void)
{
    size_t n = test_size(LARGEST, 5000);
    int *in = count_up(n);
    struct range expected = range_of(in[0]), range = {0, 0};

    for (size_t i = 1; i < n; i++)
        expected = unite(expected, range_of(in[i]));
    CHECK_STATUS(pmap_reduce(the_pool, range_of, unite, in, &range, n), PMAP_OK);
    CHECK_INT(range.least, expected.least);
    CHECK_INT(range.greatest, expected.greatest);
    free(in);
}

/* Histograms of 64 bytes, 4 KiB and 64 KiB: each item is one more in some bin. */
struct histogram16 {
    uint32_t bins[16];
};
struct histogram1k {
    uint32_t bins[1024];
};
struct histogram16k {
    uint32_t bins[16 * 1024];
};

static size_t bin_of(int x, size_t bins) { return (uint32_t)x * 2654435761u % bins; }

static void add_bins(size_t n, uint32_t a[], const uint32_t b[])
{
    for (size_t i = 0; i < n; i++)
        a[i] += b[i];
}

static struct histogram16 sort16(int x)
{
    struct histogram16 h = {{0}};

    h.bins[bin_of(x, 16)] = 1;
    return h;
}
PMAP_TASK(sort16, struct histogram16, int);

static struct histogram16 merge16(struct histogram16 a, struct histogram16 b)
{
    add_bins(16, a.bins, b.bins);
    return a;
}
PMAP_OP(merge16, struct histogram16);

static struct histogram1k sort1k(int x)
{
    struct histogram1k h = {{0}};

    h.bins[bin_of(x, 1024)] = 1;
    return h;
}
PMAP_TASK(sort1k, struct histogram1k, int);

static struct histogram1k merge1k(struct histogram1k a, struct histogram1k b)
{
    add_bins(1024, a.bins, b.bins);
    return a;
}
PMAP_OP(merge1k, struct histogram1k);

static struct histogram16k sort16k(int x)
{
    struct histogram16k h = {{0}};

    h.bins[bin_of(x, 16 * 1024)] = 1;
    return h;
}
PMAP_TASK(sort16k, struct histogram16k, int);

static struct histogram16k merge16k(struct histogram16k a, struct histogram16k b)
{
    add_bins(16 * 1024, a.bins, b.bins);
    return a;
}
PMAP_OP(merge16k, struct histogram16k);

static void check_histogram(size_t n, const int in[], size_t bins, const uint32_t counts[])
{
    uint32_t *expected = test_array(bins, sizeof *expected);

    for (size_t i = 0; i < n; i++)
        expected[bin_of(in[i], bins)]++;
    CHECK(memcmp(counts, expected, bins * sizeof *expected) == 0);
    free(expected);
}

static void operands_of_64_bytes(void)
{
    struct histogram16 h;
    int *in = count_up(10000);

    for (int c = 0; c < CHUNKSIZES; c++) {
        CHECK_STATUS(pmap_reduce(the_pool, sort16, merge16, in, &h, 10000, .chunksize = chunksizes[c]), PMAP_OK);
        check_histogram(10000, in, 16, h.bins);
    }
    free(in);
}

static void operands_of_4_kib(void)
{
    size_t n = test_size(5000, 500);
    struct histogram1k h;
    int *in = count_up(n);

    for (int c = 0; c < CHUNKSIZES; c++) {
        CHECK_STATUS(pmap_reduce(the_pool, sort1k, merge1k, in, &h, n, .chunksize = chunksizes[c]), PMAP_OK);
        check_histogram(n, in, 1024, h.bins);
    }
    free(in);
}

static void operands_of_64_kib(void)
{
    size_t n = test_size(1000, 100);
    struct histogram16k *h = test_array(1, sizeof *h);
    int *in = count_up(n);

    for (int c = 0; c < CHUNKSIZES; c++) {
        CHECK_STATUS(pmap_reduce(the_pool, sort16k, merge16k, in, h, n, .chunksize = chunksizes[c]), PMAP_OK);
        check_histogram(n, in, 16 * 1024, h->bins);
    }
    free(in);
    free(h);
}

/* All results together would take 600 MiB. */
static void results_are_folded_where_they_are_made(void)
{
    size_t n = test_size(9600, 100), size = sizeof(struct histogram16k);
    struct histogram16k *h = test_array(1, size);
    struct rusage before, after;
    int *in = count_up(n);

    getrusage(RUSAGE_SELF, &before);
    CHECK_STATUS(pmap_reduce(the_pool, sort16k, merge16k, in, h, n), PMAP_OK);
    getrusage(RUSAGE_SELF, &after);
    check_histogram(n, in, 16 * 1024, h->bins);
    size_t grown = (size_t)(after.ru_maxrss - before.ru_maxrss) * 1024;
    CHECK_SAYING(n < 9600 || grown < n * size / 4, "%zu bytes for %zu results of %zu bytes", grown, n, size);
    free(in);
    free(h);
}

static double weigh(double mass, int count) { return mass * count + 0.25; }
PMAP_TASK(weigh, double, double, int);

static void task_of_two_arguments(void)
{
    enum { N = 1000 };
    struct weigh_args args[N];
    double expected = 0, sum = 0;

    for (int i = 0; i < N; i++) {
        args[i] = (struct weigh_args){0.5 * i, N - i};
        expected += weigh(args[i]._1, args[i]._2); /* exact, for all are multiples of 1/4 */
    }
    CHECK_STATUS(pmap_reduce(the_pool, weigh, add_doubles, args, &sum, N), PMAP_OK);
    CHECK(sum == expected);
}

/* Ten million items that take no memory at all: each is its index. */
static uint64_t own_index(void) { return pmap_item(); }
PMAP_TASK(own_index, uint64_t);

static uint64_t add_large(uint64_t a, uint64_t b) { return a + b; }
PMAP_OP(add_large, uint64_t);

static void task_without_arguments_needs_no_array(void)
{
    size_t n = test_size(10000000, 10000);
    uint64_t sum = 0;

    CHECK_STATUS(pmap_reduce(the_pool, own_index, add_large, NULL, &sum, n), PMAP_OK);
    CHECK(sum == (uint64_t)n * (n - 1) / 2);
}

/* Each item of a block has the index of its first plus its own place: together, each index once. */
static void index_block(size_t n, const int in[], uint64_t out[])
{
    for (size_t i = 0; i < n; i++)
        out[i] = pmap_item() + i == (size_t)in[i] - 1 ? pmap_item() + i : UINT64_MAX / 2;
}
PMAP_BLOCK_TASK(index_block, uint64_t, int);

static void blocks_know_their_place(void)
{
    int *in = count_up(10000);
    uint64_t sum;

    for (int c = 0; c < CHUNKSIZES; c++) {
        sum = 0;
        CHECK_STATUS(pmap_reduce(the_pool, index_block, add_large, in, &sum, 10000, .chunksize = chunksizes[c]), PMAP_OK);
        CHECK_INT(sum, 10000 * 9999 / 2);
    }
    free(in);
}

/* Marks the items that it runs. */
static int visit(int x)
{
    atomic_fetch_add(&board()[x], 1);
    return x;
}
PMAP_TASK(visit, int, int);

static void every_item_runs_once(void)
{
    enum { N = 2000 };
    int *in = count_up(N), sum, wrong = 0;

    board_clear();
    CHECK_STATUS(pmap_reduce(the_pool, visit, add, in, &sum, N), PMAP_OK);
    CHECK_STATUS(pmap_reduce(the_pool, visit, add, in, &sum, N, .chunksize = 7), PMAP_OK);
    for (int i = 1; i <= N; i++)
        wrong += atomic_load(&board()[i]) != 2;
    CHECK_INT(wrong, 0);
    free(in);
}

/* ---- Nothing, and one item --------------------------------------------------------------------------- */

static void nothing_to_reduce_gives_the_identity(void)
{
    const int identity = -7;
    int sum = 0;

    CHECK_STATUS(pmap_reduce(the_pool, square, add, NULL, &sum, 0, .identity = &identity), PMAP_OK);
    CHECK_INT(sum, -7);
    CHECK_STATUS(pmap_reduce(the_pool, square, add, (const int *)NULL, &sum, 0, .identity = &identity, .chunksize = 5),
                 PMAP_OK);
    CHECK_INT(sum, -7);
}

static void nothing_to_reduce_needs_an_identity(void)
{
    struct pmap_error error;
    int x = 1, sum = 5;

    CHECK_STATUS(pmap_reduce(the_pool, square, add, &x, &sum, 0, .error = &error), PMAP_EINVAL);
    CHECK_STATUS(error.status, PMAP_EINVAL);
    CHECK_NAMES(error.text, "identity");
    CHECK_INT(sum, 5);
    check_usable();
}

static void identity_is_no_item(void)
{
    const int in[] = {1, 2, 3}, identity = 1000;
    int sum = 0;

    CHECK_STATUS(pmap_reduce(the_pool, square, add, in, &sum, 3, .identity = &identity), PMAP_OK);
    CHECK_INT(sum, 14);
}

/* There is nothing to fold, so an operation that always fails is not called. */
static int refuse(int a, int b) { return pmap_fail(9, "%d and %d do not go together", a, b); }
PMAP_OP(refuse, int);

static void one_item_is_the_result(void)
{
    int x = 12, result = 0;

    CHECK_STATUS(pmap_reduce(the_pool, square, refuse, &x, &result, 1), PMAP_OK);
    CHECK_INT(result, 144);
}

/* ---- Failures ---------------------------------------------------------------------------------------- */

static void check_place(const struct pmap_error *error)
{
    CHECK(error->rank >= 0 && error->rank < pmap_ranks(the_pool));
    CHECK(error->thread >= 0 && error->thread < test_threads());
    CHECK(error->host[0] != '\0');
}

static void check_failing_item(size_t n, size_t at, ptrdiff_t chunksize)
{
    struct pmap_error error;
    char text[sizeof error.text];
    int *in = count_up(n), sum = 5;

    in[at] = -42;
    CHECK_STATUS(pmap_reduce(the_pool, square, add, in, &sum, n, .chunksize = chunksize, .error = &error), PMAP_EFAILED);
    CHECK_INT(sum, 5);
    CHECK_STATUS(error.status, PMAP_EFAILED);
    CHECK_INT(error.item, at);
    CHECK_INT(error.code, 2);
    check_place(&error);
    snprintf(text, sizeof text, "pmap: square failed at item %zu on %.64s (rank %d, thread %d): negative input -42 (code 2)",
             at, error.host, error.rank, error.thread);
    CHECK_TEXT(error.text, text);
    check_usable();
    free(in);
}

static void failing_item_is_reported_and_out_is_untouched(void)
{
    check_failing_item(1, 0, 0);
    check_failing_item(2, 1, 0);
    for (int c = 0; c < CHUNKSIZES; c++) {
        check_failing_item(10000, 0, chunksizes[c]);
        check_failing_item(10000, 5555, chunksizes[c]);
        check_failing_item(10000, 9999, chunksizes[c]);
    }
}

/* Which of several depends on who was stopped when; but it is one of them. */
static void one_of_several_failing_items_is_reported(void)
{
    enum { N = 10000 };
    struct pmap_error error;
    int *in = count_up(N), sum = 5;

    for (int i = 100; i < N; i += 700)
        in[i] = -i;
    for (int c = 0; c < CHUNKSIZES; c++) {
        error.item = 0;
        CHECK_STATUS(pmap_reduce(the_pool, square, add, in, &sum, N, .chunksize = chunksizes[c], .error = &error),
                     PMAP_EFAILED);
        CHECK(error.item >= 100 && error.item < N && error.item % 700 == 100);
        CHECK_INT(sum, 5);
    }
    check_usable();
    free(in);
}

static void square_block(size_t n, const int in[], int out[])
{
    for (size_t i = 0; i < n; i++)
        out[i] = square(in[i]);
}
PMAP_BLOCK_TASK(square_block, int, int);

/* The item is the first of its block, however long that was. */
static void failing_block_is_reported(void)
{
    enum { N = 5000 };
    struct pmap_error error;
    int *in = count_up(N), sum = 5;

    in[3333] = -1;
    for (int c = 0; c < CHUNKSIZES; c++) {
        CHECK_STATUS(pmap_reduce(the_pool, square_block, add, in, &sum, N, .chunksize = chunksizes[c], .error = &error),
                     PMAP_EFAILED);
        CHECK_STATUS(error.status, PMAP_EFAILED);
        CHECK_SAYING(error.item <= 3333, "item %zu", error.item);
        CHECK_INT(error.code, 2);
        CHECK_NAMES(error.text, "square_block");
        CHECK(strstr(error.text, "negative input -1") != NULL);
        CHECK_INT(sum, 5);
    }
    check_usable();
    free(in);
}

static void check_refused_by_the_operation(size_t n, ptrdiff_t chunksize)
{
    struct pmap_error error;
    int *in = count_up(n), result = 5;

    CHECK_STATUS(pmap_reduce(the_pool, square, refuse, in, &result, n, .chunksize = chunksize, .error = &error),
                 PMAP_EFAILED);
    CHECK_STATUS(error.status, PMAP_EFAILED);
    CHECK_INT(error.code, 9);
    CHECK_NAMES(error.text, "refuse");
    CHECK(strstr(error.text, "do not go together") != NULL);
    check_place(&error);
    CHECK_INT(result, 5);
    check_usable();
    free(in);
}

static void failing_operation_is_reported_and_out_is_untouched(void)
{
    check_refused_by_the_operation(2, 0);
    for (int c = 0; c < CHUNKSIZES; c++)
        check_refused_by_the_operation(10000, chunksizes[c]);
}

/* Fails only where the last item takes part, in whichever bracket that is. */
static int add_but_last(int a, int b) { return b == 5000 ? pmap_fail(11, "the last one") : add(a, b); }
PMAP_OP(add_but_last, int);

static int same(int x) { return x; }
PMAP_TASK(same, int, int);

static void operation_that_fails_once_is_reported(void)
{
    struct pmap_error error;
    int in[5000] = {0}, result = 5;

    in[4999] = 5000;
    for (int c = 0; c < CHUNKSIZES; c++) {
        CHECK_STATUS(pmap_reduce(the_pool, same, add_but_last, in, &result, 5000, .chunksize = chunksizes[c],
                                 .error = &error), PMAP_EFAILED);
        CHECK_INT(error.code, 11);
        CHECK_INT(result, 5);
    }
}

/* Fails in its first runs, as many as its code says; they are counted on the board. */
struct patient {
    int cell, failures;
};

static int recover(struct patient p)
{
    if (atomic_fetch_add(&board()[p.cell], 1) < p.failures)
        return pmap_fail(p.failures, "not yet");
    return p.cell;
}
PMAP_TASK(recover, int, struct patient);

static void retries_run_a_failed_leaf_again(void)
{
    enum { N = 5000 };
    static struct patient in[N];
    int sum, sick = 0;

    for (int i = 0; i < N; i++)
        in[i] = (struct patient){i, 0};
    for (int i = 7; i < N; i += 1200, sick++) /* even if all of them were in one leaf, sick * 2 retries would do */
        in[i].failures = 2;
    for (int c = 0; c < CHUNKSIZES; c++) {
        board_clear();
        sum = 0;
        CHECK_STATUS(pmap_reduce(the_pool, recover, add, in, &sum, N, .chunksize = chunksizes[c], .retries = 2 * sick),
                     PMAP_OK);
        CHECK_INT(sum, N * (N - 1) / 2);
        CHECK(atomic_load(&board()[7]) >= 3);
    }
}

static void item_that_fails_in_every_run_is_run_as_often_as_allowed(void)
{
    enum { N = 5000 };
    static struct patient in[N];
    struct pmap_error error;
    int sum = 5;

    for (int i = 0; i < N; i++)
        in[i] = (struct patient){i, i == 2500 ? 1000 : 0};
    for (int retries = 0; retries < 4; retries++) {
        board_clear();
        CHECK_STATUS(pmap_reduce(the_pool, recover, add, in, &sum, N, .retries = retries, .error = &error), PMAP_EFAILED);
        CHECK_INT(error.item, 2500);
        CHECK_INT(error.code, 1000);
        CHECK_INT(atomic_load(&board()[2500]), retries + 1);
        CHECK_INT(sum, 5);
    }
    check_usable();
}

/* ---- Refusals ---------------------------------------------------------------------------------------- */

static const int three[] = {1, 2, 3};
static int out = 5;
static struct pmap_error error;

static void check_refused(enum pmap_status status)
{
    CHECK_STATUS(status, PMAP_EINVAL);
    CHECK_STATUS(error.status, PMAP_EINVAL);
    CHECK_SAYING(strncmp(error.text, "pmap", 4) == 0, "text is \"%s\"", error.text);
    CHECK(error.item == PMAP_NO_ITEM);
    CHECK_INT(out, 5);
    check_usable();
}

static void wrong_sizes_are_named(void)
{
    double doubles[3] = {0};

    check_refused(pmap_reduce(the_pool, square, add, doubles, &out, 3, .error = &error));
    CHECK_NAMES(error.text, "square");
    CHECK_NAMES(error.text, "in");
    CHECK_NAMES(error.text, "8");
    CHECK_NAMES(error.text, "4");
    check_refused(pmap_reduce(the_pool, square, add, three, doubles, 3, .error = &error));
    CHECK_NAMES(error.text, "square");
    CHECK_NAMES(error.text, "out");
    CHECK_NAMES(error.text, "8");
    CHECK_NAMES(error.text, "4");
    CHECK(doubles[0] == 0);
}

static void operation_of_another_type_is_refused(void)
{
    check_refused(pmap_reduce(the_pool, square, add_doubles, three, &out, 3, .error = &error));
    CHECK_NAMES(error.text, "square");
    CHECK_NAMES(error.text, "add_doubles");
    CHECK_NAMES(error.text, "8");
    CHECK_NAMES(error.text, "4");
}

static void null_arguments_are_refused(void)
{
    const struct pmap_reduce_options options = {.size = sizeof options, .n = 3, .error = &error};

    check_refused(pmap_reduce(NULL, square, add, three, &out, 3, .error = &error));
    CHECK_NAMES(error.text, "pool");
    check_refused(pmap_reduce(the_pool, square, add, NULL, &out, 3, .error = &error));
    CHECK_NAMES(error.text, "in");
    CHECK_NAMES(error.text, "NULL");
    check_refused(pmap_reduce(the_pool, square, add, three, NULL, 3, .error = &error));
    CHECK_NAMES(error.text, "out");
    CHECK_NAMES(error.text, "NULL");
    check_refused(pmap_reduce_with(the_pool, NULL, &add_op, three, 0, &out, 0, &options));
    CHECK_NAMES(error.text, "task");
    check_refused(pmap_reduce_with(the_pool, &square_task, NULL, three, 0, &out, 0, &options));
    CHECK_NAMES(error.text, "op");
    CHECK_STATUS(pmap_reduce_with(the_pool, &square_task, &add_op, three, 0, &out, 0, NULL), PMAP_EINVAL);
}

static void numbers_that_make_no_sense_are_refused(void)
{
    check_refused(pmap_reduce(the_pool, square, add, three, &out, 3, .chunksize = -1, .error = &error));
    CHECK_NAMES(error.text, "chunksize");
    CHECK_NAMES(error.text, "-1");
    check_refused(pmap_reduce(the_pool, square, add, three, &out, 3, .retries = -2, .error = &error));
    CHECK_NAMES(error.text, "retries");
    CHECK_NAMES(error.text, "-2");
    check_refused(pmap_reduce(the_pool, square, add, three, &out, 3, .retry_delay = -0.5, .error = &error));
    CHECK_NAMES(error.text, "retry_delay");
    check_refused(pmap_reduce(the_pool, square, add, three, &out, 3, .retry_delay = (double)NAN, .error = &error));
    CHECK_NAMES(error.text, "retry_delay");
    check_refused(pmap_reduce(the_pool, square, add, three, &out, SIZE_MAX / 2, .error = &error));
    CHECK_NAMES(error.text, "n");
}

static void ignore(int x) { (void)x; }
PMAP_ACTION(ignore, int);

static struct pmap_bytes swallow(struct pmap_bytes b)
{
    (void)b;
    return (struct pmap_bytes){NULL, 0};
}
PMAP_BYTES_TASK(swallow);

static struct pmap_bytes join(struct pmap_bytes a, struct pmap_bytes b) { return a.size > b.size ? a : b; }
PMAP_OP(join, struct pmap_bytes);

static void bytes_task_is_refused(void)
{
    struct pmap_bytes bytes[3] = {{NULL, 0}}, result;

    check_refused(pmap_reduce(the_pool, swallow, join, bytes, &result, 3, .error = &error));
    CHECK_NAMES(error.text, "swallow");
}

static void action_is_refused(void)
{
    check_refused(pmap_reduce(the_pool, ignore, add, three, &out, 3, .error = &error));
    CHECK_NAMES(error.text, "ignore");
}

/* ---- Where it is called ------------------------------------------------------------------------------ */

/* Reduces the numbers from 0 to n - 1 on the spot. */
static double reduce_inside(size_t n, ptrdiff_t chunksize)
{
    uint64_t *in = count_from_0(n);
    double sum = -1;

    if (pmap_reduce(NULL, make_double, add_doubles, in, &sum, n, .chunksize = chunksize) != PMAP_OK)
        pmap_fail(1, "the reduction inside fails");
    free(in);
    return sum;
}
PMAP_TASK(reduce_inside, double, size_t, ptrdiff_t);

static void reduction_inside_a_task_has_the_same_bits(void)
{
    struct reduce_inside_args args[NS * CHUNKSIZES];
    double expected[NS], sums[NS * CHUNKSIZES];
    uint64_t *in = count_from_0(LARGEST);
    int wrong = 0;

    for (int i = 0; i < NS; i++) {
        CHECK_STATUS(pmap_reduce(the_pool, make_double, add_doubles, in, &expected[i], ns[i]), PMAP_OK);
        for (int c = 0; c < CHUNKSIZES; c++)
            args[i * CHUNKSIZES + c] = (struct reduce_inside_args){ns[i], chunksizes[c]};
    }
    CHECK_STATUS(pmap_starmap(the_pool, reduce_inside, args, sums, NS * CHUNKSIZES, .chunksize = 1), PMAP_OK);
    for (int k = 0; k < NS * CHUNKSIZES; k++)
        wrong += !same_bits(sums[k], expected[k / CHUNKSIZES]);
    CHECK_INT(wrong, 0);
    free(in);
}

/* The failure of a reduction inside is the task's to keep. */
static struct pmap_error keep_to_oneself(int x)
{
    struct pmap_error inner = {.status = PMAP_OK};
    int in[] = {1, 2, x}, sum;

    pmap_reduce(NULL, square, add, in, &sum, 3, .error = &inner);
    return inner;
}
PMAP_TASK(keep_to_oneself, struct pmap_error, int);

static void failure_of_a_reduction_inside_is_the_tasks_own(void)
{
    struct pmap_error inner;

    CHECK_STATUS(pmap_apply(the_pool, keep_to_oneself, &inner, -42), PMAP_OK);
    CHECK_STATUS(inner.status, PMAP_EFAILED);
    CHECK_INT(inner.item, 2);
    CHECK_INT(inner.code, 2);
}

enum { SUBMITTERS = 4, ROUNDS = 20 };

struct submitter {
    pthread_t thread;
    size_t n;
    const int *ints;
    const uint64_t *numbers;
    struct matrix product; /* what each round must give, */
    double sum;            /* as the calls before and alone have given it */
    int wrong;             /* written by the thread, read when it has been joined */
};

static void *reduce_again_and_again(void *argument)
{
    struct submitter *s = argument;

    for (int round = 0; round < ROUNDS; round++) {
        struct matrix product = {{{0}}};
        double sum = 0;

        s->wrong += pmap_reduce(the_pool, make_matrix, multiply, s->ints, &product, s->n, .chunksize = round) != PMAP_OK;
        s->wrong += memcmp(&product, &s->product, sizeof product) != 0;
        s->wrong += pmap_reduce(the_pool, make_double, add_doubles, s->numbers, &sum, s->n, .priority = round % 2) !=
                    PMAP_OK;
        s->wrong += !same_bits(sum, s->sum);
    }
    return NULL;
}

static void several_threads_reduce_at_once(void)
{
    static struct submitter s[SUBMITTERS];
    int *ints = count_up(10000), started = 0;
    uint64_t *numbers = count_from_0(10000);

    for (int i = 0; i < SUBMITTERS; i++) {
        s[i] = (struct submitter){.n = 10000 - 2111 * (size_t)i, .ints = ints, .numbers = numbers};
        CHECK_STATUS(pmap_reduce(the_pool, make_matrix, multiply, ints, &s[i].product, s[i].n), PMAP_OK);
        CHECK_STATUS(pmap_reduce(the_pool, make_double, add_doubles, numbers, &s[i].sum, s[i].n), PMAP_OK);
    }
    for (; started < SUBMITTERS; started++)
        if (!CHECK(pthread_create(&s[started].thread, NULL, reduce_again_and_again, &s[started]) == 0))
            break;
    for (int i = 0; i < started; i++) {
        pthread_join(s[i].thread, NULL);
        CHECK_INT(s[i].wrong, 0);
    }
    free(ints);
    free(numbers);
}

static void reduce_in_callback(void *user, void *results, size_t n)
{
    enum pmap_status *status = user;
    struct pmap_error refusal; /* keeps it off stderr */
    int sum;

    (void)results;
    (void)n;
    *status = pmap_reduce(the_pool, square, add, three, &sum, 3, .error = &refusal);
}

static void reduction_in_a_callback_is_refused(void)
{
    enum pmap_status status = PMAP_OK;
    int y = 0;
    struct pmap_result *r = pmap_apply_async(the_pool, square, &y, 3, .callback = reduce_in_callback, .user = &status);

    CHECK_STATUS(pmap_result_get(r, PMAP_FOREVER, NULL), PMAP_OK);
    CHECK_STATUS(status, PMAP_EDEADLOCK);
    pmap_result_free(r);
    check_usable();
}

static void reduction_after_close_is_refused(void)
{
    struct pmap_pool *pool;
    int sum = 5;

    if (!CHECK(pmap_create(&pool) == PMAP_OK && pool != NULL))
        return;
    CHECK_STATUS(pmap_reduce(pool, square, add, three, &sum, 3), PMAP_OK);
    CHECK_INT(sum, 14);
    CHECK_STATUS(pmap_close(pool), PMAP_OK);
    CHECK_STATUS(pmap_reduce(pool, square, add, three, &sum, 3, .error = &error), PMAP_ECLOSED);
    CHECK_STATUS(error.status, PMAP_ECLOSED);
    CHECK_INT(sum, 14);
    pmap_destroy(pool);
}

/* Items come to the board and stay until they are let go, or asked to stop. */
static int stay(int x)
{
    atomic_fetch_add(&board()[0], 1);
    while (!pmap_cancelled() && atomic_load(&board()[1]) == 0)
        sched_yield();
    return x;
}
PMAP_TASK(stay, int, int);

struct stayer {
    struct pmap_pool *pool;
    enum pmap_status status;
    int sum;
};

static void *reduce_stayers(void *argument)
{
    struct stayer *s = argument;
    int *in = count_up(LARGEST);
    struct pmap_error cancelled;

    s->status = pmap_reduce(s->pool, stay, add, in, &s->sum, LARGEST, .chunksize = 1, .error = &cancelled);
    free(in);
    return NULL;
}

static void terminated_reduction_is_cancelled(void)
{
    struct stayer s = {.sum = 5};
    pthread_t thread;

    board_clear();
    if (!CHECK(pmap_create(&s.pool) == PMAP_OK && s.pool != NULL))
        return;
    if (CHECK(pthread_create(&thread, NULL, reduce_stayers, &s) == 0)) {
        CHECK(board_await(0, 1));
        CHECK_STATUS(pmap_terminate(s.pool), PMAP_OK);
        atomic_store(&board()[1], 1);
        pthread_join(thread, NULL);
        CHECK_STATUS(s.status, PMAP_ECANCELLED);
        CHECK_INT(s.sum, 5);
    }
    pmap_destroy(s.pool);
    check_usable();
}

static const struct test tests[] = {
    TEST(sum_of_ints_equals_serial_loop),
    TEST(operands_keep_their_order),
    TEST(large_operands_keep_their_order),
    TEST(sums_of_these_doubles_depend_on_the_brackets),
    TEST(sums_of_doubles_have_the_same_bits_everywhere),
    TEST(large_sum_of_doubles_has_the_same_bits_everywhere),
    TEST(sum_of_doubles_has_the_same_bits_again_and_again),
    TEST(block_task_has_the_same_bits),
    TEST(operands_of_8_bytes),
    TEST(operands_of_64_bytes),
    TEST(operands_of_4_kib),
    TEST(operands_of_64_kib),
    TEST(results_are_folded_where_they_are_made),
    TEST(task_of_two_arguments),
    TEST(task_without_arguments_needs_no_array),
    TEST(blocks_know_their_place),
    TEST(every_item_runs_once),
    TEST(nothing_to_reduce_gives_the_identity),
    TEST(nothing_to_reduce_needs_an_identity),
    TEST(identity_is_no_item),
    TEST(one_item_is_the_result),
    TEST(failing_item_is_reported_and_out_is_untouched),
    TEST(one_of_several_failing_items_is_reported),
    TEST(failing_block_is_reported),
    TEST(failing_operation_is_reported_and_out_is_untouched),
    TEST(operation_that_fails_once_is_reported),
    TEST(retries_run_a_failed_leaf_again),
    TEST(item_that_fails_in_every_run_is_run_as_often_as_allowed),
    TEST(wrong_sizes_are_named),
    TEST(operation_of_another_type_is_refused),
    TEST(null_arguments_are_refused),
    TEST(numbers_that_make_no_sense_are_refused),
    TEST(bytes_task_is_refused),
    TEST(action_is_refused),
    TEST(reduction_inside_a_task_has_the_same_bits),
    TEST(failure_of_a_reduction_inside_is_the_tasks_own),
    TEST(several_threads_reduce_at_once),
    TEST(reduction_in_a_callback_is_refused),
    TEST(reduction_after_close_is_refused),
    TEST(terminated_reduction_is_cancelled),
    {NULL, NULL},
};

int main(int argc, char *argv[]) { return test_main_with_pool(argc, argv, tests, ALL_SHAPES); }
