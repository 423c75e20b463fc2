/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Any calls in any mixture equal the serial loop. A seed makes a few threads' worth of random calls: what task, over how many
 * items, which of them fail, for how often, and with what options. They run at the same time, some are cancelled or left
 * early, some pools closed or terminated under them; then every result, status, error and number of runs is compared with
 * what the loop would have given, as far as the call's options say.
 *
 * A call has four functions: draw makes it out of random numbers, begin and finish run it, check compares. A task makes
 * calls of its own, by the same four.
 *
 *     tests/test_any                                            some known seeds, then new ones for two seconds
 *     tests/test_any 0x1234                                     this seed, again and again for two seconds
 *     PMAP_TEST_SEED=0x1234 tests/shapes tests/test_any         likewise, in every shape
 *     PMAP_TEST_SECONDS=600 PMAP_TEST_TIMEOUT=700 tests/shapes tests/test_any
 *
 * A failure names its seed. The seed makes the same calls again, but not the same timing.
 *
 * Ported, in the mixture: from Distributed.jl the product of batch size, on_error and retries; from mpi4py.futures "cancel
 * of queued work" and "three pools with 100 tasks each do not mix"; from CPython's _TestPool "two failing tasks" and the
 * generators that fail or lie about their length.
 */
#include "board.h"
#include "harness.h"

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- Random numbers of this test's own --------------------------------------------------------------- */

/* splitmix64: Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014. */
static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static size_t below(uint64_t *state, size_t n) { return (size_t)(next(state) % n); }

static bool one_in(uint64_t *state, size_t n) { return below(state, n) == 0; }

/* One number made of two. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t state = a ^ b * UINT64_C(0xd1342543de82ef95);

    return next(&state);
}

/* ---- Items: what each call does with them ------------------------------------------------------------ */

/* All that an item needs to know, on whatever rank. */
struct item {
    uint64_t seed;     /* of its call */
    uint32_t number;   /* its index */
    int cell;          /* counts its runs on the board; -1: they are not counted */
    uint32_t sick;     /* one item in so many fails; 0: none */
    uint32_t failures; /* in its first so many runs; 0: in all */
};

static bool is_sick(struct item item) { return item.sick > 0 && mix(item.seed, item.number) % item.sick == 0; }

static int code_of(size_t number) { return 1 + (int)(number % 1000); }

/* What an item gives: never 0, so that it differs from what failed; and as two halves a map x -> a x + b with an odd a, so
 * that it can be composed (see compose). */
static uint64_t value_of(uint64_t seed, uint32_t number, struct pmap_random random)
{
    return (pmap_random_bits(&random) ^ mix(number, seed)) | UINT64_C(1) << 32;
}

static uint64_t expected_value(struct item item)
{
    struct pmap_random r = {.key = {item.seed, 0}, .counter = {0, 0, item.number, 0}, .used = 4};

    return value_of(item.seed, item.number, r);
}

/* One item in 16 takes up to 100 microseconds, the others next to nothing. */
static void toil(struct item item)
{
    uint64_t state = mix(item.seed + 1, item.number);

    if (one_in(&state, 16))
        for (size_t steps = below(&state, 50000); steps > 0 && !pmap_cancelled(); steps--)
            if (next(&state) == 0)
                return;
}

/* Run an item; place is where it says it is. */
static uint64_t work(struct item item, size_t place)
{
    unsigned run = item.cell < 0 ? 0 : (unsigned)atomic_fetch_add(&board()[item.cell], 1);

    toil(item);
    if (is_sick(item) && (item.failures == 0 || run < item.failures))
        return (uint64_t)pmap_fail(code_of(item.number), "item %" PRIu32 " is sick", item.number);
    return value_of(item.seed, item.number, pmap_random_stream(place));
}

static uint64_t one(struct item item) { return work(item, pmap_item()); }
PMAP_TASK(one, uint64_t, struct item);

static uint64_t two(uint32_t summand, struct item item) { return work(item, pmap_item()) + summand; }
PMAP_TASK(two, uint64_t, uint32_t, struct item);

static void block(size_t n, const struct item in[], uint64_t out[])
{
    for (size_t i = 0; i < n; i++)
        out[i] = work(in[i], pmap_item() + i);
}
PMAP_BLOCK_TASK(block, uint64_t, struct item);

static void action(struct item item) { work(item, pmap_item()); }
PMAP_ACTION(action, struct item);

/* The item and then some bytes more give as many bytes as its value says. */
static size_t bytes_of(struct item item)
{
    return item.number % 7 == 0 ? 0 : (size_t)(mix(item.seed + 2, item.number) % 300);
}

static unsigned char byte_of(uint64_t value, size_t i) { return (unsigned char)(value >> i % 8 * 8); }

static struct pmap_bytes bytes(struct pmap_bytes in)
{
    const struct item *item = in.data;
    const unsigned char *more = in.data;
    uint64_t value = work(*item, pmap_item());
    size_t size = bytes_of(*item);
    unsigned char *data = value != 0 && size > 0 ? test_array(size, 1) : NULL;

