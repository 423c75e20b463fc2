#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
"""mpi4py.futures under two workloads; prints the lines that bench.h describes. Rank 0 only hands out.

    mpirun -n 2 python3 -m mpi4py.futures futures.py work=square n=5000 chunk=1    map
    mpirun -n 2 python3 -m mpi4py.futures futures.py work=latency n=2000           submit and result, call after call
"""
import statistics
import sys
import time

from mpi4py import MPI
from mpi4py.futures import MPIPoolExecutor


def square(x):
    return x * x


def line(what, n, figure, variant):
    print(what, f"mpi4py.futures, {MPI.COMM_WORLD.size} ranks, {variant}", n, figure, sep="\t")


def rounds(pool, n, chunk, times):
    """Like bench_rounds: the median over the rounds of a whole map."""
    items, seconds = list(range(n)), []
    for _ in range(times):
        begin = time.perf_counter()
        results = list(pool.map(square, items, chunksize=chunk))
        seconds.append(time.perf_counter() - begin)
    assert results == [x * x for x in items]
    line("square", n, statistics.median(seconds), f"chunk {chunk}")


def latency(pool, n):
    """Like bench_latency: each call timed by itself."""
    seconds = []
    for x in range(n):
        begin = time.perf_counter()
        y = pool.submit(square, x).result()
        seconds.append(time.perf_counter() - begin)
        assert y == x * x
    line("latency-99", 1, sorted(seconds)[n - 1 - n // 100], "submit and result")
    line("latency", 1, statistics.median(seconds), "submit and result")


def main():
    options = dict(work="square", n=5000, chunk=1, rounds=3)
    options.update(argument.split("=") for argument in sys.argv[1:])
    n, chunk, times = (int(options[k]) for k in ("n", "chunk", "rounds"))
    with MPIPoolExecutor() as pool:
        list(pool.map(square, range(100)))  # all ranks are up
        if options["work"] == "latency":
            latency(pool, n)
        else:
            rounds(pool, n, chunk, times)


if __name__ == "__main__":
    main()
