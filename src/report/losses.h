/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Where the threads' time went. Each lane has as much time as the run took, and every nanosecond of it belongs to one of these:
 *
 *   in items    that succeeded, or failed;
 *   start-up    before pmap_create had made this rank ready;
 *   transfer    idle between two items while a chunk was on its way to or from this rank;
 *   waiting     idle between two items otherwise: the root was busy, or a stream had nothing;
 *   imbalance   idle because it had run its last item of a call, and the call had not ended;
 *   between     idle because there was no call.
 */
#ifndef PMAP_REPORT_LOSSES_H
#define PMAP_REPORT_LOSSES_H

#include "report/run.h"

enum pmap__loss { PMAP__WORKING, PMAP__FAILED, PMAP__STARTUP, PMAP__TRANSFER, PMAP__WAITING, PMAP__IMBALANCE, PMAP__BETWEEN, PMAP__LOSSES };

/* A time in which no call was there. */
struct pmap__pause {
    int64_t begin, end;
    uint32_t after;      /* the call that ended last before it; PMAP__NONE: it was before the first */
};

struct pmap__losses {
    double all[PMAP__LOSSES];      /* ns */
    double (*of_call)[PMAP__LOSSES]; /* the same for each call; of these the start-up and between are 0. Calls at the same time share lanes, so
                                    * that the imbalance of one includes items of the other */
    double lane_time;              /* ns, of all lanes: the sum of all */
    double alone;                  /* ns in which no call was there, after the first rank was ready: the program ran alone */
    struct pmap__pause longest;    /* such time; both 0: there was none */
};

/* False: no memory. */
bool pmap__losses_count(struct pmap__losses *losses, const struct pmap__run *run);
void pmap__losses_fini(struct pmap__losses *losses);

#endif
