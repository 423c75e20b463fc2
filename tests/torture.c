/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The torturer. It starts a job (torture_job.c), kills its processes at random moments, as a seed says, the children that run items, the
 * zygotes that fork them, ranks, the root, the launcher, or all of them at once, and starts it again until it is done. Then it asks: are the results those of a serial loop? Was
 * anything run again that the journal had? Is a process or a file left?
 *
 *     torture [-k KILLS] [-n ITEMS] [-s SEED] [-r RANKS] COMMAND...
 *
 * COMMAND starts the job; jobs follow each other until the whole job was killed KILLS times (default 3). It prints TAP, and at the end, as a
 * comment, what was done to how many, and how long it took to notice. -r: ranks that COMMAND starts; 0 or 1: there are none to kill.
 */
#include "torture.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static struct plan {
    int kills, ranks;
    size_t n;
    uint64_t seed;
    char **command;
} plan = {3, 1, 20000, 1, NULL};

static char directory[256];
static struct torture *board;

/* What happened, over all jobs. */
static struct figures {
    unsigned jobs, lives, children, zygotes, ranks, roots, launchers, wholes; /* killed */
    unsigned lost, again, left, noticed; /* items with a wrong result; run although recorded; lives that left something; deaths told */
    double longest_notice, longest_end;  /* seconds: from a rank's death to the root's word; from the root's to the end of all */
} figures;

/* ---- Chance and time ---- */

static uint64_t chance(uint64_t below)
{
    plan.seed ^= plan.seed << 13;
    plan.seed ^= plan.seed >> 7;
    plan.seed ^= plan.seed << 17;
    return (plan.seed >> 11) % below;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- The job's processes ---- */

struct process {
    int pid;
    char name[16]; /* cells and zygotes have names of their own */
};

#define PROCESSES 256
static struct process processes[PROCESSES];
static int n_processes;

static bool reads(const char *path, char *text, size_t size, size_t *got)
{
    int file = open(path, O_RDONLY);
    ssize_t n = 0;

    *got = 0;
    if (file < 0)
        return false;
    while (*got < size && (n = read(file, text + *got, size - *got)) > 0)
        *got += (size_t)n;
    close(file);
    return n >= 0;
}

/* Has it our directory in its environment? */
static bool is_ours(const char *pid)
{
    static char text[65536];
    char path[300], wanted[400];
    size_t got;

    snprintf(path, sizeof path, "/proc/%s/environ", pid);
    snprintf(wanted, sizeof wanted, TORTURE_DIRECTORY "=%s", directory);
    return reads(path, text, sizeof text, &got) && memmem(text, got, wanted, strlen(wanted) + 1) != NULL;
}

static void look_at(const char *pid)
{
    char path[300], text[1024];
    size_t got;
    struct process *p = &processes[n_processes];

    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    if (!reads(path, text, sizeof text - 1, &got))
        return;
    text[got] = 0;
    char state = 'Z', *name_end = strrchr(text, ')');
    if (name_end == NULL || sscanf(text, "%d (%15[^)]", &p->pid, p->name) != 2 || sscanf(name_end + 1, " %c", &state) != 1 ||
        state == 'Z')
        return;
    n_processes++;
}

static void look(void)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;

    n_processes = 0;
    while (proc && (entry = readdir(proc)) && n_processes < PROCESSES) {
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && atoi(entry->d_name) != getpid() && is_ours(entry->d_name))
            look_at(entry->d_name);
    }
    if (proc)
        closedir(proc);
}

/* ---- Killing ---- */

static double rank_killed[TORTURE_RANKS], root_killed;

static void kill_one(const char *name, unsigned *killed)
{
    int pids[PROCESSES], n = 0;

    look();
    for (int i = 0; i < n_processes; i++) {
        if (strcmp(processes[i].name, name) == 0)
            pids[n++] = processes[i].pid;
    }
    if (n && kill(pids[chance((uint64_t)n)], SIGKILL) == 0)
        (*killed)++;
}

static void kill_rank(void)
{
    int r = plan.ranks > 1 ? 1 + (int)chance((uint64_t)plan.ranks - 1) : 0;
    int pid = atomic_load(&board->pids[r]);

    if (r == 0 || pid == 0 || rank_killed[r] > 0 || kill(pid, SIGKILL) != 0)
        return;
    rank_killed[r] = now();
    figures.ranks++;
}

static void kill_root(void)
{
    int pid = atomic_load(&board->pids[0]);

    if (pid && kill(pid, SIGKILL) == 0) {
        root_killed = now();
        figures.roots++;
    }
}

/* As a machine that loses power does: all at once. */
static void kill_whole(void)
{
    look();
    for (int i = 0; i < n_processes; i++)
        kill(processes[i].pid, SIGKILL);
    figures.wholes++;
}

static void kill_launcher(int pid)
{
    if (kill(pid, SIGKILL) == 0) {
        root_killed = now();
        figures.launchers++;
    }
}

/* ---- What the journal had ---- */

static unsigned char *recorded; /* of each item: runs when the journal had it first, plus one; 0: it has not */

