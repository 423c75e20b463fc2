/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Meetings: lines of the program where the root asked for a pool while a pool over the same ranks lived already. The other
 * ranks serve that one meanwhile; when they come to such a line later, nobody is there any more to meet them. So the root
 * notes each line and what came of it, and tells the ranks in its goodbye. A line alone does not say which of several calls is
 * meant, for one in a function that creates pools serves them all: see transport/mpi_process.c for what is done about that.
 */
#ifndef PMAP_BASE_MEETING_H
#define PMAP_BASE_MEETING_H

#include <stdbool.h>
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
    int root; /* the rank that met them; set by those who are told of them */
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

/* Those of another list, too. */
static inline void pmap__meetings_add(struct pmap__meetings *meetings, const struct pmap__meetings *others)
{
    for (int i = 0; i < others->n; i++)
        for (uint32_t k = 0; k < others->lines[i].times; k++)
            pmap__meeting_note(meetings, others->lines[i].where, others->lines[i].status);
}

/* Is there one at this line to be recalled? */
static inline bool pmap__meeting_known(const struct pmap__meetings *meetings, uint64_t where)
{
    for (int i = 0; i < meetings->n; i++)
        if (meetings->lines[i].where == where && meetings->lines[i].times > 0)
            return true;
    return false;
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
