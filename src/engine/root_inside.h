/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What the parts of a root share: root.c, its loop and the lives of jobs; tenant.c, the pools that it serves; again.c, what is
 * run again; deal.c, the chunks that it deals to other ranks; sharing.c, data that all of them get; loss.c, ranks that die;
 * and interrupt.c, what ends it all early. Nobody else includes this.
 */
#ifndef PMAP_ENGINE_ROOT_INSIDE_H
#define PMAP_ENGINE_ROOT_INSIDE_H

#include "base/clock.h"
#include "base/line.h"
#include "engine/root.h"
#include "engine/share.h"
#include "engine/ticket.h"
#include "wire/frame.h"

/* An item is given up when so many ranks have died that held it; and before that is the last chance, it is run where nothing
 * else runs, so that nothing else is blamed. */
#define PMAP__LOSSES_MAX 3

/* Ranks that die together are noticed one by one. So what was lost is not dealt again before nobody has died for so long: else it
 * would go from one dead rank to the next, and be given up. Far longer than the kernel needs to end a process. */
#define PMAP__QUIET (200 * PMAP__MS)

struct pmap__peer {
    atomic_int threads;  /* 0: it gets nothing: it is the root, or dead */
    bool dead;           /* and everybody has been told */
    bool missing;        /* it is not counted any more: it is dead, whether or not the loop knows */
    char *who;           /* if it is dead: "rank 3 on node2 died"; malloc'ed; NULL: there was no memory */
    bool suspect;        /* it has an item on its last chance, and gets nothing else */
    bool owes;           /* it has been sent shared data, and has not answered */
    size_t chunks;     /* that it holds, of all jobs, */
    size_t singles;    /* and how many of them are of jobs of one piece */
    bool after_single; /* what it got last was one */
    struct pmap__lasting lasting; /* what of all chunks may last; those of one piece always may */
    struct pmap__line aimed;      /* jobs for this rank alone, not handed out yet */
    /* For those who look (view.h); the loop alone writes, anybody reads: */
    atomic_size_t grains;         /* that its chunks may have at work, */
    atomic_uint_fast64_t items_run, chunks_run, busy, sent, received; /* and what it has done so far */
    atomic_bool gone;             /* it is dead */
    int pid;                      /* these two are constant */
    char host[64];
};

/* Somebody wants to know what is being done: see pmap__view_held. */
struct pmap__asking {
    struct pmap__held *held;
    size_t room, n;
    bool answered;
    struct pmap__bell *bell; /* rung when it is */
};

struct pmap__root {
    struct pmap__loop loop;
    struct pmap__port *port;
    struct pmap__team *team;
    const struct pmap__place *place;
    bool caller_steps;
    int asked; /* threads */
    void (*closed)(void *);
    void *argument;
    pthread_t creator;
    struct pmap__watched watched;

    pthread_mutex_t lock; /* of these: */
    struct pmap__note *inbox, **inbox_last;
    struct pmap__tenant *tenants;
    struct pmap__times *times; /* of tenants that are limited */
    struct pmap__sharing *sharing, **sharing_last; /* what waits to be shared */
    struct pmap__asking *asking; /* whom the loop has to tell what is being done; NULL: nobody */
    /* without the lock: */
    atomic_bool mail;      /* there may be notes in the inbox; so that the loop need not lock to see that there are none */
    atomic_bool cancels;   /* some jobs are cancelled, and the loop has not looked at them yet */
    atomic_bool shares;    /* something may wait to be shared */
    atomic_bool asked_view; /* somebody is asking */
    struct pmap__seat *seats; /* of its threads, so many, and one more, where the loop keeps the times of other ranks */
    int seated, rank;      /* rank: its own; these and the next are constant */
    uint64_t since;        /* when it began */
    atomic_bool closing;   /* the pool shall end once every job has */
    atomic_size_t pending; /* jobs that are not done, of all tenants */
    atomic_uint_fast64_t last_id;

    /* The loop's own from here on. */
    struct pmap__line open; /* jobs with items to hand out */
    struct pmap__job *later; /* jobs that are not due yet */
    uint64_t quiet;          /* and what was lost with a rank is not due before */
    size_t alive;           /* jobs that the loop knows and are not done */
    struct pmap__peer *peers; /* by rank */
    int ranks, own_threads;
    atomic_int all_threads; /* these two of living ranks; any thread reads */
    atomic_int others;      /* ranks that live, without the root */
    bool survives;          /* ranks may die */
    bool mourned;           /* those who died before the pool began are known */
    struct pmap__tickets tickets;
    uint64_t service_ns;     /* mean time the loop spends on one message of a chunk */
    unsigned steps;          /* of the loop, so far */
    uint64_t handled, moved; /* messages and bytes of bodies in this step, to measure that */
    size_t chunks_away;      /* that are not answered */
    uint64_t supplied_ns;    /* how long the work that a rank was last allowed to hold will last it; 0: unknown */
    bool left_to_team;       /* items were not offered, for threads of the root seemed to be free for them */
    bool passed_over;        /* a rank got nothing, for it is likely to be full */
    bool offer_around;       /* ranks that hold nothing may want a chunk: a job is new, or at the head of the list */
    struct pmap__shares shared;
    struct pmap__sharing *gathering; /* the ranks have been told to HOLD for this; NULL: for nothing */
    int ready;               /* how many of them have answered */
    int given;               /* where each rank gets its own copy: ranks below this have been sent it, */
    int owing;               /* and so many have not answered; */
    bool refused;            /* somebody had no memory for it */
    bool said_bye;
    struct pmap__meetings met; /* what was said then */
};

