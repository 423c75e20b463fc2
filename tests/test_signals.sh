#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# Signals, with kill(2), and walltimes, from the environment: how programs end that are interrupted, tests/interrupted.c. MPIEXEC as in
# launch.sh, PMAP_TEST_SHAPES as in shapes.
set -u

program=${top_builddir:-$(dirname "$0")/..}/tests/interrupted
launch=() launcher= # for launch.sh to fill
# shellcheck source=/dev/null
. "$(dirname "$0")/launch.sh"
limit=${PMAP_TEST_TIMEOUT:-60}
PMAP_TEST_DIR=$(mktemp -d) || exit 99
trap 'rm -rf "$PMAP_TEST_DIR"' EXIT
export PMAP_TEST_DIR
unset SLURM_JOB_ID SLURM_JOB_END_TIME PMAP_WALLTIME

k=0 failures=0 child= title= skipped=no

# begin SHAPE ARGUMENTS…: start the program and wait until its items run.
begin() {
    local how=()

    [[ $1 =~ ^(([rv])([0-9]+))?(t([0-9]+))?$ ]]
    title=$*
    export PMAP_TEST_THREADS=${BASH_REMATCH[5]:-1}
    unset PMAP_LOOPBACK
    case ${BASH_REMATCH[2]} in
    r) how=("${launch[@]}" -n "${BASH_REMATCH[3]}") ;;
    v) export PMAP_LOOPBACK=${BASH_REMATCH[3]} ;;
    esac
    skipped=no
    if [[ ${BASH_REMATCH[2]} == r ]] && ((${#launch[@]} == 0)) ||
        [[ -n ${PMAP_TEST_SHAPES-} && " $PMAP_TEST_SHAPES " != *" $1 "* ]]; then
        skipped=yes
        return
    fi
    shift
    rm -rf "${PMAP_TEST_DIR:?}"/*
    # Job control gives the program its own process group, and SIGINT the disposition that a shell's prompt would.
    set -m
    timeout --foreground -k 10 "$limit" "${how[@]}" "$program" "$@" >"$PMAP_TEST_DIR/out" 2>"$PMAP_TEST_DIR/err" </dev/null &
    child=$!
    set +m
    await test -e "$PMAP_TEST_DIR/ready"
}

# Wait until a command succeeds, or the program is over.
await() {
    until "$@" || ! kill -0 "$child" 2>/dev/null; do
        read -rt 0.02 <> <(:) # a pause without a process
    done
}

pid() { cat "$PMAP_TEST_DIR/pid.$1"; } # of a rank

# To what was started: mpirun, or the program itself, under timeout.
launched() { cat "/proc/$child/task/$child/children" 2>/dev/null; }

# send SIGNAL PROCESS…
send() {
    [[ $skipped == yes ]] || kill "-$1" "${@:2}" 2>/dev/null
}

# Send a signal until the program is over: the first one after a while is the second that counts.
insist() {
    [[ $skipped == yes ]] || await eval "! kill -$1 ${*:2} 2>/dev/null"
}

# ends STATUS WORDS: does it end with the status ("not N": another one; "N M": one of them), and say words on stdout or stderr?
ends() {
    local status verdict=ok

    if [[ $skipped == yes ]]; then
        echo "ok $((++k)) - $title # SKIP no MPI, or a shape that is not wanted"
        return
    fi
    wait "$child"
    status=$?
    case $1 in
    not*) ((status != ${1#not } && status != 124 && status != 137)) || verdict="not ok" ;;
    *) [[ " $1 " == *" $status "* ]] || verdict="not ok" ;;
    esac
    [[ -z $2 ]] || grep -qE "$2" "$PMAP_TEST_DIR/out" "$PMAP_TEST_DIR/err" || verdict="not ok"
    echo "$verdict $((++k)) - $title${3:+, }${3-}"
    if [[ $verdict != ok ]]; then
        ((++failures))
        echo "# exit status $status, expected $1, and to be said: $2"
        sed 's/^/# /' "$PMAP_TEST_DIR/out" "$PMAP_TEST_DIR/err"
    fi
}

# ---- The first signal ----

for signal in INT TERM USR1; do
    begin t2 map
    send $signal "$(launched)"
    ends 85 "PMAP_EINTERRUPTED: pmap_map: interrupted by SIG$signal: [0-9]+ of 100 items not run$" $signal
done
for shape in t2 v3; do
    for call in imap reduce async share; do
        begin $shape $call
        send TERM "$(launched)"
        ends 85 'PMAP_EINTERRUPTED: pmap_.*: interrupted by SIGTERM' TERM
    done
done
interrupted=85
[[ $launcher != mpich ]] || interrupted='85 0' # mpirun passes the signal on, and may forget a status then
for words in 'r2 map' 'r2 imap' 'r2 reduce' 'r2 async' 'r2 share' 'r2t2 map' 'r2t2 share'; do
    # shellcheck disable=SC2086 # a shape and a call
    begin $words
    send USR1 "$(launched)"
    ends "$interrupted" 'PMAP_EINTERRUPTED: pmap_.*: interrupted by SIGUSR1' 'USR1 to mpirun'
done
begin r2 map
send TERM "$(pid 0)"
ends 85 'interrupted by SIGTERM' 'TERM to the root alone'
begin r2 map
send TERM "$(pid 1)"
send USR1 "$(pid 0)"
ends 85 'interrupted by SIGUSR1' 'TERM to another rank does nothing'
begin t2 map again
send TERM "$(launched)"
ends 85 'again: PMAP_EINTERRUPTED' TERM
begin r2 map again
send USR1 "$(launched)"
ends "$interrupted" 'again: PMAP_EINTERRUPTED' 'USR1 to mpirun'
begin t2 map
send TERM "$(launched)"
send TERM "$(launched)"
ends 85 'SIGTERM is restored, SIGINT is restored' 'TERM twice at once'

# ---- The second ----

begin t2 map deaf
insist TERM "$(launched)"
ends 143 '' 'TERM and again'
begin r2 map deaf
send TERM "$(pid 1)"
insist TERM "$(pid 0)"
ends 'not 0' 'signal 15|rank 0 on .* died' 'TERM and again to the root'
begin r2 map deaf
insist TERM "$(pid 1)"
ends 'not 0' 'signal 15|rank 1 on .* died' 'TERM and again to another rank'

# ---- Other dispositions ----

begin t2 map own
send TERM "$(launched)"
ends 85 'interrupted by pmap_interrupt' TERM
begin t2 map own
send USR1 "$(launched)"
ends 85 'SIGTERM is not the default, SIGINT is restored' USR1
begin t2 map ignore
send TERM "$(launched)"
send USR1 "$(launched)"
ends 85 'interrupted by SIGUSR1' 'TERM, USR1'
begin t2 map off
send TERM "$(launched)"
ends 143 '' TERM

# ---- Walltimes ----

for shape in t2 r2; do
    PMAP_WALLTIME=2 begin $shape map
    ends 85 '0\.[12][0-9]* s of walltime are left: ' PMAP_WALLTIME=2
done
PMAP_WALLTIME=soon begin t2 map
ends 1 'PMAP_WALLTIME in the environment is "soon"' PMAP_WALLTIME=soon
SLURM_JOB_END_TIME=$(($(date +%s) + 3)) begin t2 map
ends 85 's of walltime are left: ' SLURM_JOB_END_TIME
PMAP_WALLTIME=0 SLURM_JOB_END_TIME=1 begin t2 map
send TERM "$(launched)"
ends 85 'interrupted by SIGTERM' 'PMAP_WALLTIME=0 in a job that has ended'

# Where Slurm does not say, squeue is asked.
squeue() {
    mkdir -p "$PMAP_TEST_DIR.bin"
    printf '#!/bin/sh\n[ "$*" = "-h -j 77 -o %%L" ] && %s\n' "$1" >"$PMAP_TEST_DIR.bin/squeue"
    chmod +x "$PMAP_TEST_DIR.bin/squeue"
}
trap 'rm -rf "$PMAP_TEST_DIR" "$PMAP_TEST_DIR.bin"' EXIT
squeue 'echo 0:02'
SLURM_JOB_ID=77 PATH=$PMAP_TEST_DIR.bin:$PATH begin t2 map
ends 85 's of walltime are left: ' squeue
squeue "echo \$\$ >'$PMAP_TEST_DIR/squeue' && exec sleep 1000"
SLURM_JOB_ID=77 PATH=$PMAP_TEST_DIR.bin:$PATH begin t2 map
send TERM "$(launched)"
asked=$(cat "$PMAP_TEST_DIR/squeue" 2>/dev/null)
ends 85 'interrupted by SIGTERM' 'a squeue that hangs'
if [[ $skipped == no ]] && { [[ -z $asked ]] || kill -0 "$asked" 2>/dev/null; }; then
    echo "not ok $((++k)) - a squeue that hangs was asked, and is ended (${asked:-it was not asked})"
    ((++failures))
fi
squeue 'echo UNLIMITED'
SLURM_JOB_ID=77 PATH=$PMAP_TEST_DIR.bin:$PATH begin t2 map
send TERM "$(launched)"
ends 85 'interrupted by SIGTERM' 'a job without a limit'

echo "1..$k"
((failures == 0))
