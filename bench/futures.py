#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
"""mpi4py.futures under the workload square; prints the line that bench.h describes. Rank 0 only hands out.

    mpirun -n 2 python3 -m mpi4py.futures futures.py n=5000 chunk=1
"""
import statistics
import sys
import time

from mpi4py import MPI
from mpi4py.futures import MPIPoolExecutor


def square(x):
    return x * x


def main():
    options = dict(n=5000, chunk=1, rounds=3)
    options.update(argument.split("=") for argument in sys.argv[1:])
    n, chunk, rounds = (int(options[k]) for k in ("n", "chunk", "rounds"))
    items = list(range(n))

    seconds = []
    with MPIPoolExecutor() as pool:
        list(pool.map(square, range(100)))  # all ranks are up
        for _ in range(rounds):
            begin = time.perf_counter()
            results = list(pool.map(square, items, chunksize=chunk))
            seconds.append(time.perf_counter() - begin)
    assert results == [x * x for x in items]
    variant = f"mpi4py.futures, {MPI.COMM_WORLD.size} ranks, chunk {chunk}"
    print("square", variant, n, statistics.median(seconds), sep="\t")


if __name__ == "__main__":
    main()
