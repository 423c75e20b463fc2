/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * pmap-sort: lines, or records of a fixed size, in the order of their bytes. The keys are all there is to do: as ranges they come out
 * in order, and where nothing is folded every rank writes its part of the output itself. */
#include "tools/tool.h"

static size_t record_size, key_size;
static bool unique;

/* ---- Lines ---- */

static void line(struct pmap_view line, struct pmap_emitter *out)
{
    pmap_emit(out, line.data, line.size, NULL, 0);
}
PMAP_MAPREDUCE(sort, .map_record = line, .value = PMAP_TYPE_NONE);

/* A combine function that forgets makes of equal keys one. */
static void forget(void *acc, const void *value)
{
    (void)acc;
    (void)value;
}

static void line_once(struct pmap_view line, struct pmap_emitter *out)
{
    pmap_emit(out, line.data, line.size, "", 1);
}
PMAP_MAPREDUCE(sort_unique, .map_record = line_once, .combine = forget, .value_size = 1, .value = PMAP_TYPE_NONE);

/* ---- Records ---- */

struct shape {
    size_t record, key;
};

static void records(struct pmap_view piece, struct pmap_emitter *out)
{
    const struct shape *shape = pmap_emitter_arg(out).data;
    const char *at = piece.data;

    for (const char *end = at + piece.size; at < end; at += shape->record)
        pmap_emit(out, at, shape->key, at + shape->key, shape->record - shape->key);
}
PMAP_MAPREDUCE(sort_records, .map = records);

/* ---- The command ---- */

static const char *check(size_t operands)
{
    (void)operands;
    if (key_size && record_size == 0)
        return "--key-size is for records: give --record-size, too";
    if (key_size > record_size)
        return "--key-size: a key is no longer than its record";
    return unique && record_size ? "--unique is for lines, not with --record-size" : NULL;
}

static int run(struct pmap_pool *pool, const char *const paths[])
{
    struct shape shape = {record_size, key_size ? key_size : record_size};
    struct pmap_mapreduce_options o = {.input = PMAP_PATHS(paths), .order = PMAP_ORDER_RANGES};

    if (record_size) {
        o.record_size = record_size;
        o.format = PMAP_FORMAT_RAW;
        o.arg = &shape;
        o.arg_size = sizeof shape;
    }
    return tool_mapreduce(pool, record_size ? &sort_records_mapreduce : unique ? &sort_unique_mapreduce : &sort_mapreduce, o) ? 0 : 1;
}

static const struct tool_option options[] = {
    {"unique", 'u', TOOL_FLAG, &unique, NULL, "of equal lines only one", 0, 0},
    {"record-size", 0, TOOL_SIZE, &record_size, "SIZE", "records of so many bytes, not lines", 0, 0},
    {"key-size", 0, TOOL_SIZE, &key_size, "SIZE", "the key is the first so many bytes of a record (all)", 0, 0},
    {0},
};

int main(int argc, char *argv[])
{
    static const struct tool tool = {
        .name = "pmap-sort", .usage = "[OPTION]... FILE...", .options = options, .operands = 1, .check = check, .run = run, .failure = 1,
        .about = "Sort the lines of the files by their bytes, as LC_ALL=C sort does, or records of a fixed size;\n"
                 "records with equal keys stay in their order. A directory stands for its files."};
    return tool_main(&tool, argc, argv);
}
