/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * For test_mr_splits.sh: a map-reduce that is cut short, and started again.
 *
 *     splits_job DIRECTORY KIND [END NUMBER]
 *
 * With the journal DIRECTORY/run.db it makes DIRECTORY/out of the files in DIRECTORY/in. KIND says of what, and how:
 *
 *     count       words, whose numbers are combined
 *     index       words, whose places are not, for a reduce function that minds their order
 *     sorted      the same without a reduce function: the output is ranges of the keys
 *     packed      as count, but the words are long: they pass by a front
 *     array       as count, from the bytes of the first file as an array
 *     generator   as count, from its lines, again and again
 *     delivered   as count, but the output goes through a function
 *     kept        as count, but first into a dataset, and from there
 *     whole       as count, but the journal is to know of the whole only
 *     plain       as count, without a journal
 *
 * Each split that is mapped appends a line to DIRECTORY/log, 32 bytes; each process names itself in DIRECTORY/pids. The END comes when
 * the NUMBERth split begins:
 *
 *     kill        all processes are killed with SIGKILL
 *     term        the first process gets SIGTERM, and nothing more is mapped before the pool knows of it
 *     fail        the split fails, and the call is made again
 *     die         the next rank that maps a split, but not the root, dies, and the root makes the call again
 *
 * SPLITS_THREADS: of each rank; 2 unless given. It prints the status of the call, and if that is PMAP_OK, how many splits there were and how many were known.
 */
#include <fcntl.h>
#include <limits.h>
#include <pmap_mapreduce.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE = 32, RECORD = 16, SPLIT = 2048, AGAIN = 30 };

static const char *directory, *ending = "";
static long number; /* of the call that ends it; 0: none */
static atomic_bool is_root;

