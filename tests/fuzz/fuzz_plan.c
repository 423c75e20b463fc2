/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Any bytes as the plan of a map-reduce: they are refused, or mean a plan that encodes to bytes that mean the same. */
#include "fuzz.h"

#include "mapreduce/sound.h"

#include <stdlib.h>
#include <string.h>

const size_t fuzz_memory = 1 << 24;

static void no_map(struct pmap_view piece, struct pmap_emitter *out)
{
    (void)piece, (void)out;
}
PMAP_MAPREDUCE(nothing, .map = no_map);

void fuzz_one(struct fuzz_input *in)
{
    struct pmap__plan plan, again;
    size_t size = in->left, more;
    void *bytes = fuzz_bytes(in, &size), *encoded;

    if (pmap__plan_decode(bytes, size, &plan) == PMAP_OK) {
        if (pmap__plan_bad_field(&plan, 1, 3) == NULL) {
            for (size_t p = 0; p < plan.partitions && p < 10; p++)
                fuzz_check(pmap__plan_owner(&plan, p) < 3, "partitions belong to ranks");
            if (pmap__plan_encode(&plan, &encoded, &more) != PMAP_OK)
                abort();
            fuzz_check(pmap__plan_decode(encoded, more, &again) == PMAP_OK && again.partitions == plan.partitions, "a plan survives");
            pmap__plan_free(&again);
            free(encoded);
        }
        pmap__plan_free(&plan);
    }
    free(bytes);
}

static void put_plan(uint64_t sink, size_t files)
{
    uint64_t threads[] = {1, 2, 0}, owners[] = {0, 1};
    struct pmap__file list[] = {{(char *)(uintptr_t)"a/file", 100, false}, {(char *)(uintptr_t)"another.gz", 7, true}};
    struct pmap__plan plan = {.number = 3, .task = nothing_mapreduce.task.id, .ranks = 3, .threads = threads, .partitions = 7, .n_owners = 2,
                              .owners = owners, .files = {list, files}, .record_max = 100, .sink = sink, .separator = (char *)(uintptr_t)"\t",
                              .output = sink == PMAP__SINK_PARTS ? (char *)(uintptr_t)"out/" : NULL, .arg = owners, .arg_size = files ? 5 : 0};
    void *bytes;
    size_t size;

    if (pmap__plan_encode(&plan, &bytes, &size) != PMAP_OK)
        abort();
    fuzz_put_bytes(bytes, size);
    fuzz_put_end();
    free(bytes);
}

void fuzz_seeds(void)
{
    for (uint64_t sink = PMAP__SINK_NONE; sink <= PMAP__SINK_NEXT; sink++)
        put_plan(sink, sink % 3);
}
