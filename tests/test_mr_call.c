/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap_mapreduce equals the serial program: for every kind of function, key and value, and however it is cut into splits and partitions, in whatever
 * memory.
 */
#include "harness.h"
#include "mr.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct pmap_error error;

/* ---- Map ---------------------------------------------------------------------------------------------- */

/* A key for each number: none, text, bytes with zeros in them, integers, and long ones of which one is the beginning of another. */
static size_t key_of(uint64_t number, char room[64])
{
    struct pmap_key8 integer = pmap_key_i64((int64_t)number - 100);

    switch (number % 4) {
    case 0:
        return number ? (size_t)sprintf(room, "key %llu", (unsigned long long)number) : 0;
    case 1:
        memset(room, 0, 8);
        room[number / 4 % 6] = (char)(number / 24 + 1);
        return 1 + number / 4 % 8;
    case 2:
        memcpy(room, integer.bytes, 8);
        return 8;
    }
    memset(room, 'l', 64);
    return 14 + number % 50;
}

/* Up to 5 pairs of a record, whose keys and values depend on it alone. value_size SIZE_MAX: 0 to 99 bytes. */
static void scatter(struct pmap_view record, struct outlet out, size_t value_size)
{
    uint64_t state = hash_bytes(record.data, record.size);
    size_t n = next_random(&state) % 6;
    char key[64];
    uint64_t value[4096 / 8];

    for (size_t i = 0; i < n; i++) {
        size_t key_size = key_of(next_random(&state) % (1 + next_random(&state) % 300), key);
        size_t size = value_size == SIZE_MAX ? next_random(&state) % 100 : value_size;
        for (size_t k = 0; k < (size + 7) / 8; k++)
            value[k] = next_random(&state);
        outlet_emit(out, key, key_size, value, size);
    }
}

static void scatter_any(struct pmap_view record, struct outlet out) { scatter(record, out, SIZE_MAX); }
MAP_RECORD(scatter_any)
static void scatter_8(struct pmap_view record, struct outlet out) { scatter(record, out, 8); }
MAP_RECORD(scatter_8)
static void scatter_0(struct pmap_view record, struct outlet out) { scatter(record, out, 0); }
MAP_RECORD(scatter_0)

MAP_RECORD(words)

static void words_of_piece(struct pmap_view piece, struct pmap_emitter *out)
{
    size_t n;
    struct pmap_view *lines = lines_of(piece.data, piece.size, &n);

    for (size_t i = 0; i < n; i++)
        words(lines[i], (struct outlet){out, NULL});
    free(lines);
}

/* Finite ones, NaNs and zeros of both signs. */
static void doubles(struct pmap_view record, struct outlet out)
{
    static const double some[] = {NAN, -0.0, 0.0, INFINITY, -INFINITY, 1.5, -2.25};
    uint64_t state = hash_bytes(record.data, record.size);

    for (size_t i = 0; i < 3; i++) {
        double number = some[next_random(&state) % 7], value = next_random(&state) % 2 ? some[next_random(&state) % 7] : (double)state;
        struct pmap_key8 key = pmap_key_f64(number);
        outlet_emit(out, key.bytes, 8, &value, sizeof value);
    }
}
MAP_RECORD(doubles)

/* ---- Combine ------------------------------------------------------------------------------------------- */

/* Several fields, each with an operation of its own. */
struct summary {
    int64_t n, least;
    uint64_t bits;
    char longest[16];
};

static void summaries(struct pmap_view record, struct outlet out)
{
    uint64_t state = hash_bytes(record.data, record.size);
    struct summary s = {1, (int64_t)state, state, ""};
    char key[64];

    snprintf(s.longest, sizeof s.longest, "%.*s", (int)record.size, (const char *)record.data);
    outlet_emit(out, key, key_of(state % 50, key), &s, sizeof s);
    outlet_emit(out, "all", 3, &s, sizeof s);
}
MAP_RECORD(summaries)

