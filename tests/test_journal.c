/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Journals: what a former run of the program has computed is not computed again, and a file that is not right is refused and
 * left alone.
 *
 * A run of the program is a pool that is created, used and destroyed, by all ranks in step. Tasks count on the board how often they
 * run. Runs that are to be the same make their calls in the same function: at the same lines.
 */
#include "board.h"
#include "harness.h"
#include "journal/journal.h"

#include <limits.h>
#include <pmap_mapreduce.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RUNS, FAIL_AT, FAILURES }; /* cells of the board: items run; the item that fails, or -1; how often it may */

static int count_run(int x)
{
    atomic_fetch_add(&board()[RUNS], 1);
    if (x == atomic_load(&board()[FAIL_AT]) && atomic_fetch_sub(&board()[FAILURES], 1) > 0)
        pmap_fail(3, "told to fail");
    return x;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int square(int x) { return count_run(x) * x; }
PMAP_TASK(square, int, int);

static double power(double base, int exponent)
{
    double p = 1;
    for (int i = 0; i < count_run(exponent) * 0 + exponent; i++)
        p *= base;
    return p;
}
PMAP_TASK(power, double, double, int);

static void blocks(size_t n, const int in[], int out[])
{
    for (size_t i = 0; i < n; i++)
        out[i] = count_run(in[i]) + 1;
}
PMAP_BLOCK_TASK(blocks, int, int);

static struct pmap_bytes twice(struct pmap_bytes x)
{
    char *doubled = malloc(2 * x.size + 1);

    count_run((int)x.size);
    for (size_t i = 0; i < 2 && doubled; i++)
        memcpy(doubled + i * x.size, x.size ? x.data : "", x.size);
    return (struct pmap_bytes){doubled, 2 * x.size};
}
PMAP_BYTES_TASK(twice);

static uint64_t draw(int seed)
{
    struct pmap_random r = pmap_random_stream(pmap_item());
    return pmap_random_bits(&r) + (uint64_t)(count_run(seed) - seed);
}
PMAP_TASK(draw, uint64_t, int);

static int nothing_to_know(void) { return count_run(41) + 1; }
PMAP_TASK(nothing_to_know, int);

static void act(int x) { count_run(x); }
PMAP_ACTION(act, int);

static double tenth(int x) { return 0.1 * count_run(x); }
PMAP_TASK(tenth, double, int);

static double add(double a, double b) { return a + b; }
PMAP_OP(add, double);

static int with_calls_inside(int x)
{
    int in[3] = {x, x + 1, x + 2}, out[3] = {0};

    pmap_map(NULL, square, in, out, 3);
    return out[0] + out[1] + out[2];
}
PMAP_TASK(with_calls_inside, int, int);

static void words_of(struct pmap_view line, struct pmap_emitter *out)
{
    const char *text = line.data;

    count_run(1);
    for (size_t at = 0, end; at < line.size; at = end + 1) {
        for (end = at; end < line.size && text[end] != ' '; end++)
            ;
        pmap_emit_i64(out, text + at, end - at, 1);
    }
}
PMAP_MAPREDUCE(wordcount, .map_record = words_of, .combine = pmap_sum_i64, .value = PMAP_TYPE_I64);

/* Below 0 it takes a second. */
static int lasting(int x)
{
    double end = now() + 1;

    count_run(x);
    while (x < 0 && now() < end)
        sched_yield();
    return x + 1;
}
PMAP_TASK(lasting, int, int);

static struct pmap_bytes lasting_bytes(struct pmap_bytes x)
{
    lasting(x.size ? 1 : -1);
    return twice(x);
}
PMAP_BYTES_TASK(lasting_bytes);

/* ---- Runs -------------------------------------------------------------------------------------------- */

static bool is_root(void) { return test_processes() == 1 || test_rank() == 0; }

static const char *path_of(const char *name)
{
    static char paths[2][PATH_MAX];
    static int turn;
    const char *directory = getenv("PMAP_TEST_DIR");

    turn = !turn;
    snprintf(paths[turn], sizeof paths[turn], "%s/%s", directory ? directory : ".", name);
    return paths[turn];
}

static const char *journal(void) { return path_of("journal.db"); }

static void remove_file(const char *suffix)
{
    char name[32];

    snprintf(name, sizeof name, "journal.db%s", suffix);
    chmod(path_of(name), 0644);
    remove(path_of(name));
}

/* No journal, and nobody has to fail. */
static void begin_anew(void)
{
    if (!is_root())
        return;
    remove_file("");
    remove_file("-wal");
    remove_file("-journal");
    board_clear();
    atomic_store(&board()[FAIL_AT], -1);
}

/* An item is to fail so often. */
static void fail_at(int item, int times)
{
    if (!is_root())
        return;
    atomic_store(&board()[FAIL_AT], item);
    atomic_store(&board()[FAILURES], times);
}

/* A run of the program for so many seconds, 0: as many as it likes, which does something on the root; how many items it ran. -1 on other ranks. */
static int run_for(double walltime, void (*something)(struct pmap_pool *pool))
{
    struct pmap_pool *pool = NULL;

    if (is_root())
        atomic_store(&board()[RUNS], 0);
    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .journal = journal(), .walltime = walltime), PMAP_OK);
    if (pool)
        something(pool);
    pmap_destroy(pool);
    return is_root() ? atomic_load(&board()[RUNS]) : -1;
}

static int run(void (*something)(struct pmap_pool *pool)) { return run_for(0, something); }

/* A run that runs so many items. */
static void check_run(void (*something)(struct pmap_pool *pool), int items)
{
    int ran = run(something);

    if (is_root())
        CHECK_INT(ran, items);
}

/* So many the first time, and so many the second. */
static void run_twice(void (*something)(struct pmap_pool *pool), int first, int second)
{
    check_run(something, first);
    check_run(something, second);
}

