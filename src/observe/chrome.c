/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "observe/chrome.h"

#include "base/clock.h"
#include "observe/jot.h"
#include "observe/thin.h"

#include <inttypes.h>
#include <string.h>

/* Calls and phases are in a process of their own. */
#define CALLS (-1)
#define PHASE_LANE 1

struct writer {
    struct pmap__jot jot;
    const struct pmap__book *book;
    uint64_t origin, now; /* time 0, of the root's clock; and the end of the file */
};

/* ---- Members ---- */

static void member(struct writer *w, const char *name, uint64_t value)
{
    pmap__jot_name(&w->jot, name);
    pmap__jot_number(&w->jot, value);
}

static void member_if(struct writer *w, const char *name, uint64_t value, uint64_t usual)
{
    if (value != usual)
        member(w, name, value);
}

static void member_us(struct writer *w, const char *name, int64_t ns)
{
    pmap__jot_name(&w->jot, name);
    pmap__jot_us(&w->jot, ns);
}

static void member_text(struct writer *w, const char *name, const char *text)
{
    pmap__jot_name(&w->jot, name);
    pmap__jot_text(&w->jot, text);
}

static void member_bool(struct writer *w, const char *name, bool value)
{
    pmap__jot_name(&w->jot, name);
    pmap__jot_bool(&w->jot, value);
}

/* A decimal number as a text. */
static void member_id(struct writer *w, uint64_t id)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, id);
    member_text(w, "id", text);
}

/* ---- Time ---- */

static uint64_t ours(const struct writer *w, int pid, uint64_t there)
{
    const struct pmap__book_rank *rank = pid >= 0 && pid < w->book->n_ranks ? &w->book->ranks[pid] : NULL;
    return rank && rank->differs ? pmap__clock_ours(&rank->clock, there) : there;
}

static void find_origin(struct writer *w)
{
    w->origin = w->book->since;
    for (size_t i = 0; i < w->book->n_lanes; i++) {
        const struct pmap__lane *lane = &w->book->lanes[i];
        uint64_t begin = lane->n ? ours(w, lane->pid, lane->lines[0].span.begin) : w->origin;
        w->origin = begin < w->origin ? begin : w->origin;
    }
}

static int64_t since_origin(const struct writer *w, uint64_t time)
{
    return (int64_t)(time - w->origin);
}

/* ---- Events ---- */

static void event_head(struct writer *w, const char *ph, int pid, int tid)
{
    pmap__jot_line(&w->jot);
    pmap__jot_open(&w->jot, '{');
    member_text(w, "ph", ph);
    pmap__jot_name(&w->jot, "pid");
    pmap__jot_signed(&w->jot, pid);
    member(w, "tid", (uint64_t)tid);
}

static void event(struct writer *w, const char *ph, const char *cat, int pid, int tid, uint64_t time)
{
    event_head(w, ph, pid, tid);
    member_text(w, "cat", cat);
    member_us(w, "ts", since_origin(w, time));
}

static void begin_args(struct writer *w)
{
    pmap__jot_name(&w->jot, "args");
    pmap__jot_open(&w->jot, '{');
}

static void end_event(struct writer *w)
{
    pmap__jot_close(&w->jot, '}');
    pmap__jot_close(&w->jot, '}');
}

static void metadata(struct writer *w, const char *what, int pid, int tid, const char *name)
{
    event_head(w, "M", pid, tid);
    member_text(w, "name", what);
    begin_args(w);
    member_text(w, "name", name);
    end_event(w);
}

static void sort_index(struct writer *w, const char *what, int pid, int tid, int index)
{
    event_head(w, "M", pid, tid);
    member_text(w, "name", what);
    begin_args(w);
    pmap__jot_name(&w->jot, "sort_index");
    pmap__jot_signed(&w->jot, index);
    end_event(w);
}

/* ---- Who there was ---- */

