/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Numbers as texts that programs read: a program may have a locale with another decimal point, which printf obeys.
 */
#ifndef PMAP_BASE_DECIMAL_H
#define PMAP_BASE_DECIMAL_H

#include <stddef.h>

/* text has so many bytes, as printf made them of one number by e, f or g: make its decimal point a point. Returns how many bytes it has
 * now; it ends with 0, as before. */
size_t pmap__decimal_point(char *text, size_t size);

#endif
