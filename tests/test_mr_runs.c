/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * mapreduce: what goes to scratch comes back, in order, from one run or from many; a disk that is missing or full is named; nothing stays
 * behind.
 *
 * The linker sends the library's calls of open, pwrite and malloc with its kin to the functions __wrap_… in here (options in
 * Makefile.am), which fail as a test wants it.
 */
#include "harness.h"
#include "mapreduce/run.h"
#include "mr_records.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- A system that fails ---- */

static atomic_long until_no_memory, until_full; /* the call that brings it to zero fails, and those after it; 0: none does */
static bool hesitant;                           /* writes are interrupted, or short */
static bool no_tmpfile;                         /* the file system does not know O_TMPFILE */
static int the_file;                            /* opened last */

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
int __real_open(const char *path, int flags, ...);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
ssize_t __wrap_pwrite(int file, const void *bytes, size_t size, off_t at);
int __wrap_open(const char *path, int flags, ...);

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
    static int turn;

    if (fails(&until_full)) {
        errno = ENOSPC;
        return -1;
    }
    if (hesitant && turn++ % 3 == 0) {
        errno = EINTR;
        return -1;
    }
    return __real_pwrite(file, bytes, hesitant ? (size + 2) / 3 : size, at);
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    if (no_tmpfile && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return the_file = __real_open(path, flags, mode);
}

/* ---- Directories ---- */

static char the_directory[] = "/tmp/pmap-test-XXXXXX";

static struct pmap__scratch *scratch_new(void)
{
    struct pmap__scratch *scratch;
    if (pmap__scratch_create(the_directory, &scratch) != PMAP_OK)
        abort();
    return scratch;
}

static size_t names_in_the_directory(void)
{
    DIR *directory = opendir(the_directory);
    size_t n = 0;
    while (directory && readdir(directory))
        n++;
    closedir(directory);
    return n - 2; /* . and .. */
}

/* KiB that the file made last has on disk. */
static long on_disk(void)
{
    struct stat stat;
    return fstat(the_file, &stat) == 0 ? (long)stat.st_blocks / 2 : -1;
}

static bool holes_are_known(void)
{
    struct pmap__scratch *scratch = scratch_new();
    uint64_t at;
    pmap__scratch_write(scratch, "x", 1, &at, NULL);
    bool known = fallocate(the_file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0;
    pmap__scratch_destroy(scratch);
    if (!known)
        test_skip("the file system of /tmp has no holes");
    return known;
}

/* ---- Scratch ---- */

static void fill(unsigned char *bytes, size_t size, uint64_t seed)
{
    seed = seed * 2 + 1;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)random_number(&seed);
}

static void bytes_come_back(void)
{
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 1000000};
    enum { N = sizeof sizes / sizeof *sizes };
    static unsigned char bytes[1000000], back[1000000];
    struct pmap__scratch *scratch = scratch_new();
    uint64_t at[N];

    for (size_t i = 0; i < N; i++) {
        fill(bytes, sizes[i], i);
        CHECK_STATUS(pmap__scratch_write(scratch, bytes, sizes[i], &at[i], NULL), PMAP_OK);
    }
    for (size_t i = 0; i < N; i++) {
        fill(bytes, sizes[i], i);
        CHECK_STATUS(pmap__scratch_read(scratch, back, sizes[i], at[i], NULL), PMAP_OK);
        CHECK(memcmp(bytes, back, sizes[i]) == 0);
    }
    pmap__scratch_destroy(scratch);
}

static void interrupted_and_short_writes_are_gone_on_with(void)
{
    hesitant = true;
    bytes_come_back();
    hesitant = false;
}

static void the_file_has_no_name_and_is_not_inherited(void)
{
    for (int without = 0; without < 2; without++) {
        struct pmap__scratch *scratch = scratch_new();
        uint64_t at;
        no_tmpfile = without;
        CHECK_STATUS(pmap__scratch_write(scratch, "abc", 3, &at, NULL), PMAP_OK);
        CHECK(no_tmpfile || (fcntl(the_file, F_GETFD) & FD_CLOEXEC));
        no_tmpfile = false;
        CHECK_INT(names_in_the_directory(), 0);
        pmap__scratch_destroy(scratch);
        CHECK_INT(names_in_the_directory(), 0);
    }
}

