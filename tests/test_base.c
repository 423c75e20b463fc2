/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * base: sizes and buffers, shares of CPUs, patience, the bell, error texts.
 */
#include "harness.h"

#include "base/bell.h"
#include "base/cpus.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/patience.h"

#include <stdlib.h>
#include <string.h>

static void products_that_do_not_fit_are_refused(void)
{
    size_t p = 42;
    CHECK(pmap__multiply(6, 7, &p) && p == 42);
    CHECK(pmap__multiply(0, SIZE_MAX, &p) && p == 0);
    CHECK(pmap__multiply(SIZE_MAX, 1, &p) && p == SIZE_MAX);
    CHECK(!pmap__multiply(SIZE_MAX, 2, &p) && p == SIZE_MAX);
    CHECK(!pmap__multiply(SIZE_MAX / 3 + 1, 3, &p));
}

static void buffers_grow_and_are_aligned(void)
{
    struct pmap__buffer b = {0};
    CHECK(pmap__buffer_reserve(&b, 0) && b.bytes == NULL);
    CHECK(pmap__buffer_reserve(&b, 1) && b.capacity >= 1 && (uintptr_t)b.bytes % 64 == 0);
    void *before = b.bytes;
    CHECK(pmap__buffer_reserve(&b, b.capacity) && b.bytes == before);
    CHECK(pmap__buffer_reserve(&b, 100000) && b.capacity >= 100000);
    memset(b.bytes, 1, 100000);
    CHECK(!pmap__buffer_reserve(&b, SIZE_MAX) && b.bytes == NULL && b.capacity == 0);
    pmap__buffer_fini(&b);
}

/* ---- CPUs: who may use which, as strings of 0 and 1, and what is fair ---- */

static struct pmap__cpus cpus(const char *mask, uint64_t quota)
{
    struct pmap__cpus c = {.quota = quota};
    for (size_t i = 0; mask[i]; i++)
        if (mask[i] == '1')
            c.mask[i / 64] |= UINT64_C(1) << i % 64;
    return c;
}

static void check_shares(const char *masks[], uint64_t quota, const int expected[])
{
    struct pmap__cpus all[8];
    int n = 0;
    for (; masks[n]; n++)
        all[n] = cpus(masks[n], quota);
    for (int me = 0; me < n; me++)
        CHECK_SAYING(pmap__cpus_share(all, n, me) == expected[me], "share of rank %d of %d with mask %s is %d, not %d", me,
                     n, masks[me], pmap__cpus_share(all, n, me), expected[me]);
}

static void cpus_are_shared_fairly(void)
{
    check_shares((const char *[]){"1111", NULL}, 0, (int[]){4});
    check_shares((const char *[]){"1111", "1111", NULL}, 0, (int[]){2, 2});
    check_shares((const char *[]){"1111", "1111", "1111", NULL}, 0, (int[]){2, 1, 1});
    check_shares((const char *[]){"11", "11", "11", "11", "11", NULL}, 0, (int[]){1, 1, 1, 1, 1});
    check_shares((const char *[]){"1100", "0011", NULL}, 0, (int[]){2, 2});
    check_shares((const char *[]){"1000", "0100", "0010", "0001", NULL}, 0, (int[]){1, 1, 1, 1});
    check_shares((const char *[]){"1111", "0011", NULL}, 0, (int[]){3, 1});
    check_shares((const char *[]){"11111111", "11111111", NULL}, 3, (int[]){2, 1});
    check_shares((const char *[]){"1111", NULL}, 2, (int[]){2});
}

/* All CPUs of a node are used when ranks share them unbound, whatever their numbers. */
static void no_cpu_is_lost_between_ranks(void)
{
    static const struct { int ranks, cpus; } nodes[] = {{8, 64}, {16, 128}, {32, 128}, {40, 128}, {7, 128}, {32, 256}, {3, 4}};
    struct pmap__cpus *all = test_array(64, sizeof *all);

    for (size_t k = 0; k < sizeof nodes / sizeof *nodes; k++) {
        int threads = 0;
        for (int r = 0; r < nodes[k].ranks; r++) {
            all[r] = (struct pmap__cpus){0};
            for (int c = 0; c < nodes[k].cpus; c++)
                all[r].mask[c / 64] |= UINT64_C(1) << c % 64;
        }
        for (int r = 0; r < nodes[k].ranks; r++)
            threads += pmap__cpus_share(all, nodes[k].ranks, r);
        CHECK_SAYING(threads == nodes[k].cpus, "%d ranks on %d CPUs run %d threads", nodes[k].ranks, nodes[k].cpus, threads);
    }
    free(all);
}

static void this_process_may_use_some_cpu(void)
{
    struct pmap__cpus mine;
    pmap__cpus_mine(&mine);
    CHECK(pmap__cpus_count(&mine) >= 1);
    CHECK(pmap__cpus_online() >= 1);
    struct pmap__cpus capped = cpus("1111", 3);
    CHECK_INT(pmap__cpus_count(&capped), 3);
}

