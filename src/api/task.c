/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What a task may call about itself. */
#include "base/error.h"
#include "engine/item.h"

#include <stdarg.h>
#include <stdio.h>

int pmap_fail(int code, const char *format, ...)
{
    char text[sizeof((struct pmap_error *)0)->text];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (!pmap__item_fail(code, text))
        pmap__warn("pmap_fail(%d, \"%s\") outside a task does nothing", code, text);
    return 0;
}

size_t pmap_item(void)
{
    return pmap__item_index();
}

bool pmap_cancelled(void)
{
    return pmap__item_cancelled();
}

int pmap_rank(void)
{
    const struct pmap__place *place;
    return pmap__item_place(&place, NULL) ? place->rank : -1;
}

int pmap_thread(void)
{
    int thread;
    return pmap__item_place(NULL, &thread) ? thread : -1;
}
