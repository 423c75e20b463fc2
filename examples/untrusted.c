/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * untrusted: code that may crash, hang or leave. Which of the first 30 numbers reach 1 if even ones are halved and odd ones
 * become 3 x + 1, by a function that was not written with care? Each item runs in a process of its own, so what goes
 * wrong costs that item alone; the table is the same for any number of threads and ranks.
 */
#include <pmap.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 30 };

static int steps_to_one(int x)
{
    static const int small[] = {0, 0, 1, 7, 2};         /* known answers, it says */
    int steps = 0;

    if (x == 13)
        exit(3);                                        /* unlucky */
    if (x == 25)
        return *(volatile int *)NULL;                   /* a pointer that was never set */
    if (x > 0 && x < 5)
        return small[x];
    while (x != 1) {                                    /* does not end for 0 and below: see the 29th item */
        x = x % 2 ? 3 * x + 1 : x / 2;
        steps++;
    }
    return steps;
}

static int careless(int i) { return steps_to_one(i == 28 ? -5 : i + 1); }
PMAP_TASK(careless, int, int);

int main(void)
{
    int in[N], steps[N];
    enum pmap_status statuses[N];
    struct pmap_error error = {.status = PMAP_OK};
    struct pmap_pool *pool;
    enum pmap_status status = pmap_create(&pool, .isolate = true);

    if (pool == NULL)
        return status != PMAP_OK;                       /* or this rank has served, and is done */
    for (int i = 0; i < N; i++)
        in[i] = i;
    status = pmap_map(pool, careless, in, steps, N, .on_error = PMAP_COLLECT, .statuses = statuses, .timeout = 0.5);
    for (int i = 0; i < N && status == PMAP_OK; i++)
        if (statuses[i] == PMAP_OK)
            printf("%d: %d steps\n", i + 1, steps[i]);
        else
            printf("%d: %s\n", i + 1, pmap_status_name(statuses[i]));
    if (pmap_map(pool, careless, in, steps, N, .timeout = 0.5, .error = &error) != PMAP_OK)
        pmap_perror(NULL, &error);                      /* the lowest: pmap: careless crashed at item 12 on … */
    pmap_destroy(pool);
    return status != PMAP_OK;
}
