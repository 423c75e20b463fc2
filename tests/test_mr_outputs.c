/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What pmap_mapreduce writes: files of a directory, one file, records for a function, or counters alone; in each format, and in the order that was
 * asked for.
 */
#include "harness.h"
#include "mr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct pmap_error error;

/* ---- Jobs ---------------------------------------------------------------------------------------------- */

MAP_RECORD(words)

static void whole_lines(struct pmap_view record, struct outlet out) { outlet_emit(out, record.data, record.size, "line", record.size % 5); }
MAP_RECORD(whole_lines)

static void one_key(struct pmap_view record, struct outlet out) { outlet_emit(out, "the key", 7, record.data, record.size); }
MAP_RECORD(one_key)

static void twice(struct pmap_view key, struct inlet *values, struct outlet out)
{
    (void)values;
    outlet_emit(out, key.data, key.size, "a", 1);
    outlet_emit(out, key.data, key.size, "b", 1);
}
REDUCE(twice)

/* Keys in the opposite order. */
static void upside_down(struct pmap_view key, struct inlet *values, struct outlet out)
{
    char other[64];
    struct pmap_view value;

    for (size_t i = 0; i < key.size && i < sizeof other; i++)
        other[i] = (char)~((const char *)key.data)[i];
    while (inlet_next(values, &value))
        outlet_emit(out, other, key.size < sizeof other ? key.size : sizeof other, value.data, value.size);
}
REDUCE(upside_down)

PMAP_MAPREDUCE(counts, .map_record = words_record, .combine = pmap_sum_i64, .value = PMAP_TYPE_I64);
PMAP_MAPREDUCE(sorted, .map_record = whole_lines_record);
PMAP_MAPREDUCE(keyless, .map_record = words_record, .combine = pmap_sum_i64, .key = PMAP_TYPE_NONE, .value = PMAP_TYPE_U64);
PMAP_MAPREDUCE(valueless, .map_record = words_record, .combine = pmap_sum_i64, .value = PMAP_TYPE_NONE);
PMAP_MAPREDUCE(single, .map_record = one_key_record);
PMAP_MAPREDUCE(doubled, .map_record = words_record, .reduce = twice_reduce);
PMAP_MAPREDUCE(inverted, .map_record = words_record, .reduce = upside_down_reduce, .value = PMAP_TYPE_I64);

/* ---- The input, and what comes out of it --------------------------------------------------------------- */

static struct {
    const char *path;
    char *bytes;
    struct pmap_view *lines;
    size_t size, n;
} text;

static void text_make(size_t lines)
{
    free(text.bytes);
    free(text.lines);
    text.bytes = random_lines(lines, 5, &text.size);
    text.path = write_file("text", text.bytes, text.size);
    text.lines = lines_of(text.bytes, text.size, &text.n);
}

/* What most tests read, whichever is the first. */
static void text_usual(void)
{
    if (text.path == NULL)
        text_make(test_size(3000, 300));
}

static struct pairs expected_of(const struct pmap_mapreduce *what, map_body *map, reduce_body *reduce)
{
    text_usual();
    return serial_mapreduce(map, what->combine, what->value_size, reduce, text.lines, text.n);
}

struct bytes {
    char *data;
    size_t size, room;
};

static void append(struct bytes *b, const void *data, size_t size)
{
    while (b->size + size > b->room) {
        b->room = 2 * b->room + 4096;
        b->data = realloc(b->data, b->room);
        if (b->data == NULL)
            abort();
    }
    if (size)
        memcpy(b->data + b->size, data, size);
    b->size += size;
}

/* Pairs as they should be written; values of numbers are integers here. */
static struct bytes formatted(const struct pairs *p, const struct pmap_mapreduce *what, enum pmap_format format, const char *separator)
{
    struct bytes b = {0};
    bool has_key = what->key != PMAP_TYPE_NONE, has_value = what->value != PMAP_TYPE_NONE;
    char number[32];

