/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/recorder.h"

#include "base/clock.h"
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Spans of a place: of 100 us each they are 25 ms, and 23 KB in a letter. */
#define ROOM 256

/* So old does a span become before it is handed over, if its thread goes on noting. */
#define OLD (100 * PMAP__MS)

/* Spans that are shorter than LONG are joined up to that. SHORT is what makes a reading of the clock less than a hundredth. */
#define LONG (100 * PMAP__US)
#define SHORT (10 * PMAP__US)

/* Joined spans have at most so much time between them. */
#define PAUSE (20 * PMAP__US)

/* After so many pieces of nanoseconds a reading of the clock does not count any more. */
#define STRIDE_MAX 256

struct place {
    pthread_mutex_t lock;
    struct pmap__subject subject; /* whose spans these are; only the call and what is below it differs among them */
    struct pmap__span *spans;     /* ROOM of them; NULL as long as there was none */
    size_t n;
    uint64_t since;               /* when the first of them began */
};

/* How many letters with spans an observer has been sent. */
struct sent {
    uint64_t observer, letters;
    struct sent *next;
};

struct pmap__recorder {
    struct pmap__resident resident;
    struct pmap__place *rank;
    bool lives; /* it is a resident */
    int threads;
    struct place *places;
    pthread_mutex_t lock; /* of these: */
    struct pmap__span *before; /* what was done before the pool began */
    size_t n_before, room_before;
    struct sent *sent;
};

/* ---- What goes out ---- */

static unsigned char *encode(const struct pmap__span *spans, size_t n, size_t ahead)
{
    unsigned char *bytes = malloc(ahead + n * PMAP__SPAN_SIZE + 1);

    for (size_t i = 0; bytes && i < n; i++)
        pmap__span_encode(&spans[i], bytes + ahead + i * PMAP__SPAN_SIZE);
    return bytes;
}

/* The body is the letter's from here on; it may be NULL for there was no memory, and then the letter is not sent. */
static void send(struct pmap__recorder *recorder, int rank, uint64_t observer, enum pmap__record_letter what, uint64_t count,
                 void *body, size_t size)
{
    struct pmap__letter *letter = body || size == 0 ? malloc(sizeof *letter) : NULL;

    if (letter == NULL) { /* a trace with a gap is better than none */
        free(body);
        return;
    }
    *letter = (struct pmap__letter){.rank = rank, .number = observer, .words = {(uint64_t)what << 32 | count, pmap__now()},
                                    .body = body, .size = size, .memory = body};
    pmap__post_send(recorder->rank->post, letter);
}

/* Count one more letter, or none, for this observer; how many there were. Under the lock. */
static uint64_t letters_to(struct pmap__recorder *recorder, uint64_t observer, bool one_more)
{
    struct sent *sent = recorder->sent;

    while (sent && sent->observer != observer)
        sent = sent->next;
    if (sent == NULL && one_more && (sent = calloc(1, sizeof *sent)) != NULL) {
        sent->observer = observer;
        sent->next = recorder->sent;
        recorder->sent = sent;
    }
    return sent ? sent->letters += one_more : 0;
}

static void mail(struct pmap__recorder *recorder, struct place *place)
{
    unsigned char *body = encode(place->spans, place->n, 0);

    if (body == NULL)
        return;
    pthread_mutex_lock(&recorder->lock);
    letters_to(recorder, place->subject.number, true);
    pthread_mutex_unlock(&recorder->lock);
    send(recorder, recorder->rank->root, place->subject.number, PMAP__SPANS, 0, body, place->n * PMAP__SPAN_SIZE);
}

/* Under the place's lock. */
static void hand_over(struct pmap__recorder *recorder, struct place *place)
{
    if (place->n && place->subject.observer)
        place->subject.observer->ops->spans(place->subject.observer, recorder->rank->rank, place->spans, place->n);
    else if (place->n)
        mail(recorder, place);
    place->n = 0;
}

void pmap__recorder_gather(struct pmap__recorder *recorder)
{
    for (int thread = 0; thread < recorder->threads; thread++) {
        struct place *place = &recorder->places[thread];
        pthread_mutex_lock(&place->lock);
        hand_over(recorder, place);
        pthread_mutex_unlock(&place->lock);
    }
}

void pmap__recorder_salvage(struct pmap__recorder *recorder, struct pmap__observer *observer, pmap__keep_fn *keep)
{
    for (int thread = 0; thread < recorder->threads; thread++) {
        struct place *place = &recorder->places[thread];
        if (pthread_mutex_trylock(&place->lock) != 0)
            continue;
        if (place->n && place->subject.observer == observer) {
            keep(observer, recorder->rank->rank, place->spans, place->n);
            place->n = 0;
        }
        pthread_mutex_unlock(&place->lock);
    }
}

