/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * First everything is read into arrays in the order of the file. Then these are sorted, which joins the two events of a call, or of a
 * chunk, and brings the spans of a lane together: lanes are what spans that are sorted have in common.
 */
#include "report/run.h"

#include "base/error.h"
#include "report/reader.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT 1                 /* of doc/trace.md, that this reads */
#define LATEST_US 1e14           /* three years: sums of such times are far from overflowing */
#define MOST 1e15                /* of anything that is counted */
#define MOST_RANKS 1e7
#define MOST_NAMES 4096          /* tasks, hosts, texts of errors; looked up one by one. The rest is called "(others)" */

/* ---- Arrays that grow ---- */

/* Room for one more element, zeroed; NULL: no memory. Capacities are powers of two, so n tells when one is used up. */
static void *append(void *array_pointer, size_t *n, size_t size)
{
    char *array;

    memcpy(&array, array_pointer, sizeof array);
    if ((*n & (*n - 1)) == 0) {
        array = realloc(array, (*n ? 2 * *n : 1) * size);
        if (array == NULL)
            return NULL;
        memcpy(array_pointer, &array, sizeof array);
    }
    return memset(array + (*n)++ * size, 0, size);
}

#define APPEND(run, array) append(&(run)->array, &(run)->n_##array, sizeof *(run)->array)

/* ---- Values ---- */

static double number_within(const cJSON *object, const char *key, double otherwise, double most)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);

    if (!cJSON_IsNumber(value) || isnan(value->valuedouble))
        return otherwise;
    return fmax(0, fmin(value->valuedouble, most));
}

static uint64_t count(const cJSON *object, const char *key, uint64_t otherwise)
{
    return (uint64_t)number_within(object, key, (double)otherwise, MOST);
}

static int64_t time_of(const cJSON *object, const char *key)
{
    return llround(1000 * number_within(object, key, 0, LATEST_US));
}

static int place(const cJSON *object, const char *key)
{
    return (int)number_within(object, key, 0, MOST_RANKS);
}

static double if_known(const cJSON *object, const char *key)
{
    return number_within(object, key, -1, MOST);
}

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsString(value) ? value->valuestring : "";
}

static bool is(const cJSON *object, const char *key, const char *text)
{
    return strcmp(text_of(object, key), text) == 0;
}

/* An id may be a number or a string. */
static uint64_t id_of(const cJSON *event)
{
    unsigned long long number = strtoull(text_of(event, "id"), NULL, 10);

    return number ? number < (uint64_t)MOST ? number : (uint64_t)MOST : count(event, "id", 0);
}

static bool keep_text(char **to, const char *text)
{
    free(*to);
    *to = strdup(text);
    return *to != NULL;
}

static bool keep_name(struct pmap__run *run, const char *text, uint32_t *index)
{
    if (run->n_names >= MOST_NAMES)
        text = "(others)";
    for (size_t i = 0; i < run->n_names; i++)
        if (strcmp(run->names[i], text) == 0) {
            *index = (uint32_t)i;
            return true;
        }
    char *copy = strdup(text), **slot = copy ? APPEND(run, names) : NULL;
    if (slot == NULL) {
        free(copy);
        return false;
    }
    *slot = copy;
    *index = (uint32_t)(run->n_names - 1);
    return true;
}

const char *pmap__run_name(const struct pmap__run *run, uint32_t name)
{
    return name < run->n_names ? run->names[name] : "";
}

/* ---- What is beside the events ---- */

static bool take_lane(struct pmap__run *run, const cJSON *value)
{
    struct pmap__lane *lane = APPEND(run, lanes);

    if (lane == NULL)
        return false;
    lane->rank = place(value, "rank");
    lane->thread = place(value, "thread");
    return keep_name(run, text_of(value, "host"), &lane->rank_index); /* until there are ranks */
}

static bool take_histogram(struct pmap__total *total, const cJSON *bins)
{
    const cJSON *value;

    cJSON_ArrayForEach(value, bins) {
        struct pmap__bin *bin = append(&total->histogram, &total->n_histogram, sizeof *bin);
        const cJSON *from = cJSON_GetArrayItem(value, 0), *to = cJSON_GetArrayItem(value, 1), *items = cJSON_GetArrayItem(value, 2);
        if (bin == NULL)
            return false;
        bin->from = cJSON_IsNumber(from) ? llround(1000 * fmax(0, fmin(from->valuedouble, LATEST_US))) : 0;
        bin->to = cJSON_IsNumber(to) ? llround(1000 * fmax(0, fmin(to->valuedouble, LATEST_US))) : 0;
        bin->items = cJSON_IsNumber(items) ? (uint64_t)fmax(0, fmin(items->valuedouble, MOST)) : 0;
    }
    return true;
}