static void a_missing_directory_is_named(void)
{
    struct pmap__scratch *scratch;
    struct pmap_error error;
    uint64_t at = 77;

    CHECK_STATUS(pmap__scratch_create("/no/such/directory", &scratch), PMAP_OK);
    CHECK_STATUS(pmap__scratch_write(scratch, "abc", 3, &at, &error), PMAP_EINVAL);
    CHECK_TEXT(error.text,
               "pmap: scratch directory /no/such/directory: No such file or directory (after 0 MiB; choose another by .scratch)");
    CHECK_INT(at, 77);
    pmap__scratch_destroy(scratch);
    pmap__scratch_destroy(NULL);
}

static void without_a_directory_tmpdir_is_taken(void)
{
    struct pmap__scratch *scratch;
    struct pmap_error error;
    uint64_t at;

    const char *set = getenv("TMPDIR");
    char *before = set ? strdup(set) : NULL;
    setenv("TMPDIR", "/no/such/tmpdir", 1);
    CHECK_STATUS(pmap__scratch_create(NULL, &scratch), PMAP_OK);
    CHECK_STATUS(pmap__scratch_write(scratch, "abc", 3, &at, &error), PMAP_EINVAL);
    CHECK(strstr(error.text, "/no/such/tmpdir") != NULL);
    pmap__scratch_destroy(scratch);
    setenv("TMPDIR", "", 1);
    CHECK_STATUS(pmap__scratch_create(NULL, &scratch), PMAP_OK);
    CHECK_STATUS(pmap__scratch_write(scratch, "abc", 3, &at, &error), PMAP_OK);
    pmap__scratch_destroy(scratch);
    if (before)
        setenv("TMPDIR", before, 1);
    else
        unsetenv("TMPDIR");
    free(before);
}

static void a_full_disk_is_named_and_what_it_holds_is_good(void)
{
    static unsigned char bytes[1 << 20], back[1 << 20];
    struct pmap__scratch *scratch = scratch_new();
    struct pmap_error error;
    struct rlimit limit, before;
    uint64_t at = 0, first;

    fill(bytes, sizeof bytes, 1);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = (3 << 20) + 500000;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    CHECK_STATUS(pmap__scratch_write(scratch, bytes, sizeof bytes, &first, NULL), PMAP_OK);
    for (int i = 1; i < 3; i++)
        CHECK_STATUS(pmap__scratch_write(scratch, bytes, sizeof bytes, &at, NULL), PMAP_OK);
    uint64_t last = at;
    CHECK_STATUS(pmap__scratch_write(scratch, bytes, sizeof bytes, &at, &error), PMAP_EINVAL);
    setrlimit(RLIMIT_FSIZE, &before);
    CHECK_INT(at, last);
    CHECK_NAMES(error.text, the_directory);
    CHECK_NAMES(error.text, "after 3 MiB");
    CHECK_STATUS(pmap__scratch_read(scratch, back, sizeof back, first, NULL), PMAP_OK);
    CHECK(memcmp(bytes, back, sizeof back) == 0);
    CHECK_STATUS(pmap__scratch_write(scratch, bytes, sizeof bytes, &at, NULL), PMAP_OK);
    pmap__scratch_destroy(scratch);
}

static void freed_room_goes_back_to_the_disk(void)
{
    static unsigned char bytes[50000];
    struct pmap__scratch *scratch;
    uint64_t at[20];

    if (!holes_are_known())
        return;
    scratch = scratch_new();
    fill(bytes, sizeof bytes, 2);
    for (int i = 0; i < 20; i++)
        CHECK_STATUS(pmap__scratch_write(scratch, bytes, sizeof bytes, &at[i], NULL), PMAP_OK);
    CHECK(on_disk() > 900);
    for (int i = 0; i < 20; i += 2)
        pmap__scratch_free(scratch, at[i], sizeof bytes);
    CHECK(on_disk() < 600);
    for (int i = 1; i < 20; i += 2)
        pmap__scratch_free(scratch, at[i], sizeof bytes);
    CHECK(on_disk() < 20);
    pmap__scratch_destroy(scratch);
}

/* ---- Runs ---- */

