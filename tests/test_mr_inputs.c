/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What pmap_mapreduce reads: files of every kind, arrays, generators, and datasets of former calls. Each record comes to one map function, once, and says
 * where it is from.
 */
#include "harness.h"
#include "mapreduce/near.h"
#include "mr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

static struct pmap_error error;

/* ---- Jobs ---------------------------------------------------------------------------------------------- */

/* Each record, by its place in the input. */
static void list_record(struct pmap_view record, struct pmap_emitter *out)
{
    struct pmap_source_of source = pmap_emitter_source(out);
    struct pmap_key8 key[2] = {pmap_key_u64(source.file), pmap_key_u64(source.offset)};

    pmap_emit(out, key, sizeof key, record.data, record.size);
}

/* ">…" begins one at the beginning of a line. */
static size_t border_of_paragraph(const char *data, size_t size)
{
    const char *at = memmem(data, size, "\n>", 2);
    return at ? (size_t)(at - data) + 1 : 0;
}

PMAP_MAPREDUCE(listed, .map_record = list_record);
PMAP_MAPREDUCE(listed_pieces, .map = list_record);

/* Every second page of a file is near, to whoever asks. */
static bool near_pages(const char *path, uint64_t offset)
{
    (void)path;
    return offset / 4096 % 2;
}
PMAP_MAPREDUCE(listed_near_first, .map_record = list_record, .near = near_pages);
PMAP_MAPREDUCE(listed_paragraphs, .map_record = list_record, .border = border_of_paragraph);

static void add_expected(struct pairs *expected, size_t file, size_t offset, const void *record, size_t size)
{
    struct pmap_key8 key[2] = {pmap_key_u64(file), pmap_key_u64(offset)};
    pairs_add(expected, key, sizeof key, record, size);
}

static void add_lines(struct pairs *expected, size_t file, const char *text, size_t size)
{
    size_t n;
    struct pmap_view *lines = lines_of(text, size, &n);

    for (size_t i = 0; i < n; i++)
        add_expected(expected, file, (size_t)((const char *)lines[i].data - text), lines[i].data, lines[i].size);
    free(lines);
}

/* For several ways to cut the input. */
static void check(struct pmap_mapreduce *what, struct pmap_input input, struct pmap_mapreduce_options o, const struct pairs *expected, uint64_t bytes)
{
    static const size_t sizes[] = {0, 1, 10, 4096};

    for (size_t i = bytes < 20000 ? 0 : 2; i < 4; i++) {
        struct pairs got = {0};
        struct pmap_mapreduce_stats stats = {0};
        o.size = sizeof o;
        o.input = input;
        o.split_size = sizes[i];
        o.partitions = 3;
        o.deliver = pairs_deliver;
        o.user = &got;
        o.stats = &stats;
        o.error = &error;
        enum pmap_status status = pmap_mapreduce_with(the_pool, what, &o);
        if (CHECK_SAYING(status == PMAP_OK, "splits of %zu: %s", sizes[i], error.text)) {
            size_t at = pairs_differ(expected, &got);
            CHECK_SAYING(at == SIZE_MAX, "splits of %zu: %zu records, not %zu, and the first wrong is %zu", sizes[i], got.n, expected->n, at);
            CHECK_INT(stats.bytes_in, bytes);
        }
        pairs_free(&got);
    }
}

static void check_paths(const char *const paths[], struct pairs *expected, uint64_t bytes)
{
    check(&listed_mapreduce, PMAP_PATHS(paths), (struct pmap_mapreduce_options){.retries = 0}, expected, bytes);
    pairs_free(expected);
}

/* ---- Files --------------------------------------------------------------------------------------------- */

