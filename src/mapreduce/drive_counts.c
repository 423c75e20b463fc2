/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Counters: what all ranks have counted, added up into the statistics of the call, and these in lines for people.
 */
#include "mapreduce/drive_inside.h"

#include "base/screen.h"
#include "mapreduce/site.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Adding up ---- */

static void add_work(struct pmap_mapreduce_stats *s, const struct pmap__counts *c)
{
    s->shuffled_bytes += c->shuffled;
    s->spills += c->spills;
    s->spilled_bytes += c->spilled;
    s->spilled_disk += c->spilled_disk;
    s->merges += c->merges;
    s->records_out += c->records_out;
    if (c->memory_peak > s->memory_peak) {
        s->memory_peak = c->memory_peak;
        s->memory_limit = c->memory_limit;
    }
}

/* Of a site that only puts in order what another has made this would count everything twice. */
static void add_pairs(struct pmap_mapreduce_stats *s, const struct pmap__counts *c)
{
    s->bytes_in += c->bytes_in;
    s->pairs += c->pairs;
    s->pair_bytes += c->pair_bytes;
    s->combined += c->combined;
    s->splits_found += (size_t)c->found;
    s->keys += c->keys;
    if (c->partition_max > s->partition_max)
        s->partition_max = c->partition_max;
    if (pmap__is_larger(c->largest_values, c->largest_bytes, s->largest_values, s->largest_bytes)) {
        s->largest_values = c->largest_values;
        s->largest_bytes = c->largest_bytes;
        memcpy(s->largest_key, c->largest_key, sizeof s->largest_key);
    }
}

enum pmap_status pmap__drive_count(struct pmap__drive *d)
{
    size_t n = (size_t)d->plan.n_owners;
    struct pmap_bytes *answers = calloc(n, sizeof *answers);
    uint64_t sum = 0, bytes_out = 0;
    struct pmap__counts c;

    if (answers == NULL)
        return pmap__drive_no_memory(d);
    enum pmap_status status = pmap__drive_all_ranks(d, PMAP__STEP_COUNTS, NULL, 0, answers);
    for (size_t i = 0; i < n; i++) {
        if (status == PMAP_OK && answers[i].size == sizeof c) {
            memcpy(&c, answers[i].data, sizeof c);
            add_work(&d->stats, &c);
            if (!d->plan.plain)
                add_pairs(&d->stats, &c);
            sum += c.partition_sum;
            bytes_out += c.bytes_out;
        }
        free(answers[i].data);
    }
    free(answers);
    if (d->stats.bytes_out == 0) /* the file on the root knows better */
        d->stats.bytes_out = bytes_out;
    if (!d->plan.plain)
        d->stats.partition_mean = sum / d->plan.partitions;
    return status;
}

/* ---- Printing ---- */

static double rate(uint64_t bytes, double seconds)
{
    return seconds > 0 ? (double)bytes / seconds / 1e6 : 0;
}

void pmap__drive_print(const struct pmap__drive *d)
{
    const struct pmap_mapreduce_stats *s = &d->stats;
    double mean = s->partition_mean ? (double)s->partition_mean : 1;
    bool held = pmap__screen_hold();

    char found[64] = "";

    if (s->splits_found)
        snprintf(found, sizeof found, " (%zu of them from the journal)", s->splits_found);
    fprintf(stderr, "pmap: %s: map     %8.3f s  %8.1f MB/s  %llu bytes in %zu splits%s, %llu pairs of %llu bytes\n", d->rules.task->name,
            s->map_seconds, rate(s->bytes_in, s->map_seconds), (unsigned long long)s->bytes_in, s->splits, found,
            (unsigned long long)s->pairs, (unsigned long long)s->pair_bytes);
    fprintf(stderr, "pmap: %s: shuffle %8.3f s  %8.1f MB/s  %llu bytes to other ranks, %llu pairs combined before\n", d->rules.task->name,
            s->flush_seconds, rate(s->shuffled_bytes, s->map_seconds + s->flush_seconds), (unsigned long long)s->shuffled_bytes,
            (unsigned long long)s->combined);
    fprintf(stderr, "pmap: %s: reduce  %8.3f s  %8.1f MB/s  %llu keys, the largest with %llu values; largest partition %.2f of the mean\n",
            d->rules.task->name, s->reduce_seconds, rate(s->partition_mean * d->plan.partitions, s->reduce_seconds),
            (unsigned long long)s->keys, (unsigned long long)s->largest_values, (double)s->partition_max / mean);
    fprintf(stderr, "pmap: %s: output  %8.3f s  %8.1f MB/s  %llu records, %llu bytes\n", d->rules.task->name, s->output_seconds,
            rate(s->bytes_out, s->output_seconds), (unsigned long long)s->records_out, (unsigned long long)s->bytes_out);
    fprintf(stderr, "pmap: %s: memory  %.1f of %.1f MB; %llu spills, %llu bytes, %llu on disk; %llu runs merged again\n",
            d->rules.task->name, (double)s->memory_peak / 1e6, (double)s->memory_limit / 1e6, (unsigned long long)s->spills,
            (unsigned long long)s->spilled_bytes, (unsigned long long)s->spilled_disk, (unsigned long long)s->merges);
    pmap__screen_release(held);
}
