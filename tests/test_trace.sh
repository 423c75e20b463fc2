#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# Traces: tests/traced.c does something, and check_trace.py looks at the file that it leaves. MPIEXEC as in launch.sh.
# PMAP_TEST_SMALL: a few of all.
set -u

here=$(dirname "$0")
program=${top_builddir:-$here/..}/tests/traced
launch=() # for launch.sh to fill
# shellcheck source=/dev/null
. "$here/launch.sh"
limit=${PMAP_TEST_TIMEOUT:-60}
directory=$(mktemp -d) || exit 99
trap 'rm -rf "$directory"' EXIT

if ! command -v python3 >/dev/null; then
    echo "1..0 # SKIP python3 is not here, which reads the traces"
    exit 0
fi

k=0 failures=0 status=0
file=$directory/run.json
wrapper=() # in front of the program

verdict() { # ok|"not ok" TITLE
    echo "$1 $((++k)) - trace: $2"
    [[ $1 == ok ]] && return
    ((++failures))
    echo "# exit status $status"
    sed 's/^/# /' "$directory/out" "$directory/err"
}

# Start it on so many ranks: run RANKS WHAT FILE WORDS…; 0: without a launcher, -3: on three virtual ranks. False: that cannot be here.
run() {
    local ranks=$1 how=()

    shift
    if ((ranks > 0)); then
        ((${#launch[@]})) || return 1
        how=("${launch[@]}" -n "$ranks")
    elif ((ranks < 0)); then
        how=(env "PMAP_LOOPBACK=$((-ranks))")
    fi
    rm -f "$file"
    { timeout -k 10 "$limit" "${how[@]}" "${wrapper[@]}" "$program" "$@" >"$directory/out" 2>"$directory/err" </dev/null; } 2>/dev/null
    status=$?
}

# What the root does leaves a file that is right, and says so much: traces RANKS "WHAT WORDS…" FIGURE=VALUE…
traces() {
    local ranks=$1 how=ok words

    read -ra words <<<"$2"
    shift 2
    if ! run "$ranks" "${words[0]}" "$file" "${words[@]:1}"; then
        echo "ok $((++k)) - ${words[*]}, $ranks ranks # SKIP no MPI"
        return
    fi
    ((status == 0)) || how="not ok"
    python3 "$here/check_trace.py" "$file" "$@" >>"$directory/out" 2>&1 || how="not ok"
    verdict "$how" "${words[*]}, $ranks ranks: $*"
}

everywhere() { # "WHAT WORDS…" FIGURE=VALUE…
    local ranks
    for ranks in ${shapes[*]}; do
        traces "$ranks" "$@"
    done
}

shapes=(0 2 5 -3)
[[ -z ${PMAP_TEST_SMALL-} ]] || shapes=(0 2)

exact=map,failures,retries,nested,costs,apply,stream
everywhere "$exact" exact=1 complete=true dropped=0 lost=0 calls=56 items=1594 failed=5 \
    pmap_map.spin:items=1204 pmap_map.spin:failed=5 pmap_map.outer:items=40 pmap_apply.spin:calls=50 pmap_imap.spin:calls=1
everywhere "short,reduce,cancel,mapreduce" complete=true dropped=0 calls=5 square:items=140000 wait_for_cancel:given_up=1+ phases=map,reduce
if [[ -z ${PMAP_TEST_SMALL-} ]]; then
    traces 2 "$exact threads=2" exact=1 complete=true items=1594 threads=4
    traces 3 "$exact dedicated root=2" exact=1 complete=true items=1594 threads=2
    traces 0 "map,crashes isolate" exact=1 complete=true items=340 failed=1 crash:failed=1
    traces 2 "map,crashes isolate" exact=1 complete=true items=340 failed=1 crash:failed=1
    traces 0 "second" exact=1 complete=true items=650 calls=52
    traces 3 "second" exact=1 complete=true items=650 calls=52
    traces 0 "interrupt" complete=true calls=1
    traces 2 "interrupt" complete=true calls=1
fi

# ---- More than is kept ----
export PMAP_TRACE_SPANS=64
shapes=(0 2)
everywhere "$exact" complete=true items=1594 calls=56 kept=64-
unset PMAP_TRACE_SPANS

# ---- The environment, of the root alone ----
how=ok
PMAP_TRACE=$file run 0 map -
python3 "$here/check_trace.py" "$file" exact=1 complete=true items=300 >>"$directory/out" || how="not ok"
verdict "$how" "PMAP_TRACE is a trace"

how=ok
PMAP_TRACE=$directory/not.json run 0 map "$file"
[[ -e $file && ! -e $directory/not.json ]] || how="not ok"
verdict "$how" "the program's .trace goes before PMAP_TRACE"

how=ok
whole=$(realpath "$program")
(cd "$directory" && PMAP_REPORT=page.html "$whole" away,map run.json >out 2>err) || how="not ok"
[[ -s $file && -s $directory/page.html ]] || how="not ok"
verdict "$how" "relative paths are of where the program was when the pool began"
rm -f "$file" "$directory/page.html"

how=ok
run 0 map -
[[ -z $(ls "$directory"/*.json* 2>/dev/null) && $status == 0 ]] || how="not ok"
verdict "$how" "nothing is written unless it is asked for"

# ---- What cannot be ----
refused() { # TITLE WORDS RANKS ARGUMENTS…: fails at once, and says so
    local title=$1 words=$2 how=ok
    shift 2
    if ! run "$@"; then
        echo "ok $((++k)) - $title # SKIP no MPI"
        return
    fi
    ((status != 0 && status != 124)) || how="not ok"
    grep -qF "$words" "$directory/err" || how="not ok"
    verdict "$how" "$title"
}

refused "a directory that is not there" "trace is \"$directory/no/run.json\", which cannot be written: No such file" 0 map "$directory/no/run.json"
refused "the same on all ranks" "trace is \"$directory/no/run.json\", which cannot be written" 2 map "$directory/no/run.json"
refused "a directory" "trace is \"$directory\", which cannot be written: Is a directory" 0 map "$directory"
PMAP_TRACE=$directory refused "a directory in the environment" "PMAP_TRACE in the environment is \"$directory\"" 0 map -
PMAP_TRACE_SPANS=3 refused "a bound that is too small" 'PMAP_TRACE_SPANS in the environment is "3"' 0 map "$file"
PMAP_TRACE_SPANS=4k refused "a bound that is no number" 'PMAP_TRACE_SPANS in the environment is "4k"' 0 map "$file"

# ---- Runs that end badly ----
leaves() { # TITLE RANKS "WHAT WORDS…" FIGURE=VALUE…: there is a file, whatever became of the program
    local title=$1 ranks=$2 how=ok words
    read -ra words <<<"$3"
    shift 3
    if ! run "$ranks" "${words[0]}" "$file" "${words[@]:1}"; then
        echo "ok $((++k)) - $title # SKIP no MPI"
        return
    fi
    python3 "$here/check_trace.py" "$file" "$@" >>"$directory/out" 2>&1 || how="not ok"
    ls "$directory"/*.new "$directory"/*.html.* >>"$directory/out" 2>/dev/null && how="not ok"
    [[ -z ${PMAP_REPORT-} ]] || grep -q '</html>' "$PMAP_REPORT" || how="not ok"
    verdict "$how" "$title"
}

leaves "exit() without pmap_destroy" 0 "leave" complete=false items=300
leaves "exit() without pmap_destroy on ranks" 3 "leave" complete=false calls=1
leaves "a rank that dies and ends the run" 3 "deaths" complete=false calls=1 lost=1+
export PMAP_REPORT=$directory/page.html
leaves "the same with a report" 3 "deaths" complete=false calls=1 lost=1+
unset PMAP_REPORT
if ((${#launch[@]})) && "${launch[@]}" --version 2>&1 | grep -qE 'Open ?MPI'; then # elsewhere test_survive.sh says why not
    launch+=(--mca orte_abort_on_non_zero_status 0)
    wrapper=("$(realpath "${top_builddir:-$here/..}")/src/tools/pmap-rank")
    leaves "ranks that die and are survived" 3 "deaths survive" complete=false calls=1 lost=2
    wrapper=()
fi

# ---- Clocks that differ ----
# A time namespace has a monotonic clock of its own, as another host has.
ahead() { # SECONDS: the second rank's clock
    local title="a rank whose clock is $1 s ahead" how=ok
    if ! unshare --time --monotonic "$1" true 2>/dev/null || ((${#launch[@]} == 0)); then
        echo "ok $((++k)) - $title # SKIP no time namespaces here, or no MPI"
        return
    fi
    rm -f "$file"
    { timeout -k 10 "$limit" "${launch[@]}" -n 1 "$program" map "$file" : -n 1 unshare --time --monotonic "$1" "$program" map "$file" \
        >"$directory/out" 2>"$directory/err" </dev/null; } 2>/dev/null
    status=$?
    python3 "$here/check_trace.py" "$file" exact=1 complete=true items=300 "offset=$1" >>"$directory/out" 2>&1 || how="not ok"
    verdict "$how" "$title"
}

ahead 5000
ahead -100

echo "1..$k"
exit $((failures > 0))
