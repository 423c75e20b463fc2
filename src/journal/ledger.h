/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The file of a journal: the one place that knows SQLite. doc/journal.md tells its tables.
 *
 * The connection is exclusive: from the moment it is open until it is closed no other process reads or writes the file, and if
 * this one dies, however, the kernel lets go of the lock. In write-ahead mode what is committed is in the -wal file at once, so
 * that it outlives the process, and nothing that was there before is touched; a damaged tail of that file is as if it had not been
 * written. It needs no shared memory, since nobody shares, and so it works on network file systems that have locks.
 *
 * Not for several threads at the same time.
 */
#ifndef PMAP_JOURNAL_LEDGER_H
#define PMAP_JOURNAL_LEDGER_H

#include "journal/key.h"

#include <pmap.h>
#include <sys/types.h>

struct pmap__ledger;

/* Whose journal it is. */
struct pmap__program {
    uint64_t tasks;      /* a number that other tasks change */
    const char *version; /* the user's word on it; NULL: none */
};

/* A result as it is kept. */
struct pmap__row {
    struct pmap__journal_key key;
    uint64_t call;       /* number of the call that it was computed for, from 1 */
    uint64_t item;
    int rank;
    double time;         /* when it arrived, in seconds since 1970 */
    const void *result;
    size_t size;
};

/* Which file a path names: *device and *inode, 0 if there is none. PMAP_EJOURNAL if it is nothing that a journal could be, or can
 * not be written to. */
enum pmap_status pmap__ledger_look(const char *path, dev_t *device, ino_t *inode, struct pmap_error *error);

/* Open the journal, or make one where there is no file, or an empty one. PMAP_EJOURNAL and why, and the file is as it was; PMAP_ENOMEM.
 * This process must not have it open already. */
enum pmap_status pmap__ledger_open(struct pmap__ledger **ledger, const char *path, const struct pmap__program *program,
                                   struct pmap_error *error);

/* All is well with what is in it: this run begins, and is the first thing that is written. */
enum pmap_status pmap__ledger_enter(struct pmap__ledger *ledger, struct pmap_error *error);

/* The row of this run, and a number that no other journal has, whatever its name: when, where and by whom this one was made. */
uint64_t pmap__ledger_run(const struct pmap__ledger *ledger);
enum pmap_status pmap__ledger_identity(struct pmap__ledger *ledger, uint64_t *identity, struct pmap_error *error);

/* NULL is fine. */
void pmap__ledger_close(struct pmap__ledger *ledger);

/* Everything between begin and commit is there afterwards, or, if any of these fails, nothing is; then rollback. PMAP_EJOURNAL. */
enum pmap_status pmap__ledger_begin(struct pmap__ledger *ledger, struct pmap_error *error);
enum pmap_status pmap__ledger_put_call(struct pmap__ledger *ledger, uint64_t number, const struct pmap__journal_call *call,
                                       struct pmap_error *error);
enum pmap_status pmap__ledger_put(struct pmap__ledger *ledger, const struct pmap__row *row, struct pmap_error *error);
enum pmap_status pmap__ledger_commit(struct pmap__ledger *ledger, struct pmap_error *error);
void pmap__ledger_rollback(struct pmap__ledger *ledger);

/* All calls, and the keys of all results with the numbers of their rows, from 1 on. The functions return false to stop: PMAP_ENOMEM. */
typedef bool pmap__ledger_call_fn(void *owner, uint64_t number, const struct pmap__journal_call *call);
typedef bool pmap__ledger_key_fn(void *owner, uint64_t row, const struct pmap__journal_key *key);
enum pmap_status pmap__ledger_calls(struct pmap__ledger *ledger, pmap__ledger_call_fn *take, void *owner, struct pmap_error *error);
enum pmap_status pmap__ledger_keys(struct pmap__ledger *ledger, pmap__ledger_key_fn *take, void *owner, struct pmap_error *error);

/* The result in a row, if it is of this key: borrowed until the next call. *found: false if it is of another. */
enum pmap_status pmap__ledger_read(struct pmap__ledger *ledger, uint64_t row, const struct pmap__journal_key *key, bool *found,
                                   const void **result, size_t *size, struct pmap_error *error);

/* How many bytes a result may have. */
size_t pmap__ledger_most(const struct pmap__ledger *ledger);

/* Seconds since 1970. */
double pmap__ledger_time(void);

#endif
