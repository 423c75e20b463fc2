#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# Map-reduce and its peers, side by side: the same data, the same output, in turn. Runs in the build directory.
#
#     mapreduce.sh words              word count of text: count_tuned, other programs, pmap's wordcount
#     mapreduce.sh records            sort of 100-byte lines: coreutils' sort, pmap's sort
#     mapreduce.sh words --lines      no table, but lines as bench.h describes them, for scripts/bench
#
# From the environment: BYTES of data (256 MiB), REPETITIONS (5), MPIRUN, and TMPDIR, where the data are and what programs
# spill: it needs five times as much room as there are data, and is empty again at the end.
#
# The repetitions are interleaved, A B C, A B C, ..., so that a change of the machine's mood meets all. The first program is
# the one that the others are compared with: in each repetition, by wall time from start to exit. All outputs must be the
# first one's, byte for byte. The data are in the page cache, for every program alike.
#
# shellcheck disable=SC2317 # functions are called by names from a list
set -uo pipefail
export LC_ALL=C

bench=$(cd "$(dirname "$0")" && pwd)
what=${1:-} form=${2:---table}
bytes=${BYTES:-$((256 << 20))} repetitions=${REPETITIONS:-5}
read -r -a mpirun <<<"${MPIRUN:-mpirun --oversubscribe --bind-to none}"
case $what$form in
words--table | words--lines | records--table | records--lines) ;;
*) echo "usage: mapreduce.sh words|records [--lines]" >&2; exit 2 ;;
esac
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work # what a program leaves there goes, too
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 # asked for by Open MPI if root runs this
data=$work/data out=$work/out
status=0

# ---- The programs ----
# Each is a function that makes out from data; little memory is an eighth of the data. list() says how often it runs at most,
# for some are slow, and what must be there for it.

memory=$((bytes / 8)) # of sort, which needs about what the data are; of a word count, an eighth of the 88 MB that the words of 256 MiB take
words_memory=11000000
timed() { bench/timed "$work/$name" "$@"; }
pmap() { timed src/tools/pmap-"$1" "${@:2}" "$data" -o "$out"; }
pmap_ranks() { timed "${mpirun[@]}" -n 2 src/tools/pmap-"$1" --threads 1 "$data" -o "$out"; }

count_tuned() { timed bench/count_tuned "$data" >"$out"; }
# Without merging, so no counts yet: what two cores do at best. For the comparison they are merged when the clock has stopped.
count_tuned_halves() {
    # shellcheck disable=SC2016 # the inner shell expands it
    timed bash -c 'bench/count_tuned "$0.half0" >"$1.0" & bench/count_tuned "$0.half1" >"$1.1" && wait $!' "$data" "$out" &&
        awk -F'\t' -v OFS='\t' '{ n[$1] += $2 } END { for (word in n) print word, n[word] }' "$out".[01] | sort >"$out"
}
count_simple() { timed bench/count_simple <"$data" >"$out"; }
python_counter() { timed /usr/bin/python3 "$bench/count.py" "$data" >"$out"; }
tr_sort_uniq() {
    # shellcheck disable=SC2016 # the inner shell expands it
    timed bash -c 'tr -s " \n" "\n" <"$0" | sort -S50% --parallel=2 | uniq -c' "$data" >"$out.uniq" &&
        awk -v OFS='\t' '{ print $2, $1 }' "$out.uniq" >"$out"
}
wordcount_threads_2() { pmap wordcount --threads 2; }
wordcount_threads_1() { pmap wordcount --threads 1; }
wordcount_little_memory() { pmap wordcount --threads 2 --memory "$words_memory"; }
wordcount_ranks_2() { pmap_ranks wordcount; }

sort_half_of_memory() { timed sort --parallel=2 -S50% "$data" -o "$out"; }
sort_little_memory() { timed sort --parallel=2 -S"${memory}b" "$data" -o "$out"; }
pmap_threads_2() { pmap sort --threads 2; }
pmap_little_memory() { pmap sort --threads 2 --memory "$memory"; }
pmap_ranks_2() { pmap_ranks sort; }

list() { # what: name, most, needs
    case $1 in
    words) cat <<END ;;
