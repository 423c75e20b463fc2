/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A will: what a process does when it is about to be ended without its exit handlers, because a rank has died or cannot go on,
 * and all ranks end. Whoever keeps something that must not be lost, such as a journal, makes the will before.
 */
#ifndef PMAP_BASE_WILL_H
#define PMAP_BASE_WILL_H

/* Besides what was willed before; the same will again changes nothing. At most PMAP__WILLS of them. It may be executed on any thread, at
 * any moment, and has less than a second. */
#define PMAP__WILLS 4
void pmap__will_make(void (*will)(void));

/* In the order in which they were made, each at most once. */
void pmap__will_execute(void);

#endif
