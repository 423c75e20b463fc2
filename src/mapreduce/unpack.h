/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The bytes of an input file one after the other: as they lie on disk, or unpacked. The name says which: *.gz may have several members
 * and zero bytes behind them, *.zst several frames, as gzip and zstd write and read them. */
#ifndef PMAP_MAPREDUCE_UNPACK_H
#define PMAP_MAPREDUCE_UNPACK_H

#include <pmap.h>
#include <string.h>

struct pmap__file;
struct pmap__source;

bool pmap__path_is_packed(const char *path);

/* Begin at a byte of the file, which is 0 if it is packed. file must stay until it is closed. PMAP_EINVAL: it cannot be opened, it has
 * become shorter; PMAP_ENOMEM. */
enum pmap_status pmap__source_open(const struct pmap__file *file, uint64_t begin, struct pmap__source **source, struct pmap_error *error);
void pmap__source_close(struct pmap__source *source); /* NULL is fine */

/* The next size bytes, or as many as there are: fewer only at the end. What was appended to a file since it was found is not read.
 * PMAP_EINVAL: reading failed, the file has become shorter, or ends early, or is damaged; PMAP_ENOMEM. */
enum pmap_status pmap__source_read(struct pmap__source *source, char *to, size_t size, size_t *got, struct pmap_error *error);

/* What errors say of a path: the end of one so long that the reason would find no room behind it. */
static inline const char *pmap__path_shown(const char *path)
{
    size_t size = strlen(path), most = 256;

    return size > most ? path + (size - most) : path;
}

#endif