count_tuned $repetitions bench/count_tuned
count_tuned_halves $repetitions bench/count_tuned split
count_simple $repetitions bench/count_simple
wordcount_threads_2 $repetitions src/tools/pmap-wordcount
wordcount_threads_1 $repetitions src/tools/pmap-wordcount
wordcount_ranks_2 $repetitions src/tools/pmap-wordcount ${mpirun[0]}
wordcount_little_memory $repetitions src/tools/pmap-wordcount
python_counter 2 /usr/bin/python3
tr_sort_uniq 1 sort
END
    records) cat <<END ;;
sort_half_of_memory $repetitions sort
sort_little_memory $repetitions sort
pmap_threads_2 $repetitions src/tools/pmap-sort
pmap_ranks_2 $repetitions src/tools/pmap-sort ${mpirun[0]}
pmap_little_memory $repetitions src/tools/pmap-sort
END
    esac
}

# ---- Running ----

make_data() {
    case $what in
    words) bench/make_text "$bytes" ;;
    records) bench/make_records $(((bytes + 99) / 100)) --lines ;;
    esac >"$data" || return
    [ "$what" = records ] || split -n l/2 -d -a 1 "$data" "$data.half" || return # between two lines
    sync "$data"* # or the kernel writes them while the first program runs
}

run() { # name: once; its figures are appended to $work/name, by timed
    rm -f "$out" "$out".*
    if ! "$1" 2>"$work/log"; then
        echo "mapreduce.sh: $1 failed" >&2
        head -n 30 "$work/log" >&2
    elif [ ! -f "$work/expected" ]; then
        mv "$out" "$work/expected" && return
    else
        cmp "$work/expected" "$out" >&2 && return
        echo "mapreduce.sh: $1 has another output than $first" >&2
    fi
    touch "$work/$1.failed"
    status=1
}

run_all() { # of chosen
    local repetition name most
    for ((repetition = 0; repetition < repetitions; repetition++)); do
        while read -r name most _; do
            [ "$repetition" -ge "$most" ] || run "$name" </dev/null # or mpirun reads the names
        done <"$work/chosen"
    done
}

choose() { # the programs that are there
    local name most need needs
    list "$what" | while read -r name most needs; do
        for need in $needs; do
            command -v "$need" >/dev/null || { echo "mapreduce.sh: no $need, so no $name" >&2; continue 2; }
        done
        echo "$name $most"
    done >"$work/chosen"
}

# ---- Telling ----

# A line of the table: medians, and the median, lowest and highest of the ratios to the first program's wall time.
row() { # name
    [ ! -f "$work/$1.failed" ] || { printf '| %-24s | failed\n' "$1"; return; }
    paste -d' ' "$work/$1" "$work/$first" | awk -v name="$1" '
        function sorted(a, n,    i, j, x) {
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && a[j - 1] > a[j]; j--) { x = a[j]; a[j] = a[j - 1]; a[j - 1] = x }
        }
        function median(a, n) { sorted(a, n); return (a[int((n + 1) / 2)] + a[int(n / 2) + 1]) / 2 }
        NF == 6 { n++; wall[n] = $1; cpu[n] = $2; kib[n] = $3; ratio[n] = $1 / $4 }
        END {
            if (n == 0) exit
            sorted(ratio, n)
            printf "| %-24s | %4d | %8.3f | %8.3f | %8.0f | %-24s |\n", name, n, median(wall, n),
                median(cpu, n), median(kib, n) / 1024, sprintf("%6.2f (%.2f - %.2f)", median(ratio, n), ratio[1], ratio[n])
        }'
}

table() {
    printf '%s bytes of data, %s cores; medians, and ratios to %s\n\n' "$(stat -c %s "$data")" "$(nproc)" "$first"
    printf '| %-24s | runs |  wall, s |   CPU, s | peak MiB | ratio of wall times      |\n' "$what"
    echo '|--------------------------|------|----------|----------|----------|--------------------------|'
    while read -r name _; do
        row "$name"
    done <"$work/chosen"
}

# For scripts/bench: the seconds of every program, and the bytes of its memory.
lines() {
    while read -r name _; do
        [ -f "$work/$name.failed" ] || row "$name" | awk -F' *[|] *' -v OFS='\t' -v n="$(stat -c %s "$data")" '
            { print $2 "-memory", "bytes, peak", 1, $6 * 1024 * 1024; print $2, "wall seconds", n, $4 }'
    done <"$work/chosen"
}

[ -x bench/timed ] || { echo "mapreduce.sh: run make bench first, and this in the build directory" >&2; exit 1; }
choose
read -r first _ <"$work/chosen"
make_data || exit 1
run_all
"${form#--}"
exit "$status"