    for (size_t i = sizeof *item; i < in.size; i++)
        if (more[i] != byte_of(item->seed, i))
            pmap_fail(2000, "byte %zu of %zu came as %d", i, in.size, more[i]);
    for (size_t i = 0; data != NULL && i < size; i++)
        data[i] = byte_of(value, i);
    return (struct pmap_bytes){data, data != NULL ? size : 0};
}
PMAP_BYTES_TASK(bytes);

/* Makes a call of its own, defined at the end of the calls. */
static uint64_t nest(struct item item);
PMAP_TASK(nest, uint64_t, struct item);

/* Apply x -> a x + b and then another: associative, not commutative. */
static uint64_t compose(uint64_t first, uint64_t second)
{
    uint32_t a = (uint32_t)(first >> 32), b = (uint32_t)first, c = (uint32_t)(second >> 32), d = (uint32_t)second;

    return (uint64_t)(c * a) << 32 | (uint32_t)(c * b + d);
}
PMAP_OP(compose, uint64_t);

static const struct kind {
    struct pmap_task *task;
    size_t most; /* items; of a block task fewer, for the checks are quadratic, of nest very few, for these are calls */
} kinds[] = {{&one_task, 8000}, {&two_task, 3000}, {&block_task, 1500}, {&action_task, 3000}, {&bytes_task, 500},
             {&nest_task, 60}};
enum { KINDS = sizeof kinds / sizeof *kinds };

/* ---- A call ------------------------------------------------------------------------------------------ */

enum way { MAP, APPLY, REDUCE, MAP_ASYNC, APPLY_ASYNC, IMAP, IMAP_UNORDERED };
static const char *const way_names[] = {"map", "apply", "reduce", "map_async", "apply_async", "imap", "imap_unordered"};

/* Where a stream's items come from. */
enum source { ARRAY, GENERATOR, FAILING_GENERATOR, LYING_GENERATOR };

enum { CELLS = 1024 }; /* of the board, for one call */

struct call {
    /* Drawn. */
    uint64_t seed; /* of the items, and for pmap_random_stream */
    struct pmap_pool *pool;
    const struct kind *kind;
    enum way way;
    size_t n;
    ptrdiff_t chunksize;
    int cell;           /* of the first item; -1: runs are not counted */
    uint32_t sick, failures;
    enum pmap_on_error on_error;
    size_t max_failures;
    int retries;
    double retry_delay;
    int priority;
    bool wants_statuses, has_costs, has_callbacks;
    bool is_cancelled;  /* soon after it has begun; or its pool is terminated */
    enum source source;
    size_t buffersize;
    size_t take;        /* free the stream after so many results; SIZE_MAX: never */
    size_t patience;    /* how long it runs before it is cancelled, in calls of sched_yield */

    /* While it runs. */
    void *in, *out;
    enum pmap_status *statuses;
    double *cost;
    struct pmap_result *result;
    size_t given;       /* by the generator, on its thread */
    size_t yields;
    atomic_int successes, errors; /* callbacks that were called */

    /* What came of it. */
    bool may_stop;      /* so that not every item must have run; set before the checks */
    enum pmap_status status;
    struct pmap_error error;
    char fault[1200];   /* the first that was found; empty if there is none */
};

static bool is_async(const struct call *c) { return c->way == MAP_ASYNC || c->way == APPLY_ASYNC; }

static bool is_map(const struct call *c) { return c->way == MAP || c->way == MAP_ASYNC; }

static bool is_stream(const struct call *c) { return c->way == IMAP || c->way == IMAP_UNORDERED; }

static bool is_block(const struct call *c) { return c->kind->task->block; }

static struct item item_of(const struct call *c, size_t i)
{
    return (struct item){c->seed, (uint32_t)i, c->cell < 0 ? -1 : c->cell + (int)i, c->sick, c->failures};
}

static uint32_t summand_of(size_t i) { return (uint32_t)i % 100; }

static void *element(const struct call *c, void *array, size_t i)
{
    return (char *)array + i * (array == c->in ? c->kind->task->args_size : c->kind->task->result_size);
}

/* Remember what is wrong, with what repeats it. */
static void __attribute__((format(printf, 2, 3))) complain(struct call *c, const char *format, ...)
{
    char text[sizeof c->error.text + 100];
    va_list list;

    if (c->fault[0] != '\0')
        return;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    snprintf(c->fault, sizeof c->fault,
             "%s: %s of %s, n %zu, chunksize %td, one in %u sick for %u runs, retries %d, on_error %d, max_failures %zu, "
             "statuses %d, costs %d, source %d, buffersize %zu, take %zu, cancelled %d: %s",
             text, way_names[c->way], c->kind->task->name, c->n, c->chunksize, c->sick, c->failures, c->retries,
             (int)c->on_error, c->max_failures, c->wants_statuses, c->has_costs, (int)c->source, c->buffersize, c->take,
             c->is_cancelled, pmap_status_name(c->status));
}

/* ---- Draw -------------------------------------------------------------------------------------------- */

enum place { IN_POOL, IN_ENDED_POOL, IN_TASK };

