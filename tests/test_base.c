/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * base: sizes and buffers, shares of CPUs, patience, the bell, lines, meetings, error texts, the will, signals.
 */
#include "harness.h"

#include "base/bell.h"
#include "base/cpus.h"
#include "base/error.h"
#include "base/line.h"
#include "base/meeting.h"
#include "base/memory.h"
#include "base/patience.h"
#include "base/signals.h"
#include "base/will.h"

#include <limits.h>
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

/* ---- Lines: letters for who waits in them, upper case for single pieces ---- */

struct person {
    struct pmap__waiter waiter; /* the first member */
    char name;
};

static struct person person(char name, int priority)
{
    return (struct person){{.priority = priority, .single = name >= 'A' && name <= 'Z'}, name};
}

static char name_of(struct pmap__waiter *waiter)
{
    return waiter ? ((struct person *)waiter)->name : '-';
}

/* Serve a line to its end as one worker does; the names in the order they were served. */
static const char *served(struct pmap__line *line, bool after_single)
{
    static char names[32];
    struct pmap__waiter *next;
    size_t n = 0;

    while (n < sizeof names - 1 && (next = pmap__line_next(line, after_single)) != NULL) {
        names[n++] = name_of(next);
        after_single = next->single;
        pmap__line_remove(line, next);
    }
    names[n] = '\0';
    return names;
}

static void line_up(struct pmap__line *line, struct person people[], size_t n)
{
    *line = (struct pmap__line){0};
    for (size_t i = 0; i < n; i++)
        pmap__line_add(line, &people[i].waiter);
}

static void line_goes_by_priority_and_then_by_who_came_first(void)
{
    struct pmap__line line;
    struct person people[] = {person('a', 0),       person('b', 5), person('c', -3), person('d', 5),       person('e', 0),
                              person('f', INT_MIN), person('g', 0), person('h', 7),  person('i', INT_MAX), person('j', -3)};

    line_up(&line, people, sizeof people / sizeof *people);
    CHECK_TEXT(served(&line, false), "ihbdaegcjf");
    CHECK(pmap__line_next(&line, false) == NULL && pmap__line_next(&line, true) == NULL);
}

static void single_pieces_and_bulk_take_turns_among_equals(void)
{
    struct pmap__line line;
    struct person people[] = {person('a', 1), person('b', 1), person('A', 1), person('B', 1), person('C', 1),
                              person('c', 2), person('D', 0), person('d', 0), person('E', 2)};
    enum { N = sizeof people / sizeof *people };

    line_up(&line, people, N);
    CHECK_TEXT(served(&line, false), "EcAaBbCdD");
    line_up(&line, people, N);
    CHECK_TEXT(served(&line, true), "cEaAbBCdD");
}

/* Whoever is next stays in the line: it is there for many, as a bulk work is. */
static void who_is_next_stays_in_the_line(void)
{
    struct pmap__line line;
    struct person people[] = {person('a', 0), person('A', 0)};

    line_up(&line, people, 2);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(name_of(pmap__line_next(&line, false)), 'A');
        CHECK_INT(name_of(pmap__line_next(&line, true)), 'a');
    }
    CHECK(people[0].waiter.waiting && people[1].waiter.waiting);
}

static void one_may_leave_a_line_from_anywhere_and_come_back(void)
{
    static const char *const left[] = {"bcde", "acde", "abde", "abce", "abcd"};
    struct person people[] = {person('a', 0), person('b', 0), person('c', 0), person('d', 0), person('e', 0)};
    struct pmap__line line;

    for (size_t i = 0; i < 5; i++) {
        char expected[8];
        line_up(&line, people, 5);
        pmap__line_remove(&line, &people[i].waiter);
        pmap__line_remove(&line, &people[i].waiter); /* it waits no more: nothing happens */
        CHECK(!people[i].waiter.waiting);
        CHECK_TEXT(served(&line, false), left[i]);
        line_up(&line, people, 5);
        pmap__line_remove(&line, &people[i].waiter);
        pmap__line_add(&line, &people[i].waiter);
        memcpy(expected, left[i], 4);
        memcpy(expected + 4, (char[]){people[i].name, '\0'}, 2);
        CHECK_TEXT(served(&line, false), expected);
    }
}

