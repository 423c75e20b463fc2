/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Makes records for sorting, as the sort benchmark has them (sortbenchmark.org): 100 bytes, of which the first 10 are a
 * random key. The same bytes for the same arguments, on every machine.
 *
 *     make_records N [--lines] [SEED] >records
 *
 * Behind the key come the record's number in 32 hexadecimal digits and a filling of 12 letters four times each. A binary key
 * is of any bytes. With --lines it is of printable ones, the last byte of a record is a newline and no other is, so that
 * programs for lines can sort them, too. Whole records sort as their keys do, for of equal keys the earlier record has
 * the lower number.
 */
#include "mix.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY = 10, DIGITS = 32, LETTERS = 12, SIZE = 100, BATCH = 1024 /* records written at once */ };

/* What is the same in all records, and where the rest goes. */
static const char blank[2][SIZE + 1] = {
    "..........\x00\x11................................\x88\x99\xaa\xbb................................................\xcc\xdd\xee\xff",
    "..........  ................................    ................................................   \n"};
enum { AT_NUMBER = KEY + 2, AT_LETTERS = AT_NUMBER + DIGITS + 4 };

static void fill_key(char *key, bool printable, uint64_t seed, uint64_t i)
{
    uint64_t random[2] = {mix(seed, 2 * i), mix(seed, 2 * i + 1)};

    if (!printable)
        memcpy(key, random, KEY); /* on a machine of the other byte order the keys are others */
    for (int k = 0; printable && k < KEY; k++) {
        key[k] = (char)(' ' + random[k % 2] % 95);
        random[k % 2] /= 95;
    }
}

static void fill(char *record, bool lines, uint64_t seed, uint64_t i)
{
    memcpy(record, blank[lines], SIZE);
    fill_key(record, lines, seed, i);
    memset(record + AT_NUMBER, '0', DIGITS);
    for (uint64_t k = DIGITS, rest = i; rest > 0; rest /= 16)
        record[AT_NUMBER + --k] = "0123456789ABCDEF"[rest % 16];
    uint64_t random = mix(~seed, i);
    for (int k = 0; k < LETTERS; k++, random /= 26)
        memset(record + AT_LETTERS + 4 * k, (int)('A' + random % 26), 4);
}

int main(int argc, char **argv)
{
    static char records[BATCH][SIZE];
    bool lines = argc > 2 && strcmp(argv[2], "--lines") == 0, good = true;
    int rest = lines ? 3 : 2;
    uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 0, seed = argc > rest ? strtoull(argv[rest], NULL, 10) : 1;

    if (n == 0 || argc > rest + 1) {
        fprintf(stderr, "usage: make_records N [--lines] [SEED] >records\n");
        return 2;
    }
    for (uint64_t i = 0, size; good && i < n; i += size) {
        size = n - i < BATCH ? n - i : BATCH;
        for (uint64_t k = 0; k < size; k++)
            fill(records[k], lines, seed, i + k);
        good = fwrite(records, SIZE, size, stdout) == size;
    }
    good = fflush(stdout) == 0 && good;
    if (!good)
        perror("make_records");
    return good ? 0 : 1;
}
