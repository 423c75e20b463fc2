/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A command begins by vfork: the rank has MPI's memory, which fork would have to copy the map of. Between vfork and exec the child uses
 * the memory of the thread that waits for it, with all signals blocked, so that none of the rank's handlers runs there.
 */
#include "tools/run/child.h"

#include "tools/run/keeper.h"
#include "tools/run/text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static sigset_t mask_before;
static struct sigaction pipe_before; /* what writing to a pipe that nobody reads did */
static int nothing = -1;             /* /dev/null */
static unsigned first_own;           /* descriptors from here on are the rank's, or MPI's; those below may be meant for commands */

static unsigned first_unused(void)
{
    unsigned n = 3;

    for (unsigned fd = 3; fd < 256; fd++)
        if (fcntl((int)fd, F_GETFD) >= 0)
            n = fd + 1;
    return n;
}

void run_child_prepare(void)
{
    first_own = first_unused();
    sigprocmask(SIG_SETMASK, NULL, &mask_before);
    sigaction(SIGPIPE, NULL, &pipe_before);
    nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* ---- With or without a shell ---- */

/* What some shell does by itself, or reads as the beginning of something else. Not true and false: these are the same outside. */
static const char *const inside[] = {
    ".",        ":",       "[",       "alias",   "bg",       "bind",     "break",    "builtin", "caller",  "case",    "cd",
    "command",  "compgen", "complete", "compopt", "continue", "coproc",  "declare",  "dirs",    "disown",  "do",      "done",
    "echo",     "elif",    "else",    "enable",  "esac",     "eval",     "exec",     "exit",    "export",  "fc",      "fg",
    "fi",       "for",     "function", "getopts", "hash",    "help",     "history",  "if",      "in",      "jobs",    "kill",
    "let",      "local",   "logout",  "mapfile", "newgrp",   "popd",     "print",    "printf",  "pushd",   "pwd",     "read",
    "readarray", "readonly", "return", "select", "set",      "shift",    "shopt",    "source",  "suspend", "test",    "then",
    "time",     "times",   "trap",    "type",    "typeset",  "ulimit",   "umask",    "unalias", "unset",   "until",   "wait",
    "whence",   "while",
};

static bool is_inside(const char *word, size_t n)
{
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++)
        if (strncmp(word, inside[i], n) == 0 && inside[i][n] == 0)
            return true;
    return false;
}

/* These do nothing else first, unless the environment has a file or functions for them. */
static bool is_known(const char *shell)
{
    static const char *const known[] = {"sh", "dash", "bash"};
    const char *slash = strrchr(shell, '/'), *name = slash ? slash + 1 : shell;

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i]) == 0)
            return true;
    return false;
}

static bool is_harmless(char c)
{
    return isalnum((unsigned char)c) ? (unsigned char)c < 128 : c && strchr("-_.+/:@%,= ", c) != NULL;
}

bool run_command_is_simple(const char *shell, const char *line)
{
    size_t first = strcspn(line, " ");

    if (!is_known(shell) || first == 0 || memchr(line, '=', first))
        return false;
    for (const char *at = line; *at; at++)
        if (!is_harmless(*at))
            return false;
    return memchr(line, '/', first) != NULL || !is_inside(line, first);
}

/* May the shell find something else under a name than a program? */
static bool has_functions(char *const environment[])
{
    for (; *environment; environment++)
        if (strncmp(*environment, "BASH_FUNC_", 10) == 0 || strncmp(*environment, "BASH_ENV=", 9) == 0 ||
            strncmp(*environment, "ENV=", 4) == 0)
            return true;
    return false;
}

/* ---- Beginning ---- */

enum { CLOEXEC = 1 << 2 }; /* of close_range: the descriptors are closed by exec */

struct plan {
    const struct run_command *command;
    char **words; /* NULL: for the shell alone */
    size_t place;
};

/* The words of a simple line. One allocation, which has the text, too. */
static char **split(const char *line)
{
    size_t size = strlen(line) + 1, n = 0;
    char **words = run_resize(NULL, size * sizeof *words + sizeof *words + size, 1), *rest = NULL;
    char *text = memcpy((char *)(words + size + 1), line, size);

    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        words[n++] = word;
    words[n] = NULL;
    return words;
}

/* In the child, in the parent's memory: only what signal handlers may do. A handler is that of the parent until exec, so all that it
 * may have are taken away before signals come through again. */
static void become(const struct plan *plan)
{
    static const int handled[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD, SIGALRM};
    const struct run_command *c = plan->command;
    char *by_shell[] = {(char *)c->shell, "-c", (char *)c->line, NULL};
    struct sigaction usual = {.sa_handler = SIG_DFL}, now;

    setpgid(0, 0);
    run_keeper_enter(plan->place, getpid());
    dup2(nothing, 0);
    dup2(c->out, 1);
    dup2(c->err, 2);
#ifdef SYS_close_range
    syscall(SYS_close_range, first_own, ~0U, CLOEXEC);
#endif
    for (size_t i = 0; i < sizeof handled / sizeof *handled; i++)
        if (sigaction(handled[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
            sigaction(handled[i], &usual, NULL);
    sigaction(SIGPIPE, &pipe_before, NULL);
    sigprocmask(SIG_SETMASK, &mask_before, NULL);
    if (plan->words)
        execvpe(plan->words[0], plan->words, c->environment);
    execvpe(c->shell, by_shell, c->environment); /* also to say that there is no such program */
    _exit(127);
}

static pid_t begin(const struct plan *plan)
{
    sigset_t every, before;

    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    pid_t pid = vfork();
    if (pid == 0)
        become(plan);
    int reason = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = reason;
    return pid;
}

bool run_child_start(struct run_child *child, const struct run_command *command)
{
    bool direct = run_command_is_simple(command->shell, command->line) && !has_functions(command->environment);
    struct plan plan = {.command = command, .words = direct ? split(command->line) : NULL, .place = run_keeper_take()};
    pid_t pid = begin(&plan);
    int reason = errno;

    free(plan.words);
    if (pid < 0)
        run_keeper_give(plan.place);
    else
        *child = (struct run_child){.pid = pid, .watch = (int)syscall(SYS_pidfd_open, pid, 0), .place = plan.place};
    errno = reason;
    return pid > 0;
}

/* ---- Waiting and ending ---- */

static bool has_ended(const struct run_child *child)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOWAIT | WNOHANG) == 0 && info.si_pid == child->pid;
}

bool run_child_wait(const struct run_child *child, double seconds)
{
    struct pollfd watch = {.fd = child->watch, .events = POLLIN};
    int most = child->watch < 0 ? 2 : seconds > 1000 ? 1000000 : (int)(seconds * 1000) + 1;

    poll(&watch, 1, most);
    return has_ended(child);
}

void run_child_signal(const struct run_child *child, int signal)
{
    kill(-child->pid, signal);
}

int run_child_reap(struct run_child *child, bool whole)
{
    int status = 0;

    if (whole)
        kill(-child->pid, SIGKILL);
    run_keeper_give(child->place);
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (child->watch >= 0)
        close(child->watch);
    child->watch = -1;
    return status;
}
