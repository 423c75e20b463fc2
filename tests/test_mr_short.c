/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * mapreduce: short pairs, which have ways of their own. Sums are exact through fronts of both kinds and through scratch, whatever keys and
 * values are like; and what is written in few bytes comes back.
 */
#include "harness.h"
#include "mapreduce/front.h"
#include "mapreduce/terse.h"
#include "mr_records.h"

/* ---- Keys that are hard to tell apart, and values that are hard to add --------------------------------------- */

/* Zeros but for the first two bytes: those of other sizes differ in nothing else. */
static const size_t sizes[] = {0, 1, 2, 8, 9, 11, 12, 15, 16, 17, 40};
enum { SIZES = sizeof sizes / sizeof *sizes, IDS = 3000, KEYS = SIZES * IDS };

struct item {
    char key[40];
    uint32_t size;
    uint32_t number; /* of the key */
    int64_t value;
};

static size_t number_of(size_t size_at, size_t id)
{
    return size_at * IDS + (sizes[size_at] == 0 ? 0 : sizes[size_at] == 1 ? id % 256 : id);
}

/* n pairs, and what they add up to. few: small values and short keys, but for a few. */
static struct item *items_new(size_t n, bool few, uint64_t sums[KEYS])
{
    static const int64_t values[] = {1, -1, 1, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, (int64_t)1 << 31, -((int64_t)1 << 31) - 1, 0};
    struct item *items = test_array(n, sizeof *items);
    uint64_t state = 4711;

    memset(sums, 0, KEYS * sizeof *sums);
    for (size_t i = 0; i < n; i++) {
        struct item *item = &items[i];
        bool hard = !few || random_number(&state) % 64 == 0;
        size_t at = random_number(&state) % (hard ? SIZES : 6), id = random_number(&state) % IDS;
        *item = (struct item){.size = (uint32_t)sizes[at], .number = (uint32_t)number_of(at, id)};
        item->value = values[random_number(&state) % (hard ? sizeof values / sizeof *values : 5)];
        if (item->size > 0)
            item->key[0] = (char)id;
        if (item->size > 1)
            item->key[1] = (char)(id >> 8);
        sums[item->number] += (uint64_t)item->value;
    }
    return items;
}

/* KEYS: it is none. */
static size_t number_of_key(const void *key, size_t size)
{
    const unsigned char *bytes = key;

    for (size_t at = 0; at < SIZES; at++)
        if (sizes[at] == size)
            return number_of(at, (size > 0 ? bytes[0] : 0u) + 256u * (size > 1 ? bytes[1] : 0u));
    return KEYS;
}

/* ---- Fronts ---------------------------------------------------------------------------------------------- */

static void add_passed(void *owner, const struct pmap__short *places, size_t n, size_t each)
{
    uint64_t *sums = owner;

    for (size_t i = 0; i < n; i++) {
        const struct pmap__short *p = (const void *)((const char *)places + i * each);
        size_t number = p->size ? number_of_key(p->k, p->size - 1) : 0;
        if (p->size && CHECK(number < KEYS))
            sums[number] += p->value;
    }
}

static void add_item(struct pmap__front *front, const struct item *item, bool waiting)
{
    if (waiting)
        pmap__front_add_waiting(front, &(struct pmap_waiting){item->key, item->size, item->value}, 1);
    else
        pmap__front_add(front, item->key, item->size, &item->value);
}

static void my_sum(void *acc, const void *value)
{
    *(uint64_t *)acc += *(const uint64_t *)value;
}

/* Whatever goes in comes out, at the end or before. */
static void check_front(const struct item *items, size_t n, const uint64_t expected[KEYS], size_t size, struct pmap__combine combine)
{
    uint64_t *sums = test_array(KEYS, sizeof *sums), taken = 0;
    struct pmap__front *front;

    memset(sums, 0, KEYS * sizeof *sums);
    if (CHECK_STATUS(pmap__front_create(size, &combine, add_passed, sums, &front), PMAP_OK)) {
        for (size_t i = 0; i < n; i++) {
            if (items[i].size <= PMAP__SHORT_KEY)
                add_item(front, &items[i], i % 3 == 0);
            else
                sums[items[i].number] += (uint64_t)items[i].value;
            taken += items[i].size <= PMAP__SHORT_KEY;
        }
        for (size_t given = pmap__front_memory(front), part; given > 0; given -= part) {
            part = pmap__front_shrink(front, 0.7);
            if (!CHECK(part > 0 || given == 0))
                break;
        }
        CHECK_INT(pmap__front_shrink(front, 0.7), 0);
        CHECK_INT(front->pairs, taken);
        CHECK(memcmp(sums, expected, KEYS * sizeof *sums) == 0);
        pmap__front_destroy(front);
    }
    free(sums);
}

