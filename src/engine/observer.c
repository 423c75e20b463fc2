/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What a root tells the observers of its tenants.
 */
#include "engine/observer.h"

#include "base/clock.h"
#include "engine/root_inside.h"

void pmap__observe_begin(struct pmap__tenant *tenant, struct pmap__job *job)
{
    struct pmap__observer *observer = tenant->observer;
    const struct pmap__order_form *form = &job->form;
    struct pmap__call_begins call = {.function = form->call, .task = form->task->name, .n = form->n, .chunksize = form->chunksize};

    job->subject = (struct pmap__subject){.observer = observer, .attempt = 1};
    if (observer == NULL)
        return;
    job->subject.call = form->part_of ? form->part_of : observer->ops->call_begins(observer, &call);
    job->subject.number = job->place->recorder ? observer->number : 0;
}

/* Items that were at no position, since the journal had their results. */
static size_t known_items(const struct pmap__job *job)
{
    size_t items = pmap__job_items(job, job->work.n);
    return items < job->form.n ? job->form.n - items : 0;
}

void pmap__observe_end(struct pmap__job *job, const struct pmap_error *refused)
{
    struct pmap__observer *observer = job->subject.observer;
    struct pmap__failures *verdict = pmap__job_verdict(job);
    struct pmap_error error = {.status = PMAP_OK};
    struct pmap__call_ends end = {.call = job->subject.call, .items = job->form.n};

    if (observer == NULL)
        return;
    if (refused)
        error = *refused;
    else if (pmap__job_outcome(job, &error) == PMAP_OK)
        error.status = PMAP_OK;
    end.status = error.status;
    end.error = error.status == PMAP_OK ? NULL : error.text;
    end.known = refused ? 0 : known_items(job);
    end.failed = (size_t)verdict->count;
    end.skipped = refused ? job->form.n : (size_t)verdict->cancelled;
    if (job->form.part_of)
        observer->ops->call_grows(observer, &end);
    else
        observer->ops->call_ends(observer, &end);
}

uint64_t pmap__observe_deal(const struct pmap__job *job)
{
    return job->subject.number ? pmap__now() : 0;
}

void pmap__observe_send(struct pmap__ticket *ticket, uint64_t dealt, size_t bytes, struct pmap__frame *frame)
{
    const struct pmap__subject *subject = &ticket->job->subject;

    if (subject->number == 0)
        return;
    ticket->seen = (struct pmap__chunk_ends){.call = subject->call, .chunk = atomic_fetch_add(subject->observer->chunks, 1) + 1,
                                             .rank = ticket->rank, .item = pmap__job_at(ticket->job, ticket->begin), .n = ticket->n,
                                             .attempt = subject->attempt, .bytes_out = bytes, .dealt = dealt, .sent = pmap__now()};
    if (ticket->job->fold) {
        const struct pmap__fold *fold = ticket->job->fold;
        ticket->seen.item *= fold->leaf;
        size_t left = fold->total - ticket->seen.item;
        ticket->seen.n = left / fold->leaf < ticket->n ? left : ticket->n * fold->leaf;
    }
    frame->wants |= PMAP__TRACED;
    frame->observer = subject->number;
    frame->call = subject->call;
    frame->chunk = ticket->seen.chunk;
    frame->attempt = subject->attempt;
}

void pmap__observe_answer(struct pmap__ticket *ticket, enum pmap__chunk_end end, const struct pmap__frame *frame, size_t bytes)
{
    struct pmap__observer *observer = ticket->job->subject.observer;
    struct pmap__chunk_ends *seen = &ticket->seen;

    if (seen->chunk == 0)
        return;
    seen->end = end;
    seen->bytes_in = bytes;
    seen->answered = pmap__now();
    seen->timed = frame && frame->timed;
    if (seen->timed) {
        seen->arrived = frame->arrived;
        seen->begun = frame->begun;
        seen->ended = frame->ended;
    }
    observer->ops->chunk_ends(observer, seen);
    seen->chunk = 0;
}
