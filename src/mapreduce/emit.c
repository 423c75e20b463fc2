/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/emit_inside.h"

#include "mapreduce/hash.h"
#include "mapreduce/lean.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- Partitions ---- */

static void fail(struct pmap_emitter *out, enum pmap_status status, const char *text)
{
    struct pmap_error error = {0};

    out->failed = true;
    snprintf(error.text, sizeof error.text, "%s", text);
    pmap__site_fail_item(status, &error);
}

void pmap__emitter_lose(struct pmap_emitter *out, enum pmap_status status, const char *text)
{
    struct pmap_error error = {0};

    snprintf(error.text, sizeof error.text, "%s", text);
    if (out->role == PMAP__EMIT_STAGED || out->role == PMAP__EMIT_DEPOSIT)
        pmap__site_fail(out->site, status, &error);
}

static size_t partition_by_function(struct pmap_emitter *out, const void *key, size_t key_size)
{
    const struct pmap__plan *plan = &out->site->plan;
    size_t p = plan->what->partition((struct pmap_view){key, key_size}, (size_t)plan->partitions);
    char text[120];

    if (p < plan->partitions)
        return p;
    snprintf(text, sizeof text, "the partition function said %zu, but there are %zu partitions", p, (size_t)plan->partitions);
    fail(out, PMAP_EFAILED, text);
    pmap__emitter_lose(out, PMAP_EFAILED, text);
    return 0;
}

/* Its first eight bytes as a number that compares as they do, zeros behind its end; of shorter ones by loads that overlap. */
static uint64_t prefix_of(const void *key, size_t key_size)
{
    const unsigned char *bytes = key;
    uint64_t eight;
    uint32_t first, last;

    if (key_size >= 8) {
        memcpy(&eight, bytes, sizeof eight);
        return be64toh(eight);
    }
    if (key_size >= 4) {
        memcpy(&first, bytes, sizeof first);
        memcpy(&last, bytes + key_size - 4, sizeof last);
        return (uint64_t)be32toh(first) << 32 | (uint64_t)be32toh(last) << (64 - 8 * key_size);
    }
    if (key_size == 0)
        return 0;
    return (uint64_t)bytes[0] << 56 | (uint64_t)bytes[key_size / 2] << (56 - 8 * (key_size / 2)) |
           (uint64_t)bytes[key_size - 1] << (64 - 8 * key_size);
}

/* How many of n numbers, which ascend, are below x: without branches, for which way they go could not be foreseen. */
static size_t count_below(const uint64_t *numbers, size_t n, uint64_t x)
{
    const uint64_t *at = numbers;

    if (n == 0)
        return 0;
    for (size_t half; n > 1; n -= half) {
        half = n / 2;
        at += half & (0 - (size_t)(at[half - 1] < x)); /* all bits, or none: gcc makes a branch of ?: */
    }
    return (size_t)(at - numbers) + (*at < x);
}

/* How many borders are not above the key. */
static size_t partition_by_range(const struct pmap__site *site, const void *key, size_t key_size)
{
    size_t n = (size_t)site->plan.partitions - 1;
    uint64_t prefix = prefix_of(key, key_size);
    size_t p = count_below(site->border_prefixes, n, prefix);

    while (p < n && site->border_prefixes[p] == prefix &&
           pmap__key_compare(site->borders[p], site->border_sizes[p], key, key_size) <= 0)
        p++;
    return p;
}

static bool is_by_hash(const struct pmap__plan *plan)
{
    return !plan->ranges && (plan->what->partition == NULL || plan->plain);
}

/* hash: of the key, where partitions go by that. */
static size_t partition_of(struct pmap_emitter *out, const void *key, size_t key_size, uint64_t hash)
{
    const struct pmap__plan *plan = &out->site->plan;

    if (is_by_hash(plan))
        return pmap__hash_choose(hash, plan->partitions);
    return plan->ranges ? partition_by_range(out->site, key, key_size) : partition_by_function(out, key, key_size);
}