static void combine_summaries(void *acc, const void *value)
{
    struct summary *a = acc;
    const struct summary *b = value;

    a->n += b->n;
    a->least = b->least < a->least ? b->least : a->least;
    a->bits ^= b->bits;
    if (memcmp(b->longest, a->longest, sizeof a->longest) > 0)
        memcpy(a->longest, b->longest, sizeof a->longest);
}

/* Values of these sizes, combined byte by byte. */
#define SIZED(size_)                                                                                                   \
    static void scatter_sized_##size_(struct pmap_view record, struct outlet out) { scatter(record, out, size_); }    \
    MAP_RECORD(scatter_sized_##size_)                                                                                  \
    static void add_bytes_##size_(void *acc, const void *value)                                                        \
    {                                                                                                                  \
        unsigned char *a = acc;                                                                                        \
        const unsigned char *b = value;                                                                                \
        for (size_t i = 0; i < (size_); i++)                                                                           \
            a[i] = (unsigned char)(a[i] + b[i]);                                                                       \
    }                                                                                                                  \
    PMAP_MAPREDUCE(sized_##size_, .map_record = scatter_sized_##size_##_record, .combine = add_bytes_##size_, .value_size = size_)
SIZED(1);
SIZED(3);
SIZED(8);
SIZED(12);
SIZED(40);
SIZED(41);
SIZED(100);
SIZED(4096);

/* ---- Reduce -------------------------------------------------------------------------------------------- */

/* Depends on the values' order. */
static void digest(struct pmap_view key, struct inlet *values, struct outlet out)
{
    struct pmap_view value;
    uint64_t h = 0, n = 0;

    while (inlet_next(values, &value)) {
        h = h * 31 + hash_bytes(value.data, value.size);
        n += (uintptr_t)value.data % 8 == 0 || out.serial; /* the library aligns them */
    }
    uint64_t result[] = {h, n};
    outlet_emit(out, key.data, key.size, result, sizeof result);
}
REDUCE(digest)

static void first_only(struct pmap_view key, struct inlet *values, struct outlet out)
{
    struct pmap_view value;

    if (inlet_next(values, &value))
        outlet_emit(out, key.data, key.size, value.data, value.size);
}
REDUCE(first_only)

/* It does not look at them at all. */
static void no_values(struct pmap_view key, struct inlet *values, struct outlet out)
{
    (void)values;
    outlet_emit(out, key.data, key.size, "", 0);
}
REDUCE(no_values)

/* It asks once more when there are no more. */
static void asks_again(struct pmap_view key, struct inlet *values, struct outlet out)
{
    struct pmap_view value;
    uint64_t n = 0;

    while (inlet_next(values, &value))
        n++;
    for (int i = 0; i < 3; i++)
        n += 1000 * inlet_next(values, &value);
    outlet_emit(out, key.data, key.size, &n, sizeof n);
}
REDUCE(asks_again)

/* For some keys none, for others several: the same key, and such as come behind it and before the next. */
static void none_or_many(struct pmap_view key, struct inlet *values, struct outlet out)
{
    struct pmap_view value;
    char longer[80];

    for (uint64_t i = 0; hash_bytes(key.data, key.size) % 3 && inlet_next(values, &value); i++) {
        outlet_emit(out, key.data, key.size, value.data, value.size);
        if (key.size == 8 && i == 0) {
            memcpy(longer, key.data, 8);
            longer[8] = '\0';
            outlet_emit(out, longer, 8, &i, sizeof i);
        }
    }
}
REDUCE(none_or_many)

/* ---- Jobs ---------------------------------------------------------------------------------------------- */

PMAP_MAPREDUCE(wordcount, .map = words_of_piece, .combine = pmap_sum_i64);
PMAP_MAPREDUCE(wordcount_by_record, .map_record = words_record, .combine = pmap_sum_i64);
PMAP_MAPREDUCE(wordlist, .map_record = words_record);
PMAP_MAPREDUCE(grouped, .map_record = scatter_any_record);
PMAP_MAPREDUCE(keys_only, .map_record = scatter_0_record);
PMAP_MAPREDUCE(sums, .map_record = scatter_8_record, .combine = pmap_sum_i64);
PMAP_MAPREDUCE(minima, .map_record = scatter_8_record, .combine = pmap_min_i64);
PMAP_MAPREDUCE(maxima, .map_record = scatter_8_record, .combine = pmap_max_i64);
PMAP_MAPREDUCE(real_minima, .map_record = doubles_record, .combine = pmap_min_f64);
PMAP_MAPREDUCE(real_maxima, .map_record = doubles_record, .combine = pmap_max_f64);
PMAP_MAPREDUCE(summary, .map_record = summaries_record, .combine = combine_summaries, .value_size = sizeof(struct summary));
PMAP_MAPREDUCE(digests, .map_record = scatter_any_record, .reduce = digest_reduce);
PMAP_MAPREDUCE(digests_of_sums, .map_record = scatter_8_record, .combine = pmap_sum_i64, .reduce = digest_reduce);
PMAP_MAPREDUCE(firsts, .map_record = scatter_any_record, .reduce = first_only_reduce);
PMAP_MAPREDUCE(unseen, .map_record = scatter_any_record, .reduce = no_values_reduce);
PMAP_MAPREDUCE(again, .map_record = scatter_any_record, .reduce = asks_again_reduce);
PMAP_MAPREDUCE(some, .map_record = scatter_any_record, .reduce = none_or_many_reduce);

struct job {
    struct pmap_mapreduce *what;
    map_body *map;
    reduce_body *reduce;
};

/* Texts to read, whole and as lines. */
struct text {
    const char *path;
    char *bytes;
    struct pmap_view *lines;
    size_t size, n;
};

static struct text text_of(size_t lines)
{
    struct text t;

    t.bytes = random_lines(lines, lines, &t.size);
    t.path = write_file("text", t.bytes, t.size);
    t.lines = lines_of(t.bytes, t.size, &t.n);
    return t;
}

static void text_free(struct text *t)
{
    free(t->bytes);
    free(t->lines);
}

static struct pairs expected_of(const struct job *job, const struct text *t)
{
    return serial_mapreduce(job->map, job->what->combine, job->what->value_size, job->reduce, t->lines, t->n);
}

static void check_run(const struct job *job, const struct text *t, const struct pairs *expected, struct pmap_mapreduce_options o,
                      const char *how)
{
    const char *const paths[] = {t->path, NULL};
    struct pairs got = {0};

    o.size = sizeof o;
    o.input = PMAP_PATHS(paths);
    o.deliver = pairs_deliver;
    o.user = &got;
    o.error = &error;
    enum pmap_status status = pmap_mapreduce_with(the_pool, job->what, &o);
    if (CHECK_SAYING(status == PMAP_OK, "%s, %s: %s", job->what->task.name, how, error.text)) {
        size_t at = pairs_differ(expected, &got);
        CHECK_SAYING(at == SIZE_MAX, "%s, %s: %zu records, not %zu, and the first wrong is %zu", job->what->task.name, how, got.n, expected->n,
                     at);
    }
    pairs_free(&got);
}

static void check_jobs(const struct job jobs[], size_t n)
{
    struct text t = text_of(test_size(1000, 150));

    for (size_t i = 0; i < n; i++) {
        struct pairs expected = expected_of(&jobs[i], &t);
        check_run(&jobs[i], &t, &expected, (struct pmap_mapreduce_options){.partitions = 5}, "as it comes");
        check_run(&jobs[i], &t, &expected, (struct pmap_mapreduce_options){.split_size = 997, .partitions = 13, .retries = 1}, "staged");
        check_run(&jobs[i], &t, &expected, (struct pmap_mapreduce_options){.split_size = 5000, .partitions = 4, .order = PMAP_ORDER_RANGES},
                  "in ranges");
        pairs_free(&expected);
    }
    text_free(&t);
}

/* ---- Tests --------------------------------------------------------------------------------------------- */

static void pieces_and_records_are_counted_alike(void)
{
    static const struct job jobs[] = {{&wordcount_mapreduce, words, NULL}, {&wordcount_by_record_mapreduce, words, NULL}};
    check_jobs(jobs, 2);
}

static void groups_keep_the_order_of_the_input(void)
{
    static const struct job jobs[] = {{&grouped_mapreduce, scatter_any, NULL}, {&wordlist_mapreduce, words, NULL}};
    check_jobs(jobs, 2);
}

static void keys_need_no_values(void)
{
    static const struct job jobs[] = {{&keys_only_mapreduce, scatter_0, NULL}};
    check_jobs(jobs, 1);
}

static void values_are_folded(void)
{
    static const struct job jobs[] = {{&sums_mapreduce, scatter_8, NULL},       {&minima_mapreduce, scatter_8, NULL},
                                      {&maxima_mapreduce, scatter_8, NULL},     {&real_minima_mapreduce, doubles, NULL},
                                      {&real_maxima_mapreduce, doubles, NULL}};
    check_jobs(jobs, 5);
}

static void structs_are_folded(void)
{
    static const struct job jobs[] = {{&summary_mapreduce, summaries, NULL}};
    check_jobs(jobs, 1);
}

static void values_of_any_size_are_folded(void)
{
    static const struct job jobs[] = {
        {&sized_1_mapreduce, scatter_sized_1, NULL},   {&sized_3_mapreduce, scatter_sized_3, NULL},
        {&sized_8_mapreduce, scatter_sized_8, NULL},   {&sized_12_mapreduce, scatter_sized_12, NULL},
        {&sized_40_mapreduce, scatter_sized_40, NULL}, {&sized_41_mapreduce, scatter_sized_41, NULL},
        {&sized_100_mapreduce, scatter_sized_100, NULL}, {&sized_4096_mapreduce, scatter_sized_4096, NULL}};
    check_jobs(jobs, 8);
}

static void reduce_sees_values_in_the_order_of_the_input(void)
{
    static const struct job jobs[] = {{&digests_mapreduce, scatter_any, digest}, {&digests_of_sums_mapreduce, scatter_8, digest}};
    check_jobs(jobs, 2);
}

static void reduce_need_not_see_all_values(void)
{
    static const struct job jobs[] = {{&firsts_mapreduce, scatter_any, first_only}, {&unseen_mapreduce, scatter_any, no_values}};
    check_jobs(jobs, 2);
}

static void reduce_may_ask_behind_the_last_value(void)
{
    static const struct job jobs[] = {{&again_mapreduce, scatter_any, asks_again}};
    check_jobs(jobs, 1);
}

static void reduce_emits_none_or_many(void)
{
    static const struct job jobs[] = {{&some_mapreduce, scatter_any, none_or_many}};
    check_jobs(jobs, 1);
}

/* From every byte to the whole. */
static void any_split_size_gives_the_same(void)
{
    static const struct job jobs[] = {{&grouped_mapreduce, scatter_any, NULL}, {&sums_mapreduce, scatter_8, NULL}};
    struct text t = text_of(test_size(60, 20));
    const size_t sizes[] = {1, 2, 3, 7, 31, 100, t.size - 1, t.size, t.size + 1, SIZE_MAX};

    for (size_t k = 0; k < 2; k++) {
        struct pairs expected = expected_of(&jobs[k], &t);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            char how[40];
            snprintf(how, sizeof how, "splits of %zu", sizes[i]);
            check_run(&jobs[k], &t, &expected, (struct pmap_mapreduce_options){.split_size = sizes[i], .partitions = 3}, how);
        }
        pairs_free(&expected);
    }
    text_free(&t);
}

static void any_number_of_partitions_gives_the_same(void)
{
    static const struct job job = {&digests_mapreduce, scatter_any, digest};
    static const size_t numbers[] = {0, 1, 2, 3, 64, 1000};
    struct text t = text_of(test_size(500, 50));
    struct pairs expected = expected_of(&job, &t);

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char how[40];
        snprintf(how, sizeof how, "%zu partitions", numbers[i]);
        check_run(&job, &t, &expected, (struct pmap_mapreduce_options){.partitions = numbers[i]}, how);
        check_run(&job, &t, &expected, (struct pmap_mapreduce_options){.partitions = numbers[i], .order = PMAP_ORDER_RANGES}, how);
    }
    pairs_free(&expected);
    text_free(&t);
}

