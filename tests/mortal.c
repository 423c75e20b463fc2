/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Programs whose ranks die; test_survive.sh starts them and sees what becomes of the others.
 *
 *     mortal CALL DIRECTORY [WORD=VALUE]…
 *
 * CALL is what the root does. A rank dies by SIGKILL inside an item; DIRECTORY is where it leaves a file first, so that so many
 * die and no more, and everybody who waits for a death can see it.
 *
 *     root=R      is the root of all pools (0)
 *     kills=K     K ranks other than the root die, one after the other, when they come to an item that is fatal (1)
 *     threads=T   of each rank (1)
 *     dedicated=1 the root runs no items
 *     survive=1   the others go on
 *     own=1       the program owns MPI
 *     fork=1      a rank that dies leaves a child behind
 *     late=1      the first pool is an ordinary one
 *     journal=1   pools write a journal
 */
#include "rank.h"

#include <pmap_mapreduce.h>

#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef HAVE_MPI
#include <pmap_mpi.h>
#endif

#define N 2000
#define POISON 50 /* the item that kills whoever runs it, but the root */
#define WASTED 100 /* us that an item takes, so that all ranks get some */

static const char *directory;
static int kills = 1, threads = 1, root = 0;
static bool own, forks, survive, late, dedicated, journal;

/* ---- Dying ---- */

static int my_rank(void)
{
    const char *rank = launched_rank();
    return rank ? atoi(rank) : 0;
}

/* Leave a file of this name and number; false if it is there already. */
static bool leave_file(const char *name, int number)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s.%d", directory, name, number);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static bool is_file(const char *name, int number)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/%s.%d", directory, name, number);
    return access(path, F_OK) == 0;
}

static void die(void)
{
    if (forks && fork() == 0) {
        alarm(1); /* long after the launcher has seen to everybody else */
        for (;;)
            pause();
    }
    kill(getpid(), SIGKILL);
    for (;;) /* the signal reaches a thread of this process, not necessarily this one at once */
        pause();
}

/* Is it this rank's turn to die? */
static void die_perhaps(void)
{
    for (int k = 0; k < kills && my_rank() != root; k++)
        if (leave_file("death", k))
            die();
}

static void waste_time(void)
{
    struct timespec since, now;

    clock_gettime(CLOCK_MONOTONIC, &since);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - since.tv_sec) * 1000000 + (now.tv_nsec - since.tv_nsec) / 1000 < WASTED);
}

/* ---- Tasks ---- */

static int square(int x)
{
    waste_time();
    if (x % 10 == 7)
        die_perhaps();
    return x * x;
}
PMAP_TASK(square, int, int);

/* Fails for some items, the first time that they are run, and dies at others. */
static int moody(int x)
{
    waste_time();
    if (x % 10 == 7)
        die_perhaps();
    if (x % 10 == 3 && leave_file("mood", x))
        pmap_fail(3, "in a bad mood");
    return x * x;
}
PMAP_TASK(moody, int, int);

static int poisonous(int x)
{
    waste_time();
    if (x == POISON && my_rank() != root)
        die();
    return x * x;
}
PMAP_TASK(poisonous, int, int);

/* Ranks that shall die at once are known by their process numbers, in files. */
static void join_burst(void)
{
    const char *size = getenv("OMPI_COMM_WORLD_SIZE");

    if (size == NULL)
        size = getenv("PMI_SIZE");
    if (my_rank() != root && size && my_rank() < atoi(size) - 1)
        leave_file("member", (int)getpid());
}

/* Kill all of them with one command, this rank first, so that others may seem to live when the root hears of it. */
static void die_in_burst(void)
{
    char command[4096];

    snprintf(command, sizeof command, "kill -KILL %d $(ls %s | sed -n 's/^member\\.//p' | grep -vx %d)", (int)getpid(), directory,
             (int)getpid());
    if (system(command) != 0)
        exit(4);
    die();
}

static int bursts(int x)
{
    if (my_rank() != root && leave_file("death", 0))
        die_in_burst();
    return x * x;
}
PMAP_TASK(bursts, int, int);

static int leaves(int x)
{
    waste_time();
    if (x % 10 == 7 && my_rank() != root && leave_file("death", 0))
        exit(3);
    return x * x;
}
PMAP_TASK(leaves, int, int);

