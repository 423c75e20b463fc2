/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Text that grows, memory for it, and writing it. A farm that has no memory for a line of text cannot go on: who asks here gets it, or the program
 * ends with a message. The rest is what happens whenever a rank dies: see keeper.h.
 */
#ifndef PMAP_TOOLS_RUN_TEXT_H
#define PMAP_TOOLS_RUN_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* data is NULL while nothing was added; else a zero byte follows the n that count. */
struct run_text {
    char *data;
    size_t n, room;
};

void run_text_add(struct run_text *text, const void *bytes, size_t n);
void run_text_puts(struct run_text *text, const char *string);

/* What is there as a string for free(), never NULL; text is empty then. */
char *run_text_take(struct run_text *text);

/* realloc for count elements of size bytes, and strdup, that never return NULL. */
void *run_resize(void *array, size_t count, size_t size);
char *run_copy(const char *string);

/* All n bytes to a file. False: errno says why. */
bool run_write(int file, const char *data, size_t n);

#endif
