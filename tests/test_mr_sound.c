/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * mapreduce: plans, steps, answers and blocks that came from another rank are refused by the name of their first bad field.
 */
#include "harness.h"

#include "mapreduce/lean.h"
#include "mapreduce/sound.h"

#include <stdlib.h>
#include <string.h>

static void no_map(struct pmap_view piece, struct pmap_emitter *out)
{
    (void)piece, (void)out;
}
PMAP_MAPREDUCE(pieces, .map = no_map);

static void no_pair(struct pmap_view key, struct pmap_view value, struct pmap_emitter *out)
{
    (void)key, (void)value, (void)out;
}
PMAP_MAPREDUCE(pairs, .map_pair = no_pair);

/* ---- Records ---- */

/* n records with values of so many bytes, at the end of memory of their own. */
static char *make_records(size_t n, size_t value_size, size_t *size)
{
    char *bytes = test_array(n, 100);

    *size = 0;
    for (size_t i = 0; i < n; i++) {
        struct pmap__pair pair = {.key = "abcdefghijk", .key_size = i % 12, .value = "0123456789", .value_size = value_size, .tag = i};
        pmap__record_write(bytes + *size, &pair);
        *size += pmap__pair_size(pair.key_size, pair.value_size);
    }
    return bytes;
}

static void records_are_whole_or_refused(void)
{
    size_t size, n;
    char *bytes = make_records(20, 10, &size);

    CHECK(pmap__records_are_sound(bytes, size, &n) && n == 20);
    CHECK(pmap__records_are_sound(bytes, 0, &n) && n == 0);
    for (size_t cut = 1; cut < 40; cut++) {
        char *copy = test_array(size - cut, 1);
        memcpy(copy, bytes, size - cut);
        bool sound = pmap__records_are_sound(copy, size - cut, &n);
        CHECK_SAYING(!sound, "%zu bytes less are %s", cut, sound ? "accepted" : "refused");
        free(copy);
    }
    *(uint64_t *)(void *)bytes = UINT64_MAX; /* the longest key and value */
    CHECK(!pmap__records_are_sound(bytes, size, &n));
    free(bytes);
}

/* ---- Plans ---- */

enum { RANKS = 3, ME = 1 };

static struct pmap__plan sample_plan(void)
{
    static uint64_t threads[RANKS], owners[2];
    static struct pmap__file files[2];

    memcpy(threads, (uint64_t[]){1, 2, 0}, sizeof threads);
    memcpy(owners, (uint64_t[]){0, 1}, sizeof owners);
    files[0] = files[1] = (struct pmap__file){(char *)(uintptr_t)"a", 100, false};
    return (struct pmap__plan){.number = 1, .task = pieces_mapreduce.task.id, .what = &pieces_mapreduce, .ranks = RANKS, .threads = threads,
                               .partitions = 7, .n_owners = 2, .owners = owners, .files = {files, 2}, .separator = (char *)(uintptr_t)"\t"};
}

#define PLAN(change, field)                                        \
    do {                                                           \
        struct pmap__plan p = sample_plan();                       \
        p.change;                                                  \
        const char *bad = pmap__plan_bad_field(&p, ME, RANKS);     \
        CHECK_TEXT(bad ? bad : "nothing", field);                  \
    } while (0)

static void fields_of_a_plan_out_of_range_are_refused_by_name(void)
{
    PLAN(number = UINT64_MAX, "nothing");
    PLAN(number = 0, "number");
    PLAN(ranks = 2, "ranks");
    PLAN(ranks = UINT64_MAX, "ranks");
    PLAN(root = 2, "nothing");
    PLAN(root = 3, "root");
    PLAN(threads[2] = 1 << 16, "nothing");
    PLAN(threads[2] = UINT64_MAX, "threads");
    PLAN(partitions = 1, "nothing");
    PLAN(partitions = 1 << 20, "nothing");
    PLAN(partitions = 0, "partitions");
    PLAN(partitions = (1 << 20) + 1, "partitions");
    PLAN(partitions = UINT64_MAX, "partitions");
    PLAN(n_owners = 0, "n_owners");
    PLAN(n_owners = 4, "n_owners");
    PLAN(n_owners = 1, "owners"); /* we have a part in it */
    PLAN(owners[0] = 2, "nothing");
    PLAN(owners[0] = 3, "owners");
    PLAN(owners[0] = UINT64_MAX, "owners");
    PLAN(staged = 2, "staged");
    PLAN(ranges = 2, "ranges");
    PLAN(plain = 2, "plain");
    PLAN(sink = PMAP__SINK_NEXT, "nothing");
    PLAN(sink = PMAP__SINK_NEXT + 1, "sink");
    PLAN(sink = PMAP__SINK_PARTS, "output");
    PLAN(output = (char *)(uintptr_t)"a", "output");
    PLAN(format = PMAP_FORMAT_RAW, "nothing");
    PLAN(format = PMAP_FORMAT_RAW + 1, "format");
    PLAN(separator = NULL, "separator");
    PLAN(files.files[1].path = NULL, "files");
}