/* Between two runs: change the file. */
static void change(const char *sql)
{
    sqlite3 *db = NULL;

    if (!is_root())
        return;
    CHECK_INT(sqlite3_open(journal(), &db), SQLITE_OK);
    CHECK_SAYING(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

static long long ask(const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    long long answer = -1;

    if (sqlite3_open(journal(), &db) == SQLITE_OK && sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        answer = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return answer;
}

/* ---- What is skipped --------------------------------------------------------------------------------- */

enum { N = 500 };

static struct {
    int in[N];
    size_t n;
    enum pmap_status expected;
    uint64_t seed;
    ptrdiff_t chunksize;
    int retries;
    const double *cost;
    int out[N];
    enum pmap_status statuses[N];
} input;

static void reset_input(void)
{
    memset(&input, 0, sizeof input);
    input.n = N;
    for (int i = 0; i < N; i++)
        input.in[i] = i;
    begin_anew();
}

static void map_squares(struct pmap_pool *pool)
{
    struct pmap_error error;

    memset(input.out, 0x55, sizeof input.out);
    CHECK_STATUS(pmap_map(pool, square, input.in, input.out, input.n, .seed = input.seed, .chunksize = input.chunksize,
                          .retries = input.retries, .cost = input.cost, .statuses = input.statuses, .error = &error),
                 input.expected);
    for (size_t i = 0; i < input.n; i++)
        if (input.statuses[i] == PMAP_OK && !CHECK_INT(input.out[i], input.in[i] * input.in[i]))
            return;
}

static void finished_map_is_not_run_again(void)
{
    reset_input();
    run_twice(map_squares, N, 0);
    for (int i = 0; i < N && is_root(); i++)
        CHECK_STATUS(input.statuses[i], PMAP_OK);
}

static void changed_items_run_again(void)
{
    reset_input();
    run(map_squares);
    for (int i = 0; i < N; i += 10)
        input.in[i] += 10000;
    check_run(map_squares, N / 10);
}

static void reordered_items_are_found(void)
{
    reset_input();
    run(map_squares);
    for (int i = 0; i < N; i++)
        input.in[i] = N - 1 - i;
    check_run(map_squares, 0);
}

static void more_items_run_alone(void)
{
    reset_input();
    input.n = N / 2;
    run(map_squares);
    input.n = N;
    check_run(map_squares, N - N / 2);
}

static void other_seed_is_another_call(void)
{
    reset_input();
    run(map_squares);
    input.seed = 1;
    check_run(map_squares, N);
}

static void holes_are_filled_for_every_chunksize(void)
{
    for (ptrdiff_t chunksize = 0; chunksize < 30; chunksize += 7) {
        reset_input();
        input.chunksize = chunksize;
        run(map_squares);
        change("DELETE FROM item WHERE item % 3 = 1");
        check_run(map_squares, (N + 1) / 3);
        change("DELETE FROM item WHERE item <> 17");
        check_run(map_squares, N - 1);
        change("DELETE FROM item WHERE item = 17");
        check_run(map_squares, 1);
    }
}

static void costs_order_what_is_left(void)
{
    double cost[N];

    for (int i = 0; i < N; i++)
        cost[i] = i * 7 % 11;
    reset_input();
    input.cost = cost;
    run(map_squares);
    change("DELETE FROM item WHERE item % 5 = 0");
    check_run(map_squares, N / 5);
}

static void failed_items_run_again(void)
{
    reset_input();
    fail_at(123, 1);
    input.expected = PMAP_EFAILED;
    int ran = run(map_squares);
    if (is_root()) {
        CHECK_INT(ran, N);
        CHECK_STATUS(input.statuses[123], PMAP_EFAILED);
        CHECK_INT(input.out[123], 0);
    }
    input.expected = PMAP_OK;
    ran = run(map_squares);
    if (is_root()) {
        CHECK_INT(ran, 1);
        CHECK_STATUS(input.statuses[123], PMAP_OK);
    }
}

static void failure_of_what_is_left_names_its_item(void)
{
    reset_input();
    run(map_squares);
    change("DELETE FROM item WHERE item = 77 OR item = 333");
    fail_at(333, 1);
    input.expected = PMAP_EFAILED;
    run(map_squares);
    if (is_root()) {
        CHECK_STATUS(input.statuses[333], PMAP_EFAILED);
        CHECK_STATUS(input.statuses[77], PMAP_OK);
        CHECK_INT(ask("SELECT count(*) FROM item WHERE item = 333"), 0);
    }
}

static void second_runs_are_written_down(void)
{
    reset_input();
    input.retries = 2;
    fail_at(44, 2);
    run_twice(map_squares, N + 2, 0);
    change("DELETE FROM item WHERE item BETWEEN 40 AND 50");
    if (is_root())
        atomic_store(&board()[FAILURES], 1);
    check_run(map_squares, 12);
}

static void map_nothing(struct pmap_pool *pool)
{
    CHECK_STATUS(pmap_map(pool, square, (int *)NULL, (int *)NULL, 0), PMAP_OK);
}

static void map_of_nothing_is_no_row(void)
{
    begin_anew();
    run_twice(map_nothing, 0, 0);
    if (is_root())
        CHECK_INT(ask("SELECT count(*) FROM item"), 0);
}

/* ---- Every kind of task and call --------------------------------------------------------------------- */

static void every_kind_of_task(struct pmap_pool *pool)
{
    struct power_args args[20];
    double powers[20], p = 0;
    int blocked[20], in[20], answer = 0;

    for (int i = 0; i < 20; i++) {
        args[i] = (struct power_args){0}; /* the padding, too */
        args[i]._1 = 2;
        args[i]._2 = i;
        in[i] = i;
    }
    CHECK_STATUS(pmap_starmap(pool, power, args, powers, 20), PMAP_OK);
    CHECK(powers[0] == 1 && powers[10] == 1024);
    CHECK_STATUS(pmap_map(pool, blocks, in, blocked, 20), PMAP_OK);
    CHECK(blocked[0] == 1 && blocked[19] == 20);
    CHECK_STATUS(pmap_map(pool, act, in, NULL, 20), PMAP_OK);
    CHECK_STATUS(pmap_apply(pool, nothing_to_know, &answer), PMAP_OK);
    CHECK_INT(answer, 42);
    CHECK_STATUS(pmap_apply(pool, power, &p, 3.0, 2, .name = "nine"), PMAP_OK);
    CHECK(p == 9);
    CHECK_STATUS(pmap_apply(pool, act, NULL, 7), PMAP_OK);
}

static void every_kind_of_task_is_written_down(void)
{
    begin_anew();
    int first = run(every_kind_of_task), second = run(every_kind_of_task);
    if (!is_root())
        return;
    CHECK(first > 60);
    CHECK_INT(second, 0);
    CHECK_INT(ask("SELECT count(*) FROM item JOIN call ON item.call = call.id WHERE name = 'nine' AND task = 'power'"), 1);
}

static void map_bytes(struct pmap_pool *pool)
{
    enum { TEXTS = 40 };
    struct pmap_bytes in[TEXTS], out[TEXTS];
    static char text[TEXTS * 3000];

    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 23);
    for (size_t i = 0; i < TEXTS; i++)
        in[i] = (struct pmap_bytes){text + i, i * i * 70}; /* the first has none; the last more than a page */
    CHECK_STATUS(pmap_map(pool, twice, in, out, TEXTS), PMAP_OK);
    for (size_t i = 0; i < TEXTS; i++) {
        CHECK_INT(out[i].size, 2 * in[i].size);
        if (in[i].size)
            CHECK(memcmp(out[i].data, in[i].data, in[i].size) == 0);
    }
    pmap_bytes_free(out, TEXTS);
}

static void bytes_are_written_down(void)
{
    begin_anew();
    run_twice(map_bytes, 40, 0);
    change("DELETE FROM item WHERE item % 2 = 0");
    check_run(map_bytes, 20);
}

static struct {
    double sum[3];
    size_t n;
    int at;
} sums;

static void reduce(struct pmap_pool *pool)
{
    int *in = test_array(sums.n, sizeof *in);
    double sum = -1;

    for (size_t i = 0; i < sums.n; i++)
        in[i] = (int)i;
    CHECK_STATUS(pmap_reduce(pool, tenth, add, in, &sum, sums.n), PMAP_OK);
    sums.sum[sums.at] = sum;
    free(in);
}

static void check_same_sums(void)
{
    CHECK(memcmp(&sums.sum[0], &sums.sum[1], sizeof sums.sum[0]) == 0);
    CHECK(memcmp(&sums.sum[0], &sums.sum[2], sizeof sums.sum[0]) == 0);
}

static void reduction_has_the_same_bits(void)
{
    static const size_t sizes[] = {1, 2, 1000, 5001};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        begin_anew();
        sums.n = sizes[i];
        sums.at = 0;
        check_run(reduce, (int)sizes[i]);
        sums.at = 1;
        check_run(reduce, 0);
        change("DELETE FROM item WHERE id % 3 = 1");
        sums.at = 2;
        int ran = run(reduce);
        if (!is_root())
            continue;
        CHECK(ran > 0 && ran <= (int)sizes[i]);
        if (sizes[i] == 1000)
            CHECK_INT(ran, 334);
        check_same_sums();
    }
}

static void reduction_of_another_length_is_another(void)
{
    begin_anew();
    sums.at = 0;
    sums.n = 1000;
    run(reduce);
    sums.n = 999;
    check_run(reduce, 999);
}

static int called;

static void count_call(void *user, void *out, size_t n)
{
    const int *numbers = out;

    (void)user;
    called += n == 30 && numbers[29] == 29 * 29;
}

static void map_async(struct pmap_pool *pool)
{
    int in[30], out[30], nine = 0;

    for (int i = 0; i < 30; i++)
        in[i] = i;
    called = 0;
    struct pmap_result *r = pmap_map_async(pool, square, in, out, 30, .callback = count_call);
    struct pmap_result *s = pmap_apply_async(pool, square, &nine, 3);
    CHECK_STATUS(pmap_result_get(r, PMAP_FOREVER, NULL), PMAP_OK);
    CHECK_STATUS(pmap_result_get(s, PMAP_FOREVER, NULL), PMAP_OK);
    CHECK_INT(called, 1);
    CHECK_INT(out[5], 25);
    CHECK_INT(nine, 9);
    pmap_result_free(r);
    pmap_result_free(s);
}

static void async_calls_find_theirs(void)
{
    begin_anew();
    run_twice(map_async, 31, 0);
}

/* ---- Streams ----------------------------------------------------------------------------------------- */

enum { STREAM = 50 };

static struct {
    ptrdiff_t chunksize;
    int failed; /* items that did */
    bool unordered, generated;
} stream;

static bool next_number(void *state, void *item)
{
    int *at = state;

    *(int *)item = *at;
    return (*at)++ < STREAM;
}

static void run_stream(struct pmap_pool *pool)
{
    int in[STREAM], y, seen = 0, at = 0;
    enum pmap_status status;
    struct pmap_error error;

    for (int i = 0; i < STREAM; i++)
        in[i] = i;
    struct pmap_source source = stream.generated ? PMAP_GENERATOR(next_number, &at) : PMAP_ARRAY(in, STREAM);
    struct pmap_imap_options o = {.size = sizeof o, .source = source, .chunksize = stream.chunksize, .error = &error, .name = "stream"};
    struct pmap_iter *it = stream.unordered ? pmap_imap_unordered_with(pool, &square_task, &o) : pmap_imap_with(pool, &square_task, &o);
    stream.failed = 0;
    while ((status = pmap_iter_next(it, &y, PMAP_FOREVER)) != PMAP_END) {
        int i = (int)pmap_iter_item(it);
        if (!stream.unordered)
            CHECK_INT(i, seen);
        if (status == PMAP_OK)
            CHECK_INT(y, i * i);
        else
            stream.failed++;
        seen++;
    }
    CHECK_INT(seen, STREAM);
    pmap_iter_free(it);
}

static void streams_go_on_where_they_were(void)
{
    for (int kind = 0; kind < 8; kind++) {
        begin_anew();
        stream.unordered = kind & 1;
        stream.generated = kind & 2;
        stream.chunksize = kind & 4 ? 7 : 1;
        fail_at(24, 1); /* in the middle of a chunk */
        int ran = run(run_stream);
        if (is_root()) {
            CHECK_INT(ran, STREAM);
            CHECK_INT(stream.failed, 1);
        }
        run_twice(run_stream, 1, 0);
        if (is_root())
            CHECK_INT(stream.failed, 0);
    }
}

static void stream_whose_chunk_fails_again_names_the_item(void)
{
    begin_anew();
    stream.unordered = stream.generated = false;
    stream.chunksize = 7;
    fail_at(24, 2);
    run(run_stream);
    int ran = run(run_stream);
    if (is_root()) {
        CHECK_INT(ran, 1);
        CHECK_INT(stream.failed, 1);
    }
}

/* ---- Equal items ------------------------------------------------------------------------------------- */

static struct {
    uint64_t out[60];
    size_t n;
} drawn;

static void draw_numbers(struct pmap_pool *pool)
{
    int in[60] = {0};

    CHECK_STATUS(pmap_map(pool, draw, in, drawn.out, drawn.n, .seed = 4), PMAP_OK);
}

static void equal_items_have_results_of_their_own(void)
{
    uint64_t first[60];

    begin_anew();
    drawn.n = 40;
    run(draw_numbers);
    memcpy(first, drawn.out, sizeof first);
    drawn.n = 60;
    int ran = run(draw_numbers);
    if (!is_root())
        return;
    CHECK_INT(ran, 20);
    CHECK(memcmp(first, drawn.out, 40 * sizeof *first) == 0);
    for (int i = 1; i < 60; i++)
        CHECK(drawn.out[i] != drawn.out[i - 1]);
}

static void isolated_items_are_written_down(void)
{
    reset_input();
    for (int run_of_two = 0; run_of_two < 2; run_of_two++) {
        struct pmap_pool *pool = NULL;
        if (is_root())
            atomic_store(&board()[RUNS], 0);
        CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .isolate = true, .journal = journal()), PMAP_OK);
        if (pool)
            map_squares(pool);
        pmap_destroy(pool);
        if (is_root())
            CHECK_INT(atomic_load(&board()[RUNS]), run_of_two ? 0 : N);
    }
}

