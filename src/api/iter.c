/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Streams. The items of a source are cut into batches of chunksize; each batch is a job of one piece, with memory of its own,
 * so that a stream is nothing that the engine would have to know. Batches stand in a list in the order of the source; the
 * consumer yields the items of one after the other, the first in the list or, unordered, any that is done.
 *
 * What bounds it: items that are taken from the source and not yielded yet are never more than buffersize. Whoever takes
 * items counts them in taken, the consumer counts in yielded.
 *
 * Who takes items: from an array the consumer does, when the stream is made and after each item that it yields. A generator
 * has a thread, the feeder, that calls it, sleeps while the buffer is full, and ends with the source. Consumer and feeder
 * meet under the stream's lock. A batch belongs to whoever fills it, then to the engine until its job is done, then
 * to the consumer, who gives it back for another.
 */
#include "api/api.h"

#include "base/bell.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/thread.h"
#include "engine/wait.h"

#include <stdlib.h>
#include <string.h>

struct batch {
    struct pmap__job job;
    size_t first, n;    /* items [first, first + n) of the source */
    size_t yielded;
    char *items;        /* of a generator; NULL for an array */
    size_t room;        /* for so many */
    char *results;
    size_t results_room;
    const struct pmap__record *record; /* the next failure to be told, sorted by item */
    struct batch *next; /* in the list of those under way, of spares, or of those that are done */
    struct batch *next_done;
};

struct pmap_iter {
    struct pmap_pool *pool;       /* NULL: it was destroyed with the stream in it, which has ended */
    struct pmap__tenant *tenant;
    struct pmap_iter *before, *after; /* of the pool's streams; under the list's lock */
    struct pmap__order_form form; /* of each batch */
    struct pmap_source source;
    size_t chunksize, buffersize;
    bool ordered;
    struct pmap_error *wanted;    /* the caller's .error, or NULL */
    size_t item;                  /* that the last call told about */
    char refused[sizeof (struct pmap_error){0}.text]; /* why the last call was; "": it was not */
    struct pmap__course course;   /* for those who look at the pool, */
    bool is_course;               /* from the beginning until all is told, or the end; the consumer's */
    struct batch *current;        /* being yielded; these four are the consumer's own */
    uint64_t since;               /* when the stream began; */
    uint64_t upto;                /* how far the journal must have come for all that was yielded to be there; */
    bool told_journal;            /* it has been said that the journal is broken */

    pthread_mutex_t lock; /* of these: */
    struct batch *first, **last; /* under way or done, in the order of the source */
    struct batch *done, **done_last; /* unordered: those whose job has ended, in that order */
    struct batch *spare;
    size_t taken, yielded;
    bool over;   /* the source gives no more */
    bool stop;   /* it shall not be asked any more */
    struct pmap_error failed; /* the source did; PMAP_OK: it did not, or that has been told */

    bool has_feeder;
    pthread_t feeder;
    pthread_cond_t room; /* the feeder waits for it: something was yielded, or it shall stop */
};

/* ---- Batches ---- */

static void batch_destroy(struct batch *batch)
{
    if (batch == NULL)
        return;
    free(batch->items);
    free(batch->results);
    free(batch);
}

/* Room for n elements of size bytes; what is there stays. */
static bool grow(char **elements, size_t *room, size_t n, size_t size)
{
    size_t more = 2 * *room > n ? 2 * *room : n, bytes;

    if (*elements && n <= *room)
        return true;
    if (!pmap__multiply(more, size, &bytes))
        return false;
    char *grown = realloc(*elements, bytes ? bytes : 1);
    if (grown == NULL)
        return false;
    *elements = grown;
    *room = more;
    return true;
}

/* A batch that begins with the next item; NULL if memory is short. */
static struct batch *batch_take(struct pmap_iter *it)
{
    pthread_mutex_lock(&it->lock);
    struct batch *batch = it->spare;
    if (batch)
        it->spare = batch->next;
    pthread_mutex_unlock(&it->lock);
    if (batch == NULL)
        batch = calloc(1, sizeof *batch);
    if (batch == NULL)
        return NULL;
    batch->n = batch->yielded = 0;
    batch->record = NULL;
    return batch;
}

/* The data of items from a generator is the library's. */
static void free_items(const struct pmap_iter *it, struct batch *batch)
{
    if (it->form.task->bytes && it->source.next && batch->items)
        pmap_bytes_free((struct pmap_bytes *)(void *)batch->items, batch->n);
}

