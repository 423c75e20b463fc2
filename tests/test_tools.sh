#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The programs of src/tools as a user starts them, on threads and on ranks, with plenty of memory and with little, their output
# compared with what coreutils, grep and awk make of the same input. Prints TAP. make check sets the environment; by hand, run it in
# the build directory, with MPIEXEC=mpirun for the ranks.
set -uo pipefail

build=$(cd "${top_builddir:-.}" && pwd) || exit 1
tools=$build/src/tools
if [ -x "$tools/.libs/pmap-grep" ]; then # the programs themselves: each start of libtool's scripts takes as long as most tests here
    tools+=/.libs
    export LD_LIBRARY_PATH=$build/.libs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
source=$(cd "${top_srcdir:-$(dirname "$0")/..}" && pwd) || exit 1
export LC_ALL=C
launch=() # for launch.sh to fill
# shellcheck source=/dev/null
. "$(dirname "$0")/launch.sh"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
count=0

# ---- Running and reporting ----

# A shape is how a program is started: threads=N or ranks=N; with ",small" in little memory, and cut into many splits.
run() { # shape tool argument…: its output goes to $work/out, its errors to $work/err; returns its status
    local launcher=() more=() number
    number=${1#*=} number=${number%%,*}
    case $1 in
    threads=*) more=(--threads "$number") ;;
    ranks=*) launcher=("${launch[@]}" -n "$number") ;;
    esac
    [[ $1 != *,small ]] || more+=(--memory 1M --split-size 1000 --partitions 5 --scratch "$work")
    timeout -k 10 120 "${launcher[@]}" "$tools/pmap-$2" "${more[@]}" "${@:3}" >"$work/out" 2>"$work/err" </dev/null
}

