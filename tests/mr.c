/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 */
#include "mr.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void *must(void *memory)
{
    if (memory == NULL) {
        perror("tests of map-reduce");
        abort();
    }
    return memory;
}

/* ---- Pairs ---- */

static char *copy_of(const void *bytes, size_t size)
{
    char *copy = must(malloc(size + 1));

    if (size)
        memcpy(copy, bytes, size);
    return copy;
}

void pairs_add(struct pairs *p, const void *key, size_t key_size, const void *value, size_t value_size)
{
    if (p->n == p->room) {
        p->room = p->room ? 2 * p->room : 64;
        p->pairs = must(realloc(p->pairs, p->room * sizeof *p->pairs));
    }
    p->pairs[p->n] = (struct pair){copy_of(key, key_size), copy_of(value, value_size), key_size, value_size, p->n};
    p->n++;
}

static int compare_keys(const struct pair *p, const struct pair *q)
{
    int order = memcmp(p->key, q->key, p->key_size < q->key_size ? p->key_size : q->key_size);
    return order ? order : (p->key_size > q->key_size) - (p->key_size < q->key_size);
}

static int by_key(const void *a, const void *b)
{
    const struct pair *p = a, *q = b;
    int order = compare_keys(p, q);
    return order ? order : (p->number > q->number) - (p->number < q->number);
}

void pairs_sort(struct pairs *p)
{
    if (p->n)
        qsort(p->pairs, p->n, sizeof *p->pairs, by_key);
}

void pairs_free(struct pairs *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->pairs[i].key);
        free(p->pairs[i].value);
    }
    free(p->pairs);
    *p = (struct pairs){0};
}

uint64_t pairs_bytes(const struct pairs *p)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < p->n; i++)
        sum += p->pairs[i].key_size + p->pairs[i].value_size;
    return sum;
}

size_t pairs_keys(const struct pairs *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        n += i == 0 || compare_keys(&p->pairs[i - 1], &p->pairs[i]) != 0;
    return n;
}

size_t pairs_differ(const struct pairs *a, const struct pairs *b)
{
    size_t n = a->n < b->n ? a->n : b->n;

    for (size_t i = 0; i < n; i++) {
        const struct pair *p = &a->pairs[i], *q = &b->pairs[i];
        if (compare_keys(p, q) != 0 || p->value_size != q->value_size || memcmp(p->value, q->value, p->value_size) != 0)
            return i;
    }
    return a->n == b->n ? SIZE_MAX : n;
}

bool pairs_deliver(void *pairs, struct pmap_view key, struct pmap_view value)
{
    pairs_add(pairs, key.data, key.size, value.data, value.size);
    return true;
}

/* ---- The serial program ---- */

void outlet_emit(struct outlet out, const void *key, size_t key_size, const void *value, size_t value_size)
{
    if (out.library)
        pmap_emit(out.library, key, key_size, value, value_size);
    else
        pairs_add(out.serial, key, key_size, value, value_size);
}

bool inlet_next(struct inlet *in, struct pmap_view *value)
{
    if (in->library)
        return pmap_values_next(in->library, value);
    if (in->at == in->end)
        return false;
    *value = (struct pmap_view){in->at->value, in->at->value_size};
    in->at++;
    return true;
}

static void reduce_group(struct pair *group, size_t n, pmap_combine_fn *combine, size_t value_size, reduce_body *reduce, struct pairs *out)
{
    uint64_t acc[4096 / 8], value[4096 / 8]; /* aligned, as they are in the library */

    if (combine) {
        memcpy(acc, group[0].value, value_size);
        for (size_t i = 1; i < n; i++) {
            memcpy(value, group[i].value, value_size);
            combine(acc, value);
        }
        memcpy(group[0].value, acc, value_size);
        n = 1;
    }
    if (reduce)
        reduce((struct pmap_view){group->key, group->key_size}, &(struct inlet){NULL, group, group + n}, (struct outlet){NULL, out});
    for (size_t i = 0; reduce == NULL && i < n; i++)
        pairs_add(out, group[i].key, group[i].key_size, group[i].value, group[i].value_size);
}

void words(struct pmap_view record, struct outlet out)
{
    const char *at = record.data, *end = at + record.size;
    int64_t one = 1;

    while (at < end) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        space = space ? space : end;
        outlet_emit(out, at, (size_t)(space - at), &one, sizeof one);
        at = space + 1;
    }
}