/* A batch that never became a job, or whose job is done and finished with. */
static void batch_give(struct pmap_iter *it, struct batch *batch)
{
    free_items(it, batch);
    pthread_mutex_lock(&it->lock);
    batch->next = it->spare;
    it->spare = batch;
    pthread_mutex_unlock(&it->lock);
}

/* ---- From the source to the engine ---- */

/* By whoever completes the job: unordered, it stands in line with those that are done. */
static void batch_ended(struct pmap__job *job, void *owner)
{
    struct pmap_iter *it = owner;
    struct batch *batch = (struct batch *)job; /* its first member */

    pthread_mutex_lock(&it->lock);
    batch->next_done = NULL;
    *it->done_last = batch;
    it->done_last = &batch->next_done;
    pthread_mutex_unlock(&it->lock);
}

/* The source is over, for a reason or for none. */
static void source_ends(struct pmap_iter *it, const struct pmap_error *why)
{
    pthread_mutex_lock(&it->lock);
    if (why && !it->over)
        it->failed = *why;
    it->over = true;
    pthread_mutex_unlock(&it->lock);
    pmap__wait_over();
}

/* Nothing of it could be run: out of the list again, where it is the last, for only the caller appends. */
static void take_back(struct pmap_iter *it, struct batch *batch)
{
    pthread_mutex_lock(&it->lock);
    struct batch **at = &it->first;
    while (*at && *at != batch)
        at = &(*at)->next;
    if (*at) {
        *at = NULL;
        it->last = at;
    }
    pthread_mutex_unlock(&it->lock);
}

static enum pmap_status submit_job(struct pmap_iter *it, struct batch *batch, struct pmap_error *error)
{
    struct pmap__order_form form = it->form;

    form.n = batch->n;
    form.base = batch->first;
    form.chunksize = batch->n;
    form.args = batch->items ? (const void *)batch->items
                             : pmap__element(it->source.items, batch->first, form.task->args_size);
    form.owner = it;
    bool roomy = grow(&batch->results, &batch->results_room, batch->n, form.task->result_size);
    form.results = batch->results;
    if (!roomy || pmap__job_init(&batch->job, &form) != PMAP_OK)
        return pmap__error_set(error, PMAP_ENOMEM, "%s: no memory for a job", form.call);
    pmap__job_watch(&batch->job);
    pthread_mutex_lock(&it->lock);
    batch->next = NULL;
    *it->last = batch;
    it->last = &batch->next;
    pthread_mutex_unlock(&it->lock);
    enum pmap_status status = pmap__tenant_submit(it->tenant, &batch->job, error);
    if (status == PMAP_OK)
        return PMAP_OK;
    take_back(it, batch);
    pmap__job_fini(&batch->job);
    if (form.task->bytes) /* what the journal knew of it */
        pmap_bytes_free((struct pmap_bytes *)(void *)batch->results, batch->n);
    return status;
}

static void submit(struct pmap_iter *it, struct batch *batch)
{
    struct pmap_error error;

    enum pmap_status status = submit_job(it, batch, &error);
    if (status == PMAP_OK)
        return;
    error.item = batch->first;
    batch_give(it, batch);
    source_ends(it, status == PMAP_ECLOSED ? NULL : &error);
}

/* No more items shall be taken: the pool is closed, or interrupted, and then *why says so. */
static bool is_closed(struct pmap_iter *it, struct pmap_error *why)
{
    struct pmap_error error;

    enum pmap_status status = pmap__tenant_admits(it->tenant, it->form.call, &error);
    if (status == PMAP_EINTERRUPTED) {
        *why = error;
        why->item = it->taken;
    }
    return status != PMAP_OK;
}

/* ---- An array: the consumer takes items ---- */

/* How many items the next batch can have now; 0: it has to wait, or there are none. */
static size_t next_batch(struct pmap_iter *it)
{
    size_t left = it->source.n - it->taken, room = it->buffersize - (it->taken - it->yielded);
    size_t want = left < it->chunksize ? left : it->chunksize;

    return it->over || it->stop || room < want ? 0 : want;
}

