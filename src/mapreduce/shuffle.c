/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The shuffle: blocks of records on their way to the rank that owns their partition.
 *
 * A letter DATA has a block's records as its body; its words are the partition and how many records. The rank that gets it puts it
 * into the store, on the thread that steps the loop, and answers ACK with the size. The sender counts what is under way to each rank,
 * and waits while that and the next block together exceed the window. A thread that is lent to its loop steps it while it waits, so
 * what arrives is put into stores meanwhile; on other ranks the loop has a thread of its own.
 */
#include "mapreduce/site.h"

#include "base/clock.h"
#include "base/error.h"
#include "mapreduce/sound.h"

#include <sched.h>
#include <stdlib.h>
#include <time.h>

#define ACK UINT64_MAX /* in place of a partition */

/* ---- Sending ---- */

/* Take room in the window of a rank; a block larger than it goes alone. */
static bool take_room(struct pmap__site *site, int rank, size_t size)
{
    size_t under_way = atomic_load(&site->under_way[rank]);

    while (under_way == 0 || (size <= site->window && under_way <= site->window - size))
        if (atomic_compare_exchange_weak(&site->under_way[rank], &under_way, under_way + size))
            return true;
    return false;
}

/* Until ready(site, rank, size), or, unless whatever, the item is cancelled or something has failed. */
static bool wait_until(struct pmap__site *site, bool (*ready)(struct pmap__site *, int, size_t), int rank, size_t size, bool whatever)
{
    const struct pmap__place *place = NULL;

    pmap__item_place(&place, NULL);
    while (!ready(site, rank, size)) {
        if (!whatever && (pmap__site_check(site) || pmap__item_cancelled()))
            return false;
        if (place && place->attend) {
            place->attend(place->owner);
            sched_yield();
            continue;
        }
        struct timespec until = pmap__date_in(PMAP__MS);
        pthread_mutex_lock(&site->lock);
        bool now = ready(site, rank, size);
        if (!now)
            pthread_cond_timedwait(&site->changed, &site->lock, &until);
        pthread_mutex_unlock(&site->lock);
        if (now)
            break;
    }
    return true;
}

static bool post_letter(struct pmap__site *site, int rank, uint64_t partition, uint64_t number, struct pmap__block *block)
{
    struct pmap__letter *letter = malloc(sizeof *letter);

    if (letter == NULL)
        return false;
    *letter = (struct pmap__letter){.rank = rank, .number = site->resident.number, .words = {partition, number},
                                    .body = block ? block->bytes : NULL, .size = block ? block->used : 0, .memory = block};
    pmap__post_send(site->post, letter);
    return true;
}

static bool send_block(struct pmap__site *site, int rank, size_t partition, struct pmap__block *block)
{
    size_t size = block->used;

    if (!wait_until(site, take_room, rank, size, false)) {
        pmap__block_free(site->budget, block);
        return false;
    }
    atomic_fetch_add(&site->shuffled, size);
    pmap__budget_give(site->budget, sizeof *block + block->size - size); /* the rest when it is acknowledged */
    if (post_letter(site, rank, partition, block->records, block))
        return true;
    pmap__budget_take(site->budget, sizeof *block + block->size - size);
    pmap__block_free(site->budget, block);
    atomic_fetch_sub(&site->under_way[rank], size);
    pmap__site_fail_item(PMAP_ENOMEM, NULL);
    return false;
}

/* The stores of the site before first: they are the larger ones, and are read once more only. */
static enum pmap_status relieve(struct pmap__site *site, size_t room, struct pmap_error *error)
{
    enum pmap_status status = PMAP_OK;

    if (site->before)
        status = pmap__stores_relieve(site->before->stores, (size_t)site->before->plan.partitions, room, error);
    if (status == PMAP_OK)
        status = pmap__stores_relieve(site->stores, (size_t)site->plan.partitions, room, error);
    return status;
}

bool pmap__shuffle_relieve(struct pmap__site *site, size_t room)
{
    struct pmap_error error = {0};
    enum pmap_status status = relieve(site, room, &error);

    if (status != PMAP_OK) {
        pmap__site_fail(site, status, &error);
        pmap__site_fail_item(status, &error);
    }
    return status == PMAP_OK;
}

/* Combine functions are called under the lock of a store, and perhaps where no item runs: so they have a role of their own, in which
 * pmap_fail is noted, and pmap_cancelled does not begin to handle letters. */

/* Add a block to a store of this rank. */
static enum pmap_status add(struct pmap__site *site, size_t partition, struct pmap__block *block, struct pmap_error *error)
{
    struct pmap__run run;
    struct pmap_error said;

    error->text[0] = '\0';
    pmap__role_begin(&run, "the combine function", site->place, 0, &said);
    enum pmap_status status = pmap__store_add(&site->stores[partition], block, error);
    if (status == PMAP_OK)
        status = relieve(site, 0, error);
    pmap__role_end(&run);
    if (status == PMAP_OK && said.status != PMAP_OK)
        *error = said;
    return status == PMAP_OK ? said.status : status;
}