static void files_come_in_the_order_that_is_given(void)
{
    struct pairs expected = {0};
    const char *const paths[] = {write_file("b", "b1\n\nb3\n", 7), write_file("empty", "", 0), write_file("a", "a1\na2", 5), files_path("b"),
                                 NULL};

    add_lines(&expected, 0, "b1\n\nb3\n", 7);
    add_lines(&expected, 2, "a1\na2", 5);
    add_lines(&expected, 3, "b1\n\nb3\n", 7);
    check_paths(paths, &expected, 19);
}

static void directories_and_globs_stand_for_files(void)
{
    struct pairs expected = {0};

    make_directory("dir");
    make_directory("dir/below");
    write_file("dir/below/not", "not this\n", 9);
    write_file("dir/.hidden", "nor this\n", 9);
    write_file("dir/two", "two\n", 4);
    write_file("dir/one", "one\n", 4);
    write_file("x1.txt", "x1", 2);
    write_file("x2.txt", "x2\n", 3);
    write_file("x3.dat", "x3\n", 3);
    const char *const paths[] = {files_path("dir"), files_path("x*.txt"), files_path("dir/"), NULL};
    add_lines(&expected, 0, "one\n", 4);
    add_lines(&expected, 1, "two\n", 4);
    add_lines(&expected, 2, "x1", 2);
    add_lines(&expected, 3, "x2\n", 3);
    add_lines(&expected, 4, "one\n", 4);
    add_lines(&expected, 5, "two\n", 4);
    check_paths(paths, &expected, 21);
}

static void no_byte_is_no_record(void)
{
    struct pairs expected = {0};

    make_directory("nothing");
    const char *const empty[] = {write_file("empty", "", 0), NULL}, *const none[] = {files_path("nothing"), NULL};
    check_paths(empty, &expected, 0);
    check_paths(none, &expected, 0);
}

static void pieces_are_whole_lines(void)
{
    size_t size;
    char *text = random_lines(test_size(5000, 100), 3, &size);
    struct pairs got = {0};
    size_t at = 0;

    CHECK_STATUS(pmap_mapreduce(the_pool, listed_pieces, PMAP_FILES(write_file("text", text, size)), .split_size = 700, .deliver = pairs_deliver,
                                .user = &got), PMAP_OK);
    for (size_t i = 0; i < got.n; i++) {
        const struct pair *p = &got.pairs[i];
        bool next = pmap_u64_key((struct pmap_view){p->key + 8, 8}) == at && p->value_size > 0 && at + p->value_size <= size;
        if (!CHECK_SAYING(next && memcmp(text + at, p->value, p->value_size) == 0 && p->value[p->value_size - 1] == '\n', "piece %zu", i))
            break;
        at += p->value_size;
    }
    CHECK_INT(at, size);
    pairs_free(&got);
    free(text);
}

static const char *write_gz(const char *name, const char *text, size_t size)
{
    const char *path = files_path("%s", name);
    gzFile file = gzopen(path, "wb");

    CHECK(file && gzwrite(file, text, (unsigned)size) == (int)size && gzclose(file) == Z_OK);
    return path;
}

static const char *write_zst(const char *name, const char *text, size_t size)
{
    size_t room = ZSTD_compressBound(size);
    void *packed = malloc(room);
    const char *path = write_file(name, packed, ZSTD_compress(packed, room, text, size, 1));

    free(packed);
    return path;
}

static void packed_files_are_read_as_what_is_in_them(void)
{
    size_t size;
    char *text = random_lines(test_size(20000, 200), 7, &size);
    struct pairs expected = {0};
    const char *const paths[] = {write_gz("t.gz", text, size), write_file("t", text, size), write_zst("t.zst", text, size - 1), NULL};

    for (size_t i = 0; i < 3; i++)
        add_lines(&expected, i, text, i == 2 ? size - 1 : size);
    check_paths(paths, &expected, 3 * size - 1);
    free(text);
}

