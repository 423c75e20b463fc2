/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Input files of map-reduce: however they are cut into splits and pieces, each record is read once, in order, by the split in which it begins; and
 * what cannot be read is an error with a name.
 *
 * The truth is a naive reader: it asks for borders from the beginning of the text to its end. Files lie in a directory that is removed at the end.
 *
 * The linker sends the library's allocations to the functions __wrap_… in here (options in Makefile.am). */
#include "harness.h"
#include "mapreduce/input.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

static char directory[PATH_MAX - 256];
static const size_t piece_sizes[] = {1, 2, 7, 64, 4096, 1 << 18};

/* ---- Allocations that fail ---------------------------------------------------------------------------- */

static long until_failure = -1; /* the allocation that brings it to zero fails; below zero none does */

static bool must_fail(void) { return until_failure > 0 && --until_failure == 0; }

void *__real_malloc(size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t size) { return must_fail() ? NULL : __real_malloc(size); }
void *__wrap_realloc(void *p, size_t size) { return must_fail() ? NULL : __real_realloc(p, size); }
void *__wrap_aligned_alloc(size_t alignment, size_t size) { return must_fail() ? NULL : __real_aligned_alloc(alignment, size); }
char *__wrap_strdup(const char *text) { return must_fail() ? NULL : __real_strdup(text); }

/* ---- Files --------------------------------------------------------------------------------------------- */

/* directory/name, in one of a few places that are used in turn. */
static const char *path_of(const char *name)
{
    static char paths[8][PATH_MAX];
    static size_t next;
    char *path = paths[next++ % 8];

    snprintf(path, PATH_MAX, "%s/%s", directory, name);
    return path;
}

