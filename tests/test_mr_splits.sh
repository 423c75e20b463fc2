#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# A map-reduce with a journal (tests/splits_job.c) is cut short: all its processes are killed with SIGKILL in the middle of a split, or it
# is interrupted, or a split fails. It is run again, on other numbers of threads and ranks. Splits that were done then, as the files
# beside the journal tell, are not mapped again; all others are; the output is that of a program that nothing befell; and in the end
# nothing lies beside the journal. The same after inputs were changed, and files damaged.
#
# Environment:
#   MPIEXEC   as in launch.sh
set -u

program=${top_builddir:-$(dirname "$0")/..}/tests/splits_job
survivors=(--mca orte_abort_on_non_zero_status 0 "${top_builddir:-$(dirname "$0")/..}/src/tools/pmap-rank")
launch=() launcher= # for launch.sh to fill
# shellcheck source=/dev/null
. "$(dirname "$0")/launch.sh"
limit=${PMAP_TEST_TIMEOUT:-60}
directory=$(mktemp -d) || exit 99
trap 'rm -rf "$directory"' EXIT

k=0 failures=0

complain() { echo "# $*"; wrong=1; }

report() {
    ((wrong)) && ((++failures))
    echo "$( ((wrong)) && echo "not ")ok $((++k)) - $1"
}

# Three files of lines of words, 60 splits.
make_input() { # directory
    local f

    mkdir -p "$1/in"
    for f in a b c; do
        awk -v f=$f 'BEGIN { for (i = 0; i < 3000; i++) printf "w%d x%d %s%d\n", i * 7919 % 997, i % 31, f, i % 211 }' >"$1/in/$f"
    done
}

# Begin in an empty directory, with input.
begin() {
    dir=$directory/$k wrong=0
    rm -rf "$dir"
    mkdir "$dir"
    make_input "$dir"
}

