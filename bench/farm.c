/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * The farm an MPI programmer writes: rank 0 hands out chunks and computes nothing, each worker asks for more by
 * returning a result. The peer of a pool of ranks.
 *
 *     mpirun -n 2 farm work=square n=100000 chunk=1 flight=4
 *
 * Rank 0 keeps `flight` chunks on their way to each worker. With one, a worker waits a round trip for each; with
 * four, the next chunk lies there when a result is sent. Nothing is copied on rank 0: chunks are sent from the input
 * array and results received where they belong. That needs no index in the message, since messages between two
 * ranks do not overtake each other: the first result of a worker belongs to the first chunk it was given.
 */
#include "bench.h"

#include <mpi.h>
#include <stdlib.h>

enum { CHUNK, RESULT, STOP };

/* Rank 0's view. Slot s belongs to worker 1 + s / flight and holds one chunk that is on its way. */
struct farm {
    const struct bench *bench;
    struct bench_arrays arrays;
    int slots;
    size_t next, n;        /* the first item not yet given, one past the last */
    MPI_Request *chunks;   /* by slot: the send */
    MPI_Request *results;  /* by slot: the receive; MPI_REQUEST_NULL if the slot is empty */
    int *done;             /* slots that have become ready */
};

/* Put the next chunk, if any is left, into an empty slot. */
static void give(struct farm *f, int slot)
{
    size_t left = f->n - f->next, chunk = (size_t)f->bench->chunk, size = f->bench->work->size;
    size_t items = left < chunk ? left : chunk, at = f->next * size;
    int worker = 1 + slot / (int)f->bench->flight;

    if (items == 0)
        return;
    MPI_Wait(&f->chunks[slot], MPI_STATUS_IGNORE); /* its result is there, so it was sent long ago */
    MPI_Irecv((char *)f->arrays.out + at, (int)(items * size), MPI_BYTE, worker, RESULT, MPI_COMM_WORLD,
              &f->results[slot]);
    MPI_Isend((char *)f->arrays.in + at, (int)(items * size), MPI_BYTE, worker, CHUNK, MPI_COMM_WORLD,
              &f->chunks[slot]);
    f->next += items;
}

static void serve(void *context, size_t n)
{
    struct farm *f = context;
    int workers = f->slots / (int)f->bench->flight, ndone;

    f->next = 0;
    f->n = n;
    for (int i = 0; i < f->slots; i++) /* one chunk for each worker before anybody's second */
        give(f, i % workers * (int)f->bench->flight + i / workers);
    for (;;) {
        MPI_Waitsome(f->slots, f->results, &ndone, f->done, MPI_STATUSES_IGNORE);
        if (ndone == MPI_UNDEFINED) /* no slot is in use */
            break;
        for (int i = 0; i < ndone; i++)
            give(f, f->done[i]);
    }
}

static int root(const struct bench *b, int ranks)
{
    int slots = (ranks - 1) * (int)b->flight;
    struct farm f = {
        .bench = b,
        .arrays = bench_init(b),
        .slots = slots,
        .chunks = malloc((size_t)slots * sizeof *f.chunks),
        .results = malloc((size_t)slots * sizeof *f.results),
        .done = malloc((size_t)slots * sizeof *f.done),
    };
    if (!f.chunks || !f.results || !f.done)
        MPI_Abort(MPI_COMM_WORLD, 1);
    for (int i = 0; i < slots; i++)
        f.chunks[i] = f.results[i] = MPI_REQUEST_NULL;

    double seconds = bench_rounds(b, serve, &f);

    MPI_Waitall(slots, f.chunks, MPI_STATUSES_IGNORE);
    for (int i = 0; i < slots; i++) /* one for each receive a worker has open */
        MPI_Send(NULL, 0, MPI_BYTE, 1 + i / (int)b->flight, STOP, MPI_COMM_WORLD);
    int status = bench_report(b, &f.arrays, seconds, "MPI farm, %d ranks, chunk %ld, %ld in flight", ranks,
                              b->chunk, b->flight);
    free(f.chunks);
    free(f.results);
    free(f.done);
    bench_fini(&f.arrays);
    return status;
}

/* A worker has `flight` buffers open for chunks, and takes them in turn. */
static void work(const struct bench *b)
{
    int flight = (int)b->flight, size = (int)((size_t)b->chunk * b->work->size), bytes, slot = 0;
    char *in = malloc((size_t)flight * (size_t)size), *out = malloc((size_t)size);
    MPI_Request *chunks = malloc((size_t)flight * sizeof *chunks);
    MPI_Status status;

    if (!in || !out || !chunks)
        MPI_Abort(MPI_COMM_WORLD, 1);
    for (int i = 0; i < flight; i++)
        MPI_Irecv(in + (ptrdiff_t)i * size, size, MPI_BYTE, 0, MPI_ANY_TAG, MPI_COMM_WORLD, &chunks[i]);
    for (;; slot = (slot + 1) % flight) {
        MPI_Wait(&chunks[slot], &status);
        if (status.MPI_TAG == STOP)
            break;
        MPI_Get_count(&status, MPI_BYTE, &bytes);
        b->work->run((size_t)bytes / b->work->size, in + (ptrdiff_t)slot * size, out);
        MPI_Irecv(in + (ptrdiff_t)slot * size, size, MPI_BYTE, 0, MPI_ANY_TAG, MPI_COMM_WORLD, &chunks[slot]);
        MPI_Send(out, bytes, MPI_BYTE, 0, RESULT, MPI_COMM_WORLD); /* its receive is open: no wait for rank 0 */
    }
    MPI_Waitall(flight, chunks, MPI_STATUSES_IGNORE);
    free(chunks);
    free(in);
    free(out);
}

int main(int argc, char **argv)
{
    struct bench b;
    int rank, ranks, status = 0;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (!bench_parse(&b, argc, argv) || b.chunk == 0 || ranks < 2)
        MPI_Abort(MPI_COMM_WORLD, 1);
    if (rank == 0)
        status = root(&b, ranks);
    else
        work(&b);
    MPI_Finalize();
    return status;
}