/* The line as one would write it down: who waits, in the order they came. */
struct model {
    struct person *waiting[64];
    size_t n;
};

static struct person *first_of(const struct model *model, bool single)
{
    struct person *best = NULL;
    for (size_t i = 0; i < model->n; i++) {
        struct person *p = model->waiting[i];
        if (p->waiter.single == single && (best == NULL || p->waiter.priority > best->waiter.priority))
            best = p;
    }
    return best;
}

static struct person *model_next(const struct model *model, bool after_single)
{
    struct person *single = first_of(model, true), *bulk = first_of(model, false);
    if (single == NULL || bulk == NULL || single->waiter.priority == bulk->waiter.priority)
        return bulk && (after_single || single == NULL) ? bulk : single ? single : bulk;
    return single->waiter.priority > bulk->waiter.priority ? single : bulk;
}

static void model_remove(struct model *model, const struct person *person)
{
    size_t at = 0;
    while (at < model->n && model->waiting[at] != person)
        at++;
    if (at == model->n)
        return;
    memmove(&model->waiting[at], &model->waiting[at + 1], (--model->n - at) * sizeof model->waiting[0]);
}

static void line_agrees_with_a_simple_model(void)
{
    enum { PEOPLE = 64 };
    struct person people[PEOPLE];
    struct pmap__line line = {0};
    struct model model = {.n = 0};
    uint64_t x = 7;

    memset(people, 0, sizeof people);
    for (size_t step = 0; step < test_size(200000, 5000); step++) {
        x = x * UINT64_C(6364136223846793005) + 1;
        struct person *p = &people[x >> 58];
        if (p->waiter.waiting) {
            pmap__line_remove(&line, &p->waiter);
            model_remove(&model, p);
        } else if (x >> 20 & 3) { /* full and empty lines both come about: see the next comment */
            p->waiter = (struct pmap__waiter){.priority = (int)(x >> 30 & 7) - 4, .single = x >> 40 & 1};
            pmap__line_add(&line, &p->waiter);
            model.waiting[model.n++] = p;
        }
        while (step % 1000 == 999 && model.n > 0) { /* now and then all are served */
            struct person *next = model_next(&model, x & 1);
            if (!CHECK(pmap__line_next(&line, x & 1) == &next->waiter))
                return;
            x = x * UINT64_C(6364136223846793005) + 1;
            pmap__line_remove(&line, &next->waiter);
            model_remove(&model, next);
        }
        for (int after_single = 0; after_single < 2; after_single++) {
            struct person *next = model_next(&model, after_single);
            if (!CHECK(pmap__line_next(&line, after_single) == (next ? &next->waiter : NULL)))
                return;
        }
    }
}

/* ---- Meetings ---- */

static void meetings_are_recalled_once_for_each_time(void)
{
    struct pmap__meetings met = {0};

    CHECK_INT(pmap__meeting_recall(&met, 42), -1);
    pmap__meeting_note(&met, 42, PMAP_OK);
    pmap__meeting_note(&met, 43, PMAP_EBUSY);
    pmap__meeting_note(&met, 42, PMAP_OK);
    CHECK_INT(met.n, 2);
    CHECK_INT(pmap__meeting_recall(&met, 44), -1);
    CHECK_INT(pmap__meeting_recall(&met, 43), PMAP_EBUSY);
    CHECK_INT(pmap__meeting_recall(&met, 43), -1);
    CHECK_INT(pmap__meeting_recall(&met, 42), PMAP_OK);
    CHECK_INT(pmap__meeting_recall(&met, 42), PMAP_OK);
    CHECK_INT(pmap__meeting_recall(&met, 42), -1);
}

/* A loop that is refused now and then: each round of it has the same status on every rank. */
static void meetings_of_one_line_that_ended_differently_come_oldest_first(void)
{
    static const enum pmap_status statuses[] = {PMAP_EBUSY, PMAP_EBUSY, PMAP_OK, PMAP_OK, PMAP_EBUSY, PMAP_OK};
    struct pmap__meetings met = {0};

    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        pmap__meeting_note(&met, 42, statuses[i]);
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        CHECK_INT(pmap__meeting_recall(&met, 42), statuses[i]);
    CHECK_INT(pmap__meeting_recall(&met, 42), -1);
}

