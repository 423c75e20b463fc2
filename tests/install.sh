#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# What make install leaves is enough to build and run a user's program, and shows nothing but the public names.
# Prints TAP.
set -euo pipefail

: "${top_srcdir:?is set by make check}" "${top_builddir:?is set by make check}"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
count=0

check() { # what is tested, command…
    local verdict=ok
    "${@:2}" >"$root/log" 2>&1 || verdict="not ok"
    count=$((count + 1))
    echo "$verdict $count - $1"
    [ "$verdict" = ok ] || sed 's/^/# /' "$root/log"
}

install() { "$MAKE" -C "$top_builddir" install DESTDIR="$root"; }

only_public_names() {
    nm -D --defined-only "$libdir/libpmap.so" | awk '$NF !~ /^pmap_[a-z]/ {print; bad = 1} END {exit bad}'
}

# As strictly as a user may compile.
compile() { # example
    local flags
    flags=$(pkg-config --cflags --libs "${static[@]}" pmap)
    # shellcheck disable=SC2086 # a compiler, and flags
    $CC -std=c11 -pedantic -Wall -Wextra -Werror "$top_srcdir/examples/$1.c" -o "$root/$1" $flags
}

prints() { # expected command…
    local output
    output=$("${@:2}")
    echo "$output"
    [ "$output" = "$1" ]
}

check "make install DESTDIR=directory" install

PKG_CONFIG_PATH=$(dirname "$(find "$root" -name pmap.pc)")
libdir=$(dirname "$PKG_CONFIG_PATH")
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR=$root LD_LIBRARY_PATH=$libdir

if [ -e "$libdir/libpmap.so" ]; then
    static=()
    check "the library exports the public names alone" only_public_names
else
    static=(--static)
fi
for example in square power; do
    check "$example compiles as strict C11 against what is installed" compile $example
done
check "square runs and prints 1, 4, 9" prints "1, 4, 9" "$root/square"

echo "1..$count"
