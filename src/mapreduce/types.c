/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Numbers as keys, numbers as values, and the combine functions that come with the library.
 *
 * A key is compared as bytes. An unsigned integer does that right if its highest byte comes first; a signed one if its
 * sign is flipped as well, so that negative ones come first; a double if all bits of a negative one are flipped, for among
 * those the larger magnitude is less. */
#include <pmap_mapreduce.h>

#include <math.h>
#include <string.h>

#define SIGN (UINT64_C(1) << 63)

/* ---- Doubles as integers of the same order ---- */

/* Every NaN is this one: with its sign flipped it is more than infinity. */
#define NAN_BITS UINT64_C(0x7ff8000000000000)
#define NAN_RANK (NAN_BITS | SIGN)

static uint64_t rank_of(double number)
{
    uint64_t bits = NAN_BITS;

    if (!isnan(number))
        memcpy(&bits, &number, sizeof bits);
    return bits & SIGN ? ~bits : bits | SIGN;
}

static double number_of(uint64_t rank)
{
    uint64_t bits = rank & SIGN ? rank & ~SIGN : ~rank;
    double number;

    memcpy(&number, &bits, sizeof number);
    return number;
}

/* ---- Keys ---- */

struct pmap_key8 pmap_key_u64(uint64_t number)
{
    struct pmap_key8 key;

    for (int i = 0; i < 8; i++)
        key.bytes[i] = (unsigned char)(number >> (56 - 8 * i));
    return key;
}

struct pmap_key8 pmap_key_i64(int64_t number)
{
    return pmap_key_u64((uint64_t)number ^ SIGN);
}

struct pmap_key8 pmap_key_f64(double number)
{
    return pmap_key_u64(rank_of(number));
}

uint64_t pmap_u64_key(struct pmap_view key)
{
    const unsigned char *bytes = key.data;
    uint64_t number = 0;

    for (size_t i = 0; key.size == 8 && i < 8; i++)
        number = number << 8 | bytes[i];
    return number;
}

int64_t pmap_i64_key(struct pmap_view key)
{
    return key.size == 8 ? (int64_t)(pmap_u64_key(key) ^ SIGN) : 0;
}

double pmap_f64_key(struct pmap_view key)
{
    return key.size == 8 ? number_of(pmap_u64_key(key)) : 0;
}

/* ---- Values ---- */

int64_t pmap_view_i64(struct pmap_view value)
{
    int64_t number = 0;

    if (value.size == sizeof number)
        memcpy(&number, value.data, sizeof number);
    return number;
}

double pmap_view_f64(struct pmap_view value)
{
    double number = 0;

    if (value.size == sizeof number)
        memcpy(&number, value.data, sizeof number);
    return number;
}

/* ---- Combine ---- */

void pmap_sum_i64(void *acc, const void *value)
{
    uint64_t *sum = acc; /* unsigned, for it may wrap around */
    const uint64_t *number = value;
    *sum += *number;
}

void pmap_min_i64(void *acc, const void *value)
{
    int64_t *least = acc;
    const int64_t *number = value;
    if (*number < *least)
        *least = *number;
}

void pmap_max_i64(void *acc, const void *value)
{
    int64_t *most = acc;
    const int64_t *number = value;
    if (*number > *most)
        *most = *number;
}

/* By rank, which tells -0 from 0 and has one NaN, the result has the same bits in whichever order the values come. NaN is
 * the last rank, so that any number is less. */
void pmap_min_f64(void *acc, const void *value)
{
    double *least = acc;
    const double *number = value;
    uint64_t a = rank_of(*least), b = rank_of(*number);
    *least = number_of(b < a ? b : a);
}

void pmap_max_f64(void *acc, const void *value)
{
    double *most = acc;
    const double *number = value;
    uint64_t a = rank_of(*most), b = rank_of(*number);
    bool larger = a == NAN_RANK || (b != NAN_RANK && b > a);
    *most = number_of(larger ? b : a);
}
