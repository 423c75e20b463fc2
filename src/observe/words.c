/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "observe/words.h"

#include <stdio.h>

/* Three digits and a unit: 1.23k, 12.3k, 123k. */
static char *three_digits(char *text, double n, const char *const units[], int last)
{
    int unit = 0;

    while (n >= 999.5 && unit < last) {
        n /= 1000;
        unit++;
    }
    snprintf(text, PMAP__WORD, "%.*f%s", n < 9.995 ? 2 : n < 99.95 ? 1 : 0, n, units[unit]);
    return text;
}

char *pmap__word_count(char *text, double n)
{
    static const char *const units[] = {"", "k", "M", "G", "T", "P", "E"};

    if (n >= 99999.5)
        return three_digits(text, n, units, 6);
    snprintf(text, PMAP__WORD, "%.0f", n);
    return text;
}

char *pmap__word_rate(char *text, double per_second)
{
    static const char *const units[] = {"/s", "k/s", "M/s", "G/s"}, *const minute[] = {"/min"}, *const hour[] = {"/h"};

    if (per_second >= 1)
        return three_digits(text, per_second, units, 3);
    if (per_second >= 1 / 60.)
        return three_digits(text, 60 * per_second, minute, 0);
    return three_digits(text, 3600 * per_second, hour, 0);
}

char *pmap__word_clock(char *text, double seconds)
{
    uint64_t s = seconds < 1e15 ? (uint64_t)(seconds + 0.5) : 1000000000000000;
    unsigned long long days = s / 86400, hours = s / 3600, minutes = s / 60 % 60, rest = s % 60;

    if (days)
        snprintf(text, PMAP__WORD, "%llud %02lluh", days, hours % 24);
    else if (hours)
        snprintf(text, PMAP__WORD, "%llu:%02llu:%02llu", hours, minutes, rest);
    else
        snprintf(text, PMAP__WORD, "%llu:%02llu", minutes, rest);
    return text;
}

char *pmap__word_time(char *text, double seconds)
{
    static const char *const units[] = {" ns", " us", " ms", " s"};

    if (seconds >= 999.5)
        return pmap__word_clock(text, seconds);
    return three_digits(text, seconds * 1e9, units, 3);
}

char *pmap__word_bytes(char *text, double bytes)
{
    static const char *const units[] = {" B", " kB", " MB", " GB", " TB", " PB"};

    if (bytes < 999.5) {
        snprintf(text, PMAP__WORD, "%.0f B", bytes);
        return text;
    }
    return three_digits(text, bytes, units, 5);
}
