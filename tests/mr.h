/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * For the tests of pmap_mapreduce: the serial program that a map-reduce equals, and a directory of files.
 *
 * A map or reduce function of a test is written once, as a body that emits into an outlet and takes values from an inlet. The library's outlet is
 * an emitter, the serial program's is a list of pairs.
 */
#ifndef PMAP_TESTS_MR_H
#define PMAP_TESTS_MR_H

#include <pmap_mapreduce.h>

/* ---- Pairs ---- */

struct pair {
    char *key, *value; /* malloc'ed */
    size_t key_size, value_size;
    size_t number;     /* in the order in which they were added */
};

struct pairs {
    struct pair *pairs;
    size_t n, room;
};

void pairs_add(struct pairs *pairs, const void *key, size_t key_size, const void *value, size_t value_size);
void pairs_sort(struct pairs *pairs); /* by key, equal keys as they were added */
void pairs_free(struct pairs *pairs); /* empty then */
uint64_t pairs_bytes(const struct pairs *pairs); /* of keys and values */
size_t pairs_keys(const struct pairs *pairs); /* distinct; they are sorted */

/* The first pair in which they differ; SIZE_MAX: none. */
size_t pairs_differ(const struct pairs *a, const struct pairs *b);

/* A pmap_deliver_fn whose user is a struct pairs. */
bool pairs_deliver(void *pairs, struct pmap_view key, struct pmap_view value);

/* ---- The serial program ---- */

struct outlet {
    struct pmap_emitter *library;
    struct pairs *serial; /* where library is NULL */
};
void outlet_emit(struct outlet out, const void *key, size_t key_size, const void *value, size_t value_size);

struct inlet {
    struct pmap_values *library;
    const struct pair *at, *end; /* where library is NULL */
};
bool inlet_next(struct inlet *in, struct pmap_view *value);

typedef void map_body(struct pmap_view record, struct outlet out);
typedef void reduce_body(struct pmap_view key, struct inlet *values, struct outlet out);

/* A map_body: each word of a line, by spaces, with the number 1. */
void words(struct pmap_view record, struct outlet out);

/* Records as they lie in an array of views. reduce may be NULL; combine too. What comes out, in order. */
struct pairs serial_mapreduce(map_body *map, pmap_combine_fn *combine, size_t value_size, reduce_body *reduce, const struct pmap_view records[],
                              size_t n);

/* The lines of a text, without their newlines; malloc'ed. */
struct pmap_view *lines_of(const char *text, size_t size, size_t *n);

/* MAP_RECORD(words) declares words_record, a pmap_map_record_fn, of words, a map_body; and so on. */
#define MAP_RECORD(body) \
    static void body##_record(struct pmap_view record, struct pmap_emitter *out) { body(record, (struct outlet){out, NULL}); }
#define REDUCE(body) \
    static void body##_reduce(struct pmap_view key, struct pmap_values *values, struct pmap_emitter *out) \
    { \
        body(key, &(struct inlet){.library = values}, (struct outlet){out, NULL}); \
    }

/* ---- Numbers ---- */

/* The same ones in each run: xorshift. */
uint64_t next_random(uint64_t *state);
uint64_t hash_bytes(const void *bytes, size_t size);

/* Lines of random words, n of them; malloc'ed. The last has a newline. */
char *random_lines(size_t n, uint64_t seed, size_t *size);

/* ---- Files ---- */

/* A directory for this program, made when it is first asked for. A path in it, there until files_remove, which removes all. */
const char *files_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
void files_remove(void);

const char *write_file(const char *name, const void *bytes, size_t size); /* its path, as of files_path */
char *read_file(const char *path, size_t *size); /* malloc'ed, with a zero byte behind; NULL if there is none */
void make_directory(const char *name); /* unless it is there */
size_t files_in(const char *path); /* entries of a directory, but . and ..; 0 if it is not there */

#endif
