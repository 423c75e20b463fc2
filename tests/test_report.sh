#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Reports as a user gets them: pmap-report and PMAP_REPORT, and the page in a real browser (tests/report_page.py). Prints TAP. make check sets the
# environment; by hand, run it in the build directory.
set -uo pipefail

build=$(cd "${top_builddir:-.}" && pwd) || exit 1
source=$(cd "${top_srcdir:-$(dirname "$0")/..}" && pwd) || exit 1
report=$build/src/tools/pmap-report
[ ! -x "$build/src/tools/.libs/pmap-report" ] || report=$build/src/tools/.libs/pmap-report
export LD_LIBRARY_PATH=$build/.libs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} LC_ALL=C
launch=() # for launch.sh to fill
# shellcheck source=/dev/null
. "$(dirname "$0")/launch.sh"
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
count=0

check() { # what is tested, command…: what it prints is shown if it fails
    local verdict=ok
    "${@:2}" >"$work/said" 2>&1 || verdict="not ok"
    count=$((count + 1))
    echo "$verdict $count - $1"
    [ "$verdict" = ok ] || sed 's/^/# /' "$work/said"
}

skip() { # what is not tested, why
    count=$((count + 1))
    echo "ok $count - $1 # SKIP $2"
}

# ---- pmap-report ----

small='{"otherData":{"pmap":"0.1.0","format":1,"items":1,"end_us":9},"traceEvents":[{"ph":"X","cat":"items","ts":1,"dur":7,"pid":0,"tid":0,"args":{"call":1}}]}'

fails() { # status, what standard error says, argument…; nothing on standard output
    local status=0
    timeout 60 "$report" "${@:3}" >out 2>err </dev/null || status=$?
    cat err
    [ $status = "$1" ] && [ ! -s out ] && grep -qF -e "$2" err
}

writes() { # a file, standard input, to a file, to standard output
    printf '%s' "$small" >run.json
    timeout 60 "$report" run.json >1.html && timeout 60 "$report" -o 2.html run.json && timeout 60 "$report" --output=3.html - <run.json || return
    head -n 1 1.html | grep -qx '<!DOCTYPE html>' && tail -n 1 1.html | grep -qx '</html>' && cmp 1.html 2.html && cmp <(sed s/run.json/standard\ input/ 1.html) 3.html
}

former() { # a page stays if the next one cannot be made, and nothing is left beside it
    echo former >page.html
    echo '{"traceEvents":[' >bad.json
    fails 1 "bad.json ends in the middle" -o page.html bad.json && [ "$(cat page.html)" = former ] && [ "$(echo page.html*)" = page.html ]
}

refusals() {
    : >empty.json
    echo '{"traceEvents":[{"ph":"X","name":"of another program"}]}' >other.json
    fails 1 "empty.json is empty" empty.json && fails 1 "other.json is a Chrome trace, but of another program" other.json &&
        fails 1 "no.json cannot be read: No such file" no.json && fails 1 "it.html cannot be written: No such file" -o no/it.html run.json &&
        fails 1 "standard input is empty" - && fails 1 "no trace" "$report" && fails 1 ". cannot be read" .
}

usage() {
    fails 2 "which trace?" && fails 2 "one trace at a time" run.json run.json && fails 2 "no option --bogus" --bogus && fails 2 "missing behind -o" -o &&
        timeout 60 "$report" --help | grep -q '^Usage: pmap-report' && timeout 60 "$report" --version | grep -q '^pmap-report (pmap) [0-9]'
}

full() {
    [ -w /dev/full ] || return 0
    ! timeout 60 "$report" run.json >/dev/full 2>err && grep -q 'standard output cannot be written: No space left' err
}

manual() {
    local option
    for option in -o --output --help --version; do
        sed 's/\\-/-/g' "$source/doc/man/pmap-report.1" | grep -qF -e "$option" || { echo "no $option"; return 1; }
    done
    ! command -v groff >/dev/null || [ -z "$(groff -man -ww -z -Tutf8 "$source/doc/man/pmap-report.1" 2>&1)" ]
}

# ---- PMAP_REPORT ----

direct() { # launcher…
    rm -f page.html
    PMAP_REPORT=page.html timeout 120 "$@" "$build/examples/square" && [ -s page.html ] && grep -q '"function":"pmap_map","task":"square","calls":1,"items":3' page.html &&
        [ "$(echo page.html*)" = page.html ]
}

unwritable() {
    ! PMAP_REPORT=no/page.html timeout 60 "$build/examples/square" >out 2>&1 && cat out && grep -q 'PMAP_REPORT in the environment is "no/page.html", which cannot be written' out
}

check "pmap-report writes to a file and to standard output, from a file and from standard input" writes
check "a former page stays if there is no new one" former
check "what is no trace is refused, and named" refusals
check "usage, --help, --version" usage
check "a full standard output" full
check "the manual has all options, and no warnings" manual
check "PMAP_REPORT without a launcher" direct
if [ "${#launch[@]}" -gt 0 ]; then
    check "PMAP_REPORT on ranks" direct "${launch[@]}" -n 2
fi
check "PMAP_REPORT that cannot be written" unwritable

# ---- The page ----

if ! command -v python3 >/dev/null; then
    skip "the page in a browser" "there is no python3"
elif ! python3 -c "import sys; sys.path.insert(0, '$source/tests'); import browser; sys.exit(browser.program() is None)"; then
    skip "the page in a browser" "there is no Chromium (Debian: apt-get install chromium-headless-shell)"
else
    PYTHONDONTWRITEBYTECODE=1 timeout -k 10 300 python3 "$source/tests/report_page.py" "$report" "$build/examples/square" "$count" >tap || echo "# exit status $?" >>tap
    cat tap
    count=$(sed -n 's/^1\.\.//p' tap)
    [ -n "$count" ] || { echo "Bail out! report_page.py did not end well"; exit 1; }
    exit 0
fi
echo "1..$count"
