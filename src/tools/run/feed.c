/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "tools/run/feed.h"

#include <stdlib.h>
#include <unistd.h>

struct run_feed {
    struct run_inputs *inputs;
    struct run_bell *bell;
    size_t ahead;
    int stop; /* writing there ends a wait of the inputs */
    pthread_t thread;
    pthread_mutex_t lock; /* for what follows */
    pthread_cond_t taken;
    struct run_row *rows; /* those from begin to end are to be taken */
    size_t begin, end, room;
    size_t total;
    bool ended, stopped;
};

/* ---- The thread ---- */

/* Under the lock. */
static void put(struct run_feed *f, struct run_row row)
{
    if (f->begin == f->end)
        f->begin = f->end = 0;
    if (f->end == f->room && f->begin > f->room / 2) {
        for (size_t i = f->begin; i < f->end; i++)
            f->rows[i - f->begin] = f->rows[i];
        f->end -= f->begin;
        f->begin = 0;
    } else if (f->end == f->room) {
        f->room = 2 * f->room + 64;
        f->rows = run_resize(f->rows, f->room, sizeof *f->rows);
    }
    f->rows[f->end++] = row;
    f->total++;
}

/* False: nobody wants it any more. */
static bool await_room(struct run_feed *f)
{
    while (!f->stopped && f->ahead && f->end - f->begin >= f->ahead)
        pthread_cond_wait(&f->taken, &f->lock);
    return !f->stopped;
}

static void *feed(void *argument)
{
    struct run_feed *f = argument;
    struct run_row row;
    bool more = true;

    while (more && run_inputs_next(f->inputs, &row)) {
        pthread_mutex_lock(&f->lock);
        more = await_room(f);
        if (more)
            put(f, row);
        else
            run_row_free(&row);
        pthread_mutex_unlock(&f->lock);
        run_bell_ring(f->bell);
    }
    pthread_mutex_lock(&f->lock);
    f->ended = true;
    pthread_mutex_unlock(&f->lock);
    run_bell_ring(f->bell);
    return NULL;
}

/* ---- Its owner ---- */

struct run_feed *run_feed_start(struct run_inputs *inputs, struct run_bell *bell, size_t ahead, int stop)
{
    struct run_feed *f = run_resize(NULL, 1, sizeof *f);

    *f = (struct run_feed){.inputs = inputs, .bell = bell, .ahead = ahead, .stop = stop};
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->taken, NULL);
    if (pthread_create(&f->thread, NULL, feed, f) == 0)
        return f;
    free(f);
    return NULL;
}

bool run_feed_take(struct run_feed *f, struct run_row *row)
{
    pthread_mutex_lock(&f->lock);
    bool some = f->begin < f->end;
    if (some) {
        *row = f->rows[f->begin++];
        pthread_cond_signal(&f->taken);
    }
    pthread_mutex_unlock(&f->lock);
    return some;
}

bool run_feed_is_over(struct run_feed *f)
{
    pthread_mutex_lock(&f->lock);
    bool over = f->ended && f->begin == f->end;
    pthread_mutex_unlock(&f->lock);
    return over;
}

bool run_feed_total(struct run_feed *f, size_t *total)
{
    pthread_mutex_lock(&f->lock);
    bool known = f->ended;
    *total = f->total;
    pthread_mutex_unlock(&f->lock);
    return known;
}

void run_feed_stop(struct run_feed *f)
{
    struct run_row row;

    if (f == NULL)
        return;
    pthread_mutex_lock(&f->lock);
    f->stopped = true;
    pthread_cond_signal(&f->taken);
    pthread_mutex_unlock(&f->lock);
    while (write(f->stop, "", 1) < 0)
        ;
    pthread_join(f->thread, NULL);
    while (run_feed_take(f, &row))
        run_row_free(&row);
    free(f->rows);
    pthread_cond_destroy(&f->taken);
    pthread_mutex_destroy(&f->lock);
    free(f);
}
