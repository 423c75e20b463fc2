#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# Ranks that die, by SIGKILL, and what becomes of the others: tests/mortal.c. MPIEXEC as in launch.sh.
set -u

program=${top_builddir:-$(dirname "$0")/..}/tests/mortal
launch=() launcher= # for launch.sh to fill
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

wrapper=() # in front of the program

# Start it: run RANKS CALL WORDS...; leaves status and took.
run() {
    local ranks=$1 call=$2 since
    shift 2
    fresh
    since=$(now)
    timeout -k 10 "$limit" "${launch[@]}" -n "$ranks" "${wrapper[@]}" "$program" "$call" "$deaths" "$@" \
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
    is_said "$words" || how="not ok"
    await 2000 nobody_left || how="not ok"
    verdict "$how" "$title"
}

# On stderr; or MPICH's launcher has killed all ranks, with its own text on stdout, before pmap could speak.
is_said() {
    grep -qE "$1" "$directory/err" || { [[ $launcher == mpich ]] && grep -q 'EXIT STRING: Killed (signal 9)' "$directory/out"; }
}

# Kill one process of a run from outside, that of a rank or the launcher's, and see all others end within the limit.
ends_if_killed() {
    local title=$1 victim=$2 words=$3 how=ok pid
    shift 3
    fresh
    timeout -k 10 "$limit" "${launch[@]}" -n 4 "${wrapper[@]}" "$program" stay "$deaths" dedicated=1 "$@" >"$directory/out" 2>"$directory/err" </dev/null &
    await 20000 begun || how="not ok"
    if [[ $victim == launcher ]]; then
        pid=$(parent_of "$(pid_of_rank 1)")
        ((${#wrapper[@]} == 0)) || pid=$(parent_of "$pid") # there is pmap-rank between them
    else
        pid=$(pid_of_rank "$victim")
    fi
    local since
    since=$(now)
    kill -KILL "$pid"
    await 2000 nobody_left || how="not ok"
    took=$(($(now) - since))
    wait $!
    status=$?
    ((status != 0)) || how="not ok"
    [[ -z $words ]] || is_said "$words" || how="not ok"
    verdict "$how" "$title"
}

parent_of() { ps -o ppid= -p "$1" | tr -d ' '; }

begun() { (($(find "$deaths" -name 'pid.*' | wc -l) == 3)); }

pid_of_rank() {
    local pid
    for pid in $(pgrep -f "^$program .*$deaths"); do
        tr '\0' '\n' <"/proc/$pid/environ" | grep -qxE "(OMPI_COMM_WORLD|PMI)_RANK=$1" && echo "$pid"
    done
}

# Do the others finish, to the right result, when ranks die? The status of the run is then expected_status.
#     survives TITLE RANKS CALL WORDS...
expected_status=0
survives() {
    local title=$1 ranks=$2 call=$3 how=ok
    shift 3
    run "$ranks" "$call" survive=1 "$@"
    ((status == expected_status)) || how="not ok"
    await 2000 nobody_left || how="not ok"
    verdict "$how" "$title"
}

# Is pmap_create refused, with these words?
refuses() {
    local how=ok
    run 3 map survive=1 "${@:3}"
    ((status != 0 && took < limit * 1000)) && grep -qE "$2" "$directory/err" || how="not ok"
    verdict "$how" "$1"
}

if ((${#launch[@]} == 0)); then
    echo "1..0 # SKIP no MPI"
    exit 0
fi
program=$(realpath "$program")

tests=46
echo "1..$tests"
named='pmap: rank [1-3] on .* died while running items? [0-9]+(-[0-9]+)?(, items? [0-9]+(-[0-9]+)?)* of square'
ends "a rank that dies is named with its items, and all end" "$named; ending all ranks" 4 map dedicated=1
ends "a rank of two threads, too" "$named" 4 map dedicated=1 threads=2
ends "a child that it leaves behind hides nothing" "$named" 4 map dedicated=1 fork=1
ends "if the program owns MPI" "$named" 4 map dedicated=1 own=1
# The launcher may be faster than us here.
ends "if the program owns MPI and its root is not in a call" 'rank [1-3] on .* died|exited on signal 9' 4 compute dedicated=1 own=1
ends_if_killed "a rank is killed from outside" 2 'pmap: rank 2 on .* died while running items'
ends_if_killed "the root is killed: all others end within two seconds" 0 'pmap: the root, rank 0 on .*, died; ending all ranks'

PMAP_HEARTBEAT=0.2 run 3 stop
((status == 0)) && how=ok || how="not ok"
verdict "$how" "a rank that is stopped for a second is not mistaken for dead"
PMAP_HEARTBEAT=soon ends "PMAP_HEARTBEAT is no number" 'PMAP_HEARTBEAT in the environment is "soon", not' 2 map

case $launcher in
openmpi4) refused='start with mpirun --mca orte_abort_on_non_zero_status 0 \.\.\. pmap-rank' ;;
openmpi) refused='was started without ULFM: start with mpirun --with-ft ulfm' ;;
*) refused='this is neither Open MPI 4 nor an MPI with ULFM' ;;
esac
refuses "an mpirun that would end all ranks" "$refused"

# From here on they may survive.
case $launcher in
openmpi4)
    launch+=(--mca orte_abort_on_non_zero_status 0)
    # Now mpirun takes every status for 0.
    run 3 map survive=1
    grep -q 'start with mpirun --mca orte_abort_on_non_zero_status 0 \.\.\. pmap-rank' "$directory/err" && how=ok || how="not ok"
    verdict "$how" "mpirun that was told so, but without pmap-rank"
    wrapper=("$(realpath "${top_builddir:-$(dirname "$0")/..}")/src/tools/pmap-rank")
    ;;
openmpi)
    launch+=(--with-ft ulfm)
    echo "ok $((++k)) # SKIP pmap-rank is for Open MPI 4"
    ;;
*)
    while ((k < tests)); do echo "ok $((++k)) # SKIP no rank can survive others here"; done
    exit $((failures > 0))
    ;;