# Run the job in $dir: on "2" threads, or "3x1", ranks x threads. What it says is in $said.
job() { # workers, arguments
    local how=() workers=$1
    shift
    export SPLITS_THREADS=${workers#*x}
    [[ $workers != *x* ]] || how=("${launch[@]}" -n "${workers%x*}")
    [[ ${2-} != die ]] || how+=("${survivors[@]}")
    : >"$dir/pids"
    : >"$dir/log"
    said=$(timeout -k 10 "$limit" "${how[@]}" "$program" "$dir" "$@" 2>"$dir/err" </dev/null | tail -n 1)
}

lines() { wc -l <"$1"; }

# How many splits are in the files beside the journal: entries have 48 bytes.
deposits() {
    local sum=0 size file
    for file in "$dir"/run.db-splits/*/*.index; do
        [[ ! -e $file ]] || { size=$(stat -c %s "$file"); ((sum += size / 48)); }
    done
    echo "$sum"
}

# What the output would be if nothing befell the program, and how many splits it has.
expect() { # kind
    mkdir -p "$dir/plain"
    rm -rf "$dir/plain/in" "$dir/plain/log"
    cp -r "$dir/in" "$dir/plain/in"
    SPLITS_THREADS=1 timeout -k 10 "$limit" "$program" "$dir/plain" "$1" >"$dir/plain/said" 2>&1
    rm -rf "$dir/plain/run.db"*
    splits=$(awk '{ print $3 }' "$dir/plain/said") pairs=$(awk '{ print $7 }' "$dir/plain/said")
}

# The job has come to its end, has mapped so many splits, and is right.
check_end() { # splits that are mapped
    [[ $said == "0 splits $splits found $((splits - $1)) pairs $pairs" ]] || complain "it says \"$said\", not \"0 splits $splits found $((splits - $1)) pairs $pairs\": $(tail -n 3 "$dir/err")"
    (($(lines "$dir/log") == $1)) || complain "it mapped $(lines "$dir/log") splits, not $1"
    cmp -s "$dir/out" "$dir/plain/out" || complain "its output is another"
    [[ ! -e $dir/run.db-splits ]] || complain "something lies beside the journal: $(ls -R "$dir/run.db-splits")"
}

# Cut it short; what it has left is worth going on with.
cut_short() { # workers, kind, end, number
    job "$@"
    left=$(deposits)
    ((left > $4 - 1 - 6 && left < splits)) || complain "$left of $splits splits are kept after the end at call $4: $said $(cat "$dir/err")"
}

goes_on() { # kind, workers that are killed, and then; when
    begin
    expect "$1"
    cut_short "$2" "$1" kill "${4:-40}"
    job "$3" "$1"
    check_end $((splits - left))
    report "$1: killed on $2, it goes on on $3"
}

goes_on count 2 1
goes_on count 1 4
goes_on index 2 1
goes_on sorted 2 1
goes_on packed 2 2
goes_on array 2 1 12
goes_on generator 2 1 5
goes_on delivered 1 2
goes_on kept 2 1
if ((${#launch[@]})); then
    goes_on count 3x1 2
    goes_on count 2 5x1
    goes_on index 2x2 3x1
    goes_on sorted 2x1 1
    goes_on array 3x1 2x2 12
fi

# Killed again and again.
begin
expect index
sum=0
for workers in 1 2 4; do
    job "$workers" index kill 20
    ((sum += $(lines "$dir/log")))
done
left=$(deposits)
job 2 index
check_end $((splits - left))
((sum - left <= 1 + 2 + 4)) || complain "of $sum splits that were mapped $left are kept"
report "killed three times it has done what it had done"

# Nothing is left to do, and nothing to be mapped.
job 1 index
[[ $said == 0\ * && ! -s $dir/log && ! -e $dir/run.db-splits ]] || complain "it says \"$said\", and maps $(lines "$dir/log") splits"
report "a call that is finished is not run again"

begin
expect count
job 2 whole kill 40
[[ ! -e $dir/run.db-splits ]] || complain "splits are kept of a call that is to be known as a whole"
job 1 whole
check_end "$splits"
job 1 whole
[[ $said == 0\ * && ! -s $dir/log ]] || complain "it says \"$said\", and maps $(lines "$dir/log") splits"
report "a call that is to be known as a whole keeps no splits"

begin
expect count
cut_short 2 count kill 50
echo "another line" >>"$dir/in/b"
expect count
job 2 count
mapped=$(lines "$dir/log")
check_end "$mapped"
((mapped < splits - left + splits / 3 + 3 && mapped >= splits / 3)) || complain "$mapped of $splits splits are mapped, and $left were done"
[[ $(awk '$1 == 1' "$dir/log" | wc -l) == $(awk '$1 == 1' "$dir/plain/log" | wc -l) ]] || complain "not all of the changed file is mapped"
report "of a changed file all splits are mapped again, of the others none"

begin
expect count
cut_short 2 count term 40
[[ $said =~ ^[1-9][0-9]*$ ]] || complain "it says \"$said\""
job 1 count
check_end $((splits - left))
report "interrupted it goes on, too"

begin
expect count
job 1 count fail 50
[[ $said == "0 splits $splits found 49 pairs $pairs" ]] || complain "it says \"$said\": $(cat "$dir/err")"
(($(lines "$dir/log") == splits + 1)) || complain "it mapped $(lines "$dir/log") splits, not $((splits + 1))"
cmp -s "$dir/out" "$dir/plain/out" || complain "its output is another"
report "a call that has failed is made again in the same run, and goes on"

# The call fails with the rank; its splits were in files.
if ((${#launch[@]})) && [[ $launcher == openmpi4 ]]; then
    begin
    expect count
    job 4x1 count die 20
    [[ $said == "0 splits $splits found "* && -e $dir/dead ]] || complain "it says \"$said\": $(cat "$dir/err")"
    found=${said#*found } found=${found%% *}
    ((found >= 20 - 1 - 4 && $(lines "$dir/log") <= splits + 4)) || complain "$found of $splits splits are found, and $(lines "$dir/log") were mapped"
    cmp -s "$dir/out" "$dir/plain/out" || complain "its output is another"
    [[ ! -e $dir/run.db-splits ]] || complain "something lies beside the journal: $(ls -R "$dir/run.db-splits")"
    report "after a rank has died the others go on with what it had done"
fi

# Deposits that are not what they were.
damage() { # what, command
    begin
    expect count
    cut_short 1 count kill 40
    eval "$2"
    job 2 count
    mapped=$(lines "$dir/log")
    ((mapped > splits - left)) || complain "what was damaged is used: $mapped of $splits splits are mapped, and $left were done"
    check_end "$mapped"
    report "$1"
}
damage "a split whose pairs are damaged is mapped again" \
    'printf "\377\377" | dd of="$(ls "$dir"/run.db-splits/*/*.pairs)" bs=1 seek=20 conv=notrunc 2>"$dir/dd"'
damage "splits whose pairs are gone are mapped again" 'rm "$dir"/run.db-splits/*/*.pairs'
damage "splits whose pairs are cut off are mapped again" 'truncate -s 9000 "$dir"/run.db-splits/*/*.pairs'
damage "splits whose entries are damaged are mapped again" \
    'printf "\377\377\377" | dd of="$(ls "$dir"/run.db-splits/*/*.index)" bs=1 seek=100 conv=notrunc 2>"$dir/dd"'
damage "an entry that was not written to its end is passed over" 'truncate -s -7 "$dir"/run.db-splits/*/*.index'

# There is no room for more than some splits, which is enough to go on with.
begin
expect count
(
    trap '' XFSZ
    ulimit -f 200
    job 1 count
    echo "$said" >"$dir/said"
)
[[ $(<"$dir/said") == 13 ]] || complain "it says \"$(<"$dir/said")\": $(cat "$dir/err")"
grep -q "journal.*run.db-splits.*File too large" "$dir/err" || complain "it does not say what is full: $(cat "$dir/err")"
left=$(deposits)
((left > 5)) || complain "$left of $splits splits are kept"
job 2 count
check_end $((splits - left))
report "on a full disk the call says so, and goes on when there is room"

# A journal that is new has nothing to do with what an old one has left.
begin
expect count
cut_short 1 count kill 40
rm "$dir"/run.db*  2>"$dir/rm"
job 2 count
check_end "$splits"
report "what belongs to a journal that was removed is not used, and removed"

echo "1..$k"
((failures == 0))
