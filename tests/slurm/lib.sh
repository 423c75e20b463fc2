# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# To be sourced: what tests on the Slurm testbed have in common. They need one that is up (scripts/slurm-testbed start), and
# are skipped without. They print TAP.
top=${top_srcdir:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
built=$(readlink -f "${top_builddir:-$PWD}")
testbed=$top/scripts/slurm-testbed
templates=$top/scripts/slurm
directory=$(mktemp -d) || exit 99
trap 'rm -rf "$directory"' EXIT
unset PMAP_WALLTIME PMAP_LOOPBACK
export PMAP_TEST_DIR=$directory

k=0 failures=0

if ! mode=$("$testbed" mode 2>/dev/null); then
    echo "1..0 # SKIP there is no testbed: scripts/slurm-testbed start"
    exit 0
fi

# What is written in the end: the plan, and the status.
finish() {
    echo "1..$k"
    ((failures == 0))
    exit
}

skip() { # title reason
    echo "ok $((++k)) - $1 # SKIP $2"
}

# check TITLE COMMAND…: the command succeeds; what it says is told if not.
check() {
    local title=$1
    if "${@:2}" >"$directory/check" 2>&1; then
        echo "ok $((++k)) - $title"
    else
        echo "not ok $((++k)) - $title"
        ((++failures))
        sed 's/^/# /' "$directory/check"
    fi
}

# Does a file have words like these, or exactly this line? If not it is told as it is.
says() { # file words
    grep -qE "$2" "$1" || { echo "this is not said: $2"; cat "$1"; return 1; }
}

has_line() { # file line
    grep -qxF "$2" "$1" || { echo "this is not said: $2"; cat "$1"; return 1; }
}

# The command writes exactly this line to stdout.
prints() { # line command…
    local got
    got=$(timeout 60 "${@:2}" 2>"$directory/stderr")
    [[ $got == "$1" ]] || { echo "it says \"$got\", not \"$1\""; cat "$directory/stderr"; return 1; }
}

run() { "$testbed" run "$@"; }

# Submit from the directory, where output files go too; prints the job.
submit() { (cd "$directory" && "$testbed" submit "$@"); }

# The job comes to its end within so many seconds, and that is this one; or it comes to a state that is no end.
ends() { # job state seconds
    local now
    now=$("$testbed" wait "$1" "$3")
    [[ $now == "$2 "* ]] || { echo "job $1 is \"$now\", not $2"; return 1; }
}

comes_to() { # job state seconds
    local now
    now=$("$testbed" wait "$1" "$3" "$2")
    [[ $now == "$2 "* ]] || { echo "job $1 is \"$now\", not $2, after $3 s"; return 1; }
}

# Wait until a file is there, for so many seconds.
appears() { # file seconds
    local end=$((SECONDS + $2))
    until [[ -e $1 ]]; do
        ((SECONDS < end)) || { echo "there is no $1 after $2 s"; return 1; }
        read -rt 0.1 <> <(:) || :
    done
}

# Wait until all three nodes have nothing to do, for a minute.
all_idle() {
    local end=$((SECONDS + 60))
    until [[ $(run sinfo -h -N -o %T | grep -cx idle) == 3 ]]; do
        ((SECONDS < end)) || { run sinfo -N -l; return 1; }
        read -rt 0.2 <> <(:) || :
    done
}

# Nothing of the program runs on any node.
nothing_runs() { # program
    local process
    for process in /proc/[0-9]*; do
        if [[ $(readlink "$process/exe") == "$1" ]] && grep -qzsxF "PMAP_TEST_DIR=$directory" "$process/environ"; then
            echo "process ${process#/proc/} lives"
            return 1
        fi
    done 2>/dev/null
}
