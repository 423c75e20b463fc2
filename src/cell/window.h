/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Memory that a rank shares with its zygote and its cells: one file without a name (memfd), opened before they are forked, so
 * that nothing has to be passed to them, and gone with the last of them, however they end. The file is sparse and, as far as
 * addresses go, endless: who needs memory uses a range of it that nobody else uses, and maps as much as there is by now. So
 * growing needs no message but the new size.
 */
#ifndef PMAP_CELL_WINDOW_H
#define PMAP_CELL_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The file has so many ranges, of so many bytes each. */
#define PMAP__RANGES ((uint64_t)1 << 22)
#define PMAP__RANGE_SIZE ((uint64_t)1 << 40)

/* One process's view of a range of the file; one that it forks does not have it. Start from {.file, .at}. */
struct pmap__window {
    int file;
    uint64_t at; /* where the range begins: a multiple of PMAP__RANGE_SIZE */
    char *bytes; /* NULL as long as size is 0 */
    size_t size; /* bytes that are mapped */
    bool read_only; /* to be mapped so */
};

/* An open file, or -1 if there can be none: errno says why. */
int pmap__window_file(void);

/* Map at least the first size bytes of the range, which somebody has allocated. False if there are no addresses left. */
bool pmap__window_see(struct pmap__window *window, size_t size);

/* The same, and allocate them: what is written to them finds memory. False if there is none: the kernel does not say so of
 * itself, it ends processes instead, so we ask first what the machine has. The bytes may move. */
bool pmap__window_grow(struct pmap__window *window, size_t size);

/* Give the memory back, of all who see the range; close it. */
void pmap__window_drop(struct pmap__window *window);

/* Somebody else has given memory back, and taken so much since: forget what was beyond it. */
void pmap__window_trim(struct pmap__window *window, size_t size);

/* Unmap it here. */
void pmap__window_close(struct pmap__window *window);

#endif