    for (size_t i = 0; i < p->n; i++) {
        const struct pair *q = &p->pairs[i];
        uint64_t sizes[2] = {has_key ? q->key_size : 0, has_value ? q->value_size : 0};
        int64_t value = 0;
        if (format == PMAP_FORMAT_BINARY)
            append(&b, sizes, sizeof sizes);
        append(&b, q->key, sizes[0]);
        if (format == PMAP_FORMAT_TEXT && has_key && has_value)
            append(&b, separator, strlen(separator));
        if (format == PMAP_FORMAT_TEXT && has_value && what->value != PMAP_TYPE_BYTES) {
            memcpy(&value, q->value, sizeof value);
            append(&b, number, (size_t)sprintf(number, "%lld", (long long)value));
        } else {
            append(&b, q->value, sizes[1]);
        }
        if (format == PMAP_FORMAT_TEXT)
            append(&b, "\n", 1);
    }
    return b;
}

static void check_file(const char *path, const struct bytes *expected)
{
    size_t size = 0, at = 0;
    char *got = read_file(path, &size);

    if (!CHECK_SAYING(got != NULL, "%s is not there", path))
        return;
    while (at < size && at < expected->size && got[at] == expected->data[at])
        at++;
    CHECK_SAYING(at == size && at == expected->size, "%s has %zu bytes, not %zu, and the first wrong is %zu", path, size, expected->size, at);
    free(got);
}

static enum pmap_status run(struct pmap_mapreduce *what, struct pmap_mapreduce_options o)
{
    text_usual();
    const char *const paths[] = {text.path, NULL};

    o.size = sizeof o;
    o.input = PMAP_PATHS(paths);
    o.error = &error;
    enum pmap_status status = pmap_mapreduce_with(the_pool, what, &o);
    CHECK_SAYING(status == PMAP_OK, "%s", error.text);
    return status;
}

/* ---- One file ------------------------------------------------------------------------------------------ */

static void check_one_file(struct pmap_mapreduce *what, map_body *map, reduce_body *reduce, enum pmap_format format, const char *separator)
{
    struct pairs expected = expected_of(what, map, reduce);
    struct bytes bytes = formatted(&expected, what, format, separator ? separator : "\t");
    const char *path = files_path("out/file");

    make_directory("out");
    for (int how = 0; how < 4; how++) {
        struct pmap_mapreduce_stats stats = {0};
        struct pmap_mapreduce_options o = {.output = path, .format = format, .separator = separator, .split_size = 3000, .stats = &stats,
                                           .order = how / 2 ? PMAP_ORDER_RANGES : PMAP_ORDER_HASH, .partitions = how % 2 ? 1 : 9};
        if (run(what, o) != PMAP_OK)
            continue;
        check_file(path, &bytes);
        CHECK_INT(stats.bytes_out, bytes.size);
        CHECK_INT(stats.records_out, expected.n);
    }
    CHECK_INT(files_in(files_path("out")), 1);
    free(bytes.data);
    pairs_free(&expected);
}

static void one_file_is_sorted(void)
{
    check_one_file(&counts_mapreduce, words, NULL, PMAP_FORMAT_TEXT, NULL);
    check_one_file(&sorted_mapreduce, whole_lines, NULL, PMAP_FORMAT_TEXT, NULL);
    check_one_file(&doubled_mapreduce, words, twice, PMAP_FORMAT_TEXT, NULL);
}

static void formats_are_as_described(void)
{
    check_one_file(&counts_mapreduce, words, NULL, PMAP_FORMAT_TEXT, " => ");
    check_one_file(&counts_mapreduce, words, NULL, PMAP_FORMAT_TEXT, "");
    check_one_file(&counts_mapreduce, words, NULL, PMAP_FORMAT_BINARY, NULL);
    check_one_file(&counts_mapreduce, words, NULL, PMAP_FORMAT_RAW, NULL);
    check_one_file(&sorted_mapreduce, whole_lines, NULL, PMAP_FORMAT_BINARY, NULL);
    check_one_file(&sorted_mapreduce, whole_lines, NULL, PMAP_FORMAT_RAW, NULL);
    check_one_file(&keyless_mapreduce, words, NULL, PMAP_FORMAT_TEXT, NULL);
    check_one_file(&valueless_mapreduce, words, NULL, PMAP_FORMAT_TEXT, NULL);
    check_one_file(&valueless_mapreduce, words, NULL, PMAP_FORMAT_BINARY, NULL);
    check_one_file(&valueless_mapreduce, words, NULL, PMAP_FORMAT_RAW, NULL);
}

