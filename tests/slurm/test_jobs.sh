#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# Jobs on a real Slurm: srun, mpirun, the templates of scripts/slurm as they are, a time limit, scancel.
set -u
# shellcheck source=tests/slurm/lib.sh
. "$(dirname "$0")/lib.sh"
examples=$built/examples

# ---- A job that takes longer than it may; it runs while the rest is tested ----

long=$(submit --time=1 --job-name=long --output=long.out "$templates/requeue.sbatch" "$built/tests/unfinished" \
    "$directory/long.db" 120 2)

# ---- srun ----

for n in 1 2 5; do
    check "srun -n $n" prints "1, 4, 9" "$testbed" run srun --overcommit -n $n "$examples/square"
done
check "srun without MPI" prints "1, 4, 9" "$testbed" run env PMAP_MPI=no srun -n 1 "$examples/square"

# ---- Templates ----

# Submit a template, wait for its end, and find the line in its output.
template() { # line template arguments…
    local job
    job=$(submit --output=%j.out "$templates/$2" "${@:3}") || return 1
    ends "$job" COMPLETED 60 && has_line "$directory/$job.out" "$1" || { cat "$directory/$job.out"; return 1; }
}

pi=$("$examples/pi" 40)
hosts="node1 node2"
[[ $mode != plain ]] || hosts=$(hostname -s) # all on one
check "plain.sbatch equals a run without a launcher" template "$pi" plain.sbatch "$examples/pi" 40
check "mpirun.sbatch equals it, too" template "$pi" mpirun.sbatch "$examples/pi" 40
check "plain.sbatch has as many ranks as tasks" template "4 ranks, 4 threads, all at work on $hosts" plain.sbatch "$built/tests/where"
check "mpirun.sbatch has, too" template "4 ranks, 4 threads, all at work on $hosts" mpirun.sbatch "$built/tests/where"
check "hybrid.sbatch has as many threads as CPUs per task" template "2 ranks, 4 threads, all at work on $hosts" hybrid.sbatch "$built/tests/where"
check "hybrid.sbatch computes the same" template "$pi" hybrid.sbatch "$examples/pi" 40

array() {
    local job i
    job=$(submit --output=array.%a "$templates/array.sbatch" "$examples/pi") || return 1
    for i in 1 2 3 4; do
        ends "${job}_$i" COMPLETED 60 && has_line "$directory/array.$i" "$("$examples/pi" $i)" || return 1
    done
}
check "array.sbatch" array

# Commands from a file, by pmap-run, with a joblog.
farm() {
    local job
    printf 'echo %s\n' one two three >"$directory/tasks.txt"
    job=$(submit --output=%j.out --export="ALL,PATH=$built/src/tools:$PATH" "$templates/farm.sbatch" tasks.txt) || return 1
    ends "$job" COMPLETED 60 && has_line "$directory/$job.out" one && has_line "$directory/$job.out" three &&
        [ "$(wc -l <"$directory/farm.$job.tsv")" = 4 ] || { cat "$directory/$job.out"; return 1; }
}
check "farm.sbatch" farm

# ---- scancel ----

# Items run until they are asked to stop: the pool is interrupted, says so, and the job ends with nothing left.
cancelled() { # template signal-arguments…
    local job
    rm -f "$directory"/{ready,pid.*}
    job=$(submit --output=cancelled.out "$templates/$1" "$built/tests/interrupted" map) || return 1
    appears "$directory/ready" 30 || { cat "$directory/cancelled.out"; return 1; }
    run scancel "${@:2}" "$job"
    ends "$job" "$expected" 30 && says "$directory/cancelled.out" 'PMAP_EINTERRUPTED: pmap_map: interrupted by SIG' &&
        nothing_runs "$built/tests/interrupted"
}
expected=CANCELLED check "scancel stops the hand-out" cancelled plain.sbatch
expected=FAILED check "scancel --signal=USR1 does, and the status is the program's" cancelled plain.sbatch --signal=USR1
expected=FAILED check "scancel --full --signal=USR1 under mpirun" cancelled mpirun.sbatch --full --signal=USR1

# ---- The time limit ----

# Slurm kills at the limit; the program must have stopped by itself, in its first life, and have been done in its second.
long_job() {
    ends "$long" COMPLETED 150 || { cat "$directory/long.out"; return 1; }
    says "$directory/long.out" 's of walltime are left, an item takes 2(\.[0-9]*)? s: [0-9]+ of 120 items not run' &&
        says "$directory/long.out" "job $long is queued again, after 1 of its lives" &&
        says "$directory/long.out" '^120 runs, sum 7260$'
}
check "a job that hits its limit is requeued and finishes" long_job
once() { # each item: none was lost, and none done again
    [[ $(grep -c '^did run ' "$directory/long.out") == 120 ]] || { cat "$directory/long.out"; return 1; }
}
check "none of its items is run twice" once
finish
