/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How a pair of the output becomes bytes: it is cut into pieces, and pieces have a size, can be copied, or written to a file. The bytes are
 * the same in every locale. */
#ifndef PMAP_MAPREDUCE_FORMAT_H
#define PMAP_MAPREDUCE_FORMAT_H

#include <pmap_mapreduce.h>

struct pmap__formatter {
    enum pmap_format format;
    enum pmap_type key, value;
    const char *separator; /* of text; borrowed */
    size_t separator_size;
};

/* The pieces of a pair, in order. They borrow from the key, the value and the formatter, and point into this struct, which must stay where
 * it is. */
enum { PMAP__PIECES = 4 };
struct pmap__pieces {
    struct pmap_view piece[PMAP__PIECES];
    int n;
    char key[32], value[32]; /* numbers as text: up to 24 characters, as -2.2250738585072014e-308 has */
};

/* Cut a pair. A key of a number type is as pmap_key_i64 … make it, a value is a number of this machine; one that has not 8 bytes is
 * written as bytes. What is of PMAP_TYPE_NONE is left out, in PMAP_FORMAT_BINARY it has size 0. Doubles have the fewest digits (%.15g,
 * %.16g, %.17g) that read back to the same number, or are nan, inf, -inf. Text has types; in the other formats bytes are as they are. */
void pmap__format_cut(const struct pmap__formatter *formatter, struct pmap_view key, struct pmap_view value, struct pmap__pieces *pieces);

/* Bytes of a pair; and write just these to where they have room. */
size_t pmap__format_size(const struct pmap__formatter *formatter, struct pmap_view key, struct pmap_view value);
size_t pmap__format_pair(const struct pmap__formatter *formatter, struct pmap_view key, struct pmap_view value, char *to);

#endif
