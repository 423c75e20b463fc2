/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * mapreduce: how much memory a rank may hold, on nodes that are trees of files made here, and the count of what it holds.
 */
#include "harness.h"
#include "mapreduce/budget.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

/* ---- A node made of files ---- */

static char root[200];
static char made[50][600]; /* what is in it, in the order in which it was made */
static int n_made;

static void begin_node(void)
{
    const char *parent = getenv("PMAP_TEST_DIR");
    snprintf(root, sizeof root, "%s/node-XXXXXX", parent ? parent : "/tmp");
    CHECK(mkdtemp(root) != NULL);
    n_made = 0;
    unsetenv("SLURM_MEM_PER_NODE");
    unsetenv("SLURM_MEM_PER_CPU");
    unsetenv("SLURM_CPUS_ON_NODE");
}

static void end_node(void)
{
    while (n_made > 0)
        remove(made[--n_made]);
    CHECK(rmdir(root) == 0);
}

static void add(const char *path, const char *text)
{
    char whole[600];
    snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *slash = whole + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
        *slash = '\0';
        if (mkdir(whole, 0700) == 0)
            snprintf(made[n_made++], sizeof made[0], "%s", whole);
    }
    FILE *file = fopen(whole, "w");
    if (!CHECK(file != NULL))
        return;
    fputs(text, file);
    fclose(file);
    snprintf(made[n_made++], sizeof made[0], "%s", whole);
}

static void add_memory(uint64_t bytes)
{
    char text[200];
    snprintf(text, sizeof text, "MemTotal:       99999999999 kB\nMemFree:             1 kB\nMemAvailable:   %llu kB\nBuffers: 5 kB\n",
             (unsigned long long)(bytes / 1024));
    add("/proc/meminfo", text);
}

static void check_share(int ranks, uint64_t expected)
{
    CHECK_INT(pmap__memory_share_in(root, ranks), expected);
}

static void share_is_half_of_what_is_available_for_each_rank(void)
{
    begin_node();
    add_memory(64 * GIB);
    check_share(1, 32 * GIB);
    check_share(4, 8 * GIB);
    check_share(0, 32 * GIB);
    end_node();
}

static void this_node_has_some_memory(void)
{
    begin_node(); /* without meminfo the C library is asked */
    CHECK(pmap__memory_share_in(root, 1) >= PMAP__MEMORY_MIN && pmap__memory_share_in(root, 1) < (uint64_t)1 << 60);
    end_node();
    CHECK(pmap__memory_share(1) >= PMAP__MEMORY_MIN && pmap__memory_share(1) < (uint64_t)1 << 60);
    CHECK(pmap__memory_share(1 << 30) == PMAP__MEMORY_MIN);
}

static void a_little_is_left_on_a_full_node(void)
{
    begin_node();
    add_memory(MIB);
    check_share(1, PMAP__MEMORY_MIN);
    end_node();
}

static void tightest_cgroup_up_to_the_root_counts(void)
{
    begin_node();
    add_memory(64 * GIB);
    add("/proc/self/cgroup", "0::/slurm/job 7/step\n");
    add("/sys/fs/cgroup/slurm/job 7/step/memory.max", "max\n");
    check_share(1, 32 * GIB);
    add("/sys/fs/cgroup/slurm/memory.max", "17179869184\n");
    check_share(1, 8 * GIB);
    add("/sys/fs/cgroup/slurm/job 7/step/memory.high", "8589934592\n");
    check_share(1, 4 * GIB);
    add("/sys/fs/cgroup/slurm/job 7/memory.max", "4294967296\n");
    check_share(1, 2 * GIB);
    add("/sys/fs/cgroup/memory.max", "2147483648\n");
    check_share(2, GIB / 2);
    end_node();
}

static void what_a_cgroup_uses_is_taken_off_but_for_its_cache(void)
{
    begin_node();
    add_memory(64 * GIB);
    add("/proc/self/cgroup", "0::/job\n");
    add("/sys/fs/cgroup/job/memory.max", "8589934592\n");
    add("/sys/fs/cgroup/job/memory.current", "6442450944\n");
    check_share(1, GIB);
    add("/sys/fs/cgroup/job/memory.stat", "anon 1\nfile 6442450944\ninactive_file 2147483648\nactive_file 1073741824\nshmem 9\n");
    check_share(1, 2 * GIB + GIB / 2);
    end_node();
    begin_node();
    add_memory(64 * GIB);
    add("/proc/self/cgroup", "0::/job\n");
    add("/sys/fs/cgroup/job/memory.max", "8589934592\n");
    add("/sys/fs/cgroup/job/memory.current", "8589934593\n");
    check_share(1, PMAP__MEMORY_MIN);
    end_node();
}

static void container_sees_its_own_group_as_the_root(void)
{
    begin_node();
    add_memory(64 * GIB);
    add("/proc/self/cgroup", "0::/docker/0123456789\n");
    add("/sys/fs/cgroup/memory.max", "8589934592\n");
    check_share(1, 4 * GIB);
    end_node();
}