/* Ranges are found by sampling; a packed file has no middle to look at. */
static void ranges_of_packed_files(void)
{
    size_t size;
    char *text = random_lines(test_size(3000, 200), 9, &size);
    struct pairs expected = {0};
    const char *const paths[] = {write_gz("t.gz", text, size), write_zst("t.zst", text, size), NULL};

    add_lines(&expected, 0, text, size);
    add_lines(&expected, 1, text, size);
    check(&listed_mapreduce, PMAP_PATHS(paths), (struct pmap_mapreduce_options){.order = PMAP_ORDER_RANGES}, &expected, 2 * size);
    pairs_free(&expected);
    free(text);
}

static void records_of_a_fixed_size(void)
{
    char bytes[13 * 40];
    struct pairs expected = {0};

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7 % 251); /* newlines are bytes like others */
    for (size_t i = 0; i < 40; i++)
        add_expected(&expected, 0, 13 * i, bytes + 13 * i, 13);
    for (size_t i = 0; i < 40; i++)
        add_expected(&expected, 1, 13 * i, bytes + 13 * i, 13);
    const char *const paths[] = {write_file("fixed", bytes, sizeof bytes), write_gz("fixed.gz", bytes, sizeof bytes), NULL};
    check(&listed_mapreduce, PMAP_PATHS(paths), (struct pmap_mapreduce_options){.record_size = 13}, &expected, 2 * sizeof bytes);
    check(&listed_mapreduce, PMAP_PATHS(paths), (struct pmap_mapreduce_options){.record_size = 13, .order = PMAP_ORDER_RANGES}, &expected,
          2 * sizeof bytes);
    pairs_free(&expected);
}

static void records_between_borders(void)
{
    static const char text[] = "first\n>second\nwith > in it\n>third\n\n>\n>fifth";
    struct pairs expected = {0};
    const char *const paths[] = {write_file("paragraphs", text, sizeof text - 1), NULL};

    add_expected(&expected, 0, 0, text, 6);
    add_expected(&expected, 0, 6, text + 6, 21);
    add_expected(&expected, 0, 27, text + 27, 8);
    add_expected(&expected, 0, 35, text + 35, 2);
    add_expected(&expected, 0, 37, text + 37, sizeof text - 1 - 37);
    check(&listed_paragraphs_mapreduce, PMAP_PATHS(paths), (struct pmap_mapreduce_options){.record_max = 30}, &expected, sizeof text - 1);
    pairs_free(&expected);
}

/* ---- Arrays -------------------------------------------------------------------------------------------- */

static void check_array(size_t record_size, size_t n)
{
    char *array = test_array(n, record_size);
    struct pairs expected = {0};

    for (size_t i = 0; i < n * record_size; i++)
        array[i] = (char)(i * 31 + i / 256);
    for (size_t i = 0; i < n; i++)
        add_expected(&expected, 0, i * record_size, array + i * record_size, record_size);
    struct pmap_input input = {.kind = PMAP_INPUT_RECORDS, .records = n ? array : NULL, .record_size = record_size, .n = n};
    check(&listed_mapreduce, input, (struct pmap_mapreduce_options){.retries = 1}, &expected, n * record_size);
    check(&listed_mapreduce, input, (struct pmap_mapreduce_options){.order = PMAP_ORDER_RANGES}, &expected, n * record_size);
    pairs_free(&expected);
    free(array);
}

static void near_splits_change_no_result(void)
{
    size_t size;
    char *text = random_lines(test_size(5000, 500), 77, &size);
    struct pairs expected = {0};

    add_lines(&expected, 0, text, size);
    check(&listed_near_first_mapreduce, PMAP_FILES(write_file("near", text, size)), (struct pmap_mapreduce_options){0}, &expected, size);
    pairs_free(&expected);
    free(text);
}