/* Leaves a file for each item that runs after all of them had been written down. */
static int square_once(int x)
{
    if (is_file("written", 0))
        leave_file("again", x);
    return square(x);
}
PMAP_TASK(square_once, int, int);

/* As a network may do it: nothing goes over this rank's lifeline any more, which is known by its limit, of the default heartbeat. */
static void cut_lifeline(void)
{
    for (int fd = 3; fd < 256; fd++) {
        unsigned limit = 0;
        socklen_t size = sizeof limit;
        if (getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, &size) == 0 && limit == 2000)
            shutdown(fd, SHUT_RDWR);
    }
}

static int cuts(int x)
{
    waste_time();
    if (x % 10 == 7 && my_rank() != root && leave_file("death", 0))
        cut_lifeline();
    return x * x;
}
PMAP_TASK(cuts, int, int);

static long sum_of(int x, struct pmap_handle handle)
{
    const int *shared = pmap_shared(handle);

    waste_time();
    if (x % 10 == 7)
        die_perhaps();
    return shared ? (long)shared[x] * x : -1;
}
PMAP_TASK(sum_of, long, int, struct pmap_handle);

static struct pmap_bytes repeat(struct pmap_bytes item)
{
    size_t n = item.size / sizeof(int);
    int x = n ? *(const int *)item.data : 0, *out = malloc(item.size + 1);

    waste_time();
    if (x % 10 == 7)
        die_perhaps();
    for (size_t i = 0; i < n && out; i++)
        out[i] = x;
    return (struct pmap_bytes){out, item.size};
}
PMAP_BYTES_TASK(repeat);

static long plus(long a, long b) { return a + b; }
PMAP_OP(plus, long);

static long as_long(int x)
{
    waste_time();
    if (x % 10 == 7)
        die_perhaps();
    return x;
}
PMAP_TASK(as_long, long, int);

static void count_tens(struct pmap_view piece, struct pmap_emitter *out)
{
    const int *x = piece.data;

    for (size_t i = 0; i < piece.size / sizeof *x; i++) {
        int ten = x[i] / 10;
        waste_time();
        if (x[i] % 10 == 7)
            die_perhaps();
        pmap_emit_i64(out, &ten, sizeof ten, 1);
    }
}
PMAP_MAPREDUCE(tens, .map = count_tens, .combine = pmap_sum_i64, .value = PMAP_TYPE_I64);

/* A rank that is stopped for a second is slow, not dead. */
static int stops(int x)
{
    char command[100];

    if (my_rank() == root || !leave_file("stop", 0))
        return x;
    snprintf(command, sizeof command, "(sleep 1; kill -CONT %d) &", (int)getpid());
    if (system(command) == 0)
        kill(getpid(), SIGSTOP);
    return x;
}
PMAP_TASK(stops, int, int);

/* On the host node3 an item waits until it may go on, or for ever. */
static int waits(int x)
{
    char host[64] = "";

    gethostname(host, sizeof host - 1);
    if (strcmp(host, "node3") != 0)
        return x * x;
    leave_file("waits", 0);
    while (!is_file("go", 0))
        poll(NULL, 0, 1);
    return x * x;
}
PMAP_TASK(waits, int, int);

/* Say on which process it runs, and stay until it is killed. */
static int stays(int x)
{
    leave_file("pid", (int)getpid());
    for (;;)
        pause();
    return x;
}
PMAP_TASK(stays, int, int);

/* ---- What the root does ---- */

static int in[N], out[N];

static int check(enum pmap_status status, const char *what)
{
    int wrong = 0;

    for (int i = 0; i < N; i++)
        wrong += out[i] != i * i;
    printf("%s: %s, %d wrong\n", what, pmap_status_name(status), wrong);
    memset(out, 0, sizeof out);
    return status == PMAP_OK && wrong == 0 ? 0 : 1;
}

static int map(struct pmap_pool *pool)
{
    int bad = check(pmap_map(pool, square, in, out, N, .chunksize = 8), "map in chunks");
    return bad + check(pmap_map(pool, square, in, out, N), "map");
}