static bool copy(const char *name, const char *to)
{
    char command[1200];
    snprintf(command, sizeof command, "cp -f %s/%s %s/%s 2>/dev/null", directory, name, directory, to);
    return system(command) == 0;
}

/* Of a copy, so that the job itself finds its journal as it was left. */
static bool read_journal(void)
{
    char path[600];
    sqlite3 *db = NULL;
    sqlite3_stmt *rows = NULL;
    bool well;

    if (!copy("run.db", "seen.db"))
        return true; /* it had not come so far */
    snprintf(path, sizeof path, "%s/seen.db-wal", directory);
    unlink(path);
    copy("run.db-wal", "seen.db-wal");
    snprintf(path, sizeof path, "%s/seen.db", directory);
    well = sqlite3_open(path, &db) == SQLITE_OK;
    if (well && sqlite3_prepare_v2(db, "SELECT item FROM item", -1, &rows, NULL) == SQLITE_OK) {
        int step;
        while ((step = sqlite3_step(rows)) == SQLITE_ROW) {
            size_t i = (size_t)sqlite3_column_int64(rows, 0);
            if (i < plan.n && recorded[i] == 0)
                recorded[i] = (unsigned char)(1 + atomic_load(&board->runs[i]));
        }
        well = step == SQLITE_DONE;
    }
    if (!well)
        printf("# the journal cannot be read: %s\n", sqlite3_errmsg(db));
    sqlite3_finalize(rows);
    sqlite3_close(db);
    return well;
}

static void count_runs(void)
{
    for (size_t i = 0; i < plan.n; i++) {
        if (recorded[i] && atomic_load(&board->runs[i]) + 1 != recorded[i])
            figures.again++;
    }
}

/* ---- A life: from start to death ---- */

static int start(int *err)
{
    int ends[2];

    if (pipe(ends))
        return -1;
    for (int r = 0; r < TORTURE_RANKS; r++) {
        atomic_store(&board->pids[r], 0);
        rank_killed[r] = 0;
    }
    atomic_store(&board->handed, 0);
    root_killed = 0;
    fflush(stdout);
    int pid = fork();
    if (pid == 0) {
        setsid();
        setenv(TORTURE_DIRECTORY, directory, 1);
        dup2(ends[1], 2);
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        execvp(plan.command[0], plan.command);
        _exit(127);
    }
    close(ends[1]);
    *err = ends[0];
    return pid;
}

/* The root's word that a rank died. */
static void hear(char *line)
{
    char *at = strstr(line, "rank ");
    int rank;

    if (getenv("PMAP_TORTURE_VERBOSE"))
        printf("# %s\n", line);
    if (at == NULL || strstr(line, " died") == NULL || sscanf(at, "rank %d", &rank) != 1 || rank < 1 || rank >= TORTURE_RANKS ||
        rank_killed[rank] <= 0)
        return;
    double took = now() - rank_killed[rank];
    if (took > figures.longest_notice)
        figures.longest_notice = took;
    figures.noticed++;
}

/* Read what the job says for so many seconds; false: nothing more will come. */
static bool listen_for(int err, double seconds)
{
    static char text[4096];
    static size_t used;
    double end = now() + seconds, left;

    while ((left = end - now()) > 0) {
        struct pollfd p = {err, POLLIN, 0};
        if (poll(&p, 1, (int)(left * 1000) + 1) <= 0)
            continue;
        ssize_t got = read(err, text + used, sizeof text - 1 - used);
        if (got <= 0)
            return false;
        used += (size_t)got;
        text[used] = 0;
        char *line = text, *end_of_line;
        while ((end_of_line = strchr(line, '\n'))) {
            *end_of_line = 0;
            hear(line);
            line = end_of_line + 1;
        }
        used = used - (size_t)(line - text) < sizeof text - 1 ? used - (size_t)(line - text) : 0;
        memmove(text, line, used);
    }
    return true;
}

/* Something of a job: mostly a child, now and then a rank; in the end the job. True: that was its death. */
static bool strike(int launcher, bool may_end)
{
    uint64_t what = chance(100);

    if (what < 55) {
        kill_one("pmap-cell", &figures.children);
    } else if (what < 64) {
        kill_one("pmap-zygote", &figures.zygotes);
    } else if (what < 78) {
        kill_rank();
    } else if (may_end && what < 82 && plan.ranks > 1) {
        kill_root();
        return true;
    } else if (may_end && what < 86 && plan.ranks > 1) {
        kill_launcher(launcher);
        return true;
    } else if (may_end) {
        kill_whole();
        return true;
    }
    return false;
}

/* Wait until nothing of the job is left, ten seconds at most. */
static void see_the_end(void)
{
    double since = now();

    do
        look();
    while (n_processes && now() - since < 10);
    if (root_killed > 0 && now() - root_killed > figures.longest_end)
        figures.longest_end = now() - root_killed;
    if (n_processes == 0)
        return;
    figures.left++;
    printf("# %d processes are left, the first is %d\n", n_processes, processes[0].pid);
    for (int i = 0; i < n_processes; i++)
        kill(processes[i].pid, SIGKILL);
}

