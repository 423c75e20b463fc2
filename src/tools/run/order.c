/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A thread of the pool runs one command at a time and waits for it. It wakes every 50 ms, to see whether the command's time is over,
 * memory is short, or nobody wants to know any more (pmap_cancelled, which is also a rank's way to hear of anything while it runs items).
 */
#include "tools/run/order.h"

#include "tools/run/bell.h"
#include "tools/run/child.h"
#include "tools/run/text.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TICK 0.05
#define LONG_OUTPUT ((size_t)1 << 20) /* is not read into memory where it need not be */

/* ---- Packing ---- */

struct pmap_bytes run_order_pack(const struct run_order *order)
{
    struct run_text text = {0};

    run_text_add(&text, order, sizeof *order);
    run_text_add(&text, order->shell, strlen(order->shell) + 1);
    run_text_add(&text, order->line, strlen(order->line) + 1);
    return (struct pmap_bytes){text.data, text.n};
}

/* Its texts are those in the bytes. */
static struct run_order unpack(struct pmap_bytes bytes)
{
    struct run_order order;

    memcpy(&order, bytes.data, sizeof order);
    order.shell = (const char *)bytes.data + sizeof order;
    order.line = order.shell + strlen(order.shell) + 1;
    return order;
}

bool run_outcome_unpack(struct pmap_bytes result, struct run_outcome *outcome)
{
    if (result.data == NULL || result.size < sizeof *outcome)
        return false;
    memcpy(outcome, result.data, sizeof *outcome);
    const char *at = (const char *)result.data + sizeof *outcome;
    for (int i = 0; i < 2; i++) {
        outcome->data[i] = outcome->files[i] < 0 ? at : NULL;
        at += outcome->files[i] < 0 ? outcome->sizes[i] : 0;
    }
    return true;
}

/* ---- The environment of commands ---- */

/* By these a program knows that a launcher started it as a rank, which no command is; or they ask for something about the farm, and a
 * command that is a program with pmap would write that into the same file. */
static const char *const of_ranks[] = {
    "OMPI_COMM_WORLD_",         "OMPI_MCA_ess",           "OMPI_MCA_pmix=",        "OMPI_MCA_orte_ess_",
    "OMPI_MCA_orte_hnp_uri=",   "OMPI_MCA_orte_local_daemon_uri=",                 "OMPI_MCA_orte_app_num=",
    "OMPI_MCA_orte_num_nodes=", "OMPI_MCA_orte_precondition_transports=",          "OMPI_MCA_orte_bound_at_launch=",
    "OMPI_MCA_orte_tmpdir_base=", "OMPI_MCA_orte_top_session_dir=",                "OMPI_MCA_orte_jobfam_session_dir=",
    "OMPI_MCA_orte_launch=",    "OMPI_MCA_initial_wdir=", "OMPI_MCA_shmem_RUNTIME", "OMPI_UNIVERSE_SIZE=",
    "OMPI_NUM_APP_CTX=",        "OMPI_FIRST_RANKS=",      "OMPI_APP_CTX_NUM_PROCS=", "OMPI_COMMAND=",
    "OMPI_ARGV=",               "OMPI_FILE_LOCATION=",    "PMIX_",                 "PMI_",
    "PMAP_RANK=",               "PALS_RANKID=",           "MV2_COMM_WORLD_",       "SLURM_STEP_NUM_TASKS=",
    "MPI_LOCAL",                "PMAP_TRACE=",            "PMAP_REPORT=",          "PMAP_STATS=",
    "PMAP_PROGRESS=",           "PARALLEL_SEQ=",          "PARALLEL_JOBSLOT=",     "PARALLEL_PID=",
};

static char **common; /* what all commands find; set before there are threads */
static size_t commons;

static bool is_of_rank(const char *variable)
{
    for (size_t i = 0; i < sizeof of_ranks / sizeof *of_ranks; i++)
        if (strncmp(variable, of_ranks[i], strlen(of_ranks[i])) == 0)
            return true;
    return false;
}

static void choose_environment(void)
{
    size_t n = 0;

    while (environ[n])
        n++;
    common = run_resize(NULL, n, sizeof *common);
    for (size_t i = 0; i < n; i++)
        if (!is_of_rank(environ[i]))
            common[commons++] = environ[i];
}

/* ---- Time and memory ---- */

static void nap(double seconds)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)(1e9 * seconds)}, NULL);
}