static enum way draw_way(uint64_t *state, enum place place)
{
    static const enum way any[] = {MAP, MAP, APPLY, REDUCE, MAP_ASYNC, MAP_ASYNC, APPLY_ASYNC, IMAP, IMAP_UNORDERED};
    static const enum way async[] = {MAP_ASYNC, MAP_ASYNC, APPLY_ASYNC};

    if (place == IN_ENDED_POOL)
        return async[below(state, 3)];
    return any[below(state, place == IN_TASK ? 4 : sizeof any / sizeof *any)];
}

static size_t draw_n(uint64_t *state, size_t most)
{
    const size_t limits[] = {3, 40, 40, 500, 500, test_size(most, 100)};
    size_t limit = limits[below(state, sizeof limits / sizeof *limits)];

    return below(state, (limit < most ? limit : most) + 1);
}

/* Some draws make no sense together, or leave it open what must come of them. */
static void draw_failures(struct call *c, uint64_t *state)
{
    static const uint32_t rates[] = {0, 0, 1, 3, 30, 300};

    c->sick = rates[below(state, sizeof rates / sizeof *rates)];
    c->retries = one_in(state, 2) ? 0 : (int)below(state, 4);
    if (c->retries > 0 && one_in(state, 8))
        c->retry_delay = 0.0005;
    if (c->cell >= 0 && !is_block(c))
        c->failures = (uint32_t)below(state, 5);
    if (is_block(c) && (c->chunksize == 0 || !is_map(c)))
        c->sick = 0; /* a failure would be that of a block, and nobody knows which items that has */
}

static void draw_map_options(struct call *c, uint64_t *state)
{
    c->on_error = (enum pmap_on_error)below(state, 3);
    c->wants_statuses = c->on_error == PMAP_COLLECT || one_in(state, 2);
    if (!is_block(c)) {
        c->max_failures = one_in(state, 4) ? 1 + below(state, 20) : 0;
        c->has_costs = one_in(state, 5);
    }
}

static void draw_stream_options(struct call *c, uint64_t *state)
{
    c->source = (enum source)below(state, 4);
    c->buffersize = one_in(state, 2) ? 0 : 1 + below(state, 60);
    c->take = one_in(state, 3) ? below(state, c->n + 2) : SIZE_MAX;
    c->wants_statuses = true; /* noted as they are yielded */
}

static void draw(struct call *c, uint64_t *state, struct pmap_pool *pool, enum place place, int cell)
{
    *c = (struct call){.seed = next(state) | 1, .pool = pool, .take = SIZE_MAX};
    c->kind = &kinds[below(state, place == IN_TASK ? KINDS - 1 : KINDS)]; /* nest is the last */
    c->way = draw_way(state, place);
    if (c->way == REDUCE && c->kind->task->result_size != sizeof(uint64_t))
        c->kind = &kinds[0];
    c->n = c->way == APPLY || c->way == APPLY_ASYNC ? 1 : draw_n(state, place == IN_TASK ? 30 : c->kind->most);
    c->cell = c->n <= CELLS ? cell : -1;
    c->chunksize = one_in(state, 2) ? 0 : 1 + (ptrdiff_t)below(state, one_in(state, 2) ? 10 : c->n + 5);
    c->priority = (int)below(state, 3) - 1;
    draw_failures(c, state);
    if (is_map(c))
        draw_map_options(c, state);
    if (is_stream(c))
        draw_stream_options(c, state);
    c->has_callbacks = is_async(c) && !one_in(state, 3);
    c->is_cancelled = place == IN_ENDED_POOL || (is_async(c) && one_in(state, 4));
    c->patience = below(state, 200);
}

/* ---- Begin ------------------------------------------------------------------------------------------- */

/* What no call writes by chance. */
#define UNTOUCHED UINT64_C(0x5555555555555555)
#define NO_SUCH_ITEM (SIZE_MAX / 2)

static struct pmap_bytes make_bytes(struct item item)
{
    struct pmap_bytes b = {.size = sizeof item + bytes_of(item) * 2};
    unsigned char *data = b.data = test_array(b.size, 1);

    memcpy(data, &item, sizeof item);
    for (size_t i = sizeof item; i < b.size; i++)
        data[i] = byte_of(item.seed, i);
    return b;
}

static void fill_element(struct call *c, size_t i)
{
    struct item item = item_of(c, i);

    if (c->kind->task->bytes)
        *(struct pmap_bytes *)element(c, c->in, i) = make_bytes(item);
    else if (c->kind->task == &two_task)
        *(struct two_args *)element(c, c->in, i) = (struct two_args){summand_of(i), item};
    else
        *(struct item *)element(c, c->in, i) = item;
}

