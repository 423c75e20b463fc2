#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# Nodes that lose their power, or their cable, under a job.
set -u
# shellcheck source=tests/slurm/lib.sh
. "$(dirname "$0")/lib.sh"

# Two ranks on two nodes, in items that run until they are asked to stop; the job's number goes into the variable job.
begin() { # options…
    rm -f "$directory"/{ready,pid.*}
    job=$(submit --output=lost.out --open-mode=append --nodes=2 --ntasks=2 --ntasks-per-node=1 "$@" "$templates/plain.sbatch" \
        "$built/tests/interrupted" map) || return 1
    appears "$directory/ready" 30
}

# The run ends, and says which rank is lost.
is_noticed() { # seconds
    local begun=$SECONDS
    until grep -q 'rank 1 on node2' "$directory/lost.out"; do
        ((SECONDS < begun + $1)) || { echo "nobody says that rank 1 is lost"; cat "$directory/lost.out"; return 1; }
        read -rt 0.1 <> <(:) || :
    done
    nothing_is_left || { cat "$directory/lost.out"; return 1; }
}

nothing_is_left() {
    local end=$((SECONDS + 30)) # srun waits 7 s for a node that does not answer
    until [[ -z $(run squeue -h -j "$job" -t R -o %i) ]] && nothing_runs "$built/tests/interrupted"; do
        ((SECONDS < end)) || { nothing_runs "$built/tests/interrupted"; run squeue -j "$job"; return 1; }
        read -rt 0.1 <> <(:) || :
    done
}

# The job has failed, or Slurm, which notices later that a node is lost, has queued it again.
is_over() {
    local now
    now=$("$testbed" wait "$job" 60 PENDING FAILED NODE_FAIL)
    run scancel "$job"
    [[ $now == *" 1" || $now == FAILED* || $now == NODE_FAIL* ]] || { echo "the job is \"$now\""; return 1; }
}

crash() {
    begin --nodelist=node1,node2 --requeue || return 1
    "$testbed" node node2 crash
    is_noticed 30 && is_over
}

unplug() {
    begin --nodelist=node1,node2 --requeue || return 1
    "$testbed" node node2 unplug
    is_noticed 30 && is_over
}

if [[ $mode == plain ]]; then
    skip "a node that loses its power" "network namespaces are not permitted here"
else
    check "a node that loses its power ends the run, which names the rank" crash
    "$testbed" node node2 boot
    check "the node comes back" all_idle
    check "a node that loses its cable does, too" unplug
    "$testbed" node node2 plug
    check "and comes back" all_idle
fi
finish
