#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 the pmap authors
#
# pmap-run as a user starts it, on threads and on ranks: beside the real GNU parallel where that is installed, and in what parallel
# has not. Prints TAP. make check sets the environment; by hand, run it in the build directory, with MPIEXEC=mpirun for the ranks.
# shellcheck disable=SC2016 # commands in single quotes are for pmap-run
# shellcheck disable=SC2317,SC2015,SC2216 # functions are called by names; A && B || C is meant as it is; run reads
set -uo pipefail

build=$(cd "${top_builddir:-.}" && pwd) || exit 1
tools=$build/src/tools
if [ -x "$tools/.libs/pmap-run" ]; then # the program itself, not libtool's script
    tools+=/.libs
    export LD_LIBRARY_PATH=$build/.libs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
source=$(cd "${top_srcdir:-$(dirname "$0")/..}" && pwd) || exit 1
farm=$tools/pmap-run
export LC_ALL=C
unset PMAP_LOOPBACK PMAP_WALLTIME SLURM_JOB_ID SLURM_JOB_END_TIME PARALLEL
launch=() # for launch.sh to fill
# shellcheck source=/dev/null
. "$(dirname "$0")/launch.sh"
limit=${PMAP_TEST_TIMEOUT:-60}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export HOME=$work # GNU parallel asks there whether its notice was read
mkdir .parallel && touch .parallel/will-cite
count=0 failures=0

# ---- Running and reporting ----

how=() # what starts the program in the shape that is tested

run() { # argument…: two commands at once in all; output in out, errors in err; returns its status
    timeout -k 10 "$limit" "${how[@]}" "$farm" "${jobs[@]}" "$@" >out 2>err
}