/* An array of results has one more than is needed, for reduce without items. */
static void prepare(struct call *c)
{
    const struct pmap_task *task = c->kind->task;

    c->in = test_array(c->n, task->args_size);
    for (size_t i = 0; i < c->n; i++)
        fill_element(c, i);
    if (task->result_size > 0)
        c->out = test_array(c->n + 1, task->result_size);
    if (c->out != NULL && !task->bytes)
        memset(c->out, 0x55, (c->n + 1) * task->result_size);
    if (c->wants_statuses) {
        c->statuses = test_array(c->n, sizeof *c->statuses);
        for (size_t i = 0; i < c->n; i++) /* of a stream that is left early those that do not come stay so */
            c->statuses[i] = is_stream(c) ? PMAP_ECANCELLED : PMAP_EBUSY;
    }
    if (c->has_costs) {
        c->cost = test_array(c->n, sizeof *c->cost);
        for (size_t i = 0; i < c->n; i++)
            c->cost[i] = (double)(mix(c->seed, i) % 10);
    }
    for (size_t i = 0; c->cell >= 0 && i < c->n; i++)
        atomic_store(&board()[c->cell + (int)i], 0);
    c->error.item = NO_SUCH_ITEM;
}

static void release(struct call *c)
{
    pmap_result_free(c->result);
    if (c->kind->task->bytes) {
        pmap_bytes_free(c->in, c->n);
        pmap_bytes_free(c->out, c->n);
    }
    free(c->in);
    free(c->out);
    free(c->statuses);
    free(c->cost);
}

static void count_success(void *user, void *out, size_t n)
{
    struct call *c = user;

    atomic_fetch_add(&c->successes, out == c->out && n == c->n ? 1 : 100);
}

static void count_error(void *user, const struct pmap_error *error)
{
    struct call *c = user;

    atomic_fetch_add(&c->errors, error->status != PMAP_OK ? 1 : 100);
}

static void begin_map(struct call *c)
{
    struct pmap_task *task = c->kind->task;
    const struct pmap_map_options o = {.size = sizeof o, .n = c->n, .chunksize = c->chunksize, .error = &c->error,
                                       .on_error = c->on_error, .statuses = c->statuses, .max_failures = c->max_failures,
                                       .retries = c->retries, .retry_delay = c->retry_delay, .cost = c->cost,
                                       .priority = c->priority, .seed = c->seed,
                                       .callback = c->has_callbacks ? count_success : NULL,
                                       .error_callback = c->has_callbacks ? count_error : NULL, .user = c};

    if (c->way == MAP_ASYNC)
        c->result = (task->arguments == 1 ? pmap_map_async_with : pmap_starmap_async_with)(
            c->pool, task, c->in, task->args_size, c->out, task->result_size, &o);
    else
        c->status = (task->arguments == 1 ? pmap_map_with : pmap_starmap_with)(c->pool, task, c->in, task->args_size, c->out,
                                                                               task->result_size, &o);
}

static void begin_apply(struct call *c)
{
    const struct pmap_apply_options o = {.size = sizeof o, .error = &c->error, .retries = c->retries,
                                         .retry_delay = c->retry_delay, .priority = c->priority, .seed = c->seed,
                                         .callback = c->has_callbacks ? count_success : NULL,
                                         .error_callback = c->has_callbacks ? count_error : NULL, .user = c};

    if (c->way == APPLY_ASYNC)
        c->result = pmap_apply_async_with(c->pool, c->kind->task, c->in, c->out, &o);
    else
        c->status = pmap_apply_with(c->pool, c->kind->task, c->in, c->out, &o);
}

static const uint64_t identity = UINT64_C(1) << 32;

static void begin_reduce(struct call *c)
{
    const struct pmap_reduce_options o = {.size = sizeof o, .n = c->n, .identity = &identity, .chunksize = c->chunksize,
                                          .error = &c->error, .retries = c->retries, .retry_delay = c->retry_delay,
                                          .priority = c->priority, .seed = c->seed};

    c->status = pmap_reduce_with(c->pool, c->kind->task, &compose_op, c->in, c->kind->task->args_size, c->out,
                                 sizeof(uint64_t), &o);
}

/* ---- Streams: a stream begins, is read and freed in one go ------------------------------------------- */

/* What the library frees must be a copy. */
static bool generate(void *state, void *item)
{
    struct call *c = state;

    if (c->given == c->n) {
        if (c->source == FAILING_GENERATOR)
            pmap_fail(3000, "the source is dry");
        return false;
    }
    if (c->kind->task->bytes)
        *(struct pmap_bytes *)item = make_bytes(item_of(c, c->given));
    else
        memcpy(item, element(c, c->in, c->given), c->kind->task->args_size);
    c->given++;
    return true;
}

static struct pmap_source source_of(struct call *c)
{
    if (c->source == ARRAY)
        return (struct pmap_source){.items = c->in, .item_size = c->kind->task->args_size, .n = c->n};
    return (struct pmap_source){.next = generate, .state = c, .n = c->source == LYING_GENERATOR ? c->n + 3 : 0};
}

static bool source_fails(const struct call *c)
{
    return is_stream(c) && (c->source == FAILING_GENERATOR || c->source == LYING_GENERATOR);
}

/* Poll now and then instead of waiting. */
static enum pmap_status next_result(struct pmap_iter *it, struct call *c, void *out)
{
    double timeout = mix(c->seed, c->yields) % 4 == 0 ? 0 : PMAP_FOREVER;
    enum pmap_status status;

