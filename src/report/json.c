/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "report/json.h"

#include "base/decimal.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>

/* Bytes of the character at the beginning of text, if it is UTF-8: no overlong forms, no surrogates, nothing beyond U+10FFFF. 0: it is not. */
static int utf8_length(const unsigned char *text)
{
    unsigned char first = text[0], low = 0x80, high = 0xbf;
    int more = first < 0x80 ? 0 : first >= 0xc2 && first <= 0xdf ? 1 : (first & 0xf0) == 0xe0 ? 2 : first >= 0xf0 && first <= 0xf4 ? 3 : -1;

    low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : low;
    high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : high;
    for (int b = 1; b <= more; b++) {
        if (text[b] < low || text[b] > high)
            return 0;
        low = 0x80;
        high = 0xbf;
    }
    return more + 1;
}

static void print_character(FILE *out, const unsigned char *text, int length)
{
    unsigned char c = text[0];

    if (length == 0)
        fputs("\\ufffd", out);
    else if (length == 1 && (c < 0x20 || c == 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&'))
        fprintf(out, "\\u%04x", c);
    else
        fwrite(text, 1, (size_t)length, out);
}

static void print_text(FILE *out, const char *text)
{
    putc('"', out);
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        int length = utf8_length(at);
        print_character(out, at, length);
        at += length ? length : 1;
    }
    putc('"', out);
}

static void begin(struct pmap__json *json, const char *key)
{
    if (json->comma)
        putc(',', json->out);
    json->comma = true;
    if (key) {
        print_text(json->out, key);
        putc(':', json->out);
    }
}

void pmap__json_open(struct pmap__json *json, const char *key, char bracket)
{
    begin(json, key);
    putc(bracket, json->out);
    json->comma = false;
}

void pmap__json_close(struct pmap__json *json, char bracket)
{
    putc(bracket, json->out);
    json->comma = true;
}

void pmap__json_text(struct pmap__json *json, const char *key, const char *text)
{
    begin(json, key);
    print_text(json->out, text);
}

void pmap__json_count(struct pmap__json *json, const char *key, uint64_t count)
{
    begin(json, key);
    fprintf(json->out, "%" PRIu64, count);
}

void pmap__json_time(struct pmap__json *json, const char *key, int64_t ns)
{
    begin(json, key);
    fprintf(json->out, "%" PRId64, ns);
}

static void print_fraction(FILE *out, double number)
{
    char text[40];

    pmap__decimal_point(text, (size_t)snprintf(text, sizeof text, "%.6g", number));
    fputs(text, out);
}

void pmap__json_real(struct pmap__json *json, const char *key, double number)
{
    begin(json, key);
    if (!isfinite(number))
        fputs("null", json->out);
    else if (number == floor(number) && fabs(number) < 1e15)
        fprintf(json->out, "%.0f", number);
    else
        print_fraction(json->out, number);
}
