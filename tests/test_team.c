/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * team: every item of a work is run once, by a thread of the team, whoever takes it; a work ends once; and what is more
 * urgent goes first.
 */
#include "harness.h"

#include "base/bell.h"
#include "team/team.h"

#include <limits.h>
#include <sched.h>
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

static struct counted *counted_new(struct pmap__team *team, size_t n, size_t grain, int priority)
{
    struct counted *c = test_array(1, sizeof *c);
    c->work = (struct pmap__work){.n = n, .grain = grain, .priority = priority, .portion = tenth, .run = count_run,
                                  .finished = count_end};
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
    CHECK_STATUS(pmap__team_create(&team, test_threads(), false, NULL, NULL), PMAP_OK);
    return team;
}

static void every_item_runs_once(void)
{
    static const size_t sizes[] = {1, 2, 7, 100, 100000};
    struct pmap__team *team = team_new();
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes && team; s++)
        for (size_t grain = 0; grain < 4; grain++) {
            struct counted *c = counted_new(team, sizes[s], grain, 0);
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
        c[i] = counted_new(team, (size_t)(1 + i * 7 % 50), (size_t)(i % 3), i * 11 % 5 - 2);
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
    struct counted *c = counted_new(team, n, 1, 0);

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
    if (!CHECK_STATUS(pmap__team_create(&team, 1, true, NULL, NULL), PMAP_OK)) /* a lent team: nobody runs by itself */
        return;
    struct counted *c = counted_new(team, 10, 1, 0);
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

/* A call that is cancelled before any thread has come to it. */
static void work_that_nobody_has_begun_can_be_withdrawn(void)
{
    struct pmap__team *team = NULL;
    if (!CHECK_STATUS(pmap__team_create(&team, 1, true, NULL, NULL), PMAP_OK))
        return;
    struct counted *c = counted_new(team, 10, 1, 0), *other = counted_new(team, 3, 1, 0);
    CHECK(!pmap__team_withdraw(team, &c->work)); /* it is not in the line yet */
    pmap__team_add(team, &c->work);
    pmap__team_add(team, &other->work);
    CHECK(pmap__team_withdraw(team, &c->work));
    while (pmap__team_step(team))
        ;
    CHECK(ran_once(c, 0, 0));
    CHECK_INT(atomic_load(&c->endings), 0);
    CHECK(ran_once(other, 0, 3));
    counted_free(c);
    counted_free(other);
    pmap__team_destroy(team);
}

/* Somebody else has taken everything before it could be added: nobody waits for a thread to find that out. */
static void work_of_which_nothing_is_left_is_not_added(void)
{
    struct pmap__team *team;
    size_t begin, end;

    if (!CHECK_STATUS(pmap__team_create(&team, 1, true, NULL, NULL), PMAP_OK))
        return;
    struct counted *c = counted_new(team, 10, 1, 0);
    CHECK(pmap__work_take(&c->work, 9, &begin, &end));
    CHECK(pmap__team_add_left(team, &c->work));
    CHECK(pmap__team_withdraw(team, &c->work));
    CHECK(pmap__work_take_rest(&c->work, &begin, &end));
    CHECK(!pmap__team_add_left(team, &c->work));
    CHECK(!pmap__team_withdraw(team, &c->work));
    CHECK(!pmap__team_step(team));
    CHECK_INT(atomic_load(&c->endings), 0);
    pmap__team_destroy(team);
    counted_free(c);
}

static void lent_team_runs_a_grain_for_each_step(void)
{
    struct pmap__team *team = NULL;
    int steps = 0;
    if (!CHECK_STATUS(pmap__team_create(&team, 8, true, NULL, NULL), PMAP_OK))
        return;
    CHECK_INT(pmap__team_threads(team), 1);
    CHECK(!pmap__team_busy(team));
    struct counted *c = counted_new(team, 10, 3, 0);
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

/* ---- Threads that have nothing to do ---- */

static void await_idle(struct pmap__team *team, int threads)
{
    while (pmap__team_idle(team) != threads) /* ends: threads without work become idle */
        sched_yield();
}

static void idle_threads_are_counted(void)
{
    struct pmap__team *team = team_new();
    struct counted *c = counted_new(team, 1, 1, 0);
    pmap__team_add(team, &c->work);
    pmap__bell_wait(&c->end, PMAP__FOR_EVER);
    await_idle(team, pmap__team_threads(team));
    CHECK(!pmap__team_busy(team));
    counted_free(c);
    pmap__team_destroy(team);
}

/* A work of which each item, once begun, waits until the gate is open. */
struct held {
    struct pmap__work work;
    atomic_int begun, ended;
    atomic_bool *gate;
};

static void run_held(struct pmap__work *work, struct pmap__turn *turn)
{
    struct held *h = (struct held *)work;
    while (pmap__turn_next(turn)) {
        atomic_fetch_add(&h->begun, 1);
        while (!atomic_load(h->gate)) /* ends: each test opens its gate */
            sched_yield();
    }
}

static void end_held(struct pmap__work *work)
{
    atomic_fetch_add(&((struct held *)work)->ended, 1);
}

static void held_init(struct held *h, size_t n, atomic_bool *gate)
{
    *h = (struct held){.work = {.n = n, .grain = 1, .run = run_held, .finished = end_held}, .gate = gate};
    atomic_init(&h->begun, 0);
    atomic_init(&h->ended, 0);
    pmap__work_init(&h->work);
}

static void await_count(atomic_int *count, int value)
{
    while (atomic_load(count) != value)
        sched_yield();
}

/* Each offer that is accepted has a thread of its own: they all run at the same time. */
static void offers_are_accepted_as_long_as_threads_are_free(void)
{
    enum { MANY = 16 };
    struct pmap__team *team = team_new();
    int threads = pmap__team_threads(team);
    struct held pieces[MANY];

    for (int round = 0; round < 50; round++) {
        atomic_bool gate = false;
        await_idle(team, threads);
        for (int i = 0; i < MANY; i++) {
            held_init(&pieces[i], 1, &gate);
            CHECK_INT(pmap__team_offer(team, &pieces[i].work), i < threads);
        }
        for (int i = 0; i < threads; i++)
            await_count(&pieces[i].begun, 1);
        CHECK(!pmap__team_offer(team, &pieces[threads].work));
        atomic_store(&gate, true);
        for (int i = 0; i < threads; i++)
            await_count(&pieces[i].ended, 1);
        CHECK_INT(atomic_load(&pieces[threads].begun), 0);
    }
    pmap__team_destroy(team);
}

/* As long as a bulk work keeps all threads, nobody is free. */
static void offer_to_a_busy_team_is_refused(void)
{
    struct pmap__team *team = team_new();
    int threads = pmap__team_threads(team);
    atomic_bool gate = false;
    struct held bulk, piece;

    held_init(&bulk, (size_t)threads + 1, &gate);
    held_init(&piece, 1, &gate);
    pmap__team_add(team, &bulk.work);
    await_count(&bulk.begun, threads);
    CHECK(pmap__team_busy(team));
    CHECK(!pmap__team_offer(team, &piece.work));
    atomic_store(&gate, true);
    await_count(&bulk.ended, 1);
    await_idle(team, threads);
    CHECK(pmap__team_offer(team, &piece.work));
    await_count(&piece.ended, 1);
    pmap__team_destroy(team);
}

static void lent_team_takes_no_offers(void)
{
    struct pmap__team *team = NULL;
    atomic_bool gate = true;
    struct held piece;

    if (!CHECK_STATUS(pmap__team_create(&team, 1, true, NULL, NULL), PMAP_OK))
        return;
    held_init(&piece, 1, &gate);
    CHECK(!pmap__team_offer(team, &piece.work));
    CHECK(!pmap__team_step(team));
    pmap__team_destroy(team);
}

/* A piece that offers another as the last thing it does, and most likely runs that itself: the thread that was counted on
 * sleeps still. */
struct chain {
    struct held held;
    struct pmap__team *team;
    struct held *next;
    bool accepted;
};

static void run_chain(struct pmap__work *work, struct pmap__turn *turn)
{
    struct chain *c = (struct chain *)work;
    while (pmap__turn_next(turn))
        c->accepted = pmap__team_offer(c->team, &c->next->work);
}

static void offer_that_another_thread_took_costs_nobody_a_thread(void)
{
    struct pmap__team *team = team_new();
    int threads = pmap__team_threads(team);
    atomic_bool gate = true;
    struct chain chain;
    struct held next;

    for (int round = 0; round < 100 && threads > 1; round++) {
        await_idle(team, threads);
        held_init(&next, 1, &gate);
        held_init(&chain.held, 1, &gate);
        chain.held.work.run = run_chain;
        chain.team = team;
        chain.next = &next;
        pmap__team_add(team, &chain.held.work);
        await_count(&chain.held.ended, 1);
        if (chain.accepted)
            await_count(&next.ended, 1);
    }
    await_idle(team, threads);
    struct held *pieces = test_array((size_t)threads, sizeof *pieces);
    atomic_store(&gate, false);
    for (int i = 0; i < threads; i++) {
        held_init(&pieces[i], 1, &gate);
        CHECK_SAYING(pmap__team_offer(team, &pieces[i].work), "all %d threads are idle, and offer %d is refused", threads, i + 1);
    }
    atomic_store(&gate, true);
    pmap__team_destroy(team); /* what was accepted runs */
    free(pieces);
}

/* ---- Who goes first: on one thread, so that there is one order ---- */

/* What ran, in order: for each grain the letter of its work. */
struct story {
    struct pmap__team *team;
    char text[64];
    size_t n;
    atomic_int ended; /* works */
};

/* A work with a name. After so many of its grains it adds another to the team. */
struct named {
    struct pmap__work work;
    char name;
    struct story *story;
    int grains;
    int adds_after;
    struct named *adds;
};

static void run_named(struct pmap__work *work, struct pmap__turn *turn)
{
    struct named *w = (struct named *)work;
    while (pmap__turn_next(turn)) {
        w->story->text[w->story->n++] = w->name;
        w->grains++;
        if (w->adds && w->grains == w->adds_after)
            pmap__team_add(w->story->team, &w->adds->work);
    }
}

static void end_named(struct pmap__work *work)
{
    struct named *w = (struct named *)work;
    atomic_fetch_add(&w->story->ended, 1);
}

/* An upper case name is a single piece's. */
static struct named named(char name, size_t n, int priority)
{
    bool single = name >= 'A' && name <= 'Z';
    return (struct named){.work = {.n = n, .grain = single ? n : 1, .priority = priority, .portion = tenth, .run = run_named,
                                   .finished = end_named}, .name = name};
}

/* Add works to a team of one thread while that is busy with something else; the story of what happens then. Once more
 * on a lent team, where each step is a grain: it must be the same. */
static const char *story_of(struct named works[], size_t n, size_t added, bool lent)
{
    static struct story story;
    atomic_bool gate = false;
    struct held first;

    memset(&story, 0, sizeof story);
    if (!CHECK_STATUS(pmap__team_create(&story.team, 1, lent, NULL, NULL), PMAP_OK))
        return "";
    held_init(&first, 2, &gate); /* a bulk work of the highest priority, so that the story begins after it */
    first.work.priority = INT_MAX;
    pmap__work_init(&first.work);
    if (!lent) {
        pmap__team_add(story.team, &first.work);
        await_count(&first.begun, 1);
    }
    for (size_t i = 0; i < n; i++) {
        works[i].story = &story;
        works[i].grains = 0;
        pmap__work_init(&works[i].work);
        if (i < added)
            pmap__team_add(story.team, &works[i].work);
    }
    atomic_store(&gate, true);
    while (lent && pmap__team_step(story.team))
        ;
    await_count(&story.ended, (int)n);
    pmap__team_destroy(story.team);
    return story.text;
}

/* The first so many works are added at once, the others by works. */
static void check_story(struct named works[], size_t n, size_t added, const char *expected)
{
    CHECK_TEXT(story_of(works, n, added, false), expected);
    CHECK_TEXT(story_of(works, n, added, true), expected);
}

static void higher_priority_goes_first(void)
{
    struct named works[] = {named('a', 3, 0), named('b', 3, 5), named('c', 2, -5), named('d', 2, 5), named('E', 4, 1)};
    check_story(works, 5, 5, "bbbddEaaacc");
}

static void single_pieces_and_bulk_take_turns(void)
{
    struct named works[] = {named('a', 5, 0), named('A', 1, 0), named('B', 7, 0), named('b', 2, 0), named('C', 1, 0)};
    check_story(works, 5, 5, "AaBaCaaabb");
}

static void thread_leaves_bulk_for_a_single_piece(void)
{
    struct named works[] = {named('a', 6, 0), named('A', 1, 0), named('b', 1, 0)};
    works[2].work.grain = 1; /* n is 1: that is a single piece, too */
    works[0].adds = &works[1];
    works[0].adds_after = 3;
    works[1].adds = &works[2];
    works[1].adds_after = 1;
    check_story(works, 3, 1, "aaaAabaa");
}

static void thread_leaves_bulk_for_a_higher_priority_only(void)
{
    struct named works[] = {named('a', 6, 0), named('b', 3, 1)};
    works[0].adds = &works[1];
    works[0].adds_after = 2;
    check_story(works, 2, 1, "aabbbaaaa");
    works[1] = named('b', 3, 0);
    check_story(works, 2, 1, "aaaaaabbb");
    works[1] = named('b', 3, -1);
    check_story(works, 2, 1, "aaaaaabbb");
    works[1] = named('B', 3, -1);
    check_story(works, 2, 1, "aaaaaaB");
    works[1] = named('B', 3, 1);
    check_story(works, 2, 1, "aaBaaaa");
}

/* ---- Nothing is lost ---- */

/* Each grain of a work adds single pieces of its own, one of them more urgent, so that threads leave and come back. */
struct busybody {
    struct counted counted; /* the first member */
    struct pmap__team *team;
    struct counted **pieces; /* two for each item */
};

static void run_busily(struct pmap__work *work, struct pmap__turn *turn)
{
    struct busybody *b = (struct busybody *)work;
    while (pmap__turn_next(turn))
        for (size_t i = turn->begin; i < turn->end; i++) {
            atomic_fetch_add(&b->counted.runs[i], 1);
            pmap__team_add(b->team, &b->pieces[2 * i]->work);
            pmap__team_add(b->team, &b->pieces[2 * i + 1]->work);
        }
}

static struct busybody *busybody_new(struct pmap__team *team, size_t n, size_t grain, int priority)
{
    struct busybody *b = test_array(1, sizeof *b);
    struct counted *c = counted_new(team, n, grain, priority);

    b->counted.work = c->work;
    b->counted.work.run = run_busily;
    b->counted.runs = c->runs;
    b->counted.threads = c->threads;
    pmap__bell_init(&b->counted.end);
    pmap__bell_fini(&c->end);
    free(c);
    b->team = team;
    b->pieces = test_array(2 * n, sizeof *b->pieces);
    for (size_t i = 0; i < 2 * n; i++)
        b->pieces[i] = counted_new(team, 1 + i % 3, 3, priority + (int)(i % 2));
    return b;
}

static void nothing_is_lost_when_threads_leave_for_something_else(void)
{
    enum { WORKS = 12 };
    struct pmap__team *team = team_new();
    struct busybody *b[WORKS];

    for (int k = 0; k < WORKS; k++) {
        b[k] = busybody_new(team, test_size(500, 50), (size_t)(k % 3), k % 4);
        pmap__team_add(team, &b[k]->counted.work);
    }
    for (int k = 0; k < WORKS; k++) {
        pmap__bell_wait(&b[k]->counted.end, PMAP__FOR_EVER);
        CHECK(ran_once(&b[k]->counted, 0, b[k]->counted.work.n));
        CHECK_INT(atomic_load(&b[k]->counted.endings), 1);
        for (size_t i = 0; i < 2 * b[k]->counted.work.n; i++) {
            pmap__bell_wait(&b[k]->pieces[i]->end, PMAP__FOR_EVER);
            CHECK(ran_once(b[k]->pieces[i], 0, b[k]->pieces[i]->work.n));
            CHECK_INT(atomic_load(&b[k]->pieces[i]->endings), 1);
        }
    }
    pmap__team_destroy(team); /* its threads may just be leaving the last of them */
    for (int k = 0; k < WORKS; k++) {
        for (size_t i = 0; i < 2 * b[k]->counted.work.n; i++)
            counted_free(b[k]->pieces[i]);
        free(b[k]->pieces);
        pmap__bell_fini(&b[k]->counted.end);
        free(b[k]->counted.runs);
        free(b[k]);
    }
}

/* ---- Life ---- */

static void team_without_work_ends(void)
{
    for (int i = 0; i < 20; i++)
        pmap__team_destroy(team_new());
    pmap__team_destroy(NULL);
}

static void team_ends_when_its_line_is_empty(void)
{
    enum { WORKS = 20 };
    struct pmap__team *team = team_new();
    struct counted *c[WORKS];

    for (int i = 0; i < WORKS; i++) {
        c[i] = counted_new(team, 100, (size_t)(i % 3), i % 2);
        pmap__team_add(team, &c[i]->work);
    }
    pmap__team_destroy(team);
    for (int i = 0; i < WORKS; i++) {
        CHECK(ran_once(c[i], 0, 100));
        CHECK_INT(atomic_load(&c[i]->endings), 1);
        counted_free(c[i]);
    }
}

/* Who has begun: written on each thread by itself, and by the number that it was given. */
static _Thread_local int my_number = -1;
static atomic_int begun[64];

static void begin(void *argument, int thread)
{
    for (int i = 0; i < 1000 * thread; i++) /* they need not all be done at the same time */
        sched_yield();
    my_number = thread;
    if (argument == begun && thread >= 0 && thread < 64)
        atomic_fetch_add(&begun[thread], 1);
}

static void run_after_begin(struct pmap__work *work, struct pmap__turn *turn)
{
    struct counted *c = (struct counted *)work;
    while (pmap__turn_next(turn)) {
        atomic_fetch_add(&c->runs[turn->begin], 1);
        if (my_number != turn->thread)
            atomic_fetch_add(&c->bad, 1);
    }
}

static void check_begun(bool lent)
{
    struct pmap__team *team = NULL;

    for (int t = 0; t < 64; t++)
        atomic_store(&begun[t], 0);
    my_number = -1;
    if (!CHECK_STATUS(pmap__team_create(&team, test_threads(), lent, begin, begun), PMAP_OK))
        return;
    for (int t = 0; t < 64; t++)
        CHECK_INT(atomic_load(&begun[t]), t < pmap__team_threads(team));
    CHECK_INT(my_number, lent ? 0 : -1);
    struct counted *c = counted_new(team, 1000, 1, 0);
    c->work.run = run_after_begin;
    pmap__team_add(team, &c->work);
    while (lent && pmap__team_step(team))
        ;
    pmap__bell_wait(&c->end, PMAP__FOR_EVER);
    CHECK(ran_once(c, 0, 1000));
    for (int t = 0; t < 64; t++)
        CHECK_INT(atomic_load(&begun[t]), t < pmap__team_threads(team));
    pmap__team_destroy(team);
    counted_free(c);
}

static void begin_is_called_once_on_each_thread(void) { check_begun(false); }

static void begin_of_a_lent_team_is_called_on_the_thread_that_creates_it(void) { check_begun(true); }

static const struct test tests[] = {TEST(every_item_runs_once),
                                    TEST(many_works_queue_up),
                                    TEST(owner_takes_items_away_while_threads_run),
                                    TEST(withdrawn_work_is_never_finished_by_the_team),
                                    TEST(work_that_nobody_has_begun_can_be_withdrawn),
                                    TEST(work_of_which_nothing_is_left_is_not_added),
                                    TEST(lent_team_runs_a_grain_for_each_step),
                                    TEST(idle_threads_are_counted),
                                    TEST(offers_are_accepted_as_long_as_threads_are_free),
                                    TEST(offer_to_a_busy_team_is_refused),
                                    TEST(lent_team_takes_no_offers),
                                    TEST(offer_that_another_thread_took_costs_nobody_a_thread),
                                    TEST(higher_priority_goes_first),
                                    TEST(single_pieces_and_bulk_take_turns),
                                    TEST(thread_leaves_bulk_for_a_single_piece),
                                    TEST(thread_leaves_bulk_for_a_higher_priority_only),
                                    TEST(nothing_is_lost_when_threads_leave_for_something_else),
                                    TEST(team_without_work_ends),
                                    TEST(team_ends_when_its_line_is_empty),
                                    TEST(begin_is_called_once_on_each_thread),
                                    TEST(begin_of_a_lent_team_is_called_on_the_thread_that_creates_it),
                                    {NULL, NULL}};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1 t2 t4");
}
