/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * mapreduce: the way of pairs whose values are combined. In few bytes they come back as they were; in a store with little memory they become
 * runs, or a pile where that is better, and in either case the same comes out; a disk that is full or damaged is an error.
 *
 * The linker sends the library's calls of pwrite and malloc with its kin to the functions __wrap_… in here (options in Makefile.am), which
 * fail as a test wants it.
 */
#include "harness.h"
#include "mapreduce/store.h"

#include <errno.h>
#include <pmap_mapreduce.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

/* ---- A system that fails ---- */

static atomic_long until_no_memory, until_full; /* the call that brings it to zero fails, and those after it; 0: none does */
static bool damaging;                           /* something else is written, of the same size */

static bool fails(atomic_long *until)
{
    long left = atomic_load(until);
    return left && (left == 1 || atomic_fetch_sub(until, 1) == 1);
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
ssize_t __real_pwrite(int file, const void *bytes, size_t size, off_t at);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
ssize_t __wrap_pwrite(int file, const void *bytes, size_t size, off_t at);

void *__wrap_malloc(size_t size)
{
    return fails(&until_no_memory) ? NULL : __real_malloc(size);
}
void *__wrap_calloc(size_t n, size_t size)
{
    return fails(&until_no_memory) ? NULL : __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t size)
{
    return fails(&until_no_memory) ? NULL : __real_realloc(p, size);
}
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails(&until_no_memory) ? NULL : __real_aligned_alloc(alignment, size);
}

ssize_t __wrap_pwrite(int file, const void *bytes, size_t size, off_t at)
{
    if (fails(&until_full)) {
        errno = ENOSPC;
        return -1;
    }
    if (damaging)
        memset((void *)(uintptr_t)bytes, 255, size);
    return __real_pwrite(file, bytes, size, at);
}

/* ---- Few bytes ---- */

static const size_t value_sizes[] = {1, 7, 8, 9, 16, 24, 40, 4096};

static void lean_pairs_come_back(void)
{
    static const size_t key_sizes[] = {0, 1, 8, 15, 16, 17, 254, 255, 256, 70000};
    enum { KEYS = sizeof key_sizes / sizeof *key_sizes };
    static char key[70000], value[4096];

    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (char)(i % 251);
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (char)(i % 241);
    for (size_t v = 0; v < sizeof value_sizes / sizeof *value_sizes; v++) {
        size_t room = PMAP__LEAN_SLACK, size = 0, n;
        for (size_t k = 0; k < KEYS; k++)
            room += pmap__lean_room(key_sizes[k], value_sizes[v]);
        char *bytes = test_array(room, 1);
        for (size_t k = 0; k < KEYS; k++) {
            size_t one = pmap__lean_write(bytes + size, key, key_sizes[k], value, value_sizes[v]);
            CHECK(one <= pmap__lean_room(key_sizes[k], value_sizes[v]));
            size += one;
        }
        CHECK(pmap__lean_are_whole(bytes, size, value_sizes[v], &n) && n == KEYS);
        const char *at = bytes, *end = bytes + size;
        for (size_t k = 0; k < KEYS; k++) {
            struct pmap__lean pair;
            at = pmap__lean_read(at, end, value_sizes[v], &pair);
            CHECK(pair.key_size == key_sizes[k] && memcmp(pair.key, key, key_sizes[k]) == 0);
            CHECK(memcmp(pair.value, value, value_sizes[v]) == 0);
            CHECK(value_sizes[v] == 8 || (uintptr_t)pair.value % 8 == 0);
        }
        CHECK(at == end);
        free(bytes);
    }
}

