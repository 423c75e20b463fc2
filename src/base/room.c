/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Each source of a limit is a function that returns bytes, and NO_LIMIT if it is not there or says nothing: the least counts. */
#include "base/room.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define NO_LIMIT PMAP__ROOM_ENDLESS

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static uint64_t times(uint64_t a, uint64_t b)
{
    return b && a > NO_LIMIT / b ? NO_LIMIT : a * b;
}

/* ---- Files of the kernel ---- */

enum { LINE = 4096 };

static FILE *open_for_reading(const char *format, ...) __attribute__((format(printf, 1, 2)));
static FILE *open_for_reading(const char *format, ...)
{
    char path[2 * LINE];
    va_list arguments;

    va_start(arguments, format);
    int size = vsnprintf(path, sizeof path, format, arguments);
    va_end(arguments);
    return size > 0 && (size_t)size < sizeof path ? fopen(path, "re") : NULL;
}

/* The number that a file begins with, which is closed; otherwise if there is none: no file, or the word max. */
static uint64_t number_in(FILE *file, uint64_t otherwise)
{
    unsigned long long number;

    if (file == NULL)
        return otherwise;
    int found = fscanf(file, "%llu", &number);
    fclose(file);
    return found == 1 ? number : otherwise;
}

/* The sum of the numbers behind these one or two names at the beginning of lines; otherwise if no such line is there. Closes the file. */
static uint64_t fields_in(FILE *file, const char *const names[2], uint64_t otherwise)
{
    char line[LINE], name[64];
    unsigned long long number;
    uint64_t sum = 0;
    bool found = false;

    if (file == NULL)
        return otherwise;
    while (fgets(line, sizeof line, file))
        for (int i = 0; i < 2 && names[i]; i++)
            if (sscanf(line, "%63s %llu", name, &number) == 2 && strcmp(name, names[i]) == 0) {
                sum += number;
                found = true;
            }
    fclose(file);
    return found ? sum : otherwise;
}

/* ---- The node ---- */

static uint64_t available(const char *root)
{
    static const char *const name[2] = {"MemAvailable:"};
    uint64_t kib = fields_in(open_for_reading("%s/proc/meminfo", root), name, NO_LIMIT);
    long pages = sysconf(_SC_AVPHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    if (kib != NO_LIMIT)
        return times(kib, 1024);
    return pages > 0 && page > 0 ? times((uint64_t)pages, (uint64_t)page) : NO_LIMIT;
}

/* ---- Cgroups ---- */

/* The files of the two versions. The page cache gives way when memory is wanted, so it is not in use; but shared memory and tmpfs, which
 * the field "file" counts as well, does not. */
static const struct cgroup {
    const char *controller; /* in /proc/self/cgroup */
    const char *mount;
    const char *limits[2];
    const char *usage;
    const char *caches[2]; /* in memory.stat */
} cgroups[] = {
    {"", "/sys/fs/cgroup", {"memory.max", "memory.high"}, "memory.current", {"active_file", "inactive_file"}},
    {"memory", "/sys/fs/cgroup/memory", {"memory.limit_in_bytes"}, "memory.usage_in_bytes", {"total_active_file", "total_inactive_file"}},
};

/* What one group leaves. */
static uint64_t left_in_group(const char *root, const struct cgroup *kind, const char *group)
{
    uint64_t limit = NO_LIMIT;

    for (int i = 0; i < 2 && kind->limits[i]; i++)
        limit = least(limit, number_in(open_for_reading("%s%s%s/%s", root, kind->mount, group, kind->limits[i]), NO_LIMIT));
    if (limit == NO_LIMIT)
        return NO_LIMIT;
    uint64_t used = number_in(open_for_reading("%s%s%s/%s", root, kind->mount, group, kind->usage), 0);
    uint64_t cache = fields_in(open_for_reading("%s%s%s/memory.stat", root, kind->mount, group), kind->caches, 0);
    return minus(limit, minus(used, cache));
}

/* The least of a group and those above it, whose path is cut shorter and shorter. A container may see a path that is not there, and its
 * own group as the root. */
static uint64_t left_in_groups(const char *root, const struct cgroup *kind, char *group)
{
    uint64_t left = NO_LIMIT;

    for (;;) {
        left = least(left, left_in_group(root, kind, group));
        char *slash = strrchr(group, '/');
        if (slash == NULL)
            return left;
        *slash = '\0';
    }
}

static bool is_listed(const char *controllers, const char *controller)
{
    size_t size = strlen(controller);

    for (;; controllers++) {
        if (strncmp(controllers, controller, size) == 0 && strchr(",", controllers[size]))
            return true; /* strchr finds the end as well */
        controllers = strchr(controllers, ',');
        if (controllers == NULL)
            return false;
    }
}

/* Lines are ID:CONTROLLERS:PATH; version 2 has one without controllers. */
static uint64_t left_in_cgroups(const char *root)
{
    char line[LINE];
    uint64_t left = NO_LIMIT;
    FILE *file = open_for_reading("%s/proc/self/cgroup", root);

    while (file && fgets(line, sizeof line, file)) {
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(++controllers, ':') : NULL;
        if (group == NULL)
            continue;
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        for (size_t i = 0; i < sizeof cgroups / sizeof *cgroups; i++)
            if (is_listed(controllers, cgroups[i].controller))
                left = least(left, left_in_groups(root, &cgroups[i], group));
    }
    if (file)
        fclose(file);
    return left;
}

/* ---- This process ---- */

uint64_t pmap__room_of_process(const char *root)
{
    struct rlimit limit;
    long page = sysconf(_SC_PAGESIZE);

    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return NO_LIMIT;
    uint64_t pages = number_in(open_for_reading("%s/proc/self/statm", root), 0); /* the first is the whole size */
    return minus(limit.rlim_cur, times(pages, page > 0 ? (uint64_t)page : 4096));
}

uint64_t pmap__room_of_node(const char *root)
{
    return least(available(root), left_in_cgroups(root));
}