/* Sorted records of all sorts: words, numbers, random bytes, values up to max bytes; few keys: many are equal. Tags differ by first. */
static struct records some_records(size_t n, size_t max, uint64_t keys, uint64_t first)
{
    static unsigned char value[1 << 20];
    struct records r = {0};
    uint64_t state = n + max * 7919 + first * 13 + 1;

    for (size_t i = 0; i < n; i++) {
        char key[64];
        size_t size = random_number(&state) % (max + 1);
        fill(value, size, i % 2 ? 0 : i);
        if (i % 3 == 0)
            memset(value, 'v', size);
        int length = snprintf(key, sizeof key, "%.*s%llu", (int)(i % 20), "a key with some words",
                              (unsigned long long)(random_number(&state) % keys));
        records_add(&r, key, (size_t)length, value, size, first + i);
    }
    pmap__sort(r.entries, r.n);
    return r;
}

static enum pmap_status write_run(struct pmap__scratch *scratch, const struct records *r, size_t block, struct pmap__sorted *sorted,
                                  struct pmap_error *error)
{
    struct pmap__sorted_writer *writer;
    enum pmap_status status = pmap__sorted_begin(scratch, block, &writer);

    if (status != PMAP_OK)
        return status;
    for (size_t i = 0; status == PMAP_OK && i < r->n; i++)
        status = pmap__sorted_put(writer, r->entries[i].record, error);
    if (status == PMAP_OK)
        return pmap__sorted_end(writer, sorted, error);
    pmap__sorted_abandon(writer);
    return status;
}

/* The source gives exactly these; it is closed. True if it does, so that threads may ask. */
static bool gives(struct pmap__source *source, const struct records *expected)
{
    const void *record = NULL;
    size_t n = 0;

    while (source->next(source, &record, NULL) == PMAP_OK && record) {
        if (n == expected->n || memcmp(record, expected->entries[n].record, pmap__record_size(record)) != 0)
            break;
        n++;
    }
    bool ended = record == NULL && n == expected->n;
    bool stays = !ended || (source->next(source, &record, NULL) == PMAP_OK && record == NULL);
    source->close(source);
    return ended && stays;
}

static bool run_gives(struct pmap__scratch *scratch, const struct pmap__sorted *sorted, bool consume, const struct records *expected)
{
    struct pmap__source *source;
    return pmap__sorted_open(scratch, sorted, consume, &source) == PMAP_OK && gives(source, expected);
}

static void comes_back(const struct records *r, size_t block)
{
    struct pmap__scratch *scratch = scratch_new();
    struct pmap__sorted sorted = {0};
    uint64_t size = 0;

    for (size_t i = 0; i < r->n; i++)
        size += pmap__record_size(r->entries[i].record);
    if (CHECK_STATUS(write_run(scratch, r, block, &sorted, NULL), PMAP_OK)) {
        CHECK_INT(sorted.records, r->n);
        CHECK_INT(sorted.size, size);
        CHECK(sorted.stored <= sorted.size);
        CHECK(run_gives(scratch, &sorted, false, r));
        CHECK(run_gives(scratch, &sorted, true, r));
        free(sorted.blocks);
    }
    pmap__scratch_destroy(scratch);
}

static void records_come_back_from_blocks_of_any_size(void)
{
    static const size_t blocks[] = {0, 1, 64, 100, 1000, 16384, 65536, 1 << 20};
    static const size_t sizes[] = {0, 10, 300, 5000};

    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct records r = some_records(test_size(400, 200), sizes[s], 500, 0);
        for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++)
            comes_back(&r, blocks[b]);
        records_free(&r);
    }
}

static void records_much_longer_than_a_block_come_back(void)
{
    struct records r = some_records(20, 1000000, 500, 0);

    comes_back(&r, 4096);
    comes_back(&r, 100);
    comes_back(&r, 1 << 16);
    records_free(&r);
}

static void empty_runs_and_empty_records_come_back(void)
{
    struct records r = {0};

    comes_back(&r, 4096);
    for (size_t i = 0; i < 1000; i++)
        records_add(&r, NULL, 0, NULL, 0, i);
    comes_back(&r, 4096);
    records_free(&r);
}

