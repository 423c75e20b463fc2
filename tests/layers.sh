#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The sources keep to the layers; and scripts/check-layers, which says so, finds each kind of violation when it is
# planted in a small tree. Prints TAP.
set -euo pipefail

top_srcdir=${top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}
check=$top_srcdir/scripts/check-layers
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
count=0

report() { # ok | "not ok", what was tested; the check's output explains a failure
    count=$((count + 1))
    echo "$1 $count - $2"
    [ "$1" = ok ] || printf '%s\n' "$output" | sed 's/^/# /'
}

# A tree of the public headers and of one file, this text at its end; then the check's verdict on it.
plant() { # file text
    rm -rf "${tree:?}"
    mkdir -p "$tree/include" "$tree/src" "$tree/$(dirname "$1")"
    cp "$top_srcdir"/include/*.h "$tree/include"
    printf '%s\n' "$2" >>"$tree/$1"
    output=$("$check" "$tree" 2>&1)
}

finds() { # file text reason
    local verdict=ok
    if plant "$1" "$2" || ! grep -q "^$1:[0-9]*: .*$3" <<<"$output"; then
        verdict="not ok"
    fi
    report "$verdict" "finds in $1: $2"
}

accepts() { # file text
    local verdict=ok
    plant "$1" "$2" || verdict="not ok"
    report "$verdict" "accepts in $1: $2"
}

verdict=ok
output=$("$check" "$top_srcdir" 2>&1) || verdict="not ok"
report "$verdict" "the sources keep to the layers"

finds include/pmap.h 'static int unused(void) { return 1 }' 'does not compile alone'
export CC=true CXX=true # from here on the headers are as they are: spare compiling them

finds src/team/team.c '#include "engine/job.h"' 'src/engine is not below it'
finds src/team/team.c '#include "transport/transport.h"' 'not below'
finds src/base/memory.c '#include "wire/frame.h"' 'not below'
finds src/engine/root.c '#include "observe/events.h"' 'not below'
finds src/journal/journal.c '#include "engine/job.h"' 'not below'
finds src/engine/root.c '#include <sqlite3.h>' 'belongs to src/journal'
finds src/engine/root.c '#include <cjson/cJSON.h>' 'belongs to src/report'
finds src/report/run.c '#include "engine/job.h"' 'not below'
finds src/observe/line.c '#include "api/create.h"' 'not below'
finds src/tools/report.c '#include "base/memory.h"' 'not below'
finds src/engine/job.c '#include "item.h"' 'include "item.h" as'
finds src/engine/job.c '#include "../api/call.h"' 'in no layer'
finds src/misc/job.c 'int x;' 'src/misc is in no layer'
finds src/sched/portion.c '#include <time.h>' 'plain arithmetic'
finds src/sched/portion.c '#include "base/clock.h"' 'plain arithmetic'
finds src/engine/root.c '#  include <mpi.h>' 'MPI\|mpi.h'
finds src/engine/root.c 'int f(void) { return MPI_Finalize(); }' 'MPI is known only'
finds src/engine/root.c '/* one */ int rank = MPI_ANY_SOURCE; // two' 'MPI is known only'
finds src/transport/mpi.c '#pragma omp parallel' 'OpenMP is known only'
finds src/engine/root.c 'int n = omp_get_max_threads();' 'OpenMP is known only'
finds include/pmap.h '#include <mpi.h>' 'belongs to src/transport'
finds include/pmap.h '#include <pmap_mpi.h>' 'belongs to src/transport'
finds include/pmap.h '#include "base/memory.h"' 'public header'

accepts src/engine/job.c '#include "engine/item.h"'
accepts src/wire/frame.c '#include "base/memory.h"'
accepts src/api/call.c '#include "observe/events.h"'
accepts src/observe/line.c '#include "engine/job.h"'
accepts src/observe/line.c '#include "report/report.h"'
accepts src/team/team.c '#pragma omp parallel'
accepts src/transport/mpi.c '#include <mpi.h>'
accepts src/engine/root.c 'const char *s = "\"MPI_Init\" of mpi.h"; /* MPI_Send and omp_get_num_threads'
accepts src/engine/root.c '// like MPI_Send'

echo "1..$count"
