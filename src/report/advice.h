/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What would have made a run faster, in plain language and with its numbers. Where it is about how items are dealt out, the numbers come from
 * dealing out the measured items once more (report/replay.h). Advice that would save no more than PMAP__MATTERS of the run is not given.
 */
#ifndef PMAP_REPORT_ADVICE_H
#define PMAP_REPORT_ADVICE_H

#include "report/figures.h"
#include "report/losses.h"

#define PMAP__MATTERS 0.03 /* below this nobody changes a program, and clocks and chance have their say */

enum pmap__topic {
    PMAP__SMALLER_CHUNKS, PMAP__LARGER_CHUNKS, PMAP__LONGEST_FIRST, PMAP__LONGEST_ITEM, PMAP__SMALL_CALLS, PMAP__ALONE, PMAP__CREATION,
    PMAP__MESSAGES, PMAP__WAITS, PMAP__FAILURES_COST, PMAP__SLOW_RANK, PMAP__FEWER_LANES, PMAP__TOPICS
};

struct pmap__advice {
    enum pmap__topic topic;
    double share;      /* of the run's length, or of all threads' time, that it would have saved at most; 0: it saves threads, not time */
    double saved;      /* ns */
    char title[160], text[800];
};

struct pmap__advices {
    struct pmap__advice *list; /* what saves most is first */
    size_t n;
};

/* False: no memory. */
bool pmap__advices_find(struct pmap__advices *advices, const struct pmap__run *run, const struct pmap__losses *losses,
                        const struct pmap__figures *figures);
void pmap__advices_fini(struct pmap__advices *advices);

/* The name of a topic, such as "smaller_chunks". */
const char *pmap__topic_name(enum pmap__topic topic);

#endif
