/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What is known of a traced run: calls, chunks, phases, and the spans of every lane, which is a thread of a rank. Its memory is
 * bounded. When there is too much of one kind, neighbours that are alike are joined, all over alike, so that the picture becomes coarser and
 * no sum changes: a span of 8 items becomes one of 16, which knows how much of its time was spent in them. The longest items
 * and those that failed stay apart as long as they are few. Sums over everything, and how long items took, are kept apart from that
 * and are exact.
 *
 * Times are as they were noted, each of its rank's clock: how the clocks compare is known at the end only.
 *
 * All functions but create and destroy take the book's lock, on any thread; who reads a book holds it.
 */
#ifndef PMAP_OBSERVE_BOOK_H
#define PMAP_OBSERVE_BOOK_H

#include "engine/observer.h"
#include "sched/clocks.h"

#include <pthread.h>

/* Classes of durations: four to a doubling. */
#define PMAP__CLASSES 256

/* A call is named by its kind and its number: kind << 48 | number. Kind 0 is of all for which there was no room. */
#define PMAP__KINDS 4096
static inline size_t pmap__call_kind(uint64_t call)
{
    return (size_t)(call >> 48);
}
static inline uint64_t pmap__call_number(uint64_t call)
{
    return call & (UINT64_MAX >> 16);
}

struct pmap__kind {
    char *function, *task; /* of a part of a call the task is the call's and the part's name */
    uint64_t calls, failed, given_up, skipped, known;
    uint64_t items, busy, shortest, longest; /* of the items that were run, each time that they were */
    uint64_t classes[PMAP__CLASSES];
};

/* A call, or several short ones of a kind, which have ended. */
struct pmap__call_line {
    uint64_t call, last; /* the first, and the number of the last */
    uint64_t calls;
    uint64_t begin, end; /* end 0: it has not ended */
    size_t n, chunksize;
    enum pmap_status status;
    size_t items, failed, skipped, known;
    char *error; /* NULL: none */
};

struct pmap__chunk_line {
    struct pmap__chunk_ends first;  /* times and names of the first; n, bytes_out and bytes_in of all */
    uint64_t chunks, answered;      /* how many; when the last answer was handled */
    uint64_t send, queue, run, total; /* sums */
    int64_t transfer;               /* from sent to arrived: the difference of two clocks, summed up */
};

struct pmap__span_line {
    struct pmap__span span;
    uint64_t weight;  /* spans that were joined */
    uint64_t longest; /* of them, by the time of an item */
};

struct pmap__lane {
    int pid, thread;
    struct pmap__span_line *lines;
    size_t n, room;
    bool sorted; /* by begin */
};

struct pmap__book_rank {
    char host[64]; /* "": not known */
    int threads;   /* that run items; 0: not known, or none */
    bool differs;  /* its clock is another than the root's */
    struct pmap__clock clock;
    uint64_t lost; /* when it died; 0: it has not */
    struct pmap__chunk_line *chunks;
    size_t n, room;
};

struct pmap__book {
    pthread_mutex_t lock;
    char *path;            /* of the file; "": none is written */
    char *report;          /* of the page that is made of it; NULL: none is */
    size_t bound;          /* spans that are kept; calls and chunks a quarter of that */
    uint64_t since;        /* when the first pool began to be created, */
    int64_t started;       /* in ns since 1970 */
    int root;              /* the pid of the root */
    int pools;             /* that are open */
    bool incomplete;       /* something is missing that was noted */
    bool sealed;           /* it has been written for the last time, for the process is being ended */
    uint64_t missed;       /* spans that were dropped, for nothing could be joined any more */
    atomic_uint_fast64_t chunks; /* so far; the last one's number */

    struct pmap__kind *kinds;
    size_t n_kinds;
    struct pmap__call_line *calls; /* in the order of their numbers */
    size_t n_calls, room_calls, limit_calls;
    uint64_t all_calls;
    struct pmap__book_rank *ranks; /* by pid */
    int n_ranks;
    size_t n_chunks, limit_chunks;
    struct pmap__lane *lanes;      /* in the order of pid and thread */
    size_t n_lanes, n_lines, limit_lines;
    uint64_t all_spans;
    struct pmap__phase *phases;
    size_t n_phases, room_phases;
    struct { int ranks, base; } *groups; /* pools of so many ranks have pids from base on */
    size_t n_groups;
};

/* NULL if memory is short. */
struct pmap__book *pmap__book_create(const char *path, size_t bound);
void pmap__book_destroy(struct pmap__book *book);

/* A pool of so many ranks: the pid of its rank 0. Pools of the same size have the same ranks. -1: no memory. */
int pmap__book_pool(struct pmap__book *book, int ranks);

/* Who a rank is; its clock differs. What was heard of its clock. It has died. */
void pmap__book_rank(struct pmap__book *book, int pid, const char *host, int threads, bool differs);
void pmap__book_ping(struct pmap__book *book, int pid, const struct pmap__ping *ping, bool at_end);
void pmap__book_lose(struct pmap__book *book, int pid);
void pmap__book_note_lost(struct pmap__book *book, int pid); /* the same, under the lock */

/* As those of an observer; pid is the rank's. */
uint64_t pmap__book_call_begins(struct pmap__book *book, const struct pmap__call_begins *call);
uint64_t pmap__book_call_part(struct pmap__book *book, uint64_t call, const char *part);
void pmap__book_call_grows(struct pmap__book *book, const struct pmap__call_ends *part);
void pmap__book_call_ends(struct pmap__book *book, const struct pmap__call_ends *call);
void pmap__book_chunk(struct pmap__book *book, int pid, const struct pmap__chunk_ends *chunk);
void pmap__book_phase(struct pmap__book *book, const struct pmap__phase *phase);
void pmap__book_spans(struct pmap__book *book, int pid, const struct pmap__span *spans, size_t n);
void pmap__book_note_spans(struct pmap__book *book, int pid, const struct pmap__span *spans, size_t n); /* the same, under the lock */

/* The class of a duration, and the shortest of that class. */
size_t pmap__duration_class(uint64_t ns);
double pmap__class_from(size_t class);

/* Room for one more element; NULL if there is none and memory is short. The array is at *array. */
void *pmap__grow(void *array, size_t n, size_t *room, size_t size);

#endif
