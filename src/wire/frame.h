/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The messages between the root and the ranks that serve it, and among all of them. This is the one place that knows their bytes.
 *
 *   kind      from -> to      head                                            body
 *   CHUNK     root -> rank    which items of which job, what to run on them   the items
 *   RECORDS   rank -> root    a chunk, and how many records of failures       the records
 *   RESULT    rank -> root    the same chunk, time it took, failures          the results
 *   REFUSAL   rank -> root    the same chunk, why it was not run              -
 *   CANCEL    root -> rank    a job that need not be finished                 -
 *   HOLD      root -> rank    all are wanted for a collective call            -
 *   READY     rank -> root    this one can enter it at any time. Where ranks   -
 *                             may die: an id and a size: it has this data; or
 *                             0: it has no memory for it
 *   SHARE     root -> rank    an id and a size: all are READY, and enter now  -, or the data where
 *                                                                             ranks may die
 *   UNSHARE   root -> rank    an id: likewise                                 -
 *   LETTER    any -> any      whom it is for, two numbers                     anything
 *   LOST      root -> rank    another rank is dead                            -
 *   BYE       root -> rank    the pool ends                                   -
 *
 * RECORDS go out just before their RESULT; which of the two is complete first is open, for either may be long. What the
 * bodies of CHUNK and RESULT look like: see engine/pack.h.
 *
 * A head is at most PMAP__HEAD_MAX bytes: numbers are little-endian and have a fixed width, texts are a 16-bit
 * length and their bytes. The transport carries a head together with its body and knows the body's size.
 * Decoding trusts nothing: a head that is too short, too long, of another version or has a field out of range
 * is refused, and the text names the field.
 */
#ifndef PMAP_WIRE_FRAME_H
#define PMAP_WIRE_FRAME_H

#include "base/meeting.h"

#include <pmap.h>
#include <stddef.h>
#include <stdint.h>

/* Changes with every change of the bytes; ranks with different versions do not form a pool. */
#define PMAP__WIRE_VERSION 8

/* 1e9 seconds: later than anybody waits, and sums of a few do not overflow. */
#define PMAP__TIMEOUT_MAX (UINT64_C(1000000000) * 1000000000)

/* The longest head is a RESULT with a failure: a dozen numbers, a host and a text. */
#define PMAP__HEAD_MAX 768

enum pmap__frame_kind {
    PMAP__CHUNK = 1,
    PMAP__RECORDS,
    PMAP__RESULT,
    PMAP__REFUSAL,
    PMAP__CANCEL,
    PMAP__HOLD,
    PMAP__READY,
    PMAP__SHARE,
    PMAP__UNSHARE,
    PMAP__LETTER,
    PMAP__LOST,
    PMAP__BYE
};

/* What a chunk's rank is asked for. */
enum {
    PMAP__WANT_RECORDS = 1, /* a record of each failure */
    PMAP__WANT_REASONS = 2, /* with its text */
    PMAP__WANT_STOP = 4,    /* stop at the first failure */
    PMAP__NAMED = 8,        /* the body begins with the indices of the items */
    PMAP__SINGLE = 16,      /* this is all of its job, or was run before: it need not keep behind other chunks of the job */
    PMAP__APART = 32,       /* of a reduction: the value of each leaf, not of the nodes that they make */
    PMAP__LIMITED = 64,     /* its items have limits */
    PMAP__TRACED = 128,     /* spans of its items, and when it came and went */
    PMAP__WANTS = 255
};

struct pmap__frame {
    enum pmap__frame_kind kind;
    uint64_t ticket;      /* CHUNK: names the chunk at the root; the answer repeats it */
    uint64_t begin, n;    /* CHUNK and answers: items [begin, begin + n) of the job */
    uint64_t grain;       /* CHUNK: how many of them one thread takes at a time */
    uint64_t task;        /* CHUNK: struct pmap_task.id */
    uint64_t args_size;   /* CHUNK: bytes of an item, */
    uint64_t result_size; /*        and of a result */
    uint64_t job;         /* CHUNK, CANCEL: names the job */
    uint64_t seed;        /* CHUNK: of the job */
    int priority;         /* CHUNK: of the job */
    unsigned wants;       /* CHUNK: PMAP__WANT_… */
    uint64_t timeout;     /* CHUNK with PMAP__LIMITED: ns that an item may take, up to PMAP__TIMEOUT_MAX, */
    uint64_t max_rss;     /*        and bytes; 0: any, but not both */
    uint64_t observer;    /* CHUNK with PMAP__TRACED: who gets the spans, */
    uint64_t call, chunk; /*        and what they say that they belong to, */
    unsigned attempt;     /*        and which run of the items this is, from 1 */
    uint64_t op;          /* CHUNK: struct pmap_op.id; 0: this is no reduction. Otherwise begin and n count leaves, */
    uint64_t leaf;        /*        of so many items each, */
    uint64_t total;       /*        of so many items in all */
    uint64_t busy;        /* RESULT: nanoseconds that threads spent on the chunk, added up; 0 for a single piece */
    uint64_t failed;      /* RESULT: how many items failed, */
    uint64_t skipped;     /*         how many were not run or given up, */
    uint64_t records;     /*         how many records go with it. RECORDS: the same number */
    bool timed;           /* RESULT: of a chunk with PMAP__TRACED: when it was here, when the first thread */
    uint64_t arrived, begun, ended; /* began with it and the last had done with it: ns of the rank's clock */
    const struct pmap_error *error; /* the one with the lowest index if any did; NULL if none. REFUSAL: the reason */
    uint64_t id, size;    /* SHARE, UNSHARE, READY: names the data; how many bytes it is. LETTER: id names the resident */
    int rank;             /* LOST: which one is dead */
    uint64_t words[2];    /* LETTER: what it says */
    const struct pmap__meetings *met; /* BYE: lines that asked for other pools meanwhile; never NULL there */
};

/* Where what a frame only points to goes when it is read. It is apart because it is large, and hardly ever there. */
struct pmap__inside {
    struct pmap_error error;
    struct pmap__meetings met;
};

/* Write the head of a frame; returns its size. */
size_t pmap__frame_encode(const struct pmap__frame *frame, unsigned char head[static PMAP__HEAD_MAX]);

/* Read one. What it brings of an error or of lines goes into *inside, to which frame->error and frame->met point then; else they
 * are NULL. PMAP_OK, or PMAP_EMISMATCH with a text in *error that names the bad field; *frame only on success. */
enum pmap_status pmap__frame_decode(const unsigned char *head, size_t size, struct pmap__frame *frame,
                                    struct pmap__inside *inside, struct pmap_error *error);

/* One record of a failure, at most PMAP__HEAD_MAX bytes of it; read moves *at on. error may be NULL, and is then read as
 * status PMAP_OK. */
struct pmap__entry {
    uint64_t item, n;
    enum pmap_status status;
};
size_t pmap__entry_encode(const struct pmap__entry *entry, const struct pmap_error *error,
                          unsigned char bytes[static PMAP__HEAD_MAX]);
enum pmap_status pmap__entry_decode(const unsigned char **at, const unsigned char *end, struct pmap__entry *entry,
                                    struct pmap_error *decoded, struct pmap_error *error);

/* An error alone, for ranks that must tell each other why a pool cannot be. The same bytes as inside a frame. */
size_t pmap__error_encode(const struct pmap_error *error, unsigned char bytes[static PMAP__HEAD_MAX]);
enum pmap_status pmap__error_decode(const unsigned char *bytes, size_t size, struct pmap_error *decoded,
                                    struct pmap_error *error);

#endif
