/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The linker gives every allocation of the library to the functions __wrap_… in here, which keep a list of what is allocated. */
#include "fuzz.h"

#include <errno.h>
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static jmp_buf out;
static void (*on_give_up)(void);

/* ---- Allocations ---- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
void __wrap_free(void *memory);

static struct {
    pthread_mutex_t lock; /* of the rest: a journal has a thread */
    void **all;
    size_t n, room;
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *note(void *memory)
{
    if (memory == NULL)
        return NULL;
    pthread_mutex_lock(&known.lock);
    if (known.n == known.room) {
        known.room = known.room ? 2 * known.room : 1024;
        known.all = __real_realloc(known.all, known.room * sizeof *known.all);
        fuzz_check(known.all != NULL, "there is memory for the list of allocations");
    }
    known.all[known.n++] = memory;
    pthread_mutex_unlock(&known.lock);
    return memory;
}

/* What was allocated last is freed first, mostly. */
static void forget(const void *memory)
{
    pthread_mutex_lock(&known.lock);
    for (size_t i = known.n; i-- > 0;)
        if (known.all[i] == memory) {
            known.all[i] = known.all[--known.n];
            break;
        }
    pthread_mutex_unlock(&known.lock);
}

static bool is_too_much(size_t size)
{
    if (size > SIZE_MAX / 2)
        return true; /* no malloc gives that */
    fuzz_check(size <= fuzz_memory, "allocations are not much larger than what came");
    return false;
}

void *__wrap_malloc(size_t size)
{
    return is_too_much(size) ? NULL : note(__real_malloc(size));
}

void *__wrap_calloc(size_t n, size_t size)
{
    size_t all;
    return __builtin_mul_overflow(n, size, &all) || is_too_much(all) ? NULL : note(__real_calloc(n, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    if (is_too_much(size))
        return NULL;
    void *memory = __real_realloc(old, size);
    if (memory)
        forget(old);
    return note(memory);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return is_too_much(size) ? NULL : note(__real_aligned_alloc(alignment, size));
}

int __wrap_posix_memalign(void **memory, size_t alignment, size_t size)
{
    *memory = is_too_much(size) ? NULL : note(__real_aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment));
    return *memory ? 0 : ENOMEM;
}

char *__wrap_strdup(const char *text)
{
    char *copy = __wrap_malloc(strlen(text) + 1);
    return copy ? strcpy(copy, text) : NULL;
}

void __wrap_free(void *memory)
{
    forget(memory);
    __real_free(memory);
}

/* ---- Inputs ---- */

uint64_t fuzz_number(struct fuzz_input *in, size_t bytes)
{
    uint64_t number = 0;

    for (size_t i = 0; i < bytes && in->left > 0; i++, in->left--)
        number |= (uint64_t)*in->at++ << 8 * i;
    return number;
}

void *fuzz_bytes(struct fuzz_input *in, size_t *size)
{
    if (*size > in->left)
        *size = in->left;
    void *bytes = malloc(*size);
    if (*size)
        memcpy(bytes, in->at, *size);
    in->at += *size;
    in->left -= *size;
    return bytes;
}

void fuzz_check(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "fuzz: it does not hold that %s\n", what);
        abort();
    }
}

void fuzz_on_give_up(void (*cleanup)(void))
{
    on_give_up = cleanup;
}

void fuzz_give_up(void)
{
    longjmp(out, 1);
}

/* ---- Seeds ---- */

static struct {
    const char *directory;
    uint8_t bytes[1 << 16];
    size_t size;
    int n;
} seed;

void fuzz_put(uint64_t number, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        seed.bytes[seed.size++] = (uint8_t)(number >> 8 * i);
}

void fuzz_put_bytes(const void *bytes, size_t size)
{
    if (size)
        memcpy(seed.bytes + seed.size, bytes, size);
    seed.size += size;
}

void fuzz_put_end(void)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/seed-%03d", seed.directory, seed.n++);
    FILE *file = fopen(path, "wb");
    fuzz_check(file && fwrite(seed.bytes, 1, seed.size, file) == seed.size && fclose(file) == 0, "seeds can be written");
    seed.size = 0;
}

/* ---- What libFuzzer calls ---- */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    seed.directory = getenv("PMAP_FUZZ_SEEDS");
    if (seed.directory) {
        fuzz_seeds();
        exit(0);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input in = {data, size};

    on_give_up = NULL;
    known.n = 0;
    if (setjmp(out) == 0) {
        fuzz_one(&in);
        if (known.n > 0)
            __asan_describe_address(known.all[0]);
        fuzz_check(known.n == 0, "nothing leaks");
        return 0;
    }
    if (on_give_up)
        on_give_up();
    while (known.n > 0)
        __real_free(known.all[--known.n]);
    return 0;
}
