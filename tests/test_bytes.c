/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * PMAP_BYTES_TASK: items and results of any size travel whole, aligned, and belong to whom the header says.
 *
 * Ported: what CPython's _TestPool and mpi4py.futures test with pickled arguments and results of varying size
 * (test_map, test_starmap and test_apply on strings, test_empty_iterable), and from concurrent.futures a large argument
 * in flight. Skipped: objects that cannot be pickled, for bytes are bytes; test_release_task_refs as such: that
 * arguments and results are released is seen by valgrind and the sanitizers, under which this program runs, too.
 * Streams of bytes are in test_imap.
 */
#include "board.h"
#include "harness.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ATTEMPTS = 100 }; /* cells of the board: an attempt for each number */

static const struct pmap_bytes nothing = {NULL, 0};

static const ptrdiff_t chunksizes[] = {0, 1, 7, 1000};
enum { CHUNKSIZES = sizeof chunksizes / sizeof *chunksizes };

/* ---- Tasks ------------------------------------------------------------------------------------------- */

static struct pmap_bytes room(size_t size)
{
    struct pmap_bytes b = {malloc(size), size};

    if (size > 0 && b.data == NULL) {
        pmap_fail(12, "no memory for %zu bytes", size);
        return nothing;
    }
    return b;
}

static struct pmap_bytes reverse(struct pmap_bytes item)
{
    struct pmap_bytes result = item.size > 0 ? room(item.size) : nothing;
    const char *in = item.data;
    char *out = result.data;

    for (size_t i = 0; i < result.size; i++)
        out[i] = in[item.size - 1 - i];
    return result;
}
PMAP_BYTES_TASK(reverse);

/* Three times the size. */
static struct pmap_bytes triple(struct pmap_bytes item)
{
    struct pmap_bytes result = room(3 * item.size);
    char *out = result.data;

    for (size_t k = 0; k < 3 && result.size > 0; k++)
        memcpy(out + k * item.size, item.data, item.size);
    return result;
}
PMAP_BYTES_TASK(triple);

/* From any size to eight bytes: FNV-1a. */
static uint64_t hash_of(struct pmap_bytes b)
{
    const unsigned char *in = b.data;
    uint64_t hash = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < b.size; i++)
        hash = (hash ^ in[i]) * UINT64_C(1099511628211);
    return hash;
}

static struct pmap_bytes digest(struct pmap_bytes item)
{
    struct pmap_bytes result = room(sizeof(uint64_t));
    uint64_t hash = hash_of(item);

    if (result.size > 0)
        memcpy(result.data, &hash, sizeof hash);
    return result;
}
PMAP_BYTES_TASK(digest);

/* No bytes, of memory all the same. */
static struct pmap_bytes swallow(struct pmap_bytes item)
{
    return (struct pmap_bytes){item.size % 2 ? malloc(10) : NULL, 0};
}
PMAP_BYTES_TASK(swallow);

/* Returns memory, and fails for items that begin with '!'. */
static struct pmap_bytes protest(struct pmap_bytes item)
{
    struct pmap_bytes result = reverse(item);

    if (item.size > 0 && *(const char *)item.data == '!')
        pmap_fail(5, "the item has %zu bytes", item.size);
    return result;
}
PMAP_BYTES_TASK(protest);

/* How often an item is to fail before it is reversed, and the number by which the board counts that. */
struct stubborn {
    int number, failures;
};

static struct pmap_bytes persuade(struct pmap_bytes item)
{
    struct stubborn s;

    memcpy(&s, item.data, sizeof s);
    int attempt = 1 + atomic_fetch_add(&board()[ATTEMPTS + s.number], 1);
    if (attempt <= s.failures)
        pmap_fail(attempt, "attempt %d", attempt);
    return reverse(item);
}
PMAP_BYTES_TASK(persuade);

/* One byte: how far the item is from the alignment of any type. */
static struct pmap_bytes misalignment(struct pmap_bytes item)
{
    struct pmap_bytes result = room(1);

    if (result.size > 0)
        *(unsigned char *)result.data = (unsigned char)((uintptr_t)item.data % alignof(max_align_t));
    return result;
}
PMAP_BYTES_TASK(misalignment);

static int square(int x) { return x * x; }
PMAP_TASK(square, int, int);

/* ---- Items and what becomes of them ------------------------------------------------------------------ */

/* A text that is there already. */
static struct pmap_bytes text(const char *string) { return (struct pmap_bytes){(void *)string, strlen(string)}; }

/* Bytes that differ from place to place and from item to item. */
static struct pmap_bytes noise(size_t size, size_t seed)
{
    unsigned char *data = test_array(size, 1);