static void meetings_of_two_lists_are_added(void)
{
    struct pmap__meetings met = {0}, more = {0};

    pmap__meeting_note(&met, 42, PMAP_OK);
    pmap__meeting_note(&more, 42, PMAP_OK);
    pmap__meeting_note(&more, 43, PMAP_EBUSY);
    pmap__meetings_add(&met, &more);
    CHECK(pmap__meeting_known(&met, 43));
    CHECK_INT(pmap__meeting_recall(&met, 43), PMAP_EBUSY);
    CHECK(!pmap__meeting_known(&met, 43));
    CHECK_INT(pmap__meeting_recall(&met, 42), PMAP_OK);
    CHECK(pmap__meeting_known(&met, 42));
    CHECK_INT(pmap__meeting_recall(&met, 42), PMAP_OK);
    CHECK(!pmap__meeting_known(&met, 42));
    CHECK(pmap__meeting_known(&more, 42));
}

static void meetings_without_room_are_forgotten(void)
{
    struct pmap__meetings met = {0};

    for (uint64_t where = 1; where <= PMAP__MEETINGS_MAX + 5; where++)
        pmap__meeting_note(&met, where, PMAP_OK);
    CHECK_INT(met.n, PMAP__MEETINGS_MAX);
    pmap__meeting_note(&met, 1, PMAP_OK); /* a line that is known needs no room */
    CHECK_INT(pmap__meeting_recall(&met, 1), PMAP_OK);
    CHECK_INT(pmap__meeting_recall(&met, 1), PMAP_OK);
    CHECK_INT(pmap__meeting_recall(&met, PMAP__MEETINGS_MAX), PMAP_OK);
    CHECK_INT(pmap__meeting_recall(&met, PMAP__MEETINGS_MAX + 1), -1);
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

/* ---- The will ---- */

static int executed, order;

static void execute(void)
{
    executed++;
}

static void execute_second(void)
{
    order = 10 * executed + 1;
}

static void will_is_executed_once(void)
{
    pmap__will_execute();
    pmap__will_make(execute);
    pmap__will_make(execute);
    pmap__will_execute();
    pmap__will_execute();
    CHECK_INT(executed, 1);
}

static void wills_are_executed_in_the_order_of_their_making(void)
{
    executed = 0;
    pmap__will_make(execute);
    pmap__will_make(execute_second);
    pmap__will_execute();
    CHECK_INT(order, 11);
}

/* ---- Signals; what becomes of pools is in test_signals.sh ---- */

static void ring_before_the_first_wait_is_kept(void)
{
    pmap__signals_prepare();
    pmap__signals_ring();
    pmap__signals_wait(PMAP__FOR_EVER);
}

/* Two handlers at once: the one that comes second may have looked at the clock first. */
static void signals_at_the_same_time_are_one(void)
{
    uint64_t first = 1000 * PMAP__S;

    CHECK(!pmap__signal_is_another(first, first));
    CHECK(!pmap__signal_is_another(first - 1, first));
    CHECK(!pmap__signal_is_another(first + PMAP__SAME_SIGNAL, first));
    CHECK(pmap__signal_is_another(first + PMAP__SAME_SIGNAL + 1, first));
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
                                    TEST(line_goes_by_priority_and_then_by_who_came_first),
                                    TEST(single_pieces_and_bulk_take_turns_among_equals),
                                    TEST(who_is_next_stays_in_the_line),
                                    TEST(one_may_leave_a_line_from_anywhere_and_come_back),
                                    TEST(line_agrees_with_a_simple_model),
                                    TEST(meetings_are_recalled_once_for_each_time),
                                    TEST(meetings_of_one_line_that_ended_differently_come_oldest_first),
                                    TEST(meetings_of_two_lists_are_added),
                                    TEST(meetings_without_room_are_forgotten),
                                    TEST(long_texts_are_cut),
                                    TEST(will_is_executed_once),
                                    TEST(wills_are_executed_in_the_order_of_their_making),
                                    TEST(ring_before_the_first_wait_is_kept),
                                    TEST(signals_at_the_same_time_are_one),
                                    {NULL, NULL}};

int main(int argc, char *argv[])
{
    return test_main(argc, argv, tests, "t1");
}