static enum pmap_status take_some_up(struct pmap__site *site, size_t partition, size_t share, size_t *grows, struct pmap_error *error)
{
    struct pmap__run run;
    struct pmap_error said;

    error->text[0] = '\0';
    pmap__role_begin(&run, "the combine function", site->place, 0, &said);
    enum pmap_status status = pmap__store_take_up(&site->stores[partition], share, grows, error);
    pmap__role_end(&run);
    if (status == PMAP_OK && said.status != PMAP_OK)
        *error = said;
    return status == PMAP_OK ? said.status : status;
}

bool pmap__shuffle_take_up(struct pmap__site *site, size_t partition, size_t share, struct pmap__site *last)
{
    size_t grows = 0;
    do {
        struct pmap_error error;
        enum pmap_status status = take_some_up(site, partition, share, &grows, &error);
        if (status != PMAP_OK) {
            pmap__site_fail(site, status, &error); /* some of it is lost: it cannot be reduced again */
            pmap__site_fail_item(status, &error);
            return false;
        }
        if (!pmap__shuffle_relieve(last, grows))
            return false;
    } while (grows > 0 && !pmap__item_cancelled());
    return true;
}

bool pmap__shuffle_block(struct pmap__site *site, size_t partition, struct pmap__block *block, bool *kept)
{
    int owner = pmap__plan_owner(&site->plan, partition);
    struct pmap_error error;

    if (pmap__site_check(site)) {
        pmap__block_free(site->budget, block);
        return false;
    }
    if (owner != site->rank)
        return send_block(site, owner, partition, block);
    *kept = site->common.combine.size > 0;
    enum pmap_status status = add(site, partition, block, &error);
    if (status != PMAP_OK) {
        pmap__site_fail(site, status, &error); /* some of the split is in stores: it cannot be run again */
        pmap__site_fail_item(status, &error);
    }
    return status == PMAP_OK;
}

static bool nothing_under_way(struct pmap__site *site, int unused, size_t unused_too)
{
    (void)unused;
    (void)unused_too;
    for (size_t rank = 0; rank < site->plan.ranks; rank++)
        if (atomic_load(&site->under_way[rank]) && !atomic_load(&site->lost[rank]))
            return false;
    return true;
}

bool pmap__shuffle_settle(struct pmap__site *site, bool whatever)
{
    return wait_until(site, nothing_under_way, 0, 0, whatever);
}

void pmap__shuffle_lost(struct pmap__resident *resident, int rank)
{
    struct pmap__site *site = (struct pmap__site *)resident; /* its first member */
    struct pmap_error error;

    if ((uint64_t)rank >= site->plan.ranks || site->plan.threads[rank] == 0)
        return;
    pmap__error_set(&error, PMAP_ELOST, "rank %d died, and with it what it had of this map-reduce", rank);
    atomic_store(&site->lost[rank], true);
    pmap__site_fail(site, PMAP_ELOST, &error);
}

/* ---- Receiving ---- */

static void acknowledged(struct pmap__site *site, int rank, size_t size)
{
    if (size > atomic_load(&site->under_way[rank])) { /* that much was never sent: nobody could count any more */
        site->post->port->ops->abort(site->post->port, "pmap: received a letter with a bad size acknowledged");
        return;
    }
    pthread_mutex_lock(&site->lock);
    atomic_fetch_sub(&site->under_way[rank], size);
    pthread_cond_broadcast(&site->changed);
    pthread_mutex_unlock(&site->lock);
    pmap__budget_give(site->budget, size);
}

/* The records of a letter as a block for the store. */
static void put_into_store(struct pmap__site *site, const struct pmap__letter *letter)
{
    const char *bad = pmap__block_bad_field(site, letter);
    struct pmap__block *block = letter->body && bad == NULL ? pmap__block_create(site->budget, letter->size) : NULL;
    struct pmap_error error = {0};
    enum pmap_status status = PMAP_ENOMEM;

    if (bad)
        status = pmap__error_set(&error, PMAP_EMISMATCH, "pmap: received a letter from rank %d with a bad %s", letter->rank, bad);
    if (block) {
        memcpy(block->bytes, letter->body, letter->size);
        block->used = letter->size;
        block->records = (size_t)letter->words[1];
        status = add(site, (size_t)letter->words[0], block, &error);
        if (site->common.combine.size)
            pmap__block_free(site->budget, block);
    }
    if (status != PMAP_OK)
        pmap__site_fail(site, status, &error);
}

void pmap__shuffle_arrived(struct pmap__resident *resident, struct pmap__letter *letter)
{
    struct pmap__site *site = (struct pmap__site *)resident; /* its first member */
    size_t size = letter->size;
    int rank = letter->rank;

    if (letter->words[0] == ACK) {
        acknowledged(site, rank, (size_t)letter->words[1]);
    } else {
        if (!atomic_load(&site->failed))
            put_into_store(site, letter);
        if (!post_letter(site, rank, ACK, size, NULL)) /* the other rank would wait for ever */
            site->post->port->ops->abort(site->post->port, "pmap: no memory to acknowledge a letter");
    }
    pmap__letter_free(letter);
}