/* Numbers as keys, negative ones among them. */
static void differences(struct pmap_view record, struct pmap_emitter *out)
{
    const double *numbers = record.data;
    struct pmap_key8 key = pmap_key_f64(numbers[0] - numbers[1]);
    pmap_emit_f64(out, key.bytes, 8, numbers[0] / 4);
}
PMAP_MAPREDUCE(reals, .map_record = differences, .key = PMAP_TYPE_F64, .value = PMAP_TYPE_F64);

static void whole_differences(struct pmap_view record, struct pmap_emitter *out)
{
    const double *numbers = record.data;
    struct pmap_key8 key = pmap_key_i64((int64_t)(numbers[0] - numbers[1]));
    pmap_emit_i64(out, key.bytes, 8, (int64_t)numbers[0]);
}
PMAP_MAPREDUCE(integers, .map_record = whole_differences, .key = PMAP_TYPE_I64, .value = PMAP_TYPE_I64);

static void numbers_are_sorted_as_numbers(void)
{
    static const double numbers[][2] = {{1, 3}, {-7, 5}, {100, 1}, {2, 2}, {0, 1000}, {3, 2.5}};
    static const struct bytes as_reals = {.data = "-1000\t0\n-12\t-1.75\n-2\t0.25\n0\t0.5\n0.5\t0.75\n99\t25\n", .size = 47};
    static const struct bytes as_integers = {.data = "-1000\t0\n-12\t-7\n-2\t1\n0\t2\n0\t3\n99\t100\n", .size = 35};
    const char *path = files_path("numbers");

    CHECK_STATUS(pmap_mapreduce(the_pool, reals, PMAP_RECORDS(numbers, 6), .output = path, .split_size = 16), PMAP_OK);
    check_file(path, &as_reals);
    CHECK_STATUS(pmap_mapreduce(the_pool, integers, PMAP_RECORDS(numbers, 6), .output = path, .order = PMAP_ORDER_RANGES), PMAP_OK);
    check_file(path, &as_integers);
    unlink(path);
}

static void links_stay_links(void)
{
    struct pairs expected = expected_of(&counts_mapreduce, words, NULL);
    struct bytes bytes = formatted(&expected, &counts_mapreduce, PMAP_FORMAT_TEXT, "\t");
    const char *link = files_path("link"), *target = write_file("target", "former", 6);
    struct stat found;

    CHECK(symlink("target", link) == 0);
    run(&counts_mapreduce, (struct pmap_mapreduce_options){.output = link});
    check_file(target, &bytes);
    CHECK(lstat(link, &found) == 0 && S_ISLNK(found.st_mode));
    free(bytes.data);
    pairs_free(&expected);
}

/* ---- A directory ---------------------------------------------------------------------------------------- */

static char *part(const char *directory, size_t i, size_t *size)
{
    char path[4096];

    snprintf(path, sizeof path, "%spart-%05zu", directory, i);
    return read_file(path, size);
}

/* The lines of all parts as pairs of line and nothing. Each part is sorted; in_turn: so are all of them in turn. */
static struct pairs read_parts(const char *directory, size_t n, bool in_turn)
{
    struct pairs all = {0};
    size_t size, lines, wrong = 0;

    for (size_t i = 0; i < n; i++) {
        char *bytes = part(directory, i, &size);
        if (!CHECK_SAYING(bytes != NULL, "part %zu is not there", i))
            continue;
        struct pmap_view *views = lines_of(bytes, size, &lines);
        for (size_t k = 0; k < lines; k++) {
            pairs_add(&all, views[k].data, views[k].size, "", 0);
            if ((k > 0 || in_turn) && all.n > 1) {
                struct pairs two = {0};
                pairs_add(&two, all.pairs[all.n - 2].key, (size_t)((char *)memchr(all.pairs[all.n - 2].key, '\t', 1000) - all.pairs[all.n - 2].key),
                          "", 0);
                pairs_add(&two, views[k].data, (size_t)((const char *)memchr(views[k].data, '\t', 1000) - (const char *)views[k].data), "", 0);
                pairs_sort(&two);
                wrong += two.pairs[0].number != 0;
                pairs_free(&two);
            }
        }
        free(views);
        free(bytes);
    }
    CHECK_INT(wrong, 0);
    return all;
}

