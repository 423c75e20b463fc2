/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "mapreduce/site.h"

#include "base/error.h"
#include "mapreduce/emit.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- Sizes ---- */

/* Bytes of all fronts of a rank, and of one. A front pays as long as a look into it costs less than a way to a table, even far beyond
 * the cache that a core has to itself; but all threads have one, and keys that are in all of them are there several times. Of two
 * threads they leave 64 MiB, and three times the keys, room for all else. */
#define FRONTS ((uint64_t)35 << 20)
#define FRONT_MAX ((size_t)35 << 19)

static size_t between(uint64_t size, size_t least, size_t most)
{
    return size < least ? least : size > most ? most : (size_t)size;
}

/* How the budget is shared out. An eighth is for the blocks of emitters, an eighth for letters; where values are combined a half is for
 * fronts, for what memory there is does most there, a sixteenth for blocks, and an eighth for those of piles; what is left is for
 * stores. No block is so large that its tail would not stay in cache, nor so small that its header shows. */
static void decide_sizes(struct pmap__site *site, uint64_t limit)
{
    uint64_t threads = site->n_emitters, partitions = site->plan.partitions;
    bool combined = site->common.combine.size > 0;

    site->block = between(limit / (combined ? 16 : 8) / threads / partitions, 1 << 10, (size_t)(combined ? 16 : 64) << 10);
    site->front = between((limit / 2 < FRONTS ? limit / 2 : FRONTS) / threads, 16 << 10, FRONT_MAX);
    if (site->common.combine.size == 0 || site->common.combine.size > PMAP__SHORT_VALUE)
        site->front = 0; /* there is none, or entries would be too few */
    site->common.run_block = between(limit / 512, 4 << 10, (size_t)128 << 10);
    site->common.pile.block = between(limit / 8 / partitions, 1 << 10, site->common.run_block);
    site->common.pile.value_size = site->common.combine.size;
    site->window = between(limit / 8 / site->plan.ranks, 2 * site->block, (size_t)8 << 20);
}

/* ---- Life ---- */

static void evicted(struct pmap__resident *resident)
{
    pmap__site_destroy((struct pmap__site *)resident); /* its first member */
}

static enum pmap_status make_arrays(struct pmap__site *site)
{
    size_t n = (size_t)site->plan.partitions;

    site->stores = calloc(n, sizeof *site->stores);
    site->stashes = calloc(n, sizeof *site->stashes);
    site->files = calloc(n, sizeof(struct pmap__outfile *));
    site->emitters = calloc(site->n_emitters, sizeof *site->emitters);
    if (site->stores == NULL || site->stashes == NULL || site->files == NULL || site->emitters == NULL)
        return PMAP_ENOMEM;
    site->lost = calloc((size_t)site->plan.ranks, sizeof *site->lost);
    if (site->lost == NULL)
        return PMAP_ENOMEM;
    site->under_way = calloc((size_t)site->plan.ranks, sizeof *site->under_way);
    if (site->under_way == NULL)
        return PMAP_ENOMEM;
    for (size_t p = 0; p < n; p++) {
        pmap__store_init(&site->stores[p], &site->common);
        pmap__stash_init(&site->stashes[p], site->budget, site->scratch, site->common.run_block);
    }
    return PMAP_OK;
}

static void set_combine(struct pmap__site *site)
{
    const struct pmap_mapreduce *what = site->plan.what;

    if (what->combine && !site->plan.plain)
        site->common.combine = (struct pmap__combine){what->value_size ? what->value_size : 8, what->combine};
    site->common.piles = site->common.combine.size && !site->plan.staged; /* with retries stores may be read twice */
}

/* Whichever of two sites goes last takes their budget with it. NULL: no memory. */
static struct pmap__budget *share_budget(struct pmap__site *before, uint64_t limit)
{
    struct pmap__budget *budget = before ? before->budget : malloc(sizeof *budget);

    if (budget && before == NULL) {
        pmap__budget_init(budget, limit);
        atomic_init(&budget->users, 0);
    }
    if (budget)
        atomic_fetch_add(&budget->users, 1);
    return budget;
}

static void leave_budget(struct pmap__budget *budget)
{
    if (budget && atomic_fetch_sub(&budget->users, 1) == 1)
        free(budget);
}