/* Cut anywhere, and with a byte to spare. */
static void plans_that_are_too_short_or_too_long_are_refused(void)
{
    struct pmap__plan plan = sample_plan(), back;
    void *bytes;
    size_t size;

    CHECK_STATUS(pmap__plan_encode(&plan, &bytes, &size), PMAP_OK);
    for (size_t n = 0; n <= size + 1; n++) {
        char *copy = test_array(n, 1);
        memcpy(copy, bytes, n < size ? n : size);
        enum pmap_status status = pmap__plan_decode(copy, n, &back);
        CHECK_STATUS(status, n == size ? PMAP_OK : PMAP_EMISMATCH);
        if (status == PMAP_OK)
            pmap__plan_free(&back);
        free(copy);
    }
    free(bytes);
}

/* ---- Steps ---- */

static const char *bad_step(struct pmap_mapreduce *what, bool ranges, struct pmap__step step, const void *payload, size_t size)
{
    struct pmap__site *site = test_array(1, sizeof *site);

    site->plan = sample_plan();
    site->plan.what = what;
    site->plan.ranges = ranges;
    site->plan.record_size = 4;
    site->rank = ME;
    const char *bad = pmap__step_bad_field(&step, (struct pmap_view){payload, size}, site);
    free(site);
    return bad ? bad : "nothing";
}

