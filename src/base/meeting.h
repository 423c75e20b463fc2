/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Meetings: lines of the program where the root asked for a pool while a pool over the same ranks lived already. The other
 * ranks serve that one meanwhile; when they come to such a line later, nobody is there any more to meet them. So the root
 * notes each line and what came of it, and tells the ranks in its goodbye.
 */
#ifndef PMAP_BASE_MEETING_H
#define PMAP_BASE_MEETING_H

#include <stdint.h>

#define PMAP__MEETINGS_MAX 32

struct pmap__meeting {
    uint64_t where;  /* a hash of the line */
    uint32_t status; /* what pmap_create returned there */
    uint32_t times;  /* how often */
};

/* What has no room is forgotten. */
struct pmap__meetings {
    int n;
    struct pmap__meeting lines[PMAP__MEETINGS_MAX];
};

static inline void pmap__meeting_note(struct pmap__meetings *meetings, uint64_t where, uint32_t status)
{
    int i = meetings->n - 1;
    while (i >= 0 && meetings->lines[i].where != where)
        i--;
    if (i >= 0 && meetings->lines[i].status == status)
        meetings->lines[i].times++;
    else if (meetings->n < PMAP__MEETINGS_MAX)
        meetings->lines[meetings->n++] = (struct pmap__meeting){where, status, 1};
}

/* The oldest meeting at this line, once; -1 if there was none, or all have been asked for. */
static inline int pmap__meeting_recall(struct pmap__meetings *meetings, uint64_t where)
{
    for (int i = 0; i < meetings->n; i++)
        if (meetings->lines[i].where == where && meetings->lines[i].times > 0) {
            meetings->lines[i].times--;
            return (int)meetings->lines[i].status;
        }
    return -1;
}

#endif