/* ---- Letters ---- */

void pmap__recorder_hail(const struct pmap__recorder *recorder, struct pmap__hail *hail)
{
    char boot[64] = "", names[64] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");

    if (file && fgets(boot, sizeof boot, file) == NULL)
        boot[0] = '\0';
    if (file)
        fclose(file);
    if (readlink("/proc/self/ns/time", names, sizeof names - 1) < 0) /* older kernels have none, and one clock for all */
        names[0] = '\0';
    *hail = (struct pmap__hail){.threads = recorder->threads};
    memcpy(hail->host, recorder->rank->host, sizeof hail->host);
    hail->clock = pmap__hash(pmap__hash(PMAP__HASH_BEGIN, boot, strlen(boot)), names, strlen(names));
    if (boot[0] == '\0') /* nothing is known: no two ranks are the same */
        hail->clock = pmap__hash(hail->clock, &(uint64_t[]){pmap__now(), (uint64_t)getpid()}, 2 * sizeof(uint64_t));
}

size_t pmap__recorder_begun(struct pmap__recorder *recorder, struct pmap__span spans[], size_t most)
{
    pthread_mutex_lock(&recorder->lock);
    size_t n = recorder->n_before < most ? recorder->n_before : most;
    if (n)
        memcpy(spans, recorder->before, n * sizeof *spans);
    recorder->n_before = 0;
    pthread_mutex_unlock(&recorder->lock);
    return n;
}

static void answer_hail(struct pmap__recorder *recorder, int rank, uint64_t observer, uint64_t count)
{
    struct pmap__hail hail;
    struct pmap__span spans[ROOM];

    pmap__recorder_hail(recorder, &hail);
    size_t n = pmap__recorder_begun(recorder, spans, ROOM);
    unsigned char *body = encode(spans, n, sizeof hail);
    if (body)
        memcpy(body, &hail, sizeof hail);
    send(recorder, rank, observer, PMAP__HAIL, count, body, sizeof hail + n * PMAP__SPAN_SIZE);
}

static void arrived(struct pmap__resident *resident, struct pmap__letter *letter)
{
    struct pmap__recorder *recorder = (struct pmap__recorder *)resident; /* its first member */
    uint64_t what = letter->words[0] >> 32, count = letter->words[0] & UINT32_MAX, observer = letter->words[1];
    int rank = letter->rank;

    pmap__letter_free(letter);
    if (what == PMAP__HAIL) {
        answer_hail(recorder, rank, observer, count);
    } else if (what == PMAP__PING) {
        send(recorder, rank, observer, PMAP__PING, count, NULL, 0);
    } else if (what == PMAP__GATHER) {
        pmap__recorder_gather(recorder);
        pthread_mutex_lock(&recorder->lock);
        uint64_t letters = letters_to(recorder, observer, false);
        pthread_mutex_unlock(&recorder->lock);
        send(recorder, rank, observer, PMAP__GATHER, letters & UINT32_MAX, NULL, 0);
    }
}

static void evicted(struct pmap__resident *resident)
{
    ((struct pmap__recorder *)resident)->lives = false;
}

/* ---- Life ---- */

struct pmap__recorder *pmap__recorder_create(struct pmap__place *place)
{
    struct pmap__recorder *recorder = calloc(1, sizeof *recorder);

    if (recorder == NULL)
        return NULL;
    recorder->resident = (struct pmap__resident){.number = PMAP__RECORDERS, .arrived = arrived, .evicted = evicted};
    recorder->rank = place;
    pthread_mutex_init(&recorder->lock, NULL); /* glibc's cannot fail */
    return recorder;
}

bool pmap__recorder_begin(struct pmap__recorder *recorder, int threads)
{
    recorder->places = calloc((size_t)threads + 1, sizeof *recorder->places);
    if (recorder->places == NULL)
        return false;
    recorder->threads = threads;
    for (int thread = 0; thread < threads; thread++)
        pthread_mutex_init(&recorder->places[thread].lock, NULL);
    pmap__post_enter(recorder->rank->post, &recorder->resident);
    recorder->lives = true;
    return true;
}

void pmap__recorder_destroy(struct pmap__recorder *recorder)
{
    if (recorder == NULL)
        return;
    if (recorder->lives)
        pmap__post_leave(recorder->rank->post, &recorder->resident);
    for (int thread = 0; thread < recorder->threads; thread++) {
        free(recorder->places[thread].spans);
        pthread_mutex_destroy(&recorder->places[thread].lock);
    }
    while (recorder->sent) {
        struct sent *sent = recorder->sent;
        recorder->sent = sent->next;
        free(sent);
    }
    free(recorder->places);
    free(recorder->before);
    pthread_mutex_destroy(&recorder->lock);
    free(recorder);
}