static void only_what_gets_shorter_is_compressed(void)
{
    static unsigned char value[1000];
    struct pmap__scratch *scratch = scratch_new();
    struct records r = {0};
    struct pmap__sorted sorted;

    for (uint64_t i = 0; i < 2000; i++) { /* first random bytes, then words */
        char key[32];
        int size = snprintf(key, sizeof key, "%06d", (int)i);
        fill(value, sizeof value, i);
        if (i >= 1000)
            memset(value, 'w', sizeof value);
        records_add(&r, key, (size_t)size, value, sizeof value, i);
    }
    if (CHECK_STATUS(write_run(scratch, &r, 16384, &sorted, NULL), PMAP_OK)) {
        CHECK(sorted.blocks[0].stored == sorted.blocks[0].size);
        CHECK(sorted.blocks[sorted.n - 1].stored < sorted.blocks[sorted.n - 1].size / 4);
        CHECK(sorted.stored < sorted.size * 2 / 3);
        CHECK(run_gives(scratch, &sorted, false, &r));
        pmap__sorted_free(scratch, &sorted);
        CHECK_INT(sorted.n, 0);
    }
    records_free(&r);
    pmap__scratch_destroy(scratch);
}

static void a_consumed_run_leaves_the_disk_as_it_is_read(void)
{
    struct records r = some_records(2000, 2000, 500, 0);
    struct pmap__scratch *scratch;
    struct pmap__sorted sorted;
    struct pmap__source *source;
    const void *record;

    if (holes_are_known()) {
        scratch = scratch_new();
        CHECK_STATUS(write_run(scratch, &r, 16384, &sorted, NULL), PMAP_OK);
        long full = on_disk();
        CHECK_STATUS(pmap__sorted_open(scratch, &sorted, true, &source), PMAP_OK);
        for (size_t i = 0; i < r.n / 2; i++)
            CHECK_STATUS(source->next(source, &record, NULL), PMAP_OK);
        CHECK(on_disk() < full * 2 / 3);
        source->close(source); /* early: the rest goes as well */
        CHECK(on_disk() < 20);
        free(sorted.blocks);
        pmap__scratch_destroy(scratch);
    }
    records_free(&r);
}

static void a_writer_on_a_full_disk_fails_and_leaves_nothing(void)
{
    struct records r = some_records(1000, 2000, 500, 0);

    if (holes_are_known())
        for (long until = 1; until < 20; until += 3) {
            struct pmap__scratch *scratch = scratch_new();
            struct pmap__sorted sorted = {.n = 77};
            struct pmap_error error;
            atomic_store(&until_full, until);
            CHECK_STATUS(write_run(scratch, &r, 16384, &sorted, &error), PMAP_EINVAL);
            atomic_store(&until_full, 0);
            CHECK_NAMES(error.text, "No space left on device");
            CHECK_INT(sorted.n, 77);
            CHECK(on_disk() < 20);
            pmap__scratch_destroy(scratch);
        }
    records_free(&r);
}

static void a_damaged_block_is_an_error(void)
{
    struct records r = some_records(1000, 100, 500, 0);
    struct pmap__scratch *scratch = scratch_new();
    struct pmap__sorted sorted;
    struct pmap__source *source;
    struct pmap_error error;
    const void *record;

    CHECK_STATUS(write_run(scratch, &r, 16384, &sorted, NULL), PMAP_OK);
    CHECK(sorted.blocks[0].stored < sorted.blocks[0].size);
    CHECK_INT(__real_pwrite(the_file, "damage", 6, (off_t)sorted.blocks[0].at), 6);
    CHECK_STATUS(pmap__sorted_open(scratch, &sorted, true, &source), PMAP_OK);
    CHECK_STATUS(source->next(source, &record, &error), PMAP_EINVAL);
    CHECK_NAMES(error.text, "damaged");
    source->close(source);
    free(sorted.blocks);
    records_free(&r);
    pmap__scratch_destroy(scratch);
}

/* Bytes of memory, as the C library counts them; always 0 under valgrind and the sanitizers. */
static size_t in_use(void)
{
#if defined __GLIBC__ && __GLIBC_PREREQ(2, 33)
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
#else
    return 0;
#endif
}

