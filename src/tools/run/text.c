/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "tools/run/text.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *run_resize(void *array, size_t count, size_t size)
{
    if (count == 0)
        count = 1;
    void *larger = count <= SIZE_MAX / size ? realloc(array, count * size) : NULL;
    if (larger == NULL) {
        fprintf(stderr, "pmap-run: out of memory for %zu times %zu bytes\n", count, size);
        _exit(255);
    }
    return larger;
}

char *run_copy(const char *string)
{
    size_t size = strlen(string) + 1;
    return memcpy(run_resize(NULL, size, 1), string, size);
}

void run_text_add(struct run_text *text, const void *bytes, size_t n)
{
    if (n >= text->room - text->n || text->data == NULL) {
        text->room = 2 * text->n + n + 32;
        text->data = run_resize(text->data, text->room, 1);
    }
    if (n)
        memcpy(text->data + text->n, bytes, n);
    text->n += n;
    text->data[text->n] = 0;
}

void run_text_puts(struct run_text *text, const char *string)
{
    run_text_add(text, string, strlen(string));
}

char *run_text_take(struct run_text *text)
{
    if (text->data == NULL)
        run_text_add(text, "", 0);
    char *string = text->data;
    *text = (struct run_text){0};
    return string;
}

bool run_write(int file, const char *data, size_t n)
{
    ssize_t done;

    for (; n; data += done, n -= (size_t)done) {
        done = write(file, data, n);
        if (done < 0 && errno == EINTR)
            done = 0;
        else if (done < 0)
            return false;
    }
    return true;
}
