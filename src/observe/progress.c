/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "observe/progress.h"

#include "base/clock.h"
#include "base/screen.h"
#include "engine/view.h"
#include "observe/terminal.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SHOWN_AFTER (300 * PMAP__MS) /* what is over sooner had better not flicker */
#define LEFT_AFTER (1 * PMAP__S)     /* what took so long leaves its outcome */
#define ROW_GAP (500 * PMAP__MS)     /* runs that are nearer to each other are a row */

static double seconds(uint64_t ns)
{
    return 1e-9 * (double)ns;
}

/* ---- What the pools do ---- */

struct sum {
    struct pmap__view view; /* of all of them */
    uint64_t open;          /* calls that are under way */
    int ranks, threads, busy, each;
};

/* Ranks are counted once, though several pools may be theirs. */
static void add_ranks(struct sum *sum, const struct pmap__root *root)
{
    for (int rank = 0; rank < pmap__view_ranks(root); rank++) {
        struct pmap__view_rank r;
        pmap__view_rank(root, rank, &r);
        if (r.threads == 0)
            continue;
        sum->each = sum->ranks == 0 || sum->each == r.threads ? r.threads : 0;
        sum->ranks++;
        sum->threads += r.threads;
        sum->busy += r.busy;
    }
}

static void add_pool(struct sum *sum, struct pmap__tenant *pool)
{
    struct pmap__view view;

    pmap__view_look(pool, &view);
    pmap__tally_add(&sum->view.sum, &view.sum);
    pmap__tally_add(&sum->view.now, &view.now);
    sum->view.calls += view.calls;
    sum->view.over += view.over;
    sum->view.to_come += view.to_come;
    sum->view.endless |= view.endless;
    if (view.calls > view.over && (sum->open == 0 || view.since < sum->view.since)) {
        sum->view.since = view.since;
        memcpy(sum->view.what, view.what, sizeof view.what);
    }
    sum->open += view.calls - view.over;
}

static void add_up(struct sum *sum, const struct pmap__progress *p, struct pmap__tenant *const pools[], size_t n)
{
    *sum = (struct sum){.view = {.sum = p->gone, .calls = p->gone_calls, .over = p->gone_calls}};
    for (size_t i = 0; i < n; i++) {
        bool again = false;
        for (size_t k = 0; k < i; k++)
            again |= pools[k]->root == pools[i]->root;
        add_pool(sum, pools[i]);
        if (!again)
            add_ranks(sum, pools[i]->root);
    }
}

static void add_times(struct pmap__durations *sum, const struct pmap__root *root)
{
    struct pmap__durations d;

    pmap__view_times(root, &d);
    for (size_t class = 0; class < PMAP__DURATIONS; class++)
        sum->count[class] += d.count[class];
    sum->longest = d.longest > sum->longest ? d.longest : sum->longest;
}

static struct pmap__spread spread_of(struct pmap__tenant *const pools[], size_t n)
{
    struct pmap__durations d = {.total = 0};
    double first = 0, second = 0;

    for (size_t i = 0; i < n; i++)
        add_times(&d, pools[i]->root);
    for (size_t class = 0; class < PMAP__DURATIONS; class++) {
        double time = d.count[class] ? seconds(pmap__durations_last(class)) : 0;
        first += (double)d.count[class] * time;
        second += (double)d.count[class] * time * time;
    }
    return (struct pmap__spread){.longest = seconds(d.longest), .residual = first > 0 ? second / (2 * first) : 0};
}

/* ---- The scene ---- */

/* The name goes to a terminal: what it must not get there is left out. */
static void copy_name(char *to, const char *name)
{
    size_t n = 0;

    for (; *name && n < 24; name++)
        if (isprint((unsigned char)*name))
            to[n++] = *name;
    to[n] = '\0';
}

static void set_scene(const struct pmap__progress *p, const struct sum *sum, struct pmap__scene *s)
{
    const struct pmap__tally *now = &sum->view.sum, *base = &p->base;
    uint64_t calls = sum->view.calls - p->calls;

    *s = (struct pmap__scene){.nth = p->calls - p->row_calls + 1, .endless = sum->view.endless, .all = now->all - base->all + sum->view.to_come,
                              .done = now->done - base->done, .failed = now->failed - base->failed,
                              .cancelled = now->cancelled - base->cancelled, .recalled = now->recalled - base->recalled,
                              .retried = now->retried - base->retried, .seconds = seconds(pmap__now() - p->since),
                              .rate = pmap__estimate_rate(&p->estimate), .ranks = sum->ranks, .threads = sum->threads,
                              .busy = sum->busy, .each = sum->each, .turn = p->turn};
    copy_name(s->what, sum->view.what);
    if (calls > 1)
        snprintf(s->what, sizeof s->what, "%llu calls", (unsigned long long)calls);
    s->left = pmap__estimate_left(&p->estimate, (double)(s->all - (s->done < s->all ? s->done : s->all)), s->threads, &p->spread);
}

/* ---- Runs ---- */

