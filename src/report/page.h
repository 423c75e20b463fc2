/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The page: page.html with page.css and page.js in it, which make embed.awk an array of lines when the library is built, and between these the
 * figures as JSON.
 */
#ifndef PMAP_REPORT_PAGE_H
#define PMAP_REPORT_PAGE_H

#include "report/advice.h"

struct pmap__page {
    const struct pmap__run *run;
    const struct pmap__losses *losses;
    const struct pmap__figures *figures;
    const struct pmap__advices *advices;
};

#define PMAP__PAGE_SPANS 100000 /* in a page, at most: some 2 MB. If there are more the longest; bins have all */
#define PMAP__PAGE_CALLS 2000   /* likewise */

/* Write it; the caller looks whether the stream took it. False: no memory. */
bool pmap__page_print(FILE *out, const struct pmap__page *page);

#endif
