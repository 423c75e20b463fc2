/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/flights.h"

#include "base/error.h"
#include "engine/job.h"
#include "engine/wait.h"
#include "mapreduce/sound.h"

#include <stdlib.h>
#include <string.h>

struct flight {
    struct pmap__job job;
    struct pmap_bytes item, answer;
};

/* A ring. */
struct pmap__flights {
    struct pmap__flight_rules rules;
    size_t most, first, n;
    struct flight *ring[];
};

struct pmap__flights *pmap__flights_create(const struct pmap__flight_rules *rules, size_t most)
{
    struct pmap__flights *flights = calloc(1, sizeof *flights + most * sizeof(struct flight *));

    if (flights == NULL)
        return NULL;
    flights->rules = *rules;
    flights->most = most;
    return flights;
}

bool pmap__flights_full(const struct pmap__flights *flights)
{
    return flights->n == flights->most;
}

bool pmap__flights_empty(const struct pmap__flights *flights)
{
    return flights->n == 0;
}

static bool is_done(const void *job)
{
    return pmap__job_is_done(job);
}

static void flight_free(struct flight *flight)
{
    if (flight == NULL)
        return;
    free(flight->item.data);
    free(flight->answer.data);
    free(flight);
}

uint64_t pmap__flight_part(const struct pmap__flight_rules *rules, enum pmap__step_kind kind)
{
    static const char *const names[] = {"step", "begin", "sample", "borders", "near", "map", "drain", "flush", "reduce", "fetch", "commit",
                                        "counts", "stop", "keep", "end"};
    struct pmap__observer *observer = rules->tenant->observer;
    bool named = (size_t)kind < sizeof names / sizeof names[0];

    return rules->call && observer ? observer->ops->call_part(observer, rules->call, names[named ? (size_t)kind : 0]) : 0;
}

static struct flight *flight_create(const struct pmap__flight_rules *rules, const struct pmap__step *step, const void *payload,
                                    size_t size, int aim, size_t index)
{
    struct flight *flight = calloc(1, sizeof *flight);

    if (flight == NULL)
        return NULL;
    flight->item = (struct pmap_bytes){malloc(sizeof *step + size), sizeof *step + size};
    if (flight->item.data == NULL)
        goto fail;
    memcpy(flight->item.data, step, sizeof *step);
    if (size)
        memcpy((char *)flight->item.data + sizeof *step, payload, size);
    struct pmap__order_form form = {.call = "pmap_mapreduce", .task = rules->task, .args = &flight->item, .results = &flight->answer,
                                    .n = 1, .base = index, .on_error = PMAP_STOP, .retries = rules->retries,
                                    .retry_delay = rules->retry_delay,
                                    .priority = rules->priority, .seed = rules->seed, .aim = aim, .late = true, .last = rules->last,
                                    .course = rules->course, .part_of = pmap__flight_part(rules, (enum pmap__step_kind)step->kind)};
    if (pmap__job_init(&flight->job, &form) != PMAP_OK)
        goto fail;
    pmap__job_watch(&flight->job);
    return flight;
fail:
    flight_free(flight);
    return NULL;
}

enum pmap_status pmap__refused(enum pmap_status status, struct pmap_error *error)
{
    if (status == PMAP_EINTERRUPTED)
        return status;
    return pmap__error_set(error, PMAP_ECANCELLED, "pmap_mapreduce: cancelled by pmap_terminate");
}

enum pmap_status pmap__flights_send(struct pmap__flights *flights, const struct pmap__step *step, const void *payload, size_t size, int aim,
                                    size_t index, struct pmap_error *error)
{
    struct flight *flight = flight_create(&flights->rules, step, payload, size, aim, index);

    if (flight == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap_mapreduce: no memory on the root for a step of %zu bytes", size);
    enum pmap_status status = pmap__tenant_submit(flights->rules.tenant, &flight->job, error);
    if (status != PMAP_OK) {
        pmap__job_fini(&flight->job);
        flight_free(flight);
        return pmap__refused(status, error);
    }
    flights->ring[(flights->first + flights->n++) % flights->most] = flight;
    return PMAP_OK;
}

/* Is the answer one to this step? */
static enum pmap_status look_at(const struct flight *flight, struct pmap_error *error)
{
    struct pmap__step step;

    memcpy(&step, flight->item.data, sizeof step);
    const char *bad = pmap__answer_bad_field(&step, flight->item.size - sizeof step, flight->answer);
    if (bad == NULL)
        return PMAP_OK;
    return pmap__error_set(error, PMAP_EMISMATCH, "pmap_mapreduce: received an answer to a step with a bad %s", bad);
}

enum pmap_status pmap__flights_take(struct pmap__flights *flights, struct pmap_bytes *answer, struct pmap_error *error)
{
    struct flight *flight = flights->ring[flights->first];

    pmap__wait(is_done, &flight->job, PMAP__FOR_EVER);
    flights->first = (flights->first + 1) % flights->most;
    flights->n--;
    enum pmap_status status = pmap__job_outcome(&flight->job, error);
    pmap__job_fini(&flight->job);
    if (status == PMAP_OK)
        status = look_at(flight, error);
    *answer = flight->answer;
    flight->answer.data = NULL;
    flight_free(flight);
    return status;
}

void pmap__flights_destroy(struct pmap__flights *flights)
{
    struct pmap_error ignored;
    struct pmap_bytes answer;

    if (flights == NULL)
        return;
    for (size_t i = 0; i < flights->n; i++) {
        struct pmap__job *job = &flights->ring[(flights->first + i) % flights->most]->job;
        if (!pmap__job_is_done(job))
            pmap__root_cancel(flights->rules.tenant->root, job);
    }
    while (flights->n > 0) {
        pmap__flights_take(flights, &answer, &ignored);
        free(answer.data);
    }
    free(flights);
}

enum pmap_status pmap__flights_end(struct pmap__flights *flights, enum pmap_status status, struct pmap_error *error)
{
    struct pmap_bytes answer;

    while (status == PMAP_OK && !pmap__flights_empty(flights)) {
        status = pmap__flights_take(flights, &answer, error);
        free(answer.data);
    }
    pmap__flights_destroy(flights);
    return status;
}

enum pmap_status pmap__flights_all(const struct pmap__flight_rules *rules, const struct pmap__step *step, const void *payload, size_t size,
                                   const uint64_t ranks[], size_t n, struct pmap_bytes answers[], struct pmap_error *error)
{
    struct pmap__flights *flights = pmap__flights_create(rules, n);
    enum pmap_status status = PMAP_OK, one;
    struct pmap_error e;

    if (flights == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "pmap_mapreduce: no memory on the root for a step");
    for (size_t i = 0; i < n && status == PMAP_OK; i++)
        status = pmap__flights_send(flights, step, payload, size, (int)ranks[i] + 1, i, error);
    for (size_t i = 0; !pmap__flights_empty(flights); i++) {
        struct pmap_bytes answer;
        one = pmap__flights_take(flights, &answer, &e);
        if (one != PMAP_OK && status == PMAP_OK) {
            status = one;
            *error = e;
        }
        if (answers)
            answers[i] = answer;
        else
            free(answer.data);
    }
    pmap__flights_destroy(flights);
    return status;
}