static void a_short_pair_is_as_lean_as_any(void)
{
    static const int64_t numbers[] = {0, 1, -1, 63, 64, -64, -65, INT64_MAX, INT64_MIN};

    for (uint32_t size = 0; size <= PMAP__SHORT_KEY; size++)
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
            struct pmap__short pair = {.size = size + 1, .value = (uint64_t)numbers[i]};
            char one[64], other[64];
            memset(pair.k, 'k', size);
            size_t n = pmap__lean_write_short(one, &pair, 8);
            CHECK_INT(pmap__lean_write(other, pair.k, size, &numbers[i], 8), n);
            CHECK(memcmp(one, other, n) == 0);
            struct pmap__lean back;
            CHECK(pmap__lean_read(one, one + n, 8, &back) == one + n);
            CHECK(back.number == (uint64_t)numbers[i]);
        }
}

/* No byte behind the end is looked at: each part lies in memory of its own. */
static void parts_of_lean_pairs_are_refused(void)
{
    static const char key[300], value[16];

    for (size_t value_size = 8; value_size <= 16; value_size += 8)
        for (size_t key_size = 1; key_size <= 300; key_size += 299) {
            char bytes[400];
            size_t size = pmap__lean_write(bytes, key, key_size, value, value_size), n;
            for (size_t less = 1; less < size; less++) {
                char *part = test_array(size - less, 1);
                memcpy(part, bytes, size - less);
                CHECK_SAYING(!pmap__lean_are_whole(part, size - less, value_size, &n), "%zu bytes less are accepted", less);
                free(part);
            }
        }
}

/* ---- A store ---- */

struct place {
    struct pmap__budget budget;
    struct pmap__store_common common;
    struct pmap__store store;
    struct pmap__block *block;
    uint64_t *sums; /* of each key */
    size_t keys, key_size;
    enum pmap_status status;
    struct pmap_error error;
};

static void sum_first(void *acc, const void *value)
{
    uint64_t *sum = acc;
    *sum += *(const uint64_t *)value;
}

/* Keys are the numbers below keys, in key_size bytes. False: no memory. */
static bool place_init(struct place *p, size_t memory, size_t keys, size_t key_size, size_t value_size)
{
    struct pmap__scratch *scratch;

    *p = (struct place){.keys = keys, .key_size = key_size};
    pmap__budget_init(&p->budget, memory);
    if (pmap__scratch_create(NULL, &scratch) != PMAP_OK)
        return false;
    p->common.combine = (struct pmap__combine){value_size, value_size == 8 ? pmap_sum_i64 : sum_first};
    p->common.budget = &p->budget;
    p->common.scratch = scratch;
    p->common.run_block = 4096;
    p->common.piles = true;
    p->common.pile = (struct pmap__pile_common){&p->budget, scratch, 4096, value_size};
    pmap__store_init(&p->store, &p->common);
    p->sums = test_array(keys, sizeof *p->sums);
    memset(p->sums, 0, keys * sizeof *p->sums);
    return true;
}

static void place_fini(struct place *p)
{
    pmap__block_free(&p->budget, p->block);
    pmap__store_fini(&p->store);
    CHECK_INT(pmap__budget_held(&p->budget), 0);
    pmap__scratch_destroy(p->common.scratch);
    free(p->sums);
}

static void flush(struct place *p)
{
    if (p->status == PMAP_OK && p->block)
        p->status = pmap__store_add(&p->store, p->block, &p->error);
    if (p->block)
        p->block->used = p->block->records = 0;
}

static void add(struct place *p, size_t number, uint64_t value)
{
    char key[512], values[64] = {0};
    size_t value_size = p->common.combine.size;

    snprintf(key, sizeof key, "%0*zu", (int)p->key_size, number);
    memcpy(values, &value, sizeof value);
    p->sums[number] += value;
    if (p->block == NULL && (p->block = pmap__block_create(&p->budget, 2000)) == NULL)
        p->status = PMAP_ENOMEM;
    if (p->status != PMAP_OK)
        return;
    if (!pmap__block_fits(p->block, pmap__lean_room(p->key_size, value_size)))
        flush(p);
    pmap__block_added(p->block, pmap__lean_write(pmap__block_end(p->block), key, p->key_size, values, value_size));
}