static void environment_says_how_many_threads(void)
{
    char *omp = getenv("OMP_NUM_THREADS");
    omp = omp ? strdup(omp) : NULL;
    setenv("OMP_NUM_THREADS", "3,2", 1);
    setenv("SLURM_CPUS_PER_TASK", "5", 1);
    CHECK_INT(pmap__cpus_wanted(), 3);
    unsetenv("OMP_NUM_THREADS");
    CHECK_INT(pmap__cpus_wanted(), 5);
    setenv("SLURM_CPUS_PER_TASK", "many", 1);
    CHECK_INT(pmap__cpus_wanted(), 0);
    unsetenv("SLURM_CPUS_PER_TASK");
    CHECK_INT(pmap__cpus_wanted(), 0);
    if (omp)
        setenv("OMP_NUM_THREADS", omp, 1);
    free(omp);
}

/* ---- Patience ---- */

static void patience_spins_then_yields_then_naps_longer_and_longer(void)
{
    uint64_t nap = 0, last = 0;
    CHECK_INT(pmap__patience(0, &nap), PMAP__PAUSE_SPIN);
    CHECK_INT(pmap__patience(PMAP__SPIN, &nap), PMAP__PAUSE_YIELD);
    for (uint64_t idle = PMAP__YIELD; idle < 2 * PMAP__S; idle += idle / 8) {
        CHECK_INT(pmap__patience(idle, &nap), PMAP__PAUSE_NAP);
        CHECK(nap >= last && nap >= PMAP__NAP_MIN && nap <= PMAP__NAP_LONG);
        CHECK(nap <= PMAP__NAP_MIN || nap <= idle / 8);
        last = nap;
    }
    CHECK_INT(last, PMAP__NAP_LONG);
}

/* ---- The bell ---- */

static void bell_keeps_a_ring_for_the_next_wait(void)
{
    struct pmap__bell bell;
    if (!CHECK(pmap__bell_init(&bell)))
        return;
    CHECK(!pmap__bell_wait(&bell, 1));
    pmap__bell_ring(&bell);
    pmap__bell_ring(&bell);
    CHECK(pmap__bell_wait(&bell, PMAP__FOR_EVER));
    CHECK(!pmap__bell_wait(&bell, 1));
    pmap__bell_fini(&bell);
}

struct game {
    struct pmap__bell ping, pong;
    int rounds;
};

static void *answer(void *argument)
{
    struct game *game = argument;
    for (int i = 0; i < game->rounds; i++) {
        pmap__bell_wait(&game->ping, PMAP__FOR_EVER);
        pmap__bell_ring(&game->pong);
    }
    return NULL;
}

static void no_ring_is_lost_between_two_threads(void)
{
    struct game game = {.rounds = (int)test_size(20000, 200)};
    pthread_t thread;
    int heard = 0;

    if (!CHECK(pmap__bell_init(&game.ping) && pmap__bell_init(&game.pong)))
        return;
    if (!CHECK(pthread_create(&thread, NULL, answer, &game) == 0))
        return;
    for (int i = 0; i < game.rounds; i++) {
        pmap__bell_ring(&game.ping);
        heard += pmap__bell_wait(&game.pong, PMAP__FOR_EVER);
    }
    pthread_join(thread, NULL);
    CHECK_INT(heard, game.rounds);
    pmap__bell_fini(&game.ping);
    pmap__bell_fini(&game.pong);
}

/* ---- Errors ---- */

static void long_texts_are_cut(void)
{
    struct pmap_error e;
    char *longer = malloc(2000);
    memset(longer, 'x', 1999);
    longer[1999] = '\0';
    CHECK_STATUS(pmap__error_set(&e, PMAP_EINVAL, "%s", longer), PMAP_EINVAL);
    CHECK_INT(strlen(e.text), sizeof e.text - 1);
    CHECK(e.item == PMAP_NO_ITEM && e.rank == -1 && e.thread == -1 && e.host[0] == '\0' && e.code == 0);
    CHECK_STATUS(pmap__error_set(NULL, PMAP_ENOMEM, "nobody listens"), PMAP_ENOMEM);
    free(longer);
}

static const struct test tests[] = {TEST(products_that_do_not_fit_are_refused),
                                    TEST(buffers_grow_and_are_aligned),
                                    TEST(cpus_are_shared_fairly),
                                    TEST(no_cpu_is_lost_between_ranks),
                                    TEST(this_process_may_use_some_cpu),
                                    TEST(environment_says_how_many_threads),
                                    TEST(patience_spins_then_yields_then_naps_longer_and_longer),
                                    TEST(bell_keeps_a_ring_for_the_next_wait),
                                    TEST(no_ring_is_lost_between_two_threads),
                                    TEST(long_texts_are_cut),
                                    {NULL, NULL}};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1");
}
