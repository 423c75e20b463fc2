/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "report/advice.h"

#include "report/deals.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct find {
    struct pmap__advices *advices;
    const struct pmap__run *run;
    const struct pmap__losses *losses;
    const struct pmap__figures *figures;
    struct pmap__deals deals;  /* sorted by function, task and chunksize */
    double length;             /* of the run */
    double *slower;            /* how many times as long each rank takes for alike items: 1, or what is certainly more */
    bool uneven;               /* some rank is slow: then items are long for another reason than their own */
    bool no_memory;
};

static const char *const topic_names[PMAP__TOPICS] = {
    [PMAP__SMALLER_CHUNKS] = "smaller_chunks", [PMAP__LARGER_CHUNKS] = "larger_chunks", [PMAP__LONGEST_FIRST] = "longest_first",
    [PMAP__LONGEST_ITEM] = "longest_item",     [PMAP__SMALL_CALLS] = "small_calls",     [PMAP__ALONE] = "alone",
    [PMAP__CREATION] = "creation",             [PMAP__MESSAGES] = "messages",           [PMAP__WAITS] = "waits",
    [PMAP__FAILURES_COST] = "failures",        [PMAP__SLOW_RANK] = "slow_rank",         [PMAP__FEWER_LANES] = "fewer_lanes",
};

const char *pmap__topic_name(enum pmap__topic topic)
{
    return topic_names[topic];
}

/* ---- Words ---- */

/* A time as people say it: 3 us, 12.5 ms, 2 min 5 s. */
struct said {
    char text[32];
};

static struct said say_time(double ns)
{
    struct said said;
    int digits = ns > 0 ? 2 - (int)floor(log10(ns)) % 3 : 0;

    if (ns >= 7200e9)
        snprintf(said.text, sizeof said.text, "%.0f h %.0f min", floor(ns / 3600e9), floor(fmod(ns, 3600e9) / 60e9));
    else if (ns >= 120e9)
        snprintf(said.text, sizeof said.text, "%.0f min %.0f s", floor(ns / 60e9), floor(fmod(ns, 60e9) / 1e9));
    else if (ns >= 1e9)
        snprintf(said.text, sizeof said.text, "%.*f s", ns >= 10e9 ? 1 : 2, ns / 1e9);
    else if (ns >= 1e6)
        snprintf(said.text, sizeof said.text, "%.*f ms", digits, ns / 1e6);
    else if (ns >= 1e3)
        snprintf(said.text, sizeof said.text, "%.*f us", digits, ns / 1e3);
    else
        snprintf(said.text, sizeof said.text, "%.0f ns", ns);
    return said;
}

static struct said say_bytes(double bytes)
{
    static const char *const units[] = {"bytes", "KB", "MB", "GB", "TB", "PB"};
    struct said said;
    size_t unit = 0;

    for (; bytes >= 1000 && unit < 5; unit++)
        bytes /= 1000;
    snprintf(said.text, sizeof said.text, "%.*f %s", unit > 0 && bytes < 10 ? 1 : 0, bytes, units[unit]);
    return said;
}

/* 1 item, 2 items */
static struct said say_count(double n, const char *noun)
{
    struct said said;

    snprintf(said.text, sizeof said.text, "%.0f %s%s", n, noun, n == 1 ? "" : "s"); /* nouns are ours, and short */
    return said;
}

static double percent(double part, double all)
{
    return all > 0 ? 100 * part / all : 0;
}

/* ---- Making a piece of advice ---- */