/* The function that decides, alone: three ranks, and what is near to them. */
static void near_splits_go_first(void)
{
    static const char of_0[] = {1, 0, 0, 1, 0, 0, 1, 0}, of_2[] = {0, 0, 1, 1, 0, 0, 0, 0};
    static const struct { size_t rank, split; } turns[] = {{2, 2}, {1, 1}, {0, 0}, {2, 3}, {0, 6}, {2, 4}, {1, 5}, {0, 7}};
    const char *const near[] = {of_0, NULL, of_2};
    struct pmap__near *n;

    if (!CHECK_STATUS(pmap__near_create(8, 3, near, &n), PMAP_OK))
        return;
    for (size_t i = 0; i < sizeof turns / sizeof *turns; i++)
        CHECK_INT(pmap__near_next(n, turns[i].rank), turns[i].split);
    pmap__near_destroy(n);
    CHECK_STATUS(pmap__near_create(2, 3, near, &n), PMAP_OK); /* what is near to others is better than nothing */
    CHECK_INT(pmap__near_next(n, 1), 1);
    CHECK_INT(pmap__near_next(n, 1), 0);
    pmap__near_destroy(n);
}

static void arrays_of_any_size(void)
{
    static const size_t sizes[] = {1, 8, 13, 100, 5000}, ns[] = {0, 1, 2, 17, 200};

    for (size_t i = 0; i < 5; i++)
        for (size_t k = 0; k < 5; k++)
            check_array(sizes[i], ns[k]);
    check_array(100, test_size(20000, 300));
}

/* ---- Generators ---------------------------------------------------------------------------------------- */

/* Record i of n has i * i % most bytes of i. */
struct numbers {
    size_t i, n, most;
    char record[300000];
};

static bool next_number(void *state, struct pmap_view *record)
{
    struct numbers *s = state;

    if (s->i == s->n)
        return false;
    *record = (struct pmap_view){s->record, s->i * s->i % s->most};
    memset(s->record, (int)s->i, record->size);
    s->i++;
    return true;
}

static void check_generator(size_t n, size_t most)
{
    struct numbers *state = test_array(1, sizeof *state), *serial = test_array(1, sizeof *serial);
    struct pairs expected = {0}, got = {0};
    struct pmap_view record;

    *state = *serial = (struct numbers){.n = n, .most = most};
    for (size_t i = 0; next_number(serial, &record); i++)
        add_expected(&expected, 0, i, record.data, record.size);
    CHECK_STATUS(pmap_mapreduce(the_pool, listed, PMAP_RECORD_GENERATOR(next_number, state), .deliver = pairs_deliver, .user = &got), PMAP_OK);
    CHECK_SAYING(pairs_differ(&expected, &got) == SIZE_MAX, "%zu records of up to %zu bytes: the first wrong is %zu of %zu", n, most,
                 pairs_differ(&expected, &got), got.n);
    pairs_free(&expected);
    pairs_free(&got);
    free(state);
    free(serial);
}

static void generators_of_records_of_any_size(void)
{
    check_generator(0, 1);
    check_generator(1, 1);
    check_generator(test_size(10000, 500), 1); /* without a byte */
    check_generator(test_size(3000, 300), 9);
    check_generator(test_size(5000, 500), 500);
    check_generator(test_size(300, 20), 300000); /* some longer than a batch */
}

/* ---- Datasets ------------------------------------------------------------------------------------------ */

/* The same as words(), by the shorter way of a key that lies in the piece. */
static void words_in_place(struct pmap_view record, struct pmap_emitter *out)
{
    const char *at = record.data, *end = at + record.size;

    while (at < end) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        space = space ? space : end;
        pmap_emit_i64(out, at, (size_t)(space - at), 1);
        at = space + 1;
    }
}
PMAP_MAPREDUCE(counted, .map_record = words_in_place, .combine = pmap_sum_i64);

static void by_count(struct pmap_view key, struct pmap_view value, struct pmap_emitter *out)
{
    struct pmap_key8 count = pmap_key_i64(pmap_view_i64(value));
    pmap_emit(out, count.bytes, 8, key.data, key.size);
}

