/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * team: every item of a work is run once, by a thread of the team, whoever takes it; a work ends once.
 */
#include "harness.h"

#include "base/bell.h"
#include "team/team.h"

#include <stdlib.h>
#include <string.h>

/* A work that counts what is done to it. */
struct counted {
    struct pmap__work work;
    atomic_uchar *runs; /* of each item */
    atomic_int bad;     /* grains that were not as they should be */
    int threads;
    atomic_int endings;
    struct pmap__bell end;
};

static void count_run(struct pmap__work *work, struct pmap__turn *turn)
{
    struct counted *c = (struct counted *)work;
    while (pmap__turn_next(turn)) {
        if (turn->begin >= turn->end || turn->end > work->n || turn->thread < 0 || turn->thread >= c->threads)
            atomic_fetch_add(&c->bad, 1);
        if (work->grain &&
            (turn->begin % work->grain != 0 || (turn->end - turn->begin != work->grain && turn->end != work->n)))
            atomic_fetch_add(&c->bad, 1);
        for (size_t i = turn->begin; i < turn->end; i++)
            atomic_fetch_add(&c->runs[i], 1);
    }
}

static void count_end(struct pmap__work *work)
{
    struct counted *c = (struct counted *)work;
    atomic_fetch_add(&c->endings, 1);
    pmap__bell_ring(&c->end);
}

static size_t tenth(struct pmap__work *work, size_t left, uint64_t item_ns)
{
    (void)work;
    (void)item_ns;
    return left / 10 + 1;
}

static struct counted *counted_new(struct pmap__team *team, size_t n, size_t grain)
{
    struct counted *c = test_array(1, sizeof *c);
    c->work = (struct pmap__work){.n = n, .grain = grain, .portion = tenth, .run = count_run, .finished = count_end};
    pmap__work_init(&c->work);
    c->runs = test_array(n, sizeof *c->runs);
    c->threads = pmap__team_threads(team);
    pmap__bell_init(&c->end);
    return c;
}

static bool ran_once(struct counted *c, size_t begin, size_t end)
{
    bool once = true;
    for (size_t i = 0; i < c->work.n; i++)
        once &= atomic_load(&c->runs[i]) == (i >= begin && i < end);
    return once && atomic_load(&c->bad) == 0;
}

static void counted_free(struct counted *c)
{
    pmap__bell_fini(&c->end);
    free(c->runs);
    free(c);
}

static struct pmap__team *team_new(void)
{
    struct pmap__team *team = NULL;
    CHECK_STATUS(pmap__team_create(&team, test_threads(), false), PMAP_OK);
    return team;
}

static void every_item_runs_once(void)
{
    static const size_t sizes[] = {1, 2, 7, 100, 100000};
    struct pmap__team *team = team_new();
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes && team; s++)
        for (size_t grain = 0; grain < 4; grain++) {
            struct counted *c = counted_new(team, sizes[s], grain);
            pmap__team_add(team, &c->work);
            pmap__bell_wait(&c->end, PMAP__FOR_EVER);
            CHECK(ran_once(c, 0, sizes[s]));
            CHECK_INT(atomic_load(&c->endings), 1);
            counted_free(c);
        }
    pmap__team_destroy(team);
}

static void many_works_queue_up(void)
{
    enum { WORKS = 200 };
    struct pmap__team *team = team_new();
    struct counted *c[WORKS];

    for (int i = 0; i < WORKS; i++) {
        c[i] = counted_new(team, (size_t)(1 + i * 7 % 50), (size_t)(i % 3));
        pmap__team_add(team, &c[i]->work);
    }
    for (int i = 0; i < WORKS; i++) {
        pmap__bell_wait(&c[i]->end, PMAP__FOR_EVER);
        CHECK(ran_once(c[i], 0, c[i]->work.n));
        counted_free(c[i]);
    }
    pmap__team_destroy(team);
}

static void owner_takes_items_away_while_threads_run(void)
{
    struct pmap__team *team = team_new();
    size_t n = test_size(200000, 2000), begin, end, mine = 0;
    struct counted *c = counted_new(team, n, 1);

    pmap__team_add(team, &c->work);
    while (pmap__work_take(&c->work, 3, &begin, &end))
        for (size_t i = begin; i < end; i++, mine++)
            atomic_fetch_add(&c->runs[i], 1);
    /* Either the team has ended the work, or nobody is in it any more and it can be had back. */
    if (!pmap__team_withdraw(team, &c->work))
        pmap__bell_wait(&c->end, PMAP__FOR_EVER);
    CHECK(pmap__work_left(&c->work) == 0);
    bool once = true;
    for (size_t i = 0; i < n; i++)
        once &= atomic_load(&c->runs[i]) == 1;
    CHECK(once);
    CHECK(mine <= n);
    pmap__team_destroy(team); /* all threads are out of the work before its memory goes */
    counted_free(c);
}

static void withdrawn_work_is_never_finished_by_the_team(void)
{
    struct pmap__team *team = NULL;
    size_t begin, end;
    if (!CHECK_STATUS(pmap__team_create(&team, 1, true), PMAP_OK)) /* a lent team: nobody runs by itself */
        return;
    struct counted *c = counted_new(team, 10, 1);
    pmap__team_add(team, &c->work);
    while (pmap__work_take(&c->work, 4, &begin, &end))
        ;
    CHECK(pmap__team_withdraw(team, &c->work));
    CHECK(!pmap__team_withdraw(team, &c->work));
    CHECK(!pmap__team_step(team));
    CHECK_INT(atomic_load(&c->endings), 0);
    counted_free(c);
    pmap__team_destroy(team);
}

static void lent_team_runs_a_grain_for_each_step(void)
{
    struct pmap__team *team = NULL;
    int steps = 0;
    if (!CHECK_STATUS(pmap__team_create(&team, 8, true), PMAP_OK))
        return;
    CHECK_INT(pmap__team_threads(team), 1);
    CHECK(!pmap__team_busy(team));
    struct counted *c = counted_new(team, 10, 3);
    pmap__team_add(team, &c->work);
    while (pmap__team_step(team))
        steps++;
    CHECK_INT(steps, 4);
    CHECK(ran_once(c, 0, 10));
    CHECK_INT(atomic_load(&c->endings), 1);
    CHECK(atomic_load(&c->work.item_ns) > 0);
    counted_free(c);
    pmap__team_destroy(team);
}

static void idle_threads_are_counted(void)
{
    struct pmap__team *team = team_new();
    struct counted *c = counted_new(team, 1, 1);
    pmap__team_add(team, &c->work);
    pmap__bell_wait(&c->end, PMAP__FOR_EVER);
    while (pmap__team_idle(team) < pmap__team_threads(team)) /* ends: threads without work become idle */
        ;
    CHECK(!pmap__team_busy(team));
    counted_free(c);
    pmap__team_destroy(team);
}

static void team_without_work_ends(void)
{
    for (int i = 0; i < 20; i++)
        pmap__team_destroy(team_new());
    pmap__team_destroy(NULL);
}

static const struct test tests[] = {TEST(every_item_runs_once),
                                    TEST(many_works_queue_up),
                                    TEST(owner_takes_items_away_while_threads_run),
                                    TEST(withdrawn_work_is_never_finished_by_the_team),
                                    TEST(lent_team_runs_a_grain_for_each_step),
                                    TEST(idle_threads_are_counted),
                                    TEST(team_without_work_ends),
                                    {NULL, NULL}};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1 t2 t4");
}