static void any_memory_gives_the_same(void)
{
    static const struct job jobs[] = {{&digests_mapreduce, scatter_any, digest}, {&sized_100_mapreduce, scatter_sized_100, NULL}};
    static const size_t memories[] = {(size_t)1 << 20, (size_t)3 << 20, (size_t)1 << 40};
    struct text t = text_of(test_size(10000, 500));

    for (size_t k = 0; k < 2; k++) {
        struct pairs expected = expected_of(&jobs[k], &t);
        for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
            check_run(&jobs[k], &t, &expected, (struct pmap_mapreduce_options){.memory = memories[i], .split_size = 20000}, "memory");
        pairs_free(&expected);
    }
    text_free(&t);
}

/* ---- Keys ---------------------------------------------------------------------------------------------- */

/* A pair of nothing, one of the longest key, and others that begin like it. */
static void long_keys(struct pmap_view record, struct outlet out)
{
    size_t size = PMAP_KEY_MAX;
    char *key = calloc(1, size);

    memset(key, *(const char *)record.data, size);
    outlet_emit(out, "", 0, "", 0);
    outlet_emit(out, key, size, "long", 4);
    outlet_emit(out, key, size - 1, "shorter", 7);
    key[size - 1] = '\0';
    outlet_emit(out, key, size, "zero", 4);
    free(key);
}
MAP_RECORD(long_keys)
PMAP_MAPREDUCE(longest, .map_record = long_keys_record);

