/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Map-reduces that fail: what is said of it, that nothing is left of them, neither in files nor in the pool, and that what is run again counts once.
 */
#include "board.h"
#include "harness.h"
#include "mr.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zlib.h>

static struct pmap_error error;

/* Cells of the board: calls of functions that may fail, items that hold a worker, what lets them go. */
enum { CALLS, HELD, OPEN, RAN };

/* ---- A good job ----------------------------------------------------------------------------------------- */

MAP_RECORD(words)
PMAP_MAPREDUCE(good, .map_record = words_record, .combine = pmap_sum_i64, .value = PMAP_TYPE_I64);

static struct {
    const char *path;
    char *bytes;
    struct pmap_view *lines;
    size_t size, n;
    struct pairs counts;
} text;

static void text_free(void)
{
    free(text.bytes);
    free(text.lines);
    pairs_free(&text.counts);
}

/* The same for all tests, whichever is the first to need it. */
static void text_make(void)
{
    if (text.path)
        return;
    text.bytes = random_lines(test_size(2000, 200), 21, &text.size);
    text.path = write_file("text", text.bytes, text.size);
    text.lines = lines_of(text.bytes, text.size, &text.n);
    text.counts = serial_mapreduce(words, pmap_sum_i64, 8, NULL, text.lines, text.n);
}

/* The pool works as if nothing had been. */
static void check_good(void)
{
    struct pairs got = {0};

    CHECK_STATUS(pmap_mapreduce(the_pool, good, PMAP_FILES(text.path), .deliver = pairs_deliver, .user = &got, .split_size = 3000), PMAP_OK);
    CHECK(pairs_differ(&text.counts, &got) == SIZE_MAX);
    pairs_free(&got);
}

/* Into each kind of output: it fails, the former output is untouched, and nothing is left beside it. */
static void check_fails(struct pmap_mapreduce *what, struct pmap_mapreduce_options o, enum pmap_status expected)
{
    struct pmap_dataset *dataset = NULL;
    struct pairs got = {0};
    struct pmap_mapreduce_stats untouched = {.splits = 77};
    size_t size;

    text_make();
    o.size = sizeof o;
    o.error = &error;
    o.stats = &untouched;
    make_directory("out");
    make_directory("out/parts");
    write_file("out/file", "former", 6);
    write_file("out/parts/part-00000", "former part", 11);
    write_file("out/parts/part-00999", "another", 7);
    for (int kind = 0; kind < 6; kind++) {
        o.output = kind == 0 || kind == 1 ? files_path("out/file") : kind == 2 ? files_path("out/parts/") : NULL;
        o.deliver = kind == 3 ? pairs_deliver : NULL;
        o.user = &got;
        o.keep = kind == 4 ? &dataset : NULL;
        o.order = kind == 1 && !what->partition && o.input.kind != PMAP_INPUT_GENERATOR ? PMAP_ORDER_RANGES : PMAP_ORDER_HASH;
        board_clear();
        memset(&error, 0, sizeof error);
        enum pmap_status status = pmap_mapreduce_with(the_pool, what, &o);
        CHECK_SAYING(status == expected, "%s, output %d: %s: %s", what->task.name, kind, pmap_status_name(status), error.text);
        CHECK_STATUS(error.status, expected);
        pmap_dataset_free(dataset);
        CHECK(dataset == NULL);
        dataset = NULL;
    }
    pairs_free(&got);
    CHECK_INT(untouched.splits, 77);
    CHECK_INT(files_in(files_path("out")), 2);
    CHECK_INT(files_in(files_path("out/parts")), 2);
    char *file = read_file(files_path("out/file"), &size), *part = read_file(files_path("out/parts/part-00000"), &size);
    CHECK_TEXT(file, "former");
    CHECK_TEXT(part, "former part");
    free(file);
    free(part);
    check_good();
}

/* ---- Functions that fail -------------------------------------------------------------------------------- */

/* A word of the input that functions fail at. */
static bool has(struct pmap_view view, const char *word) { return memmem(view.data, view.size, word, strlen(word)) != NULL; }

static void fail_in_map(struct pmap_view piece, struct pmap_emitter *out)
{
    pmap_emit_i64(out, "key", 3, 1);
    if (has(piece, "poison"))
        pmap_fail(42, "found %s", "poison");
}
PMAP_MAPREDUCE(failing_map, .map = fail_in_map);
PMAP_MAPREDUCE(failing_map_record, .map_record = fail_in_map, .combine = pmap_sum_i64);

