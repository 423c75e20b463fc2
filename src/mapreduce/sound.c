/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/sound.h"

#include "mapreduce/pair.h"

#include "mapreduce/lean.h"

#include <string.h>

/* What the public calls let through at most. */
#define PARTITIONS_MAX ((uint64_t)1 << 20)
#define THREADS_MAX ((uint64_t)1 << 16)

/* ---- Records ---- */

bool pmap__records_are_sound(const void *bytes, size_t size, size_t *n)
{
    const char *at = bytes;

    for (*n = 0; size > 0; ++*n) {
        if (size < PMAP__PAIR_HEAD || pmap__record_size(at) > size)
            return false;
        size_t record = pmap__record_size(at);
        at += record;
        size -= record;
    }
    return true;
}

const char *pmap__block_bad_field(const struct pmap__site *site, const struct pmap__letter *letter)
{
    size_t combined = site->common.combine.size, n;

    if (letter->words[0] >= site->plan.partitions || pmap__plan_owner(&site->plan, (size_t)letter->words[0]) != site->rank)
        return "partition";
    if (letter->body == NULL)
        return NULL;
    bool sound = combined ? pmap__lean_are_whole(letter->body, letter->size, combined, &n)
                          : pmap__records_are_sound(letter->body, letter->size, &n);
    return !sound ? "record" : n != letter->words[1] ? "number of records" : NULL;
}

/* ---- Plans ---- */

static const char *bad_ranks(const struct pmap__plan *plan, int rank, int ranks)
{
    bool owner = false;

    if (plan->ranks != (uint64_t)ranks)
        return "ranks";
    if (plan->root >= plan->ranks)
        return "root";
    if (plan->n_owners == 0 || plan->n_owners > plan->ranks)
        return "n_owners";
    for (uint64_t i = 0; i < plan->n_owners; i++) {
        if (plan->owners[i] >= plan->ranks)
            return "owners";
        owner |= plan->owners[i] == (uint64_t)rank;
    }
    for (uint64_t r = 0; r < plan->ranks; r++)
        if (plan->threads[r] > THREADS_MAX)
            return "threads";
    return owner ? NULL : "owners";
}

const char *pmap__plan_bad_field(const struct pmap__plan *plan, int rank, int ranks)
{
    if (plan->number == 0)
        return "number";
    if (plan->partitions == 0 || plan->partitions > PARTITIONS_MAX)
        return "partitions";
    if (plan->staged > 1 || plan->ranges > 1 || plan->plain > 1)
        return plan->staged > 1 ? "staged" : plan->ranges > 1 ? "ranges" : "plain";
    if (plan->sink > PMAP__SINK_NEXT)
        return "sink";
    if ((plan->sink == PMAP__SINK_PARTS) != (plan->output != NULL))
        return "output";
    if (plan->format > PMAP_FORMAT_RAW)
        return "format";
    if (plan->separator == NULL)
        return "separator";
    for (size_t i = 0; i < plan->files.n; i++)
        if (plan->files.files[i].path == NULL)
            return "files";
    return bad_ranks(plan, rank, ranks);
}

/* ---- Steps ---- */

/* Records of a generator, each with its size in front, and padded. */
static bool are_sized_records(struct pmap_view all)
{
    const char *at = all.data;
    uint64_t size;

    for (size_t left = all.size; left > 0; left -= sizeof size + pmap__padded((size_t)size)) {
        if (left < sizeof size)
            return false;
        memcpy(&size, at, sizeof size);
        if (size > left || sizeof size + pmap__padded((size_t)size) > left)
            return false;
        at += sizeof size + pmap__padded((size_t)size);
    }
    return true;
}

static bool is_there(const struct pmap__site *site, const struct pmap__split *split)
{
    return split->begin <= split->end && split->file < site->plan.files.n;
}