static void same_line_again_and_again(struct pmap_pool *pool)
{
    int in[] = {5, 5, 6}, out[3];

    for (int i = 0; i < 4; i++)
        CHECK_STATUS(pmap_map(pool, square, in, out, 3), PMAP_OK);
}

static void calls_of_one_line_count_on(void)
{
    begin_anew();
    run_twice(same_line_again_and_again, 12, 0);
    if (is_root())
        CHECK_INT(ask("SELECT max(occurrence) FROM item"), 7);
}

static void two_lines(struct pmap_pool *pool)
{
    int in[] = {1, 2, 3}, out[3];

    CHECK_STATUS(pmap_map(pool, square, in, out, 3), PMAP_OK);
    CHECK_STATUS(pmap_map(pool, square, in, out, 3), PMAP_OK);
}

static void one_name(struct pmap_pool *pool)
{
    int in[] = {1, 2, 3}, out[3];
    CHECK_STATUS(pmap_map(pool, square, in, out, 3, .name = "one"), PMAP_OK);
}

static void one_name_elsewhere(struct pmap_pool *pool)
{
    int in[] = {3, 2, 1}, out[3];
    CHECK_STATUS(pmap_starmap(pool, square, in, out, 3, .name = "one"), PMAP_OK);
    CHECK_INT(out[0], 9);
}