/* ---- Blocks ---- */

bool pmap__emitter_no_memory(struct pmap_emitter *out)
{
    out->failed = true;
    pmap__site_fail_item(PMAP_ENOMEM, NULL);
    return false;
}

static bool flush_block(struct pmap_emitter *out, size_t partition)
{
    struct pmap__block *block = out->blocks[partition];
    bool kept = false;

    if (block == NULL || block->used == 0)
        return true;
    out->blocks[partition] = NULL;
    bool well = pmap__shuffle_block(out->site, partition, block, &kept);
    if (kept) {
        block->used = block->records = 0;
        out->blocks[partition] = block;
    }
    if (!well)
        out->failed = true;
    return well;
}

/* The block of a partition is full, or there is none; NULL: the item has failed. */
static struct pmap__block *next_block(struct pmap_emitter *out, size_t partition, size_t size)
{
    if (!flush_block(out, partition))
        return NULL;
    struct pmap__block *block = out->blocks[partition];
    if (block && block->size < size) {
        pmap__block_free(out->site->budget, block);
        block = NULL;
    }
    if (block)
        return block;
    block = out->blocks[partition] = pmap__block_create(out->site->budget, size > out->site->block ? size : out->site->block);
    if (block == NULL)
        pmap__emitter_no_memory(out);
    else if (!pmap__shuffle_relieve(out->site, 0))
        out->failed = true;
    return out->failed ? NULL : block;
}

/* The block of a partition, with room for so many bytes; NULL: the item has failed. */
static inline struct pmap__block *block_for(struct pmap_emitter *out, size_t partition, size_t size)
{
    struct pmap__block *block = out->blocks[partition];

    return block && pmap__block_fits(block, size) ? block : next_block(out, partition, size);
}

/* Where values are combined pairs are lean, else they are records. */
static size_t write_pair(struct pmap_emitter *out, void *at, const void *key, size_t key_size, const void *value, size_t value_size)
{
    struct pmap__pair pair = {key, value, key_size, value_size, out->tag};

    if (out->value_size)
        return pmap__lean_write(at, key, key_size, value, value_size);
    out->tag++;
    pmap__record_write(at, &pair);
    return pmap__pair_size(key_size, value_size);
}

static void send_on(struct pmap_emitter *out, const void *key, size_t key_size, const void *value, size_t value_size)
{
    uint64_t hash = is_by_hash(&out->site->plan) ? pmap__hash_key(key, key_size) : 0;
    size_t partition = partition_of(out, key, key_size, hash);
    size_t room = out->value_size ? pmap__lean_room(key_size, value_size) : pmap__pair_size(key_size, value_size);
    struct pmap__block *block = out->failed ? NULL : block_for(out, partition, room);

    if (block == NULL)
        return;
    pmap__block_added(block, write_pair(out, pmap__block_end(block), key, key_size, value, value_size));
    if (out->out_bytes)
        out->out_bytes[partition] += pmap__format_size(&out->site->formatter, (struct pmap_view){key, key_size},
                                                       (struct pmap_view){value, value_size});
}

/* ---- From the front ---- */

/* So many together: their hashes do not wait for each other. */
static void pass_some(struct pmap_emitter *out, const struct pmap__short *places, size_t n, size_t each)
{
    const char *at = (const char *)places;
    uint64_t hashes[PMAP__FRONT_BATCH];

    for (size_t i = 0; i < n; i++) {
        const struct pmap__short *p = (const void *)(at + i * each);
        hashes[i] = p->size ? pmap__hash_words(p->k, p->size - 1) : 0;
    }
    for (size_t i = 0; i < n && !out->failed; i++) {
        const struct pmap__short *p = (const void *)(at + i * each);
        if (p->size == 0)
            continue;
        size_t key_size = p->size - 1, partition = partition_of(out, p->k, key_size, hashes[i]);
        struct pmap__block *block = out->failed ? NULL : block_for(out, partition, pmap__lean_room(key_size, out->value_size));
        if (block)
            pmap__block_added(block, pmap__lean_write_short(pmap__block_end(block), p, out->value_size));
    }
}

