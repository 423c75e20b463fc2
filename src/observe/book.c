/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "observe/book.h"

#include "base/clock.h"
#include "observe/thin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Phases are few; what is more than anybody looks at is dropped. */
#define PHASES_MAX 20000

/* ---- Arrays ---- */

void *pmap__grow(void *array, size_t n, size_t *room, size_t size)
{
    void *at;

    memcpy(&at, array, sizeof at); /* whatever it points to */
    if (n < *room)
        return at;
    size_t more = *room ? 2 * *room : 16;
    void *grown = realloc(at, more * size);
    if (grown == NULL)
        return NULL;
    memcpy(array, &grown, sizeof grown);
    *room = more;
    return grown;
}

/* ---- Durations ---- */

size_t pmap__duration_class(uint64_t ns)
{
    if (ns == 0)
        return 0;
    unsigned log = 63 - (unsigned)__builtin_clzll(ns);
    return 4 * log + (size_t)((log >= 2 ? ns >> (log - 2) : ns << (2 - log)) & 3);
}

double pmap__class_from(size_t class)
{
    return (double)(UINT64_C(1) << class / 4) * (1 + (double)(class % 4) / 4);
}

/* ---- Kinds ---- */

static bool is_kind(const struct pmap__kind *kind, const char *function, const char *task)
{
    return kind->function && strcmp(kind->function, function) == 0 && strcmp(kind->task, task) == 0;
}

/* The kind of these calls, which may be a new one; 0 if there is no room. */
static size_t kind_of(struct pmap__book *book, const char *function, const char *task)
{
    for (size_t i = 1; i < book->n_kinds; i++)
        if (is_kind(&book->kinds[i], function, task))
            return i;
    if (book->n_kinds == PMAP__KINDS)
        return 0;
    struct pmap__kind *kinds = realloc(book->kinds, (book->n_kinds + 1) * sizeof *kinds);
    if (kinds == NULL)
        return 0;
    book->kinds = kinds;
    struct pmap__kind kind = {.function = strdup(function), .task = strdup(task), .shortest = UINT64_MAX};
    if (kind.function == NULL || kind.task == NULL) {
        free(kind.function);
        free(kind.task);
        return 0;
    }
    kinds[book->n_kinds] = kind;
    return book->n_kinds++;
}

static struct pmap__kind *kind_at(struct pmap__book *book, uint64_t call)
{
    size_t kind = pmap__call_kind(call);
    return &book->kinds[kind < book->n_kinds ? kind : 0];
}

/* ---- Calls ---- */

static struct pmap__call_line *find_call(struct pmap__book *book, uint64_t call)
{
    uint64_t number = pmap__call_number(call);
    size_t low = 0, high = book->n_calls;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (pmap__call_number(book->calls[middle].call) < number)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < book->n_calls && pmap__call_number(book->calls[low].call) == number && book->calls[low].end == 0;
    return found ? &book->calls[low] : NULL;
}

uint64_t pmap__book_call_begins(struct pmap__book *book, const struct pmap__call_begins *begins)
{
    pthread_mutex_lock(&book->lock);
    size_t kind = kind_of(book, begins->function, begins->task);
    uint64_t number = ++book->all_calls, call = (uint64_t)kind << 48 | number;
    book->kinds[kind].calls++;
    if (book->n_calls >= book->limit_calls)
        pmap__thin_calls(book);
    if (pmap__grow(&book->calls, book->n_calls, &book->room_calls, sizeof *book->calls))
        book->calls[book->n_calls++] = (struct pmap__call_line){.call = call, .last = number, .calls = 1, .begin = pmap__now(), .n = begins->n,
                                                                .chunksize = begins->chunksize};
    pthread_mutex_unlock(&book->lock);
    return call;
}

/* It is of a kind of its own. The number stays. */
uint64_t pmap__book_call_part(struct pmap__book *book, uint64_t call, const char *part)
{
    char task[512];

    pthread_mutex_lock(&book->lock);
    const struct pmap__kind *whole = kind_at(book, call);
    snprintf(task, sizeof task, "%.400s %s", whole->task ? whole->task : "", part);
    size_t kind = kind_of(book, whole->function ? whole->function : "", task);
    book->kinds[kind].calls++;
    pthread_mutex_unlock(&book->lock);
    return (uint64_t)kind << 48 | pmap__call_number(call);
}

static void add_outcome(struct pmap__book *book, struct pmap__call_line *line, const struct pmap__call_ends *ends)
{
    struct pmap__kind *kind = kind_at(book, ends->call);

    kind->failed += ends->failed;
    kind->skipped += ends->skipped;
    kind->known += ends->known;
    if (line == NULL)
        return;
    line->items += ends->items;
    line->failed += ends->failed;
    line->skipped += ends->skipped;
    line->known += ends->known;
}

