/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "base/cpus.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool has(const struct pmap__cpus *cpus, int cpu)
{
    return cpus->mask[cpu / 64] >> (cpu % 64) & 1;
}

int pmap__cpus_count(const struct pmap__cpus *cpus)
{
    int count = 0;
    for (int cpu = 0; cpu < PMAP__CPU_WORDS * 64; cpu++)
        count += has(cpus, cpu);
    if (cpus->quota > 0 && cpus->quota < (uint64_t)count)
        count = (int)cpus->quota;
    return count > 0 ? count : 1;
}

int pmap__cpus_online(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

/* Two numbers "quota period" from the first line of a cgroup file; "max" or no such file means no limit. */
static uint64_t quota_from(const char *path)
{
    FILE *file = fopen(path, "r");
    long long quota = 0, period = 0;
    if (file == NULL)
        return 0;
    int found = fscanf(file, "%lld %lld", &quota, &period);
    fclose(file);
    if (found != 2 || quota <= 0 || period <= 0)
        return 0;
    return (uint64_t)((quota + period - 1) / period);
}

/* The tightest cpu.max from this process's own cgroup (version 2) up to the root. */
static uint64_t cgroup_quota(void)
{
    char line[4096], path[4200];
    uint64_t tightest = 0;
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (file == NULL)
        return 0;
    bool found = false;
    while (!found && fgets(line, sizeof line, file))
        found = strncmp(line, "0::/", 4) == 0;
    fclose(file);
    if (!found)
        return 0;
    char *group = line + 3;
    group[strcspn(group, "\n")] = '\0';
    for (;;) {
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
        uint64_t quota = quota_from(path);
        if (quota > 0 && (tightest == 0 || quota < tightest))
            tightest = quota;
        char *slash = strrchr(group, '/');
        if (slash == NULL)
            return tightest;
        *slash = '\0';
    }
}

void pmap__cpus_mine(struct pmap__cpus *cpus)
{
    /* A cpu_set_t has room for 1024 CPUs; the kernel refuses a smaller set than it has CPUs, so ask with more. */
    cpu_set_t set[PMAP__CPU_WORDS * 64 / CPU_SETSIZE];

    memset(cpus, 0, sizeof *cpus);
    memset(set, 0, sizeof set);
    if (sched_getaffinity(0, sizeof set, set) == 0)
        for (size_t cpu = 0; cpu < PMAP__CPU_WORDS * 64; cpu++)
            if (CPU_ISSET_S(cpu, sizeof set, set))
                cpus->mask[cpu / 64] |= UINT64_C(1) << (cpu % 64);
    cpus->quota = cgroup_quota();
}

int pmap__cpus_share(const struct pmap__cpus all[], int n, int me)
{
    /* Fixed point: a CPU is PARTS; what is lost by cutting is far below half of one and rounded away. */
    const long long PARTS = 1LL << 32;
    long long mine = 0;
    int same = 0, before = 0; /* ranks with my very mask, and those of them below me */

    for (int cpu = 0; cpu < PMAP__CPU_WORDS * 64; cpu++) {
        int users = 0;
        if (!has(&all[me], cpu))
            continue;
        for (int rank = 0; rank < n; rank++)
            users += has(&all[rank], cpu);
        mine += PARTS / users;
    }
    for (int rank = 0; rank < n; rank++)
        if (memcmp(all[rank].mask, all[me].mask, sizeof all[me].mask) == 0) {
            same++;
            before += rank < me;
        }
    /* Together the ranks with my mask have same * mine; the whole CPUs of that are dealt out one by one. */
    long long whole = (same * mine + PARTS / 2) / PARTS;
    if (all[me].quota > 0 && (long long)all[me].quota < whole)
        whole = (long long)all[me].quota;
    long long share = whole / same + (before < whole % same);
    return share > 0 ? (int)share : 1;
}

static int positive(const char *text)
{
    long value = text ? strtol(text, NULL, 10) : 0; /* "4,2" of OMP_NUM_THREADS: the outer level counts */
    return value > 0 && value < 1 << 20 ? (int)value : 0;
}

int pmap__cpus_wanted(void)
{
    int wanted = positive(getenv("OMP_NUM_THREADS"));
    return wanted > 0 ? wanted : positive(getenv("SLURM_CPUS_PER_TASK"));
}
