/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A book as a Chrome trace. doc/trace.md is the format; change both.
 */
#ifndef PMAP_OBSERVE_CHROME_H
#define PMAP_OBSERVE_CHROME_H

#include "observe/book.h"

#include <stdio.h>

/* The lock is held; lanes are sorted. What could not be written says ferror. */
void pmap__chrome_write(struct pmap__book *book, FILE *file);

#endif
