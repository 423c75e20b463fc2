#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# What people see of programs that run, tests/watched.c: progress, reports, statistics. See watch.py. MPIEXEC as in launch.sh,
# PMAP_TEST_SHAPES as in shapes.
set -u

if ! command -v python3 >/dev/null; then
    echo "1..0 # SKIP no python3"
    exit 0
fi
launch=() # for launch.sh to fill
# shellcheck source=/dev/null
. "$(dirname "$0")/launch.sh"
export PMAP_WATCHED=${top_builddir:-$(dirname "$0")/..}/tests/watched PMAP_LAUNCH="${launch[*]}"
exec python3 "$(dirname "$0")/watch.py"
