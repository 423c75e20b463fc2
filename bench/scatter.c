/* SPDX-License-Identifier: BSD-3-Clause
 * Copyright (c) 2026 the pmap authors
 *
 * What an MPI programmer writes for a large array whose items all cost the same: scatter it, loop, gather it. All
 * ranks compute, equal shares; rank 0 works in its own arrays, without a copy.
 *
 *     mpirun -n 2 scatter work=scale n=134217728
 */
#include "bench.h"

#include <mpi.h>
#include <stdlib.h>

struct share {
    const struct bench *bench;
    struct bench_arrays arrays; /* rank 0: all items; others: their share */
    int rank, ranks;
    int *counts, *begins; /* by rank, in items */
    MPI_Datatype item;    /* counts are int: items of 8 bytes reach eight times as far as bytes */
};

/* What each rank gets of n items: the first n % ranks ranks one more than the others. */
static void divide(struct share *s, size_t n)
{
    for (int r = 0, begin = 0; r < s->ranks; r++) {
        s->begins[r] = begin;
        s->counts[r] = (int)(n / (size_t)s->ranks) + ((size_t)r < n % (size_t)s->ranks);
        begin += s->counts[r];
    }
}

static void run(void *context, size_t n)
{
    struct share *s = context;
    void *in = s->arrays.in, *out = s->arrays.out;

    divide(s, n);
    int mine = s->counts[s->rank];
    if (s->rank == 0) {
        MPI_Scatterv(in, s->counts, s->begins, s->item, MPI_IN_PLACE, 0, s->item, 0, MPI_COMM_WORLD);
        s->bench->work->run((size_t)mine, in, out);
        MPI_Gatherv(MPI_IN_PLACE, 0, s->item, out, s->counts, s->begins, s->item, 0, MPI_COMM_WORLD);
    } else {
        MPI_Scatterv(NULL, NULL, NULL, s->item, in, mine, s->item, 0, MPI_COMM_WORLD);
        s->bench->work->run((size_t)mine, in, out);
        MPI_Gatherv(out, mine, s->item, NULL, NULL, NULL, s->item, 0, MPI_COMM_WORLD);
    }
}

int main(int argc, char **argv)
{
    struct bench b;
    struct share s = {.bench = &b};
    int status = 0;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &s.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &s.ranks);
    if (!bench_parse(&b, argc, argv))
        MPI_Abort(MPI_COMM_WORLD, 1);
    s.counts = malloc((size_t)s.ranks * sizeof *s.counts);
    s.begins = malloc((size_t)s.ranks * sizeof *s.begins);
    if (!s.counts || !s.begins)
        MPI_Abort(MPI_COMM_WORLD, 1);

    struct bench share = b; /* the arrays of this rank */
    if (s.rank > 0)
        share.n = b.n / s.ranks + 1;
    s.arrays = bench_init(&share);
    MPI_Type_contiguous((int)b.work->size, MPI_BYTE, &s.item);
    MPI_Type_commit(&s.item);

    double seconds = bench_rounds(&b, run, &s);

    if (s.rank == 0)
        status = bench_report(&b, &s.arrays, seconds, "MPI_Scatterv and MPI_Gatherv, %d ranks", s.ranks);
    MPI_Type_free(&s.item);
    bench_fini(&s.arrays);
    free(s.counts);
    free(s.begins);
    MPI_Finalize();
    return status;
}