static int costs(struct pmap_pool *pool)
{
    static double cost[N];

    for (int i = 0; i < N; i++)
        cost[i] = (i * 7919) % N;
    return check(pmap_map(pool, square, in, out, N, .cost = cost), "map with costs");
}

static int retries(struct pmap_pool *pool)
{
    return check(pmap_map(pool, moody, in, out, N, .retries = 1, .chunksize = 4), "map with retries");
}

/* What was run again because its rank died is written down as the rest is: in a second pool nothing runs. */
static int recorded(struct pmap_pool *pool)
{
    int bad = check(pmap_map(pool, square_once, in, out, N, .name = "squares", .chunksize = 8), "map with a journal"), again = 0;

    for (int i = 0; i < N; i++)
        again += is_file("again", i);
    leave_file("written", 0);
    printf("%d items ran again\n", again);
    return bad + again;
}

/* Each failure is counted once, although items are run again. */
static int collect(struct pmap_pool *pool)
{
    static enum pmap_status statuses[N];
    enum pmap_status status = pmap_map(pool, moody, in, out, N, .on_error = PMAP_COLLECT, .statuses = statuses, .chunksize = 4);
    int wrong = 0;

    for (int i = 0; i < N; i++) {
        bool failed = statuses[i] == PMAP_EFAILED;
        wrong += failed ? i % 10 != 3 || out[i] != 0 : statuses[i] != PMAP_OK || out[i] != i * i;
    }
    printf("collect: %s, %d wrong\n", pmap_status_name(status), wrong);
    return status != PMAP_OK || wrong > 0;
}

static int imap(struct pmap_pool *pool)
{
    struct pmap_iter *it = pmap_imap(pool, square, PMAP_ARRAY(in, N), .chunksize = 3);
    int y, n = 0, wrong = 0;
    enum pmap_status status;

    while ((status = pmap_iter_next(it, &y, PMAP_FOREVER)) != PMAP_END) {
        wrong += status != PMAP_OK || y != n * n;
        n++;
    }
    pmap_iter_free(it);
    printf("imap: %d of %d, %d wrong\n", n, N, wrong);
    return wrong > 0 || n != N;
}

static int reduce(struct pmap_pool *pool)
{
    long sum = 0;
    enum pmap_status status = pmap_reduce(pool, as_long, plus, in, &sum, N);

    printf("reduce: %s, %ld\n", pmap_status_name(status), sum);
    return status != PMAP_OK || sum != (long)N * (N - 1) / 2;
}

static int apply(struct pmap_pool *pool)
{
    static struct pmap_result *results[N];
    int bad = 0;

    for (int i = 0; i < N; i++)
        results[i] = pmap_apply_async(pool, square, &out[i], in[i]);
    for (int i = 0; i < N; i++) {
        bad += pmap_result_get(results[i], PMAP_FOREVER, NULL) != PMAP_OK;
        pmap_result_free(results[i]);
    }
    return bad + check(PMAP_OK, "apply");
}

static int share_once(struct pmap_pool *pool, int factor)
{
    static int table[N];
    static struct sum_of_args args[N];
    static long sums[N];
    struct pmap_handle handle;
    int wrong = 0;

    for (int i = 0; i < N; i++)
        table[i] = factor * i;
    enum pmap_status status = pmap_share(pool, table, sizeof table, &handle);
    for (int i = 0; i < N; i++)
        args[i] = (struct sum_of_args){i, handle};
    if (status == PMAP_OK)
        status = pmap_starmap(pool, sum_of, args, sums, N);
    for (int i = 0; i < N; i++)
        wrong += sums[i] != (long)factor * i * i;
    printf("share: %s, %d wrong\n", pmap_status_name(status), wrong);
    return wrong > 0 || status != PMAP_OK || pmap_unshare(pool, handle) != PMAP_OK;
}

static int share(struct pmap_pool *pool)
{
    return share_once(pool, 1) + share_once(pool, 2);
}