static size_t anywhere(struct pmap_view key, size_t n) { return key.size % n; }
PMAP_MAPREDUCE(failing_placed, .map_record = fail_in_map, .partition = anywhere);

static void copy_record(struct pmap_view record, struct pmap_emitter *out) { pmap_emit(out, record.data, record.size, record.data, record.size); }

static void fail_in_reduce(struct pmap_view key, struct pmap_values *values, struct pmap_emitter *out)
{
    struct pmap_view value;

    while (pmap_values_next(values, &value))
        pmap_emit(out, key.data, key.size, value.data, value.size);
    if (has(key, "poison"))
        pmap_fail(43, "cannot reduce %s", "poison");
}
PMAP_MAPREDUCE(failing_reduce, .map_record = copy_record, .reduce = fail_in_reduce);

static void fail_in_combine(void *acc, const void *value)
{
    pmap_sum_i64(acc, value);
    if (*(int64_t *)acc >= 100)
        pmap_fail(44, "too many");
}
static void always_key(struct pmap_view record, struct pmap_emitter *out)
{
    (void)record;
    pmap_emit_i64(out, "key", 3, 1);
}
PMAP_MAPREDUCE(failing_combine, .map_record = always_key, .combine = fail_in_combine);

/* Lines of which one, at byte 1800, is poison. */
static const char *poisoned(void)
{
    char bytes[3000];

    memset(bytes, 'x', sizeof bytes);
    for (size_t i = 9; i < sizeof bytes; i += 10)
        bytes[i] = '\n';
    memcpy(bytes + 1800, "poison", 6);
    return write_file("poisoned", bytes, sizeof bytes);
}

static void a_failing_map_names_split_and_file(void)
{
    const char *const paths[] = {poisoned(), NULL};
    struct pmap_mapreduce *const jobs[] = {&failing_map_mapreduce, &failing_map_record_mapreduce, &failing_placed_mapreduce};

    for (int i = 0; i < 3; i++) {
        check_fails(jobs[i], (struct pmap_mapreduce_options){.input = PMAP_PATHS(paths), .split_size = 1000}, PMAP_EFAILED);
        CHECK_NAMES(error.text, jobs[i]->task.name);
        CHECK_NAMES(error.text, "split 1");
        CHECK_NAMES(error.text, paths[0]);
        CHECK_NAMES(error.text, "1000-2000");
        CHECK_NAMES(error.text, "found poison");
        CHECK_INT(error.code, 42);
        CHECK(error.rank >= 0 && error.thread >= 0);
    }
}

static void a_failing_reduce_names_its_partition(void)
{
    const char *const paths[] = {poisoned(), NULL};

    check_fails(&failing_reduce_mapreduce, (struct pmap_mapreduce_options){.input = PMAP_PATHS(paths)}, PMAP_EFAILED);
    CHECK_NAMES(error.text, "failing_reduce");
    CHECK_NAMES(error.text, "partition");
    CHECK_NAMES(error.text, "cannot reduce poison");
    CHECK_INT(error.code, 43);
}

/* Where that is noticed is open: in a split, or when its values come together. */
static void a_failing_combine_fails_the_call(void)
{
    const char *const paths[] = {poisoned(), NULL};

    check_fails(&failing_combine_mapreduce, (struct pmap_mapreduce_options){.input = PMAP_PATHS(paths), .split_size = 200}, PMAP_EFAILED);
    CHECK_NAMES(error.text, "too many");
}

static void fail_of_dataset(struct pmap_view key, struct pmap_view value, struct pmap_emitter *out)
{
    (void)value;
    (void)out;
    if (key.size)
        pmap_fail(45, "not this");
}
PMAP_MAPREDUCE(failing_pair, .map_pair = fail_of_dataset);

static void a_failing_dataset_is_still_good(void)
{
    struct pmap_dataset *dataset = NULL;

    text_make();
    CHECK_STATUS(pmap_mapreduce(the_pool, good, PMAP_FILES(text.path), .keep = &dataset), PMAP_OK);
    for (int i = 0; i < 2; i++) {
        check_fails(&failing_pair_mapreduce, (struct pmap_mapreduce_options){.input = PMAP_DATASET(dataset)}, PMAP_EFAILED);
        CHECK_NAMES(error.text, "dataset");
    }
    pmap_dataset_free(dataset);
}