/* What is mapped, or looked at for a sample. */
static const char *bad_split(const struct pmap__step *step, struct pmap_view payload, const struct pmap__site *site)
{
    const struct pmap_mapreduce *what = site->plan.what;
    bool pieces = what->map || what->map_record;
    size_t record = (size_t)site->plan.record_size;

    switch (step->split_kind) {
    case PMAP__SPLIT_FILE:
        return !pieces ? "split_kind" : is_there(site, &step->split) ? NULL : "split";
    case PMAP__SPLIT_HERE:
        return !pieces || site->plan.ranks != 1 || record == 0 ? "split_kind" : step->split.begin > step->split.end ? "split" : NULL;
    case PMAP__SPLIT_BEHIND:
        return !pieces || record == 0 ? "split_kind" : payload.size % record ? "payload" : NULL;
    case PMAP__SPLIT_RECORDS:
        return !pieces ? "split_kind" : are_sized_records(payload) ? NULL : "payload";
    case PMAP__SPLIT_DATASET:
        return what->map_pair ? NULL : "split_kind";
    case PMAP__SPLIT_STORES:
        return step->kind == PMAP__STEP_SAMPLE ? NULL : "split_kind";
    }
    return "split_kind";
}

static bool lacks_borders(const struct pmap__site *site)
{
    return site->plan.ranges && site->borders == NULL;
}

static const char *bad_borders(struct pmap_view payload, const struct pmap__site *site)
{
    size_t n;

    if (!site->plan.ranges || site->borders)
        return "kind";
    return pmap__records_are_sound(payload.data, payload.size, &n) && n == site->plan.partitions - 1 ? NULL : "payload";
}

static const char *bad_reduce(const struct pmap__step *step, struct pmap_view payload, const struct pmap__site *site)
{
    const char *path = payload.data;

    if (step->partition >= site->plan.partitions || pmap__plan_owner(&site->plan, (size_t)step->partition) != site->rank)
        return "partition";
    if (site->plan.sink != PMAP__SINK_SHARED)
        return NULL;
    if (step->offset > step->total)
        return "offset";
    return payload.size && path[payload.size - 1] == '\0' ? NULL : "payload";
}

const char *pmap__step_bad_field(const struct pmap__step *step, struct pmap_view payload, const struct pmap__site *site)
{
    switch (step->kind) {
    case PMAP__STEP_SAMPLE:
        return bad_split(step, payload, site);
    case PMAP__STEP_MAP:
        return lacks_borders(site) ? "kind" : bad_split(step, payload, site);
    case PMAP__STEP_BORDERS:
        return bad_borders(payload, site);
    case PMAP__STEP_NEAR:
        return site->plan.what->near == NULL ? "kind" : payload.size % sizeof(struct pmap__split) ? "payload" : NULL;
    case PMAP__STEP_REDUCE:
        return bad_reduce(step, payload, site);
    case PMAP__STEP_FETCH:
        return step->partition < site->plan.partitions ? NULL : "partition";
    case PMAP__STEP_DRAIN:
    case PMAP__STEP_FLUSH:
    case PMAP__STEP_COMMIT:
    case PMAP__STEP_COUNTS:
    case PMAP__STEP_STOP:
    case PMAP__STEP_KEEP:
    case PMAP__STEP_END:
        return NULL;
    }
    return "kind";
}

/* ---- Answers ---- */

const char *pmap__answer_bad_field(const struct pmap__step *step, size_t payload_size, struct pmap_bytes answer)
{
    const char *bytes = answer.data;
    size_t n;

    switch (step->kind) {
    case PMAP__STEP_SAMPLE:
        return pmap__records_are_sound(bytes, answer.size, &n) ? NULL : "record";
    case PMAP__STEP_FETCH:
        if (answer.size == 0)
            return NULL;
        if (answer.size < sizeof(uint64_t))
            return "block";
        return pmap__records_are_sound(bytes + sizeof(uint64_t), answer.size - sizeof(uint64_t), &n) ? NULL : "record";
    case PMAP__STEP_NEAR:
        return answer.size == payload_size / sizeof(struct pmap__split) + 1 ? NULL : "size";
    case PMAP__STEP_COUNTS:
        return answer.size == sizeof(struct pmap__counts) ? NULL : "size";
    case PMAP__STEP_FLUSH: /* whose the partitions are, and how many, knows who takes it */
        return answer.size % sizeof(uint64_t) ? "size" : NULL;
    }
    return answer.size ? "size" : NULL;
}