static bool take_total(struct pmap__run *run, const cJSON *value)
{
    struct pmap__total *total = APPEND(run, totals);

    if (total == NULL)
        return false;
    total->calls = count(value, "calls", 1);
    total->items = count(value, "items", 0);
    total->failed = count(value, "failed", 0);
    total->given_up = count(value, "given_up", 0);
    total->skipped = count(value, "skipped", 0);
    total->busy = time_of(value, "busy_us");
    total->shortest = time_of(value, "min_us");
    total->longest = time_of(value, "max_us");
    return keep_name(run, text_of(value, "call"), &total->function) && keep_name(run, text_of(value, "task"), &total->task) &&
           take_histogram(total, cJSON_GetObjectItemCaseSensitive(value, "histogram"));
}

static bool take_each(struct pmap__run *run, const cJSON *array, bool (*take)(struct pmap__run *run, const cJSON *value))
{
    const cJSON *value;

    cJSON_ArrayForEach(value, array)
        if (!take(run, value))
            return false;
    return true;
}

static bool take_clock(struct pmap__run *run, const cJSON *value)
{
    int64_t error = time_of(value, "error_us");

    run->clock_error = error > run->clock_error ? error : run->clock_error;
    return true;
}

static bool take_lost(struct pmap__run *run, const cJSON *value)
{
    struct pmap__rank *rank = APPEND(run, ranks); /* until there are all of them */

    if (rank == NULL)
        return false;
    rank->rank = place(value, "rank");
    rank->lost = time_of(value, "ts");
    return true;
}

static bool take_other_data(struct pmap__run *run, const cJSON *data)
{
    run->is_pmap = cJSON_IsString(cJSON_GetObjectItemCaseSensitive(data, "pmap"));
    run->format = (int)number_within(data, "format", 0, 1e6);
    run->complete = !cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(data, "complete"));
    run->end = time_of(data, "end_us");
    run->spans_noted = count(data, "spans", 0);
    run->spans_kept = count(data, "kept", 0);
    run->items = count(data, "items", 0);
    run->failed = count(data, "failed", 0);
    run->given_up = count(data, "given_up", 0);
    run->skipped = count(data, "skipped", 0);
    return keep_text(&run->command, text_of(data, "command")) && keep_text(&run->started, text_of(data, "started")) &&
           keep_text(&run->version, text_of(data, "pmap")) &&
           take_each(run, cJSON_GetObjectItemCaseSensitive(data, "lanes"), take_lane) &&
           take_each(run, cJSON_GetObjectItemCaseSensitive(data, "tasks"), take_total) &&
           take_each(run, cJSON_GetObjectItemCaseSensitive(data, "clocks"), take_clock) &&
           take_each(run, cJSON_GetObjectItemCaseSensitive(data, "lost"), take_lost);
}

static bool take_value(void *owner, const char *key, const cJSON *value)
{
    return strcmp(key, "otherData") != 0 || take_other_data(owner, value);
}

/* ---- Events ---- */

static bool take_span(struct pmap__run *run, const cJSON *event, const cJSON *args)
{
    struct pmap__report_span *s = APPEND(run, spans);

    if (s == NULL)
        return false;
    s->rank = place(event, "pid");
    s->thread = place(event, "tid");
    s->begin = time_of(event, "ts");
    s->end = s->begin + time_of(event, "dur");
    s->busy = cJSON_HasObjectItem(args, "busy_us") ? time_of(args, "busy_us") : s->end - s->begin;
    if (s->busy > s->end - s->begin)
        s->busy = s->end - s->begin;
    s->item = count(args, "item", 0);
    s->n = count(args, "n", 1);
    s->n = s->n ? s->n : 1;
    s->longest = cJSON_HasObjectItem(args, "longest_us") ? time_of(args, "longest_us") : llround(pmap__span_item(s));
    s->number = count(args, "call", 0);
    s->chunk = count(args, "chunk", 0);
    s->failed = count(args, "failed", is(args, "status", "failed"));
    s->given_up = count(args, "given_up", is(args, "status", "given_up"));
    s->attempt = (int)number_within(args, "attempt", 1, 1e6);
    return keep_name(run, text_of(event, "name"), &s->task);
}