static void fronts_lose_nothing(void)
{
    static const size_t fronts[] = {1 << 10, 1 << 14, 1 << 20};
    size_t n = test_size(300000, 3000);

    for (int few = 0; few < 2; few++) { /* if they are not few a narrow front becomes a wide one */
        uint64_t *sums = test_array(KEYS, sizeof *sums);
        struct item *items = items_new(n, few, sums);
        for (size_t i = 0; i < sizeof fronts / sizeof *fronts; i++) {
            check_front(items, n, sums, fronts[i], (struct pmap__combine){8, pmap_sum_i64});
            check_front(items, n, sums, fronts[i], (struct pmap__combine){8, my_sum});
        }
        free(items);
        free(sums);
    }
}

/* ---- Calls ------------------------------------------------------------------------------------------------ */

static void emit_item(struct pmap_view record, struct pmap_emitter *out)
{
    const struct item *item = record.data;

    if (item->number % 3) /* it lies in the piece, and may wait there */
        pmap_emit_i64(out, item->key, item->size, item->value);
    else
        pmap_emit(out, item->key, item->size, &item->value, sizeof item->value);
}
PMAP_MAPREDUCE(sums_of_items, .map_record = emit_item, .combine = pmap_sum_i64);

struct delivered {
    const uint64_t *sums;
    size_t keys;
    struct item last; /* its key */
    bool well;
};

static bool take_sum(void *user, struct pmap_view key, struct pmap_view value)
{
    struct delivered *d = user;
    size_t number = number_of_key(key.data, key.size);

    d->well &= number < KEYS && (uint64_t)pmap_view_i64(value) == d->sums[number];
    d->well &= d->keys == 0 || pmap__key_compare(d->last.key, d->last.size, key.data, key.size) < 0;
    d->keys++;
    d->last.size = (uint32_t)key.size;
    if (d->well && key.size)
        memcpy(d->last.key, key.data, key.size);
    return true;
}

static void sums_are_exact_with_much_memory_and_with_little(void)
{
    static const size_t memories[] = {0, 1 << 20};
    size_t n = test_size(100000, 2000);
    bool *met = test_array(KEYS, sizeof *met);

    for (int few = 0; few < 2; few++) {
        uint64_t *sums = test_array(KEYS, sizeof *sums);
        struct item *items = items_new(n, few, sums);
        size_t keys = 0;
        memset(met, 0, KEYS * sizeof *met);
        for (size_t i = 0; i < n; i++) {
            keys += !met[items[i].number];
            met[items[i].number] = true;
        }
        for (size_t i = 0; i < sizeof memories / sizeof *memories; i++) {
            struct delivered d = {.sums = sums, .well = true};
            struct pmap_mapreduce_stats s = {0};
            CHECK_STATUS(pmap_mapreduce(the_pool, sums_of_items, PMAP_RECORDS(items, n), .memory = memories[i], .split_size = 65536,
                                        .deliver = take_sum, .user = &d, .stats = &s),
                         PMAP_OK);
            CHECK(d.well);
            CHECK_INT(d.keys, keys);
            CHECK(memories[i] == 0 || test_size(1, 0) == 0 || s.spills > 0);
        }
        free(items);
        free(sums);
    }
    free(met);
}

/* ---- Few bytes -------------------------------------------------------------------------------------------- */

/* Records side by side, with slack behind. */
static char *side_by_side(const struct records *r, size_t *size)
{
    *size = 0;
    for (size_t i = 0; i < r->n; i++)
        *size += pmap__record_size(r->entries[i].record);
    char *bytes = test_array(*size + PMAP__TERSE_SLACK, 1), *at = bytes;
    for (size_t i = 0; i < r->n; i++) {
        size_t one = pmap__record_size(r->entries[i].record);
        memcpy(at, r->entries[i].record, one);
        at += one;
    }
    memset(at, 0, PMAP__TERSE_SLACK);
    return bytes;
}

