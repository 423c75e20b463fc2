/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The bar for word counts: what one core can do if a good programmer spends a week on this one program. Plain C.
 *
 *     count_tuned FILE >counts          "word\tcount\n" in the order of the words' bytes
 *
 * A word is a run of bytes other than space, \t, \n, \v, \f, \r. On stderr: the seconds of counting, and of sorting and
 * writing.
 *
 * Why it is fast. 64 bytes of text at a time become a mask of 64 bits that has a one for each space: where the bits change
 * words begin and end, and no byte is looked at alone. A word of up to 16 bytes is two integers, and lies in the table
 * itself, so that comparing is two operations and nothing is behind a pointer; longer ones, which are rare, lie elsewhere.
 * A table of a million words fits in no cache, and each look into it would wait for memory: therefore words are looked up
 * in batches, of which all slots are prefetched before the first is read. The table lies in pages of 2 MiB, if the
 * kernel gives them, or else each look would also miss the page tables' cache. The sort is by radix on the first eight
 * bytes.
 */
#include "bench.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    INLINE = 16,        /* bytes of a word that lies in the table */
    BLOCK = 64,         /* bytes of a mask */
    BATCH = 64,         /* words */
    FIRST_SLOTS = 1 << 16,
    HUGE_PAGE = 1 << 21,
    AHEAD = 16          /* entries, of which the slots are prefetched when the output is written */
};

/* A word of up to 16 bytes: all of it, with zeros behind. A longer one: its first eight bytes and its address. */
struct key {
    uint64_t first, second;
    uint32_t size;
    uint32_t hash;
};

struct slot {
    struct key key;
    uint64_t count;     /* 0: free */
};

struct table {
    struct slot *slots;
    size_t mask, n;     /* slots - 1; words in it, at most half as many */
    struct key batch[BATCH];
    size_t waiting;     /* in batch: not yet counted, their slots on the way */
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- The table --------------------------------------------------------------------------------------- */

static struct slot *slots_create(size_t n)
{
    size_t size = n * sizeof(struct slot);
    struct slot *slots = aligned_alloc(HUGE_PAGE, size < HUGE_PAGE ? HUGE_PAGE : size);
    if (slots == NULL)
        die("count_tuned");
    madvise(slots, size, MADV_HUGEPAGE);
    memset(slots, 0, size);
    return slots;
}

static void table_grow(struct table *t)
{
    struct slot *old = t->slots, *end = old + t->mask + 1;

    t->mask = 2 * t->mask + 1;
    t->slots = slots_create(t->mask + 1);
    for (struct slot *s = old; s < end; s++)
        if (s->count > 0) {
            size_t i = s->key.hash & t->mask;
            while (t->slots[i].count > 0)
                i = (i + 1) & t->mask;
            t->slots[i] = *s;
        }
    free(old);
}

static const char *long_word(const struct key *key)
{
    return (const char *)(uintptr_t)key->second;
}

static inline bool same(const struct key *a, const struct key *b)
{
    if (a->size > INLINE)
        return a->size == b->size && memcmp(long_word(a), long_word(b), a->size) == 0;
    return ((a->first ^ b->first) | (a->second ^ b->second) | (a->size ^ b->size)) == 0;
}

static inline void count(struct table *t, const struct key *key)
{
    size_t i = key->hash & t->mask;
    while (t->slots[i].count > 0 && !same(key, &t->slots[i].key))
        i = (i + 1) & t->mask;
    if (t->slots[i].count++ == 0) {
        t->slots[i].key = *key;
        if (2 * ++t->n > t->mask)
            table_grow(t);
    }
}

static void count_batch(struct table *t)
{
    for (size_t i = 0; i < t->waiting; i++)
        count(t, &t->batch[i]);
    t->waiting = 0;
}

/* ---- Words ------------------------------------------------------------------------------------------- */

/* What remains of the first and the second eight bytes of a word of so many bytes, read on a little-endian machine. */
static const uint64_t remains[INLINE + 1][2] = {
#define FULL UINT64_MAX
    {0, 0}, {FULL >> 56, 0}, {FULL >> 48, 0}, {FULL >> 40, 0}, {FULL >> 32, 0}, {FULL >> 24, 0}, {FULL >> 16, 0},
    {FULL >> 8, 0}, {FULL, 0}, {FULL, FULL >> 56}, {FULL, FULL >> 48}, {FULL, FULL >> 40}, {FULL, FULL >> 32},
    {FULL, FULL >> 24}, {FULL, FULL >> 16}, {FULL, FULL >> 8}, {FULL, FULL}
#undef FULL
};

__extension__ typedef unsigned __int128 uint128;

static inline uint64_t hash_of(uint64_t a, uint64_t b)
{
    uint128 product = (uint128)(a ^ UINT64_C(0x9e3779b97f4a7c15)) * (b ^ UINT64_C(0xd1342543de82ef95));
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static struct key long_key(const char *word, size_t size)
{
    struct key key = {.second = (uintptr_t)word, .size = (uint32_t)size};
    uint64_t hash = size, part;

    for (size_t i = 0; i < size; i += sizeof part) {
        size_t at = i + sizeof part <= size ? i : size - sizeof part; /* the last part overlaps */
        memcpy(&part, word + at, sizeof part);
        hash = hash_of(hash, part);
    }
    memcpy(&key.first, word, sizeof key.first);
    key.hash = (uint32_t)hash;
    return key;
}

/* 16 bytes can be read from where the word begins. */
static inline struct key key_of(const char *word, size_t size)
{
    uint64_t part[2];

    if (size > INLINE)
        return long_key(word, size);
    memcpy(part, word, sizeof part);
    part[0] &= remains[size][0];
    part[1] &= remains[size][1];
    return (struct key){part[0], part[1], (uint32_t)size, (uint32_t)hash_of(part[0], part[1])};
}

static inline void take_word(struct table *t, const char *word, size_t size)
{
    struct key key = key_of(word, size);

    __builtin_prefetch(&t->slots[key.hash & t->mask], 1);
    t->batch[t->waiting++] = key;
    if (t->waiting == BATCH)
        count_batch(t);
}

/* ---- Text -------------------------------------------------------------------------------------------- */

/* Bit i: is byte i of 64 a space? */
#ifdef __SSE2__
static inline uint64_t spaces_of_16(const char *text)
{
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)text);
    __m128i control = _mm_sub_epi8(bytes, _mm_set1_epi8('\t')); /* at most 4 from \t to \r */
    __m128i space = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(' ')),
                                 _mm_cmpeq_epi8(_mm_min_epu8(control, _mm_set1_epi8(4)), control));
    return (uint64_t)(unsigned)_mm_movemask_epi8(space);
}

