/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Programs that are traced; test_trace.sh starts them, and sees what is in the file.
 *
 *     traced WHAT FILE [isolate] [dedicated] [survive] [root=R] [threads=T]
 *
 * WHAT is what the root does, names with commas between. FILE is its .trace; "-": none is asked for here.
 */
#include <pmap_mapreduce.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct pmap_create_options options = {.size = sizeof options, .where = "traced"};
static struct pmap_pool *pool;
static struct pmap_error error;

/* ---- Tasks ---- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* So many us, and longer where the machine is busy; a negative number fails. */
static int spin(int us)
{
    double end = now() + 1e-6 * abs(us);

    while (now() < end)
        ;
    if (us < 0)
        pmap_fail(7, "%d is negative", us);
    return us;
}
PMAP_TASK(spin, int, int);

static double square(double x)
{
    return x * x;
}
PMAP_TASK(square, double, double);

/* A call inside a task: its items are a part of this one. */
static int outer(int us)
{
    int in[4] = {us, us, us, us}, out[4];

    return pmap_map(NULL, spin, in, out, 4) == PMAP_OK ? out[3] : -1;
}
PMAP_TASK(outer, int, int);

static int crash(int us)
{
    spin(abs(us));
    if (us < 0)
        abort();
    return us;
}
PMAP_TASK(crash, int, int);

/* Kills the rank that it runs on, unless that is the root. */
static int die(int us)
{
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");

    spin(abs(us));
    if (us < 0 && rank && strcmp(rank, "0") != 0)
        raise(SIGKILL);
    return us;
}
PMAP_TASK(die, int, int);

static int wait_for_cancel(int us)
{
    while (!pmap_cancelled())
        spin(us);
    return 0;
}
PMAP_TASK(wait_for_cancel, int, int);

static double add(double a, double b)
{
    return a + b;
}
PMAP_OP(add, double);

static void words_of(struct pmap_view text, struct pmap_emitter *out)
{
    for (size_t i = 0; i < text.size; i++)
        pmap_emit_i64(out, (const char *)text.data + i, 1, 1);
}
PMAP_MAPREDUCE(letters, .map = words_of, .combine = pmap_sum_i64, .value = PMAP_TYPE_I64);

/* ---- What the root does ---- */

#define N 300

static int *make_items(int us)
{
    static int items[N];

    for (int i = 0; i < N; i++)
        items[i] = us;
    return items;
}

static void map_items(void)
{
    int out[N];
    pmap_map(pool, spin, make_items(120), out, N, .error = &error);
}

/* A chunk each, and short: how often the clock is read does not depend on how many there are. */
static void map_short(void)
{
    static double in[20000], out[20000];
    pmap_map(pool, square, in, out, 20000, .error = &error);
    pmap_map(pool, square, in, out, 20000, .chunksize = 7, .error = &error);
}

static void map_failures(void)
{
    int out[N], *in = make_items(120);

    in[3] = in[N / 2] = in[N - 1] = -120;
    pmap_map(pool, spin, in, out, N, .error = &error);
}

static void map_retries(void)
{
    int out[N], *in = make_items(120);

    in[5] = in[200] = -120;
    pmap_map(pool, spin, in, out, N, .retries = 2, .error = &error);
}

static void map_nested(void)
{
    int out[40];
    pmap_map(pool, outer, make_items(30), out, 40, .error = &error);
}

static void map_costs(void)
{
    static double cost[N];
    int out[N];

    for (int i = 0; i < N; i++)
        cost[i] = i % 17;
    pmap_map(pool, spin, make_items(120), out, N, .cost = cost, .error = &error);
}

static void apply_many(void)
{
    int out;

    for (int i = 0; i < 50; i++)
        pmap_apply(pool, spin, &out, 150, .error = &error);
}

static void stream(void)
{
    int out;
    struct pmap_iter *it = pmap_imap(pool, spin, PMAP_ARRAY(make_items(120), N), .chunksize = 4);

    while (pmap_iter_next(it, &out, -1) == PMAP_OK)
        ;
    pmap_iter_free(it);
}

