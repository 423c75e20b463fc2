#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# Ranks that run different programs: pmap_create returns PMAP_EMISMATCH on every rank, names the task, or the
# operation, and the job ends at once. The programs are tests/mismatch_*.c; see mismatch.h for what they print. MPIEXEC as in
# launch.sh.
set -u

programs=${top_builddir:-$(dirname "$0")/..}/tests
launch=() # for launch.sh to fill
# shellcheck source=/dev/null
. "$(dirname "$0")/launch.sh"
limit=${PMAP_TEST_TIMEOUT:-60}

if ((${#launch[@]} == 0)); then
    echo "1..0 # SKIP no MPI"
    exit 0
fi
directory=$(mktemp -d) || exit 99
trap 'rm -rf "$directory"' EXIT

k=0 failures=0

# Every rank's line must match the pattern, and nobody may hang. job TITLE PATTERN PROGRAM...
job() {
    local title=$1 pattern=$2 ranks=$(($# - 2)) each=() status right verdict=ok

    shift 2
    for program; do
        each+=(: -n 1 "$programs/mismatch_$program")
    done
    timeout -k 10 "$limit" "${launch[@]}" "${each[@]:1}" \
        >"$directory/out" 2>"$directory/err" </dev/null
    status=$?
    right=$(grep -cE "^rank [0-9]+: $pattern" "$directory/out")
    ((status == 0 && right == ranks)) || verdict="not ok"
    echo "$verdict $((++k)) - $title"
    if [[ $verdict != ok ]]; then
        ((++failures))
        echo "# exit status $status, $right of $ranks ranks say: $pattern"
        sed 's/^/# /' "$directory/out" "$directory/err"
    fi
}

echo "1..14"
ok='PMAP_OK: $'
beta='PMAP_EMISMATCH: .*\<beta\>'
job "equal programs fit" "$ok" base base base
job "order of declarations does not matter" "$ok" base order
job "task missing on another rank" "$beta" base lacks
job "task missing on the root" "$beta" lacks base
job "task missing on the last rank only" "$beta" base base lacks
job "task missing on all ranks but one" "$beta" lacks base lacks
job "task with another type on another rank" "$beta" base types
job "task with another type on the root" "$beta" types base base
job "task missing here, of another type there" "$beta" base lacks types
op='PMAP_EMISMATCH: .*\<gamma_of\>'
job "equal operations fit" "$ok" op op op
job "operation missing on another rank" "$op" op base
job "operation missing on the root" "$op" base op op
job "operation of another type on another rank" "$op" op op_type
job "two different tasks of one name" 'PMAP_EINVAL: .*mismatch_twice.* both declare a task alpha' twice twice
((failures == 0))