static void count_long_keys(struct pmap_view record, struct outlet out)
{
    char *key = calloc(1, PMAP_KEY_MAX);
    int64_t one = 1;

    memset(key, *(const char *)record.data, PMAP_KEY_MAX);
    outlet_emit(out, key, PMAP_KEY_MAX, &one, sizeof one);
    outlet_emit(out, "", 0, &one, sizeof one);
    outlet_emit(out, key, 100000, &one, sizeof one);
    outlet_emit(out, key, PMAP_KEY_MAX, &one, sizeof one);
    free(key);
}
MAP_RECORD(count_long_keys)
PMAP_MAPREDUCE(longest_counts, .map_record = count_long_keys_record, .combine = pmap_sum_i64);

static void keys_are_as_long_as_may_be(void)
{
    static const struct job jobs[] = {{&longest_mapreduce, long_keys, NULL}, {&longest_counts_mapreduce, count_long_keys, NULL}};
    struct text t = {.bytes = strdup("a\n"), .size = 2};

    t.path = write_file("text", t.bytes, t.size);
    t.lines = lines_of(t.bytes, t.size, &t.n);
    for (size_t k = 0; k < 2; k++) {
        struct pairs expected = expected_of(&jobs[k], &t);
        check_run(&jobs[k], &t, &expected, (struct pmap_mapreduce_options){.split_size = 2, .partitions = 3, .memory = 1 << 20}, "little memory");
        pairs_free(&expected);
    }
    text_free(&t);
}

