#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# Ranks that die, by SIGKILL, and what becomes of the others: tests/mortal.c. MPIEXEC as in launch.sh.
set -u

program=${top_builddir:-$(dirname "$0")/..}/tests/mortal
launch=() # for launch.sh to fill
# shellcheck source=/dev/null
. "$(dirname "$0")/launch.sh"
limit=${PMAP_TEST_TIMEOUT:-60}
directory=$(mktemp -d) || exit 99
trap 'pkill -KILL -f "$directory" 2>/dev/null; rm -rf "$directory"' EXIT

k=0 failures=0
deaths=$directory/deaths # of one test; its name is in the command line of each of its processes

verdict() { # ok|"not ok" TITLE
    echo "$1 $((++k)) - $2"
    [[ $1 == ok ]] && return
    ((++failures))
    echo "# exit status $status after ${took} ms"
    sed 's/^/# /' "$directory/out" "$directory/err"
}

now() { date +%s%3N; }

# Wait until a command succeeds, for so many ms.
await() {
    local end=$(($(now) + $1))
    shift
    until "$@"; do
        (($(now) < end)) || return 1
    done
}

nobody_left() { ! pgrep -f "^$program .*$deaths" >/dev/null; }

fresh() {
    rm -rf "$deaths"
    mkdir "$deaths"
}

# Start it: run RANKS ARGUMENTS...; leaves status and took.
run() {
    local ranks=$1 call=$2 since
    shift 2
    fresh
    since=$(now)
    timeout -k 10 "$limit" "${launch[@]}" -n "$ranks" "$program" "$call" "$deaths" "$@" \
        >"$directory/out" 2>"$directory/err" </dev/null
    status=$?
    took=$(($(now) - since))
}

# Does the whole run end, with a failure and these words on stderr, and leave nobody behind?
#     ends TITLE WORDS RANKS ARGUMENTS...
ends() {
    local title=$1 words=$2 how=ok
    shift 2
    run "$@"
    ((status != 0 && took < limit * 1000)) || how="not ok"
    grep -qE "$words" "$directory/err" || how="not ok"
    await 2000 nobody_left || how="not ok"
    verdict "$how" "$title"
}

# Kill one process of a run from outside, whichever has the rank, and see all others end within the limit.
ends_if_killed() {
    local title=$1 victim=$2 words=$3 how=ok pid
    fresh
    timeout -k 10 "$limit" "${launch[@]}" -n 4 "$program" stay "$deaths" >"$directory/out" 2>"$directory/err" </dev/null &
    await 20000 begun || how="not ok"
    pid=$(pid_of_rank "$victim")
    local since
    since=$(now)
    kill -KILL "$pid"
    await 2000 nobody_left || how="not ok"
    took=$(($(now) - since))
    wait $!
    status=$?
    ((status != 0)) || how="not ok"
    grep -qE "$words" "$directory/err" || how="not ok"
    verdict "$how" "$title"
}

begun() { (($(find "$deaths" -name 'pid.*' | wc -l) == 3)); }

pid_of_rank() {
    local pid
    for pid in $(pgrep -f "^$program .*$deaths"); do
        tr '\0' '\n' <"/proc/$pid/environ" | grep -qx "OMPI_COMM_WORLD_RANK=$1" && echo "$pid"
    done
}

if ((${#launch[@]} == 0)); then
    echo "1..0 # SKIP no MPI"
    exit 0
fi
program=$(realpath "$program")

echo "1..9"
named='pmap: rank [1-3] on .* died while running items? [0-9]+(-[0-9]+)?(, items? [0-9]+(-[0-9]+)?)* of square'
ends "a rank that dies is named with its items, and all end" "$named; ending all ranks" 4 map
ends "a rank of two threads, too" "$named" 4 map threads=2
ends "a child that it leaves behind hides nothing" "$named" 4 map fork=1
ends "if the program owns MPI" "$named" 4 map own=1
# The launcher may be faster than us here.
ends "if the program owns MPI and its root is not in a call" 'rank [1-3] on .* died|exited on signal 9' 4 compute own=1
ends_if_killed "a rank is killed from outside" 2 'pmap: rank 2 on .* died while running items'
ends_if_killed "the root is killed: all others end within two seconds" 0 'pmap: the root, rank 0 on .*, died; ending all ranks'

PMAP_HEARTBEAT=0.2 run 3 stop
((status == 0)) && how=ok || how="not ok"
verdict "$how" "a rank that is stopped for a second is not mistaken for dead"
PMAP_HEARTBEAT=soon ends "PMAP_HEARTBEAT is no number" 'PMAP_HEARTBEAT in the environment is "soon", not' 2 map
((failures == 0))