static void cgroups_of_version_1_count(void)
{
    begin_node();
    add_memory(64 * GIB);
    add("/proc/self/cgroup", "9:cpu,cpuacct:/memory\n8:hugetlb,memory:/job/step\n3:memoryless:/other\n0::/\n");
    add("/sys/fs/cgroup/memory/job/step/memory.limit_in_bytes", "9223372036854771712\n");
    add("/sys/fs/cgroup/memory/other/memory.limit_in_bytes", "1048576\n");
    check_share(1, 32 * GIB);
    add("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "8589934592\n");
    add("/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "4294967296\n");
    check_share(1, 2 * GIB);
    add("/sys/fs/cgroup/memory/job/memory.stat", "inactive_file 1\ntotal_inactive_file 2147483648\n");
    check_share(1, 3 * GIB);
    end_node();
}

static void damaged_files_say_nothing(void)
{
    static char line[20000];
    begin_node();
    add_memory(64 * GIB);
    memset(line, '/', sizeof line - 1);
    memcpy(line, "0::", 3);
    add("/proc/self/cgroup", line);
    check_share(1, 32 * GIB);
    add("/proc/self/cgroup", "0\n:\n::\n\nnonsense\n0::job");
    add("/sys/fs/cgroup/job/memory.max", "-x\n");
    check_share(1, 32 * GIB);
    end_node();
}

static void slurm_says_what_the_job_has(void)
{
    begin_node();
    add_memory(64 * GIB);
    setenv("SLURM_MEM_PER_NODE", "8192", 1);
    check_share(2, 2 * GIB);
    setenv("SLURM_MEM_PER_NODE", "0", 1);
    check_share(2, 16 * GIB);
    setenv("SLURM_MEM_PER_CPU", "1024", 1);
    check_share(2, 16 * GIB);
    setenv("SLURM_CPUS_ON_NODE", "4", 1);
    check_share(2, GIB);
    setenv("SLURM_MEM_PER_CPU", "many", 1);
    check_share(2, 16 * GIB);
    setenv("SLURM_MEM_PER_CPU", "18446744073709551615", 1);
    check_share(2, 16 * GIB);
    end_node();
    unsetenv("SLURM_MEM_PER_NODE");
    unsetenv("SLURM_MEM_PER_CPU");
    unsetenv("SLURM_CPUS_ON_NODE");
}

/* Numbers so large that the limit harms nobody while it is there. */
static void address_space_is_this_rank_s_alone(void)
{
    struct rlimit former, limit;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), pib = (uint64_t)1 << 50;
    char text[100];

    begin_node();
    add_memory(64 * pib);
    snprintf(text, sizeof text, "%llu 5 5 5 0 5 0\n", (unsigned long long)(pib / page));
    add("/proc/self/statm", text);
    CHECK(getrlimit(RLIMIT_AS, &former) == 0);
    limit = (struct rlimit){3 * pib, former.rlim_max};
    if (setrlimit(RLIMIT_AS, &limit) == 0) {
        uint64_t of_two = pmap__memory_share_in(root, 2), of_many = pmap__memory_share_in(root, 64);
        CHECK(setrlimit(RLIMIT_AS, &former) == 0);
        CHECK_INT(of_two, pib);
        CHECK_INT(of_many, pib / 2);
    } else
        test_skip("a limit of the address space cannot be set here");
    end_node();
}

/* ---- The count ---- */

static void budget_counts_what_is_over_and_the_peak(void)
{
    struct pmap__budget b;
    pmap__budget_init(&b, 100);
    CHECK_INT(pmap__budget_over(&b), 0);
    pmap__budget_take(&b, 100);
    CHECK_INT(pmap__budget_over(&b), 0);
    pmap__budget_take(&b, 30);
    CHECK_INT(pmap__budget_over(&b), 30);
    pmap__budget_give(&b, 120);
    pmap__budget_take(&b, 1);
    CHECK_INT(pmap__budget_over(&b), 0);
    CHECK_INT(pmap__budget_held(&b), 11);
    CHECK_INT(pmap__budget_peak(&b), 130);
}

enum { THREADS = 4, TURNS = 20000 };

static void *take_and_give(void *user)
{
    struct pmap__budget *b = user;
    size_t turns = test_size(TURNS, 500);
    for (size_t i = 0; i < turns; i++) {
        pmap__budget_take(b, 3);
        pmap__budget_give(b, 2);
    }
    return NULL;
}

static void nothing_is_lost_between_threads(void)
{
    struct pmap__budget b;
    pthread_t threads[THREADS];
    uint64_t left = THREADS * test_size(TURNS, 500);
    int n = 0;

    pmap__budget_init(&b, 1000);
    while (n < THREADS && CHECK(pthread_create(&threads[n], NULL, take_and_give, &b) == 0))
        n++;
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(pmap__budget_held(&b), left);
    CHECK_INT(pmap__budget_over(&b), left - 1000);
    CHECK(pmap__budget_peak(&b) >= left && pmap__budget_peak(&b) <= left + 2 * THREADS);
}

static const struct test tests[] = {TEST(share_is_half_of_what_is_available_for_each_rank),
                                    TEST(this_node_has_some_memory),
                                    TEST(a_little_is_left_on_a_full_node),
                                    TEST(tightest_cgroup_up_to_the_root_counts),
                                    TEST(what_a_cgroup_uses_is_taken_off_but_for_its_cache),
                                    TEST(container_sees_its_own_group_as_the_root),
                                    TEST(cgroups_of_version_1_count),
                                    TEST(damaged_files_say_nothing),
                                    TEST(slurm_says_what_the_job_has),
                                    TEST(address_space_is_this_rank_s_alone),
                                    TEST(budget_counts_what_is_over_and_the_peak),
                                    TEST(nothing_is_lost_between_threads),
                                    {NULL, NULL}};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1");
}
