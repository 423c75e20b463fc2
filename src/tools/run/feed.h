/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A thread that reads rows ahead of the jobs, so that the farm never waits for a file while commands end.
 */
#ifndef PMAP_TOOLS_RUN_FEED_H
#define PMAP_TOOLS_RUN_FEED_H

#include "tools/run/bell.h"
#include "tools/run/inputs.h"

struct run_feed;

/* Read at most so many rows that were not taken yet; 0: all there are. The bell rings for each, and at the end. Borrows both. stop: what the
 * inputs look at. NULL: there is no thread to be had. */
struct run_feed *run_feed_start(struct run_inputs *inputs, struct run_bell *bell, size_t ahead, int stop);

/* The next row, if there is one by now. */
bool run_feed_take(struct run_feed *feed, struct run_row *row);

/* Are all rows taken, and no more to come? */
bool run_feed_is_over(struct run_feed *feed);

/* How many rows there are in all; false: that is not known yet. */
bool run_feed_total(struct run_feed *feed, size_t *total);

/* Whatever it waits for; NULL is fine. */
void run_feed_stop(struct run_feed *feed);

#endif