# Call a function in each shape that is named: threads (2 of them), ranks (2, of a thread). What it prints is shown if it fails.
check() { # what is tested, function shape…
    local shape verdict skip
    for shape in "${@:3}"; do
        verdict=ok skip='' how=() jobs=(-j2)
        [ "$shape" = threads ] || how=("${launch[@]}" -n 2) jobs=(-j1)
        if [ "$shape" = ranks ] && [ ${#launch[@]} = 0 ]; then
            skip=" # SKIP no MPI"
        elif [[ $2 == like_* ]] && ! command -v parallel >/dev/null; then
            skip=" # SKIP no GNU parallel (Debian: apt-get install parallel)"
        elif ! "$2" "$shape" >log 2>&1 </dev/null; then
            verdict="not ok"
            failures=$((failures + 1))
        elif [ -e skipped ]; then
            skip=" # SKIP $(cat skipped)"
        fi
        count=$((count + 1))
        echo "$verdict $count - $shape: $1$skip"
        [ "$verdict" = ok ] || head -n 40 log err | sed 's/^/# /'
        rm -rf ./*
    done
}

same() { # expected, actual text
    diff <(echo "$1") <(echo "$2")
}

says() { # text: is on stderr
    grep -F -e "$1" err >/dev/null || { echo "stderr does not say: $1"; return 1; }
}

await() { # command…: until it succeeds
    local end=$((SECONDS + limit))
    until "$@"; do
        ((SECONDS < end)) || { echo "not within $limit s: $*"; return 1; }
        read -rt 0.02 <> <(:) # a pause without a process
    done
    return 0 # not the status of the pause
}

alive() { # word…: is there a process with exactly such an argument? (One that is dead and not yet buried has no arguments.)
    grep -qzxF -s -f <(printf '%s\n' "$@") /proc/[0-9]*/cmdline
}
dead() { ! alive "$@"; }

columns() { # file, columns: of a joblog, in the order of the jobs
    cut -f "$2" "$1" | sort -n
}

# ---- Beside GNU parallel: the same commands, the same output, status and joblog but for times ----

like_commands() { # that would run
    local arguments=('a b/c.d.txt' "it's" '' '~x' 'a=b' /abs/x.y/z x. .hid $'tab\there' $'\xc3\xbc' -x 'a:b,c@d%e+f-g_h.i/j' 'a{b}' 'x*' 'q"q' 'a#b' 'a!b' 'a\b' "'" "''" "'a'" a/b/ / a//b)
    local template
    while IFS= read -r template; do
        parallel -j1 --dry-run "$template" ::: "${arguments[@]}" >expected
        run --dry-run "$template" ::: "${arguments[@]}" && cmp expected out || { echo "of $template"; return 1; }
        parallel -j1 --dry-run "$template" ::: A/a.x 'B c' :::+ 1 2 3 ::: x.y z >expected
        run --dry-run "$template" ::: A/a.x 'B c' :::+ 1 2 3 ::: x.y z && cmp expected out || { echo "of $template, three sources"; return 1; }
    done <<'END'
sim {} {.} {/} {//} {/.} {#} "{}" '{}' {}x{}
echo
{1} {2} {1/} {2.} {1//} {1/.} {-1} {3} {2/.} {0} {+1} {x}
END
    printf 'a, 1\n\nb, 2 ,\n' >lines
    for template in '{2}-{1} {3}' '' '{}'; do
        parallel -j1 --dry-run --colsep ', *' echo "$template" :::: lines >expected
        run --dry-run --colsep ', *' echo "$template" :::: lines && cmp expected out || return
    done
    parallel -j1 --dry-run -q perl -e 'print "{}"; $x' ::: "a'b" c >expected
    run --dry-run -q perl -e 'print "{}"; $x' ::: "a'b" c && cmp expected out || return
    parallel -j1 --dry-run --link echo ::: a b c :::: lines >expected
    run --dry-run --link echo ::: a b c :::: lines && cmp expected out
}

like_joblogs() { # and outputs, and statuses
    local options=(-k --joblog) status=0 expected=0
    local command='echo out{}; echo err{} >&2; test {} != 4 || kill -9 $$; exit $(({} % 3))'
    parallel -j2 "${options[@]}" log.expected "$command" ::: 1 2 3 4 5 6 >expected 2>/dev/null || expected=$?
    run "${options[@]}" log.actual "$command" ::: 1 2 3 4 5 6 || status=$?
    same "status $expected" "status $status" && cmp expected out || return
    diff <(columns log.expected 1,2,5-) <(columns log.actual 1,2,5-) || return
    same 6 "$(grep -cP '^\d+\t:\t\d{10}\.\d{3}\t +\d+\.\d{3}\t0\t\d+\t\d+\t\d+\techo out' log.actual)" || return
    for i in 1 2 3 4 5 6; do says "err$i"; done
}

like_other_joblogs() { # no such program, line breaks, retries, a tag
    local expected=0 status=0
    parallel -j1 --joblog log.expected --retries 2 --tag 'echo {} >>tried.expected; {}' ::: true false 'nosuch program' >expected 2>/dev/null || expected=$?
    run --joblog log.actual -k --retries 2 --tag 'echo {} >>tried.actual; {}' ::: true false 'nosuch program' || status=$?
    same "$expected" "$status" && diff <(sort tried.expected) <(sed s/actual/expected/ tried.actual | sort) &&
        diff <(columns log.expected 1,2,5-) <(columns log.actual 1,2,5- | sed s/actual/expected/) || return
    parallel -j1 --joblog log.expected $'echo {}\\\necho b; exit {}' ::: 1 2 >expected 2>/dev/null || expected=$?
    run --joblog log.actual -k $'echo {}\\\necho b; exit {}' ::: 1 2 || status=$?
    same "$expected" "$status" && cmp expected out && diff -a <(columns log.expected 1,2,5-) <(columns log.actual 1,2,5-)
}

like_results() { # the tree of --results
    parallel --results tree.expected 'echo {1}-{2}; echo e >&2' ::: a/b 'x y' '' 'q\t' ::: 1 2 >expected
    run --results tree.actual 'echo {1}-{2}; echo e >&2' ::: a/b 'x y' '' 'q\t' ::: 1 2 && cmp expected out && diff -r tree.expected tree.actual || return
    parallel --results 'named.expected/{#}_{1}.out' 'echo {}; echo e >&2' ::: a b >expected
    run --results 'named.actual/{#}_{1}.out' 'echo {}; echo e >&2' ::: a b && cmp expected out && diff -r named.expected named.actual
}

like_halts() {
    local halt status expected job='exit $(({} % 2 * 7))'
    for halt in now,fail=1 soon,fail=2 now,success=1 soon,done=2 30% -1 never; do
        expected=0 status=0
        parallel -j1 --halt "$halt" --joblog log.expected "$job" ::: 1 2 3 4 5 6 2>/dev/null || expected=$?
        timeout -k 10 "$limit" "$farm" -j1 --halt "$halt" --joblog log.actual "$job" ::: 1 2 3 4 5 6 2>err || status=$?
        same "$halt $expected" "$halt $status" && diff <(cut -f 1,7- log.expected) <(cut -f 1,7- log.actual) || return
    done
}

check "commands are GNU parallel's" like_commands threads
check "joblog, output and status are GNU parallel's" like_joblogs threads ranks
check "so are those of what fails, of retries and tags" like_other_joblogs threads
check "the tree of results is GNU parallel's" like_results threads ranks
check "halts are GNU parallel's" like_halts threads

# ---- Input ----

lines_are_commands() {
    printf 'echo a; echo b\nexpr 1 + 1\n' | run -k && same $'a\nb\n2' "$(cat out)" || return
    printf 'echo x\0echo "y\nz"' | run -0 -k && same $'x\ny\nz' "$(cat out)"
}

tasks_files() {
    printf '#!%s --shebang -k -r tr a-z A-Z <<<\na b\n\nc\n' "$farm" >tasks
    chmod +x tasks
    timeout "$limit" "${how[@]}" ./tasks >out 2>err && same $'A B\nC' "$(cat out)" || return
    printf 'echo 1\necho 2\n' >tasks
    run -k -a tasks && same $'1\n2' "$(cat out)" && run -k :::: tasks && same $'1\n2' "$(cat out)"
}

# The second line is written only when the first job has run.
input_that_goes_on() {
    { echo first; await test -e first && echo second; } | run 'touch {}; echo {}' && same $'first\nsecond' "$(sort out)"
}

input_that_never_ends() {
    yes 2>/dev/null | run --halt now,done=20 'echo {#}'
    same 0 "${PIPESTATUS[1]}" && [ "$(wc -l <out)" -ge 20 ]
}

many_jobs() { # and the sum of their output
    seq 500 | run echo && same "500 125250" "$(awk '{ n++; s += $1 } END { print n, s }' out)"
}

check "without a command lines are commands" lines_are_commands threads ranks
check "tasks files, and files that are programs" tasks_files threads ranks
check "jobs begin before the input ends" input_that_goes_on threads ranks
check "endless input" input_that_never_ends threads
check "many jobs" many_jobs threads ranks

# ---- Output ----

outputs_are_whole() {
    local command='for i in 1 2 3 4 5 6; do echo {}; head -c 30000 /dev/zero | tr "\0" {}; echo; echo {} >&2; done'
    run "$command" ::: a b c d && same 48 "$(wc -l <out)" && # each twelve lines of one command
        same 4 "$(cut -c 1 out | uniq | wc -l)" && same 4 "$(grep -x '[abcd]' err | uniq | wc -l)"
}

# The first ends last; the others, some of which are long, wait.
output_in_order() {
    run -k 'head -c {}000 /dev/zero | tr "\0" x; echo; touch done.{}; test {} != 1 || until [ -e done.2000 ]; do sleep 0.02; done' ::: 1 20 0 2000 &&
        same $'1000\n20000\n0\n2000000' "$(awk '{ print length($0) }' out | sed 's/^1$/0/')"
}

no_reader() { # of the output: it ends, without a word
    seq 100000 | "${how[@]}" timeout -k 10 "$limit" "$farm" "${jobs[@]}" echo 2>err | head -n 1 >out
    same 1 "$(wc -l <out)" && same 0 "$(grep -c pmap-run: err)"
}

full() {
    local status=0
    [ -w /dev/full ] || { echo "no /dev/full" >skipped; return 0; }
    "$farm" echo ::: 1 >/dev/full 2>err || status=$?
    same 255 $status && says "No space left" && status=0
    "$farm" --joblog /dev/full true ::: 1 2>err || status=$?
    same 255 $status && says "cannot write joblog /dev/full"
}

environment() {
    run -k 'echo $PARALLEL_SEQ; env | grep -c -e ^OMPI_COMM -e ^PMIX_; cat; test $PARALLEL_JOBSLOT -ge 1' ::: a b
    same $'1\n0\n2\n0' "$(cat out)"
}

check "outputs are not mixed" outputs_are_whole threads ranks
check "outputs in the order of the input" output_in_order threads ranks
check "nobody reads the output" no_reader threads
check "full disks" full threads
check "the environment of commands" environment threads ranks

# ---- Limits ----

timeouts() { # the whole of the command goes, also what it has started
    local status=0
    run --joblog joblog --timeout 0.5 'echo before; sleep {}1979 & sleep {}1979' ::: 5 || status=$?
    same 1 $status && same before "$(cat out)" && dead 51979 && says "This job was killed because it timed out" &&
        same $'-1\t15' "$(tail -n 1 joblog | cut -f 7,8)"
}

stubborn() { # and what does not listen
    run --joblog joblog --timeout 0.3 'trap "" TERM; sleep 51980; sleep 51980; sleep 51980; sleep 51980; sleep 51980' ::: 5
    dead 51980 && same $'-1\t9' "$(tail -n 1 joblog | cut -f 7,8)"
}

# The second command fails when the first runs, which waits for the failure to be told of if it may.
halts() {
    local status=0 job='case {} in 1) touch began; until grep -q "This job failed" err; do sleep 0.02; done; touch ended;; 2) until [ -e began ]; do sleep 0.02; done; false;; 3) touch third;; esac'
    run --halt soon,fail=1 --joblog joblog "$job" ::: 1 2 3 || status=$?
    same 1 $status && [ -e ended ] && [ ! -e third ] && same 3 "$(wc -l <joblog)" && says "Waiting for 1 jobs" || return
    job='case {} in 1) touch begun; sleep 51984;; 2) until [ -e begun ]; do sleep 0.02; done; exit 9;; 3) touch third;; esac' status=0
    run --halt now,fail=1 --joblog joblog "$job" ::: 1 2 3 || status=$?
    same 9 $status && dead 51984 && [ ! -e third ] && same 2 "$(wc -l <joblog)"
}

timeouts_by_median() {
    run --joblog joblog --timeout 1000% 'sleep {}' ::: 51981 0.2 0.2 0.2 0.2
    dead 51981 && same $'1\t-1\t15' "$(sort -n joblog | sed -n 2p | cut -f 1,7,8)" && same 4 "$(cut -f 7 joblog | grep -c '^0')"
}

retries() { # until it is as many as its argument says
    local status=0
    run --joblog joblog --retries 3 'echo {} >>tried; test $(grep -c {} tried) = {}' ::: 1 2 3 4 || status=$?
    same 1 $status && same $'1\n2\n2\n3\n3\n3\n4\n4\n4' "$(sort tried)" && same $'1\t0\n2\t0\n3\t0\n4\t1' "$(tail -n +2 joblog | columns - 1,7)"
}

free_memory() {
    run -k --memfree 1M echo ::: 1 2 3 && same $'1\n2\n3' "$(cat out)"
}

# In a world of its own, of which /proc tells what is wanted: memory gets short while two commands run.
short_memory() {
    unshare -m true 2>/dev/null || { echo "mount namespaces are not permitted" >skipped; return 0; }
    cat >world <<'END'
has() { echo "MemAvailable: $1 kB" >memory; }
await() { for ((i = 0; i < 1000; i++)); do "$@" && return; read -rt 0.02 <> <(:); done; return 1; }
began() { [ "$(wc -l <began)" = "$1" ]; }
touch began && has 1000000 && mount --bind memory /proc/meminfo || exit
"$@" --memfree 500M --joblog joblog 'trap "touch ended; exit 1" TERM; echo {} >>began; until [ -e enough ]; do sleep 0.02; done' ::: 1 2 &
farm=$!
await began 2 && has 200000 && await test -e ended && has 1000000 && await began 3 && touch enough && wait $farm
status=$?
kill -KILL $farm 2>/dev/null # if it goes on, nobody would end it
exit $status
END
    timeout -k 10 "$limit" unshare -m bash world "$farm" -j2 >out 2>err && same $'0\n0' "$(tail -n +2 joblog | cut -f 7)" &&
        same "$(head -n 2 began | tail -n 1)" "$(tail -n 1 began)"
}

check "a command that takes too long" timeouts threads ranks
check "one that ignores SIGTERM" stubborn threads
check "one that takes far longer than others" timeouts_by_median threads ranks
check "--halt soon and now" halts threads ranks
check "retries" retries threads ranks
check "free memory" free_memory threads
check "memory that gets short" short_memory threads

# ---- Resuming ----

resume() { # in another order, where the command depends on its place
    local job='test {} != 3 && echo {} >>ran.{#}'
    run --joblog joblog "$job" ::: 1 2 3 4 && return 1
    run --joblog joblog --resume "$job" ::: 5 4 3 2 1 || return
    same $'1 1\n1 5\n2 2\n4 4' "$(for i in 1 2 3 4 5; do sed "s/^/$i /" ran.$i; done 2>/dev/null | sort)" && same 6 "$(wc -l <joblog)" || return
    run --joblog joblog --resume-failed "$job" ::: 3 6 5 4 2 1 && return 1
    same $'1 1\n1 5\n2 2\n2 6\n4 4' "$(for i in 1 2 3 4 5; do sed "s/^/$i /" ran.$i; done 2>/dev/null | sort)" && same 8 "$(wc -l <joblog)"
}

resume_equal() { # commands: each as often as it is there
    run --joblog joblog 'echo x >>ran; true' ::: a a && run --joblog joblog --resume 'echo x >>ran; true' ::: a b a a && same 4 "$(wc -l <ran)"
}

resume_torn() { # by whatever killed the former farm
    run --joblog joblog true ::: 1 2 && printf '3\t:\t17' >>joblog && run --joblog joblog --resume true ::: 1 2 3 &&
        same $'1\n2\n3\nSeq' "$(cut -f 1 joblog | sort)" || return
    echo nonsense >>joblog
    run --joblog joblog --resume true ::: 1
    same 255 $? && says "its line 5 is 'nonsense'"
}

resume_results() {
    run --results tree 'echo {}; echo {} >>ran' ::: a b && run --results tree --resume 'echo {}; echo {} >>ran' ::: c b a && same $'a\nb\nc' "$(sort ran)"
}

check "--resume and --resume-failed, in another order" resume threads ranks
check "equal commands" resume_equal threads
check "a joblog that is torn, and one that is none" resume_torn threads
check "--resume by results" resume_results threads

# ---- Ends ----

# Two commands have ended, two run, with children, one deaf to SIGTERM; then a signal to whoever was started.
interrupted() { # signal, its status or ""
    local child status=0
    set -m # SIGINT has its default action in what is started, as at a prompt
    "${how[@]}" "$farm" "${jobs[@]}" --joblog joblog 'case {} in quick*) ;; *) trap "" TERM; touch began.{}; sleep 51982 & sleep 51983; sleep 51983;; esac' \
        ::: quick1 quick2 1 2 3 >out 2>err &
    child=$!
    set +m
    await test -e began.1 -a -e began.2
    kill -"$1" $child
    await gone $child
    wait $child || status=$?
    await dead 51982 51983 || return
    [ ! -e began.3 ] && same $'quick1\nquick2' "$(cut -f 9 joblog | grep -o '^case quick.' | cut -c 6- | sort)" && { [ -z "$2" ] || same "$2" $status; }
}
gone() { ! kill -0 "$1" 2>/dev/null || [[ $(cat "/proc/$1/stat" 2>/dev/null) == *") Z "* ]]; }

ctrl_c() {
    [ "$1" = threads ] && { interrupted INT 85 && says "interrupted"; return; }
    interrupted INT "" # mpirun has a status of its own
}
terminated() { interrupted TERM "$([ "$1" = ranks ] || echo 85)"; }
killed() { interrupted KILL ""; }

# A rank dies of the second job; others do all there is.
survived() {
    local command='[ $PPID = $PARALLEL_PID ] || [ -e died ] || { touch died; kill -9 $PPID; }; until [ -e died ]; do sleep 0.02; done; echo {}'
    "${launch[@]}" --version 2>&1 | grep -qE 'Open ?MPI\) 4' || { echo "only with Open MPI 4" >skipped; return 0; }
    timeout -k 10 "$limit" "${launch[@]}" --mca orte_abort_on_non_zero_status 0 -n 3 "$build/src/tools/pmap-rank" "$farm" -j1 --survive --joblog joblog "$command" ::: 1 2 3 4 5 6 >out 2>err &&
        same $'1\n2\n3\n4\n5\n6' "$(sort out)" && same 7 "$(wc -l <joblog)"
}

check "Ctrl-C leaves nothing, and a good joblog" ctrl_c threads ranks
check "so does SIGTERM" terminated threads ranks
check "and SIGKILL" killed threads ranks
check "--survive: a rank that dies" survived ranks

# ---- Arguments ----

usage() { # status 255, what is said, of what
    local arguments text
    while IFS='|' read -r arguments text; do
        read -ra arguments <<<"$arguments"
        run "${arguments[@]}"
        same 255 $? && says "pmap-run: $text" && [ ! -s out ] || { echo "of ${arguments[*]}"; return 1; }
    done <<'END'
--bogus|there is no option --bogus
-j|-j needs a value
-j x echo ::: 1|--jobs: 'x' is not a number, N%, +N or -N
--bar=1 echo|--bar takes no value
--halt later echo ::: 1|--halt: 'later' is not like
--timeout 1x echo ::: 1|--timeout: '1x' is not a time
--retries -1 echo ::: 1|--retries: '-1' is not a whole number
--memfree 1Q echo ::: 1|--memfree: '1Q' is not a size
--results a.csv echo ::: 1|--results: 'a.csv' is not a directory
--resume echo ::: 1|--resume and --resume-failed need --joblog or --results
--colsep ( echo ::: 1|--colsep '(': 
--joblog /no/such/file echo ::: 1|cannot write joblog /no/such/file: No such file
echo :::: /no/such/file|cannot open input file /no/such/file: No such file
echo ::::|there is no file behind ::::
echo {= x =} ::: 1|{= =} in the command: pmap-run has no Perl
END
}

usage_on_ranks() {
    run --bogus
    same 255 $? && same 1 "$(grep -c pmap-run: err)"
}

help() {
    local text option
    run --help && [ ! -s err ] && same 1 "$(grep -c '^Usage: pmap-run ' out)" || return
    text=$(sed 's/\\-/-/g' "$source/doc/man/pmap-run.1")
    while read -r option; do # the manual has what help has
        [[ $text == *"$option"* ]] || { echo "pmap-run.1 lacks $option"; return 1; }
    done < <(grep -o '^ [ a-zA-Z0-9,-]*--[a-z-]*' out | grep -o -e '--.*')
    run --version && same 1 "$(grep -c '^pmap-run (pmap) ' out)"
}

manual() {
    command -v groff >/dev/null || { echo "no groff" >skipped; return 0; }
    same "" "$(groff -man -ww -z -Tutf8 "$source/doc/man/pmap-run.1" 2>&1)"
}

check "bad usage" usage threads
check "bad usage is told once" usage_on_ranks ranks
check "help, version, and the manual has all options" help threads
check "the manual has no warnings" manual threads

echo "1..$count"
((failures == 0))