/* How many words there are with this count, and the first of them. */
static void count_group(struct pmap_view key, struct pmap_values *values, struct pmap_emitter *out)
{
    struct pmap_view value;
    char text[100];
    int64_t n = 0;

    while (pmap_values_next(values, &value))
        if (n++ == 0)
            snprintf(text, sizeof text, "%.*s", (int)value.size, (const char *)value.data);
    snprintf(text + strlen(text), sizeof text - strlen(text), " and %lld", (long long)n);
    pmap_emit(out, key.data, key.size, text, strlen(text));
}
PMAP_MAPREDUCE(histogram, .map_pair = by_count, .reduce = count_group);

static void same_pair(struct pmap_view key, struct pmap_view value, struct pmap_emitter *out)
{
    pmap_emit(out, key.data, key.size, value.data, value.size);
}
PMAP_MAPREDUCE(copied, .map_pair = same_pair);

static void sum_of_pair(struct pmap_view key, struct pmap_view value, struct pmap_emitter *out)
{
    (void)key;
    pmap_emit(out, "sum", 3, value.data, value.size);
}
PMAP_MAPREDUCE(summed, .map_pair = sum_of_pair, .combine = pmap_sum_i64);

struct three {
    char *bytes;
    struct pmap_view *lines;
    size_t size, n;
    const char *path;
    struct pairs counts;
    struct pmap_dataset *dataset;
};

static void three_begin(struct three *t, size_t memory, int retries)
{
    *t = (struct three){0};
    t->bytes = random_lines(test_size(3000, 200), 11, &t->size);
    t->path = write_file("text", t->bytes, t->size);
    t->lines = lines_of(t->bytes, t->size, &t->n);
    t->counts = serial_mapreduce(words, pmap_sum_i64, 8, NULL, t->lines, t->n);
    CHECK_STATUS(pmap_mapreduce(the_pool, counted, PMAP_FILES(t->path), .keep = &t->dataset, .split_size = 5000, .memory = memory,
                                .retries = retries, .partitions = 7), PMAP_OK);
    CHECK_INT(pmap_dataset_records(t->dataset), t->counts.n);
    CHECK_INT(pmap_dataset_bytes(t->dataset), pairs_bytes(&t->counts));
}

static void three_end(struct three *t)
{
    pmap_dataset_free(t->dataset);
    pairs_free(&t->counts);
    free(t->lines);
    free(t->bytes);
}

/* A word's count becomes its key, then counts are added up. */
static void three_calls_in_a_chain(void)
{
    for (int how = 0; how < 4; how++) {
        struct three t;
        struct pmap_dataset *second = NULL, *third = NULL;
        struct pairs got = {0};

        three_begin(&t, how % 2 ? 1 << 20 : 0, how / 2);
        CHECK_STATUS(pmap_mapreduce(the_pool, copied, PMAP_DATASET(t.dataset), .keep = &second, .partitions = 4, .retries = how / 2), PMAP_OK);
        CHECK_STATUS(pmap_mapreduce(the_pool, histogram, PMAP_DATASET(second), .keep = &third, .order = how / 2 ? PMAP_ORDER_RANGES : PMAP_ORDER_HASH),
                     PMAP_OK);
        pmap_dataset_free(second);
        CHECK_STATUS(pmap_mapreduce(the_pool, copied, PMAP_DATASET(third), .deliver = pairs_deliver, .user = &got), PMAP_OK);
        pmap_dataset_free(third);
        size_t words_of_all = 0, wrong = 0;
        for (size_t i = 0; i < got.n; i++) {
            int64_t count = pmap_i64_key((struct pmap_view){got.pairs[i].key, got.pairs[i].key_size});
            size_t n = 0;
            for (size_t k = 0; k < t.counts.n; k++)
                n += pmap_view_i64((struct pmap_view){t.counts.pairs[k].value, 8}) == count;
            char *and = memmem(got.pairs[i].value, got.pairs[i].value_size, " and ", 5);
            got.pairs[i].value[got.pairs[i].value_size] = '\0';
            wrong += and == NULL || strtoull(and + 5, NULL, 10) != n;
            words_of_all += n;
        }
        CHECK_INT(wrong, 0);
        CHECK_INT(words_of_all, t.counts.n);
        pairs_free(&got);
        three_end(&t);
    }
}

