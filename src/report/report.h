/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The report of a run: an HTML page, of the trace of the run. It is complete in itself, has no more than a few megabytes whatever the size of
 * the trace, and nothing in the trace, which may be hostile, becomes more than text in it.
 *
 * Both write the page aside, and rename it when it is whole; PMAP_EINVAL: the trace is none (see report/reader.h, report/run.h), or a file cannot
 * be read or written, and the text names it; PMAP_ENOMEM. Then a former page stays as it was.
 */
#ifndef PMAP_REPORT_REPORT_H
#define PMAP_REPORT_REPORT_H

#include <pmap.h>

/* Of a trace in memory, the text of its file. */
enum pmap_status pmap__report_write(const char *trace, size_t size, const char *path, struct pmap_error *error);

/* Of a trace in a file. "-": standard input, standard output. */
enum pmap_status pmap__report_write_file(const char *trace, const char *path, struct pmap_error *error);

#endif
