/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors */
#include "transport/mpi_star.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/patience.h"
#include "transport/lifeline.h"
#include "transport/mpi_process.h"
#include "transport/mpi_ulfm.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An int counts the bytes of a message. */
#define PIECE ((size_t)1 << 30)
#define HOST 64

static bool i_am_root(const struct pmap__mpi_star *star)
{
    return star->port->rank == star->root;
}

static bool is_gone(const struct pmap__mpi_star *star, int rank)
{
    return i_am_root(star) && pmap__lifeline_is_gone(star->port->lifeline, rank);
}

static void rest(uint64_t since)
{
    uint64_t nap;
    enum pmap__pause pause = pmap__patience(pmap__now() - since, &nap);

    if (pause == PMAP__PAUSE_YIELD)
        sched_yield();
    else if (pause == PMAP__PAUSE_NAP)
        nanosleep(&(struct timespec){.tv_nsec = (long)nap}, NULL);
}

/* Wait for a message to or from this rank. *gone: it has died before. PMAP_OK or PMAP_EMPI. */
static enum pmap_status await(const struct pmap__mpi_star *star, MPI_Request *request, int rank, bool *gone)
{
    uint64_t since = pmap__now();
    int done = 0;

    for (*gone = false;; rest(since)) {
        bool dead = is_gone(star, rank); /* before the look: what it has sent before it died still counts */
        int code = MPI_Test(request, &done, MPI_STATUS_IGNORE);
        dead |= i_am_root(star) && pmap__ulfm_peer_died(code);
        if (code != MPI_SUCCESS && !dead)
            return PMAP_EMPI;
        if (code == MPI_SUCCESS && done)
            return PMAP_OK;
        if ((*gone = dead))
            return PMAP_OK;
        if (i_am_root(star))
            pmap__mpi_wonder(pmap__now() - since);
    }
}

/* One message, in pieces; out: to the rank, else from it. *gone: it has died, and MPI may use the bytes for ever. */
static enum pmap_status pass(const struct pmap__mpi_star *star, bool out, int rank, void *bytes, size_t size, bool *gone)
{
    MPI_Request request;
    enum pmap_status status = PMAP_OK;

    *gone = is_gone(star, rank);
    for (size_t at = 0; at < size && status == PMAP_OK && !*gone; at += PIECE) {
        int count = (int)(size - at < PIECE ? size - at : PIECE);
        char *piece = (char *)bytes + at;
        int code = out ? MPI_Isend(piece, count, MPI_BYTE, rank, star->tag, star->comm, &request)
                       : MPI_Irecv(piece, count, MPI_BYTE, rank, star->tag, star->comm, &request);
        if ((*gone = i_am_root(star) && pmap__ulfm_peer_died(code)))
            break;
        status = code == MPI_SUCCESS ? await(star, &request, rank, gone) : PMAP_EMPI;
    }
    return status;
}

/* The root alone: the same with a copy, so that the bytes are the caller's again in any case. Without an answer they become zero. */
static enum pmap_status pass_copy(const struct pmap__mpi_star *star, bool out, int rank, void *bytes, size_t size)
{
    void *copy = malloc(size + 1);
    bool gone;

    if (copy == NULL)
        return PMAP_ENOMEM;
    if (out)
        memcpy(copy, bytes, size);
    enum pmap_status status = pass(star, out, rank, copy, size, &gone);
    if (!out && (gone || status != PMAP_OK))
        memset(bytes, 0, size);
    else if (!out)
        memcpy(bytes, copy, size);
    if (!gone && status == PMAP_OK)
        free(copy);
    return status;
}

/* Of all but the root, with the root; all has size bytes for each rank, and is the root's. */
static enum pmap_status collect(const struct pmap__mpi_star *star, void *mine, void *everybodys, size_t size)
{
    enum pmap_status status = PMAP_OK;
    bool gone;

    if (!i_am_root(star))
        return pass(star, true, star->root, mine, size, &gone);
    for (int rank = 0; rank < star->port->size && status == PMAP_OK; rank++) {
        char *at = (char *)everybodys + (size_t)rank * size;
        if (rank == star->root)
            memcpy(at, mine, size);
        else
            status = pass_copy(star, false, rank, at, size);
    }
    return status;
}

/* The root's bytes to all. */
static enum pmap_status spread(const struct pmap__mpi_star *star, void *bytes, size_t size)
{
    enum pmap_status status = PMAP_OK;
    bool gone;

    if (!i_am_root(star))
        return pass(star, false, star->root, bytes, size, &gone);
    for (int rank = 0; rank < star->port->size && status == PMAP_OK; rank++)
        if (rank != star->root)
            status = pass_copy(star, true, rank, bytes, size);
    return status;
}

enum pmap_status pmap__mpi_star_broadcast(const struct pmap__mpi_star *star, int from, void *bytes, size_t size)
{
    enum pmap_status status = PMAP_OK;
    bool gone;

