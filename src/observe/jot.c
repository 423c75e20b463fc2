/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "observe/jot.h"

#include "base/decimal.h"

#include <math.h>
#include <string.h>

/* ---- Bytes ---- */

static void flush(struct pmap__jot *jot)
{
    fwrite(jot->bytes, 1, jot->n, jot->file);
    jot->n = 0;
}

/* Room for so many, fewer than the buffer has. */
static inline char *reserve(struct pmap__jot *jot, size_t n)
{
    if (sizeof jot->bytes - jot->n < n)
        flush(jot);
    return jot->bytes + jot->n;
}

static inline void put(struct pmap__jot *jot, char c)
{
    *reserve(jot, 1) = c;
    jot->n++;
}

static void put_bytes(struct pmap__jot *jot, const char *bytes, size_t n)
{
    while (n > 0) {
        size_t now = n < 1024 ? n : 1024;
        memcpy(reserve(jot, now), bytes, now);
        jot->n += now;
        bytes += now;
        n -= now;
    }
}

void pmap__jot_begin(struct pmap__jot *jot, FILE *file)
{
    jot->file = file;
    jot->comma = false;
    jot->n = 0;
}

void pmap__jot_end(struct pmap__jot *jot)
{
    flush(jot);
    fflush(jot->file);
}

void pmap__jot_raw(struct pmap__jot *jot, const char *text)
{
    put_bytes(jot, text, strlen(text));
}

/* ---- Structure ---- */

static inline void separate(struct pmap__jot *jot)
{
    if (jot->comma)
        put(jot, ',');
    jot->comma = true;
}

void pmap__jot_line(struct pmap__jot *jot)
{
    if (jot->comma)
        put(jot, ',');
    put(jot, '\n');
    jot->comma = false;
}

void pmap__jot_open(struct pmap__jot *jot, char bracket)
{
    separate(jot);
    put(jot, bracket);
    jot->comma = false;
}

void pmap__jot_close(struct pmap__jot *jot, char bracket)
{
    put(jot, bracket);
    jot->comma = true;
}

void pmap__jot_name(struct pmap__jot *jot, const char *name)
{
    separate(jot);
    put(jot, '"');
    pmap__jot_raw(jot, name);
    put(jot, '"');
    put(jot, ':');
    jot->comma = false;
}

/* ---- Values ---- */

static void digits(struct pmap__jot *jot, uint64_t value)
{
    char text[20];
    size_t n = sizeof text;

    do
        text[--n] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    put_bytes(jot, text + n, sizeof text - n);
}

void pmap__jot_number(struct pmap__jot *jot, uint64_t value)
{
    separate(jot);
    digits(jot, value);
}

static uint64_t sign(struct pmap__jot *jot, int64_t value)
{
    separate(jot);
    if (value < 0)
        put(jot, '-');
    return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

void pmap__jot_signed(struct pmap__jot *jot, int64_t value)
{
    digits(jot, sign(jot, value));
}

void pmap__jot_us(struct pmap__jot *jot, int64_t ns)
{
    uint64_t size = sign(jot, ns), rest = size % 1000;
    char decimals[] = {'.', (char)('0' + rest / 100), (char)('0' + rest / 10 % 10), (char)('0' + rest % 10)};

    digits(jot, size / 1000);
    put_bytes(jot, decimals, sizeof decimals);
}

void pmap__jot_real(struct pmap__jot *jot, double value)
{
    char text[40];

    separate(jot);
    pmap__decimal_point(text, (size_t)snprintf(text, sizeof text, "%.6g", isfinite(value) ? value : 0));
    pmap__jot_raw(jot, text);
}

void pmap__jot_bool(struct pmap__jot *jot, bool value)
{
    separate(jot);
    pmap__jot_raw(jot, value ? "true" : "false");
}

/* How many bytes from here on are one character of UTF-8; 0: they are none. */
static size_t utf8(const unsigned char *at)
{
    size_t n = at[0] < 0x80 ? 1 : at[0] >= 0xc2 && at[0] < 0xe0 ? 2 : at[0] >= 0xe0 && at[0] < 0xf0 ? 3 : at[0] >= 0xf0 && at[0] < 0xf5 ? 4 : 0;

    for (size_t i = 1; i < n; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    bool outside = (at[0] == 0xed && at[1] >= 0xa0) || (at[0] == 0xf4 && at[1] >= 0x90);
    return overlong || outside ? 0 : n;
}

void pmap__jot_text(struct pmap__jot *jot, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    char escape[8];

    separate(jot);
    put(jot, '"');
    for (size_t n; *at; at += n ? n : 1) {
        n = utf8(at);
        if (n > 0 && *at >= 0x20 && *at != '"' && *at != '\\') {
            put_bytes(jot, (const char *)at, n);
            continue;
        }
        snprintf(escape, sizeof escape, n == 0 ? "\\ufffd" : *at < 0x20 ? "\\u%04x" : "\\%c", *at);
        pmap__jot_raw(jot, escape);
    }
    put(jot, '"');
}