static void calls_are_known_by_line_or_name(void)
{
    begin_anew();
    run_twice(two_lines, 6, 0);
    if (is_root())
        CHECK_INT(ask("SELECT count(*) FROM call"), 2);
    check_run(one_name, 3);
    check_run(one_name_elsewhere, 0);
}

static void map_with_calls_inside(struct pmap_pool *pool)
{
    int in[] = {1, 2, 3, 4}, out[4];

    CHECK_STATUS(pmap_map(pool, with_calls_inside, in, out, 4), PMAP_OK);
    CHECK_INT(out[0], 14);
}

static void calls_inside_tasks_are_part_of_their_item(void)
{
    begin_anew();
    run_twice(map_with_calls_inside, 12, 0);
    if (is_root())
        CHECK_INT(ask("SELECT count(*) FROM item"), 4);
}

/* ---- Map-reduce -------------------------------------------------------------------------------------- */

static struct {
    const char *output, *separator;
    uint64_t keys;
} counted;

static void write_text(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");

    if (!CHECK(file != NULL))
        return;
    fputs(text, file);
    fclose(file);
}

static void count_words(struct pmap_pool *pool)
{
    struct pmap_mapreduce_stats stats = {0};
    char input_path[PATH_MAX], output_path[PATH_MAX];

    snprintf(input_path, sizeof input_path, "%s", path_of("words.txt"));
    snprintf(output_path, sizeof output_path, "%s", path_of(counted.output));
    CHECK_STATUS(pmap_mapreduce(pool, wordcount, PMAP_FILES(input_path), .output = output_path, .separator = counted.separator,
                                .partitions = 3, .stats = &stats), PMAP_OK);
    CHECK_INT(stats.keys, counted.keys);
    CHECK(access(output_path, F_OK) == 0);
}

