/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * A journal: results of items in a file, so that the next run of a program need not compute them again. It knows keys, bytes and
 * a file, and nothing of jobs: engine/recall.h is who asks it.
 *
 * Whoever has a result adds it to a buffer, by copying it, and goes on. A thread of the journal's, the writer, takes the buffer
 * when its first result is a tenth of a second old, or when it is large, or when somebody waits for it, and commits it to the file in one
 * transaction. So at most that, and what the disk takes for it, is lost with the process, and nothing of what is in the file.
 *
 * What was in the file when it was opened is known by a table in memory, from keys to rows; results themselves stay in the file
 * until they are asked for. What is added in this run is not looked up in this run: no key comes twice (key.h).
 *
 * When the file cannot be written any more the journal is broken: it takes nothing, says so to whoever asks, and rings its owner's
 * alarm once.
 *
 * Threads: add, number, find, read and flush by any. What is open is listed, for the whole process, under one lock: a file is open
 * once, and all journals can be flushed in a hurry.
 */
#ifndef PMAP_JOURNAL_JOURNAL_H
#define PMAP_JOURNAL_JOURNAL_H

#include "journal/key.h"

#include <pmap.h>

struct pmap__journal;

/* Open the file, or make it. PMAP_EJOURNAL, PMAP_ENOMEM, and why; no file is changed then. */
enum pmap_status pmap__journal_open(struct pmap__journal **journal, const char *path, uint64_t tasks, const char *version,
                                    struct pmap_error *error);

/* Write what is left, and close the file. NULL is fine. PMAP_EJOURNAL if something could not be written, now or before. */
enum pmap_status pmap__journal_close(struct pmap__journal *journal, struct pmap_error *error);

/* A journal that is held can still be asked what is in the file, and whether it is broken, when it has been closed. */
void pmap__journal_hold(struct pmap__journal *journal);
void pmap__journal_release(struct pmap__journal *journal);

/* Called once when the journal breaks, on the writer's thread; it may not wait. Before anything is added. */
void pmap__journal_alarm(struct pmap__journal *journal, void (*alarm)(void *owner), void *owner);

/* The number of a call, from 1 on, for those who look into the file; 0 if memory is short. Its strings are copied. */
uint64_t pmap__journal_call(struct pmap__journal *journal, const struct pmap__journal_call *call);

/* Set the occurrence of n keys, in order: how often each was numbered before in this run. False if memory is short. */
bool pmap__journal_number(struct pmap__journal *journal, struct pmap__journal_key keys[], size_t n);

/* What had this key is as if it had never been, so that the next with this hash is numbered the same; unless others have come meanwhile. */
void pmap__journal_forget(struct pmap__journal *journal, const struct pmap__journal_key *key);

/* For files that belong to a journal and lie beside it: its path; a number that no other journal has, also none that takes its name
 * later; and one that no other run has that had it open. */
struct pmap__journal_place {
    const char *path; /* the journal's, from the root of the file system; borrowed until it is closed */
    uint64_t identity, run;
};
struct pmap__journal_place pmap__journal_place(const struct pmap__journal *journal);

/* The row of a key that was in the file when it was opened; 0 if it was not. */
uint64_t pmap__journal_find(const struct pmap__journal *journal, const struct pmap__journal_key *key);

/* Give the result in that row to take, which copies it, or fails with a status and an error of its own. *found: false, and take is
 * not called, if the row is of another key after all. What take says; PMAP_EJOURNAL: the row is damaged. */
typedef enum pmap_status pmap__journal_take_fn(void *owner, const void *result, size_t size, struct pmap_error *error);
enum pmap_status pmap__journal_read(struct pmap__journal *journal, uint64_t row, const struct pmap__journal_key *key,
                                    pmap__journal_take_fn *take, void *owner, bool *found, struct pmap_error *error);

/* A result to be written down. */
struct pmap__journal_entry {
    struct pmap__journal_key key;
    size_t item;
    const void *result; /* copied */
    size_t size;
};

/* Write down n results of a call that came from a rank. Waits while the writer is behind by more than what PMAP__JOURNAL_ROOM allows.
 * Returns a number for pmap__journal_has; PMAP__JOURNAL_LOST, which it never has, if the journal is broken, and some are lost. */
#define PMAP__JOURNAL_ROOM ((size_t)64 << 20)
#define PMAP__JOURNAL_LOST UINT64_MAX
uint64_t pmap__journal_add(struct pmap__journal *journal, uint64_t call, int rank, const struct pmap__journal_entry entries[],
                           size_t n);

/* Is all in the file that was added up to this number? */
bool pmap__journal_has(struct pmap__journal *journal, uint64_t number);

/* Is it broken? Then why. Any thread; error may be NULL. */
bool pmap__journal_broken(struct pmap__journal *journal, struct pmap_error *error);

/* Wait until everything that was added before is in the file, or can never be: PMAP_EJOURNAL and why. */
enum pmap_status pmap__journal_flush(struct pmap__journal *journal, struct pmap_error *error);

/* The process is about to end: the same for all journals that are open, but give up after half a second. Any thread, also one that may
 * not wait for items; not a signal handler. */
void pmap__journals_flush(void);

#endif
