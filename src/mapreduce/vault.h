/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The vault of a call: the directory of its deposits (deposit.h), as the root sees it, which makes it, knows what is in it, and removes
 * it when the call has succeeded. With the journal run.db it is
 *
 *     run.db-splits/JOURNAL-CALL-OCCURRENCE/
 *
 * JOURNAL is a number of the journal itself: what belongs to another one, which had the same name and was removed, is removed, too.
 * CALL is what all runs of the program have in common: its name or line, its task and seed. OCCURRENCE counts such calls in one run, but
 * one that fails does not count: whoever makes it again finds what it has left.
 *
 * Only whoever has the journal open touches the directory of its vaults, so it is locked with that.
 */
#ifndef PMAP_MAPREDUCE_VAULT_H
#define PMAP_MAPREDUCE_VAULT_H

#include "engine/root.h"
#include "mapreduce/deposit.h"
#include "mapreduce/input.h"

struct pmap__vault;

/* The vault of a call; nothing is made yet. *vault is NULL if the pool has no journal, the input is a dataset, or the
 * call does not want one. PMAP_EJOURNAL; PMAP_ENOMEM. */
enum pmap_status pmap__vault_find(struct pmap__vault **vault, struct pmap__tenant *tenant, const struct pmap_mapreduce *what,
                                  const struct pmap_mapreduce_options *options, struct pmap_error *error);

/* The call is over. If it has succeeded what is in the vault is removed. NULL is fine. */
void pmap__vault_close(struct pmap__vault *vault, bool succeeded);

/* Make the directory, and read what is in it. PMAP_EJOURNAL; PMAP_ENOMEM. */
enum pmap_status pmap__vault_open(struct pmap__vault *vault, struct pmap_error *error);

const char *pmap__vault_directory(const struct pmap__vault *vault);

/* The number of the files that rank 0 of a site writes; those of the other ranks follow. */
uint64_t pmap__vault_files(const struct pmap__vault *vault, uint64_t site);

/* Claims for all splits of files. PMAP_ENOMEM. */
enum pmap_status pmap__vault_claims(const struct pmap__vault *vault, const struct pmap__files *files, const struct pmap__split splits[],
                                    size_t n, struct pmap__claim claims[]);

/* The claim for a split of other input, which has these bytes. */
struct pmap__claim pmap__vault_claim(const struct pmap__vault *vault, const struct pmap__split *split, const void *bytes, size_t size);

#endif