static void name_rank(struct writer *w, int pid)
{
    const struct pmap__book_rank *rank = &w->book->ranks[pid];
    char name[128];
    size_t group = w->book->n_groups - 1;

    while (group > 0 && w->book->groups[group].base > pid)
        group--;
    int number = pid - w->book->groups[group].base;
    int n = snprintf(name, sizeof name, "rank %d", number);
    if (rank->host[0])
        n += snprintf(name + n, sizeof name - (size_t)n, " on %s", rank->host);
    if (group > 0)
        snprintf(name + n, sizeof name - (size_t)n, ", of %d", w->book->groups[group].ranks);
    metadata(w, "process_name", pid, 0, name);
    sort_index(w, "process_sort_index", pid, 0, pid);
}

static void name_threads(struct writer *w, int pid)
{
    char name[32];

    for (int thread = 0; thread < w->book->ranks[pid].threads; thread++) {
        snprintf(name, sizeof name, "thread %d", thread);
        metadata(w, "thread_name", pid, thread, name);
        sort_index(w, "thread_sort_index", pid, thread, thread);
    }
}

static void write_names(struct writer *w)
{
    metadata(w, "process_name", CALLS, 0, "calls");
    sort_index(w, "process_sort_index", CALLS, 0, -1);
    if (w->book->n_phases)
        metadata(w, "thread_name", CALLS, PHASE_LANE, "phases");
    for (int pid = 0; pid < w->book->n_ranks; pid++) {
        name_rank(w, pid);
        name_threads(w, pid);
    }
}

/* ---- Spans ---- */

static const char *status_of(const struct pmap__span *span)
{
    return span->failed ? "failed" : span->given_up ? "given_up" : "ok";
}

static void span_args(struct writer *w, const struct pmap__span_line *line, int64_t duration)
{
    const struct pmap__span *s = &line->span;

    member(w, "call", pmap__call_number(s->call));
    member(w, "item", s->item);
    member(w, "n", s->n);
    member_if(w, "last", s->last, s->item + s->n - 1);
    if (s->busy < s->end - s->begin) {
        bool whole = (int64_t)s->busy > duration; /* a clock that runs faster than ours */
        member_us(w, "busy_us", whole ? duration : (int64_t)s->busy);
    }
    member_if(w, "weight", line->weight, 1);
    if (line->weight > 1)
        member_us(w, "longest_us", (int64_t)line->longest);
    member_text(w, "status", status_of(s));
    member_if(w, "failed", s->failed, 0);
    member_if(w, "given_up", s->given_up, 0);
    member_if(w, "attempt", s->attempt, 1);
    member_if(w, "chunk", s->chunk, 0);
    if (s->isolated)
        member_bool(w, "isolated", true);
}

static const char *name_of(const struct pmap__book *book, const struct pmap__span *span)
{
    static const char *const names[] = {NULL, "pmap_create", "initializer", "thread_initializer"};
    size_t kind = pmap__call_kind(span->call);

    if (span->kind != PMAP__SPAN_ITEMS)
        return names[span->kind];
    return kind > 0 && kind < book->n_kinds ? book->kinds[kind].task : "items";
}

static void write_span(struct writer *w, int pid, const struct pmap__span_line *line)
{
    const struct pmap__span *s = &line->span;
    uint64_t begin = ours(w, pid, s->begin), end = ours(w, pid, s->end);

    event(w, "X", s->kind == PMAP__SPAN_ITEMS ? "items" : "startup", pid, s->thread, begin);
    member_us(w, "dur", (int64_t)(end - begin));
    member_text(w, "name", name_of(w->book, s));
    begin_args(w);
    if (s->kind == PMAP__SPAN_ITEMS)
        span_args(w, line, (int64_t)(end - begin));
    end_event(w);
}

/* ---- Calls ---- */

static void call_head(struct writer *w, const char *ph, const struct pmap__call_line *line, uint64_t time)
{
    size_t kind = pmap__call_kind(line->call);
    const struct pmap__kind *k = kind > 0 && kind < w->book->n_kinds ? &w->book->kinds[kind] : NULL;
    char name[256];

    event(w, ph, "calls", CALLS, 0, time);
    member_id(w, pmap__call_number(line->call));
    snprintf(name, sizeof name, "%.100s%s%.100s", k ? k->function : "calls", k ? " " : "", k ? k->task : "");
    member_text(w, "name", name);
    begin_args(w);
    if (ph[0] == 'e')
        return;
    member(w, "call", pmap__call_number(line->call));
    member_text(w, "function", k ? k->function : "");
    member_text(w, "task", k ? k->task : "");
}