static void pass_on(void *owner, const struct pmap__short *places, size_t n, size_t each)
{
    struct pmap_emitter *out = owner;

    for (size_t i = 0; i < n && !out->failed; i += PMAP__FRONT_BATCH)
        pass_some(out, (const void *)((const char *)places + i * each), n - i < PMAP__FRONT_BATCH ? n - i : PMAP__FRONT_BATCH, each);
}

#define SAMPLED 256 /* bytes of a key: any bytes will do as a border */

_Static_assert(PMAP__SHORT_KEY == 16, "as in pmap_emit_i64 of pmap_mapreduce.h");

/* ---- Emitting ---- */

static bool is_acceptable(struct pmap_emitter *out, size_t key_size, size_t value_size)
{
    char text[160];

    if (key_size > PMAP_KEY_MAX)
        snprintf(text, sizeof text, "a key of %zu bytes was emitted; PMAP_KEY_MAX is %zu", key_size, PMAP_KEY_MAX);
    else if (out->role != PMAP__EMIT_REDUCE && out->value_size && value_size != out->value_size)
        snprintf(text, sizeof text, "a value of %zu bytes was emitted, but combine has values of %zu", value_size, out->value_size);
    else if (value_size > PMAP__VALUE_MAX)
        snprintf(text, sizeof text, "a value of %zu bytes was emitted; more than %zu cannot be", value_size, PMAP__VALUE_MAX);
    else
        return true;
    fail(out, PMAP_EFAILED, text);
    return false;
}

static void stage(struct pmap_emitter *out, const struct pmap__pair *pair)
{
    size_t size = pmap__pair_size(pair->key_size, pair->value_size);
    struct pmap__block *block = out->staged_last;

    if (block == NULL || size > block->size - block->used) {
        block = pmap__block_create(out->site->budget, size > out->site->block ? size : out->site->block);
        if (block == NULL) {
            pmap__emitter_no_memory(out);
            return;
        }
        *(out->staged_last ? &out->staged_last->next : &out->staged) = block;
        out->staged_last = block;
    }
    pmap__record_write((char *)block->bytes + block->used, pair);
    block->used += size;
}

bool pmap__sample_add(struct pmap__sample *s, const void *bytes, size_t bytes_size)
{
    struct pmap__pair key = {.key = bytes, .key_size = bytes_size < SAMPLED ? bytes_size : SAMPLED};
    size_t size = pmap__pair_size(key.key_size, 0);

    if (s->n >= s->most)
        return true;
    if (size > s->size - s->used) {
        size_t more = 2 * s->size + 16384;
        char *grown = realloc(s->bytes, more);
        if (grown == NULL)
            return false;
        s->bytes = grown;
        s->size = more;
    }
    pmap__record_write(s->bytes + s->used, &key);
    s->used += size;
    s->n++;
    return true;
}

void pmap__emitter_bring(struct pmap_emitter *out, const struct pmap__pair *pair)
{
    if (pmap__emitter_goes_through(out->front, pair))
        pmap__front_add(out->front, pair->key, pair->key_size, pair->value);
    else
        send_on(out, pair->key, pair->key_size, pair->value, pair->value_size);
}

static void take(struct pmap_emitter *out, const struct pmap__pair *pair)
{
    if (!pmap__emitter_goes_through(out->front, pair))
        pmap__emitter_count(out, pair);
    pmap__emitter_bring(out, pair);
}

