#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Every example as a user starts it, without a launcher and on ranks, its output compared with what
# other programs make of the same input. Prints TAP. make check sets the environment; by hand, run it in the build
# directory, with MPIEXEC=mpirun for the ranks.
set -uo pipefail

examples=$(cd "${top_builddir:-.}/examples" && pwd) || exit 1
export LC_ALL=C
launch=() # for launch.sh to fill
# shellcheck source=/dev/null
. "$(dirname "$0")/launch.sh"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
count=0

# ---- Running and reporting ----

# A shape is how a program is started: alone, with as many threads as pmap likes; with so many threads; on so many
# ranks.
start() { # shape example argument…: prints what the example prints; its errors go to $work/err
    local launcher=()
    case $1 in
    threads=*) launcher=(env "OMP_NUM_THREADS=${1#*=}") ;;
    ranks=*) launcher=("${launch[@]}" -n "${1#*=}") ;;
    esac
    timeout -k 10 120 "${launcher[@]}" "$examples/$2" "${@:3}" 2>"$work/err" </dev/null
}

# In the usual shapes, or in those that are named: call a function with the shape, which starts the example and compares.
# What it prints is shown if it fails.
check() { # example, what is tested, function shape…
    local shape verdict skip shapes=(alone threads=4 ranks=2)
    [ $# -eq 3 ] || shapes=("${@:4}")
    for shape in "${shapes[@]}"; do
        verdict=ok skip=
        if [ ! -x "$examples/$1" ]; then
            skip=" # SKIP not built here"
        elif [[ $shape == ranks=* && ${#launch[@]} = 0 ]]; then
            skip=" # SKIP no MPI"
        elif ! "$3" "$shape" >"$work/log" 2>&1; then
            verdict="not ok"
        fi
        count=$((count + 1))
        echo "$verdict $count - $1, $shape: $2$skip"
        [ "$verdict" = ok ] || head -n 30 "$work/log" "$work/err" | sed 's/^/# /'
    done
}

same() { # expected, actual text
    diff <(echo "$1") <(echo "$2")
}

# ---- square, power, sweep, pi, resume, spmd ----

square() {
    local output
    output=$(start "$1" square) && same "1, 4, 9" "$output"
}

power_table() {
    local base exponent
    for base in 2 3 4 5 6; do
        for exponent in 1 2 3 4 5 6; do
            printf '%7d' $((base ** exponent))
        done
        echo
    done
    echo "0.5 ^ -10 = $((2 ** 10))"
}

power() {
    local output
    output=$(start "$1" power) && same "$(power_table)" "$output"
}

# The table is that of the same equations solved in Python.
untrusted() {
    local output
    output=$(start "$1" untrusted) && same "$(awk '
        function steps(x,    n) { for (n = 0; x != 1; n++) x = x % 2 ? 3 * x + 1 : x / 2; return n }
        BEGIN {
            for (i = 1; i <= 30; i++)
                print i ": " (i == 13 || i == 25 || i == 29 ? "PMAP_ECRASHED" : steps(i) " steps")
        }')" "$output" && grep -q 'careless crashed at item 12 .* exited with status 3' "$work/err"
}

sweep() {
    local output
    output=$(start "$1" sweep) && same "$(cat <<'END'
mass friction spring  settles after
   1        6     20         1.59 s
   1        6     15         1.78 s
   1        5     15         1.84 s
   1        6     10         1.98 s
   1        5     20         2.00 s
16 of 128 swing ever wider, 16 still swing after a minute
END
)" "$output" && [ "$(wc -l <"$work/err")" -ge 128 ]
}

# The same digits everywhere; those of one thread are near enough to pi.
pi() {
    local output alone
    alone=$(start threads=1 pi 50)
    output=$(start "$1" pi 50) && same "$alone" "$output" && [[ $output == *" 3.14"* ]]
}

# The number is that of the same sums done in Python.
spmd() {
    local output
    output=$(start "$1" spmd) && same "the hottest cell has 0.925209" "$output"
}

# Killed at some moment, and started again in another shape, it says what it says when it is left in peace; and again.
resume() {
    local output calm
    rm -f "$work"/resume.db*
    calm=$(start threads=1 resume "$work/calm.db" 60)
    OMP_NUM_THREADS=2 timeout -s KILL 0.3 "$examples/resume" "$work/resume.db" 60 >"$work/out" 2>&1
    output=$(start "$1" resume "$work/resume.db" 60) && same "$calm" "$output" && [[ $output == *"chaotic at"* ]] &&
        output=$(start "$1" resume "$work/resume.db" 60) && same "$calm" "$output"
}

check square "prints 1, 4, 9" square
check power "prints what the shell computes" power
check sweep "the table" sweep
check pi "the same digits" pi alone threads=1 threads=4 ranks=1 ranks=2 ranks=5
check untrusted "the items that go wrong, and those that do not" untrusted alone threads=1 threads=4 ranks=2
check resume "goes on where it was killed" resume
check spmd "prints the same for any number of ranks" spmd

# ---- mandelbrot ----

bytes() { # file offset n
    dd if="$1" iflag=skip_bytes,count_bytes skip="$2" count="$3" status=none
}

number() { # file offset: the big-endian number of four bytes there
    local b
    read -ra b < <(bytes "$1" "$2" 4 | od -An -tu1)
    echo $(((b[0] << 24) + (b[1] << 16) + (b[2] << 8) + b[3]))
}

# Is it a PNG of that size, 8 bits of red, green and blue, whose pixels can be unpacked and have many values? The
# pixels are a zlib stream cut into IDAT chunks: two bytes, what gzip unpacks too, four bytes of checksum.
png() { # file width height
    local at=8 size type="" width height
    size=$(stat -c %s "$1")
    same " 89 50 4e 47 0d 0a 1a 0a" "$(bytes "$1" 0 8 | od -An -tx1)" || return
    width=$(number "$1" 16) height=$(number "$1" 20)
    same "$2 x $3" "$width x $height" || return
    same " 08 02 00 00 00" "$(bytes "$1" 24 5 | od -An -tx1)" || return

    : >"$work/idat"
    while [ "$type" != IEND ] && [ $((at + 12)) -le "$size" ]; do
        type=$(bytes "$1" $((at + 4)) 4)
        [ "$type" != IDAT ] || bytes "$1" $((at + 8)) "$(number "$1" $at)" >>"$work/idat"
        at=$((at + 12 + $(number "$1" $at)))
    done
    same "IEND at the end: $size" "$type at the end: $at" || return

    { printf '\x1f\x8b\x08\0\0\0\0\0\0\x03'; bytes "$work/idat" 2 "$size"; } | gzip -dc >"$work/pixels" 2>"$work/gzip"
    same $((height * (1 + 3 * width))) "$(stat -c %s "$work/pixels")" || return
    [ "$(od -An -v -w1 -tu1 "$work/pixels" | sort -u | wc -l)" -gt 100 ] || { echo "few colours"; return 1; }
}

mandelbrot() {
    rm -f "$work/now.png"
    start "$1" mandelbrot "$work/now.png" 100 && png "$work/now.png" 1200 100 || return
    [ -e "$work/first.png" ] || cp "$work/now.png" "$work/first.png"
    cmp "$work/first.png" "$work/now.png"
}

mandelbrot_default() {
    (cd "$work" && start "$1" mandelbrot) && png "$work/mandelbrot.png" 1200 800
}

mandelbrot_height() {
    ! start "$1" mandelbrot "$work/none.png" 0 && grep usage "$work/err" && [ ! -e "$work/none.png" ]
}

mandelbrot_unwritable() {
    ! start "$1" mandelbrot "$work/no such directory/a.png" 10 && grep "no such directory/a.png" "$work/err"
}

check mandelbrot "writes a picture, the same in all shapes" mandelbrot
check mandelbrot "refuses a height of 0" mandelbrot_height alone ranks=2
check mandelbrot "says what it cannot write" mandelbrot_unwritable alone ranks=2
check mandelbrot "draws 1200 x 800 unless told otherwise" mandelbrot_default alone

# ---- wordcount_map ----

words() { # file…: how often each word is there, the commonest first
    local file
    for file; do
        cat "$file"
        echo # no word goes on in the next file
    done | tr -cs '[:alpha:]' '\n' | tr '[:upper:]' '[:lower:]' | grep . | sort | uniq -c | sort -k 1,1nr -k 2,2
}

expected() { # how many files were asked for, files that can be counted…
    local all
    all=$(words "${@:2}")
    head -n 10 <<<"$all"
    echo "$(wc -l <<<"$all") different words in $(($# - 1)) of $1 files"
}

texts=$work/texts
mkdir "$texts" "$texts/directory"
printf 'The cat and the dog. THE END, and\nno newline after this: zebra' >"$texts/a"
printf "Don't: x1y22z, na\303\257ve\0 bee\tant\r\n\n\n  yak xylophone wolf vole" >"$texts/b"
: >"$texts/empty"
echo "hidden, but a file" >"$texts/.hidden"
echo "not to be counted" >"$texts/directory/c"
ln -s a "$texts/link"
for name in d e f g; do # a thousand and more words in each, no two counts alike
    seq -f "%.0f${name}word" 1 1200 | tr 0-9 k-t >"$texts/$name"
    seq 1 7 5000 | tr 0-9 a-j >>"$texts/$name"
done
seq 1 8192 | tr 0-9 a-j >"$work/full"
seq 1 8193 | tr 0-9 a-j >"$work/overfull"
printf 'a%.0s' {1..38} >"$work/long"
printf 'a%.0s' {1..39} >"$work/too long"

wordcount_directory() {
    local output
    output=$(start "$1" wordcount_map "$texts") &&
        same "$(expected 8 "$texts"/{.hidden,a,b,d,e,empty,f,g})" "$output"
}

wordcount_known() {
    local output
    output=$(start "$1" wordcount_map "$texts/a" "$texts/b") || return
    same "      3 the
      2 and
      1 after
      1 ant
      1 bee
      1 cat
      1 dog
      1 don
      1 end
      1 na
23 different words in 2 of 2 files" "$output"
}

wordcount_links() { # named by the user, a link is a file like others
    local output
    output=$(start "$1" wordcount_map "$texts/link" "$texts/a") && same "$(expected 2 "$texts"/{a,a})" "$output"
}

# Three bad names among good ones: the first is reported, all are listed, the good ones are counted.
wordcount_failures() {
    local output good=("$texts/a" "$texts/d" "$work/full" "$work/long")
    output=$(start "$1" wordcount_map "$texts/a" "$work/missing" "$texts/d" "$texts/directory" "$work/full" \
        "$work/overfull" "$work/long" "$work/too long") && echo "exit status 0" && return 1
    same "$(expected 8 "${good[@]}")" "$output" &&
        grep "failed at item 1 .*$work/missing: No such file or directory" "$work/err" &&
        same "$(printf "wordcount_map: not counted: %s\n" \
            "$work/missing" "$texts/directory" "$work/overfull" "$work/too long")" \
            "$(grep "not counted" "$work/err")"
}

wordcount_reasons() { # file, reason: of files that fail alone
    local file reason
    while IFS=: read -r file reason; do
        start "$1" wordcount_map "$work/$file" "$work/$file" && echo "$file: exit status 0" && return 1
        grep "$work/$file: $reason" "$work/err" || return
    done <<'END'
missing:No such file or directory
texts:Is a directory
overfull:too many different words
too long:a word of 39 letters or more
END
}

wordcount_nothing() { # no names, an empty directory, a name that is too long
    local long
    long=$(printf 'n%.0s' {1..1024})
    mkdir -p "$work/empty"
    ! start "$1" wordcount_map && grep Usage "$work/err" &&
        ! start "$1" wordcount_map "$work/empty" && grep "no files" "$work/err" &&
        ! start "$1" wordcount_map "$texts/a" "$long" && grep "name of more than 1023" "$work/err"
}

wordcount_licenses() {
    local output files
    mapfile -t files < <(find "$licenses" -maxdepth 1 -type f)
    output=$(start "$1" wordcount_map "$licenses") && same "$(expected ${#files[@]} "${files[@]}")" "$output"
}

check wordcount_map "two files that a person can count" wordcount_known
check wordcount_map "a directory, against sort and uniq" wordcount_directory
check wordcount_map "a link named by the user" wordcount_links
check wordcount_map "files that fail among files that do not" wordcount_failures
check wordcount_map "why a file failed" wordcount_reasons alone ranks=2
check wordcount_map "nothing to count, and a name that is too long" wordcount_nothing alone ranks=2
licenses=/usr/share/common-licenses
[ ! -d $licenses ] || check wordcount_map "the licenses of Debian, against sort and uniq" wordcount_licenses

echo "1..$count"
