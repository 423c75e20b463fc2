/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Scratch: room on disk for what does not fit into memory. It is one file per site without a name (O_TMPFILE, or unlinked at once
 * where that is not to be had), so that it is gone with the process, however that ends. Room is handed out from its end by any thread, and
 * given back by punching holes, where the file system can: then the disk holds what is in use, however long the file gets. */
#ifndef PMAP_MAPREDUCE_SCRATCH_H
#define PMAP_MAPREDUCE_SCRATCH_H

#include <pmap.h>

struct pmap__scratch;

/* directory: NULL: $TMPDIR, or /tmp. The file is made at the first write. PMAP_ENOMEM. */
enum pmap_status pmap__scratch_create(const char *directory, struct pmap__scratch **scratch);
/* The same in a file that has a name and stays: made, or opened to be read only. PMAP_EJOURNAL, and why; PMAP_ENOMEM. */
enum pmap_status pmap__scratch_make(const char *path, struct pmap__scratch **scratch, struct pmap_error *error);
enum pmap_status pmap__scratch_open(const char *path, struct pmap__scratch **scratch, struct pmap_error *error);
void pmap__scratch_destroy(struct pmap__scratch *scratch); /* NULL is fine */

/* Write size bytes; *at says where they are. Any thread. PMAP_EINVAL, with the directory and the reason in the text (no such directory, not
 * writable, no space left: how much is there already), and nothing is kept; a later call may have more luck. PMAP_EJOURNAL if the file has a
 * name. */
enum pmap_status pmap__scratch_write(struct pmap__scratch *scratch, const void *bytes, size_t size, uint64_t *at,
                                     struct pmap_error *error);
/* Read them back; any thread. PMAP_EINVAL or PMAP_EJOURNAL likewise. */
enum pmap_status pmap__scratch_read(struct pmap__scratch *scratch, void *bytes, size_t size, uint64_t at, struct pmap_error *error);
/* Bytes that one with a name has. */
uint64_t pmap__scratch_size(const struct pmap__scratch *scratch);
/* What was written there, all of it, is not needed any more. Any thread. */
void pmap__scratch_free(struct pmap__scratch *scratch, uint64_t at, size_t size);

#endif