static void finished_map_reduce_is_not_run_again(void)
{
    static const char *const outputs[][2] = {{"counts.txt", "counts.txt"}, {"counts/", "counts/part-00001"}};

    for (int i = 0; i < 2; i++) {
        begin_anew();
        counted.output = outputs[i][0];
        counted.separator = NULL;
        counted.keys = 3;
        if (is_root())
            write_text("words.txt", "a b\na c\n");
        check_run(count_words, 2);
        check_run(count_words, 0);
        if (is_root())
            write_text(outputs[i][1], "changed by somebody");
        check_run(count_words, 2);
        check_run(count_words, 0);
        if (is_root())
            remove(path_of(outputs[i][1]));
        check_run(count_words, 2);
        counted.separator = ",";
        check_run(count_words, 2);
        check_run(count_words, 0);
        counted.keys = 4;
        if (is_root())
            write_text("words.txt", "a b\na c\nd\n");
        check_run(count_words, 3);
        check_run(count_words, 0);
    }
    if (is_root()) {
        remove(path_of("words.txt"));
        remove(path_of("counts.txt"));
        for (int i = 0; i < 3; i++) {
            char part[32];
            snprintf(part, sizeof part, "counts/part-%05d", i);
            remove(path_of(part));
        }
        rmdir(path_of("counts"));
    }
}

/* ---- Ends -------------------------------------------------------------------------------------------- */

enum { FINISHED = 10 };

static int wait_for_end(int x)
{
    count_run(x);
    if (x < 30)
        atomic_fetch_add(&board()[FINISHED], 1);
    while (x >= 30 && !pmap_cancelled())
        ;
    return x;
}
PMAP_TASK(wait_for_end, int, int);

static void terminate_in_the_middle(struct pmap_pool *pool)
{
    int in[60], out[60];

    for (int i = 0; i < 60; i++)
        in[i] = i;
    struct pmap_result *r = pmap_map_async(pool, wait_for_end, in, out, 60, .chunksize = 1, .name = "waiting");
    CHECK(board_await(FINISHED, 30));
    pmap_terminate(pool);
    struct pmap_error error;
    CHECK_STATUS(pmap_result_get(r, PMAP_FOREVER, &error), PMAP_ECANCELLED);
    pmap_result_free(r);
}

static void run_to_thirty(struct pmap_pool *pool)
{
    int in[30], out[30];

    for (int i = 0; i < 30; i++)
        in[i] = i;
    CHECK_STATUS(pmap_map(pool, wait_for_end, in, out, 30, .name = "waiting"), PMAP_OK);
    CHECK_INT(out[29], 29);
}

/* What was given up is not written down, what was finished is. */
static void terminated_map_keeps_what_is_finished(void)
{
    begin_anew();
    run(terminate_in_the_middle);
    if (is_root())
        CHECK_INT(ask("SELECT count(*) FROM item WHERE item >= 30"), 0);
    int ran = run(run_to_thirty);
    if (is_root()) {
        CHECK_INT(ran, 30 - ask("SELECT count(*) FROM item WHERE run = 1"));
        CHECK(ask("SELECT count(*) FROM item WHERE run = 1") > 20);
    }
}

static struct pmap_result *outliving;

static void begin_squares(struct pmap_pool *pool)
{
    outliving = pmap_map_async(pool, square, input.in, input.out, N, .name = "outliving");
    CHECK_STATUS(pmap_result_wait(outliving, PMAP_FOREVER), PMAP_OK);
}

/* A result is valid until it is freed, and does not ask what is gone. */
static void results_outlive_the_journal(void)
{
    bool well = false;
    size_t index;

    reset_input();
    run(begin_squares);
    if (!is_root())
        return;
    CHECK_STATUS(pmap_wait(&outliving, 1, PMAP_FIRST_ERROR, 0, &index), PMAP_OK);
    CHECK_STATUS(pmap_result_successful(outliving, &well), PMAP_OK);
    CHECK(well);
    CHECK_STATUS(pmap_result_get(outliving, PMAP_FOREVER, NULL), PMAP_OK);
    CHECK_INT(input.out[N - 1], (N - 1) * (N - 1));
    pmap_result_free(outliving);
}

/* What no item of is left to be run fits into any time; of what does not fit, the known items are there all the same. */
static struct {
    size_t known, n;
} limited;

static void map_lasting(struct pmap_pool *pool)
{
    int in[20], out[20], y;
    enum pmap_status statuses[20], expected = limited.known == limited.n ? PMAP_OK : PMAP_EINTERRUPTED;

    for (int i = 0; i < 20; i++) {
        in[i] = i;
        out[i] = -7;
    }
    if (limited.known)
        CHECK_STATUS(pmap_apply(pool, lasting, &y, -1, .name = "once"), PMAP_OK);
    else
        expected = PMAP_OK;
    CHECK_STATUS(pmap_map(pool, lasting, in, out, limited.n, .statuses = statuses, .name = "map"), expected);
    for (size_t i = 0; i < limited.n; i++) {
        bool good = limited.known == 0 || i < limited.known;
        CHECK_STATUS(statuses[i], good ? PMAP_OK : PMAP_ECANCELLED);
        CHECK_INT(out[i], good ? (int)i + 1 : 0);
    }
}

static void call_that_is_known_needs_no_time(void)
{
    begin_anew();
    limited.known = 0;
    limited.n = 10;
    run(map_lasting);
    limited.known = 10;
    int ran = run_for(2, map_lasting);
    if (is_root())
        CHECK_INT(ran, 1);
    change("DELETE FROM item WHERE call = (SELECT id FROM call WHERE name = 'once')");
    limited.n = 20;
    ran = run_for(2, map_lasting);
    if (is_root())
        CHECK_INT(ran, 1);
}

