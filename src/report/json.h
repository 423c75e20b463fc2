/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * JSON that may stand inside of an HTML page: what a browser could take for a tag is escaped, and what is no UTF-8 is replaced.
 */
#ifndef PMAP_REPORT_JSON_H
#define PMAP_REPORT_JSON_H

#include <stdint.h>
#include <stdio.h>

/* A writer; commas come by themselves. */
struct pmap__json {
    FILE *out;
    int comma; /* the next value is not the first here */
};

/* key: NULL in an array, and for the outermost. */
void pmap__json_open(struct pmap__json *json, const char *key, char bracket);
void pmap__json_close(struct pmap__json *json, char bracket);
void pmap__json_text(struct pmap__json *json, const char *key, const char *text);
void pmap__json_count(struct pmap__json *json, const char *key, uint64_t count);
void pmap__json_time(struct pmap__json *json, const char *key, int64_t ns);
void pmap__json_real(struct pmap__json *json, const char *key, double number); /* six digits; null if it is none */

#endif
