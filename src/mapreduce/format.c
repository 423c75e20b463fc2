/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/format.h"

#include "base/decimal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Numbers as text ----
 * Each writes into a piece's room and returns what it wrote, which need not begin where the room does. */

enum { ROOM = sizeof ((struct pmap__pieces *)0)->key };

/* From the last digit to the first, two at a time: a division is what costs. */
static struct pmap_view digits(char room[ROOM], uint64_t number, bool negative)
{
    static const char pairs[] = "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
                                "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
    char *end = room + ROOM, *at = end;

    for (; number >= 10; number /= 100)
        memcpy(at -= 2, pairs + number % 100 * 2, 2);
    if (number > 0 || at == end)
        *--at = (char)('0' + number);
    if (negative)
        *--at = '-';
    return (struct pmap_view){at, (size_t)(end - at)};
}

static struct pmap_view integer(char room[ROOM], int64_t number)
{
    uint64_t bits = (uint64_t)number;
    return digits(room, number < 0 ? 0 - bits : bits, number < 0);
}

static struct pmap_view real(char room[ROOM], double number)
{
    int size = 0;

    if (isnan(number))
        return (struct pmap_view){"nan", 3};
    if (isinf(number))
        return number < 0 ? (struct pmap_view){"-inf", 4} : (struct pmap_view){"inf", 3};
    /* %.15g prints whole numbers below 10^15 without point and exponent; so does integer(), much faster. But it knows no -0. */
    if (fabs(number) < 1e15 && number == (double)(int64_t)number && (number != 0 || !signbit(number)))
        return integer(room, (int64_t)number);
    for (int precision = 15; precision <= 17; precision++) {
        size = snprintf(room, ROOM, "%.*g", precision, number);
        if (strtod(room, NULL) == number)
            break;
    }
    return (struct pmap_view){room, pmap__decimal_point(room, (size_t)size)};
}

/* ---- Parts of a pair ---- */

static struct pmap_view key_text(enum pmap_type type, struct pmap_view key, char room[ROOM])
{
    if (key.size != 8 || type == PMAP_TYPE_BYTES)
        return key;
    if (type == PMAP_TYPE_I64)
        return integer(room, pmap_i64_key(key));
    return type == PMAP_TYPE_U64 ? digits(room, pmap_u64_key(key), false) : real(room, pmap_f64_key(key));
}

static struct pmap_view value_text(enum pmap_type type, struct pmap_view value, char room[ROOM])
{
    if (value.size != 8 || type == PMAP_TYPE_BYTES)
        return value;
    if (type == PMAP_TYPE_F64)
        return real(room, pmap_view_f64(value));
    int64_t number = pmap_view_i64(value);
    return type == PMAP_TYPE_U64 ? digits(room, (uint64_t)number, false) : integer(room, number);
}

static void add(struct pmap__pieces *pieces, const void *data, size_t size)
{
    pieces->piece[pieces->n++] = (struct pmap_view){data, size};
}

static void add_view(struct pmap__pieces *pieces, struct pmap_view view)
{
    pieces->piece[pieces->n++] = view;
}

static void cut_text(const struct pmap__formatter *formatter, struct pmap_view key, struct pmap_view value, struct pmap__pieces *pieces)
{
    bool has_key = formatter->key != PMAP_TYPE_NONE, has_value = formatter->value != PMAP_TYPE_NONE;

    if (has_key)
        add_view(pieces, key_text(formatter->key, key, pieces->key));
    if (has_key && has_value)
        add(pieces, formatter->separator, formatter->separator_size);
    if (has_value)
        add_view(pieces, value_text(formatter->value, value, pieces->value));
    add(pieces, "\n", 1);
}

static void little_endian(char to[8], uint64_t number)
{
    for (int i = 0; i < 8; i++)
        to[i] = (char)(number >> 8 * i & 0xff);
}

void pmap__format_cut(const struct pmap__formatter *formatter, struct pmap_view key, struct pmap_view value, struct pmap__pieces *pieces)
{
    pieces->n = 0;
    if (formatter->format == PMAP_FORMAT_TEXT) {
        cut_text(formatter, key, value, pieces);
        return;
    }
    if (formatter->key == PMAP_TYPE_NONE)
        key.size = 0;
    if (formatter->value == PMAP_TYPE_NONE)
        value.size = 0;
    if (formatter->format == PMAP_FORMAT_BINARY) {
        little_endian(pieces->key, key.size);
        little_endian(pieces->key + 8, value.size);
        add(pieces, pieces->key, 16);
    }
    add_view(pieces, key);
    add_view(pieces, value);
}

/* ---- All of it ---- */

size_t pmap__format_size(const struct pmap__formatter *formatter, struct pmap_view key, struct pmap_view value)
{
    struct pmap__pieces pieces;
    size_t size = 0;

    pmap__format_cut(formatter, key, value, &pieces);
    for (int i = 0; i < pieces.n; i++)
        size += pieces.piece[i].size;
    return size;
}

size_t pmap__format_pair(const struct pmap__formatter *formatter, struct pmap_view key, struct pmap_view value, char *to)
{
    struct pmap__pieces pieces;
    char *at = to;

    pmap__format_cut(formatter, key, value, &pieces);
    for (int i = 0; i < pieces.n; i++) {
        if (pieces.piece[i].size)
            memcpy(at, pieces.piece[i].data, pieces.piece[i].size);
        at += pieces.piece[i].size;
    }
    return (size_t)(at - to);
}