/* What could be had without swapping; SIZE_MAX where /proc does not say. */
static size_t free_memory(void)
{
    char line[200];
    size_t kilobytes = SIZE_MAX / 1024;
    FILE *file = fopen("/proc/meminfo", "re");

    if (file == NULL)
        return SIZE_MAX;
    while (fgets(line, sizeof line, file) && sscanf(line, "MemAvailable: %zu kB", &kilobytes) != 1)
        ;
    fclose(file);
    return 1024 * kilobytes;
}

/* ---- The commands of this rank ---- */

/* A running command, in its thread's frame; listed so that each knows whether it was the last to begin. */
struct running {
    struct running *before;
    bool first;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct running *last;              /* under lock */
static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER; /* one at a time waits for memory, and looks what became of it */
static _Atomic double latest_limit;       /* of all orders so far */

static void enter(struct running *r)
{
    pthread_mutex_lock(&lock);
    r->before = last;
    last = r;
    pthread_mutex_unlock(&lock);
}

static void leave(struct running *r)
{
    struct running **at = &last;

    pthread_mutex_lock(&lock);
    while (*at != r)
        at = &(*at)->before;
    *at = r->before;
    pthread_mutex_unlock(&lock);
}

/* The last to have begun, and not the only one: that one would never be done. */
static bool is_youngest(const struct running *r)
{
    pthread_mutex_lock(&lock);
    bool youngest = last == r && r->before;
    pthread_mutex_unlock(&lock);
    return youngest;
}

/* Where commands begin for want of memory one by one, each is given a moment to take what it takes. False: it is not wanted any more. */
static bool await_memory(size_t wanted)
{
    if (wanted == 0)
        return !pmap_cancelled();
    while (pthread_mutex_trylock(&starting) != 0) {
        if (pmap_cancelled())
            return false;
        nap(TICK);
    }
    nap(TICK);
    bool cancelled = pmap_cancelled();
    while (!cancelled && free_memory() < wanted) {
        nap(2 * TICK);
        cancelled = pmap_cancelled();
    }
    pthread_mutex_unlock(&starting);
    return !cancelled;
}

/* ---- Running ---- */

/* A command that has to end is told so thrice, then killed. */
static const struct step {
    int signal;
    double seconds; /* until the next */
} steps[] = {{SIGTERM, 0.2}, {SIGTERM, 0.1}, {SIGTERM, 0.05}, {SIGKILL, 1e9}};

void run_order_limit(double limit)
{
    atomic_store(&latest_limit, limit);
}

static double limit_of(const struct run_order *order)
{
    double limit = order->timeout > 0 ? order->timeout : atomic_load(&latest_limit);
    return limit > 0 ? limit : 1e18;
}

static enum run_end reason_to_end(const struct run_order *order, const struct running *running, double age)
{
    if (pmap_cancelled())
        return RUN_CANCELLED;
    if (age >= limit_of(order))
        return RUN_TIMED_OUT;
    if (order->free_memory && is_youngest(running) && free_memory() < order->free_memory / 2)
        return RUN_NO_MEMORY;
    return RUN_ENDED;
}

static enum run_end await_end(const struct run_child *child, const struct run_order *order, const struct running *running)
{
    enum run_end end = RUN_ENDED;
    double began = run_now(), next = 0, left;
    size_t step = 0;

