/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How much memory there is. Linux gives more than there is, and then kills somebody, so whoever wants much asks first. */
#ifndef PMAP_BASE_ROOM_H
#define PMAP_BASE_ROOM_H

#include <stdint.h>

#define PMAP__ROOM_ENDLESS UINT64_MAX

/* Bytes: the least of what the node has available and what the cgroups of this process (version 1 or 2, up to the root) leave;
 * PMAP__ROOM_ENDLESS if nobody says. /proc and /sys lie below root: for tests, and "" for everyone. Out of date at once. */
uint64_t pmap__room_of_node(const char *root);

/* What RLIMIT_AS leaves to this process; likewise. */
uint64_t pmap__room_of_process(const char *root);

#endif
