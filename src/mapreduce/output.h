/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Output to files. A file is written aside and comes to its name only when everything is well, by pmap__file_commit, all at once (rename);
 * until then, and after pmap__file_abandon, a former file of that name is as it was. Where the file system can, the file has no name until
 * then, so that nothing is left behind even by kill -9; else it has a name like .NAME.pmap-1a2b3c4d, which abandon removes.
 *
 * Whoever reads the name finds the former file or the new one, whole. That is a promise about this program's end, not about the machine's:
 * nothing is forced onto the disk (fsync), as a file that can be computed again is not worth the wait.
 *
 * A path that is a symbolic link stands for the file that it points to. Errors are PMAP_EINVAL, and their text "pmap: output PATH: REASON",
 * unless something else is said; nothing is kept then. */
#ifndef PMAP_MAPREDUCE_OUTPUT_H
#define PMAP_MAPREDUCE_OUTPUT_H

#include "mapreduce/format.h"

struct pmap__outfile;

/* Begin a file that will be called path. buffer: bytes to gather before writing; what is longer is written at once. PMAP_EINVAL: it
 * cannot be made: no such directory, not writable, path is a directory, or something else that is no file, as /dev/null is. PMAP_ENOMEM. */
enum pmap_status pmap__file_create(const char *path, size_t buffer, struct pmap__outfile **file, struct pmap_error *error);

/* Append bytes, or a pair. PMAP_EINVAL: no space left on the disk and the like, with how many bytes there are already; from then on
 * every call says so again, until the file is abandoned. */
enum pmap_status pmap__file_put(struct pmap__outfile *file, const void *bytes, size_t size, struct pmap_error *error);
enum pmap_status pmap__file_put_pair(struct pmap__outfile *file, const struct pmap__formatter *formatter, struct pmap_view key,
                                     struct pmap_view value, struct pmap_error *error);
uint64_t pmap__file_size(const struct pmap__outfile *file); /* bytes put so far */

/* All is put: write the buffer out, so that every file of a call is known to be well before the first gets its name. A file with a
 * name is closed as well: network file systems say only then that a disk is full, and let others see only then what was written. */
enum pmap_status pmap__file_finish(struct pmap__outfile *file, struct pmap_error *error);

/* Finish it if need be, give it its name, replacing a former file, and free it; if that fails, drop it. Or drop it at once. */
enum pmap_status pmap__file_commit(struct pmap__outfile *file, struct pmap_error *error);
void pmap__file_abandon(struct pmap__outfile *file); /* NULL is fine */

/* A file that several write into, each a place of its own: the root makes it with its full size, under a name aside that the others
 * open. Its name is malloc'ed. A writer is an outfile whose put begins at offset, and whose commit and abandon only close. PMAP_EINVAL
 * also if what lies under the name has another size: then it is not the same file system. When all have finished, the root commits the
 * file, which removes it if that fails, or abandons it. PMAP_ENOMEM. */
enum pmap_status pmap__shared_file_create(const char *path, uint64_t size, char **aside, struct pmap_error *error);
enum pmap_status pmap__shared_file_open(const char *aside, uint64_t size, uint64_t offset, size_t buffer, struct pmap__outfile **file,
                                        struct pmap_error *error);
enum pmap_status pmap__shared_file_commit(const char *aside, const char *path, struct pmap_error *error);
void pmap__shared_file_abandon(const char *aside);

/* Make a directory, unless it is there. Remove files part-NNNNN in it from number n on (of a former, larger output), and nothing else.
 * PMAP_EINVAL, naming it. */
enum pmap_status pmap__directory_make(const char *path, struct pmap_error *error);
enum pmap_status pmap__directory_trim(const char *path, size_t n, struct pmap_error *error);

#endif
