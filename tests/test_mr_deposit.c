/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * mapreduce: what is put into a deposit can be taken out, by whoever has its claim; one that is damaged, wherever that is, is not there.
 */
#include "harness.h"
#include "mapreduce/deposit.h"
#include "mr.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *path_of(uint64_t file, const char *end)
{
    static char path[PATH_MAX];

    snprintf(path, sizeof path, PMAP__DEPOSIT_PATH, files_path("."), file, end);
    return path;
}

static struct pmap__deposits *deposits_of(uint64_t file)
{
    struct pmap__deposits *deposits = NULL;

    CHECK_STATUS(pmap__deposits_create(files_path("."), file, &deposits), PMAP_OK);
    if (deposits == NULL)
        abort();
    return deposits;
}

/* Pairs of a split with a number: n of them, each a little longer than the one before, and one that is longer than a block. */
static struct pairs pairs_of(uint64_t number, size_t n)
{
    struct pairs pairs = {0};
    uint64_t state = number + 1;
    char value[300], *longest = test_array(200000, 1);

    for (size_t i = 0; i < 200000; i++)
        longest[i] = (char)next_random(&state);
    for (size_t i = 0; i < n; i++) {
        memset(value, (int)('a' + i % 26), sizeof value);
        uint64_t key = next_random(&state) % 1000;
        pairs_add(&pairs, &key, 1 + i % 8, i == n / 2 ? longest : value, i == n / 2 ? 200000 : i % sizeof value);
    }
    free(longest);
    return pairs;
}

static struct pmap__claim claim_of(uint64_t number)
{
    return (struct pmap__claim){.high = number, .low = ~number};
}

static void put(struct pmap__deposits *deposits, const struct pairs *pairs, struct pmap__claim *claim)
{
    struct pmap__deposit_counts counts = {1, pairs->n, 3, 4};
    struct pmap__deposit *deposit = NULL;
    struct pmap_error error;

    CHECK_STATUS(pmap__deposit_begin(deposits, &deposit, &error), PMAP_OK);
    for (size_t i = 0; i < pairs->n; i++) {
        const struct pair *p = &pairs->pairs[i];
        CHECK_STATUS(pmap__deposit_put(deposit, &(struct pmap__pair){p->key, p->value, p->key_size, p->value_size, 0}, &error), PMAP_OK);
    }
    CHECK_STATUS(pmap__deposit_end(deposit, &counts, claim, &error), PMAP_OK);
}

/* False: it is not there. */
static bool take(struct pmap__deposits *deposits, const struct pmap__claim *claim, struct pairs *pairs)
{
    struct pmap__withdrawal *withdrawal = NULL;
    struct pmap_error error;
    const void *record = "";

    CHECK_STATUS(pmap__deposit_open(deposits, claim, &withdrawal), PMAP_OK);
    if (withdrawal == NULL)
        return false;
    *pairs = (struct pairs){0};
    CHECK_STATUS(pmap__withdrawal_next(withdrawal, &record, &error), PMAP_OK);
    for (; record; CHECK_STATUS(pmap__withdrawal_next(withdrawal, &record, &error), PMAP_OK))
        pairs_add(pairs, pmap__record_key(record), pmap__record_key_size(record), pmap__record_value(record),
                  pmap__record_value_size(record));
    CHECK_INT(pmap__withdrawal_counts(withdrawal).pairs, pairs->n);
    pmap__withdrawal_close(withdrawal);
    return true;
}

static void check(struct pmap__deposits *deposits, const struct pmap__claim *claim, const struct pairs *expected)
{
    struct pairs pairs;

    if (!CHECK(take(deposits, claim, &pairs)))
        return;
    CHECK_INT(pairs.n, expected->n);
    CHECK(pairs_differ(&pairs, expected) == SIZE_MAX);
    pairs_free(&pairs);
}

static void what_is_put_can_be_taken_by_any_rank(void)
{
    static const size_t sizes[] = {0, 1, 2, 1000, 5000};
    struct pmap__deposits *mine = deposits_of(7), *other = deposits_of(8);

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct pairs pairs = pairs_of(i, sizes[i]);
        struct pmap__claim claim = claim_of(i + 1), another = claim_of(i + 100);
        put(mine, &pairs, &claim);
        check(mine, &claim, &pairs);
        check(other, &claim, &pairs);
        put(other, &pairs, &another);
        check(mine, &another, &pairs);
        pairs_free(&pairs);
    }
    pmap__deposits_destroy(mine);
    pmap__deposits_destroy(other);
    files_remove();
}

