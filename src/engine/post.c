/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/post.h"

#include "wire/frame.h"

#include <stdlib.h>

void pmap__post_init(struct pmap__post *post, struct pmap__port *port)
{
    *post = (struct pmap__post){.port = port};
    post->last = &post->first;
    atomic_init(&post->any, false);
    pthread_mutex_init(&post->outgoing, NULL); /* glibc's cannot fail */
    pthread_mutex_init(&post->lock, NULL);
    pthread_cond_init(&post->idle, NULL);
}

void pmap__letter_free(struct pmap__letter *letter)
{
    if (letter)
        free(letter->memory);
    free(letter);
}

void pmap__post_fini(struct pmap__post *post)
{
    while (post->residents) {
        struct pmap__resident *resident = post->residents;
        post->residents = resident->next;
        resident->evicted(resident);
    }
    while (post->first) {
        struct pmap__letter *letter = post->first;
        post->first = letter->next;
        pmap__letter_free(letter);
    }
    free(post->gone);
    pthread_mutex_destroy(&post->outgoing);
    pthread_mutex_destroy(&post->lock);
    pthread_cond_destroy(&post->idle);
}

/* ---- Residents ---- */

void pmap__post_enter(struct pmap__post *post, struct pmap__resident *resident)
{
    resident->busy = false;
    resident->told = 0;
    pthread_mutex_lock(&post->lock);
    for (int rank = 0; post->gone && resident->lost && rank < post->port->size; rank++)
        if (post->gone[rank])
            resident->lost(resident, rank);
    resident->next = post->residents;
    post->residents = resident;
    pthread_mutex_unlock(&post->lock);
}

void pmap__post_leave(struct pmap__post *post, struct pmap__resident *resident)
{
    pthread_mutex_lock(&post->lock);
    struct pmap__resident **at = &post->residents;
    while (*at && *at != resident)
        at = &(*at)->next;
    if (*at)
        *at = resident->next;
    while (resident->busy)
        pthread_cond_wait(&post->idle, &post->lock);
    pthread_mutex_unlock(&post->lock);
}

static struct pmap__resident *find(const struct pmap__post *post, uint64_t number)
{
    struct pmap__resident *resident = post->residents;
    while (resident && resident->number != number)
        resident = resident->next;
    return resident;
}

struct pmap__resident *pmap__post_find(struct pmap__post *post, uint64_t number)
{
    pthread_mutex_lock(&post->lock);
    struct pmap__resident *resident = find(post, number);
    pthread_mutex_unlock(&post->lock);
    return resident;
}

void pmap__post_deliver(struct pmap__post *post, int from, const struct pmap__frame *frame, void *body, size_t size)
{
    struct pmap__letter *letter = malloc(sizeof *letter);

    if (letter == NULL) { /* it is as if there were no memory for the whole process */
        free(body);
        post->port->ops->abort(post->port, "pmap: no memory to receive a letter");
        return;
    }
    *letter = (struct pmap__letter){.rank = from, .number = frame->id, .words = {frame->words[0], frame->words[1]},
                                    .body = body, .size = size, .memory = body};
    pthread_mutex_lock(&post->lock);
    struct pmap__resident *resident = find(post, frame->id);
    if (resident)
        resident->busy = true;
    pthread_mutex_unlock(&post->lock);
    if (resident) { /* without the lock: it may take long */
        resident->arrived(resident, letter);
        pthread_mutex_lock(&post->lock);
        resident->busy = false;
        pthread_cond_broadcast(&post->idle);
        pthread_mutex_unlock(&post->lock);
    } else /* its call has ended, badly, before all that was written has come */
        pmap__letter_free(letter);
}

static void note_gone(struct pmap__post *post, int rank)
{
    pthread_mutex_lock(&post->lock);
    if (post->gone == NULL)
        post->gone = calloc((size_t)post->port->size, sizeof *post->gone);
    if (post->gone)
        post->gone[rank] = true;
    pthread_mutex_unlock(&post->lock);
    if (post->gone == NULL)
        post->port->ops->abort(post->port, "pmap: no memory to note that a rank is dead");
}

/* The next resident that is to hear of a death, which it does without the lock; NULL: there is none. Residents may come and go
 * meanwhile; who comes hears it then. */
static struct pmap__resident *take_next(struct pmap__post *post, struct pmap__resident *last, int rank)
{
    pthread_mutex_lock(&post->lock);
    if (last) {
        last->busy = false;
        pthread_cond_broadcast(&post->idle);
    }
    struct pmap__resident *resident = post->residents;
    while (resident && (resident->lost == NULL || resident->told == rank + 1))
        resident = resident->next;
    if (resident) {
        resident->busy = true;
        resident->told = rank + 1;
    }
    pthread_mutex_unlock(&post->lock);
    return resident;
}

void pmap__post_lost(struct pmap__post *post, int rank)
{
    struct pmap__resident *resident = NULL;

    note_gone(post, rank);
    while ((resident = take_next(post, resident, rank)) != NULL)
        resident->lost(resident, rank);
}

/* ---- Sending ---- */

void pmap__post_send(struct pmap__post *post, struct pmap__letter *letter)
{
    letter->next = NULL;
    pthread_mutex_lock(&post->outgoing);
    *post->last = letter;
    post->last = &letter->next;
    atomic_store(&post->any, true);
    pthread_mutex_unlock(&post->outgoing);
    pmap__bell_ring(post->loop->bell);
}

static struct pmap__letter *take_all(struct pmap__post *post)
{
    pthread_mutex_lock(&post->outgoing);
    struct pmap__letter *letter = post->first;
    post->first = NULL;
    post->last = &post->first;
    atomic_store(&post->any, false);
    pthread_mutex_unlock(&post->outgoing);
    return letter;
}

/* Tokens of others are addresses of objects, and so are even. */
static void *token_of(struct pmap__letter *letter)
{
    return (char *)letter + 1;
}

bool pmap__post_token(const void *token)
{
    return (uintptr_t)token & 1;
}

void pmap__post_sent(void *token)
{
    pmap__letter_free((struct pmap__letter *)(void *)((char *)token - 1));
}

static enum pmap_status send(struct pmap__port *port, struct pmap__letter *letter)
{
    unsigned char head[PMAP__HEAD_MAX];
    struct pmap__frame frame = {.kind = PMAP__LETTER, .id = letter->number, .words = {letter->words[0], letter->words[1]}};
    size_t head_size = pmap__frame_encode(&frame, head);
    bool borrowed = letter->size > port->copied;
    enum pmap_status status = port->ops->send(port, letter->rank, head, head_size, letter->body, letter->size,
                                              borrowed ? token_of(letter) : NULL);
    if (!borrowed || status != PMAP_OK)
        pmap__letter_free(letter);
    return status;
}

bool pmap__post_flush(struct pmap__post *post, enum pmap_status *status)
{
    *status = PMAP_OK;
    if (!atomic_load_explicit(&post->any, memory_order_acquire))
        return false;
    for (struct pmap__letter *letter = take_all(post); letter;) {
        struct pmap__letter *next = letter->next;
        if (*status == PMAP_OK)
            *status = send(post->port, letter);
        else
            pmap__letter_free(letter);
        letter = next;
    }
    return true;
}
