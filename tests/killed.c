/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * For test_journal_kill.sh: a program that is killed and started again until it is done.
 *
 *     killed work DIRECTORY    map, imap and reduce, with the journal DIRECTORY/run.db. Each item, when it is done, appends a line
 *                              to DIRECTORY/log: its number and the time. Processes name themselves in DIRECTORY/pids. The
 *                              root writes what has come of it to DIRECTORY/result
 *     killed leave DIRECTORY   a short map, with the same journal, and exit() right after it, without pmap_destroy
 *     killed serial            what that should be
 *     killed known DIRECTORY   the numbers of the items that are in the journal, which is sound
 *     killed now               the time
 */
#include "base/clock.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pmap.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N = 160 }; /* items of each of the three calls, which are numbered on */

static const char *directory;

static void append(const char *name, const char *line)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0644);
    if (fd < 0 || write(fd, line, strlen(line)) != (ssize_t)strlen(line))
        abort();
    close(fd);
}

/* A millisecond of work. */
static double value_of(int item)
{
    double x = 1.0 / (1 + item);

    for (int i = 0; i < 400000; i++)
        x = x * 1.0000001 + 1e-9;
    return x;
}

static double work(int item)
{
    double value = value_of(item);
    char line[64];

    snprintf(line, sizeof line, "%d %" PRIu64 "\n", item, pmap__now());
    append("log", line);
    return value;
}
PMAP_TASK(work, double, int);

static double add(double a, double b) { return a + b; }
PMAP_OP(add, double);

struct results {
    double mapped[N], streamed[N], sum;
};

static bool stream(struct pmap_pool *pool, const int items[], double results[])
{
    struct pmap_iter *it = pmap_imap(pool, work, PMAP_ARRAY(items, N), .chunksize = 3, .name = "imap");
    int n = 0;

    while (n < N && pmap_iter_next(it, &results[n], PMAP_FOREVER) == PMAP_OK)
        n++;
    pmap_iter_free(it);
    return n == N;
}

static bool run(struct pmap_pool *pool, struct results *results)
{
    int items[3 * N];

    for (int i = 0; i < 3 * N; i++)
        items[i] = i;
    return pmap_map(pool, work, items, results->mapped, N, .name = "map") == PMAP_OK &&
           stream(pool, items + N, results->streamed) &&
           pmap_reduce(pool, work, add, items + 2 * N, &results->sum, N, .name = "reduce") == PMAP_OK;
}

/* The tree of a reduction whose leaves are single items. */
static double sum_of(int begin, int n)
{
    int half = 1;

    if (n == 1)
        return value_of(begin);
    while (2 * half < n)
        half *= 2;
    return sum_of(begin, half) + sum_of(begin + half, n - half);
}

static void print(const struct results *results)
{
    char line[64];
    uint64_t sum = 0, bits;

    for (int i = 0; i < 2 * N; i++) {
        memcpy(&bits, i < N ? &results->mapped[i] : &results->streamed[i - N], sizeof bits);
        sum = sum * 31 + bits;
    }
    snprintf(line, sizeof line, "%" PRIx64 " %a\n", sum, results->sum);
    if (directory)
        append("result", line);
    else
        fputs(line, stdout);
}

static int serial(void)
{
    struct results results;

    for (int i = 0; i < N; i++) {
        results.mapped[i] = value_of(i);
        results.streamed[i] = value_of(N + i);
    }
    results.sum = sum_of(2 * N, N);
    print(&results);
    return 0;
}

static int known(void)
{
    char path[PATH_MAX];
    sqlite3 *db = NULL;
    sqlite3_stmt *rows = NULL;
    int got;

    snprintf(path, sizeof path, "%s/run.db", directory);
    if (access(path, F_OK) != 0)
        return 0;
    if (sqlite3_open(path, &db) != SQLITE_OK ||
        sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &rows, NULL) != SQLITE_OK ||
        sqlite3_step(rows) != SQLITE_ROW || strcmp((const char *)sqlite3_column_text(rows, 0), "ok") != 0)
        return 1;
    sqlite3_finalize(rows);
    if (sqlite3_prepare_v2(db, "SELECT CASE name WHEN 'map' THEN 0 WHEN 'imap' THEN ?1 ELSE 2 * ?1 END + item FROM item "
                               "JOIN call ON call = call.id", -1, &rows, NULL) != SQLITE_OK)
        return 0; /* it was killed before it had tables */
    sqlite3_bind_int(rows, 1, N);
    while ((got = sqlite3_step(rows)) == SQLITE_ROW)
        printf("%d\n", sqlite3_column_int(rows, 0));
    sqlite3_finalize(rows);
    sqlite3_close(db);
    return got == SQLITE_DONE ? 0 : 1;
}

/* It takes less time than a call that waits for its commit, and a program that ends well before the writer's time has come. */
static void leave(struct pmap_pool *pool)
{
    int items[] = {0, 1, 2, 3, 4, 5};
    double results[6];

    exit(pmap_map(pool, work, items, results, 6, .name = "map") == PMAP_OK ? 3 : 1);
}

static int work_in_pool(bool leaves)
{
    char path[PATH_MAX], line[32];
    struct results results;
    struct pmap_pool *pool;
    bool good = true;

    snprintf(line, sizeof line, "%d\n", (int)getpid());
    append("pids", line);
    snprintf(path, sizeof path, "%s/run.db", directory);
    if (pmap_create(&pool, .threads = 2, .journal = path) != PMAP_OK)
        return 1;
    if (pool && leaves)
        leave(pool);
    if (pool) {
        good = run(pool, &results);
        if (good)
            print(&results);
        pmap_destroy(pool);
    }
    return good ? 0 : 1;
}

int main(int argc, char *argv[])
{
    const char *what = argc > 1 ? argv[1] : "";

    directory = argc > 2 ? argv[2] : NULL;
    if (strcmp(what, "serial") == 0)
        return serial();
    if (strcmp(what, "now") == 0)
        return printf("%" PRIu64 "\n", pmap__now()) > 0 ? 0 : 1;
    if (strcmp(what, "known") == 0 && directory)
        return known();
    if (strcmp(what, "work") == 0 && directory)
        return work_in_pool(false);
    if (strcmp(what, "leave") == 0 && directory)
        return work_in_pool(true);
    return 2;
}