struct pairs serial_mapreduce(map_body *map, pmap_combine_fn *combine, size_t value_size, reduce_body *reduce, const struct pmap_view records[],
                              size_t n)
{
    struct pairs pairs = {0}, out = {0};

    for (size_t i = 0; i < n; i++)
        map(records[i], (struct outlet){NULL, &pairs});
    pairs_sort(&pairs);
    for (size_t begin = 0, end; begin < pairs.n; begin = end) {
        for (end = begin + 1; end < pairs.n && compare_keys(&pairs.pairs[begin], &pairs.pairs[end]) == 0; end++)
            ;
        reduce_group(&pairs.pairs[begin], end - begin, combine, value_size ? value_size : 8, reduce, &out);
    }
    pairs_free(&pairs);
    return out;
}

struct pmap_view *lines_of(const char *text, size_t size, size_t *n)
{
    struct pmap_view *lines = must(calloc(size + 1, sizeof *lines));

    *n = 0;
    for (const char *at = text, *end = text + size, *newline; at < end; at = newline + 1) {
        newline = memchr(at, '\n', (size_t)(end - at));
        newline = newline ? newline : end;
        lines[(*n)++] = (struct pmap_view){at, (size_t)(newline - at)};
    }
    return lines;
}

/* ---- Numbers ---- */

uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* FNV-1a, stirred. */
uint64_t hash_bytes(const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    uint64_t h = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < size; i++)
        h = (h ^ at[i]) * UINT64_C(1099511628211);
    h ^= h >> 32;
    return h ? h : 1;
}

char *random_lines(size_t n, uint64_t seed, size_t *size)
{
    char *text = must(malloc(n * 64 + 1)), *at = text;
    uint64_t state = seed * 2 + 1;

    for (size_t i = 0; i < n; i++) {
        size_t words = next_random(&state) % 7; /* none: an empty line */
        for (size_t w = 0; w < words; w++)
            at += sprintf(at, "%sw%llu", w ? " " : "", (unsigned long long)(next_random(&state) % (1 + next_random(&state) % 2000)));
        *at++ = '\n';
    }
    *size = (size_t)(at - text);
    return text;
}

/* ---- Files ---- */

static char directory[PATH_MAX / 2];

static struct known_path {
    struct known_path *next;
    char text[];
} *known_paths;

static const char *keep(const char *text)
{
    struct known_path *p = known_paths;

    while (p && strcmp(p->text, text) != 0)
        p = p->next;
    if (p == NULL) {
        p = must(malloc(sizeof *p + strlen(text) + 1));
        strcpy(p->text, text);
        p->next = known_paths;
        known_paths = p;
    }
    return p->text;
}

const char *files_path(const char *format, ...)
{
    char path[PATH_MAX];
    const char *where = getenv("PMAP_TEST_DIR");
    va_list arguments;

    if (directory[0] == '\0') {
        snprintf(directory, sizeof directory, "%s/mr-XXXXXX", where ? where : "/tmp");
        must(mkdtemp(directory));
    }
    int size = snprintf(path, sizeof path, "%s/", directory);
    va_start(arguments, format);
    vsnprintf(path + size, sizeof path - (size_t)size, format, arguments);
    va_end(arguments);
    return keep(path);
}

void files_remove(void)
{
    char command[PATH_MAX];

    while (known_paths) {
        struct known_path *next = known_paths->next;
        free(known_paths);
        known_paths = next;
    }
    if (directory[0] == '\0')
        return;
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    if (system(command) != 0)
        perror(command);
    directory[0] = '\0';
}

const char *write_file(const char *name, const void *bytes, size_t size)
{
    const char *path = files_path("%s", name);
    FILE *file = must(fopen(path, "wb"));

    if (fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
        must(NULL);
    return path;
}

char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    struct stat status;

    if (file == NULL || fstat(fileno(file), &status) != 0)
        return NULL;
    char *bytes = must(malloc((size_t)status.st_size + 1));
    *size = fread(bytes, 1, (size_t)status.st_size, file);
    bytes[*size] = '\0';
    fclose(file);
    return bytes;
}

void make_directory(const char *name)
{
    if (mkdir(files_path("%s", name), 0777) != 0 && errno != EEXIST)
        must(NULL);
}

size_t files_in(const char *path)
{
    DIR *d = opendir(path);
    size_t n = 0;

    if (d == NULL)
        return 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}
