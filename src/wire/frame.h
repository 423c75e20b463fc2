/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The messages between the root and the ranks that serve it. This is the one place that knows their bytes.
 *
 *   kind      from -> to      head                                            body
 *   CHUNK     root -> rank    which items of which job, what to run on them   n items
 *   RESULT    rank -> root    the same chunk, time it took, failures          n results
 *   REFUSAL   rank -> root    the same chunk, why it was not run              -
 *   BYE       root -> rank    the pool ends                                   -
 *
 * A head is at most PMAP__HEAD_MAX bytes: numbers are little-endian and have a fixed width, texts are a 16-bit
 * length and their bytes. The transport carries a head together with its body and knows the body's size.
 * Decoding trusts nothing: a head that is too short, too long, of another version or has a field out of range
 * is refused, and the text names the field.
 */
#ifndef PMAP_WIRE_FRAME_H
#define PMAP_WIRE_FRAME_H

#include <pmap.h>
#include <stddef.h>
#include <stdint.h>

/* Changes with every change of the bytes; ranks with different versions do not form a pool. */
#define PMAP__WIRE_VERSION 1

/* The longest head is a RESULT with a failure: 10 numbers, a host and a text. */
#define PMAP__HEAD_MAX 768

#define PMAP__REFUSED_MAX 16

enum pmap__frame_kind { PMAP__CHUNK = 1, PMAP__RESULT, PMAP__REFUSAL, PMAP__BYE };

struct pmap__frame {
    enum pmap__frame_kind kind;
    uint64_t ticket;      /* CHUNK: names the chunk at the root; the answer repeats it */
    uint64_t begin, n;    /* CHUNK and answers: items [begin, begin + n) of the job */
    uint64_t grain;       /* CHUNK: how many of them one thread takes at a time */
    uint64_t task;        /* CHUNK: struct pmap_task.id */
    uint64_t args_size;   /* CHUNK: bytes of an item, */
    uint64_t result_size; /*        and of a result */
    uint64_t busy;        /* RESULT: nanoseconds that threads spent on the chunk, added up */
    uint64_t failed;      /* RESULT: how many items failed; */
    const struct pmap_error *error; /* the one with the lowest index if any did; NULL if none. REFUSAL: the reason */
    int refused;          /* BYE: how many pools over the same ranks the root refused meanwhile, */
    uint64_t where[PMAP__REFUSED_MAX]; /* and from which lines of the program, as hashes */
};

/* Write the head of a frame; returns its size. */
size_t pmap__frame_encode(const struct pmap__frame *frame, unsigned char head[static PMAP__HEAD_MAX]);

/* Read one. inside is where an error goes that the frame brings: frame->error is inside, or NULL. (It is apart because it
 * is most of a frame, and hardly ever there.) PMAP_OK, or PMAP_EMISMATCH with a text in *error that names the bad field;
 * *frame only on success. */
enum pmap_status pmap__frame_decode(const unsigned char *head, size_t size, struct pmap__frame *frame,
                                    struct pmap_error *inside, struct pmap_error *error);

/* An error alone, for ranks that must tell each other why a pool cannot be. The same bytes as inside a frame. */
size_t pmap__error_encode(const struct pmap_error *error, unsigned char bytes[static PMAP__HEAD_MAX]);
enum pmap_status pmap__error_decode(const unsigned char *bytes, size_t size, struct pmap_error *decoded,
                                    struct pmap_error *error);

#endif