# Call a function with each of the usual shapes, or with those that are named. What it prints is shown if it fails. Threads and ranks,
# much memory and little: pairs of these are for the checks that name them.
check() { # tool, what is tested, function shape…
    local shape verdict skip shapes=(threads=2 "ranks=3,small")
    [ $# -eq 3 ] || shapes=("${@:4}")
    for shape in "${shapes[@]}"; do
        verdict=ok skip=
        if [[ $shape == ranks=* && ${#launch[@]} = 0 ]]; then
            skip=" # SKIP no MPI"
        elif ! "$3" "$shape" >"$work/log" 2>&1; then
            verdict="not ok"
        fi
        count=$((count + 1))
        echo "$verdict $count - pmap-$1, $shape: $2$skip"
        [ "$verdict" = ok ] || head -n 30 "$work/log" "$work/err" | sed 's/^/# /'
    done
}

same() { # expected, actual text
    diff <(echo "$1") <(echo "$2")
}

# The output, or a file, is what is in a file.
outputs() { # expected [actual]
    cmp "$1" "${2-$work/out}"
}

fails() { # status, shape tool argument…: it has that status, and prints nothing on stdout
    local status=0
    run "${@:2}" || status=$?
    [ "$status" = "$1" ] && [ ! -s "$work/out" ] && return
    echo "status $status of ${*:2}, with $(wc -c <"$work/out") bytes of output"
    return 1
}

says() { # text: is on stderr
    grep -F -e "$1" "$work/err" >/dev/null || { echo "stderr does not say: $1"; return 1; }
}

# ---- Texts ----

texts=$work/texts
mkdir "$texts" "$texts/below"
cp "$source"/README.md "$texts/a-readme"
cat "$source"/src/api/*.c >"$texts/b-source"
printf 'one two\n\n\n three\tfour  \n  one' >"$texts/c-no-newline"
printf 'one\r\ntwo\r\n\r\nnul \0 byte a\0b\n\377\376 na\303\257ve \200\n\0\n' >"$texts/d-bytes"
{ printf 'x%.0s' {1..70000}; printf ' y%.0s' {1..40000}; echo; echo end; } >"$texts/e-long"
: >"$texts/f-empty"
printf '\n\n\n' >"$texts/g-newlines"
printf ' ' >"$texts/h-blank"
for i in {1..100}; do echo "small $i file $((i % 7))" >"$texts/s-$i"; done
awk 'BEGIN {
    for (i = 0; i < 60000; i++) { x = (x * 16807 + 11) % 2147483647; printf "%d%s", x % 9000, i % 9 ? " " : "\n" }
}' >"$texts/z-numbers"
echo "not read" >"$texts/.hidden"
echo "not read" >"$texts/below/file"
files=("$texts"/*-*)

words() { # file…: one in a line
    local file
    for file; do tr '\0-\040' '[\n*]' <"$file"; echo; done | grep -a .
}
words "${files[@]}" | sort | uniq -c | sed 's/^ *\([0-9]*\) \(.*\)$/\2\t\1/' >"$work/counts"
sort "${files[@]}" >"$work/sorted"
sort -u "${files[@]}" >"$work/unique"

# ---- pmap-wordcount ----

wordcount() {
    run "$1" wordcount "$texts" && outputs "$work/counts"
}

wordcount_file() {
    run "$1" wordcount -o "$work/written" "${files[@]}" && outputs "$work/counts" "$work/written" && [ ! -s "$work/out" ]
}

wordcount_parts() {
    rm -rf "$work/parts"
    run "$1" wordcount --output "$work/parts/" "$texts" && cat "$work"/parts/part-* | sort >"$work/joined" &&
        outputs <(sort "$work/counts") "$work/joined"
}

wordcount_top() {
    sort -t $'\t' -k 2,2nr -k 1,1 "$work/counts" | head -n 25 >"$work/top"
    run "$1" wordcount --top 25 "$texts" && outputs "$work/top" &&
        run "$1" wordcount --top 25 "$texts" -o "$work/written" && outputs "$work/top" "$work/written" &&
        run "$1" wordcount --top 1000000 "$texts/c-no-newline" && [ "$(wc -l <"$work/out")" = 4 ]
}

wordcount_packed() {
    local packed=()
    gzip -c "$texts/a-readme" >"$work/packed.gz" && packed+=("$work/packed.gz")
    command -v zstd >/dev/null && zstd -qc "$texts/a-readme" >"$work/packed.zst" && packed+=("$work/packed.zst")
    run "$1" wordcount "${packed[@]/*/$texts/a-readme}" && cp "$work/out" "$work/plain" &&
        run "$1" wordcount "${packed[@]}" && outputs "$work/plain"
}

check wordcount "a directory of odd files, against sort and uniq" wordcount threads=1 threads=2,small ranks=2 ranks=3,small
check wordcount "files to a file" wordcount_file
check wordcount "a directory to a directory of parts" wordcount_parts threads=2 ranks=2
check wordcount "the commonest words" wordcount_top threads=1 threads=2,small ranks=3,small
check wordcount "compressed files" wordcount_packed threads=2,small ranks=2

# ---- pmap-sort ----

sort_lines() {
    run "$1" sort "$texts" && outputs "$work/sorted" &&
        run "$1" sort "${files[@]}" -o "$work/written" && outputs "$work/sorted" "$work/written"
}

sort_unique() {
    run "$1" sort -u "$texts" && outputs "$work/unique" &&
        run "$1" sort --unique "$texts" -o "$work/written" && outputs "$work/unique" "$work/written"
}

sort_in_place() {
    cat "${files[@]}" >"$work/place"
    run "$1" sort "$work/place" -o "$work/place" && outputs <(cat "${files[@]}" | sort) "$work/place"
}

# Records as lines of digits are for sort(1); other bytes in the same order as the digits, newlines among them, are for us.
awk 'BEGIN { for (i = 0; i < 20000; i++) { x = (x * 16807 + 11) % 2147483647; printf "%010d %08d\n", x % 5000, i } }' >"$work/lines"
bytes() { tr 0-9 '\000\001\012\015\040A\177\200\376\377'; }
bytes <"$work/lines" >"$work/records"
sort -s -k 1,1 "$work/lines" | bytes >"$work/records sorted"
sort "$work/lines" | bytes >"$work/records sorted whole"

sort_records() {
    run "$1" sort --record-size 20 --key-size 10 "$work/records" -o "$work/written" && outputs "$work/records sorted" "$work/written" &&
        run "$1" sort --record-size 20 --key-size 10 "$work/records" && outputs "$work/records sorted" &&
        run "$1" sort --record-size 20 "$work/records" && outputs "$work/records sorted whole"
}

sort_half_record() {
    head -c 1010 "$work/records" >"$work/half"
    fails 1 "$1" sort --record-size 20 "$work/half" && says "$work/half"
}

check sort "lines, against sort" sort_lines threads=1 threads=2,small ranks=2 ranks=3,small
check sort "lines once, against sort -u" sort_unique
check sort "a file onto itself" sort_in_place threads=2,small ranks=2
check sort "records of bytes" sort_records
check sort "a file that ends in a record" sort_half_record threads=1

# ---- pmap-grep ----

as_grep() { # shape, arguments of both
    local status=0 expected=0
    grep -a "${@:2}" >"$work/expected" 2>/dev/null || expected=$?
    run "$1" grep "${@:2}" || status=$?
    same "status $expected of ${*:2:3}" "status $status of ${*:2:3}" && outputs "$work/expected"
}

grep_all() {
    as_grep "$1" 'pool' "${files[@]}" && as_grep "$1" -v 'pool' "${files[@]}" && as_grep "$1" -F 'pmap_' "$texts/b-source" &&
        as_grep "$1" -c '[0-9]\{4\}' "${files[@]}"
}

grep_more() { # without the file of zero bytes, which a dot of regcomp does not match, but grep's does
    local pattern files=("$texts"/[^d]-*)
    for pattern in one '^$' '' '^.*$' 'x*y' '[[:upper:]][a-z]*(' 'nothing has this' '\(o\).*\1'; do
        as_grep "$1" "$pattern" "${files[@]}" && as_grep "$1" -i "$pattern" "${files[@]:1:3}" &&
            as_grep "$1" -F "$pattern" "${files[@]}" && as_grep "$1" -iF "$pattern" "$texts/b-source" &&
            as_grep "$1" -vF "$pattern" "$texts/b-source" || return
    done
    for pattern in 'one|two' '^(a|b)+' 'e{2}' '.[*^$\]'; do
        as_grep "$1" -E "$pattern" "${files[@]}" && as_grep "$1" -Fi "$pattern" "${files[@]:0:3}" || return
    done
    as_grep "$1" -c one "$texts/d-bytes" && as_grep "$1" -c one "$texts/f-empty" && as_grep "$1" one "$texts/f-empty" &&
        as_grep "$1" -vc 'nothing has this' "${files[@]}"
}

grep_directory() {
    grep -a pool "${files[@]}" >"$work/expected"
    run "$1" grep pool "$texts" -o "$work/written" && outputs "$work/expected" "$work/written"
}

grep_pattern() {
    fails 2 "$1" grep 'a\(' "${files[@]}" && says 'a\(: ' && fails 2 "$1" grep $'a\nb' "${files[@]}" && says "one line"
}

check grep "against grep" grep_all
check grep "many patterns, against grep" grep_more threads=2,small
check grep "a directory, to a file" grep_directory threads=2,small ranks=2
check grep "a pattern that is none" grep_pattern threads=1 ranks=2

# ---- pmap-index ----

# Of files without zero bytes, for grep(1): word, file's number and offset, in the order of the output.
indexed=("$texts"/{a-readme,c-no-newline,e-long,f-empty,s-1,s-2,z-numbers})
for file in "${indexed[@]}"; do
    grep -abo $'[^\001-\040]\\+' "$file" | sed "s,^\([0-9]*\):\(.*\),\2\t$file\t\1,"
done | sort -s -t $'\t' -k 1,1 >"$work/places"
awk -F '\t' '
$1 "" != word { if (NR > 1) printf "\n"; printf "%s\t%s:%s", $1, $2, $3; word = $1; file = $2; next }
$2 != file { printf " %s:%s", $2, $3; file = $2; next }
{ printf ",%s", $3 }
END { printf "\n" }' "$work/places" >"$work/index"
sed 's/:[0-9,]*\( \|$\)/\1/g' "$work/index" >"$work/index of files"

index() {
    run "$1" index "${indexed[@]}" && outputs "$work/index" &&
        run "$1" index -l "${indexed[@]}" -o "$work/written" && outputs "$work/index of files" "$work/written"
}

check index "against grep -bo" index

# ---- pmap-kmeans ----

awk 'BEGIN {
    split("0 10 5", px, " "); split("0 2 9", py, " ")
    for (i = 0; i < 3000; i++) {
        for (j = s = 0; j < 8; j++) { x = (x * 16807 + 11) % 2147483647; u[j] = x / 2147483647 - 0.5 }
        c = x % 3 + 1
        printf "%.6f%s%.6f%s", px[c] + 3 * (u[0] + u[1] + u[2]), i % 2 ? " " : ",\t", py[c] + 3 * (u[3] + u[4] + u[5]), i % 100 ? "\n" : "\r\n\n"
    }
}' >"$work/points"
printf '1 1\n2 2\n3 3\n' >"$work/start"

serial_kmeans() { # iterations: as pmap-kmeans, in awk
    awk -v iterations="$1" '
    { gsub(/[,;\r\t]/, " "); $0 = $0 }
    NF == 0 { next }
    NR == FNR { k++; cx[k] = $1; cy[k] = $2; next }
    { n++; x[n] = $1; y[n] = $2 }
    END {
        for (t = 0; t < iterations; t++) {
            for (c = 1; c <= k; c++) size[c] = sx[c] = sy[c] = 0
            for (i = 1; i <= n; i++) {
                for (c = best = 1; c <= k; c++) {
                    d[c] = (x[i] - cx[c]) ^ 2 + (y[i] - cy[c]) ^ 2
                    if (d[c] < d[best]) best = c
                }
                size[best]++; sx[best] += x[i]; sy[best] += y[i]
            }
            for (c = 1; c <= k; c++) if (size[c]) { cx[c] = sx[c] / size[c]; cy[c] = sy[c] / size[c] }
        }
        for (c = 1; c <= k; c++) printf "%d\t%.9f %.9f\n", size[c], cx[c], cy[c]
    }' "$work/start" "$work/points"
}
serial_kmeans 4 >"$work/clusters"

kmeans_serial() {
    run "$1" kmeans -k 3 --start "$work/start" --iterations 4 --tolerance 0 "$work/points" &&
        awk '{ printf "%d\t%.9f %.9f\n", $1, $2, $3 }' "$work/out" | cmp - "$work/clusters" || return
    [ -e "$work/bits" ] || cp "$work/out" "$work/bits"
    outputs "$work/bits"
}

kmeans_drawn() { # first centres are drawn, the same everywhere, and in the end they are at the three places
    run "$1" kmeans -k 3 "$work/points" -o "$work/written" || return
    [ -e "$work/drawn" ] || cp "$work/written" "$work/drawn"
    outputs "$work/drawn" "$work/written"
}

kmeans_generated() {
    run "$1" kmeans -k 4 -d 3 --generate 50000 --iterations 5 || return
    [ -e "$work/generated" ] || cp "$work/out" "$work/generated"
    outputs "$work/generated" && same 50000 "$(awk '{ n += $1 } END { print n }' "$work/out")"
}

double() { # 1, 2 or 10, little-endian
    case $1 in 1) printf '\0\0\0\0\0\0\360\077' ;; 2) printf '\0\0\0\0\0\0\0\100' ;; 10) printf '\0\0\0\0\0\0\044\100' ;; esac
}

