/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What the page draws, added up: who was busy when, how long items took, which took longest, which failed, what each rank did.
 */
#ifndef PMAP_REPORT_FIGURES_H
#define PMAP_REPORT_FIGURES_H

#include "report/run.h"

#define PMAP__SLOWEST 15   /* spans in the table of the slowest items */
#define PMAP__FAILURES 200 /* spans in the table of failures */

/* Of a lane, or of a rank. */
struct pmap__sum {
    uint64_t items, failed, bytes_out, bytes_in, chunks;
    double busy; /* ns */
};

struct pmap__figures {
    size_t n_bins;               /* the run is cut into so many equal times: a power of two */
    float *busy;                 /* ns, of each lane n_bins */
    struct pmap__sum *lanes, *ranks;
    double items_busy;           /* ns, of all items */
    struct pmap__bin *histogram; /* of all calls, ascending; from may repeat */
    size_t n_histogram;
    double median, p90, p99, shortest, longest; /* ns, of an item */
    const struct pmap__report_span *slowest[PMAP__SLOWEST], *failures[PMAP__FAILURES];
    size_t n_slowest, n_failures; /* failures: those with the lowest begin */
    uint64_t failed_spans;        /* how many there are in the trace */
};

/* False: no memory. run must outlive figures. */
bool pmap__figures_count(struct pmap__figures *figures, const struct pmap__run *run);
void pmap__figures_fini(struct pmap__figures *figures);

#endif