static struct pmap__advice *add(struct find *f, enum pmap__topic topic, double saved, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Its title is as printf would have it; the text is still to be said. NULL: no memory, and that is noted. */
static struct pmap__advice *add(struct find *f, enum pmap__topic topic, double saved, const char *format, ...)
{
    struct pmap__advices *advices = f->advices;
    struct pmap__advice *list = realloc(advices->list, (advices->n + 1) * sizeof *list);
    va_list args;

    if (list == NULL) {
        f->no_memory = true;
        return NULL;
    }
    advices->list = list;
    struct pmap__advice *advice = &list[advices->n++];
    *advice = (struct pmap__advice){.topic = topic, .share = saved / f->length, .saved = saved};
    va_start(args, format);
    vsnprintf(advice->title, sizeof advice->title, format, args);
    va_end(args);
    return advice;
}

static void say(struct pmap__advice *advice, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* More of its text. */
static void say(struct pmap__advice *advice, const char *format, ...)
{
    size_t used = advice ? strlen(advice->text) : 0;
    va_list args;

    if (advice == NULL)
        return;
    va_start(args, format);
    vsnprintf(advice->text + used, sizeof advice->text - used, format, args);
    va_end(args);
}

static bool matters(const struct find *f, double saved)
{
    return saved > PMAP__MATTERS * f->length;
}

/* Time of threads, as time of the run: that of all lanes at once. */
static double of_run(const struct find *f, double lane_time)
{
    return f->losses->lane_time > 0 ? lane_time / f->losses->lane_time * f->length : 0;
}

static const char *name(const struct find *f, uint32_t index)
{
    return pmap__run_name(f->run, index);
}

static size_t lanes(const struct find *f)
{
    return f->run->n_lanes;
}

/* ---- Slow ranks ---- */

#define SLOW 1.25        /* times as long for the same items: less is not worth a complaint */
#define ENOUGH_PAIRS 20

/* How much longer a rank takes for alike items: of each two neighbouring items of a call that ran on different ranks, the ratio; of these
 * the median, so that neither a few long items nor an order in which items get longer make a rank look slow. */
struct ratios {
    double *logs;
    size_t n;
};

static int by_value(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

static bool is_pair(const struct find *f, const struct pmap__report_span *a, const struct pmap__report_span *b)
{
    return a->call == b->call && a->call != PMAP__NONE && a->busy > 0 && b->busy > 0 && a->rank != b->rank &&
           !a->failed && !b->failed && f->run->calls[a->call].calls == 1;
}

/* Each rank's ratios, behind one another in logs. */
static void pair_up(const struct find *f, struct ratios *ratios, double *logs)
{
    const struct pmap__report_span *spans = f->deals.spans;
    const struct pmap__lane *all = f->run->lanes;

    for (int fill = 0; fill < 2; fill++) {
        for (size_t s = 0; s + 1 < f->deals.n_spans; s++) {
            if (!is_pair(f, &spans[s], &spans[s + 1]))
                continue;
            struct ratios *a = &ratios[all[spans[s].lane].rank_index], *b = &ratios[all[spans[s + 1].lane].rank_index];
            double ratio = log(pmap__span_item(&spans[s]) / pmap__span_item(&spans[s + 1]));
            if (fill) {
                a->logs[a->n] = ratio;
                b->logs[b->n] = -ratio;
            }
            a->n++;
            b->n++;
        }
        for (size_t r = 0; r < f->run->n_ranks && !fill; r++) {
            ratios[r].logs = logs;
            logs += ratios[r].n;
            ratios[r].n = 0;
        }
    }
}

/* The median, and by how much it could be chance: three times the error of a median, from the middle half of the values. */
static double slowness(struct ratios *ratios)
{
    size_t n = ratios->n;

    if (n < ENOUGH_PAIRS)
        return 1;
    qsort(ratios->logs, n, sizeof *ratios->logs, by_value);
    double error = 0.93 * (ratios->logs[3 * n / 4] - ratios->logs[n / 4]) / sqrt((double)n);
    return ratios->logs[n / 2] > 3 * error ? exp(ratios->logs[n / 2]) : 1;
}

/* What the calls would have taken if the slow ranks of this host had been as fast as others; the others stay as they are. And how many they
 * are, and how slow. */
static double without_slow(struct find *f, uint32_t host, double *now, size_t *n, double *most)
{
    double *only = malloc((f->run->n_ranks + 1) * sizeof *only), length;

    *now = *most = 0;
    *n = 0;
    for (size_t r = 0; r < f->run->n_ranks && only; r++) {
        bool slow = f->run->ranks[r].host == host && f->slower[r] >= SLOW;
        only[r] = slow ? f->slower[r] : 1;
        *n += slow;
        *most = fmax(*most, only[r]);
    }
    for (size_t d = 0; d < f->deals.n; d++)
        *now += f->deals.list[d].length;
    length = only ? pmap__deals_faster(f->run, &f->deals, only) : -1;
    f->no_memory = f->no_memory || length < 0;
    free(only);
    return length < 0 ? *now : length;
}

/* Of a host all slow ranks together: it is usually the host. */
static void advise_slow(struct find *f, const struct pmap__rank *first)
{
    const char *host = name(f, first->host);
    struct pmap__advice *advice;
    double now, most;
    size_t n;
    double length = without_slow(f, first->host, &now, &n, &most);

    if (!matters(f, now - length))
        return;
    advice = n > 1 ? add(f, PMAP__SLOW_RANK, now - length, "%zu ranks on %s are slow", n, host[0] ? host : "one host")
                   : add(f, PMAP__SLOW_RANK, now - length, "Rank %d%s%s is slow", first->rank, host[0] ? " on " : "", host);
    say(advice, "Alike items, that is neighbours in the same call, took %.1f times as long there as on other ranks. At the speed of the others the calls would"
        " have taken %s instead of %s. Is something else running on that node, are there more threads than cores, or is the data further away?", most,
        say_time(length).text, say_time(now).text);
}

static bool is_first_slow_of_host(const struct find *f, size_t r)
{
    if (f->slower[r] < SLOW)
        return false;
    for (size_t other = 0; other < r; other++)
        if (f->slower[other] >= SLOW && f->run->ranks[other].host == f->run->ranks[r].host)
            return false;
    return true;
}

static void compare_ranks(struct find *f)
{
    struct ratios *ratios = calloc(f->run->n_ranks + 1, sizeof *ratios);
    double *logs = malloc((2 * f->deals.n_spans + 1) * sizeof *logs);

    f->slower = calloc(f->run->n_ranks + 1, sizeof *f->slower);
    if (ratios && logs && f->slower) {
        pair_up(f, ratios, logs);
        for (size_t r = 0; r < f->run->n_ranks; r++) {
            f->slower[r] = slowness(&ratios[r]);
            f->uneven = f->uneven || f->slower[r] >= SLOW;
        }
    } else {
        f->no_memory = true;
    }
    free(ratios);
    free(logs);
}

static void advise_slow_ranks(struct find *f)
{
    for (size_t r = 0; r < f->run->n_ranks && f->slower; r++)
        if (is_first_slow_of_host(f, r))
            advise_slow(f, &f->run->ranks[r]);
}

/* ---- How items were dealt out ---- */

/* Calls of one function, task and chunksize, together. */
struct group {
    struct pmap__deal sum;     /* of times */
    struct pmap__deal largest; /* the longest call of them */
    size_t calls, items;
};

static const struct pmap__call *call_of(const struct find *f, const struct pmap__deal *deal)
{
    return &f->run->calls[deal->call];
}

static bool is_same_kind(const struct find *f, const struct pmap__deal *a, const struct pmap__deal *b)
{
    return call_of(f, a)->function == call_of(f, b)->function && call_of(f, a)->task == call_of(f, b)->task && a->chunksize == b->chunksize;
}

static void group_add(struct group *g, const struct pmap__deal *d, size_t items)
{
    g->calls++;
    g->items += items;
    g->sum.length += d->length;
    g->sum.busy += d->busy;
    g->sum.with_better += d->with_better;
    g->sum.longest_first += d->longest_first;
    g->sum.longest = fmax(g->sum.longest, d->longest);
    g->sum.longest_chunk = fmax(g->sum.longest_chunk, d->longest_chunk);
    g->sum.hand_out = fmax(g->sum.hand_out, d->hand_out);
    if (d->length > g->largest.length)
        g->largest = *d;
}

static void say_calls(struct pmap__advice *advice, const struct find *f, const struct group *g)
{
    const struct pmap__call *call = call_of(f, &g->largest);

    say(advice, "%s %s", name(f, call->function), name(f, call->task));
    if (g->calls > 1)
        say(advice, " (%zu calls)", g->calls);
}

static void say_instead(struct pmap__advice *advice, const struct group *g, double length)
{
    say(advice, " would have taken %s instead of %s, %.0f %% less.", say_time(length).text, say_time(g->sum.length).text,
        percent(g->sum.length - length, g->sum.length));
}

static void advise_chunks(struct find *f, const struct group *g)
{
    size_t chunksize = g->largest.chunksize, better = g->largest.better;
    double saved = g->sum.length - g->sum.with_better;
    const char *task = name(f, call_of(f, &g->largest)->task);
    bool smaller = chunksize == 0 || better < chunksize;
    struct pmap__advice *advice;

    if (better == chunksize || !matters(f, saved))
        return;
    advice = add(f, smaller ? PMAP__SMALLER_CHUNKS : PMAP__LARGER_CHUNKS, saved, "%s chunks for %s: .chunksize = %zu",
                 smaller ? "Smaller" : "Larger", task, better);
    say_calls(advice, f, g);
    if (chunksize == 0)
        say(advice, ": the library's chunks, sized by the mean, were too large for items as uneven as these: %s on average, the longest %s.",
            say_time(g->sum.busy / (double)g->items).text, say_time(g->sum.longest).text);
    else if (smaller)
        say(advice, ": chunks of %s took up to %s, and the other threads had nothing left to do until the last of them had finished.",
            say_count((double)chunksize, "item").text, say_time(g->sum.longest_chunk).text);
    else
        say(advice, ": chunks of %s ran for %s on average, and each cost its thread another %s until the next one was there.",
            say_count((double)chunksize, "item").text, say_time(g->sum.busy * (double)chunksize / (double)g->items).text,
            say_time(g->sum.hand_out).text);
    say(advice, " With .chunksize = %zu the same items", better);
    say_instead(advice, g, g->sum.with_better);
    if (!smaller)
        say(advice, " Without .chunksize %s.", strncmp(name(f, call_of(f, &g->largest)->function), "pmap_imap", 9) == 0
            ? "a stream hands out items one by one" : "the library chooses one that fits");
}

static void advise_order(struct find *f, const struct group *g)
{
    double chunks = g->sum.length - g->sum.with_better, now = matters(f, chunks) ? g->sum.with_better : g->sum.length;
    struct pmap__advice *advice;

    if (!matters(f, now - g->sum.longest_first))
        return;
    advice = add(f, PMAP__LONGEST_FIRST, now - g->sum.longest_first, "Begin the longest items of %s first: .cost",
                 name(f, call_of(f, &g->largest)->task));
    say_calls(advice, f, g);
    say(advice, ": items took %s on average and the longest %s; long ones that were begun late kept the others waiting.",
        say_time(g->sum.busy / (double)g->items).text, say_time(g->sum.longest).text);
    say(advice, " With .cost, estimates of how long each item takes, which need not be exact, %s",
        now < g->sum.length ? "and smaller chunks the same items" : "the same items");
    say_instead(advice, g, g->sum.longest_first);
}

/* An item that alone takes as long as the call at its best leaves nothing to scheduling. */
static void advise_longest(struct find *f, const struct group *g)
{
    const struct pmap__deal *d = &g->largest;
    double even = d->busy / (double)lanes(f), saved = d->longest_first - even;
    struct pmap__advice *advice;

    if (d->longest < 0.9 * d->longest_first || d->longest * (double)g->items < 2 * g->sum.busy || !matters(f, saved))
        return; /* it is not, or they all are long, and few */
    advice = add(f, PMAP__LONGEST_ITEM, saved, "The longest item of %s is as long as the whole call", name(f, call_of(f, d)->task));
    say_calls(advice, f, g);
    say(advice, ": one item took %s, and all of them together no more than %s on each of %zu threads. No order of the items can make the call"
        " shorter than its longest item: cut that into several, or use the threads inside of it.",
        say_time(d->longest).text, say_time(even).text, lanes(f));
}

static void advise_dealing(struct find *f)
{
    for (size_t d = 0; d < f->deals.n;) {
        struct group group = {.calls = 0};
        size_t first = d;
        for (; d < f->deals.n && is_same_kind(f, &f->deals.list[first], &f->deals.list[d]); d++)
            group_add(&group, &f->deals.list[d], (size_t)call_of(f, &f->deals.list[d])->items);
        group.items = group.items ? group.items : 1;
        if (lanes(f) > 1) {
            advise_chunks(f, &group);
        }
        if (lanes(f) > 1 && !f->uneven) {
            advise_order(f, &group);
            advise_longest(f, &group);
        }
    }
}

/* ---- Calls of few items, one after the other ---- */

static void advise_small_calls_of(struct find *f, const struct pmap__total *total)
{
    double length = 0, idle = 0, saved, calls = 0, n = 0;
    int64_t latest = 0;

    for (size_t c = 0; c < f->run->n_calls; c++) {
        const struct pmap__call *call = &f->run->calls[c];
        if (call->function != total->function || call->task != total->task)
            continue;
        if (call->begin < latest)
            return; /* some of them were at the same time */
        latest = call->end;
        length += (double)(call->end - call->begin);
        calls += (double)call->calls;
        n += (double)call->n;
        idle += f->losses->of_call[c][PMAP__WAITING] + f->losses->of_call[c][PMAP__TRANSFER];
    }
    if (calls < 2 || n > calls * (double)lanes(f) / 2)
        return; /* one, or with items enough */
    double together = pmap__deals_as_one(f->run, &f->deals, total->function, total->task, fmin(1e6, idle / fmax(n, 1)));
    f->no_memory = f->no_memory || together < 0;
    saved = length - together;
    if (together < 0 || !matters(f, saved))
        return;
    struct pmap__advice *advice = add(f, PMAP__SMALL_CALLS, saved, "One call for all items of %s", name(f, total->task));
    say(advice, "%.0f calls of %s %s, one after the other, had %.*f items each, for %zu threads. If none needs the result of the one before,"
        " a single pmap_map, or pmap_apply_async and pmap_wait, would have taken %s instead of %s.", calls, name(f, total->function),
        name(f, total->task), n / calls == floor(n / calls) ? 0 : 1, n / calls, lanes(f), say_time(together).text, say_time(length).text);
}

static void advise_small_calls(struct find *f)
{
    for (size_t t = 0; t < f->run->n_totals; t++)
        if (lanes(f) > 1 && strncmp(name(f, f->run->totals[t].function), "pmap_imap", 9) != 0 &&
            strcmp(name(f, f->run->totals[t].function), "pmap_mapreduce") != 0)
            advise_small_calls_of(f, &f->run->totals[t]);
}

/* ---- Times without items ---- */

static void advise_alone(struct find *f)
{
    const struct pmap__pause *longest = &f->losses->longest;
    double alone = f->losses->alone, saved = alone * (1 - 1 / (double)(lanes(f) ? lanes(f) : 1));

    if (!matters(f, saved))
        return;
    struct pmap__advice *advice = add(f, PMAP__ALONE, saved, "The program itself ran for %s while all threads were idle", say_time(alone).text);
    say(advice, "That is %.0f %% of the run in which there was no call. The longest of these times was %s, from %s on", percent(alone, f->length),
        say_time((double)(longest->end - longest->begin)).text, say_time((double)longest->begin).text);
    if (longest->after != PMAP__NONE)
        say(advice, ", after %s %s", name(f, f->run->calls[longest->after].function), name(f, f->run->calls[longest->after].task));
    else
        say(advice, ", before the first call");
    say(advice, ". Could some of it be items, too? pmap_map_async and streams run items while the program goes on.");
}

/* A tenth of a second is what it takes to start a job; nobody can do much about that. */
#define USUAL_CREATION 1e8

static void advise_creation(struct find *f)
{
    const struct pmap__report_phase *slowest = NULL;
    double ready = 0;

    for (size_t r = 0; r < f->run->n_ranks; r++)
        ready = fmax(ready, (double)f->run->ranks[r].ready);
    for (size_t s = 0; s < f->run->n_startups; s++) {
        const struct pmap__report_phase *startup = &f->run->startups[s];
        bool initializer = strstr(name(f, startup->name), "initializer") != NULL;
        if (initializer && (slowest == NULL || startup->end - startup->begin > slowest->end - slowest->begin))
            slowest = startup;
    }
    if (!matters(f, ready) || ready < USUAL_CREATION)
        return;
    struct pmap__advice *advice = add(f, PMAP__CREATION, ready, "Creating the pool took %s", say_time(ready).text);
    say(advice, "%.0f %% of the run had passed before the last rank could run items.", percent(ready, f->length));
    if (slowest && (double)(slowest->end - slowest->begin) > 0.3 * ready)
        say(advice, " The longest %s took %s, on rank %d.", name(f, slowest->name), say_time((double)(slowest->end - slowest->begin)).text, slowest->rank);
    say(advice, " It is paid once for each pool: let one pool serve all calls of a run, and give a run more to do.");
}

/* ---- Messages, and what else threads waited for ---- */

/* Larger than this, the bytes of an item matter more than the message that they are in. */
#define LARGE_ITEM 4096

/* Map-reduces have phases, which wait for each other, and data that must be moved: their waits are not for the hand-out. */
static bool is_mapreduce(const struct find *f, const struct pmap__call *call)
{
    return strcmp(name(f, call->function), "pmap_mapreduce") == 0;
}

static void advise_messages(struct find *f)
{
    double lost = 0, saved, items = 0, out = 0, in = 0;

    for (size_t c = 0; c < f->run->n_calls; c++)
        lost += is_mapreduce(f, &f->run->calls[c]) ? 0 : f->losses->of_call[c][PMAP__TRANSFER];
    saved = of_run(f, lost);
    for (size_t c = 0; c < f->run->n_chunks; c++) {
        items += (double)f->run->chunks[c].n;
        out += (double)f->run->chunks[c].bytes_out;
        in += (double)f->run->chunks[c].bytes_in;
    }
    if (!matters(f, saved) || items == 0)
        return;
    struct pmap__advice *advice = add(f, PMAP__MESSAGES, saved, "Threads waited for messages for %.0f %% of their time", percent(lost, f->losses->lane_time));
    say(advice, "%s of items went to other ranks and %s of results came back: %s", say_bytes(out).text, say_bytes(in).text, say_bytes(out / items).text);
    say(advice, " an item on the way out, %s on the way back.", say_bytes(in / items).text);
    if (out / items > LARGE_ITEM)
        say(advice, " What many items have in common can be sent once with pmap_share; or let an item be a name, such as that of a file, and read it"
            " where it is needed.");
    else if (in / items > LARGE_ITEM)
        say(advice, " Results may be smaller if they are reduced where they are made: pmap_reduce.");
    else
        say(advice, " That is little: it is the messages, not their bytes. Longer items, or more of them in a chunk, need fewer.");
}

static bool is_advised(const struct find *f, enum pmap__topic topic)
{
    for (size_t a = 0; a < f->advices->n; a++)
        if (f->advices->list[a].topic == topic)
            return true;
    return false;
}

static void advise_streams(struct find *f, double lost)
{
    struct pmap__advice *advice = add(f, PMAP__WAITS, of_run(f, lost), "Threads waited for the stream for %.0f %% of their time", percent(lost, f->losses->lane_time));

    say(advice, "Either its generator is slower than the threads: let it make less, and the task more, of an item. Or results are taken late, and a stream has"
        " no more items under way than .buffersize: a larger one bridges pauses of the consumer.");
}

static void advise_root(struct find *f, double lost)
{
    struct pmap__advice *advice = add(f, PMAP__WAITS, of_run(f, lost), "Threads waited between items for %.0f %% of their time", percent(lost, f->losses->lane_time));

    say(advice, "Nothing was on its way to them: it was the hand-out. Items took %s on average; fewer and longer ones need less of it.",
        say_time(f->figures->items_busy / fmax(1, (double)f->run->items)).text);
    if (f->run->n_ranks > 1)
        say(advice, " With .dedicated_root = true the root runs no items, and always has time for it.");
}

/* Waiting that no other chunksize would have avoided, as far as a replay tells. */
static void advise_waits(struct find *f)
{
    double streams = 0, others = 0;

    for (size_t c = 0; c < f->run->n_calls; c++)
        if (strncmp(name(f, f->run->calls[c].function), "pmap_imap", 9) == 0)
            streams += f->losses->of_call[c][PMAP__WAITING];
        else if (!is_mapreduce(f, &f->run->calls[c]))
            others += f->losses->of_call[c][PMAP__WAITING];
    if (is_advised(f, PMAP__LARGER_CHUNKS) || is_advised(f, PMAP__SMALL_CALLS))
        return;
    if (matters(f, of_run(f, streams)))
        advise_streams(f, streams);
    if (matters(f, of_run(f, others)))
        advise_root(f, others);
}

/* ---- Failures ---- */

static void advise_failures(struct find *f)
{
    double lost = f->losses->all[PMAP__FAILED], saved = of_run(f, lost), retried = 0;

    for (size_t c = 0; c < f->run->n_calls; c++)
        retried += (double)f->run->calls[c].retried;
    if (!matters(f, saved))
        return;
    struct pmap__advice *advice = add(f, PMAP__FAILURES_COST, saved, "Items that failed took %.0f %% of the threads' time", percent(lost, f->losses->lane_time));
    say(advice, "%s failed", say_count((double)f->run->failed, "run").text);
    if (f->run->given_up)
        say(advice, " and %.0f gave up", (double)f->run->given_up);
    say(advice, " of %.0f, after %s of work altogether; %s.", (double)f->run->items, say_time(lost).text, retried > 0
        ? say_count(retried, "retry").text : "none was run again");
    say(advice, " See below which, and whether a task can notice earlier that it will fail.");
}

/* ---- Too many threads ---- */

static void advise_fewer(struct find *f)
{
    double now = 0, halved = 0, quartered = 0, busy = 0;
    size_t idle = 0, fewer = lanes(f);

    for (size_t d = 0; d < f->deals.n; d++) {
        now += fmin(f->deals.list[d].length, f->deals.list[d].dealt);
        halved += f->deals.list[d].halved;
        quartered += f->deals.list[d].quartered;
        busy += f->deals.list[d].busy;
    }
    for (size_t l = 0; l < lanes(f); l++)
        idle += f->run->lanes[l].n == 0;
    bool all_played = busy > 0.95 * f->figures->items_busy && busy > 0;
    if (all_played && !matters(f, halved - now))
        fewer = (lanes(f) + 1) / 2;
    if (all_played && !matters(f, quartered - now))
        fewer = (lanes(f) + 3) / 4;
    if (fewer > lanes(f) - idle && (double)idle > PMAP__MATTERS * (double)lanes(f))
        fewer = lanes(f) - idle;
    if (fewer == lanes(f) || !matters(f, f->figures->items_busy / (double)lanes(f)))
        return; /* or next to nothing was run at all */
    struct pmap__advice *advice = add(f, PMAP__FEWER_LANES, 0, "%s would do", say_count((double)fewer, "thread").text);
    if (idle > 0)
        say(advice, "%zu of %zu threads ran nothing at all. ", idle, lanes(f));
    if (fewer < lanes(f) - idle)
        say(advice, "With %zu instead of %zu threads all calls together would have taken %s instead of %s, at their best. ", fewer, lanes(f),
            say_time(fewer == (lanes(f) + 3) / 4 ? quartered : halved).text, say_time(now).text);
    say(advice, "Others could use these cores; or give the run more items.");
}

/* ---- All of it ---- */

static int by_kind(const void *left, const void *right, void *user)
{
    const struct pmap__deal *a = left, *b = right;
    const struct pmap__call *calls = user, *x = &calls[a->call], *y = &calls[b->call];

    if (x->function != y->function)
        return x->function < y->function ? -1 : 1;
    if (x->task != y->task)
        return x->task < y->task ? -1 : 1;
    return (a->chunksize > b->chunksize) - (a->chunksize < b->chunksize);
}

static int by_share(const void *left, const void *right)
{
    const struct pmap__advice *a = left, *b = right;

    return (a->share < b->share) - (a->share > b->share);
}

bool pmap__advices_find(struct pmap__advices *advices, const struct pmap__run *run, const struct pmap__losses *losses,
                        const struct pmap__figures *figures)
{
    struct find f = {.advices = advices, .run = run, .losses = losses, .figures = figures, .length = (double)run->end};

    *advices = (struct pmap__advices){0};
    if (!pmap__deals_play(&f.deals, run, losses))
        return false;
    if (f.deals.n > 1)
        qsort_r(f.deals.list, f.deals.n, sizeof *f.deals.list, by_kind, run->calls);
    compare_ranks(&f);
    advise_dealing(&f);
    advise_small_calls(&f);
    advise_alone(&f);
    advise_creation(&f);
    advise_messages(&f);
    advise_waits(&f);
    advise_failures(&f);
    advise_slow_ranks(&f);
    advise_fewer(&f);
    if (advices->n > 1)
        qsort(advices->list, advices->n, sizeof *advices->list, by_share);
    pmap__deals_fini(&f.deals);
    free(f.slower);
    if (f.no_memory)
        pmap__advices_fini(advices);
    return !f.no_memory;
}

void pmap__advices_fini(struct pmap__advices *advices)
{
    free(advices->list);
    *advices = (struct pmap__advices){0};
}