static bool grow_before(struct pmap__recorder *recorder)
{
    size_t room = recorder->room_before ? 2 * recorder->room_before : 4;

    if (recorder->n_before < recorder->room_before)
        return true;
    struct pmap__span *before = room <= ROOM ? realloc(recorder->before, room * sizeof *before) : NULL;
    if (before == NULL)
        return false;
    recorder->before = before;
    recorder->room_before = room;
    return true;
}

void pmap__recorder_before(struct pmap__recorder *recorder, enum pmap__span_kind kind, int thread, uint64_t begin)
{
    uint64_t end = pmap__now();

    if (recorder == NULL)
        return;
    pthread_mutex_lock(&recorder->lock);
    if (grow_before(recorder))
        recorder->before[recorder->n_before++] = (struct pmap__span){.kind = kind, .thread = thread, .attempt = 1, .begin = begin,
                                                                     .end = end, .busy = end - begin};
    pthread_mutex_unlock(&recorder->lock);
}

/* ---- A thread that runs items ---- */

void pmap__noting_begin(struct pmap__noting *noting, struct pmap__recorder *recorder, const struct pmap__subject *subject, int thread)
{
    *noting = (struct pmap__noting){.recorder = recorder, .subject = subject, .thread = thread, .stride = 1, .since = pmap__now()};
}

/* Do both belong together, and make no long one? */
static bool is_joinable(const struct pmap__span *a, const struct pmap__span *b)
{
    return a->call == b->call && a->attempt == b->attempt && a->failed + a->given_up + b->failed + b->given_up == 0 &&
           b->begin - a->end < PAUSE && b->end - a->begin < LONG;
}

static void join(struct pmap__span *a, const struct pmap__span *b)
{
    a->item = a->item < b->item ? a->item : b->item;
    a->last = a->last > b->last ? a->last : b->last;
    a->n += b->n;
    a->end = b->end;
    a->busy += b->busy;
}

/* Under the lock. False: there is no memory. */
static bool has_room(struct place *place)
{
    if (place->spans == NULL)
        place->spans = malloc(ROOM * sizeof *place->spans);
    return place->spans != NULL;
}

static void add(struct pmap__recorder *recorder, struct place *place, const struct pmap__subject *subject, const struct pmap__span *span)
{
    struct pmap__span *last = place->n ? &place->spans[place->n - 1] : NULL;

    if (place->n && place->subject.number != subject->number) {
        hand_over(recorder, place);
        last = NULL;
    }
    place->subject = *subject;
    if (last && is_joinable(last, span)) {
        join(last, span);
        return;
    }
    if (place->n == 0)
        place->since = span->begin;
    place->spans[place->n++] = *span;
    if (place->n == ROOM || span->end - place->since > OLD)
        hand_over(recorder, place);
}

/* Short spans are read off less often, long ones at once. */
static void adapt_stride(struct pmap__noting *noting, uint64_t took)
{
    if (took < SHORT && noting->failed + noting->given_up == 0)
        noting->stride = 2 * noting->stride < STRIDE_MAX ? 2 * noting->stride : STRIDE_MAX;
    else if (took > LONG / 2)
        noting->stride = 1;
    else if (took > 2 * SHORT && noting->stride > 1)
        noting->stride /= 2;
}

void pmap__noting_look(struct pmap__noting *noting)
{
    const struct pmap__subject *subject = noting->subject;
    struct place *place = &noting->recorder->places[noting->thread];
    uint64_t now = pmap__now();
    struct pmap__span span = {.call = subject->call, .chunk = subject->chunk, .item = noting->item, .last = noting->last, .n = noting->n,
                              .begin = noting->since, .end = now, .busy = now - noting->since, .failed = noting->failed,
                              .given_up = noting->given_up, .thread = noting->thread, .attempt = subject->attempt,
                              .isolated = noting->recorder->rank->cells};

    pthread_mutex_lock(&place->lock);
    if (has_room(place))
        add(noting->recorder, place, subject, &span);
    pthread_mutex_unlock(&place->lock);
    adapt_stride(noting, now - noting->since);
    noting->since = now;
    noting->pieces = 0;
    noting->n = noting->failed = noting->given_up = 0;
}

void pmap__noting_end(struct pmap__noting *noting)
{
    if (noting->n)
        pmap__noting_look(noting);
}