static inline uint64_t spaces_of(const char *text)
{
    return spaces_of_16(text) | spaces_of_16(text + 16) << 16 | spaces_of_16(text + 32) << 32 |
           spaces_of_16(text + 48) << 48;
}
#else
static inline uint64_t spaces_of(const char *text)
{
    uint64_t mask = 0;
    for (int i = 0; i < BLOCK; i++)
        mask |= (uint64_t)(text[i] == ' ' || (unsigned char)(text[i] - '\t') <= 4) << i;
    return mask;
}
#endif

/* Count the words of a text behind which two blocks of spaces can be read. */
static void count_text(struct table *t, const char *text, size_t size)
{
    const char *begin = NULL; /* of a word that has not ended */
    uint64_t was_space = 1;   /* the last byte of the block before */

    for (size_t at = 0; at <= size; at += BLOCK) {
        uint64_t spaces = spaces_of(text + at);
        uint64_t changes = spaces ^ (spaces << 1 | was_space);
        was_space = spaces >> (BLOCK - 1);
        for (; changes != 0; changes &= changes - 1) {
            const char *here = text + at + __builtin_ctzll(changes);
            if (begin != NULL)
                take_word(t, begin, (size_t)(here - begin));
            begin = begin == NULL ? here : NULL;
        }
    }
    count_batch(t);
}

