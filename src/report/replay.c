/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "report/replay.h"

#include <stdlib.h>

/* free_at is a heap with the earliest on top: give that lane so many seconds more. */
static void busy_first(double *free_at, size_t lanes, double seconds)
{
    double until = free_at[0] + seconds;
    size_t at = 0, child;

    while ((child = 2 * at + 1) < lanes) {
        if (child + 1 < lanes && free_at[child + 1] < free_at[child])
            child++;
        if (until <= free_at[child])
            break;
        free_at[at] = free_at[child];
        at = child;
    }
    free_at[at] = until;
}

static double last(const double *free_at, size_t lanes)
{
    double latest = 0;

    for (size_t l = 0; l < lanes; l++)
        latest = free_at[l] > latest ? free_at[l] : latest;
    return latest;
}

double pmap__replay(const struct pmap__replay_work *work, size_t n_work, size_t lanes, size_t chunk, double hand_out, double *free_at)
{
    size_t room = chunk; /* items that the chunk which is being filled can still take */
    double seconds = 0;  /* of those that are in it */

    for (size_t l = 0; l < lanes; l++)
        free_at[l] = 0;
    for (size_t w = 0; w < n_work; w++)
        for (size_t left = work[w].n; left > 0;) {
            size_t n = left < room ? left : room;
            seconds += (double)n * work[w].seconds;
            left -= n;
            room -= n;
            if (room == 0) {
                busy_first(free_at, lanes, hand_out + seconds);
                room = chunk;
                seconds = 0;
            }
        }
    if (room < chunk)
        busy_first(free_at, lanes, hand_out + seconds);
    return last(free_at, lanes);
}

static int by_length(const void *left, const void *right)
{
    const struct pmap__replay_work *a = left, *b = right;

    return (a->seconds < b->seconds) - (a->seconds > b->seconds);
}

void pmap__replay_sort(struct pmap__replay_work *work, size_t n_work)
{
    qsort(work, n_work, sizeof *work, by_length);
}
