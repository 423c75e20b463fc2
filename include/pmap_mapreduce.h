/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * Map-reduce on a pool: from files, arrays or a generator to sorted, reduced output, larger than memory.
 *
 *     static void words_of(struct pmap_view text, struct pmap_emitter *out)
 *     {
 *         for (each word of text)
 *             pmap_emit_i64(out, word, its_size, 1);
 *     }
 *     PMAP_MAPREDUCE(wordcount, .map = words_of, .combine = pmap_sum_i64, .value = PMAP_TYPE_I64);
 *
 *     pmap_mapreduce(pool, wordcount, PMAP_FILES("texts/"), .output = "counts.txt");
 *
 * It equals this serial program, where split and partition change nothing but who does what:
 *
 *     for each piece of the input, in order              map(piece) emits pairs (key, value)
 *     sort all pairs by key, bytes compared as by memcmp, and equal keys in the order in which they were emitted
 *     for each key                                       reduce(key, its values) emits pairs: the output
 *
 * With a combine function the values of a key are folded into one as they are emitted; without a reduce function the pairs,
 * or the folded values, are the output. The bytes of the output do not depend on threads, ranks, the size of splits, or the
 * memory that there is.
 *
 * In this order:
 *
 *   1. Pairs          struct pmap_view, pmap_emit, pmap_values_next, keys and values of several types
 *   2. The functions  map, combine, reduce, partition, border, near: PMAP_MAPREDUCE
 *   3. Input          PMAP_FILES, PMAP_RECORDS, PMAP_RECORD_GENERATOR, PMAP_DATASET
 *   4. The call       pmap_mapreduce, its options and its counters
 *   5. Datasets       output that stays where it is, for the next call
 *
 * Errors, ownership and threads are as in pmap.h. A call is made on the root, by any thread that may wait there, and returns
 * when all is done. The functions run on all threads of all ranks, and are called with data of the library, which is
 * theirs until they return. A map function must not do anything but emit: it may be called again for the same records, after a failure
 * (.retries), or beforehand, for a 64th of the input, to find ranges of keys: then what it emits is only looked at, and the split that
 * pmap_emitter_source names is PMAP_NO_ITEM. */
#ifndef PMAP_MAPREDUCE_H
#define PMAP_MAPREDUCE_H

#include <pmap.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- 1. Pairs ---------------------------------------------------------------------------------------- */

/* Bytes of somebody else's. data is not NULL, and aligned to 8 bytes where it is a value; size may be 0. */
struct pmap_view {
    const void *data;
    size_t size;
};

/* Where a function's pairs go: of a map function, to the partition of the key; of a reduce function, to the output. */
struct pmap_emitter;

/* Emit a pair; both are copied. A key has up to PMAP_KEY_MAX bytes and may have none; a value any number. Keys are compared as bytes.
 * With a combine function the value must have the declared size. What cannot be taken (a key too long, no memory, a full disk) fails
 * the split as pmap_fail does. */
#define PMAP_KEY_MAX ((size_t)0xffffff)
void pmap_emit(struct pmap_emitter *out, const void *key, size_t key_size, const void *value, size_t value_size);

/* The same for a value of a type. */
void pmap_emit_f64(struct pmap_emitter *out, const void *key, size_t key_size, double value);
void pmap_emit_i64(struct pmap_emitter *out, const void *key, size_t key_size, int64_t value);

/* pmap_emit_i64 for a key that lies in the piece that is being mapped, and stays as it is there: where values are combined such pairs
 * wait where they are, without a call, until there are enough of them to be worked on together. */
struct pmap_waiting {
    const char *key;
    size_t key_size;
    int64_t value;
};
enum { PMAP_WAITING = 64 };
struct pmap_queue { /* the beginning of every emitter */
    const char *from; /* keys that begin in these bytes may wait */
    size_t size;
    size_t n;         /* that do */
    struct pmap_waiting waiting[PMAP_WAITING];
};
void pmap_emit_waiting(struct pmap_emitter *out);