static void a_dataset_is_read_any_number_of_times(void)
{
    struct three t;
    int64_t total = 0;

    three_begin(&t, 0, 0);
    for (size_t i = 0; i < t.counts.n; i++)
        total += pmap_view_i64((struct pmap_view){t.counts.pairs[i].value, 8});
    for (int i = 0; i < 3; i++) {
        struct pairs all = {0}, sum = {0};
        CHECK_STATUS(pmap_mapreduce(the_pool, copied, PMAP_DATASET(t.dataset), .deliver = pairs_deliver, .user = &all, .partitions = 3 + (size_t)i,
                                    .order = i == 1 ? PMAP_ORDER_RANGES : PMAP_ORDER_HASH), PMAP_OK);
        CHECK(pairs_differ(&t.counts, &all) == SIZE_MAX);
        CHECK_STATUS(pmap_mapreduce(the_pool, summed, PMAP_DATASET(t.dataset), .deliver = pairs_deliver, .user = &sum), PMAP_OK);
        if (CHECK_INT(sum.n, 1))
            CHECK_INT(pmap_view_i64((struct pmap_view){sum.pairs[0].value, sum.pairs[0].value_size}), total);
        pairs_free(&all);
        pairs_free(&sum);
    }
    three_end(&t);
}

static void datasets_may_be_empty_or_none(void)
{
    struct pmap_dataset *dataset = NULL;
    struct pairs got = {0};

    CHECK_STATUS(pmap_mapreduce(the_pool, counted, PMAP_FILES(write_file("empty", "", 0)), .keep = &dataset), PMAP_OK);
    CHECK_INT(pmap_dataset_records(dataset), 0);
    CHECK_STATUS(pmap_mapreduce(the_pool, copied, PMAP_DATASET(dataset), .deliver = pairs_deliver, .user = &got), PMAP_OK);
    CHECK_STATUS(pmap_mapreduce(the_pool, copied, PMAP_DATASET(dataset), .deliver = pairs_deliver, .user = &got, .order = PMAP_ORDER_RANGES),
                 PMAP_OK);
    CHECK_INT(got.n, 0);
    pmap_dataset_free(dataset);
    pmap_dataset_free(NULL);
    CHECK_INT(pmap_dataset_records(NULL), 0);
}

/* Nothing is kept of a call that fails. */
static void a_failed_call_keeps_no_dataset(void)
{
    struct pmap_dataset *dataset = NULL;

    CHECK_STATUS(pmap_mapreduce(the_pool, counted, PMAP_FILES(files_path("missing")), .keep = &dataset, .error = &error), PMAP_EINVAL);
    CHECK(dataset == NULL);
}

static const struct test tests[] = {
    TEST(files_come_in_the_order_that_is_given),
    TEST(directories_and_globs_stand_for_files),
    TEST(no_byte_is_no_record),
    TEST(pieces_are_whole_lines),
    TEST(packed_files_are_read_as_what_is_in_them),
    TEST(ranges_of_packed_files),
    TEST(records_of_a_fixed_size),
    TEST(records_between_borders),
    TEST(near_splits_change_no_result),
    TEST(near_splits_go_first),
    TEST(arrays_of_any_size),
    TEST(generators_of_records_of_any_size),
    TEST(three_calls_in_a_chain),
    TEST(a_dataset_is_read_any_number_of_times),
    TEST(datasets_may_be_empty_or_none),
    TEST(a_failed_call_keeps_no_dataset),
    {NULL, NULL},
};

int main(int argc, char *argv[])
{
    int status = test_main_with_pool(argc, argv, tests, "t1 t2 r2 r3 r2t2 v2t2");
    files_remove();
    return status;
}
