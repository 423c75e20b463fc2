/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * One copy per node. A segment is a shared window of MPI-3, of which the node's leader owns all the memory and the other
 * ranks none. The root writes the bytes into the window of its node; from there MPI_Ibcast takes them to the other leaders,
 * each of which receives them straight into the window of its own node.
 *
 * Who reads what when: one rank of a node writes (the root, or on other nodes the leader), the node meets at a barrier, and
 * from then on all read and nobody writes. MPI_Win_sync on both sides of the barrier makes the bytes visible. The leader of
 * the root's node broadcasts them after that barrier, as one of the readers.
 *
 * No memory. Open MPI (4.1) does not tell all ranks: it fails on the leader alone, and leaves the others in
 * MPI_Win_allocate_shared for ever. Nor is what it gives really there: the first store to a page for which /dev/shm has no
 * room is answered with SIGBUS. So each rank looks whether there is room, all agree, and the window is made; its leader has
 * every page touched by the kernel, which reports an error instead, and all agree again. Should MPI fail all the same,
 * because another program has taken the room in between, that is PMAP_EMPI. Memory that the kernel has promised to several
 * and cannot give may still end a process, as after malloc.
 *
 * Waiting. MPI's calls that make and free communicators and windows spin, so the ranks always meet before them, asleep.
 */
#include "transport/mpi_share.h"

#include "transport/mpi_process.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* An int counts the bytes of a broadcast. And each broadcast is waited for anew: as long as 64 MiB come within a quarter of
 * a second, nobody naps longer than PMAP__NAP_MAX while there are bytes to be moved. */
#define PIECE ((size_t)64 << 20)

/* More than a window needs beside its bytes. */
#define MARGIN ((size_t)1 << 20)

struct segment {
    struct pmap__segment segment;
    char *bytes; /* the same, for the rank that writes them */
    MPI_Win window;
};

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- Meeting ---- */

static enum pmap_status meet(MPI_Comm comm)
{
    MPI_Request request;
    return MPI_Ibarrier(comm, &request) == MPI_SUCCESS ? pmap__mpi_await(&request, "MPI_Ibarrier", NULL) : PMAP_EMPI;
}

/* PMAP_OK if all ranks are well, PMAP_ENOMEM if not. */
static enum pmap_status agree(MPI_Comm comm, bool well)
{
    MPI_Request request;
    int mine = well, all;

    if (MPI_Iallreduce(&mine, &all, 1, MPI_INT, MPI_MIN, comm, &request) != MPI_SUCCESS ||
        pmap__mpi_await(&request, "MPI_Iallreduce", NULL) != PMAP_OK)
        return PMAP_EMPI;
    return all ? PMAP_OK : PMAP_ENOMEM;
}

static enum pmap_status broadcast(MPI_Comm comm, int root, void *bytes, int size)
{
    MPI_Request request;
    int code = MPI_Ibcast(bytes, size, MPI_BYTE, root, comm, &request);
    return code == MPI_SUCCESS ? pmap__mpi_await(&request, "MPI_Ibcast", NULL) : PMAP_EMPI;
}

/* ---- Nodes ---- */

void pmap__mpi_nodes_init(struct pmap__mpi_nodes *nodes, MPI_Comm comm)
{
    *nodes = (struct pmap__mpi_nodes){.comm = comm, .node = MPI_COMM_NULL, .leaders = MPI_COMM_NULL};
}

void pmap__mpi_nodes_fini(struct pmap__mpi_nodes *nodes)
{
    if (nodes->leaders != MPI_COMM_NULL)
        MPI_Comm_free(&nodes->leaders);
    if (nodes->node != MPI_COMM_NULL)
        MPI_Comm_free(&nodes->node);
}

static bool leads(const struct pmap__mpi_nodes *nodes)
{
    return nodes->leaders != MPI_COMM_NULL;
}

static enum pmap_status nodes_make(struct pmap__mpi_nodes *nodes)
{
    int rank, place;

    if (meet(nodes->comm) != PMAP_OK)
        return PMAP_EMPI;
    MPI_Comm_rank(nodes->comm, &rank);
    if (MPI_Comm_split_type(nodes->comm, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &nodes->node) != MPI_SUCCESS)
        return PMAP_EMPI;
    MPI_Comm_set_errhandler(nodes->node, MPI_ERRORS_RETURN);
    MPI_Comm_rank(nodes->node, &place);
    if (MPI_Comm_split(nodes->comm, place == 0 ? 0 : MPI_UNDEFINED, rank, &nodes->leaders) != MPI_SUCCESS)
        return PMAP_EMPI;
    if (leads(nodes)) {
        MPI_Comm_set_errhandler(nodes->leaders, MPI_ERRORS_RETURN);
        MPI_Comm_rank(nodes->leaders, &nodes->number);
    }
    return broadcast(nodes->node, 0, &nodes->number, sizeof nodes->number);
}

/* ---- Room ---- */

/* Will Open MPI find room for the file behind a window? It insists on 5 % more than it needs. Where /dev/shm is not to be
 * had it puts the file into a directory that we do not know, and finds out for itself. */
static bool room_for_file(size_t size)
{
    const char *directory = getenv("OMPI_MCA_osc_sm_backing_directory");
    struct statvfs room;

    if (directory == NULL)
        directory = "/dev/shm";
    if (access(directory, W_OK) != 0 || statvfs(directory, &room) != 0)
        return true;
    return (size_t)room.f_bavail * room.f_frsize >= size + size / 16;
}

/* Could a window of this size be made and mapped here? Address space may be limited (ulimit -v); on the leader, which will
 * own the memory, the kernel also says whether it would ever promise so much. */