    while ((status = pmap_iter_next_with(it, out, c->kind->task->result_size, timeout)) == PMAP_ETIMEOUT)
        sched_yield();
    return status;
}

/* A result, or the failure of an item, goes to its place in out and statuses. */
static void keep(struct call *c, size_t i, enum pmap_status status, const void *result)
{
    if (i >= c->n || (c->way == IMAP && i != c->yields) || c->statuses[i] != PMAP_ECANCELLED) {
        complain(c, "yield %zu is of item %zu", c->yields, i);
        return;
    }
    c->statuses[i] = status;
    if (c->out != NULL)
        memcpy(element(c, c->out, i), result, c->kind->task->result_size);
    if (status != PMAP_OK && (c->error.item != i || c->error.code != code_of(i)))
        complain(c, "yield %zu, item %zu: the error is of item %zu: %s", c->yields, i, c->error.item, c->error.text);
}

/* After the last item comes the source's own failure, if there is one, and then the end, as often as one asks. */
static void check_end(struct call *c, struct pmap_iter *it, enum pmap_status status, void *result)
{
    if (source_fails(c)) {
        if (status != PMAP_EFAILED || c->error.item != c->n)
            complain(c, "the source's failure is %s, item %zu: %s", pmap_status_name(status), c->error.item, c->error.text);
        status = next_result(it, c, result);
    }
    for (int again = 0; again < 2; again++)
        if (status != PMAP_END || (status = next_result(it, c, result)) != PMAP_END)
            complain(c, "the stream does not end but says %s", pmap_status_name(status));
}

static void read_stream(struct call *c, struct pmap_iter *it)
{
    union {
        uint64_t value;
        struct pmap_bytes bytes;
    } result;
    void *out = c->out != NULL ? &result : NULL;
    enum pmap_status status;

    for (; c->yields < c->n; c->yields++) {
        if (c->yields >= c->take)
            return;
        memset(&result, 0x55, sizeof result);
        status = next_result(it, c, out);
        if (status != PMAP_OK && status != PMAP_EFAILED) {
            complain(c, "yield %zu of %zu says %s", c->yields, c->n, pmap_status_name(status));
            return;
        }
        keep(c, pmap_iter_item(it), status, &result);
    }
    if (c->take == SIZE_MAX)
        check_end(c, it, next_result(it, c, out), out);
}

static void begin_stream(struct call *c)
{
    const struct pmap_imap_options o = {.size = sizeof o, .source = source_of(c), .chunksize = c->chunksize,
                                        .buffersize = c->buffersize, .error = &c->error, .retries = c->retries,
                                        .retry_delay = c->retry_delay, .priority = c->priority, .seed = c->seed};
    struct pmap_iter *it =
        (c->way == IMAP ? pmap_imap_with : pmap_imap_unordered_with)(c->pool, c->kind->task, &o);

    if (it == NULL) {
        complain(c, "no stream: %s", c->error.text);
        return;
    }
    read_stream(c, it);
    pmap_iter_free(it);
}

static void (*const begin_ways[])(struct call *c) = {begin_map,   begin_apply,  begin_reduce, begin_map,
                                                     begin_apply, begin_stream, begin_stream};

/* The arguments of an async apply are the library's own, so nothing that becomes of them here can matter. */
static void begin(struct call *c)
{
    prepare(c);
    begin_ways[c->way](c);
    if (is_async(c) && c->result == NULL)
        complain(c, "refused: %s", c->error.text);
    if (c->way == APPLY_ASYNC && !c->kind->task->bytes)
        memset(c->in, 0xff, c->kind->task->args_size);
}

/* ---- Finish ------------------------------------------------------------------------------------------ */

static void cancel(struct call *c)
{
    for (size_t i = 0; i < c->patience; i++)
        sched_yield();
    if (pmap_result_cancel(c->result) != PMAP_OK)
        complain(c, "it cannot be cancelled");
}

/* There are several ways to wait. */
static void finish(struct call *c)
{
    bool successful;
    size_t way = c->patience % 3;

    while (way == 0 && !pmap_result_ready(c->result))
        sched_yield();
    if (way == 1 && pmap_result_wait(c->result, PMAP_FOREVER) != PMAP_OK)
        complain(c, "one cannot wait for it");
    while ((c->status = pmap_result_get(c->result, c->patience % 2 == 0 ? 0 : PMAP_FOREVER, &c->error)) == PMAP_ETIMEOUT)
        sched_yield();
    if (pmap_result_successful(c->result, &successful) != PMAP_OK || successful != (c->status == PMAP_OK))
        complain(c, "successful and get do not agree");
}

/* ---- Check ------------------------------------------------------------------------------------------- */

/* What becomes of an item if nobody stops the call: for a block, of all its items together. */
static bool fails_once(const struct call *c, size_t i)
{
    size_t length = is_block(c) && c->chunksize > 0 ? (size_t)c->chunksize : 1, from = i - i % length;

    for (size_t k = from; c->sick > 0 && k < c->n && k < from + length; k++)
        if (is_sick(item_of(c, k)))
            return true;
    return false;
}