static bool take_call(struct pmap__run *run, const cJSON *event, const cJSON *args)
{
    struct pmap__call *c = APPEND(run, calls);

    if (c == NULL)
        return false;
    c->ends = is(event, "ph", "e");
    c->number = id_of(event);
    c->to = count(args, "to", c->number);
    c->calls = count(args, "calls", 1);
    c->begin = c->end = time_of(event, "ts");
    c->n = count(args, "n", 0);
    c->chunksize = count(args, "chunksize", 0);
    c->items = count(args, "items", 0);
    c->failed = count(args, "failed", 0);
    c->given_up = count(args, "given_up", 0);
    c->skipped = count(args, "skipped", 0);
    c->known = count(args, "known", 0);
    c->retried = count(args, "retried", 0);
    c->error = PMAP__NONE;
    return keep_name(run, text_of(args, "function"), &c->function) && keep_name(run, text_of(args, "task"), &c->task) &&
           keep_name(run, text_of(args, "status"), &c->status) &&
           (text_of(args, "error")[0] == 0 || keep_name(run, text_of(args, "error"), &c->error));
}

static bool take_chunk(struct pmap__run *run, const cJSON *event, const cJSON *args)
{
    struct pmap__chunk *c = APPEND(run, chunks);

    if (c == NULL)
        return false;
    c->ends = is(event, "ph", "e");
    c->number = id_of(event);
    c->call_number = count(args, "call", 0);
    c->begin = c->end = time_of(event, "ts");
    c->rank = place(event, "pid");
    c->item = count(args, "item", 0);
    c->n = count(args, "n", 0);
    c->chunks = count(args, "chunks", 1);
    c->bytes_out = count(args, "bytes_out", 0);
    c->bytes_in = count(args, "bytes_in", 0);
    c->send = time_of(args, "send_us");
    c->transfer = time_of(args, "transfer_us");
    c->queue = time_of(args, "queue_us");
    c->run = time_of(args, "run_us");
    c->answer = time_of(args, "answer_us");
    return keep_name(run, text_of(args, "status"), &c->status);
}

static bool fill_phase(struct pmap__run *run, struct pmap__report_phase *p, const cJSON *event, const cJSON *args)
{
    if (p == NULL)
        return false;
    p->number = count(args, "call", 0);
    p->begin = time_of(event, "ts");
    p->end = p->begin + time_of(event, "dur");
    p->rank = place(event, "pid");
    p->thread = place(event, "tid");
    p->items = if_known(args, "items");
    p->records_in = if_known(args, "records_in");
    p->records_out = if_known(args, "records_out");
    p->bytes_in = if_known(args, "bytes_in");
    p->bytes_out = if_known(args, "bytes_out");
    p->bytes_sent = if_known(args, "bytes_sent");
    p->bytes_spilled = if_known(args, "bytes_spilled");
    return keep_name(run, text_of(event, "name"), &p->name);
}

static bool take_phase(struct pmap__run *run, const cJSON *event, const cJSON *args)
{
    return fill_phase(run, APPEND(run, phases), event, args);
}

static bool take_startup(struct pmap__run *run, const cJSON *event, const cJSON *args)
{
    return fill_phase(run, APPEND(run, startups), event, args);
}

static const struct {
    const char *cat, *ph;
    bool (*take)(struct pmap__run *run, const cJSON *event, const cJSON *args);
} kinds[] = {
    {"items", "X", take_span},    {"calls", "b", take_call},    {"calls", "e", take_call}, {"chunks", "b", take_chunk},
    {"chunks", "e", take_chunk},  {"phase", "X", take_phase},   {"startup", "X", take_startup},
};

static bool take_event(void *owner, const cJSON *event)
{
    const char *cat = text_of(event, "cat"), *ph = text_of(event, "ph");

    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
        if (strcmp(kinds[k].cat, cat) == 0 && strcmp(kinds[k].ph, ph) == 0)
            return kinds[k].take(owner, event, cJSON_GetObjectItemCaseSensitive(event, "args"));
    return true; /* of a kind that is not for us */
}

/* ---- Bringing together what belongs together ---- */

#define COMPARE(a, b) (((a) > (b)) - ((a) < (b)))

static int spans_by_lane(const void *left, const void *right)
{
    const struct pmap__report_span *a = left, *b = right;
    int order = COMPARE(a->rank, b->rank);

    order = order ? order : COMPARE(a->thread, b->thread);
    return order ? order : COMPARE(a->begin, b->begin);
}

static int lanes_by_rank(const void *left, const void *right)
{
    const struct pmap__lane *a = left, *b = right;
    int order = COMPARE(a->rank, b->rank);

    return order ? order : COMPARE(a->thread, b->thread);
}

