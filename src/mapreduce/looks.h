/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What a thing looks like, as bytes, by which a journal recognises it: a call, its input, its output.
 */
#ifndef PMAP_MAPREDUCE_LOOKS_H
#define PMAP_MAPREDUCE_LOOKS_H

#include <pmap_mapreduce.h>

/* Start from {0}. */
struct pmap__looks {
    char *bytes; /* for free() */
    size_t size, room;
    bool short_of_memory; /* something is missing */
};

void pmap__looks_bytes(struct pmap__looks *looks, const void *bytes, size_t size);
void pmap__looks_number(struct pmap__looks *looks, uint64_t number);
void pmap__looks_text(struct pmap__looks *looks, const char *text); /* NULL is as "" */

/* Path, size and time of modification. False if there is no such file. */
bool pmap__looks_file(struct pmap__looks *looks, const char *path);

/* Which functions there are; what they do nobody can see. */
void pmap__looks_functions(struct pmap__looks *looks, const struct pmap_mapreduce *what);

#endif