/* Bodies that are too long to travel with their heads, in both directions. */
static int bytes(struct pmap_pool *pool)
{
    enum { LENGTH = 50000, ITEMS = 200 };
    static struct pmap_bytes items[ITEMS], results[ITEMS];
    int wrong = 0;

    for (int i = 0; i < ITEMS; i++) {
        items[i] = (struct pmap_bytes){malloc(LENGTH * sizeof(int)), LENGTH * sizeof(int)};
        for (int k = 0; k < LENGTH && items[i].data; k++)
            ((int *)items[i].data)[k] = i;
    }
    enum pmap_status status = pmap_map(pool, repeat, items, results, ITEMS, .chunksize = 2);
    for (int i = 0; i < ITEMS; i++)
        wrong += results[i].size != items[i].size || memcmp(results[i].data, items[i].data, items[i].size) != 0;
    printf("bytes: %s, %d wrong\n", pmap_status_name(status), wrong);
    pmap_bytes_free(items, ITEMS);
    pmap_bytes_free(results, ITEMS);
    return wrong > 0 || status != PMAP_OK;
}

static bool count(void *user, struct pmap_view key, struct pmap_view value)
{
    (void)key;
    *(long *)user += (long)*(const int64_t *)value.data;
    return true;
}

/* What a dead rank had of a map-reduce is lost, and says so; the next one does without that rank. */
static int mapreduce(struct pmap_pool *pool)
{
    struct pmap_error error = {0};
    long n = 0;
    enum pmap_status status = pmap_mapreduce(pool, tens, PMAP_RECORDS(in, N), .deliver = count, .user = &n,
                                             .split_size = 64, .error = &error);

    printf("mapreduce: %s: %s\n", pmap_status_name(status), error.text);
    if (status != PMAP_ELOST)
        return 1;
    n = 0;
    status = pmap_mapreduce(pool, tens, PMAP_RECORDS(in, N), .deliver = count, .user = &n, .split_size = 64);
    printf("mapreduce again: %s, %ld\n", pmap_status_name(status), n);
    return status != PMAP_OK || n != N;
}

/* The item that kills three ranks is lost, and nothing else. */
static int poison(struct pmap_pool *pool)
{
    static enum pmap_status statuses[N];
    struct pmap_error error = {0};
    int wrong = 0;

    enum pmap_status status = pmap_map(pool, poisonous, in, out, N, .statuses = statuses, .error = &error, .chunksize = 8, .retries = 2);
    for (int i = 0; i < N; i++)
        wrong += i == POISON ? statuses[i] != PMAP_ELOST || out[i] != 0 : statuses[i] != PMAP_OK || out[i] != i * i;
    printf("poison: %s at item %zu, rank %d, %d wrong, %d ranks left: %s\n", pmap_status_name(status), error.item, error.rank, wrong,
           pmap_ranks(pool), error.text);
    return status != PMAP_ELOST || error.item != POISON || wrong > 0;
}

/* Of five ranks all but the root die; a root that runs no items is of no use then. */
static int nobody(struct pmap_pool *pool)
{
    struct pmap_error error = {0};
    enum pmap_status status = pmap_map(pool, square, in, out, N, .error = &error, .chunksize = 8);

    printf("nobody: %s: %s\n", pmap_status_name(status), error.text);
    return status != PMAP_ELOST || pmap_threads(pool) != 0 || pmap_map(pool, square, in, out, N, .error = &error) != PMAP_ELOST;
}

/* Begin a map, see a rank die of it, and stay outside of all calls of the library, as a program does that computes for long. */
static int compute(struct pmap_pool *pool)
{
    struct pmap_result *result = pmap_map_async(pool, square, in, out, N, .chunksize = 8);

    while (!is_file("death", 0))
        pmap_result_wait(result, 0.001);
    while (pause() < 0)
        ;
    return 1;
}

/* One item, which is innocent of these deaths. */
static int burst(struct pmap_pool *pool)
{
    struct pmap_error error = {0};
    int x = 3, y = 0;
    enum pmap_status status = pmap_map(pool, bursts, &x, &y, 1, .error = &error);

    printf("burst: %s, %d ranks left: %s\n", pmap_status_name(status), pmap_ranks(pool), error.text);
    return status != PMAP_OK || y != x * x;
}