/* A batch of which some is known is refused; what was allocated for that goes again. */
static void stream_lasting(struct pmap_pool *pool)
{
    struct pmap_bytes in[4] = {{"one", 3}, {"two", 3}, {"three", 5}, {"four", 4}}, none = {NULL, 0}, y;
    enum pmap_status status;
    int yielded = 0;

    if (limited.known) {
        CHECK_STATUS(pmap_apply(pool, lasting_bytes, &y, none, .name = "once"), PMAP_OK);
        pmap_bytes_free(&y, 1);
    }
    struct pmap_iter *it = pmap_imap(pool, lasting_bytes, PMAP_ARRAY(in, limited.n), .chunksize = 4, .name = "stream");
    while ((status = pmap_iter_next(it, &y, PMAP_FOREVER)) != PMAP_END) {
        CHECK_STATUS(status, limited.known ? PMAP_EINTERRUPTED : PMAP_OK);
        pmap_bytes_free(&y, 1);
        yielded++;
    }
    CHECK_INT(yielded, limited.known ? 1 : (int)limited.n);
    pmap_iter_free(it);
}

static void batch_that_does_not_fit_leaves_nothing(void)
{
    begin_anew();
    limited.known = 0;
    limited.n = 2;
    run(stream_lasting);
    limited.known = 2;
    limited.n = 4;
    int ran = run_for(2, stream_lasting);
    if (is_root())
        CHECK_INT(ran, 2); /* it calls two tasks' functions */
}

static void pools_side_by_side_have_their_own(void)
{
    struct pmap_pool *pool, *other = NULL, *third = NULL;
    struct pmap_error error = {0};
    char second[PATH_MAX];

    begin_anew();
    reset_input();
    snprintf(second, sizeof second, "%s", path_of("second.db"));
    if (is_root())
        remove(second);
    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .journal = journal()), PMAP_OK);
    if (pool) {
        CHECK_STATUS(pmap_create(&other, .journal = second), PMAP_OK);
        CHECK_STATUS(pmap_create(&third, .journal = journal(), .error = &error), PMAP_EJOURNAL);
        CHECK(strstr(error.text, "another pool of this process") != NULL);
        map_squares(pool);
        map_squares(other);
        CHECK_INT(atomic_load(&board()[RUNS]), 2 * N);
        pmap_destroy(other);
    }
    pmap_destroy(pool);
    if (is_root())
        CHECK_INT(ask("SELECT count(*) FROM item"), N);
    if (is_root())
        remove(second);
}

/* ---- Files that are not right ------------------------------------------------------------------------ */

static char *contents(size_t *size)
{
    FILE *file = fopen(journal(), "rb");
    char *bytes = test_array(1 << 20, 1);

    *size = file ? fread(bytes, 1, 1 << 20, file) : 0;
    if (file)
        fclose(file);
    return bytes;
}

static void write_contents(const char *bytes, size_t size)
{
    FILE *file = fopen(journal(), "wb");

    if (!CHECK(file != NULL))
        return;
    fwrite(bytes, 1, size, file);
    fclose(file);
}

/* pmap_create says so on all ranks, and leaves the file alone. */
static void refused(const char *version, const char *why)
{
    struct pmap_error error = {.status = PMAP_OK};
    struct pmap_pool *pool;
    size_t before = 0, after = 0;
    char *was = is_root() ? contents(&before) : NULL;

    CHECK_STATUS(pmap_create(&pool, .threads = test_threads(), .journal = journal(), .journal_version = version, .error = &error),
                 PMAP_EJOURNAL);
    CHECK(pool == NULL);
    CHECK_SAYING(strstr(error.text, why) != NULL, "\"%s\" says \"%s\"", error.text, why);
    CHECK_SAYING(strstr(error.text, "journal.db") != NULL, "\"%s\" names the file", error.text);
    if (!is_root())
        return;
    char *is = contents(&after);
    CHECK(before == after && memcmp(was, is, before) == 0);
    free(is);
    free(was);
}

static void other_files_are_refused(void)
{
    begin_anew();
    if (is_root())
        write_contents("Dear diary,\n", 12);
    refused(NULL, "it is no journal of pmap's");
    begin_anew();
    change("CREATE TABLE diary(day); PRAGMA user_version = 1");
    refused(NULL, "another program's SQLite database");
    begin_anew();
    if (is_root())
        mkdir(journal(), 0700);
    refused(NULL, "it is a directory");
    if (is_root())
        rmdir(journal());
}

static void missing_directory_is_refused(void)
{
    struct pmap_error error = {.status = PMAP_OK};
    struct pmap_pool *pool;

    CHECK_STATUS(pmap_create(&pool, .journal = path_of("no/such/journal.db"), .error = &error), PMAP_EJOURNAL);
    CHECK(strstr(error.text, "it cannot be opened") != NULL);
    CHECK_STATUS(pmap_create(&pool, .journal = "", .error = &error), PMAP_EINVAL);
    CHECK(strstr(error.text, "journal") != NULL);
}

static void read_only_journal_is_refused(void)
{
    reset_input();
    run(map_squares);
    if (is_root())
        chmod(journal(), 0444);
    refused(NULL, "it is read-only");
    if (is_root())
        chmod(journal(), 0644);
    check_run(map_squares, 0);
}

static void late(size_t n, const void *args, void *results, size_t *at)
{
    (void)n, (void)args, (void)results, (void)at;
}

static void other_versions_are_refused(void)
{
    static struct pmap_task another = {.name = "another", .signature = "void (void)", .run = late};

    reset_input();
    run(map_squares);
    refused("2", "of another version of this program: of \"\", but this is \"2\"");
    change("PRAGMA user_version = 2");
    refused(NULL, "it has format 2");
    change("PRAGMA user_version = 1");
    check_run(map_squares, 0);
    pmap_task_register(&another); /* this test comes last: now the program has other tasks */
    refused(NULL, "with other tasks");
}

