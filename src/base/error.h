/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * How a struct pmap_error is made, and how it reaches somebody: whoever first decides that something is wrong
 * sets it, everyone above hands it on, the public call reports it.
 */
#ifndef PMAP_BASE_ERROR_H
#define PMAP_BASE_ERROR_H

#include <pmap.h>

/* Fill *error with a status and a text as for printf, no item, no rank. Returns the status, so that a function
 * can end with return pmap__error_set(…). error may be NULL. */
enum pmap_status pmap__error_set(struct pmap_error *error, enum pmap_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What a task said, with its code: "…: text (code 2)". Sets error->code. */
void pmap__error_append(struct pmap_error *error, int code, const char *text);

/* Hand an error to the caller of a public function: into *wanted if the caller gave one, else onto stderr
 * unless PMAP_LOG=quiet. Returns error->status. */
enum pmap_status pmap__error_report(struct pmap_error *wanted, const struct pmap_error *error);

/* One line on stderr, "pmap: …", unless PMAP_LOG=quiet: for what is worth knowing and fails nothing. */
void pmap__warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
