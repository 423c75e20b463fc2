/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "observe/drawing.h"

#include "observe/words.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NARROW 40
#define BAR_MIN 6
#define BAR_MAX 40

#define GREEN "\033[32m"
#define RED "\033[31m"
#define DIM "\033[2m"
#define PLAIN "\033[0m"

/* The parts, from left to right. */
enum { NAME, PERCENT, BAR, COUNT, RATE, TIME, FAILED, CANCELLED, RECALLED, SIZE, BUSY, CALL, PARTS };

/* How much each matters: the one with the least goes first. */
static const int weights[PARTS] = {[NAME] = 4, [PERCENT] = 11, [BAR] = 5, [COUNT] = 7, [RATE] = 6, [TIME] = 10, [FAILED] = 9, [CANCELLED] = 8,
                                   [RECALLED] = 2, [SIZE] = 1, [BUSY] = 3, [CALL] = 0};

struct part {
    char text[64];  /* ASCII */
    size_t columns; /* 0: it is not there */
};

static void say(struct part *part, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct part *part, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(part->text, sizeof part->text, format, arguments);
    va_end(arguments);
    part->columns = strlen(part->text);
}

static double share_of(const struct pmap__scene *s)
{
    return s->all == 0 ? 1 : s->done < s->all ? (double)s->done / (double)s->all : 1;
}

/* Never 100% before it is. */
static int percent_of(const struct pmap__scene *s)
{
    return (int)(100 * share_of(s));
}

static void say_size(struct part *part, const struct pmap__scene *s)
{
    if (s->ranks == 1)
        say(part, "%d thread%s", s->threads, s->threads == 1 ? "" : "s");
    else if (s->each)
        say(part, "%d ranks x %d thread%s", s->ranks, s->each, s->each == 1 ? "" : "s");
    else
        say(part, "%d ranks, %d threads", s->ranks, s->threads);
}

static void say_progress(struct part parts[PARTS], const struct pmap__scene *s, bool narrow)
{
    char a[PMAP__WORD], b[PMAP__WORD];

    say(&parts[PERCENT], narrow ? "%d%%" : "%3d%%", percent_of(s));
    say(&parts[COUNT], "%s/%s", pmap__word_count(a, (double)s->done), pmap__word_count(b, (double)s->all));
    if (s->done >= s->all)
        say(&parts[TIME], "%s", pmap__word_clock(a, s->seconds));
    else if (s->left < 0)
        say(&parts[TIME], narrow ? "-:--" : "-:-- left");
    else
        say(&parts[TIME], narrow ? "%s" : "%s left", pmap__word_clock(a, s->left));
    parts[BAR].columns = BAR_MIN;
}

/* Nobody knows how many items there will be: there is no bar, and the time is that since the beginning. */
static void say_endless(struct part parts[PARTS], const struct pmap__scene *s)
{
    char a[PMAP__WORD];

    say(&parts[PERCENT], "%c", "|/-\\"[s->turn % 4]);
    say(&parts[COUNT], "%s", pmap__word_count(a, (double)s->done));
    say(&parts[TIME], "%s", pmap__word_clock(a, s->seconds));
}

static void say_all(struct part parts[PARTS], const struct pmap__scene *s, bool narrow)
{
    char a[PMAP__WORD];

    say(&parts[NAME], "%s", s->what);
    if (s->endless)
        say_endless(parts, s);
    else
        say_progress(parts, s, narrow);
    if (s->rate > 0)
        say(&parts[RATE], "%s", pmap__word_rate(a, s->rate));
    if (s->failed)
        say(&parts[FAILED], "%s failed", pmap__word_count(a, (double)s->failed));
    if (s->cancelled)
        say(&parts[CANCELLED], "%s not run", pmap__word_count(a, (double)s->cancelled));
    if (s->recalled)
        say(&parts[RECALLED], "%s from the journal", pmap__word_count(a, (double)s->recalled));
    say_size(&parts[SIZE], s);
    say(&parts[BUSY], "%d busy", s->busy);
    if (s->nth > 1)
        say(&parts[CALL], "call %llu", (unsigned long long)s->nth);
}

static size_t columns_of(const struct part parts[PARTS], size_t gap)
{
    size_t sum = 0;

    for (int i = 0; i < PARTS; i++)
        sum += parts[i].columns ? parts[i].columns + (sum ? gap : 0) : 0;
    return sum;
}