static void a_deposit_that_is_abandoned_leaves_no_entry(void)
{
    struct pmap__deposits *deposits = deposits_of(1);
    struct pmap__deposit *deposit = NULL;
    struct pmap_error error;
    size_t size;

    CHECK_STATUS(pmap__deposit_begin(deposits, &deposit, &error), PMAP_OK);
    CHECK_STATUS(pmap__deposit_put(deposit, &(struct pmap__pair){"key", "value", 3, 5, 0}, &error), PMAP_OK);
    pmap__deposit_abandon(deposit);
    pmap__deposits_destroy(deposits);
    char *index = read_file(path_of(1, PMAP__DEPOSIT_INDEX), &size);
    CHECK_INT(size, 0);
    free(index);
    files_remove();
}

static void write_at(const char *path, const char *bytes, size_t size)
{
    FILE *file = fopen(path, "w");

    if (!CHECK(file != NULL))
        return;
    CHECK_INT(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

/* What is found of it is right: a byte between two places means nothing. */
static void damage_is_found_wherever_it_is(void)
{
    struct pmap__deposits *deposits = deposits_of(1), *other = deposits_of(2);
    struct pairs pairs = pairs_of(5, 40);
    struct pmap__claim claim = claim_of(5);
    uint64_t state = 1;
    size_t size, n = test_size(2000, 100), found = 0;

    put(deposits, &pairs, &claim);
    char *bytes = read_file(path_of(1, PMAP__DEPOSIT_PAIRS), &size);
    for (size_t i = 0; i < n; i++) {
        size_t at = next_random(&state) % size;
        bytes[at] = (char)(bytes[at] ^ (1 << i % 8));
        write_at(path_of(1, PMAP__DEPOSIT_PAIRS), bytes, i % 10 ? size : at);
        struct pairs taken = {0};
        if (take(other, &claim, &taken)) {
            found++;
            CHECK(taken.n == pairs.n && pairs_differ(&taken, &pairs) == SIZE_MAX);
        }
        pairs_free(&taken);
        bytes[at] = (char)(bytes[at] ^ (1 << i % 8));
    }
    CHECK(found < n / 10);
    write_at(path_of(1, PMAP__DEPOSIT_PAIRS), bytes, size);
    check(other, &claim, &pairs);
    free(bytes);
    pairs_free(&pairs);
    pmap__deposits_destroy(deposits);
    pmap__deposits_destroy(other);
    files_remove();
}

static void a_claim_that_makes_no_sense_is_to_nothing(void)
{
    struct pmap__deposits *deposits = deposits_of(1), *other = deposits_of(2);
    struct pairs pairs = pairs_of(5, 40), taken;
    struct pmap__claim claim = claim_of(5);

    put(deposits, &pairs, &claim);
    const struct pmap__claim bad[] = {
        {claim.high, claim.low, 3, claim.at, claim.size},       {claim.high + 1, claim.low, claim.file, claim.at, claim.size},
        {claim.high, claim.low, claim.file, 0, claim.size},     {claim.high, claim.low, claim.file, UINT64_MAX, claim.size},
        {claim.high, claim.low, claim.file, claim.at, 1},       {claim.high, claim.low, claim.file, claim.at, claim.size + 24},
        {claim.high, claim.low, claim.file, claim.at, UINT64_MAX - 7},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(!take(other, &bad[i], &taken));
    check(other, &claim, &pairs);
    pairs_free(&pairs);
    pmap__deposits_destroy(deposits);
    pmap__deposits_destroy(other);
    files_remove();
}

static void without_its_directory_a_rank_keeps_nothing(void)
{
    struct pmap__deposits *deposits = (struct pmap__deposits *)&deposits;

    CHECK_STATUS(pmap__deposits_create(files_path("nowhere"), 1, &deposits), PMAP_OK);
    CHECK(deposits == NULL);
    files_remove();
}

static const struct test tests[] = {
    TEST(what_is_put_can_be_taken_by_any_rank),
    TEST(a_deposit_that_is_abandoned_leaves_no_entry),
    TEST(damage_is_found_wherever_it_is),
    TEST(a_claim_that_makes_no_sense_is_to_nothing),
    TEST(without_its_directory_a_rank_keeps_nothing),
    {NULL, NULL},
};

int main(int argc, char *argv[]) { return test_main(argc, argv, tests, "t1"); }