static void writers_and_readers_take_no_more_memory_than_they_say(void)
{
    struct records r = some_records(test_size(6000, 100), 1000, 500, 0);

    for (size_t block = 1024; block <= 1 << 21; block *= 2) {
        struct pmap__scratch *scratch = scratch_new();
        struct pmap__sorted_writer *writer;
        struct pmap__sorted sorted;
        struct pmap__source *source;
        const void *record;
        size_t before = in_use();
        CHECK_STATUS(pmap__sorted_begin(scratch, block, &writer), PMAP_OK);
        for (size_t i = 0; i < r.n; i++)
            CHECK_STATUS(pmap__sorted_put(writer, r.entries[i].record, NULL), PMAP_OK);
        size_t list = 64 + 2 * 24 * (8000000 / block), taken = in_use() - before;
        CHECK_SAYING(taken <= pmap__sorted_writer_memory(block) + list, "a writer of blocks of %zu takes %zu", block, taken);
        CHECK_STATUS(pmap__sorted_end(writer, &sorted, NULL), PMAP_OK);
        before = in_use();
        CHECK_STATUS(pmap__sorted_open(scratch, &sorted, true, &source), PMAP_OK);
        CHECK_STATUS(source->next(source, &record, NULL), PMAP_OK);
        taken = in_use() - before;
        CHECK_SAYING(taken <= pmap__sorted_reader_memory(block) + 8192, "a reader of blocks of %zu takes %zu", block, taken);
        source->close(source);
        free(sorted.blocks);
        pmap__scratch_destroy(scratch);
    }
    records_free(&r);
}

/* ---- Threads ---- */

enum { THREADS = 4, RUNS = 5 };

struct worker {
    pthread_t thread;
    struct pmap__scratch *scratch;
    uint64_t first;
    bool good;
};

static void *write_and_read(void *argument)
{
    struct worker *w = argument;

    w->good = true;
    for (uint64_t i = 0; i < RUNS; i++) {
        struct pmap__sorted sorted;
        struct records r = some_records(test_size(3000, 200), 0, 500, w->first + i);
        w->good = w->good && write_run(w->scratch, &r, 4096, &sorted, NULL) == PMAP_OK;
        w->good = w->good && run_gives(w->scratch, &sorted, i % 2, &r);
        if (i % 2)
            free(sorted.blocks);
        else
            pmap__sorted_free(w->scratch, &sorted);
        records_free(&r);
    }
    return NULL;
}

static void threads_share_a_scratch(void)
{
    struct pmap__scratch *scratch = scratch_new();
    struct worker workers[THREADS];

    for (int i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.scratch = scratch, .first = (uint64_t)i * 1000000};
        CHECK_INT(pthread_create(&workers[i].thread, NULL, write_and_read, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        CHECK(workers[i].good);
    }
    CHECK_INT(names_in_the_directory(), 0);
    pmap__scratch_destroy(scratch);
}

/* ---- Merging ---- */

/* Deal sorted records to n parts, each still sorted; some get none if there are more than three. Borrows the records. */
static struct records *dealt(const struct records *all, size_t n)
{
    struct records *parts = test_array(n, sizeof *parts);
    uint64_t state = n + 1;

    for (size_t i = 0; i < n; i++)
        parts[i].entries = test_array(all->n, sizeof *parts->entries);
    for (size_t i = 0; n && i < all->n; i++) {
        struct records *part = &parts[random_number(&state) % (n > 3 ? n - n / 4 : n)];
        part->entries[part->n++] = all->entries[i];
    }
    return parts;
}

static void dealt_free(struct records *parts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(parts[i].entries);
    free(parts);
}

static struct pmap__source *array_of(const struct records *r)
{
    struct pmap__source *source;
    if (pmap__source_of_array(r->entries, r->n, &source) != PMAP_OK)
        abort();
    return source;
}

static struct pmap__source *merge_of(struct pmap__source *const sources[], size_t n)
{
    struct pmap__source *source;
    if (pmap__merge_open(sources, n, &source) != PMAP_OK)
        abort();
    return source;
}

static void a_merge_gives_what_sorting_all_would(void)
{
    for (size_t n = 0; n < 40; n += 1 + n / 5)
        for (uint64_t keys = 1; keys < 100000; keys *= 50) {
            struct records all = some_records(n ? test_size(2000, 200) : 0, 20, keys, 0), *parts = dealt(&all, n);
            struct pmap__source *sources[40];
            for (size_t i = 0; i < n; i++)
                sources[i] = array_of(&parts[i]);
            CHECK(gives(merge_of(sources, n), &all));
            dealt_free(parts, n);
            records_free(&all);
        }
}

static void merges_of_runs_and_merges_do_so_too(void)
{
    struct pmap__scratch *scratch = scratch_new();
    struct records all = some_records(2000, 300, 100, 0), *parts = dealt(&all, 6);
    struct pmap__sorted runs[3];
    struct pmap__source *sources[4], *inner[3];

    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(write_run(scratch, &parts[i], 2000, &runs[i], NULL), PMAP_OK);
        CHECK_STATUS(pmap__sorted_open(scratch, &runs[i], true, &sources[i]), PMAP_OK);
        inner[i] = array_of(&parts[3 + i]);
    }
    sources[3] = merge_of(inner, 3);
    CHECK(gives(merge_of(sources, 4), &all));
    for (int i = 0; i < 3; i++)
        free(runs[i].blocks);
    dealt_free(parts, 6);
    records_free(&all);
    pmap__scratch_destroy(scratch);
}