    if (from != star->root && star->port->rank == from)
        status = pass(star, true, star->root, bytes, size, &gone);
    else if (from != star->root && i_am_root(star))
        status = pass_copy(star, false, from, bytes, size);
    return status == PMAP_OK ? spread(star, bytes, size) : status;
}

enum pmap_status pmap__mpi_star_gather(const struct pmap__mpi_star *star, int value, int all[])
{
    return collect(star, &value, all, sizeof value);
}

enum pmap_status pmap__mpi_star_least(const struct pmap__mpi_star *star, int *value)
{
    struct word {
        int said, value; /* said: 0 for the dead */
    } mine = {1, *value}, *words = i_am_root(star) ? calloc((size_t)star->port->size, sizeof *words) : NULL;

    if (i_am_root(star) && words == NULL)
        return PMAP_ENOMEM;
    enum pmap_status status = collect(star, &mine, words, sizeof mine);
    for (int rank = 0; words && rank < star->port->size; rank++)
        if (words[rank].said && words[rank].value < mine.value)
            mine.value = words[rank].value;
    free(words);
    if (status == PMAP_OK)
        status = spread(star, &mine, sizeof mine);
    if (status == PMAP_OK)
        *value = mine.value;
    return status;
}

/* What a rank says of itself, by elements of one size: its host, and then its bytes. */
struct said {
    char host[HOST];
    char bytes[];
};

static const struct said *said_by(const char *everybody, size_t each, int rank)
{
    return (const void *)(everybody + (size_t)rank * each);
}

/* Tell a rank what those of its node said: how many they are, its place among them, and their bytes. */
static enum pmap_status tell_node(const struct pmap__mpi_star *star, const char *everybody, size_t size, int rank, void *all, int *n,
                                  int *me)
{
    size_t each = sizeof(struct said) + size;
    const char *host = said_by(everybody, each, rank)->host;
    int words[2] = {0, 0};

    for (int r = 0; r < star->port->size; r++) {
        const struct said *said = said_by(everybody, each, r);
        if (strcmp(said->host, host) != 0)
            continue;
        words[1] = r == rank ? words[0] : words[1];
        memcpy((char *)all + (size_t)words[0]++ * size, said->bytes, size);
    }
    *n = words[0];
    *me = words[1];
    if (rank == star->root)
        return PMAP_OK;
    enum pmap_status status = pass_copy(star, true, rank, words, sizeof words);
    return status == PMAP_OK ? pass_copy(star, true, rank, all, (size_t)words[0] * size) : status;
}

/* The root's own is told last, so that it is what all, n and me are in the end. */
static enum pmap_status tell_nodes(const struct pmap__mpi_star *star, const char *everybody, size_t size, void *all, int *n, int *me)
{
    size_t each = sizeof(struct said) + size;
    enum pmap_status status = PMAP_OK;

    for (int rank = 0; rank < star->port->size && status == PMAP_OK; rank++)
        if (rank != star->root && said_by(everybody, each, rank)->host[0])
            status = tell_node(star, everybody, size, rank, all, n, me);
    return status == PMAP_OK ? tell_node(star, everybody, size, star->root, all, n, me) : status;
}

static enum pmap_status hear_of_node(const struct pmap__mpi_star *star, size_t size, void *all, int *n, int *me)
{
    int words[2];
    bool gone;

    enum pmap_status status = pass(star, false, star->root, words, sizeof words, &gone);
    if (status != PMAP_OK || words[0] < 1 || words[0] > star->port->size)
        return PMAP_EMPI;
    *n = words[0];
    *me = words[1];
    return pass(star, false, star->root, all, (size_t)words[0] * size, &gone);
}

enum pmap_status pmap__mpi_star_node_gather(const struct pmap__mpi_star *star, const void *mine, size_t size, void **all, int *n,
                                            int *me)
{
    size_t ranks = (size_t)star->port->size, each = sizeof(struct said) + size;
    struct said *said = calloc(1, each);
    char *everybody = i_am_root(star) ? calloc(ranks, each) : NULL;
    void *node = calloc(ranks, size);
    enum pmap_status status = PMAP_ENOMEM;

    if (said == NULL || node == NULL || (i_am_root(star) && everybody == NULL))
        goto done;
    gethostname(said->host, HOST - 1);
    memcpy(said->bytes, mine, size);
    status = collect(star, said, everybody, each);
    if (status == PMAP_OK)
        status = i_am_root(star) ? tell_nodes(star, everybody, size, node, n, me) : hear_of_node(star, size, node, n, me);
done:
    free(said);
    free(everybody);
    if (status == PMAP_ENOMEM && !i_am_root(star))
        star->port->ops->abort(star->port, "pmap: no memory to compare the CPUs of a node"); /* the root hears that, and waits no longer */
    if (status == PMAP_OK)
        *all = node;
    else
        free(node);
    return status == PMAP_ENOMEM ? PMAP_EMPI : status;
}
