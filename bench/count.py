#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
"""Word count with Python's collections.Counter, line by line: count.py FILE >counts, as count_tuned.c writes them."""
import collections
import itertools
import sys

with open(sys.argv[1], "rb") as file:
    counts = collections.Counter(itertools.chain.from_iterable(map(bytes.split, file)))
sys.stdout.buffer.writelines(b"%s\t%d\n" % pair for pair in sorted(counts.items()))