static void arrays_and_generators_are_named(void)
{
    static const char array[4][8] = {"a", "b", "poison", "d"};

    check_fails(&failing_map_record_mapreduce, (struct pmap_mapreduce_options){.input = PMAP_RECORDS(array, 4), .split_size = 8}, PMAP_EFAILED);
    CHECK_NAMES(error.text, "split 2");
    CHECK_NAMES(error.text, "array");
}

/* ---- What cannot be taken -------------------------------------------------------------------------------- */

static void emit_long_key(struct pmap_view record, struct pmap_emitter *out)
{
    char *key = calloc(1, PMAP_KEY_MAX + 1);

    (void)record;
    pmap_emit(out, key, PMAP_KEY_MAX + 1, "", 0);
    pmap_emit(out, "not taken any more", 18, "", 0);
    free(key);
}
PMAP_MAPREDUCE(long_key, .map_record = emit_long_key);

static void emit_wrong_size(struct pmap_view record, struct pmap_emitter *out)
{
    pmap_emit(out, "key", 3, "1234567", record.size ? 7 : 8);
}
PMAP_MAPREDUCE(wrong_size, .map_record = emit_wrong_size, .combine = pmap_sum_i64);

static size_t too_high(struct pmap_view key, size_t n) { return n + key.size; }
PMAP_MAPREDUCE(too_high_partition, .map_record = copy_record, .partition = too_high);

static void reduce_to_long_key(struct pmap_view key, struct pmap_values *values, struct pmap_emitter *out)
{
    (void)values;
    emit_long_key(key, out);
}
PMAP_MAPREDUCE(long_reduced_key, .map_record = copy_record, .reduce = reduce_to_long_key);

static void what_cannot_be_taken_is_named(void)
{
    const char *const paths[] = {write_file("one", "one\n", 4), NULL};
    struct pmap_mapreduce_options o = {.input = PMAP_PATHS(paths), .partitions = 5};

    for (o.retries = 0; o.retries < 2; o.retries++) {
        check_fails(&long_key_mapreduce, o, PMAP_EFAILED);
        CHECK_NAMES(error.text, "16777216");
        CHECK_NAMES(error.text, "split 0");
        check_fails(&wrong_size_mapreduce, o, PMAP_EFAILED);
        CHECK_NAMES(error.text, "a value of 7 bytes");
        check_fails(&too_high_partition_mapreduce, o, PMAP_EFAILED);
        CHECK_NAMES(error.text, "partition function said 8");
        check_fails(&long_reduced_key_mapreduce, o, PMAP_EFAILED);
        CHECK_NAMES(error.text, "partition");
    }
}

/* ---- Run again ------------------------------------------------------------------------------------------- */

/* Emits, and at the first line of this kind in all fails: so its split is run twice. */
static void fail_once(struct pmap_view record, struct outlet out)
{
    words(record, out);
    if (out.library && record.size > 20 && atomic_fetch_add(&board()[CALLS], 1) == 0)
        pmap_fail(1, "the first time");
}
MAP_RECORD(fail_once)
PMAP_MAPREDUCE(once, .map_record = fail_once_record, .combine = pmap_sum_i64);
PMAP_MAPREDUCE(once_listed, .map_record = fail_once_record);

/* Fails behind the first pair of the first three partitions. */
static void reduce_once(struct pmap_view key, struct inlet *values, struct outlet out)
{
    struct pmap_view value;
    int64_t sum = 0;

    while (inlet_next(values, &value))
        sum += pmap_view_i64(value);
    outlet_emit(out, key.data, key.size, &sum, sizeof sum);
    if (out.library && atomic_fetch_add(&board()[CALLS], 1) < 3)
        pmap_fail(1, "the first time");
}
REDUCE(reduce_once)
PMAP_MAPREDUCE(once_reduced, .map_record = words_record, .reduce = reduce_once_reduce);
PMAP_MAPREDUCE(once_folded, .map_record = words_record, .combine = pmap_sum_i64, .reduce = reduce_once_reduce);