/* Something begins: if nothing has ended just now, so does a row. */
static void begin_row(struct pmap__progress *p, uint64_t since, uint64_t calls)
{
    if (p->ended && since < p->ended + ROW_GAP)
        return;
    p->row_since = since;
    p->row_calls = calls;
}

static void begin_run(struct pmap__progress *p, const struct sum *sum)
{
    const struct pmap__tally *all = &sum->view.sum, *now = &sum->view.now;
    uint64_t clock = pmap__now();

    p->running = true;
    p->base = (struct pmap__tally){.all = all->all - now->all, .done = all->done - now->done, .failed = all->failed - now->failed,
                                   .cancelled = all->cancelled - now->cancelled, .recalled = all->recalled - now->recalled,
                                   .retried = all->retried - now->retried, .lost = all->lost - now->lost};
    p->calls = sum->view.over;
    p->since = sum->view.since && sum->view.since < clock ? sum->view.since : clock;
    p->looked = p->since;
    p->done = 0;
    p->logged = 0;
    p->spread = (struct pmap__spread){.longest = 0};
    p->estimate = (struct pmap__estimate){.time = 0};
    begin_row(p, p->since, p->calls);
}

/* What has been done since the last look. */
static void measure(struct pmap__progress *p, const struct sum *sum)
{
    uint64_t now = pmap__now(), done = sum->view.sum.done - sum->view.sum.recalled - (p->base.done - p->base.recalled);

    if (now <= p->looked)
        return;
    pmap__estimate_add(&p->estimate, seconds(now - p->looked), done > p->done ? (double)(done - p->done) : 0, sum->busy);
    p->done = done > p->done ? done : p->done;
    p->looked = now;
}

static void write_line(const struct pmap__progress *p, const char *text)
{
    bool held = pmap__screen_hold();
    dprintf(p->terminal >= 0 ? p->terminal : STDERR_FILENO, "%s\n", text);
    pmap__screen_release(held);
}

static void show(struct pmap__progress *p, const struct pmap__scene *scene)
{
    char text[PMAP__DRAWING];
    struct pmap__terminal terminal;
    uint64_t now = pmap__now();

    if (p->terminal >= 0 && !pmap__terminal_is_ours(p->terminal)) {
        pmap__screen_erase();
    } else if (p->terminal >= 0 && now - p->row_since >= SHOWN_AFTER) {
        pmap__terminal_look(p->terminal, &terminal);
        size_t columns = pmap__drawing_line(scene, &terminal, text);
        pmap__screen_draw(p->terminal, text, columns, terminal.dumb);
    } else if (p->terminal < 0 && now - (p->logged ? p->logged : p->since) >= p->every) {
        p->logged = now;
        pmap__drawing_log(scene, text);
        write_line(p, text);
    }
}

static void end_run(struct pmap__progress *p, const struct sum *sum)
{
    char text[PMAP__DRAWING];
    struct pmap__scene scene;
    uint64_t now = pmap__now();

    p->running = false;
    p->ended = now;
    pmap__screen_erase();
    set_scene(p, sum, &scene);
    memcpy(scene.what, p->what, sizeof scene.what);
    pmap__drawing_end(&scene, text);
    if (p->terminal >= 0 ? now - p->since >= LEFT_AFTER : p->logged != 0)
        write_line(p, text);
}

void pmap__progress_begin(struct pmap__progress *p, double every)
{
    *p = (struct pmap__progress){.terminal = pmap__terminal_open(), .every = (uint64_t)(every * 1e9)};
}

void pmap__progress_end(struct pmap__progress *p)
{
    pmap__screen_erase();
    pmap__terminal_close(p->terminal);
}

void pmap__progress_leave(struct pmap__progress *p, struct pmap__tenant *pool)
{
    struct pmap__view view;

    pmap__view_look(pool, &view);
    pmap__tally_add(&p->gone, &view.sum);
    p->gone_calls += view.over;
}

void pmap__progress_look(struct pmap__progress *p, struct pmap__tenant *const pools[], size_t n)
{
    struct pmap__scene scene;
    struct sum sum;

    add_up(&sum, p, pools, n);
    if (sum.open == 0)
        return; /* a run ends when its last call says so */
    if (!p->running)
        begin_run(p, &sum);
    measure(p, &sum);
    if (p->turn++ % 10 == 0)
        p->spread = spread_of(pools, n);
    set_scene(p, &sum, &scene);
    memcpy(p->what, scene.what, sizeof p->what);
    show(p, &scene);
}

void pmap__progress_ended(struct pmap__progress *p, struct pmap__tenant *const pools[], size_t n)
{
    struct sum sum;

    if (p->running) {
        add_up(&sum, p, pools, n);
        if (sum.open == 0)
            end_run(p, &sum);
        return;
    }
    uint64_t over = p->gone_calls, now = pmap__now();
    for (size_t i = 0; i < n; i++)
        over += pmap__view_calls(pools[i]);
    begin_row(p, now, over - 1);
    p->ended = now;
}