static void fill_from_array(struct pmap_iter *it)
{
    struct pmap_error error = {.status = PMAP_OK};
    size_t n;

    if (!it->over && (it->taken == it->source.n || is_closed(it, &error)))
        source_ends(it, error.status == PMAP_OK ? NULL : &error);
    while ((n = next_batch(it)) > 0) {
        struct batch *batch = batch_take(it);
        if (batch == NULL) {
            pmap__error_set(&error, PMAP_ENOMEM, "%s: no memory for %zu items", it->form.call, n);
            error.item = it->taken;
            source_ends(it, &error);
            return;
        }
        batch->first = it->taken;
        batch->n = n;
        it->taken += n;
        submit(it, batch);
        if (it->taken == it->source.n)
            source_ends(it, NULL);
    }
}

/* ---- A generator: the feeder takes items ---- */

/* Wait until there is room for an item. False if there is to be none any more, and *why if there is a reason. */
static bool await_room(struct pmap_iter *it, struct pmap_error *why)
{
    pthread_mutex_lock(&it->lock);
    while (!it->stop && it->taken - it->yielded >= it->buffersize)
        pthread_cond_wait(&it->room, &it->lock);
    bool go_on = !it->stop;
    pthread_mutex_unlock(&it->lock);
    return go_on && !is_closed(it, why);
}

/* Ask the generator for an item. False if it has none; *said is why, if it failed. */
static bool generate(struct pmap_iter *it, void *item, struct pmap_error *said)
{
    struct pmap__run run;

    pmap__role_begin(&run, "the generator", pmap__root_place(it->tenant->root), 0, said);
    run.may_wait = true;
    bool given = it->source.next(it->source.state, item);
    pmap__role_end(&run);
    said->item = it->taken;
    if (!given && said->status == PMAP_OK && it->source.n > it->taken) {
        size_t taken = it->taken;
        pmap__error_set(said, PMAP_EFAILED, "%s: the generator ended after %zu items, but said that it would give %zu",
                        it->form.call, taken, it->source.n);
        said->item = taken;
    }
    const struct pmap_bytes *bytes = item;
    if (given && said->status == PMAP_OK && it->form.task->bytes && bytes->data == NULL && bytes->size > 0) {
        pmap__error_set(said, PMAP_EFAILED, "%s: the generator gave an item of %zu bytes whose data is NULL", it->form.call,
                        bytes->size);
        said->item = it->taken;
    }
    return given && said->status == PMAP_OK;
}

static void count_taken(struct pmap_iter *it)
{
    pthread_mutex_lock(&it->lock);
    it->taken++;
    pthread_mutex_unlock(&it->lock);
}

/* Fill a batch; *over says whether the source has ended with it, and *why. */
static void fill_batch(struct pmap_iter *it, struct batch *batch, bool *over, struct pmap_error *why)
{
    size_t size = it->form.task->args_size;

    while (batch->n < it->chunksize && !*over) {
        if (!grow(&batch->items, &batch->room, batch->n + 1, size)) {
            pmap__error_set(why, PMAP_ENOMEM, "%s: no memory for %zu items", it->form.call, batch->n + 1);
            why->item = it->taken;
            *over = true;
            break;
        }
        *over = (it->source.n && it->taken == it->source.n) || !await_room(it, why) ||
                !generate(it, batch->items + batch->n * size, why);
        if (!*over) {
            batch->n++;
            count_taken(it);
        }
    }
}

static void *feed(void *argument)
{
    struct pmap_iter *it = argument;
    struct pmap_error why = {.status = PMAP_OK};
    bool over = false;

    while (!over) {
        struct batch *batch = batch_take(it);
        if (batch == NULL) {
            pmap__error_set(&why, PMAP_ENOMEM, "%s: no memory for %zu items", it->form.call, it->chunksize);
            why.item = it->taken;
            break;
        }
        batch->first = it->taken;
        fill_batch(it, batch, &over, &why);
        pthread_mutex_lock(&it->lock);
        bool dropped = it->stop || batch->n == 0;
        over |= it->stop || it->over;
        pthread_mutex_unlock(&it->lock);
        if (dropped)
            batch_give(it, batch);
        else
            submit(it, batch);
    }
    source_ends(it, why.status == PMAP_OK ? NULL : &why);
    return NULL;
}

/* ---- The consumer ---- */

/* The batch to be yielded next, if its job is done, taken out of the lists; NULL if there is none yet. Under the lock. */
static struct batch *take_done(struct pmap_iter *it)
{
    struct batch *batch = it->ordered ? it->first : it->done;