static void check_retried(struct pmap_mapreduce *what, map_body *map, reduce_body *reduce, size_t memory, enum pmap_order order)
{
    struct pairs expected = serial_mapreduce(map, what->combine, what->value_size, reduce, text.lines, text.n), got = {0};
    struct pmap_mapreduce_stats s;
    size_t size;

    for (int kind = 0; kind < 3; kind++) {
        struct pmap_mapreduce_options o = {.size = sizeof o, .input = PMAP_FILES(text.path), .retries = 4, .split_size = 4000, .memory = memory,
                                           .order = order, .partitions = 6, .stats = &s, .error = &error};
        o.deliver = kind == 0 ? pairs_deliver : NULL;
        o.user = &got;
        o.output = kind == 1 ? files_path("retried") : kind == 2 ? files_path("retried.parts/") : NULL;
        o.format = PMAP_FORMAT_RAW;
        board_clear();
        enum pmap_status status = pmap_mapreduce_with(the_pool, what, &o);
        CHECK_SAYING(status == PMAP_OK, "%s: %s", what->task.name, error.text);
        CHECK_INT(s.records_out, expected.n);
        CHECK_INT(s.bytes_in, text.size);
        CHECK(atomic_load(&board()[CALLS]) > 1);
        if (kind > 0)
            CHECK_INT(s.bytes_out, pairs_bytes(&expected));
    }
    CHECK(pairs_differ(&expected, &got) == SIZE_MAX);
    char *file = read_file(files_path("retried"), &size), *at = file;
    CHECK_INT(size, pairs_bytes(&expected));
    for (size_t i = 0; file && size == pairs_bytes(&expected) && i < expected.n; i++) {
        const struct pair *p = &expected.pairs[i];
        bool same = memcmp(at, p->key, p->key_size) == 0 && memcmp(at + p->key_size, p->value, p->value_size) == 0;
        if (!CHECK_SAYING(same, "record %zu differs", i))
            break;
        at += p->key_size + p->value_size;
    }
    CHECK_INT(files_in(files_path("retried.parts")), 6);
    free(file);
    pairs_free(&got);
    pairs_free(&expected);
}

static void what_is_run_again_counts_once(void)
{
    text_make();

    for (int how = 0; how < 4; how++) {
        enum pmap_order order = how / 2 ? PMAP_ORDER_RANGES : PMAP_ORDER_HASH;
        size_t memory = how % 2 ? 1 << 20 : 0;
        check_retried(&once_mapreduce, fail_once, NULL, memory, order);
        check_retried(&once_listed_mapreduce, fail_once, NULL, memory, order);
        check_retried(&once_reduced_mapreduce, words, reduce_once, memory, order);
        check_retried(&once_folded_mapreduce, words, reduce_once, memory, order);
    }
}

static void what_always_fails_is_run_so_often(void)
{
    const char *const paths[] = {poisoned(), NULL};

    check_fails(&failing_map_mapreduce, (struct pmap_mapreduce_options){.input = PMAP_PATHS(paths), .retries = 2}, PMAP_EFAILED);
    CHECK_NAMES(error.text, "found poison");
    check_fails(&failing_reduce_mapreduce, (struct pmap_mapreduce_options){.input = PMAP_PATHS(paths), .retries = 2}, PMAP_EFAILED);
    CHECK_NAMES(error.text, "cannot reduce poison");
}

/* ---- Input that cannot be read --------------------------------------------------------------------------- */

static void a_record_that_is_too_long_is_named(void)
{
    const char *const paths[] = {poisoned(), NULL};

    check_fails(&good_mapreduce, (struct pmap_mapreduce_options){.input = PMAP_PATHS(paths), .record_max = 9}, PMAP_EINVAL);
    CHECK_NAMES(error.text, "record_max");
    CHECK_NAMES(error.text, paths[0]);
}

static void a_packed_file_that_is_cut_short_is_named(void)
{
    size_t size;
    const char *path = files_path("cut.gz");
    gzFile file = gzopen(path, "wb");

    text_make();
    gzwrite(file, text.bytes, (unsigned)text.size);
    gzclose(file);
    char *bytes = read_file(path, &size);
    CHECK(truncate(path, (off_t)(size / 2)) == 0);
    const char *const paths[] = {text.path, path, NULL};
    check_fails(&good_mapreduce, (struct pmap_mapreduce_options){.input = PMAP_PATHS(paths)}, PMAP_EINVAL);
    CHECK_NAMES(error.text, path);
    free(bytes);
    const char *const junk[] = {write_file("junk.zst", "this is no zstd", 15), NULL};
    check_fails(&good_mapreduce, (struct pmap_mapreduce_options){.input = PMAP_PATHS(junk)}, PMAP_EINVAL);
    CHECK_NAMES(error.text, junk[0]);
}

