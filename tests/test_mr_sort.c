/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * mapreduce: sorting records gives the order of pmap__record_compare, whatever the keys are like, and in good time.
 */
#include "harness.h"
#include "mr_records.h"

#include <stdio.h>

static int by_record(const void *a, const void *b)
{
    const struct pmap__sort_entry *p = a, *q = b;
    return pmap__record_compare(p->record, q->record);
}

/* Sorted as qsort would; frees the records. */
static void sorts_well(struct records *r)
{
    struct pmap__sort_entry *expected = test_array(r->n, sizeof *expected);

    if (r->n) {
        memcpy(expected, r->entries, r->n * sizeof *expected);
        qsort(expected, r->n, sizeof *expected, by_record);
    }
    pmap__sort(r->entries, r->n);
    for (size_t i = 0; i < r->n; i++)
        if (!CHECK(by_record(&r->entries[i], &expected[i]) == 0))
            break;
    free(expected);
    records_free(r);
}

/* n records with keys of up to max bytes below letters, in no order; tags differ. */
static struct records random_records(size_t n, size_t max, unsigned letters, const char *beginning)
{
    struct records r = {0};
    uint64_t state = n * 1000003 + max * 257 + letters;
    size_t begin = strlen(beginning);

    for (size_t i = 0; i < n; i++) {
        unsigned char key[256];
        size_t size = begin + random_number(&state) % (max + 1);
        memcpy(key, beginning, begin);
        for (size_t k = begin; k < size; k++)
            key[k] = (unsigned char)(random_number(&state) % letters);
        records_add(&r, key, size, &i, i % 9, i * UINT64_C(0x9e3779b97f4a7c15));
    }
    return r;
}

static void random_keys_are_sorted(void)
{
    static const size_t numbers[] = {0, 1, 2, 3, 24, 25, 100, 3000};

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        for (size_t max = 0; max < 40; max += 1 + max / 4) {
            struct records r = random_records(numbers[i], max, 256, "");
            sorts_well(&r);
        }
}

static void keys_of_few_bytes_values_zeros_among_them_are_sorted(void)
{
    for (unsigned letters = 1; letters < 4; letters++)
        for (size_t max = 1; max < 40; max++) {
            struct records r = random_records(test_size(2000, 300), max, letters, "");
            sorts_well(&r);
        }
}

static void keys_with_a_long_common_beginning_are_sorted(void)
{
    struct records r = random_records(test_size(200000, 2000), 6, 10, "http://www.example.com/a/long/way/down/to/");
    sorts_well(&r);
}

/* Each key begins with all shorter ones: no two of them part before one ends. */
static void keys_that_are_each_others_beginnings_are_sorted(void)
{
    static const char zeros[3000], letters[] = "abcdefgh";
    struct records r = {0};
    char key[3000];
    uint64_t state = 1;

    for (size_t i = 0; i < sizeof key; i++)
        key[i] = letters[i % 8];
    for (size_t i = 0; i < 3000; i++) {
        size_t size = random_number(&state) % sizeof key;
        records_add(&r, i % 2 ? key : zeros, size, NULL, 0, i);
    }
    sorts_well(&r);
}

static void equal_keys_go_by_their_tags(void)
{
    for (int descending = 0; descending < 2; descending++) {
        struct records r = {0};
        size_t n = test_size(300000, 3000);
        for (size_t i = 0; i < n; i++)
            records_add(&r, "identical key", 13, &i, sizeof i, descending ? n - i : i);
        sorts_well(&r);
    }
}

static void sorted_and_reversed_keys_are_sorted(void)
{
    for (int reversed = 0; reversed < 2; reversed++) {
        struct records r = {0};
        for (size_t i = 0; i < 20000; i++) {
            char key[32];
            records_add(&r, key, (size_t)snprintf(key, sizeof key, "%08zu", reversed ? 20000 - i : i), NULL, 0, i);
        }
        sorts_well(&r);
    }
}

static void prefixes_compare_as_keys_do(void)
{
    struct records r = random_records(500, 9, 3, "");

    for (size_t i = 1; i < r.n; i++) {
        const struct pmap__sort_entry *a = &r.entries[i - 1], *b = &r.entries[i];
        if (a->prefix != b->prefix)
            CHECK_INT(a->prefix < b->prefix, by_record(a, b) < 0);
    }
    records_free(&r);
}

static const struct test tests[] = {TEST(random_keys_are_sorted),
                                    TEST(keys_of_few_bytes_values_zeros_among_them_are_sorted),
                                    TEST(keys_with_a_long_common_beginning_are_sorted),
                                    TEST(keys_that_are_each_others_beginnings_are_sorted),
                                    TEST(equal_keys_go_by_their_tags),
                                    TEST(sorted_and_reversed_keys_are_sorted),
                                    TEST(prefixes_compare_as_keys_do),
                                    {NULL, NULL}};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1");
}
