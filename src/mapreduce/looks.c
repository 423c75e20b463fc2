/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/looks.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void pmap__looks_bytes(struct pmap__looks *l, const void *bytes, size_t size)
{
    if (l->size + size > l->room) {
        size_t room = 2 * (l->size + size) + 256;
        char *grown = realloc(l->bytes, room);
        if (grown == NULL) {
            l->short_of_memory = true;
            return;
        }
        l->bytes = grown;
        l->room = room;
    }
    if (size)
        memcpy(l->bytes + l->size, bytes, size);
    l->size += size;
}

void pmap__looks_number(struct pmap__looks *l, uint64_t number)
{
    pmap__looks_bytes(l, &number, sizeof number);
}

void pmap__looks_text(struct pmap__looks *l, const char *text)
{
    pmap__looks_bytes(l, text ? text : "", text ? strlen(text) + 1 : 1);
}

bool pmap__looks_file(struct pmap__looks *l, const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return false;
    pmap__looks_text(l, path);
    pmap__looks_number(l, (uint64_t)st.st_size);
    pmap__looks_number(l, (uint64_t)st.st_mtim.tv_sec);
    pmap__looks_number(l, (uint64_t)st.st_mtim.tv_nsec);
    return true;
}

void pmap__looks_functions(struct pmap__looks *l, const struct pmap_mapreduce *what)
{
    const bool has[] = {what->map, what->map_record, what->map_pair, what->combine, what->reduce, what->partition, what->border};

    pmap__looks_bytes(l, has, sizeof has);
    pmap__looks_number(l, what->value_size);
    pmap__looks_number(l, (uint64_t)what->key);
    pmap__looks_number(l, (uint64_t)what->value);
}