static const char *write_file(const char *name, const void *bytes, size_t size)
{
    const char *path = path_of(name);
    FILE *file = fopen(path, "wb");

    CHECK(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
    return path;
}

static const char *write_text(const char *name, const char *text) { return write_file(name, text, strlen(text)); }

static void remove_all(void)
{
    char command[PATH_MAX];

    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    if (system(command) != 0)
        perror(command);
}

static uint64_t random_state;

static size_t random_below(size_t n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (size_t)(random_state >> 33) % n;
}

/* Of these characters. */
static void random_text(char *text, size_t size, const char *characters)
{
    for (size_t i = 0; i < size; i++)
        text[i] = characters[random_below(strlen(characters))];
}

static int lowest_descriptor(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(fd);
    return fd;
}

/* ---- The truth ------------------------------------------------------------------------------------------ */

static size_t border_newline(const char *data, size_t size)
{
    const char *at = memchr(data, '\n', size);
    return at ? (size_t)(at - data) + 1 : 0;
}

/* A record begins with '>' at the beginning of a line: it takes a byte behind the border to know. */
static size_t border_fasta(const char *data, size_t size)
{
    const char *at = memmem(data, size, "\n>", 2);
    return at ? (size_t)(at - data) + 1 : 0;
}

/* A record ends with an empty line: two bytes in front of the border. */
static size_t border_empty_line(const char *data, size_t size)
{
    const char *at = memmem(data, size, "\n\n", 2);
    return at ? (size_t)(at - data) + 2 : 0;
}

/* A record ends with any number of empty lines: as before, and a byte behind. */
static size_t border_empty_lines(const char *data, size_t size)
{
    const char *at = memmem(data, size, "\n\n", 2), *end = data + size;
    while (at && at < end && *at == '\n')
        at++;
    return at && at < end ? (size_t)(at - data) : 0;
}

/* A record has two lines, and the first begins with '@', and so does perhaps the second: it takes the next two lines to know. */
static size_t border_pairs(const char *data, size_t size)
{
    for (size_t at = border_newline(data, size); at > 0 && at < size;) {
        size_t second = border_newline(data + at, size - at);
        if (second == 0 || at + second == size)
            return 0;
        if (data[at] == '@' && data[at + second] == '+')
            return at;
        at += second;
    }
    return 0;
}

struct truth {
    const char *text;
    size_t size;
    struct pmap__records records;
    bool *begins;   /* for each byte, and one behind: does a record begin here? */
    size_t longest; /* record */
};

static struct truth truth_of(const char *text, size_t size, struct pmap__records records)
{
    struct truth truth = {text, size, records, test_array(size + 1, sizeof(bool)), 0};
    pmap_border_fn *border = records.border ? records.border : border_newline;

    truth.begins[size] = true;
    for (size_t at = 0, step; at < size; at += step) {
        truth.begins[at] = true;
        step = records.record_size ? records.record_size : border(text + at, size - at);
        step = step ? step : size - at;
        truth.longest = step > truth.longest ? step : truth.longest;
    }
    return truth;
}

/* The first record's beginning at `at` or behind. */
static size_t next_record(const struct truth *truth, size_t at)
{
    while (at < truth->size && !truth->begins[at])
        at++;
    return at;
}

/* A piece may be longer than it should if a record is, or if the border in front of the split was far. */
static size_t longest_piece(const struct truth *truth, size_t piece_size)
{
    size_t most = 2 * (truth->longest + (truth->records.border ? PMAP_BORDER_CONTEXT : 1));

    return piece_size > most ? piece_size : most;
}

static bool check_piece(const struct truth *truth, struct pmap_view piece, uint64_t offset, size_t at, size_t end, size_t piece_size)
{
    return CHECK_INT(offset, at) && CHECK(piece.size <= end - at) && CHECK(memcmp(piece.data, truth->text + at, piece.size) == 0) &&
           CHECK(truth->begins[at + piece.size]) && CHECK(piece.size <= longest_piece(truth, piece_size));
}

/* A split has the records that begin in [begin, end). */
static bool check_split(const struct truth *truth, const struct pmap__file *file, const struct pmap__split *split, size_t piece_size)
{
    struct pmap__reader *reader;
    struct pmap_error error = {.text = ""};
    struct pmap_view piece = {NULL, 1};
    uint64_t offset;
    size_t at = next_record(truth, split->begin), end = file->packed ? truth->size : next_record(truth, split->end);
    bool good = CHECK_STATUS(pmap__reader_open(file, split, &truth->records, piece_size, &reader, &error), PMAP_OK);

    if (!good)
        return false;
    while (good && piece.size > 0) {
        good = CHECK_STATUS(pmap__reader_next(reader, &piece, &offset, &error), PMAP_OK) &&
               (piece.size == 0 || check_piece(truth, piece, offset, at, end, piece_size));
        at += piece.size;
    }
    good = good && CHECK_INT(at, end) && CHECK_STATUS(pmap__reader_next(reader, &piece, &offset, &error), PMAP_OK) && CHECK_INT(piece.size, 0);
    pmap__reader_close(reader);
    return CHECK_SAYING(good, "%s, [%llu, %llu) in pieces of %zu: %s", file->path, (unsigned long long)split->begin,
                        (unsigned long long)split->end, piece_size, error.text);
}

static bool check_cut(const struct truth *truth, const struct pmap__files *files, size_t split_size, size_t piece_size)
{
    struct pmap__split *splits;
    size_t n;
    bool good = CHECK_STATUS(pmap__files_cut(files, split_size, truth->records.record_size, &splits, &n, NULL), PMAP_OK);

    for (size_t i = 0; good && i < n; i++)
        good = check_split(truth, &files->files[splits[i].file], &splits[i], piece_size);
    if (good)
        free(splits);
    return good;
}

/* The text in a file, cut at every `stride` bytes for one in many split sizes, and in pieces of all sizes. */
static bool check_text(const char *path, const struct truth *truth, size_t split_size, size_t stride)
{
    struct pmap__files files;
    const char *const paths[] = {path, NULL};
    bool good = CHECK_STATUS(pmap__files_find(paths, &files, NULL), PMAP_OK);

    for (; good && split_size <= truth->size + 1; split_size += stride)
        for (size_t i = 0; good && i < sizeof piece_sizes / sizeof *piece_sizes; i++)
            good = check_cut(truth, &files, split_size, piece_sizes[i]);
    if (good)
        pmap__files_free(&files);
    return good;
}

static void check_random_texts(const char *characters, pmap_border_fn *border)
{
    char text[160];

    random_state = 7;
    for (size_t round = 0; round < test_size(6, 2); round++) {
        size_t size = 1 + random_below(test_size(sizeof text, 60));
        random_text(text, size, characters);
        struct truth truth = truth_of(text, size, (struct pmap__records){.border = border, .record_max = sizeof text});
        bool good = check_text(write_file("random.txt", text, size), &truth, 1, 1);
        free(truth.begins);
        if (!good)
            return;
    }
}

/* Texts far longer than the context and what is looked at behind it, with long and short records. */
static void check_long_text(const char *characters, pmap_border_fn *border)
{
    size_t size = 150000;
    char *text = test_array(size, 1);

    random_state = 11;
    for (size_t at = 0; at < size;) {
        size_t part = 1 + random_below(random_below(4) == 0 ? 30000 : 300);
        part = part < size - at ? part : size - at;
        random_text(text + at, part, random_below(2) ? "abc" : characters);
        at += part;
    }
    struct truth truth = truth_of(text, size, (struct pmap__records){.border = border, .record_max = size});
    check_text(write_file("long.txt", text, size), &truth, 1777, test_size(29989, 79999));
    free(truth.begins);
    free(text);
}

/* ---- Records -------------------------------------------------------------------------------------------- */

static void each_line_is_read_once_however_the_file_is_cut(void)
{
    check_random_texts("ab\n", NULL);
    check_random_texts("abcdefghijklmnopqrstuvwxyz\n", NULL);
    check_random_texts("\n", NULL);
    check_random_texts("a", NULL);
    check_long_text("abc\n", NULL);
}

static void borders_with_bytes_on_both_sides_are_found_however_the_file_is_cut(void)
{
    check_random_texts("a>\n", border_fasta);
    check_random_texts("abcdefg>\n\n", border_fasta);
    check_long_text("a>\n", border_fasta);
}

static void borders_of_two_bytes_are_found_however_the_file_is_cut(void)
{
    check_random_texts("ab\n\n", border_empty_line);
    check_random_texts("abcdef\n", border_empty_line);
    check_long_text("ab\n", border_empty_line);
    check_random_texts("ab\n\n", border_empty_lines);
    check_long_text("abc\n\n", border_empty_lines);
}

static void borders_that_need_the_next_lines_are_found_however_the_file_is_cut(void)
{
    char text[6000] = "";
    size_t size = 0;

    random_state = 5;
    while (size < sizeof text - 100) {
        size += (size_t)sprintf(text + size, "@%.*s\n", (int)random_below(40), "name name name name name name name name");
        size += (size_t)sprintf(text + size, "+%.*s\n", (int)random_below(40), "@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@");
    }
    struct truth truth = truth_of(text, size, (struct pmap__records){.border = border_pairs, .record_max = 200});
    check_text(write_file("pairs.txt", text, size), &truth, 1, 397);
    free(truth.begins);
}

/* Asked in the middle of so many newlines, the function is out of step until they end; where that is depends on the size of pieces. */
static void no_piece_ends_where_a_border_function_was_out_of_step(void)
{
    char text[20000];
    struct pmap__split split = {0, 0, 0, sizeof text};

    memset(text, 'a', sizeof text);
    memset(text, '\n', 3000);
    struct truth truth = truth_of(text, sizeof text, (struct pmap__records){.border = border_empty_line, .record_max = sizeof text});
    struct pmap__file file = {(char *)(uintptr_t)write_file("step.txt", text, sizeof text), sizeof text, false};
    for (size_t piece_size = 17000; piece_size < 17010; piece_size++)
        check_split(&truth, &file, &split, piece_size);
    free(truth.begins);
}

static void a_border_function_for_lines_gives_lines(void)
{
    check_random_texts("ab\n", border_newline);
    check_long_text("abc\n", border_newline);
}

static void fixed_records_are_cut_by_arithmetic(void)
{
    char text[120];

    random_state = 3;
    random_text(text, sizeof text, "ab\n");
    for (size_t record_size = 1; record_size <= sizeof text; record_size++) {
        if (sizeof text % record_size)
            continue;
        struct truth truth = truth_of(text, sizeof text, (struct pmap__records){.record_size = record_size});
        check_text(write_file("fixed.bin", text, sizeof text), &truth, 1, 7);
        free(truth.begins);
    }
}

static void pieces_of_fixed_records_are_aligned(void)
{
    char text[1200] = "";
    struct pmap__records records = {.record_size = 24};
    struct pmap__file file = {(char *)(uintptr_t)write_file("fixed.bin", text, sizeof text), sizeof text, false};
    struct pmap__split split = {0, 0, 72, 960};
    struct pmap__reader *reader;
    struct pmap_view piece = {NULL, 1};
    uint64_t offset;

    if (!CHECK_STATUS(pmap__reader_open(&file, &split, &records, 100, &reader, NULL), PMAP_OK))
        return;
    while (piece.size > 0 && CHECK_STATUS(pmap__reader_next(reader, &piece, &offset, NULL), PMAP_OK))
        CHECK(piece.size == 0 || (uintptr_t)piece.data % 64 == 0);
    pmap__reader_close(reader);
}

static void the_first_record_of_a_piece_ends_where_the_next_begins(void)
{
    static const char text[] = "ab\n\n\ncd\nef";
    struct pmap__records lines = {0}, fixed = {.record_size = 4}, own = {.border = border_empty_lines};

    CHECK_INT(pmap__first_record(&lines, text, 10), 3);
    CHECK_INT(pmap__first_record(&lines, text + 3, 7), 1);
    CHECK_INT(pmap__first_record(&lines, text + 8, 2), 2);
    CHECK_INT(pmap__first_record(&fixed, text, 8), 4);
    CHECK_INT(pmap__first_record(&own, text, 10), 5);
    CHECK_INT(pmap__first_record(&own, text + 5, 5), 5);
    CHECK_INT(pmap__first_record(&own, text, 5), 5);
}

/* ---- Errors of reading ---------------------------------------------------------------------------------- */

/* Read all pieces of a split of the file as it was found; what came of it. */
static enum pmap_status read_found(const struct pmap__file *file, uint64_t begin, uint64_t end, struct pmap__records records,
                                   size_t piece_size, struct pmap_error *error)
{
    struct pmap__reader *reader = NULL;
    struct pmap__split split = {0, 0, begin, end};
    struct pmap_view piece = {NULL, 1};
    uint64_t offset;
    enum pmap_status status = pmap__reader_open(file, &split, &records, piece_size, &reader, error);

    while (status == PMAP_OK && piece.size > 0)
        status = pmap__reader_next(reader, &piece, &offset, error);
    pmap__reader_close(reader);
    return status;
}

static enum pmap_status read_all(const char *path, struct pmap__records records, size_t piece_size, struct pmap_error *error)
{
    struct pmap__files files;
    const char *const paths[] = {path, NULL};
    enum pmap_status status = pmap__files_find(paths, &files, error);

    if (status != PMAP_OK)
        return status;
    for (size_t i = 0; status == PMAP_OK && i < files.n; i++)
        status = read_found(&files.files[i], 0, files.files[i].size, records, piece_size, error);
    pmap__files_free(&files);
    return status;
}

/* The record at byte 6 has 11 bytes, of all the only one above 10. */
static const char one_long[] = "0\n234\n6789 12345\n7\n901\n";

static void a_record_that_is_too_long_is_named(void)
{
    struct pmap_error error;
    char expected[PATH_MAX + 100];
    const char *path = write_text("long.txt", one_long);

    snprintf(expected, sizeof expected, "pmap: %s, at byte 6: a record is longer than 10 bytes (record_max)", path);
    for (size_t i = 0; i < sizeof piece_sizes / sizeof *piece_sizes; i++) {
        for (int own = 0; own < 2; own++) {
            struct pmap__records records = {.border = own ? border_newline : NULL, .record_max = 10};
            if (CHECK_STATUS(read_all(path, records, piece_sizes[i], &error), PMAP_EINVAL))
                CHECK_TEXT(error.text, expected);
            records.record_max = 11;
            CHECK_STATUS(read_all(path, records, piece_sizes[i], &error), PMAP_OK);
        }
    }
}

/* Though a border function sees where the record ends only with bytes of the next. */
static void a_record_of_record_max_bytes_is_fine(void)
{
    static const char text[] = ">23456789\n>2345678\n>23456789\n>23456789\n>2\n";
    struct truth truth = truth_of(text, sizeof text - 1, (struct pmap__records){.border = border_fasta, .record_max = 10});

    check_text(write_text("fasta.txt", text), &truth, 1, 1);
    free(truth.begins);
}

/* However the file is cut, it is the split in which it begins that says so, and no other. */
static void only_the_split_where_it_begins_says_that_a_record_is_too_long(void)
{
    struct pmap_error error;
    struct pmap__file file = {(char *)(uintptr_t)write_text("long.txt", one_long), sizeof one_long - 1, false};

    for (size_t size = 1; size < file.size; size++) {
        for (uint64_t begin = 0; begin < file.size; begin += size) {
            uint64_t end = begin + size < file.size ? begin + size : file.size;
            enum pmap_status expected = begin <= 6 && 6 < end ? PMAP_EINVAL : PMAP_OK;
            struct pmap__records records = {.record_max = 10};
            CHECK_STATUS(read_found(&file, begin, end, records, 16, &error), expected);
            records.border = border_newline;
            CHECK_STATUS(read_found(&file, begin, end, records, 16, &error), expected);
        }
    }
}

static void the_last_record_may_have_no_border_and_still_be_too_long(void)
{
    struct pmap_error error;
    const char *path = write_text("long.txt", "0\n2345678901");
    struct pmap__records records = {.record_max = 10};

    CHECK_STATUS(read_all(path, records, 64, &error), PMAP_OK);
    records.record_max = 9;
    CHECK_STATUS(read_all(path, records, 64, &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "at byte 2");
    CHECK_NAMES(error.text, "9");
}

static size_t border_far(const char *data, size_t size) { return data ? size + 1 : 0; }

static void a_border_function_that_points_nowhere_is_not_followed(void)
{
    struct pmap_error error;
    struct pmap__records records = {.border = border_far, .record_max = 100};

    CHECK_STATUS(read_all(write_text("far.txt", "a\nb\nc\n"), records, 2, &error), PMAP_OK);
    records.record_max = 3;
    CHECK_STATUS(read_all(path_of("far.txt"), records, 2, &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "record_max");
}

static void a_file_that_became_shorter_is_named(void)
{
    struct pmap_error error;
    const char *path = write_text("shrinks.txt", "1\n2\n3\n");
    struct pmap__file file = {(char *)(uintptr_t)path, 6, false};
    struct pmap__records records = {.record_max = 10};
    struct pmap__split split = {0, 0, 0, 6};
    struct pmap__reader *reader;
    struct pmap_view piece;
    uint64_t offset;

    if (!CHECK_STATUS(pmap__reader_open(&file, &split, &records, 4, &reader, &error), PMAP_OK))
        return;
    CHECK_STATUS(pmap__reader_next(reader, &piece, &offset, &error), PMAP_OK);
    CHECK_INT(truncate(path, 4), 0);
    CHECK_STATUS(pmap__reader_next(reader, &piece, &offset, &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "shrinks.txt, at byte 4: the file ends here, it had 6 bytes");
    pmap__reader_close(reader);
    CHECK_STATUS(read_found(&file, 0, 6, records, 4, &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "shrinks.txt, at byte 4: the file ends here, it had 6 bytes");
}

static void what_is_appended_to_a_file_is_not_read(void)
{
    static const char text[] = "1\n2\n3\n4\n";
    struct pmap__file file = {(char *)(uintptr_t)write_text("grows.txt", text), 5, false};
    struct truth truth = truth_of(text, 5, (struct pmap__records){.record_max = 10});
    struct pmap__split split = {0, 0, 0, 5};

    check_split(&truth, &file, &split, 64);
    free(truth.begins);
}

static void a_file_that_went_away_is_named(void)
{
    struct pmap_error error;
    struct pmap__file file = {(char *)(uintptr_t)path_of("gone.txt"), 5, false};

    CHECK_STATUS(read_found(&file, 0, 5, (struct pmap__records){.record_max = 10}, 64, &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "gone.txt");
    CHECK_NAMES(error.text, "No such file or directory");
}

/* ---- Packed files --------------------------------------------------------------------------------------- */

static size_t gzipped(const char *text, size_t size, char *to, size_t room)
{
    z_stream z = {0};

    deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    z.next_in = (unsigned char *)(uintptr_t)text;
    z.avail_in = (unsigned)size;
    z.next_out = (unsigned char *)to;
    z.avail_out = (unsigned)room;
    CHECK_INT(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

static size_t zstandard(const char *text, size_t size, char *to, size_t room) { return ZSTD_compress(to, room, text, size, 3); }

static const struct packer {
    const char *name;
    size_t (*pack)(const char *text, size_t size, char *to, size_t room);
} packers[] = {{"packed.gz", gzipped}, {"packed.zst", zstandard}};
enum { PACKERS = sizeof packers / sizeof *packers };

/* The text in so many members of random size. */
static size_t pack_in_members(const struct packer *packer, const char *text, size_t size, size_t members, char *to, size_t room)
{
    size_t packed = 0;

    for (size_t at = 0; members > 0; members--) {
        size_t part = members == 1 ? size - at : random_below(size - at + 1);
        packed += packer->pack(text + at, part, to + packed, room - packed);
        at += part;
    }
    return packed;
}

static void packed_files_are_read_unpacked(void)
{
    enum { SIZE = 300000, ROOM = 2 * SIZE };
    char *text = test_array(SIZE, 1), *packed = test_array(ROOM, 1);

    random_state = 1;
    random_text(text, SIZE, "abcdefghijklmnopqrstuvwxyz0123456789    \n");
    for (size_t i = 0; i < PACKERS; i++) {
        for (size_t members = 1; members < 5; members++) {
            size_t size = members % 2 ? SIZE : 1 + random_below(100);
            struct truth truth = truth_of(text, size, (struct pmap__records){.record_max = 4096});
            size_t packed_size = pack_in_members(&packers[i], text, size, members, packed, ROOM);
            check_text(write_file(packers[i].name, packed, packed_size), &truth, size, 2);
            free(truth.begins);
        }
    }
    free(packed);
    free(text);
}

static void zero_bytes_behind_a_gzip_file_are_padding(void)
{
    char packed[1000] = "";
    struct truth truth = truth_of("a\nb\n", 4, (struct pmap__records){.record_max = 4096});

    gzipped("a\nb\n", 4, packed, sizeof packed);
    check_text(write_file("packed.gz", packed, sizeof packed), &truth, 4, 2);
    free(truth.begins);
}

static void a_packed_file_of_no_bytes_of_text_is_fine(void)
{
    char packed[100];

    for (size_t i = 0; i < PACKERS; i++) {
        size_t size = packers[i].pack("", 0, packed, sizeof packed);
        CHECK_STATUS(read_all(write_file(packers[i].name, packed, size), (struct pmap__records){.record_max = 10}, 64, NULL), PMAP_OK);
    }
}

static void packed_is_refused(const struct packer *packer, const char *packed, size_t size, const char *reason)
{
    struct pmap_error error;
    const char *path = write_file(packer->name, packed, size);

    if (CHECK_STATUS(read_all(path, (struct pmap__records){.record_max = 1 << 20}, 64, &error), PMAP_EINVAL)) {
        CHECK_NAMES(error.text, packer->name);
        CHECK_NAMES(error.text, reason);
    }
}

static const char little[] = "one\ntwo\nthree\nfour\nfive\nsix\nseven\n";

static void a_packed_file_that_ends_early_is_named(void)
{
    char packed[400];

    for (size_t i = 0; i < PACKERS; i++) {
        size_t first = packers[i].pack(little, sizeof little - 1, packed, sizeof packed);
        size_t size = first + packers[i].pack(little, sizeof little - 1, packed + first, sizeof packed - first);
        packed_is_refused(&packers[i], packed, 0, "it has no bytes");
        for (size_t cut = 1; cut < size; cut++)
            if (cut != first)
                packed_is_refused(&packers[i], packed, cut, "it ends early");
    }
}

static void a_packed_file_that_is_damaged_is_named(void)
{
    char packed[400], *text = test_array(sizeof packed, 1);

    random_text(text, 200, "abcdefgh\n");
    for (size_t i = 0; i < PACKERS; i++) {
        size_t size = packers[i].pack(text, 200, packed, sizeof packed);
        packed_is_refused(&packers[i], text, 200, "it is damaged, or not of this format");
        packed[1] ^= 1;
        packed_is_refused(&packers[i], packed, size, "it is damaged, or not of this format");
        packed[1] ^= 1;
        if (packers[i].pack == gzipped) { /* it has a check of the text */
            packed[size / 2] ^= 16;
            packed_is_refused(&packers[i], packed, size, packers[i].name);
        }
    }
    free(text);
}

static void anything_else_behind_a_packed_file_is_named(void)
{
    char packed[400] = "";

    for (size_t i = 0; i < PACKERS; i++) {
        size_t size = packers[i].pack(little, sizeof little - 1, packed, sizeof packed);
        memcpy(packed + size, "something", 9);
        packed_is_refused(&packers[i], packed, size + 9, "something else is behind it");
    }
    memset(packed, 0, sizeof packed);
    size_t size = gzipped(little, sizeof little - 1, packed, sizeof packed);
    packed[size + 10] = 31;
    packed_is_refused(&packers[0], packed, size + 20, "zero bytes and then others");
}

static void a_packed_file_that_ends_in_a_record_is_named(void)
{
    struct pmap_error error;
    char packed[100];
    size_t size = gzipped("12345678", 8, packed, sizeof packed);
    const char *path = write_file("packed.gz", packed, size);

    CHECK_STATUS(read_all(path, (struct pmap__records){.record_size = 4}, 64, &error), PMAP_OK);
    CHECK_STATUS(read_all(path, (struct pmap__records){.record_size = 3}, 64, &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "packed.gz, at byte 6: it ends in a record, 2 of 3 bytes (record_size)");
}

static void a_record_of_a_packed_file_that_is_too_long_is_named(void)
{
    struct pmap_error error;
    char packed[200];
    size_t size = gzipped(one_long, sizeof one_long - 1, packed, sizeof packed);

    CHECK_STATUS(read_all(write_file("packed.gz", packed, size), (struct pmap__records){.record_max = 10}, 64, &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "packed.gz, at byte 6: a record is longer than 10 bytes");
}

/* ---- Finding files -------------------------------------------------------------------------------------- */

/* What was found, as names without the directory, with spaces between. */
static void finds(const char *const names[], const char *expected)
{
    const char *paths[9] = {NULL};
    char found[1000] = "";
    struct pmap__files files;
    struct pmap_error error = {.text = ""};

    for (size_t i = 0; names[i]; i++)
        paths[i] = path_of(names[i]);
    if (!CHECK_STATUS(pmap__files_find(paths, &files, &error), PMAP_OK))
        return;
    for (size_t i = 0; i < files.n; i++) {
        struct stat st;
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%s", i ? " " : "", files.files[i].path + strlen(directory) + 1);
        CHECK(stat(files.files[i].path, &st) == 0 && (uint64_t)st.st_size == files.files[i].size);
    }
    CHECK_TEXT(found, expected);
    pmap__files_free(&files);
}

#define FINDS(expected, ...) finds((const char *const[]){__VA_ARGS__, NULL}, expected)

static void make_tree(void)
{
    if (mkdir(path_of("tree"), 0700) != 0)
        return;
    mkdir(path_of("tree/below"), 0700);
    mkdir(path_of("empty"), 0700);
    write_text("tree/b.txt", "b\n");
    write_text("tree/a.txt", "a\n");
    write_text("tree/B.txt", "");
    write_text("tree/.hidden", "h\n");
    write_text("tree/[x]*.log", "x\n");
    write_text("tree/x1.log", "xx\n");
    write_text("tree/below/deep.txt", "d\n");
}

static void files_are_found_in_order(void)
{
    make_tree();
    FINDS("tree/a.txt", "tree/a.txt");
    FINDS("tree/b.txt tree/a.txt tree/b.txt", "tree/b.txt", "tree/a.txt", "tree/b.txt");
    FINDS("tree/B.txt tree/[x]*.log tree/a.txt tree/b.txt tree/x1.log", "tree");
    FINDS("tree/B.txt tree/[x]*.log tree/a.txt tree/b.txt tree/x1.log tree/a.txt", "tree/", "tree/a.txt");
    FINDS("", "empty");
}

static void globs_are_found_in_order(void)
{
    make_tree();
    FINDS("tree/B.txt tree/a.txt tree/b.txt", "tree/*.txt");
    FINDS("tree/a.txt tree/b.txt", "tree/[a-z].txt");
    FINDS("tree/below/deep.txt", "tree/belo?");
}

static void a_path_that_is_there_is_no_glob(void)
{
    make_tree();
    FINDS("tree/[x]*.log", "tree/[x]*.log");
    FINDS("tree/x1.log", "tree/[x]?.log");
}

static void packed_files_are_known_by_their_names(void)
{
    static const char *const names[] = {"names/a.gz", "names/b.zst", "names/c.gzip", "names/gz"};
    const char *const paths[] = {path_of("names"), NULL};
    struct pmap__files files;

    mkdir(paths[0], 0700);
    for (size_t i = 0; i < 4; i++)
        write_text(names[i], "x");
    if (!CHECK_STATUS(pmap__files_find(paths, &files, NULL), PMAP_OK))
        return;
    for (size_t i = 0; CHECK_INT(files.n, 4) && i < 4; i++)
        CHECK_INT(files.files[i].packed, i < 2);
    pmap__files_free(&files);
}

static void not_found(const char *path, const char *reason)
{
    const char *const paths[] = {path, NULL};
    struct pmap__files files = {NULL, 77};
    struct pmap_error error = {.text = ""};

    CHECK_STATUS(pmap__files_find(paths, &files, &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, reason);
    CHECK_NAMES(error.text, *path ? path : "\"\"");
    CHECK_INT(files.n, 77);
}

static void what_is_no_input_is_named(void)
{
    static const char *const none[] = {NULL};
    struct pmap__files files;
    struct pmap_error error;

    make_tree();
    mkfifo(path_of("fifo"), 0600);
    not_found("", "a path of the input is");
    not_found(path_of("missing.txt"), "No such file or directory");
    not_found(path_of("tree/a.txt/b"), "Not a directory");
    not_found(path_of("tree/*.csv"), "nothing matches it");
    not_found(path_of("fifo"), "it is neither a file nor a directory");
    not_found("/dev/null", "it is neither a file nor a directory");
    CHECK_STATUS(pmap__files_find(none, &files, &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "the input has no path");
    CHECK_STATUS(pmap__files_find(NULL, &files, &error), PMAP_EINVAL);
}

/* Also where it is one of many, behind some that are fine. */
static void one_bad_file_of_a_directory_is_named(void)
{
    make_tree();
    mkdir(path_of("links"), 0700);
    write_text("links/a", "a\n");
    if (symlink("nowhere", path_of("links/b")) == 0)
        not_found(path_of("links"), "b: No such file or directory");
}

static void a_file_that_may_not_be_read_is_named(void)
{
    if (geteuid() == 0) {
        test_skip("root may read everything");
        return;
    }
    const char *path = write_text("secret.txt", "s\n");
    chmod(path, 0);
    not_found(path, "Permission denied");
}

static void a_long_path_leaves_room_for_the_reason(void)
{
    struct pmap_error error;
    char path[1000];
    const char *const paths[] = {path, NULL};
    struct pmap__files files;

    memset(path, '/', sizeof path);
    strcpy(path + sizeof path - 9, "/missing");
    CHECK_STATUS(pmap__files_find(paths, &files, &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "missing: No such file or directory");
}

/* ---- Cutting -------------------------------------------------------------------------------------------- */

static void splits_count_over_all_files(void)
{
    struct pmap__file list[] = {{NULL, 10, false}, {NULL, 0, false}, {NULL, 100, true}, {NULL, 8, false}};
    static const struct pmap__split expected[] = {{0, 0, 0, 4}, {1, 0, 4, 8}, {2, 0, 8, 10}, {3, 2, 0, 100}, {4, 3, 0, 4}, {5, 3, 4, 8}};
    struct pmap__files files = {list, 4};
    struct pmap__split *splits;
    size_t n;

    if (!CHECK_STATUS(pmap__files_cut(&files, 4, 0, &splits, &n, NULL), PMAP_OK))
        return;
    for (size_t i = 0; CHECK_INT(n, 6) && i < n; i++)
        CHECK(splits[i].index == expected[i].index && splits[i].file == expected[i].file && splits[i].begin == expected[i].begin &&
              splits[i].end == expected[i].end);
    free(splits);
    if (CHECK_STATUS(pmap__files_cut(&files, SIZE_MAX, 0, &splits, &n, NULL), PMAP_OK) && CHECK_INT(n, 3))
        free(splits);
    files.n = 0;
    if (CHECK_STATUS(pmap__files_cut(&files, 1, 0, &splits, &n, NULL), PMAP_OK) && CHECK_INT(n, 0))
        free(splits);
}

static void splits_have_whole_fixed_records(void)
{
    struct pmap__file list[] = {{NULL, 24, false}};
    struct pmap__files files = {list, 1};
    struct pmap__split *splits;
    size_t n;

    for (size_t split_size = 1; split_size < 30; split_size++) {
        if (!CHECK_STATUS(pmap__files_cut(&files, split_size, 6, &splits, &n, NULL), PMAP_OK))
            return;
        for (size_t i = 0; i < n; i++)
            CHECK(splits[i].begin % 6 == 0 && splits[i].end % 6 == 0 && (splits[i].end - splits[i].begin <= split_size || split_size < 6));
        CHECK_INT(n, split_size < 12 ? 4 : split_size < 24 ? 2 : 1);
        free(splits);
    }
}

static void a_file_of_no_whole_number_of_records_is_named(void)
{
    char name[] = "texts/numbers.bin";
    struct pmap__file list[] = {{name, 25, false}};
    struct pmap__files files = {list, 1};
    struct pmap__split *splits;
    struct pmap_error error;
    size_t n;

    CHECK_STATUS(pmap__files_cut(&files, 10, 6, &splits, &n, &error), PMAP_EINVAL);
    CHECK_TEXT(error.text, "pmap: texts/numbers.bin: its 25 bytes are no whole number of records of 6 bytes (record_size)");
}

static void more_splits_than_memory_holds_are_an_error(void)
{
    struct pmap__file list[] = {{NULL, INT64_MAX, false}};
    struct pmap__files files = {list, 1};
    struct pmap__split *splits;
    struct pmap_error error;
    size_t n;

    CHECK_STATUS(pmap__files_cut(&files, 1, 0, &splits, &n, &error), PMAP_ENOMEM);
    CHECK_NAMES(error.text, "9223372036854775807 splits");
}

/* ---- Memory and descriptors ----------------------------------------------------------------------------- */

/* Find, cut and read a directory. */
static enum pmap_status whole_life(const char *path, struct pmap_error *error)
{
    const char *const paths[] = {path, NULL};
    struct pmap__files files;
    struct pmap__split *splits;
    size_t n;
    enum pmap_status status = pmap__files_find(paths, &files, error);

    if (status != PMAP_OK)
        return status;
    status = pmap__files_cut(&files, 10, 0, &splits, &n, error);
    if (status == PMAP_OK) {
        for (size_t i = 0; status == PMAP_OK && i < n; i++)
            status = read_found(&files.files[splits[i].file], splits[i].begin, splits[i].end, (struct pmap__records){.record_max = 100}, 4, error);
        free(splits);
    }
    pmap__files_free(&files);
    return status;
}

static void each_allocation_that_fails_is_enomem_and_nothing_stays_open(void)
{
    char packed[400];
    const char *path = path_of("memory");
    struct pmap_error error;
    enum pmap_status status;
    long n = 0;

    mkdir(path, 0700);
    write_text("memory/a.txt", "a line that is longer than a piece\nb\n");
    write_file("memory/b.gz", packed, gzipped(little, sizeof little - 1, packed, sizeof packed));
    write_file("memory/c.zst", packed, zstandard(little, sizeof little - 1, packed, sizeof packed));
    int before = lowest_descriptor();
    do {
        error.text[0] = '\0';
        until_failure = ++n;
        status = whole_life(path, &error);
        bool failed = until_failure == 0;
        until_failure = -1;
        CHECK_STATUS(status, failed ? PMAP_ENOMEM : PMAP_OK);
        CHECK(!failed || strstr(error.text, "no memory"));
    } while (status == PMAP_ENOMEM && n < 1000);
    CHECK(n > 10);
    CHECK_INT(lowest_descriptor(), before);
}

static void errors_leave_no_descriptor_open(void)
{
    int before = lowest_descriptor();

    a_record_that_is_too_long_is_named();
    a_file_that_became_shorter_is_named();
    a_packed_file_that_ends_early_is_named();
    one_bad_file_of_a_directory_is_named();
    CHECK_INT(lowest_descriptor(), before);
}

static const struct test tests[] = {
    TEST(each_line_is_read_once_however_the_file_is_cut),
    TEST(borders_with_bytes_on_both_sides_are_found_however_the_file_is_cut),
    TEST(borders_of_two_bytes_are_found_however_the_file_is_cut),
    TEST(borders_that_need_the_next_lines_are_found_however_the_file_is_cut),
    TEST(no_piece_ends_where_a_border_function_was_out_of_step),
    TEST(a_border_function_for_lines_gives_lines),
    TEST(fixed_records_are_cut_by_arithmetic),
    TEST(pieces_of_fixed_records_are_aligned),
    TEST(the_first_record_of_a_piece_ends_where_the_next_begins),
    TEST(a_record_that_is_too_long_is_named),
    TEST(a_record_of_record_max_bytes_is_fine),
    TEST(only_the_split_where_it_begins_says_that_a_record_is_too_long),
    TEST(the_last_record_may_have_no_border_and_still_be_too_long),
    TEST(a_border_function_that_points_nowhere_is_not_followed),
    TEST(a_file_that_became_shorter_is_named),
    TEST(what_is_appended_to_a_file_is_not_read),
    TEST(a_file_that_went_away_is_named),
    TEST(packed_files_are_read_unpacked),
    TEST(zero_bytes_behind_a_gzip_file_are_padding),
    TEST(a_packed_file_of_no_bytes_of_text_is_fine),
    TEST(a_packed_file_that_ends_early_is_named),
    TEST(a_packed_file_that_is_damaged_is_named),
    TEST(anything_else_behind_a_packed_file_is_named),
    TEST(a_packed_file_that_ends_in_a_record_is_named),
    TEST(a_record_of_a_packed_file_that_is_too_long_is_named),
    TEST(files_are_found_in_order),
    TEST(globs_are_found_in_order),
    TEST(a_path_that_is_there_is_no_glob),
    TEST(packed_files_are_known_by_their_names),
    TEST(what_is_no_input_is_named),
    TEST(one_bad_file_of_a_directory_is_named),
    TEST(a_file_that_may_not_be_read_is_named),
    TEST(a_long_path_leaves_room_for_the_reason),
    TEST(splits_count_over_all_files),
    TEST(splits_have_whole_fixed_records),
    TEST(a_file_of_no_whole_number_of_records_is_named),
    TEST(more_splits_than_memory_holds_are_an_error),
    TEST(each_allocation_that_fails_is_enomem_and_nothing_stays_open),
    TEST(errors_leave_no_descriptor_open),
    {NULL, NULL},
};

int main(int argc, char *argv[])
{
    const char *where = getenv("PMAP_TEST_DIR");

    snprintf(directory, sizeof directory, "%s/input-XXXXXX", where ? where : "/tmp");
    if (mkdtemp(directory) == NULL) {
        perror(directory);
        return 1;
    }
    int status = test_main(argc, argv, tests, "t1");
    remove_all();
    return status;
}