#ifndef __cplusplus
static inline void pmap__emit_i64(struct pmap_emitter *out, const void *key, size_t key_size, int64_t value)
{
    struct pmap_queue *q = (struct pmap_queue *)out;

    if ((size_t)((const char *)key - q->from) >= q->size || key_size > 16) {
        pmap_emit_i64(out, key, key_size, value);
        return;
    }
    q->waiting[q->n] = (struct pmap_waiting){(const char *)key, key_size, value};
    if (++q->n == PMAP_WAITING)
        pmap_emit_waiting(out);
}
#define pmap_emit_i64(out, key, key_size, value) pmap__emit_i64((out), (key), (key_size), (value))
#endif

/* Integers and doubles as keys whose bytes sort like the numbers (big-endian, sign flipped; NaN last, and there is one; -0 before 0). A key
 * that has not 8 bytes is the number 0. */
struct pmap_key8 {
    unsigned char bytes[8];
};
struct pmap_key8 pmap_key_i64(int64_t number);
struct pmap_key8 pmap_key_u64(uint64_t number);
struct pmap_key8 pmap_key_f64(double number);
int64_t pmap_i64_key(struct pmap_view key);
uint64_t pmap_u64_key(struct pmap_view key);
double pmap_f64_key(struct pmap_view key);

/* A value as a number; it must have 8 bytes (0 otherwise). */
int64_t pmap_view_i64(struct pmap_view value);
double pmap_view_f64(struct pmap_view value);

/* The values of a key, one after the other, in the order in which they were emitted (with a combine function there is one). *value
 * is there until the next call. False: there are no more, or the call must end, for it failed. */
struct pmap_values;
bool pmap_values_next(struct pmap_values *values, struct pmap_view *value);

/* ---- 2. The functions -------------------------------------------------------------------------------- */

/* A run of whole records of one split, in order, the newlines among them: with .record_size or PMAP_RECORDS whole records side by side;
 * of PMAP_DATASET and PMAP_RECORD_GENERATOR one record. Splits come in any order and at the same time. pmap_fail() fails the split. */
typedef void pmap_map_fn(struct pmap_view piece, struct pmap_emitter *out);

/* One record, without its newline. */
typedef void pmap_map_record_fn(struct pmap_view record, struct pmap_emitter *out);

/* One pair of a former call's dataset. */
typedef void pmap_map_pair_fn(struct pmap_view key, struct pmap_view value, struct pmap_emitter *out);

/* Fold a value into an accumulator, both of .value_size bytes: the order in which that happens is open, so the operation must be
 * associative and commutative exactly, as sums of integers are and sums of doubles are not. Reduce those. It is called on any thread
 * of the library's, and may call nothing of pmap but pmap_fail. */
typedef void pmap_combine_fn(void *acc, const void *value);
void pmap_sum_i64(void *acc, const void *value); /* wraps around */
void pmap_min_i64(void *acc, const void *value);
void pmap_max_i64(void *acc, const void *value);
void pmap_min_f64(void *acc, const void *value); /* NaNs are passed over; -0 is less than 0 */
void pmap_max_f64(void *acc, const void *value);

/* All values of one key. Keys come in order within a partition. */
typedef void pmap_reduce_fn(struct pmap_view key, struct pmap_values *values, struct pmap_emitter *out);

/* Which of n partitions a key belongs to: below n, and the same wherever it is called. */
typedef size_t pmap_partition_fn(struct pmap_view key, size_t n);

/* The border of a record in size bytes of a file that begin anywhere: how many bytes there are up to the beginning of the first
 * record that begins behind data (not at it; size, if it begins right behind these bytes), or 0 if none does, or if that cannot
 * be told yet: it is asked again with more bytes, unless these are the last of the file. For lines it would be
 *
 *     const char *newline = memchr(data, '\n', size);
 *     return newline ? (size_t)(newline - data) + 1 : 0;
 *
 * Records begin where it says so when it is asked at the beginning of the file, then at the record it found, and so on. No rank reads a
 * whole file to do that; what they do amounts to it if
 *
 *   - the answer depends on the record that ends there and the one that begins there, not on what is behind;
 *   - more bytes change nothing but a 0;
 *   - asked at any other byte, and then at each place it found, it finds the records from PMAP_BORDER_CONTEXT bytes on at the latest.
 *
 * "A record begins at '>' behind a newline" is such a border, and "behind an empty line", and "at a line that begins with a date".
 * "Behind a newline that is not in quotes" is none: the quotes may have begun anywhere. */