static void equal_records_come_in_the_order_of_the_sources(void)
{
    enum { N = 7 };
    struct records r[N] = {{0}};
    struct pmap__source *sources[N], *merge;
    const void *record;

    for (uint64_t i = 0; i < N; i++) {
        for (int k = 0; k < 10; k++)
            records_add(&r[i], "key", 3, &i, sizeof i, 0);
        sources[i] = array_of(&r[i]);
    }
    merge = merge_of(sources, N);
    for (uint64_t i = 0; i < 10 * N; i++) {
        CHECK_STATUS(merge->next(merge, &record, NULL), PMAP_OK);
        CHECK_INT(*(const uint64_t *)pmap__record_value(record), i / 10);
    }
    merge->close(merge);
    for (int i = 0; i < N; i++)
        records_free(&r[i]);
}

/* ---- Merging down ---- */

enum { RUNS_MAX = 60 };
static const struct pmap__combine no_combine;

static void sum(void *acc, const void *value)
{
    *(uint64_t *)acc += *(const uint64_t *)value;
}
static const struct pmap__combine sums = {sizeof(uint64_t), sum};

/* What is left of runs gives these records; they are freed. */
static bool runs_give(struct pmap__scratch *scratch, struct pmap__sorted runs[], size_t n, const struct records *expected)
{
    struct pmap__source *sources[RUNS_MAX];

    for (size_t i = 0; i < n; i++)
        if (pmap__sorted_open(scratch, &runs[i], false, &sources[i]) != PMAP_OK)
            abort();
    bool good = gives(merge_of(sources, n), expected);
    for (size_t i = 0; i < n; i++)
        pmap__sorted_free(scratch, &runs[i]);
    return good;
}

static void write_runs(struct pmap__scratch *scratch, const struct records parts[], size_t n, struct pmap__sorted runs[])
{
    for (size_t i = 0; i < n; i++)
        if (write_run(scratch, &parts[i], 1000, &runs[i], NULL) != PMAP_OK)
            abort();
}

static void many_runs_become_few_with_the_same_records(void)
{
    struct records all = some_records(test_size(1500, 300), 30, 200, 0);

    for (size_t fan_in = 1; fan_in < 20; fan_in += 1 + fan_in / 3)
        for (size_t n = 0; n < RUNS_MAX; n += 1 + n / 3) {
            struct pmap__scratch *scratch = scratch_new();
            struct records *parts = dealt(&all, n), none = {0};
            struct pmap__sorted runs[RUNS_MAX];
            size_t left = n, wanted = fan_in < 2 ? 2 : fan_in;
            uint64_t merged = 100;
            write_runs(scratch, parts, n, runs);
            CHECK_STATUS(pmap__sorted_merge_down(scratch, runs, &left, fan_in, 1000, &no_combine, &merged, NULL), PMAP_OK);
            CHECK_INT(left, n < wanted ? n : wanted);
            CHECK((merged == 100) == (n <= wanted));
            CHECK(runs_give(scratch, runs, left, n ? &all : &none));
            CHECK_INT(names_in_the_directory(), 0);
            dealt_free(parts, n);
            pmap__scratch_destroy(scratch);
        }
    records_free(&all);
}

