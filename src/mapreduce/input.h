/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Input from files. The root plans: it finds the files, their sizes, and cuts them into splits. Any rank reads a split: the records that
 * begin in it, in pieces of whole records. Nobody reads a whole file, but for a compressed one, which is one split.
 *
 * A record begins at the beginning of a file and behind every border: a newline, every record_size bytes, or what the border function
 * says. The split [begin, end) has the records that begin at begin or later and before end; the last may reach beyond. So the splits of a
 * file have every record once, wherever it is cut. */
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

/* Find the files that paths (which ends with NULL) stand for: see PMAP_FILES. What is there by the very name is meant, also if it has
 * * ? or [ in it; a directory that a glob matches stands for its files as if it were given. A file found twice is there twice. An empty
 * directory is fine. PMAP_EINVAL, naming the path: there is none, it cannot be read (it is opened, to see that), it is neither a file nor
 * a directory, a packed file without a byte, a glob that matches nothing, an empty list, a path that is "". PMAP_ENOMEM. Nothing is to be
 * freed then. */
enum pmap_status pmap__files_find(const char *const paths[], struct pmap__files *files, struct pmap_error *error);
void pmap__files_free(struct pmap__files *files);

struct pmap__split {
    uint64_t index;      /* from 0, in the order of the input */
    uint64_t file;       /* of the list */
    uint64_t begin, end; /* bytes of the file; packed files: 0 and its size. Other input: of the array, or numbers of records */
};

/* Cut them; *splits is malloc'ed. split_size > 0. A packed file is one split, empty files have none. With record_size, splits are cut at
 * multiples of it, up to split_size bytes or one record, and a file that is none is PMAP_EINVAL (packed files: found when they are read).
 * PMAP_ENOMEM. */
enum pmap_status pmap__files_cut(const struct pmap__files *files, size_t split_size, size_t record_size, struct pmap__split **splits,
                                 size_t *n, struct pmap_error *error);

/* How records end. */
struct pmap__records {
    size_t record_size;     /* 0: not fixed */
    pmap_border_fn *border; /* NULL: newlines */
    size_t record_max;      /* a longer one is an error; with the newline; not asked for fixed ones */
};

/* Bytes of the first of the whole records in size > 0 bytes, with its newline: a piece as the list of its records. */
size_t pmap__first_record(const struct pmap__records *records, const char *data, size_t size);

struct pmap__reader;

/* Read a split of a file; the file must stay until the reader is closed, the rest is copied. piece_size > 0: about how many bytes a piece
 * has; only a longer record makes one longer. PMAP_ENOMEM; PMAP_EINVAL: it cannot be opened, it has become shorter than it was found. */
enum pmap_status pmap__reader_open(const struct pmap__file *file, const struct pmap__split *split, const struct pmap__records *records,
                                   size_t piece_size, struct pmap__reader **reader, struct pmap_error *error);

/* The next piece, whole records, there until the next call; *offset is where it begins in the (uncompressed) file. size 0: the end. The
 * last record of a file need not have a newline. Of a fixed record_size, pieces are aligned to 64 bytes.
 *
 * PMAP_EINVAL: reading failed, a record is longer than record_max (found where it begins: splits inside it have no records), a packed file
 * ends early or is damaged, the file has become shorter than it was found (what was appended since is not read), a packed file ends inside
 * a record of record_size bytes; the text has path and offset. PMAP_ENOMEM. Which pieces came before that is open; after it, close the
 * reader. */
enum pmap_status pmap__reader_next(struct pmap__reader *reader, struct pmap_view *piece, uint64_t *offset, struct pmap_error *error);
void pmap__reader_close(struct pmap__reader *reader); /* NULL is fine */

#endif