kmeans_binary() {
    same "1.0" "$(double 1 | od -An -tf8 | awk '{ printf "%.1f", $1 }')" >/dev/null || return 0 # another machine
    for i in 1 2 10 10; do double $i; done >"$work/binary"
    run "$1" kmeans -k 2 -d 1 -b "$work/binary" && same "$(printf '2\t1.5\n2\t10')" "$(sort "$work/out")"
}

kmeans_bad() {
    printf '1 2\n3 4\n5\n' >"$work/uneven"
    printf '1 2\n3 nan\n' >"$work/nan"
    printf '1 2\n\n3 4x\n' >"$work/letters"
    : >"$work/nothing"
    fails 1 "$1" kmeans -k 1 "$work/uneven" && says uneven && fails 1 "$1" kmeans -k 1 -d 2 "$work/uneven" && says "a point of 1" &&
        fails 1 "$1" kmeans -k 1 "$work/nan" && says "no number" && fails 1 "$1" kmeans -k 1 "$work/letters" && says "byte 7: '4x'" &&
        fails 1 "$1" kmeans -k 1 "$work/nothing" && says "only 0 points" &&
        fails 1 "$1" kmeans -k 4 --start "$work/start" "$work/points" && says "start has no 4 points"
}

check kmeans "against the same in awk, and the same bits everywhere" kmeans_serial
check kmeans "the same first centres everywhere" kmeans_drawn
check kmeans "generated points, the same everywhere" kmeans_generated threads=1 threads=2 ranks=3
check kmeans "points of doubles" kmeans_binary threads=2
check kmeans "files that have no points" kmeans_bad threads=1