/* Of runs of 1000, 1, 1, 1, 1 and 1000 records four, and no more, are read and written to have three. */
static void the_shortest_runs_are_merged(void)
{
    static const size_t sizes[] = {1000, 1, 1, 1, 1, 1000};
    struct pmap__scratch *scratch = scratch_new();
    struct records r[6];
    struct pmap__sorted runs[6];
    size_t n = 6, long_ones = 0;
    uint64_t merged = 0;

    for (size_t i = 0; i < 6; i++)
        r[i] = some_records(sizes[i], 10, 100, 10000 * i);
    write_runs(scratch, r, 6, runs);
    const struct pmap__run_block *first = runs[0].blocks, *last = runs[5].blocks;
    CHECK_STATUS(pmap__sorted_merge_down(scratch, runs, &n, 3, 1000, &no_combine, &merged, NULL), PMAP_OK);
    CHECK_INT(n, 3);
    CHECK_INT(merged, 2 + 3); /* two of one, then this and the other two */
    for (size_t i = 0; i < n; i++) {
        long_ones += runs[i].blocks == first || runs[i].blocks == last;
        pmap__sorted_free(scratch, &runs[i]);
    }
    CHECK_INT(long_ones, 2);
    for (int i = 0; i < 6; i++)
        records_free(&r[i]);
    pmap__scratch_destroy(scratch);
}

/* Key k is in each run from number k on, once, with value 1. Keys get longer. */
static struct records run_of_keys(size_t n)
{
    struct records r = {0};
    uint64_t one = 1;

    for (size_t k = 0; k < n; k++) {
        char key[300];
        records_add(&r, key, (size_t)snprintf(key, sizeof key, "%0*zu", (int)(3 + 10 * k), k), &one, sizeof one, k);
    }
    pmap__sort(r.entries, r.n);
    return r;
}

static void values_of_equal_keys_are_combined(void)
{
    enum { N = 20 };
    struct pmap__scratch *scratch = scratch_new();
    struct records parts[N + 1];
    struct pmap__sorted runs[N + 1];
    size_t n = N + 1;
    uint64_t merged = 0, totals[N] = {0};

    for (size_t i = 0; i <= N; i++)
        parts[i] = run_of_keys(i);
    write_runs(scratch, parts, n, runs);
    CHECK_STATUS(pmap__sorted_merge_down(scratch, runs, &n, 2, 500, &sums, &merged, NULL), PMAP_OK);
    CHECK_INT(n, 2);
    for (size_t i = 0; i < n; i++) {
        struct pmap__source *source;
        const void *record;
        CHECK(runs[i].records <= N);
        CHECK_STATUS(pmap__sorted_open(scratch, &runs[i], true, &source), PMAP_OK);
        while (source->next(source, &record, NULL) == PMAP_OK && record)
            totals[pmap__record_tag(record)] += *(const uint64_t *)pmap__record_value(record);
        source->close(source);
        free(runs[i].blocks);
    }
    for (size_t k = 0; k < N; k++)
        CHECK_INT(totals[k], N - k);
    for (int i = 0; i <= N; i++)
        records_free(&parts[i]);
    pmap__scratch_destroy(scratch);
}

static void a_merge_on_a_full_disk_fails_and_what_is_left_can_be_freed(void)
{
    struct records all = some_records(1500, 300, 200, 0), *parts = dealt(&all, 20);

    if (holes_are_known())
        for (long until = 1; until < 300; until += 20) {
            struct pmap__scratch *scratch = scratch_new();
            struct pmap__sorted runs[20];
            size_t n = 20;
            uint64_t merged = 0;
            struct pmap_error error;
            write_runs(scratch, parts, 20, runs);
            atomic_store(&until_full, until);
            CHECK_STATUS(pmap__sorted_merge_down(scratch, runs, &n, 3, 1000, &no_combine, &merged, &error), PMAP_EINVAL);
            atomic_store(&until_full, 0);
            CHECK(n < 20);
            for (size_t i = 0; i < n; i++)
                pmap__sorted_free(scratch, &runs[i]);
            CHECK(on_disk() < 20);
            pmap__scratch_destroy(scratch);
        }
    dealt_free(parts, 20);
    records_free(&all);
}

/* ---- Memory that is short ---- */

/* Everything, once; runs are freed whatever happens. */
static enum pmap_status live(const struct records parts[], size_t n)
{
    struct pmap__scratch *scratch;
    struct pmap__sorted runs[RUNS_MAX];
    struct pmap__source *sources[RUNS_MAX], *merge = NULL;
    size_t written = 0, opened = 0;
    uint64_t merged = 0;
    const void *record = NULL;
    enum pmap_status status = pmap__scratch_create(the_directory, &scratch);