static void write_call(struct writer *w, const struct pmap__call_line *line)
{
    call_head(w, "b", line, line->begin);
    member(w, "n", line->n);
    member(w, "chunksize", line->chunksize);
    if (line->calls > 1) {
        member(w, "calls", line->calls);
        member(w, "to", line->last);
    }
    end_event(w);
    call_head(w, "e", line, line->end ? line->end : w->now);
    member_text(w, "status", line->end ? pmap_status_name(line->status) : "unfinished");
    member(w, "items", line->items > line->skipped + line->known ? line->items - line->skipped - line->known : 0);
    member_if(w, "failed", line->failed, 0);
    member_if(w, "skipped", line->skipped, 0);
    member_if(w, "known", line->known, 0);
    if (line->error)
        member_text(w, "error", line->error);
    end_event(w);
}

/* ---- Chunks ---- */

static const char *const chunk_ends[] = {"ok", "failed", "refused", "lost"};

/* The five parts of a chunk's time. Those on the way are a difference of two clocks, which may seem to be less than nothing, or more
 * than there is. */
static void chunk_times(struct writer *w, int pid, const struct pmap__chunk_line *line)
{
    int64_t ahead = (int64_t)(line->first.arrived - ours(w, pid, line->first.arrived));
    int64_t rest = (int64_t)(line->total - line->send - line->queue - line->run);
    int64_t transfer = line->first.timed ? line->transfer - ahead * (int64_t)line->chunks : 0;

    transfer = transfer > rest ? rest : transfer;
    transfer = transfer < 0 ? 0 : transfer;
    member_us(w, "send_us", (int64_t)line->send);
    member_us(w, "transfer_us", transfer);
    member_us(w, "queue_us", (int64_t)line->queue);
    member_us(w, "run_us", (int64_t)line->run);
    member_us(w, "answer_us", rest - transfer);
}

static void chunk_head(struct writer *w, const char *ph, int pid, const struct pmap__chunk_line *line, uint64_t time)
{
    event(w, ph, "chunks", pid, 0, time);
    member_id(w, line->first.chunk);
    member_text(w, "name", "chunk");
    begin_args(w);
}

static void write_chunk(struct writer *w, int pid, const struct pmap__chunk_line *line)
{
    chunk_head(w, "b", pid, line, line->first.dealt);
    member(w, "chunk", line->first.chunk);
    member(w, "call", pmap__call_number(line->first.call));
    member(w, "item", line->first.item);
    member(w, "n", line->first.n);
    member_if(w, "attempt", line->first.attempt, 1);
    member(w, "bytes_out", line->first.bytes_out);
    member(w, "bytes_in", line->first.bytes_in);
    member_text(w, "status", chunk_ends[line->first.end]);
    member_if(w, "chunks", line->chunks, 1);
    chunk_times(w, pid, line);
    end_event(w);
    chunk_head(w, "e", pid, line, line->answered);
    end_event(w);
}

/* ---- Phases ---- */

static void write_phase(struct writer *w, const struct pmap__phase *p)
{
    event(w, "X", "phase", CALLS, PHASE_LANE, p->begin);
    member_us(w, "dur", (int64_t)(p->end - p->begin));
    member_text(w, "name", p->name);
    begin_args(w);
    member(w, "call", pmap__call_number(p->call));
    member_if(w, "items", p->items, UINT64_MAX);
    member_if(w, "records_in", p->records_in, UINT64_MAX);
    member_if(w, "records_out", p->records_out, UINT64_MAX);
    member_if(w, "bytes_in", p->bytes_in, UINT64_MAX);
    member_if(w, "bytes_out", p->bytes_out, UINT64_MAX);
    member_if(w, "bytes_sent", p->bytes_sent, UINT64_MAX);
    member_if(w, "bytes_spilled", p->bytes_spilled, UINT64_MAX);
    end_event(w);
}

/* ---- Sums ---- */

static void begin_list(struct writer *w, const char *name)
{
    pmap__jot_name(&w->jot, name);
    pmap__jot_open(&w->jot, '[');
}