    if (batch == NULL || !pmap__job_is_done(&batch->job))
        return NULL;
    if (!it->ordered) {
        it->done = batch->next_done;
        if (it->done == NULL)
            it->done_last = &it->done;
    }
    struct batch **at = &it->first;
    while (*at != batch)
        at = &(*at)->next;
    *at = batch->next;
    if (it->last == &batch->next)
        it->last = at;
    return batch;
}

/* Is there something to tell: a batch, the end, or a failure of the source? */
static bool has_news(const void *argument)
{
    struct pmap_iter *it = (struct pmap_iter *)(uintptr_t)argument; /* to lock it */

    pthread_mutex_lock(&it->lock);
    struct batch *batch = it->ordered ? it->first : it->done;
    bool news = batch ? pmap__job_is_done(&batch->job) : it->over && it->first == NULL;
    pthread_mutex_unlock(&it->lock);
    return news;
}

/* Failures of a batch come in any order; there are few. */
static void sort_records(struct pmap__failures *failures)
{
    struct pmap__record *sorted = NULL, *record = pmap__failures_take(failures);

    while (record) {
        struct pmap__record *next = record->next, **at = &sorted;
        while (*at && (*at)->item < record->item)
            at = &(*at)->next;
        record->next = *at;
        *at = record;
        record = next;
    }
    failures->records = sorted;
}

static struct batch *next_current(struct pmap_iter *it)
{
    pthread_mutex_lock(&it->lock);
    struct batch *batch = take_done(it);
    pthread_mutex_unlock(&it->lock);
    if (batch == NULL)
        return NULL;
    sort_records(pmap__job_verdict(&batch->job));
    batch->record = pmap__job_verdict(&batch->job)->records;
    return batch;
}

/* Why an item has no result, where its own failure does not say. */
static void tell_why(struct batch *batch, size_t item, struct pmap_error *error)
{
    struct pmap__job *job = &batch->job;
    bool not_run = batch->record->status == PMAP_ECANCELLED;

    if (not_run && pmap__recall_lost(job, true, error))
        return;
    if (not_run && pmap__cause_is_set(&job->cause))
        pmap__cause_error(&job->cause, job->form.call, "the item was not run", error);
    else
        pmap__error_set(error, batch->record->status, "%s: item %zu was not run", job->form.call, item);
}

/* What became of an item of the batch; *error if it is not PMAP_OK. */
static enum pmap_status verdict_on(struct batch *batch, size_t item, struct pmap_error *error)
{
    while (batch->record && batch->record->item + batch->record->n <= item)
        batch->record = batch->record->next;
    if (batch->job.failures.forgot || batch->job.last.forgot)
        return pmap__error_set(error, PMAP_ENOMEM, "%s: no memory to note which items failed", batch->job.form.call);
    if (batch->record == NULL || batch->record->item > item)
        return PMAP_OK;
    if (batch->record->error)
        *error = *batch->record->error;
    else
        tell_why(batch, item, error);
    error->item = item;
    return error->status;
}

static enum pmap_status yield(struct pmap_iter *it, void *out, struct pmap_error *error)
{
    struct batch *batch = it->current;
    size_t size = it->form.task->result_size, at = batch->yielded++;

    it->item = batch->first + at;
    enum pmap_status status = verdict_on(batch, it->item, error);
    if (size)
        memcpy(out, batch->results + at * size, size);
    if (status != PMAP_OK && it->form.task->bytes)
        free(((struct pmap_bytes *)out)->data); /* an item that was not known to have failed might have some */
    if (status != PMAP_OK && size)
        memset(out, 0, size);
    it->told_journal |= status == PMAP_EJOURNAL;
    if (batch->yielded == batch->n) {
        uint64_t upto = pmap__recall_upto(&batch->job);
        it->upto = upto > it->upto ? upto : it->upto;
        it->current = NULL;
        pmap__job_fini(&batch->job);
        batch_give(it, batch);
    }
    pthread_mutex_lock(&it->lock);
    it->yielded++;
    if (it->has_feeder)
        pthread_cond_signal(&it->room);
    pthread_mutex_unlock(&it->lock);
    if (it->source.next == NULL)
        fill_from_array(it);
    return status;
}

/* Nothing is under way, and nothing will come: the end, or once why the source failed, or that what was yielded is not all written
 * down. */