static void files_that_are_not_there_are_named(void)
{
    const char *const missing[] = {files_path("missing"), NULL}, *const glob[] = {files_path("no*match"), NULL}, *const none[] = {NULL};

    check_fails(&good_mapreduce, (struct pmap_mapreduce_options){.input = PMAP_PATHS(missing)}, PMAP_EINVAL);
    CHECK_NAMES(error.text, missing[0]);
    check_fails(&good_mapreduce, (struct pmap_mapreduce_options){.input = PMAP_PATHS(glob)}, PMAP_EINVAL);
    CHECK_NAMES(error.text, glob[0]);
    check_fails(&good_mapreduce, (struct pmap_mapreduce_options){.input = PMAP_PATHS(none)}, PMAP_EINVAL);
    const char *const odd[] = {write_file("odd", "12345", 5), NULL};
    check_fails(&good_mapreduce, (struct pmap_mapreduce_options){.input = PMAP_PATHS(odd), .record_size = 2}, PMAP_EINVAL);
    CHECK_NAMES(error.text, odd[0]);
}

/* ---- Disks ------------------------------------------------------------------------------------------------ */

/* Random bytes, so that they do not get shorter. */
static void noise(struct pmap_view record, struct pmap_emitter *out)
{
    uint64_t state = hash_bytes(record.data, record.size), value[512];

    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < 512; k++)
            value[k] = next_random(&state);
        pmap_emit(out, &state, sizeof state, value, sizeof value);
    }
}
PMAP_MAPREDUCE(noisy, .map_record = noise, .value = PMAP_TYPE_NONE);
PMAP_MAPREDUCE(noisy_written, .map_record = noise);

/* Seeds of noise that no rank has memory for: some 8 KiB each. */
static uint64_t seeds[5 * 600];
static struct pmap_input much(void)
{
    for (size_t i = 0; i < sizeof seeds / sizeof *seeds; i++)
        seeds[i] = i + 1;
    return PMAP_RECORDS(seeds, 600 * (size_t)test_ranks());
}

static void a_missing_scratch_directory_is_named(void)
{
    text_make();


    for (int retries = 0; retries < 2; retries++) {
        check_fails(&noisy_mapreduce, (struct pmap_mapreduce_options){.input = much(), .memory = 1 << 20, .retries = retries,
                                                                      .scratch = files_path("no/scratch"), .split_size = 80}, PMAP_EINVAL);
        CHECK_NAMES(error.text, files_path("no/scratch"));
    }
}

/* A limit of the size of files is a disk that is full at that size; it holds for all threads of a process, and ranks are other processes. */
static struct rlimit former_limit;

static bool limit_files(rlim_t size)
{
    struct rlimit limit = {size, 0};

    if (test_processes() > 1 || getrlimit(RLIMIT_FSIZE, &former_limit) != 0)
        return false;
    limit.rlim_max = former_limit.rlim_max;
    return setrlimit(RLIMIT_FSIZE, &limit) == 0;
}

static void full(struct pmap_mapreduce *what, struct pmap_mapreduce_options o, rlim_t limit)
{
    o.size = sizeof o;
    o.error = &error;
    if (limit_files(limit)) {
        enum pmap_status status = pmap_mapreduce_with(the_pool, what, &o);
        setrlimit(RLIMIT_FSIZE, &former_limit);
        CHECK_SAYING(status == PMAP_EINVAL, "%s: %s", pmap_status_name(status), error.text);
    }
}

static void a_full_scratch_is_named(void)
{
    text_make();

    struct pairs got = {0};

    if (test_processes() > 1) {
        test_skip("a limit on the size of files is one of a process");
        return;
    }
    make_directory("scratch");
    for (int retries = 0; retries < 3; retries++) {
        full(&noisy_mapreduce, (struct pmap_mapreduce_options){.input = much(), .memory = 1 << 20, .scratch = files_path("scratch"),
                                                               .split_size = 80, .retries = retries, .deliver = pairs_deliver, .user = &got},
             2 << 20);
        CHECK_NAMES(error.text, files_path("scratch"));
        CHECK_INT(got.n, 0);
        CHECK_INT(files_in(files_path("scratch")), 0);
        check_good();
    }
}

