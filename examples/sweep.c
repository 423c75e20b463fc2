/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * sweep: which oscillator settles first? a x" + b x' + c x = 0 is a mass a on a spring c with friction b, let go at 1.
 * Friction below zero is what wind does to a bridge. Such runs fail, and the sweep goes on without them. Each result is
 * told on stderr as it comes; the table on stdout is the same for any number of threads and ranks.
 */
#include <pmap.h>
#include <stdio.h>

enum { POINTS = 4 * 8 * 4, BEST = 5 };                  /* masses, frictions, springs */
enum { WIDER = 1, SWINGS, CODES };                      /* for pmap_fail; 0 where it is not the task that failed */

static double settle(double a, double b, double c)      /* seconds until |x| can never reach 0.01 again */
{
    double x = 1, v = 0, energy = 1, t = 0, step = 1e-4;
    for (; energy > 1e-4; t += step) {
        v -= step * (b * v + c * x) / a;                /* Euler and Cromer: without friction no energy is lost */
        x += step * v;
        energy = x * x + v * v * a / c;                 /* 1 at first */
        if (energy > 100 || t > 60)
            return pmap_fail(energy > 100 ? WIDER : SWINGS, "friction %g: %.3g times the energy after %.0f s", b, energy, t);
    }
    return t;
}
PMAP_TASK(settle, double, double, double, double);      /* also defines struct settle_args: one item */

static struct settle_args point(int i) { return (struct settle_args){1 + i % 4, i / 4 % 8 - 1, 5 * (1 + i / 32)}; }

static bool next_point(void *state, void *item)         /* a generator: asked when there is room for one more item */
{
    int i = (*(int *)state)++;
    *(struct settle_args *)item = point(i);
    return i < POINTS;
}

int main(void)
{
    double seconds[POINTS] = {0}, s;                    /* 0: has failed */
    int given = 0, failed[CODES] = {0};
    struct pmap_error error;
    struct pmap_pool *pool;
    enum pmap_status status = pmap_create(&pool);
    if (pool == NULL)
        return status != PMAP_OK;                       /* or this rank has served, and is done */
    struct pmap_iter *it = pmap_imap_unordered(pool, settle, PMAP_GENERATOR(next_point, &given), .error = &error);
    while (it && (status = pmap_iter_next(it, &s, PMAP_FOREVER)) != PMAP_END)
        if (status == PMAP_OK) {
            fprintf(stderr, "point %zu settles after %.2f s\n", pmap_iter_item(it), s);
            seconds[pmap_iter_item(it)] = s;
        } else {
            pmap_perror(NULL, &error);
            failed[error.code]++;
        }
    pmap_iter_free(it);
    pmap_destroy(pool);
    if (status != PMAP_END || failed[0] > 0) {          /* no stream, or a point that was not run */
        pmap_perror("sweep", &error);
        return 1;
    }
    printf("mass friction spring  settles after\n");
    for (int k = 0, best = 0; k < BEST; k++, seconds[best] = 0) {
        for (int i = 0; i < POINTS; i++)                /* equals in their order, not as they came */
            if (seconds[i] > 0 && (seconds[best] <= 0 || seconds[i] < seconds[best]))
                best = i;
        printf("%4g %8g %6g %12.2f s\n", point(best)._1, point(best)._2, point(best)._3, seconds[best]);
    }
    printf("%d of %d swing ever wider, %d still swing after a minute\n", failed[WIDER], POINTS, failed[SWINGS]);
    return 0;
}