static enum pmap_status tell_end(struct pmap_iter *it, void *out, struct pmap_error *error)
{
    pthread_mutex_lock(&it->lock);
    *error = it->failed;
    it->failed.status = PMAP_OK;
    pthread_mutex_unlock(&it->lock);
    if (error->status == PMAP_OK && it->pool && !it->told_journal &&
        pmap__recall_row_lost(it->tenant->journal, it->form.call, it->since, it->upto, error))
        error->item = PMAP_NO_ITEM;
    it->told_journal |= error->status == PMAP_EJOURNAL;
    it->item = error->status == PMAP_OK ? PMAP_NO_ITEM : error->item;
    if (error->status == PMAP_OK)
        return PMAP_END;
    if (it->form.task->result_size)
        memset(out, 0, it->form.task->result_size);
    return error->status;
}

/* Is the calling thread the stream's own generator? The stream would wait for it. */
static bool in_own_source(const struct pmap_iter *it)
{
    return it->has_feeder && pthread_equal(it->feeder, pthread_self());
}

static enum pmap_status check_next(struct pmap_iter *it, void *out, size_t out_size, double timeout, struct pmap_error *error)
{
    static const char call[] = "pmap_iter_next";
    struct pmap__call as_call = {.name = call, .task = it->form.task};

    enum pmap_status status = pmap__timeout_check(call, timeout, error);
    if (status == PMAP_OK && in_own_source(it))
        return pmap__error_set(error, PMAP_EDEADLOCK, "%s: called inside the generator of the stream", call);
    if (status == PMAP_OK && out == NULL && it->form.task->result_size)
        status = pmap__error_set(error, PMAP_EINVAL, "%s: out is NULL", call);
    if (status == PMAP_OK && out)
        status = pmap__element_check(&as_call, "out", out_size, it->form.task->result_size, error);
    if (status == PMAP_OK && timeout != 0 && it->current == NULL && !has_news(it))
        status = pmap__may_wait(call, error);
    return status;
}

/* Nothing more comes of it. */
static void end_course(struct pmap_iter *it)
{
    if (it->is_course)
        pmap__course_end(it->tenant, &it->course);
    it->is_course = false;
}

static enum pmap_status next(struct pmap_iter *it, void *out, size_t out_size, double timeout, struct pmap_error *error)
{
    enum pmap_status status = check_next(it, out, out_size, timeout, error);

    if (status != PMAP_OK) { /* whoever takes results until PMAP_END would for ever be told the same */
        bool again = strcmp(it->refused, error->text) == 0;
        memcpy(it->refused, error->text, sizeof it->refused);
        return again ? PMAP_END : status;
    }
    it->refused[0] = '\0';
    while (it->current == NULL && (it->current = next_current(it)) == NULL) {
        if (!pmap__wait(has_news, it, pmap__deadline(timeout)))
            return pmap__timed_out("pmap_iter_next", error);
        if ((it->current = next_current(it)) == NULL) {
            end_course(it);
            return tell_end(it, out, error);
        }
    }
    return yield(it, out, error);
}

enum pmap_status pmap_iter_next_with(struct pmap_iter *it, void *out, size_t out_size, double timeout)
{
    struct pmap_error error;

    if (it == NULL)
        return PMAP_END;
    enum pmap_status status = next(it, out, out_size, timeout, &error);
    if (status == PMAP_OK || status == PMAP_END || status == PMAP_ETIMEOUT)
        return status;
    return pmap__error_report(it->wanted, &error);
}

size_t pmap_iter_item(const struct pmap_iter *it)
{
    return it ? it->item : PMAP_NO_ITEM;
}

/* ---- Life ---- */

static void free_batches(struct batch *batch)
{
    while (batch) {
        struct batch *next_one = batch->next;
        batch_destroy(batch);
        batch = next_one;
    }
}

/* The job of this batch is done: forget it, and what nobody has been told of it. */
static void drop(struct pmap_iter *it, struct batch *batch)
{
    if (it->form.task->bytes)
        pmap_bytes_free((struct pmap_bytes *)(void *)batch->results + batch->yielded, batch->n - batch->yielded);
    pmap__job_fini(&batch->job);
    batch_give(it, batch);
}

static bool is_done(const void *batch)
{
    return pmap__job_is_done(&((const struct batch *)batch)->job);
}

static void stop_source(struct pmap_iter *it)
{
    pthread_mutex_lock(&it->lock);
    it->stop = true;
    pthread_cond_signal(&it->room);
    pthread_mutex_unlock(&it->lock);
    if (it->has_feeder)
        pthread_join(it->feeder, NULL);
    it->has_feeder = false;
}