    if (status != PMAP_OK)
        return status;
    for (; status == PMAP_OK && written < n; written += status == PMAP_OK)
        status = write_run(scratch, &parts[written], 1000, &runs[written], NULL);
    if (status == PMAP_OK)
        status = pmap__sorted_merge_down(scratch, runs, &written, 3, 1000, &sums, &merged, NULL);
    for (; status == PMAP_OK && opened < written; opened += status == PMAP_OK)
        status = pmap__sorted_open(scratch, &runs[opened], false, &sources[opened]);
    if (status == PMAP_OK) {
        status = pmap__merge_open(sources, opened, &merge);
        opened = 0;
    }
    do
        status = status == PMAP_OK ? merge->next(merge, &record, NULL) : status;
    while (status == PMAP_OK && record);
    if (merge)
        merge->close(merge);
    for (size_t i = 0; i < opened; i++)
        sources[i]->close(sources[i]);
    for (size_t i = 0; i < written; i++)
        pmap__sorted_free(scratch, &runs[i]);
    pmap__scratch_destroy(scratch);
    return status;
}

static void every_allocation_may_fail(void)
{
    uint64_t one = 1;
    struct records parts[7] = {{0}};
    enum pmap_status status = PMAP_ENOMEM;
    long until;

    for (size_t i = 0; i < 7; i++)
        for (int k = 0; k < 100; k++) {
            char key[2000];
            int size = snprintf(key, sizeof key, "%0*d", k % 50 ? 10 : 1900, k);
            records_add(&parts[i], key, (size_t)size, &one, sizeof one, (uint64_t)k);
        }
    for (int i = 0; i < 7; i++)
        pmap__sort(parts[i].entries, parts[i].n);
    for (until = 1; status != PMAP_OK && until < 10000; until++) {
        atomic_store(&until_no_memory, until);
        status = live(parts, 7);
        atomic_store(&until_no_memory, 0);
        CHECK(status == PMAP_OK || status == PMAP_ENOMEM);
    }
    CHECK(until > 50);
    CHECK_STATUS(status, PMAP_OK);
    for (int i = 0; i < 7; i++)
        records_free(&parts[i]);
}

static const struct test tests[] = {TEST(bytes_come_back),
                                    TEST(interrupted_and_short_writes_are_gone_on_with),
                                    TEST(the_file_has_no_name_and_is_not_inherited),
                                    TEST(a_missing_directory_is_named),
                                    TEST(without_a_directory_tmpdir_is_taken),
                                    TEST(a_full_disk_is_named_and_what_it_holds_is_good),
                                    TEST(freed_room_goes_back_to_the_disk),
                                    TEST(records_come_back_from_blocks_of_any_size),
                                    TEST(records_much_longer_than_a_block_come_back),
                                    TEST(empty_runs_and_empty_records_come_back),
                                    TEST(only_what_gets_shorter_is_compressed),
                                    TEST(a_consumed_run_leaves_the_disk_as_it_is_read),
                                    TEST(a_writer_on_a_full_disk_fails_and_leaves_nothing),
                                    TEST(a_damaged_block_is_an_error),
                                    TEST(writers_and_readers_take_no_more_memory_than_they_say),
                                    TEST(threads_share_a_scratch),
                                    TEST(a_merge_gives_what_sorting_all_would),
                                    TEST(merges_of_runs_and_merges_do_so_too),
                                    TEST(equal_records_come_in_the_order_of_the_sources),
                                    TEST(many_runs_become_few_with_the_same_records),
                                    TEST(the_shortest_runs_are_merged),
                                    TEST(values_of_equal_keys_are_combined),
                                    TEST(a_merge_on_a_full_disk_fails_and_what_is_left_can_be_freed),
                                    TEST(every_allocation_may_fail),
                                    {NULL, NULL}};

int main(int argc, char *argv[])
{
    if (argc > 1)
        return test_main(argc, argv, tests, "t1");
    if (mkdtemp(the_directory) == NULL)
        return 1;
    int status = test_main(argc, argv, tests, "t1");
    rmdir(the_directory);
    return status;
}