# ---- What all have in common ----

# What each is given where nothing else matters.
declare -A given=([wordcount]="FILE" [grep]="-F e FILE" [sort]="FILE" [kmeans]="-k 1 --start $work/start FILE" [index]="FILE")

with() { # tool file: fills arguments
    read -ra arguments <<<"${given[$1]}"
    arguments=("${arguments[@]/#FILE/$2}")
}

help() {
    local tool text
    for tool in "${!given[@]}"; do
        run "$1" "$tool" --help && [ ! -s "$work/err" ] && same 1 "$(grep -c "^Usage: pmap-$tool " "$work/out")" &&
            run "$1" "$tool" --version && same 1 "$(grep -c "^pmap-$tool (pmap) " "$work/out")" || return
        text=$(sed 's/\\-/-/g' "$source/doc/man/pmap-$tool.1")
        while read -r option; do # the manual has what help has
            [[ $text == *"$option"* ]] || { echo "pmap-$tool.1 lacks $option"; return 1; }
        done < <("$tools/pmap-$tool" --help | grep -o '^ [ a-z,-]*--[a-z-]*' | grep -o -e '--.*')
    done
}

usage() { # a wrong argument, what is said
    local tool arguments
    while IFS='|' read -r tool arguments text; do
        read -ra arguments <<<"$arguments"
        fails 2 "$1" "$tool" "${arguments[@]}" && says "pmap-$tool: $text" && same 1 "$(grep -c "pmap-$tool: " "$work/err")" || return
    done <<'END'
wordcount||no arguments
wordcount|--bogus a|there is no option --bogus
wordcount|-x a|there is no option -x
wordcount|a -o|-o needs a value
wordcount|a --memory|--memory needs a value
wordcount|--memory 12Q a|--memory: '12Q' is no size
wordcount|--memory -1 a|--memory: '-1' is no size
wordcount|--split-size 99999999999999999999 a|--split-size: '99999999999999999999' is no size
wordcount|--threads 0 a|--threads: '0' is no whole number from 1 to 65536
wordcount|--partitions 3.5 a|--partitions: '3.5' is no whole number
wordcount|--verbose=3 a|--verbose takes no value
wordcount|--top many a|--top: 'many' is no whole number
sort|--key-size 3 a|--key-size is for records
sort|--record-size 3 --key-size 4 a|--key-size: a key is no longer
sort|-u --record-size 3 a|--unique is for lines
grep|pattern|there is an argument missing
kmeans|a|-k: say how many clusters
kmeans|-k 3|no files
kmeans|-k 3 --tolerance nan a|--tolerance: 'nan' is no number from 0
kmeans|-k 3 --generate 10 a|--generate makes points
kmeans|-k 3 --binary a|--binary needs --dim
END
}