#define STEP(what, size, field, ...) \
    CHECK_TEXT(bad_step(&what##_mapreduce, false, (struct pmap__step){__VA_ARGS__}, zeros, size), field)

static void steps_that_make_no_sense_are_refused_by_name(void)
{
    static const char zeros[64];

    STEP(pieces, 0, "kind", .kind = 0);
    STEP(pieces, 0, "kind", .kind = PMAP__STEP_END + 1);
    STEP(pieces, 0, "kind", .kind = UINT64_MAX);
    STEP(pieces, 0, "nothing", .kind = PMAP__STEP_MAP, .split = {.file = 1, .begin = 5, .end = 5});
    STEP(pieces, 0, "split", .kind = PMAP__STEP_MAP, .split.file = 2);
    STEP(pieces, 0, "split", .kind = PMAP__STEP_MAP, .split.file = UINT64_MAX);
    STEP(pieces, 0, "split", .kind = PMAP__STEP_MAP, .split = {.begin = 6, .end = 5});
    STEP(pieces, 0, "split_kind", .kind = PMAP__STEP_MAP, .split_kind = PMAP__SPLIT_STORES + 1);
    STEP(pieces, 0, "split_kind", .kind = PMAP__STEP_MAP, .split_kind = PMAP__SPLIT_STORES);
    STEP(pieces, 0, "nothing", .kind = PMAP__STEP_SAMPLE, .split_kind = PMAP__SPLIT_STORES);
    STEP(pieces, 0, "split_kind", .kind = PMAP__STEP_MAP, .split_kind = PMAP__SPLIT_HERE, .address = 1); /* that is somewhere else */
    STEP(pieces, 0, "split_kind", .kind = PMAP__STEP_MAP, .split_kind = PMAP__SPLIT_DATASET);
    STEP(pairs, 0, "split_kind", .kind = PMAP__STEP_MAP);
    STEP(pairs, 0, "nothing", .kind = PMAP__STEP_MAP, .split_kind = PMAP__SPLIT_DATASET);
    STEP(pieces, 8, "nothing", .kind = PMAP__STEP_MAP, .split_kind = PMAP__SPLIT_BEHIND);
    STEP(pieces, 9, "payload", .kind = PMAP__STEP_MAP, .split_kind = PMAP__SPLIT_BEHIND);
    STEP(pieces, 16, "nothing", .kind = PMAP__STEP_MAP, .split_kind = PMAP__SPLIT_RECORDS);
    STEP(pieces, 17, "payload", .kind = PMAP__STEP_MAP, .split_kind = PMAP__SPLIT_RECORDS);
    STEP(pieces, 0, "kind", .kind = PMAP__STEP_BORDERS); /* there are no ranges */
    STEP(pieces, 0, "kind", .kind = PMAP__STEP_NEAR);    /* nor a function */
    STEP(pieces, 0, "nothing", .kind = PMAP__STEP_REDUCE, .partition = 5);
    STEP(pieces, 0, "partition", .kind = PMAP__STEP_REDUCE, .partition = 6); /* of another rank */
    STEP(pieces, 0, "partition", .kind = PMAP__STEP_REDUCE, .partition = 7);
    STEP(pieces, 0, "nothing", .kind = PMAP__STEP_FETCH, .partition = 6);
    STEP(pieces, 0, "partition", .kind = PMAP__STEP_FETCH, .partition = 7);
    STEP(pieces, 0, "partition", .kind = PMAP__STEP_FETCH, .partition = UINT64_MAX);
}

static void ranges_have_borders_that_are_records(void)
{
    struct pmap__step map = {.kind = PMAP__STEP_MAP}, borders = {.kind = PMAP__STEP_BORDERS};
    size_t size;
    char *six = make_records(6, 0, &size);

    CHECK_TEXT(bad_step(&pieces_mapreduce, true, map, NULL, 0), "kind"); /* not before there are borders */
    CHECK_TEXT(bad_step(&pieces_mapreduce, true, borders, six, size), "nothing");
    CHECK_TEXT(bad_step(&pieces_mapreduce, true, borders, six, size - 8), "payload");
    CHECK_TEXT(bad_step(&pieces_mapreduce, true, borders, six, pmap__record_size(six)), "payload");
    free(six);
}

/* ---- Blocks and answers ---- */

static void blocks_that_do_not_fit_are_refused_by_name(void)
{
    struct pmap__site *site = test_array(1, sizeof *site);
    size_t size;
    char *bytes = make_records(3, 8, &size);
    struct pmap__letter letter = {.words = {1, 3}, .body = bytes, .size = size};

    site->plan = sample_plan();
    site->rank = ME;
    CHECK(pmap__block_bad_field(site, &letter) == NULL);
    letter.words[1] = 4;
    CHECK_TEXT(pmap__block_bad_field(site, &letter), "number of records");
    letter.size -= 8;
    CHECK_TEXT(pmap__block_bad_field(site, &letter), "record");
    letter.words[0] = 2; /* another rank's */
    CHECK_TEXT(pmap__block_bad_field(site, &letter), "partition");
    letter.words[0] = 7;
    CHECK_TEXT(pmap__block_bad_field(site, &letter), "partition");
    free(bytes);
    free(site);
}

static void blocks_of_combined_pairs_are_lean(void)
{
    struct pmap__site *site = test_array(1, sizeof *site);
    char *bytes = test_array(2, 100);
    size_t size = pmap__lean_write(bytes, "a", 1, "sixteen bytes...", 16);
    struct pmap__letter letter = {.words = {1, 2}, .body = bytes};

    letter.size = size + pmap__lean_write(bytes + size, "bc", 2, "sixteen bytes...", 16);
    site->plan = sample_plan();
    site->rank = ME;
    site->common.combine.size = 16;
    CHECK(pmap__block_bad_field(site, &letter) == NULL);
    letter.words[1] = 1;
    CHECK_TEXT(pmap__block_bad_field(site, &letter), "number of records");
    letter.size -= 8;
    CHECK_TEXT(pmap__block_bad_field(site, &letter), "record");
    letter.size += 8;
    site->common.combine.size = 24; /* more than the values have */
    CHECK_TEXT(pmap__block_bad_field(site, &letter), "record");
    free(bytes);
    free(site);
}

static const char *bad_answer(uint64_t kind, size_t payload, const void *data, size_t size)
{
    struct pmap__step step = {.kind = kind};
    const char *bad = pmap__answer_bad_field(&step, payload, (struct pmap_bytes){(void *)(uintptr_t)data, size});
    return bad ? bad : "nothing";
}

static void answers_that_do_not_fit_are_refused_by_name(void)
{
    size_t size, counts = sizeof(struct pmap__counts);
    char *records = make_records(3, 8, &size), *block = test_array(size + 8, 1);

    memcpy(block + 8, records, size);
    CHECK_TEXT(bad_answer(PMAP__STEP_SAMPLE, 0, records, size), "nothing");
    CHECK_TEXT(bad_answer(PMAP__STEP_SAMPLE, 0, records, size - 1), "record");
    CHECK_TEXT(bad_answer(PMAP__STEP_FETCH, 0, block, size + 8), "nothing");
    CHECK_TEXT(bad_answer(PMAP__STEP_FETCH, 0, NULL, 0), "nothing");
    CHECK_TEXT(bad_answer(PMAP__STEP_FETCH, 0, block, 7), "block");
    CHECK_TEXT(bad_answer(PMAP__STEP_FETCH, 0, block, size), "record");
    CHECK_TEXT(bad_answer(PMAP__STEP_NEAR, 2 * sizeof(struct pmap__split), block, 3), "nothing");
    CHECK_TEXT(bad_answer(PMAP__STEP_NEAR, 2 * sizeof(struct pmap__split), block, 2), "size");
    CHECK_TEXT(bad_answer(PMAP__STEP_COUNTS, 0, NULL, counts), "nothing");
    CHECK_TEXT(bad_answer(PMAP__STEP_COUNTS, 0, NULL, counts - 1), "size");
    CHECK_TEXT(bad_answer(PMAP__STEP_COUNTS, 0, NULL, 0), "size");
    CHECK_TEXT(bad_answer(PMAP__STEP_FLUSH, 0, block, 9), "size");
    CHECK_TEXT(bad_answer(PMAP__STEP_END, 0, block, 1), "size");
    free(records);
    free(block);
}

static const struct test tests[] = {TEST(records_are_whole_or_refused),
                                    TEST(fields_of_a_plan_out_of_range_are_refused_by_name),
                                    TEST(plans_that_are_too_short_or_too_long_are_refused),
                                    TEST(steps_that_make_no_sense_are_refused_by_name),
                                    TEST(ranges_have_borders_that_are_records),
                                    TEST(blocks_that_do_not_fit_are_refused_by_name),
                                    TEST(blocks_of_combined_pairs_are_lean),
                                    TEST(answers_that_do_not_fit_are_refused_by_name),
                                    {NULL, NULL}};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1");
}