static void write_histogram(struct writer *w, const struct pmap__kind *kind)
{
    begin_list(w, "histogram");
    for (size_t i = 0; i < PMAP__CLASSES; i++) {
        if (kind->classes[i] == 0)
            continue;
        double from = i ? pmap__class_from(i) / 1000 : 0, to = pmap__class_from(i + 1) / 1000;
        pmap__jot_open(&w->jot, '[');
        pmap__jot_real(&w->jot, from);
        pmap__jot_real(&w->jot, to);
        pmap__jot_number(&w->jot, kind->classes[i]);
        pmap__jot_close(&w->jot, ']');
    }
    pmap__jot_close(&w->jot, ']');
}

static void write_kind(struct writer *w, const struct pmap__kind *kind)
{
    pmap__jot_open(&w->jot, '{');
    member_text(w, "call", kind->function ? kind->function : "");
    member_text(w, "task", kind->task ? kind->task : "");
    member(w, "calls", kind->calls);
    member(w, "items", kind->items);
    member(w, "failed", kind->failed);
    member(w, "given_up", kind->given_up);
    member(w, "skipped", kind->skipped);
    member(w, "known", kind->known);
    member_us(w, "busy_us", (int64_t)kind->busy);
    member_us(w, "min_us", kind->items ? (int64_t)kind->shortest : 0);
    member_us(w, "max_us", (int64_t)kind->longest);
    write_histogram(w, kind);
    pmap__jot_close(&w->jot, '}');
}

static void write_kinds(struct writer *w)
{
    begin_list(w, "tasks");
    for (size_t i = 0; i < w->book->n_kinds; i++)
        if (w->book->kinds[i].calls)
            write_kind(w, &w->book->kinds[i]);
    pmap__jot_close(&w->jot, ']');
}

static void write_totals(struct writer *w)
{
    struct pmap__kind all = {0};
    uint64_t kept = 0;

    for (size_t i = 0; i < w->book->n_kinds; i++) {
        const struct pmap__kind *kind = &w->book->kinds[i];
        all.items += kind->items;
        all.failed += kind->failed;
        all.given_up += kind->given_up;
        all.skipped += kind->skipped;
        all.known += kind->known;
    }
    for (size_t i = 0; i < w->book->n_lanes; i++)
        for (size_t j = 0; j < w->book->lanes[i].n; j++)
            kept += w->book->lanes[i].lines[j].span.kind == PMAP__SPAN_ITEMS;
    member(w, "spans", w->book->all_spans);
    member(w, "kept", kept);
    member(w, "dropped", w->book->missed);
    member(w, "calls", w->book->all_calls);
    member(w, "chunks", atomic_load(&w->book->chunks));
    member(w, "items", all.items);
    member(w, "failed", all.failed);
    member(w, "given_up", all.given_up);
    member(w, "skipped", all.skipped);
    member(w, "known", all.known);
}

static void write_size(struct writer *w)
{
    int ranks = 0, threads = 0;

    for (size_t i = 0; i < w->book->n_groups; i++)
        ranks = w->book->groups[i].ranks > ranks ? w->book->groups[i].ranks : ranks;
    for (size_t i = 0; i < w->book->n_groups; i++) {
        int sum = 0;
        for (int r = 0; r < w->book->groups[i].ranks; r++)
            sum += w->book->ranks[w->book->groups[i].base + r].threads;
        threads = sum > threads ? sum : threads;
    }
    member(w, "ranks", (uint64_t)ranks);
    member(w, "threads", (uint64_t)threads);
}

static void write_lanes(struct writer *w)
{
    begin_list(w, "lanes");
    for (int pid = 0; pid < w->book->n_ranks; pid++)
        for (int thread = 0; thread < w->book->ranks[pid].threads; thread++) {
            pmap__jot_open(&w->jot, '{');
            member(w, "rank", (uint64_t)pid);
            member(w, "thread", (uint64_t)thread);
            member_text(w, "host", w->book->ranks[pid].host);
            pmap__jot_close(&w->jot, '}');
        }
    pmap__jot_close(&w->jot, ']');
}