#define PMAP_BORDER_CONTEXT ((size_t)4096)
typedef size_t pmap_border_fn(const char *data, size_t size);

/* Is this part of a file near this rank? Called on each rank, once for each split. Others' splits are taken when none is left
 * that is near. */
typedef bool pmap_near_fn(const char *path, uint64_t offset);

/* How the bytes of a key or a value are written as text. Keys of numbers are as pmap_key_i64 … make them. */
enum pmap_type {
    PMAP_TYPE_BYTES, /* as they are */
    PMAP_TYPE_I64,
    PMAP_TYPE_U64,
    PMAP_TYPE_F64, /* as few digits as say the same number again, as by %.17g at most */
    PMAP_TYPE_NONE /* not written, in no format */
};

/* A map-reduce: the functions that all ranks must know before they meet. Declared with PMAP_MAPREDUCE at file scope. */
struct pmap_mapreduce {
    struct pmap_task task; /* the library's: how ranks find it */
    pmap_map_fn *map;      /* exactly one of these three */
    pmap_map_record_fn *map_record;
    pmap_map_pair_fn *map_pair;
    pmap_combine_fn *combine; /* and these as wanted */
    size_t value_size;        /* of combine: bytes of a value, up to 4096; 0: 8 */
    pmap_reduce_fn *reduce;
    pmap_partition_fn *partition;
    pmap_border_fn *border;
    pmap_near_fn *near;
    enum pmap_type key, value; /* of the output */
};

/* PMAP_MAPREDUCE(name, .map = …, …); */
#define PMAP_MAPREDUCE(name_, ...)                                                                                     \
    static struct pmap_mapreduce name_##_mapreduce = {                                                                 \
        .task = {.name = #name_, .signature = "map-reduce", .where = __FILE__, .arguments = 1, .bytes = true,          \
                 .args_size = sizeof(struct pmap_bytes), .result_size = sizeof(struct pmap_bytes), .run = pmap_mapreduce_run}, \
        __VA_ARGS__};                                                                                                  \
    __attribute__((constructor)) static void name_##__register(void) { pmap_task_register(&name_##_mapreduce.task); }  \
    struct pmap_mapreduce /* takes the semicolon that ends the declaration */

/* What the functions can ask: the bytes of .arg, and where the piece comes from. */
struct pmap_source_of {
    const char *path; /* NULL: no file */
    size_t split;     /* from 0; PMAP_NO_ITEM: this is a sample */
    uint64_t offset;  /* of the piece in the file (uncompressed), of the record in the array: in bytes; in records of a generator */
    size_t file;      /* which of the files, from 0, in the order of the input */
};
struct pmap_view pmap_emitter_arg(const struct pmap_emitter *out);
struct pmap_source_of pmap_emitter_source(const struct pmap_emitter *out);

/* ---- 3. Input ---------------------------------------------------------------------------------------- */

/* Writes the next record into *record, borrowed until the next call or the end; false: there are no more. Called on the caller's
 * thread. */
typedef bool pmap_record_source_fn(void *state, struct pmap_view *record);

struct pmap_dataset;

struct pmap_input {
    enum pmap_input_kind { PMAP_INPUT_NONE, PMAP_INPUT_FILES, PMAP_INPUT_RECORDS, PMAP_INPUT_GENERATOR, PMAP_INPUT_DATASET } kind;
    const char *const *paths; /* files: ends with NULL */
    const void *records;      /* an array on the root, */
    size_t record_size, n;    /* of so many elements of so many bytes */
    pmap_record_source_fn *next;
    void *state;
    struct pmap_dataset *dataset;
};