static void check_parts(struct pmap_mapreduce *what, map_body *map, size_t n, enum pmap_order order)
{
    struct pairs expected = expected_of(what, map, NULL);
    struct bytes bytes = formatted(&expected, what, PMAP_FORMAT_TEXT, "\t");
    size_t lines;
    struct pmap_view *views = lines_of(bytes.data, bytes.size, &lines);
    struct pairs whole = {0};
    struct pmap_mapreduce_stats stats = {0};

    for (size_t i = 0; i < lines; i++)
        pairs_add(&whole, views[i].data, views[i].size, "", 0);
    if (run(what, (struct pmap_mapreduce_options){.output = files_path("parts/"), .partitions = n, .order = order, .split_size = 2000,
                                                  .stats = &stats}) == PMAP_OK) {
        struct pairs got = read_parts(files_path("parts/"), n, order == PMAP_ORDER_RANGES);
        if (order != PMAP_ORDER_RANGES) {
            pairs_sort(&got);
            pairs_sort(&whole);
        }
        CHECK_SAYING(pairs_differ(&whole, &got) == SIZE_MAX, "%zu partitions differ at line %zu", n, pairs_differ(&whole, &got));
        pairs_free(&got);
        CHECK_INT(stats.bytes_out, bytes.size);
        CHECK_INT(files_in(files_path("parts")), n);
    }
    pairs_free(&whole);
    free(views);
    free(bytes.data);
    pairs_free(&expected);
}

static void parts_are_sorted_each(void)
{
    check_parts(&counts_mapreduce, words, 12, PMAP_ORDER_HASH);
    check_parts(&sorted_mapreduce, whole_lines, 5, PMAP_ORDER_HASH);
    check_parts(&counts_mapreduce, words, 1, PMAP_ORDER_HASH);
}

static void ranges_are_sorted_from_part_to_part(void)
{
    check_parts(&counts_mapreduce, words, 12, PMAP_ORDER_RANGES);
    check_parts(&sorted_mapreduce, whole_lines, 40, PMAP_ORDER_RANGES);
    check_parts(&single_mapreduce, one_key, 3, PMAP_ORDER_RANGES);
}

/* More partitions than keys, and everything in one. */
static void ranges_of_few_keys(void)
{
    text_make(3);
    check_parts(&counts_mapreduce, words, 50, PMAP_ORDER_RANGES);
    check_one_file(&sorted_mapreduce, whole_lines, NULL, PMAP_FORMAT_TEXT, NULL);
    text_make(0);
    check_parts(&counts_mapreduce, words, 7, PMAP_ORDER_RANGES);
    check_one_file(&sorted_mapreduce, whole_lines, NULL, PMAP_FORMAT_TEXT, NULL);
    text.path = NULL;
    check_one_file(&single_mapreduce, one_key, NULL, PMAP_FORMAT_TEXT, NULL);
}

/* Ranges share the keys out. */
static void ranges_are_of_similar_size(void)
{
    struct pmap_mapreduce_stats stats = {0};

    text_make(test_size(20000, 2000));
    run(&sorted_mapreduce, (struct pmap_mapreduce_options){.output = files_path("parts/"), .partitions = 8, .order = PMAP_ORDER_RANGES,
                                                           .stats = &stats});
    /* A seventh of the lines are empty, and no two partitions can share those. */
    CHECK_SAYING(stats.partition_max < 3 * stats.partition_mean, "%llu bytes in the largest, %llu on average",
                 (unsigned long long)stats.partition_max, (unsigned long long)stats.partition_mean);
    text.path = NULL;
}

static void a_former_larger_output_is_trimmed(void)
{
    check_parts(&counts_mapreduce, words, 30, PMAP_ORDER_HASH);
    write_file("parts/part-0000x", "mine", 4);
    write_file("parts/notes", "mine", 4);
    CHECK(run(&counts_mapreduce, (struct pmap_mapreduce_options){.output = files_path("parts/"), .partitions = 4}) == PMAP_OK);
    CHECK_INT(files_in(files_path("parts")), 6);
    unlink(files_path("parts/part-0000x"));
    unlink(files_path("parts/notes"));
}