static void write_clocks(struct writer *w)
{
    begin_list(w, "clocks");
    for (int pid = 0; pid < w->book->n_ranks; pid++) {
        const struct pmap__book_rank *rank = &w->book->ranks[pid];
        const struct pmap__clock_look *a = &rank->clock.first, *b = &rank->clock.last;
        uint64_t theirs = w->origin + (uint64_t)a->ahead;
        pmap__jot_open(&w->jot, '{');
        member(w, "rank", (uint64_t)pid);
        member_us(w, "offset_us", rank->differs ? (int64_t)(theirs - pmap__clock_ours(&rank->clock, theirs)) : 0);
        pmap__jot_name(&w->jot, "drift_ppm");
        pmap__jot_real(&w->jot, rank->differs ? pmap__clock_drift(&rank->clock) : 0);
        member_us(w, "error_us", rank->differs ? (int64_t)(b->known && b->error > a->error ? b->error : a->error) : 0);
        pmap__jot_close(&w->jot, '}');
    }
    pmap__jot_close(&w->jot, ']');
}

static void write_lost(struct writer *w)
{
    begin_list(w, "lost");
    for (int pid = 0; pid < w->book->n_ranks; pid++) {
        if (w->book->ranks[pid].lost == 0)
            continue;
        pmap__jot_open(&w->jot, '{');
        member(w, "rank", (uint64_t)pid);
        member_us(w, "ts", since_origin(w, w->book->ranks[pid].lost));
        pmap__jot_close(&w->jot, '}');
    }
    pmap__jot_close(&w->jot, ']');
}

/* The arguments of the program, as far as they are short. */
static void write_command(struct writer *w)
{
    char command[4096];
    FILE *file = fopen("/proc/self/cmdline", "r");
    size_t n = file ? fread(command, 1, sizeof command - 1, file) : 0;

    if (file)
        fclose(file);
    while (n > 0 && command[n - 1] == '\0')
        n--;
    for (size_t i = 0; i < n; i++)
        if (command[i] == '\0')
            command[i] = ' ';
    command[n] = '\0';
    member_text(w, "command", command);
}

static void write_started(struct writer *w)
{
    int64_t ns = w->book->started - (int64_t)(w->book->since - w->origin);
    time_t seconds = (time_t)(ns / (int64_t)PMAP__S);
    struct tm tm;
    char text[40] = "";

    if (gmtime_r(&seconds, &tm))
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    member_text(w, "started", text);
}

static void write_other_data(struct writer *w)
{
    pmap__jot_name(&w->jot, "otherData");
    pmap__jot_open(&w->jot, '{');
    member_text(w, "pmap", pmap_version());
    member(w, "format", 1);
    write_command(w);
    write_started(w);
    member_bool(w, "complete", !w->book->incomplete);
    member_us(w, "end_us", since_origin(w, w->now));
    write_size(w);
    write_totals(w);
    write_lanes(w);
    write_kinds(w);
    write_clocks(w);
    write_lost(w);
    pmap__jot_close(&w->jot, '}');
}

void pmap__chrome_write(struct pmap__book *book, FILE *file)
{
    struct writer writer, *w = &writer;

    w->book = book;
    w->now = pmap__now();
    for (size_t i = 0; i < book->n_lanes; i++)
        pmap__lane_sort(&book->lanes[i]);
    find_origin(w);
    pmap__jot_begin(&w->jot, file);
    pmap__jot_open(&w->jot, '{');
    member_text(w, "displayTimeUnit", "ms");
    write_other_data(w);
    begin_list(w, "traceEvents");
    write_names(w);
    for (size_t i = 0; i < book->n_calls; i++)
        write_call(w, &book->calls[i]);
    for (size_t i = 0; i < book->n_phases; i++)
        write_phase(w, &book->phases[i]);
    for (int pid = 0; pid < book->n_ranks; pid++)
        for (size_t i = 0; i < book->ranks[pid].n; i++)
            write_chunk(w, pid, &book->ranks[pid].chunks[i]);
    for (size_t i = 0; i < book->n_lanes; i++)
        for (size_t j = 0; j < book->lanes[i].n; j++)
            write_span(w, book->lanes[i].pid, &book->lanes[i].lines[j]);
    pmap__jot_raw(&w->jot, "\n]}\n");
    pmap__jot_end(&w->jot);
}