/* Files that all ranks can read by these paths; a directory stands for the files in it (not in those below; none that begins with a
 * dot), a glob for what matches, each in the order of strcmp. A path that names nothing is an error. *.gz and *.zst are read
 * uncompressed. */
#define PMAP_FILES(...) ((struct pmap_input){.kind = PMAP_INPUT_FILES, .paths = (const char *const[]){__VA_ARGS__, NULL}})
/* The same from an array of paths that ends with NULL. */
#define PMAP_PATHS(array) ((struct pmap_input){.kind = PMAP_INPUT_FILES, .paths = (array)})
/* The elements of an array of the root's. */
#define PMAP_RECORDS(array, count) \
    ((struct pmap_input){.kind = PMAP_INPUT_RECORDS, .records = (array), .record_size = sizeof *(array), .n = (count)})
#define PMAP_RECORD_GENERATOR(function, its_state) \
    ((struct pmap_input){.kind = PMAP_INPUT_GENERATOR, .next = (function), .state = (its_state)})
#define PMAP_DATASET(kept) ((struct pmap_input){.kind = PMAP_INPUT_DATASET, .dataset = (kept)})

/* ---- 4. The call ------------------------------------------------------------------------------------- */

enum pmap_format {
    PMAP_FORMAT_TEXT,   /* key, separator, value, newline; no separator if one of them is of PMAP_TYPE_NONE. The others know no other types */
    PMAP_FORMAT_BINARY, /* size of the key and of the value as 8 bytes each, little-endian, then key and value */
    PMAP_FORMAT_RAW     /* key and value, nothing between */
};

enum pmap_order {
    PMAP_ORDER_HASH,  /* partitions by hash of the key, or by the partition function. Each is in order of its keys; what goes to one file or
                       * to deliver is sorted once more, by the keys that reduce emits */
    PMAP_ORDER_RANGES /* partitions are ranges of the keys that map emits, found by sampling: one after the other they are in order */
};

/* One record of output on the root, in order; false: enough, the call ends with PMAP_ECANCELLED. */
typedef bool pmap_deliver_fn(void *user, struct pmap_view key, struct pmap_view value);

struct pmap_mapreduce_stats {
    size_t splits;
    size_t splits_found;                          /* of them, those that a former run had mapped: their pairs were in the journal's files */
    uint64_t bytes_in;                            /* read by map functions, uncompressed; these and the next are as if all had been mapped now */
    uint64_t pairs, pair_bytes;                   /* emitted by them: keys and values */
    uint64_t combined;                            /* pairs that were folded into others before they left their thread */
    uint64_t shuffled_bytes;                      /* went to another rank */
    uint64_t spills, spilled_bytes, spilled_disk; /* to scratch: how often, bytes, and compressed */
    uint64_t merges;                              /* runs that were merged into longer ones, for there were too many */
    uint64_t keys;                                /* distinct */
    uint64_t largest_values, largest_bytes;       /* of the key with most values: how many, and their bytes; */
    char largest_key[64];                         /* its first bytes, up to a zero byte */
    uint64_t records_out, bytes_out;
    uint64_t partition_max, partition_mean;       /* bytes in a partition: skew is their ratio */
    uint64_t memory_limit, memory_peak;           /* of the rank with most: what map-reduce may hold and did */
    double map_seconds, flush_seconds, reduce_seconds, output_seconds; /* wall time of the phases */
};

struct pmap_mapreduce_options {
    size_t size; /* sizeof(struct pmap_mapreduce_options); the macro sets it */
    struct pmap_input input;
    struct pmap_error *error; /* NULL: what goes wrong is printed on stderr */

    /* Input */
    size_t split_size;  /* bytes of a file, or an array, that one thread takes at once; 0: 4 MiB, or less for small input */
    size_t record_size; /* of files: records have so many bytes each, and no newlines between; 0: lines, or .border */
    size_t record_max;  /* a longer record is an error; 0: 16 MiB. Memory for it is taken only if it is needed */
    const void *arg;    /* a copy goes to every rank, for pmap_emitter_arg */
    size_t arg_size;

