/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What a command takes, whatever it is.
 *
 *     timed FIGURES COMMAND…      appends to the file FIGURES: wall seconds, CPU seconds, peak memory in KiB
 *
 * CPU seconds are of the user and of the system, of the command and of all processes that it waited for: so mpirun's have
 * its ranks in them. The memory is that of the largest single one of these processes, and has the pages of files that it
 * mapped. Ends with the status of the command.
 */
#include "bench.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static double seconds_of(struct timeval t)
{
    return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
}

/* Returns its status, as a shell says it. */
static int run(char **command, struct rusage *usage)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        execvp(command[0], command);
        perror(command[0]);
        _exit(127);
    }
    if (child < 0 || wait4(child, &status, 0, usage) < 0) {
        perror("timed");
        return 126;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
    struct rusage usage = {0};

    if (argc < 3) {
        fprintf(stderr, "usage: timed FIGURES COMMAND...\n");
        return 2;
    }
    double begin = bench_now();
    int status = run(argv + 2, &usage);
    double wall = bench_now() - begin, cpu = seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
    FILE *figures = fopen(argv[1], "a");
    if (figures == NULL || fprintf(figures, "%.6f %.6f %ld\n", wall, cpu, usage.ru_maxrss) < 0 || fclose(figures) != 0) {
        perror(argv[1]);
        return 125;
    }
    return status;
}
