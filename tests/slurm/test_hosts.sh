#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# A selection of the ordinary test programs, with each rank on a host of its own, so that all messages between ranks go over TCP.
set -u
# shellcheck source=tests/slurm/lib.sh
. "$(dirname "$0")/lib.sh"

# Each program's tests are those of the shape's line. The ranks' board is a file, which hosts of one machine share.
over_hosts() { # program shape [title]
    local output line
    output=$(MPIEXEC="$testbed mpirun --map-by node" PMAP_TEST_HOSTS=1 PMAP_TEST_SHAPES=$2 timeout 120 \
        bash "$top/tests/shapes" "$built/tests/$1")
    while IFS= read -r line; do
        case $line in
        "ok "* | "not ok "*)
            [[ $line == ok* ]] || ((++failures))
            echo "${line%% [0-9]*} $((++k)) - $1 over ${3-hosts}, ${line#* - }" ;;
        "#"*) echo "$line" ;;
        esac
    done <<<"$output"
}

# Every rank is on another host.
spread() { # ranks words
    prints "$2" "$testbed" mpirun --map-by node -n "$1" env OMP_NUM_THREADS=1 "$built/tests/where"
}

if [[ $mode == plain ]]; then
    echo "1..0 # SKIP network namespaces are not permitted here"
    exit 0
fi
cd "$built" || exit 99
export PMAP_TEST_SMALL=1
check "three ranks are on three hosts" spread 3 "3 ranks, 3 threads, all at work on node1 node2 node3"
for program in test_map test_errors test_imap test_reduce test_share test_mr_call test_interrupt; do
    over_hosts $program r3
done
over_hosts test_map r2t2
over_hosts test_workers r2t2

# A result of a MiB takes longer than a heartbeat on a slow cable, and a slow host is not taken for a dead one.
if "$testbed" node node2 throttle 2>/dev/null; then
    unset PMAP_TEST_SMALL
    PMAP_TEST_ONLY=results_of_1_mib over_hosts test_map r3 "a slow cable"
    "$testbed" node node2 release
else
    skip "a slow host is not taken for a dead one" "this kernel has no tbf"
fi
finish