    /* Output: at most one of the first three; none: only the counters and what the functions do themselves */
    const char *output;       /* ends with '/': a directory for files part-00000 …, one per partition; else one file */
    pmap_deliver_fn *deliver; /* a function on the root, on the caller's thread, */
    void *user;               /* and what it is given */
    struct pmap_dataset **keep;
    enum pmap_format format;
    const char *separator;    /* of text; NULL: a tab */
    enum pmap_order order;
    size_t partitions;        /* 0: 64. What is in which depends on this and on keys alone, never on ranks */

    /* How */
    size_t memory;       /* bytes that map-reduce holds on a rank; 0: half of the rank's share of the node */
    const char *scratch; /* directory for what does not fit, on each rank; NULL: $TMPDIR, or /tmp */
    int retries;         /* run a split, or a partition, that failed again so often */
    double retry_delay;  /* seconds */
    int priority;
    uint64_t seed;
    struct pmap_mapreduce_stats *stats; /* filled if the call succeeds */
    bool verbose;        /* print them on stderr, a line for each phase */
    const char *name;    /* for the journal of the pool */
    const char *where;   /* the line of the program that makes this call; the macro sets it */
    bool whole;          /* the journal knows of this call only that it is finished, not of its splits, which costs nothing */
};

/* Run a map-reduce. If it fails, files of a former output are as they were (but for a directory in which some file cannot get its name
 * after others did: the text says which).
 *
 * In a pool with a journal (pmap.h) a call with .output, from files or an array, is not run again by the next run of the program if it
 * has succeeded, its input is as it was (paths, sizes and times of files; the bytes of an array), what it says about the output is the
 * same, and the output files are as it left them. stats are then those of that time.
 *
 * One that was cut short goes on: what was emitted of splits that were done is in files beside the journal, in a directory that all
 * ranks must see, until the call has succeeded. The next run maps the other splits, on any number of ranks and threads. A split is the same if
 * its file is (path, size and time; of an array or a generator: its bytes), where it begins and ends, the call (.name, or the line of the
 * program, and .seed), .arg, .record_size and .record_max, and which functions there are; not what they do: see .journal_version of pmap_create.
 * Files that are missing or damaged cost nothing but their splits. The price is that all that is emitted, after combining, is written and
 * compressed once: a word count, which does little else, takes 1.7 times its CPU. .whole does without. doc/journal.md tells more.
 *
 * PMAP_OK; PMAP_EJOURNAL; PMAP_EFAILED: a function called pmap_fail, or what it emitted could not be taken: the text names the split, its file and
 * offset; PMAP_EINVAL: an argument makes no sense, a file cannot be read or is no whole .gz, a record is too long, a directory cannot
 * be written, a disk is full: the text names it; PMAP_ENOMEM; PMAP_ECANCELLED: pmap_terminate, or deliver said so; PMAP_ECLOSED;
 * PMAP_EDEADLOCK: called inside a task. */
#define pmap_mapreduce(pool, name, ...)                    \
    pmap_mapreduce_with((pool), &name##_mapreduce,         \
                        &(struct pmap_mapreduce_options){.size = sizeof(struct pmap_mapreduce_options), .where = PMAP__HERE, \
                                                         .input = __VA_ARGS__})
enum pmap_status pmap_mapreduce_with(struct pmap_pool *pool, struct pmap_mapreduce *mapreduce,
                                     const struct pmap_mapreduce_options *options);

/* ---- 5. Datasets ------------------------------------------------------------------------------------- */

/* Output that was kept: partitions of pairs, each where it was made, in memory or in scratch. Any number of later calls read it. Free it
 * before the pool is destroyed; calls that read it just then keep it until they end. NULL is fine. */
void pmap_dataset_free(struct pmap_dataset *dataset);
uint64_t pmap_dataset_records(const struct pmap_dataset *dataset);
uint64_t pmap_dataset_bytes(const struct pmap_dataset *dataset);

/* The run function of every struct pmap_mapreduce; not for users. */
void pmap_mapreduce_run(size_t n, const void *args, void *results, size_t *at);

#ifdef __cplusplus
}
#endif

#endif
