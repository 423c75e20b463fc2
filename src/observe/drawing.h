/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How progress looks: in one line of a terminal, whatever its width, and as a line of a log.
 *
 *     simulate  52% ━━━━━━━━━━━━━━━╸──────────── 5200/10000  237/s  0:20 left  3 failed  5 ranks x 2 threads  10 busy
 *
 * The line is made of parts. When it is too long those that matter least go first, and the bar has what is left, up to 40 columns. In
 * a terminal of less than 40 columns the parts stand closer.
 */
#ifndef PMAP_OBSERVE_DRAWING_H
#define PMAP_OBSERVE_DRAWING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pmap__scene {
    char what[48];       /* the task, or "3 calls" */
    uint64_t nth;        /* it is so many calls after the last pause; 1: the first */
    bool endless;        /* there is no telling how many items there will be */
    uint64_t all, done, failed, cancelled, recalled, retried;
    double seconds;      /* since it began */
    double rate;         /* items per second; 0: not known */
    double left;         /* seconds; below 0: not known */
    int ranks, threads, busy;
    int each;            /* threads of each rank; 0: they differ */
    unsigned turn;       /* of what turns */
};

struct pmap__terminal {
    size_t columns;
    bool utf8, color, dumb;
};

/* For the terminal: less than so many columns, no line break. Returns how many columns it takes. */
#define PMAP__DRAWING 1024
size_t pmap__drawing_line(const struct pmap__scene *scene, const struct pmap__terminal *terminal, char text[static PMAP__DRAWING]);

/* For a log: "pmap: simulate: 5200 of 10000 items (52%), …", without a line break; and when it is over, "pmap: simulate: 10000 items in
 * 0:42, …". */
void pmap__drawing_log(const struct pmap__scene *scene, char text[static PMAP__DRAWING]);
void pmap__drawing_end(const struct pmap__scene *scene, char text[static PMAP__DRAWING]);

#endif
