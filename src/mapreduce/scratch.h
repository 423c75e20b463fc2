/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Scratch: room on disk for what does not fit into memory. It is one file per rank and call without a name (O_TMPFILE, or unlinked at once
 * where that is not to be had), so that it is gone with the process, however that ends. Room is handed out from its end by any thread, and
 * given back by punching holes, where the file system can. */
#ifndef PMAP_MAPREDUCE_SCRATCH_H
#define PMAP_MAPREDUCE_SCRATCH_H

#include <pmap.h>
#include <stdatomic.h>

struct pmap__scratch;

/* directory: NULL: $TMPDIR, or /tmp. The file is made at the first write. PMAP_ENOMEM. */
enum pmap_status pmap__scratch_create(const char *directory, struct pmap__scratch **scratch);
void pmap__scratch_destroy(struct pmap__scratch *scratch); /* NULL is fine */

/* Write size bytes; *at says where they are. Any thread. PMAP_EINVAL, with the directory and the reason in the text (no such directory, not
 * writable, no space left: how many bytes are there already), and nothing is kept. */
enum pmap_status pmap__scratch_write(struct pmap__scratch *scratch, const void *bytes, size_t size, uint64_t *at,
                                     struct pmap_error *error);
/* Read them back; any thread. PMAP_EINVAL likewise. */
enum pmap_status pmap__scratch_read(struct pmap__scratch *scratch, void *bytes, size_t size, uint64_t at, struct pmap_error *error);
/* They are not needed any more. */
void pmap__scratch_free(struct pmap__scratch *scratch, uint64_t at, size_t size);

#endif
