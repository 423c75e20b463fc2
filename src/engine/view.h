/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A root as it is seen from outside, at any time, by any thread: what its pools have done, and what its ranks are doing. Nothing is
 * counted for those who look but what is cheap where it happens: the loop counts chunks, each thread of the root has a seat
 * (seat.h), and the items of a job that runs are taken from its cursor, of which what is out is subtracted.
 *
 * A course is a call as the user made it, where that is not a single job: a stream, a map-reduce.
 */
#ifndef PMAP_ENGINE_VIEW_H
#define PMAP_ENGINE_VIEW_H

#include "sched/durations.h"

#include <pmap.h>
#include <stdatomic.h>

struct pmap__job;
struct pmap__root;
struct pmap__tenant;

/* What became of items; those of calls inside a task are none. */
struct pmap__tally {
    uint64_t all;       /* items of calls that have been made; of a stream: that it has taken */
    uint64_t done;      /* of which it is known what became of them: they have run, were found in the journal, or will not be run */
    uint64_t failed;    /* of these, in their last run */
    uint64_t cancelled; /* not run, or given up */
    uint64_t recalled;  /* found in the journal */
    uint64_t retried;   /* second and further runs of items that had failed */
    uint64_t lost;      /* items that a rank held when it died */
};

void pmap__tally_add(struct pmap__tally *sum, const struct pmap__tally *t);

/* A call of several jobs. From begin to end it stands in its tenant's list, and jobs may name it in their forms. */
struct pmap__course {
    const char *what;  /* the name of a task; kept */
    size_t n;          /* items that it will have, or more; this and the rest are under the root's lock: */
    bool endless;      /* nobody knows how many */
    uint64_t since;
    struct pmap__tally over; /* of its jobs that are done */
    size_t taken;      /* items of all its jobs; who looks makes use of it */
    struct pmap__course *before, *after;
};
void pmap__course_begin(struct pmap__tenant *tenant, struct pmap__course *course, const char *what); /* endless */
void pmap__course_expect(struct pmap__tenant *tenant, struct pmap__course *course, size_t n); /* it is not */
void pmap__course_end(struct pmap__tenant *tenant, struct pmap__course *course);

/* ---- A pool ---- */

struct pmap__view {
    uint64_t calls, over; /* that were made, and how many of them are done */
    struct pmap__tally sum; /* of all of them */
    struct pmap__tally now; /* of those that are not done */
    uint64_t to_come;       /* items that streams have not taken yet, as far as that is known; */
    bool endless;           /* of one it is not */
    char what[48];          /* the task of one that is not done, "" if there is none */
    uint64_t since;         /* when the first of them began */
};

uint64_t pmap__view_calls(struct pmap__tenant *tenant); /* that are over */
void pmap__view_look(struct pmap__tenant *tenant, struct pmap__view *view);

/* ---- A rank ---- */

struct pmap__view_rank {
    char host[64]; /* "" if it is not known */
    int pid;
    int threads;   /* 0: it runs no items, or is dead */
    int busy;      /* of these in items; at another rank as many as the chunks that it holds may keep busy */
    bool dead;
    uint64_t items, chunks; /* that it has run; chunks are what was sent to it, the root needs none */
    uint64_t busy_ns;       /* its threads, added up; what runs now is not in it */
    uint64_t sent, received; /* bytes of items to it, and of results from it */
};

int pmap__view_ranks(const struct pmap__root *root);
uint64_t pmap__view_since(const struct pmap__root *root); /* when it began */
bool pmap__view_is_root(const struct pmap__root *root, int rank);
void pmap__view_rank(const struct pmap__root *root, int rank, struct pmap__view_rank *view);

/* How long items took, of all ranks; those of other ranks with the mean of their chunk. */
void pmap__view_times(const struct pmap__root *root, struct pmap__durations *durations);

/* ---- What is being done ----
 *
 * A chunk that a rank has, or what a thread of the root is in. */
struct pmap__held {
    int rank, thread;   /* thread: -1: it is a chunk */
    int process;        /* of a thread: the worker process that its items run in; 0: this one */
    const struct pmap_task *task;
    size_t first, n;    /* the first item, and how many */
    bool scattered;     /* they do not follow each other */
    uint64_t since;     /* as pmap__now(): handed out, or begun */
    uint64_t turn;      /* of a chunk: how many were handed out before it */
};

/* Up to room of them, by rank; a rank's chunks in the order in which they were handed out, which is mostly that in which it begins them. *n is how
 * many there are. The root's loop is asked, and waited for so many ns; false if it did not come, because it waits for a rank or is stepped by a
 * program that computes: then only what the root's own threads do is there. */
bool pmap__view_held(struct pmap__root *root, struct pmap__held held[], size_t room, size_t *n, uint64_t patience);

#endif