static void count_pairs(struct pmap_view key, struct pmap_values *values, struct pmap_emitter *out)
{
    struct pmap_view value;
    int64_t n = 0;

    (void)key;
    while (pmap_values_next(values, &value))
        n++;
    pmap_emit_i64(out, "n", 1, n);
}
PMAP_MAPREDUCE(noisy_counted, .map_record = noise, .reduce = count_pairs);

/* Runs fit, but their merge does not; then some are lost, and a second try must not take the others for all. */
static void what_a_failed_merge_has_lost_is_missed(void)
{
    size_t n = test_size(8000, 0);
    uint64_t *many = test_array(n, sizeof *many); /* two pairs of each, with two pages in scratch */
    struct pairs got = {0};
    struct pmap_mapreduce_stats s;
    int64_t pairs = 0;

    text_make();
    for (size_t i = 0; i < n; i++)
        many[i] = i;
    struct pmap_mapreduce_options o = {.size = sizeof o, .input = PMAP_RECORDS(many, n), .memory = 1 << 20, .partitions = 1, .split_size = 80,
                                       .retries = 20, .deliver = pairs_deliver, .user = &got, .error = &error, .stats = &s};
    if (n == 0 || !limit_files((rlim_t)n * 2 * 2 * 4096 + (1 << 20))) {
        test_skip("it takes many files, or a limit of several processes");
    } else {
        enum pmap_status status = pmap_mapreduce_with(the_pool, &noisy_counted_mapreduce, &o);
        setrlimit(RLIMIT_FSIZE, &former_limit);
        for (size_t i = 0; i < got.n; i++)
            pairs += pmap_view_i64((struct pmap_view){got.pairs[i].value, got.pairs[i].value_size});
        CHECK_SAYING(status == PMAP_EINVAL || pairs == 2 * (int64_t)n, "%s with %lld pairs, not %zu: %s", pmap_status_name(status),
                     (long long)pairs, 2 * n, error.text);
        check_good();
    }
    pairs_free(&got);
    free(many);
}

static void a_full_output_is_named(void)
{
    text_make();

    size_t size;

    if (test_processes() > 1) {
        test_skip("a limit on the size of files is one of a process");
        return;
    }
    make_directory("full");
    make_directory("full/parts");
    write_file("full/file", "former", 6);
    write_file("full/parts/part-00001", "former", 6);
    for (int kind = 0; kind < 3; kind++) {
        full(&noisy_written_mapreduce, (struct pmap_mapreduce_options){.input = much(), .partitions = 4, .retries = kind,
                                                                       .output = kind == 2 ? files_path("full/parts/") : files_path("full/file"),
                                                                       .order = kind == 1 ? PMAP_ORDER_RANGES : PMAP_ORDER_HASH},
             100000);
        CHECK_NAMES(error.text, kind == 2 ? files_path("full/parts") : files_path("full"));
        CHECK_INT(files_in(files_path("full")), 2);
        CHECK_INT(files_in(files_path("full/parts")), 1);
    }
    char *file = read_file(files_path("full/file"), &size), *part = read_file(files_path("full/parts/part-00001"), &size);
    CHECK_TEXT(file, "former");
    CHECK_TEXT(part, "former");
    free(file);
    free(part);
    check_good();
}

/* ---- Calls that make no sense ----------------------------------------------------------------------------- */

static void copy_pair(struct pmap_view key, struct pmap_view value, struct pmap_emitter *out)
{
    pmap_emit(out, key.data, key.size, value.data, value.size);
}
PMAP_MAPREDUCE(no_map, .reduce = fail_in_reduce);
PMAP_MAPREDUCE(two_maps, .map = fail_in_map, .map_record = fail_in_map);
PMAP_MAPREDUCE(of_pairs, .map_pair = copy_pair);
PMAP_MAPREDUCE(fat, .map_record = words_record, .combine = pmap_sum_i64, .value_size = 4097);
PMAP_MAPREDUCE(placed, .map_record = words_record, .partition = anywhere);
PMAP_MAPREDUCE(untyped, .map_record = words_record, .key = (enum pmap_type)99);
static struct pmap_mapreduce unregistered = {.map_record = words_record};

static bool no_record(void *state, struct pmap_view *record)
{
    (void)state;
    (void)record;
    return false;
}