void pmap__book_call_grows(struct pmap__book *book, const struct pmap__call_ends *part)
{
    pthread_mutex_lock(&book->lock);
    add_outcome(book, find_call(book, part->call), part);
    pthread_mutex_unlock(&book->lock);
}

void pmap__book_call_ends(struct pmap__book *book, const struct pmap__call_ends *ends)
{
    pthread_mutex_lock(&book->lock);
    struct pmap__call_line *line = find_call(book, ends->call);
    add_outcome(book, line, ends);
    if (line) {
        line->end = pmap__now();
        line->status = ends->status;
        line->error = ends->error ? strdup(ends->error) : NULL;
        line->n = line->n > line->items ? line->n : line->items;
    }
    pthread_mutex_unlock(&book->lock);
}

/* ---- Ranks ---- */

static struct pmap__book_rank *rank_at(struct pmap__book *book, int pid)
{
    return pid >= 0 && pid < book->n_ranks ? &book->ranks[pid] : NULL;
}

static int new_group(struct pmap__book *book, int ranks)
{
    int base = book->n_ranks;
    void *groups = realloc(book->groups, (book->n_groups + 1) * sizeof *book->groups);
    struct pmap__book_rank *grown = realloc(book->ranks, (size_t)(base + ranks) * sizeof *grown);

    if (groups)
        book->groups = groups;
    if (grown)
        book->ranks = grown;
    if (groups == NULL || grown == NULL)
        return -1;
    memset(grown + base, 0, (size_t)ranks * sizeof *grown);
    book->n_ranks += ranks;
    book->groups[book->n_groups].ranks = ranks;
    book->groups[book->n_groups++].base = base;
    return base;
}

int pmap__book_pool(struct pmap__book *book, int ranks)
{
    int base = -1;

    pthread_mutex_lock(&book->lock);
    for (size_t i = 0; i < book->n_groups && base < 0; i++)
        if (book->groups[i].ranks == ranks)
            base = book->groups[i].base;
    if (base < 0)
        base = new_group(book, ranks);
    pthread_mutex_unlock(&book->lock);
    return base;
}

void pmap__book_rank(struct pmap__book *book, int pid, const char *host, int threads, bool differs)
{
    pthread_mutex_lock(&book->lock);
    struct pmap__book_rank *rank = rank_at(book, pid);
    if (rank) {
        memccpy(rank->host, host, '\0', sizeof rank->host);
        rank->host[sizeof rank->host - 1] = '\0';
        rank->threads = threads > rank->threads ? threads : rank->threads;
        rank->differs = differs;
    }
    pthread_mutex_unlock(&book->lock);
}

void pmap__book_ping(struct pmap__book *book, int pid, const struct pmap__ping *ping, bool at_end)
{
    pthread_mutex_lock(&book->lock);
    struct pmap__book_rank *rank = rank_at(book, pid);
    if (rank)
        pmap__clock_ping(&rank->clock, ping, at_end);
    pthread_mutex_unlock(&book->lock);
}

void pmap__book_note_lost(struct pmap__book *book, int pid)
{
    struct pmap__book_rank *rank = rank_at(book, pid);

    if (rank && rank->lost == 0)
        rank->lost = pmap__now();
    book->incomplete = true;
}

void pmap__book_lose(struct pmap__book *book, int pid)
{
    pthread_mutex_lock(&book->lock);
    pmap__book_note_lost(book, pid);
    pthread_mutex_unlock(&book->lock);
}

/* ---- Chunks ---- */

static struct pmap__chunk_line chunk_line(const struct pmap__chunk_ends *c)
{
    struct pmap__chunk_line line = {.first = *c, .chunks = 1, .answered = c->answered, .send = c->sent - c->dealt,
                                    .total = c->answered - c->dealt};
    if (c->timed) {
        line.transfer = (int64_t)(c->arrived - c->sent);
        line.queue = c->begun - c->arrived;
        line.run = c->ended - c->begun;
    }
    return line;
}

void pmap__book_chunk(struct pmap__book *book, int pid, const struct pmap__chunk_ends *chunk)
{
    pthread_mutex_lock(&book->lock);
    struct pmap__book_rank *rank = rank_at(book, pid);
    if (book->n_chunks >= book->limit_chunks)
        pmap__thin_chunks(book);
    if (rank && pmap__grow(&rank->chunks, rank->n, &rank->room, sizeof *rank->chunks)) {
        rank->chunks[rank->n++] = chunk_line(chunk);
        book->n_chunks++;
    }
    pthread_mutex_unlock(&book->lock);
}

/* ---- Phases ---- */

void pmap__book_phase(struct pmap__book *book, const struct pmap__phase *phase)
{
    pthread_mutex_lock(&book->lock);
    if (book->n_phases < PHASES_MAX && pmap__grow(&book->phases, book->n_phases, &book->room_phases, sizeof *phase))
        book->phases[book->n_phases++] = *phase;
    pthread_mutex_unlock(&book->lock);
}

