/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "sched/portion.h"

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* value, but at most high, but at least low even if high is lower still. */
static size_t between(size_t low, size_t value, size_t high)
{
    return larger(low, smaller(value, high));
}

/* a * b, or SIZE_MAX where that does not fit. */
static size_t times(size_t a, size_t b)
{
    return b != 0 && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

/* left * share / PMAP__WHOLE without overflow, for share <= PMAP__WHOLE. */
static size_t part_of(size_t left, uint64_t share)
{
    uint64_t high = (uint64_t)left >> 32, low = (uint64_t)left & (PMAP__WHOLE - 1);
    return (size_t)(high * share + (low * share >> 32));
}

/* How many items may be held for the sake of memory; at least one must be. */
static size_t affordable(const struct pmap__demand *d)
{
    return d->item_bytes ? larger(1, (size_t)(PMAP__PAYLOAD_MAX / d->item_bytes)) : SIZE_MAX;
}

/* Is it worth holding more than what runs? Not when the next chunk is awaited for a negligible time, and not when
 * every thread could have one of what is left. */
static int worth_holding(const struct pmap__demand *d, uint64_t chunk_ns)
{
    return chunk_ns != 0 && chunk_ns < PMAP__LONG_ITEM && d->left > (size_t)d->all_threads;
}

/* The user's chunksize: one thread takes one chunk. */
static struct pmap__portion fixed(const struct pmap__demand *d)
{
    size_t chunk = smaller(d->chunksize, d->left);
    uint64_t chunk_ns = d->item_ns > UINT64_MAX / d->chunksize ? UINT64_MAX : d->item_ns * d->chunksize;
    size_t depth = 1;

    if (worth_holding(d, chunk_ns))
        depth = between(2, (size_t)(PMAP__DEPTH_TIME / chunk_ns), PMAP__DEPTH_MAX);
    return (struct pmap__portion){.chunk = chunk,
                                  .grain = chunk,
                                  .hold = between(1, depth * (size_t)d->threads, affordable(d) / chunk)};
}

/* Nothing is known: one item per thread, to measure. */
static struct pmap__portion probe(const struct pmap__demand *d)
{
    size_t chunk = smaller(smaller((size_t)d->threads, d->left), affordable(d));
    return (struct pmap__portion){.chunk = chunk, .grain = 1, .hold = 1};
}

/* The worker's fair share of what is left, halved. */
static size_t half_share(const struct pmap__demand *d)
{
    if (d->share)
        return part_of(d->left, d->share) / 2;
    return times(d->left / (2 * (size_t)d->all_threads), (size_t)d->threads);
}

/* Items shorter than the quantum: all threads of the worker share a chunk, and hold another. */
static struct pmap__portion fine(const struct pmap__demand *d, uint64_t quantum)
{
    size_t threads = (size_t)d->threads;
    size_t whole = times((size_t)(quantum / d->item_ns), threads);
    size_t chunk = between(1, smaller(half_share(d), affordable(d) / 2), whole);

    /* Four grains a thread even out what differs within a chunk. */
    return (struct pmap__portion){.chunk = chunk,
                                  .grain = larger(1, chunk / (4 * threads)),
                                  .hold = worth_holding(d, d->item_ns) ? 2 : 1};
}

/* Longer items go one by one, or a few in one message where the root could not serve all threads otherwise. */
static struct pmap__portion coarse(const struct pmap__demand *d, uint64_t load_ns)
{
    size_t threads = (size_t)d->threads;
    size_t bundle = between(1, (size_t)(load_ns * threads / d->item_ns), threads);
    size_t chunk = between(1, smaller(half_share(d), affordable(d)), bundle);
    size_t round = (threads + chunk - 1) / chunk; /* chunks that keep every thread busy */
    size_t rounds = worth_holding(d, d->item_ns) ? d->left / (size_t)d->all_threads : 1;

    /* Four of the shortest items let the root look half as often; it may share its one CPU with items of its own. */
    rounds = between(1, rounds, d->item_ns < 2 * PMAP__QUANTUM ? 4 : 2);
    return (struct pmap__portion){.chunk = chunk, .grain = 1, .hold = between(1, rounds * round, affordable(d) / chunk)};
}

struct pmap__portion pmap__portion_next(const struct pmap__demand *d)
{
    if (d->chunksize)
        return fixed(d);
    if (d->item_ns == 0)
        return probe(d);
    /* The root spends ranks * service_ns on one round of chunks; it shall be half idle. */
    uint64_t load_ns = 2 * (uint64_t)d->ranks * d->service_ns;
    uint64_t quantum = larger(load_ns, PMAP__QUANTUM);
    return d->item_ns < quantum ? fine(d, quantum) : coarse(d, load_ns);
}

uint64_t pmap__rate(int threads, uint64_t item_ns)
{
    /* Picoseconds: a sum over 2^18 threads of 1 ns items still fits, and an item of a day is not 0. */
    uint64_t per_thread = item_ns ? larger(1, UINT64_C(1000000000000) / item_ns) : 0;
    return (uint64_t)threads * per_thread;
}

uint64_t pmap__share(uint64_t part, uint64_t all)
{
    if (part == 0)
        return 0;
    while (part >= PMAP__WHOLE) { /* room for the product; shares need no more than 32 bits */
        part >>= 1;
        all >>= 1;
    }
    uint64_t share = all > part ? (part << 32) / all : PMAP__WHOLE;
    return share ? share : 1;
}

void pmap__meter_add(struct pmap__meter *meter, uint64_t ns, uint64_t items)
{
    meter->ns = meter->ns / 2 + ns;
    /* Rounded up, so that one item keeps counting and the mean stays defined. */
    meter->items = (meter->items + 1) / 2 + items;
}

uint64_t pmap__meter_mean(const struct pmap__meter *meter)
{
    if (meter->items == 0)
        return 0;
    uint64_t mean = meter->ns / meter->items;
    return mean ? mean : 1;
}