static bool fails(const struct call *c, size_t i)
{
    return fails_once(c, i) && (c->failures == 0 || c->failures > (uint32_t)c->retries);
}

/* The first failure, from an item on; n if there is none. */
static size_t first(const struct call *c, size_t from, bool (*has)(const struct call *c, size_t i))
{
    while (from < c->n && !has(c, from))
        from++;
    return from;
}

static size_t count_failures(const struct call *c)
{
    size_t count = 0;

    for (size_t i = 0; i < c->n; i++)
        count += fails(c, i);
    return count;
}

static bool stops_by_failures(const struct call *c)
{
    size_t failures = count_failures(c);

    return failures > 0 && ((is_map(c) && c->on_error == PMAP_STOP) || (c->max_failures > 0 && failures >= c->max_failures));
}

static bool is_right(const struct call *c, size_t i)
{
    struct item item = item_of(c, i);
    uint64_t value = expected_value(item) + (c->kind->task == &two_task ? summand_of(i) : 0);

    if (!c->kind->task->bytes)
        return *(uint64_t *)element(c, c->out, i) == value;
    const struct pmap_bytes *b = element(c, c->out, i);
    const unsigned char *data = b->data;
    bool right = b->size == bytes_of(item);
    for (size_t k = 0; right && k < b->size; k++)
        right = data[k] == byte_of(value, k);
    return right;
}

static bool is_blank(const struct call *c, size_t i)
{
    const unsigned char *byte = element(c, c->out, i);

    for (size_t k = 0; k < c->kind->task->result_size; k++)
        if (byte[k] != 0)
            return false;
    return true;
}

/* As statuses say; without them, as far as the result tells. */
static enum pmap_status status_of(const struct call *c, size_t i)
{
    if (c->statuses != NULL)
        return c->statuses[i];
    if (fails(c, i))
        return PMAP_EFAILED;
    return c->may_stop && (c->out == NULL || !is_right(c, i)) ? PMAP_ECANCELLED : PMAP_OK;
}

static void check_item(struct call *c, size_t i)
{
    enum pmap_status status = status_of(c, i);
    bool legal = (status == PMAP_OK && !fails(c, i)) || (status == PMAP_ECANCELLED && c->may_stop) ||
                 (status == PMAP_EFAILED && (c->may_stop ? fails_once(c, i) : fails(c, i)));

    if (!legal)
        complain(c, "item %zu has status %s", i, pmap_status_name(status));
    /* What a stream did not yield is as it was. */
    if (c->out == NULL || (is_stream(c) && status == PMAP_ECANCELLED))
        return;
    if (!(status == PMAP_OK ? is_right(c, i) : is_blank(c, i)))
        complain(c, "item %zu, %s, has the wrong result", i, pmap_status_name(status));
}

/* How often an item runs that nobody stops. */
static int expected_runs(const struct call *c, size_t i)
{
    int runs = 1 + c->retries;

    if (!fails_once(c, i))
        return 1;
    return c->failures > 0 && (int)c->failures < runs ? (int)c->failures + 1 : runs;
}

static void check_runs(struct call *c, size_t i)
{
    int runs = atomic_load(&board()[c->cell + (int)i]), expected = expected_runs(c, i);
    bool is_known = !c->may_stop || (c->statuses != NULL && c->statuses[i] == PMAP_OK);

    if (runs > expected || (is_known && runs != expected))
        complain(c, "item %zu ran %d times, not %d", i, runs, expected);
}

/* The error is that of the lowest item that failed, as statuses tell, or of the lowest of all, if all ran. */
static void check_error(struct call *c)
{
    size_t lowest = first(c, 0, fails), at = c->error.item;

    if (c->may_stop && at < c->n && fails_once(c, at))
        lowest = at;
    for (size_t i = 0; c->statuses != NULL && i < c->n; i++)
        if (c->statuses[i] == PMAP_EFAILED) {
            lowest = i;
            break;
        }
    size_t sick = lowest; /* in a block the first that is */
    while (sick < c->n && !is_sick(item_of(c, sick)))
        sick++;
    if (c->error.status != PMAP_EFAILED || at != lowest || c->error.code != code_of(sick) ||
        strstr(c->error.text, "is sick") == NULL)
        complain(c, "the error is of item %zu, code %d, not of item %zu: %s", at, c->error.code, lowest, c->error.text);
}

/* What a call that is not stopped from outside returns. */
static enum pmap_status expected_status(const struct call *c)
{
    if (first(c, 0, fails) == c->n)
        return PMAP_OK;
    return is_map(c) && c->on_error == PMAP_COLLECT && !stops_by_failures(c) ? PMAP_OK : PMAP_EFAILED;
}

/* One that is stopped may also have ended before, or may fail by an item that would have recovered. */
static bool is_legal_status(const struct call *c)
{
    if (c->status == expected_status(c))
        return true;
    return c->is_cancelled && (c->status == PMAP_ECANCELLED || (c->status == PMAP_EFAILED && first(c, 0, fails_once) < c->n));
}

static size_t count_statuses(const struct call *c, enum pmap_status status)
{
    size_t count = 0;

    for (size_t i = 0; i < c->n; i++)
        count += c->statuses[i] == status;
    return count;
}

