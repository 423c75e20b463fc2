#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# Programs that leave their pool in the wrong way end all the same, on all ranks: tests/ends.c. MPIEXEC as in launch.sh.
set -u

program=${top_builddir:-$(dirname "$0")/..}/tests/ends
launch=() launcher= # for launch.sh to fill
# shellcheck source=/dev/null
. "$(dirname "$0")/launch.sh"
limit=${PMAP_TEST_TIMEOUT:-60}
directory=$(mktemp -d) || exit 99
trap 'rm -rf "$directory"' EXIT

k=0 failures=0

# Does the program end, with the status that is expected ("failure": any but 0; "killed": by SIGKILL, but not by us), and say what it should on stderr?
#     ends RANKS STATUS WORDS ARGUMENTS...       RANKS 0: without a launcher
ends() {
    local ranks=$1 expected=$2 words=$3 how=() status verdict=ok title begun=$SECONDS

    shift 3
    title="${*/$directory\//}, $ranks ranks"
    if ((ranks == 0)); then
        title="${*/$directory\//}, no launcher"
    elif ((${#launch[@]} == 0)); then
        echo "ok $((++k)) - $title # SKIP no MPI"
        return
    else
        how=("${launch[@]}" -n "$ranks")
    fi
    { timeout -k 10 "$limit" "${how[@]}" "$program" "$@" >"$directory/out" 2>"$directory/err" </dev/null; } 2>/dev/null
    status=$?
    [[ $launcher == mpich && $status == 9 ]] && status=137 # which is how it says killed
    case $expected in
    failure) ((status != 0 && status != 124 && status != 137)) || verdict="not ok" ;;
    killed) # of several ranks another may end, with a failure, before the launcher has seen the death
        ((SECONDS - begun < limit && (status == 137 || (ranks > 1 && status != 0 && status != 124)))) || verdict="not ok" ;;
    *) ((status == expected)) || verdict="not ok" ;;
    esac
    [[ -z $words ]] || grep -qE "$words" "$directory/err" || verdict="not ok"
    echo "$verdict $((++k)) - ends: $title"
    if [[ $verdict != ok ]]; then
        ((++failures))
        echo "# exit status $status, expected $expected, and on stderr: $words"
        sed 's/^/# /' "$directory/out" "$directory/err"
    fi
}

# After such a program none of the processes that it noted is left.
#     leaves_none RANKS HOW
leaves_none() {
    local verdict=ok pid deadline=$((SECONDS + limit)) left=1

    rm -f "$directory/pids"
    ends "$1" killed '' "$2" "$directory/pids"
    while ((left > 0 && SECONDS < deadline)); do
        left=0
        for pid in $(sort -u "$directory/pids" 2>/dev/null); do
            # a zombie is for init to bury
            if [[ -r /proc/$pid/stat ]] && ! grep -q ') Z ' "/proc/$pid/stat" 2>/dev/null && [[ -r /proc/$pid/stat ]]; then
                ((++left))
            fi
        done
    done
    ((left == 0)) && { (($1 > 0 && ${#launch[@]} == 0)) || [[ -s $directory/pids ]]; } || verdict="not ok"
    echo "$verdict $((++k)) - leaves no process: $2, $1 ranks"
    if [[ $verdict != ok ]]; then
        ((++failures))
        echo "# $left of these are left: $(sort -u "$directory/pids" | tr '\n' ' ')"
    fi
}

forgot='without pmap_destroy'
echo "1..36"
ends 0 3 "$forgot" main
ends 1 3 "$forgot" main
ends 2 3 "$forgot" main
ends 0 3 "$forgot" deaf
ends 1 failure "does not ask pmap_cancelled" deaf
ends 3 failure "does not ask pmap_cancelled" deaf
for how in task operation callback initializer; do
    ends 0 3 '' $how
    ends 1 failure 'called exit\(\)|exit\(\) while' $how
    ends 2 failure 'called exit\(\)|exit\(\) while|exit\(\) on a rank' $how
done
for how in segv abort kill; do
    [[ $how == kill ]] && expected=killed || expected=failure
    ends 0 $expected '' $how
    ends 1 $expected '' $how
    ends 2 $expected '' $how
done
leaves_none 0 isolated
leaves_none 2 isolated
leaves_none 2 isolated-rank
ends 1 0 "$forgot" own funneled
ends 3 0 "$forgot" own funneled
ends 3 0 "$forgot" own multiple
((failures == 0))
