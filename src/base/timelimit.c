/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "base/timelimit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* ---- The environment ---- */

#define LONGEST 1e9 /* seconds: thirty years are no limit */

/* A number from 0 to most; false if it is none. */
static bool read_number(const char *text, double most, double *number)
{
    char *end;

    *number = strtod(text, &end);
    return end > text && *end == '\0' && *number >= 0 && *number <= most; /* no comparison holds of what is not a number */
}

const char *pmap__limit_complaint(void)
{
    const char *text = getenv("PMAP_WALLTIME");
    double seconds;

    return text == NULL || read_number(text, LONGEST, &seconds) ? NULL : "not a number of seconds from 0 to 1e9";
}

enum pmap__limit pmap__limit_here(uint64_t *left)
{
    const char *ours = getenv("PMAP_WALLTIME"), *slurms = getenv("SLURM_JOB_END_TIME");
    double seconds, end;
    struct timespec now;

    if (ours && read_number(ours, LONGEST, &seconds)) {
        *left = (uint64_t)(seconds * 1e9);
        return *left ? PMAP__LIMIT_KNOWN : PMAP__LIMIT_NONE;
    }
    if (slurms && read_number(slurms, 1e12, &end)) {
        clock_gettime(CLOCK_REALTIME, &now);
        seconds = end - (double)now.tv_sec;
        *left = seconds > 0 ? (uint64_t)(seconds * 1e9) : 1;
        return seconds < LONGEST ? PMAP__LIMIT_KNOWN : PMAP__LIMIT_NONE;
    }
    return getenv("SLURM_JOB_ID") ? PMAP__LIMIT_ASK : PMAP__LIMIT_NONE;
}

bool pmap__limit_parse(const char *text, uint64_t *ns)
{
    unsigned long days = 0, part[3] = {0};
    const char *rest = strchr(text, '-');
    int n = 0;
    char *end;

    if (rest)
        days = strtoul(text, &end, 10);
    if (rest && end != rest)
        return false;
    for (text = rest ? rest + 1 : text; n < 3 && *text >= '0' && *text <= '9'; text = *end == ':' ? end + 1 : end) {
        part[n++] = strtoul(text, &end, 10);
        if (*end != ':')
            break;
    }
    if (n < 2 || (*end != '\0' && *end != '\n') || days > 10000 || part[0] > 1000000)
        return false;
    unsigned long seconds = n == 3 ? 3600 * part[0] + 60 * part[1] + part[2] : 60 * part[0] + part[1];
    *ns = (days * 86400 + seconds) * PMAP__S;
    return true;
}

/* ---- Asking ---- */

static bool spawn(char *const arguments[], int out, pid_t *process)
{
    posix_spawn_file_actions_t actions;

    if (posix_spawn_file_actions_init(&actions) != 0)
        return false;
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    int error = posix_spawnp(process, arguments[0], &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    return error == 0;
}

bool pmap__inquiry_begin(struct pmap__inquiry *inquiry)
{
    char job[64], *arguments[] = {(char[]){"squeue"}, (char[]){"-h"}, (char[]){"-j"}, job, (char[]){"-o"}, (char[]){"%L"}, NULL};
    const char *id = getenv("SLURM_JOB_ID");
    int ends[2];

    *inquiry = (struct pmap__inquiry){.until = pmap__now() + PMAP__INQUIRY_TIME};
    snprintf(job, sizeof job, "%s", id ? id : "");
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    bool begun = spawn(arguments, ends[1], &inquiry->process);
    close(ends[1]);
    if (!begun) {
        inquiry->process = 0;
        close(ends[0]);
        return false;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    inquiry->answer = ends[0];
    return true;
}

void pmap__inquiry_end(struct pmap__inquiry *inquiry)
{
    if (inquiry->process == 0)
        return;
    /* It has said all, or nobody waits for it any more. Where SIGCHLD is ignored nobody keeps its number for us when it has ended, so that this
     * may be another process by now: one that is no child of ours, and is let alone. */
    if (waitpid(inquiry->process, NULL, WNOHANG) == 0) {
        kill(inquiry->process, SIGKILL);
        while (waitpid(inquiry->process, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    close(inquiry->answer);
    inquiry->process = 0;
}

bool pmap__inquiry_over(struct pmap__inquiry *inquiry, uint64_t *left)
{
    size_t room = sizeof inquiry->text - 1 - inquiry->size;
    ssize_t got = room ? read(inquiry->answer, inquiry->text + inquiry->size, room) : 0;

    if (got > 0)
        inquiry->size += (size_t)got;
    bool more = got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
    if (more && pmap__now() < inquiry->until)
        return false;
    pmap__inquiry_end(inquiry);
    inquiry->text[inquiry->size] = '\0';
    if (!pmap__limit_parse(inquiry->text, left))
        *left = 0;
    return true;
}
