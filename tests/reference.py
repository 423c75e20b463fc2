#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
"""What map-reduce programs should write, by other means: in memory, on one core, in the obvious way.

    reference.py count FILE...              word, tab, how often it is there: of all words, in the order of their bytes
    reference.py index FILE...              word, tab, name of a file: once for each file that has it, files as they are given
    reference.py sort FILE...               all lines, in the order of their bytes
    reference.py records SIZE KEY FILE...   all records of SIZE bytes by their first KEY bytes; of equal keys the earlier first

A word is a run of bytes other than space, \\t, \\n, \\v, \\f, \\r. The end of a file ends a line, with a newline or without.
Files whose names end with .gz are read uncompressed.
"""
import collections
import gzip
import pathlib
import sys


def read(name):
    return gzip.open(name).read() if name.endswith(".gz") else pathlib.Path(name).read_bytes()


def lines(data):
    return data.removesuffix(b"\n").split(b"\n") if data else []


def count(*names):
    counts = collections.Counter(word for name in names for word in read(name).split())
    return [b"%s\t%d\n" % pair for pair in sorted(counts.items())]


def index(*names):
    pairs = [(word, name) for name in names for word in set(read(name).split())]
    return [b"%s\t%s\n" % (word, name.encode()) for word, name in sorted(pairs, key=lambda pair: pair[0])]


def sort(*names):
    return [line + b"\n" for line in sorted(line for name in names for line in lines(read(name)))]


def records(size, key, *names):
    size, key = int(size), int(key)
    everything = [data[i:i + size] for data in map(read, names) for i in range(0, len(data), size)]
    return sorted(everything, key=lambda record: record[:key])


COMMANDS = {"count": count, "index": index, "sort": sort, "records": records}

if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in COMMANDS:
        sys.exit(__doc__)
    sys.stdout.buffer.writelines(COMMANDS[sys.argv[1]](*sys.argv[2:]))
