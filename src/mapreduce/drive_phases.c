/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The phases of a call, for the pool's observer, if it has one.
 */
#include "mapreduce/drive_inside.h"

#include "base/clock.h"

#include <string.h>

void pmap__drive_observe(struct pmap__drive *d)
{
    struct pmap__observer *observer = d->rules.tenant->observer;
    struct pmap__call_begins call = {.function = "pmap_mapreduce", .task = d->rules.task->name};

    if (observer)
        d->rules.call = observer->ops->call_begins(observer, &call);
    d->phase_since = d->since;
}

void pmap__drive_mark(struct pmap__drive *d, const char *name)
{
    uint64_t now = pmap__now();

    if (d->n_phases < PMAP__DRIVE_PHASES)
        d->phases[d->n_phases++] = (struct pmap__drive_phase){.name = name, .begin = d->phase_since, .end = now};
    d->phase_since = now;
}

/* What the statistics of the call say of a phase. */
static void fill(struct pmap__phase *phase, const struct pmap_mapreduce_stats *s, const struct pmap__drive *d)
{
    if (strcmp(phase->name, "map") == 0) {
        phase->items = s->splits;
        phase->bytes_in = s->bytes_in;
        phase->records_out = s->pairs;
        phase->bytes_out = s->pair_bytes;
        phase->bytes_sent = s->shuffled_bytes;
        phase->bytes_spilled = s->spilled_bytes;
    } else if (strcmp(phase->name, "reduce") == 0) {
        phase->items = d->plan.partitions;
        phase->records_in = s->pairs - s->combined;
        phase->records_out = s->records_out;
    } else if (strcmp(phase->name, "output") == 0) {
        phase->records_out = s->records_out;
        phase->bytes_out = s->bytes_out;
    }
}

/* Numbers of a call that failed are not known: they are counted last. */
static void tell_phases(struct pmap__drive *d, struct pmap__observer *observer, bool well)
{
    for (size_t i = 0; i < d->n_phases; i++) {
        struct pmap__phase phase = {d->rules.call, d->phases[i].name, d->phases[i].begin, d->phases[i].end,
                                    UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
        if (well)
            fill(&phase, &d->stats, d);
        observer->ops->phase(observer, &phase);
    }
}

void pmap__drive_observed(struct pmap__drive *d, enum pmap_status status, const struct pmap_error *error)
{
    struct pmap__observer *observer = d->rules.tenant->observer;
    struct pmap__call_ends end = {.call = d->rules.call, .status = status, .error = status == PMAP_OK ? NULL : error->text};

    if (observer == NULL)
        return;
    tell_phases(d, observer, status == PMAP_OK);
    observer->ops->call_ends(observer, &end);
}
