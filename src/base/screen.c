/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "base/screen.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define YIELDS_MAX 20 /* two writes each, of some microseconds */

static struct {
    pthread_mutex_t lock; /* of these, and of writing: */
    int fd;
    bool dumb;
    size_t columns;
    char text[PMAP__SCREEN_LINE]; /* as it was written */
    int yields;           /* since it was drawn */
    atomic_bool shown;    /* there is a line; anybody reads these two */
    atomic_bool away;     /* there is one, but for a yield */
    atomic_int process;   /* that has ever drawn one: a forked child must not wait for a lock that nobody there will release */
} screen = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* A terminal that is gone is nobody's loss. */
static void put(const char *bytes, size_t size)
{
    if (write(screen.fd, bytes, size) < 0) {
    }
}

/* Under the lock. */
static void clear(void)
{
    char blanks[512];

    atomic_store(&screen.away, false);
    if (!atomic_load(&screen.shown))
        return;
    if (screen.dumb) {
        size_t n = screen.columns < sizeof blanks - 2 ? screen.columns : sizeof blanks - 2;
        memset(blanks, ' ', sizeof blanks);
        blanks[0] = blanks[n + 1] = '\r';
        put(blanks, n + 2);
    } else {
        put("\r\033[J", 4);
    }
    atomic_store(&screen.shown, false);
}

/* Under the lock. */
static void show(void)
{
    atomic_store(&screen.shown, true);
    atomic_store(&screen.away, false);
    put(screen.text, strlen(screen.text));
}

void pmap__screen_draw(int fd, const char *text, size_t columns, bool dumb)
{
    pthread_mutex_lock(&screen.lock);
    if (dumb)
        clear();
    screen.fd = fd;
    snprintf(screen.text, sizeof screen.text, dumb ? "\r%s\r" : "\r\033[J%s\r", text);
    screen.dumb = dumb;
    screen.columns = columns;
    screen.yields = 0;
    atomic_store(&screen.process, (int)getpid());
    show();
    pthread_mutex_unlock(&screen.lock);
}

void pmap__screen_yield(void)
{
    if (!atomic_load_explicit(&screen.shown, memory_order_relaxed) || atomic_load(&screen.process) != (int)getpid())
        return;
    pthread_mutex_lock(&screen.lock);
    bool yields = atomic_load(&screen.shown) && screen.yields < YIELDS_MAX;
    if (yields) {
        clear();
        screen.yields++;
        atomic_store(&screen.away, true);
    }
    pthread_mutex_unlock(&screen.lock);
}

void pmap__screen_resume(void)
{
    if (!atomic_load_explicit(&screen.away, memory_order_relaxed) || atomic_load(&screen.process) != (int)getpid())
        return;
    pthread_mutex_lock(&screen.lock);
    if (atomic_load(&screen.away))
        show();
    pthread_mutex_unlock(&screen.lock);
}

void pmap__screen_erase(void)
{
    if (atomic_load_explicit(&screen.shown, memory_order_relaxed) || atomic_load_explicit(&screen.away, memory_order_relaxed))
        pmap__screen_release(pmap__screen_hold());
}

bool pmap__screen_hold(void)
{
    if (atomic_load(&screen.process) != (int)getpid())
        return false;
    pthread_mutex_lock(&screen.lock);
    clear();
    return true;
}

void pmap__screen_release(bool held)
{
    if (held)
        pthread_mutex_unlock(&screen.lock);
}

bool pmap__screen_print(void (*print)(FILE *out, const void *what), const void *what)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return false;
    print(out, what);
    bool well = fclose(out) == 0;
    if (well) {
        bool held = pmap__screen_hold();
        fwrite(text, 1, size, stderr);
        pmap__screen_release(held);
    }
    free(text);
    return well;
}
