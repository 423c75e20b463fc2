/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Map-reduces larger than their memory: the same output, and no more memory than was said. And what is large in itself: values, groups, numbers of keys.
 */
#include "harness.h"
#include "mr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1 << 20)

static struct pmap_error error;

/* ---- Pairs from a number -------------------------------------------------------------------------------- */

/* A record is a seed; of it come so many pairs. Keys are some of many, values are random: they do not get shorter in scratch. */
struct seed {
    uint64_t seed;
    uint32_t pairs, keys, value_size, unused;
};

static void emit_pairs(struct pmap_view record, struct outlet out)
{
    struct seed s;
    uint64_t value[512];

    memcpy(&s, record.data, sizeof s);
    for (uint32_t i = 0; i < s.pairs; i++) {
        char key[32];
        int size = sprintf(key, "key %llu", (unsigned long long)(next_random(&s.seed) % s.keys));
        for (size_t k = 0; k < (s.value_size + 7) / 8; k++)
            value[k] = next_random(&s.seed);
        outlet_emit(out, key, (size_t)size, value, s.value_size);
    }
}
MAP_RECORD(emit_pairs)

static void digest(struct pmap_view key, struct inlet *values, struct outlet out)
{
    struct pmap_view value;
    uint64_t h[2] = {0, 0};

    while (inlet_next(values, &value)) {
        h[0] = h[0] * 31 + hash_bytes(value.data, value.size);
        h[1] += value.size;
    }
    outlet_emit(out, key.data, key.size, h, sizeof h);
}
REDUCE(digest)

PMAP_MAPREDUCE(grouped, .map_record = emit_pairs_record);
PMAP_MAPREDUCE(digested, .map_record = emit_pairs_record, .reduce = digest_reduce);
PMAP_MAPREDUCE(summed, .map_record = emit_pairs_record, .combine = pmap_sum_i64);

static struct pairs expected_of(const struct pmap_mapreduce *what, reduce_body *reduce, const struct seed seeds[], size_t n)
{
    struct pmap_view *records = test_array(n, sizeof *records);

    for (size_t i = 0; i < n; i++)
        records[i] = (struct pmap_view){&seeds[i], sizeof seeds[i]};
    struct pairs expected = serial_mapreduce(emit_pairs, what->combine, what->value_size, reduce, records, n);
    free(records);
    return expected;
}

/* Seeds for so many bytes of pairs in memory, about. */
static size_t seeds_for(struct seed seeds[static 64], size_t bytes, uint32_t keys, uint32_t value_size)
{
    for (size_t i = 0; i < 64; i++)
        seeds[i] = (struct seed){.seed = 77 + i, .pairs = (uint32_t)(bytes / 64 / (32 + value_size)), .keys = keys, .value_size = value_size};
    return 64;
}

/* With so much memory: the right output, runs in scratch, and, from 8 MiB on, no more memory than that, but for a quarter and a MiB. */
static void check_within(struct pmap_mapreduce *what, reduce_body *reduce, size_t memory, size_t bytes, uint32_t keys, uint32_t value_size,
                         size_t partitions)
{
    struct seed seeds[64];
    size_t n = seeds_for(seeds, bytes, keys, value_size);
    struct pairs expected = expected_of(what, reduce, seeds, n), got = {0};
    struct pmap_mapreduce_stats s = {0};
    struct pmap_mapreduce_options o = {.size = sizeof o, .input = PMAP_RECORDS(seeds, n), .deliver = pairs_deliver, .user = &got, .memory = memory,
                                       .partitions = partitions, .split_size = sizeof *seeds, .stats = &s, .error = &error};

    enum pmap_status status = pmap_mapreduce_with(the_pool, what, &o);
    CHECK_SAYING(status == PMAP_OK, "%s: %s", what->task.name, error.text);
    CHECK_SAYING(pairs_differ(&expected, &got) == SIZE_MAX, "%s with %zu MiB: %zu records, not %zu, and the first wrong is %zu", what->task.name,
                 memory / MIB, got.n, expected.n, pairs_differ(&expected, &got));
    CHECK_INT(s.memory_limit, memory);
    CHECK(s.spills > 0 && s.spilled_bytes > 0 && s.spilled_disk > 0 && s.spilled_disk <= s.spilled_bytes + 4096 * s.spills);
    CHECK_SAYING(memory < 8 * MIB || s.memory_peak < memory + memory / 4 + MIB, "%s: %.1f of %zu MiB", what->task.name,
                 (double)s.memory_peak / (double)MIB, memory / MIB);
    pairs_free(&got);
    pairs_free(&expected);
}