static inline struct pmap__job *pmap__job_in_line(struct pmap__waiter *place)
{
    return place ? (struct pmap__job *)((char *)place - offsetof(struct pmap__job, place_in_line)) : NULL;
}

/* root.c */
void pmap__root_open(struct pmap__root *root, struct pmap__job *job);   /* hand it out; the loop alone */
void pmap__root_settle(struct pmap__root *root, struct pmap__job *job); /* complete it if nothing is outstanding; it may be gone */
void pmap__root_unlist(struct pmap__root *root, struct pmap__job *job);
void pmap__root_forsake(struct pmap__root *root, struct pmap__queue *queue); /* the root alone runs what waits here, or nobody does */
bool pmap__root_has_alone(const struct pmap__root *root, const struct pmap__job *job); /* is it for the root's own threads alone? */
void pmap__root_local_finished(struct pmap__work *work); /* the team has left the work of a job */
void pmap__root_post(struct pmap__root *root, struct pmap__note *note); /* to the loop; under the lock */
void pmap__root_tell(struct pmap__root *root, struct pmap__note *note); /* the same, without it */
void pmap__root_ring(struct pmap__root *root, atomic_bool *flag);       /* set it, and let the loop look */
void pmap__root_destroy(struct pmap__root *root);                       /* its last tenant has left */

/* again.c */
void pmap__again_raise(struct pmap__root *root, struct pmap__job *job); /* what failed in its first run */
void pmap__again_done(struct pmap__root *root, struct pmap__job *child); /* a child is over; it may be gone */
bool pmap__again_wake(struct pmap__root *root); /* open what has become due; true if there was any */
void pmap__again_drop(struct pmap__root *root); /* end what waits, but need not be run any more */

/* The rank of the ticket has died: its items are run again, or given up. They are the first run still; a second run, which is of one
 * piece, begins anew when it has ended. When they have been lost twice each is by itself, so that those that kill ranks are told from
 * those that were near. counts: the rank may have begun them. */
void pmap__again_lose(struct pmap__root *root, const struct pmap__ticket *ticket, bool counts);

/* view.c */
void pmap__view_job(struct pmap__job *job, struct pmap__tally *tally); /* how it stands; these two are under the lock */
void pmap__view_over(struct pmap__job *job); /* it is about to leave its tenant, which counts it */
bool pmap__view_left(struct pmap__job *job); /* it has; it was the last, and whoever shows it has to be told; likewise */
bool pmap__view_answer(struct pmap__root *root); /* the loop's part; true if anything happened */

/* What the loop alone adds to, and anybody reads. */
static inline void pmap__bump(atomic_uint_fast64_t *sum, uint64_t n)
{
    atomic_store_explicit(sum, atomic_load_explicit(sum, memory_order_relaxed) + n, memory_order_relaxed);
}

/* sharing.c */
enum pmap_status pmap__sharing_request(struct pmap__root *root, struct pmap__sharing *s); /* waits until it is done; any thread */
bool pmap__sharing_handle(struct pmap__root *root); /* the loop's part; true if anything happened */
void pmap__sharing_hand_round(struct pmap__root *root); /* go on sending shared data */

/* interrupt.c */
uint64_t pmap__interrupt_look(struct pmap__watched *watched); /* the watcher's look at a root */
bool pmap__interrupt_admits(struct pmap__tenant *tenant, struct pmap__job *job); /* under the lock: may it begin? */
void pmap__interrupt_cancel(struct pmap__tenant *tenant, bool last_too); /* all of its jobs; likewise */

/* deal.c */
void pmap__deal_around(struct pmap__root *root); /* offer chunks to all ranks, as long as somebody takes one */
bool pmap__deal_poll(struct pmap__root *root);   /* handle what has come; true if there was anything */
void pmap__deal_clean(struct pmap__root *root);  /* drop jobs that have nothing left to hand out from the head of the line */
void pmap__deal_cancel(struct pmap__root *root, const struct pmap__job *job); /* tell the ranks */
bool pmap__deal_tell(struct pmap__root *root, const struct pmap__frame *frame); /* the same head to all other ranks */

/* Take back what a rank holds that has died; alive: when it lived for certain. */
void pmap__deal_lose(struct pmap__root *root, int rank, uint64_t alive);

/* observer.c; where nobody observes they do nothing */
void pmap__observe_begin(struct pmap__tenant *tenant, struct pmap__job *job); /* before it is anybody's */
void pmap__observe_end(struct pmap__job *job, const struct pmap_error *refused); /* or it never began, and why */
uint64_t pmap__observe_deal(const struct pmap__job *job); /* items of it have just been taken: the time, if anybody wants to know */
void pmap__observe_send(struct pmap__ticket *ticket, uint64_t dealt, size_t bytes, struct pmap__frame *frame); /* this is about to be sent */
void pmap__observe_answer(struct pmap__ticket *ticket, enum pmap__chunk_end end, const struct pmap__frame *frame, size_t bytes); /* or NULL */

/* loss.c */
void pmap__loss_count(struct pmap__root *root, int rank); /* one rank less; the loop, or whoever starts it */
bool pmap__loss_handle(struct pmap__root *root); /* see to ranks that have died; true if there was one */

#endif