/* To an observer it is one call. */
static void observe_begin(struct pmap_iter *it)
{
    struct pmap__observer *observer = it->tenant->observer;
    struct pmap__call_begins call = {.function = it->form.call, .task = it->form.task->name, .n = it->source.next ? 0 : it->source.n,
                                     .chunksize = it->chunksize};
    if (observer)
        it->form.part_of = observer->ops->call_begins(observer, &call);
}

static void observe_end(struct pmap_iter *it)
{
    struct pmap__observer *observer = it->tenant->observer;

    if (observer)
        observer->ops->call_ends(observer, &(struct pmap__call_ends){.call = it->form.part_of});
}

/* End the stream: after that nothing of it runs any more, and it has no results. */
static void end(struct pmap_iter *it)
{
    stop_source(it);
    for (struct batch *batch = it->first; batch; batch = batch->next)
        if (!is_done(batch))
            pmap__root_cancel(it->tenant->root, &batch->job);
    while (it->first) {
        struct batch *batch = it->first;
        pmap__wait(is_done, batch, PMAP__FOR_EVER);
        it->first = batch->next;
        drop(it, batch);
    }
    if (it->current)
        drop(it, it->current);
    it->current = NULL;
    it->last = &it->first;
    it->done = NULL;
    it->done_last = &it->done;
    it->over = true;
    it->failed.status = PMAP_OK;
    end_course(it);
    observe_end(it);
}

/* The streams of all pools that have not been freed, for pmap_destroy. */
static pthread_mutex_t list = PTHREAD_MUTEX_INITIALIZER;

static void enlist(struct pmap_iter *it, struct pmap_pool *pool)
{
    pthread_mutex_lock(&list);
    it->pool = pool;
    it->after = pool->streams;
    if (it->after)
        it->after->before = it;
    pool->streams = it;
    pthread_mutex_unlock(&list);
}

static void delist(struct pmap_iter *it)
{
    pthread_mutex_lock(&list);
    if (it->before)
        it->before->after = it->after;
    else
        it->pool->streams = it->after;
    if (it->after)
        it->after->before = it->before;
    it->pool = NULL;
    pthread_mutex_unlock(&list);
}

void pmap__iters_end(struct pmap_pool *pool)
{
    while (pool->streams) {
        struct pmap_iter *it = pool->streams;
        pmap__warn("pmap_destroy: a stream of the pool has not been freed: ending it");
        end(it);
        delist(it);
    }
}

void pmap_iter_free(struct pmap_iter *it)
{
    struct pmap_error error;

    if (it == NULL)
        return;
    if (in_own_source(it)) {
        pmap__warn("pmap_iter_free: called inside the generator of the stream: the stream stays");
        return;
    }
    if (pmap__may_wait("pmap_iter_free", &error) != PMAP_OK) {
        pmap__warn("%s: the stream stays", error.text);
        return;
    }
    if (it->pool) {
        end(it);
        delist(it);
    }
    free_batches(it->spare);
    pthread_cond_destroy(&it->room);
    pthread_mutex_destroy(&it->lock);
    free(it);
}

static enum pmap_status check_source(const struct pmap__call *call, const struct pmap_source *source, struct pmap_error *error)
{
    bool array = source->items || (source->n == 0 && source->next == NULL);

    if (source->next && source->items)
        return pmap__error_set(error, PMAP_EINVAL, "%s: source is an array and a generator", call->name);
    if (source->next == NULL && !array && call->task->args_size)
        return pmap__error_set(error, PMAP_EINVAL, "%s: source is neither an array nor a generator", call->name);
    size_t bytes;
    if (!pmap__multiply(source->n, call->task->args_size, &bytes) || bytes > PTRDIFF_MAX)
        return pmap__error_set(error, PMAP_EINVAL, "%s: n of the source is %zu, and so many elements of %zu bytes do not fit "
                               "into memory", call->name, source->n, call->task->args_size);
    enum pmap_status status = pmap__element_check(call, "source", source->item_size, call->task->args_size, error);
    if (status == PMAP_OK && source->items)
        status = pmap__bytes_check(call, "source", source->items, source->n, error);
    return status;
}

static enum pmap_status check(const struct pmap__call *call, const struct pmap_imap_options *o, struct pmap_error *error)
{
    if (pmap__item_running(NULL, NULL))
        return pmap__error_set(error, PMAP_EINVAL, "%s: called inside a task", call->name);
    enum pmap_status status = pmap__call_check(call, 0, error);
    return status == PMAP_OK ? check_source(call, &o->source, error) : status;
}

