/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A Chrome trace, read one event at a time: a trace of a million events has 200 MB, and as a tree in memory ten times as many. So this
 * finds where an event ends, and only that much is given to the JSON library. Memory: one event.
 *
 * Both forms of such traces are read, {"traceEvents": [event, …], key: value, …} and [event, …].
 */
#ifndef PMAP_REPORT_READER_H
#define PMAP_REPORT_READER_H

#include <cjson/cJSON.h>
#include <pmap.h>
#include <stdio.h>

/* Who takes what is read. Both functions return false if they have no memory for it; what they get is borrowed for the call. */
struct pmap__trace_taker {
    void *owner;
    bool (*event)(void *owner, const cJSON *event);                  /* an object, in the order of the file */
    bool (*value)(void *owner, const char *key, const cJSON *value); /* what is beside the events; may be NULL */
};

/* Read all of a trace; name is what errors call it. PMAP_EINVAL: it is empty, truncated or no trace, and the text says which, and where;
 * PMAP_ENOMEM. Part of it may have been taken then. */
enum pmap_status pmap__trace_read(FILE *in, const char *name, const struct pmap__trace_taker *taker, struct pmap_error *error);

#endif