/* Another process has it: this one's child. */
static pid_t lock_elsewhere(int *release)
{
    int ready[2], go[2];
    char byte = 0;

    if (pipe(ready) != 0 || pipe(go) != 0)
        return -1;
    pid_t child = fork();
    if (child == 0) {
        sqlite3 *db;
        sqlite3_open(journal(), &db);
        sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL);
        close(go[1]);
        if (write(ready[1], &byte, 1) == 1 && read(go[0], &byte, 1) >= 0)
            _exit(0); /* as if killed */
        _exit(1);
    }
    CHECK_INT(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    close(go[0]);
    *release = go[1];
    return child;
}

static void locked_journal_is_refused(void)
{
    pid_t child = 0;
    int release = -1;

    reset_input();
    run(map_squares);
    if (is_root())
        child = lock_elsewhere(&release);
    refused(NULL, "another process uses it");
    if (is_root()) {
        close(release);
        waitpid(child, NULL, 0);
    }
    check_run(map_squares, 0); /* a dead owner leaves no lock */
}

static void damaged_journals_are_refused(void)
{
    size_t size = 0;

    reset_input();
    run(map_squares);
    char *bytes = is_root() ? contents(&size) : NULL;
    if (is_root())
        write_contents(bytes, size / 2);
    refused(NULL, "it is damaged");
    if (is_root())
        write_contents(bytes, 60);
    refused(NULL, "or damaged");
    if (is_root()) {
        memset(bytes + 4096, 0xa5, size - 4096);
        write_contents(bytes, size);
    }
    refused(NULL, "it is damaged");
    free(bytes);
    reset_input();
    run(map_squares);
    change("CREATE TRIGGER one AFTER INSERT ON item BEGIN DELETE FROM item; END");
    refused(NULL, "its tables are not those of a journal");
    change("DROP TRIGGER one; UPDATE item SET hash = 'x' WHERE id = 7");
    refused(NULL, "the hash of an item");
}

static struct pmap_error said;

static void map_damaged(struct pmap_pool *pool)
{
    int out[N];

    said.text[0] = '\0';
    CHECK_STATUS(pmap_map(pool, square, input.in, out, N, .error = &said, .name = "squares"), input.expected);
}

static void damaged_result_fails_the_call(void)
{
    reset_input();
    run(map_damaged);
    change("UPDATE item SET result = x'01020304' WHERE item = 9");
    input.expected = PMAP_EJOURNAL;
    run(map_damaged);
    if (is_root())
        CHECK_SAYING(strstr(said.text, "it is damaged (row") != NULL, "%s", said.text);
}

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

static void map_or_fail(struct pmap_pool *pool)
{
    int out[N];

    said.text[0] = '\0';
    enum pmap_status status = pmap_map(pool, square, input.in, out, N, .error = &said, .name = "squares");
    CHECK(status == PMAP_OK || status == PMAP_EJOURNAL);
    for (int i = 0; i < N && status == PMAP_OK; i++)
        CHECK_INT(out[i], i * i);
}

/* Whatever bytes are changed: a refusal, or right results. */
static void no_damage_gives_wrong_results(void)
{
    size_t size = 0;
    uint32_t state = 20261125;
    int refusals = 0, rounds = (int)test_size(60, 10);

    reset_input();
    run(map_damaged);
    char *bytes = is_root() ? contents(&size) : NULL;
    for (int round = 0; round < rounds; round++) {
        struct pmap_pool *pool;
        if (is_root()) {
            char *changed = test_array(size, 1);
            memcpy(changed, bytes, size);
            for (int i = 0; i < 1 + round % 5; i++)
                changed[next_random(&state) % size] ^= (char)(1 << next_random(&state) % 8);
            remove_file("-wal");
            write_contents(changed, size);
            free(changed);
        }
        enum pmap_status status = pmap_create(&pool, .threads = test_threads(), .journal = journal(), .error = &said);
        CHECK_SAYING(status == PMAP_OK || status == PMAP_EJOURNAL, "round %d: %s", round, said.text);
        if (pool)
            map_or_fail(pool);
        pmap_destroy(pool);
        refusals += status != PMAP_OK || said.text[0];
    }
    if (is_root())
        CHECK(refusals > 0 && refusals <= rounds);
    free(bytes);
}

static void map_more_than_fits(struct pmap_pool *pool)
{
    static int in[20000], out[20000];
    struct rlimit before, small;
    struct pmap_error error = {.status = PMAP_OK};
    enum pmap_status status = PMAP_OK;

    for (int i = 0; i < 20000; i++)
        in[i] = i;
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 300000;
    setrlimit(RLIMIT_FSIZE, &small);
    for (int i = 0; i < 100000 && status == PMAP_OK; i++) /* until the writer has tried */
        status = pmap_map(pool, square, in, out, 20000, .error = &error, .name = "more");
    enum pmap_status after = pmap_map(pool, square, in, out, 10, .error = &said, .name = "after");
    setrlimit(RLIMIT_FSIZE, &before);
    CHECK_STATUS(status, PMAP_EJOURNAL);
    CHECK_SAYING(strstr(error.text, "journal.db: it cannot be read or written") != NULL, "%s", error.text);
    CHECK_STATUS(after, PMAP_EJOURNAL);
}

static void map_more(struct pmap_pool *pool)
{
    static int in[20000], out[20000];

    for (int i = 0; i < 20000; i++)
        in[i] = i;
    CHECK_STATUS(pmap_map(pool, square, in, out, 20000, .name = "more"), PMAP_OK);
    CHECK_INT(out[19999], 19999 * 19999);
}

/* The file may have no more than so many bytes: for a journal that is a full disk. */
static void full_disk_ends_calls_and_harms_nothing(void)
{
    reset_input();
    run(map_squares);
    signal(SIGXFSZ, SIG_IGN);
    setenv("PMAP_LOG", "quiet", 1);
    run(map_more_than_fits);
    unsetenv("PMAP_LOG");
    signal(SIGXFSZ, SIG_DFL);
    check_run(map_squares, 0);
    run_twice(map_more, 20000 - (is_root() ? (int)ask("SELECT count(*) FROM item WHERE call = 2") : 0), 0);
}

