#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
"""Python's multiprocessing.Pool under several workloads; prints the lines that bench.h describes.

    pool.py work=square n=40000 processes=2 chunk=1     Pool.map; also work=skew
    pool.py work=imap n=40000 processes=2 chunk=1       Pool.imap
    pool.py work=latency n=5000 processes=2             Pool.apply, call after call
    pool.py work=outstanding n=100000 processes=2       Pool.apply_async of all while the processes are held up
"""
import multiprocessing
import pathlib
import statistics
import sys
import time


def square(x):
    return x * x


def nap(microseconds):
    time.sleep(microseconds / 1e6)
    return microseconds


FORK = multiprocessing.get_context("fork")
GATE = FORK.Event()  # inherited by the processes


def wait_at_gate():
    GATE.wait()


def line(what, n, figure, variant):
    print(what, f"Python's Pool, {options['processes']} processes, {variant}", n, figure, sep="\t")


def number(key):
    return int(options[key])


def rounds(pool_map, task, items):
    """Like bench_rounds: the median over the rounds of a whole map."""
    chunk, seconds = number("chunk") or None, []
    for _ in range(number("rounds")):
        begin = time.perf_counter()
        results = list(pool_map(task, items, *([chunk] if chunk else [])))
        seconds.append(time.perf_counter() - begin)
        assert results == [task(x) for x in items] if task is square else results == items
    line(options["work"], len(items), statistics.median(seconds), f"chunk {chunk or 'default'}")


def latency(pool):
    """Like bench_latency: each call timed by itself."""
    n, seconds = number("n"), []
    for x in range(n):
        begin = time.perf_counter()
        y = pool.apply(square, (x,))
        seconds.append(time.perf_counter() - begin)
        assert y == x * x
    line("latency-99", 1, sorted(seconds)[n - 1 - n // 100], "apply")
    line("latency", 1, statistics.median(seconds), "apply")


def peak(anew):
    """Like bench_peak: bytes."""
    if anew:
        pathlib.Path("/proc/self/clear_refs").write_text("5")
    fields = dict(row.split(":", 1) for row in pathlib.Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(fields["VmHWM"].split()[0])


def outstanding(pool):
    """Like outstanding.c."""
    n = number("n")
    before, begin = peak(True), time.perf_counter()
    held = [pool.apply_async(wait_at_gate) for _ in range(number("processes"))]
    results = [pool.apply_async(square, (x,)) for x in range(n)]
    GATE.set()
    values = [result.get() for result in results + held]
    seconds, memory = time.perf_counter() - begin, peak(False) - before
    assert values[:n] == [x * x for x in range(n)]
    line("memory", n, memory, "bytes, apply_async")
    line("outstanding", n, seconds, "apply_async")


options = dict(work="square", n=40000, processes=2, chunk=0, rounds=3, at=32)


def main():
    options.update(argument.split("=") for argument in sys.argv[1:])
    n, at = number("n"), number("at")
    with FORK.Pool(number("processes")) as pool:
        pool.map(square, range(1000), 1)  # all processes are up
        if options["work"] == "square":
            rounds(pool.map, square, list(range(n)))
        elif options["work"] == "skew":
            rounds(pool.map, nap, [1000000 if at <= i < at + 4 else 10000 for i in range(n)])
        elif options["work"] == "imap":
            rounds(pool.imap, square, list(range(n)))
        elif options["work"] == "latency":
            latency(pool)
        elif options["work"] == "outstanding":
            outstanding(pool)


if __name__ == "__main__":
    main()