/* The file with two blocks of spaces behind it: its pages are not copied, and longer words stay where they are. */
static char *map_file(const char *name, size_t *size)
{
    struct stat info;
    int file = open(name, O_RDONLY);

    if (file < 0 || fstat(file, &info) != 0)
        die(name);
    *size = (size_t)info.st_size;
    char *text = mmap(NULL, *size + 2 * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (text != MAP_FAILED && *size > 0)
        text = mmap(text, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, 0);
    if (text == MAP_FAILED)
        die(name);
    memset(text + *size, ' ', 2 * BLOCK);
    close(file);
    return text;
}

/* ---- Sorting ----------------------------------------------------------------------------------------- */

struct entry {
    uint64_t first; /* of the word, its bytes in reverse: so numbers compare as the bytes do */
    const struct slot *slot;
};

static const char *word_of(const struct key *key)
{
    return key->size > INLINE ? long_word(key) : (const char *)&key->first;
}

static int by_word(const void *a, const void *b)
{
    const struct key *v = &((const struct entry *)a)->slot->key, *w = &((const struct entry *)b)->slot->key;
    int order = memcmp(word_of(v), word_of(w), v->size < w->size ? v->size : w->size);
    return order != 0 ? order : (v->size > w->size) - (v->size < w->size);
}

static struct entry *entries_create(const struct table *t)
{
    struct entry *entries = malloc((t->n + 1) * sizeof *entries);
    size_t n = 0;

    if (entries == NULL)
        die("count_tuned");
    for (const struct slot *s = t->slots; s <= t->slots + t->mask; s++)
        if (s->count > 0)
            entries[n++] = (struct entry){__builtin_bswap64(s->key.first), s};
    return entries;
}

/* One pass of the radix sort, by the digit at this bit; false if all have the same one, so that nothing was done. */
static bool sort_digit(const struct entry *in, struct entry *out, size_t n, const size_t counts[256], int bit)
{
    size_t at[256], sum = 0;

    for (int d = 0; d < 256; d++) {
        if (counts[d] == n)
            return false;
        at[d] = sum;
        sum += counts[d];
    }
    for (size_t i = 0; i < n; i++)
        out[at[in[i].first >> bit & 255]++] = in[i];
    return true;
}

/* Sort by first; returns the array that has the result, of entries and one more, which are both the caller's. */
static struct entry *sort_by_first(struct entry *entries, struct entry *other, size_t n)
{
    size_t counts[8][256] = {{0}};

    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < 8; k++)
            counts[k][entries[i].first >> 8 * k & 255]++;
    for (int k = 0; k < 8; k++)
        if (sort_digit(entries, other, n, counts[k], 8 * k)) {
            struct entry *sorted = other;
            other = entries;
            entries = sorted;
        }
    return entries;
}

/* Those whose first eight bytes are equal are few: each run of them is sorted by itself. */
static void sort_runs(struct entry *entries, size_t n)
{
    for (size_t begin = 0, end; begin < n; begin = end) {
        for (end = begin + 1; end < n && entries[end].first == entries[begin].first; end++)
            continue;
        if (end - begin > 1)
            qsort(entries + begin, end - begin, sizeof *entries, by_word);
    }
}

/* ---- Writing ----------------------------------------------------------------------------------------- */

static char *put_number(char *end, uint64_t number)
{
    char digits[20];
    int n = 0;

    do
        digits[n++] = (char)('0' + number % 10);
    while (number /= 10);
    while (n > 0)
        *end++ = digits[--n];
    return end;
}

static char *put_word(char *end, const struct key *key)
{
    if (key->size > INLINE) { /* may be longer than any buffer: the caller's is empty now */
        fwrite(long_word(key), 1, key->size, stdout);
        return end;
    }
    memcpy(end, &key->first, INLINE);
    return end + key->size;
}

static void write_counts(const struct entry *entries, size_t n)
{
    enum { ROOM = 64 }; /* for a short word and its count */
    static char buffer[1 << 16];
    char *end = buffer;

    for (size_t i = 0; i < n; i++) {
        const struct slot *s = entries[i].slot;
        __builtin_prefetch(entries[i + AHEAD < n ? i + AHEAD : i].slot);
        if (s->key.size > INLINE || end > buffer + sizeof buffer - ROOM) {
            fwrite(buffer, 1, (size_t)(end - buffer), stdout);
            end = buffer;
        }
        end = put_word(end, &s->key);
        *end++ = '\t';
        end = put_number(end, s->count);
        *end++ = '\n';
    }
    fwrite(buffer, 1, (size_t)(end - buffer), stdout);
    if (fflush(stdout) != 0 || ferror(stdout))
        die("count_tuned");
}

static void sort_and_write(const struct table *t)
{
    struct entry *entries = entries_create(t), *other = entries_create(t);
    struct entry *sorted = sort_by_first(entries, other, t->n);

    sort_runs(sorted, t->n);
    write_counts(sorted, t->n);
    free(entries);
    free(other);
}

int main(int argc, char **argv)
{
    struct table t = {.slots = slots_create(FIRST_SLOTS), .mask = FIRST_SLOTS - 1};
    double begin = bench_now();
    size_t size;

    if (argc != 2) {
        fprintf(stderr, "usage: count_tuned FILE >counts\n");
        return 2;
    }
    char *text = map_file(argv[1], &size);
    count_text(&t, text, size);
    double counted = bench_now();
    sort_and_write(&t);
    fprintf(stderr, "count %.3f s, sort and write %.3f s\n", counted - begin, bench_now() - counted);
    munmap(text, size + 2 * BLOCK);
    free(t.slots);
    return 0;
}
