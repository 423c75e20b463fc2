/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Input from files. The root plans: it finds the files, their sizes, and cuts them into splits. Any rank reads a split: the records that
 * begin in it, in pieces of whole records. Nobody reads a whole file, but for a compressed one, which is one split.
 *
 * A record begins at the beginning of a file and behind every border: a newline, every record_size bytes, or what the border function says. The split
 * [begin, end) has the records that begin at begin or later and before end; the last may reach beyond. */
#ifndef PMAP_MAPREDUCE_INPUT_H
#define PMAP_MAPREDUCE_INPUT_H

#include <pmap_mapreduce.h>

struct pmap__file {
    char *path;
    uint64_t size;  /* as it lies on disk */
    bool packed;    /* compressed: .gz or .zst */
};

struct pmap__files {
    struct pmap__file *files;
    size_t n;
};

/* Find the files that paths (which ends with NULL) stand for: see PMAP_FILES. PMAP_EINVAL, naming the path: there is none, it cannot be read (it is
 * opened, to see that), it is neither a file nor a directory, a glob that matches nothing, an empty list, a path that is "". An empty directory is fine. PMAP_ENOMEM. */
enum pmap_status pmap__files_find(const char *const paths[], struct pmap__files *files, struct pmap_error *error);
void pmap__files_free(struct pmap__files *files);

struct pmap__split {
    uint64_t index;      /* from 0, in the order of the input */
    uint64_t file;       /* of the list */
    uint64_t begin, end; /* bytes of the file; packed files: 0 and its size */
};

/* Cut them; *splits is malloc'ed. Empty files have no split. With record_size, splits are cut at multiples of it, and a file that is none is
 * PMAP_EINVAL (packed files: found when they are read). */
enum pmap_status pmap__files_cut(const struct pmap__files *files, size_t split_size, size_t record_size, struct pmap__split **splits,
                                 size_t *n, struct pmap_error *error);

/* How records end. */
struct pmap__records {
    size_t record_size;     /* 0: not fixed */
    pmap_border_fn *border; /* NULL: newlines */
    size_t record_max;      /* a longer one is an error; with the newline */
};

struct pmap__reader;

/* Read a split of a file. piece_size: about how many bytes a piece has; only a longer record makes one longer. PMAP_ENOMEM; PMAP_EINVAL: it
 * cannot be opened. */
enum pmap_status pmap__reader_open(const struct pmap__file *file, const struct pmap__split *split, const struct pmap__records *records,
                                   size_t piece_size, struct pmap__reader **reader, struct pmap_error *error);

/* The next piece, whole records, there until the next call; *offset is where it begins in the (uncompressed) file. size 0: the end. The last record
 * of a file need not have a newline. PMAP_EINVAL: reading failed, a record is longer than record_max (the text: its path, offset and the limit), a
 * packed file ends early or is damaged, the file has changed its size, a record of less than record_size bytes at the end; PMAP_ENOMEM. */
enum pmap_status pmap__reader_next(struct pmap__reader *reader, struct pmap_view *piece, uint64_t *offset, struct pmap_error *error);
void pmap__reader_close(struct pmap__reader *reader); /* NULL is fine */

#endif
