#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
"""Python's multiprocessing.Pool under the workloads square and skew; prints the line that bench.h describes.

    pool.py work=square n=40000 processes=2 chunk=1
"""
import multiprocessing
import statistics
import sys
import time


def square(x):
    return x * x


def nap(microseconds):
    time.sleep(microseconds / 1e6)
    return microseconds


def main():
    options = dict(work="square", n=40000, processes=2, chunk=0, rounds=3, at=32)
    options.update(argument.split("=") for argument in sys.argv[1:])
    n, processes, chunk, rounds, at = (int(options[k]) for k in ("n", "processes", "chunk", "rounds", "at"))
    if options["work"] == "square":
        task, items = square, list(range(n))
    else:
        task, items = nap, [1000000 if at <= i < at + 4 else 10000 for i in range(n)]

    seconds = []
    with multiprocessing.Pool(processes) as pool:
        pool.map(square, range(1000), 1)  # all processes are up
        for _ in range(rounds):
            begin = time.perf_counter()
            results = pool.map(task, items, chunk or None)
            seconds.append(time.perf_counter() - begin)
    assert results == [x * x for x in items] or task is nap and results == items
    variant = f"Python's Pool, {processes} processes, chunk {chunk or 'default'}"
    print(options["work"], variant, n, statistics.median(seconds), sep="\t")


if __name__ == "__main__":
    main()