esac
refuses "a program that owns MPI" 'the program initialised MPI itself' own=1
refuses "a program whose first pool was another" 'was not in the first pool' late=1
OMPI_MCA_btl=self,vader,ofi refuses "a network that is not known to bear deaths" 'OMPI_MCA_btl is "self,vader,ofi"'
OMPI_MCA_btl='^openib' refuses "whatever network there is" 'OMPI_MCA_btl is "\^openib"'
OMPI_MCA_pml='^cm' refuses "another way to move messages" 'OMPI_MCA_pml is "\^cm"'
PMAP_HEARTBEAT=0 refuses "a program without lifelines" 'PMAP_HEARTBEAT is 0'

for call in map cost retry collect imap reduce apply share bytes; do
    survives "two of five ranks die: $call" 5 $call kills=2
done
for call in map imap reduce; do
    survives "two of four ranks of two threads die: $call" 4 $call kills=2 threads=2
done
survives "two of five ranks die, and there is a journal" 5 journal journal=1 kills=2
survives "only the root is left" 5 map kills=4
survives "only a root is left that runs no items" 4 nobody kills=3 dedicated=1
survives "an item that kills three ranks is lost, and no other" 5 poison dedicated=1
survives "ranks that die at once cost an item no more than one try" 8 burst dedicated=1
survives "a task that calls exit()" 3 exit
survives "a map-reduce whose rank dies fails, and the next does not" 4 mapreduce dedicated=1
survives "rank 0 dies, and is not the root" 3 map kills=2 root=1
survives "nobody dies" 3 map kills=0
survives "no later pool is over other ranks" 4 half kills=0
survives "a rank is alone" 1 map kills=0

# Runs what follows where there is nothing but the loopback device.
offline=(unshare -rn bash -c 'ip link set lo up; exec "$@"' offline)
if unshare -rn ip link set lo up 2>/dev/null; then
    online=("${launch[@]}")
    launch=("${offline[@]}" env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 "${launch[@]}")
    survives "on a host without a network" 3 map
    launch=("${online[@]}")
else
    echo "ok $((++k)) - on a host without a network # SKIP no network namespaces"
fi
words='pmap: rank [1-3] lost the connection to the root, rank 0 on .*; ending this rank'
ends_if_killed "if the root of survivors is killed all others end" 0 "$words" survive=1
ends_if_killed "if mpirun is killed all ranks end" launcher '' survive=1
[[ $launcher != openmpi ]] || expected_status=1 # which is that of the rank that ends: it cannot know that it is not the root who has died
survives "a rank that is taken for dead ends itself, and nobody else" 3 cut
expected_status=0
grep -qE "$words" "$directory/err" && how=ok || how="not ok"
verdict "$how" "and says why"
run 3 fail survive=1
((status != 0 && took < limit * 1000)) && how=ok || how="not ok"
verdict "$how" "a program that fails is not taken for one that does not"
((failures == 0))
