#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# Farms for commands, side by side: so many commands that do nothing (true), in two slots. Runs in the build directory.
#
#     commands.sh              a table: jobs per second by the clock and by CPU time, and ratios to GNU parallel
#     commands.sh --lines      no table, but lines as bench.h describes them, for scripts/bench
#
# From the environment: JOBS (1000), REPETITIONS (5), MPIRUN.
#
# The repetitions are interleaved, A B C, A B C, ..., so that a change of the machine's mood meets all. The time is that of whole programs,
# from start to exit; with mpirun's. Each farm must have run all its jobs, as its joblog says.
#
# shellcheck disable=SC2317 # functions are called by names from a list
set -uo pipefail
export LC_ALL=C

form=${1:---table} jobs=${JOBS:-1000} repetitions=${REPETITIONS:-5}
read -r -a mpirun <<<"${MPIRUN:-mpirun --oversubscribe --bind-to none}"
case $form in
--table | --lines) ;;
*) echo "usage: commands.sh [--lines]" >&2; exit 2 ;;
esac
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export HOME=$work # GNU parallel asks there whether its notice was read
mkdir -p "$work/.parallel" && touch "$work/.parallel/will-cite"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # asked for by Open MPI if root runs this
program=src/tools/pmap-run
if [ -x src/tools/.libs/pmap-run ]; then # the program itself, not libtool's script, which takes as long as many jobs
    program=src/tools/.libs/pmap-run
    export LD_LIBRARY_PATH=$PWD/.libs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
status=0
seq "$jobs" >"$work/arguments"

# ---- The programs: what it is called, how it is run ----

parallel_2() { timed parallel -j2 --joblog "$work/log" true <"$work/arguments"; }
pmap_run_threads_2() { timed "$program" -j2 --joblog "$work/log" true <"$work/arguments"; }
pmap_run_shell() { timed "$program" -j2 --joblog "$work/log" 'true;true' <"$work/arguments"; } # which needs a shell
pmap_run_ranks_2() { timed "${mpirun[@]}" -n 2 "$program" -j1 --joblog "$work/log" true <"$work/arguments"; }
xargs_2() { timed xargs -n 1 -P 2 true <"$work/arguments" && cp "$work/full" "$work/log"; } # no output in one piece, no log
timed() { bench/timed "$work/$name" "$@"; }

all=(parallel_2 pmap_run_threads_2 pmap_run_shell pmap_run_ranks_2 xargs_2)
needs=(parallel "$program" "$program" "${mpirun[0]}" xargs)

# ---- Running ----

run() { # name
    name=$1
    rm -f "$work/log"
    "$name" >"$work/out" 2>&1 && [ "$(wc -l <"$work/log")" = $((jobs + 1)) ] && return
    echo "commands.sh: $name failed" >&2
    head -n 20 "$work/out" >&2
    touch "$work/$name.failed"
    status=1
}

# Wall and CPU seconds in the medians, and the median, lowest and highest of the ratios of CPU times to the first program's.
figures() { # name
    paste -d' ' "$work/$1" "$work/${chosen[0]}" | awk '
        function sorted(a, n,    i, j, x) {
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && a[j - 1] > a[j]; j--) { x = a[j]; a[j] = a[j - 1]; a[j - 1] = x }
        }
        function median(a, n) { sorted(a, n); return (a[int((n + 1) / 2)] + a[int(n / 2) + 1]) / 2 }
        NF == 6 { n++; wall[n] = $1; cpu[n] = $2; by_wall[n] = $4 / $1; by_cpu[n] = $5 / $2 }
        END { if (n) print median(wall, n), median(cpu, n), median(by_wall, n), by_wall[1], by_wall[n], median(by_cpu, n), by_cpu[1], by_cpu[n] }'
}

table() {
    printf '%d times true in 2 slots, %s cores; medians of %d, and how many times as many jobs as %s, by wall and by CPU time\n\n' \
        "$jobs" "$(nproc)" "$repetitions" "${chosen[0]}"
    printf '| %-18s | jobs/s by the clock | jobs per CPU second | times as many, by the clock | times as many, by CPU time |\n' "2 slots"
    echo '|--------------------|---------------------|---------------------|-----------------------------|----------------------------|'
    for name in "${chosen[@]}"; do
        [ -e "$work/$name.failed" ] || figures "$name" | awk -v name="$name" -v jobs="$jobs" '{
            printf "| %-18s | %19.0f | %19.0f | %-27s | %-26s |\n", name, jobs / $1, jobs / $2,
                sprintf("%.1f (%.1f - %.1f)", $3, $4, $5), sprintf("%.1f (%.1f - %.1f)", $6, $7, $8) }'
    done
}

lines() {
    for name in "${chosen[@]}"; do
        [ -e "$work/$name.failed" ] || figures "$name" | awk -v name="$name" -v jobs="$jobs" -v OFS='\t' '{
            print name "-cpu", "CPU seconds", jobs, $2; print name, "wall seconds", jobs, $1 }'
    done
}

[ -x bench/timed ] || { echo "commands.sh: run make bench first, and this in the build directory" >&2; exit 1; }
chosen=()
for i in "${!all[@]}"; do
    if command -v "${needs[i]}" >/dev/null; then
        chosen+=("${all[i]}")
    else
        echo "commands.sh: no ${needs[i]}, so no ${all[i]}" >&2
    fi
done
seq 0 "$jobs" >"$work/full"
for ((repetition = 0; repetition < repetitions; repetition++)); do
    for one in "${chosen[@]}"; do
        run "$one"
    done
done
"${form#--}"
exit "$status"
