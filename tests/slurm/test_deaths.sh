#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# Ranks that die under Slurm, and on hosts that lose their power, or their cable: tests/mortal.c. What test_survive.sh does on one host.
set -u
# shellcheck source=tests/slurm/lib.sh
. "$(dirname "$0")/lib.sh"

deaths=$directory/deaths

fresh() {
    rm -rf "$deaths"
    mkdir "$deaths"
}

# The status of srun is that of the worst rank, so the output tells.
finishes() { # words… command…
    local words=$1
    fresh
    timeout 60 "${@:2}" >"$directory/out" 2>"$directory/err"
    cat "$directory/err"
    says "$directory/out" "$words" && nothing_runs "$built/tests/mortal"
}

survives_srun() { # call words
    finishes "$2" "$testbed" run srun -K0 --nodes=3 --ntasks=6 "$built/tests/mortal" "$1" "$deaths" survive=1 kills=2
    (($(grep -c 'going on without it' "$directory/err") == 2))
}

survives_mpirun() { # call words
    finishes "$2" "$testbed" mpirun --map-by node --mca orte_abort_on_non_zero_status 0 -n 4 "$built/src/tools/pmap-rank" \
        "$built/tests/mortal" "$1" "$deaths" survive=1 kills=2 || return 1
    (($(grep -c 'going on without it' "$directory/err") == 2))
}

# A rank on each node; that of node3 is in an item. The job's number goes into the variable job.
begin() { # words…
    fresh
    rm -f "$directory/lost.out"
    job=$(submit --output=lost.out --nodes=3 --ntasks-per-node=1 --no-kill --no-requeue \
        --wrap="srun --no-kill -K0 $built/tests/mortal node3 $deaths dedicated=1 $*") || return 1
    appears "$deaths/waits.0" 30
}

comes_to_say() { # words seconds
    local end=$((SECONDS + $2))
    until grep -qE "$1" "$directory/lost.out"; do
        ((SECONDS < end)) || { says "$directory/lost.out" "$1"; return 1; }
        read -rt 0.05 <> <(:) || :
    done
}

loses() { # crash|unplug words
    begin survive=1 || return 1
    "$testbed" node node3 "$1"
    comes_to_say "pmap: rank 2 on node3 $2 while running items .* of waits; going on without it" 10 &&
        comes_to_say 'node3: PMAP_OK, 0 wrong' 10
    local status=$?
    run scancel "$job"
    return $status
}

# Shorter than the heartbeat.
blinks() {
    begin || return 1
    "$testbed" node node3 unplug
    read -rt 1 <> <(:) || :
    "$testbed" node node3 plug
    touch "$deaths/go.0"
    comes_to_say 'node3: PMAP_OK, 0 wrong' 30 && ends "$job" COMPLETED 30
}

if [[ $mode != hosts ]]; then
    check "srun -K0: two of six ranks die in a map" survives_srun map 'map: PMAP_OK, 0 wrong'
    check "srun -K0: two of six ranks die with shared data" survives_srun share 'share: PMAP_OK, 0 wrong'
    check "srun -K0: two of six ranks die in a reduction" survives_srun reduce 'reduce: PMAP_OK, 1999000'
fi
if [[ $mode == plain ]]; then
    skip "pmap-rank over hosts" "network namespaces are not permitted here"
else
    check "pmap-rank over hosts: two of four ranks die with long messages" survives_mpirun bytes 'bytes: PMAP_OK, 0 wrong'
fi
if [[ $mode == namespaces ]]; then
    check "a link that is gone for a second is not mistaken for dead" blinks
    check "a node that loses its power is survived" loses crash died
    "$testbed" node node3 boot
    check "it comes back" all_idle
    check "a node that loses its cable is survived" loses unplug 'cannot be reached any more'
    "$testbed" node node3 plug
    check "it comes back" all_idle
fi
finish
