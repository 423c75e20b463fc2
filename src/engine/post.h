/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Letters between ranks, for what is no chunk: a layer above lets its part on one rank write to its part on another,
 * without a way round by the root. Each rank has a post office. A letter goes to the resident of another rank that has
 * the number which both were given; the loop sends it and hands out what arrives.
 *
 * Any thread writes letters. Letters from one rank to another arrive in the order in which they were posted, but for those with long
 * bodies, which may be overtaken. Nothing limits how many there are: residents must agree on that, since a letter that is posted
 * or has arrived is memory.
 */
#ifndef PMAP_ENGINE_POST_H
#define PMAP_ENGINE_POST_H

#include "engine/loop.h"
#include "transport/transport.h"

#include <pthread.h>
#include <stdatomic.h>

/* Allocated with malloc, and so is the memory that its body lies in. Whoever has it frees both: see pmap__letter_free. */
struct pmap__letter {
    struct pmap__letter *next; /* for whoever has it */
    int rank;         /* to which, or from which */
    uint64_t number;  /* of the residents */
    uint64_t words[2]; /* what it says, besides the body */
    void *body;       /* NULL if size is 0, or if there was no memory for it where it arrived */
    size_t size;
    void *memory;     /* what is freed with it: the body, or what it is a part of */
};

/* One who gets letters. */
struct pmap__resident {
    uint64_t number; /* not 0; the same on all ranks */
    /* A letter has arrived, and is the resident's. On the thread that steps the loop: it must not wait for letters. */
    void (*arrived)(struct pmap__resident *resident, struct pmap__letter *letter);
    /* A rank is dead: no letter comes from it, and none reaches it. On the same thread, or inside enter, if it was dead before. NULL:
     * it does not care. */
    void (*lost)(struct pmap__resident *resident, int rank);
    /* The pool ends, and nobody has moved out: free what there is. */
    void (*evicted)(struct pmap__resident *resident);
    struct pmap__resident *next;
    bool busy; /* it is getting a letter, or news, just now; under the post's lock */
    int told;  /* 1 + the rank of whose death it was told last; likewise */
};

struct pmap__post {
    struct pmap__port *port; /* NULL: there are no other ranks, and never a letter */
    struct pmap__loop *loop; /* which sends */
    pthread_mutex_t outgoing; /* of these two: */
    struct pmap__letter *first, **last;
    atomic_bool any;          /* so that the loop need not lock to see that there is nothing to send */
    pthread_mutex_t lock;     /* of the residents */
    pthread_cond_t idle;      /* one is not busy any more */
    struct pmap__resident *residents;
    bool *gone; /* of each rank: it is dead; NULL: none is */
};

void pmap__post_init(struct pmap__post *post, struct pmap__port *port);
void pmap__post_fini(struct pmap__post *post); /* evicts */

/* From now on letters for this number are handed out; after leave none is, nor is one being. Any thread, but not in arrived(). */
void pmap__post_enter(struct pmap__post *post, struct pmap__resident *resident);
void pmap__post_leave(struct pmap__post *post, struct pmap__resident *resident);

/* Find one; NULL. It is there as long as nobody makes it leave. */
struct pmap__resident *pmap__post_find(struct pmap__post *post, uint64_t number);

/* Post a letter to another rank, which is the post's from now on. Any thread. */
void pmap__post_send(struct pmap__post *post, struct pmap__letter *letter);

void pmap__letter_free(struct pmap__letter *letter); /* NULL is fine */

/* ---- For the loops ---- */

/* Send what was posted; true if there was anything. PMAP_EMPI or PMAP_ENOMEM is for whoever ends the job. */
bool pmap__post_flush(struct pmap__post *post, enum pmap_status *status);

/* The token of a letter whose body is on its way is told from others by this, and given back to this. */
bool pmap__post_token(const void *token);
void pmap__post_sent(void *token);

/* A letter has come, with its body from malloc. */
struct pmap__frame;
void pmap__post_lost(struct pmap__post *post, int rank); /* a rank is dead: all residents hear it */
void pmap__post_deliver(struct pmap__post *post, int from, const struct pmap__frame *frame, void *body, size_t size);

#endif