static size_t default_buffersize(struct pmap_iter *it)
{
    size_t both = 2 * (size_t)pmap__root_threads(it->tenant->root), size;
    return pmap__multiply(both, it->chunksize, &size) ? size : SIZE_MAX;
}

static void set_up(struct pmap_iter *it, const struct pmap__call *call, const struct pmap_imap_options *o, bool ordered)
{
    it->tenant = &call->pool->tenant;
    it->source = o->source;
    it->wanted = o->error;
    it->ordered = ordered;
    it->item = PMAP_NO_ITEM;
    it->since = pmap__now();
    it->chunksize = o->chunksize ? (size_t)o->chunksize : 1;
    it->buffersize = o->buffersize ? o->buffersize : default_buffersize(it);
    if (it->chunksize > it->buffersize)
        it->chunksize = it->buffersize;
    if (it->source.next == NULL && it->chunksize > it->source.n && it->source.n > 0)
        it->chunksize = it->source.n;
    it->form.name = pmap__call_name(call, o->name, o->where);
    it->form.reasons = true;
    it->form.late = true;
    it->form.ended = ordered ? NULL : batch_ended;
    it->form.course = &it->course;
    it->is_course = true;
    pmap__course_begin(it->tenant, &it->course, call->task->name);
    if (it->source.n > 0 || it->source.next == NULL)
        pmap__course_expect(it->tenant, &it->course, it->source.n);
    it->failed.status = PMAP_OK;
    it->last = &it->first;
    it->done_last = &it->done;
    pthread_mutex_init(&it->lock, NULL); /* glibc's cannot fail */
    pthread_cond_init(&it->room, NULL);
}

static enum pmap_status start(struct pmap_iter *it)
{
    if (it->source.next == NULL) {
        fill_from_array(it);
        return PMAP_OK;
    }
    it->has_feeder = pmap__thread_start(&it->feeder, feed, it);
    return it->has_feeder ? PMAP_OK : PMAP_ENOMEM;
}

static enum pmap_status create(const struct pmap__call *call, const struct pmap_imap_options *o, bool ordered,
                               struct pmap_iter **iter, struct pmap_error *error)
{
    struct pmap_iter *it = calloc(1, sizeof *it);

    if (it == NULL)
        return pmap__error_set(error, PMAP_ENOMEM, "%s: no memory for a stream", call->name);
    enum pmap_status status = pmap__form_fill(&it->form, call, o->chunksize, o->retries, o->retry_delay, o->priority, o->seed,
                                              error);
    if (status == PMAP_OK)
        status = pmap__form_limit(&it->form, call, o->timeout, o->max_rss, error);
    if (status == PMAP_OK)
        status = check(call, o, error);
    if (status != PMAP_OK) {
        free(it);
        return status;
    }
    set_up(it, call, o, ordered);
    observe_begin(it);
    enlist(it, call->pool);
    if (start(it) != PMAP_OK) {
        pmap_iter_free(it);
        return pmap__error_set(error, PMAP_ENOMEM, "%s: no memory for the generator's thread", call->name);
    }
    *iter = it;
    return PMAP_OK;
}

static struct pmap_iter *imap(struct pmap__call *call, const struct pmap_imap_options *options, bool ordered)
{
    struct pmap_imap_options o = {0};
    struct pmap_iter *it = NULL;
    struct pmap_error error;

    enum pmap_status status = pmap__options_read(call->name, options, offsetof(struct pmap_imap_options, chunksize), &o,
                                                 sizeof o, &error);
    if (status == PMAP_OK)
        status = create(call, &o, ordered, &it, &error);
    if (status != PMAP_OK)
        pmap__error_report(o.error, &error);
    return it;
}

struct pmap_iter *pmap_imap_with(struct pmap_pool *pool, struct pmap_task *task, const struct pmap_imap_options *options)
{
    struct pmap__call call = {.name = "pmap_imap", .pool = pool, .task = task, .async = true};
    return imap(&call, options, true);
}

struct pmap_iter *pmap_imap_unordered_with(struct pmap_pool *pool, struct pmap_task *task,
                                           const struct pmap_imap_options *options)
{
    struct pmap__call call = {.name = "pmap_imap_unordered", .pool = pool, .task = task, .async = true};
    return imap(&call, options, false);
}