static void the_least_memory_is_enough(void)
{
    size_t bytes = test_size(6, 3) * MIB * (size_t)test_ranks();

    check_within(&grouped_mapreduce, NULL, MIB, bytes, 5000, 40, 0);
    check_within(&digested_mapreduce, digest, MIB, bytes, 100, 1000, 3);
    check_within(&summed_mapreduce, NULL, MIB, bytes, (uint32_t)(bytes / 80), 8, 0);
}

/* Counters alone. */
static void check_peak(struct pmap_mapreduce *what, size_t memory, size_t bytes, uint32_t keys, uint32_t value_size, size_t partitions)
{
    struct seed seeds[64];
    size_t n = seeds_for(seeds, bytes, keys, value_size);
    struct pmap_mapreduce_stats s = {0};
    struct pmap_mapreduce_options o = {.size = sizeof o, .input = PMAP_RECORDS(seeds, n), .memory = memory, .partitions = partitions,
                                       .split_size = sizeof *seeds, .stats = &s, .error = &error};

    enum pmap_status status = pmap_mapreduce_with(the_pool, what, &o);
    CHECK_SAYING(status == PMAP_OK, "%s: %s", what->task.name, error.text);
    CHECK_INT(s.pairs, 64 * seeds[0].pairs);
    CHECK(s.spills > 0);
    CHECK_SAYING(s.memory_peak < memory + memory / 4 + MIB, "%s, %u bytes each in %zu partitions: %.1f of %zu MiB", what->task.name, value_size,
                 partitions, (double)s.memory_peak / (double)MIB, memory / MIB);
}

static void memory_stays_within_its_limit(void)
{
    static const size_t partitions[] = {0, 1, 2};

    for (size_t i = 0; i < test_size(3, 1); i++) {
        size_t memory = 8 * MIB, bytes = 2 * memory * (i == 1 ? 1 : (size_t)test_ranks());
        check_peak(&grouped_mapreduce, memory, bytes, 20000, 16, partitions[i]);
        check_peak(&digested_mapreduce, memory, bytes, 1000, 4000, partitions[i]);
        check_peak(&summed_mapreduce, memory, 2 * bytes, 1000000, 8, partitions[i]);
    }
}

/* A single group, several times as large as memory. */
static void one_key_has_more_values_than_memory(void)
{
    size_t memory = test_size(8, 1) * MIB;

    check_within(&digested_mapreduce, digest, memory, 4 * memory, 1, 4000, 0);
    check_within(&digested_mapreduce, digest, memory, 4 * memory, 1, 3, 0);
    check_within(&grouped_mapreduce, NULL, MIB, 8 * MIB, 1, 100, 0);
}

static void many_runs_are_merged_first(void)
{
    struct seed seeds[64];
    size_t n = seeds_for(seeds, test_size(60, 12) * MIB, 1000, 100);
    struct pmap_mapreduce_stats s = {0};

    CHECK_STATUS(pmap_mapreduce(the_pool, digested, PMAP_RECORDS(seeds, n), .memory = MIB, .partitions = 1, .stats = &s), PMAP_OK);
    CHECK_SAYING(s.merges > 0 || s.spills < 70, "%llu runs", (unsigned long long)s.spills);
    CHECK_INT(s.records_out, 1000);
    CHECK_INT(s.keys, 1000);
}