static void emit_any(struct pmap_emitter *out, const struct pmap__pair *pair)
{
    if (out->failed || !is_acceptable(out, pair->key_size, pair->value_size))
        return;
    switch (out->role) {
    case PMAP__EMIT_MAP: take(out, pair); break;
    case PMAP__EMIT_STAGED: stage(out, pair); break;
    case PMAP__EMIT_DEPOSIT: pmap__emitter_deposit(out, pair); break;
    case PMAP__EMIT_SAMPLE:
        if (!pmap__sample_add(out->sample, pair->key, pair->key_size))
            pmap__emitter_no_memory(out);
        if (out->sample->n == out->sample->most)
            out->failed = true; /* that is enough */
        break;
    case PMAP__EMIT_REDUCE: out->failed = !out->put(out, pair); break;
    }
}

bool pmap__emitter_take(struct pmap_emitter *out, const struct pmap__pair *pair)
{
    emit_any(out, pair);
    return !out->failed;
}

void pmap_emit(struct pmap_emitter *out, const void *key, size_t key_size, const void *value, size_t value_size)
{
    emit_any(out, &(struct pmap__pair){key_size ? key : "", value_size ? value : "", key_size, value_size, 0});
}

void (pmap_emit_i64)(struct pmap_emitter *out, const void *key, size_t key_size, int64_t value)
{
    emit_any(out, &(struct pmap__pair){key_size ? key : "", &value, key_size, sizeof value, 0});
}

/* What the map function emits goes through it; NULL: through none. */
static struct pmap__front *front_of(const struct pmap_emitter *out)
{
    return out->role == PMAP__EMIT_MAP ? out->front : out->role == PMAP__EMIT_DEPOSIT ? out->fore : NULL;
}

void pmap_emit_waiting(struct pmap_emitter *out)
{
    size_t n = out->queue.n;

    out->queue.n = 0;
    if (!out->failed)
        pmap__front_add_waiting(front_of(out), out->queue.waiting, n);
}

void pmap_emit_f64(struct pmap_emitter *out, const void *key, size_t key_size, double value)
{
    pmap_emit(out, key, key_size, &value, sizeof value);
}

struct pmap_view pmap_emitter_arg(const struct pmap_emitter *out)
{
    return (struct pmap_view){out->site->plan.arg, (size_t)out->site->plan.arg_size};
}

struct pmap_source_of pmap_emitter_source(const struct pmap_emitter *out)
{
    return out->source;
}

/* ---- Splits ---- */

void pmap__emitter_piece(struct pmap_emitter *out, struct pmap_view piece, uint64_t offset)
{
    out->source.offset = offset;
    bool may_wait = front_of(out) && out->value_size == 8 && piece.size >= PMAP__SHORT_KEY;
    out->queue.from = may_wait ? piece.data : "";
    out->queue.size = may_wait ? piece.size - PMAP__SHORT_KEY + 1 : 0; /* so that 16 bytes can be read from where a key begins */
}

void pmap__emitter_piece_end(struct pmap_emitter *out)
{
    if (out->queue.n)
        pmap_emit_waiting(out);
    out->queue.size = 0;
}

void pmap__emitter_start(struct pmap_emitter *out, uint64_t split, enum pmap__emitter_role role)
{
    out->failed = false;
    out->tag = split << PMAP__TAG_PLACE;
    out->source = (struct pmap_source_of){.split = (size_t)split};
    out->role = role;
    out->queue.size = out->queue.n = 0;
    out->before = out->counts;
}

bool pmap__emitter_begin(struct pmap_emitter *out, uint64_t split, const struct pmap__claim *claim, uint64_t size)
{
    bool deposited = claim && out->site->deposits;

    pmap__emitter_start(out, split, deposited ? PMAP__EMIT_DEPOSIT : out->site->plan.staged ? PMAP__EMIT_STAGED : PMAP__EMIT_MAP);
    return !deposited || pmap__emitter_start_deposit(out, claim, size);
}

static void bring_on(struct pmap_emitter *out, const struct pmap__block *block)
{
    for (size_t at = 0; at < block->used && !out->failed; at += pmap__record_size((const char *)block->bytes + at)) {
        const void *record = (const char *)block->bytes + at;
        take(out, &(struct pmap__pair){pmap__record_key(record), pmap__record_value(record), pmap__record_key_size(record),
                                       pmap__record_value_size(record), 0});
    }
}