/* ---- What functions can ask ---------------------------------------------------------------------------- */

static void tell_source(struct pmap_view piece, struct pmap_emitter *out)
{
    struct pmap_source_of source = pmap_emitter_source(out);
    struct pmap_view arg = pmap_emitter_arg(out);
    struct pmap_key8 key = pmap_key_u64(source.offset);
    char value[200];
    int size = snprintf(value, sizeof value, "%.*s file %zu %s: %.*s", (int)arg.size, (const char *)arg.data, source.file,
                        strrchr(source.path, '/') + 1, (int)piece.size, (const char *)piece.data);

    pmap_emit(out, key.bytes, 8, value, (size_t)size);
}
PMAP_MAPREDUCE(sources, .map_record = tell_source);

static void functions_know_the_argument_and_the_source(void)
{
    const char *first = write_file("first", "one\ntwo\n", 8), *second = write_file("second", "drei\nvier", 9);
    struct pairs got = {0};
    char arg[] = "arg";

    CHECK_STATUS(pmap_mapreduce(the_pool, sources, PMAP_FILES(first, second), .arg = arg, .arg_size = 3, .split_size = 2,
                                .deliver = pairs_deliver, .user = &got), PMAP_OK);
    if (CHECK_INT(got.n, 4)) {
        static const char *const expected[] = {"arg file 0 first: one", "arg file 1 second: drei", "arg file 0 first: two",
                                               "arg file 1 second: vier"};
        static const uint64_t offsets[] = {0, 0, 4, 5};
        for (size_t i = 0; i < 4; i++) {
            CHECK_SAYING(got.pairs[i].value_size == strlen(expected[i]) &&
                         memcmp(got.pairs[i].value, expected[i], got.pairs[i].value_size) == 0,
                         "%.*s, not %s", (int)got.pairs[i].value_size, got.pairs[i].value, expected[i]);
            CHECK_INT(pmap_u64_key((struct pmap_view){got.pairs[i].key, 8}), offsets[i]);
        }
    }
    pairs_free(&got);
}