/* Leave out what there is no room for; the bar has what remains. */
static void fit(struct part parts[PARTS], size_t gap, size_t room)
{
    while (columns_of(parts, gap) > room) {
        int least = -1;
        for (int i = 0; i < PARTS; i++)
            if (parts[i].columns && (least < 0 || weights[i] < weights[least]))
                least = i;
        if (least < 0)
            return;
        parts[least].columns = 0;
    }
    size_t left = room - columns_of(parts, gap);
    if (parts[BAR].columns)
        parts[BAR].columns += left < BAR_MAX - BAR_MIN ? left : BAR_MAX - BAR_MIN;
}

static void append(char *text, const char *more)
{
    size_t used = strlen(text);
    snprintf(text + used, PMAP__DRAWING - used, "%s", more);
}

static void repeat(char *text, const char *piece, size_t n)
{
    while (n-- > 0)
        append(text, piece);
}

static void draw_bar(char *text, double share, size_t columns, const struct pmap__terminal *t)
{
    size_t room = t->utf8 ? columns : columns - 2, halves = (size_t)(share * 2 * (double)room);

    append(text, t->utf8 ? "" : "[");
    append(text, t->color ? GREEN : "");
    repeat(text, t->utf8 ? "━" : "#", halves / 2);
    if (halves % 2)
        append(text, t->utf8 ? "╸" : "-");
    append(text, t->color ? PLAIN DIM : "");
    repeat(text, t->utf8 ? "─" : t->color ? "-" : ".", room - (halves + 1) / 2);
    append(text, t->color ? PLAIN : "");
    append(text, t->utf8 ? "" : "]");
}

static void draw_part(char *text, const struct part parts[PARTS], int i, const struct pmap__scene *s, const struct pmap__terminal *t)
{
    const char *color = i == FAILED && t->color ? RED : "";

    if (i == BAR) {
        draw_bar(text, share_of(s), parts[BAR].columns, t);
        return;
    }
    append(text, color);
    append(text, parts[i].text);
    append(text, *color ? PLAIN : "");
}

size_t pmap__drawing_line(const struct pmap__scene *scene, const struct pmap__terminal *terminal, char text[static PMAP__DRAWING])
{
    struct part parts[PARTS] = {{.columns = 0}};
    bool narrow = terminal->columns < NARROW;
    size_t gap = narrow ? 1 : 2, room = terminal->columns > 1 ? terminal->columns - 1 : 0;

    say_all(parts, scene, narrow);
    fit(parts, gap, room);
    text[0] = '\0';
    for (int i = 0; i < PARTS; i++) {
        if (parts[i].columns == 0)
            continue;
        if (*text)
            repeat(text, " ", gap);
        draw_part(text, parts, i, scene, terminal);
    }
    return columns_of(parts, gap);
}

/* ---- For a log ---- */

static void add(char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(char *text, const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text + used, PMAP__DRAWING - used, format, arguments);
    va_end(arguments);
}

static void add_outcomes(char *text, const struct pmap__scene *s)
{
    if (s->failed)
        add(text, ", %llu failed", (unsigned long long)s->failed);
    if (s->cancelled)
        add(text, ", %llu not run", (unsigned long long)s->cancelled);
    if (s->recalled)
        add(text, ", %llu from the journal", (unsigned long long)s->recalled);
    if (s->retried)
        add(text, ", %llu run again", (unsigned long long)s->retried);
}

void pmap__drawing_log(const struct pmap__scene *s, char text[static PMAP__DRAWING])
{
    char word[PMAP__WORD];
    struct part size;

    snprintf(text, PMAP__DRAWING, "pmap: %s: %llu", s->what, (unsigned long long)s->done);
    if (s->endless)
        add(text, " items in %s", pmap__word_clock(word, s->seconds));
    else
        add(text, " of %llu items (%d%%)", (unsigned long long)s->all, percent_of(s));
    if (s->rate > 0)
        add(text, ", %s", pmap__word_rate(word, s->rate));
    if (!s->endless && s->left >= 0)
        add(text, ", %s left", pmap__word_clock(word, s->left));
    add_outcomes(text, s);
    say_size(&size, s);
    add(text, ", %s, %d busy", size.text, s->busy);
}

void pmap__drawing_end(const struct pmap__scene *s, char text[static PMAP__DRAWING])
{
    char word[PMAP__WORD];
    uint64_t run = s->done > s->recalled + s->cancelled ? s->done - s->recalled - s->cancelled : 0;

    snprintf(text, PMAP__DRAWING, "pmap: %s: %llu item%s in %s", s->what, (unsigned long long)s->done, s->done == 1 ? "" : "s",
             pmap__word_time(word, s->seconds));
    if (run && s->seconds > 0)
        add(text, ", %s", pmap__word_rate(word, (double)run / s->seconds));
    add_outcomes(text, s);
}
