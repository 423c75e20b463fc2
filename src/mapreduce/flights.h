/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Flights: steps (steps.h) that the root sends off and takes the answers of, in the order in which they were sent, so many at a time.
 * Each is a job of a single item.
 */
#ifndef PMAP_MAPREDUCE_FLIGHTS_H
#define PMAP_MAPREDUCE_FLIGHTS_H

#include "engine/root.h"
#include "mapreduce/steps.h"

/* How the jobs are to be run. */
struct pmap__flight_rules {
    struct pmap__tenant *tenant;
    const struct pmap_task *task;
    int retries;
    uint64_t retry_delay; /* ns */
    int priority;
    uint64_t seed;
    bool last;            /* even if the pool is terminated */
    struct pmap__course *course; /* of the call, for those who look */
    uint64_t call;        /* as the tenant's observer names it; 0: it has none */
};

/* The part of the call that steps of a kind are, as the observer names it; 0: there is none. */
uint64_t pmap__flight_part(const struct pmap__flight_rules *rules, enum pmap__step_kind kind);

/* What it means that a step of a call is refused, as status says: the pool was interrupted; or else it is terminated, for a
 * call that was there before goes on in one that is only closed. */
enum pmap_status pmap__refused(enum pmap_status status, struct pmap_error *error);

struct pmap__flights;

/* most: how many may be on their way; NULL: no memory. */
struct pmap__flights *pmap__flights_create(const struct pmap__flight_rules *rules, size_t most);
/* Cancels and waits for what is on its way. NULL is fine. */
void pmap__flights_destroy(struct pmap__flights *flights);

bool pmap__flights_full(const struct pmap__flights *flights);
bool pmap__flights_empty(const struct pmap__flights *flights);

/* Send a step off, with size bytes behind it (copied). aim: 1 + rank, 0: whoever is free. index: what texts call it. Not when they are
 * full. PMAP_ENOMEM; PMAP_ECANCELLED: the pool is terminated; PMAP_EINTERRUPTED. */
enum pmap_status pmap__flights_send(struct pmap__flights *flights, const struct pmap__step *step, const void *payload, size_t size, int aim,
                                    size_t index, struct pmap_error *error);

/* Wait for the one that was sent first; its answer is the caller's, for free(). Not when they are empty. */
enum pmap_status pmap__flights_take(struct pmap__flights *flights, struct pmap_bytes *answer, struct pmap_error *error);

/* Take all that are on their way, whose answers say nothing, unless something has failed before; and destroy. The first status that is not
 * PMAP_OK. flights may be NULL if status says why there are none. */
enum pmap_status pmap__flights_end(struct pmap__flights *flights, enum pmap_status status, struct pmap_error *error);

/* A step for each of n ranks, all at once; answers, if not NULL, are malloc'ed, whatever the status is; of a step that was not sent
 * answers[i] stays as it was. The first error of all, but all that could be sent are run. */
enum pmap_status pmap__flights_all(const struct pmap__flight_rules *rules, const struct pmap__step *step, const void *payload, size_t size,
                                   const uint64_t ranks[], size_t n, struct pmap_bytes answers[], struct pmap_error *error);

#endif
