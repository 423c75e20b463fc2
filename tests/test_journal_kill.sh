#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# A program (tests/killed.c) is killed with SIGKILL, all its ranks at once, at random moments, and started again until it is done.
# What comes of it equals the serial program; no item is run that was in the journal when the run began; what had been finished for
# two seconds is never lost; and the journal is sound after each death.
#
# Environment:
#   MPIEXEC              as in launch.sh
#   PMAP_KILL_SEED       of the moments; 1 unless given
#   PMAP_KILL_CAMPAIGNS  how often the program is brought to its end in each shape; 2 unless given
set -u
export LC_ALL=C # for sort and its kin

program=${top_builddir:-$(dirname "$0")/..}/tests/killed
launch=() # for launch.sh to fill
# shellcheck source=/dev/null
. "$(dirname "$0")/launch.sh"
limit=${PMAP_TEST_TIMEOUT:-60}
campaigns=${PMAP_KILL_CAMPAIGNS:-2}
RANDOM=${PMAP_KILL_SEED:-1}
most=30 # lives of a program; the last is spared
directory=$(mktemp -d) || exit 99
trap 'rm -rf "$directory"' EXIT

k=0 failures=0 lives=0 kills=0 lost=0 oldest=0

complain() { echo "# $*"; wrong=1; }

lines() { local n=0; [[ ! -e $1 ]] || n=$(wc -l <"$1"); echo "$n"; }

known() { "$program" known "$dir" | sort || complain "the journal is damaged"; }

# Kill all processes of the job that lives; mpirun ends by itself.
kill_job() {
    local pids
    mapfile -t pids <"$dir/pids"
    kill -9 "${pids[@]}" 2>/dev/null
    ((++kills))
}

# Items that were done and are not in the journal: how many, and for how long they had been done at the most.
count_lost() { # time of the kill
    local at
    while read -r _ at; do
        ((++lost))
        ((($1 - at) / 1000000 <= oldest)) || oldest=$((($1 - at) / 1000000))
    done < <(join -v 1 "$dir/done" "$dir/known")
}

# One life: it is killed when so many items of it are done; true if it came to its end before.
live() { # items
    local before now status again deadline=$((SECONDS + limit))

    before=$(lines "$dir/log")
    : >"$dir/pids"
    "${how[@]}" "$program" work "$dir" 2>"$dir/err" </dev/null &
    local job=$!
    until (($(lines "$dir/pids") >= ranks && $(lines "$dir/log") - before >= $1)) || ! kill -0 $job 2>/dev/null; do
        ((SECONDS < deadline)) || { complain "it hangs"; break; }
    done
    now=$("$program" now)
    kill_job
    wait $job 2>/dev/null # without bash's obituary
    status=$?
    ((++lives))
    tail -n "+$((before + 1))" "$dir/log" 2>/dev/null | sort >"$dir/done"
    again=$(cut -d ' ' -f 1 "$dir/done" | comm -12 "$dir/known" -)
    [[ -z $again ]] || complain "it ran what was in the journal: ${again//$'\n'/ }"
    known >"$dir/known"
    count_lost "$now"
    ((status == 0))
}

# Lives until the end.
campaign() { # ranks
    local ended=1

    dir=$directory/$k wrong=0 ranks=$1 how=()
    ((ranks == 1)) || how=("${launch[@]}" -n "$ranks")
    mkdir "$dir"
    : >"$dir/known"
    for ((life = 1; life <= most && !wrong && ended; life++)); do
        live $((life == most ? 1000000 : RANDOM % 300))
        ended=$?
    done
    ((ended == 0)) || complain "it never came to its end: $(cat "$dir/err")"
    # It may have been killed after it had written that, and have written it again.
    [[ $(sort -u "$dir/result" 2>/dev/null) == "$("$program" serial)" ]] || complain "its result is not the serial one"
    [[ ! -e $dir/run.db-wal && ! -e $dir/run.db-journal ]] || complain "something lies beside the journal"
    report "killed $((life - 1)) times on $1 process(es), it ends with the serial result"
}

# A program that ends by exit(), and leaves its pool as it is, has everything in its journal.
leave() { # ranks
    local n

    dir=$directory/leave$1 wrong=0 how=()
    (($1 == 1)) || how=("${launch[@]}" -n "$1")
    mkdir "$dir"
    timeout -k 10 "$limit" "${how[@]}" "$program" leave "$dir" >"$dir/out" 2>&1 </dev/null
    n=$(known | wc -l)
    ((n == 6)) || complain "$n of 6 items are in the journal: $(cat "$dir/out")"
    report "all is there that was done before exit() on $1 process(es)"
}

report() {
    if ((wrong)); then
        ((++failures))
        echo "not ok $((++k)) - $1 (PMAP_KILL_SEED=${PMAP_KILL_SEED:-1})"
    else
        echo "ok $((++k)) - $1"
    fi
}

for ((i = 0; i < campaigns; i++)); do
    campaign 1
    ((${#launch[@]} == 0)) || campaign 3
done
leave 1
((${#launch[@]} == 0)) || leave 3
wrong=0
((oldest <= 2000)) || complain "an item was lost that had been done for $oldest ms"
report "nothing is lost that was done two seconds before"
echo "# $lives lives, $kills kills; $lost items done again, done $oldest ms before the kill at most"
echo "1..$k"
((failures == 0))
