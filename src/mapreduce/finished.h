/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A map-reduce and its pool's journal. What is written down is a whole call that has succeeded: not its pairs, of which vault.h tells,
 * but that its output files are made, and what they look like. The next run of the program
 * does not make them again if nothing has changed: neither the input (files: paths, sizes, times; an array: its bytes), nor what the
 * call says that the output depends on, nor the output itself.
 */
#ifndef PMAP_MAPREDUCE_FINISHED_H
#define PMAP_MAPREDUCE_FINISHED_H

#include "engine/root.h"
#include "journal/journal.h"

#include <pmap_mapreduce.h>

struct pmap__finished {
    struct pmap__journal *journal; /* NULL: this call is not written down */
    uint64_t call;
    struct pmap__journal_key key;
};

/* Look the call up, whose options have been checked. *known: it is finished, and nothing is to be done; *stats is what it was. A pool without a
 * journal, or a call whose output is no file or whose input is of another kind, is never known. PMAP_OK; PMAP_EINVAL: an input cannot be
 * found; PMAP_EJOURNAL; PMAP_ENOMEM. */
enum pmap_status pmap__finished_find(struct pmap__finished *finished, struct pmap__tenant *tenant, const struct pmap_mapreduce *what,
                                     const struct pmap_mapreduce_options *options, bool *known, struct pmap_mapreduce_stats *stats,
                                     struct pmap_error *error);

/* It has succeeded: write that down, and wait until it is in the file. PMAP_OK; PMAP_EJOURNAL; PMAP_ENOMEM. */
enum pmap_status pmap__finished_keep(const struct pmap__finished *finished, const struct pmap_mapreduce_options *options,
                                     const struct pmap_mapreduce_stats *stats, struct pmap_error *error);

#endif