/* Its size in few bytes, 0 if there is none; it comes back from them, and from no part of them. Frees the records. */
static size_t goes_and_comes(struct records *r)
{
    size_t size, n;

    pmap__sort(r->entries, r->n);
    char *bytes = side_by_side(r, &size), *terse = test_array(pmap__terse_room(size) + PMAP__TERSE_SLACK, 1);
    char *back = test_array(size + PMAP__TERSE_SLACK, 1);
    n = pmap__terse_write(bytes, size, terse);
    CHECK(n <= size / 2);
    if (n) {
        CHECK(pmap__terse_read(terse, n, back, size));
        CHECK(memcmp(back, bytes, size) == 0);
        for (size_t less = 1; less < n; less += 1 + n / 50)
            CHECK(!pmap__terse_read(terse, less, back, size));
        CHECK(!pmap__terse_read(terse, n, back, size - 8));
    }
    free(back);
    free(terse);
    free(bytes);
    records_free(r);
    return n;
}

static struct records counted(size_t n, size_t max_size, unsigned letters, uint64_t tags)
{
    static const int64_t values[] = {1, 2, -1, INT32_MIN, 1000, 63, 64, -64, -65};
    struct records r = {0};
    uint64_t state = n + max_size + letters;

    for (size_t i = 0; i < n; i++) {
        char key[700];
        size_t size = random_number(&state) % (max_size + 1);
        for (size_t k = 0; k < size; k++)
            key[k] = (char)(k + 8 < size ? 0 : random_number(&state) % letters); /* zeros first: keys have long beginnings in common */
        records_add(&r, key, size, &values[i % 9], 8, i * tags);
    }
    return r;
}

static void words_and_counts_get_short(void)
{
    for (size_t max = 0; max <= 640; max = 2 * max + 1)
        for (unsigned letters = 1; letters <= 256; letters *= 4)
            for (uint64_t tags = 0; tags < 2; tags++) {
                struct records r = counted(200, max, letters, tags);
                CHECK(goes_and_comes(&r) > 0 || max > 255);
            }
}

static void extreme_numbers_come_back(void)
{
    static const int64_t values[] = {INT64_MIN, INT64_MAX, 0, -1, INT64_MIN + 1};
    struct records r = {0};

    for (size_t i = 0; i < 500; i++) {
        char key[17] = "a long beginning";
        key[15] = (char)('a' + i % 20);
        records_add(&r, key, 16, &values[i % 5], 8, i % 2 ? UINT64_MAX : i);
    }
    goes_and_comes(&r); /* such numbers get longer: whether all do not is open */
    for (size_t i = 0; i < 500; i++) {
        char key[41] = "a beginning that is longer than the rest";
        key[39] = (char)(i % 20);
        records_add(&r, key, 40, &values[i % 5], 8, 0);
    }
    CHECK(goes_and_comes(&r) > 0);
}

static void values_of_other_sizes_come_back(void)
{
    static const char value[256] = "value";

    for (size_t size = 0; size < 256; size += 1 + size / 3) {
        struct records r = {0};
        for (size_t i = 0; i < 100; i++) {
            char key[100] = {0};
            key[99] = (char)i;
            records_add(&r, key, i, value, size, 0);
        }
        CHECK(goes_and_comes(&r) > 0 || size > 16);
    }
}

static void what_does_not_get_short_is_left(void)
{
    struct records r = {0};
    char value[300] = {0};

    records_add(&r, "key", 3, value, 300, 0);
    CHECK_INT(goes_and_comes(&r), 0); /* a long value */
    records_add(&r, value, 256, value, 0, 0);
    CHECK_INT(goes_and_comes(&r), 0); /* a long key */
    records_add(&r, "a", 1, value, 8, 0);
    records_add(&r, "b", 1, value, 16, 0);
    CHECK_INT(goes_and_comes(&r), 0); /* values of several sizes */
    for (int i = 0; i < 100; i++)
        records_add(&r, (char[]){(char)i, 2, 3, 4, 5, 6, 7, 8}, 8, (char[]){9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9}, 16, UINT64_MAX);
    CHECK_INT(goes_and_comes(&r), 0); /* they would be more than half */
}

static const struct test tests[] = {
    TEST(fronts_lose_nothing),
    TEST(sums_are_exact_with_much_memory_and_with_little),
    TEST(words_and_counts_get_short),
    TEST(extreme_numbers_come_back),
    TEST(values_of_other_sizes_come_back),
    TEST(what_does_not_get_short_is_left),
    {NULL, NULL},
};

int main(int argc, char *argv[])
{
    return test_main_with_pool(argc, argv, tests, "t2 r2 v2t2");
}