static void reduce_items(void)
{
    static double in[100000];
    double sum;

    for (int i = 0; i < 100000; i++)
        in[i] = i;
    pmap_reduce(pool, square, add, in, &sum, 100000, .error = &error);
}

static void map_reduce(void)
{
    static struct record {
        char bytes[100];
    } records[600];

    for (size_t i = 0; i < 600; i++)
        memset(records[i].bytes, 'a' + (int)(i % 26), sizeof records[i].bytes);
    pmap_mapreduce(pool, letters, PMAP_RECORDS(records, 600), .split_size = 5000, .error = &error);
}

static void map_crashes(void)
{
    int out[40], *in = make_items(120);

    in[7] = -120;
    pmap_map(pool, crash, in, out, 40, .error = &error);
}

static void map_deaths(void)
{
    int out[N], *in = make_items(300);

    for (int i = 20; i < N; i++)
        in[i] = -300;
    pmap_map(pool, die, in, out, N, .error = &error);
}

static void cancel(void)
{
    int out[N];
    struct pmap_result *result = pmap_map_async(pool, wait_for_cancel, make_items(100), out, N, .error = &error);

    pmap_result_wait(result, 0.2);
    pmap_result_cancel(result);
    pmap_result_wait(result, -1);
    pmap_result_free(result);
}

/* SIGTERM, as from a batch system. */
static void interrupt(void)
{
    int out[N];
    struct pmap_result *result = pmap_map_async(pool, wait_for_cancel, make_items(100), out, N, .error = &error);

    pmap_result_wait(result, 0.2);
    raise(SIGTERM);
    pmap_result_wait(result, -1);
    pmap_result_free(result);
}

static void nothing(void)
{
}

/* exit() without pmap_destroy. */
static void leave(void)
{
    map_items();
    exit(0);
}

/* The program goes to another directory. */
static void go_away(void)
{
    if (chdir("/") != 0)
        exit(99);
}

/* Another pool while this one lives; both are in the file. */
static void second(void)
{
    struct pmap_pool *first = pool;

    map_items();
    if (pmap_create(&pool, .trace = options.trace, .root = options.root, .dedicated_root = options.dedicated_root) == PMAP_OK) {
        apply_many();
        pmap_destroy(pool);
    }
    pool = first;
    map_items();
}

static const struct {
    const char *name;
    void (*run)(void);
} all[] = {{"map", map_items},     {"short", map_short},   {"failures", map_failures}, {"retries", map_retries}, {"nested", map_nested},
           {"costs", map_costs},   {"apply", apply_many},  {"stream", stream},         {"reduce", reduce_items}, {"mapreduce", map_reduce},
           {"crashes", map_crashes}, {"deaths", map_deaths}, {"cancel", cancel},       {"interrupt", interrupt}, {"nothing", nothing},
           {"leave", leave},       {"second", second},     {"away", go_away}};

static void initialize(const void *unused)
{
    (void)unused;
    spin(1000);
}

static void do_one(const char *name)
{
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcmp(all[i].name, name) == 0) {
            all[i].run();
            return;
        }
    exit(99);
}

static void read_option(const char *word)
{
    if (strcmp(word, "isolate") == 0)
        options.isolate = true;
    else if (strcmp(word, "dedicated") == 0)
        options.dedicated_root = true;
    else if (strcmp(word, "survive") == 0)
        options.survive = true;
    else if (strncmp(word, "root=", 5) == 0)
        options.root = atoi(word + 5);
    else if (strncmp(word, "threads=", 8) == 0)
        options.threads = atoi(word + 8);
    else
        exit(99);
}

int main(int argc, char *argv[])
{
    for (int i = 3; i < argc; i++)
        read_option(argv[i]);
    if (argc < 3)
        return 99;
    options.pool = &pool;
    options.initializer = options.thread_initializer = initialize;
    options.trace = strcmp(argv[2], "-") ? argv[2] : NULL;
    if (pmap_create_with(&options) != PMAP_OK)
        return 3;
    for (char *name = pool ? strtok(argv[1], ",") : NULL; name; name = strtok(NULL, ","))
        do_one(name);
    pmap_destroy(pool);
    return 0;
}
