/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "engine/cause.h"

#include "base/error.h"
#include "base/signals.h"

#include <stdio.h>

void pmap__cause_set(struct pmap__cause *cause, int what, uint64_t left, uint64_t item, size_t items)
{
    if (pmap__cause_is_set(cause))
        return;
    atomic_store(&cause->left, left);
    atomic_store(&cause->item, item);
    atomic_store(&cause->items, items);
    atomic_store(&cause->what, what);
}

static void describe(const struct pmap__cause *cause, char text[], size_t size)
{
    double left = (double)atomic_load(&cause->left) / 1e9, item = (double)atomic_load(&cause->item) / 1e9;
    unsigned long long items = atomic_load(&cause->items);
    int what = atomic_load(&cause->what);

    if (what != PMAP__WALLTIME)
        snprintf(text, size, "interrupted by %s", what == PMAP__ASKED ? "pmap_interrupt" : pmap__signal_name(what));
    else if (items == 0)
        snprintf(text, size, "%.3g s of walltime are left", left);
    else if (items == 1)
        snprintf(text, size, "%.3g s of walltime are left, an item takes %.3g s", left, item);
    else
        snprintf(text, size, "%.3g s of walltime are left, a chunk of %llu items takes %.3g s", left, items, item * (double)items);
}

enum pmap_status pmap__cause_error(const struct pmap__cause *cause, const char *call, const char *so, struct pmap_error *error)
{
    char text[160];

    describe(cause, text, sizeof text);
    return pmap__error_set(error, PMAP_EINTERRUPTED, so ? "%s: %s: %s" : "%s: %s", call, text, so);
}