bool pmap__emitter_end(struct pmap_emitter *out, bool well)
{
    if (well && out->deposit)
        pmap__emitter_end_deposit(out);
    pmap__emitter_drop_deposit(out);
    while (out->staged) {
        struct pmap__block *block = out->staged;
        out->staged = block->next;
        if (well)
            bring_on(out, block);
        pmap__block_free(out->site->budget, block);
    }
    out->staged_last = NULL;
    if (well && out->failed)
        pmap__emitter_lose(out, PMAP_ENOMEM, "no memory");
    return !out->failed;
}

/* It is not needed any more, and large: stores shall have its memory, as it is given back. */
static void flush_front(struct pmap_emitter *out)
{
    for (size_t size = 1; size > 0 && !out->failed;) {
        size = pmap__front_shrink(out->front, out->share);
        pmap__budget_give(out->site->budget, size);
    }
    if (out->site->deposits == NULL) { /* else they were counted before they came here */
        out->counts.pairs += out->front->pairs;
        out->counts.pair_bytes += out->front->pair_bytes;
    }
    out->counts.combined += out->front->folded;
    pmap__emitter_free_front(out, out->front);
    out->front = NULL;
    pmap__emitter_free_front(out, out->fore);
    out->fore = NULL;
}

bool pmap__emitter_flush(struct pmap_emitter *out)
{
    out->failed = false;
    if (out->front)
        flush_front(out);
    for (size_t p = 0; p < out->site->plan.partitions && !out->failed; p++)
        flush_block(out, p);
    return !out->failed;
}

/* ---- Life ---- */

bool pmap__emitter_make_front(struct pmap_emitter *out, size_t size, pmap__front_pass_fn *pass, struct pmap__front **front)
{
    const struct pmap__site *site = out->site;

    if (site->front == 0)
        return true;
    if (pmap__front_create(size, &site->common.combine, pass, out, front) != PMAP_OK)
        return false;
    pmap__budget_take(out->site->budget, pmap__front_memory(*front));
    return true;
}

void pmap__emitter_free_front(struct pmap_emitter *out, struct pmap__front *front)
{
    if (front)
        pmap__budget_give(out->site->budget, pmap__front_memory(front));
    pmap__front_destroy(front);
}

static struct pmap_emitter *create(struct pmap__site *site, int thread)
{
    struct pmap_emitter *out = calloc(1, sizeof *out);

    if (out == NULL)
        return NULL;
    out->site = site;
    out->share = ((double)thread + (double)site->rank / (double)site->plan.ranks) / (double)site->n_emitters;
    out->value_size = site->common.combine.size;
    out->blocks = calloc((size_t)site->plan.partitions, sizeof *out->blocks);
    if (site->plan.sink == PMAP__SINK_SHARED)
        out->out_bytes = calloc((size_t)site->plan.partitions, sizeof *out->out_bytes);
    if (out->blocks == NULL || !pmap__emitter_make_front(out, site->front, pass_on, &out->front) || (site->plan.sink == PMAP__SINK_SHARED && out->out_bytes == NULL)) {
        pmap__emitter_destroy(out);
        return NULL;
    }
    return out;
}

struct pmap_emitter *pmap__emitter_of(struct pmap__site *site, int thread)
{
    if ((size_t)thread >= site->n_emitters)
        return NULL;
    if (site->emitters[thread] == NULL)
        site->emitters[thread] = create(site, thread);
    return site->emitters[thread];
}

void pmap__emitter_destroy(struct pmap_emitter *out)
{
    if (out == NULL)
        return;
    pmap__emitter_end(out, false);
    for (size_t p = 0; out->blocks && p < out->site->plan.partitions; p++)
        pmap__block_free(out->site->budget, out->blocks[p]);
    pmap__emitter_free_front(out, out->front);
    pmap__emitter_free_front(out, out->fore);
    free(out->blocks);
    free(out->out_bytes);
    free(out);
}