    for (double age = 0;; age = run_now() - began) {
        if (end == RUN_ENDED && age > 0)
            end = reason_to_end(order, running, age);
        if (end != RUN_ENDED && age >= next) {
            run_child_signal(child, steps[step].signal);
            next = age + steps[step++].seconds;
        }
        left = (end == RUN_ENDED ? limit_of(order) : next) - age;
        if (run_child_wait(child, left < TICK ? left : TICK))
            return end;
    }
}

static bool run(const struct run_order *order, struct run_outcome *outcome)
{
    char sequence[40], slot[40], root[40];
    char **environment = run_resize(NULL, commons + 4, sizeof *environment);
    struct run_command command = {.shell = order->shell, .line = order->line, .environment = environment,
                                  .out = outcome->files[0], .err = outcome->files[1]};
    struct running running = {0};
    struct run_child child;

    snprintf(sequence, sizeof sequence, "PARALLEL_SEQ=%zu", order->sequence);
    snprintf(slot, sizeof slot, "PARALLEL_JOBSLOT=%zu", order->slot);
    snprintf(root, sizeof root, "PARALLEL_PID=%ld", (long)order->root);
    memcpy(environment, common, commons * sizeof *environment);
    memcpy(environment + commons, (char *[]){sequence, slot, root, NULL}, 4 * sizeof *environment);
    outcome->begin = run_date();
    double began = run_now();
    enter(&running);
    bool started = run_child_start(&child, &command);
    int reason = errno;
    free(environment);
    if (started) {
        outcome->end = await_end(&child, order, &running);
        outcome->status = run_child_reap(&child, outcome->end != RUN_ENDED);
        outcome->seconds = run_now() - began;
    }
    leave(&running);
    errno = reason;
    return started;
}

/* ---- Output ---- */

int run_file_open(void)
{
    const char *directory = getenv("TMPDIR");
    char name[4096];

    if (directory == NULL || *directory == 0)
        directory = "/tmp";
    int file = open(directory, O_TMPFILE | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
    if (file >= 0 || snprintf(name, sizeof name, "%s/pmap-run-XXXXXX", directory) >= (int)sizeof name)
        return file;
    file = mkostemp(name, O_APPEND | O_CLOEXEC);
    if (file >= 0)
        unlink(name);
    return file;
}

static bool read_all(int file, char *to, size_t size)
{
    ssize_t n;

    for (size_t at = 0; at < size; at += (size_t)n) {
        n = pread(file, to + at, size - at, (off_t)at);
        if (n < 0 && errno == EINTR)
            n = 0;
        else if (n <= 0)
            return false;
    }
    return true;
}

/* The outcome with its output, or with the files if that is long and they may stay. */
static struct pmap_bytes deliver(const struct run_outcome *outcome)
{
    bool stay = pmap_rank() == 0 && outcome->sizes[0] + outcome->sizes[1] > LONG_OUTPUT;
    size_t body = stay ? 0 : outcome->sizes[0] + outcome->sizes[1];
    char *bytes = malloc(sizeof *outcome + body);
    struct run_outcome o = *outcome;

    if (bytes == NULL) {
        pmap_fail(ENOMEM, "its output of %zu bytes does not fit into memory", body);
        return (struct pmap_bytes){0};
    }
    for (int i = 0; i < 2 && !stay; i++)
        o.files[i] = -1;
    memcpy(bytes, &o, sizeof o);
    char *at = bytes + sizeof o;
    if (!stay && (!read_all(outcome->files[0], at, o.sizes[0]) || !read_all(outcome->files[1], at + o.sizes[0], o.sizes[1]))) {
        pmap_fail(errno, "its output cannot be read: %s", strerror(errno));
        free(bytes);
        return (struct pmap_bytes){0};
    }
    return (struct pmap_bytes){bytes, sizeof o + body};
}

static size_t size_of(int file)
{
    struct stat s;
    return fstat(file, &s) == 0 ? (size_t)s.st_size : 0;
}

void run_outcome_close(const struct run_outcome *outcome)
{
    for (int i = 0; i < 2; i++)
        if (outcome->files[i] >= 0)
            close(outcome->files[i]);
}

/* ---- The task ---- */

void run_order_prepare(void)
{
    run_child_prepare();
    choose_environment();
}

struct pmap_bytes run_command(struct pmap_bytes bytes)
{
    struct run_order order = unpack(bytes);
    struct run_outcome outcome = {.files = {-1, -1}};
    struct pmap_bytes result = {0};
    bool stay = false;

    run_order_limit(order.limit);
    if (!await_memory(order.free_memory))
        return result;
    gethostname(outcome.host, sizeof outcome.host - 1);
    for (int i = 0; i < 2; i++)
        outcome.files[i] = run_file_open();
    if (outcome.files[0] < 0 || outcome.files[1] < 0) {
        pmap_fail(errno, "no temporary file: %s", strerror(errno));
    } else if (!run(&order, &outcome)) {
        pmap_fail(errno, "cannot be started: %s", strerror(errno));
    } else if (outcome.end != RUN_CANCELLED) {
        outcome.sizes[0] = size_of(outcome.files[0]);
        outcome.sizes[1] = size_of(outcome.files[1]);
        result = deliver(&outcome);
        stay = result.data && ((struct run_outcome *)result.data)->files[0] >= 0;
    }
    if (!stay)
        run_outcome_close(&outcome);
    return result;
}