/* A dataset that lies in scratch, and its copy. */
static void copy_pair(struct pmap_view key, struct pmap_view value, struct pmap_emitter *out)
{
    pmap_emit(out, key.data, key.size, value.data, value.size);
}
PMAP_MAPREDUCE(copied, .map_pair = copy_pair);

static void datasets_are_larger_than_memory(void)
{
    struct seed seeds[64];
    size_t n = seeds_for(seeds, test_size(12, 3) * MIB, 5000, 100);
    struct pairs expected = expected_of(&grouped_mapreduce, NULL, seeds, n), got = {0};
    struct pmap_dataset *first = NULL, *second = NULL;

    CHECK_STATUS(pmap_mapreduce(the_pool, grouped, PMAP_RECORDS(seeds, n), .memory = MIB, .keep = &first, .partitions = 6, .retries = 1), PMAP_OK);
    CHECK_STATUS(pmap_mapreduce(the_pool, copied, PMAP_DATASET(first), .memory = MIB, .keep = &second), PMAP_OK);
    pmap_dataset_free(first);
    CHECK_STATUS(pmap_mapreduce(the_pool, copied, PMAP_DATASET(second), .memory = MIB, .deliver = pairs_deliver, .user = &got), PMAP_OK);
    CHECK_INT(pmap_dataset_bytes(second), pairs_bytes(&expected));
    pmap_dataset_free(second);
    CHECK(pairs_differ(&expected, &got) == SIZE_MAX);
    pairs_free(&got);
    pairs_free(&expected);
}

/* ---- Large values ---------------------------------------------------------------------------------------- */

/* A value of so many MiB, all zeros but for its first and last byte. */
static void emit_large(struct pmap_view record, struct pmap_emitter *out)
{
    uint64_t mib;

    memcpy(&mib, record.data, sizeof mib);
    char *value = calloc(mib, MIB);
    if (value == NULL) {
        pmap_fail(1, "no memory for %llu MiB", (unsigned long long)mib);
        return;
    }
    value[0] = value[mib * MIB - 1] = (char)mib;
    pmap_emit(out, "large", 5, value, mib * MIB);
    free(value);
    pmap_emit(out, "small", 5, &mib, sizeof mib);
}
PMAP_MAPREDUCE(large, .map_record = emit_large);

struct delivered {
    size_t n, wrong;
    uint64_t bytes;
};

/* Values come in the order of the input: 1, 2, 3 … as said by sizes. */
static bool look(void *user, struct pmap_view key, struct pmap_view value)
{
    struct delivered *d = user;
    const char *bytes = value.data;

    if (key.size == 5 && memcmp(key.data, "large", 5) == 0)
        d->wrong += bytes[0] != (char)(value.size / MIB) || bytes[value.size - 1] != bytes[0] || bytes[value.size / 2] != 0;
    else
        d->wrong += value.size != 8;
    d->n++;
    d->bytes += value.size;
    return true;
}

static void check_large(const uint64_t sizes[], size_t n, struct pmap_mapreduce_options o)
{
    struct delivered d = {0};
    uint64_t bytes = 0;

    for (size_t i = 0; i < n; i++)
        bytes += sizes[i] * MIB + 8;
    o.size = sizeof o;
    o.input = PMAP_RECORDS(sizes, n);
    o.split_size = sizeof *sizes;
    o.deliver = look;
    o.user = &d;
    o.error = &error;
    o.partitions = 2;
    enum pmap_status status = pmap_mapreduce_with(the_pool, &large_mapreduce, &o);
    CHECK_SAYING(status == PMAP_OK, "%s", error.text);
    CHECK_INT(d.n, 2 * n);
    CHECK_INT(d.bytes, bytes);
    CHECK_INT(d.wrong, 0);
}

static void values_of_some_mib(void)
{
    static const uint64_t sizes[] = {3, 1, 7, 2, 5};

    check_large(sizes, 5, (struct pmap_mapreduce_options){.memory = 0});
    check_large(sizes, 5, (struct pmap_mapreduce_options){.memory = MIB});
    check_large(sizes, 5, (struct pmap_mapreduce_options){.retries = 1, .memory = 4 * MIB, .order = PMAP_ORDER_RANGES});
}

