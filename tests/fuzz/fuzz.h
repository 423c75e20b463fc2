/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What the fuzz targets have in common. A target reads an input as a script: numbers and bytes, one after the other, zeros when there are
 * no more. What it calls may end the MPI job, which here ends the input: fuzz_give_up goes back to the loop of libFuzzer, and frees what the
 * process would have taken with it. So nothing leaks, whatever was interrupted, and what leaks otherwise is found.
 *
 * scripts/fuzz builds and runs the targets. Inputs to begin with are made by the target itself (fuzz_seeds), from what the library encodes:
 * so they are never out of date. With PMAP_FUZZ_SEEDS=directory it writes them there and ends.
 */
#ifndef PMAP_FUZZ_H
#define PMAP_FUZZ_H

#include <pmap.h>
#include <stddef.h>
#include <stdint.h>

struct fuzz_input {
    const uint8_t *at;
    size_t left;
};

/* Each target has these three. */
extern const size_t fuzz_memory; /* no single allocation may be larger: a few bytes shall not make the library ask for gigabytes */
void fuzz_one(struct fuzz_input *in);
void fuzz_seeds(void);

/* The next number of so many bytes, little-endian. */
uint64_t fuzz_number(struct fuzz_input *in, size_t bytes);

/* The next size bytes, or what is left of them, in memory of exactly that size, from malloc; *size becomes what it is. */
void *fuzz_bytes(struct fuzz_input *in, size_t *size);

/* It has come to the end of the MPI job. cleanup, if it was set, is called first. */
_Noreturn void fuzz_give_up(void);
void fuzz_on_give_up(void (*cleanup)(void));

/* What must hold. */
void fuzz_check(int holds, const char *what);

/* Build a seed: put numbers and bytes as fuzz_number and fuzz_bytes read them, then end it. */
void fuzz_put(uint64_t number, size_t bytes);
void fuzz_put_bytes(const void *bytes, size_t size);
void fuzz_put_end(void);

#endif