/* n keys, one after the other and then from the beginning again. In the order of a multiple, or a table would be filled from one end. */
static void add_in_turn(struct place *p, size_t n, size_t keys)
{
    for (size_t i = 0; i < n; i++)
        add(p, i * 7919 % keys, i % 3);
    flush(p);
}

static void take_up(struct place *p, size_t share)
{
    for (size_t grows = 1; grows > 0 && p->status == PMAP_OK;)
        p->status = pmap__store_take_up(&p->store, share, &grows, &p->error);
}

/* The sums, in order; those of a key are several where runs have it. */
static void read_all(struct place *p)
{
    struct pmap__source *source;
    const void *record = NULL;
    size_t last = 0;
    uint64_t *found = test_array(p->keys, sizeof *found);

    memset(found, 0, p->keys * sizeof *found);
    if (p->status == PMAP_OK)
        p->status = pmap__store_open(&p->store, false, false, 100, &source, &p->error);
    if (p->status == PMAP_OK) {
        while ((p->status = source->next(source, &record, &p->error)) == PMAP_OK && record) {
            char key[512] = "";
            memcpy(key, pmap__record_key(record), pmap__record_key_size(record));
            size_t number = strtoul(key, NULL, 10);
            CHECK(pmap__record_key_size(record) == p->key_size && number >= last && number < p->keys);
            found[number] += *(const uint64_t *)pmap__record_value(record);
            last = number;
        }
        source->close(source);
    }
    CHECK(p->status != PMAP_OK || memcmp(found, p->sums, p->keys * sizeof *found) == 0);
    free(found);
}

/* More than fit into memory(). */
static size_t many(void)
{
    return test_size(30000, 5000);
}

static size_t memory(void)
{
    return many() * 9;
}

static void keys_that_come_once_go_to_the_pile(void)
{
    for (size_t value_size = 8; value_size <= 16; value_size += 8) {
        struct place p;
        place_init(&p, memory(), many(), 10, value_size);
        add_in_turn(&p, many(), many());
        CHECK(!pmap__pile_is_empty(&p.store.pile));
        CHECK_INT(p.store.n_runs, 0);
        CHECK(atomic_load(&p.common.spilled_disk) > many());
        take_up(&p, 4 << 20);
        CHECK_INT(p.store.n_runs, 0); /* all of it had room in the table */
        read_all(&p);
        CHECK_STATUS(p.status, PMAP_OK);
        place_fini(&p);
    }
}

static void a_pile_that_has_no_room_becomes_runs(void)
{
    struct place p;

    place_init(&p, memory(), many(), 10, 8);
    add_in_turn(&p, many() * 8 / 3, many());
    take_up(&p, 70000);
    CHECK(p.store.n_runs > 1);
    CHECK(pmap__budget_peak(&p.budget) < memory() + 70000 + 50000);
    read_all(&p);
    CHECK_STATUS(p.status, PMAP_OK);
    place_fini(&p);
}

/* Pairs of keys that come again and again, long pairs, and pairs that may be read twice. */
static void others_become_runs(void)
{
    for (int what = 0; what < 3; what++) {
        struct place p;
        place_init(&p, memory() / 2, many(), what == 1 ? 40 : 10, 8);
        p.common.piles = what != 2;
        if (what == 0)
            for (size_t i = 0; i < 4 * many(); i++)
                add(&p, i % 8 ? i / 8 * 7919 % 1000 + 1 : i / 8 * 7919 % many(), 1);
        else
            add_in_turn(&p, many(), many());
        flush(&p);
        CHECK_SAYING(pmap__pile_is_empty(&p.store.pile), "%d: there is a pile", what);
        CHECK_SAYING(p.store.n_runs > 1, "%d: %zu runs", what, p.store.n_runs);
        take_up(&p, 0);
        read_all(&p);
        CHECK_STATUS(p.status, PMAP_OK);
        place_fini(&p);
    }
}

