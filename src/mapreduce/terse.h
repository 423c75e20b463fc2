/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Sorted records in few bytes: of a key only what differs from the one before, of numbers only the bytes that they need. Of the runs
 * of a word count 30 % remain, as much as zstd leaves at level -1, in a tenth of its time.
 * What does not get half as long is left to others. */
#ifndef PMAP_MAPREDUCE_TERSE_H
#define PMAP_MAPREDUCE_TERSE_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes behind records that can be read, or written, whatever they are: keys are moved in pieces of that size. */
#define PMAP__TERSE_SLACK ((size_t)16)

/* The first byte. */
#define PMAP__TERSE_MARK 1

/* Bytes that writing may use for size bytes of records. */
size_t pmap__terse_room(size_t size);

/* Write size bytes of whole records (pair.h). How many bytes that makes; 0: more than half, or a key or value is long. */
size_t pmap__terse_write(const void *records, size_t size, void *to);

/* And back: size bytes of records. There is slack behind both. False: it does not make so many. */
bool pmap__terse_read(const void *from, size_t from_size, void *records, size_t size);

#endif
