/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/seat.h"

#include "base/clock.h"

#define STRIDE_MAX 64 /* grains: after so many, looking at the clock does not count; and if they become long, it is soon noticed */
#define PASS_MAX 15   /* single pieces likewise */
#define SHORT (100 * PMAP__US) /* what is timed by its like */

static void add(atomic_uint_fast64_t *sum, uint64_t n)
{
    atomic_store_explicit(sum, atomic_load_explicit(sum, memory_order_relaxed) + n, memory_order_relaxed);
}

void pmap__seat_measure(struct pmap__seat *seat, uint64_t took, size_t n)
{
    uint64_t each = took / n;
    _Atomic uint64_t *class = &seat->times[pmap__durations_class(each)];

    atomic_store_explicit(class, atomic_load_explicit(class, memory_order_relaxed) + n, memory_order_relaxed);
    if (each > atomic_load_explicit(&seat->longest, memory_order_relaxed))
        atomic_store_explicit(&seat->longest, each, memory_order_relaxed);
    add(&seat->busy, took);
}

void pmap__seat_take(struct pmap__seat *seat, const void *whole, const struct pmap_task *task, const struct pmap__turn *turn)
{
    seat->single = turn->work->place.single;
    seat->timed = !seat->single || seat->passed >= seat->pass;
    seat->looked = !seat->single ? turn->since : seat->timed ? pmap__now() : 0;
    seat->fresh = 0;
    seat->grains = 0;
    seat->stride = 1;
    atomic_store_explicit(&seat->since, pmap__roughly_now(), memory_order_relaxed);
    atomic_store_explicit(&seat->n, 0, memory_order_relaxed);
    atomic_store_explicit(&seat->task, task, memory_order_relaxed);
    atomic_store_explicit(&seat->whole, whole, memory_order_relaxed);
}

/* So long what is fresh has taken. */
static void tell(struct pmap__seat *seat, uint64_t took)
{
    add(&seat->items, seat->fresh);
    pmap__seat_measure(seat, took, seat->fresh);
}

void pmap__seat_look(struct pmap__seat *seat, uint64_t now)
{
    now = now ? now : pmap__now();
    uint64_t took = now - seat->looked;

    atomic_store_explicit(&seat->since, now, memory_order_relaxed);
    seat->grains = 0;
    if (seat->fresh && took < PMAP__MS) {
        if (took < SHORT && seat->stride < STRIDE_MAX)
            seat->stride *= 2;
        return;
    }
    if (seat->fresh)
        tell(seat, took);
    seat->looked = now;
    seat->fresh = 0;
    seat->stride = 1;
}

/* A single piece has been run, and perhaps timed for others. One that was not, and was long, is told from those by the rough clock. */
static void leave_single(struct pmap__seat *seat)
{
    uint64_t since = seat->timed ? seat->looked : atomic_load_explicit(&seat->since, memory_order_relaxed);
    uint64_t took = (seat->timed ? pmap__now() : pmap__roughly_now()) - since;
    bool is_short = took < SHORT;

    if (seat->fresh == 0)
        return;
    add(&seat->items, seat->fresh);
    if (!seat->timed && is_short) {
        seat->passed++;
        return;
    }
    if (seat->timed && is_short && seat->passed)
        pmap__seat_measure(seat, took * (seat->passed + 1), seat->fresh * (seat->passed + 1));
    else
        pmap__seat_measure(seat, took, seat->fresh);
    if (seat->timed)
        seat->passed = 0;
    seat->pass = !is_short ? 0 : seat->pass < PASS_MAX ? 2 * seat->pass + 1 : PASS_MAX;
}

void pmap__seat_leave(struct pmap__seat *seat)
{
    if (seat->single)
        leave_single(seat);
    else if (seat->fresh)
        tell(seat, pmap__now() - seat->looked);
    atomic_store_explicit(&seat->whole, NULL, memory_order_relaxed);
}

void pmap__seats_add_up(const struct pmap__seat *seats, int n, struct pmap__durations *durations)
{
    for (int i = 0; i < n; i++) {
        for (size_t class = 0; class < PMAP__DURATIONS; class++) {
            uint64_t count = atomic_load_explicit(&seats[i].times[class], memory_order_relaxed);
            durations->count[class] += count;
            durations->total += count;
        }
        uint64_t longest = atomic_load_explicit(&seats[i].longest, memory_order_relaxed);
        if (longest > durations->longest)
            durations->longest = longest;
    }
}
