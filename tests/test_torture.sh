#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# Jobs whose processes are killed at random moments, and which are started again until they are done: tests/torture.c. This is the short
# form. The long one, whose figures are in doc/reliability.md, is
#
#     PMAP_TORTURE_KILLS=200 PMAP_TORTURE_ITEMS=100000 tests/test_torture.sh
#
# PMAP_TORTURE_SEED says which moments; MPIEXEC as in launch.sh.
set -u

build=${top_builddir:-$(dirname "$0")/..}
launch=() launcher= # for launch.sh to fill
# shellcheck source=/dev/null
. "$(dirname "$0")/launch.sh"
kills=${PMAP_TORTURE_KILLS-4} items=${PMAP_TORTURE_ITEMS-20000} seed=${PMAP_TORTURE_SEED-1}
limit=${PMAP_TORTURE_LIMIT-$((60 + 30 * kills))}

k=0 failures=0

# torture TITLE RANKS COMMAND...
torture() {
    local title=$1 ranks=$2 line

    shift 2
    while IFS= read -r line; do
        case $line in
        "ok "* | "not ok "*)
            [[ $line == ok* ]] || ((++failures))
            echo "${line%% [0-9]*} $((++k)) - $title: ${line#*- torture: }" ;;
        1..*) ;;
        *) echo "# $title: ${line#\# }" ;;
        esac
    done < <(timeout -k 10 "$limit" "$build/tests/torture" -k "$kills" -n "$items" -s "$seed" -r "$ranks" "$@" 2>&1 ||
        echo "not ok 0 - torture: ends well within $limit s")
}

torture "2 threads" 1 "$build/tests/torture_job" "$items" 2
if [[ $launcher == openmpi4 ]]; then
    torture "4 ranks" 4 "${launch[@]}" --mca orte_abort_on_non_zero_status 0 -n 4 "$build/src/tools/pmap-rank" \
        "$build/tests/torture_job" "$items" 1
fi
echo "1..$k"
((failures == 0))