static bool room_for(const struct pmap__mpi_nodes *nodes, size_t size)
{
    int ranks;

    if (size > PTRDIFF_MAX / 2)
        return false;
    size += MARGIN;
    void *trial = mmap(NULL, size, leads(nodes) ? PROT_READ | PROT_WRITE : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
                       -1, 0);
    if (trial == MAP_FAILED)
        return false;
    munmap(trial, size);
    MPI_Comm_size(nodes->node, &ranks);
    return !leads(nodes) || ranks == 1 || room_for_file(size); /* a window of one rank is malloc'ed */
}

/* The kernel writes a byte to each page; where it cannot, read() fails. It costs what the first store to a page would. */
static bool populate(char *bytes, size_t size)
{
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    size_t at = 0, step = page_size();

    if (zero < 0)
        return false;
    while (at < size && read(zero, bytes + at, 1) == 1)
        at += step;
    close(zero);
    return at >= size;
}

/* ---- Segments ---- */

/* MPI aligns to less than a page (Open MPI to 8 bytes), so the window is a page longer than the bytes. Ranks see it at
 * different addresses, but whole pages apart, so that all find the same place in it. */
static enum pmap_status segment_open(const struct pmap__mpi_nodes *nodes, struct segment *s, size_t size)
{
    char *base;
    MPI_Aint length = leads(nodes) ? (MPI_Aint)(size + page_size()) : 0;
    int unit;

    if (MPI_Win_allocate_shared(length, 1, MPI_INFO_NULL, nodes->node, &base, &s->window) != MPI_SUCCESS)
        return PMAP_EMPI;
    MPI_Win_set_errhandler(s->window, MPI_ERRORS_RETURN);
    MPI_Win_lock_all(MPI_MODE_NOCHECK, s->window); /* MPI_Win_sync wants to be inside of that */
    if (MPI_Win_shared_query(s->window, 0, &length, &unit, &base) != MPI_SUCCESS)
        return PMAP_EMPI;
    s->bytes = base + (-(uintptr_t)base & (page_size() - 1));
    s->segment = (struct pmap__segment){.bytes = s->bytes, .size = size};
    return PMAP_OK;
}

static void segment_close(struct segment *s)
{
    MPI_Win_unlock_all(s->window);
    MPI_Win_free(&s->window);
}

/* Memory with nothing in it yet. */
static enum pmap_status segment_create(const struct pmap__mpi_nodes *nodes, size_t size, struct segment **segment)
{
    struct segment *s = malloc(sizeof *s);

    enum pmap_status status = agree(nodes->comm, s && room_for(nodes, size));
    if (status == PMAP_OK)
        status = segment_open(nodes, s, size);
    if (status != PMAP_OK)
        goto fail;
    status = agree(nodes->comm, !leads(nodes) || populate(s->bytes, size));
    if (status == PMAP_ENOMEM) /* all ranks know; after PMAP_EMPI the others might not come */
        segment_close(s);
    if (status != PMAP_OK)
        goto fail;
    *segment = s;
    return PMAP_OK;
fail:
    free(s);
    return status;
}

/* ---- Filling them ---- */

/* One rank of the node has written; from here on all read. */
static enum pmap_status publish(const struct pmap__mpi_nodes *nodes, const struct segment *s)
{
    MPI_Win_sync(s->window);
    enum pmap_status status = meet(nodes->node);
    MPI_Win_sync(s->window);
    return status;
}

/* Among leaders. */
static enum pmap_status relay(const struct pmap__mpi_nodes *nodes, int from, const struct segment *s)
{
    enum pmap_status status = PMAP_OK;
    for (size_t at = 0, left = s->segment.size; left > 0 && status == PMAP_OK; at += PIECE) {
        size_t piece = left < PIECE ? left : PIECE;
        status = broadcast(nodes->leaders, from, s->bytes + at, (int)piece);
        left -= piece;
    }
    return status;
}

/* First the root's node has the bytes, then the other leaders, then their nodes. */
static enum pmap_status fill(const struct pmap__mpi_nodes *nodes, const struct segment *s, int root, const void *data)
{
    int rank, first = nodes->number; /* the root's is what counts */

    MPI_Comm_rank(nodes->comm, &rank);
    enum pmap_status status = broadcast(nodes->comm, root, &first, sizeof first);
    if (status == PMAP_OK && rank == root)
        memcpy(s->bytes, data, s->segment.size);
    if (status == PMAP_OK && nodes->number == first)
        status = publish(nodes, s);
    if (status == PMAP_OK && leads(nodes))
        status = relay(nodes, first, s);
    if (status == PMAP_OK && nodes->number != first)
        status = publish(nodes, s);
    return status;
}

enum pmap_status pmap__mpi_share(struct pmap__mpi_nodes *nodes, int root, const void *data, size_t size,
                                 struct pmap__segment **segment)
{
    struct segment *s;

    enum pmap_status status = nodes->node == MPI_COMM_NULL ? nodes_make(nodes) : PMAP_OK;
    if (status == PMAP_OK)
        status = segment_create(nodes, size, &s);
    if (status != PMAP_OK)
        return status;
    status = fill(nodes, s, root, data);
    if (status != PMAP_OK) {
        free(s); /* the window cannot be freed by one rank alone */
        return status;
    }
    *segment = &s->segment;
    return PMAP_OK;
}

void pmap__mpi_unshare(const struct pmap__mpi_nodes *nodes, struct pmap__segment *segment)
{
    struct segment *s = (struct segment *)segment;

    meet(nodes->node);
    segment_close(s);
    free(s);
}
