/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Writing JSON. A trace has a hundred thousand events, and the program waits for the file: so numbers are formatted by hand, into
 * a buffer. Members and elements put the comma themselves that they need.
 */
#ifndef PMAP_OBSERVE_JOT_H
#define PMAP_OBSERVE_JOT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct pmap__jot {
    FILE *file;
    bool comma; /* before what comes next */
    size_t n;
    char bytes[1 << 12]; /* on any thread's stack */
};

void pmap__jot_begin(struct pmap__jot *jot, FILE *file);
void pmap__jot_end(struct pmap__jot *jot); /* all is in the file then, or ferror says so */

/* Bytes as they are, and a new line before the next element. */
void pmap__jot_raw(struct pmap__jot *jot, const char *text);
void pmap__jot_line(struct pmap__jot *jot);

/* '{' or '[', after a comma if there is need of one; and '}' or ']'. */
void pmap__jot_open(struct pmap__jot *jot, char bracket);
void pmap__jot_close(struct pmap__jot *jot, char bracket);

/* Elements of an array, or values of a member whose name has been put. ns are written as microseconds with three decimals. What is
 * not UTF-8 in a text becomes U+FFFD. */
void pmap__jot_name(struct pmap__jot *jot, const char *name);
void pmap__jot_number(struct pmap__jot *jot, uint64_t value);
void pmap__jot_signed(struct pmap__jot *jot, int64_t value);
void pmap__jot_us(struct pmap__jot *jot, int64_t ns);
void pmap__jot_real(struct pmap__jot *jot, double value); /* six digits */
void pmap__jot_text(struct pmap__jot *jot, const char *text);
void pmap__jot_bool(struct pmap__jot *jot, bool value);

#endif