enum pmap_status pmap__site_create(struct pmap__plan *plan, const struct pmap__place *place, struct pmap__site *before,
                                   struct pmap__site **made)
{
    struct pmap__site *site = calloc(1, sizeof *site);

    if (site == NULL)
        return PMAP_ENOMEM;
    site->plan = *plan;
    *plan = (struct pmap__plan){0};
    site->resident = (struct pmap__resident){.number = site->plan.number, .arrived = pmap__shuffle_arrived, .lost = pmap__shuffle_lost,
                                                .evicted = evicted};
    site->rank = place->rank;
    site->place = place;
    site->before = before;
    site->post = place->post;
    site->n_emitters = site->plan.threads[place->rank] ? (size_t)site->plan.threads[place->rank] : 1;
    pthread_mutex_init(&site->lock, NULL); /* glibc's cannot fail */
    pthread_cond_init(&site->changed, NULL);
    uint64_t limit = site->plan.memory ? site->plan.memory : pmap__memory_share(place->ranks_here ? place->ranks_here : 1);
    site->budget = share_budget(before, limit);
    if (site->budget == NULL) {
        pmap__site_destroy(site);
        return PMAP_ENOMEM;
    }
    site->formatter = (struct pmap__formatter){(enum pmap_format)site->plan.format, site->plan.what->key, site->plan.what->value,
                                               site->plan.separator, strlen(site->plan.separator)};
    set_combine(site);
    decide_sizes(site, limit);
    site->common.budget = site->budget;
    enum pmap_status status = pmap__scratch_create(site->plan.scratch, &site->scratch);
    site->common.scratch = site->scratch;
    site->common.pile.budget = site->budget;
    site->common.pile.scratch = site->scratch;
    if (status == PMAP_OK && site->plan.vault)
        status = pmap__deposits_create(site->plan.vault, site->plan.deposits + (uint64_t)site->rank, &site->deposits);
    if (status == PMAP_OK)
        status = make_arrays(site);
    if (status != PMAP_OK) {
        pmap__site_destroy(site);
        return status;
    }
    *made = site;
    return PMAP_OK;
}

void pmap__site_destroy(struct pmap__site *site)
{
    if (site == NULL)
        return;
    size_t partitions = (size_t)site->plan.partitions;
    for (size_t t = 0; site->emitters && t < site->n_emitters; t++)
        pmap__emitter_destroy(site->emitters[t]);
    for (size_t p = 0; site->files && p < partitions; p++)
        pmap__file_abandon(site->files[p]);
    for (size_t p = 0; site->under_way && p < partitions; p++) { /* the last array made: so all are there, and filled */
        pmap__store_fini(&site->stores[p]);
        pmap__stash_fini(&site->stashes[p]);
    }
    for (size_t i = 0; site->borders && i + 1 < partitions; i++)
        free(site->borders[i]);
    free(site->borders);
    free(site->border_sizes);
    free(site->border_prefixes);
    free(site->emitters);
    free(site->files);
    free(site->stashes);
    free(site->stores);
    free(site->under_way);
    free(site->lost);
    pmap__deposits_destroy(site->deposits);
    pmap__scratch_destroy(site->scratch);
    pmap__plan_free(&site->plan);
    pthread_mutex_destroy(&site->lock);
    pthread_cond_destroy(&site->changed);
    leave_budget(site->budget);
    free(site);
}

/* ---- Failures ---- */

void pmap__site_fail_item(enum pmap_status status, const struct pmap_error *error)
{
    const char *text = error ? error->text : "";

    if (strncmp(text, "pmap: ", 6) == 0)
        text += 6;
    if (text[0] == '\0')
        text = status == PMAP_ENOMEM ? "no memory" : "the call is over";
    pmap__item_fail_as(status, 0, text);
}

void pmap__site_fail(struct pmap__site *site, enum pmap_status status, const struct pmap_error *error)
{
    pthread_mutex_lock(&site->lock);
    if (!atomic_load(&site->failed)) {
        site->error = *error;
        site->error.status = status;
        atomic_store(&site->failed, true);
    }
    pthread_cond_broadcast(&site->changed);
    pthread_mutex_unlock(&site->lock);
}

bool pmap__site_check(struct pmap__site *site)
{
    if (!atomic_load_explicit(&site->failed, memory_order_acquire))
        return false;
    pmap__site_fail_item(site->error.status, &site->error);
    return true;
}