static size_t by_first_byte(struct pmap_view key, size_t n) { return key.size ? ((const unsigned char *)key.data)[key.size - 1] % n : 0; }
PMAP_MAPREDUCE(placed, .map_record = words_record, .combine = pmap_sum_i64, .value = PMAP_TYPE_I64, .partition = by_first_byte);

static void parts_have_the_keys_that_the_function_says(void)
{
    size_t size, n, wrong = 0;

    run(&placed_mapreduce, (struct pmap_mapreduce_options){.output = files_path("placed/"), .partitions = 7});
    for (size_t i = 0; i < 7; i++) {
        char *bytes = part(files_path("placed/"), i, &size);
        struct pmap_view *lines = lines_of(bytes ? bytes : "", bytes ? size : 0, &n);
        for (size_t k = 0; k < n; k++) {
            size_t key_size = (size_t)((const char *)memchr(lines[k].data, '\t', lines[k].size) - (const char *)lines[k].data);
            wrong += by_first_byte((struct pmap_view){lines[k].data, key_size}, 7) != i;
        }
        free(lines);
        free(bytes);
    }
    CHECK_INT(wrong, 0);
}

/* What is in a partition does not depend on how the input is cut, on memory, or on retries. */
static void parts_are_the_same_however_they_are_made(void)
{
    static const struct pmap_mapreduce_options ways[] = {{.split_size = 500}, {.memory = 1 << 20}, {.retries = 1}, {.split_size = SIZE_MAX}};
    struct pmap_mapreduce *const jobs[] = {&counts_mapreduce, &sorted_mapreduce, &inverted_mapreduce};
    size_t size;

    for (size_t j = 0; j < 6; j++) {
        struct pmap_mapreduce_options o = {.output = files_path("first/"), .partitions = 6, .order = j / 3 ? PMAP_ORDER_RANGES : PMAP_ORDER_HASH};
        run(jobs[j % 3], o);
        for (size_t w = 0; w < 4; w++) {
            struct pmap_mapreduce_options other = ways[w];
            other.output = files_path("second/");
            other.partitions = 6;
            other.order = o.order;
            run(jobs[j % 3], other);
            for (size_t i = 0; i < 6; i++) {
                struct bytes b = {.data = part(files_path("first/"), i, &size)};
                char path[4096];
                b.size = size;
                snprintf(path, sizeof path, "%spart-%05zu", files_path("second/"), i);
                check_file(path, &b);
                free(b.data);
            }
        }
    }
}

/* ---- A function ----------------------------------------------------------------------------------------- */

struct stopper {
    struct pairs got;
    size_t most;
    bool other_thread;
};

static _Thread_local bool here;

static bool stop_at(void *user, struct pmap_view key, struct pmap_view value)
{
    struct stopper *s = user;
    s->other_thread |= !here;
    pairs_deliver(&s->got, key, value);
    return s->got.n < s->most;
}

static void deliver_is_called_in_order_by_the_caller(void)
{
    struct pairs expected = expected_of(&counts_mapreduce, words, NULL);

    here = true;
    for (int order = PMAP_ORDER_HASH; order <= PMAP_ORDER_RANGES; order++) {
        struct stopper s = {.most = SIZE_MAX};
        run(&counts_mapreduce, (struct pmap_mapreduce_options){.deliver = stop_at, .user = &s, .order = (enum pmap_order)order});
        CHECK(pairs_differ(&expected, &s.got) == SIZE_MAX);
        CHECK(!s.other_thread);
        pairs_free(&s.got);
    }
    here = false;
    pairs_free(&expected);
}

static void deliver_may_stop_the_call(void)
{
    text_usual();

    const char *const paths[] = {text.path, NULL};

    for (int order = PMAP_ORDER_HASH; order <= PMAP_ORDER_RANGES; order++) {
        struct stopper s = {.most = 3};
        CHECK_STATUS(pmap_mapreduce(the_pool, counts, PMAP_PATHS(paths), .deliver = stop_at, .user = &s, .error = &error,
                                    .order = (enum pmap_order)order), PMAP_ECANCELLED);
        CHECK_INT(s.got.n, 3);
        CHECK_NAMES(error.text, "deliver");
        pairs_free(&s.got);
    }
}