usage_on_ranks() {
    fails 2 "$1" sort --bogus && says "pmap-sort: there is no option --bogus" && same 1 "$(grep -c "pmap-sort: " "$work/err")"
}

missing() {
    local tool failure arguments
    for tool in "${!given[@]}"; do
        failure=1
        [ "$tool" != grep ] || failure=2
        with "$tool" "$work/missing"
        echo former >"$work/written"
        fails $failure "$1" "$tool" "${arguments[@]}" -o "$work/written" && says "$work/missing: No such file or directory" &&
            same former "$(cat "$work/written")" || return
    done
}

unwritable() {
    local tool failure arguments
    for tool in "${!given[@]}"; do
        failure=1
        [ "$tool" != grep ] || failure=2
        with "$tool" "$work/start"
        [ "$tool" = kmeans ] || with "$tool" "$texts/a-readme"
        fails $failure "$1" "$tool" "${arguments[@]}" -o "$work/no such directory/out" && says "no such directory/out" || return
    done
}

full() { # standard output is
    local tool failure arguments status
    [ -w /dev/full ] || return 0
    for tool in "${!given[@]}"; do
        failure=1 status=0
        [ "$tool" != grep ] || failure=2
        with "$tool" "$work/start"
        [ "$tool" != grep ] || with "$tool" "$texts/a-readme"
        timeout -k 10 120 "$tools/pmap-$tool" "${arguments[@]}" >/dev/full 2>"$work/err" || status=$?
        same "pmap-$tool $failure" "pmap-$tool $status" && says "standard output: No space left" || return
    done
}

nothing() { # of empty files there is an empty output
    local tool
    for tool in wordcount sort index; do
        run "$1" $tool "$texts/f-empty" && [ ! -s "$work/out" ] && run "$1" $tool -o "$work/written" "$texts/f-empty" &&
            [ -e "$work/written" ] && [ ! -s "$work/written" ] && rm "$work/written" || return
    done
}

verbose() {
    run "$1" wordcount --verbose --retries 1 "$texts/a-readme" && says "map " && says "reduce " && says "output "
}

manuals() {
    local tool
    command -v groff >/dev/null || return 0
    for tool in "${!given[@]}"; do
        groff -man -ww -z -Tutf8 "$source/doc/man/pmap-$tool.1" >"$work/out" 2>&1
        same "" "$(cat "$work/out")" || return
    done
}

check "*" "help, version, and the manual has all options" help threads=1 ranks=2
check "*" "bad usage" usage threads=1
check "*" "bad usage is told once" usage_on_ranks ranks=2
check "*" "a missing file" missing threads=1 ranks=2
check "*" "output that cannot be written" unwritable threads=1 ranks=2
check "*" "a full standard output" full threads=1
check "*" "empty input" nothing threads=1 ranks=2
check "*" "--verbose" verbose threads=1
check "*" "manuals without warnings" manuals threads=1

echo "1..$count"