/* ---- Spans ---- */

/* The lane of a thread, which may be a new one; NULL without memory. */
static struct pmap__lane *lane_of(struct pmap__book *book, int pid, int thread)
{
    size_t at = 0;

    while (at < book->n_lanes && (book->lanes[at].pid < pid || (book->lanes[at].pid == pid && book->lanes[at].thread < thread)))
        at++;
    if (at < book->n_lanes && book->lanes[at].pid == pid && book->lanes[at].thread == thread)
        return &book->lanes[at];
    struct pmap__lane *lanes = realloc(book->lanes, (book->n_lanes + 1) * sizeof *lanes);
    if (lanes == NULL)
        return NULL;
    book->lanes = lanes;
    memmove(lanes + at + 1, lanes + at, (book->n_lanes++ - at) * sizeof *lanes);
    lanes[at] = (struct pmap__lane){.pid = pid, .thread = thread, .sorted = true};
    return &lanes[at];
}

static void sum_up(struct pmap__book *book, const struct pmap__span *span)
{
    struct pmap__kind *kind = kind_at(book, span->call);
    uint64_t each = span->busy / span->n;

    book->all_spans++;
    kind->items += span->n;
    kind->given_up += span->given_up;
    kind->busy += span->busy;
    kind->classes[pmap__duration_class(each)] += span->n;
    kind->shortest = each < kind->shortest ? each : kind->shortest;
    kind->longest = each > kind->longest ? each : kind->longest;
}

static void keep(struct pmap__book *book, struct pmap__lane *lane, const struct pmap__span *span)
{
    if (pmap__grow(&lane->lines, lane->n, &lane->room, sizeof *lane->lines) == NULL) {
        book->missed++;
        return;
    }
    uint64_t each = span->n ? span->busy / span->n : 0;
    lane->sorted = lane->sorted && (lane->n == 0 || lane->lines[lane->n - 1].span.begin <= span->begin);
    lane->lines[lane->n++] = (struct pmap__span_line){.span = *span, .weight = 1, .longest = each};
    book->n_lines++;
}

void pmap__book_note_spans(struct pmap__book *book, int pid, const struct pmap__span *spans, size_t n)
{
    struct pmap__lane *lane = NULL;

    for (size_t i = 0; i < n; i++) {
        if (spans[i].kind == PMAP__SPAN_ITEMS)
            sum_up(book, &spans[i]);
        if (book->n_lines >= book->limit_lines)
            pmap__thin_spans(book);
        if (lane == NULL || lane->thread != spans[i].thread)
            lane = lane_of(book, pid, spans[i].thread);
        if (lane)
            keep(book, lane, &spans[i]);
        else
            book->missed++;
    }
}

void pmap__book_spans(struct pmap__book *book, int pid, const struct pmap__span *spans, size_t n)
{
    pthread_mutex_lock(&book->lock);
    pmap__book_note_spans(book, pid, spans, n);
    pthread_mutex_unlock(&book->lock);
}

/* ---- Life ---- */

struct pmap__book *pmap__book_create(const char *path, size_t bound)
{
    struct pmap__book *book = calloc(1, sizeof *book);
    struct timespec now;

    if (book == NULL)
        return NULL;
    book->path = strdup(path);
    book->kinds = calloc(1, sizeof *book->kinds);
    if (book->path == NULL || book->kinds == NULL) {
        free(book->path);
        free(book->kinds);
        free(book);
        return NULL;
    }
    book->n_kinds = 1;
    book->kinds[0].shortest = UINT64_MAX;
    book->bound = book->limit_lines = bound;
    book->limit_calls = book->limit_chunks = bound / 4 + 16;
    atomic_init(&book->chunks, 0);
    pthread_mutex_init(&book->lock, NULL); /* glibc's cannot fail */
    book->since = pmap__now();
    clock_gettime(CLOCK_REALTIME, &now);
    book->started = (int64_t)now.tv_sec * (int64_t)PMAP__S + now.tv_nsec;
    return book;
}

void pmap__book_destroy(struct pmap__book *book)
{
    if (book == NULL)
        return;
    for (size_t i = 0; i < book->n_kinds; i++) {
        free(book->kinds[i].function);
        free(book->kinds[i].task);
    }
    for (size_t i = 0; i < book->n_calls; i++)
        free(book->calls[i].error);
    for (int i = 0; i < book->n_ranks; i++)
        free(book->ranks[i].chunks);
    for (size_t i = 0; i < book->n_lanes; i++)
        free(book->lanes[i].lines);
    free(book->kinds);
    free(book->calls);
    free(book->ranks);
    free(book->lanes);
    free(book->phases);
    free(book->groups);
    free(book->path);
    free(book->report);
    pthread_mutex_destroy(&book->lock);
    free(book);
}
