/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Numbers as people read them. Each function writes into text, PMAP__WORD bytes, and returns it.
 */
#ifndef PMAP_OBSERVE_WORDS_H
#define PMAP_OBSERVE_WORDS_H

#include <stdint.h>

#define PMAP__WORD 32

char *pmap__word_count(char *text, double n);      /* 0, 17, 99999, 123k, 1.23M */
char *pmap__word_rate(char *text, double per_second); /* 1.23k/s, 12.3/s, 7.4/min, 2.1/h */
char *pmap__word_clock(char *text, double seconds); /* 0:07, 12:34, 1:02:03, 3d 04h */
char *pmap__word_time(char *text, double seconds);  /* 850 ns, 1.2 us, 340 ms, 35.1 s, 12:34 */
char *pmap__word_bytes(char *text, double bytes);   /* 0 B, 1.2 kB, 34 MB */

#endif