/* Nobody who takes results to their end takes what is not written down for written down, nor is told of something else. */
static void stream_more_than_fits(struct pmap_pool *pool)
{
    static const size_t buffersizes[] = {0, 20000};
    static int in[20000];
    struct rlimit before, small;
    enum pmap_status status;
    int y, told = 0, other = 0;

    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 300000;
    setrlimit(RLIMIT_FSIZE, &small);
    struct pmap_iter *it = pmap_imap(pool, square, PMAP_ARRAY(in, 20000), .chunksize = 100, .error = &said,
                                     .buffersize = buffersizes[limited.n]);
    for (double soon = now() + 0.03; now() < soon;) /* what takes less is not waited for */
        sched_yield();
    said.text[0] = '\0';
    while ((status = pmap_iter_next(it, &y, PMAP_FOREVER)) != PMAP_END) {
        told += status == PMAP_EJOURNAL;
        other += status != PMAP_OK && status != PMAP_EJOURNAL;
    }
    pmap_iter_free(it);
    setrlimit(RLIMIT_FSIZE, &before);
    CHECK(told >= 1);
    CHECK_INT(other, 0);
    CHECK_SAYING(strstr(said.text, "journal.db: it cannot be read or written") != NULL, "%s", said.text);
}

static void full_disk_is_told_by_streams(void)
{
    signal(SIGXFSZ, SIG_IGN);
    setenv("PMAP_LOG", "quiet", 1);
    for (limited.n = 0; limited.n < 2; limited.n++) {
        begin_anew();
        run(stream_more_than_fits);
    }
    unsetenv("PMAP_LOG");
    signal(SIGXFSZ, SIG_DFL);
}

/* Whoever adds to a journal that is broken hears that it is lost. */
static void what_is_added_to_a_broken_journal_is_lost(void)
{
    struct pmap__journal *j = NULL;
    struct pmap__journal_call call = {.name = "call", .task = "task", .signature = "int(int)", .op = NULL};
    struct pmap__journal_entry entry = {.key = {.low = 1}, .result = "four", .size = 4};
    struct pmap_error why;

    begin_anew();
    if (!is_root() || !CHECK_STATUS(pmap__journal_open(&j, journal(), 1, "", &why), PMAP_OK))
        return;
    uint64_t number = pmap__journal_call(j, &call), good = pmap__journal_add(j, number, 0, &entry, 1);
    CHECK_STATUS(pmap__journal_flush(j, &why), PMAP_OK);
    CHECK(pmap__journal_has(j, good));
    struct rlimit before, small;
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 1;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    entry.key.low = 2;
    uint64_t bad = pmap__journal_add(j, number, 0, &entry, 1);
    CHECK_STATUS(pmap__journal_flush(j, &why), PMAP_EJOURNAL);
    entry.key.low = 3;
    CHECK(pmap__journal_add(j, number, 0, &entry, 1) == PMAP__JOURNAL_LOST);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_DFL);
    CHECK(!pmap__journal_has(j, PMAP__JOURNAL_LOST) && !pmap__journal_has(j, bad) && pmap__journal_has(j, good));
    pmap__journal_close(j, &why);
}

static char *name_of(int x) { return x ? NULL : (char *)""; }
PMAP_TASK(name_of, char *, int);

static void map_addresses(struct pmap_pool *pool)
{
    int in[1] = {0};
    char *out[1] = {NULL};

    CHECK_STATUS(pmap_map(pool, name_of, in, out, 1, .error = &said), PMAP_EINVAL);
    CHECK_NAMES(said.text, "name_of");
}

/* An address is nothing that the next run could use. */
static void addresses_are_refused(void)
{
    begin_anew();
    run_twice(map_addresses, 0, 0);
}

static const struct test tests[] = {
    TEST(finished_map_is_not_run_again),
    TEST(changed_items_run_again),
    TEST(reordered_items_are_found),
    TEST(more_items_run_alone),
    TEST(other_seed_is_another_call),
    TEST(holes_are_filled_for_every_chunksize),
    TEST(costs_order_what_is_left),
    TEST(failed_items_run_again),
    TEST(failure_of_what_is_left_names_its_item),
    TEST(second_runs_are_written_down),
    TEST(map_of_nothing_is_no_row),
    TEST(every_kind_of_task_is_written_down),
    TEST(bytes_are_written_down),
    TEST(reduction_has_the_same_bits),
    TEST(reduction_of_another_length_is_another),
    TEST(async_calls_find_theirs),
    TEST(streams_go_on_where_they_were),
    TEST(stream_whose_chunk_fails_again_names_the_item),
    TEST(equal_items_have_results_of_their_own),
    TEST(isolated_items_are_written_down),
    TEST(calls_of_one_line_count_on),
    TEST(calls_are_known_by_line_or_name),
    TEST(calls_inside_tasks_are_part_of_their_item),
    TEST(finished_map_reduce_is_not_run_again),
    TEST(terminated_map_keeps_what_is_finished),
    TEST(results_outlive_the_journal),
    TEST(call_that_is_known_needs_no_time),
    TEST(batch_that_does_not_fit_leaves_nothing),
    TEST(pools_side_by_side_have_their_own),
    TEST(other_files_are_refused),
    TEST(missing_directory_is_refused),
    TEST(read_only_journal_is_refused),
    TEST(locked_journal_is_refused),
    TEST(damaged_journals_are_refused),
    TEST(damaged_result_fails_the_call),
    TEST(no_damage_gives_wrong_results),
    TEST(full_disk_ends_calls_and_harms_nothing),
    TEST(full_disk_is_told_by_streams),
    TEST(what_is_added_to_a_broken_journal_is_lost),
    TEST(addresses_are_refused),
    TEST(other_versions_are_refused),
    {NULL, NULL},
};

int main(int argc, char *argv[]) { return test_main(argc, argv, tests, "t2 r2 r2t2 v3"); }
