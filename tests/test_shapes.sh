#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# Who tests the tests: tests/broken goes wrong in a known way, and tests/shapes must say so. Prints TAP.
set -u

here=$(dirname "$0")
program=${top_builddir:-$here/..}/tests/broken
launch=() # for launch.sh to fill
# shellcheck source=/dev/null
. "$here/launch.sh"
k=0 failures=0

# notices SHAPE WAY EXIT-STATUS PATTERN: run broken in the shape; what the runner prints must have the pattern in it.
notices() {
    local verdict=ok output status

    output=$(BROKEN=$1:$2 PMAP_TEST_TIMEOUT=3 PMAP_TEST_SHAPES='' "$here/shapes" "$program" 2>&1)
    status=$?
    ((status == $3)) && grep -qE "$4" <<<"$output" || verdict="not ok"
    echo "$verdict $((++k)) - shape $1: tests that $2 are reported"
    if [[ $verdict != ok ]]; then
        ((++failures))
        printf '# %s\n' "exit status $status, wanted $3 and $4" "${output//$'\n'/$'\n# '}"
    fi
}

notices t1 succeed 0 '^1\.\.3$'
notices t1 skip 0 '^ok 2 - 1 thread \(skip\): goes_wrong # SKIP no reason$'
notices t1 fail 1 '^# .*broken.c:[0-9]+: 6 \* 9 is 54, not 42$'
notices t1 crash 1 '^not ok 2 - 1 thread \(crash\): runs to its end \(1 of 3 tests done, exit status 134\)$'
notices t1 leave 1 '^not ok 2 - 1 thread \(leave\): runs to its end \(1 of 3 tests done, exit status 98\)$'
notices t1 hang 1 '^# stderr: time limit reached in test goes_wrong$'
notices t1 fail 1 '^not ok 2 - 1 thread \(fail\): goes_wrong$'
notices nonsense fail 1 '^not ok 1 - nonsense:fail: is a shape$'
if ((${#launch[@]})); then
    notices r2 succeed 0 '^1\.\.3$'
    notices r2 fail 1 '^# stderr: rank 1: goes_wrong: .*broken.c:[0-9]+: 6 \* 9 is 54, not 42$'
    notices r2 crash 1 '^not ok [1-4] - 2 ranks \(crash\): .*exit status'
    notices r2 leave 1 '^not ok [1-4] - 2 ranks \(leave\): .*exit status'
    notices r2 hang 1 '^# stderr: time limit reached in test goes_wrong$'
fi
MPIEXEC='' notices r2 fail 0 '^ok 1 - 2 ranks \(fail\) # SKIP no MPI$'
echo "1..$k"
((failures == 0))