static void the_table_is_tried_again(void)
{
    struct place p;

    place_init(&p, memory(), many(), 10, 8);
    add_in_turn(&p, many(), many());
    CHECK(!pmap__pile_is_empty(&p.store.pile));
    for (size_t i = 0; i < 4 * many(); i++)
        add(&p, i % 100, 1);
    flush(&p);
    size_t places = p.store.pile.n;
    for (size_t i = 0; i < many(); i++)
        add(&p, i % 100, 1);
    flush(&p);
    CHECK(p.store.pile.n == places);
    CHECK(pmap__table_keys(&p.store.table) > 0);
    take_up(&p, 1 << 24);
    read_all(&p);
    CHECK_STATUS(p.status, PMAP_OK);
    place_fini(&p);
}

struct seen {
    size_t n, keys;
    bool sound;
};

static void see(const void *key, size_t size, void *argument)
{
    struct seen *seen = argument;
    char text[512] = "";

    memcpy(text, key, size);
    seen->sound &= strtoul(text, NULL, 10) < seen->keys;
    seen->n++;
}

static void a_sample_has_keys_of_the_pile(void)
{
    struct seen seen = {.keys = many(), .sound = true};
    struct place p;

    place_init(&p, memory(), many(), 10, 8);
    add_in_turn(&p, many(), many());
    CHECK(pmap__table_keys(&p.store.table) == 0);
    pmap__store_sample(&p.store, 50, see, &seen);
    CHECK(seen.sound && seen.n >= 40 && seen.n <= 60);
    take_up(&p, 4 << 20);
    read_all(&p);
    CHECK_STATUS(p.status, PMAP_OK);
    place_fini(&p);
}

/* ---- Trouble ---- */

static void a_full_disk_is_an_error(void)
{
    for (long until = 1; until < 10; until += 3) {
        struct place p;
        place_init(&p, memory(), many(), 10, 8);
        atomic_store(&until_full, until);
        add_in_turn(&p, many(), many());
        take_up(&p, 50000);
        atomic_store(&until_full, 0);
        CHECK_STATUS(p.status, PMAP_EINVAL);
        CHECK_NAMES(p.error.text, "No space left on device");
        place_fini(&p);
    }
}

static void a_damaged_pile_is_an_error(void)
{
    struct place p;

    place_init(&p, memory(), many(), 10, 8);
    damaging = true;
    add_in_turn(&p, many(), many());
    damaging = false;
    CHECK_STATUS(p.status, PMAP_OK);
    take_up(&p, 4 << 20);
    CHECK_STATUS(p.status, PMAP_EINVAL);
    CHECK_NAMES(p.error.text, "damaged");
    place_fini(&p);
}

static void every_allocation_may_fail(void)
{
    enum pmap_status status = PMAP_ENOMEM;
    long until;

    for (until = 1; status != PMAP_OK && until < 10000; until += (long)test_size(1, 3)) {
        struct place p;
        place_init(&p, 30000, 4000, 10, 8);
        atomic_store(&until_no_memory, until);
        add_in_turn(&p, 4000, 4000);
        take_up(&p, 50000);
        atomic_store(&until_no_memory, 0);
        status = p.status;
        CHECK(status == PMAP_OK || status == PMAP_ENOMEM);
        place_fini(&p);
    }
    CHECK(until > 20);
    CHECK_STATUS(status, PMAP_OK);
}

static const struct test tests[] = {TEST(lean_pairs_come_back),
                                    TEST(a_short_pair_is_as_lean_as_any),
                                    TEST(parts_of_lean_pairs_are_refused),
                                    TEST(keys_that_come_once_go_to_the_pile),
                                    TEST(a_pile_that_has_no_room_becomes_runs),
                                    TEST(others_become_runs),
                                    TEST(the_table_is_tried_again),
                                    TEST(a_sample_has_keys_of_the_pile),
                                    TEST(a_full_disk_is_an_error),
                                    TEST(a_damaged_pile_is_an_error),
                                    TEST(every_allocation_may_fail),
                                    {NULL, NULL}};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1");
}