static void check_status(struct call *c)
{
    if (!is_legal_status(c))
        complain(c, "the status is wrong: %s", c->error.item == NO_SUCH_ITEM ? "" : c->error.text);
    if (c->status == PMAP_OK && c->error.item != NO_SUCH_ITEM)
        complain(c, "success changed the error: %s", c->error.text);
    if (c->status == PMAP_EFAILED)
        check_error(c);
    if (c->status == PMAP_ECANCELLED && c->error.status != PMAP_ECANCELLED)
        complain(c, "the error has status %s", pmap_status_name(c->error.status));
    if (c->status == PMAP_OK && c->statuses != NULL && count_statuses(c, PMAP_ECANCELLED) > 0)
        complain(c, "success, but %zu items were cancelled", count_statuses(c, PMAP_ECANCELLED));
    if (c->status == PMAP_EFAILED && c->statuses != NULL && c->max_failures > 0 && c->on_error != PMAP_STOP &&
        !c->is_cancelled && stops_by_failures(c) && count_statuses(c, PMAP_EFAILED) < c->max_failures)
        complain(c, "stopped after %zu failures", count_statuses(c, PMAP_EFAILED));
}

/* A leaf that failed has run again as a whole, so what recovers, and how often what ran, is open. */
static void check_reduce(struct call *c)
{
    uint64_t expected = identity, *out = c->out;
    bool may_fail = first(c, 0, fails_once) < c->n, must_fail = first(c, 0, fails) < c->n;

    for (size_t i = 0; i < c->n; i++)
        expected = compose(expected, expected_value(item_of(c, i)) + (c->kind->task == &two_task ? summand_of(i) : 0));
    if (c->status == PMAP_OK ? must_fail || *out != expected : c->status != PMAP_EFAILED || !may_fail || *out != UNTOUCHED)
        complain(c, "the result is %" PRIx64 ", not %" PRIx64 ": %s", *out, expected,
                 c->error.item == NO_SUCH_ITEM ? "" : c->error.text);
    if (c->status == PMAP_EFAILED && (c->error.item >= c->n || !fails_once(c, c->error.item) ||
                                      c->error.code != code_of(c->error.item)))
        complain(c, "the error is of item %zu: %s", c->error.item, c->error.text);
    for (size_t i = 0; c->cell >= 0 && !may_fail && i < c->n; i++)
        check_runs(c, i);
}

static void check_callbacks(struct call *c)
{
    int successes = atomic_load(&c->successes), errors = atomic_load(&c->errors);

    if (successes != (c->has_callbacks && c->status == PMAP_OK) || errors != (c->has_callbacks && c->status != PMAP_OK))
        complain(c, "%d callbacks for success, %d for errors", successes, errors);
}

static void check(struct call *c)
{
    if (c->fault[0] != '\0')
        return;
    c->may_stop = c->is_cancelled || c->take < SIZE_MAX || stops_by_failures(c);
    if (c->way == REDUCE) {
        check_reduce(c);
        return;
    }
    if (!is_stream(c)) /* a stream has no status of its own, but one for each item */
        check_status(c);
    for (size_t i = 0; i < c->n; i++)
        check_item(c, i);
    for (size_t i = 0; c->cell >= 0 && i < c->n; i++)
        check_runs(c, i);
    check_callbacks(c);
}

/* ---- Calls inside tasks ------------------------------------------------------------------------------ */

/* Where the outer call is being stopped, what is inside may be stopped, too. */
static uint64_t nest(struct item item)
{
    struct call *inner = test_array(1, sizeof *inner);
    uint64_t state = mix(item.seed + 3, item.number);

    draw(inner, &state, NULL, IN_TASK, -1);
    begin(inner);
    check(inner);
    if (inner->fault[0] != '\0' && !pmap_cancelled())
        pmap_fail(4000, "inside: %s", inner->fault);
    release(inner);
    free(inner);
    return work(item, pmap_item());
}

/* ---- Several calls at once --------------------------------------------------------------------------- */

/* A thread's calls: some of them async and in flight together. */
enum { THREADS = 3, BATCH = 4, BATCHES = 5 };

struct runner {
    pthread_t thread;
    int number;         /* of its cells on the board */
    uint64_t seed;
    struct call calls[BATCH];
    size_t n;           /* of them */
    char fault[1200];   /* written by the thread, read when it has been joined */
};

static void draw_batch(struct runner *r, uint64_t *state, struct pmap_pool *pool, enum place place)
{
    r->n = 1 + below(state, BATCH);
    for (size_t i = 0; i < r->n; i++)
        draw(&r->calls[i], state, pool, place, (r->number * BATCH + (int)i) * CELLS);
}

static void begin_batch(struct runner *r)
{
    for (size_t i = 0; i < r->n; i++)
        begin(&r->calls[i]);
}

static void cancel_some(struct runner *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->calls[i].is_cancelled && r->calls[i].result != NULL)
            cancel(&r->calls[i]);
}