/* One sequence is in order of the keys that reduce emits; strung together from ranges it is in order of those that map emitted. */
static void reduce_may_emit_keys_in_any_order(void)
{
    text_usual();

    const char *const paths[] = {text.path, NULL};
    struct pairs got = {0}, expected = expected_of(&inverted_mapreduce, words, upside_down);

    CHECK_STATUS(pmap_mapreduce(the_pool, inverted, PMAP_PATHS(paths), .deliver = pairs_deliver, .user = &got, .order = PMAP_ORDER_RANGES),
                 PMAP_OK);
    CHECK(pairs_differ(&expected, &got) == SIZE_MAX);
    pairs_free(&got);
    pairs_sort(&expected);
    CHECK_STATUS(pmap_mapreduce(the_pool, inverted, PMAP_PATHS(paths), .deliver = pairs_deliver, .user = &got), PMAP_OK);
    CHECK(pairs_differ(&expected, &got) == SIZE_MAX);
    pairs_free(&got);
    pairs_free(&expected);
}

/* Parts that are ranges are the same, too, whatever there is of memory and however the input is cut. */
static void parts_of_ranges_depend_on_the_input_alone(void)
{
    text_make(test_size(60000, 3000)); /* some MiB: larger than what is sampled at one place */

    const char *const paths[] = {text.path, NULL};
    struct pmap_mapreduce_options o = {.size = sizeof o, .input = PMAP_PATHS(paths), .output = files_path("ranges/"), .partitions = 7,
                                       .order = PMAP_ORDER_RANGES, .error = &error};
    char *whole[7];
    size_t sizes[7], size;

    for (size_t i = 0; i < 3; i++) {
        o.memory = i == 1 ? (size_t)2 << 20 : 0;
        o.split_size = i == 2 ? 10000 : 0;
        CHECK_STATUS(pmap_mapreduce_with(the_pool, &sorted_mapreduce, &o), PMAP_OK);
        for (size_t p = 0; p < 7; p++) {
            char *bytes = part(o.output, p, i ? &size : &sizes[p]);
            CHECK(bytes != NULL);
            if (i == 0) {
                whole[p] = bytes;
                continue;
            }
            CHECK_SAYING(bytes && whole[p] && size == sizes[p] && memcmp(bytes, whole[p], size) == 0, "part %zu, %s", p,
                         i == 1 ? "little memory" : "small splits");
            free(bytes);
        }
    }
    for (size_t p = 0; p < 7; p++)
        free(whole[p]);
    text.path = NULL; /* the others want the usual one */
}

/* ---- Counters ------------------------------------------------------------------------------------------- */

static void counters_are_right(void)
{
    struct pairs expected = expected_of(&counts_mapreduce, words, NULL), all = {0};
    struct pmap_mapreduce_stats s = {0};

    for (size_t i = 0; i < text.n; i++)
        words(text.lines[i], (struct outlet){NULL, &all});
    for (int retries = 0; retries < 2; retries++) {
        run(&counts_mapreduce, (struct pmap_mapreduce_options){.stats = &s, .split_size = 1000, .retries = retries});
        CHECK_INT(s.splits, (text.size + 999) / 1000);
        CHECK_INT(s.bytes_in, text.size);
        CHECK_INT(s.pairs, all.n);
        CHECK_INT(s.pair_bytes, pairs_bytes(&all));
        CHECK_INT(s.keys, expected.n);
        CHECK_INT(s.records_out, expected.n);
        CHECK_INT(s.bytes_out, pairs_bytes(&expected));
        CHECK_INT(s.largest_values, 1); /* the folded one */
        CHECK_INT(s.spills, 0);
        CHECK(s.combined < all.n);
        CHECK(test_ranks() == 1 ? s.shuffled_bytes == 0 : s.shuffled_bytes > 0);
        CHECK(s.memory_peak > 0 && s.memory_peak <= s.memory_limit);
        CHECK(s.partition_max >= s.partition_mean && s.partition_mean > 0);
        CHECK(s.map_seconds > 0 && s.flush_seconds > 0 && s.reduce_seconds > 0 && s.output_seconds >= 0);
    }
    pairs_free(&all);
    pairs_free(&expected);
}

