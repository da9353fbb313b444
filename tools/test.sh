#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Builds and runs all tests, or with `torture` only the torture tests, in each configuration in
# which they can find something new. Goes on after a failure; the last line counts passes and
# failures, and the exit status is 1 if there was a failure. JOBS: how many tests run at once;
# KP_SECONDS: how long torture lasts; KP_ROUNDS (10000): how many rounds its races have.
set -u
cd "$(dirname "$0")/.." || exit 1

jobs=${JOBS:-2}
passed=0
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Build a preset's target and run the tests that further ctest arguments choose.
run() {     # preset target [ctest arguments]
    preset=$1 target=$2
    shift 2
    echo "== $preset: build"
    if ! { tools/configure.sh "$preset" &&
           cmake --build --preset "$preset" -j "$jobs" --target "$target"; } >"$log" 2>&1; then
        cat "$log"
        echo "== $preset: the build failed"
        failed=$((failed + 1))
        return
    fi
    echo "== $preset: test"
    ctest --preset "$preset" -j "$jobs" --no-tests=error "$@" >"$log" 2>&1
    rc=$?
    # "97% tests passed, 3 tests failed out of 120"
    form='^[0-9]*% tests passed, \([0-9]*\) tests* failed out of \([0-9]*\)$'
    count=$(sed -n "s/$form/\1 \2/p" "$log")
    if [ -z "$count" ]; then
        cat "$log"
        failed=$((failed + 1))
        return
    fi
    bad=${count% *} all=${count#* }
    failed=$((failed + bad))
    passed=$((passed + all - bad))
    if [ "$rc" -ne 0 ]; then
        grep -vE '^ *[0-9]+/[0-9]+ Test +#[0-9]+: .* Passed |^ *Start +[0-9]+: ' "$log"
        [ "$bad" -gt 0 ] || failed=$((failed + 1))
    else
        tail -n 1 "$log"
    fi
}

case ${1:-all} in
all)
    jobs=$((jobs + 1)) # one more: tests that need a server spend time waiting for it
    # Everything, with each step checked by the sanitizers and by the pool's own invariants;
    run asan all
    # the tests with threads of their own, for races;
    run tsan threads-tests -L threads
    # and what users get, without these checks, with the tests of the build itself.
    run release all -LE torture
    ;;
torture)
    export KP_ROUNDS="${KP_ROUNDS:-10000}"
    run tsan threads-tests -L torture
    run asan threads-tests -L torture
    ;;
*)
    echo "tools/test.sh: no such set of tests: $1 (all, torture)" >&2
    exit 2
    ;;
esac

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