static int ranks_by_number(const void *left, const void *right)
{
    const struct pmap__rank *a = left, *b = right;

    return COMPARE(a->rank, b->rank);
}

static int calls_by_number(const void *left, const void *right)
{
    const struct pmap__call *a = left, *b = right;
    int order = COMPARE(a->number, b->number);

    return order ? order : COMPARE(a->ends, b->ends);
}

static int chunks_by_number(const void *left, const void *right)
{
    const struct pmap__chunk *a = left, *b = right;
    int order = COMPARE(a->number, b->number);

    return order ? order : COMPARE(a->ends, b->ends);
}

static int chunks_by_rank(const void *left, const void *right)
{
    const struct pmap__chunk *a = left, *b = right;
    int order = COMPARE(a->rank, b->rank);

    return order ? order : COMPARE(a->begin, b->begin);
}

static void sort(void *array, size_t n, size_t size, int (*compare)(const void *, const void *))
{
    if (n > 1)
        qsort(array, n, size, compare);
}

/* The second half of a call says how it ended. One without it lasts as long as the run. */
static void join_calls(struct pmap__run *run)
{
    struct pmap__call *calls = run->calls;
    size_t n = 0;

    sort(calls, run->n_calls, sizeof *calls, calls_by_number);
    for (size_t i = 0; i < run->n_calls; i++) {
        if (!calls[i].ends) {
            calls[n] = calls[i];
            calls[n++].end = run->end;
        } else if (n > 0 && calls[n - 1].number == calls[i].number) {
            struct pmap__call begin = calls[n - 1];
            calls[n - 1] = calls[i];
            calls[n - 1].to = begin.to;
            calls[n - 1].calls = begin.calls;
            calls[n - 1].begin = begin.begin;
            calls[n - 1].function = begin.function;
            calls[n - 1].task = begin.task;
            calls[n - 1].n = begin.n;
            calls[n - 1].chunksize = begin.chunksize;
        }
    }
    run->n_calls = n;
}

static void join_chunks(struct pmap__run *run)
{
    struct pmap__chunk *chunks = run->chunks;
    size_t n = 0;

    sort(chunks, run->n_chunks, sizeof *chunks, chunks_by_number);
    for (size_t i = 0; i < run->n_chunks; i++) {
        if (!chunks[i].ends) {
            chunks[n] = chunks[i];
            chunks[n++].end = chunks[i].begin + chunks[i].send + chunks[i].transfer + chunks[i].queue + chunks[i].run + chunks[i].answer;
        } else if (n > 0 && chunks[n - 1].number == chunks[i].number) {
            chunks[n - 1].end = chunks[i].end;
        }
    }
    run->n_chunks = n;
    sort(chunks, n, sizeof *chunks, chunks_by_rank);
}