/* The size of each value, and how many of a few of its bytes are right. */
static void measure(struct pmap_view key, struct pmap_values *values, struct pmap_emitter *out)
{
    struct pmap_view value;

    while (pmap_values_next(values, &value)) {
        const char *bytes = value.data;
        uint64_t seen[] = {value.size, (uint64_t)(bytes[value.size - 1] == bytes[0]) + (bytes[value.size / 2] == 0)};
        pmap_emit(out, key.data, key.size, seen, sizeof seen);
    }
}
PMAP_MAPREDUCE(measured, .map_record = emit_large, .reduce = measure);

/* More than 32 bits can say. */
static void a_value_of_3_gib(void)
{
    static const uint64_t mib = 3 * 1024;
    struct pairs got = {0};
    uint64_t seen[2];

    if (test_size(1, 0) == 0 || test_threads() > 1 || test_ranks() > 2 || test_processes() < test_ranks()) {
        test_skip("it takes much memory");
        return;
    }
    CHECK_STATUS(pmap_mapreduce(the_pool, measured, PMAP_RECORDS(&mib, 1), .deliver = pairs_deliver, .user = &got, .memory = (size_t)16 << 30),
                 PMAP_OK);
    if (CHECK_INT(got.n, 2)) {
        memcpy(seen, got.pairs[0].value, sizeof seen);
        CHECK_INT(seen[0], (uint64_t)3 << 30);
        CHECK_INT(seen[1], 2);
    }
    pairs_free(&got);
}

/* ---- Many keys -------------------------------------------------------------------------------------------- */

/* Keys i, i + 1000, … up to some millions, each of them twice. */
static void emit_many(struct pmap_view record, struct pmap_emitter *out)
{
    uint32_t first;

    memcpy(&first, record.data, sizeof first);
    for (uint64_t i = first % 1000; i < 10000000; i += 1000) {
        uint64_t key = i * UINT64_C(0x9e3779b97f4a7c15); /* odd: no two are equal */
        pmap_emit_i64(out, &key, sizeof key, 1);
    }
}
/* What is not as it should be. */
static void odd_sums(struct pmap_view key, struct pmap_values *values, struct pmap_emitter *out)
{
    struct pmap_view value;

    if (!pmap_values_next(values, &value) || key.size != 8 || pmap_view_i64(value) != 2)
        pmap_emit(out, key.data, key.size, "", 0);
}
PMAP_MAPREDUCE(many, .map_record = emit_many, .combine = pmap_sum_i64, .reduce = odd_sums);

static void ten_million_keys(void)
{
    uint32_t in[2000];
    struct pmap_mapreduce_stats s = {0};

    if (test_size(1, 0) == 0 || test_ranks() > 1 || test_threads() != 2) {
        test_skip("it takes long");
        return;
    }
    for (uint32_t i = 0; i < 2000; i++)
        in[i] = i;
    CHECK_STATUS(pmap_mapreduce(the_pool, many, PMAP_RECORDS(in, 2000), .memory = 64 * MIB, .stats = &s), PMAP_OK);
    CHECK_INT(s.keys, 10000000);
    CHECK_INT(s.pairs, 20000000);
    CHECK_INT(s.records_out, 0);
    CHECK(s.spills > 0);
    CHECK(s.memory_peak < 81 * MIB);
}

static const struct test tests[] = {
    TEST(the_least_memory_is_enough),
    TEST(memory_stays_within_its_limit),
    TEST(one_key_has_more_values_than_memory),
    TEST(many_runs_are_merged_first),
    TEST(datasets_are_larger_than_memory),
    TEST(values_of_some_mib),
    TEST(a_value_of_3_gib),
    TEST(ten_million_keys),
    {NULL, NULL},
};

int main(int argc, char *argv[])
{
    int status = test_main_with_pool(argc, argv, tests, "t1 t2 r2 v2t2");
    files_remove();
    return status;
}