/* A pair of each line, and one more for each that is not empty. */
static void two_kinds(struct pmap_view record, struct outlet out)
{
    outlet_emit(out, "popular key that is longer than what a counter has room for: 64 bytes", 69, record.data, record.size);
    if (record.size)
        outlet_emit(out, record.data, record.size, "", 0);
}
MAP_RECORD(two_kinds)
PMAP_MAPREDUCE(popular, .map_record = two_kinds_record, .reduce = twice_reduce);

static void the_largest_key_is_named(void)
{
    text_usual();

    struct pmap_mapreduce_stats s = {0};

    run(&popular_mapreduce, (struct pmap_mapreduce_options){.stats = &s, .split_size = 1000});
    CHECK_INT(s.largest_values, text.n);
    CHECK_INT(s.largest_bytes, text.size - text.n);
    CHECK_INT(strlen(s.largest_key), 63);
    CHECK(strncmp(s.largest_key, "popular key that", 16) == 0);
    CHECK_INT(s.records_out, 2 * s.keys);
}

/* ---- Outputs that cannot be ----------------------------------------------------------------------------- */

static void check_refused(const char *output)
{
    const char *const paths[] = {text.path, NULL};

    CHECK_STATUS(pmap_mapreduce(the_pool, counts, PMAP_PATHS(paths), .output = output, .error = &error), PMAP_EINVAL);
    CHECK_SAYING(strstr(error.text, output) != NULL, "%s is not named: %s", output, error.text);
}

static void outputs_that_cannot_be_are_named(void)
{
    text_usual();

    make_directory("there");
    check_refused(files_path("missing/file"));
    check_refused(files_path("there"));
    check_refused(files_path("missing/parts/"));
    check_refused(files_path("text/"));
    check_refused("/dev/null");
    check_refused(files_path("text/part"));
    CHECK_STATUS(run(&counts_mapreduce, (struct pmap_mapreduce_options){.output = files_path("there/")}), PMAP_OK);
}

/* Of each part, from its beginning to the last one's end, only a name is held. */
static void parts_are_more_than_files_may_be_open(void)
{
    struct rlimit former, few = {64, 64};

    if (test_processes() > 1) {
        test_skip("a limit on open files is one of a process");
        return;
    }
    getrlimit(RLIMIT_NOFILE, &former);
    few.rlim_max = former.rlim_max;
    setrlimit(RLIMIT_NOFILE, &few);
    check_parts(&counts_mapreduce, words, 300, PMAP_ORDER_HASH);
    check_parts(&counts_mapreduce, words, 200, PMAP_ORDER_RANGES);
    setrlimit(RLIMIT_NOFILE, &former);
}

static const struct test tests[] = {
    TEST(one_file_is_sorted),
    TEST(formats_are_as_described),
    TEST(numbers_are_sorted_as_numbers),
    TEST(links_stay_links),
    TEST(parts_are_sorted_each),
    TEST(ranges_are_sorted_from_part_to_part),
    TEST(ranges_of_few_keys),
    TEST(ranges_are_of_similar_size),
    TEST(a_former_larger_output_is_trimmed),
    TEST(parts_have_the_keys_that_the_function_says),
    TEST(parts_are_more_than_files_may_be_open),
    TEST(parts_are_the_same_however_they_are_made),
    TEST(deliver_is_called_in_order_by_the_caller),
    TEST(deliver_may_stop_the_call),
    TEST(reduce_may_emit_keys_in_any_order),
    TEST(parts_of_ranges_depend_on_the_input_alone),
    TEST(counters_are_right),
    TEST(the_largest_key_is_named),
    TEST(outputs_that_cannot_be_are_named),
    {NULL, NULL},
};

int main(int argc, char *argv[])
{
    int status = test_main_with_pool(argc, argv, tests, "t1 t2 r1 r3 r2t2 v2t2");
    files_remove();
    free(text.bytes);
    free(text.lines);
    return status;
}