/* ---- A partition function ------------------------------------------------------------------------------ */

static size_t by_last_byte(struct pmap_view key, size_t n)
{
    return key.size ? ((const unsigned char *)key.data)[key.size - 1] % n : 0;
}
PMAP_MAPREDUCE(placed, .map_record = scatter_any_record, .partition = by_last_byte, .reduce = digest_reduce);
PMAP_MAPREDUCE(placed_sums, .map_record = scatter_8_record, .combine = pmap_sum_i64, .partition = by_last_byte);

static void partitions_may_be_chosen(void)
{
    static const struct job jobs[] = {{&placed_mapreduce, scatter_any, digest}, {&placed_sums_mapreduce, scatter_8, NULL}};
    struct text t = text_of(test_size(1000, 100));

    for (size_t i = 0; i < 2; i++) {
        struct pairs expected = expected_of(&jobs[i], &t);
        check_run(&jobs[i], &t, &expected, (struct pmap_mapreduce_options){.partitions = 7}, "as it comes");
        check_run(&jobs[i], &t, &expected, (struct pmap_mapreduce_options){.split_size = 997, .partitions = 300, .retries = 2}, "staged");
        pairs_free(&expected);
    }
    text_free(&t);
}

static const struct test tests[] = {
    TEST(pieces_and_records_are_counted_alike),
    TEST(groups_keep_the_order_of_the_input),
    TEST(keys_need_no_values),
    TEST(values_are_folded),
    TEST(structs_are_folded),
    TEST(values_of_any_size_are_folded),
    TEST(reduce_sees_values_in_the_order_of_the_input),
    TEST(reduce_need_not_see_all_values),
    TEST(reduce_may_ask_behind_the_last_value),
    TEST(reduce_emits_none_or_many),
    TEST(any_split_size_gives_the_same),
    TEST(any_number_of_partitions_gives_the_same),
    TEST(any_memory_gives_the_same),
    TEST(keys_are_as_long_as_may_be),
    TEST(functions_know_the_argument_and_the_source),
    TEST(partitions_may_be_chosen),
    {NULL, NULL},
};

int main(int argc, char *argv[])
{
    int status = test_main_with_pool(argc, argv, tests, "t1 t4 r1 r3 r2t2 v2t2");
    files_remove();
    return status;
}