#define LIFE 120 /* seconds, after which a job hangs */

/* False: it hung. */
static bool live(bool may_end)
{
    int err = -1, status, launcher = start(&err);
    double end = now() + LIFE;
    bool goes_on = launcher > 0, dying = false;

    figures.lives++;
    while (goes_on && now() < end) {
        bool begun = atomic_load(&board->handed);
        goes_on = listen_for(err, begun ? (double)(1 + chance(150)) * 1e-3 : 0.01);
        if (goes_on && !dying && (begun || chance(200) == 0)) /* now and then before it has begun */
            dying = strike(launcher, may_end);
    }
    bool well = !goes_on;
    if (!well) {
        printf("# the job has not ended in %d s\n", LIFE);
        kill_whole();
    }
    close(err);
    waitpid(launcher, &status, 0);
    see_the_end();
    return well;
}

/* ---- A job: lives until it is done ---- */

static bool is_done(void)
{
    char path[600];
    snprintf(path, sizeof path, "%s/results", directory);
    return access(path, F_OK) == 0;
}

static bool results_are_serial(void)
{
    char path[600];
    unsigned wrong = 0;
    uint64_t value;

    snprintf(path, sizeof path, "%s/results", directory);
    FILE *file = fopen(path, "r");
    for (size_t i = 0; i < plan.n; i++)
        wrong += file == NULL || fread(&value, sizeof value, 1, file) != 1 || value != torture_value(i);
    if (file)
        fclose(file);
    figures.lost += wrong;
    return wrong == 0;
}

static void clear(void)
{
    static const char *const names[] = {"results", "results.part", "run.db", "run.db-wal", "run.db-shm", "seen.db", "seen.db-wal",
                                        "seen.db-shm", "board"};
    char path[600];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        unlink(path);
    }
}

static bool job(void)
{
    bool well = true;

    clear();
    board = torture_map(directory, plan.n);
    memset(recorded, 0, plan.n);
    if (board == NULL)
        return false;
    figures.jobs++;
    for (int lives = 0; well && !is_done() && lives < 60; lives++) {
        well = live(figures.wholes + figures.roots + figures.launchers < (unsigned)plan.kills);
        well = read_journal() && well;
        count_runs();
    }
    well = results_are_serial() && well;
    munmap(board, sizeof *board + plan.n);
    return well;
}

/* ---- What is left ---- */

/* How many files there are that might be ours. */
static int files_in(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *entry;
    int n = 0;

    while (d && (entry = readdir(d)))
        n += strstr(entry->d_name, "pmap") != NULL;
    if (d)
        closedir(d);
    return n;
}

static bool understand(int argc, char *argv[])
{
    int option;

    while ((option = getopt(argc, argv, "+k:n:s:r:")) != -1) {
        switch (option) {
        case 'k': plan.kills = atoi(optarg); break;
        case 'n': plan.n = strtoull(optarg, NULL, 10); break;
        case 's': plan.seed = strtoull(optarg, NULL, 10) * 2 + 1; break;
        case 'r': plan.ranks = atoi(optarg); break;
        default: return false;
        }
    }
    plan.command = argv + optind;
    return optind < argc && plan.n > 0 && plan.ranks < TORTURE_RANKS;
}

static int verdict(int k, bool good, const char *what)
{
    printf("%s %d - %s\n", good ? "ok" : "not ok", k, what);
    return !good;
}

int main(int argc, char *argv[])
{
    bool ended = true;

    if (!understand(argc, argv) || (recorded = calloc(plan.n, 1)) == NULL) {
        fprintf(stderr, "usage: torture [-k KILLS] [-n ITEMS] [-s SEED] [-r RANKS] COMMAND...\n");
        return 2;
    }
    snprintf(directory, sizeof directory, "%s/torture-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (mkdtemp(directory) == NULL) {
        perror(directory);
        return 2;
    }
    int shared = files_in("/dev/shm"), temporary = files_in("/tmp");
    while (ended && (figures.jobs == 0 || figures.wholes + figures.roots + figures.launchers < (unsigned)plan.kills))
        ended = job();
    clear();
    bool clean = rmdir(directory) == 0; /* fails if a file is left that nobody knows */
    int bad = verdict(1, ended && figures.lost == 0, "torture: every job ends with the results of a serial loop");
    bad += verdict(2, figures.again == 0, "torture: nothing is run again that the journal had");
    bad += verdict(3, figures.left == 0, "torture: no process is left");
    bad += verdict(4, clean && files_in("/dev/shm") <= shared && files_in("/tmp") <= temporary, "torture: no file is left");
    printf("1..4\n# %u jobs, %u lives; killed: %u children, %u zygotes, %u ranks, %u roots, %u launchers, %u whole jobs\n"
           "# %u items lost, %u run again; %u deaths told, the longest after %.3f s; all gone %.3f s after the root at most\n",
           figures.jobs, figures.lives, figures.children, figures.zygotes, figures.ranks, figures.roots, figures.launchers, figures.wholes,
           figures.lost, figures.again, figures.noticed, figures.longest_notice, figures.longest_end);
    free(recorded);
    return bad != 0;
}
