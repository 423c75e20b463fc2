/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "base/will.h"

#include <stdatomic.h>
#include <stddef.h>

static _Atomic(void (*)(void)) wills[PMAP__WILLS];

void pmap__will_make(void (*will)(void))
{
    for (int i = 0; i < PMAP__WILLS; i++) {
        void (*there)(void) = NULL;
        if (atomic_compare_exchange_strong(&wills[i], &there, will) || there == will)
            return;
    }
}

void pmap__will_execute(void)
{
    for (int i = 0; i < PMAP__WILLS; i++) {
        void (*will)(void) = atomic_exchange(&wills[i], NULL);
        if (will)
            will();
    }
}