static int exits(struct pmap_pool *pool) { return check(pmap_map(pool, leaves, in, out, N, .chunksize = 8), "exit"); }
static int cut(struct pmap_pool *pool) { return check(pmap_map(pool, cuts, in, out, N, .chunksize = 8), "cut"); }
static int stop(struct pmap_pool *pool) { return pmap_map(pool, stops, in, out, N, .chunksize = 8) != PMAP_OK; }
static int stay(struct pmap_pool *pool) { return pmap_map(pool, stays, in, out, N, .chunksize = 8) != PMAP_OK; }
static int node3(struct pmap_pool *pool) { return check(pmap_map(pool, waits, in, out, N, .chunksize = 8), "node3"); }
static int nothing(struct pmap_pool *pool) { return pool == NULL; }
static int fail(struct pmap_pool *pool) { return pool != NULL; }

static const struct {
    const char *name;
    int (*run)(struct pmap_pool *pool); /* the program's exit status: 0 if all is well */
} calls[] = {{"map", map}, {"cost", costs}, {"retry", retries}, {"collect", collect}, {"journal", recorded}, {"imap", imap}, {"reduce", reduce},
             {"apply", apply}, {"share", share}, {"bytes", bytes}, {"mapreduce", mapreduce}, {"poison", poison}, {"nobody", nobody},
             {"compute", compute}, {"burst", burst}, {"exit", exits}, {"cut", cut}, {"stop", stop}, {"stay", stay}, {"node3", node3},
             {"nothing", nothing}, {"half", nothing}, {"fail", fail}};

/* ---- The program ---- */

static void read_word(const char *word)
{
    int value = strchr(word, '=') ? atoi(strchr(word, '=') + 1) : 1;
    size_t length = strcspn(word, "=");
    static const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"survive", &survive}, {"own", &own}, {"fork", &forks}, {"late", &late}, {"dedicated", &dedicated}, {"journal", &journal}};

    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (strncmp(word, flags[i].name, length) == 0)
            *flags[i].flag = value;
    if (strncmp(word, "kills", length) == 0)
        kills = value;
    if (strncmp(word, "root", length) == 0)
        root = value;
    if (strncmp(word, "threads", length) == 0)
        threads = value;
}

static void begin_mpi(void)
{
#ifdef HAVE_MPI
    int provided;
    MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
#endif
}

static void end_mpi(void)
{
#ifdef HAVE_MPI
    MPI_Finalize();
#endif
}

static int living = INT_MAX; /* ranks at the end of the pool before */

/* One pool, and this call in it; 3: there is no pool. */
static int use_pool(int (*run)(struct pmap_pool *pool), bool survives)
{
    struct pmap_pool *pool;
    char path[4096];
    int status = 0;

    snprintf(path, sizeof path, "%s/journal.db", directory);
    if (pmap_create(&pool, .root = root, .threads = threads, .dedicated_root = dedicated, .survive = survives, .journal = journal ? path : NULL) !=
        PMAP_OK)
        return 3;
    if (pool && pmap_ranks(pool) > living)
        return 5; /* the dead are not counted from the beginning on */
    if (pool) {
        status = run(pool);
        living = pmap_ranks(pool);
    }
    pmap_destroy(pool);
    return status;
}

/* All ranks: no pool can be over half of them. */
static int use_half(void)
{
    enum pmap_status status = PMAP_EINVAL;
#ifdef HAVE_MPI
    MPI_Comm half;
    struct pmap_pool *pool;

    MPI_Comm_split(MPI_COMM_WORLD, my_rank() / 2, my_rank(), &half);
    status = pmap_create_on(half, 0, &pool, .threads = threads);
    MPI_Comm_free(&half);
#endif
    return status != PMAP_EINVAL;
}

int main(int argc, char *argv[])
{
    int status = 2;

    if (argc < 3)
        return status;
    directory = argv[2];
    for (int i = 3; i < argc; i++)
        read_word(argv[i]);
    for (int i = 0; i < N; i++)
        in[i] = i;
    if (strcmp(argv[1], "burst") == 0)
        join_burst();
    if (own)
        begin_mpi();
    if (late)
        use_pool(nothing, false);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (strcmp(argv[1], calls[i].name) == 0)
            status = use_pool(calls[i].run, survive);
    if (status == 0 && strcmp(argv[1], "half") == 0)
        status = use_half();
    if (status == 0 && survive && strcmp(argv[1], "nobody") != 0) { /* and once more, among those who are left */
        kills = 0;
        status = use_pool(journal ? recorded : map, true);
    }
    if (own)
        end_mpi();
    return status;
}
