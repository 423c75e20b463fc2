/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "base/will.h"

#include <stdatomic.h>
#include <stddef.h>

static _Atomic(void (*)(void)) the_will;

void pmap__will_make(void (*will)(void))
{
    atomic_store(&the_will, will);
}

void pmap__will_execute(void)
{
    void (*will)(void) = atomic_exchange(&the_will, NULL);
    if (will)
        will();
}