/* In the order in which they become ready. */
static void finish_batch(struct runner *r)
{
    struct pmap_result *results[BATCH];
    enum pmap_status status;
    size_t at;

    for (size_t i = 0; i < r->n; i++)
        results[i] = r->calls[i].result;
    while ((status = pmap_wait(results, r->n, PMAP_ANY, PMAP_FOREVER, &at)) == PMAP_OK && at < r->n) {
        finish(&r->calls[at]);
        results[at] = NULL;
    }
    for (size_t i = 0; i < r->n; i++)
        if (results[i] != NULL) {
            complain(&r->calls[i], "passed over by pmap_wait, which says %s", pmap_status_name(status));
            finish(&r->calls[i]);
        }
}

static void check_batch(struct runner *r)
{
    for (size_t i = 0; i < r->n; i++) {
        check(&r->calls[i]);
        if (r->fault[0] == '\0')
            memcpy(r->fault, r->calls[i].fault, sizeof r->fault);
        release(&r->calls[i]);
    }
}

static void *run(void *argument)
{
    struct runner *r = argument;
    uint64_t state = mix(r->seed, (uint64_t)r->number);

    for (int batch = 0; batch < BATCHES; batch++) {
        draw_batch(r, &state, the_pool, IN_POOL);
        begin_batch(r);
        cancel_some(r);
        finish_batch(r);
        check_batch(r);
    }
    return NULL;
}

static bool takes_work(struct pmap_pool *pool)
{
    struct pmap_error error;
    struct item item = {.seed = 1, .cell = -1};
    uint64_t value;

    return pmap_apply(pool, one, &value, item, .error = &error) != PMAP_ECLOSED;
}

/* A pool of its own beside the others, that is closed, or terminated, with calls in flight. */
static void run_in_ended_pool(struct runner *r)
{
    uint64_t state = mix(r->seed, (uint64_t)r->number);
    bool terminates = one_in(&state, 2), destroys_first = one_in(&state, 2);
    struct pmap_pool *pool;

    if (!CHECK(pmap_create(&pool) == PMAP_OK && pool != NULL))
        return;
    draw_batch(r, &state, pool, IN_ENDED_POOL);
    for (size_t i = 0; i < r->n; i++)
        r->calls[i].is_cancelled = terminates;
    begin_batch(r);
    for (size_t i = 0; terminates && i < r->calls[0].patience; i++)
        sched_yield();
    CHECK_STATUS(terminates ? pmap_terminate(pool) : pmap_close(pool), PMAP_OK);
    CHECK(!takes_work(pool));
    if (destroys_first) { /* results outlive their pool */
        CHECK_STATUS(pmap_join(pool), PMAP_OK);
        pmap_destroy(pool);
    }
    finish_batch(r);
    if (!destroys_first)
        pmap_destroy(pool);
    check_batch(r);
}

/* All that one seed makes. */
static bool calls_of(uint64_t seed)
{
    static struct runner runners[THREADS + 1]; /* the last one is this thread */
    int started = 0, faults = 0;

    for (int i = 0; i <= THREADS; i++)
        runners[i] = (struct runner){.number = i, .seed = seed};
    for (; started < THREADS; started++)
        if (!CHECK(pthread_create(&runners[started].thread, NULL, run, &runners[started]) == 0))
            break;
    run_in_ended_pool(&runners[THREADS]);
    for (int i = 0; i < started; i++)
        pthread_join(runners[i].thread, NULL);
    for (int i = 0; i <= THREADS; i++)
        faults += !CHECK_SAYING(runners[i].fault[0] == '\0', "PMAP_TEST_SEED=0x%" PRIx64 ": %s", seed, runners[i].fault);
    return faults == 0;
}

/* ---- Which seeds, and for how long ------------------------------------------------------------------- */

static const char *wanted_seed; /* set once, by main */

static void known_seeds_equal_the_loop(void)
{
    static const uint64_t seeds[] = {1, 2, 3, 4, 5, 6, 7, 8};

    for (size_t i = 0; i < test_size(sizeof seeds / sizeof *seeds, 2) && wanted_seed == NULL; i++)
        if (!calls_of(seeds[i]))
            return;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A wanted seed is repeated: what it makes may go wrong in one of many timings only. */
static void new_seeds_equal_the_loop(void)
{
    const char *seconds = getenv("PMAP_TEST_SECONDS");
    double end = now() + (seconds != NULL ? atof(seconds) : 2);
    uint64_t seed = wanted_seed != NULL ? strtoull(wanted_seed, NULL, 0) : mix((uint64_t)time(NULL), (uint64_t)now());

    while (calls_of(seed) && now() < end)
        if (wanted_seed == NULL)
            seed = mix(seed, 1);
}

static const struct test tests[] = {
    TEST(known_seeds_equal_the_loop),
    TEST(new_seeds_equal_the_loop),
    {NULL, NULL},
};

int main(int argc, char *argv[])
{
    wanted_seed = argc == 2 && argv[1][0] != '-' ? argv[1] : getenv("PMAP_TEST_SEED");
    return test_main_with_pool(argc, argv, tests, ALL_SHAPES " t2:isolate");
}
