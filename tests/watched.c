/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Programs that are looked at while they work; watch.py starts them, looks, and lets them go on.
 *
 *     watched map       a map of 100 items, of which item 3 fails and the second half is held
 *     watched two       two such maps at once
 *     watched leaves    such a map, while another pool, which has run 100 items, leaves
 *     watched endless   a stream without an end, of which 50 items are taken, then more
 *     watched loop      ten short maps, with a line on stdout after each
 *     watched hang      a map of 20 items, of which item 7 is held
 *     watched queue     a map of 100 items, of which all from item 7 on are held
 *     watched journal   a map of 100 items with a journal, run.db
 *     watched MODE quiet         progress is not asked for
 *     watched MODE isolate       items run in processes of their own
 *
 * In the directory PMAP_TEST_DIR each process leaves its process id in the file pid.RANK, and the root the file ready when it has a pool.
 * An item that is held leaves the file held.ITEM. What is held goes on when there is a file go, and the pool leaves when there is a file leave.
 */
#include "harness.h"

#include <pmap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define N 100

static void path_of(char path[static 512], const char *name)
{
    snprintf(path, 512, "%s/%s", getenv("PMAP_TEST_DIR"), name);
}

static void leave_file(const char *name, long number)
{
    char path[512];

    path_of(path, name);
    FILE *file = fopen(path, "w");
    fprintf(file, "%ld\n", number);
    fclose(file);
}

static void spend(long ns)
{
    nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

static void await(const char *name)
{
    char path[512];

    path_of(path, name);
    while (access(path, F_OK) != 0)
        spend(2000000);
}

/* ---- Tasks ------------------------------------------------------------------------------------------- */

enum { PLAIN, FAILS, HELD };

struct item {
    int kind, x;
};

static int simulate(struct item i)
{
    spend(1000000);
    if (i.kind == FAILS)
        return pmap_fail(2, "bad x %d", i.x);
    if (i.kind == HELD) {
        char name[64];
        snprintf(name, sizeof name, "held.%d", i.x);
        leave_file(name, 0);
        await("go");
    }
    return i.x * i.x;
}
PMAP_TASK(simulate, int, struct item);

static bool more(void *state, void *item)
{
    *(struct item *)item = (struct item){PLAIN, (*(int *)state)++};
    return true;
}

/* ---- What is looked at ------------------------------------------------------------------------------- */

static struct item in[N];
static int out[N];

static void fill(int held)
{
    for (int i = 0; i < N; i++)
        in[i] = (struct item){i >= held ? HELD : PLAIN, i};
}

static void run_map(struct pmap_pool *pool)
{
    struct pmap_error error;

    fill(N / 2);
    in[3].kind = FAILS;
    enum pmap_status status = pmap_map(pool, simulate, in, out, N, .error = &error);
    printf("the map said %s\n", pmap_status_name(status));
}

static void run_two(struct pmap_pool *pool)
{
    static int more_out[N];

    fill(N / 2);
    struct pmap_result *a = pmap_map_async(pool, simulate, in, out, N), *b = pmap_map_async(pool, simulate, in, more_out, N);
    pmap_result_get(a, PMAP_FOREVER, NULL);
    pmap_result_get(b, PMAP_FOREVER, NULL);
    pmap_result_free(a);
    pmap_result_free(b);
    printf("both are over\n");
}

static void run_leaves(struct pmap_pool *pool)
{
    struct pmap_pool *other;

    fill(N);
    pmap_create(&other, .threads = 1, .progress = true);
    pmap_map(other, simulate, in, out, N);
    fill(N / 2);
    struct pmap_result *result = pmap_map_async(pool, simulate, in, out, N);
    await("leave");
    pmap_destroy(other);
    printf("it has left\n");
    fflush(stdout);
    pmap_result_get(result, PMAP_FOREVER, NULL);
    pmap_result_free(result);
}

static void run_endless(struct pmap_pool *pool)
{
    int state = 0, y;
    struct pmap_iter *iter = pmap_imap(pool, simulate, PMAP_GENERATOR(more, &state));

    for (int i = 0; i < 50; i++)
        pmap_iter_next(iter, &y, PMAP_FOREVER);
    printf("item 49 is %d\n", y);
    fflush(stdout);
    await("go");
    pmap_iter_free(iter);
    printf("the stream is over\n");
}

static void run_loop(struct pmap_pool *pool)
{
    fill(N);
    for (int i = 0; i < 10; i++) {
        pmap_map(pool, simulate, in, out, N);
        printf("round %d is over\n", i);
        fflush(stdout);
    }
}

static void run_hang(struct pmap_pool *pool)
{
    fill(N);
    in[7].kind = HELD;
    enum pmap_status status = pmap_map(pool, simulate, in, out, 20, .chunksize = 1);
    printf("the map said %s\n", pmap_status_name(status));
}

static void run_queue(struct pmap_pool *pool)
{
    fill(7);
    enum pmap_status status = pmap_map(pool, simulate, in, out, N, .chunksize = 1);
    printf("the map said %s\n", pmap_status_name(status));
}

static void run_journal(struct pmap_pool *pool)
{
    fill(N);
    pmap_map(pool, simulate, in, out, N, .name = "the map");
}

static const struct {
    const char *name;
    void (*run)(struct pmap_pool *pool);
} modes[] = {{"map", run_map},   {"two", run_two},   {"leaves", run_leaves},  {"endless", run_endless},
             {"loop", run_loop}, {"hang", run_hang}, {"queue", run_queue}, {"journal", run_journal}};

int main(int argc, char *argv[])
{
    const char *threads = getenv("PMAP_TEST_THREADS"), *mode = argc > 1 ? argv[1] : "", *how = argc > 2 ? argv[2] : "";
    char name[64], journal[512];
    struct pmap_pool *pool;

    snprintf(name, sizeof name, "pid.%d", test_rank());
    leave_file(name, getpid());
    path_of(journal, "run.db");
    if (pmap_create(&pool, .threads = threads ? atoi(threads) : 0, .progress = strcmp(how, "quiet") != 0,
                    .isolate = strcmp(how, "isolate") == 0, .journal = strcmp(mode, "journal") == 0 ? journal : NULL) != PMAP_OK)
        return 1;
    if (pool == NULL)
        return 0;
    leave_file("ready", 0);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i].name, mode) == 0)
            modes[i].run(pool);
    pmap_destroy(pool);
    return 0;
}
