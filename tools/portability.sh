#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Builds and runs the tests for other machines: tools/portability.sh [aarch64] [s390x] [i386]
# [musl], all of them by default. Programs are linked statically, and run by qemu where this machine
# cannot run them. cmocka is compiled for each target from Debian's source package, which is fetched
# once with a package index of our own: this machine's package system stays as it is. Hits without
# the lock are tested once more for aarch64, under a kernel of their own (tools/kernel.sh).
#
# Goes on after a failure; the last line counts passes and failures, and the exit status is 1 if
# there was a failure. JOBS: how many tests run at once.
set -u
cd "$(dirname "$0")/.." || exit 1

jobs=${JOBS:-2}
here=$PWD/build/portability
passed=0
failed=0
mkdir -p "$here"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Puts the source of cmocka into $here/cmocka.
fetch_cmocka() {
    [ ! -f "$here/cmocka/src/cmocka.c" ] || return 0
    state=$here/apt
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    : >"$state/status"
    # the sources that this machine gets its packages from
    apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)' \
        'Created-By: Packages' 'Component: main' | sort -u >"$state/sources.list"
    own() {
        apt-get -qq -o Dir::State="$state" -o Dir::State::lists="$state/lists" \
            -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache" \
            -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=/dev/null \
            -o APT::Sandbox::User="$(id -un)" "$@"
    }
    own update && (cd "$state" && own --download-only source cmocka) || return 1
    rm -rf "$here/cmocka"
    mkdir "$here/cmocka"
    tar -C "$here/cmocka" --strip-components=1 -xf "$state"/cmocka_*.orig.tar.?z
}

# Compiles cmocka with the target's compiler: one file, and a configuration that fits every target.
build_cmocka() {    # target compiler
    out=$here/$1
    [ ! -f "$out/libcmocka.a" ] || return 0
    mkdir -p "$out"
    for name in ASSERT_H INTTYPES_H MALLOC_H MEMORY_H SETJMP_H SIGNAL_H STDARG_H STDDEF_H STDINT_H \
                STDIO_H STDLIB_H STRINGS_H STRING_H SYS_STAT_H SYS_TYPES_H TIME_H UNISTD_H \
                STRUCT_TIMESPEC CALLOC EXIT FPRINTF FREE LONGJMP MALLOC MEMCPY MEMSET PRINTF \
                SETJMP SIGNAL SNPRINTF STRCMP STRCPY VSNPRINTF CLOCK_GETTIME CLOCK_REALTIME; do
        echo "#define HAVE_$name 1"
    done >"$out/config.h"
    "$2" -std=gnu99 -O1 -w -DHAVE_CONFIG_H -I"$out" -I"$here/cmocka/include" \
        -c "$here/cmocka/src/cmocka.c" -o "$out/cmocka.o" &&
        ar rcs "$out/libcmocka.a" "$out/cmocka.o"
}

run() {     # target
    compiler=$(sed -n 's/^set(CMAKE_C_COMPILER \(.*\))$/\1/p' "cmake/toolchains/$1.cmake")
    echo "== $1: build"
    if ! { build_cmocka "$1" "$compiler" &&
           tools/configure.sh "$1" &&
           cmake --build --preset "$1" -j "$jobs"; } >"$log" 2>&1; then
        grep -v '^\[[0-9]*/[0-9]*\] ' "$log"
        echo "== $1: the build failed"
        failed=$((failed + 1))
        return
    fi
    echo "== $1: test"
    ctest --preset "$1" -j "$jobs" --no-tests=error >"$log" 2>&1
    form='^[0-9]*% tests passed, \([0-9]*\) tests* failed out of \([0-9]*\)$'
    count=$(sed -n "s/$form/\1 \2/p" "$log")
    bad=${count% *} all=${count#* }
    if [ -z "$count" ]; then
        cat "$log"
        failed=$((failed + 1))
        return
    fi
    failed=$((failed + bad))
    passed=$((passed + all - bad))
    if [ "$bad" -gt 0 ]; then
        grep -vE '^ *[0-9]+/[0-9]+ Test +#[0-9]+: .* Passed |^ *Start +[0-9]+: ' "$log"
    else
        tail -n 1 "$log"
    fi
}

# The tests that need restartable sequences, which qemu lacks when it runs a single program.
run_homes() {
    echo "== aarch64, under a kernel: test"
    tools/kernel.sh 'test-unit-base_home*' 'test-unit-core_home*' 'test-unit-hit_*' \
        'test-torture-hits' 'test-torture-hard_rounds*' >"$log" 2>&1
    count=$(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$log")
    [ "${count#* }" = 0 ] || cat "$log"
    [ -n "$count" ] || count="0 1"
    passed=$((passed + ${count% *}))
    failed=$((failed + ${count#* }))
}

if ! fetch_cmocka >"$log" 2>&1; then
    cat "$log"
    echo "portability: no source of cmocka" >&2
    exit 1
fi
[ $# -gt 0 ] || set -- musl i386 aarch64 s390x
for target in "$@"; do
    run "$target"
    [ "$target" != aarch64 ] || run_homes
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
