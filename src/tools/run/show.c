/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "tools/run/show.h"

#include "tools/run/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAITING_IN_MEMORY ((size_t)64 << 20)

/* A page that may wait. Behind spooled its output is in the spool, from at on. */
struct waiting {
    struct run_page page;
    bool here, spooled;
    size_t held; /* bytes that count as in memory */
    off_t at;
};

struct run_show {
    bool keep_order;
    size_t next;             /* sequence number that comes next */
    struct waiting *pages;   /* that of number next + i is pages[begin + i] */
    size_t begin, n, room;
    size_t in_memory;        /* bytes of results that wait */
    int spool;               /* -1: none yet */
    off_t spool_end;
    size_t spooled;          /* pages in it */
    int failure;             /* errno of what cannot be written, or 0 */
};

/* ---- Writing ---- */

/* A tag goes before each line; *in_line: the bytes before these did not end one. */
static bool write_tagged(int to, const char *data, size_t n, const char *tag, bool *in_line)
{
    struct run_text out = {0};

    if (tag == NULL)
        return run_write(to, data, n);
    while (n) {
        const char *end = memchr(data, '\n', n);
        size_t line = end ? (size_t)(end - data) + 1 : n;
        if (!*in_line) {
            run_text_puts(&out, tag);
            run_text_puts(&out, "\t");
        }
        run_text_add(&out, data, line);
        *in_line = end == NULL;
        data += line;
        n -= line;
    }
    bool written = run_write(to, out.data ? out.data : "", out.n);
    free(out.data);
    return written;
}

static bool copy_file(int from, off_t at, size_t size, int to, const char *tag)
{
    char buffer[65536];
    bool in_line = false;
    ssize_t n;

    for (; size; size -= (size_t)n, at += n) {
        n = pread(from, buffer, size < sizeof buffer ? size : sizeof buffer, at);
        if (n < 0 && errno == EINTR)
            n = 0;
        else if (n <= 0 || !write_tagged(to, buffer, (size_t)n, tag, &in_line))
            return n == 0; /* somebody has cut the file */
    }
    return true;
}

bool run_outcome_copy(const struct run_outcome *outcome, int which, int to, const char *tag)
{
    bool in_line = false;

    if (outcome->files[which] >= 0)
        return copy_file(outcome->files[which], 0, outcome->sizes[which], to, tag);
    return write_tagged(to, outcome->data[which], outcome->sizes[which], tag, &in_line);
}

static bool write_outputs(const struct run_show *show, const struct waiting *w, const struct run_outcome *o)
{
    if (w->spooled)
        return copy_file(show->spool, w->at, o->sizes[0], 1, w->page.tag) &&
               copy_file(show->spool, w->at + (off_t)o->sizes[0], o->sizes[1], 2, w->page.tag);
    return run_outcome_copy(o, 0, 1, w->page.tag) && run_outcome_copy(o, 1, 2, w->page.tag);
}

/* ---- Pages ---- */

static void free_page(struct run_page *page)
{
    struct run_outcome o;

    if (run_outcome_unpack(page->result, &o))
        run_outcome_close(&o);
    free(page->result.data);
    free(page->heading);
    free(page->tag);
    *page = (struct run_page){0};
}

static void show_page(struct run_show *show, struct waiting *w)
{
    struct run_outcome o;
    bool good = w->page.heading == NULL || run_write(1, w->page.heading, strlen(w->page.heading));

    if (good && run_outcome_unpack(w->page.result, &o))
        good = write_outputs(show, w, &o);
    if (!good && show->failure == 0)
        show->failure = errno;
    show->spooled -= w->spooled;
    if (show->spooled == 0 && show->spool_end > 0 && ftruncate(show->spool, 0) == 0)
        show->spool_end = 0;
    free_page(&w->page);
}

/* Into the spool, if there can be one: memory and descriptors are few. */
static void spool(struct run_show *show, struct waiting *w)
{
    struct run_outcome o;

    if (!run_outcome_unpack(w->page.result, &o) || (show->spool < 0 && (show->spool = run_file_open()) < 0))
        return;
    if (!run_outcome_copy(&o, 0, show->spool, NULL) || !run_outcome_copy(&o, 1, show->spool, NULL)) {
        show->failure = show->failure ? show->failure : errno;
        return;
    }
    w->at = show->spool_end;
    w->spooled = true;
    show->spooled++;
    show->spool_end += (off_t)(o.sizes[0] + o.sizes[1]);
    run_outcome_close(&o);
    struct run_outcome *left = run_resize(NULL, 1, sizeof *left); /* without what is spooled now */
    *left = o;
    left->files[0] = left->files[1] = -1;
    free(w->page.result.data);
    w->page.result = (struct pmap_bytes){left, sizeof *left};
}

static void await_turn(struct run_show *show, struct waiting *w)
{
    struct run_outcome o;

    if (!run_outcome_unpack(w->page.result, &o) || o.sizes[0] + o.sizes[1] == 0)
        return;
    if (o.files[0] >= 0 || show->in_memory + w->page.result.size > WAITING_IN_MEMORY)
        spool(show, w);
    if (!w->spooled)
        show->in_memory += w->held = w->page.result.size;
}

/* ---- Order ---- */

static void make_room(struct run_show *show, size_t i)
{
    if (show->begin > show->room / 2) {
        memmove(show->pages, show->pages + show->begin, show->n * sizeof *show->pages);
        show->begin = 0;
    }
    if (show->begin + i >= show->room) {
        show->room = 2 * (show->begin + i) + 64;
        show->pages = run_resize(show->pages, show->room, sizeof *show->pages);
    }
    for (; show->n <= i; show->n++)
        show->pages[show->begin + show->n] = (struct waiting){0};
}

static void show_those_that_may(struct run_show *show)
{
    while (show->n && show->pages[show->begin].here) {
        struct waiting *w = &show->pages[show->begin];
        show->in_memory -= w->held;
        show_page(show, w);
        show->begin++;
        show->n--;
        show->next++;
    }
}

bool run_show_put(struct run_show *show, size_t sequence, struct run_page *page)
{
    struct waiting now = {.page = page ? *page : (struct run_page){0}, .here = true};

    if (show->keep_order) {
        make_room(show, sequence - show->next);
        struct waiting *w = &show->pages[show->begin + sequence - show->next];
        *w = now;
        if (sequence > show->next)
            await_turn(show, w);
        show_those_that_may(show);
    } else {
        show_page(show, &now);
    }
    errno = show->failure;
    return show->failure == 0;
}

struct run_show *run_show_create(bool keep_order)
{
    struct run_show *show = run_resize(NULL, 1, sizeof *show);
    *show = (struct run_show){.keep_order = keep_order, .next = 1, .spool = -1};
    return show;
}

void run_show_destroy(struct run_show *show)
{
    if (show == NULL)
        return;
    for (size_t i = 0; i < show->n; i++)
        free_page(&show->pages[show->begin + i].page);
    free(show->pages);
    if (show->spool >= 0)
        close(show->spool);
    free(show);
}
