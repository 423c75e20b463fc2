/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * engine, from the inside: bodies are packed and unpacked, and what makes no sense is refused; a reduction is the same tree
 * whoever folds what, and when; failures are counted, kept and told; a ticket stands for one chunk.
 */
#include "harness.h"

#include "engine/failures.h"
#include "engine/fold.h"
#include "engine/pack.h"
#include "engine/ticket.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static uint64_t next_random(uint64_t *x)
{
    *x = *x * UINT64_C(6364136223846793005) + 1;
    return *x >> 32;
}

/* 0 … n - 1 in some order. */
static void shuffle(size_t order[], size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        size_t j = next_random(&seed) % (i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}

/* ---- Packing ----------------------------------------------------------------------------------------- */

/* Items of these sizes, each full of its own number; those of no bytes have no data. */
static const size_t sizes[] = {5, 0, 16, 1, 0, 33, 15, 4096, 17, 0};
enum { ITEMS = sizeof sizes / sizeof *sizes };

static void make_items(struct pmap_bytes items[static ITEMS])
{
    for (size_t i = 0; i < ITEMS; i++) {
        items[i] = (struct pmap_bytes){sizes[i] ? malloc(sizes[i]) : NULL, sizes[i]};
        if (sizes[i])
            memset(items[i].data, (int)i + 1, sizes[i]);
    }
}

static bool is_item(const struct pmap_bytes *bytes, size_t item)
{
    const unsigned char *data = bytes->data;
    bool same = bytes->size == sizes[item] && (data != NULL) == (bytes->size > 0);
    for (size_t i = 0; same && i < bytes->size; i++)
        same = data[i] == item + 1;
    return same;
}

/* The body of a pick, at the end of a buffer of its own, so that valgrind and the sanitizers see a read past it. */
struct body {
    void *bytes;
    size_t size;
};

static struct body pack_copy(const struct pmap__pick *pick, bool with_names)
{
    struct body body = {NULL, 0};
    const void *bytes;
    void *packed;

    CHECK_STATUS(pmap__pack(pick, with_names, &bytes, &body.size, &packed), PMAP_OK);
    CHECK((packed != NULL) == pmap__is_packed(pick->n, pick->bytes, with_names));
    CHECK(packed == NULL || bytes == packed);
    body.bytes = test_array(body.size, 1);
    if (body.size)
        memcpy(body.bytes, bytes, body.size);
    free(packed);
    return body;
}

static void plain_neighbours_are_sent_as_they_lie(void)
{
    static const int array[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    struct pmap__pick pick = {.array = (const char *)array, .element = sizeof(int), .begin = 3, .n = 5};
    const void *body, *elements;
    const size_t *names;
    void *packed;
    size_t size;

    CHECK_STATUS(pmap__pack(&pick, false, &body, &size, &packed), PMAP_OK);
    CHECK(body == &array[3] && size == 5 * sizeof(int) && packed == NULL);
    CHECK(pmap__unpack(body, size, 5, sizeof(int), false, false, &names, &elements, NULL));
    CHECK(elements == body && names == NULL);
}

/* Of tasks without arguments, and of actions. */
static void elements_of_no_bytes_need_no_array(void)
{
    const size_t names[] = {4, 2};
    struct pmap__pick pick = {.array = NULL, .element = 0, .n = 2};
    const void *body, *elements;
    const size_t *found;
    void *packed;
    size_t size;

    CHECK_STATUS(pmap__pack(&pick, false, &body, &size, &packed), PMAP_OK);
    CHECK(body == NULL && size == 0 && packed == NULL);
    CHECK(pmap__unpack(NULL, 0, 2, 0, false, false, &found, &elements, NULL));
    pick.names = names;
    struct body named = pack_copy(&pick, true);
    CHECK(pmap__unpack(named.bytes, named.size, 2, 0, false, true, &found, &elements, NULL));
    CHECK(found[0] == 4 && found[1] == 2);
    free(named.bytes);
}

static void named_items_travel_with_their_names(void)
{
    static const size_t order[] = {9, 0, 4, 4, 7};
    static double array[10];
    struct pmap__pick pick = {.array = (const char *)array, .element = sizeof(double), .begin = 1, .names = order};

    for (int i = 0; i < 10; i++)
        array[i] = 0.5 * i;
    for (pick.n = 1; pick.n <= 4; pick.n++) {
        struct body body = pack_copy(&pick, true);
        const void *elements;
        const size_t *names;
        if (!CHECK(pmap__unpack(body.bytes, body.size, pick.n, sizeof(double), false, true, &names, &elements, NULL)))
            return;
        CHECK((uintptr_t)elements % 16 == 0);
        for (size_t i = 0; i < pick.n; i++)
            CHECK(names[i] == order[1 + i] && ((const double *)elements)[i] == array[order[1 + i]]);
        free(body.bytes);
    }
}

/* With names and without, each run of items, aligned for any type. */
static void bytes_of_any_size_travel_whole(void)
{
    static const size_t order[ITEMS] = {3, 9, 7, 1, 0, 2, 8, 6, 5, 4};
    struct pmap_bytes items[ITEMS], array[ITEMS];

    make_items(items);
    for (int named = 0; named < 2; named++)
        for (size_t begin = 0; begin < ITEMS; begin++)
            for (size_t n = 1; n <= ITEMS - begin; n++) {
                struct pmap__pick pick = {.array = (const char *)items, .element = sizeof *items, .bytes = true, .begin = begin,
                                          .n = n, .names = named ? order : NULL};
                struct body body = pack_copy(&pick, named);
                const void *elements;
                const size_t *names;
                if (!CHECK(pmap__unpack(body.bytes, body.size, n, sizeof *items, true, named, &names, &elements, array)))
                    return;
                CHECK(elements == array && (names != NULL) == named);
                for (size_t i = 0; i < n; i++) {
                    size_t item = named ? order[begin + i] : begin + i;
                    CHECK(is_item(&array[i], item) && (uintptr_t)array[i].data % 16 == 0);
                    CHECK(!named || names[i] == item);
                }
                free(body.bytes);
            }
    pmap_bytes_free(items, ITEMS);
}

static void single_item_of_bytes_is_its_own_body(void)
{
    struct pmap_bytes items[ITEMS], array[1];

    make_items(items);
    for (size_t i = 0; i < ITEMS; i++) {
        struct pmap__pick pick = {.array = (const char *)items, .element = sizeof *items, .bytes = true, .begin = i, .n = 1};
        const void *body, *elements;
        const size_t *names;
        void *packed;
        size_t size;
        CHECK_STATUS(pmap__pack(&pick, false, &body, &size, &packed), PMAP_OK);
        CHECK(body == items[i].data && size == sizes[i] && packed == NULL);
        CHECK(pmap__unpack(body, size, 1, sizeof *items, true, false, &names, &elements, array));
        CHECK(is_item(&array[0], i) && elements == array);
    }
    pmap_bytes_free(items, ITEMS);
}

/* A body of which the last or more bytes are missing is refused, and so is one with bytes to spare. */
static void check_other_sizes_refused(const struct body *body, size_t n, size_t element, bool bytes, bool named)
{
    struct pmap_bytes array[ITEMS];
    const void *elements;
    const size_t *names;
    char *copy;

    for (size_t size = 0; size <= body->size + 16; size++) {
        copy = test_array(size, 1);
        memcpy(copy, body->bytes, size < body->size ? size : body->size);
        bool good = pmap__unpack(copy, size, n, element, bytes, named, &names, &elements, array);
        CHECK_SAYING(good == (size == body->size), "%zu of %zu bytes are %s", size, body->size, good ? "accepted" : "refused");
        free(copy);
    }
}

static void bodies_that_are_too_short_or_too_long_are_refused(void)
{
    static const size_t order[] = {9, 0, 4, 4, 7};
    static const int array[10];
    struct pmap_bytes items[ITEMS];
    struct pmap__pick plain = {.array = (const char *)array, .element = sizeof(int), .n = 5, .names = order};
    struct pmap__pick pick = {.array = (const char *)items, .element = sizeof *items, .bytes = true, .n = 7};

    make_items(items);
    struct body body = pack_copy(&pick, false);
    check_other_sizes_refused(&body, pick.n, sizeof *items, true, false);
    free(body.bytes);
    pick.names = order;
    pick.n = 2;
    pick.begin = 1;
    body = pack_copy(&pick, true);
    check_other_sizes_refused(&body, pick.n, sizeof *items, true, true);
    free(body.bytes);
    body = pack_copy(&plain, true);
    check_other_sizes_refused(&body, plain.n, sizeof(int), false, true);
    free(body.bytes);
    body = (struct body){test_array(5, sizeof(int)), 5 * sizeof(int)};
    check_other_sizes_refused(&body, 5, sizeof(int), false, false);
    free(body.bytes);
    pmap_bytes_free(items, ITEMS);
}

static void counts_that_no_body_can_have_are_refused(void)
{
    static const size_t counts[] = {5, SIZE_MAX / 16, SIZE_MAX / 16 + 2, SIZE_MAX / 8 + 2, SIZE_MAX / 2 + 2, SIZE_MAX};
    char body[32] = {0};
    const void *elements;
    const size_t *names;

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        CHECK(!pmap__body_fits(sizeof body, counts[i], sizeof(struct pmap_bytes), true, false));
        CHECK(!pmap__body_fits(sizeof body, counts[i], sizeof(struct pmap_bytes), true, true));
        CHECK(!pmap__body_fits(sizeof body, counts[i], 16, false, false));
        CHECK(!pmap__unpack(body, sizeof body, counts[i], sizeof(struct pmap_bytes), true, false, &names, &elements, NULL));
        CHECK(!pmap__unpack(body, sizeof body, counts[i], sizeof(struct pmap_bytes), true, true, &names, &elements, NULL));
        CHECK(!pmap__unpack(body, sizeof body, counts[i], 1, false, true, &names, &elements, NULL));
    }
}

/* Whatever the sizes in front say: either the body is refused, or everything lies inside it. */
static bool stays_inside(const struct body *body, const uint64_t lies[static 7])
{
    char *copy = test_array(body->size, 1);
    struct pmap_bytes array[7];
    const void *elements;
    const size_t *names;
    bool inside = true;

    memcpy(copy, body->bytes, body->size);
    memcpy(copy, lies, 7 * sizeof *lies);
    bool good = pmap__unpack(copy, body->size, 7, sizeof *array, true, false, &names, &elements, array);
    for (size_t i = 0; good && i < 7; i++) {
        const char *data = array[i].data;
        size_t size = array[i].size;
        inside &= size == 0 || (size <= body->size && data >= copy + 7 * sizeof *lies && data + size <= copy + body->size);
    }
    free(copy);
    return inside;
}

static void sizes_that_lie_never_lead_out_of_the_body(void)
{
    static const uint64_t extremes[] = {UINT64_MAX, UINT64_MAX - 14, UINT64_MAX - 15, UINT64_MAX / 2, 4096};
    struct pmap_bytes items[ITEMS];
    struct pmap__pick pick = {.array = (const char *)items, .element = sizeof *items, .bytes = true, .n = 7};
    uint64_t lies[7], x = 5;

    make_items(items);
    struct body body = pack_copy(&pick, false);
    for (size_t k = 0; k < test_size(100000, 3000); k++) {
        memcpy(lies, body.bytes, sizeof lies);
        size_t i = next_random(&x) % 7, j = next_random(&x) % 7;
        if (k % 2)
            lies[i] = extremes[next_random(&x) % 5];
        else
            lies[i] ^= next_random(&x) % 256 << next_random(&x) % 8;
        lies[j] ^= next_random(&x) % 64;
        if (!CHECK(stays_inside(&body, lies)))
            break;
    }
    free(body.bytes);
    pmap_bytes_free(items, ITEMS);
}

static void results_are_placed_where_they_belong(void)
{
    static const size_t order[] = {3, 0, 4, 1};
    int array[6], results[] = {103, 100, 104, 101};
    struct pmap__pick pick = {.element = sizeof(int), .n = 4, .names = order};
    size_t lost;

    memset(array, 0xff, sizeof array);
    CHECK(pmap__place(&pick, (char *)array, results, &lost));
    CHECK(array[0] == 100 && array[1] == 101 && array[2] == -1 && array[3] == 103 && array[4] == 104 && array[5] == -1);
    pick = (struct pmap__pick){.element = sizeof(int), .begin = 2, .n = 4};
    CHECK(pmap__place(&pick, (char *)array, results, &lost));
    CHECK(array[1] == 101 && array[2] == 103 && array[5] == 101);
}

static void placed_bytes_have_memory_of_their_own(void)
{
    static const size_t order[ITEMS] = {3, 9, 7, 1, 0, 2, 8, 6, 5, 4};
    struct pmap_bytes items[ITEMS], placed[ITEMS];
    struct pmap__pick pick = {.element = sizeof *items, .bytes = true, .n = ITEMS, .names = order};
    size_t lost;

    make_items(items);
    CHECK(pmap__place(&pick, (char *)placed, items, &lost));
    for (size_t i = 0; i < ITEMS; i++) {
        CHECK(is_item(&placed[order[i]], i));
        CHECK(placed[order[i]].data == NULL || placed[order[i]].data != items[i].data);
    }
    pmap_bytes_free(items, ITEMS);
    pmap_bytes_free(placed, ITEMS);
}

/* ---- Reduction --------------------------------------------------------------------------------------- */

/* Neither associative nor commutative: another tree, or another order, has another result. */
static uint64_t tangle(uint64_t a, uint64_t b)
{
    uint64_t x = a * UINT64_C(0x9e3779b97f4a7c15) + (b << 7 | b >> 57) + 1;
    return x ^ x >> 29;
}
PMAP_OP(tangle, uint64_t);

static uint64_t value_of(size_t leaf) { return tangle(leaf, leaf + 3); }

/* A node as fold.h says it: the op of its two halves, or its left half where there is no right one. */
static uint64_t node_value(size_t leaves, int level, size_t index)
{
    if (level == 0)
        return value_of(index);
    uint64_t left = node_value(leaves, level - 1, 2 * index);
    if (((2 * index + 1) << (level - 1)) >= leaves)
        return left;
    return tangle(left, node_value(leaves, level - 1, 2 * index + 1));
}

static uint64_t whole(size_t leaves)
{
    int level = 0;
    while (((size_t)1 << level) < leaves)
        level++;
    return node_value(leaves, level, 0);
}

static struct pmap__place here;

static void fold_begin(struct pmap__fold *fold, size_t leaves)
{
    pmap__place_here(&here, 0);
    CHECK(pmap__fold_init(fold, &tangle_op, 1, leaves, &here));
}

/* Everything is in it, and nothing else waits. */
static void check_whole(const struct pmap__fold *fold)
{
    uint64_t value = 0;

    if (!CHECK(fold->top != NULL))
        return;
    memcpy(&value, fold->top->value, sizeof value);
    CHECK_SAYING(value == whole(fold->leaves), "%zu leaves come to something else", fold->leaves);
    for (int i = 0; i < PMAP__FOLD_BUCKETS; i++)
        CHECK(fold->waiting[i] == NULL);
}

static void add_leaf(struct pmap__fold *fold, size_t leaf)
{
    struct pmap_error error;
    uint64_t value = value_of(leaf);
    CHECK_STATUS(pmap__fold_add(fold, 0, leaf, &value, &error), PMAP_OK);
}

static void leaves_are_a_power_of_two_and_about_a_thousand(void)
{
    for (size_t total = 1; total < SIZE_MAX / 3; total += total / 2 + 1) {
        size_t leaf = pmap__fold_leaf_size(total);
        CHECK(leaf >= 1 && (leaf & (leaf - 1)) == 0 && leaf <= 8192);
        CHECK_SAYING(leaf == 1 || total / leaf >= 1024, "%zu items are cut into leaves of %zu", total, leaf);
        CHECK_SAYING(leaf == 8192 || total / leaf < 2048, "%zu items are cut into leaves of %zu", total, leaf);
    }
}

/* Where the node ends, and whether its parent lies in the run, too. */
static size_t node_end(size_t leaves, int level, size_t index)
{
    size_t end = level < 64 && index + 1 <= SIZE_MAX >> level ? (index + 1) << level : SIZE_MAX;
    return end < leaves ? end : leaves;
}

static bool run_is_covered(size_t leaves, size_t begin, size_t end)
{
    struct pmap__fold fold = {.leaves = leaves};
    struct pmap__node nodes[PMAP__FOLD_NODES];
    size_t n = pmap__fold_nodes(&fold, begin, end, nodes), at = begin;
    bool right = n <= PMAP__FOLD_NODES;

    for (size_t i = 0; right && i < n; i++) {
        int level = nodes[i].level;
        size_t index = nodes[i].index, next = node_end(leaves, level, index);
        bool top = index == 0 && next == leaves;
        size_t parent = index / 2, parent_begin = level < 63 ? parent << (level + 1) : 0;
        right = index << level == at && next > at && next <= end;
        /* It is no part of a larger one that would fit. */
        if (!top && parent_begin >= begin && node_end(leaves, level + 1, parent) <= end)
            right = false;
        at = next;
    }
    return right && at == end;
}

static void nodes_cover_a_run_exactly_and_are_as_large_as_can_be(void)
{
    static const size_t many[] = {1000, 1023, 1024, 1025, 8192, (SIZE_MAX >> 1) + 1, SIZE_MAX - 1};
    uint64_t x = 3;

    for (size_t leaves = 1; leaves <= 40; leaves++)
        for (size_t begin = 0; begin < leaves; begin++)
            for (size_t end = begin + 1; end <= leaves; end++)
                if (!CHECK_SAYING(run_is_covered(leaves, begin, end), "[%zu, %zu) of %zu leaves", begin, end, leaves))
                    return;
    for (size_t i = 0; i < sizeof many / sizeof *many; i++)
        for (int k = 0; k < 200; k++) {
            size_t a = (next_random(&x) << 32 | next_random(&x)) % many[i];
            size_t b = (next_random(&x) << 32 | next_random(&x)) % many[i];
            size_t begin = a < b ? a : b, end = (a < b ? b : a) + 1;
            if (!CHECK_SAYING(run_is_covered(many[i], begin, end), "[%zu, %zu) of %zu leaves", begin, end, many[i]))
                return;
        }
}

static void leaves_in_any_order_make_the_same_bits(void)
{
    enum { MOST = 300 };
    size_t order[MOST];

    for (size_t leaves = 1; leaves <= MOST; leaves += leaves < 70 ? 1 : 23)
        for (uint64_t round = 0; round < 5; round++) {
            struct pmap__fold fold;
            shuffle(order, leaves, leaves + round);
            fold_begin(&fold, leaves);
            for (size_t i = 0; i < leaves; i++)
                add_leaf(&fold, round == 0 ? i : round == 1 ? leaves - 1 - i : order[i]);
            check_whole(&fold);
            pmap__fold_fini(&fold);
        }
}

/* Threads that take one leaf after the other. */
struct gang {
    struct pmap__fold fold;
    const size_t *order;
    atomic_size_t next;
    atomic_int bad;
};

static void *add_leaves(void *argument)
{
    struct gang *gang = argument;
    struct pmap_error error;
    size_t i;

    while ((i = atomic_fetch_add(&gang->next, 1)) < gang->fold.leaves) {
        uint64_t value = value_of(gang->order[i]);
        if (pmap__fold_add(&gang->fold, 0, gang->order[i], &value, &error) != PMAP_OK)
            atomic_fetch_add(&gang->bad, 1);
    }
    return NULL;
}

static void leaves_from_several_threads_make_the_same_bits(void)
{
    enum { THREADS = 4 };
    size_t leaves = test_size(10000, 500), *order = test_array(leaves, sizeof *order);
    pthread_t threads[THREADS];
    struct gang gang = {.order = order};

    atomic_init(&gang.next, 0);
    atomic_init(&gang.bad, 0);
    shuffle(order, leaves, 9);
    fold_begin(&gang.fold, leaves);
    for (int t = 0; t < THREADS; t++)
        if (pthread_create(&threads[t], NULL, add_leaves, &gang) != 0)
            abort();
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    CHECK_INT(atomic_load(&gang.bad), 0);
    check_whole(&gang.fold);
    pmap__fold_fini(&gang.fold);
    free(order);
}

/* The leaves [begin, end) on a rank of their own; what it sends. */
static char *fold_elsewhere(size_t leaves, size_t begin, size_t end)
{
    struct pmap__node nodes[PMAP__FOLD_NODES];
    struct pmap__fold fold;

    fold_begin(&fold, leaves);
    for (size_t leaf = end; leaf-- > begin;)
        add_leaf(&fold, leaf);
    char *values = test_array(pmap__fold_nodes(&fold, begin, end, nodes), sizeof(uint64_t));
    pmap__fold_export(&fold, begin, end, values);
    for (int i = 0; i < PMAP__FOLD_BUCKETS; i++)
        CHECK(fold.waiting[i] == NULL);
    pmap__fold_fini(&fold);
    return values;
}

static void import_run(struct pmap__fold *fold, size_t begin, size_t end)
{
    struct pmap_error error;
    char *values = fold_elsewhere(fold->leaves, begin, end);
    CHECK_STATUS(pmap__fold_import(fold, begin, end, values, &error), PMAP_OK);
    free(values);
}

/* Every way to cut a few leaves into two or three runs, in each order. */
static void runs_from_elsewhere_make_the_same_bits(void)
{
    struct pmap__fold fold;

    for (size_t leaves = 1; leaves <= 20; leaves++)
        for (size_t cut = 0; cut < leaves; cut++)
            for (size_t next = cut; next < leaves; next++) {
                const size_t cuts[] = {0, cut, next, leaves};
                fold_begin(&fold, leaves);
                for (size_t i = 0; i < 3; i++) {
                    size_t run = (i + leaves + cut) % 3;
                    if (cuts[run] < cuts[run + 1])
                        import_run(&fold, cuts[run], cuts[run + 1]);
                }
                check_whole(&fold);
                pmap__fold_fini(&fold);
            }
}

static void many_runs_and_own_leaves_make_the_same_bits(void)
{
    enum { LEAVES = 1000 };
    size_t order[LEAVES];
    struct pmap__fold fold;

    for (size_t length = 1; length < LEAVES; length = length * 2 + 1) {
        size_t runs = (LEAVES - 1) / length + 1;
        shuffle(order, runs, length);
        fold_begin(&fold, LEAVES);
        for (size_t i = 0; i < runs; i++) {
            size_t begin = order[i] * length, end = LEAVES - begin < length ? LEAVES : begin + length;
            if (i % 2)
                import_run(&fold, begin, end);
            for (size_t leaf = begin; leaf < end && i % 2 == 0; leaf++)
                add_leaf(&fold, leaf);
        }
        check_whole(&fold);
        pmap__fold_fini(&fold);
    }
}

/* ---- Folding items ----------------------------------------------------------------------------------- */

static uint64_t third(uint64_t x) { return x % 1000 == 777 ? (uint64_t)pmap_fail(1, "bad luck") : x / 3; }
PMAP_TASK(third, uint64_t, uint64_t);

static uint64_t plus(uint64_t a, uint64_t b) { return a + b; }
PMAP_OP(plus, uint64_t);

/* Fold positions of a run whose base is leaf number base. */
static void span(struct pmap__fold *fold, struct pmap__failures *failures, const uint64_t *items, size_t base, size_t begin,
                 size_t end)
{
    struct pmap__run run = {.task = &third_task, .place = &here, .failures = failures, .base = base,
                            .args = (const char *)(items + base * fold->leaf)};

    fold->verdict = failures;
    pmap__run_begin(&run);
    pmap__fold_span(fold, &run, begin, end);
    pmap__run_end(&run);
}

/* The last leaf is a short one. */
static void spans_fold_every_item_once(void)
{
    static const size_t leaf_sizes[] = {1, 4, 64, 8192};
    size_t n = test_size(30001, 3001);
    uint64_t *items = test_array(n, sizeof *items), expected = 0, sum = 0;
    struct pmap__failures failures;
    struct pmap__fold fold;

    pmap__failures_init(&failures);
    pmap__place_here(&here, 0);
    for (size_t i = 0; i < n; i++) {
        items[i] = i * 1000 + 5;
        expected += items[i] / 3;
    }
    for (size_t k = 0; k < sizeof leaf_sizes / sizeof *leaf_sizes; k++) {
        CHECK(pmap__fold_init(&fold, &plus_op, leaf_sizes[k], n, &here));
        fold.verdict = &failures;
        size_t half = fold.leaves / 2;
        span(&fold, &failures, items, half, 0, fold.leaves - half); /* a run in the middle of a job, as other ranks get them */
        span(&fold, &failures, items, 0, 0, half);
        if (CHECK(fold.top != NULL))
            memcpy(&sum, fold.top->value, sizeof sum);
        CHECK(sum == expected);
        CHECK(failures.count == 0 && failures.cancelled == 0);
        pmap__fold_fini(&fold);
    }
    pmap__failures_fini(&failures);
    free(items);
}

/* It is the leaf that is run again, so it is a leaf that is recorded; the error is the item's. */
static void failed_item_is_counted_with_a_record_of_its_leaf(void)
{
    enum { N = 100, LEAF = 8 };
    uint64_t items[N];
    struct pmap__failures failures;
    struct pmap__fold fold;

    for (size_t i = 0; i < N; i++)
        items[i] = i == 50 || i == 53 ? 777 : i;
    pmap__failures_init(&failures);
    failures.keep = PMAP__KEEP_RECORDS;
    pmap__place_here(&here, 0);
    CHECK(pmap__fold_init(&fold, &plus_op, LEAF, N, &here));
    fold.verdict = &failures;
    span(&fold, &failures, items, 2, 0, fold.leaves - 2);
    CHECK(failures.count >= 1);
    CHECK_INT(failures.lowest_item, 50);
    const struct pmap__record *record = failures.records;
    if (CHECK(record != NULL)) {
        CHECK(record->item == 50 / LEAF && record->n == 1 && record->status == PMAP_EFAILED && record->next == NULL);
    }
    pmap__fold_fini(&fold);
    pmap__failures_fini(&failures);
}

static uint64_t fail_on_seven(uint64_t a, uint64_t b)
{
    return a + b == 7 ? (uint64_t)pmap_fail(3, "seven is %d", 7) : a + b;
}
PMAP_OP(fail_on_seven, uint64_t);

static void op_that_fails_is_named(void)
{
    struct pmap__fold fold;
    struct pmap_error error = {.text = ""};
    const uint64_t values[] = {1, 2, 3, 4};

    pmap__place_here(&here, 5);
    CHECK(pmap__fold_init(&fold, &fail_on_seven_op, 1, 4, &here));
    CHECK_STATUS(pmap__fold_add(&fold, 0, 0, &values[0], &error), PMAP_OK);
    CHECK_STATUS(pmap__fold_add(&fold, 0, 3, &values[3], &error), PMAP_OK);
    CHECK_STATUS(pmap__fold_add(&fold, 0, 1, &values[1], &error), PMAP_OK);
    CHECK_STATUS(pmap__fold_add(&fold, 0, 2, &values[2], &error), PMAP_EFAILED);
    CHECK_STATUS(error.status, PMAP_EFAILED);
    CHECK_NAMES(error.text, "fail_on_seven");
    CHECK_NAMES(error.text, "seven is 7");
    CHECK_INT(error.code, 3);
    CHECK_INT(error.rank, 5);
    CHECK(fold.top == NULL);
    pmap__fold_fini(&fold);
}

static void check_failing_op(size_t leaf, uint64_t items[], size_t n)
{
    struct pmap__failures failures;
    struct pmap_error error;
    struct pmap__fold fold;

    pmap__failures_init(&failures);
    pmap__place_here(&here, 0);
    CHECK(pmap__fold_init(&fold, &fail_on_seven_op, leaf, n, &here));
    fold.verdict = &failures;
    span(&fold, &failures, items, 0, 0, fold.leaves);
    if (CHECK_INT(failures.count, 1)) {
        pmap__failures_lowest(&failures, &error);
        CHECK(error.status == PMAP_EFAILED && error.code == 3);
    }
    CHECK(fold.top == NULL);
    pmap__fold_fini(&fold);
    pmap__failures_fini(&failures);
}

/* Inside a leaf, and where two leaves meet. */
static void failing_op_is_counted_as_a_failed_item_is(void)
{
    uint64_t items[] = {9, 12, 1, 1};
    check_failing_op(4, items, 4);
    check_failing_op(1, items, 2);
}

/* The values that the op refused are gone: running their leaves again does not help. */
static void failing_op_fails_the_call_in_spite_of_retries(void)
{
    const uint64_t items[] = {9, 12};
    struct pmap_pool *pool = NULL;

    if (!CHECK_STATUS(pmap_create(&pool, .threads = 1), PMAP_OK))
        return;
    for (int retries = 0; retries < 3; retries++) {
        struct pmap_error error = {.text = ""};
        uint64_t out = 42;
        CHECK_STATUS(pmap_reduce(pool, third, fail_on_seven, items, &out, 2, .retries = retries, .error = &error),
                     PMAP_EFAILED);
        CHECK_NAMES(error.text, "fail_on_seven");
        CHECK(out == 42);
    }
    pmap_destroy(pool);
}

/* ---- Failures ---------------------------------------------------------------------------------------- */

static struct pmap_error error_of(size_t item)
{
    struct pmap_error error = {.status = PMAP_EFAILED, .code = (int)item, .item = item};
    return error;
}

static void add(struct pmap__failures *failures, size_t item, uint64_t n)
{
    struct pmap_error error = error_of(item);
    pmap__failures_add(failures, &error, n);
}

static void lowest_failure_is_kept_whatever_the_order(void)
{
    static const size_t orders[][4] = {{7, 3, 9, 5}, {3, 5, 7, 9}, {9, 7, 5, 3}, {5, 9, 3, 7}};

    for (size_t k = 0; k < sizeof orders / sizeof *orders; k++) {
        struct pmap__failures failures;
        struct pmap_error error;
        CHECK(pmap__failures_init(&failures));
        for (size_t i = 0; i < 4; i++)
            add(&failures, orders[k][i], 1);
        CHECK_INT(failures.count, 4);
        pmap__failures_lowest(&failures, &error);
        CHECK(error.status == PMAP_EFAILED && error.item == 3 && error.code == 3);
        CHECK(failures.records == NULL); /* nobody asked for them */
        pmap__failures_fini(&failures);
    }
}

static void limit_of_failures_sets_the_flag(void)
{
    struct pmap__failures failures;
    atomic_bool stop = false;

    pmap__failures_init(&failures);
    failures.limit = 4;
    failures.stop = &stop;
    add(&failures, 1, 1);
    add(&failures, 10, 2);
    pmap__failures_skip(&failures, 20, 100); /* what was not run has not failed */
    CHECK(!atomic_load(&stop));
    add(&failures, 30, 1);
    CHECK(atomic_load(&stop));
    CHECK_INT(failures.count, 4);
    CHECK_INT(failures.cancelled, 100);
    pmap__failures_fini(&failures);
    pmap__failures_init(&failures); /* without a limit there is no flag */
    add(&failures, 1, 1000);
    pmap__failures_fini(&failures);
}

static void check_record(const struct pmap__record *record, size_t item, size_t n, enum pmap_status status, bool reason)
{
    if (!CHECK(record != NULL))
        return;
    CHECK(record->item == item && record->n == n);
    CHECK_STATUS(record->status, status);
    CHECK((record->error != NULL) == reason);
    if (reason)
        CHECK(record->error != NULL && record->error->item == item && record->error->code == (int)item);
}

static void free_records(struct pmap__record *record)
{
    while (record) {
        struct pmap__record *next = record->next;
        pmap__record_free(record);
        record = next;
    }
}

/* In the order they came, with reasons where those are wanted. */
static void records_are_kept_as_wanted(void)
{
    for (int keep = PMAP__KEEP_NOTHING; keep <= PMAP__KEEP_REASONS; keep++) {
        bool reasons = keep == PMAP__KEEP_REASONS;
        struct pmap__failures failures;
        struct pmap_error error = error_of(8);
        pmap__failures_init(&failures);
        failures.keep = (enum pmap__keep)keep;
        add(&failures, 5, 1);
        add(&failures, 2, 3);
        pmap__failures_skip(&failures, 40, 7);
        pmap__failures_count(&failures, &error, 1);  /* counted only */
        pmap__failures_skipped(&failures, 6);        /* likewise */
        pmap__failures_record(&failures, 8, 1, PMAP_ENOMEM, &error); /* recorded only */
        pmap__failures_record(&failures, 9, 1, PMAP_EFAILED, NULL);
        CHECK_INT(failures.count, 5);
        CHECK_INT(failures.cancelled, 13);
        struct pmap__record *all = pmap__failures_take(&failures), *record = all;
        CHECK((record == NULL) == (keep == PMAP__KEEP_NOTHING));
        if (record) {
            check_record(record, 5, 1, PMAP_EFAILED, reasons);
            check_record(record = record->next, 2, 3, PMAP_EFAILED, reasons);
            check_record(record = record->next, 40, 7, PMAP_ECANCELLED, false);
            check_record(record = record->next, 8, 1, PMAP_ENOMEM, reasons);
            check_record(record = record->next, 9, 1, PMAP_EFAILED, false);
            CHECK(record->next == NULL);
        }
        free_records(all);
        CHECK(pmap__failures_take(&failures) == NULL);
        add(&failures, 77, 1); /* the list is in order again */
        CHECK((failures.records != NULL) == (keep != PMAP__KEEP_NOTHING));
        CHECK(failures.lowest_item == 2 && !failures.forgot);
        pmap__failures_fini(&failures);
    }
}

static void statuses_are_told(void)
{
    enum pmap_status statuses[10] = {PMAP_OK};
    struct pmap__failures failures;
    struct pmap_error error = error_of(9);

    pmap__failures_init(&failures);
    failures.statuses = statuses;
    add(&failures, 1, 2);
    pmap__failures_skip(&failures, 4, 3);
    pmap__failures_record(&failures, 8, 1, PMAP_EINVAL, NULL);
    pmap__failures_count(&failures, &error, 1);
    pmap__failures_skipped(&failures, 1);
    for (size_t i = 0; i < 10; i++)
        CHECK_STATUS(statuses[i], i == 1 || i == 2 ? PMAP_EFAILED
                                  : i >= 4 && i < 7 ? PMAP_ECANCELLED
                                  : i == 8          ? PMAP_EINVAL
                                                    : PMAP_OK);
    pmap__failures_fini(&failures);
}

static void cleared_failures_begin_anew_with_what_is_wanted(void)
{
    enum pmap_status statuses[10];
    atomic_bool stop = false;
    struct pmap__failures failures;
    struct pmap_error error;

    pmap__failures_init(&failures);
    failures.keep = PMAP__KEEP_REASONS;
    failures.limit = 2;
    failures.stop = &stop;
    failures.statuses = statuses;
    add(&failures, 3, 1);
    failures.forgot = true;
    pmap__failures_clear(&failures);
    CHECK(failures.count == 0 && failures.cancelled == 0 && failures.records == NULL && !failures.forgot);
    CHECK(failures.keep == PMAP__KEEP_REASONS && failures.limit == 2);
    CHECK(failures.stop == &stop && failures.statuses == statuses);
    add(&failures, 7, 1);
    CHECK(!atomic_load(&stop));
    pmap__failures_lowest(&failures, &error);
    CHECK_INT(error.item, 7);
    check_record(failures.records, 7, 1, PMAP_EFAILED, true);
    pmap__failures_fini(&failures);
}

struct reporter {
    struct pmap__failures *failures;
    size_t first;
};

enum { REPORTS = 1000 };

static void *report(void *argument)
{
    struct reporter *r = argument;
    for (size_t i = 0; i < REPORTS; i++) {
        add(r->failures, r->first + REPORTS - i, 1);
        pmap__failures_skip(r->failures, 0, 1);
    }
    return NULL;
}

static void no_failure_of_several_threads_is_lost(void)
{
    enum { THREADS = 4 };
    struct reporter reporters[THREADS];
    pthread_t threads[THREADS];
    struct pmap__failures failures;
    size_t records = 0;

    pmap__failures_init(&failures);
    failures.keep = PMAP__KEEP_RECORDS;
    for (size_t t = 0; t < THREADS; t++) {
        reporters[t] = (struct reporter){&failures, 10000 * (t + 1)};
        if (pthread_create(&threads[t], NULL, report, &reporters[t]) != 0)
            abort();
    }
    for (size_t t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    for (const struct pmap__record *r = failures.records; r; r = r->next)
        records++;
    CHECK_INT(failures.count, THREADS * REPORTS);
    CHECK_INT(failures.cancelled, THREADS * REPORTS);
    CHECK_INT(records, 2 * THREADS * REPORTS);
    CHECK_INT(failures.lowest_item, 10001);
    pmap__failures_fini(&failures);
}

/* ---- Tickets ----------------------------------------------------------------------------------------- */

static void ticket_is_found_by_exactly_what_it_stands_for(void)
{
    struct pmap__tickets tickets = {0};
    struct pmap__job *job = test_array(1, sizeof *job);
    const char *bad;

    job->base = 1000;
    for (size_t i = 0; i < 100; i++) {
        struct pmap__ticket *t = pmap__ticket_take(&tickets, job, (int)i % 5, i, 3);
        if (!CHECK(t != NULL))
            return;
        CHECK(pmap__ticket_find(&tickets, t->number, (int)i % 5, 1000 + i, 3, &bad) == t);
        CHECK(pmap__ticket_find(&tickets, t->number, (int)(i + 1) % 5, 1000 + i, 3, &bad) == NULL && strcmp(bad, "ticket") == 0);
        CHECK(pmap__ticket_find(&tickets, t->number, (int)i % 5, i, 3, &bad) == NULL && strcmp(bad, "begin") == 0);
        CHECK(pmap__ticket_find(&tickets, t->number, (int)i % 5, 1000 + i, 4, &bad) == NULL && strcmp(bad, "n") == 0);
        CHECK(pmap__ticket_find(&tickets, t->number + 1, (int)i % 5, 1000 + i, 3, &bad) == NULL);
        CHECK(pmap__ticket_find(&tickets, UINT64_MAX, (int)i % 5, 1000 + i, 3, &bad) == NULL);
        if (i % 3 == 0) {
            t->in = malloc(10); /* goes with it */
            t->records = malloc(10);
            uint64_t number = t->number;
            pmap__ticket_give(&tickets, t);
            CHECK(pmap__ticket_find(&tickets, number, (int)i % 5, 1000 + i, 3, &bad) == NULL);
        }
    }
    CHECK(tickets.count < 100); /* numbers are used again */
    pmap__tickets_fini(&tickets);
    free(job);
}

static const struct test tests[] = {TEST(plain_neighbours_are_sent_as_they_lie),
                                    TEST(elements_of_no_bytes_need_no_array),
                                    TEST(named_items_travel_with_their_names),
                                    TEST(bytes_of_any_size_travel_whole),
                                    TEST(single_item_of_bytes_is_its_own_body),
                                    TEST(bodies_that_are_too_short_or_too_long_are_refused),
                                    TEST(counts_that_no_body_can_have_are_refused),
                                    TEST(sizes_that_lie_never_lead_out_of_the_body),
                                    TEST(results_are_placed_where_they_belong),
                                    TEST(placed_bytes_have_memory_of_their_own),
                                    TEST(leaves_are_a_power_of_two_and_about_a_thousand),
                                    TEST(nodes_cover_a_run_exactly_and_are_as_large_as_can_be),
                                    TEST(leaves_in_any_order_make_the_same_bits),
                                    TEST(leaves_from_several_threads_make_the_same_bits),
                                    TEST(runs_from_elsewhere_make_the_same_bits),
                                    TEST(many_runs_and_own_leaves_make_the_same_bits),
                                    TEST(spans_fold_every_item_once),
                                    TEST(failed_item_is_counted_with_a_record_of_its_leaf),
                                    TEST(op_that_fails_is_named),
                                    TEST(failing_op_is_counted_as_a_failed_item_is),
                                    TEST(failing_op_fails_the_call_in_spite_of_retries),
                                    TEST(lowest_failure_is_kept_whatever_the_order),
                                    TEST(limit_of_failures_sets_the_flag),
                                    TEST(records_are_kept_as_wanted),
                                    TEST(statuses_are_told),
                                    TEST(cleared_failures_begin_anew_with_what_is_wanted),
                                    TEST(no_failure_of_several_threads_is_lost),
                                    TEST(ticket_is_found_by_exactly_what_it_stands_for),
                                    {NULL, NULL}};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1");
}
