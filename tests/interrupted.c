/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Programs that are sent signals while a call is pending; test_signals.sh starts them, sends the signals, and sees how they end.
 *
 *     interrupted map | imap | reduce | async | share     until it is interrupted; what came of it goes to stdout
 *     interrupted CALL deaf       items do not ask whether they shall stop
 *     interrupted CALL own        the program has a handler of its own for SIGTERM, which calls pmap_interrupt
 *     interrupted CALL ignore     the program ignores SIGTERM
 *     interrupted CALL off        pmap shall not catch signals
 *     interrupted CALL again      with another pool after that
 *
 * In the directory PMAP_TEST_DIR each process leaves its process id in the file pid.RANK, and the root the file ready when
 * items run. The status is 85 after an interruption, 0 without.
 */
#include "board.h"
#include "rank.h"

#include <pmap.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N 100

enum { HELD };

/* The first is well, the others run until they are asked to stop. */
static int endless(int x)
{
    if (x == 0)
        return 7;
    atomic_fetch_add(&board()[HELD], 1);
    while (!pmap_cancelled())
        sched_yield();
    return 99;
}
PMAP_TASK(endless, int, int);

static int deaf(int x)
{
    atomic_fetch_add(&board()[HELD], 1);
    while (x >= 0)
        sched_yield();
    return x;
}
PMAP_TASK(deaf, int, int);

static int add(int a, int b) { return a + b; }
PMAP_OP(add, int);

/* ---- What the script sees ---- */

static FILE *leave_file(const char *name)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", getenv("PMAP_TEST_DIR"), name);
    return fopen(path, "w");
}

static void leave_pid(void)
{
    const char *rank = launched_rank();
    char name[64];

    snprintf(name, sizeof name, "pid.%s", rank ? rank : "0");
    FILE *file = leave_file(name);
    fprintf(file, "%d\n", (int)getpid());
    fclose(file);
}

static void *announce(void *unused)
{
    board_await(HELD, 1);
    fclose(leave_file("ready"));
    return unused;
}

static bool is_default(int signal)
{
    struct sigaction now;

    return sigaction(signal, NULL, &now) == 0 && now.sa_handler == SIG_DFL;
}

/* ---- Calls ---- */

static int in[N], out[N];
static struct pmap_error error;

static enum pmap_status stream(struct pmap_pool *pool)
{
    struct pmap_iter *it = pmap_imap(pool, endless, PMAP_ARRAY(in, N), .error = &error);
    enum pmap_status status, last = PMAP_OK;
    int y;

    while ((status = pmap_iter_next(it, &y, PMAP_FOREVER)) != PMAP_END)
        last = status;
    pmap_iter_free(it);
    return last;
}

static enum pmap_status async(struct pmap_pool *pool)
{
    struct pmap_result *result = pmap_map_async(pool, endless, in, out, N, .chunksize = 1);
    enum pmap_status status = pmap_result_get(result, PMAP_FOREVER, &error);

    pmap_result_free(result);
    return status;
}

/* Data is shared as fast as it can be until that is refused. */
static enum pmap_status share(struct pmap_pool *pool)
{
    struct pmap_handle handle;
    enum pmap_status status;

    atomic_fetch_add(&board()[HELD], 1);
    while ((status = pmap_share(pool, in, sizeof in, &handle, .error = &error)) == PMAP_OK)
        pmap_unshare(pool, handle);
    return status;
}

static enum pmap_status call(struct pmap_pool *pool, const char *name, bool is_deaf)
{
    if (is_deaf)
        return pmap_map(pool, deaf, in, out, N, .chunksize = 1, .error = &error);
    if (strcmp(name, "imap") == 0)
        return stream(pool);
    if (strcmp(name, "reduce") == 0)
        return pmap_reduce(pool, endless, add, in, out, N, .error = &error);
    if (strcmp(name, "async") == 0)
        return async(pool);
    if (strcmp(name, "share") == 0)
        return share(pool);
    return pmap_map(pool, endless, in, out, N, .chunksize = 1, .error = &error);
}

/* ---- The program ---- */

static struct pmap_pool *the_pool;

static void handle(int signal)
{
    (void)signal;
    pmap_interrupt(the_pool);
}

static int work(struct pmap_pool *pool, const char *name, const char *how)
{
    pthread_t thread;

    for (int i = 0; i < N; i++)
        in[i] = i;
    pthread_create(&thread, NULL, announce, NULL);
    enum pmap_status status = call(pool, name, strcmp(how, "deaf") == 0);
    pthread_join(thread, NULL);
    printf("%s: %s%s\n", pmap_status_name(status), error.text, pmap_interrupted(pool) ? "" : ", but not interrupted");
    pmap_destroy(pool);
    printf("SIGTERM is %s, SIGINT is %s\n", is_default(SIGTERM) ? "restored" : "not the default",
           is_default(SIGINT) ? "restored" : "not the default");
    return status == PMAP_EINTERRUPTED ? 85 : 1;
}

int main(int argc, char *argv[])
{
    const char *name = argc > 1 ? argv[1] : "map", *how = argc > 2 ? argv[2] : "";
    const char *threads = getenv("PMAP_TEST_THREADS");
    int status = 0;

    if (strcmp(how, "own") == 0)
        signal(SIGTERM, handle);
    if (strcmp(how, "ignore") == 0)
        signal(SIGTERM, SIG_IGN);
    leave_pid();
    if (pmap_create(&the_pool, .threads = threads ? atoi(threads) : 0,
                    .signals = strcmp(how, "off") == 0 ? PMAP_SIGNALS_OFF : PMAP_SIGNALS_ON) != PMAP_OK)
        return 1;
    if (the_pool)
        status = work(the_pool, name, how);
    if (strcmp(how, "again") == 0 && pmap_create(&the_pool, .threads = 1) == PMAP_OK && the_pool) {
        printf("again: %s\n", pmap_status_name(pmap_map(the_pool, endless, in, out, 1)));
        pmap_destroy(the_pool);
    }
    return status;
}