    for (size_t i = 0; i < size; i++)
        data[i] = (unsigned char)((seed + 1) * 40503 + i * 31 + i / 256);
    return (struct pmap_bytes){data, size};
}

/* n items of size_of(i) bytes. */
static struct pmap_bytes *make_items(size_t n, size_t (*size_of)(size_t i))
{
    struct pmap_bytes *items = test_array(n, sizeof *items);

    for (size_t i = 0; i < n; i++)
        items[i] = noise(size_of(i), i);
    return items;
}

static void free_items(struct pmap_bytes *items, size_t n)
{
    pmap_bytes_free(items, n);
    free(items);
}

static bool equal(struct pmap_bytes a, struct pmap_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static bool is_reversed(struct pmap_bytes in, struct pmap_bytes out)
{
    const char *a = in.data, *b = out.data;
    size_t i = 0;

    while (out.size == in.size && i < in.size && b[i] == a[in.size - 1 - i])
        i++;
    return out.size == in.size && i == in.size;
}

static bool is_tripled(struct pmap_bytes in, struct pmap_bytes out)
{
    char *at = out.data;

    if (out.size != 3 * in.size || in.size == 0)
        return out.size == 0 && in.size == 0;
    return equal(in, (struct pmap_bytes){at, in.size}) && equal(in, (struct pmap_bytes){at + in.size, in.size}) &&
           equal(in, (struct pmap_bytes){at + 2 * in.size, in.size});
}

static bool is_digested(struct pmap_bytes in, struct pmap_bytes out)
{
    uint64_t hash = hash_of(in);

    return equal(out, (struct pmap_bytes){&hash, sizeof hash});
}

static void check_usable(void)
{
    struct pmap_bytes in[] = {text("live"), text("on"), text("no"), text("evil")}, out[4];

    CHECK_STATUS(pmap_map(the_pool, reverse, in, out, 4, .chunksize = 1), PMAP_OK);
    for (int i = 0; i < 4; i++)
        CHECK(equal(out[i], in[3 - i]));
    pmap_bytes_free(out, 4);
}

/* Three maps of the same items, with each chunksize; the items must stay as they are. */
static void check_maps(size_t n, size_t (*size_of)(size_t i))
{
    struct pmap_bytes *in = make_items(n, size_of), *same = make_items(n, size_of), *out = test_array(n, sizeof *out);

    for (size_t c = 0; c < CHUNKSIZES; c++) {
        size_t wrong = 0;

        CHECK_STATUS(pmap_map(the_pool, reverse, in, out, n, .chunksize = chunksizes[c]), PMAP_OK);
        for (size_t i = 0; i < n; i++)
            wrong += !is_reversed(in[i], out[i]);
        pmap_bytes_free(out, n);
        CHECK_STATUS(pmap_map(the_pool, triple, in, out, n, .chunksize = chunksizes[c]), PMAP_OK);
        for (size_t i = 0; i < n; i++)
            wrong += !is_tripled(in[i], out[i]);
        pmap_bytes_free(out, n);
        CHECK_STATUS(pmap_map(the_pool, digest, in, out, n, .chunksize = chunksizes[c]), PMAP_OK);
        for (size_t i = 0; i < n; i++)
            wrong += !is_digested(in[i], out[i]) || !equal(in[i], same[i]);
        pmap_bytes_free(out, n);
        CHECK_SAYING(wrong == 0, "chunksize %td: %zu of %zu wrong", chunksizes[c], wrong, 3 * n);
    }
    free_items(in, n);
    free_items(same, n);
    free(out);
}

/* ---- Sizes ------------------------------------------------------------------------------------------- */

static void strings_are_reversed(void)
{
    struct pmap_bytes in[] = {text("stressed"), text("a"), text(""), text("no lemon, no melon"), text("drawer")};
    struct pmap_bytes out[5];

    CHECK_STATUS(pmap_map(the_pool, reverse, in, out, 5), PMAP_OK);
    CHECK(equal(out[0], text("desserts")));
    CHECK(equal(out[1], text("a")));
    CHECK(equal(out[2], text("")));
    CHECK(equal(out[3], text("nolem on ,nomel on")));
    CHECK(equal(out[4], text("reward")));
    CHECK(strcmp(in[0].data, "stressed") == 0);
    pmap_bytes_free(out, 5);
}

static size_t grows(size_t i) { return i * i; }
static size_t shrinks(size_t i) { return (200 - i) * (200 - i); }
static size_t is_always_zero(size_t i) { return 0 * i; }
static size_t is_zero_now_and_then(size_t i) { return i % 3 ? i : 0; }

/* From nothing to 64 KiB, in no order, mostly short: around the sizes at which messages change. */
static size_t varies(size_t i)
{
    static const size_t large[] = {0, 4095, 4096, 4097, 65535, 65536, 65537};

    return i % 50 == 7 ? large[i / 50 % 7] : i * 7919 % 600;
}

static void growing_and_shrinking_items(void)
{
    check_maps(200, grows);
    check_maps(200, shrinks);
}

static void empty_items(void)
{
    check_maps(100, is_always_zero);
    check_maps(100, is_zero_now_and_then);
    check_maps(1, is_always_zero);
}

static void thousands_of_mixed_sizes(void) { check_maps(test_size(5000, 400), varies); }

static size_t is_a_mebibyte(size_t i) { return ((size_t)1 << 20) + i % 3 - 1; }

static void items_of_1_mib(void) { check_maps(test_size(16, 3), is_a_mebibyte); }

static void empty_items_without_and_with_memory(void)
{
    struct pmap_bytes in[] = {nothing, {"unseen", 0}, nothing, text("x")}, out[4];

    memset(out, 0xff, sizeof out);
    CHECK_STATUS(pmap_map(the_pool, reverse, in, out, 4, .chunksize = 2), PMAP_OK);
    for (int i = 0; i < 3; i++)
        CHECK_INT(out[i].size, 0);
    CHECK(equal(out[3], text("x")));
    pmap_bytes_free(out, 4);
}

/* Whether the task gave memory or not. */
static void empty_results(void)
{
    size_t n = 300, wrong = 0;
    struct pmap_bytes *in = make_items(n, is_zero_now_and_then), *out = test_array(n, sizeof *out);

    for (size_t c = 0; c < CHUNKSIZES; c++) {
        memset(out, 0xff, n * sizeof *out);
        CHECK_STATUS(pmap_map(the_pool, swallow, in, out, n, .chunksize = chunksizes[c]), PMAP_OK);
        for (size_t i = 0; i < n; i++)
            wrong += out[i].size != 0;
        pmap_bytes_free(out, n);
    }
    CHECK_INT(wrong, 0);
    free_items(in, n);
    free(out);
}

static void nothing_to_map_succeeds(void)
{
    struct pmap_bytes in = text("unseen"), out = text("untouched");

    CHECK_STATUS(pmap_map(the_pool, reverse, NULL, NULL, 0), PMAP_OK);
    CHECK_STATUS(pmap_map(the_pool, reverse, &in, &out, 0, .chunksize = 7), PMAP_OK);
    CHECK(equal(out, text("untouched")));
}

/* ---- Whose memory it is ------------------------------------------------------------------------------ */

/* A page that cannot be written holds all items; several are the same bytes. */
static void items_are_never_written_and_may_overlap(void)
{
    size_t size = 64 * 1024, n = 200, wrong = 0;
    char *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct pmap_bytes in[200], out[200];

    if (!CHECK(page != MAP_FAILED))
        return;
    for (size_t i = 0; i < size; i++)
        page[i] = (char)(i % 251);
    for (size_t i = 0; i < n; i++)
        in[i] = (struct pmap_bytes){page + i / 2 * 100, 500 + i};
    CHECK(mprotect(page, size, PROT_READ) == 0);
    CHECK_STATUS(pmap_map(the_pool, reverse, in, out, n), PMAP_OK);
    for (size_t i = 0; i < n; i++)
        wrong += !is_reversed(in[i], out[i]) || in[i].data != page + i / 2 * 100 || in[i].size != 500 + i;
    CHECK_INT(wrong, 0);
    pmap_bytes_free(out, n);
    munmap(page, size);
}

/* Each result is a block of its own: the first can be freed, and the second grown, while the third is read. */
static void results_are_memory_from_malloc(void)
{
    struct pmap_bytes in[] = {text("abc"), text("defg"), text("hi")}, out[3];
    char *longer;

    CHECK_STATUS(pmap_map(the_pool, reverse, in, out, 3, .chunksize = 3), PMAP_OK);
    free(out[0].data);
    longer = realloc(out[1].data, 100000);
    if (CHECK(longer != NULL)) {
        CHECK(memcmp(longer, "gfed", 4) == 0);
        free(longer);
    }
    CHECK(equal(out[2], text("ih")));
    free(out[2].data);
}

static void freeing_bytes_leaves_an_empty_array(void)
{
    struct pmap_bytes b[] = {noise(10, 1), nothing, noise(100000, 2)};

    pmap_bytes_free(b, 3);
    for (int i = 0; i < 3; i++)
        CHECK(b[i].data == NULL && b[i].size == 0);
    pmap_bytes_free(b, 3);
    pmap_bytes_free(b, 0);
    pmap_bytes_free(NULL, 0);
}

/* Where the caller's are, as those from malloc, they are everywhere. */
static void items_are_aligned_for_any_type(void)
{
    size_t n = 300, wrong = 0;
    struct pmap_bytes in[300], out[300];

    for (size_t i = 0; i < n; i++)
        in[i] = noise(1 + i % 90, i);
    for (size_t c = 0; c < CHUNKSIZES; c++) {
        CHECK_STATUS(pmap_map(the_pool, misalignment, in, out, n, .chunksize = chunksizes[c]), PMAP_OK);
        for (size_t i = 0; i < n; i++)
            wrong += out[i].size != 1 || *(unsigned char *)out[i].data != 0;
        pmap_bytes_free(out, n);
        CHECK_SAYING(wrong == 0, "chunksize %td: %zu items misaligned", chunksizes[c], wrong);
    }
    pmap_bytes_free(in, n);
}

/* ---- Items that fail --------------------------------------------------------------------------------- */

enum { N = 100 };

/* Items 3, 13, 23, … begin with '!'. */
static struct pmap_bytes *make_protesters(void)
{
    struct pmap_bytes *items = make_items(N, grows);

    for (size_t i = 0; i < N; i++)
        if (items[i].size > 0)
            *(char *)items[i].data = i % 10 == 3 ? '!' : '.';
    return items;
}

/* What a protester's status says is what its result is; free the results. */
static size_t wrong_protests(const struct pmap_bytes in[], struct pmap_bytes out[], const enum pmap_status statuses[])
{
    size_t wrong = 0;

    for (size_t i = 0; i < N; i++) {
        bool done = statuses[i] == PMAP_OK;

        wrong += done ? i % 10 == 3 || !is_reversed(in[i], out[i]) : out[i].data != NULL || out[i].size != 0;
        wrong += statuses[i] == PMAP_EFAILED && i % 10 != 3;
    }
    pmap_bytes_free(out, N);
    return wrong;
}

/* The task gave memory for them, too; valgrind and the sanitizers see whether it is freed. */
static void failing_items_give_nothing(void)
{
    struct pmap_bytes *in = make_protesters(), out[N];
    enum pmap_status statuses[N];
    struct pmap_error error;
    int failed = 0;

    for (size_t c = 0; c < CHUNKSIZES; c++) {
        memset(out, 0xff, sizeof out);
        CHECK_STATUS(pmap_map(the_pool, protest, in, out, N, .chunksize = chunksizes[c], .statuses = statuses,
                              .error = &error), PMAP_EFAILED);
        CHECK_INT(error.item, 3);
        CHECK_INT(error.code, 5);
        CHECK(strstr(error.text, "the item has 9 bytes") != NULL);
        for (int i = 0; i < N; i++)
            failed += statuses[i] == PMAP_EFAILED;
        CHECK_INT(wrong_protests(in, out, statuses), 0);
        check_usable();
    }
    CHECK_INT(failed, CHUNKSIZES * N / 10);
    free_items(in, N);
}

static void statuses_of_bytes(void)
{
    struct pmap_bytes *in = make_protesters(), out[N];
    enum pmap_status statuses[N];
    int wrong = 0;

    for (size_t c = 0; c < CHUNKSIZES; c++) {
        CHECK_STATUS(pmap_map(the_pool, protest, in, out, N, .chunksize = chunksizes[c], .statuses = statuses,
                              .on_error = PMAP_COLLECT), PMAP_OK);
        for (int i = 0; i < N; i++)
            wrong += statuses[i] != (i % 10 == 3 ? PMAP_EFAILED : PMAP_OK);
        CHECK_INT(wrong_protests(in, out, statuses), 0);
    }
    CHECK_INT(wrong, 0);
    free_items(in, N);
}

static void bytes_that_did_not_run_are_empty(void)
{
    struct pmap_bytes *in = make_protesters(), out[N];
    enum pmap_status statuses[N];
    struct pmap_error error;

    for (size_t c = 0; c < CHUNKSIZES; c++) {
        memset(out, 0xff, sizeof out);
        CHECK_STATUS(pmap_map(the_pool, protest, in, out, N, .chunksize = chunksizes[c], .statuses = statuses,
                              .on_error = PMAP_STOP, .error = &error), PMAP_EFAILED);
        CHECK_INT(error.item % 10, 3);
        CHECK_INT(wrong_protests(in, out, statuses), 0);
        check_usable();
    }
    free_items(in, N);
}

/* Refusing a call leaves the results as they are: they may not even be initialised. */
static void refused_call_writes_no_results(void)
{
    struct pmap_bytes in[] = {text("a"), text("b")}, out[] = {text("as"), text("before")};
    const char *strings[] = {"a", "b"};
    struct pmap_error error;

    CHECK_STATUS(pmap_map(the_pool, reverse, in, out, 2, .chunksize = -1, .error = &error), PMAP_EINVAL);
    CHECK_STATUS(pmap_map(the_pool, reverse, strings, out, 2, .error = &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "reverse");
    CHECK_STATUS(pmap_map(the_pool, reverse, NULL, out, 2, .error = &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "in");
    CHECK_STATUS(pmap_map(the_pool, reverse, in, NULL, 2, .error = &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "out");
    CHECK(equal(out[0], text("as")) && equal(out[1], text("before")));
    check_usable();
}

/* ---- Options and other calls ------------------------------------------------------------------------- */

/* Items of different sizes, of which number i fails i % 4 times. */
static struct pmap_bytes *make_stubborn(void)
{
    struct pmap_bytes *items = test_array(N, sizeof *items);

    board_clear();
    for (int i = 0; i < N; i++) {
        items[i] = noise(sizeof(struct stubborn) + 50 * (size_t)i, (size_t)i);
        memcpy(items[i].data, &(struct stubborn){i, i % 4}, sizeof(struct stubborn));
    }
    return items;
}

static void failed_bytes_are_run_again(void)
{
    for (size_t c = 0; c < CHUNKSIZES; c++)
        for (int retries = 2; retries < 4; retries++) {
            struct pmap_bytes *in = make_stubborn(), out[N];
            enum pmap_status statuses[N];
            int wrong = 0;

            CHECK_STATUS(pmap_map(the_pool, persuade, in, out, N, .chunksize = chunksizes[c], .retries = retries,
                                  .on_error = PMAP_COLLECT, .statuses = statuses), PMAP_OK);
            for (int i = 0; i < N; i++) {
                bool failed = i % 4 > retries;

                wrong += statuses[i] != (failed ? PMAP_EFAILED : PMAP_OK);
                wrong += failed ? out[i].data != NULL || out[i].size != 0 : !is_reversed(in[i], out[i]);
                wrong += atomic_load(&board()[ATTEMPTS + i]) != 1 + (failed ? retries : i % 4);
            }
            CHECK_SAYING(wrong == 0, "chunksize %td, %d retries: %d wrong", chunksizes[c], retries, wrong);
            pmap_bytes_free(out, N);
            free_items(in, N);
        }
}

static void cost_of_bytes_changes_no_result(void)
{
    struct pmap_bytes *in = make_items(N, grows), out[N];
    double cost[N];
    int wrong = 0;

    for (int i = 0; i < N; i++)
        cost[i] = (double)in[(i + 50) % N].size;
    for (size_t c = 0; c < CHUNKSIZES; c++) {
        CHECK_STATUS(pmap_map(the_pool, reverse, in, out, N, .chunksize = chunksizes[c], .cost = cost), PMAP_OK);
        for (int i = 0; i < N; i++)
            wrong += !is_reversed(in[i], out[i]);
        pmap_bytes_free(out, N);
    }
    CHECK_INT(wrong, 0);
    free_items(in, N);
}

static void apply_of_bytes(void)
{
    struct pmap_bytes large = noise(300000, 1), out = nothing;
    struct pmap_error error;

    CHECK_STATUS(pmap_apply(the_pool, reverse, &out, text("stressed")), PMAP_OK);
    CHECK(equal(out, text("desserts")));
    pmap_bytes_free(&out, 1);
    CHECK_STATUS(pmap_apply(the_pool, triple, &out, large), PMAP_OK);
    CHECK(is_tripled(large, out));
    pmap_bytes_free(&out, 1);
    CHECK_STATUS(pmap_apply(the_pool, triple, &out, nothing), PMAP_OK);
    CHECK_INT(out.size, 0);
    pmap_bytes_free(&out, 1);
    out = text("old");
    CHECK_STATUS(pmap_apply(the_pool, protest, &out, text("!no"), .error = &error), PMAP_EFAILED);
    CHECK_INT(error.code, 5);
    CHECK(out.data == NULL && out.size == 0);
    pmap_bytes_free(&large, 1);
}

static void starmap_of_bytes(void)
{
    struct reverse_args args[50];
    struct pmap_bytes out[50];
    int wrong = 0;

    for (size_t i = 0; i < 50; i++)
        args[i]._1 = noise(i, i);
    CHECK_STATUS(pmap_starmap(the_pool, reverse, args, out, 50, .chunksize = 4), PMAP_OK);
    for (int i = 0; i < 50; i++) {
        wrong += !is_reversed(args[i]._1, out[i]);
        pmap_bytes_free(&args[i]._1, 1);
    }
    CHECK_INT(wrong, 0);
    pmap_bytes_free(out, 50);
}

static void async_calls_of_bytes(void)
{
    struct pmap_bytes *in = make_items(N, varies), out[N], twice[N], single = nothing;
    struct pmap_result *results[] = {
        pmap_map_async(the_pool, reverse, in, out, N, .chunksize = 3),
        pmap_map_async(the_pool, triple, in, twice, N),
        pmap_apply_async(the_pool, digest, &single, in[57]),
    };
    int wrong = 0;

    for (int k = 0; k < 3; k++) {
        CHECK_STATUS(pmap_result_get(results[k], PMAP_FOREVER, NULL), PMAP_OK);
        pmap_result_free(results[k]);
    }
    for (int i = 0; i < N; i++)
        wrong += !is_reversed(in[i], out[i]) || !is_tripled(in[i], twice[i]);
    CHECK_INT(wrong, 0);
    CHECK(is_digested(in[57], single));
    pmap_bytes_free(out, N);
    pmap_bytes_free(twice, N);
    pmap_bytes_free(&single, 1);
    free_items(in, N);
}

struct seen {
    size_t n, bytes; /* written by the callback, read when the result is ready */
};

static void see(void *user, void *out, size_t n)
{
    const struct pmap_bytes *results = out;
    struct seen *seen = user;

    seen->n += n;
    for (size_t i = 0; i < n; i++)
        seen->bytes += results[i].size;
}

static void callback_sees_the_bytes(void)
{
    struct pmap_bytes *in = make_items(N, grows), out[N];
    struct seen seen = {0, 0};
    size_t bytes = 0;
    struct pmap_result *r = pmap_map_async(the_pool, reverse, in, out, N, .callback = see, .user = &seen);

    CHECK_STATUS(pmap_result_get(r, PMAP_FOREVER, NULL), PMAP_OK);
    for (size_t i = 0; i < N; i++)
        bytes += in[i].size;
    CHECK_INT(seen.n, N);
    CHECK_INT(seen.bytes, bytes);
    pmap_result_free(r);
    pmap_bytes_free(out, N);
    free_items(in, N);
}

/* A map inside a task, of halves of its item; what it gives is the task's to free. */
static struct pmap_bytes reverse_by_halves(struct pmap_bytes item)
{
    size_t half = item.size / 2;
    struct pmap_bytes halves[] = {{item.data, half}, {(char *)item.data + half, item.size - half}};
    struct pmap_bytes reversed[2], result;

    if (pmap_map(NULL, reverse, halves, reversed, 2) != PMAP_OK) {
        pmap_fail(6, "the halves failed");
        return nothing;
    }
    result = room(item.size);
    if (result.size > 0) {
        memcpy(result.data, reversed[1].data, reversed[1].size);
        if (reversed[0].size > 0)
            memcpy((char *)result.data + reversed[1].size, reversed[0].data, reversed[0].size);
    }
    pmap_bytes_free(reversed, 2);
    return result;
}
PMAP_BYTES_TASK(reverse_by_halves);

static size_t is_one_more(size_t i) { return i + 1; }

static void map_of_bytes_inside_a_task(void)
{
    struct pmap_bytes *in = make_items(N, is_one_more), out[N];
    int wrong = 0;

    CHECK_STATUS(pmap_map(the_pool, reverse_by_halves, in, out, N), PMAP_OK);
    for (int i = 0; i < N; i++)
        wrong += !is_reversed(in[i], out[i]);
    CHECK_INT(wrong, 0);
    pmap_bytes_free(out, N);
    free_items(in, N);
}

/* Neither kind of message is taken for the other. */
static void bytes_and_numbers_in_turn(void)
{
    struct pmap_bytes *in = make_items(N, varies), out[N];
    int numbers[N], squares[N], wrong = 0;

    for (int i = 0; i < N; i++)
        numbers[i] = i;
    for (int round = 0; round < 10; round++) {
        struct pmap_result *r = pmap_map_async(the_pool, reverse, in, out, N, .chunksize = round % 3);

        CHECK_STATUS(pmap_map(the_pool, square, numbers, squares, N, .chunksize = round % 4), PMAP_OK);
        CHECK_STATUS(pmap_result_get(r, PMAP_FOREVER, NULL), PMAP_OK);
        pmap_result_free(r);
        for (int i = 0; i < N; i++)
            wrong += squares[i] != i * i || !is_reversed(in[i], out[i]);
        pmap_bytes_free(out, N);
    }
    CHECK_INT(wrong, 0);
    free_items(in, N);
}

/* ---- One item of 3 GiB ------------------------------------------------------------------------------- */

#define LARGE ((size_t)3 << 30)

/* Bytes at both ends, and around 2 GiB, where an int ends. */
static const size_t places[] = {0, ((size_t)1 << 31) - 1, (size_t)1 << 31, LARGE - 1};
enum { PLACES = sizeof places / sizeof *places };

/* The bytes at these places. Each of two items waits a while for the other, so that every worker of two gets one. */
static struct pmap_bytes pick(struct pmap_bytes item)
{
    struct pmap_bytes result = room(PLACES);
    unsigned char *picked = result.data;

    atomic_fetch_add(&board()[0], 1);
    board_await(0, 2);
    for (size_t k = 0; k < PLACES && result.size > 0; k++)
        picked[k] = item.size == LARGE ? ((const unsigned char *)item.data)[places[k]] : 0;
    return result;
}
PMAP_BYTES_TASK(pick);

/* GiB that can be had without swapping; 0 if that is not known. */
static long available_gib(void)
{
    FILE *file = fopen("/proc/meminfo", "r");
    char line[200];
    long kib = 0;

    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "MemAvailable: %ld kB", &kib) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return kib >> 20;
}

/* The same untouched pages twice: only what travels needs memory. */
static void check_large(size_t n)
{
    unsigned char *data = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct pmap_bytes in[] = {{data, LARGE}, {data, LARGE}}, out[] = {nothing, nothing};

    if (!CHECK(data != MAP_FAILED))
        return;
    for (size_t k = 0; k < PLACES; k++)
        data[places[k]] = (unsigned char)(k + 1);
    board_clear();
    atomic_store(&board()[0], n == 1);
    CHECK_STATUS(pmap_map(the_pool, pick, in, out, n, .chunksize = 1), PMAP_OK);
    for (size_t i = 0; i < n; i++)
        CHECK(out[i].size == PLACES && memcmp(out[i].data, "\1\2\3\4", PLACES) == 0);
    pmap_bytes_free(out, n);
    munmap(data, LARGE);
}

/* One rank may make a copy of the item; a second rank needs one, and so may the messages on both sides. */
static void item_of_3_gib(void)
{
    size_t ranks = (size_t)test_ranks();

    if (test_size(1, 0) == 0)
        test_skip("small sizes only");
    else if (test_threads() != 1 || ranks > 2 || (size_t)test_processes() != ranks)
        test_skip("in the shapes t1, r1 and r2 only");
    else if (available_gib() < 4 + 10 * ((long)ranks - 1))
        test_skip("not enough memory is available");
    else
        check_large(ranks);
}

/* ---- Bytes that are nowhere -------------------------------------------------------------------------- */

static struct pmap_bytes lose(struct pmap_bytes item)
{
    return item.size == 3 ? (struct pmap_bytes){NULL, 3} : digest(item);
}
PMAP_BYTES_TASK(lose);

static void items_of_null_with_a_size_are_refused(void)
{
    struct pmap_bytes in[] = {{"ab", 2}, {NULL, 0}, {NULL, 5}}, out[3];
    struct pmap_error error = {.status = PMAP_OK};

    CHECK_STATUS(pmap_map(the_pool, digest, in, out, 3, .error = &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "in[2]");
    CHECK_STATUS(pmap_map(the_pool, digest, in, out, 2), PMAP_OK);
    pmap_bytes_free(out, 2);
    CHECK_STATUS(pmap_apply(the_pool, digest, out, in[2], .error = &error), PMAP_EINVAL);
    check_usable();
}

/* Gives nothing, with a size, after one good item. */
static bool nothing_second(void *state, void *item)
{
    int *given = state;

    *(struct pmap_bytes *)item = *given == 0 ? (struct pmap_bytes){strdup("ab"), 2} : (struct pmap_bytes){NULL, 5};
    return (*given)++ < 2;
}

static void streams_of_null_with_a_size_are_refused_or_end(void)
{
    struct pmap_bytes in[] = {{"ab", 2}, {NULL, 5}}, out;
    struct pmap_error error = {.status = PMAP_OK};
    int given = 0;

    CHECK(pmap_imap(the_pool, digest, PMAP_ARRAY(in, 2), .error = &error) == NULL);
    CHECK_NAMES(error.text, "source[1]");
    struct pmap_iter *it = pmap_imap(the_pool, digest, PMAP_GENERATOR(nothing_second, &given), .error = &error);
    CHECK_STATUS(pmap_iter_next(it, &out, PMAP_FOREVER), PMAP_OK);
    pmap_bytes_free(&out, 1);
    CHECK_STATUS(pmap_iter_next(it, &out, PMAP_FOREVER), PMAP_EFAILED);
    CHECK_INT(error.item, 1);
    CHECK_STATUS(pmap_iter_next(it, &out, PMAP_FOREVER), PMAP_END);
    pmap_iter_free(it);
    check_usable();
}

static void results_of_null_with_a_size_are_failures(void)
{
    struct pmap_bytes in[] = {{"ab", 2}, {"abc", 3}, {"abcd", 4}, {"def", 3}}, out[4];
    enum pmap_status statuses[4];
    struct pmap_error error = {.status = PMAP_OK};

    for (ptrdiff_t chunksize = 1; chunksize < 5; chunksize++) {
        CHECK_STATUS(pmap_map(the_pool, lose, in, out, 4, .chunksize = chunksize, .statuses = statuses, .error = &error),
                     PMAP_EFAILED);
        CHECK_INT(error.item, 1);
        CHECK_NAMES(error.text, "NULL");
        for (int i = 0; i < 4; i++) {
            CHECK_STATUS(statuses[i], i % 2 ? PMAP_EFAILED : PMAP_OK);
            CHECK_INT(out[i].size, i % 2 ? 0 : sizeof(uint64_t));
        }
        pmap_bytes_free(out, 4);
    }
    check_usable();
}

/* ---- What ranks keep --------------------------------------------------------------------------------- */

/* Pages of memory that the process has, or 0 if it does not say. */
static long resident(int x)
{
    long all, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    (void)x;
    if (file != NULL && fscanf(file, "%ld %ld", &all, &pages) != 2)
        pages = 0;
    if (file != NULL)
        fclose(file);
    return pages;
}
PMAP_TASK(resident, long, int);

enum { PROBES = 10 };

static void largest_resident(long *most)
{
    int in[PROBES] = {0};
    long out[PROBES];

    *most = 0;
    CHECK_STATUS(pmap_map(the_pool, resident, in, out, PROBES, .chunksize = 1), PMAP_OK);
    for (int i = 0; i < PROBES; i++)
        *most = out[i] > *most ? out[i] : *most;
}

/* The largest process grows by less than one of the items that it has had. */
static void large_items_leave_nothing_behind(void)
{
    size_t size = test_size((size_t)64 << 20, 0);
    struct pmap_bytes in[PROBES], out[PROBES];
    char *data = size ? test_array(size, 1) : NULL;
    long before, after;

    if (data == NULL) {
        test_skip("tools that watch the memory keep what is freed");
        return;
    }
    for (int i = 0; i < PROBES; i++)
        in[i] = (struct pmap_bytes){data, size};
    largest_resident(&before);
    CHECK_STATUS(pmap_map(the_pool, digest, in, out, PROBES, .chunksize = 1), PMAP_OK);
    pmap_bytes_free(out, PROBES);
    for (int i = 0; i < 1000 && (i == 0 || (after - before) * 4096L >= (long)size); i++)
        largest_resident(&after); /* a rank lets go of a result when it hears that it has been sent, which may take a moment */
    CHECK_SAYING((after - before) * 4096L < (long)size, "grown by %ld pages", after - before);
    free(data);
}

static const struct test tests[] = {
    TEST(strings_are_reversed),
    TEST(growing_and_shrinking_items),
    TEST(empty_items),
    TEST(thousands_of_mixed_sizes),
    TEST(items_of_1_mib),
    TEST(empty_items_without_and_with_memory),
    TEST(empty_results),
    TEST(nothing_to_map_succeeds),
    TEST(items_are_never_written_and_may_overlap),
    TEST(results_are_memory_from_malloc),
    TEST(freeing_bytes_leaves_an_empty_array),
    TEST(items_are_aligned_for_any_type),
    TEST(failing_items_give_nothing),
    TEST(statuses_of_bytes),
    TEST(bytes_that_did_not_run_are_empty),
    TEST(refused_call_writes_no_results),
    TEST(failed_bytes_are_run_again),
    TEST(cost_of_bytes_changes_no_result),
    TEST(apply_of_bytes),
    TEST(starmap_of_bytes),
    TEST(async_calls_of_bytes),
    TEST(callback_sees_the_bytes),
    TEST(map_of_bytes_inside_a_task),
    TEST(bytes_and_numbers_in_turn),
    TEST(items_of_null_with_a_size_are_refused),
    TEST(results_of_null_with_a_size_are_failures),
    TEST(streams_of_null_with_a_size_are_refused_or_end),
    TEST(large_items_leave_nothing_behind),
    TEST(item_of_3_gib),
    {NULL, NULL},
};

int main(int argc, char *argv[]) { return test_main_with_pool(argc, argv, tests, ALL_SHAPES); }
