/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * mapreduce: the table of pairs that are combined, whatever the hashes of their keys.
 */
#include "harness.h"

#include "mapreduce/hash.h"
#include "mapreduce/lean.h"
#include "mapreduce/pair.h"
#include "mapreduce/table.h"

#include <pmap_mapreduce.h>
#include <stdlib.h>

enum { KEYS = 12000 };

/* Keys of 8 bytes whose places lie between two parts of a table. */
struct kind {
    uint32_t least, most;
};

static uint64_t next_key(uint64_t key, const struct kind *kind)
{
    uint64_t k[2] = {0};
    uint32_t hash;

    do {
        k[0] = ++key;
        hash = (uint32_t)pmap__hash_words(k, sizeof key);
    } while (hash < kind->least || hash > kind->most);
    return key;
}

/* All keys of a kind, each with its number; room is for what pairs may be read beyond their end. */
static char *make_pairs(const struct kind *kind, size_t *size)
{
    char *pairs = test_array(KEYS * pmap__lean_room(sizeof(uint64_t), sizeof(int64_t)) + PMAP__LEAN_SLACK, 1);
    uint64_t key = 0;

    *size = 0;
    for (int64_t i = 0; i < KEYS; i++) {
        key = next_key(key, kind);
        *size += pmap__lean_write(pairs + *size, &key, sizeof key, &i, sizeof i);
    }
    return pairs;
}

static void check_table(const struct pmap__table *table)
{
    size_t n = 0;
    uint64_t sum = 0;

    for (size_t at = 0; at < table->capacity; at++) {
        const struct pmap__short *place = pmap__table_place(table, at);
        n += place->size != 0;
        sum += place->size ? (uint64_t)place->value : 0;
    }
    CHECK_INT(n, KEYS);
    CHECK_INT(sum, 2 * (uint64_t)(KEYS - 1) * KEYS / 2); /* each was added twice */
}

static void fill(const struct kind *kind)
{
    struct pmap__combine combine = {.fold = pmap_sum_i64, .size = sizeof(int64_t)};
    struct pmap__budget budget;
    struct pmap__table table;
    size_t size;
    char *pairs = make_pairs(kind, &size);

    pmap__budget_init(&budget, UINT64_MAX);
    pmap__table_init(&table, &combine, &budget);
    for (int i = 0; i < 2; i++)
        CHECK_INT(pmap__table_add(&table, pairs, size, false), size);
    check_table(&table);
    pmap__table_clear(&table);
    CHECK_INT(pmap__budget_held(&budget), 0);
    free(pairs);
}

static void keys_of_any_kind_find_room(void)
{
    static const struct kind kinds[] = {
        {0, UINT32_MAX},
        {UINT32_MAX / 2, UINT32_MAX}, /* their row goes on at the beginning of the table */
        {0, UINT32_MAX / 2},
        {UINT32_MAX / 8 * 7, UINT32_MAX},
        {UINT32_MAX / 2, UINT32_MAX / 4 * 3},
    };

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        fill(&kinds[i]);
}

static const struct test tests[] = {TEST(keys_of_any_kind_find_room),
                                    {NULL, NULL}};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1");
}