static const char *path_of(const char *name)
{
    static _Thread_local char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

/* Append a line, of so many bytes. Which of the file it is, from 1 on. */
static long append(const char *name, const char *text, int size)
{
    char line[64];
    int fd = open(path_of(name), O_WRONLY | O_APPEND | O_CREAT, 0644);

    snprintf(line, sizeof line, "%-*.*s\n", size - 1, size - 1, text);
    if (fd < 0 || write(fd, line, (size_t)size) != size)
        abort();
    long at = (long)lseek(fd, 0, SEEK_CUR) / size;
    close(fd);
    return at;
}

/* To all processes of the job, this one last, or to the first only. */
static void signal_job(int signal, bool all)
{
    FILE *pids = fopen(path_of("pids"), "r");
    int pid;

    while (pids && fscanf(pids, "%d", &pid) == 1) {
        if (pid != (int)getpid() || !all)
            kill(pid, signal);
        if (!all)
            break;
    }
    if (pids)
        fclose(pids);
    if (all)
        kill(getpid(), signal);
}

/* One rank, once. */
static void die(void)
{
    int dead = atomic_load(&is_root) ? -1 : open(path_of("dead"), O_CREAT | O_EXCL | O_WRONLY, 0600);

    if (dead >= 0)
        kill(getpid(), SIGKILL);
}

/* At the beginning of each map function, which may be called several times for a split. */
static void note(const struct pmap_emitter *out)
{
    static _Thread_local size_t last = PMAP_NO_ITEM;
    struct pmap_source_of from = pmap_emitter_source(out);
    char text[LINE];

    if (from.split == last || from.split == PMAP_NO_ITEM)
        return;
    last = from.split;
    snprintf(text, sizeof text, "%zu %llu", from.file, (unsigned long long)from.offset);
    long at = append("log", text, LINE);
    if (strcmp(ending, "die") == 0 && at >= number)
        die();
    if (at != number)
        return;
    last = PMAP_NO_ITEM;
    if (strcmp(ending, "kill") == 0)
        signal_job(SIGKILL, true);
    else if (strcmp(ending, "fail") == 0)
        pmap_fail(1, "told to fail");
    else if (strcmp(ending, "term") == 0)
        signal_job(SIGTERM, false);
    while (strcmp(ending, "term") == 0 && !pmap_cancelled())
        ;
}

/* ---- Map and reduce ---- */

typedef void emit_fn(struct pmap_emitter *out, const char *word, size_t size, uint64_t place);

static void each_word(struct pmap_view piece, struct pmap_emitter *out, emit_fn *emit)
{
    const char *text = piece.data;
    uint64_t offset = pmap_emitter_source(out).offset;

    note(out);
    for (size_t at = 0, end; at < piece.size; at = end + 1) {
        for (end = at; end < piece.size && text[end] != ' ' && text[end] != '\n'; end++)
            ;
        if (end > at)
            emit(out, text + at, end - at, offset + at);
    }
}

static void emit_one(struct pmap_emitter *out, const char *word, size_t size, uint64_t place)
{
    (void)place;
    pmap_emit_i64(out, word, size, 1);
}

static void emit_long(struct pmap_emitter *out, const char *word, size_t size, uint64_t place)
{
    char text[100];
    int n = snprintf(text, sizeof text, "%.*s, but so long that it does not fit", (int)size, word);

    (void)place;
    pmap_emit_i64(out, text, (size_t)n, 1);
}

static void emit_place(struct pmap_emitter *out, const char *word, size_t size, uint64_t place)
{
    char text[64];
    int n = snprintf(text, sizeof text, "%zu:%llu", pmap_emitter_source(out).file, (unsigned long long)place);

    pmap_emit(out, word, size, text, (size_t)n);
}

static void count_words(struct pmap_view piece, struct pmap_emitter *out) { each_word(piece, out, emit_one); }
PMAP_MAPREDUCE(count, .map = count_words, .combine = pmap_sum_i64, .value = PMAP_TYPE_I64);

static void count_long(struct pmap_view piece, struct pmap_emitter *out) { each_word(piece, out, emit_long); }
PMAP_MAPREDUCE(packed, .map = count_long, .combine = pmap_sum_i64, .value = PMAP_TYPE_I64);

static void place_words(struct pmap_view piece, struct pmap_emitter *out) { each_word(piece, out, emit_place); }

static void join_places(struct pmap_view key, struct pmap_values *values, struct pmap_emitter *out)
{
    char all[4096];
    struct pmap_view place;
    size_t used = 0;

    while (pmap_values_next(values, &place) && used + place.size + 1 < sizeof all) {
        memcpy(all + used, place.data, place.size);
        all[used + place.size] = ' ';
        used += place.size + 1;
    }
    pmap_emit(out, key.data, key.size, all, used);
}
PMAP_MAPREDUCE(index, .map = place_words, .reduce = join_places);
PMAP_MAPREDUCE(sorted, .map = place_words);

static void pass_pair(struct pmap_view key, struct pmap_view value, struct pmap_emitter *out)
{
    pmap_emit(out, key.data, key.size, value.data, value.size);
}
PMAP_MAPREDUCE(again, .map_pair = pass_pair, .value = PMAP_TYPE_I64);

/* ---- Inputs and outputs ---- */

static char *read_first(size_t *size)
{
    FILE *file = fopen(path_of("in/a"), "r");
    char *text = calloc(1, 1 << 20);

    if (file == NULL || text == NULL)
        abort();
    *size = fread(text, 1, (1 << 20) - RECORD, file);
    fclose(file);
    return text;
}

struct lines {
    const char *begin, *at, *end;
    int again;
};

static bool next_line(void *state, struct pmap_view *record)
{
    struct lines *lines = state;
    const char *newline = memchr(lines->at, '\n', (size_t)(lines->end - lines->at));

    if (newline == NULL && lines->again-- > 0)
        newline = memchr(lines->at = lines->begin, '\n', (size_t)(lines->end - lines->begin));
    if (newline == NULL)
        return false;
    *record = (struct pmap_view){lines->at, (size_t)(newline - lines->at)};
    lines->at = newline + 1;
    return true;
}

static bool deliver(void *user, struct pmap_view key, struct pmap_view value)
{
    fprintf(user, "%.*s\t%lld\n", (int)key.size, (const char *)key.data, (long long)pmap_view_i64(value));
    return true;
}

struct record {
    char bytes[RECORD];
};

static struct pmap_mapreduce_stats stats;

static enum pmap_status run_delivered(struct pmap_pool *pool, const char *input)
{
    FILE *out = fopen(path_of("out"), "w");
    if (out == NULL)
        abort();
    enum pmap_status status = pmap_mapreduce(pool, count, PMAP_FILES(input), .split_size = SPLIT, .deliver = deliver,
                                             .user = out, .stats = &stats);
    fclose(out);
    return status;
}

static enum pmap_status run_kept(struct pmap_pool *pool, const char *input, const char *output)
{
    struct pmap_dataset *set = NULL;
    enum pmap_status status = pmap_mapreduce(pool, count, PMAP_FILES(input), .split_size = SPLIT, .keep = &set, .stats = &stats);

    if (status == PMAP_OK)
        status = pmap_mapreduce(pool, again, PMAP_DATASET(set), .output = output);
    pmap_dataset_free(set);
    return status;
}

static enum pmap_status run_memory(struct pmap_pool *pool, const char *output, bool array)
{
    size_t size;
    char *text = read_first(&size);
    struct lines lines = {text, text, text + size, AGAIN};
    enum pmap_status status;

    if (array)
        status = pmap_mapreduce(pool, count, PMAP_RECORDS((struct record *)(void *)text, size / RECORD + 1), .split_size = SPLIT,
                                .output = output, .stats = &stats);
    else
        status = pmap_mapreduce(pool, count, PMAP_RECORD_GENERATOR(next_line, &lines), .output = output, .stats = &stats);
    free(text);
    return status;
}

static enum pmap_status run_files(struct pmap_pool *pool, const char *input, const char *output, const char *kind)
{
    if (strcmp(kind, "index") == 0)
        return pmap_mapreduce(pool, index, PMAP_FILES(input), .split_size = SPLIT, .output = output, .stats = &stats);
    if (strcmp(kind, "sorted") == 0)
        return pmap_mapreduce(pool, sorted, PMAP_FILES(input), .split_size = SPLIT, .output = output, .stats = &stats);
    if (strcmp(kind, "packed") == 0)
        return pmap_mapreduce(pool, packed, PMAP_FILES(input), .split_size = SPLIT, .output = output, .stats = &stats);
    return pmap_mapreduce(pool, count, PMAP_FILES(input), .split_size = SPLIT, .output = output, .stats = &stats,
                          .whole = strcmp(kind, "whole") == 0);
}

static enum pmap_status run(struct pmap_pool *pool, const char *kind)
{
    char output[PATH_MAX], input[PATH_MAX];

    snprintf(output, sizeof output, "%s", path_of("out"));
    snprintf(input, sizeof input, "%s", path_of("in/"));
    if (strcmp(kind, "array") == 0 || strcmp(kind, "generator") == 0)
        return run_memory(pool, output, kind[0] == 'a');
    if (strcmp(kind, "delivered") == 0)
        return run_delivered(pool, input);
    return strcmp(kind, "kept") == 0 ? run_kept(pool, input, output) : run_files(pool, input, output, kind);
}

static void work(struct pmap_pool *pool, const char *kind)
{
    atomic_store(&is_root, true);
    enum pmap_status status = run(pool, kind);
    if (status != PMAP_OK && (strcmp(ending, "fail") == 0 || strcmp(ending, "die") == 0)) { /* as a program would that knows what to do about it */
        number = 0;
        status = run(pool, kind);
    }
    if (status == PMAP_OK)
        printf("%d splits %zu found %zu pairs %llu\n", (int)status, stats.splits, stats.splits_found, (unsigned long long)stats.pairs);
    else
        printf("%d\n", (int)status);
    fflush(stdout);
}

int main(int argc, char *argv[])
{
    const char *threads = getenv("SPLITS_THREADS");
    char journal[PATH_MAX], pid[32];
    struct pmap_pool *pool;

    if (argc != 3 && argc != 5)
        return 2;
    directory = argv[1];
    if (argc == 5) {
        ending = argv[3];
        number = strtol(argv[4], NULL, 10);
    }
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    append("pids", pid, 16);
    snprintf(journal, sizeof journal, "%s", path_of("run.db"));
    if (pmap_create(&pool, .survive = strcmp(ending, "die") == 0, .threads = threads ? atoi(threads) : 2, .journal = strcmp(argv[2], "plain") ? journal : NULL) != PMAP_OK)
        return 1;
    if (pool) {
        work(pool, argv[2]);
        pmap_destroy(pool);
    }
    return 0;
}
