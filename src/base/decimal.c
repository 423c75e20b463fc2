/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "base/decimal.h"

#include <string.h>

/* What is no digit, sign or exponent is the decimal point of the locale, of one byte or several. */
size_t pmap__decimal_point(char *text, size_t size)
{
    size_t point = strspn(text, "+-0123456789e");
    size_t rest = point + strcspn(text + point, "+-0123456789e");

    if (rest == point)
        return size;
    text[point] = '.';
    memmove(text + point + 1, text + rest, size + 1 - rest);
    return size - (rest - point) + 1;
}