static void check_refused(struct pmap_mapreduce *what, struct pmap_mapreduce_options o, const char *word)
{
    text_make();
    const char *const paths[] = {text.path, NULL};

    o.size = sizeof o;
    o.error = &error;
    if (o.input.kind == PMAP_INPUT_NONE && strcmp(word, "input") != 0)
        o.input = PMAP_PATHS(paths);
    error.text[0] = '\0';
    CHECK_STATUS(pmap_mapreduce_with(the_pool, what, &o), PMAP_EINVAL);
    CHECK_NAMES(error.text, word);
    CHECK_NAMES(error.text, "pmap_mapreduce");
}

static void arguments_that_make_no_sense_are_named(void)
{
    struct pmap_dataset *dataset = NULL;
    struct pairs got = {0};
    int number = 0;
    typedef struct pmap_mapreduce_options o;

    check_refused(&no_map_mapreduce, (o){.partitions = 1}, "no_map");
    check_refused(&two_maps_mapreduce, (o){.partitions = 1}, "two_maps");
    check_refused(&of_pairs_mapreduce, (o){.partitions = 1}, "map_pair");
    check_refused(&fat_mapreduce, (o){.partitions = 1}, "value_size");
    check_refused(&placed_mapreduce, (o){.order = PMAP_ORDER_RANGES}, "partition");
    check_refused(&untyped_mapreduce, (o){.partitions = 1}, "type");
    check_refused(&unregistered, (o){.partitions = 1}, "registered");
    check_refused(NULL, (o){.partitions = 1}, "NULL");
    check_refused(&good_mapreduce, (o){.partitions = 1}, "input");
    check_refused(&good_mapreduce, (o){.input = PMAP_PATHS(NULL)}, "paths");
    check_refused(&good_mapreduce, (o){.input = {.kind = PMAP_INPUT_RECORDS, .records = &number, .n = 1}}, "record_size");
    check_refused(&good_mapreduce, (o){.input = {.kind = PMAP_INPUT_RECORDS, .records = &number, .n = SIZE_MAX / 2, .record_size = 4}}, "records");
    check_refused(&good_mapreduce, (o){.input = {.kind = PMAP_INPUT_RECORDS, .n = 1, .record_size = 4}}, "records");
    check_refused(&good_mapreduce, (o){.input = PMAP_RECORD_GENERATOR(NULL, NULL)}, "generator");
    check_refused(&good_mapreduce, (o){.input = PMAP_RECORD_GENERATOR(no_record, NULL), .order = PMAP_ORDER_RANGES}, "generator");
    check_refused(&of_pairs_mapreduce, (o){.input = PMAP_DATASET(NULL)}, "dataset");
    check_refused(&good_mapreduce, (o){.output = "x", .deliver = pairs_deliver, .user = &got}, "deliver");
    check_refused(&good_mapreduce, (o){.keep = &dataset, .deliver = pairs_deliver, .user = &got}, "keep");
    check_refused(&good_mapreduce, (o){.output = ""}, "output");
    check_refused(&good_mapreduce, (o){.format = (enum pmap_format)3}, "format");
    check_refused(&good_mapreduce, (o){.order = (enum pmap_order)2}, "order");
    check_refused(&good_mapreduce, (o){.partitions = ((size_t)1 << 20) + 1}, "partitions");
    check_refused(&good_mapreduce, (o){.arg_size = 1}, "arg");
    check_refused(&good_mapreduce, (o){.retries = -1}, "retries");
    check_refused(&good_mapreduce, (o){.retry_delay = -1}, "retry_delay");
    check_refused(&good_mapreduce, (o){.memory = 1000}, "memory");
    CHECK_STATUS(pmap_mapreduce(NULL, good, PMAP_FILES("x"), .error = &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "pool");
    check_good();
}

/* ---- Calls that must not wait ----------------------------------------------------------------------------- */

static enum pmap_status call_inside(int unused)
{
    static struct pmap_pool *none; /* a task is not on the root in general, and has no pool */
    struct pmap_error inner;

    (void)unused;
    return pmap_mapreduce(none ? none : the_pool, good, PMAP_RECORDS("x", 1), .error = &inner);
}
PMAP_TASK(call_inside, enum pmap_status, int);

static void a_call_in_a_task_is_a_reported_deadlock(void)
{
    text_make();

    enum pmap_status statuses[10];
    int in[10] = {0};

    CHECK_STATUS(pmap_map(the_pool, call_inside, in, statuses, 10), PMAP_OK);
    for (int i = 0; i < 10; i++)
        CHECK_STATUS(statuses[i], PMAP_EDEADLOCK);
    check_good();
}

/* ---- Other threads ---------------------------------------------------------------------------------------- */

struct caller {
    struct pmap_pool *pool;
    struct pmap_mapreduce *what;
    struct pmap_mapreduce_options o;
    struct pmap_error error;
    struct pairs got;
    enum pmap_status status;
    pthread_t thread;
};

static void *call(void *argument)
{
    struct caller *c = argument;
    c->o.size = sizeof c->o;
    c->o.error = &c->error;
    c->status = pmap_mapreduce_with(c->pool, c->what, &c->o);
    return NULL;
}

static int square(int x) { return x * x; }
PMAP_TASK(square, int, int);

static void a_map_and_a_mapreduce_at_the_same_time(void)
{
    text_make();

    const char *const paths[] = {text.path, NULL};
    struct caller c = {.pool = the_pool, .what = &good_mapreduce};
    int in[100], out[100], wrong = 0;

    c.o = (struct pmap_mapreduce_options){.input = PMAP_PATHS(paths), .deliver = pairs_deliver, .user = &c.got, .split_size = 500};
    for (int i = 0; i < 100; i++)
        in[i] = i;
    if (!CHECK(pthread_create(&c.thread, NULL, call, &c) == 0))
        return;
    for (int k = 0; k < 20; k++) {
        CHECK_STATUS(pmap_map(the_pool, square, in, out, 100), PMAP_OK);
        for (int i = 0; i < 100; i++)
            wrong += out[i] != i * i;
    }
    pthread_join(c.thread, NULL);
    CHECK_INT(wrong, 0);
    CHECK_STATUS(c.status, PMAP_OK);
    CHECK(pairs_differ(&text.counts, &c.got) == SIZE_MAX);
    pairs_free(&c.got);
}

/* Some on one pool, some of which fail. */
static void several_mapreduces_at_the_same_time(void)
{
    text_make();

    enum { N = 4 };
    const char *const good_paths[] = {text.path, NULL}, *const bad_paths[] = {poisoned(), NULL};
    struct caller c[N] = {{0}};

    for (int i = 0; i < N; i++) {
        c[i].pool = the_pool;
        c[i].what = i % 2 ? &failing_map_record_mapreduce : &good_mapreduce;
        c[i].o = (struct pmap_mapreduce_options){.deliver = pairs_deliver, .user = &c[i].got, .split_size = 300};
        c[i].o.input = i % 2 ? PMAP_PATHS(bad_paths) : PMAP_PATHS(good_paths);
        if (!CHECK(pthread_create(&c[i].thread, NULL, call, &c[i]) == 0))
            return;
    }
    for (int i = 0; i < N; i++) {
        pthread_join(c[i].thread, NULL);
        CHECK_STATUS(c[i].status, i % 2 ? PMAP_EFAILED : PMAP_OK);
        if (i % 2 == 0)
            CHECK(pairs_differ(&text.counts, &c[i].got) == SIZE_MAX);
        pairs_free(&c[i].got);
    }
    check_good();
}

static const struct test tests[] = {
    TEST(a_failing_map_names_split_and_file),
    TEST(a_failing_reduce_names_its_partition),
    TEST(a_failing_combine_fails_the_call),
    TEST(a_failing_dataset_is_still_good),
    TEST(arrays_and_generators_are_named),
    TEST(what_cannot_be_taken_is_named),
    TEST(what_is_run_again_counts_once),
    TEST(what_always_fails_is_run_so_often),
    TEST(a_record_that_is_too_long_is_named),
    TEST(a_packed_file_that_is_cut_short_is_named),
    TEST(files_that_are_not_there_are_named),
    TEST(a_missing_scratch_directory_is_named),
    TEST(a_full_scratch_is_named),
    TEST(what_a_failed_merge_has_lost_is_missed),
    TEST(a_full_output_is_named),
    TEST(arguments_that_make_no_sense_are_named),
    TEST(a_call_in_a_task_is_a_reported_deadlock),
    TEST(a_map_and_a_mapreduce_at_the_same_time),
    TEST(several_mapreduces_at_the_same_time),
    {NULL, NULL},
};

int main(int argc, char *argv[])
{
    signal(SIGXFSZ, SIG_IGN);
    int status = test_main_with_pool(argc, argv, tests, "t1 t2 r1 r3 r2t2 v2t2");
    text_free();
    files_remove();
    return status;
}