static uint32_t find_call(const struct pmap__run *run, uint64_t number)
{
    size_t low = 0, high = run->n_calls;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (run->calls[middle].to < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < run->n_calls && run->calls[low].number <= number ? (uint32_t)low : PMAP__NONE;
}

/* Lanes are those that the trace names, and those that have spans. */
static bool find_lanes(struct pmap__run *run)
{
    size_t n = 0;

    for (size_t s = 0; s < run->n_spans; s++) {
        const struct pmap__report_span *span = &run->spans[s];
        if (s > 0 && span[-1].rank == span->rank && span[-1].thread == span->thread)
            continue;
        struct pmap__lane *lane = APPEND(run, lanes);
        if (lane == NULL)
            return false;
        *lane = (struct pmap__lane){.rank = span->rank, .thread = span->thread, .rank_index = PMAP__NONE};
    }
    sort(run->lanes, run->n_lanes, sizeof *run->lanes, lanes_by_rank);
    for (size_t l = 0; l < run->n_lanes; l++) {
        struct pmap__lane *last = n ? &run->lanes[n - 1] : NULL;
        if (last == NULL || lanes_by_rank(last, &run->lanes[l]) != 0)
            run->lanes[n++] = run->lanes[l];
        else if (last->rank_index == PMAP__NONE)
            last->rank_index = run->lanes[l].rank_index;
    }
    run->n_lanes = n;
    return true;
}

/* Both are sorted alike. */
static void give_spans_to_lanes(struct pmap__run *run)
{
    size_t l = 0;

    for (size_t s = 0; s < run->n_spans; s++) {
        struct pmap__report_span *span = &run->spans[s];
        while (run->lanes[l].rank != span->rank || run->lanes[l].thread != span->thread)
            l++;
        if (run->lanes[l].n++ == 0)
            run->lanes[l].first = s;
        span->lane = (uint32_t)l;
        span->call = find_call(run, span->number);
    }
}

/* So far the only ranks are those that died. */
static bool find_ranks(struct pmap__run *run)
{
    struct pmap__rank *dead = run->ranks;
    size_t n_dead = run->n_ranks;
    bool found = true;

    run->ranks = NULL;
    run->n_ranks = 0;
    for (size_t l = 0; l < run->n_lanes && found; l++) {
        struct pmap__lane *lane = &run->lanes[l];
        struct pmap__rank *rank = run->n_ranks ? &run->ranks[run->n_ranks - 1] : NULL;
        if (rank == NULL || rank->rank != lane->rank) {
            rank = APPEND(run, ranks);
            found = rank != NULL;
            if (found)
                *rank = (struct pmap__rank){.rank = lane->rank, .host = lane->rank_index, .first = (uint32_t)l, .lost = -1};
        }
        if (found)
            rank->threads++;
        lane->rank_index = (uint32_t)(run->n_ranks - 1);
    }
    for (size_t d = 0; d < n_dead && found && run->n_ranks; d++) {
        struct pmap__rank *rank = bsearch(&dead[d], run->ranks, run->n_ranks, sizeof *rank, ranks_by_number);
        if (rank)
            rank->lost = dead[d].lost;
    }
    free(dead);
    return found;
}

static void find_ready(struct pmap__run *run)
{
    for (size_t p = 0; p < run->n_startups && run->n_ranks; p++) {
        const struct pmap__report_phase *startup = &run->startups[p];
        struct pmap__rank key = {.rank = startup->rank};
        struct pmap__rank *rank = bsearch(&key, run->ranks, run->n_ranks, sizeof key, ranks_by_number);
        bool create = strcmp(pmap__run_name(run, startup->name), "pmap_create") == 0;
        if (rank && create && (rank->ready == 0 || startup->end < rank->ready))
            rank->ready = startup->end; /* of the first pool: the time of others is between calls */
    }
}

static void find_end(struct pmap__run *run)
{
    for (size_t s = 0; s < run->n_spans; s++)
        run->end = run->spans[s].end > run->end ? run->spans[s].end : run->end;
    for (size_t c = 0; c < run->n_calls; c++)
        run->end = run->calls[c].begin > run->end ? run->calls[c].begin : run->end;
    run->end = run->end ? run->end : 1;
}

static bool bring_together(struct pmap__run *run)
{
    sort(run->spans, run->n_spans, sizeof *run->spans, spans_by_lane);
    find_end(run);
    join_calls(run);
    join_chunks(run);
    if (!find_lanes(run))
        return false;
    give_spans_to_lanes(run);
    if (!find_ranks(run))
        return false;
    find_ready(run);
    return true;
}

/* ---- All of it ---- */

static enum pmap_status check(const struct pmap__run *run, const char *name, struct pmap_error *error)
{
    if (!run->is_pmap)
        return pmap__error_set(error, PMAP_EINVAL, "pmap: %s is a Chrome trace, but of another program: it has no otherData.pmap", name);
    if (run->format != FORMAT)
        return pmap__error_set(error, PMAP_EINVAL, "pmap: %s is a trace of pmap %s in format %d, but this version reads format %d", name,
                               run->version, run->format, FORMAT);
    return PMAP_OK;
}

enum pmap_status pmap__run_read(struct pmap__run *run, FILE *in, const char *name, struct pmap_error *error)
{
    struct pmap__run read = {.complete = true};
    const struct pmap__trace_taker taker = {&read, take_event, take_value};
    enum pmap_status status = pmap__trace_read(in, name, &taker, error);

    if (status == PMAP_OK)
        status = check(&read, name, error);
    if (status == PMAP_OK && (!keep_text(&read.file, name) || !bring_together(&read)))
        status = pmap__error_set(error, PMAP_ENOMEM, "pmap: no memory for the trace %s", name);
    if (status == PMAP_OK)
        *run = read;
    else
        pmap__run_fini(&read);
    return status;
}

void pmap__run_fini(struct pmap__run *run)
{
    for (size_t i = 0; i < run->n_names; i++)
        free(run->names[i]);
    for (size_t i = 0; i < run->n_totals; i++)
        free(run->totals[i].histogram);
    free(run->file);
    free(run->command);
    free(run->started);
    free(run->version);
    free(run->names);
    free(run->spans);
    free(run->lanes);
    free(run->ranks);
    free(run->calls);
    free(run->chunks);
    free(run->phases);
    free(run->startups);
    free(run->totals);
    *run = (struct pmap__run){0};
}
