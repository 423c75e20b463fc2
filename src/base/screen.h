/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The one line at the bottom of the terminal that is drawn again and again (observe/progress.h), and that must be gone before
 * anything else is written there. The cursor rests at its beginning: whoever clears from there to the end of the screen clears all of
 * it, even where a terminal that has become narrower has broken it.
 *
 * One for the process, for it has one terminal. While there is no line all of this is a look at a flag.
 */
#ifndef PMAP_BASE_SCREEN_H
#define PMAP_BASE_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define PMAP__SCREEN_LINE 2048

/* Put the line on the terminal that fd is open for, in place of the last one, in one write. It has no line break, and fits into the width of
 * the terminal. dumb: that knows no escape sequences; the line is so many columns wide. */
void pmap__screen_draw(int fd, const char *text, size_t columns, bool dumb);

/* Take the line away, if there is one; it comes back when it is drawn again. */
void pmap__screen_erase(void);

/* The program gets control for a moment, between yield and resume, and may print something: take the line away, and put it back. If
 * that happens more than some times between two drawings the line stays where it is: it had better be seen. */
void pmap__screen_yield(void);
void pmap__screen_resume(void);

/* Take it away, and nobody draws it until release: for what is written to stderr between the two. Returns what release has to be given. */
bool pmap__screen_hold(void);
void pmap__screen_release(bool held);

/* Write to stderr, in one piece and without the line, what print(out, what) prints. False: there is no memory for that, and nothing is written. */
bool pmap__screen_print(void (*print)(FILE *out, const void *what), const void *what);

#endif
